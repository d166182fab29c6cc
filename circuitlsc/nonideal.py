"""What real parts do wrong, as data: a mapping from part to parameters, each in SI units, each ideal by default.

Random parameters (offsets, mismatch, programming errors) are standard deviations; the value of one element is drawn from
(seed, element name, parameter) alone. So an imperfection can be switched, or made larger, without moving the others, and
a larger dictionary keeps the errors of the elements that it shares with a smaller one.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from circuitlsc.arrays import Array
from circuitlsc.errors import InputError

ROOM = 300.0  # kelvin: the temperature that the noise amplifiers are designed for


def _quantity(
    default: Any,
    unit: str,
    text: str,
    *,
    low: float = 0.0,
    high: float = math.inf,
    above: bool = False,
    whole: bool = False,
    design: bool = False,
) -> Any:
    """Declare a parameter: ``above`` excludes the lower end, ``design`` marks a choice that is no imperfection."""
    meta = {
        "default": default,
        "unit": unit,
        "text": text,
        "low": low,
        "high": high,
        "above": above,
        "whole": whole,
        "design": design,
    }
    return field(default=default, metadata=meta)


class _Part:
    """Checks its own numbers."""

    #: the part's name in a config
    key: ClassVar[str]

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value is None and f.default is None:
                continue
            object.__setattr__(self, f.name, _checked(f"{self.key}.{f.name}", value, f.metadata))


def _checked(name: str, value: Any, meta: Mapping[str, Any]) -> Any:
    if isinstance(meta["low"], tuple):  # a list of coefficients
        if not isinstance(value, (list, tuple)) or len(value) not in (0, 3):
            raise InputError(f"{name} = {value!r} is not a list of three numbers. Give {meta['text']}.")
        return tuple(_checked(name, v, {**meta, "low": -math.inf}) for v in value)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{name} = {value!r} is not a number. Give {meta['text']} ({meta['unit']}).")
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
    if math.isinf(value) and not ideal_inf:
        raise InputError(f"{name} = {value:g}, but it must be finite ({meta['unit']}): {meta['text']}.")
    return value


@dataclass(frozen=True, kw_only=True)
class CrossbarParts(_Part):
    """Differential pairs of resistors; an entry M becomes g_off + (g_on - g_off) max(+-M, 0)/max abs(M) siemens."""

    key = "crossbar"

    g_on: float = _quantity(1e-5, "S", "the largest conductance of a cell", above=True, design=True)
    g_off: float = _quantity(1e-7, "S", "the smallest conductance of a cell, below g_on", design=True)
    levels: int | None = _quantity(None, "1", "the number of conductance levels, 2 or more", low=2, whole=True)
    programming_error: float = _quantity(0.0, "relative", "the sd of a lognormal factor on each conductance", high=2.0)
    programming_polynomial: tuple[float, ...] = _quantity(
        (),
        "sd/g_on",
        "c0, c1, c2 of sd/g_on = c0 + c1 g/g_on + c2 (g/g_on)^2",
        low=(),  # type: ignore[arg-type]
    )
    stuck_on: float = _quantity(0.0, "1", "the fraction of cells stuck at g_on", high=1.0)
    stuck_off: float = _quantity(0.0, "1", "the fraction of cells stuck at g_off", high=1.0)
    wire_resistance: float = _quantity(0.0, "ohm", "the resistance of a wire from one cell to the next")
    driver_resistance: float = _quantity(0.0, "ohm", "the output resistance of each column's driver")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.g_off >= self.g_on:
            raise InputError(
                f"crossbar.g_off = {self.g_off:g} S is not below crossbar.g_on = {self.g_on:g} S: the window is empty. "
                "Give g_off < g_on."
            )
        if self.stuck_on + self.stuck_off > 1:
            raise InputError(
                f"crossbar.stuck_on + crossbar.stuck_off = {self.stuck_on + self.stuck_off:g}, but they are fractions of "
                "the cells. Give a sum <= 1."
            )


@dataclass(frozen=True, kw_only=True)
class OpAmpParts(_Part):
    """Every op-amp: the rows' transimpedance amplifiers, the inverters, the buffers of a code that is u itself."""

    key = "op_amp"

    gain: float = _quantity(math.inf, "V/V", "the open-loop gain at DC", low=1.0, above=True)
    gbw: float = _quantity(math.inf, "Hz", "the gain-bandwidth product", above=True)
    offset: float = _quantity(0.0, "V", "the sd of the input offset voltage", high=10.0)
    rail: float = _quantity(math.inf, "V", "the output voltage at which it saturates", above=True)
    slew_rate: float = _quantity(math.inf, "V/s", "the largest slope of the output", above=True)
    output_resistance: float = _quantity(0.0, "ohm", "the open-loop output resistance", high=1e9)
    quiescent_current: float | None = _quantity(
        None, "A", "the supply current of one op-amp without load", design=True, high=100.0
    )


