"""Simulation-based calibration of a circuit: inputs drawn from the model, streamed through one transient, true codes ranked."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, is_positive
from circuitlsc.io.report import Report
from circuitlsc.io.shown import Shown
from circuitlsc.model.dynamics import LANGEVIN, Dynamics, as_dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import law_of
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.batch import CircuitRun, run_circuits
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.studies.frame import as_sampling
from circuitlsc.validation.calibration import Calibration, calibrate, calibrate_law, calibration_report, draw_inputs

INPUTS, DRAWS, SPACING, WARMUP = 300, 19, 5.0, 10.0
REMEMBERED, HOLD = 8, 1.0  # inputs of a memory, and how long each is on at a time if nothing else is given
_MACHINE = ("workers", "executor", "timeout", "progress", "keep", "store")


@dataclass(frozen=True, eq=False)
class CalibrationPlan(Shown):
    """A calibration before it runs: codes, the circuit with its inputs, and how long each is on.

    Attributes
    ----------
    model : SparseCodingModel
        What codes and inputs were drawn from.
    s_true : array, shape (n_inputs, n_latents)
        Codes drawn from the prior, in model units.
    sampler : Sampler
        The circuit; its ``x`` are the inputs.
    run : RunPlan
    """

    model: SparseCodingModel
    s_true: Array
    sampler: Sampler
    run: RunPlan

    def _line(self) -> str:
        return f"{len(self.s_true)} inputs, {self.sampler!r}"

    def measure(self, **machine: Any) -> CircuitCalibration:
        """Run the circuit and rank the codes; ``workers``, ``executor``, ``timeout``, ... as for `Sampler.run`."""
        samples = self.sampler.run(self.run, **machine)
        codes = samples.by_row("s")[0]
        return self._ranked(codes if self.sampler.sizes is None else self.sampler.silicon.sparse(codes), samples)

    def _ranked(self, codes: Array, samples: Samples | None) -> CircuitCalibration:
        """Rank the true codes among those of the circuit, (n_inputs, n_draws, n_latents)."""
        rng, drawn = np.random.default_rng([self.run.seed, 3]), (self.x, codes)
        if self.sampler.encoder is None:
            result = calibrate(self.model, self.s_true, *drawn, rng=rng)
        else:
            law = law_of(self.model, *self.sampler.encoder.heads(self.sampler.x))
            s_law = law.draw(1, np.random.default_rng([self.run.seed, 11]))[0]
            result = calibrate_law(self.model, self.s_true, s_law, *drawn, rng=rng)
        plan = {f.name: getattr(self, f.name) for f in fields(CalibrationPlan)}
        return CircuitCalibration(**plan, result=result, samples=samples, codes=codes)

    @property
    def x(self) -> Array:
        """All inputs, (n_inputs, n_features)."""
        return self.sampler.x


@dataclass(frozen=True, eq=False)
class MemoriesPlan(CalibrationPlan):
    """A calibration of memories of a few inputs each: ``sampler`` and ``run`` are those of the first one.

    Attributes
    ----------
    memories : tuple of CircuitRun
    draws, every : int
        How many draws of each input are ranked, and how many of its own lie between two of these.
    """

    memories: tuple[CircuitRun, ...]
    draws: int
    every: int

    @property
    def x(self) -> Array:
        """All inputs, (n_inputs, n_features)."""
        return np.concatenate([run.sampler.x for run in self.memories])

    def measure(self, *, keep: Any = None, **machine: Any) -> CircuitCalibration:
        """Run every memory and rank the codes; ``keep`` is of no use here."""
        done = run_circuits(self.memories, **machine)
        kept = slice(self.every - 1, self.every * self.draws, self.every)
        return self._ranked(np.concatenate([done[run.name].by_row("s")[0, :, kept] for run in self.memories]), None)


@dataclass(frozen=True, eq=False)
class CircuitCalibration(CalibrationPlan):
    """A calibration that has run; ``samples`` are those of one circuit, ``codes`` (n_inputs, n_draws, n_latents) of all."""

    result: Calibration
    samples: Samples | None
    codes: Array

    def _line(self) -> str:
        return self.result._line()

    def _shows(self) -> Report:
        return calibration_report(self.result)


def calibrate_circuit(model: SparseCodingModel, **options: Any) -> CircuitCalibration:
    """Draw codes and inputs from a model, run the circuit on all inputs, and rank the true codes among its samples.

    Talts et al. (2018), arXiv:1804.06788: if the circuit samples the posterior, each rank is uniform. No reference sampler
    is needed. A variational circuit does not: it is judged by the ranks of a draw of its law for each input, and those of
    the true codes say how the law is biased (`circuitlsc.validation.calibration.calibrate_law`).

    Parameters
    ----------
    model : SparseCodingModel
    **options
        ``workers``, ``executor``, ``timeout``, ``progress``, ``keep``, ``store`` as for `Sampler.run`; all others as for
        `plan_calibration`.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> calibrate_circuit(model, inputs=10, draws=15, seed=1).codes.shape
    (10, 15, 4)
    """
    machine = {name: options.pop(name) for name in _MACHINE if name in options}
    return plan_calibration(model, **options).measure(**machine)


def plan_calibration(
    model: SparseCodingModel,
    *,
    inputs: int = INPUTS,
    draws: int = DRAWS,
    spacing: float = SPACING,
    warmup: float = WARMUP,
    seed: int = 0,
    built: SparseCodingModel | None = None,
    dynamics: Dynamics | str = LANGEVIN,
    step: float | None = None,
    **circuit: Any,
) -> CalibrationPlan:
    """Draw codes and inputs from a model, and build the circuit that gets the inputs one after the other.

    Parameters
    ----------
    model : SparseCodingModel
        What codes and inputs are drawn from: at temperature T the model of exp(-E/T).
    inputs, draws : int
        How many inputs, and how many samples are kept of each.
    spacing, warmup : float
        Time between kept samples, and time after each change of the input before the first; in units of tau. Of memories,
        both are of the time in which an input is on.
    seed : int
        Of codes, inputs and noise.
    built : SparseCodingModel or None
        What the circuit is built from, if that is another model (a wrong one must be found out).
    dynamics : Dynamics or str
        ``"langevin"``, ``"underdamped"``, ``"amortised"`` (memories of at most 8 inputs each) or ``"variational"``.
    step : float or None
        Longest step, in units of tau; the spacing is a multiple of what is used.
    **circuit
        Further arguments of `build_sampler`; of memories ``hold``, too (1 tau).

    Raises
    ------
    InputError
        If a number is out of range, or the circuit settles instead of sampling.
    """
    if (dynamics := as_dynamics(dynamics)).has_energy:
        dynamics = as_sampling(dynamics, "a posterior is calibrated")
    for name, count, least in (("inputs", inputs, 1), ("draws", draws, 1), ("seed", seed, 0)):
        check_count(f"calibrate: {name}", count, least)
    for name, time in (("spacing", spacing), ("warmup", warmup)):
        if not is_positive(time):
            raise InputError(f"calibrate: {name} = {time!r} is not a time in units of tau. Give a number > 0.")
    s_true, x = draw_inputs(model, inputs, np.random.default_rng([seed, 2]))
    if inputs == 1:
        raise InputError("calibrate: one input has one rank, which says nothing. Give at least 100 inputs.")
    if dynamics.remembers:
        given = {"dynamics": dynamics, "step": step, **circuit}
        times = (draws, spacing, warmup)
        return _memories(model, s_true, x, built or model, times, seed, given)
    spaces = math.ceil(warmup / spacing - 1e-9)
    given = {"dynamics": dynamics, "hold": (spaces + draws) * spacing, **circuit}
    longest = build_sampler(built or model, x, step=step, **given).plan.step
    per_draw = math.ceil(spacing / longest - 1e-9)
    sampler = build_sampler(built or model, x, step=spacing / per_draw, **given)
    assert sampler.stream is not None
    run = RunPlan(t_stop=sampler.stream.t_stop, warmup=spaces * spacing, chains=1, seed=seed, thin=per_draw)
    return CalibrationPlan(model, s_true, sampler, run)


def _memories(
    model: SparseCodingModel,
    s_true: Array,
    x: Array,
    built: SparseCodingModel,
    times: tuple[int, float, float],
    seed: int,
    circuit: dict[str, Any],
) -> MemoriesPlan:
    """Plan memories of at most `REMEMBERED` inputs each; spacing and warmup are in the time in which an input is on."""
    draws, spacing, warmup = times
    hold = circuit.pop("hold", None) or HOLD
    if circuit.pop("features", None) is not None:
        raise InputError(
            f"calibrate: dynamics.features = {circuit['dynamics'].features!r} holds features of other inputs than are drawn "
            'here. Use "one-hot", "orthogonal" or "relu:H".'
        )
    every = max(1, math.ceil(spacing / hold - 1e-9))
    runs = []
    for k, rows in enumerate(np.array_split(x, math.ceil(len(x) / REMEMBERED))):
        sampler = build_sampler(built, rows, hold=hold, **circuit)
        period = round(hold / sampler.plan.step)
        thin = min(period, math.ceil(spacing / sampler.plan.step - 1e-9))
        dropped = math.ceil(warmup / hold - 1e-9)
        cycle, cycles = len(rows) * hold, dropped + math.ceil(draws * every / (period // thin))
        plan = RunPlan(t_stop=cycles * cycle, warmup=dropped * cycle, chains=1, seed=seed + k, thin=thin)
        runs.append(CircuitRun(f"memory {k + 1}", sampler, plan))
    return MemoriesPlan(model, s_true, runs[0].sampler, runs[0].plan, tuple(runs), draws, every)
