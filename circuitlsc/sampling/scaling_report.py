"""The scaling of a circuit, as text: what model units became, and what the hardware would have to do."""

from __future__ import annotations

import numpy as np

from circuitlsc.circuit.cells import Buffer, Crossbar, Inverter, ResistorCrossbar, ThermalNoise, TransimpedanceSum
from circuitlsc.circuit.electrical_rules import flatten
from circuitlsc.model.gram import blocks
from circuitlsc.sampling.circuit import CompiledCircuit

LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: CompiledCircuit) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    s, plan, model = sampler.scaling, sampler.plan, sampler.model
    ranges = sampler.ranges
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, (Crossbar, ResistorCrossbar))]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    groups = blocks(model.gram)
    rows = [
        (
            "circuit",
            f"{sampler.level} level, {sampler.form} form, {model.n_features} x {model.n_latents}, {len(g)} conductances, "
            f"{len(flatten(sampler.circuit))} elements" + (", loop broken" if sampler.loop == "broken" else ""),
        ),
        ("dynamics", sampler.what()),
        *_stream_rows(sampler),
        *(("step", line) for line in plan.explanation),
        (
            "units",
            f"u, s {s.volt:.4g} V; r {s.volt_r:.4g} V; e {s.volt_e:.4g} V; drift {s.drift_current:.4g} A; "
            f"tau {s.tau:.4g} s; c_int {s.c_int:.4g} F",
        ),
        (
            "voltages",
            f"|u| up to {ranges.u:.3g} units = {ranges.u * s.volt:.3g} V, |e| up to {ranges.e:.3g} units = "
            f"{ranges.e * s.volt_e:.3g} V; rails +-{s.rails:g} V",
        ),
        ("currents", f"into a neuron up to {ranges.e * s.drift_current:.3g} A"),
        *([("conductances", f"{g.min():.3g} .. {g.max():.3g} S (ratio {g.max() / g.min():.3g})")] if len(g) else []),
        (
            "op-amps",
            f"closed-loop bandwidth >= {LAG * plan.fastest_mode / (2 * np.pi * s.tau):.3g} Hz "
            f"({LAG} times the fastest mode) keeps a mode's variance within {1 / LAG:.0%}",
        ),
        *_noise_rows(sampler),
        *_device_rows(sampler),
        (
            "blocks",
            "1 (every latent is coupled to every other, directly or not)"
            if len(groups) == 1
            else f"{len(groups)}: {groups}; each could be a circuit of its own",
        ),
        *(("warning", line) for line in plan.warnings),
    ]
    return "\n".join(f"{name:<14} {text}" for name, text in rows)


def _noise_rows(sampler: CompiledCircuit) -> list[tuple[str, str]]:
    s, noises = sampler.scaling, sampler.graph.noises
    if not noises:
        return [("noise", "none: the circuit settles")]
    powers = {noise.name: sampler.temperature * noise.strength**2 for noise in noises}
    return [
        (
            "noise",
            (f"{name}: " if len(noises) > 1 else "")
            + f"{s.noise_amperes(sampler.plan.step, power):.4g} A rms held for {sampler.plan.step:.4g} tau: "
            f"{s.noise_lift * power:.3g} times the thermal noise power of a {s.tau / s.c_int:.3g} ohm resistor at 300 K",
        )
        for name, power in powers.items()
    ]


def _stream_rows(sampler: CompiledCircuit) -> list[tuple[str, str]]:
    """Return how the inputs follow each other."""
    if sampler.stream is None:
        return []
    stream = sampler.stream
    how = "one after the other" if stream.interpolate == "hold" else "with lines between them"
    return [("inputs", f"{len(stream.rows)} of {stream.hold:g} tau each, {how}: {stream.t_stop:g} tau in all")]


def _device_rows(sampler: CompiledCircuit) -> list[tuple[str, str]]:
    """Return what a device-level circuit adds: crossbars and amplifiers, the lifted noise, the imperfections."""
    if sampler.level != "device":
        return []
    rows = []
    for cell in sampler.graph.cells:
        if isinstance(cell, TransimpedanceSum):
            shape = cell.crossbar.conductances_siemens.shape
            gains = np.diag(cell.noise_gain)
            rows.append(
                (
                    "crossbar",
                    f"{cell.crossbar.name}: {shape[0] * shape[1]} resistors ({shape[0]} rows, {shape[1] // 2} column pairs), "
                    f"R_f {cell.feedback:.4g} ohm, noise gains {gains.min():.3g} .. {gains.max():.3g}",
                )
            )
        elif isinstance(cell, ThermalNoise):
            part = sampler.nonideal.noise
            b = cell.corner_rate
            rows.append(
                (
                    "thermal noise",
                    f"R_n {part.resistance:.4g} ohm at {cell.hardware.noise_kelvin:.4g} K, "
                    + ("white" if np.isinf(b) else f"corner {b / (2 * np.pi * sampler.scaling.tau):.3g} Hz")
                    + f", lifted into the neuron by g_m = {cell.gain:.4g} S",
                )
            )
    amps = sum(c.size for c in sampler.graph.cells if isinstance(c, (TransimpedanceSum, Inverter, Buffer)))
    rows.append(("op-amps", f"{amps} in all"))
    found = ", ".join(f"{i.name} = {i.value}" for i in sampler.nonideal.imperfections())
    rows.append(("imperfections", f"{found} (seed {sampler.nonideal.seed})" if found else "none: ideal parts"))
    return rows
