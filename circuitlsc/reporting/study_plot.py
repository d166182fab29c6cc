"""Figures of studies: budgets, lots of chips, sweeps of friction; bars are two standard errors of the paired differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from circuitlsc.nonideal.nonidealities import unit_of
from circuitlsc.reporting.plotting import MOST_NUMBERED, decades, legend_above, new_figure, numbers
from circuitlsc.studies.budget import BudgetEntry, ErrorBudget
from circuitlsc.studies.chip_yield import ChipReport
from circuitlsc.studies.friction import FrictionSweep

BUDGET_CAPTION = (
    "What each imperfection changes, alone and all together, with two standard errors of the paired difference: of the latent "
    "or pair that changes most."
)
SWEEP_CAPTION = "One parameter alone, over its values, beside what a formula predicts; filled points follow it."
CHIPS_CAPTION = "Every chip's largest error with two standard errors, sorted, and the tolerance."
FRICTION_CAPTION = (
    "Left: effective samples per tau over friction. Right: the largest |z| against exact, which friction leaves alone."
)

FEW, MANY = 3, 40  # chips

TITLES = {
    "p_active": "change of P(active)",
    "mean": "change of mean of s (units)",
    "tv": "total variation of supports",
    "coactive": "change of P(both active)",
    "sd": "change of sd of s (units)",
}
COLORS = {"pass": "C2", "fail": "C1", "undecided": "0.6"}


def plot_budget(entries: list[BudgetEntry], what: str, ax: Axes) -> None:
    """Draw one statistic's change for each entry: ``"p_active"``, ``"mean"``, ``"tv"`` or ``"coactive"``.

    P(active), mean and co-activation are those of the latent (or pair) that changes most.
    """
    values, errors = np.transpose([e.largest(what) for e in entries]).astype(float).round(12)  # rounding is no change
    y = np.arange(len(entries))
    colors = ["C1" if e.name == "all" else "C0" for e in entries]
    below = np.minimum(2 * errors, values) if what == "tv" else 2 * errors  # it is never negative
    bars = {"lw": 0.8, "capsize": 1.5}
    ax.barh(y, values, xerr=[below, 2 * errors], color=colors, height=0.65, error_kw=bars)
    ax.axvline(0, color="0.3", lw=0.7)
    ax.set(yticks=y, title=TITLES[what], ylim=(len(entries) - 0.4, -0.6))
    ax.set_yticklabels([_label(e) for e in entries])
    ax.locator_params(axis="x", nbins=5)
    if what == "tv":
        (floors,) = numbers((e.change for e in entries), "tv_floor")
        ax.plot(floors, y, "|", color="k", ms=7, mew=1.2, zorder=3)
        ax.set_xlabel("| what noise alone makes")


def _label(entry: BudgetEntry) -> str:
    if len(entry.parameters) != 1:
        return entry.name
    ((name, value),) = entry.parameters.items()
    if isinstance(value, tuple):
        return name
    unit = unit_of(name)
    return f"{name}\n{value:.3g}" + ("" if unit in ("1", "relative", "V/V") else f" {unit}")


def budget_figure(budget: ErrorBudget) -> Figure:
    """Return the bar charts of every entry that is no point of a sweep (nor the ideal circuit, the zero line)."""
    swept = [e.name for group in budget.sweeps().values() for e in group]
    imperfect = [e for e in budget.entries if e.name != "ideal"]
    entries = [e for e in imperfect if e.name not in swept] or imperfect
    panels = ["p_active", "mean", "tv", "coactive"] if budget.sampler.model.prior.sparse else ["mean"]
    panels = [p for p in panels if any(e.largest(p)[0] is not None for e in entries)]
    with new_figure(2.1 * len(panels) + 1.6, 1.1 + 0.36 * len(entries)) as fig:
        axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for what, ax in zip(panels, axes, strict=True):
            plot_budget(entries, what, ax)
    return fig


def plot_sweep(entries: list[BudgetEntry], what: str, ax: Axes) -> None:
    """Draw how one statistic (``"p_active"`` or ``"mean"``) changes along a sweep, over its prediction.

    It is the latent that changes most at the last point; filled points lie within 20 % + 3 standard errors of the
    prediction, open ones do not.
    """
    name = entries[0].name.partition("=")[0]
    x = np.array([float(e.name.partition("=")[2]) for e in entries])
    k = entries[int(np.argmax(np.abs(x)))].latent(what)
    predicted = [e.prediction for e in entries]
    if (method := next((p.method for p in predicted if p is not None), None)) is not None:
        line = [0.0 if p is None else getattr(p, what)[k] for p in predicted]
        ax.plot(x, line, "k--", label=method)
        ax.legend(loc="best")
    for at, entry in zip(x, entries, strict=True):
        value, se = (getattr(entry.change, name)[k] for name in (what, f"{what}_se"))
        face = "C0" if entry.prediction_holds is not False else "none"
        ax.errorbar(at, value, 2 * se, fmt="o", color="C0", mfc=face, capsize=1.5, lw=0.8)
    ax.axhline(0, color="0.8", lw=0.7, zorder=0)
    row, latent = divmod(k, len(entries[0].change.mean) // entries[0].inputs)
    whose = f"latent {k}" if entries[0].inputs == 1 else f"input {row}, latent {latent}"
    unit = unit_of(name)
    ax.set(xlabel=name if unit == "1" else f"{name} ({unit})", ylabel=TITLES[what], title=whose)
    ax.locator_params(axis="x", nbins=5)


def sweep_figure(budget: ErrorBudget) -> Figure | None:
    """Return one row of panels per sweep, or None without one."""
    if not (sweeps := budget.sweeps()):
        return None
    panels = ["p_active", "mean"] if budget.sampler.model.prior.sparse else ["mean", "sd"]
    with new_figure(3.4 * len(panels), 2.4 * len(sweeps)) as fig:
        axes = fig.subplots(len(sweeps), len(panels), squeeze=False)
        for row, entries in zip(axes, sweeps.values(), strict=True):
            for what, ax in zip(panels, row, strict=True):
                plot_sweep(entries, what, ax)
    return fig


def chips_figure(report: ChipReport) -> Figure:
    """Return every chip's largest error, sorted, with the tolerance."""
    chips = sorted(report.chips, key=lambda c: c.error)
    low, high = report.interval
    with new_figure(5.0, 2.8) as fig:
        ax = fig.subplots()
        for verdict, color in COLORS.items():
            some = [(k, c.error, 2 * c.error_se) for k, c in enumerate(chips, 1) if c.verdict == verdict]
            if some:
                at, error, bar = np.transpose(some)
                below = np.minimum(bar, error)  # no error is smaller than 0
                style: dict[str, Any] = {"capsize": 1.5, "lw": 0.8} if len(chips) <= MANY else {"ms": 2, "lw": 0.5}
                ax.errorbar(at, error, [below, bar], fmt="o", color=color, label=verdict, **style)
        ax.axhline(report.tolerance, color="k", ls="--", lw=0.8, label="tolerance")
        ax.set(xlabel="chip, sorted", ylabel="largest error of P(active), mean", ylim=(0, None))
        room = max(len(chips), FEW) / 2
        ax.set_xlim((len(chips) + 1) / 2 - room, (len(chips) + 1) / 2 + room)
        if len(chips) <= MOST_NUMBERED:
            ax.set_xticks(range(1, len(chips) + 1))
        else:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_title(f"yield {report.passed} of {len(chips)} (95 % interval {low:.0%} to {high:.0%})")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def friction_figure(sweep: FrictionSweep) -> Figure:
    """Return the figure of a sweep: speed, and that the law stays the same."""
    with new_figure(7.2, 2.9) as fig:
        first, second = fig.subplots(1, 2)
        plot_friction(sweep, "ess_per_tau", first, "o-")
        first.set(yscale="log", ylabel=r"effective samples per $\tau$")
        plot_friction(sweep, "max_abs_z", second, "o")
        second.axhline(4, color="0.6", lw=0.8, ls=":", label="4 standard errors")
        second.set(ylabel="largest |z| against exact", ylim=(0, 1.1 * max(4.0, *(row.max_abs_z for row in sweep.rows))))
        for ax in (first, second):
            decades(ax)
            legend_above(ax, ncols=2)
    return fig


def plot_friction(sweep: FrictionSweep, what: str, ax: Axes, style: str) -> None:
    """Draw a number of each circuit over friction, with the overdamped circuit's as a line."""
    overdamped, *rows = sweep.rows
    ax.semilogx(*numbers(rows, "friction", what), style, color="C0", label="with momentum")
    ax.axhline(getattr(overdamped, what), color="k", ls="--", lw=1, label="overdamped")
    ax.set(xlabel=r"friction $\gamma$")
