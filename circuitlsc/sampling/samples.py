"""Samples of a run as a labelled tree (xarray); those of a long run stay in a file and are read piece by piece."""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import platform
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.io.report import Facts, Report, Table
from circuitlsc.io.safe_open import reason
from circuitlsc.io.shown import Shown, counted
from circuitlsc.model.features import Features
from circuitlsc.model.prior_io import prior_from
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling import samples_file
from circuitlsc.sampling.arviz_tree import arviz_tree
from circuitlsc.sampling.circuit import CompiledCircuit
from circuitlsc.sampling.lazy_draws import Draws, stacked
from circuitlsc.sampling.samples_check import ROWS, dimension
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.simulator.journal import Cost
from circuitlsc.simulator.task import ChainTask

MOST_FIRST = 1_000  # draws of a memory that are kept in the order of time, too
MOST_LATENTS = 24  # that a table of a notebook has
MOST_SHOWN = 20_000  # draws of a waveform in a picture


@dataclass(frozen=True, eq=False)
class Samples(Shown):
    """The samples of a run, with everything that is needed to judge them.

    Attributes
    ----------
    tree : xarray.DataTree
        Groups ``posterior`` (``u`` and ``s``, dimensions chain, draw, latent; a momentum ``p`` too, and further vectors of
        states by their letter, v with dimension ``state_v``; model units; coordinate ``time`` in tau),
        ``observed_data`` (``x``), ``constant_data`` (``A``, ``sigma`` and the prior's numbers or table), ``sample_stats`` (per
        chain: steps, time points, rejected points, Newton iterations, seconds); attributes with versions, seed,
        scaling and the deck's hash.

    Notes
    -----
    More than 131,072 numbers u are not held in memory: the tree's ``u``, ``s``, ``p``, ``time`` and ``row`` are read
    from a file whenever they are asked for. It is the file that was loaded, or, of a run that has not been saved, one
    in the folder for temporary files (``TMPDIR``), which goes when the tree does. `draws` reads them piece by piece;
    `u`, `s`, `time`, `rows` and `by_row` return whole arrays, as large as the run is long.

    Of a memory (`dynamics.kind = "amortised"`) u and s have a dimension row before the others, and time has one: draw is the
    number of a row's own draws, over all of its visits. `row_draws` reads those of a row.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> samples = build_sampler(model, model.draw(1)[1]).run(t_stop=200.0, chains=2, seed=1)
    >>> samples.s.shape  # chains, draws, latents
    (2, 900, 4)
    """

    tree: xr.DataTree

    def _line(self) -> str:
        sizes, a = self.tree["posterior"].sizes, self.attrs
        size = " x ".join(counted(sizes[name], name) for name in ("row", "chain", "draw", "latent") if name in sizes)
        return f"{size}, {a['t_stop']:g} tau each, {a.get('level', 'ideal')} level, seed {a['seed']}"

    def _shows(self) -> Report:
        sizes, a = self.tree["posterior"].sizes, self.attrs
        facts = [
            ("model", repr(self.model())),
            *((name, str(a[name])) for name in ("dynamics", "level", "form") if name in a),
            (
                "run",
                f"{counted(sizes['chain'], 'chain')} of {a['t_stop']:g} tau, warmup {a['warmup']:g} tau, seed {a['seed']}",
            ),
            ("draws", f"{sizes['draw']:,} of each chain, one in {a['thin']} steps"),
            ("simulator", f"version {a.get('ngspice_version', 'unknown')}"),
        ]
        block, codes = Facts(tuple(facts)), self.tree["posterior"]["s"]
        several = "row" in self.tree["posterior"].coords
        if several or codes.size > samples_file.IN_MEMORY or sizes["latent"] > MOST_LATENTS:
            return Report((block,))
        s = np.asarray(codes.values).reshape(-1, sizes["latent"])
        columns = {"latent": ">6.0f", "P(active)": ">10.4f", "mean of s": ">9.4f", "sd of s": ">9.4f"}
        rows = zip(range(sizes["latent"]), (s != 0).mean(0), s.mean(0), s.std(0), strict=True)
        return Report((block, Table.of(columns, rows)))

    @property
    def u(self) -> Array:
        """State, (chain, draw, latent), or of a memory (row, chain, draw, latent), in model units; all of it in memory."""
        return np.asarray(self.tree["posterior"]["u"].values)

    @property
    def s(self) -> Array:
        """Code, read as max(abs(u) - u0, 0) with the sign of u for signed priors (or a variational circuit's own); as for u."""
        return np.asarray(self.tree["posterior"]["s"].values)

    @property
    def states(self) -> dict[str, Array]:
        """Every vector of states by its letter, u first, each (chain, draw, state), in model units; all in memory."""
        values = self.tree["posterior"].data_vars
        return {str(key): np.asarray(v.values) for key, v in values.items() if "draw" in v.dims and key != "s"}

    def __getstate__(self) -> dict[str, Any]:
        return {"tree": self.tree.copy().load()}  # the file of a long run goes with the process that made it

    @property
    def remembered(self) -> bool:
        """Whether the samples are those of a memory, of which each row of x has its own."""
        return "row" in self.tree["posterior"]["s"].dims

    @property
    def draws_per_visit(self) -> int:
        """Draws that a memory keeps each time that a row is on.

        Raises
        ------
        InputError
            If the samples are not those of a memory.
        """
        if not self.remembered:
            raise InputError("draws_per_visit: the samples are not those of a memory. Use draws_per_row of rows.")
        return int(self.attrs["draws_per_visit"])

    @property
    def first_visits(self) -> tuple[Array, Array]:
        """Times (draw,) in tau and u (chain, draw, latent) of a memory's first draws, in the order of time, warmup included.

        At most 1,000 of them: what its twin is compared with.
        """
        first = self.tree["first_visits"]
        return np.asarray(first["time"].values), np.asarray(first["u"].values)

    def _in_order(self, what: str) -> None:
        """Raise InputError if the draws are those of a memory, whose rows have draws and times of their own."""
        if self.remembered:
            raise InputError(
                f"{what}: each row of a memory has draws of its own. Use row_draws(row), by_row() or time."
            )

    def draws(self, name: str = "u") -> Draws:
        """Return u, s, or another vector of states (p, a momentum), (chain, draw, latent), to be read piece by piece.

        Raises
        ------
        InputError
            If nothing is called so, or the samples are those of a memory (`row_draws`).
        """
        self._in_order("draws")
        variable = self._variable("draws", name)
        return Draws(variable.shape, partial(_piece, variable))

    def _variable(self, what: str, name: str) -> xr.Variable:
        states = [str(key) for key, values in self.tree["posterior"].data_vars.items() if "draw" in values.dims]
        if name not in states:
            raise InputError(f"{what}: name = {name!r} is not one of {', '.join(states)}.")
        return self.tree["posterior"][name].variable

    @property
    def n_draws(self) -> int:
        """Draws per chain."""
        return int(self.tree["posterior"].sizes["draw"])

    @property
    def rows(self) -> NDArray[np.int64] | None:
        """Row of x that was on at each draw, shape (draw,); None if x is one observation, or each row has its own draws."""
        posterior = self.tree["posterior"]
        there = "row" in posterior.coords and not self.remembered
        return np.asarray(posterior["row"].to_numpy()) if there else None

    @property
    def draws_per_row(self) -> int:
        """Draws of each input.

        Raises
        ------
        InputError
            If x is one observation.
        """
        if "row" not in self.tree["posterior"].coords:
            raise InputError("the samples are of one input, not of rows. Use .s or .u.")
        return self.n_draws // (1 if self.remembered else int(self.tree["posterior"]["row"].variable[-1]) + 1)

    def by_row(self, name: str = "s") -> Array:
        """Return the draws of each input apart, shape (chain, row, draw, latent); ``name`` is u, s or p.

        Raises
        ------
        InputError
            If x is one observation, or nothing is called so.
        """
        each = self.draws_per_row
        values = np.asarray(self._variable("by_row", name).values)
        if self.remembered:
            return values.swapaxes(0, 1)
        return values.reshape(len(values), -1, each, values.shape[-1])

    @property
    def _n_rows(self) -> int:
        return len(self.tree["observed_data"]["x"])

    def row_draws(self, row: int, name: str = "s") -> Draws:
        """Return the draws of one input, (chain, draw, latent), to be read piece by piece; InputError as for `by_row`."""
        each = self.draws_per_row
        if check_count("row_draws: row", row, 0) >= self._n_rows:
            raise InputError(f"row_draws: row = {row!r}, but x has rows 0 .. {self._n_rows - 1}. Give one of them.")
        if self.remembered:
            variable = self._variable("row_draws", name)[row]
            return Draws(variable.shape, partial(_piece, variable))
        return self.draws(name).part(row * each, (row + 1) * each)

    @property
    def time(self) -> Array:
        """Time of each draw, shape (draw,), in units of tau; (row, draw) of a memory."""
        return np.asarray(self.tree["posterior"]["time"].to_numpy())

    def times(self, first: int, stop: int) -> Array:
        """Return the times of draws first .. stop - 1, in units of tau; InputError of a memory, whose rows have times each."""
        self._in_order("times")
        return np.asarray(self.tree["posterior"]["time"].variable[first:stop].values)

    def until(self, time: float) -> int:
        """Return how many draws a chain has up to a time in tau."""
        return bisect.bisect_right(range(self.n_draws), time, key=lambda k: float(self.times(k, k + 1)[0]))

    def waveform(self, stop: int, name: str = "u") -> tuple[Array, Array]:
        """Return times (draw,) and values (chain, draw, latent) of the first ``stop`` draws, or of 20,000 among them."""
        self._in_order("waveform")
        posterior, every = self.tree["posterior"], max(1, math.ceil(stop / MOST_SHOWN))
        time, values = posterior["time"].variable[:stop:every], self._variable("waveform", name)[:, :stop:every]
        return np.asarray(time.values), np.asarray(values.values)

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

    def to_arviz(self, *, every: int = 1) -> xr.DataTree:
        """Return the samples as ArviZ takes them: its statistics and plots know the names of groups and dimensions.

        Group ``posterior`` has u, s and other states with dimensions chain, draw, latent; of several inputs, which follow each
        other or are remembered, draws are those of each, with a dimension row. ``sample_stats`` has the cost of each chain
        and, of one input to a circuit with an energy, ``lp``, the log density of u up to a constant; ``observed_data`` x,
        ``constant_data`` A, sigma and the prior.

        All of it is in memory, at 8 bytes a number: of a long run, take fewer draws. ``arviz_stats.summary`` and all
        else that takes a tree needs the extra ``arviz``.

        Parameters
        ----------
        every : int
            Keep one draw in so many.

        Raises
        ------
        InputError
            If the circuit settles instead of sampling.
        """
        return arviz_tree(self.tree, self.model(), every)

    def check_made_by(self, sampler: CompiledCircuit) -> None:
        """Raise InputError unless the samples came from this sampler's deck."""
        # the size of the noise is no part of the deck that the engine loads: compare the parts themselves too
        mine = (
            sampler.engine_deck_hash,
            json.dumps(sampler.nonideal.attributes(), sort_keys=True),
            sampler.nonideal.seed,
        )
        made = tuple(self.attrs.get(k) for k in ("engine_deck_sha256", "nonideal", "nonideal_seed"))
        if made != mine:
            by, now = self.attrs.get("circuitlsc_version", "of unknown number"), version("circuitlsc")
            whose = "" if by == now else f" Version {by} of circuitlsc wrote them, and this is {now}."
            raise InputError(
                "the samples were made by another deck than the one that the config builds (their SHA-256 differ)."
                f"{whose} Run circuitlsc run again."
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

    def save(self, path: str | Path) -> None:
        """Write netCDF, complete or not at all."""
        if not Path(path).absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written: its folder does not exist. Make it first.")
        posterior = self.tree["posterior"].to_dataset()
        samples_file.write(
            Path(path), self.tree, lambda first, stop: posterior.isel(draw=slice(first, stop)), self.n_draws
        )

    @classmethod
    def load(cls, path: str | Path) -> Samples:
        """Open netCDF written by `save`; a long run's draws stay in the file, which must stay where it is.

        Raises
        ------
        InputError
            If the file is missing or is not such a file.
        """
        try:
            samples = cls(samples_file.read(Path(path)))
            samples.model()
            samples.run_plan()
        except FileNotFoundError:
            raise InputError(f"{path} does not exist. Run circuitlsc run first.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({reason(error)}).") from None
        except (KeyError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path} is not a file of circuitlsc samples ({' '.join(str(error).split()).rstrip('.')})."
            ) from None
        return samples


