"""Figures of a run: of samples beside the exact posterior, of a circuit that settles, of many inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from circuitlsc.io.arrays import Array
from circuitlsc.reference.statistics import LABELS
from circuitlsc.reporting.plotting import (
    distinct_colors,
    legend_above,
    new_figure,
    numbered,
    numbers,
    plot_against,
    probable,
)
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.compare import Comparison
from circuitlsc.validation.judge import Judgement
from circuitlsc.validation.law_stream import StreamBias
from circuitlsc.validation.map_result import TOLERANCE, MapResult, Settled, objective_of
from circuitlsc.validation.stream_compare import LawStreamComparison, MeanDifference, StreamComparison

SHOWN_TAU = 40.0
SHOWN_SUPPORTS = 10
CROWD = 24  # more latents than this are drawn as a scatter against exact
SHOWN = 8  # waveforms
POINTS = 400  # at which the objective is evaluated
BEYOND = 2.0  # settling times that are drawn
SHOWN_ROWS = 6
LAW = ("law", "draws of the law")  # what a variational circuit is judged by, and correct runs


def figure(sampler: Sampler, samples: Samples, judgement: Judgement) -> Figure:
    """Return the figure of a run: waveforms, statistics against exact, differences, supports."""
    comparison, sparse = judgement.comparison, sampler.model.prior.sparse
    with new_figure(9.2, 5.4) as fig:
        axes = fig.subplot_mosaic([["waves", "waves", "differences"], ["first", "second", "third"]])
        # the liveliest neurons: those that cross the threshold most, or that move most
        p = judgement.circuit.p_active
        lively = p * (1 - p) if sparse else judgement.circuit.sd
        plot_waveforms(samples, judgement, [int(k) for k in np.argsort(-lively, kind="stable")[:2]], axes["waves"])
        called = ("exact", "software SDE") if judgement.bias is None else LAW
        plot_difference(comparison, axes["differences"], called[0])
        axes["differences"].set_title(f"verdict: {comparison.verdict}")
        plot_statistic(comparison, "p_active" if sparse else "mean", axes["first"], called)
        plot_statistic(comparison, "mean" if sparse else "sd", axes["second"], called)
        crowd, last = len(comparison.latents) > CROWD, axes["third"]
        if not crowd:
            legend_above(axes["first"], columnspacing=1, handletextpad=0.4)
        exact, circuit = judgement.exact.support, judgement.circuit.support
        if sparse and exact is not None and circuit is not None:
            plot_supports(exact, circuit, sampler.model.n_latents, last)
        elif crowd and math.isqrt(sampler.model.n_features) ** 2 == sampler.model.n_features:
            plot_images(sampler, judgement, last)
        elif sparse:
            plot_statistic(comparison, "sd", last, called)
        else:
            _plot_reconstruction(sampler, judgement, last)
    return fig


def plot_waveforms(samples: Samples, judgement: Judgement, latents: list[int], ax: Axes) -> None:
    """Draw u(t) of some latents, circuit over the NumPy trapezoid on the same noise, with the threshold; s(t) if u is noise."""
    model, letter = samples.model(), "u" if judgement.bias is None else "s"
    shown = samples.until(float(samples.times(0, 1)[0]) + SHOWN_TAU)
    time, u = samples.times(0, shown), samples.draws(letter).read(0, shown)[0]
    for color, k in zip(distinct_colors(len(latents)), latents, strict=True):
        apart: dict[str, Any] = (
            {"marker": ".", "lw": 0.5} if letter == "s" else {}
        )  # samples that are independent of each other
        ax.plot(time, u[:, k], color=color, label=f"circuit, ${letter}_{{{k}}}$", **apart)
        if judgement.path is not None:
            twin = judgement.path.twin[:shown, k]
            label = "NumPy, same noise" if k == latents[-1] else None
            ax.plot(time[: len(twin)], twin, "k--", lw=0.7, dashes=(4, 3), label=label)
    if model.prior.sparse and letter == "u":
        for level in (-model.prior.threshold, model.prior.threshold):
            ax.axhline(level, color="0.6", lw=0.7, zorder=0)
        ax.text(1.0, model.prior.threshold, r"$\pm u_0$", transform=ax.get_yaxis_transform(), color="0.4", va="center")
    ax.set(xlabel=r"time ($\tau$)", ylabel=f"{letter} (model units)")
    legend_above(ax)


def _entries(comparison: Comparison, statistic: str, *names: str) -> Array:
    return numbers((getattr(latent, statistic) for latent in comparison.latents), *names)


def plot_statistic(
    comparison: Comparison, name: str, ax: Axes, called: tuple[str, str] = ("exact", "software SDE")
) -> None:
    """Draw one statistic (``"p_active"``, ``"mean"`` or ``"sd"``) of every latent: circuit, and ``called``: exact, software."""
    circuit, exact, sde, mcse = _entries(comparison, name, "circuit", "exact", "sde", "mcse")
    error = probable(circuit, 2 * mcse) if name == "p_active" else 2 * mcse
    if len(exact) > CROWD:
        plot_against(exact, circuit, ax, error)
        ax.plot(exact, sde, "kx", ms=2.5, mew=0.6, label=called[1])
        ax.legend(loc="upper left")
        ax.set(xlabel=f"{LABELS[name]}, {called[0]}", ylabel=f"{LABELS[name]}, circuit")
        return
    k = np.arange(len(exact))
    ax.bar(k, exact, width=0.8, color="0.85", label=called[0])
    ax.plot(k + 0.18, sde, "kx", ms=4, mew=0.8, label=called[1])
    ax.errorbar(k - 0.12, circuit, error, fmt="o", ms=3.5, color="C0", label="circuit")
    numbered(ax, len(k))
    ax.set_ylabel(LABELS[name])


def plot_difference(comparison: Comparison, ax: Axes, called: str = "exact") -> None:
    """Draw circuit - exact (as it is ``called``) of every statistic, with z_limit errors and the tolerance; z for a crowd."""
    k = np.arange(len(comparison.latents))
    crowd = len(k) > CROWD
    level = comparison.z_limit if crowd else comparison.tolerance
    for i, (name, label) in enumerate(LABELS.items()):
        circuit, exact, z, *errors = _entries(comparison, name, "circuit", "exact", "z", "mcse", "mcse_exact")
        if name == "p_active" and (exact == 1).all() and not errors[0].any():
            continue  # a prior without a spike: nothing to see
        unit = 1.0 if name == "p_active" else comparison.scale
        style: dict[str, Any] = {"fmt": "o", "ms": 2.5 if crowd else 3, "lw": 0.8, "color": f"C{i}", "label": label}
        if crowd:
            ax.errorbar(k, z, **style)
        else:
            error = comparison.z_limit * np.hypot(*errors) / unit
            ax.errorbar(k + 0.22 * (i - 1), (circuit - exact) / unit, error, **style)
    for sign in (-1, 1):
        ax.axhline(sign * level, color="0.6", lw=0.8, ls=":")
    ax.axhline(0, color="0.6", lw=0.7, zorder=0)
    scaled = "" if comparison.scale == 1 else f" (mean, sd: / {comparison.scale:.3g})"
    numbered(ax, len(k))
    ax.set_ylabel(f"z = (circuit - {called}) / SE" if crowd else f"circuit - {called}{scaled}")
    reach = max(abs(v) for v in ax.get_ylim())
    ax.set_ylim(-1.3 * reach, 1.3 * reach)
    ax.legend(ncols=3, loc="upper left", columnspacing=0.8, handletextpad=0.1)


def plot_images(sampler: Sampler, judgement: Judgement, ax: Axes) -> None:
    """Draw x and its reconstruction A <s>, by the circuit and exact, as square images on one grey scale."""
    side = math.isqrt(sampler.model.n_features)
    images = _reconstructions(sampler, judgement)
    gap = np.full((side, 1), np.nan)
    strips = [part for image in images.values() for part in (gap, image.reshape(side, side))][1:]
    reach = max(float(np.abs(image).max()) for image in images.values())
    ax.imshow(np.hstack(strips), cmap="gray", vmin=-reach, vmax=reach)
    for i, name in enumerate(images):
        ax.text(i * (side + 1) + (side - 1) / 2, side, name, ha="center", va="top", fontsize=7.5)
    ax.axis("off")


def _plot_reconstruction(sampler: Sampler, judgement: Judgement, ax: Axes) -> None:
    """Draw the input and its reconstruction A <s> from the circuit's and from the exact means."""
    j = np.arange(sampler.model.n_features)
    (name, x), (by_circuit, circuit), (by_exact, exact) = _reconstructions(sampler, judgement).items()
    ax.bar(j, x, color="0.85", label=name)
    ax.plot(j, exact, "k--", label=by_exact)
    ax.plot(j, circuit, "o", ms=3, color="C0", label=by_circuit)
    ax.set(xlabel="feature", ylabel="data units")
    ax.legend(loc="best")


