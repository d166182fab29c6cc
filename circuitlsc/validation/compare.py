r"""How close a circuit's samples are to the truth: errors beside those of correct runs, and one verdict.

.. math:: z_j = \frac{d_j}{\sigma_j^{\mathrm{sign}(d_j)}}, \qquad d = \mathrm{circuit} - \mathrm{exact}, \qquad
          (\sigma_j^\pm)^2 = g^2 (s_j^\pm)^2 + \mathrm{MCSE}_\mathrm{exact}^2

s_j is the error that correct runs of the same length, starts and dynamics make, upwards and downwards, and c the value that
the largest abs(z) of one in a hundred of them exceeds (`validation.null`); g^2 is how many times more slowly the circuit
mixes than its replicates. With d in units where probabilities count 1, and mean and sd count `scale`, the verdict is

- ``disagrees`` if any (abs(d) - allowance) / sigma > c: noise, rare modes and the allowed bias cannot explain it;
- else ``agrees`` if every abs(d) + c sigma <= tolerance, and every state of more mass than the tolerance was visited;
- else ``inconclusive``, with the t_stop that would do, or what else would.

P(both active) of each pair takes part: right marginals and wrong joint probabilities are not the posterior. The
reference-free checks (virial, pathwise) and E abs(x - A s)^2 are reported and not judged: they have other units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from operator import attrgetter

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Report, Table
from circuitlsc.planning.run_plan import ALLOWANCE, TOLERANCE
from circuitlsc.reference.statistics import LABELS, MAX_SUPPORT_LATENTS, PosteriorStatistics
from circuitlsc.validation.advice import Decision, Times, decide
from circuitlsc.validation.null import Null
from circuitlsc.validation.run_errors import ALPHA, RESOLUTION, Entry, Errors

#: A total variation that noise alone makes larger than this says nothing: it is refused.
MAX_TV_FLOOR = 0.5
_SHOWN = ("circuit", "exact", "mcse", "z")

_Measured = tuple[float, float]  # a value and its MCSE


@dataclass(frozen=True)
class Latent:
    """The three judged statistics of one latent."""

    p_active: Entry
    mean: Entry
    sd: Entry


@dataclass(frozen=True)
class Pair:
    """P(latents i and j both active), i < j."""

    i: int
    j: int
    circuit: float
    exact: float
    mcse: float
    mcse_exact: float
    z: float


@dataclass(frozen=True)
class Support:
    """Total variation over the 2^K supports, and its mean and 99 % quantile where there is nothing but noise.

    `reason` says why a number is None.
    """

    tv: float | None
    tv_floor: float | None
    tv_limit: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Comparison(Decision):
    """What `compare` returns and comparison.json holds: finite numbers, and None for what is not available.

    ``t_stop`` and ``t_stop_needed`` are in tau, per chain; ``needed_tolerance`` is what a run of ``needed_t_stop`` would reach
    if ``t_stop_needed`` is far away. ``p_value`` is the share of correct runs whose largest abs(z) is as large as what is left
    of this one's without the allowance (``z_limit`` is c, ``max_abs_z`` is over all judged statistics). ``detectable`` is the
    smallest fault that the run could have shown: of the statistic that is known best, and of the one that is known worst.
    ``slowdown`` is how many times more slowly than the ideal SDE the run mixes. ``notes`` say in words which modes runs of
    this length hardly visit. ``rhat_max`` is None if R-hat is infinite (every chain stands still) or unknown, ``ess_exact`` if
    the reference is exact. ``virial`` has one entry per latent, with exact value 1. ``pathwise`` is the difference of circuit
    and NumPy on one noise path: ``max_abs`` and ``rms`` in model units, over ``time`` tau.
    """

    notes: tuple[str, ...]
    t_stop: float
    p_value: float
    max_abs_z: float
    z_limit: float
    max_abs_z_pairs: float
    detectable: tuple[float, float]
    slowdown: float
    null_runs: int
    null_length: float
    null_scaled: bool
    ess_min: float
    rhat_max: float | None
    n_draws: int
    reference: str
    ess_exact: float | None
    alpha: float
    allowance: float
    tolerance: float
    scale: float
    quantiles: bool
    latents: tuple[Latent, ...]
    coactivation: tuple[Pair, ...]
    support: Support
    residual_power: Entry
    virial: tuple[Entry, ...] | None
    pathwise: Mapping[str, float | None]

    def _shows(self) -> Report:
        columns, fields = {"circuit": ">8.4f", "exact": ">8.4f", "error": ">7.4f", "z": ">+6.2f"}, attrgetter(*_SHOWN)
        groups = {title: (columns, [fields(getattr(k, n)) for k in self.latents]) for n, title in LABELS.items()}
        report = super()._shows()
        return replace(report, blocks=(Table.grouped("latent", range(len(self.latents)), groups), *report.blocks))


def compare(
    circuit: PosteriorStatistics,
    exact: PosteriorStatistics,
    null: Null,
    *,
    scale: float,
    times: Times,
    seed: int,
    virial: tuple[Array, Array] | None = None,
    pathwise: Mapping[str, float] | None = None,
    slowdown: float = 1.0,
    gates: bool = True,
    alpha: float = ALPHA,
    widened: float = 1.0,
    allowance: float = ALLOWANCE,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Compare a circuit's samples with the exact posterior, and say whether they agree.

    Parameters
    ----------
    circuit, exact : PosteriorStatistics
        What was measured on the circuit, and the reference (exact, or sampled by Gibbs).
    null : Null
        Replicates of runs like this one.
    scale : float
        Size of a typical active coefficient, in model units: the unit of allowance and tolerance for mean and sd.
    times : Times
        Of the run, and of the reference.
    seed : int
        Of the multinomials that give the floor of the total variation.
    virial, pathwise : tuple of array, and mapping
        Value and MCSE from `virial`; ``max_abs``, ``rms`` (model units), ``time`` (tau) of `PathDifference`.
    slowdown : float
        How many times more slowly the run mixes than its replicates, >= 1 (`Null.slowdown`).
    gates : bool
        Whether a run with fewer than 100 effective samples, or R-hat above 1.05, may not agree.
    alpha : float
        Share of correct runs whose largest abs(z) is beyond the limit.
    widened : float
        Factor on this limit, for one of several inputs that are judged together.
    allowance, tolerance : float
        Bias allowed apart from noise (comparator width, step), and how close is close, errors included.

    Raises
    ------
    InputError
        If the statistics have different numbers of latents, or a number is out of range.

    Notes
    -----
    Measured rates of false ``disagrees`` are in docs/method.md (`benchmarks/verdict.py`); they are below alpha, because the
    allowance is taken off every difference. No sample tells that *all* chains miss a mode that the replicates miss, too:
    such a run is ``inconclusive``, and its notes say so.
    """
    if exact.n_latents != circuit.n_latents:
        raise InputError(
            f"{exact.method} has {exact.n_latents} latents, but {circuit.method} has {circuit.n_latents}. "
            "Compare samples of one model."
        )
    if not circuit.sampled:
        raise InputError(f"{circuit.method} has no samples (ess_min is infinite). Pass what summarize returns.")
    if not (0 < scale < math.inf and 0 <= times.warmup < times.t_stop < math.inf):
        raise InputError(
            f"scale = {scale!r}, warmup = {times.warmup!r}, t_stop = {times.t_stop!r}. "
            "Give scale > 0 and 0 <= warmup < t_stop."
        )
    if not (0 < alpha < 1 and 0 <= allowance < tolerance < math.inf):
        raise InputError(
            f"alpha = {alpha!r}, allowance = {allowance!r}, tolerance = {tolerance!r}. "
            "Give 0 < alpha < 1 and 0 <= allowance < tolerance."
        )
    vectors = (null.judged.select(circuit), null.judged.select(exact), null.judged.select(exact, "_mcse"))
    judged = Errors(*vectors, null, scale=scale, slowdown=slowdown, alpha=alpha, widened=widened)
    latents, pairs = _tables(judged, circuit, exact)
    z = np.abs(judged.z)
    n_pairs = len(pairs) if null.judged.sparse else 0
    return Comparison(
        **asdict(decide(judged, circuit, exact, times, gates, allowance, tolerance)),
        notes=judged.notes(exact, allowance),
        t_stop=float(times.t_stop),
        p_value=judged.p_value(allowance),
        max_abs_z=float(z.max()),
        z_limit=judged.c,
        max_abs_z_pairs=float(z[len(z) - n_pairs :].max(initial=0.0)),
        detectable=tuple(float(f(allowance + judged.c * judged.wide)) for f in (np.min, np.max)),  # type: ignore[arg-type]
        slowdown=float(slowdown),
        null_runs=null.n_runs,
        null_length=float(null.length),
        null_scaled=null.scaled,
        ess_min=float(circuit.ess_min),
        rhat_max=float(circuit.rhat_max) if math.isfinite(circuit.rhat_max) else None,
        n_draws=int(circuit.n_draws),
        reference=exact.method,
        ess_exact=float(exact.ess_min) if exact.sampled else None,
        alpha=float(alpha),
        allowance=float(allowance),
        tolerance=float(tolerance),
        scale=float(scale),
        quantiles=null.judged.quantiles,
        latents=latents,
        coactivation=pairs,
        support=support_distance(circuit, exact, seed),
        residual_power=_unjudged(exact.residual_power, *_measured("residual_power", (), circuit, exact)),
        virial=virial and tuple(_unjudged(1.0, both, (1.0, 0.0)) for both in zip(*virial, strict=True)),
        pathwise=pathwise or dict.fromkeys(("max_abs", "rms", "time")),
    )


