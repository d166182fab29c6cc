"""A sweep of friction, as a table and a figure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.io.aligned import aligned
from circuitlsc.reporting.plotting import new_figure
from circuitlsc.studies.friction import FrictionRow, FrictionSweep


def friction_report(sweep: FrictionSweep) -> str:
    """Return a sweep as a table."""
    columns = {"friction": ">10.4g", "ESS per tau": ">12.3f", "relative": ">9.2f", "step": ">9.4f", "us/step": ">8.1f"}
    lines = aligned({**columns, "max |z|": ">8.2f", "error": ">8.4f"}, map(_cells, sweep.rows))
    best = sweep.best
    lines += [
        "",
        f"mass {sweep.mass:.4g} tau, {sweep.t_stop:g} tau per chain; ESS of the slowest statistic; against {sweep.reference}",
        f"best friction {best.friction:.4g}: {best.relative:.2f} times the effective samples per tau of the overdamped circuit",
    ]
    return "\n".join(lines)


def _cells(row: FrictionRow) -> tuple[float | str, ...]:
    speed = (row.ess_per_tau, row.relative, row.step, row.us_per_step)
    return (row.friction or "overdamped", *speed, row.max_abs_z, row.max_error)


def plot_friction(sweep: FrictionSweep, ax: Axes) -> None:
    """Draw effective samples per tau over friction, with the overdamped circuit as a line."""
    rows = sweep.rows[1:]
    gamma = [row.friction for row in rows]
    ax.loglog(gamma, [row.ess_per_tau for row in rows], "o-", color="C0", label="with momentum")
    ax.axhline(sweep.rows[0].ess_per_tau, color="k", ls="--", lw=1, label="overdamped")
    ax.set(xlabel=r"friction $\gamma$", ylabel=r"effective samples per $\tau$")
    ax.legend()


def friction_figure(sweep: FrictionSweep) -> Figure:
    """Return the figure of a sweep: speed, and that the law stays the same."""
    with new_figure(7.2, 2.9) as fig:
        first, second = fig.subplots(1, 2)
        plot_friction(sweep, first)
        rows = sweep.rows[1:]
        second.semilogx([row.friction for row in rows], [row.max_abs_z for row in rows], "o", color="C0")
        second.axhline(sweep.rows[0].max_abs_z, color="k", ls="--", lw=1, label="overdamped")
        second.axhline(4, color="0.6", lw=0.8, ls=":", label="4 standard errors")
        second.set(xlabel=r"friction $\gamma$", ylabel="largest |z| against exact", ylim=(0, None))
        second.legend()
    return fig
