"""Numbers of each kind of results that stand beside those of other runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from circuitlsc.reference.statistics import LABELS
from circuitlsc.reporting.page import Series

if TYPE_CHECKING:
    from circuitlsc.studies.budget import ErrorBudget
    from circuitlsc.studies.chip_yield import ChipReport
    from circuitlsc.studies.energy import EnergyReport
    from circuitlsc.studies.friction import FrictionSweep
    from circuitlsc.studies.sampler_comparison import SamplerComparison
    from circuitlsc.validation.calibration import Calibration
    from circuitlsc.validation.compare import Comparison
    from circuitlsc.validation.map_result import MapResult
    from circuitlsc.validation.memory_compare import MemoryComparison
    from circuitlsc.validation.stream_compare import StreamComparison

OVER_INPUTS = "{}, mean over inputs"


def of_run(c: Comparison) -> tuple[Series, ...]:
    """Return the judged statistics of each latent."""
    made = []
    for name, title in LABELS.items():
        entries = [getattr(latent, name) for latent in c.latents]
        if name != "p_active" or any(entry.exact < 1 for entry in entries):
            numbers = ([getattr(entry, what) for entry in entries] for what in ("circuit", "mcse", "exact"))
            made.append(Series(title, "latent", *numbers))
    return tuple(made)


def of_stream(c: StreamComparison) -> tuple[Series, ...]:
    """Return the averages of each latent over inputs; none if nothing was compared."""
    made = []
    for title, rows in ((LABELS["p_active"], c.p_active), (LABELS["mean"], c.mean)):
        numbers = ([getattr(row, what) for row in rows] for what in ("circuit", "se", "exact"))
        made += [Series(OVER_INPUTS.format(title), "latent", *numbers)] if rows else []
    return tuple(made)


def of_memory(c: MemoryComparison) -> tuple[Series, ...]:
    """Return the averages of each latent over the inputs that a memory has."""
    made = []
    found = [series for each in c.inputs for series in of_run(each)]
    for title in LABELS.values():
        alike = [series for series in found if series.title == title]
        if len(alike) == len(c.inputs):
            values, errors, exact = (np.array([getattr(s, of) for s in alike]) for of in ("values", "errors", "exact"))
            error = np.sqrt(np.sum(errors**2, axis=0)) / len(alike)
            numbers = (values.mean(axis=0), error, exact.mean(axis=0))
            made.append(Series(OVER_INPUTS.format(title), "latent", *(each.tolist() for each in numbers)))
    return tuple(made)


def of_map(result: MapResult) -> tuple[Series, ...]:
    """Return the code that a circuit settled on; of many inputs how far each is above the minimum."""
    if result.streamed:
        return (Series("gap", "input", [row.gap for row in result.rows]),)
    (row,) = result.rows
    return (Series("code", "latent", row.code.tolist(), [], row.reference.code.tolist()),)


def of_budget(budget: ErrorBudget) -> tuple[Series, ...]:
    """Return what each imperfection changes; none if there is none."""
    made = []
    if not (entries := [entry for entry in budget.entries if entry.parameters]):
        return ()
    for what, title in (("p_active", "dP(active)"), ("mean", "dmean")):
        values, errors = zip(*(entry.largest(what) for entry in entries), strict=True)
        names = [entry.name for entry in entries]
        made.append(Series(title, "imperfection", list(values), list(errors), names=names))
    return tuple(made)


def of_chips(report: ChipReport) -> tuple[Series, ...]:
    """Return the largest error of every chip."""
    errors = [c.error for c in report.chips], [c.error_se for c in report.chips]
    return (Series("largest error", "chip", *errors, names=[str(c.seed) for c in report.chips]),)


def of_friction(sweep: FrictionSweep) -> tuple[Series, ...]:
    """Return how fast each circuit mixes."""
    names = ["overdamped" if row.friction is None else f"{row.friction:.4g}" for row in sweep.rows]
    return (Series("ESS per tau", "friction", [row.ess_per_tau for row in sweep.rows], names=names),)


def of_calibration(c: Calibration) -> tuple[Series, ...]:
    """Return shift and spread of every statistic, with the errors that they have if the sampler is right."""
    rows = [row for row in c.statistics if row.shift is not None and row.spread is not None]
    names = [row.name for row in rows]
    shifts = [float(row.shift or 0) for row in rows], [1 / math.sqrt(row.n) for row in rows]
    spreads = [float(row.spread or 0) for row in rows], [1 / math.sqrt(2 * row.n - 2) for row in rows]
    return Series("shift", "statistic", *shifts, names=names), Series("spread", "statistic", *spreads, names=names)


def of_samplers(found: SamplerComparison) -> tuple[Series, ...]:
    """Return the errors of all samplers at the end of the time that an input is on."""
    from circuitlsc.reporting.samplers import NAMES

    courses = {
        f"{NAMES[name]}, sigma {level.sigma:g}": course
        for level in found.levels
        for name, course in level.samplers.items()
    }
    return (Series("rms at the end", "sampler", [each.rms[-1] for each in courses.values()], names=list(courses)),)


def of_energy(report: EnergyReport) -> tuple[Series, ...]:
    """Return what each kind of part draws from the supply."""
    return (Series("power (W)", "part", [row.watts for row in report.rows], names=[row.part for row in report.rows]),)
