"""The course of a run: slow variables, errors and activity against time, as a labelled data set (xarray, netCDF)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuitlsc.io.arrays import Array
from circuitlsc.io.atomic import written_beside
from circuitlsc.io.hdf5 import load_dataset, save_groups
from circuitlsc.io.reading import reading
from circuitlsc.learning.kernel import ACTIVE, ERROR, LAM, SIGMA, SIZE, STEPS, U0, Workspace

_UNITS = {
    "pi": ("", "P(active) of the prior"),
    "lam": ("1/(model unit)", "rate of the slab"),
    "sigma": ("data units", "noise level"),
    "u0": ("model units", "threshold"),
    "error": ("(data units)^2", "|x - A s|^2 / D, mean since the last record"),
    "activity": ("", "share of active latents, mean since the last record"),
    "size": ("model units", "mean |s| of a latent, active or not, since the last record"),
}


class Recorder:
    """What a run notes on its way: records, and the dictionary at a few times.

    Parameters
    ----------
    A : array, shape (D, K)
        The dictionary at the beginning, which is the first that is kept.
    shown : array
        Times from which on the next record comes with a copy of the dictionary.
    more : mapping, optional
        Numbers that a record has beyond those of every learner, or that mean something else: unit and meaning by name.
    """

    def __init__(self, A: Array, shown: Array, more: Mapping[str, tuple[str, str]] | None = None) -> None:
        n_features, n_latents = A.shape
        self._shown, self._units = shown, {**_UNITS, **(more or {})}
        self._shapes: dict[str, tuple[int, ...]] = {
            "series": (1 + len(self._units),),
            "norms": (n_latents,),
            "usage": (n_latents,),
            "snapshot_times": (),
            "dictionaries": (n_features, n_latents),
        }
        self._rows: dict[str, list[Any]] = {name: [] for name in self._shapes}
        self.add_snapshot(0.0, A)

    def record(self, time: float, w: Workspace) -> None:
        """Add a record of the workspace, and set its sums to 0."""
        steps = w.sums[STEPS]
        slow = (float(w.slow[U0]), float(w.slow[LAM]), float(w.slow[SIGMA]))
        self.add(time, w.A.T, slow, w.sums[[ERROR, ACTIVE, SIZE]] / steps, w.usage / (steps * len(w.u)))
        w.sums[:] = 0.0
        w.usage[:] = 0.0

    def add(
        self,
        time: float,
        A: Array,
        slow: tuple[float, float, float],
        means: Array,
        usage: Array,
        more: tuple[float, ...] = (),
    ) -> None:
        """Add a record: slow is (u0, lam, sigma), means (error, activity, size), usage (K,), more what was announced.

        A circuit's u0 may swing below 0, where every latent is active: pi = 1.
        """
        u0, lam, sigma = slow
        self._rows["series"].append((time, min(np.exp(-lam * u0), 1.0), lam, sigma, u0, *means, *more))
        self._rows["norms"].append(np.linalg.norm(A, axis=0))
        self._rows["usage"].append(np.array(usage))
        if len(self._rows["dictionaries"]) < int(np.sum(self._shown <= time * (1 + 1e-9))):
            self.add_snapshot(time, A)

    def add_snapshot(self, time: float, A: Array) -> None:
        """Add a copy of the dictionary (D, K)."""
        self._rows["snapshot_times"].append(time)
        self._rows["dictionaries"].append(np.array(A))

    def arrays(self) -> dict[str, Array]:
        """Return what a checkpoint keeps, by names that begin with ``history_``."""
        return {f"history_{name}": np.reshape(self._rows[name], (-1, *shape)) for name, shape in self._shapes.items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take back what `arrays` returned."""
        self._rows = {name: list(arrays[f"history_{name}"]) for name in self._shapes}

    def dataset(self, settings: Mapping[str, Any], unit: str = "tau") -> xr.Dataset:
        """Return the history of a run, its times in ``unit``; see `circuitlsc.learning.learner.LearningRun`."""
        kept = {name.removeprefix("history_"): array for name, array in self.arrays().items()}
        series = dict(zip(("time", *self._units), kept["series"].T, strict=True))
        per_latent = {
            "norm": (("time", "latent"), kept["norms"], {"long_name": "norm of each atom"}),
            "usage": (("time", "latent"), kept["usage"], {"long_name": "share of time that a latent is active"}),
        }
        numbers = {
            k: ("time", series[k], {"units": units, "long_name": name}) for k, (units, name) in self._units.items()
        }
        A = {"A": (("snapshot", "feature", "latent"), kept["dictionaries"], {"long_name": "dictionary"})}
        coords = {
            "time": ("time", series["time"], {"units": unit}),
            "snapshot_time": ("snapshot", kept["snapshot_times"], {"units": unit}),
        }
        attributes = {
            "creator": "circuitlsc",
            "circuitlsc_version": version("circuitlsc"),
            "settings": json.dumps(dict(settings), sort_keys=True),
        }
        return xr.Dataset({**numbers, **per_latent, **A}, coords=coords, attrs=attributes).copy(deep=True)


def save_history(history: xr.Dataset, path: Path | str) -> None:
    """Write netCDF, in full or not at all.

    Parameters
    ----------
    history : xarray.Dataset
        Of a `LearningRun`.
    path : path
    """
    with written_beside(Path(path), history.nbytes) as beside:
        save_groups(beside, {"/": history})


def load_history(path: Path | str) -> xr.Dataset:
    """Read netCDF written by `save_history`.

    Parameters
    ----------
    path : path

    Returns
    -------
    xarray.Dataset
        See `circuitlsc.learning.learner.LearningRun`; in memory, the file is closed.

    Raises
    ------
    InputError
        If the file is missing or is not such a file.
    """
    with reading(str(path), "a history of learning"):
        loaded = load_dataset(Path(path))
        if missing := [name for name in ("norm", "sigma", "error", "A") if name not in loaded]:
            raise KeyError(missing[0])
    return loaded
