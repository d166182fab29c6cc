"""Measure what a step of a memory costs, beside L0-LSC of one input and a circuit that learns with as many synapses.

    python benchmarks/amortised.py [--steps N] [--repeats N]

K = 8 latents, ideal parts, one chain at a time on one processor: 4x4 bars for memories and L0-LSC, eight atoms of eight
features for the circuit that learns, which has 64 synapses too (of three multipliers; a memory's have two). Runs alternate, so
that all numbers belong to the same minutes. Prints a table, and writes AMORTISED.md beside this file if --repeats is 3 or more.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import numpy as np

from circuitlsc import Dynamics, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.learning import CircuitLearner, Stage, random_weights
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.task import ChainTask

HERE = Path(__file__).parent
HOLD = 1.0
MEMORIES = {
    "one-hot, N = 8": ("one-hot", 8),
    "ReLU, N = 4, H = 8": ("relu:8", 4),
    "ReLU, N = 8, H = 16": ("relu:16", 8),
}


def learner_task(steps: int) -> ChainTask:
    """Return a circuit that learns with 64 synapses."""
    model = SparseCodingModel(random_weights(8, 8, 3, signed=True), SpikeSlab(0.3, 1.0), 0.5)
    stage = Stage.of_inputs(max(1, round(steps * 0.025 / 10.0)), hold=10.0, step=0.025, tau_A=3000.0)
    given = {"pi": 0.3, "lam": 1.0, "sigma": 0.5, "seed": 1, "learn": ("A",), "signed": True}
    learner = CircuitLearner(A0=random_weights(8, 8, 2, signed=True), source=model, stage=stage, **given)
    return learner.task(0, learner.first_u, {})


def tasks(steps: int) -> dict[str, ChainTask]:
    """Return the chains by what the table calls them."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0, signed=False), 0.5)
    rng = np.random.default_rng(1)
    rows = np.array([model.draw(rng)[1] for _ in range(8)])
    found = {"L0-LSC, one input": task_of(build_sampler(model, rows[0]), steps)}
    for name, (features, n) in MEMORIES.items():
        dynamics = Dynamics(kind="amortised", features=features)
        found[f"memory, {name}"] = task_of(build_sampler(model, rows[:n], dynamics=dynamics, hold=HOLD), steps)
    return {**found, "learner, 8 x 8": learner_task(steps)}


def task_of(sampler: Sampler, steps: int) -> ChainTask:
    """Return one chain of a sampler."""
    return sampler.tasks(sampler.run_plan(t_stop=steps * sampler.plan.step, warmup=0.0, chains=1, seed=1))[0]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8000, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    runs: dict[str, list[tuple[float, float, float]]] = {}
    made = tasks(arguments.steps)
    for _ in range(arguments.repeats):
        for name, task in made.items():
            (done,) = run_chains([task], workers=1)
            each = (1e6 * done.wall, 1e6 * done.cpu, done.iterations)
            runs.setdefault(name, []).append(tuple(v / done.steps for v in each))
    head = (
        "| what | wall (us per step) | processor time (us per step) | over the learner | Newton iterations per step |"
    )
    lines, middle = [head, "| --- | --- | --- | --- | --- |"], arguments.repeats // 2
    for name, found in runs.items():
        wall, cpu, iterations = (sorted(one[k] for one in found) for k in (0, 1, 2))
        ratio = sorted(one[1] / base[1] for one, base in zip(found, runs["learner, 8 x 8"], strict=True))[middle]
        spread = (f"{v[middle]:.0f} ({v[0]:.0f} .. {v[-1]:.0f})" for v in (wall, cpu))
        lines.append(f"| {name} | {' | '.join(spread)} | {ratio:.2f} | {iterations[middle]:.2f} |")
    text = (
        "# What a step of a memory costs\n\n"
        f"K = 8, hold {HOLD:g} tau, {arguments.steps:,} steps a run; Python {platform.python_version()}, {os.cpu_count()} "
        f"processors ({platform.machine()}). Median (smallest .. largest) of {arguments.repeats} alternating runs. Written by "
        "`python benchmarks/amortised.py`.\n\n" + "\n".join(lines) + "\n"
    )
    print(text)
    if arguments.repeats >= 3:
        (HERE / "AMORTISED.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
