"""Reports as text: the comparison of samples, budgets, lots of chips, sweeps of friction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.io.aligned import aligned
from circuitlsc.reference.statistics import MARGINALS, mean_with_mcse
from circuitlsc.reporting.plotting import LABELS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.studies.budget import BudgetEntry, ErrorBudget
from circuitlsc.studies.chip_yield import ChipReport
from circuitlsc.studies.friction import FrictionSweep
from circuitlsc.validation.compare import Comparison, Latent
from circuitlsc.validation.judge import Judgement
from circuitlsc.validation.law import Bias, Weighted
from circuitlsc.validation.law_stream import RowsApart, StreamBias
from circuitlsc.validation.map_result import MapResult
from circuitlsc.validation.memory_compare import MemoryComparison
from circuitlsc.validation.run_errors import Entry
from circuitlsc.validation.stream_compare import LawStreamComparison, StreamComparison
from circuitlsc.validation.verdict import Verdict

ALL_ROWS = 24  # more latents than this are too many to read
MOST_NOTES = 4  # on inputs


def comparison_report(sampler: Sampler, samples: Samples, judgement: Judgement) -> str:
    """Return the comparison as a table: per latent circuit, SDE, exact, MCSE and z; then the checks and the verdict."""
    c, stats = judgement.comparison, samples.stats
    names = [n for n in LABELS if n != "p_active" or sampler.model.prior.sparse]
    shown = _shown(c.latents, names)
    fields = attrgetter("circuit", "sde", "exact", "mcse", "z")
    blocks = {LABELS[n]: [fields(getattr(c.latents[k], n)) for k in shown] for n in names}
    truth = _truth(sampler)
    software = "SDE" if sampler.dynamics.has_energy else "NumPy"
    columns = {"circuit": ">8.4f", software: ">8.4f", truth: ">8.4f", "error": ">7.4f", "z": ">+6.2f"}
    lines = _latent_table(shown, columns, blocks)
    lines += [
        *_some(shown, c.latents, "the largest means, and the largest |z|"),
        "",
        f"reference      {c.reference}; z against it, limit {c.z_limit:.2f} for all statistics together (largest "
        f"{c.max_abs_z:.2f}; p = {c.p_value:.2g})",
        f"errors         of {c.null_runs} software runs like this one{_scaled(c)}; a fault of {c.detectable[0]:.2g} to "
        f"{c.detectable[1]:.2g} would show, tolerance {c.tolerance:g}",
        *(_joint(c) if sampler.model.prior.sparse else ()),
        f"same noise     {judgement.path_reason}"
        if judgement.path is None
        else _same_noise(sampler, judgement.path.to_dict(), f"the first {{time:g}} of {c.t_stop:g} tau"),
        *(
            _biased(judgement.bias)
            if judgement.bias
            else [f"temperature    <u dE/du> / T per latent: {_virial(c.virial)}"]
        ),
        *(_weighted(judgement.weighted) if judgement.weighted else ()),
        f"residual       E|x - A s|^2: circuit {c.residual_power.circuit:.4f}, {truth} {c.residual_power.exact:.4f} "
        f"(z {c.residual_power.z:+.2f})",
        f"chains         {len(stats['chain'])} x {c.t_stop:g} tau, {c.n_draws} samples kept, smallest effective sample size "
        f"{c.ess_min:.0f}, largest rank R-hat {'infinite' if c.rhat_max is None else f'{c.rhat_max:.3f}'}",
        *_momentum(sampler, samples),
    ]
    return _ended(lines, samples, c, c.notes)


def _biased(bias: Bias) -> list[str]:
    """Say how far the law of a variational circuit is from the posterior."""
    worst = {name: max((abs(latent[name]), latent[f"{name}_se"]) for latent in bias.latents) for name in LABELS}
    far = ", ".join(f"{LABELS[name]} {off:.3g}" + f" +- {se:.1g}" * (se > 0) for name, (off, se) in worst.items())
    kl = f"unknown ({bias.kl_reason})" if bias.kl is None else f"{bias.kl:.3f} +- {bias.kl_se:.2g} nats"
    return [
        f"bias           of the encoder's law, no fault of the circuit: KL from the posterior {kl};",
        f"               largest differences from the posterior ({bias.reference}): {far}",
    ]


def _weighted(found: Weighted) -> list[str]:
    """Say what the samples of a variational circuit are to the posterior when they are weighted."""
    if found.ess_share is None:
        return [f"weighted       refused: {found.reason}"]
    pairs = {name: [(row[f"{name}_difference"] or 0.0, row[f"{name}_se"]) for row in found.latents] for name in LABELS}
    worst = {name: max(each, key=lambda pair: abs(pair[0])) for name, each in pairs.items()}
    far = ", ".join(f"{LABELS[name]} {off:+.3g} +- {se:.1g}" for name, (off, se) in worst.items())
    missed = "they do not agree (no fault of the circuit: the law is too thin somewhere, or misses a mode)"
    said = {True: "they agree", False: missed, None: str(found.reason)}[found.agrees]
    z = "" if found.max_abs_z is None else f"largest |z| {found.max_abs_z:.2f}, limit {found.z_limit:.2f}: "
    return [
        f"weighted       by p(x, s)/q(s), {100 * found.ess_share:.3g} % of {found.n} draws are effective; {z}{said}",
        f"               largest differences from the posterior: {far}",
    ]


def _ended(lines: list[str], samples: Samples, found: Verdict, notes: Sequence[str] = ()) -> str:
    """Return a report: these lines, what ngspice spent, and the verdict."""
    end = [_spent(samples), *(f"note           {note}" for note in notes)]
    return "\n".join([*lines, *end, f"verdict        {found.verdict}: {found.reason}"])


def _latent_table(
    latents: Sequence[int],
    columns: Mapping[str, str],
    blocks: Mapping[str, Sequence[Sequence[float | None]]],
    *,
    called: str = "latent",
    last: Mapping[str, str] | None = None,
) -> list[str]:
    """Return a line per latent (or what is ``called`` so), with a block of columns for each statistic; others for the last."""
    drawn = []
    for k, (title, rows) in enumerate(blocks.items(), 1):
        lines = aligned(columns if last is None or k < len(blocks) else last, rows)
        drawn.append([f"{title:^{len(lines[0])}}", *lines])
    first = [" " * 7, f"{called:<7}", *(f"{k:>6} " for k in latents)]
    return [start + " | ".join(cells) for start, *cells in zip(first, *drawn, strict=True)]


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
    said = f"{value.min():.3f} .. {value.max():.3f} (1 is right; largest |z| {worst:.2f})"
    return [f"momentum       <p^2> / T per latent: {said}"]


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
        shown = k[_worst(np.abs(row.code[k]), ALL_ROWS)]
        columns = {"latent": ">6", "circuit": ">12.6f", "software": ">12.6f", "difference": ">+12.1e"}
        both = ((i, row.code[i], row.reference.code[i]) for i in shown)
        lines = [
            *aligned(columns, ((i, found, known, found - known) for i, found, known in both)),
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
    lines.append(f"reference      {result.rows[0].reference.method}; cost: {result.cost}")
    return _ended(lines, samples, result)


def _truth(sampler: Sampler) -> str:
    """Return what a table calls the numbers that a correct circuit has."""
    return "exact" if sampler.dynamics.has_energy else "law"


def stream_report(sampler: Sampler, samples: Samples, c: StreamComparison) -> str:
    """Return the comparison of many inputs as a table: averages over inputs, circuit and exact."""
    tables = {title: rows for title, rows in (("P(active)", c.p_active), ("mean of s", c.mean)) if rows}
    lines = []
    if tables:
        shown = _worst([max(abs(row.z) for row in each) for each in zip(*tables.values(), strict=True)], ALL_ROWS)
        columns = {"circuit": ">8.4f", _truth(sampler): ">8.4f", "SE": ">7.4f", "z": ">+6.2f"}
        fields = attrgetter("circuit", "exact", "se", "z")
        blocks = {title: [fields(rows[k]) for k in shown] for title, rows in tables.items()}
        lines = _latent_table(shown, columns, blocks)
        said = f"averages over {c.compared_rows} inputs; z limit {c.z_limit:.2f} (largest {c.max_abs_z:.2f})"
        lines += [*_some(shown, c.mean, "the largest |z|"), "", f"reference      {said}"]
    if c.pathwise is not None:
        lines.append(_same_noise(sampler, c.pathwise, "{time:g} tau"))
    if isinstance(c, LawStreamComparison):
        lines += [*_rows_apart(c.rows_apart), *_biased_rows(c.bias)]
        lines += [f"step           {c.half_step.told()}"] if c.half_step is not None else []
    lines += [
        f"inputs         {c.n_rows} of {c.hold:g} tau each, {c.draws_per_row} samples kept of each, one transient",
        *_momentum(sampler, samples),
    ]
    return _ended(lines, samples, c)


def memory_report(sampler: Sampler, samples: Samples, c: MemoryComparison) -> str:
    """Return the comparison of a memory as a table: an input per line with its largest differences; then the checks."""
    names = [n for n in LABELS if n != "p_active" or sampler.model.prior.sparse]
    shown = _worst([each.max_abs_z / each.z_limit for each in c.inputs], ALL_ROWS)
    blocks: dict[str, list[list[float | None]]] = {}
    for name in names:
        entries = [[getattr(latent, name) for latent in c.inputs[n].latents] for n in shown]
        worst = [max(each, key=lambda e: abs(e.circuit - e.exact)) for each in entries]
        blocks[LABELS[name]] = [[e.circuit - e.exact, e.mcse] for e in worst]
    blocks["of all statistics"] = [[c.inputs[n].max_abs_z, c.inputs[n].z_limit, c.inputs[n].ess_min] for n in shown]
    columns = {"largest": ">+8.4f", "error": ">7.4f"}
    last = {"|z|": ">6.2f", "limit": ">6.2f", "ESS": ">7.0f"}
    lines = _latent_table(shown, columns, blocks, called="input", last=last)
    if len(shown) < len(c.inputs):
        lines.append(f"({len(shown)} of {len(c.inputs)} inputs: the largest |z|; comparison.json has all)")
    median, least = c.ess_per_visit
    rhat = "infinite" if c.rhat_max is None else f"{c.rhat_max:.3f}"
    lines += [
        "",
        f"reference      {c.inputs[0].reference}, and software runs as long as an input's own time; the largest |z| is "
        f"{c.largest:.2f} of its limit, which {c.n_inputs} inputs widen by {c.widened:.2f}",
        *_within_visit(sampler, c),
    ]
    if c.virial is not None:
        lines.append(
            f"temperature    sum over inputs of <u dE/du> / (T K) {c.virial.value:.3f} ({c.virial.se:.3f}), rank of the "
            f"features {c.virial.exact:g} (z {c.virial.z:+.2f}, limit {c.virial_limit:.2f})"
        )
    if c.pathwise is not None:
        lines.append(_same_noise(sampler, c.pathwise, "{time:g} tau"))
    lines += [
        f"visits         {c.visits} of each of {c.n_inputs} inputs in each of {len(samples.chains)} chains, {c.hold:g} tau "
        f"each, {c.draws_per_visit} samples kept",
        f"               effective ones in a visit {median:.3g} (median), {least:.2g} (smallest); largest rank R-hat {rhat}",
    ]
    notes = [f"input {n}: {note}" for n, each in enumerate(c.inputs) for note in each.notes]
    left = [f"{len(notes) - MOST_NOTES} more are in comparison.json"] if len(notes) > MOST_NOTES else []
    return _ended(lines, samples, c, [*notes[:MOST_NOTES], *left])


def _within_visit(sampler: Sampler, c: MemoryComparison) -> list[str]:
    """Say whether differences depend on when in a visit they are measured."""
    if not c.within_visit:
        return []
    what = LABELS["p_active" if sampler.model.prior.sparse else "mean"]
    told = (f"{w.place} {w.mean:+.2g} +- {w.mean_se:.1g} (largest |z| {w.largest:.2f})" for w in c.within_visit)
    return [
        f"within visits  {what} - exact, average over inputs and latents (limit of |z| {c.within_limit:.2f}):",
        f"               {', '.join(told)}",
    ]


def _rows_apart(apart: RowsApart) -> list[str]:
    """Say how far single inputs are from their laws."""
    what = {"P(active)": (apart.p_active, apart.p_active_detectable), "mean": (apart.mean, apart.mean_detectable)}
    told = (f"{name} {max(rms):.3g} ({least:.2g} would show)" for name, (rms, least) in what.items() if rms)
    return [
        f"each input     differs from its law, in root mean square beyond noise, by at most {', '.join(told)};",
        f"               the largest is input {apart.largest_row} (z {apart.z:+.2f})",
    ]


def _biased_rows(bias: StreamBias) -> list[str]:
    """Say how far the laws of a stream are from the posteriors."""
    said = "bias           of the encoder's laws, no fault of the circuit"
    kl = f"unknown ({bias.kl_reason})" if bias.kl is None else f"{bias.kl:.3f} +- {bias.kl_se:.2g} nats"
    if not bias.latents:
        return [f"{said}: {kl}"]
    left = f" (log p(x) of {bias.refused} more is refused)" if bias.refused else ""
    told = []
    for name in LABELS:
        worst = max(bias.latents, key=lambda latent: latent[f"{name}_rms"])
        mean, se, rms = (worst[f"{name}{end}"] for end in ("", "_se", "_rms"))
        told.append(f"{LABELS[name]} {rms:.3g} (mean {mean:+.3g} +- {se:.1g})")
    return [
        f"{said}, over {bias.rows} inputs{left}: KL from the posteriors {kl};",
        f"               root mean square of the latent that is farthest off ({bias.reference}): {', '.join(told)}",
    ]


def _same_noise(sampler: Sampler, found: Mapping[str, float], over: str) -> str:
    """Say how far the circuit is from NumPy on the same noise."""
    what = "circuit - NumPy"
    if sampler.nonideal.imperfections():
        what += " (with the parts' static errors, without lags, rails and noise colour)"
    text = f"same noise     {what}: rms {{rms:.2g}}, max {{max_abs:.2g}} units over {over}"
    return text.format(**found)


def _joint(c: Comparison) -> tuple[str, str]:
    """Return the lines on which latents are active together."""
    tv = c.support
    apart = str(tv.reason) if tv.tv is None else f"total variation {tv.tv:.4f}, sampling floor {tv.tv_floor:.4f}"
    return f"pairs          P(both active): largest |z| {c.max_abs_z_pairs:.2f}", f"supports       {apart}"


def _shown(latents: tuple[Latent, ...], names: list[str]) -> list[int]:
    """Return which latents to print: all, or of a crowd those that say most."""
    if len(latents) <= ALL_ROWS:
        return list(range(len(latents)))
    by_mean = _worst([abs(latent.mean.exact) for latent in latents], ALL_ROWS // 2)
    by_z = _worst([max(abs(getattr(latent, n).z) for n in names) for latent in latents], ALL_ROWS // 4)
    return sorted({*by_mean, *by_z})


def _some(shown: Sequence[int], latents: Sequence[object], which: str) -> list[str]:
    """Say which latents are shown if these are not all."""
    told = f"({len(shown)} of {len(latents)} latents: {which}; comparison.json has all)"
    return [told] if len(shown) < len(latents) else []


def _worst(sizes: ArrayLike, n: int) -> list[int]:
    """Return the places of the n largest numbers, in order."""
    return sorted(np.argsort(-np.asarray(sizes), kind="stable")[:n].tolist())


def _virial(rows: tuple[Entry, ...] | None) -> str:
    if not rows:
        return "not available"
    values = [row.circuit for row in rows]
    worst = max(rows, key=lambda row: abs(row.z))
    return f"{min(values):.3f} .. {max(values):.3f} (1 is right; largest |z| {abs(worst.z):.2f})"


def budget_report(budget: ErrorBudget) -> str:
    """Return an error budget as a table: changes with standard errors, prediction, and the check at half the step."""
    latents = str(budget.sampler.model.n_latents)
    if budget.sampler.dynamics.remembers:
        latents += f" of each of {len(budget.sampler.x)} inputs"
    columns = {"circuit": "<34", "dP(active)": ">18", "dmean": ">18", "TV of supports": ">17", "dP(both)": ">17"}
    run, sampler, written = budget.run, budget.sampler, budget.sampler.dynamics.remembers
    layout = sampler.system.layout(sampler.form)
    zero = {"exact": "the exact posterior", "law": "the closed form of the encoder's law"}[budget["ideal"].against]
    return _table(
        {**columns, "notes": ""},
        map(_budget_row, budget.entries),
        f"changes against the circuit with ideal parts on the same noise, of the latent (of {latents}) or pair that changes "
        "most; (standard error of the paired difference)",
        f"ideal: against {zero}, unpaired",
        *(
            [
                "TV: mean over inputs; crosstalk: of one input in another's states, and how far its own response is from 1"
            ]
            * written
        ),
        f"{run.chains} x {run.t_stop:g} tau per circuit, step {sampler.plan.step:.4g} tau, {layout}",
    )


def _table(columns: Mapping[str, str], rows: Iterable[Sequence[float | str | None]], *below: str) -> str:
    return "\n".join([*aligned(columns, rows), "", *below])


def _budget_row(entry: BudgetEntry) -> list[str | None]:
    def cell(what: str) -> str | None:
        value, se = entry.largest(what)
        return None if value is None else f"{value:+.4f} ({se:.4f})"

    name = entry.name
    if len(entry.parameters) == 1 and "=" not in name:
        ((_, value),) = entry.parameters.items()
        name += f" = {value:.4g}" if isinstance(value, (int, float)) else f" = {value}"
    notes = []
    if entry.parameters and not any(getattr(entry.change, statistic).any() for statistic in MARGINALS):
        notes.append("no effect at all: the circuit does not depend on it")
    elif (p := entry.prediction) is not None:
        k, j = entry.latent("p_active"), entry.latent("mean")
        beyond = "" if entry.prediction_holds else ": not as predicted"
        notes.append(f"{p.method}: {p.p_active[k]:+.4f}, {p.mean[j]:+.4f}{beyond}")
    if entry.crosstalk is not None:
        notes.append("crosstalk {:.2g}, own {:.2g}".format(*np.round(entry.crosstalk, 9)))
    if entry.step_agrees is not None:
        notes.append(
            "same at half the step" if entry.step_agrees else "DIFFERENT at half the step: depends on the step"
        )
    return [name, *map(cell, ("p_active", "mean", "tv", "coactive")), "; ".join(notes)]


def chips_report(report: ChipReport) -> str:
    """Return a lot of chips as a table, and the yield."""
    low, high = report.interval
    columns = {"chip": ">6", "largest error": ">14.4f", "s.e.": ">8.4f", "verdict": ""}
    return _table(
        columns,
        ((c.seed, c.error, c.error_se, c.verdict) for c in report.chips),
        f"yield {report.passed} of {len(report.chips)} within {report.tolerance:g} of the ideal circuit in every P(active), "
        f"and mean in units of the slab; 95 % interval {low:.0%} to {high:.0%}",
    )


def friction_report(sweep: FrictionSweep) -> str:
    """Return a sweep as a table."""
    columns = {"friction": ">10.4g", "ESS per tau": ">12.3f", "relative": ">9.2f", "step": ">9.4f", "us/step": ">8.1f"}
    best, measured = sweep.best, attrgetter("ess_per_tau", "relative", "step", "us_per_step", "max_abs_z", "max_error")
    return _table(
        {**columns, "max |z|": ">8.2f", "error": ">8.4f"},
        ((row.friction or "overdamped", *measured(row)) for row in sweep.rows),
        f"mass {sweep.mass:.4g} tau, {sweep.t_stop:g} tau per chain; ESS of the slowest statistic; against {sweep.reference}",
        f"best friction {best.friction:.4g}: {best.relative:.2f} times the effective samples per tau of the overdamped circuit",
    )
