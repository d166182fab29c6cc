r"""A circuit that learns, compiled: its graph, scales, deck, and the pieces of its transient as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.plasticity import learning_system, starts
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, plain
from circuitlsc.io.output import GENERATED
from circuitlsc.learning.settings import SlowSettings
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.model.priors import Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities, as_nonidealities
from circuitlsc.planning.scaling import Scaling, scale_for
from circuitlsc.planning.stepping import plan_step
from circuitlsc.sampling.circuit import task_fields
from circuitlsc.simulator.ngspice.deck import check_tolerance, library_deck, ngspice_seed, options, standalone_deck
from circuitlsc.simulator.task import ChainTask, chunk_length

# Synapses and neurons times steps: what an interruption costs at most, some twenty seconds; each piece starts a process.
PIECE = 12_000_000
TOLERANCE = 1e-4  # of Newton's iteration: what is learned averages over thousands of inputs


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningCircuit(SlowSettings):
    """A circuit that learns, compiled: `circuitlsc.learning.circuit.CircuitLearner` says what each field is, and runs it."""

    stage: Stage
    level: str = "ideal"
    nonideal: Nonidealities | None = None
    width: float | None = None
    volt: float | None = None
    c_int: float = 1e-12
    tau: float = 1e-6
    rails: float = 2.5
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        self._check()
        if self.level not in ("ideal", "device"):
            raise InputError(f"level = {self.level!r} is not one of ideal, device.")
        if self.nonideal is not None and self.level != "device":
            raise InputError(
                'nonideal parts need level = "device": the ideal level has no parts that could be imperfect.'
            )
        if not isinstance(self.stage, Stage):
            raise InputError(f"CircuitLearner: stage = {self.stage!r} is no Stage. Give one: a circuit has no second.")
        self._check_learn([self.stage])
        for name in ("pi", "lam", "sigma", "width", "volt", "c_int", "tau", "rails"):
            self._keep(**{name: plain(getattr(self, name))})
        parts = None if self.nonideal is None else as_nonidealities(self.nonideal)
        self._keep(tolerance=check_tolerance(self.tolerance), nonideal=parts)
        if self.stage.pause > 0:
            raise InputError(
                f"stage.pause = {self.stage.pause!r}, but a circuit that learns has no clock that could tell when an input "
                "switches. Give pause = 0, or learn in software."
            )
        if self.stage.n_steps % self.stage.hold_steps:
            raise InputError(
                f"stage.duration = {self.stage.duration!r} is no whole number of inputs of {self.stage.hold!r} tau each. "
                "Use Stage.of_inputs."
            )
        _ = self.graph  # refuses what cannot be learned

    @cached_property
    def model(self) -> SparseCodingModel:
        """What the circuit starts from."""
        prior = SpikeSlab(self.pi, self.lam, self.signed) if self.pi != 1 else Laplace(self.lam, self.signed)
        return SparseCodingModel(np.asarray(self.A0), prior, self.sigma)

    @cached_property
    def rows(self) -> Array:
        """The inputs in the order in which they are shown, shape (n_inputs, D), in data units."""
        return np.concatenate([self._source.batch(i, 1, self.seed) for i in range(self.stage.n_inputs)])

    @cached_property
    def unit_model(self) -> SparseCodingModel:
        """The model with atoms of unit norm: what width and scales follow from, wherever learning starts."""
        A = self.model.A
        return replace(self.model, A=A / np.linalg.norm(A, axis=0))

    @cached_property
    def comparator_width(self) -> float:
        """Width of the comparators, in model units."""
        return plan_step(self.unit_model, self.rows[0], width=self.width).width

    @cached_property
    def scaling(self) -> Scaling:
        """Volts, amperes and seconds per model unit."""
        return scale_for(self.unit_model, self.rows, volt=self.volt, c_int=self.c_int, tau=self.tau, rails=self.rails)

    @property
    def slowness(self) -> dict[str, float]:
        """Time constants of what is learned, in units of tau."""
        return {what: getattr(self.stage, TIME_CONSTANTS[what]) for what in self.learn}

    def _graph(self, noise: str, n_inputs: int | None = None) -> SignalFlowGraph:
        parts = self.nonideal or IDEAL
        return learning_system(
            self.model,
            slowness=self.slowness,
            width=self.comparator_width,
            noise=noise,
            start=self.first_u,
            hardware=Hardware(parts, self.scaling, True) if self.level == "device" else None,
            stream=Stream(self.rows[:n_inputs], self.stage.hold, "hold"),
            step=self.stage.step,
        )

    @cached_property
    def graph(self) -> SignalFlowGraph:
        """The signal-flow graph, with noise from outside."""
        graph = self._graph("external")
        check_circuit(lower(graph, self.scaling, step=self.stage.step))
        return graph

    @cached_property
    def first_u(self) -> Array:
        """The neurons' start, shape (K,)."""
        return np.asarray(starts(self.model, np.random.default_rng([self.seed, 2])))

    @cached_property
    def library_deck(self) -> str:
        """The deck that the engine loads into libngspice."""
        circuit = lower(self.graph, self.scaling, step=self.stage.step)
        held = (s.node for s in self.graph.held(self.scaling))
        nodes = dict.fromkeys([*self.graph.integrator.nodes, *self.slow_nodes, *held])
        tolerances = options(self.tolerance, self.scaling.volt, self.scaling.drift_current)
        return library_deck(circuit, list(nodes), tolerances)

    @property
    def slow_nodes(self) -> tuple[str, ...]:
        """Nodes of the slow variables, in the order of the twin's state."""
        return tuple(node for cell in self.graph.integrators[1:] for node in cell.nodes)

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        given = {name: value for name, value in super().settings().items() if name != "snapshots"}
        parts = {} if self.nonideal is None else {"seed": self.nonideal.seed, **self.nonideal.attributes()}
        return {
            **given,
            "where": "circuit",
            "piece": self.pieces[0].stop,
            "learn": sorted(self.learn),
            "stages": [asdict(self.stage)],
            "width": self.comparator_width,
            "volt": self.scaling.volt,
            "nonideal": parts,
        }

    @property
    def pieces(self) -> list[slice]:
        """Which inputs each piece of the transient shows."""
        each = max(1, PIECE // (self.model.A.size + self.model.n_latents) // self.stage.hold_steps)
        return [slice(i, min(i + each, self.stage.n_inputs)) for i in range(0, self.stage.n_inputs, each)]

    def task(self, piece: int, u: Array, held: Mapping[str, float], *, stop: int | None = None) -> ChainTask:
        """Return a piece of the transient as data, from the states that the last one reached (volts by node).

        ``stop`` ends it before that input.
        """
        graph, scaling, stage = self.graph, self.scaling, self.stage
        fields = task_fields(graph, scaling)
        rows = slice(self.pieces[piece].start, stop or self.pieces[piece].stop)
        streams = [(cell, cell.stream.rows[rows]) for cell in graph.inputs_from_outside if cell.stream is not None]
        return ChainTask(
            deck=self.library_deck,
            observed=self._state_names(),
            **fields | {"held_start": tuple(held.get(s.node, s.start) for s in graph.held(scaling))},
            step=stage.step,
            n_steps=(rows.stop - rows.start) * stage.hold_steps,
            n_warmup=0,
            thin=stage.hold_steps,
            chunk=chunk_length(len(graph.integrator.nodes)),
            seed=int(self.seed),
            chain=piece,
            temperature=1.0,
            halvings=0,
            start=tuple(float(v) for v in u),
            period=stage.hold_steps,
            inputs=tuple(name for cell, _ in streams for name in cell.devices()),
            rows=np.concatenate([values * cell.unit(scaling) for cell, values in streams], axis=1),
        )

    def _state_names(self) -> tuple[str, ...]:
        """Nodes of what is held between pieces: the slow variables, then other capacitors."""
        held = (s.node for s in self.graph.held(self.scaling))
        return (*self.slow_nodes, *(node for node in held if node not in self.slow_nodes))

    def deck(self, n_inputs: int | None = None) -> str:
        """Return a stand-alone deck for plain ``ngspice -b``, with seeded noise of its own.

        It saves the slow variables (not u: its run keeps every time point), and prints their means over the last quarter.

        Parameters
        ----------
        n_inputs : int or None
            How many inputs it shows; None: all.

        Raises
        ------
        InputError
            If there are not so many.
        """
        stage, s, m = self.stage, self.scaling, self.model
        n = stage.n_inputs if n_inputs is None else n_inputs
        if not 1 <= n <= stage.n_inputs:
            raise InputError(
                f"n_inputs = {n_inputs!r}, but the learner shows {stage.n_inputs} inputs. Give 1 .. {stage.n_inputs}."
            )
        duration = n * stage.hold
        numbers = " ".join(f"{k}={v!r}" for k, v in m.prior.numbers().items())
        slowness = ", ".join(f"{name} {self.slowness[name]!r}" for name in self.learn)
        header = [
            f"circuitlsc learner: {m.n_features} x {m.n_latents}, {m.prior.kind} prior, learns {', '.join(self.learn)}",
            f"{GENERATED} {version('circuitlsc')}; regenerate it instead of editing",
            f"start    x = A s + n, sigma={float(m.sigma)!r}; {m.prior.kind} {numbers} signed={m.prior.signed}",
            f"slowness {slowness}, in units of tau",
            f"units    u, s, a, u0, lam, sigma: {s.volt!r} V; r: {s.volt_r!r} V; e: {s.volt_e!r} V; "
            f"drift: {s.drift_current!r} A; tau: {s.tau!r} s",
            f"cells    comparator width {self.comparator_width!r} units; step {stage.step!r} tau",
            f"input    {n} rows of {stage.hold!r} tau each",
            f"seed     {ngspice_seed(self.seed)} (circuitlsc seed {self.seed})",
        ]
        return standalone_deck(
            lower(self._graph("trrandom", n), s, step=stage.step, title="circuitlsc learner"),
            header=header,
            nodes=self.slow_nodes,
            measured=self.slow_nodes,
            option_line=options(self.tolerance, s.volt, s.drift_current),
            seed=self.seed,
            step=stage.step * s.tau,
            t_start=0.75 * duration * s.tau,
            t_stop=duration * s.tau,
        )

    def report(self) -> str:
        """Return scales, capacitors, and how long the circuit itself would take to learn."""
        stage, s, m = self.stage, self.scaling, self.model
        sizes = {"A": m.A.size, "pi": 1, "lam": 1, "sigma": 1}
        lines = [
            f"learner        {m.n_features} x {m.n_latents}, {self.level} level, learns {', '.join(self.learn)}",
            f"scales         u, s and slow variables {s.volt:.4g} V, r {s.volt_r:.4g} V, e {s.volt_e:.4g} V, "
            f"drift {s.drift_current:.4g} A per unit",
            f"width, step    {self.comparator_width:.4g} units, {stage.step:.4g} tau",
        ]
        for what in self.learn:
            name, slowness = what if what != "pi" else "u0", self.slowness[what]
            capacitors = f"{sizes[what]} x {slowness * s.c_int:.3g} F (a neuron has {s.c_int:.3g} F)"
            lines.append(f"tau_{name:<10} {slowness:.6g} tau: {capacitors}")
        shown = f"{stage.n_inputs} inputs of {stage.hold:.6g} tau"
        lines.append(
            f"time           {shown}: {stage.duration * s.tau:.4g} s of the circuit, {stage.n_steps} steps here"
        )
        return "\n".join(lines)
