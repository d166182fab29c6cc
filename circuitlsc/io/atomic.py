"""Files that are there in full or not at all, whatever ends the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from circuitlsc.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside ``path`` that takes its name once it is safe on the disk, and vanishes if writing fails.

    Raises
    ------
    InputError
        If there is a folder, a device or a pipe of that name.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file, and would be replaced by one. Give the name of a file.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    finally:
        beside.unlink(missing_ok=True)
