"""The figure of a memory: a neuron over visits of several inputs, every input beside its posterior, and within a visit."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.reference.statistics import LABELS
from circuitlsc.reporting.plotting import (
    distinct_colors,
    legend_above,
    new_figure,
    numbered,
    plot_against,
    probable,
)
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.memory_compare import MemoryComparison

SHOWN_INPUTS, SHOWN_VISITS = 3, 8


def memory_figure(sampler: Sampler, samples: Samples, comparison: MemoryComparison) -> Figure:
    """Return the figure of a run of a memory."""
    with new_figure(9.2, 5.4) as fig:
        axes = fig.subplot_mosaic([["trace", "trace", "trace"], ["all", "within", "inputs"]])
        plot_trace(sampler, samples, comparison, axes["trace"])
        axes["trace"].set_title(f"verdict: {comparison.verdict}", loc="right")
        name = "p_active" if sampler.model.prior.sparse else "mean"
        plot_inputs(comparison, name, axes["all"])
        plot_within_visit(comparison, name, axes["within"])
        plot_limits(comparison, axes["inputs"])
    return fig


def plot_trace(sampler: Sampler, samples: Samples, comparison: MemoryComparison, ax: Axes) -> None:
    """Draw the liveliest neuron's state u of the first inputs over their visits, grey while another input is on."""
    each = samples.draws_per_visit
    visits = min(SHOWN_VISITS, comparison.visits)
    p = np.array([[latent.p_active.circuit for latent in c.latents] for c in comparison.inputs])
    sd = np.array([[latent.sd.circuit for latent in c.latents] for c in comparison.inputs])
    lively = (p * (1 - p) if sampler.model.prior.sparse else sd).sum(0)
    k, rows = int(lively.argmax()), min(SHOWN_INPUTS, comparison.n_inputs)
    for n, color in zip(range(rows), distinct_colors(rows), strict=True):
        time = samples.time[n, : visits * each].reshape(visits, each)
        u = samples.row_draws(n, "u").read(0, visits * each)[0, :, k].reshape(visits, each)
        for visit in range(visits):
            label = f"input {n}" if visit == 0 else None
            ax.plot(time[visit], u[visit], ".-", ms=3, lw=1.2, color=color, label=label)
            if visit + 1 < visits:
                away, kept = [time[visit, -1], time[visit + 1, 0]], [u[visit, -1]] * 2
                ax.plot(away, kept, ":", lw=0.9, color=color, alpha=0.6, zorder=0)
    if sampler.model.prior.sparse:
        for level in (-sampler.model.prior.threshold, sampler.model.prior.threshold):
            ax.axhline(level, color="0.7", lw=0.7, zorder=0)
    few = f"the first {rows} of {comparison.n_inputs} inputs; " if rows < comparison.n_inputs else ""
    ax.set(xlabel=rf"time ($\tau$); {few}dotted: kept while other inputs are on", ylabel=f"$u_{{{k}}}$ (model units)")
    legend_above(ax)


def plot_inputs(comparison: MemoryComparison, name: str, ax: Axes) -> None:
    """Draw a statistic of every latent of every input, circuit against exact, with two errors of correct runs."""
    entries = [getattr(latent, name) for c in comparison.inputs for latent in c.latents]
    exact, circuit, error = np.array([(e.exact, e.circuit, e.mcse) for e in entries]).T
    plot_against(exact, circuit, ax, probable(circuit, 2 * error) if name == "p_active" else 2 * error)
    ax.set(xlabel=f"{LABELS[name]}, exact", ylabel=f"{LABELS[name]}, circuit")


def plot_within_visit(comparison: MemoryComparison, name: str, ax: Axes) -> None:
    """Draw differences from exact at the start, the middle and the end of a visit: of each latent, and on average."""
    ax.axhline(0, color="0.6", lw=0.7, zorder=0)
    for place, w in enumerate(comparison.within_visit):
        d = np.ravel(w.difference)
        across = place + 0.3 * np.linspace(-1, 1, len(d))
        ax.plot(across, d, ".", ms=2, color="0.7", zorder=1, label="each input and latent" if place == 0 else None)
        ax.errorbar(place, w.mean, 2 * w.mean_se, fmt="o", ms=4, color="C0", label="average" if place == 0 else None)
    ax.set_xticks(
        range(len(comparison.within_visit)), [f"{w.place}\n{w.time:.3g} $\\tau$" for w in comparison.within_visit]
    )
    ax.set(xlabel="within a visit", ylabel=f"{LABELS[name]}: circuit - exact")
    if comparison.within_visit:
        legend_above(ax, ncols=2)


def plot_limits(comparison: MemoryComparison, ax: Axes) -> None:
    """Draw the largest abs(z) of every input over its limit."""
    ratio = [c.max_abs_z / c.z_limit for c in comparison.inputs]
    ax.plot(np.arange(len(ratio)), ratio, "o", ms=3.5, color="C0")
    ax.axhline(1, color="0.6", lw=0.8, ls=":")
    numbered(ax, len(ratio), "input")
    ax.set(ylabel="largest |z| / limit", ylim=(0, 1.1 * max(1.0, *ratio)))
