"""The scaling of a circuit, as text: what model units became, and what the hardware would have to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from circuitlsc.circuit.cells import (
    Buffer,
    Crossbar,
    Inverter,
    Memory,
    ResistorCrossbar,
    ThermalNoise,
    TransimpedanceSum,
    WrittenNoise,
)
from circuitlsc.circuit.electrical_rules import flatten
from circuitlsc.circuit.memory import CROSSTALK, crosstalk, independent, lines_at_rest, responses
from circuitlsc.circuit.transistor.cells.amplifier import amplifier, amplifier_bias
from circuitlsc.circuit.transistor.design import Design
from circuitlsc.model.features import Features
from circuitlsc.model.gram import blocks
from circuitlsc.planning.scaling import BOLTZMANN, ROOM
from circuitlsc.sampling.circuit import CompiledCircuit

FAR = 6.0  # standard deviations of what a leak holds: then rails are met once in 5e8
LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: CompiledCircuit) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    return "\n".join(f"{name:<14} {text}" for name, text in scaling_rows(sampler))


def scaling_rows(sampler: CompiledCircuit) -> Iterator[tuple[str, str]]:
    """Yield the lines of the report, each with its label."""
    s, plan, model, ranges = sampler.scaling, sampler.plan, sampler.model, sampler.ranges
    if sampler.sizes is not None:
        yield from _transistor_rows(sampler, sampler.sizes)
        return
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, (Crossbar, ResistorCrossbar))]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    layout = sampler.system.layout(sampler.form)
    what = f"{sampler.level} level, {layout}, {model.n_features} x {model.n_latents}, {len(g)} conductances"
    broken = ", loop broken" if sampler.loop == "broken" else ""
    yield "circuit", f"{what}, {len(flatten(sampler.circuit))} elements{broken}"
    yield "dynamics", sampler.what()
    yield from _plan_rows(sampler)
    volts = f"u, s {s.volt:.4g} V; r {s.volt_r:.4g} V; e {s.volt_e:.4g} V"
    yield "units", f"{volts}; drift {s.drift_current:.4g} A; tau {s.tau:.4g} s; c_int {s.c_int:.4g} F"
    u, e = (f"up to {r:.3g} units = {r * volt:.3g} V" for r, volt in ((ranges.u, s.volt), (ranges.e, s.volt_e)))
    yield "voltages", f"|u| {u}, |e| {e}; rails +-{s.rails:g} V"
    yield "currents", f"into a neuron up to {ranges.e * s.drift_current:.3g} A"
    if len(g):
        yield "conductances", f"{g.min():.3g} .. {g.max():.3g} S (ratio {g.max() / g.min():.3g})"
    bandwidth = f"closed-loop bandwidth >= {LAG * plan.fastest_mode / (2 * np.pi * s.tau):.3g} Hz"
    yield "op-amps", f"{bandwidth} ({LAG} times the fastest mode) keeps a mode's variance within {1 / LAG:.0%}"
    yield from _noise_rows(sampler)
    if sampler.level == "device":
        yield from _device_rows(sampler)
    if sampler.features is not None:
        yield from _memory_rows(sampler, sampler.features)
    if sampler.integrated is not sampler.graph:
        yield (
            "solved once",
            "the encoder, by ngspice (operating point): x is constant, and everything before the noise has settled",
        )
    yield _blocks_row(sampler)
    for line in plan.warnings:
        yield "warning", line


def _plan_rows(sampler: CompiledCircuit) -> Iterator[tuple[str, str]]:
    """Yield how inputs follow each other, and how the step was chosen."""
    stream = sampler.stream
    if stream is not None:
        how = "one after the other" if stream.interpolate == "hold" else "with lines between them"
        total = f": {stream.t_stop:g} tau in all"
        if stream.order != "once":
            total = f", {'in turn' if stream.order == 'cyclic' else 'in another order each time'}, again and again"
            how = f"{stream.t_stop:g} tau a cycle"
        yield "inputs", f"{len(stream.rows)} of {stream.hold:g} tau each, {how}{total}"
    for line in sampler.plan.explanation:
        yield "step", line


def _blocks_row(sampler: CompiledCircuit) -> tuple[str, str]:
    groups = blocks(sampler.model.gram)
    one = "1 (every latent is coupled to every other, directly or not)"
    return "blocks", one if len(groups) == 1 else f"{len(groups)}: {groups}; each could be a circuit of its own"


def _transistor_rows(sampler: CompiledCircuit, sizes: Design) -> Iterator[tuple[str, str]]:
    """Yield the lines of a circuit in transistors."""
    s, model, ranges, silicon = sampler.scaling, sampler.model, sampler.ranges, sampler.silicon
    n, currents = len(sizes.weights), sizes.currents
    mirrors = [entry.cell for sign in (1, -1) for entry in sizes.entries(sign)]
    inputs = [] if sampler.stream is not None else [cell for _, cell, _ in sizes.inputs(silicon.b)]
    cells = [sizes.bias, *[sizes.threshold, sizes.gate] * n, *mirrors, *inputs]
    if sizes.keys.noise == "amplifier":
        made = silicon.amplifiers[0]
        cells += [amplifier_bias(made), *[amplifier(made)] * n]
    layout = sampler.system.layout(sampler.form)
    count, area = sum(cell.transistors for cell in cells), sum(cell.gate_area for cell in cells)
    what = f"{sampler.level} level, {layout}, {model.n_features} x {model.n_latents}"
    yield "circuit", f"{what}, {count} transistors (parallel ones counted one by one), gate area {area:.4g} um^2"
    yield "engine", silicon.what()
    yield "dynamics", sampler.what()
    yield from _plan_rows(sampler)
    yield "units", f"u {s.volt:.4g} V, s {sizes.unit:.4g} A; e, drift {sizes.unit_e:.4g} A; I0 {currents.least:.4g} A"
    yield "units", f"converter {sizes.ohm:.4g} ohm; tau {s.tau:.4g} s; c_int {s.c_int:.4g} F"
    u, e = (
        f"{ranges.u:.3g} units = {ranges.u * s.volt:.3g} V",
        f"{ranges.e:.3g} units = {ranges.e * sizes.unit_e:.3g} A",
    )
    yield "ranges", f"|u| up to {u}, |e| up to {e}; supply {silicon.supply:g} V"
    used = np.abs(sizes.weights)
    yield "weights", f"G in units of {sizes.weight_unit:.4g}: up to {used.max()}, {used.sum(axis=1).max()} in a row"
    off = float(np.max(np.abs(sizes.gram - model.gram)))
    yield "weights", f"a line's own mirror has {sizes.units} units; rounding moves G by up to {off:.2g}"
    yield "lines", f"a code's line drives up to {used.sum(axis=0).max()} unit mirrors beside its own"
    whose = "the bias block and " + ("one neuron" if silicon.chip.matched else f"{n} neurons")
    rest = silicon.tables.supply
    yield "supply", f"{rest:.3g} A at rest of {whose}: {rest * silicon.supply:.3g} W at {silicon.supply:g} V"
    trims = silicon.trims
    if trims:
        largest = max(abs(volt) for volt in trims.values())
        yield "trims", f'"{sizes.keys.trim}": {len(trims)} gates, up to {1e3 * largest:.3g} mV'
    yield from _noise_rows(sampler)
    found = ", ".join(f"{i.name} = {i.value}" for i in sampler.nonideal.imperfections())
    yield "imperfections", f"{found} (seed {sampler.nonideal.seed})" if found else "none: typical, 300 K, matched"
    yield _blocks_row(sampler)
    for line in sampler.plan.warnings:
        yield "warning", line


def _noise_rows(sampler: CompiledCircuit) -> Iterator[tuple[str, str]]:
    s, noises, step = sampler.scaling, sampler.graph.noises, sampler.plan.step
    if not noises:
        yield "noise", "none: the circuit settles"
    for noise in noises:
        power = sampler.temperature * noise.strength**2
        rms = f"{s.noise_amperes(step, power):.4g} A rms held for {step:.4g} tau"
        thermal = (
            f"{s.noise_lift * power:.3g} times the thermal noise power of a {s.tau / s.c_int:.3g} ohm resistor at 300 K"
        )
        yield "noise", f"{f'{noise.name}: ' if len(noises) > 1 else ''}{rms}: {thermal}"


def _memory_rows(sampler: CompiledCircuit, features: Features) -> Iterator[tuple[str, str]]:
    """Return what a memory adds: its size, what one input writes into another, what it forgets, and what nothing holds."""
    s, k, stream = sampler.scaling, sampler.model.n_latents, sampler.stream
    assert stream is not None
    (memory,) = (cell for cell in sampler.graph.cells if isinstance(cell, Memory))
    largest = sampler.ranges.w
    size = f"{k} x {features.H} weights, up to {largest:.3g} units = {largest * s.volts('w'):.3g} V"
    yield "memory", f"{size}; the kernel's smallest eigenvalue is {features.conditioning:.3g} of the largest"
    if independent(features, sampler.dynamics):
        eye = np.eye(features.N, dtype=bool)
        lines, moved = crosstalk(*lines_at_rest(sampler.graph)), np.abs(responses(sampler.graph) - eye)
        others, itself = float(moved[:, ~eye].max(initial=0.0)), float(moved[:, eye].max())
        said = f"max |phi v - 1| {lines:.3g} of the lines; with multipliers and capacitors {others:.3g} into others"
        yield "crosstalk", said
        yield "crosstalk", f"an input's own response is off by {itself:.3g}: so is its temperature, in the worst latent"
        may = sampler.dynamics.dual_from == "ideal" and features.weights is not None
        helps = '; with many, dual_from = "measured" may help' if may else ""
        if max(lines, others) > CROSSTALK:
            yield (
                "warning",
                f"crosstalk {max(lines, others):.3g} is above {CROSSTALK:g}: inputs move each other's states. Use better "
                f"parts, or features whose dual vectors are smaller (more of them){helps}.",
            )
    rate = float(memory.conductances[0]) + s.tau / (s.leak * s.c_int)
    away, prior = -np.expm1(-rate * (features.N - 1) * stream.hold), rate * features.N
    held = f"a weight decays by {away:.3g} while its input is away"
    yield "retention", f"{held} (leak {rate:.3g} / tau): a prior of precision {prior:.3g} on each u"
    room = BOLTZMANN * ROOM / s.c_int
    yield (
        "kT/C",
        f"{np.sqrt(room):.3g} V rms, were a leak's own noise to fill a weight: T {room / s.volts('w') ** 2:.2g}",
    )
    if sampler.dynamics.noise == "weight" and features.rank < features.H:
        free = 1 - np.sum(features.span**2, axis=1)  # of a weight, what no input reads
        power = 2 * sampler.temperature / features.N * float(free.max())
        time = (s.rails / s.volts("w")) ** 2 / power
        kept = power / (2 * rate)
        what = f"{k * (features.H - features.rank)} modes that no input reads diffuse"
        if np.sqrt(kept) * s.volts("w") < s.rails / FAR:
            yield "free modes", f"{what}: the leak holds them at {np.sqrt(kept) * s.volts('w'):.3g} V rms"
        else:
            when = f"after {time:.3g} tau their rms is at the rails of {s.rails:g} V, after {time / 100:.3g} at a tenth of them"
            yield (
                "warning",
                f'{what}: {when}. Give shorter runs, a leak, or noise = "neuron", which writes no such mode.',
            )


def _device_rows(sampler: CompiledCircuit) -> Iterator[tuple[str, str]]:
    """Return what a device-level circuit adds: crossbars and amplifiers, the lifted noise, the imperfections."""
    for cell in sampler.graph.cells:
        if isinstance(cell, TransimpedanceSum):
            (n, m), gains = cell.crossbar.conductances_siemens.shape, np.diag(cell.noise_gain)
            size = f"{n * m} resistors ({n} rows, {m // 2} column pairs)"
            gain = f"R_f {cell.feedback:.4g} ohm, noise gains {gains.min():.3g} .. {gains.max():.3g}"
            yield "crossbar", f"{cell.crossbar.name}: {size}, {gain}"
        elif isinstance(cell, ThermalNoise):
            corner = cell.corner_rate / (2 * np.pi * sampler.scaling.tau)
            colour = "white" if np.isinf(corner) else f"corner {corner:.3g} Hz"
            source = f"R_n {sampler.nonideal.noise.resistance:.4g} ohm at {cell.hardware.noise_kelvin:.4g} K"
            yield "thermal noise", f"{source}, {colour}, lifted into the neuron by g_m = {cell.gain:.4g} S"
        elif isinstance(cell, WrittenNoise):
            kelvin = f"of {cell.power.min():.3g} .. {cell.power.max():.3g} times the design's power"
            yield "thermal noise", f"white, {kelvin}, as it is written into each weight"
    amps = sum(c.size for c in sampler.graph.cells if isinstance(c, (TransimpedanceSum, Inverter, Buffer)))
    yield "op-amps", f"{amps} in all"
    used = next((c.hardware.parts.op_amp for c in sampler.integrated.cells if isinstance(c, TransimpedanceSum)), None)
    if used is not None and used != sampler.nonideal.op_amp:
        whose = "those of the lines " if sampler.features is not None else ""
        yield "op-amps", f"{whose}settle within half a step, which does not resolve their poles: taken as settled"
    found = ", ".join(f"{i.name} = {i.value}" for i in sampler.nonideal.imperfections())
    yield "imperfections", f"{found} (seed {sampler.nonideal.seed})" if found else "none: ideal parts"
