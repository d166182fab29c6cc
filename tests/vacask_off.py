"""VACASK with one conductance changed by 5 %: what a comparison must notice."""

import json
from typing import Any

from circuitlsc.simulator.vacask.simulator import VACASK, Vacask


def off(name: str, where: str = "netlist") -> Vacask:
    """Return a VACASK that is given 1.05 times the gain of an instance; ``where`` is "solved" for what is solved once."""

    def prepare(circuit: Any) -> bytes:
        given = json.loads(VACASK.prepare(circuit))
        net = given["netlist"] if where == "netlist" else given["solved"]["netlist"]
        (each,) = (each for each in net["instances"] if each["name"] == name)
        each["parameters"]["gain"] *= 1.05
        return json.dumps(given).encode()

    changed = Vacask()
    changed.prepare = prepare  # type: ignore[method-assign]
    return changed
