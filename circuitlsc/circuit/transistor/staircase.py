r"""What a neuron's cells do at rest: one slow transient over a staircase of u and e, from one operating point.

Sweeps of ``.dc`` would look for an operating point again at every step. Here time is long (a second per stair, and no
capacitor holds more than milliseconds): what is read at the end of each stair is the DC transfer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.transistor.cells import neuron, signed
from circuitlsc.circuit.transistor.cells.mirror import copy
from circuitlsc.circuit.transistor.cells.neuron import CODE_LINES
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import (
    BELOW,
    Chip,
    Placed,
    TransistorCell,
    definition_name,
    subcircuits,
)
from circuitlsc.circuit.transistor.process import include_lines, models
from circuitlsc.errors import SimulationError
from circuitlsc.io.arrays import Array

HELD, STEP = (
    0.475,
    0.9,
)  # seconds: on either side of a stair's middle; between time points, so that each stair has one or two
OPTIONS = ".options gmin=1e-15 abstol=1e-14 reltol=1e-5 vntol=1e-7 itl1=300 itl2=300 itl4=100 trtol=1e9 method=gear"


@dataclass(frozen=True)
class Measured:
    """What a staircase gave, in ampere.

    Attributes
    ----------
    u : array, shape (n_u,)
        Volt.
    e : array, shape (n_e,)
        Ampere.
    drift : array, shape (n_neurons, n_e, n_u)
        Into u.
    code : array, shape (n_neurons, n_lines, n_u)
        Copy of each gate line of the code, at the first e: what a p-channel copy gives, or an n-channel one takes.
    supply : array, shape (n_e, n_u)
        From vdd, of all neurons and the bias block.
    lines : tuple of str
        Of the code, as in `neuron.CODE_LINES`.
    copies : array, shape (n_copies, n_u)
        Current of each entry of the crossbar into its node, at the first e.
    """

    u: Array
    e: Array
    drift: Array
    code: Array
    supply: Array
    lines: tuple[str, ...] = ("ps",)
    copies: Array = field(default_factory=lambda: np.zeros((0, 0)))


def put_cell(
    circuit: Circuit, cell: TransistorCell, name: str, pins: Sequence[str], chip: Chip, known: set[str]
) -> None:
    """Put an instance of a cell into a circuit, with the definitions that are not there yet, and its `.nodeset` lines."""
    for definition in subcircuits(cell, name, chip):
        if str(definition.name) not in known:
            known.add(str(definition.name))
            circuit.subcircuit(definition)
    circuit.X(name, definition_name(cell, name, chip), *pins, *cell.lines)


def waveform(values: Array) -> str:
    """Return what a source is at a time: each value for one stair.

    An expression of the time, because every corner of a ``PWL`` source costs ngspice half a dozen short steps.
    """
    points = [f"{k - HELD:.9g},{v:.12g},{k + HELD:.9g},{v:.12g}" for k, v in enumerate(map(float, values), 1)]
    return f"pwl(time,{','.join(points)})"


def on_stairs(deck: str, stairs: int, where: str) -> Mapping[str, Array]:
    """Return the vectors of a deck by name at the end of each of its stairs.

    Raises
    ------
    SimulationError
        If ngspice found no operating point, or did not reach the last stair, or a value is not finite.
    """
    ends = np.arange(1, stairs + 1) + HELD
    found = analysed(deck, f"tran 1 {ends[-1]:.9g} 0 {STEP:g}")
    at = np.searchsorted(found["time"], ends, side="right") - 1
    there = found["time"][at] >= ends - 2 * HELD
    if not there.all():
        raise SimulationError(
            f"ngspice stopped at stair {int(np.argmin(there))} of {stairs} of a staircase ({where}).", 0
        )
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise SimulationError(f"{name} is not finite on a staircase ({where}).", 0)
    return {name: values[at] for name, values in found.items()}


def measure(
    bias: TransistorCell,
    threshold: TransistorCell,
    gate: TransistorCell,
    u: Array,
    e: Array,
    *,
    n: int = 1,
    units: int = 4,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
    copies: Sequence[Placed] = (),
) -> Measured:
    """Return what n neurons of a chip do at each u (V) and e (A).

    Parameters
    ----------
    bias, threshold, gate : TransistorCell
    u, e : array
        Volt, ampere.
    n, units : int
        Neurons; units of a code's line.
    corner : str
    celsius, supply : float
        Volt, in all.
    chip : Chip or None
    copies : sequence of Placed
        Entries of the crossbar: cells with the pins line and out, at lines as ``ps_0``; where they go does not matter.

    Raises
    ------
    SimulationError
        If ngspice found no operating point, or did not reach the last stair.
    """
    given = (u, e, n, units, corner, celsius, supply, chip or Chip(), copies)
    read = _Solved(_deck(bias, threshold, gate, *given), len(e), f"{corner}, {celsius:g} C")
    drift = np.stack([read(f"vu_{i}#branch") for i in range(n)])
    lines = code_lines(threshold)
    code = np.stack([[SINKS[CODE_LINES[k]] * read(f"v{k}_{i}#branch")[0] for k in lines] for i in range(n)])
    entries = [read(f"v{name}#branch")[0] for name, _, _ in copies]
    return Measured(u, e, drift, code, -read("vdd#branch"), lines, np.array(entries))


def input_currents(
    bias: TransistorCell,
    inputs: Sequence[Placed],
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
) -> Array:
    """Return the current (A) that each input, a cell with the pin e, puts into its node; shape (n_inputs,).

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    if not inputs:
        return np.zeros(0)
    circuit, nodesets, known = _supplied(bias, supply, chip := chip or Chip())
    for name, cell, _ in inputs:
        put_cell(circuit, cell, name, (f"o{name}",), chip, known)
        circuit.V(name, f"o{name}", 0, 0.4)
        nodesets |= dict(cell.nodesets(f"x{name}"))
    names = [f"v{name}" for name, _, _ in inputs]
    deck = _deck_of(circuit, corner, celsius, nodesets, [f"i({name})" for name in names])
    found = on_stairs(deck, 1, f"{corner}, {celsius:g} C")
    return np.array([found[f"{name}#branch"][0] for name in names])


