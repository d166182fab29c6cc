"""Read an untrusted file: a regular one, of a size that memory has room for; never a pipe, a device, or without an end."""

from __future__ import annotations

import codecs
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


def decode(data: bytes) -> str:
    """Return text in UTF-8, or in UTF-16 with its byte-order mark (as Windows writes it), without that mark.

    Raises
    ------
    UnicodeError
        If it is in neither; the message says where, and what to do.
    """
    utf16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnicodeError(f"line {line} is no text in UTF-8: save it in that encoding") from None
    if "\0" in text:
        raise UnicodeError("it has zero bytes, as no text in UTF-8 has: save it in that encoding")
    return text


def reason(error: Exception) -> str:
    """Return what went wrong, without the number and the name that Python puts around it."""
    return getattr(error, "strerror", None) or str(error)
