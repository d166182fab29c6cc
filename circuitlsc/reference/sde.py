r"""The Langevin equation in software, by Euler-Maruyama: what the circuit would do with ideal parts.

.. math:: \tau\, du = -\nabla E(u)\, dt + \sqrt{2 T \tau}\, dW, \qquad
          u_{k+1} = u_k - h\, \nabla E(u_k) + \sqrt{2 T h}\; \xi_k, \quad \xi_k \sim N(0, I)

Fang et al. 2022, doi:10.1162/neco_a_01505, eq. (2.29), with the gradient that follows from the energy (3.5): eq.
(3.9) as printed lacks a sign and 1/sigma^2. The scheme has a bias of order h: a mode of rate a gets its variance
times 1/(1 - a h/2). `software_sde` chooses h so that P(active) is off by less than 0.003.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array, check_count, check_number, check_positive
from circuitlsc.model.sparse_coding import SparseCodingModel

_RATE_STEP = 0.02  # h times the fastest rate; the measurements behind it are in `software_sde`
_LARGEST_STEP = 0.01  # in tau
_MIN_DRAWS = 4  # per chain: fewer have no standard error
_BLOCK = 1 << 18  # normal numbers drawn at a time: 2 MB, which stays in the cache


def software_sde(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    total_time: float,
    seed: int,
    n_chains: int = 200,
    temperature: float = 1.0,
    spacing: float = 0.1,
    warmup: float = 20.0,
    max_steps: int = 500_000,
) -> tuple[Array, float]:
    r"""Sample p(u | x) with the ideal Langevin equation of a model, its step chosen automatically.

    .. math:: h \le \min(0.01,\; 0.02/\rho), \qquad \rho = \lambda_{\max}(A^T A)/\sigma^2 + 2\lambda^2/T

    Parameters
    ----------
    model : SparseCodingModel
        The model; its ideal energy is used (width 0).
    x : array, shape (n_features,)
        Observation, in data units.
    total_time : float
        Time to sample, in units of tau, summed over the chains; > 0.
    seed : int
        Seed of NumPy's generator; >= 0.
    n_chains : int
        Independent chains, started at draws from the prior.
    temperature : float
        T of exp(-E/T); > 0.
    spacing : float
        Time between draws, in tau; > 0. The step divides it.
    warmup : float
        Time thrown away at the start of each chain, in tau; at most a fifth of what max_steps allows.
    max_steps : int
        Bound on the steps of each chain. A stiff model is simulated for less time than asked: the time that was is
        ``u.shape[0] * u.shape[1] * spacing``.

    Returns
    -------
    u : array, shape (n_chains, n_draws, n_latents)
        In model units; the code is ``model.latent(u)``.
    step : float
        The step h that was used, in tau.

    Raises
    ------
    InputError
        If a number is out of range.
    ReferenceRefusedError
        If max_steps does not reach 4 draws per chain.

    Notes
    -----
    (For a Gaussian prior the last term is 1/sd^2, for a smooth cost its largest curvature.) Bias of this step on
    P(active), measured: 4x4 bars at sigma = 0.5 and 0.2, at most 0.0015 with a standard error of 0.0012; larger steps
    have 0.04 h rho. One latent, without sampling, at the worst P(active) = 0.5: 0.0016 at sigma = 0.2 abs(a), 0.0024 at
    0.05 abs(a); the prior alone: 0.0017.
    """
    for name, value in (("total_time", total_time), ("temperature", temperature), ("spacing", spacing)):
        check_positive("software_sde", name, value, "it must be positive")
    check_number("software_sde", "warmup", warmup, "it must not be negative", above=False)
    for name, count, least in (("n_chains", n_chains, 1), ("seed", seed, 0), ("max_steps", max_steps, 1)):
        check_count(f"software_sde: {name}", count, least, "")
    rate = float(np.linalg.eigvalsh(model.gram)[-1]) + model.prior.rate_at(temperature, diffusion=2.0)
    thin = math.ceil(spacing / min(_LARGEST_STEP, _RATE_STEP / rate))
    step = spacing / thin
    warmup_steps = min(math.ceil(warmup / step), max_steps // 5)
    n_draws = min(math.ceil(total_time / (n_chains * spacing)), (max_steps - warmup_steps) // thin)
    if n_draws < _MIN_DRAWS:
        raise ReferenceRefusedError(
            f"software_sde: {n_draws} draws per chain, fewer than {_MIN_DRAWS}: a draw takes {thin} steps of {step:.1e} "
            f"tau, as the fastest rate is {rate:.1e}/tau, and max_steps = {max_steps}. Raise total_time or max_steps, "
            "lower n_chains, or use gibbs, which has no step."
        )
    rng = np.random.default_rng(seed)
    u = model.prior.tempered(temperature).draw_state((n_chains, model.n_latents), rng)
    drift_step = _ideal_drift(model, x, step, n_chains)
    return _integrate(drift_step, u, step, temperature, n_draws * thin, thin, warmup_steps, rng), step


def _ideal_drift(model: SparseCodingModel, x: ArrayLike, step: float, n_chains: int) -> Callable[[Array], None]:
    """Return a function that adds -step * grad E (width 0) to u in place, in buffers of its own.

    The same numbers as ``model.energy_grad``, several times as fast.
    """
    prior, G, b = model.prior, step * model.gram, step * model.drive(x)
    shape = (n_chains, model.n_latents)
    field, sign, s, gate = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape, bool)
    precision = step * (model.gram + np.eye(model.n_latents) * prior.stiffness)

    def linear(u: Array) -> None:
        np.matmul(u, precision, out=field)
        np.subtract(field, b, out=field)
        np.subtract(u, field, out=u)

    def drift(u: Array) -> None:
        np.copysign(1.0, u, out=sign)
        np.abs(u, out=s)
        if prior.sparse:
            np.subtract(s, prior.threshold, out=s)
            np.greater(s, 0.0, out=gate)
            np.maximum(s, 0.0, out=s)
        if prior.signed:
            np.multiply(s, sign, out=s)
        np.matmul(s, G, out=field)
        np.subtract(field, b, out=field)
        if prior.sparse:
            np.multiply(field, gate, out=field)
        if not prior.signed:
            np.multiply(field, sign, out=field)
        np.add(field, step * prior.cost_grad(u), out=field)
        np.subtract(u, field, out=u)

    return linear if prior.linear else drift


def _integrate(
    drift_step: Callable[[Array], None],
    u: Array,
    step: float,
    temperature: float,
    n_steps: int,
    thin: int,
    warmup_steps: int,
    rng: np.random.Generator,
) -> Array:
    """Alternate drift_step and noise on u, shape (n_chains, n_latents); keep every thin-th step after the warm-up."""
    n_chains, n_latents = u.shape
    draws = np.empty((n_steps // thin, n_chains, n_latents))  # one contiguous write per draw
    amplitude = math.sqrt(2 * temperature * step)
    noise = np.empty((max(1, _BLOCK // u.size), n_chains, n_latents))
    last = warmup_steps + thin * len(draws)
    for first in range(0, last, len(noise)):
        rng.standard_normal(out=noise)
        noise *= amplitude
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, with the remedy
            for k in range(first, min(first + len(noise), last)):
                drift_step(u)
                u += noise[k - first]
                done = k + 1 - warmup_steps
                if done > 0 and done % thin == 0:
                    draws[done // thin - 1] = u
        if not np.isfinite(u).all():
            raise InputError(
                f"The simulation diverged before step {min(first + len(noise), last)}: step = {step!r} is too large for "
                "the fastest rate of the gradient, or the gradient is wrong. Lower the step to 0.02 of that rate's time."
            )
    return draws.swapaxes(0, 1)  # a view: a copy would take the memory once more
