"""The sampler: a model and an input, compiled into a circuit that can be looked at, exported and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PySpice.Spice.Netlist import Circuit, SubCircuit

from circuitlsc.arrays import Array
from circuitlsc.cells import State
from circuitlsc.checks import check_circuit
from circuitlsc.errors import InputError, SimulationError
from circuitlsc.graph import SignalFlowGraph, Twin
from circuitlsc.hardware import Hardware
from circuitlsc.lowering import lower, lower_to_subcircuit
from circuitlsc.model import SparseCodingModel
from circuitlsc.nonideal import IDEAL, Nonidealities
from circuitlsc.report import scaling_report
from circuitlsc.runplan import RunPlan
from circuitlsc.samples import Samples, collect
from circuitlsc.scaling import Scaling, scale_for
from circuitlsc.spice.deck import fingerprint, library_deck, options, standalone_deck
from circuitlsc.spice.engine import ChainResult, run_chains
from circuitlsc.spice.task import ChainTask, chunk_length
from circuitlsc.stepping import StepPlan, plan_step
from circuitlsc.systems import lsc

LEVELS = ("ideal", "device")
WIRES = ("reduced", "segments")
TOLERANCE = 1e-5  # of Newton's iteration, relative and in model units; "tight" work asks for 1e-9
BEYOND = 4.0  # a neuron without rails of its own may go so many times beyond the supply before a run is refused
DRAWS = 5  # kept per tau, or per diffusion time of the slab if that is shorter


@dataclass(frozen=True, eq=False)
class Sampler:
    """A compiled sampler; made by `build_sampler`.

    Attributes
    ----------
    model, x : the model and its input, shape (n_features,)
    form : str
    temperature : float
    scaling : Scaling
    plan : StepPlan
        Width, step, and how they follow from the model.
    graph : SignalFlowGraph
        The vector cells and their wires.
    circuit : PySpice Circuit
        The graph's netlist, with `external` noise sources.
    tolerance : float
        Of Newton's iteration.
    level : str
    nonideal : Nonidealities
        What the parts of a device-level circuit do wrong.
    halvings : int
        How often the noise path's step was halved to get the plan's.
    wires : str
        How resistive wires are simulated.
    """

    model: SparseCodingModel
    x: Array
    form: str
    temperature: float
    scaling: Scaling
    plan: StepPlan
    graph: SignalFlowGraph
    circuit: Circuit
    tolerance: float = TOLERANCE
    level: str = "ideal"
    nonideal: Nonidealities = IDEAL
    halvings: int = 0
    wires: str = "reduced"
    _standalone: SignalFlowGraph = field(repr=False, kw_only=True)

    @cached_property
    def twin(self) -> Twin:
        """The NumPy twin of the circuit."""
        return Twin(self.graph)

    @cached_property
    def library_deck(self) -> str:
        """The deck that the engine loads into libngspice."""
        nodes = dict.fromkeys([*self.graph.integrator.nodes, *(state.node for state in self._held)])
        return library_deck(self.circuit, list(nodes), self.options)

    @property
    def _held(self) -> list[State]:
        """Capacitors other than the neurons'."""
        state = self.graph.integrator
        return [s for cell in self.graph.cells if cell is not state for s in cell.states(self.scaling)]

    @property
    def options(self) -> str:
        """The ``.options`` line that the cells want: Newton's tolerances, and a time step set by the noise alone."""
        return options(self.tolerance, self.scaling.volt, self.scaling.drift_current)

    def subcircuit(self, name: str = "lsc_sampler") -> SubCircuit:
        """Return the whole sampler as one subcircuit, to put into a circuit of your own.

        Its pins are ``u_0 .. u_K-1``; its noise is ``trrandom``, which every ngspice has (set ``.option seed``). Give the
        circuit around it the line `options`: the noise sets the time step, and ngspice's own control would fight it.
        """
        return lower_to_subcircuit(self._standalone, self.scaling, step=self.plan.step, name=name)

    def deck(self, *, t_stop: float, warmup: float = 20.0, seed: int = 0) -> str:
        """Return a stand-alone deck for plain ``ngspice -b``, with seeded ``trrandom`` noise.

        Parameters
        ----------
        t_stop, warmup : float
            In units of tau; means are taken over warmup .. t_stop.
        seed : int
            ngspice's seed, >= 0 (0 is written as 1 greater, because ngspice takes 0 for "none").
        """
        RunPlan(t_stop=t_stop, warmup=warmup, seed=seed)
        circuit = lower(self._standalone, self.scaling, step=self.plan.step)
        code = next((c for c in self.graph.cells if c.quantity == "s"), self.graph.integrator)
        m, s = self.model, self.scaling
        numbers = " ".join(f"{k}={v!r}" for k, v in m.prior.numbers().items())
        header = [
            f"circuitlsc sampler: {m.n_features} x {m.n_latents}, {m.prior.kind} prior, {self.form} form",
            f"generated by circuitlsc {version('circuitlsc')}; regenerate it instead of editing",
            f"model    x = A s + n, sigma={float(m.sigma)!r}; {m.prior.kind} {numbers} signed={m.prior.signed}",
            f"energy   |x - A s|^2/(2 sigma^2) + sum c(u), sampled at temperature {float(self.temperature)!r}",
            f"units    u, s: {s.volt!r} V; r: {s.volt_r!r} V; e: {s.volt_e!r} V; drift: {s.drift_current!r} A; "
            f"tau: {s.tau!r} s",
            f"cells    comparator width {self.plan.width!r} units; noise held for {self.plan.step!r} tau",
            f"seed     {seed + 1} (circuitlsc seed {seed})",
        ]
        return standalone_deck(
            circuit,
            header=header,
            nodes=self.graph.integrator.nodes,
            measured=code.nodes,
            option_line=self.options,
            seed=seed + 1,
            step=self.plan.step * s.tau,
            t_start=warmup * s.tau,
            t_stop=t_stop * s.tau,
        )

    def starts(self, chains: int, seed: int) -> Array:
        """Return initial states (chains, n_latents): opposite modes (all off, all on), then draws from the prior."""
        model = self.model
        starts = np.zeros((chains, model.n_latents))
        if chains > 1:
            ridge = model.A.T @ model.A + model.sigma**2 * np.eye(model.n_latents)
            fit = np.linalg.solve(ridge, model.A.T @ self.x)
            code = fit if model.prior.signed else np.abs(fit)
            starts[1] = code + model.prior.threshold * np.where(code < 0, -1.0, 1.0)
        rng = np.random.default_rng([seed, 1])
        for c in range(2, chains):
            code = model.prior.draw((model.n_latents,), rng)
            starts[c] = code + np.where(code != 0, model.prior.threshold * np.sign(code), 0.0)
        room = 0.9 * self.scaling.rails / self.scaling.volt
        return np.clip(starts, -room, room)

    def tasks(self, run: RunPlan) -> list[ChainTask]:
        """Return the chains of a run as data."""
        state, noise, step = self.graph.integrator, self.graph.noise, self.plan.step
        n_steps, n_warmup = round(run.t_stop / step), round(run.warmup / step)
        thin = run.thin or max(1, round(min(1.0, self.plan.time_scale) / (DRAWS * step)))
        if (n_steps - n_warmup) // thin < 4:
            raise InputError(
                f"run.t_stop = {run.t_stop!r} tau leaves {(n_steps - n_warmup) // thin} samples per chain "
                f"(step {step:g}, thin {thin}), but statistics need 4. Give t_stop >= {run.warmup + 4 * thin * step:g}."
            )
        starts, held = self.starts(run.chains, run.seed), self._held
        return [
            ChainTask(
                deck=self.library_deck,
                nodes=state.nodes,
                observed=(),
                capacitors=tuple(s.capacitor for s in (*state.states(self.scaling), *held)),
                held=tuple(s.node for s in held),
                held_start=tuple(s.start for s in held),
                devices=noise.devices(),
                sources=noise.sources,
                units=noise.units(self.scaling),
                volt=self.scaling.volt,
                tau=self.scaling.tau,
                step=step,
                n_steps=n_steps,
                n_warmup=n_warmup,
                thin=thin,
                chunk=chunk_length(self.model.n_latents),
                seed=int(run.seed),
                chain=c,
                temperature=float(self.temperature),
                halvings=self.halvings,
                start=tuple(float(v) for v in starts[c]),
            )
            for c in range(run.chains)
        ]

    def run(
        self,
        run: RunPlan | None = None,
        *,
        t_stop: float | None = None,
        chains: int = 2,
        seed: int = 0,
        warmup: float = 20.0,
        thin: int | None = None,
        workers: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        keep: Path | None = None,
    ) -> Samples:
        """Run the circuit in ngspice, one worker process per chain, and return its samples.

        Parameters
        ----------
        run : RunPlan or None
            The plan; or give ``t_stop``, ``chains``, ``seed``, ``warmup``, ``thin`` (times in units of tau).
        workers : int or None
            Processes at a time; None means one per processor.
        timeout : float or None
            Seconds after which a chain is stopped.
        progress : callable or None
            Called as ``progress(chain, steps_done)``.
        keep : pathlib.Path or None
            Folder for the deck of a chain that fails.

        Raises
        ------
        SimulationError
            If a chain crashed, did not converge or ran out of time (the deck is kept).
        MissingSimulatorError
            If libngspice is not installed.
        """
        if run is None:
            if t_stop is None:
                raise InputError("run() needs t_stop, the length of each chain in units of tau.")
            run = RunPlan(t_stop=t_stop, warmup=warmup, chains=chains, seed=seed, thin=thin)
        tasks = self.tasks(run)
        results = run_chains(tasks, workers=workers, timeout=timeout, progress=progress, keep=keep)
        if self.level == "device":
            self._check_supply(results)
        return collect(self, run, tasks, results)

    def _check_supply(self, results: Sequence[ChainResult]) -> None:
        """Raise SimulationError if a neuron went where no supply can drive it: nothing there means anything."""
        limit = BEYOND * self.scaling.rails
        for result in results:
            reached = float(np.max(np.abs(result.u), initial=0.0)) * self.scaling.volt
            if reached > limit:
                raise SimulationError(
                    f"a neuron reached {reached:.3g} V on a supply of +-{self.scaling.rails:g} V: the circuit is unstable, or "
                    "an error is far too large. Look at the design rules; integrator.rail and op_amp.rail clamp the voltages.",
                    result.chain,
                )

    @cached_property
    def engine_deck_hash(self) -> str:
        """SHA-256 of the deck that the engine loads."""
        return fingerprint(self.library_deck)

    def report(self) -> str:
        """Return the scaling report: step and width with their reasons, currents, voltages, conductances, noise."""
        return scaling_report(self)


