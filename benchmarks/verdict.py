"""How often a verdict is wrong: correct samplers that disagree, wrong ones that do not, over models, lengths and speeds.

usage: verdict.py false | slow | power | advice | circuits | memories [MODEL ...] [--seed N]      the tables of docs/method.md
Runs are software runs with another seed and a shorter step than the null's, from the circuit's starts, two chains each. Gates
on R-hat and effective samples are off: they only ever take a verdict back. `circuits` runs circuits of every prior, gates on.
`memories` puts correct memories together from such runs, one for each of their inputs: while it is away an input stands still.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from circuitlsc import (
    Cauchy,
    Gaussian,
    Laplace,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
    bars,
    build_sampler,
)
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.planning.run_plan import ALLOWANCE, TOLERANCE, RunPlan
from circuitlsc.reference.replicates import Replicates, replicate_runs
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reference.statistics import PosteriorStatistics
from circuitlsc.validation.judge import Expectation, expect, judge, known_well, tolerance_scale
from circuitlsc.validation.memory_compare import IN_FULL, widening
from circuitlsc.validation.null import Null, null_for, quantile_levels
from circuitlsc.validation.run_errors import Errors

RUNS, WARMUP = 60, 20.0
FARTHEST = 300_000.0  # tau that a software run is given
LENGTHS = (300.0, 1000.0, 4000.0)
Model = tuple[SparseCodingModel, np.ndarray]


def dct() -> np.ndarray:
    """Return a coherent dictionary of 8 atoms: the 6-point DCT and two unit vectors."""
    n = np.arange(6)
    basis = np.cos(np.pi * (n[:, None] + 0.5) * n / 6)
    return np.hstack([basis / np.linalg.norm(basis, axis=0), np.eye(6)[:, [1, 4]]])


def pair(correlation: float, signed: bool = False) -> Model:
    """Return two atoms with a cosine, and one input that both explain."""
    A = np.array([[1.0, correlation], [0.0, np.sqrt(1 - correlation**2)]])
    return SparseCodingModel(A, SpikeSlab(0.3, 1.0, signed), 0.4), np.array([1.5, 0.3])


def random(D: int, K: int, prior: object, sigma: float, seed: int) -> Model:
    """Return a random dictionary of unit atoms, and an input drawn from its model."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((D, K))
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), prior, sigma)  # type: ignore[arg-type]
    return model, model.draw(rng)[1]


def models() -> dict[str, Model]:
    """Return the models, the awkward ones first."""
    x = np.array([1.82018721, -1.48741909, 0.43621218, -0.49608048, -0.91590664, -1.09005843])
    y = np.array([-0.82478037, -0.27851949, 0.05085679, 0.17924672, 0.26189338, -0.67868892, -0.85114962, -0.29710252])
    slab, two = SpikeSlab(0.25, 1.0), SpikeSlab(0.25, 1.0, True)
    model = SparseCodingModel(dct(), two, 0.4)
    square = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    twin = np.hstack([dct()[:, :3], dct()[:, :1]])
    return {
        "coherent, signed": (model, x),
        "coherent, signed, sigma .15": (replace(model, sigma=0.15), x),
        "coherent": (replace(model, prior=slab), x),
        "8 x 20, signed": (random(8, 20, SpikeSlab(0.2, 1.0, True), 0.3, 7)[0], y),
        "duplicated atom": (SparseCodingModel(twin, slab, 0.4), x),
        "duplicated atom, signed": (SparseCodingModel(twin, two, 0.4), x),
        "correlation .95": pair(0.95),
        "correlation .95, signed": pair(0.95, True),
        "bimodal, K = 1, signed": (SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0, True), 0.2), np.array([0.7])),
        "rare, K = 1": (SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.02, 1.0), 0.5), np.array([0.9])),
        "K = 1": (SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5), np.array([0.6])),
        "4x4 bars": (square, square.draw(np.random.default_rng(1))[1]),
        "coherent, Laplace": (replace(model, prior=Laplace(1.0)), x),
        "coherent, Laplace >= 0": (replace(model, prior=Laplace(1.0, False)), x),
        "coherent, Gaussian": (replace(model, prior=Gaussian(1.0)), x),
        "coherent, Cauchy": (replace(model, prior=Cauchy(2.0, 0.5)), x),
        "coherent, Cauchy lam 1.2": (replace(model, prior=Cauchy(1.2, 0.5)), x),
        "random 6 x 12": random(6, 12, SpikeSlab(0.2, 1.0), 0.3, 3),
    }


