"""One chain, from its task to its samples: a pure function that any executor can call, on this machine or another."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from circuitlsc.errors import CircuitLSCError, SimulationError
from circuitlsc.io.arrays import Array
from circuitlsc.io.lock import lock
from circuitlsc.simulator.journal import (
    FAILURE,
    FULL,
    JOURNAL,
    SAMPLES,
    Record,
    belongs_to,
    cannot_write,
    read_journal,
    read_samples,
)
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator, load
from circuitlsc.simulator.store import LOCK, LOG, SPICEINIT, check_own, is_done, touch
from circuitlsc.simulator.task import ROWS, SIMULATOR, TASK, ChainTask
from circuitlsc.simulator.workers import run_worker

Report = Callable[[int], None]  # steps done
_LOOK = 1.0  # seconds
SPENT = ("steps", "points", "rejected", "iterations", "setup", "wall", "cpu", "rss", "ngspice")  # of a record
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True, eq=False)
class ChainResult:
    """Samples and cost of one chain.

    Attributes
    ----------
    u : array, shape (n_draws, n_states)
        In model units; like ``observed`` a read-only view of a file, so that long chains take no memory.
    observed : array, shape (n_draws, n_observed)
        Voltages of the observed nodes, in units of ``volt``.
    steps, points, rejected, iterations : int
        Steps asked for; time points, rejected points and Newton iterations that ngspice took.
    setup, wall, cpu : float
        Seconds inside the workers: to load the library and the deck, to integrate, and processor time of both.
    rss : int
        Peak memory of a worker, bytes.
    ngspice : str
        Version of libngspice, or of another simulator.
    """

    chain: int
    u: Array
    observed: Array
    steps: int
    points: int
    rejected: int
    iterations: int
    setup: float
    wall: float
    cpu: float
    rss: int
    ngspice: str


@dataclass(frozen=True)
class Job:
    """What an executor is handed.

    Attributes
    ----------
    task : ChainTask
    key : str
        Name of the chain's folder.
    store : str
        Folder where chains are kept.
    token : str
        A file in it: if that is not there, the store is another machine's.
    timeout : float or None
        Seconds after which the chain is stopped.
    simulator : str
        Where a worker finds the simulator, ``module:attribute``.
    contents : bytes
        What it wants of the circuit beside the task.
    """

    task: ChainTask
    key: str
    store: str
    token: str
    timeout: float | None = None
    simulator: str = NGSPICE.path
    contents: bytes = b""


@dataclass(frozen=True)
class Done:
    """A chain that reached its end: in the store, or the contents of its files if the store could not be seen."""

    files: dict[str, bytes] | None = None


def simulate(job: Job, report: Report | None = None, stop: threading.Event | None = None) -> Done | SimulationError:
    """Simulate a chain in a process of its own, from where its folder says that it is, and return how it ended.

    Parameters
    ----------
    job : Job
    report : callable or None
        Called with the steps done, from another thread.
    stop : threading.Event or None
        Ends the process when it is set.
    """
    here = Path(job.store)
    mark = here / job.token
    shared = mark.exists()
    root = here if shared else Path(tempfile.mkdtemp(prefix="circuitlsc-"))
    try:
        folder = root / job.key
        ended = _Ended(stop, mark if shared else None)
        failure = _run(job, folder, report or (lambda _: None), ended)
        if failure is not None and ended.is_set():
            what = f"its run was stopped, or {here} was removed. Give the same command with --resume."
            return SimulationError(what, job.task.chain, log=failure.log)
        if failure is not None:
            return failure
        return Done(None if shared else {name: (folder / name).read_bytes() for name in (SAMPLES, JOURNAL)})
    except CircuitLSCError as error:  # no library, no locks: the executor's machine lacks something
        return error if isinstance(error, SimulationError) else SimulationError(str(error), job.task.chain)
    except OSError as error:
        if error.errno in FULL:
            return SimulationError(cannot_write(root / job.key, error.errno), job.task.chain)
        return SimulationError(f"{error.filename or root}: {error.strerror or error}.", job.task.chain)
    finally:
        if not shared:
            shutil.rmtree(root, ignore_errors=True)


class _Ended:
    """Whether the run that asked for a chain has ended, as far as can be seen from here."""

    def __init__(self, stop: threading.Event | None, mark: Path | None) -> None:
        self._stop, self._mark = stop, mark
        self._looked = time.monotonic()

    def is_set(self) -> bool:
        """Look at the event, and once in a while for the file that the run keeps for as long as it goes on."""
        if self._stop is not None and self._stop.is_set():
            return True
        if self._mark is None or time.monotonic() - self._looked < _LOOK:
            return False
        gone = not self._mark.exists()
        if not gone:
            self._looked = time.monotonic()
        return gone


def take(folder: Path, task: ChainTask, files: dict[str, bytes] | None = None) -> ChainResult | SimulationError:
    """Return a finished chain from its folder, after putting files there that came from another machine."""
    if files is not None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            check_own(folder)
        except OSError as error:
            return SimulationError(f"{error.filename}: {error.strerror}.", task.chain)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    records = read_journal(folder, task.width, belongs_to(task))
    if not records or not records[-1].done:
        return SimulationError("its files do not fit their checksums: the disk or the network failed.", task.chain)
    last = records[-1]
    touch(folder)
    return _result(task, last, read_samples(folder, last.rows, task.width))


def _result(task: ChainTask, last: Record, samples: Array) -> ChainResult:
    k, spent = len(task.nodes), {name: getattr(last, name) for name in SPENT}
    return ChainResult(chain=task.chain, u=samples[:, :k], observed=samples[:, k:], **spent)


def _run(job: Job, folder: Path, report: Report, stop: _Ended) -> SimulationError | None:
    """Bring a chain's folder to its end; return what went wrong, or None."""
    task, timeout, simulator = job.task, job.timeout, load(job.simulator)
    simulator.check()
    folder.mkdir(parents=True, exist_ok=True)
    check_own(folder)
    try:
        # the worker holds the lock too: it may outlive this process by a moment
        with lock(folder / LOCK, stop.is_set) as held:
            if is_done(folder, task):
                report(task.n_steps)
                return None
            task.save(folder / TASK)
            (folder / SIMULATOR).write_bytes(f"{simulator.path}\n".encode() + job.contents)
            # ngspice runs the commands of the first .spiceinit that it finds: here, or in the home that /etc/passwd names
            (folder / SPICEINIT).write_text("* no commands\n", encoding="ascii")
            (folder / FAILURE).unlink(missing_ok=True)
            code = _work(folder, held, timeout, report, stop)
            if code is None:
                what = f"it was stopped after {timeout:g} s. Raise the timeout, or shorten t_stop."
                return SimulationError(what, task.chain, log=_tail(folder))
            if code or not is_done(folder, task):
                return _failure(task, simulator, folder, code)
            for name in (TASK, ROWS, SIMULATOR, SPICEINIT, LOG):
                (folder / name).unlink(missing_ok=True)
            return None
    except BlockingIOError:
        return SimulationError("it was stopped while another run was simulating it.", task.chain)


