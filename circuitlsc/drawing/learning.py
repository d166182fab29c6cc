"""The schematic of a circuit that learns: the way of a signal around its loop, and the loop of each slow variable.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from circuitlsc.circuit.cells import (
    AdaptiveGate,
    Backward,
    Crossbar,
    Follower,
    Forward,
    Hebbian,
    Input,
    Integrator,
    Weights,
)
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.drawing.parts import (
    GATE,
    SYMBOLS,
    LearnerParts,
    draw_code,
    draw_control,
    draw_leaky,
    draw_multiplier,
    draw_neuron,
    draw_terminal,
)
from circuitlsc.drawing.sheet import Sheet, drawn, engineering, save, span

if TYPE_CHECKING:
    from circuitlsc.learning.circuit import CircuitLearner

LEFT, TOP = -3.7, 3.5  # of the gradient's way back
PANELS, TEXT = -7.4, -11.5  # of the slow variables, below the path: their rail; the block of text
BLOCK = 9.0  # width of that block


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
    return drawn("learning_path_schematic()", lambda sheet: _Path(sheet, LearnerParts(learner)).draw())


@dataclass(frozen=True)
class _Path:
    """The fast loop from left to right and back above, and below it a panel for each slow variable."""

    sheet: Sheet
    parts: LearnerParts

    def draw(self) -> None:
        """Draw everything."""
        sheet, parts = self.sheet, self.parts
        x = self._code(draw_neuron(sheet, parts))
        x = self._array(x, "forward", Forward, "A", "s")
        x = self._residual(x)
        if parts.residual == "q":
            x = self._divider(x)
        matrix = r"A^\mathsf{T}" + ("" if parts.residual == "q" else r" / \sigma^2")
        x = self._array(x, "backward", Backward, matrix, parts.residual)
        sheet.shunt("Resistor", (x + 0.6, 0), self._resistance)
        sheet.text((x + 0.6, 0.3), "$e_i$", "center", "bottom")
        ends = (x, 0), (x + 1.6, 0), (x + 1.6, TOP), (LEFT, TOP), (LEFT, 0), (-GATE[0] / 2, 0)
        sheet.line(*ends, arrow="->")
        sheet.text((LEFT + 0.3, 0.3), "$e_i$", "left", "bottom")
        end = self._panels()
        beside = end + BLOCK < x  # at the right of the panels, if there is room
        sheet.text((end, PANELS + 2.76) if beside else (LEFT, TEXT), parts.units, vertical="top")

    @property
    def _resistance(self) -> str:
        return f"$R$\n{engineering(self.parts.made.scaling.r_node, 'Ω')}"

    def _code(self, x: float) -> float:
        """Draw the gate's parameters, and the threshold of a state at x; return where s_i is."""
        sheet, parts = self.sheet, self.parts
        gate = parts.find(AdaptiveGate)
        if gate is not None:
            for at, name in ((-1.2, "u_0"), *(((1.2, r"\lambda"),) if gate.lam is None else ())):
                draw_control(sheet, (at, 0), GATE[1] / 2, name)
        start = (x + 2.9, 0.0)
        sheet.line((x, 0), start)
        end, _ = draw_code(sheet, parts, start)
        sheet.line((end, 0), (end + 1.6, 0))
        sheet.text((end + 0.8, 0.3), "$s_i = u_i$" if parts.code() is None else "$s_i$", "center", "bottom")
        return end + 1.6

    def _array(self, x: float, name: str, kind: type[Multipliers], matrix: str, source: str) -> float:
        """Draw one element of the array that weights a vector; return where its current goes."""
        sheet, parts = self.sheet, self.parts
        plastic = parts.find(kind, name)
        if plastic is not None:
            centre = x + 1.6
            out = draw_multiplier(sheet, (x, 0), (centre, 0), "a_{ji}", parts.transfer(plastic))
            size = f"$D\\,K$ = {plastic.n_features * plastic.n_latents}"
            title, middle = f"{name} multipliers", centre + 1.0
        else:
            g = parts.get(Crossbar, name).conductances(parts.made.scaling)
            entries = g[np.abs(g) > 1e-12 * np.abs(g).max()]
            sheet.line((x, 0), (x + 1.2, 0))
            out = sheet.transconductor((x + 1.2, 0))
            sheet.text((x + 1.9, -0.95), span(entries, "S", " to\n"), "center", "top")
            title, middle, size = f"{name} crossbar", x + 1.9, f"{entries.size} conductances"
        sheet.text((middle, 1.1), f"{title}\n${matrix}$, {size}", "center", "bottom")
        end = (out[0] + 1.2, 0.0)
        sheet.line(out, end)
        return end[0]

    def _residual(self, x: float) -> float:
        """Draw the node r_j with its input and resistor; return where it ends."""
        sheet, scaling = self.sheet, self.parts.made.scaling
        unit = engineering(scaling.volts(self.parts.get(Input).target) / scaling.r_node, "A")
        sheet.shunt("SourceI", (x, 0), f"$-x_j(t)$\n$\\times$ {unit}")
        sheet.waveform((x + 0.75, -2.75), "hold")
        sheet.shunt("Resistor", (x + 3.6, 0), self._resistance)
        sheet.text((x + 1.8, 0.3), "$r_j$", "center", "bottom")
        sheet.line((x, 0), (x + 5.6, 0))
        return x + 5.6

    def _divider(self, x: float) -> float:
        """Draw the divider by sigma^2; return where q_j is."""
        sheet = self.sheet
        sheet.box((x + 1.5, 0), 3.0, 2.0, "dividers\n$r_j / \\sigma^2$")
        draw_control(sheet, (x + 1.5, 0), 1.0, r"\sigma")
        sheet.line((x + 3.0, 0), (x + 4.6, 0))
        sheet.text((x + 3.8, 0.3), "$q_j$", "center", "bottom")
        return x + 4.6

    def _panels(self) -> float:
        """Draw the slow variables side by side; return where a next one would begin."""
        parts, x = self.parts, LEFT
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
        return x

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
