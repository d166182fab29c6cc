"""Reports: the comparison of samples with what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.io.report import Facts, Note, Report, Table, p_text
from circuitlsc.reference.statistics import LABELS, mean_with_mcse
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.compare import Comparison, Latent
from circuitlsc.validation.judge import Judgement
from circuitlsc.validation.law import Bias, Weighted
from circuitlsc.validation.law_stream import RowsApart, StreamBias
from circuitlsc.validation.map_result import MapResult
from circuitlsc.validation.memory_compare import MemoryComparison
from circuitlsc.validation.run_errors import Entry
from circuitlsc.validation.stream_compare import LawStreamComparison, StreamComparison

ALL_ROWS = 24  # more latents than this are too many to read
MOST_NOTES = 4  # on inputs

Fact = tuple[str, str]


def comparison_report(sampler: Sampler, samples: Samples, judgement: Judgement) -> Report:
    """Return the comparison: per latent circuit, SDE, exact, MCSE and z; then the checks and the verdict."""
    c, stats = judgement.comparison, samples.stats
    names = [n for n in LABELS if n != "p_active" or sampler.model.prior.sparse]
    shown = _shown(c.latents, names)
    fields = attrgetter("circuit", "sde", "exact", "mcse", "z")
    truth = _truth(sampler)
    software = "SDE" if sampler.dynamics.has_energy else "NumPy"
    columns = {"circuit": ">8.4f", software: ">8.4f", truth: ">8.4f", "error": ">7.4f", "z": ">+6.2f"}
    blocks = {LABELS[n]: (columns, [fields(getattr(c.latents[k], n)) for k in shown]) for n in names}
    z = f"z against it, limit {c.z_limit:.2f} for all statistics together (largest {c.max_abs_z:.2f}; p {p_text(c.p_value)})"
    rhat = "infinite" if c.rhat_max is None else f"{c.rhat_max:.3f}"
    facts = [
        *engine(sampler),
        ("reference", f"{c.reference}; {z}"),
        (
            "errors",
            f"of {c.null_runs} software runs like this one{_scaled(c)}; a fault of {c.detectable[0]:.2g} to "
            f"{c.detectable[1]:.2g} would show, tolerance {c.tolerance:g}",
        ),
        *(_joint(c) if sampler.model.prior.sparse else ()),
        ("same noise", judgement.path_reason or "")
        if judgement.path is None
        else _same_noise(sampler, judgement.path.to_dict(), f"the first {{time:g}} of {c.t_stop:g} tau"),
        _biased(judgement.bias)
        if judgement.bias
        else ("temperature", f"<u dE/du> / T per latent: {_virial(c.virial)}"),
        *([_weighted(judgement.weighted)] if judgement.weighted else []),
        (
            "residual",
            f"E|x - A s|^2: circuit {c.residual_power.circuit:.4f}, {truth} {c.residual_power.exact:.4f} "
            f"(z {c.residual_power.z:+.2f})",
        ),
        (
            "chains",
            f"{len(stats['chain'])} x {c.t_stop:g} tau, {c.n_draws} samples kept, smallest effective sample size "
            f"{c.ess_min:.0f}, largest rank R-hat {rhat}",
        ),
        *_momentum(sampler, samples),
        *_spent(samples, c.notes),
    ]
    summary = {
        "largest |z|": c.max_abs_z,
        "limit of |z|": c.z_limit,
        "fault that would show": c.detectable[1],
        "smallest ESS": c.ess_min,
        "tau per chain": c.t_stop,
    }
    table = Table.grouped("latent", shown, blocks)
    some = _some(shown, c.latents, "the largest means, and the largest |z|")
    return Report((table, *some, Facts(tuple(facts))), c.verdict, f"{c.reason}{simulated(sampler)}", summary)


def engine(sampler: Sampler) -> list[Fact]:
    """Say what stands for the transistors of a circuit at that level; nothing at others."""
    return [] if sampler.sizes is None else [("engine", sampler.silicon.what())]


def simulated(sampler: Sampler) -> str:
    """Return a sentence for a verdict, after a blank: what was simulated of a circuit in transistors."""
    if sampler.sizes is None:
        return ""
    return (
        " Every transistor was simulated."
        if sampler.of_transistors
        else " Cells as characterised; a behavioural netlist."
    )


def _biased(bias: Bias) -> Fact:
    """Say how far the law of a variational circuit is from the posterior."""
    worst = {name: max((abs(latent[name]), latent[f"{name}_se"]) for latent in bias.latents) for name in LABELS}
    far = ", ".join(f"{LABELS[name]} {off:.3g}" + f" +- {se:.1g}" * (se > 0) for name, (off, se) in worst.items())
    kl = f"unknown ({bias.kl_reason})" if bias.kl is None else f"{bias.kl:.3f} +- {bias.kl_se:.2g} nats"
    own = f"of the encoder's law, no fault of the circuit: KL from the posterior {kl};"
    return "bias", f"{own}\nlargest differences from the posterior ({bias.reference}): {far}"


def _weighted(found: Weighted) -> Fact:
    """Say what the samples of a variational circuit are to the posterior when they are weighted."""
    if found.ess_share is None:
        return "weighted", f"refused: {found.reason}"
    pairs = {name: [(row[f"{name}_difference"] or 0.0, row[f"{name}_se"]) for row in found.latents] for name in LABELS}
    worst = {name: max(each, key=lambda pair: abs(pair[0])) for name, each in pairs.items()}
    far = ", ".join(f"{LABELS[name]} {off:+.3g} +- {se:.1g}" for name, (off, se) in worst.items())
    missed = "they do not agree (no fault of the circuit: the law is too thin somewhere, or misses a mode)"
    said = {True: "they agree", False: missed, None: str(found.reason)}[found.agrees]
    z = "" if found.max_abs_z is None else f"largest |z| {found.max_abs_z:.2f}, limit {found.z_limit:.2f}: "
    share = f"by p(x, s)/q(s), {100 * found.ess_share:.3g} % of {found.n} draws are effective"
    return "weighted", f"{share}; {z}{said}\nlargest differences from the posterior: {far}"


def _scaled(c: Comparison) -> str:
    """Say how long the replicates are."""
    if c.null_scaled:
        return f", put together from {c.null_length:.4g} tau each"
    return "" if c.null_length > 0.85 * (c.t_stop - 25) else f", of {c.null_length:.4g} tau"


def _spent(samples: Samples, notes: Sequence[str] = ()) -> list[Fact]:
    """Say what ngspice spent, and what is to be noted."""
    stats = samples.stats
    steps = float(stats["steps"].sum())
    wall = float((stats["wall"] / stats["steps"]).mean()) * 1e6
    spent = (
        f"{wall:.1f} us per step and chain, {float(stats['points'].sum()) / steps:.4f} time points and "
        f"{float(stats['iterations'].sum()) / steps:.2f} Newton iterations per step, "
        f"{int(stats['rejected'].sum())} points rejected"
    )
    return [("ngspice", spent), *(("note", note) for note in notes)]


def _momentum(sampler: Sampler, samples: Samples) -> list[Fact]:
    """Say how warm the momenta are: <p^2> is T, whatever the posterior is."""
    if "p" not in samples.tree["posterior"]:
        return []
    value, mcse = mean_with_mcse(samples.draws("p").map(lambda p: p**2 / sampler.temperature))
    worst = float(np.max(np.abs(value - 1) / mcse))
    said = f"{value.min():.3f} .. {value.max():.3f} (1 is right; largest |z| {worst:.2f})"
    return [("momentum", f"<p^2> / T per latent: {said}")]


def map_report(sampler: Sampler, samples: Samples, result: MapResult) -> Report:
    """Return what a circuit settled on: code, software's code, objective, settling time."""
    blocks: list[Table | Note] = []
    if result.streamed:
        rows = result.rows
        gaps, times = np.array([row.gap for row in rows]), np.array([row.settling_time for row in rows])
        settled, same = sum(row.settled for row in rows), sum(row.same_support for row in rows)
        facts = [
            ("inputs", f"{len(rows)}; {settled} settled, {same} with software's support"),
            (
                "objective",
                f"above software's minimum, relative: median {np.median(gaps):.1e}, largest {gaps.max():.1e}",
            ),
            (
                "settling",
                f"median {np.median(times):.3g} tau, longest {times.max():.3g} tau (each starts from the last)",
            ),
        ]
        summary = {"largest gap": float(gaps.max()), "longest settling (tau)": float(times.max())}
    else:
        (row,) = result.rows
        k = np.flatnonzero((row.code != 0) | (row.reference.code != 0))
        shown = k[_worst(np.abs(row.code[k]), ALL_ROWS)]
        columns = {"latent": ">6", "circuit": ">12.6f", "software": ">12.6f", "difference": ">+12.1e"}
        both = ((i, row.code[i], row.reference.code[i]) for i in shown)
        left = f"; the {len(shown)} largest are shown)" if len(shown) < len(k) else ")"
        blocks = [
            Table.of(columns, ((i, found, known, found - known) for i, found, known in both)),
            Note(f"({len(k)} of {len(row.code)} coefficients are not zero{left}"),
        ]
        best = f"software {row.reference.objective:.9g} (relative gap {row.gap:.1e})"
        same_support = "the same" if row.same_support else "different"
        facts = [
            ("objective", f"{row.objective:.9g}, {best}"),
            ("support", f"{same_support} (below 1 % of the largest left out)"),
            ("settling", f"{row.settling_time:.4g} tau = {row.settling_time * sampler.scaling.tau:.3g} s to 1 %"),
        ]
        if (chains := len(samples.chains)) > 1:
            lowest = f"from different states; shown is chain {row.chain}, with the lowest objective"
            facts.append(("chains", f"{chains}, {lowest}"))
        summary = {"gap": row.gap, "settling (tau)": row.settling_time}
    facts.append(("reference", f"{result.rows[0].reference.method}; cost: {result.cost}"))
    facts += _spent(samples)
    return Report((*blocks, Facts(tuple(facts))), result.verdict, result.reason, summary)


