"""Figures of learning: the slow variables against time, and dictionaries as images."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from circuitlsc.io.arrays import Array
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.match import match_atoms
from circuitlsc.reporting.plotting import new_figure

CAPTION = (
    "What is learned against time: dictionaries as pictures, norms of atoms, and numbers; dashed is the truth, if data have "
    "one."
)

LABELS = {"pi": r"$\pi$", "lam": r"$\lambda$", "sigma": r"$\sigma$", "error": "$|x - A s|^2 / D$"}
MOST_ATOMS = 400  # drawn
IN_A_ROW = 4  # panels
SMOOTHED = 50  # windows of a record, over each of which a mean is drawn


def mosaic(A: Array, *, columns: int | None = None, gap: int = 1) -> Array:
    """Return the atoms (D, K) of square images as one picture, each scaled to its largest abs; nan between them.

    At most 400 atoms are shown, in rows of ``columns`` (default: as many as rows), ``gap`` pixels apart.

    Atoms much shorter than the longest stay faint: the scale is at least a fifth of the longest atom's.
    """
    side, k = math.isqrt(len(A)), min(A.shape[1], MOST_ATOMS)
    columns = columns or math.ceil(math.sqrt(k))
    rows = math.ceil(k / columns)
    out = np.full((rows * (side + gap) + gap, columns * (side + gap) + gap), np.nan)
    largest = float(np.abs(A).max()) or 1.0
    for i in range(k):
        atom = A[:, i].reshape(side, side)
        y, x = (gap + place * (side + gap) for place in divmod(i, columns))
        out[y : y + side, x : x + side] = atom / max(float(np.abs(atom).max()), 0.2 * largest)
    return out


def is_image(n_features: int) -> bool:
    """Return whether inputs of this length are square images."""
    return n_features > 1 and math.isqrt(n_features) ** 2 == n_features


def plot_dictionary(A: Array, ax: Axes) -> Axes:
    """Draw the atoms (D, K) as images, or as a matrix if D is no square; grey is 0 where weights are of both signs."""
    picture = mosaic(A) if is_image(len(A)) else A / (float(np.abs(A).max()) or 1.0)
    nonnegative = float(A.min()) > -0.2 * float(A.max())
    ax.imshow(picture, cmap="gray", vmin=0 if nonnegative else -1, vmax=1, interpolation="nearest")
    ax.set_facecolor("C0")
    ax.set(xticks=[], yticks=[])
    if not is_image(len(A)):
        ax.set(xlabel="latent", ylabel="feature")
    elif A.shape[1] > MOST_ATOMS:
        ax.set(xlabel=f"the first {MOST_ATOMS} of {A.shape[1]} atoms")
    return ax


def plot_norms(history: xr.Dataset, ax: Axes) -> None:
    """Draw the norm of each atom against time."""
    ax.plot(history["time"], history["norm"], lw=0.8)
    ax.set(xlabel=_progress(history), ylabel="norm of each atom", ylim=(0, None))


def plot_course(time: ArrayLike, values: ArrayLike, ax: Axes, color: str, label: str | None = None) -> None:
    """Draw a record over time; of one that is long, pale, with its running mean over a fiftieth of it."""
    at, v = np.asarray(time, dtype=float), np.asarray(values, dtype=float)
    window = len(v) // SMOOTHED
    if window < 2:
        ax.plot(at, v, color=color, label=label)
        return
    ax.plot(at, v, color=color, lw=0.5, alpha=0.35)
    mean = np.convolve(v, np.full(window, 1 / window), "valid")
    first = (window - 1) // 2
    ax.plot(at[first : first + len(mean)], mean, color=color, label=label)


def plot_parameter(history: xr.Dataset, name: str, ax: Axes, truth: float | None = None) -> None:
    """Draw pi, lam or sigma against time, with its true value as a dashed line; or the error."""
    plot_course(history["time"], history[name], ax, "C0")
    if truth is not None:
        ax.axhline(truth, color="k", ls="--", lw=0.8, label="truth")
        ax.legend()
    ax.set(xlabel=_progress(history), ylabel=LABELS[name])


def plot_bound(history: xr.Dataset, ax: Axes) -> None:
    """Draw the ELBO of an input against steps: of training, and of held-out inputs if there are some."""
    plot_course(history["time"], history["elbo"], ax, "C0", "training")
    if "held_out" in history:
        plot_course(history["time"], history["held_out"], ax, "C1", "held out")
    shown = history["elbo"].values[len(history["elbo"]) // 50 :]  # the first ones can be far below
    least, best = float(np.min(shown)), float(np.max(shown))
    ax.set(xlabel=_progress(history), ylabel="ELBO (nats per input)", ylim=(least - 0.1 * (best - least or 1.0), None))
    ax.legend()


def _progress(history: xr.Dataset) -> str:
    unit = history["time"].attrs.get("units", "tau")
    return r"time ($\tau$)" if unit == "tau" else str(unit)


def learning_figure(
    history: xr.Dataset,
    learned: Learned | None,
    learn: tuple[str, ...],
    *,
    truth: Array | None = None,
    numbers: dict[str, float] | None = None,
) -> Figure:
    """Return the figure of a run: the dictionary at the start and learned, norms, and what else was learned.

    Parameters
    ----------
    history, learned
        What `Learner.run`, `CircuitLearner.run` or `VariationalLearner.run` returned; of an encoder alone learned is None.
    learn : tuple of str
        What was learned.
    truth : array, shape (D, K), or None
        The dictionary that drew the data.
    numbers : dict or None
        True values of pi, lam, sigma.
    """
    pictures = ["start", "learned", "norms"] if "A" in learn else []
    curves = [
        *(name for name in ("pi", "lam", "sigma") if name in learn),
        "error",
        *(["elbo"] if "elbo" in history else []),
    ]
    panels = [*pictures, *curves]
    rows = 1 if len(panels) <= IN_A_ROW else 2
    columns = math.ceil(len(panels) / rows)
    with new_figure(2.6 * columns, 2.5 * rows) as fig:
        places = fig.subplots(rows, columns, squeeze=False).ravel()
        axes = dict(zip(panels, places, strict=False))
        for unused in places[len(panels) :]:
            unused.remove()
        if learned is not None and pictures:
            plot_dictionary(history["A"].values[0], axes["start"]).set_title("start")
            plot_dictionary(learned.A, axes["learned"]).set_title(_agreement(learned, truth))
            plot_norms(history, axes["norms"])
        for name in curves:
            if name == "elbo":
                plot_bound(history, axes[name])
            else:
                plot_parameter(history, name, axes[name], (numbers or {}).get(name))
        axes["error"].set_ylim(0, None)
    return fig


def _agreement(learned: Learned, truth: Array | None) -> str:
    if truth is None or truth.shape[1] > learned.A.shape[1]:
        return "learned"
    return f"learned: cosines >= {match_atoms(truth, learned.A, signed=learned.signed).cosine.min():.3f}"
