"""What a prior is: functions of u, numbers that plans need, and the tables that realise it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Table


@dataclass(frozen=True, eq=False)
class PriorCells:
    """What a prior puts into each neuron.

    Attributes
    ----------
    threshold : Table or None
        The code s(u); None if the code is u itself.
    comparator : Table or None
        ds/du, the gate on the likelihood's force; None if it is 1.
    prior : Table or None
        c'(u); None for a quadratic cost.
    stiffness : float
        c'(u)/u of a quadratic cost; 0 if ``prior`` is a table.
    """

    threshold: Table | None
    comparator: Table | None
    prior: Table | None
    stiffness: float = 0.0


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

    @property
    def curvature(self) -> float:
        """The largest abs(c''), in 1/(model unit)^2, leaving out the corners that comparators round off."""
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

    def cells(self, width: float, reach: float) -> PriorCells:
        """Return the cells that realise the prior, with comparators of input width w; tables cover abs(u) <= reach."""
        ...

    def tempered(self, temperature: float) -> Prior:
        """Return the prior of exp(-E/T)."""
        ...

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior."""
        ...

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        ...
