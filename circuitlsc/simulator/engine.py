"""Run chains on whatever executor there is, and collect their samples."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from circuitlsc.errors import InputError, SimulationError
from circuitlsc.io.arrays import check_positive
from circuitlsc.io.output import write_text
from circuitlsc.io.progress import Advance, Progress, told
from circuitlsc.simulator.chain import ChainResult, Done, Job, simulate, take
from circuitlsc.simulator.executors import Pool, open_pool
from circuitlsc.simulator.journal import read_steps
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator, check_found, check_simulator
from circuitlsc.simulator.store import Store, identity
from circuitlsc.simulator.task import ChainTask

_POLL, _LOOK = 0.02, 0.1  # seconds between looks at whether chains have ended, and at their journals


class ChainsFailed(SimulationError):
    """At least one chain failed; the others' results are kept in ``completed``."""

    completed: tuple[ChainResult, ...] = ()


def run_chains(tasks: Sequence[ChainTask], *, keep: Path | None = None, **machine: Any) -> list[ChainResult]:
    """Run every task, or raise if one failed (the others run to their end).

    Parameters
    ----------
    tasks, **machine
        As for `run_all_chains`.
    keep : pathlib.Path or None
        Folder for the deck of a chain that fails; None makes a temporary one.

    Raises
    ------
    MissingSimulatorError
        If the simulator cannot be found.
    ChainsFailed
        If a chain crashed, did not converge or ran out of time. The other chains ran to their end.
    """
    outcomes = run_all_chains(tasks, **machine)
    failed = [(task, o) for task, o in zip(tasks, outcomes, strict=True) if isinstance(o, SimulationError)]
    if failed:
        task, first = failed[0]
        others = f" ({len(failed)} of {len(tasks)} chains failed.)" if len(failed) > 1 else ""
        error = ChainsFailed(first.reason + others, first.chain, keep_deck(task, keep), first.log)
        error.completed = tuple(o for o in outcomes if isinstance(o, ChainResult))
        raise error
    return [o for o in outcomes if isinstance(o, ChainResult)]


def run_all_chains(
    tasks: Sequence[ChainTask],
    *,
    workers: int | None = None,
    executor: Any = None,
    timeout: float | None = None,
    progress: Progress = False,
    ended: Callable[[int], None] | None = None,
    store: Store | None = None,
    simulator: Simulator = NGSPICE,
    contents: Sequence[bytes] = (),
) -> list[ChainResult | SimulationError]:
    """Run every task, each in a process of its own, and return the results in the order of the tasks.

    A result is a function of its task alone: not of the executor, of the order, or of how often it was interrupted. Equal
    tasks run once, and a task that the store has is not run.

    Parameters
    ----------
    tasks : sequence of ChainTask
    workers : int or None
        Processes at a time on this machine; None means one per processor.
    executor : concurrent.futures.Executor, distributed.Client or None
        Where to run instead.
    timeout : float or None
        Seconds after which a chain is stopped.
    progress : bool, callable or None
        True shows a bar with the time left, None does so in a Jupyter notebook only. A callable is called as
        ``progress(number_of_the_task, steps_done)``: a few times a second, with all steps as the chain ends.
    ended : callable or None
        Called with the number of a task as its chain ends.
    store : Store or None
        Where chains are kept, to be taken up again or found again; None keeps nothing.
    simulator : Simulator
        What runs them; ngspice if it is left out.
    contents : sequence of bytes
        What its ``prepare`` returned for the circuit of each task; empty if no task needs anything.

    Raises
    ------
    MissingSimulatorError
        If the chains run here, and the simulator cannot be found.
    InputError
        If an argument cannot be used, the executor is none, or the store cannot be made.
    """
    _check_arguments(workers, timeout, store)
    check_found(check_simulator(simulator))
    wanted = list(contents) or [b""] * len(tasks)
    if wrong := [extra for extra in wanted if not isinstance(extra, bytes)]:
        raise InputError(f"{simulator.name} prepared {wrong[0]!r:.100} for a circuit. Let its prepare return bytes.")
    for extra in dict.fromkeys(wanted) if executor is None else ():
        simulator.check(extra)  # say so here, once, and not in every worker
    keys = [task.key(identity(simulator, extra)) for task, extra in zip(tasks, wanted, strict=True)]
    with _folder(store) as kept, kept.token() as token, open_pool(executor, workers, len(set(keys))) as pool:
        place = str(kept.folder.absolute())
        jobs = {
            key: Job(task, key, place, token, timeout, simulator.path, extra)
            for key, task, extra in zip(keys, tasks, wanted, strict=True)
        }
        total, found = sum(task.n_steps for task in tasks), sum(read_steps(kept.folder / key) for key in keys)
        with told(progress, simulator.name.removeprefix("lib"), total, "steps", found) as tell:
            ends = _run(pool, jobs, keys, tell, ended or (lambda _: None))
        results = {
            key: end if isinstance(end, SimulationError) else take(kept.folder / key, jobs[key].task, end.files)
            for key, end in ends.items()
        }
    return [results[key] for key in keys]


