"""Figure of a run of many inputs: waveforms across the changes, averages over inputs beside the exact ones."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.reporting.plotting import LABELS, new_figure
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.stream_compare import MeanDifference, StreamComparison

SHOWN_ROWS = 6


def plot_inputs(sampler: Sampler, samples: Samples, ax: Axes) -> None:
    """Draw the codes of the first inputs that the liveliest latents have, with a line at each change."""
    assert sampler.stream is not None
    hold = sampler.stream.hold
    time, codes = samples.waveform(samples.until(SHOWN_ROWS * hold), "s")
    s = codes[0]
    for color, k in enumerate(np.argsort(-s.std(axis=0), kind="stable")[:3]):
        ax.plot(time, s[:, k], ".", ms=2.5, color=f"C{color}", label=f"$s_{{{k}}}$")
    for row in range(1, min(SHOWN_ROWS, len(sampler.x))):
        ax.axvline(row * hold, color="0.7", lw=0.7, zorder=0)
    ax.set(xlabel=r"time ($\tau$); a line is a new input", ylabel="s (model units)")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def plot_differences(rows: tuple[MeanDifference, ...], what: str, limit: float, ax: Axes) -> None:
    """Draw circuit minus exact, averaged over inputs, with error bars of ``limit`` standard errors."""
    k = np.arange(len(rows))
    d, se = (np.array([getattr(row, name) for row in rows]) for name in ("difference", "se"))
    ax.axhline(0, color="0.4", lw=0.6, zorder=0)
    ax.errorbar(k, d, limit * se, fmt="o", ms=3, lw=0.8, color="C0")
    ax.set(xlabel="latent", ylabel=f"{what}: circuit - exact")


def stream_figure(sampler: Sampler, samples: Samples, comparison: StreamComparison) -> Figure:
    """Return the figure of a run of many inputs."""
    with new_figure(9.2, 2.9) as fig:
        panels = [("mean", comparison.mean), ("p_active", comparison.p_active)]
        drawn = [(name, rows) for name, rows in panels if rows]
        first, *others = np.atleast_1d(fig.subplots(1, 1 + len(drawn), width_ratios=[2] + [1] * len(drawn)))
        plot_inputs(sampler, samples, first)
        first.set_title(f"verdict: {comparison.verdict}", loc="right")
        for (name, rows), ax in zip(drawn, others, strict=True):
            plot_differences(rows, LABELS[name], comparison.z_limit, ax)
    return fig
