"""Open an untrusted netCDF file: HDF5 can point into other files, call plug-ins, and inflate to any size.

The HDF5 library follows links to other files, reads a data set's bytes from any file that the data set names, and unpacks
what takes no room in the file. None of this is in a file that we wrote: so it is looked for, and refused, first.
"""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import h5py
import xarray as xr
from xarray.backends import H5NetCDFStore

from circuitlsc.io.safe_open import open_regular

INFLATES = 20  # bytes of arrays per byte of the file: codes that are mostly 0 compress well
SLACK = 2**24  # bytes that any file may have beside
UNLOCKED = {"locking": False}
#: Held while a file is written. To make a lock, xarray imports dask's scheduler where it is installed: half a second.
_ONE_WRITES = threading.Lock()
MOST_OBJECTS = 1000  # groups and data sets
FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})


class ForeignError(ValueError):
    """The file has something that no file of ours has; the message says what."""


def load_dataset(path: Path) -> xr.Dataset:
    """Return the contents of a netCDF file without groups, in memory; errors as for `checked_hdf5`."""
    with checked_hdf5(path) as how, xr.open_dataset(path, engine="h5netcdf", driver_kwds=how) as dataset:
        return dataset.load()


def save_groups(path: Path, groups: Mapping[str, xr.Dataset]) -> None:
    """Write groups as netCDF without asking for a lock, which not every disk has: for a name that nobody else uses."""
    for mode, (group, dataset) in zip(chain("w", repeat("a")), groups.items(), strict=False):
        with closing(H5NetCDFStore.open(str(path), mode, group=group, lock=_ONE_WRITES, driver_kwds=UNLOCKED)) as store:
            dataset.dump_to_store(store)


@contextmanager
def checked_hdf5(path: Path) -> Iterator[dict[str, Any]]:
    """Look at a file before it is read, and turn what the libraries raise into one kind of error.

    Yields what HDF5 must be told to open it (``driver_kwds``): where the file system has no locks, not to ask for one.

    Raises
    ------
    OSError
        If it cannot be read, or another program has it open for writing.
    ForeignError
        If it is no HDF5 file, is damaged, or has something that no file of ours has.
    """
    with open_regular(path) as file:
        size = path.stat().st_size
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            raise ForeignError("it is no netCDF-4 file")
    try:
        how: dict[str, Any] = {}
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            if "unable to lock file" not in str(error):
                raise
            if error.errno == errno.EAGAIN:
                what = "another program has it open for writing: close it there"
                raise BlockingIOError(errno.EAGAIN, what, str(path)) from None
            how = UNLOCKED
            file = h5py.File(path, "r", **how)
        with file:
            _check(file, INFLATES * size + SLACK)
        yield how
    except (ForeignError, BlockingIOError, KeyboardInterrupt):
        raise
    except Exception as error:  # h5py, h5netcdf and xarray raise whatever they stumble upon
        raise ForeignError(f"it is damaged: {type(error).__name__}") from None


def _check(file: h5py.File, room: int) -> None:
    """Raise ForeignError if a file has links, bytes of other files, unknown filters, or more than ``room`` bytes."""
    count = 0
    waiting = [(file, 0)]
    while waiting:
        group, depth = waiting.pop()
        for name in group:
            count += 1
            if count > MOST_OBJECTS:
                raise ForeignError(f"it has more than {MOST_OBJECTS} groups and variables")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ForeignError(f"{name!r} is a link")
            item = group[name]
            if isinstance(item, h5py.Group):
                if depth:
                    raise ForeignError("it has groups in groups")
                waiting.append((item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                raise ForeignError(f"{name!r} is no variable")
            _check_dataset(name, item)
            room -= math.prod(item.shape or ()) * item.dtype.itemsize
            if room < 0:
                raise ForeignError("its variables are far larger than the file")


def _check_dataset(name: str, item: h5py.Dataset) -> None:
    plist = item.id.get_create_plist()
    if item.is_virtual or plist.get_external_count():
        raise ForeignError(f"the numbers of {name!r} are in another file")
    if any(plist.get_filter(k)[0] not in FILTERS for k in range(plist.get_nfilters())):
        raise ForeignError(f"{name!r} is packed in a way that needs a plug-in")
    if item.dtype.kind not in "biufSU" and h5py.check_string_dtype(item.dtype) is None:
        raise ForeignError(f"{name!r} is neither numbers nor text")
