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
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.npy import PickledError, UnusableError, read_archive
from circuitlsc.io.safe_open import reason
from circuitlsc.model.data import MOST_NUMBERS

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
        arrays = read_archive(path, MOST_NUMBERS)
        theirs = dict(json.loads(str(arrays.pop("settings"))))
    except PickledError:
        raise _no_checkpoint(path, "it is pickled, and could run code") from None
    except OSError as error:
        raise InputError(f"checkpoint = {str(path)!r} cannot be read ({reason(error)}).") from None
    except (UnusableError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise _no_checkpoint(
            path, str(error) if isinstance(error, UnusableError) else "its settings are missing"
        ) from None
    mine = json.loads(json.dumps({**_WRITER, **settings}))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            raise InputError(
                f"checkpoint = {str(path)!r} was written by a run with {key} = {_short(theirs.get(key))}, but this one has "
                f"{_short(mine.get(key))}. Run with its settings, give another path, or remove it."
            )
    return arrays


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Say that a checkpoint is damaged if what it holds does not fit the run whose settings it has."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        raise _no_checkpoint(path, "its arrays do not fit its settings") from None


def fitting(
    arrays: Mapping[str, Any], like: Mapping[str, Any], *, grow: tuple[str, ...] = ()
) -> dict[str, NDArray[Any]]:
    """Return those arrays that ``like`` names; raise ValueError if one has another type or shape, or is not finite.

    Arrays that ``grow``, and those called ``history_...``, may differ in length.
    """
    fit = {}
    for name, model in like.items():
        array, model = np.asarray(arrays[name]), np.asarray(model)
        grows = name in grow or name.startswith("history_")
        same = array.ndim == model.ndim and array.shape[grows:] == model.shape[grows:] and array.dtype == model.dtype
        if not same or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            raise ValueError(name)
        fit[name] = array
    return fit


def _no_checkpoint(path: Path, why: str) -> InputError:
    return InputError(f"checkpoint = {str(path)!r} is not a checkpoint ({why}). Give another path, or remove it.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
