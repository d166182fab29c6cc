"""Arrays in untrusted .npy, .npz and text files: no pickles, and no more memory than their headers are allowed."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.io.safe_open import decode, open_regular, read_regular
from circuitlsc.io.text_table import TableError, read_table

TEXT = (".csv", ".tsv", ".txt")
TEXT_BYTES = 2  # that a number takes at least, with its separator
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes; others need memory of their own


class UnusableError(Exception):
    """The file is not an array that can be used; the message says why without a word of its contents."""


class PickledError(Exception):
    """The file is pickled: loading it could run code."""


def read_array(path: Path, suffix: str, *, prefer: str | None, matrix: bool, most: int) -> Array | list[str]:
    """Read the one array of a file, or the preferred one of several, or the names of its arrays.

    Raises
    ------
    UnusableError, PickledError, OSError
        If there is no array that can be used, or it has more than ``most`` numbers.
    """
    found: NDArray[Any] | list[str]
    if suffix in TEXT:
        try:
            found = read_table(decode(read_regular(path, most=TEXT_BYTES * most)), suffix=suffix, matrix=matrix)
        except (UnicodeError, TableError) as error:
            raise UnusableError(str(error)) from None
    else:
        with open_regular(path) as file:
            magic = file.read(6)
            file.seek(0)
            if magic.startswith(b"\x80"):
                raise PickledError
            # numpy takes whatever is neither .npy nor .npz for a pickle
            if not magic.startswith(b"\x93NUMPY" if suffix == ".npy" else b"PK"):
                raise UnusableError(f"its first bytes are not those of a {suffix} file")
            size = path.stat().st_size
            found = read_npy(file, size, most) if suffix == ".npy" else _read_npz(path, prefer, most)
    if not isinstance(found, list) and found.size == 0:
        raise UnusableError("it holds no numbers")
    return found


def read_npy(file: IO[bytes], size: int, most: int) -> NDArray[Any]:
    """Read an array after a look at its header.

    Its type may be any without Python objects; whoever wants numbers looks at it.

    Parameters
    ----------
    file : file
        At the begin of the .npy data.
    size : int
        Bytes that there are.
    most : int
        Numbers that there may be.
    """
    try:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise UnusableError("its version is not the one of plain numbers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header that Python 2 wrote
            shape, _, dtype = HEADERS[version](file)
    except UnusableError:
        raise
    except Exception:  # numpy reads the header as Python's tokenizer and parser do, with all of their errors
        raise UnusableError("its header is damaged") from None
    if dtype.hasobject:
        raise PickledError
    if min(shape, default=1) < 0:
        raise UnusableError("its header is damaged")
    n = math.prod(shape)
    if n > most or n * dtype.itemsize > 16 * most:  # 16 bytes: the longest plain number
        raise UnusableError(f"it has {n:,} numbers, and at most {most:,} are read")
    if n * dtype.itemsize > size:
        raise UnusableError(f"it has {n:,} numbers by its header, and only {size:,} bytes")
    file.seek(0)
    try:
        return np.asarray(npy.read_array(file, allow_pickle=False))
    except (ValueError, TypeError, OverflowError, EOFError):
        raise UnusableError("it ends too early, or is damaged") from None


def read_archive(path: Path, most: int) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file, by name; texts among them are arrays of one text.

    Raises
    ------
    UnusableError, PickledError, OSError
        If one of them cannot be read, or they have more than ``most`` numbers together.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with _archive(path) as archive:
        for name in _names(archive):
            arrays[name] = _member(archive, name, most)
            most -= arrays[name].size
    return arrays


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (UnusableError, PickledError, OSError):
        raise
    except Exception:  # zipfile and zlib have a dozen of their own
        raise UnusableError("it is no zip archive of arrays, or is damaged") from None


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _member(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in PLAIN or info.flag_bits & 1:
        raise UnusableError("it is compressed in another way than numpy's, or encrypted")
    with archive.open(info) as member:
        return read_npy(member, info.file_size, most)


def _read_npz(path: Path, prefer: str | None, most: int) -> NDArray[Any] | list[str]:
    with _archive(path) as archive:
        names = _names(archive)
        if len(names) != 1 and prefer not in names:
            return names
        return _member(archive, names[0] if len(names) == 1 else str(prefer), most)
