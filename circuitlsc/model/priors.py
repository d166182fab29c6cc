r"""Priors with a closed form: an exponential slab with or without a spike, and the Gaussian.

The circuit's state is the auxiliary variable ``u``; the code is ``s = s(u)`` (Fang et al. 2022, section 3.1). The ideal form
(``width = 0``) has corners; the smooth one (``width > 0``) is what a comparator of finite gain realises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, replace

import numpy as np

from circuitlsc.io.arrays import Array, as_generator
from circuitlsc.io.declared import quantity
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import TAIL, Prior, PriorCells, Slab, slope_table
from circuitlsc.model.smoothing import LOGISTIC, Smoothing


class SlabPrior(Prior):
    r"""What priors with the L1 cost share, with the threshold u0 >= 0.

    .. math:: s = f(|u|),\quad f(v) = \max(v - u_0, 0),\quad c(u) = \lambda |u|

    The smooth form is ``f_w(a_w(u))`` (and not ``f_w(abs(u))``, which is no gradient as u0 -> 0). The corner at u = 0 is one
    of comparators: it counts for their gates, not as a curvature.
    """

    rate_formula = "lam^2/T"
    pi: float
    lam: float

    @property
    def slab(self) -> Slab:
        """P(active) and the rate."""
        return Slab(self.pi, self.lam)

    @property
    def slab_scale(self) -> float:
        """Mean size of an active coefficient, 1/lam."""
        return 1.0 / self.lam

    @property
    def curvature(self) -> float:
        """0: the cost is straight beside its corner."""
        return 0.0

    def latent(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return s(u), in model units."""
        u = np.asarray(u, dtype=float)
        if self.signed:
            return smoothing.ramp(u - self.threshold, width) - smoothing.ramp(-u - self.threshold, width)
        size = smoothing.abs(u, width)
        return smoothing.ramp(size - self.threshold, width) if self.sparse else size

    def latent_grad(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return ds/du: the comparator's output, times the sign of u if s >= 0."""
        u = np.asarray(u, dtype=float)
        if not self.sparse:
            return super().latent_grad(u, width, smoothing)
        if self.signed:
            return smoothing.step(u - self.threshold, width) + smoothing.step(-u - self.threshold, width)
        return smoothing.sign(u, width) * smoothing.step(smoothing.abs(u, width) - self.threshold, width)

    def cost(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return lam a_w(u)."""
        return self.lam * smoothing.abs(np.asarray(u, dtype=float), width)

    def cost_grad(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return lam a_w'(u)."""
        return self.lam * smoothing.sign(np.asarray(u, dtype=float), width)

    def code_cost(self, s: Array) -> Array:
        """Return lam abs(s)."""
        return self.cost(s)

    def code_cost_grad(self, s: Array) -> Array:
        """Return lam sign(s)."""
        return self.cost_grad(s)

    def cells(self, width: float, reach: float, smoothing: Smoothing = LOGISTIC) -> PriorCells:
        """Return comparators of input width w at +-u0, and the sign of u: their tables end in flat segments."""
        code, gate = self.code_tables(width, smoothing)
        if smoothing.tails:
            corner = slope_table(self.cost, self.cost_grad, 0.0, width, smoothing)
            return PriorCells(code, gate, corner)
        # two knots a side suffice for the sign's corner at 0: its table is odd, and noise crosses it fast
        far = self.cost_grad(np.array([-40.0, -40.0, 40.0, 40.0]) * width, width)
        return PriorCells(code, gate, Table(np.array([-3.0, -1.8, 1.8, 3.0]) * width, far))

    def slab_at(self, temperature: float) -> float:
        """Return T/lam."""
        return self.slab_scale * temperature

    def rate_at(self, temperature: float, *, bend: float = 1.0, diffusion: float = 1.0) -> float:
        """Return lam^2/T, times a factor: that of diffusion over the slab's width T/lam."""
        return diffusion / self.slab_scale**2 / temperature

    def steepest(self, width: float, smoothing: Smoothing = LOGISTIC) -> float:
        """Return 0: noise crosses the corner at u = 0 fast."""
        return 0.0

    def largest(self, allowed: Callable[[float], float]) -> float:
        """Return 5/lam, whatever the data allow."""
        return TAIL * self.slab_scale

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        rng = as_generator("draw: rng", rng)
        s = rng.exponential(1.0 / self.lam, shape) * (rng.random(shape) < self.pi)
        return s * rng.choice([-1.0, 1.0], shape) if self.signed else s

    def draw_state(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw u from exp(-lam abs(u))."""
        return rng.laplace(0.0, 1.0 / self.lam, shape)


@dataclass(frozen=True)
class SpikeSlab(SlabPrior):
    r"""Spike-and-slab prior: a latent is active with probability pi, its size then exponential with rate lam.

    .. math:: s = f(|u|),\quad f(v) = \max(v - u_0, 0),\quad u_0 = -\log(\pi)/\lambda,\quad c(u) = \lambda |u|

    Fang et al. 2022, section 3.1. With ``signed=True`` the slab is Laplace and ``s`` is the soft threshold of ``u``.

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

    Examples
    --------
    >>> prior = SpikeSlab(pi=0.3, lam=2.0)
    >>> round(prior.threshold, 3)  # u0
    0.602
    """

    kind = "spike-slab"

    pi: float = quantity(MISSING, "1", "P(active)", high=1.0, above=True)
    lam: float = quantity(MISSING, "1/(model unit)", "the slab's rate", above=True)
    signed: bool = False

    @property
    def threshold(self) -> float:
        """The threshold u0 = -log(pi)/lam, in model units."""
        return -math.log(self.pi) / self.lam

    @property
    def sparse(self) -> bool:
        """Whether a code can be exactly zero."""
        return self.pi < 1

    def without_spike(self) -> Laplace:
        """Return the slab alone."""
        return Laplace(self.lam, self.signed)

    def tempered(self, temperature: float) -> SpikeSlab:
        """Return the prior of exp(-E/T): lam/T with the same u0, hence pi**(1/T)."""
        return replace(self, pi=self.pi ** (1.0 / temperature), lam=self.lam / temperature)

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters and its threshold by name."""
        return {**super().numbers(), "u0": self.threshold}


@dataclass(frozen=True)
class Laplace(SlabPrior):
    r"""Laplace prior (two-sided by default; ``signed=False`` makes it exponential, s >= 0): c(u) = lam abs(u).

    It is the spike-and-slab prior at pi = 1, and shares all of its cells: s = u if signed, s = abs(u) if not.

    Parameters
    ----------
    lam : float
        Rate, in 1/(model unit); > 0.
    signed : bool
        Whether codes may be negative.

    Examples
    --------
    >>> Laplace(lam=2.0).threshold  # no dead zone
    0.0
    """

    kind = "laplace"
    convex = True
    pi = 1.0

    lam: float = quantity(MISSING, "1/(model unit)", "the rate", above=True)
    signed: bool = True

    def tempered(self, temperature: float) -> Laplace:
        """Return the prior of exp(-E/T)."""
        return replace(self, lam=self.lam / temperature)


@dataclass(frozen=True)
class Gaussian(Prior):
    r"""Gaussian prior, s = u and c(u) = u^2 / (2 sd^2): linear cells, and a closed form.

    Parameters
    ----------
    sd : float
        Prior standard deviation, in model units; > 0.

    Examples
    --------
    >>> Gaussian(sd=0.5).cost(np.array([1.0]))
    array([2.])
    """

    kind = "gaussian"
    convex = True
    rate_formula = "1/sd^2"
    signed = True

    sd: float = quantity(MISSING, "model unit", "a standard deviation", above=True)

    @property
    def slab_scale(self) -> float:
        """The prior's standard deviation."""
        return self.sd

    @property
    def curvature(self) -> float:
        """1/sd^2."""
        return self.stiffness

    @property
    def stiffness(self) -> float:
        """1/sd^2."""
        return 1.0 / self.sd**2

    def code_cost(self, s: Array) -> Array:
        """Return s^2 / (2 sd^2)."""
        return s**2 / (2 * self.sd**2)

    def code_cost_grad(self, s: Array) -> Array:
        """Return s / sd^2."""
        return s / self.sd**2

    def cells(self, width: float, reach: float, smoothing: Smoothing = LOGISTIC) -> PriorCells:
        """Return a conductance, the quadratic cost; there is nothing to compare."""
        return PriorCells(None, None, None, self.stiffness)

    def rate_at(self, temperature: float, *, bend: float = 1.0, diffusion: float = 1.0) -> float:
        """Return 1/sd^2: a linear drift has no corner that a step could miss."""
        return self.stiffness

    def tempered(self, temperature: float) -> Gaussian:
        """Return the prior of exp(-E/T)."""
        return replace(self, sd=self.sd * math.sqrt(temperature))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        rng = as_generator("draw: rng", rng)
        return self.sd * rng.standard_normal(shape)