def _truth(sampler: Sampler) -> str:
    """Return what a table calls the numbers that a correct circuit has."""
    return "exact" if sampler.dynamics.has_energy else "law"


def stream_report(sampler: Sampler, samples: Samples, c: StreamComparison) -> Report:
    """Return the comparison of many inputs: averages over inputs, circuit and exact."""
    tables = {title: rows for title, rows in (("P(active)", c.p_active), ("mean of s", c.mean)) if rows}
    blocks: list[Table | Note] = []
    facts: list[Fact] = engine(sampler)
    if tables:
        shown = _worst([max(abs(row.z) for row in each) for each in zip(*tables.values(), strict=True)], ALL_ROWS)
        columns = {"circuit": ">8.4f", _truth(sampler): ">8.4f", "error": ">7.4f", "z": ">+6.2f"}
        fields = attrgetter("circuit", "exact", "se", "z")
        groups = {title: (columns, [fields(rows[k]) for k in shown]) for title, rows in tables.items()}
        blocks = [Table.grouped("latent", shown, groups), *_some(shown, c.mean, "the largest |z|")]
        said = f"averages over {c.compared_rows} inputs; z limit {c.z_limit:.2f} (largest {c.max_abs_z:.2f})"
        facts.append(("reference", said))
    if c.pathwise is not None:
        facts.append(_same_noise(sampler, c.pathwise, "{time:g} tau"))
    if isinstance(c, LawStreamComparison):
        facts += [_rows_apart(c.rows_apart), _biased_rows(c.bias)]
        facts += [("step", c.half_step.told())] if c.half_step is not None else []
    facts += [
        ("inputs", f"{c.n_rows} of {c.hold:g} tau each, {c.draws_per_row} samples kept of each, one transient"),
        *_momentum(sampler, samples),
        *_spent(samples),
    ]
    summary = {"inputs": c.n_rows, "largest |z|": c.max_abs_z, "limit of |z|": c.z_limit}
    return Report((*blocks, Facts(tuple(facts))), c.verdict, f"{c.reason}{simulated(sampler)}", summary)


