"""Inputs that change: rows of a data set, each held for some time, or the frames of a video with lines between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_number

INTERPOLATIONS = ("hold", "linear")


def grid_rows(rows: Array, steps: int, first: int, n: int, interpolate: str) -> Array:
    r"""Return the input at the grid points first .. first + n, shape (n + 1, n_inputs).

    Row i is on at the grid points i steps + 1 .. (i + 1) steps if it is held: the change takes one step, as it does in
    every simulator. With lines between them, row i is reached at i steps, and the last row stays.

    Parameters
    ----------
    rows : array, shape (n_rows, n_inputs)
    steps : int
        Steps per row.
    first, n : int
        First grid point, and how many follow it.
    interpolate : str
        ``"hold"`` or ``"linear"``.
    """
    k = np.arange(first, first + n + 1)
    last = len(rows) - 1
    if interpolate == "hold":
        return np.asarray(rows[np.clip(-(-k // steps) - 1, 0, last)])
    low = np.clip(k // steps, 0, last)
    share = (k / steps - low)[:, None]
    return np.asarray(rows[low] + np.clip(share, 0.0, 1.0) * (rows[np.minimum(low + 1, last)] - rows[low]))


@dataclass(frozen=True, eq=False)
class Stream:
    """A sequence of inputs, presented one after the other.

    Parameters
    ----------
    rows : array, shape (n_rows, n_inputs)
    hold : float
        Time that each row takes, in units of tau.
    interpolate : str
        ``"hold"``: each row is constant, then the next. ``"linear"``: lines between them, for what varies smoothly.

    Raises
    ------
    InputError
        If hold is not a positive number, or ``interpolate`` is not known.
    """

    rows: Array
    hold: float
    interpolate: str = "hold"

    def __post_init__(self) -> None:
        if not is_number(self.hold) or not 0 < self.hold < math.inf:
            raise InputError(f"run.hold = {self.hold!r}, but each input is on for a time. Give a number > 0, in tau.")
        object.__setattr__(self, "hold", float(self.hold))
        if self.interpolate not in INTERPOLATIONS:
            raise InputError(f"run.interpolate = {self.interpolate!r} is not one of {', '.join(INTERPOLATIONS)}.")

    @property
    def t_stop(self) -> float:
        """How long the whole sequence takes, in tau."""
        return float(len(self.rows) * self.hold)

    def with_rows(self, rows: Array) -> Stream:
        """Return the same sequence of other rows."""
        return replace(self, rows=rows)

    def corners(self, step: float) -> tuple[Array, Array]:
        """Return times (n,) in tau and rows (n, n_inputs) between which the input is straight: see `grid_rows`."""
        n = len(self.rows)
        starts = np.asarray(np.arange(n) * self.hold, dtype=float)
        if self.interpolate == "linear":
            return starts, self.rows
        times = np.stack([starts + step, starts + self.hold], axis=1).ravel()
        times[0] = 0.0
        return times, np.repeat(self.rows, 2, axis=0)
