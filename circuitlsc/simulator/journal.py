"""A chain on disk: samples and a journal of its chunks, from which it can be taken up again to the last bit.

``samples.f64`` holds the kept samples, one row of little-endian doubles after the other. ``journal.jsonl`` has one line per
chunk: the state at its end, what it cost, how many rows there are now, the checksum of the chunk's rows, and the checksum
of the line itself. A line that is cut short or altered, and rows that do not fit their checksum, end what counts: the chunk
before is the last good one, whatever stopped the writer, and whatever happened to the file since.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.io.safe_open import open_regular
from circuitlsc.simulator.task import ChainState, ChainTask, first_state

SAMPLES, JOURNAL = "samples.f64", "journal.jsonl"
FAILURE = "failure.json"  # why a worker gave up
SYNC = 5.0  # seconds between two syncs to the disk: what a power cut can cost
#: errors of a disk that takes no more, and the codes with which a worker ends then: it may not be able to say it in a file
FULL = {errno.ENOSPC: 70, errno.EDQUOT: 71, errno.EFBIG: 72, errno.EIO: 73}
_READ = 1 << 22  # bytes
_STEPS = re.compile(rb'^\{"steps": (\d{1,18}), .*\n', re.MULTILINE)
Test = Callable[["Record"], bool]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a chain has cost.

    Attributes
    ----------
    steps : int
        Steps done.
    points, rejected, iterations : int
        Time points, rejected points and Newton iterations that ngspice took.
    setup, wall, cpu : float
        Seconds to load the library and the deck, to integrate, and of processor time, over all processes that worked on it.
    rss : int
        Largest memory of any of them, bytes.
    ngspice : str
        Version of libngspice, or of another simulator.
    """

    steps: int = 0
    points: int = 0
    rejected: int = 0
    iterations: int = 0
    setup: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0
    rss: int = 0
    ngspice: str = ""


@dataclass(frozen=True, kw_only=True)
class Record(Cost):
    """One chunk of a chain: where the chain is after it, and what the chain has cost so far.

    Attributes
    ----------
    rows : int
        Samples kept so far.
    u, held, feedback : tuple
        State: see `circuitlsc.simulator.task.ChainState`.
    done : bool
        Whether it is the last chunk.
    checksum : str
        Of the rows that the chunk added.
    """

    rows: int = 0
    u: tuple[float, ...] = ()
    held: tuple[float, ...] = ()
    feedback: tuple[tuple[float, ...], ...] = ()
    done: bool = False
    checksum: str = ""

    @property
    def state(self) -> ChainState:
        """Where the chain is."""
        return ChainState(self.steps, self.u, self.held, self.feedback)


def cannot_write(folder: Path, number: int) -> str:
    """Say that a folder cannot be written to, and why, by the number of the system's error."""
    return f"{folder} cannot be written to ({os.strerror(number)}): make room there, or give another place."


def checksum(data: bytes) -> str:
    """Return the checksum of bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def row_bytes(rows: Array) -> bytes:
    """Return rows as they stand in the file of samples."""
    return np.ascontiguousarray(rows, dtype="<f8").tobytes()


def belongs_to(task: ChainTask) -> Test:
    """Return the test of whether a record can be one of a task's: its checksum does not say who wrote it."""
    first = first_state(task)

    def test(record: Record) -> bool:
        ended = record.steps == task.n_steps
        return (
            0 < record.steps <= task.n_steps
            and (ended or record.steps % task.chunk == 0)
            and (record.done == ended or (record.done and task.settle > 0))
            and record.rows == task.draws_after(record.steps)
            and _shape(record.state) == _shape(first)
        )

    return test


def _shape(state: ChainState) -> list[int]:
    return [len(v) for v in (state.u, state.held, *state.feedback)]


def read_journal(folder: Path, width: int, test: Test | None = None) -> list[Record]:
    """Return the chunks of a chain up to the last good one.

    Parameters
    ----------
    folder : pathlib.Path
    width : int
        Numbers per row of the samples.
    test : callable or None
        What a good record passes, for example `belongs_to` of a task.
    """
    return [record for record, _ in _good(folder, width, test)]


def read_steps(folder: Path) -> int:
    """Return how many steps a chain that is being written has done (nothing is verified)."""
    for most in (_READ >> 6, 2 * _READ):  # most lines are short
        if found := _STEPS.findall(_end_of(folder, most)):
            return int(found[-1])
    return 0


