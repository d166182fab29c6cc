"""The intermediate form: a signal-flow graph of vector cells, from which netlist, NumPy twin and checks all come."""

from __future__ import annotations

import networkx as nx
import numpy as np

from circuitlsc.arrays import Array
from circuitlsc.cells import Cell, Integrator, Noise, Wires
from circuitlsc.errors import NetlistError


class SignalFlowGraph:
    """A directed graph of about ten vector cells, whatever the size of the model; edges carry vectors into ports.

    Built by the functions of `circuitlsc.systems`; ``graph`` is a plain networkx DiGraph (node attribute ``cell``,
    edge attribute ``ports``) for whoever wants to draw or search it.
    """

    def __init__(self) -> None:
        self.graph = nx.DiGraph()

    def add(self, cell: Cell) -> Cell:
        """Add a cell and return it."""
        if cell.name in self.graph:
            raise NetlistError(f"two cells are called {cell.name!r}; names must be unique in a graph.")
        self.graph.add_node(cell.name, cell=cell)
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

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they were added."""
        return tuple(data["cell"] for _, data in self.graph.nodes(data=True))

    @property
    def integrator(self) -> Integrator:
        """The cell that holds the state."""
        found = [cell for cell in self.cells if isinstance(cell, Integrator)]
        if len(found) != 1:
            raise NetlistError(f"the graph holds {len(found)} integrators, but one state vector is needed.")
        return found[0]

    @property
    def noise(self) -> Noise:
        """The noise cell."""
        found = [cell for cell in self.cells if isinstance(cell, Noise)]
        if len(found) != 1:
            raise NetlistError(f"the graph holds {len(found)} noise cells, but one is needed.")
        return found[0]

    def inputs(self, cell: Cell) -> dict[str, Cell]:
        """Return the cells that feed ``cell``, by port."""
        return {
            data["port"]: self.graph.nodes[source]["cell"]
            for source, _, data in self.graph.in_edges(cell.name, data=True)
        }

    def outputs(self, cell: Cell) -> list[tuple[Cell, str]]:
        """Return the cells that ``cell`` feeds, each with the port."""
        return [
            (self.graph.nodes[target]["cell"], data["port"])
            for _, target, data in self.graph.out_edges(cell.name, data=True)
        ]

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

    .. math:: \tau\,du = \mathrm{drift}(u)\,dt + \sqrt{2 T \tau}\,dW
    """

    def __init__(self, graph: SignalFlowGraph) -> None:
        state = graph.integrator
        open_loop = graph.graph.copy()
        open_loop.remove_edges_from(list(graph.graph.in_edges(state.name)))
        self._state, self._integrator, self._noise = state.name, state, graph.noise
        self._temperature = graph.noise.temperature
        self._inputs = {cell.name: {p: c.name for p, c in graph.inputs(cell).items()} for cell in graph.cells}
        upstream = nx.ancestors(open_loop, drift := self._inputs[state.name]["drift"]) | {drift}
        self._drift = drift
        self._order = [
            graph.graph.nodes[name]["cell"]
            for name in nx.lexicographical_topological_sort(open_loop)
            if name in upstream and name != state.name
        ]
        self.size = state.size

    @property
    def temperature(self) -> float:
        """T of the noise."""
        return self._temperature

    def signals(self, u: Array) -> dict[str, Array]:
        """Return the output of every cell by name, for states u (..., n_latents)."""
        values = {self._state: np.asarray(u, dtype=float)}
        for cell in self._order:
            values[cell.name] = cell.evaluate({p: values[s] for p, s in self._inputs[cell.name].items()})
        return values

    def drift(self, u: Array) -> Array:
        """Return the drift of states u (..., n_latents), in units per tau."""
        u = np.asarray(u, dtype=float)
        return self._velocity(u, self.signals(u)[self._drift])

    def _velocity(self, u: Array, current: Array) -> Array:
        return self._integrator.velocity(u, current + self._noise.evaluate({}))

    def linearise(self, u: Array) -> tuple[Array, Array]:
        """Return the drift of one or many states (n, n_latents) and its Jacobian (n, n_latents, n_latents)."""
        values = self.signals(u)
        eye = np.eye(self.size)
        tangents: dict[str, Array] = {self._state: np.broadcast_to(eye, (*np.shape(u), self.size))}
        for cell in self._order:
            sources = self._inputs[cell.name]
            total: Array | None = None
            for port, partial in cell.partials({p: values[s] for p, s in sources.items()}).items():
                tangent = tangents.get(sources[port])
                if tangent is None:
                    continue
                term = partial @ tangent if cell.linear else partial[..., :, None] * tangent
                total = term if total is None else total + term
            if total is not None:
                tangents[cell.name] = total
        current, jacobian = values[self._drift], tangents[self._drift]
        return self._velocity(values[self._state], current), self._integrator.velocity_jacobian(jacobian)
