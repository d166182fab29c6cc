"""The config of `circuitlsc learn`: what draws the data, what is learned from where, and in which stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from circuitlsc.config.prior import read_prior
from circuitlsc.config.read import KEYS as SAMPLER_KEYS
from circuitlsc.config.read import read_dictionary, read_nonideal
from circuitlsc.config.table import ConfigTable, named, read_tables, read_toml
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.learning.circuit import CircuitLearner
from circuitlsc.learning.large_inputs import DRAG, drag, first_inputs, longest_step
from circuitlsc.learning.learner import LEARNABLE, Learner
from circuitlsc.learning.natural import NaturalPatches, natural_source, van_hateren
from circuitlsc.learning.source import FromModel, Rows, Source
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.learning.start import MOST_LATENTS, overcomplete, random_weights
from circuitlsc.model.data import load_array
from circuitlsc.model.prior import Prior
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities

TIMES = ("inputs", "hold", "step", "pause", *TIME_CONSTANTS.values())
KEYS = {
    "model": ("dictionary", "sigma"),
    "prior": ("kind", "pi", "lam", "signed"),
    "data": ("source", "images", "shuffle"),
    "learning": ("learn", *TIMES, "stages", "overcomplete", "start", "seed", "batch", "records"),
    "circuit": tuple(key for key in SAMPLER_KEYS["circuit"] if key not in ("form", "loop")),
    "nonideal": SAMPLER_KEYS["nonideal"],
    "run": ("timeout",),
}
WHERE = ("software", "circuit")
BATCH = 100  # of the software learner
# of one input at a time; a batch of inputs averages, so that its time constants may be shorter by the root of its size
DEFAULT_TIMES = {"A": 3000.0, "pi": 4000.0, "lam": 10_000.0, "sigma": 5000.0}
STARTS = ("A", "pi", "lam", "sigma")
MOST_STEPS = 1e7  # of one input


class Inputs(NamedTuple):
    """What a stage's defaults are chosen for: the first dictionary, some inputs (n, D), the rate of the slab."""

    A: Array
    X: Array
    lam: float


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """A checked config of learning.

    Attributes
    ----------
    truth : SparseCodingModel or None
        What draws the data, if a model does.
    source : Source
    A0 : array, shape (D, K)
    pi, lam, sigma : float
        To start from.
    signed : bool
    learn : tuple of str
    stages : tuple of Stage
    seed, batch, records : int
    circuit : mapping
        Arguments of `CircuitLearner` beyond these.
    timeout : float or None
    path : Path
        Of the file, for messages.
    """

    truth: SparseCodingModel | None
    source: Source
    A0: Array
    pi: float
    lam: float
    sigma: float
    signed: bool
    learn: tuple[str, ...]
    stages: tuple[Stage, ...]
    seed: int
    batch: int
    records: int
    circuit: Mapping[str, Any]
    timeout: float | None
    path: Path

    def _common(self) -> dict[str, Any]:
        names = ("A0", "pi", "lam", "sigma", "signed", "learn", "seed", "records", "source")
        return {name: getattr(self, name) for name in names}

    def software(self) -> Learner:
        """Return the software learner."""
        made: Learner = named(self.path, self._software)
        return made

    def in_circuit(self) -> CircuitLearner:
        """Return the circuit learner.

        Raises
        ------
        InputError
            If there are several stages, a batch or a pause: a circuit has none of them.
        """
        made: CircuitLearner = named(self.path, self._in_circuit)
        return made

    def _software(self) -> Learner:
        return Learner(**self._common(), stages=self.stages, batch=self.batch)

    def _in_circuit(self) -> CircuitLearner:
        if len(self.stages) > 1:
            raise InputError(
                "learning.stages has several stages, but a circuit's time constants are its capacitors: it has one. Give one."
            )
        if self.batch != 1:
            raise InputError(
                f"learning.batch = {self.batch!r}, but a circuit is shown one input at a time. Give 1, or leave it out."
            )
        return CircuitLearner(**self._common(), stage=self.stages[0], **self.circuit)


def load_learn_config(path: Path, where: str, *, anywhere: bool = False) -> LearnConfig:
    """Read and check a config of learning, ``where`` in ``"software"`` or ``"circuit"``; ``anywhere`` as for `load_config`.

    Raises
    ------
    InputError
        With one line that names the file, the key, the value, why it cannot be, and what can.
    """
    return parse_learn_config(read_toml(path), path, where, anywhere=anywhere)


