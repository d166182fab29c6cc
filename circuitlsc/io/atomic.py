"""Files that are there in full or not at all, whatever ends the process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from circuitlsc.errors import InputError

MARGIN = 2**18  # bytes of HDF5's own


@contextmanager
def written_beside(path: Path, room: int | None = None) -> Iterator[Path]:
    """Yield the name of a file beside ``path`` that takes its name at the end, and vanishes if writing fails.

    Parameters
    ----------
    path : pathlib.Path
    room : int or None
        Bytes that are asked for before anything is written: HDF5 crashes the process when the disk is full.

    Raises
    ------
    OSError
        If there is no room.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if room is not None:
            with beside.open("wb") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, room + MARGIN)  # whoever writes truncates it first
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(beside)) from None
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside ``path`` that takes its name once it is safe on the disk, and vanishes if writing fails.

    Raises
    ------
    InputError
        If there is a folder, a device or a pipe of that name.
    OSError
        If it cannot be written, with its name.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file, and would be replaced by one. Give the name of a file.")
    try:
        with written_beside(path) as beside, beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.filename is None and error.errno is not None:  # as of a write, which knows no name
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)


@contextmanager
def new_files(folder: Path) -> Iterator[Path]:
    """Yield a folder in ``folder`` (made if missing) whose files (no links, no folders) get there at the end: all, or none.

    Raises
    ------
    InputError
        If there is a file of one of their names, or the folder cannot be made or written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    beside = folder / f".circuitlsc.{os.getpid()}.part"
    given: list[Path] = []
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            beside.mkdir()
        except OSError as error:
            raise InputError(
                f"{folder} cannot be made, or written to ({error.strerror}). Give the name of another folder."
            ) from None
        yield beside
        files = sorted(path for path in beside.iterdir() if path.is_file() and not path.is_symlink())
        there = [path.name for path in files if os.path.lexists(folder / path.name)]
        for path in files if not there else ():
            target = folder / path.name
            try:
                os.link(path, target)  # unlike a renamed file, it replaces none
                given.append(target)
            except FileExistsError:
                there = [target.name]
                break
            except OSError:  # a file system without links
                with target.open("xb") as file:
                    given.append(target)
                    file.write(path.read_bytes())
        if there:
            verb = "exists" if len(there) == 1 else "exist"
            raise InputError(
                f"{', '.join(there)} {verb} in {folder} already, and nothing is overwritten. Give another folder, or move "
                f"{'it' if len(there) == 1 else 'them'}."
            )
        made.clear()
    except BaseException:
        for path in given:
            path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
