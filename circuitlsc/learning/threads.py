"""How many threads a piece of a run gets: all or one, whichever was faster; the results are the same to the last bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIAL, _CYCLE = 3, 300  # calls with each number of threads, and calls until they are compared again


class Threads:
    """Runs pieces of work, now with one thread and now with all, and then with the faster.

    Where another program keeps a core busy, a thread that waits for its turn holds all others up at the end of
    every loop: two threads can then be ten times as slow as one.
    """

    def __init__(self) -> None:
        import numba

        self._numba, self._all = numba, numba.get_num_threads()
        self._calls = 0
        self._times = [float("inf")] * 2

    def run(self, work: Callable[[], None], steps: int) -> None:
        """Do a piece of work of so many steps."""
        call, self._calls = self._calls % _CYCLE, self._calls + 1
        if self._all == 1 or call >= 2 * _TRIAL:
            return work()
        if call == 0:
            self._times = [float("inf")] * 2
        which = call // _TRIAL
        self._numba.set_num_threads((1, self._all)[which])
        start = time.perf_counter()
        work()
        self._times[which] = min(self._times[which], (time.perf_counter() - start) / steps)
        if call == 2 * _TRIAL - 1:
            self._numba.set_num_threads((1, self._all)[int(self._times[1] < self._times[0])])
        return None


@contextmanager
def thread_choice() -> Iterator[Threads]:
    """Yield a `Threads`, and give numba its own number of threads back at the end."""
    import numba

    before = numba.get_num_threads()
    try:
        yield Threads()
    finally:
        numba.set_num_threads(before)
