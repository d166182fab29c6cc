"""Drawing of Figures 3, 4a and 5 of Fang et al. 2022: software as lines and areas, what a circuit measured as marks.

One colour for each energy throughout: L1 (DSC and LCA), hard-threshold LCA, L0-LSC. Error bars are two standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.reporting.plotting import STYLE
from examples.paper.figures import DICTIONARIES, ActivityCurve, Coefficients, Figure3Data, Figure4aData, Figure5Data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_L1, _HARD, _L0 = "#D55E00", "#009E73", "#0072B2"  # of the style; "C1" would be looked up when it no longer holds
COLORS = {"L1": _L1, "DSC": _L1, "LCA": _L1, "LCA hard": _HARD, "L0-LSC": _L0}
MARKS = {"L1": "o", "DSC": "o", "LCA": "s", "LCA hard": "^", "L0-LSC": "D"}
PANEL = {"L1": 0, "DSC": 0, "LCA": 0, "LCA hard": 1, "L0-LSC": 2}  # column of Figure 5
TUNED = ("-", (0, (1, 1.2)))  # the two lambdas of its right panel
DASHES = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))  # one for each data set of Figure 4a
DPI = 200
_FIGURE3, _SIDE, _PITCH = (7.15, 2.28), 1.94, 2.14  # inches: figure, side of a box, from one box to the next
FLOOR = 1.5e-3  # of the densities of Figure 5


def letter(ax: Axes, name: str, title: str) -> None:
    """Write the panel's letter, bold, and its title, as one line."""
    ax.set_title(rf"$\bf{{{name}}}$  {title}")


# --- Figure 3 ---


def figure3(data: Figure3Data) -> Figure:
    """Draw the dictionary's atoms, and a sample without and with noise on one grey scale."""
    side, n_atoms = math.isqrt(len(data.A)), data.A.shape[1]
    n_rows = max(k for k in range(1, math.isqrt(n_atoms) + 1) if n_atoms % k == 0)
    n_columns = n_atoms // n_rows
    reach = float(max(np.abs(data.clean).max(), np.abs(data.noisy).max()))
    texts = [rf"$\lambda$ = {data.lam:g}, $\pi$ = {data.pi:g}, $\sigma$ = {sigma:g}" for sigma in (0.0, data.sigma)]
    with matplotlib.style.context(STYLE, after_reset=True):
        fig = Figure(figsize=_FIGURE3, dpi=DPI)
        whole = _box(fig, 0)
        whole.axis("off")
        letter(whole, "a", "dictionary")
        place = whole.get_position()
        low = place.y1 - place.height * n_rows / n_columns
        edges = {"left": place.x0, "right": place.x1, "bottom": low, "top": place.y1}
        grid = fig.add_gridspec(n_rows, n_columns, wspace=0.12, hspace=0.12, **edges)
        for k in range(n_atoms):
            _image(data.A[:, k].reshape(side, side), float(data.A.max()), fig.add_subplot(grid[k]))
        for k, name, image, text in zip((1, 2), "bc", (data.clean, data.noisy), texts, strict=True):
            ax = _box(fig, k)
            shown = _image(image.reshape(side, side), reach, ax)
            letter(ax, name, f"sample, {text}")
        bar = fig.colorbar(shown, cax=_box(fig, 3, 0.09), ticks=MaxNLocator(4, steps=[1, 2, 5, 10]))
        bar.set_label("pixel (data units)", labelpad=2)
    return fig


def _box(fig: Figure, k: int, width: float = _SIDE) -> Axes:
    """Return the k-th of the boxes that stand side by side in Figure 3; width in inches."""
    w, h = _FIGURE3
    return fig.add_axes((0.06 / w + k * _PITCH / w, 0.06 / h, width / w, _SIDE / h))


