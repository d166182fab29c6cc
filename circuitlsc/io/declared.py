"""Declared fields: a dataclass says bounds, unit, text and default of each value, and readers, checks and docs follow."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import is_finite, is_number

REQUIRED: Any = MISSING  #: the default of a value that must be given


def quantity(
    default: Any,
    unit: str,
    text: str,
    *,
    low: float = 0.0,
    high: float = math.inf,
    above: bool = False,
    whole: bool = False,
    design: bool = False,
    three: bool = False,
    auto: bool = False,
) -> Any:
    """Declare a number: ``above`` excludes the lower end, ``design`` marks what is no imperfection, ``three`` a list.

    ``auto`` is for one that is chosen where a config says "auto", or nothing; `REQUIRED` as default for one without.
    """
    return _declare(
        "number",
        default,
        unit,
        text,
        low=low,
        high=high,
        above=above,
        whole=whole,
        design=design,
        three=three,
        auto=auto,
    )


def choice(default: str, options: Collection[str], text: str) -> Any:
    """Declare one of several words."""
    return _declare("choice", default, "", text, options=options)


def flag(default: bool, text: str) -> Any:
    """Declare what is true or false."""
    return _declare("flag", default, "", text)


def word(default: Any, text: str) -> Any:
    """Declare a string."""
    return _declare("word", default, "", text)


def entry(default: Any, text: str) -> Any:
    """Declare a value of another kind (a list, a table), which a function of its own checks."""
    return _declare("entry", default, "", text)


def _declare(kind: str, default: Any, unit: str, text: str, **bounds: Any) -> Any:
    meta = {"kind": kind, "default": default, "unit": unit, "text": text, **bounds}
    return field(default=default, metadata=meta)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What classes of declared fields share: they check their own numbers."""

    #: the name of their table in a config
    key: ClassVar[str]

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and f.default is None:
                continue
            object.__setattr__(self, f.name, checked(f"{self.key}.{f.name}", value, f.metadata))


def checked(name: str, value: Any, meta: Mapping[str, Any]) -> Any:
    """Return a value as what its number is declared to be, or raise InputError."""
    if meta["three"]:
        if not isinstance(value, (list, tuple)) or len(value) not in (0, 3):
            raise InputError(f"{name} = {value!r} is not a list of three numbers. Give {meta['text']}.")
        return tuple(checked(name, v, {**meta, "three": False}) for v in value)
    if not is_number(value):
        raise InputError(f"{name} = {value!r} is not a number. Give {meta['text']} ({meta['unit']}).")
    if isinstance(value, int) and not is_finite(value):
        raise InputError(f"{name} has a whole number larger than any double. Give {meta['text']}.")
    if meta["whole"]:
        if value != int(value) if math.isfinite(value) else True:
            raise InputError(f"{name} = {value!r} is not a whole number. Give {meta['text']}.")
        value = int(value)
    else:
        value = float(value)
    low, high = meta["low"], meta["high"]
    ideal_inf = value == math.inf and meta["default"] == math.inf  # an infinite gain is ideal; an infinite g_on is none
    if math.isnan(value) or value < low or value > high or (meta["above"] and value == low):
        bounds = f"{'>' if meta['above'] else '>='} {low:g}" + (f" and <= {high:g}" if high < math.inf else "")
        raise InputError(f"{name} = {value:g}, but it must be {bounds} ({meta['unit']}): {meta['text']}.")
    if math.isfinite(value) and not is_finite(value):
        raise InputError(f"{name} = {value:g} has no room for its square. Give {meta['text']} within 1e-100 .. 1e100.")
    if math.isinf(value) and not ideal_inf:
        raise InputError(f"{name} = {value:g}, but it must be finite ({meta['unit']}): {meta['text']}.")
    return value
