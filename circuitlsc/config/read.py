"""The config file: TOML in, frozen dataclasses out; every message names the key, the value and what would do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from circuitlsc.circuit.transistor.design import TransistorKeys
from circuitlsc.config.registry import SAMPLER, CircuitKeys, EncoderKeys, ModelKeys, NonidealKeys, RunKeys, names
from circuitlsc.config.table import ConfigTable, named, read_tables, read_toml
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.data import load_dictionary
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import FEATURES as KINDS
from circuitlsc.model.features import is_kind
from circuitlsc.model.prior import Prior, bounds
from circuitlsc.model.prior_io import PRIORS, prior_keys
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.model.tabulated_prior import CustomPrior
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.nonideal.parameters import PARTS
from circuitlsc.planning.run_plan import ALLOWANCE, TOLERANCE, RunPlan, choose_run
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.calibration import draw_inputs

MOST_DRAWN = 1_000_000  # inputs of "draw:N"
T_STOP = 20_000.0  # tau: of a run that samples one posterior
LAW_T_STOP = 100_000.0  # tau of the noise cell: of one that samples an encoder's law, every 2 tau


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked config file; ``None`` stands for "auto", or for what is not there.

    Attributes
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
    dynamics : Dynamics
    nonideal : Nonidealities or None
        Imperfections of a device-level circuit.
    run : RunPlan
    source : ModelKeys
        What ``[model]`` said, with absolute paths.
    prior_file : str or None
        Absolute path of the prior's table.
    built : CircuitKeys
        What ``[circuit]`` said.
    timing : RunKeys
        What ``[run]`` said; ``tolerance`` is None for a circuit that settles.
    encoder : Encoder or None
        Of a variational circuit.
    encoded : EncoderKeys or None
        What ``[encoder]`` said of it, with an absolute path.
    features : array, shape (n_rows, n_features of an input), or None
        Those of the file that ``[dynamics] features`` names.
    transistor : TransistorKeys or None
        What ``[transistor]`` said.
    """

    model: SparseCodingModel
    x: Array
    dynamics: Dynamics
    nonideal: Nonidealities | None
    run: RunPlan
    source: ModelKeys
    prior_file: str | None
    built: CircuitKeys
    timing: RunKeys
    encoder: Encoder | None = None
    encoded: EncoderKeys | None = None
    features: Array | None = None
    transistor: TransistorKeys | None = None

    def circuit(self) -> dict[str, Any]:
        """Return the arguments of `build_sampler` beyond the model and its input."""
        timing = {name: getattr(self.timing, name) for name in ("hold", "interpolate", "step")}
        encoder = {"encoder": self.encoder, "source": self.encoded.source} if self.encoded else {}
        memory = {"order": self.timing.order, "features": self.features} if self.dynamics.remembers else {}
        return {
            "dynamics": self.dynamics,
            "nonideal": self.nonideal,
            **asdict(self.built),
            **timing,
            **encoder,
            **memory,
            "transistor": self.transistor,
        }

    def sampler(self) -> Sampler:
        """Compile the sampler that the config describes."""
        return build_sampler(self.model, self.x, **self.circuit())


def load_config(path: str | Path, *, anywhere: bool = False) -> Config:
    """Read and check a config file; paths in it are relative to its folder, and inside unless ``anywhere``.

    Raises
    ------
    InputError
        With one line that names the file, the key, the value, why it cannot be, and what can.
    """
    return parse_config(read_toml(Path(path)), Path(path), anywhere=anywhere)


