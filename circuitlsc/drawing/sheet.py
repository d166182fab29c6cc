"""What schematics are drawn with: a sheet with absolute coordinates, numbers with SI prefixes, and a sampler's parts.

Lengths are schemdraw's units: a resistor's body is one long.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from circuitlsc.circuit.cells import (
    Buffer,
    DeviceIntegrator,
    Gate,
    Integrator,
    Noise,
    Threshold,
    Transconductor,
)
from circuitlsc.circuit.cells.base import Cell
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.install import how_to_install, requirements
from circuitlsc.model.lca import lca_model
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.stream import Stream

if TYPE_CHECKING:
    from circuitlsc.sampling.sampler import Sampler

Point = tuple[float, float]
Found = TypeVar("Found", bound=Cell)

PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
INCH = 0.3  # per unit
FONT, LINE = 8.0, 0.9  # points
PITCH = 0.52  # of lines of text
CURVE = "#0072B2"  # transfer curves in boxes
CURVE_BOX = (2.2, 1.5)  # width and height of a box with a transfer curve
OVER = 1.25  # times the height of its full scale, a curve leaves its box
MARGIN = 0.3  # around a drawing
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


def _import_schemdraw(caller: str) -> tuple[Any, Any]:
    """Import schemdraw and its elements, or say how to install them."""
    try:
        return importlib.import_module("schemdraw"), importlib.import_module("schemdraw.elements")
    except ImportError:
        raise InputError(
            f"{caller} needs schemdraw, which is not installed. Install it with: {how_to_install(*requirements('schematic'))}"
        ) from None


class Sheet:
    """A drawing in absolute coordinates: every part stands where it is put, every label where it collides with nothing."""

    def __init__(self, caller: str) -> None:
        self._schemdraw, self._elements = _import_schemdraw(caller)
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

    def curve_box(self, centre: Point, table: Table, reach: float, full: float | None = None) -> None:
        """Draw a rectangle that shows a table between -reach and reach; with ``full``, its height, and no more than that."""
        (x, y), (w, h) = centre, CURVE_BOX
        self.box(centre, w, h)
        u = np.linspace(-reach, reach, 241)
        if full is not None:  # its corners may be sharper than that
            u = np.union1d(u, table.knots[np.abs(table.knots) < reach])
        v = table(u)
        v = v / (full or float(np.abs(v).max()) or 1.0)
        u, v = _shown(u, v)
        lift = -0.3 * h if v.min() > -0.1 else 0.0  # a code or gate that is never negative
        scale = (0.62 if lift else 0.36) * h
        self.line((x - 0.42 * w, y + lift), (x + 0.42 * w, y + lift), color="#999999", width=0.5)
        self.line((x, y - 0.4 * h), (x, y + 0.4 * h), color="#999999", width=0.5)
        points = zip(x + 0.42 * w * u / reach, y + lift + scale * v, strict=True)
        self.line(*((float(a), float(b)) for a, b in points), color=CURVE, width=1.2)

    def waveform(self, at: Point, interpolate: str) -> None:
        """Draw what a stream of inputs looks like: steps, or lines; ``at`` is its lower left corner, 1.3 by 0.6 large."""
        levels = np.array([0.25, 1.0, 0.0, 0.65])
        v = levels.repeat(2) if interpolate == "hold" else levels
        u = np.arange(len(levels) + 1).repeat(2)[1:-1] if interpolate == "hold" else np.arange(len(v))
        points = zip(at[0] + 1.3 * u / u.max(), at[1] + 0.6 * v, strict=True)
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


def _shown(u: Array, v: Array) -> tuple[Array, Array]:
    """Return the part of a curve around u = 0 that stays within `OVER`, with its ends there."""
    out, origin = np.flatnonzero(np.abs(v) > OVER), int(np.searchsorted(u, 0.0))
    low, high = max(out[out < origin], default=-1), min(out[out >= origin], default=len(u))
    u, v = u.copy(), v.copy()
    for outside, inside in ((low, low + 1), (high, high - 1)):
        if 0 <= outside < len(u):
            edge = math.copysign(OVER, v[outside])
            u[outside] = u[inside] + (u[outside] - u[inside]) * (edge - v[inside]) / (v[outside] - v[inside])
            v[outside] = edge
    return u[max(low, 0) : high + 1], v[max(low, 0) : high + 1]


@dataclass(frozen=True)
class Parts:
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
    def kind(self) -> str:
        """The kind of the dynamics."""
        return self.sampler.dynamics.kind

    @property
    def state(self) -> Integrator:
        """The neurons."""
        return self.sampler.graph.integrator

    @property
    def momentum(self) -> Integrator | None:
        """The second integrators of underdamped dynamics."""
        return next((cell for cell in self.sampler.graph.integrators if cell is not self.state), None)

    @property
    def velocity(self) -> str:
        """The label of the transconductor from momentum to neuron."""
        cell = self.find(Transconductor)
        assert cell is not None
        s = self.sampler.scaling
        return f"$G_\\omega$ = {engineering(cell.gain * s.drift_current / s.volt, 'S')}"

    @property
    def noise(self) -> Noise | None:
        """The noise, if there is any."""
        return self.sampler.graph.noise

    @property
    def stream(self) -> Stream | None:
        """The inputs that follow each other, if there are several."""
        return self.sampler.stream

    @property
    def gate(self) -> Gate:
        """The gate."""
        gate = self.find(Gate)
        assert gate is not None
        return gate

    def capacitor(self, state: Integrator) -> str:
        """Return the label of an integrator's capacitor."""
        c = self.sampler.scaling.c_int * state.capacitor
        name = "$C_\\mathrm{int}$" if state is self.state else "$C_\\mathrm{int} \\sqrt{m}$"
        return f"{name}\n" + engineering(state.hardware.farad(c) if isinstance(state, DeviceIntegrator) else c, "F")

    def friction(self, momentum: Integrator) -> str:
        """Return the label of a momentum's friction."""
        s = self.sampler.scaling
        ohm = s.tau / (momentum.conductance * s.c_int)
        if isinstance(momentum, DeviceIntegrator):
            ohm = momentum.hardware.ohm(ohm)
        return f"friction\n$R_\\gamma$ = {engineering(ohm, 'Ω')}"

    @property
    def theta(self) -> float:
        """Where the code's thresholds are, in model units; 0 if it has none."""
        model = self.sampler.model
        return lca_model(model).prior.lam if self.kind == "lca" else model.prior.threshold

    @property
    def thresholds(self) -> list[str]:
        """The labels of the threshold, if there is one, and of the comparators' width."""
        volt, u0 = self.sampler.scaling.volt, self.theta
        name = r"\theta" if self.kind == "lca" else "u_0"
        level = [f"${name}$ = {engineering(u0 * volt, 'V')}"] if u0 > 0 else []
        return [*level, f"$w$ = {engineering(self.sampler.plan.width * volt, 'V')}"]

    @property
    def reach(self) -> float:
        """How far transfer curves are drawn, in model units."""
        return 2.2 * self.theta or 12 * self.sampler.plan.width

    def units(self, *quantities: str) -> str:
        """Return the block of text that says what a unit of each quantity is, and tau, T, mass and friction."""
        s, dynamics = self.sampler.scaling, self.sampler.dynamics
        lines = [f"one unit of ${', '.join(q)}$: {engineering(s.volts(q[0]), 'V')}" for q in quantities]
        lines.append(f"one unit of drift: {engineering(s.drift_current, 'A')}")
        noisy = "" if self.noise is None else f", $T$ = {dynamics.T:g}"
        lines.append(f"$\\tau$ = {engineering(s.tau, 's')}" + noisy)
        if self.momentum is not None:
            assert dynamics.mass is not None
            lines.append(f"$m$ = {dynamics.mass:.3g}, $\\gamma$ = {dynamics.friction:.3g}")
            lines.append(f"$\\omega = 1/\\sqrt{{m}}$ = {dynamics.mass**-0.5:.3g}")
        return "\n".join(lines)


