"""Pictures of a sampler's resistor crossbars: what each cell became, or the current that it carries.

Columns come in from above, in pairs +v_i, -v_i; rows leave to the right, into the virtual ground of their amplifier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import matplotlib.style
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory
from numpy.typing import ArrayLike

from circuitlsc.circuit.cells import ResistorCrossbar
from circuitlsc.circuit.cells.resistors import cell_currents
from circuitlsc.drawing.path import NODES
from circuitlsc.drawing.sheet import si_prefix
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.reporting.plotting import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Affine2DBase

    from circuitlsc.sampling.sampler import Sampler

CELL = 0.78  # side of a square, in row pitches
PAIR_GAP = 0.55  # between the pairs of columns, in row pitches
HEAD = 1.45  # from the first row up to the drivers, in row pitches
CROWD = 24  # more nodes than this are not all labelled
FINE = 48  # more columns than this get finer lines
LARGEST_PITCH = 0.2  # inch
LINES = {"features_weights": ("x", "z"), "dual_weights": (r"\phi", "v")}  # letters of the crossbars of a memory's lines
WIDEST, TALLEST = 18.0, 5.0  # inch, of the crossbars of a figure without their colour bars
BESIDE, ABOVE, BELOW = 1.1, 0.5, 0.12  # inch, around each crossbar: row labels and colour bar; title and column labels
BAR_LABEL = 1.1  # inch, the length of a colour bar's label
CONDUCTANCE = LinearSegmentedColormap.from_list("conductance", ["#f1f4f7", "#9ecae1", "#0072B2", "#082a4d"])


def plot_crossbar(cell: ResistorCrossbar, *, voltages: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Draw a crossbar as a grid of wires with one square per resistor, coloured by conductance or by current.

    Parameters
    ----------
    cell : ResistorCrossbar
        A crossbar of a device-level sampler, from ``sampler.graph.cells``.
    voltages : array, shape (2 n_inputs,), or None
        Driver voltages of the columns +v_0, -v_0, +v_1, ..., volt: the squares then show the current through each cell,
        with the resistance of wires and drivers. None shows the conductances.
    ax : Axes or None
        Where to draw; None makes a figure of its own.

    Returns
    -------
    Axes
        Its first collection that is a `PolyCollection` holds the squares, row by row; their array is in the colour
        bar's unit.

    Raises
    ------
    InputError
        If the voltages have another shape, or are not finite.
    """
    if ax is None:
        with matplotlib.style.context(STYLE, after_reset=True):
            return plot_crossbar(cell, voltages=voltages, ax=_figure([cell]).axes[0])
    g = cell.conductances_siemens
    rows, columns = g.shape
    x = _column_places(columns)
    _draw_wires(ax, rows, x)
    if voltages is None:
        squares = _squares(g * 1e6, x)
        squares.set(cmap=CONDUCTANCE, norm=Normalize(0.0, float(g.max()) * 1e6 or 1.0))
        label = "conductance (µS)"
    else:
        current = _currents(cell, voltages)
        reach = float(np.abs(current).max())
        factor, prefix = si_prefix(reach)
        squares = _squares(current / factor, x)
        reach = reach / factor or 1.0
        squares.set(cmap="RdBu_r", norm=Normalize(-reach, reach))
        label = f"current ({prefix}A)"
    grey, width = ("0.55", 0.4) if columns <= FINE else ("0.7", 0.1)
    squares.set(edgecolor=grey, linewidth=width)
    ax.add_collection(squares)
    _label_nodes(cell, ax, x)
    ax.set(xlim=(-0.75, x[-1] + 0.75), ylim=(rows - 0.4, -HEAD - 0.05), aspect="equal")
    ax.axis("off")
    _colour_bar(ax, squares, label)
    return ax


