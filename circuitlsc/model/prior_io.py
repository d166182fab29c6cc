"""Priors in a netCDF file: their numbers, or the table of a cost, and the prior that they make."""

from __future__ import annotations

from typing import Any

import xarray as xr

from circuitlsc.errors import InputError
from circuitlsc.model.cost_priors import Cauchy, SquareRoot
from circuitlsc.model.prior import Prior
from circuitlsc.model.priors import Gaussian, Laplace, SpikeSlab
from circuitlsc.model.tabulated_prior import CustomPrior

#: Variables of a tabulated cost: s (model units), C(s), C'(s).
TABLE = ("prior_s", "prior_cost", "prior_slope")


def prior_numbers(prior: Prior) -> dict[str, Any]:
    """Return the variables of a data set that hold a prior: its numbers, and the columns of its table if it has one."""
    numbers: dict[str, Any] = {name: ((), value) for name, value in prior.numbers().items()}
    if isinstance(prior, CustomPrior):
        columns = (prior.knots, prior.costs, prior.slopes)
        for name, column in zip(TABLE, columns, strict=True):
            numbers[name] = ("knot", column, {"prior_name": prior.name})
    return numbers


def prior_from(kind: str, signed: bool, dataset: xr.Dataset) -> Prior:
    """Return the prior that `prior_numbers` has written, equal to the last bit.

    Raises
    ------
    InputError
        If the kind is not known.
    """

    def number(name: str) -> float:
        return float(dataset[name])

    if kind == "spike-slab":
        return SpikeSlab(number("pi"), number("lam"), signed)
    if kind == "laplace":
        return Laplace(number("lam"), signed)
    if kind == "gaussian":
        return Gaussian(number("sd"))
    if kind == "cauchy":
        return Cauchy(number("lam"), number("scale"), signed)
    if kind == "square-root":
        return SquareRoot(number("lam"), number("epsilon"), signed)
    if kind == "table":
        name = str(dataset[TABLE[0]].attrs["prior_name"])
        return CustomPrior.from_table(*(dataset[column].to_numpy() for column in TABLE), signed=signed, name=name)
    raise InputError(f"the samples' prior {kind!r} is not known to this version of circuitlsc.")
