"""Electrical checks on a PySpice circuit, with networkx, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from networkx.utils import UnionFind
from PySpice.Spice.Netlist import Circuit, Netlist
from PySpice.Spice.Netlist import Element as SpiceElement

from circuitlsc.circuit.netlist_values import Scope
from circuitlsc.errors import NetlistError

GROUND = "0"
GROUNDS = {GROUND: GROUND, "gnd": GROUND}  # what a netlist calls it
FIXES_VOLTAGE = {"V", "E", "H", "L"}  # between the first two nodes, as a B element of a voltage does
#: positions of the nodes between which a DC current can flow, by an element's first letter
CONDUCTS = {
    **dict.fromkeys("RVLEHDSW", ((0, 1),)),
    "Q": ((0, 1), (1, 2)),  # collector, base, emitter
    "J": ((0, 2), (1, 2)),  # drain, gate, source
    "M": ((0, 2), (2, 3)),  # drain, gate, source, bulk: nothing through the gate
}


class Element(NamedTuple):
    """One element of the flattened circuit (a tuple: a large crossbar has tens of thousands).

    Attributes
    ----------
    name, kind : str
        As ngspice forms it; its first letter.
    nodes : tuple of str
    fixes_voltage : bool
        Whether it holds the voltage between its first two nodes.
    spice : PySpice element
        As its subcircuit has it.
    scope : Scope
        What its parameters come to.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    fixes_voltage: bool
    spice: SpiceElement
    scope: Scope

    @property
    def paths(self) -> list[tuple[str, str]]:
        """Pairs of nodes between which a DC current can flow."""
        pairs = ((0, 1),) if self.fixes_voltage else CONDUCTS.get(self.kind, ())
        return [(self.nodes[a], self.nodes[b]) for a, b in pairs if b < len(self.nodes)]


def flatten(circuit: Netlist) -> list[Element]:
    """Return the elements of a circuit with all subcircuits expanded; names as ngspice forms them."""
    return list(_expand(circuit, "", GROUNDS, {}, Scope(getattr(circuit, "_parameters", {}))))


def _expand(
    netlist: Netlist, path: str, pins: dict[str, str], known: dict[str, Netlist], scope: Scope
) -> Iterator[Element]:
    known = {**known, **{str(s.name).lower(): s for s in netlist.subcircuits}}
    places: dict[str, str] = {}  # a node of this netlist -> the flattened circuit's
    for element in netlist.elements:
        name, nodes = str(element.name), []
        for pin in element.pins:
            local = str(pin.node)
            if local not in places:
                places[local] = pins.get(local.lower(), path + local.lower())
            nodes.append(places[local])
        kind = name[0].upper()
        if kind != "X":
            # a B element is a voltage or a current
            fixes = kind in FIXES_VOLTAGE or getattr(element, "voltage_expression", None) is not None
            flat = f"{kind}.{path}{name}".lower() if path else name.lower()
            yield Element(flat, kind, tuple(nodes), fixes, element, scope)
            continue
        called = str(element.subcircuit_name).lower()
        if called not in known:
            raise NetlistError(f"{name} calls the subcircuit {called!r}, which is not defined in this circuit.")
        definition = known[called]
        external = [str(p).lower() for p in definition.external_nodes]
        if len(external) != len(nodes):
            raise NetlistError(
                f"{name} has {len(nodes)} nodes, but the subcircuit {called!r} has {len(external)} pins."
            )
        inner = dict(zip(external, nodes, strict=True)) | GROUNDS
        within = Scope(definition.parameters, element.parameters, scope)
        yield from _expand(definition, f"{path}{name}.".lower(), inner, known, within)


def _check_spelling(netlist: Netlist) -> None:
    """Raise NetlistError if two names of a netlist, or of a subcircuit that it defines, differ in case alone."""
    names = {
        "subcircuits": (s.name for s in netlist.subcircuits),
        "elements": (e.name for e in netlist.elements),
        "nodes": (pin.node for e in netlist.elements for pin in e.pins if str(pin.node).lower() != "gnd"),
    }
    for what, found in names.items():
        spelled: dict[str, str] = {}
        for name in map(str, found):
            if (other := spelled.setdefault(name.lower(), name)) != name:
                raise NetlistError(
                    f"the {what} {other} and {name} differ in case alone, and ngspice takes them for one. Rename one of them."
                )
    for inner in netlist.subcircuits:
        _check_spelling(inner)


def check_circuit(circuit: Circuit) -> list[Element]:
    """Check names, that every node has a DC path to ground, that no voltage sources form a loop, and that no node dangles.

    Parameters
    ----------
    circuit : PySpice Circuit

    Returns
    -------
    list of Element
        The flattened circuit.

    Raises
    ------
    NetlistError
        If a rule is broken; the message names the node or the elements.
    """
    _check_spelling(circuit)
    elements = flatten(circuit)
    conducting, held = UnionFind(), UnionFind()  # nodes that are joined by DC paths; by voltages
    touched: dict[str, list[str]] = {}
    for element in elements:
        for node in element.nodes:
            touched.setdefault(node, []).append(element.name)
        for a, b in element.paths:
            conducting.union(a, b)
        if element.fixes_voltage:
            a, b = element.nodes[:2]
            if held[a] == held[b]:
                raise NetlistError(
                    f"{element.name} closes a loop of voltage sources between {a} and {b}: the current in it has no bound. "
                    "Put a resistor in series."
                )
            held.union(a, b)
    for node, names in touched.items():
        if node != GROUND and len(names) < 2:
            raise NetlistError(f"node {node} dangles: only {names[0]} is connected to it. Connect or remove it.")
    floating = sorted(node for node in touched if conducting[node] != conducting[GROUND])
    if floating:
        raise NetlistError(
            f"node {floating[0]} has no DC path to ground ({len(floating)} such nodes): its voltage is undefined. "
            "Connect a resistor to ground."
        )
    return elements