def parse_learn_config(data: Mapping[str, Any], path: Path, where: str, *, anywhere: bool = False) -> LearnConfig:
    """Check the tables of a config of learning; ``path`` is for messages and for relative paths."""
    if not data.keys() & {"learning", "data"}:
        raise InputError(
            f'{path} has no table [learning]. Add one that says what is learned, for example learn = ["A"].'
        )
    tables = read_tables(data, path, KEYS, anywhere=anywhere)
    learning, circuit = tables["learning"], tables["circuit"]
    prior = read_prior(tables["prior"])
    if (slab := prior.slab) is None:
        raise tables["prior"].fail("kind", ", but what learns has a spike-slab or a laplace prior. Give one of them.")
    sigma = tables["model"].number("sigma", what="a noise level > 0")
    truth, source = _read_data(tables["model"], tables["data"], prior, sigma, path)
    learn = _read_learn(learning)
    starts = _read_starts(learning, {"A": "random", "pi": slab.pi, "lam": slab.lam, "sigma": sigma}, learn)
    seed = learning.integer("seed", 0, low=0)
    A0 = _start_dictionary(
        learning, starts["A"], truth, source, seed, signed=prior.signed, learned="A" in learn, path=path
    )
    batch = learning.integer("batch", BATCH if where == "software" else 1, low=1)
    inputs = Inputs(*first_inputs(A0, source, seed), starts["lam"])
    nonideal = read_nonideal(tables["nonideal"], path) if "nonideal" in data else None
    timeout = tables["run"].number("timeout", what="seconds") if "timeout" in tables["run"].values else None
    return LearnConfig(
        truth=truth,
        source=source,
        A0=A0,
        pi=starts["pi"],
        lam=starts["lam"],
        sigma=starts["sigma"],
        signed=prior.signed,
        learn=learn,
        stages=_read_stages(learning, learn, batch, sigma, where, path, prior.signed, inputs),
        seed=seed,
        batch=batch,
        records=learning.integer("records", 400, low=1),
        circuit=_read_circuit(circuit, nonideal),
        timeout=timeout,
        path=path,
    )


def _read_circuit(circuit: ConfigTable, nonideal: Nonidealities | None) -> dict[str, Any]:
    return {
        "level": circuit.choice("level", ("ideal", "device"), "ideal"),
        "nonideal": nonideal,
        "tau": circuit.number("tau", 1e-6, what="seconds, for example 1e-6"),
        "c_int": circuit.number("c_int", 1e-12, what="farad, for example 1e-12"),
        "rails": circuit.number("rails", 2.5, what="volts, for example 2.5"),
        "volt": circuit.number_or_auto("volt", "volts per model unit, for example 0.1"),
        "width": circuit.number_or_auto("width", "a width in model units, for example 0.05"),
    }


def _read_data(
    model: ConfigTable, data: ConfigTable, prior: Prior, sigma: float, path: Path
) -> tuple[SparseCodingModel | None, Source]:
    """Return the model that draws the data, if one does, and their source."""
    source = data.values.get("source")
    if source is None:
        for key in ("images", "shuffle"):
            if key in data.values:
                raise data.fail(key, ", but inputs are drawn from model.dictionary. Give data.source, or remove it.")
        dictionary = model.required(
            "dictionary", 'the one that draws the data, a file (D, K) or "bars:4", or [data] source'
        )
        if not isinstance(dictionary, str):
            raise model.fail("dictionary", ' is not a string. Give a file (D, K), or "bars:4".')
        A = read_dictionary(model, dictionary)
        truth: SparseCodingModel = model.named("dictionary", lambda: SparseCodingModel(A, prior, sigma))
        return truth, FromModel(truth)
    if not isinstance(source, str):
        raise data.fail("source", ' is not a string. Give a file with rows of values, or "natural:8".')
    if "dictionary" in model.values:
        raise model.fail("dictionary", ", and [data] names a source of inputs too. Give one of them.")
    if source.startswith("natural:"):
        if "shuffle" in data.values:
            raise data.fail("shuffle", ", but patches are always drawn at random. Remove it.")
        pictures = _read_images(data, path)
        key = "images" if pictures else "source"
        natural: Source = data.named(key, lambda: natural_source(source, pictures=pictures))
        return None, natural
    if "images" in data.values:
        raise data.fail("images", f', but source = {source!r} has no patches. Give source = "natural:8", or remove it.')
    file = data.file("source", source)
    rows = named(path, lambda: load_array(file, "data.source", matrix=True))
    if rows.ndim != 2:
        raise data.fail("source", f" has shape {rows.shape}, but inputs are rows. Give an array (n_rows, n_features).")
    return None, Rows(rows, data.flag("shuffle", True))


