"""The way of a signal around the loop of a sampler, drawn: neuron, threshold, crossbars, and back to the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuitlsc.circuit.cells import (
    Backward,
    Crossbar,
    Forward,
    Input,
    Integrator,
    Rectifier,
    ResistorCrossbar,
    TransimpedanceSum,
)
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.drawing.parts import GATE, SYMBOLS, Parts, draw_code, draw_control, draw_gate, draw_neuron, draw_node
from circuitlsc.drawing.sheet import CURVE_BOX, Point, Sheet, engineering, span
from circuitlsc.model.stream import Stream

#: letters of the input and output nodes of the crossbars of `circuitlsc.circuit.systems`, and what they multiply by
NODES = {"inhibition": ("s", "e"), "forward": ("s", "r"), "backward": ("r", "e")}
MATRICES = {"inhibition": r"A^\mathsf{T} A", "forward": "A", "backward": r"A^\mathsf{T}"}  # times 1/sigma^2, but for A
DRIVE = r"A^\mathsf{T} x(t) / \sigma^2", r"A^\mathsf{T} x(t)"  # of the Gram form; of LCA
ROUNDING = 1e-12  # of a matrix's largest entry, or of 1 where 1 was subtracted: what is below is no entry

CROSSBARS = (Crossbar, ResistorCrossbar, Forward, Backward)
GHOST = "#9a9a9a"  # parts that stand for many more
GATE_AT = -11.9  # where the gate's centre is in a signal path
CODE = -3.2  # where the cell of the code begins in a signal path
SECOND, RETURN, LOWEST = -7.4, -4.7, -11.6  # of a momentum's row: its rail, the wire to the neuron, the wire of e below
ROW, GHOST_ROW = -2.5, -4.3  # of a crossbar in a signal path, below its driver's wire


def draw_signal_path(sheet: Sheet, parts: Parts) -> Point:
    """Draw the loop: gate and neuron, then a stage for each crossbar, and the gradient's way back.

    Return the lower left corner of what was drawn.
    """
    momentum = parts.momentum
    if momentum is None:
        sheet.line((draw_neuron(sheet, parts, (GATE_AT, 0)), 0), (CODE, 0))
    else:
        _draw_momentum(sheet, parts, momentum)
    return draw_likelihood(sheet, parts, GATE_AT)


def draw_likelihood(sheet: Sheet, parts: Parts, x: float, said: str | None = None) -> Point:
    """Draw a loop from the code on: a stage for each crossbar, and the gradient's way back to a gate at x.

    ``said`` stands for what is said of sizes and units. Return the lower left corner of what was drawn.
    """
    model, stream, momentum = parts.made.model, parts.stream, parts.momentum
    arrays = [cell for cell in parts.made.graph.cells if isinstance(cell, CROSSBARS) and cell.name in NODES]
    residual, resistors = len(arrays) == 2, isinstance(arrays[0], ResistorCrossbar)
    sheet.line(draw_code(sheet, parts, (CODE, 0)), (0, 0))
    sheet.text((-0.3, 0.3), f"${parts.code_letter}$", "center", "bottom")
    end = Stage(sheet, parts, arrays[0], _named(parts, arrays[0])).draw()
    if residual:
        end = _draw_divider(sheet, end) if parts.residual == "q" else end
        start = (end[0], end[1] - (8.6 if resistors else 5.6))
        sheet.line(end, start)
        back = sheet.placed(start, -1)
        end = back.on_page(Stage(back, parts, arrays[1], _named(parts, arrays[1])).draw())
    bottom = (0.0 if momentum is None else SECOND) - GATE[1] / 2
    low = end[1] if residual else end[1] - (5.2 if stream is None else 6.3)
    low = low if momentum is None else min(low, LOWEST)
    sheet.line(end, (end[0], low), (x, low), (x, bottom), arrow="->")
    sheet.text((x + 0.3, bottom - 1.0), "$e_i$" if residual else "$e_i$  ($j = i$)")
    lines = [f"$K$ = {model.n_latents} latents, $D$ = {model.n_features} features"]
    back_letters = "e, q" if parts.residual == "q" else "e"
    lines.append(parts.units(*("r" * residual), back_letters))
    if stream is not None:
        lines += _stream(parts, stream, residual)
    at, vertical = ((x + 1.4, -4.4), "top") if momentum is None else ((x - 2.2, 1.0), "bottom")
    sheet.text(at, said or "\n".join(lines), vertical=vertical)
    return x - GATE[0] / 2, low + GHOST_ROW - ROW - 2.0


def _draw_divider(sheet: Sheet, start: Point) -> Point:
    """Draw the dividers by sigma^2; return where q_j is."""
    (x, y), width = start, 3.0
    sheet.line(start, (x + 1.0, y))
    centre = (x + 1.0 + width / 2, y)
    sheet.box(centre, width, 2.0, "dividers\n$r_j / \\sigma^2$")
    draw_control(sheet, centre, 1.0, r"\sigma")
    end = (x + width + 2.4, y)
    sheet.line((x + width + 1.0, y), end)
    sheet.text((end[0], y + 0.3), "$q_j$", "center", "bottom")
    return end


def _stream(parts: Parts, stream: Stream, residual: bool) -> list[str]:
    """Return what is said about inputs that follow each other."""
    time = engineering(stream.hold * parts.made.scaling.tau, "s")
    rows = f"{len(stream.rows)} inputs $x(t)$"
    said = f"{rows}, each on for {time}" if stream.interpolate == "hold" else f"{rows}, joined by lines of {time}"
    return [said] if residual else [said, f"$b(t) = {DRIVE[parts.lca]}$"]


def _draw_momentum(sheet: Sheet, parts: Parts, momentum: Integrator) -> None:
    """Draw the neuron's capacitor up to its code, and below it the gate with the momentum."""
    y = SECOND
    x = draw_gate(sheet, parts, (GATE_AT, y))
    friction = x + (3.2 if parts.device else 0.8)
    sheet.shunt("Resistor", (friction, y), parts.friction(momentum))
    draw_node(sheet, parts, momentum, (friction + 4.0, y), noise=x + 0.9)
    start = (friction + 6.8, y)
    sheet.line((x, y), start)
    out = sheet.transconductor(start)
    sheet.text((out[0], y + 0.95), parts.velocity, "right", "bottom")
    into = GATE_AT + 1.6
    sheet.line(out, (out[0] + 0.4, y), (out[0] + 0.4, RETURN), (into, RETURN), (into, 0))
    sheet.dot((into, 0))
    sheet.line((CODE, 0), (GATE_AT, 0), (GATE_AT, y + GATE[1] / 2), arrow="->")
    draw_node(sheet, parts, parts.state, (CODE - 2.55, 0))


