"""The circuit's side of Figures 4a and 5: every input of a data set through one circuit, in one transient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from circuitlsc.arrays import Array
from circuitlsc.build import build_sampler
from circuitlsc.data import bars
from circuitlsc.dynamics import Dynamics
from circuitlsc.model import SparseCodingModel
from circuitlsc.paper import (
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
from circuitlsc.priors import SpikeSlab

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

Note = Callable[[str], None]


def settled_codes(model: SparseCodingModel, X: Array, dynamics: Dynamics) -> Array:
    """Return the code that a circuit settles on for each input, (n_inputs, n_latents)."""
    sampler = build_sampler(model, X, dynamics=dynamics, hold=SETTLING)
    samples = sampler.run(warmup=SETTLING - sampler.plan.step, thin=1)
    return np.asarray(samples.by_row()[0, :, -1])


def sampled_codes(model: SparseCodingModel, X: Array, *, seed: int, kept: float = 0.0) -> Array:
    """Return samples of a circuit for each input, (n_inputs, n_draws, n_latents): one, or those of the last ``kept`` tau."""
    sampler = build_sampler(model, X, hold=MIXING + (kept or 1.0))
    step = sampler.plan.step
    per_draw = max(1, round(0.2 / step)) if kept else max(1, round(1.0 / step) - 1)
    samples = sampler.run(warmup=MIXING, thin=per_draw, seed=seed)
    s = samples.by_row()[0]
    return np.asarray(s if kept else s[:, -1:])


def circuit_activity(
    size: Size = SWEEP, *, pis: tuple[float, ...] = (0.3, 0.1), seed: int = 0, note: Note | None = None
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
        Called with a few words before each circuit.
    """
    say = note or (lambda _: None)
    A, lambdas = bars(size.n), np.geomspace(*LAMBDAS, size.n_lambdas)
    curves = []
    for system in ("DSC", "LCA", "LCA hard"):
        for pi in pis:
            say(f"{system} circuit, data of pi = {pi:g}")
            X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
            codes = [
                settled_codes(SparseCodingModel(A, SpikeSlab(pi, float(lam)), SIGMA), X, SYSTEMS[system])
                for lam in lambdas
            ]
            label = f"{system} circuit"
            curves.append(measured_activity(np.stack(codes), label=label, system=system, pi=pi, lam=lambdas))
    for pi in SWEPT_PIS:
        say(f"L0-LSC circuit, given pi = {pi:g}")
        X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
        s = sampled_codes(SparseCodingModel(A, SpikeSlab(pi, LAM), SIGMA), X, seed=seed, kept=KEPT)
        codes_of_pi = s.reshape(1, len(X), -1)
        curves.append(measured_activity(codes_of_pi, label="L0-LSC circuit", system="L0-LSC", pi=pi, lam=LAM))
    return curves


def circuit_coefficients(
    size: Size = FULL, *, pi: float = 0.3, seed: int = 0, note: Note | None = None
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
        Called with a few words before each circuit.

    Notes
    -----
    Samples have one draw per input: draws of one x are no draws from the prior.
    """
    say = note or (lambda _: None)
    right = bars(size.n)
    X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
    model = SparseCodingModel(right, SpikeSlab(pi, LAM), SIGMA)
    out = []
    for dictionary in DICTIONARIES:
        A = right if dictionary == "right" else random_dictionary(size.n**2, 2 * size.n, seed)
        for system, dynamics in SYSTEMS.items():
            say(f"{system} circuit, {dictionary} dictionary")
            this = replace(model, A=A)
            codes = settled_codes(this, X, dynamics) if dynamics.settles else sampled_codes(this, X, seed=seed)[:, 0]
            out.append(coefficients(codes, label=f"{system} circuit", system=system, dictionary=dictionary))
    return out
