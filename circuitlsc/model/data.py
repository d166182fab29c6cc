"""Dictionaries and data: the bars problem, and loading of dictionaries and inputs from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, real_array
from circuitlsc.io.npy import TEXT, PickledError, UnusableError, read_array
from circuitlsc.io.safe_open import reason

MOST_NUMBERS = 2**27  # of an array of inputs: 1 GiB
MOST_OF_A_DICTIONARY = 2**24  # 4096 x 4096
#: how files that others write become .npy: modules, and what returns the array (A stands for its name in the file)
CONVERT = {
    ".mat": (", scipy.io", "scipy.io.loadmat({})['A']"),
    **dict.fromkeys((".h5", ".hdf5", ".nc"), (", h5py", "h5py.File({})['A'][()]")),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), (", pandas", "pandas.read_excel({}, header=None).to_numpy(float)")),
    ".parquet": (", pandas", "pandas.read_parquet({}).to_numpy(float)"),
    ".feather": (", pandas", "pandas.read_feather({}).to_numpy(float)"),
    **dict.fromkeys((".pt", ".pth"), (", torch", "torch.load({}, weights_only=True).detach().cpu().numpy()")),
    # it can run code: for files of one's own
    **dict.fromkeys((".pkl", ".pickle"), ("", "numpy.asarray(numpy.load({}, allow_pickle=True), float)")),
    ".json": (", json, pathlib", "numpy.array(json.loads(pathlib.Path({}).read_text()), float)"),
}


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

    Examples
    --------
    >>> bars(2, normalise=False)[:, 0].reshape(2, 2)
    array([[1., 1.],
           [0., 0.]])
    """
    check_count("bars: n", n, 1, ", but the image needs at least one pixel a side")
    eye = np.eye(n)
    rows = np.repeat(eye, n, axis=0)  # pixel (i, j) belongs to row i
    columns = np.tile(eye, (n, 1))  # ... and to column j
    A = np.hstack([rows, columns])
    return A / np.sqrt(n) if normalise else A


def load_array(
    path: Path, what: str, *, prefer: str | None = None, matrix: bool = False, most: int = MOST_NUMBERS
) -> Array:
    """Load a real array from .npy, .npz (one array) or text (.csv, .tsv, .txt: `io.text_table`); pickles are refused.

    Parameters
    ----------
    path : pathlib.Path
        File to read.
    what : str
        The config key that named it, for error messages.
    prefer : str, optional
        Name of the array to take from an .npz file with several; without it, there must be one.
    matrix : bool
        Keep a text file's one column or one row a column or a row; else it is a vector.
    most : int
        How many numbers it may hold: refused by what its header says, before there is memory for them.

    Raises
    ------
    InputError
        If the file is missing, unreadable, pickled, too large, of an unknown kind, or holds no finite numbers. The message
        repeats nothing that is in the file, which may be one that its reader should not see.
    """
    suffix = path.suffix.lower()
    if suffix in CONVERT:
        imports, load = CONVERT[suffix]
        code = f"import numpy{imports}; numpy.save({path.stem + '.npy'!r}, {load.format(repr(path.name))})"
        raise InputError(
            f"{what} = {str(path)!r} ends in {suffix!r}, which is not read here. "
            f"Convert it in Python, and give the .npy file: {code}"
        )
    if suffix not in (".npy", ".npz", *TEXT):
        ends = f"ends in {suffix!r}, which is no known kind" if suffix else "has no ending that says what it is"
        bars = ', or "bars:4"' if what.endswith("dictionary") else ""
        raise InputError(f"{what} = {str(path)!r} {ends}. Give .npy, .npz or .csv{bars}.")
    if not path.is_file():
        to = "" if what.startswith("--") else " relative to the config file"
        raise InputError(f"{what} = {str(path)!r} is not a file that exists. Give a path{to}.")
    try:
        array = read_array(path, suffix, prefer=prefer, matrix=matrix, most=most)
    except PickledError:
        raise InputError(
            f"{what} = {str(path)!r} is a pickled file, which could run code when loaded. "
            "Save a plain float array with numpy.save."
        ) from None
    except (UnusableError, OSError) as error:
        said = reason(error) if isinstance(error, OSError) else str(error)
        raise InputError(
            f"{what} = {str(path)!r} cannot be read: {said}. Save it again as .npy, .npz or .csv."
        ) from None
    if isinstance(array, list):
        named = "" if prefer is None else f", or name it {prefer}"
        listed = array if len(array) <= 10 else [*array[:10], "..."]
        raise InputError(
            f"{what} = {str(path)!r} holds the arrays {listed}, but one is needed. Save exactly one array{named}."
        )
    return real_array(f"{what} = {str(path)!r}: the array", array)


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
    return load_array(folder / text, "model.dictionary", prefer="A", matrix=True, most=MOST_OF_A_DICTIONARY)
