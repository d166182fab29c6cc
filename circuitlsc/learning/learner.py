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

A step is Euler-Maruyama's, with ideal thresholds. Nothing is accumulated, and nothing waits: a slow variable averages
because it is slow.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_number, plain
from circuitlsc.learning.checkpoint import run_to_end
from circuitlsc.learning.large_inputs import LargeInputsWarning, concern, first_inputs
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.run import LearnerSettings, Run
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.learning.threads import thread_choice

LEARNABLE = tuple(TIME_CONSTANTS)


@dataclass(frozen=True, eq=False)
class LearningRun:
    """The result of `Learner.run`.

    Attributes
    ----------
    learned : Learned
        The parameters: averages over the last quarter, and final.
    history : xarray.Dataset
        Against ``time`` (in tau): pi, lam, sigma, u0, ``error`` (abs(x - A s)^2 / D), ``activity``, ``size``, and for each
        latent ``norm`` and ``usage``; ``A`` at a few snapshots. `save_history` writes it.
    u : array, shape (batch, K)
        Auxiliary variables at the end, in model units.
    """

    learned: Learned
    history: xr.Dataset
    u: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Learner(LearnerSettings):
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
    """

    def __post_init__(self) -> None:
        self._check(positive=("pi", "lam", "sigma"), flags=("normalise",), batch=1)
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
        return concern(
            *first_inputs(np.asarray(self.A0), self._source, self.seed), self.lam, self.sigma, self.stages[-1]
        )

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        return {**super().settings(), "learn": sorted(self.learn), "stages": [asdict(stage) for stage in self.stages]}

    def run(
        self,
        *,
        progress: Callable[[float, float], None] | None = None,
        checkpoint: Path | str | None = None,
        every: float = 60.0,
    ) -> LearningRun:
        """Learn.

        Parameters
        ----------
        progress : callable, optional
            Called as ``progress(done, total)``, times in tau, about ten times a second.
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
        """
        settings = self.settings()
        if self.learn and (said := self.concern):
            warnings.warn(f"Learner: {said}", LargeInputsWarning, stacklevel=2)
        with thread_choice() as threads:
            run = Run(self, threads)
            run_to_end(run, settings, checkpoint=checkpoint, every=every, progress=progress, told_every=0.1)
        return LearningRun(run.learned(settings), run.recorder.dataset(settings), np.array(run.w.u, dtype=float))
