"""What the figures in kind after Fallah & Rozell 2022 say, as lines of text: the numbers, and what differs from the paper."""

from __future__ import annotations

import numpy as np

from examples.paper.figure_runs import USED
from examples.paper.vsc_gradients import HALF_WAY, SWITCH_CODE, SWITCH_SIGMA, GradientsData
from examples.paper.vsc_laws import LawsData
from examples.paper.vsc_max import BATCH, HIDDEN, WAYS, MaxData
from examples.paper.vsc_measures import MOST, SILENT, mean_se
from examples.paper.vsc_patches import ENCODER_STEPS, METHODS, VscPatchesData, VscPatchRun

_ABOUT = "Fallah & Rozell 2022 in kind (the paper's own numbers are not compared). What differs:"


def vsc_gradients_report(data: GradientsData) -> str:
    """Return SNR, bias and the slope of needed latents at every end of J, and where the slope's sign is wrong."""
    ends = [0, len(data.draws) - 1]
    lines = [f"{'estimator':<17} {'draws':<8} {'of':<4} J = {data.draws[0]} and {data.draws[-1]}: SNR, bias / rms"]
    for c in data.curves:
        shown = "; ".join(f"{c.snr[k]:.3g} ({c.snr_se[k]:.2g}), {c.bias[k]:.3g} ({c.bias_se[k]:.2g})" for k in ends)
        lines.append(f"{c.estimator:<17} {c.reduce:<8} {c.parameter:<4} {shown}")
    needed = [
        f"{reduce} of {data.draws[-1]} {c.needed[-1]:+.2f} ({c.needed_se[-1]:.2f})"
        for reduce in ("average", "max")
        for c in [data.curve("straight-through", reduce, "rho")]
    ]
    lines.append(
        f"slope in rho of latents that should switch on, mean: exact {data.exact[0]:+.2f} ({data.exact[1]:.2f}), "
        f"straight-through {', '.join(needed)}"
    )
    for place in (int(np.argmin(np.abs(np.array(data.shifts) - shift))) for shift in (0.4, 1.0)):
        told = ", ".join(
            f"{name} {data.told[name][place]:+.2f} ({data.told_se[name][place]:.2f})" for name in data.told
        )
        lines.append(
            f"one needed atom (P .14, sigma {SWITCH_SIGMA:g}, data at {SWITCH_CODE:g}), shift {data.shifts[place]:g}: exact "
            f"slope in rho {data.slope[place]:+.2f}, straight-through {told}"
        )
    lines += [
        "the average's slope in rho is towards a smaller scale everywhere: it cannot tell a latent to switch on; best-of-J "
        "does where the shift falls short of the data; straight-through's slope in mu lacks the factor P(active)",
        f"{_ABOUT} 4x4 bars with a known dictionary, {data.n_inputs} inputs, pi {data.pi:g}, sigma {data.sigma:g}; laws at "
        f"{HALF_WAY:g} of the codes that made the inputs; bias, from the exact gradient, is not in the paper",
    ]
    return "\n".join(lines)


def vsc_max_report(data: MaxData) -> str:
    """Return what encoders of every way ended with: mean over seeds and its standard error."""
    lines = [f"{'trained by':<28} {'ELBO':>16} {'P(active)':>16} {'causes - others':>16} {'collapsed':>10}"]
    for way in WAYS:
        runs = data.of(way)
        cells = [mean_se(np.array([getattr(run, what) for run in runs])) for what in ("final", "active", "contrast")]
        shown = " ".join(f"{value:>9.3f} ({se:.3f})" for value, se in cells)
        lines.append(f"{way!s:<28} {shown} {', '.join(str(run.collapsed) for run in runs):>10}")
    K = len(data.runs[0].usage)
    lines += [
        f"log p(x) {data.log_p[0]:.3f} ({data.log_p[1]:.3f} over {data.held_out} held-out inputs); in brackets: "
        f"standard error over seeds; causes: latents that made the input; collapsed: of {K}, KL "
        f"below {SILENT:g} nats for {MOST:.0%} of inputs",
        f"{_ABOUT} 4x4 bars with a known dictionary, encoder 16-{HIDDEN[0]}, {data.steps} steps of {BATCH} inputs by Adam, pi "
        f"{data.pi:g}, sigma {data.sigma:g}; ELBO is the bound of the law itself",
    ]
    return "\n".join(lines)