def _reconstructions(sampler: Sampler, judgement: Judgement) -> dict[str, Array]:
    """Return x, and A <s> of the circuit and exact, by what a figure calls them."""
    found = {"circuit": judgement.circuit, "exact": judgement.exact}
    return {"x": sampler.x} | {rf"$A\langle s\rangle$, {n}": sampler.model.A @ f.mean for n, f in found.items()}


def plot_supports(exact: dict[int, float], circuit: dict[int, float], n_latents: int, ax: Axes) -> None:
    """Draw the probability of the most likely supports (sets of active latents), circuit beside exact."""
    top = sorted(exact, key=lambda key: (-exact[key], key))[:SHOWN_SUPPORTS]
    y = np.arange(len(top))
    ax.barh(y, [exact[key] for key in top], height=0.8, color="0.85", label="exact")
    ax.plot([circuit.get(key, 0.0) for key in top], y, "o", ms=3.5, color="C0", label="circuit")
    names = [",".join(str(i) for i in range(n_latents) if key >> i & 1) or "none" for key in top]
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel="probability", ylabel="active latents")


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
            plot_objective(np.arange(1, len(result.rows) + 1), np.sort([row.gap for row in result.rows]), second, ".")
            second.set(xlabel="inputs, in order")
            plot_many(result, third)
        else:
            at = np.unique(np.linspace(0, len(u) - 1, min(POINTS, len(u))).astype(int))
            energy = objective_of(sampler, sampler.read(u[at]), sampler.x)
            least = row.local_objective
            plot_objective(time[at], (energy - least) / max(least - row.floor, 1e-12), second)
            settled = f"settled ({row.settling_time:.3g} $\\tau$)"
            second.axvline(row.settling_time, color="0.3", lw=0.7, ls=":", label=settled)
            second.set(xlabel=r"time ($\tau$)")
            plot_code(row, third)
        second.set_title(f"verdict: {result.verdict}")
        second.legend(loc="best")
    return fig


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
        legend_above(ax, ncols=4)


