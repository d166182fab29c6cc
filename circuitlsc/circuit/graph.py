"""The intermediate form: a signal-flow graph of vector cells, from which netlist, NumPy twin and checks all come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from circuitlsc.circuit.cells import Cell, DriveNoise, Input, Integrator, Noise, State, Wires, WrittenNoise
from circuitlsc.circuit.cells.noise import SUPPLY
from circuitlsc.errors import InputError, NetlistError
from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Report, Table
from circuitlsc.io.shown import Shown, counted
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator.ngspice.deck import check_name

#: names in a tree of samples that no other vector of states can have
SHADOWS = frozenset({"s", "p", "chain", "draw", "latent", "time", "row"})
AnyCell = TypeVar("AnyCell", bound=Cell)


class SignalFlowGraph(Shown):
    """A directed graph of about ten vector cells, whatever the size of the model; edges carry vectors into ports.

    Built by the functions of `circuitlsc.circuit.systems`; ``graph`` is a plain networkx DiGraph (node attribute ``cell``,
    edge attribute ``ports``) for whoever wants to draw or search it.
    """

    def __init__(self) -> None:
        self.graph = nx.DiGraph()

    def add(self, cell: AnyCell, **sources: Cell) -> AnyCell:
        """Add a cell, wire each of its ports to the cell named for it, and return it."""
        if cell.name in self.graph:
            raise NetlistError(f"two cells are called {cell.name!r}; names must be unique in a graph.")
        check_name("the name of a cell", cell.name.lower())
        if cell.symbol:
            check_name(f"the symbol of cell {cell.name!r}", cell.symbol)
        if isinstance(cell, Integrator) and (cell.symbol in SHADOWS or cell.symbol.startswith("state_")):
            raise InputError(
                f"the symbol of cell {cell.name!r} = {cell.symbol!r} cannot be used: samples call something else by it. "
                "Give another."
            )
        others = {node: other.name for other in self.cells for node in other.taken}
        if node := next((node for node in cell.taken if node in others), None):
            mend = "noise.supply_correlation must be 0 here" if node == SUPPLY else "give one of them another symbol"
            raise NetlistError(f"cells {others[node]!r} and {cell.name!r} both call their nodes {node} ..; {mend}.")
        self.graph.add_node(cell.name, cell=cell)
        for port, source in sources.items():
            self.wire(source, cell, port)
        return cell

    def wire(self, source: Cell, target: Cell, port: str) -> None:
        """Connect the output of ``source`` to an input port of ``target``; a port takes one wire."""
        for cell in (source, target):
            if cell.name not in self.graph:
                raise NetlistError(f"cell {cell.name!r} is not in this graph. Add it first.")
        if port not in target.ports:
            has = ", ".join(target.ports) or "none"
            raise NetlistError(f"cell {target.name!r} has no port {port!r}; it has {has}.")
        if self.graph.has_edge(source.name, target.name):
            used = self.graph.edges[source.name, target.name]["port"]
            raise NetlistError(
                f"cell {source.name!r} feeds cell {target.name!r} already (port {used!r}); put a cell in between."
            )
        if port in (fed := self.inputs(target)):
            raise NetlistError(
                f"port {port!r} of cell {target.name!r} is fed by {fed[port].name!r} already; "
                f"{source.name!r} cannot feed it too."
            )
        self.graph.add_edge(source.name, target.name, port=port)

    def _line(self) -> str:
        states = ", ".join(f"{cell.size} {cell.letter}" for cell in self.integrators)
        wires = counted(self.graph.number_of_edges(), "wire")
        return f"{counted(len(self.graph), 'cell')}, {wires}, states: {states or 'none'}"

    def _shows(self) -> Report:
        columns = {"cell": "<16", "kind": "<24", "size": ">6.0f", "fed by": ""}
        rows = []
        for cell in self.cells:
            fed = ", ".join(f"{port}: {source.name}" for port, source in self.inputs(cell).items())
            rows.append((cell.name, type(cell).__name__, cell.size, fed))
        return Report((Table.of(columns, rows),))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they were added."""
        return tuple(data["cell"] for _, data in self.graph.nodes(data=True))

    @property
    def integrators(self) -> tuple[Integrator, ...]:
        """The vectors of states: the neurons u first, if they are states, then momenta p, or whatever else, by its letter."""
        return tuple(sorted((c for c in self.cells if isinstance(c, Integrator)), key=lambda c: c.letter != "u"))

    @property
    def neurons(self) -> Cell:
        """The neurons u, whose voltages are the samples: integrators, or what is read from a memory."""
        found = next((cell for cell in self.cells if cell.letter == "u"), None)
        if found is None:
            raise NetlistError("the graph holds no vector of neurons u, but one is needed.")
        return found

    def held(self, scaling: Scaling) -> list[State]:
        """Return the capacitors beside the neurons', from which a run is taken up again too."""
        return [s for cell in self.cells if cell is not self.neurons for s in cell.states(scaling)]

    @property
    def noises(self) -> tuple[Noise, ...]:
        """The noise cells: one for each vector that has noise, all of one temperature."""
        found = tuple(cell for cell in self.cells if isinstance(cell, Noise))
        if len({cell.temperature for cell in found}) > 1:
            raise NetlistError(
                f"the noise cells have several temperatures ({found}), but samples have one. Give them one."
            )
        return found

    @property
    def noise(self) -> Noise | None:
        """The noise cell of a graph with one; None if the circuit has none."""
        if len(self.noises) > 1:
            raise NetlistError(f"the graph holds {len(self.noises)} noise cells, and one is asked for. Use noises.")
        return self.noises[0] if self.noises else None

    @property
    def inputs_from_outside(self) -> tuple[Input, ...]:
        """The cells whose values come from a stream of inputs."""
        return tuple(cell for cell in self.cells if isinstance(cell, Input) and cell.streamed)

    def inputs(self, cell: Cell) -> dict[str, Cell]:
        """Return the cells that feed ``cell``, by port."""
        nodes = self.graph.nodes
        return {port: nodes[source]["cell"] for source, _, port in self.graph.in_edges(cell.name, data="port")}

    def outputs(self, cell: Cell) -> list[tuple[Cell, str]]:
        """Return the cells that ``cell`` feeds, each with the port."""
        nodes = self.graph.nodes
        return [(nodes[target]["cell"], port) for _, target, port in self.graph.out_edges(cell.name, data="port")]

    def wires(self, cell: Cell) -> Wires:
        """Return the circuit nodes around a cell."""
        inputs = {port: source.nodes for port, source in self.inputs(cell).items() if source.quantity}
        if cell.quantity:
            return Wires(inputs, cell.nodes, cell.nodes)
        fed = self.outputs(cell)
        if len(fed) != 1:
            raise NetlistError(
                f"the currents of cell {cell.name!r} go to {len(fed)} cells, but a current flows into one. "
                "Put a summing node in between."
            )
        target, port = fed[0]
        return Wires(inputs, target.port_nodes(port), target.nodes)


