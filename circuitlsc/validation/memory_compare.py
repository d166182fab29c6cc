r"""A sampler with a memory, judged: every input's samples against its exact posterior, and one verdict for all of them.

While an input is away its state stands still, so that in a time of its own, 1/N of the run's, it is a chain as that of a run of
one input. Each is compared as such a run is (`circuitlsc.validation.compare`), with replicates from its own starts and as long
as its own time. N inputs have N chances to be far off: with M_n the largest abs(z) of a correct run of input n, and c_n what
a share alpha of these exceeds, every limit is widened by the one factor :math:`\kappa \ge 1` of which

.. math:: \sum_n P(M_n > \kappa\, c_n) \le \alpha

by the replicates of all inputs together: their noise is independent, and each keeps the scale that its own tails have. The
verdict is ``disagrees`` if any input disagrees, ``agrees`` if all do, else ``inconclusive``.

Reported beside it, and not judged:

- within a visit (start, middle, end), the difference from exact: where states are stale or written upon, the start is off;
- effective samples per visit;
- :math:`\sum_n \langle u_n \cdot \nabla E_n(u_n) \rangle = T K\, \mathrm{rank}\,\Phi`, whatever the posteriors are: it sees
  a wrong temperature, and is blind to states that are lost when inputs change.

The set, its order and the verdict on it are not in Taniguchi et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.features import Features
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.run_plan import REFERENCE_TIME, TOLERANCE
from circuitlsc.reference.mcse import MIN_DRAWS
from circuitlsc.reference.statistics import PosteriorStatistics, mean_with_mcse, summarize, virial
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.advice import Decision, Times
from circuitlsc.validation.compare import Comparison
from circuitlsc.validation.judge import PATH_STEPS, Expectation, at_temperature, compared, expect_posterior
from circuitlsc.validation.run_errors import ALPHA, Excess
from circuitlsc.validation.same_noise import try_path

#: Inputs that each have the work and the time that a run of one input has; of more, all together have no more.
IN_FULL = 8
PLACES = ("start", "middle", "end")


@dataclass(frozen=True, eq=False)
class Remembered:
    """What a memory's run is to its verdict.

    Parameters
    ----------
    model : SparseCodingModel
        At temperature 1.
    x : array, shape (N, n_features)
        In data units.
    u : sequence of Draws
        States of each input, (chain, draw, latent), in model units: ``visits`` times ``draws_per_visit``, in order.
    starts : array, shape (n_chains, N, n_latents)
        Where each input's chains begin, in model units.
    rank : int
        Of the features: how many inputs have states of their own.
    hold : float
        Time of a visit, in tau.
    visits, dropped : int
        Of each input: those that count, and those before.
    temperature, width : float
        T of exp(-E/T), and the comparators' width in model units.
    smoothing : Smoothing
        What comparators make of a corner.
    time_scale : float
        Time to diffuse over the slab, in tau.
    spacing : float or None
        Between draws of a visit, in tau, and before the first; None is even, up to its end.
    seconds : float
        What a tau of all chains took; 0 if it is not known.
    seed : int
    apart : str
        Why the circuit does not sample the posteriors, in a few words, if that was asked of it; the virial says nothing then.
    """

    model: SparseCodingModel
    x: Array
    u: Sequence[Draws]
    starts: Array
    rank: int
    hold: float
    visits: int
    dropped: int
    temperature: float = 1.0
    width: float = 0.0
    smoothing: Smoothing = LOGISTIC
    time_scale: float = 1.0
    spacing: float | None = None
    seconds: float = 0.0
    seed: int = 0
    apart: str = ""

    def __post_init__(self) -> None:
        draws = self.u[0].n_draws
        if len(self.u) != len(self.x) or draws % self.visits or draws < MIN_DRAWS:
            raise InputError(
                f"{len(self.x)} inputs have states of {len(self.u)}, {draws} samples a chain in {self.visits} visits, but each "
                f"needs as many in each visit, and {MIN_DRAWS} at least. Raise t_stop, or lower thin or warmup."
            )

    @classmethod
    def of(cls, sampler: Sampler, samples: Samples) -> Remembered:
        """Return what a circuit's run was."""
        assert sampler.features is not None
        assert sampler.stream is not None
        run, stats = samples.run_plan(), samples.stats
        visits, phi = sampler.visits(run), sampler.features.phi
        weights = sampler.starts(run.chains, run.seed).reshape(run.chains, -1, len(phi))
        return cls(
            model=sampler.model,
            x=sampler.x,
            u=[samples.row_draws(n, "u") for n in range(len(sampler.x))],
            starts=np.swapaxes(weights @ phi, 1, 2),
            rank=sampler.features.rank,
            hold=float(sampler.stream.hold),
            visits=visits.kept,
            dropped=visits.dropped,
            temperature=sampler.temperature,
            width=sampler.plan.width,
            smoothing=sampler.plan.smoothing,
            time_scale=sampler.plan.time_scale,
            spacing=float(samples.attrs["thin"]) * sampler.plan.step,
            seconds=float(np.max(stats["wall"] / stats["steps"])) / sampler.plan.step,
            seed=run.seed,
            apart=_apart(sampler.dynamics, sampler.features),
        )

    @property
    def target(self) -> SparseCodingModel:
        """The model whose posteriors are sampled."""
        return at_temperature(self.model, self.temperature)

    @property
    def t_stop(self) -> float:
        """Length of the run, in tau."""
        return len(self.x) * (self.visits + self.dropped) * self.hold

    @property
    def draws_per_visit(self) -> int:
        """Draws of one input in a visit."""
        return self.u[0].n_draws // self.visits

    def active(self, n: int) -> Draws:
        """Return which latents of an input are active."""
        return self.u[n].map(self.model.active)


