"""Write docs/config.md, the page of all keys of a config, from their declarations.

usage: config_page.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitlsc.config.describe import STAGES, Key, prior_keys, tables
from circuitlsc.config.registry import LEARNING, SAMPLER

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
    for table, (what, keys) in tables().items():
        if table == "prior":
            parts += [HEAD_OF_PRIORS, "\n".join([*map(row, prior_keys()), ""])]
        elif table == STAGES:
            times = ", ".join(f"`{key.name}`" for key in keys)
            parts.append(f"### [[{table}]]\n\nEach stage has {times}, as in `[learning]`.\n")
        else:
            parts.append(section(table, what, keys))
    return "\n".join(parts)


def listed(tables: Mapping[str, Any]) -> str:
    """Return names of tables for a sentence."""
    *names, last = (f"`[{name}]`" for name in tables)
    return f"{', '.join(names)} and {last}"


def section(table: str, what: str, keys: Iterable[Key]) -> str:
    """Return a table of declared keys under its title."""
    title = f"{'#' * (3 if '.' in table else 2)} [{table}]"
    lines = [title, "", what, "", "| key | value | default | unit | what |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *map(row, keys), ""])


def row(key: Key) -> str:
    """Return the row of a key; that of a prior begins with its kind."""
    kind = [f"`{key.prior}`"] if key.prior else []
    cells = (*kind, f"`{key.name}`", key.value("`"), key.default("`"), key.unit, key.text)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
