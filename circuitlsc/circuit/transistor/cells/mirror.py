r"""Cascoded current mirror, and the unit mirrors of the crossbar: a copy of m units of a line of n has m/n of its current."""

from __future__ import annotations

from circuitlsc.circuit.transistor.parts import Mos, TransistorCell

#: width and length of one unit, and of a cascode, micrometres
UNIT = {"p": (0.5, 8.0), "n": (0.5, 4.0)}
#: of mirrors that copy a bias current, whose gates rest: their area costs no speed
STEADY = {"p": (1.0, 16.0), "n": (1.0, 50.0)}
STEADY_UNITS = {"p": 4, "n": 1}
CASCODE = {"p": (8.0, 1.0), "n": (4.0, 1.0)}


def mirror(
    kind: str, name: str, gate: str, out: str, *, units: int = 4, unit: tuple[float, float] | None = None
) -> tuple[Mos, Mos]:
    """Return the two devices of one branch: it carries what its ``units`` are of the line ``gate``, into or out of ``out``.

    ``unit`` is the width and length of one, `UNIT` of the kind if it is not given.
    """
    (w, l), cascode = unit or UNIT[kind], CASCODE[kind]  # noqa: E741
    inner, rail, gates = f"k{name}", {"p": "vdd", "n": "vss"}[kind], {"p": "vcp", "n": "vcn"}[kind]
    return Mos(name, kind, inner, gate, rail, w, l, units), Mos(f"{name}c", kind, out, gates, inner, *cascode)


def steady(kind: str, name: str, gate: str, out: str, *, units: int | None = None) -> tuple[Mos, Mos]:
    """Return the two devices of a branch that copies a bias current (`STEADY`), whose line has so many units of a kind."""
    return mirror(kind, name, gate, out, units=units or STEADY_UNITS[kind], unit=STEADY[kind])


#: where the gate line of a kind rests, volt
REST = {"p": 1.35, "n": -0.75}


def copy(kind: str, units: int) -> TransistorCell:
    """Return one entry of the crossbar as a cell: pins line and out, and so many units of the line's mirror."""
    text = f"mirror: I(out) = {units} units of the current of a line"
    return TransistorCell(f"copy_{kind}{units}", text, ("line", "out"), mirror(kind, "m", "line", "out", units=units))
