"""Locks that the system frees when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from circuitlsc.errors import InputError

_POLL = 0.05  # seconds
BEAT = 5.0  # seconds between two signs of life of who claims a folder
_MARK = "circuitlsc: "  # begins what it says in its lock file
_NOBODY = "nobody"


@contextmanager
def lock(path: Path, stop: Callable[[], bool] | None = None) -> Iterator[int]:
    """Hold a file's lock; yields its file descriptor, which a child process may inherit to hold it too.

    Parameters
    ----------
    path : pathlib.Path
    stop : callable or None
        Wait for whoever has it, until this returns true; None does not wait.

    Raises
    ------
    BlockingIOError
        If somebody has it, and nobody waits, or ``stop`` ended it.
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
                if stop is None or stop():
                    raise
                time.sleep(_POLL)
            except OSError as error:
                raise InputError(
                    f"{path.parent} is on a file system without locks ({error.strerror}), and two runs could spoil each "
                    "other's files there. Give -o and --cache places on a disk with locks, for example one of this machine, "
                    "and copy the results afterwards."
                ) from None
        try:
            yield descriptor
        finally:
            # closing does not do: a process that was forked meanwhile has the descriptor too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold a lock, and say in its file who holds it: there are file systems where a lock holds on one machine only.

    Yields whether the file was one of ours already.

    Raises
    ------
    BlockingIOError
        If another process has it, here or on another machine; its text says which.
    InputError
        If the file system has no locks, or the file was written by something else.
    """
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(lock(path))
            theirs = os.pread(descriptor, 1000, 0).decode(errors="replace")
            if theirs and not theirs.startswith(_MARK):
                raise InputError(f"{path} is none of ours. Rename its folder, or give another name.")
            here = f"on {platform.node()}"
            if theirs and not theirs.endswith((here, _NOBODY)) and _beats(path):
                raise BlockingIOError
        except BlockingIOError:
            raise BlockingIOError(path.read_text(errors="replace").removeprefix(_MARK) or "another process") from None
        _say(descriptor, f"process {os.getpid()} {here}")
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(descriptor, ended), daemon=True)
        beating.start()
        try:
            yield bool(theirs)
        finally:
            ended.set()
            beating.join()
            _say(descriptor, _NOBODY)


def _say(descriptor: int, who: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{_MARK}{who}".encode(), 0)


def _beat(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(descriptor)


def _beats(path: Path) -> bool:
    """Watch whether whoever wrote a lock file is alive."""
    before = _changed(path)
    for _ in range(6):
        time.sleep(BEAT / 2)
        if _changed(path) != before:
            return True
    return False


def _changed(path: Path) -> int:
    with path.open("rb") as file:  # a network disk asks its server when a file is opened
        return os.fstat(file.fileno()).st_mtime_ns
