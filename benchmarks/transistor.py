"""Circuits in transistors: what corners, mismatch, trim and rounding make of the posterior. Prints the tables of the docs.

python benchmarks/transistor.py corners|mismatch|several|chips|energy|noise|lag
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import transistor_energy
from scipy.stats import binomtest

from circuitlsc.circuit.transistor import implied
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.validation.judge import circuit_statistics, exact_statistics

WORKERS = 2
SIGMA, PI, LAM = 0.5, 0.3, 1.0
TOLERANCE = 0.05
PRIOR = SpikeSlab(pi=PI, lam=LAM)
ONE = SparseCodingModel(np.ones((1, 1)), PRIOR, SIGMA)


def one(trim: str = "none", area: float = 1.0, *, ideally_biased: bool = False, **parts: Any) -> Silicon:
    """Return a chip of one neuron, G = 4."""
    seed = parts.pop("seed", 0)
    given: Any = {"transistor": {"trim": trim, "area": area}, "nonideal": Nonidealities(parts, seed=seed)}
    chip = build_sampler(ONE, np.ones(1), level="transistor", **given).silicon
    return replace(chip, sizes=replace(chip.sizes, ideally_biased=ideally_biased))


def moved(chip: Silicon, *, inputs: bool = True) -> np.ndarray:
    """Return what P(active), mean and sd of s differ by at the six inputs, of the neuron with its own mirrors.

    The input's mirrors are left out if ``inputs`` is False.
    """
    tables, (g,) = chip.tables, ONE.gram[0]
    m, gain = tables.matrices[1][0, 0], tables.inputs[0] if inputs else 1.0
    found = []
    for x in implied.INPUTS:
        there = implied.posterior(tables.neurons[0], x * g * gain / m, m, chip.sizes.width)
        found.append(there.off(implied.exact(x, g, lam=LAM, u0=PRIOR.threshold)))
    return np.abs(found)


def in_parallel(function: Callable[..., Any], work: Sequence[tuple[Any, ...]]) -> Iterable[Any]:
    """Return a function of each tuple, from several processes."""
    with ProcessPoolExecutor(WORKERS) as pool:
        yield from pool.map(function, *zip(*work, strict=True))


# corners --------------------------------------------------------------------------------------------------------------

CORNERS = [
    ("typical", 27, 1.0),
    *(("typical", c, 1.0) for c in (-40, 85, 125)),
    *((p, 27, 1.0) for p in ("ff", "ss", "fs", "sf")),
]
CORNERS += [("ff", 125, 1.0), ("ss", -40, 1.0), ("ff", -40, 1.0), ("ss", 125, 1.0)]
CORNERS += [(p, 27, volt / 3.3) for volt in (3.0, 3.6) for p in ("typical", "ss", "ff")]


def at_corner(process: str, celsius: float, supply: float) -> tuple[float, ...]:
    """Return the largest dP and dmean untrimmed, and dP trimmed (two, full) and with ideal bias."""
    corner = {"process": process, "temperature": celsius + 273.15, "supply": supply}
    plain, *others = (moved(one(trim, corner=corner)) for trim in ("none", "two", "full"))
    ideal = moved(one(corner=corner, ideally_biased=True))
    return (plain[:, 0].max(), plain[:, 1].max(), *(o[:, 0].max() for o in others), ideal[:, 0].max())


def corners() -> None:
    """Print the posterior that one neuron's tables imply, at the corners."""
    print(
        "| process | C | supply | dP | dmean | trim two | trim full | ideal bias |\n|---|---|---|---|---|---|---|---|"
    )
    for (process, celsius, supply), row in zip(CORNERS, in_parallel(at_corner, CORNERS), strict=True):
        numbers = " | ".join(f"{value:.3f}" for value in row)
        print(f"| {process} | {celsius} | {3.3 * supply:.1f} V | {numbers} |", flush=True)


# mismatch -------------------------------------------------------------------------------------------------------------

TRIMS, AREAS, CHIPS = ("none", "two", "full"), (1.0, 4.0, 16.0), 50


def of_chip(area: float, seed: int) -> tuple[float, ...]:
    """Return the largest dP of a chip with each trim."""
    return tuple(moved(one(trim, area, mosfet={"mismatch": 1.0}, seed=seed))[:, 0].max() for trim in TRIMS)


def print_yield(name: str, worst: np.ndarray) -> None:
    """Print median, 90 % quantile and yield of chips' errors (n_chips, n_trims)."""
    for trim, errors in zip(TRIMS, worst.T, strict=True):
        good = int(np.sum(errors <= TOLERANCE))
        ci = binomtest(good, len(errors)).proportion_ci(0.95, method="wilson")
        half, nine = np.quantile(errors, [0.5, 0.9])
        print(
            f"| {name} | {trim} | {half:.3f} | {nine:.3f} | {good} of {len(errors)} | {ci.low:.0%} .. {ci.high:.0%} |",
            flush=True,
        )


