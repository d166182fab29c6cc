"""One run judged: the circuit's samples beside the software SDE, the exact posterior and the same-noise trapezoid."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.compare import Comparison, compare
from circuitlsc.draws import Draws
from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.model import SparseCodingModel
from circuitlsc.priors import Gaussian, Laplace, SpikeSlab
from circuitlsc.reference.exact import enumerate_supports, gaussian_statistics, single_latent
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.pathwise import PathDifference, TrapezoidFailed, path_difference
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.reference.sde import software_sde
from circuitlsc.reference.slice import slice_sampling
from circuitlsc.statistics import PosteriorStatistics, summarize, virial

if TYPE_CHECKING:
    from circuitlsc.arrays import Array
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples

ENUMERATED_LATENTS = 5  # up to here enumeration takes less time than Gibbs sampling to the same accuracy
GIBBS_WORK = 2.4e8  # sweeps times K^1.5 or so, over four chains: a few seconds
SLICE_WORK = 2e6  # sweeps times K^1.5 or so, over four chains: a few seconds
SDE_STEPS = 200_000  # of 200 chains side by side: seconds; a stiff model is simulated for less time
SDE_NUMBERS = 3.2e6  # that are kept of them: 26 MB
PATH_STEPS = 5_000  # 250 tau at the usual step; fewer for large models, where each takes longer

Note = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """A comparison, and the statistics behind it.

    Attributes
    ----------
    circuit, exact : PosteriorStatistics
    sde : PosteriorStatistics or None
        None if the software SDE would take too long.
    path : PathDifference or None
        None if the trapezoid found no solution (``path_reason`` says so).
    comparison : Comparison
    """

    circuit: PosteriorStatistics
    sde: PosteriorStatistics | None
    exact: PosteriorStatistics
    path: PathDifference | None
    path_reason: str | None
    comparison: Comparison


def exact_statistics(model: SparseCodingModel, x: Array, *, seed: int = 0) -> PosteriorStatistics:
    """Return the posterior's statistics by the best method that holds.

    Closed form, enumeration, or Gibbs sampling; for a prior with a smooth cost quadrature, or slice sampling.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    seed : int
        Of the Gibbs or slice sampler.
    """
    if isinstance(model.prior, Gaussian):
        return gaussian_statistics(model, x)
    if not isinstance(model.prior, (SpikeSlab, Laplace)):
        return _smooth_statistics(model, x, seed)
    if model.n_latents == 1:
        return single_latent(model, x)
    if model.n_latents <= ENUMERATED_LATENTS:
        try:
            return enumerate_supports(model, x)
        except ReferenceRefusedError:
            pass  # a singular A_S: the posterior is proper all the same, and Gibbs needs no inverse
    sweeps = int(np.clip(GIBBS_WORK / model.n_latents**1.5 / 4, 20_000, 400_000))
    draws = int(np.clip(1_600_000 / model.n_latents, 20_000, 100_000))
    s = gibbs(model, x, n_sweeps=sweeps, n_chains=4, seed=seed, thin=max(1, sweeps // draws))
    return summarize(s, Draws.of(s).map(lambda code: code != 0), model=model, x=x, method="Gibbs sampling")


def _smooth_statistics(model: SparseCodingModel, x: Array, seed: int) -> PosteriorStatistics:
    """Return the statistics under a prior with a smooth cost, which neither closed form nor Gibbs sampler knows."""
    if model.n_latents <= 2:
        try:
            return quadrature(model, x)
        except ReferenceRefusedError:
            pass  # it did not converge
    sweeps = int(np.clip(SLICE_WORK / model.n_latents**1.5, 20_000, 200_000))
    draws = int(np.clip(1_600_000 / model.n_latents, 10_000, 100_000))
    s = slice_sampling(model, x, n_sweeps=sweeps, n_chains=4, seed=seed, thin=max(1, sweeps // draws))
    always = Draws.of(s).map(lambda code: np.ones(code.shape, bool))
    return summarize(s, always, model=model, x=x, method="slice sampling")


def tolerance_scale(model: SparseCodingModel, exact: PosteriorStatistics) -> float:
    """Return the unit in which errors of mean and sd are judged, in model units.

    It is the slab's size, 1/lam or sd; where the data say more than the prior, it is the posterior's own size.
    """
    likelihood = model.sigma / float(np.sqrt(np.einsum("di,di->i", model.A, model.A).max()))
    return float(min(model.prior.slab_scale, max(2 * np.max(exact.sd), likelihood)))


def _software(
    sampler: Sampler, total: float, warmup: float, seed: int, target: SparseCodingModel
) -> PosteriorStatistics | None:
    """Return the statistics of the software SDE, simulated for as long as the circuit; None if that takes too long."""
    unit = min(1.0, sampler.plan.time_scale)
    # ten draws per unit of time, unless so many would take more memory the longer the circuit's run was
    apart = math.ceil(total / (0.1 * unit) * sampler.model.n_latents / SDE_NUMBERS)
    spacing, warmup = 0.1 * unit * apart, max(warmup, 10 * unit)
    try:
        u, _ = software_sde(
            sampler.model,
            sampler.x,
            total_time=total,
            seed=seed,
            n_chains=int(np.clip(total / (10 * warmup), 4, 200)),  # warm-up is a tenth of the work at most
            temperature=sampler.temperature,
            spacing=spacing,
            warmup=warmup,
            max_steps=SDE_STEPS,
        )
    except ReferenceRefusedError:
        return None
    states, model = Draws.of(u), sampler.model
    return summarize(
        states.map(model.latent), states.map(model.active), model=target, x=sampler.x, method="software SDE"
    )


def judge(sampler: Sampler, samples: Samples, *, note: Note | None = None) -> Judgement:
    """Compare a run with the software SDE, the exact posterior, and the trapezoid on the same noise.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
        What `Sampler.run` returned.
    note : callable or None
        Called with a few words before each part.
    """
    say = note or (lambda _: None)
    x, seed = sampler.x, int(samples.attrs["seed"])
    target = sampler.model if sampler.temperature == 1 else sampler.model.tempered(sampler.temperature)

    say("circuit statistics")
    u = samples.draws("u")
    circuit = summarize(samples.draws("s"), u.map(sampler.model.active), model=target, x=x, method="circuit")

    say("exact posterior")
    exact = exact_statistics(target, x, seed=seed)

    say("software SDE")
    t_stop, warmup = float(samples.attrs["t_stop"]), float(samples.attrs["warmup"])
    sde = _software(sampler, (t_stop - warmup) * u.shape[0], warmup, seed, target)

    say("same noise in NumPy")
    path, reason = None, None
    try:
        path = path_difference(sampler, samples, int(PATH_STEPS * min(1.0, 16 / sampler.model.n_latents)))
    except TrapezoidFailed as error:
        reason = str(error)

    say("comparison")
    comparison = compare(
        circuit,
        exact,
        sde,
        scale=tolerance_scale(target, exact),
        t_stop=t_stop,
        warmup=warmup,
        seed=seed,
        virial=virial(sampler.model, u, x, width=sampler.plan.width, temperature=sampler.temperature),
        pathwise=None if path is None else {"max_abs": path.max_abs, "rms": path.rms, "time": path.time},
    )
    return Judgement(circuit, sde, exact, path, reason, comparison)