def _read_images(data: ConfigTable, path: Path) -> list[Array] | None:
    """Return the pictures of data.images, or None if there are none."""
    names = data.values.get("images")
    if names is None:
        return None
    what = 'a list of .iml, .imc or .npy files, for example ["imk00001.iml"]'
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise data.fail("images", f" is not {what}.")
    pictures = []
    for name in names:
        file = data.file("images", name)
        if name.lower().endswith((".iml", ".imc")):
            pictures.append(data.named("images", lambda file=file: van_hateren(file)))
        elif name.lower().endswith(".npy"):
            pictures.append(named(path, lambda file=file: load_array(file, "data.images")))
        else:
            raise data.fail("images", f" has {name!r}, but it must be {what}.")
    return pictures


def _read_learn(learning: ConfigTable) -> tuple[str, ...]:
    words = learning.required("learn", f"a list of {', '.join(LEARNABLE)}")
    listed = ", ".join(f'"{word}"' for word in LEARNABLE)
    if not isinstance(words, list) or not words or any(word not in LEARNABLE for word in words):
        raise learning.fail("learn", f" is not a list of some of {listed}.")
    if len(set(words)) < len(words):
        raise learning.fail("learn", " names something twice. Name each once.")
    if {"A", "lam"} <= set(words):
        raise learning.fail(
            "learn",
            ", but A and lam have no value of their own together: (c A, c lam) is as likely as (A, lam) for every c > 0. "
            "Hold lam (it sets the unit of s), or hold A.",
        )
    return tuple(words)


def _read_starts(learning: ConfigTable, default: dict[str, Any], learn: tuple[str, ...]) -> dict[str, Any]:
    """Return what learning starts from: ``start`` is the dictionary's, or a table of several."""
    given = learning.values.get("start", {})
    if isinstance(given, str):
        given = {"A": given}
    if not isinstance(given, dict) or (wrong := [key for key in given if key not in STARTS]):
        raise learning.fail("start", f' is not "random", "true", a file, or a table with some of {", ".join(STARTS)}.')
    del wrong
    table = ConfigTable(learning.path, "learning.start", given)
    for key in given:
        if key not in learn and key != "A":  # a held dictionary is given here, too
            raise table.fail(key, f", but {key} is not learned. Add it to learning.learn, or remove it here.")
    out = dict(default)
    for key in ("pi", "lam", "sigma"):
        if key in given:
            out[key] = table.number(key)
    if out["pi"] > 1 or ("pi" in learn and out["pi"] == 1):
        where = table if "pi" in given else learning
        key = "pi" if "pi" in given else "learn"
        raise where.fail(
            key, f" has pi start at {out['pi']:g}: what is learned starts in (0, 1). Give start = {{ pi = 0.5 }}."
        )
    if "A" in given:
        if not isinstance(given["A"], str):
            raise table.fail("A", ' is not a string. Give "random", "true", or a file (D, K).')
        out["A"] = given["A"]
    elif "A" not in learn:
        out["A"] = "true"
    return out


