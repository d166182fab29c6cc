"""Runs that go on as if they had never stopped: their loop, and checkpoints in one .npz file without pickles."""

from __future__ import annotations

import json
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.npy import read_archive
from circuitlsc.io.progress import Progress, told_whole
from circuitlsc.io.reading import reading
from circuitlsc.learning.history import Recorder
from circuitlsc.model.data import MOST_NUMBERS

# another version may compute another last bit, or another circuit
_WRITER = {"format": 2, "circuitlsc": version("circuitlsc")}


class Resumable(ABC):
    """A run in pieces of work; a checkpoint keeps the arrays of its state and its history.

    Attributes
    ----------
    total : float
        How far it will go.
    recorder : Recorder
        Its history.
    """

    total: float
    recorder: Recorder

    @property
    @abstractmethod
    def time(self) -> float:
        """How far it is; ``total`` at its end, and only there."""

    @abstractmethod
    def advance(self) -> None:
        """Do one piece of work."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the arrays that hold the state."""

    def arrays(self) -> dict[str, Any]:
        """Return state and history as named arrays: all that `restore` needs."""
        return {**self.state(), **self.recorder.arrays()}

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        kept = fitting(arrays, self.arrays())
        for name, array in self.state().items():
            array[...] = kept[name]
        self.recorder.restore(kept)


def run_to_end(
    run: Resumable,
    settings: Mapping[str, Any],
    *,
    checkpoint: Path | str | None,
    every: float,
    progress: Progress,
    unit: str,
    told_every: float = 0.0,
) -> None:
    """Go on from a checkpoint if there is one, up to the end; arguments as for `Learner.run`.

    Parameters
    ----------
    run : Resumable
        At its beginning.
    settings : mapping
        Everything that the result depends on, JSON-ready.
    unit : str
        What the run's time counts.
    told_every : float
        Seconds between calls of ``progress``.

    Raises
    ------
    InputError
        If the checkpoint is of other settings or no checkpoint.
    KeyboardInterrupt
        At Ctrl-C, after the checkpoint is written.
    """
    path = resume(checkpoint, settings, run.restore)
    saved = last = time.monotonic()
    with (
        told_whole(progress, "learning", run.total, unit, run.time) as tell,
        interrupt_flag(path is not None) as interrupted,
    ):
        while run.time != run.total:
            run.advance()
            now = time.monotonic()
            if path is not None and (now - saved >= every or run.time == run.total or interrupted()):
                save_checkpoint(path, settings, run.arrays())
                saved = time.monotonic()
            if tell is not None and (now - last >= told_every or run.time == run.total):
                tell(run.time, run.total)
                last = now
            if interrupted():
                raise KeyboardInterrupt


def resume(
    checkpoint: Path | str | None, settings: Mapping[str, Any], restore: Callable[[Mapping[str, Any]], None]
) -> Path | None:
    """Let a run take back what its checkpoint holds, if there is one; return where the next one is written to.

    Raises
    ------
    InputError
        If the checkpoint is of other settings or no checkpoint, or if its folder does not exist.
    """
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if not path.absolute().parent.is_dir():
        raise InputError(f"checkpoint = {str(path)!r}: its folder does not exist. Make it first.")
    if path.exists():
        arrays = load_checkpoint(path, settings)
        with _reading(path, "its arrays do not fit its settings"):
            restore(arrays)
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
    with _reading(path, "its settings are missing"):
        arrays = read_archive(path, MOST_NUMBERS)
        theirs = dict(json.loads(str(arrays.pop("settings"))))
    mine = json.loads(json.dumps({**_WRITER, **settings}))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            raise InputError(
                f"checkpoint = {str(path)!r} was written by a run with {key} = {_short(theirs.get(key))}, but this one has "
                f"{_short(mine.get(key))}. Run with its settings, give another path, or remove it."
            )
    return arrays


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


def _reading(path: Path, why: str) -> AbstractContextManager[None]:
    advice = " Give another path, or remove it."
    return reading(f"checkpoint = {str(path)!r}", "a checkpoint", advice, why=why)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
