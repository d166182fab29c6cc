"""What a circuit has learned: from the states at the end of each input to parameters, averages and a history."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.compiled import LearningCircuit
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.learner import LearningRun

SAMPLED = {  # of software they are means over time
    "error": "|x - A s|^2 / D at the ends of inputs, mean since the last record",
    "activity": "share of active latents at the ends of inputs, mean since the last record",
    "size": "mean |s| of a latent, active or not, at the ends of inputs, mean since the last record",
    "usage": "share of inputs at whose end a latent is active",
}
LAST = 0.25  # share of the run over which the slow variables are averaged


def parameters(learner: LearningCircuit, z: Array) -> tuple[Array, Array, Array, Array]:
    """Return A (n, D, K), u0, lam and sigma (n,) of states z (n, K + slow variables)."""
    n, model, at = len(z), learner.model, learner.model.n_latents
    found: dict[str, Array] = {}
    for cell in learner.graph.integrators[1:]:
        found[cell.quantity] = z[:, at : at + cell.size]
        at += cell.size
    A = found["a"].reshape(n, *model.A.shape) if "a" in found else np.broadcast_to(model.A, (n, *model.A.shape))
    lam = found["lam"][:, 0] if "lam" in found else np.full(n, learner.lam)
    sparsity = found["logpi"][:, 0] if "logpi" in found else -np.log(learner.pi)
    u0 = found["u0"][:, 0] if "u0" in found else sparsity / lam
    sigma = found["sigma"][:, 0] if "sigma" in found else np.full(n, learner.sigma)
    return A, u0, lam, sigma


def learning_result(learner: LearningCircuit, z: Array, settings: Mapping[str, Any], spent: Array) -> LearningRun:
    """Return the result of a run from its states (n, K + slow variables) at the end of each input."""
    A, u0, lam, sigma = parameters(learner, z)
    n, k = len(z), learner.model.n_latents
    pi = np.minimum(np.exp(-lam * u0), 1.0)
    u = z[:, :k]
    size = np.maximum(np.abs(u) - u0[:, None], 0.0)
    s = size * np.sign(u) if learner.signed else size
    error = np.mean((learner.rows[:n] - np.einsum("njk,nk->nj", A, s)) ** 2, axis=1)
    ends = np.unique(np.linspace(0, n, min(learner.records, n) + 1).astype(int))
    recorder = Recorder(len(ends) - 1, learner.snapshots, *learner.model.A.shape)
    for a, b in pairwise(ends):
        means = np.array([error[a:b].mean(), (s[a:b] != 0).mean(), size[a:b].mean()])
        slow = (float(u0[b - 1]), float(lam[b - 1]), float(sigma[b - 1]))
        recorder.add(b * learner.stage.hold, A[b - 1], slow, means, (s[a:b] != 0).mean(axis=0))
    shown = np.unique(np.linspace(0, n, learner.snapshots).astype(int))
    recorder.add_snapshot(0.0, learner.model.A)
    for i in shown[1:]:
        recorder.add_snapshot(i * learner.stage.hold, A[i - 1])
    history = recorder.dataset(settings).assign_attrs(us_per_step=float(1e6 * spent[0] / spent[1]))
    for name, what in SAMPLED.items():
        history[name].attrs["long_name"] = what
    history["z"] = (("input", "state"), z, {"units": "model units", "long_name": "u, then the slow variables"})
    last = slice(n - max(1, round(LAST * n)), n)
    numbers = np.stack([pi, lam, sigma], axis=1)
    average, final = (A[last].mean(axis=0), numbers[last].mean(axis=0)), (np.array(A[-1]), numbers[-1])
    return LearningRun(Learned.of(learner, average, final, settings), history, u[-1:].copy())
