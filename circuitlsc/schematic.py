"""Schematics of a sampler with the values of its parts: one neuron, and the way of a signal around the loop.

They need schemdraw: ``pip install 'circuitlsc[schematic]'``. Lengths are schemdraw's units: a resistor's body is one long.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from circuitlsc.arrays import Array
from circuitlsc.cells import (
    Buffer,
    Crossbar,
    DeviceGate,
    DeviceIntegrator,
    Gate,
    Input,
    ResistorCrossbar,
    ThermalNoise,
    Threshold,
    TransimpedanceSum,
)
from circuitlsc.cells.base import Cell
from circuitlsc.errors import InputError
from circuitlsc.plotting import STYLE

if TYPE_CHECKING:
    from circuitlsc.sampler import Sampler

Point = tuple[float, float]
Found = TypeVar("Found", bound=Cell)

#: letters of the input and output nodes of the crossbars of `circuitlsc.systems`, and what they multiply by
NODES = {"inhibition": ("s", "e"), "forward": ("s", "r"), "backward": ("r", "e")}
MATRICES = {
    "inhibition": r"A^\mathsf{T} A / \sigma^2",
    "forward": "A",
    "backward": r"A^\mathsf{T} / \sigma^2",
}

PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
INCH = 0.3  # per unit
FONT, LINE = 8.0, 0.9  # points
PITCH = 0.52  # of lines of text
GHOST = "#9a9a9a"  # parts that stand for many more
CURVE = "#0072B2"  # transfer curves in boxes
CURVE_BOX = (2.2, 1.5)  # width and height of a box with a transfer curve
MARGIN = 0.3  # around a drawing
GATE = (-11.9, 4.7, 2.0)  # centre, width and height of the gate in a signal path
CODE = -3.2  # where the cell of the code begins in a signal path
ROW, GHOST_ROW = -2.5, -4.3  # of a crossbar in a signal path, below its driver's wire
AMP = 0.75  # scale of op-amps
AMP_LENGTH, AMP_INPUT = AMP * 2.5 * math.sqrt(3) / 2, AMP * 2.5 / 4  # along the axis; from it to an input


def si_prefix(value: float) -> tuple[float, str]:
    """Return the power of 1000 in which a value is best given, and its prefix: ``(1e-3, "m")`` for 0.02."""
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    rounded = float(f"{abs(value):.2e}")
    power = min(max(3 * math.floor(math.log10(rounded) / 3), -18), 12)
    return 10.0**power, PREFIXES[power]


def engineering(value: float, unit: str) -> str:
    """Return a value to three digits with an SI prefix: ``1.55 mS``, ``1 pF``."""
    factor, prefix = si_prefix(value)
    return f"{float(f'{value:.2e}') / factor:.4g} {prefix}{unit}"


def neuron_schematic(sampler: Sampler, path: Path) -> None:
    """Draw one neuron: gate, prior, noise and leak at the integrating capacitor, and the cell that makes its code.

    Parameters
    ----------
    sampler : Sampler
        Of either level; values that are drawn at random for each neuron are shown as designed.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, or the file cannot be written.
    """
    _check_path("neuron_schematic()", path)
    _save(neuron_figure(sampler), path)


def signal_path_schematic(sampler: Sampler, path: Path) -> None:
    """Draw the loop from a neuron through threshold and crossbars back to its gate.

    One element of each crossbar stands for all; grey parts stand for those beside it.

    Parameters
    ----------
    sampler : Sampler
        Of either level and form.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, or the file cannot be written.
    """
    _check_path("signal_path_schematic()", path)
    _save(signal_path_figure(sampler), path)


def neuron_figure(sampler: Sampler) -> Figure:
    """Return the figure that `neuron_schematic` saves."""
    with matplotlib.style.context(STYLE):
        sheet = _Sheet("neuron_schematic()")
        _draw_neuron(sheet, sampler)
        return sheet.figure()


def signal_path_figure(sampler: Sampler) -> Figure:
    """Return the figure that `signal_path_schematic` saves."""
    with matplotlib.style.context(STYLE):
        sheet = _Sheet("signal_path_schematic()")
        _draw_signal_path(sheet, sampler)
        return sheet.figure()


def _schemdraw(caller: str) -> tuple[Any, Any]:
    """Import schemdraw and its elements, or say how to install them."""
    try:
        return importlib.import_module("schemdraw"), importlib.import_module("schemdraw.elements")
    except ImportError:
        raise InputError(
            f"{caller} needs schemdraw, which is not installed. Run pip install 'circuitlsc[schematic]'."
        ) from None


def _check_path(caller: str, path: Path) -> None:
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{caller}: {str(path)!r} ends in {path.suffix!r}, which cannot be drawn. Give .svg or .png.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{caller}: the folder {path.absolute().parent} does not exist. Make it first.")


def _save(fig: Figure, path: Path) -> None:
    """Write a figure in full or not at all, without a date in it."""
    svg = path.suffix.lower() == ".svg"
    data = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "circuitlsc", "savefig.dpi": 300}):
        metadata = {"Date": None, "Creator": "circuitlsc"} if svg else {"Software": "circuitlsc"}
        fig.savefig(data, format="svg" if svg else "png", metadata=metadata)
    path.write_bytes(data.getvalue())


class _Sheet:
    """A drawing in absolute coordinates: every part stands where it is put, every label where it collides with nothing."""

    def __init__(self, caller: str) -> None:
        self._schemdraw, self._elements = _schemdraw(caller)
        self._figure = Figure()
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._drawing = self._schemdraw.Drawing(canvas=self._axes, show=False)
        self._drawing.config(fontsize=FONT, lw=LINE, inches_per_unit=INCH)

    def figure(self) -> Figure:
        """Draw everything and return the figure, cut to what is on it."""
        self._drawing.draw(show=False)
        ax, fig = self._axes, self._figure
        for wire in ax.lines:
            wire.set_snap(False)  # to pixels: wires that meet would not
        low, high = ax.dataLim.get_points()
        self._frame(low, high)
        renderer = FigureCanvasAgg(fig).get_renderer()  # type: ignore[no-untyped-call]
        for text in ax.texts:  # as large as it will be: the scale stays
            corners = ax.transData.inverted().transform(text.get_window_extent(renderer).get_points())
            low, high = np.minimum(low, corners[0]), np.maximum(high, corners[1])
        self._frame(low - MARGIN, high + MARGIN)
        return fig

    def _frame(self, low: Array, high: Array) -> None:
        self._axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        self._figure.set_size_inches(*(INCH * (high - low)))

    def _add(self, element: Any, color: str) -> None:
        self._drawing.add(element.color(color))

    def line(self, *points: Point, color: str = "black", arrow: str | None = None, width: float = LINE) -> None:
        """Draw a wire through points."""
        element = self._elements.Element().at((0, 0)).theta(0)
        element.segments.append(
            self._schemdraw.Segment(points, arrow=arrow, lw=width, arrowwidth=0.22, arrowlength=0.32)
        )
        self._add(element, color)

    def text(self, at: Point, text: str, align: str = "left", vertical: str = "center", color: str = "black") -> None:
        """Write lines of text; ``vertical`` says where their block is held: top, center or bottom."""
        lines = text.split("\n")
        rise = (len(lines) - 1) * PITCH
        first = {"top": -0.36, "center": rise / 2 - 0.13, "bottom": rise}[vertical]
        for k, line in enumerate(lines):  # each by itself, because mathematics would disturb a block's spacing
            at_line = (at[0], at[1] + first - k * PITCH)
            self._axes.text(*at_line, line, ha=align, va="baseline", color=color, fontsize=FONT)

    def part(self, name: str, start: Point, end: Point, color: str = "black") -> None:
        """Draw a part with two terminals, with its leads."""
        self._add(getattr(self._elements, name)().endpoints(start, end), color)

    def dot(self, at: Point, *, terminal: bool = False, color: str = "black") -> None:
        """Draw a junction, or a terminal as an open circle."""
        self._add(self._elements.Dot(open=terminal, radius=0.1 if terminal else 0.08).at(at), color)

    def ground(self, at: Point) -> None:
        """Draw a ground with its lead."""
        self._add(self._elements.Ground().at(at).theta(0), "black")

    def shunt(self, name: str, top: Point, length: float, label: str) -> None:
        """Draw a part from a node on a rail down to ground, with a label to its right."""
        x, y = top
        self.dot(top)
        ends = (top, (x, y - length))
        self.part(name, *(ends[::-1] if name == "SourceI" else ends))  # its current goes into the node
        self.ground((x, y - length))
        self.text((x + 0.75, y - length / 2), label)

    def op_amp(self, inverting: Point, d: int, *, flip: bool = False) -> Point:
        """Draw an op-amp that points to the right (d = 1) or left, by its inverting input; return its output.

        The inverting input is above the other, or below it if flipped.
        """
        element = self._elements.Opamp().scale(AMP).theta(0 if d > 0 else 180)
        if (d < 0) != flip:
            element = element.flip()
        self._add(element.anchor("in1").at(inverting), "black")
        return inverting[0] + d * AMP_LENGTH, inverting[1] + (AMP_INPUT if flip else -AMP_INPUT)

    def amplifier(self, node: Point, d: int, label: str) -> Point:
        """Draw an inverting amplifier whose virtual ground is ``node``, with its feedback resistor; return its output."""
        x, y = node
        self.dot(node)
        inverting = (x + 0.6 * d, y)
        self.line(node, inverting)
        out = self.op_amp(inverting, d)
        self.line((x + 0.6 * d, y - 2 * AMP_INPUT), (x + 0.2 * d, y - 2 * AMP_INPUT))
        self.ground((x + 0.2 * d, y - 2 * AMP_INPUT))
        end = (out[0] + 0.5 * d, out[1])
        self.line(node, (x, y + 1.2))
        self.part("Resistor", (x, y + 1.2), (end[0], y + 1.2))
        self.line((end[0], y + 1.2), end)
        self.line(out, end)
        self.dot(end)
        self.text(((x + end[0]) / 2, y + 1.6), label, "center", "bottom")
        return end

    def transconductor(self, start: Point, sign: str = "") -> Point:
        """Draw a triangle that turns a voltage into a current, to the right; return its output."""
        x, y = start
        end = (x + 1.5, y)
        self.line(start, (x, y + 0.75), end, (x, y - 0.75), start)
        self.text((x + 0.6, y), sign, "center")
        return end

    def box(self, centre: Point, width: float, height: float) -> None:
        """Draw a rectangle."""
        x, y, w, h = *centre, width / 2, height / 2
        self.line((x - w, y - h), (x - w, y + h), (x + w, y + h), (x + w, y - h), (x - w, y - h))

    def curve_box(self, centre: Point, curve: Callable[[Array], Array], reach: float) -> None:
        """Draw a rectangle that shows a transfer curve between -reach and reach."""
        (x, y), (w, h) = centre, CURVE_BOX
        self.box(centre, w, h)
        u = np.linspace(-reach, reach, 241)
        v = curve(u)
        v = v / np.abs(v).max()
        lift = -0.3 * h if v.min() > -0.1 else 0.0  # a code or gate that is never negative
        scale = (0.62 if lift else 0.36) * h
        self.line((x - 0.42 * w, y + lift), (x + 0.42 * w, y + lift), color="#999999", width=0.5)
        self.line((x, y - 0.4 * h), (x, y + 0.4 * h), color="#999999", width=0.5)
        points = zip(x + 0.42 * w * u / reach, y + lift + scale * v, strict=True)
        self.line(*((float(a), float(b)) for a, b in points), color=CURVE, width=1.2)

    def multiplier(self, centre: Point) -> None:
        """Draw a circle with a cross."""
        x, y = centre
        element = self._elements.Element().at((0, 0)).theta(0)
        element.segments.append(self._schemdraw.SegmentCircle(centre, 0.45))
        self._add(element, "black")
        for s in (-1, 1):
            self.line((x - 0.32, y - 0.32 * s), (x + 0.32, y + 0.32 * s))

    def follower(self, start: Point) -> Point:
        """Draw an op-amp as a buffer to the right; return its output, on the level of its input."""
        x, y = start
        plus = (x + 0.8, y + AMP_INPUT)
        self.line(start, (x + 0.5, y), (x + 0.5, y + AMP_INPUT), plus)
        out = self.op_amp((x + 0.8, y - AMP_INPUT), 1, flip=True)
        end = (out[0] + 0.4, y)
        self.line(out, end)
        self.dot(end)
        self.line(end, (end[0], y - 1.4), (x + 0.5, y - 1.4), (x + 0.5, y - AMP_INPUT), (x + 0.8, y - AMP_INPUT))
        return end


@dataclass(frozen=True)
class _Parts:
    """The cells of a sampler that schematics show, and their values."""

    sampler: Sampler

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells."""
        return self.sampler.graph.cells

    def find(self, kind: type[Found]) -> Found | None:
        """Return the first cell of a kind, if there is one."""
        return next((cell for cell in self.cells if isinstance(cell, kind)), None)

    @property
    def device(self) -> bool:
        """Whether there are devices."""
        return self.sampler.level == "device"

    @property
    def gate(self) -> Gate:
        """The gate."""
        gate = self.find(Gate)
        assert gate is not None
        return gate

    @property
    def capacitor(self) -> str:
        """The label of the integrating capacitor."""
        state = self.find(DeviceIntegrator)
        c = self.sampler.scaling.c_int
        return "$C_\\mathrm{int}$\n" + engineering(c if state is None else state.hardware.farad(c), "F")

    @property
    def thresholds(self) -> list[str]:
        """The labels of the threshold, if there is one, and of the comparators' width."""
        volt, u0 = self.sampler.scaling.volt, self.sampler.model.prior.threshold
        level = [f"$u_0$ = {engineering(u0 * volt, 'V')}"] if u0 > 0 else []
        return [*level, f"$w$ = {engineering(self.sampler.plan.width * volt, 'V')}"]

    @property
    def reach(self) -> float:
        """How far transfer curves are drawn, in model units."""
        return 2.2 * self.sampler.model.prior.threshold or 12 * self.sampler.plan.width

    def units(self, *quantities: str) -> str:
        """Return the block of text that says what a unit of each quantity is, and tau and T."""
        s = self.sampler.scaling
        lines = [f"one unit of ${', '.join(q)}$: {engineering(s.volts(q[0]), 'V')}" for q in quantities]
        lines.append(f"one unit of drift: {engineering(s.drift_current, 'A')}")
        lines.append(f"$\\tau$ = {engineering(s.tau, 's')}, $T$ = {self.sampler.temperature:g}")
        return "\n".join(lines)


