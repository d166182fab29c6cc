"""Whether a tree that came from a file is one of samples: variables, dimensions, types and ranges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr

POSTERIOR = ("chain", "draw", "latent")
NUMBERS = ("step", "width", "t_stop", "warmup", "temperature", "tolerance", "hold")  # > 0, or >= 0
COUNTS = {"seed": 0, "thin": 1, "chunk": 1, "halvings": 0, "nonideal_seed": 0, "signed": 0}
WORDS = ("prior", "form", "level", "interpolate", "engine_deck_sha256", "deck_sha256", "ngspice_version")
TABLES = ("nonideal", "dynamics", "scaling")  # as JSON
REQUIRED = ("prior", "signed", "step", "engine_deck_sha256", "t_stop", "warmup", "thin", "seed")


def check_tree(tree: xr.DataTree) -> None:
    """Raise ValueError if the tree is not one that `circuitlsc.samples.collect` could have made; one line says why."""
    for name in (
        "posterior/u",
        "posterior/s",
        "observed_data/x",
        "constant_data/A",
        "constant_data/sigma",
        "sample_stats",
    ):
        group, _, variable = name.partition("/")
        if group not in tree.children or (variable and variable not in tree[group].data_vars):
            raise ValueError(f"{name} is missing")
    posterior, constant = tree["posterior"].to_dataset(), tree["constant_data"].to_dataset()
    x, A, sigma = tree["observed_data"].to_dataset()["x"], constant["A"], constant["sigma"]
    shape = posterior["u"].shape
    for name in ("u", "s", "p"):
        if name in posterior.data_vars:
            _check_array(f"posterior/{name}", posterior[name], [POSTERIOR])
            if posterior[name].shape != shape:
                raise ValueError(f"posterior/{name} has another shape than u")
    _check_array("observed_data/x", x, [("feature",), ("row", "feature")])
    _check_array("constant_data/A", A, [("feature", "latent")])
    _check_array("constant_data/sigma", sigma, [()])
    if A.shape != (x.shape[-1], shape[-1]):
        raise ValueError("the shapes of A, x and u do not belong together")
    _check_places(posterior, x)
    stats = tree["sample_stats"].to_dataset()
    for stat in stats.data_vars:
        _check_array(f"sample_stats/{stat}", stats[stat], [("chain",)])
    _check_attributes({str(name): value for name, value in tree.attrs.items()})


def _check_array(name: str, variable: xr.DataArray, dims: list[tuple[str, ...]]) -> None:
    if variable.dims not in dims:
        raise ValueError(f"{name} has other dimensions than {' or '.join(str(d) for d in dims)}")
    if variable.dtype.kind not in "iuf" or variable.size == 0 or not np.isfinite(variable.values).all():
        raise ValueError(f"{name} is empty, or has values that are no finite numbers")


def _check_places(posterior: xr.Dataset, x: xr.DataArray) -> None:
    """Check the coordinates: chains, times, and the row of x that was on."""
    draws = posterior["u"].shape[1]
    for name, dim in (("chain", "chain"), ("time", "draw")):
        if name not in posterior.coords:
            raise ValueError(f"posterior has no coordinate {name}")
        _check_array(f"posterior/{name}", posterior[name], [(dim,)])
    chains = posterior["chain"].values
    if chains.dtype.kind not in "iu" or not np.array_equal(chains, np.arange(len(chains)) + chains[0]) or chains[0] < 0:
        raise ValueError("posterior/chain does not count the chains")
    if (np.diff(posterior["time"].values) <= 0).any():
        raise ValueError("posterior/time does not increase")
    if (x.ndim == 2) != ("row" in posterior.coords):
        raise ValueError("posterior/row is missing, or there are no rows")
    if x.ndim == 2:
        _check_array("posterior/row", posterior["row"], [("draw",)])
        rows = len(x)
        if draws % rows or not np.array_equal(posterior["row"].values, np.arange(draws) // (draws // rows)):
            raise ValueError("posterior/row does not count the rows of x")


def _check_attributes(attrs: dict[str, Any]) -> None:
    if missing := [name for name in REQUIRED if name not in attrs]:
        raise ValueError(f"attribute {missing[0]} is missing")
    for name, value in attrs.items():
        good: Any = True
        if name in NUMBERS:
            good = isinstance(value, (float, np.floating, np.integer)) and np.isfinite(value) and value >= 0
        elif name in COUNTS:
            good = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= COUNTS[name]
        elif name in WORDS or name in TABLES:
            good = isinstance(value, str) and (name in WORDS or isinstance(json.loads(value), dict))
        if not good:
            raise ValueError(f"attribute {name} is not what it should be")
