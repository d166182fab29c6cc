"""Compilation of loops by numba, with the machine code kept on disk where that is possible.

Numba takes half a second to import: a compiled function is made at its first call, and what calls none does not load it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial, update_wrapper
from types import FunctionType
from typing import Any, TypeVar, cast

#: Held in parallel loops: numba's simplest threading layer, workqueue, ends the process if two threads enter them at once.
ONE_PARALLEL = threading.Lock()

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and fused, which lets them use the vector units; NaN and inf keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


class _Compiled:
    """A function that numba compiles, or reads from disk, when it is first called, by Python or by another one of these."""

    def __init__(self, function: Callable[..., Any], parallel: bool, reorder: bool, inline: bool) -> None:
        self._function, self._parallel, self._reorder, self._inline = function, parallel, reorder, inline
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        return self._compiled(*arguments)

    @cached_property
    def _compiled(self) -> Any:
        import numba

        function, fastmath = self._function, _REORDER if self._reorder else False
        if self._parallel:
            function = _with_threads(function, numba.prange)
        options = {"parallel": self._parallel, "fastmath": fastmath, "forceinline": self._inline}
        made = _kept(partial(numba.njit, nogil=True, **options), function)
        return vars(self).setdefault("_compiled", made)  # that of the thread that was first

    @property
    def _numba_type_(self) -> Any:
        return self._compiled._numba_type_


def _with_threads(function: Any, prange: Any) -> Any:
    """Return a function with another prange, and a name by which numba keeps its machine code apart from the serial one's."""
    parallel = FunctionType(
        function.__code__, {**function.__globals__, "prange": prange}, f"{function.__name__}_parallel"
    )
    parallel.__qualname__ = parallel.__name__
    return parallel


def compiled(*, parallel: bool = False, reorder: bool = False, inline: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function, free of the interpreter's lock.

    ``prange`` is to be `range` in the function's module; if ``parallel``, numba's takes its place. With ``inline`` it becomes
    part of what calls it, whose arrays are then known to be apart.
    """

    def decorate(function: Function) -> Function:
        return cast(Function, _Compiled(function, parallel, reorder, inline))

    return decorate


def c_function(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function that C may call, kept on disk as well: it may close over no address."""
    import numba

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
