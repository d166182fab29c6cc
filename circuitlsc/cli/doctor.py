"""What is installed, what is missing, what to do."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

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
        _cells(),
    ]


def _package(requirement: str, absent: str, only_for: str = "") -> Finding:
    name, extras = named(requirement)
    name += f"[{','.join(extras)}]" if extras else ""
    try:
        return Finding("ok", f"{name} {installed(requirement)}")
    except PackageNotFoundError:
        return Finding(absent, name, f"install it with: {how_to_install(requirement)}{only_for}")


def _library() -> Finding:
    from circuitlsc.simulator.ngspice.library import version_apart

    try:
        name, number = version_apart()
    except MissingSimulatorError as error:
        return Finding("missing", "libngspice", str(error))
    return Finding("ok", f"libngspice {number} ({name})")


def _program() -> Finding:
    path = shutil.which("ngspice")
    if path is None:
        return Finding(
            "optional", "ngspice program", "only to run decks without Python; apt-get install ngspice (Debian, Ubuntu)"
        )
    return Finding("ok", f"ngspice program ({path})")


def _vacask() -> Finding:
    from circuitlsc.simulator.verilog_a import VERSION, find_programs

    name = "VACASK with its compiler openvaf-r"
    try:
        return Finding("ok", f"{name} ({VERSION}, as tested: {find_programs().vacask.parent})")
    except MissingSimulatorError as error:
        return Finding("optional", name, f"only for circuitlsc cross-check, and for circuit.cells. {error}")


def _cells() -> Finding:
    from circuitlsc.simulator.ngspice.modules import check_modules

    name = "cells of compiled Verilog-A in ngspice"
    try:
        check_modules()
    except MissingSimulatorError as error:
        return Finding("optional", name, f'only for circuit.cells = "verilog-a". {error}')
    return Finding("ok", f'{name} (circuit.cells = "verilog-a")')


def _models() -> Finding:
    from circuitlsc.circuit.transistor.process import HOW_TO_INSTALL, PACKAGE, PROCESS, VERSION, installed, models

    name = f"models of {PROCESS}"
    if not installed():
        return Finding("optional", name, f'only for level = "transistor". {HOW_TO_INSTALL}')
    try:
        return Finding("ok", f"{name} ({PACKAGE} {VERSION}, as tested: {models()})")
    except MissingSimulatorError as error:
        return Finding("optional", name, str(error))