@dataclass(frozen=True)
class Named:
    """What a crossbar, its nodes and its input are called in a picture, in mathematics.

    ``source`` and ``target`` end in their index; ``columns`` and ``rows`` say how many there are; ``constant`` is what the
    input adds to the sum, and ``negative`` the same with the other sign, which is the voltage that an amplifier inverts.
    """

    source: str
    target: str
    columns: str
    rows: str
    title: str
    constant: str
    negative: str
    streamed: bool


def _named(parts: Parts, cell: Crossbar | ResistorCrossbar | Multipliers) -> Named:
    """Return what a crossbar of a loop is called."""
    model, name, stream = parts.made.model, cell.name, parts.stream is not None
    inhibition, (source, target) = name == "inhibition", NODES[name]
    columns, rows = (
        f"$D$ = {model.n_features}" if letter == "r" else f"$K$ = {model.n_latents}" for letter in (source, target)
    )
    source, target = (
        f"{letter}_j" if letter in "rq" or (letter == "e" and inhibition) else f"{letter}_i"
        for letter in (source.replace("r", parts.residual), target)
    )
    divided = name != "forward" and not parts.lca and source != "q_j"
    matrix = MATRICES[name] + (r" / \sigma^2" if divided else " - I" if _lca_inhibition(parts, cell) else "")
    title = f"{name} {'multipliers' if isinstance(cell, Multipliers) else 'crossbar'}: ${matrix}$"
    if stream:
        entering = "b_j(t)" if inhibition else "x_j(t)"
    elif inhibition:
        entering = r"(A^\mathsf{T} x)_j" + ("" if parts.lca else r" / \sigma^2")
    else:
        entering = "x_j"
    return Named(source, target, columns, rows, title, f"-{entering}", entering, stream)


def _lca_inhibition(parts: Parts, cell: Crossbar | ResistorCrossbar | Multipliers) -> bool:
    """Return whether the matrix is A^T A - I, whose diagonal is 0 if the atoms have unit norm."""
    return parts.lca and cell.name == "inhibition"