def every_prior() -> dict[str, Model]:
    """Return each kind of prior, signed and not, with the 4x4 bars and with a random dictionary of 8 atoms."""
    kinds = {
        "slab": SpikeSlab(0.3, 1.0),
        "slab, signed": SpikeSlab(0.3, 1.0, True),
        "Laplace": Laplace(1.0),
        "Laplace >= 0": Laplace(1.0, False),
        "Gaussian": Gaussian(1.0),
        "Cauchy": Cauchy(2.0, 0.5),
        "square root": SquareRoot(2.0),
        "square root >= 0": SquareRoot(2.0, signed=False),
    }
    found = {}
    for name, prior in kinds.items():
        square = SparseCodingModel(bars(4), prior, 0.5)
        found[f"bars, {name}"] = (square, square.draw(1)[1])
        found[f"random 12 x 8, {name}"] = random(12, 8, prior, 0.5, 5)
    return found


class Bench:
    """A model with its exact statistics and nulls, and software runs of it and of others."""

    def __init__(self, model: SparseCodingModel, x: np.ndarray, kind: str = "langevin") -> None:
        self.model, self.x = model, x
        self.sampler = build_sampler(model, x, dynamics=kind)
        self.starts = self.sampler.starts(2, 0)
        self.levels = quantile_levels(model, x)
        self.exact: PosteriorStatistics = exact_statistics(model, x, seed=0, levels=self.levels, seconds=40)
        self.scale = tolerance_scale(model, self.exact)
        # the step's bias must be far below the allowance: with one latent a drift that jumps at the threshold asks for more
        self.rate_step = 0.05 if model.n_latents > 2 else 0.01

    def null(self, t_stop: float, share: float = 1.0) -> Null:
        """Return the null of runs of a length, of a share of the usual work."""
        plan = self.sampler.plan
        return null_for(
            self.model, self.x, starts=self.starts, length=t_stop - WARMUP, warmup=WARMUP, time_scale=plan.time_scale,
            dynamics=self.sampler.dynamics, levels=self.levels, share=share,
        )  # fmt: skip

    def runs(
        self, t_stop: float, n: int, seed: int, model: SparseCodingModel | None = None, **options: object
    ) -> Replicates:
        """Return software runs, of this model or of a wrong one."""
        return replicate_runs(
            model or self.model, self.x, starts=self.starts, n_runs=n, length=t_stop - WARMUP, warmup=WARMUP, seed=seed,
            rate_step=self.rate_step, time_scale=self.sampler.plan.time_scale, levels=self.levels,
            **{"dynamics": self.sampler.dynamics, **options},
        )  # fmt: skip

    def verdicts(self, null: Null, found: Replicates, widened: float = 1.0) -> Iterator[Errors]:
        """Yield each run's errors."""
        truth, reference = null.judged.select(self.exact), null.judged.select(self.exact, "_mcse")
        n = found.marginals.shape[1] * found.marginals.shape[2] * found.per_block
        averages = null.judged.of_sums(n, found.marginals.sum((1, 2)), found.pairs.sum((1, 2)), found.below.sum((1, 2)))
        values = null.judged.from_averages(averages)
        for run, sums in zip(values, found.marginals, strict=True):
            slowdown = null.slowdown(sums, found.per_block)
            yield Errors(run, truth, reference, null, scale=self.scale, slowdown=slowdown, widened=widened)

    def disagree(self, null: Null, found: Replicates) -> int:
        """Return how many of the runs disagree."""
        return sum(bool((e.excess() > e.c).any()) for e in self.verdicts(null, found))


