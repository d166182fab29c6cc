"""Measure the speed and memory that the README quotes; prints a table and writes it to RESULTS.md beside this file.

    python benchmarks/run.py [--quick]

Ratios compare runs of the same minute on the same core. Needs libngspice, and the ngspice program for the comparisons
with plain decks; the photograph rows need the extra ``photograph``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from memory import in_own_process

from circuitlsc import Gaussian, Nonidealities, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.model.dynamics import KINDS
from circuitlsc.nonideal.presets import PRESETS
from circuitlsc.planning.broken_loop import LOOPS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples

HERE = Path(__file__).parent
COSTS = [
    "circuit",
    "step (tau)",
    "us per step",
    "time points per step",
    "Newton iterations per step",
    "rejected",
    "setup (s)",
]


def bars_sampler(sigma: float = 0.5, form: str = "gram", **options: Any) -> Sampler:
    """Return the 16 x 8 sampler of the table."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), sigma)
    return build_sampler(model, model.draw(np.random.default_rng(1))[1], form=form, **options)


def dense_sampler(n_features: int, n_latents: int, sigma: float, form: str, **options: Any) -> Sampler:
    """Return a sampler with a dense random dictionary."""
    rng = np.random.default_rng([n_features, n_latents])
    A = rng.standard_normal((n_features, n_latents))
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.3, 1.0, signed=True), sigma)
    return build_sampler(model, model.draw(rng)[1], form=form, **options)


def run_steps(sampler: Sampler, n_steps: int) -> Samples:
    """Run one chain for a number of steps."""
    return sampler.run(t_stop=n_steps * sampler.plan.step, warmup=0.0, chains=1, seed=1)


def per_step(samples: Samples) -> float:
    """Return wall microseconds per step, without the start of the worker."""
    return float(samples.stats["wall"][0] / samples.stats["steps"][0]) * 1e6


def cost_row(name: str, sampler: Sampler, n_steps: int, repeats: int = 3) -> list[str]:
    """Return one row of the cost table: the median of several runs."""
    runs = [run_steps(sampler, n_steps) for _ in range(repeats)]
    stats = runs[0].stats
    steps = float(stats["steps"][0])
    times = sorted(per_step(r) for r in runs)
    return [
        name,
        f"{sampler.plan.step:.4g}",
        f"{times[len(times) // 2]:.1f} ({times[0]:.1f} .. {times[-1]:.1f})",
        f"{float(stats['points'][0]) / steps:.4f}",
        f"{float(stats['iterations'][0]) / steps:.2f}",
        str(int(stats["rejected"][0])),
        f"{float(stats['setup'][0]):.2f}",
    ]


