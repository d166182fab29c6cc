r"""Design rules of a circuit, checked before it runs: each says what is needed and what is there.

Those of transistors: `circuitlsc.studies.transistor_rules`. Of devices the loop gain comes from ngspice's ``.ac`` analysis
of the very crossbars and op-amps of the circuit, with every gate open (all latents active, the fastest case) and driven along
the fastest mode v:

.. math:: L(j\omega) = \frac{v^T e(j\omega)}{j\omega\tau\,(1 + j\omega t_d)}, \qquad
          \text{phase margin} = 180^\circ + \arg L \text{ where } |L| = 1

A memory's loop is that of one neuron that holds still: its rules are those of the circuit without a memory, and what the lines,
weights and multipliers of the memory ask for.

A variational circuit has no loop. Its rules are what its law has: how often a voltage meets the rails, how far each
imperfection alone moves the law (`circuitlsc.studies.device_law`), and whether what answers the noise is faster than it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.cells import (
    DeviceGate,
    DeviceIntegrator,
    Input,
    Memory,
    Noise,
    ThermalNoise,
    Threshold,
    TransimpedanceSum,
    Write,
)
from circuitlsc.circuit.cells.op_amp import Buffer
from circuitlsc.circuit.memory import CROSSTALK, independent, lines_at_rest, responses
from circuitlsc.circuit.variational import SETTLES, slowest_op_amp
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.variational import law_of
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.plan import LAPLACE_WIDTH
from circuitlsc.planning.scaling import HEADROOM
from circuitlsc.reference.statistics import MARGINALS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.simulator.analysis import analyse
from circuitlsc.studies.device_law import UNPREDICTED, device_law
from circuitlsc.studies.rule import Rule, rule
from circuitlsc.studies.small_signal import LINES, gradient_offset, loop_lag
from circuitlsc.studies.transistor_rules import transistor_rules

LAG = 0.02  # of a linear mode's variance
MARGIN = 60.0  # degrees
OFFSET = 0.1  # of the prior's current
OWN = 0.05  # of an input's response: its temperature
CLIPPED = 1e-4  # of the samples, or draws
LAW_ERROR = 0.02  # of P(active), and of mean and sd in units of the slab, by one imperfection
NEGLIGIBLE = 0.001  # of these: no rule of its own
FAR = 6.0  # standard deviations of a noise voltage: one in 5e8 is farther


@dataclass(frozen=True, eq=False)
class LoopGain:
    """Loop gain along the fastest mode.

    Attributes
    ----------
    frequency : array, shape (n,)
        Hz.
    gain : array, shape (n,)
        Complex; negative feedback is positive.
    crossover : float
        Hz, where its size is 1.
    phase_margin : float
        Degrees; 90 without any lag.
    """

    frequency: Array
    gain: np.ndarray[tuple[int, ...], np.dtype[np.complex128]]
    crossover: float
    phase_margin: float


def loop_gain(sampler: Sampler, *, points: int = 20) -> LoopGain:
    """Measure the loop gain along the fastest mode, by an ``.ac`` run of the circuit's own subcircuits.

    Parameters
    ----------
    sampler : Sampler
        Device or ideal level.
    points : int
        Per decade.
    """
    model, scaling = sampler.model, sampler.scaling
    rates, modes = np.linalg.eigh(model.gram)
    rate, mode = float(rates[-1]), modes[:, -1]
    circuit = Circuit("loop gain")
    defined, left_out = set(), (DeviceIntegrator, Noise, DeviceGate, Threshold, Buffer)
    for cell in sampler.graph.cells:
        if isinstance(cell, left_out) or cell.name in ("neuron", "gate"):
            continue
        if isinstance(cell, Input):
            cell = replace(cell, value=np.zeros(cell.size))  # an operating point in the middle of the rails
        for definition in cell.subcircuits(scaling):
            if definition.name not in defined:
                circuit.subcircuit(definition)
                defined.add(definition.name)
        cell.emit(circuit, sampler.graph.wires(cell), scaling)
    code = next((c for c in sampler.graph.cells if c.quantity == "s"), sampler.graph.neurons)
    for i, node in enumerate(code.nodes):
        circuit.V(f"drive_{i}", node, 0, f"dc 0 ac {float(mode[i])!r}")
    middle = rate / (2 * math.pi * scaling.tau)
    lag = loop_lag(sampler) if sampler.level == "device" else 0.0
    top = max(1e3 * middle, 10 / (2 * math.pi * lag) if lag > 0 else 0.0)
    answer = analyse(f"{circuit}\n.end\n", f"ac dec {points} {middle / 1e3!r} {top!r}")
    f = np.real(answer["frequency"])
    e = sum(answer[f"e_{i}"] * v for i, v in enumerate(mode)) * (scaling.volt / scaling.volt_e)
    w = 2j * np.pi * f
    # the mode's own integrator, the gate's delay, a follower in front of a code that is u itself
    gain = e / (w * scaling.tau)
    for cell in sampler.graph.cells:
        if isinstance(cell, DeviceGate):
            gain = gain / (1 + w * cell.lag)
        elif isinstance(cell, Buffer):
            gain = gain / (1 + w / (2 * np.pi * sampler.nonideal.op_amp.gbw))
    size = np.log(np.maximum(np.abs(gain), 1e-300))
    above = np.flatnonzero(size > 0)
    if not len(above):
        return LoopGain(f, gain, 0.0, 180.0)  # it is never above 1: nothing comes back
    last = int(above[-1])
    if last + 1 == len(f):
        return LoopGain(f, gain, float(f[-1]), 0.0)  # it never falls below 1
    phase = np.unwrap(np.angle(gain))
    phase += -math.pi / 2 - phase[0] + (phase[0] + math.pi / 2) % (2 * math.pi) if phase[0] > 0.5 else 0.0
    around = slice(last, last + 2)
    crossover, at = (float(np.interp(0.0, -size[around], values[around])) for values in (np.log(f), phase))
    return LoopGain(f, gain, math.exp(crossover), 180.0 + math.degrees(at))


def check_rules(sampler: Sampler, *, ac: bool = True) -> list[Rule]:
    """Check the design rules of a circuit of devices or transistors; an ideal one has none.

    Parameters
    ----------
    sampler : Sampler
    ac : bool
        Whether to measure the loop gain (half a second).
    """
    if sampler.level == "transistor":
        return list(transistor_rules(sampler))
    if sampler.level != "device":
        return []
    if not sampler.dynamics.has_energy:
        return [*_settling(sampler), *_rails_of_law(sampler), *_flicker(sampler), *_law_errors(sampler)]
    if sampler.dynamics.remembers:
        alone = replace(sampler, dynamics=Dynamics(temperature=sampler.temperature), stream=None, features=None)
        strongest = int(np.argmax(np.abs(sampler.x @ sampler.model.A).max(axis=1)))
        return [*check_rules(replace(alone, x=sampler.x[strongest]), ac=ac), *_memory(sampler)]
    rules = [*_speed(sampler), *_comparators(sampler), *_voltages(sampler), *_currents(sampler)]
    if ac and sampler.dynamics.kind in ("langevin", "gradient"):
        loop = loop_gain(sampler)
        text = f"phase margin {loop.phase_margin:.1f} degrees at {loop.crossover:.3g} Hz, needed {MARGIN:g}"
        cure = ": the fastest mode rings. Raise tau or op_amp.gbw, or lower the delay."
        rules += [_stability(sampler), rule("phase margin", text, loop.phase_margin, MARGIN, cure, at_least=True)]
    return rules


def _stability(sampler: Sampler) -> Rule:
    """Find the slowest mode with every gate open: errors of the crossbars must not turn it into one that grows."""
    model, n = sampler.model, sampler.model.n_latents
    code = next((c.name for c in sampler.graph.cells if c.quantity == "s"), sampler.graph.neurons.name)
    far = max(model.prior.threshold + 20 * sampler.plan.width + 1.0, sampler.ranges.u)
    start, moved = sampler.twin.signals(np.zeros((1, n))), sampler.twin.signals(far * np.eye(n))
    s = moved[code] - start[code]
    loop = np.linalg.solve(s, moved["gradient"] - start["gradient"]).T
    value = float(np.min(np.linalg.eigvals(loop).real)) + model.prior.stiffness
    limit = -1e-3 * sampler.plan.fastest_mode
    text = f"slowest mode with all gates open {value:.3g} / tau, needed {limit:.3g}"
    cure = ": it grows without bound. Use smaller errors of the crossbar, or rails."
    return rule("stability", text, value, limit, cure, at_least=True)


def _speed(sampler: Sampler) -> Iterator[Rule]:
    parts, scaling, rate = sampler.nonideal, sampler.scaling, sampler.plan.fastest_mode

    lag, noise = loop_lag(sampler), sampler.graph.noise
    lags = [("op-amp lag", "op-amp lag", lag, "Raise op_amp.gbw, or tau to {:.2g} s.")]
    if isinstance(noise, ThermalNoise) and sampler.dynamics.kind == "langevin" and math.isfinite(noise.corner_rate):
        cure = "Lower noise.resistance or noise.capacitance, or raise tau to {:.2g} s."
        lags.append(("noise bandwidth", "the noise's correlation time", scaling.tau / noise.corner_rate, cure))
    for cell in sampler.graph.cells:
        if isinstance(cell, DeviceGate):
            lags.append(("comparator delay", "the comparator's delay", cell.lag, "Raise tau to {:.2g} s."))
    friction = sampler.dynamics.friction
    over = "" if friction is None else f", over the friction {friction:.3g},"
    for name, what, seconds, cure in lags:
        # what lags takes from a momentum's friction: rate times lag of it
        value = rate * seconds / scaling.tau / (friction or 1.0)
        text = f"{what} {seconds:.3g} s times the fastest mode {rate / scaling.tau:.3g} /s{over} is {value:.3g}, limit {LAG:g}"
        cure = f": a mode's variance is off by {value:.0%}. {cure.format(scaling.tau * value / LAG)}"
        if seconds > 0:
            yield rule(name, text, value, LAG, cure)
    slow_rate = 1 / sampler.plan.time_scale
    for name, corner, what in (
        ("1/f noise", parts.noise.flicker_corner, "the corner of the 1/f noise"),
        ("AC coupling", parts.noise.ac_corner, "the AC coupling's corner"),
    ):
        if corner > 0:
            value = 2 * math.pi * corner * scaling.tau / slow_rate
            own = slow_rate / (2 * math.pi * scaling.tau)
            text = f"{what} {corner:.3g} Hz over the prior's own rate {own:.3g} Hz is {value:.3g}, limit {LAG:g}"
            cure = f": slow modes get another temperature. Lower it, or tau to {scaling.tau * LAG / value:.2g} s."
            yield rule(name, text, value, LAG, cure)
    value = rate * sampler.plan.step
    text = f"step {sampler.plan.step:.3g} tau times the fastest mode {rate:.3g} / tau is {value:.3g}, limit 4"
    yield rule("step", text, value, 4.0, ": shorten run.step.")
    if math.isfinite(limit := parts.op_amp.slew_rate):
        # e moves by its mode's noise within the closed loop's time, or within a step if that is longer
        time = max(lag, sampler.plan.step * scaling.tau)
        e = math.sqrt(2 * time / scaling.tau) * float(np.sqrt(np.max(np.diag(sampler.model.gram @ sampler.model.gram))))
        value = 3 * e * scaling.volt_e / time
        text = f"e moves at up to {value:.3g} V/s (3 sd over {time:.3g} s), the slew rate is {limit:.3g} V/s"
        yield rule("slew rate", text, value, limit, ": raise tau or the slew rate.")


def _comparators(sampler: Sampler) -> Iterator[Rule]:
    """Compare what separates gate and threshold with the slab."""
    part = sampler.nonideal.comparator
    if all(c.comparator is None for c in sampler.graph.cells if isinstance(c, DeviceGate)):
        return
    limit = OFFSET * sampler.model.prior.slab_scale * sampler.scaling.volt
    for what, value in (
        ("gate and threshold are apart by (3 sd)", 3 * math.hypot(part.gate_offset, part.threshold_offset)),
        ("the comparators' hysteresis is", part.hysteresis),
    ):
        if value > 0:
            text = f"{what} {value:.3g} V, a tenth of the slab is {limit:.3g} V"
            yield rule("comparator", text, value, limit, ": the drift is no gradient.")


def _voltages(sampler: Sampler) -> Iterator[Rule]:
    parts, scaling, ranges = sampler.nonideal, sampler.scaling, sampler.ranges
    op_amp = parts.op_amp.rail
    volts = {
        "u": (ranges.u * scaling.volt, parts.integrator.rail),
        "e": (ranges.e * scaling.volt_e, op_amp),
    }
    if sampler.form != "gram":
        volts["r"] = (ranges.r * scaling.volt_r, op_amp)
    for name, (value, rail) in volts.items():
        yield _voltage(sampler, name, value, rail)


def _voltage(sampler: Sampler, name: str, value: float, rail: float) -> Rule:
    """Return the rule of a voltage and the rail of what makes it."""
    limit = min(rail, sampler.scaling.rails) * sampler.nonideal.corner.supply
    text = f"{name} reaches {value:.3g} V, the rail is {limit:.3g} V"
    cure = f": set circuit.rails to {limit / HEADROOM:.2g} (the voltage scales follow), or lower circuit.volt."
    return rule(f"voltage of {name}", text, value, limit, cure)


def _currents(sampler: Sampler) -> Iterator[Rule]:
    """Compare each constant error with the prior's own current: the smallest that has a say."""
    drift = sampler.scaling.drift_current
    smallest = 1 / sampler.model.prior.slab_scale * drift
    found = {}
    for cell in sampler.graph.cells:
        if isinstance(cell, DeviceIntegrator):
            found["the neurons' offset currents"] = cell.offset
        elif isinstance(cell, ThermalNoise):
            found["the noise amplifiers' offsets"] = cell.drift_offset
        elif isinstance(cell, DeviceGate):
            found["the multipliers' offsets at e"] = cell.draws[2] / sampler.scaling.volt_e
    if sampler.nonideal.op_amp.offset > 0:
        found["the op-amps' offsets at e"] = gradient_offset(sampler)
    for what, offsets in found.items():
        value = float(np.max(np.abs(offsets))) * drift
        if value > 0:
            text = f"{what} reach {value:.3g} A, the prior's current is {smallest:.3g} A (limit {OFFSET:.0%} of it)"
            yield rule("offset", text, value, OFFSET * smallest, ": trim them, or AC-couple.")


