"""Tables of a TOML file, read key by key: every message names the file, the key, the value and what would do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitlsc.errors import InputError
from circuitlsc.nonideal import nearest

AUTO = "auto"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, or raise InputError."""
    try:
        text = path.read_bytes().decode("utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Give the path of a config file (see examples/).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Give a TOML file in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    return data


def read_tables(data: Mapping[str, Any], path: Path, known: Mapping[str, tuple[str, ...]]) -> dict[str, ConfigTable]:
    """Return every known table of a file, or raise InputError if one of its tables or keys is not known."""
    for table, values in data.items():
        if table not in known:
            raise InputError(
                f"{path}: [{table}] is not a known table.{nearest(table, tuple(known))} The tables are {', '.join(known)}."
            )
        if not isinstance(values, dict):
            raise InputError(f"{path}: {table} = {values!r} is not a table. Write [{table}] on a line of its own.")
        for key in values:
            if key not in known[table]:
                raise InputError(
                    f"{path}: {table}.{key} = {values[key]!r} is not a known key.{nearest(key, known[table])} "
                    f"[{table}] has {', '.join(known[table])}."
                )
    return {name: ConfigTable(path, name, data.get(name, {})) for name in known}


def named(path: Path, make: Any) -> Any:
    """Call ``make`` and put the file's name before its complaint."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class ConfigTable:
    """One table of the file, read key by key; it knows its name for messages."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path, self.name, self.values = path, name, values

    def fail(self, key: str, why: str) -> InputError:
        """Return the error that names file, key and value, and says why."""
        value = f" = {self.values[key]!r}" if key in self.values else ""
        return InputError(f"{self.path}: {self.name}.{key}{value}{why}")

    def required(self, key: str, what: str) -> Any:
        """Return a value that must be there."""
        if key not in self.values:
            raise self.fail(key, f" is missing. Give {what}.")
        return self.values[key]

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        low: float = 0.0,
        or_equal: bool = False,
        what: str = "a number > 0",
    ) -> float:
        """Return a finite number above (or at) ``low``."""
        value = self.values.get(key, default) if default is not None else self.required(key, what)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(key, f" is not a number. Give {what}.")
        if not math.isfinite(value) or value < low or (value == low and not or_equal):
            raise self.fail(key, f", but it must be finite and {'>=' if or_equal else '>'} {low:g}. Give {what}.")
        return float(value)

    def number_or_auto(self, key: str, what: str) -> float | None:
        """Return a number > 0, or None for "auto" and for a key that is not there."""
        if self.values.get(key, AUTO) == AUTO:
            return None
        return self.number(key, what=f'{what}, or "auto"')

    def integer(self, key: str, default: int, *, low: int) -> int:
        """Return a whole number >= low."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.fail(key, f" is not a whole number >= {low}. Give one, for example {max(default, low)}.")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str | None = None) -> str:
        """Return one of several words."""
        listed = ", ".join(f'"{o}"' for o in options)
        value = self.values.get(key, default) if default is not None else self.required(key, f"one of {listed}")
        if value not in options:
            raise self.fail(key, f" is not known.{nearest(value, options)} Give one of {listed}.")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, " is not true or false. Write it without quotes.")
        return value
