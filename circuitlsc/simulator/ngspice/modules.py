"""A circuit of modules as ngspice's lines: linear parts are its own elements, all else is compiled Verilog-A."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from circuitlsc.errors import MissingSimulatorError
from circuitlsc.simulator.modules import CONDUCTANCE, PRIMITIVES, Instance, Netlist, plain
from circuitlsc.simulator.ngspice.library import version_apart
from circuitlsc.simulator.task import SCRATCH
from circuitlsc.simulator.verilog_a import check_compiler, compiled

OLDEST = 44  # version of ngspice; 39 has no such devices
IN_FULL = 120  # of a line's characters; what follows goes on in others


def lines(net: Netlist) -> list[str]:
    """Return the elements of a circuit, under the names that a flattened one has, and the models of its modules."""
    models = [f".model {module} {module}" for module in net.modules if module not in NATIVE]
    elements = [line for each in net.instances for line in NATIVE.get(each.module, _compiled)(each)]
    return [*models, *elements, *(f"{s.device} {' '.join(s.nodes)} external" for s in net.sources)]


def families(net: Netlist) -> tuple[str, ...]:
    """Return the files of the modules that must be compiled."""
    return Netlist(tuple(each for each in net.instances if each.module not in NATIVE), ()).families


def check_version(version: str) -> None:
    """Raise MissingSimulatorError if an ngspice of this version, e.g. ``"44.2"``, has no devices of compiled Verilog-A."""
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST:
        raise MissingSimulatorError(
            f'cells = "verilog-a" needs libngspice {OLDEST} or later, and this is {version}. Use cells = "table", which runs '
            f'everywhere, or "auto"; or set NGSPICE_LIBRARY_PATH to a newer library (Debian 13 has {OLDEST}).'
        )


def check_modules() -> None:
    """Raise MissingSimulatorError unless this machine's ngspice loads compiled modules, and something here compiles them."""
    check_version(version_apart()[1])
    check_compiler()


def load_modules(session: Any, version: str, files: Sequence[str]) -> None:
    """Compile modules, or find them compiled, and load them.

    ngspice takes a path apart at blanks, and knows ASCII alone: it gets links with plain names, from where it works.

    Raises
    ------
    MissingSimulatorError
        If ngspice is too old, there is no compiler, or what it makes cannot be loaded.
    """
    check_version(version)
    with TemporaryDirectory(prefix=SCRATCH) as name:
        for file, path in compiled(files).items():
            try:
                ctypes.CDLL(str(path))
            except OSError as error:  # ngspice would go on without it
                raise MissingSimulatorError(
                    f"a compiled cell cannot be loaded ({error}). Remove that file; or set XDG_CACHE_HOME to a folder where "
                    "programs may run."
                ) from None
            link = Path(os.path.realpath(name), Path(file).stem)
            link.symlink_to(path)
            session.exec_command(f"osdi {os.path.relpath(link)}")


def _compiled(each: Instance) -> list[str]:
    return [f"n.{each.name} {' '.join(each.nodes)} {each.module}", *_given(each.parameters)]


def _given(parameters: Mapping[str, float]) -> list[str]:
    """Return parameters as lines that continue one: a column of a crossbar has many."""
    rows = [""]
    for name, value in parameters.items():
        if len(rows[-1]) > IN_FULL:
            rows.append("")
        rows[-1] += f" {name}={plain(value)}"
    return [f"+{row}" for row in rows if row]


def _integrator(each: Instance) -> list[str]:
    u, n = each.nodes
    c, g = each.parameters["c"], each.parameters["g"]
    return [f"c.{each.name}.cint {u} {n} {c!r} ic=0.0", *([f"r.{each.name}.rleak {u} 0 {1 / g!r}"] if g else [])]


def _transconductor(each: Instance) -> list[str]:
    v, p = each.nodes
    return [f"g.{each.name} 0 {p} {v} 0 {each.parameters['g']!r}"]


def _node(each: Instance) -> list[str]:
    return [f"r.{each.name} {each.nodes[0]} 0 {each.parameters['r']!r}"]


def _input(each: Instance) -> list[str]:
    return [f"i.{each.name} 0 {each.nodes[0]} {each.parameters['i_in']!r}"]


def _element(each: Instance) -> list[str]:
    (value,) = each.parameters.values()
    starts = " ic=0.0" if each.module == "capacitor" else ""
    return [f"{each.name} {' '.join(each.nodes)} {value!r}{starts}"]


#: modules that are elements of ngspice, and its elements themselves
NATIVE: dict[str, Callable[[Instance], list[str]]] = {
    "lsc_integrator": _integrator,
    CONDUCTANCE: _transconductor,
    "lsc_node": _node,
    "lsc_input": _input,
    **dict.fromkeys(PRIMITIVES, _element),
}
