"""A sweep of friction, as a table and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.figure import Figure

from circuitlsc.reporting.plotting import STYLE
from circuitlsc.studies.friction import FrictionSweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def friction_report(sweep: FrictionSweep) -> str:
    """Return a sweep as a table."""
    lines = [
        f"{'friction':>10} {'ESS per tau':>12} {'relative':>9} {'step':>9} {'us/step':>8} {'max |z|':>8} {'error':>8}"
    ]
    for row in sweep.rows:
        name = "overdamped" if row.friction is None else f"{row.friction:.4g}"
        lines.append(
            f"{name:>10} {row.ess_per_tau:12.3f} {row.relative:9.2f} {row.step:9.4f} {row.us_per_step:8.1f} "
            f"{row.max_abs_z:8.2f} {row.max_error:8.4f}"
        )
    best = sweep.best
    lines += [
        "",
        f"mass {sweep.mass:.4g} tau, {sweep.t_stop:g} tau per chain; ESS of the slowest statistic; against {sweep.reference}",
        f"best friction {best.friction:.4g}: {best.relative:.2f} times the effective samples per tau of the overdamped circuit",
    ]
    return "\n".join(lines)


def plot_friction(sweep: FrictionSweep, ax: Axes) -> Axes:
    """Draw effective samples per tau over friction, with the overdamped circuit as a line."""
    rows = sweep.rows[1:]
    gamma = [row.friction for row in rows]
    ax.loglog(gamma, [row.ess_per_tau for row in rows], "o-", color="C0", label="with momentum")
    ax.axhline(sweep.rows[0].ess_per_tau, color="k", ls="--", lw=1, label="overdamped")
    ax.set(xlabel=r"friction $\gamma$", ylabel=r"effective samples per $\tau$")
    ax.legend()
    return ax


def friction_figure(sweep: FrictionSweep) -> Figure:
    """Return the figure of a sweep: speed, and that the law stays the same."""
    with matplotlib.style.context(STYLE, after_reset=True):
        fig = Figure(figsize=(7.2, 2.9), layout="constrained")
        first, second = fig.subplots(1, 2)
        plot_friction(sweep, first)
        rows = sweep.rows[1:]
        second.semilogx([row.friction for row in rows], [row.max_abs_z for row in rows], "o", color="C0")
        second.axhline(sweep.rows[0].max_abs_z, color="k", ls="--", lw=1, label="overdamped")
        second.axhline(4, color="0.6", lw=0.8, ls=":", label="4 standard errors")
        second.set(xlabel=r"friction $\gamma$", ylabel="largest |z| against exact", ylim=(0, None))
        second.legend()
    return fig
