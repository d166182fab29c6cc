"""The figures of three papers, in software and some as circuits too: data, drawing and a few lines of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from examples.paper.ald_hold import ald_hold_data, ald_hold_report
from examples.paper.ald_hold_plot import ald_hold
from examples.paper.ald_plot import ald_points, lae_batch, lae_digits
from examples.paper.ald_points import ald_points_data
from examples.paper.ald_report import ald_points_report, lae_batch_report, lae_digits_report
from examples.paper.circuit import SWEEP, circuit_activity, circuit_coefficients
from examples.paper.figure_bars import figure4b_data, figure6_data, figure7_data
from examples.paper.figure_norms import figure8_data
from examples.paper.figure_runs import Effort
from examples.paper.figure_slope import figure9_data
from examples.paper.figures import FULL, ActivityCurve, Coefficients, Size, figure3_data, figure4a_data, figure5_data
from examples.paper.figures_patches_plot import figure8, figure9
from examples.paper.figures_plot import figure4b, figure6, figure7
from examples.paper.figures_report import (
    figure4b_report,
    figure6_report,
    figure7_report,
    figure8_report,
    figure9_report,
)
from examples.paper.lae_batch import lae_batch_data
from examples.paper.lae_digits import lae_digits_data
from examples.paper.plot import figure3, figure4a, figure5
from examples.paper.vsc_gradients import vsc_gradients_data
from examples.paper.vsc_laws import vsc_laws_data
from examples.paper.vsc_max import vsc_max_data
from examples.paper.vsc_patches import vsc_patches_data
from examples.paper.vsc_plot import vsc_gradients, vsc_laws, vsc_max, vsc_patches
from examples.paper.vsc_report import vsc_gradients_report, vsc_laws_report, vsc_max_report, vsc_patches_report

Note = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A figure, the numbers behind it, and what they say."""

    figure: Figure
    numbers: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Request:
    """What is asked of a figure; the arguments of `reproduce`."""

    seed: int
    circuits: bool
    size: Size
    circuit_size: Size | None
    effort: Effort | None
    workers: int
    note: Note


def reproduce(
    name: str,
    *,
    seed: int = 0,
    circuits: bool = True,
    size: Size = FULL,
    circuit_size: Size | None = None,
    effort: Effort | None = None,
    workers: int = 1,
    note: Note | None = None,
) -> Made:
    """Make one of the papers' figures.

    Parameters
    ----------
    name : str
        ``"fig3"``, ``"fig4a"``, ``"fig4b"`` or ``"fig5"`` to ``"fig9"`` (Fang et al. 2022); ``"vsc-gradients"``, ``"vsc-max"``,
        ``"vsc-patches"`` or ``"vsc-laws"`` (in kind after Fallah & Rozell 2022); ``"ald-points"``, ``"ald-hold"``,
        ``"lae-batch"`` or ``"lae-digits"`` (after Taniguchi et al. 2022).
    seed : int
        Of data and noise; the first one where there are several runs.
    circuits : bool
        Whether circuits are run too (minutes): Figures 4a and 5. The others are software alone.
    size, circuit_size : Size
        Of the software's and of the circuits' data: Figures 3, 4a and 5.
    effort : Effort or None
        How long is learned, and how often: Figures 4b and 6 to 9, and all of vsc, ald and lae. None is the figure's
        own, in minutes.
    workers : int
        How many runs of learning, or circuits, go side by side; the numbers are the same.
    note : callable or None
        Called with a few words before each part.
    """
    return FIGURES[name](Request(seed, circuits, size, circuit_size, effort, workers, note or (lambda _: None)))


def _figure3(ask: Request) -> Made:
    data = figure3_data(ask.size.n, seed=ask.seed)
    n = ask.size.n
    text = f"{2 * n} bars of {n}x{n} pixels; samples: lambda 1 and pi 0.3, without noise and with sigma 0.5"
    return Made(figure3(data), data.to_dict(), text)


def _figure4a(ask: Request) -> Made:
    ask.note("software")
    data = figure4a_data(ask.size, seed=ask.seed)
    given: dict[str, Any] = {"seed": ask.seed, "note": ask.note, "workers": ask.workers}
    measured = circuit_activity(ask.circuit_size or SWEEP, **given) if ask.circuits else []
    lines = []
    for curve in data.swept:
        at = curve.crossing()
        if at is not None:
            lines.append(
                f"{curve.label}, data of pi = {curve.pi:g}: the lambda that gives this activity is {at[0]:.3g} ({at[1]:.2g})"
            )
    lines += [_activity(curve) for curve in (*data.given, *(c for c in measured if c.system == "L0-LSC"))]
    numbers = {**data.to_dict(), "circuits": [curve.to_dict() for curve in measured]}
    return Made(figure4a(data, measured), numbers, "\n".join(lines))


def _activity(curve: ActivityCurve) -> str:
    return f"{curve.label}, pi = {curve.pi:g}: activity {curve.activity[0]:.3f} ({curve.se[0]:.3f})"


def _figure5(ask: Request) -> Made:
    ask.note("software")
    data = figure5_data(ask.size, seed=ask.seed)
    given: dict[str, Any] = {"seed": ask.seed, "note": ask.note, "workers": ask.workers}
    measured = circuit_coefficients(ask.circuit_size or ask.size, **given) if ask.circuits else []
    numbers = {**data.to_dict(), "circuits": [series.to_dict() for series in measured]}
    lines = [
        f"{'system':<28} {'dictionary':<10} {'nonzero':>8} {'distance':>9} {'p':>9}   (Kolmogorov-Smirnov against the prior)"
    ]
    lines += [_row(series) for series in (*data.series, *measured)]
    return Made(figure5(data, measured), numbers, "\n".join(lines))


def _row(c: Coefficients) -> str:
    return f"{c.label:<28} {c.dictionary:<10} {len(c.values):>8} {c.ks:9.4f} {c.p_value:9.2g}"


def _learned(
    compute: Callable[..., Any], draw: Callable[[Any], Figure], report: Callable[[Any], str]
) -> Callable[[Request], Made]:
    """Return the maker of a figure of learning."""

    def make(ask: Request) -> Made:
        data = compute(ask.effort, seed=ask.seed, workers=ask.workers, note=ask.note)
        return Made(draw(data), data.to_dict(), report(data))

    return make


FIGURES: dict[str, Callable[[Request], Made]] = {
    "fig3": _figure3,
    "fig4a": _figure4a,
    "fig4b": _learned(figure4b_data, figure4b, figure4b_report),
    "fig5": _figure5,
    "fig6": _learned(figure6_data, figure6, figure6_report),
    "fig7": _learned(figure7_data, figure7, figure7_report),
    "fig8": _learned(figure8_data, figure8, figure8_report),
    "fig9": _learned(figure9_data, figure9, figure9_report),
    "vsc-gradients": _learned(vsc_gradients_data, vsc_gradients, vsc_gradients_report),
    "vsc-max": _learned(vsc_max_data, vsc_max, vsc_max_report),
    "vsc-patches": _learned(vsc_patches_data, vsc_patches, vsc_patches_report),
    "vsc-laws": _learned(vsc_laws_data, vsc_laws, vsc_laws_report),
    "ald-hold": _learned(ald_hold_data, ald_hold, ald_hold_report),
    "ald-points": _learned(ald_points_data, ald_points, ald_points_report),
    "lae-batch": _learned(lae_batch_data, lae_batch, lae_batch_report),
    "lae-digits": _learned(lae_digits_data, lae_digits, lae_digits_report),
}
WITH_CIRCUITS = ("fig4a", "fig5")
