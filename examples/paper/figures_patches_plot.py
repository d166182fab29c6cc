"""Drawing of Figures 8 and 9 of Fang et al. 2022: a dictionary of patches by norm, and pi against overcompleteness."""

from __future__ import annotations

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from circuitlsc.reporting.plotting import STYLE, distinct_colors
from examples.paper.figure_norms import Figure8Data
from examples.paper.figure_runs import USED
from examples.paper.figure_slope import Figure9Data
from examples.paper.figures_plot import GOAL, TIME, draw_atoms, plot_norms
from examples.paper.plot import DPI, letter


def figure8(data: Figure8Data) -> Figure:
    """Draw the first seed's dictionary, the sorted norms of every run, and norms against time from both kinds of start."""
    first = data.runs[0].course
    with matplotlib.style.context(STYLE):
        fig = Figure(figsize=(7.0, 4.6), dpi=DPI, layout="constrained")
        grid = fig.add_gridspec(2, 2, width_ratios=[1.1, 1])
        (left, top), (below, right) = ([fig.add_subplot(grid[i, j]) for j in range(2)] for i in range(2))
        draw_atoms(first.A[:, np.argsort(-first.norms)], left, columns=int(np.ceil(1.3 * np.sqrt(first.A.shape[1]))))
        letter(left, "a", f"{first.A.shape[1]} atoms by norm, {int(first.used.sum())} used")
        runs = [*(run.course for run in data.runs), data.split.course]
        labels = [*(f"seed {run.course.seed}" for run in data.runs), "half of it short"]
        for course, color, label in zip(runs, distinct_colors(len(runs)), labels, strict=True):
            norms = np.sort(course.norms)[::-1]
            top.plot(np.arange(1, len(norms) + 1), norms, color=color, label=f"{label}: {int(course.used.sum())} used")
        top.axhline(USED * float(first.norms.max()), **GOAL)
        top.set(xlabel="atom, sorted", ylabel="norm", xlim=(1, len(first.norms)), ylim=(0, None))
        top.legend()
        letter(top, "b", "norms at the end; dashed: 1/4 of longest")
        for ax, course, name in ((below, first, "c"), (right, data.split.course, "d")):
            plot_norms(course, ax)
            ax.set(xlabel=TIME, ylabel="norm of each atom", ylim=(0, None))
            start = "random start" if name == "c" else "half of the start a tenth as long"
            letter(ax, name, f"{start}, seed {course.seed}")
    return fig


def figure9(data: Figure9Data) -> Figure:
    """Draw pi and the number of active latents against Omega, and how norms and pi came to rest."""
    colors = dict(zip(data.omegas, distinct_colors(len(data.omegas)), strict=True))
    with matplotlib.style.context(STYLE):
        fig = Figure(figsize=(7.0, 4.6), dpi=DPI, layout="constrained")
        (pi_ax, number_ax), (norm_ax, course_ax) = fig.subplots(2, 2)
        plot_pi(data, pi_ax)
        plot_number(data, number_ax)
        switches = np.cumsum([stage.duration for stage in data.stages[:-1]]) / 1000
        for run in data.runs:
            label = rf"$\Omega$ = {run.omega:g}" if run is data.of_omega(run.omega)[0] else None
            color = colors[run.omega]
            if len(run.window) > 1:
                size = np.maximum(np.abs(run.norm_change), 1e-5)
                norm_ax.plot(run.window[1:] / 1000, size, "o-", ms=2.5, lw=0.8, color=color, label=label)
                course_ax.plot(run.window / 1000, run.window_pi, "o-", ms=2.5, lw=0.8, color=color, label=label)
        norm_ax.axhline(0.01, **GOAL)
        norm_ax.set(yscale="log", xlabel=TIME, ylabel="change of the mean norm\n" r"per 1000 $\tau$ (absolute)")
        norm_ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
        letter(norm_ax, "c", "do norms come to rest? dashed: 1 %")
        course_ax.set(yscale="log", xlabel=TIME, ylabel=r"$\pi$, mean over 500 $\tau$")
        letter(course_ax, "d", r"does $\pi$ come to rest?")
        for ax in (norm_ax, course_ax):
            for switch in switches:
                ax.axvline(float(switch), color="0.7", lw=0.7, zorder=0)
            ax.set_xlim(0, None)
        if any(len(run.window) > 1 for run in data.runs):
            norm_ax.legend()
    return fig


def plot_pi(data: Figure9Data, ax: Axes) -> Axes:
    """Draw learned pi against Omega, with the line of slope -1 through the geometric mean, and the fitted slope."""
    omegas = np.array(data.omegas)
    means = np.array([np.exp(np.mean([np.log(r.course.learned_pi) for r in data.of_omega(o)])) for o in omegas])
    middle = np.exp(np.mean(np.log(means * omegas)))
    slope = data.slope()
    error = "" if slope.se is None else rf"\pm{slope.se:.3f}"
    ax.plot(omegas, middle / omegas, label="slope $-1$", **GOAL)
    for omega in omegas:
        colors = distinct_colors(len(runs := data.of_omega(float(omega))))
        for k, (run, color) in enumerate(zip(runs, colors, strict=True)):
            at = omega * (1 + 0.04 * (k - (len(runs) - 1) / 2))
            low, high = np.quantile(run.activity, [0.1, 0.9])
            ax.plot([at, at], [max(low, 1e-6), high], color="0.75", lw=0.9, zorder=1)
            ax.plot(at, run.course.learned_pi, "o", color=color, ms=4)
    ax.set(xscale="log", yscale="log", xlabel=r"overcompleteness $\Omega$", ylabel=r"learned $\pi$")
    highest = max(float(np.quantile(run.activity, 0.9)) for run in data.runs)
    ax.set_ylim(min(run.course.learned_pi for run in data.runs) / 4, 2 * highest)  # 10 % may be 0, which has no place
    ax.text(0.12, 0.06, rf"fitted slope ${slope.mean:.3f}{error}$", transform=ax.transAxes)
    ax.legend(loc="upper right")
    _ticks(ax, omegas.tolist())
    letter(ax, "a", r"activation probability; grey: 10 to 90 % of patches")
    return ax


def plot_number(data: Figure9Data, ax: Axes) -> Axes:
    """Draw pi K against Omega: the mean number of active latents, and its 10 to 90 % range over patches."""
    for omega in data.omegas:
        colors = distinct_colors(len(runs := data.of_omega(omega)))
        for k, (run, color) in enumerate(zip(runs, colors, strict=True)):
            at = omega * (1 + 0.04 * (k - (len(runs) - 1) / 2))
            ax.plot([at, at], np.quantile(run.n_active, [0.1, 0.9]), color="0.75", lw=0.9, zorder=1)
            label = f"seed {run.course.seed}" if omega == data.omegas[0] else None
            ax.plot(at, run.course.learned_pi * run.course.A.shape[1], "o", color=color, ms=4, label=label)
    ax.set(xscale="log", xlabel=r"overcompleteness $\Omega$", ylabel=r"active elements, $\pi K$", ylim=(0, None))
    ax.legend(loc="upper center", ncols=3, columnspacing=1, handletextpad=0.2)
    _ticks(ax, data.omegas)
    letter(ax, "b", "number of active elements")
    return ax


def _ticks(ax: Axes, values: list[float]) -> None:
    ax.xaxis.set_major_locator(FixedLocator(values))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    if ax.get_yscale() == "log":
        ax.yaxis.set_minor_formatter(NullFormatter())
