r"""Two truths about a variational circuit: the law that its encoder gives, and how far that law is from the posterior.

The first is what the circuit is judged by, in closed form (`circuitlsc.model.thresholded`); correct runs are drawn in
NumPy, with noise that is as correlated as the circuit's. The second is the price of sampling without waiting,

.. math:: \mathrm{KL}(q\,\|\,p(s|x)) = \log p(x) - \mathrm{ELBO}(x)

and the differences of each latent's P(active), mean and sd; it is no fault of the circuit. Samples that count with weights
p(x, s)/q(s) have the posterior's statistics, if enough of them are effective. Fallah & Rozell 2022 have the law; neither
comparison nor the weights are in the paper.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats
from scipy.signal import lfilter
from scipy.special import log_ndtr

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.encoder import Heads
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import LEAST_DRAWS, elbo, law_of, log_evidence, log_joint, weigh
from circuitlsc.planning.run_plan import ALLOWANCE, RunPlan
from circuitlsc.reference.replicates import Replicates
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reference.statistics import MARGINALS, PosteriorStatistics
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.null import USUAL, Judged, Null, null_of
from circuitlsc.validation.run_errors import ALPHA

MOST_SUPPORT = 12  # latents whose 2^K supports are tabulated
WORK = 2e7  # normal deviates that correct runs take
SEEN, MAY_BE_SEEN = 30.0, 1e-3  # visits of a rare state in all correct runs at least; how rare in a run it may be
BLOCKS = 16  # of a replicate, for how fast it mixes
FEWEST_DRAWS = 64  # of a chain of a replicate, if the run has as many
EVIDENCE_DRAWS = 50_000
INFINITE = "it is infinite: codes can be zero in the law, and not in the prior"
FEWEST_VISITS = 30.0  # effective draws of a state, below which errors are not normal
JUDGED_SHARE = 0.4  # of effective draws, below which few draws of much weight are missed, and errors are too small


@dataclass(frozen=True)
class Bias:
    """How far the law that a circuit samples is from the exact posterior: law minus posterior.

    Attributes
    ----------
    kl, kl_se : float or None
        KL(law || posterior) in nats, and its standard error; None with ``kl_reason`` where log p(x) is refused.
    ess_share : float or None
        Effective share of the weighted draws that log p(x) comes from.
    reference : str
        How the posterior is known.
    latents : tuple of dict
        For each latent ``p_active``, ``mean`` and ``sd`` (model units), each with its error as ``.._se``.
    """

    kl: float | None
    kl_se: float | None
    kl_reason: str | None
    ess_share: float | None
    reference: str
    latents: tuple[dict[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what comparison.json holds under ``bias``."""
        return {**asdict(self), "latents": list(self.latents)}


