"""The pages of docs/ as an install has them: their sections, and a section as text for a terminal."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from circuitlsc.io.wrapped import wrapped

KEYS = "config.md"  # the page of what is declared, which is better asked for what it declares
FIRST = "start.md"  # the page for a first look
_HEADING = re.compile(r"^(#+) (.*)$")
_FENCE = "```"
_TABLE = re.compile(r"^\|(.*)\|\s*$")
_CELLS = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]*)\)")
_WORD = re.compile(r"[a-z][a-z_-]{3,}")
_INDENT = 4
ENOUGH = 10.0  # nats of rare words in common, from which a passage is about a message


@dataclass(frozen=True)
class Section:
    """What stands below a heading, up to the next one.

    Attributes
    ----------
    page : str
        The file, such as ``"method.md"``.
    title : str
    text : str
        Markdown.
    """

    page: str
    title: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}: {self.title}"

    def as_text(self, width: int) -> str:
        """Return it for a terminal, as `as_text` does."""
        return as_text(self.text, width)


def folder() -> Path:
    """Return the folder of the pages: in the package, or beside it in a checkout."""
    package = Path(str(files("circuitlsc")))
    return next((path for path in (package / "docs", package.parent / "docs") if path.is_dir()), package / "docs")


@cache
def sections() -> tuple[Section, ...]:
    """Return the sections of all pages, in order; none where an install has no pages."""
    found: list[Section] = []
    for path in sorted(folder().glob("*.md")):
        title, code = "", False
        lines: list[str] = []
        for line in path.read_text("utf-8").splitlines():
            code ^= line.startswith(_FENCE)
            if not code and (heading := _HEADING.match(line)):
                found.append(Section(path.name, title, "\n".join(lines)))
                title, lines = _inline(heading[2]), []
            else:
                lines.append(line)
        found.append(Section(path.name, title, "\n".join(lines)))
    return tuple(section for section in found if section.title)


def nearest_passage(message: str) -> tuple[Section, str] | None:
    """Return the paragraph or row of a table that has most rare words in common with a message, and its section."""
    passages = _passages()
    seen = Counter(word for _, _, words in passages for word in words)
    weight = {word: math.log(len(passages) / seen[word]) for word in _stems(message) if word in seen}

    def shared(words: frozenset[str]) -> list[float]:
        return [weight[word] for word in weight.keys() & words]

    best = max(passages, key=lambda each: sum(shared(each[2])) / (10 + len(each[2])) ** 0.5, default=None)
    if best is None or len(found := shared(best[2])) < 2 or sum(found) < ENOUGH:
        return None
    return best[:2]


def passages_on(word: str) -> list[tuple[Section, str]]:
    """Return the rows of tables that begin with a word; if there are none, the shortest paragraph that has it."""
    rows = re.compile(rf"^\|\s*`?{re.escape(word)}`?\s*\|", re.MULTILINE | re.IGNORECASE)
    found = [(section, text) for section, text, _ in _passages() if rows.search(text)]
    if found:
        return found
    anywhere = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)
    having = [(section, text) for section, text, _ in _passages() if anywhere.search(text) and not text.startswith("|")]
    return sorted(having, key=lambda each: (each[0].page != FIRST, len(each[1])))[:1]


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of a text's longer words: "crashes" and "crashed" are one."""
    return frozenset(word[:6] for word in _WORD.findall(text.lower()))


@cache
def _passages() -> tuple[tuple[Section, str, frozenset[str]], ...]:
    """Return paragraphs and rows of tables, with their section and their words."""
    found = []
    for section in sections():
        if section.page == KEYS:
            continue
        for block in re.split(r"\n\s*\n", section.text):
            head, rows = (block.splitlines()[:2], block.splitlines()[2:]) if block.startswith("|") else ([], [block])
            for row in filter(str.strip, rows):
                found.append((section, "\n".join([*head, row]), _stems(row)))
    return tuple(found)


def as_text(text: str, width: int) -> str:
    """Return Markdown for a terminal of a width: links as their texts, tables row by row, code as it is."""
    return "\n".join(_lines(text, width)).strip("\n")


def _lines(text: str, width: int) -> Iterator[str]:
    waiting: list[str] = []  # lines of a paragraph
    head: list[str] = []  # titles of a table
    code = False
    for line in [*text.splitlines(), ""]:
        fence = line.startswith(_FENCE)
        row = None if code else _TABLE.match(line)
        item = re.match(r"\s*(?:-|\d+\.) ", line)
        if waiting and (fence or code or row or item or not line.strip() or line.startswith(" " * _INDENT)):
            yield from _paragraph(waiting, width)
            waiting = []
        if fence:
            code = not code
        elif code:
            yield " " * _INDENT + line
        elif row:
            cells = [_inline(cell.strip().replace("\\|", "|")) for cell in _CELLS.split(row[1])]
            if not head:
                head = cells
            elif not all(set(cell) <= set("-: ") for cell in cells):
                yield from _row(head, cells, width)
        elif not line.strip():
            head = []
            yield ""
        elif not waiting and not item and line.startswith(" " * _INDENT):
            yield line
        else:
            waiting.append(line)


def _paragraph(lines: list[str], width: int) -> list[str]:
    text = _inline(" ".join(line.strip() for line in lines))
    hang = "  " if lines[0].lstrip().startswith("- ") else ""
    return wrapped(text, width, "", hang)


def _row(head: list[str], cells: list[str], width: int) -> Iterator[str]:
    """Yield a row of a table: its first cell, and the others below, each after its title."""
    yield from wrapped(cells[0], width)
    for title, cell in zip(head[1:], cells[1:], strict=False):
        said = f"{title}: {cell}" if title and len(head) > 2 else cell
        if cell:
            yield from wrapped(said, width, " " * _INDENT, " " * (_INDENT + 2))


def _inline(text: str) -> str:
    """Return text without marks: a link is its words."""
    return _LINK.sub(r"\1", text).replace("**", "").replace("`", "")


def titled(words: Iterable[str]) -> list[Section]:
    """Return the sections that have one of these titles, whatever the case."""
    wanted = {word.lower() for word in words}
    return [section for section in sections() if section.title.lower() in wanted]