@dataclass(frozen=True, kw_only=True)
class IntegratorParts(_Part):
    """The neuron's capacitor and what loads it."""

    key = "integrator"

    output_resistance: float = _quantity(
        math.inf, "ohm", "the resistance that loads the capacitor (a leak)", above=True
    )
    offset_current: float = _quantity(0.0, "A", "the sd of a constant current into the capacitor", high=1.0)
    rail: float = _quantity(math.inf, "V", "the voltage at which the neuron is clamped", above=True)
    capacitance_mismatch: float = _quantity(0.0, "relative", "the sd of a lognormal factor on the capacitor", high=1.0)


@dataclass(frozen=True, kw_only=True)
class ComparatorParts(_Part):
    """Threshold cell and gate: each its own comparator, so that their mismatch is a part of the story."""

    key = "comparator"

    width: float | None = _quantity(
        None, "V", "the input width w of the comparators (their gain is 1/(4w))", above=True
    )
    threshold_offset: float = _quantity(0.0, "V", "the sd of the threshold cell's input offset", high=10.0)
    gate_offset: float = _quantity(0.0, "V", "the sd of the gate's input offset", high=10.0)
    hysteresis: float = _quantity(0.0, "V", "the distance between the gate's upper and lower threshold", high=10.0)
    delay: float = _quantity(0.0, "s", "the gate's delay: a first-order lag", high=1.0)
    regeneration: float | None = _quantity(
        None,
        "s",
        "how long the gate's output takes to move its threshold (0.05 tau if not given)",
        above=True,
        design=True,
    )


@dataclass(frozen=True, kw_only=True)
class MultiplierParts(_Part):
    """The multiplier that lets the gate pass the gradient e."""

    key = "multiplier"

    gain_error: float = _quantity(0.0, "relative", "the sd of a lognormal factor on its gain", high=1.0)
    offset: float = _quantity(0.0, "V", "the sd of the offset at its input e", high=10.0)


@dataclass(frozen=True, kw_only=True)
class PriorParts(_Part):
    """The current that stands for the prior."""

    key = "prior"

    lam_error: float = _quantity(0.0, "relative", "the common error of the prior's current", low=-0.95, high=10.0)
    lam_mismatch: float = _quantity(0.0, "relative", "the sd of a lognormal factor on the prior's current", high=1.0)


@dataclass(frozen=True, kw_only=True)
class NoiseParts(_Part):
    """The thermal-noise source and the transconductor that lifts it to the model's diffusion."""

    key = "noise"

    resistance: float = _quantity(1e6, "ohm", "the resistor whose thermal noise is used", above=True, design=True)
    capacitance: float = _quantity(
        0.0, "F", "the capacitance across it: variance kT/C, corner 1/(2 pi R C); 0 is white"
    )
    temperature: float = _quantity(ROOM, "K", "its temperature (the amplifier is designed for 300 K)", above=True)
    temperature_mismatch: float = _quantity(
        0.0, "relative", "the sd of a lognormal factor on each temperature", high=2.0
    )
    offset: float = _quantity(0.0, "V", "the sd of the amplifier's offset, referred to the resistor", high=10.0)
    flicker_corner: float = _quantity(0.0, "Hz", "where the amplifier's 1/f noise equals the thermal noise")
    ac_corner: float = _quantity(0.0, "Hz", "the corner of the AC coupling after the amplifier; 0 is DC-coupled")
    supply_correlation: float = _quantity(0.0, "1", "the correlation of any two sources through the supply", high=0.99)


@dataclass(frozen=True, kw_only=True)
class SupplyParts(_Part):
    """The supply."""

    key = "supply"

    voltage: float | None = _quantity(
        None, "V", "the total supply voltage; from rail to rail if not given", above=True, design=True
    )


@dataclass(frozen=True, kw_only=True)
class CornerParts(_Part):
    """Where on the process and environment the whole chip sits."""

    key = "corner"

    temperature: float = _quantity(ROOM, "K", "the ambient temperature: it heats every noise resistor", above=True)
    supply: float = _quantity(1.0, "relative", "a factor on the supply and on every rail", above=True)
    resistance: float = _quantity(1.0, "relative", "a factor on every resistor", above=True)
    capacitance: float = _quantity(1.0, "relative", "a factor on every capacitor", above=True)


