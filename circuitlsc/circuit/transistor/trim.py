r"""Trim: voltages in series with the gates of a few devices of each neuron, found from what its cells were measured to do.

In weak inversion a voltage v divides a current by :math:`e^{v/(n U_T)}`; so a gain that was measured as k is trimmed by
:math:`n U_T \log k`, and what the slope factor leaves is trimmed once more.

=========  ============================================================  =======================================
trim       devices                                                       what is made 1
=========  ============================================================  =======================================
``two``    lam's mirror; both tails of e (one number)                    lam; g, the mean of both signs of u
``full``   lam's mirror; each tail of e; each half of u; the threshold   lam; g of e > 0 and of e < 0; ds/du of
                                                                         u > 0 and of u < 0; the crossing at u0
=========  ============================================================  =======================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from circuitlsc.circuit.transistor.design import Design
from circuitlsc.circuit.transistor.parts import Chip
from circuitlsc.circuit.transistor.tables import ChipTables, NeuronTables, characterise
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import BOLTZMANN

SLOPE = 1.3  # n, of both kinds in weak inversion, roughly: what it leaves is trimmed by the next pass
CHARGE = 1.602176634e-19
PASSES = 2
MOST = 0.1  # volt: what a trim's range is


def trimmed(sizes: Design, chip: Chip, b: Array) -> tuple[Chip, ChipTables]:
    """Return a chip with its trims, as ``sizes.keys.trim`` says, and its tables."""
    tables = characterise(sizes, chip, b)
    if sizes.keys.trim == "none":
        return chip, tables
    thermal = SLOPE * BOLTZMANN * chip.nonideal.corner.temperature / CHARGE
    for _ in range(PASSES):
        volts = dict(chip.trims)
        for i, neuron in enumerate(tables.of(len(sizes.weights))):
            for path, error in _errors(sizes, neuron, i):
                volts[path] = float(np.clip(volts.get(path, 0.0) + thermal * error, -MOST, MOST))
        chip = replace(chip, trims=volts)
        tables = characterise(sizes, chip, b)
    return chip, tables


def _errors(sizes: Design, neuron: NeuronTables, i: int) -> Iterator[tuple[str, float]]:
    """Yield devices, each with the logarithm of what its current is too large by (as a voltage at its gate would be)."""
    q, gate = neuron.quality, f"gate_{i}"
    yield f"{gate}.lam", math.log((q["lam negative"] + q["lam positive"]) / 2)
    if sizes.keys.trim == "two":
        gain = math.log((q["gain negative"] + q["gain positive"]) / 2)
        yield f"{gate}.tp", gain
        yield f"{gate}.tn", gain
        return
    yield f"{gate}.tp", math.log(q["gain e > 0"])
    yield f"{gate}.tn", math.log(q["gain e < 0"])
    for device, side in (("a1", "positive"), ("a2", "negative")):
        yield f"threshold_{i}.{device}", math.log(q[f"slope {side}"])
    # u0's current is that of p-channel devices, in which a positive threshold shift makes more of it
    crossing = (q["crossing positive"] + q["crossing negative"]) / 2
    for device in ("th1", "th2") if sizes.signed else ("th",):
        yield f"threshold_{i}.{device}", -math.log(crossing / sizes.u0)
