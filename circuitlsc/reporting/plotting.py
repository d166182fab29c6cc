"""Figures of a run; every function draws into the axes that it is given.

The same everywhere: the circuit is solid and coloured, NumPy is black and dashed, the exact posterior is grey. Error bars
are two Monte-Carlo standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

if TYPE_CHECKING:  # drawings use the style, and none of these
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.validation.compare import Comparison
    from circuitlsc.validation.judge import Judgement


STYLE = str(files("circuitlsc.reporting") / "circuitlsc.mplstyle")
#: The style's, by value: "C0" would be looked up when a figure is saved, outside the style. Okabe and Ito's, without yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C564B")
LABELS = {"p_active": "P(active)", "mean": "mean of s", "sd": "sd of s"}
SHOWN_TAU = 40.0
SHOWN_SUPPORTS = 10
CROWD = 24  # more latents than this are drawn as a scatter against exact


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of that size in inches; what is drawn within the block has the package's style."""
    with matplotlib.style.context(STYLE, after_reset=True):
        yield Figure(figsize=(width, height), layout="constrained")


def distinct_colors(n: int) -> list[str]:
    """Return n colours, no two alike: the style's, or as many out of a colour map if these do not do."""
    if n <= len(COLORS):
        return list(COLORS[:n])
    return [to_hex(color) for color in matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, n))]


def plot_waveforms(samples: Samples, judgement: Judgement, latents: list[int], ax: Axes) -> None:
    """Draw u(t) of some latents, circuit over the NumPy trapezoid on the same noise, with the threshold."""
    model = samples.model()
    shown = samples.until(float(samples.times(0, 1)[0]) + SHOWN_TAU)
    time, u = samples.times(0, shown), samples.draws("u").read(0, shown)[0]
    for color, k in zip(distinct_colors(len(latents)), latents, strict=True):
        ax.plot(time, u[:, k], color=color, label=f"circuit, $u_{{{k}}}$")
        if judgement.path is not None:
            twin = judgement.path.twin[:shown, k]
            label = "NumPy, same noise" if k == latents[-1] else None
            ax.plot(time[: len(twin)], twin, "k--", lw=0.7, dashes=(4, 3), label=label)
    if model.prior.sparse:
        for level in (-model.prior.threshold, model.prior.threshold):
            ax.axhline(level, color="0.6", lw=0.7, zorder=0)
        ax.annotate(
            r"$\pm u_0$", (1.0, model.prior.threshold), xycoords=("axes fraction", "data"), color="0.4", va="center"
        )
    ax.set(xlabel=r"time ($\tau$)", ylabel="u (model units)")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def plot_statistic(comparison: Comparison, name: str, ax: Axes) -> None:
    """Draw one statistic (``"p_active"``, ``"mean"`` or ``"sd"``) of every latent: circuit, software SDE, exact."""
    rows = [getattr(latent, name) for latent in comparison.latents]
    circuit, exact = (np.array([getattr(r, what) for r in rows]) for what in ("circuit", "exact"))
    mcse = np.array([r.mcse for r in rows])
    sde = np.array([np.nan if r.sde is None else r.sde for r in rows])
    if len(rows) > CROWD:
        low, high = min(exact.min(), circuit.min()), max(exact.max(), circuit.max())
        ax.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=0)
        ax.errorbar(exact, circuit, 2 * mcse, fmt="o", ms=2.5, lw=0.7, color="C0", label="circuit")
        ax.plot(exact, sde, "kx", ms=2.5, mew=0.6, label="software SDE")
        ax.legend(loc="upper left")
        ax.set(xlabel=f"{LABELS[name]}, exact", ylabel=f"{LABELS[name]}, circuit")
        return
    k = np.arange(len(rows))
    ax.bar(k, exact, width=0.8, color="0.85", label="exact")
    ax.plot(k + 0.18, sde, "kx", ms=4, mew=0.8, label="software SDE")
    ax.errorbar(k - 0.12, circuit, 2 * mcse, fmt="o", ms=3.5, color="C0", label="circuit")
    ax.set(xlabel="latent", ylabel=LABELS[name])
    ax.set_xticks(k if len(k) <= 12 else k[::4])