@dataclass(frozen=True)
class Weighted:
    """What samples of a variational circuit say of the posterior, each with its weight p(x, s)/q(s).

    Attributes
    ----------
    n : int
        Samples, all chains.
    memory : float
        Correlation of the noise voltages from one sample to the next: 0 at a step of 2 tau.
    ess, ess_share : float or None
        Effective number of samples, (sum w)^2 / sum w^2 (with a memory at least so many), and its share; None with ``reason``
        if refused.
    reason : str or None
        Why there is no number, or nothing to be said of the agreement.
    reference : str
        How the posterior is known.
    latents : tuple of dict
        For each latent ``p_active``, ``mean`` and ``sd`` (model units), each with its error as ``.._se``, its difference from
        the posterior as ``.._difference`` and that in units of both errors as ``.._z``: None where fewer than 30 effective
        samples are expected of a state.
    max_abs_z, z_limit : float or None
        The largest abs(z), and what normal errors stay below with a chance of 99 % (Bonferroni).
    agrees : bool or None
        Whether all differences are within the limit once the allowed bias, 0.005 (of the slab's size for mean and sd), is taken
        off; None with ``reason`` where the weights alone (memory apart) make fewer than 40 % effective: errors are then skewed
        and too small. Of inputs to 4x4 bars with 10,000 right samples each, 4 of 357 above that share were beyond the limit
        (chance: 1 %), and 21 of 170 with a share of .2 to .4.
    """

    n: int
    memory: float
    ess: float | None
    ess_share: float | None
    reason: str | None
    reference: str
    latents: tuple[dict[str, float | None], ...] = ()
    max_abs_z: float | None = None
    z_limit: float | None = None
    agrees: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what comparison.json holds under ``weighted``."""
        return {**asdict(self), "latents": list(self.latents)}


def law_of_run(sampler: Sampler) -> ThresholdedLaplace:
    """Return the law of the codes of a variational circuit, each number of shape (K,); InputError for several inputs."""
    if sampler.encoder is None:
        raise InputError(
            f'the law of an encoder is asked for, but dynamics.kind = "{sampler.dynamics.kind}" has none. Give "variational".'
        )
    if sampler.stream is not None:
        raise InputError(
            f"the law of one input is asked for, but x has {len(sampler.x)} rows, each with its own. Give one row as x."
        )
    return law_of(sampler.model, *sampler.encoder.heads(sampler.x))


def law_statistics(law: ThresholdedLaplace, model: SparseCodingModel, x: Array) -> PosteriorStatistics:
    """Return the statistics of independent latents with this law, in closed form."""
    p, K = law.p_active, model.n_latents
    coactive = np.outer(p, p)
    np.fill_diagonal(coactive, p)
    support = dict(enumerate(support_probabilities(law).tolist())) if K <= MOST_SUPPORT else None
    power = float(np.sum((x - model.A @ law.mean) ** 2) + model.powers @ law.variance)
    return PosteriorStatistics.of(
        **{name: (getattr(law, name), np.zeros(K)) for name in MARGINALS},
        p_negative=(law.p_negative, np.zeros(K)) if model.prior.signed else None,
        coactive=(coactive, np.zeros((K, K))),
        residual_power=(power, 0.0),
        support=support,
        ess_min=np.inf,
        rhat_max=1.0,
        n_draws=0,
        method="closed form of the encoder's law",
    )


def support_probabilities(law: ThresholdedLaplace) -> Array:
    """Return the probabilities (..., 2^K) of supports of independent latents (..., K); bit i of a number is latent i."""
    K = law.shape[-1]
    on = (np.arange(2**K)[:, None] >> np.arange(K)) & 1
    return np.asarray(np.where(on, law.p_active[..., None, :], law.p_zero[..., None, :]).prod(-1))


def memory(step: float, thin: int) -> float:
    """Return the correlation of a noise voltage with itself ``thin`` steps (in tau) later: the trapezoid's."""
    return float(((1 - step / 2) / (1 + step / 2)) ** thin)


def memory_loss(lag: float, *, even: bool = False) -> float:
    r"""Return how many samples count as one independent sample in an average, at most: (1 + rho)/(1 - rho).

    ``lag`` is the correlation of noise voltages from one sample to the next, and rho = lag, or lag^2 if that is negative: no
    function of them is correlated by more. What is ``even`` (the same when all change their sign, as the activity of a latent
    is, and all of the product form) has even Hermite degrees alone: rho = lag^2.
    """
    rho = lag**2 if even else max(lag, lag**2)
    return (1 + rho) / (1 - rho)


