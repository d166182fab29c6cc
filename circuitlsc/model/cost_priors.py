"""Priors given by a smooth cost: p(s) ~ exp(-C(s)), with any C that a table can hold."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, replace

import numpy as np
from scipy.special import stdtrit

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator
from circuitlsc.io.declared import quantity
from circuitlsc.model.prior import FAR, Prior

SMOOTHING = 0.05  # of the scale 1/lam^2: as sharp as comparators are wide; the step shrinks with its power 1.5


@dataclass(frozen=True)
class Cauchy(Prior):
    r"""Heavy-tailed prior C(s) = lam log(1 + (s/a)^2) with scale a: a Student t, s = a t_nu / sqrt(nu).

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

    Examples
    --------
    >>> Cauchy(lam=2.0, scale=0.5).cost(np.array([0.5])).round(3)  # lam log(2)
    array([1.386])
    """

    kind = "cauchy"

    lam: float = quantity(MISSING, "1", "the exponent of a density with a finite integral", low=0.5, above=True)
    scale: float = quantity(1.0, "model unit", "a scale", above=True)
    signed: bool = True

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


@dataclass(frozen=True)
class SquareRoot(Prior):
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

    Examples
    --------
    >>> SquareRoot(lam=2.0).epsilon  # 0.05/lam^2
    0.0125
    """

    kind = "square-root"

    lam: float = quantity(MISSING, "(model unit)^(-1/2)", "a rate", above=True)
    epsilon: float = quantity(None, "model unit", "the smoothing of a slope that is infinite at 0", above=True)
    signed: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "epsilon", self.epsilon or SMOOTHING / self.lam**2)

    @property
    def slab_scale(self) -> float:
        """Where the cost has risen by 1: sqrt((1/lam + sqrt(epsilon))^4 - epsilon^2)."""
        a, b = 1.0 / self.lam, math.sqrt(self.epsilon)
        return math.sqrt(a * (a + 2 * b) * ((a + b) ** 2 + b**2))  # the same without a difference of large numbers

    @property
    def curvature(self) -> float:
        """The force's slope at s = 0, lam / (2 epsilon^1.5)."""
        return self.lam / (2.0 * self.epsilon * math.sqrt(self.epsilon))

    def code_cost(self, s: Array) -> Array:
        """Return lam ((s^2 + epsilon^2)^(1/4) - epsilon^(1/2))."""
        return np.asarray(self.lam * (np.sqrt(np.hypot(s, self.epsilon)) - math.sqrt(self.epsilon)))

    def code_cost_grad(self, s: Array) -> Array:
        """Return lam s / (2 (s^2 + epsilon^2)^(3/4))."""
        return np.asarray(0.5 * self.lam * s / np.hypot(s, self.epsilon) ** 1.5)

    def tempered(self, temperature: float) -> SquareRoot:
        """Return the prior of exp(-E/T): lam/T with the same epsilon."""
        return replace(self, lam=self.lam / temperature)
