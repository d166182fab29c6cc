"""Reports as text: the scaling of a circuit, the comparison of its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.cells import Crossbar
from circuitlsc.checks import blocks, flatten
from circuitlsc.scaling import expected_ranges

if TYPE_CHECKING:
    from circuitlsc.compare import Comparison, Entry, Latent
    from circuitlsc.experiment import Judgement
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples

ALL_ROWS = 24  # more latents than this are too many to read
LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: Sampler) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    s, plan, model = sampler.scaling, sampler.plan, sampler.model
    ranges = expected_ranges(model, sampler.x)
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, Crossbar)]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    groups = blocks(model.gram)
    noise = s.noise_amperes(plan.step, sampler.temperature)
    rows = [
        (
            "circuit",
            f"{sampler.form} form, {model.n_features} x {model.n_latents}, {len(g)} conductances, "
            f"{len(flatten(sampler.circuit))} elements",
        ),
        *(("step", line) for line in plan.explanation),
        (
            "units",
            f"u, s {s.volt:.4g} V; r {s.volt_r:.4g} V; e {s.volt_e:.4g} V; drift {s.drift_current:.4g} A; "
            f"tau {s.tau:.4g} s; c_int {s.c_int:.4g} F",
        ),
        (
            "voltages",
            f"|u| up to {ranges.u:.3g} units = {ranges.u * s.volt:.3g} V, |e| up to {ranges.e:.3g} units = "
            f"{ranges.e * s.volt_e:.3g} V; rails +-{s.rails:g} V",
        ),
        ("currents", f"into a neuron up to {ranges.e * s.drift_current:.3g} A"),
        ("conductances", f"{g.min():.3g} .. {g.max():.3g} S (ratio {g.max() / g.min():.3g})"),
        (
            "op-amps",
            f"closed-loop bandwidth >= {LAG * plan.fastest_mode / (2 * np.pi * s.tau):.3g} Hz "
            f"({LAG} times the fastest mode) keeps a mode's variance within {1 / LAG:.0%}",
        ),
        (
            "noise",
            f"{noise:.4g} A rms held for {plan.step:.4g} tau: {s.noise_lift * sampler.temperature:.3g} times the "
            f"thermal noise power of a {s.tau / s.c_int:.3g} ohm resistor at 300 K",
        ),
        (
            "blocks",
            "1 (every latent is coupled to every other, directly or not)"
            if len(groups) == 1
            else f"{len(groups)}: {groups}; each could be a circuit of its own",
        ),
        *(("warning", line) for line in plan.warnings),
    ]
    return "\n".join(f"{name:<14} {text}" for name, text in rows)


def comparison_report(sampler: Sampler, samples: Samples, judgement: Judgement) -> str:
    """Return the comparison as a table: per latent circuit, SDE, exact, MCSE and z; then the checks and the verdict."""
    c, stats = judgement.comparison, samples.stats
    names = [n for n in ("p_active", "mean", "sd") if n != "p_active" or sampler.model.prior.sparse]
    titles = {"p_active": "P(active)", "mean": "mean of s", "sd": "sd of s"}
    block = f"{'circuit':>8} {'SDE':>8} {'exact':>8} {'MCSE':>7} {'z':>6}"
    lines = [
        " " * 7 + " | ".join(f"{titles[n]:^{len(block)}}" for n in names),
        "latent " + " | ".join(block for _ in names),
    ]
    shown = _rows(c.latents, names)
    lines += [f"{k:>6} " + " | ".join(_entry(getattr(c.latents[k], n)) for n in names) for k in shown]
    if len(shown) < len(c.latents):
        lines.append(
            f"({len(shown)} of {len(c.latents)} latents: the largest means, and the largest |z|; comparison.json has all)"
        )
    steps = float(stats["steps"].sum())
    wall = float((stats["wall"] / stats["steps"]).mean()) * 1e6
    lines += [
        "",
        f"reference      {c.reference}; z against it, limit {c.z_limit:.2f} (largest {c.max_abs_z:.2f})",
        *(_joint(c) if sampler.model.prior.sparse else ()),
        "same noise     "
        + (
            f"circuit - NumPy: rms {c.pathwise.rms:.2g}, max {c.pathwise.max_abs:.2g} units "
            f"over the first {c.pathwise.time:g} of {c.t_stop:g} tau"
            if c.pathwise.rms is not None
            else str(judgement.path_reason)
        ),
        f"temperature    <u dE/du> / T per latent: {_virial(c.virial)}",
        f"residual       E|x - A s|^2: circuit {c.residual_power.circuit:.4f}, exact {c.residual_power.exact:.4f} "
        f"(z {c.residual_power.z:+.2f})",
        f"chains         {len(stats['chain'])} x {c.t_stop:g} tau, {c.n_draws} samples kept, smallest effective sample size "
        f"{c.ess_min:.0f}, largest rank R-hat {'infinite' if c.rhat_max is None else f'{c.rhat_max:.3f}'}",
        f"ngspice        {wall:.1f} us per step and chain, {float(stats['points'].sum()) / steps:.4f} time points and "
        f"{float(stats['iterations'].sum()) / steps:.2f} Newton iterations per step, "
        f"{int(stats['rejected'].sum())} points rejected",
        f"verdict        {c.verdict}: {c.reason}",
    ]
    return "\n".join(lines)


def _joint(c: Comparison) -> tuple[str, str]:
    """Return the lines on which latents are active together."""
    tv = c.support
    return (
        f"pairs          P(both active): largest |z| {c.max_abs_z_pairs:.2f}, limit {c.z_limit_pairs:.2f}",
        "supports       "
        + (f"total variation {tv.tv:.4f}, sampling floor {tv.tv_floor:.4f}" if tv.tv is not None else str(tv.reason)),
    )


def _rows(latents: tuple[Latent, ...], names: list[str]) -> list[int]:
    """Return which latents to print: all, or of a crowd those that say most."""
    if len(latents) <= ALL_ROWS:
        return list(range(len(latents)))
    by_mean = sorted(range(len(latents)), key=lambda k: -abs(latents[k].mean.exact))
    by_z = sorted(range(len(latents)), key=lambda k: -max(abs(getattr(latents[k], n).z) for n in names))
    return sorted({*by_mean[: ALL_ROWS // 2], *by_z[: ALL_ROWS // 4]})


def _entry(e: Entry) -> str:
    sde = "-" if e.sde is None else f"{e.sde:.4f}"
    return f"{e.circuit:8.4f} {sde:>8} {e.exact:8.4f} {e.mcse:7.4f} {e.z:+6.2f}"


def _virial(rows: tuple[Entry, ...] | None) -> str:
    if not rows:
        return "not available"
    values = [row.circuit for row in rows]
    worst = max(rows, key=lambda row: abs(row.z))
    return f"{min(values):.3f} .. {max(values):.3f} (1 is right; largest |z| {abs(worst.z):.2f})"
