"""Folders of results as they stand beside each other: names, links, and in what their configs differ."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from circuitlsc.errors import InputError, printable
from circuitlsc.io import output as out
from circuitlsc.io.report import LARGEST, Value
from circuitlsc.reporting.page import Page, config_text, load_page

MOST_TEXT = 60  # characters of a cell


@dataclass(frozen=True)
class Run:
    """A folder of results, as it stands beside others.

    Attributes
    ----------
    name : str
        Of the folder, as text.
    link : str
        To its page, from the one that is made.
    page : Page
    config : mapping from str to number, str or None
        Its config: values by ``table.key``.
    """

    name: str
    link: str
    page: Page
    config: Mapping[str, Value]

    @property
    def command(self) -> str:
        """What was done: ``run``, ``budget``, ..."""
        return self.page.title.partition(" ")[0]


def load_runs(folders: Sequence[Path], page: Path) -> list[Run]:
    """Read folders of results.

    Parameters
    ----------
    folders : sequence of pathlib.Path
    page : pathlib.Path
        The page that they will be put on: links lead from there.

    Raises
    ------
    InputError
        If one is none, or stands there twice.
    """
    places = [folder.resolve() for folder in folders]
    if (twice := next((n for n, place in enumerate(places) if place in places[:n]), None)) is not None:
        raise InputError(f"{folders[twice]} is given twice. Give each folder once.")
    pages = [load_page(folder) for folder in folders]
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    start = page.absolute().parent
    links = [quote(os.fsencode(os.path.relpath(folder.absolute() / out.PAGE, start))) for folder in folders]
    configs = [dict(_keys(config_text(folder))) for folder in folders]
    return [Run(shown(name), *of) for name, *of in zip(names, links, pages, configs, strict=True)]  # type: ignore[arg-type]


def differing(runs: Sequence[Run]) -> list[str]:
    """Return the keys whose values are not the same in all runs; a key that is not there counts if no other command ran."""
    alike = len({run.command for run in runs}) == 1
    keys = dict.fromkeys(key for run in runs for key in run.config)
    found = {key: [run.config.get(key) for run in runs if alike or key in run.config] for key in keys}
    return [key for key, values in found.items() if len(set(values)) > 1]


def shown(text: str) -> str:
    """Return a text of a file as one line that is not too long."""
    return printable(text, MOST_TEXT)


def plain(value: Any) -> Value:
    """Return a value of a file as one that a table can show."""
    if isinstance(value, bool):
        return str(value).lower()
    number = isinstance(value, (int, float)) and -LARGEST < value < LARGEST
    return value if number or value is None else shown(str(value))


def _keys(config: str) -> Iterator[tuple[str, Value]]:
    """Yield the values of a config by table.key; of what is no TOML, nothing."""
    try:
        waiting: list[tuple[str, Any]] = [("", tomllib.loads(config))]
        while waiting:
            name, value = waiting.pop(0)
            if isinstance(value, dict):
                waiting[:0] = [(f"{name}.{key}" if name else key, each) for key, each in value.items()]
            else:
                yield name, plain(json.dumps(value, default=str) if isinstance(value, list) else value)
    except (ValueError, RecursionError):
        return
