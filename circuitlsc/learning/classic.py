r"""The learners that Fang et al. 2022 compare with: DSC and LCA (MAP codes, then a step on A), and SSC (both at once).

.. math:: A \leftarrow A + \eta\,\frac{1}{N}\sum_n (x_n - A s^*_n)\,{s^*_n}^T / \sigma^2, \qquad A_i \leftarrow A_i/|A_i|

Algorithm 1, with the mean of (2.11); SSC is algorithm 2. All have the L1 cost. MAP codes are too small, so that without the
normalisation (2.15) atoms grow on and on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.progress import Progress
from circuitlsc.learning.checkpoint import Resumable, run_to_end
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.learner import Learner, LearningRun
from circuitlsc.learning.settings import Settings
from circuitlsc.model.lca import threshold_code

METHODS = ("dsc", "lca")
_LAST = 0.75  # where the average begins, as a share of the updates


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassicLearner(Settings):
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

    method: str
    n_updates: int
    rate: float
    n_settle: int = 100
    step: float | None = None
    normalise: bool = True
    hard: bool = False
    batch: int = 100
    pi: ClassVar[float] = 1.0
    learn: ClassVar[tuple[str, ...]] = ("A",)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"ClassicLearner: method = {self.method!r} is unknown. Give one of {', '.join(METHODS)}.")
        if self.hard and self.method != "lca":
            raise InputError('ClassicLearner: hard = True, but only an LCA has a threshold. Give method = "lca".')
        step = {"dsc": 1.0, "lca": 0.5}[self.method] if self.step is None else self.step
        self._keep(step=step)
        positive, flags = ("lam", "sigma", "rate", "step"), ("normalise", "hard")
        self._check(positive=positive, flags=flags, n_updates=1, n_settle=1, batch=1)

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

    def run(
        self,
        *,
        progress: Progress = None,
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
        settings, run = self.settings(), _Run(self)
        run_to_end(run, settings, checkpoint=checkpoint, every=every, progress=progress, unit="updates")
        held = np.array([self.pi, self.lam, self.sigma])
        learned = Learned.of(self, (run.mean_A / run.places[2], held), (run.A, held), settings)
        return LearningRun(learned, run.recorder.dataset(settings, "updates"), run.s)


class _Run(Resumable):
    """A run of n_updates pieces of work, and all that a checkpoint keeps of it."""

    def __init__(self, learner: ClassicLearner) -> None:
        self._learner = learner
        self.A = A = np.array(learner.A0, dtype=float)
        if learner.normalise:
            A /= np.linalg.norm(A, axis=0)
        self.s = np.zeros((learner.batch, A.shape[1]))
        self._each = max(1, learner.n_updates // learner.records)
        self.recorder = Recorder(A, np.linspace(0, learner.n_updates, learner.snapshots))
        self.sums, self.usage, self.mean_A = np.zeros(3), np.zeros(A.shape[1]), np.zeros_like(A)
        self.total = learner.n_updates
        self.places = np.zeros(3, int)  # updates, those since the last record, those in the average

    @property
    def time(self) -> int:
        """Updates that are done."""
        return int(self.places[0])

    def advance(self) -> None:
        """Settle on the codes of the next batch, and step A."""
        learner = self._learner
        X = learner._source.batch(self.time, learner.batch, learner.seed)
        self.places[:2] += 1
        self.s[:] = s = learner.codes(self.A, X)
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
        if self.time > _LAST * self.total:
            self.mean_A += self.A
            self.places[2] += 1
        if self.time % self._each == 0 or self.time == self.total:
            means, usage = self.sums / self.places[1], self.usage / self.places[1]
            self.recorder.add(float(self.time), self.A, (0.0, learner.lam, learner.sigma), means, usage)
            self.sums[:], self.usage[:], self.places[1] = 0.0, 0.0, 0

    def state(self) -> dict[str, Any]:
        """Return the arrays that hold the state."""
        return {name: getattr(self, name) for name in ("A", "s", "sums", "usage", "mean_A", "places")}

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        super().restore(arrays)
        if not 0 <= self.time <= self.total:
            raise ValueError("places")


def ssc_learner(*, temperature: float = 0.0, **settings: Any) -> Learner:
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
    return Learner(pi=1.0, temperature=temperature, normalise=True, **settings)
