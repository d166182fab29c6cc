"""The config file: TOML in, frozen dataclasses out; every message names the key, the value and what would do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from circuitlsc.circuit.systems import FORMS
from circuitlsc.config.table import AUTO, ConfigTable, named, read_tables, read_toml
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.cost_priors import Cauchy, SquareRoot
from circuitlsc.model.data import load_array, load_dictionary
from circuitlsc.model.dynamics import KINDS, THRESHOLDS, Dynamics
from circuitlsc.model.prior import Prior
from circuitlsc.model.priors import Gaussian, Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import INTERPOLATIONS, Stream
from circuitlsc.model.tabulated_prior import CustomPrior
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.nonideal.parameters import PARTS
from circuitlsc.planning.broken_loop import LOOPS
from circuitlsc.planning.run_plan import ALLOWANCE, REFERENCE_TIME, TOLERANCE, RunPlan, choose_run
from circuitlsc.sampling.compile import LEVELS, build_sampler
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.calibration import draw_inputs

MOST_DRAWN = 1_000_000  # inputs of "draw:N"
PRIORS = {
    "spike-slab": ("pi", "lam", "signed"),
    "laplace": ("lam", "signed"),
    "gaussian": ("sd",),
    "cauchy": ("lam", "scale", "signed"),
    "square-root": ("lam", "epsilon", "signed"),
    "table": ("file", "signed"),
}
KEYS = {
    "model": ("dictionary", "x", "sigma", "seed"),
    "prior": ("kind", "pi", "lam", "sd", "scale", "epsilon", "file", "signed"),
    "dynamics": ("kind", "temperature", "friction", "mass", "threshold"),
    "circuit": ("level", "form", "loop", "tau", "c_int", "volt", "width", "rails"),
    "nonideal": ("preset", "seed", *PARTS),
    "run": (
        "t_stop",
        "step",
        "warmup",
        "hold",
        "interpolate",
        "chains",
        "seed",
        "thin",
        "timeout",
        "tolerance",
        "reference_time",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """A checked config file; ``None`` stands for "auto".

    Attributes
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
    dictionary, x_source : str
        What the file said, with absolute paths.
    prior_file : str or None
        Absolute path of the prior's table.
    model_seed : int
    dynamics : Dynamics
    hold : float or None
        Time that each of several inputs takes, in tau.
    interpolate : str
    level, form, loop : str
    tau, c_int, rails : float
        SI.
    volt, width, step : float or None
    nonideal : Nonidealities or None
        Imperfections of a device-level circuit.
    run : RunPlan
    timeout : float or None
        Seconds per chain.
    tolerance : float or None
        How close is close for a circuit that samples, errors included; None for one that settles.
    reference_time : float
        Seconds for which a reference is drawn at most.
    """

    model: SparseCodingModel
    x: Array
    dictionary: str
    x_source: str
    prior_file: str | None
    model_seed: int
    dynamics: Dynamics
    hold: float | None
    interpolate: str
    level: str
    form: str
    loop: str
    tau: float
    c_int: float
    rails: float
    volt: float | None
    width: float | None
    step: float | None
    nonideal: Nonidealities | None
    run: RunPlan
    timeout: float | None
    tolerance: float | None
    reference_time: float

    def circuit(self) -> dict[str, Any]:
        """Return the arguments of `build_sampler` beyond the model and its input."""
        return {
            "dynamics": self.dynamics,
            "hold": self.hold,
            "interpolate": self.interpolate,
            "form": self.form,
            "loop": self.loop,
            "level": self.level,
            "nonideal": self.nonideal,
            "width": self.width,
            "step": self.step,
            "volt": self.volt,
            "c_int": self.c_int,
            "tau": self.tau,
            "rails": self.rails,
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
    tables = read_tables(data, path, KEYS, anywhere=anywhere)
    model_table, circuit, run = tables["model"], tables["circuit"], tables["run"]
    prior = read_prior(tables["prior"])
    model, x, dictionary, x_source = _read_model(model_table, prior, path, "hold" in run.values)
    dynamics = _read_dynamics(tables["dynamics"], path)
    hold = run.number("hold", what="a time in units of tau, for example 20") if "hold" in run.values else None
    interpolate = run.choice("interpolate", INTERPOLATIONS, "hold")
    if x.ndim == 2 and hold is None:
        raise run.fail(
            "hold", f" is missing: x has {len(x)} rows. Give the time that each is on, in tau, for example 20."
        )
    if x.ndim == 1 and (extra := [key for key in ("hold", "interpolate") if key in run.values]):
        raise run.fail(extra[0], ", but x is one input. Give x with several rows, or remove the key.")
    stream = None if hold is None else Stream(x, hold, interpolate)
    level = circuit.choice("level", LEVELS, "ideal")
    nonideal = read_nonideal(tables["nonideal"], path) if "nonideal" in data else None
    if nonideal is not None and level != "device":
        raise InputError(
            f'{path}: [nonideal] needs circuit.level = "device", and it is "{level}": the ideal level has no parts that could '
            'be imperfect. Set level = "device", or remove [nonideal].'
        )
    return Config(
        model=model,
        x=x,
        dictionary=dictionary,
        x_source=x_source,
        prior_file=str((path.parent / data["prior"]["file"]).resolve()) if "file" in data["prior"] else None,
        model_seed=model_table.integer("seed", 0, low=0),
        level=level,
        dynamics=dynamics,
        hold=hold,
        interpolate=interpolate,
        nonideal=nonideal,
        form=circuit.choice("form", (*FORMS, AUTO), "gram"),
        loop=circuit.choice("loop", LOOPS, "closed"),
        tau=circuit.number("tau", 1e-6, what="seconds, for example 1e-6"),
        c_int=circuit.number("c_int", 1e-12, what="farad, for example 1e-12"),
        rails=circuit.number("rails", 2.5, what="volts, for example 2.5"),
        volt=circuit.number_or_auto("volt", "volts per model unit, for example 0.1"),
        width=circuit.number_or_auto("width", "a width in model units, for example 0.05"),
        step=run.number_or_auto("step", "a step in units of tau, for example 0.05"),
        run=_read_run(run, path, dynamics, stream),
        timeout=None if "timeout" not in run.values else run.number("timeout", what="seconds"),
        tolerance=_read_tolerance(run, path, dynamics),
        reference_time=run.number("reference_time", REFERENCE_TIME, what="seconds, for example 60"),
    )


def _read_tolerance(table: ConfigTable, path: Path, dynamics: Dynamics) -> float | None:
    if "tolerance" not in table.values:
        return None if dynamics.settles else TOLERANCE
    given = table.number("tolerance", what="a difference, for example 0.05")
    checked: float | None = named(path, lambda: check_tolerance("run.tolerance", given, dynamics))
    return checked


def check_tolerance(name: str, value: float, dynamics: Dynamics) -> float:
    """Return a tolerance that a circuit's samples can be judged by, or raise InputError."""
    if dynamics.settles:
        raise InputError(
            f'{name} = {value!r} is how far samples may be from the exact posterior, and dynamics.kind = "{dynamics.kind}" '
            "settles on one code. Remove it."
        )
    if not ALLOWANCE < value < math.inf:
        raise InputError(
            f"{name} = {value!r}, but comparators and steps alone are allowed a bias of {ALLOWANCE:g}. Give more than "
            f"that, for example {TOLERANCE:g}."
        )
    return float(value)


