"""The same circuit in fewer, larger modules, which load faster: cells of a neuron in one, entries of a column together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from circuitlsc.simulator.modules import CONDUCTANCE, Instance, Netlist

KINDS = ("nonnegative", "signed", "absolute")  # of threshold, gate and cell
COLUMN, ENTRIES = "lsc_column16", 16
FEWEST = 48  # entries of a column from which it is faster in pieces of 16: with 16 and 32 it is not, with 64 it is


def fused(net: Netlist) -> Netlist:
    """Return a netlist with the same equations: modules that belong together are one (``lsc_cell.va``, ``lsc_column.va``)."""
    return Netlist(tuple(_columns(_cells(net.instances))), net.sources)


def _cells(instances: tuple[Instance, ...]) -> list[Instance]:
    """Put threshold, gate and slab cost of one state, with the same comparators, into one instance."""
    at = defaultdict[str, list[Instance]](list)
    for each in instances:
        if each.module.startswith(("lsc_threshold_", "lsc_gate_", "lsc_cost_")):
            at[each.nodes[0]].append(each)
    made = {id(old): new for group in at.values() if (new := _cell(group)) for old in group}
    return list({id(new): new for new in (made.get(id(each), each) for each in instances)}.values())


def _cell(group: list[Instance]) -> Instance | None:
    """Return the cell of a threshold, a gate and a cost; None if they are others, or do not fit."""
    by_module = {each.module: each for each in group}
    kind = next((kind for kind in KINDS if f"lsc_threshold_{kind}" in by_module), None)
    wanted = {f"lsc_threshold_{kind}", f"lsc_gate_{kind}", "lsc_cost_slab"}
    if len(group) != len(wanted) or set(by_module) != wanted:
        return None
    threshold, gate, cost = (by_module[name] for name in sorted(wanted, reverse=True))
    u, s = threshold.nodes
    shared = {name: value for name, value in threshold.parameters.items() if name != "g"}
    own = {"k": gate.parameters["k"], "i": cost.parameters["i"]}
    comparator = {name: value for name, value in shared.items() if name != "u0"}
    if (
        gate.nodes != (u, gate.nodes[1], u)
        or cost.nodes != (u, u)
        or gate.parameters != {**shared, "k": own["k"]}
        or cost.parameters != {**comparator, "i": own["i"]}
    ):
        return None
    return Instance(threshold.name, f"lsc_cell_{kind}", (u, s, gate.nodes[1]), {**threshold.parameters, **own})


def _columns(instances: list[Instance]) -> Iterator[Instance]:
    """Put the conductances that one node drives into columns."""
    entries = defaultdict[str, list[Instance]](list)
    for each in instances:
        if each.module == CONDUCTANCE:
            entries[each.nodes[0]].append(each)
    for each in instances:
        if each.module != CONDUCTANCE:
            yield each
        elif found := entries.pop(each.nodes[0], None):
            yield from _column(found) if len(found) >= FEWEST else found


def _column(entries: list[Instance]) -> Iterator[Instance]:
    """Yield the pieces of one node's column; what is left of them, and a short column, stays as it is."""
    while len(entries) >= ENTRIES:
        now, entries = entries[:ENTRIES], entries[ENTRIES:]
        rows = [each.nodes[1] for each in now]
        given = {f"g{i}": each.parameters["g"] for i, each in enumerate(now)}
        yield Instance(f"{now[0].name}_column", COLUMN, (now[0].nodes[0], *rows), given)
    yield from entries