def _start_dictionary(
    learning: ConfigTable,
    start: str,
    truth: SparseCodingModel | None,
    source: Source,
    seed: int,
    *,
    signed: bool,
    learned: bool,
    path: Path,
) -> Array:
    if not learned and truth is None and start in ("true", "random"):
        raise learning.fail(
            "learn",
            ' leaves out "A", and the data have no dictionary. Add "A", or give one: start = { A = "learned.npz" }.',
        )
    if "overcomplete" in learning.values and start != "random":
        raise learning.fail("overcomplete", f", but learning starts from {start!r}, whose size is its own. Remove one.")
    if start == "true":
        if truth is None:
            raise learning.fail("start", ', but the data come from no dictionary. Give a file, or "random".')
        return truth.A
    if start != "random":
        file = learning.file("start", start)
        loaded = named(path, lambda: load_array(file, "learning.start", prefer="A", matrix=True))
        if loaded.ndim != 2 or len(loaded) != source.n_features:
            raise learning.fail(
                "start",
                f": {start!r} has shape {loaded.shape}, and inputs have {source.n_features} features. Give (D, K).",
            )
        return np.asarray(loaded)
    factor = learning.number("overcomplete", 1.0, what="K over the number of atoms (of a file: of features)")
    if truth is None:
        size = named(path, lambda: overcomplete(source.n_features, factor))
    else:
        size = factor * truth.n_latents
        if size > MOST_LATENTS:
            raise learning.fail("overcomplete", f" times {truth.n_latents} atoms is more than {MOST_LATENTS:,}.")
        if abs(size - round(size)) > 1e-9:
            raise learning.fail(
                "overcomplete", f" times {truth.n_latents} atoms is no whole number. Give another factor."
            )
    # whitened patches have no mean: nonnegative weights would all be parallel there, and stiff
    both = signed or isinstance(source, NaturalPatches)
    return random_weights(source.n_features, round(size), seed, signed=both)


def _read_stages(
    learning: ConfigTable,
    learn: tuple[str, ...],
    batch: int,
    sigma: float,
    where: str,
    path: Path,
    signed: bool,
    inputs: Inputs,
) -> tuple[Stage, ...]:
    stages = learning.values.get("stages")
    if stages is None:
        return (_read_stage(learning, learn, batch, sigma, where, path, signed, inputs),)
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise learning.fail("stages", " is not a list of tables. Write [[learning.stages]] before each stage.")
    if extra := [key for key in TIMES if key in learning.values]:
        raise learning.fail(extra[0], ", and learning.stages too. Give it in each stage.")
    out = []
    for number, values in enumerate(stages, 1):
        table = ConfigTable(path, f"learning.stages[{number}]", values)
        if unknown := [key for key in values if key not in TIMES]:
            raise table.fail(unknown[0], f" is not a known key. A stage has {', '.join(TIMES)}.")
        out.append(_read_stage(table, learn, batch, sigma, where, path, signed, inputs))
    return tuple(out)


def _read_stage(
    table: ConfigTable,
    learn: tuple[str, ...],
    batch: int,
    sigma: float,
    where: str,
    path: Path,
    signed: bool,
    seen: Inputs,
) -> Stage:
    inputs = table.integer("inputs", 4000, low=1)
    # stale samples after a switch of the input bias what is learned: of A with nonnegative codes the least
    prone = signed or bool({"pi", "lam", "sigma"} & set(learn))
    hold = table.number("hold", 50.0 if prone else 10.0, what="a time in tau")
    # Euler-Maruyama's bias grows with h/sigma^2, in pi and with signed codes the most; the circuit's trapezoid has none
    share = 0.02 if signed or "pi" in learn else 0.08
    best = min(0.05, share * sigma**2, longest_step(seen.A, seen.X, seen.lam, sigma))
    step = table.number("step", 0.05 if where == "circuit" else best, what="a step in tau")
    if not hold / step <= MOST_STEPS:
        raise table.fail(
            "step", f" is {hold / step:.3g} times smaller than hold = {hold!r}. Give a step of 0.001 to 0.1."
        )
    step = hold / round(np.ceil(hold / step - 1e-9))
    times = {}
    for what, name in TIME_CONSTANTS.items():
        if what in learn:
            times[name] = table.number(name, DEFAULT_TIMES[what] / batch**0.5, what="a time constant in tau")
        elif name in table.values:
            raise table.fail(name, f', but "{what}" is not in learning.learn. Add it, or remove the key.')
    dragged = (
        where == "software" and max((drag(seen.A, seen.X, seen.lam, tau) for tau in times.values()), default=0.0) > DRAG
    )
    pause = table.number("pause", hold / 2 if dragged else 0.0, or_equal=True, what="a time in tau, >= 0")
    if pause >= hold:
        raise table.fail(
            "pause", f", but nothing is learned unless it is below hold = {hold!r}. Give 0 <= pause < hold."
        )
    pause = step * min(np.ceil(pause / step - 1e-9), round(hold / step) - 1)
    stage: Stage = named(path, lambda: Stage.of_inputs(inputs, hold=hold, step=step, pause=pause, **times))
    return stage