def crossbar_figure(sampler: Sampler, voltages: Mapping[str, ArrayLike] | None = None) -> Figure:
    """Return a figure of every crossbar of a device-level sampler, side by side.

    Parameters
    ----------
    sampler : Sampler
    voltages : mapping or None
        Column voltages by the crossbar's name, shape (2 n_inputs,) each, volt: `column_voltages` returns those of a
        state. The figure then shows currents; without, conductances.

    Raises
    ------
    InputError
        If the sampler has no resistors, or the names or shapes of the voltages are not those of its crossbars.
    """
    cells = [cell for cell in sampler.graph.cells if isinstance(cell, ResistorCrossbar)]
    names = [cell.name for cell in cells]
    if not cells:
        raise InputError(
            f'crossbar_figure() got a sampler with level = "{sampler.level}", which has no resistors. '
            'Build it with level = "device".'
        )
    if voltages is not None and sorted(voltages) != sorted(names):
        raise InputError(
            f"crossbar_figure(): voltages are given for {', '.join(voltages) or 'nothing'}, but the crossbars are "
            f"{', '.join(names)}. Give one array for each."
        )
    with matplotlib.style.context(STYLE, after_reset=True):
        fig = _figure(cells)
        for ax, cell in zip(fig.axes, cells, strict=True):
            plot_crossbar(cell, voltages=None if voltages is None else voltages[cell.name], ax=ax)
            rows, columns = cell.conductances_siemens.shape
            ax.set_title(f"{cell.name}: {rows} $\\times$ {columns} cells", pad=16)
    return fig


def column_voltages(sampler: Sampler, u: ArrayLike) -> dict[str, Array]:
    """Return the column voltages of every resistor crossbar at a state u, by the crossbar's name.

    Parameters
    ----------
    sampler : Sampler
    u : array, shape (n_latents,)
        Model units.

    Returns
    -------
    dict from str to array, shape (2 n_inputs,)
        Volt; columns +v_0, -v_0, +v_1, ...
    """
    u = real_array("u", u)
    if u.shape != (n := sampler.model.n_latents,):
        raise InputError(f"column_voltages(): u has shape {u.shape}, but one state is needed. Pass shape ({n},).")
    if sampler.features is not None:
        raise InputError(
            "column_voltages(): the states of a memory's inputs are in its weights. Use sampler.twin.signals."
        )
    signals = sampler.twin.signals(u)
    out: dict[str, Array] = {}
    for cell in sampler.graph.cells:
        if isinstance(cell, ResistorCrossbar):
            inputs = sampler.graph.inputs(cell)
            pair = [signals[c.name] * sampler.scaling.volts(c.quantity) for c in (inputs["v"], inputs["minus"])]
            out[cell.name] = np.stack(pair, axis=-1).ravel()
    return out


def _currents(cell: ResistorCrossbar, voltages: ArrayLike) -> Array:
    """Return the current through each cell, ampere, shape (rows, columns)."""
    volts = real_array("voltages", voltages)
    g, part = cell.conductances_siemens, cell.hardware.parts.crossbar
    if volts.shape != (g.shape[1],):
        raise InputError(
            f"plot_crossbar(): voltages have shape {volts.shape}, but {cell.name} has {g.shape[1]} columns: +v and -v of "
            f"{g.shape[1] // 2} inputs. Pass shape ({g.shape[1]},)."
        )
    return cell_currents(g, cell.hardware.ohm(part.wire_resistance), cell.hardware.ohm(part.driver_resistance), volts)


