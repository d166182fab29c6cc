"""Inputs that change: rows of a data set, each held for some time, or the frames of a video with lines between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_number

INTERPOLATIONS = ("hold", "linear")
ORDERS = ("once", "cyclic", "random")


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
    order : str
        ``"once"``: each row in turn, and that is the end. ``"cyclic"``: again and again, as long as a run is. ``"random"``: the
        same, in another order in each cycle.

    Raises
    ------
    InputError
        If hold is not a positive number, or ``interpolate`` or ``order`` is not known.
    """

    rows: Array
    hold: float
    interpolate: str = "hold"
    order: str = "once"

    def __post_init__(self) -> None:
        if not is_number(self.hold) or not 0 < self.hold < math.inf:
            raise InputError(f"run.hold = {self.hold!r}, but each input is on for a time. Give a number > 0, in tau.")
        object.__setattr__(self, "hold", float(self.hold))
        if self.interpolate not in INTERPOLATIONS:
            raise InputError(f"run.interpolate = {self.interpolate!r} is not one of {', '.join(INTERPOLATIONS)}.")
        if self.order not in ORDERS:
            raise InputError(f"run.order = {self.order!r} is not one of {', '.join(ORDERS)}.")

    @property
    def t_stop(self) -> float:
        """How long all rows take once, in tau."""
        return float(len(self.rows) * self.hold)

    def with_rows(self, rows: Array) -> Stream:
        """Return the same sequence of other rows."""
        return replace(self, rows=rows)

    def corners(self, step: float) -> tuple[Array, Array]:
        """Return times (n,) in tau and rows (n, n_inputs) between which the input is straight: see `grid_rows`."""
        n = len(self.rows)
        starts = np.asarray(np.arange(n) * self.hold, dtype=float)
        if self.order != "once":
            # from the second corner to the last is a whole cycle, which a deck repeats
            times = np.stack([starts + step, starts + self.hold], axis=1).ravel()
            ends = np.concatenate([np.repeat(self.rows, 2, axis=0), self.rows[:1]])
            return np.concatenate([[0.0], times, [times[-1] + step]]), np.concatenate([self.rows[:1], ends])
        if self.interpolate == "linear":
            return starts, self.rows
        times = np.stack([starts + step, starts + self.hold], axis=1).ravel()
        times[0] = 0.0
        return times, np.repeat(self.rows, 2, axis=0)

    def visits(self, t_stop: float, warmup: float, seed: int) -> Visits:
        """Return which row is on when, of a run that visits them again and again: whole cycles, t_stop long or a little more.

        Raises
        ------
        InputError
            If no cycle is left after the warmup.
        """
        n, whole = len(self.rows), self.t_stop
        cycles, dropped = (max(0, math.ceil(t / whole - 1e-9)) for t in (t_stop, warmup))
        if cycles <= dropped:
            raise InputError(
                f"run.t_stop = {t_stop:g} tau is {t_stop / whole:.3g} cycles of {n} inputs of {self.hold:g} tau each, and "
                f"run.warmup = {warmup:g} drops {warmup / whole:.3g}, rounded up: no sample would be left. Give "
                f"t_stop > {dropped * whole:g}, or less warmup."
            )
        order = np.tile(np.arange(n), (cycles, 1))
        if self.order == "random":
            order = np.random.default_rng([seed, 11]).permuted(order, axis=1)
        return Visits(order, dropped)


@dataclass(frozen=True, eq=False)
class Visits:
    """Which row of a set is on when.

    Attributes
    ----------
    order : array, shape (n_cycles, n_rows)
        Rows in the order in which a cycle visits them.
    dropped : int
        Cycles at the start whose samples do not count.
    """

    order: NDArray[np.int64]
    dropped: int

    @property
    def sequence(self) -> NDArray[np.int64]:
        """All rows, one after the other, shape (n_visits,)."""
        return self.order.ravel()

    @property
    def kept(self) -> int:
        """Cycles whose samples count: so often each row is visited."""
        return len(self.order) - self.dropped

    def places(self, first: int, stop: int, each: int) -> NDArray[np.int64]:
        """Return where draws first .. stop - 1 of each row are among all draws, (n_rows, stop - first); ``each`` of a visit."""
        cycle, within = np.divmod(np.arange(first, stop), each)
        cycle = cycle + self.dropped
        at = np.argsort(self.order[cycle[0] : cycle[-1] + 1], axis=1)  # the place of each row in its cycle
        n = self.order.shape[1]
        return np.asarray((cycle[:, None] * n + at[cycle - cycle[0]]) * each + within[:, None]).T
