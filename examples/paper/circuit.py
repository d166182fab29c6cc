"""The circuit's side of Figures 4a and 5: every input of a data set through one circuit, in one transient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.data import bars
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.sampling.batch import CircuitRun, Note, run_circuits
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.samples import Samples
from examples.paper.figures import (
    DICTIONARIES,
    FULL,
    LAM,
    SIGMA,
    SWEPT_PIS,
    ActivityCurve,
    Coefficients,
    Size,
    bars_inputs,
    coefficients,
    measured_activity,
    random_dictionary,
)

SETTLING = 30.0  # tau that each input is on for a circuit that settles
MIXING = 14.0  # tau after a change of the input before a sample is taken
KEPT = 6.0  # tau over which samples are averaged, for an activity
SWEEP = Size(n=8, n_inputs=100, n_lambdas=7, n_draws=1)  # of Figure 4a's circuits: MAP codes of 100 inputs say enough
SYSTEMS = {
    "DSC": Dynamics(kind="gradient"),
    "LCA": Dynamics(kind="lca"),
    "LCA hard": Dynamics(kind="lca", threshold="hard"),
    "L0-LSC": Dynamics(),
}
#: lambdas at which circuits are run in Figure 4a: the part of the axis where the activity changes
LAMBDAS = (0.4, 8.0)


def settling(name: str, model: SparseCodingModel, X: Array, dynamics: Dynamics) -> CircuitRun:
    """Return a circuit that settles on a code for each input, shown one after the other."""
    sampler = build_sampler(model, X, dynamics=dynamics, hold=SETTLING)
    return CircuitRun(name, sampler, sampler.run_plan(warmup=SETTLING - sampler.plan.step, thin=1))


def sampling(name: str, model: SparseCodingModel, X: Array, *, seed: int, kept: float = 0.0) -> CircuitRun:
    """Return a circuit that samples the code of each input; over the last ``kept`` tau of each, or one sample."""
    sampler = build_sampler(model, X, hold=MIXING + (kept or 1.0))
    step = sampler.plan.step
    per_draw = max(1, round(0.2 / step)) if kept else max(1, round(1.0 / step) - 1)
    return CircuitRun(name, sampler, sampler.run_plan(warmup=MIXING, thin=per_draw, seed=seed))


def last_codes(samples: Samples) -> Array:
    """Return the last code of each input, (n_inputs, n_latents)."""
    return np.asarray(samples.by_row()[0, :, -1])


def circuit_activity(
    size: Size = SWEEP,
    *,
    pis: tuple[float, ...] = (0.3, 0.1),
    seed: int = 0,
    note: Note | None = None,
    workers: int | None = None,
) -> list[ActivityCurve]:
    """Return what circuits measure for Figure 4a: MAP activity over lambda, and L0-LSC's for each given pi.

    Parameters
    ----------
    size : Size
    pis : tuple of float
        P(active) of the data sets.
    seed : int
        Of data and noise.
    note : callable or None
        Called with the name of each circuit that is done.
    workers : int or None
        Circuits at a time; None means one per processor.
    """
    A, lambdas = bars(size.n), np.geomspace(*LAMBDAS, size.n_lambdas)
    data = {pi: bars_inputs(size.n, pi, size.n_inputs, seed)[1] for pi in {*pis, *SWEPT_PIS}}
    settled: dict[tuple[str, float], list[CircuitRun]] = {}
    for system in ("DSC", "LCA", "LCA hard"):
        for pi in pis:
            settled[system, pi] = [
                settling(
                    f"{system} circuit, data of pi = {pi:g}, lambda {lam:.3g}",
                    SparseCodingModel(A, SpikeSlab(pi, float(lam)), SIGMA),
                    data[pi],
                    SYSTEMS[system],
                )
                for lam in lambdas
            ]
    sampled = {
        pi: sampling(
            f"L0-LSC circuit, given pi = {pi:g}",
            SparseCodingModel(A, SpikeSlab(pi, LAM), SIGMA),
            data[pi],
            seed=seed,
            kept=KEPT,
        )
        for pi in SWEPT_PIS
    }
    runs = [run for each in settled.values() for run in each] + list(sampled.values())
    done = run_circuits(runs, note=note, workers=workers)
    curves = []
    for (system, pi), each in settled.items():
        codes = np.stack([last_codes(done[run.name]) for run in each])
        curves.append(measured_activity(codes, label=f"{system} circuit", system=system, pi=pi, lam=lambdas))
    for pi, run in sampled.items():
        codes = done[run.name].by_row()[0].reshape(1, len(data[pi]), -1)
        curves.append(measured_activity(codes, label="L0-LSC circuit", system="L0-LSC", pi=pi, lam=LAM))
    return curves


def circuit_coefficients(
    size: Size = FULL, *, pi: float = 0.3, seed: int = 0, note: Note | None = None, workers: int | None = None
) -> list[Coefficients]:
    """Return the nonzero coefficients that circuits find for Figure 5: DSC, LCA and L0-LSC, with both dictionaries.

    Parameters
    ----------
    size : Size
    pi : float
        P(active) of the data, and of L0-LSC.
    seed : int
        Of data and noise.
    note : callable or None
        Called with the name of each circuit that is done.
    workers : int or None
        Circuits at a time; None means one per processor.

    Notes
    -----
    Samples have one draw per input: draws of one x are no draws from the prior.
    """
    right = bars(size.n)
    X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
    model = SparseCodingModel(right, SpikeSlab(pi, LAM), SIGMA)
    runs: dict[tuple[str, str], CircuitRun] = {}
    for dictionary in DICTIONARIES:
        A = right if dictionary == "right" else random_dictionary(size.n**2, 2 * size.n, seed)
        for system, dynamics in SYSTEMS.items():
            name, this = f"{system} circuit, {dictionary} dictionary", replace(model, A=A)
            runs[system, dictionary] = (
                settling(name, this, X, dynamics) if dynamics.settles else sampling(name, this, X, seed=seed)
            )
    done = run_circuits(list(runs.values()), note=note, workers=workers)
    return [
        coefficients(last_codes(done[run.name]), label=f"{system} circuit", system=system, dictionary=dictionary)
        for (system, dictionary), run in runs.items()
    ]
