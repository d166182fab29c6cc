r"""What a prior is: functions of u, numbers that plans and references ask for, and the cells that realise it.

.. math:: p(s) \propto e^{-C(s)}, \qquad c(u) = C(s(u)), \qquad c'(u) = C'(s(u))\, s'(u)

A smooth cost gives C, C', its largest curvature, its scale and what it is at a temperature: a class of `Prior` with these five
can be registered (`circuitlsc.model.prior_io.register_prior`), and is known to configs, circuits, references and files.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from circuitlsc.io.arrays import Array, as_generator, check_flag, check_number
from circuitlsc.io.shown import Tabled
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.smoothing import LOGISTIC, Smoothing

FAR = 1e12  # times slab_scale: where tables of a heavy tail end
NOTHING = 40.0  # a cost so far above its least: exp(-40) of the density is left
TAIL = 5.0  # a coefficient is expected to exceed what the prior exceeds with the probability exp(-5), and no more
ERROR = 1e-3  # of the largest slope that matters: how well a table follows a smooth cost's, if MOST_KNOTS allow
MATTERS = 10.0  # a slope matters where the cost is less than that above its least
MOST_KNOTS = 60
CUT = 10.0  # slabs: from further out in a heavy tail the way back takes too long for a start


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


class Slab(NamedTuple):
    """An exponential slab: P(active), and its rate in 1/(model unit)."""

    pi: float
    lam: float


class Prior(Tabled, ABC):
    r"""The prior of one latent; what is not abstract holds for every smooth cost. Functions act elementwise, in model units.

    Signed codes are the state itself, :math:`s = u`; nonnegative ones are its smooth absolute value, and the cost goes
    through it, so that the drift stays a gradient:

    .. math:: s = a_w(u),\quad c(u) = C(a_w(u)),\quad c'(u) = C'(a_w(u))\, a_w'(u)

    A class is a frozen dataclass. Its numbers are fields declared by `circuitlsc.io.declared.quantity` (those without default
    are required), from which the constructor's checks, the keys of ``[prior]`` and the variables of a file follow; codes that
    may be nonnegative have a field ``signed`` besides.

    Raises
    ------
    InputError
        If a number is out of its bounds.
    """

    #: The word that names the prior in a config file.
    kind: ClassVar[str]
    #: What `rate_at` is, for a report.
    rate_formula: ClassVar[str] = "max |C''|"
    #: Whether the cost is known to be convex in s, so that the energy has one minimum.
    convex: ClassVar[bool] = False
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    #: Whether codes may be negative.
    signed: bool

    def _facts(self) -> Iterator[tuple[str, str]]:
        for name, meta in self.parameters().items():
            yield name, f"{getattr(self, name)!s}, {meta['text']}"
        yield "codes", "signed" if self.signed else "nonnegative"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, meta in self.parameters().items():
            if (value := getattr(self, name)) is not None or meta["default"] is not None:
                why = f"{meta['text']} must be {bounds(meta)}"
                limits = {end: meta[end] for end in ("low", "high", "above")}
                object.__setattr__(self, name, check_number(owner, name, value, why, **limits))
        object.__setattr__(self, "signed", check_flag(f"{owner}: signed", self.signed))

    @property
    @abstractmethod
    def slab_scale(self) -> float:
        """The distance over which the cost rises by 1 from its least: the size of a typical active coefficient."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """The largest abs(C''(s)), in 1/(model unit)^2, leaving out the corners that comparators round off."""

    @abstractmethod
    def code_cost(self, s: Array) -> Array:
        """Return C(s) of codes s (s >= 0 unless signed)."""

    @abstractmethod
    def code_cost_grad(self, s: Array) -> Array:
        """Return C'(s)."""

    @abstractmethod
    def tempered(self, temperature: float) -> Self:
        """Return the prior of exp(-E/T)."""

    @classmethod
    def parameters(cls) -> dict[str, Mapping[str, Any]]:
        """Return what is declared of each number (bounds, unit, text, default), by its name."""
        return {name: f.metadata for name, f in cls.__dataclass_fields__.items() if "unit" in f.metadata}

    @classmethod
    def config_keys(cls) -> tuple[str, ...]:
        """Return the keys that ``[prior]`` has for it, beside its kind."""
        return (*cls.parameters(), *(f.name for f in fields(cls) if f.name == "signed"))

    @classmethod
    def from_variables(cls, variables: Mapping[Any, Any], signed: bool) -> Self:
        """Return the prior that `variables` has written, equal to the last bit."""
        given: dict[str, Any] = {
            name: float(variables[name])
            for name, meta in cls.parameters().items()
            if name in variables or meta["default"] is not None
        }
        return cls(**given, **({"signed": signed} if "signed" in cls.config_keys() else {}))

    def variables(self) -> dict[str, Any]:
        """Return the variables of a data set that hold the prior."""
        return {name: ((), value) for name, value in self.numbers().items() if value is not None}

    def numbers(self) -> dict[str, float]:
        """Return the prior's parameters by name."""
        return {name: getattr(self, name) for name in self.parameters()}

    @property
    def threshold(self) -> float:
        """The threshold u0: a latent is active where ``abs(u) > u0`` (0 if it is always active)."""
        return 0.0

    @property
    def sparse(self) -> bool:
        """Whether a code can be exactly zero."""
        return False

    @property
    def slab(self) -> Slab | None:
        """The exponential slab of a cost lam abs(u), for which conditionals and orthant integrals are known; else None."""
        return None

    @property
    def stiffness(self) -> float:
        """c'(u)/u of a quadratic cost, in 1/(model unit)^2: the posterior is Gaussian; 0 if the cost is another."""
        return 0.0

    @property
    def linear(self) -> bool:
        """Whether the drift is linear in u."""
        return self.stiffness > 0

    @property
    def conditionals(self) -> bool:
        """Whether the law of one latent, given all others, can be drawn from (`circuitlsc.reference.gibbs`)."""
        return self.linear or self.slab is not None

    @property
    def extent(self) -> float:
        """Up to which abs(s) the circuit's tables must reach, whatever the data."""
        return 0.0

    @cached_property
    def symmetric(self) -> bool:
        """Whether C(-s) = C(s)."""
        s = self.slab_scale * np.sinh(np.linspace(0, 12, 1001))
        return bool(np.allclose(self.code_cost(s), self.code_cost(-s), rtol=1e-9, atol=1e-9))

    @property
    def least_cost(self) -> float:
        """The least C(s)."""
        return float(self.code_cost(self._distribution[0]).min())

    def without_spike(self) -> Prior:
        """Return the slab alone: DSC and LCA always have the L1 prior (Fang et al. 2022, section 2.2)."""
        return self

    def latent(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return s(u): u, or a_w(u) if nonnegative (`Smoothing`)."""
        u = np.asarray(u, dtype=float)
        return u if self.signed else smoothing.abs(u, width)

    def latent_grad(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return ds/du, the gate on the likelihood's force: 1, or a_w'(u)."""
        u = np.asarray(u, dtype=float)
        return np.ones_like(u) if self.signed else smoothing.sign(u, width)

    def cost(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return c(u) = C(s(u)), the prior's part of the energy."""
        return self.code_cost(self.latent(u, width, smoothing))

    def cost_grad(self, u: Array, width: float = 0.0, smoothing: Smoothing = LOGISTIC) -> Array:
        """Return c'(u) = C'(s(u)) ds/du."""
        return self.code_cost_grad(self.latent(u, width, smoothing)) * self.latent_grad(u, width, smoothing)

    def cells(self, width: float, reach: float, smoothing: Smoothing = LOGISTIC) -> PriorCells:
        r"""Return the cells that realise the prior: tables up to abs(u) = reach, with f = c'(u) flat beyond.

        The knots stand where f bends, at equal shares of :math:`\int |f''/\epsilon|^{1/2} du`, and the values there are such
        that the table's integral is the cost (an interpolant's errors would add up). The error :math:`\epsilon` is 1e-3 of
        abs(f), or of the largest abs(f) where the cost is within 10 of its least (above, it grows with the cost). If that
        takes more than 60 knots, there are 60: for Cauchy and square-root costs over a reach of 50 to 200 slabs they give
        2e-3 to 4e-3. Where f is odd the table is, to the last bit.

        Parameters
        ----------
        width : float
            Width of the comparators, in model units.
        reach : float
            In model units; `extent` at least.
        smoothing : Smoothing
            What comparators make of a corner.
        """
        reach, symmetric = max(reach, self.extent), not self.signed or self.symmetric
        # fine enough for the narrowest feature: a comparator, or the cost's own bend
        fine = 0.1 * min(width, 1.0 / np.sqrt(self.curvature)) if self.curvature > 0 else 0.1 * width
        grid = fine * np.sinh(np.linspace(0, np.arcsinh(reach / fine), 20_001))
        if not symmetric:
            grid = np.concatenate([-grid[:0:-1], grid])
        force = np.asarray(self.cost_grad(grid, width, smoothing))
        cost = np.asarray(self.cost(grid, width, smoothing))
        above = (cost - cost.min()) / MATTERS
        error = ERROR * np.maximum(np.abs(force), np.abs(force[above < 1]).max()) * np.maximum(above, 1)
        share = np.sqrt(np.abs(np.gradient(np.gradient(force, grid), grid)) / error)
        bend = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (share[1:] + share[:-1]) / 2)])
        # a little for length: where f is straight, knots must still come one after the other
        bend += 1e-3 * (1 + bend[-1]) * (grid - grid[0]) / (grid[-1] - grid[0])
        for n in range(4, MOST_KNOTS // (2 if symmetric else 1), 2):
            knots = np.interp(np.linspace(0, bend[-1], n), bend, grid)
            values = _same_integral(knots, np.interp(knots, grid, force), np.interp(knots, grid, cost))
            if (np.abs(np.interp(grid, knots, values) - force) < error).all():
                break
        if symmetric:
            values[0] = 0.0
            knots, values = np.concatenate([-knots[:0:-1], knots]), np.concatenate([-values[:0:-1], values])
        # a flat segment at each end: beyond it c' stays what it is
        knots = np.concatenate([[knots[0] - width], knots, [knots[-1] + width]])
        code, gate = self.code_tables(width, smoothing)
        return PriorCells(code, gate, Table(knots, np.concatenate([values[:1], values, values[-1:]])))

    def code_tables(self, width: float, smoothing: Smoothing = LOGISTIC) -> tuple[Table, Table] | tuple[None, None]:
        """Return the tables of the code and of its gate; None if the code is u itself.

        The gate's table ends in flat segments, and so stays flat however large u becomes. The code's is its exact integral
        between any two knots, so that the pair stays a gradient: the mean gate over a segment is the slope of s there.
        Within 0.053 w of the code and 0.019 of the gate with the logistic pair, 0.025 w and 0.009 with the hyperbolic one.
        """
        if self.signed and not self.sparse:
            return None, None
        gate = slope_table(self.latent, self.latent_grad, self.threshold, width, smoothing)
        s = np.concatenate([[0.0], np.cumsum(np.diff(gate.knots) * (gate.values[1:] + gate.values[:-1]) / 2)])
        if self.signed:
            s -= (s[0] + s[-1]) / 2  # odd
        else:
            s += self.latent(gate.knots[:1], width, smoothing)  # exact far from the corners
        return Table(gate.knots, s), gate

    def slab_at(self, temperature: float) -> float:
        """Return the slab's size in exp(-c/T)."""
        return self.tempered(temperature).slab_scale

    def rate_at(self, temperature: float, *, bend: float = 1.0, diffusion: float = 1.0) -> float:
        r"""Return the prior's own rate in 1/tau, of its curvature or of diffusion over its slab l(T), each times a factor.

        .. math:: \max(k_b \max|C''|,\; k_d\, T / l^2)
        """
        return max(bend * self.curvature, diffusion * temperature / self.slab_at(temperature) ** 2)

    def steepest(self, width: float, smoothing: Smoothing = LOGISTIC) -> float:
        """Return the largest abs(c''), in 1/tau: the cost's own, or where a comparator rounds off its corner at 0."""
        u = np.linspace(-4, 4, 801) * width
        corner = 0.0 if self.signed else float(np.max(np.abs(np.gradient(self.cost_grad(u, width, smoothing), u))))
        return max(self.curvature, corner)

    def largest(self, allowed: Callable[[float], float]) -> float:
        """Return how large a code becomes: what it exceeds as rarely as a Laplace prior 5 slabs, or less if data allow less.

        ``allowed(tail)`` is what the data allow under a prior as wide as that tail.
        """
        tail = self.exceeded(math.exp(-TAIL))
        return min(tail, allowed(tail))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator | int) -> Array:
        """Draw codes from the prior, by its distribution function (a table, good to 1e-5)."""
        rng = as_generator("draw: rng", rng)
        s, below = self._distribution
        return np.asarray(np.interp(rng.random(shape), below, s))

    def draw_state(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """Draw u from exp(-c(u)), an overdispersed start; a heavy tail is cut."""
        return np.clip(self.draw(shape, rng), -CUT * self.slab_scale, CUT * self.slab_scale)

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


def bounds(meta: Mapping[str, Any]) -> str:
    """Return the bounds of a declared number, in words."""
    if meta["high"] < math.inf:
        return f"in {'(' if meta['above'] else '['}{meta['low']:g}, {meta['high']:g}]"
    return f"{'>' if meta['above'] else '>='} {meta['low']:g}" if meta["low"] > -math.inf else "finite"


def _same_integral(knots: Array, values: Array, integral: Array) -> Array:
    """Return a table's values moved so that its integral is the given one, to the next order of the spacing."""
    # what the trapezoid rule has too much in each cell, per length: taken from both of its knots
    excess = (values[1:] + values[:-1]) / 2 - np.diff(integral) / np.diff(knots)
    around = np.concatenate([excess[:1], excess, excess[-1:]])
    return np.asarray(values - (around[1:] + around[:-1]) / 2)


def slope_table(
    function: Callable[[Array, float, Smoothing], Array],
    slope: Callable[[Array, float, Smoothing], Array],
    threshold: float,
    width: float,
    smoothing: Smoothing,
) -> Table:
    """Return a function's slope, tabulated around the corners at +-threshold; its ends are flat, as at width 0.

    Where tails would add up the table keeps the function as its integral, to the next order of the spacing.
    """
    knots = smoothing.knots(threshold, width)
    values = slope(knots, width, smoothing)
    if smoothing.tails:
        values = _same_integral(knots, values, function(knots, width, smoothing))
    knots = np.concatenate([[knots[0] - width], knots, [knots[-1] + width]])
    low, high = slope(knots[[0, -1]], 0.0, smoothing)
    return Table(knots, np.concatenate([[low, low], values[1:-1], [high, high]]))


def rectified_cells(prior: Prior, width: float, reach: float, strongest: float) -> PriorCells:
    r"""Return the cells of nonnegative codes in a circuit without noise: s = u, and a rectifier at u = 0.

    .. math:: c'(u) = C'(u) \quad (u > 0), \qquad c'(u) = C'(0^+) + \frac{e_{max}}{w}\,u \quad (u < 0)

    The sampler's s = abs(u) has a saddle at u = 0 that nothing leaves without noise; a rectifier keeps the problem convex
    where the cost is. What pulls a latent below zero, at most e_max, moves it by w at most.

    Parameters
    ----------
    prior : Prior
        Of nonnegative codes.
    width : float
        w, in model units.
    reach : float
        Largest u of the tables, in model units.
    strongest : float
        e_max, the largest gradient, in 1/(model unit).
    """
    table = prior.cells(width, reach).prior
    assert table is not None
    far = table.knots > 4 * width  # where abs(u) is u
    at_zero = float(prior.cost_grad(np.array([1e-9 * width]))[0])
    if not far.any():  # C' is constant
        knots, values = np.array([width, 2 * width]), np.full(2, table.values[-1])
    else:
        knots, values = table.knots[far], table.values[far]
    return PriorCells(
        None,
        None,
        Table(np.concatenate([[-2 * width, 0.0], knots]), np.concatenate([[at_zero - 2 * strongest, at_zero], values])),
    )
