"""A variational circuit as schematics show it: the encoder from x to its heads, and below it one latent from noise to code.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

import itertools

import numpy as np

from circuitlsc.circuit.cells import (
    Crossbar,
    DeviceShiftedThreshold,
    Exponential,
    LaplaceMap,
    LaplaceProduct,
    Rectifier,
    ResistorCrossbar,
    ShiftedThreshold,
    Softplus,
    ThermalNoise,
)
from circuitlsc.circuit.cells.variational import OneTable
from circuitlsc.drawing.parts import Parts, draw_multiplier, draw_state, draw_terminal, draw_thermal_noise
from circuitlsc.drawing.path import GHOST_ROW, Named, Stage, draw_rectifier
from circuitlsc.drawing.sheet import CURVE_BOX, Point, Sheet, engineering
from circuitlsc.model.piecewise_linear import Table

HEADS = {"mu": r"\mu", "rho": r"\rho", "eta": r"\eta"}
TURN = 8.6, 5.6  # from one row of an encoder down to the next, device and ideal
LATENT = 7.5  # from the grey row of an encoder's last crossbar down to a latent
BELOW = 12.8, 10.4  # from a latent's noise down to its threshold, device and ideal
RISE = 2.4  # of a threshold's two ways from its middle
KAPPA, REACH = 1.0, 3.0  # the threshold and the draws of the curves that are shown


def draw_encoder(sheet: Sheet, parts: Parts) -> None:
    """Draw the encoder, a row for each crossbar with the rectifiers behind it, and below it one latent."""
    arrays = [cell for cell in parts.made.graph.cells if isinstance(cell, (Crossbar, ResistorCrossbar))]
    hidden = [cell for cell in arrays if cell.name.removeprefix("weights_").isdigit()]
    heads = [name for name in HEADS if any(cell.name == f"weights_{name}" for cell in arrays)]
    row, letters = sheet, itertools.cycle("mn")
    source, columns = "x_j", f"$D$ = {parts.made.model.n_features}"
    draw_terminal(sheet, (0, 0), source if parts.stream is None else "x_j(t)", "right")
    if parts.stream is not None:
        sheet.waveform((-1.7, 0.7), parts.stream.interpolate)
    for k, cell in enumerate(hidden, 1):
        index, which = next(letters), f"^{k}" if len(hidden) > 1 else ""
        rows = str(len(cell.matrix))
        named = Named(source, f"z{which}_{index}", columns, rows, f"weights: $W_{k}$", *_bias(k, index), False)
        end = Stage(row, parts, cell, named).draw()
        source, columns = f"h{which}_{index}", rows
        end = draw_rectifier(sheet, row, parts, end, source)
        start = (end[0], end[1] - TURN[0 if parts.device else 1])
        row.line(end, start)
        row = row.placed(start, -1)
    (shown,) = (cell for cell in arrays if cell.name == f"weights_{heads[0]}")
    every = ", ".join(HEADS[name] for name in heads)
    title = f"heads ${every}$:\na crossbar each, as of ${HEADS[heads[0]]}$"
    latents = f"$K$ = {parts.made.model.n_latents}"
    named = Named(source, rf"{HEADS[heads[0]]}_i", columns, latents, title, *_bias(HEADS[heads[0]], "i"), False)
    end = Stage(row, parts, shown, named).draw()
    row.dot((end[0] + 0.1, end[1]), terminal=True)
    _, bottom = row.on_page((0.0, GHOST_ROW))
    draw_latent(sheet.placed((1.5, bottom - LATENT)), parts)


def _bias(which: int | str, index: str) -> tuple[str, str]:
    """Return what the bias of a layer is called, and its negative."""
    return f"c_{{{which},{index}}}", f"-c_{{{which},{index}}}"


def draw_latent(sheet: Sheet, parts: Parts) -> None:
    """Draw one latent: a noise cell, the Laplace draw, what makes scale and threshold of the heads, and the code."""
    x = _draw_noise_cell(sheet, parts)
    _draw_draw(sheet.placed((x + 3.6, 0.0)), parts)
    low = -BELOW[0 if parts.device else 1]
    x = _draw_heads(sheet.placed((0.0, low)), parts)
    _draw_threshold(sheet.placed((x + 3.4, low)), parts)


def _block(parts: Parts) -> str:
    """Return the lines on units and errors."""
    s, model, threshold = parts.made.scaling, parts.made.model, parts.get(ShiftedThreshold)
    lines = [f"$K$ = {model.n_latents} latents, $D$ = {model.n_features} features"]
    lines += [f"one unit of all: {engineering(s.volt, 'V')}", f"$\\tau$ = {engineering(s.tau, 's')}, $T$ = 1"]
    if (stream := parts.stream) is not None:
        lines.append(f"{len(stream.rows)} inputs $x(t)$, each on for {engineering(stream.hold * s.tau, 's')}")
    if isinstance(threshold, DeviceShiftedThreshold):
        given = threshold.hardware.parts
        errors = {
            "comparators: offset": (given.comparator.threshold_offset, "V"),
            "multipliers: offset": (given.multiplier.offset, "V"),
        }
        lines += [f"{what} ±{engineering(value, unit)}" for what, (value, unit) in errors.items() if value > 0]
        if (gain := given.multiplier.gain_error) > 0:
            lines.append(f"multipliers: gain ±{100 * gain:.3g} %")
    return "\n".join(lines)


def _draw_noise_cell(sheet: Sheet, parts: Parts) -> float:
    """Draw one of a latent's noise voltages, a neuron with a leak of tau; return where its terminal is."""
    count = len(parts.made.graph.noises)
    sheet.text((0, 1.1), "noise cell" + (f": {count} for each latent, alike" if count > 1 else ""), vertical="bottom")
    noise, state, s = parts.find(ThermalNoise), parts.state, parts.made.scaling
    ohm = s.tau / (state.conductance * s.c_int)
    x, begin = 0.0, 0.0
    if noise is not None:
        begin = draw_thermal_noise(sheet, noise.hardware, noise.gain)
        ohm, x = noise.hardware.ohm(ohm), begin + 1.0
    sheet.shunt("Resistor", (x, 0), f"$R_\\tau$\n{engineering(ohm, 'Ω')}")
    last, _ = draw_state(sheet, parts, state, (x + 3.0, 0))
    end = last + 2.6
    sheet.line((begin, 0), (end, 0))
    sheet.dot((end + 0.1, 0), terminal=True)
    return end