def wrong(model: SparseCodingModel) -> dict[str, tuple[SparseCodingModel, dict[str, object]]]:
    """Return wrong samplers: what a run of them is, and its options."""
    prior, A = model.prior, model.A
    assert isinstance(prior, SpikeSlab)
    flipped = A * np.where(np.arange(A.shape[1]) == 0, -1, 1)
    return {
        "lam x 1.5": (replace(model, prior=replace(prior, lam=1.5 * prior.lam)), {}),
        "T x 1.25": (model, {"dynamics": Dynamics(temperature=1.25)}),
        "sigma x 1.25": (replace(model, sigma=1.25 * model.sigma), {}),
        "one atom's sign": (replace(model, A=flipped), {}),
        "gate offset .1": (model, {"gate_offset": 0.1}),
        "pi + .1": (replace(model, prior=replace(prior, pi=prior.pi + 0.1)), {}),
        "pi x 1.2": (replace(model, prior=replace(prior, pi=1.2 * prior.pi)), {}),
    }


def table(names: list[str], lengths: tuple[float, ...], slower: tuple[float, ...], seed: int, most: float) -> bool:
    """Print false alarms; return whether they are at most this share, and at most five of the 60 of any model and length."""
    total = runs = worst = 0
    for name in names:
        bench = Bench(*models()[name])
        for t_stop in lengths:
            begun = time.perf_counter()
            null = bench.null(t_stop)
            took = time.perf_counter() - begun
            alarms = [bench.disagree(null, bench.runs(t_stop, RUNS, seed, slower=factor)) for factor in slower]
            total, runs, worst = total + sum(alarms), runs + RUNS * len(alarms), max(worst, *alarms)
            how = "scaled" if null.scaled else "whole" if null.length > 0.99 * null.target else "conservative"
            print(
                f"{name:28s} {t_stop:6g}  false of {RUNS}: {' '.join(map(str, alarms)):8s} null {null.n_runs} runs of "
                f"{null.length:6.0f} tau, {how:12s} {took:4.1f} s", flush=True,
            )  # fmt: skip
    print(f"in all {total} of {runs} ({100 * total / runs:.2f} %); the promise is {100 * most:g} %")
    return total <= most * runs and worst <= 5


def memories(names: list[str], inputs: tuple[int, ...], lengths: tuple[float, ...], seed: int, most: float) -> bool:
    """Print false alarms of memories; return as `table` does. Lengths are of each input's own time."""
    total = runs = worst = 0
    for name in names:
        model, x = models()[name]
        rows = [x, *(model.draw(np.random.default_rng([5, i]))[1] for i in range(1, max(inputs)))]
        benches = [Bench(model, row) for row in rows]
        for n in inputs:
            for t_stop in lengths:
                begun = time.perf_counter()
                nulls = [bench.null(t_stop, min(1.0, IN_FULL / n)) for bench in benches[:n]]
                known = [Expectation(o, b.exact, b.levels, b.scale, 0.0) for o, b in zip(nulls, benches, strict=False)]
                widened, took = widening(known), time.perf_counter() - begun
                wrong = np.zeros(RUNS, bool)
                for i, (bench, null) in enumerate(zip(benches, nulls, strict=False)):
                    found = bench.runs(t_stop, RUNS, seed + 1000 * i)
                    wrong |= [bool((e.excess() > e.c).any()) for e in bench.verdicts(null, found, widened)]
                alarms = int(wrong.sum())
                total, runs, worst = total + alarms, runs + RUNS, max(worst, alarms)
                print(
                    f"{name:28s} {n:3d} inputs, {t_stop:6g} each  false of {RUNS}: {alarms}, limits x {widened:.2f}, "
                    f"{took:4.1f} s", flush=True,
                )  # fmt: skip
    print(f"in all {total} of {runs} ({100 * total / runs:.2f} %); the promise is {100 * most:g} %")
    return total <= most * runs and worst <= 5