def _work(folder: Path, held: int, timeout: float | None, report: Report, stop: _Ended) -> int | None:
    """Run the worker process; return its exit code, or None if it took too long."""
    begin, late = time.monotonic(), False

    def give_up() -> bool:
        nonlocal late
        late = timeout is not None and time.monotonic() - begin > timeout
        return late or stop.is_set()

    def told(line: str) -> None:
        if line.strip().isdecimal():  # libngspice may print too: only whole numbers are ours
            report(int(line))

    with (folder / LOG).open("wb") as log:
        code = run_worker("chain", folder, log, held=[held], told=told, give_up=give_up)
    return None if late else code


def _failure(task: ChainTask, simulator: Simulator, folder: Path, code: int) -> SimulationError:
    """Return what went wrong in a worker that did not reach the end."""
    try:
        said = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        return SimulationError(said["reason"], task.chain, log=tuple(said["log"]))
    except (OSError, ValueError):
        pass  # it could not say so itself, or the disk is full
    full = next((number for number, ends_with in FULL.items() if ends_with == code), None)
    if full is not None:
        return SimulationError(cannot_write(folder, full), task.chain)
    tail = _tail(folder)
    if -code in CRASHES:
        what = f"{simulator.name} crashed ({signal.Signals(-code).name}) before the transient's end.{simulator.advice}"
        return SimulationError(what, task.chain, log=tail)
    if code < 0:
        what = (
            f"its worker was ended by {signal.Signals(-code).name} before the transient's end: by somebody, or by the system "
            "for want of memory. Run it again, with fewer workers if memory is short."
        )
        return SimulationError(what, task.chain, log=tail)
    if code == 0:
        what = f"what its worker wrote to {folder} is gone or damaged. Run it again, with nothing else at work in that folder."
        return SimulationError(what, task.chain, log=tail)
    what = f"the worker ended with code {code} before the transient's end.{simulator.advice}"
    return SimulationError(what, task.chain, log=tail)


def _tail(folder: Path) -> tuple[str, ...]:
    """Return the last lines of the worker's stderr, for a worker that could not say itself what went wrong."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(line for line in lines if line.strip())[-5:]