@dataclass(frozen=True)
class Number:
    """A measured number, what it should be, its standard error and z = (value - exact) / error."""

    value: float
    exact: float
    se: float
    z: float


@dataclass(frozen=True, kw_only=True)
class WithinVisit:
    """The circuit minus exact at one place of all visits, of P(active) (of the mean, if no code can be zero).

    Attributes
    ----------
    place : str
        ``"start"``, ``"middle"`` or ``"end"``.
    time : float
        Since the input came on, in tau.
    difference, se : tuple, shape (N, n_latents)
        Standard errors over visits.
    mean, mean_se : float
        Over inputs and latents.
    largest : float
        The largest abs(difference / se), of ``input`` and ``latent``.
    """

    place: str
    time: float
    difference: tuple[tuple[float, ...], ...]
    se: tuple[tuple[float, ...], ...]
    mean: float
    mean_se: float
    largest: float
    input: int
    latent: int


@dataclass(frozen=True, kw_only=True)
class MemoryComparison(Decision):
    """What `compare_memory` returns and comparison.json holds.

    Attributes
    ----------
    n_inputs, rank, visits, draws_per_visit : int
        ``visits`` of each input in each chain, after warmup.
    hold, t_stop : float
        In tau; ``t_stop`` is that of all inputs together.
    max_abs_z, largest : float
        Over all inputs; and ``largest`` over the limit of its input.
    widened : float
        Factor on the limit of each input, because there are several.
    ess_per_visit : tuple of float
        Median and smallest, over inputs and latents, of the effective samples of P(active) (or the mean) in a visit.
    ess_min, rhat_max : float
        Over inputs; ``rhat_max`` is None if infinite.
    virial : Number or None
        sum_n <u_n . grad E_n> / (T K) beside the rank of the features; None of fewer than four visits.
    virial_limit, within_limit : float
        What abs(z) exceeds in a share alpha of correct runs: of the virial, and of all numbers within a visit.
    within_visit : tuple of WithinVisit
        Empty for fewer than four visits.
    pathwise : dict
        As in `Comparison`.
    inputs : tuple of Comparison
        In their order; times are those of all inputs together.
    """

    n_inputs: int
    rank: int
    hold: float
    t_stop: float
    visits: int
    draws_per_visit: int
    max_abs_z: float
    largest: float
    widened: float
    alpha: float
    tolerance: float
    ess_per_visit: tuple[float, float]
    ess_min: float
    rhat_max: float | None
    virial: Number | None
    virial_limit: float
    within_limit: float
    within_visit: tuple[WithinVisit, ...]
    pathwise: dict[str, float] | None
    inputs: tuple[Comparison, ...]


