r"""How two circuits on the same noise differ: common random numbers, and standard errors of the paired differences.

.. math:: \Delta_t = \phi(u'_t) - \phi(u_t), \qquad \delta\langle\phi\rangle = \overline{\Delta}, \qquad
          \mathrm{SE} = \mathrm{MCSE}(\Delta)

The two chains follow the same Brownian path, so that most of their noise cancels in the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitlsc.arrays import Array
from circuitlsc.model import SparseCodingModel
from circuitlsc.statistics import MAX_SUPPORT_LATENTS, mean_with_mcse

BLOCKS = 64  # of time, over all chains, for the standard error of the total variation
MAX_PAIR_LATENTS = 16  # more latents have too many pairs for an error of each


@dataclass(frozen=True, eq=False)
class PairedDifference:
    """Change of each statistic from one circuit to another on the same noise, with standard errors.

    Attributes
    ----------
    p_active, mean, sd : array, shape (n_latents,)
    p_active_se, mean_se, sd_se : array, shape (n_latents,)
        Of the paired differences.
    p_active_unpaired_se, mean_unpaired_se : array, shape (n_latents,)
        What two runs on noises of their own would have.
    coactive, coactive_se : float or None
        The largest change of P(i and j active) over the pairs; None above 16 latents or without a spike.
    tv, tv_se : float or None
        Total variation between the two distributions over supports; None above 20 latents or without a spike.
    tv_floor : float or None
        What noise alone would make of it.
    """

    p_active: Array
    p_active_se: Array
    p_active_unpaired_se: Array
    mean: Array
    mean_se: Array
    mean_unpaired_se: Array
    sd: Array
    sd_se: Array
    coactive: float | None
    coactive_se: float | None
    tv: float | None
    tv_se: float | None
    tv_floor: float | None


def paired_difference(model: SparseCodingModel, before: Array, after: Array) -> PairedDifference:
    """Measure what changed between two runs on the same noise.

    Parameters
    ----------
    model : SparseCodingModel
    before, after : array, shape (n_chains, n_draws, n_latents)
        States u at the same times, in model units.
    """
    a0, a1 = model.active(before), model.active(after)
    s0, s1 = model.latent(before), model.latent(after)
    p, p_se = mean_with_mcse(a1.astype(float) - a0)
    unpaired = np.hypot(mean_with_mcse(a0.astype(float))[1], mean_with_mcse(a1.astype(float))[1])
    if np.any(before != after):
        # no draw that differs is not no difference: it could well have been one in as many as are independent
        share = a0.mean((0, 1))
        independent = np.divide(
            2 * share * (1 - share), unpaired**2, out=np.full_like(share, a0[..., 0].size), where=unpaired > 0
        )
        p_se = np.where((a0 == a1).all((0, 1)), 1 / independent, p_se)
    mean, mean_se = mean_with_mcse(s1 - s0)
    m0, m1 = s0.mean((0, 1)), s1.mean((0, 1))
    _, var_se = mean_with_mcse((s1 - m1) ** 2 - (s0 - m0) ** 2)
    sd0, sd1 = np.sqrt(((s0 - m0) ** 2).mean((0, 1))), np.sqrt(((s1 - m1) ** 2).mean((0, 1)))
    coactive: tuple[float | None, float | None] = (None, None)
    tv: tuple[float | None, float | None, float | None] = (None, None, None)
    if model.prior.sparse:
        if model.n_latents <= MAX_PAIR_LATENTS:
            coactive = _coactivation(a0, a1)
        if model.n_latents <= MAX_SUPPORT_LATENTS:
            tv = _total_variation(a0, a1)
    return PairedDifference(
        p,
        p_se,
        unpaired,
        mean,
        mean_se,
        np.hypot(mean_with_mcse(s0)[1], mean_with_mcse(s1)[1]),
        sd1 - sd0,
        var_se / np.maximum(sd0 + sd1, 1e-12),
        *coactive,
        *tv,
    )


def _coactivation(a0: NDArray[np.bool_], a1: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    i, j = np.triu_indices(a0.shape[2], 1)
    if not len(i):
        return None, None
    change, se = mean_with_mcse((a1[..., i] & a1[..., j]).astype(float) - (a0[..., i] & a0[..., j]))
    worst = int(np.argmax(np.abs(change)))
    return float(change[worst]), float(se[worst])


def _total_variation(a0: NDArray[np.bool_], a1: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the total variation between the supports, its jackknife error over time blocks, and its floor."""
    chains, draws, latents = a0.shape
    per_chain = max(1, min(draws, BLOCKS // chains))
    length = draws // per_chain
    weights = 1 << np.arange(latents)
    codes = np.stack([a @ weights for a in (a0, a1)])[:, :, draws - per_chain * length :]
    keys, index = np.unique(codes, return_inverse=True)
    index = index.reshape(2, chains * per_chain, length)
    blocks = len(index[0])
    counts = np.zeros((2, blocks, len(keys)))
    for which in (0, 1):
        for block in range(blocks):
            counts[which, block] = np.bincount(index[which, block], minlength=len(keys))
    change = (counts[1] - counts[0]) / length  # (blocks, supports)
    tv = float(np.abs(change.mean(0)).sum() / 2)
    if blocks < 2:
        return tv, tv, tv
    rest = np.abs((change.sum(0) - change) / (blocks - 1)).sum(1) / 2
    se = float(np.sqrt((blocks - 1) / blocks * np.sum((rest - rest.mean()) ** 2)))
    # blocks whose change counts with a random sign have no change on average, and the same noise
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (200, blocks))
    centred = change - change.mean(0)
    floor = float(np.abs(signs @ centred / blocks).sum(1).mean() / 2)
    return tv, se, floor
