r"""The sparse-coding model: dictionary, prior, noise level; energy and its gradient.

.. math::  x = A s + n, \qquad n \sim N(0, \sigma^2 I), \qquad
           E(u) = \frac{|x - A\,s(u)|^2}{2\sigma^2} + \sum_i c(u_i)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import (
    Array,
    as_generator,
    check_count,
    check_positive,
    is_finite,
    is_number,
    real_array,
    without_rounding,
)
from circuitlsc.io.shown import Shown
from circuitlsc.model.prior import Prior
from circuitlsc.model.smoothing import LOGISTIC, Smoothing


@dataclass(frozen=True, eq=False)
class SparseCodingModel(Shown):
    r"""Sparse-coding model x = A s + n with n ~ N(0, sigma^2 I) and an independent prior on each s_i.

    .. math:: E(u; x) = \frac{|x - A\,s(u)|^2}{2\sigma^2} + \sum_i c(u_i), \qquad p(u | x) \propto e^{-E/T}

    Fang et al. 2022, eq. (3.5), with the 1/sigma^2 that (3.9) drops.

    Parameters
    ----------
    A : array, shape (n_features, n_latents)
        Dictionary; column i is the atom of latent i. Dimensionless (data units per model unit).
    prior : Prior
        Prior of each latent: SpikeSlab, Laplace, Gaussian, Cauchy, SquareRoot, CustomPrior or a class of your own.
    sigma : float
        Standard deviation of the observation noise, in data units; > 0.

    Raises
    ------
    InputError
        If A is not a finite (n_features, n_latents) array without zero columns, or sigma is not positive.

    Examples
    --------
    >>> model = SparseCodingModel(bars(4), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> model
    SparseCodingModel(16 features, 8 latents, SpikeSlab(pi=0.3, lam=1.0, signed=False), sigma=0.5)
    >>> s, x = model.draw(1)
    >>> s.shape, x.shape
    ((8,), (16,))
    """

    A: Array
    prior: Prior
    sigma: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseCodingModel):
            return NotImplemented
        return self.sigma == other.sigma and self.prior == other.prior and np.array_equal(self.A, other.A)

    def __hash__(self) -> int:
        return hash((self.A.shape, self.A.tobytes(), self.prior, self.sigma))

    def __post_init__(self) -> None:
        A = real_array("A", self.A)
        if A.ndim != 2 or 0 in A.shape:
            raise InputError(
                f"A has shape {A.shape}, but a dictionary is (n_features, n_latents) with both >= 1. "
                "Pass one column per latent."
            )
        zero = np.flatnonzero(np.einsum("di,di->i", A, A) == 0)
        if len(zero):
            raise InputError(
                f"A[:, {zero[0]}] is a zero column ({len(zero)} in all): its latent would see no data and "
                "divide by zero. Remove the column."
            )
        if not isinstance(self.prior, Prior):
            raise InputError(
                f"prior = {self.prior!r} is not a prior. Pass SpikeSlab(pi, lam), Laplace(lam), Gaussian(sd), Cauchy(lam), "
                "SquareRoot(lam) or CustomPrior(cost)."
            )
        check_positive("SparseCodingModel", "sigma", self.sigma, "a noise level must be positive")
        largest = float(np.abs(A).max())
        if not (is_finite(largest) and is_finite(largest / self.sigma)):
            raise InputError(
                f"A has an entry of size {largest:.3g}, and sigma is {float(self.sigma):.3g}: A and A/sigma have no room for "
                "their squares. Measure x, A and sigma in another unit."
            )
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "sigma", float(self.sigma))  # a NumPy scalar would show in decks and messages

    def _line(self) -> str:
        return f"{self.n_features} features, {self.n_latents} latents, {self.prior!r}, sigma={self.sigma:.6g}"

    def _facts(self) -> Iterator[tuple[str, str]]:
        norms = np.sqrt(self.powers)
        unit = self.A / norms
        yield (
            "dictionary",
            f"{self.n_features} features, {self.n_latents} latents, norms {norms.min():.4g} .. {norms.max():.4g}",
        )
        if self.n_latents > 1:
            yield (
                "coherence",
                f"{np.abs(unit.T @ unit - np.eye(self.n_latents)).max():.3g}, the largest |cosine| of two atoms",
            )
        yield "prior", repr(self.prior)
        yield "sigma", f"{self.sigma:.6g}, of the noise in the data"

    @property
    def n_features(self) -> int:
        """D, the length of x."""
        return int(self.A.shape[0])

    @property
    def n_latents(self) -> int:
        """K, the length of s and u."""
        return int(self.A.shape[1])

    @property
    def gram(self) -> Array:
        """Lateral inhibition G = A^T A / sigma^2, shape (K, K); 0 where atoms are orthogonal up to rounding."""
        A = self.connections
        return without_rounding(A.T @ A, self.n_features * (np.abs(A.T) @ np.abs(A))) / self.variance

    @property
    def variance(self) -> float:
        """sigma^2, in data units squared."""
        return self.sigma**2

    @property
    def powers(self) -> Array:
        """Squared norms of the atoms, abs(a_i)^2, shape (K,)."""
        return np.asarray(np.einsum("di,di->i", self.A, self.A))

    @property
    def rate(self) -> float:
        """The likelihood's fastest rate, the largest eigenvalue of A^T A / sigma^2, in 1/tau."""
        return float(np.linalg.norm(self.A, 2)) ** 2 / self.variance

    @property
    def connections(self) -> Array:
        """A as a circuit has it, shape (D, K): an entry that is rounding noise of its atom's norm connects nothing."""
        return without_rounding(self.A, self.n_features * np.linalg.norm(self.A, axis=0))

    def drive(self, x: ArrayLike) -> Array:
        """Return the feed-forward drive b = A^T x / sigma^2, shape (K,)."""
        return np.asarray(self.A.T @ self.check_x(x) / self.variance)

    def drives(self, X: ArrayLike) -> Array:
        """Return the drives of many observations (n_rows, n_features), shape (n_rows, K)."""
        return np.asarray(self.check_rows(X) @ self.A / self.variance)

    def check_x(self, x: ArrayLike) -> Array:
        """Return x as a finite float array of shape (n_features,), or raise InputError."""
        x = real_array("x", x)
        if x.shape != (self.n_features,):
            raise InputError(
                f"x has shape {x.shape}, but the dictionary A has n_features = {self.n_features}. "
                f"Pass x with shape ({self.n_features},)."
            )
        return x

    def _check_u(self, u: ArrayLike, width: float) -> Array:
        """Return states as a float array of shape (..., n_latents), or raise InputError."""
        u = np.asarray(u)
        if u.dtype.kind not in "biuf" or u.shape[-1:] != (self.n_latents,):
            raise InputError(
                f"u has shape {u.shape} and dtype {u.dtype}, but a state has n_latents = {self.n_latents} real numbers. "
                f"Pass u with shape (..., {self.n_latents})."
            )
        if not is_number(width) or not 0 <= width < math.inf:
            raise InputError(f"width = {width!r} is no comparator's width in model units. Give a finite number >= 0.")
        return np.asarray(u, dtype=float)

    def latent(self, u: ArrayLike, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return s(u), elementwise; shape of u, in model units."""
        return self.prior.latent(np.asarray(u, dtype=float), width, smoothing)

    def active(self, u: ArrayLike) -> NDArray[np.bool_]:
        """Return which latents are active, ``abs(u) > u0`` (always true for a prior without a spike)."""
        u = np.asarray(u, dtype=float)
        return np.abs(u) > self.prior.threshold if self.prior.sparse else np.ones(u.shape, bool)

    def energy(self, u: ArrayLike, x: ArrayLike, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return E(u; x), dimensionless.

        Parameters
        ----------
        u : array, shape (..., n_latents)
            Auxiliary variables, in model units.
        x : array, shape (n_features,)
            Observation, in data units.
        width : float
            Comparator width w in model units; 0 is the ideal energy.
        smoothing : Smoothing
            What a comparator makes of a corner: `circuitlsc.model.smoothing`.

        Returns
        -------
        array, shape (...)
        """
        u = self._check_u(u, width)
        r = self.prior.latent(u, width, smoothing) @ self.A.T - self.check_x(x)
        return np.asarray(np.sum(r**2, -1) / (2 * self.variance) + np.sum(self.prior.cost(u, width, smoothing), -1))

    def energy_grad(self, u: ArrayLike, x: ArrayLike, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        r"""Return the gradient of `energy` in u.

        .. math:: \partial_i E = s'(u_i)\,(A^T(A s - x))_i / \sigma^2 + c'(u_i)

        Parameters and units as for `energy`; shape (..., n_latents). At ``width = 0`` it is the one-sided value at the
        kinks (u = 0 and abs(u) = u0), a set that noise never rests on.
        """
        u = self._check_u(u, width)
        r = self.prior.latent(u, width, smoothing) @ self.A.T - self.check_x(x)
        return np.asarray(
            self.prior.latent_grad(u, width, smoothing) * (r @ self.A) / self.variance
            + self.prior.cost_grad(u, width, smoothing)
        )

    def log_density(
        self,
        u: ArrayLike,
        x: ArrayLike,
        *,
        temperature: float = 1.0,
        width: float = 0.0,
        smoothing: Smoothing = LOGISTIC,
    ) -> Array:
        """Return log p(u | x) up to a constant, -E/T; shape (...)."""
        check_positive("log_density", "temperature", temperature, "a temperature must be positive")
        return -self.energy(u, x, width, smoothing) / temperature

    def log_density_grad(
        self,
        u: ArrayLike,
        x: ArrayLike,
        *,
        temperature: float = 1.0,
        width: float = 0.0,
        smoothing: Smoothing = LOGISTIC,
    ) -> Array:
        """Return the gradient of `log_density` in u; shape (..., n_latents)."""
        check_positive("log_density_grad", "temperature", temperature, "a temperature must be positive")
        return -self.energy_grad(u, x, width, smoothing) / temperature

    def tempered(self, temperature: float) -> SparseCodingModel:
        """Return the model whose posterior is exp(-E/T): pi**(1/T), lam/T, sigma sqrt(T)."""
        check_positive("tempered", "temperature", temperature, "a temperature must be positive")
        return SparseCodingModel(self.A, self.prior.tempered(temperature), self.sigma * math.sqrt(temperature))

    def without_spike(self) -> SparseCodingModel:
        """Return the model with the slab alone: DSC and LCA always have the L1 prior (Fang et al. 2022, section 2.2)."""
        prior = self.prior.without_spike()
        return self if prior is self.prior else SparseCodingModel(self.A, prior, self.sigma)

    def check_rows(self, x: ArrayLike) -> Array:
        """Return many observations as a finite float array of shape (n_rows, n_features), or raise InputError."""
        x = real_array("x", x)
        if x.ndim != 2 or x.shape[1] != self.n_features or len(x) == 0:
            raise InputError(
                f"x has shape {x.shape}, but many observations are rows of n_features = {self.n_features} values. "
                f"Pass x with shape (n_rows, {self.n_features})."
            )
        return x

    def draw(self, rng: np.random.Generator | int, n: int | None = None) -> tuple[Array, Array]:
        """Draw codes s from the prior, and inputs x = A s + noise.

        Parameters
        ----------
        rng : numpy.random.Generator or int
            Or the seed of one.
        n : int or None
            How many; None draws one, without a dimension for it.

        Returns
        -------
        s : array, shape (n_latents,) or (n, n_latents)
            In model units.
        x : array, shape (n_features,) or (n, n_features)
            In data units.

        Raises
        ------
        InputError
            If rng is neither, or n is no whole number >= 1.
        """
        rng = as_generator("draw: rng", rng)
        rows = () if n is None else (check_count("draw: n", n, 1, " is not a number of inputs"),)
        s = self.prior.draw((*rows, self.n_latents), rng)
        clean = self.A @ s if n is None else s @ self.A.T  # equal but for the order of sums
        return s, np.asarray(clean + self.sigma * rng.standard_normal((*rows, self.n_features)))


def check_model(model: SparseCodingModel) -> None:
    """Raise InputError unless it is one."""
    if not isinstance(model, SparseCodingModel):
        raise InputError(f"model is a {type(model).__name__}. Give a SparseCodingModel(A, prior, sigma).")
