"""The config of `circuitlsc learn`: what draws the data, what is learned from where, and in which stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from circuitlsc.config.read import load_encoder, read_dictionary, read_features, read_nonideal, read_prior
from circuitlsc.config.registry import LEARNING, StageKeys, StartKeys, names
from circuitlsc.config.table import ConfigTable, named, read_tables, read_toml
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.learning.circuit import CircuitLearner
from circuitlsc.learning.large_inputs import DRAG, drag, first_inputs, longest_step
from circuitlsc.learning.learner import Learner
from circuitlsc.learning.memory import Memory
from circuitlsc.learning.natural import NaturalPatches, natural_source, van_hateren
from circuitlsc.learning.source import FromModel, Rows, Source
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.learning.start import overcomplete, random_weights
from circuitlsc.learning.variational import LEARNABLE, VariationalLearner
from circuitlsc.model.prior import Prior
from circuitlsc.model.sparse_coding import SparseCodingModel

L = TypeVar("L")

TIMES = names(StageKeys)
WHERE = ("software", "circuit")
BATCH = 100  # of the software learner
SET = {"software": 400, "circuit": 16}  # inputs of a memory
HOLD = {
    "software": 2.0,
    "circuit": 10.0,
}  # with a memory: none is too short, and each switch costs a circuit a few steps
MOST_STEPS = 1e7  # of one input


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
    memory : Memory or None
        How many inputs are remembered.
    circuit : mapping
        Arguments of `CircuitLearner` beyond these.
    training : mapping or None
        Arguments of `VariationalLearner` beyond these, if it is what learns.
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
    memory: Memory | None
    circuit: Mapping[str, Any]
    training: Mapping[str, Any] | None
    timeout: float | None
    path: Path

    def _learner(self, cls: type[L], **own: Any) -> L:
        """Return a learner with what the config has by the names of its fields, and what it alone has."""
        given = {f.name: getattr(self, f.name) for f in fields(cls) if hasattr(self, f.name)}  # type: ignore[arg-type]
        return named(self.path, lambda: cls(**{**given, **own}))

    def true_numbers(self) -> dict[str, float] | None:
        """Return pi, lam and sigma of what draws the data, if a model does."""
        return None if self.truth is None else {**self.truth.prior.numbers(), "sigma": self.truth.sigma}

    def software(self) -> Learner:
        """Return the software learner."""
        return self._learner(Learner)

    def variational(self) -> VariationalLearner:
        """Return the learner of an encoder, of a config with ``training``.

        Raises
        ------
        InputError
            If what the config says of the encoder cannot be.
        """
        return self._learner(VariationalLearner, **(self.training or {}))

    def in_circuit(self) -> CircuitLearner:
        """Return the circuit learner, of a config that was read for a circuit: one stage, one input at a time, no pause.

        Raises
        ------
        InputError
            If a circuit cannot learn so.
        """
        return self._learner(CircuitLearner, stage=self.stages[0], **self.circuit)


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
    tables = read_tables(data, path, LEARNING, anywhere=anywhere)
    learning = tables["learning"]
    variational = learning.value("method") == "variational"
    if variational and "learn" not in learning.values:
        learning = replace(learning, values={**learning.values, "learn": []})
    _check_method(tables, data, where, variational=variational)
    prior = read_prior(tables["prior"])
    if (slab := prior.slab) is None:
        raise tables["prior"].fail("kind", ", but what learns has a spike-slab or a laplace prior. Give one of them.")
    sigma = tables["model"].value("sigma")
    truth, source = _read_data(tables["model"], tables["data"], prior)
    learn = _read_learn(learning, LEARNABLE if variational else tuple(TIME_CONSTANTS))
    if variational and slab.pi == 1:
        spike = "but the codes of an encoder have a spike, and so must their prior"
        raise tables["prior"].fail("kind", f' has none, {spike}. Give kind = "spike-slab", with pi < 1.')
    start, numbers = _read_starts(learning, {"pi": slab.pi, "lam": slab.lam, "sigma": sigma})
    circuit = {name: v for name in LEARNING["circuit"] if (v := tables["circuit"].value(name)) is not None}
    if circuit["level"] == "transistor":
        raise tables["circuit"].fail("level", ', but no cell of transistors learns. Set level = "device".')
    memory = _read_memory(tables, data, source, where)
    together = BATCH if memory is None else min(BATCH, memory.size)
    batch, stages = learning.value("batch") or (together if where == "software" else 1), _stage_tables(learning)
    if where == "circuit" and len(stages) > 1:
        one = "but a circuit's time constants are its capacitors: it has one"
        raise InputError(f"{path}: learning.stages has several stages, {one}. Give one.")
    if where == "circuit" and batch != 1:
        raise learning.fail("batch", ", but a circuit is shown one input at a time. Give 1, or leave it out.")
    shown = source if memory is None else named(path, lambda: memory.of(source, learning.value("seed"), batch))
    config = LearnConfig(
        truth=truth,
        source=source,
        A0=_start_dictionary(learning, start, truth, source, signed=prior.signed),
        **numbers,
        signed=prior.signed,
        learn=learn,
        stages=(),
        seed=learning.value("seed"),
        batch=batch,
        records=learning.value("records"),
        memory=memory,
        training=None,
        circuit={**circuit, "nonideal": read_nonideal(tables["nonideal"]) if "nonideal" in data else None},
        timeout=tables["run"].value("timeout"),
        path=path,
    )
    if variational:
        steps = learning.value("inputs")
        return replace(
            config,
            training={"steps": steps, **read_training(tables["encoder"], *config.A0.shape, signed=config.signed)},
        )
    A, X = first_inputs(config.A0, shown, config.seed)
    return replace(config, stages=tuple(_read_stage(t, config, where, sigma, A, X) for t in stages))


def _check_method(tables: Mapping[str, ConfigTable], data: Mapping[str, Any], where: str, *, variational: bool) -> None:
    """Raise InputError if there is what the method of learning has not."""
    learning = tables["learning"]
    if not variational:
        if "encoder" in data:
            only = 'and [learning] method = "langevin" has none. Add method = "variational", or remove the table'
            raise InputError(f"{learning.path}: [encoder] says how an encoder is trained, {only}.")
        return
    if where == "circuit":
        software = "by circuitlsc learn without --in circuit"
        used = '[dynamics] kind = "variational" and [encoder] file'
        raise learning.fail(
            "method",
            f", but an encoder is trained in software alone, {software}. The circuit that uses it is that of {used}.",
        )
    has = ', but method = "variational" takes steps, one for each batch, and has no times. Remove it; inputs counts steps.'
    learning.refuse([name for name in (*TIMES, "stages") if name != "inputs"], has)
    learning.refuse(
        ["memory", "set"], ', but method = "variational" remembers no codes: its encoder makes them. Remove it.'
    )


def read_training(table: ConfigTable, n_features: int, n_latents: int, *, signed: bool) -> dict[str, Any]:
    """Return what [encoder] says of training, as arguments of the learner, for inputs (D,) and codes (K,) of a sign."""
    given = {name: table.value(name) for name in LEARNING["encoder"] if name in table.values}
    of_threshold = {"learned": (), "fixed": ("lam",), "gamma": ("alpha", "beta")}
    exact = table.value("objective") == "exact"
    if exact:
        table.refuse(("reduce", "draws"), ', but objective = "exact" draws nothing. Remove it, or give an estimator.')
    if "file" in given:
        table.refuse(
            ("hidden", "threshold", "lam", "alpha", "beta"), ", and encoder.file has its own. Remove one of them."
        )
        encoder = load_encoder(table, given.pop("file"), n_features, n_latents, signed=signed)
        return {**given, "encoder": encoder}
    kind = table.value("threshold") or ("learned" if exact else "fixed")
    for name in ("lam", "alpha", "beta"):
        if name in given and name not in of_threshold[kind]:
            raise table.fail(
                name, f', but threshold = "{kind}" has {" and ".join(of_threshold[kind]) or "none"}. Remove it.'
            )
    numbers = {name: given.pop(name) for name in of_threshold[kind] if name in given}
    if "hidden" in given:
        for size in given["hidden"]:
            table.named("hidden", partial(check_count, "a layer's size", size, 1))
        given["hidden"] = tuple(given["hidden"])
    return {**given, "numbers": numbers}


def _read_data(model: ConfigTable, data: ConfigTable, prior: Prior) -> tuple[SparseCodingModel | None, Source]:
    """Return the model that draws the data, if one does, and their source."""
    source = data.value("source")
    if source is None:
        drawn = ", but inputs are drawn from model.dictionary. Give data.source, or remove it."
        data.refuse(("images", "shuffle"), drawn)
        if "dictionary" not in model.values:
            what = 'the one that draws the data, a file (D, K) or "bars:4", or [data] source'
            raise model.fail("dictionary", f" is missing. Give {what}.")
        A = read_dictionary(model, model.value("dictionary"))
        truth = model.named("dictionary", lambda: SparseCodingModel(A, prior, model.value("sigma")))
        return truth, FromModel(truth)
    model.refuse(["dictionary"], ", and [data] names a source of inputs too. Give one of them.")
    if source.startswith("natural:"):
        data.refuse(["shuffle"], ", but patches are always drawn at random. Remove it.")
        pictures = _read_images(data)
        key = "images" if pictures else "source"
        return None, data.named(key, lambda: natural_source(source, pictures=pictures))
    data.refuse(["images"], f', but source = {source!r} has no patches. Give source = "natural:8", or remove it.')
    rows = data.array("source", source, matrix=True)
    if rows.ndim != 2:
        raise data.fail("source", f" has shape {rows.shape}, but inputs are rows. Give an array (n_rows, n_features).")
    return None, Rows(rows, data.value("shuffle"))


def _read_memory(
    tables: Mapping[str, ConfigTable], data: Mapping[str, Any], source: Source, where: str
) -> Memory | None:
    """Return the memory that learning has, if it has one; its dynamics are a memory's without being called so."""
    learning, table = tables["learning"], tables["dynamics"]
    if not learning.value("memory"):
        learning.refuse(["set"], ", but only a memory has a set of inputs. Add memory = true, or remove it.")
        if "dynamics" in data:
            only = "and learning has one with memory = true alone. Add that to [learning], or remove the table"
            raise InputError(f"{learning.path}: [dynamics] says how a memory works, {only}.")
        return None
    table = replace(table, values={"kind": "amortised", **table.values})
    dynamics, features = read_features(table, table.read())
    there = SET[where]
    if isinstance(source, Rows) and "set" not in learning.values:
        there = min(there, len(source.X))
    return named(learning.path, lambda: Memory(learning.value("set") or there, dynamics, features))


