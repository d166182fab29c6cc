"""Which cells a circuit is compiled with: tables, or compiled Verilog-A where that is faster and there is what it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from circuitlsc.errors import InputError, MissingSimulatorError
from circuitlsc.sampling.circuit import CompiledCircuit
from circuitlsc.simulator.ngspice.modules import check_modules

CELLS = ("table", "verilog-a", "auto")
PAYS_FROM = 64  # latents: smaller circuits are as fast with tables (benchmarks/COMPILED.md)

Circuit = TypeVar("Circuit", bound=CompiledCircuit)


def check_cells(cells: str) -> str:
    """Return a kind of cells, or raise InputError if it is unknown."""
    if cells not in CELLS:
        raise InputError(f"circuit.cells = {cells!r} is not one of {', '.join(CELLS)}.")
    return cells


def with_cells(circuit: Circuit, cells: str) -> Circuit:
    """Return a circuit of tables with cells of a kind; ``"auto"`` looks at what this machine has, and says what it chose.

    Raises
    ------
    InputError
        If Verilog-A is asked for, and a cell has no module.
    """
    if cells != "auto":
        return circuit if cells == "table" else circuit.of_cells(cells)
    try:
        made = _fast(circuit)
        line = f"cells of compiled Verilog-A: {circuit.model.n_latents} latents, and ngspice can load them"
    except (InputError, MissingSimulatorError) as error:
        made, line = circuit, f"cells are tables: {error}"
    return replace(made, plan=replace(made.plan, explanation=(*made.plan.explanation, line)))


def _fast(circuit: Circuit) -> Circuit:
    """Return a circuit of compiled cells, or raise an error that says why it is none."""
    if circuit.level != "ideal":
        raise InputError(f"at {circuit.level} level compiled ones are no faster")
    if circuit.encoder is not None or circuit.features is not None:
        raise InputError(
            f'whether compiled ones of dynamics.kind = "{circuit.dynamics.kind}" are faster was not measured'
        )
    if (n := circuit.model.n_latents) < PAYS_FROM:
        raise InputError(f"with {n} latents, below {PAYS_FROM}, compiled ones are no faster")
    made = circuit.of_cells("verilog-a")
    check_modules()
    return made