def _draw_code(sheet: _Sheet, parts: _Parts, start: Point) -> Point:
    """Draw the cell that makes the code of the state: threshold, buffer or a wire; return its output."""
    x, y = start
    threshold = parts.find(Threshold)
    if threshold is not None:
        w, h = CURVE_BOX
        sheet.curve_box((x + w / 2, y), threshold.table, parts.reach)
        sheet.text(
            (x + w / 2, y + h / 2 + 0.2),
            "threshold" if parts.sampler.model.prior.sparse else "rectifier",
            "center",
            "bottom",
        )
        sheet.text((x + w / 2, y - h / 2 - 0.2), "\n".join(parts.thresholds), "center", "top")
        return x + w, y
    if parts.find(Buffer) is None:
        return start
    out = sheet.follower(start)
    sheet.text((x + 1.6, y + AMP + 0.4), "buffer", "center", "bottom")
    return out


def _draw_neuron(sheet: _Sheet, sampler: Sampler) -> None:
    """Draw one neuron: e_i through the gate, prior, capacitor, noise; the code to the right."""
    parts, s = _Parts(sampler), sampler.scaling
    gate, noise, state = parts.gate, parts.find(ThermalNoise), parts.find(DeviceIntegrator)
    # the likelihood's force
    sheet.text((-0.3, 0), "$e_i$", "right")
    sheet.dot((0, 0), terminal=True)
    transconductance = engineering(s.drift_current / s.volt_e, "S")
    if gate.comparator is None:
        sheet.line((0.1, 0), (3.4, 0))
    else:
        w, h = CURVE_BOX
        sheet.line((0.1, 0), (1.55, 0))
        sheet.multiplier((2, 0))
        sheet.line((2.45, 0), (3.4, 0))
        sheet.curve_box((2, 2.6), gate.comparator, parts.reach)
        sheet.line((2, 2.6 - h / 2), (2, 0.45), arrow="->")
        sheet.text((2, 2.6 + h / 2 + 0.2), "comparator $s'(u_i)$", "center", "bottom")
        sheet.text((2 - w / 2 - 0.25, 2.6 + h / 2), "\n".join(_comparator(parts)), "right", "top")
        sheet.line((6.4, 0), (6.4, 2.6), (2 + w / 2, 2.6), arrow="->")
        sheet.dot((6.4, 0))
    out = sheet.transconductor((3.4, 0), "$-$")
    sheet.text((4.0, -0.95), f"$G_e$ = {transconductance}", "center", "top")
    # what hangs on the neuron's node
    x = 7.9 if noise is None else _draw_noise(sheet, noise) + 1.3
    if gate.prior is None:
        siemens = s.drift_current / s.volt * gate.stiffness * _prior_factor(gate)
        sheet.shunt("Resistor", (x, 0), 2.4, "$R_p$\n" + engineering(1 / siemens, "Ω"))
        x += 2.9
    else:
        amperes = float(gate.prior.values.max()) * s.drift_current * _prior_factor(gate)
        label = f"$I_\\lambda\\,\\mathrm{{sgn}}\\,u_i$\n{engineering(amperes, 'A')}"
        sheet.shunt("SourceControlledI", (x, 0), 2.4, label)
        x += 3.7
    sheet.text((x, 0.3), "$u_i$", "center", "bottom")
    if noise is None:
        brownian = r"$V_1 \sqrt{2 T}\; W(t / \tau)$" + f"\n$V_1$ = {engineering(s.volt, 'V')}"
        _draw_noisy_capacitor(sheet, (x, 0), parts.capacitor, brownian)
    else:
        sheet.shunt("Capacitor", (x, 0), 2.4, parts.capacitor)
        x = _draw_leaks(sheet, state, x)
    start = (x + (5.0 if noise is None else 3.2), 0.0)
    sheet.line(out, start)
    end = _draw_code(sheet, parts, start)
    sheet.line(end, (end[0] + 1.0, 0))
    sheet.dot((end[0] + 1.1, 0), terminal=True)
    wire = parts.find(Threshold) is None and parts.find(Buffer) is None
    sheet.text((end[0] + 1.4, 0), "$s_i = u_i$" if wire else "$s_i$")
    sheet.text((0.2, -2.2) if noise is None else (x, -4.6), parts.units("us", "e"), vertical="top")


