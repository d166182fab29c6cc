r"""The NumPy trapezoid on the circuit's own noise path: circuit against software, point by point.

.. math:: u_{k+1} = u_k + \tfrac{h}{2}\left[f(u_k) + f(u_{k+1})\right] + \sqrt{2T}\,(W_{k+1} - W_k)

It is what ngspice integrates: Brownian voltage in series with the capacitor, implicit trapezoid, and at the start of
each chunk two backward-Euler steps of 1e-4 h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.arrays import Array
from circuitlsc.errors import CircuitLSCError
from circuitlsc.graph import Twin
from circuitlsc.spice.callbacks import FIRST
from circuitlsc.spice.noise import BrownianPaths

if TYPE_CHECKING:
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples

NEWTON_STEPS = 60
CONVERGED = 1e-11
SHOWN = 1000  # samples of the twin that are kept for a figure


class TrapezoidFailed(CircuitLSCError):
    """Newton's iteration found no solution of an implicit step."""


def implicit_step(twin: Twin, base: Array, weight: float, guess: Array) -> tuple[Array, Array]:
    r"""Solve :math:`v = base + weight\, f(v)` by Newton's iteration.

    Parameters
    ----------
    twin : Twin
    base, guess : array, shape (n, n_latents)
        n independent systems.
    weight : float
        h/2 for the trapezoid, h for backward Euler.

    Returns
    -------
    v, f(v) : arrays, shape (n, n_latents)

    Raises
    ------
    TrapezoidFailed
        If it does not converge.
    """
    v, eye = guess, np.eye(twin.size)
    for attempt in range(NEWTON_STEPS):
        f, jacobian = twin.linearise(v)
        error = base + weight * f - v
        if np.max(np.abs(error)) < CONVERGED:
            return v, f
        move = np.linalg.solve(eye - weight * jacobian, error[..., None])[..., 0]
        # tables have corners, where full steps can cycle: damp what has not settled
        v = v + (move if attempt < NEWTON_STEPS // 2 else 0.5 * move)
    raise TrapezoidFailed(
        "the implicit step has no solution that Newton's iteration finds. Use a smaller step or a larger width."
    )


def trapezoid(
    twin: Twin,
    start: Array,
    increments: Array,
    step: float,
    *,
    chunk: int,
    progress: Callable[[int], None] | None = None,
) -> Array:
    """Integrate the twin on given noise increments.

    Parameters
    ----------
    twin : Twin
    start : array, shape (n_chains, n_latents)
        Initial u, in model units.
    increments : array, shape (n_steps, n_chains, n_latents)
        sqrt(2T) (W_k+1 - W_k), in model units.
    step : float
        h, in units of tau.
    chunk : int
        Steps between restarts of the integration.
    progress : callable or None
        Called with the number of steps done, now and then.

    Returns
    -------
    array, shape (n_steps, n_chains, n_latents)
        u at t = h, 2h, ...
    """
    out = np.empty_like(increments)
    u = np.array(start, dtype=float)
    for k, dw in enumerate(increments):
        h, noise = step, dw
        if k % chunk == 0:
            for _ in range(2):
                u, f = implicit_step(twin, u + FIRST * dw, FIRST * step, u)
            h, noise = (1 - 2 * FIRST) * step, (1 - 2 * FIRST) * dw
        base = u + 0.5 * h * f + noise
        u, f = implicit_step(twin, base, 0.5 * h, base + 0.5 * h * f)
        out[k] = u
        if progress is not None and k % 500 == 0:
            progress(k)
    return out


@dataclass(frozen=True, eq=False)
class PathDifference:
    """Circuit against the NumPy trapezoid on the same noise.

    Attributes
    ----------
    max_abs, rms : float
        Over every chain, latent and kept sample, in model units.
    time : float
        Length compared, in units of tau per chain.
    twin : array, shape (n_draws, n_latents)
        The trapezoid's u of the first chain at its first kept samples (for a figure), in model units.
    """

    max_abs: float
    rms: float
    time: float
    twin: Array


def same_noise(
    sampler: Sampler, samples: Samples, n_steps: int, progress: Callable[[int], None] | None = None
) -> tuple[Array, Array]:
    """Return the circuit's u and the twin's on the same noise, each (chain, draw, n_latents), for the first steps.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
        A run of it.
    n_steps : int
        How far to integrate; capped at the run's length.
    """
    attrs, step = samples.attrs, sampler.plan.step
    seed, thin = int(attrs["seed"]), int(attrs["thin"])
    circuit = samples.u
    n_warmup = round(float(attrs["warmup"]) / step)
    n_steps = min(max(n_steps, n_warmup + 4 * thin), n_warmup + circuit.shape[1] * thin)
    chains = samples.chains
    noise = sampler.graph.noise

    def path(chain: int) -> Array:
        paths = BrownianPaths(
            noise.sources,
            seed=seed,
            chain=chain,
            step=step,
            temperature=sampler.temperature,
            halvings=sampler.halvings,
        )
        return paths.increments(n_steps) @ noise.mix

    increments = np.stack([path(c) for c in chains], axis=1)
    start = sampler.starts(max(chains) + 1, seed)[chains]
    u = trapezoid(sampler.twin, start, increments, step, chunk=int(attrs["chunk"]), progress=progress)
    kept = u[n_warmup + thin - 1 :: thin].transpose(1, 0, 2)
    return circuit[:, : kept.shape[1]], kept


def path_difference(
    sampler: Sampler, samples: Samples, n_steps: int, progress: Callable[[int], None] | None = None
) -> PathDifference:
    """Integrate the twin on the run's noise and measure the difference; arguments as for `same_noise`."""
    circuit, twin = same_noise(sampler, samples, n_steps, progress)
    d = circuit - twin
    time = round(float(samples.attrs["warmup"]) / sampler.plan.step) + circuit.shape[1] * int(samples.attrs["thin"])
    return PathDifference(
        max_abs=float(np.abs(d).max()),
        rms=float(np.sqrt(np.mean(d**2))),
        time=time * sampler.plan.step,
        twin=twin[0, :SHOWN],
    )
