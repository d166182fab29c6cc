"""What is installed, what is missing, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from circuitlsc.errors import MissingSimulatorError
from circuitlsc.io.install import EXTRAS, how_to_install, installed, named, requirements


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    state: str  # "ok", "missing" or "optional"
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:<9} {self.what}" + (f": {self.advice}" if self.advice else "")


def examine() -> list[Finding]:
    """Look at Python, the packages, libngspice and the ngspice program."""
    needed = [_package(requirement, "missing") for requirement in requirements()]
    extras = [
        _package(requirement, "optional", f" (only for {what})")
        for extra, what in EXTRAS.items()
        for requirement in requirements(extra)
    ]
    return [
        Finding("ok", f"Python {platform.python_version()}"),
        *needed,
        _library(),
        _program(),
        *extras,
        _models(),
        _vacask(),
    ]


def _package(requirement: str, absent: str, only_for: str = "") -> Finding:
    name, extras = named(requirement)
    name += f"[{','.join(extras)}]" if extras else ""
    try:
        return Finding("ok", f"{name} {installed(requirement)}")
    except PackageNotFoundError:
        return Finding(absent, name, f"install it with: {how_to_install(requirement)}{only_for}")


def _library() -> Finding:
    # in a process of its own: a broken library may crash it
    code = "from circuitlsc.simulator.ngspice.library import find_library, library_version as v; print(find_library(), v())"
    with tempfile.TemporaryDirectory(prefix="circuitlsc-") as folder:
        # ngspice runs the commands of the first .spiceinit that it finds, and -c takes modules from the working folder
        (Path(folder) / ".spiceinit").write_text("* no commands\n", encoding="ascii")
        env = {k: v for k, v in os.environ.items() if not k.startswith("SPICE_")}
        if os.sep in (named := env.get("NGSPICE_LIBRARY_PATH", "")):
            env["NGSPICE_LIBRARY_PATH"] = str(Path(named).absolute())
        run = subprocess.run(
            [sys.executable, "-P", "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
    if run.returncode == 0:
        name, number = run.stdout.split()[-2:]
        return Finding("ok", f"libngspice {number} ({name})")
    last = (run.stderr.strip().splitlines() or ["it crashed"])[-1]
    _, missing, why = last.partition(f"{MissingSimulatorError.__name__}: ")
    broken = f"it is there, but does not start ({last}). Reinstall libngspice0."
    return Finding("missing", "libngspice", why if missing else broken)


def _program() -> Finding:
    path = shutil.which("ngspice")
    if path is None:
        return Finding(
            "optional", "ngspice program", "only to run decks without Python; apt-get install ngspice (Debian, Ubuntu)"
        )
    return Finding("ok", f"ngspice program ({path})")


def _vacask() -> Finding:
    from circuitlsc.simulator.vacask.program import VERSION, find_programs

    name = "VACASK with its compiler openvaf-r"
    try:
        return Finding("ok", f"{name} ({VERSION}, as tested: {find_programs().vacask.parent})")
    except MissingSimulatorError as error:
        return Finding("optional", name, f"only for circuitlsc cross-check. {error}")


def _models() -> Finding:
    from circuitlsc.circuit.transistor.process import HOW_TO_INSTALL, PACKAGE, PROCESS, VERSION, installed, models

    name = f"models of {PROCESS}"
    if not installed():
        return Finding("optional", name, f'only for level = "transistor". {HOW_TO_INSTALL}')
    try:
        return Finding("ok", f"{name} ({PACKAGE} {VERSION}, as tested: {models()})")
    except MissingSimulatorError as error:
        return Finding("optional", name, str(error))
