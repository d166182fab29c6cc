r"""A run of many inputs, judged: the circuit's averages of each input minus the exact ones, averaged over inputs.

.. math:: d_k = \frac1N \sum_n \left( \langle s_k \rangle_n^{\mathrm{circuit}} - \langle s_k \rangle_n^{\mathrm{exact}} \right)

Each input is on for a short time, and begins with the code of the one before. What errors a correct run makes, stale codes
included, replicates tell: the same inputs stream by in software (`circuitlsc.reference.replicates`), and the largest error is
judged as that of a run of one input is (`circuitlsc.validation.compare`).

The rows of a variational circuit have laws in closed form in place of posteriors: `circuitlsc.validation.law_stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.run_plan import TOLERANCE, RunPlan
from circuitlsc.reference.exact import gaussian_posterior
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.replicates import cost_per_tau, replicate_runs
from circuitlsc.reference.slice import slice_sampling
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.half_step import HalfStep
from circuitlsc.validation.judge import runs_like, target_of
from circuitlsc.validation.law_stream import (
    LAW_ROWS,
    JudgedRows,
    RowLaws,
    RowsApart,
    StreamBias,
    correct_runs,
    laws_of_rows,
    row_means,
    stream_bias,
)
from circuitlsc.validation.null import MOST_WORK as WORK
from circuitlsc.validation.run_errors import Excess
from circuitlsc.validation.same_noise import try_path
from circuitlsc.validation.verdict import Outcome, Verdict

ROWS = 200  # inputs whose exact posterior is calculated, evenly spaced among all
SWEEPS = 4_000  # of the exact sampler, for each of two chains and each input: its error is small beside the circuit's
PATH_STEPS = 2_000
FEWEST, MOST = 100, 400  # replicates


@dataclass(frozen=True)
class MeanDifference:
    """One statistic of one latent: circuit and exact averaged over inputs, d, the error of correct runs, and z = d / error."""

    circuit: float
    exact: float
    difference: float
    se: float
    z: float


@dataclass(frozen=True, kw_only=True)
class StreamComparison(Verdict):
    """What `compare_stream` returns and comparison.json holds; what has a default says that nothing was compared.

    Attributes
    ----------
    n_rows, compared_rows, draws_per_row : int
    hold : float
        In tau.
    max_abs_z, z_limit, p_value : float
        As in `Comparison`.
    stale : float
        The largest error that correct runs make on average, because an input begins with the code of the one before.
    scale : float
        Unit of allowance and tolerance for mean and sd, in model units.
    p_active, mean : tuple of MeanDifference
        One per latent; P(active) only where a code can be zero.
    pathwise : dict
        ``max_abs``, ``rms`` (model units) and ``time`` (tau) of circuit minus NumPy on the same noise, or None.
    """

    n_rows: int
    compared_rows: int = 0
    draws_per_row: int
    hold: float
    max_abs_z: float = 0.0
    z_limit: float = 0.0
    p_value: float = 1.0
    stale: float = 0.0
    scale: float
    p_active: tuple[MeanDifference, ...] = ()
    mean: tuple[MeanDifference, ...] = ()
    pathwise: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class LawStreamComparison(StreamComparison):
    """Of a variational circuit: ``exact`` is the closed form of the rows' laws.

    Attributes
    ----------
    rows_apart : RowsApart
        What is judged beside the averages: an error that changes its sign from row to row, and a row that is wrong alone.
    bias : StreamBias
        How far the laws are from the posteriors, which is not judged.
    half_step : HalfStep or None
        What half the step changes, if op-amps lag and that was tried: too much leaves the verdict open.
    """

    rows_apart: RowsApart
    bias: StreamBias
    half_step: HalfStep | None


def compare_stream(
    sampler: Sampler,
    samples: Samples,
    *,
    tolerance: float = TOLERANCE,
    half: HalfStep | None = None,
    note: Callable[[str], None] | None = None,
) -> StreamComparison:
    """Compare a run of many inputs with the exact posteriors, or the laws that are sampled, and with NumPy on the same noise.

    Parameters
    ----------
    sampler : Sampler
        With a stream of inputs that are held.
    samples : Samples
        What its `run` returned.
    tolerance : float
        How close averages must be to the exact ones, errors included.
    half : HalfStep or None
        What `circuitlsc.validation.half_step.half_step` returned for the run, of a variational circuit.
    note : callable or None
        Called with a few words before each part.

    Raises
    ------
    InputError
        If there is one input only.
    """
    if sampler.stream is None:
        raise InputError("compare_stream: the sampler has one input. Use experiment.judge.")
    say = note or (lambda _: None)
    say("same noise in NumPy")
    path, _ = try_path(sampler, samples, PATH_STEPS, "u" if sampler.dynamics.has_energy else "s")
    x, target = sampler.x, target_of(sampler)
    scale = float(target.prior.slab_scale)
    common: dict[str, Any] = {
        "n_rows": len(x),
        "draws_per_row": samples.draws_per_row,
        "hold": float(sampler.stream.hold),
        "pathwise": None if path is None else path.to_dict(),
        "scale": scale,
    }
    if sampler.stream.interpolate != "hold":
        # no posterior belongs to an input that moves: only the same noise in software says something
        reason = "the input varies, and a posterior belongs to an input that stands still."
        return StreamComparison("inconclusive", reason, **common)
    if not sampler.dynamics.has_energy:
        return _compare_laws(sampler, samples, tolerance, half, common, say)
    say("replicate runs in software")
    chosen = _spaced(len(x), ROWS)
    first, run = 0 if target.prior.sparse else 1, samples.run_plan()  # P(active) only where a code can be zero
    null = _replicates(sampler, run, chosen)[:, first:]
    say("exact posteriors")
    truth = np.mean([_exact(target, x[n], seed=int(n)) for n in chosen], axis=0)[first:].ravel()
    codes: list[tuple[str, Callable[[Array], Any]]] = [("u", sampler.active), ("s", np.asarray)]
    means = [
        np.mean([samples.row_draws(int(n), name).map(f).mean() for n in chosen], axis=0) for name, f in codes[first:]
    ]
    found, unit = np.concatenate(means), np.repeat([1.0, scale][first:], target.n_latents)
    deviations = (null.reshape(len(null), -1) - truth) / unit
    judged = Excess((found - truth) / unit, deviations, np.zeros_like(truth))
    stale = float(np.abs(deviations.mean(0)).max())
    each = zip(found.tolist(), truth.tolist(), (judged.side * unit).tolist(), strict=True)
    rows = [MeanDifference(c, e, c - e, se, (c - e) / se) for c, e, se in each]
    return StreamComparison(
        *_judge(judged, len(chosen), tolerance, stale),
        compared_rows=len(chosen),
        max_abs_z=float(np.abs(judged.z).max()),
        z_limit=judged.c,
        p_value=judged.p_value(),
        stale=stale,
        p_active=tuple(rows[: -target.n_latents]),
        mean=tuple(rows[-target.n_latents :]),
        **common,
    )


def _compare_laws(
    sampler: Sampler,
    samples: Samples,
    tolerance: float,
    half: HalfStep | None,
    common: dict[str, Any],
    say: Callable[[str], None],
) -> LawStreamComparison:
    """Compare the rows of a variational circuit with their laws, and say how far these are from the posteriors."""
    run, scale = samples.run_plan(), common["scale"]
    chosen, few = (_spaced(len(sampler.x), most) for most in (LAW_ROWS, ROWS))
    say("correct runs in software")
    law = laws_of_rows(sampler, chosen)
    laws = RowLaws(law, run.chains * samples.draws_per_row, scale, sampler.model.prior.sparse)
    means = row_means(samples)[chosen]
    judged, largest = laws.judged(means, *correct_runs(sampler, run, law, chosen))
    say("exact posteriors")
    bias = stream_bias(sampler, laws_of_rows(sampler, few), few, run.seed)
    found, truth = means.mean(0)[laws.first :], laws.truth.mean(0)
    errors = judged.side[: judged.n].reshape(found.shape) * laws.units
    tables = [
        tuple(
            MeanDifference(c, e, c - e, se, (c - e) / se) for c, e, se in zip(*(v.tolist() for v in each), strict=True)
        )
        for each in zip(found, truth, errors, strict=True)
    ]
    rms, detectable = (v.reshape(found.shape) * laws.units for v in judged.rms())
    p_active, mean = ((), *tables) if laws.first else tables
    apart = RowsApart(
        p_active=() if laws.first else tuple(rms[0].tolist()),
        mean=tuple(rms[-1].tolist()),
        p_active_detectable=0.0 if laws.first else float(detectable[0].max()),
        mean_detectable=float(detectable[-1].max()),
        largest_row=int(chosen[largest]),
        z=float(judged.z[-1]),
    )
    verdict, reason = _judge_rows(judged, apart, len(chosen), tolerance)
    if half is not None and not half.agrees:
        verdict, reason = "inconclusive", f"{half.told()}. As the circuit was run: {reason}"
    return LawStreamComparison(
        verdict,
        reason,
        compared_rows=len(chosen),
        max_abs_z=float(np.abs(judged.z).max()),
        z_limit=judged.c,
        p_value=judged.p_value(),
        p_active=p_active,
        mean=mean,
        rows_apart=apart,
        bias=bias,
        half_step=half,
        **common,
    )


def _spaced(n: int, most: int) -> NDArray[np.int64]:
    """Return rows 0 .. n - 1, or so many of them, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(most, n)).astype(int))


