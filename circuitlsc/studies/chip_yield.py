"""Monte Carlo over chips: the same design with other random errors, and the share that meets a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_count, is_positive
from circuitlsc.io.report import Note, Report, Table
from circuitlsc.io.shown import Shown, counted
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities, as_nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.studies.frame import check_samples_one, common_step, read, read_rows, run_all, split_options
from circuitlsc.validation.paired_difference import PairedDifference, paired_rows

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Chip(Shown):
    """One chip against the circuit with ideal parts, on the same noise.

    Attributes
    ----------
    seed : int
        Of its errors.
    change : PairedDifference
    error, error_se : float
        The largest change of P(active) or mean (in units of the slab) over the latents (and a memory's inputs), and its
        standard error.
    verdict : str
        ``"pass"``, ``"fail"``, or ``"undecided"`` if the error is within 3 standard errors of the tolerance.
    """

    seed: int
    change: PairedDifference
    error: float
    error_se: float
    verdict: str

    def _line(self) -> str:
        return f"{self.seed}: {self.verdict}, largest error {self.error:.4f} ({self.error_se:.4f})"


@dataclass(frozen=True, eq=False)
class ChipReport(Shown):
    """All chips, and the yield.

    Attributes
    ----------
    chips : tuple of Chip
    tolerance : float
        Of P(active), and of the mean in units of the slab.
    ideal : Sampler
    run : RunPlan
    """

    chips: tuple[Chip, ...]
    tolerance: float
    ideal: Sampler
    run: RunPlan

    @property
    def passed(self) -> int:
        """Chips whose error is at most the tolerance (the undecided counted by their error alone)."""
        return sum(c.error <= self.tolerance for c in self.chips)

    @property
    def chip_yield(self) -> float:
        """Share of the chips that pass."""
        return self.passed / len(self.chips)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the yield (Wilson)."""
        from scipy.stats import binomtest  # half a second of imports

        ci = binomtest(self.passed, len(self.chips)).proportion_ci(CONFIDENCE, method="wilson")
        return float(ci.low), float(ci.high)

    def _line(self) -> str:
        low, high = self.interval
        passed = f"{self.passed} of {counted(len(self.chips), 'chip')} within {self.tolerance:g}"
        return f"{passed}, 95 % interval of the yield {low:.0%} to {high:.0%}"

    def _shows(self) -> Report:
        return self.report()

    def report(self) -> Report:
        """Return a lot of chips, and the yield."""
        low, high = self.interval
        columns = {"chip": ">6", "largest error": ">14.4f", "s.e.": ">8.4f", "verdict": ""}
        rows = [(c.seed, c.error, c.error_se, c.verdict) for c in self.chips]
        found = (
            f"yield {self.passed} of {len(self.chips)} within {self.tolerance:g} of the ideal circuit in every P(active), "
            f"and mean in units of the slab; 95 % interval {low:.0%} to {high:.0%}"
        )
        summary = {"chips": len(self.chips), "yield": self.passed / len(self.chips), "tolerance": self.tolerance}
        return Report((Table.of(columns, rows), Note(found)), reason=found, summary=summary)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "tolerance": self.tolerance,
            "n_chips": len(self.chips),
            "passed": self.passed,
            "yield": self.chip_yield,
            "yield_interval": list(self.interval),
            "undecided": sum(c.verdict == "undecided" for c in self.chips),
            "chips": [
                {
                    **{name: getattr(c, name) for name in ("seed", "error", "error_se", "verdict")},
                    **{f"d_{name}": getattr(c.change, name).tolist() for name in ("p_active", "mean")},
                    "d_tv": c.change.tv,
                }
                for c in self.chips
            ],
        }


def chip_yield(
    model: SparseCodingModel,
    x: ArrayLike,
    nonideal: Nonidealities | Mapping[str, Any],
    *,
    chips: int = 20,
    tolerance: float = 0.02,
    **options: Any,
) -> ChipReport:
    """Run ``chips`` chips with errors of seeds nonideal.seed, nonideal.seed + 1, ..., and count those within tolerance.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    nonideal : Nonidealities or mapping
        The imperfections; systematic ones are the same in every chip.
    chips : int
    tolerance : float
        Largest change of P(active), and of the mean in units of the slab, against the circuit with ideal parts.
    **options
        Of the run, the machine and the circuit, as for `circuitlsc.studies.budget.error_budget`; every chip runs on the
        same noise.

    Raises
    ------
    InputError
        If an argument cannot be used, or no part has an imperfection.
    SimulationError
        If a chip's circuit did not run to its end.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> offsets = {"comparator": {"threshold_offset": 1e-3}}
    >>> len(chip_yield(model, model.draw(1)[1], offsets, chips=4, t_stop=200.0, seed=1).chips)
    4
    """
    check_samples_one("the yield", options, remembered=True)
    nonideal = as_nonidealities(nonideal)
    check_count("chips", chips, 1, " is not a whole number")
    if not is_positive(tolerance):
        raise InputError(f"tolerance = {tolerance!r} is not a number > 0.")
    if not nonideal.imperfections():
        raise InputError(
            "every chip would be the same: no part has an imperfection. Give [nonideal] parameters or a preset."
        )
    run, machine, circuit = split_options(options, len(np.atleast_2d(x)))
    seeds = [nonideal.seed + c for c in range(int(chips))]
    lots = {f"chip {s}": nonideal.changed({}, seed=s) for s in seeds}
    ideal = common_step(model, x, nonideal.only(), list(lots.values()), circuit, machine.get("workers"))
    lot = {name: rebuilt(ideal, nonideal=parts) for name, parts in lots.items()}
    before, *after = (read_rows(ideal, done) for done in run_all({"ideal": ideal, **lot}, run, **machine).values())
    changes = (paired_rows(model, before, chip, of=read(ideal)) for chip in after)
    found = [_judge(model, s, change, tolerance) for s, change in zip(seeds, changes, strict=True)]
    return ChipReport(tuple(found), float(tolerance), ideal, run)


def _judge(model: SparseCodingModel, seed: int, change: PairedDifference, tolerance: float) -> Chip:
    scale = model.prior.slab_scale
    size = np.concatenate([np.abs(change.p_active), np.abs(change.mean) / scale])
    se = np.concatenate([change.p_active_se, change.mean_se / scale])
    error, error_se = max(zip(size.tolist(), se.tolist(), strict=True))
    sure = abs(error - tolerance) > 3 * error_se
    verdict = ("pass" if error <= tolerance else "fail") if sure else "undecided"
    return Chip(seed, change, error, error_se, verdict)
