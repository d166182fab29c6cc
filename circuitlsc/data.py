"""Dictionaries and data: the bars problem, and loading of dictionaries and inputs from files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from circuitlsc.arrays import Array
from circuitlsc.errors import InputError


def bars(n: int, *, normalise: bool = True) -> Array:
    """Return the bars dictionary: n horizontal and n vertical bars on an n x n image.

    Parameters
    ----------
    n : int
        Side of the image; >= 1.
    normalise : bool
        Unit-norm atoms (default) or 0/1 pixels; it sets the signal-to-noise ratio.

    Returns
    -------
    array, shape (n*n, 2*n)
        Columns 0..n-1 are the rows of the image, n..2n-1 its columns. Its rank is 2n - 1.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"bars: n = {n!r}, but the image needs at least one pixel a side. Give an integer >= 1.")
    eye = np.eye(n)
    rows = np.repeat(eye, n, axis=0)  # pixel (i, j) belongs to row i
    columns = np.tile(eye, (n, 1))  # ... and to column j
    A = np.hstack([rows, columns])
    return A / np.sqrt(n) if normalise else A


def load_array(path: Path, what: str, *, prefer: str | None = None, matrix: bool = False) -> Array:
    """Load a real array from .npy, .npz (one array) or .csv; pickles are refused.

    Parameters
    ----------
    path : pathlib.Path
        File to read.
    what : str
        The config key that named it, for error messages.
    prefer : str, optional
        Name of the array to take from an .npz file with several; without it, there must be one.
    matrix : bool
        Keep a .csv file's one column or one row a column or a row; else it is a vector.

    Raises
    ------
    InputError
        If the file is missing, unreadable, pickled, of an unknown kind, or holds no numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz", ".csv"):
        ends = f"ends in {suffix!r}, which is no known kind" if suffix else "has no ending that says what it is"
        bars = ', or "bars:4"' if what.endswith("dictionary") else ""
        raise InputError(f"{what} = {str(path)!r} {ends}. Give .npy, .npz or .csv{bars}.")
    if not path.is_file():
        raise InputError(f"{what} = {str(path)!r} is not a file that exists. Give a path relative to the config file.")
    try:
        array = _read(path, suffix, prefer, matrix)
    except Exception as error:
        if "pickle" in str(error).lower():
            raise InputError(
                f"{what} = {str(path)!r} is a pickled file, which could run code when loaded. "
                "Save a plain float array with numpy.save."
            ) from None
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{what} = {str(path)!r} cannot be read: {first.rstrip('.')}. Save it again as .npy, .npz or .csv."
        ) from None
    if isinstance(array, list):
        named = "" if prefer is None else f", or name it {prefer}"
        raise InputError(
            f"{what} = {str(path)!r} holds the arrays {array}, but one is needed. Save exactly one array{named}."
        )
    return array


def _read(path: Path, suffix: str, prefer: str | None, matrix: bool) -> Array | list[str]:
    """Read the one array of a file, or the preferred one of several, or the names of its arrays."""
    if suffix == ".csv":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said below
            array = np.loadtxt(path, delimiter=",", ndmin=2 if matrix else 1, dtype=float)
    else:
        with path.open("rb") as file:
            magic = file.read(6)
            # numpy takes whatever is neither .npy nor .npz for a pickle
            if not magic.startswith(b"\x80") and not magic.startswith(b"\x93NUMPY" if suffix == ".npy" else b"PK"):
                raise ValueError(f"its first bytes are not those of a {suffix} file")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if suffix == ".npz":
                with loaded:
                    if len(loaded.files) != 1 and prefer not in loaded.files:
                        return list(loaded.files)
                    loaded = loaded[loaded.files[0] if len(loaded.files) == 1 else prefer]
            array = np.asarray(loaded)
    if array.size == 0:
        raise ValueError("it holds no numbers")
    return array


def load_dictionary(text: str, folder: Path) -> Array:
    """Return the dictionary that ``[model] dictionary`` names: ``"bars:4"``, ``"bars:4:01"`` or a file (D, K).

    Of an .npz file with several arrays it is the one called A: what `circuitlsc.learning.Learned.save` writes.
    """
    if text.startswith("bars:"):
        size, _, option = text[5:].partition(":")
        if not size.isdecimal() or not 1 <= int(size) <= 64 or option not in ("", "01"):
            raise InputError(
                f"model.dictionary = {text!r} is not bars:N with N from 1 to 64. "
                'Write "bars:4" (unit-norm atoms) or "bars:4:01" (0/1 pixels).'
            )
        return bars(int(size), normalise=option == "")
    return load_array(folder / text, "model.dictionary", prefer="A", matrix=True)
