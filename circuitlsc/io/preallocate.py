"""Room on a disk, asked for before it is needed."""

from __future__ import annotations

import os
from pathlib import Path

MARGIN = 2**18  # bytes of HDF5's own


def make_room(path: Path, size: int) -> None:
    """Raise OSError unless a file of ``size`` bytes can be written; HDF5 crashes the process when the disk is full.

    The file is left with that size: whoever writes it truncates it first.
    """
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size + MARGIN)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