def _settling(sampler: Sampler) -> Iterator[Rule]:
    r"""Compare what answers the noise, or the next input, with how fast these are.

    A comparator that is late by t_d decides on an older draw, whose correlation with this one is less than 1,

    .. math:: \langle L_t L_{t + t_d} \rangle / \langle L^2 \rangle = e^{-2 t_d/\tau}

    in product form, by two factors which each forget at 1/tau (that of the table forgets more slowly). Op-amps must settle
    within half a step to be taken as settled, and must move by as much as two inputs differ in that time.
    """
    parts, scaling, step = sampler.nonideal, sampler.scaling, sampler.plan.step
    if (late := parts.comparator.delay) > 0:
        value = 2 * late / scaling.tau
        text = f"the comparators' delay {late:.3g} s takes {value:.3g} of a draw's correlation (2 delay/tau), limit {LAG:g}"
        cure = f": threshold and draw are of two times, which is not simulated. Raise tau to {2 * late / LAG:.2g} s."
        yield rule("comparator delay", text, value, LAG, cure)
    if math.isfinite(parts.op_amp.gbw):
        value, least = slowest_op_amp(sampler.graph, Hardware(parts, scaling)), SETTLES / step
        text = f"the slowest op-amp settles at {value:.3g} / tau, needed {least:.3g} / tau (half a step)"
        cure = (
            f": it keeps its pole. Raise op_amp.gbw to {parts.op_amp.gbw * least / value:.2g} Hz, or tau, or the step."
        )
        yield rule("op-amp settling", text, value, least, cure, at_least=True)
    if math.isfinite(limit := parts.op_amp.slew_rate) and sampler.stream is not None and sampler.encoder is not None:
        moves = [
            float(np.max(np.abs(np.diff(values, axis=0)), initial=0.0)) for values in sampler.encoder.layers(sampler.x)
        ]
        value = max(moves) * scaling.volt / (step * scaling.tau / 2)
        text = f"the encoder moves at up to {value:.3g} V/s from input to input, the slew rate is {limit:.3g} V/s"
        yield rule("slew rate", text, value, limit, ": raise tau or the slew rate.")


