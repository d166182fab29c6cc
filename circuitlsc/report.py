"""Reports as text: the scaling of a circuit, the comparison of its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.cells import Crossbar
from circuitlsc.checks import blocks, flatten
from circuitlsc.scaling import expected_ranges

if TYPE_CHECKING:
    from circuitlsc.sampler import Sampler

LAG = 50  # closed-loop bandwidth over fastest mode that keeps a mode's variance within 1/LAG


def scaling_report(sampler: Sampler) -> str:
    """Return how model units became volts, amperes and seconds, and what the hardware would have to do."""
    s, plan, model = sampler.scaling, sampler.plan, sampler.model
    ranges = expected_ranges(model, sampler.x)
    conductances = [c.conductances(s) for c in sampler.graph.cells if isinstance(c, Crossbar)]
    g = np.concatenate([np.abs(c[c != 0]) for c in conductances])
    groups = blocks(model.gram)
    noise = s.noise_amperes(plan.step, sampler.temperature)
    rows = [
        (
            "circuit",
            f"{sampler.form} form, {model.n_features} x {model.n_latents}, {len(g)} conductances, "
            f"{len(flatten(sampler.circuit))} elements",
        ),
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
        ("conductances", f"{g.min():.3g} .. {g.max():.3g} S (ratio {g.max() / g.min():.3g})"),
        (
            "op-amps",
            f"closed-loop bandwidth >= {LAG * plan.fastest_mode / (2 * np.pi * s.tau):.3g} Hz "
            f"({LAG} times the fastest mode) keeps a mode's variance within {1 / LAG:.0%}",
        ),
        (
            "noise",
            f"{noise:.4g} A rms held for {plan.step:.4g} tau: {s.noise_lift * sampler.temperature:.3g} times the "
            f"thermal noise power of a {s.tau / s.c_int:.3g} ohm resistor at 300 K",
        ),
        (
            "blocks",
            "1 (every latent is coupled to every other, directly or not)"
            if len(groups) == 1
            else f"{len(groups)}: {groups}; each could be a circuit of its own",
        ),
        *(("warning", line) for line in plan.warnings),
    ]
    return "\n".join(f"{name:<14} {text}" for name, text in rows)