PARTS: dict[str, type[_Part]] = {
    cls.key: cls
    for cls in (
        CrossbarParts,
        OpAmpParts,
        IntegratorParts,
        ComparatorParts,
        MultiplierParts,
        PriorParts,
        NoiseParts,
        SupplyParts,
        CornerParts,
    )
}


def _part(key: str, given: Any) -> Any:
    cls = PARTS[key]
    if isinstance(given, cls):
        return given
    if not isinstance(given, Mapping):
        raise InputError(f"{key} = {given!r} is not a table of parameters. Give for example {_example(key)}.")
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise InputError(
                f"{key}.{name} is not a known parameter.{nearest(name, known)} {key} has {', '.join(known)}."
            )
    return cls(**given)


def _example(key: str) -> str:
    f = next((f for f in fields(PARTS[key]) if not f.metadata["design"]), fields(PARTS[key])[0])  # type: ignore[arg-type]
    return f"{{{f.name} = ...}} ({f.metadata['text']})"


def nearest(word: object, options: Iterable[str]) -> str:
    """Return `` Did you mean ...?`` if an option is close to a word, else nothing."""
    found = difflib.get_close_matches(str(word), list(options), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


@dataclass(frozen=True)
class Imperfection:
    """One parameter that differs from its ideal value; ``name`` is ``part.parameter``."""

    name: str
    value: Any


@dataclass(frozen=True, init=False)
class Nonidealities:
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
    """

    crossbar: CrossbarParts
    op_amp: OpAmpParts
    integrator: IntegratorParts
    comparator: ComparatorParts
    multiplier: MultiplierParts
    prior: PriorParts
    noise: NoiseParts
    supply: SupplyParts
    corner: CornerParts
    seed: int

    def __init__(self, parts: Mapping[str, Any] | None = None, *, seed: int = 0, **keywords: Any) -> None:
        if parts is not None and not isinstance(parts, Mapping):
            raise InputError(f"Nonidealities: {parts!r} is not a mapping from part to parameters.")
        given = dict(parts or {})
        for key, value in keywords.items():
            if key in given:
                raise InputError(f"Nonidealities: {key} is given twice.")
            given[key] = value
        for key in given:
            if key not in PARTS:
                raise InputError(f"{key!r} is not a known part.{nearest(key, PARTS)} The parts are {', '.join(PARTS)}.")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise InputError(f"nonideal.seed = {seed!r} is not a whole number >= 0.")
        for key in PARTS:
            object.__setattr__(self, key, _part(key, given.get(key, {})))
        object.__setattr__(self, "seed", int(seed))

    @classmethod
    def preset(cls, name: str, *, seed: int = 0) -> Nonidealities:
        """Return a preset by name: ideal, discrete-board, rram, pcm, integrated-180nm (sources in docs/presets.md)."""
        from circuitlsc.presets import preset

        return preset(name, seed=seed)

    def changed(self, values: Mapping[str, Any], *, seed: int | None = None) -> Nonidealities:
        """Return a copy with parameters changed, by ``part.parameter``."""
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
            Imperfection(f"{key}.{f.name}", value)
            for key in PARTS
            for f in fields(getattr(self, key))
            if not f.metadata["design"] and (value := getattr(getattr(self, key), f.name)) != f.default
        )

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
        for key in PARTS:
            part = getattr(self, key)
            changed = {f.name: getattr(part, f.name) for f in fields(part) if getattr(part, f.name) != f.default}
            if changed:
                out[key] = {k: list(v) if isinstance(v, tuple) else v for k, v in changed.items()}
        return out


def split_name(name: str) -> tuple[str, str]:
    """Return (part, parameter) of ``part.parameter``, or raise InputError."""
    part, _, parameter = str(name).partition(".")
    if part not in PARTS:
        raise InputError(
            f"{name!r}: {part!r} is not a known part.{nearest(part, PARTS)} The parts are {', '.join(PARTS)}."
        )
    known = [f.name for f in fields(PARTS[part])]  # type: ignore[arg-type]
    if parameter not in known:
        raise InputError(
            f"{name!r}: {parameter!r} is not a parameter of {part}.{nearest(parameter, known)} It has {', '.join(known)}."
        )
    return part, parameter


def ideal_value(name: str) -> Any:
    """Return the ideal value of ``part.parameter``."""
    part, parameter = split_name(name)
    return next(f.default for f in fields(PARTS[part]) if f.name == parameter)  # type: ignore[arg-type]


def unit_of(name: str) -> str:
    """Return the unit of ``part.parameter``."""
    part, parameter = split_name(name)
    return str(next(f.metadata["unit"] for f in fields(PARTS[part]) if f.name == parameter))  # type: ignore[arg-type]


IDEAL = Nonidealities()
