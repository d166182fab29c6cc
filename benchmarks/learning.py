"""Measure a step of learning beside two dense matrix products and the normal deviates that it needs, and circuits that learn.

Prints two tables of speed and two of what is learned with a memory, and writes them to LEARNING.md beside this file.

    python benchmarks/learning.py [--quick | --memory]

``--memory`` prints the last two alone. They compare with Gibbs-sampled expectation maximisation on the same 400 inputs.
D = 64, K = 256 and 100 inputs by default: s A and r A^T by ``numpy.matmul``, and 25,600 deviates by a NumPy Generator, in the
same precision. Calls alternate, each with one thread and with all, and the fastest of each kind counts: on a machine
with other work, the others measure that work.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from circuitlsc import SparseCodingModel, SpikeSlab, bars, match_atoms
from circuitlsc.learning import CircuitLearner, FromModel, Learner, Rows, Stage, gibbs_em, random_weights
from circuitlsc.learning.kernel import ACTIVE, STEPS, Rates, advance, fill, workspace

HERE = Path(__file__).parent
STEP = 0.01
CIRCUITS = [
    (3, ("A",), "ideal"),
    (3, ("A", "pi"), "ideal"),
    (3, ("A",), "device"),
    (4, ("A",), "ideal"),
]
_BLOCK = 5  # steps a call, as in a run of this size


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(pi: float, dtype: str, *, n_features: int, n_latents: int, batch: int, repeats: int) -> str:
    """Return a row of the table."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n_features, n_latents))
    A /= np.linalg.norm(A, axis=0)
    model = SparseCodingModel(A, SpikeSlab(pi, 1.0, signed=True), 0.5)
    x = FromModel(model).batch(0, batch, 0).astype(dtype)
    w = workspace(rng.laplace(size=(batch, n_latents)).astype(dtype), A, np.array([model.prior.threshold, 1.0, 0.5]))
    noise, stream = np.empty((_BLOCK, batch, n_latents), dtype), np.random.Generator(np.random.SFC64(0))
    rates = Rates(STEP, 1.0, STEP / 1000, STEP / 1000, 0.0, STEP / 1000, True, False)  # A, pi and sigma are learned

    def steps() -> None:
        fill(stream, noise)
        advance(w, x, noise, rates)

    dense, atoms = np.array(w.value), np.ascontiguousarray(A.T, dtype=dtype)
    residual, deviates = dense @ atoms, np.empty((batch, n_latents), dtype)
    threads = numba.get_num_threads()
    best = dict.fromkeys(("products", "deviates", "step, 1 thread", f"step, {threads} threads"), np.inf)

    def keep(name: str, duration: float) -> None:
        best[name] = min(best[name], 1e6 * duration)

    for _ in range(100):
        steps()
    w.sums[:] = 0.0
    for _ in range(repeats):
        for count in (1, threads):
            numba.set_num_threads(count)
            keep("step, 1 thread" if count == 1 else f"step, {count} threads", seconds(steps) / _BLOCK)
            with threadpool_limits(count):
                keep("products", seconds(lambda: (np.matmul(dense, atoms), np.matmul(residual, atoms.T))))
        keep("deviates", seconds(lambda: rng.standard_normal(dtype=dtype, out=deviates)))  # type: ignore[call-overload]
    numba.set_num_threads(threads)
    yardstick = best["products"] + best["deviates"]
    ratios = [value / yardstick for name, value in best.items() if name.startswith("step")]
    cells = [dtype, f"{pi:g}", f"{w.sums[ACTIVE] / w.sums[STEPS]:.3f}", *(f"{value:.0f}" for value in best.values())]
    return " | ".join([*cells, *(f"{ratio:.2f}" for ratio in ratios)])


def circuit_row(side: int, learn: tuple[str, ...], level: str, n_inputs: int) -> str:
    """Return the cost of a circuit that learns bars from random weights, and what 4,000 inputs of 10 tau would take."""
    model = SparseCodingModel(bars(side), SpikeSlab(0.3, 1.0), 0.3)
    given = {"tau_A": 3000.0, "tau_u0": 4000.0} if "pi" in learn else {"tau_A": 3000.0}
    learner = CircuitLearner(
        A0=random_weights(model.n_features, model.n_latents, 0),
        pi=0.3,
        lam=1.0,
        sigma=0.3,
        source=model,
        stage=Stage.of_inputs(n_inputs, hold=10.0, step=0.05, **given),
        seed=0,
        learn=learn,
        level=level,
    )
    step = min(float(learner.run().history.attrs["us_per_step"]) for _ in range(3))
    whole = 4000 * learner.stage.hold_steps * step / 1e6
    return " | ".join(
        [f"{side}x{side} bars", ", ".join(learn), level, str(model.A.size), f"{step:.0f}", f"{whole:.0f}"]
    )


