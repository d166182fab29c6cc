r"""How close a circuit's samples are to the truth: z scores, distances beside their floors, and one verdict.

.. math:: z = \frac{d}{\mathrm{SE}}, \qquad d = \mathrm{circuit} - \mathrm{exact}, \qquad
          \mathrm{SE}^2 = \mathrm{MCSE}_\mathrm{circuit}^2 + \mathrm{MCSE}_\mathrm{exact}^2

With d in units where P(active) counts 1 and mean and sd count `scale`, and with z_limit the two-sided Bonferroni
quantile of the normal distribution, the verdict is

- ``disagrees`` if any abs(d) - z_limit SE > allowance: noise and the allowed bias cannot explain it;
- else ``agrees`` if every abs(d) + z_limit SE <= tolerance: known well enough, and close;
- else ``inconclusive``, with the t_stop that would do.

P(both active) of each pair takes part, with a level of its own: right marginals and wrong joint probabilities are not
the posterior. The chance of a false ``disagrees`` is then at most 2 alpha. The reference-free checks (virial,
pathwise) and E abs(x - A s)^2 are reported and not judged: they have other units.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from circuitlsc.errors import InputError
from circuitlsc.statistics import MARGINALS, MAX_SUPPORT_LATENTS, PosteriorStatistics, floored_mcse
from circuitlsc.statistics import virial as virial

Array = NDArray[np.float64]
Verdict = Literal["agrees", "disagrees", "inconclusive"]

#: Fewer effective samples never agree: the MCSE that they give is itself known to 20 % at best.
MIN_ESS = 100.0
#: Fewer effective samples never disagree; from here to MIN_ESS only beyond twice the margin.
MIN_ESS_DISAGREE = 25.0
#: Above this rank R-hat the chains do not sample one distribution yet, and every MCSE is too small.
MAX_RHAT = 1.05
#: A total variation that noise alone makes larger than this says nothing: it is refused.
MAX_TV_FLOOR = 0.5
# A standard error below this (times the unit) counts as this: z stays finite where both errors are 0, and next to 0
# for numbers that differ by the rounding of an exact calculation.
_RESOLUTION = 1e-6
# `t_stop_needed`: R-hat to aim at, and the chance that an unbiased run of that length is inconclusive again.
_GOOD_RHAT, _RISK = 1.03, 0.1

_Measured = tuple[float, float]  # a value and its MCSE


@dataclass(frozen=True)
class Entry:
    """One statistic: circuit, SDE and exact value, their standard errors, and z = (value - exact) / SE."""

    circuit: float
    sde: float | None
    exact: float
    mcse: float
    mcse_sde: float | None
    mcse_exact: float
    z: float
    z_sde: float | None


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


@dataclass(frozen=True)
class Pathwise:
    """Difference of circuit and NumPy on one noise path, in model units, over `time` tau; None if not run."""

    max_abs: float | None = None
    rms: float | None = None
    time: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns and comparison.json holds: finite numbers, and None for what is not available.

    `t_stop` and `t_stop_needed` are in tau, per chain. `rhat_max` is None if R-hat is infinite (every chain stands
    still) or unknown, `ess_exact` if the reference is exact. `virial` has one entry per latent, with exact value 1.
    """

    verdict: Verdict
    reason: str
    t_stop: float
    t_stop_needed: float | None
    max_abs_z: float
    z_limit: float
    max_abs_z_pairs: float
    z_limit_pairs: float
    ess_min: float
    rhat_max: float | None
    n_draws: int
    reference: str
    ess_exact: float | None
    alpha: float
    allowance: float
    tolerance: float
    scale: float
    latents: tuple[Latent, ...]
    coactivation: tuple[Pair, ...]
    support: Support
    residual_power: Entry
    virial: tuple[Entry, ...] | None
    pathwise: Pathwise

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Return the comparison that `to_dict` wrote; InputError if a key is missing or unknown."""
        try:
            parts = {
                "latents": tuple(Latent(**{k: Entry(**e) for k, e in row.items()}) for row in data["latents"]),
                "coactivation": tuple(Pair(**row) for row in data["coactivation"]),
                "support": Support(**data["support"]),
                "residual_power": Entry(**data["residual_power"]),
                "virial": data["virial"] and tuple(Entry(**row) for row in data["virial"]),
                "pathwise": Pathwise(**data["pathwise"]),
            }
            return cls(**{**data, **parts})
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"This is no comparison that this version of circuitlsc wrote ({error}). Run the circuit again."
            ) from error


def compare(
    circuit: PosteriorStatistics,
    exact: PosteriorStatistics,
    sde: PosteriorStatistics | None,
    *,
    scale: float,
    t_stop: float,
    seed: int,
    virial: tuple[Array, Array] | None = None,
    pathwise: Mapping[str, float] | None = None,
    warmup: float = 0.0,
    alpha: float = 0.01,
    allowance: float = 0.005,
    tolerance: float = 0.02,
) -> Comparison:
    """Compare a circuit's samples with the exact posterior, and say whether they agree.

    Parameters
    ----------
    circuit, exact, sde : PosteriorStatistics
        What was measured on the circuit, the reference (exact, or sampled by Gibbs) and the software SDE (or None).
    scale : float
        Size of a typical active coefficient, in model units: the unit of allowance and tolerance for mean and sd.
    t_stop, warmup : float
        Simulated time per chain and how much of it was thrown away, in tau.
    seed : int
        Of the multinomials that give the floor of the total variation.
    virial, pathwise : tuple of array, and mapping
        Value and MCSE from `virial`; ``max_abs``, ``rms`` (model units), ``time`` (tau) as in `Pathwise`.
    alpha : float
        Chance of a false ``disagrees``, for the 3 K marginals and again for the pairs.
    allowance, tolerance : float
        Bias allowed apart from noise (comparator width, step), and how close is close, errors included.

    Raises
    ------
    InputError
        If the statistics have different numbers of latents, or a number is out of range.

    Notes
    -----
    The MCSEs have the floors of `floored_mcse`. With ess_min < 100 or R-hat > 1.05 a run does not agree. With
    R-hat > 1.05 or ess_min < 25 it does not disagree either: such an MCSE means nothing, and a stuck chain is not a
    wrong circuit. From 25 to 100 it disagrees only beyond twice the margin. No sample tells that *all* chains miss a
    mode: start them from opposite ones.
    """
    for other in (exact, sde):
        if other is not None and other.n_latents != circuit.n_latents:
            raise InputError(
                f"{other.method} has {other.n_latents} latents, but {circuit.method} has {circuit.n_latents}. "
                "Compare samples of one model."
            )
    if not circuit.sampled:
        raise InputError(f"{circuit.method} has no samples (ess_min is infinite). Pass what summarize returns.")
    if not (0 < scale < math.inf and 0 <= warmup < t_stop < math.inf):
        raise InputError(
            f"scale = {scale!r}, warmup = {warmup!r}, t_stop = {t_stop!r}. Give scale > 0 and 0 <= warmup < t_stop."
        )
    if not (0 < alpha < 1 and 0 <= allowance < tolerance < math.inf):
        raise InputError(
            f"alpha = {alpha!r}, allowance = {allowance!r}, tolerance = {tolerance!r}. "
            "Give 0 < alpha < 1 and 0 <= allowance < tolerance."
        )
    latents, pairs = _latents(circuit, exact, sde, scale), _pairs(circuit, exact)
    z_limit, z_limit_pairs = (float(stats.norm.isf(alpha / (2 * max(n, 1)))) for n in (3 * len(latents), len(pairs)))
    judged = _Judged.collect(latents, pairs, z_limit, z_limit_pairs, scale)
    verdict, reason, factor = _judge(judged, circuit, exact, allowance, tolerance)
    needed = None if factor is None else _round_up(warmup + (t_stop - warmup) * factor)
    if needed is not None:
        reason += f" About t_stop = {needed:g} tau per chain would do."
    powers = [(m.residual_power, m.residual_power_mcse) for m in (circuit, exact, sde) if m is not None]
    return Comparison(
        verdict=verdict,
        reason=reason,
        t_stop=float(t_stop),
        t_stop_needed=needed,
        max_abs_z=max(abs(getattr(row, name).z) for row in latents for name in MARGINALS),
        z_limit=z_limit,
        max_abs_z_pairs=max((abs(pair.z) for pair in pairs), default=0.0),
        z_limit_pairs=z_limit_pairs,
        ess_min=float(circuit.ess_min),
        rhat_max=float(circuit.rhat_max) if math.isfinite(circuit.rhat_max) else None,
        n_draws=int(circuit.n_draws),
        reference=exact.method,
        ess_exact=float(exact.ess_min) if exact.sampled else None,
        alpha=float(alpha),
        allowance=float(allowance),
        tolerance=float(tolerance),
        scale=float(scale),
        latents=latents,
        coactivation=pairs,
        support=_support(circuit, exact, seed),
        residual_power=_entry(exact.residual_power, *powers),
        virial=virial and tuple(_entry(1.0, both, (1.0, 0.0)) for both in zip(*virial, strict=True)),
        pathwise=Pathwise(**{name: float(value) for name, value in (pathwise or {}).items()}),
    )


def _entry(unit: float, circuit: _Measured, exact: _Measured, sde: _Measured | None = None) -> Entry:
    def z(value: float, mcse: float) -> float:
        return float((value - exact[0]) / max(math.hypot(mcse, exact[1]), _RESOLUTION * unit))

    (value, mcse), (truth, mcse_truth) = map(float, circuit), map(float, exact)
    soft = (None, None, None) if sde is None else (float(sde[0]), float(sde[1]), z(*sde))
    return Entry(value, soft[0], truth, mcse, soft[1], mcse_truth, z(*circuit), soft[2])


def _latents(
    circuit: PosteriorStatistics, exact: PosteriorStatistics, sde: PosteriorStatistics | None, scale: float
) -> tuple[Latent, ...]:
    sources = [(source, floored_mcse(source, exact)) for source in (circuit, exact, sde) if source is not None]

    def entry(name: str, k: int) -> Entry:
        unit = 1.0 if name == "p_active" else scale
        return _entry(unit, *((getattr(source, name)[k], mcse[name][k]) for source, mcse in sources))

    return tuple(Latent(**{name: entry(name, k) for name in MARGINALS}) for k in range(circuit.n_latents))


def _pairs(circuit: PosteriorStatistics, exact: PosteriorStatistics) -> tuple[Pair, ...]:
    mcse, mcse_exact = (floored_mcse(source, exact)["coactive"] for source in (circuit, exact))
    rows = []
    for i, j in zip(*np.triu_indices(circuit.n_latents, 1), strict=True):
        e = _entry(1.0, (circuit.coactive[i, j], mcse[i, j]), (exact.coactive[i, j], mcse_exact[i, j]))
        rows.append(Pair(int(i), int(j), e.circuit, e.exact, e.mcse, e.mcse_exact, e.z))
    return tuple(rows)


@dataclass(frozen=True)
class _Judged:
    """All judged statistics in one list: names, rows, abs(d), MCSEs and z limits, in units of 1 or `scale`."""

    names: list[str]
    rows: list[Entry | Pair]
    d: Array
    mcse: Array
    mcse_exact: Array
    z: Array

    @classmethod
    def collect(
        cls, latents: tuple[Latent, ...], pairs: tuple[Pair, ...], z_limit: float, z_limit_pairs: float, scale: float
    ) -> _Judged:
        names = [f"{what} of latent {k}" for k in range(len(latents)) for what in ("P(active)", "mean", "sd")]
        names += [f"P(both active) of latents {pair.i} and {pair.j}" for pair in pairs]
        rows: list[Entry | Pair] = [*(getattr(row, name) for row in latents for name in MARGINALS), *pairs]
        unit = np.array([1.0, scale, scale] * len(latents) + [1.0] * len(pairs))
        d, mcse, mcse_exact = np.array([[abs(r.circuit - r.exact), r.mcse, r.mcse_exact] for r in rows]).T / unit
        z = np.repeat([z_limit, z_limit_pairs], [3 * len(latents), len(pairs)])
        return cls(names, rows, d, mcse, mcse_exact, z)

    def told(self, i: int) -> str:
        row = self.rows[i]
        se = math.hypot(row.mcse, row.mcse_exact)
        return f"{self.names[i]} is {row.circuit:.4g}, exact {row.exact:.4g}, with a standard error of {se:.2g}"

    def longer(self, circuit: PosteriorStatistics, allowance: float, tolerance: float) -> float | None:
        """Return the factor on the run's length after which an unbiased circuit agrees with chance 1 - _RISK.

        Approximate: MCSE ~ t^(-1/2), R-hat^2 - 1 ~ 1/t; the bias is what 2 SE do not explain, up to the allowance.
        None if no length would do.
        """
        if not math.isfinite(circuit.rhat_max):
            return None
        bias = np.clip(self.d - 2 * np.hypot(self.mcse, self.mcse_exact), 0, allowance)
        for factor in np.geomspace(1.2, 1e6, 400):
            se = np.maximum(np.hypot(self.mcse / math.sqrt(factor), self.mcse_exact), _RESOLUTION)
            if np.sum(2 * stats.norm.sf((tolerance - bias) / se - self.z)) <= _RISK:
                rhat = (circuit.rhat_max**2 - 1) / (_GOOD_RHAT**2 - 1)
                return max(float(factor), 1.3 * MIN_ESS / circuit.ess_min, rhat)
        return None


def _judge(
    judged: _Judged, circuit: PosteriorStatistics, exact: PosteriorStatistics, allowance: float, tolerance: float
) -> tuple[Verdict, str, float | None]:
    """Return the verdict, one sentence, and how many times longer the run should be (None if that does not help)."""

    def quality(of: PosteriorStatistics) -> str:
        return (
            f"{of.method} has {of.ess_min:.3g} effective samples (at least {MIN_ESS:g} are needed) and rank R-hat "
            f"{of.rhat_max:.3g} (at most {MAX_RHAT:g})"
        )

    if exact.ess_min < MIN_ESS or exact.rhat_max > MAX_RHAT:
        return "inconclusive", f"The reference is too short: {quality(exact)}; draw more samples from it.", None
    margin = judged.z * np.hypot(judged.mcse, judged.mcse_exact)
    longer = judged.longer(circuit, allowance, tolerance)
    if circuit.rhat_max > MAX_RHAT:
        return "inconclusive", f"The chains have not converged: {quality(circuit)}.", longer
    # A margin from few effective samples is itself uncertain: only a gross difference counts.
    excess = judged.d - margin * (1 if circuit.ess_min >= MIN_ESS else 2) - allowance
    worst = int(excess.argmax())
    if excess[worst] > 0 and circuit.ess_min >= MIN_ESS_DISAGREE:
        return "disagrees", f"{judged.told(worst)}: more than noise and the allowed bias explain.", None
    if circuit.ess_min < MIN_ESS:
        return "inconclusive", f"The run is too short: {quality(circuit)}.", longer
    reach = judged.d + margin
    worst = int(reach.argmax())
    if reach[worst] <= tolerance:
        return "agrees", f"All {len(reach)} statistics are within {tolerance:g} of exact, errors included.", None
    if longer is None and exact.sampled:
        return "inconclusive", f"The reference is too short: {judged.told(worst)}; draw more from it.", None
    return "inconclusive", f"The run is too short: {judged.told(worst)}.", longer


def _support(circuit: PosteriorStatistics, exact: PosteriorStatistics, seed: int) -> Support:
    """Total variation, with the floor that multinomials of the effective sample sizes (of both, if sampled) have."""
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


def _round_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)  # two significant digits
    return float(math.ceil(value / unit) * unit)
