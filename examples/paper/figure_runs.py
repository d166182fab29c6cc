"""Many runs of learning for one figure: side by side if there are cores, each with one thread, and what is kept of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from circuitlsc.io.arrays import Array, check_count, check_positive
from circuitlsc.learning.ais import LogLikelihood, ais_log_likelihood
from circuitlsc.learning.learner import LearningRun
from circuitlsc.learning.stage import Stage
from circuitlsc.model.sparse_coding import SparseCodingModel

Note = Callable[[str], None]
Progress = Callable[[float, float], None]  # as of Learner.run; it raises where the run is to stop
Job = TypeVar("Job")
Result = TypeVar("Result")
USED = 0.25  # of the longest atom: one that is longer counts as used
_DIGITS = 6  # significant ones, of what is written
_ROWS = 10  # inputs between two looks at whether to stop


@dataclass(frozen=True)
class Effort:
    """How much is spent on a figure.

    Attributes
    ----------
    seeds : int
        Runs of each kind, with seeds that follow each other.
    time : float
        What every stage's duration is multiplied by: below 1 learning does not arrive.
    held_out : int
        Inputs whose likelihood is estimated; 0 for none.
    sweeps : int
        Gibbs sweeps of each estimate.
    """

    seeds: int = 3
    time: float = 1.0
    held_out: int = 200
    sweeps: int = 300

    def __post_init__(self) -> None:
        check_positive("Effort", "time", self.time, "a run takes time")
        for name, least in (("seeds", 1), ("held_out", 0), ("sweeps", 1)):
            object.__setattr__(self, name, check_count(f"Effort: {name}", getattr(self, name), least))

    def stages(self, stages: Sequence[Stage]) -> tuple[Stage, ...]:
        """Return stages of this effort: each a whole number of inputs long, at least one."""
        inputs = [max(1, round(self.time * stage.duration / stage.hold)) for stage in stages]
        return tuple(replace(stage, duration=n * stage.hold) for n, stage in zip(inputs, stages, strict=True))


@dataclass(frozen=True, eq=False)
class Course:
    """The course of one run, and where it ended.

    Attributes
    ----------
    seed : int
    time : array, shape (n,)
        In tau.
    pi : array, shape (n,)
        P(active) of the prior.
    norm : array, shape (n, K)
        Of each atom, in data units per model unit.
    A : array, shape (D, K)
        Dictionary, average over the last quarter (and no further back than the last stage).
    learned_pi : float
        The same average of pi.
    """

    seed: int
    time: Array
    pi: Array
    norm: Array
    A: Array
    learned_pi: float

    @classmethod
    def of(cls, seed: int, run: LearningRun, points: int = 100) -> Course:
        """Return the course of a run, at no more than so many times."""
        h = run.history.isel(time=_spread(run.history.sizes["time"], points))
        learned = run.learned
        time, pi, norm = (np.asarray(h[name].values) for name in ("time", "pi", "norm"))
        return cls(seed, time, pi, norm, learned.A, learned.pi)

    @property
    def norms(self) -> Array:
        """Norm of each atom of A, shape (K,)."""
        return np.asarray(np.linalg.norm(self.A, axis=0))

    @property
    def used(self) -> NDArray[np.bool_]:
        """Whether each atom is longer than a quarter of the longest, shape (K,)."""
        return np.asarray(self.norms > USED * self.norms.max())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Course:
        """Take back what `plain` made of it."""
        arrays = {name: np.array(data[name], dtype=float) for name in ("time", "pi", "norm", "A")}
        return cls(seed=data["seed"], learned_pi=data["learned_pi"], **arrays)


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and numbers as JSON has them; numbers of arrays with six digits."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return _rounded(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _spread(n: int, points: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, points)).round().astype(int))


def held_out_likelihood(
    model: SparseCodingModel, X: Array, effort: Effort, seed: int, progress: Progress | None = None
) -> LogLikelihood:
    """Return log p(x) of inputs; the progress may stop it, as it may stop a run."""
    parts = []
    for k in range(0, len(X), _ROWS):
        if progress is not None:
            progress(k, len(X))
        parts.append(ais_log_likelihood(model, X[k : k + _ROWS], seed=1000 * seed + k // _ROWS, n_sweeps=effort.sweeps))
    return LogLikelihood(np.concatenate([p.log_p for p in parts]), np.concatenate([p.se for p in parts]))


class _Stopped(Exception):
    """Ends the runs that are under way when one has failed, or at Ctrl-C."""


def run_all(
    work: Callable[[Job, Progress], Result],
    jobs: Sequence[Job],
    name: Callable[[Job], str],
    *,
    workers: int = 1,
    note: Note | None = None,
) -> list[Result]:
    """Do every job, ``workers`` at a time; the results are in the order of the jobs, and do not depend on ``workers``.

    Several runs with one thread each are faster than one run with several: the threads of a run wait for each other at
    every step.

    Raises
    ------
    KeyboardInterrupt
        At Ctrl-C, within a second or so.
    """
    say, stop = note or (lambda _: None), threading.Event()

    def watched(done: float, total: float) -> None:
        if stop.is_set():
            raise _Stopped

    if workers <= 1:
        results = []
        for k, job in enumerate(jobs, 1):
            say(f"run {k} of {len(jobs)}: {name(job)}")
            with threadpool_limits(1, "blas"):  # a small product is no work for two threads
                results.append(work(job, watched))
        return results
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(workers, initializer=numba.set_num_threads, initargs=(1,)) as pool,
    ):
        futures = {pool.submit(work, job, watched): job for job in jobs}
        try:
            for k, future in enumerate(as_completed(futures), 1):
                future.result()
                say(f"{k} of {len(jobs)} runs are done: {name(futures[future])}")
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