def large_rows(n_steps: int) -> list[list[str]]:
    """Return the cost of circuits with dense dictionaries, loop closed and broken, one beside the other."""
    rows = []
    for n_features, n_latents, form, share in ((64, 64, "gram", 1), (64, 64, "residual", 2), (64, 256, "residual", 4)):
        for loop in LOOPS:
            name = f"{n_features} x {n_latents} dense, {form}, sigma 0.5" + (
                ", loop broken" if loop == "broken" else ""
            )
            sampler = dense_sampler(n_features, n_latents, 0.5, form, loop=loop)
            rows.append(cost_row(name, sampler, n_steps // share))
            print(*rows[-1], flush=True)
    return rows


def build_rows(repeats: int = 5) -> list[list[str]]:
    """Return the seconds that compiling takes: plan, graph, netlist, electrical checks, and the engine's deck as text."""
    rows = []
    for n_features, n_latents, form in ((64, 64, "gram"), (64, 64, "residual"), (64, 256, "residual")):
        walls, busy = [], []
        for _ in range(repeats):
            begin, cpu = time.perf_counter(), time.process_time()
            size = len(dense_sampler(n_features, n_latents, 0.5, form).library_deck)
            walls.append(time.perf_counter() - begin)
            busy.append(time.process_time() - cpu)
        name = f"{n_features} x {n_latents} dense, {form}"
        rows.append([name, f"{np.median(walls):.2f} ({min(walls):.2f})", f"{min(busy):.2f}", f"{size / 1e6:.2f}"])
        print(*rows[-1], flush=True)
    return rows


def device_rows(n_steps: int) -> list[list[str]]:
    """Return the cost of the device level, beside the ideal level of the same circuit in the same minutes."""
    errors = {"gain": 1e5, "gbw": 1e9, "offset": 1e-3}
    limits = {"slew_rate": 1e9, "rail": 2.4}
    rows = []
    for form in ("gram", "residual"):
        name = f"16 x 8 bars, {form}"
        rows.append(cost_row(f"{name}, ideal level", bars_sampler(form=form), 10 * n_steps))
        parts = {
            "ideal parts": Nonidealities(),
            "op-amps with gain, GBW and offset": Nonidealities(op_amp=errors),
            "and slew rate and rails": Nonidealities(op_amp={**errors, **limits}),
            "wires of 1 ohm per segment": Nonidealities(crossbar={"wire_resistance": 1.0}),
            **{f'"{preset}"': Nonidealities.preset(preset) for preset in PRESETS if preset != "ideal"},
        }
        for what, nonideal in parts.items():
            sampler = bars_sampler(form=form, level="device", nonideal=nonideal)
            rows.append(cost_row(f"{name}, {what}", sampler, n_steps))
        sampler = bars_sampler(
            form=form, level="device", wires="segments", nonideal=parts["wires of 1 ohm per segment"]
        )
        rows.append(cost_row(f"{name}, wires of 1 ohm, every segment simulated", sampler, max(n_steps // 20, 100), 1))
    return rows


def system_rows(n_inputs: int) -> list[list[str]]:
    """Return the cost of every system, all with the same inputs in one transient."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    rng = np.random.default_rng(3)
    x = np.stack([model.draw(rng)[1] for _ in range(n_inputs)])
    rows = []
    for kind in KINDS:
        for level in ("ideal", "device"):
            for form in ("gram", "residual"):
                sampler = build_sampler(model, x, hold=20.0, dynamics=kind, level=level, form=form)
                samples = sampler.run(warmup=10.0, seed=1)
                stats = samples.stats
                steps = float(stats["steps"][0])
                rows.append(
                    [
                        f"{kind}, {form}, {level} level",
                        f"{sampler.plan.step:.4g}",
                        f"{per_step(samples):.1f}",
                        f"{float(stats['iterations'][0]) / steps:.2f}",
                        str(int(stats["rejected"][0])),
                        f"{1e3 * float(stats['wall'][0]) / n_inputs:.1f}",
                    ]
                )
                print(*rows[-1], flush=True)
    return rows


def plain_ngspice(deck: str) -> float:
    """Return the wall seconds of plain ``ngspice -b`` on a deck."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deck.cir"
        path.write_text(deck, encoding="utf-8")
        begin = time.perf_counter()
        done = subprocess.run(["ngspice", "-b", path.name], cwd=folder, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - begin
        if done.returncode or "mean_s_0" not in done.stdout:
            raise RuntimeError(f"ngspice did not finish:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return wall


def hand_written_deck(sampler: Sampler, t_stop: float, volt: float) -> str:
    """Return the deck that one writes by hand: ideal u() and sgn() in B sources, trnoise, ngspice's default options.

    The same model, input, tau and noise interval; ``volt`` volts per model unit (by hand one writes 1), nodes of 1 ohm.
    """
    model, s, h = sampler.model, sampler.scaling, 0.05
    unit, u0, lam = s.c_int * volt / s.tau, model.prior.threshold * volt, model.prior.numbers()["lam"]
    G, b = model.gram, model.drive(sampler.x)
    lines = ["* L0-LSC as one writes it by hand"]
    for i in range(model.n_latents):
        lines += [
            f"C{i} u{i} 0 {s.c_int!r} ic=0",
            f"R{i} u{i} 0 1e15",
            f"Bs{i} 0 s{i} I=u(abs(v(u{i}))-{u0!r})*(abs(v(u{i}))-{u0!r})",
            f"Rs{i} s{i} 0 1",
            f"Re{i} e{i} 0 1",
            f"Ie{i} e{i} 0 {float(b[i])!r}",
            *(f"G{i}_{j} 0 e{i} s{j} 0 {float(G[i, j] / volt)!r}" for j in range(model.n_latents) if G[i, j]),
            f"Bg{i} u{i} 0 I={unit!r}*sgn(v(u{i}))*({lam!r}+u(abs(v(u{i}))-{u0!r})*v(e{i}))",
            f"In{i} 0 u{i} trnoise({(2 / h) ** 0.5 * unit!r} {h * s.tau!r} 0 0)",
        ]
    lines += [
        ".save " + " ".join(f"v(s{i})" for i in range(model.n_latents)),
        f".meas tran mean_s_0 avg v(s0) from=0 to={t_stop * s.tau!r}",
        f".tran {h * s.tau!r} {t_stop * s.tau!r} 0 {h * s.tau!r} uic",
        ".end",
    ]
    return "\n".join(lines) + "\n"


def plain_rows(quick: bool) -> list[list[str]]:
    """Compare wall time per tau with plain decks, each on one core, one after the other."""
    sampler = bars_sampler()
    rows = []
    ours = run_steps(sampler, 200_000)
    ours_per_tau = per_step(ours) / sampler.plan.step
    rows.append(["circuitlsc, from Python", "10,000", f"{ours_per_tau:.3g}", "1"])
    t_own = 200.0 if quick else 2000.0
    own = plain_ngspice(sampler.deck(t_stop=t_own, seed=1)) / t_own * 1e6
    rows.append(
        ["our stand-alone deck (trrandom), plain ngspice", f"{t_own:,.0f}", f"{own:.3g}", f"{own / ours_per_tau:.1f}"]
    )
    t_hand = 5.0 if quick else 20.0
    for volt in (1.0, sampler.scaling.volt):
        hand = plain_ngspice(hand_written_deck(sampler, t_hand, volt)) / t_hand * 1e6
        name = f"hand-written deck (u(), sgn(), trnoise; {volt:g} V per unit), plain ngspice"
        rows.append([name, f"{t_hand:g}", f"{hand:.3g}", f"{hand / ours_per_tau:,.0f}"])
    return rows


def memory_rows(quick: bool) -> list[list[str]]:
    """Return peak memory of the worker and of the process that started it, against the number of steps."""
    rows = []
    for n_steps in (50_000, 200_000) if quick else (100_000, 1_000_000, 5_000_000):
        peak = in_own_process(n_steps)
        megabytes = [f"{peak[name] / 1e6:.0f}" for name in ("worker", "after_chains", "parent", "file")]
        rows.append([f"{n_steps:,}", *megabytes])
    return rows


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small runs; prints only")
    quick = parser.parse_args().quick
    n = 20_000 if quick else 200_000
    costs = [
        cost_row(f"16 x 8 bars, {form}, sigma {sigma:g}", bars_sampler(sigma, form), n)
        for form in ("gram", "residual")
        for sigma in (0.5, 0.2)
    ]
    gaussian = SparseCodingModel(bars(4), Gaussian(1.0), 0.5)
    x = gaussian.draw(np.random.default_rng(1))[1]
    costs.append(cost_row("16 x 8 bars, gram, Gaussian prior", build_sampler(gaussian, x), n))
    costs.append(cost_row("16 x 16 dense, gram, sigma 0.5", dense_sampler(16, 16, 0.5, "gram"), n // 4))
    costs += large_rows(max(n // 200, 400))
    costs.append(
        cost_row(
            "64 x 64 dense, gram, sigma 0.5, device level",
            dense_sampler(64, 64, 0.5, "gram", level="device"),
            max(n // 400, 200),
            1,
        )
    )
    version = run_steps(bars_sampler(), 1000).attrs["ngspice_version"]
    parts = [
        "# Measured speed and memory",
        f"Python {platform.python_version()}, libngspice {version}, {os.cpu_count()} processors ({platform.machine()}); "
        "one chain on one core. Written by `python benchmarks/run.py`.",
        "## Wall time per step, from Python",
        "Median (smallest .. largest) of three runs; `setup` is the time to load the library and the deck.",
        table(COSTS, costs),
        "## Device level (128 resistors and 16 op-amps in the Gram form, 512 and 48 in the residual form)",
        table(COSTS, device_rows(n // 10)),
    ]
    building = ["circuit", "wall (s): median (least)", "processor (s)", "deck (MB)"]
    parts += ["## To compile and check", table(building, build_rows())]
    systems = [
        "circuit",
        "step (tau)",
        "us per step",
        "Newton iterations per step",
        "rejected",
        "ms per input of 20 tau",
    ]
    parts += [
        "## Every system, 16 x 8 bars, inputs of 20 tau each in one transient",
        table(systems, system_rows(20 if quick else 200)),
    ]
    if shutil.which("ngspice"):
        parts += [
            "## Against plain ngspice decks of the same circuit (16 x 8 bars, sigma 0.5)",
            table(["deck", "tau simulated", "us per tau", "ratio"], plain_rows(quick)),
        ]
    columns = ["steps", "worker", "parent, chains done", "parent, compared and drawn", "samples.nc"]
    parts += ["## Peak memory (and size of the file), K = 8, MB", table(columns, memory_rows(quick))]
    parts.append((HERE / "tried.md").read_text(encoding="utf-8").strip())
    text = "\n\n".join(parts) + "\n"
    print(text)
    if not quick:
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
