"""Start of a chip: both supplies and the reference rise from nothing, with every node at 0 and no operating point given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import BELOW, LINES, Chip, TransistorCell
from circuitlsc.circuit.transistor.process import include_lines, models
from circuitlsc.circuit.transistor.staircase import OPTIONS, pins_of, put_cell
from circuitlsc.errors import SimulationError
from circuitlsc.io.arrays import Array

SETTLED = 20e-3  # seconds after the ramp: the lines of I0 charge slowly


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
        Where each line stands at the operating point that ngspice finds with nodesets.
    """

    time: Array
    volts: dict[str, Array]
    rest: dict[str, float]

    @property
    def off(self) -> dict[str, float]:
        """What each line is from its operating point at the end, volt."""
        return {line: float(values[-1]) - self.rest[line] for line, values in self.volts.items()}


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
    """Return the waveforms of a start.

    Parameters
    ----------
    bias : TransistorCell
        Without a reference of its own (``real_bias(currents, reference=None)``).
    cells : sequence of TransistorCell
        Of a neuron that hangs on it: its node u is held at the analog reference.
    rise : float
        Seconds that vdd, vss and the reference take.
    reference : float
        Ampere, into ``nr``.

    Raises
    ------
    SimulationError
        If ngspice did not reach the end.
    """
    end = rise + SETTLED
    setting = (corner, celsius, supply)
    ramp = _deck(bias, cells, *setting, [f"PWL(0 0 {rise!r} {to!r})" for to in (supply - BELOW, -BELOW, reference)], "")
    found = analysed(ramp, f"tran {SETTLED / 200!r} {end!r} 0 uic")
    if found["time"][-1] < end * (1 - 1e-9):
        raise SimulationError(f"ngspice stopped {found['time'][-1]:.3g} s after a start, of {end:.3g} s.", 0)
    sets = "\n".join(f".nodeset v({node})={volt!r}" for node, volt in (*bias.rest.items(), *bias.nodesets("xbias")))
    still = analysed(_deck(bias, cells, *setting, [repr(v) for v in (supply - BELOW, -BELOW, reference)], sets), "op")
    lines = [line for line in LINES if line in found]
    if not all(np.isfinite(found[line]).all() for line in lines):
        raise SimulationError(f"a line is not finite after a start ({corner}, {celsius:g} C).", 0)
    return Start(
        found["time"], {line: found[line] for line in lines}, {line: float(still[line].ravel()[0]) for line in lines}
    )


def _deck(
    bias: TransistorCell,
    cells: Sequence[TransistorCell],
    corner: str,
    celsius: float,
    supply: float,
    sources: Sequence[str],
    more: str,
) -> str:
    circuit, known = Circuit("start of a bias block"), set[str]()
    circuit.V("dd", "vdd", 0, sources[0])
    circuit.V("ss", "vss", 0, sources[1])
    circuit.I("ref", "vdd", "nr", sources[2])
    circuit.V("u_0", "u_0", 0, 0)
    put_cell(circuit, bias, "bias", (), Chip(), known)
    for cell in cells:
        put_cell(circuit, cell, f"{cell.name}_0", pins_of(cell), Chip(), known)
    options = OPTIONS.replace("trtol=1e9 ", "")
    return "\n".join(
        [str(circuit), include_lines(corner, celsius, folder=models()), more, options, ".save all", ".end", ""]
    )