def _image(image: Array, reach: float, ax: Axes) -> AxesImage:
    """Draw an image in grey, black at -reach and white at reach."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=0.5, color="0.5")
    return ax.imshow(image, cmap="gray", vmin=-reach, vmax=reach, interpolation="nearest")


# --- Figure 4a ---


def figure4a(data: Figure4aData, measured: Sequence[ActivityCurve] = ()) -> Figure:
    """Draw activity against lambda, and activity against the data's pi.

    Parameters
    ----------
    data : Figure4aData
        The software's curves.
    measured : sequence of ActivityCurve
        What circuits did; a MAP circuit belongs to the left panel, an L0-LSC to both.
    """
    with matplotlib.style.context(STYLE, after_reset=True):
        fig = Figure(figsize=(7.0, 3.5), dpi=DPI, layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=[1.45, 1], sharey=True)
        plot_sweep(data, measured, left)
        plot_given(data, measured, right)
        fig.legend(handles=_key(data), loc="outside lower center", ncols=3, columnspacing=2.5)
    return fig


def plot_sweep(data: Figure4aData, measured: Sequence[ActivityCurve], ax: Axes) -> Axes:
    """Draw the share of active coefficients against lambda: one colour for each system, one dash for each data set."""
    pis = sorted({c.pi for c in data.swept}, reverse=True)
    if strange := {c.pi for c in measured if c.pi not in pis and c.system != "L0-LSC"}:
        raise InputError(f"figure4a: measured curves have pi = {sorted(strange)}, software has {pis}. Measure those.")
    dash = dict(zip(pis, DASHES, strict=False))
    for pi in pis:
        ax.axhline(pi, color="0.7", lw=0.7, zorder=0)
        ax.text(1.0, pi, rf"$\pi$ = {pi:g}", color="0.35", ha="right", va="bottom", transform=ax.get_yaxis_transform())
    for c in data.swept:
        ax.fill_between(c.lam, c.activity - 2 * c.se, c.activity + 2 * c.se, color=COLORS[c.system], alpha=0.2, lw=0)
        ax.plot(c.lam, c.activity, color=COLORS[c.system], ls=dash[c.pi])
        if c.system == "L1" and (crossing := c.crossing()) is not None:
            ax.plot([crossing[0]] * 2, [0, c.pi], color=COLORS["L1"], lw=0.7, ls=":")
            ax.plot(crossing[0], c.pi, "x", color="k", ms=5, mew=1.2, zorder=4)
    for c in data.given:
        if c.pi in pis:
            ax.errorbar(c.lam, c.activity, 2 * c.se, fmt=MARKS[c.system], color=COLORS[c.system], zorder=5)
    for c in measured:
        if c.pi in pis:
            _marks(c, c.lam, ax)
    ax.legend(handles=_legend(measured), loc="lower left", borderaxespad=0.1)
    letter(ax, "a", "every data set has its own $\\lambda$")
    ax.set(xscale="log", xlabel=r"$\lambda$", ylabel="share of active coefficients", ylim=(0, None))
    return ax


def plot_given(data: Figure4aData, measured: Sequence[ActivityCurve], ax: Axes) -> Axes:
    """Draw the share of active coefficients against the data's pi: L0-LSC is given pi, L1 one lambda for all."""
    for label, ls in zip(dict.fromkeys(c.label for c in data.tuned), TUNED, strict=False):
        points = [c for c in data.tuned if c.label == label]
        ax.plot([c.pi for c in points], [c.activity[0] for c in points], color=COLORS["L1"], ls=ls, label=label)
    end = max(c.pi for c in data.given) * 1.1
    ax.plot([0, end], [0, end], color="0.6", lw=0.8, zorder=0)
    for c in data.given:
        ax.errorbar(c.pi, c.activity, 2 * c.se, fmt=MARKS[c.system], color=COLORS[c.system], zorder=5)
    for c in measured:
        if c.system == "L0-LSC":
            _marks(c, np.full(c.lam.shape, c.pi), ax)
    letter(ax, "b", "one setting on other data")
    ax.set(xlabel=r"$\pi$ of the data", xlim=(0, end), ylim=(0, None))
    ax.legend(loc="lower right", handlelength=2.2, borderaxespad=0.1)
    return ax


def _key(data: Figure4aData) -> list[Line2D]:
    """Return the legend of what software did."""
    pis = sorted({c.pi for c in data.swept}, reverse=True)
    systems = {c.system: c.label for c in data.swept}
    return [
        *(Line2D([], [], color=COLORS[system], label=label) for system, label in systems.items()),
        *(
            Line2D([], [], color="0.3", ls=ls, label=rf"data, $\pi$ = {pi:g}")
            for pi, ls in zip(pis, DASHES, strict=False)
        ),
        Line2D([], [], color=COLORS["L0-LSC"], marker=MARKS["L0-LSC"], ls="", label=r"L0-LSC, given $\pi$"),
        Line2D([], [], color="k", marker="x", ls="", mew=1.2, label=r"the $\lambda$ that fits $\pi$"),
    ]