def _rails_of_law(sampler: Sampler) -> Iterator[Rule]:
    r"""Compare the encoder's voltages with the rails, and count the draws and codes beyond them: P(|L| > l) = exp(-l)."""
    parts, scaling, encoder = sampler.nonideal, sampler.scaling, sampler.encoder
    assert encoder is not None
    yield _voltage(sampler, "u", FAR * scaling.volt, parts.integrator.rail)
    largest = max(float(np.max(np.abs(values))) for values in encoder.layers(sampler.x))
    yield _voltage(sampler, "the encoder", largest * scaling.volt, parts.op_amp.rail)
    rail = scaling.rails * parts.corner.supply
    law, most = law_of(sampler.model, *encoder.heads(sampler.x)), rail / scaling.volt
    beyond = {
        "a draw": math.exp(-most),
        "the code": float(np.max(1 - law.distribution(most) + law.distribution(-most))),
    }
    for what, value in beyond.items():
        text = f"{what} is beyond the rails of {rail:.3g} V in {value:.2g} of the samples, limit {CLIPPED:g}"
        yield rule(f"voltage of {what}", text, value, CLIPPED, ": lower circuit.volt, or raise circuit.rails.")


def _flicker(sampler: Sampler) -> Iterator[Rule]:
    """Return how much the 1/f noise adds to the variance of u, which is 1: a power that is another in each run."""
    noise, corner = sampler.graph.noises[0], sampler.nonideal.noise.flicker_corner
    if isinstance(noise, ThermalNoise) and corner > 0:
        value = noise.flicker_variance(1.0)
        text = f"1/f noise adds {value:.3g} to the variance 1 of u, limit {LAG:g}"
        cure = f": lower noise.flicker_corner to {corner * LAG / value:.2g} Hz, or AC-couple."
        yield rule("1/f noise", text, value, LAG, cure)


