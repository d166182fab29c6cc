"""What chains cost beside another commit, both in one run: processor time of short ones, and time per step of long ones.

usage: start.py [COMMIT]      the frozen one if none is given
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FROZEN = "c03a7e3bc5"
SIZES = {"16 x 8": (4, "gram", 60_000), "64 x 64": (64, "gram", 1_500), "64 x 256": (256, "residual", 150)}


def chains() -> None:
    """Print processor seconds per chain of ten chains of 30 tau, whatever starts for them included."""
    from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
    from circuitlsc.simulator.engine import run_chains

    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    tasks = build_sampler(model, model.draw(1)[1]).tasks(RunPlan(t_stop=30.0, warmup=0.0, chains=10, seed=3))
    begun = time.perf_counter()
    run_chains(tasks)
    wall = time.perf_counter() - begun
    from contextlib import suppress

    with suppress(ImportError):  # its time counts once it has ended
        from circuitlsc.simulator import workers

        if workers._server is not None:
            workers._server.retire()
            workers._server._process.wait()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print((spent.ru_utime + spent.ru_stime) / 10, wall)


def steps(name: str) -> None:
    """Print the microseconds that a step takes."""
    import numpy as np

    from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler

    K, form, n = SIZES[name]
    if K == 4:
        model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    else:
        A = np.random.default_rng(0).standard_normal((64, K))
        model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.1, 1.0), 0.5)
    sampler = build_sampler(model, model.draw(1)[1], form=form)
    samples = sampler.run(RunPlan(t_stop=n * sampler.plan.step, warmup=0.0, chains=1, seed=3, thin=10))
    print(1e6 * float(samples.stats["wall"][0]) / n)


def measured(tree: Path, *arguments: str) -> list[float]:
    """Run this file with a tree's package, and return what it prints."""
    env = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-P", __file__, *arguments]
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split()[-2:]]


def main(commit: str) -> None:
    """Measure both trees in turn."""
    with tempfile.TemporaryDirectory() as root:
        old = Path(root) / "old"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(old), commit], cwd=ROOT, check=True)
        try:
            for _ in range(2):  # the first fills caches
                found = [measured(tree, "--chains") for tree in (old, ROOT)]
            (cpu, wall), (cpu_now, wall_now) = found
            print(f"ten chains of 30 tau: {cpu:.2f} s of processor each at {commit[:10]}, {cpu_now:.2f} here")
            print(f"  wall, all ten: {wall:.1f} and {wall_now:.1f} s")
            for name in SIZES:
                pairs = [[measured(tree, "--steps", name)[-1] for tree in (old, ROOT)] for _ in range(5)]
                least = [min(values) for values in zip(*pairs, strict=True)]
                ratio = least[1] / least[0]
                print(
                    f"{name:9s} {least[0]:8.1f} us per step then, {least[1]:8.1f} here, ratio {ratio:.3f}", flush=True
                )
        finally:
            subprocess.run(["git", "worktree", "remove", "-f", str(old)], cwd=ROOT, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--chains"]:
        chains()
    elif sys.argv[1:2] == ["--steps"]:
        steps(sys.argv[2])
    else:
        main(*(sys.argv[1:] or [FROZEN]))
