"""Write docs/config.md, the page of all keys of a config, from their declarations.

usage: config_page.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from circuitlsc.config.registry import LEARNING, SAMPLER, TABLES, StageKeys, StartKeys
from circuitlsc.model.prior_io import PRIORS
from circuitlsc.nonideal.parameters import PARTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
HEAD = """# Keys of a config

Written by `python tools/config_page.py` from where the keys are declared: `config/registry.py`, `model/dynamics.py`,
`nonideal/parameters.py` for parts, and the classes of priors. Where there is no default, that in brackets holds.
A config of a sampler (`run`, `compare`, `calibrate`, ...) has the tables {sampler}.
One of `learn` has {learning}. Keys that one of them has not are marked below.
"""

HEAD_OF_PRIORS = """## [prior]

Its `kind`, and the keys that this has ([equations](systems.md)).

| kind | key | value | default | unit | what |
|---|---|---|---|---|---|"""


def page() -> str:
    """Return the page."""
    parts = [HEAD.format(sampler=listed(SAMPLER), learning=listed(LEARNING))]
    for name, keys in TABLES.items():
        if name == "prior":
            parts += [HEAD_OF_PRIORS, "\n".join([*priors(), ""])]
            continue
        parts.append(section(f"[{name}]", keys, marks(name)))
        if name == "nonideal":
            parts += [section(f"[nonideal.{key}]", part, {}, level=3) for key, part in PARTS.items()]
    times = ", ".join(f"`{f.name}`" for f in fields(StageKeys))
    parts.append(f"### [[learning.stages]]\n\nEach stage has {times}, as in `[learning]`.\n")
    parts.append(section("[learning.start]", StartKeys, {}, level=3))
    return "\n".join(parts)


def listed(tables: Mapping[str, Any]) -> str:
    """Return names of tables for a sentence."""
    *names, last = (f"`[{name}]`" for name in tables)
    return f"{', '.join(names)} and {last}"


def marks(table: str) -> dict[str, str]:
    """Return what is said of the keys that only one kind of config has, of a table that both have."""
    if table not in LEARNING or table not in SAMPLER:
        return {}
    sampler, learning = dict.fromkeys(SAMPLER[table]), dict.fromkeys(LEARNING[table])
    only = {key: " (not of `learn`)" for key in sampler if key not in learning}
    return only | {key: " (of `learn` alone)" for key in learning if key not in sampler}


def section(title: str, keys: Any, marked: Mapping[str, str], *, level: int = 2) -> str:
    """Return a table of declared keys under its title."""
    what = " ".join(keys.__doc__.partition("\n\n")[0].split())
    lines = [f"{'#' * level} {title}", "", what, "", "| key | value | default | unit | what |", "|---|---|---|---|---|"]
    for f in fields(keys):
        meta = f.metadata
        unit = "-" if meta["unit"] in ("", "1") else meta["unit"]
        row = (f"`{f.name}`", value(meta), default(meta), unit, meta["text"] + marked.get(f.name, ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join([*lines, ""])


def priors() -> Iterator[str]:
    """Yield the rows of what kinds of priors declare."""
    for kind, cls in PRIORS.items():
        for name, meta in cls.parameters().items():
            shown = "chosen" if meta["default"] is None else default(meta)
            yield f"| `{kind}` | `{name}` | {value(meta)} | {shown} | {meta['unit']} | {meta['text']} |"
        if "file" in cls.config_keys():
            yield f"| `{kind}` | `file` | text | must be given | - | a file with two columns, s and its cost |"
        if "signed" in cls.config_keys():
            signed = {f.name: f.default for f in fields(cls)}["signed"]  # type: ignore[arg-type]
            yield f"| `{kind}` | `signed` | true or false | {str(signed is not False).lower()} | - | codes on both sides of 0 |"


def value(meta: Mapping[str, Any]) -> str:
    """Return what a key takes."""
    kind = meta.get("kind", "number")
    if kind == "choice":
        return ", ".join(f'`"{word}"`' for word in meta["options"])
    if kind != "number":
        return {"flag": "true or false", "word": "text", "entry": "as it says"}[kind]
    bound = "" if meta["low"] == -math.inf else f" {'>' if meta['above'] else '>='} {meta['low']:g}"
    high = f", <= {meta['high']:g}" if meta["high"] < math.inf else ""
    what = "whole number" if meta["whole"] else "three numbers" if meta["three"] else "number"
    return what + bound + high + (', or `"auto"`' if meta["auto"] else "")


def default(meta: Mapping[str, Any]) -> str:
    """Return the default of a key."""
    given = meta["default"]
    if given is MISSING:
        return "must be given"
    if given is None:
        return '`"auto"`' if meta.get("auto") else "-"
    if isinstance(given, bool):
        return str(given).lower()
    if given == ():
        return "none"
    return f'`"{given}"`' if isinstance(given, str) else f"{given:g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
