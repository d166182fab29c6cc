"""explain: what the docs and the declarations say of a key, a verdict, an error or a term."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from circuitlsc import errors
from circuitlsc.cli.shared import EXIT_CODES, Ended, completed, plain
from circuitlsc.errors import InputError, printable
from circuitlsc.io.nearest import nearest

if TYPE_CHECKING:
    from circuitlsc.config.describe import Key

KEYS = "config.md"  # the page of what is declared, which is shown as it is declared
EXIT = "Exit codes"  # the section that has them
_SPACES = "    "


def words() -> list[str]:
    """Return the words that are known: keys, tables, kinds of priors, presets, verdicts, errors, terms and titles."""
    from circuitlsc.config.describe import tables
    from circuitlsc.io.pages import sections
    from circuitlsc.model.prior_io import PRIORS
    from circuitlsc.reporting.terms import TERMS

    found = tables()
    keys = [key for _, keys in found.values() for key in keys]
    return [
        *dict.fromkeys(
            (
                *EXIT_CODES,
                *found,
                *(key.path for key in keys),
                *(key.name for key in keys),
                *(table.rpartition(".")[2] for table in found),
                *PRIORS,
                *_classes(),
                *TERMS,
                *(section.title for section in sections() if section.page != KEYS),
            )
        )
    ]


@plain("explain", ignore_unknown_options=True)  # a message may have one
def explain(
    asked: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...",
            help="A key (t_stop, run.t_stop, op_amp), a verdict, an exit code, a term of a report, or an error message.",
            autocompletion=completed(words),
        ),
    ],
) -> Ended:
    """Say what the docs say of a key, a verdict, an error message or a term."""
    width = max(40, shutil.get_terminal_size().columns)
    text = " ".join(asked).strip()
    found = list(_exactly(text.strip("[]'\"` "), width))
    if not found and " " in text:
        found = list(_of_message(text, width))
    if not found:
        near = nearest(text, words())
        raise InputError(
            f"{printable(text)!r} is no key, verdict, error or term.{near} Give one, or a whole error message in quotes."
        )
    return Ended("\n\n".join(found))


def _exactly(text: str, width: int) -> Iterator[str]:
    """Yield what there is about a word or a title."""
    from circuitlsc.config.describe import tables
    from circuitlsc.io.pages import plain, titled
    from circuitlsc.model.prior_io import PRIORS
    from circuitlsc.reporting.terms import TERMS

    small = text.lower()
    found = tables()
    for table, (what, keys) in found.items():
        if small in (table, table.rpartition(".")[2]):
            yield _table(f"[{table}]", what, keys, width)
    yield from _keys([key for _, keys in found.values() for key in keys if text in (key.name, key.path)], width)
    if small in PRIORS:
        keys = [key for key in found["prior"][1] if key.prior == small]
        title, what = f'[prior] kind = "{small}"', plain(_first(PRIORS[small].__doc__), width)
        yield _table(title, what, [replace(key, prior="") for key in keys], width)
    if text in _classes():
        yield f"{text}\n{_wrapped(_first(getattr(errors, text).__doc__), width)}"
    for term, meaning in TERMS.items():
        if term.lower() == small:
            yield f"{term} (in reports)\n{_wrapped(meaning, width)}"
    codes = small.removeprefix("exit code ").removeprefix("exit ")
    for section in titled([EXIT] if codes in ("0", "1", "2", "3", "4", "130") else [text]):
        if section.page != KEYS:
            yield f"{section.title} ({section.page})\n\n{section.plain(width)}"


def _of_message(text: str, width: int) -> Iterator[str]:
    """Yield what there is about an error message: the keys and tables that it names, and the passage nearest to it."""
    from circuitlsc.config.describe import tables
    from circuitlsc.io.pages import nearest_passage, plain

    found = tables()
    named = {*re.findall(r"[a-zA-Z_]+(?:\.\w+)+", text)}
    keys = [key for _, keys in found.values() for key in keys if any(_ends(name, key.path) for name in named)]
    yield from _keys(keys, width)
    for table, (what, _) in found.items():
        if f"[{table}]" in text and not any(key.table == table for key in keys):
            yield f"[{table}]\n{_wrapped(what, width)}\n{_SPACES}its keys: circuitlsc explain {table}"
    for option in sorted({*re.findall(r"(?<!\S)(--[a-z][a-z-]+|-o)(?![\w-])", text)}):
        yield f"{option}\n{_SPACES}an option: circuitlsc COMMAND -h says what it takes"
    if (near := nearest_passage(text)) is not None:
        section, passage = near
        yield f"nearest in the docs ({section.place})\n\n{plain(passage, width)}"


def _ends(name: str, path: str) -> bool:
    """Return whether a dotted name of a message is a key's path: the file's name may stand before it."""
    return (
        name == path or name.endswith(f".{path}") or (path.startswith("nonideal.") and name == path[len("nonideal.") :])
    )


def _keys(keys: Iterable[Key], width: int) -> Iterator[str]:
    """Yield a paragraph for each key."""
    for key in dict.fromkeys((each.table, each.name, each.prior) for each in keys):
        found = next(each for each in keys if (each.table, each.name, each.prior) == key)
        of = f' (kind = "{found.prior or found.of_kind}")' if found.prior or found.of_kind else ""
        lines = [f"{found.path}{of}", _wrapped(found.text.replace("`", ""), width)]
        told = {"value": found.value(), "default": found.default(), "unit": found.unit}
        lines += [f"{_SPACES}{name:<9}{said}" for name, said in told.items() if said != "-"]
        yield "\n".join(lines)


def _table(title: str, what: str, keys: list[Key], width: int) -> str:
    """Return a table and its keys, a line each."""
    lines = [title, _wrapped(what.replace("`", ""), width), ""]
    for key in keys:
        unit = "" if key.unit == "-" else f" {key.unit}"
        of = f"{key.prior}: " if key.prior else ""
        lines += textwrap.wrap(
            f"{of}{key.name}  {key.meta['text']}; default {key.default()}{unit}", width, subsequent_indent=_SPACES
        )
    return "\n".join(lines)


def _classes() -> list[str]:
    """Return the names of the errors."""
    return [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.CircuitLSCError)
    ]


def _first(doc: str | None) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join((doc or "").partition("\n\n")[0].split())


def _wrapped(text: str, width: int) -> str:
    how = {"initial_indent": _SPACES, "subsequent_indent": _SPACES}
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, **how)  # type: ignore[arg-type]
