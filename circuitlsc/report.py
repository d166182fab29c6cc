"""Reports as text: the scaling of a circuit, the comparison of its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.cells import Buffer, Crossbar, Inverter, ResistorCrossbar, ThermalNoise, TransimpedanceSum
from circuitlsc.checks import blocks, flatten
from circuitlsc.statistics import mean_with_mcse

if TYPE_CHECKING:
    from circuitlsc.budget import BudgetEntry, ErrorBudget
    from circuitlsc.chips import ChipReport
    from circuitlsc.compare import Comparison, Entry, Latent
    from circuitlsc.experiment import Judgement
    from circuitlsc.map_result import MapResult
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples
    from circuitlsc.stream_compare import StreamComparison

ALL_ROWS = 24  # more latents than this are too many to read
LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: Sampler) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    s, plan, model = sampler.scaling, sampler.plan, sampler.model
    ranges = sampler.ranges
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, (Crossbar, ResistorCrossbar))]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    groups = blocks(model.gram)
    rows = [
        (
            "circuit",
            f"{sampler.level} level, {sampler.form} form, {model.n_features} x {model.n_latents}, {len(g)} conductances, "
            f"{len(flatten(sampler.circuit))} elements" + (", loop broken" if sampler.loop == "broken" else ""),
        ),
        ("dynamics", sampler.what()),
        *_stream_rows(sampler),
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
        *([("conductances", f"{g.min():.3g} .. {g.max():.3g} S (ratio {g.max() / g.min():.3g})")] if len(g) else []),
        (
            "op-amps",
            f"closed-loop bandwidth >= {LAG * plan.fastest_mode / (2 * np.pi * s.tau):.3g} Hz "
            f"({LAG} times the fastest mode) keeps a mode's variance within {1 / LAG:.0%}",
        ),
        _noise_row(sampler),
        *_device_rows(sampler),
        (
            "blocks",
            "1 (every latent is coupled to every other, directly or not)"
            if len(groups) == 1
            else f"{len(groups)}: {groups}; each could be a circuit of its own",
        ),
        *(("warning", line) for line in plan.warnings),
    ]
    return "\n".join(f"{name:<14} {text}" for name, text in rows)


def _noise_row(sampler: Sampler) -> tuple[str, str]:
    s, noise = sampler.scaling, sampler.graph.noise
    if noise is None:
        return ("noise", "none: the circuit settles")
    power = sampler.temperature * noise.strength**2
    amperes = s.noise_amperes(sampler.plan.step, power)
    return (
        "noise",
        f"{amperes:.4g} A rms held for {sampler.plan.step:.4g} tau: {s.noise_lift * power:.3g} times the "
        f"thermal noise power of a {s.tau / s.c_int:.3g} ohm resistor at 300 K",
    )


def _stream_rows(sampler: Sampler) -> list[tuple[str, str]]:
    """Return how the inputs follow each other."""
    if sampler.stream is None:
        return []
    stream = sampler.stream
    how = "one after the other" if stream.interpolate == "hold" else "with lines between them"
    return [("inputs", f"{len(stream.rows)} of {stream.hold:g} tau each, {how}: {stream.t_stop:g} tau in all")]


def _device_rows(sampler: Sampler) -> list[tuple[str, str]]:
    """Return what a device-level circuit adds: crossbars and amplifiers, the lifted noise, the imperfections."""
    if sampler.level != "device":
        return []
    rows = []
    for cell in sampler.graph.cells:
        if isinstance(cell, TransimpedanceSum):
            shape = cell.crossbar.conductances_siemens.shape
            gains = np.diag(cell.noise_gain)
            rows.append(
                (
                    "crossbar",
                    f"{cell.crossbar.name}: {shape[0] * shape[1]} resistors ({shape[0]} rows, {shape[1] // 2} column pairs), "
                    f"R_f {cell.feedback:.4g} ohm, noise gains {gains.min():.3g} .. {gains.max():.3g}",
                )
            )
        elif isinstance(cell, ThermalNoise):
            part = sampler.nonideal.noise
            b = cell.corner_rate
            rows.append(
                (
                    "thermal noise",
                    f"R_n {part.resistance:.4g} ohm at {cell.hardware.noise_kelvin:.4g} K, "
                    + ("white" if np.isinf(b) else f"corner {b / (2 * np.pi * sampler.scaling.tau):.3g} Hz")
                    + f", lifted into the neuron by g_m = {cell.gain:.4g} S",
                )
            )
    amps = sum(c.size for c in sampler.graph.cells if isinstance(c, (TransimpedanceSum, Inverter, Buffer)))
    rows.append(("op-amps", f"{amps} in all"))
    found = ", ".join(f"{i.name} = {i.value}" for i in sampler.nonideal.imperfections())
    rows.append(("imperfections", f"{found} (seed {sampler.nonideal.seed})" if found else "none: ideal parts"))
    return rows


def comparison_report(sampler: Sampler, samples: Samples, judgement: Judgement) -> str:
    """Return the comparison as a table: per latent circuit, SDE, exact, MCSE and z; then the checks and the verdict."""
    c, stats = judgement.comparison, samples.stats
    names = [n for n in ("p_active", "mean", "sd") if n != "p_active" or sampler.model.prior.sparse]
    titles = {"p_active": "P(active)", "mean": "mean of s", "sd": "sd of s"}
    block = f"{'circuit':>8} {'SDE':>8} {'exact':>8} {'error':>7} {'z':>6}"
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
    lines += [
        "",
        f"reference      {c.reference}; z against it, limit {c.z_limit:.2f} for all statistics together (largest "
        f"{c.max_abs_z:.2f}; p = {c.p_value:.2g})",
        f"errors         of {c.null_runs} software runs like this one{_scaled(c)}; a fault of {c.detectable[0]:.2g} to "
        f"{c.detectable[1]:.2g} would show, tolerance {c.tolerance:g}",
        *(_joint(c) if sampler.model.prior.sparse else ()),
        "same noise     "
        + (
            f"{_twin_name(sampler)}: rms {c.pathwise.rms:.2g}, max {c.pathwise.max_abs:.2g} units "
            f"over the first {c.pathwise.time:g} of {c.t_stop:g} tau"
            if c.pathwise.rms is not None
            else str(judgement.path_reason)
        ),
        f"temperature    <u dE/du> / T per latent: {_virial(c.virial)}",
        f"residual       E|x - A s|^2: circuit {c.residual_power.circuit:.4f}, exact {c.residual_power.exact:.4f} "
        f"(z {c.residual_power.z:+.2f})",
        f"chains         {len(stats['chain'])} x {c.t_stop:g} tau, {c.n_draws} samples kept, smallest effective sample size "
        f"{c.ess_min:.0f}, largest rank R-hat {'infinite' if c.rhat_max is None else f'{c.rhat_max:.3f}'}",
        *_momentum(sampler, samples),
        _spent(samples),
        *(f"note           {note}" for note in c.notes),
        f"verdict        {c.verdict}: {c.reason}",
    ]
    return "\n".join(lines)


def _scaled(c: Comparison) -> str:
    """Say how long the replicates are."""
    if c.null_scaled:
        return f", put together from {c.null_length:.4g} tau each"
    return "" if c.null_length > 0.85 * (c.t_stop - 25) else f", of {c.null_length:.4g} tau"


def _spent(samples: Samples) -> str:
    """Say what ngspice spent."""
    stats = samples.stats
    steps = float(stats["steps"].sum())
    wall = float((stats["wall"] / stats["steps"]).mean()) * 1e6
    return (
        f"ngspice        {wall:.1f} us per step and chain, {float(stats['points'].sum()) / steps:.4f} time points and "
        f"{float(stats['iterations'].sum()) / steps:.2f} Newton iterations per step, "
        f"{int(stats['rejected'].sum())} points rejected"
    )


def _momentum(sampler: Sampler, samples: Samples) -> list[str]:
    """Say how warm the momenta are: <p^2> is T, whatever the posterior is."""
    if "p" not in samples.tree["posterior"]:
        return []
    value, mcse = mean_with_mcse(samples.draws("p").map(lambda p: p**2 / sampler.temperature))
    worst = float(np.max(np.abs(value - 1) / mcse))
    return [
        f"momentum       <p^2> / T per latent: {value.min():.3f} .. {value.max():.3f} (1 is right; largest |z| {worst:.2f})"
    ]


def map_report(sampler: Sampler, samples: Samples, result: MapResult) -> str:
    """Return what a circuit settled on as a table: code, software's code, objective, settling time."""
    if result.streamed:
        rows = result.rows
        gaps, times = np.array([row.gap for row in rows]), np.array([row.settling_time for row in rows])
        lines = [
            f"inputs         {len(rows)}; {sum(row.settled for row in rows)} settled, "
            f"{sum(row.same_support for row in rows)} with software's support",
            f"objective      above software's minimum, relative: median {np.median(gaps):.1e}, largest {gaps.max():.1e}",
            f"settling       median {np.median(times):.3g} tau, longest {times.max():.3g} tau (each starts from the last)",
        ]
    else:
        (row,) = result.rows
        k = np.flatnonzero((row.code != 0) | (row.reference.code != 0))
        shown = k[np.argsort(-np.abs(row.code[k]), kind="stable")][:ALL_ROWS]
        lines = [
            f"{'latent':>6} {'circuit':>12} {'software':>12} {'difference':>12}",
            *(
                f"{i:>6} {row.code[i]:12.6f} {row.reference.code[i]:12.6f} {row.code[i] - row.reference.code[i]:+12.1e}"
                for i in np.sort(shown)
            ),
            f"({len(k)} of {len(row.code)} coefficients are not zero"
            + (f"; the {len(shown)} largest are shown)" if len(shown) < len(k) else ")"),
            "",
            f"objective      {row.objective:.9g}, software {row.reference.objective:.9g} (relative gap {row.gap:.1e})",
            f"support        {'the same' if row.same_support else 'different'} (below 1 % of the largest left out)",
            f"settling       {row.settling_time:.4g} tau = {row.settling_time * sampler.scaling.tau:.3g} s to 1 %",
        ]
        if (chains := len(samples.chains)) > 1:
            lines.append(
                f"chains         {chains}, from different states; shown is chain {row.chain}, with the lowest objective"
            )
    return "\n".join(
        [
            *lines,
            f"reference      {result.rows[0].reference.method}; cost: {result.cost}",
            _spent(samples),
            f"verdict        {result.verdict}: {result.reason}",
        ]
    )


