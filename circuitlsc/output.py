"""The folder of a run: written beside, then renamed, so that it is there in full or not at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.lock import lock
from circuitlsc.reading import read_regular

DECK, SAMPLES, COMPARISON, FIGURE, CONFIG = (
    "deck.cir",
    "samples.nc",
    "comparison.json",
    "figure.png",
    "config.resolved.toml",
)
MAP = "map.json"  # of a circuit that settles
ENERGY = "energy.json"  # of a device-level run
BUDGET, BUDGET_FIGURE, SWEEP_FIGURE = "budget.json", "budget.png", "sweep.png"
CALIBRATION, CALIBRATION_FIGURE, INPUTS = "calibration.json", "calibration.png", "inputs.npz"
STREAMED = "x.npy"  # the inputs once more, as a config names them
LEARNED, HISTORY = "learned.npz", "history.nc"
GIVEN = "config.toml"  # what `learn` was given; all settings are in the files themselves
PARTIAL = ".partial"  # ends the name of a folder whose run is under way, or was interrupted; in it:
_MOST = 2**24  # bytes of the settings of an interrupted run
BEGUN, CHAINS, COMPLETED, _LOCK = "begun.json", "chains", "samples.completed.nc", ".lock"
FRICTION, FRICTION_FIGURE = "friction.json", "friction.png"
CHIPS, CHIPS_FIGURE = "chips.json", "chips.png"


def check_free(folder: Path) -> None:
    """Raise InputError if an output folder exists already, or cannot be made."""
    if folder.exists() or folder.is_symlink():
        raise InputError(
            f"-o {folder} exists already, and results are never overwritten. Give a new name, or remove it."
        )
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError(f"-o {folder}: the folder {parent} does not exist. Make it first.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"-o {folder}: the folder {parent} cannot be written to. Give another place.")


def partial_folder(folder: Path) -> Path:
    """Return the folder in which the results of ``folder`` come into being."""
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}{PARTIAL}")


@contextmanager
def new_folder(folder: Path, *, settings: Mapping[str, Any] | None = None, resume: bool = False) -> Iterator[Path]:
    """Yield a folder beside ``folder`` that takes its name if all went well: results are there in full or not at all.

    One process at a time can work on it. If something goes wrong, or the process is killed, it stays for a resumed run if
    there are settings to compare that with, and vanishes if not.

    Parameters
    ----------
    folder : pathlib.Path
    settings : mapping or None
        Everything that the results depend on, JSON-ready; None for what is not resumed.
    resume : bool
        Go on in the folder of an interrupted run.

    Raises
    ------
    InputError
        If the folder exists, another run works on it, an interrupted run left one and ``resume`` is false, or the
        interrupted run had other settings.
    """
    check_free(folder)
    part = partial_folder(folder)
    try:
        part.mkdir()
        begun = True
    except FileExistsError:
        begun = False
        if part.is_symlink() or not (part / _LOCK).exists():
            raise InputError(
                f"-o {folder}: {part.name} exists, and is none of ours. Rename it, or give another name."
            ) from None
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(part / _LOCK))
        except BlockingIOError:
            raise InputError(
                f"-o {folder}: another run is writing it now. Give a new name, or wait for its end."
            ) from None
        if not begun and (part / BEGUN).exists():
            if not resume or settings is None:
                raise InputError(
                    f"-o {folder}: an interrupted run left {part.name}. Add --resume to go on with it, or remove that folder."
                )
            _check_plain(part)
            _check_same(part, settings)
        else:
            for left in part.iterdir():  # by a run that was killed, and is not resumed
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                elif left.name != _LOCK:
                    left.unlink()
            if settings is not None:
                write_json(part / BEGUN, settings)
        try:
            yield part
            check_free(folder)
            shutil.rmtree(part / CHAINS, ignore_errors=True)
            for name in (BEGUN, COMPLETED, _LOCK):
                (part / name).unlink(missing_ok=True)
            part.rename(folder)
        except InputError:
            if begun and not (part / CHAINS).exists():
                shutil.rmtree(part, ignore_errors=True)
            raise
        except BaseException:
            if settings is None:
                shutil.rmtree(part, ignore_errors=True)
            raise


def _check_plain(part: Path) -> None:
    """Raise InputError if the folder of an interrupted run holds links or pipes: no run leaves any."""
    for folder, folders, files in os.walk(part):
        for name in (*folders, *files):
            mode = (Path(folder) / name).lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise InputError(
                    f"{Path(folder) / name} is a link or a pipe, which no run leaves. Remove {part}, and start again."
                )


def _check_same(part: Path, settings: Mapping[str, Any]) -> None:
    """Raise InputError unless a run was begun with the same settings."""
    try:
        theirs = json.loads(read_regular(part / BEGUN, _MOST))
        if not isinstance(theirs, dict):
            raise ValueError("it holds no settings")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{part / BEGUN} cannot be read ({error}). Remove {part}, and start again.") from None
    mine = json.loads(json.dumps(settings))
    for key in sorted({*mine, *theirs}):
        a, b = theirs.get(key), mine.get(key)
        if a == b:
            continue
        if isinstance(a, str) and isinstance(b, str) and "\n" in a + b:  # a file: the first line that differs
            pairs = zip_longest(a.splitlines(), b.splitlines(), fillvalue="nothing")
            a, b = next((x, y) for x, y in pairs if x != y)
        raise InputError(
            f"{part.name} was begun with another {key} ({a} there, {b} now), and a resumed run is to be the same run. "
            "Bring back what was changed, or remove that folder."
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file in full or not at all.

    Raises
    ------
    InputError
        If there is a folder, a device or a pipe of that name.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file, and would be replaced by one. Give the name of a file.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path: Path, **arrays: NDArray[np.float64]) -> None:
    """Write named arrays as .npz in full or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    try:
        np.savez(beside, allow_pickle=False, **arrays)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON in full or not at all."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")
