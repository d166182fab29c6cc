"""The scaling of a circuit, as text: what model units became, and what the hardware would have to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from circuitlsc.circuit.cells import Buffer, Crossbar, Inverter, ResistorCrossbar, ThermalNoise, TransimpedanceSum
from circuitlsc.circuit.electrical_rules import flatten
from circuitlsc.model.gram import blocks
from circuitlsc.sampling.circuit import CompiledCircuit

LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: CompiledCircuit) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    return "\n".join(f"{name:<14} {text}" for name, text in _rows(sampler))


def _rows(sampler: CompiledCircuit) -> Iterator[tuple[str, str]]:
    s, plan, model, ranges, stream = sampler.scaling, sampler.plan, sampler.model, sampler.ranges, sampler.stream
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, (Crossbar, ResistorCrossbar))]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    layout = sampler.system.layout(sampler.form)
    what = f"{sampler.level} level, {layout}, {model.n_features} x {model.n_latents}, {len(g)} conductances"
    broken = ", loop broken" if sampler.loop == "broken" else ""
    yield "circuit", f"{what}, {len(flatten(sampler.circuit))} elements{broken}"
    yield "dynamics", sampler.what()
    if stream is not None:
        how = "one after the other" if stream.interpolate == "hold" else "with lines between them"
        total = f": {stream.t_stop:g} tau in all"
        if stream.order != "once":
            total = f", {'in turn' if stream.order == 'cyclic' else 'in another order each time'}, again and again"
            how = f"{stream.t_stop:g} tau a cycle"
        yield "inputs", f"{len(stream.rows)} of {stream.hold:g} tau each, {how}{total}"
    for line in plan.explanation:
        yield "step", line
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
    if sampler.integrated is not sampler.graph:
        yield (
            "solved once",
            "the encoder, by ngspice (operating point): x is constant, and everything before the noise has settled",
        )
    groups = blocks(model.gram)
    one = "1 (every latent is coupled to every other, directly or not)"
    yield "blocks", one if len(groups) == 1 else f"{len(groups)}: {groups}; each could be a circuit of its own"
    for line in plan.warnings:
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
    amps = sum(c.size for c in sampler.graph.cells if isinstance(c, (TransimpedanceSum, Inverter, Buffer)))
    yield "op-amps", f"{amps} in all"
    used = next((c.hardware.parts.op_amp for c in sampler.integrated.cells if isinstance(c, TransimpedanceSum)), None)
    if used is not None and used != sampler.nonideal.op_amp:
        yield "op-amps", "settle within half a step, which does not resolve their poles: taken as settled"
    found = ", ".join(f"{i.name} = {i.value}" for i in sampler.nonideal.imperfections())
    yield "imperfections", f"{found} (seed {sampler.nonideal.seed})" if found else "none: ideal parts"
