"""The sampler: a model and an input, compiled into a circuit that can be looked at, exported and run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.errors import InputError, SimulationError
from circuitlsc.io.progress import Progress
from circuitlsc.planning.run_plan import RunPlan, choose_run
from circuitlsc.sampling.circuit import CompiledCircuit
from circuitlsc.sampling.lazy_draws import stacked
from circuitlsc.sampling.samples import Samples, collect
from circuitlsc.sampling.scaling_report import scaling_report, scaling_rows
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator, check_simulator
from circuitlsc.simulator.store import Store
from circuitlsc.simulator.task import ChainTask

BEYOND = 4.0  # a neuron without rails of its own may go so many times beyond the supply before a run is refused


@dataclass(frozen=True, eq=False)
class Sampler(CompiledCircuit):
    """A compiled sampler that runs; made by `build_sampler`, and holds what `CompiledCircuit` does.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> sampler = build_sampler(model, model.draw(1)[1])
    >>> sampler.deck(t_stop=10.0, warmup=1.0).splitlines()[0]
    '* circuitlsc sampler: 4 x 4, spike-slab prior, gram form'
    >>> sampler.run(t_stop=200.0, chains=2, seed=1)
    Samples(2 chains x 900 draws x 4 latents, 200 tau each, ideal level, seed 1)
    """

    def run_plan(
        self,
        *,
        t_stop: float | None = None,
        warmup: float | None = None,
        chains: int | None = None,
        seed: int = 0,
        thin: int | None = None,
    ) -> RunPlan:
        """Return the plan of a run; what is left out is chosen as `circuitlsc.planning.run_plan.choose_run` says."""
        given: dict[str, Any] = {"t_stop": t_stop, "warmup": warmup, "chains": chains, "seed": seed, "thin": thin}
        return choose_run(settles=self.dynamics.settles, stream=self.stream, **given)

    def run(
        self,
        run: RunPlan | None = None,
        *,
        t_stop: float | None = None,
        chains: int | None = None,
        seed: int = 0,
        warmup: float | None = None,
        thin: int | None = None,
        workers: int | None = None,
        executor: Any = None,
        timeout: float | None = None,
        progress: Progress = None,
        keep: Path | None = None,
        store: Store | None = None,
        simulator: Simulator = NGSPICE,
    ) -> Samples:
        """Run the circuit, in ngspice if nothing else is asked for, one worker process per chain, and return its samples.

        They depend on the circuit and the plan alone, not on where and in what order the chains run.

        Parameters
        ----------
        run : RunPlan or None
            The plan; or give what `run_plan` takes.
        workers : int or None
            Processes at a time; None means one per processor.
        executor : concurrent.futures.Executor, distributed.Client or None
            Runs the chains elsewhere, for example on a Dask cluster.
        timeout : float or None
            Seconds after which a chain is stopped.
        progress : bool, callable or None
            True shows a bar with the time left, False none, and None one in a Jupyter notebook only. A callable is called as
            ``progress(chain, steps_done)``.
        keep : pathlib.Path or None
            Folder for the deck of a chain that fails.
        store : Store or None
            Where chains are kept while they run and afterwards: what is there is not simulated again.
        simulator : Simulator
            What runs the chains: see `circuitlsc.simulator.simulator.Simulator`.

        Raises
        ------
        SimulationError
            If a chain crashed, did not converge or ran out of time (the deck is kept).
        MissingSimulatorError
            If the simulator is not installed.
        """
        times = {"t_stop": t_stop, "warmup": warmup, "chains": chains, "thin": thin}
        if run is not None and (
            not isinstance(run, RunPlan) or seed != 0 or any(v is not None for v in times.values())
        ):
            raise InputError(
                f"run: the plan is {run!r}, and nothing else may say how long a run is. Give a RunPlan alone, or "
                "t_stop=..., chains=..., seed=..., warmup=..., thin=..."
            )
        if run is None:
            run = self.run_plan(t_stop=t_stop, warmup=warmup, chains=chains, seed=seed, thin=thin)
        tasks = self.tasks(run)
        machine = {"workers": workers, "executor": executor, "timeout": timeout, "progress": progress, "store": store}
        contents = [check_simulator(simulator).prepare(self)] * len(tasks)
        results = run_chains(tasks, keep=keep, simulator=simulator, contents=contents, **machine)
        return self.label(run, tasks, results)

    def label(self, run: RunPlan, tasks: Sequence[ChainTask], results: Sequence[ChainResult]) -> Samples:
        """Return the samples of chains that ran elsewhere; ``tasks`` are those of the run.

        Raises
        ------
        SimulationError
            If a neuron, or another state, went where no supply can drive it.
        """
        if self.level == "device":
            self._check_supply(results)
        return collect(self, run, tasks, results)

    def _check_supply(self, results: Sequence[ChainResult]) -> None:
        """Raise SimulationError if a state went where no supply can drive it: nothing there means anything."""
        limit, names = BEYOND * self.scaling.rails, ", ".join(cell.letter for cell in self.observed)
        states = {"a neuron": "u", f"a state of {names}": "observed"}
        for result, (what, which) in product(results, states.items()):
            largest = (np.max(np.abs(piece), initial=0.0) for piece in stacked([getattr(result, which)]).pieces())
            reached = float(max(largest)) * self.scaling.volt
            if reached > limit:
                raise SimulationError(
                    f"{what} reached {reached:.3g} V on a supply of +-{self.scaling.rails:g} V: the circuit is unstable, or "
                    "an error is far too large. Look at the design rules; integrator.rail and op_amp.rail clamp the voltages.",
                    result.chain,
                )

    def report(self) -> str:
        """Return the scaling report: step and width with their reasons, currents, voltages, conductances, noise."""
        return scaling_report(self)

    def _facts(self) -> Iterator[tuple[str, str]]:
        return scaling_rows(self)
