"""The netCDF file of a run's samples: written and read in pieces, as long as it may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5netcdf
import pandas as pd
import xarray as xr

from circuitlsc.io.atomic import written_beside
from circuitlsc.io.hdf5 import UNLOCKED, checked_hdf5, save_groups
from circuitlsc.sampling.samples_check import check_tree, spans

#: Numbers of u (chain, draw, latent) up to which samples are held in memory: 1 MB; more stay in their file.
IN_MEMORY = 2**17
_GROUP, _ALONG = "posterior", "draw"

#: The posterior's draws first .. stop - 1, labelled.
Posterior = Callable[[int, int], xr.Dataset]


def write(path: Path, tree: xr.DataTree, posterior: Posterior, n_draws: int) -> None:
    """Write netCDF, complete or not at all: the tree, but its posterior in pieces.

    Parameters
    ----------
    path : pathlib.Path
    tree : xarray.DataTree
        All groups; what its posterior has along the draws is not looked at.
    posterior : callable
        ``posterior(first, stop)`` returns those draws of the posterior.
    n_draws : int
        Per chain.
    """
    one = posterior(0, 1)
    groups = {node.path: node.to_dataset() for node in tree.subtree}
    groups[f"/{_GROUP}"] = one.drop_dims(_ALONG)
    room = one.nbytes * n_draws + sum(group.nbytes for group in groups.values())
    with written_beside(Path(path), room) as beside:
        save_groups(beside, groups)
        with h5netcdf.File(beside, "a", **UNLOCKED) as file:
            group = file[_GROUP]
            group.dimensions[_ALONG] = n_draws
            # fill values and coordinates as attributes: what xarray itself writes, and wants to read
            encoded, _ = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(one))
            along = {name: variable for name, variable in encoded.items() if _ALONG in variable.dims}
            made = {}
            for name, variable in along.items():
                attributes = dict(variable.attrs)
                fill = attributes.pop("_FillValue", None)
                made[name] = group.create_variable(str(name), variable.dims, variable.dtype, fillvalue=fill)
                made[name].attrs.update(attributes)
            for first, stop in spans(n_draws, max(variable.size for variable in along.values())):
                piece = posterior(first, stop)
                for name, variable in along.items():
                    where = tuple(slice(first, stop) if dim == _ALONG else slice(None) for dim in variable.dims)
                    made[name][where] = piece[name].values


def read(path: Path) -> xr.DataTree:
    """Open netCDF written by `write`: small samples in memory, others to be read from the file when they are asked for.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or a stranger could have made it (`circuitlsc.io.hdf5`).
    """
    with checked_hdf5(path) as how:
        # draws are numbered from 0: their numbers need no memory
        tree = xr.open_datatree(path, engine="h5netcdf", cache=False, drop_variables=_ALONG, driver_kwds=how)
        small = True
        try:
            check_tree(tree)
            groups = {node.path: node.to_dataset() for node in tree.subtree}
            posterior = groups.pop(f"/{_GROUP}")
            small = posterior["u"].size <= IN_MEMORY
            numbers = pd.RangeIndex(posterior.sizes[_ALONG])
            posterior = (posterior.load() if small else posterior).assign_coords({_ALONG: numbers})
            return xr.DataTree.from_dict(
                {**{name: group.load() for name, group in groups.items()}, f"/{_GROUP}": posterior}
            )
        finally:
            if small:
                tree.close()
