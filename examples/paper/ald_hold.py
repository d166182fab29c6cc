r"""What a memory is worth: effective samples of P(active) per tau that an input is on, over how long it is held at a time.

A set of inputs is shown again and again, in another order each time. A memory (`circuitlsc.reference.memory`) goes on with
each input where it was; one set of neurons without a memory begins with the code of the input before, and drops a warm-up of
every visit. With p the P(active) of a latent for an input, and its estimate from V visits of each of many runs,

.. math:: \mathrm{ESS} = \frac{\sum p (1 - p)}{\sum \langle (\hat p - p)^2 \rangle}

summed over inputs and latents: the mean square error has the bias of stale codes in it. Both are given the warm-up that makes
it least, which nobody who does not know p could choose so well. In kind after Taniguchi et al. 2022, who compare no such thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.data import bars
from circuitlsc.model.features import Features
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.memory import SoftwareMemory
from circuitlsc.reference.sampled import exact_statistics
from examples.paper.figure_runs import Effort, Note, Progress, plain, run_all

PI, LAM, SIGMA, SIDE = 0.3, 1.0, 0.5, 4
HOLDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # tau
OWN = 200.0  # tau that each input is on, in all
RUNS = 64
FINEST, COARSEST = 0.05, 0.2  # tau between draws
LARGEST = 2**25  # numbers that are held at a time
EFFORT = Effort(seeds=1, held_out=100)
BOOTSTRAPS = 200
KINDS = ("memory", "langevin")


@dataclass(frozen=True, eq=False)
class Course:
    """Estimates of one kind at one hold, over the number of visits; with the warm-up that has the least error at each.

    Attributes
    ----------
    kind : str
        ``"memory"``, or ``"langevin"``: one state for all inputs.
    hold : float
        In tau.
    visits : array, shape (n,)
        Of each input.
    mse : array, shape (n,)
        Mean square error of P(active), over runs, inputs and latents.
    warmup : array, shape (n,)
        Time that is dropped, in tau: of a memory once, of ``"langevin"`` in each visit.
    bias : array, shape (n,)
        Root mean square, over inputs and latents, of the mean error of all runs.
    ess_per_tau, ess_se, believed : float
        At the last of these; its standard error over inputs; and what the variance alone, without bias, would say.
    """

    kind: str
    hold: float
    visits: Array
    mse: Array
    warmup: Array
    bias: Array
    ess_per_tau: float
    ess_se: float
    believed: float


@dataclass(frozen=True, eq=False)
class HoldData:
    """Courses of both kinds at every hold; ``variance`` is the mean of p (1 - p), ``own`` the time per input in tau."""

    n_inputs: int
    own: float
    runs: int
    variance: float
    courses: tuple[Course, ...]

    def of(self, kind: str) -> list[Course]:
        """Return the courses of a kind, by hold."""
        return [course for course in self.courses if course.kind == kind]

    def pays_from(self, hold: float) -> int | None:
        """Return the number of visits from which on the memory's error is smaller; None if it is not so at the end."""
        memory, other = (next(c for c in self.of(kind) if c.hold == hold) for kind in KINDS)
        ahead = memory.mse < other.mse
        if not ahead[-1]:
            return None
        behind = np.flatnonzero(~ahead)
        return int(memory.visits[behind[-1] + 1 if len(behind) else 0])

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        pays = {f"{course.hold:g}": self.pays_from(course.hold) for course in self.of("memory")}
        return dict(plain(self)) | {"pays_from": pays}


def ald_hold_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    holds: tuple[float, ...] = HOLDS,
    workers: int = 1,
    note: Note | None = None,
) -> HoldData:
    """Measure both kinds; ``effort.held_out`` is the number of inputs, ``effort.time`` scales the time of each."""
    effort = effort or EFFORT
    say = note or (lambda _: None)
    model = SparseCodingModel(bars(SIDE), SpikeSlab(PI, LAM), SIGMA)
    rng = np.random.default_rng([seed, 5])
    x = np.stack([model.draw(rng)[1] for _ in range(max(effort.held_out, 2))])
    own = OWN * effort.time
    say("exact posteriors")
    exact = np.stack([exact_statistics(model, row, seed=n).p_active for n, row in enumerate(x)])

    def one(job: tuple[str, float], progress: Progress) -> Course:
        kind, hold = job
        features = Features(np.eye(len(x)) if kind == "memory" else np.ones((1, len(x))))
        memory = SoftwareMemory(
            model, x, features=features, hold=hold, n_runs=RUNS, order="random", seed=seed,
            write=None if kind == "memory" else features.phi, spacing=float(np.clip(hold / 10, FINEST, COARSEST)),
        )  # fmt: skip
        visits = _checkpoints(max(1, round(own / hold)))
        return _course(kind, hold, visits, list(_sums(memory, visits, progress)), exact)

    jobs = [(kind, hold) for hold in holds for kind in KINDS]
    courses = run_all(one, jobs, lambda job: f"{job[0]}, hold {job[1]:g}", workers=workers, note=note)
    return HoldData(len(x), own, RUNS, float((exact * (1 - exact)).mean()), tuple(courses))