def build_sampler(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    form: str = "gram",
    level: str = "ideal",
    nonideal: Nonidealities | None = None,
    width: float | None = None,
    step: float | None = None,
    volt: float | None = None,
    c_int: float = 1e-12,
    tau: float = 1e-6,
    rails: float = 2.5,
    temperature: float = 1.0,
    tolerance: float = TOLERANCE,
    halvings: int = 0,
    wires: str = "reduced",
) -> Sampler:
    r"""Compile a model and an input into a circuit whose noise samples the posterior.

    .. math:: C\,\dot V_i = -I_{drift}\,\partial_i E_w(u; x) + \sqrt{2 T}\,\text{noise}

    Fang et al. 2022, eqs. (2.29), (3.5), (3.9) corrected.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
        Observation, in data units.
    form : str
        ``"gram"``: one K x K crossbar. ``"residual"``: two D x K crossbars, the form that learns.
    level : str
        ``"ideal"``: controlled sources, tables, conductances. ``"device"``: resistor crossbars, op-amps, comparators and
        noise sources, with the imperfections of ``nonideal``.
    nonideal : Nonidealities or None
        At device level: what the parts do wrong; None is ideal parts.
    width : float or None
        Comparator width in model units; None follows from the model (`circuitlsc.stepping`).
    step : float or None
        Step in units of tau; None follows from the model.
    volt, c_int, tau, rails : float
        Volts per model unit (None: 0.1 V, or less if the rails ask for it), farad, seconds, volts.
    temperature : float
        T in exp(-E/T).
    tolerance : float
        Of Newton's iteration, relative and in model units.
    halvings : int
        Halve the step so often, on the same noise path (a Brownian bridge fills it in).
    wires : str
        How the engine simulates resistive wires: ``"reduced"`` to the mesh that a crossbar's terminals see (exact), or
        ``"segments"``, one resistor each. Stand-alone decks always have every segment.

    Returns
    -------
    Sampler

    Raises
    ------
    InputError
        If an argument cannot be used; the message says what can.
    NetlistError
        If the circuit breaks an electrical rule.
    """
    if level not in LEVELS:
        raise InputError(f"level = {level!r} is not one of {', '.join(LEVELS)}.")
    if not np.isfinite(tolerance) or not 0 < tolerance <= 1e-2:
        raise InputError(f"tolerance = {tolerance!r}, but Newton's iteration needs one in (0, 0.01].")
    x = model.check_x(x)
    if nonideal is not None and level != "device":
        raise InputError('nonideal parts need level = "device": the ideal level has no parts that could be imperfect.')
    if isinstance(halvings, bool) or not isinstance(halvings, int) or not 0 <= halvings <= 10:
        raise InputError(f"halvings = {halvings!r} is not a whole number from 0 to 10.")
    parts = nonideal if nonideal is not None else IDEAL
    scaling = scale_for(model, x, volt=volt, c_int=c_int, tau=tau, rails=rails)
    if parts.comparator.width is not None:
        if width is not None:
            raise InputError("circuit.width and nonideal.comparator.width are both given. Give one of them.")
        width = parts.comparator.width / scaling.volt
    plan = plan_step(model, x, width=width, step=step, temperature=temperature)
    if halvings:
        plan = replace(plan, step=plan.step / 2**halvings)
    if wires not in WIRES:
        raise InputError(f"wires = {wires!r} is not one of {', '.join(WIRES)}.")
    graph, standalone = (
        lsc(
            model,
            x,
            form=form,
            width=plan.width,
            temperature=temperature,
            noise=noise,
            hardware=Hardware(parts, scaling, reduced) if level == "device" else None,
        )
        for noise, reduced in (("external", wires == "reduced"), ("trrandom", False))
    )
    sampler = Sampler(
        model=model,
        x=x,
        form=form,
        temperature=temperature,
        scaling=scaling,
        plan=plan,
        graph=graph,
        circuit=lower(graph, scaling, step=plan.step),
        tolerance=tolerance,
        level=level,
        nonideal=parts,
        halvings=halvings,
        wires=wires,
        _standalone=standalone,
    )
    check_circuit(sampler.circuit)
    return sampler


def rebuilt(sampler: Sampler, **changes: Any) -> Sampler:
    """Compile a sampler again with some arguments of `build_sampler` changed, at the same step, width and scales."""
    scaling = sampler.scaling
    nonideal = changes.get("nonideal", sampler.nonideal)
    arguments: dict[str, Any] = {
        "form": sampler.form,
        "level": sampler.level,
        "nonideal": nonideal if sampler.level == "device" else None,
        "width": None if nonideal.comparator.width is not None else sampler.plan.width,
        "step": sampler.plan.step * 2**sampler.halvings,
        "volt": scaling.volt,
        "c_int": scaling.c_int,
        "tau": scaling.tau,
        "rails": scaling.rails,
        "temperature": sampler.temperature,
        "tolerance": sampler.tolerance,
        "halvings": sampler.halvings,
        "wires": sampler.wires,
    }
    return build_sampler(sampler.model, sampler.x, **{**arguments, **changes})