def _replicates(sampler: Sampler, run: RunPlan, chosen: NDArray[np.int64]) -> Array:
    """Return P(active) and mean of replicate runs, averaged over the chosen inputs and chains, (n_runs, 2, n_latents)."""
    assert sampler.stream is not None
    model, alike, length = sampler.model, runs_like(sampler, run), sampler.stream.hold - run.warmup
    per_tau = cost_per_tau(model, sampler.dynamics, sampler.plan.time_scale) * len(alike["starts"])
    n_runs = int(np.clip(WORK / (per_tau * sampler.stream.t_stop), FEWEST, MOST))
    found = replicate_runs(model, sampler.x, n_runs=n_runs, length=length, stream=True, **alike)
    return np.asarray(found.marginals[:, :, chosen][:, :, :, [0, 2]].mean((1, 2)) / found.per_block)


def _exact(model: SparseCodingModel, x: Array, *, seed: int) -> tuple[Array, Array]:
    """Return P(active) and the mean of every latent, each (n_latents,)."""
    if model.prior.linear:
        return np.ones(model.n_latents), gaussian_posterior(model, x)[0]
    exact = gibbs if model.prior.conditionals else slice_sampling
    s = exact(model, x, n_sweeps=SWEEPS, n_chains=2, seed=seed)
    return (s != 0).mean((0, 1)), s.mean((0, 1))


