r"""The learners that Fang et al. 2022 compare with: DSC and LCA (MAP codes, then a step on A), and SSC (both at once).

.. math:: A \leftarrow A + \eta\,\frac{1}{N}\sum_n (x_n - A s^*_n)\,{s^*_n}^T / \sigma^2, \qquad A_i \leftarrow A_i/|A_i|

Algorithm 1, with the mean of (2.11); SSC is algorithm 2. All have the L1 cost. MAP codes are too small, so that without the
normalisation (2.15) atoms grow on and on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.learning.checkpoint import fitting, run_to_end
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.learner import Learner, LearningRun
from circuitlsc.learning.source import Source, check_settings, checked_start, settings_of
from circuitlsc.learning.stage import Stage
from circuitlsc.model.lca import threshold_code
from circuitlsc.model.sparse_coding import SparseCodingModel

METHODS = ("dsc", "lca")
_LAST = 0.75  # where the average begins, as a share of the updates


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassicLearner:
    """Learns a dictionary from MAP codes: settle, then one gradient step on A (algorithm 1).

    Parameters
    ----------
    A0 : array, shape (D, K)
        Dictionary to start from.
    method : str
        "dsc": proximal gradient steps on the energy in s (2.14), the corner of the cost taken exactly. "lca": Euler steps
        of du = A^T x - u - (A^T A - I) s with the threshold lam sigma^2 (2.22)-(2.24).
    lam, sigma : float
        Weight of the L1 cost, 1/(model unit), and noise level, data units; held.
    source : Source, SparseCodingModel or array
        As for `Learner`; the same seed gives the same inputs.
    seed : int
        Of the inputs; >= 0.
    n_updates : int
        Batches, each with one step on A.
    rate : float
        The learning rate eta, in model units^-2.
    n_settle : int
        Steps of inference for each batch, from s = 0.
    step : float
        Of inference: for DSC over the largest stable step, 1/(largest eigenvalue of A^T A/sigma^2); for LCA in tau
        over the fastest rate, 1 + that eigenvalue of A^T A.
    normalise : bool
        Scale atoms to norm 1 after every update, as the paper says.
    hard : bool
        LCA with a hard threshold.
    signed : bool
        Whether codes may be negative.
    batch : int
        Inputs for each update.
    records, snapshots : int
        How many records of the history, and copies of A, there are about.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    A0: ArrayLike
    method: str
    lam: float
    sigma: float
    source: Source | SparseCodingModel | ArrayLike
    seed: int
    n_updates: int
    rate: float
    n_settle: int = 100
    step: float | None = None
    normalise: bool = True
    hard: bool = False
    signed: bool = False
    batch: int = 100
    records: int = 400
    snapshots: int = 9
    _source: Source = field(init=False, repr=False)

    def __post_init__(self) -> None:
        A0, source = checked_start(self.A0, self.source)
        if self.method not in METHODS:
            raise InputError(f"ClassicLearner: method = {self.method!r} is unknown. Give one of {', '.join(METHODS)}.")
        if self.hard and self.method != "lca":
            raise InputError('ClassicLearner: hard = True, but only an LCA has a threshold. Give method = "lca".')
        step = {"dsc": 1.0, "lca": 0.5}[self.method] if self.step is None else self.step
        for name, value in (("A0", A0), ("_source", source), ("step", step)):
            object.__setattr__(self, name, value)
        check_settings(
            self,
            positive=("lam", "sigma", "rate", "step"),
            flags=("normalise", "hard", "signed"),
            counts={"seed": 0, "n_updates": 1, "n_settle": 1, "batch": 1, "records": 1, "snapshots": 2},
        )

    def codes(self, A: Array, X: Array) -> Array:
        """Return the codes to which inference settles, shape (n, K), in model units.

        Parameters
        ----------
        A : array, shape (D, K)
        X : array, shape (n, D)
        """
        assert self.step is not None
        gram, drive = A.T @ A, X @ A
        largest = float(np.linalg.norm(gram, 2))
        theta = self.lam * self.sigma**2
        s = np.zeros_like(drive)
        if self.method == "dsc":
            step = self.step / largest  # of the energy times sigma^2
            for _ in range(self.n_settle):
                s = threshold_code(s - step * (s @ gram - drive), step * theta, signed=self.signed, hard=False)
            return s
        u, step = np.zeros_like(drive), self.step / (1 + largest)
        inhibition = gram - np.eye(len(gram))
        for _ in range(self.n_settle):
            u += step * (drive - u - s @ inhibition)
            s = threshold_code(u, theta, signed=self.signed, hard=self.hard)
        return s

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        return settings_of(self, self._source)

    def run(
        self,
        *,
        progress: Callable[[float, float], None] | None = None,
        checkpoint: Path | str | None = None,
        every: float = 60.0,
    ) -> LearningRun:
        """Learn; arguments as for `Learner.run`, but ``progress`` and the history's time count updates.

        Raises
        ------
        InputError
            If the checkpoint is of other settings or no checkpoint, or if learning diverges.
        KeyboardInterrupt
            At Ctrl-C, after the checkpoint is written.
        """
        settings, run = self.settings(), _Run(self, self._source)
        run_to_end(run, settings, checkpoint=checkpoint, every=every, progress=progress)
        numbers = {"pi": 1.0, "lam": float(self.lam), "sigma": float(self.sigma)}
        finals = {f"{name}_final": value for name, value in numbers.items()}
        A = run.mean_A / run.averaged
        learned = Learned(A=A, A_final=run.A, **numbers, **finals, signed=self.signed, meta=settings)
        return LearningRun(learned, run.recorder.dataset(settings, "updates"), run.s)