def draw_code(sheet: Sheet, parts: Parts, start: Point) -> Point:
    """Draw the cell that makes the code of the state: threshold, buffer or a wire; return its output."""
    x, y = start
    threshold = parts.find(Threshold)
    if threshold is not None:
        w, h = CURVE_BOX
        sheet.curve_box((x + w / 2, y), threshold.table, parts.reach)
        name = "threshold" if parts.sampler.model.prior.sparse else "rectifier"
        if parts.kind == "lca":
            name = f"{parts.sampler.dynamics.threshold} threshold"
        sheet.text((x + w / 2, y + h / 2 + 0.2), name, "center", "bottom")
        sheet.text((x + w / 2, y - h / 2 - 0.2), "\n".join(parts.thresholds), "center", "top")
        return x + w, y
    if parts.find(Buffer) is None:
        return start
    out = sheet.follower(start)
    sheet.text((x + 1.6, y + AMP + 0.4), "buffer", "center", "bottom")
    return out


def draw_noisy_capacitor(sheet: Sheet, top: Point, label: str, noise: str) -> None:
    """Draw an integrating capacitor with a Brownian voltage in series, down to ground."""
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


def check_path(caller: str, path: Path) -> None:
    """Raise InputError unless a file can be written there."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{caller}: {str(path)!r} ends in {path.suffix!r}, which cannot be drawn. Give .svg or .png.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{caller}: the folder {path.absolute().parent} does not exist. Make it first.")


def save(fig: Figure, path: Path) -> None:
    """Write a figure in full or not at all, without a date in it."""
    svg = path.suffix.lower() == ".svg"
    data = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "circuitlsc", "savefig.dpi": 300}):
        metadata = {"Date": None, "Creator": "circuitlsc"} if svg else {"Software": "circuitlsc"}
        fig.savefig(data, format="svg" if svg else "png", metadata=metadata)
    with whole_file(path) as file:
        file.write(data.getvalue())
