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

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.planning.run_plan import ALLOWANCE, REFERENCE_TIME, TOLERANCE
from circuitlsc.reference.statistics import MARGINALS, MAX_SUPPORT_LATENTS, PosteriorStatistics
from circuitlsc.validation.null import WHOLE, Null
from circuitlsc.validation.verdict import Outcome, Verdict

ALPHA = 0.01  # of correct runs that have a larger abs(z) than c
#: Fewer effective samples, or a larger rank R-hat, never agree.
MIN_ESS, MAX_RHAT = 100.0, 1.05
#: A total variation that noise alone makes larger than this says nothing: it is refused.
MAX_TV_FLOOR = 0.5
#: Independent samples of a latent, in correct runs, below which a mode of it counts as hardly visited.
FEW_VISITS = 50.0
#: From here on a run is said to mix more slowly than its replicates.
SLOW = 1.5
DAY = 86_400.0  # s
# A standard error below this (times the unit) counts as this: z stays finite where both errors are 0, and next to 0
# for numbers that differ by the rounding of an exact calculation.
_RESOLUTION = 1e-6
_SURE = 0.99  # share of correct runs of the length that would do that agree
REFERENCE_SHARE = 0.25  # error of the reference over that of the run,
FINEST = 0.05  # or over the tolerance: no better than that, however long the run

_Measured = tuple[float, float]  # a value and its MCSE


@dataclass(frozen=True)
class Entry:
    """One statistic: circuit, software SDE (the replicates) and exact value, with z = (circuit - exact) / error.

    ``mcse`` is the standard error of correct runs like this one, ``z`` takes the error upwards or downwards.
    """

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
class Comparison(Verdict):
    """What `compare` returns and comparison.json holds: finite numbers, and None for what is not available.

    ``t_stop`` and ``t_stop_needed`` are in tau, per chain; ``needed_tolerance`` is what a run of ``needed_t_stop`` would reach
    if ``t_stop_needed`` is far away. ``p_value`` is the share of correct runs whose largest abs(z) is as large
    (``z_limit`` is c, ``max_abs_z`` is over all judged statistics). ``detectable`` is the smallest fault that the run could
    have shown: of the statistic that is known best, and of the one that is known worst. ``slowdown`` is how many times more
    slowly than the ideal SDE the run mixes. ``notes`` say in words which modes runs of this length hardly visit.
    ``rhat_max`` is None if R-hat is infinite (every chain stands still) or unknown, ``ess_exact`` if the reference is exact.
    ``virial`` has one entry per latent, with exact value 1.
    """

    notes: tuple[str, ...]
    t_stop: float
    t_stop_needed: float | None
    needed_tolerance: float | None
    needed_t_stop: float | None
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
    pathwise: Pathwise


