"""Text that goes on in another line where it finds no room; words stay whole."""

from __future__ import annotations

import textwrap


def wrapped(text: str, width: int, first: str = "", then: str = "") -> list[str]:
    """Return a text as lines of at most a width, the first one and those that follow after blanks of their own."""
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
