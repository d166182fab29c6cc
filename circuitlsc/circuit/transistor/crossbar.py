r"""The crossbar of unit mirrors: which copies of whose lines make each entry.

.. math:: e_j = \sum_i m_{ji}\,g\,(s_i^+ - s_i^-) - b_j

A positive entry is m p-channel units on the line of s+ (and as many n-channel ones on that of s-), a negative one n-channel
units on a line of s+ (and p-channel ones of s-): each is a mirror of its own, with errors of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitlsc.circuit.transistor.cells.mirror import copy
from circuitlsc.circuit.transistor.parts import TransistorCell
from circuitlsc.io.arrays import Array

#: by sign of the entry: the lines that are copied, and the kinds of the copies, of s+ and of s-
LINES_OF = {1: (("ps", "p"), ("nm", "n")), -1: (("ns", "n"), ("pm", "p"))}


@dataclass(frozen=True)
class Entry:
    """One mirror of the crossbar.

    Attributes
    ----------
    name : str
    cell : TransistorCell
        Pins line and out.
    line : str
        Pin of the neuron whose line is copied.
    source, target : int
        The neuron whose code is copied, and the one whose gradient it joins.
    part : int
        1 for s+, -1 for s-.
    """

    name: str
    cell: TransistorCell
    line: str
    source: int
    target: int
    part: int


def entries(weights: NDArray[np.int64], sign: int, *, signed: bool, area: float) -> list[Entry]:
    """Return the mirrors of the entries of one sign of a matrix of weights (units)."""
    found = []
    for j, i in zip(*np.nonzero(np.sign(weights) == sign), strict=True):
        for part, (line, kind) in zip((1, -1), LINES_OF[sign][: 2 if signed else 1], strict=False):
            cell = copy(kind, int(abs(weights[j, i]))).scaled(area)
            found.append(Entry(f"w_{j}_{i}_{line}", cell, line, int(i), int(j), part))
    return found


def fitted(copied: Array, code: Array, weight: Array) -> float:
    """Return the factor between a copy (n,) and the code (n,) that it copies, by least squares with weights (n,)."""
    return float(np.sum(weight * copied * code) / np.sum(weight * code * code))


def matrix(size: int, found: Sequence[Entry], gains: Sequence[float]) -> Array:
    """Return what entries with such gains make of the codes, (size, size); of a signed code both mirrors' mean."""
    made, count = np.zeros((size, size)), np.zeros((size, size))
    for entry, gain in zip(found, gains, strict=True):
        made[entry.target, entry.source] += gain
        count[entry.target, entry.source] += 1
    return np.asarray(made / np.maximum(count, 1))