def plot_difference(comparison: Comparison, ax: Axes) -> None:
    """Draw circuit - exact of every statistic with z_limit standard errors and the tolerance; z alone for a crowd."""
    k = np.arange(len(comparison.latents))
    crowd = len(k) > CROWD
    for color, (name, label) in enumerate(LABELS.items()):
        unit = 1.0 if name == "p_active" else comparison.scale
        rows = [getattr(latent, name) for latent in comparison.latents]
        if name == "p_active" and all(r.exact == 1 and r.mcse == 0 for r in rows):
            continue  # a prior without a spike: nothing to see
        style: dict[str, Any] = {"ms": 2.5 if crowd else 3, "color": f"C{color}", "label": label}
        if crowd:
            ax.plot(k, [r.z for r in rows], "o", **style)
            continue
        d = np.array([r.circuit - r.exact for r in rows]) / unit
        se = np.array([np.hypot(r.mcse, r.mcse_exact) for r in rows]) / unit
        ax.errorbar(k + 0.22 * (color - 1), d, comparison.z_limit * se, fmt="o", lw=0.8, **style)
    level = comparison.z_limit if crowd else comparison.tolerance
    for sign in (-1, 1):
        ax.axhline(sign * level, color="0.6", lw=0.8, ls=":")
    ax.axhline(0, color="0.6", lw=0.7, zorder=0)
    scaled = "" if comparison.scale == 1 else f" (mean, sd: / {comparison.scale:.3g})"
    ax.set(xlabel="latent", ylabel="z = (circuit - exact) / SE" if crowd else f"circuit - exact{scaled}")
    ax.set_xticks(k if len(k) <= 12 else k[:: max(1, len(k) // 8)])
    reach = max(abs(v) for v in ax.get_ylim())
    ax.set_ylim(-1.3 * reach, 1.3 * reach)
    ax.legend(ncols=3, loc="upper left", columnspacing=0.8, handletextpad=0.1)


def plot_images(sampler: Sampler, judgement: Judgement, ax: Axes) -> None:
    """Draw x and its reconstruction A <s>, by the circuit and exact, as square images on one grey scale."""
    side = math.isqrt(sampler.model.n_features)
    images = {
        "x": sampler.x,
        "circuit": sampler.model.A @ judgement.circuit.mean,
        "exact": sampler.model.A @ judgement.exact.mean,
    }
    gap = np.full((side, 1), np.nan)
    strips = [part for image in images.values() for part in (gap, image.reshape(side, side))][1:]
    reach = max(float(np.abs(image).max()) for image in images.values())
    ax.imshow(np.hstack(strips), cmap="gray", vmin=-reach, vmax=reach)
    for i, name in enumerate(["x", r"$A\langle s\rangle$, circuit", r"$A\langle s\rangle$, exact"]):
        ax.text(i * (side + 1) + (side - 1) / 2, side, name, ha="center", va="top", fontsize=7.5)
    ax.axis("off")


def plot_supports(judgement: Judgement, n_latents: int, ax: Axes) -> None:
    """Draw the probability of the most likely supports (sets of active latents), circuit beside exact."""
    exact, circuit = judgement.exact.support, judgement.circuit.support
    assert exact is not None
    assert circuit is not None
    top = sorted(exact, key=lambda key: (-exact[key], key))[:SHOWN_SUPPORTS]
    y = np.arange(len(top))
    ax.barh(y, [exact[key] for key in top], height=0.8, color="0.85", label="exact")
    ax.plot([circuit.get(key, 0.0) for key in top], y, "o", ms=3.5, color="C0", label="circuit")
    names = [",".join(str(i) for i in range(n_latents) if key >> i & 1) or "none" for key in top]
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel="probability", ylabel="active latents")


def figure(sampler: Sampler, samples: Samples, judgement: Judgement) -> Figure:
    """Return the figure of a run: waveforms, statistics against exact, differences, supports."""
    comparison, sparse = judgement.comparison, sampler.model.prior.sparse
    with new_figure(9.2, 5.4) as fig:
        grid = fig.add_gridspec(2, 3)
        wave, diff = fig.add_subplot(grid[0, :2]), fig.add_subplot(grid[0, 2])
        # the liveliest neurons: those that cross the threshold most, or that move most
        p = judgement.circuit.p_active
        lively = p * (1 - p) if sparse else judgement.circuit.sd
        plot_waveforms(samples, judgement, [int(k) for k in np.argsort(-lively, kind="stable")[:2]], wave)
        plot_difference(comparison, diff)
        diff.set_title(f"verdict: {comparison.verdict}")
        first = fig.add_subplot(grid[1, 0])
        plot_statistic(comparison, "p_active" if sparse else "mean", first)
        plot_statistic(comparison, "mean" if sparse else "sd", fig.add_subplot(grid[1, 1]))
        if len(comparison.latents) <= CROWD:
            first.legend(
                ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, columnspacing=1, handletextpad=0.4
            )
        last = fig.add_subplot(grid[1, 2])
        if sparse and judgement.exact.support is not None and judgement.circuit.support is not None:
            plot_supports(judgement, sampler.model.n_latents, last)
        elif len(comparison.latents) > CROWD and math.isqrt(sampler.model.n_features) ** 2 == sampler.model.n_features:
            plot_images(sampler, judgement, last)
        elif sparse:
            plot_statistic(comparison, "sd", last)
        else:
            _plot_reconstruction(sampler, judgement, last)
    return fig


def _plot_reconstruction(sampler: Sampler, judgement: Judgement, ax: Axes) -> None:
    """Draw the input and its reconstruction A <s> from the circuit's and from the exact means."""
    j = np.arange(sampler.model.n_features)
    ax.bar(j, sampler.x, color="0.85", label="x")
    ax.plot(j, sampler.model.A @ judgement.exact.mean, "k--", label=r"$A\langle s\rangle$, exact")
    ax.plot(j, sampler.model.A @ judgement.circuit.mean, "o", ms=3, color="C0", label=r"$A\langle s\rangle$, circuit")
    ax.set(xlabel="feature", ylabel="data units")
    ax.legend(loc="best")


def save_figure(fig: Figure, path: Path) -> None:
    """Write a figure as PNG, without a date in it."""
    # its resolution, and colours that are looked up when they are drawn
    with matplotlib.style.context(STYLE, after_reset=True):
        fig.savefig(path, metadata={"Software": "circuitlsc"})
