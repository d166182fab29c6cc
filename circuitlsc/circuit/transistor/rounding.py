r"""What whole numbers of unit mirrors move the posterior by: draws of the one that was asked for, weighted.

.. math:: P'(\text{active}_i) = \frac{\langle a_i w \rangle}{\langle w \rangle}, \qquad w = e^{-s^T (G' - G) s/2}

A Gibbs sampler of many short chains side by side is good enough for differences of this size: the same draws are in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, ndtri_exp

from circuitlsc.io.arrays import Array
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel

CHAINS, WARMUP, KEPT, APART = 1000, 60, 16, 3  # sweeps
MOST_ROWS = 16  # inputs that are looked at


def draws(model: SparseCodingModel, x: Array, rng: np.random.Generator) -> Array:
    """Return draws (n_draws, n_latents) of the spike-and-slab posterior of one input."""
    prior, gram, b, n = model.prior, model.gram, model.drive(x), model.n_latents
    assert isinstance(prior, SpikeSlab)
    signs = np.array([1.0, -1.0] if prior.signed else [1.0])
    s, kept = np.zeros((CHAINS, n)), []
    for sweep in range(WARMUP + KEPT * APART):
        for i in range(n):
            g = gram[i, i]
            pull = b[i] - s @ gram[i] + g * s[:, i]
            a = (np.outer(pull, signs) - prior.lam) / np.sqrt(g)
            slab = np.log(prior.pi * prior.lam / len(signs)) + 0.5 * (np.log(2 * np.pi / g) + a**2) + log_ndtr(a)
            odds = np.concatenate([np.full((CHAINS, 1), np.log1p(-prior.pi)), slab], axis=1)
            which = np.argmax(odds + rng.gumbel(size=odds.shape), axis=1) - 1
            at = a[np.arange(CHAINS), which]
            size = (at - ndtri_exp(np.log(rng.random(CHAINS)) + log_ndtr(at))) / np.sqrt(g)
            s[:, i] = np.where(which < 0, 0.0, signs[which] * np.maximum(size, 1e-300))
        if sweep >= WARMUP and (sweep - WARMUP) % APART == 0:
            kept.append(s.copy())
    return np.concatenate(kept)


class Rounding:
    """What a change of G moves P(active) by, of a model and its inputs.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
    """

    def __init__(self, model: SparseCodingModel, x: Array) -> None:
        rng, rows = np.random.default_rng(0), np.atleast_2d(x)
        shown = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(int))]
        self._of_rows = [draws(model, row, rng) for row in shown]

    def moved(self, changes: Sequence[Array]) -> Array:
        """Return the largest change of any P(active) of any input, for each change (n_latents, n_latents) of G."""
        flat, worst = np.array([change.ravel() for change in changes]), np.zeros(len(changes))
        for s in self._of_rows:
            log = -0.5 * (s[:, :, None] * s[:, None, :]).reshape(len(s), -1) @ flat.T
            weight = np.exp(log - log.max(axis=0))
            active = (s != 0).astype(float)
            p = active.T @ (weight / weight.sum(axis=0))
            worst = np.maximum(worst, np.abs(p - active.mean(axis=0)[:, None]).max(axis=0))
        return worst
