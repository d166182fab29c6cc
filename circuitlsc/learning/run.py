"""A run under way: its place in the stages, its state, and the pieces of work in which it moves on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.learning.checkpoint import Resumable
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.kernel import LAM, SIGMA, Rates, Real, advance, fill, workspace
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.settings import SlowSettings
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.learning.threads import Threads

_DEVIATES = 2**17  # drawn at once: they stay in the cache
_LAST = 0.75  # where the average begins, as a share of the run


@dataclass(frozen=True, eq=False, kw_only=True)
class LearnerSettings(SlowSettings):
    """What a run depends on; `circuitlsc.learning.learner.Learner` says what each field is, and checks it."""

    stages: Sequence[Stage]
    batch: int = 100
    temperature: float = 1.0
    normalise: bool = False
    dtype: str = "float32"


class Run(Resumable):
    """The state of a run. What it does between two calls of `advance` depends on the learner alone."""

    def __init__(self, learner: LearnerSettings, threads: Threads) -> None:
        A0 = np.asarray(learner.A0, dtype=float)
        if learner.normalise:
            A0 = A0 / np.linalg.norm(A0, axis=0)
        n, K = learner.batch, A0.shape[1]
        u0, real = -math.log(learner.pi) / learner.lam, np.dtype(learner.dtype)
        self._learner, self._threads, self._stages = learner, threads, tuple(learner.stages)
        u = np.random.default_rng([learner.seed, 3]).laplace(0.0, 1.0 / learner.lam, (n, K))  # the prior's
        self.w = workspace(u.astype(real), A0, np.array([u0, learner.lam, learner.sigma]))
        self.rng = np.random.Generator(np.random.SFC64([learner.seed, 0]))
        self.place = np.zeros(2, int)  # stage, and step in it
        self._noise: Real = np.empty((max(1, _DEVIATES // (n * K)), n, K), real)
        self._batch: tuple[int, Real] | None = None
        self._starts: Array = np.cumsum([0.0, *(stage.duration for stage in self._stages)])
        self.total = float(self._starts[-1])
        self._average_from = max(_LAST * self.total, float(self._starts[-2]))
        self._interval = self.total / learner.records
        self._snapshots = np.linspace(0.0, self.total, learner.snapshots)
        n_records = sum(-(-stage.n_steps // self._record_steps(stage)) for stage in self._stages)
        self.recorder = Recorder(n_records, learner.snapshots, *A0.shape)
        self.recorder.add_snapshot(0.0, A0)
        self.sum_A, self.sums, self.averaged = np.zeros_like(self.w.A), np.zeros(3), np.zeros(())

    @property
    def stage(self) -> int:
        """Number of the stage; that of stages at the end."""
        return int(self.place[0])

    @property
    def step(self) -> int:
        """Steps of the stage that are done."""
        return int(self.place[1])

    @property
    def time(self) -> float:
        """Time since the beginning, in tau."""
        into = self.step * self._stages[self.stage].step if self.step else 0.0
        return float(self._starts[self.stage]) + into

    def advance(self) -> None:
        """Do one piece of work: up to where something changes or is noted, and no more than a block of deviates."""
        stage = self._stages[self.stage]
        steps, learning = self._piece(stage)
        averaged = self.stage == len(self._stages) - 1 and self.step >= self._begins(stage)
        rates = self._rates(stage, learning)
        x, noise = self._inputs(stage), self._noise[:steps]

        def work() -> None:
            fill(self.rng, noise)
            advance(self.w, x, noise, rates)

        self._threads.run(work, steps)
        self.place[1] += steps
        self._check(stage)
        if self.step == stage.n_steps:
            self.place[:] = self.stage + 1, 0
        if averaged:
            self._average(steps * stage.step)
        if self.step % self._record_steps(stage) == 0:
            self.recorder.record(self.time, self.w)
            due = int(np.sum(self._snapshots <= self.time * (1 + 1e-9)))
            if self.recorder.snapshots < due:
                self.recorder.add_snapshot(self.time, self.w.A.T)

    def _record_steps(self, stage: Stage) -> int:
        return max(1, round(self._interval / stage.step))

    def _piece(self, stage: Stage) -> tuple[int, bool]:
        """Return the number of steps to the next event, and whether there is learning on the way."""
        into = self.step % stage.hold_steps
        learning = into >= stage.pause_steps
        until = [
            stage.n_steps - self.step,
            (stage.hold_steps if learning else stage.pause_steps) - into,
            self._record_steps(stage) - self.step % self._record_steps(stage),
            len(self._noise),
        ]
        begins = self._begins(stage)
        if begins > self.step:
            until.append(begins - self.step)
        return min(until), learning

    def _begins(self, stage: Stage) -> int:
        """Return the step of the current stage with which the average begins; there is one to average, if it is the last."""
        begins = math.ceil((self._average_from - float(self._starts[self.stage])) / stage.step - 1e-6)
        return min(begins, stage.n_steps - 1)

    def _rates(self, stage: Stage, learning: bool) -> Rates:
        learner = self._learner
        A, u0, lam, sigma = (stage.rate(what) if learning and what in learner.learn else 0.0 for what in TIME_CONSTANTS)
        temperature = float(learner.temperature)
        return Rates(float(stage.step), temperature, A, u0, lam, sigma, learner.signed, learner.normalise)

    def _inputs(self, stage: Stage) -> Real:
        """Return the inputs that are shown now, shape (n, D)."""
        index = sum(earlier.n_inputs for earlier in self._stages[: self.stage]) + self.step // stage.hold_steps
        if self._batch is None or self._batch[0] != index:
            rows = self._learner._source.batch(index, self._learner.batch, self._learner.seed)
            x = np.ascontiguousarray(rows, self.w.u.dtype)
            if x.shape != (len(self.w.u), self.w.A.shape[1]) or not np.isfinite(x).all():
                raise InputError(
                    f"source: batch {index} is no finite array of shape {(len(self.w.u), self.w.A.shape[1])} "
                    f"(shape {x.shape}). Repair the source."
                )
            self._batch = index, x
        return self._batch[1]

    def _check(self, stage: Stage) -> None:
        w = self.w
        if not (np.isfinite(w.row_sums).all() and np.isfinite(w.slow).all() and np.all(w.slow[[LAM, SIGMA]] > 0)):
            raise InputError(
                f"Learner: it diverged at {self.time:.4g} tau (u0, lam, sigma = {', '.join(f'{v:.3g}' for v in w.slow)}): "
                f"step = {stage.step!r} is too large for sigma and the atoms' norms, or a time constant is too short. "
                "Halve the step, start from shorter atoms, or raise the time constants."
            )

    def _average(self, weight: float) -> None:
        self.sum_A += weight * self.w.A
        self.sums += weight * self._numbers()
        self.averaged += weight

    def _numbers(self) -> Array:
        """Return pi, lam and sigma."""
        u0, lam, sigma = self.w.slow
        return np.array([math.exp(-lam * u0), lam, sigma])

    def learned(self, meta: Mapping[str, Any]) -> Learned:
        """Return what a finished run has learned."""
        average = self.sum_A.T / self.averaged, self.sums / self.averaged
        return Learned.of(self._learner, average, (self.w.A.T.copy(), self._numbers()), meta)

    def state(self) -> dict[str, Any]:
        """Return the arrays that hold the state."""
        state = {name: getattr(self.w, name) for name in ("u", "A", "slow", "sums", "usage")}
        averages = {"sum_A": self.sum_A, "average_sums": self.sums, "averaged": self.averaged}
        return {**state, **averages, "generator": self._generator["state"]["state"], "place": self.place}

    @property
    def _generator(self) -> Any:
        """The generator's state, as NumPy has it."""
        return self.rng.bit_generator.state

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        super().restore(arrays)
        self.w.working[...] = self.w.A
        self.rng.bit_generator.state = self._generator | {"state": {"state": arrays["generator"]}}
        if not 0 <= self.stage <= len(self._stages) or not 0 <= self.step < max(s.n_steps for s in self._stages):
            raise ValueError("place")
