r"""The sparse-coding model: dictionary, prior, noise level; energy and its gradient.

.. math::  x = A s + n, \qquad n \sim N(0, \sigma^2 I), \qquad
           E(u) = \frac{|x - A\,s(u)|^2}{2\sigma^2} + \sum_i c(u_i)

The circuit's state is the auxiliary variable ``u``; the code is ``s = s(u)`` (Fang et al. 2022, section 3.1).
Every prior here is a small object with four functions of ``u`` (`latent`, `latent_grad`, `cost`, `cost_grad`), each
in an ideal form (``width = 0``) and in the smooth form that a comparator of finite gain realises (``width > 0``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError

Array = NDArray[np.float64]


def smooth_abs(u: Array, width: float) -> Array:
    r"""Return :math:`a_w(u) = w \log(2\cosh(u/w))`, the absolute value through a comparator of input width w."""
    if width == 0:
        return np.abs(u)
    return np.asarray(np.logaddexp(u / width, -u / width) * width)


def smooth_sign(u: Array, width: float) -> Array:
    r"""Return :math:`a_w'(u) = \tanh(u/w)`."""
    return np.sign(u) if width == 0 else np.tanh(u / width)


def softplus(v: Array, width: float) -> Array:
    r"""Return :math:`w \log(1 + e^{v/w})`, a rectifier through a comparator of input width w."""
    return np.maximum(v, 0.0) if width == 0 else np.logaddexp(0.0, v / width) * width


def logistic(v: Array, width: float) -> Array:
    r"""Return :math:`1/(1 + e^{-v/w})`, the derivative of `softplus`."""
    if width == 0:
        return np.where(v > 0, 1.0, 0.0)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * v / width)))


class Prior(Protocol):
    """What the model, the circuit and the references need of a prior; all functions act elementwise on ``u``."""

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        ...

    @property
    def signed(self) -> bool:
        """Whether the code may be negative."""
        ...

    @property
    def threshold(self) -> float:
        """The threshold u0: a latent is active where ``abs(u) > u0`` (0 if it is always active)."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether a code can be exactly zero."""
        ...

    @property
    def slab_scale(self) -> float:
        """The size of a typical active coefficient, in model units."""
        ...

    def latent(self, u: Array, width: float = 0.0) -> Array:
        """Return s(u)."""
        ...

    def latent_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return ds/du, the gate on the likelihood's force."""
        ...

    def cost(self, u: Array, width: float = 0.0) -> Array:
        """Return c(u), the prior's part of the energy."""
        ...

    def cost_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return dc/du."""
        ...

    def tempered(self, temperature: float) -> Prior:
        """Return the prior of exp(-E/T)."""
        ...

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw codes from the prior."""
        ...

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        ...


def _positive(owner: str, name: str, value: float, why: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise InputError(f"{owner}: {name} = {value!r} is not a number. Give a finite number > 0.")
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"{owner}: {name} = {value!r}, but {why}. Give a finite number > 0.")


