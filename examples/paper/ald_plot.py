"""Drawing of the figures after Taniguchi et al. 2022: one colour for each point, or for each method; exact laws are black.

Error bars are two standard errors; single marks are seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from circuitlsc.learning.autoencoder import METHODS
from circuitlsc.reporting.plotting import COLORS, new_figure
from examples.paper.ald_points import PointsData, Sampled
from examples.paper.figures_plot import GOAL, draw_atoms
from examples.paper.lae_batch import LEARNED_BATCHES, BatchData
from examples.paper.lae_digits import NAMES, DigitsData
from examples.paper.plot import letter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, GREEN = COLORS[:3]
METHOD = dict(zip(METHODS, (BLUE, RED, GREEN), strict=True))
_SCALES = (1.0, 2.0)  # of an ellipse, in standard deviations


def ald_points(data: PointsData) -> Figure:
    """Draw the draws of both toys over the exact laws, and how far fewer features lead."""
    with new_figure(7.0, 2.75) as fig:
        points, network, ranks = fig.subplots(1, 3)
        _draws(data.points, points)
        turn = np.linspace(0, 2 * np.pi, 200)
        for n in range(len(data.x)):
            root = np.linalg.cholesky(data.points.cov[n])
            for scale in _SCALES:
                ring = data.points.mean[n] + scale * np.stack([np.cos(turn), np.sin(turn)], -1) @ root.T
                points.plot(ring[:, 0], ring[:, 1], color=COLORS[n], lw=1.1)
        letter(points, "a", "three points")
        _draws(data.network, network)
        for n, density in enumerate(data.density):
            levels = density.max() * np.exp(-0.5 * np.array(_SCALES[::-1]) ** 2)
            network.contour(data.grid, data.grid, density, levels=levels, colors=COLORS[n], linewidths=1.1)
        letter(network, "b", "random network")
        for ax, sampled in ((points, data.points), (network, data.network)):
            reach = 1.05 * float(np.abs(sampled.draws).max())
            ax.set(xlabel=r"$z_1$", ylabel=r"$z_2$", xlim=(-reach, reach), ylim=(-reach, reach))
            ax.set_box_aspect(1)
        ranks.set_box_aspect(1)
        place = np.arange(len(data.ranks))
        ranks.plot(place, [s.apart[1] for s in data.ranks], "_", color="k", ms=14, mew=1.0)
        for k, s in enumerate(data.ranks):
            ranks.plot(k, s.apart[0], "o", color=BLUE if s.rank == len(data.x) else RED, ms=4, zorder=3)
            ranks.text(k, max(s.apart) + 0.05, f"{s.virial[0]:.2f}", ha="center", va="bottom", fontsize=7)
        ranks.set(
            xticks=place, xlim=(-0.5, len(place) - 0.5), xlabel="features", ylabel="mean off the posterior's (sd)"
        )
        ranks.set_xticklabels([str(s.features) for s in data.ranks])
        ranks.set_ylim(0, 1.25 * max(max(s.apart) for s in data.ranks) + 0.05)
        letter(ranks, "c", "fewer features than points")
        handles = [
            Line2D([], [], color="0.3", lw=1.1, label=r"exact: $e^{-1/2}$ and $e^{-2}$ of the peak"),
            Line2D([], [], color="k", marker="_", ls="", ms=9, label="exact, restricted (c)"),
            Line2D([], [], color="0.4", marker="o", ls="", ms=3.5, label=r"draws of $W\phi$; numbers: virial/$K$"),
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=2)
    return fig


def _draws(sampled: Sampled, ax: Axes) -> None:
    for n, z in enumerate(sampled.draws):
        ax.plot(z[:, 0], z[:, 1], ".", color=COLORS[n], ms=2.5, alpha=0.35, mew=0)


def lae_batch(data: BatchData) -> Figure:
    """Draw the temperature of codes against the batch, and norms and directions of the atoms that were learned."""
    with new_figure(7.0, 2.7) as fig:
        hot, norms, cosines = fig.subplots(1, 3)
        batches = np.array([h.batch for h in data.hot])
        hot.plot(batches, data.inputs / batches, **GOAL)
        hot.axhline(1.0, color="0.6", lw=0.7, zorder=0)
        for what, color in (("published", RED), ("divided", BLUE)):
            value, se = np.array([getattr(h, what) for h in data.hot]).T
            hot.errorbar(batches, value, 2 * se, fmt="o", color=color, ms=3.5, lw=0.9)
        hot.set(xscale="log", yscale="log", xlabel=f"batch, of {data.inputs} inputs", ylabel="temperature of the codes")
        hot.xaxis.set_major_locator(FixedLocator(list(batches)))
        for axis in (hot.xaxis, hot.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(lambda v, _: f"{v:g}")
        hot.yaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16]))
        letter(hot, "a", "linear model")
        for ax, what in ((norms, "norm"), (cosines, "cosine")):
            for place, batch in enumerate(LEARNED_BATCHES):
                for divided, color in ((False, RED), (True, BLUE)):
                    for k, atoms in enumerate(runs := data.of(batch, divided)):
                        at = place + (0.2 if divided else -0.2) + 0.1 * (k - (len(runs) - 1) / 2)
                        values = getattr(atoms, what)
                        ax.plot(np.full(len(values), at), values, "o", color=color, ms=3, alpha=0.6, mew=0)
            ax.axhline(1.0, **GOAL)
            ax.set(xticks=range(len(LEARNED_BATCHES)), xlim=(-0.5, len(LEARNED_BATCHES) - 0.5))
            ax.set_xticklabels(list(map(str, LEARNED_BATCHES)))
            ax.set_xlabel(f"batch, of {data.learned_from} inputs")
        norms.set(ylabel="norm over the data's", ylim=(0, None))
        letter(norms, "b", "learned atoms")
        cosines.set(ylabel="cosine with the data's")
        letter(cosines, "c", "learned atoms")
        handles = [
            Line2D([], [], color=RED, marker="o", ls="", label="noise as published"),
            Line2D([], [], color=BLUE, marker="o", ls="", label="noise of the data, T = B/n"),
            Line2D([], [], label="n/B (a); of the data (b, c)", **GOAL),
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=2)
    return fig


def lae_digits(data: DigitsData) -> Figure:
    """Draw what held-out digits cost by every method, and what its generator makes."""
    with new_figure(7.0, 2.9) as fig:
        halves = fig.add_gridspec(1, 2, width_ratios=[1.55, 1])
        left, right = (fig.add_subfigure(half) for half in (halves[0], halves[1]))
        likely, bounds = left.subplots(1, 2)
        for place, method in enumerate(METHODS):
            runs = data.of(method)
            for k, run in enumerate(runs):
                at, color = place + 0.16 * (k - (len(runs) - 1) / 2), METHOD[method]
                likely.plot(at, -run.log_p.mean() / data.pixels, "o", color=color, ms=3.5)
                bounds.plot(at, -run.bound / data.pixels, "o", color=color, ms=3.5)
                bounds.plot(at, -run.bound_seen / data.pixels, "o", color=color, mfc="white", ms=3.5)
        for ax in (likely, bounds):
            ax.set(xticks=range(len(METHODS)), xlim=(-0.5, len(METHODS) - 0.5))
            ax.set_xticklabels([NAMES[method] for method in METHODS])
        likely.set_ylabel("nats per pixel, held out")
        letter(likely, "a", r"$-\log p(x)$")
        bounds.set_ylabel("nats per pixel")
        letter(bounds, "b", "bound, as published")
        marks = [
            Line2D([], [], color="0.3", marker="o", ls="", ms=3.5, label="held out"),
            Line2D([], [], color="0.3", marker="o", ls="", ms=3.5, mfc="white", label="of training"),
        ]
        bounds.legend(handles=marks, handletextpad=0.1, loc="upper right", borderaxespad=0)
        axes = right.subplots(len(METHODS), 1)
        for name, ax, method in zip("cde", axes, METHODS, strict=True):
            pictures = np.clip(data.of(method)[0].pictures, -1, 1)
            draw_atoms((pictures.T + 1) / 2, ax, columns=len(pictures) // 2)
            letter(ax, name, f"made by the generator, {NAMES[method]}")
    return fig
