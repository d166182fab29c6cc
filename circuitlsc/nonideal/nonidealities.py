"""What real parts do wrong, as data: a mapping from part to parameters, each in SI units, each ideal by default.

Random parameters (offsets, mismatch, programming errors) are standard deviations; the value of one element is drawn from
(seed, element name, parameter) alone. So an imperfection can be switched, or made larger, without moving the others, and
a larger dictionary keeps the errors of the elements that it shares with a smaller one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy.special import ndtri

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.io.nearest import nearest
from circuitlsc.io.report import Note, Report, Table
from circuitlsc.io.shown import LINE, Shown, counted
from circuitlsc.nonideal.parameters import PARTS, Parts
from circuitlsc.nonideal.presets import PRESETS


def _part(key: str, given: Any) -> Any:
    cls = PARTS[key]
    if isinstance(given, cls):
        return given
    if not isinstance(given, Mapping):
        raise InputError(f"{key} = {given!r} is not a table of parameters. Give for example {_example(key)}.")
    known = [f.name for f in fields(cls)]
    for name in given:
        if name not in known:
            raise InputError(
                f"{key}.{name} is not a known parameter.{nearest(name, known)} {key} has {', '.join(known)}."
            )
    return cls(**given)


def _example(key: str) -> str:
    f = next((f for f in fields(PARTS[key]) if not f.metadata.get("design")), fields(PARTS[key])[0])
    return f"{{{f.name} = ...}} ({f.metadata['text']})"


@dataclass(frozen=True)
class Imperfection:
    """One parameter that differs from its ideal value; ``name`` is ``part.parameter``."""

    name: str
    value: Any


@dataclass(frozen=True, init=False)
class Nonidealities(Parts, Shown):
    """The imperfections of every part of a circuit.

    Parameters
    ----------
    parts : mapping, optional
        From part to a mapping of its parameters, SI units: ``{"op_amp": {"offset": 5e-3}}``. The same as keywords.
    seed : int
        Of every random draw: another seed is another chip.
    **keywords
        ``op_amp={"offset": 5e-3}``, ``crossbar={"levels": 16}``, ...

    Raises
    ------
    InputError
        For an unknown part or parameter, or a value that cannot be.

    Examples
    --------
    >>> chip = Nonidealities(op_amp={"offset": 5e-3}, seed=3)
    >>> chip.op_amp.offset
    0.005
    """

    seed: int

    def __init__(self, parts: Mapping[str, Any] | None = None, *, seed: int = 0, **keywords: Any) -> None:
        if parts is not None and not isinstance(parts, Mapping):
            raise InputError(
                f"Nonidealities: {parts!r} is not a mapping from part to parameters. Give one, or Nonidealities.preset(name)."
            )
        given = dict(parts or {})
        for key, value in keywords.items():
            if key in given:
                raise InputError(f"Nonidealities: {key} is given twice.")
            given[key] = value
        for key in given:
            _check_part(key, "")
        seed = check_count("nonideal.seed", seed, 0, " is not a whole number")
        for key in PARTS:
            object.__setattr__(self, key, _part(key, given.get(key, {})))
        object.__setattr__(self, "seed", seed)

    def _line(self) -> str:
        whole = ", ".join([*(f"{part}={values!r}" for part, values in self.attributes().items()), f"seed={self.seed}"])
        if len(whole) + len(type(self).__name__) + 2 <= LINE:
            return whole
        names = [i.name for i in self.imperfections()]
        return f"{counted(len(names), 'imperfection')}, seed={self.seed}: {', '.join(names)}"

    def _shows(self) -> Report:
        columns = {"parameter": "<28", "value": ">12", "unit": "<10", "what it is": ""}
        rows = [
            (f"{part}.{f.name}", str(value), f.metadata["unit"], f.metadata["text"])
            for part, f, value in self._changes()
        ]
        return Report((Table.of(columns, rows), Note(f"seed {self.seed}")))

    @classmethod
    def preset(cls, name: str, *, seed: int = 0) -> Nonidealities:
        """Return a preset by name: ideal, discrete-board, rram, pcm, integrated-180nm (sources in docs/presets.md)."""
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError(
                f"preset {name!r} is not known.{nearest(name, PRESETS)} The presets are {', '.join(PRESETS)}."
            )
        return cls(PRESETS[name], seed=seed)

    def changed(self, values: Mapping[str, Any], *, seed: int | None = None) -> Nonidealities:
        """Return a copy with parameters changed, by ``part.parameter``."""
        if not isinstance(values, Mapping):
            raise InputError(f"changed: {values!r} is not a mapping. Give for example {{'op_amp.offset': 1e-3}}.")
        parts = {key: asdict(getattr(self, key)) for key in PARTS}
        for name, value in values.items():
            part, parameter = split_name(name)
            parts[part][parameter] = value
        return Nonidealities(parts, seed=self.seed if seed is None else seed)

    def get(self, name: str) -> Any:
        """Return a parameter by ``part.parameter``."""
        part, parameter = split_name(name)
        return getattr(getattr(self, part), parameter)

    def imperfections(self) -> tuple[Imperfection, ...]:
        """Return the parameters that differ from ideal; design choices (g_on, g_off, R_n, supply) are none."""
        return tuple(
            Imperfection(f"{key}.{f.name}", value) for key, f, value in self._changes() if not f.metadata.get("design")
        )

    def _changes(self) -> Iterator[tuple[str, Field[Any], Any]]:
        """Yield part, parameter and value of what differs from the defaults."""
        for key in PARTS:
            for f in fields(getattr(self, key)):
                if (value := getattr(getattr(self, key), f.name)) != f.default:
                    yield key, f, value

    def only(self, *names: str) -> Nonidealities:
        """Return the same chip with these imperfections alone; with none, the ideal parts of the same design."""
        for name in names:
            split_name(name)
        ideal = {i.name: ideal_value(i.name) for i in self.imperfections() if i.name not in names}
        return self.changed(ideal)

    def uniform(self, element: str, parameter: str) -> float:
        """Return this element's number in (0, 1) for a parameter."""
        digest = hashlib.blake2b(f"{self.seed}:{element}:{parameter}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "little") + 0.5) / 2.0**64

    def normal(self, element: str, parameter: str, sd: float) -> float:
        """Return this element's draw from a normal distribution of mean 0."""
        return 0.0 if sd == 0 else sd * float(ndtri(self.uniform(element, parameter)))

    def factor(self, element: str, parameter: str, sd: float) -> float:
        """Return this element's lognormal factor of mean 1 and relative sd ``sd``."""
        if sd == 0:
            return 1.0
        spread = math.sqrt(math.log1p(sd**2))
        return math.exp(self.normal(element, parameter, spread) - spread**2 / 2)

    def normals(self, elements: Iterable[str], parameter: str, sd: float) -> Array:
        """Return `normal` of several elements."""
        return np.array([self.normal(e, parameter, sd) for e in elements])

    def factors(self, elements: Iterable[str], parameter: str, sd: float) -> Array:
        """Return `factor` of several elements."""
        return np.array([self.factor(e, parameter, sd) for e in elements])

    def attributes(self) -> dict[str, Any]:
        """Return what differs from the defaults, as nested plain data that `Nonidealities` takes again."""
        out: dict[str, Any] = {}
        for key, f, value in self._changes():
            out.setdefault(key, {})[f.name] = list(value) if isinstance(value, tuple) else value
        return out


def _check_part(key: str, where: str) -> None:
    if key not in PARTS:
        raise InputError(f"{where}{key!r} is not a known part.{nearest(key, PARTS)} The parts are {', '.join(PARTS)}.")


def split_name(name: str) -> tuple[str, str]:
    """Return (part, parameter) of ``part.parameter``, or raise InputError."""
    part, _, parameter = str(name).partition(".")
    _check_part(part, f"{name!r}: ")
    known = [f.name for f in fields(PARTS[part])]
    if parameter not in known:
        raise InputError(
            f"{name!r}: {parameter!r} is not a parameter of {part}.{nearest(parameter, known)} It has {', '.join(known)}."
        )
    return part, parameter


def _declared(name: str) -> Field[Any]:
    part, parameter = split_name(name)
    return next(f for f in fields(PARTS[part]) if f.name == parameter)


def ideal_value(name: str) -> Any:
    """Return the ideal value of ``part.parameter``."""
    return _declared(name).default


def unit_of(name: str) -> str:
    """Return the unit of ``part.parameter``."""
    return str(_declared(name).metadata["unit"])


def as_nonidealities(value: Nonidealities | Mapping[str, Any]) -> Nonidealities:
    """Return imperfections from a mapping, as `Nonidealities` takes it."""
    if value is None:
        raise InputError("nonideal = None, but imperfections are needed. Give Nonidealities(...) or a mapping.")
    return value if isinstance(value, Nonidealities) else Nonidealities(value)


IDEAL = Nonidealities()
