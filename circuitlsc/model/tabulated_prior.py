"""A prior of your own: its cost as a function, or as a table; kept as a table either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_flag, check_positive, real_array
from circuitlsc.model.prior import Prior

RISE = 2.0  # by how much a tabulated cost must rise within its reach, so that the table is about the prior at all
LONGEST_NAME = 255  # of a prior: that of a file
COLUMNS = ("prior_s", "prior_cost", "prior_slope")  # variables of a file: s (model units), C(s), C'(s)
AGREE = 1e-4  # of the largest slope: how well a given gradient must agree with differences
KNOTS = 8001  # of a tabulated function, over its whole reach


@dataclass(frozen=True, init=False, eq=False, repr=False)
class CustomPrior(Prior):
    r"""A cost of your own, p(s) ~ exp(-C(s)), kept as a table: knots, C and C' there, cubic in between.

    Beyond its reach the cost goes on along its last slope, so that the tail is exponential. A constant added to the cost
    changes nothing.

    Parameters
    ----------
    cost : callable
        C(s) of an array of codes in model units, or of one code; dimensionless. Evaluated for abs(s) <= reach (s >= 0 if
        not signed), at 8,001 knots and between them; not kept.
    grad : callable or None
        C'(s), compared with differences of the cost; None takes those (five points, exact to 1e-9 or so).
    reach : float
        Up to where the cost is tabulated, in model units; it must have risen by 2 there, and still rise.
    signed : bool
        Whether codes may be negative.
    name : str
        What to call it.

    Attributes
    ----------
    knots, costs, slopes : array, shape (n_knots,)
        The table: s in model units, C(s), C'(s).

    Raises
    ------
    InputError
        If the cost is not finite, has a corner or a feature that the table does not resolve, does not rise towards the
        ends, or disagrees with ``grad``.

    Examples
    --------
    >>> prior = CustomPrior(lambda s: (s**2 + 0.01) ** 0.5, reach=20.0, name="rounded")
    >>> [round(float(c), 2) for c in prior.code_cost([0.0, 1.0])]
    [0.1, 1.0]
    """

    kind = "table"

    knots: Array
    costs: Array
    slopes: Array
    signed: bool
    name: str

    def __init__(
        self,
        cost: Callable[[Array], ArrayLike],
        grad: Callable[[Array], ArrayLike] | None = None,
        *,
        reach: float,
        signed: bool = True,
        name: str = "custom",
    ) -> None:
        check_positive("CustomPrior", "reach", reach, "the cost is tabulated up to it")
        s = np.linspace(0.0, reach, (KNOTS + 1) // 2 if signed else KNOTS)
        s = np.concatenate([-s[:0:-1], s]) if signed else s  # mirrored to the last bit
        costs = tabulated("cost", cost, s)
        self._check_rise(s, costs, signed, cost)
        slopes = tabulated_slope(cost, s)
        if grad is not None:
            given = tabulated("grad", grad, s)
            check_slope(s, given, slopes)
            slopes = given
        self._fill(s, costs, slopes, signed, name)
        self._check_resolved()

    @classmethod
    def from_table(
        cls,
        s: ArrayLike,
        cost: ArrayLike,
        grad: ArrayLike | None = None,
        *,
        signed: bool = True,
        name: str = "table",
    ) -> CustomPrior:
        """Return the prior of a table; without slopes, the cubic spline through it.

        Parameters
        ----------
        s : array, shape (n_knots,)
            Increasing codes, in model units: from 0 on, or on both sides of 0 if signed; 5 at least.
        cost, grad : array, shape (n_knots,)
            C(s) and C'(s); grad in 1/(model unit).
        signed : bool
            Whether codes may be negative.
        name : str
            What to call it.

        Raises
        ------
        InputError
            If the arrays cannot be used, or the cost does not rise towards the ends.
        """
        knots, costs = real_array("CustomPrior: s", s), real_array("CustomPrior: cost", cost)
        slopes = None if grad is None else real_array("CustomPrior: grad", grad)
        for what, array in (("s", knots), ("cost", costs), ("grad", slopes)):
            if array is not None and (array.ndim != 1 or array.shape != knots.shape or len(array) < 5):
                raise InputError(
                    f"CustomPrior: {what} has shape {array.shape}, but a table has the same number of knots, 5 or more, in "
                    f"each column (s has {knots.shape}). Pass one-dimensional arrays of equal length."
                )
        k = int(np.argmax(np.diff(knots) <= 0))
        if knots[k + 1] <= knots[k]:
            raise InputError(
                f"CustomPrior: s[{k + 1}] = {knots[k + 1]:g} is not above s[{k}] = {knots[k]:g}. Sort the knots, and give each "
                "once."
            )
        if (not signed and knots[0] != 0) or (signed and not knots[0] < 0 < knots[-1]):
            missing = (
                "signed codes lie on both sides of 0. Add the other side, or set signed = False."
                if signed
                else "codes >= 0 start at 0. Let the table start at s = 0, or set signed = True."
            )
            raise InputError(f"CustomPrior: the table covers s = {knots[0]:g} to {knots[-1]:g}, but {missing}")
        cls._check_rise(knots, costs, signed)
        prior = object.__new__(cls)
        prior._fill(knots, costs, CubicSpline(knots, costs)(knots, 1) if slopes is None else slopes, signed, name)
        return prior

    def _fill(self, knots: Array, costs: Array, slopes: Array, signed: bool, name: str) -> None:
        """Set the fields, arrays read-only; raise InputError if the tails do not end."""
        for field, array in (("knots", knots), ("costs", costs), ("slopes", slopes)):
            object.__setattr__(self, field, real_array(f"CustomPrior: {field}", array))
        object.__setattr__(self, "signed", check_flag("CustomPrior: signed", signed))
        if not str(name).isprintable() or len(str(name)) > LONGEST_NAME:
            raise InputError(
                f"CustomPrior: name = {str(name)[:LONGEST_NAME]!r} stands in reports and files, but has characters that cannot "
                f"be printed, or more than {LONGEST_NAME}. Give a plain name."
            )
        object.__setattr__(self, "name", str(name))
        ends = ((knots[-1], slopes[-1]), (knots[0], -slopes[0]))[: 2 if signed else 1]
        for end, outward in ends:
            if not outward > 0:
                raise InputError(
                    f"CustomPrior: the cost does not rise any more at s = {end:g} (outward slope {outward:.3g}), and goes on "
                    "along that slope: the prior would be improper. Give a reach at which it still rises."
                )

    @staticmethod
    def _check_rise(s: Array, costs: Array, signed: bool, cost: Callable[[Array], ArrayLike] | None = None) -> None:
        """Raise InputError unless the cost has risen at the ends, with a reach that would do if one is found."""
        ends = [-1, 0] if signed else [-1]
        if all(costs[k] >= costs.min() + RISE for k in ends):
            return
        k = min(ends, key=lambda k: costs[k])
        advice = "Give a larger reach, or a cost that rises."
        with suppress(InputError):  # further out it may be none
            for factor in 2.0 ** np.arange(1, 11):
                if cost is None:
                    break
                further = tabulated("cost", cost, factor * s[:: len(s) // 1000])
                if all(further[j] >= further.min() + RISE for j in ends):
                    advice = f"Give reach >= {factor * s[-1]:g}."
                    break
        raise InputError(
            f"CustomPrior: the cost at s = {s[k]:g} is {costs[k] - costs.min():.3g} above its least value, but it must rise by "
            f"{RISE:g} within its table for the prior to be proper. {advice}"
        )

    def _check_resolved(self) -> None:
        """Raise InputError if the slope has a corner: its steepest change grows as the table gets finer."""
        fine, coarse = (np.abs(np.diff(self.slopes[::n]) / np.diff(self.knots[::n])) for n in (1, 2))
        k = int(np.argmax(fine))
        if fine[k] > 1.5 * coarse.max() and fine[k] * self.slab_scale**2 > 1:
            cell = float(self.knots[1] - self.knots[0])
            raise InputError(
                f"CustomPrior: the slope of the cost jumps from {self.slopes[k]:.4g} to {self.slopes[k + 1]:.4g} at "
                f"s = {self.knots[k]:.4g}, within one cell of the table ({cell:.3g}). Smooth the corner over {10 * cell:.2g} "
                "or more (sqrt(s**2 + eps**2) for abs(s)), or give a smaller reach."
            )

    def __repr__(self) -> str:
        ends = f"{self.knots[0]:g} to {self.knots[-1]:g}"
        return f"CustomPrior({self.name!r}, {len(self.knots)} knots from {ends}, signed={self.signed})"

    def _key(self) -> tuple[Any, ...]:
        return self.name, self.signed, self.knots.tobytes(), self.costs.tobytes(), self.slopes.tobytes()

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, CustomPrior) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @classmethod
    def config_keys(cls) -> tuple[str, ...]:
        """Return the keys that ``[prior]`` has for it: a file of two columns, s and its cost."""
        return ("file", "signed")

    @classmethod
    def from_variables(cls, variables: Mapping[Any, Any], signed: bool) -> CustomPrior:
        """Return the prior that `variables` has written, equal to the last bit."""
        name = str(variables[COLUMNS[0]].attrs["prior_name"])
        return cls.from_table(*(variables[column].to_numpy() for column in COLUMNS), signed=signed, name=name)

    def variables(self) -> dict[str, Any]:
        """Return the variables of a data set that hold the table, and what sums it up."""
        columns = zip(COLUMNS, (self.knots, self.costs, self.slopes), strict=True)
        table = {column: ("knot", values, {"prior_name": self.name}) for column, values in columns}
        return {**super().variables(), **table}

    @property
    def extent(self) -> float:
        """The table's reach: from there on the cost rises along a straight line."""
        return float(np.abs(self.knots[[0, -1]]).max())

    @cached_property
    def slab_scale(self) -> float:
        """The distance from the least cost to where it has risen by 1, on the nearer side."""
        s = np.linspace(self.knots[0], self.knots[-1], 20_001)
        cost = self.code_cost(s)
        least = int(np.argmin(cost))
        return float(np.abs(s[cost >= cost[least] + 1.0] - s[least]).min())

    @cached_property
    def curvature(self) -> float:
        """The largest abs(C''): that of a cubic is largest at a knot, on one of its sides."""
        h, rise = np.diff(self.knots), np.diff(self.costs) / np.diff(self.knots)
        left = (6 * rise - 4 * self.slopes[:-1] - 2 * self.slopes[1:]) / h
        right = (2 * self.slopes[:-1] + 4 * self.slopes[1:] - 6 * rise) / h
        return float(max(np.abs(left).max(), np.abs(right).max()))

    def code_cost(self, s: Array) -> Array:
        """Return C(s)."""
        return hermite(self.knots, self.costs, self.slopes, s)[0]

    def code_cost_grad(self, s: Array) -> Array:
        """Return C'(s)."""
        return hermite(self.knots, self.costs, self.slopes, s)[1]

    def tempered(self, temperature: float) -> CustomPrior:
        """Return the prior of exp(-E/T): the table over T, refused if it then says next to nothing."""
        ends = self.costs[[0, -1]] if self.signed else self.costs[-1:]
        hottest = (float(ends.min()) - float(self.costs.min())) / RISE
        if temperature > hottest:
            raise InputError(
                f"CustomPrior {self.name!r} at temperature {temperature!r}: its cost rises by {RISE * hottest:.4g} within the "
                f"table, and must rise by {RISE:g} T. Give a temperature <= {hottest:.4g}, or a table with a larger reach."
            )
        prior = object.__new__(CustomPrior)
        prior._fill(self.knots, self.costs / temperature, self.slopes / temperature, self.signed, self.name)
        return prior

    def numbers(self) -> dict[str, float]:
        """Return what sums the table up: where it begins and ends, its scale and its curvature."""
        return {
            "from": float(self.knots[0]),
            "to": float(self.knots[-1]),
            "slab_scale": self.slab_scale,
            "curvature": self.curvature,
        }