def _draw_draw(sheet: Sheet, parts: Parts) -> None:
    """Draw what makes a Laplace draw of the noise voltages."""
    table, s = parts.find(LaplaceMap), parts.made.scaling
    if table is not None:
        law = "Laplace draw\n" + r"$-\mathrm{sgn}(u)\,\log 2Q(|u|)$"
        _draw_curve(sheet, (0.0, 0.0), table, "u_i", "L_i", law, REACH)
        return
    assert parts.find(LaplaceProduct) is not None
    label = engineering(1 / (s.volt * s.r_node), "A/V²")
    ends = []
    for y, side, inputs in ((1.3, 1, ("u_i", "u_{2,i}")), (-1.3, -1, ("u_{3,i}", "u_{4,i}"))):
        draw_terminal(sheet, (0, y), inputs[0], "right")
        ends.append(draw_multiplier(sheet, (0.1, y), (1.7, y), inputs[1], "", side=side))
    sheet.text((2.3, 2.5), "Laplace draw", vertical="bottom")
    sheet.text((ends[0][0] - 0.6, 0.0), label, "right")
    _draw_sum(sheet, parts, ends, "L_i")


def _draw_sum(sheet: Sheet, parts: Parts, ends: list[Point], name: str, *, rectified: bool = False) -> None:
    """Draw the resistor in which two currents meet, and the terminal of its voltage."""
    x = max(at for at, _ in ends) + 0.6
    for start in ends:
        sheet.line(start, (x, start[1]), (x, 0))
    sheet.dot((x, 0))
    end = x + 4.0
    sheet.shunt("Resistor", (x + 1.2, 0), f"$R$\n{engineering(parts.made.scaling.r_node, 'Ω')}")
    sheet.line((x, 0), (end, 0))
    if rectified:
        (w, h), table = CURVE_BOX, parts.get(Rectifier).table
        sheet.curve_box((end + w / 2, 0), table, 1.0)
        sheet.text((end + w / 2, h / 2 + 0.2), "positive part", "center", "bottom")
        sheet.line((end + w, 0), (end + w + 1.0, 0))
        end += w + 1.0
    draw_terminal(sheet, (end + 0.1, 0), name, "left")


