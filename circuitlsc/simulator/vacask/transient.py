"""One transient of VACASK: it counts if it went from the first point to the last one, and only then."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.io.processes import end_with_parent
from circuitlsc.simulator.simulator import TransientFailed
from circuitlsc.simulator.vacask.deck import ANALYSIS, POINT, time_points
from circuitlsc.simulator.verilog_a import find_programs

DECK = "deck.sim"
FULL = 1 << 16  # bytes: where less is free, a run that does not count had no room
_COUNT = re.compile(rb"No\. (Variables|Points):[ \t]*(\d+)[ \t]*\n")
_NAME = re.compile(rb"^\t\d+\t(\S+)\t", re.MULTILINE)


class Rejected(TransientFailed):
    """Newton's iteration found no solution at a time point, which was taken back."""


class Transient(NamedTuple):
    """What a transient returned.

    Attributes
    ----------
    start : array, shape (n_saved,)
        Voltages at its first time point.
    values : array, shape (n, n_saved)
        Voltages at the grid points.
    points, iterations : int
        Time points, Newton iterations.
    """

    start: Array
    values: Array
    points: int
    iterations: int


def run(folder: Path, text: str, saved: Sequence[str], step: float, n: int, log: list[str]) -> Transient:
    """Run a deck in a folder of its own, and return the voltages of the saved nodes.

    Raises
    ------
    Rejected
        If a time point was taken back.
    TransientFailed
        If anything else is not as it should be: exit code, messages, header, time points, values.
    OSError
        If its results found no room.
    """
    try:
        return _counted(folder, text, saved, step, n, log)
    except TransientFailed:
        if shutil.disk_usage(folder).free < FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
        raise


def operating_point(folder: Path, text: str, saved: Sequence[str], log: list[str]) -> Array:
    """Run a deck of `point_deck`, and return the voltages of the saved nodes; errors as for `run`."""
    _, names, rows = _called(folder, text, POINT, log)
    lost = [node for node in saved if node not in names]
    if lost or len(rows) != 1:
        what = f"vector {lost[0]!r}" if lost else "operating point"
        raise TransientFailed(f"VACASK returned no {what} of what is solved once.")
    volts = rows[0, [names.index(node) for node in saved]]
    bad = np.flatnonzero(~np.isfinite(volts))
    if len(bad):
        raise TransientFailed(f"v({saved[bad[0]]}) is not finite at the operating point.")
    return np.asarray(volts)


def _called(folder: Path, text: str, analysis: str, log: list[str]) -> tuple[str, list[str], Array]:
    """Run a deck; return what VACASK printed, and the vectors of its results with their names."""
    raw = folder / f"{analysis}.raw"
    raw.unlink(missing_ok=True)  # a netlist with an error leaves that of the run before
    (folder / DECK).write_text(text, encoding="ascii")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIM_")}
    ended = subprocess.run(
        [find_programs().vacask, "-qp", "-se", "-sp", DECK],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=end_with_parent,
    )
    log[:] = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    said = " ".join(ended.stderr.split())
    if ended.returncode == -signal.SIGXFSZ:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(raw))
    if ended.returncode != 0:
        raise TransientFailed(f"VACASK ended with exit code {ended.returncode}: {said[:300] or 'it said nothing'}.")
    if said:
        raise TransientFailed(f"VACASK complained, and a run with a complaint does not count: {said[:300]}")
    return (ended.stdout, *read_raw(raw))


def _counted(folder: Path, text: str, saved: Sequence[str], step: float, n: int, log: list[str]) -> Transient:
    """Run a deck, and look whether the run counts."""
    printed, names, rows = _called(folder, text, ANALYSIS, log)
    counted = statistics(printed)
    if counted["Rejected timepoints"] != 0:
        raise Rejected(
            f"VACASK took {counted['Rejected timepoints']} time points back: Newton's iteration did not converge. Use a "
            "smaller step or a larger width."
        )
    lost = [node for node in saved if node not in names]
    if names[:1] != ["time"] or lost:
        raise TransientFailed(f"VACASK returned no vector {(lost or ['time'])[0]!r}.")
    times, first = time_points(step, n)
    if len(rows) != len(times):
        raise TransientFailed(f"VACASK returned {len(rows)} time points, and {len(times)} are due.")
    off = np.flatnonzero(rows[:, 0] != times)
    if len(off):
        raise TransientFailed(
            f"VACASK's time point {off[0]} is {float(rows[off[0], 0])!r} s, and {float(times[off[0]])!r} s is due."
        )
    volts = rows[:, [names.index(node) for node in saved]]
    bad = np.argwhere(~np.isfinite(volts))
    if len(bad):
        raise TransientFailed(f"v({saved[bad[0][1]]}) is not finite at time point {bad[0][0]}.")
    values = volts[first : first + n]
    return Transient(volts[0], values, len(rows), counted["NR solver iterations"])


def statistics(text: str) -> Mapping[str, int]:
    """Return the counts that VACASK prints.

    Raises
    ------
    TransientFailed
        If they are not there.
    """
    found = {}
    for name in ("Rejected timepoints", "NR solver iterations"):
        match = re.search(rf"{name}[^:\n]*:\s*(\d+)", text)
        if match is None:
            raise TransientFailed(f"VACASK did not print its {name.lower()}: it did not reach the end of its commands.")
        found[name] = int(match[1])
    return found


def read_raw(path: Path) -> tuple[list[str], Array]:
    """Return the names of a raw file's vectors, and its values (n_points, n_vectors).

    Raises
    ------
    TransientFailed
        If there is no such file, or it is not whole.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise TransientFailed("VACASK wrote no results.") from None
    head, _, body = data.partition(b"Binary:\n")
    counts = {name: int(value) for name, value in _COUNT.findall(head)}
    if set(counts) != {b"Variables", b"Points"}:
        raise TransientFailed("VACASK's results have no number of points: it was ended while it wrote them.")
    shape = counts[b"Points"], counts[b"Variables"]
    if len(body) != 8 * shape[0] * shape[1]:
        raise TransientFailed(f"VACASK's results have {len(body)} bytes, and {8 * shape[0] * shape[1]} are due.")
    names = [name.decode("ascii", "replace") for name in _NAME.findall(head)]
    return names, np.frombuffer(body, dtype="<f8").reshape(shape)