def hermite(knots: Array, values: Array, slopes: Array, s: Array) -> tuple[Array, Array]:
    """Return the piecewise cubic with given values and slopes at the knots, straight outside, and its derivative.

    Parameters
    ----------
    knots, values, slopes : array, shape (n_knots,)
    s : array of any shape
    """
    s = np.asarray(s, dtype=float)
    inside = np.minimum(np.maximum(s, knots[0]), knots[-1])
    k = np.minimum(np.searchsorted(knots, inside, side="right"), len(knots) - 1) - 1
    left, d0, d1 = knots[k], slopes[k], slopes[k + 1]
    h = knots[k + 1] - left
    t, rise = (inside - left) / h, (values[k + 1] - values[k]) / h
    b, a = 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise
    slope = d0 + t * (2 * b + 3 * a * t)
    return np.asarray(values[k] + h * t * (d0 + t * (b + a * t)) + (s - inside) * slope), np.asarray(slope)


def tabulated(what: str, function: Callable[[Array], ArrayLike], s: Array) -> Array:
    """Return a user's function at s, shape of s; one that takes single numbers is called once for each.

    Raises
    ------
    InputError
        If it fails, or returns something else than one finite real number for each.
    """
    values = None
    with np.errstate(all="ignore"):
        with suppress(Exception):  # it may be meant for single numbers: called so below, where it may say what is wrong
            values = np.asarray(function(s))
        if values is None or values.shape != s.shape:
            values = np.array([_one(what, function, v) for v in s])
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise InputError(f"CustomPrior: {what}(s) returns {values.dtype}, but real numbers are needed.")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        k = bad[0]
        raise InputError(
            f"CustomPrior: {what}({s[k]:g}) = {values[k]}, but it must be finite for every s of the table, {s.min():g} to "
            f"{s.max():g} ({len(bad)} of {len(s)} are not). Smooth it there, or give a smaller reach."
        )
    return values.astype(float)