def operating_points(
    bias: TransistorCell,
    threshold: TransistorCell,
    gate: TransistorCell,
    u: Array,
    e: Array,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
) -> dict[str, Array]:
    """Return every node's volts and every transistor's ampere (``id NAME``) on a staircase, shape (n_e, n_u), by flat names."""
    deck, order = _deck(bias, threshold, gate, u, e, 1, 4, corner, celsius, supply, Chip(), ())
    names = [name for cell, path in placed(bias, threshold, gate) for name, _ in cell.flat(path, pins_of(cell))]
    saved = ".save all " + " ".join(f"@{name}[id]" for name in names)
    deck = "\n".join(saved if line.startswith(".save") else line for line in deck.splitlines())
    read = _Solved((deck, order), len(e), f"{corner}, {celsius:g} C")
    nodes = [name for name in read.names if name != "time" and "#" not in name and "@" not in name]
    return {name: read(name) for name in nodes} | {f"id {name}": np.abs(read(f"@{name}[id]")) for name in names}


def placed(bias: TransistorCell, threshold: TransistorCell, gate: TransistorCell) -> list[tuple[TransistorCell, str]]:
    """Return the cells of a staircase of one neuron, and the paths of their instances."""
    return [(bias, "xbias"), (threshold, "xthreshold_0"), (gate, "xgate_0")]


def pins_of(cell: TransistorCell, i: int = 0) -> list[str]:
    """Return the nodes that the pins of neuron i's cells are on."""
    return [f"{pin}_{i}" for pin in cell.pins]


class _Solved:
    """What ngspice found of a deck of stairs: a function that returns a vector by its name, shape (n_e, n_u)."""

    def __init__(self, deck: tuple[str, NDArray[np.int64]], levels: int, where: str) -> None:
        text, self._order = deck
        self._found, self._levels = on_stairs(text, len(self._order), where), levels

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._found)

    def __call__(self, name: str) -> Array:
        out = np.empty(len(self._order))
        out[self._order] = self._found[name]
        return out.reshape(self._levels, -1)


