"""Many circuits at once: the chains of all of them are one list of tasks for whatever executor there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from circuitlsc.errors import InputError, SimulationError
from circuitlsc.io.progress import Progress
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.simulator.engine import keep_deck, run_all_chains
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator, check_simulator
from circuitlsc.simulator.task import ChainTask

Note = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class CircuitRun:
    """A circuit, how long it runs, and the name by which messages call it."""

    name: str
    sampler: Sampler
    plan: RunPlan


def run_circuits(
    runs: Sequence[CircuitRun],
    *,
    note: Note | None = None,
    progress: Progress = None,
    simulator: Simulator = NGSPICE,
    **machine: Any,
) -> dict[str, Samples]:
    """Run every chain of every circuit, and return the samples by name; equal circuits run once.

    Parameters
    ----------
    runs : sequence of CircuitRun
    note : callable or None
        Called with a circuit's name as its last chain ends.
    progress : bool, callable or None
        As for `Sampler.run`, over the steps of all circuits. A callable is called as ``progress(number, steps_done)``; chains
        of all circuits are numbered in their order.
    simulator : Simulator
        What runs the chains.
    **machine
        ``workers``, ``executor``, ``timeout``, ``store`` as for `circuitlsc.simulator.engine.run_all_chains`.

    Raises
    ------
    InputError
        If two runs have one name, or the simulator is none.
    SimulationError
        If a chain of any circuit failed, or its neurons left the supply; the message names the circuit. All others ran to
        their end: with a store they are not simulated again.
    """
    check_simulator(simulator)
    if twice := [name for name, count in Counter(run.name for run in runs).items() if count > 1]:
        raise InputError(
            f"several runs are called {twice[0]!r}, and samples are told by name. Give each a name of its own."
        )
    names, tasks, contents = list[str](), list[ChainTask](), list[bytes]()
    for run in runs:
        chains = run.sampler.tasks(run.plan)
        names += [run.name] * len(chains)
        tasks += chains
        contents += [simulator.prepare(run.sampler)] * len(chains)
    left = Counter(names)

    def tell(number: int) -> None:
        left[names[number]] -= 1
        if note is not None and left[names[number]] == 0:
            note(names[number])

    how: dict[str, Any] = {"simulator": simulator, "contents": contents, **machine}
    outcomes = run_all_chains(tasks, progress=progress, ended=tell, **how)
    out: dict[str, Samples] = {}
    failed: list[tuple[str, SimulationError, ChainTask]] = []
    for run in runs:
        ended = [
            (task, outcome) for name, task, outcome in zip(names, tasks, outcomes, strict=True) if name == run.name
        ]
        try:
            for _, outcome in ended:
                if isinstance(outcome, SimulationError):
                    raise outcome
            done = [outcome for _, outcome in ended if isinstance(outcome, ChainResult)]
            out[run.name] = run.sampler.label(run.plan, [task for task, _ in ended], done)
        except SimulationError as error:
            failed.append((run.name, error, next(task for task, _ in ended if task.chain == error.chain)))
    if failed:
        name, first, task = failed[0]
        others = f" ({len(failed)} of {len(runs)} circuits failed.)" if len(failed) > 1 else ""
        reason = f"the circuit {name!r} failed: {first.reason}{others}"
        raise SimulationError(reason, first.chain, keep_deck(task, None), first.log)
    return out
