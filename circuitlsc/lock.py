"""Locks that the system frees when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from circuitlsc.errors import InputError

_POLL = 0.05  # seconds


class Stop(Protocol):
    """As a `threading.Event` has it."""

    def is_set(self) -> bool:
        """Return whether to stop."""


@contextmanager
def lock(path: Path, stop: Stop | None = None, *, wait: bool = False) -> Iterator[int]:
    """Hold a file's lock; yields its file descriptor, which a child process may inherit to hold it too.

    Parameters
    ----------
    path : pathlib.Path
    stop : Stop or None
        Ends the waiting.
    wait : bool
        Wait for whoever has it.

    Raises
    ------
    BlockingIOError
        If somebody has it, and ``wait`` is false or ``stop`` was set.
    InputError
        If the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait or (stop is not None and stop.is_set()):
                    raise
                time.sleep(_POLL)
            except OSError as error:
                raise InputError(
                    f"{path.parent} is on a file system without locks ({error.strerror}), and two runs could spoil each "
                    "other's files there. Give another place with --cache."
                ) from None
        try:
            yield descriptor
        finally:
            # closing does not do: a process that was forked meanwhile has the descriptor too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
