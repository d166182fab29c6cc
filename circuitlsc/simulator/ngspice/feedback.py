"""The way back of a broken loop: a compiled function that reads solved voltages and extrapolates them for the next step.

ngspice calls it (``SendData``) after every accepted time point with the values of all saved vectors. At a point of the grid
it writes the next value of each feedback source into the path that ``vsrc`` reads (`circuitlsc.simulator.ngspice.callbacks`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import carray, types

from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import c_function
from circuitlsc.planning.extrapolation import HELD, NEWEST, OLDER
from circuitlsc.simulator import memory
from circuitlsc.simulator.memory import column_of, key_of, pointer, table_address

DATA = types.int32(types.voidptr, types.int32, types.int32, types.voidptr)
TIME = "time"


class FeedbackState(NamedTuple):
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


@c_function(DATA)
def _data(block, count, ident, user):  # type: ignore[no-untyped-def]
    # struct {int count, index; struct {char *name; double real, imaginary; bool, bool} **vectors}
    table = carray(pointer(table_address()), (memory.SIZE,), np.int64)
    n, rows, width, slots = table[memory.NODES], table[memory.ROWS], table[memory.WIDTH], table[memory.NODE_SLOTS]
    vectors = carray(pointer(carray(block, (2,), np.int64)[1]), (count,), np.int64)
    # whether the vectors' places are known; grid points seen
    flags = carray(pointer(table[memory.FLAGS]), (2,), np.int64)
    places = carray(pointer(table[memory.PLACES]), (n + 1,), np.int64)
    if flags[0] == 0:
        keys = carray(pointer(table[memory.NODE_KEYS]), (slots,), np.uint64)
        columns = carray(pointer(table[memory.NODE_COLUMNS]), (slots,), np.int64)
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
    h = carray(pointer(table[memory.TIMES]), (2,), np.float64)[memory.STEP]
    q = carray(pointer(vectors[places[n]]), (2,), np.float64)[1] / h
    k = int(q + 0.5)
    path = carray(pointer(table[memory.PATH]), (rows, width), np.float64)
    solved = carray(pointer(table[memory.SOLVED]), (n,), np.float64)
    if abs(q - k) > 1e-5 or k != flags[1] + 1 or k + 1 >= rows:
        return 0
    flags[1] = k
    for c in range(n):
        e = carray(pointer(vectors[places[c]]), (2,), np.float64)[1]
        f = width - n + c
        path[k + 1, f] = NEWEST * e + OLDER * solved[c] + HELD * path[k, f]
        solved[c] = e
    return 0
