"""Tables of a TOML file, read key by key: every message names the file, the key, the value and what would do."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from circuitlsc.config.registry import AUTO, TABLES, declared, names
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.declared import REQUIRED, checked, shown, wanted
from circuitlsc.io.nearest import nearest
from circuitlsc.io.safe_open import decode, read_regular, reason
from circuitlsc.model.data import load_array

Made = TypeVar("Made")

MOST_BYTES = 2**20  # of a config file


def read_text(path: Path) -> str:
    """Return the text of a config file; errors as for `read_regular` and `decode`."""
    return decode(read_regular(path, MOST_BYTES))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file, or raise InputError."""
    try:
        data = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist. Give the path of a config file; circuitlsc init writes one."
        ) from None
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read ({reason(error)}). Give a TOML file in UTF-8.") from None
    except (RecursionError, ValueError) as error:  # tomllib's own, and Python's of a number with thousands of digits
        why = "its lists or tables are nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError(f"{path} is not valid TOML: {why}.") from None
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in _values(data)):
        raise InputError(f"{path} is not valid TOML: it has a whole number of more than 64 bits.")
    return data


def names_files(path: Path) -> bool:
    """Return whether a config names files by where they are from its own folder."""
    texts = (value for value in _values(read_toml(path)) if isinstance(value, str) and "\0" not in value)
    return any(not Path(text).is_absolute() and (path.parent / text).is_file() for text in texts)


def _values(data: Any) -> Iterator[Any]:
    """Yield everything that is in tables and lists, however deep, but those themselves."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        else:
            yield value


def read_tables(
    data: Mapping[str, Any], path: Path, known: Mapping[str, tuple[str, ...]], *, anywhere: bool = False
) -> dict[str, ConfigTable]:
    """Return every known table of a file, or raise InputError if one of its tables or keys is not known.

    ``anywhere`` lets the tables name files outside the config's folder.
    """
    tables = {name: ConfigTable(path, name, data.get(name, {}), TABLES[name], anywhere) for name in known}
    for table, values in data.items():
        if table not in known:
            raise InputError(
                f"{path}: [{table}] is not a known table.{nearest(table, tuple(known))} The tables are {', '.join(known)}."
            )
        if not isinstance(values, dict):
            raise InputError(f"{path}: {table} = {shown(values)} is not a table. Write [{table}] on a line of its own.")
        if table != "prior":  # its keys are judged with its kind (`config.read`)
            tables[table].check_known(known[table])
    return tables


def named(path: Path, make: Callable[[], Made]) -> Made:
    """Call ``make`` and put the file's name before its complaint."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@dataclass(frozen=True)
class ConfigTable:
    """One table of the file, read key by key; it knows its name for messages, and the class that declares its keys."""

    path: Path
    name: str
    values: Mapping[str, Any]
    declared: Any
    anywhere: bool = False

    def check_known(self, known: tuple[str, ...]) -> None:
        """Raise InputError if there are other keys."""
        for key in self.values:
            if key not in known:
                raise self.fail(key, f" is not a known key.{nearest(key, known)} [{self.name}] has {', '.join(known)}.")

    def refuse(self, keys: Iterable[str], why: str) -> None:
        """Raise InputError if one of the keys is there."""
        for key in keys:
            if key in self.values:
                raise self.fail(key, why)

    def read(self) -> Any:
        """Return the table as what its keys are declared in (`config.registry`), checked."""
        values = {name: self.value(name) for name in names(self.declared)}
        return named(self.path, lambda: self.declared(**values))

    def value(self, key: str) -> Any:
        """Return the checked value of a declared key: its default if it is not there, None for "auto"."""
        return self.checked(key, declared(self.declared)[key])

    def checked(self, key: str, meta: Mapping[str, Any]) -> Any:
        """Return the checked value of a key by what is declared of it."""
        if key not in self.values:
            if meta["default"] is REQUIRED:
                raise self.fail(key, f" is missing. Give {wanted(meta)}.")
            return meta["default"]
        if meta.get("auto") and self.values[key] == AUTO:
            return None
        return named(self.path, lambda: checked(f"{self.name}.{key}", self.values[key], meta))

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
            why = f": {shown(name)} cannot be the name of a file. Give a .npy, .npz or .csv file."
            raise self.fail(key, why) from None
        if not inside and not self.anywhere:
            raise self.fail(
                key,
                f": {shown(name)} is outside the config's folder, and only a config that you trust may read there. Move the "
                "file into the folder, or add --anywhere.",
            )
        return self.path.parent / name

    def array(self, key: str, name: str, **how: Any) -> Array:
        """Return the array of a file that a key names; ``how`` as for `load_array`."""
        file = self.file(key, name)
        return named(self.path, lambda: load_array(file, f"{self.name}.{key}", **how))

    def named(self, key: str, make: Callable[[], Made]) -> Made:
        """Call ``make``, and put the file's name, the key and its value before its complaint."""
        try:
            return make()
        except InputError as error:
            raise self.fail(key, f": {error}") from None

    def fail(self, key: str, why: str) -> InputError:
        """Return the error that names file, key and value, and says why."""
        value = f" = {shown(self.values[key])}" if key in self.values else ""
        return InputError(f"{self.path}: {self.name}.{key}{value}{why}")