def _comparator(parts: _Parts) -> list[str]:
    """Return the labels of the gate's comparator."""
    part = parts.sampler.nonideal.comparator
    extra = [("hysteresis", part.hysteresis, "V"), ("delay", part.delay, "s")]
    return parts.thresholds + [f"{name} {engineering(value, unit)}" for name, value, unit in extra if value > 0]


def _prior_factor(gate: Gate) -> float:
    """Return the prior's current over its design."""
    return 1.0 + gate.hardware.parts.prior.lam_error if isinstance(gate, DeviceGate) else 1.0


def _draw_noisy_capacitor(sheet: _Sheet, top: Point, label: str, noise: str) -> None:
    """Draw the integrating capacitor with a Brownian voltage in series, down to ground."""
    x, y = top
    sheet.dot(top)
    sheet.part("Capacitor", top, (x, y - 1.4))
    sheet.text((x + 0.75, y - 0.75), label)
    sheet.part("Source", (x, y - 1.4), (x, y - 2.8))
    path = np.array([0.0, 0.5, -0.1, 0.45, 0.9, 0.2, 0.5, -0.35, -0.9, -0.3, -0.65, 0.1, 0.0])
    places = np.linspace(-0.36, 0.36, len(path))
    sheet.line(*((x + float(a), y - 2.1 + 0.28 * float(b)) for a, b in zip(places, path, strict=True)), width=0.7)
    sheet.ground((x, y - 2.8))
    sheet.text((x + 0.75, y - 2.15), noise)


