"""A made-up run of any length, measured in a process of its own: ``python tests/long_run.py DRAWS WAY FOLDER``.

It writes two chains of 8 latents as raw files, collects, saves, loads and measures them, and prints peak memory before
and after, in bytes, as JSON. WAY is ``pieces`` (what the package does), ``arrays`` (whole arrays: what it must not do)
or ``outcome`` (all that a command does with samples, references and figure included).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from circuitlsc import RunPlan, Samples, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.outcome import outcome
from circuitlsc.reference.statistics import summarize, virial
from circuitlsc.reporting.plotting import save_figure
from circuitlsc.sampling.samples import collect
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.simulator.worker import peak_memory

A = 0.9  # correlation from draw to draw
PIECE = 20_000


def write_chain(path: Path, n_draws: int, n_latents: int, seed: int) -> None:
    """Write a stationary AR(1) per latent, draw by draw, piece by piece."""
    rng = np.random.default_rng(seed)
    state = A * rng.standard_normal((1, n_latents))
    with path.open("wb") as out:
        for first in range(0, n_draws, PIECE):
            noise = (1 - A * A) ** 0.5 * rng.standard_normal((min(PIECE, n_draws - first), n_latents))
            u, state = lfilter([1], [1, -A], noise, axis=0, zi=state)
            out.write((1.5 * u).tobytes())


def made_up_run(n_draws: int, folder: Path):
    """Return a sampler of 4x4 bars, and samples that its chains could have left."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1])
    thin = 4
    run = RunPlan(t_stop=20.0 + n_draws * thin * sampler.plan.step, warmup=20.0, chains=2, seed=1, thin=thin)
    tasks = sampler.tasks(run)
    results = []
    for task in tasks:
        path = folder / f"chain{task.chain}.f64"
        write_chain(path, task.n_draws, 8, task.chain)
        u = np.memmap(path, dtype=float, mode="r", shape=(task.n_draws, 8))
        spent = dict.fromkeys(("points", "rejected", "iterations", "rss"), 1) | dict.fromkeys(
            ("setup", "wall", "cpu"), 1.0
        )
        results.append(ChainResult(chain=task.chain, u=u, observed=u[:, 8:], steps=task.n_steps, ngspice="39", **spent))
    return sampler, collect(sampler, run, tasks, results)


def measure(n_draws: int, way: str, folder: Path) -> dict[str, float]:
    """Save, load and measure; return peak memory before and after, and a number to see that the work was done."""
    made_up_run(20, folder)  # what is imported when it is first used is no growth
    before = peak_memory()
    sampler, samples = made_up_run(n_draws, folder)
    samples.save(folder / "samples.nc")
    del samples
    samples = Samples.load(folder / "samples.nc")
    x, width = sampler.x, sampler.plan.width
    if way == "outcome":
        made = outcome(sampler, samples)
        save_figure(made.draw(), folder / "figure.png")
        return {"before": before, "peak": peak_memory(), "ess": made.numbers["ess_min"]}
    if way == "pieces":
        u, s = samples.draws("u"), samples.draws("s")
        active = u.map(sampler.model.active)
    else:
        u, s = samples.u, samples.s
        active = sampler.model.active(u)
    found = summarize(s, active, model=sampler.model, x=x, method="test")
    virial(sampler.model, u, x, width=width, temperature=1.0)
    return {"before": before, "peak": peak_memory(), "ess": found.ess_min}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