def mismatch() -> None:
    """Print what chips of one neuron differ by."""
    print("| area | trim | median dP | 90 % | within 0.05 | 95 % interval |\n|---|---|---|---|---|---|")
    for area in AREAS:
        worst = np.array(list(in_parallel(of_chip, [(area, seed) for seed in range(CHIPS)])))
        print_yield(f"{area:g}", worst)


# several latents ------------------------------------------------------------------------------------------------------

BARS = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=float).T / np.sqrt(2)
MODELS: dict[str, tuple[SparseCodingModel, list[float]]] = {
    "K = 2": (SparseCodingModel(np.array([[1.0, 0.6], [0.0, 0.8]]), PRIOR, SIGMA), [1.2, 0.8]),
    "K = 2, G_12 < 0": (SparseCodingModel(np.array([[1.0, -0.5], [0.0, 0.75**0.5]]), PRIOR, SIGMA), [0.6, 0.9]),
    "K = 2, signed": (
        SparseCodingModel(np.array([[1.0, 0.6], [0.0, 0.8]]), SpikeSlab(PI, LAM, signed=True), SIGMA),
        [1.2, -0.8],
    ),
    "K = 4, bars": (SparseCodingModel(BARS, PRIOR, SIGMA), [1.0, 1.0, 0.3, 0.3]),
}
SOME = [("typical", 27), ("ff", 125), ("ss", -40), ("fs", 27), ("sf", 27)]
LENGTH, CHAINS = 8000.0, 4  # tau


def of_model(name: str, process: str, celsius: float, trim: str) -> tuple[float, float]:
    """Return the largest dP from the exact posterior, and its standard error, of tables that run in ngspice."""
    model, x = MODELS[name]
    corner = {"process": process, "temperature": celsius + 273.15}
    circuit = build_sampler(
        model, np.array(x), level="transistor", nonideal={"corner": corner}, transistor={"trim": trim}
    )
    found = circuit_statistics(circuit, circuit.run(t_stop=LENGTH, chains=CHAINS, seed=1, workers=1))
    off = np.abs(found.p_active - exact_statistics(model, np.array(x), seed=0).p_active)
    worst = int(np.argmax(off))
    return float(off[worst]), float(found.p_active_mcse[worst])


def several() -> None:
    """Print how far posteriors of several latents are from the exact ones."""
    print("| model | corner | untrimmed: dP (s.e.) | trim full |\n|---|---|---|---|")
    work = [(name, *corner, trim) for name in MODELS for corner in SOME for trim in ("none", "full")]
    found = list(in_parallel(of_model, work))
    for (name, process, celsius, _), plain, full in zip(work[::2], found[::2], found[1::2], strict=True):
        print(f"| {name} | {process}, {celsius} C | {plain[0]:.3f} ({plain[1]:.3f}) | {full[0]:.3f} ({full[1]:.3f}) |")


def chips() -> None:
    """Print what chips of four latents differ by from the chip of equal devices, on the same noise."""
    model, x = MODELS["K = 4, bars"]
    print("| area | trim | median | 90 % | within 0.05 | 95 % interval |\n|---|---|---|---|---|---|")
    for area in (1.0, 4.0):
        worst = []
        for trim in TRIMS:
            keys = {"trim": trim, "area": area}
            lot = chip_yield(
                model,
                np.array(x),
                {"mosfet": {"mismatch": 1.0}},
                chips=20,
                tolerance=TOLERANCE,
                level="transistor",
                transistor=keys,
                t_stop=2000.0,
                chains=2,
                seed=1,
                workers=WORKERS,
            )
            worst.append([np.abs(chip.change.p_active).max() for chip in lot.chips])
        print_yield(f"{area:g}", np.array(worst).T)


def energy() -> None:
    """Print what samples cost over tau, and beside other circuits and software."""
    transistor_energy.energy(ONE, np.ones(1), "K = 1, G = 4, x = 1")
    model, x = MODELS["K = 4, bars"]
    transistor_energy.energy(model, np.array(x), "K = 4, bars")


def noise() -> None:
    """Print what a step of every transistor costs with both sources of noise."""
    print(
        "| model | tau, step | noise | time points | Newton iterations | ms, each per step |\n|---|---|---|---|---|---|"
    )
    transistor_energy.noise(ONE, np.ones(1), "K = 1", 400)
    for name, steps in (("K = 2", 250), ("K = 4, bars", 200)):
        model, x = MODELS[name]
        transistor_energy.noise(model, np.array(x), name, steps)


def lag() -> None:
    """Print what other mirrors and unit currents do to lag, mismatch and energy, and what a follower could."""
    given = {"K = 1": (ONE, np.ones(1))}
    given |= {name: (MODELS[name][0], np.array(MODELS[name][1])) for name in ("K = 2", "K = 4, bars")}
    transistor_energy.follower(given)
    transistor_energy.lag(ONE, np.ones(1), lambda chip: moved(chip, inputs=False))


PARTS = {f.__name__: f for f in (corners, mismatch, several, chips, energy, noise, lag)}

if __name__ == "__main__":
    PARTS[sys.argv[1]]()
