"""Tables of a TOML file, read key by key: every message names the file, the key, the value and what would do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from circuitlsc.config.registry import AUTO, TABLES, names
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import MOST_WHOLE, is_finite
from circuitlsc.io.declared import REQUIRED, checked
from circuitlsc.io.nearest import nearest
from circuitlsc.io.safe_open import decode, read_regular, reason

MOST_BYTES = 2**20  # of a config file
_SHOWN = 200  # characters of a value in a message


def read_text(path: Path) -> str:
    """Return the text of a config file; errors as for `read_regular` and `decode`."""
    return decode(read_regular(path, MOST_BYTES))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, or raise InputError."""
    try:
        data = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist. Give the path of a config file; the smallest has [model] dictionary, sigma and "
            "[prior] kind, lam, pi."
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}). Give a TOML file in UTF-8.") from None
    except UnicodeError as error:
        raise InputError(f"{path} cannot be read ({error}). Give a TOML file in UTF-8.") from None
    except RecursionError:
        raise InputError(f"{path} is not valid TOML: its lists or tables are nested too deeply.") from None
    except ValueError as error:  # tomllib's own, and Python's of a number with thousands of digits
        raise InputError(f"{path} is not valid TOML: {str(error)[:_SHOWN]}.") from None
    waiting: list[Any] = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InputError(f"{path} is not valid TOML: it has a whole number of more than 64 bits.")
    return data


def shown(value: Any) -> str:
    """Return a value for a message: no longer than helps, nothing that a terminal would obey."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def read_tables(
    data: Mapping[str, Any], path: Path, known: Mapping[str, tuple[str, ...]], *, anywhere: bool = False
) -> dict[str, ConfigTable]:
    """Return every known table of a file, or raise InputError if one of its tables or keys is not known.

    ``anywhere`` lets the tables name files outside the config's folder.
    """
    for table, values in data.items():
        if table not in known:
            raise InputError(
                f"{path}: [{table}] is not a known table.{nearest(table, tuple(known))} The tables are {', '.join(known)}."
            )
        if not isinstance(values, dict):
            raise InputError(f"{path}: {table} = {shown(values)} is not a table. Write [{table}] on a line of its own.")
    tables = {name: ConfigTable(path, name, data.get(name, {}), TABLES.get(name), anywhere=anywhere) for name in known}
    for table in data:
        if table != "prior":  # its keys are judged with its kind (`config.prior`)
            tables[table].check_known(known[table])
    return tables


def named(path: Path, make: Any) -> Any:
    """Call ``make`` and put the file's name before its complaint."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class ConfigTable:
    """One table of the file, read key by key; it knows its name for messages."""

    def __init__(
        self,
        path: Path,
        name: str,
        values: Mapping[str, Any],
        declared: type | None = None,
        *,
        anywhere: bool = False,
    ) -> None:
        self.path, self.name, self.values, self.anywhere = path, name, values, anywhere
        self.declared: Any = declared

    def check_known(self, known: tuple[str, ...]) -> None:
        """Raise InputError if there are other keys."""
        for key in self.values:
            if key not in known:
                raise self.fail(key, f" is not a known key.{nearest(key, known)} [{self.name}] has {', '.join(known)}.")

    def text(self, key: str) -> str:
        """Return the text of a declared key."""
        return str(self._declared(key)["text"])

    def _declared(self, key: str) -> Mapping[str, Any]:
        return next(f.metadata for f in fields(self.declared) if f.name == key)

    def read(self) -> Any:
        """Return the table as what its keys are declared in (`config.registry`), checked."""
        return self.declared(**{name: self.value(name) for name in names(self.declared)})

    def value(self, key: str) -> Any:
        """Return the checked value of a declared key: its default if it is not there, None for "auto"."""
        meta = self._declared(key)
        default, text = meta["default"], meta["text"]
        if key not in self.values and default is not REQUIRED:
            return default
        if meta["kind"] == "choice":
            return self.choice(key, meta["options"])
        if meta["kind"] == "flag":
            return self.flag(key, default)
        if meta["kind"] != "number":
            value = self.required(key, text)
            if meta["kind"] == "word" and not isinstance(value, str):
                raise self.fail(key, f" is not a string. Give {text}.")
            return value
        if meta["auto"] and self.values.get(key) == AUTO:
            return None
        if meta["three"]:
            return named(self.path, lambda: checked(f"{self.name}.{key}", self.required(key, text), meta))
        if meta["whole"]:
            return self.integer(key, default or 0, low=int(meta["low"]), high=meta["high"])
        what = f'{text}, or "auto"' if meta["auto"] else text
        return self.number(key, low=meta["low"], high=meta["high"], or_equal=not meta["above"], what=what)

    def file(self, key: str, name: str) -> Path:
        """Return the file that a key names, relative to the config's folder.

        Raises
        ------
        InputError
            If it is outside that folder, by ``..``, a link or an absolute path: the numbers that a stranger's config reads
            end up in what is sent back.
        """
        folder = self.path.absolute().parent
        try:
            path = (folder / name).resolve()
            inside = path.is_relative_to(folder.resolve())
            str(path).encode()  # it is written into config.resolved.toml
        except (OSError, RuntimeError, ValueError):  # links in a circle, a NUL, a folder whose name is no UTF-8
            raise self.fail(
                key, f": {shown(name)} cannot be the name of a file. Give a .npy, .npz or .csv file."
            ) from None
        if not inside and not self.anywhere:
            raise self.fail(
                key,
                f": {shown(name)} is outside the config's folder, and only a config that you trust may read there. Move the "
                "file into the folder, or add --anywhere.",
            )
        return self.path.parent / name

    def named(self, key: str, make: Any) -> Any:
        """Call ``make``, and put the file's name, the key and its value before its complaint."""
        try:
            return make()
        except InputError as error:
            raise self.fail(key, f": {error}") from None

    def fail(self, key: str, why: str) -> InputError:
        """Return the error that names file, key and value, and says why."""
        value = f" = {shown(self.values[key])}" if key in self.values else ""
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
        high: float = math.inf,
        or_equal: bool = False,
        what: str = "a number > 0",
    ) -> float:
        """Return a finite number above (or at) ``low``, up to ``high``."""
        value = self.values.get(key, default) if default is not None else self.required(key, what)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(key, f" is not a number. Give {what}.")
        if not is_finite(value) or value < low or (value == low and not or_equal):
            least = f" and {'>=' if or_equal else '>'} {low:g}" if low > -math.inf else ""
            raise self.fail(key, f", but it must be finite{least}. Give {what}.")
        if value > high:
            raise self.fail(key, f", but it must be <= {high:g}. Give {what}.")
        return float(value)

    def integer(self, key: str, default: int, *, low: int, high: float = math.inf) -> int:
        """Return a whole number from low to high."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= min(high, MOST_WHOLE):
            most = f"{high:g}" if high < MOST_WHOLE else "2**63 - 1"
            size = f">= {low}" if not isinstance(value, int) or value < low else f"from {low} to {most}"
            raise self.fail(key, f" is not a whole number {size}. Give one, for example {max(default, low)}.")
        return value

    def choice(self, key: str, options: Collection[str], default: str | None = None) -> str:
        """Return one of several words."""
        listed = ", ".join(f'"{o}"' for o in options)
        value = self.values.get(key, default) if default is not None else self.required(key, f"one of {listed}")
        if value not in tuple(options):  # a list has no hash, and options may be a mapping's keys
            raise self.fail(key, f" is not known.{nearest(value, options)} Give one of {listed}.")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, " is not true or false. Write it without quotes.")
        return value
