r"""The learner: inference and learning run at once, with inputs that switch and time constants that differ.

.. math::
    \tau\,du_i &= -\mathrm{sign}(u_i)\,[\,\theta(|u_i|-u_0)\,e_i + \lambda\,]\,dt + \sqrt{2T\tau}\,dW_i, \qquad
    e = A^T (A s - x)/\sigma^2 \\
    \tau_A\,\dot A &= -(A s - x)\,s^T/\sigma^2 \\
    \tau_{u_0}\,\dot u_0 &= \textstyle\sum_i e_i\,1(s_i > 0) \\
    \tau_\lambda\,\dot\lambda &= \textstyle\sum_{i\,\mathrm{active}} (1/\lambda - |s_i|), \qquad
    u_0 = -\log(\pi)/\lambda\ \text{following} \\
    \tau_\sigma\,\dot\sigma &= |x - A s|^2/D - \sigma^2

Fang et al. 2022, doi:10.1162/neco_a_01505, eqs. (2.9), (2.10), (2.29), (3.9)-(3.13), with what their print lacks: the
1/sigma^2 of (2.8), (3.9), (3.11) and (3.13), and the sign of u on the likelihood's force. For signed codes, s is the soft
threshold of u, the force has no such sign, and 1(s > 0) is sign(s). Averaged over the posterior, the first three
slow rules are the gradient of log p(x), and the fourth is sigma^3/D times it. (2.10) is the gradient at fixed u0, along
which pi changes with lam; here pi is held, and only active latents tell of lam. Means are over a batch of inputs.

A step is Euler-Maruyama's, with ideal thresholds. With a memory half of its noise comes before the force and half after it, and
codes are read between: then means over codes are of second order in the step where the force is smooth (Leimkuhler and Matthews
2013, doi:10.1093/amrx/abs010). Nothing is accumulated, and nothing waits: a slow variable averages because it is slow.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_number, plain
from circuitlsc.io.progress import Progress
from circuitlsc.io.report import Report
from circuitlsc.io.shown import Shown, counted
from circuitlsc.learning.checkpoint import Resumable, run_to_end
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.kernel import LAM, SIGMA, Rates, Real, advance, fill, workspace
from circuitlsc.learning.large_inputs import LargeInputsWarning, concern, first_inputs
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.memory import FewVisitsWarning
from circuitlsc.learning.settings import SlowSettings
from circuitlsc.learning.source import checked_batch
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.learning.threads import Threads, thread_choice

LEARNABLE = tuple(TIME_CONSTANTS)
_DEVIATES = 2**17  # drawn at once: they stay in the cache
_LAST = 0.75  # where the average begins, as a share of the run


@dataclass(frozen=True, eq=False)
class LearningRun(Shown):
    """The result of `Learner.run`.

    Attributes
    ----------
    learned : Learned
        The parameters: averages over the last quarter, and final.
    history : xarray.Dataset
        Against ``time`` (in tau): pi, lam, sigma, u0, ``error`` (abs(x - A s)^2 / D), ``activity``, ``size``, and for each
        latent ``norm`` and ``usage``; ``A`` at a few snapshots. `save_history` writes it.
    u : array, shape (batch, K)
        Auxiliary variables at the end, in model units; with a memory (N, K), of all the inputs.
    """

    learned: Learned
    history: xr.Dataset
    u: Array

    def _line(self) -> str:
        return f"{self.learned!r}, {counted(self.history.sizes['time'], 'record')}"

    def _shows(self) -> Report:
        return self.learned._shows()


@dataclass(frozen=True, eq=False, kw_only=True)
class Learner(SlowSettings):
    r"""Learns a dictionary, and the parameters of prior and noise, by Langevin dynamics.

    Parameters
    ----------
    A0 : array, shape (D, K)
        Dictionary to start from, in data units per model unit: `random_weights`, or one that is kept.
    pi, lam, sigma : float
        P(active), rate of the slab, 1/(model unit), and noise level, data units, to start from. pi = 1 is the Laplace
        (or exponential) prior: u0 = 0.
    source : Source, SparseCodingModel or array
        Where inputs come from: `Rows`, `FromModel`, `Patches`, or anything with their methods; a model or an array
        (n_rows, D) will do.
    stages : sequence of Stage
        One after the other.
    seed : int
        Of inputs, noise and the start of u; >= 0.
    learn : tuple of str
        Which of "A", "pi", "lam", "sigma" move; the others are held.
    signed : bool
        Whether codes may be negative.
    memory : Memory, int or None
        How many inputs are remembered: when one returns, its u goes on where it was. None: each batch is new, and starts
        from the codes of the last one. See `circuitlsc.learning.memory`.
    batch : int
        Inputs shown at once, each with its own u; slow variables follow the mean.
    temperature : float
        T; 1 samples the posterior, 0 descends to the minimum of the energy (SSC, section 2.3).
    normalise : bool
        Scale atoms to norm 1 after every step (2.15): SSC needs it, sampling does not.
    dtype : str
        "float32" or "float64", for u; slow variables are float64 always.
    records, snapshots : int
        How many records of the history, and copies of A, there are about.

    Raises
    ------
    InputError
        If a value is out of range, if A and lam are to be learned together, or if a time constant is missing.

    Notes
    -----
    A and lam have no value of their own without normalisation: (c A, c lam) has the likelihood of (A, lam) for
    every c > 0, with s/c for s. The step's bias and that of the switch are stated in `Stage`: halve the step and
    double the hold to see them.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> given = {"A0": 0.8 * model.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": model, "seed": 1}
    >>> stage = Stage(duration=200.0, step=0.05, hold=10.0, tau_A=100.0)
    >>> Learner(**given, stages=[stage], batch=10).run().learned
    Learned(4 features, 4 latents, pi=0.3, lam=1, sigma=0.5)
    """

    stages: Sequence[Stage]
    batch: int = 100
    temperature: float = 1.0
    normalise: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        self._check(positive=("pi", "lam", "sigma"), flags=("normalise",), batch=1)
        self._remember(self.batch)
        if self.pi > 1:
            raise InputError(f"Learner: pi = {self.pi!r}, but P(active) must lie in (0, 1]. Give 0 < pi <= 1.")
        if not (is_number(self.temperature) and math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"Learner: temperature = {self.temperature!r} cannot be used. Give a number >= 0.")
        if self.dtype not in ("float32", "float64"):
            raise InputError(f'Learner: dtype = {self.dtype!r} is unknown. Give "float32" or "float64".')
        listed = isinstance(self.stages, (list, tuple))
        if not listed or not self.stages or not all(isinstance(stage, Stage) for stage in self.stages):
            raise InputError(f"Learner: stages = {self.stages!r}. Give a sequence of at least one Stage.")
        self._check_learn(self.stages)
        if {"A", "lam"} <= set(self.learn) and not self.normalise:
            raise InputError(
                f"Learner: learn = {self.learn!r} has no answer: (c A, c lam) is as likely as (A, lam) for every c > 0. "
                "Hold lam (it sets the unit of s), or hold A, or give normalise = True."
            )
        if self.normalise and not np.linalg.norm(self.A0, axis=0).all():
            raise InputError(
                "Learner: normalise = True, but A0 has an atom of norm 0, which has no direction. Give another start."
            )
        self._keep(temperature=plain(self.temperature), stages=tuple(self.stages))

    @property
    def concern(self) -> str | None:
        """What is wrong with the last stage for inputs as large as the first ones, in one line; None if nothing is."""
        inputs = first_inputs(np.asarray(self.A0), self._source, self.seed)
        return concern(*inputs, self.lam, self.sigma, self.stages[-1], switches=self.remembered is None)

    @property
    def few_visits(self) -> str | None:
        """What is wrong with how often each input of a memory is on, in one line; None if nothing is."""
        return self._few(self.stages, self.batch)

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        return {**super().settings(), "learn": sorted(self.learn), "stages": [asdict(stage) for stage in self.stages]}

    def run(
        self,
        *,
        progress: Progress = None,
        checkpoint: Path | str | None = None,
        every: float = 60.0,
    ) -> LearningRun:
        """Learn.

        Parameters
        ----------
        progress : bool, callable or None
            True shows a bar with the time left, False none, and None one in a Jupyter notebook only. A callable is called as
            ``progress(done, total)``, times in tau, about ten times a second.
        checkpoint : path, optional
            File to go on from if it exists, and to write to: every so often, at Ctrl-C and at the end. A run that
            was interrupted, and then run again with the same settings, has the result of one that was not, to the
            last bit.
        every : float
            Seconds between checkpoints; 0 writes one after every piece of work. It does not change the result.

        Returns
        -------
        LearningRun

        Raises
        ------
        InputError
            If the checkpoint is of other settings or no checkpoint, or if learning diverges.
        KeyboardInterrupt
            At Ctrl-C, after the checkpoint is written.

        Warns
        -----
        LargeInputsWarning
            If inputs are so large that the step jumps over gates, or that learning right after a switch drags what is learned.
        FewVisitsWarning
            If the inputs of a memory are visited too rarely.
        """
        settings = self.settings()
        if self.learn and (said := self.concern):
            warnings.warn(f"Learner: {said}", LargeInputsWarning, stacklevel=2)
        if self.learn and (said := self.few_visits):
            warnings.warn(f"Learner: {said}", FewVisitsWarning, stacklevel=2)
        with thread_choice() as threads:
            run = Run(self, threads)
            run_to_end(run, settings, checkpoint=checkpoint, every=every, progress=progress, unit="tau", told_every=0.1)
        return LearningRun(run.learned(settings), run.recorder.dataset(settings), np.array(run.u, dtype=float))


class Run(Resumable):
    """The state of a run. What it does between two calls of `advance` depends on the learner alone."""

    def __init__(self, learner: Learner, threads: Threads) -> None:
        A0 = np.asarray(learner.A0, dtype=float)
        if learner.normalise:
            A0 = A0 / np.linalg.norm(A0, axis=0)
        n, K = learner.batch, A0.shape[1]
        u0, real = -math.log(learner.pi) / learner.lam, np.dtype(learner.dtype)
        self._learner, self._threads, self._stages = learner, threads, tuple(learner.stages)
        self._set = learner.remembered
        size = n if self._set is None else len(self._set.X)
        #: what each input's states start from, and with a memory go on from: those that are shown are in the workspace
        self._kept: Real = (
            np.random.default_rng([learner.seed, 3]).laplace(0.0, 1.0 / learner.lam, (size, K)).astype(real)
        )
        self._shown = np.arange(n)
        self.w = workspace(self._kept[:n], A0, np.array([u0, learner.lam, learner.sigma]))
        self.rng = np.random.Generator(np.random.SFC64([learner.seed, 0]))
        self.place = np.zeros(2, int)  # stage, and step in it
        self._noise: Real = np.empty((max(1, _DEVIATES // (n * K)), n, K), real)
        self._batch: tuple[int, Real] | None = None
        self._starts: Array = np.cumsum([0.0, *(stage.duration for stage in self._stages)])
        self.total = float(self._starts[-1])
        self._average_from = max(_LAST * self.total, float(self._starts[-2]))
        self._interval = self.total / learner.records
        self.recorder = Recorder(A0, np.linspace(0.0, self.total, learner.snapshots))
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
        learner, learn = self._learner, self._learner.learn if learning else ()
        A, u0, lam, sigma = (stage.rate(what) if what in learn else 0.0 for what in TIME_CONSTANTS)
        temperature = float(learner.temperature)
        return Rates(
            float(stage.step), temperature, A, u0, lam, sigma, learner.signed, learner.normalise, self._set is not None
        )

    def _inputs(self, stage: Stage) -> Real:
        """Return the inputs that are shown now, shape (n, D)."""
        index = sum(earlier.n_inputs for earlier in self._stages[: self.stage]) + self.step // stage.hold_steps
        if self._batch is None or self._batch[0] != index:
            learner, real = self._learner, self.w.u.dtype
            self._batch = index, checked_batch(learner._source, index, learner.batch, learner.seed, real)
            if self._set is not None:
                u = self.u
                self._shown = self._set.visit(index, learner.batch, learner.seed)
                self.w.u[...] = u[self._shown]
        return self._batch[1]

    @property
    def u(self) -> Real:
        """The states of what is shown, (n, K), or of every input that is remembered, (N, K)."""
        self._kept[self._shown] = self.w.u
        return self._kept

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
        state = {"u": self.u, **{name: getattr(self.w, name) for name in ("A", "slow", "sums", "usage")}}
        averages = {"sum_A": self.sum_A, "average_sums": self.sums, "averaged": self.averaged}
        return {**state, **averages, "generator": self._generator["state"]["state"], "place": self.place}

    @property
    def _generator(self) -> Any:
        """The generator's state, as NumPy has it."""
        return self.rng.bit_generator.state

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        super().restore(arrays)
        self.w.u[...] = self._kept[self._shown]
        self.w.working[...] = self.w.A
        self.rng.bit_generator.state = self._generator | {"state": {"state": arrays["generator"]}}
        if not 0 <= self.stage <= len(self._stages) or not 0 <= self.step < max(s.n_steps for s in self._stages):
            raise ValueError("place")
