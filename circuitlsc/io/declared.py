"""Declared fields: a dataclass says bounds, unit, text and default of each value, and readers, checks and docs follow."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from circuitlsc.errors import InputError, printable
from circuitlsc.io.arrays import MOST_WHOLE, is_finite, is_number
from circuitlsc.io.nearest import nearest

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
    return _declare("number", **locals())


def choice(default: Any, options: Collection[str], text: str) -> Any:
    """Declare one of several words."""
    return _declare("choice", default, "", text, options=options)


def flag(default: bool, text: str) -> Any:
    """Declare what is true or false."""
    return _declare("flag", default, "", text)


def word(default: Any, text: str) -> Any:
    """Declare a string."""
    return _declare("word", default, "", text)


def entry(default: Any, text: str, *, of: type | None = None, empty: bool = False) -> Any:
    """Declare a value of another kind: a list of what is ``of`` a type, ``empty`` or not, or what a function checks."""
    return _declare("entry", default, "", text, of=of, empty=empty)


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
            if (value := getattr(self, f.name)) is not None or f.default is not None:
                meta = {**f.metadata, "text": f"{f.metadata['text']} ({f.metadata['unit']})", "floats": True}
                object.__setattr__(self, f.name, checked(f"{self.key}.{f.name}", value, meta))


def shown(value: Any) -> str:
    """Return a value for a message: no longer than helps, nothing that a terminal would obey."""
    if isinstance(value, int) and not is_finite(value):  # it may be too long to be printed
        return "a whole number larger than any double"
    return printable(repr(value))


def wanted(meta: Mapping[str, Any]) -> str:
    """Return what a declared value can be, for a message."""
    if meta["kind"] == "choice":
        return "one of " + ", ".join(f'"{option}"' for option in meta["options"])
    return str(meta["text"]) + (', or "auto"' if meta.get("auto") else "")


def checked(name: str, value: Any, meta: Mapping[str, Any]) -> Any:
    """Return a value as what it is declared to be, or raise InputError."""

    def wrong(why: str, within: str = "") -> InputError:
        return InputError(f"{name} = {shown(value)}{why} Give {wanted(meta)}{within}.")

    kind, of = meta["kind"], meta.get("of")
    if kind == "choice" and value not in tuple(meta["options"]):  # a list has no hash
        raise wrong(f" is not known.{nearest(value, meta['options'])}")
    if kind == "word" and not isinstance(value, str):
        raise wrong(" is not a string.")
    if kind == "flag" and not isinstance(value, bool):
        raise InputError(f"{name} = {shown(value)} is not true or false. Write it without quotes.")
    filled = bool(value) or meta.get("empty")
    if of is not None and not (isinstance(value, list) and filled and all(isinstance(v, of) for v in value)):
        raise InputError(f"{name} = {shown(value)} is not {wanted(meta)}.")
    if kind != "number":
        return value
    if meta["three"]:
        if not isinstance(value, (list, tuple)) or len(value) not in (0, 3):
            raise wrong(" is not a list of three numbers.")
        return tuple(checked(name, v, {**meta, "three": False}) for v in value)
    if not is_number(value):
        raise wrong(" is not a number.")
    low, high = meta["low"], meta["high"]
    if meta["whole"]:
        kind_fits = isinstance(value, int) or meta.get("floats", False)  # a sweep of parts gives 2.0 for 2
        if not kind_fits or not is_finite(value) or value != int(value) or not low <= value <= min(high, MOST_WHOLE):
            most = f"{high:g}" if high < MOST_WHOLE else "2**63 - 1"
            raise wrong(f" is not a whole number {f'from {low:g} to {most}' if value >= low else f'>= {low:g}'}.")
        return int(value)
    ideal = value == meta["default"] == math.inf  # an infinite gain is ideal; an infinite g_on is none
    if not low <= value <= high or (meta["above"] and value == low) or (abs(value) == math.inf and not ideal):
        finite = ["finite"] if high == math.inf != meta["default"] else []
        least = [f"{'>' if meta['above'] else '>='} {low:g}"] if low > -math.inf else []
        largest = [f"<= {high:g}"] if high < math.inf else []
        raise wrong(f", but it must be {' and '.join(finite + least + largest)}.")
    if not is_finite(value) and not ideal:
        raise wrong(" has no room for its square.", " within 1e-100 .. 1e100")
    return float(value)
