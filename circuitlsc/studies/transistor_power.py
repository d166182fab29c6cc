r"""What a chip of transistors takes from its supply, part by part, at operating points around states of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor.cells.amplifier import amplifier
from circuitlsc.circuit.transistor.held import powers
from circuitlsc.circuit.transistor.noise import measure_amplifier, tuned
from circuitlsc.circuit.transistor.process import CELSIUS
from circuitlsc.io.arrays import Array
from circuitlsc.sampling.sampler import Sampler

STATES = 8  # of a run, at which the operating point is looked for
#: parts by how their instances' names begin
PARTS = {
    "thresholds": ("threshold_", "converters and splitters"),
    "gates": ("gate_", "splitter of e, pairs, output mirrors"),
    "crossbar": ("w_", "unit mirrors"),
    "inputs": ("input_", "mirrors that make b of bias currents; a stream comes from beside the chip"),
    "bias block": ("bias", "one for all neurons; its reference included"),
}


def chip_powers(sampler: Sampler, states: Array) -> Iterator[tuple[str, int, float, str]]:
    """Yield each kind of part: how many, and the mean power of all at states (n_states, n_latents), watt; with a few words.

    The noise amplifiers are counted where noise is ideal, too: no chip works without them.

    Parameters
    ----------
    sampler : Sampler
        At transistor level.
    states : array, shape (n_states, n_latents)
        u, in model units.

    Raises
    ------
    SimulationError
        If ngspice found no operating point at one of them.
    """
    chip, n = sampler.silicon, sampler.model.n_latents
    sizes = chip.sizes
    found = [powers(chip, sampler.model, sampler.scaling, u) for u in states]
    areas = {
        "thresholds": n * sizes.threshold.gate_area,
        "gates": n * sizes.gate.gate_area,
        "crossbar": sum(e.cell.gate_area for sign in (1, -1) for e in sizes.entries(sign)),
        "inputs": sum(cell.gate_area for _, cell, _ in sizes.inputs(chip.b)),
        "bias block": sizes.bias.gate_area,
    }
    for part, (begin, text) in PARTS.items():
        own = [name for name in found[0] if name.startswith(begin)]
        watts = float(np.mean([sum(each[name] for name in own) for each in found]))
        yield part, len(own), watts, f"{text}; {areas[part]:.0f} um^2 of gates"
    made = tuned(sizes.unit_e, sampler.scaling.tau)
    corner = sampler.nonideal.corner
    where: dict[str, Any] = {
        "corner": corner.process,
        "celsius": corner.temperature - CELSIUS,
        "supply": chip.supply,
    }
    watts = n * measure_amplifier(made, **where).power
    there = "in the netlist" if sizes.keys.noise == "amplifier" else "not in this netlist: what they would take"
    yield "noise amplifiers", n, watts, f"with their bias, {there}; {n * amplifier(made).gate_area:.0f} um^2 of gates"
