"""Write the pages of the site that come from the code: commands, cells, terms, the gallery, and what was measured.

usage: site_pages.py     (into docs/generated, which is not kept)
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import typer
from cell_pictures import cell_figure

from circuitlsc import Dynamics, Sampler, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.cli.main import app
from circuitlsc.drawing.sheet import save
from circuitlsc.learning import CircuitLearner
from circuitlsc.reporting.terms import TERMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "generated"
GALLERY = ROOT / "docs" / "gallery"
MEASURED = ("RESULTS", "THROUGHPUT", "LEARNING", "VARIATIONAL", "AMORTISED", "COMPILED")
IMPERFECT = "bars2x2-imperfect"  # the deck with one of everything that can be wrong
WIDTH = 100  # characters of a help text
LINE = 56  # and of a netlist beside its picture


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


def golden(name: str) -> dict[str, str]:
    """Return the subcircuits of a deck of ``netlists/`` by name."""
    return definitions((ROOT / "netlists" / f"{name}.cir").read_text(encoding="utf-8"))


def rare(decks: ModuleType) -> Iterator[Sampler]:
    """Yield circuits with the cells that no deck of ``netlists/`` has."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    rows = np.stack([model.draw(seed)[1] for seed in range(3)])
    memory = Dynamics(kind="amortised", noise="weight")
    yield build_sampler(model, rows, hold=2.0, dynamics=memory)
    memory = Dynamics(kind="amortised", noise="weight", features="relu:6", write="same")
    yield build_sampler(model, rows, hold=2.0, dynamics=memory, level="device")
    given = {"encoder": decks.encoder(model), "source": "product"}
    yield build_sampler(model, rows[0], dynamics=Dynamics(kind="variational"), level="device", **given)


def of_cells() -> dict[type[Cell], tuple[str, str]]:
    """Return for each kind of cell a subcircuit that it makes, and where that is from."""
    decks, found = netlists(), dict[type[Cell], tuple[str, str]]()

    def keep(made: Sampler | CircuitLearner, texts: dict[str, str], source: str) -> None:
        for cell in made.graph.cells:
            if text := texts.get(cell.definition or f"lsc_{cell.name}"):
                found.setdefault(type(cell), (text, source))

    names = (*decks.DECKS, *decks.LEARNERS)
    for name in sorted(names, key=lambda name: name == IMPERFECT):  # what is as it should be is easier to see
        made = decks.learner(name) if name in decks.LEARNERS else decks.sampler(name)
        keep(made, golden(name), f"In `netlists/{name}.cir`:")
    for kind in (cells.DeviceIntegrator, cells.DeviceGate):  # but for those whose errors are parts of their own
        found[kind] = golden(IMPERFECT)[kind.definition], f"With all that can be wrong, in `netlists/{IMPERFECT}.cir`:"
    for made in rare(decks):
        keep(made, definitions(made.deck(t_stop=2.0, warmup=1.0)), f"At {made.level} level, `{made.dynamics}`:")
    for cell in (cells.Feedback("feedback", 1), cells.Held("held", 1)):
        (text,) = definitions(str(cell.subcircuits(made.scaling)[0])).values()
        found[type(cell)] = (text, "In chains that the engine feeds; no deck has it:")
    return found


def all_cells() -> Iterator[tuple[str, list[type[Cell]]]]:
    """Yield the file of cells, and the kinds of cells in it."""
    kinds = [
        kind for _, kind in inspect.getmembers(cells, inspect.isclass) if issubclass(kind, Cell) and kind is not Cell
    ]
    for module in sorted({kind.__module__ for kind in kinds}):
        yield module, sorted((k for k in kinds if k.__module__ == module), key=lambda k: inspect.getsourcelines(k)[1])


