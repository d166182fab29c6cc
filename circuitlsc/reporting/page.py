"""The page of a results folder: report.html, one file that asks for nothing else, made from report.json and what is beside it.

report.json holds what a page shows and no other file does. The page can be made again from a folder, and several folders can
be put on one (`reporting.pages`).
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from circuitlsc.errors import InputError, printable
from circuitlsc.io import output as out
from circuitlsc.io.arrays import is_finite
from circuitlsc.io.markup import TEMPLATES, render
from circuitlsc.io.report import Report
from circuitlsc.io.safe_open import decode, read_regular, reason
from circuitlsc.reporting.terms import meanings
from circuitlsc.reporting.views import checked

FORMAT = 1
_MOST = 2**24  # bytes of a file that a page is made from
_SHOWN_DECK = 300_000  # characters of a deck that a page holds
#: what the files of a folder are, by name or by how the name ends
FILES = {
    out.CONFIG: "the config with every default written out, files by their full paths",
    out.GIVEN: "the config as it was given",
    out.DECK: "a stand-alone netlist: ngspice -b deck.cir runs it",
    out.SAMPLES: "the samples, netCDF: circuitlsc.Samples.load, xarray.open_datatree",
    out.COMPARISON: "every number of the comparison, and the verdict",
    out.MAP: "the code that the circuit settled on, software's, objectives and times",
    out.ENERGY: "power of every part, and energy per independent sample",
    out.INPUTS: "the inputs that were drawn, and the codes that they come from",
    out.STREAMED: "the inputs, as the config names them",
    out.LEARNED: "what was learned: model.dictionary of a config can name it",
    out.ENCODER: "the encoder: encoder.file of a config can name it",
    out.HISTORY: "the course of learning, netCDF",
    out.REPORT: "what this page shows and no other file holds",
    out.PAGE: "this page",
    "budget.json": "every row of the budget",
    "chips.json": "every chip",
    "calibration.json": "ranks, tests and the verdict",
    "friction.json": "every row of the sweep",
    "samplers.json": "every number of the comparison of samplers",
}
KINDS = {
    ".png": "a figure of this page, as pixels",
    ".svg": "a figure of this page, as vectors",
    ".npz": "an encoder that was trained for this comparison",
}


@dataclass(frozen=True)
class Picture:
    """A figure of a folder, as a file beside the page.

    Attributes
    ----------
    file : str
        Its name, an SVG.
    caption : str
        What it shows: a sentence or two.
    greys : bool
        Whether it holds grey pictures, whose black stays black on a dark page.
    panels : str
        Labels of its axes, for whoever does not see it.
    """

    file: str
    caption: str
    greys: bool = False
    panels: str = ""


@dataclass(frozen=True)
class Series:
    """Numbers of a run that stand beside those of other runs: circuit and exact, of each latent.

    Attributes
    ----------
    title : str
        Series of one title are drawn into one panel.
    x : str
        What the numbers belong to, such as ``"latent"``.
    values, errors, exact : list
        Of the circuit, their standard errors, and what they should be; the latter two may be empty.
    names : list of str
        What each number belongs to; empty: counted from 0.
    """

    title: str
    x: str
    values: list[float]
    errors: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """What the page of a results folder shows.

    Attributes
    ----------
    title : str
        What was done, with the config's name.
    command : str
        The line that repeats it.
    report : Report
    pictures : tuple of Picture
    versions : mapping from str to str
        Of what calculated.
    series : tuple of Series
    views : mapping
        Data of what can be looked at interactively (`reporting.views`).
    again : str
        The line that repeats it in the folder itself; empty if nothing does.
    """

    title: str
    command: str
    report: Report
    pictures: tuple[Picture, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    views: Mapping[str, Any] = field(default_factory=dict)
    again: str = ""

    def save(self, folder: Path) -> None:
        """Write report.json and report.html into a folder that has everything else."""
        out.write_json(folder / out.REPORT, {"format": FORMAT, **asdict(self), "report": self.report.to_dict()})
        out.write_text(folder / out.PAGE, page_html(self, folder))


def load_page(folder: Path) -> Page:
    """Read report.json of a results folder.

    Raises
    ------
    InputError
        If there is none, or it holds something else.
    """
    path = folder / out.REPORT
    try:
        data = json.loads(_read(path), parse_constant=_no_number)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f"{path} is of another version of circuitlsc. Run it again with this one.")
        return Page(
            title=str(data["title"]),
            command=str(data["command"]),
            report=Report.from_dict(data["report"]),
            pictures=_pictures(data["pictures"]),
            versions={str(name): str(said) for name, said in data["versions"].items()},
            series=tuple(map(_series, data["series"])),
            views=checked(data["views"]),
            again=str(data["again"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} does not exist: {folder} is no folder of results, or one of an earlier version. Run it again."
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        why = reason(error) if isinstance(error, OSError) else "it is no report of circuitlsc"
        raise InputError(f"{path} cannot be read ({why}). Make it again.") from None


def _pictures(data: list[Mapping[str, Any]]) -> tuple[Picture, ...]:
    """Return pictures of files beside report.json, and of no others, each once."""
    pictures = tuple(Picture(**each) for each in data)
    files = [picture.file for picture in pictures]
    ours = all(isinstance(file, str) and file.endswith(".svg") and "/" not in file for file in files)
    if not ours or len(set(files)) < len(files):
        raise ValueError("no figures of the folder")
    return pictures


def _series(data: Mapping[str, Any]) -> Series:
    series = Series(**data)
    numbers = (series.values, series.errors, series.exact)
    finite = all(type(n) in (int, float) and is_finite(n) for values in numbers for n in values)
    lengths = {len(each) for each in (*numbers, series.names) if each} | {len(series.values)}
    texts = all(isinstance(each, str) for each in (series.title, series.x, *series.names))
    if not finite or len(lengths) > 1 or not texts or any(error < 0 for error in series.errors):
        raise ValueError("no numbers that belong together")
    return series


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of a report")


def page_html(page: Page, folder: Path) -> str:
    """Return the page of a folder; every text of its files is shown as text, and its figures cannot run anything."""
    config = config_text(folder)
    deck = _text(folder / out.DECK) or ""
    shown = deck if len(deck) <= _SHOWN_DECK else deck[:_SHOWN_DECK].rpartition("\n")[0]
    return html(
        "page.html.jinja",
        page=page,
        title=printable(page.title),
        report=page.report,
        images=[(picture, _data_url(folder / picture.file)) for picture in page.pictures],
        config=config,
        deck=shown,
        deck_lines=len(deck.splitlines()) if shown is not deck else 0,
        seeds=list(_seeds(config)),
        files=list(_contents(folder)),
        terms=meanings(page.report),
        scripts=("page.js", "views.js") if page.views else ("page.js",),
    )


def config_text(folder: Path) -> str:
    """Return the config of a folder of results; empty if it has none."""
    return next((text for name in (out.CONFIG, out.GIVEN) if (text := _text(folder / name)) is not None), "")


def html(template: str, *, scripts: tuple[str, ...] = ("page.js",), **values: Any) -> str:
    """Return a page with our style and scripts, which are all that it may run, and no network."""
    ours = files("circuitlsc") / TEMPLATES
    style, script = (ours / "page.css").read_text(), "\n".join((ours / name).read_text() for name in scripts)
    allowed = {"style": style, "script": script}
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in allowed.items()}
    return render(template, style=style, script=script, hashes=hashes, **values)


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of the files of a folder with what they are."""
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")} | {out.PAGE}
    for name in sorted(there - out.PASSING):
        said = FILES.get(name) or next((text for end, text in KINDS.items() if name.endswith(end)), "")
        yield printable(name), said


def data_url(svg: bytes) -> str:
    """Return a figure as an address that holds it; as an image it can neither run a script nor ask for a file."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _read(path: Path) -> bytes:
    """Return a file of a folder of results; what is linked from elsewhere is not part of one, and gets onto no page."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link, which no command leaves", str(path))
    return read_regular(path, _MOST)


def _data_url(path: Path) -> str:
    try:
        return data_url(_read(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}). Make the results again.") from None


def _text(path: Path) -> str | None:
    """Return the text of a file that may be missing."""
    try:
        return decode(_read(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read ({reason(error)}). Make the results again.") from None


def _seeds(config: str) -> Iterator[tuple[str, str]]:
    """Yield the seeds of a config by their names; of what is no config, nothing."""
    try:
        for table, keys in tomllib.loads(config).items():
            if isinstance(keys, dict) and "seed" in keys:
                yield printable(f"{table}.seed"), printable(str(keys["seed"]))
    except (ValueError, RecursionError):  # a number of too many digits, too
        return
