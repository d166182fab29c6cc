"""What every fuzz target promises: any input loads, or is refused in one line; nothing else happens."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circuitlsc.errors import CircuitLSCError


class BrokenContractError(Exception):
    """An input led to something else than a result or a message of one line."""


def holds(make: Callable[[], Any]) -> Any:
    """Call a reader; return what it made, or None if it refused; any other exception is a finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would reach the user's terminal
        try:
            return make()
        except CircuitLSCError as error:
            text = str(error)
            if not text or "\n" in text or len(text) > 5000:
                raise BrokenContractError(f"the message is not one line of a few words: {text[:300]!r}") from error
            return None


def put(path: Path, data: bytes) -> Path:
    """Write an input to a file."""
    path.write_bytes(data)
    return path
