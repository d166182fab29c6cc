r"""Cells of transistors as data: parts and their nodes, from which subcircuits, errors of devices, areas and pictures come.

Node 0 is the analog reference, to which every u is referred; ``vdd`` and ``vss`` are the supply (2.05 V and -1.25 V at
3.3 V). Lines of the bias block reach every cell under the names in `LINES`, without being wired up one by one. The bulk of
an n-channel device is at vss, that of a p-channel one at vdd, if nothing else is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from PySpice.Spice.Netlist import Netlist, SubCircuit

from circuitlsc.circuit.cells.base import described, number
from circuitlsc.circuit.transistor.process import KINDS
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities

BELOW = 1.25  # volt from vss to the analog reference
MICRO = 1e-6
#: supply and bias lines: a cell that has a node of such a name is connected to it
LINES = (
    *("vdd", "vss", "vx", "vr0", "vr1", "vcp", "vcn"),
    *("bn", "bp", "bne", "bpe", "pis", "pic", "nib", "nlam", "pth", "nr"),
    *("pna", "pno", "pns", "pac", "nac", "chop", "nchop"),
)


@dataclass(frozen=True)
class Mos:
    """A transistor, or ``m`` of them side by side.

    Parameters
    ----------
    name : str
    kind : str
        ``"n"`` or ``"p"``.
    d, g, s : str
        Nodes of drain, gate and source.
    w, l : float
        Micrometres, of one device.
    m : int
    bulk : str
        Node of the bulk, if it is not that of its kind.
    """

    name: str
    kind: str
    d: str
    g: str
    s: str
    w: float
    l: float  # noqa: E741
    m: int = 1
    bulk: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Drain, gate, source, bulk."""
        return self.d, self.g, self.s, self.bulk or {"n": "vss", "p": "vdd"}[self.kind]

    @property
    def area(self) -> float:
        """Gate area, square micrometres."""
        return self.w * self.l * self.m


@dataclass(frozen=True)
class Resistor:
    """A resistor between two nodes, ohm at 27 C; its error is drawn by its name.

    ``tc1`` (1/K) and ``tc2`` (1/K^2) are what it changes by with temperature.
    """

    name: str
    a: str
    b: str
    ohm: float
    tc1: float = 0.0
    tc2: float = 0.0

    @property
    def nodes(self) -> tuple[str, ...]:
        """Both ends."""
        return self.a, self.b


@dataclass(frozen=True)
class Capacitor:
    """A capacitor between two nodes, farad."""

    name: str
    a: str
    b: str
    farad: float

    @property
    def nodes(self) -> tuple[str, ...]:
        """Both plates."""
        return self.a, self.b


@dataclass(frozen=True)
class Current:
    """A constant current from node a through the source into node b, ampere (a reference, from outside)."""

    name: str
    a: str
    b: str
    ampere: float

    @property
    def nodes(self) -> tuple[str, ...]:
        """Where it comes from, and where it goes."""
        return self.a, self.b


@dataclass(frozen=True)
class Voltage:
    """A constant voltage of node a above node b, volt (from outside)."""

    name: str
    a: str
    b: str
    volt: float

    @property
    def nodes(self) -> tuple[str, ...]:
        """Both ends."""
        return self.a, self.b


@dataclass(frozen=True)
class Clock:
    r"""A square wave of node a above node b (from outside), which starts at its high level.

    .. math:: \tanh(200\,(0.02 \pm \sin(2\pi f t + 0.3)))

    Both of a pair are high for a moment, so that a current that they steer always has a way. An expression of the time,
    because every edge of a ``PULSE`` source costs ngspice half a dozen short steps.

    Parameters
    ----------
    name, a, b : str
    low, high : float
        Volt.
    hertz : float
        0 is a clock that stands still.
    inverted : bool
        Whether it starts at its low level instead.
    """

    name: str
    a: str
    b: str
    low: float
    high: float
    hertz: float
    inverted: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """Both ends."""
        return self.a, self.b

    @property
    def expression(self) -> str:
        """Its volts, for a behavioural source."""
        middle, half = number((self.high + self.low) / 2), number((self.high - self.low) / 2)
        return f"{middle!r}+{half!r}*{_level(self.hertz, self.inverted)}"


CHOP_STEEP, CHOP_PHASE, CHOP_OVERLAP = 200.0, 0.3, 0.02
#: of the power of what is chopped: while both of a chopper's ways are open nothing passes
CHOP_LOST = 2 * CHOP_OVERLAP / math.pi


def _level(hertz: float, inverted: bool) -> str:
    sign = "-" if inverted else ""
    return f"tanh({CHOP_STEEP!r}*({CHOP_OVERLAP!r}+{sign}sin({number(2 * math.pi * hertz)!r}*time+{CHOP_PHASE!r})))"


def chopped(hertz: float) -> str:
    """Return what a chopper of two such clocks multiplies by, 1 at t = 0 and later -1, as an expression of ngspice."""
    return f"(0.5*({_level(hertz, False)}-{_level(hertz, True)}))"


