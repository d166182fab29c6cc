"""Whether a tree that came from a file is one of samples: variables, dimensions, types and ranges."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from circuitlsc.io.hdf5 import ForeignError

POSTERIOR = ("chain", "draw", "latent")
ROWS = ("row", *POSTERIOR)  # of a memory
NUMBERS = ("step", "width", "t_stop", "warmup", "temperature", "tolerance", "hold")  # > 0, or >= 0
COUNTS = {"seed": 0, "thin": 1, "chunk": 1, "halvings": 0, "nonideal_seed": 0, "signed": 0, "draws_per_visit": 1}
_HASHES = ("engine_deck_sha256", "deck_sha256", "features_sha256")
WORDS = ("prior", "form", "level", "smoothing", "interpolate", "order", "ngspice_version", *_HASHES)
TABLES = ("nonideal", "dynamics", "scaling")  # as JSON
_PIECE = 2**17  # draws of one chain and latent in a piece: 1 MB over all of them
STATS = ("steps", "points", "rejected", "iterations", "wall")  # which the report shows
_DATA = ("posterior/u", "posterior/s", "observed_data/x", "constant_data/A", "constant_data/sigma")
WANTED = (*_DATA, *(f"sample_stats/{name}" for name in STATS))
REQUIRED = ("prior", "signed", "step", "engine_deck_sha256", "t_stop", "warmup", "thin", "seed")


def spans(n_draws: int, numbers: int) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of pieces of 1 MB; ``numbers`` is what one draw of all chains has."""
    length = max(1, _PIECE // max(1, numbers))
    return ((first, min(first + length, n_draws)) for first in range(0, n_draws, length))


def dimension(name: str) -> str:
    """Return the last dimension of a variable of the posterior: u, s and p have one number a latent, others their own."""
    return POSTERIOR[2] if name in ("u", "s", "p") else f"state_{name}"


def check_tree(tree: xr.DataTree) -> None:
    """Raise ForeignError if the tree is not one that `sampling.samples.collect` could have made; one line says why."""
    for name in WANTED:
        group, _, variable = name.partition("/")
        if group not in tree.children or variable not in tree[group].data_vars:
            raise ForeignError(f"{name} is missing")
    posterior, constant, stats = (tree[name].to_dataset() for name in ("posterior", "constant_data", "sample_stats"))
    x, A, sigma = tree["observed_data"].to_dataset()["x"], constant["A"], constant["sigma"]
    shape, remembered = posterior["u"].shape, posterior["u"].ndim == len(ROWS)
    if remembered:
        if "first_visits" not in tree.children or not {"u", "time"} <= {*tree["first_visits"].data_vars}:
            raise ForeignError("first_visits is missing")
        first = tree["first_visits"].to_dataset()
        _check_array("first_visits/u", first["u"], [POSTERIOR])
        _check_array("first_visits/time", first["time"], [("draw",)])
        if first["u"].shape[::2] != shape[1::2]:
            raise ForeignError("first_visits/u has another shape than u")
    for state, values in posterior.data_vars.items():
        dims = ROWS if remembered else (*POSTERIOR[:2], dimension(str(state)))
        _check_array(f"posterior/{state}", values, [dims])
        alike = len(shape) if dims[2:] == POSTERIOR[2:] or remembered else 2
        if values.shape[:alike] != shape[:alike]:
            raise ForeignError(f"posterior/{state} has another shape than u")
    _check_array("observed_data/x", x, [("feature",), ("row", "feature")])
    _check_array("constant_data/A", A, [("feature", "latent")])
    _check_array("constant_data/sigma", sigma, [()])
    if A.shape != (x.shape[-1], shape[-1]):
        raise ForeignError("the shapes of A, x and u do not belong together")
    _check_places(posterior, x)
    for stat in stats.data_vars:
        _check_array(f"sample_stats/{stat}", stats[stat], [("chain",)])
    if not (stats["steps"] > 0).all():
        raise ForeignError("sample_stats/steps has chains without steps")
    _check_attributes({str(name): value for name, value in tree.attrs.items()})


def _check_array(name: str, variable: xr.DataArray, dims: list[tuple[str, ...]]) -> None:
    if variable.dims not in dims:
        raise ForeignError(f"{name} has other dimensions than {' or '.join(str(d) for d in dims)}")
    numbers = variable.dtype.kind in "iuf" and variable.size > 0
    if not numbers or not all(np.isfinite(piece).all() for piece in _pieces(variable)):
        raise ForeignError(f"{name} is empty, or has values that are no finite numbers")


def _pieces(variable: xr.DataArray) -> Iterator[NDArray[Any]]:
    """Yield the values of a variable in pieces along the draws: a long run's file may be larger than the memory."""
    if "draw" not in variable.dims:
        yield variable.values
        return
    n = variable.sizes["draw"]
    for first, stop in spans(n, variable.size // n):
        yield variable.isel(draw=slice(first, stop)).values


def _check_places(posterior: xr.Dataset, x: xr.DataArray) -> None:
    """Check the coordinates: chains, times, and the row of x that was on."""
    draws, remembered = posterior.sizes["draw"], "row" in posterior["u"].dims
    for name, dims in (("chain", ("chain",)), ("time", ("row", "draw") if remembered else ("draw",))):
        if name not in posterior.coords:
            raise ForeignError(f"posterior has no coordinate {name}")
        _check_array(f"posterior/{name}", posterior[name], [dims])
    chains = posterior["chain"].values
    if chains.dtype.kind not in "iu" or (np.diff(chains.astype(float)) <= 0).any() or chains[0] < 0:
        raise ForeignError("posterior/chain does not number the chains")
    last: Any = -math.inf
    for time in _pieces(posterior["time"]):
        if (time[..., 0] <= last).any() or (np.diff(time) <= 0).any():
            raise ForeignError("posterior/time does not increase")
        last = time[..., -1]
    if (x.ndim == 2) != ("row" in posterior.coords):
        raise ForeignError("posterior/row is missing, or there are no rows")
    if remembered:
        if posterior.sizes["row"] != len(x) or not np.array_equal(posterior["row"].values, np.arange(len(x))):
            raise ForeignError("posterior/row does not count the rows of x")
    elif x.ndim == 2:
        _check_array("posterior/row", posterior["row"], [("draw",)])
        rows = len(x)
        first = 0
        for row in _pieces(posterior["row"]):
            if draws % rows or not np.array_equal(row, np.arange(first, first + len(row)) // (draws // rows)):
                raise ForeignError("posterior/row does not count the rows of x")
            first += len(row)


def _check_attributes(attrs: dict[str, Any]) -> None:
    if missing := [name for name in REQUIRED if name not in attrs]:
        raise ForeignError(f"attribute {missing[0]} is missing")
    for name, value in attrs.items():
        good: Any = True
        if name in NUMBERS:
            good = isinstance(value, (float, np.floating, np.integer)) and np.isfinite(value) and value >= 0
        elif name in COUNTS:
            good = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= COUNTS[name]
        elif name in WORDS or name in TABLES:
            good = isinstance(value, str) and (name in WORDS or isinstance(json.loads(value), dict))
        if not good:
            raise ForeignError(f"attribute {name} is not what it should be")