def compare_memory(
    sampler: Sampler,
    samples: Samples,
    *,
    tolerance: float = TOLERANCE,
    reference_time: float = REFERENCE_TIME,
    note: Callable[[str], None] | None = None,
) -> MemoryComparison:
    """Compare a memory's samples of every input with its exact posterior, and with NumPy on the same noise.

    Parameters
    ----------
    sampler : Sampler
        Whose dynamics remember.
    samples : Samples
        What its `run` returned.
    tolerance : float
        How close every statistic of every input must be, errors included.
    reference_time : float
        Seconds for the reference of an input; of more than eight, all together may take eight times as long.
    note : callable or None
        Called with a few words before each part.

    Raises
    ------
    InputError
        If the sampler has no memory.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> x = [model.draw(seed)[1] for seed in range(3)]
    >>> sampler = build_sampler(model, x, dynamics="amortised", hold=2.0)
    >>> compared = compare_memory(sampler, sampler.run(t_stop=600.0, seed=1))
    >>> str(compared.verdict)  # it is too short for a tolerance of 0.02
    'inconclusive'
    """
    if not sampler.dynamics.remembers:
        raise InputError("compare_memory: the sampler has no memory. Use experiment.judge, or compare_stream for rows.")
    say = note or (lambda _: None)
    of = Remembered.of(sampler, samples)
    known = expect_memory(of, tolerance=tolerance, reference_time=reference_time, note=say)
    say("same noise in NumPy")
    path, _ = try_path(sampler, samples, PATH_STEPS)
    say("comparison")
    pathwise = None if path is None else path.to_dict()
    return judge_memory(of, known, tolerance=tolerance, reference_time=reference_time, pathwise=pathwise)


def expect_memory(
    of: Remembered,
    *,
    tolerance: float = TOLERANCE,
    reference_time: float = REFERENCE_TIME,
    note: Callable[[str], None] | None = None,
) -> list[Expectation]:
    """Return what a correct memory would give for each input; arguments as for `compare_memory`."""
    say, N = note or (lambda _: None), len(of.x)
    share, found = _share(of), []
    for n, x in enumerate(of.x):
        place = f"input {n + 1} of {N}"
        found.append(
            expect_posterior(
                of.model,
                x,
                temperature=of.temperature,
                starts=of.starts[:, n],
                length=of.visits * of.hold,
                warmup=of.dropped * of.hold,
                dynamics=Dynamics(temperature=of.temperature),
                time_scale=of.time_scale,
                seed=of.seed,
                tolerance=tolerance,
                reference_time=share * reference_time,
                seconds=of.seconds * of.t_stop / N,
                share=share,
                say=partial(_say, say, place),
            )
        )
    return found


def _apart(dynamics: Dynamics, features: Features) -> str:
    """Return why a memory does not sample the posteriors of its inputs at a hold that is not short; nothing if it does."""
    if dynamics.leak:
        return f"a leak of {dynamics.leak:g} / tau is a prior that the reference has not"
    if features.rank < features.N:
        return "with restricted = true states move together"
    if dynamics.noise == "weight":
        return "noise of weights is right as hold goes to 0 alone, and samples are taken at the ends of intervals"
    return ""


def _share(of: Remembered) -> float:
    """Return the share of an input in the work and the time that a run of one input has."""
    return min(1.0, IN_FULL / len(of.x))


def _say(say: Callable[[str], None], place: str, what: str) -> None:
    say(f"{what}, {place}")


