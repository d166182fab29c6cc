"""Measure what two worker processes gain over one, and beside it what two plain processes gain at that moment.

    python benchmarks/throughput.py [--tau T] [--repeats N]

Eight chains of 4x4 bars. The plain loop starts the same worker program on the same tasks from a shell loop's equivalent, four
chains in each of two threads, without executor, store or checks: what the machine itself gives. Runs alternate, so that
all ratios belong to the same minutes. Prints a table, and writes THROUGHPUT.md beside this file if --repeats is 3 or more.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.task import ChainTask
from circuitlsc.simulator.workers import worker_environment

HERE = Path(__file__).parent
CHAINS = 8


def tasks_of(tau: float) -> list[ChainTask]:
    """Return eight chains of 4x4 bars."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1])
    return sampler.tasks(RunPlan(t_stop=tau, chains=CHAINS, seed=1))


def ours(tasks: list[ChainTask], workers: int) -> None:
    """Run through the engine."""
    run_chains(tasks, workers=workers)


def plain(tasks: list[ChainTask], processes: int) -> None:
    """Run the same worker program on the same tasks, so many at a time, and nothing else."""
    with tempfile.TemporaryDirectory() as root:

        def work(mine: list[ChainTask]) -> None:
            for task in mine:
                folder = Path(root) / f"chain{task.chain}"
                folder.mkdir()
                task.save(folder / "task.json")
                (folder / ".spiceinit").write_text("* no commands\n", encoding="ascii")
                with subprocess.Popen(
                    [sys.executable, "-m", "circuitlsc.simulator.worker", str(folder)],
                    cwd=folder,
                    env=worker_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ) as worker:
                    code = worker.wait()
                if code:
                    raise RuntimeError(f"chain {task.chain} ended with code {code}")

        with ThreadPoolExecutor(processes) as threads:
            list(threads.map(work, [tasks[k::processes] for k in range(processes)]))


def timed(run: object, *arguments: object) -> tuple[float, float]:
    """Return wall and processor seconds of a call and of the processes that it waited for."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in used)

    assert callable(run)
    wall, busy = time.perf_counter(), cpu()
    run(*arguments)
    return time.perf_counter() - wall, cpu() - busy


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", type=float, default=20_000.0, help="length of each chain")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    tasks = tasks_of(arguments.tau)
    measured: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(arguments.repeats):
        for name, run in (("circuitlsc", ours), ("plain loop", plain)):
            for processes in (1, 2):
                measured.setdefault((name, processes), []).append(timed(run, tasks, processes))
    rows = ["| what | processes | wall (s) | processor time (s) | gain |", "| --- | --- | --- | --- | --- |"]
    for (name, processes), runs in measured.items():
        walls = sorted(wall for wall, _ in runs)
        gains = sorted(one[0] / run[0] for one, run in zip(measured[name, 1], runs, strict=True))
        middle = len(runs) // 2
        rows.append(
            f"| {name} | {processes} | {walls[middle]:.1f} ({walls[0]:.1f} .. {walls[-1]:.1f}) | "
            f"{sorted(cpu for _, cpu in runs)[middle]:.1f} | {gains[middle]:.3f} ({gains[0]:.3f} .. {gains[-1]:.3f}) |"
        )
    text = (
        "# Throughput of two processes\n\n"
        f"Eight chains of 4x4 bars, {arguments.tau:g} tau each; Python {platform.python_version()}, "
        f"{os.cpu_count()} processors ({platform.machine()}). Median (smallest .. largest) of {arguments.repeats} "
        "alternating runs. Written by `python benchmarks/throughput.py`.\n\n" + "\n".join(rows) + "\n"
    )
    print(text)
    if arguments.repeats >= 3:
        (HERE / "THROUGHPUT.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