def _unjudged(unit: float, circuit: _Measured, exact: _Measured) -> Entry:
    """Return a statistic that is not judged, with the errors of its own samples."""
    (value, mcse), (truth, mcse_truth) = map(float, circuit), map(float, exact)
    z = (value - truth) / max(math.hypot(mcse, mcse_truth), RESOLUTION * unit)
    return Entry(value, None, truth, mcse, None, mcse_truth, float(z), None)


def _measured(name: str, at: tuple[int, ...], *found: PosteriorStatistics) -> list[_Measured]:
    """Return one number of each of several statistics, with its MCSE."""
    return [(np.asarray(getattr(m, name))[at], np.asarray(getattr(m, f"{name}_mcse"))[at]) for m in found]


def _tables(
    judged: Errors, circuit: PosteriorStatistics, exact: PosteriorStatistics
) -> tuple[tuple[Latent, ...], tuple[Pair, ...]]:
    """Return what is known of each latent and of each pair, judged or not."""
    place = {name: i for i, name in enumerate(judged.names)}

    def entry(name: str, *at: int, called: str) -> Entry:
        if called in place:
            return judged.entry(place[called])
        unit = judged.scale if name in ("mean", "sd") else 1.0
        return _unjudged(unit, *_measured(name, at, circuit, exact))

    what = {"p_active": "P(active)", "mean": "mean", "sd": "sd"}
    latents, pairs = [], []
    for k in range(circuit.n_latents):
        latents.append(Latent(**{name: entry(name, k, called=f"{what[name]} of latent {k}") for name in what}))
    for i, j in itertools.combinations(range(circuit.n_latents), 2):
        e = entry("coactive", i, j, called=f"P(both active) of latents {i} and {j}")
        pairs.append(Pair(i, j, e.circuit, e.exact, e.mcse, e.mcse_exact, e.z))
    return tuple(latents), tuple(pairs)