def memory_of_dictionaries(inputs: int, seeds: int) -> Iterator[str]:
    """Yield rows of what A of 3x3 bars is learned as (sigma 0.3, batch 20, tau_A 300, 12,000 tau), from random weights."""
    model = SparseCodingModel(bars(3), SpikeSlab(0.3, 1.0), 0.3)
    X = FromModel(model).batch(0, inputs, 0)
    reference = gibbs_em(X, model, n_sweeps=20_000)
    yield "memory | hold | smallest cosine, each seed | mean norm ratio, each seed | norm ratios, all"
    for memory, hold in ((inputs, 2.0), (inputs, 10.0), (None, 2.0), (None, 10.0)):
        stage = Stage(duration=12_000.0, step=0.01, hold=hold, tau_A=300.0)
        given = {"pi": 0.3, "lam": 1.0, "sigma": 0.3, "source": Rows(X), "batch": 20, "stages": [stage]}
        runs = [Learner(A0=random_weights(9, 6, s), **given, memory=memory, seed=s).run() for s in range(seeds)]
        found = [match_atoms(reference.A, run.learned.A) for run in runs]
        ratios = np.concatenate([match.norm_ratio for match in found])
        cells = [", ".join(f"{match.cosine.min():.4f}" for match in found)]
        cells += [", ".join(f"{match.norm_ratio.mean():.3f}" for match in found)]
        yield " | ".join(["yes" if memory else "no", f"{hold:g}", *cells, f"{ratios.min():.3f} to {ratios.max():.3f}"])


def memory_of_sparsities(inputs: int, seeds: int) -> Iterator[str]:
    """Yield rows of what pi of 4x4 bars is learned as (sigma 0.5, A known, batch 100, tau_u0 50, 2,000 tau)."""
    yield "pi of the data | signed | expectation maximisation | memory, hold 2 | none, hold 2 | none, hold 10"
    for pi, signed in ((0.1, False), (0.3, False), (0.1, True), (0.3, True)):
        model = SparseCodingModel(bars(4), SpikeSlab(pi, 1.0, signed), 0.5)
        X = FromModel(model).batch(0, inputs, 0)
        cells = [f"{gibbs_em(X, model, learn=('pi',)).pi:.4f}"]
        for memory, hold in ((inputs, 2.0), (None, 2.0), (None, 10.0)):
            stage = Stage(duration=2000.0, step=0.02, hold=hold, tau_u0=50.0)
            given = {"pi": 0.2, "lam": 1.0, "sigma": 0.5, "signed": signed, "source": Rows(X), "stages": [stage]}
            runs = [Learner(A0=model.A, **given, learn=("pi",), memory=memory, seed=s).run() for s in range(seeds)]
            cells.append(", ".join(f"{run.learned.pi:.4f}" for run in runs))
        yield " | ".join([f"{pi:g}", "yes" if signed else "no", *cells])


def told(rows: Iterable[str]) -> list[str]:
    """Print rows as they come, and return them."""
    kept = []
    for row in rows:
        print(row, flush=True)
        kept.append(row)
    return kept


def markdown(rows: list[str]) -> str:
    """Return rows as a Markdown table; the first is the head."""
    bar = " | ".join("---" for _ in rows[0].split(" | "))
    return "\n".join(f"| {row} |" for row in [rows[0], bar, *rows[1:]])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats; prints only")
    parser.add_argument("--memory", action="store_true", help="what is learned with a memory alone; prints only")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--latents", type=int, default=256)
    parser.add_argument("--batch", type=int, default=100)
    options = parser.parse_args()
    n = numba.get_num_threads()
    if options.memory:
        told(memory_of_dictionaries(400, 3))
        told(memory_of_sparsities(400, 3))
        return
    steps = [
        f"precision | pi | active | products | deviates | step, 1 thread | {n} threads | ratio, 1 | ratio, {n}",
    ]
    print(steps[0])
    for dtype in ("float32", "float64"):
        for pi in (0.05, 0.15, 0.3):
            sizes = {"n_features": options.features, "n_latents": options.latents, "batch": options.batch}
            steps.append(compare(pi, dtype, repeats=40 if options.quick else 400, **sizes))
            print(steps[-1], flush=True)
    circuits = ["data | learned | level | synapses | us per step | s for 4,000 inputs of 10 tau"]
    print(circuits[0])
    for side, learn, level in CIRCUITS:
        circuits.append(circuit_row(side, learn, level, 20 if options.quick else 100))
        print(circuits[-1], flush=True)
    seeds = 1 if options.quick else 3
    dictionaries, sparsities = told(memory_of_dictionaries(400, seeds)), told(memory_of_sparsities(400, seeds))
    parts = [
        "# Measured speed of learning",
        f"Python {platform.python_version()}, {n} processors ({platform.machine()}). Written by "
        "`python benchmarks/learning.py`.",
        f"## Software: D = {options.features}, K = {options.latents}, batch {options.batch}, microseconds a step",
        "`ratio` is a step over two dense matrix products and its normal deviates; the fastest of each kind.",
        markdown(steps),
        "## Circuits: step 0.05 tau, one core, the fastest of three runs",
        markdown(circuits),
        "## Learned with a memory of 400 inputs: the dictionary of 3x3 bars",
        "Sigma 0.3, batch 20, step 0.01 tau, tau_A 300, 12,000 tau from random weights, seeds 0, 1, 2, beside Gibbs-sampled "
        "expectation maximisation on the same inputs (20,000 sweeps).",
        markdown(dictionaries),
        "## Learned with a memory of 400 inputs: pi of 4x4 bars",
        "Sigma 0.5, A known, batch 100, step 0.02 tau, tau_u0 50, 2,000 tau from pi = 0.2, seeds 0, 1, 2.",
        markdown(sparsities),
    ]
    if not options.quick:
        (HERE / "LEARNING.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