def plot_objective(at: ArrayLike, gap: Array, ax: Axes, style: str = "-") -> None:
    """Draw how far objectives are above software's minimum, relative, over whatever they belong to."""
    ax.semilogy(at, np.maximum(gap, 1e-12), style, color="C0")
    ax.axhline(TOLERANCE, color="0.6", lw=0.7, ls="--", label="limit of the verdict")
    ax.set(ylabel="objective above minimum (relative)")


def plot_code(row: Settled, ax: Axes) -> None:
    """Draw the code of the circuit over that of software."""
    k = np.arange(len(row.code))
    thick = min(1.0, CROWD / len(k))  # of a line and a point, beside those of a few latents
    ax.vlines(k, 0, row.reference.code, color="0.8", lw=max(1.2, 4 * thick), label="software", zorder=1)
    ax.plot(k, row.code, "o", ms=max(1.5, 3.5 * thick), color="C0", label="circuit")
    ax.axhline(0, color="0.4", lw=0.6, zorder=0)
    numbered(ax, len(k))
    ax.set_ylabel("code s (model units)")
    legend_above(ax)


def plot_many(result: MapResult, ax: Axes) -> None:
    """Draw every coefficient of every input, circuit against software."""
    software, circuit = np.concatenate([(row.reference.code, row.code) for row in result.rows], axis=1)
    plot_against(software, circuit, ax)
    ax.set(xlabel="s, software", ylabel="s, circuit")


