"""Analyses of cells, kept on disk by all that they depend on: the deck, the models, and the simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor.process import FILES, models
from circuitlsc.errors import InputError
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.cache import cache_folder
from circuitlsc.simulator.analysis import analyse
from circuitlsc.simulator.ngspice.simulator import NGSPICE


def folder() -> Path:
    """Return where they are kept; any file there may be removed."""
    return cache_folder("cells")


def key_of(deck: str, command: str, *, complex_values: bool = False) -> str:
    """Return the hash of what an analysis depends on; where the models lie is not of it."""
    what = [deck.replace(str(models()), ""), command, *FILES.values(), NGSPICE.version(), np.__version__]
    what += ["complex"] if complex_values else []
    return hashlib.sha256("\0".join(what).encode()).hexdigest()


@lru_cache(maxsize=256)
def analysed(deck: str, command: str, *, complex_values: bool = False) -> Mapping[str, Any]:
    """Return the vectors of an analysis by name, real if not asked otherwise, from ngspice or from what is kept of it.

    What cannot be kept (a disk that is full, a folder that is not ours) is not, and costs time the next time.

    Raises
    ------
    SimulationError
        If ngspice did not run it.
    """
    path = folder() / f"{key_of(deck, command, complex_values=complex_values)}.npz"
    with suppress(OSError, ValueError, KeyError), np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
    found = {name: vector if complex_values else np.real(vector) for name, vector in analyse(deck, command).items()}
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez(file, **found)  # type: ignore[arg-type]
    return found
