"""The text of a config that `circuitlsc init` writes: every key there is, with what is declared of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import tomli_w

from circuitlsc.config.describe import STAGES, Key, tables
from circuitlsc.config.registry import AUTO, LEARNING, SAMPLER
from circuitlsc.errors import InputError
from circuitlsc.io.declared import REQUIRED
from circuitlsc.io.nearest import nearest
from circuitlsc.io.wrapped import wrapped
from circuitlsc.model.dynamics import KINDS
from circuitlsc.model.prior_io import PRIORS
from circuitlsc.sampling.compile import LEVELS

Tables = Mapping[str, Mapping[str, Any]]

#: names of systems as papers have them: kind of dynamics, and kind of prior
SYSTEMS = {
    "LSC": ("langevin", "laplace"),
    "L0-LSC": ("langevin", "spike-slab"),
    "DSC": ("gradient", "laplace"),
    "LCA": ("lca", "laplace"),
}
PRIOR = "spike-slab"  # where nothing else is asked for
PI, SIZE = 0.3, 1.0  # of a prior whose numbers must be given
FOLLOW = ("friction", "mass")  # from the model: as numbers they would stay when that changes
BATCHED = ("tau_A", "tau_u0", "tau_lam", "tau_sigma")  # their defaults are those of one input at a time
_COLUMN, _WIDTH = 24, 118  # where comments begin, and how wide the file is
HEAD = """\
# A line "# key = value" is a default: without the "# " it says the same. Lines "#   key: ..." tell of keys that need
# something else, or have no default. circuitlsc explain KEY says more, for example: circuitlsc explain {example}
"""


def chosen(system: str | None, prior: str | None) -> tuple[str, str]:
    """Return the kinds of dynamics and of prior that a system's name, of a kind or of a paper, and a prior's stand for.

    Raises
    ------
    InputError
        If one is not known.
    """
    named = {name.lower(): pair for name, pair in SYSTEMS.items()} | {
        kind: (kind, "laplace" if kind in ("gradient", "lca") else PRIOR) for kind in KINDS
    }
    kind, usual = named.get((system or "langevin").lower(), ("", ""))
    known = (*KINDS, *SYSTEMS)
    if not kind:
        raise InputError(f"--system {system} is not known.{nearest(system, known)} Give one of {', '.join(known)}.")
    if prior is not None and prior not in PRIORS:
        raise InputError(f"--prior {prior} is not known.{nearest(prior, PRIORS)} Give one of {', '.join(PRIORS)}.")
    return kind, prior or usual


def check_level(level: str) -> None:
    """Raise InputError if a level is not known."""
    if level not in LEVELS:
        raise InputError(f"--level {level} is not known. Give one of {', '.join(LEVELS)}.")


def prior_table(kind: str) -> dict[str, Any]:
    """Return ``[prior]`` with the numbers that must be given."""
    keys = [key for key in tables()["prior"][1] if key.prior == kind and key.meta["default"] is REQUIRED]
    values = {"pi": PI, "file": "cost.csv"}
    return {"kind": kind, **{key.name: values.get(key.name, SIZE) for key in keys}}


def sampler_tables(kind: str, level: str, prior: str, dictionary: str, sigma: float) -> dict[str, dict[str, Any]]:
    """Return what a config of a sampler has to say: one input, or a few for a memory."""
    made = {
        "model": {"dictionary": dictionary, "sigma": sigma},
        "prior": prior_table(prior),
        "dynamics": {"kind": kind},
        "circuit": {"level": level},
    }
    if kind == "amortised":
        made["model"]["x"] = "draw:2"
        made["run"] = {"hold": 5.0, "tolerance": 0.05}
    if level == "transistor":
        made["run"] = {"tolerance": 0.05}
    if kind == "variational":
        made["encoder"] = {"file": "encoder/encoder.npz"}
    return made


def learn_tables(kind: str, level: str, prior: str, dictionary: str, sigma: float) -> dict[str, dict[str, Any]]:
    """Return what a config of learning has to say: a dictionary from inputs, or an encoder for one that is known."""
    made: dict[str, dict[str, Any]] = {
        "model": {"dictionary": dictionary, "sigma": sigma},
        "prior": prior_table(prior),
    }
    if kind == "variational":
        return {**made, "learning": {"method": "variational", "learn": []}}
    memory = {"memory": True} if kind == "amortised" else {}
    return {**made, "learning": {"learn": ["A"], **memory}, "circuit": {"level": level}}


def config_text(given: Tables, head: str, parse: Callable[[Mapping[str, Any]], object], known: Tables) -> str:
    """Return a config with every key that there is.

    Parameters
    ----------
    given : mapping
        Tables with the values that are written as they are.
    head : str
        Lines above, without "#".
    parse : callable
        Reads a config, or raises InputError: a default that it refuses belongs to something else.
    known : mapping
        Tables with what is chosen for keys that are left out.
    """
    parse(given)  # what fails below fails for the key that is tried
    learning = "learning" in given
    mine = LEARNING if learning else SAMPLER
    example = "learning.hold" if learning else "run.t_stop"
    lines = [*(f"# {line}".rstrip() for line in head.splitlines()), *HEAD.format(example=example).splitlines()]

    def reads(table: str, values: Mapping[str, Any]) -> bool:
        top, _, part = table.partition(".")
        if top == "nonideal" and (part or not values):
            return (
                given.get("circuit", {}).get("level") == "device"
            )  # a part's defaults are ideal, and suit any circuit
        there = {**given.get(top, {})}
        try:
            parse({**given, top: {**there, part: values} if part else {**there, **values}})
        except InputError:
            return False
        return True

    for table, (what, keys) in tables().items():
        top, _, part = table.partition(".")
        if top not in mine:
            continue
        kinds = {key.prior for key in keys} - {key.prior for key in keys if key.name not in mine[top]}  # in full
        keys = [key for key in keys if part or key.name in mine[top]]
        lines.append("")
        if table == STAGES:
            lines += _comment("[[learning.stages]], several of them in place of the times above", _names(keys))
        elif table == "learning.start" or not reads(table, {}):
            lines += _comment(f"[{table}]: {what}{_needs(table)} Its keys:", _names(keys))
        else:
            lines += _line(f"[{table}]", what.replace("`", ""))
            lines += _keys(table, keys, given.get(table, {}), known.get(table, {}), reads)
            if table == "prior":
                lines += _other_priors(keys, kinds - {given[table]["kind"]})
    return "\n".join([*lines, ""])


def toml_line(name: str, value: Any) -> str:
    """Return a key with its value."""
    return tomli_w.dumps({name: value}).strip()


def _keys(
    table: str,
    keys: list[Key],
    given: Mapping[str, Any],
    known: Mapping[str, Any],
    reads: Callable[[str, Mapping[str, Any]], bool],
) -> Iterator[str]:
    """Yield the lines of a table that is there."""
    kind = given.get("kind") if table == "prior" else None
    for key in keys:
        told = _told(key)
        if key.prior and key.prior != kind:
            continue
        if key.name in given:
            yield from _line(toml_line(key.name, given[key.name]), told)
            continue
        default = key.meta["default"]
        if default is None and key.meta.get("auto"):
            default = AUTO
        elif default is None and key.name not in FOLLOW:
            default = known.get(key.name)
        elif default == ():
            default = []
        batched = key.name in BATCHED
        if default is None or default is REQUIRED or batched or not reads(table, {key.name: default}):
            of = f' (of kind = "{key.of_kind}")' if key.of_kind else ""
            of += f" ({key.default()} for one input at a time, over the root of batch)" if batched else ""
            yield from _line(f"#   {key.name}:", told + of)
        else:
            yield from _line(f"# {toml_line(key.name, default)}", told)


def _other_priors(keys: list[Key], kinds: Collection[str]) -> list[str]:
    """Return what other kinds of priors there are, with their keys."""
    others: dict[str, list[str]] = {}
    for key in keys:
        if key.prior in kinds and key.prior:
            others.setdefault(key.prior, []).append(key.name)
    return _comment("other kinds:", "; ".join(f"{kind} ({', '.join(names)})" for kind, names in others.items()))


def _told(key: Key) -> str:
    """Return what a key is, for a comment: its text, what it takes and its unit."""
    kind, text, takes = key.meta.get("kind", "number"), str(key.meta["text"]), key.value()
    if kind in ("word", "entry", "flag"):
        return text
    if kind == "number" and takes.removeprefix("number ") in text:
        takes = ""
    unit = "" if key.unit == "-" else key.unit
    return "; ".join(filter(None, (text, ", ".join(filter(None, (takes, unit))))))


def _line(start: str, told: str) -> list[str]:
    """Return a line with its comment, which goes on below where it finds no room."""
    mark = "" if start.startswith("#  ") else "# "
    first, then = (f"{begun:<{_COLUMN}} {mark}" for begun in (start, "#"))
    return wrapped(told, _WIDTH, first, then)


def _comment(title: str, said: str) -> list[str]:
    return wrapped(f"{title} {said}", _WIDTH, "# ", "#   ")


def _names(keys: list[Key]) -> str:
    return ", ".join(key.name for key in keys)


def _needs(table: str) -> str:
    """Return what a table belongs to that is not there."""
    top = table.partition(".")[0]
    of = {
        "nonideal": ' It needs level = "device" in [circuit].',
        "encoder": ' It needs kind = "variational" in [dynamics], or method = "variational" in [learning].',
        "dynamics": " It needs memory = true in [learning].",
    }
    return of.get(top, "")
