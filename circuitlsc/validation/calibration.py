r"""Simulation-based calibration: whether a sampler returns the posterior, over many inputs and without a reference.

.. math:: s \sim p(s), \quad x = A s + n, \quad s^{(1)}, \dots, s^{(L)} \sim \mathrm{sampler}(x), \qquad
          r = \#\{l : f(s^{(l)}, x) < f(s, x)\} \sim \mathrm{uniform}\{0, \dots, L\}

If the sampler is right, the true code is one more draw of the posterior, so that its rank among the L draws is uniform
whatever f is (Talts et al. 2018, arXiv:1804.06788). The f that are ranked here, ties broken at random:

- each s_i: it sees a latent that is wrong by itself; with a spike once more among the draws where it is nonzero, over the
  inputs whose true s_i is;
- the log likelihood: a sampler that returns the prior passes all but this one;
- the total size, sum_i abs(s_i) (abs, because a wrong scale only widens or narrows the signed sum);
- with a spike, the number of active latents (a wrong pi), and their mean size among the codes that have one (a wrong
  lam, which the zeros hide from the others).

Each test is exact. With V uniform, p = (r + V)/(L + 1) is uniform, and its normal score z = Phi^-1(p) standard normal.
So sqrt(n) mean(z) is N(0, 1) and (n - 1) var(z) is chi^2 with n - 1 degrees of freedom, independently. The first is the
*shift* of the true values against the draws in posterior standard deviations, the second the square of their *spread*
against the draws' (1 is right). Bonferroni over all f: their dependence does not matter.

A sampler of another law q(s | x), known in closed form, is right if one more draw of q in place of the true code is uniform
(`calibrate_law`); the ranks of the true codes then say how q is biased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtr, chdtrc, ndtr, ndtri

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator, check_count, real_array
from circuitlsc.io.report import Facts, Note, Report, Table, Value, p_text
from circuitlsc.model.sparse_coding import SparseCodingModel, check_model
from circuitlsc.reference.statistics import residual_power
from circuitlsc.validation.verdict import Outcome, Verdict

#: With fewer inputs no sampler agrees: a shift of half a posterior standard deviation could go unseen.
MIN_INPUTS = 100
#: What a calibration should have.
GOOD_INPUTS = 300
#: Most bins of a histogram.
MAX_BINS = 20
LOG_LIKELIHOOD, TOTAL_SIZE, N_ACTIVE, ACTIVE_SIZE = "log likelihood", "total size", "active latents", "active size"
JOINT = (LOG_LIKELIHOOD, TOTAL_SIZE, N_ACTIVE, ACTIVE_SIZE)
TRUE_CODES, OF_THE_LAW = "true codes", "law's own draws"
_DETECTED = 0.95  # chance at which a fault counts as detectable
_CORRELATED = 0.1  # correlation of successive draws from which on the reason mentions it
_MIN_ZEROS = 100.0  # zeros expected among the draws, of which not one is there: the codes were read off wrongly
_ALL_ROWS, _SHOWN_ROWS = 24, 12  # more latents than the first are too many to read: the worst of them are shown

Which = NDArray[np.bool_] | None


@dataclass(frozen=True)
class RankStatistic:
    """Ranks of one statistic of the true code among the draws.

    Attributes
    ----------
    name : str
        ``"latent 3"``, ``"latent 3, nonzero"``, ``"log likelihood"``, ``"total size"``,
        ``"active latents"`` or ``"active size"``.
    n : int
        Inputs that have a rank: all, but for the active size those with an active latent, true and drawn.
    mean_rank, shift, spread : float or None
        Mean of the ranks, scaled to (0, 1), and mean and standard deviation of their normal scores, in posterior
        standard deviations: 0.5, 0 and 1 are right. None for fewer than 2 inputs.
    p_shift, p_spread : float or None
        Two-sided p values, exact.
    p_value, p_adjusted : float
        Of both together, and over all statistics (Bonferroni); 1 for fewer than 2 inputs.
    histogram : tuple of int
        Inputs per bin of (0, 1); with 20 bins or fewer a bin is a rank.
    """

    name: str
    n: int
    mean_rank: float | None
    shift: float | None
    spread: float | None
    p_shift: float | None
    p_spread: float | None
    p_value: float
    p_adjusted: float
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Calibration(Verdict):
    """What `calibrate` returns: finite numbers, and None for what is not available.

    Attributes
    ----------
    verdict : str
        ``disagrees`` if any adjusted p value is below alpha; else ``inconclusive`` below 100 inputs; else ``agrees``.
    reason : str
        The worst statistic, and which way it is off.
    n_inputs, n_draws, n_latents : int
    alpha : float
        Chance of a false ``disagrees``, over all statistics together.
    p_value : float
        The smallest adjusted p value.
    detectable_shift, detectable_spread : float
        Shift, and relative error of the spread, that a statistic of all N inputs shows with a chance of 95 %
        (approximate: normal). In posterior standard deviations, and as a fraction of them.
    correlation : float or None
        Correlation of a latent from one draw of an input to the next, the largest over latents (biased low if the
        draws of an input do not cover the posterior). None for fewer than 3 draws.
    statistics : tuple of RankStatistic
        The latents in order, then the others.
    """

    n_inputs: int
    n_draws: int
    n_latents: int
    alpha: float
    p_value: float
    detectable_shift: float
    detectable_spread: float
    correlation: float | None
    statistics: tuple[RankStatistic, ...]

    def _shows(self) -> Report:
        return calibration_report(self)

    @property
    def latents(self) -> tuple[RankStatistic, ...]:
        """The statistics of single latents."""
        return self.statistics[: self.n_latents]

    @property
    def joint(self) -> tuple[RankStatistic, ...]:
        """The statistics of the whole code."""
        return tuple(row for row in self.statistics if row.name in JOINT)

    @property
    def nonzero(self) -> tuple[RankStatistic, ...]:
        """The statistics of single latents among their nonzero draws; none without a spike."""
        return self.statistics[self.n_latents + len(self.joint) :]


@dataclass(frozen=True)
class LawBias:
    """Ranks of true codes among a sampler's draws, where these are of another law than the posterior: not judged.

    Attributes
    ----------
    reason : str
        The statistic that is farthest off, and which way; or that none is seen to be.
    p_value : float
        The smallest adjusted p value.
    statistics : tuple of RankStatistic
        As in `Calibration`: of the law against the posterior, as far as the sampler is one of the law.
    """

    reason: str
    p_value: float
    statistics: tuple[RankStatistic, ...]


@dataclass(frozen=True)
class LawCalibration(Calibration):
    """What `calibrate_law` returns: of the sampler against its law, with the law's bias beside it.

    Attributes
    ----------
    bias : LawBias
    """

    bias: LawBias


def draw_inputs(model: SparseCodingModel, n: int, rng: np.random.Generator | int) -> tuple[Array, Array]:
    r"""Draw codes from the prior and an input for each.

    .. math:: s \sim p(s), \qquad x = A s + n, \qquad n \sim N(0, \sigma^2 I)

    Parameters
    ----------
    model : SparseCodingModel
    n : int
        How many; >= 1.
    rng : numpy.random.Generator or int
        Or the seed of one.

    Returns
    -------
    s_true : array, shape (n, n_latents)
        Codes, in model units.
    x : array, shape (n, n_features)
        Inputs, in data units.

    Raises
    ------
    InputError
        If n is not a positive integer.
    """
    check_model(model)
    return model.draw(rng, check_count("draw: n", n, 1, " is not a number of inputs"))


def calibrate(
    model: SparseCodingModel,
    s_true: ArrayLike,
    x: ArrayLike,
    s: ArrayLike,
    *,
    rng: np.random.Generator | int,
    alpha: float = 0.01,
    called: str = TRUE_CODES,
) -> Calibration:
    """Rank true codes among posterior draws, and say whether the ranks are those of the right posterior.

    Parameters
    ----------
    model : SparseCodingModel
        The model that the codes and inputs were drawn from.
    s_true : array, shape (n_inputs, n_latents)
        True codes from `draw_inputs`, in model units.
    x : array, shape (n_inputs, n_features)
        Inputs, in data units.
    s : array, shape (n_inputs, n_draws, n_latents)
        The sampler's codes for each input, in order of time, in model units; an inactive latent is exactly 0
        (``model.latent(u)`` at width 0).
    rng : numpy.random.Generator or int
        Or the seed of one. Breaks ties and makes the ranks continuous.
    alpha : float
        Chance that the right posterior is found to disagree.
    called : str
        What the reason calls ``s_true``.

    Raises
    ------
    InputError
        If shapes disagree, a code is not finite or cannot be one of the prior, or alpha is not in (0, 1).

    Notes
    -----
    The test is exact for draws that are independent given x. Correlated ones look like too narrow a posterior: a
    correlation of 0.2, 0.5 or 0.8 from one draw to the next makes the spread 1.02, 1.08 or 1.29 (L = 19, measured on
    a Gaussian AR(1)).

    Ranks of single latents among their nonzero draws have about pi N values each; the mean active size says the same of
    all of them. To choose one active
    latent of each true code for that would not be exact: latents of codes with few active ones would be chosen more
    often, and where atoms overlap these are larger (shift 0.04 on 4 x 4 bars). A latent fixed beforehand is exact, but
    rarely active. The mean over all active ones is a statistic of the whole code, and so exact and the most powerful.
    """
    s_true, x, s = _checked(model, s_true, x, s)
    if not 0 < alpha < 1:
        raise InputError(f"calibrate: alpha = {alpha!r} is not the chance of a false alarm. Give 0 < alpha < 1.")
    rng = as_generator("calibrate: rng", rng)
    n_inputs, n_draws, n_latents = s.shape
    bins = min(n_draws + 1, MAX_BINS)
    # True codes and draws go through the same sums, so that equal codes (all zero) are ties to the last bit.
    ranked = _statistics(model, np.concatenate([s_true[:, None], s], 1), x)
    rows = tuple(_row(name, _ranks(*values, rng), len(ranked), bins) for name, values in ranked.items())
    z = -float(ndtri(alpha / (4 * len(rows))))  # two tests of two sides for each statistic
    reach = (z - float(ndtri(1 - _DETECTED))) / math.sqrt(n_inputs)
    correlation = _correlation(s)
    verdict, reason = _judge(rows, n_inputs, alpha, reach, correlation, called)
    return Calibration(
        verdict=verdict,
        reason=reason,
        n_inputs=n_inputs,
        n_draws=n_draws,
        n_latents=n_latents,
        alpha=float(alpha),
        p_value=min(row.p_adjusted for row in rows),
        detectable_shift=reach,
        detectable_spread=reach / math.sqrt(2),
        correlation=correlation,
        statistics=rows,
    )


def calibrate_law(
    model: SparseCodingModel,
    s_true: ArrayLike,
    s_law: ArrayLike,
    x: ArrayLike,
    s: ArrayLike,
    *,
    rng: np.random.Generator | int,
    alpha: float = 0.01,
) -> LawCalibration:
    """Say whether a sampler's draws are those of a known law, and how far that law is from the posterior.

    Parameters
    ----------
    model, s_true, x, s, rng, alpha
        As for `calibrate`.
    s_law : array, shape (n_inputs, n_latents)
        A draw of the law of each input, made independently of the sampler. Its rank among the sampler's draws is uniform if
        these are of the law, whatever that is: this is the verdict.

    Raises
    ------
    InputError
        As for `calibrate`.
    """
    rng = as_generator("calibrate_law: rng", rng)
    own = calibrate(model, s_law, x, s, rng=rng, alpha=alpha, called=OF_THE_LAW)
    truth = calibrate(model, s_true, x, s, rng=rng, alpha=alpha)
    if truth.verdict == "disagrees":
        reason = truth.reason
    else:
        reason = f"Of {truth.n_inputs} inputs no bias of the law is seen: the smallest adjusted p is {_short(truth.p_value)}."
    return LawCalibration(**vars(own), bias=LawBias(reason, truth.p_value, truth.statistics))


def rank_values(truth: ArrayLike, draws: ArrayLike, rng: np.random.Generator | int, among: Which = None) -> Array:
    r"""Return the randomised rank of each true value among the draws, uniform on (0, 1) if they are exchangeable.

    .. math:: p = \frac{r + V}{n + 1}, \qquad r = \#\{\mathrm{draws} < \mathrm{truth}\} + W

    Parameters
    ----------
    truth : array, shape (n_inputs,)
    draws : array, shape (n_inputs, n_draws)
    rng : numpy.random.Generator or int
        Or the seed of one. Draws V, uniform on (0, 1), and W, uniform on 0..number of ties.
    among : array of bool, shape (n_inputs, n_draws), optional
        The draws that count, n of them for an input; all by default.

    Returns
    -------
    array, shape (n_inputs,)
        Dimensionless. ``floor((n + 1) p)`` is the rank.
    """
    truth, draws = np.asarray(truth, dtype=float)[:, None], np.asarray(draws, dtype=float)
    among = np.ones(draws.shape, bool) if among is None else among
    rng = as_generator("rank_values: rng", rng)
    below, ties = ((draws < truth) & among).sum(1), ((draws == truth) & among).sum(1)
    rank = below + rng.integers(0, ties + 1)
    return np.asarray((rank + rng.random(len(truth))) / (among.sum(1) + 1))


def calibration_report(c: Calibration) -> Report:
    """Return a calibration: a row for each statistic, then how much it would see, and the verdict."""
    shown, nonzero = (_worst(rows) for rows in (c.latents, c.nonzero))
    columns = {"statistic": "<18", "inputs": ">6", "mean rank": ">9.3f", "shift": ">+7.3f", "spread": ">7.3f"}
    columns |= {"p": ">9", "adjusted": ">9"}
    rows = (*shown, *c.joint, *nonzero)
    blocks: list[Table | Note] = [Table.of(columns, map(_cells, rows))]
    facts = [
        ("right", "mean rank 0.5, shift 0, spread 1 (in posterior standard deviations)"),
        (
            "inputs",
            f"{c.n_inputs}, with {c.n_draws} draws each; correlation from draw to draw "
            f"{'unknown' if c.correlation is None else f'{c.correlation:.2f}'}",
        ),
        (
            "power",
            f"{_DETECTED:.0%} for a shift of {c.detectable_shift:.2g}, or a spread wrong by "
            f"{c.detectable_spread:.0%}, of one statistic",
        ),
        ("false alarms", f"{c.alpha:.2g} over all {len(c.statistics)} statistics"),
    ]
    if isinstance(c, LawCalibration):
        own = "The circuit against its law, judged: ranks of draws of the law among the circuit's draws"
        other = "The law against the posterior, not judged: ranks of true codes among the circuit's draws"
        blocks = [
            Table.of(columns, map(_cells, rows), own),
            Table.of(columns, map(_cells, _same(c.bias.statistics, rows)), other),
        ]
        facts.append(("bias", f"of the law, no fault of the circuit: {c.bias.reason}"))
    if len(shown) < c.n_latents:
        blocks.append(Note(f"({len(shown)} of {c.n_latents} latents: the smallest p)"))
    p = c.p_value or _short(0.0)  # too small for a double
    summary: dict[str, Value] = {
        "inputs": c.n_inputs,
        "smallest adjusted p": p,
        "shift that would show": c.detectable_shift,
    }
    return Report((*blocks, Facts(tuple(facts))), c.verdict, c.reason, summary)


def _cells(row: RankStatistic) -> tuple[str | float | None, ...]:
    numbers = (row.n, row.mean_rank, row.shift, row.spread)
    return (row.name, *numbers, _short(row.p_value), _short(row.p_adjusted))


def _same(rows: tuple[RankStatistic, ...], shown: tuple[RankStatistic, ...]) -> list[RankStatistic]:
    """Return the statistics that have the names of those that are shown."""
    by_name = {row.name: row for row in rows}
    return [by_name[row.name] for row in shown]


def _worst(rows: tuple[RankStatistic, ...]) -> tuple[RankStatistic, ...]:
    """Return all rows, or of a crowd those with the smallest p."""
    if len(rows) <= _ALL_ROWS:
        return rows
    return tuple(rows[k] for k in sorted(sorted(range(len(rows)), key=lambda k: rows[k].p_value)[:_SHOWN_ROWS]))


def _checked(model: SparseCodingModel, s_true: ArrayLike, x: ArrayLike, s: ArrayLike) -> tuple[Array, Array, Array]:
    s_true, x, s = real_array("s_true", s_true), real_array("x", x), real_array("s", s)
    n, K = len(np.atleast_1d(s_true)), model.n_latents

    def check(name: str, shape: tuple[int, ...], right: bool, why: str, wanted: str) -> None:
        if not right:
            raise InputError(f"{name} has shape {shape}, but {why}. Pass shape ({wanted}).")

    right = s_true.ndim == 2 and s_true.shape[1] == K and n >= 2
    check("s_true", s_true.shape, right, "ranks need the codes of 2 inputs or more", f"n_inputs, n_latents = {K}")
    features = model.n_features
    why = f"s_true has {n} codes and A has n_features = {features}"
    check("x", x.shape, x.shape == (n, features), why, f"{n}, {features}")
    right = s.ndim == 3 and s.shape[::2] == s_true.shape and s.shape[1] >= 1
    check("s", s.shape, right, f"s_true has {s_true.shape}", f"n_inputs = {n}, n_draws, n_latents = {K}")
    if not model.prior.signed and (s_true < 0).any():
        where = ", ".join(str(int(k)) for k in np.argwhere(s_true < 0)[0])
        raise InputError(
            f"s_true[{where}] is negative, which no draw from the prior {model.prior!r} is. Take s_true from draw_inputs."
        )
    if model.prior.sparse and s.all() and (s_true == 0).mean() * s.size > _MIN_ZEROS:
        raise InputError(
            f"s has no zeros, but {(s_true == 0).mean():.0%} of s_true are 0: the codes were read off a smooth comparator. "
            "Pass model.latent(u), at width 0."
        )
    return s_true, x, s


def _statistics(model: SparseCodingModel, codes: Array, x: Array) -> dict[str, tuple[Array, Which]]:
    """Return all statistics of codes (n_inputs, the true one and n_draws, n_latents), and of which codes if not of all.

    The size of the active latents says nothing of a code that has none. Each latent apart is ranked among its nonzero
    draws, which tells a wrong lam from a wrong pi: given which of its codes are zero, the others are exchangeable.
    """
    latents, total, on = range(model.n_latents), np.abs(codes).sum(-1), codes != 0
    n_active = on.sum(-1)
    power = [residual_power(each[None], model, row)[0] for each, row in zip(codes, x, strict=True)]
    found: dict[str, tuple[Array, Which]] = {f"latent {k}": (codes[..., k], None) for k in latents}
    found |= {LOG_LIKELIHOOD: (-np.array(power) / (2 * model.variance), None), TOTAL_SIZE: (total, None)}
    if model.prior.sparse:
        found |= {N_ACTIVE: (n_active, None), ACTIVE_SIZE: (total / np.maximum(n_active, 1), n_active > 0)}
        found |= {f"latent {k}, nonzero": (codes[..., k], on[..., k]) for k in latents}
    return found


def _ranks(values: Array, among: Which, rng: np.random.Generator) -> Array:
    """Return the rank of the first of each row among the others; without one to be ranked among, it would say nothing."""
    if among is None:
        return rank_values(values[:, 0], values[:, 1:], rng)
    ranked = among[:, 0] & among[:, 1:].any(1)
    return rank_values(values[ranked, 0], values[ranked, 1:], rng, among[ranked, 1:])


def _row(name: str, values: Array, n_statistics: int, bins: int) -> RankStatistic:
    n = len(values)
    histogram = tuple(np.histogram(values, bins, (0, 1))[0].tolist())
    if n < 2:
        return RankStatistic(name, n, None, None, None, None, None, 1.0, 1.0, histogram)
    scores = ndtri(np.clip(values, 2.0**-53, 1 - 2.0**-53))
    shift, spread = float(scores.mean()), float(scores.std(ddof=1))
    p_shift = 2 * float(ndtr(-abs(shift) * math.sqrt(n)))
    squares = (n - 1) * spread**2  # of normal scores: chi-squared
    p_spread = 2 * float(min(chdtr(n - 1, squares), chdtrc(n - 1, squares)))
    # Mean and variance of a normal sample are independent: the smaller of two p values has 1 - (1 - p)^2.
    least = min(p_shift, p_spread, 1.0)
    p = least * (2 - least)
    tests = (p_shift, p_spread, p, min(1.0, n_statistics * p))
    return RankStatistic(name, n, float(values.mean()), shift, spread, *tests, histogram)


def _correlation(s: Array) -> float | None:
    """Correlation of successive draws by their mean square difference, as an input has too few for its own mean."""
    if s.shape[1] < 3:
        return None
    variance = s.var(1, ddof=1).mean(0)
    steps = (np.diff(s, axis=1) ** 2).mean((0, 1)) / 2
    moving = variance > 0
    return float((1 - steps[moving] / variance[moving]).max()) if moving.any() else None


def _short(p: float) -> str:
    return p_text(p).removeprefix("= ")


def _judge(
    rows: tuple[RankStatistic, ...], n_inputs: int, alpha: float, reach: float, correlation: float | None, called: str
) -> tuple[Outcome, str]:
    worst = min(rows, key=lambda row: (row.p_value, -abs(row.shift or 0.0)))
    p = _short(worst.p_adjusted)
    if worst.p_adjusted < alpha:
        off = sum(row.p_adjusted < alpha for row in rows)
        return (
            "disagrees",
            f"{_told(worst, correlation, called)} (adjusted p {p}; {off} of {len(rows)} statistics off).",
        )
    if n_inputs < MIN_INPUTS:
        return "inconclusive", (
            f"Nothing is off, but of {n_inputs} inputs only a shift of {reach:.2g} posterior standard deviations or more "
            f"would show. Draw at least {MIN_INPUTS}, better {GOOD_INPUTS} inputs."
        )
    return "agrees", (
        f"All {len(rows)} statistics of the {called} rank uniformly among the draws (smallest adjusted p {p}, "
        f"{worst.name})."
    )


def _told(row: RankStatistic, correlation: float | None, called: str = TRUE_CODES) -> str:
    """Say which way a statistic is off."""
    shift, spread, p_shift, p_spread = (cast(float, v) for v in (row.shift, row.spread, row.p_shift, row.p_spread))
    # Far tails are all 0: there the distance decides.
    if (p_shift, -abs(shift)) <= (p_spread, -abs(spread - 1)):
        high = shift > 0
        told = f"{row.name} ranks too {'high' if high else 'low'} (mean {row.mean_rank:.2f} instead of 0.5): the draws "
        if row.name == LOG_LIKELIHOOD:
            return told + f"fit x {'worse' if high else 'better'} than the {called}"
        return told + f"are too {'low' if high else 'high'}"
    wide = spread > 1
    how = "widely" if wide else "narrowly"
    told = f"{row.name} ranks too {how} (spread {spread:.2f} instead of 1): the draws vary "
    if wide and correlation is not None and correlation > _CORRELATED:
        return told + f"too little, maybe as each correlates {correlation:.2f} with the next (space them farther apart)"
    return told + ("too little" if wide else "too much")