def _read_images(data: ConfigTable) -> list[Array] | None:
    """Return the pictures of data.images, or None if there are none."""
    if (files := data.value("images")) is None:
        return None
    pictures = []
    for name in files:
        if name.lower().endswith((".iml", ".imc")):
            pictures.append(data.named("images", partial(van_hateren, data.file("images", name))))
        elif name.lower().endswith(".npy"):
            pictures.append(data.array("images", name))
        else:
            raise data.fail("images", f" has {name!r}, which is no .iml, .imc or .npy file. Give one.")
    return pictures


def _read_learn(learning: ConfigTable, known: tuple[str, ...]) -> tuple[str, ...]:
    words = learning.value("learn")
    listed = ", ".join(f'"{word}"' for word in known)
    if not set(words) <= set(known):
        raise learning.fail("learn", f" is not a list of some of {listed}.")
    if not words and learning.value("method") != "variational":
        raise learning.fail("learn", f' is empty, which method = "variational" alone can have. Give some of {listed}.')
    if len(set(words)) < len(words):
        raise learning.fail("learn", " names something twice. Name each once.")
    if {"A", "lam"} <= set(words):
        scaled = "(c A, c lam) is as likely as (A, lam) for every c > 0. Hold lam (it sets the unit of s), or hold A."
        raise learning.fail("learn", f", but A and lam have no value of their own together: {scaled}")
    return tuple(words)


