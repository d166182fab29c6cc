"""Circuits in transistors: what corners, mismatch, trim and rounding make of the posterior. Prints the tables of the docs.

    python benchmarks/transistor.py corners|mismatch|several|chips|devices|rounding
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binomtest

from circuitlsc.circuit.transistor import implied
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.sampler import Sampler

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


def moved(chip: Silicon) -> np.ndarray:
    """Return what P(active), mean and sd of s differ by at the six inputs, of the neuron with its own mirrors."""
    tables, (g,) = chip.tables, ONE.gram[0]
    m, gain = tables.matrices[1][0, 0], tables.inputs[0]
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

CORNERS = [("typical", 27, 1.0), *(("typical", c, 1.0) for c in (-40, 85, 125)), *((p, 27, 1.0) for p in ("ff", "ss", "fs", "sf"))]
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
    print("| process | C | supply | dP | dmean | trim two | trim full | ideal bias |\n|---|---|---|---|---|---|---|---|")
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
        print(f"| {name} | {trim} | {half:.3f} | {nine:.3f} | {good} of {len(errors)} | {ci.low:.0%} .. {ci.high:.0%} |", flush=True)


def mismatch() -> None:
    """Print what chips of one neuron differ by."""
    print("| area | trim | median dP | 90 % | within 0.05 | 95 % interval |\n|---|---|---|---|---|---|")
    for area in AREAS:
        worst = np.array(list(in_parallel(of_chip, [(area, seed) for seed in range(CHIPS)])))
        print_yield(f"{area:g}", worst)


PARTS = {f.__name__: f for f in (corners, mismatch)}

if __name__ == "__main__":
    PARTS[sys.argv[1]]()
