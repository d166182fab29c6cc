"""Figure of a circuit that settles: its waveforms, its objective over time, its code beside software's."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.io.arrays import Array
from circuitlsc.reporting.plotting import distinct_colors, new_figure
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.map_result import MapResult, Settled, objective_of

SHOWN = 8  # waveforms
POINTS = 400  # at which the objective is evaluated
BEYOND = 2.0  # settling times that are drawn


def plot_settling(time: Array, u: Array, row: Settled, ax: Axes) -> None:
    """Draw u(t) of the latents with the largest coefficients, coloured, and of the others, grey; time in tau."""
    order = np.argsort(-np.abs(row.code), kind="stable")[:SHOWN]
    on = np.sort(order[row.code[order] != 0])  # a legend is read by number
    for k in order[row.code[order] == 0]:
        ax.plot(time, u[:, k], color="0.75", lw=0.8, zorder=1)
    for color, k in zip(distinct_colors(len(on)), on, strict=True):
        ax.plot(time, u[:, k], color=color, label=f"$u_{{{k}}}$")
    ax.axvline(row.settling_time, color="0.3", lw=0.7, ls=":")
    ax.set(xlabel=r"time ($\tau$)", ylabel="u (model units)")
    if len(on):
        ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def plot_objective(time: Array, gap: Array, row: Settled, ax: Axes) -> None:
    """Draw how far the code's objective is above software's minimum, relative, over time in tau."""
    ax.semilogy(time, np.maximum(gap, 1e-12), color="C0")
    ax.axvline(row.settling_time, color="0.3", lw=0.7, ls=":", label=f"settled ({row.settling_time:.3g} $\\tau$)")
    ax.axhline(1e-3, color="0.6", lw=0.7, ls="--", label="limit of the verdict")
    ax.set(xlabel=r"time ($\tau$)", ylabel="objective above minimum (relative)")
    ax.legend(loc="upper right")


def plot_code(row: Settled, ax: Axes) -> None:
    """Draw the code of the circuit over that of software."""
    k = np.arange(len(row.code))
    ax.vlines(k, 0, row.reference.code, color="0.8", lw=4, label="software", zorder=1)
    ax.plot(k, row.code, "o", ms=3.5, color="C0", label="circuit")
    ax.axhline(0, color="0.4", lw=0.6, zorder=0)
    ax.set(xlabel="latent", ylabel="code s (model units)")
    ax.legend(loc="best")


def plot_many(result: MapResult, ax: Axes) -> None:
    """Draw every coefficient of every input, circuit against software."""
    code = np.concatenate([row.code for row in result.rows])
    reference = np.concatenate([row.reference.code for row in result.rows])
    ends = np.array([min(code.min(), reference.min()), max(code.max(), reference.max())])
    ax.plot(ends, ends, color="0.7", lw=1, zorder=0)
    ax.plot(reference, code, ".", ms=3, color="C0")
    ax.set(xlabel="s, software", ylabel="s, circuit")


def plot_gaps(result: MapResult, ax: Axes) -> None:
    """Draw the relative gap of every input's objective, in order of size."""
    gaps = np.sort([max(row.gap, 1e-12) for row in result.rows])
    ax.semilogy(np.arange(1, len(gaps) + 1), gaps, ".", color="C0")
    ax.axhline(1e-3, color="0.6", lw=0.7, ls="--", label="limit of the verdict")
    ax.set(xlabel="inputs, in order", ylabel="objective above minimum (relative)")
    ax.legend(loc="lower right")


def map_figure(sampler: Sampler, samples: Samples, result: MapResult) -> Figure:
    """Return the figure of a circuit that settles; of a stream of inputs the first one's waveforms."""
    row = result.rows[0]
    each = samples.draws_per_row if result.streamed else samples.n_draws
    last = min(20, each - 1)
    shown = samples.until(max(BEYOND * row.settling_time, float(samples.times(last, last + 1)[0])))
    time, states = samples.waveform(min(shown, each))
    u = states[row.chain]
    with new_figure(9.2, 2.9) as fig:
        first, second, third = fig.subplots(1, 3)
        plot_settling(time, u, row, first)
        if result.streamed:
            plot_gaps(result, second)
            plot_many(result, third)
        else:
            at = np.unique(np.linspace(0, len(u) - 1, min(POINTS, len(u))).astype(int))
            energy = objective_of(sampler, sampler.read(u[at]), sampler.x)
            least = row.local_objective
            plot_objective(time[at], (energy - least) / max(least - row.floor, 1e-12), row, second)
            plot_code(row, third)
        second.set_title(f"verdict: {result.verdict}")
    return fig