def _draw_leaks(sheet: _Sheet, state: DeviceIntegrator | None, x: float) -> float:
    """Draw what loads the capacitor at device level; return where the last of it hangs."""
    assert state is not None
    part = state.hardware.parts.integrator
    if math.isfinite(part.output_resistance):
        x += 2.9
        sheet.shunt(
            "Resistor",
            (x, 0),
            2.4,
            "$R_\\mathrm{leak}$\n" + engineering(state.hardware.ohm(part.output_resistance), "Ω"),
        )
    if part.offset_current > 0:
        x += 2.9
        sheet.shunt("SourceI", (x, 0), 2.4, "$I_\\mathrm{os}$\n" + f"±{engineering(part.offset_current, 'A')}")
    return x


def _draw_noise(sheet: _Sheet, noise: ThermalNoise) -> float:
    """Draw the thermal-noise source under the gate; return where its current joins the rail."""
    hardware, y = noise.hardware, -4.6
    part = hardware.parts.noise
    sheet.text((0, y + 0.45), "thermal-noise source", vertical="bottom")
    label = f"$R_n$\n{engineering(hardware.ohm(part.resistance), 'Ω')}\n{hardware.noise_kelvin:.4g} K"
    sheet.shunt("Resistor", (0.3, y), 2.4, label)
    if part.capacitance > 0:
        sheet.shunt("Capacitor", (2.8, y), 2.4, f"$C_n$\n{engineering(hardware.farad(part.capacitance), 'F')}")
    x = 5.7
    sheet.line((0.3, y), (x, y))
    if part.ac_corner > 0:
        sheet.box((x + 0.6, y), 1.2, 1.0)
        sheet.line(
            (x + 0.2, y - 0.25), (x + 0.45, y - 0.25), (x + 0.75, y + 0.25), (x + 1.0, y + 0.25), color=CURVE, width=1.2
        )
        corner = part.ac_corner / (hardware.parts.corner.resistance * hardware.parts.corner.capacitance)
        sheet.text((x + 0.6, y - 0.7), f"high-pass\n{engineering(corner, 'Hz')}", "center", "top")
        sheet.line((x + 1.2, y), (x + 2.4, y))
        x += 2.4
    out = sheet.transconductor((x, y))
    sheet.text((x + 0.8, y - 0.85), f"$g_m$ = {engineering(noise.gain, 'S')}", "center", "top")
    sheet.line(out, (x + 2.0, y), (x + 2.0, 0))
    sheet.dot((x + 2.0, 0))
    return x + 2.0