def _read_starts(learning: ConfigTable, default: dict[str, float]) -> tuple[str, dict[str, float]]:
    """Return the dictionary and the numbers that learning starts from: ``start`` is the dictionary's, or a table."""
    given, learn = learning.values.get("start", {}), learning.value("learn")
    if isinstance(given, str):
        given = {"A": given}
    if not isinstance(given, dict):
        raise learning.fail("start", ' is not "random", "true", a file, or a table with some of A, pi, lam, sigma.')
    table = ConfigTable(learning.path, "learning.start", given, StartKeys)
    table.check_known(names(StartKeys))
    for key in given:
        if key not in learn and key != "A":  # a held dictionary is given here, too
            raise table.fail(key, f", but {key} is not learned. Add it to learning.learn, or remove it here.")
    numbers = {key: table.value(key) or default[key] for key in default}
    if numbers["pi"] > 1 or ("pi" in learn and numbers["pi"] == 1):
        where, key = (table, "pi") if "pi" in given else (learning, "learn")
        raise where.fail(
            key, f" has pi start at {numbers['pi']:g}: what is learned starts in (0, 1). Give start = {{ pi = 0.5 }}."
        )
    start = table.value("A")
    return ("random" if "A" in learn else "true") if start is None else start, numbers


def _start_dictionary(
    learning: ConfigTable, start: str, truth: SparseCodingModel | None, source: Source, *, signed: bool
) -> Array:
    if "A" not in learning.value("learn") and truth is None and start in ("true", "random"):
        one = 'Add "A", or give one: start = { A = "learned.npz" }.'
        raise learning.fail("learn", f' leaves out "A", and the data have no dictionary. {one}')
    if "overcomplete" in learning.values and start != "random":
        raise learning.fail("overcomplete", f", but learning starts from {start!r}, whose size is its own. Remove one.")
    if start == "true":
        if truth is None:
            raise learning.fail("start", ', but the data come from no dictionary. Give a file, or "random".')
        return truth.A
    if start != "random":
        loaded = learning.array("start", start, prefer="A", matrix=True)
        if loaded.ndim != 2 or len(loaded) != source.n_features:
            shape = f"{start!r} has shape {loaded.shape}, and inputs have {source.n_features} features"
            raise learning.fail("start", f": {shape}. Give (D, K).")
        return loaded
    factor = learning.value("overcomplete")
    counted, of = (source.n_features, "features") if truth is None else (truth.n_latents, "atoms")
    size = learning.named("overcomplete", lambda: overcomplete(counted, factor, of))
    # whitened patches have no mean: nonnegative weights would all be parallel there, and stiff
    both = signed or isinstance(source, NaturalPatches)
    return random_weights(source.n_features, size, learning.value("seed"), signed=both)


