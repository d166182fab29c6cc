"""Figures of several runs: what they have in common side by side, and their numbers over the one key that differs."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from circuitlsc.errors import printable
from circuitlsc.reporting.page import Picture, Series, data_url
from circuitlsc.reporting.plotting import distinct_colors, new_figure, save_figure
from circuitlsc.reporting.runs import Run

MOST_PANELS = 12
FOLLOW = ("circuit.volt", "circuit.width", "run.step", "run.thin")  # are chosen by the others if they are not given
MOST_NAME = 30  # characters of a name in a figure
BESIDE_CAPTION = (
    "Circuit minus exact, or where there is no exact the number itself, of each run, with two standard errors."
)
SWEEP_CAPTION = "The numbers of the table over {key}, the only key with numbers in which the runs were made to differ."


def pictures(runs: Sequence[Run], keys: Sequence[str]) -> list[tuple[Picture, str]]:
    """Return the figures that there are, each with its address.

    Parameters
    ----------
    runs : sequence of Run
    keys : sequence of str
        Those in which configs differ.
    """
    made = []
    if (figure := beside_figure(runs)) is not None:
        made.append((Picture("beside.svg", BESIDE_CAPTION), _address(figure)))
    if (key := swept(runs, keys)) is not None and (figure := sweep_figure(runs, key)) is not None:
        made.append((Picture("sweep.svg", SWEEP_CAPTION.format(key=_name(key))), _address(figure)))
    return made


def swept(runs: Sequence[Run], keys: Sequence[str]) -> str | None:
    """Return the only key with numbers in which configs differ, but for those that follow from it; None if there is none."""
    numeric = [key for key in keys if all(isinstance(run.config.get(key), (int, float)) for run in runs)]
    given = [key for key in numeric if key not in FOLLOW] or numeric
    return given[0] if len(given) == 1 else None


def _address(figure: Figure) -> str:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font has not
        path = Path(folder) / "figure.svg"
        save_figure(figure, path)
        return data_url(path.read_bytes())


def beside_figure(runs: Sequence[Run]) -> Figure | None:
    """Return a panel for each series that runs have, all runs in it; None if there is none."""
    titles = list(dict.fromkeys(series.title for run in runs for series in run.page.series))[:MOST_PANELS]
    if not titles:
        return None
    colors = distinct_colors(len(runs))
    across, named = min(3, len(titles)), any(series.names for run in runs for series in run.page.series)
    down = math.ceil(len(titles) / across)
    with new_figure(max(3.1 * across, 4.5), (3.2 if named else 2.4) * down + 0.2 * math.ceil(len(runs) / 3)) as fig:
        axes = fig.subplots(down, across, squeeze=False).ravel()
        for title, ax in zip(titles, axes, strict=False):
            found = [(n, series) for n, run in enumerate(runs) for series in run.page.series if series.title == title]
            plot_beside(found, colors, ax)
        for ax in axes[len(titles) :]:
            ax.remove()
        handles = [axes[0].plot([], [], "o", ms=3.5, color=color)[0] for color in colors]
        fig.legend(handles, [_name(run.name) for run in runs], loc="outside upper left", ncols=3)
    return fig


def plot_beside(found: Sequence[tuple[int, Series]], colors: Sequence[str], ax: Axes) -> None:
    """Draw series of one title, each with the number of its run, which has a colour: all beside each other at each place."""
    names = list(dict.fromkeys(name for _, series in found for name in series.names))
    less = any(series.exact for _, series in found)
    for n, (run, series) in enumerate(found):
        places = [names.index(name) for name in series.names] or range(len(series.values))
        x = [place + 0.6 * ((n + 0.5) / len(found) - 0.5) for place in places]
        exact = series.exact or [0.0] * len(series.values)
        y = [value - known for value, known in zip(series.values, exact, strict=True)]
        errors = [2 * error for error in series.errors] or None
        ax.errorbar(x, y, errors, fmt="o", ms=2.5, lw=0.8, capsize=0, color=colors[run])
    if less:
        ax.axhline(0, color="0.6", lw=0.7, zorder=0)
    title, over = _name(found[0][1].title), _name(found[0][1].x)
    ax.set(title=title, xlabel=over, ylabel="circuit - exact" if less else "")
    if names:
        ax.set_xticks(range(len(names)), [_name(name) for name in names], rotation=90)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def sweep_figure(runs: Sequence[Run], key: str) -> Figure | None:
    """Return the numbers of every run over a key of its config; None if there are none."""
    numbers: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for name, value in run.page.report.summary.items():
            x = run.config[key]
            if isinstance(value, (int, float)) and isinstance(x, (int, float)):
                numbers.setdefault(name, []).append((float(x), float(value)))
    shown = {name: sorted(pairs) for name, pairs in numbers.items() if _moves(pairs)}
    titles = list(shown)[:MOST_PANELS]
    if not titles:
        return None
    across = min(3, len(titles))
    down = math.ceil(len(titles) / across)
    with new_figure(max(3.0 * across, 4.0), 2.3 * down) as fig:
        axes = fig.subplots(down, across, squeeze=False).ravel()
        for title, ax in zip(titles, axes, strict=False):
            ax.plot(*zip(*shown[title], strict=True), "o-", ms=3.5, lw=0.8, color="C0")
            ax.set(title=_name(title), xlabel=_name(key))
            ax.locator_params(axis="x", nbins=5)
        for ax in axes[len(titles) :]:
            ax.remove()
    return fig


def _moves(pairs: Sequence[tuple[float, float]]) -> bool:
    """Return whether numbers move by more than 1 %, and not as what they are drawn over."""
    values = [y for _, y in pairs]
    return max(values) - min(values) > 0.01 * max(map(abs, values)) and any(x != y for x, y in pairs)


def _name(text: str) -> str:
    """Return a text of a file as Matplotlib shows it: no mathematics, one line, and in a legend even if "_" begins it."""
    plain = printable(text, MOST_NAME).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain
