"""What samples of a circuit in transistors cost: energy over tau and beside other circuits, and time to simulate a step.

python benchmarks/transistor.py energy|noise|lag
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor.cells.mirror import UNIT
from circuitlsc.circuit.transistor.process import FILES, models
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.studies.design_rules import check_rules
from circuitlsc.studies.energy import energy_report, software_speed
from circuitlsc.studies.lag import measure_lags, of_lag
from circuitlsc.studies.transistor_power import STATES, amplifier_power, chip_powers
from circuitlsc.validation.judge import circuit_statistics, exact_statistics

FACTORS = (0.25, 0.5, 1.0, 2.0)  # of the tau of the rule
RUN = RunPlan(t_stop=8000.0, warmup=20.0, chains=2, seed=1)
CORE = 10.0  # watt: assumed of one core of a processor that is busy
PRESETS = ("integrated-180nm", "rram", "pcm", "discrete-board")
#: published solvers of sparse codes on field-programmable analog arrays: what each code costs (they find one, none samples)
FPAA = (
    ("LCA, 4 x 6, Shapero et al. 2012", 29e-6, 2.4, 240e-6),
    ("integrate-and-fire LCA, 18 neurons, Shapero et al. 2013", 559e-6, 2.4, 25e-6),
)


def energy(model: SparseCodingModel, x: np.ndarray, name: str) -> None:
    """Print energy per effective sample over tau with the share of each part, and beside other ways to sample this model."""
    circuit = build_sampler(model, x, level="transistor")
    run = circuit.run(RUN, workers=1)
    span = (RUN.t_stop - RUN.warmup) * RUN.chains
    per_tau = circuit_statistics(circuit, run).ess_min / span
    draws = run.draws("u").read(0, run.n_draws).reshape(-1, model.n_latents)
    states = draws[:: len(draws) // STATES][:STATES]
    *parts, (last, _, _, _) = chip_powers(circuit, states)
    found = measure_lags(circuit)
    heads = [part for part, *_ in parts] + [last]
    print(f"\n{name}: {per_tau:.3g} effective samples per tau, rule's tau {1e3 * circuit.scaling.tau:.3g} ms\n")
    print("| tau | dP(active) by lag | uW | samples/s | nJ each | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * (4 + len(heads)))
    for factor in FACTORS:
        tau = factor * circuit.scaling.tau
        watts = [w for _, _, w, _ in parts] + [amplifier_power(circuit, tau)[0]]
        lag = of_lag(circuit, tau=tau, length=200.0, found=found)
        k = int(np.argmax(np.abs(lag.p_active)))
        speed, total = per_tau / tau, sum(watts)
        shares = " | ".join(f"{w / total:.1%}" for w in watts)
        print(
            f"| {1e3 * tau:.3g} ms | {lag.p_active[k]:+.4f} ({lag.p_active_se[k]:.4f}) | {1e6 * total:.3g} | {speed:.3g} "
            f"| {1e9 * total / speed:.3g} | {shares} |",
            flush=True,
        )
    print("\n| beside it | W | samples/s | nJ each | largest dP(active) (s.e.), rules broken |\n|---|---|---|---|---|")
    for preset in PRESETS:
        beside(model, x, preset)
    wall, busy = perf_counter(), process_time()
    found_speeds = software_speed(circuit)
    share = (process_time() - busy) / (perf_counter() - wall)  # of a core: less where the machine has other work
    for software in found_speeds:
        speed = software.ess_per_second / share
        print(
            f"| {software.name}, a core's time | {CORE:g} (assumed) | {speed:.3g} | {1e9 * CORE / speed:.3g} | |",
            flush=True,
        )
    for what, ampere, volt, seconds in FPAA:
        nano = 1e9 * ampere * volt * seconds
        print(
            f"| {what} | {ampere * volt:.3g} | (one code in {1e6 * seconds:g} us) | {nano:.3g} per code | no samples |"
        )


def beside(model: SparseCodingModel, x: np.ndarray, preset: str) -> None:
    """Print the row of a preset of devices, at its own tau of 1 us."""
    given: dict[str, Any] = {"level": "device", "nonideal": Nonidealities.preset(preset)}
    circuit = build_sampler(model, x, **given)
    run = circuit.run(RUN, workers=1)
    found = energy_report(circuit, run, software=False)
    here, exact = circuit_statistics(circuit, run), exact_statistics(model, x, seed=0)
    off = np.abs(here.p_active - exact.p_active)
    k, broken = int(np.argmax(off)), sum(not rule.ok for rule in check_rules(circuit))
    print(
        f"| devices, {preset} | {found.watts:.3g} | {found.ess_per_second:.3g} | {1e9 * found.joule_per_sample:.3g} "
        f"| {off[k]:.3f} ({here.p_active_mcse[k]:.3f}), {broken} |",
        flush=True,
    )


# noise ----------------------------------------------------------------------------------------------------------------


def noise(model: SparseCodingModel, x: np.ndarray, name: str, steps: int) -> None:
    """Print what a step of every transistor costs with the noise in series with C_int, and as `trrandom`."""
    keys = {"engine": "full"}
    rule = build_sampler(model, x, level="transistor", transistor=keys)
    for tau, h in ((rule.scaling.tau, rule.plan.step), (0.2e-3, 0.04)):
        circuit = build_sampler(model, x, level="transistor", transistor=keys, tau=tau, step=h)
        row = f"| {name} | {1e3 * tau:.3g} ms, {h:.3g} tau "
        short, long = (
            circuit.run(t_stop=n * h, warmup=0.0, chains=1, seed=1, workers=1).stats for n in (steps, 3 * steps)
        )
        # of both the operating point at the start, which a long run has once in so many steps, takes as much
        own = [float(long[what][0] - short[what][0]) / (2 * steps) for what in ("points", "iterations", "wall")]
        own[2] *= 1e3
        print(row + "| in series | {:.3f} | {:.2f} | {:.2f} |".format(*own), flush=True)
        print(row + "| `trrandom` | {:.3f} | {:.2f} | {:.2f} |".format(*standing_alone(circuit, 2 * steps)), flush=True)


def standing_alone(circuit: Sampler, steps: int) -> tuple[float, float, float]:
    """Return time points, Newton iterations and milliseconds per step of the stand-alone deck, as ngspice counts them."""
    h = circuit.plan.step
    deck = circuit.deck(t_stop=steps * h, warmup=0.0, seed=1)
    deck = deck.replace(".end\n", ".options acct\n.end\n") if deck.endswith(".end\n") else deck
    with TemporaryDirectory() as folder:
        for file in FILES:
            shutil.copy(models() / file, folder)
        (Path(folder) / "deck.cir").write_text(deck)
        (Path(folder) / ".spiceinit").write_text("set num_threads=1\n")
        done = subprocess.run(["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        what, _, value = line.partition("=")
        found[what.strip().lower()] = value.split()[0] if value.split() else ""
    count = ("transient timepoints", "transient iterations", "transient analysis time")
    points, iterations, seconds = (float(found[what]) for what in count)
    return points / steps, iterations / steps, 1e3 * seconds / steps


# lag ------------------------------------------------------------------------------------------------------------------

CHIPS = 12
#: what is tried: its name, the arguments of `build_sampler`, and the width and length of a unit of the crossbar's mirrors
VARIANTS: tuple[tuple[str, dict[str, Any], tuple[float, float]], ...] = (
    ("as it is", {}, UNIT["p"]),
    ("mirrors of half the length", {}, (UNIT["p"][0], UNIT["p"][1] / 2)),
    ("half the area of everything", {"transistor": {"area": 0.5}}, UNIT["p"]),
    ("five nA per unit of s (0.05 V)", {"volt": 0.05}, UNIT["p"]),
    ("thirteen nA per unit of s (0.13 V)", {"volt": 0.13}, UNIT["p"]),
)


def lag(model: SparseCodingModel, x: np.ndarray, off: Callable[[Silicon], np.ndarray]) -> None:
    """Print what shorter mirrors, smaller devices, and another unit current do to lag, mismatch and energy; a follower's bound.

    ``off`` says what a chip's posterior is off by, (n, 3), the first of them P(active).
    """
    base = build_sampler(model, x, level="transistor")
    first = measure_lags(base)
    print("| variant | line: Q, lag at s = w | e: Q/lam | outputs: Q/lam | tau | uW | nJ each | median dP of chips |")
    print("|---|---|---|---|---|---|---|---|")
    span = (RUN.t_stop - RUN.warmup) * RUN.chains
    per_tau = circuit_statistics(base, base.run(RUN, workers=1)).ess_min / span
    usual = UNIT["p"]
    for name, given, unit in VARIANTS:
        UNIT["p"] = unit
        try:
            circuit = build_sampler(model, x, level="transistor", **given)
            found = measure_lags(circuit)
            tau = base.scaling.tau * found.line / first.line
            states = np.linspace(0.0, 2.5, 4)[:, None]
            watts = sum(w for _, _, w, _ in list(chip_powers(circuit, states))[:-1]) + amplifier_power(circuit, tau)[0]
            worst = []
            for seed in range(CHIPS):
                parts = Nonidealities({"mosfet": {"mismatch": 1.0}}, seed=seed)
                chip = build_sampler(model, x, level="transistor", nonideal=parts, **given).silicon
                worst.append(off(chip)[:, 0].max())
        finally:
            UNIT["p"] = usual
        lam = circuit.silicon.sizes.lam
        print(
            f"| {name} | {1e6 * found.line_charge:.2f} us, {1e6 * found.line:.1f} us | {1e6 * found.e_charge / lam:.2f} us "
            f"| {1e6 * found.output_charge / lam:.2f} us | {1e3 * tau:.2f} ms | {1e6 * watts:.3g} "
            f"| {1e9 * watts * tau / per_tau:.3g} | {np.median(worst):.3f} |",
            flush=True,
        )


def follower(models: dict[str, tuple[SparseCodingModel, np.ndarray]]) -> None:
    """Print the line's Q over the units on it (its own, their copy, its fan-out), and what is left without the fan-out.

    That is the least that a follower between the splitter and the fan-out leaves, were it infinitely fast.
    """
    found, alone = [], 0
    for name, (model, x) in models.items():
        sizes = (circuit := build_sampler(model, x, level="transistor")).silicon.sizes
        fan = int(np.abs(sizes.weights).sum(axis=0).max())
        found.append((2 * sizes.units + fan, measure_lags(circuit).line_charge))
        alone = alone or 2 * sizes.units
        print(f"| {name} | {found[-1][0]} units, {fan} of them driven | {1e6 * found[-1][1]:.3f} us |", flush=True)
    slope, rest = np.polyfit(*np.array(found).T, 1)
    print(f"| an ideal follower | {alone} units | {1e6 * (rest + slope * alone):.3f} us (by a line through these) |")
