"""What a transistor that is off still carries: gate at its source, 1.25 V from drain to source, bulk where the cell has it.

A source that is on no supply is taken to stand at the analog reference.
"""

from __future__ import annotations

import numpy as np

from circuitlsc.circuit.transistor.design import SUPPLY
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import BELOW, TransistorCell, Use
from circuitlsc.circuit.transistor.process import KINDS, include_lines, models
from circuitlsc.errors import SimulationError

OPTIONS = ".options gmin=1e-16 abstol=1e-16"
ACROSS = 1.25  # volt


def off_currents(
    cell: TransistorCell, *, corner: str = "typical", celsius: float = 27.0, supply: float = SUPPLY
) -> dict[str, float]:
    """Return what the devices of a cell's splitters carry when they are off, ampere, by the name of the splitter.

    Of each splitter it is the device that leaks most. Its smallest currents are of the order of I0: what leaks is an error of
    them, and a diode whose off-current is not small beside I0 does not saturate.

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    ends = {"vss": -BELOW, "vdd": supply - BELOW, "0": 0.0}
    owner: list[str] = []
    cards = [f"vss vss 0 {ends['vss']!r}", f"vdd vdd 0 {ends['vdd']!r}"]
    for part in cell.parts:
        if not isinstance(part, Use) or not part.cell.name.startswith("splitter"):
            continue
        outer = dict(zip(part.cell.pins, part.pins, strict=True))
        for _, mos in part.cell.devices():
            foot = outer.get(mos.s, mos.s)
            k, source, way = len(owner), foot if foot in ("vdd", "vss") else "0", {"n": 1.0, "p": -1.0}[mos.kind]
            owner.append(part.name)
            cards += [
                f"v{k} d{k} 0 {ends[source] + way * ACROSS!r}",
                f"m{k} d{k} {source} {source} {mos.nodes[3]} {KINDS[mos.kind].model} w={mos.w}u l={mos.l}u m={mos.m}",
            ]
    saved = " ".join(f"i(v{k})" for k in range(len(owner)))
    models_of = include_lines(corner, celsius, folder=models())
    deck = "\n".join(["transistors that are off", *cards, models_of, OPTIONS, f".save {saved}", ".end", ""])
    found = analysed(deck, "op")
    out: dict[str, float] = {}
    for k, name in enumerate(owner):
        value = abs(float(found[f"v{k}#branch"][0]))
        if not np.isfinite(value):
            raise SimulationError("ngspice found no operating point of transistors that are off.", 0)
        out[name] = max(value, out.get(name, 0.0))
    return out