def parse_config(data: Mapping[str, Any], path: Path, *, anywhere: bool = False) -> Config:
    """Check the tables of a config file; ``path`` is for messages and for relative paths."""
    if "learning" in data:
        raise InputError(
            f"{path} has a table [learning]: it is a config of `circuitlsc learn`. Give it to that, or remove the table."
        )
    if isinstance(encoder := data.get("encoder"), dict):
        trained = (name for name in names(EncoderKeys) if name not in SAMPLER["encoder"])
        why = ", which says how an encoder is trained: learn and compare-samplers read it. Remove it; file names one."
        ConfigTable(path, "encoder", encoder, EncoderKeys).refuse(trained, why)
    tables = read_tables(data, path, SAMPLER, anywhere=anywhere)
    prior = read_prior(tables["prior"])
    model, x, source = _read_model(tables["model"], prior, "hold" in tables["run"].values)
    dynamics: Dynamics = tables["dynamics"].read()
    dynamics, features = read_features(tables["dynamics"], dynamics)
    encoder, encoded = _read_encoder(tables["encoder"], "encoder" in data, dynamics, model)
    timing, stream = _read_timing(tables["run"], x, dynamics)
    given = {name: getattr(timing, name) for name in ("t_stop", "warmup", "chains", "seed", "thin")}
    if timing.t_stop is None and (stream is None or stream.order != "once") and not dynamics.settles:
        given["t_stop"] = T_STOP if dynamics.has_energy else LAW_T_STOP
    built: CircuitKeys = tables["circuit"].read()
    nonideal = read_nonideal(tables["nonideal"]) if "nonideal" in data else None
    if "transistor" in data and built.level != "transistor":
        raise InputError(
            f'{path}: [transistor] needs circuit.level = "transistor", and it is "{built.level}". Set that, or remove it.'
        )
    if nonideal is not None and built.level == "ideal":
        raise InputError(
            f'{path}: [nonideal] needs circuit.level = "device", and it is "{built.level}": the ideal level has no parts that '
            'could be imperfect. Set level = "device", or remove [nonideal].'
        )
    if not dynamics.has_energy and built.form == "residual":
        why = ", but a variational circuit is feed-forward: form says how the neurons of others are coupled. Remove it."
        raise tables["circuit"].fail("form", why)
    return Config(
        model=model,
        x=x,
        dynamics=dynamics,
        nonideal=nonideal,
        run=named(path, lambda: choose_run(settles=dynamics.settles, stream=stream, **given)),
        source=source,
        prior_file=str((path.parent / data["prior"]["file"]).resolve()) if "file" in data["prior"] else None,
        built=built,
        timing=timing,
        encoder=encoder,
        encoded=encoded,
        features=features,
        transistor=tables["transistor"].read() if built.level == "transistor" else None,
    )


def load_encoder(table: ConfigTable, name: str, n_features: int, n_latents: int, *, signed: bool) -> Encoder:
    """Return the encoder of the file that ``[encoder] file`` names, for inputs (D,) and codes (K,) of a sign."""
    file = table.file("file", name)
    encoder = table.named("file", lambda: Encoder.load(file))
    table.named("file", lambda: encoder.check_fits(n_features, n_latents, signed=signed))
    return encoder


def _read_encoder(
    table: ConfigTable, there: bool, dynamics: Dynamics, model: SparseCodingModel
) -> tuple[Encoder | None, EncoderKeys | None]:
    """Return the encoder of a variational circuit, and what ``[encoder]`` says of it."""
    if dynamics.kind != "variational":
        if there:
            raise InputError(
                f'{table.path}: [encoder] belongs to dynamics.kind = "variational", and kind is "{dynamics.kind}". Set that, '
                "or remove the table."
            )
        return None, None
    keys: EncoderKeys = table.read()
    if keys.file is None:
        raise table.fail(
            "file",
            ' is missing, and dynamics.kind = "variational" needs an encoder. Give the encoder.npz that circuitlsc learn wrote '
            '(of a config with [learning] method = "variational").',
        )
    encoder = load_encoder(table, keys.file, model.n_features, model.n_latents, signed=model.prior.signed)
    return encoder, replace(keys, file=str((table.path.parent / keys.file).resolve()))


