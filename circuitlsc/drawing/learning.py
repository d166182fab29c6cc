"""Schematics of a circuit that learns: the way of a signal around its loop and the loop of each slow variable; a synapse.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from circuitlsc.circuit.cells import Backward, Follower, Forward, Hebbian, Integrator, Weights
from circuitlsc.drawing.memory import draw_memory_path
from circuitlsc.drawing.parts import SYMBOLS, Parts, draw_leaky, draw_multiplier, draw_terminal
from circuitlsc.drawing.path import draw_signal_path
from circuitlsc.drawing.sheet import Sheet, drawn, engineering, save
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.learning.circuit import CircuitLearner

PANELS = -3.0  # the rail of the slow variables


def learning_path_schematic(learner: CircuitLearner, path: Path) -> None:
    """Draw the loop of a circuit that learns, and the loop of each slow variable.

    Parameters
    ----------
    learner : CircuitLearner
        Of either level; one multiplier, rule or crossbar's element stands for all.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, or the file cannot be written.
    """
    save("learning_path_schematic()", lambda: learning_path_figure(learner), path)


def learning_path_figure(learner: CircuitLearner) -> Figure:
    """Return the figure that `learning_path_schematic` saves."""
    return drawn("learning_path_schematic()", lambda sheet: _draw_learner(sheet, Parts(learner)))


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


def _draw_learner(sheet: Sheet, parts: Parts) -> None:
    """Draw the signal path, and below it a panel for each slow variable."""
    draw = draw_memory_path if parts.dynamics.remembers else draw_signal_path
    _Panels(sheet.placed(draw(sheet, parts)), parts).draw()


@dataclass(frozen=True)
class _Panels:
    """The slow variables, below and right of the sheet's origin."""

    sheet: Sheet
    parts: Parts

    def draw(self) -> None:
        """Draw the slow variables side by side."""
        parts, x = self.parts, 0.0
        model, size = parts.made.model, r"|s_i|" if parts.made.signed else "s_i"
        sign = r"\mathrm{sgn}(s_i)" if parts.made.signed else r"\mathbf{1}(s_i > 0)"
        active = r"\mathbf{1}(s_i \neq 0)" if parts.made.signed else r"\mathbf{1}(s_i > 0)"
        rules = {
            "u0": ("threshold", ("e_i", "u_i"), rf"e_i\,{sign}", f"$K$ = {model.n_latents}", 4.2),
            "logpi": ("sparsity", ("e_i", "u_i"), rf"\lambda\,e_i\,{sign}", f"$K$ = {model.n_latents}", 4.6),
            "lam": ("rate", ("u_i", "u_0"), rf"{active}\,[1/\lambda - {size}]", f"$K$ = {model.n_latents}", 5.4),
            "sigma": ("noise level", ("r_j",), r"(r_j^2 - \sigma^2) / D", f"$D$ = {model.n_features}", 4.4),
        }
        for quantity, cell in parts.moves.items():
            if quantity == "w":
                continue  # a memory's are in the loop
            end = self._weights(x, cell) if isinstance(cell, Weights) else self._slow(x, cell, *rules[quantity])
            x = end + 2.2

    def _weights(self, x: float, cell: Weights) -> float:
        """Draw the panel of the dictionary; return its right end."""
        sheet, parts, y = self.sheet, self.parts, PANELS
        x += 0.9
        sheet.text((x - 0.9, y + 2.4), f"dictionary: $D\\,K$ = {cell.size} capacitors", vertical="bottom")
        draw_terminal(sheet, (x, y), f"{parts.residual}_j", "right")
        label = parts.transfer(parts.get(Hebbian))
        out = draw_multiplier(sheet, (x + 0.1, y), (x + 1.8, y), "s_i", label, "$-$")
        x = draw_leaky(sheet, parts, cell, (out[0] + 1.0, y))
        sheet.line(out, (x + 1.4, y))
        draw_terminal(sheet, (x + 1.5, y), SYMBOLS["a"], "left")
        return x + 3.0

    def _slow(
        self, x: float, cell: Integrator, title: str, inputs: tuple[str, ...], rule: str, count: str, width: float
    ) -> float:
        """Draw the panel of one number: the rule's currents into its capacitor; return its right end."""
        sheet, parts, y = self.sheet, self.parts, PANELS
        symbol = SYMBOLS[cell.quantity]
        sheet.text((x, y + 2.4), f"{title}: {count} rules, one capacitor", vertical="bottom")
        x += 0.9
        heights = (0.0,) if len(inputs) == 1 else (0.5, -0.5)
        left = x + 1.2
        for name, dy in zip(inputs, heights, strict=True):
            draw_terminal(sheet, (x, y + dy), name, "right")
            sheet.line((x + 0.1, y + dy), (left, y + dy), arrow="->")
        sheet.box((left + width / 2, y), width, 2.0, f"${rule}$")
        x = left + width + 1.0
        sheet.line((x, y), (x, y + 1.7), (left + width / 2, y + 1.7), (left + width / 2, y + 1.0), arrow="->")
        sheet.shunt("Capacitor", (x, y), parts.capacitor(cell, f"C_{{{symbol}}}"))
        follower = parts.find(Follower)
        if cell.quantity == "lam" and follower is not None:
            box = x + 4.8
            sheet.line((left + width, y), (box - 1.9, y), arrow="->")
            sheet.text((x + 1.6, y + 0.3), f"${symbol}$", "center", "bottom")
            sheet.box((box, y), 3.8, 2.0, "divider\n$-\\log(\\pi) / \\lambda$")
            sheet.line((box + 1.9, y), (box + 2.8, y))
            draw_terminal(sheet, (box + 2.9, y), "u_0", "left")
            return box + 4.0
        sheet.line((left + width, y), (x + 1.4, y))
        draw_terminal(sheet, (x + 1.5, y), symbol, "left")
        return x + 3.0


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
    readers = ((3.0, parts.get(Forward), "s_i", "r_j"), (-3.0, parts.get(Backward), back, "e_i"))
    for y, cell, other, into in readers:
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