def stream_figure(sampler: Sampler, samples: Samples, comparison: StreamComparison) -> Figure:
    """Return the figure of a run of many inputs; of a variational circuit, with the bias of its laws."""
    bias = comparison.bias if isinstance(comparison, LawStreamComparison) and comparison.bias.latents else None
    exact = "exact" if sampler.dynamics.has_energy else "law"
    with new_figure(9.2 if bias is None else 11.2, 2.9) as fig:
        drawn = [(name, rows) for name in ("mean", "p_active") if (rows := getattr(comparison, name))]
        panels = len(drawn) + (bias is not None)
        first, *others = np.atleast_1d(fig.subplots(1, 1 + panels, width_ratios=[2] + [1] * panels))
        plot_inputs(sampler, samples, first)
        first.set_title(f"verdict: {comparison.verdict}", loc="right")
        for (name, rows), ax in zip(drawn, others, strict=False):
            plot_differences(rows, LABELS[name], comparison.z_limit, ax, exact)
        if bias is not None:
            plot_bias(bias, drawn[-1][0], others[-1])
    return fig


def plot_inputs(sampler: Sampler, samples: Samples, ax: Axes) -> None:
    """Draw the codes of the first inputs that the liveliest latents have, with a line at each change."""
    assert sampler.stream is not None
    hold = sampler.stream.hold
    time, (s, *_) = samples.waveform(samples.until(SHOWN_ROWS * hold), "s")
    for color, k in enumerate(np.argsort(-s.std(axis=0), kind="stable")[:3]):
        ax.plot(time, s[:, k], ".", ms=2.5, color=f"C{color}", label=f"$s_{{{k}}}$")
    for row in range(1, min(SHOWN_ROWS, len(sampler.x))):
        ax.axvline(row * hold, color="0.7", lw=0.7, zorder=0)
    ax.set(xlabel=r"time ($\tau$); a line is a new input", ylabel="s (model units)")
    legend_above(ax)


def plot_differences(rows: tuple[MeanDifference, ...], what: str, limit: float, ax: Axes, exact: str = "exact") -> None:
    """Draw circuit minus exact, averaged over inputs, with error bars of ``limit`` standard errors."""
    k = np.arange(len(rows))
    d, se = numbers(rows, "difference", "se")
    ax.axhline(0, color="0.4", lw=0.6, zorder=0)
    ax.errorbar(k, d, limit * se, fmt="o", ms=3, lw=0.8, color="C0")
    numbered(ax, len(k))
    ax.set_ylabel(f"{what}: circuit - {exact}")


def plot_bias(bias: StreamBias, name: str, ax: Axes) -> None:
    """Draw how far the laws of a stream are from the posteriors, in one statistic: rms, and mean with two errors."""
    k = np.arange(len(bias.latents))
    mean, se, rms = (np.array([latent[f"{name}{end}"] for latent in bias.latents]) for end in ("", "_se", "_rms"))
    ax.bar(k, 2 * rms, bottom=-rms, width=0.8, color="0.85", label=r"$\pm$ rms over inputs")
    ax.axhline(0, color="0.4", lw=0.6)
    ax.errorbar(k, mean, 2 * se, fmt="o", ms=3, lw=0.8, color="C1", label="mean over inputs")
    reach = 1.5 * float(max(rms.max(), (np.abs(mean) + 2 * se).max()))
    numbered(ax, len(k))
    ax.set(ylabel=f"{LABELS[name]}: law - posterior", ylim=(-reach, reach))
    ax.legend(loc="upper left")
