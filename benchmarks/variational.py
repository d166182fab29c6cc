"""Measure what a step of a variational circuit costs, beside L0-LSC of the same model.

    python benchmarks/variational.py [--steps N] [--repeats N]

4x4 bars (signed, K = 8), an encoder 16-32-24 of random weights (1,280 conductances), ideal parts, one chain at a time on one
processor. One input has its encoder solved once; a stream of 1,000 inputs has it in the transient. Runs alternate, so that all
numbers belong to the same minutes. Prints a table, and writes VARIATIONAL.md beside this file if --repeats is 3 or more.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
from pathlib import Path

import numpy as np

from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.model.encoder import Encoder
from circuitlsc.sampling.sampler import Sampler

HERE = Path(__file__).parent
INPUTS, SIZES = 1000, (16, 32, 24)


def encoder() -> Encoder:
    """Return a network of random weights: what a step costs does not depend on them."""
    rng = np.random.default_rng(7)
    weights = tuple(rng.standard_normal((m, n)) / np.sqrt(n) for n, m in itertools.pairwise(SIZES))
    return Encoder(weights=weights, biases=tuple(0.3 * rng.standard_normal(len(w)) for w in weights))


def circuits(steps: int) -> dict[str, Sampler]:
    """Return the circuits by what the table calls them."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    rng = np.random.default_rng(1)
    rows = np.array([model.draw(rng)[1] for _ in range(INPUTS)])
    found = {"L0-LSC": build_sampler(model, rows[0])}
    for source in ("product", "table"):
        given = {"dynamics": "variational", "encoder": encoder(), "source": source}
        found[f"variational, {source}, one input"] = build_sampler(model, rows[0], **given)
        hold = 2.0 * max(1, steps // INPUTS)
        found[f"variational, {source}, {INPUTS:,} inputs"] = build_sampler(model, rows, hold=hold, **given)
    return found


def measured(sampler: Sampler, steps: int) -> tuple[float, float]:
    """Return wall and processor time of one chain, us per step."""
    if sampler.stream is not None:
        run = sampler.run_plan(warmup=0.0, seed=1)
    else:
        run = RunPlan(t_stop=steps * sampler.plan.step, warmup=0.0, chains=1, seed=1)
    stats = sampler.run(run, workers=1).stats
    wall, cpu = (1e6 * float(stats[name][0]) / float(stats["steps"][0]) for name in ("wall", "cpu"))
    return wall, cpu


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="of each run")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    runs: dict[str, list[tuple[float, float]]] = {}
    compiled = circuits(arguments.steps)
    for _ in range(arguments.repeats):
        for name, sampler in compiled.items():
            runs.setdefault(name, []).append(measured(sampler, arguments.steps))
    lines = ["| what | wall (us per step) | processor time (us per step) | over L0-LSC |", "| --- | --- | --- | --- |"]
    middle = arguments.repeats // 2
    for name, found in runs.items():
        wall, cpu = (sorted(one[k] for one in found) for k in (0, 1))
        ratio = sorted(one[1] / base[1] for one, base in zip(found, runs["L0-LSC"], strict=True))[middle]
        spread = (f"{v[middle]:.1f} ({v[0]:.1f} .. {v[-1]:.1f})" for v in (wall, cpu))
        lines.append(f"| {name} | {' | '.join(spread)} | {ratio:.2f} |")
    text = (
        "# What a step of a variational circuit costs\n\n"
        f"4x4 bars, K = 8, encoder {'-'.join(map(str, SIZES))}, {arguments.steps:,} steps a run; Python "
        f"{platform.python_version()}, {os.cpu_count()} processors ({platform.machine()}). Median (smallest .. largest) of "
        f"{arguments.repeats} alternating runs. Written by `python benchmarks/variational.py`.\n\n"
        + "\n".join(lines)
        + "\n"
    )
    print(text)
    if arguments.repeats >= 3:
        (HERE / "VARIATIONAL.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
