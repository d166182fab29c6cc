"""What all figures share: style, colours, legends; every function draws into the axes that it is given.

The same everywhere: the circuit is solid and coloured, NumPy is black and dashed, the exact posterior is grey. Error bars
are two Monte-Carlo standard errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatterMathtext, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from circuitlsc.io.arrays import Array

STYLE = str(files("circuitlsc.reporting") / "circuitlsc.mplstyle")
#: The style's, by value: "C0" would be looked up when a figure is saved, outside the style. Okabe and Ito's, without yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C564B")
LUMA, BRIGHTEST = (0.2126, 0.7152, 0.0722), 0.5  # of colours out of a map: yellow is not seen on white
MOST_POINTS = 5000  # of one axes, drawn as vectors
_MARKUP = re.compile(r"\$|\\(?:mathrm)?|[{}]")
_SIGNS = {r"\langle": "<", r"\rangle": ">", r"\pm": "±"}
SMALL = 1e-4  # of a logarithmic axis: below, labels are powers of ten
DECADES = 2.1  # of one, up to which 2 and 5 of a decade are labelled, too
FEWEST, MOST_NUMBERED = 4, 12  # latents across axes: room for so many at least, and each with its number


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of that size in inches; what is drawn within the block has the package's style."""
    with matplotlib.style.context(STYLE, after_reset=True):
        yield Figure(figsize=(width, height), layout="constrained")


def distinct_colors(n: int) -> list[str]:
    """Return n colours, no two alike: the style's, or as many out of a colour map, not too bright for white."""
    if n <= len(COLORS):
        return list(COLORS[:n])
    colors = matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, n))[:, :3]
    return [to_hex(color * min(1.0, BRIGHTEST / (color @ LUMA))) for color in colors]


def legend_above(ax: Axes, **options: Any) -> None:
    """Put the legend above the axes, in three columns if no other number is given."""
    ax.legend(**{"ncols": 3, "loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0, **options})


def numbers(rows: Iterable[Any], *names: str) -> Array:
    """Return fields of many rows, None as nan: a line for each name."""
    return np.array([[getattr(row, name) for name in names] for row in rows], dtype=float).T


def numbered(ax: Axes, n: int, what: str = "latent") -> None:
    """Write the numbers of n latents, or others, below the axes: whole, and apart from each other."""
    middle, half = (n - 1) / 2, max(n, FEWEST) / 2 + 0.2
    ax.set(xlabel=what, xlim=(middle - half, middle + half))
    if n <= MOST_NUMBERED:
        ax.set_xticks(range(n))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))


def decades(ax: Axes) -> None:
    """Label logarithmic axes so that labels do not touch: decades, and 2 and 5 of each where there are few."""
    for axis, scale, ends in ((ax.xaxis, ax.get_xscale(), ax.get_xlim()), (ax.yaxis, ax.get_yscale(), ax.get_ylim())):
        if scale == "log":
            near = np.log10(ends[1] / ends[0]) < DECADES
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}") if ends[0] > SMALL else LogFormatterMathtext())
            axis.set_minor_formatter(NullFormatter())


def probable(value: Array, error: Array) -> Array:
    """Return error bars (below, above) of probabilities, cut where these end."""
    return np.stack([np.minimum(error, value), np.minimum(error, 1 - value)]).clip(0)


def plot_against(exact: Array, circuit: Array, ax: Axes, error: Array | None = None) -> None:
    """Draw numbers of the circuit over those that they should be, with the line on which they are equal."""
    ends = [min(exact.min(), circuit.min()), max(exact.max(), circuit.max())]
    ax.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
    ax.errorbar(exact, circuit, error, fmt="o", ms=2.5, lw=0.7, color="C0", label="circuit")


def save_figure(fig: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, without a date in it.

    An SVG has no background, so that a page shows its own, and of each of its axes at most 5,000 points as vectors.
    """
    vector = path.suffix == ".svg"
    metadata = {"Date": None, "Creator": "circuitlsc"} if vector else {"Software": "circuitlsc"}
    if vector:
        for ax in fig.axes:
            _rasterize(ax)
    # its resolution, and colours that are looked up when they are drawn
    with matplotlib.style.context([STYLE, {"svg.hashsalt": "circuitlsc"}], after_reset=True):
        fig.savefig(path, metadata=metadata, transparent=vector)
    fig.set_layout_engine("none")  # it is laid out: another file of it has everything in the same places


def described(fig: Figure) -> str:
    """Return what the axes of a figure show, by their labels: for whoever does not see it."""
    panels = [_panel(ax) for ax in fig.axes]
    return "; ".join(dict.fromkeys(panel for panel in panels if panel))


def _panel(ax: Axes) -> str:
    across, up, title = (_words(text) for text in (ax.get_xlabel(), ax.get_ylabel(), ax.get_title("left")))
    shown = f"{up} over {across}" if across and up else across or up
    return f"{title}: {shown}" if title and shown else title or shown


def _words(text: str) -> str:
    """Return a label without its mathematical markup."""
    for markup, sign in _SIGNS.items():
        text = text.replace(markup, sign)
    return " ".join(_MARKUP.sub("", text).split())


def _rasterize(ax: Axes) -> None:
    """Draw so many parts as pixels, those with the most points first, that no more than 5,000 points are left."""
    parts = sorted(((n, artist) for artist in ax.findobj() if (n := _points(artist))), key=lambda part: part[0])
    total = 0
    for n, artist in parts:
        total += n
        if total > MOST_POINTS:
            artist.set_rasterized(True)


def _points(artist: Artist) -> int:
    """Return of how many points a part of a figure consists; of a picture none, which is pixels anyway."""
    if isinstance(artist, Line2D):
        return int(np.shape(artist.get_xydata())[0])
    if isinstance(artist, Patch):
        return int(np.shape(artist.get_path().vertices)[0])
    if isinstance(artist, Collection):
        lengths = [int(np.shape(path.vertices)[0]) for path in artist.get_paths()]
        return max(int(np.shape(artist.get_offsets())[0]), sum(lengths))
    return 0
