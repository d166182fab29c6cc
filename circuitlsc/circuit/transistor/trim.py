r"""Trim: voltages in series with the gates of a few devices of each neuron, found from what its cells were measured to do.

In weak inversion a voltage v divides a current by :math:`e^{v/(n U_T)}`; so a gain that was measured as k is trimmed by
:math:`n U_T \log k`, and what the slope factor leaves is trimmed once more.

=========  ============================================================  =======================================
trim       devices                                                       what is made 1
=========  ============================================================  =======================================
``two``    lam's mirror; both tails of e (one number)                    lam; g, the mean of both signs of u
``full``   lam's mirror; each tail of e; each half of u; the threshold;  lam; g of e > 0 and of e < 0; ds/du of
           the converter's reference                                     u > 0 and of u < 0; both crossings of u0
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

SLOPE = 1.55  # n, of both kinds in weak inversion, roughly: what it leaves is trimmed by the next pass
CHARGE = 1.602176634e-19
PASSES = 2
MOST = 0.1  # volt: what a trim's range is


def trimmed(sizes: Design, chip: Chip, b: Array) -> tuple[Chip, ChipTables]:
    """Return a chip with its trims, as ``sizes.keys.trim`` says, and its tables."""
    tables = characterise(sizes, chip, b)
    if sizes.keys.trim == "none":
        return chip, tables
    for _ in range(PASSES):
        volts = dict(chip.trims)
        for i, neuron in enumerate(tables.of(len(sizes.weights))):
            for path, more in _voltages(sizes, neuron, i, chip.nonideal.corner.temperature):
                volts[path] = float(np.clip(volts.get(path, 0.0) + more, -MOST, MOST))
        chip = replace(chip, trims=volts)
        tables = characterise(sizes, chip, b)
    return chip, tables


def _voltages(sizes: Design, neuron: NeuronTables, i: int, kelvin: float) -> Iterator[tuple[str, float]]:
    """Yield the devices of neuron i that are trimmed, each with the volts that its threshold is to be raised by."""
    q, gate, threshold = neuron.quality, f"gate_{i}", f"threshold_{i}"
    thermal = SLOPE * BOLTZMANN * kelvin / CHARGE
    yield f"{gate}.lam", thermal * math.log((q["lam negative"] + q["lam positive"]) / 2)
    if sizes.keys.trim == "two":
        gain = math.log((q["gain negative"] + q["gain positive"]) / 2)
        yield f"{gate}.tp", thermal * gain
        yield f"{gate}.tn", thermal * gain
        return
    yield f"{gate}.tp", thermal * math.log(q["gain e > 0"])
    yield f"{gate}.tn", thermal * math.log(q["gain e < 0"])
    crossings = []  # of what the slopes will be
    for device, side in (("a1", "positive"), ("a2", "negative")):
        yield f"{threshold}.{device}", thermal * math.log(q[f"slope {side}"])
        crossings.append(q[f"crossing {side}"] * q[f"slope {side}"])
    if sizes.signed:  # each side has a threshold of its own
        for device, crossing in zip(("th1", "th2"), crossings, strict=True):
            yield f"{threshold}.{device}", thermal * math.log(sizes.crossing / crossing)
        return
    # a p-channel device: a threshold that is raised makes it carry more
    yield f"{threshold}.th", thermal * math.log(2 * sizes.crossing / sum(crossings))
    yield f"{threshold}.vi.1r", (crossings[0] - crossings[1]) / 2 * sizes.volt
