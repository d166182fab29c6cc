"""A circuit against the NumPy trapezoid on the same noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from circuitlsc.circuit.graph import Twin
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.stream import grid_rows
from circuitlsc.reference.pathwise import Opening, TrapezoidFailed, broken_trapezoid, trapezoid
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.ngspice.noise import task_paths
from circuitlsc.simulator.task import ChainTask

CUTS = 12  # how often a memory's twin may cut the step of a switch
SHOWN = 1000  # samples of the twin that are kept for a figure


@dataclass(frozen=True, eq=False)
class PathDifference:
    """Circuit against the NumPy trapezoid on the same noise.

    Attributes
    ----------
    max_abs, rms, median : float
        Of the absolute difference, over every chain, latent and kept sample, in model units.
    time : float
        Length compared, in units of tau per chain.
    twin : array, shape (n_draws, n_latents)
        The trapezoid's u (or s) of the first chain at its first kept samples (for a figure), in model units.
    """

    max_abs: float
    rms: float
    time: float
    twin: Array
    median: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """Return the numbers."""
        return {"max_abs": self.max_abs, "rms": self.rms, "time": self.time, "median": self.median}


def same_noise(
    sampler: Sampler, samples: Samples, n_steps: int, name: str = "u", opening: Opening | None = None
) -> tuple[Array, Array]:
    """Return the circuit's states u and the twin's on the same noise, each (chain, draw, n_latents), for the first steps.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
        A run of it.
    n_steps : int
        How far to integrate; capped at the run's length, or, of a memory, at that of its first visits.
    name : str
        Letter of the vector that is wanted: one of states, or of what is observed beside them.
    opening : Opening or None
        How the simulator cut the first step of a chunk, if it was not ngspice.

    Raises
    ------
    InputError
        If the circuit has no such vector.
    """
    seen = (sampler.graph.neurons, *sampler.observed)
    letters = {**dict.fromkeys(sampler.twin.vectors), **dict.fromkeys(cell.letter for cell in seen)}
    if samples.remembered:
        letters = {"u": None}  # the weights are not kept
    if name not in letters:
        raise InputError(f"same_noise: name = {name!r} is not one of {', '.join(letters)}.")
    attrs, step, run = samples.attrs, sampler.plan.step, samples.run_plan()
    task = sampler.tasks(run)[0]
    chains, twin = samples.chains, sampler.twin
    end = samples.first_visits[0][-1] if samples.remembered else samples.times(samples.n_draws - 1, samples.n_draws)[0]
    n_steps = min(max(n_steps, task.n_warmup + 4 * task.thin), int(np.rint(end / step)))
    order: Any = sampler.visits(run).sequence if samples.remembered else slice(None)
    inputs = {
        cell.name: grid_rows(cell.stream.rows[order], task.steps_per_row, 0, n_steps, cell.stream.interpolate)
        for cell in sampler.graph.inputs_from_outside
        if cell.stream is not None
    }

    def path(chain: int) -> Array:
        if not task.sources:
            return np.zeros((n_steps, twin.size))
        increments = shaped(
            sampler, task_paths(replace(task, chain=chain)).increments(n_steps), step, int(attrs["chunk"])
        )
        return twin.spread(increments, {name: rows[1:] for name, rows in inputs.items()})

    increments = np.stack([path(c) for c in chains], axis=1)
    start = twin.full_state(sampler.starts(max(chains) + 1, int(attrs["seed"]))[chains])
    every = sampler.restart
    restarts = None if every is None else _restarts(samples, task, n_steps, twin, every)
    given: dict[str, Any] = {"chunk": int(attrs["chunk"]), "inputs": inputs or None}
    if samples.remembered:
        given |= {"tries": CUTS, "simulator": True}  # at a switch the gradient at the gates is large
    solve: Any = partial(trapezoid, restarts=restarts, opening=opening)
    if sampler.loop == "broken":
        solve = partial(broken_trapezoid, sampler.graph)
    z = solve(twin, start, increments, step, **given)
    which = task.kept(0, n_steps)
    z = z[which].transpose(1, 0, 2)
    if name in twin.vectors:
        kept = z[..., twin.vectors[name]]
    else:
        kept = _read(sampler, z, {key: rows[1:][which] for key, rows in inputs.items()}, name)
    if samples.remembered:
        return samples.first_visits[1][:, : kept.shape[1]], kept
    circuit = samples.draws(name).read(0, kept.shape[1])
    if restarts:
        kept[:, 0] = circuit[:, 0]  # where the twin starts: before it the warmup has no restarts
    return circuit, kept


def shaped(sampler: Sampler, increments: Array, step: float, chunk: int) -> Array:
    """Return increments (n_steps, n_sources) as each noise cell shapes its own."""
    out, first = np.array(increments), 0
    for noise in sampler.graph.noises:
        own = slice(first, first + len(noise.sources))
        out[:, own] = noise.shaped(increments[:, own], sampler.scaling, step, chunk)
        first = own.stop
    return out


def _read(sampler: Sampler, z: Array, inputs: Mapping[str, Array], name: str) -> Array:
    """Return what the twin reads from states z (chain, draw, size): a vector that is observed, by its letter."""
    signals = sampler.twin.signals(z, inputs or None)
    values = {cell.letter: signals[cell.name] for cell in (sampler.graph.neurons, *sampler.observed)}
    values["s"] = sampler.code(values)
    return np.broadcast_to(values[name], (*z.shape[:2], values[name].shape[-1]))


def _restarts(samples: Samples, task: ChainTask, n_steps: int, twin: Twin, tau: float) -> dict[int, Array]:
    """Return the circuit's own states every ``tau``.

    Where two paths on the same noise part as exp(t), their difference over a long time says nothing about the circuit,
    that over a short time says all.
    """
    steps = np.flatnonzero(task.kept(0, n_steps)) + 1
    z = np.concatenate([samples.draws(name).read(0, len(steps)) for name in twin.vectors], axis=-1)
    every = max(1, round(tau / (task.thin * task.step)))
    return {int(k): z[:, i] for i, k in enumerate(steps) if i % every == 0}


def path_difference(
    sampler: Sampler, samples: Samples, n_steps: int, name: str = "u", opening: Opening | None = None
) -> PathDifference:
    """Integrate the twin on the run's noise and measure the difference; arguments as for `same_noise`."""
    circuit, twin = same_noise(sampler, samples, n_steps, name, opening)
    size = np.abs(circuit - twin)
    last = circuit.shape[1] - 1
    time = float((samples.first_visits[0][last:] if samples.remembered else samples.times(last, last + 1))[0])
    rms = float(np.sqrt(np.mean(size**2)))
    return PathDifference(float(size.max()), rms, time, twin[0, :SHOWN], float(np.median(size)))


def try_path(
    sampler: Sampler, samples: Samples, n_steps: int, name: str = "u"
) -> tuple[PathDifference | None, str | None]:
    """Return the difference, over fewer steps for more than 16 latents; or why there is none: no solution was found."""
    try:
        return path_difference(sampler, samples, int(n_steps * min(1.0, 16 / sampler.model.n_latents)), name), None
    except TrapezoidFailed as error:
        return None, str(error)
