"""The parts of a device-level circuit and their parameters: SI units, bounds, and what is ideal (the default)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_type_hints

from circuitlsc.errors import InputError
from circuitlsc.io.declared import Declared, choice, quantity
from circuitlsc.planning.scaling import ROOM

PROCESSES = ("typical", "ff", "ss", "fs", "sf")


@dataclass(frozen=True, kw_only=True)
class CrossbarParts(Declared):
    """Differential pairs of resistors; an entry M becomes g_off + (g_on - g_off) max(+-M, 0)/max abs(M) siemens."""

    g_on: float = quantity(1e-5, "S", "the largest conductance of a cell", above=True, design=True)
    g_off: float = quantity(1e-7, "S", "the smallest conductance of a cell, below g_on", design=True)
    levels: int | None = quantity(None, "1", "the number of conductance levels, 2 or more", low=2, high=1e6, whole=True)
    programming_error: float = quantity(0.0, "relative", "the sd of a lognormal factor on each conductance", high=2.0)
    programming_polynomial: tuple[float, ...] = quantity(
        (), "sd/g_on", "c0, c1, c2 of sd/g_on = c0 + c1 g/g_on + c2 (g/g_on)^2", low=-math.inf, three=True
    )
    stuck_on: float = quantity(0.0, "1", "the fraction of cells stuck at g_on", high=1.0)
    stuck_off: float = quantity(0.0, "1", "the fraction of cells stuck at g_off", high=1.0)
    wire_resistance: float = quantity(0.0, "ohm", "the resistance of a wire from one cell to the next")
    driver_resistance: float = quantity(0.0, "ohm", "the output resistance of each column's driver")

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
class OpAmpParts(Declared):
    """Every op-amp: the rows' transimpedance amplifiers, the inverters, the buffers of a code that is u itself."""

    gain: float = quantity(math.inf, "V/V", "the open-loop gain at DC", low=1.0, above=True)
    gbw: float = quantity(math.inf, "Hz", "the gain-bandwidth product", above=True)
    offset: float = quantity(0.0, "V", "the sd of the input offset voltage", high=10.0)
    rail: float = quantity(math.inf, "V", "the output voltage at which it saturates", above=True)
    slew_rate: float = quantity(math.inf, "V/s", "the largest slope of the output", above=True)
    output_resistance: float = quantity(0.0, "ohm", "the open-loop output resistance", high=1e9)
    quiescent_current: float | None = quantity(
        None, "A", "the supply current of one op-amp without load", design=True, high=100.0
    )


@dataclass(frozen=True, kw_only=True)
class IntegratorParts(Declared):
    """The neuron's capacitor and what loads it."""

    output_resistance: float = quantity(math.inf, "ohm", "the resistance that loads the capacitor (a leak)", above=True)
    offset_current: float = quantity(0.0, "A", "the sd of a constant current into the capacitor", high=1.0)
    rail: float = quantity(math.inf, "V", "the voltage at which the neuron is clamped", above=True)
    capacitance_mismatch: float = quantity(0.0, "relative", "the sd of a lognormal factor on the capacitor", high=1.0)
    friction_mismatch: float = quantity(
        0.0, "relative", "the sd of a lognormal factor on a momentum's friction", high=1.0
    )


@dataclass(frozen=True, kw_only=True)
class ComparatorParts(Declared):
    """Threshold cell and gate: each its own comparator, so that their mismatch is a part of the story."""

    width: float | None = quantity(None, "V", "the input width w of the comparators (their gain is 1/(4w))", above=True)
    threshold_offset: float = quantity(0.0, "V", "the sd of the threshold cell's input offset", high=10.0)
    gate_offset: float = quantity(0.0, "V", "the sd of the gate's input offset", high=10.0)
    hysteresis: float = quantity(0.0, "V", "the distance between the gate's upper and lower threshold", high=10.0)
    delay: float = quantity(0.0, "s", "the gate's delay: a first-order lag", high=1.0)
    regeneration: float | None = quantity(
        None,
        "s",
        "how long the gate's output takes to move its threshold (0.05 tau if not given)",
        above=True,
        design=True,
    )


@dataclass(frozen=True, kw_only=True)
class MultiplierParts(Declared):
    """The multiplier that lets the gate pass the gradient e."""

    gain_error: float = quantity(0.0, "relative", "the sd of a lognormal factor on its gain", high=1.0)
    offset: float = quantity(0.0, "V", "the sd of the offset at its input e", high=10.0)


