"""Arrays and numbers as they come from a user: checked once, here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError

Array = NDArray[np.float64]
MOST_WHOLE = 2**63 - 1
TINY, HUGE = 1e-100, 1e100  # beyond them products of a few numbers overflow


def is_finite(value: Any) -> bool:
    """Return whether a number is finite as a double, with room for its square and its inverse."""
    try:
        size = abs(float(value))
    except OverflowError:  # a whole number of Python may be larger than any double
        return False
    return size == 0 or TINY <= size <= HUGE


def is_number(value: Any) -> bool:
    """Return whether a value is one real number, Python's or NumPy's."""
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)


def is_positive(value: Any) -> bool:
    """Return whether a value is a number > 0, with room for its square and its inverse."""
    return is_number(value) and is_finite(value) and bool(value > 0)


def plain(value: Any) -> Any:
    """Return NumPy's number as Python's, which goes into files, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def check_flag(name: str, value: Any) -> bool:
    """Return a truth value as Python's own, or raise InputError: text such as 'no' would be true."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} = {value!r} is not True or False.")
    return bool(value)


def check_number(
    owner: str, name: str, value: Any, why: str, *, low: float = 0.0, high: float = math.inf, above: bool = True
) -> float:
    """Return a finite number from ``low`` (which ``above`` excludes) to ``high`` as Python's own, or raise InputError."""
    least = f" {'>' if above else '>='} {low:g}" if low > -math.inf else ""
    wanted = f"a finite number{least}" + (f" and <= {high:g}" if high < math.inf else "")
    if not is_number(value):
        raise InputError(f"{owner}: {name} = {value!r} is not a number. Give {wanted}.")
    if low < value < math.inf and not is_finite(value):
        raise InputError(
            f"{owner}: {name} = {value!r} has no room for its square. Give a number within 1e-100 .. 1e100."
        )
    if not is_finite(value) or not low <= value <= high or (above and value == low):
        raise InputError(f"{owner}: {name} = {value!r}, but {why}. Give {wanted}.")
    return float(value)


check_positive = check_number  # whose bound is > 0, unless another is given


def check_count(name: str, value: Any, least: int, why: str = " cannot be used", *, kept: bool = True) -> int:
    """Return a whole number >= ``least`` as Python's own, or raise InputError; ``name`` and ``why`` make the message.

    One that is ``kept`` goes into files, which have 64 bits for it.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} = {value!r}{why}. Give an integer >= {least}.")
    if kept and value > MOST_WHOLE:  # a longer one may be too long to be printed, too
        raise InputError(f"{name} has no room in 64 bits. Give an integer from {least} to 2**63 - 1.")
    return int(value)


def as_generator(name: str, rng: np.random.Generator | int) -> np.random.Generator:
    """Return a random generator: itself, or the one that a seed >= 0 starts.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    why = " is neither a numpy.random.Generator nor a seed"
    return np.random.default_rng(check_count(name, rng, 0, why))


def without_rounding(values: Array, size: Array | float) -> Array:
    """Return numbers with those as 0 that are rounding noise of numbers of the given size: no more than their last bit."""
    return np.where(np.abs(values) <= np.finfo(float).eps * size, 0.0, values)


def real_array(name: str, value: ArrayLike) -> Array:
    """Return a read-only float copy of an array, or raise InputError if an entry is not a finite real number."""
    try:
        raw = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is ragged: its rows differ in length. Pass a rectangular array.") from None
    if raw.dtype.kind not in "biufc":  # times are numbers to NumPy
        raise InputError(f"{name} has dtype {raw.dtype}, but real numbers are needed. Pass an array of floats.")
    if np.iscomplexobj(raw):
        raise InputError(f"{name} is complex, but the model is real. Pass an array of real numbers.")
    array = np.array(raw, dtype=float)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(str(int(k)) for k in bad[0])
        raise InputError(
            f"{name}[{where}] = {array[tuple(bad[0])]}, but every entry must be finite ({len(bad)} are not). "
            "Remove NaN and inf first."
        )
    array.flags.writeable = False
    return array
