"""One chain, from its task to its samples: a pure function that any executor can call, on this machine or another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from circuitlsc.errors import CircuitLSCError, SimulationError
from circuitlsc.io.arrays import Array
from circuitlsc.io.lock import lock
from circuitlsc.simulator.journal import FAILURE, FULL, JOURNAL, SAMPLES, Cost, cannot_write, read_samples
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator, load
from circuitlsc.simulator.store import LOCK, check_own, finished
from circuitlsc.simulator.task import ROWS, SCRATCH, SIMULATOR, TASK, ChainTask
from circuitlsc.simulator.workers import LOG, SPICEINIT, last_lines, run_worker

_LOOK = 1.0  # seconds
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChainResult(Cost):
    """Samples and cost of one chain.

    Attributes
    ----------
    u : array, shape (n_draws, n_states)
        In model units; like ``observed`` a read-only view of a file, so that long chains take no memory.
    observed : array, shape (n_draws, n_observed)
        Voltages of the observed nodes, in units of ``volt``.
    """

    chain: int
    u: Array
    observed: Array


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


def simulate(job: Job, stop: threading.Event | None = None) -> Done | SimulationError:
    """Simulate a chain in a process of its own, from where its folder says that it is, and return how it ended.

    Parameters
    ----------
    job : Job
    stop : threading.Event or None
        Ends the process when it is set.
    """
    here = Path(job.store)
    mark = here / job.token
    shared = mark.exists()
    place = nullcontext(job.store) if shared else TemporaryDirectory(prefix="circuitlsc-", ignore_cleanup_errors=True)
    with place as root:
        folder = Path(root) / job.key
        try:
            ended = _Ended(stop, mark if shared else None)
            failure = _run(job, folder, ended)
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
                return SimulationError(cannot_write(folder, error.errno), job.task.chain)
            return SimulationError(f"{error.filename or root}: {error.strerror or error}.", job.task.chain)


class _Ended:
    """Whether the run that asked for a chain has ended, as far as can be seen from here."""

    def __init__(self, stop: threading.Event | None, mark: Path | None) -> None:
        self._stop, self._mark = stop, mark
        self._looked = time.monotonic()

    def is_set(self) -> bool:
        """Look at the event, and once in a while for the file that the run keeps for as long as it goes on."""
        now = time.monotonic()
        if self._mark is None or (now - self._looked > _LOOK and self._mark.exists()):
            self._looked = now
        return now - self._looked > _LOOK or (self._stop is not None and self._stop.is_set())


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
    last, k = finished(folder, task), len(task.nodes)
    if last is None:
        return SimulationError("its files do not fit their checksums: the disk or the network failed.", task.chain)
    with suppress(OSError):
        os.utime(folder / JOURNAL)  # it was used
    samples, cost = read_samples(folder, last.rows, task.width), {f.name: getattr(last, f.name) for f in fields(Cost)}
    return ChainResult(chain=task.chain, u=samples[:, :k], observed=samples[:, k:], **cost)


def _run(job: Job, folder: Path, stop: _Ended) -> SimulationError | None:
    """Bring a chain's folder to its end; return what went wrong, or None."""
    task, timeout, simulator = job.task, job.timeout, load(job.simulator)
    simulator.check(job.contents)
    folder.mkdir(parents=True, exist_ok=True)
    check_own(folder)
    try:
        # the worker holds the lock too: it may outlive this process by a moment
        with lock(folder / LOCK, stop.is_set) as held:
            if finished(folder, task):
                return None
            task.save(folder / TASK)
            (folder / SIMULATOR).write_bytes(f"{simulator.path}\n".encode() + job.contents)
            (folder / FAILURE).unlink(missing_ok=True)
            code = _work(folder, held, timeout, stop)
            if code is None:
                what = f"it was stopped after {timeout:g} s. Raise the timeout, or shorten t_stop."
                return SimulationError(what, task.chain, log=last_lines(folder))
            if code or not finished(folder, task):
                return _failure(task, simulator, folder, code)
            for name in (TASK, ROWS, SIMULATOR, SPICEINIT, LOG):
                (folder / name).unlink(missing_ok=True)
            return None
    except BlockingIOError:
        return SimulationError("it was stopped while another run was simulating it.", task.chain)


def _work(folder: Path, held: int, timeout: float | None, stop: _Ended) -> int | None:
    """Run the worker process; return its exit code, or None if it took too long."""
    begin, late = time.monotonic(), False

    def give_up() -> bool:
        nonlocal late
        late = timeout is not None and time.monotonic() - begin > timeout
        return late or stop.is_set()

    _clear(folder)
    try:
        code = run_worker("chain", folder, give_up, [held])
    finally:
        _clear(folder)
    return None if late else code


def _clear(folder: Path) -> None:
    """Remove what a worker that was killed could not remove itself."""
    for left in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


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
    if -code in CRASHES:
        what = f"{simulator.name} crashed ({signal.Signals(-code).name}) before the transient's end.{simulator.advice}"
    elif code < 0:
        what = (
            f"its worker was ended by {signal.Signals(-code).name} before the transient's end: by somebody, or by the system "
            "for want of memory. Run it again, with fewer workers if memory is short."
        )
    elif code == 0:
        what = f"what its worker wrote to {folder} is gone or damaged. Run it again, with nothing else at work in that folder."
    else:
        what = f"the worker ended with code {code} before the transient's end.{simulator.advice}"
    return SimulationError(what, task.chain, log=last_lines(folder))