def power(names: list[str], seed: int) -> None:
    """Print how many of 60 wrong runs are found."""
    for name in names:
        bench = Bench(*models()[name])
        for t_stop in (2000.0, 4000.0, 6000.0):
            null = bench.null(t_stop)
            for what, (model, options) in wrong(bench.model).items():
                found = bench.disagree(null, bench.runs(t_stop, RUNS, seed, model, **options))
                print(f"{name:28s} {t_stop:6g}  {what:16s} {found} of {RUNS}", flush=True)


def advice(names: list[str], seed: int) -> None:
    """Print what a run of 1,000 tau advises for a tolerance of .02, and how many of ten runs of that length agree."""
    for name in names:
        bench = Bench(*(models() | every_prior())[name])
        short = next(bench.verdicts(bench.null(1000.0), bench.runs(1000.0, 1, seed)))
        length, tolerance = short.needed(ALLOWANCE, TOLERANCE), TOLERANCE
        told = f"{name:31s} {length or math.inf:8.3g} tau for {TOLERANCE:g};"
        if length is None or length > FARTHEST:
            length, tolerance = FARTHEST, short.reach(FARTHEST, ALLOWANCE)
        null, begun = bench.null(length + WARMUP), time.perf_counter()
        bench.exact = exact_statistics(
            bench.model, bench.x, seed=0, levels=bench.levels, seconds=600,
            enough=known_well(null, bench.model, tolerance),
        )  # fmt: skip
        drawn = time.perf_counter() - begun
        found = list(bench.verdicts(null, bench.runs(length + WARMUP, 10, seed + 1)))
        agree = sum(bool((np.abs(e.d) + e.c * e.wide <= tolerance).all()) for e in found)
        print(
            f"{told} {agree} of 10 runs of {length:.3g} tau agree within {tolerance:.2g}; reference {drawn:.0f} s",
            flush=True,
        )


def circuits(names: list[str], seed: int, seeds: int) -> None:
    """Print what a circuit of 1,000 tau advises, and how many circuits of that length, with other seeds, agree."""
    for name in names:
        model, x = every_prior()[name]
        sampler = build_sampler(model, x)
        short = judge(sampler, sampler.run(t_stop=1000.0, chains=2, seed=seed)).comparison
        told, begun = f"{name:31s} {short.t_stop_needed or math.inf:8.3g} tau for {TOLERANCE:g};", time.perf_counter()
        length, tolerance = short.t_stop_needed, TOLERANCE
        if short.needed_t_stop is not None and short.needed_tolerance is not None:  # too far away
            length, tolerance = short.needed_t_stop, short.needed_tolerance
        assert length is not None
        expected, found = expect(sampler, RunPlan(t_stop=length), tolerance=tolerance), []
        for i in range(1, seeds + 1):
            samples = sampler.run(t_stop=length, chains=2, seed=seed + i)
            found.append(judge(sampler, samples, expected=expected, tolerance=tolerance).comparison)
        verdicts, took = [c.verdict for c in found], time.perf_counter() - begun
        print(
            f"{told} {verdicts.count('agrees')} of {seeds} circuits of {length:.3g} tau agree within {tolerance:g}, "
            f"{verdicts.count('disagrees')} disagree; {took:.0f} s", flush=True,
        )  # fmt: skip
        for c in found:
            if c.verdict != "agrees":
                print("    ", c.reason, flush=True)


def main() -> int:
    """Print the tables that are asked for; return 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["false", "slow", "power", "advice", "circuits", "memories"])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--seeds", type=int, default=10, help="circuits a model")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    names = options.models or list(models())
    if options.what == "circuits":
        circuits(options.models or list(every_prior()), options.seed, options.seeds)
    elif options.what == "advice":
        advice(names, options.seed)
    elif options.what == "power":
        power(options.models or ["4x4 bars", "coherent, signed", "8 x 20, signed"], options.seed)
    elif options.what == "memories":
        return int(not memories(names, (4, 16), LENGTHS[:2], options.seed, 0.02))
    elif options.what == "false":
        return int(not table(names, LENGTHS, (1.0,), options.seed, 0.02))
    else:
        return int(not table(names, LENGTHS, (1.25, 1.5), options.seed, 0.03))
    return 0


if __name__ == "__main__":
    sys.exit(main())
