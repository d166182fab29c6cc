"""Figures of characterised cells: what a neuron does, how far it is from a gradient, and corners beside each other."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.circuit.transistor.tables import NeuronTables
from circuitlsc.reporting.plotting import distinct_colors, legend_above, new_figure
from circuitlsc.studies.characterisation import SIDES, Characterisation, CharacterisedChip

CELLS_CAPTION = (
    "The first chip's first neuron, in model units. Left: the code s(u), and the gate beside ds/du, which a gradient has. "
    "Right: the drift F(u, e) at each e that was measured."
)
ERRORS_CAPTION = "Gate minus ds/du over u, of every chip and corner: zero is a gradient of an energy."
CORNERS_CAPTION = (
    "Gains of every neuron beside 1, where they should be: circles of u < 0, crosses of u > 0; the crossing is abs(u) where "
    "s = w, over its nominal value."
)
MOST_NAMED = 12
QUALITIES = ("slope", "gain", "lam", "crossing")


def gate_of(neuron: NeuronTables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return u, the gate (per unit of e, mean of both signs of e) and ds/du."""
    u, e, drift = neuron.drift.knots, neuron.drift.others, neuron.drift.values
    middle = len(e) // 2
    above, below = ((drift[middle] - drift[k]) / (e[k] - e[middle]) for k in (middle + 1, middle - 1))
    return u, (above + below) / 2, np.gradient(neuron.code(u), u)


def plot_gate(neuron: NeuronTables, ax: Axes) -> None:
    """Draw the gate, ds/du and the code over u."""
    u, gate, slope = gate_of(neuron)
    ax.plot(u, neuron.code(u), color="0.6", label="s")
    ax.plot(u, gate, color="C0", label="gate")
    ax.plot(u, slope, "k--", lw=1, label="ds/du")
    low, high = (-3.5, 3.5) if gate.min() > -0.5 else (-4, 4)
    ax.set(
        xlabel="u (units)", xlim=(low, high), ylim=(min(-1.3, gate.min() - 0.2) if slope.min() < -0.5 else -0.3, 2.5)
    )
    legend_above(ax)


def plot_drift(neuron: NeuronTables, ax: Axes) -> None:
    """Draw the drift over u, a line for each e."""
    surface = neuron.drift
    for e, values, color in zip(surface.others, surface.values, distinct_colors(len(surface.others)), strict=True):
        ax.plot(surface.knots, values, color=color, label=f"e = {e:.3g}")
    ax.set(xlabel="u (units)", ylabel="F (units per tau)")
    legend_above(ax)


def cells_figure(found: Characterisation) -> Figure:
    """Return what the first neuron does."""
    neuron = found.chips[0].neurons[0]
    with new_figure(7.4, 3.2) as fig:
        left, right = fig.subplots(1, 2)
        plot_gate(neuron, left)
        plot_drift(neuron, right)
    return fig


def errors_figure(found: Characterisation) -> Figure:
    """Return gate - ds/du over u of all chips."""
    with new_figure(6.4, 3.0) as fig:
        ax = fig.subplots()
        few = len(found.chips) <= MOST_NAMED
        for chip, color in zip(found.chips, distinct_colors(len(found.chips)), strict=True):
            for i, neuron in enumerate(chip.neurons):
                u, gate, slope = gate_of(neuron)
                label = chip.name if few and i == 0 else None
                ax.plot(u, gate - slope, color=color, lw=0.8, label=label)
        ax.axhline(0, color="0.8", lw=0.7, zorder=0)
        ax.set(xlabel="u (units)", ylabel="gate - ds/du")
        if few:
            legend_above(ax, ncols=2, fontsize=7)
    return fig


def corners_figure(found: Characterisation) -> Figure:
    """Return the gains of every chip, beside each other."""
    sizes = found.sampler.sizes
    assert sizes is not None
    names = [chip.name for chip in found.chips]
    with new_figure(1.7 * len(QUALITIES) + 1.8, 1.2 + 0.2 * max(4, len(names))) as fig:
        axes = fig.subplots(1, len(QUALITIES), sharey=True)
        for what, ax in zip(QUALITIES, axes, strict=True):
            for side, marker in zip(SIDES, "ox", strict=True):
                points = [
                    (value / (sizes.crossing if what == "crossing" else 1.0), y)
                    for value, y in _values(found.chips, f"{what} {side}")
                ]
                x, y = np.transpose(points)
                ax.plot(x, y, marker, color="C0" if side == "negative" else "C1", ms=4, mfc="none")
            ax.axvline(1, color="0.7", lw=0.8, zorder=0)
            ax.set(title={"crossing": "u0"}.get(what, what), ylim=(len(names) - 0.5, -0.5))
            ax.locator_params(axis="x", nbins=4)
        axes[0].set_yticks(range(len(names)), names if len(names) <= 60 else [""] * len(names))
    return fig


def _values(chips: tuple[CharacterisedChip, ...], name: str) -> list[tuple[float, int]]:
    return [(neuron.quality[name], y) for y, chip in enumerate(chips) for neuron in chip.neurons]
