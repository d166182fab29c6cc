"""Who runs the chains: threads that each mind one worker process, a Dask cluster, or an executor of the caller's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from circuitlsc.errors import InputError
from circuitlsc.io.install import how_to_install, requirements

CONNECT, LONGEST = 5, 15  # seconds to wait for a scheduler, and for whatever else answers there
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ucx|wss?)://)?(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]+):([0-9]{1,5})/?", re.ASCII)
_OTHER = "something is there, but it is no scheduler"
# in a process of its own: what is no scheduler may make the client wait for ever, or want exabytes
_KNOCK = """
import os, sys
try:
    from distributed import Client
    Client(sys.argv[1], timeout=float(sys.argv[2]), set_as_default=False)
    code = 0
except MemoryError:
    code = 2
except BaseException as error:
    print((str(error).splitlines() or [type(error).__name__])[0], flush=True)
    code = 1
os._exit(code)
"""


@dataclass(frozen=True)
class Pool:
    """An executor, and whether it shares this process: then it is told of interrupts."""

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
        If the extra ``cluster`` is not installed, the address is none, or no scheduler answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            f"--scheduler needs Dask. Leave it out, or install that with: {how_to_install(*requirements('cluster'))}"
        ) from None
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[1]) > 65535:
        raise InputError(f"--scheduler {address!r} is no address. Give one such as tcp://127.0.0.1:8786.")
    said = _knock(address)
    if said is None:
        try:
            return Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise InputError(
        f"--scheduler {address!r} does not answer ({said.rstrip('.')}). Start one with `dask scheduler`, or correct it."
    )


def _knock(address: str) -> str | None:
    """Return why no scheduler answers there, or None if one does."""
    command = [sys.executable, "-P", "-c", _KNOCK, address, str(CONNECT)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return _OTHER
    said = done.stdout.strip().splitlines() or ["the client crashed"]
    return {0: None, 2: _OTHER}.get(done.returncode, said[-1])
