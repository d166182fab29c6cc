"""Samples of a run as a labelled tree (xarray), in memory and in netCDF."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from circuitlsc.arrays import Array
from circuitlsc.errors import InputError
from circuitlsc.model import SparseCodingModel
from circuitlsc.netcdf import load_tree
from circuitlsc.prior_io import prior_from, prior_numbers
from circuitlsc.reading import reason
from circuitlsc.runplan import RunPlan
from circuitlsc.samples_check import check_tree
from circuitlsc.spice.deck import fingerprint

if TYPE_CHECKING:
    from circuitlsc.sampler import Sampler
    from circuitlsc.spice.engine import ChainResult
    from circuitlsc.spice.task import ChainTask


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a run, with everything that is needed to judge them.

    Attributes
    ----------
    tree : xarray.DataTree
        Groups ``posterior`` (``u`` and ``s``, dimensions chain, draw, latent; model units; coordinate ``time`` in tau),
        ``observed_data`` (``x``), ``constant_data`` (``A``, ``sigma`` and the prior's numbers or table), ``sample_stats`` (per
        chain: steps, time points, rejected points, Newton iterations, seconds); attributes with versions, seed,
        scaling and the deck's hash.
    """

    tree: xr.DataTree

    @property
    def u(self) -> Array:
        """State, shape (chain, draw, latent), in model units."""
        return np.asarray(self.tree["posterior"]["u"].values)

    @property
    def s(self) -> Array:
        """Code, read as max(abs(u) - u0, 0) with the sign of u for signed priors; same shape."""
        return np.asarray(self.tree["posterior"]["s"].values)

    @property
    def rows(self) -> NDArray[np.int64] | None:
        """Row of x that was on at each draw, shape (draw,); None if x is one observation."""
        posterior = self.tree["posterior"]
        return np.asarray(posterior["row"].to_numpy()) if "row" in posterior.coords else None

    def by_row(self, name: str = "s") -> Array:
        """Return the draws of each input apart, shape (chain, row, draw, latent); ``name`` is u, s or p.

        Raises
        ------
        InputError
            If x is one observation.
        """
        if self.rows is None:
            raise InputError("the samples are of one input, not of rows. Use .s or .u.")
        values = np.asarray(self.tree["posterior"][name].values)
        return values.reshape(len(values), int(self.rows[-1]) + 1, -1, values.shape[-1])

    @property
    def time(self) -> Array:
        """Time of each draw, shape (draw,), in units of tau."""
        return np.asarray(self.tree["posterior"]["time"].to_numpy())

    @property
    def chains(self) -> list[int]:
        """Numbers of the chains."""
        return [int(c) for c in self.tree["posterior"]["chain"].to_numpy()]

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the run."""
        return {str(k): v for k, v in self.tree.attrs.items()}

    def run_plan(self) -> RunPlan:
        """Return the plan of the run."""
        a = self.attrs
        numbers = {name: int(a[name]) for name in ("seed", "thin")}
        return RunPlan(t_stop=float(a["t_stop"]), warmup=float(a["warmup"]), chains=max(self.chains) + 1, **numbers)

    @property
    def stats(self) -> xr.Dataset:
        """What ngspice spent, per chain."""
        return self.tree["sample_stats"].to_dataset()

    def model(self) -> SparseCodingModel:
        """Return the model that was sampled."""
        constant = self.tree["constant_data"].to_dataset()
        prior = prior_from(self.attrs["prior"], bool(self.attrs["signed"]), constant)
        return SparseCodingModel(constant["A"].values, prior, float(constant["sigma"]))

    @property
    def x(self) -> Array:
        """Observation, shape (feature,), or (row, feature) if several followed each other."""
        return np.asarray(self.tree["observed_data"]["x"].values)

    def check_made_by(self, sampler: Sampler) -> None:
        """Raise InputError unless the samples came from this sampler's deck."""
        # the size of the noise is no part of the deck that the engine loads: compare the parts themselves too
        mine = (
            sampler.engine_deck_hash,
            json.dumps(sampler.nonideal.attributes(), sort_keys=True),
            sampler.nonideal.seed,
        )
        made = tuple(self.attrs.get(k) for k in ("engine_deck_sha256", "nonideal", "nonideal_seed"))
        if made != mine:
            raise InputError(
                "the samples were made by another deck than the one that the config builds (their SHA-256 differ). "
                "Run circuitlsc run again."
            )
        # neither what comes from outside is part of the deck: the noise's temperature, a stream of inputs
        parts = {"dynamics": _dynamics(sampler), **_stream(sampler)}
        if changed := [name for name, value in parts.items() if self.attrs.get(name, value) != value]:
            raise InputError(
                f"the samples were made with another {changed[0]} than the config has ({self.attrs[changed[0]]} against "
                f"{parts[changed[0]]}). Run circuitlsc run again."
            )
        if not np.array_equal(self.x, sampler.x):
            raise InputError(
                "the samples were made with another x than the config has. Run circuitlsc run again, or bring back the file."
            )

    def save(self, path: Path) -> None:
        """Write netCDF, complete or not at all."""
        path = Path(path)
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self.tree.to_netcdf(beside, engine="h5netcdf")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read netCDF written by `save`.

        Raises
        ------
        InputError
            If the file is missing or is not such a file.
        """
        try:
            loaded = load_tree(Path(path))
            check_tree(loaded)
            samples = cls(loaded)
            samples.model()
            samples.run_plan()
        except FileNotFoundError:
            raise InputError(f"{path} does not exist. Run circuitlsc run first.") from None
        except (OSError, KeyError, ValueError, RecursionError) as error:
            why = reason(error) if isinstance(error, OSError) else " ".join(str(error).split()).rstrip(".")
            raise InputError(f"{path} is not a file of circuitlsc samples ({why}).") from None
        return samples


def _dynamics(sampler: Sampler) -> str:
    """Return what the circuit does with its energy, as a file's attribute."""
    return json.dumps(sampler.dynamics.numbers(), sort_keys=True)


