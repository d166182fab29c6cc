"""What is declared of the keys of a config, in words: for docs/config.md, for the config of `init` and for `explain`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from circuitlsc.config.registry import AUTO, LEARNING, SAMPLER, TABLES, StageKeys, StartKeys, declared
from circuitlsc.model.dynamics import KINDS
from circuitlsc.model.prior_io import PRIORS
from circuitlsc.nonideal.parameters import PARTS

STAGES = "learning.stages"


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Attributes
    ----------
    table : str
        Without brackets, such as ``"nonideal.op_amp"``.
    name : str
    meta : mapping
        What is declared of it (`circuitlsc.io.declared`).
    prior : str
        The kind of prior that has it; empty for those of other tables.
    """

    table: str
    name: str
    meta: Mapping[str, Any]
    prior: str = ""

    @property
    def path(self) -> str:
        """Its table and its name."""
        return f"{self.table}.{self.name}"

    @property
    def text(self) -> str:
        """What it is, and in which configs it stands, if not in those of all commands."""
        return str(self.meta["text"]) + self.mark

    @property
    def mark(self) -> str:
        """Which kind of config has it, of a table that both have."""
        if self.prior or self.table not in LEARNING or self.table not in SAMPLER:
            return ""
        sampler, learning = self.name in SAMPLER[self.table], self.name in LEARNING[self.table]
        return "" if sampler == learning else " (not of `learn`)" if sampler else " (of `learn` alone)"

    @property
    def unit(self) -> str:
        """Its unit; "-" for none."""
        return "-" if self.meta["unit"] in ("", "1") else str(self.meta["unit"])

    @property
    def of_kind(self) -> str:
        """The kind of dynamics that alone has it; empty if others do."""
        return next((kind for kind, own in KINDS.items() if self.table == "dynamics" and self.name in own), "")

    def value(self, quote: str = "") -> str:
        """Return what it takes; words that are written as they stand are between ``quote``."""
        meta = self.meta
        kind = meta.get("kind", "number")
        if kind == "choice":
            return ", ".join(f'{quote}"{word}"{quote}' for word in meta["options"])
        if kind != "number":
            return {"flag": "true or false", "word": "text", "entry": "as it says"}[kind]
        bound = "" if meta["low"] == -math.inf else f" {'>' if meta['above'] else '>='} {meta['low']:g}"
        high = f", <= {meta['high']:g}" if meta["high"] < math.inf else ""
        what = "whole number" if meta["whole"] else "three numbers" if meta["three"] else "number"
        return what + bound + high + (f', or {quote}"auto"{quote}' if meta["auto"] else "")

    def default(self, quote: str = "") -> str:
        """Return its default; "-" where what is left out depends on the rest of the config."""
        given = self.meta["default"]
        if given is MISSING:
            return "must be given"
        if given is None:
            return f'{quote}"{AUTO}"{quote}' if self.meta.get("auto") else "chosen" if self.prior else "-"
        if isinstance(given, bool):
            return str(given).lower()
        if given == ():
            return "none"
        return f'{quote}"{given}"{quote}' if isinstance(given, str) else f"{given:g}"


def tables() -> dict[str, tuple[str, list[Key]]]:
    """Return what each table of a config is, and its keys: parts of [nonideal], and those of [learning], among them."""
    found: dict[str, tuple[str, list[Key]]] = {}
    for name, cls in TABLES.items():
        if name == "prior":
            found[name] = ("Its `kind`, and the keys that this has.", [_kind(), *prior_keys()])
            continue
        found[name] = (_summary(cls), _keys(name, cls))
        if name == "nonideal":
            found |= {
                f"nonideal.{part}": (_summary(cls), _keys(f"nonideal.{part}", cls)) for part, cls in PARTS.items()
            }
        if name == "learning":
            found[STAGES] = (_summary(StageKeys), _keys(STAGES, StageKeys))
            found["learning.start"] = (_summary(StartKeys), _keys("learning.start", StartKeys))
    return found


def prior_keys() -> Iterator[Key]:
    """Yield the keys of each kind of prior."""
    shared = declared(TABLES["prior"])
    for kind, cls in PRIORS.items():
        for name, meta in cls.parameters().items():
            yield Key("prior", name, meta, kind)
        if "file" in cls.config_keys():
            yield Key("prior", "file", shared["file"], kind)
        if "signed" in cls.config_keys():
            signed = {f.name: f.default for f in fields(cls)}["signed"]
            yield Key("prior", "signed", {**shared["signed"], "default": signed is not False}, kind)


def _kind() -> Key:
    return Key("prior", "kind", declared(TABLES["prior"])["kind"])


def _keys(table: str, cls: type) -> list[Key]:
    return [Key(table, name, meta) for name, meta in declared(cls).items()]


def _summary(cls: type) -> str:
    """Return the first sentence of what declares a table."""
    return " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