def memory_report(sampler: Sampler, samples: Samples, c: MemoryComparison) -> Report:
    """Return the comparison of a memory: an input per line with its largest differences; then the checks."""
    names = [n for n in LABELS if n != "p_active" or sampler.model.prior.sparse]
    shown = _worst([each.max_abs_z / each.z_limit for each in c.inputs], ALL_ROWS)
    groups: dict[str, tuple[dict[str, str], list[list[Any]]]] = {}
    for name in names:
        entries = [[getattr(latent, name) for latent in c.inputs[n].latents] for n in shown]
        worst = [max(each, key=lambda e: abs(e.circuit - e.exact)) for each in entries]
        largest = [[e.circuit - e.exact, e.mcse] for e in worst]
        groups[LABELS[name]] = {"largest": ">+8.4f", "error": ">7.4f"}, largest
    each_input = [[c.inputs[n].max_abs_z, c.inputs[n].z_limit, c.inputs[n].ess_min] for n in shown]
    groups["of all statistics"] = {"|z|": ">6.2f", "limit": ">6.2f", "ESS": ">7.0f"}, each_input
    median, least = c.ess_per_visit
    rhat = "infinite" if c.rhat_max is None else f"{c.rhat_max:.3f}"
    facts = [
        (
            "reference",
            f"{c.inputs[0].reference}, and software runs as long as an input's own time; the largest |z| is "
            f"{c.largest:.2f} of its limit, which {c.n_inputs} inputs widen by {c.widened:.2f}",
        ),
        *_within_visit(sampler, c),
    ]
    if (v := c.virial) is not None:
        summed = f"sum over inputs of <u dE/du> / (T K) {v.value:.3f} ({v.se:.3f})"
        rank = f"rank of the features {v.exact:g} (z {v.z:+.2f}, limit {c.virial_limit:.2f})"
        facts.append(("temperature", f"{summed}, {rank}"))
    if c.pathwise is not None:
        facts.append(_same_noise(sampler, c.pathwise, "{time:g} tau"))
    visits = f"{c.visits} of each of {c.n_inputs} inputs in each of {len(samples.chains)} chains, {c.hold:g} tau each"
    effective = f"effective ones in a visit {median:.3g} (median), {least:.2g} (smallest); largest rank R-hat {rhat}"
    facts.append(("visits", f"{visits}, {c.draws_per_visit} samples kept\n{effective}"))
    notes = [f"input {n}: {note}" for n, each in enumerate(c.inputs) for note in each.notes]
    left = [f"{len(notes) - MOST_NOTES} more are in comparison.json"] if len(notes) > MOST_NOTES else []
    facts += _spent(samples, [*notes[:MOST_NOTES], *left])
    some = _some(shown, c.inputs, "the largest |z|", "inputs")
    summary = {"inputs": c.n_inputs, "largest |z| / limit": c.largest, "effective samples in a visit": median}
    table = Table.grouped("input", shown, groups)
    return Report((table, *some, Facts(tuple(facts))), c.verdict, c.reason, summary)


