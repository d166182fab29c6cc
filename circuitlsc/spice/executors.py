"""Who runs the chains: threads that each mind one worker process, a Dask cluster, or an executor of the caller's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from circuitlsc.errors import InputError

CONNECT = 10  # seconds to wait for a scheduler


@dataclass(frozen=True)
class Pool:
    """An executor, and whether it shares this process: then it is told of progress and of interrupts."""

    executor: Executor
    here: bool


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def open_pool(executor: Any, workers: int | None, n_tasks: int) -> Iterator[Pool]:
    """Yield the pool for some tasks.

    Parameters
    ----------
    executor : concurrent.futures.Executor, distributed.Client or None
        None: worker processes on this machine. A Dask client gives its own executor.
    workers : int or None
        Processes at a time on this machine; None means one per processor.
    n_tasks : int
    """
    if executor is None:
        count = max(1, min(n_tasks, workers or processors()))
        # a thread each: it starts a process for a chain, waits for its end, and outlives its crash
        with ThreadPoolExecutor(count) as threads:
            yield Pool(threads, here=True)
        return
    make = getattr(executor, "get_executor", None)
    if make is not None:
        yield Pool(make(), here=False)
    elif isinstance(executor, Executor):
        yield Pool(executor, here=isinstance(executor, ThreadPoolExecutor))
    else:
        raise InputError(
            f"executor = {executor!r} cannot run tasks. Give a concurrent.futures.Executor or a distributed.Client."
        )


def connect(address: str) -> Any:
    """Return a client of a Dask scheduler, for example ``tcp://127.0.0.1:8786``.

    Raises
    ------
    InputError
        If the extra ``cluster`` is not installed, or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs Dask. Install it with: pip install 'circuitlsc[cluster]', or leave --scheduler out."
        ) from None
    try:
        return Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"--scheduler {address!r} does not answer ({said.rstrip('.')}). Start one with `dask scheduler`, or correct it."
        ) from None
