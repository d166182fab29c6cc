"""The way back of a broken loop: a compiled function that reads solved voltages and extrapolates them for the next step.

ngspice calls it (``SendData``) after every accepted time point with the values of all saved vectors. At a point of the grid
it writes the next value of each feedback source into the path that ``vsrc`` reads (`circuitlsc.spice.callbacks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import carray, cfunc, types

from circuitlsc.arrays import Array
from circuitlsc.loop import HELD, NEWEST, OLDER
from circuitlsc.spice.memory import name_table, pointer, prime_and_offset

DATA = types.int32(types.voidptr, types.int32, types.int32, types.voidptr)
TIME = b"time"


@dataclass(frozen=True, eq=False)
class FeedbackState:
    """What a broken loop carries from one transient to the next, volts, each of shape (n,).

    Attributes
    ----------
    now, following : array
        What the sources give at the last grid point, and at the one after it.
    solved : array
        The gradient that was solved at the last grid point.
    """

    now: Array
    following: Array
    solved: Array


class FeedbackTap:
    """The function for one circuit, and its memory.

    Parameters
    ----------
    nodes : sequence of str
        The saved nodes whose voltages come back, in the order of the path's last columns.
    path : array, shape (rows, n_columns)
        What the external sources give at the grid points, volts; the tap fills its last ``len(nodes)`` columns.
    step : float
        Grid, seconds.
    """

    def __init__(self, nodes: Sequence[str], path: Array, step: float) -> None:
        n, (rows, width) = len(nodes), path.shape
        self._path, self._n = path, n
        self._solved = np.zeros(n)
        # whether the vectors' places are known, grid points seen
        self._flags = np.zeros(2, dtype=np.int64)
        self._places = np.zeros(n + 1, dtype=np.int64)  # of each node among the vectors, then of the time
        keys, columns = name_table([*nodes, TIME.decode()])
        self._tables = (keys, columns)
        slots = len(keys) - 1
        prime, offset = prime_and_offset()
        path_at, solved_at, flags_at = path.ctypes.data, self._solved.ctypes.data, self._flags.ctypes.data
        places_at, keys_at, columns_at = self._places.ctypes.data, keys.ctypes.data, columns.ctypes.data
        first, h = width - n, step
        newest, older, held = NEWEST, OLDER, HELD

        @cfunc(DATA)
        def data(block, count, ident, user):  # type: ignore[no-untyped-def]
            # struct {int count, index; struct {char *name; double real, imaginary; bool, bool} **vectors}
            vectors = carray(pointer(carray(block, (2,), np.int64)[1]), (count,), np.int64)
            flags = carray(pointer(flags_at), (2,), np.int64)
            places = carray(pointer(places_at), (n + 1,), np.int64)
            if flags[0] == 0:
                table = carray(pointer(keys_at), (slots + 1,), np.uint64)
                column = carray(pointer(columns_at), (slots + 1,), np.int64)
                for c in range(n + 1):
                    places[c] = -1
                for v in range(count):
                    name = carray(pointer(carray(pointer(vectors[v]), (1,), np.int64)[0]), (256,), np.uint8)
                    key = offset
                    p = 0
                    while name[p] != 0:
                        key = (key ^ np.uint64(name[p])) * prime
                        p += 1
                    slot = np.int64(key & np.uint64(slots))
                    while column[slot] >= 0 and table[slot] != key:
                        slot = (slot + 1) & slots
                    if column[slot] >= 0:
                        places[column[slot]] = v
                for c in range(n + 1):
                    if places[c] < 0:
                        return 0
                flags[0] = 1
            q = carray(pointer(vectors[places[n]]), (2,), np.float64)[1] / h
            k = int(q + 0.5)
            path = carray(pointer(path_at), (rows, width), np.float64)
            solved = carray(pointer(solved_at), (n,), np.float64)
            if abs(q - k) > 1e-5 or k != flags[1] + 1 or k + 1 >= rows:
                return 0
            flags[1] = k
            for c in range(n):
                e = carray(pointer(vectors[places[c]]), (2,), np.float64)[1]
                path[k + 1, first + c] = newest * e + older * solved[c] + held * path[k, first + c]
                solved[c] = e
            return 0

        self._function: Any = data

    @property
    def address(self) -> int:
        """Where the function is."""
        return int(self._function.address)

    def load(self, state: FeedbackState) -> None:
        """Get ready for a transient that goes on from ``state``."""
        self._flags[:] = 0
        columns = self._path[:, self._path.shape[1] - self._n :]
        columns[:] = 0.0
        columns[0], columns[1], self._solved[:] = state.now, state.following, state.solved

    def state(self, n: int) -> FeedbackState | None:
        """Return what is to be carried on after n steps; None if a solved value did not come back."""
        if self._flags[1] != n:
            return None
        columns = self._path[:, self._path.shape[1] - self._n :]
        return FeedbackState(columns[n].copy(), columns[n + 1].copy(), self._solved.copy())
