"""What the figures after Taniguchi et al. 2022 say, as lines of text: the numbers, and what differs from the paper."""

from __future__ import annotations

import numpy as np

from circuitlsc.learning.autoencoder import METHODS, PUBLISHED_SD
from examples.paper.ald_points import LAYERS, NOISE, PointsData, Sampled
from examples.paper.lae_batch import HIDDEN, LEARNED_BATCHES, SIDE, BatchData
from examples.paper.lae_digits import BATCH, LEVELS, NAMES, DigitsData
from examples.paper.vsc_measures import mean_se

_ABOUT = "Taniguchi et al. 2022. What differs:"


def ald_points_report(data: PointsData) -> str:
    """Return the largest deviation from exact moments of every toy, virials, and what fewer features sample."""
    lines = [
        f"three points    {_moments(data.points)}",
        f"random network  {_moments(data.network)}",
        f"{'features':>8} {'rank':>5} {'from its law':>13} {'virial/K':>16} {'mean off the posterior':>23} {'exact':>7}",
    ]
    for s in data.ranks:
        virial = f"{s.virial[0]:.3f} ({s.virial[1]:.3f})"
        lines.append(
            f"{s.features:>8} {s.rank:>5} {s.z:>8.2f} MCSE {virial:>16} {s.apart[0]:>20.3f} sd {s.apart[1]:>7.3f}"
        )
    lines += [
        "virial: sum over points of <z . grad E>, which is K rank; mean off the posterior: the largest, of the draws and exact "
        "for the posterior under the condition that codes are W phi; in brackets: MCSE",
        f"{_ABOUT} {data.steps:,} steps of eta {data.eta:g} of {data.chains} chains, accepted or rejected, for its 3,000; "
        f"features of {' x '.join(map(str, LAYERS))} fixed random layers, of a mean square of 1; its printed covariance is not "
        f"symmetric, and .6 stands for both; its random network is not given: here two layers of 16, noise {NOISE:g}",
    ]
    return "\n".join(lines)


def _moments(s: Sampled) -> str:
    return (
        f"largest deviation of {s.moments} means and second moments {s.z:.2f} MCSE; virial/K {s.virial[0]:.3f} "
        f"({s.virial[1]:.3f}) for {s.rank}; {s.accepted:.2f} of the steps accepted"
    )


def lae_batch_report(data: BatchData) -> str:
    """Return the temperature of codes for every batch, and what was learned."""
    lines = [f"{'batch':>5} {'n/B':>5} {'temperature as published':>25} {'with T = B/n':>16}"]
    for h in data.hot:
        shown = [f"{value:.3f} ({se:.3f})" for value, se in (h.published, h.divided)]
        lines.append(f"{h.batch:>5} {data.inputs / h.batch:>5g} {shown[0]:>25} {shown[1]:>16}")
    for batch in LEARNED_BATCHES:
        for divided in (False, True):
            runs = data.of(batch, divided)
            measured = [np.array([np.mean(getattr(a, what)) for a in runs]) for what in ("norm", "cosine", "active")]
            norm, cosine, active = (f"{value:.3f} ({se:.3f})" for value, se in map(mean_se, measured))
            least, whose = min(float(a.cosine.min()) for a in runs), "of the data" if divided else "as published"
            lines.append(
                f"atoms, batch {batch} of {data.learned_from}, noise {whose}: norm {norm} "
                f"of the data's, cosine {cosine}, least {least:.3f}; codes active {active} for {data.pi:g}"
            )
    lines += [
        f"temperature: variance of codes over that of the posterior, {data.inputs} inputs of a linear model, orthogonal "
        f"features; atoms: {SIDE}x{SIDE} bars, {HIDDEN} fixed features for {data.learned_from} inputs; in brackets: standard "
        "error over seeds",
        f"{_ABOUT} the paper has neither; the dictionary and the spike-and-slab prior are those of Fang et al. 2022",
    ]
    return "\n".join(lines)


def lae_digits_report(data: DigitsData) -> str:
    """Return what held-out digits cost by every method, in what order, and what the published bound is made of."""
    lines = [
        f"{'method':<8} {'-log p(x)':>17} {'less VAE':>18} {'-bound':>17} {'of training':>17} {'sd':>6} {'noise':>6}"
    ]
    for method in METHODS:
        runs = data.of(method)
        pairs = [data.likelihood(method), data.apart(method)]
        pairs += [
            mean_se(-np.array([getattr(r, what) for r in runs]) / data.pixels) for what in ("bound", "bound_seen")
        ]
        cells = [f"{value:.4f} ({se:.4f})" for value, se in pairs]
        sd, noise = (float(np.mean([getattr(r, what) for r in runs])) for what in ("sd", "noise"))
        lines.append(
            f"{NAMES[method]:<8} {cells[0]:>17} {cells[1]:>18} {cells[2]:>17} {cells[3]:>17} {sd:>6.3f} {noise:>6.3f}"
        )
    gap, se = data.apart("langevin")
    verdict = "as in the paper" if gap < -2 * se else "not the paper's order" if gap > 2 * se else "within the errors"
    others = [float(np.mean([r.sd for r in data.of(m)])) for m in METHODS[1:]]
    narrow = data.codes / data.pixels * np.log(np.mean(others) / PUBLISHED_SD)
    unseen = float(np.mean([r.bound_seen - r.bound for r in data.of("langevin")])) / data.pixels
    order = " < ".join(NAMES[m] for m in sorted(METHODS, key=lambda m: data.likelihood(m)[0]))
    lines += [
        f"order by -log p(x): {order}; LAE less VAE {gap:+.4f} ({se:.4f}) nats per pixel: {verdict} (LAE < VAE, Hoffman)",
        "nats per pixel, held out but for 'of training'; in brackets: standard error over seeds, of differences over seeds and "
        "digits; -log p(x) by annealed importance sampling, -bound as published",
        f"of what the LAE's bound lacks {narrow:.2f} nats per pixel are log({np.mean(others):.2f}/{PUBLISHED_SD:g}) of its "
        f"{data.codes} codes, whose law is held at {PUBLISHED_SD:g} (a twelfth of that on 784 pixels with as many codes), and "
        f"{unseen:.2f} that W phi fits digits of training better than others",
        f"{_ABOUT} {data.trained:,} digits of {data.pixels} pixels and {LEVELS} levels, {data.steps} steps of {BATCH} by Adam, "
        f"one hidden layer of {data.hidden} without normalisation",
    ]
    return "\n".join(lines)
