"""Verilog-A: the ideal cells as modules, one file a family; their texts, ports and parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FUNCTIONS = "lsc_smoothing.vams"  # what the families include
FAMILIES = (
    "lsc_integrator.va",
    "lsc_threshold.va",
    "lsc_gate.va",
    "lsc_cost.va",
    "lsc_variational.va",
    "lsc_memory.va",
    "lsc_parts.va",
    "lsc_cell.va",
    "lsc_column.va",
)

_MODULE = re.compile(r"^module (\w+)\(([^)]*)\);(.*?)^endmodule", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"parameter (?:real|integer) (\w+)")


@dataclass(frozen=True)
class Module:
    """A module of the library.

    Attributes
    ----------
    name, file : str
    ports, parameters : tuple of str
        In the order of the text.
    """

    name: str
    file: str
    ports: tuple[str, ...]
    parameters: tuple[str, ...]


@cache
def text(file: str) -> str:
    """Return a file of the library."""
    return (files(__name__) / file).read_text(encoding="utf-8")


@cache
def modules() -> dict[str, Module]:
    """Return the modules by name."""
    found = {}
    for file in FAMILIES:
        for name, ports, body in _MODULE.findall(text(file)):
            found[name] = Module(name, file, tuple(ports.split(", ")), tuple(_PARAMETER.findall(body)))
    return found