def _read_run(table: ConfigTable, path: Path, dynamics: Dynamics, stream: Stream | None) -> RunPlan:
    given: dict[str, Any] = {"seed": table.integer("seed", 0, low=0)}
    if "t_stop" in table.values or (stream is None and not dynamics.settles):
        given["t_stop"] = table.number("t_stop", 20_000.0, what="a time in units of tau")
    if "warmup" in table.values:
        given["warmup"] = table.number("warmup", or_equal=True, what="a time in units of tau, >= 0")
    if "chains" in table.values:
        given["chains"] = table.integer("chains", 2, low=1)
    if table.values.get("thin", AUTO) != AUTO:
        given["thin"] = table.integer("thin", 1, low=1)
    plan: RunPlan = named(path, lambda: choose_run(settles=dynamics.settles, stream=stream, **given))
    return plan


def _read_dynamics(table: ConfigTable, path: Path) -> Dynamics:
    kind = table.choice("kind", KINDS, "langevin")
    threshold = table.choice("threshold", THRESHOLDS, "soft")
    given = {
        key: table.number(
            key, or_equal=key == "temperature", what=f"a number {'>=' if key == 'temperature' else '>'} 0"
        )
        for key in ("temperature", "friction", "mass")
        if key in table.values
    }
    dynamics: Dynamics = named(path, lambda: Dynamics(kind=kind, threshold=threshold, **given))
    return dynamics


