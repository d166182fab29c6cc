"""Run chains, each in a worker process of its own, and collect their samples."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from circuitlsc.arrays import Array
from circuitlsc.errors import SimulationError
from circuitlsc.spice.library import find_library
from circuitlsc.spice.task import ChainTask

Progress = Callable[[int, int], None]  # chain, steps done


@dataclass(frozen=True, eq=False)
class ChainResult:
    """Samples and cost of one chain.

    Attributes
    ----------
    u : array, shape (n_draws, n_states)
        In model units.
    observed : array, shape (n_draws, n_observed)
        Voltages of the observed nodes, in units of ``volt``.
    steps, points, rejected, iterations : int
        Steps asked for; time points, rejected points and Newton iterations that ngspice took.
    setup, wall, cpu : float
        Seconds inside the worker: to load the library and the deck, to integrate, and processor time of both.
    rss : int
        Peak memory of the worker, bytes.
    ngspice : str
        Version of libngspice.
    log : tuple of str
        ngspice's last lines.
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
    log: tuple[str, ...]


class ChainsFailed(SimulationError):
    """At least one chain failed; the others' results are kept in ``completed``."""

    completed: tuple[ChainResult, ...] = ()


def run_chains(
    tasks: Sequence[ChainTask],
    *,
    workers: int | None = None,
    timeout: float | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> list[ChainResult]:
    """Run every task in its own process, ``workers`` at a time.

    Parameters
    ----------
    tasks : sequence of ChainTask
    workers : int or None
        Processes at a time; None means one per processor.
    timeout : float or None
        Seconds after which a chain is stopped.
    progress : callable or None
        Called as ``progress(chain, steps_done)`` from other threads.
    keep : pathlib.Path or None
        Folder for the deck of a chain that fails; None makes a temporary one.

    Raises
    ------
    MissingSimulatorError
        If libngspice cannot be found.
    ChainsFailed
        If a chain crashed, did not converge or ran out of time. The other chains ran to their end.
    """
    find_library()  # say so here, once, and not in every worker
    root = Path(tempfile.mkdtemp(prefix="circuitlsc-"))
    stop, trouble = threading.Event(), list[Exception]()
    count = max(1, min(len(tasks), workers or os.cpu_count() or 1))

    def report(chain: int, steps: int) -> None:
        """Call ``progress``; if that fails, stop everything and let the caller's thread raise its error."""
        try:
            if progress is not None:
                progress(chain, steps)
        except Exception as error:
            trouble.append(error)
            stop.set()

    try:
        with ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(_run_chain, task, root, timeout, report, stop) for task in tasks]
            try:
                while any(not f.done() for f in futures):
                    time.sleep(0.02)  # an interrupt reaches the main thread here
            except BaseException:
                stop.set()
                raise
        outcomes = [f.result() for f in futures]
        if trouble:
            raise trouble[0]
        failed = [o for o in outcomes if isinstance(o, SimulationError)]
        if failed:
            first = failed[0]
            others = f" ({len(failed)} of {len(tasks)} chains failed.)" if len(failed) > 1 else ""
            error = ChainsFailed(first.reason + others, first.chain, _keep(tasks, first.chain, keep), first.log)
            error.completed = tuple(o for o in outcomes if isinstance(o, ChainResult))
            raise error
        return [o for o in outcomes if isinstance(o, ChainResult)]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _keep(tasks: Sequence[ChainTask], chain: int, keep: Path | None) -> Path:
    """Write the deck of a failed chain where its owner finds it."""
    folder = keep or Path(tempfile.mkdtemp(prefix="circuitlsc-failed-"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"failed-chain{chain}.cir"
    path.write_text(next(t for t in tasks if t.chain == chain).deck, encoding="utf-8")
    return path


def worker_environment() -> dict[str, str]:
    """Return the worker's environment: nothing of ngspice's, one thread, this package on the path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SPICE_")}
    package = str(Path(__file__).resolve().parents[2])
    env.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        NGSPICE_LIBRARY_PATH=find_library(),
        PYTHONPATH=os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
    )
    return env


def _run_chain(
    task: ChainTask, root: Path, timeout: float | None, report: Progress, stop: threading.Event
) -> ChainResult | SimulationError:
    folder = root / f"chain{task.chain}"
    folder.mkdir()
    task.save(folder / "task.json")
    # ngspice runs the commands of the first .spiceinit that it finds: here, or in the home that /etc/passwd names
    (folder / ".spiceinit").write_text("* no commands\n", encoding="ascii")
    begin = time.monotonic()
    with (folder / "worker.log").open("w", encoding="utf-8") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "circuitlsc.spice.worker", str(folder)],
            cwd=folder,
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # a Ctrl-C at the terminal goes to the parent, which then stops its workers
        )
        reader = threading.Thread(target=_forward, args=(worker, task.chain, report), daemon=True)
        reader.start()
        late = False
        while worker.poll() is None:
            late = timeout is not None and time.monotonic() - begin > timeout
            if stop.is_set() or late:
                worker.kill()
            time.sleep(0.01)
        reader.join(5)
        if worker.stdout:
            worker.stdout.close()
    if late:
        return SimulationError(
            f"it was stopped after {timeout:g} s. Raise the timeout, or shorten t_stop.",
            task.chain,
            log=_tail(folder),
        )
    return _collect(task, folder, worker.returncode)


def _forward(worker: subprocess.Popen[str], chain: int, report: Progress) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        # libngspice may print too: only whole numbers are ours
        if line.strip().isdecimal():
            report(chain, int(line))


def _collect(task: ChainTask, folder: Path, code: int) -> ChainResult | SimulationError:
    path = folder / "result.json"
    if not path.exists():
        what = (
            f"libngspice crashed ({signal.Signals(-code).name})" if code < 0 else f"the worker ended with code {code}"
        )
        return SimulationError(
            f"{what} before the transient's end. Run the deck in plain ngspice to see where.",
            task.chain,
            log=_tail(folder),
        )
    result = json.loads(path.read_text(encoding="utf-8"))
    log = tuple(result.pop("log"))
    if not result.pop("ok"):
        return SimulationError(result["reason"], task.chain, log=log)
    u = np.fromfile(folder / "samples.f64", dtype=float).reshape(-1, len(task.nodes) + len(task.observed))
    if len(u) != task.n_draws and task.settle == 0:
        return SimulationError(f"{len(u)} samples came back, not {task.n_draws}.", task.chain, log=log)
    k = len(task.nodes)
    return ChainResult(chain=task.chain, u=u[:, :k], observed=u[:, k:], log=log, **result)


def _tail(folder: Path) -> tuple[str, ...]:
    """Return the last lines of the worker's stderr, for a worker that could not say itself what went wrong."""
    lines = (folder / "worker.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple(line for line in lines if line.strip())[-5:]