def vsc_patches_report(data: VscPatchesData) -> str:
    """Return dead atoms, log p(x), collapse and what is measured of codes, for every dictionary."""
    lines = [_dictionary(run) for run in data.runs]
    for seed, gain, se in data.gain():
        lines.append(
            f"seed {seed}: log p(x) by the sampling learner's dictionary minus the other's {gain:+.2f} ({se:.2f}) nats"
        )
    names = ("coder", "error", "energy", "active", "Jaccard", "pair information", "shuffled")
    lines.append(f"{'dictionary':<12} {names[0]:<10}" + "".join(f"{name:>20}" for name in names[1:]))
    for method in METHODS:
        for place, codes in enumerate(data.of(method)[0].codes):
            each = [run.codes[place] for run in data.of(method)]
            pairs = [[getattr(c, what)[0] for c in each] for what in ("error", "energy", "active", "jaccard")]
            pairs += [[c.information for c in each], [c.shuffled for c in each]]
            cells = "".join(f"{'{:.4g} ({:.2g})'.format(*mean_se(np.array(values))):>20}" for values in pairs)
            lines.append(f"{method:<12} {codes.coder:<10}{cells}")
    stages = ", ".join(f"{s.duration:g} tau at step {s.step:g}, tau_A {s.tau_A:g}" for s in data.stages)
    lines += [
        "in brackets, of codes: standard error over seeds; error: abs(x - A s)^2/D; energy: abs(x - A s)^2/(2 sigma^2) + lam "
        "sum abs(s), which the lasso minimises; encoder, exact posterior: one draw; pair information in nats, of used atoms",
        f"dead (coefficient collapse): below {USED:.0%} of the longest; collapsed (posterior): KL from the prior "
        f"below {SILENT:g} nats for {MOST:.0%} of patches; never on: P(active) below {data.pi / 2:g} for every patch",
        f"{_ABOUT} {data.source}; pi {data.pi:g}, lam {data.lam:g}, sigma {data.sigma:g}, held by both; variational: "
        f"{data.steps} steps of {data.batch} patches, exact bound, Adam, one hidden layer; sampling: {stages}, hold "
        f"{data.stages[0].hold:g} of which {data.stages[0].pause:g} pause; its encoder {ENCODER_STEPS} steps",
    ]
    return "\n".join(lines)


def _dictionary(run: VscPatchRun) -> str:
    K, n = run.A.shape[1], len(run.log_p)
    (log_p, se), (bound, bound_se) = mean_se(run.log_p), mean_se(run.bound)
    return (
        f"{run.method}, seed {run.seed}: {K - run.n_used} of {K} atoms dead, {run.collapsed} latents collapsed, "
        f"{run.never} never on; held-out log p(x) {log_p:.2f} ({se:.2f} over {n} patches; {run.log_p_quick:.2f} with a "
        f"quarter of the sweeps), by weighted draws refused for {run.refused} of {n}{_weighted(run)}; encoder's ELBO "
        f"{bound:.2f} ({bound_se:.2f}); {run.seconds:.0f} s of processor time"
    )


def _weighted(run: VscPatchRun) -> str:
    """Return how far the two estimates of log p(x) are apart where both exist."""
    kept = np.isfinite(run.weighted)
    if not kept.any():
        return ""
    apart, se = mean_se((run.weighted - run.log_p)[kept])
    return f" (others differ by {apart:+.3f} ({se:.3f}))"


def vsc_laws_report(data: LawsData) -> str:
    """Return bounds, zeros, active codes and Jaccard index of every family on both data sets."""
    lines = [
        f"{'data':<12} {'law':<21}"
        + "".join(f"{name:>17}" for name in ("bound", "gap", "zero", "active", "Jaccard", "error"))
    ]
    for name in data.log_p:
        for law in data.of(name):
            cells = [mean_se(law.bound), mean_se(data.log_p[name] - law.bound)]
            cells += [law.zero, law.active, law.jaccard, law.error]
            lines.append(f"{name:<12} {law.family:<21}" + "".join(f"{f'{v:.3f} ({se:.3f})':>17}" for v, se in cells))
        prior, se = mean_se(data.log_p[name] - data.log_p_gaussian[name])
        lines.append(f"{name:<12} of the Gaussian's gap {prior:.3f} ({se:.3f}) is its prior's, and the rest its law's")
    lines += [
        f"bound: of log p(x) under the family's own prior, in nats, the best law of each of {data.n_inputs} inputs; gap: what "
        "it lacks to log p(x) under the spike-and-slab prior; zero: codes exactly 0; active: codes above "
        f"{data.cut:g} of the slab's scale, and Jaccard index of those of two draws; in brackets: standard error over inputs",
        f"{_ABOUT} no encoder and no training of one; closed forms in place of draws; 4x4 bars with a known dictionary; "
        "patches with one that was learned under the spike-and-slab prior, which favours thresholded laws; concrete at T = "
        f"{data.temperature:g}",
    ]
    return "\n".join(lines)