def stream_report(sampler: Sampler, samples: Samples, c: StreamComparison) -> str:
    """Return the comparison of many inputs as a table: averages over inputs, circuit and exact."""
    block = f"{'circuit':>8} {'exact':>8} {'SE':>7} {'z':>6}"
    titles = [("P(active)", c.p_active), ("mean of s", c.mean)]
    tables = [(title, rows) for title, rows in titles if rows]
    lines = []
    if tables:
        lines = [
            " " * 7 + " | ".join(f"{title:^{len(block)}}" for title, _ in tables),
            "latent " + " | ".join(block for _ in tables),
        ]
        crowd = len(c.mean) > ALL_ROWS
        worst = sorted(range(len(c.mean)), key=lambda k: -max(abs(rows[k].z) for _, rows in tables))
        for k in sorted(worst[:ALL_ROWS]):
            cells = (rows[k] for _, rows in tables)
            lines.append(
                f"{k:>6} " + " | ".join(f"{r.circuit:8.4f} {r.exact:8.4f} {r.se:7.4f} {r.z:+6.2f}" for r in cells)
            )
        lines += [f"({ALL_ROWS} of {len(c.mean)} latents: the largest |z|; comparison.json has all)"] if crowd else []
        lines += [
            "",
            f"reference      averages over {c.compared_rows} inputs; z limit {c.z_limit:.2f} (largest {c.max_abs_z:.2f})",
        ]
    if c.pathwise is not None:
        p = c.pathwise
        lines.append(
            f"same noise     {_twin_name(sampler)}: rms {p['rms']:.2g}, max {p['max_abs']:.2g} units over {p['time']:g} tau"
        )
    return "\n".join(
        [
            *lines,
            f"inputs         {c.n_rows} of {c.hold:g} tau each, {c.draws_per_row} samples kept of each, one transient",
            *_momentum(sampler, samples),
            _spent(samples),
            f"verdict        {c.verdict}: {c.reason}",
        ]
    )