def page_of_cells() -> str:
    """Return the page of the cells of the ideal and the device level, and draw their pictures."""
    netlist = of_cells()
    (PAGES / "cells").mkdir(parents=True, exist_ok=True)
    parts = [
        "# Cells\n\nA cell is one class of `circuitlsc/circuit/cells/`: its equation, its NumPy form (`respond`) and its "
        "subcircuit. Pictures are drawn from the netlist that stands beside them, with its values; tables are shown as "
        "curves, and cut in the text (`...`), which the decks of `netlists/` have in full. Values are those of one deck: "
        "`circuitlsc build` writes yours.\n"
    ]
    for module, kinds in all_cells():
        said = inspect.getdoc(importlib.import_module(module)) or ""
        parts.append(
            f"## {module.rpartition('.')[2].replace('_', ' ').capitalize()}\n\n`{module.replace('.', '/')}.py`\n"
        )
        parts.append(directive(said))
        for kind in kinds:
            about = directive(f".. autoclass:: {kind.__module__}.{kind.__name__}\n   :no-index:")
            parts.append(f"### {kind.__name__}\n\n{about}")
            if kind in netlist:
                text, source = netlist[kind]
                parts.append(f"{source}\n\n{beside(kind.__name__, text)}")
            else:
                heirs = [f"`{other.__name__}`" for other in netlist if issubclass(other, kind)]
                parts.append(f"What {', '.join(sorted(heirs))} have in common.\n")
        if module == cells.Buffer.__module__:
            text = golden(IMPERFECT)["lsc_op_amp"]
            parts.append(f"### The op-amp itself\n\nWith all that can be wrong, in `netlists/{IMPERFECT}.cir`:\n")
            parts.append(beside("lsc_op_amp", text))
    return "\n".join(parts)


def beside(name: str, text: str) -> str:
    """Draw a subcircuit, and return the block with the picture and the text."""
    save("cells", partial(cell_figure, text), PAGES / "cells" / f"{name}.svg")
    return f"````{{container}} beside\n![{name}: schematic](cells/{name}.svg)\n\n{fenced(cut(text))}````\n"


def cut(text: str) -> str:
    """Return a subcircuit with the beginnings of its tables."""
    lines = text.replace("\n+", " ").splitlines()
    short = [re.sub(r"((?:,\s*[-+.\de]+){4})(?:,\s*[-+.\de]+){5,}", r"\1, ...", line) for line in lines]
    return "\n".join(textwrap.fill(line, LINE, subsequent_indent="+ ", break_long_words=False) for line in short)


def sections(title: str, about: str, found: Iterable[tuple[str, str, str]]) -> str:
    """Return a page of sections: of each its heading, and what stands below it."""
    parts = (f"## {heading}\n\n{said}\n\n{shown}" for heading, said, shown in found)
    return "\n".join([f"# {title}\n\n{about}\n", *parts])


def page_of_transistor_cells() -> str:
    """Return the page of the cells of the transistor level: every subcircuit of the decks in transistors."""
    found = {cell: text for name in netlists().TRANSISTORS for cell, text in golden(name).items()}
    said = {cell: re.search(r"^\* (.*)$", text, re.MULTILINE) for cell, text in found.items()}
    return sections(
        "Netlists of the cells in transistors",
        "Every subcircuit of the two decks in transistors; what they do and why: "
        "[cells of transistors](../transistor-cells.md).",
        ((cell, comment[1] if comment else "", fenced(found[cell])) for cell, comment in said.items()),
    )


def pictures() -> Iterator[tuple[str, str, str]]:
    """Yield the pictures of the gallery: title, what is to be seen, and the picture with its lines."""
    for path in sorted(GALLERY.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        title, _, text = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
        code = source.split('"""', 2)[2].strip()
        yield title.rstrip("."), text.strip(), f"![{title}](../gallery/{path.stem}.png)\n\n{fenced(code, 'python')}"


def gallery() -> str:
    """Return the page of pictures, each with the lines that make it."""
    return sections(
        "Gallery",
        "Every picture with the lines that make it: copy them, or run `python docs/gallery/NAME.py`, which writes "
        "`NAME.png` into the folder it is run in. A nightly test runs all of them.",
        pictures(),
    )


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