def _check_arguments(workers: Any, timeout: Any, store: Any) -> None:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InputError(
            f"workers = {workers!r} cannot be used. Give a whole number >= 1, or None for one per processor."
        )
    if timeout is not None:
        check_positive("run", "timeout", timeout, "a chain needs some time")
    if store is not None and not isinstance(store, Store):
        raise InputError(
            f"store = {store!r} is none. Give circuitlsc.simulator.store.Store(pathlib.Path(folder)), or None."
        )


@contextmanager
def _folder(store: Store | None) -> Iterator[Store]:
    """Yield the store, or one that vanishes: what is mapped from its files stays readable for as long as it is used."""
    if store is not None:
        store.make()
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="circuitlsc-", ignore_cleanup_errors=True) as root:
        yield Store(Path(root))


def _run(
    pool: Pool,
    jobs: dict[str, Job],
    keys: Sequence[str],
    progress: Advance | None,
    tell_end: Callable[[int], None],
) -> dict[str, Done | SimulationError]:
    """Submit every job and wait; an interrupt, or an error of ``progress``, stops them all."""
    stop, known = threading.Event(), dict.fromkeys(jobs, 0)
    numbers = {key: [n for n, other in enumerate(keys) if other == key] for key in jobs}

    def tell(key: str, steps: int) -> None:
        if progress is not None and steps != known[key]:
            known[key] = steps
            for number in numbers[key]:
                progress(number, steps)

    extra = [stop] if pool.here else []
    futures = {key: pool.executor.submit(simulate, job, *extra) for key, job in jobs.items()}
    ended: dict[str, Done | SimulationError] = {}
    looked = time.monotonic()
    try:
        while len(ended) < len(futures):
            time.sleep(_POLL)  # an interrupt reaches the main thread here
            look = progress is not None and time.monotonic() - looked > _LOOK
            looked = time.monotonic() if look else looked
            for key in futures.keys() - ended.keys():
                if futures[key].done():
                    ended[key] = _outcome(futures[key], jobs[key].task)
                    if isinstance(ended[key], Done):
                        tell(key, jobs[key].task.n_steps)
                        for number in numbers[key]:
                            tell_end(number)
                elif look and (steps := read_steps(Path(jobs[key].store) / key)) < jobs[key].task.n_steps:
                    tell(key, steps)
    except BaseException:
        stop.set()
        for future in futures.values():
            future.cancel()
        raise
    return ended


def _outcome(future: Future[Done | SimulationError], task: ChainTask) -> Done | SimulationError:
    """Return what a future returned, or why the executor lost it."""
    try:
        return future.result()
    except (CancelledError, Exception) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return SimulationError(
            f"the executor lost it ({said.rstrip('.')}): its workers or its scheduler ended. Run it again; on the command line "
            "--resume goes on where it stopped.",
            task.chain,
        )


def keep_deck(task: ChainTask, keep: Path | None) -> Path | None:
    """Write the deck of a failed chain where its owner finds it; None if the disk is full, which may be why it failed."""
    try:
        folder = keep or Path(tempfile.mkdtemp(prefix="circuitlsc-failed-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"failed-chain{task.chain}.cir"
        write_text(path, task.deck)  # a link there is replaced, not followed
    except OSError:
        return None
    return path
