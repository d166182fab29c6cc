r"""A variational circuit whose inputs follow each other: each row's samples beside the closed form of its law.

The circuit's averages of row n minus those of its law, d_nk, are judged in three ways: averaged over rows; their mean squares,
which see an error that changes its sign from row to row; and the largest row,

.. math:: D_k = \frac1N \sum_n d_{nk}, \qquad Q_k = \frac1N \sum_n d_{nk}^2, \qquad
          M = \max_n \frac{R_n - E[R_n]}{\mathrm{sd}\,R_n}, \quad R_n = \sum_k \frac{d_{nk}^2}{\mathrm{var}_{nk} + f^2}

Correct runs are drawn in NumPy, from the same laws in the same order, with noise that has the circuit's memory; the floor f
keeps a latent that is hardly ever active from deciding alone. Beside it stands how far the rows' laws are from their
posteriors, which is no fault of the circuit. Not in Fallah & Rozell 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.encoder import Heads
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import Evidence, elbo, law_of, sure_evidence
from circuitlsc.planning.run_plan import ALLOWANCE, RunPlan
from circuitlsc.reference.statistics import MARGINALS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.law import INFINITE, WORK, Bias, laplace_of, memory
from circuitlsc.validation.run_errors import Excess

LAW_ROWS = 1000  # rows that are compared with their laws at most, evenly spaced among all
FLOOR = 0.05  # f, in units
FEWEST, MOST = 100, 400  # correct runs
MOST_DRAWS = 64  # of a row of a correct run; errors of longer rows are scaled
EVIDENCE_DRAWS = 20_000  # for each row whose posterior is asked for
MOST_REFUSED = 0.05  # share of rows whose log p(x) may be refused: more would make a mean of the others another number


@dataclass(frozen=True)
class RowsApart:
    """What the rows say one by one, beyond the noise of correct runs.

    Attributes
    ----------
    p_active, mean : tuple of float
        For each latent, the root mean square over rows of circuit minus law, noise taken off (model units).
    p_active_detectable, mean_detectable : float
        What it would have to be, in the worst latent, to be found out.
    largest_row : int
        The row of x that differs most from its law.
    z : float
        How far it differs, in errors of the largest rows of correct runs.
    """

    p_active: tuple[float, ...]
    mean: tuple[float, ...]
    p_active_detectable: float
    mean_detectable: float
    largest_row: int
    z: float


@dataclass(frozen=True)
class StreamBias(Bias):
    """How far the laws of a stream's rows are from the exact posteriors: law minus posterior, over rows.

    Attributes
    ----------
    rows, refused : int
        How many the numbers are of, evenly spaced among all; and of how many log p(x) is refused, which are not among them.
    kl, kl_se : float or None
        Mean of KL(law || posterior), nats, and its error: that of log p(x), and of rows that were left out.
    kl_reason : str or None
        Why there is none: log p(x) is refused for more than one row in twenty, or the divergence is infinite.
    ess_share : float or None
        Smallest effective share of the weighted draws that a row's log p(x) and statistics come from.
    reference : str
    latents : tuple of dict
        For each latent the mean over rows of ``p_active``, ``mean`` and ``sd`` (model units), with ``.._se``; ``.._rms`` is
        their root mean square over rows, the reference's noise taken off, with ``.._rms_se``. Empty where log p(x) is refused.
    """

    rows: int
    refused: int


class JudgedRows(Excess):
    """D, Q and M of a run, one after the other, with the errors of correct runs and one limit for all.

    D is in units, Q and M in such units that a bias of the allowance in every average of every row makes them as large as it.

    Parameters
    ----------
    run, correct : array, shape (n,) and (n_runs, n)
        What `measures` returns.
    n_averages : int
        How many are in D, and in Q.
    bias : float
        What a bias of the allowance adds to M.
    """

    def __init__(self, run: Array, correct: Array, n_averages: int, bias: float) -> None:
        self.n = n_averages
        self.unit = np.concatenate([np.ones(self.n), np.full(self.n, ALLOWANCE), [bias / ALLOWANCE]])
        center = correct.mean(0)
        center[: self.n] = 0.0  # D of a correct run is 0 but for noise
        super().__init__((run - center) / self.unit, (correct - center) / self.unit, np.zeros_like(run))

    def rms(self) -> tuple[Array, Array]:
        """Return the root mean square over rows of each difference, noise taken off, and what would be found out; in units."""
        place = slice(self.n, 2 * self.n)
        found = np.sqrt(ALLOWANCE * np.maximum(self.d[place], 0.0))
        return found, np.sqrt(ALLOWANCE * (ALLOWANCE + self.c * self.side[place]))


@dataclass(frozen=True, eq=False)
class RowLaws:
    """The laws of some rows of a stream, and what is judged of samples from them.

    Attributes
    ----------
    law : ThresholdedLaplace
        Of shape (n_rows, n_latents).
    draws : int
        Of each row, of all chains together.
    scale : float
        Unit of the mean, in model units; P(active) has 1.
    sparse : bool
        Whether P(active) is judged: a code can be zero.
    """

    law: ThresholdedLaplace
    draws: int
    scale: float
    sparse: bool

    @property
    def first(self) -> int:
        """The first of P(active) and mean that is judged."""
        return 0 if self.sparse else 1

    @property
    def units(self) -> Array:
        """Units of what is judged, shape (n_statistics, 1)."""
        return np.array([[1.0], [self.scale]])[self.first :]

    @property
    def truth(self) -> Array:
        """P(active) and mean, shape (n_rows, n_statistics, n_latents)."""
        return np.stack([self.law.p_active, self.law.mean], axis=1)[:, self.first :]

    @property
    def variances(self) -> Array:
        """Of the averages of a row, in units squared, if its draws are independent; shape as `truth`."""
        p = self.law.p_active
        of_one = np.stack([p * (1 - p), self.law.variance], axis=1)[:, self.first :]
        return np.asarray(of_one / self.units**2 / self.draws)

    def measures(self, means: Iterable[Array], shrink: float = 1.0) -> tuple[Array, NDArray[np.int64]]:
        """Return D, Q and M of runs, (n_runs, 2 n_averages + 1), and the row that M is of, (n_runs,).

        Parameters
        ----------
        means : iterable of arrays, shape (n_runs, 2, n_latents)
            P(active) and mean of each row.
        shrink : float
            What the differences are multiplied by first: rows of correct runs may be shorter.
        """
        total = squares = largest = row = np.array(0.0)
        for k, (found, truth, variance) in enumerate(zip(means, self.truth, self.variances, strict=True)):
            d = shrink * (found[:, self.first :] - truth) / self.units
            expected, spread = _chi_squared(variance)
            z = ((d**2 / (variance + FLOOR**2)).sum((1, 2)) - expected) / spread
            total, squares = total + d, squares + d**2
            larger = z > largest if k else np.ones(len(d), bool)
            largest, row = np.where(larger, z, largest), np.where(larger, k, row)
        n, runs = len(self.truth), len(largest)
        both = [(v / n).reshape(runs, -1) for v in (total, squares)]
        return np.concatenate([*both, largest[:, None]], axis=1), row.astype(np.int64)

    def bias_of_largest(self) -> float:
        """Return what a bias of the allowance in all averages adds to M, at most."""
        spreads = [ALLOWANCE**2 * (1 / (v + FLOOR**2)).sum() / _chi_squared(v)[1] for v in self.variances]
        return float(max(spreads))

    def judged(self, found: Array, correct: Iterable[Array], shrink: float) -> tuple[JudgedRows, int]:
        """Return a run's means (n_rows, 2, n_latents) beside those of correct runs, and its largest row."""
        run, row = self.measures(each[None] for each in found)
        others, _ = self.measures(correct, shrink)
        return JudgedRows(run[0], others, (run.shape[1] - 1) // 2, self.bias_of_largest()), int(row[0])


def _chi_squared(variance: Array) -> tuple[float, float]:
    """Return mean and sd of R of a row, as if its averages were normal."""
    share = variance / (variance + FLOOR**2)
    return float(share.sum()), max(math.sqrt(2 * float((share**2).sum())), 0.5)


def correct_runs(
    sampler: Sampler, run: RunPlan, law: ThresholdedLaplace, chosen: NDArray[np.int64]
) -> tuple[Iterator[Array], float]:
    """Return P(active) and mean of each chosen row in correct runs, (n_runs, 2, n_latents) each, and what shrinks their errors.

    The noise goes on from row to row; the law does not.
    """
    task, step, K = sampler.tasks(run)[0], sampler.plan.step, law.mu.shape[-1]
    fields, draws = len(sampler.graph.noises), min(task.draws_per_row, MOST_DRAWS)
    work = run.chains * draws * K * fields * len(chosen)
    shape = (fields, int(np.clip(WORK / work, FEWEST, MOST)), run.chains)
    left, within = memory(step, 1), memory(step, task.thin)
    gaps = np.diff(chosen) * task.steps_per_row - (task.draws_per_row - 1) * task.thin
    between = np.concatenate([[0.0], left**gaps])
    rng = np.random.default_rng([run.seed, 9])

    def rows() -> Iterator[Array]:
        last = np.zeros((*shape, K))
        for k, kept in enumerate(between):
            u = rng.standard_normal((*shape, draws, K))
            u[..., 0, :] = kept * last + math.sqrt(1 - kept**2) * u[..., 0, :]
            if within != 0:
                u[..., 1:, :] *= math.sqrt(1 - within**2)
                u = lfilter([1.0], [1.0, -within], u, axis=-2)
            last = u[..., -1, :]
            own = ThresholdedLaplace(law.mu[k], law.b[k], law.kappa[k], law.rectified)
            s = own.code(laplace_of(u))
            yield np.stack([(s != 0).mean((1, 2)), s.mean((1, 2))], axis=1)

    return rows(), math.sqrt(draws / task.draws_per_row)


def row_means(samples: Samples) -> Array:
    """Return P(active) and mean of every latent in each row, over chains and draws, shape (n_rows, 2, n_latents)."""
    draws, each, found = samples.draws("s"), samples.draws_per_row, []
    for first, stop in draws.spans(each):
        s = draws.read(first, stop)
        s = s.reshape(len(s), -1, each, s.shape[-1])
        found.append(np.stack([(s != 0).mean((0, 2)), s.mean((0, 2))], axis=1))
    return np.concatenate(found)


def laws_of_rows(sampler: Sampler, chosen: NDArray[np.int64]) -> ThresholdedLaplace:
    """Return the laws of some rows of a variational circuit's stream, each number of shape (n_rows, K)."""
    assert sampler.encoder is not None
    return law_of(sampler.model, *sampler.encoder.heads(sampler.x[chosen]))


def stream_bias(sampler: Sampler, law: ThresholdedLaplace, chosen: NDArray[np.int64], seed: int) -> StreamBias:
    """Return how far the laws (n_rows, K) of some rows are from their posteriors, which weighted draws say."""
    model, x, rng = sampler.model, sampler.x[chosen], np.random.default_rng([seed, 10])
    heads = Heads(law.mu, np.log(law.b), law.kappa)
    what, found, reasons = f"weighted draws, {EVIDENCE_DRAWS:,} of each input", dict[int, Evidence](), dict[int, str]()
    for k, each in enumerate(zip(x, *heads, strict=True)):
        try:
            found[k] = sure_evidence(model, each[0], Heads(*each[1:]), n=EVIDENCE_DRAWS, rng=rng)
        except ReferenceRefusedError as error:
            reasons[k] = str(error)
    refused = len(reasons)
    if refused > MOST_REFUSED * len(x):
        first, said = next(iter(reasons.items()))
        reason = f"log p(x) is refused for {refused} of {len(x)} rows of x, first for row {chosen[first]}: {said}"
        return StreamBias(None, None, reason, None, what, (), len(found), refused)
    which, known = list(found), list(found.values())
    n, left_out = len(known), 1 - len(known) / len(sampler.x)
    bounds = elbo(model, x, *heads)[which]
    divergence = np.array([one.log_p for one in known]) - bounds
    kl = kl_se = why = None
    if np.isfinite(divergence).all():
        kl, kl_se = map(float, _over_rows(divergence, np.array([one.se for one in known]), left_out))
    else:
        why = INFINITE
    latents: list[dict[str, float]] = [{} for _ in range(model.n_latents)]
    for name in MARGINALS:
        d = getattr(law, name)[which] - np.array([getattr(one, name) for one in known])
        se = np.array([getattr(one, f"{name}_se") for one in known])
        mean, mean_se = _over_rows(d, se, left_out)
        square, square_se = _over_rows(d**2 - se**2, np.sqrt(4 * d**2 * se**2 + 2 * se**4), left_out)
        rms = np.sqrt(np.maximum(square, 0.0))
        rms_se = square_se / (2 * np.maximum(rms, np.sqrt(square_se)))
        for k, latent in enumerate(latents):
            values = zip(("", "_se", "_rms", "_rms_se"), (mean, mean_se, rms, rms_se), strict=True)
            latent.update({f"{name}{end}": float(value[k]) for end, value in values})
    share = min(one.ess_share for one in known)
    return StreamBias(kl, kl_se, why, share, what, tuple(latents), n, refused)


def _over_rows(values: Array, errors: Array, left_out: float) -> tuple[Array, Array]:
    """Return the mean over rows (n, ...), and its error: of each row, and of the share of rows that were left out."""
    n = len(values)
    spread = values.var(0, ddof=1) * left_out if n > 1 else 0.0
    return values.mean(0), np.sqrt((errors**2).sum(0) / n**2 + spread / n)
