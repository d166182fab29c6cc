"""Compilation of the loops of this subpackage by numba, with the machine code kept on disk where that is possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

#: Held in parallel loops: numba's simplest threading layer, workqueue, ends the process if two threads enter them at once.
ONE_PARALLEL = threading.Lock()

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered and fused, which lets them use the vector units; NaN and inf keep their meaning.
_REORDER = {"reassoc", "contract", "nsz"}


def compiled(*, parallel: bool = False, reorder: bool = False) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function, free of the interpreter's lock."""

    def decorate(function: Function) -> Function:
        options: dict[str, Any] = {"nogil": True, "parallel": parallel, "fastmath": _REORDER if reorder else False}
        try:
            return cast(Function, numba.njit(cache=True, **options)(function))
        except RuntimeError:  # numba found no writable cache folder (a read-only installation without a home)
            return cast(Function, numba.njit(**options)(function))

    return decorate