def judge_memory(
    of: Remembered,
    known: Sequence[Expectation],
    *,
    tolerance: float = TOLERANCE,
    reference_time: float = REFERENCE_TIME,
    pathwise: dict[str, float] | None = None,
    alpha: float = ALPHA,
) -> MemoryComparison:
    """Compare a memory's draws with what is expected of each input (`expect_memory`).

    Parameters
    ----------
    of : Remembered
    known : sequence of Expectation
    tolerance, reference_time : float
        As for `compare_memory`.
    pathwise : dict or None
        Difference from NumPy on the same noise.
    alpha : float
        Share of correct memories of which an input's largest abs(z) is beyond its limit.
    """
    N, warmup, share = len(of.x), len(of.x) * of.dropped * of.hold, _share(of)
    widened = widening(known, alpha)
    measured, found = [], []
    for n, each in enumerate(known):
        s, active = of.u[n].map(of.model.latent), of.active(n)
        circuit = summarize(s, active, model=of.target, x=of.x[n], method="circuit", levels=each.levels)
        how: dict[str, Any] = {"width": of.width, "smoothing": of.smoothing, "temperature": of.temperature}
        measured.append(circuit)
        found.append(
            compared(
                each,
                circuit,
                s,
                active,
                times=Times(of.t_stop, warmup, of.seconds, each.seconds / share, reference_time, N),
                seed=of.seed,
                virial=virial(of.model, of.u[n], of.x[n], **how),
                tolerance=tolerance,
                alpha=alpha,
                widened=widened,
            )
        )
    ess = _ess(measured, of.model.prior.sparse) / (of.u[0].shape[0] * of.visits)
    rhat = [c.rhat_max for c in found]
    within = _within_visit(of, known)
    decided = _decide(found, tolerance)
    if of.apart and decided["verdict"] != "agrees":
        decided["reason"] += f" The circuit was asked to sample another law: {of.apart}."
    return MemoryComparison(
        **decided,
        n_inputs=N,
        rank=of.rank,
        hold=of.hold,
        t_stop=of.t_stop,
        visits=of.visits,
        draws_per_visit=of.draws_per_visit,
        largest=max(c.max_abs_z / c.z_limit for c in found),
        max_abs_z=max(c.max_abs_z for c in found),
        widened=widened,
        alpha=alpha,
        tolerance=tolerance,
        ess_per_visit=(float(np.median(ess)), float(ess.min())),
        ess_min=min(c.ess_min for c in found),
        rhat_max=None if None in rhat else max(r for r in rhat if r is not None),
        virial=_virial(of),
        virial_limit=float(norm.isf(alpha / 2)),
        within_limit=float(norm.isf(alpha / 2 / (len(PLACES) * N * of.model.n_latents))),
        within_visit=within,
        pathwise=pathwise,
        inputs=tuple(found),
    )


def widening(known: Sequence[Expectation], alpha: float = ALPHA) -> float:
    """Return the factor on the limits of all inputs beyond which a share alpha of correct memories has one of them."""
    ratios = []
    for each in known:
        null, unit = each.null, each.null.judged.units(each.scale)
        exact, reference = (null.judged.select(each.exact, name) for name in ("", "_mcse"))
        errors = Excess(np.zeros_like(exact), null.deviations(exact) / unit, reference / unit, alpha=alpha)
        ratios.append(errors.largest / errors.c)
    weights = np.concatenate([np.full(len(ratio), 1 / len(ratio)) for ratio in ratios])
    together = np.concatenate(ratios)
    order = np.argsort(-together, kind="stable")
    first = int(np.argmax(np.cumsum(weights[order]) > alpha * (1 + 1e-9)))
    return max(1.0, float(together[order[first]]))


def _decide(found: Sequence[Comparison], tolerance: float) -> dict[str, Any]:
    """Return the verdict on all inputs, a sentence or two, and what would do, as fields of a `Decision`."""
    each = {word: [n for n, c in enumerate(found) if c.verdict == word] for word in ("disagrees", "inconclusive")}

    def told(n: int, others: Sequence[int], said: str) -> str:
        more = f" {said.format(len(others) - 1)}" if len(others) > 1 else ""
        return f"input {n}: {found[n].reason}{more}"

    if wrong := each["disagrees"]:
        worst = max(wrong, key=lambda n: found[n].max_abs_z / found[n].z_limit)
        return {"verdict": "disagrees", "reason": told(worst, wrong, f"{{}} more of {len(found)} inputs disagree.")}
    if not (open_ := each["inconclusive"]):
        reason = f"all statistics of all {len(found)} inputs are within {tolerance:g} of exact, errors included."
        return {"verdict": "agrees", "reason": reason}
    # a reference that is too short says so first; else the input that needs the longest run
    needed = {n: found[n].t_stop_needed for n in open_}
    worst = max(open_, key=lambda n: (found[n].needed_t_stop is None and needed[n] is None, needed[n] or np.inf))
    fields = {name: getattr(found[worst], name) for name in ("t_stop_needed", "needed_tolerance", "needed_t_stop")}
    said = f"{{}} more of {len(found)} inputs are open, with less need."
    return {"verdict": "inconclusive", "reason": told(worst, open_, said), **fields}


