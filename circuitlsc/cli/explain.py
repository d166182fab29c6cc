"""explain: what the docs and the declarations say of a key, a verdict, an error or a term."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from circuitlsc import errors
from circuitlsc.cli.shared import EXIT_CODES, Ended, app, completed, plain
from circuitlsc.errors import InputError, printable
from circuitlsc.io.nearest import nearest
from circuitlsc.io.wrapped import wrapped

if TYPE_CHECKING:
    from circuitlsc.config.describe import Key

EXIT = "Exit codes"  # the section that has them
_SPACES = "    "


def words() -> list[str]:
    """Return the words that are known: keys, tables, their words, presets, commands, verdicts, errors, terms and titles."""
    from circuitlsc.config.describe import tables
    from circuitlsc.config.template import SYSTEMS
    from circuitlsc.io.docs import KEYS, sections
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
                *(option for key in keys for option in key.meta.get("options", ())),
                *SYSTEMS,
                *_commands(),
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
    word = text.strip("[]'\"` ")
    found = list(_exactly(word, width)) or list(_of_message(text, width) if " " in text else _passages(word, width))
    if not found:
        near = nearest(text, words())
        raise InputError(
            f"{printable(text)!r} is no key, verdict, error or term.{near} Give one, or a whole error message in quotes."
        )
    return Ended("\n\n".join(found))


def _exactly(text: str, width: int) -> Iterator[str]:
    """Yield what there is about a word or a title."""
    from circuitlsc.config.describe import tables
    from circuitlsc.config.template import SYSTEMS
    from circuitlsc.io.docs import KEYS, as_text, titled
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
        title, what = f'[prior] kind = "{small}"', as_text(_first(PRIORS[small].__doc__), width)
        yield _table(title, what, [replace(key, prior="") for key in keys], width)
    options = [
        key for _, keys in found.values() for key in keys if text in key.meta.get("options", ()) and text not in PRIORS
    ]
    if options:
        yield from (f'"{text}" is a word of {each}' for each in _keys(options, width))
        yield from _passages(text, width, rows=True)
    for name, (kind, prior) in SYSTEMS.items():
        if name.lower() == small:
            said = f'kind = "{kind}" in [dynamics], with kind = "{prior}" in [prior]: circuitlsc init --system {name}'
            yield f"{name} (a system of the paper)\n{_wrapped(said, width)}"
    if does := _commands().get(text):
        yield f"circuitlsc {text} (a command; -h says its options)\n{_wrapped(does, width)}"
    if text in _classes():
        yield f"{text}\n{_wrapped(_first(getattr(errors, text).__doc__), width)}"
    for term, meaning in TERMS.items():
        if term.lower() == small:
            yield f"{term} (in reports)\n{_wrapped(meaning, width)}"
    codes = small.removeprefix("exit code ").removeprefix("exit ")
    for section in titled([EXIT] if codes in ("0", "1", "2", "3", "4", "130") else [text]):
        if section.page != KEYS:
            yield f"{section.title} ({section.page})\n\n{section.as_text(width)}"


def _passages(text: str, width: int, *, rows: bool = False) -> Iterator[str]:
    """Yield what stands on a word in the docs, or its rows of tables alone."""
    from circuitlsc.io.docs import as_text, passages_on

    for section, passage in passages_on(text):
        if passage.startswith("|") or not rows:
            yield f"in the docs ({section.place})\n\n{as_text(passage, width)}"


def _commands() -> dict[str, str]:
    """Return the commands, and what each does."""
    return {str(each.name): _first(each.callback.__doc__) for each in app.registered_commands if each.callback}


def _of_message(text: str, width: int) -> Iterator[str]:
    """Yield what there is about an error message: the keys and tables that it names, and the passage nearest to it."""
    from circuitlsc.config.describe import tables
    from circuitlsc.io.docs import as_text, nearest_passage

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
        yield f"nearest in the docs ({section.place})\n\n{as_text(passage, width)}"


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
        lines += wrapped(f"{of}{key.name}  {key.meta['text']}; default {key.default()}{unit}", width, then=_SPACES)
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
    return "\n".join(wrapped(text, width, _SPACES, _SPACES))
