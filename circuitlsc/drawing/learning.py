"""The schematic of a circuit that learns: the way of a signal around its loop, and the loop of each slow variable.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from circuitlsc.circuit.cells import Follower, Hebbian, Integrator, Weights
from circuitlsc.drawing.parts import SYMBOLS, Parts, draw_leaky, draw_multiplier, draw_terminal
from circuitlsc.drawing.path import draw_signal_path
from circuitlsc.drawing.sheet import Sheet, drawn, save

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


def _draw_learner(sheet: Sheet, parts: Parts) -> None:
    """Draw the signal path, and below it a panel for each slow variable."""
    _Panels(sheet.placed(draw_signal_path(sheet, parts)), parts).draw()


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
            "lam": ("rate", ("u_i", "u_0"), rf"{active}\,[1/\lambda - {size}]", f"$K$ = {model.n_latents}", 5.4),
            "sigma": ("noise level", ("r_j",), r"(r_j^2 - \sigma^2) / D", f"$D$ = {model.n_features}", 4.4),
        }
        for quantity, cell in parts.moves.items():
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
