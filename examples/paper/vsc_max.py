"""The average of J draws against the best of them, in training an encoder: in kind after Fallah & Rozell 2022.

4x4 bars with a known dictionary, J = 20. What differs from the paper: the data; an encoder alone is trained; Adam in place of
SGD; and every encoder is judged by the closed-form bound of its law (the published bound, which the estimators raise, has the
divergence of the noise before its threshold). The exact gradient of that bound stands beside the estimators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.variational import VariationalLearner
from circuitlsc.model.data import bars
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import elbo, law_of
from circuitlsc.validation.calibration import draw_inputs
from examples.paper.figure_runs import Effort, Note, Progress, held_out_likelihood, plain, run_all
from examples.paper.vsc_measures import collapsed, mean_se

PI, LAM, SIGMA, SIDE = 0.3, 1.0, 0.5, 4
DRAWS, STEPS, BATCH, HIDDEN = 20, 2000, 100, (32,)
EFFORT = Effort(held_out=1000, sweeps=100)


class Way(NamedTuple):
    """A way to train: objective, reduction of its draws and kind of threshold."""

    objective: str
    reduce: str
    threshold: str

    def __str__(self) -> str:
        """Return its name in figure and report."""
        return f"exact, threshold {self.threshold}" if self.objective == "exact" else f"{self.objective}, {self.reduce}"


WAYS = (
    Way("exact", "average", "learned"),
    Way("exact", "average", "fixed"),
    Way("straight-through", "max", "fixed"),
    Way("straight-through", "average", "fixed"),
    Way("pathwise", "max", "fixed"),
    Way("pathwise", "average", "fixed"),
)


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """An encoder, and what became of it.

    Attributes
    ----------
    way : str
    seed : int
    step : array, shape (n,)
    elbo : array, shape (n,)
        Bound of held-out inputs against steps, in nats.
    final : float
        The last of them.
    active : float
        P(active), mean over latents and held-out inputs.
    usage : array, shape (K,)
        P(active) of each latent, mean over held-out inputs.
    collapsed : int
        Latents whose law is the prior.
    contrast : float
        Mean P(active) of latents that made their input, less that of the others: what the encoder knows of supports.
    """

    way: str
    seed: int
    step: Array
    elbo: Array
    final: float
    active: float
    usage: Array
    collapsed: int
    contrast: float


@dataclass(frozen=True, eq=False)
class MaxData:
    """Encoders of every way and seed; ``log_p`` is the mean of held-out log p(x) and its standard error, in nats."""

    pi: float
    lam: float
    sigma: float
    draws: int
    steps: int
    held_out: int
    log_p: tuple[float, float]
    runs: tuple[TrainedRun, ...]

    def of(self, way: Way) -> list[TrainedRun]:
        """Return the runs of a way."""
        return [run for run in self.runs if run.way == str(way)]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        return dict(plain(self))


def vsc_max_data(
    effort: Effort | None = None, *, seed: int = 0, draws: int = DRAWS, workers: int = 1, note: Note | None = None
) -> MaxData:
    """Train encoders in every way; the seeds are those of inputs, first weights and draws."""
    effort = effort or EFFORT
    model = SparseCodingModel(bars(SIDE), SpikeSlab(PI, LAM, signed=True), SIGMA)
    steps = max(2, round(STEPS * effort.time))
    S, X = draw_inputs(model, max(effort.held_out, 2), np.random.default_rng([seed, 99]))

    def one(job: tuple[Way, int], progress: Progress) -> TrainedRun:
        way, k = job
        known: dict[str, Any] = {"A0": model.A, "pi": PI, "lam": LAM, "sigma": SIGMA, "source": model, "signed": True}
        sizes: dict[str, Any] = {"hidden": HIDDEN, "draws": draws, "steps": steps, "batch": BATCH}
        learner = VariationalLearner(**known, **sizes, **way._asdict(), seed=k, records=40, held_out=len(X))
        run = learner.run(progress=progress)
        heads = run.encoder.heads(X)
        law, h = law_of(model, *heads), run.history
        P, made = law.p_active, S != 0
        return TrainedRun(
            way=str(way),
            seed=k,
            step=np.asarray(h["time"].values),
            elbo=np.asarray(h["held_out"].values),
            final=float(np.mean(elbo(model, X, *heads))),
            active=float(P.mean()),
            usage=P.mean(0),
            collapsed=int(np.sum(collapsed(law.kl(PI, LAM)))),
            contrast=float(P[made].mean() - P[~made].mean()),
        )

    jobs = [(way, seed + k) for way in WAYS for k in range(effort.seeds)]
    runs = run_all(one, jobs, lambda job: f"{job[0]}, seed {job[1]}", workers=workers, note=note)
    log_p = mean_se(held_out_likelihood(model, X, effort, seed).log_p)
    return MaxData(PI, LAM, SIGMA, draws, steps, len(X), log_p, tuple(runs))
