"""The tables of a config and their keys, each declared once: default, unit, bounds, and a text for messages and docs.

The reader (`config.table.ConfigTable`), the hint for a mistyped key, config.resolved.toml and docs/config.md follow from the
fields below. Parts of ``[nonideal]`` are declared in `nonideal.parameters`, ``[dynamics]`` in `model.dynamics`, numbers of
``[prior]`` by the kinds of priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from circuitlsc.circuit.systems import FORMS
from circuitlsc.circuit.transistor.design import TransistorKeys
from circuitlsc.circuit.variational import SOURCES
from circuitlsc.io.declared import REQUIRED, choice, entry, flag, quantity, word
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import OBJECTIVES, REDUCES, THRESHOLDS
from circuitlsc.model.prior_io import PRIORS, prior_keys
from circuitlsc.model.smoothing import SMOOTHINGS
from circuitlsc.model.stream import INTERPOLATIONS, ORDERS
from circuitlsc.nonideal.parameters import PARTS
from circuitlsc.planning.broken_loop import LOOPS
from circuitlsc.planning.run_plan import ALLOWANCE, REFERENCE_TIME
from circuitlsc.sampling.compile import LEVELS
from circuitlsc.sampling.kinds_of_cells import CELLS

AUTO = "auto"
METHODS = ("langevin", "variational")  # of learning


@dataclass(frozen=True, kw_only=True)
class ModelKeys:
    """What is sampled: x = A s + noise, or where learning's data come from."""

    dictionary: str = word(REQUIRED, 'a file (D, K), or "bars:4"')
    x: str = word("draw", '"draw", "draw:100", or a file with rows of n_features values')
    sigma: float = quantity(REQUIRED, "data", "a noise level > 0", above=True)
    seed: int = quantity(0, "1", "the seed of a drawn x", whole=True)


@dataclass(frozen=True, kw_only=True)
class PriorKeys:
    """The keys of ``[prior]`` that are no numbers: those are fields of the classes of priors."""

    kind: str = choice(REQUIRED, PRIORS, "the class of the prior")
    signed: bool = flag(True, "codes on both sides of 0")
    file: str = word(REQUIRED, "a .csv, .npy or .npz file with two columns, s and its cost")


@dataclass(frozen=True, kw_only=True)
class CircuitKeys:
    """How the circuit is built."""

    level: str = choice("ideal", LEVELS, "ideal elements, parts, or transistors of an open process")
    form: str = choice("gram", (*FORMS, AUTO), "lateral inhibition, or two crossbars")
    loop: str = choice("closed", LOOPS, '"broken" is faster, with an error that is printed')
    tau: float | None = quantity(
        None, "s", "seconds: the time constant of a neuron (1e-6; transistors: by their lag)", above=True
    )
    c_int: float | None = quantity(
        None, "F", "farad: the capacitor of a neuron (1e-12; transistors: from tau)", above=True
    )
    volt: float | None = quantity(None, "V", "volts per model unit, for example 0.1", above=True, auto=True)
    width: float | None = quantity(None, "unit of u", "a width in model units, for example 0.05", above=True, auto=True)
    cells: str = choice("table", CELLS, '"verilog-a" is faster in large circuits: compiled cells, from ngspice 44 on')
    smoothing: str = choice("logistic", SMOOTHINGS, 'how corners are rounded: "hyperbolic" as by translinear circuits')
    rails: float | None = quantity(None, "V", "volts: the supply, plus and minus (2.5; transistors: 1.65)", above=True)


@dataclass(frozen=True, kw_only=True)
class NonidealKeys:
    """What parts do wrong, beside a table of its parameters for each of them."""

    preset: str = word("ideal", 'the name of a preset in quotes, for example "rram"')
    seed: int = quantity(0, "1", "the seed of what differs from part to part", whole=True)


