"""What circuitlsc needs, and the command that installs it for this Python, whether circuitlsc is a checkout or a wheel."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import requires
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


def requirements(extra: str | None = None) -> list[str]:
    """Return the packages that circuitlsc needs, or that an extra adds."""
    found = [requirement.replace('"', "'").partition(";") for requirement in requires("circuitlsc") or []]
    wanted = "" if extra is None else f"extra == '{extra}'"
    return [name.strip() for name, _, marker in found if wanted in marker and ("extra ==" in marker) == bool(wanted)]


def how_to_install(*packages: str) -> str:
    """Return the command that installs packages where this Python finds them; an index need not have circuitlsc itself."""
    uv = ["uv", "pip", "install", "--python", sys.executable]  # whose environments have no pip of their own
    return shlex.join([*([sys.executable, "-m", "pip", "install"] if find_spec("pip") else uv), *packages])