@dataclass(frozen=True, kw_only=True)
class TransconductorParts(Declared):
    """What turns a momentum into the current of its neuron (underdamped dynamics)."""

    gain_error: float = quantity(0.0, "relative", "the sd of a lognormal factor on its gain", high=1.0)
    offset: float = quantity(0.0, "V", "the sd of its input offset", high=10.0)


@dataclass(frozen=True, kw_only=True)
class PlasticParts(Declared):
    """The synapses of a circuit that learns: capacitors that hold the weights, and multipliers."""

    leak_resistance: float = quantity(
        math.inf, "ohm", "the resistance that discharges a weight's capacitor", above=True
    )
    capacitance_mismatch: float = quantity(0.0, "relative", "the sd of a lognormal factor on each capacitor", high=1.0)
    gain_error: float = quantity(0.0, "relative", "the sd of a lognormal factor on each multiplier's gain", high=1.0)
    offset: float = quantity(0.0, "V", "the sd of the offset at each input of a multiplier", high=10.0)


@dataclass(frozen=True, kw_only=True)
class PriorParts(Declared):
    """The current that stands for the prior."""

    lam_error: float = quantity(0.0, "relative", "the common error of the prior's current", low=-0.95, high=10.0)
    lam_mismatch: float = quantity(0.0, "relative", "the sd of a lognormal factor on the prior's current", high=1.0)


@dataclass(frozen=True, kw_only=True)
class NoiseParts(Declared):
    """The thermal-noise source and the transconductor that lifts it to the model's diffusion."""

    resistance: float = quantity(
        1e6, "ohm", "the resistor whose thermal noise is used", low=1e-3, high=1e15, design=True
    )
    capacitance: float = quantity(0.0, "F", "the capacitance across it: variance kT/C, corner 1/(2 pi R C); 0 is white")
    temperature: float = quantity(ROOM, "K", "its temperature (the amplifier is designed for 300 K)", above=True)
    temperature_mismatch: float = quantity(
        0.0, "relative", "the sd of a lognormal factor on each temperature", high=2.0
    )
    offset: float = quantity(0.0, "V", "the sd of the amplifier's offset, referred to the resistor", high=10.0)
    flicker_corner: float = quantity(0.0, "Hz", "where the amplifier's 1/f noise equals the thermal noise")
    ac_corner: float = quantity(0.0, "Hz", "the corner of the AC coupling after the amplifier; 0 is DC-coupled")
    supply_correlation: float = quantity(0.0, "1", "the correlation of any two sources through the supply", high=0.99)


@dataclass(frozen=True, kw_only=True)
class SupplyParts(Declared):
    """The supply."""

    voltage: float | None = quantity(
        None, "V", "the total supply voltage; from rail to rail if not given", above=True, design=True
    )


@dataclass(frozen=True, kw_only=True)
class MosfetParts(Declared):
    """Transistors of a circuit at transistor level: how far those that should be equal are apart."""

    mismatch: float = quantity(
        0.0,
        "1",
        "a factor on the process's mismatch of thresholds, mobilities and resistors (1: as measured)",
        high=10.0,
    )


@dataclass(frozen=True, kw_only=True)
class CornerParts(Declared):
    """Where on the process and environment the whole chip sits."""

    process: str = choice("typical", PROCESSES, "of transistors: typical, or fast and slow n- and p-channel ones")
    temperature: float = quantity(ROOM, "K", "the ambient temperature: it heats every noise resistor", above=True)
    supply: float = quantity(1.0, "relative", "a factor on the supply and on every rail", above=True)
    resistance: float = quantity(1.0, "relative", "a factor on every resistor", above=True)
    capacitance: float = quantity(1.0, "relative", "a factor on every capacitor", above=True)


@dataclass(frozen=True)
class Parts:
    """The parts of a circuit, each by its key."""

    crossbar: CrossbarParts
    op_amp: OpAmpParts
    integrator: IntegratorParts
    comparator: ComparatorParts
    multiplier: MultiplierParts
    transconductor: TransconductorParts
    plastic: PlasticParts
    prior: PriorParts
    noise: NoiseParts
    supply: SupplyParts
    mosfet: MosfetParts
    corner: CornerParts


PARTS: dict[str, type[Declared]] = get_type_hints(Parts)
for _key, _part in PARTS.items():
    _part.key = _key