def read_features(table: ConfigTable, dynamics: Dynamics) -> tuple[Dynamics, Array | None]:
    """Return the dynamics of a memory with the absolute path of its features, and these, if they come from a file."""
    if not dynamics.remembers or is_kind(name := str(dynamics.features)):
        return dynamics, None
    if Path(name).suffix not in (".npy", ".npz", ".csv"):
        wanted = ", ".join(f'"{kind}"' for kind in KINDS)
        why = f', but {wanted} or a .npy, .npz or .csv file is wanted: features of each input, for example "relu:64".'
        raise table.fail("features", why)
    features = table.array("features", name, matrix=True)
    return replace(dynamics, features=str((table.path.parent / name).resolve())), features


def _read_timing(table: ConfigTable, x: Array, dynamics: Dynamics) -> tuple[RunKeys, Stream | None]:
    """Return what ``[run]`` says, and the stream of inputs if x has rows."""
    timing: RunKeys = table.read()
    if x.ndim == 2 and timing.hold is None:
        raise table.fail(
            "hold", f" is missing: x has {len(x)} rows. Give the time that each is on, in tau, for example 20."
        )
    if x.ndim == 1 and dynamics.remembers:
        raise InputError(
            f'{table.path}: dynamics.kind = "amortised" keeps the states of several inputs, and model.x is one. Give '
            'x = "draw:4" or a file with rows, and run.hold.'
        )
    if x.ndim == 1:
        table.refuse(("hold", "interpolate"), ", but x is one input. Give x with several rows, or remove the key.")
    if not dynamics.remembers:
        why = f', but dynamics.kind = "{dynamics.kind}" shows each row once. Remove it, or set kind = "amortised".'
        table.refuse(["order"], why)
    elif timing.interpolate != "hold":
        raise table.fail("interpolate", ", but a memory keeps the states of inputs that stand still. Remove it.")
    else:
        timing = replace(timing, order=timing.order or "cyclic")
    if timing.weights and dynamics.kind != "variational":
        why = f'but dynamics.kind = "{dynamics.kind}" samples no law that could be weighted'
        raise table.fail("weights", f', {why}. Remove it, or set kind = "variational".')
    if timing.weights and x.ndim == 2:
        raise table.fail("weights", ", but weights are those of the samples of one input. Give one row as x.")
    if (given := timing.tolerance) is not None:
        named(table.path, lambda: check_tolerance("run.tolerance", given, dynamics))
    elif not dynamics.settles:
        timing = replace(timing, tolerance=TOLERANCE)
    return timing, None if timing.hold is None else Stream(x, timing.hold, timing.interpolate, timing.order or "once")


def check_tolerance(name: str, value: float, dynamics: Dynamics) -> float:
    """Return a tolerance that a circuit's samples can be judged by, or raise InputError."""
    if dynamics.settles:
        raise InputError(
            f'{name} = {value!r} is how far samples may be from the exact posterior, and dynamics.kind = "{dynamics.kind}" '
            "settles on one code. Remove it."
        )
    if not ALLOWANCE < value < math.inf:
        least = f"comparators and steps alone are allowed a bias of {ALLOWANCE:g}"
        raise InputError(f"{name} = {value!r}, but {least}. Give more than that, for example {TOLERANCE:g}.")
    return float(value)


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


def read_nonideal(table: ConfigTable) -> Nonidealities:
    """Return the parts that ``[nonideal]`` describes."""
    keys: NonidealKeys = table.read()
    given = {key: values for key, values in table.values.items() if key in PARTS}

    def make() -> Nonidealities:
        base = asdict(Nonidealities.preset(keys.preset))
        merged = {k: {**base[k], **v} if isinstance(v, dict) else v for k, v in given.items()}
        return Nonidealities({**{k: base[k] for k in PARTS}, **merged}, seed=keys.seed)

    return named(table.path, make)


def read_dictionary(table: ConfigTable, text: str) -> Array:
    """Return the dictionary that ``[model]`` names."""
    if not text.startswith("bars:"):
        table.file("dictionary", text)  # refuses what is outside
    return named(table.path, lambda: load_dictionary(text, table.path.parent))


