r"""The circuit that learns: one transient in which inputs stream by, neurons sample, and slow capacitors move.

The transient is run in pieces of some thousand inputs' worth of steps at most; each starts from the voltages that the last
one reached, with noise of its own. A run that was interrupted goes on after its last whole piece, to the same result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.memory import check_lines, largest_weight, lines_at_rest
from circuitlsc.circuit.plasticity import learning_system, starts
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, plain
from circuitlsc.io.output import GENERATED
from circuitlsc.io.progress import Progress, told_whole
from circuitlsc.learning.checkpoint import fitting, resume, save_checkpoint
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.learner import LearningRun
from circuitlsc.learning.memory import FewVisitsWarning
from circuitlsc.learning.settings import SlowSettings
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.model.priors import Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream, grid_rows
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities, as_nonidealities
from circuitlsc.planning.scaling import Scaling, expected_ranges, scale_for
from circuitlsc.planning.stepping import plan_step
from circuitlsc.reference.pathwise import trapezoid
from circuitlsc.sampling.encoded import POORLY
from circuitlsc.sampling.task_fields import task_fields, written_rows
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.ngspice.deck import (
    body,
    check_tolerance,
    library_deck,
    ngspice_seed,
    options,
    standalone_deck,
)
from circuitlsc.simulator.ngspice.noise import BrownianPaths
from circuitlsc.simulator.task import ChainTask, chunk_length

# Synapses and neurons times steps: what an interruption costs at most, some twenty seconds; each piece starts a process.
PIECE = 12_000_000
TOLERANCE = 1e-4  # of Newton's iteration: what is learned averages over thousands of inputs
CUTS = 12  # how often the twin may cut a step after a switch of the input, where the gradient at the gates is large
SAMPLED = {  # of software they are means over time
    "error": "|x - A s|^2 / D at the ends of inputs, mean since the last record",
    "activity": "share of active latents at the ends of inputs, mean since the last record",
    "size": "mean |s| of a latent, active or not, at the ends of inputs, mean since the last record",
    "usage": "share of inputs at whose end a latent is active",
}
LAST = 0.25  # share of the run over which the slow variables are averaged


@dataclass(frozen=True, eq=False, kw_only=True)
class CircuitLearner(SlowSettings):
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
    memory : Memory, int or None
        How many inputs are remembered, by which features: their states are in a memory crossbar (`circuitlsc.circuit.memory`),
        and each goes on where it was when its input returns.
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

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> given = {"A0": 0.8 * model.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": model, "seed": 1}
    >>> CircuitLearner(**given, stage=Stage.of_inputs(20, hold=10.0, step=0.05, tau_A=300.0)).run().learned
    Learned(4 features, 4 latents, pi=0.3, lam=1, sigma=0.5)
    """

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
        self._remember(1)
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
        graph = self.graph  # refuses what cannot be learned
        if self.remembered is not None:
            check_lines(*lines_at_rest(graph), self.scaling.volt, self.rails)

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
    def visits(self) -> NDArray[np.int64]:
        """Which row of the graph's stream is on when: each of the rows once, or those of a memory again and again."""
        if (memory := self.remembered) is None:
            return np.arange(self.stage.n_inputs)
        return np.concatenate([memory.visit(i, 1, self.seed) for i in range(self.stage.n_inputs)])

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
        ranges = expected_ranges(self.unit_model, self.rows)
        if self.remembered is not None:
            ranges = replace(ranges, w=largest_weight(self.remembered.features, ranges.u))
        given: dict[str, Any] = {"volt": self.volt, "c_int": self.c_int, "tau": self.tau, "rails": self.rails}
        return scale_for(self.unit_model, self.rows, **given, ranges=ranges)

    @property
    def slowness(self) -> dict[str, float]:
        """Time constants of what is learned, in units of tau."""
        return {what: getattr(self.stage, TIME_CONSTANTS[what]) for what in self.learn}

    def _graph(self, noise: str, n_inputs: int | None = None) -> SignalFlowGraph:
        hardware = Hardware(self.nonideal or IDEAL, self.scaling, True) if self.level == "device" else None
        stream, memory = Stream(self.rows[:n_inputs], self.stage.hold, "hold"), None
        if (known := self.remembered) is not None:
            stream, memory = Stream(known.X, self.stage.hold, "hold", "cyclic"), (known.features, known.dynamics)
        return learning_system(
            self.model,
            slowness=self.slowness,
            width=self.comparator_width,
            noise=noise,
            start=self.first,
            hardware=hardware,
            stream=stream,
            memory=memory,
            step=self.stage.step,
        )

    @cached_property
    def graph(self) -> SignalFlowGraph:
        """The signal-flow graph, with noise from outside."""
        graph = self._graph("external")
        check_circuit(lower(graph, self.scaling, step=self.stage.step))
        return graph

    @cached_property
    def twin(self) -> Twin:
        """The NumPy twin of the circuit."""
        return Twin(self.graph)

    @cached_property
    def first_u(self) -> Array:
        """The neurons' start, shape (K,), or that of all the inputs that are remembered, (N, K)."""
        rng = np.random.default_rng([self.seed, 2])
        if self.remembered is None:
            return np.asarray(starts(self.model, rng))
        return np.stack([starts(self.model, rng) for _ in self.remembered.X])

    @cached_property
    def first(self) -> Array:
        """What the capacitors start from that hold these: the neurons', or a memory's weights row by row, (K * H,)."""
        if self.remembered is None:
            return self.first_u
        room = 0.9 * self.rails / self.scaling.volts("w")
        return np.clip(self.remembered.features.weights_of(self.first_u).ravel(), -room, room)

    @cached_property
    def library_deck(self) -> str:
        """The deck that the engine loads into libngspice."""
        circuit = lower(self.graph, self.scaling, step=self.stage.step)
        held = (s.node for s in self.graph.held(self.scaling))
        nodes = dict.fromkeys([*self.graph.neurons.nodes, *self.slow_nodes, *held])
        tolerances = options(self.tolerance, self.scaling.volt, self.scaling.drift_current)
        return library_deck(body(circuit), list(nodes), tolerances)

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
        parts = self.model.A.size + self.model.n_latents
        if self.remembered is not None:
            parts += self.first.size
        each = max(1, PIECE // parts // self.stage.hold_steps)
        return [slice(i, min(i + each, self.stage.n_inputs)) for i in range(0, self.stage.n_inputs, each)]

    def task(self, piece: int, u: Array, held: Mapping[str, float], *, stop: int | None = None) -> ChainTask:
        """Return a piece of the transient as data, from the states that the last one reached (volts by node).

        ``stop`` ends it before that input.
        """
        graph, scaling, stage = self.graph, self.scaling, self.stage
        fields = task_fields(graph, scaling)
        shown = self.visits[self.pieces[piece].start : stop or self.pieces[piece].stop]
        streams = [(cell, cell.stream.rows) for cell in graph.inputs_from_outside if cell.stream is not None]
        rows = np.concatenate([values * cell.unit(scaling) for cell, values in streams], axis=1)
        rows, written = written_rows(graph, self.twin, rows)
        return ChainTask(
            deck=self.library_deck,
            observed=self._state_names(),
            **fields | {"held_start": tuple(held.get(s.node, s.start) for s in graph.held(scaling))},
            step=stage.step,
            n_steps=len(shown) * stage.hold_steps,
            n_warmup=0,
            thin=stage.hold_steps,
            chunk=chunk_length(len(graph.neurons.nodes)),
            seed=int(self.seed),
            chain=piece,
            temperature=1.0,
            halvings=0,
            start=tuple(float(v) for v in u) if self.remembered is None else (),
            period=stage.hold_steps,
            inputs=tuple(name for cell, _ in streams for name in cell.devices()),
            rows=rows[shown],
            written=written,
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
            *self._memory_header(),
            f"input    {self._shown(n)}",
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

    def _memory_header(self) -> list[str]:
        """Return the line of a deck's head that says what is remembered."""
        if (known := self.remembered) is None:
            return []
        f, unit = known.features, self.scaling.volts("w")
        return [f"memory   {f.N} inputs by {f.H} features ({known.dynamics.features}); w: {unit!r} V"]

    def _shown(self, n: int) -> str:
        """Say what a stand-alone deck shows."""
        each = f"rows of {self.stage.hold!r} tau each"
        return f"{n} {each}" if self.remembered is None else f"{len(self.remembered.X)} {each} in turn, {n} in all"

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
        if (known := self.remembered) is not None:
            f, kind = known.features, known.dynamics.features
            poorly = f" (below {POORLY:g}: what parts do wrong counts for more)" if f.conditioning < POORLY else ""
            lines.append(
                f"memory         {f.N} inputs by {f.H} features ({kind}), conditioning {f.conditioning:.3g}{poorly}: "
                f"{m.n_latents * f.H} x {s.c_int:.3g} F, {s.volts('w'):.4g} V per unit; each input is on "
                f"{stage.n_inputs / f.N:.4g} times"
            )
        shown, seconds = f"{stage.n_inputs} inputs of {stage.hold:.6g} tau", stage.duration * s.tau
        lines.append(f"time           {shown}: {seconds:.4g} s of the circuit, {stage.n_steps} steps here")
        return "\n".join(lines)

    def run(
        self,
        *,
        progress: Progress = None,
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
        settings, kept = self.settings(), self._begin
        if said := self.few_visits:
            warnings.warn(f"CircuitLearner: {said}", FewVisitsWarning, stacklevel=2)

        def restore(arrays: Mapping[str, Any]) -> None:
            nonlocal kept
            kept = fitting(arrays, kept, grow=("z", "others"))
            expected = len(self._state_names()) - len(self.slow_nodes)
            if len(kept["z"]) not in {piece.stop for piece in self.pieces} or len(kept["others"]) != expected:
                raise ValueError("z")

        path = resume(checkpoint, settings, restore)
        hold = self.stage.hold
        done, total = len(kept["z"]) * hold, self.stage.n_inputs * hold
        with told_whole(progress, "learning", total, "tau", done) as tell:
            for z, others, cost in self._show(kept["z"], kept["others"], tell=tell, timeout=timeout, keep=keep):
                kept = {"z": z, "others": others, "spent": kept["spent"] + cost}
                if path is not None:
                    save_checkpoint(path, settings, kept)
        u = None if self.remembered is None else self._recalled(kept["others"])
        return learning_result(self, kept["z"], settings, kept["spent"], u)

    @property
    def few_visits(self) -> str | None:
        """What is wrong with how often each input of a memory is on, in one line; None if nothing is."""
        return self._few([self.stage], 1)

    def _recalled(self, others: Array) -> Array:
        """Return the states of all the inputs that a memory remembers, (N, K), from the voltages of other capacitors."""
        assert self.remembered is not None
        held = dict(zip(self._state_names()[len(self.slow_nodes) :], others, strict=True))
        W = np.array([held[node] for node in self.graph.integrators[0].nodes])
        W = W.reshape(self.model.n_latents, -1) * self.scaling.volt / self.scaling.volts("w")
        return (W @ self.remembered.features.phi).T

    @property
    def _begin(self) -> dict[str, Array]:
        """States at the end of no input, the voltages of other capacitors, and the seconds and steps that they took."""
        width = self.model.n_latents + len(self.slow_nodes)
        return {"z": np.empty((0, width)), "others": np.empty(0), "spent": np.zeros(2)}

    def _show(
        self,
        z: Array,
        others: Array,
        n_inputs: int | None = None,
        *,
        tell: Callable[[float, float], None] | None = None,
        **run: Any,
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Go on from the last of states z, up to n_inputs inputs.

        Yield after each piece all states, the voltages of other capacitors, and the seconds and steps that it took.
        """
        stage, (k, width) = self.stage, (self.model.n_latents, z.shape[1])
        for number, piece in enumerate(self.pieces):
            stop = min(piece.stop, n_inputs or piece.stop)
            if stop <= max(len(z), piece.start):
                continue

            def advance(_: int, steps: int, before: int = piece.start) -> None:
                if tell is not None:
                    tell(before * stage.hold + steps * stage.step, stage.n_inputs * stage.hold)

            u = z[-1, :k] if len(z) else self.first
            held = dict(zip(self._state_names(), [*z[-1, k:], *others], strict=True)) if len(z) else {}
            task = self.task(number, u, {node: v * self.scaling.volt for node, v in held.items()}, stop=stop)
            (result,) = run_chains([task], workers=1, progress=advance, **run)
            ends = np.concatenate([result.u, result.observed], axis=1)
            z, others = np.concatenate([z, ends[:, :width]]), ends[-1, width:]
            yield z, others, np.array([result.wall, result.steps])

    def twin_states(self, n_inputs: int) -> Array:
        """Return what the NumPy twin learns on the same inputs and noise, at the end of each input, as `states` does.

        Shape (n_inputs, K + number of slow variables), in model units.
        """
        twin, stage = self.twin, self.stage
        sources = tuple(source for noise in self.graph.noises for source in noise.sources)
        z, kept = twin.full_state(self.first[None]), []
        for number, piece in enumerate(self.pieces):
            if piece.start >= n_inputs:
                break
            steps = (min(piece.stop, n_inputs) - piece.start) * stage.hold_steps
            paths = BrownianPaths(sources, seed=int(self.seed), chain=number, step=stage.step)
            inputs = {
                cell.name: grid_rows(cell.stream.rows[self.visits[piece]], stage.hold_steps, 0, steps, "hold")
                for cell in self.graph.inputs_from_outside
                if cell.stream is not None
            }
            now = {name: rows[1:] for name, rows in inputs.items()}
            noisy = twin.spread(paths.increments(steps), now)[:, None]
            chunk = chunk_length(self.model.n_latents)
            path = trapezoid(twin, z, noisy, stage.step, chunk=chunk, inputs=inputs, tries=CUTS, simulator=True)
            ends = slice(stage.hold_steps - 1, None, stage.hold_steps)
            u = twin.signals(path[ends, 0], {name: rows[ends] for name, rows in now.items()})[self.graph.neurons.name]
            kept.append(np.concatenate([u, path[ends, 0, self.first.size :]], axis=1))
            z = path[-1]
        return np.concatenate(kept)

    def states(self, n_inputs: int, **run: Any) -> Array:
        """Return the circuit's states at the end of each of the first inputs, shape (n_inputs, K + slow variables)."""
        begin = self._begin
        *_, (z, _, _) = self._show(begin["z"], begin["others"], n_inputs, **run)
        return z


def parameters(learner: CircuitLearner, z: Array) -> tuple[Array, Array, Array, Array]:
    """Return A (n, D, K), u0, lam and sigma (n,) of states z (n, K + slow variables)."""
    n, model, at = len(z), learner.model, learner.model.n_latents
    found: dict[str, Array] = {}
    for cell in learner.graph.integrators[1:]:
        found[cell.quantity] = z[:, at : at + cell.size]
        at += cell.size
    A = found["a"].reshape(n, *model.A.shape) if "a" in found else np.broadcast_to(model.A, (n, *model.A.shape))
    lam = found["lam"][:, 0] if "lam" in found else np.full(n, learner.lam)
    sparsity = found["logpi"][:, 0] if "logpi" in found else -np.log(learner.pi)
    u0 = found["u0"][:, 0] if "u0" in found else sparsity / lam
    sigma = found["sigma"][:, 0] if "sigma" in found else np.full(n, learner.sigma)
    return A, u0, lam, sigma


def learning_result(
    learner: CircuitLearner, z: Array, settings: Mapping[str, Any], spent: Array, remembered: Array | None = None
) -> LearningRun:
    """Return the result of a run from its states (n, K + slow variables) at the end of each input.

    ``remembered`` are the states of all inputs at the end, (N, K), if there is a memory.
    """
    A, u0, lam, sigma = parameters(learner, z)
    n, k = len(z), learner.model.n_latents
    pi = np.minimum(np.exp(-lam * u0), 1.0)
    u = z[:, :k]
    size = np.maximum(np.abs(u) - u0[:, None], 0.0)
    s = size * np.sign(u) if learner.signed else size
    error = np.mean((learner.rows[:n] - np.einsum("njk,nk->nj", A, s)) ** 2, axis=1)
    ends = np.unique(np.linspace(0, n, min(learner.records, n) + 1).astype(int))
    recorder = Recorder(learner.model.A, np.empty(0))
    for a, b in pairwise(ends):
        means = np.array([error[a:b].mean(), (s[a:b] != 0).mean(), size[a:b].mean()])
        slow = (float(u0[b - 1]), float(lam[b - 1]), float(sigma[b - 1]))
        recorder.add(b * learner.stage.hold, A[b - 1], slow, means, (s[a:b] != 0).mean(axis=0))
    shown = np.unique(np.linspace(0, n, learner.snapshots).astype(int))
    for i in shown[1:]:
        recorder.add_snapshot(i * learner.stage.hold, A[i - 1])
    history = recorder.dataset(settings).assign_attrs(us_per_step=float(1e6 * spent[0] / spent[1]))
    for name, what in SAMPLED.items():
        history[name].attrs["long_name"] = what
    history["z"] = (("input", "state"), z, {"units": "model units", "long_name": "u, then the slow variables"})
    last = slice(n - max(1, round(LAST * n)), n)
    numbers = np.stack([pi, lam, sigma], axis=1)
    average, final = (A[last].mean(axis=0), numbers[last].mean(axis=0)), (np.array(A[-1]), numbers[-1])
    return LearningRun(
        Learned.of(learner, average, final, settings), history, u[-1:].copy() if remembered is None else remembered
    )
