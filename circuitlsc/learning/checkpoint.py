"""Checkpoints: everything that a run needs to go on as if it had never stopped, in one .npz file without pickles."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.learning.files import whole_file

# another version may compute another last bit, or another circuit
_WRITER = {"format": 1, "circuitlsc": version("circuitlsc")}


def check_path(path: Path | str | None) -> Path | None:
    """Return a checkpoint's path, or raise InputError if its folder does not exist."""
    path = None if path is None else Path(path)
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"checkpoint = {str(path)!r}: its folder does not exist. Make it first.")
    return path


@contextmanager
def interrupt_flag(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells of Ctrl-C or SIGTERM: a run then ends between two pieces, where it is whole."""
    pressed = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    kinds = (signal.SIGINT, signal.SIGTERM)  # a polite kill is as good as Ctrl-C
    before = [signal.signal(kind, lambda *_: pressed.set()) for kind in kinds]
    try:
        yield pressed.is_set
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def save_checkpoint(path: Path, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a checkpoint, in full or not at all."""
    text = json.dumps({**_WRITER, **settings}, sort_keys=True)
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, settings=text, **arrays)


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a checkpoint.

    Raises
    ------
    InputError
        If the file cannot be read, or a run with other settings wrote it.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        theirs = json.loads(str(arrays.pop("settings")))
    except Exception as error:  # zipfile, NumPy and JSON each have their own
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint = {str(path)!r} is not a checkpoint ({first.rstrip('.')}). Give another path, or remove it."
        ) from None
    mine = json.loads(json.dumps({**_WRITER, **settings}))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            raise InputError(
                f"checkpoint = {str(path)!r} was written by a run with {key} = {_short(theirs.get(key))}, but this one has "
                f"{_short(mine.get(key))}. Run with its settings, give another path, or remove it."
            )
    return arrays


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
