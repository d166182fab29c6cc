"""Compiled callbacks that libngspice calls while it integrates: source values, and the length of the next step.

Numba compiles two C functions. ``vsrc`` returns the voltage of each ``external`` source by interpolating its path on
the grid; ``sync`` puts the next time point on the grid. Both read one block of memory that Python fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, cfunc, types

from circuitlsc.arrays import Array
from circuitlsc.spice.feedback import FeedbackState, FeedbackTap
from circuitlsc.spice.memory import name_table, pointer, prime_and_offset

FIRST = 1e-4  # ngspice's first two steps are backward Euler: each is this share of h, so that they do no harm

# The last step must not end beyond ngspice's final time: ngspice then stops 1.1 of its shortest steps before it, and takes
# steps of length 0 for ever. It reads n h from text to a few units in the last place, and calls 100 of them equal.
SHORT = 4e-15

VSRC = types.int32(types.CPointer(types.double), types.double, types.CPointer(types.uint8), types.int32, types.voidptr)
SYNC = types.int32(
    types.double,
    types.CPointer(types.double),
    types.double,
    types.int32,
    types.int32,
    types.int32,
    types.voidptr,
)


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
        n = len(devices)
        self._step = step
        self._path = np.zeros((capacity + 3, n))
        # counters: grid points available, calls for an unknown source, rejected points, accepted points
        self._counters = np.zeros(4, dtype=np.int64)
        self._end = np.zeros(1)  # seconds
        keys, columns = name_table(devices)
        self._keys, self._columns = keys, columns
        self._tap = FeedbackTap(feedback, self._path, step) if feedback else None

        h, first, slots = step, FIRST * step, len(keys) - 1
        rows = capacity + 3
        path_at, keys_at, columns_at = self._path.ctypes.data, keys.ctypes.data, columns.ctypes.data
        counters_at, end_at = self._counters.ctypes.data, self._end.ctypes.data
        prime, offset = prime_and_offset()

        @cfunc(VSRC)
        def vsrc(value, t, name, ident, user):  # type: ignore[no-untyped-def]
            key = offset
            p = 0
            while name[p] != 0:
                key = (key ^ np.uint64(name[p])) * prime
                p += 1
            table = carray(pointer(keys_at), (slots + 1,), np.uint64)
            column = carray(pointer(columns_at), (slots + 1,), np.int64)
            slot = np.int64(key & np.uint64(slots))
            while column[slot] >= 0 and table[slot] != key:
                slot = (slot + 1) & slots
            if column[slot] < 0:
                counters = carray(pointer(counters_at), (4,), np.int64)
                counters[1] += 1
                value[0] = 0.0
                return 0
            path = carray(pointer(path_at), (rows, n), np.float64)
            q = t / h
            k = min(int(q + 1e-9), rows - 2)
            f = max(q - k, 0.0)
            value[0] = path[k, column[slot]] * (1 - f) + path[k + 1, column[slot]] * f
            return 0

        @cfunc(SYNC)
        def sync(t, delta, old_delta, redo, ident, location, user):  # type: ignore[no-untyped-def]
            if redo == 0:  # after a rejected step ngspice's smaller one stands; the next one returns to the grid
                if t < 1.5 * first:
                    delta[0] = first
                else:
                    end = carray(pointer(end_at), (1,), np.float64)[0]
                    point = (int(t / h + 1e-6) + 1) * h
                    # a step of length 0 or less would not be one: if t is at the end, ngspice is about to stop
                    delta[0] = (end if point > end > t else point) - t
            else:
                counters = carray(pointer(counters_at), (4,), np.int64)
                counters[2] += 1
            return 0

        self._functions = (vsrc, sync)

    def install(self, session: Any) -> None:
        """Hand the functions to ngspice in place of PySpice's (which stay the owner of the user-data pointer).

        Voltage and current sources are asked for in the same way, and have different names.
        """
        from PySpice.Spice.NgSpice.Shared import ffi

        vsrc, sync = (ffi.cast("void *", f.address) for f in self._functions)
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
        self._end[0] = n * self._step * (1 - SHORT)
        path = self._path
        np.cumsum(increments, axis=0, out=path[1 : n + 1, :k])
        path[1 : n + 1, :k] *= units
        if inputs is not None:
            path[: n + 1, k : k + inputs.shape[1]] = inputs
        path[n + 1 :] = path[n]  # flat beyond the end: ngspice may look a rounding error ahead

        if self._tap is not None and feedback is not None:
            self._tap.load(feedback)

    @property
    def data_address(self) -> int | None:
        """Address of the function that takes solved values back; None if the loop is closed."""
        return None if self._tap is None else self._tap.address

    def feedback(self, n: int) -> FeedbackState | None:
        """Return what a broken loop carries on after n steps; None if there is none, or a solved value is missing."""
        return None if self._tap is None else self._tap.state(n)

    @property
    def unknown_sources(self) -> int:
        """Calls for a source that has no path; a run with any is not valid."""
        return int(self._counters[1])

    @property
    def rejected(self) -> int:
        """Time points that ngspice took back."""
        return int(self._counters[2])
