r"""What is measured of codes in the figures of Fallah & Rozell 2022: support, dependence and collapse, each defined here.

The paper names these measures; its own definitions and tables could not be read, and none of its numbers is quoted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array

SILENT = 0.01  # nats: a latent whose law is that close to the prior says nothing of an input
MOST = 0.99  # share of inputs for which it must say nothing to have collapsed


def mean_se(values: Array) -> tuple[float, float]:
    """Return the mean of independent numbers and its standard error (0 of a single one)."""
    n = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def jaccard(one: Array, other: Array, cut: float = 0.0) -> Array:
    r"""Return the Jaccard index of the supports of codes, row by row: how alike two draws for the same input are.

    .. math:: J = \frac{|\{k: s_k \ne 0\} \cap \{k: s'_k \ne 0\}|}{|\{k: s_k \ne 0\} \cup \{k: s'_k \ne 0\}|}

    Codes (n, K) in model units; those up to ``cut`` in size count as 0. Rows of which both draws are empty are left out.
    """
    a, b = np.abs(one) > cut, np.abs(other) > cut
    union = np.sum(a | b, 1)
    return np.asarray(np.sum(a & b, 1)[union > 0] / union[union > 0])


def collapsed(kl: Array) -> NDArray[np.bool_]:
    """Return which latents have collapsed, shape (K,): KL(law || prior), (n, K) in nats, below .01 for 99 % of inputs."""
    return np.asarray(np.mean(kl < SILENT, 0) >= MOST)


def pairwise_information(codes: Array, seed: int) -> tuple[float, float]:
    r"""Return the mutual information of two latents in nats, mean over pairs, and what the estimator says of independent ones.

    .. math:: I = \frac{2}{K(K-1)} \sum_{j<k} \sum_{a,b} p_{jk}(a, b) \log\frac{p_{jk}(a, b)}{p_j(a)\, p_k(b)}

    with each latent's codes in five classes: 0, and of either sign below and above the median size of its active codes. It is
    the part of the multi-information that pairs have: that of all latents at once cannot be estimated from thousands of
    codes. It is biased upwards by about (5 - 1)^2/(2 n); the second number, of the same codes with each latent's
    shuffled over inputs, is that bias.

    Parameters
    ----------
    codes : array, shape (n, K)
        One for each input; K >= 2.
    seed : int
        Of the shuffle.
    """
    classes = np.stack([_classes(column) for column in codes.T], 1)
    rng = np.random.default_rng(seed)
    return _information(classes), _information(rng.permuted(classes, axis=0))


def _classes(s: Array) -> NDArray[np.int64]:
    active = np.abs(s[s != 0])
    large = np.abs(s) > (np.median(active) if active.size else 0.0)
    return np.asarray(np.where(s == 0, 0, np.where(s > 0, 1, 3) + large), dtype=np.int64)


def _information(classes: NDArray[np.int64]) -> float:
    n, K = classes.shape
    seen = np.eye(5)[classes].reshape(n, 5 * K)
    joint, alone = seen.T @ seen / n, seen.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(joint > 0, joint * np.log(joint / np.outer(alone, alone)), 0.0)
    pairs = each.reshape(K, 5, K, 5).sum((1, 3))
    return float((pairs.sum() - np.trace(pairs)) / (K * (K - 1)))