def read_nonideal(table: ConfigTable, path: Path) -> Nonidealities:
    """Return the parts that ``[nonideal]`` describes."""
    seed = table.integer("seed", 0, low=0)
    given = {key: values for key, values in table.values.items() if key in PARTS}
    preset = table.values.get("preset", "ideal")

    def make() -> Nonidealities:
        if not isinstance(preset, str):
            raise InputError(f'nonideal.preset = {preset!r} is not a name. Give one in quotes, for example "rram".')
        base = asdict(Nonidealities.preset(preset))
        merged = {k: {**base[k], **v} if isinstance(v, dict) else v for k, v in given.items()}
        return Nonidealities({**{k: base[k] for k in PARTS}, **merged}, seed=seed)

    nonideal: Nonidealities = named(path, make)
    return nonideal


def read_prior(table: ConfigTable) -> Prior:
    """Return the prior that ``[prior]`` describes."""
    kind = table.choice("kind", tuple(PRIORS))
    for key in table.values:
        if key != "kind" and key not in PRIORS[kind]:
            raise table.fail(key, f" does not belong to a {kind} prior. It has {', '.join(PRIORS[kind])}.")
    if kind == "gaussian":
        return Gaussian(table.number("sd", what="a standard deviation > 0"))
    if kind == "table":
        return _tabulated_prior(table)
    lam = table.number("lam", what="a rate > 0")
    if kind == "cauchy":
        scale, signed = table.number("scale", 1.0, what="a scale > 0"), table.flag("signed", True)
        prior: Cauchy = named(table.path, lambda: Cauchy(lam, scale, signed))
        return prior
    if kind == "square-root":
        epsilon = table.number("epsilon", what="a smoothing scale > 0") if "epsilon" in table.values else None
        return SquareRoot(lam, epsilon, table.flag("signed", True))
    if kind == "laplace":
        return Laplace(lam, table.flag("signed", True))
    pi = table.number("pi", what="a probability in (0, 1]")
    if pi > 1:
        raise table.fail("pi", ", but a probability lies in (0, 1]. Give P(active), for example 0.3.")
    return SpikeSlab(pi, lam, table.flag("signed", False))


def _tabulated_prior(table: ConfigTable) -> CustomPrior:
    """Return the prior of a file with two columns, s and its cost."""
    name = table.required("file", "a .csv, .npy or .npz file with two columns, s and its cost")
    if not isinstance(name, str):
        raise table.fail("file", " is not a string. Give a .csv, .npy or .npz file with two columns, s and its cost.")
    file = table.file("file", name)
    columns = named(table.path, lambda: load_array(file, "prior.file"))
    if columns.ndim != 2 or columns.shape[1] != 2:
        raise table.fail("file", f" has shape {columns.shape}, but a table has two columns: s and its cost.")
    signed = table.flag("signed", True)
    prior: CustomPrior = table.named(
        "file", lambda: CustomPrior.from_table(*columns.T, signed=signed, name=Path(name).stem)
    )
    return prior


def read_dictionary(table: ConfigTable, text: str) -> Array:
    """Return the dictionary that ``[model]`` names."""
    if not text.startswith("bars:"):
        table.file("dictionary", text)  # refuses what is outside
    array: Array = named(table.path, lambda: load_dictionary(text, table.path.parent))
    return array