@dataclass(frozen=True, kw_only=True)
class RunKeys:
    """How long the circuit runs, and how its samples are judged."""

    t_stop: float | None = quantity(
        None, "tau", "a time in units of tau (20000, variational 100000, or what the inputs take)", above=True
    )
    step: float | None = quantity(None, "tau", "a step in units of tau, for example 0.05", above=True, auto=True)
    warmup: float | None = quantity(None, "tau", "a time in units of tau, >= 0 (20, at most half of each input)")
    hold: float | None = quantity(None, "tau", "a time in units of tau, for example 20, for each row of x", above=True)
    interpolate: str = choice("hold", INTERPOLATIONS, "steps between rows of x, or straight lines")
    order: str | None = choice(None, ORDERS[1:], "the rows of a memory in turn, or in another order each time (cyclic)")
    chains: int | None = quantity(
        None, "1", "the number of chains (2; 1 for rows of x, or what settles)", low=1, whole=True
    )
    seed: int = quantity(0, "1", "the seed of the noise", whole=True)
    thin: int | None = quantity(None, "steps", "the steps from one sample to the next", low=1, whole=True, auto=True)
    timeout: float | None = quantity(None, "s", "seconds for each chain (as long as it takes)", above=True)
    tolerance: float | None = quantity(
        None, "1", "a difference, for example 0.05, from the posterior (0.02)", low=ALLOWANCE, above=True
    )
    reference_time: float = quantity(REFERENCE_TIME, "s", "seconds, for example 60, for a reference", above=True)
    weights: bool = flag(False, "samples of an encoder's law also weighted by p(x, s)/q(s), beside the posterior")


@dataclass(frozen=True, kw_only=True)
class DataKeys:
    """Data to learn from, in place of a dictionary that draws them."""

    source: str | None = word(None, 'a file with rows of values, or "natural:8"')
    images: list[str] | None = entry(None, 'a list of .iml, .imc or .npy files, for example ["imk00001.iml"]', of=str)
    shuffle: bool = flag(True, "the rows in random order")


@dataclass(frozen=True, kw_only=True)
class StageKeys:
    """Times of learning, in [learning] or in each of [[learning.stages]]; defaults are for one input at a time."""

    inputs: int = quantity(4000, "1", "the number of inputs, in software of batches", low=1, whole=True)
    hold: float | None = quantity(
        None, "tau", "a time in tau that each input is on (10 or 50; memory: 2, circuit 10)", above=True
    )
    step: float | None = quantity(None, "tau", "a step in tau (chosen for the first inputs; circuit: 0.05)", above=True)
    pause: float | None = quantity(
        None, "tau", "a time in tau, >= 0, without learning after each switch (0, or chosen)"
    )
    tau_A: float = quantity(3000.0, "tau", "a time constant in tau, of the dictionary", above=True)
    tau_u0: float = quantity(4000.0, "tau", "a time constant in tau, of the threshold: pi", above=True)
    tau_lam: float = quantity(10_000.0, "tau", "a time constant in tau, of the slab's rate", above=True)
    tau_sigma: float = quantity(5000.0, "tau", "a time constant in tau, of the noise level", above=True)


@dataclass(frozen=True, kw_only=True)
class LearningKeys(StageKeys):
    """What is learned, from where, and for how long."""

    method: str = choice("langevin", METHODS, "samples of the posterior, or an encoder that is trained by the ELBO")
    learn: list[str] = entry(
        REQUIRED,
        'a list of A, pi, lam, sigma ("variational": of A, pi, sigma; left out or [], the encoder alone)',
        of=str,
        empty=True,
    )
    stages: list[dict[str, Any]] | None = entry(
        None, "a list of tables of the times above: [[learning.stages]] before each", of=dict
    )
    memory: bool = flag(False, "a fixed set of inputs, each of which goes on with the codes that it had")
    set: int | None = quantity(
        None, "1", "the number of inputs remembered (400, or the rows that there are; circuit: 16)", low=1, whole=True
    )
    overcomplete: float = quantity(1.0, "1", "K over the number of atoms (of a file: of features)", above=True)
    start: Any = entry(
        None,
        '"random", "true", a file (D, K), or a table with some of A, pi, lam, sigma (random; true if A is not learned)',
    )
    seed: int = quantity(0, "1", "the seed of the start, the data and the noise", whole=True)
    batch: int | None = quantity(None, "1", "the inputs at a time (100; circuit: 1)", low=1, whole=True)
    records: int = quantity(400, "1", "the number of records of the history", low=1, whole=True)