def _marks(curve: ActivityCurve, x: Array, ax: Axes) -> None:
    ax.errorbar(
        x,
        curve.activity,
        2 * curve.se,
        fmt=MARKS[curve.system],
        color=COLORS[curve.system],
        mfc="white",
        mec=COLORS[curve.system],
        lw=0.8,
        zorder=6,
    )


def _legend(measured: Sequence[ActivityCurve | Coefficients]) -> list[Line2D]:
    """Return one open mark for each label and system of the circuits' series."""
    series = dict.fromkeys((c.label, c.system) for c in measured)
    return [
        Line2D([], [], color=COLORS[system], marker=MARKS[system], mfc="white", ls="", label=label)
        for label, system in series
    ]


# --- Figure 5 ---


def figure5(data: Figure5Data, measured: Sequence[Coefficients] = ()) -> Figure:
    """Draw the density of nonzero coefficients: a column for each system, a row for each dictionary.

    Parameters
    ----------
    data : Figure5Data
        The software's coefficients, drawn as areas, with the prior dotted.
    measured : sequence of Coefficients
        What circuits read, drawn as open marks in the panel of their system and dictionary.
    """
    systems = list(dict.fromkeys(c.system for c in data.series))
    with matplotlib.style.context(STYLE, after_reset=True):
        fig = Figure(figsize=(7.0, 4.2), dpi=DPI, layout="constrained")
        axes = fig.subplots(len(DICTIONARIES), len(systems), sharex=True, sharey=True, squeeze=False)
        for row, dictionary in zip(axes, DICTIONARIES, strict=True):
            for system, ax in zip(systems, row, strict=True):
                here = [c for c in measured if (PANEL[c.system], c.dictionary) == (PANEL[system], dictionary)]
                plot_coefficients(data.get(system, dictionary), here, data.lam, ax)
        lines = max(len(ax.texts[0].get_text().splitlines()) for ax in axes.flat)
        axes[0, 0].set_ylim(FLOOR, 2.5 * 2.2**lines)  # room for the notes
        for name, ax, system in zip("abc", axes[0], systems, strict=True):
            letter(ax, name, data.get(system, DICTIONARIES[0]).label)
        for dictionary, ax in zip(DICTIONARIES, axes[:, 0], strict=True):
            ax.set_ylabel(f"{dictionary} dictionary\ndensity")
        for ax in axes[-1]:
            ax.set_xlabel("nonzero coefficient s")
        handles = [
            Line2D([], [], color="k", ls=":", lw=1.3, label=rf"prior, $\lambda$ = {data.lam:g}"),
            *_legend(measured),
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=6)
    return fig


def plot_coefficients(software: Coefficients, measured: Sequence[Coefficients], lam: float, ax: Axes) -> Axes:
    """Draw the density of one system's nonzero coefficients on a logarithmic axis, where the prior is a line."""
    edges, density, _ = software.density()
    color = COLORS[software.system]
    ax.stairs(np.maximum(density, FLOOR), edges, baseline=FLOOR, fill=True, color=color, alpha=0.3, lw=0)
    ax.stairs(np.maximum(density, FLOOR), edges, baseline=FLOOR, color=color, lw=0.9)
    s = np.array([0.0, edges[-1]])
    ax.plot(s, lam * np.exp(-lam * s), "k:", lw=1.3, zorder=3)
    for c in measured:
        edges, density, se = c.density()
        seen = density > 0
        style: dict[str, Any] = {
            "color": COLORS[c.system],
            "mfc": "white",
            "mec": COLORS[c.system],
            "lw": 0.8,
            "zorder": 4,
        }
        middle = (edges[:-1] + edges[1:]) / 2
        low = np.minimum(2 * se, 0.9 * density)  # a bar down to zero has no place on a logarithmic axis
        ax.errorbar(middle[seen], density[seen], [low[seen], 2 * se[seen]], fmt=MARKS[c.system], ms=3.5, **style)
    notes = [("software: " if measured else "") + f"n = {len(software.values)}, {_p(software.p_value)}"]
    notes += [f"{c.label}: n = {len(c.values)}, {_p(c.p_value)}" for c in measured]
    ax.text(0.98, 0.97, "\n".join(notes), transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set(yscale="log", ylim=(FLOOR, None), xlim=(0, edges[-1]))
    return ax


def _p(value: float) -> str:
    """Return a p-value in words that fit a panel; below 1e-300 it is not resolved."""
    if value >= 0.001:
        return f"p = {value:.2g}"
    exponent = math.floor(math.log10(value)) + 1 if value > 1e-300 else -300
    return f"p < $10^{{{exponent}}}$"
