r"""How comparators of input width w round a corner: the logistic pair, and the hyperbolic one of a translinear circuit.

.. math:: f_w(v) \to \max(v, 0), \quad f_w', \qquad a_w(u) \to |u|, \quad a_w'

Each pair is a function and its derivative, so that what is made of them stays a gradient; the steepest slope of f' is 1/(4w)
with either. Off the corner the logistic one is exponentially close to it, the hyperbolic one :math:`w^2/|v|`, which moves
a posterior further: with one latent, lam = 1, u0 = 1.2, sigma = .5 and w = .04 P(active) by .0031 (signed .0039), the mean
by .0048 (.0024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import crowded_knots

TAIL_SPAN = 100.0  # widths: where tables of the hyperbolic pair end
CROWD = 0.8  # widths: up to there around a corner knots are evenly spaced, further out by a share of the distance
SPACING = 0.45  # that share


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


def hyperbolic_abs(u: Array, width: float) -> Array:
    r"""Return :math:`a_w(u) = \sqrt{u^2 + 4 w^2}`: of f(u) and f(-u), whose product is w^2, the sum."""
    return np.asarray(np.hypot(u, 2 * width))


def hyperbolic_sign(u: Array, width: float) -> Array:
    r"""Return :math:`a_w'(u) = u/\sqrt{u^2 + 4 w^2}`."""
    return np.sign(u) if width == 0 else np.asarray(u / np.hypot(u, 2 * width))


def hyperbolic_ramp(v: Array, width: float) -> Array:
    r"""Return :math:`f_w(v) = (v + \sqrt{v^2 + 4 w^2})/2`, to the last digits far below 0 too: f(v) f(-v) = w^2."""
    if width == 0:
        return np.maximum(v, 0.0)
    large = (np.abs(v) + np.hypot(v, 2 * width)) / 2
    return np.where(v < 0, width * (width / large), large)


def hyperbolic_step(v: Array, width: float) -> Array:
    r"""Return :math:`f_w'(v) = f_w(v)/\sqrt{v^2 + 4 w^2}`, the share of f(v) in f(v) + f(-v)."""
    if width == 0:
        return np.where(v > 0, 1.0, 0.0)
    return np.asarray(hyperbolic_ramp(v, width) / np.hypot(v, 2 * width))


@dataclass(frozen=True)
class Smoothing:
    """The smooth forms of an absolute value and a ramp, each with its derivative, as functions of (v, width) in model units.

    Attributes
    ----------
    name : str
        What ``[circuit] smoothing`` calls it.
    abs, sign : callable
        a_w, a_w'.
    ramp, step : callable
        f_w, f_w'.
    share : float
        How wide it may be, in widths of the logistic pair (`circuitlsc.planning.stepping`).
    tails : bool
        Whether it is far from its corner still a power of w/v off: tables then reach further, and keep the exact integral.
    """

    name: str
    abs: Callable[[Array, float], Array]
    sign: Callable[[Array, float], Array]
    ramp: Callable[[Array, float], Array]
    step: Callable[[Array, float], Array]
    share: float = 1.0
    tails: bool = False

    @property
    def said(self) -> str:
        """What a line says after a width: nothing of the usual pair."""
        return "" if self == LOGISTIC else f", {self.name}"

    def knots(self, threshold: float, width: float) -> Array:
        """Return knots that resolve corners at +-threshold, up to where the functions are nearly those of width 0."""
        if not self.tails:
            return crowded_knots(np.array([-threshold, threshold]), width, per_side=8)
        # sinh-spaced around the nearer corner, and the same on both sides of 0: errors of an integral then cancel
        crowd = CROWD * width
        first, last = np.arcsinh(-threshold / crowd), np.arcsinh(TAIL_SPAN / CROWD)
        half = threshold + crowd * np.sinh(np.linspace(first, last, 1 + math.ceil((last - first) / SPACING)))
        half[0] = 0.0
        return np.concatenate([-half[:0:-1], half])


LOGISTIC = Smoothing("logistic", smooth_abs, smooth_sign, softplus, logistic)
HYPERBOLIC = Smoothing(
    "hyperbolic", hyperbolic_abs, hyperbolic_sign, hyperbolic_ramp, hyperbolic_step, share=0.5, tails=True
)
SMOOTHINGS = {each.name: each for each in (LOGISTIC, HYPERBOLIC)}


def smoothing_of(name: str) -> Smoothing:
    """Return the smooth forms of a name; InputError if there are none."""
    if not isinstance(name, str) or name not in SMOOTHINGS:
        raise InputError(f"smoothing = {name!r} is not one of {', '.join(SMOOTHINGS)}.")
    return SMOOTHINGS[name]
