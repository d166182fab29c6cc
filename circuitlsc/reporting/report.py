"""Reports as text: the comparison of samples, budgets, lots of chips."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from circuitlsc.io.aligned import aligned
from circuitlsc.reference.statistics import mean_with_mcse
from circuitlsc.reporting.plotting import LABELS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.studies.budget import BudgetEntry, ErrorBudget
from circuitlsc.studies.chip_yield import ChipReport
from circuitlsc.validation.compare import Comparison, Latent
from circuitlsc.validation.judge import Judgement
from circuitlsc.validation.map_result import MapResult
from circuitlsc.validation.run_errors import Entry
from circuitlsc.validation.stream_compare import StreamComparison

ALL_ROWS = 24  # more latents than this are too many to read


def comparison_report(sampler: Sampler, samples: Samples, judgement: Judgement) -> str:
    """Return the comparison as a table: per latent circuit, SDE, exact, MCSE and z; then the checks and the verdict."""
    c, stats = judgement.comparison, samples.stats
    names = [n for n in LABELS if n != "p_active" or sampler.model.prior.sparse]
    shown = _rows(c.latents, names)
    lines = _latent_table(
        [LABELS[n] for n in names],
        f"{'circuit':>8} {'SDE':>8} {'exact':>8} {'error':>7} {'z':>6}",
        {k: [_entry(getattr(c.latents[k], n)) for n in names] for k in shown},
    )
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


def _latent_table(titles: list[str], block: str, rows: Mapping[int, list[str]]) -> list[str]:
    """Return a line per latent, with a block of columns for each statistic."""
    return [
        " " * 7 + " | ".join(f"{title:^{len(block)}}" for title in titles),
        "latent " + " | ".join(block for _ in titles),
        *(f"{k:>6} " + " | ".join(cells) for k, cells in rows.items()),
    ]


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
            *aligned(
                {"latent": ">6", "circuit": ">12.6f", "software": ">12.6f", "difference": ">+12.1e"},
                ((i, row.code[i], row.reference.code[i], row.code[i] - row.reference.code[i]) for i in np.sort(shown)),
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
    tables = [(title, rows) for title, rows in (("P(active)", c.p_active), ("mean of s", c.mean)) if rows]
    lines = []
    if tables:
        worst = sorted(range(len(c.mean)), key=lambda k: -max(abs(rows[k].z) for _, rows in tables))[:ALL_ROWS]
        cells = {k: [rows[k] for _, rows in tables] for k in sorted(worst)}
        lines = _latent_table(
            [title for title, _ in tables],
            f"{'circuit':>8} {'exact':>8} {'SE':>7} {'z':>6}",
            {k: [f"{r.circuit:8.4f} {r.exact:8.4f} {r.se:7.4f} {r.z:+6.2f}" for r in row] for k, row in cells.items()},
        )
        if len(worst) < len(c.mean):
            lines.append(f"({len(worst)} of {len(c.mean)} latents: the largest |z|; comparison.json has all)")
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
    columns = {"circuit": "<34", "dP(active)": ">18", "dmean": ">18", "TV of supports": ">17", "dP(both)": ">17"}
    run = budget.run
    lines = [
        *aligned({**columns, "notes": ""}, map(_budget_row, budget.entries)),
        "",
        f"changes against the circuit with ideal parts on the same noise, of the latent (of {latents}) or pair that changes "
        "most; (standard error of the paired difference)",
        "ideal: against the exact posterior, unpaired",
        f"{run.chains} x {run.t_stop:g} tau per circuit, step {budget.sampler.plan.step:.4g} tau, {budget.sampler.form} form",
    ]
    return "\n".join(lines)


def _budget_row(entry: BudgetEntry) -> list[str | None]:
    data = entry.to_dict()

    def cell(what: str) -> str | None:
        value, se = data[f"d_{what}"], data[f"d_{what}_se"]
        return None if value is None else f"{value:+.4f} ({se:.4f})"

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
    return [name, *map(cell, ("p_active", "mean", "tv", "coactive")), "; ".join(notes)]


def chips_report(report: ChipReport) -> str:
    """Return a lot of chips as a table, and the yield."""
    low, high = report.interval
    columns = {"chip": ">6", "largest error": ">14.4f", "s.e.": ">8.4f", "verdict": ""}
    lines = [
        *aligned(columns, ((c.seed, c.error, c.error_se, c.verdict) for c in report.chips)),
        "",
        f"yield {report.passed} of {len(report.chips)} within {report.tolerance:g} of the ideal circuit in every P(active), "
        f"and mean in units of the slab; 95 % interval {low:.0%} to {high:.0%}",
    ]
    return "\n".join(lines)