def _law_errors(sampler: Sampler) -> Iterator[Rule]:
    """Return how far each imperfection alone moves the law (of the first input), where that is not negligible."""
    parts, slab = sampler.nonideal, sampler.model.prior.slab_scale
    given = parts.comparator.width is not None
    plan = replace(sampler.plan, width=LAPLACE_WIDTH) if given else sampler.plan
    ideal = device_law(replace(sampler, nonideal=parts.only(), plan=plan))
    for imperfection in parts.imperfections():
        if (name := imperfection.name) in UNPREDICTED:
            continue
        own = sampler.plan if name == "comparator.width" else plan
        found = device_law(replace(sampler, nonideal=parts.only(name), plan=own))
        moved = {what: float(np.max(np.abs(found[what] - ideal[what]))) for what in MARGINALS}
        value = max(moved["p_active"], moved["mean"] / slab, moved["sd"] / slab)
        if value > NEGLIGIBLE:
            text = (
                f"{name} alone moves P(active) by {moved['p_active']:.3g}, mean and sd by {moved['mean'] / slab:.3g} and "
                f"{moved['sd'] / slab:.3g} slabs, limit {LAW_ERROR:g}"
            )
            yield rule(name, text, value, LAW_ERROR, ": lower it; circuitlsc budget measures it.")


