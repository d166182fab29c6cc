r"""Integrals of a normal density over the positive orthant, in logarithms, accurate in the far tails.

.. math:: Z = \int_{t > 0} e^{-t^T H t / 2 + c^T t}\, dt

One dimension is closed. More are a quasi-Monte-Carlo integral (folded, shifted Sobol points) of the sequential
sampler of Geweke and Genz, tilted as in Botev 2017, doi:10.1111/rssb.12162. So the relative error stays small
where the orthant's probability is 1e-300 and ``scipy.stats.multivariate_normal.cdf``, which bounds the absolute
error, has no digits. A latent that the data push below zero is such a tail, and its weight is not negligible.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import root
from scipy.special import erfcx, log_ndtr, ndtri_exp
from scipy.stats import qmc

from circuitlsc.model import Array

_LOG2_POINTS = 12  # quasi-random points for each of ...
_SHIFTS = 4  # ... this many random shifts, whose scatter is the error


def log_slab_mass(a: float) -> float:
    """Return a^2/2 + log Phi(a); for a < 0 the two terms would cancel, and erfcx does not form them."""
    return float(math.log(0.5 * erfcx(-a * math.sqrt(0.5))) if a < 0 else 0.5 * a * a + log_ndtr(a))


class OrthantIntegral:
    """Integrals over positive orthants of up to ``n_max`` dimensions, all with the same quasi-random points.

    Parameters
    ----------
    n_max : int
        Largest number of dimensions.
    """

    def __init__(self, n_max: int) -> None:
        if n_max > 1:
            sobol = qmc.Sobol(n_max - 1, scramble=False).random_base2(_LOG2_POINTS)
            # A fixed seed: the integral is a number, and the same on every call.
            shifts = np.random.default_rng(0).random((_SHIFTS, 1, n_max - 1))
            points = np.abs(2 * ((sobol + shifts) % 1.0) - 1)  # folded: the integrand becomes periodic
            self._log_points = np.log(np.clip(points.reshape(-1, n_max - 1).T, 1e-15, 1 - 1e-15))

    def log(self, H: Array, c: Array) -> tuple[float, float]:
        """Return log Z and its absolute error.

        Parameters
        ----------
        H : array, shape (n, n)
            Positive definite.
        c : array, shape (n,)
            Linear term.

        Returns
        -------
        log_z, error : float
            The error is the standard error over random shifts of the points (0 for n = 1), about 1e-5.
        """
        n = len(c)
        if n == 1:
            h = float(H[0, 0])
            return 0.5 * math.log(2 * math.pi / h) + log_slab_mass(float(c[0]) / math.sqrt(h)), 0.0
        cov = np.linalg.inv(H)
        centre = np.asarray(cov @ c)
        L = np.asarray(np.linalg.cholesky((cov + cov.T) / 2))
        mu = _tilt(L, centre)
        z = np.zeros((n - 1, self._log_points.shape[1]))
        log_ratio = np.zeros(self._log_points.shape[1])
        for k in range(n):  # t = centre + L z > 0 bounds z_k from below, given z_0 .. z_(k-1)
            low = (-centre[k] - L[k, :k] @ z[:k]) / L[k, k] - mu[k]
            log_tail = log_ndtr(-low)
            log_ratio += log_tail + 0.5 * mu[k] ** 2
            if k < n - 1:
                z[k] = mu[k] - ndtri_exp(self._log_points[k] + log_tail)
                log_ratio -= mu[k] * z[k]
        top = log_ratio.max()
        estimates = np.exp(log_ratio - top).reshape(_SHIFTS, -1).mean(1)
        error = float(estimates.std(ddof=1) / estimates.mean() / math.sqrt(_SHIFTS))
        log_normal = 0.5 * n * math.log(2 * math.pi) + np.log(np.diag(L)).sum() + 0.5 * c @ centre
        return float(log_normal + top + math.log(estimates.mean())), error


def _tilt(L: Array, centre: Array) -> Array:
    """Return Botev's minimax tilting; zeros (no tilting, less efficient but still right) if it is not found."""
    n = len(L)
    d = np.diag(L)
    R = np.tril(L / d[:, None], -1)
    eye = np.eye(n)

    def equations(v: Array) -> tuple[Array, Array]:
        z, mu = np.append(v[: n - 1], 0.0), np.append(v[n - 1 :], 0.0)
        low = -centre / d - R @ z - mu
        hazard = math.sqrt(2 / math.pi) / erfcx(low * math.sqrt(0.5))
        slope = hazard * (hazard - low)
        value = np.concatenate([(R.T @ hazard - mu)[:-1], (hazard + mu - z)[:-1]])
        zz, zm = -R.T @ (slope[:, None] * R), -eye - R.T * slope
        mz, mm = -eye - slope[:, None] * R, eye - np.diag(slope)
        return value, np.block([[zz[:-1, :-1], zm[:-1, :-1]], [mz[:-1, :-1], mm[:-1, :-1]]])

    with np.errstate(over="ignore", invalid="ignore"):
        solution = root(equations, np.zeros(2 * n - 2), jac=True)
    mu = np.append(solution.x[n - 1 :], 0.0)
    return mu if solution.success and np.isfinite(mu).all() else np.zeros(n)
