"""Read a file from a stranger: a regular one, of a size that memory bears; never a pipe, a device, or without an end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises
    ------
    OSError
        If there is none, or it is a folder, a pipe or a device: opening or reading those could wait for ever.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a name with a NUL
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return os.fdopen(number, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """Return the contents of a regular file.

    Parameters
    ----------
    path : pathlib.Path
    most : int
        Bytes that the file may have.

    Raises
    ------
    OSError
        If it cannot be read, is no regular file, or has more bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)  # the size that a file system reports may be none, as in /proc
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, the most that is read", str(path))
    return data


def reason(error: OSError) -> str:
    """Return what went wrong, without the number and the name that Python puts around it."""
    return error.strerror or str(error)