def _draw_heads(sheet: Sheet, parts: Parts) -> float:
    """Draw what makes the scale of rho, and the threshold of eta (or of rho, if it is not learned); return the right end."""
    learned = any(cell.name == "eta" for cell in parts.made.graph.cells)
    scale, limit = parts.get(Exponential), parts.get(Softplus)
    law = r"$\log(1 + e^{-\eta})$" if learned else r"$-\log P(\rho)$"
    _draw_curve(sheet, (0.0, RISE), scale, r"\rho_i", "b_i", r"$e^\rho$", 2.0)
    return _draw_curve(sheet, (0.0, -RISE), limit, r"\eta_i" if learned else r"\rho_i", r"\kappa_i", law, 4.0)


def _draw_curve(sheet: Sheet, start: Point, cell: OneTable, source: str, target: str, law: str, reach: float) -> float:
    """Draw a table between two terminals, under its law; return where the second is."""
    (x, y), (w, h) = start, CURVE_BOX
    draw_terminal(sheet, start, source, "right")
    sheet.line((x + 0.1, y), (x + 1.2, y))
    sheet.curve_box((x + 1.2 + w / 2, y), cell.table, reach)
    sheet.text((x + 1.2 + w / 2, y + h / 2 + 0.2), law, "center", "bottom")
    sheet.line((x + 1.2 + w, y), (x + 2.3 + w, y))
    draw_terminal(sheet, (x + 2.4 + w, y), target, "left")
    return x + 2.4 + w


def _draw_threshold(sheet: Sheet, parts: Parts) -> None:
    """Draw the comparators' ramp and gate, the multipliers by scale and shift, and what there is to say of units."""
    cell, s, (w, h) = parts.get(ShiftedThreshold), parts.made.scaling, CURVE_BOX
    draw = np.linspace(-REACH, REACH, 481)
    up, down = draw - KAPPA, -draw - KAPPA
    ramp = Table(draw, cell.corner.code(up) - cell.corner.code(down))
    gate = Table(draw, cell.corner.gate(up) + cell.corner.gate(down))
    draw_terminal(sheet, (0, 0), "L_i", "right")
    middle = 2.4 + w / 2
    sheet.line((0.1, 0), (1.2, 0))
    sheet.dot((1.2, 0))
    sheet.dot((middle, 0), terminal=True)
    sheet.text((middle + 0.3, 0), r"$\kappa_i$")
    ways = (
        (1, ramp, r"$f(L - \kappa) - f(-L - \kappa)$", "b_i", engineering(1 / (s.volt * s.r_node), "A/V²")),
        (-1, gate, r"$g(L - \kappa) + g(-L - \kappa)$", r"\mu_i", engineering(1 / s.r_node, "S")),
    )
    ends = []
    for side, table, law, control, label in ways:
        y = side * RISE
        sheet.line((1.2, 0), (1.2, y), (middle - w / 2, y))
        sheet.curve_box((middle, y), table, REACH)
        sheet.line((middle, 0.1 * side), (middle, y - side * h / 2), arrow="->")
        sheet.text((middle, y + side * (h / 2 + 0.25)), law, "center", "bottom" if side > 0 else "top")
        centre = (middle + w / 2 + 2.4, y)
        ends.append(draw_multiplier(sheet, (middle + w / 2, y), centre, control, "", side=side))
        sheet.text((centre[0] + 1.8, y - side * 1.25), label, "center")
    sheet.text((middle, -RISE - h / 2 - 1.1), f"$w$ = {engineering(parts.width * s.volt, 'V')}", "center", "top")
    _draw_sum(sheet, parts, ends, "s_i", rectified=cell.rectified)
    sheet.text((ends[0][0] + 1.4, RISE + 2.8), _block(parts), vertical="top")
