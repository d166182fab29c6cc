r"""Mass and moments of a normal density on the positive orthant, accurate in the far tails.

.. math:: Z = \int_{t > 0} e^{-t^T H t / 2 + c^T t}\, dt, \quad E\,t, \quad E\,t t^T

One dimension is closed. More are a quasi-Monte-Carlo integral (folded, shifted Sobol points) of the sequential
sampler of Geweke and Genz, tilted as in Botev 2017, doi:10.1111/rssb.12162. So the relative error stays small
where the orthant's probability is 1e-300 and ``scipy.stats.multivariate_normal.cdf``, which bounds the absolute
error, has no digits. A latent that the data push below zero is such a tail, and its weight is not negligible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import root
from scipy.special import erfcx, log_ndtr, ndtri_exp

from circuitlsc.io.arrays import Array

_LOG2_POINTS = 12  # quasi-random points for each of ...
_SHIFTS = 4  # ... this many random shifts, whose scatter is the error


def log_slab_mass(a: float) -> float:
    """Return a^2/2 + log Phi(a); for a < 0 the two terms would cancel, and erfcx does not form them."""
    return float(math.log(0.5 * erfcx(-a * math.sqrt(0.5))) if a < 0 else 0.5 * a * a + log_ndtr(a))


def half_normal_moments(a: float) -> tuple[float, float]:
    """Return E y and E y^2 for the density exp(-(y - a)^2/2) on y > 0."""
    if a < -100:  # a + phi/Phi would cancel
        y = 1 / (a * a)
        return -(1 - 2 * y + 10 * y * y) / a, 2 * y * (1 - 5 * y + 37 * y * y)
    first = a + math.sqrt(2 / math.pi) / float(erfcx(-a * math.sqrt(0.5)))
    return first, 1 + a * first


@dataclass(frozen=True)
class Moments:
    """The integral of exp(-t H t/2 + c t) over t > 0, as log_z, and E t (n,), E t t^T (n, n) under that density.

    ``errors`` are the largest standard errors of log Z, of E t and of the diagonal of E t t^T.
    """

    log_z: float
    first: Array
    second: Array
    errors: tuple[float, ...] = (0.0, 0.0, 0.0)

    def error(self, scale: float) -> float:
        """Return the largest error of log Z, E t / scale and E t^2 / (2 scale^2); NaN if an integral failed."""
        return float(np.max(self.errors / np.array([1.0, scale, 2 * scale**2])))


class OrthantMoments:
    """Integrals over positive orthants of up to ``n_max`` dimensions, all with the same quasi-random points.

    Parameters
    ----------
    n_max : int
        Largest number of dimensions.
    """

    def __init__(self, n_max: int) -> None:
        from scipy.stats.qmc import Sobol  # half a second of imports

        sobol = Sobol(n_max, scramble=False).random_base2(_LOG2_POINTS)
        rng = np.random.default_rng(0)  # a fixed seed: the integral is a number, and the same on every call
        # Random by whole cells; stratified within a cell, so that all shifts together are one finer regular grid in
        # each dimension: log(u), which moments of nearly exponential densities need, converges as 1/points only.
        strata = rng.permuted(np.tile(np.arange(_SHIFTS)[:, None], (1, n_max)), axis=0)
        shifts = rng.integers(len(sobol), size=(_SHIFTS, n_max)) + (strata + rng.random(n_max)) / _SHIFTS
        shifts = (shifts / len(sobol))[:, None]
        points = np.abs(2 * ((sobol + shifts) % 1.0) - 1)  # folded: the integrand becomes periodic
        self._log_points = np.log(np.clip(points.reshape(-1, n_max).T, 1e-15, 1 - 1e-15))

    def moments(self, H: Array, c: Array) -> Moments:
        """Return log Z, E t and E t t^T.

        Parameters
        ----------
        H : array, shape (n, n)
            Positive definite.
        c : array, shape (n,)
            Linear term.

        Returns
        -------
        Moments
            Its errors are those over random shifts of the points, and 0 for n = 0 and n = 1, which are closed.
        """
        n = len(c)
        if n == 0:
            return Moments(0.0, np.zeros(0), np.zeros((0, 0)))
        if n == 1:
            root_h = math.sqrt(H[0, 0])
            a = float(c[0]) / root_h
            first, second = half_normal_moments(a)
            log_z = 0.5 * math.log(2 * math.pi) - math.log(root_h) + log_slab_mass(a)
            return Moments(log_z, np.array([first / root_h]), np.array([[second / root_h**2]]))
        with np.errstate(all="ignore"):  # nearly dependent atoms may give NaN, and the caller sees it
            return self._integrate(H, c)

    def _integrate(self, H: Array, c: Array) -> Moments:
        n = len(c)
        try:  # H = U U^T with U upper triangular, so that L L^T = H^-1: the inverse itself would lose twice the digits
            upper = np.linalg.cholesky(H[::-1, ::-1])[::-1, ::-1]
        except np.linalg.LinAlgError:
            return Moments(math.nan, np.full(n, math.nan), np.full((n, n), math.nan), (math.nan,) * 3)
        L = np.asarray(solve_triangular(upper, np.eye(n)).T)
        half = L.T @ c
        centre = L @ half
        mu = _tilt(L, centre)
        z = np.empty((n, self._log_points.shape[1]))
        log_ratio = np.zeros(self._log_points.shape[1])
        for k in range(n):  # t = centre + L z > 0 bounds z_k from below, given z_0 .. z_(k-1)
            low = (-centre[k] - L[k, :k] @ z[:k]) / L[k, k] - mu[k]
            log_tail = log_ndtr(-low)
            z[k] = mu[k] - ndtri_exp(self._log_points[k] + log_tail)
            log_ratio += log_tail + (0.5 * mu[k] - z[k]) * mu[k]
        top = log_ratio.max()
        weight = np.exp(log_ratio - top).reshape(_SHIFTS, -1)
        mass = weight.mean(1)
        points = (centre[:, None] + L @ z).reshape(n, _SHIFTS, -1)
        first, second = np.empty((_SHIFTS, n)), np.empty((_SHIFTS, n, n))
        for r in range(_SHIFTS):
            weighted = points[:, r] * (weight[r] / weight[r].sum())
            first[r] = weighted.sum(1)
            second[r] = weighted @ points[:, r].T
        log_normal = 0.5 * n * math.log(2 * math.pi) + np.log(np.diag(L)).sum() + 0.5 * half @ half
        share = mass / mass.sum()
        spreads = (v.std(0, ddof=1) for v in (mass / mass.mean(), first, np.einsum("rii->ri", second)))
        return Moments(
            float(log_normal + top + np.log(mass.mean())),
            share @ first,
            np.einsum("r,rij->ij", share, second),
            tuple(float(np.max(spread)) / math.sqrt(_SHIFTS) for spread in spreads),
        )


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