def _within_visit(sampler: Sampler, c: MemoryComparison) -> list[Fact]:
    """Say whether differences depend on when in a visit they are measured."""
    if not c.within_visit:
        return []
    what = LABELS["p_active" if sampler.model.prior.sparse else "mean"]
    told = (f"{w.place} {w.mean:+.2g} +- {w.mean_se:.1g} (largest |z| {w.largest:.2f})" for w in c.within_visit)
    over = f"{what} - exact, average over inputs and latents (limit of |z| {c.within_limit:.2f}):"
    return [("within visits", f"{over}\n{', '.join(told)}")]


def _rows_apart(apart: RowsApart) -> Fact:
    """Say how far single inputs are from their laws."""
    what = {"P(active)": (apart.p_active, apart.p_active_detectable), "mean": (apart.mean, apart.mean_detectable)}
    told = (f"{name} {max(rms):.3g} ({least:.2g} would show)" for name, (rms, least) in what.items() if rms)
    said = f"differs from its law, in root mean square beyond noise, by at most {', '.join(told)};"
    return "each input", f"{said}\nthe largest is input {apart.largest_row} (z {apart.z:+.2f})"


def _biased_rows(bias: StreamBias) -> Fact:
    """Say how far the laws of a stream are from its posteriors."""
    said = "of the encoder's laws, no fault of the circuit"
    kl = f"unknown ({bias.kl_reason})" if bias.kl is None else f"{bias.kl:.3f} +- {bias.kl_se:.2g} nats"
    if not bias.latents:
        return "bias", f"{said}: {kl}"
    left = f" (log p(x) of {bias.refused} more is refused)" if bias.refused else ""
    told = []
    for name in LABELS:
        worst = max(bias.latents, key=lambda latent: latent[f"{name}_rms"])
        mean, se, rms = (worst[f"{name}{end}"] for end in ("", "_se", "_rms"))
        told.append(f"{LABELS[name]} {rms:.3g} (mean {mean:+.3g} +- {se:.1g})")
    over = f"{said}, over {bias.rows} inputs{left}: KL from the posteriors {kl};"
    off = f"root mean square of the latent that is farthest off ({bias.reference}): {', '.join(told)}"
    return "bias", f"{over}\n{off}"


