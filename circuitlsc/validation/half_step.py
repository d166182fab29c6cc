r"""What half the step changes of the laws that a variational circuit samples, where its op-amps lag behind a stream of inputs.

Op-amps that settle within half a step are wired up as settled; slower ones keep their poles. How the heads, and with them the
laws, then follow a change of the input depends on the step: the change itself takes one, and a trapezoid rings behind poles
that are faster than it. So a piece of the run is made again at half the step, and

.. math:: d(t) = \langle s \rangle_{h/2}(t) - \langle s \rangle_h(t)

is calculated for P(active) and the mean from the heads' voltages mu, b and kappa: noise has no part in it. The change of an
input takes a step, which makes an error in proportion to it: the run's own is about 2 d. What else lags,
noise sources and what shapes their spectrum, is a linear network, whose stationary law a trapezoid keeps at any step. Of one
input nothing lags: its encoder is solved once. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from circuitlsc.circuit.cells import ShiftedThreshold
from circuitlsc.circuit.cells.op_amp import OpAmps
from circuitlsc.io.arrays import Array
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.planning.run_plan import ALLOWANCE, RunPlan
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.simulator.engine import run_chains

PIECE = 2000  # steps of the run that are made again, at least, and whole rows of x
SAFE = 0.7  # of the step that would do if the change is proportional to it


@dataclass(frozen=True)
class HalfStep:
    """How laws change at half the step.

    Attributes
    ----------
    step : float
        Of the run, in tau.
    rows : int
        How many of the first rows of x were made again.
    p_active, mean : float
        Error of the run's step, twice what half of it changes: root mean square over the rows' averages, of the latent where it
        is largest. P(active) counts 1, the mean the size of the prior's slab.
    allowed : float
        What the verdict allows to a bias.
    agrees : bool
        Whether neither is larger.
    needed : float or None
        A step that would do, in tau; None if this one does.
    """

    step: float
    rows: int
    p_active: float
    mean: float
    allowed: float
    agrees: bool
    needed: float | None

    def told(self) -> str:
        """Say what changes, and what step to give if that is too much."""
        errors = f"{self.p_active:.2g} (P(active)) and {self.mean:.2g} (mean)"
        said = f"by what half of it changes, its error in the laws of {self.rows} inputs is {errors}"
        if self.agrees:
            return f"{said}, within the {self.allowed:g} that the verdict allows"
        return (
            f"{said}, more than the {self.allowed:g} that the verdict allows: op-amps lag, and {self.step:.3g} tau do not "
            f"follow them. Give run.step = {self.needed:.2g}"
        )


def lags(sampler: Sampler) -> bool:
    """Return whether an op-amp has a pole in the circuit that chains integrate."""
    return any(isinstance(cell, OpAmps) and cell.states(sampler.scaling) for cell in sampler.integrated.cells)


def half_step(
    sampler: Sampler, run: RunPlan, *, note: Callable[[str], None] | None = None, **machine: Any
) -> HalfStep | None:
    """Make a piece of a run again at half its step, and compare the laws; None where the step cannot matter.

    Parameters
    ----------
    sampler : Sampler
    run : RunPlan
        Of the stream.
    note : callable or None
        Called with a few words before anything runs.
    **machine
        ``workers``, ``executor``, ``timeout``, ``store`` as for `Sampler.run`.
    """
    stream = sampler.stream
    if sampler.dynamics.has_energy or sampler.level != "device" or stream is None or stream.interpolate != "hold":
        return None
    half = rebuilt(sampler, halvings=sampler.halvings + 1)
    if not lags(sampler) and not lags(half):
        return None
    if note is not None:
        note("half the step")
    task = sampler.tasks(run)[0]
    rows = min(len(sampler.x), max(2, -(-PIECE // task.period)))
    laws = [
        _averages(s, replace(run, chains=1, thin=task.thin * k), rows, **machine) for s, k in ((sampler, 1), (half, 2))
    ]
    d = (laws[1] - laws[0]) / np.array([[1.0], [sampler.model.prior.slab_scale]])
    p_active, mean = map(float, 2 * np.sqrt((d**2).mean(0)).max(-1))
    agrees, step = max(p_active, mean) <= ALLOWANCE, sampler.plan.step
    needed = None if agrees else SAFE * step * ALLOWANCE / max(p_active, mean)
    return HalfStep(step, rows, p_active, mean, ALLOWANCE, agrees, needed)


def _averages(sampler: Sampler, run: RunPlan, rows: int, **machine: Any) -> Array:
    """Return P(active) and mean of the laws, averaged over the kept samples of each row, shape (rows, 2, n_latents)."""
    (threshold,) = (cell for cell in sampler.graph.cells if isinstance(cell, ShiftedThreshold))
    heads = [sampler.graph.inputs(threshold)[port] for port in ("mu", "b", "kappa")]
    observed = tuple(node for cell in heads for node in cell.nodes)
    (task,) = sampler.tasks(run)
    task = replace(sampler.observing(task, observed), n_steps=rows * task.period)
    (result,) = run_chains([task], **machine)
    mu, b, kappa = np.split(result.observed.reshape(rows, task.draws_per_row, -1), 3, axis=-1)
    law = ThresholdedLaplace(mu, b, kappa, threshold.rectified)
    return np.stack([law.p_active.mean(1), law.mean.mean(1)], axis=1)
