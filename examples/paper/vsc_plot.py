"""Drawing of the figures in kind after Fallah & Rozell 2022: one colour for each estimator, learner or family throughout.

Error bars are two standard errors; single marks are seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from circuitlsc.reporting.plotting import COLORS, new_figure
from examples.paper.figure_runs import USED
from examples.paper.figures_plot import GOAL, draw_atoms
from examples.paper.plot import letter
from examples.paper.vsc_gradients import SWITCH_CODE, SWITCH_DRAWS, GradientsData
from examples.paper.vsc_laws import LawsData
from examples.paper.vsc_max import WAYS, MaxData
from examples.paper.vsc_measures import mean_se
from examples.paper.vsc_patches import CODERS, METHODS, VscPatchesData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, GREEN, PINK, SKY, ORANGE = COLORS[:6]
ESTIMATOR = {"straight-through": RED, "pathwise": BLUE}
DASH = {"average": "-", "max": (0, (4, 2))}
METHOD = {"variational": RED, "sampling": BLUE}
WAY = dict(zip(map(str, WAYS), ("k", "0.55", RED, ORANGE, BLUE, SKY), strict=True))


def vsc_gradients(data: GradientsData) -> Figure:
    """Draw SNR and bias against J, and what is said of atoms that should switch on."""
    with new_figure(7.0, 4.5) as fig:
        (snr_mu, snr_rho, switch), (bias_mu, bias_rho, needed) = fig.subplots(2, 3)
        for name, ax, parameter, what in (
            ("a", snr_mu, "mu", "snr"),
            ("b", snr_rho, "rho", "snr"),
            ("d", bias_mu, "mu", "bias"),
            ("e", bias_rho, "rho", "bias"),
        ):
            _against_draws(data, parameter, what, ax)
            word = rf"$\{parameter}$" + (r" = log $b$" if parameter == "rho" else "")
            ax.set(ylabel="signal to noise" if what == "snr" else "bias / rms of the exact one")
            if (parameter, what) == ("rho", "bias"):
                ax.set_ylim(0, None)
            else:
                ax.set_yscale("log")
            letter(ax, name, f"{'SNR' if what == 'snr' else 'bias'}, {word}")
        _switching(data, switch)
        letter(switch, "c", "one needed atom, P = .14")
        _against_draws(data, "rho", "needed", needed)
        low, high = (data.exact[0] + sign * 2 * data.exact[1] for sign in (-1, 1))
        needed.axhspan(low, high, color="0.85", lw=0, zorder=0)
        needed.axhline(data.exact[0], **GOAL)
        needed.axhline(0, color="0.6", lw=0.7, zorder=0)
        needed.set(ylabel=r"slope in $\rho$ (nats)")
        letter(needed, "f", "needed atoms of 4x4 bars")
        fig.legend(handles=_estimators(), loc="outside lower center", ncols=3, columnspacing=2)
    return fig


def _against_draws(data: GradientsData, parameter: str, what: str, ax: Axes) -> None:
    for curve in (c for c in data.curves if c.parameter == parameter):
        value, se = getattr(curve, what), getattr(curve, f"{what}_se")
        style: dict[str, Any] = {"color": ESTIMATOR[curve.estimator], "ls": DASH[curve.reduce]}
        size = 5 if curve.estimator == "straight-through" else 2.5  # seen behind the other, with which it may coincide
        ax.errorbar(data.draws, value, 2 * se, fmt="o", ms=size, mfc="white" if size > 4 else None, lw=0.9, **style)
    ax.set(xscale="log", xlabel="draws J")
    ax.xaxis.set_major_locator(FixedLocator([1, 10, 100]))
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")


def _switching(data: GradientsData, ax: Axes) -> None:
    ax.axhline(0, color="0.6", lw=0.7, zorder=0)
    ax.axvline(SWITCH_CODE, color="0.8", lw=0.7, zorder=0)
    ax.plot(data.shifts, data.slope, **GOAL)
    shades = dict(zip((f"max {J}" for J in SWITCH_DRAWS), ("#F0B68A", "#E38943", "#9C4400"), strict=True))
    for name, told in data.told.items():
        label = name if name == "average" else f"best of {name.removeprefix('max ')}"
        ax.errorbar(data.shifts, told, 2 * data.told_se[name], color=shades.get(name, "0.4"), lw=0.9, label=label)
    ax.legend(loc="upper right", borderaxespad=0, labelspacing=0.2)
    ax.set(xlabel=r"shift $\mu$ (model units)", ylabel=r"slope in $\rho$ (nats)")


def _estimators() -> list[Line2D]:
    names = [(estimator, reduce) for estimator in ESTIMATOR for reduce in DASH]
    lines = [
        Line2D([], [], color=ESTIMATOR[a], ls=DASH[b], label=f"{a}, {'average' if b == 'average' else 'best of J'}")
        for a, b in names
    ]
    return [*lines, Line2D([], [], label="exact", **GOAL)]


def vsc_max(data: MaxData) -> Figure:
    """Draw the held-out bound against steps, and what encoders ended with, by the way they were trained."""
    with new_figure(7.0, 2.9) as fig:
        left, middle, right = fig.subplots(1, 3, width_ratios=[1.35, 1, 1])
        worst = min(run.final for run in data.runs)
        for way in WAYS:
            runs = data.of(way)
            each = np.array([data.log_p[0] - run.elbo for run in runs])
            left.plot(runs[0].step / 1000, each.mean(0), color=WAY[str(way)], label=str(way))
            left.fill_between(runs[0].step / 1000, each.min(0), each.max(0), color=WAY[str(way)], alpha=0.2, lw=0)
        left.set(xlabel="steps (1000)", ylabel="log p(x) minus ELBO (nats)", yscale="log")
        left.set_ylim(None, 1.3 * (data.log_p[0] - worst))
        letter(left, "a", f"held-out bound, J = {data.draws}")
        for ax, what in ((middle, "active"), (right, "contrast")):
            for place, way in enumerate(WAYS):
                values = [getattr(run, what) for run in data.of(way)]
                ax.plot(values, np.full(len(values), -place), "o", ms=3.5, color=WAY[str(way)], alpha=0.8)
            ax.set(yticks=-np.arange(len(WAYS)), yticklabels=[], ylim=(0.5 - len(WAYS), 0.5))
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", color="0.92")
        middle.axvline(data.pi, **GOAL)
        middle.set(xlabel="mean P(active)", xlim=(0, 1.15 * max(data.pi, max(run.active for run in data.runs))))
        letter(middle, "b", r"active fraction; dashed: $\pi$")
        right.axvline(0, color="0.6", lw=0.7)
        right.set(xlabel="P(active), causes minus others")
        letter(right, "c", "what it knows of supports")
        fig.legend(loc="outside lower center", ncols=3, columnspacing=2)
    return fig


def vsc_patches(data: VscPatchesData) -> Figure:
    """Draw both dictionaries of the first seed, norms, held-out log p(x), and what is measured of codes."""
    first = {method: data.of(method)[0] for method in METHODS}
    with new_figure(7.0, 4.7) as fig:
        halves = fig.add_gridspec(2, 1, height_ratios=[1.2, 1])
        above, below = (fig.add_subfigure(half) for half in (halves[0], halves[1]))
        one, two, norms = above.subplots(1, 3)
        likely, active, alike, known = below.subplots(1, 4)
        for name, ax, method in (("a", one, "variational"), ("b", two, "sampling")):
            run = first[method]
            draw_atoms(run.A[:, np.argsort(-run.norms)], ax, columns=data.side)
            letter(ax, name, f"{method}: {run.n_used} of {run.A.shape[1]} used")
        for run in data.runs:
            label = f"{run.method} learner" if run is first[run.method] else None
            sorted_norms = np.sort(run.norms)[::-1]
            norms.plot(np.arange(1, len(sorted_norms) + 1), sorted_norms, color=METHOD[run.method], lw=0.9, label=label)
        for method, run in first.items():
            norms.axhline(USED * float(run.norms.max()), color=METHOD[method], ls=(0, (4, 2)), lw=0.7)
        norms.set(xlabel="atom, sorted", ylabel="norm", xlim=(1, first["sampling"].A.shape[1]), ylim=(0, None))
        norms.set_ylim(0, 1.35 * norms.get_ylim()[1])
        norms.legend(loc="upper right", borderaxespad=0)
        letter(norms, "c", "norms; dashed: 1/4 of longest")
        _likelihood(data, likely)
        letter(likely, "d", "held-out patches")
        _by_coder(data, "active", active)
        active.axhline(data.pi, **GOAL)
        active.set(ylabel="share of used atoms on")
        letter(active, "e", r"activity; dashed: $\pi$")
        _by_coder(data, "jaccard", alike)
        alike.set(ylabel="Jaccard index")
        letter(alike, "f", "supports, two draws")
        _by_coder(data, "information", known)
        known.set(ylabel="mutual information (nats)")
        known.legend(handles=[Line2D([], [], color="0.6", marker="_", ls="", label="shuffled")], loc="center left")
        letter(known, "g", "dependence")
    return fig


def _likelihood(data: VscPatchesData, ax: Axes) -> None:
    """Draw the means of log p(x) and of the encoder's bound for every dictionary."""
    for place, method in enumerate(METHODS):
        runs = data.of(method)
        for k, run in enumerate(runs):
            at = place + 0.16 * (k - (len(runs) - 1) / 2)
            ax.plot(at, run.log_p.mean(), "o", color=METHOD[method], ms=3.5)
            ax.plot(at, run.bound.mean(), "o", color=METHOD[method], mfc="white", ms=3.5)
    ax.set(xticks=range(len(METHODS)), xlim=(-0.6, len(METHODS) - 0.4), ylabel="nats, mean")
    ax.set_xticklabels(METHODS, fontsize=7)
    marks = [
        Line2D([], [], color="0.3", marker="o", ls="", ms=3.5, label="log p(x)"),
        Line2D([], [], color="0.3", marker="o", ls="", ms=3.5, mfc="white", label="ELBO"),
    ]
    ax.legend(handles=marks, loc="lower left", handletextpad=0.1, borderaxespad=0)