def _one(what: str, function: Callable[[Array], ArrayLike], v: Array) -> NDArray[Any]:
    try:
        value = np.asarray(function(v))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"CustomPrior: {what}({v:g}) fails with {type(error).__name__}: {first.rstrip('.')}. Give a function of an "
            "array of codes, or of one code."
        ) from None
    if value.size != 1:
        raise InputError(
            f"CustomPrior: {what}(s) returns shape {value.shape} for one code. Return one number for each code."
        )
    return value.reshape(())


def tabulated_slope(cost: Callable[[Array], ArrayLike], s: Array) -> Array:
    """Return the slope of a user's function at evenly spaced s by five-point differences, one-sided at the ends.

    The function is not evaluated outside s[0] .. s[-1].
    """
    d = (s[1] - s[0]) / 4
    inner = s[1:-1]
    far_left, left, right, far_right = (tabulated("cost", cost, inner + k * d) for k in (-2, -1, 1, 2))
    slopes = np.empty(len(s))
    slopes[1:-1] = (8 * (right - left) - (far_right - far_left)) / (12 * d)
    for end, sign in ((0, 1.0), (-1, -1.0)):
        f = tabulated("cost", cost, s[end] + sign * d * np.arange(5))
        slopes[end] = sign * (-25 * f[0] + 48 * f[1] - 36 * f[2] + 16 * f[3] - 3 * f[4]) / (12 * d)
    return slopes


def check_slope(s: Array, given: Array, slopes: Array) -> None:
    """Raise InputError unless a given slope agrees with differences."""
    error = np.abs(given - slopes)
    k = int(np.argmax(error))
    if error[k] > AGREE * np.abs(slopes).max():
        raise InputError(
            f"CustomPrior: grad({s[k]:.6g}) = {given[k]:.6g}, but differences of the cost give {slopes[k]:.6g}. Correct it, "
            "or leave it out."
        )
