"""ngspice as a simulator: what it needs of a circuit is in its tasks, but for what is solved once or compiled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from circuitlsc.errors import MissingSimulatorError
from circuitlsc.simulator.ngspice.library import find_library, library_file
from circuitlsc.simulator.ngspice.modules import check_modules
from circuitlsc.simulator.simulator import Chunk, Counts
from circuitlsc.simulator.task import ChainState, ChainTask


class Ngspice:
    """libngspice, in the worker's process; see `circuitlsc.simulator.simulator.Simulator`."""

    path = "circuitlsc.simulator.ngspice.simulator:NGSPICE"
    name = "libngspice"
    advice = " Run the deck in plain ngspice to see where."

    def version(self) -> str:
        """Return the hash of the library's file; "elsewhere" for a client of a cluster, which needs none."""
        return _version()

    def check(self, contents: bytes = b"") -> None:
        """Raise MissingSimulatorError if libngspice is not here, or cannot load the modules of a circuit."""
        find_library()
        if contents and "modules" in json.loads(contents):
            check_modules()

    def prepare(self, circuit: Any) -> bytes:
        """Return what is solved once, and which modules must be compiled; of most circuits nothing."""
        return bytes(circuit.beside_tasks)

    def advance(self, task: ChainTask, contents: bytes, counts: Counts, state: ChainState | None) -> Iterator[Chunk]:
        """Yield the chunks of a chain: `circuitlsc.simulator.ngspice.transient.integrate`."""
        from circuitlsc.simulator.ngspice.transient import integrate  # numba: workers alone need it

        return integrate(task, counts, state, contents)


@cache
def _version() -> str:
    try:
        return f"ngspice {hashlib.sha256(library_file().read_bytes()).hexdigest()}"
    except MissingSimulatorError:
        return "ngspice elsewhere"


NGSPICE = Ngspice()
