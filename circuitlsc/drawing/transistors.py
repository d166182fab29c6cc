"""A neuron of a circuit in transistors, in blocks: which cell copies which current where, with the currents of its design."""

from __future__ import annotations

import numpy as np

from circuitlsc.circuit.transistor.design import Design
from circuitlsc.drawing.parts import Parts
from circuitlsc.drawing.sheet import Point, Sheet, engineering

WIDE, HIGH = 2.9, 1.7
VI, FIRST, SECOND, ROWS = 2.9, 7.7, 14.1, 20.3  # x of the columns
UP, DOWN, RAIL = 0.0, -5.2, -9.2  # y of the rows


def draw_transistor_neuron(sheet: Sheet, parts: Parts) -> None:
    """Draw the loop: u to the code's line, the crossbar's mirrors into e, and back through gates and signs into C_int."""
    made = parts.made
    sizes = made.sizes
    assert sizes is not None
    _cell(sheet, (VI, UP), "converter", f"{engineering(sizes.ohm, 'Ω')}", "V to I")
    _cell(sheet, (FIRST, UP), "splitter 0", "$p - n = I_u$", "$p\\,n = I_0^2$")
    names = ("two splitters", "$f(\\pm u - u_0)$") if sizes.signed else ("splitter 1", "$f(|u| - u_0)$")
    _cell(sheet, (SECOND, UP), *names, f"$I_0$ = {engineering(sizes.currents.least, 'A')}")
    _crossbar(sheet, sizes)
    _cell(sheet, (ROWS, DOWN), "splitter E", "$e_+ - e_- = e$", f"$I_0$ = {engineering(sizes.currents.least_e, 'A')}")
    _cell(sheet, (SECOND, DOWN), "gate pairs", "tails $e_+$, $e_-$", "share $p/(p+n)$")
    _cell(sheet, (FIRST, DOWN), "sign pair" if sizes.signed else "sign pairs", "$(p-n)/(p+n)$", "of $I_u$")
    _cell(sheet, (VI, DOWN), "mirrors", "cascoded", "")
    _forward(sheet, sizes)
    _back(sheet, sizes)
    _integrator(sheet, parts)
    _bias(sheet, sizes, engineering(made.silicon.supply, "V"))


def _cell(sheet: Sheet, at: Point, *lines: str) -> None:
    sheet.box(at, WIDE, HIGH, "\n".join(line for line in lines if line))


def _forward(sheet: Sheet, sizes: Design) -> None:
    """Draw u_i through converter and splitters to the code's line."""
    half, (vi, first, second) = WIDE / 2, (VI, FIRST, SECOND)
    sheet.line((0, UP), (vi - half, UP), arrow="->")
    sheet.line((vi + half, UP), (first - half, UP), arrow="->")
    sheet.text(((vi + first) / 2, UP + 0.2), "$I_u$", "center", "bottom")
    joined = (first + second) / 2
    sheet.line((first + half, UP), (second - half, UP), arrow="->")
    size = "$\\pm I_u$" if sizes.signed else "$p + n$"
    sheet.text((joined - 1.0, UP + 0.2), size, "center", "bottom")
    sheet.line((joined, UP), (joined, UP + 1.8), arrow="->")
    sheet.dot((joined, UP))
    sheet.text((joined, UP + 1.9), f"$I_{{u0}}$ = {engineering(sizes.currents.u0, 'A')}", "center", "bottom")
    sheet.line((second + half, UP), (ROWS - half, UP), arrow="->")
    unit = engineering(sizes.unit, "A")
    sheet.text(((second + ROWS) / 2, UP - 0.2), f"line $s_i$\n{unit}/unit", "center", "top")


def _crossbar(sheet: Sheet, sizes: Design) -> None:
    """Draw the entries of the crossbar as mirrors from every line into the node of e."""
    used = np.abs(sizes.weights)
    _cell(sheet, (ROWS, UP), "crossbar", "unit mirrors", f"$m$ up to {used.max()}")
    half = WIDE / 2
    for k in (1, 2):
        y = UP + HIGH / 2 - 0.3 * k + 0.05
        start = (ROWS - half - 0.7 - 0.25 * k, y + 1.1)
        sheet.line(start, (start[0], y), (ROWS - half, y), color="#999999")
    sheet.text((ROWS - half - 1.4, UP + 1.2), "$s_j$", "right", "bottom", color="#777777")
    sheet.line((ROWS, UP - HIGH / 2), (ROWS, DOWN + HIGH / 2), arrow="->")
    node = (ROWS, (UP + DOWN) / 2)
    sheet.dot(node)
    sheet.text((node[0] - 0.3, node[1]), "$e_i$", "right")
    sheet.line((node[0] + 2.0, node[1]), node, arrow="->")
    sheet.text((node[0] + 2.2, node[1]), f"$-b_i$, by a mirror\n{engineering(sizes.unit_e, 'A')}/unit")
    row = f"$g$ = {sizes.weight_unit:.3g} per unit,\n{used.sum(axis=1).max()} units a row"
    sheet.text((ROWS + half + 0.3, UP), f"{row}\n{sizes.units} of a line's own")