def chopping(hertz: float, t: Array) -> Array:
    """Return that at times t, seconds."""
    wave = np.sin(2 * np.pi * hertz * t + CHOP_PHASE)
    high, low = (np.tanh(CHOP_STEEP * (CHOP_OVERLAP + sign * wave)) for sign in (1, -1))
    return np.asarray((high - low) / 2)


@dataclass(frozen=True)
class Use:
    """An instance of another cell; lines are connected by their names."""

    name: str
    cell: TransistorCell
    pins: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its pins, and the lines that it needs."""
        return (*self.pins, *self.cell.lines)


Part = Mos | Resistor | Capacitor | Current | Voltage | Clock | Use


@dataclass(frozen=True)
class TransistorCell:
    """A cell: its name, what it does, its pins beside the lines, its parts, and where its inner nodes rest.

    Parameters
    ----------
    name : str
    text : str
        The equation, for the comment in a deck.
    pins : tuple of str
    parts : tuple
    rest : mapping
        Volts near which inner nodes are at the operating point (``.nodeset``), by node.
    """

    name: str
    text: str
    pins: tuple[str, ...]
    parts: tuple[Part, ...]
    rest: dict[str, float] = field(default_factory=dict)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines that it is connected to, in the order of `LINES`; those that are pins are not among them."""
        used = {node for part in self.parts for node in part.nodes} - set(self.pins)
        return tuple(line for line in LINES if line in used)

    @property
    def transistors(self) -> int:
        """How many devices it has, parallel ones counted one by one."""
        return sum(mos.m for _, mos in self.devices())

    @property
    def gate_area(self) -> float:
        """Area of all gates, square micrometres."""
        return sum(mos.area for _, mos in self.devices())

    def devices(self, path: str = "") -> Iterator[tuple[str, Mos]]:
        """Yield every transistor with its path, as in ``neuron_0.s0.p``."""
        for part in self.parts:
            name = f"{path}.{part.name}" if path else part.name
            if isinstance(part, Mos):
                yield name, part
            elif isinstance(part, Use):
                yield from part.cell.devices(name)

    def flat(self, path: str, pins: Sequence[str]) -> Iterator[tuple[str, Mos]]:
        """Yield every transistor as ngspice makes it flat: its name (``m.xgate_0.xse.mp``), and it between the flat nodes.

        Parameters
        ----------
        path : str
            Of the instance (``xgate_0``).
        pins : sequence of str
            The outer nodes of the pins.
        """
        outer = dict(zip(self.pins, pins, strict=True))

        def node(name: str) -> str:
            return outer.get(name) or (name if name == "0" or name in LINES else f"{path}.{name}")

        for part in self.parts:
            if isinstance(part, Mos):
                d, g, s, bulk = map(node, part.nodes)
                yield f"m.{path}.m{part.name}", replace(part, d=d, g=g, s=s, bulk=bulk)
            elif isinstance(part, Use):
                yield from part.cell.flat(f"{path}.x{part.name}", [node(pin) for pin in part.pins])

    def nodesets(self, path: str) -> Iterator[tuple[str, float]]:
        """Yield inner nodes as ngspice flattens them under an instance (``xneuron_0``), and the volts where they rest."""
        for node, volt in self.rest.items():
            yield f"{path}.{node}", volt
        for part in self.parts:
            if isinstance(part, Use):
                yield from part.cell.nodesets(f"{path}.x{part.name}")

    def scaled(self, area: float) -> TransistorCell:
        """Return the cell with the gate area of every transistor times a factor: width and length times its root."""
        if area == 1:
            return self
        k = area**0.5
        parts: list[Part] = []
        for part in self.parts:
            if isinstance(part, Mos):
                parts += within_models(replace(part, w=part.w * k, l=part.l * k))
            elif isinstance(part, Use):
                parts.append(replace(part, cell=part.cell.scaled(area)))
            else:
                parts.append(part)
        return replace(self, parts=tuple(parts))


LONGEST, WIDEST = 50.0, 100.0  # micrometres, of the models
PIECE = re.compile(r"y\d+$")  # of the name of all but the first of several in series


def within_models(mos: Mos) -> Iterator[Mos]:
    """Yield a transistor as the models have it: longer than they go, as several in series; wider, as several side by side."""
    count, beside = math.ceil(mos.l / LONGEST), math.ceil(mos.w / WIDEST)
    nodes = [mos.d, *(f"{mos.name}y{i}" for i in range(1, count)), mos.s]
    for i in range(count):
        name = mos.name if i == 0 else f"{mos.name}y{i}"
        ends = replace(mos, name=name, d=nodes[i], s=nodes[i + 1])
        yield replace(ends, l=mos.l / count, w=mos.w / beside, m=mos.m * beside)