def _memory(sampler: Sampler) -> Iterator[Rule]:
    """Return the rules of a memory: crosstalk, retention, offsets, voltages, and lines that settle within a step."""
    parts, scaling, graph, prior = sampler.nonideal, sampler.scaling, sampler.graph, sampler.model.prior
    features, stream = sampler.features, sampler.stream
    assert features is not None
    assert stream is not None
    (memory,) = (cell for cell in graph.cells if isinstance(cell, Memory))
    (write,) = (cell for cell in graph.cells if isinstance(cell, Write))
    moved, own = responses(graph), np.eye(features.N, dtype=bool)
    if independent(features, sampler.dynamics):
        value = float(np.abs(moved[:, ~own]).max(initial=0.0))
        text = f"an input moves the states of others by {value:.3g} of its own response, limit {CROSSTALK:g}"
        cure = ": use better parts, or features with smaller dual vectors."
        yield rule("crosstalk", text, value, CROSSTALK, cure)
        value = float(np.abs(moved[:, own] - 1).max())
        text = f"an input's own response is off by {value:.3g}, limit {OWN:g}"
        yield rule(
            "own response", text, value, OWN, ": so is its temperature. Use better parts, or trim the multipliers."
        )
    rate = float(memory.conductances[0])
    if rate > 0:
        value = features.N * rate * prior.slab_scale**2
        away = -math.expm1(-rate * (features.N - 1) * stream.hold)
        text = (
            f"the leak {rate:.3g} / tau takes {away:.3g} of a weight while its input is away; times N and the slab squared "
            f"it is {value:.3g}, limit {LAG:g}"
        )
        yield rule(
            "retention", text, value, LAG, ": it is a prior of its own. Raise plastic.leak_resistance, or lower tau."
        )
    phi, v = lines_at_rest(graph)
    written = np.einsum("kh,hn->kn", write.errors[1], phi * v.sum(axis=1)[:, None])
    if (value := float(np.abs(written).max())) > 0:
        smallest = 1 / prior.slab_scale
        text = f"the write multipliers' offsets drift by {value:.3g} / tau, limit {OFFSET:.0%} of the prior's {smallest:.3g}"
        yield rule("write offset", text, value, OFFSET * smallest, ": trim them.")
    yield _voltage(sampler, "w", sampler.ranges.w * scaling.volts("w"), parts.integrator.rail)
    for name, lines in (("phi", phi), ("v", v)):
        made = math.inf if features.weights is None and name == "phi" else parts.op_amp.rail
        yield _voltage(sampler, name, float(np.abs(lines).max()) * scaling.volt, made)
    amps = [c for c in graph.cells if isinstance(c, TransimpedanceSum) and c.name in LINES]
    if amps and math.isfinite(parts.op_amp.gbw):
        gain = max(2.0, *(float(np.max(np.diag(c.noise_gain))) for c in amps))
        slowest = 2 * math.pi * parts.op_amp.gbw * scaling.tau / (parts.corner.capacitance * gain)
        least = SETTLES / sampler.plan.step
        text = f"the slowest op-amp of the lines settles at {slowest:.3g} / tau, needed {least:.3g} / tau (half a step)"
        cure = ": an input is written by the last one's vectors for a while. Raise op_amp.gbw, or tau."
        yield rule("lines settling", text, slowest, least, cure, at_least=True)
    if amps and math.isfinite(limit := parts.op_amp.slew_rate):
        moves = [np.abs(np.diff(lines, axis=1, append=lines[:, :1])).max() for lines in (phi, v)]
        value = float(max(moves)) * scaling.volt / (sampler.plan.step * scaling.tau / 2)
        text = f"the lines move at up to {value:.3g} V/s from input to input, the slew rate is {limit:.3g} V/s"
        yield rule("lines slew rate", text, value, limit, ": raise tau or the slew rate.")