@dataclass(frozen=True)
class SpikeSlab:
    r"""Spike-and-slab prior: a latent is active with probability pi, its size then exponential with rate lam.

    .. math:: s = f(|u|),\quad f(v) = \max(v - u_0, 0),\quad u_0 = -\log(\pi)/\lambda,\quad c(u) = \lambda |u|

    Fang et al. 2022, section 3.1. With ``signed=True`` the slab is Laplace and ``s`` is the soft threshold of ``u``.
    The smooth form is ``f_w(a_w(u))`` (and not ``f_w(abs(u))``, which is no gradient as u0 -> 0).

    Parameters
    ----------
    pi : float
        P(s != 0), in (0, 1].
    lam : float
        Rate of the slab, in 1/(model unit); > 0.
    signed : bool
        Whether codes may be negative.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    pi: float
    lam: float
    signed: bool = False

    def __post_init__(self) -> None:
        _positive("SpikeSlab", "lam", self.lam, "the slab's rate must be positive")
        _positive("SpikeSlab", "pi", self.pi, "P(active) must lie in (0, 1]")
        if self.pi > 1:
            raise InputError(f"SpikeSlab: pi = {self.pi!r}, but P(active) must lie in (0, 1]. Give 0 < pi <= 1.")

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        return "spike-slab"

    @property
    def threshold(self) -> float:
        """The threshold u0 = -log(pi)/lam, in model units."""
        return -math.log(self.pi) / self.lam

    @property
    def sparse(self) -> bool:
        """Whether a code can be exactly zero."""
        return self.pi < 1

    @property
    def slab_scale(self) -> float:
        """Mean size of an active coefficient, 1/lam."""
        return 1.0 / self.lam

    def latent(self, u: Array, width: float = 0.0) -> Array:
        """Return s(u), in model units."""
        u = np.asarray(u, dtype=float)
        if self.signed:
            return softplus(u - self.threshold, width) - softplus(-u - self.threshold, width)
        size = smooth_abs(u, width)
        return softplus(size - self.threshold, width) if self.sparse else size

    def latent_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return ds/du: the comparator's output, times the sign of u if s >= 0."""
        u = np.asarray(u, dtype=float)
        if self.signed:
            if not self.sparse:
                return np.ones_like(u)
            return logistic(u - self.threshold, width) + logistic(-u - self.threshold, width)
        sign = smooth_sign(u, width)
        return sign * logistic(smooth_abs(u, width) - self.threshold, width) if self.sparse else sign

    def cost(self, u: Array, width: float = 0.0) -> Array:
        """Return lam a_w(u)."""
        return self.lam * smooth_abs(np.asarray(u, dtype=float), width)

    def cost_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return lam tanh(u/w)."""
        return self.lam * smooth_sign(np.asarray(u, dtype=float), width)

    def tempered(self, temperature: float) -> SpikeSlab:
        """Return the prior of exp(-E/T): lam/T with the same u0, hence pi**(1/T)."""
        return replace(self, pi=self.pi ** (1.0 / temperature), lam=self.lam / temperature)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw codes from the prior."""
        s = rng.exponential(1.0 / self.lam, shape) * (rng.random(shape) < self.pi)
        return s * rng.choice([-1.0, 1.0], shape) if self.signed else s

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"pi": float(self.pi), "lam": float(self.lam), "u0": self.threshold}


