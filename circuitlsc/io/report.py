"""What a report is made of: tables, labelled lines and notes, with a verdict; as text for a terminal, as HTML for a page.

A report is data. What makes one says what stands in it, and not how it is shown: a terminal is as wide as it is, a page sorts
its tables, and a file keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any, TypeAlias

from circuitlsc.io.markup import render
from circuitlsc.io.wrapped import wrapped

Value: TypeAlias = float | str | None

LABEL = 15  # characters of a line's label, with its blanks
_PLACE = re.compile(r"([<>])\+?(\d+)")
_FORM = re.compile(r"([<>]\+?\d{1,2}(\.\d[efg])?)?")  # of a file
LARGEST = 1e308  # of numbers in a file


@dataclass(frozen=True)
class Column:
    """A column: its title, the format of its numbers, such as ``">9.3f"``, and the group that it stands in.

    A text, and "-" for None, takes the format's alignment and width alone. A column of format "" is text that follows after
    three blanks.
    """

    title: str
    form: str
    group: str = ""

    def cell(self, value: Value, *, padded: bool = True) -> str:
        """Return a value as it is shown, as wide as the column or as it is."""
        form, shown = self.form, "-" if value is None else value
        if isinstance(shown, str) or not form:
            form = _PLACE.sub(r"\1\2", form).partition(".")[0]
        text = format(shown, form) if form else f"  {shown}"
        return text if padded else text.strip()

    def lines(self, values: Sequence[Value]) -> list[str]:
        """Return title and cells, all as wide as the widest."""
        cells = [self.cell(value) for value in (self.title, *values)]
        width = max(map(len, cells))
        return [f"{cell:{'>' if self.numeric else '<'}{width}}" for cell in cells]

    @property
    def numeric(self) -> bool:
        """Whether its cells are aligned to the right."""
        return self.form.startswith(">")


@dataclass(frozen=True)
class Table:
    """Rows of values under columns; the first column says what a row is about.

    Attributes
    ----------
    columns : tuple of Column
    rows : tuple of tuple
        A number, a text or None for each column.
    title : str
        A line above.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    title: str = ""

    @classmethod
    def of(cls, columns: Mapping[str, str], rows: Iterable[Sequence[Value]], title: str = "") -> Table:
        """Return a table of columns whose titles and formats are given, as for `Column`."""
        return cls(tuple(Column(*each) for each in columns.items()), tuple(map(_plain, rows)), title)

    @classmethod
    def grouped(
        cls,
        first: str,
        keys: Sequence[Value],
        groups: Mapping[str, tuple[Mapping[str, str], Sequence[Sequence[Value]]]],
        title: str = "",
    ) -> Table:
        """Return a table whose columns stand in groups, each with columns and rows of its own.

        Parameters
        ----------
        first : str
            Title of the first column.
        keys : sequence
            Its values.
        groups : mapping from str to pair
            Titles, and the columns and the rows of each group.
        title : str
        """
        columns = [Column(first, ">6")]
        columns += [Column(*each, name) for name, (titles, _) in groups.items() for each in titles.items()]
        parts = ([(key,) for key in keys], *(rows for _, rows in groups.values()))
        return cls(
            tuple(columns),
            tuple(_plain(v for part in row for v in part) for row in zip(*parts, strict=True)),
            title,
        )

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Titles of groups with the number of their columns, in order."""
        return [(name, len([*each])) for name, each in groupby(column.group for column in self.columns)]

    def upright(self, most: int) -> list[Table]:
        """Return the same with a column for each row, at most so many in a table, and a row for each column: for paper."""
        first, *others = self.columns
        tables = []
        for start in range(0, len(self.rows), most):
            some = self.rows[start : start + most]
            columns = (Column(first.title, "<8"), *(Column(first.cell(row[0], padded=False), ">8") for row in some))
            cells = ((c.title, *(c.cell(row[k], padded=False) for row in some)) for k, c in enumerate(others, 1))
            tables.append(Table(columns, tuple(cells), self.title))
        return tables

    def text(self, width: int | None = None) -> list[str]:
        """Return lines no longer than a width: columns, or groups of them, that find no room stand below, under their keys."""
        key, *waiting = self._blocks(width)
        parts: list[list[str]] = []
        while waiting or not parts:
            shown = [key, *waiting[:1]]
            del waiting[:1]
            while waiting and (width is None or _width([*shown, waiting[0]]) <= width):
                shown.append(waiting.pop(0))
            part = _joined(shown)
            parts.append(part if part[0] else part[1:])  # without a line for groups if there are none
        lines = [line for part in parts for line in ("", *part)]
        return [self.title, *lines[1:]] if self.title else lines[1:]

    def _blocks(self, width: int | None) -> Iterator[list[str]]:
        """Yield the lines of the first column, and of each group, as far as it finds room, or column that is in none."""
        cells = [column.lines([row[n] for row in self.rows]) for n, column in enumerate(self.columns)]
        titles = [column.group for column in self.columns]

        def fits(start: int, stop: int) -> bool:
            return width is None or sum(len(each[0]) + 1 for each in (cells[0], *cells[start:stop])) <= width + 1

        start = 0
        while start < len(cells):
            stop = start + 1
            while start and any(titles) and titles[start] in titles[stop : stop + 1] and fits(start, stop + 1):
                stop += 1
            head, *lines = map(" ".join, zip(*cells[start:stop], strict=True))
            if any(titles):
                head = head if start else f"{self.columns[0].title:<{len(head)}}"
                yield [f"{titles[start]:^{len(head)}}", head, *lines]
            else:
                yield [head, *lines]
            start = stop


def p_text(p: float) -> str:
    """Return a p value as it stands after the letter: "= 0.02", or "< 1e-300" where a double has no room for it."""
    return "< 1e-300" if p < 1e-300 else f"= {p:.2g}"


def _plain(row: Iterable[Any]) -> tuple[Value, ...]:
    """Return a row of Python's own numbers and texts: NumPy's go into no file."""
    return tuple(value.item() if hasattr(value, "item") else value for value in row)


def _width(blocks: Sequence[Sequence[str]]) -> int:
    return max(map(len, _joined(blocks)))


def _joined(blocks: Sequence[Sequence[str]]) -> list[str]:
    """Return blocks of lines beside each other, with a bar between groups of columns."""
    bar = " | " if len(blocks[0]) > 1 and not blocks[0][0].strip() else " "
    return [f"{line[0]} {bar.join(line[1:])}".rstrip() for line in zip(*blocks, strict=True)]


@dataclass(frozen=True)
class Facts:
    """Labelled lines: a label says what the text is about."""

    rows: tuple[tuple[str, str], ...]

    def text(self, width: int | None = None) -> list[str]:
        """Return the lines, the texts one below the other; those that find no room go on below."""
        lines = []
        for label, said in self.rows:
            for n, part in enumerate(said.splitlines() or [""]):
                lines += _wrapped(part, width, f"{'' if n else label:<{LABEL}}", " " * LABEL)
        return lines


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    said: str

    def text(self, width: int | None = None) -> list[str]:
        """Return its lines."""
        return [line for part in self.said.splitlines() for line in _wrapped(part, width)]


def _wrapped(text: str, width: int | None, first: str = "", then: str = "") -> list[str]:
    if width is None or len(first) + len(text) <= width:
        return [(first + text).rstrip()]
    return wrapped(text, max(width, 2 * LABEL), first, then)


Block: TypeAlias = Table | Facts | Note
_KINDS = {Table: "table", Facts: "facts", Note: "note"}


@dataclass(frozen=True)
class Report:
    """What was found, in blocks, and what follows from it.

    Attributes
    ----------
    blocks : tuple of Table, Facts or Note
    verdict : str
        ``agrees``, ``disagrees`` or ``inconclusive``; empty where nothing is judged.
    reason : str
        A sentence or two; of what is not judged, what was found.
    summary : mapping from str to number, str or None
        Numbers that stand beside those of other reports, by their titles.
    """

    blocks: tuple[Block, ...]
    verdict: str = ""
    reason: str = ""
    summary: Mapping[str, Value] = field(default_factory=dict)

    def __add__(self, other: Report) -> Report:
        """Return this report with the blocks and the summary of another one below."""
        return replace(self, blocks=self.blocks + other.blocks, summary={**self.summary, **other.summary})

    def text(self, width: int | None = None) -> str:
        """Return the report for a terminal: blocks, then the verdict; no line is longer than a width, if words allow it."""
        lines: list[str] = []
        blocks = list(self.blocks)
        if self.verdict:
            above = blocks.pop() if blocks and isinstance(blocks[-1], Facts) else Facts(())
            assert isinstance(above, Facts)
            blocks.append(Facts((*above.rows, ("verdict", f"{self.verdict}: {self.reason}"))))
        for n, block in enumerate(blocks):
            if n and (isinstance(block, Table) or isinstance(blocks[n - 1], Table)):
                lines.append("")
            lines += block.text(width)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return render("report.html.jinja", title="", report=self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for a file."""
        blocks = [{"kind": _KINDS[type(block)], **asdict(block)} for block in self.blocks]
        return {"verdict": self.verdict, "reason": self.reason, "summary": dict(self.summary), "blocks": blocks}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Return the report that `to_dict` gave; ValueError, TypeError or KeyError of what is none."""
        return cls(
            tuple(map(_block, data["blocks"])), str(data["verdict"]), str(data["reason"]), _values(data["summary"])
        )


def _block(data: Mapping[str, Any]) -> Block:
    if data["kind"] == "note":
        return Note(str(data["said"]))
    if data["kind"] == "facts":
        return Facts(tuple((str(label), str(said)) for label, said in data["rows"]))
    columns = tuple(Column(*(str(each[name]) for name in ("title", "form", "group"))) for each in data["columns"])
    rows = tuple(tuple(map(_value, row)) for row in data["rows"])
    formats = all(_FORM.fullmatch(column.form) for column in columns)
    if data["kind"] != "table" or not columns or not formats or any(len(row) != len(columns) for row in rows):
        raise ValueError("no table")
    return Table(columns, rows, str(data["title"]))


def _values(data: Mapping[str, Any]) -> dict[str, Value]:
    return {str(name): _value(value) for name, value in data.items()}


def _value(value: Any) -> Value:
    if isinstance(value, (int, float)) and not -LARGEST < value < LARGEST:
        raise ValueError("no finite number")
    if not (value is None or isinstance(value, (int, float, str))):
        raise TypeError("no value of a table")
    return value