def _twin_name(sampler: Sampler) -> str:
    """Say what the circuit is compared with on the same noise."""
    if sampler.nonideal.imperfections():
        return "circuit - NumPy (with the parts' static errors, without lags, rails and noise colour)"
    return "circuit - NumPy"


def _joint(c: Comparison) -> tuple[str, str]:
    """Return the lines on which latents are active together."""
    tv = c.support
    return (
        f"pairs          P(both active): largest |z| {c.max_abs_z_pairs:.2f}",
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


def budget_report(budget: ErrorBudget) -> str:
    """Return an error budget as a table: changes with standard errors, prediction, and the check at half the step."""
    latents = budget.sampler.model.n_latents
    head = f"{'circuit':<34} {'dP(active)':>18} {'dmean':>18} {'TV of supports':>17} {'dP(both)':>17}   notes"
    lines = [head, *(_budget_row(entry) for entry in budget.entries)]
    run = budget.run
    lines += [
        "",
        f"changes against the circuit with ideal parts on the same noise, of the latent (of {latents}) or pair that changes "
        "most; (standard error of the paired difference)",
        "ideal: against the exact posterior, unpaired",
        f"{run.chains} x {run.t_stop:g} tau per circuit, step {budget.sampler.plan.step:.4g} tau, {budget.sampler.form} form",
    ]
    return "\n".join(lines)


def _budget_row(entry: BudgetEntry) -> str:
    data = entry.to_dict()

    def cell(what: str, width: int) -> str:
        value, se = data[f"d_{what}"], data[f"d_{what}_se"]
        return " " * (width - 1) + "-" if value is None else f"{value:+.4f} ({se:.4f})".rjust(width)

    name = entry.name
    if len(entry.parameters) == 1 and "=" not in name:
        ((_, value),) = entry.parameters.items()
        name += f" = {value:.4g}" if isinstance(value, (int, float)) else f" = {value}"
    notes = []
    d = entry.change
    if entry.parameters and not (d.p_active.any() or d.mean.any() or d.sd.any()):
        notes.append("no effect at all: the circuit does not depend on it")
    elif (p := entry.prediction) is not None:
        k, j = entry.latent("p_active"), entry.latent("mean")
        notes.append(
            f"small signals: {p.p_active[k]:+.4f}, {p.mean[j]:+.4f}"
            + ("" if entry.prediction_holds else ": beyond them")
        )
    if entry.step_agrees is not None:
        notes.append(
            "same at half the step" if entry.step_agrees else "DIFFERENT at half the step: depends on the step"
        )
    row = f"{name:<34} {cell('p_active', 18)} {cell('mean', 18)} {cell('tv', 17)} {cell('coactive', 17)}"
    return row + ("   " + "; ".join(notes) if notes else "")


def chips_report(report: ChipReport) -> str:
    """Return a lot of chips as a table, and the yield."""
    low, high = report.interval
    lines = [f"{'chip':>6} {'largest error':>14} {'s.e.':>8}   verdict"]
    lines += [f"{c.seed:>6} {c.error:>14.4f} {c.error_se:>8.4f}   {c.verdict}" for c in report.chips]
    lines += [
        "",
        f"yield {report.passed} of {len(report.chips)} within {report.tolerance:g} of the ideal circuit in every P(active), "
        f"and mean in units of the slab; 95 % interval {low:.0%} to {high:.0%}",
    ]
    return "\n".join(lines)
