"""What schematics are drawn with: a sheet with absolute coordinates, and numbers with SI prefixes.

Lengths are schemdraw's units: a resistor's body is one long.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.install import requirements
from circuitlsc.model.images import _extra
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.reporting.plotting import STYLE

Point = tuple[float, float]

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


def span(values: Array, unit: str) -> str:
    """Return the smallest and the largest size of some values, or their one size."""
    low, high = (engineering(float(v), unit) for v in (np.abs(values).min(), np.abs(values).max()))
    return low if low == high else f"{low} to {high}"


class Sheet:
    """A drawing in absolute coordinates: every part stands where it is put, every label where it collides with nothing."""

    def __init__(self, caller: str) -> None:
        (needed,) = requirements("schematic")
        self._schemdraw, self._elements = (_extra(name, needed, caller) for name in ("schemdraw", "schemdraw.elements"))
        self._figure = Figure()
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._drawing = self._schemdraw.Drawing(canvas=self._axes, show=False)
        self._drawing.config(fontsize=FONT, lw=LINE, inches_per_unit=INCH)
        self._origin, self._d = (0.0, 0.0), 1

    def placed(self, origin: Point, d: int = 1) -> Sheet:
        """Return the same sheet with another origin, from which x grows to the right (d = 1) or to the left (d = -1)."""
        other = copy.copy(self)
        other._origin, other._d = self.on_page(origin), self._d * d
        return other

    def on_page(self, at: Point) -> Point:
        """Return where a point is in the coordinates of the whole sheet."""
        return self._origin[0] + self._d * at[0], self._origin[1] + at[1]

    def figure(self) -> Figure:
        """Draw everything and return the figure, cut to what is on it."""
        self._drawing.draw(show=False)
        ax, fig = self._axes, self._figure
        for wire in ax.lines:
            wire.set_snap(False)  # to pixels: wires that meet would not
        self._frame(lines := Bbox(ax.dataLim.get_points()))
        renderer = FigureCanvasAgg(fig).get_renderer()  # type: ignore[no-untyped-call]
        texts = [text.get_window_extent(renderer) for text in ax.texts]  # as large as they will be: the scale stays
        self._frame(Bbox.union([lines, *(box.transformed(ax.transData.inverted()) for box in texts)]).padded(MARGIN))
        return fig

    def _frame(self, box: Bbox) -> None:
        self._axes.set(xlim=box.intervalx, ylim=box.intervaly)
        self._figure.set_size_inches(INCH * box.width, INCH * box.height)

    def _add(self, element: Any, color: str = "black") -> None:
        self._drawing.add(element.color(color))

    def _add_segment(self, segment: Any, color: str = "black") -> None:
        element = self._elements.Element().at((0, 0)).theta(0)
        element.segments.append(segment)
        self._add(element, color)

    def line(self, *points: Point, color: str = "black", arrow: str | None = None, width: float = LINE) -> None:
        """Draw a wire through points."""
        ends = [self.on_page(point) for point in points]
        self._add_segment(
            self._schemdraw.Segment(ends, arrow=arrow, lw=width, arrowwidth=0.22, arrowlength=0.32), color
        )

    def text(self, at: Point, text: str, align: str = "left", vertical: str = "center", color: str = "black") -> None:
        """Write lines of text; ``vertical`` says where their block is held: top, center or bottom."""
        if self._d < 0:
            align = {"left": "right", "right": "left"}.get(align, align)
        (x, y), lines = self.on_page(at), text.split("\n")
        rise = (len(lines) - 1) * PITCH
        first = {"top": -0.36, "center": rise / 2 - 0.13, "bottom": rise}[vertical]
        for k, line in enumerate(lines):  # each by itself, because mathematics would disturb a block's spacing
            self._axes.text(x, y + first - k * PITCH, line, ha=align, va="baseline", color=color, fontsize=FONT)

    def part(self, name: str, start: Point, end: Point, color: str = "black") -> None:
        """Draw a part with two terminals, with its leads."""
        self._add(getattr(self._elements, name)().endpoints(self.on_page(start), self.on_page(end)), color)

    def dot(self, at: Point, *, terminal: bool = False, color: str = "black") -> None:
        """Draw a junction, or a terminal as an open circle."""
        self._add(self._elements.Dot(open=terminal, radius=0.1 if terminal else 0.08).at(self.on_page(at)), color)

    def ground(self, at: Point) -> None:
        """Draw a ground with its lead."""
        self._add(self._elements.Ground().at(self.on_page(at)).theta(0))

    def shunt(self, name: str, top: Point, label: str, length: float = 2.4) -> None:
        """Draw a part from a node on a rail down to ground, with a label to its right."""
        x, y = top
        self.dot(top)
        ends = (top, (x, y - length))
        self.part(name, *(ends[::-1] if name == "SourceI" else ends))  # its current goes into the node
        self.ground((x, y - length))
        self.text((x + 0.75, y - length / 2), label)

    def op_amp(self, inverting: Point, *, flip: bool = False) -> Point:
        """Draw an op-amp by its inverting input, which is above the other, or below it if flipped; return its output."""
        element = self._elements.Opamp().scale(AMP).theta(0 if self._d > 0 else 180)
        if (self._d < 0) != flip:
            element = element.flip()
        self._add(element.anchor("in1").at(self.on_page(inverting)))
        return inverting[0] + AMP_LENGTH, inverting[1] + (AMP_INPUT if flip else -AMP_INPUT)

    def amplifier(self, node: Point, label: str) -> Point:
        """Draw an inverting amplifier whose virtual ground is ``node``, with its feedback resistor; return its output."""
        x, y = node
        self.dot(node)
        inverting = (x + 0.6, y)
        self.line(node, inverting)
        out = self.op_amp(inverting)
        self.line((x + 0.6, y - 2 * AMP_INPUT), (x + 0.2, y - 2 * AMP_INPUT))
        self.ground((x + 0.2, y - 2 * AMP_INPUT))
        end = (out[0] + 0.5, out[1])
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

    def box(self, centre: Point, width: float, height: float, text: str = "") -> None:
        """Draw a rectangle with a text in its middle."""
        x, y, w, h = *centre, width / 2, height / 2
        self.line((x - w, y - h), (x - w, y + h), (x + w, y + h), (x + w, y - h), (x - w, y - h))
        if text:
            self.text(centre, text, "center")

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
        u, v = np.arange(4), np.array([0.25, 1.0, 0.0, 0.65])
        if interpolate == "hold":
            u, v = np.arange(5).repeat(2)[1:-1], v.repeat(2)
        points = zip(at[0] + 1.3 * u / u.max(), at[1] + 0.6 * v, strict=True)
        self.line(*((float(a), float(b)) for a, b in points), color=CURVE, width=1.2)

    def multiplier(self, centre: Point) -> None:
        """Draw a circle with a cross."""
        x, y = centre
        self._add_segment(self._schemdraw.SegmentCircle(self.on_page(centre), 0.45))
        for s in (-1, 1):
            self.line((x - 0.32, y - 0.32 * s), (x + 0.32, y + 0.32 * s))

    def follower(self, start: Point) -> Point:
        """Draw an op-amp as a buffer to the right; return its output, on the level of its input."""
        x, y = start
        plus = (x + 0.8, y + AMP_INPUT)
        self.line(start, (x + 0.5, y), (x + 0.5, y + AMP_INPUT), plus)
        out = self.op_amp((x + 0.8, y - AMP_INPUT), flip=True)
        end = (out[0] + 0.4, y)
        self.line(out, end)
        self.dot(end)
        self.line(end, (end[0], y - 1.4), (x + 0.5, y - 1.4), (x + 0.5, y - AMP_INPUT), (x + 0.8, y - AMP_INPUT))
        return end


def _shown(u: Array, v: Array) -> tuple[Array, Array]:
    """Return the part of a curve around u = 0 that stays within `OVER`, with its ends there."""
    out, origin = np.flatnonzero(np.abs(v) > OVER), int(np.searchsorted(u, 0.0))
    shown = slice(max(out[out < origin], default=0), min(out[out >= origin], default=len(u)) + 1)
    return u[shown], np.clip(v[shown], -OVER, OVER)


def drawn(caller: str, draw: Callable[[Sheet], object]) -> Figure:
    """Return the figure of what ``draw`` puts on a sheet; ``caller`` is named if schemdraw is missing."""
    with matplotlib.style.context(STYLE, after_reset=True):
        sheet = Sheet(caller)
        draw(sheet)
        return sheet.figure()


def save(caller: str, draw: Callable[[], Figure], path: Path) -> None:
    """Write what ``draw`` returns in full or not at all, without a date in it; raise InputError if it cannot be."""
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise InputError(f"{caller}: {str(path)!r} ends in {path.suffix!r}, which cannot be drawn. Give .svg or .png.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{caller}: the folder {path.absolute().parent} does not exist. Make it first.")
    fig, data = draw(), BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "circuitlsc", "savefig.dpi": 300}):
        metadata = {"Date": None, "Creator": "circuitlsc"} if suffix == ".svg" else {"Software": "circuitlsc"}
        fig.savefig(data, format=suffix[1:], metadata=metadata)
    with whole_file(path) as file:
        file.write(data.getvalue())
