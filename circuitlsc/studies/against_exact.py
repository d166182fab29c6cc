"""What is known without a run on the same noise: statistics beside exact ones, and the posterior of rounded weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.statistics import MARGINALS, PosteriorStatistics
from circuitlsc.validation.compare import support_distance
from circuitlsc.validation.paired_difference import PairedDifference

_COMPARED = (*MARGINALS, *(f"{name}_mcse" for name in MARGINALS))
LEAST = 1e-4  # of the largest eigenvalue: what smaller ones are taken for


def unpaired(
    pairs: Sequence[tuple[PosteriorStatistics, PosteriorStatistics]], *, sparse: bool, seed: int
) -> PairedDifference:
    """Return how far statistics are from exact ones, of one input or of several one after the other; nothing is paired."""
    both = {n: [np.concatenate([getattr(f, n) for f in side]) for side in zip(*pairs, strict=True)] for n in _COMPARED}
    moved = {name: both[name][0] - both[name][1] for name in MARGINALS}
    errors = {f"{name}_se": np.hypot(*both[f"{name}_mcse"]) for name in MARGINALS}
    alone = {f"{n}_unpaired_se": errors[f"{n}_se"] for n in ("p_active", "mean")}
    supports: dict[str, float | None] = {}
    if sparse:
        apart = [support_distance(found, exact, seed) for found, exact in pairs]
        known = all(a.tv is not None for a in apart)
        tv, floor = (float(np.mean([getattr(a, n) for a in apart])) if known else None for n in ("tv", "tv_floor"))
        supports = {"tv": tv, "tv_se": floor, "tv_floor": floor}
    return PairedDifference(**moved, **errors, **alone, **supports)  # type: ignore[arg-type]


def with_gram(model: SparseCodingModel, x: Array, gram: Array) -> tuple[SparseCodingModel, Array]:
    r"""Return the model and the input that have another G and the same drive b.

    .. math:: A'^T A' = \sigma^2 G', \qquad A'^T x' = A^T x

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    gram : array, shape (n_latents, n_latents)
        Positive semidefinite; an eigenvalue below 1e-4 of the largest is taken for that: sums over supports lose digits there.
    """
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, LEAST * values[-1]))
    given = model.variance / model.sigma * (vectors.T @ model.drive(x)) / root
    return SparseCodingModel(model.sigma * root[:, None] * vectors.T, model.prior, model.sigma), given
