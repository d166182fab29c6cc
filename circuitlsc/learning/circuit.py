r"""The circuit that learns: one transient in which inputs stream by, neurons sample, and slow capacitors move.

The transient is run in pieces of some thousand inputs' worth of steps at most; each starts from the voltages that the last
one reached, with noise of its own. A run that was interrupted goes on after its last whole piece, to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.plasticity import learning_system, starts
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, check_flag, plain, real_array
from circuitlsc.learning.checkpoint import check_path, fitting, load_checkpoint, restoring, save_checkpoint
from circuitlsc.learning.circuit_result import learning_result
from circuitlsc.learning.deck import learning_deck, learning_report
from circuitlsc.learning.learner import LearningRun
from circuitlsc.learning.source import Source, as_source, check_source, fingerprint
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage, check_learn
from circuitlsc.model.priors import Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream, grid_rows
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities, as_nonidealities
from circuitlsc.planning.scaling import Scaling, scale_for
from circuitlsc.planning.stepping import plan_step
from circuitlsc.reference.pathwise import trapezoid
from circuitlsc.simulator.ngspice.deck import check_tolerance, library_deck, options
from circuitlsc.simulator.ngspice.engine import run_chains
from circuitlsc.simulator.ngspice.noise import BrownianPaths
from circuitlsc.simulator.task import ChainTask, chunk_length

# Synapses and neurons times steps: what an interruption costs at most, some twenty seconds; each piece starts a process.
PIECE = 12_000_000
TOLERANCE = 1e-4  # of Newton's iteration: what is learned averages over thousands of inputs
CUTS = 12  # how often the twin may cut a step after a switch of the input, where the gradient at the gates is large


@dataclass(frozen=True, eq=False, kw_only=True)
class CircuitLearner:
    """A circuit that learns a dictionary, and the parameters of prior and noise; arguments as for `Learner` where they agree.

    Parameters
    ----------
    A0 : array, shape (D, K)
        Dictionary to start from, in data units per model unit.
    pi, lam, sigma : float
        P(active), rate of the slab and noise level to start from.
    source : Source, SparseCodingModel or array
        Where inputs come from; one is shown at a time.
    stage : Stage
        How long, with what step, and the time constants; its ``pause`` must be 0: a circuit has no clock.
    seed : int
        Of inputs, noise and the start of u.
    learn : tuple of str
        Which of "A", "pi", "lam", "sigma" move.
    signed : bool
        Whether codes may be negative.
    level : str
        ``"ideal"``, or ``"device"``: neurons, capacitors and multipliers with the errors of ``nonideal``.
    nonideal : Nonidealities or None
        A mapping will do: ``{"op_amp": {"offset": 1e-3}}``.
    width : float or None
        Comparator width in model units; None follows from lam and sigma, for atoms of unit norm.
    volt, c_int, tau, rails : float
        Volts per model unit (None: 0.1 V, or less if the rails ask for it), farad, seconds, volts.
    tolerance : float
        Of Newton's iteration.
    records, snapshots : int
        How many records of the history, and copies of A, there are at most.

    Raises
    ------
    InputError
        If a value is out of range, or cannot be learned by a circuit.
    """

    A0: ArrayLike
    pi: float
    lam: float
    sigma: float
    source: Source | SparseCodingModel | ArrayLike
    stage: Stage
    seed: int
    learn: tuple[str, ...] = ("A",)
    signed: bool = False
    level: str = "ideal"
    nonideal: Nonidealities | None = None
    width: float | None = None
    volt: float | None = None
    c_int: float = 1e-12
    tau: float = 1e-6
    rails: float = 2.5
    tolerance: float = TOLERANCE
    records: int = 400
    snapshots: int = 9
    _source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        A0 = real_array("A0", self.A0)
        if A0.ndim != 2 or 0 in A0.shape:
            raise InputError(f"A0 has shape {A0.shape}, but a dictionary is (n_features, n_latents), both >= 1.")
        if self.level not in ("ideal", "device"):
            raise InputError(f"level = {self.level!r} is not one of ideal, device.")
        if self.nonideal is not None and self.level != "device":
            raise InputError(
                'nonideal parts need level = "device": the ideal level has no parts that could be imperfect.'
            )
        if self.nonideal is not None:
            object.__setattr__(self, "nonideal", as_nonidealities(self.nonideal))
        if not isinstance(self.stage, Stage):
            raise InputError(f"CircuitLearner: stage = {self.stage!r} is no Stage. Give one: a circuit has no second.")
        check_learn("CircuitLearner", self.learn)
        object.__setattr__(self, "tolerance", check_tolerance(self.tolerance))
        object.__setattr__(self, "signed", check_flag("CircuitLearner: signed", self.signed))
        for name in ("pi", "lam", "sigma", "width", "volt", "c_int", "tau", "rails"):
            object.__setattr__(self, name, plain(getattr(self, name)))
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
        for name, least in (("seed", 0), ("records", 1), ("snapshots", 2)):
            object.__setattr__(self, name, check_count(f"CircuitLearner: {name}", getattr(self, name), least))
        source = as_source(self.source)
        check_source(source, len(A0))
        object.__setattr__(self, "A0", A0)
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "learn", tuple(self.learn))
        for what in self.learn:
            self.stage.rate(what)
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

    def standalone_graph(self, n_inputs: int) -> SignalFlowGraph:
        """Return the graph with noise and inputs of its own, of the first inputs."""
        return self._graph("trrandom", n_inputs)

    def deck(self, n_inputs: int | None = None) -> str:
        """Return a stand-alone deck for plain ``ngspice -b``: see `circuitlsc.learning.deck.learning_deck`."""
        return learning_deck(self, n_inputs)

    def report(self) -> str:
        """Return the scaling report: `circuitlsc.learning.deck.learning_report`."""
        return learning_report(self)

    @cached_property
    def first_u(self) -> Array:
        """The neurons' start, shape (K,)."""
        return np.asarray(starts(self.model, np.random.default_rng([self.seed, 2])))

    @cached_property
    def library_deck(self) -> str:
        """The deck that the engine loads into libngspice."""
        circuit = lower(self.graph, self.scaling, step=self.stage.step)
        nodes = dict.fromkeys([*self.graph.integrator.nodes, *self.slow_nodes, *(s.node for s in self._held)])
        tolerances = options(self.tolerance, self.scaling.volt, self.scaling.drift_current)
        return library_deck(circuit, list(nodes), tolerances)

    @property
    def _held(self) -> list[Any]:
        """Capacitors other than the neurons'."""
        state = self.graph.integrator
        return [s for cell in self.graph.cells if cell is not state for s in cell.states(self.scaling)]

    @property
    def slow_nodes(self) -> tuple[str, ...]:
        """Nodes of the slow variables, in the order of the twin's state."""
        state = self.graph.integrator
        return tuple(node for cell in self.graph.integrators if cell is not state for node in cell.nodes)

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        names = ("pi", "lam", "sigma", "seed", "signed", "level", "c_int", "tau", "rails", "tolerance", "records")
        parts = {} if self.nonideal is None else {"seed": self.nonideal.seed, **self.nonideal.attributes()}
        return {
            **{name: getattr(self, name) for name in names},
            "where": "circuit",
            "piece": self.pieces[0].stop,
            "A0": fingerprint(np.asarray(self.A0)),
            "learn": sorted(self.learn),
            "stages": [asdict(self.stage)],
            "source": dict(self._source.settings()),
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
        graph, scaling, stage, noise = self.graph, self.scaling, self.stage, self.graph.noise
        assert noise is not None
        rows = slice(self.pieces[piece].start, stop or self.pieces[piece].stop)
        streams = [(cell, cell.stream.rows[rows]) for cell in graph.inputs_from_outside if cell.stream is not None]
        return ChainTask(
            deck=self.library_deck,
            nodes=graph.integrator.nodes,
            observed=self._state_names(),
            capacitors=tuple(s.capacitor for s in (*graph.integrator.states(scaling), *self._held)),
            held=tuple(s.node for s in self._held),
            held_start=tuple(held.get(s.node, s.start) for s in self._held),
            devices=noise.devices(),
            sources=noise.sources,
            units=noise.units(scaling),
            volt=scaling.volt,
            tau=scaling.tau,
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

    def run(
        self,
        *,
        progress: Callable[[float, float], None] | None = None,
        checkpoint: Path | str | None = None,
        timeout: float | None = None,
        keep: Path | None = None,
    ) -> LearningRun:
        """Learn; ``progress`` and ``checkpoint`` as for `Learner.run`, ``timeout`` and ``keep`` as for `Sampler.run`.

        Raises
        ------
        InputError
            If the checkpoint is of other settings, or no checkpoint.
        SimulationError
            If ngspice failed.
        """
        path, settings = check_path(checkpoint), self.settings()
        n, width = self.stage.n_inputs, self.model.n_latents + len(self.slow_nodes)
        z, others, spent = np.empty((0, width)), np.empty(0), np.zeros(2)
        if path is not None and path.exists():
            with restoring(path):
                like = {"z": z, "others": others, "spent": spent}
                kept = fitting(load_checkpoint(path, settings), like, grow=("z", "others"))
                z, others, spent = kept["z"], kept["others"], kept["spent"]
                expected = len(self._state_names()) - len(self.slow_nodes)
                if len(z) not in {piece.stop for piece in self.pieces} or len(others) != expected:
                    raise ValueError("z")
        hold = self.stage.hold
        for number, piece in enumerate(self.pieces):
            if piece.stop <= len(z):
                continue

            def tell(_: int, steps: int, before: int = piece.start) -> None:
                if progress is not None:
                    progress(before * hold + steps * self.stage.step, n * hold)

            z, others, result = self._show(number, z, others, timeout=timeout, progress=tell, keep=keep)
            spent = spent + np.array([result.wall, result.steps])
            if path is not None:
                save_checkpoint(path, settings, {"z": z, "others": others, "spent": spent})
        return learning_result(self, z, settings, spent)

    def _state_names(self) -> tuple[str, ...]:
        """Nodes of what is held between pieces: the slow variables, then other capacitors."""
        return (*self.slow_nodes, *(s.node for s in self._held if s.node not in self.slow_nodes))

    def _show(
        self, number: int, z: Array, others: Array, *, stop: int | None = None, **run: Any
    ) -> tuple[Array, Array, Any]:
        """Run one piece from the last of states z; return the states with it, other capacitors' voltages, and the result."""
        k, width = self.model.n_latents, self.model.n_latents + len(self.slow_nodes)
        u = z[-1, :k] if len(z) else self.first_u
        held = dict(zip(self._state_names(), [*z[-1, k:], *others], strict=True)) if len(z) else {}
        task = self.task(number, u, {node: v * self.scaling.volt for node, v in held.items()}, stop=stop)
        (result,) = run_chains([task], workers=1, **run)
        ends = np.concatenate([result.u, result.observed], axis=1)
        return np.concatenate([z, ends[:, :width]]), ends[-1, width:], result

    def twin_states(self, n_inputs: int) -> Array:
        """Return what the NumPy twin learns on the same inputs and noise, at the end of each input, as `states` does.

        Shape (n_inputs, K + number of slow variables), in model units.
        """
        twin, stage, noise = Twin(self.graph), self.stage, self.graph.noise
        assert noise is not None
        z, kept = twin.full_state(self.first_u[None]), []
        for number, piece in enumerate(self.pieces):
            if piece.start >= n_inputs:
                break
            steps = (min(piece.stop, n_inputs) - piece.start) * stage.hold_steps
            paths = BrownianPaths(noise.sources, seed=int(self.seed), chain=number, step=stage.step)
            streams = [cell for cell in self.graph.inputs_from_outside if cell.stream is not None]
            inputs = {
                cell.name: grid_rows(cell.stream.rows[piece], stage.hold_steps, 0, steps, "hold")
                for cell in streams
                if cell.stream is not None
            }
            noisy = twin.spread(paths.increments(steps))[:, None]
            chunk = chunk_length(self.model.n_latents)
            path = trapezoid(twin, z, noisy, stage.step, chunk=chunk, inputs=inputs, tries=CUTS, simulator=True)
            kept.append(path[stage.hold_steps - 1 :: stage.hold_steps, 0])
            z = path[-1]
        return np.concatenate(kept)

    def states(self, n_inputs: int, **run: Any) -> Array:
        """Return the circuit's states at the end of each of the first inputs, shape (n_inputs, K + slow variables)."""
        z, others = np.empty((0, self.model.n_latents + len(self.slow_nodes))), np.empty(0)
        for number, piece in enumerate(self.pieces):
            if piece.start < n_inputs:
                z, others, _ = self._show(number, z, others, stop=min(piece.stop, n_inputs), **run)
        return z
