"""Where what can be computed again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return ``$XDG_CACHE_HOME/circuitlsc/name``, or ``~/.cache/circuitlsc/name``; any file there may be removed.

    A relative path is none: workers have folders of their own.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "circuitlsc" / name
