"""Drawing of what a memory is worth. Error bars are two standard errors."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from circuitlsc.reporting.plotting import COLORS, new_figure
from examples.paper.ald_hold import KINDS, HoldData
from examples.paper.plot import letter

COLOR = dict(zip(KINDS, COLORS, strict=False))
NAME = {"memory": "with a memory", "langevin": "without, best warm-up"}
SHOWN = (1.0, 5.0, 20.0)  # holds whose courses are drawn


def ald_hold(data: HoldData) -> Figure:
    """Draw effective samples per tau over the hold, and the error of both kinds over visits."""
    with new_figure(7.4, 2.9) as fig:
        rate, bias, course = fig.subplots(1, 3)
        holds = [c.hold for c in data.of("memory")]
        for kind in KINDS:
            courses = data.of(kind)
            value, se = np.array([(c.ess_per_tau, 2 * c.ess_se) for c in courses]).T
            rate.errorbar(holds, value, se, fmt="o-", ms=3, color=COLOR[kind], label=NAME[kind])
            bias.plot(holds, [max(c.bias[-1], 1e-4) for c in courses], "o-", ms=3, color=COLOR[kind])
            noise = [np.sqrt(c.mse[-1] - c.bias[-1] ** 2) for c in courses]
            bias.plot(holds, noise, "o:", ms=3, mfc="white", color=COLOR[kind])
        believed = [c.believed for c in data.of("langevin")]
        rate.plot(holds, believed, ":", color=COLOR["langevin"], label="its variance alone")
        shown = [h for h in SHOWN if h in holds] or holds[:1]
        for hold, style in zip(shown, ("-", "--", ":"), strict=False):
            for kind in KINDS:
                c = next(c for c in data.of(kind) if c.hold == hold)
                label = rf"hold {hold:g} $\tau$" if kind == "memory" else None
                course.loglog(c.visits * hold, np.sqrt(c.mse), ls=style, color=COLOR[kind], label=label)
        rate.set(xlabel=r"hold ($\tau$)", ylabel=r"ESS per $\tau$ of an input", xscale="log", yscale="log")
        bias.set(xlabel=r"hold ($\tau$)", ylabel="rms error of P(active)", xscale="log", yscale="log")
        course.set(xlabel=r"time that an input is on ($\tau$)", ylabel="rms error of P(active)")
        for ax in (rate, bias):
            ax.xaxis.set_major_locator(FixedLocator(holds))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
        low, high = rate.get_ylim()
        rate.set_ylim(low / (high / low) ** 0.35, high)  # room for the legend
        rate.legend(loc="lower right", borderaxespad=0)
        course.legend(loc="best")
        letter(rate, "a", "effective samples")
        letter(bias, "b", "bias, and noise (dotted)")
        letter(course, "c", "error over time")
    return fig