@dataclass(frozen=True)
class Stage:
    """One crossbar with what drives and reads it, from the sheet's origin."""

    sheet: Sheet
    parts: Parts
    cell: Crossbar | ResistorCrossbar | Multipliers
    named: Named

    def draw(self) -> Point:
        """Draw the stage; return its output."""
        if isinstance(self.cell, ResistorCrossbar):
            return self._resistors(self.cell)
        return self._transconductors(self.cell)

    def _resistors(self, cell: ResistorCrossbar) -> Point:
        """Draw inverter, pairs of resistors, input and amplifier."""
        sheet, hardware = self.sheet, cell.hardware
        part = hardware.parts.crossbar
        source, target = self.named.source, self.named.target
        plus, minus, end_x = 5.8, 7.9, 14.9
        # drivers: +v straight on, -v by way of an inverter above
        ohm = engineering(hardware.ohm(1 / part.g_on), "Ω")
        sheet.line((0, 0), (plus, 0), (plus, GHOST_ROW - 0.7))
        sheet.dot((0.5, 0))
        sheet.line((0.5, 0), (0.5, 2.4))
        sheet.part("Resistor", (0.5, 2.4), (2.5, 2.4))
        sheet.text((1.5, 2.8), ohm, "center", "bottom")
        out = sheet.amplifier((2.5, 2.4), ohm)
        sheet.line(out, (minus, out[1]), (minus, GHOST_ROW - 0.7))
        sheet.text((4.6, 0.95), "inverter", "center", "bottom")
        sheet.text((plus - 0.2, 0.25), f"$+{source}$", "right", "bottom")
        sheet.text((minus + 0.25, 0.25), f"$-{source}$", "left", "bottom")
        index = target[-1] + source[-1]
        columns = {plus: f"G^-_{{{index}}}", minus: f"G^+_{{{index}}}"}
        parts = bool(cell.conductances_siemens.any())  # a resistor is there for an entry of 0 too
        self._array(columns, (10.6, 11.9), (13.1, end_x), "pairs of columns", parts=parts)
        corner = hardware.parts.corner.resistance
        lines = [f"{engineering(part.g_off / corner, 'S')} to {engineering(part.g_on / corner, 'S')}"]
        if part.wire_resistance > 0:
            lines.append(f"wires {engineering(hardware.ohm(part.wire_resistance), 'Ω')} per cell")
        if part.driver_resistance > 0:
            lines.append(f"drivers {engineering(hardware.ohm(part.driver_resistance), 'Ω')}")
        self._title(lines)
        # the amplifier, and the input behind its resistor
        cells = self.parts.made.graph.cells
        amplifier = next(c for c in cells if isinstance(c, TransimpedanceSum) and c.crossbar is cell)
        rf = engineering(amplifier.feedback, "Ω")
        out = sheet.amplifier((end_x, ROW), f"$R_f$ = {rf}")
        if amplifier.has_input:
            x = end_x - 1.2
            sheet.dot((x, ROW))
            sheet.part("Resistor", (x, 0.2), (x, ROW))
            sheet.dot((x, 0.3), terminal=True)
            sheet.text((x, 0.65), f"${self.named.negative}$", "center", "bottom")
            if self.named.streamed and (stream := self.parts.stream) is not None:
                sheet.waveform((x - 0.65, 1.5), stream.interpolate)
            sheet.text((x - 0.45, -0.3), f"$R_x$ = {rf}", "right")
        return self._output(out, target)

    def _transconductors(self, cell: Crossbar | Multipliers) -> Point:
        """Draw one transconductor per entry, which a weight may control, input current and summing resistor."""
        sheet, scaling = self.sheet, self.parts.made.scaling
        source, target = self.named.source, self.named.target
        column, end_x = 5.8, 14.0
        sheet.line((0, 0), (column, 0), (column, GHOST_ROW - 0.7))
        parts = True
        if isinstance(cell, Crossbar):
            size, lines = np.abs(cell.matrix), ["no entries"]
            without_own = _lca_inhibition(self.parts, cell)
            entries = size > ROUNDING * max(float(size.max()), 1.0 if without_own else 0.0)
            if parts := bool(entries.any()):
                lines = [span(cell.conductances(scaling)[entries], "S")]
                if without_own and not np.diag(entries).any():
                    lines.append("$g_{ii}$ = 0")
            name = f"g_{{{target[-1]}{source[-1]}}}"
        else:
            name, lines = SYMBOLS["a"], [self.parts.transfer(cell)]
        self._array({column: name}, (8.5,), (9.7, end_x), "columns", parts=parts)
        self._title(lines)
        if (bias := self.parts.find(Input, f"{cell.name}_input")) is not None:
            unit = engineering(scaling.volts(bias.target) / scaling.r_node, "A")
            sheet.shunt("SourceI", (end_x - 3.6, ROW), f"${self.named.constant}$\n$\\times$ {unit}")
            if self.named.streamed and (stream := self.parts.stream) is not None:
                sheet.waveform((end_x - 2.85, ROW - 2.6), stream.interpolate)
        sheet.shunt("Resistor", (end_x, ROW), f"$R$\n{engineering(scaling.r_node, 'Ω')}")
        return self._output((end_x, ROW), target, 2.6)

    def _array(
        self, columns: Mapping[float, str], ghosts: tuple[float, ...], ends: Point, what: str, *, parts: bool
    ) -> None:
        """Draw the row from its columns on, how many of both there are, and in grey parts that stand for the others.

        ``columns`` are places and names of conductances, ``ends`` those of the grey row and of the row; ``parts`` says
        whether anything leads from columns to rows.
        """
        sheet, left = self.sheet, min(columns) - 0.7
        sheet.line((left, GHOST_ROW), (ends[0], GHOST_ROW), color=GHOST)
        sheet.line((left, ROW), (ends[1], ROW))
        for x in ghosts:
            sheet.line((x, -0.9), (x, GHOST_ROW - 0.7), color=GHOST)
        for x in (*ghosts, *columns) if parts else ():
            self._pass_through(x, GHOST_ROW, GHOST)
            self._pass_through(x, ROW, "black" if x in columns else GHOST)
            if x in columns:
                sheet.text((x + 0.85, ROW + 0.75), f"${columns[x]}$")
        sheet.text((ghosts[0] - 0.75, -1.2), r"$\cdots$", "center", color=GHOST)
        sheet.text((ghosts[0] - 0.75, (ROW + GHOST_ROW) / 2), r"$\vdots$", "center", color=GHOST)
        low = GHOST_ROW - 1.1
        sheet.line((left, low), (ends[0], low), arrow="<->")
        sheet.text(((left + ends[0]) / 2, low - 0.2), f"{self.named.columns} {what}", "center", "top")
        sheet.line((left - 0.5, ROW + 0.1), (left - 0.5, GHOST_ROW - 0.1), arrow="<->")
        sheet.text((left - 0.8, (ROW + GHOST_ROW) / 2), f"{self.named.rows} rows", "right")

    def _pass_through(self, x: float, y: float, color: str) -> None:
        """Draw what leads from a column to a row."""
        start, end = (x, y + 0.95), (x + 0.95, y)
        if isinstance(self.cell, ResistorCrossbar):
            self.sheet.part("Resistor", start, end, color)
        else:
            (a, b), (c, d) = (x + 0.285, y + 0.665), (x + 0.7125, y + 0.2375)  # base and tip of a triangle on the way
            self.sheet.line((a + 0.24, b + 0.24), (c, d), (a - 0.24, b - 0.24), (a + 0.24, b + 0.24), color=color)
            self.sheet.line(start, (a, b), color=color)
            self.sheet.line((c, d), end, color=color)
        self.sheet.dot(start, color=color)
        self.sheet.dot(end, color=color)

    def _title(self, lines: list[str]) -> None:
        self.sheet.text((0.3, -0.6), "\n".join([self.named.title, *lines]), "left", "top")

    def _output(self, out: Point, name: str, length: float = 1.1) -> Point:
        end = (out[0] + length, out[1])
        self.sheet.line(out, end)
        self.sheet.text((end[0], end[1] + 0.3), f"${name}$", "center", "bottom")
        return end


def draw_rectifier(page: Sheet, row: Sheet, parts: Parts, start: Point, name: str) -> Point:
    """Draw the rectifier behind a row; return where the hidden unit, or the feature, is."""
    (x, y), (w, h) = start, CURVE_BOX
    centre = (x + 1.0 + w / 2, y)
    row.line(start, (x + 1.0, y))
    page.curve_box(row.on_page(centre), parts.get(Rectifier).table, 1.0)  # its curve is not mirrored
    row.text((centre[0], y + h / 2 + 0.2), "rectifier", "center", "bottom")
    end = (x + 2.2 + w, y)
    row.line((x + 1.0 + w, y), end)
    row.text((end[0], y + 0.3), f"${name}$", "center", "bottom")
    return end