def _by_coder(data: VscPatchesData, what: str, ax: Axes) -> None:
    for method in METHODS:
        for k, run in enumerate(runs := data.of(method)):
            shift = (-0.2 if method == METHODS[0] else 0.2) + 0.12 * (k - (len(runs) - 1) / 2)
            for place, codes in enumerate(run.codes):
                if what == "information":
                    value, se = codes.information, 0.0
                    ax.plot(place + shift, codes.shuffled, "_", color="0.6", ms=5)
                else:
                    value, se = getattr(codes, what)
                ax.errorbar(place + shift, value, 2 * se, fmt="o", ms=2.5, lw=0.8, color=METHOD[method])
    ax.set(xticks=range(len(CODERS)), xlim=(-0.5, len(CODERS) - 0.5), ylim=(0, None))
    ax.set_xticklabels(CODERS, fontsize=7)


def vsc_laws(data: LawsData) -> Figure:
    """Draw each family's gap to log p(x), its active codes and the Jaccard index of two draws, a row for each data set."""
    sets = list(data.log_p)
    with new_figure(7.0, 3.9) as fig:
        axes = fig.subplots(len(sets), 3, squeeze=False)
        for row, name in enumerate(sets):
            laws = data.of(name)
            gaps = [data.log_p[name] - law.bound for law in laws[:-1]]
            gap, active, alike = axes[row]
            means = [mean_se(g) for g in gaps]
            _dots(gap, means, [law.family for law in laws[:-1]])
            gap.set(
                xscale="log", xlim=(0.05, 60), ylabel=name, ylim=(0.5 - len(laws), 0.5), yticks=-np.arange(len(laws))
            )
            gap.set_yticklabels([law.family for law in laws])
            gap.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
            for ax, what in ((active, "active"), (alike, "jaccard")):
                _dots(ax, [getattr(law, what) for law in laws], [law.family for law in laws])
                ax.set(ylim=(0.5 - len(laws), 0.5), yticks=-np.arange(len(laws)), xlim=(0, 1))
                ax.set_yticklabels([])
                ax.axvline(getattr(laws[-1], what)[0], **GOAL)
            gap.text(0.02, 1 - len(laws), "0", transform=gap.get_yaxis_transform(), va="center", ha="left", fontsize=7)
        titles = ("log p(x) minus best bound", rf"codes above {data.cut:g}/$\lambda$", "Jaccard index, two draws")
        for ax, name, title in zip(axes[0], "abc", titles, strict=True):
            letter(ax, name, title)
        for ax, label in zip(axes[-1], ("nats", "share of codes", "index"), strict=True):
            ax.set_xlabel(label)
    return fig


def _dots(ax: Axes, values: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    colors = {"thresholded Laplace": BLUE, "thresholded Gaussian": SKY, "posterior": "k"}
    for place, ((value, se), name) in enumerate(zip(values, names, strict=True)):
        ax.errorbar(value, -place, xerr=2 * se, fmt="o", ms=3.5, lw=0.9, color=colors.get(name, RED))
    ax.grid(axis="y", color="0.92")
    ax.yaxis.set_minor_locator(NullLocator())
