"""The schematic of one plastic synapse: its capacitor, what loads it, and the multipliers that write and read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from circuitlsc.circuit.cells import Backward, Forward, Hebbian, Weights
from circuitlsc.drawing.parts import Parts, draw_leaky, draw_multiplier, draw_terminal
from circuitlsc.drawing.sheet import Sheet, drawn, engineering, save
from circuitlsc.errors import InputError

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
    save("synapse_schematic()", lambda: synapse_figure(learner), path)


def synapse_figure(learner: CircuitLearner) -> Figure:
    """Return the figure that `synapse_schematic` saves."""
    if "A" not in learner.learn:
        raise InputError("synapse_schematic(): the circuit does not learn A, so it has no synapses. Give learn with A.")
    return drawn("synapse_schematic()", lambda sheet: _draw_synapse(sheet, Parts(learner)))


def _draw_synapse(sheet: Sheet, parts: Parts) -> None:
    """Draw the Hebbian multiplier, the capacitor and its leak, and the two multipliers that read it."""
    weights, back = parts.get(Weights), f"{parts.residual}_j"
    draw_terminal(sheet, (0, 0), back, "right")
    label = f"Hebbian\n{parts.transfer(parts.get(Hebbian))}"
    out = draw_multiplier(sheet, (0.1, 0), (2.0, 0), "s_i", label, "$-$", side=1)
    x = draw_leaky(sheet, parts, weights, (out[0] + 1.4, 0)) + 3.4
    sheet.line(out, (x, 0))
    sheet.text((x - 0.4, 0.3), "$a_{ji}$", "right", "bottom")
    sheet.dot((x, 0))
    for y, cell, other, into in (
        (3.0, parts.get(Forward), "s_i", "r_j"),
        (-3.0, parts.get(Backward), back, "e_i"),
    ):
        sheet.line((x, 0), (x, y))
        label = f"{cell.name}\n{parts.transfer(cell)}"
        end = draw_multiplier(sheet, (x, y), (x + 2.0, y), other, label, side=1)
        sheet.line(end, (end[0] + 1.0, y))
        draw_terminal(sheet, (end[0] + 1.1, y), into, "left")
    s, tau = parts.made.scaling, weights.capacitor
    lines = [f"$\\tau_A$ = {tau:g} $\\tau$ = {engineering(tau * s.tau, 's')}"]
    if parts.leak is not None:
        time = parts.leak[1]  # seconds have no prefixes beyond one
        lines.append(f"$R_A C_A$ = {engineering(time, 's') if time < 1 else f'{time:.4g} s'}")
    if parts.made.nonideal is not None:
        part = parts.made.nonideal.plastic
        said = [f"gain ±{100 * part.gain_error:.3g} %"] if part.gain_error > 0 else []
        said += [f"offsets ±{engineering(part.offset, 'V')}"] if part.offset > 0 else []
        lines += [f"multipliers: {', '.join(said)}"] if said else []
        spread = part.capacitance_mismatch
        lines += [f"capacitors: ±{100 * spread:.3g} %"] if spread > 0 else []
    lines += [parts.unit(letters) for letters in ("a, s", "r", "e, q" if parts.residual == "q" else "e")]
    sheet.text((-0.9, -4.0), "\n".join(lines), vertical="top")
