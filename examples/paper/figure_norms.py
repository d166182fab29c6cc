"""Figure 8 of Fang et al. 2022, section 4.3, as numbers: the norms of an overcomplete dictionary of patches with pi held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.stage import Stage
from circuitlsc.learning.start import overcomplete, random_weights
from examples.paper.figure_patches import (
    BATCH,
    EFFORT,
    LAM,
    SIDE,
    SIGMA,
    STILL,
    PatchJob,
    PatchRun,
    patch_runs,
    source_name,
)
from examples.paper.figure_runs import Effort, Note, plain

PI, OMEGA = 0.5, 4.0
# A follows its inputs within tau_A sigma^2/E[s^2] = tau_A/4. In the first stage that is 7 batches, whose noise lets norms
# forget where they started (the split start shows it); the second one, over 25 batches, shows what they tend to.
STAGES = (
    Stage(duration=12_000.0, step=0.02, hold=5.0, tau_A=150.0),
    Stage(duration=3000.0, step=0.01, hold=20.0, tau_A=2000.0),
)
SHORT = 0.1  # of the others' length: every other atom of the split start


@dataclass(frozen=True, eq=False)
class Figure8Data:
    """Norms of an overcomplete dictionary with pi held.

    Attributes
    ----------
    side, pi, lam, sigma, batch
        Of patches and learner.
    source : str
        Whose pictures.
    stages : tuple of Stage
    runs : tuple of PatchRun
        From random weights, one for each seed.
    split : PatchRun
        From random weights of which every other one is a tenth as long: do these stay short?
    """

    side: int
    pi: float
    lam: float
    sigma: float
    batch: int
    source: str
    stages: tuple[Stage, ...]
    runs: tuple[PatchRun, ...]
    split: PatchRun

    def converged(self) -> bool | None:
        """Return whether no mean norm moves by 1 % or more per 1,000 tau at the end; None if too short to tell."""
        last = [run.norm_change[-1] for run in (*self.runs, self.split) if len(run.norm_change)]
        return bool(np.all(np.abs(last) < STILL)) if len(last) == len(self.runs) + 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready; "used" is longer than a quarter of the longest."""
        summaries = {"summaries": [run.summary() for run in self.runs], "summary_of_split": self.split.summary()}
        return {**plain(self), **plain(summaries), "converged": self.converged()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Figure8Data:
        """Take back what `to_dict` returned."""
        numbers = {name: data[name] for name in ("side", "pi", "lam", "sigma", "batch", "source")}
        runs = tuple(PatchRun.from_dict(run) for run in data["runs"])
        stages = tuple(Stage(**stage) for stage in data["stages"])
        return cls(**numbers, stages=stages, runs=runs, split=PatchRun.from_dict(data["split"]))


def figure8_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    pictures: Sequence[Array] | None = None,
    side: int = SIDE,
    omega: float = OMEGA,
    workers: int = 1,
    note: Note | None = None,
) -> Figure8Data:
    """Learn an overcomplete dictionary of patches with pi = 0.5 held; ``pictures`` are not yet whitened."""
    effort = effort or EFFORT
    stages = effort.stages(STAGES)
    K = overcomplete(side**2, omega)
    # of both signs, as patches are: nonnegative ones would be parallel, and diverge where half of the latents are active
    jobs = [
        PatchJob(omega, seed + k, random_weights(side**2, K, seed + k, signed=True), stages)
        for k in range(effort.seeds)
    ]
    shorter = np.where(np.arange(K) % 2, SHORT, 1.0)
    split = PatchJob(omega, seed, jobs[0].A0 * shorter, stages, name=", half of it short")
    runs = patch_runs(
        [*jobs, split],
        effort,
        pi=PI,
        learn=("A",),
        seed=seed,
        pictures=pictures,
        side=side,
        workers=workers,
        note=note,
        each_norm=True,
    )
    return Figure8Data(side, PI, LAM, SIGMA, BATCH, source_name(pictures), stages, runs[:-1], runs[-1])
