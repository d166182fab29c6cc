r"""Priors given by a smooth cost: p(s) ~ exp(-C(s)), with any C that a table can hold.

Signed codes are the state itself, :math:`s = u`; nonnegative ones are its smooth absolute value, and the cost goes through
it, so that the drift stays a gradient:

.. math:: s = a_w(u),\quad c(u) = C(a_w(u)),\quad c'(u) = C'(a_w(u)) \tanh(u/w)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator, check_flag, check_positive
from circuitlsc.model.prior import PriorCells, smooth_abs, smooth_sign
from circuitlsc.model.prior_tables import cost_cells

FAR = 1e12  # times slab_scale: where tables of a heavy tail end
NOTHING = 40.0  # a cost so far above its least: exp(-40) of the density is left
SMOOTHING = 0.05  # of the scale 1/lam^2: as sharp as comparators are wide; the step shrinks with its power 1.5


class CostPrior(ABC):
    """What priors with a smooth cost share; all functions act elementwise on ``u``, in model units."""

    signed: bool

    @property
    @abstractmethod
    def kind(self) -> str:
        """The word that names the prior in a config file."""

    @property
    @abstractmethod
    def slab_scale(self) -> float:
        """The distance over which the cost rises by 1 from its least: as 1/lam for a Laplace prior."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """The largest abs(C''(s)), in 1/(model unit)^2."""

    @abstractmethod
    def code_cost(self, s: Array) -> Array:
        """Return C(s) of codes s (s >= 0 unless signed)."""

    @abstractmethod
    def code_cost_grad(self, s: Array) -> Array:
        """Return C'(s)."""

    @abstractmethod
    def tempered(self, temperature: float) -> CostPrior:
        """Return the prior of exp(-E/T)."""

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""

    @property
    def extent(self) -> float:
        """Up to which abs(s) the circuit's tables must reach, whatever the data."""
        return 0.0

    @property
    def symmetric(self) -> bool:
        """Whether C(-s) = C(s)."""
        return True

    @property
    def least_cost(self) -> float:
        """The least C(s)."""
        return 0.0

    @property
    def threshold(self) -> float:
        """0: a latent is always active."""
        return 0.0

    @property
    def sparse(self) -> bool:
        """A code is never exactly zero."""
        return False

    def latent(self, u: Array, width: float = 0.0) -> Array:
        """Return s(u): u, or a_w(u) if nonnegative."""
        u = np.asarray(u, dtype=float)
        return u if self.signed else smooth_abs(u, width)

    def latent_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return ds/du: 1, or tanh(u/w)."""
        u = np.asarray(u, dtype=float)
        return np.ones_like(u) if self.signed else smooth_sign(u, width)

    def cost(self, u: Array, width: float = 0.0) -> Array:
        """Return c(u) = C(s(u))."""
        return self.code_cost(self.latent(u, width))

    def cost_grad(self, u: Array, width: float = 0.0) -> Array:
        """Return c'(u) = C'(s(u)) ds/du."""
        return self.code_cost_grad(self.latent(u, width)) * self.latent_grad(u, width)

    def cells(self, width: float, reach: float) -> PriorCells:
        """Return a table of c'(u) for abs(u) <= reach, and comparators of input width w if nonnegative."""
        return cost_cells(self, width, max(reach, self.extent), symmetric=self.symmetric or not self.signed)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior, by its distribution function (a table, good to 1e-5)."""
        rng = as_generator("draw: rng", rng)
        s, below = self._distribution
        return np.asarray(np.interp(rng.random(shape), below, s))

    def exceeded(self, probability: float) -> float:
        """Return the abs(s) that the prior exceeds with the given probability, in model units."""
        s, below = self._distribution
        above = float(np.interp(1 - probability / 2 if self.signed else 1 - probability, below, s))
        return max(above, -float(np.interp(probability / 2, below, s))) if self.signed else above

    @cached_property
    def _distribution(self) -> tuple[Array, Array]:
        """Codes on a fine grid, denser around 0, and P(below)."""
        far = self.slab_scale
        least = float(np.min(self.code_cost(np.linspace(-far if self.signed else 0.0, far, 2001))))
        ends = (-1.0, 1.0) if self.signed else (1.0,)
        while far < FAR * self.slab_scale and any(
            float(self.code_cost(np.array([end * far]))[0]) < least + NOTHING for end in ends
        ):
            far *= 2
        fine = self.slab_scale / 50
        t = np.linspace(0, np.arcsinh(max(far, self.extent) / fine), 20_001)
        s = fine * np.sinh(t)
        if self.signed:
            s = np.concatenate([-s[:0:-1], s])
        cost = self.code_cost(s)
        density = np.exp(cost.min() - cost)
        below = np.concatenate([[0.0], np.cumsum(np.diff(s) * (density[1:] + density[:-1]))])
        return s, below / below[-1]


@dataclass(frozen=True)
class Cauchy(CostPrior):
    r"""Heavy-tailed prior :math:`C(s) = \lambda\log(1 + (s/a)^2)` with scale a: a Student t, s = a t_nu / sqrt(nu).

    .. math:: p(s) \propto (1 + (s/a)^2)^{-\lambda}, \qquad \nu = 2\lambda - 1

    lam = 1 is the Cauchy distribution; its variance is finite from lam > 1.5.

    Parameters
    ----------
    lam : float
        Exponent, dimensionless; > 0.5.
    scale : float
        a, in model units; > 0.
    signed : bool
        Whether codes may be negative.

    Raises
    ------
    InputError
        If a parameter is out of range: with lam <= 0.5 the density has no finite integral.
    """

    lam: float
    scale: float = 1.0
    signed: bool = True

    def __post_init__(self) -> None:
        check_positive("Cauchy", "lam", self.lam, "the exponent must be positive")
        check_positive("Cauchy", "scale", self.scale, "a scale must be positive")
        if self.lam <= 0.5:
            raise InputError(
                f"Cauchy: lam = {self.lam!r}, but (1 + s^2)^-lam has a finite integral for lam > 0.5 only: the prior would be "
                "improper. Give lam > 0.5 (1 is the Cauchy distribution)."
            )
        object.__setattr__(self, "signed", check_flag("Cauchy: signed", self.signed))
        object.__setattr__(self, "lam", float(self.lam))
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        return "cauchy"

    @property
    def slab_scale(self) -> float:
        """Where the cost has risen by 1: scale sqrt(exp(1/lam) - 1)."""
        return self.scale * math.sqrt(math.expm1(1.0 / self.lam))

    @property
    def curvature(self) -> float:
        """2 lam / scale^2, at s = 0."""
        return 2.0 * self.lam / self.scale**2

    def code_cost(self, s: Array) -> Array:
        """Return lam log(1 + (s/scale)^2)."""
        return np.asarray(self.lam * np.log1p((s / self.scale) ** 2))

    def code_cost_grad(self, s: Array) -> Array:
        """Return 2 lam s / (scale^2 + s^2)."""
        return np.asarray(2 * self.lam * s / (self.scale**2 + s**2))

    def tempered(self, temperature: float) -> Cauchy:
        """Return the prior of exp(-E/T): lam/T, refused if that is improper."""
        if self.lam / temperature <= 0.5:
            raise InputError(
                f"Cauchy: lam = {self.lam!r} at temperature {temperature!r} is lam/T = {self.lam / temperature:.4g}, but the "
                f"density has a finite integral for lam/T > 0.5 only. Give a temperature < {2 * self.lam:g}."
            )
        return replace(self, lam=self.lam / temperature)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        rng = as_generator("draw: rng", rng)
        freedom = 2 * self.lam - 1
        s = self.scale / math.sqrt(freedom) * rng.standard_t(freedom, shape)
        return s if self.signed else np.abs(s)

    def exceeded(self, probability: float) -> float:
        """Return the abs(s) that the prior exceeds with the given probability, in model units; 1e12 scales at most."""
        freedom = 2 * self.lam - 1
        return float(self.scale * min(-stdtrit(freedom, probability / 2) / math.sqrt(freedom), FAR))

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"lam": self.lam, "scale": self.scale}


@dataclass(frozen=True)
class SquareRoot(CostPrior):
    r"""The cost sqrt(abs(s)), smoothed at a scale epsilon: a tighter peak and a heavier tail than Laplace's.

    .. math:: C(s) = \lambda\left[(s^2 + \epsilon^2)^{1/4} - \epsilon^{1/2}\right]

    Parameters
    ----------
    lam : float
        Rate, in 1/(model unit)^(1/2); > 0.
    epsilon : float or None
        Smoothing, in model units; > 0. None takes 0.05/lam^2, a twentieth of the scale of abs(s): the circuit resolves no
        less, and the force's steepest slope, lam/(2 epsilon^1.5), sets the step. It is 0.05/lam^2 from then on.
    signed : bool
        Whether codes may be negative.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    lam: float
    epsilon: float | None = None
    signed: bool = True

    def __post_init__(self) -> None:
        check_positive("SquareRoot", "lam", self.lam, "the rate must be positive")
        if self.epsilon is not None:
            check_positive("SquareRoot", "epsilon", self.epsilon, "the slope of sqrt(abs(s)) is infinite at 0")
        object.__setattr__(self, "signed", check_flag("SquareRoot: signed", self.signed))
        object.__setattr__(self, "lam", float(self.lam))
        object.__setattr__(self, "epsilon", SMOOTHING / self.lam**2 if self.epsilon is None else float(self.epsilon))

    @property
    def kind(self) -> str:
        """The word that names the prior in a config file."""
        return "square-root"

    @property
    def _epsilon(self) -> float:
        assert self.epsilon is not None  # set by the constructor
        return self.epsilon

    @property
    def slab_scale(self) -> float:
        """Where the cost has risen by 1: sqrt((1/lam + sqrt(epsilon))^4 - epsilon^2)."""
        a, b = 1.0 / self.lam, math.sqrt(self._epsilon)
        return math.sqrt(a * (a + 2 * b) * ((a + b) ** 2 + b**2))  # the same without a difference of large numbers

    @property
    def curvature(self) -> float:
        """The force's slope at s = 0, lam / (2 epsilon^1.5)."""
        return self.lam / (2.0 * self._epsilon * math.sqrt(self._epsilon))

    def code_cost(self, s: Array) -> Array:
        """Return lam ((s^2 + epsilon^2)^(1/4) - epsilon^(1/2))."""
        return np.asarray(self.lam * (np.sqrt(np.hypot(s, self._epsilon)) - math.sqrt(self._epsilon)))

    def code_cost_grad(self, s: Array) -> Array:
        """Return lam s / (2 (s^2 + epsilon^2)^(3/4))."""
        return np.asarray(0.5 * self.lam * s / np.hypot(s, self._epsilon) ** 1.5)

    def tempered(self, temperature: float) -> SquareRoot:
        """Return the prior of exp(-E/T): lam/T with the same epsilon."""
        return replace(self, lam=self.lam / temperature)

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"lam": self.lam, "epsilon": self._epsilon}