def _same_noise(sampler: Sampler, found: Mapping[str, float], over: str) -> Fact:
    """Say how far the circuit is from NumPy on the same noise."""
    what = "circuit - NumPy"
    if sampler.nonideal.imperfections():
        what += " (with the parts' static errors, without lags, rails and noise colour)"
    middle = "" if sampler.restart is None else ", median {median:.2g}"
    windows = (
        ""
        if sampler.restart is None
        else f", in windows of {sampler.restart:g} tau that start from the circuit's state"
    )
    if sampler.of_transistors:
        what = "circuit - NumPy (of tables)"
    text = f"{what}: rms {{rms:.2g}}{middle}, max {{max_abs:.2g}} units over {over}{windows}"
    return "same noise", text.format(**found)


def _joint(c: Comparison) -> tuple[Fact, Fact]:
    """Return the lines on which latents are active together."""
    tv = c.support
    apart = str(tv.reason) if tv.tv is None else f"total variation {tv.tv:.4f}, sampling floor {tv.tv_floor:.4f}"
    return ("pairs", f"P(both active): largest |z| {c.max_abs_z_pairs:.2f}"), ("supports", apart)


def _shown(latents: tuple[Latent, ...], names: list[str]) -> list[int]:
    """Return which latents to print: all, or of a crowd those that say most."""
    if len(latents) <= ALL_ROWS:
        return list(range(len(latents)))
    by_mean = _worst([abs(latent.mean.exact) for latent in latents], ALL_ROWS // 2)
    by_z = _worst([max(abs(getattr(latent, n).z) for n in names) for latent in latents], ALL_ROWS // 4)
    return sorted({*by_mean, *by_z})


def _some(shown: Sequence[int], latents: Sequence[object], which: str, called: str = "latents") -> list[Note]:
    """Say which latents are shown if these are not all."""
    told = f"({len(shown)} of {len(latents)} {called}: {which}; comparison.json has all)"
    return [Note(told)] if len(shown) < len(latents) else []


def _worst(sizes: ArrayLike, n: int) -> list[int]:
    """Return the places of the n largest numbers, in order."""
    return sorted(np.argsort(-np.asarray(sizes), kind="stable")[:n].tolist())


def _virial(rows: tuple[Entry, ...] | None) -> str:
    if not rows:
        return "not available"
    values = [row.circuit for row in rows]
    worst = max(rows, key=lambda row: abs(row.z))
    return f"{min(values):.3f} .. {max(values):.3f} (1 is right; largest |z| {abs(worst.z):.2f})"