class _Run:
    """A run of n_updates pieces of work, and all that a checkpoint keeps of it."""

    def __init__(self, learner: ClassicLearner, source: Source) -> None:
        self._learner, self._source = learner, source
        self.A = A = np.array(learner.A0, dtype=float)
        if learner.normalise:
            A /= np.linalg.norm(A, axis=0)
        self.s = np.zeros((learner.batch, A.shape[1]))
        self._each = max(1, learner.n_updates // learner.records)
        self.recorder = Recorder(-(-learner.n_updates // self._each), learner.snapshots, *A.shape)
        self.recorder.add_snapshot(0.0, A)
        self.sums, self.usage, self.mean_A = np.zeros(3), np.zeros(A.shape[1]), np.zeros_like(A)
        self.time, self.total = 0, learner.n_updates
        self.counted = self.averaged = 0

    @property
    def done(self) -> bool:
        """Whether the run is at its end."""
        return self.time == self.total

    def advance(self) -> None:
        """Settle on the codes of the next batch, and step A."""
        learner = self._learner
        X = self._source.batch(self.time, learner.batch, learner.seed)
        self.time += 1
        self.s = s = learner.codes(self.A, X)
        r = X - s @ self.A.T
        self.A += learner.rate / learner.sigma**2 / len(X) * (r.T @ s)
        if not np.isfinite(self.A).all():
            raise InputError(
                f"ClassicLearner: it diverged at update {self.time}: rate = {learner.rate!r} is too large, or atoms grew "
                "without normalisation. Lower the rate."
            )
        if learner.normalise:
            self.A /= np.linalg.norm(self.A, axis=0)
        self.sums += np.mean(r**2), np.mean(s != 0), np.mean(np.abs(s))
        self.usage += np.mean(s != 0, 0)
        self.counted += 1
        if self.time > _LAST * self.total:
            self.mean_A += self.A
            self.averaged += 1
        if self.time % self._each == 0 or self.done:
            means, usage = self.sums / self.counted, self.usage / self.counted
            self.recorder.add(float(self.time), self.A, (0.0, learner.lam, learner.sigma), means, usage)
            self.sums[:], self.usage[:], self.counted = 0.0, 0.0, 0
            shown = np.linspace(0, self.total, learner.snapshots)
            if self.recorder.snapshots < int(np.sum(shown <= self.time)):
                self.recorder.add_snapshot(float(self.time), self.A)

    def arrays(self) -> dict[str, Array]:
        """Return the state as named arrays: all that `restore` needs."""
        places = np.array([self.time, self.counted, self.averaged])
        mine = {name: getattr(self, name) for name in ("A", "s", "sums", "usage", "mean_A")}
        return {**mine, "places": places, **self.recorder.arrays()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        arrays = fitting(arrays, self.arrays())
        for name in ("A", "s", "sums", "usage", "mean_A"):
            setattr(self, name, arrays[name])
        self.time, self.counted, self.averaged = (int(v) for v in arrays["places"])
        if not 0 <= self.time <= self.total:
            raise ValueError("places")
        self.recorder.restore(arrays)


def ssc_learner(
    *,
    A0: ArrayLike,
    lam: float,
    sigma: float,
    source: Source | SparseCodingModel | ArrayLike,
    stages: Sequence[Stage],
    seed: int,
    temperature: float = 0.0,
    **settings: Any,
) -> Learner:
    """Return the learner of simultaneous sparse coding (algorithm 2): s and A move at once, atoms have norm 1.

    Parameters
    ----------
    A0, lam, sigma, source, stages, seed, **settings
        As for `Learner`. The prior is the L1 one (pi = 1).
    temperature : float
        With 0 codes descend to the minimum of the energy, as in the paper; with 1 they sample, and what is left of SSC is
        the normalisation.

    Raises
    ------
    InputError
        As `Learner` does.
    """
    return Learner(
        A0=A0,
        pi=1.0,
        lam=lam,
        sigma=sigma,
        source=source,
        stages=stages,
        seed=seed,
        temperature=temperature,
        normalise=True,
        **settings,
    )
