"""What circuitlsc needs, and the command that installs it for this Python, whether circuitlsc is a checkout or a wheel."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import requires, version
from importlib.util import find_spec

EXTRAS = {
    "photograph": "natural images",
    "notebook": "notebooks",
    "schematic": "circuitlsc draw",
    "cluster": "--scheduler",
    "transistor": 'level = "transistor", with the models\' layout tools; the models alone are enough, see below',
    "verilog-a": "circuitlsc cross-check, and cells of compiled Verilog-A in ngspice 44",
    "arviz": "ArviZ on samples.to_arviz()",
}


def requirements(extra: str | None = None, of: str = "circuitlsc") -> list[str]:
    """Return the packages that an installed one needs, or that an extra of it adds."""
    found = [requirement.replace('"', "'").partition(";") for requirement in requires(of) or []]
    wanted = "" if extra is None else f"extra=='{extra}'"
    markers = ((name.strip(), marker.replace(" ", "")) for name, _, marker in found)
    return [name for name, marker in markers if wanted in marker and ("extra==" in marker) == bool(wanted)]


def installed(requirement: str) -> str:
    """Return the version that is installed of what a requirement names, as in ``arviz-stats[xarray]>=0.8``.

    Raises
    ------
    PackageNotFoundError
        If it, or a package that one of its extras adds, is not installed.
    """
    name, extras = named(requirement)
    found = version(name)
    for extra in extras:
        for added in requirements(extra, name):
            installed(added)
    return found


def named(requirement: str) -> tuple[str, list[str]]:
    """Return the name of a package, and the extras, that a requirement asks for."""
    name, extras = re.match(r"([\w.-]+)\s*(?:\[(.*?)\])?", requirement).groups()  # type: ignore[union-attr]
    return name, [extra.strip() for extra in (extras or "").split(",") if extra.strip()]


def how_to_install(*packages: str) -> str:
    """Return the command that installs packages where this Python finds them; an index need not have circuitlsc itself."""
    uv = ["uv", "pip", "install", "--python", sys.executable]  # whose environments have no pip of their own
    return shlex.join([*([sys.executable, "-m", "pip", "install"] if find_spec("pip") else uv), *packages])
