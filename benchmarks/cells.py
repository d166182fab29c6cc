"""Processor time per step with tables and with cells of compiled Verilog-A, in one ngspice or two; prints a table.

    python benchmarks/cells.py [--older LIBRARY] [--rounds 20] [--by-hand] [--write] [CIRCUIT ...]

Run it with ngspice 44 or later; ``--older`` is the file of an older libngspice, for a column of its own. Every
engine is a process of its own, they take turns chunk by chunk, about a second each, and ratios are medians over the
rounds. Needs the extra ``verilog-a``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from run import bars_sampler, dense_sampler, hand_written_deck, plain_ngspice, table

from circuitlsc import RunPlan
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.simulator.ngspice.library import find_library
from circuitlsc.simulator.ngspice.transient import integrate
from circuitlsc.simulator.simulator import Counts

#: circuit: how it is made, and the steps of a chunk
CIRCUITS: dict[str, tuple[Callable[..., Sampler], int]] = {
    "16 x 8 bars, gram": (bars_sampler, 10_000),
    "16 x 16 dense, gram": (lambda **o: dense_sampler(16, 16, 0.5, "gram", **o), 2000),
    "32 x 32 dense, gram": (lambda **o: dense_sampler(32, 32, 0.5, "gram", **o), 1000),
    "64 x 64 dense, gram": (lambda **o: dense_sampler(64, 64, 0.5, "gram", **o), 400),
    "64 x 64 dense, residual": (lambda **o: dense_sampler(64, 64, 0.5, "residual", **o), 200),
    "64 x 64 dense, gram, device level": (lambda **o: dense_sampler(64, 64, 0.5, "gram", level="device", **o), 100),
    "64 x 256 dense, residual": (lambda **o: dense_sampler(64, 256, 0.5, "residual", **o), 120),
}
KLU, ROUNDS = " klu", 10_000
SAID = (
    "Processor time per step of one chain, sigma 0.5, {} rounds in which the engines take turns, Python {}. The last column is "
    "the median (quartiles) of the rounds' ratios. Written by `python benchmarks/cells.py --write`."
)


def chunks(circuit: str, cells: str) -> Iterator[dict[str, Any]]:
    """Run a circuit in this process, a chunk whenever one is asked for; yield processor time per step, us, and iterations."""
    make, steps = CIRCUITS[circuit]
    cells, _, solver = cells.partition("+")
    sampler = make(cells=cells)
    task = sampler.tasks(RunPlan(t_stop=ROUNDS * steps * sampler.plan.step, warmup=0.0, chains=1, seed=1))[0]
    if solver:  # another than the one that is chosen
        lines, own = task.deck.replace(KLU, "").splitlines(), KLU if solver == "klu" else ""
        text = "\n".join(f"{line}{own}" if line.startswith(".options") else line for line in lines)
        task = replace(task, deck=f"{text}\n")
    counts = Counts()
    ran = integrate(replace(task, chunk=steps), counts, beside=sampler.beside_tasks)
    next(ran)  # loads what a process needs once
    while True:
        before, begin = counts.iterations, time.process_time()
        next(ran)
        took = time.process_time() - begin
        yield {"us": took / steps * 1e6, "iterations": (counts.iterations - before) / steps, "version": counts.version}


class Engine:
    """A process that runs a circuit with a library, chunk by chunk."""

    def __init__(self, circuit: str, cells: str, library: str) -> None:
        command = [sys.executable, str(Path(__file__)), "--one", cells, circuit]
        env = {**os.environ, "NGSPICE_LIBRARY_PATH": library, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=env, text=True, **pipes)

    def chunk(self) -> dict[str, Any]:
        """Run the next chunk, and return what it took."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


def compare(circuit: str, columns: dict[str, tuple[str, str]], rounds: int) -> list[list[str]]:
    """Return a circuit's rows: median time, iterations, and the ratio of the last column to each, round by round."""
    engines = {name: Engine(circuit, cells, library) for name, (cells, library) in columns.items()}
    try:
        found = [{name: engine.chunk() for name, engine in engines.items()} for _ in range(rounds)]
    finally:
        for engine in engines.values():
            engine.process.kill()
    rows, last = [], list(columns)[-1]
    for name in columns:
        times = np.array([one[name]["us"] for one in found])
        low, middle, high = np.quantile(np.array([one[last]["us"] for one in found]) / times, (0.25, 0.5, 0.75))
        ratio = f"{middle:.2f} ({low:.2f} .. {high:.2f})" if name != last else ""
        iterations = np.mean([one[name]["iterations"] for one in found])
        label = f"ngspice {found[0][name]['version']}, {name.strip()}"
        rows.append([circuit, label, f"{np.median(times):.1f} ({times.min():.1f})", f"{iterations:.2f}", ratio])
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def by_hand(rounds: int) -> list[str]:
    """Return how many times longer the deck that one writes by hand takes, in this machine's ngspice program, per tau."""
    sampler = bars_sampler(cells="verilog-a")
    engine = Engine("16 x 8 bars, gram", "verilog-a", find_library())
    ours = np.median([engine.chunk()["us"] for _ in range(rounds)])
    engine.process.kill()
    t_stop = 5.0
    hand = plain_ngspice(hand_written_deck(sampler, t_stop, sampler.scaling.volt)) / t_stop * 1e6
    return [f"{ours / sampler.plan.step:.3g}", f"{hand:.3g}", f"{hand / ours * sampler.plan.step:,.0f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuits", nargs="*", metavar="CIRCUIT", help=f"of {', '.join(CIRCUITS)}")
    parser.add_argument("--older", metavar="LIBRARY", help="file of an older libngspice")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--solvers", action="store_true", help="both solvers for each kind of cells, in place of the older library"
    )
    parser.add_argument("--by-hand", action="store_true", help="beside a deck that is written by hand, too")
    parser.add_argument("--write", action="store_true", help="the table to COMPILED.md beside this file, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        ran = chunks(given.circuits[0], given.one)
        for _ in sys.stdin:
            print(json.dumps(next(ran)), flush=True)
        return
    here = find_library()
    columns = {"tables": ("table", str(Path(given.older).absolute()))} if given.older else {}
    if given.solvers:
        kinds = [f"{cells}+{solver}" for cells in ("table", "verilog-a") for solver in ("sparse", "klu")]
        columns = {kind: (kind, here) for kind in kinds}
    else:
        columns |= {"tables ": ("table", here), "compiled Verilog-A": ("verilog-a", here)}
    rows = [row for circuit in given.circuits or CIRCUITS for row in compare(circuit, columns, given.rounds)]
    head = ["circuit", "engine", "us per step: median (least)", "Newton iterations", "Verilog-A takes"]
    parts = ["# Tables and compiled Verilog-A", SAID.format(given.rounds, platform.python_version()), table(head, rows)]
    if given.by_hand:
        head = [
            "16 x 8 bars: compiled Verilog-A, us per tau",
            "deck written by hand, plain ngspice of this machine",
            "ratio",
        ]
        parts.append(table(head, [by_hand(given.rounds)]))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.write:
        (Path(__file__).parent / "COMPILED.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