def law_null(sampler: Sampler, run: RunPlan, law: ThresholdedLaplace) -> Null:
    r"""Return the errors of correct runs: draws of the law whose noise has the memory of the circuit's.

    .. math:: u_{n+1} = \rho\,u_n + \sqrt{1 - \rho^2}\,\xi_n, \qquad \rho = \left(\frac{1 - h/2}{1 + h/2}\right)^{m}

    with h the step and m the steps between kept samples, in tau. A state of a latent, on or off, that a run may see and that
    these draws seldom would, is drawn more often than the law has it, so that its visits are among the errors: they are then
    too large, never too small.
    """
    task, step = sampler.tasks(run)[0], sampler.plan.step
    fields = len(sampler.graph.noises)  # voltages that make a draw: four of the product form, one of the table
    rho = memory(step, task.thin)
    affordable = int(WORK / (USUAL * run.chains * law.mu.size * fields))
    per_block = max(1, min(task.n_draws, max(FEWEST_DRAWS, affordable)) // BLOCKS)
    draws = per_block * BLOCKS
    rng = np.random.default_rng([run.seed, 7])
    drawn = _seen(law, run.chains * task.n_draws, USUAL * run.chains * draws)
    found = [_replicate(drawn, run.chains, draws, fields, rho, rng) for _ in range(USUAL)]
    marginals, pairs = (np.stack(part) for part in zip(*found, strict=True))
    length = draws * task.thin * step
    below = np.zeros((*pairs.shape[:3], law.mu.size, 0))
    replicates = Replicates(marginals, pairs, below, per_block, length, step)
    return null_of(replicates, Judged.of(sampler.model, None), run.chains, run.t_stop - run.warmup, run.seed)


def _seen(law: ThresholdedLaplace, of_run: int, of_null: int) -> ThresholdedLaplace:
    """Return a law that has the rare states of latents often enough for `SEEN` visits among ``of_null`` draws.

    Only of states that a run of ``of_run`` draws sees with a chance above `MAY_BE_SEEN`.
    """
    often, kappa = SEEN / of_null, law.kappa
    on, off = np.exp(-kappa), -np.expm1(-kappa)
    rare_on, rare_off = ((p * of_run > MAY_BE_SEEN) & (p < often) for p in (on, off))
    return replace(law, kappa=np.where(rare_on, -math.log(often), np.where(rare_off, -math.log1p(-often), kappa)))


def _replicate(
    law: ThresholdedLaplace, chains: int, draws: int, fields: int, rho: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the sums of one run: (chains, blocks, 4, K), and (chains, 2, pairs)."""
    K = law.mu.size
    u = rng.standard_normal((fields, chains, draws, K))
    if rho != 0:
        u[:, :, 1:] *= np.sqrt(1 - rho**2)
        u = lfilter([1.0], [1.0, -rho], u, axis=2)
    s = law.code(laplace_of(u))
    on = (s != 0).astype(float)
    each = np.stack([on, s < 0, s, s**2], axis=2).reshape(chains, BLOCKS, -1, 4, K).sum(2)
    halves = on.reshape(chains, 2, -1, K)
    both = np.matmul(halves.transpose(0, 1, 3, 2), halves)[:, :, *np.triu_indices(K, 1)]
    return each, both


def laplace_of(u: Array) -> Array:
    """Return Laplace draws (...) of four noise voltages N(0, 1), or of one: (4, ...) or (1, ...)."""
    return np.asarray(
        u[0] * u[1] + u[2] * u[3] if len(u) == 4 else -np.sign(u[0]) * (np.log(2) + log_ndtr(-np.abs(u[0])))
    )


def weigh_samples(sampler: Sampler, samples: Samples, posterior: PosteriorStatistics | None = None) -> Weighted:
    r"""Weight the samples of a variational circuit, and compare them with the posterior.

    .. math:: w = \frac{p(x, s)}{q(s)}, \qquad \hat f = \frac{\sum w f}{\sum w}, \qquad
              \mathrm{se}(\hat f)^2 = \frac{1 + \rho}{1 - \rho}\, \frac{\sum w^2 (f - \hat f)^2}{(\sum w)^2}

    q is the law that the encoder gives in closed form. A circuit's own law differs from it by the width of its comparators and
    the errors of its parts, which its verdict measures; weights do not know of that, and what is left of it is a bias of the
    weighted numbers. No function of noise voltages with correlation rho is correlated by more than rho (if rho < 0: rho^2):
    the first factor is 1 at a step of 2 tau, and else what errors are at most. Not in the paper.

    Parameters
    ----------
    sampler : Sampler
        Of one input.
    samples : Samples
        What its `run` returned.
    posterior : PosteriorStatistics or None
        Statistics of the posterior; None finds them.

    Raises
    ------
    InputError
        If the circuit is none with an encoder, or x is several inputs.
    """
    law, model, run = law_of_run(sampler), sampler.model, samples.run_plan()
    if posterior is None:
        posterior = exact_statistics(model, sampler.x, seed=run.seed)
    s = samples.s.reshape(-1, model.n_latents)
    lag = memory(sampler.plan.step, int(samples.attrs["thin"]))
    if len(s) < LEAST_DRAWS:
        why = f"weights of {len(s)} samples cannot tell how bad they are. Take {LEAST_DRAWS} at least: a longer t_stop."
        return Weighted(len(s), lag, None, None, why, posterior.method)
    longer = memory_loss(lag)
    try:
        found = weigh(log_joint(model, sampler.x, s) - law.log_density(s).sum(1), s)
    except ReferenceRefusedError as error:
        return Weighted(len(s), lag, None, None, str(error), posterior.method)
    ess = found.ess_share * len(s) / longer
    visits = ess * posterior.p_active
    rarer = np.minimum(visits, ess - visits)
    latents: list[dict[str, float | None]] = [{} for _ in range(model.n_latents)]
    sizes: list[float] = []
    excess = 0.0
    for name in MARGINALS:
        value, se = getattr(found, name), math.sqrt(longer) * getattr(found, f"{name}_se")
        unit = ALLOWANCE * (1.0 if name == "p_active" else model.prior.slab_scale)
        off, both = value - getattr(posterior, name), np.hypot(se, getattr(posterior, f"{name}_mcse"))
        for k, numbers in enumerate(latents):
            known = (rarer if name == "p_active" else visits)[k] >= FEWEST_VISITS
            z = float(off[k] / both[k]) if known else None
            if z is not None:
                sizes.append(abs(z))
                excess = max(excess, (abs(float(off[k])) - unit) / float(both[k]))
            numbers |= {name: float(value[k]), f"{name}_se": float(se[k])}
            numbers |= {f"{name}_difference": float(off[k]), f"{name}_z": z}
    if not sizes:
        why = (
            f"no state of a latent has {FEWEST_VISITS:g} effective samples: nothing can be said. Take a longer t_stop."
        )
        return Weighted(len(s), lag, ess, ess / len(s), why, posterior.method, tuple(latents))
    limit = float(stats.norm.isf(ALPHA / (2 * len(sizes))))
    uneven = None
    if found.ess_share < JUDGED_SHARE:
        uneven = f"weights are so uneven that errors are too small: fewer than {100 * JUDGED_SHARE:g} % of the samples count."
    agrees = excess <= limit if uneven is None else None
    return Weighted(len(s), lag, ess, ess / len(s), uneven, posterior.method, tuple(latents), max(sizes), limit, agrees)


def bias_of(
    sampler: Sampler, law: ThresholdedLaplace, stated: PosteriorStatistics, posterior: PosteriorStatistics, seed: int
) -> Bias:
    """Return how far the law is from the posterior, whose statistics are given."""
    model, x = sampler.model, sampler.x
    heads = Heads(law.mu, np.log(law.b), law.kappa)
    kl = kl_se = share = reason = None
    try:
        evidence = log_evidence(model, x, heads, n=EVIDENCE_DRAWS, rng=np.random.default_rng([seed, 8]))
        bound = float(elbo(model, x[None], *(head[None] for head in heads))[0])
        share = evidence.ess_share
        if np.isfinite(bound):
            kl, kl_se = evidence.log_p - bound, evidence.se
        else:
            reason = INFINITE
    except ReferenceRefusedError as error:
        reason = str(error)
    latents: list[dict[str, float]] = []
    for k in range(model.n_latents):
        latents.append({})
        for name in MARGINALS:
            latents[k][name] = float(getattr(stated, name)[k] - getattr(posterior, name)[k])
            latents[k][f"{name}_se"] = float(getattr(posterior, f"{name}_mcse")[k])
    return Bias(kl, kl_se, reason, share, posterior.method, tuple(latents))
