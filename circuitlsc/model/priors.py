r"""Priors: four functions of u each (`latent`, `latent_grad`, `cost`, `cost_grad`), ideal and smooth.

The circuit's state is the auxiliary variable ``u``; the code is ``s = s(u)`` (Fang et al. 2022, section 3.1). The ideal form
(``width = 0``) has corners; the smooth one (``width > 0``) is what a comparator of finite gain realises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, as_generator, check_flag, check_positive
from circuitlsc.model.prior import PriorCells, logistic, smooth_abs, smooth_sign, softplus
from circuitlsc.model.prior_tables import comparator_cells


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
        check_positive("SpikeSlab", "lam", self.lam, "the slab's rate must be positive")
        check_positive("SpikeSlab", "pi", self.pi, "P(active) must lie in (0, 1]")
        if self.pi > 1:
            raise InputError(f"SpikeSlab: pi = {self.pi!r}, but P(active) must lie in (0, 1]. Give 0 < pi <= 1.")
        object.__setattr__(self, "signed", check_flag("SpikeSlab: signed", self.signed))
        object.__setattr__(self, "pi", float(self.pi))
        object.__setattr__(self, "lam", float(self.lam))

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

    @property
    def curvature(self) -> float:
        """0: the cost is straight beside its corner."""
        return 0.0

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

    def cells(self, width: float, reach: float) -> PriorCells:
        """Return comparators of input width w: their tables end in flat segments, whatever the reach."""
        return comparator_cells(self, width)

    def tempered(self, temperature: float) -> SpikeSlab:
        """Return the prior of exp(-E/T): lam/T with the same u0, hence pi**(1/T)."""
        return replace(self, pi=self.pi ** (1.0 / temperature), lam=self.lam / temperature)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        rng = as_generator("draw: rng", rng)
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
        check_positive("Laplace", "lam", self.lam, "the rate must be positive")
        object.__setattr__(self, "signed", check_flag("Laplace: signed", self.signed))
        object.__setattr__(self, "lam", float(self.lam))

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

    @property
    def curvature(self) -> float:
        """0: the cost is straight beside its corner."""
        return 0.0

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

    def cells(self, width: float, reach: float) -> PriorCells:
        """Return comparators of input width w: their tables end in flat segments, whatever the reach."""
        return comparator_cells(self, width)

    def tempered(self, temperature: float) -> Laplace:
        """Return the prior of exp(-E/T)."""
        return replace(self, lam=self.lam / temperature)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
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
        check_positive("Gaussian", "sd", self.sd, "a standard deviation must be positive")
        object.__setattr__(self, "sd", float(self.sd))

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

    @property
    def curvature(self) -> float:
        """1/sd^2."""
        return 1.0 / self.sd**2

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

    def cells(self, width: float, reach: float) -> PriorCells:
        """Return a conductance, the quadratic cost; there is nothing to compare."""
        return PriorCells(None, None, None, 1.0 / self.sd**2)

    def tempered(self, temperature: float) -> Gaussian:
        """Return the prior of exp(-E/T)."""
        return replace(self, sd=self.sd * math.sqrt(temperature))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        rng = as_generator("draw: rng", rng)
        return self.sd * rng.standard_normal(shape)

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {"sd": float(self.sd)}
