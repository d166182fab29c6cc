"""Figure of a calibration: rank histograms, ECDFs of all latents, and how far each statistic is off."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import stats

from circuitlsc.io.report import p_text
from circuitlsc.reporting.plotting import COLORS, new_figure, numbers
from circuitlsc.validation.calibration import Calibration, LawCalibration, RankStatistic

CAPTION = (
    "Above: ranks of the truth among the circuit's draws; uniform, within the grey band, if these are draws of the posterior. "
    "Below: all latents together, and how far each statistic is off."
)
BIN_LEVEL = 0.99
BAND, EDGE = "0.88", "0.35"  # greys of what noise alone explains
LATENTS = "0.5"
RANK, OF_THE_LAW = "scaled rank of the truth", "scaled rank of a draw of the law"
NAMED = 3  # latents that are off and named in the legend, the worst first


def plot_ranks(row: RankStatistic, color: str, ax: Axes, label: str = RANK) -> None:
    """Draw the rank histogram of one statistic, with the band that holds each bin with a chance of 99 %.

    The band is that of a single bin: of 20 bins one in five histograms of a right sampler has one outside.
    """
    bins = len(row.histogram)
    low, high = stats.binom.interval(BIN_LEVEL, row.n, 1 / bins) if row.n else (0.0, 0.0)
    ax.axhspan(low, high, color=BAND, lw=0, zorder=0)
    ax.bar((np.arange(bins) + 0.5) / bins, row.histogram, width=0.86 / bins, color=color, alpha=0.75)
    for level, dash in ((low, ":"), (row.n / bins, "--"), (high, ":")):  # over the bars, which hide the band
        ax.axhline(level, color=EDGE, lw=0.8, ls=dash, zorder=3)
    top = max(high, *row.histogram)
    ax.set(xlim=(0, 1), ylim=(0, 1.12 * top if top else 1.0), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
    ax.set(xlabel=label, title=f"{row.name}\nadjusted p {p_text(row.p_adjusted)}")
    ax.locator_params(axis="y", nbins=5, integer=True)


def plot_ecdf(c: Calibration, ax: Axes) -> None:
    r"""Draw the ECDF of each latent's ranks minus the diagonal, with a simultaneous band.

    .. math:: F_n(z_j) - z_j, \qquad z_j = j / \mathrm{bins}

    With a right sampler all points of all latents together lie in the band with a chance of at least 1 - alpha:
    binomial quantiles, Bonferroni over points and latents (0 to 3 % wider than need be). The p values see a wrong
    spread better: a latent that is off may lie within the band.
    """
    bins = len(c.latents[0].histogram)
    z = np.arange(bins + 1) / bins
    level = c.alpha / (c.n_latents * max(bins - 1, 1))
    low, high = (stats.binom.ppf(q, c.n_inputs, z) / c.n_inputs - z for q in (level / 2, 1 - level / 2))
    low[0] = high[0] = 0.0  # the quantile at 0 successes is -1
    ax.fill_between(z, low, high, color=BAND, lw=0, zorder=0)
    ax.axhline(0, color=EDGE, lw=0.8, ls="--", zorder=1)
    curves = [np.concatenate([[0], np.cumsum(row.histogram)]) / row.n - z for row in c.latents]
    worst = [int(k) for k in np.argsort([row.p_value for row in c.latents])]
    off = [k for k in worst if c.latents[k].p_adjusted < c.alpha]
    thin = 0.9 if c.n_latents <= 16 else 0.5
    for k in reversed(worst):
        color, thick, alpha = (COLORS[1], thin + 0.3, 1.0) if k in off else (COLORS[0], thin, 0.8)
        ax.plot(z, curves[k], color=color, lw=thick, alpha=alpha)
    if off:
        named = ", ".join(str(k) for k in off[:NAMED]) + (", ..." if len(off) > NAMED else "")
        ax.plot([], [], color=COLORS[1], label=f"off: {len(off)} of {c.n_latents} (latent {named})")
        ax.legend(loc="upper right", borderaxespad=0.1)
    reach = 1.3 * max(np.abs([*curves, low, high]).max(), 0.01)
    ax.set(xlim=(0, 1), ylim=(-reach, reach), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
    count = "1 latent" if c.n_latents == 1 else f"all {c.n_latents} latents"
    ax.set(
        xlabel=_rank(c), ylabel="ECDF - uniform", title=f"{count}, with simultaneous {100 * (1 - c.alpha):.4g} % band"
    )


def plot_shift_spread(c: Calibration, ax: Axes) -> None:
    """Draw the shift and spread of every statistic, with the box inside which none is off.

    The box is exact for the statistics of all inputs; that of the active size is a little larger.
    """
    z = math.sqrt(c.n_inputs)
    level = 1 - math.sqrt(1 - c.alpha / len(c.statistics))  # of each of the two independent tests
    half = float(stats.norm.isf(level / 2)) / z
    low, high = (math.sqrt(stats.chi2.ppf(q, c.n_inputs - 1) / (c.n_inputs - 1)) for q in (level / 2, 1 - level / 2))
    ax.add_patch(Rectangle((-half, low), 2 * half, high - low, color=BAND, lw=0, zorder=0))
    ax.axvline(0, color=EDGE, lw=0.8, ls="--", zorder=1)
    ax.axhline(1, color=EDGE, lw=0.8, ls="--", zorder=1)
    shift, spread = numbers((*c.latents, *c.joint), "shift", "spread")
    own = slice(0, c.n_latents)
    ax.plot(shift[own], spread[own], "o", ms=3.5, color=LATENTS, label="latents")
    for k, (color, marker, row) in enumerate(zip(COLORS, "sD^v", c.joint, strict=False), c.n_latents):
        if row.shift is not None:
            ax.plot(shift[k], spread[k], marker, ms=5, color=color, label=row.name)
    if isinstance(c, LawCalibration):
        by_name = {row.name: row for row in c.bias.statistics}
        biased = numbers((by_name[row.name] for row in (*c.latents, *c.joint)), "shift", "spread")
        ax.plot(*biased, "o", ms=4.5, mfc="none", mec=COLORS[6], mew=0.7, label="true codes:\nthe law's bias", zorder=2)
        shift, spread = (np.concatenate(pair) for pair in zip((shift, spread), biased, strict=True))
    x = 1.15 * max(half, float(np.nanmax(np.abs(shift))))
    bottom, top = min(low, float(np.nanmin(spread))), max(high, float(np.nanmax(spread)))
    margin = 0.1 * (top - bottom)
    ax.set(xlim=(-x, x), ylim=(max(bottom - margin, 0), top + margin))
    ax.set(xlabel="shift (posterior sd)", ylabel="spread (posterior sd)", title=f"verdict: {c.verdict}")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2)


def calibration_figure(c: Calibration) -> Figure:
    """Return the figure of a calibration: histograms above, all latents and the size of each fault below.

    Grey is what noise alone explains. A statistic too high is one whose true values rank high: the draws are too low.
    """
    # Without a spike there are two statistics of the whole code: the worst latents fill the row.
    rows = list(zip(c.joint, COLORS, strict=False))
    rows += [(row, LATENTS) for row in sorted(c.latents, key=lambda row: row.p_value)[: 4 - len(rows)]]
    with new_figure(9.2, 5.2) as fig:
        # Two subfigures, so that the wide panels below do not pull the histograms apart.
        grid = fig.add_gridspec(2, 1)
        above, below = (fig.add_subfigure(grid[row]) for row in (0, 1))
        panels = above.subplots(1, len(rows))
        for (row, color), ax in zip(rows, panels, strict=True):
            plot_ranks(row, color, ax, _rank(c))
        panels[0].set_ylabel(f"inputs (of {c.n_inputs})")
        left, right = below.subplots(1, 2)
        plot_ecdf(c, left)
        plot_shift_spread(c, right)
    return fig


def _rank(c: Calibration) -> str:
    """Return what is ranked: a true code, or, of a circuit with a law of its own, a draw of that."""
    return OF_THE_LAW if isinstance(c, LawCalibration) else RANK
