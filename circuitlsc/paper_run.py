"""Figures 3, 4a and 5 of Fang et al. (2022), in software and as circuits: data, drawing and a few lines of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from circuitlsc.paper import FULL, ActivityCurve, Coefficients, Size, figure3_data, figure4a_data, figure5_data
from circuitlsc.paper_circuit import SWEEP, circuit_activity, circuit_coefficients
from circuitlsc.paper_plot import figure3, figure4a, figure5

Note = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """A figure, the numbers behind it, and what they say."""

    figure: Figure
    numbers: dict[str, Any]
    text: str


def reproduce(
    name: str,
    *,
    seed: int = 0,
    circuits: bool = True,
    size: Size = FULL,
    circuit_size: Size | None = None,
    note: Note | None = None,
) -> Made:
    """Make one of the paper's figures.

    Parameters
    ----------
    name : str
        ``"fig3"``, ``"fig4a"`` or ``"fig5"``.
    seed : int
        Of data and noise.
    circuits : bool
        Whether circuits are run too (minutes); Figure 3 has none.
    size, circuit_size : Size
        Of the software's and of the circuits' data.
    note : callable or None
        Called with a few words before each part.
    """
    return FIGURES[name](seed, circuits, size, circuit_size, note or (lambda _: None))


def _figure3(seed: int, circuits: bool, size: Size, circuit_size: Size | None, note: Note) -> Made:
    data = figure3_data(size.n, seed=seed)
    text = (
        f"{2 * size.n} bars of {size.n}x{size.n} pixels; samples: lambda 1 and pi 0.3, without noise and with sigma 0.5"
    )
    return Made(figure3(data), data.to_dict(), text)


def _figure4a(seed: int, circuits: bool, size: Size, circuit_size: Size | None, note: Note) -> Made:
    note("software")
    data = figure4a_data(size, seed=seed)
    measured = circuit_activity(circuit_size or SWEEP, seed=seed, note=note) if circuits else []
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


def _figure5(seed: int, circuits: bool, size: Size, circuit_size: Size | None, note: Note) -> Made:
    note("software")
    data = figure5_data(size, seed=seed)
    measured = circuit_coefficients(circuit_size or size, seed=seed, note=note) if circuits else []
    numbers = {**data.to_dict(), "circuits": [series.to_dict() for series in measured]}
    lines = [
        f"{'system':<28} {'dictionary':<10} {'nonzero':>8} {'distance':>9} {'p':>9}   (Kolmogorov-Smirnov against the prior)"
    ]
    lines += [_row(series) for series in (*data.series, *measured)]
    return Made(figure5(data, measured), numbers, "\n".join(lines))


def _row(c: Coefficients) -> str:
    return f"{c.label:<28} {c.dictionary:<10} {len(c.values):>8} {c.ks:9.4f} {c.p_value:9.2g}"


FIGURES: dict[str, Callable[[int, bool, Size, Size | None, Note], Made]] = {
    "fig3": _figure3,
    "fig4a": _figure4a,
    "fig5": _figure5,
}
