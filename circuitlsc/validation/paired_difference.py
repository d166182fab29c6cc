r"""How two circuits on the same noise differ: common random numbers, and standard errors of the paired differences.

.. math:: \Delta_t = \phi(u'_t) - \phi(u_t), \qquad \delta\langle\phi\rangle = \overline{\Delta}, \qquad
          \mathrm{SE} = \mathrm{MCSE}(\Delta)

The two chains follow the same Brownian path, so that most of their noise cancels in the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.statistics import MARGINALS, MAX_SUPPORT_LATENTS, mean_with_mcse, support_keys
from circuitlsc.sampling.lazy_draws import Draws

BLOCKS = 64  # of time, over all chains, for the standard error of the total variation
MAX_PAIR_LATENTS = 16  # more latents have too many pairs for an error of each


@dataclass(frozen=True, eq=False)
class Change:
    """Change of each statistic from one law to another, with standard errors.

    Attributes
    ----------
    p_active, mean, sd : array, shape (n_latents,)
    p_active_se, mean_se, sd_se : array, shape (n_latents,)
    """

    p_active: Array
    p_active_se: Array
    mean: Array
    mean_se: Array
    sd: Array
    sd_se: Array

    def to_dict(self, *names: str) -> dict[str, list[float]]:
        """Return the changes and errors of these statistics (none: all three) as lists."""
        both = [f"{name}{se}" for name in names or MARGINALS for se in ("", "_se")]
        return {name: [float(v) for v in getattr(self, name)] for name in both}


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedDifference(Change):
    """Change from one circuit to another on the same noise; the standard errors are those of the paired differences.

    Attributes
    ----------
    p_active_unpaired_se, mean_unpaired_se : array, shape (n_latents,)
        What two runs on noises of their own would have.
    coactive, coactive_se : float or None
        The largest change of P(i and j active) over the pairs; None above 16 latents or without a spike.
    tv, tv_se : float or None
        Total variation between the two distributions over supports; None above 20 latents or without a spike.
    tv_floor : float or None
        What noise alone would make of it.
    """

    p_active_unpaired_se: Array
    mean_unpaired_se: Array
    coactive: float | None = None
    coactive_se: float | None = None
    tv: float | None = None
    tv_se: float | None = None
    tv_floor: float | None = None


def paired_difference(
    model: SparseCodingModel, before: ArrayLike | Draws, after: ArrayLike | Draws, *, of: str = "u"
) -> PairedDifference:
    """Measure what changed between two runs on the same noise.

    Parameters
    ----------
    model : SparseCodingModel
    before, after : array or Draws, shape (n_chains, n_draws, n_latents)
        States u at the same times, or codes s, in model units.
    of : str
        ``"u"``, or ``"s"`` if they are codes, of which those that are not 0 are active.

    Notes
    -----
    The standard errors are those of `circuitlsc.reference.mcse`: a long run's come from block means of the differences.
    """
    before, after = Draws.of(before), Draws.of(after)
    if of == "u":
        a0, a1 = before.map(model.active), after.map(model.active)
        s0, s1 = before.map(model.latent), after.map(model.latent)
    else:
        (a0, a1), s0, s1 = (s.map(lambda code: code != 0) for s in (before, after)), before, after
    p, p_se = mean_with_mcse(a1.map(lambda new, old: new.astype(float) - old, a0))
    (share, se0), (_, se1) = mean_with_mcse(a0), mean_with_mcse(a1)
    unpaired = np.hypot(se0, se1)
    if _ever(before.map(lambda old, new: old != new, after)).any():
        # no draw that differs is not no difference: it could well have been one in as many as are independent
        independent = np.full_like(share, before.shape[0] * before.n_draws)
        np.divide(2 * share * (1 - share), unpaired**2, out=independent, where=unpaired > 0)
        p_se = np.where(_ever(a0.map(lambda old, new: old != new, a1)), p_se, 1 / independent)
    mean, mean_se = mean_with_mcse(s1.map(lambda new, old: new - old, s0))
    (m0, mean_se0), (m1, mean_se1) = mean_with_mcse(s0), mean_with_mcse(s1)
    squares = s1.map(lambda new, old: (new - m1) ** 2 - (old - m0) ** 2, s0)
    sd0, sd1 = (np.sqrt(s.map(lambda v, m=m: (v - m) ** 2).mean()) for s, m in ((s0, m0), (s1, m1)))
    supports: dict[str, float | None] = {}
    if model.prior.sparse and 1 < model.n_latents <= MAX_PAIR_LATENTS:
        supports |= zip(("coactive", "coactive_se"), _coactivation(a0, a1), strict=True)
    if model.prior.sparse and model.n_latents <= MAX_SUPPORT_LATENTS:
        supports |= zip(("tv", "tv_se", "tv_floor"), _total_variation(a0, a1), strict=True)
    sd_se = mean_with_mcse(squares)[1] / np.maximum(sd0 + sd1, 1e-12)
    return PairedDifference(
        p_active=p,
        p_active_se=p_se,
        mean=mean,
        mean_se=mean_se,
        sd=sd1 - sd0,
        sd_se=sd_se,
        p_active_unpaired_se=unpaired,
        mean_unpaired_se=np.hypot(mean_se0, mean_se1),
        **supports,
    )


def paired_rows(
    model: SparseCodingModel, before: Sequence[Draws], after: Sequence[Draws], *, of: str = "u"
) -> PairedDifference:
    """Measure as `paired_difference` does what changed in each of several inputs, one after the other.

    Arrays are (n_rows * n_latents,); ``coactive`` is that of the input where it is largest, ``tv`` the mean over inputs.
    """
    rows = [paired_difference(model, old, new, of=of) for old, new in zip(before, after, strict=True)]
    if len(rows) == 1:
        return rows[0]
    found: dict[str, Any] = {
        f.name: np.concatenate([getattr(row, f.name) for row in rows])
        for f in fields(PairedDifference)
        if isinstance(getattr(rows[0], f.name), np.ndarray)
    }
    if rows[0].coactive is not None:
        worst = max(rows, key=lambda row: abs(row.coactive or 0.0))
        found |= {"coactive": worst.coactive, "coactive_se": worst.coactive_se}
    if rows[0].tv is not None:
        tv, se, floor = np.array([(row.tv, row.tv_se, row.tv_floor) for row in rows], dtype=float).T
        found |= {
            "tv": float(tv.mean()),
            "tv_se": float(np.sqrt(np.sum(se**2)) / len(rows)),
            "tv_floor": float(floor.mean()),
        }
    return PairedDifference(**found)


def _ever(happens: Draws) -> NDArray[np.bool_]:
    """Return which columns of (chain, draw, column) are true in any draw."""
    return np.asarray(np.any([piece.any((0, 1)) for piece in happens.pieces()], axis=0), dtype=bool)


def _coactivation(a0: Draws, a1: Draws) -> tuple[float, float]:
    i, j = np.triu_indices(a0.shape[2], 1)
    both0, both1 = (a.map(lambda on: on[..., i] & on[..., j]) for a in (a0, a1))
    change, se = mean_with_mcse(both1.map(lambda new, old: new.astype(float) - old, both0))
    worst = int(np.argmax(np.abs(change)))
    return float(change[worst]), float(se[worst])


def _total_variation(a0: Draws, a1: Draws) -> tuple[float, float, float]:
    """Return the total variation between the supports, its jackknife error over time blocks, and its floor."""
    chains, draws, _ = a0.shape
    per_chain = max(1, min(draws, BLOCKS // chains))
    length = draws // per_chain
    runs = [a.part(draws - per_chain * length, draws).map(support_keys) for a in (a0, a1)]
    supports = np.unique(np.concatenate([np.unique(piece) for keys in runs for piece in keys.pieces()]))
    counts = np.zeros((2, chains, per_chain, len(supports)))
    for which, keys in enumerate(runs):
        for block in range(per_chain):
            for piece in keys.part(block * length, (block + 1) * length).pieces():
                np.add.at(counts[which, :, block], (np.arange(chains)[:, None], np.searchsorted(supports, piece)), 1)
    blocks = chains * per_chain
    change = (counts[1] - counts[0]).reshape(blocks, -1) / length
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