def _ess(measured: Sequence[PosteriorStatistics], sparse: bool) -> Array:
    """Return effective samples of P(active), or of the mean, over inputs and latents that move at all; one if none does."""
    p, m = (np.array([getattr(c, name) for c in measured]) for name in ("p_active", "mean"))
    variance = p * (1 - p) if sparse else np.array([c.sd for c in measured]) ** 2
    mcse = np.array([getattr(c, "p_active_mcse" if sparse else "mean_mcse") for c in measured])
    moving = mcse > 0
    return variance[moving] / mcse[moving] ** 2 if moving.any() else np.ones_like(m[:1, 0])


def _virial(of: Remembered) -> Number | None:
    """Return sum_n <u_n . grad E_n> / (T K), cycle by cycle, beside the rank."""
    if of.visits < MIN_DRAWS or of.apart:
        return None
    total = 0.0
    for u, x in zip(of.u, of.x, strict=True):
        force = Draws(u.shape, u.read, u.most, u.shape[0] * (of.model.n_latents + of.model.n_features))
        powers = force.map(lambda v, x=x: (v * of.model.energy_grad(v, x, of.width, of.smoothing)).sum(-1))
        total = total + _by_visit(of, powers).mean(2)
    value, se = (float(v) for v in mean_with_mcse(total / (of.temperature * of.model.n_latents)))
    return Number(value, of.rank, se, (value - of.rank) / max(se, 1e-9))


def _by_visit(of: Remembered, draws: Draws) -> Array:
    """Return all draws of an input by visit, (chain, visit, draw, ...)."""
    values = np.concatenate(list(draws.pieces()), axis=1)
    return values.reshape(len(values), of.visits, of.draws_per_visit, *values.shape[2:])


def _within_visit(of: Remembered, known: Sequence[Expectation]) -> tuple[WithinVisit, ...]:
    """Return differences from exact at the first, the middle and the last draw of a visit."""
    if of.visits < MIN_DRAWS:
        return ()
    each, sparse = of.draws_per_visit, of.model.prior.sparse
    at = dict(zip(PLACES, (0, each // 2, each - 1), strict=True))
    exact = np.array([k.exact.p_active if sparse else k.exact.mean for k in known])
    variance = exact * (1 - exact) if sparse else np.array([k.exact.sd for k in known]) ** 2
    floor = np.sqrt(variance / (of.u[0].shape[0] * of.visits))  # of a state that is hardly visited
    found: dict[str, list[tuple[Array, ...]]] = {place: [] for place in at}
    for n in range(len(of.x)):
        values = _by_visit(of, of.active(n) if sparse else of.u[n].map(of.model.latent))
        for place, k in at.items():
            there = values[:, :, k].astype(float)
            found[place].append((*mean_with_mcse(there), *mean_with_mcse(there.mean(-1, keepdims=True))))
    spacing = of.hold / each if of.spacing is None else of.spacing
    return tuple(_place(place, (k + 1) * spacing, found[place], exact, floor) for place, k in at.items())


def _place(name: str, time: float, found: Sequence[tuple[Array, ...]], exact: Array, floor: Array) -> WithinVisit:
    """Return what was found at one place of all visits: mean and error of each latent, and of their average, by input."""
    value, se, mean, mean_se = (np.array(part) for part in zip(*found, strict=True))
    d, se = value - exact, np.maximum(np.maximum(se, floor), 1e-9)
    n, k = np.unravel_index(np.argmax(np.abs(d / se)), d.shape)
    return WithinVisit(
        place=name,
        time=float(time),
        difference=tuple(map(tuple, d.tolist())),
        se=tuple(map(tuple, se.tolist())),
        mean=float(mean.mean() - exact.mean()),
        mean_se=float(np.sqrt(np.sum(mean_se**2)) / len(mean)),
        largest=float(np.abs(d / se).max()),
        input=int(n),
        latent=int(k),
    )
