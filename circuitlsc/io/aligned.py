"""Tables for people: columns that are aligned, in plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_PLACE = re.compile(r"([<>])\+?(\d+)")


def aligned(columns: Mapping[str, str], rows: Iterable[Sequence[float | str | None]]) -> list[str]:
    """Return a line of titles, and one for each row.

    Parameters
    ----------
    columns : mapping from str to str
        Titles, and the format of the numbers below, such as ``">9.3f"``. A text, and "-" for None, takes its alignment and
        width alone. A column of format "" is text that follows after three blanks.
    rows : iterable of sequence
        A value for each column.
    """
    cells = ([_cell(*both) for both in zip(row, columns.values(), strict=True)] for row in ([*columns], *rows))
    return [" ".join(line).rstrip() for line in cells]


def _cell(value: float | str | None, form: str) -> str:
    if not form:
        return f"  {value}"
    if value is None or isinstance(value, str):
        form = _PLACE.sub(r"\1\2", form).partition(".")[0]
    return format("-" if value is None else value, form)