def _column_places(columns: int) -> Array:
    """Return where the columns stand, in row pitches: the two of a pair side by side, a gap between pairs."""
    return np.arange(columns) + PAIR_GAP * (np.arange(columns) // 2)


def _squares(values: Array, x: Array) -> PolyCollection:
    """Return one square per cell, row by row."""
    rows, columns = values.shape
    half = CELL / 2
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    places = np.stack(np.broadcast_arrays(x[None, :], np.arange(rows)[:, None]), axis=-1).reshape(rows * columns, 1, 2)
    squares = PolyCollection(list(places + corners), zorder=3)
    squares.set_array(values.ravel())
    return squares


def _draw_wires(ax: Axes, rows: int, x: Array) -> None:
    """Draw a line per row and per column, and the sign of each column's driver at its head."""
    fine = len(x) > FINE
    wire: dict[str, Any] = {"colors": "0.75" if fine else "0.45", "linewidths": 0.25 if fine else 0.7, "zorder": 1}
    ax.vlines(x, -0.85, rows - 1, **wire)
    ax.hlines(np.arange(rows), x[0], x[-1] + 0.7, **wire)
    sign: dict[str, Any] = {"colors": "0.1", "linewidths": 0.45 if fine else 0.9, "zorder": 2}
    ax.hlines(np.full(len(x), -1.15), x - 0.26, x + 0.26, **sign)
    ax.vlines(x[::2], -1.41, -0.89, **sign)


def _label_nodes(cell: ResistorCrossbar, ax: Axes, x: Array) -> None:
    """Name the rows by their output nodes and the pairs of columns by their input nodes; of a crowd, every so many."""
    source, target = {**NODES, **LINES}.get(cell.name, ("in", "out"))  # any other crossbar: its pins
    rows, pairs = cell.matrix.shape
    right: dict[str, Any] = {"xytext": (3, 0), "va": "center_baseline"}
    above: dict[str, Any] = {"xytext": (0, 3), "va": "bottom", "ha": "center"}
    named = [(target, j, (x[-1] + 0.7, float(j)), right) for j in _some(rows)]
    named += [(source, i, ((x[2 * i] + x[2 * i + 1]) / 2, -HEAD), above) for i in _some(pairs)]
    for name, k, at, how in named:
        name = name if len(name) == 1 or name in LINES["dual_weights"] else rf"\mathrm{{{name}}}"
        size = matplotlib.rcParams["ytick.labelsize"]
        ax.annotate(f"${name}_{{{k}}}$", at, textcoords="offset points", fontsize=size, **how)


def _some(n: int) -> range:
    """Return which of n nodes are named: a power of 2 apart that leaves at most `CROWD`."""
    return range(0, n, 2 ** max(0, math.ceil(math.log2(n / CROWD))))


def _colour_bar(ax: Axes, squares: PolyCollection, label: str) -> None:
    """Add a colour bar as high as the crossbar, at a fixed distance from it in inches."""
    fig = ax.figure
    right = fig.dpi_scale_trans + ScaledTranslation(1.0, 0.0, cast("Affine2DBase", ax.transAxes))
    bottom, top = ax.get_ylim()
    first = (bottom + CELL / 2) / (bottom - top)  # the bar begins where the first row does
    bar = ax.inset_axes((0.3, 0.0, 0.09, first), transform=blended_transform_factory(right, ax.transAxes))
    fig.colorbar(squares, cax=bar).set_label(label)
    bar.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _figure(cells: list[ResistorCrossbar]) -> Figure:
    """Return a figure with empty axes for crossbars side by side, one pitch for all of them."""
    shapes = [cell.conductances_siemens.shape for cell in cells]
    sizes = [(float(_column_places(columns)[-1]) + 1.5, rows + HEAD - 0.35) for rows, columns in shapes]
    pitch = min(LARGEST_PITCH, WIDEST / sum(w for w, _ in sizes), TALLEST / max(h for _, h in sizes))  # inch
    sizes = [(w * pitch, h * pitch) for w, h in sizes]
    tallest = max(h for _, h in sizes)
    below = max(BELOW, (BAR_LABEL - min(h for _, h in sizes)) / 2 + 0.15)
    width, height = sum(w + BESIDE for w, _ in sizes), ABOVE + tallest + below
    fig, x = Figure(figsize=(width, height)), 0.05
    for w, h in sizes:
        fig.add_axes((x / width, 1 - (ABOVE + h) / height, w / width, h / height))
        x += w + BESIDE
    return fig
