"""What `circuitlsc learn` says at its end."""

from __future__ import annotations

import numpy as np

from circuitlsc.config.learning import LearnConfig
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.match import match_atoms


def learn_report(config: LearnConfig, learned: Learned, where: str) -> str:
    """Return what was learned as a few lines: against the truth, if the data have one."""
    lines = []
    stages = config.stages
    n = sum(stage.n_inputs for stage in stages) * (config.batch if where == "software" else 1)
    lines.append(f"learned        {', '.join(config.learn)} in {where}, {n} inputs, {len(stages)} stage(s)")
    truth = config.truth
    if "A" in config.learn:
        norms = np.linalg.norm(learned.A, axis=0)
        lines.append(
            f"dictionary     {learned.A.shape[0]} x {learned.A.shape[1]}, norms {norms.min():.3f} .. {norms.max():.3f}"
        )
        if truth is not None and truth.n_latents <= learned.A.shape[1]:
            match = match_atoms(truth.A, learned.A, signed=learned.signed)
            lines.append(
                f"against truth  cosines {match.cosine.min():.4f} .. {match.cosine.max():.4f}, "
                f"norms over the true ones {match.norm_ratio.min():.3f} .. {match.norm_ratio.max():.3f}"
            )
    true = config.true_numbers() or {}
    for name in ("pi", "lam", "sigma"):
        if name in config.learn:
            value = f"{name:<14} {getattr(learned, name):.4f}"
            lines.append(value + (f" (truth {true[name]:.4g})" if name in true else ""))
    lines.append("(averages over the last quarter)")
    if where == "software" and (said := config.software().concern):
        lines.append(f"NOTE: {said}")
    if where == "circuit" and "sigma" in config.learn and learned.sigma < config.sigma / 2:
        lines.append(
            f"NOTE: widths and voltages are those of the sigma it started from, {config.sigma:.4g}; start again from "
            f"start = {{ sigma = {learned.sigma:.3g} }}"
        )
    return "\n".join(lines)
