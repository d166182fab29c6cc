"""Design rules of a circuit in transistors: leakage, headroom, bandwidth of the noise, lag of code lines and force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor.amplified import STAGES, AmplifiedNoise
from circuitlsc.circuit.transistor.headroom import headroom
from circuitlsc.circuit.transistor.leakage import off_currents
from circuitlsc.circuit.transistor.process import CELSIUS
from circuitlsc.circuit.transistor.staircase import operating_points, pins_of, placed
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.studies.lag import measure_lags
from circuitlsc.studies.rule import Rule, rule

ROOM, WARM = 27.0, 125.0  # degrees C
LEAKAGE = (
    0.05  # of the smallest current: a diode of I0 has 4 U_T from drain to source where I0 is exp(4/1.3) times that
)
LEAST_OF_BIAS = 1e-10  # ampere: devices of the bias block count where they carry more, those of a neuron from 1 nA
#: where the voltage is high, the device above it has it
APART = ("m.xthreshold_0.xvi.mcc",)
LAG = 0.03  # times the loop gain: at 0.22 a P(active) moves by less than .01
FAST = 0.02  # of a mode's variance, and of the slowest mode's
STAIRS = 5  # of u; of e three


def transistor_rules(sampler: Sampler) -> Iterator[Rule]:
    """Check the design rules of a circuit in transistors; what ngspice finds of it is kept (10 s for four latents at first).

    Parameters
    ----------
    sampler : Sampler

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    yield from leakage(sampler)
    yield from headrooms(sampler)
    yield from noise_bandwidth(sampler)
    yield from lag(sampler)


def _where(sampler: Sampler) -> dict[str, Any]:
    corner = sampler.nonideal.corner
    return {"corner": corner.process, "celsius": corner.temperature - CELSIUS, "supply": sampler.silicon.supply}


def leakage(sampler: Sampler) -> Iterator[Rule]:
    """Compare what splitters' devices carry when they are off with I0, at 27 and 125 C of the chip's process."""
    sizes, where = sampler.silicon.sizes, _where(sampler)
    currents = sizes.currents
    for celsius in (ROOM, WARM):
        found = []
        for cell, least in ((sizes.threshold, currents.least), (sizes.gate, currents.least_e)):
            for off in off_currents(cell, **{**where, "celsius": celsius}).values():
                found.append((off / least, off, least))
        value, off, least = max(found)
        text = f"at {celsius:g} C a device that is off carries {off:.2g} A, {value:.2g} of the smallest current {least:.2g} A"
        cure = ": splitters have no such current there. Raise circuit.width or circuit.volt, or keep the chip cooler."
        yield rule(f"leakage at {celsius:g} C", f"{text}, limit {LEAKAGE:g}", value, LEAKAGE, cure)


def headrooms(sampler: Sampler) -> Iterator[Rule]:
    """Return the least drain-source voltage beyond 4 U_T, of each cell, over all u and e that a run may reach."""
    sizes, ranges, where = sampler.silicon.sizes, sampler.ranges, _where(sampler)
    reach_u, reach_e = min(sizes.reach_u, ranges.u) * sizes.volt, min(sizes.reach_e, ranges.e) * sizes.unit_e
    cells = (sizes.bias, sizes.threshold, sizes.gate)
    u, e = np.linspace(-reach_u, reach_u, STAIRS), np.array([-reach_e, 0.0, reach_e])
    found = operating_points(*cells, u, e, **where)
    for (cell, path), name in zip(placed(*cells), ("bias block", "threshold", "gate"), strict=True):
        given: dict[str, float] = {"least": LEAST_OF_BIAS} if cell is sizes.bias else {}
        margins = headroom(cell, path, pins_of(cell), found, where["celsius"], **given)
        device, value = min(((k, v) for k, v in margins.items() if k not in APART), key=lambda item: item[1])
        where_it_is = device.removeprefix(f"m.{path}.")
        text = f"{name}: {where_it_is} has {1e3 * value:.0f} mV from drain to source beyond 4 U_T, needed 0"
        cure = f": it leaves saturation. Raise the supply of {where['supply']:.3g} V, or lower circuit.volt."
        yield rule(f"headroom of the {name}", text, value, 0.0, cure, at_least=True)


def noise_bandwidth(sampler: Sampler) -> Iterator[Rule]:
    """Compare an amplifier's poles with the fastest mode, and its servo's corner with where its hole lies."""
    noise = sampler.graph.noise
    if not isinstance(noise, AmplifiedNoise):
        return
    tau, rate = sampler.scaling.tau, sampler.plan.fastest_mode
    time = max(1 / m.pole + STAGES / m.stages for m in noise.models)
    value = rate * time / tau
    text = f"the noise amplifier's poles {time:.3g} s times the fastest mode {rate / tau:.3g} /s is {value:.3g}, limit {FAST:g}"
    yield rule("noise bandwidth", text, value, FAST, f": a mode's variance is off by {value:.0%}. Use a larger sigma.")
    slow = 1 / (sampler.plan.time_scale * tau)
    value, low, near, what = max(
        (m.low / near, m.low, near, what)
        for m in noise.models
        for near, what in [(2 * np.pi * m.chop, "its chopper's") if m.chop else (slow, "the prior's own")]
    )
    text = f"the noise amplifier's servo {low:.3g} /s over {what} rate {near:.3g} /s is {value:.3g}, limit {FAST:g}"
    cure = ': modes of that rate get another temperature. Use transistor.noise = "ideal", and say so.'
    yield rule("noise servo", text, value, FAST, cure)


def lag(sampler: Sampler) -> Iterator[Rule]:
    """Compare lags with the largest loop gain: of the code line, C/g_m at s = w, and of what makes the force, at e = lam."""
    found, tau, rate = measure_lags(sampler), sampler.scaling.tau, sampler.plan.fastest_mode
    lam = sampler.silicon.sizes.lam
    force = found.e_charge / lam + found.output_charge / (2 * lam)
    for name, what, delay in (
        ("code line lag", f"the code line of latent {found.latent} (at s = {found.code:.2g})", found.line),
        ("force lag", f"the force of latent {found.latent} (at e = lam)", force),
    ):
        value = rate * delay / tau
        text = f"{what} lags by {delay:.3g} s; times the largest loop gain {rate / tau:.3g} /s it is {value:.3g}, limit {LAG:g}"
        yield rule(name, text, value, LAG, f": raise tau to {tau * value / LAG:.2g} s.")
