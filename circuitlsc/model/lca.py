r"""The locally competitive algorithm: its units, its threshold, and what is read from it.

.. math:: \tau\,\dot u = A^T x - u - (A^T A - I)\,s, \qquad s = g_\theta(u), \qquad \theta = \lambda\sigma^2

Rozell et al. (2008); Fang et al. 2022, eqs. (2.22)-(2.24).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table, crowded_knots
from circuitlsc.model.priors import Laplace
from circuitlsc.model.smoothing import logistic, softplus
from circuitlsc.model.sparse_coding import SparseCodingModel


@dataclass(frozen=True, eq=False)
class LCAModel(SparseCodingModel):
    """A model in LCA's units: sigma = 1, and the threshold theta = lam sigma^2 for lam; its L1 minimum is the same."""

    prior: Laplace


def lca_model(model: SparseCodingModel) -> LCAModel:
    """Return the model in LCA's units.

    Raises
    ------
    InputError
        If its prior is not the L1 one.
    """
    prior = model.prior
    if not isinstance(prior, Laplace):
        raise InputError(
            f'dynamics.kind = "lca" has the L1 prior, and this is {prior.kind}. Give prior.kind = "laplace" (or '
            '"spike-slab", whose slab is used), or dynamics.kind = "gradient".'
        )
    return LCAModel(model.A, Laplace(prior.lam * model.sigma**2, prior.signed), 1.0)


def threshold_code(u: Array, theta: float, *, signed: bool, hard: bool, width: float = 0.0) -> Array:
    r"""Return s = g_theta(u): a soft threshold (u - theta above it) or a hard one (u above it); with width w smooth.

    .. math:: s = w\,\mathrm{softplus}\!\left(\tfrac{u - \theta}{w}\right) \quad\text{or}\quad
              s = u\,\mathrm{logistic}\!\left(\tfrac{u - \theta}{w}\right)

    and for signed codes the same of -u, negative.
    """
    u = np.asarray(u, dtype=float)
    if hard:
        size = np.abs(u) if signed else u
        return u * logistic(size - theta, width)
    return softplus(u - theta, width) - (softplus(-u - theta, width) if signed else 0.0)


def lca_threshold(theta: float, width: float, *, signed: bool, hard: bool) -> Table:
    """Return the threshold cell's table: exact far from the thresholds, where it ends in straight lines."""
    knots = crowded_knots(np.array([-theta, theta] if signed else [theta]), width, per_side=8)
    knots = np.concatenate([[knots[0] - width], knots, [knots[-1] + width]])
    values = threshold_code(knots, theta, signed=signed, hard=hard, width=width)
    ends = [0, 1, -2, -1]
    values[ends] = threshold_code(knots[ends], theta, signed=signed, hard=hard)
    return Table(knots, values)