def _back(sheet: Sheet, sizes: Design) -> None:
    """Draw e through gate and sign pairs back into u."""
    half = WIDE / 2
    for y, name in ((DOWN + 0.45, "$e_+$"), (DOWN - 0.45, "$e_-$")):
        sheet.line((ROWS - half, y), (SECOND + half, y), arrow="->")
        sheet.text(((ROWS + SECOND) / 2, y + 0.1), name, "center", "bottom")
    joined, low = (FIRST + SECOND) / 2, DOWN - 0.45
    tail = f"tail $\\lambda$ = {engineering(sizes.currents.lam, 'A')}"
    if sizes.signed:  # signs are those of the prior alone
        end = (FIRST - half - 1.0, DOWN)
        sheet.line(
            (SECOND - half, low), (FIRST + half + 0.7, low), (FIRST + half + 0.7, DOWN - 1.5), (end[0], DOWN - 1.5), end
        )
        sheet.dot(end)
        sheet.line(
            (SECOND - half - 0.5, DOWN + 1.9), (SECOND - half - 0.5, DOWN + 0.3), (FIRST + half, DOWN + 0.3), arrow="->"
        )
        sheet.text((SECOND - half - 0.7, DOWN + 1.5), tail, "right")
    else:
        for y in (DOWN + 0.45, low):
            sheet.line((SECOND - half, y), (FIRST + half, y), arrow="->")
        sheet.line((joined, DOWN - 2.2), (joined, low), arrow="->")
        sheet.dot((joined, low))
        sheet.text((joined, DOWN - 2.3), tail, "center", "top")
    for x, name in ((FIRST, "log $p$, log $n$"), (SECOND, "log $p$, log $n$")):
        for off in (-0.3, 0.3):
            sheet.line((x + off, UP - HIGH / 2), (x + off, DOWN + HIGH / 2), arrow="->", color="#555555")
        sheet.text((x + 0.55, (UP + DOWN) / 2), f"{name}\n(gate voltages)", color="#555555")
    sheet.line((FIRST - half, DOWN), (VI + half, DOWN), arrow="->")
    sheet.line((VI - half, DOWN), (0, DOWN), arrow="->")
    drift = f"$-(e\\,s' + \\lambda\\,\\mathrm{{sgn}}\\,u)$\n{engineering(sizes.unit_e, 'A')}/unit"
    sheet.text((VI, DOWN - HIGH / 2 - 0.2), drift, "center", "top")


def _integrator(sheet: Sheet, parts: Parts) -> None:
    """Draw the capacitor, and what is in series with it."""
    scaling, sizes = parts.made.scaling, parts.made.sizes
    assert sizes is not None
    sheet.line((0, UP), (0, DOWN))
    sheet.dot((0, DOWN))
    sheet.text((-0.3, UP), "$u_i$", "right")
    sheet.text((-0.3, UP - 0.9), f"{engineering(scaling.volt, 'V')}/unit", "right")
    sheet.part("Capacitor", (0, DOWN), (0, DOWN - 2.0))
    sheet.text((-0.7, DOWN - 1.0), f"$C_{{int}}$\n{engineering(scaling.c_int, 'F')}", "right")
    if sizes.keys.noise == "ideal":
        sheet.part("SourceSin", (0, DOWN - 2.0), (0, RAIL))
        sheet.text((-0.7, (DOWN - 2.0 + RAIL) / 2), "Brownian noise\n(from outside)", "right")
        sheet.ground((0, RAIL))
        return
    sheet.ground((0, DOWN - 2.0))
    sheet.line((-1.6, DOWN), (0, DOWN), arrow="->")
    sheet.box((-3.1, DOWN), WIDE, HIGH, "amplifier of a\nresistor's noise")


def _bias(sheet: Sheet, sizes: Design, supply: str) -> None:
    """Write what every cell gets."""
    kind = "ideal sources" if sizes.ideally_biased else "from one reference current"
    text = (
        f"Bias block ({sizes.bias.transistors} transistors, {kind}): $I_0$, $I_{{u0}}$, $\\lambda$, cascodes, references.\n"
        f"One neuron: {sizes.threshold.transistors + sizes.gate.transistors} transistors, parallel ones counted one by one. "
        f"Supply {supply}."
    )
    sheet.text((VI - WIDE / 2, RAIL), text, "left", "top")