def _piece(variable: xr.Variable, first: int, stop: int) -> Array:
    """Return draws first .. stop - 1 of every chain."""
    return np.asarray(variable[:, first:stop].values)


def _about(letter: str) -> dict[str, str]:
    """Return the attributes of a vector of states beside u."""
    return {"units": "model units", "long_name": {"p": "momentum"}.get(letter, f"state {letter}")}


def _dynamics(sampler: CompiledCircuit) -> str:
    """Return what the circuit does with its energy, as a file's attribute."""
    return json.dumps(sampler.dynamics.numbers(), sort_keys=True)


def _stream(sampler: CompiledCircuit) -> dict[str, Any]:
    """Return how the inputs follow each other, as attributes; nothing if there is one."""
    stream = sampler.stream
    if stream is None:
        return {}
    again = {} if sampler.features is None else {"order": stream.order, "features_sha256": _hash(sampler.features)}
    return {"hold": stream.hold, "interpolate": stream.interpolate, **again}


def _hash(features: Features) -> str:
    return hashlib.sha256(np.ascontiguousarray(features.phi, dtype="<f8").tobytes()).hexdigest()


def collect(
    sampler: CompiledCircuit, run: RunPlan, tasks: Sequence[ChainTask], results: Sequence[ChainResult]
) -> Samples:
    """Label the chains of a run; what settled early stays where it is."""
    u, observed = stacked([r.u for r in results]), stacked([r.observed for r in results])
    task, beside = tasks[0], sampler.observed
    rest = _without_posterior(sampler, run, task, results)
    if sampler.dynamics.remembers:
        first = u.read(0, MOST_FIRST)
        times = ("draw", task.times(0, first.shape[1]), {"units": "tau"})
        rest["/first_visits"] = xr.Dataset(
            {"u": (("chain", "draw", "latent"), first, {"units": "model units"}), "time": times}
        )
        return _saved(rest, *_by_visits(sampler, run, task, results, u))

    def posterior(first: int, stop: int) -> xr.Dataset:
        dims, states, others = ("chain", "draw", "latent"), u.read(first, stop), observed.read(first, stop)
        variables: dict[str, Any] = {
            "u": (dims, states, {"units": "model units", "long_name": "state of the integrator neurons"}),
        }
        values: dict[str, Array] = {"u": states}
        coords: dict[str, Any] = {
            "chain": [r.chain for r in results],
            "draw": pd.RangeIndex(first, stop),
            "latent": np.arange(u.shape[2]),
        }
        for cell in beside:
            values[cell.letter], others = np.split(others, [cell.size], axis=-1)
        variables["s"] = (dims, sampler.code(values), {"units": "model units", "long_name": "code"})
        for letter in (cell.letter for cell in beside if cell.letter != "s"):
            own = dimension(letter)
            variables[letter] = ((*dims[:2], own), values[letter], _about(letter))
            coords[own] = np.arange(values[letter].shape[-1])
        coords["time"] = ("draw", task.times(first, stop), {"units": "tau"})
        if sampler.stream is not None:
            coords["row"] = ("draw", np.arange(first, stop) // task.draws_per_row)
        return xr.Dataset(variables, coords)

    return _saved(rest, posterior, u.n_draws, math.prod(u.shape))


def _by_visits(
    sampler: CompiledCircuit, run: RunPlan, task: ChainTask, results: Sequence[ChainResult], u: Draws
) -> tuple[samples_file.Posterior, int, int]:
    """Return the posterior of a memory, its draws by row of x in the order of the visits; how many, and how many numbers."""
    visits, each = sampler.visits(run), task.draws_per_row
    chains, cycle = [r.chain for r in results], visits.order.shape[1] * each

    def posterior(first: int, stop: int) -> xr.Dataset:
        places = visits.places(first, stop, each)
        start, end = (visits.dropped + first // each) * cycle, (visits.dropped + -(-stop // each)) * cycle
        states = u.read(start, end)[:, places - start].swapaxes(0, 1)
        about = {"units": "model units", "long_name": "state of the neurons"}
        variables = {
            "u": (ROWS, states, about),
            "s": (ROWS, sampler.read(states), {"units": "model units", "long_name": "code"}),
        }
        coords = {
            "row": np.arange(len(places)),
            "chain": chains,
            "draw": pd.RangeIndex(first, stop),
            "latent": np.arange(u.shape[2]),
            "time": (("row", "draw"), task.times(start, end)[places - start], {"units": "tau"}),
        }
        return xr.Dataset(variables, coords)

    n_draws = visits.kept * each
    return posterior, n_draws, len(chains) * n_draws * visits.order.shape[1] * u.shape[2]


def _saved(rest: dict[str, xr.Dataset], posterior: samples_file.Posterior, n_draws: int, numbers: int) -> Samples:
    """Return samples in memory, or in a file of their own if they are many."""
    if numbers <= samples_file.IN_MEMORY:
        return Samples(xr.DataTree.from_dict({**rest, "/posterior": posterior(0, n_draws)}))
    folder = Path(tempfile.mkdtemp(prefix="circuitlsc-samples-"))
    try:
        samples_file.write(folder / "samples.nc", xr.DataTree.from_dict(rest), posterior, n_draws)
        samples = Samples.load(folder / "samples.nc")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(samples.tree, shutil.rmtree, folder, ignore_errors=True)
    return samples


def _without_posterior(
    sampler: CompiledCircuit, run: RunPlan, task: ChainTask, results: Sequence[ChainResult]
) -> dict[str, xr.Dataset]:
    """Return all groups but the posterior."""
    model = sampler.model
    constant = {"A": (("feature", "latent"), np.array(model.A)), "sigma": ((), float(model.sigma))}
    spent = [field.name for field in fields(Cost) if field.name != "ngspice"]
    stats = xr.Dataset(
        {name: ("chain", np.array([getattr(r, name) for r in results])) for name in spent},
        coords={"chain": [r.chain for r in results]},
    )
    attrs = {
        "creator": "circuitlsc",
        **{f"{name.lower()}_version": version(name) for name in ("circuitlsc", "PySpice", "numpy")},
        "python_version": platform.python_version(),
        "ngspice_version": ", ".join(sorted({r.ngspice for r in results})),
        "prior": model.prior.kind,
        "signed": int(model.prior.signed),
        **{name: getattr(sampler, name) for name in ("form", "level", "loop", "cells", "halvings", "tolerance")},
        "nonideal": json.dumps(sampler.nonideal.attributes(), sort_keys=True),
        "nonideal_seed": sampler.nonideal.seed,
        "dynamics": _dynamics(sampler),
        **_stream(sampler),
        "temperature": float(sampler.temperature),
        "width": sampler.plan.width,
        **({"smoothing": sampler.plan.smoothing.name} if sampler.plan.smoothing.said else {}),
        "step": sampler.plan.step,
        "t_stop": float(run.t_stop),
        "warmup": float(run.warmup),
        "thin": task.thin,
        "chunk": task.chunk,
        **({"draws_per_visit": task.draws_per_row} if sampler.dynamics.remembers else {}),
        "seed": int(run.seed),
        "scaling": json.dumps(sampler.scaling.attributes(), sort_keys=True),
        # what the engine loaded; samples.nc beside a deck.cir has that deck's, too: the same cells, noise of their own
        "engine_deck_sha256": sampler.engine_deck_hash,
    }
    return {
        "/": xr.Dataset(attrs=attrs),
        "/observed_data": xr.Dataset({"x": (("row", "feature")[2 - sampler.x.ndim :], np.array(sampler.x))}),
        "/constant_data": xr.Dataset({**constant, **model.prior.variables()}),
        "/sample_stats": stats,
    }
