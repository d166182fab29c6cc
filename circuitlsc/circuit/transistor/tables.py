r"""What the cells of a chip do, as tables in model units: code s_i(u) of each line, drift F_i(u, e), and their quality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from circuitlsc.circuit.transistor import staircase
from circuitlsc.circuit.transistor.cells.bias import ideal_bias
from circuitlsc.circuit.transistor.cells.neuron import gate, threshold
from circuitlsc.circuit.transistor.design import SUPPLY, Design
from circuitlsc.circuit.transistor.parts import Chip
from circuitlsc.circuit.transistor.process import CELSIUS
from circuitlsc.circuit.transistor.staircase import Measured
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Surface, Table
from circuitlsc.nonideal.nonidealities import Nonidealities

FINE = 0.6  # of the width: between stairs of u near its corners
NEAR = 10.0  # widths
COARSE = 0.4  # of the slab
FAR = 2.5  # slabs: from there on gains are read
SHARE = 0.25  # of the largest e: the inner levels


def stairs_of(sizes: Design) -> tuple[Array, Array]:
    """Return the values of u and e at which a design's cells are measured, in model units."""
    w, slab, end = sizes.width, 1 / sizes.lam, sizes.reach_u
    far = np.arange(0.0, end, COARSE * slab)
    near = np.arange(-NEAR * w, NEAR * w + w / 9, FINE * w)
    u = np.concatenate([far, near, near + sizes.u0, [end]])
    u = np.unique(np.round(np.abs(u[np.abs(u) <= end]) / w, 6)) * w
    u = u[np.concatenate([[True], np.diff(u) > 0.1 * FINE * w])]
    u = np.concatenate([-u[:0:-1], u]) if u[0] == 0 else np.concatenate([-u[::-1], u])
    e = sizes.reach_e * np.array([-1.0, -SHARE, 0.0, SHARE, 1.0])
    return u, e


@dataclass(frozen=True, eq=False)
class NeuronTables:
    """One neuron, in model units.

    Attributes
    ----------
    code : Table
        s(u), as a copy of its line with all units reads it.
    drift : Surface
        F(u, e).
    """

    code: Table
    drift: Surface

    @cached_property
    def quality(self) -> dict[str, float]:
        """Gains on either side of u = 0, the largest and the rms difference of gate and ds/du, and the offset of s."""
        u, e, F = self.drift.knots, self.drift.others, self.drift.values
        s = self.code(u)
        slope = np.gradient(s, u)
        low, middle, high = 1, 2, 3
        gate = -(F[high] - F[low]) / (e[high] - e[low])
        lam, far = -F[middle], FAR
        scale = self.scale
        out: dict[str, float] = {}
        for name, values in (("slope", slope), ("gain", gate), ("lam", lam / scale[1])):
            for side, where in (("negative", u < -far * scale[0]), ("positive", u > far * scale[0])):
                out[f"{name} {side}"] = float(abs(np.mean(values[where])))
        difference = gate - slope
        out["largest"], out["rms"] = float(np.max(np.abs(difference))), float(np.sqrt(np.mean(difference**2)))
        out["offset"] = float(self.code(np.zeros(1))[0])
        return out

    scale: tuple[float, float] = (1.0, 1.0)  # slab and lam


@dataclass(frozen=True, eq=False)
class ChipTables:
    """The neurons of a chip, and what it draws.

    Attributes
    ----------
    neurons : tuple of NeuronTables
        One for all if they are alike.
    supply : float
        Ampere from vdd at rest (u = e = 0), of all neurons and the bias block.
    alike : bool
    """

    neurons: tuple[NeuronTables, ...]
    supply: float
    alike: bool

    def of(self, n: int) -> list[NeuronTables]:
        """Return the tables of n neurons."""
        return list(self.neurons) * n if self.alike else list(self.neurons)



def characterise(sizes: Design, nonideal: Nonidealities) -> ChipTables:
    """Return the tables of a design's neurons at a corner, from ngspice or from what is kept of it."""
    n = 1
    u, e = stairs_of(sizes)
    corner = nonideal.corner
    measured = staircase.measure(
        ideal_bias(sizes.currents),
        threshold(sizes.ohm, sizes.units).scaled(sizes.keys.area),
        gate().scaled(sizes.keys.area),
        u * sizes.volt,
        e * sizes.unit_e,
        n=n,
        units=sizes.units,
        corner=corner.process,
        celsius=corner.temperature - CELSIUS,
        supply=SUPPLY * corner.supply,
        chip=Chip(nonideal),
    )
    return in_model_units(sizes, measured)


def in_model_units(sizes: Design, measured: Measured) -> ChipTables:
    """Return what was measured as tables of a design."""
    u, e = measured.u / sizes.volt, measured.e / sizes.unit_e
    neurons = tuple(
        NeuronTables(Table(u, code[0] / sizes.unit), Surface(u, e, drift / sizes.unit_e), (1 / sizes.lam, sizes.lam))
        for drift, code in zip(measured.drift, measured.code, strict=True)
    )
    rest = float(measured.supply[len(e) // 2, int(np.argmin(np.abs(u)))])
    return ChipTables(neurons, rest, len(neurons) == 1)