@dataclass(frozen=True, kw_only=True)
class StartKeys:
    """Where learning starts."""

    A: str | None = word(None, '"random", "true", or a file (D, K)')
    pi: float | None = quantity(None, "1", "a number in (0, 1]", high=1.0, above=True)
    lam: float | None = quantity(None, "1/unit", "a number > 0", above=True)
    sigma: float | None = quantity(None, "data", "a number > 0", above=True)


@dataclass(frozen=True, kw_only=True)
class EncoderKeys:
    """The encoder of a variational circuit; or that of the variational learner, and how it is trained."""

    file: str | None = word(
        None, "an encoder.npz that circuitlsc learn wrote: a circuit's, or to go on from (its hidden and threshold)"
    )
    source: str = choice("product", SOURCES, "Laplace draws from four noise voltages, exactly, or a table of one")
    hidden: list[int] | None = entry(None, "a list of sizes of hidden layers ([32])", of=int, empty=True)
    objective: str = choice("exact", OBJECTIVES, "the ELBO in closed form, or an estimator of its gradient")
    reduce: str = choice("average", REDUCES, "the mean over the draws, or the one of least loss")
    draws: int = quantity(20, "1", "the number of draws of an estimator", low=1, whole=True)
    threshold: str | None = choice(
        None,
        THRESHOLDS,
        "a head of the encoder, one number, or drawn from Gamma(alpha, beta) (learned; of an estimator fixed)",
    )
    lam: float | None = quantity(None, "unit", "a fixed threshold (-log(pi)/lam of the prior)", above=True)
    alpha: float | None = quantity(None, "1", "the shape of a Gamma threshold (3)", above=True)
    beta: float | None = quantity(
        None, "1/unit", "the rate of a Gamma threshold (its mean is that of a fixed one)", above=True
    )
    rate: float | None = quantity(
        None, "1", "the largest change of a weight in a step (0.005, with A 0.003, of an estimator 0.001)", above=True
    )
    rate_model: float = quantity(5e-3, "1", "the largest change of A, log sigma and logit pi in a step", above=True)
    warmup: float | None = quantity(
        None, "1", "the share of the steps in which the divergence's weight grows to 1 (0, with A 0.5)", high=1.0
    )
    held_out: int = quantity(1000, "1", "the number of held-out inputs (of a file: a tenth at most)", whole=True)


TABLES: dict[str, type] = {
    "model": ModelKeys,
    "prior": PriorKeys,
    "dynamics": Dynamics,
    "circuit": CircuitKeys,
    "transistor": TransistorKeys,
    "nonideal": NonidealKeys,
    "run": RunKeys,
    "data": DataKeys,
    "learning": LearningKeys,
    "encoder": EncoderKeys,
}


def declared(keys: Any) -> dict[str, Mapping[str, Any]]:
    """Return what is declared of each key, in order."""
    return {f.name: f.metadata for f in fields(keys)}


def names(keys: Any) -> tuple[str, ...]:
    """Return the names of declared keys, in order."""
    return tuple(declared(keys))


#: the tables of a config of a sampler, and their keys
SAMPLER = {table: names(keys) for table, keys in TABLES.items() if table not in ("data", "learning")} | {
    "prior": prior_keys(),
    "nonideal": (*names(NonidealKeys), *PARTS),
    "encoder": ("file", "source"),
}
#: those of a config of learning: what belongs to one input, or one form, is left out
LEARNING = {
    "model": ("dictionary", "sigma"),
    "prior": ("kind", "pi", "lam", "signed"),
    "dynamics": ("kind", "features", "noise", "write"),
    "data": names(DataKeys),
    "learning": names(LearningKeys),
    "encoder": tuple(name for name in names(EncoderKeys) if name != "source"),
    "circuit": tuple(name for name in names(CircuitKeys) if name not in ("form", "loop", "smoothing", "cells")),
    "nonideal": SAMPLER["nonideal"],
    "run": ("timeout",),
}
