r"""Inputs that are large beside slab and noise: what they ask of a step, and of the time after a switch.

At a gate the likelihood's force is about :math:`e = |a^T x|/\sigma^2`, and a step of h moves u by h e there: where that
is no small part of the slab 1/lam, Euler's rule jumps over the gate, and latents that should be active are not. After a
switch u travels about :math:`|a^T x|/|a|^2`; the threshold follows on the way, further in one direction than in the
other, because it ends at 0.
"""

from __future__ import annotations

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.learning.memory import Remembered
from circuitlsc.learning.source import Source
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage

JUMP = 0.5  # slabs that a step may move u at a gate
WRONG = 2.0  # times that, from which on the result is not to be believed
DRAG = 0.5  # slabs that a switch may move the threshold
LOOKED_AT = 100  # inputs


class LargeInputsWarning(UserWarning):
    """Inputs are too large for the step, or for learning right after a switch."""


def first_inputs(A: Array, source: Source, seed: int) -> tuple[Array, Array]:
    """Return a dictionary and the first inputs (n, D); a 0 of each if they cannot be used, which the learner says."""
    if A.ndim == 2 and source.n_features == len(A) and np.isfinite(A).all():
        X = source.X[:LOOKED_AT] if isinstance(source, Remembered) else np.asarray(source.batch(0, LOOKED_AT, seed))
        if X.ndim == 2 and X.shape[1] == len(A) and np.isfinite(X).all():
            return A, X
    return np.zeros((1, 1)), np.zeros((1, 1))


def longest_step(A: Array, X: Array, lam: float, sigma: float) -> float:
    """Return the longest step for inputs X (n, D), in units of tau: half of them ask for no shorter one."""
    drive = float(np.median(np.abs(X @ A).max(axis=1)))
    return JUMP * sigma**2 / (lam * drive) if drive > 0 else float("inf")


def concern(A: Array, X: Array, lam: float, sigma: float, stage: Stage, *, switches: bool = True) -> str | None:
    """Return what is wrong with a stage for inputs X (n, D), in one line, or None; ``switches``: a switch finds stale codes."""
    longest = longest_step(A, X, lam, sigma)
    times = [tau for name in TIME_CONSTANTS.values() if (tau := getattr(stage, name))]
    moved = max((drag(A, X, lam, tau) for tau in times), default=0.0)
    said, give = [], []
    if stage.step > WRONG * longest:
        said.append(
            f"a step of {stage.step:g} tau moves u by {JUMP * stage.step / longest:.3g} slabs at a gate ({JUMP:g} is good)"
        )
        give.append(f"step <= {longest:.2g}")
    if switches and moved > DRAG and stage.pause == 0:
        said.append(f"a switch moves what is learned by {moved:.3g} slabs ({DRAG:g} is good)")
        give.append(f"pause = {stage.hold / 2:g}")
    if not said:
        return None
    why, advice = ", and ".join(said), ", ".join(give)
    return f"inputs are large beside sigma and the slab: {why}. Give {advice}, or another unit of x and A."


def drag(A: Array, X: Array, lam: float, tau: float) -> float:
    """Return how far a switch moves a threshold of time constant tau, in slabs."""
    norms = np.maximum(np.einsum("di,di->i", A, A), np.finfo(float).tiny)
    return float(np.median((np.abs(X @ A) / norms).max(axis=1))) * lam / tau
