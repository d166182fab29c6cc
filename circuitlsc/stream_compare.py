r"""A run of many inputs, judged: the circuit's averages of each input minus the exact ones, averaged over inputs.

.. math:: d_k = \frac1N \sum_n \left( \langle s_k \rangle_n^{\mathrm{circuit}} - \langle s_k \rangle_n^{\mathrm{exact}} \right)

Each input is on for a short time, so one of its averages says little; inputs are independent, so the standard error of
d_k is the spread of its terms over sqrt(N), whatever the correlation of the samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from circuitlsc.arrays import Array
from circuitlsc.errors import InputError
from circuitlsc.model import SparseCodingModel
from circuitlsc.priors import Gaussian, Laplace, SpikeSlab
from circuitlsc.reference.exact import gaussian_posterior
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.pathwise import PathDifference, TrapezoidFailed, path_difference
from circuitlsc.reference.slice import slice_sampling
from circuitlsc.runplan import ALLOWANCE, TOLERANCE

if TYPE_CHECKING:
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples

ROWS = 200  # inputs whose exact posterior is calculated, evenly spaced among all
SWEEPS = 4_000  # of the exact sampler, for each of two chains and each input: its error is small beside the circuit's
FEWEST = 10  # inputs below which a spread over inputs means nothing
PATH_STEPS = 5_000
ALPHA = 0.01

Verdict = Literal["agrees", "disagrees", "inconclusive"]


@dataclass(frozen=True)
class MeanDifference:
    """One statistic of one latent: circuit and exact averaged over inputs, d with its standard error, z = d / SE."""

    circuit: float
    exact: float
    difference: float
    se: float
    z: float


@dataclass(frozen=True)
class StreamComparison:
    """What `compare_stream` returns and comparison.json holds.

    Attributes
    ----------
    verdict, reason : str
    n_rows, compared_rows, draws_per_row : int
    hold : float
        In tau.
    max_abs_z, z_limit : float
    scale : float
        Unit of allowance and tolerance for mean and sd, in model units.
    p_active, mean : tuple of MeanDifference
        One per latent; P(active) only where a code can be zero.
    pathwise : dict
        ``max_abs``, ``rms`` (model units) and ``time`` (tau) of circuit minus NumPy on the same noise, or None.
    """

    verdict: Verdict
    reason: str
    n_rows: int
    compared_rows: int
    draws_per_row: int
    hold: float
    max_abs_z: float
    z_limit: float
    scale: float
    p_active: tuple[MeanDifference, ...]
    mean: tuple[MeanDifference, ...]
    pathwise: dict[str, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        return asdict(self)


def compare_stream(
    sampler: Sampler,
    samples: Samples,
    *,
    tolerance: float = TOLERANCE,
    note: Callable[[str], None] | None = None,
) -> StreamComparison:
    """Compare a run of many inputs with the exact posteriors, and with NumPy on the same noise.

    Parameters
    ----------
    sampler : Sampler
        With a stream of inputs that are held.
    samples : Samples
        What its `run` returned.
    tolerance : float
        How close averages must be to the exact ones, errors included.
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
    path: PathDifference | None = None
    with contextlib.suppress(TrapezoidFailed):
        path = path_difference(sampler, samples, int(PATH_STEPS * min(1.0, 16 / sampler.model.n_latents)))
    pathwise = None if path is None else {"max_abs": path.max_abs, "rms": path.rms, "time": path.time}
    model, x = sampler.model, sampler.x
    target = model.tempered(sampler.temperature) if sampler.temperature != 1 else model
    common: dict[str, Any] = {
        "n_rows": len(x),
        "draws_per_row": samples.draws_per_row,
        "hold": float(sampler.stream.hold),
        "pathwise": pathwise,
    }
    if sampler.stream.interpolate != "hold":
        # no posterior belongs to an input that moves: only the same noise in software says something
        reason = "the input varies, and a posterior belongs to an input that stands still."
        return _empty(reason, common, target)
    say("exact posteriors")
    chosen = np.unique(np.linspace(0, len(x) - 1, min(ROWS, len(x))).astype(int))
    exact = [_exact(target, x[n], seed=int(n)) for n in chosen]
    active = np.array([samples.row_draws(int(n), "u").map(sampler.active).mean() for n in chosen])
    s = np.array([samples.row_draws(int(n), "s").mean() for n in chosen])
    exact_p, exact_s = (np.array([e[k] for e in exact]) for k in range(2))
    p_rows = _differences(active, exact_p) if target.prior.sparse else ()
    mean_rows = _differences(s, exact_s)
    if len(chosen) < FEWEST:
        return _empty(f"{len(chosen)} inputs, and the spread over inputs needs {FEWEST}. Give more.", common, target)
    z_limit = float(stats.t.isf(ALPHA / (2 * (len(p_rows) + len(mean_rows))), len(chosen) - 1))
    scale = float(target.prior.slab_scale)
    verdict, reason = _judge(p_rows, mean_rows, z_limit, scale, len(chosen), tolerance)
    return StreamComparison(
        verdict=verdict,
        reason=reason,
        compared_rows=len(chosen),
        max_abs_z=max(abs(row.z) for row in (*p_rows, *mean_rows)),
        z_limit=z_limit,
        scale=scale,
        p_active=p_rows,
        mean=mean_rows,
        **common,
    )