def compare(
    circuit: PosteriorStatistics,
    exact: PosteriorStatistics,
    null: Null,
    *,
    scale: float,
    t_stop: float,
    seed: int,
    virial: tuple[Array, Array] | None = None,
    pathwise: Mapping[str, float] | None = None,
    warmup: float = 0.0,
    slowdown: float = 1.0,
    seconds: float = 0.0,
    reference_seconds: float = 0.0,
    reference_time: float = REFERENCE_TIME,
    gates: bool = True,
    alpha: float = ALPHA,
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
    t_stop, warmup : float
        Simulated time per chain and how much of it was thrown away, in tau.
    seed : int
        Of the multinomials that give the floor of the total variation.
    virial, pathwise : tuple of array, and mapping
        Value and MCSE from `virial`; ``max_abs``, ``rms`` (model units), ``time`` (tau) as in `Pathwise`.
    slowdown : float
        How many times more slowly the run mixes than its replicates, >= 1 (`Null.slowdown`).
    seconds : float
        What a tau of all chains takes on this machine; 0 if it is not known.
    reference_seconds, reference_time : float
        How long the reference was drawn (0 if it is not known), and may be drawn.
    gates : bool
        Whether a run with fewer than 100 effective samples, or R-hat above 1.05, may not agree.
    alpha : float
        Share of correct runs whose largest abs(z) is beyond the limit.
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
    if not (0 < scale < math.inf and 0 <= warmup < t_stop < math.inf):
        raise InputError(
            f"scale = {scale!r}, warmup = {warmup!r}, t_stop = {t_stop!r}. Give scale > 0 and 0 <= warmup < t_stop."
        )
    if not (0 < alpha < 1 and 0 <= allowance < tolerance < math.inf):
        raise InputError(
            f"alpha = {alpha!r}, allowance = {allowance!r}, tolerance = {tolerance!r}. "
            "Give 0 < alpha < 1 and 0 <= allowance < tolerance."
        )
    vectors = (null.judged.select(circuit), null.judged.select(exact), null.judged.select(exact, "_mcse"))
    judged = Errors.of(*vectors, null, scale=scale, slowdown=slowdown, alpha=alpha)
    times = _Times(warmup, t_stop, seconds, reference_seconds, reference_time)
    verdict, reason, advice = _judge(judged, circuit, exact, times, gates, allowance, tolerance)
    latents, pairs = _latents(judged, circuit, exact), _pairs(judged, circuit, exact)
    z = np.abs(judged.z)
    n_pairs = len(pairs) if judged.null.judged.sparse else 0
    return Comparison(
        verdict=verdict,
        reason=reason,
        notes=judged.notes(exact, allowance),
        t_stop=float(t_stop),
        **asdict(advice),
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
        support=_support(circuit, exact, seed),
        residual_power=_entry(
            exact.residual_power,
            (circuit.residual_power, circuit.residual_power_mcse),
            (exact.residual_power, exact.residual_power_mcse),
        ),
        virial=virial and tuple(_entry(1.0, both, (1.0, 0.0)) for both in zip(*virial, strict=True)),
        pathwise=Pathwise(**{name: float(value) for name, value in (pathwise or {}).items()}),
    )


def _entry(unit: float, circuit: _Measured, exact: _Measured) -> Entry:
    """Return a statistic that is not judged, with the errors of its own samples."""
    (value, mcse), (truth, mcse_truth) = map(float, circuit), map(float, exact)
    z = (value - truth) / max(math.hypot(mcse, mcse_truth), _RESOLUTION * unit)
    return Entry(value, None, truth, mcse, None, mcse_truth, float(z), None)


def _latents(judged: Errors, circuit: PosteriorStatistics, exact: PosteriorStatistics) -> tuple[Latent, ...]:
    what = {"p_active": "P(active)", "mean": "mean", "sd": "sd"}

    def entry(name: str, k: int) -> Entry:
        of = f"{what[name]} of latent {k}"
        if of in judged.place:
            return judged.entry(judged.place[of])
        unit = 1.0 if name == "p_active" else judged.scale
        return _entry(unit, *((getattr(m, name)[k], getattr(m, f"{name}_mcse")[k]) for m in (circuit, exact)))

    return tuple(Latent(**{name: entry(name, k) for name in MARGINALS}) for k in range(circuit.n_latents))


def _pairs(judged: Errors, circuit: PosteriorStatistics, exact: PosteriorStatistics) -> tuple[Pair, ...]:
    rows = []
    for i, j in zip(*np.triu_indices(circuit.n_latents, 1), strict=True):
        place = judged.place.get(f"P(both active) of latents {i} and {j}")
        bare = (circuit.coactive[i, j], 0.0), (exact.coactive[i, j], 0.0)
        e = _entry(1.0, *bare) if place is None else judged.entry(place)
        rows.append(Pair(int(i), int(j), e.circuit, e.exact, e.mcse, e.mcse_exact, e.z))
    return tuple(rows)


@dataclass(frozen=True)
class _Times:
    """A run's warm-up and end in tau, what a tau takes in s (0: unknown), how long the reference was drawn and may be."""

    warmup: float
    t_stop: float
    tau: float
    drawn: float
    may: float

    def longer(self, seconds: float) -> str:
        """Say how long the reference would have to be drawn."""
        return (
            f"About reference_time = {_round_up(seconds):g} ([run]) would do." if self.drawn else "Draw more from it."
        )


@dataclass(frozen=True)
class Advice:
    """What would do: a longer run; or, if that is far away, a looser tolerance and a run that reaches it (tau)."""

    t_stop_needed: float | None = None
    needed_tolerance: float | None = None
    needed_t_stop: float | None = None


@dataclass(frozen=True, eq=False)
class Errors:
    """All judged statistics of a run in units of 1 or `scale`: differences, and errors upwards and downwards, each (n_judged,).

    Attributes
    ----------
    d, z : array
        Circuit minus exact, and its z.
    own : array
        The errors of correct runs, the larger of both sides; ``reference`` those of the reference, ``wide`` both.
    c : float
        What the largest abs(z) of a share alpha of the replicates exceeds.
    largest : array, shape (n,)
        The largest abs(z) of each replicate.
    """

    null: Null
    scale: float
    slowdown: float
    alpha: float
    unit: Array
    circuit: Array
    exact: Array
    d: Array
    z: Array
    own: Array
    reference: Array
    wide: Array
    side: Array
    c: float
    largest: Array
    place: dict[str, int]

    @classmethod
    def of(
        cls,
        circuit: Array,
        exact: Array,
        reference: Array,
        null: Null,
        *,
        scale: float,
        slowdown: float = 1.0,
        alpha: float = ALPHA,
    ) -> Errors:
        """Compare judged statistics, as `Judged.select` orders them, with the exact ones and these ones' errors."""
        unit = null.judged.units(scale)
        reference, d, deviations = reference / unit, (circuit - exact) / unit, null.deviations(exact) / unit
        up, down = sides(deviations)
        off = reference * np.random.default_rng(1).standard_normal(deviations.shape)  # as far as the reference may be
        largest = largest_z(deviations + off, np.hypot(up, reference), np.hypot(down, reference))
        c = float(np.quantile(largest, 1 - alpha, method="higher"))
        up, down = (math.sqrt(slowdown) * side for side in (up, down))
        own, side = np.maximum(up, down), np.where(d > 0, np.hypot(up, reference), np.hypot(down, reference))
        return cls(
            null, scale, slowdown, alpha, unit, circuit, exact, d, d / side, own, reference, np.hypot(own, reference), side, c,
            largest, {name: i for i, name in enumerate(null.judged.names)},
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """What messages call the statistics."""
        return list(self.place)

    def excess(self, allowance: float = ALLOWANCE) -> Array:
        """Return how far each statistic is beyond the allowance, in errors: a correct run's largest is seldom above c."""
        return (np.abs(self.d) - allowance) / self.side

    def p_value(self, allowance: float) -> float:
        """Return the share of correct runs whose largest abs(z) is as large as that beyond the allowance."""
        found = float(self.excess(allowance).max())
        return float((1 + np.sum(self.largest >= found)) / (1 + len(self.largest)))

    def entry(self, i: int) -> Entry:
        """Return a statistic with its errors, in its own unit."""
        unit, null = float(self.unit[i]), self.null
        mean, se = float(null.mean[i]), float(null.mean_se[i])
        error = math.hypot(se, float(self.reference[i]) * unit)
        return Entry(
            float(self.circuit[i]), mean, float(self.exact[i]), float(self.own[i]) * unit, se,
            float(self.reference[i]) * unit, float(self.z[i]),
            (mean - float(self.exact[i])) / max(error, _RESOLUTION * unit),
        )  # fmt: skip

    def told(self, i: int) -> str:
        """Say what a statistic is, and what it should be."""
        error = float(self.side[i] * self.unit[i])
        return (
            f"{self.names[i]} is {self.circuit[i]:.4g}, exact {self.exact[i]:.4g}, with a standard error of {error:.2g}"
        )

    def notes(self, exact: PosteriorStatistics, allowance: float) -> tuple[str, ...]:
        """Say which modes correct runs of this length hardly visit."""
        notes = []
        means = [self.place.get(f"mean of latent {k}") for k in range(exact.n_latents)]
        visits = [
            math.inf if i is None else (sd / (self.own[i] * self.scale)) ** 2
            for i, sd in zip(means, exact.sd, strict=True)
        ]
        worst = int(np.argmin(visits))
        if visits[worst] < FEW_VISITS and self.own[self.place[f"sd of latent {worst}"]] > allowance:
            notes.append(
                f"a far mode is hardly visited: latent {worst} has about {max(visits[worst], 1):.0f} independent samples in a "
                f"correct run of this length, whose sd of s is off by {self.own[self.place[f'sd of latent {worst}']]:.2g}"
            )
        states = [("active", exact.p_active, self.null.never[0])]
        if exact.p_negative is not None:
            states.append(("negative", exact.p_negative, self.null.never[1]))
        for state, mass, never in states:
            for k in np.flatnonzero((mass > allowance) & (never > 0.05)):
                notes.append(
                    f"latent {k} is {state} with probability {mass[k]:.2g}, and {never[k]:.0%} of correct runs of this length "
                    "never see it so"
                )
        if self.slowdown > SLOW:
            notes.append(
                f"the run mixes {self.slowdown:.2g} times more slowly than the ideal SDE; its errors are so much larger"
            )
        if not self.null.scaled and self.null.length < WHOLE * self.null.target:
            notes.append(
                f"correct runs were replicated over {self.null.length:.4g} of {self.null.target:.4g} tau only, in which they "
                "do not forget their starts: the errors are larger than those of the run"
            )
        return tuple(notes)

    def reference_time(self, seconds: float, tolerance: float, target: float | None = None) -> float:
        """Return how long a reference drawn for so many seconds must be drawn for a run of ``target`` tau (None: this one)."""
        own = self.own if target is None else np.maximum(*sides(self._deviations(target)))
        asked = np.maximum(REFERENCE_SHARE * own, FINEST * tolerance)
        return seconds * max(1.0, float(np.max(self.reference / asked))) ** 2

    def _deviations(self, target: float) -> Array:
        """Return the errors of correct runs of ``target`` tau, in units."""
        return self.null.deviations(self.exact, target) / self.unit * math.sqrt(self.slowdown)

    def reach(self, target: float, allowance: float, tolerance: float = 0.0) -> float:
        """Return the tolerance within which a share 0.99 of correct runs of ``target`` tau are, errors included.

        The circuit's own bias is taken for what its difference exceeds two errors by, at least half the allowance; the
        reference's errors are those that it is drawn to, if it has any.
        """
        d = self._deviations(target)
        up, down = sides(d)
        asked = np.maximum(REFERENCE_SHARE * np.sqrt((up**2 + down**2) / 2), FINEST * tolerance)
        reference = np.where(self.reference > 0, asked, 0.0)
        d = d + reference * np.random.default_rng(2).standard_normal(d.shape)
        up, down = np.hypot(up, reference), np.hypot(down, reference)
        c = float(np.quantile(largest_z(d, up, down), 1 - self.alpha, method="higher"))
        bias = np.clip(np.abs(self.d) - 2 * self.side, allowance / 2, allowance)
        within = (np.abs(d) + bias + c * np.maximum(up, down)).max(1)
        return float(np.quantile(within, _SURE, method="higher"))

    def needed(self, allowance: float, tolerance: float) -> float | None:
        """Return the measured time per chain that would do for a tolerance, in tau; None if none below 1e9 times would."""
        low, high = 1.2 * self.null.target, 1e9 * self.null.target
        if self.reach(high, allowance, tolerance) > tolerance:
            return None
        while high > 1.02 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self.reach(middle, allowance, tolerance) <= tolerance else (middle, high)
        return high


def sides(deviations: Array) -> tuple[Array, Array]:
    """Return the errors upwards and downwards of replicates (n_runs, n_judged), each at least half of the rms."""
    rms = np.sqrt(np.mean(deviations**2, axis=0))
    sides = (np.sqrt(2 * np.mean(np.maximum(sign * deviations, 0.0) ** 2, axis=0)) for sign in (1, -1))
    up, down = (np.maximum(np.maximum(side, rms / 2), _RESOLUTION) for side in sides)
    return up, down


def largest_z(deviations: Array, up: Array, down: Array) -> Array:
    """Return the largest abs(z) of each replicate."""
    return np.asarray(np.maximum(deviations / up, -deviations / down).max(1))


def _judge(
    judged: Errors,
    circuit: PosteriorStatistics,
    exact: PosteriorStatistics,
    times: _Times,
    gates: bool,
    allowance: float,
    tolerance: float,
) -> tuple[Outcome, str, Advice]:
    """Return the verdict, a sentence or two, and what would do."""
    if exact.rhat_max > MAX_RHAT or exact.ess_min < MIN_ESS:
        return (
            "inconclusive",
            f"The reference is too short: {_quality(exact)}. {times.longer(2 * judged.reference_time(times.drawn, tolerance))}",
            Advice(),
        )
    excess = judged.excess(allowance)
    worst = int(excess.argmax())
    if excess[worst] > judged.c:
        return "disagrees", f"{judged.told(worst)}: more than noise and the allowed bias explain.", Advice()
    reach = np.abs(judged.d) + judged.c * judged.wide
    worst, unseen = int(reach.argmax()), _unseen(circuit, exact, tolerance)
    # where correct runs hardly ever move, one that never does is none the worse
    still = circuit.ess_min <= 1 and float(judged.own.max()) <= allowance
    poor = gates and ((circuit.ess_min < MIN_ESS and not still) or circuit.rhat_max > MAX_RHAT)
    if reach[worst] <= tolerance and not poor and not unseen:
        return "agrees", f"All {len(reach)} statistics are within {tolerance:g} of exact, errors included.", Advice()
    if reach[worst] > tolerance and judged.reference[worst] > judged.own[worst]:  # a longer run would not help
        known, there = (error[worst] * judged.unit[worst] for error in (judged.own, judged.reference))
        return (
            "inconclusive",
            f"The reference is too short: {judged.names[worst]} is known to {there:.2g} there, and to {known:.2g} in the run. "
            f"{times.longer(judged.reference_time(times.drawn, tolerance))}",
            Advice(),
        )
    if reach[worst] > tolerance:
        reason = f"The run is too short: {judged.told(worst)}."
    elif unseen:
        reason = f"The run is too short: it never visited the state in which {unseen}."
    else:
        reason = f"The run is too short: {_quality(circuit)}."
    advice, text = _advise(judged, times, allowance, tolerance)
    return "inconclusive", reason + text, advice


def _quality(of: PosteriorStatistics) -> str:
    return (
        f"{of.method} has {of.ess_min:.3g} effective samples (at least {MIN_ESS:g} are needed) and rank R-hat "
        f"{of.rhat_max:.3g} (at most {MAX_RHAT:g})"
    )


def _unseen(circuit: PosteriorStatistics, exact: PosteriorStatistics, tolerance: float) -> str:
    """Say which state of more mass than the tolerance the run never visited; nothing if it visited all."""
    states = [
        (f"latent {k} is {'active' if on else 'inactive'}", p if on else 1 - p, q if on else 1 - q)
        for k, (p, q) in enumerate(zip(exact.p_active, circuit.p_active, strict=True))
        for on in (True, False)
    ]
    if exact.p_negative is not None and circuit.p_negative is not None:
        for k, (p, q) in enumerate(zip(exact.p_negative, circuit.p_negative, strict=True)):
            states.append((f"latent {k} is negative", p, q))
            states.append((f"latent {k} is positive", exact.p_active[k] - p, circuit.p_active[k] - q))
    if exact.support is not None and circuit.support is not None:
        for key, p in exact.support.items():
            active = [str(k) for k in range(exact.n_latents) if key >> k & 1]
            which = (
                f"latents {', '.join(active)} alone are" if len(active) > 1 else f"latent {''.join(active)} alone is"
            )
            name = f"{which} active" if active else "no latent is active"
            states.append((name, p, circuit.support.get(key, 0.0)))
    missed = [(p, name) for name, p, q in states if p > tolerance and q <= 1e-12]
    return f"{max(missed)[1]}, with probability {max(missed)[0]:.3g}" if missed else ""


def _advise(judged: Errors, times: _Times, allowance: float, tolerance: float) -> tuple[Advice, str]:
    """Return what would do, and how to say it."""

    def drawn(t_stop: float, within: float) -> str:
        known = judged.reference_time(times.drawn, within, t_stop - times.warmup)
        return f" and reference_time = {_round_up(known):g} ([run])" if known > times.may else ""

    length = judged.needed(allowance, tolerance)
    longer = None if length is None else _round_up(times.warmup + length)
    affordable = 10 * times.t_stop if times.tau == 0 else max(10 * times.t_stop, 600 / times.tau)
    if longer is not None and longer <= affordable:
        return Advice(longer), f" About t_stop = {longer:g} tau per chain{drawn(longer, tolerance)} would do."
    near = _round_up(min(affordable, longer or math.inf))
    looser = _round_up(judged.reach(near - times.warmup, allowance))
    alternative = f"with --tolerance {looser:g} t_stop = {near:g}{drawn(near, looser)} would do"
    if longer is None:
        return Advice(None, looser, near), f" No length reaches {tolerance:g}; {alternative}."
    text = f" About t_stop = {longer:g} tau per chain{drawn(longer, tolerance)} would do"
    days = longer * times.tau / DAY
    if days > 1:
        text += (
            f", {days:.2g} days on this machine: more chains on several machines (--scheduler) share them, and "
            '[dynamics] kind = "underdamped" mixes faster'
        )
    return Advice(longer, looser, near), f"{text}; {alternative}."


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
