"""Compilation of loops by numba, with the machine code kept on disk where that is possible."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numba

#: Held in parallel loops: numba's simplest threading layer, workqueue, ends the process if two threads enter them at once.
ONE_PARALLEL = threading.Lock()

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and fused, which lets them use the vector units; NaN and inf keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


def compiled(*, parallel: bool = False, reorder: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function, free of the interpreter's lock."""
    fastmath = _REORDER if reorder else False
    return partial(_kept, partial(numba.njit, nogil=True, parallel=parallel, fastmath=fastmath))


def c_function(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function that C may call, kept on disk as well: it may close over no address."""
    return partial(_kept, partial(numba.cfunc, signature))


def _kept(compiler: Callable[..., Any], function: Callable[..., Any]) -> Any:
    try:
        return compiler(cache=True)(function)
    except RuntimeError:  # numba found no writable cache folder (a read-only installation without a home)
        return compiler()(function)


def side_by_side(work: Callable[[int], None], n: int, threads: int | None = None) -> None:
    """Call work(0) ... work(n - 1), as many at a time as there are processors: compiled loops do not hold the lock."""
    with ThreadPoolExecutor(threads or min(max(n, 1), len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(work, range(n)))
