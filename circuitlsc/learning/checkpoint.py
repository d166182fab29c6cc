"""Runs that go on as if they had never stopped: their loop, and checkpoints in one .npz file without pickles."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.npy import PickledError, UnusableError, read_archive
from circuitlsc.io.safe_open import reason
from circuitlsc.model.data import MOST_NUMBERS

# another version may compute another last bit, or another circuit
_WRITER = {"format": 2, "circuitlsc": version("circuitlsc")}


class Resumable(Protocol):
    """A run in pieces of work."""

    @property
    def done(self) -> bool:
        """Whether it is at its end."""
        ...

    @property
    def time(self) -> float:
        """How far it is."""
        ...

    @property
    def total(self) -> float:
        """How far it will go."""
        ...

    def advance(self) -> None:
        """Do one piece of work."""
        ...

    def arrays(self) -> dict[str, Any]:
        """Return the state as named arrays: all that `restore` needs."""
        ...

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        ...


def run_to_end(
    run: Resumable,
    settings: Mapping[str, Any],
    *,
    checkpoint: Path | str | None,
    every: float,
    progress: Callable[[float, float], None] | None,
    told_every: float = 0.0,
) -> None:
    """Go on from a checkpoint if there is one, up to the end; arguments as for `Learner.run`.

    Parameters
    ----------
    run : Resumable
        At its beginning.
    settings : mapping
        Everything that the result depends on, JSON-ready.
    told_every : float
        Seconds between calls of ``progress``.

    Raises
    ------
    InputError
        If the checkpoint is of other settings or no checkpoint.
    KeyboardInterrupt
        At Ctrl-C, after the checkpoint is written.
    """
    path = check_path(checkpoint)
    if path is not None and path.exists():
        with restoring(path):
            run.restore(load_checkpoint(path, settings))
    saved = told = time.monotonic()
    with interrupt_flag(path is not None) as interrupted:
        while not run.done:
            run.advance()
            now = time.monotonic()
            if path is not None and (now - saved >= every or run.done or interrupted()):
                save_checkpoint(path, settings, run.arrays())
                saved = time.monotonic()
            if progress is not None and (now - told >= told_every or run.done):
                progress(run.time, run.total)
                told = now
            if interrupted():
                raise KeyboardInterrupt


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