def _read_model(
    table: ConfigTable, prior: Prior, path: Path, streamed: bool
) -> tuple[SparseCodingModel, Array, str, str]:
    dictionary = table.required("dictionary", 'a file (D, K), or "bars:4"')
    if not isinstance(dictionary, str):
        raise table.fail("dictionary", ' is not a string. Give a file (D, K), or "bars:4".')
    sigma = table.number("sigma", what="a noise level > 0")
    A = read_dictionary(table, dictionary)
    model: SparseCodingModel = table.named("dictionary", lambda: SparseCodingModel(A, prior, sigma))
    source = table.values.get("x", "draw")
    if not isinstance(source, str):
        raise table.fail("x", ' is not a string. Give "draw", "draw:100", or a file with rows of n_features values.')
    seed = table.integer("seed", 0, low=0)
    if source == "draw":
        x = model.draw(np.random.default_rng(seed))[1]
    elif source.startswith("draw:"):
        count = source.removeprefix("draw:")
        if not count.isascii() or not count.isdecimal() or not 1 < int(count) <= MOST_DRAWN:
            raise table.fail("x", f", but after draw: comes a number of inputs, 2 to {MOST_DRAWN:,}, as in draw:100.")
        x = draw_inputs(model, int(count), np.random.default_rng(seed))[1]
    else:
        file = table.file("x", source)
        loaded = named(path, lambda: load_array(file, "model.x"))
        if loaded.ndim == 2 and 1 in loaded.shape and not (streamed and loaded.shape[1] == model.n_features):
            loaded = loaded.ravel()  # a .csv of one row or one column
        if loaded.ndim == 1 and streamed and model.n_features == 1:
            loaded = loaded[:, None]
        x = table.named("x", lambda: model.check_x(loaded) if loaded.ndim == 1 else model.check_rows(loaded))
        source = str((path.parent / source).resolve())
    if not np.isfinite(x).all():
        raise table.fail(
            "x", f": the prior {prior!r} draws numbers that are not finite. Change the prior, or give a file."
        )
    if not dictionary.startswith("bars:"):
        dictionary = str((path.parent / dictionary).resolve())
    return model, x, dictionary, source


def resolved_toml(config: Config, sampler: Sampler) -> str:
    """Return the config with every choice written out, as TOML: running it gives the same samples."""
    prior = config.model.prior
    numbers: dict[str, Any] = {k: v for k, v in prior.numbers().items() if k in PRIORS[prior.kind]}
    if "signed" in PRIORS[prior.kind]:
        numbers["signed"] = prior.signed
    if config.prior_file is not None:
        numbers["file"] = config.prior_file
    run: dict[str, Any] = {
        **({} if sampler.stream is not None else {"t_stop": float(config.run.t_stop)}),
        "step": sampler.plan.step,
        "warmup": float(config.run.warmup),
        **({} if config.hold is None else {"hold": config.hold, "interpolate": config.interpolate}),
        "chains": config.run.chains,
        "seed": config.run.seed,
        "thin": sampler.tasks(config.run)[0].thin,
    }
    run |= {
        name: value
        for name in ("timeout", "tolerance", "reference_time")
        if (value := getattr(config, name)) is not None
    }
    return tomli_w.dumps(
        {
            "model": {
                "dictionary": config.dictionary,
                "x": config.x_source,
                "sigma": float(config.model.sigma),
                "seed": config.model_seed,
            },
            "prior": {"kind": prior.kind, **numbers},
            "dynamics": sampler.dynamics.numbers(),
            "circuit": {
                "level": config.level,
                "form": sampler.form,
                "loop": config.loop,
                "tau": config.tau,
                "c_int": config.c_int,
                "volt": sampler.scaling.volt,
                **({} if sampler.nonideal.comparator.width is not None else {"width": sampler.plan.width}),
                "rails": config.rails,
            },
            **(
                {}
                if config.nonideal is None
                else {"nonideal": {"seed": config.nonideal.seed, **config.nonideal.attributes()}}
            ),
            "run": run,
        }
    )
