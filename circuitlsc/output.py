"""The folder of a run: written beside, then renamed, so that it is there in full or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.errors import InputError

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


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that takes its name if all went well, and vanishes if not."""
    check_free(folder)
    part = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        check_free(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in full or not at all."""
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
