"""The bias block of a chip by itself: how it starts, where its lines come to rest, and a cell that holds them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import BELOW, LINES, Chip, TransistorCell, Voltage
from circuitlsc.circuit.transistor.process import include_lines, models
from circuitlsc.circuit.transistor.staircase import OPTIONS, pins_of, put_cell
from circuitlsc.errors import SimulationError
from circuitlsc.io.arrays import Array

SETTLED = 10e-3  # seconds after the ramp: the lines of I0 charge slowly


@dataclass(frozen=True)
class Start:
    """A start of the bias block.

    Attributes
    ----------
    time : array, shape (n,)
        Seconds.
    volts : mapping
        Every line's voltage, shape (n,).
    rest : mapping
        Where each line stands at the operating point that ngspice finds from nodesets.
    """

    time: Array
    volts: dict[str, Array]
    rest: dict[str, float]

    @property
    def off(self) -> float:
        """The largest distance of a line from its operating point at the end, volt."""
        return max(abs(float(values[-1]) - self.rest[line]) for line, values in self.volts.items())

    def settled(self, within: float = 0.01) -> float:
        """Return when the last line came within so many volt of its rest, seconds; inf if one never did."""
        last = 0.0
        for line, values in self.volts.items():
            outside = np.nonzero(np.abs(values - self.rest[line]) > within)[0]
            if len(outside):
                last = max(last, self.time[outside[-1] + 1] if outside[-1] + 1 < len(self.time) else np.inf)
        return float(last)


def start(
    bias: TransistorCell,
    cells: Sequence[TransistorCell],
    *,
    rise: float,
    reference: float,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
) -> Start:
    """Return the waveforms of a start: vdd, vss and the reference rise from 0, with all nodes at 0 and no operating point.

    Parameters
    ----------
    bias : TransistorCell
        Without a reference of its own (``real_bias(currents, reference=None)``).
    cells : sequence of TransistorCell
        Of a neuron that hangs on it; its node u is held at the analog reference.
    rise : float
        Seconds that both supplies and the reference take.
    reference : float
        Ampere, into ``nr``.
    corner : str
    celsius, supply : float
        Volt, in all.

    Raises
    ------
    SimulationError
        If ngspice did not reach the end.
    """
    end, setting = rise + SETTLED, (corner, celsius, supply)
    ramps = [f"PWL(0 0 {rise!r} {to!r})" for to in (supply - BELOW, -BELOW, reference)]
    found = analysed(_deck(bias, cells, *setting, ramps, Chip()), f"tran {SETTLED / 100!r} {end!r} 0 uic")
    if found["time"][-1] < end * (1 - 1e-9):
        raise SimulationError(f"ngspice stopped {found['time'][-1]:.3g} s after a start, of {end:.3g} s.", 0)
    still = [repr(v) for v in (supply - BELOW, -BELOW, reference)]
    rest = analysed(_deck(bias, cells, *setting, still, Chip(), guess=True), "op")
    lines = [line for line in LINES if line in found]
    where = f"after a start ({corner}, {celsius:g} C)"
    return Start(found["time"], {n: _finite(found[n], n, where) for n in lines}, {n: float(rest[n][0]) for n in lines})


def at_rest(
    bias: TransistorCell,
    *,
    corner: str = "typical",
    celsius: float = 27.0,
    supply: float = 3.3,
    chip: Chip | None = None,
) -> dict[str, Array]:
    """Return every node's volts and every transistor's ampere (``id NAME``) of a bias block without neurons, by flat names.

    The current from vdd is ``id vdd``; the block has a reference of its own.
    """
    names = [name for name, _ in bias.flat("xbias", ())]
    still = [repr(supply - BELOW), repr(-BELOW)]
    deck = _deck(bias, (), corner, celsius, supply, still, chip or Chip(), guess=True)
    found = analysed(deck.replace(".save all", ".save all " + " ".join(f"@{name}[id]" for name in names)), "op")
    where = f"at an operating point ({corner}, {celsius:g} C)"
    currents = {f"id {name}": f"@{name}[id]" for name in names} | {"id vdd": "vdd#branch"}
    out = {name: _finite(values, name, where) for name, values in found.items() if "#" not in name and "@" not in name}
    return out | {name: np.abs(_finite(found[vector], name, where)) for name, vector in currents.items()}


def held_bias(found: Mapping[str, Array]) -> TransistorCell:
    """Return a bias block of ideal voltages, one for each line: a real block's `at_rest`, for a netlist of fewer transistors.

    Neurons move a real block's lines so little that their drift is the same within 0.002 units (measured at K = 8).
    """
    volts = {line: float(np.ravel(found[line])[0]) for line in LINES if line in found and line not in OUTSIDE}
    parts = tuple(Voltage(line, line, "0", volt) for line, volt in volts.items())
    return TransistorCell("bias", "bias: lines held where those of a block of transistors rest", (), parts, volts)


OUTSIDE = ("vdd", "vss", "nr")


def _finite(values: Array, name: str, where: str) -> Array:
    if not np.isfinite(values).all():
        raise SimulationError(f"{name} is not finite {where}.", 0)
    return values


def _deck(
    bias: TransistorCell,
    cells: Sequence[TransistorCell],
    corner: str,
    celsius: float,
    supply: float,
    sources: Sequence[str],
    chip: Chip,
    *,
    guess: bool = False,
) -> str:
    circuit, known = Circuit("a bias block"), set[str]()
    circuit.V("dd", "vdd", 0, sources[0])
    circuit.V("ss", "vss", 0, sources[1])
    for reference in sources[2:]:
        circuit.I("ref", "vdd", "nr", reference)
    if cells:
        circuit.V("u_0", "u_0", 0, 0)
    put_cell(circuit, bias, "bias", (), chip, known)
    for cell in cells:
        put_cell(circuit, cell, f"{cell.name}_0", pins_of(cell), chip, known)
    sets = [*bias.rest.items(), *bias.nodesets("xbias")] if guess else []
    lines = [str(circuit), include_lines(corner, celsius, folder=models())]
    lines += [f".nodeset v({node})={volt!r}" for node, volt in sets]
    return "\n".join([*lines, OPTIONS.replace("trtol=1e9 ", ""), ".save all", ".end", ""])
