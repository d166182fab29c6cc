"""Write the pages of the site that come from the code: commands, cells, terms, the gallery, and what was measured.

usage: site_pages.py     (into docs/generated, which is not kept)
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import typer

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.cli.main import app
from circuitlsc.reporting.terms import TERMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "generated"
GALLERY = ROOT / "docs" / "gallery"
MEASURED = ("RESULTS", "THROUGHPUT", "LEARNING", "VARIATIONAL", "AMORTISED")
WIDTH = 100  # characters of a help text


def commands() -> str:
    """Return the page of all commands: what ``--help`` says of each."""
    group = typer.main.get_command(app)
    parts = ["# Commands\n\nWhat `circuitlsc COMMAND --help` prints.\n"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)
        context.info_name = f"circuitlsc {name}"
        parts.append(f"## {name}\n\n{fenced(command.get_help(context))}")
    return "\n".join(parts)


def glossary() -> str:
    """Return the page of the terms that reports use."""
    terms = (f"`{term}`\n: {meaning}\n" for term, meaning in sorted(TERMS.items(), key=lambda pair: pair[0].lower()))
    return "\n".join(
        ["# Terms of reports\n\nWhat pages show below their tables, and `circuitlsc explain TERM` prints.\n", *terms]
    )


def netlists() -> ModuleType:
    """Return the script that writes the golden decks: it has a circuit of every kind."""
    spec = importlib.util.spec_from_file_location("regenerate", ROOT / "netlists" / "regenerate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def definitions(deck: str) -> dict[str, str]:
    """Return the subcircuits of a deck by name."""
    found = re.findall(r"^(\.subckt (\S+).*?^\.ends[^\n]*)$", deck, re.MULTILINE | re.DOTALL)
    return {name: text for text, name in found}


def of_cells() -> dict[type[Cell], tuple[str, str]]:
    """Return for each kind of cell a subcircuit that it makes, and the deck of ``netlists/`` that has it."""
    decks, found = netlists(), dict[type[Cell], tuple[str, str]]()
    for name in (*decks.DECKS, *decks.LEARNERS):
        deck = definitions((ROOT / "netlists" / f"{name}.cir").read_text(encoding="utf-8"))
        made = decks.learner(name) if name in decks.LEARNERS else decks.sampler(name)
        for cell in made.graph.cells:
            text = deck.get(cell.definition or f"lsc_{cell.name}")
            if text:
                found.setdefault(type(cell), (text, name))
    return found


def all_cells() -> Iterator[tuple[str, list[type[Cell]]]]:
    """Yield the file of cells, and the kinds of cells in it."""
    kinds = [
        kind for _, kind in inspect.getmembers(cells, inspect.isclass) if issubclass(kind, Cell) and kind is not Cell
    ]
    for module in sorted({kind.__module__ for kind in kinds}):
        yield module, sorted((k for k in kinds if k.__module__ == module), key=lambda k: inspect.getsourcelines(k)[1])


def page_of_cells() -> str:
    """Return the page of the cells of the ideal and the device level: equation and netlist."""
    netlist = of_cells()
    parts = [
        "# Cells\n\nA cell is one file of `circuitlsc/circuit/cells/`: its equation, its NumPy form (`respond`) and its "
        "subcircuit. Netlists are those of the decks in `netlists/`; parameters stand at their head.\n"
    ]
    for module, kinds in all_cells():
        parts.append(
            f"## {module.rpartition('.')[2].replace('_', ' ').capitalize()}\n\n`{module.replace('.', '/')}.py`\n"
        )
        for kind in kinds:
            parts.append(
                f"### {kind.__name__}\n\n"
                + directive(f".. autoclass:: {kind.__module__}.{kind.__name__}\n   :no-index:")
            )
            if kind in netlist:
                text, deck = netlist[kind]
                parts.append(f"In `netlists/{deck}.cir`:\n\n{fenced(text, 'text')}")
    return "\n".join(parts)


def page_of_transistor_cells() -> str:
    """Return the page of the cells of the transistor level: every subcircuit of the decks in transistors."""
    parts = [
        "# Netlists of the cells in transistors\n\nEvery subcircuit of the two decks in transistors; "
        "what they do and why: [cells of transistors](../transistor-cells.md).\n"
    ]
    seen: set[str] = set()
    for name in netlists().TRANSISTORS:
        for cell, text in definitions((ROOT / "netlists" / f"{name}.cir").read_text(encoding="utf-8")).items():
            if cell not in seen:
                seen.add(cell)
                said = re.search(r"^\* (.*)$", text, re.MULTILINE)
                parts.append(f"## {cell}\n\n{said[1] if said else ''}\n\n{fenced(text, 'text')}")
    return "\n".join(parts)


def gallery() -> str:
    """Return the page of pictures, each with the lines that make it."""
    parts = [
        "# Gallery\n\nEvery picture with the lines that make it: copy them, or run `python docs/gallery/NAME.py`, which writes "
        "`NAME.png` into the folder it is run in. A nightly test runs all of them.\n"
    ]
    for path in sorted(GALLERY.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(source)) or ""
        title, _, text = said.partition("\n")
        code = source.split('"""', 2)[2].strip()
        picture = f"![{title}](../gallery/{path.stem}.png)"
        parts.append(f"## {title.rstrip('.')}\n\n{text.strip()}\n\n{picture}\n\n{fenced(code, 'python')}")
    return "\n".join(parts)


def changelog() -> str:
    """Return the changelog, with links as they are from here."""
    return (
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](../").replace("](benchmarks/", "](")
    )


def fenced(text: str, kind: str = "text") -> str:
    """Return a block of code."""
    return f"```{kind}\n{text.rstrip()}\n```\n"


def directive(text: str) -> str:
    """Return what Sphinx reads as reStructuredText, as docstrings are."""
    return f"```{{eval-rst}}\n{text}\n```\n"


def pages() -> Iterable[tuple[str, str]]:
    """Yield the name of each page with its text."""
    yield "commands", commands()
    yield "terms", glossary()
    yield "cells", page_of_cells()
    yield "transistor-netlists", page_of_transistor_cells()
    yield "gallery", gallery()
    yield "changelog", changelog()
    for name in MEASURED:
        yield name, (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8").replace("](../docs/", "](../")


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for name, text in pages():
        (PAGES / f"{name}.md").write_text(text, encoding="utf-8")
