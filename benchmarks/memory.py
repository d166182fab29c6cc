"""Peak memory of one whole run, from the circuit to the figure, in a process of its own; prints it as JSON.

    python benchmarks/memory.py STEPS

Memory is counted as the kernel does (VmHWM): what is mapped from files is in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from circuitlsc import Samples, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.outcome import outcome
from circuitlsc.reporting.plotting import save_figure
from circuitlsc.simulator.worker import peak_memory


def whole_run(n_steps: int) -> dict[str, float]:
    """Do what `circuitlsc run` and `circuitlsc compare` do with a 16 x 8 circuit; return peak memory in bytes."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.nc"
        samples = sampler.run(t_stop=n_steps * sampler.plan.step, chains=1, seed=1)
        ran = peak_memory()
        samples.save(path)
        result = outcome(sampler, samples)
        save_figure(result.draw(), Path(folder) / "figure.png")
        outcome(sampler, Samples.load(path))
        size = path.stat().st_size
    worker = float(samples.stats["rss"].max())
    return {"worker": worker, "after_chains": ran, "parent": peak_memory(), "file": size}


def in_own_process(n_steps: int) -> dict[str, float]:
    """Return what `whole_run` measures, in a new process: a peak never goes down."""
    done = subprocess.run([sys.executable, __file__, str(n_steps)], capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


if __name__ == "__main__":
    print(json.dumps(whole_run(int(sys.argv[1]))))