def code_lines(threshold: TransistorCell) -> tuple[str, ...]:
    """Return the gate lines of the code that a threshold has, in the order of `neuron.CODE_LINES`."""
    return tuple(line for line in CODE_LINES if line in threshold.pins)


def state_deck(
    bias: TransistorCell,
    threshold: TransistorCell,
    gate: TransistorCell,
    u: float,
    e: float,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
) -> str:
    """Return the deck of one neuron held at u (V, by the source ``vu_0``) and e (A), that saves everything."""
    where = (corner, celsius, supply, Chip(), ())
    deck, _ = _deck(bias, threshold, gate, np.array([u]), np.array([e]), 1, 4, *where)
    return "\n".join(line for line in deck.splitlines() if not line.startswith(".save"))


SINKS = {"p": 1.0, "n": -1.0}  # the direction of a copy's current


def _deck(  # type: ignore[no-untyped-def]
    bias, threshold, gate, u, e, n, units, corner, celsius, supply, chip, copies
) -> tuple[str, NDArray[np.int64]]:
    circuit, nodesets, known = _supplied(bias, supply, chip)
    order = np.arange(len(e) * len(u)).reshape(len(e), len(u))
    order[1::2] = order[1::2, ::-1]  # up, and down again: no jump of u
    places = order.ravel()
    rest = signed.REST if set(signed.LOGS) <= set(threshold.pins) else neuron.REST
    for i in range(n):
        pins = {pin: f"{pin}_{i}" for pin in (*threshold.pins, *gate.pins)}
        put_cell(circuit, threshold, f"threshold_{i}", [pins[p] for p in threshold.pins], chip, known)
        put_cell(circuit, gate, f"gate_{i}", [pins[p] for p in gate.pins], chip, known)
        circuit.B(f"u_{i}", f"given_{i}", 0, voltage_expression=waveform(np.tile(u, len(e))[places]))
        circuit.V(f"u_{i}", f"u_{i}", f"given_{i}", 0)
        circuit.B(f"e_{i}", 0, f"e_{i}", current_expression=waveform(np.repeat(e, len(u))[places]))
        for line in code_lines(threshold):
            reader = copy(CODE_LINES[line], units)
            put_cell(circuit, reader, f"read_{line}_{i}", (f"{line}_{i}", f"r{line}_{i}"), chip, known)
            circuit.V(f"{line}_{i}", f"r{line}_{i}", 0, 0.4)
        nodesets |= dict(threshold.nodesets(f"xthreshold_{i}")) | dict(gate.nodesets(f"xgate_{i}"))
        nodesets |= {node: rest[pin] for pin, node in pins.items() if pin in rest} | {f"u_{i}": 0.0}
    for name, cell, (line, _) in copies:
        put_cell(circuit, cell, name, (line, f"o{name}"), chip, known)
        circuit.V(name, f"o{name}", 0, 0.4)
    measured = [f"i(v{pin}_{i})" for i in range(n) for pin in ("u", *code_lines(threshold))]
    measured += [f"i(v{name})" for name, _, _ in copies]
    return _deck_of(circuit, corner, celsius, nodesets, [*measured, "i(vdd)"]), places


def _supplied(bias: TransistorCell, supply: float, chip: Chip) -> tuple[Circuit, dict[str, float], set[str]]:
    """Return a circuit with the supply and the bias block, volts where their nodes rest, and the definitions it has."""
    circuit, known = Circuit("staircase of a neuron's cells"), set[str]()
    circuit.V("dd", "vdd", 0, supply - BELOW)
    circuit.V("ss", "vss", 0, -BELOW)
    put_cell(circuit, bias, "bias", (), chip, known)
    return circuit, dict(bias.nodesets("xbias")) | dict(bias.rest), known


def _deck_of(
    circuit: Circuit, corner: str, celsius: float, nodesets: Mapping[str, float], measured: Sequence[str]
) -> str:
    sets = "\n".join(f".nodeset v({node})={volt!r}" for node, volt in nodesets.items())
    saved = f".save {' '.join(measured)}"
    return "\n".join([str(circuit), include_lines(corner, celsius, folder=models()), sets, OPTIONS, saved, ".end", ""])