@dataclass(frozen=True)
class Laplace:
    r"""Laplace prior (two-sided by default; ``signed=False`` makes it exponential, s >= 0): c(u) = lam |u|.

    It is the spike-and-slab prior at pi = 1, and shares all of its cells: s = u if signed, s = |u| if not.

    Parameters
    ----------
    lam : float
        Rate, in 1/(model unit); > 0.
    signed : bool
        Whether codes may be negative.
    """

    lam: float
    signed: bool = True

    def __post_init__(self) -> None:
        _positive("Laplace", "lam", self.lam, "the rate must be positive")

    @property
    def _slab(self) -> SpikeSlab:
        return SpikeSlab(1.0, self.lam, self.signed)

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        return "laplace"

    @property
    def threshold(self) -> float:
        """0: a latent is always active."""
        return 0.0

    @property
    def sparse(self) -> bool:
        """A code is never exactly zero."""
        return False

    @property
    def slab_scale(self) -> float:
        """Mean size of a coefficient, 1/lam."""
        return 1.0 / self.lam

    def latent(self, u: Array, width: float = 0.0) -> Array:
        """Return s(u), in model units."""
        return self._slab.latent(u, width)

    def latent_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return ds/du."""
        return self._slab.latent_grad(u, width)

    def cost(self, u: Array, width: float = 0.0) -> Array:
        """Return lam a_w(u)."""
        return self._slab.cost(u, width)

    def cost_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return lam tanh(u/w)."""
        return self._slab.cost_grad(u, width)

    def tempered(self, temperature: float) -> Laplace:
        """Return the prior of exp(-E/T)."""
        return replace(self, lam=self.lam / temperature)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw codes from the prior."""
        return self._slab.draw(shape, rng)

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"lam": float(self.lam)}


@dataclass(frozen=True)
class Gaussian:
    r"""Gaussian prior, s = u and :math:`c(u) = u^2 / (2\,\mathrm{sd}^2)`: linear cells, and a closed form.

    Parameters
    ----------
    sd : float
        Prior standard deviation, in model units; > 0.
    """

    sd: float

    def __post_init__(self) -> None:
        _positive("Gaussian", "sd", self.sd, "a standard deviation must be positive")

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        return "gaussian"

    @property
    def signed(self) -> bool:
        """Codes may be negative."""
        return True

    @property
    def threshold(self) -> float:
        """0: a latent is always active."""
        return 0.0

    @property
    def sparse(self) -> bool:
        """A code is never exactly zero."""
        return False

    @property
    def slab_scale(self) -> float:
        """The prior's standard deviation."""
        return float(self.sd)

    def latent(self, u: Array, width: float = 0.0) -> Array:
        """Return s = u."""
        return np.asarray(u, dtype=float)

    def latent_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return 1."""
        return np.ones_like(np.asarray(u, dtype=float))

    def cost(self, u: Array, width: float = 0.0) -> Array:
        """Return u^2 / (2 sd^2)."""
        return np.asarray(u, dtype=float) ** 2 / (2 * self.sd**2)

    def cost_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return u / sd^2."""
        return np.asarray(u, dtype=float) / self.sd**2

    def tempered(self, temperature: float) -> Gaussian:
        """Return the prior of exp(-E/T)."""
        return replace(self, sd=self.sd * math.sqrt(temperature))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw codes from the prior."""
        return self.sd * rng.standard_normal(shape)

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"sd": float(self.sd)}


def real_array(name: str, value: ArrayLike) -> Array:
    """Return a read-only float copy of an array, or raise InputError if an entry is not a finite real number."""
    try:
        raw = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is ragged: its rows differ in length. Pass a rectangular array.") from None
    if raw.dtype == object or not (np.issubdtype(raw.dtype, np.number) or raw.dtype == bool):
        raise InputError(f"{name} has dtype {raw.dtype}, but real numbers are needed. Pass an array of floats.")
    if np.iscomplexobj(raw):
        raise InputError(f"{name} is complex, but the model is real. Pass an array of real numbers.")
    array = np.array(raw, dtype=float)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(str(int(k)) for k in bad[0])
        raise InputError(
            f"{name}[{where}] = {array[tuple(bad[0])]}, but every entry must be finite ({len(bad)} are not). "
            "Remove NaN and inf first."
        )
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class SparseCodingModel:
    r"""Sparse-coding model x = A s + n with n ~ N(0, sigma^2 I) and an independent prior on each s_i.

    .. math:: E(u; x) = \frac{|x - A\,s(u)|^2}{2\sigma^2} + \sum_i c(u_i), \qquad p(u | x) \propto e^{-E/T}

    Fang et al. 2022, eq. (3.5), with the 1/sigma^2 that (3.9) drops.

    Parameters
    ----------
    A : array, shape (n_features, n_latents)
        Dictionary; column i is the atom of latent i. Dimensionless (data units per model unit).
    prior : SpikeSlab, Laplace or Gaussian
        Prior of each latent.
    sigma : float
        Standard deviation of the observation noise, in data units; > 0.

    Raises
    ------
    InputError
        If A is not a finite (n_features, n_latents) array without zero columns, or sigma is not positive.
    """

    A: Array
    prior: Prior
    sigma: float

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
        for name in ("latent", "latent_grad", "cost", "cost_grad", "threshold"):
            if not hasattr(self.prior, name):
                raise InputError(
                    f"prior = {self.prior!r} is not a prior. Pass SpikeSlab(pi, lam), Laplace(lam) or Gaussian(sd)."
                )
        _positive("SparseCodingModel", "sigma", self.sigma, "a noise level must be positive")
        object.__setattr__(self, "A", A)

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
        """Lateral inhibition G = A^T A / sigma^2, shape (K, K)."""
        return np.asarray(self.A.T @ self.A / self.sigma**2)

    def drive(self, x: ArrayLike) -> Array:
        """Return the feed-forward drive b = A^T x / sigma^2, shape (K,)."""
        return np.asarray(self.A.T @ self.check_x(x) / self.sigma**2)

    def check_x(self, x: ArrayLike) -> Array:
        """Return x as a finite float array of shape (n_features,), or raise InputError."""
        x = real_array("x", x)
        if x.shape != (self.n_features,):
            raise InputError(
                f"x has shape {x.shape}, but the dictionary A has n_features = {self.n_features}. "
                f"Pass x with shape ({self.n_features},)."
            )
        return x

    def latent(self, u: ArrayLike, width: float = 0.0) -> Array:
        """Return s(u), elementwise; shape of u, in model units."""
        return self.prior.latent(np.asarray(u, dtype=float), width)

    def active(self, u: ArrayLike) -> NDArray[np.bool_]:
        """Return which latents are active, ``abs(u) > u0`` (always true for a prior without a spike)."""
        u = np.asarray(u, dtype=float)
        return np.abs(u) > self.prior.threshold if self.prior.sparse else np.ones(u.shape, bool)

    def energy(self, u: ArrayLike, x: ArrayLike, width: float = 0.0) -> Array:
        """Return E(u; x), dimensionless.

        Parameters
        ----------
        u : array, shape (..., n_latents)
            Auxiliary variables, in model units.
        x : array, shape (n_features,)
            Observation, in data units.
        width : float
            Comparator width w in model units; 0 is the ideal energy.

        Returns
        -------
        array, shape (...)
        """
        u = np.asarray(u, dtype=float)
        r = self.prior.latent(u, width) @ self.A.T - self.check_x(x)
        return np.asarray(np.sum(r**2, -1) / (2 * self.sigma**2) + np.sum(self.prior.cost(u, width), -1))

    def energy_grad(self, u: ArrayLike, x: ArrayLike, width: float = 0.0) -> Array:
        r"""Return the gradient of `energy` in u.

        .. math:: \partial_i E = s'(u_i)\,(A^T(A s - x))_i / \sigma^2 + c'(u_i)

        Parameters and units as for `energy`; shape (..., n_latents). At ``width = 0`` it is the one-sided value at the
        kinks (u = 0 and abs(u) = u0), a set that noise never rests on.
        """
        u = np.asarray(u, dtype=float)
        r = self.prior.latent(u, width) @ self.A.T - self.check_x(x)
        return np.asarray(
            self.prior.latent_grad(u, width) * (r @ self.A) / self.sigma**2 + self.prior.cost_grad(u, width)
        )

    def log_density(self, u: ArrayLike, x: ArrayLike, *, temperature: float = 1.0, width: float = 0.0) -> Array:
        """Return log p(u | x) up to a constant, -E/T; shape (...)."""
        return -self.energy(u, x, width) / temperature

    def log_density_grad(self, u: ArrayLike, x: ArrayLike, *, temperature: float = 1.0, width: float = 0.0) -> Array:
        """Return the gradient of `log_density` in u; shape (..., n_latents)."""
        return -self.energy_grad(u, x, width) / temperature

    def tempered(self, temperature: float) -> SparseCodingModel:
        """Return the model whose posterior is exp(-E/T): pi**(1/T), lam/T, sigma sqrt(T)."""
        _positive("tempered", "temperature", temperature, "a temperature must be positive")
        return SparseCodingModel(self.A, self.prior.tempered(temperature), self.sigma * math.sqrt(temperature))

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw (s, x) from the model: s (n_latents,) from the prior, x (n_features,) = A s + noise."""
        s = self.prior.draw((self.n_latents,), rng)
        return s, np.asarray(self.A @ s + self.sigma * rng.standard_normal(self.n_features))