def support_distance(circuit: PosteriorStatistics, exact: PosteriorStatistics, seed: int) -> Support:
    """Return the total variation, with the floor that multinomials of the effective sample sizes (of both, if sampled) have."""
    p, q, K = exact.support, circuit.support, circuit.n_latents
    if p is None or q is None:
        why = f"K = {K} > {MAX_SUPPORT_LATENTS}" if K > MAX_SUPPORT_LATENTS else "One of the two has no table"
        return Support(None, None, None, f"{why}: the 2^K supports are not tabulated.")
    truth = np.array(list(p.values())) / sum(p.values())
    sizes = [max(round(measured.ess_min), 1) for measured in (circuit, exact) if measured.sampled]
    rng = np.random.default_rng(seed)
    noise = []
    for _ in range(int(np.clip(1e7 / len(truth), 20, 200))):  # many supports average by themselves
        laws = [rng.multinomial(n, truth) / n for n in sizes] + [truth]
        noise.append(0.5 * np.abs(laws[0] - laws[1]).sum())
    floor, limit = float(np.mean(noise)), float(np.quantile(noise, 0.99))
    if floor > MAX_TV_FLOOR:
        why = f"Noise alone would make {floor:.2f} at ess_min = {circuit.ess_min:.3g}: a distance says nothing."
        return Support(None, floor, limit, why)
    tv = 0.5 * sum(abs(p.get(key, 0.0) - q.get(key, 0.0)) for key in p.keys() | q.keys())
    return Support(float(tv), floor, limit, None)