def _stream(sampler: Sampler) -> dict[str, Any]:
    """Return how the inputs follow each other, as attributes; nothing if there is one."""
    stream = sampler.stream
    return {} if stream is None else {"hold": stream.hold, "interpolate": stream.interpolate}


def read_code(model: SparseCodingModel, u: Array) -> Array:
    """Return the code that is read from u: the ideal s(u), zero below the threshold; shape of u."""
    return model.latent(u, 0.0)


def collect(sampler: Sampler, run: RunPlan, tasks: Sequence[ChainTask], results: Sequence[ChainResult]) -> Samples:
    """Label the chains of a run."""
    model, task = sampler.model, tasks[0]
    # what settled early stays where it is
    longest = max(len(r.u) for r in results)
    u, observed = (
        np.stack([np.pad(v, ((0, longest - len(v)), (0, 0)), mode="edge") for v in values])
        for values in ([r.u for r in results], [r.observed for r in results])
    )
    dims = ("chain", "draw", "latent")
    time = task.times()[:longest]
    posterior = xr.Dataset(
        {
            "u": (dims, u, {"units": "model units", "long_name": "state of the integrator neurons"}),
            "s": (dims, sampler.read(u), {"units": "model units", "long_name": "code"}),
            **({"p": (dims, observed, {"units": "model units", "long_name": "momentum"})} if observed.size else {}),
        },
        coords={
            "chain": [r.chain for r in results],
            "draw": np.arange(u.shape[1]),
            "latent": np.arange(u.shape[2]),
            "time": ("draw", time, {"units": "tau"}),
            **({} if sampler.stream is None else {"row": ("draw", np.arange(len(time)) // task.draws_per_row)}),
        },
    )
    constant = xr.Dataset(
        {
            "A": (("feature", "latent"), np.array(model.A)),
            "sigma": ((), float(model.sigma)),
            **prior_numbers(model.prior),
        }
    )
    spent = ("steps", "points", "rejected", "iterations", "setup", "wall", "cpu", "rss")
    stats = xr.Dataset(
        {name: ("chain", np.array([getattr(r, name) for r in results])) for name in spent},
        coords={"chain": [r.chain for r in results]},
    )
    attrs = {
        "creator": "circuitlsc",
        "circuitlsc_version": version("circuitlsc"),
        "pyspice_version": version("PySpice"),
        "numpy_version": version("numpy"),
        "python_version": platform.python_version(),
        "ngspice_version": results[0].ngspice,
        "prior": model.prior.kind,
        "signed": int(model.prior.signed),
        "form": sampler.form,
        "level": sampler.level,
        "nonideal": json.dumps(sampler.nonideal.attributes(), sort_keys=True),
        "nonideal_seed": sampler.nonideal.seed,
        "halvings": sampler.halvings,
        "dynamics": _dynamics(sampler),
        **_stream(sampler),
        "temperature": float(sampler.temperature),
        "width": sampler.plan.width,
        "step": sampler.plan.step,
        "tolerance": sampler.tolerance,
        "t_stop": float(run.t_stop),
        "warmup": float(run.warmup),
        "thin": task.thin,
        "chunk": task.chunk,
        "seed": int(run.seed),
        "scaling": json.dumps(sampler.scaling.attributes(), sort_keys=True),
        # the stand-alone deck of this run (deck.cir), and what the engine loaded: the same cells, external noise
        "deck_sha256": fingerprint(sampler.deck(t_stop=run.t_stop, warmup=run.warmup, seed=run.seed)),
        "engine_deck_sha256": sampler.engine_deck_hash,
    }
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs=attrs),
            "/posterior": posterior,
            "/observed_data": xr.Dataset({"x": (("row", "feature")[2 - sampler.x.ndim :], np.array(sampler.x))}),
            "/constant_data": constant,
            "/sample_stats": stats,
        }
    )
    return Samples(tree)
