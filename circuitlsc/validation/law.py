r"""Two truths about a variational circuit: the law that its encoder gives, and how far that law is from the posterior.

The first is what the circuit is judged by, in closed form (`circuitlsc.model.thresholded`); correct runs are drawn in
NumPy, with noise that is as correlated as the circuit's. The second is the price of sampling without waiting,

.. math:: \mathrm{KL}(q\,\|\,p(s|x)) = \log p(x) - \mathrm{ELBO}(x)

and the differences of each latent's P(active), mean and sd; it is no fault of the circuit. Fallah & Rozell 2022 have the law;
neither comparison is in the paper.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.special import log_ndtr

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.encoder import Heads
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import elbo, law_of, log_evidence
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.reference.replicates import Replicates
from circuitlsc.reference.statistics import MARGINALS, PosteriorStatistics
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.null import USUAL, Judged, Null, null_of

MOST_SUPPORT = 12  # latents whose 2^K supports are tabulated
WORK = 2e7  # normal deviates that correct runs take
BLOCKS = 16  # of a replicate, for how fast it mixes
FEWEST_DRAWS = 64  # of a chain of a replicate, if the run has as many
EVIDENCE_DRAWS = 50_000


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


def law_of_run(sampler: Sampler) -> ThresholdedLaplace:
    """Return the law of the codes of a variational circuit, each number of shape (K,); InputError for several inputs."""
    if sampler.encoder is None or sampler.stream is not None:
        raise InputError(
            "the law of a run is that of one input to an encoder: rows of x are not judged together. Give one row as x."
        )
    return law_of(sampler.model, *sampler.encoder.heads(sampler.x))


def law_statistics(law: ThresholdedLaplace, model: SparseCodingModel, x: Array) -> PosteriorStatistics:
    """Return the statistics of independent latents with this law, in closed form."""
    p, K = law.p_active, model.n_latents
    coactive = np.outer(p, p)
    np.fill_diagonal(coactive, p)
    support = None
    if K <= MOST_SUPPORT:
        on = (np.arange(2**K)[:, None] >> np.arange(K)) & 1
        support = dict(enumerate(np.where(on, p, law.p_zero).prod(1).tolist()))
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


def law_null(sampler: Sampler, run: RunPlan, law: ThresholdedLaplace) -> Null:
    r"""Return the errors of correct runs: draws of the law whose noise has the memory of the circuit's.

    .. math:: u_{n+1} = \rho\,u_n + \sqrt{1 - \rho^2}\,\xi_n, \qquad \rho = \left(\frac{1 - h/2}{1 + h/2}\right)^{m}

    with h the step and m the steps between kept samples, in tau.
    """
    task, step = sampler.tasks(run)[0], sampler.plan.step
    fields = len(sampler.graph.noises)  # voltages that make a draw: four of the product form, one of the table
    rho = ((1 - step / 2) / (1 + step / 2)) ** task.thin
    affordable = int(WORK / (USUAL * run.chains * law.mu.size * fields))
    per_block = max(1, min(task.n_draws, max(FEWEST_DRAWS, affordable)) // BLOCKS)
    draws = per_block * BLOCKS
    rng = np.random.default_rng([run.seed, 7])
    found = [_replicate(law, run.chains, draws, fields, rho, rng) for _ in range(USUAL)]
    marginals, pairs = (np.stack(part) for part in zip(*found, strict=True))
    length = draws * task.thin * step
    below = np.zeros((*pairs.shape[:3], law.mu.size, 0))
    replicates = Replicates(marginals, pairs, below, per_block, length, step)
    return null_of(replicates, Judged.of(sampler.model, None), run.chains, run.t_stop - run.warmup, run.seed)


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
        kl, kl_se, share = evidence.log_p - bound, evidence.se, evidence.ess_share
    except ReferenceRefusedError as error:
        reason = str(error)
    latents: list[dict[str, float]] = []
    for k in range(model.n_latents):
        latents.append({})
        for name in MARGINALS:
            latents[k][name] = float(getattr(stated, name)[k] - getattr(posterior, name)[k])
            latents[k][f"{name}_se"] = float(getattr(posterior, f"{name}_mcse")[k])
    return Bias(kl, kl_se, reason, share, posterior.method, tuple(latents))