def _checkpoints(last: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12 ... and the last."""
    many = {n for k in range(20) for n in (2**k, 3 * 2**k)}
    return sorted({n for n in many if n < last} | {last})


def _sums(memory: SoftwareMemory, visits: list[int], progress: Progress) -> Iterator[Array]:
    """Yield how often each latent is active by each checkpoint, (n_runs, N, draws_per_visit, K)."""
    total: Array | float = 0.0
    each = RUNS * memory.features.N * memory.draws_per_visit * memory.model.n_latents
    most, done = max(1, LARGEST // each), 0
    for stop in visits:
        while done < stop:
            progress(done, visits[-1])
            n = min(most, stop - done)
            total = total + memory.model.active(memory.run(n, threads=1)).sum(2, dtype=np.float32)
            done += n
        assert not isinstance(total, float)
        yield total


def _course(kind: str, hold: float, visits: list[int], sums: list[Array], exact: Array) -> Course:
    """Return the course of the least error."""
    best: list[tuple[float, float, Array]] = []  # the error, the warm-up, and estimates (n_runs, N, K)
    draws = sums[0].shape[2]
    for at, n in enumerate(visits):
        if kind == "memory":
            dropped = [(0, 0.0), *((m, sums[k].sum(2)) for k, m in enumerate(visits[:at]))]
            whole = sums[at].sum(2)
            found = [(m * hold, (whole - part) / ((n - m) * draws)) for m, part in dropped]
        else:
            late = np.cumsum(sums[at][:, :, ::-1], axis=2) / n  # of the last 1, 2, ... draws of a visit
            found = [((draws - k) / draws * hold, late[:, :, k - 1] / k) for k in range(1, draws + 1)]
        best.append(min(((float(((p - exact) ** 2).mean()), w, p) for w, p in found), key=lambda each: each[0]))
    p = best[-1][2]
    variance, time = (exact * (1 - exact)).sum(1), visits[-1] * hold
    square = ((p - exact) ** 2).mean(0).sum(1)
    rows = np.random.default_rng(0).integers(len(exact), size=(BOOTSTRAPS, len(exact)))
    ess = variance[rows].sum(1) / square[rows].sum(1) / time
    return Course(
        kind=kind,
        hold=hold,
        visits=np.array(visits),
        mse=np.array([each[0] for each in best]),
        warmup=np.array([each[1] for each in best]),
        bias=np.array([_bias(each[2], exact) for each in best]),
        ess_per_tau=float(variance.sum() / square.sum() / time),
        ess_se=float(ess.std(ddof=1)),
        believed=float(variance.sum() / p.var(0, ddof=1).sum() / time),
    )


def _bias(p: Array, exact: Array) -> float:
    """Return the root mean square of the mean error, without what the noise of so many runs adds."""
    square = (p.mean(0) - exact) ** 2 - p.var(0, ddof=1) / len(p)
    return float(np.sqrt(max(square.mean(), 0.0)))


def ald_hold_report(data: HoldData) -> str:
    """Return ESS per tau of both kinds at every hold, their warm-ups and biases, and from when on the memory is ahead."""
    heads = ("memory", "without", "ratio", "warm-up", "bias", "believed", "pays from")
    lines = [f"{'hold':>6}" + "".join(f"{head:>15}" for head in heads)]
    for memory, other in zip(*map(data.of, KINDS), strict=True):
        pays = data.pays_from(memory.hold)
        from_when = "-" if pays is None else f"{pays} visits"
        cells = [f"{c.ess_per_tau:.3f} ({c.ess_se:.3f})" for c in (memory, other)]
        cells += [f"{memory.ess_per_tau / other.ess_per_tau:.1f}", f"{other.warmup[-1]:.3g}", f"{other.bias[-1]:.3f}"]
        cells += [f"{other.believed:.3f}", from_when]
        lines.append(f"{memory.hold:>6g}" + "".join(f"{cell:>15}" for cell in cells))
    first = [c.warmup[-1] for c in data.of("memory")]
    bias = max(c.bias[-1] for c in data.of("memory"))
    lines += [
        f"effective samples of P(active) per tau that an input is on, by the mean square error: {data.own:g} tau of each of "
        f"{data.n_inputs} inputs (4x4 bars, sigma {SIGMA:g}), {data.runs} runs; in brackets: standard error over inputs",
        "without a memory: the warm-up (tau) is dropped of every visit; bias: rms that stale codes leave in P(active); "
        "believed: what the variance alone would say",
        f"memory: {min(first):.3g} to {max(first):.3g} tau of each input are dropped, once; rms bias at most {bias:.3f}",
        "both have the warm-up that makes the error least, for which the exact P(active) must be known; pays from: visits from "
        "which on the memory's error is the smaller",
    ]
    return "\n".join(lines)