def _draw_signal_path(sheet: _Sheet, sampler: Sampler) -> None:
    """Draw the loop: gate and neuron, then a stage for each crossbar, and the gradient's way back."""
    parts = _Parts(sampler)
    crossbars = [cell for cell in sampler.graph.cells if isinstance(cell, (Crossbar, ResistorCrossbar))]
    residual = len(crossbars) == 2
    _draw_loop_neuron(sheet, parts)
    end = _Stage(sheet, parts, crossbars[0], (0.0, 0.0), 1).draw()
    if residual:
        start = (end[0], end[1] - (8.6 if parts.device else 5.6))
        sheet.line(end, start)
        end = _Stage(sheet, parts, crossbars[1], start, -1).draw()
    x, _, height = GATE
    low = end[1] if residual else end[1] - 5.2
    sheet.line(end, (end[0], low), (x, low), (x, -height / 2), arrow="->")
    sheet.text((x + 0.3, -height / 2 - 1.0), "$e_i$" if residual else "$e_i$  ($j = i$)")
    sizes = f"$K$ = {sampler.model.n_latents} latents, $D$ = {sampler.model.n_features} features\n"
    sheet.text((x + 1.4, -4.4), sizes + parts.units("us", *("r" * residual), "e"), vertical="top")


def _draw_loop_neuron(sheet: _Sheet, parts: _Parts) -> None:
    """Draw gate, noise, capacitor and code, which ends at the origin."""
    left, width, height = GATE
    sheet.box((left, 0), width, height)
    force = "e_i" if parts.gate.comparator is None else r"s'(u_i)\,e_i"
    sheet.text((left, 0), "gate\n" + rf"$-[\,{force} + c'(u_i)\,]$", "center")
    x = left + width / 2 + 0.6
    sheet.line((x, 0), (x, 2.0), (left, 2.0), (left, height / 2), arrow="->")
    sheet.dot((x, 0))
    sheet.line((left + width / 2, 0), (CODE, 0))
    x += 3.2
    sheet.text((x, 0.3), "$u_i$", "center", "bottom")
    if parts.device:
        sheet.shunt("SourceI", (x - 2.4, 0), 2.4, "noise")
        sheet.shunt("Capacitor", (x, 0), 2.4, parts.capacitor)
    else:
        _draw_noisy_capacitor(sheet, (x, 0), parts.capacitor, "noise")
    end = _draw_code(sheet, parts, (CODE, 0))
    sheet.line(end, (0, 0))
    sheet.text((-0.3, 0.3), "$s_i$", "center", "bottom")


