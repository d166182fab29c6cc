"""The known word that a mistyped one is closest to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: object, options: Iterable[str]) -> str:
    """Return `` Did you mean ...?`` if an option is close to a word, else nothing."""
    options = list(options)
    found = [option for option in options if option.lower() == str(word).lower()]
    found = found or difflib.get_close_matches(str(word), options, n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
