"""A circuit as instances of Verilog-A modules, and its text for VACASK, for Spectre, and in Verilog-A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circuitlsc import veriloga

CONDUCTANCE = "lsc_transconductor"  # VACASK has an element of its own for it, which loads faster


@dataclass(frozen=True)
class Instance:
    """An instance of a module of `circuitlsc.veriloga`.

    Attributes
    ----------
    name, module : str
    nodes : tuple of str
        In the order of the module's ports.
    parameters : mapping
        SI units.
    """

    name: str
    module: str
    nodes: tuple[str, ...]
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class Source:
    """A source whose value comes from outside: a column of a chain's noise or of its input.

    Attributes
    ----------
    device : str
        As ngspice flattens it, which is what a task calls it.
    name : str
    nodes : tuple of str
        Plus and minus; a current flows from the first through the source to the second.
    kind : str
        ``"vsource"`` or ``"isource"``.
    """

    device: str
    name: str
    nodes: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Netlist:
    """A flat circuit: instances of modules, and sources from outside."""

    instances: tuple[Instance, ...]
    sources: tuple[Source, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes but ground, in the order of the instances."""
        named = [node for each in self.instances for node in each.nodes]
        named += [node for each in self.sources for node in each.nodes]
        return tuple(dict.fromkeys(node for node in named if node != "0"))

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it has instances of."""
        return tuple(dict.fromkeys(each.module for each in self.instances))

    @property
    def families(self) -> tuple[str, ...]:
        """The files of these modules."""
        known = veriloga.modules()
        return tuple(dict.fromkeys(known[module].file for module in self.modules))


def vacask_lines(net: Netlist) -> list[str]:
    """Return the circuit for VACASK, without what loads modules, sources and analysis."""
    models = [f"model {module} {module}" for module in net.modules if module != CONDUCTANCE]
    models += [f"model {element} {element}" for element in ("vccs", "vsource", "isource")]
    return ["ground 0", *models, *map(_vacask, net.instances)]


def _vacask(each: Instance) -> str:
    if each.module == CONDUCTANCE:
        v, p = each.nodes
        return f"{each.name} (0 {p} {v} 0) vccs gain={plain(each.parameters['g'])}"
    return _instance(each)


def _instance(each: Instance) -> str:
    given = " ".join(f"{name}={plain(value)}" for name, value in each.parameters.items())
    return f"{each.name} ({' '.join(each.nodes)}) {each.module} {given}"


def spectre_lines(net: Netlist) -> list[str]:
    """Return the circuit for Spectre, without what includes modules, sources and analysis."""
    return ["global 0", *map(_instance, net.instances)]


def verilog_a_lines(net: Netlist, name: str) -> list[str]:
    """Return the circuit as a structural module, whose ports are the nodes of its sources, then all others."""
    ports = dict.fromkeys(node for each in net.sources for node in each.nodes if node != "0")
    nodes = [*ports, *(node for node in net.nodes if node not in ports)]
    lines = [f"module {name}({', '.join(nodes)});", f"    inout {', '.join(nodes)};"]
    lines += [f"    electrical {', '.join((*nodes, 'gnd'))};", "    ground gnd;"]
    for each in net.instances:
        given = ", ".join(f".{name}({plain(value)})" for name, value in each.parameters.items())
        at = ", ".join("gnd" if node == "0" else node for node in each.nodes)
        lines.append(f"    {each.module} #({given}) {each.name} ({at});")
    return [*lines, "endmodule"]


def plain(value: float) -> str:
    """Return a number as every simulator reads it: 0 and 1 as integers, which a module may want."""
    return str(int(value)) if value in (0, 1) else repr(float(value))