@dataclass(frozen=True)
class _Stage:
    """One crossbar with what drives and reads it, from ``at`` to the right (d = 1) or to the left (d = -1)."""

    sheet: _Sheet
    parts: _Parts
    cell: Crossbar | ResistorCrossbar
    at: Point
    d: int

    def draw(self) -> Point:
        """Draw the stage; return its output."""
        if isinstance(self.cell, ResistorCrossbar):
            return self._resistors(self.cell)
        return self._transconductors(self.cell)

    def _to(self, x: float, y: float) -> Point:
        return self.at[0] + self.d * x, self.at[1] + y

    def _line(self, *points: Point, color: str = "black", arrow: str | None = None) -> None:
        self.sheet.line(*(self._to(*p) for p in points), color=color, arrow=arrow)

    def _text(
        self, x: float, y: float, text: str, align: str = "left", vertical: str = "center", color: str = "black"
    ) -> None:
        if self.d < 0:
            align = {"left": "right", "right": "left"}.get(align, align)
        self.sheet.text(self._to(x, y), text, align, vertical, color)

    def _node(self, letter: str) -> str:
        """Return a node's name with the index that it has in the picture."""
        index = "j" if letter == "r" or (letter == "e" and self.cell.name == "inhibition") else "i"
        return f"{letter}_{index}"

    @property
    def _ends(self) -> tuple[str, str]:
        source, target = NODES[self.cell.name]
        return self._node(source), self._node(target)

    @property
    def _index(self) -> str:
        source, target = self._ends
        return target[-1] + source[-1]

    def _resistors(self, cell: ResistorCrossbar) -> Point:
        """Draw inverter, pairs of resistors, input and amplifier."""
        sheet, hardware, d = self.sheet, cell.hardware, self.d
        part = hardware.parts.crossbar
        source, target = self._ends
        plus, minus, ghosts, end_x = 5.8, 7.9, (10.6, 11.9), 14.9
        # drivers: +v straight on, -v by way of an inverter above
        ohm = engineering(hardware.ohm(1 / part.g_on), "Ω")
        self._line((0, 0), (plus, 0), (plus, GHOST_ROW - 0.7))
        sheet.dot(self._to(0.5, 0))
        self._line((0.5, 0), (0.5, 2.4))
        sheet.part("Resistor", self._to(0.5, 2.4), self._to(2.5, 2.4))
        self._text(1.5, 2.8, ohm, "center", "bottom")
        out = sheet.amplifier(self._to(2.5, 2.4), d, ohm)
        sheet.line(out, (self._to(minus, 0)[0], out[1]), self._to(minus, GHOST_ROW - 0.7))
        self._text(4.6, 0.95, "inverter", "center", "bottom")
        self._text(plus - 0.2, 0.25, f"$+{source}$", "right", "bottom")
        self._text(minus + 0.25, 0.25, f"$-{source}$", "left", "bottom")
        # the array
        self._rows_and_ghosts(plus - 0.7, end_x, 13.1, ghosts)
        for x, name in ((plus, "G^-"), (minus, "G^+")):
            self._pass_through(x, GHOST_ROW, GHOST)
            self._pass_through(x, ROW, "black")
            self._text(x + 0.85, ROW + 0.75, f"${name}_{{{self._index}}}$")
        self._dimensions(plus - 0.7, 13.1, "pairs of columns")
        corner = hardware.parts.corner.resistance
        lines = [f"{engineering(part.g_off / corner, 'S')} to {engineering(part.g_on / corner, 'S')}"]
        if part.wire_resistance > 0:
            lines.append(f"wires {engineering(hardware.ohm(part.wire_resistance), 'Ω')} per cell")
        if part.driver_resistance > 0:
            lines.append(f"drivers {engineering(hardware.ohm(part.driver_resistance), 'Ω')}")
        self._title(lines)
        # the amplifier, and the input behind its resistor
        amplifier = next(c for c in self.parts.cells if isinstance(c, TransimpedanceSum) and c.crossbar is cell)
        rf = engineering(amplifier.feedback, "Ω")
        out = sheet.amplifier(self._to(end_x, ROW), d, f"$R_f$ = {rf}")
        if amplifier.has_input:
            x = end_x - 1.2
            sheet.dot(self._to(x, ROW))
            sheet.part("Resistor", self._to(x, 0.2), self._to(x, ROW))
            sheet.dot(self._to(x, 0.3), terminal=True)
            self._text(x, 0.65, f"${self._input()}$", "center", "bottom")
            self._text(x - 0.45, -0.3, f"$R_x$ = {rf}", "right")
        return self._output(out, target)

    def _transconductors(self, cell: Crossbar) -> Point:
        """Draw one transconductor per entry, input current and summing resistor."""
        sheet, scaling = self.sheet, self.parts.sampler.scaling
        _, target = self._ends
        column, end_x = 5.8, 14.0
        self._line((0, 0), (column, 0), (column, GHOST_ROW - 0.7))
        self._rows_and_ghosts(column - 0.7, end_x, 9.7, (8.5,))
        self._pass_through(column, GHOST_ROW, GHOST)
        self._pass_through(column, ROW, "black")
        self._text(column + 0.85, ROW + 0.75, f"$g_{{{self._index}}}$")
        self._dimensions(column - 0.7, 9.7, "columns")
        g = np.abs(cell.conductances(scaling))
        low, high = engineering(float(g[g > 0].min()), "S"), engineering(float(g.max()), "S")
        self._title([low if low == high else f"{low} to {high}"])
        biases = [c for c in self.parts.cells if isinstance(c, Input) and c.name == f"{cell.name}_input"]
        if biases:
            unit = engineering(scaling.volts(biases[0].target) / scaling.r_node, "A")
            sheet.shunt("SourceI", self._to(end_x - 3.6, ROW), 2.4, f"$-{self._input()}$\n$\\times$ {unit}")
        sheet.shunt("Resistor", self._to(end_x, ROW), 2.4, f"$R$\n{engineering(scaling.r_node, 'Ω')}")
        return self._output(self._to(end_x, ROW), target, 2.6)

    def _rows_and_ghosts(self, left: float, right: float, ghost_right: float, columns: tuple[float, ...]) -> None:
        """Draw the row, and in grey those parts of the array that stand for the others."""
        self._line((left, GHOST_ROW), (ghost_right, GHOST_ROW), color=GHOST)
        self._line((left, ROW), (right, ROW))
        for x in columns:
            self._line((x, -0.9), (x, GHOST_ROW - 0.7), color=GHOST)
            for y in (ROW, GHOST_ROW):
                self._pass_through(x, y, GHOST)
        self._text(columns[0] - 0.75, -1.2, r"$\cdots$", "center", color=GHOST)
        self._text(columns[0] - 0.75, (ROW + GHOST_ROW) / 2, r"$\vdots$", "center", color=GHOST)

    def _pass_through(self, x: float, y: float, color: str) -> None:
        """Draw what leads from a column to a row."""
        start, end = self._to(x, y + 0.95), self._to(x + 0.95, y)
        if isinstance(self.cell, ResistorCrossbar):
            self.sheet.part("Resistor", start, end, color)
        else:
            along, across = np.array([self.d, -1.0]) * 0.95, np.array([self.d, 1.0]) * 0.24
            base, tip = np.array(start) + 0.3 * along, np.array(start) + 0.75 * along
            corners = [base + across, tip, base - across, base + across]
            self.sheet.line(*((float(a), float(b)) for a, b in corners), color=color)
            self.sheet.line(start, (float(base[0]), float(base[1])), color=color)
            self.sheet.line((float(tip[0]), float(tip[1])), end, color=color)
        for at in (start, end):
            self.sheet.dot(at, color=color)

    def _dimensions(self, left: float, right: float, columns: str) -> None:
        """Say how many rows and columns there are."""
        source, target = (self._size(letter) for letter in NODES[self.cell.name])
        low = GHOST_ROW - 1.1
        self._line((left, low), (right, low), arrow="<->")
        self._text((left + right) / 2, low - 0.2, f"{source} {columns}", "center", "top")
        self._line((left - 0.5, ROW + 0.1), (left - 0.5, GHOST_ROW - 0.1), arrow="<->")
        self._text(left - 0.8, (ROW + GHOST_ROW) / 2, f"{target} rows", "right")

    def _size(self, letter: str) -> str:
        model = self.parts.sampler.model
        return f"$D$ = {model.n_features}" if letter == "r" else f"$K$ = {model.n_latents}"

    def _title(self, lines: list[str]) -> None:
        title = f"{self.cell.name} crossbar: ${MATRICES[self.cell.name]}$"
        self._text(0.3, -0.6, "\n".join([title, *lines]), "left", "top")

    def _input(self) -> str:
        return r"(A^\mathsf{T} x)_j / \sigma^2" if self.cell.name == "inhibition" else "x_j"

    def _output(self, out: Point, name: str, length: float = 1.1) -> Point:
        end = (out[0] + length * self.d, out[1])
        self.sheet.line(out, end)
        self.sheet.text((end[0], end[1] + 0.3), f"${name}$", "center", "bottom")
        return end
