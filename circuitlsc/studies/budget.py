"""The error budget: what each imperfection alone, and all together, do to the posterior, on the same noise paths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from circuitlsc.circuit.memory import independent, responses
from circuitlsc.errors import InputError
from circuitlsc.io.report import Note, Report, Table, Value
from circuitlsc.io.shown import Shown, counted
from circuitlsc.model.dynamics import LANGEVIN, Dynamics, as_dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel, check_model
from circuitlsc.nonideal.nonidealities import Nonidealities, as_nonidealities, ideal_value, split_name
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.reference.statistics import MARGINALS, PosteriorStatistics, summarize
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.studies.against_exact import unpaired, with_gram
from circuitlsc.studies.device_law import predict_law
from circuitlsc.studies.frame import check_samples_one, common_step, read, read_rows, run_all, split_options
from circuitlsc.studies.lag import of_lag
from circuitlsc.studies.small_signal import Prediction, predict, predict_rows
from circuitlsc.validation.judge import circuit_statistics, exact_statistics, target_of
from circuitlsc.validation.law import law_of_run, law_statistics
from circuitlsc.validation.paired_difference import PairedDifference, paired_rows

STEP_DEPENDENT = ("op_amp.slew_rate", "comparator.hysteresis", "comparator.delay")
HALF = " at half the step"
STEP_ALLOWANCE = 0.005  # the bias that the verdict of a run allows to width and step
MAX_SWEEP = 1000
STATISTICS = (*MARGINALS, "tv", "coactive")
#: corners: temperatures -40 and 85 C, supply, resistors, capacitors; and of transistors
CORNERS: dict[str, tuple[float, ...]] = {
    "corner.temperature": (233.15, 358.15),
    "corner.supply": (0.9, 1.1),
    "corner.resistance": (0.8, 1.2),
    "corner.capacitance": (0.8, 1.2),
}
SILICON_CORNERS: dict[str, tuple[Any, ...]] = {
    "corner.process": ("ff", "ss", "fs", "sf"),
    "corner.temperature": (233.15, 358.15, 398.15),
    "corner.supply": (3.0 / 3.3, 3.6 / 3.3),
}
WIDTH, ROUNDING, LAG = "width", "weight rounding", "lag"
SILICON_ROWS = (
    "ideal: the chip of equal transistors at the typical corner; width: ideal cells of its width; weight rounding: its "
    "whole numbers of unit mirrors in the exact posterior; these against the exact posterior. lag: what the chip's delays, as "
    "measured, change in NumPy"
)


@dataclass(frozen=True)
class Sweep:
    """Values of one parameter, each of which is tried alone."""

    name: str
    values: tuple[float, ...]


def parse_sweep(text: str) -> Sweep:
    """Read ``part.parameter=start:stop:n`` (n values, both ends included).

    Raises
    ------
    InputError
        If it is not of that form, or names no parameter.
    """
    name, equals, numbers = text.partition("=")
    pieces = numbers.split(":")
    form = "Write part.parameter=start:stop:n, for example op_amp.offset=0:20e-3:5."
    if not equals or len(pieces) != 3:
        raise InputError(f"--sweep {text!r} is not a sweep. {form}")
    split_name(name)
    try:
        start, stop, n = float(pieces[0]), float(pieces[1]), int(pieces[2])
    except ValueError:
        raise InputError(f"--sweep {text!r}: {numbers!r} is not start:stop:n. {form}") from None
    if not (math.isfinite(start) and math.isfinite(stop)) or not 1 <= n <= MAX_SWEEP:
        raise InputError(f"--sweep {text!r} needs finite ends and 1 to {MAX_SWEEP} values. {form}")
    return Sweep(name, tuple(float(v) for v in np.linspace(start, stop, n)))


@dataclass(frozen=True, eq=False)
class BudgetEntry(Shown):
    """What one circuit does differently from the ideal one.

    Attributes
    ----------
    name : str
        ``part.parameter``, with ``=value`` in a sweep; ``"ideal"`` or ``"all"``.
    parameters : dict
        Imperfections by ``part.parameter``, SI units.
    change : PairedDifference
        Against the circuit with ideal parts, on the same noise; of ``"ideal"`` itself, against what it should sample.
    prediction : Prediction or None
        To first order, where there is a formula (`circuitlsc.studies.small_signal`); of a variational circuit to all orders
        (`circuitlsc.studies.device_law`).
    half_step : PairedDifference or None
        The same circuit at half the step on the same (bridged) path, minus this one; for parts whose effect may depend
        on the step (slew rate, hysteresis, delay); of one input to a variational circuit nothing depends on it.
    against : str
        ``"ideal"``; of the ideal circuit itself ``"exact"``, the posterior, or ``"law"``, the closed form of an encoder's.
    crosstalk : tuple of float, or None
        Of a memory: the largest response of an input to another, and of an input to itself minus 1.
    inputs : int
        How many a memory has.

    Of a memory all arrays are those of its inputs, one after the other; ``tv`` is a mean over inputs, and the largest change
    that of any latent of any input.
    """

    name: str
    parameters: Mapping[str, Any]
    change: PairedDifference
    prediction: Prediction | None = None
    half_step: PairedDifference | None = None
    against: str = "ideal"
    crosstalk: tuple[float, float] | None = None
    inputs: int = 1

    def _line(self) -> str:
        changes = [(title, *self.largest(name)) for name, title in (("p_active", "dP(active)"), ("mean", "dmean"))]
        return f"{self.name}: " + ", ".join(f"{title} {value:+.4f} ({se:.4f})" for title, value, se in changes)

    def latent(self, statistic: str) -> int:
        """Return the latent whose ``p_active``, ``mean`` or ``sd`` changes most."""
        return int(np.argmax(np.abs(getattr(self.change, statistic))))

    def largest(self, statistic: str) -> tuple[float | None, float | None]:
        """Return a statistic's change, of the latent (or pair) where it is largest, and its standard error."""
        value, se = (getattr(self.change, name) for name in (statistic, f"{statistic}_se"))
        if statistic not in MARGINALS:
            return value, se
        k = self.latent(statistic)
        return float(value[k]), float(se[k])

    @property
    def step_agrees(self) -> bool | None:
        """Whether half the step gives the same result within errors and 0.005; None if it was not tried."""
        if (d := self.half_step) is None:
            return None
        limit = -float(ndtri(0.005 / (2 * len(d.p_active))))
        excess = [np.abs(v) - limit * se for v, se in ((d.p_active, d.p_active_se), (d.mean, d.mean_se))]
        return bool(np.max(excess) <= STEP_ALLOWANCE)

    @property
    def prediction_holds(self) -> bool | None:
        """Whether P(active), mean and sd move as predicted, within 20 % + 3 standard errors; None without a prediction.

        Each is looked at in the latent whose change is predicted to be largest.
        """
        if (p := self.prediction) is None:
            return None
        d = self.change
        for name in MARGINALS:
            k = int(np.argmax(np.abs(getattr(p, name))))
            got, want = getattr(d, name)[k], getattr(p, name)[k]
            error = math.hypot(getattr(d, f"{name}_se")[k], getattr(p, f"{name}_se")[k])
            if abs(got - want) > 0.2 * abs(want) + 3 * error:
                return False
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; None for what is not available."""
        d = self.change
        worst, each = {name: self.latent(name) for name in MARGINALS}, len(d.mean) // self.inputs
        return {
            "name": self.name,
            "against": self.against,
            "parameters": {n: list(v) if isinstance(v, tuple) else v for n, v in self.parameters.items()},
            **{
                f"d_{name}{se}": v for name in STATISTICS for se, v in zip(("", "_se"), self.largest(name), strict=True)
            },
            "tv_floor": d.tv_floor,
            "d_p_active_unpaired_se": float(d.p_active_unpaired_se[worst["p_active"]]),
            "d_mean_unpaired_se": float(d.mean_unpaired_se[worst["mean"]]),
            "worst_latent": {name: k % each for name, k in worst.items()},
            **({"worst_input": {name: k // each for name, k in worst.items()}} if self.inputs > 1 else {}),
            **({} if self.crosstalk is None else dict(zip(("crosstalk", "own_response"), self.crosstalk, strict=True))),
            "latents": d.to_dict(),
            "predicted": self.prediction and self.prediction.to_dict(),
            "prediction_holds": self.prediction_holds,
            "half_step": self.half_step and self.half_step.to_dict("p_active", "mean"),
            "step_agrees": self.step_agrees,
        }


@dataclass(frozen=True, eq=False)
class ErrorBudget(Shown):
    """All entries of a budget, and what they were measured with.

    Attributes
    ----------
    entries : tuple of BudgetEntry
        ``"ideal"`` first, then each imperfection, ``"all"``, sweeps and corners.
    run : RunPlan
    sampler : Sampler
        The circuit with ideal parts.
    """

    entries: tuple[BudgetEntry, ...]
    run: RunPlan
    sampler: Sampler

    def __getitem__(self, name: str) -> BudgetEntry:
        return {entry.name: entry for entry in self.entries}[name]

    def to_list(self) -> list[dict[str, Any]]:
        """Return what budget.json holds."""
        return [entry.to_dict() for entry in self.entries]

    def _line(self) -> str:
        run, whole = self.run, [entry for entry in self.entries if entry.name == "all"]
        worst = "".join(f", {entry._line()}" for entry in whole)
        return f"{counted(len(self.entries), 'circuit')}, {run.chains} x {run.t_stop:g} tau each{worst}"

    def _shows(self) -> Report:
        return self.report()

    def report(self) -> Report:
        """Return an error budget: changes with standard errors, prediction, and the check at half the step."""
        latents = str(self.sampler.model.n_latents)
        if self.sampler.dynamics.remembers:
            latents += f" of each of {len(self.sampler.x)} inputs"
        columns = {
            "imperfection": "<34",
            "dP(active)": ">18",
            "dmean": ">18",
            "TV of supports": ">17",
            "dP(both)": ">17",
        }
        run, sampler, written = self.run, self.sampler, self.sampler.dynamics.remembers
        layout = sampler.system.layout(sampler.form)
        zero = {"exact": "the exact posterior", "law": "the closed form of the encoder's law"}[self["ideal"].against]
        crosstalk = (
            "TV: mean over inputs; crosstalk: of one input in another's states, and how far its own response is from 1"
        )
        below = [
            "changes against the circuit with ideal parts on the same noise, of the latent "
            f"(of {latents}) or pair that changes most; (standard error of the paired difference)",
            f"ideal: against {zero}, unpaired",
            *([SILICON_ROWS] if sampler.sizes is not None else []),
            *([crosstalk] if written else []),
            f"{run.chains} x {run.t_stop:g} tau per circuit, step {sampler.plan.step:.4g} tau, {layout}",
        ]
        rows = [_row(entry) for entry in self.entries]
        summary: dict[str, Value] = {}
        found = ""
        if imperfect := [entry for entry in self.entries if entry.parameters and "=" not in entry.name]:
            both = imperfect[-1]  # all of them, or the only one
            names = {"p_active": "dP(active)", "mean": "dmean"}
            summary = {f"{name} of all": both.largest(what)[0] for what, name in names.items()}
            said_of = {"p_active": "P(active)", "mean": "the mean of s"}
            changes = ("{} by {:+.3g} +- {:.1g}".format(said, *both.largest(n)) for n, said in said_of.items())
            who = "all imperfections together change" if both.name == "all" else f"{both.name} changes"
            found = (
                f"{who} {' and '.join(changes)}, in the latent that changes most, against ideal parts on the same noise"
            )
        table = Table.of({**columns, "notes": ""}, rows)
        return Report((table, Note("\n".join(below))), reason=found, summary=summary)

    def sweeps(self) -> dict[str, list[BudgetEntry]]:
        """Return the entries of each sweep, by parameter."""
        out: dict[str, list[BudgetEntry]] = {}
        for entry in self.entries:
            if "=" in entry.name and not entry.name.startswith("all, "):
                out.setdefault(entry.name.partition("=")[0], []).append(entry)
        return out


def _row(entry: BudgetEntry) -> list[str | None]:
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


def error_budget(
    model: SparseCodingModel,
    x: ArrayLike,
    nonideal: Nonidealities | Mapping[str, Any],
    *,
    sweeps: Iterable[Sweep | str] = (),
    corners: bool = False,
    step_check: bool = True,
    **options: Any,
) -> ErrorBudget:
    """Measure what each imperfection does: alone, and all together, on the noise paths of the ideal circuit.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    nonideal : Nonidealities or mapping
        The imperfections; each parameter that differs from ideal is an entry.
    sweeps : iterable of Sweep or str
        ``"part.parameter=start:stop:n"``.
    corners : bool
        Add -40 and 85 C, supply +-10 %, resistors and capacitors +-20 %; of transistors processes ff, ss, fs and sf, -40, 85
        and 125 C, and supplies of 3.0 and 3.6 V.
    step_check : bool
        Run slew rate, hysteresis and delay at half the step too.
    **options
        ``t_stop``, ``warmup``, ``chains``, ``seed``, ``thin``, ``workers``, ``executor``, ``timeout``, ``store``, ``progress``
        as for `Sampler.run`, times in units of tau (t_stop is 4000 if not given, 40,000 of a variational circuit); ``note`` is
        called with a few words as each circuit is done; all others (``form``, ``tau``, ``volt``, ...) as for `build_sampler`.

    Raises
    ------
    InputError
        If there is nothing to measure, or an argument cannot be used.
    SimulationError
        If a circuit did not run to its end; the message names it.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> budget = error_budget(model, model.draw(1)[1], {"op_amp": {"offset": 2e-3}}, t_stop=200.0, seed=1)
    >>> [entry.name for entry in budget.entries]
    ['ideal', 'op_amp.offset']
    """
    check_samples_one("the budget", options, remembered=True)
    check_model(model)
    nonideal = as_nonidealities(nonideal)
    run, machine, circuit = split_options(options, len(np.atleast_2d(x)))
    asked = [s if isinstance(s, Sweep) else parse_sweep(s) for s in sweeps]
    silicon = circuit.get("level") == "transistor"
    where: Mapping[str, tuple[Any, ...]] = SILICON_CORNERS if silicon else CORNERS
    coloured = _with_capacitance(as_dynamics(circuit.get("dynamics", LANGEVIN)))
    circuits = variants(nonideal, asked, where if corners else {}, coloured)
    if not circuits:
        raise InputError(
            "the budget is empty: no part has an imperfection, and no sweep was asked for. "
            "Give [nonideal] parameters, a preset, or --sweep part.parameter=start:stop:n."
        )
    ideal = common_step(model, x, nonideal.only(), [v for _, v in circuits], circuit, machine.get("workers"))
    # everything is compiled before anything runs: a bad value stops the budget here
    samplers = {"ideal": ideal}
    if silicon:
        samplers[WIDTH] = rebuilt(ideal, level="ideal", nonideal=None, transistor=None)
    for name, parts in circuits:
        samplers[name] = rebuilt(ideal, nonideal=parts)
        # of one input to an encoder all has settled that a step could matter to
        if step_check and ideal.dynamics.has_energy and any(parts.get(p) != ideal_value(p) for p in STEP_DEPENDENT):
            samplers[name + HALF] = rebuilt(samplers[name], halvings=1)
    done = run_all(samplers, run, **machine)
    of = read(ideal)
    before = read_rows(ideal, done["ideal"])
    entries = [_of_ideal(ideal, done["ideal"])]
    if silicon:
        entries += [replace(_of_ideal(samplers[WIDTH], done[WIDTH]), name=WIDTH), _of_rounding(ideal, run.seed)]
        entries.append(BudgetEntry(LAG, {}, of_lag(ideal, seed=run.seed)))
    for name, parts in circuits:
        device = samplers[name]
        after, half = read_rows(ideal, done[name]), done.get(name + HALF)
        change = paired_rows(model, before, after, of=of)
        predicted: Prediction | None
        if silicon:
            predicted = None
        elif not ideal.dynamics.has_energy:
            predicted = predict_law(ideal, device)
        elif ideal.dynamics.remembers:
            predicted = predict_rows(ideal, device, before)
        else:
            predicted = predict(ideal, device, before[0])
        at_half = None if half is None else paired_rows(model, after, read_rows(ideal, half), of=of)
        written = None
        if ideal.features is not None and independent(ideal.features, ideal.dynamics):
            written = _crosstalk(device)
        given: dict[str, Any] = {"crosstalk": written, "inputs": len(before)}
        entries.append(BudgetEntry(name, _parameters(name, parts), change, predicted, at_half, **given))
    return ErrorBudget(tuple(entries), run, ideal)


def _with_capacitance(dynamics: Dynamics) -> tuple[str, ...]:
    """Return the imperfections that white noise of a memory's neurons cannot have: they are tried with noise.capacitance."""
    return ("noise.ac_corner", "noise.supply_correlation") if dynamics.remembers and dynamics.noise == "neuron" else ()


