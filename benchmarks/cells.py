"""Processor time per step with tables and with cells of compiled Verilog-A, in one ngspice or two; prints a table.

    python benchmarks/cells.py [--older LIBRARY] [--rounds 7] [--steps 1] [--by-hand] [--write] [CIRCUIT ...]

Run it with ngspice 44 or later; ``--older`` is the file of an older libngspice, for a column of its own. Every number comes
from a process of its own, the columns take turns, and ratios are medians over the rounds. Needs the extra ``verilog-a``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
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

#: circuit: how it is made, and the steps of a run
CIRCUITS: dict[str, tuple[Callable[..., Sampler], int]] = {
    "16 x 8 bars, gram": (bars_sampler, 20_000),
    "16 x 16 dense, gram": (lambda **o: dense_sampler(16, 16, 0.5, "gram", **o), 6000),
    "32 x 32 dense, gram": (lambda **o: dense_sampler(32, 32, 0.5, "gram", **o), 2000),
    "64 x 64 dense, gram": (lambda **o: dense_sampler(64, 64, 0.5, "gram", **o), 600),
    "64 x 64 dense, residual": (lambda **o: dense_sampler(64, 64, 0.5, "residual", **o), 400),
    "64 x 256 dense, residual": (lambda **o: dense_sampler(64, 256, 0.5, "residual", **o), 80),
}
KLU = " klu"
SAID = (
    "Processor time per step of one chain, sigma 0.5, {} rounds in which the engines take turns, Python {}. The last column is "
    "the median (smallest .. largest) of the rounds' ratios. Written by `python benchmarks/cells.py --write`."
)


def measure(circuit: str, cells: str, factor: float) -> dict[str, Any]:
    """Run a circuit in this process, twice, and return processor time per step from the difference, us, and its iterations."""
    make, steps = CIRCUITS[circuit]
    cells, _, solver = cells.partition("+")
    sampler = make(cells=cells)
    n = max(int(steps * factor), 20)
    task = sampler.tasks(RunPlan(t_stop=max(n, 50) * sampler.plan.step, warmup=0.0, chains=1, seed=1))[0]
    if solver:  # another than the one that is chosen
        lines = task.deck.replace(KLU, "").splitlines()
        own = KLU if solver == "klu" else ""
        task = replace(
            task, deck="\n".join(f"{line}{own}" if line.startswith(".options") else line for line in lines) + "\n"
        )
    busy = []
    for share in (0.1, 1.0):
        counts, begin = Counts(), time.process_time()
        for _ in integrate(replace(task, n_steps=max(int(n * share), 1)), counts, beside=sampler.beside_tasks):
            pass
        busy.append((time.process_time() - begin, counts.steps))
    (less, few), (more, many) = busy
    return {
        "us": (more - less) / (many - few) * 1e6,
        "iterations": counts.iterations / counts.steps,
        "version": counts.version,
    }


def apart(circuit: str, cells: str, factor: float, library: str) -> dict[str, Any]:
    """Return `measure` of a process of its own, with a library."""
    command = [sys.executable, str(Path(__file__)), "--one", cells, "--steps", str(factor), circuit]
    env = {**os.environ, "NGSPICE_LIBRARY_PATH": library, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(circuit: str, columns: dict[str, tuple[str, str]], rounds: int, factor: float) -> list[list[str]]:
    """Return a circuit's rows: median time, iterations, and the ratio of the last column to each, round by round."""
    found = [
        {name: apart(circuit, cells, factor, library) for name, (cells, library) in columns.items()}
        for _ in range(rounds)
    ]
    rows, last = [], list(columns)[-1]
    for name in columns:
        times = np.array([one[name]["us"] for one in found])
        ratio = np.array([one[last]["us"] for one in found]) / times
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f} .. {ratio.max():.2f})" if name != last else ""
        said = found[0][name]
        label = f"ngspice {said['version']}, {name}"
        rows.append(
            [circuit, label, f"{np.median(times):.1f} ({times.min():.1f})", f"{said['iterations']:.2f}", spread]
        )
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def by_hand(rounds: int) -> list[str]:
    """Return how many times longer the deck that one writes by hand takes, in this machine's ngspice program, per tau."""
    sampler = bars_sampler(cells="verilog-a")
    ours = np.median([apart("16 x 8 bars, gram", "verilog-a", 1.0, find_library())["us"] for _ in range(rounds)])
    t_stop = 5.0
    hand = plain_ngspice(hand_written_deck(sampler, t_stop, sampler.scaling.volt)) / t_stop * 1e6
    return [f"{ours / sampler.plan.step:.3g}", f"{hand:.3g}", f"{hand / ours * sampler.plan.step:,.0f}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuits", nargs="*", metavar="CIRCUIT", help=f"of {', '.join(CIRCUITS)}")
    parser.add_argument("--older", metavar="LIBRARY", help="file of an older libngspice")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=float, default=1.0, help="times the usual number of steps")
    parser.add_argument(
        "--solvers", action="store_true", help="both solvers for each kind of cells, in place of the older library"
    )
    parser.add_argument("--by-hand", action="store_true", help="beside a deck that is written by hand, too")
    parser.add_argument("--write", action="store_true", help="the table to CELLS.md beside this file, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.circuits[0], given.one, given.steps)))
        return
    here = find_library()
    columns = {"tables": ("table", str(Path(given.older).absolute()))} if given.older else {}
    if given.solvers:
        kinds = [f"{cells}+{solver}" for cells in ("table", "verilog-a") for solver in ("sparse", "klu")]
        columns = {kind: (kind, here) for kind in kinds}
    else:
        columns |= {"tables ": ("table", here), "compiled Verilog-A": ("verilog-a", here)}
    rows = [
        row for circuit in given.circuits or CIRCUITS for row in compare(circuit, columns, given.rounds, given.steps)
    ]
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
        (Path(__file__).parent / "CELLS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
