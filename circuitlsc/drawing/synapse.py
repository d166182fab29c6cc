"""The schematic of one plastic synapse: its capacitor, what loads it, and the multipliers that write and read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.figure import Figure

from circuitlsc.circuit.cells import Backward, Forward, Hebbian, Weights
from circuitlsc.drawing.learner_parts import LearnerParts, draw_terminal
from circuitlsc.drawing.sheet import Point, Sheet, check_path, engineering, save
from circuitlsc.errors import InputError
from circuitlsc.reporting.plotting import STYLE

if TYPE_CHECKING:
    from circuitlsc.learning.circuit import CircuitLearner


def synapse_schematic(learner: CircuitLearner, path: Path) -> None:
    """Draw one plastic synapse: its capacitor, what loads it, and the multipliers that write and read it.

    Parameters
    ----------
    learner : CircuitLearner
        Of either level; it learns A.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, the file cannot be written, or the dictionary is not learned.
    """
    check_path("synapse_schematic()", path)
    save(synapse_figure(learner), path)


def synapse_figure(learner: CircuitLearner) -> Figure:
    """Return the figure that `synapse_schematic` saves."""
    if "A" not in learner.learn:
        raise InputError("synapse_schematic(): the circuit does not learn A, so it has no synapses. Give learn with A.")
    with matplotlib.style.context(STYLE, after_reset=True):
        sheet = Sheet("synapse_schematic()")
        _draw_synapse(sheet, LearnerParts(learner))
        return sheet.figure()


def _draw_synapse(sheet: Sheet, parts: LearnerParts) -> None:
    """Draw the Hebbian multiplier, the capacitor and its leak, and the two multipliers that read it."""
    weights, hebbian = parts.find(Weights), parts.find(Hebbian)
    forward, backward = parts.find(Forward), parts.find(Backward)
    assert weights is not None
    assert hebbian is not None
    assert forward is not None
    assert backward is not None
    back = f"{parts.residual}_j"
    draw_terminal(sheet, (0, 0), back, "right")
    sheet.line((0.1, 0), (1.55, 0))
    out = _multiplier(sheet, (2.0, 0), "s_i", "$-$", f"Hebbian\n{parts.transfer(hebbian)}")
    x = out[0] + 1.4
    sheet.shunt("Capacitor", (x, 0), 2.4, parts.capacitor(weights, "A"))
    if parts.leak:
        x += 3.0
        sheet.shunt("Resistor", (x, 0), 2.4, parts.leak)
    x += 3.4
    sheet.line(out, (x, 0))
    sheet.text((x - 0.4, 0.3), "$a_{ji}$", "right", "bottom")
    sheet.dot((x, 0))
    rows = (
        (3.0, forward, "s_i", "forward", "r_j"),
        (-3.0, backward, back, "backward", "e_i"),
    )
    for y, cell, other, name, into in rows:
        sheet.line((x, 0), (x, y), (x + 1.55, y))
        end = _multiplier(sheet, (x + 2.0, y), other, "", f"{name}\n{parts.transfer(cell)}")
        sheet.line(end, (end[0] + 1.0, y))
        draw_terminal(sheet, (end[0] + 1.1, y), into, "left")
    s, tau = parts.learner.scaling, weights.capacitor
    lines = [f"$\\tau_A$ = {tau:g} $\\tau$ = {engineering(tau * s.tau, 's')}"]
    if parts.leak:
        time = parts.leak_time  # seconds have no prefixes beyond one
        lines.append(f"$R_A C_A$ = {engineering(time, 's') if time < 1 else f'{time:.4g} s'}")
    lines += [f"multipliers: {parts.errors}"] if parts.errors else []
    spread = parts.learner.nonideal.plastic.capacitance_mismatch if parts.learner.nonideal is not None else 0.0
    lines += [f"capacitors: ±{100 * spread:.3g} %"] if spread > 0 else []
    units = {"a, s": s.volt, "r": s.volt_r, "e, q" if parts.residual == "q" else "e": s.volt_e}
    lines += [f"one unit of ${name}$: {engineering(value, 'V')}" for name, value in units.items()]
    sheet.text((-0.9, -4.0), "\n".join(lines), vertical="top")


def _multiplier(sheet: Sheet, centre: Point, other: str, sign: str, label: str) -> Point:
    """Draw a multiplier with a current output, whose second input comes from a terminal above; return its output."""
    x, y = centre
    sheet.multiplier(centre)
    sheet.dot((x, y + 1.9), terminal=True)
    sheet.line((x, y + 1.8), (x, y + 0.45))
    sheet.text((x, y + 2.2), f"${other}$", "center", "bottom")
    sheet.line((x + 0.45, y), (x + 1.0, y))
    out = sheet.transconductor((x + 1.0, y), sign)
    sheet.text((x + 1.7, y - 0.95), label, "center", "top")
    return out