def _judge_rows(judged: JudgedRows, apart: RowsApart, n: int, tolerance: float) -> tuple[Outcome, str]:
    """Judge averages over rows as those of any stream; rows by themselves can disagree, too."""
    excess, more = judged.excess(), "more than noise and the allowed bias explain."
    size, side = np.abs(judged.d[: judged.n]), judged.side[: judged.n]
    if excess.max() > judged.c:
        worst = int(excess.argmax())
        if worst < judged.n:
            return (
                "disagrees",
                f"averages over {n} inputs differ from those of their laws by up to {size.max():.3g}, {more}",
            )
        if judged.d[worst] < 0:
            return "disagrees", (
                f"single inputs (root mean squares over {n}, or the farthest one) are nearer to their laws than noise lets "
                "correct runs be: samples are not independent draws."
            )
        if worst < len(excess) - 1:
            rms = float(judged.rms()[0].max())
            return (
                "disagrees",
                f"single inputs differ from their laws by {rms:.3g} (root mean square over {n} inputs), {more}",
            )
        return "disagrees", f"input {apart.largest_row} by itself differs from its law by {more}"
    wide = float(np.max(size + judged.c * side))
    if wide <= tolerance:
        return "agrees", (
            f"all {judged.n} averages over {n} inputs are within {tolerance:g} of those of their laws, errors included, and no "
            "input by itself differs."
        )
    return "inconclusive", (
        f"no average over {n} inputs differs, and no input by itself, but averages are known to {wide:.3g} only, and "
        f"{tolerance:g} is asked for. Give more inputs, or hold them longer."
    )


def _judge(judged: Excess, n: int, tolerance: float, stale: float) -> tuple[Outcome, str]:
    size = np.abs(judged.d)
    if judged.excess().max() > judged.c:
        far = f"{size.max():.3g}, more than noise, stale codes and the allowed bias explain."
        return "disagrees", f"averages over {n} inputs differ by up to {far}"
    wide = float(np.max(size + judged.c * judged.side))
    if wide <= tolerance:
        return "agrees", f"all {len(size)} averages over {n} inputs are within {tolerance:g} of exact, errors included."
    cause = ""
    if stale > tolerance / 4:
        cause = f" Codes that are left from the input before make an error of {stale:.2g} in a correct run, too."
    return "inconclusive", (
        f"no average over {n} inputs differs, but they are known to {wide:.3g} only, and {tolerance:g} is asked for.{cause} "
        f"{'Hold the inputs longer' if cause else 'Give more inputs, or hold them longer'}."
    )
