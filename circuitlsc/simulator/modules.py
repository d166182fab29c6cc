"""A circuit as instances of Verilog-A modules, and its text for VACASK, for Spectre, and in Verilog-A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from circuitlsc import veriloga
from circuitlsc.errors import InputError

CONDUCTANCE = "lsc_transconductor"  # VACASK has an element of its own for it, which loads faster
#: what a circuit consists of beside modules, each with its parameter (as Spectre has it); nodes as in SPICE
PRIMITIVES = {"resistor": "r", "capacitor": "c", "vcvs": "gain", "vccs": "gm", "vsource": "dc", "isource": "dc"}


@dataclass(frozen=True)
class Instance:
    """An instance of a module of `circuitlsc.veriloga`, or of one of `PRIMITIVES`.

    Attributes
    ----------
    name, module : str
        A primitive's name is as ngspice flattens it, as those of nodes are: with dots, which other simulators do not take.
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
    """A flat circuit: instances of modules and primitives, and sources from outside."""

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
        named = (each.module for each in self.instances)
        return tuple(dict.fromkeys(module for module in named if module not in PRIMITIVES))

    @property
    def families(self) -> tuple[str, ...]:
        """The files of these modules."""
        known = veriloga.modules()
        return tuple(dict.fromkeys(known[module].file for module in self.modules))

    def undotted(self) -> Netlist:
        """Return the same circuit with names that have no dots.

        Raises
        ------
        InputError
            If two names become one.
        """
        instances = tuple(replace(e, name=plain_name(e.name), nodes=_plain_names(e.nodes)) for e in self.instances)
        sources = tuple(replace(s, name=plain_name(s.name), nodes=_plain_names(s.nodes)) for s in self.sources)
        made = Netlist(instances, sources)
        for names in (self.nodes, {e.name for e in self.instances} | {s.name for s in self.sources}):
            if len({plain_name(name) for name in names}) != len(names):
                raise InputError("two names of the circuit differ in a dot alone. Give one of its cells another name.")
        return made


def plain_name(name: str) -> str:
    """Return a name of ngspice's flattened circuit as every simulator takes it."""
    return name.replace(".", "_")


def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(plain_name, names))


def for_vacask(net: Netlist) -> Netlist:
    """Return a circuit in names and elements of VACASK: a resistor is a source of current, a capacitor a module."""
    net = net.undotted()
    return replace(net, instances=tuple(map(_in_vacask, net.instances)))


def _in_vacask(each: Instance) -> Instance:
    if each.module == CONDUCTANCE:
        v, p = each.nodes
        return replace(each, module="vccs", nodes=("0", p, v, "0"), parameters={"gain": each.parameters["g"]})
    if each.module == "vccs":
        return replace(each, parameters={"gain": each.parameters["gm"]})
    if each.module == "resistor":
        return replace(each, module="vccs", nodes=each.nodes * 2, parameters={"gain": 1 / each.parameters["r"]})
    if each.module == "capacitor":
        return replace(each, module="lsc_capacitor")
    return each


def for_verilog_a(net: Netlist) -> Netlist:
    """Return a circuit in modules alone (``lsc_parts.va``)."""
    net = net.undotted()
    named = (f"lsc_{each.module}" if each.module in PRIMITIVES else each.module for each in net.instances)
    parts = (replace(each, module=module) for each, module in zip(net.instances, named, strict=True))
    return replace(net, instances=tuple(parts))


def vacask_lines(net: Netlist) -> list[str]:
    """Return a circuit of `for_vacask`, without what loads modules, sources and analysis."""
    models = [f"model {module} {module}" for module in (*net.modules, "vcvs", "vccs", "vsource", "isource")]
    return ["ground 0", *models, *map(_instance, net.instances)]


def _instance(each: Instance) -> str:
    given = " ".join(f"{name}={plain(value)}" for name, value in each.parameters.items())
    return f"{each.name} ({' '.join(each.nodes)}) {each.module} {given}"


def spectre_lines(net: Netlist) -> list[str]:
    """Return a circuit of plain names for Spectre, without what includes modules, sources and analysis."""
    return ["global 0", *map(_instance, net.instances)]


def verilog_a_lines(net: Netlist, name: str) -> list[str]:
    """Return a circuit of `for_verilog_a` as a structural module, whose ports are the nodes of its sources, then all others."""
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