def variants(
    nonideal: Nonidealities,
    sweeps: Sequence[Sweep],
    corners: Mapping[str, tuple[Any, ...]],
    coloured: Sequence[str] = (),
) -> list[tuple[str, Nonidealities]]:
    """Return (name, parts) of every circuit beside the ideal one; those of ``coloured`` have noise.capacitance, too."""
    found = nonideal.imperfections()
    out = []
    for i in found:
        with_it = i.name in coloured and nonideal.noise.capacitance > 0
        name = f"{i.name}, noise.capacitance" if with_it else i.name
        out.append((name, nonideal.only(*name.split(", "))))
    if len(found) > 1:
        out.append(("all", nonideal))
    ideal = nonideal.only()
    for sweep in sweeps:
        for value in sweep.values:
            exact = int(value) if sweep.name == "crossbar.levels" and value == int(value) else value
            out.append((f"{sweep.name}={exact:.6g}", ideal.changed({sweep.name: exact})))
    for name, values in corners.items():
        said = {value: value if isinstance(value, str) else f"{value:g}" for value in values}
        out += [(f"all, {name}={said[value]}", nonideal.changed({name: value})) for value in values]
    count = Counter(name for name, _ in out)
    if twice := sorted(name for name in count if count[name] > 1):
        raise InputError(f"{twice[0]} stands twice in the budget. Remove it from one of the sweeps.")
    return out


