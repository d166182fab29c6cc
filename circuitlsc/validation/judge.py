"""One run judged: the circuit's samples beside replicate runs in software, the exact posterior and the same-noise trapezoid."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Report
from circuitlsc.io.shown import Shown
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.run_plan import REFERENCE_TIME, TOLERANCE, RunPlan
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reference.statistics import PosteriorStatistics, block_sums, summarize, virial
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.advice import Times
from circuitlsc.validation.compare import Comparison, compare
from circuitlsc.validation.law import Bias, Weighted, bias_of, law_null, law_of_run, law_statistics, weigh_samples
from circuitlsc.validation.null import Null, null_for, quantile_levels
from circuitlsc.validation.run_errors import FINEST, REFERENCE_SHARE
from circuitlsc.validation.same_noise import PathDifference, try_path

__all__ = ["Expectation", "Judgement", "exact_statistics", "expect", "judge", "tolerance_scale"]

PATH_STEPS = 1_250  # 62 tau at the usual step; fewer for large models, where each takes longer
STEP_SECONDS = 20e-6  # of a circuit of 8 latents and 2 chains, roughly; grows with the square of the latents

Note = Callable[[str], None]
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Expectation:
    """What is known of a run before it has been made.

    Attributes
    ----------
    null : Null
        The errors of correct runs like it.
    exact : PosteriorStatistics
    levels : array, shape (n_latents, n_levels), or None
        Where the distribution function is judged in place of mean and sd.
    scale : float
        Unit of errors of mean and sd, in model units.
    seconds : float
        How long the reference was drawn.
    bias : Bias or None
        How far the law of a variational circuit, which is ``exact`` here, is from the posterior.
    posterior : PosteriorStatistics or None
        The posterior itself, of a variational circuit.
    """

    null: Null
    exact: PosteriorStatistics
    levels: Array | None
    scale: float
    seconds: float
    bias: Bias | None = None
    posterior: PosteriorStatistics | None = None


@dataclass(frozen=True)
class Judgement(Shown):
    """A comparison, and the statistics behind it.

    Attributes
    ----------
    circuit, exact : PosteriorStatistics
        ``exact`` is the posterior, or the law of a variational circuit.
    path : PathDifference or None
        None if the trapezoid found no solution (``path_reason`` says so).
    comparison : Comparison
    bias : Bias or None
        How far the law of a variational circuit is from the posterior.
    weighted : Weighted or None
        What its samples say of the posterior when each counts with its importance weight, if that was asked for.
    """

    circuit: PosteriorStatistics
    exact: PosteriorStatistics
    path: PathDifference | None
    path_reason: str | None
    comparison: Comparison
    bias: Bias | None = None
    weighted: Weighted | None = None

    def _line(self) -> str:
        return f"{self.comparison.verdict}: {self.comparison.reason}"

    def _shows(self) -> Report:
        return self.comparison._shows()

    def to_dict(self) -> dict[str, Any]:
        """Return what comparison.json holds."""
        beside = {"bias": self.bias, "weighted": self.weighted}
        return self.comparison.to_dict() | {
            name: found.to_dict() for name, found in beside.items() if found is not None
        }


def tolerance_scale(model: SparseCodingModel, exact: PosteriorStatistics) -> float:
    """Return the unit in which errors of mean and sd are judged, in model units.

    It is the slab's size, 1/lam or sd; where the data say more than the prior, it is the posterior's own size.
    """
    likelihood = model.sigma / float(np.sqrt(model.powers.max()))
    return float(min(model.prior.slab_scale, max(2 * np.max(exact.sd), likelihood)))


def at_temperature(model: SparseCodingModel, temperature: float) -> SparseCodingModel:
    """Return the model whose posterior is exp(-E/T)."""
    return model if temperature == 1 else model.tempered(temperature)


def target_of(sampler: Sampler) -> SparseCodingModel:
    """Return the model whose posterior a sampler has."""
    return at_temperature(sampler.model, sampler.temperature)


def runs_like(sampler: Sampler, run: RunPlan) -> dict[str, Any]:
    """Return what software needs to replicate a run, but for its length."""
    plan = {"dynamics": sampler.dynamics, "time_scale": sampler.plan.time_scale}
    return {"starts": sampler.starts(run.chains, run.seed), "warmup": run.warmup, **plan}


def circuit_statistics(sampler: Sampler, samples: Samples, levels: Array | None = None) -> PosteriorStatistics:
    """Measure the samples of a circuit; ``levels`` as for `summarize`."""
    s, active = samples.draws("s"), active_draws(sampler, samples)
    return summarize(s, active, model=target_of(sampler), x=sampler.x, method="circuit", levels=levels)


def active_draws(sampler: Sampler, samples: Samples) -> Draws:
    """Return which latents are active: abs(u) is above the threshold (or, of transistors, a line's current above I0).

    Where u is noise alone, those whose code is not 0.
    """
    if sampler.dynamics.has_energy:
        return samples.draws("u").map(sampler.active)
    return samples.draws("s").map(lambda s: s != 0)


def known_well(null: Null, target: SparseCodingModel, tolerance: float) -> Callable[[PosteriorStatistics], float]:
    """Return how far a reference's errors are above a quarter of a run's, or a twentieth of the tolerance: 1 is enough."""

    def ratio(found: PosteriorStatistics) -> float:
        unit = null.judged.units(tolerance_scale(target, found))
        asked = np.maximum(REFERENCE_SHARE * null.errors() / unit, FINEST * tolerance)
        return float(np.max(null.judged.select(found, "_mcse") / unit / asked))

    return ratio


def expect(
    sampler: Sampler,
    run: RunPlan,
    *,
    tolerance: float = TOLERANCE,
    reference_time: float = REFERENCE_TIME,
    note: Note | None = None,
    progress: Progress | None = None,
) -> Expectation:
    """Return what a correct run would give: it needs no run, and may be found while one is made.

    Parameters
    ----------
    sampler : Sampler
        With one input, and dynamics that sample.
    run : RunPlan
    tolerance : float
        The reference is drawn until its errors are a quarter of the run's, or a twentieth of the tolerance.
    reference_time : float
        Seconds after which the reference is no longer drawn.
    note : callable or None
        Called with a few words before each part.
    progress : callable or None
        Called as ``progress(share, seconds_left)`` while the reference is drawn.
    """
    say, x = note or (lambda _: None), sampler.x
    if not sampler.dynamics.has_energy:
        return _expect_law(sampler, run, tolerance, reference_time, say, progress)
    per_step = run.chains / 2 * STEP_SECONDS * max(1.0, (sampler.model.n_latents / 8) ** 2)
    return expect_posterior(
        sampler.model,
        x,
        temperature=sampler.temperature,
        length=run.t_stop - run.warmup,
        seed=run.seed,
        tolerance=tolerance,
        reference_time=reference_time,
        seconds=per_step * run.t_stop / sampler.plan.step,
        say=say,
        progress=progress,
        **runs_like(sampler, run),
    )


def expect_posterior(
    model: SparseCodingModel,
    x: Array,
    *,
    temperature: float,
    length: float,
    seed: int,
    tolerance: float,
    reference_time: float,
    seconds: float = 0.0,
    share: float = 1.0,
    say: Note,
    progress: Progress | None = None,
    **alike: Any,
) -> Expectation:
    """Return what correct runs for one input give, and its exact posterior.

    Parameters
    ----------
    model : SparseCodingModel
        At temperature 1, as `null_for` takes it.
    x : array, shape (n_features,)
    temperature : float
        T of exp(-E/T).
    length : float
        Measured time per chain, in tau.
    seed, tolerance, reference_time, progress
        As for `expect`.
    seconds, share : float
        What the run takes, and the share of the usual work that its replicates may take: as for `null_for`.
    say : callable
    **alike
        Starts, warmup, dynamics and time_scale of the run.
    """
    target = at_temperature(model, temperature)
    say("replicate runs in software")
    levels = quantile_levels(target, x)
    check = None if progress is None else lambda: progress(0.0, reference_time)
    null = null_for(model, x, length=length, levels=levels, seconds=seconds, share=share, check=check, **alike)
    say("exact posterior")
    begun = time.monotonic()
    enough = known_well(null, target, tolerance)
    how: dict[str, Any] = {"seed": seed, "levels": levels, "progress": progress}
    exact = exact_statistics(target, x, enough=enough, seconds=reference_time, **how)
    return Expectation(null, exact, levels, tolerance_scale(target, exact), time.monotonic() - begun)


def _expect_law(
    sampler: Sampler, run: RunPlan, tolerance: float, reference_time: float, say: Note, progress: Progress | None
) -> Expectation:
    """Return what a correct variational circuit would give, and how far its law is from the posterior."""
    law = law_of_run(sampler)
    say("correct runs in software")
    null, stated = law_null(sampler, run, law), law_statistics(law, sampler.model, sampler.x)
    say("exact posterior")
    enough = known_well(null, sampler.model, tolerance)
    how: dict[str, Any] = {"seed": run.seed, "progress": progress}
    posterior = exact_statistics(sampler.model, sampler.x, enough=enough, seconds=reference_time, **how)
    bias = bias_of(sampler, law, stated, posterior, run.seed)
    return Expectation(null, stated, None, tolerance_scale(sampler.model, stated), 0.0, bias, posterior)


def judge(
    sampler: Sampler,
    samples: Samples,
    *,
    expected: Expectation | None = None,
    tolerance: float = TOLERANCE,
    reference_time: float = REFERENCE_TIME,
    weights: bool = False,
    note: Note | None = None,
) -> Judgement:
    """Compare a run with replicates in software, the exact posterior, and the trapezoid on the same noise.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
        What `Sampler.run` returned.
    expected : Expectation or None
        What `expect` returned for this run; None makes it.
    tolerance : float
        How close is close, errors included.
    reference_time : float
        Seconds for the reference.
    weights : bool
        Whether samples of a variational circuit are also weighted (`circuitlsc.validation.law.weigh_samples`).
    note : callable or None
        Called with a few words before each part.

    Raises
    ------
    InputError
        If there are no weights, as the circuit samples the posterior; or the circuit settles, is a memory or follows a stream,
        which other functions read.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> sampler = build_sampler(model, model.draw(1)[1])
    >>> judged = judge(sampler, sampler.run(t_stop=200.0, seed=1), tolerance=0.2)
    >>> str(judged.comparison.verdict)  # short, and so with a wide tolerance
    'agrees'
    """
    if sampler.features is not None:
        raise InputError("judge: a memory has a posterior for each input. Use circuitlsc.compare_memory.")
    if sampler.dynamics.settles:
        raise InputError("judge: a circuit that settles on one code has no samples. Use circuitlsc.read_map.")
    if sampler.stream is not None:
        raise InputError(
            f"judge: x has {len(sampler.x)} rows, and samples of each a law of its own. Use "
            "circuitlsc.validation.stream_compare.compare_stream."
        )
    if weights:
        law_of_run(sampler)
    say, run, stats = note or (lambda _: None), samples.run_plan(), samples.stats
    known = expected or expect(sampler, run, tolerance=tolerance, reference_time=reference_time, note=note)

    say("circuit statistics")
    circuit, energy = circuit_statistics(sampler, samples, known.levels), sampler.dynamics.has_energy

    say("same noise in NumPy")
    path, reason = try_path(sampler, samples, PATH_STEPS, "u" if energy else "s")

    say("comparison")
    seconds = float(np.max(stats["wall"] / stats["steps"])) / sampler.plan.step
    comparison = compared(
        known,
        circuit,
        samples.draws("s"),
        active_draws(sampler, samples),
        times=Times(run.t_stop, run.warmup, seconds, known.seconds, reference_time),
        seed=run.seed,
        virial=_virial(sampler, samples) if energy else None,
        pathwise=None if path is None else path.to_dict(),
        tolerance=tolerance,
    )
    weighted = weigh_samples(sampler, samples, known.posterior) if weights else None
    return Judgement(circuit, known.exact, path, reason, comparison, known.bias, weighted)


def compared(known: Expectation, circuit: PosteriorStatistics, s: Draws, active: Draws, **how: Any) -> Comparison:
    """Return what `compare` says of draws and their statistics; ``how`` are further arguments of it."""
    slowdown = _slowdown(known.null, s, active)
    return compare(circuit, known.exact, known.null, scale=known.scale, slowdown=slowdown, **how)


def _virial(sampler: Sampler, samples: Samples) -> tuple[Array, Array]:
    """Return the check of temperature and force, and its error, each (K,)."""
    plan = sampler.plan
    how: dict[str, Any] = {"width": plan.width, "smoothing": plan.smoothing, "temperature": sampler.temperature}
    return virial(sampler.model, samples.draws("u"), sampler.x, **how)


def _slowdown(null: Null, s: Draws, active: Draws) -> float:
    """Return how many times more slowly a run mixes than its replicates."""
    n_blocks = max(2, round(null.target / null.block))
    if s.n_draws < 2 * n_blocks:
        return 1.0
    return null.slowdown(*block_sums(s, active, n_blocks))
