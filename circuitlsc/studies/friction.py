r"""Friction: how fast a circuit with momentum mixes, beside the overdamped one.

.. math:: \frac{\mathrm{ESS}}{t} \quad\text{over}\quad \gamma

The stationary law is the same for every friction; only the time between independent samples is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.report import Note, Report, Table
from circuitlsc.io.shown import Shown, counted
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.statistics import PosteriorStatistics, floored_mcse
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.studies.frame import as_sampling, run_all, split_options
from circuitlsc.validation.judge import circuit_statistics, exact_statistics, target_of, tolerance_scale

FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of the friction that `Dynamics` chooses
MOST_KEPT = 3e5  # numbers per chain


@dataclass(frozen=True)
class FrictionRow:
    """One circuit of a sweep.

    Attributes
    ----------
    friction : float or None
        gamma; None is the overdamped circuit.
    ess_per_tau : float
        Effective samples per tau and chain, of the slowest statistic (P(active), mean or sd of any latent).
    relative : float
        Over that of the overdamped circuit.
    step : float
        In tau.
    us_per_step : float
        Wall time of ngspice.
    max_abs_z : float
        Largest abs(z) of P(active), mean and sd against the exact posterior.
    max_error : float
        Largest abs(difference) of those, P(active) in 1, mean and sd in units of ``scale``.
    bound : float
        Largest of abs(difference) - 4 MCSE: at most 0.005 if the law is the same.
    """

    friction: float | None
    ess_per_tau: float
    relative: float
    step: float
    us_per_step: float
    max_abs_z: float
    max_error: float
    bound: float


@dataclass(frozen=True)
class FrictionSweep(Shown):
    """A sweep of friction.

    Attributes
    ----------
    rows : tuple of FrictionRow
        The overdamped circuit first.
    mass : float
        In tau.
    t_stop : float
        Per chain, in tau.
    reference : str
    """

    rows: tuple[FrictionRow, ...]
    mass: float
    t_stop: float
    reference: str

    @property
    def best(self) -> FrictionRow:
        """The row of the friction that mixes fastest."""
        return max(self.rows[1:], key=lambda row: row.ess_per_tau)

    def _line(self) -> str:
        frictions, best = counted(len(self.rows) - 1, "friction"), self.best
        return f"{frictions}, {self.t_stop:g} tau each, best {best.friction:.4g}: {best.relative:.2f} times the overdamped ESS"

    def _shows(self) -> Report:
        return self.report()

    def report(self) -> Report:
        """Return a sweep of friction."""
        columns = {
            "friction": ">10.4g",
            "ESS per tau": ">12.3f",
            "relative": ">9.2f",
            "step": ">9.4f",
            "us/step": ">8.1f",
        }
        best, measured = (
            self.best,
            attrgetter("ess_per_tau", "relative", "step", "us_per_step", "max_abs_z", "max_error"),
        )
        rows = [(row.friction or "overdamped", *measured(row)) for row in self.rows]
        run = f"mass {self.mass:.4g} tau, {self.t_stop:g} tau per chain; ESS of the slowest statistic; against {self.reference}"
        found = (
            f"best friction {best.friction:.4g}: {best.relative:.2f} times the effective samples per tau of the overdamped "
            "circuit"
        )
        summary = {"best friction": best.friction, "ESS per tau": best.ess_per_tau, "relative": best.relative}
        table = Table.of({**columns, "largest |z|": ">11.2f", "largest error": ">13.4f"}, rows)
        return Report((table, Note(f"{run}\n{found}")), reason=found, summary=summary)

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        return {**asdict(self), "best_friction": self.best.friction, "speed_up": self.best.relative}


def friction_sweep(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    frictions: Sequence[float] | None = None,
    dynamics: Dynamics | str | None = None,
    **options: Any,
) -> FrictionSweep:
    """Run the overdamped circuit, and one with momentum for each friction, and count effective samples per tau.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
        Observation, in data units.
    frictions : sequence of float or None
        gamma; None takes 1/8 to 8 times the one that `Dynamics` would choose.
    dynamics : Dynamics, str or None
        Its mass and temperature are used.
    **options
        Of the run, the machine and the circuit, as for `circuitlsc.studies.budget.error_budget`; ``note`` is called before
        the reference, too.

    Raises
    ------
    InputError
        If a friction is not positive, x is several inputs, or the dynamics settle.

    Notes
    -----
    All circuits have the shortest step that one of them needs, and all keep every sample (fewer in a very long run):
    effective samples are counted among those that are kept.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> sweep = friction_sweep(model, model.draw(1)[1], frictions=[0.5, 1.0], t_stop=200.0, seed=1)
    >>> [row.friction for row in sweep.rows]  # None: without momentum
    [None, 0.5, 1.0]
    """
    given = as_sampling("underdamped" if dynamics is None else dynamics, "effective samples are counted")
    if np.ndim(x) != 1:
        raise InputError("friction_sweep counts the samples of one input, and x has several. Give one of them.")
    run, machine, circuit = split_options(options)
    base = Dynamics(kind="underdamped", temperature=given.T, mass=given.mass)
    if frictions is None:
        chosen = build_sampler(model, x, dynamics=base, **circuit).dynamics
        assert chosen.friction is not None
        frictions = [factor * chosen.friction for factor in FACTORS]
    if np.ndim(frictions) != 1 or len(frictions) == 0:
        raise InputError(f"friction_sweep: frictions = {frictions!r} is no list of numbers > 0. Give at least one.")
    systems = [Dynamics(temperature=given.T), *(replace(base, friction=f) for f in frictions)]
    names = ["overdamped", *(f"friction {system.friction:.6g}" for system in systems[1:])]
    step = min(build_sampler(model, x, dynamics=system, **circuit).plan.step for system in systems)
    thin = run.thin or math.ceil(run.t_stop / step * model.n_latents / MOST_KEPT)
    circuit["step"] = step
    samplers = {name: build_sampler(model, x, dynamics=d, **circuit) for name, d in zip(names, systems, strict=True)}
    if len(samplers) < len(systems):
        raise InputError(f"friction_sweep: frictions = {frictions!r} has one twice. Give each of them once.")
    target = target_of(samplers["overdamped"])
    (machine.get("note") or str)("exact posterior")
    exact = exact_statistics(target, samplers["overdamped"].x, seed=run.seed)
    done = run_all(samplers, replace(run, thin=thin), **machine)
    rows: list[FrictionRow] = []
    for name, sampler in samplers.items():
        stats = done[name].stats
        measured = circuit_statistics(sampler, done[name])
        speed = measured.ess_min / (run.chains * (run.t_stop - run.warmup))
        relative = speed / rows[0].ess_per_tau if rows else 1.0
        wall = 1e6 * float(stats["wall"].sum() / stats["steps"].sum())
        errors = _errors(measured, exact, tolerance_scale(target, exact))
        rows.append(FrictionRow(sampler.dynamics.friction, speed, relative, sampler.plan.step, wall, *errors))
    mass = sampler.dynamics.mass
    assert mass is not None
    return FrictionSweep(tuple(rows), mass, float(run.t_stop), exact.method)


def _errors(measured: PosteriorStatistics, exact: PosteriorStatistics, scale: float) -> tuple[float, float, float]:
    """Return the largest abs(z), the largest error, and the largest error less 4 MCSE."""
    mcse, units = floored_mcse(measured, exact), {"p_active": 1.0, "mean": scale, "sd": scale}
    d = np.stack([np.abs(getattr(measured, n) - getattr(exact, n)) / unit for n, unit in units.items()])
    se = np.stack([np.hypot(mcse[n], getattr(exact, f"{n}_mcse")) / unit for n, unit in units.items()])
    z = np.divide(d, se, out=np.zeros_like(d), where=se > 1e-9)
    return float(z.max()), float(d.max()), float(np.max(d - 4 * se))
