"""Tables of numbers in text files as programs and people write them: separators, decimal commas, headers, row names.

What the first lines say decides, by rules that never guess between two readings:

- ``;`` separates if there is one, else a tab, else a comma, else blanks (in a .tsv file: a tab). Where a comma does not
  separate, and within quotes, it is the decimal comma. ``#`` begins a comment.
- A first line of words is a header. A first column without a name in the header, or called ``index``, and one of words are the
  rows' names. Neither is a number of the table.
- What could be both is refused: a first line 0, 1, 2, ... or a first column that counts the rows of other numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from itertools import accumulate, islice
from typing import NamedTuple

import numpy as np

from circuitlsc.io.arrays import Array

_LOOKED_AT = 20  # lines that say how a file is written
_LONGEST = 2**22  # characters of them: a field takes more memory than its characters
_DIGITS = {".": r"(?:\d+\.?\d*|\.\d+)", ",": r"(?:\d+(?:,\d*)?)"}
_NUMBER = {
    mark: re.compile(rf"\s*[+-]?(?:{digits}(?:e[+-]?\d+)?|nan|inf|infinity)\s*", re.I)
    for mark, digits in _DIGITS.items()
}
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*")
_LEADING_ZERO = re.compile(r"(?:^|,)\s*[+-]?0\d+\s*(?=,|$)")
_SEPARATOR = re.compile(r"sep=(.)")  # a first line of Excel's
_INDEX = ("", "index", "unnamed: 0")

Line = tuple[int, str]  # its number, and its text


class TableError(Exception):
    """The text is no table of numbers; the message says why without a word of what stands there."""


class _Form(NamedTuple):
    """How a file is written: separator (None: blanks), decimal mark, first line of numbers, fields, and which are none."""

    separator: str | None
    mark: str
    first: int
    width: int
    named: bool  # the first field of a line is its name
    trailing: bool  # one more, which is empty, ends a line


def read_table(text: str, *, suffix: str, matrix: bool) -> Array:
    """Return the numbers of a text file.

    Parameters
    ----------
    text : str
    suffix : str
        Of the file's name.
    matrix : bool
        Keep one row or one column a row or a column; else it is a vector.

    Raises
    ------
    TableError
        If it is no table of numbers, or could be read in two ways.
    """
    seen = list(islice(_lines(text), _LOOKED_AT))
    separator = None
    if seen and (named := _SEPARATOR.fullmatch(seen[0][1])):
        separator = named[1]
        del seen[0]
    if not seen:
        return np.empty(0)
    form = _form(seen, separator or _separator(seen, suffix), matrix)
    array = np.fromiter(_numbers(text, form), dtype=float).reshape(-1, form.width - form.named)
    return array.ravel() if not matrix and 1 in array.shape else array


def _lines(text: str, first: int = 1) -> Iterator[Line]:
    """Yield the lines from a number on that say something; no list of them, which takes more memory than the file."""
    for number, line in enumerate(StringIO(text, newline=None), 1):
        if number >= first and (said := line.partition("#")[0].strip(" \n")).strip():
            yield number, said


def _numbers(text: str, form: _Form) -> Iterator[float]:
    """Yield the numbers of the table, line by line; TableError says where it goes wrong, without what stands there."""
    for number, line in _lines(text, form.first):
        if form.separator == "," and form.mark == "." and _LEADING_ZERO.search(line):
            raise TableError(
                f"line {number} has a whole number that begins with 0, as if a comma were both decimal mark and separator"
            )
        fields = _fields((number, line), form.separator)
        if form.trailing and fields[-1] == "":
            fields.pop()
        for k, field in enumerate(fields[form.named :], 1 + form.named):
            if form.mark == "," and "." in field:
                raise TableError(f"line {number} has a point, and others have decimal commas")
            if not _is_number(field, form.mark):
                raise TableError(f"line {number}, column {k} is {'not a number' if field else 'empty'}")
        if len(fields) != form.width:
            raise TableError(f"line {number} has {len(fields)} numbers, and those before it have {form.width}")
        yield from (float(field.replace(",", ".")) for field in fields[form.named :])


def _separator(lines: list[Line], suffix: str) -> str | None:
    text = "\n".join(line for _, line in lines)
    if suffix == ".tsv":
        return "\t"
    found = next((mark for mark in ";\t," if mark in text), None)
    if found == ",":
        rows = [line.split() for _, line in lines]
        if max(map(len, rows)) > 1 and all(_is_number(field, ",") for row in rows for field in row):
            return None  # 1,5 2,5: with the comma as separator, these would be no numbers
    return found


def _is_number(field: str, mark: str) -> bool:
    return _NUMBER[mark].fullmatch(field) is not None


def _is_word(field: str) -> bool:
    return field[:1].isalpha() or field[:1] == "_"


def _fields(line: Line, separator: str | None) -> list[str]:
    try:
        text = line[1] if separator else line[1].replace("\t", " ")
        row = next(csv.reader([text], delimiter=separator or " ", skipinitialspace=True))
    except csv.Error:
        raise TableError(f"line {line[0]} is no line of a table") from None
    return [field.strip() for field in row]


def _form(seen: list[Line], separator: str | None, matrix: bool) -> _Form:
    """Return how a file is written, by its first lines."""
    ends = accumulate(len(line) for _, line in seen)
    rows = [_fields(line, separator) for line, end in zip(seen, ends, strict=True) if end <= _LONGEST]
    if len(rows) < min(2, len(seen)):
        raise TableError(f"its lines are longer than {_LONGEST:,} characters")
    header = _has_header(rows)
    if not rows[header:]:
        raise TableError(f"line {seen[0][0]}, column 1 is not a number")
    width = len(rows[header])
    for (number, _), row in zip(seen[header:], rows[header:], strict=False):  # as many as were looked at
        if len(row) != width:
            raise TableError(f"line {number} has {len(row)} numbers, and those before it have {width}")
    named = header and len(rows[0]) >= width and rows[0][-1] != ""  # the last column
    trailing = width > 1 and not named and all(row[-1] == "" for row in rows[header:])
    if trailing:
        width -= 1
        rows = [row[:width] for row in rows]
    names, body = rows[0] if header else None, rows[header:]
    commas = [field for row in body for field in row if "," in field]
    if separator == "," and commas and all(map(_THOUSANDS.fullmatch, commas)):
        raise TableError("it has commas in its numbers, which may be decimal marks or stand between thousands")
    mark = "," if any(_is_number(field, ",") for field in commas) else "."
    index = _has_index(names, body, mark, seen[0][0], matrix)
    if not header:
        _check_first_row([row[index:] for row in body])
    return _Form(separator, mark, seen[header][0], width, index, trailing)


def _has_header(rows: list[list[str]]) -> bool:
    """Return whether a first line names the columns: with words, or, beside a name or nothing, with their numbers."""
    first, body = rows[0], rows[1:]
    numbers = [any(_is_number(field, mark) for mark in _NUMBER) for field in first]
    if not any(numbers):
        return any(_is_word(field) for field in first)  # not of numbers that are misspelt
    if numbers[0] or not body or first[1:] not in _counts(len(first) - 1):
        return False
    if first[0] == "":
        return all(row[0] for row in body)
    return all(_is_number(row[0], mark) for row in body for mark in _NUMBER)


def _counts(n: int) -> list[list[str]]:
    return [[str(start + k) for k in range(n)] for start in (0, 1)]


def _has_index(names: list[str] | None, body: list[list[str]], mark: str, line: int, matrix: bool) -> bool:
    """Return whether a first column names the rows."""
    width = len(body[0])
    first = [row[0] for row in body]
    words = width > 1 and all(_is_word(field) and not _is_number(field, mark) for field in first)
    counts = len(body) > 1 and first in _counts(len(body))
    if names is not None and len(names) != width:
        if len(names) == width - 1 and all(names) and (words or counts):
            return True  # as R writes them
        raise TableError(f"line {line} has {len(names)} names, and there are {width} columns")
    named = names is not None and (names[0].lower() in _INDEX or names[1:] in _counts(width - 1))
    if words or (named and width > 1):
        return True
    others = [field for row in body for field in row[1:]]
    if counts and width > 1 + (not matrix) and all(re.search(r"[.,e]", field, re.I) for field in others):
        raise _unclear("column counts the rows")
    return False


def _check_first_row(body: list[list[str]]) -> None:
    first, others = body[0], [field for row in body[1:] for field in row]
    zero, one = _counts(len(first))
    broken = all(re.search(r"[.,e]", field, re.I) for field in others)
    if len(first) > 1 and others and (first == zero or (first == one and broken)):
        raise _unclear("line numbers the columns")


def _unclear(what: str) -> TableError:
    both = "may be their names or numbers of the table: remove it, or write 0.0 for 0"
    return TableError(f"its first {what}, and {both}")