class Twin:
    r"""The NumPy twin of a graph: the same tables, the same sums, evaluated by walking the graph.

    .. math:: \tau\,dz = \mathrm{drift}(z, x)\,dt + \sqrt{2 T \tau}\,B\,dW

    The state z is u, followed by whatever vectors of states there are beside it (the momenta p of underdamped dynamics);
    ``vectors`` says where each is, by its letter. x is the input, where it is streamed: a mapping
    from the name of an `Input` cell to its value, shape (n_inputs,); without it the circuit has its first input.
    """

    def __init__(self, graph: SignalFlowGraph) -> None:
        states, noises = graph.integrators, graph.noises
        names = {cell.name for cell in states}
        open_loop = graph.graph.copy()
        open_loop.remove_edges_from([edge for name in names for edge in graph.graph.in_edges(name)])
        self._inputs = {cell.name: {p: c.name for p, c in graph.inputs(cell).items()} for cell in graph.cells}
        #: what drives each vector; one that nothing drives has its leak alone
        self._drifts = {name: self._inputs[name]["drift"] for name in names if "drift" in self._inputs[name]}
        upstream = {name for drift in self._drifts.values() for name in {drift, *nx.ancestors(open_loop, drift)}}
        self._order: list[Cell] = []  # cells that drive the states
        self._read: list[Cell] = []  # cells that only read them
        for name in nx.lexicographical_topological_sort(open_loop):
            other = graph.graph.nodes[name]["cell"]
            if name not in names and not (isinstance(other, Noise) and graph.outputs(other)[0][0].name in names):
                (self._order if name in upstream else self._read).append(other)
        ends = np.cumsum([cell.size for cell in states])
        self._states = [(cell, slice(int(end) - cell.size, int(end))) for cell, end in zip(states, ends, strict=True)]
        #: where each vector is in the state, by its letter
        self.vectors = {cell.letter: place for cell, place in self._states}
        #: every cell by name; where its values are in the state, or None
        self.places: dict[str, slice | None] = {cell.name: place for cell, place in self._states}
        self.places.update(dict.fromkeys(cell.name for cell in self._order))
        self.size = int(ends[-1])
        self._first = states[0].size  # the neurons, or a memory
        self._eye = np.eye(self.size)
        #: which states are not slow (`circuitlsc.circuit.cells.plastic.Slow`)
        self.fast = np.concatenate([np.arange(self.size)[place] for cell, place in self._states if not cell.slow])
        self.temperature = noises[0].temperature if noises else 0.0
        self._spread = np.zeros((sum(len(noise.sources) for noise in noises), self.size))
        self._mean, first = np.zeros(self.size), 0
        #: noise through write lines: its cell, which increments are its own, where they go, and the cells behind the lines
        self._written: list[tuple[WrittenNoise | DriveNoise, slice, slice, list[Cell]]] = []
        for noise in noises:
            state = graph.outputs(noise)[0][0]
            driven = state.name in names
            while state.name not in names:  # noise of a drive: the memory that it is written into
                state = graph.outputs(state)[0][0]
            columns = self.places[state.name]
            assert columns is not None
            own = slice(first, first + len(noise.sources))
            if driven:
                self._mean[columns] = noise.evaluate({})
            if isinstance(noise, (WrittenNoise, DriveNoise)):
                behind = nx.ancestors(open_loop, noise.name)
                lines = [cell for cell in self._order if cell.name in behind]
                self._written.append((noise, own, columns, lines))
            else:
                self._spread[own, columns] = noise.mix
            first += len(noise.sources)

    def full_state(self, u: Array) -> Array:
        """Return states z (..., size) with the first vector (neurons, or a memory) at u (..., n), others where they start."""
        u = np.asarray(u, dtype=float)
        others = [np.broadcast_to(cell.start, (*u.shape[:-1], cell.size)) for cell, _ in self._states[1:]]
        return np.concatenate([u, *others], axis=-1)

    def spread(self, increments: Array, x: Mapping[str, Array] | None = None) -> Array:
        """Return what increments of the noise sources (n, n_sources) add to the state, (n, size).

        ``x`` holds the streamed inputs at the end of each increment, (n, n_inputs) by cell: noise through a write line follows
        them.
        """
        out = np.asarray(increments @ self._spread)
        for noise, own, columns, lines in self._written:
            each = (increments[:, own] @ noise.mix)[:, noise.write.neurons]
            out[:, columns] += each * self._gains(noise, lines, x)
        return out

    @property
    def through_lines(self) -> bool:
        """Whether noise reaches states in series with them, as write lines write it."""
        return any(isinstance(noise, WrittenNoise) for noise, *_ in self._written)

    def write_gains(self, x: Mapping[str, Array] | None) -> Array:
        """Return what a unit of each neuron's noise adds to each state in series with it, (n, n_states) for inputs x."""
        series = [(noise, lines) for noise, _, _, lines in self._written if isinstance(noise, WrittenNoise)]
        return np.concatenate([self._gains(noise, lines, x) for noise, lines in series], axis=-1)

    def _gains(self, noise: WrittenNoise | DriveNoise, lines: list[Cell], x: Mapping[str, Array] | None) -> Array:
        values: dict[str, Array] = {}
        for cell in lines:
            self._evaluate(cell, values, x)
        return noise.gains(values[self._inputs[noise.name]["v"]])

    def signals(self, z: Array, x: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Return the output of every cell by name, for states z (..., size)."""
        values = self._walk(self._complete(z), x, {})
        for cell in self._read:
            self._evaluate(cell, values, x)
        return values

    def _complete(self, z: Array) -> Array:
        """Return states z (..., size), with the others where they start if only the neurons are given."""
        z = np.asarray(z, dtype=float)
        return self.full_state(z) if z.shape[-1] == self._first != self.size else z

    def drift(self, z: Array, x: Mapping[str, Array] | None = None) -> Array:
        """Return the drift of states z (..., size), in units per tau."""
        return self._velocity(self._walk(self._complete(z), x, {}))

    def _velocity(self, values: Mapping[str, Array]) -> Array:
        return np.concatenate(
            [
                cell.velocity(values[cell.name], self._driven(cell, values) + self._mean[place])
                for cell, place in self._states
            ],
            axis=-1,
        )

    def _driven(self, cell: Integrator, values: Mapping[str, Array]) -> Array:
        """Return the drift currents into a vector; 0 if nothing drives it."""
        return values[self._drifts[cell.name]] if cell.name in self._drifts else np.zeros(cell.size)

    def linearise(self, z: Array, x: Mapping[str, Array] | None = None) -> tuple[Array, Array]:
        """Return the drift of one or many states (n, size) and its Jacobian (n, size, size).

        What slow variables (`circuit.cells.plastic.Slow`) do to the others within one step, of relative size h/tau_slow, is
        left out of the Jacobian: Newton's iteration converges without it, by that factor each time.
        """
        z = np.asarray(z, dtype=float)
        tangents = {cell.name: self._eye[place] for cell, place in self._states if not cell.slow}
        values = self._walk(z, x, tangents)
        return self._velocity(values), self._jacobian(tangents, z.shape[:-1], slice(None))

    def _walk(self, z: Array, x: Mapping[str, Array] | None, tangents: dict[str, Array]) -> dict[str, Array]:
        """Return the output of every cell by name, and add to the tangents of the states, if any are asked for."""
        values = {cell.name: z[..., place] for cell, place in self._states}
        for cell in self._order:
            partials = self._evaluate(cell, values, x)
            if tangents:
                self._chain(cell, partials, tangents)
        return values

    def _evaluate(self, cell: Cell, values: dict[str, Array], x: Mapping[str, Array] | None) -> Mapping[str, Array]:
        """Add the output of a cell to the values, and return its partial derivatives."""
        if x is not None and cell.name in x:
            values[cell.name] = x[cell.name]
            return {}
        values[cell.name], partials = cell.respond({p: values[s] for p, s in self._inputs[cell.name].items()})
        return partials

    def _chain(self, cell: Cell, partials: Mapping[str, Array], tangents: dict[str, Array]) -> None:
        """Add a cell's d(output)/dz to the tangents of what feeds it, if it depends on any of these."""
        fed = [(partial, self._inputs[cell.name][port]) for port, partial in partials.items()]
        terms = [p @ tangents[s] if cell.linear else p[..., :, None] * tangents[s] for p, s in fed if s in tangents]
        if terms:
            tangents[cell.name] = sum(terms[1:], start=terms[0])

    def _jacobian(
        self, tangents: Mapping[str, Array], shape: tuple[int, ...], which: slice | NDArray[np.int64]
    ) -> Array:
        """Return d(drift)/dz (*shape, size, n) for n of the states, from the cells' tangents."""
        own = self._eye[:, which]
        rows, nothing = [], np.zeros((1, own.shape[1]))
        for cell, place in self._states:
            row = cell.velocity_jacobian(tangents.get(self._drifts.get(cell.name, ""), nothing), own[place])
            rows.append(np.broadcast_to(row, (*shape, cell.size, own.shape[1])))
        return np.concatenate(rows, axis=-2) if len(rows) > 1 else rows[0]

    def affine(
        self, values: Mapping[str, Array], x: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return every cell's output as c + M z_fast, from its tangent at the *node voltages* ``values`` (by cell).

        That is how a circuit simulator sees a circuit: each part is linearised where its own nodes are, whether or not
        they agree with each other yet. What slow variables do within a step is left out of M, as in `linearise`.

        Parameters
        ----------
        values : mapping
            By cell, the last iterate's outputs, shape (n, size).
        x : mapping or None
            The streamed input.

        Returns
        -------
        c : dict of arrays, shape (n, size)
        M : dict of arrays, shape (n, size, number of fast states)
            Only of cells that depend on them. The drift of the whole state is under the name "".
        """
        shape = np.shape(next(iter(values.values())))[:-1]
        c: dict[str, Array] = {}
        M: dict[str, Array] = {}
        for state, place in self._states:
            if state.slow:
                c[state.name] = values[state.name]
            else:
                c[state.name], M[state.name] = np.zeros((*shape, state.size)), self._eye[place][:, self.fast]
        for cell in self._order:
            name, sources = cell.name, self._inputs[cell.name]
            if x is not None and name in x:
                c[name] = np.broadcast_to(x[name], (*shape, cell.size))
                continue
            out, partials = cell.respond({p: values[s] for p, s in sources.items()})
            for port, partial in partials.items():
                change = c[sources[port]] - values[sources[port]]
                out = out + ((partial @ change[..., None])[..., 0] if cell.linear else partial * change)
            c[name] = out
            self._chain(cell, partials, M)
        c[""], M[""] = self._velocity(c), self._jacobian(M, shape, self.fast)
        return c, M