def _stage_tables(learning: ConfigTable) -> list[ConfigTable]:
    """Return the tables of the stages, or [learning] itself if there are none."""
    stages = learning.value("stages")
    if stages is None:
        return [learning]
    learning.refuse(TIMES, ", and learning.stages too. Give it in each stage.")
    tables = [ConfigTable(learning.path, f"learning.stages[{n}]", v, StageKeys) for n, v in enumerate(stages, 1)]
    for table in tables:
        table.check_known(TIMES)
    return tables


def _read_stage(table: ConfigTable, config: LearnConfig, where: str, sigma: float, A: Array, X: Array) -> Stage:
    """Return a stage; what it leaves out is chosen for what is learned where, from the first dictionary and inputs."""
    learn, signed, lam = config.learn, config.signed, config.lam
    # stale samples after a switch of the input bias what is learned: of A with nonnegative codes the least
    prone = signed or bool({"pi", "lam", "sigma"} & set(learn))
    hold = table.value("hold") or (HOLD[where] if config.memory else 50.0 if prone else 10.0)
    # Euler-Maruyama's bias grows with h/sigma^2, in pi and with signed codes the most; the circuit's trapezoid has none, and
    # with a memory noise is split about the force
    share = 0.02 if (signed or "pi" in learn) and not config.memory else 0.08
    best = min(0.05, share * sigma**2, longest_step(A, X, lam, sigma))
    step = table.value("step") or (0.05 if where == "circuit" else best)
    ratio = hold / step
    if not ratio <= MOST_STEPS:
        raise table.fail("step", f" is {ratio:.3g} times smaller than hold = {hold!r}. Give a step of 0.001 to 0.1.")
    step = hold / round(np.ceil(ratio - 1e-9))
    times = {}
    for what, name in TIME_CONSTANTS.items():
        if what in learn:
            # that of one input at a time; a batch averages, so that its time constants may be shorter
            times[name] = table.value(name) / (1.0 if name in table.values else config.batch**0.5)
        elif name in table.values:
            raise table.fail(name, f', but "{what}" is not in learning.learn. Add it, or remove the key.')
    pause = table.value("pause")
    if pause is None:
        dragged = (
            where == "software" and not config.memory and any(drag(A, X, lam, tau) > DRAG for tau in times.values())
        )
        pause = hold / 2 if dragged else 0.0
    if pause >= hold:
        raise table.fail(
            "pause", f", but nothing is learned unless it is below hold = {hold!r}. Give 0 <= pause < hold."
        )
    pause = step * min(np.ceil(pause / step - 1e-9), round(hold / step) - 1)
    inputs = table.value("inputs")
    return named(table.path, lambda: Stage.of_inputs(inputs, hold=hold, step=step, pause=pause, **times))
