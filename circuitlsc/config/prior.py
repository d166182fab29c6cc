"""The table [prior] of a config: its keys are what the classes of priors declare."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from circuitlsc.config.table import ConfigTable, named
from circuitlsc.model.prior import Prior, bounds
from circuitlsc.model.prior_io import PRIORS, prior_keys
from circuitlsc.model.tabulated_prior import CustomPrior


def read_prior(table: ConfigTable) -> Prior:
    """Return the prior that ``[prior]`` describes."""
    kind = table.value("kind")
    cls, keys = PRIORS[kind], PRIORS[kind].config_keys()
    table.check_known(prior_keys())  # after the kind: an unknown kind is why its keys are not known
    for key in table.values:
        if key != "kind" and key not in keys:
            raise table.fail(key, f" does not belong to a {kind} prior. It has {', '.join(keys)}.")
    if "file" in keys:
        return _tabulated_prior(table)
    given = {
        name: table.checked(name, {**meta, "text": f"{meta['text']} {bounds(meta)}"})
        for name, meta in cls.parameters().items()
    }
    if "signed" in table.values:
        given["signed"] = table.value("signed")
    return named(table.path, lambda: cls(**given))


def _tabulated_prior(table: ConfigTable) -> CustomPrior:
    """Return the prior of a file with two columns, s and its cost."""
    name = table.value("file")
    columns = table.array("file", name)
    if columns.ndim != 2 or columns.shape[1] != 2:
        raise table.fail("file", f" has shape {columns.shape}, but a table has two columns: s and its cost.")
    made = partial(CustomPrior.from_table, *columns.T, signed=table.value("signed"), name=Path(name).stem)
    return table.named("file", made)


def resolved_prior(prior: Prior, file: str | None) -> dict[str, Any]:
    """Return ``[prior]`` with every choice written out."""
    keys = prior.config_keys()
    numbers = {name: value for name, value in prior.numbers().items() if name in keys}
    signed = {"signed": prior.signed} if "signed" in keys else {}
    return {"kind": prior.kind, **numbers, **signed, **({} if file is None else {"file": file})}
