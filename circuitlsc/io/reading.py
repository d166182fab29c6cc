"""What is said when a file of what was learned cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from circuitlsc.errors import InputError
from circuitlsc.io.npy import PickledError, UnusableError
from circuitlsc.io.safe_open import reason

_DAMAGED = (UnusableError, PickledError, InputError, LookupError, ValueError, TypeError, OverflowError, RecursionError)


@contextmanager
def reading(name: str, what: str, advice: str = "", *, why: str | None = None) -> Iterator[None]:
    """Raise InputError in place of what goes wrong in reading a file: it is missing, or cannot be read, or is not ``what``."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{name} does not exist. Learn first, or give another path.") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read ({reason(error)}).") from None
    except _DAMAGED as error:
        if isinstance(error, PickledError):
            why = "it is pickled, and could run code"
        elif isinstance(error, KeyError):
            why = why or f"{error} is missing"
        raise InputError(f"{name} is not {what} ({why or ' '.join(str(error).split()).rstrip('.')}).{advice}") from None
