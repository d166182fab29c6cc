"""The schematic of a circuit that learns: the way of a signal around its loop, and the loop of each slow variable.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from circuitlsc.circuit.cells import (
    AdaptiveGate,
    AdaptiveThreshold,
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
from circuitlsc.drawing.learner_parts import SYMBOLS, LearnerParts, draw_terminal
from circuitlsc.drawing.sheet import (
    CURVE_BOX,
    Point,
    Sheet,
    check_path,
    draw_noisy_capacitor,
    engineering,
    save,
)
from circuitlsc.reporting.plotting import STYLE

if TYPE_CHECKING:
    from circuitlsc.learning.circuit import CircuitLearner

GATE = (4.9, 2.0)  # width and height of the gate's box, whose centre is the origin
LEFT, TOP = -3.7, 3.5  # of the gradient's way back
STEM = 2.1  # length of a wire from a terminal up to what it controls
PANELS, TEXT = -7.4, -11.5  # of the slow variables, below the path: their rail; the block of text
BLOCK = 9.0  # width of that block
CAPACITORS = {"a": "A", "u0": "u_0", "lam": r"\lambda", "sigma": r"\sigma"}


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
    check_path("learning_path_schematic()", path)
    save(learning_path_figure(learner), path)


def learning_path_figure(learner: CircuitLearner) -> Figure:
    """Return the figure that `learning_path_schematic` saves."""
    with matplotlib.style.context(STYLE, after_reset=True):
        sheet = Sheet("learning_path_schematic()")
        _Path(sheet, LearnerParts(learner)).draw()
        return sheet.figure()


def _controlled(sheet: Sheet, at: Point, edge: float, name: str) -> None:
    """Draw a terminal below a part, and the arrow up to its lower edge."""
    x, y = at
    sheet.dot((x, y - edge - STEM), terminal=True)
    sheet.line((x, y - edge - STEM + 0.1), (x, y - edge), arrow="->")
    sheet.text((x, y - edge - STEM - 0.25), f"${name}$", "center", "top")


@dataclass(frozen=True)
class _Path:
    """The fast loop from left to right and back above, and below it a panel for each slow variable."""

    sheet: Sheet
    parts: LearnerParts

    def draw(self) -> None:
        """Draw everything."""
        sheet, parts = self.sheet, self.parts
        x = self._code(self._neuron())
        x = self._array(x, "forward", Forward, "A", "s")
        x = self._residual(x)
        if parts.residual == "q":
            x = self._divider(x)
        matrix = r"A^\mathsf{T}" + ("" if parts.residual == "q" else r" / \sigma^2")
        x = self._array(x, "backward", Backward, matrix, parts.residual)
        sheet.shunt("Resistor", (x + 0.6, 0), 2.4, self._resistance)
        sheet.text((x + 0.6, 0.3), "$e_i$", "center", "bottom")
        width, _ = GATE
        sheet.line((x, 0), (x + 1.6, 0), (x + 1.6, TOP), (LEFT, TOP), (LEFT, 0), (-width / 2, 0), arrow="->")
        sheet.text((LEFT + 0.3, 0.3), "$e_i$", "left", "bottom")
        end = self._panels()
        beside = end + BLOCK < x  # at the right of the panels, if there is room
        sheet.text((end, PANELS + 2.76) if beside else (LEFT, TEXT), parts.units, vertical="top")

    @property
    def _resistance(self) -> str:
        return f"$R$\n{engineering(self.parts.learner.scaling.r_node, 'Ω')}"

    def _neuron(self) -> float:
        """Draw gate, noise and capacitor; return where the code begins."""
        sheet, parts = self.sheet, self.parts
        (width, height), state = GATE, parts.learner.graph.integrator
        sheet.box((0, 0), width, height)
        sheet.text((0, 0), "gate\n" + parts.force, "center")
        gate = parts.find(AdaptiveGate)
        if gate is not None:
            for x, name in ((-1.2, "u_0"), *(((1.2, r"\lambda"),) if gate.lam is None else ())):
                _controlled(sheet, (x, 0), height / 2, name)
        x = width / 2 + 0.6
        sheet.line((x, 0), (x, 2.0), (0, 2.0), (0, height / 2), arrow="->")
        sheet.dot((x, 0))
        capacitor = parts.capacitor(state, r"\mathrm{int}")
        if parts.device:
            sheet.shunt("SourceI", (x + 1.0, 0), 2.4, "noise")
            sheet.shunt("Capacitor", (x + 4.2, 0), 2.4, capacitor)
            at, end = x + 4.2, x + 7.1
        else:
            draw_noisy_capacitor(sheet, (x + 1.0, 0), capacitor, "noise")
            at, end = x + 1.0, x + 4.0
        sheet.text((at, 0.3), "$u_i$", "center", "bottom")
        sheet.line((width / 2, 0), (end, 0))
        return end

    def _code(self, x: float) -> float:
        """Draw the threshold from x on; return where s_i is."""
        sheet, parts = self.sheet, self.parts
        table = parts.code()
        if table is None:
            sheet.line((x, 0), (x + 1.6, 0))
            sheet.text((x + 0.8, 0.3), "$s_i = u_i$", "center", "bottom")
            return x + 1.6
        (w, h), centre = CURVE_BOX, x + CURVE_BOX[0] / 2
        sheet.curve_box((centre, 0), table, parts.reach)
        sheet.text((centre, h / 2 + 0.2), "threshold", "center", "bottom")
        if parts.find(AdaptiveThreshold) is not None:
            _controlled(sheet, (centre, 0), h / 2, "u_0")
            sheet.text((centre + 0.3, -h / 2 - 0.9), parts.thresholds[-1])
        else:
            sheet.text((centre, -h / 2 - 0.2), "\n".join(parts.thresholds), "center", "top")
        sheet.line((x + w, 0), (x + w + 1.6, 0))
        sheet.text((x + w + 0.8, 0.3), "$s_i$", "center", "bottom")
        return x + w + 1.6

    def _array(self, x: float, name: str, kind: type[Multipliers], matrix: str, source: str) -> float:
        """Draw one element of the array that weights a vector; return where its current goes."""
        sheet, parts = self.sheet, self.parts
        plastic = parts.find(kind, name)
        if plastic is not None:
            centre = x + 1.6
            sheet.line((x, 0), (centre - 0.45, 0))
            sheet.multiplier((centre, 0))
            _controlled(sheet, (centre, 0), 0.45, "a_{ji}")
            sheet.line((centre + 0.45, 0), (centre + 1.0, 0))
            out = sheet.transconductor((centre + 1.0, 0))
            sheet.text((centre + 1.8, -0.95), parts.transfer(plastic), "center", "top")
            title, middle, size = (
                f"{name} multipliers",
                centre + 1.0,
                f"$D\\,K$ = {plastic.n_features * plastic.n_latents}",
            )
        else:
            crossbar = parts.find(Crossbar, name)
            assert crossbar is not None
            sheet.line((x, 0), (x + 1.2, 0))
            out = sheet.transconductor((x + 1.2, 0))
            g = np.abs(crossbar.conductances(parts.learner.scaling))
            entries = g[g > 1e-12 * g.max()]
            low, high = engineering(float(entries.min()), "S"), engineering(float(entries.max()), "S")
            sheet.text((x + 1.9, -0.95), low if low == high else f"{low} to\n{high}", "center", "top")
            title, middle, size = f"{name} crossbar", x + 1.9, f"{entries.size} conductances"
        sheet.text((middle, 1.1), f"{title}\n${matrix}$, {size}", "center", "bottom")
        end = (out[0] + 1.2, 0.0)
        sheet.line(out, end)
        return end[0]

    def _residual(self, x: float) -> float:
        """Draw the node r_j with its input and resistor; return where it ends."""
        sheet, scaling = self.sheet, self.parts.learner.scaling
        bias = self.parts.find(Input)
        assert bias is not None
        unit = engineering(scaling.volts(bias.target) / scaling.r_node, "A")
        sheet.shunt("SourceI", (x, 0), 2.4, f"$-x_j(t)$\n$\\times$ {unit}")
        sheet.waveform((x + 0.75, -2.75), "hold")
        sheet.shunt("Resistor", (x + 3.6, 0), 2.4, self._resistance)
        sheet.text((x + 1.8, 0.3), "$r_j$", "center", "bottom")
        sheet.line((x, 0), (x + 5.6, 0))
        return x + 5.6

    def _divider(self, x: float) -> float:
        """Draw the divider by sigma^2; return where q_j is."""
        sheet = self.sheet
        sheet.box((x + 1.5, 0), 3.0, 2.0)
        sheet.text((x + 1.5, 0), "dividers\n$r_j / \\sigma^2$", "center")
        _controlled(sheet, (x + 1.5, 0), 1.0, r"\sigma")
        sheet.line((x + 3.0, 0), (x + 4.6, 0))
        sheet.text((x + 3.8, 0.3), "$q_j$", "center", "bottom")
        return x + 4.6

    def _panels(self) -> float:
        """Draw the slow variables side by side; return where a next one would begin."""
        parts, x = self.parts, LEFT
        model, size = parts.learner.model, r"|s_i|" if parts.learner.signed else "s_i"
        sign = r"\mathrm{sgn}(s_i)" if parts.learner.signed else r"\mathbf{1}(s_i > 0)"
        active = r"\mathbf{1}(s_i \neq 0)" if parts.learner.signed else r"\mathbf{1}(s_i > 0)"
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
        hebbian = parts.find(Hebbian)
        assert hebbian is not None
        sheet.text((x - 0.9, y + 2.4), f"dictionary: $D\\,K$ = {cell.size} capacitors", vertical="bottom")
        draw_terminal(sheet, (x, y), f"{parts.residual}_j", "right")
        sheet.line((x + 0.1, y), (x + 1.35, y))
        sheet.multiplier((x + 1.8, y))
        _controlled(sheet, (x + 1.8, y), 0.45, "s_i")
        sheet.line((x + 2.25, y), (x + 2.8, y))
        out = sheet.transconductor((x + 2.8, y), "$-$")
        sheet.text((x + 3.6, y - 0.95), parts.transfer(hebbian), "center", "top")
        x = out[0] + 1.0
        sheet.shunt("Capacitor", (x, y), 2.4, parts.capacitor(cell, "A"))
        if parts.leak:
            x += 3.2
            sheet.shunt("Resistor", (x, y), 2.4, parts.leak)
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
        sheet.box((left + width / 2, y), width, 2.0)
        sheet.text((left + width / 2, y), f"${rule}$", "center")
        x = left + width + 1.0
        sheet.line((x, y), (x, y + 1.7), (left + width / 2, y + 1.7), (left + width / 2, y + 1.0), arrow="->")
        sheet.shunt("Capacitor", (x, y), 2.4, parts.capacitor(cell, CAPACITORS[cell.quantity]))
        follower = parts.find(Follower)
        if cell.quantity == "lam" and follower is not None:
            box = x + 4.8
            sheet.line((left + width, y), (box - 1.9, y), arrow="->")
            sheet.text((x + 1.6, y + 0.3), f"${symbol}$", "center", "bottom")
            sheet.box((box, y), 3.8, 2.0)
            sheet.text((box, y), "divider\n$-\\log(\\pi) / \\lambda$", "center")
            sheet.line((box + 1.9, y), (box + 2.8, y))
            draw_terminal(sheet, (box + 2.9, y), "u_0", "left")
            return box + 4.0
        sheet.line((left + width, y), (x + 1.4, y))
        draw_terminal(sheet, (x + 1.5, y), symbol, "left")
        return x + 3.0