def _read_model(table: ConfigTable, prior: Prior, streamed: bool) -> tuple[SparseCodingModel, Array, ModelKeys]:
    keys: ModelKeys = table.read()
    A = read_dictionary(table, keys.dictionary)
    model = table.named("dictionary", lambda: SparseCodingModel(A, prior, keys.sigma))
    if not keys.dictionary.startswith("bars:"):
        keys = replace(keys, dictionary=str((table.path.parent / keys.dictionary).resolve()))
    if keys.x == "draw":
        x = model.draw(np.random.default_rng(keys.seed))[1]
    elif keys.x.startswith("draw:"):
        count = keys.x.removeprefix("draw:")
        if not count.isascii() or not count.isdecimal() or not 1 < int(count) <= MOST_DRAWN:
            raise table.fail("x", f", but after draw: comes a number of inputs, 2 to {MOST_DRAWN:,}, as in draw:100.")
        x = draw_inputs(model, int(count), np.random.default_rng(keys.seed))[1]
    else:
        loaded = table.array("x", keys.x)
        if loaded.ndim == 2 and 1 in loaded.shape and not (streamed and loaded.shape[1] == model.n_features):
            loaded = loaded.ravel()  # a .csv of one row or one column
        if loaded.ndim == 1 and streamed and model.n_features == 1:
            loaded = loaded[:, None]
        x = table.named("x", lambda: model.check_x(loaded) if loaded.ndim == 1 else model.check_rows(loaded))
        keys = replace(keys, x=str((table.path.parent / keys.x).resolve()))
    if not np.isfinite(x).all():
        raise table.fail(
            "x", f": the prior {prior!r} draws numbers that are not finite. Change the prior, or give a file."
        )
    return model, x, keys


def resolved_prior(prior: Prior, file: str | None) -> dict[str, Any]:
    """Return ``[prior]`` with every choice written out."""
    keys = prior.config_keys()
    numbers = {name: value for name, value in prior.numbers().items() if name in keys}
    signed = {"signed": prior.signed} if "signed" in keys else {}
    return {"kind": prior.kind, **numbers, **signed, **({} if file is None else {"file": file})}


def _resolved_transistor(sampler: Sampler) -> dict[str, Any]:
    """Return ``[transistor]`` with the weight of a unit that was chosen; nothing at other levels."""
    sizes = sampler.sizes
    return {} if sizes is None else {**asdict(sizes.keys), "weight_unit": sizes.weight_unit}


def resolved_toml(config: Config, sampler: Sampler) -> str:
    """Return the config with every choice written out, as TOML: running it gives the same samples."""
    run, streamed = config.run, sampler.stream is not None
    tables: dict[str, dict[str, Any]] = {
        "model": asdict(config.source),
        "prior": resolved_prior(config.model.prior, config.prior_file),
        "dynamics": sampler.dynamics.numbers(),
        "circuit": {
            **asdict(config.built),
            "form": sampler.form,
            "cells": "table" if sampler.cells == "closed" else sampler.cells,
            **{name: getattr(sampler.scaling, name) for name in ("volt", "tau", "c_int", "rails")},
            "smoothing": sampler.plan.smoothing.name,
            "width": sampler.plan.width if sampler.nonideal.comparator.width is None else None,
        },
        "transistor": _resolved_transistor(sampler),
        "nonideal": {"seed": config.nonideal.seed, **config.nonideal.attributes()} if config.nonideal else {},
        "run": {
            **asdict(config.timing),
            "t_stop": None if streamed and not config.dynamics.remembers else float(run.t_stop),
            "step": sampler.plan.step,
            "warmup": float(run.warmup),
            "interpolate": config.timing.interpolate if streamed else None,
            "weights": config.timing.weights or None,
            "chains": run.chains,
            "thin": sampler.tasks(run)[0].thin,
        },
        "encoder": {name: getattr(config.encoded, name) for name in SAMPLER["encoder"]} if config.encoded else {},
    }
    # what is None is chosen again in the same way
    return tomli_w.dumps(
        {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items() if table}
    )