def _exact(model: SparseCodingModel, x: Array, *, seed: int) -> tuple[Array, Array]:
    """Return P(active) and the mean of every latent, each (n_latents,)."""
    if isinstance(model.prior, Gaussian):
        return np.ones(model.n_latents), gaussian_posterior(model, x)[0]
    exact = gibbs if isinstance(model.prior, (SpikeSlab, Laplace)) else slice_sampling
    s = exact(model, x, n_sweeps=SWEEPS, n_chains=2, seed=seed)
    return (s != 0).mean((0, 1)), s.mean((0, 1))


def _differences(circuit: Array, exact: Array) -> tuple[MeanDifference, ...]:
    """Return the mean difference of each latent; circuit and exact are (n_rows, n_latents)."""
    d = circuit - exact
    mean = d.mean(0)
    se = d.std(0, ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.full(d.shape[1], np.inf)
    z = np.divide(mean, se, out=np.zeros_like(mean), where=se > 0)
    columns = zip(circuit.mean(0), exact.mean(0), mean, se, z, strict=True)
    return tuple(MeanDifference(*(float(v) for v in column)) for column in columns)


def _judge(
    p_rows: tuple[MeanDifference, ...],
    mean_rows: tuple[MeanDifference, ...],
    z_limit: float,
    scale: float,
    n: int,
    tolerance: float,
) -> tuple[Verdict, str]:
    errors = [(abs(r.difference), r.se) for r in p_rows] + [
        (abs(r.difference) / scale, r.se / scale) for r in mean_rows
    ]
    over = [(d, se) for d, se in errors if d - z_limit * se > ALLOWANCE]
    if over:
        return (
            "disagrees",
            f"{len(over)} of {len(errors)} averages over {n} inputs differ, by up to {max(over)[0]:.3g}.",
        )
    wide = max(d + z_limit * se for d, se in errors)
    if wide <= tolerance:
        return (
            "agrees",
            f"all {len(errors)} averages over {n} inputs are within {tolerance:g} of exact, errors included.",
        )
    return "inconclusive", (
        f"no average over {n} inputs differs, but they are known to {wide:.3g} only, and {tolerance:g} is asked for. "
        "Give more inputs, or hold them longer."
    )


def _empty(reason: str, common: dict[str, Any], model: SparseCodingModel) -> StreamComparison:
    return StreamComparison(
        verdict="inconclusive",
        reason=reason,
        compared_rows=0,
        max_abs_z=0.0,
        z_limit=0.0,
        scale=float(model.prior.slab_scale),
        p_active=(),
        mean=(),
        **common,
    )
