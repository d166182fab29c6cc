"""Compiled callbacks that libngspice calls while it integrates: source values, and the length of the next step.

Numba compiles two C functions. ``vsrc`` returns the voltage of each ``external`` source by interpolating its path on
the grid; ``sync`` puts the next time point on the grid. Both read memory that Python fills, by a table of its addresses: so
they are compiled once on a machine, not once for every chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, types

from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import c_function
from circuitlsc.planning.extrapolation import FIRST
from circuitlsc.simulator import memory
from circuitlsc.simulator.memory import column_of, key_of, name_table, pointer, table_address, use_table
from circuitlsc.simulator.ngspice.feedback import TIME, FeedbackState, _data

# The last step must not end beyond ngspice's final time: ngspice then stops 1.1 of its shortest steps before it, and takes
# steps of length 0 for ever. It reads n h from text to a few units in the last place, and calls 100 of them equal.
SHORT = 4e-15

VSRC = types.int32(types.CPointer(types.double), types.double, types.CPointer(types.uint8), types.int32, types.voidptr)
SYNC = types.int32(types.double, types.CPointer(types.double), types.double, *3 * (types.int32,), types.voidptr)


UNKNOWN, REJECTED = 0, 1  # counters: calls for an unknown source, rejected points


@c_function(VSRC)
def _vsrc(value, t, name, ident, user):  # type: ignore[no-untyped-def]
    table = carray(pointer(table_address()), (memory.SIZE,), np.int64)
    slots = table[memory.SLOTS]
    keys = carray(pointer(table[memory.KEYS]), (slots,), np.uint64)
    column = column_of(key_of(name), keys, carray(pointer(table[memory.COLUMNS]), (slots,), np.int64))
    if column < 0:
        carray(pointer(table[memory.COUNTERS]), (2,), np.int64)[UNKNOWN] += 1
        value[0] = 0.0
        return 0
    path = carray(pointer(table[memory.PATH]), (table[memory.ROWS], table[memory.WIDTH]), np.float64)
    q = t / carray(pointer(table[memory.TIMES]), (2,), np.float64)[memory.STEP]
    k = min(int(q + 1e-9), table[memory.ROWS] - 2)
    f = max(q - k, 0.0)
    value[0] = path[k, column] * (1 - f) + path[k + 1, column] * f
    return 0


@c_function(SYNC)
def _sync(t, delta, old_delta, redo, ident, location, user):  # type: ignore[no-untyped-def]
    table = carray(pointer(table_address()), (memory.SIZE,), np.int64)
    if redo == 0:  # after a rejected step ngspice's smaller one stands; the next one returns to the grid
        times = carray(pointer(table[memory.TIMES]), (2,), np.float64)
        h, end = times[memory.STEP], times[memory.END]
        first = FIRST * h
        if t < 1.5 * first:
            delta[0] = first
        else:
            point = (int(t / h + 1e-6) + 1) * h
            # a step of length 0 or less would not be one: if t is at the end, ngspice is about to stop
            delta[0] = (end if point > end > t else point) - t
    else:
        carray(pointer(table[memory.COUNTERS]), (2,), np.int64)[REJECTED] += 1
    return 0


class Callbacks:
    """The two C functions for one circuit, and the memory that they read.

    Parameters
    ----------
    devices : sequence of str
        Names of the external sources as ngspice flattens them, in the order of the path's columns: noise, then inputs,
        then those of a broken loop.
    step : float
        Grid of the noise, seconds.
    capacity : int
        Largest number of steps of one transient.
    feedback : sequence of str
        The nodes that the sources of a broken loop follow, one for each of the last devices.
    """

    def __init__(self, devices: Sequence[str], step: float, capacity: int, feedback: Sequence[str] = ()) -> None:
        n = len(feedback)
        self._path = np.zeros((capacity + 3, len(devices)))
        self._counters, self._times = np.zeros(2, dtype=np.int64), np.array([step, 0.0])
        self._solved, self._flags, self._n = np.zeros(n), np.zeros(2, dtype=np.int64), n
        places = np.zeros(n + 1, dtype=np.int64)  # of each node of a broken loop among the vectors, then of the time
        names, nodes = name_table(devices), name_table([*feedback, TIME])
        arrays = (self._path, *names, self._counters, self._times, self._solved, self._flags, places, *nodes)
        numbers = (*self._path.shape, len(names[0]), len(nodes[0]), n)
        self._arrays = arrays  # by their addresses in the table: they live as long as this object
        self._table = np.array([*(a.ctypes.data for a in arrays), *numbers], dtype=np.int64)

    def install(self, session: Any) -> None:
        """Hand the functions to ngspice in place of PySpice's (which stay the owner of the user-data pointer).

        Voltage and current sources are asked for in the same way, and have different names.
        """
        from PySpice.Spice.NgSpice.Shared import ffi

        use_table(self._table)
        vsrc, sync = (ffi.cast("void *", f.address) for f in (_vsrc, _sync))
        session.library.ngSpice_Init_Sync(vsrc, vsrc, sync, session._ngspice_id, ffi.NULL)

    def load(
        self, increments: Array, units: Array, inputs: Array | None = None, feedback: FeedbackState | None = None
    ) -> None:
        """Set the path of the next transient: the noise starts at 0.

        Parameters
        ----------
        increments : array, shape (n, n_noise)
        units : array, shape (n_noise,)
            Volts per model unit of each noise source.
        inputs : array, shape (n + 1, n_inputs), or None
            Values of the input sources at the grid points from the start on, in volts or amperes.
        feedback : FeedbackState or None
            Where a broken loop goes on from; None if it is closed.
        """
        n, k = increments.shape
        use_table(self._table)
        self._times[memory.END] = n * self._times[memory.STEP] * (1 - SHORT)
        path = self._path
        np.cumsum(increments, axis=0, out=path[1 : n + 1, :k])
        path[1 : n + 1, :k] *= units
        if inputs is not None:
            path[: n + 1, k : k + inputs.shape[1]] = inputs
        path[n + 1 :] = path[n]  # flat beyond the end: ngspice may look a rounding error ahead
        if feedback is not None:
            self._flags[:], columns = 0, path[:, path.shape[1] - self._n :]
            columns[:] = 0.0
            columns[0], columns[1], self._solved[:] = feedback

    @property
    def data_address(self) -> int | None:
        """Address of the function that takes solved values back; None if the loop is closed."""
        return int(_data.address) if self._n else None

    def feedback(self, n: int) -> FeedbackState | None:
        """Return what a broken loop carries on after n steps; None if there is none, or a solved value is missing."""
        if self._n == 0 or self._flags[1] != n:
            return None
        columns = self._path[:, self._path.shape[1] - self._n :]
        return FeedbackState(columns[n].copy(), columns[n + 1].copy(), self._solved.copy())

    @property
    def unknown_sources(self) -> int:
        """Calls for a source that has no path; a run with any is not valid."""
        return int(self._counters[UNKNOWN])

    @property
    def rejected(self) -> int:
        """Time points that ngspice took back."""
        return int(self._counters[REJECTED])