def says_done(folder: Path) -> bool:
    """Return whether a chain's last line says that it is the last (nothing is verified)."""
    return b'"done": true' in _end_of(folder, 2 * _READ).rstrip(b"\n").rpartition(b"\n")[2]


def _end_of(folder: Path, most: int) -> bytes:
    """Return the last bytes of a chain's journal; none if it has not begun."""
    try:
        with open_regular(folder / JOURNAL) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read()
    except OSError:
        return b""


def read_samples(folder: Path, rows: int, width: int) -> Array:
    """Return the samples as a read-only view of the file, shape (rows, width): it takes no memory of this process."""
    if rows * width == 0:
        return np.empty((rows, width))
    return np.memmap(folder / SAMPLES, dtype="<f8", mode="r", shape=(rows, width))


def _good(folder: Path, width: int, test: Test | None) -> list[tuple[Record, int]]:
    """Return the good chunks, and where the line of each ends in the journal."""
    good: list[tuple[Record, int]] = []
    try:
        with open_regular(folder / JOURNAL) as journal, open_regular(folder / SAMPLES) as samples:
            end = rows = steps = 0
            for line in journal:
                record = _parse(line)
                if record is None or record.rows < rows or record.steps < steps or not (test is None or test(record)):
                    break
                if _checksum_of(samples, 8 * width * (record.rows - rows)) != record.checksum:
                    break
                end, rows, steps = end + len(line), record.rows, record.steps
                good.append((record, end))
    except FileNotFoundError:
        return []
    return good


def _checksum_of(file: BinaryIO, size: int) -> str | None:
    """Return the checksum of the next ``size`` bytes, or None if there are fewer."""
    digest = hashlib.blake2b(digest_size=16)
    while size:
        data = file.read(min(size, _READ))
        if not data:
            return None
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def _parse(line: bytes) -> Record | None:
    """Return the record of a line, or None if the line is not whole."""
    text, _, mark = line.rstrip(b"\n").rpartition(b" ")
    if not line.endswith(b"\n") or checksum(text).encode() != mark:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != set(_KINDS):
        return None  # another version wrote it
    arguments: dict[str, Any] = {k: _tuples(v) for k, v in values.items()}
    return Record(**arguments) if all(_KINDS[k](v) for k, v in arguments.items()) else None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _count(value)


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(_number(v) for v in value)


#: what a record's values may be: the checksum is no guard against another version, or a forger
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("steps", "rows", "points", "rejected", "iterations", "rss"), _count),
    **dict.fromkeys(("setup", "wall", "cpu"), _number),
    **dict.fromkeys(("u", "held"), _numbers),
    "feedback": lambda value: isinstance(value, tuple) and all(_numbers(v) for v in value),
    "done": lambda value: isinstance(value, bool),
    **dict.fromkeys(("checksum", "ngspice"), lambda value: isinstance(value, str)),
}


class JournalWriter(ExitStack):
    """Append chunks to a chain's files, after the last good one.

    Parameters
    ----------
    folder : pathlib.Path
    width : int
        Numbers per row of the samples.
    test : callable or None
        What a good record passes.
    """

    def __init__(self, folder: Path, width: int, test: Test | None = None) -> None:
        super().__init__()
        good = _good(folder, width, test)
        self.last = good[-1][0] if good else None
        self._samples = self._open(folder / SAMPLES, 8 * width * (self.last.rows if self.last else 0))
        self._journal = self._open(folder / JOURNAL, good[-1][1] if good else 0)
        self._synced = time.monotonic()

    def _open(self, path: Path, size: int) -> BinaryIO:
        file = self.enter_context(path.open("r+b" if path.exists() else "w+b"))
        file.truncate(size)
        file.seek(size)
        return file

    def append(self, rows: Array, record: Record) -> None:
        """Write a chunk's rows, then its line, with their checksum."""
        data = row_bytes(rows)
        self._samples.write(data)
        self._samples.flush()
        text = json.dumps(asdict(replace(record, checksum=checksum(data))), allow_nan=False).encode()
        self._journal.write(text + b" " + checksum(text).encode() + b"\n")
        self._journal.flush()
        if record.done or time.monotonic() - self._synced > SYNC:
            os.fsync(self._samples.fileno())
            os.fsync(self._journal.fileno())
            self._synced = time.monotonic()
