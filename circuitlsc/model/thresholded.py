r"""Thresholded laws: noise that is cut, shifted and scaled; exactly a spike and a slab, with closed forms.

.. math:: s = \begin{cases} 0 & |n| \le a \\ \mu + b\, \mathrm{sign}(n)\, (|n| - a) & \text{else} \end{cases}

n is noise of scale 1, a a threshold in units of it, b the scale and mu the shift in model units. Laplace noise has no memory of
its threshold (written kappa), and the law is :math:`(1 - g)\,\delta_0 + g\, \mathrm{Laplace}(\mu, b)` with
:math:`g = e^{-\kappa}`, whatever mu and b are. Densities are against :math:`\delta_0` + Lebesgue. A rectified law is that of
max(s, 0). Fallah & Rozell 2022, "Variational Sparse Coding with Learned Thresholding"; the closed forms, the rectified laws and
the Kullback-Leibler divergence of the law itself are not in the paper.

Everything follows from partial moments of what is above the threshold, one side at a time, in units of the scale:

.. math:: J_i(m) = E[(n - a - m)^i;\; n > a + m], \qquad i = 0, 1, 2
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, log_ndtr, ndtr, rel_entr

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import HUGE, TINY, Array, as_generator, check_count, check_flag, check_number, real_array

_FAR = 1e3  # scales: from there on nothing is left of a tail, and its product with the distance is 0 and not NaN
_STEEP = 4.0  # a normal threshold from which its hazard's continued fraction is used: differences would lose digits
_TERMS = 60
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class Slopes(NamedTuple):
    """Derivatives of a thresholded Laplace law's numbers in (mu, rho = log b, kappa), each of shape (3, ..., K).

    ``mean`` and ``variance`` of its moments, ``kl`` of its divergence from the prior.
    """

    mean: Array
    variance: Array
    kl: Array


class Thresholded(ABC):
    """What thresholded laws share: moments, density, distribution function, draws and divergence from the prior.

    All numbers are arrays of the law's shape (..., K): model units, and model units squared for second moments.
    """

    mu: Array
    rectified: bool

    @property
    @abstractmethod
    def _scale(self) -> Array:
        """The scale of the noise, in model units."""

    @property
    @abstractmethod
    def _threshold(self) -> Array:
        """The threshold a, in units of the scale."""

    @property
    @abstractmethod
    def _on(self) -> Array:
        """P(abs(n) > a)."""

    @property
    @abstractmethod
    def _off(self) -> Array:
        """1 - P(abs(n) > a), to full relative accuracy."""

    @property
    @abstractmethod
    def _power(self) -> Array:
        """E[(abs(n) - a)^2 | abs(n) > a]."""

    @abstractmethod
    def _beyond(self, m: Array) -> tuple[Array, Array, Array]:
        """Return J_0, J_1, J_2 at m >= 0."""

    @abstractmethod
    def _log_beyond(self, m: Array) -> Array:
        """Return E[log density(s); n > a + m], the density that of the law before it is rectified."""

    @abstractmethod
    def _log_slab(self, t: Array) -> Array:
        """Return the log density at s = mu +- t scales."""

    @abstractmethod
    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw noise of scale 1."""

    def _check(self, scale: str, threshold: str) -> None:
        """Turn fields into arrays of one shape, or raise InputError."""
        owner = type(self).__name__
        arrays = {name: real_array(f"{owner}: {name}", getattr(self, name)) for name in ("mu", scale, threshold)}
        if len({array.shape for array in arrays.values()}) > 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise InputError(f"{owner}: shapes differ ({shapes}), but each latent has one of each. Give equal shapes.")
        for name, array in arrays.items():
            least = {"mu": -HUGE, scale: TINY, threshold: 0.0}[name]
            if array.size and not (array.min() >= least and array.max() <= HUGE):
                bad = float(array.min() if array.min() < least else array.max())
                wanted = {"mu": "within +-1e100", scale: "> 0, from 1e-100 to 1e100", threshold: "from 0 to 1e100"}[
                    name
                ]
                raise InputError(
                    f"{owner}: {name} has an entry {bad:.3g}, which is out of range. Give numbers {wanted}."
                )
            object.__setattr__(self, name, array)
        object.__setattr__(self, "rectified", check_flag(f"{owner}: rectified", self.rectified))

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., K)."""
        return self.mu.shape

    @cached_property
    def _shift(self) -> Array:
        """abs(mu) in units of the scale, at most 1e3."""
        return np.asarray(np.minimum(np.abs(self.mu) / self._scale, _FAR))

    @cached_property
    def _past(self) -> tuple[Array, Array, Array]:
        """J_0, J_1, J_2 of what crosses zero (mu > 0: to the negative side; mu < 0: to the positive one)."""
        return self._beyond(self._shift)

    @cached_property
    def p_active(self) -> Array:
        """P(s != 0)."""
        if not self.rectified:
            return self._on
        return np.where(self.mu >= 0, self._on - self._past[0], self._past[0])

    @cached_property
    def p_zero(self) -> Array:
        """P(s = 0) = 1 - P(active), to full relative accuracy."""
        if not self.rectified:
            return self._off
        return np.where(self.mu >= 0, self._off + self._past[0], 1.0 - self._past[0])

    @property
    def p_negative(self) -> Array:
        """P(s < 0): 0 if rectified."""
        if self.rectified:
            return np.zeros(self.shape)
        return np.where(self.mu >= 0, self._past[0], self._on - self._past[0])

    @cached_property
    def mean(self) -> Array:
        """E s."""
        if not self.rectified:
            return np.asarray(self._on * self.mu)
        crossed = self._scale * self._past[1]
        return np.where(self.mu >= 0, self._on * self.mu + crossed, crossed)

    @cached_property
    def second_moment(self) -> Array:
        """E s^2."""
        full = self._on * (self.mu**2 + self._scale**2 * self._power)
        if not self.rectified:
            return np.asarray(full)
        crossed = self._scale**2 * self._past[2]
        return np.where(self.mu >= 0, full - crossed, crossed)

    @cached_property
    def variance(self) -> Array:
        """Var s, without a difference of large numbers."""
        spread, hidden = self._scale**2 * self._on * self._power, self._on * self._off * self.mu**2
        if not self.rectified:
            return np.asarray(spread + hidden)
        _, one, two = self._past
        lost = self._scale**2 * (two + one**2 + 2 * self._on * self._shift * one)
        return np.where(self.mu >= 0, spread + hidden - lost, self._scale**2 * (two - one**2))

    @property
    def sd(self) -> Array:
        """Standard deviation of s."""
        return np.sqrt(self.variance)

    @property
    def mean_size(self) -> Array:
        """E abs(s)."""
        return self.mean if self.rectified else self._on * np.abs(self.mu) + 2 * self._scale * self._past[1]

    @property
    def log_p_zero(self) -> Array:
        """Log P(s = 0); -inf where a latent is always active."""
        with np.errstate(divide="ignore"):  # log 0
            return np.where(self.p_active < 0.5, np.log1p(-np.minimum(self.p_active, 0.5)), np.log(self.p_zero))

    def log_density(self, s: ArrayLike) -> Array:
        """Return the log density of codes s (..., K), latent by latent, against delta_0 + Lebesgue.

        It is log P(s = 0) at 0, and -inf below 0 if rectified. Shape as s and the law broadcast.
        """
        s = np.asarray(s, dtype=float)
        with np.errstate(over="ignore"):  # of squares: the density is 0 there
            slab = self._log_slab(np.abs(s - self.mu) / self._scale)
        if self.rectified:
            slab = np.where(s < 0, -np.inf, slab)
        return np.where(s == 0, self.log_p_zero, slab)

    def distribution(self, s: ArrayLike) -> Array:
        """Return P(code <= s), latent by latent; shape as s and the law broadcast."""
        s = np.asarray(s, dtype=float)
        tail = self._beyond(np.minimum(np.abs(s - self.mu) / self._scale, _FAR))[0]
        slab = np.where(s >= self.mu, self._on - tail, tail) + np.where(s >= 0, self._off, 0.0)
        return np.where(s < 0, 0.0, slab) if self.rectified else slab

    def code(self, noise: ArrayLike) -> Array:
        """Return the codes that noise of scale 1 (..., K) becomes: the thresholded map itself."""
        noise = np.asarray(noise, dtype=float)
        above = np.abs(noise) - self._threshold
        s = np.where(above > 0, self.mu + self._scale * np.copysign(above, noise), 0.0)
        return np.maximum(s, 0.0) if self.rectified else s

    def draw(self, n: int, rng: np.random.Generator | int) -> Array:
        """Draw n independent codes by the thresholded map, shape (n, ..., K); a seed will do for rng."""
        owner = type(self).__name__
        check_count(f"{owner}.draw: n", n, 1)
        return self.code(self._noise((n, *self.shape), as_generator(f"{owner}.draw: rng", rng)))

    def kl(self, pi: float, lam: float) -> Array:
        r"""Return KL(law || prior) of each latent in nats, of the law itself and not of its noise.

        .. math:: \mathrm{KL} = P_0 \log\frac{P_0}{1-\pi} + E[\log q(s) - \log \pi\lambda' + \lambda |s|;\; s \ne 0]

        with P_0 = P(s = 0) and lam' = lam/2 for a signed law, whose slab is Laplace, and lam for a rectified one, whose slab is
        exponential. Not in the paper, whose bound is `ThresholdedLaplace.kl_base`.

        Parameters
        ----------
        pi : float
            The prior's P(active), in (0, 1]; at 1 it is inf unless the law is always active.
        lam : float
            Rate of the prior's slab, in 1/(model unit); > 0.

        Raises
        ------
        InputError
            If a number is out of range.
        """
        owner = f"{type(self).__name__}.kl"
        pi = check_number(owner, "pi", pi, "P(active) is in (0, 1]", high=1.0)
        lam = check_number(owner, "lam", lam, "a rate must be positive")
        known = 2 * self._log_beyond(np.zeros(self.shape))
        if self.rectified:
            crossed = self._log_beyond(self._shift)
            known = np.where(self.mu >= 0, known - crossed, crossed)
        rate = math.log(pi) + math.log(lam if self.rectified else lam / 2)
        spike = rel_entr(self.p_zero, 1.0 - pi)
        return np.asarray(spike + known - self.p_active * rate + lam * self.mean_size)


@dataclass(frozen=True, eq=False)
class ThresholdedLaplace(Thresholded):
    r"""Laplace noise that is cut at kappa scales, shifted by mu and scaled by b: a spike and a Laplace slab.

    .. math:: s \sim (1 - g)\,\delta_0 + g\,\mathrm{Laplace}(\mu, b), \qquad g = e^{-\kappa}, \qquad
              E s = g\mu, \quad \mathrm{Var}\,s = g(2 b^2 + (1 - g)\mu^2)

    and, if rectified, with :math:`h = e^{-|\mu|/b}/2`: :math:`P(s > 0) = g(1-h)`, :math:`E s = g(\mu + b h)`,
    :math:`E s^2 = g(\mu^2 + 2 b^2 - 2 b^2 h)` where mu >= 0, and g h, g b h, 2 g b^2 h where mu < 0.
    Fallah & Rozell 2022 (the map and its noise); closed forms: not in the paper.

    Parameters
    ----------
    mu : array, shape (..., K)
        Shift, in model units; of either sign.
    b : array, shape (..., K)
        Scale of the noise, in model units; > 0.
    kappa : array, shape (..., K)
        Threshold in units of b, which is -log P(active) of the law that is not rectified; >= 0.
    rectified : bool
        Whether codes are the positive part of the law.

    Raises
    ------
    InputError
        If shapes differ, or a number is not finite or out of range.

    Examples
    --------
    >>> law = ThresholdedLaplace(mu=[0.0, 1.0], b=[1.0, 1.0], kappa=[0.5, 0.5])
    >>> law.p_active.round(3)  # exp(-kappa)
    array([0.607, 0.607])
    """

    mu: Array
    b: Array
    kappa: Array
    rectified: bool = False

    def __post_init__(self) -> None:
        self._check("b", "kappa")

    @classmethod
    def fixed(cls, mu: ArrayLike, b: ArrayLike, lam: ArrayLike, *, rectified: bool = False) -> Self:
        """Return the law of a threshold lam >= 0 in model units: kappa = lam/b; shapes broadcast."""
        mu, b, lam = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (mu, b, lam)))
        _check_scale(cls, b)
        return cls(mu, b, lam / b, rectified)

    @classmethod
    def gamma(cls, mu: ArrayLike, b: ArrayLike, alpha: float, beta: float, *, rectified: bool = False) -> Self:
        r"""Return the law of a threshold that is drawn for every code, lam ~ Gamma(alpha, beta) in model units.

        .. math:: g = E\, e^{-\lambda/b} = (1 + 1/(b\beta))^{-\alpha}, \qquad \kappa = \alpha \log(1 + 1/(b\beta))

        The slab does not know the threshold, so this is the same family. Fallah & Rozell 2022 (such a threshold); kappa: not in
        the paper. ``alpha`` is the shape, ``beta`` the rate in 1/(model unit); both > 0.
        """
        owner = f"{cls.__name__}.gamma"
        alpha = check_number(owner, "alpha", alpha, "a shape must be positive")
        beta = check_number(owner, "beta", beta, "a rate must be positive")
        mu, b = np.broadcast_arrays(np.asarray(mu, dtype=float), np.asarray(b, dtype=float))
        _check_scale(cls, b)
        return cls(mu, b, alpha * np.log1p(1.0 / (b * beta)), rectified)

    @property
    def _scale(self) -> Array:
        return self.b

    @property
    def _threshold(self) -> Array:
        return self.kappa

    @cached_property
    def _on(self) -> Array:
        return np.asarray(np.exp(-self.kappa))

    @cached_property
    def _off(self) -> Array:
        return np.asarray(-np.expm1(-self.kappa))

    @property
    def _power(self) -> Array:
        return np.full(self.shape, 2.0)

    def _beyond(self, m: Array) -> tuple[Array, Array, Array]:
        tail = np.asarray(0.5 * np.exp(-self.kappa - m))
        return tail, tail, 2 * tail

    def _log_beyond(self, m: Array) -> Array:
        tail = 0.5 * np.exp(-self.kappa - m)
        return np.asarray(tail * (-self.kappa - np.log(2 * self.b) - 1.0 - m))

    def _log_slab(self, t: Array) -> Array:
        return np.asarray(-self.kappa - np.log(2 * self.b) - t)

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.laplace(0.0, 1.0, shape)

    def kl_base(self, lam: float) -> Array:
        r"""Return the divergence of the noise before its threshold from that of the prior: the published bound, in nats.

        .. math:: \mathrm{KL}(\mathrm{Laplace}(\mu, b)\,\|\,\mathrm{Laplace}(0, b_0)) =
                  \frac{|\mu|}{b_0} + \frac{b}{b_0} e^{-|\mu|/b} + \log\frac{b_0}{b} - 1, \qquad b_0 = 1/\lambda

        It bounds `kl` from above where law and prior have one threshold in model units: pi = exp(-kappa b lam), and half of
        that if rectified. Fallah & Rozell 2022.
        """
        lam = check_number("ThresholdedLaplace.kl_base", "lam", lam, "a rate must be positive")
        size = lam * (np.abs(self.mu) + self.b * np.exp(-self._shift))
        return np.asarray(size - np.log(lam * self.b) - 1.0)

    def kl_base_slopes(self, lam: float) -> Array:
        """Return the derivatives of `kl_base` in mu and rho = log b, shape (2, ..., K)."""
        lam = check_number("ThresholdedLaplace.kl_base_slopes", "lam", lam, "a rate must be positive")
        a = self._shift
        e = np.exp(-a)
        return np.stack([-lam * np.sign(self.mu) * np.expm1(-a), lam * self.b * e * (1 + a) - 1.0])

    def slopes(self, pi: float, lam: float) -> Slopes:
        r"""Return the derivatives of mean, variance and `kl` in mu, rho = log b and kappa.

        Signed, with k = KL(Laplace(mu, b) || Laplace(0, b_0)) and :math:`e = e^{-|\mu|/b}`:

        .. math:: \partial_\mu &= (g,\; 2g(1-g)\mu,\; \tfrac{g}{b_0}\mathrm{sign}(\mu)(1-e)) \\
                  \partial_\rho &= (0,\; 4gb^2,\; g[\tfrac{b}{b_0} e (1 + |\mu|/b) - 1]) \\
                  \partial_\kappa &= (-g\mu,\; -g(2b^2+(1-2g)\mu^2),\; -g[\mathrm{logit}\,g - \mathrm{logit}\,\pi + k])

        for mean, variance and divergence. Not in the paper. With pi = 1 and kappa = 0 (signed) the divergence is that of the
        slabs, and its slope in kappa, which cannot move, is 0.

        Raises
        ------
        InputError
            If a number is out of range, or the divergence is infinite at kappa or just beside it.
        """
        owner = "ThresholdedLaplace.slopes"
        pi = check_number(owner, "pi", pi, "P(active) is in (0, 1]", high=1.0)
        lam = check_number(owner, "lam", lam, "a rate must be positive")
        if pi == 1.0 and (self.rectified or self.kappa.any()):
            raise InputError(
                f"{owner}: the prior has no spike (pi = 1), but the law has one: their divergence is infinite. "
                "Give pi < 1, or a signed law with kappa = 0."
            )
        if pi < 1.0 and not self.kappa.all():
            raise InputError(f"{owner}: kappa = 0 is an end of its range, where a slope is infinite. Give kappa > 0.")
        return self._slopes_rectified(pi, lam) if self.rectified else self._slopes_signed(pi, lam)

    def _slopes_signed(self, pi: float, lam: float) -> Slopes:
        mu, g, off = self.mu, self._on, self._off
        base = self.kl_base(lam)
        if pi < 1.0:
            odds = -self.kappa - self.log_p_zero - (math.log(pi) - math.log1p(-pi))
            spike = -g * (odds + base)
        else:
            spike = np.zeros(self.shape)
        # at 2 off - 1 = 1 - 2 g
        mean = np.stack([g, np.zeros(self.shape), -g * mu])
        variance = np.stack([2 * g * off * mu, 4 * g * self.b**2, -g * (2 * self.b**2 + (2 * off - 1) * mu**2)])
        return Slopes(mean, variance, np.concatenate([g * self.kl_base_slopes(lam), spike[None]]))

    def _slopes_rectified(self, pi: float, lam: float) -> Slopes:
        b, g, a, up = self.b, self._on, self._shift, self.mu >= 0
        side = np.where(up, -1.0, 1.0)
        tail = self._past[0]  # g h
        active, zero, m = self.p_active, self.p_zero, self.mean
        m_rho = b * tail * (1 + a)
        power_rho = 2 * b**2 * (np.where(up, 2 * g, 0.0) + side * tail * (2 + a))
        mean = np.stack([active, m_rho, -m])
        variance = np.stack([2 * m * zero, power_rho - 2 * m * m_rho, m**2 - self.variance])
        # KL = P0 log(P0/(1 - pi)) + P (-kappa - log(2 b pi lam)) - E[|s - mu|/b; s > 0] + lam E s
        gain = -self.kappa - np.log(2 * b) - math.log(pi) - math.log(lam) - self.log_p_zero + math.log1p(-pi)
        far = np.where(up, g, 0.0) + side * tail * (1 + a)
        kl = [
            tail / b * (gain - 1 - a) + lam * active,
            side * tail * a * (gain - 1 - a) - active + lam * m_rho,
            -active * gain + far - lam * m,
        ]
        return Slopes(mean, variance, np.stack(kl))


@dataclass(frozen=True, eq=False)
class ThresholdedGaussian(Thresholded):
    r"""Normal noise that is cut at a threshold, shifted by mu and scaled: a spike and two normal tails, put together.

    .. math:: g = 2Q(a), \quad E s = g\mu, \quad E s^2 = g[\mu^2 + c^2(1 + a^2 - aH)], \quad H = \varphi(a)/Q(a)

    with the scale c and the threshold a in units of it; its density at s != 0 is :math:`\varphi(a + |s-\mu|/c)/c`.
    Fallah & Rozell 2022 (the map and its noise); closed forms: not in the paper.

    Parameters
    ----------
    mu : array, shape (..., K)
        Shift, in model units; of either sign.
    scale : array, shape (..., K)
        Standard deviation c of the noise, in model units; > 0. (That of the law is `sd`.)
    threshold : array, shape (..., K)
        Threshold a in units of the scale; >= 0. (-log P(active) is -log 2Q(a), and not a.)
    rectified : bool
        Whether codes are the positive part of the law.

    Raises
    ------
    InputError
        If shapes differ, or a number is not finite or out of range.
    """

    mu: Array
    scale: Array
    threshold: Array
    rectified: bool = False

    def __post_init__(self) -> None:
        self._check("scale", "threshold")

    @property
    def _scale(self) -> Array:
        return self.scale

    @property
    def _threshold(self) -> Array:
        return self.threshold

    @cached_property
    def _on(self) -> Array:
        return np.asarray(2 * ndtr(-self.threshold))

    @cached_property
    def _off(self) -> Array:
        return np.asarray(erf(self.threshold / math.sqrt(2)))

    @property
    def _power(self) -> Array:
        return _excess(self.threshold)[1]

    def _beyond(self, m: Array) -> tuple[Array, Array, Array]:
        edge = self.threshold + m
        tail, (one, two) = np.asarray(ndtr(-edge)), _excess(edge)
        return tail, tail * one, tail * two

    def _log_beyond(self, m: Array) -> Array:
        edge = self.threshold + m
        power = 1 + edge * (edge + _excess(edge)[0])  # E[n^2 | n > edge]
        return np.asarray(-ndtr(-edge) * (np.log(self.scale) + _LOG_ROOT_2_PI + 0.5 * power))

    def _log_slab(self, t: Array) -> Array:
        return np.asarray(-0.5 * (self.threshold + t) ** 2 - _LOG_ROOT_2_PI - np.log(self.scale))

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        return rng.standard_normal(shape)


def _check_scale(owner: type, b: Array) -> None:
    """Raise InputError unless every scale is > 0: it is about to divide."""
    if not (b >= TINY).all():
        raise InputError(f"{owner.__name__}: b has an entry that is not > 0 (from 1e-100). Give positive scales.")


def _excess(a: Array) -> tuple[Array, Array]:
    r"""Return E[n - a | n > a] and E[(n - a)^2 | n > a] of normal noise, a >= 0, to full relative accuracy.

    .. math:: r_i = \frac{i}{a + r_{i+1}}, \qquad E[n - a] = H - a = r_1, \qquad E[(n - a)^2] = 1 - a r_1 = r_1 r_2
    """
    near = np.minimum(a, _STEEP)
    hazard = np.exp(-0.5 * near**2 - _LOG_ROOT_2_PI - log_ndtr(-near))
    far, r = np.maximum(a, _STEEP), np.zeros(np.shape(a))
    for i in range(_TERMS, 1, -1):
        r = i / (far + r)
    one = 1 / (far + r)
    steep = a > _STEEP
    return np.where(steep, one, hazard - near), np.where(steep, one * r, 1 - near * (hazard - near))