def _parameters(name: str, parts: Nonidealities) -> dict[str, Any]:
    """Return what a circuit's parts are given: their imperfections, and what a sweep sets (ideal or not)."""
    swept, equals, _ = name.removeprefix("all, ").partition("=")
    return {i.name: i.value for i in parts.imperfections()} | ({swept: parts.get(swept)} if equals else {})


def _crosstalk(device: Sampler) -> tuple[float, float]:
    """Return how far a memory's response of one input to another is from 0, and that to itself from 1, at the worst."""
    moved, eye = responses(device.graph), np.eye(len(device.x), dtype=bool)
    return float(np.abs(moved[:, ~eye]).max(initial=0.0)), float(np.abs(moved[:, eye] - 1).max())


def _of_ideal(ideal: Sampler, samples: Samples) -> BudgetEntry:
    """Return how far the circuit with ideal parts is from the exact posterior, or from its encoder's law: the budget's zero."""
    seed, energy, target = int(samples.attrs["seed"]), ideal.dynamics.has_energy, target_of(ideal)
    if samples.remembered:
        states = enumerate(read_rows(ideal, samples))
        pairs = [(_row_statistics(ideal, n, u), exact_statistics(target, ideal.x[n], seed=seed)) for n, u in states]
    elif energy:
        pairs = [(circuit_statistics(ideal, samples), exact_statistics(target, ideal.x, seed=seed))]
    else:
        pairs = [(circuit_statistics(ideal, samples), law_statistics(law_of_run(ideal), ideal.model, ideal.x))]
    change = unpaired(pairs, sparse=ideal.model.prior.sparse, seed=seed)
    return BudgetEntry("ideal", {}, change, against="exact" if energy else "law", inputs=len(pairs))


def _of_rounding(ideal: Sampler, seed: int) -> BudgetEntry:
    """Return how far the posterior of whole numbers of unit mirrors is from the one that was asked for; both exact."""
    assert ideal.sizes is not None
    target, x = target_of(ideal), ideal.first_x
    given = with_gram(target, x, ideal.sizes.gram)
    pairs = [(exact_statistics(*given, seed=seed), exact_statistics(target, x, seed=seed))]
    return BudgetEntry(ROUNDING, {}, unpaired(pairs, sparse=False, seed=seed), against="exact")


def _row_statistics(ideal: Sampler, n: int, u: Draws) -> PosteriorStatistics:
    """Return the statistics of one input of a memory."""
    model = ideal.model
    return summarize(u.map(model.latent), u.map(model.active), model=target_of(ideal), x=ideal.x[n], method="circuit")
