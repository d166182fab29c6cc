"""The way back of a broken loop: a compiled function that reads solved voltages and extrapolates them for the next step.

ngspice calls it (``SendData``) after every accepted time point with the values of all saved vectors. At a point of the grid
it writes the next value of each feedback source into the path that ``vsrc`` reads (`circuitlsc.simulator.ngspice.callbacks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import carray, types

from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import c_function
from circuitlsc.planning.extrapolation import HELD, NEWEST, OLDER
from circuitlsc.simulator.memory import TAP, column_of, key_of, name_table, pointer, table_address

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


# places in the tap's table of addresses and numbers
PATH, SOLVED, FLAGS, PLACES, KEYS, COLUMNS, STEP, NODES, ROWS, WIDTH, SLOTS, SIZE = range(12)


@c_function(DATA)
def _data(block, count, ident, user):  # type: ignore[no-untyped-def]
    # struct {int count, index; struct {char *name; double real, imaginary; bool, bool} **vectors}
    table = carray(pointer(carray(pointer(table_address()), (TAP + 1,), np.int64)[TAP]), (SIZE,), np.int64)
    n, rows, width, slots = table[NODES], table[ROWS], table[WIDTH], table[SLOTS]
    vectors = carray(pointer(carray(block, (2,), np.int64)[1]), (count,), np.int64)
    flags = carray(pointer(table[FLAGS]), (2,), np.int64)
    places = carray(pointer(table[PLACES]), (n + 1,), np.int64)
    if flags[0] == 0:
        keys = carray(pointer(table[KEYS]), (slots,), np.uint64)
        columns = carray(pointer(table[COLUMNS]), (slots,), np.int64)
        for c in range(n + 1):
            places[c] = -1
        for v in range(count):
            name = carray(pointer(carray(pointer(vectors[v]), (1,), np.int64)[0]), (256,), np.uint8)
            column = column_of(key_of(name), keys, columns)
            if column >= 0:
                places[column] = v
        for c in range(n + 1):
            if places[c] < 0:
                return 0
        flags[0] = 1
    h = carray(pointer(table[STEP]), (1,), np.float64)[0]
    q = carray(pointer(vectors[places[n]]), (2,), np.float64)[1] / h
    k = int(q + 0.5)
    path = carray(pointer(table[PATH]), (rows, width), np.float64)
    solved = carray(pointer(table[SOLVED]), (n,), np.float64)
    if abs(q - k) > 1e-5 or k != flags[1] + 1 or k + 1 >= rows:
        return 0
    flags[1] = k
    for c in range(n):
        e = carray(pointer(vectors[places[c]]), (2,), np.float64)[1]
        f = width - n + c
        path[k + 1, f] = NEWEST * e + OLDER * solved[c] + HELD * path[k, f]
        solved[c] = e
    return 0


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
        self._solved, self._step = np.zeros(n), np.array([step])
        # whether the vectors' places are known, grid points seen
        self._flags = np.zeros(2, dtype=np.int64)
        self._places = np.zeros(n + 1, dtype=np.int64)  # of each node among the vectors, then of the time
        self._keys, self._columns = name_table([*nodes, TIME.decode()])
        arrays = (path, self._solved, self._flags, self._places, self._keys, self._columns, self._step)
        self.table = np.array([*(a.ctypes.data for a in arrays), n, rows, width, len(self._keys)], dtype=np.int64)

    @property
    def address(self) -> int:
        """Where the function is."""
        return int(_data.address)

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
