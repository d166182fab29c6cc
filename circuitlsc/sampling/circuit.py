"""A compiled circuit: a model and an input as graph, netlist, decks, and chains as data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Circuit, SubCircuit

from circuitlsc.circuit.cells import Cell, Feedback, Held
from circuitlsc.circuit.closed import closed, leaking
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.circuit.lowering import lower, lower_to_subcircuit, many_objects
from circuitlsc.circuit.modules import in_modules
from circuitlsc.circuit.transistor.design import Design
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.io.output import GENERATED
from circuitlsc.io.shown import Shown
from circuitlsc.model.closed_forms import Forms, forms_of, forms_of_encoder
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import Features
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream, Visits
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.planning.scaling import Ranges, Scaling
from circuitlsc.planning.stepping import StepPlan
from circuitlsc.sampling.system import SETTLING_CHUNK, TOLERANCE, System, system_of
from circuitlsc.sampling.task_fields import task_fields, written_rows
from circuitlsc.simulator.fused import fused
from circuitlsc.simulator.modules import Netlist
from circuitlsc.simulator.ngspice import modules
from circuitlsc.simulator.ngspice.deck import body, fingerprint, library_deck, ngspice_seed, options, standalone_deck
from circuitlsc.simulator.task import ChainTask, chunk_length
from circuitlsc.simulator.verilog_a import texts_hash
from circuitlsc.simulator.verilog_a import version as compiler_version

MOST_STEPS = 1e11
KLU_FROM = 32  # latents from which ngspice 42 and later factor faster with KLU than with SPARSE; 39 ignores the option


@dataclass(frozen=True, eq=False)
class CompiledCircuit(Shown):
    """A circuit that samples or settles, compiled: graph, netlist, decks, and its chains as data.

    Attributes
    ----------
    model : SparseCodingModel
        What the circuit realises: the model as given, without its spike if the dynamics settle.
    x : array, shape (n_features,), or (n_rows, n_features) if it is streamed
    form : str
    dynamics : Dynamics
    scaling : Scaling
    plan : StepPlan
        Width, step, and how they follow from the model.
    ranges : Ranges
        How large the signals become.
    tolerance : float
        Of Newton's iteration.
    level : str
    nonideal : Nonidealities
        What the parts of a device-level circuit do wrong.
    halvings : int
        How often the noise path's step was halved to get the plan's.
    wires : str
        How resistive wires are simulated.
    stream : Stream or None
        The inputs that follow each other, if there are several.
    loop : str
        ``"closed"`` or ``"broken"`` (`circuitlsc.planning.broken_loop`). A stand-alone deck's is always closed.
    encoder : Encoder or None
        What gives each latent its law, of a variational circuit.
    source : str or None
        Where its Laplace draws come from.
    features : Features or None
        Of the inputs that are remembered, if they are.
    sizes : Design or None
        Of a circuit in transistors.
    cells : str
        ``"table"``, or the closed forms that the tables are of (`circuitlsc.model.closed_forms`): ``"closed"`` as expressions,
        ``"verilog-a"`` as compiled modules, which ngspice loads from version 44 on.
    """

    model: SparseCodingModel
    x: Array
    form: str
    dynamics: Dynamics
    scaling: Scaling
    plan: StepPlan
    ranges: Ranges
    tolerance: float = TOLERANCE
    level: str = "ideal"
    nonideal: Nonidealities = IDEAL
    halvings: int = 0
    wires: str = "reduced"
    stream: Stream | None = None
    loop: str = "closed"
    encoder: Encoder | None = None
    source: str | None = None
    features: Features | None = None
    sizes: Design | None = None
    cells: str = "table"

    def _line(self) -> str:
        kind, model, step = self.dynamics.kind, self.model, f"step {self.plan.step:.4g} tau"
        inputs = f", {len(self.x)} inputs" if self.x.ndim == 2 else ""
        size = f"{model.n_features} features, {model.n_latents} latents{inputs}"
        return (
            f"{kind}, {size}, {self.level} level, {self.system.layout(self.form)}, {step}, tau {self.scaling.tau:.4g} s"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "circuit"}  # PySpice's cannot be copied

    @property
    def temperature(self) -> float:
        """T in exp(-E/T); 0 for a circuit that settles."""
        return self.dynamics.T

    @property
    def first_x(self) -> Array:
        """The input, or the first of several, shape (n_features,)."""
        return self.x if self.stream is None else self.x[0]

    @cached_property
    def system(self) -> System:
        """What the dynamics are to the circuit."""
        return system_of(self.dynamics, self.encoder, self.source, self.features)

    @property
    def of_transistors(self) -> bool:
        """Whether the netlist is of transistors."""
        return self.sizes is not None and self.sizes.keys.engine == "full"

    @property
    def restart(self) -> float | None:
        """Tau after which a twin on the same noise starts again from the circuit's state; None if it need not."""
        return 1.0 if self.of_transistors else self.system.restart

    def read(self, u: Array) -> Array:
        """Return the code that is read from states u (..., n_latents), in model units.

        A sampler's is the ideal s(u). What settles rests a few widths beside zero: values below 3 w are read as zero (any
        below zero if codes are nonnegative).
        """
        if self.sizes is not None:
            return self.silicon.sparse(self.silicon.read(u))
        return self.system.read(self.model, u, self.plan.width)

    def code(self, values: Mapping[str, Array]) -> Array:
        """Return the code that is read from u and from what is observed beside it, each (..., n) by its letter."""
        if self.sizes is not None:
            return self.silicon.sparse(self.silicon.read(values["u"]))
        return self.system.code(self.model, self.graph, values, self.plan.width)

    def active(self, u: Array) -> NDArray[np.bool_]:
        """Return which latents are active at states u (..., n_latents)."""
        if self.sizes is not None:
            return self.silicon.active(u)
        return self.system.active(self.model, u, self.plan.width)

    def graph_with(
        self,
        *,
        noise: str = "external",
        wires: str | None = None,
        loop: str | None = None,
        nonideal: Nonidealities | None = None,
    ) -> SignalFlowGraph:
        """Return the graph with another form of noise, other wires, loop or parts, at the same step, width and scales."""
        forms = None if self.cells == "table" else self._forms  # refuses before a chip is characterised
        graph = self.system.graph(
            self.model,
            self.first_x,
            form=self.form,
            width=self.plan.width,
            smoothing=self.plan.smoothing,
            noise=noise,
            hardware=Hardware(nonideal or self.nonideal, self.scaling, (wires or self.wires) == "reduced")
            if self.level == "device"
            else None,
            silicon=None if self.sizes is None else self._silicon(nonideal),
            stream=self.stream,
            step=self.plan.step if noise == "external" else self._held,
            loop=loop or self.loop,
        )
        return graph if forms is None else closed(graph, forms)

    def closed(self) -> Self:
        """Return the circuit with the closed forms of its tables, which takes ngspice longer, and which other simulators run.

        Raises
        ------
        InputError
            If its cells have none.
        """
        return self if self.cells != "table" else self.of_cells("closed")

    def of_cells(self, cells: str) -> Self:
        """Return the circuit with cells of another kind, ``"table"``, ``"closed"`` or ``"verilog-a"``.

        Raises
        ------
        InputError
            If its cells have no closed forms.
        """
        made = replace(self, cells=cells)
        if cells != "table":
            _ = made.in_modules, made.solved_in_modules
        return made

    @property
    def _forms(self) -> Forms:
        """The closed forms of the tables of a circuit that is not of transistors."""
        if self.sizes is not None:
            raise InputError(
                f'level = "{self.level}" has cells that no Verilog-A module describes. Use level = "ideal" or "device".'
            )
        if self.encoder is not None:
            return forms_of_encoder(self.encoder, self.source, self.plan.width)
        return forms_of(self.model, self.dynamics, self.form, self.plan.width, self.plan.smoothing)

    @cached_property
    def in_modules(self) -> Netlist:
        """What chains integrate of a circuit of closed forms, as instances of Verilog-A modules and primitives."""
        return in_modules(self.integrated, self.scaling)

    @property
    def solved_in_modules(self) -> tuple[Netlist, tuple[str, ...]] | None:
        """What is solved once, in modules, and the nodes that are held at its voltages; None if nothing is."""
        constant, _ = self._split
        if constant is None:
            return None
        return in_modules(constant, self.scaling), tuple(node for cell in self._held_cells for node in cell.nodes)

    def _silicon(self, nonideal: Nonidealities | None = None) -> Silicon:
        """Return the chip of a circuit in transistors, or another one of the same design."""
        assert self.sizes is not None
        return Silicon(self.sizes, nonideal or self.nonideal, self.model.drive(self.first_x), self.scaling.tau)

    @cached_property
    def silicon(self) -> Silicon:
        """The chip of a circuit in transistors."""
        return self._silicon()

    @cached_property
    def graph(self) -> SignalFlowGraph:
        """The vector cells and their wires."""
        return self.graph_with()

    @cached_property
    def _split(self) -> tuple[SignalFlowGraph | None, SignalFlowGraph]:
        """What is solved once (None if nothing is, as of a stream of inputs), and what is integrated."""
        return (None, self.graph) if self.stream is not None else self.system.split(self.graph)

    @property
    def integrated(self) -> SignalFlowGraph:
        """The graph that chains integrate: all of it, or what is left without what is solved once."""
        return self._split[1]

    @property
    def observed(self) -> tuple[Cell, ...]:
        """The cells whose voltages are kept beside u."""
        return self.system.observed(self.graph)

    @property
    def _held(self) -> float:
        """How long a stand-alone deck holds its noise, in tau."""
        return self.system.held(self.plan.step)

    @cached_property
    def circuit(self) -> Circuit:
        """The whole graph's netlist, with `external` noise sources."""
        return self._lowered(self.graph)

    @cached_property
    def standalone_graph(self) -> SignalFlowGraph:
        """The graph of stand-alone decks: noise that every ngspice has, every segment of a wire, the loop closed."""
        return self.graph_with(noise="trrandom", wires="segments", loop="closed")

    @cached_property
    def twin(self) -> Twin:
        """The NumPy twin of the circuit."""
        return Twin(self.graph if self.cells == "table" else leaking(self.graph, self.scaling))

    @cached_property
    def library_deck(self) -> str:
        """The deck that the engine loads into libngspice."""
        held = (state.node for state in self.integrated.held(self.scaling))
        solved = () if self._feedback is None else self._feedback[1].nodes
        seen = (node for cell in self.observed for node in cell.nodes)
        nodes = dict.fromkeys([*self.graph.neurons.nodes, *held, *solved, *seen])
        dense = self.loop == "closed" and (self.level == "ideal" or self.cells == "verilog-a")
        large = dense and self.model.n_latents >= KLU_FROM
        option_line = self._option_lines(self.graph) + (" klu" if large else "")
        return library_deck(self._lines, list(nodes), option_line)

    @property
    def _lines(self) -> list[str]:
        """The elements of what is integrated, as the engine loads them."""
        if self.cells == "verilog-a":
            return modules.lines(self._fused)
        return body(self.circuit if self.integrated is self.graph else self._lowered(self.integrated))

    @cached_property
    def _fused(self) -> Netlist:
        """What is integrated, as instances of larger modules."""
        return fused(self.in_modules)

    @cached_property
    def beside_tasks(self) -> bytes:
        """What ngspice needs of the circuit beside its tasks, as JSON; empty if that is nothing.

        ``solved_once``: what `Held` sources are held at, a deck and the nodes whose operating points these are. ``modules``:
        the files of Verilog-A that are compiled, with a hash of their texts and the version of the compiler.
        """
        needed: dict[str, Any] = {}
        if (constant := self._split[0]) is not None:
            nodes = [node for cell in self._held_cells for node in cell.nodes]
            deck = library_deck(body(self._lowered(constant)), nodes, self.options)
            needed["solved_once"] = {"deck": deck, "nodes": nodes}
        if self.cells == "verilog-a":
            files = modules.families(self._fused)
            needed["modules"] = {"files": files, "texts": texts_hash(files), "compiler": compiler_version()}
        return json.dumps(needed).encode() if needed else b""

    @property
    def _held_cells(self) -> tuple[Held, ...]:
        return tuple(cell for cell in self.integrated.cells if isinstance(cell, Held))

    def _lowered(self, graph: SignalFlowGraph) -> Circuit:
        with many_objects():
            return lower(graph, self.scaling, step=self.plan.step)

    @property
    def _feedback(self) -> tuple[Feedback, Cell] | None:
        """The sources of a broken loop, and the cell whose nodes they extrapolate; None if it is closed."""
        found = [cell for cell in self.graph.cells if isinstance(cell, Feedback)]
        return (found[0], self.graph.inputs(found[0])["e"]) if found else None

    @property
    def options(self) -> str:
        """The ``.options`` line that the cells want: Newton's tolerances, and a time step set by the noise alone."""
        return options(self.tolerance, self.scaling.volt, self.scaling.drift_current)

    def _option_lines(self, graph: SignalFlowGraph, *, by_name: bool = False) -> str:
        """Return the options, and of transistors their models and a first guess of the operating point."""
        return self.silicon.cards(graph, by_name=by_name) if self.of_transistors else self.options

    def subcircuit(self, name: str = "lsc_sampler") -> SubCircuit:
        """Return the whole sampler as one subcircuit, to put into a circuit of your own.

        Its pins are ``u_0 .. u_K-1``; its noise is ``trrandom``, which every ngspice has (set ``.option seed``, from 1 to
        2^31 - 1: ngspice ignores a larger one). Give the circuit around it the line `options`: the noise sets the time step,
        and ngspice's own control would fight it.

        Raises
        ------
        InputError
            If it is of transistors, whose models and first guess of an operating point are of a whole deck.
        """
        if self.of_transistors:
            raise InputError(
                'transistor.engine = "full" makes no subcircuit: models, options and a first guess of the operating point are '
                'of a whole deck. Take the deck, or engine = "tables".'
            )
        return lower_to_subcircuit(self.standalone_graph, self.scaling, step=self._held, name=name)

    def deck(self, *, t_stop: float, warmup: float | None = None, seed: int = 0) -> str:
        """Return a stand-alone deck for plain ``ngspice -b``, with seeded ``trrandom`` noise and its loop closed.

        Parameters
        ----------
        t_stop, warmup : float
            In units of tau; means are taken over warmup .. t_stop (of a circuit that settles over the last tenth).
        seed : int
            >= 0. ngspice gets seed + 1 (it takes 0 for "none"), from 2^31 - 1 on a hash of it (its own is a C int).
        """
        warmup = self.system.measured_from(t_stop, warmup)
        seed = RunPlan(t_stop=t_stop, warmup=warmup, seed=seed).seed
        circuit = lower(self.standalone_graph, self.scaling, step=self._held)
        carries = (
            c for c in self.graph.cells if c.quantity == "s" and not self.of_transistors
        )  # not a gate line's volts
        code = next(carries, self.graph.neurons)
        header = self.head(self._held)
        s = self.scaling
        if self.stream is not None:
            rows, hold = len(self.stream.rows), self.stream.hold
            again = "" if self.stream.order == "once" else " in turn, again and again (means are over all of them)"
            header.append(f"input    {rows} rows of {hold!r} tau each{again}, interpolate = {self.stream.interpolate}")
        if not self.dynamics.settles:
            header.append(f"seed     {ngspice_seed(seed)} (circuitlsc seed {seed})")
        return standalone_deck(
            circuit,
            header=header,
            nodes=self.graph.neurons.nodes,
            measured=code.nodes,
            option_line=self._option_lines(self.standalone_graph, by_name=True),
            seed=seed,
            step=self._held * s.tau,
            t_start=warmup * s.tau,
            t_stop=t_stop * s.tau,
            at_rest=self.of_transistors,
        )

    def head(self, step: float) -> list[str]:
        """Return the first lines of a deck: model, units, cells, and its step in units of tau."""
        m, s = self.model, self.scaling
        numbers = " ".join(f"{k}={v!r}" for k, v in m.prior.numbers().items())
        sizes, layout = f"{m.n_features} x {m.n_latents}", self.system.layout(self.form)
        return [
            f"circuitlsc {self.system.word}: {sizes}, {m.prior.kind} prior, {layout}",
            f"{GENERATED} {version('circuitlsc')}; regenerate it instead of editing",
            f"model    x = A s + n, sigma={float(m.sigma)!r}; {m.prior.kind} {numbers} signed={m.prior.signed}",
            self.system.equation(),
            f"units    u, s: {s.volt!r} V; r: {s.volt_r!r} V; e: {s.volt_e!r} V; drift: {s.drift_current!r} A; "
            f"tau: {s.tau!r} s",
            f"cells    {self._cells()}; step {step!r} tau",
        ]

    def _cells(self) -> str:
        """Say in a deck's header what its cells are."""
        if self.sizes is None:
            forms = "" if self.cells == "table" else ", closed forms"
            return f"comparator width {self.plan.width!r} units{self.plan.smoothing.said}{forms}"
        return f"{self.silicon.what()} w = I0/I1 = {self.plan.width!r} units"

    def what(self) -> str:
        """Say in a few words what the circuit does with its energy."""
        return self.system.what()

    def starts(self, chains: int, seed: int) -> Array:
        """Return initial states (chains, n_latents): opposite modes (all off, all on), then draws from the prior.

        Those of a memory are weights (chains, K * H) that hold such states of its inputs (`row_starts`).
        """
        if self.features is not None:
            weights = self.features.weights_of(self.row_starts(chains, seed))
            return self._within(weights.reshape(len(weights), -1), self.scaling.volts("w"))
        return self._starts(self.first_x[None], chains, seed)[:, 0]

    def row_starts(self, chains: int, seed: int) -> Array:
        """Return the initial states of every row of x, (chains, n_rows, n_latents)."""
        return self._starts(np.atleast_2d(self.x), chains, seed)

    def _starts(self, rows: Array, chains: int, seed: int) -> Array:
        model, chains = self.model, check_count("starts: chains", chains, 1)
        starts = np.zeros((chains, len(rows), model.n_latents))
        if chains > 1:
            ridge = model.A.T @ model.A + model.variance * np.eye(model.n_latents)
            for start, x in zip(starts[1], rows, strict=True):
                fit = np.linalg.solve(ridge, model.A.T @ x)
                code = fit if model.prior.signed else np.abs(fit)
                start[:] = code + model.prior.threshold * np.where(code < 0, -1.0, 1.0)
        rng = np.random.default_rng([check_count("starts: seed", seed, 0), 1])
        for c, n in product(range(2, chains), range(len(rows))):
            code = model.prior.draw((model.n_latents,), rng)
            starts[c, n] = code + np.where(code != 0, model.prior.threshold * np.sign(code), 0.0)
        return self._within(starts, self.scaling.volt)

    def _within(self, values: Array, volt: float) -> Array:
        room = 0.9 * self.scaling.rails / volt
        return np.clip(values, -room, room)

    def visits(self, run: RunPlan) -> Visits:
        """Return which row is on when, of a run of a memory."""
        if self.stream is None or self.features is None:
            raise InputError(
                'rows are visited again and again where dynamics.kind = "amortised". This circuit has no memory.'
            )
        return self.stream.visits(run.t_stop, run.warmup, run.seed)

    def tasks(self, run: RunPlan) -> list[ChainTask]:
        """Return the chains of a run as data."""
        step = self.plan.step
        if run.t_stop / step > MOST_STEPS:
            raise InputError(
                f"run.t_stop = {run.t_stop!r} tau is {run.t_stop / step:.2g} steps of {step:.3g} tau, weeks of computing for "
                f"each chain. Give t_stop <= {MOST_STEPS * step:.3g}, or what allows longer steps: a larger sigma, width, slab."
            )
        # whole steps of the noise path: a circuit at half the step ends with the others, and keeps the same times
        n_steps, n_warmup = (round(t / (step * 2**self.halvings)) * 2**self.halvings for t in (run.t_stop, run.warmup))
        period = 0 if self.stream is None else round(self.stream.hold / step)
        if self.features is not None:
            n_warmup = 0  # whole cycles are dropped when the samples are labelled
        thin = run.thin or self.system.thin(self.plan, period or n_steps, n_warmup, streamed=period > 0)
        kept = ((period or n_steps) - n_warmup) // thin
        if kept < (least := 1 if period else self.system.least):
            name, length = ("run.hold", self.stream.hold) if self.stream is not None else ("run.t_stop", run.t_stop)
            needed = (n_warmup + least * thin) * step
            raise InputError(
                f"{name} = {length!r} tau leaves {kept} samples per {'input' if period else 'chain'} "
                f"(step {step:g}, warmup {run.warmup:g}, thin {thin}), but {least} is the least. "
                f"Give {name} >= {needed:.6g}{', or a shorter warmup' if period else ''}."
            )
        settle = self.system.settled(self.plan.width) if self.stream is None else 0.0
        streamed: dict[str, Any] = {"inputs": tuple(name for cell in self._held_cells for name in cell.devices())}
        if self.stream is not None:
            n_steps, outside = len(self.x) * period, self.graph.inputs_from_outside
            streams = [(c, c.stream.rows * c.unit(self.scaling)) for c in outside if c.stream is not None]
            streamed = {
                "period": period,
                "inputs": tuple(name for cell, _ in streams for name in cell.devices()),
                "rows": np.concatenate([rows for _, rows in streams], axis=1),
                "interpolate": self.stream.interpolate,
            }
            if self.features is not None:
                streamed |= self._remembered(streamed, self.visits(run).sequence)
                n_steps = len(streamed["rows"]) * period
        common = ChainTask(
            deck=self.library_deck,
            observed=tuple(node for cell in self.observed for node in cell.nodes),
            **task_fields(self.integrated, self.scaling),
            step=step,
            n_steps=n_steps,
            n_warmup=n_warmup,
            thin=thin,
            chunk=SETTLING_CHUNK if settle > 0 else chunk_length(self._size),
            seed=int(run.seed),
            chain=0,
            temperature=float(self.temperature),
            halvings=self.halvings,
            start=(),
            settle=settle,
            **streamed,
        )
        return [replace(common, chain=c, **self._started(s)) for c, s in enumerate(self.starts(run.chains, run.seed))]

    @property
    def _size(self) -> int:
        """How many neurons cost as much to simulate, roughly: synapses of a memory are parts, too."""
        return (
            self.model.n_latents if self.features is None else math.isqrt(20 * self.model.n_latents * self.features.H)
        )

    def _started(self, start: Array) -> dict[str, Any]:
        """Return what a task says of where it starts: the neurons, or the weights of a memory, (n,) in model units."""
        if self.features is None:
            return {"start": _floats(start), **self._broken(start)}
        (memory,) = self.graph.integrators
        volts = dict(zip(memory.nodes, start * self.scaling.volts("w"), strict=True))
        return {
            "held_start": _floats(np.array([volts.get(s.node, s.start) for s in self.integrated.held(self.scaling)]))
        }

    def _remembered(self, streamed: Mapping[str, Any], visits: NDArray[np.int64]) -> dict[str, Any]:
        """Return what a task says of the rows of a memory: those of each visit, with what their noise is written by."""
        rows, written = written_rows(self.graph, self.twin, streamed["rows"])
        return {"rows": rows[visits], "written": written}

    def observing(self, task: ChainTask, nodes: tuple[str, ...]) -> ChainTask:
        """Return a chain of `tasks` that keeps the voltages of other nodes beside u: of the whole circuit.

        The deck is all that it needs: compiled cells are expressions here, the same curves, and nothing is solved before.
        """
        saved = list(dict.fromkeys([*task.nodes, *nodes, *task.held]))
        return replace(task, deck=library_deck(body(self.circuit), saved, self.options), observed=nodes)

    def _broken(self, start: Array) -> dict[str, Any]:
        """Return what a task says of a broken loop; nothing if it is closed."""
        if self._feedback is None:
            return {}
        sources, gradient = self._feedback
        first = self.twin.signals(start)[gradient.name] * self.scaling.volts(gradient.quantity)
        return {"feedback": sources.devices(), "feedback_nodes": gradient.nodes, "feedback_start": _floats(first)}

    @cached_property
    def engine_deck_hash(self) -> str:
        """SHA-256 of what the engine loads."""
        return fingerprint(self.library_deck + self.beside_tasks.decode())


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