@dataclass(frozen=True)
class Chip:
    """The errors of a chip's devices: each drawn from the seed by its path (see `circuitlsc.nonideal`).

    Parameters
    ----------
    nonideal : Nonidealities
        Its seed, and its ``mosfet`` part: a factor on the process's constants.
    trims : mapping
        Volts in series with a device's gate, by its path: what a trim adds to its threshold.
    """

    nonideal: Nonidealities = IDEAL
    trims: Mapping[str, float] = field(default_factory=dict)

    @property
    def matched(self) -> bool:
        """Whether all devices of a kind are alike."""
        return self.nonideal.mosfet.mismatch == 0 and not self.trims

    def errors(self, path: str, mos: Mos) -> tuple[float, float]:
        """Return what a device's threshold (V) and mobility (relative) differ by."""
        part = self.nonideal.mosfet
        vth, k = (part.mismatch * sd for sd in KINDS[mos.kind].spread(mos.w, mos.l, mos.m))
        trim = self.trims.get(PIECE.sub("", path), 0.0)
        return self.nonideal.normal(path, "threshold", vth) + trim, self.nonideal.normal(path, "mobility", k)

    def resistance(self, path: str, ohm: float) -> float:
        """Return a resistor's value."""
        part = self.nonideal.mosfet
        return ohm * self.nonideal.factor(path, "resistance", part.mismatch * RESISTOR)


RESISTOR = 0.002  # relative sd of a resistor of some thousand square micrometres


def subcircuits(cell: TransistorCell, path: str = "", chip: Chip | None = None) -> list[SubCircuit]:
    """Return the definitions of a cell and of those that it uses, the innermost first.

    On a chip whose devices differ each instance is a definition of its own, ``lsc_<cell>__<path>``.

    Parameters
    ----------
    cell : TransistorCell
    path : str
        Of the instance, under which its devices' errors are drawn.
    chip : Chip or None
        None is a chip of equal devices.
    """
    return list(definitions([(path, cell, ())], chip or Chip()).values())


def definition_name(cell: TransistorCell, path: str, chip: Chip) -> str:
    """Return what the definition of an instance is called."""
    return f"lsc_{cell.name}" if chip.matched else f"lsc_{cell.name}__{path.replace('.', '_')}"


def _define(cell: TransistorCell, path: str, chip: Chip, found: dict[str, tuple[TransistorCell, SubCircuit]]) -> str:
    name = definition_name(cell, path, chip)
    if name in found:
        if found[name][0] != cell:
            raise ValueError(f"two cells have the name {cell.name!r}, and would share one definition")
        return name
    inner = {
        part.name: _define(part.cell, f"{path}.{part.name}", chip, found)
        for part in cell.parts
        if isinstance(part, Use)
    }
    made = described(SubCircuit(name, *cell.pins, *cell.lines), cell.text)
    for part in cell.parts:
        place = f"{path}.{part.name}"
        match part:
            case Mos():
                sizes = {"width": number(part.w * MICRO), "length": number(part.l * MICRO)}
                beside = {} if part.m == 1 else {"multiplier": part.m}
                vth, k = chip.errors(place, part)
                errors = "" if chip.matched else f"delvto={number(vth)!r} mulu0={number(1 - k)!r}"
                made.M(part.name, *part.nodes, model=KINDS[part.kind].model, **sizes, **beside, raw_spice=errors)
            case Resistor():
                drift = f"tc1={part.tc1!r} tc2={part.tc2!r}" if part.tc1 or part.tc2 else ""
                made.R(part.name, *part.nodes, number(chip.resistance(place, part.ohm)), raw_spice=drift)
            case Capacitor():
                made.C(part.name, *part.nodes, number(part.farad))
            case Current():
                made.I(part.name, *part.nodes, number(part.ampere))
            case Voltage():
                made.V(part.name, *part.nodes, number(part.volt))
            case Clock():
                made.B(part.name, *part.nodes, voltage_expression=part.expression)
            case Use():
                made.X(part.name, inner[part.name], *part.nodes)
    found[name] = cell, made
    return name


Placed = tuple[str, TransistorCell, tuple[str, ...]]  # an instance: its name, its cell, and the nodes at its pins


def definitions(placed: Sequence[Placed], chip: Chip) -> dict[str, SubCircuit]:
    """Return what instances are made of, each definition once, by name."""
    found: dict[str, tuple[TransistorCell, SubCircuit]] = {}
    for name, cell, _ in placed:
        _define(cell, name, chip, found)
    return {name: made for name, (_, made) in found.items()}


def place(netlist: Netlist, placed: Sequence[Placed], chip: Chip) -> None:
    """Put instances into a netlist."""
    for name, cell, nodes in placed:
        netlist.X(name, definition_name(cell, name, chip), *nodes, *cell.lines)


def resting(placed: Sequence[Placed]) -> dict[str, float]:
    """Return the volts near which nodes of instances are at the operating point, as far as they are known."""
    found: dict[str, float] = {}
    for name, cell, nodes in placed:
        inner = {node: v for node, v in cell.nodesets(f"x{name}") if node.rpartition(".")[2] not in cell.lines}
        pins = {f"x{name}.{pin}": node for pin, node in zip(cell.pins, nodes, strict=True)}
        found |= {pins.get(node, node): volt for node, volt in inner.items()}
    return found
