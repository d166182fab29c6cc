"""Costs as tables: a user's function at the knots, its slope by differences, and the cubic in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array

AGREE = 1e-4  # of the largest slope: how well a given gradient must agree with differences


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
            values = _one_by_one(what, function, s)
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


def _one_by_one(what: str, function: Callable[[Array], ArrayLike], s: Array) -> Array:
    values = []
    for v in s:
        try:
            value = np.asarray(function(v))
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise InputError(
                f"CustomPrior: {what}({v:g}) fails with {type(error).__name__}: {first.rstrip('.')}. Give a function of an "
                "array of codes, or of one code."
            ) from None
        if value.shape != () and value.size != 1:
            raise InputError(
                f"CustomPrior: {what}(s) returns shape {value.shape} for one code. Return one number for each code."
            )
        values.append(value.reshape(()))
    return np.array(values)


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
