"""Measure a step of learning beside two dense matrix products and the normal deviates that it needs; prints a table.

    python benchmarks/learning.py [--quick]

D = 64, K = 256 and 100 inputs by default: s A and r A^T by ``numpy.matmul``, and 25,600 deviates by a NumPy Generator, in the
same precision. Calls alternate, each with one thread and with all, and the fastest of each kind counts: on a machine
with other work, the others measure that work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from circuitlsc import SparseCodingModel, SpikeSlab
from circuitlsc.learning import FromModel
from circuitlsc.learning.deviates import fill, streams
from circuitlsc.learning.kernel import ACTIVE, STEPS, Rates, advance, workspace

STEP = 0.01
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
    noise, states = np.empty((_BLOCK, batch, n_latents), dtype), streams(0, batch)
    rates = Rates(STEP, 1.0, STEP / 1000, STEP / 1000, 0.0, STEP / 1000, True, False)  # A, pi and sigma are learned

    def steps() -> None:
        fill(states, noise)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--latents", type=int, default=256)
    parser.add_argument("--batch", type=int, default=100)
    options = parser.parse_args()
    n = numba.get_num_threads()
    print(f"D = {options.features}, K = {options.latents}, batch {options.batch}; microseconds a step")
    heads = [
        "precision",
        "pi",
        "active",
        "products",
        "deviates",
        "step, 1 thread",
        f"{n} threads",
        "ratio, 1",
        f"ratio, {n}",
    ]
    print(" | ".join(heads))
    for dtype in ("float32", "float64"):
        for pi in (0.05, 0.15, 0.3):
            sizes = {"n_features": options.features, "n_latents": options.latents, "batch": options.batch}
            print(compare(pi, dtype, repeats=40 if options.quick else 400, **sizes), flush=True)


if __name__ == "__main__":
    main()
