r"""Posterior statistics of one or two latents by numerical integration, for a prior of any smooth cost.

.. math:: Z = \int e^{-s^T G s/2 + b^T s - \sum_i C(s_i)}\, ds, \quad E[s_i^m s_j^n] = Z^{-1} \int s_i^m s_j^n \ldots

Panels of six Gauss-Legendre points each, around 0 where the cost bends, around the likelihood's centre, and over the whole
domain; for two latents the inner integral has panels of its own for each point of the outer one. Panels are halved until
nothing changes.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.arrays import Array
from circuitlsc.model.prior import Prior
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.exact import _exact
from circuitlsc.reference.statistics import PosteriorStatistics

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_LEFT_OUT = 50.0  # of energy above what some state has: exp(-50) of the density at most is left out
_FAR = 1e8  # slabs: how far a tail is followed that the data do not bound
_TOLERANCE = 1e-7  # of the moments, in units of the slab
_FINEST = 16  # times as many panels as at first


def quadrature(model: SparseCodingModel, x: ArrayLike) -> PosteriorStatistics:
    """Return the posterior statistics of a model with one or two latents under a prior without a spike.

    Parameters
    ----------
    model : SparseCodingModel
        At temperature 1; pass ``model.tempered(T)`` for exp(-E/T).
    x : array, shape (n_features,)
        Observation, in data units.

    Returns
    -------
    PosteriorStatistics
        With standard errors of 0; the moments are good to 1e-7 slabs.

    Raises
    ------
    InputError
        If x does not fit the model.
    ReferenceRefusedError
        If the model has more latents, codes can be exactly zero, or the integrals do not converge.
    """
    if model.n_latents > 2:
        raise ReferenceRefusedError(
            f"quadrature: the model has {model.n_latents} latents, but the integrals are done for one or two. "
            "Use slice_sampling."
        )
    if model.prior.sparse:
        raise ReferenceRefusedError(
            f"quadrature: under the prior {model.prior!r} codes can be exactly zero. Use single_latent or enumerate_supports."
        )
    G, b, slab = model.gram, model.drive(x), model.prior.slab_scale
    integrate = _one if model.n_latents == 1 else _two
    unit = np.array([slab, slab**2])
    refined = (integrate(model.prior, G, b, 2**k) for k in range(1 + round(math.log2(_FINEST))))
    for before, (mean, second, negative) in itertools.pairwise(refined):
        size = np.maximum(unit, [np.abs(mean).max(), np.abs(second).max()])
        change = max(np.abs(mean - before[0]).max() / size[0], np.abs(second - before[1]).max() / size[1])
        if change < _TOLERANCE:
            return _exact(model, x, None, mean, second, negative, "quadrature")
    raise ReferenceRefusedError(
        f"quadrature: the moments still change by {change:.1e} of their size with {_FINEST} times as many panels. "
        "Use slice_sampling."
    )


def _least(prior: Prior) -> tuple[float, float]:
    """Return the least cost, and from where on it is so high that nothing is left of the density."""
    s = prior.slab_scale * np.sinh(np.linspace(0, math.asinh(_FAR), 4001))
    cost = prior.cost(s) if not prior.signed else np.minimum(prior.cost(s), prior.cost(-s))
    least = float(cost.min())
    return least, float(s[np.flatnonzero(cost < least + 2 * _LEFT_OUT)[-1]]) * 1.1 + prior.slab_scale


def _panels(prior: Prior, centre: Array, width: float, radius: Array, refine: int) -> tuple[Array, Array]:
    """Return points and weights, each (n, n_points), for the centres and radii (n,) of a likelihood of given width."""
    slab = prior.slab_scale
    _, far = _least(prior)
    low = np.maximum(centre - radius, -far if prior.signed else 0.0)[:, None]
    high = np.maximum(np.minimum(centre + radius, far)[:, None], low)
    half = slab / 20 * np.sinh(np.linspace(0, math.asinh(20 * far / slab), 24 * refine + 1))
    around_zero = np.broadcast_to(np.concatenate([-half[:0:-1], half]), (len(centre), 48 * refine + 1))
    around_data = centre[:, None] + width * np.linspace(-8, 8, 24 * refine + 1)
    everywhere = low + (high - low) * np.linspace(0, 1, 16 * refine + 1)
    edges = np.sort(np.clip(np.concatenate([around_zero, around_data, everywhere], axis=1), low, high), axis=1)
    middle, size = (edges[:, 1:] + edges[:, :-1]) / 2, np.diff(edges, axis=1) / 2
    points = middle[..., None] + size[..., None] * _POINTS
    return points.reshape(len(centre), -1), (size[..., None] * _WEIGHTS).reshape(len(centre), -1)


def _one(prior: Prior, G: Array, b: Array, refine: int) -> tuple[Array, Array, Array]:
    """Return E s, E s s^T and P(s < 0) of one latent."""
    _, mean, second, negative = _line(prior, G[0, 0], np.array([b[0]]), refine)
    return mean, second[:, None], negative


def _line(prior: Prior, g: float, h: Array, refine: int) -> tuple[Array, Array, Array, Array]:
    """Return log Z, E s, E s^2 and P(s < 0) of exp(-g s^2/2 + h s - C(s)) for many h, each shape (n,)."""
    centre, width = h / g, 1 / math.sqrt(g)
    inside = centre if prior.signed else np.maximum(centre, 0.0)
    # some state is no higher than this above the likelihood's least energy
    height = g * (inside - centre) ** 2 / 2 + prior.cost(inside) - _least(prior)[0]
    s, w = _panels(prior, centre, width, width * np.sqrt(2 * (height + _LEFT_OUT)), refine)
    log_density = -g * s**2 / 2 + h[:, None] * s - prior.cost(s)
    top = log_density.max(axis=1)
    p = w * np.exp(log_density - top[:, None])
    z = p.sum(axis=1)
    negative = np.where(s < 0, p, 0.0).sum(axis=1) / z
    return top + np.log(z), (p * s).sum(axis=1) / z, (p * s**2).sum(axis=1) / z, negative


def _two(prior: Prior, G: Array, b: Array, refine: int) -> tuple[Array, Array, Array]:
    """Return E s, E s s^T and P(s < 0) of two latents: the inner integral over the second one for each point of the first."""
    least, far = _least(prior)
    centre = np.asarray(np.linalg.lstsq(G, b, rcond=None)[0], dtype=float)
    inside = centre if prior.signed else np.maximum(centre, 0.0)
    # what the data leave of the first latent if the second may be anything: nothing, if their atoms are parallel
    width = 1 / math.sqrt(max(G[0, 0] - G[0, 1] ** 2 / G[1, 1], 1e-12 * G[0, 0], far**-2))
    height = (inside - centre) @ G @ (inside - centre) / 2 + prior.cost(inside).sum() - 2 * least
    radius = np.array([width * math.sqrt(2 * (height + _LEFT_OUT))])
    s, w = (v[0] for v in _panels(prior, centre[:1], width, radius, refine))
    parts = [_line(prior, G[1, 1], b[1] - G[0, 1] * part, refine) for part in np.array_split(s, 1 + refine**2)]
    log_inner, mean, second, negative = (np.concatenate(column) for column in zip(*parts, strict=True))
    log_density = log_inner - G[0, 0] * s**2 / 2 + b[0] * s - prior.cost(s)
    p = w * np.exp(log_density - log_density.max())
    p /= p.sum()
    first = np.array([p @ s, p @ mean])
    cross = p @ (s * mean)
    return first, np.array([[p @ s**2, cross], [cross, p @ second]]), np.array([p[s < 0].sum(), p @ negative])
