"""Samples as ArviZ takes them: a tree in memory whose groups and dimensions have its names."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_count
from circuitlsc.model.dynamics import MAP_KINDS

if TYPE_CHECKING:
    from circuitlsc.model.sparse_coding import SparseCodingModel

OWN = ("posterior", "observed_data", "constant_data", "sample_stats")  # groups


def arviz_tree(tree: xr.DataTree, model: SparseCodingModel, every: int) -> xr.DataTree:
    """Return a run's samples for ArviZ; arguments and errors as for `circuitlsc.sampling.samples.Samples.to_arviz`."""
    check_count("to_arviz: every", every, 1, ", but it counts draws")
    dynamics = json.loads(str(tree.attrs.get("dynamics", '{"kind": "langevin"}')))
    if dynamics["kind"] in MAP_KINDS:
        raise InputError(
            f'to_arviz: dynamics.kind = "{dynamics["kind"]}" settles on one code, and its draws are the way there, no samples. '
            "Use u, s and time."
        )
    groups = {name: tree[name].to_dataset() for name in OWN}
    posterior = groups["posterior"]
    if "row" in posterior.coords and "row" not in posterior["s"].dims:  # a stream of inputs, one after the other
        rows = int(posterior["row"][-1]) + 1
        each = posterior.sizes["draw"] // rows
        places = {"row": ("draw", np.repeat(np.arange(rows), each)), "visit": ("draw", np.tile(np.arange(each), rows))}
        posterior = posterior.drop_vars("draw").assign_coords(places).set_index(draw=("row", "visit")).unstack("draw")
        posterior = posterior.rename(visit="draw")
    posterior = posterior.isel(draw=slice(None, None, every)).load()
    posterior = posterior.transpose("chain", "draw", "row", ..., missing_dims="ignore")
    temperature = float(tree.attrs.get("temperature", 1.0))
    if "row" not in posterior.dims and dynamics["kind"] != "variational":  # whose u is noise
        density = model.log_density(posterior["u"].values, groups["observed_data"]["x"].values, temperature=temperature)
        about = {"long_name": "log density of u, up to a constant"}
        groups["sample_stats"] = groups["sample_stats"].assign(lp=(("chain", "draw"), density, about))
    posterior.attrs = {"inference_library": "circuitlsc", "inference_library_version": version("circuitlsc")}
    whole = xr.DataTree.from_dict(
        {**{f"/{name}": group.load() for name, group in groups.items()}, "/posterior": posterior}
    )
    whole.attrs = {**tree.attrs, **posterior.attrs}
    return whole
