"""Circuits in transistors: what corners, mismatch, trim and rounding make of the posterior. Prints the tables of the docs.

python benchmarks/transistor.py corners|mismatch|several|chips|energy|noise|lag
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import transistor_energy
from numba import njit
from scipy.stats import binomtest

from circuitlsc.circuit.transistor import implied
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.validation.judge import exact_statistics

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


def print_yield(name: str, worst: np.ndarray, trims: Sequence[str] = TRIMS) -> None:
    """Print median, 90 % quantile and yield of chips' errors (n_chips, n_trims)."""
    for trim, errors in zip(trims, worst.T, strict=True):
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
STEP, WARM, LENGTH, CHAINS = 0.005, 8.0, 40.0, 2000  # tau; chains, each from u = 0


@njit  # type: ignore[untyped-decorator]
def active_shares(knots, code, other, drift, levels, matrix, negative, given, width, steps, warm, rng):  # type: ignore[no-untyped-def]
    """Return the share of time that each latent of each chain is active: Euler's steps on the tables of a chip."""
    size, last, top = len(given), knots.shape[1] - 2, len(levels) - 2
    out, u, s, n = np.zeros((CHAINS, size)), np.zeros(size), np.zeros(size), np.zeros(size)
    at, share = np.zeros(size, np.int64), np.zeros(size)
    for chain in range(CHAINS):
        u[:] = 0.0
        for step in range(-warm, steps):
            for i in range(size):
                j = at[i]
                while j < last and u[i] >= knots[i, j + 1]:
                    j += 1
                while j > 0 and u[i] < knots[i, j]:
                    j -= 1
                a = (u[i] - knots[i, j]) / (knots[i, j + 1] - knots[i, j])
                at[i], share[i] = j, a
                s[i] = code[i, j] + a * (code[i, j + 1] - code[i, j])
                n[i] = other[i, j] + a * (other[i, j + 1] - other[i, j])
                if step >= 0 and abs(s[i]) > width:
                    out[chain, i] += 1
            for i in range(size):
                e = given[i] + np.sum(matrix[i] * s) + np.sum(negative[i] * n)
                j, a, m = at[i], share[i], 0
                while m < top and e >= levels[m + 1]:
                    m += 1
                low = drift[i, m, j] + a * (drift[i, m, j + 1] - drift[i, m, j])
                high = drift[i, m + 1, j] + a * (drift[i, m + 1, j + 1] - drift[i, m + 1, j])
                force = low + (high - low) * (e - levels[m]) / (levels[m + 1] - levels[m])
                u[i] += STEP * force + np.sqrt(2 * STEP) * rng.standard_normal()
    return out / steps


def p_active(chip: Silicon) -> tuple[np.ndarray, np.ndarray]:
    """Return P(active) of a chip's tables, and its standard error."""
    tables = chip.tables
    each = tables.of(len(chip.b))
    found = active_shares(
        np.array([t.drift.knots for t in each]),
        np.array([t.code.values for t in each]),
        np.array([(t.negative or t.code).values for t in each]),
        np.array([t.drift.values for t in each]),
        each[0].drift.others,
        np.ascontiguousarray(tables.matrices[1]),
        np.ascontiguousarray(tables.matrices.get(-1, np.zeros_like(tables.matrices[1]))),
        -chip.b * tables.inputs,
        chip.sizes.width,
        int(LENGTH / STEP),
        int(WARM / STEP),
        np.random.default_rng(0),
    )
    return found.mean(axis=0), found.std(axis=0) / CHAINS**0.5


def of_several(name: str, trim: str, area: float = 1.0, seed: int = 0, **parts: Any) -> tuple[float, float]:
    """Return the largest dP from the exact posterior, and its standard error, of a chip's tables."""
    model, x = MODELS[name]
    given: Any = {"transistor": {"trim": trim, "area": area}, "nonideal": Nonidealities(parts, seed=seed)}
    found, error = p_active(build_sampler(model, np.array(x), level="transistor", **given).silicon)
    off = np.abs(found - truth(name))
    worst = int(np.argmax(off))
    return float(off[worst]), float(error[worst])


@cache
def truth(name: str) -> np.ndarray:
    """Return the exact P(active): by enumeration of the supports, or Gibbs."""
    model, x = MODELS[name]
    return exact_statistics(model, np.array(x), seed=0).p_active


def at_corner_of_model(name: str, process: str, celsius: float, trim: str) -> tuple[float, float]:
    """Return the largest dP of a model at a corner, and its standard error."""
    return of_several(name, trim, corner={"process": process, "temperature": celsius + 273.15})


def several() -> None:
    """Print how far posteriors of several latents are from the exact ones."""
    print("| model | corner | none: dP (s.e.) | two | full |\n|---|---|---|---|---|")
    work = [(name, *corner, trim) for name in MODELS for corner in SOME for trim in TRIMS]
    found = iter(in_parallel(at_corner_of_model, work))
    for name, process, celsius, _ in work[:: len(TRIMS)]:
        cells = " | ".join(f"{dp:.4f} ({error:.4f})" for dp, error in (next(found) for _ in TRIMS))
        print(f"| {name} | {process}, {celsius} C | {cells} |", flush=True)


def chip_of_bars(trim: str, area: float, seed: int) -> float:
    """Return the largest dP of a chip of four latents."""
    return of_several("K = 4, bars", trim, area, seed, mosfet={"mismatch": 1.0})[0]


def chips() -> None:
    """Print what chips of four latents are off by."""
    print("| area | trim | median dP | 90 % | within 0.05 | 95 % interval |\n|---|---|---|---|---|---|")
    for area in (4.0, 1.0, 16.0):
        work = [(trim, area, seed) for trim in ("none", "full") for seed in range(20)]
        worst = np.array(list(in_parallel(chip_of_bars, work))).reshape(2, -1)
        print_yield(f"{area:g}", worst.T, ("none", "full"))


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
