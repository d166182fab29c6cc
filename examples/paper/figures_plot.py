"""Drawing of Figures 4b, 6 and 7 of Fang et al. 2022: pi and norms against time, and what was learned as images.

One colour for each kind throughout: atoms that are used blue, the others orange; what should come out is dashed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitlsc.io.arrays import Array
from circuitlsc.reporting.learning_plot import mosaic
from circuitlsc.reporting.plotting import STYLE, distinct_colors
from examples.paper.figure_bars import Figure4bData, OvercompleteData, OvercompleteRun
from examples.paper.figure_runs import Course
from examples.paper.plot import DPI, letter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

USED_COLOR, UNUSED_COLOR = "#0072B2", "#D55E00"
GOAL: dict[str, Any] = {"color": "k", "ls": (0, (4, 2)), "lw": 0.9}
TIME = r"time (1000 $\tau$)"


def figure4b(data: Figure4bData) -> Figure:
    """Draw pi against time from every start, and the values reached against those of the data."""
    truths = sorted({run.truth for run in data.runs})
    colors = dict(zip(truths, distinct_colors(len(truths)), strict=True))
    with matplotlib.style.context(STYLE):
        fig = Figure(figsize=(7.0, 2.7), dpi=DPI, layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=[2, 1])
        end = max(float(run.time[-1]) for run in data.runs)
        for run in data.runs:
            left.plot(run.time / 1000, run.pi, color=colors[run.truth], lw=0.9)
        for truth in truths:
            left.axhline(truth, **GOAL)
            left.text(1.005, truth, rf"$\pi$ = {truth:g}", transform=left.get_yaxis_transform(), va="center", ha="left")
        left.set(xlabel=TIME, ylabel=r"learned $\pi$", ylim=(0, 1), xlim=(0, end / 1000))
        left.legend(handles=[Line2D([], [], label=r"$\pi$ of the data", **GOAL)], loc="upper right")
        letter(left, "a", "from three starts" if len({r.start for r in data.runs}) == 3 else "from every start")
        right.plot([0, 0.6], [0, 0.6], **GOAL)
        for truth in truths:
            mean, se = data.learned(truth)
            right.errorbar(truth, mean, 2 * se, fmt="o", color=colors[truth], capsize=2)
        top = 1.15 * max(truths)
        right.set(xlabel=r"$\pi$ of the data", ylabel=r"learned $\pi$", xlim=(0, top), ylim=(0, top))
        letter(right, "b", "where they end")
    return fig


def figure6(data: OvercompleteData) -> Figure:
    """Draw norms against time and the learned dictionary, a column for each pi that is held; the first seed of each."""
    pis = sorted({run.pi for run in data.runs})
    with matplotlib.style.context(STYLE):
        fig = Figure(figsize=(7.0, 3.4), dpi=DPI, layout="constrained")
        axes = fig.subplots(2, len(pis), squeeze=False, height_ratios=[2.1, 1])
        top = 1.08 * max(float(data.of_pi(pi)[0].course.norm.max()) for pi in pis)
        for k, pi in enumerate(pis):
            runs = data.of_pi(pi)
            plot_norms(runs[0].course, axes[0, k], data.optimum(pi).norm)
            counts = ", ".join(str(int(run.course.used.sum())) for run in runs)
            kind = "true" if math.isclose(pi, data.pi) else "held"
            letter(axes[0, k], "abc"[k % 3], rf"$\pi$ = {pi:g} ({kind}); used: {counts}")
            axes[0, k].set(ylim=(0, top), xlabel=TIME)
            _by_norm(runs[0].course, axes[1, k], columns=data.n * 2)
            axes[1, k].set_title("sorted by norm; framed: used" if k == 0 else "")
        axes[0, 0].set_ylabel("norm of each atom")
        fig.legend(handles=_key("optimum of one bar"), loc="outside lower center", ncols=3)
    return fig


def figure7(data: OvercompleteData) -> Figure:
    """Draw the dictionary sorted by bar, pi against time for every seed, and the norms of the first seed."""
    first, best = data.runs[0], data.optima[0]
    with matplotlib.style.context(STYLE):
        fig = Figure(figsize=(7.0, 2.5), dpi=DPI, layout="constrained")
        left, middle, right = fig.subplots(1, 3, width_ratios=[1, 1.2, 1.2])
        _by_bar(first, left)
        letter(left, "a", "dictionary, by bar")
        for run, color in zip(data.runs, distinct_colors(len(data.runs)), strict=True):
            time, pi = np.append(0.0, run.course.time / 1000), np.append(run.pi, run.course.pi)
            middle.plot(time, pi, color=color, lw=0.9, label=f"seed {run.course.seed}")
        for goal, name in ((data.pi, "data"), (best.pi, "optimum of two copies")):
            middle.axhline(goal, **GOAL)
            text = f"{name}: {goal:.3f}"
            middle.text(0.98, goal + 0.006, text, transform=middle.get_yaxis_transform(), ha="right", va="bottom")
        top = 1.3 * data.pi
        middle.set(xlabel=TIME, ylabel=r"learned $\pi$", ylim=(0, top), xlim=(0, None))
        middle.legend(loc="lower right", ncols=1)
        letter(middle, "b", r"activation probability")
        plot_norms(first.course, right, best.norm)
        right.set(xlabel=TIME, ylabel="norm of each atom", ylim=(0, None))
        letter(right, "c", "norms, first seed")
        right.legend(handles=[Line2D([], [], label="optimum of two copies", **GOAL)], loc="lower right")
    return fig


def plot_norms(course: Course, ax: Axes, goal: float | None = None) -> Axes:
    """Draw the norm of every atom against time; the ones that end unused in their own colour."""
    for norm, used in zip(course.norm.T, course.used, strict=True):
        ax.plot(course.time / 1000, norm, lw=0.7, color=USED_COLOR if used else UNUSED_COLOR)
    if goal is not None:
        ax.axhline(goal, zorder=3, **GOAL)
    ax.set(xlim=(0, float(course.time[-1]) / 1000))
    return ax


def draw_atoms(A: Array, ax: Axes, columns: int) -> None:
    """Draw atoms as images in rows, from white to black; each is scaled to itself, and much shorter ones stay faint."""
    picture = mosaic(A, columns=columns)
    ax.imshow(np.ma.masked_invalid(picture), cmap="gray", vmin=0 if A.min() > -0.2 * A.max() else -1, vmax=1)
    ax.set_facecolor("#BCD3E6")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _by_norm(course: Course, ax: Axes, columns: int) -> None:
    order, pitch = np.argsort(-course.norms), math.isqrt(len(course.A)) + 1
    draw_atoms(course.A[:, order], ax, columns)
    for place in range(int(course.used.sum())):
        _frame(ax, place, columns, pitch, USED_COLOR)


def _by_bar(run: OvercompleteRun, ax: Axes) -> None:
    """Draw the atoms in the order of their bars, copies side by side."""
    order = np.lexsort((-run.course.norms, run.bar))
    draw_atoms(run.course.A[:, order], ax, columns=math.isqrt(len(order)))


def _frame(ax: Axes, place: int, columns: int, pitch: int, color: str) -> None:
    y, x = divmod(place, columns)
    corners = np.array([(0, 0), (pitch, 0), (pitch, pitch), (0, pitch), (0, 0)], dtype=float)
    corners += pitch * np.array([x, y])
    ax.plot(*corners.T, color=color, lw=1.2, clip_on=False)


def _key(goal: str) -> list[Line2D]:
    return [
        Line2D([], [], color=USED_COLOR, label="used: above a quarter of the longest"),
        Line2D([], [], color=UNUSED_COLOR, label="the others"),
        Line2D([], [], label=goal, **GOAL),
    ]
