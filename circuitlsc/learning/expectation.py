r"""Expectation maximisation with Gibbs sampling: the maximum of the likelihood of given inputs, without steps of time.

.. math:: A = \overline{x s^T}\,\overline{s s^T}^{-1}, \qquad \pi = \overline{1(s \ne 0)}, \qquad
          \lambda = \overline{1(s \ne 0)}/\overline{|s|}, \qquad \sigma^2 = \overline{|x - A s|^2}/D

Means are over all inputs and over draws of p(s | x) at the parameters so far; each input's code is a Gibbs chain that goes on.
After a quarter of the sweeps a mean forgets old draws ever more slowly (stochastic approximation: Delyon, Lavielle and Moulines
1999, doi:10.1214/aos/1018031103). It is what learners are compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, real_array
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.stage import TIME_CONSTANTS
from circuitlsc.model.priors import Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.gibbs import sweep_rows

_FORGETS = 0.6  # power of the number of sweeps with which a new draw counts less


def gibbs_em(
    X: ArrayLike, start: SparseCodingModel, *, learn: tuple[str, ...] = ("A",), n_sweeps: int = 10_000, seed: int = 0
) -> Learned:
    """Return the parameters with the largest likelihood of inputs, near those that it starts from.

    Parameters
    ----------
    X : array, shape (N, D)
        In data units.
    start : SparseCodingModel
        With a spike-and-slab or a Laplace prior.
    learn : tuple of str
        Which of "A", "pi", "lam", "sigma" move; the others are held.
    n_sweeps : int
        Through all inputs, each followed by new parameters; what is returned is the mean over the second half, and the last.
    seed : int
        Seed >= 0.

    Returns
    -------
    Learned

    Raises
    ------
    InputError
        If what is to be learned cannot be, X does not fit, or an atom is used by no input.
    ReferenceRefusedError
        If the prior has no slab.

    Notes
    -----
    Exact but for the number of sweeps: the maximum is approached as EM approaches it, and what is returned has the noise of
    some hundred draws of each code. Two seeds show it: with 10,000 sweeps the norm of one atom of 300 inputs varies by 0.5 %,
    with 2,500 by 3 %.
    """
    X, slab = real_array("X", X), start.prior.slab
    if X.ndim != 2 or X.shape[1] != start.n_features or len(X) == 0:
        raise InputError(f"gibbs_em: X has shape {X.shape}. Give rows of {start.n_features} features.")
    if not set(learn) <= set(TIME_CONSTANTS) or {"A", "lam"} <= set(learn):
        raise InputError(f"gibbs_em: learn = {learn!r}. Give some of A, pi, lam, sigma, and not both A and lam.")
    check_count("gibbs_em: n_sweeps", n_sweeps, 4)
    rng, model, signed = np.random.default_rng([seed, 4]), start, start.prior.signed
    s = start.prior.draw((len(X), start.n_latents), rng)
    numbers = np.array([1.0, 0.0, start.sigma] if slab is None else [slab.pi, slab.lam, start.sigma])
    means: list[Array] = []
    sums: list[Array] = []
    for sweep in range(n_sweeps):
        sweep_rows(model, X, s, rng)
        new = [X.T @ s, s.T @ s, np.array([np.count_nonzero(s), np.abs(s).sum()])]
        weight = max(1, sweep - n_sweeps // 4) ** -_FORGETS
        means = [a + weight * (b - a) for a, b in zip(means, new, strict=True)] if means else new
        A, numbers = _maximum(X, means, model.A, numbers, learn)
        prior = SpikeSlab(numbers[0], numbers[1], signed) if numbers[0] < 1 else Laplace(numbers[1], signed)
        model = SparseCodingModel(A, prior, numbers[2])
        if sweep == n_sweeps // 2:
            sums = [np.zeros_like(A), np.zeros(3)]
        if sums:
            sums = [sums[0] + A, sums[1] + numbers]
    count = n_sweeps - n_sweeps // 2
    average = dict(zip(("pi", "lam", "sigma"), (sums[1] / count).tolist(), strict=True))
    final = dict(zip(("pi_final", "lam_final", "sigma_final"), numbers.tolist(), strict=True))
    meta = {"method": "gibbs_em", "learn": sorted(learn), "n_sweeps": n_sweeps, "seed": seed}
    return Learned(A=sums[0] / count, A_final=model.A, **average, **final, signed=signed, meta=meta)


def _maximum(X: Array, means: list[Array], A: Array, numbers: Array, learn: tuple[str, ...]) -> tuple[Array, Array]:
    """Return A and (pi, lam, sigma) from sums over the inputs: x s^T, s s^T, and how many codes are active, and their size."""
    outer, square, (active, size) = means
    pi, lam, sigma = numbers
    if not np.all(np.diag(square) > 0):
        raise InputError("gibbs_em: an atom is used by no input. Start nearer to the data, or with fewer atoms.")
    if "A" in learn:
        A = np.ascontiguousarray(np.linalg.solve(square, outer.T).T)
    if "pi" in learn:
        pi = active / (len(X) * len(square))
    if "lam" in learn:
        lam = active / size
    if "sigma" in learn:
        power = np.sum(X**2) - 2.0 * np.sum(A * outer) + np.sum((A @ square) * A)
        sigma = np.sqrt(power / X.size)
    return A, np.array([pi, lam, sigma])
