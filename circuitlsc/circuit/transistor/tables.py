r"""What the cells of a chip do, as tables in model units: code s_i(u) of each line, drift F_i(u, e), and their quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from circuitlsc.circuit.transistor import staircase
from circuitlsc.circuit.transistor.crossbar import Entry, fitted, matrix
from circuitlsc.circuit.transistor.design import SUPPLY, Design
from circuitlsc.circuit.transistor.parts import Chip
from circuitlsc.circuit.transistor.process import CELSIUS
from circuitlsc.circuit.transistor.staircase import Measured
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Surface, Table

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
        s(u), as copies of its lines with all units read it, for positive entries of the crossbar.
    negative : Table or None
        The same for negative entries, if there are any.
    drift : Surface
        F(u, e).
    scale : tuple of float
        The slab's size and lam.
    width : float
        w = I0/I1.
    """

    code: Table
    negative: Table | None
    drift: Surface
    scale: tuple[float, float]
    width: float

    @cached_property
    def quality(self) -> dict[str, float]:
        """What is 1 if a neuron is right, by name; and how far it is from a gradient, in units of the gate.

        ``slope``, ``gain`` and ``lam`` of either sign of u: mean ds/du, gate (per unit of e) and prior (over lam), beyond 2.5
        slabs. ``gain e > 0``, ``gain e < 0``: of either sign of e, mean of both signs of u. ``crossing``: abs(u) where s = w,
        model units. ``largest``, ``rms``: of gate - ds/du over all u. ``offset``: s(0).
        """
        u, e, drift = self.drift.knots, self.drift.others, self.drift.values
        s, middle = self.code(u), len(e) // 2
        by_sign = np.sign(u) if s[0] > 0 else np.ones(len(u))  # a nonnegative code, or a signed one
        slope = np.gradient(s, u) * by_sign
        above, below = ((drift[middle] - drift[k]) / (e[k] - e[middle]) for k in (middle + 1, middle - 1))
        gate, lam = (above + below) / 2, -drift[middle] * np.sign(u) / self.scale[1]
        far = {"negative": u < -FAR * self.scale[0], "positive": u > FAR * self.scale[0]}
        out: dict[str, float] = {}
        for side, where in far.items():
            out[f"slope {side}"] = float(np.mean(slope[where]))
            out[f"gain {side}"] = float(np.mean((gate * by_sign)[where]))
            out[f"lam {side}"] = float(np.mean(lam[where]))
            half = u >= 0 if side == "positive" else u <= 0
            order = np.argsort(np.abs(u[half]))
            out[f"crossing {side}"] = float(np.interp(self.width, np.abs(s[half])[order], np.abs(u[half])[order]))
        outside = far["negative"] | far["positive"]
        out["gain e > 0"] = float(np.mean((above * by_sign)[outside]))
        out["gain e < 0"] = float(np.mean((below * by_sign)[outside]))
        difference = gate - np.gradient(s, u)
        out["largest"], out["rms"] = float(np.max(np.abs(difference))), float(np.sqrt(np.mean(difference**2)))
        out["offset"] = float(self.code(np.zeros(1))[0])
        return out


@dataclass(frozen=True, eq=False)
class ChipTables:
    """What the cells of a chip do.

    Attributes
    ----------
    neurons : tuple of NeuronTables
        One for all if they are alike.
    matrices : dict of array, shape (n_latents, n_latents)
        By sign of the entry: what the mirrors make of the codes, 1/(model unit)^2.
    inputs : array, shape (n_latents,)
        What inputs are over b, as they were measured.
    supply : float
        Ampere from vdd at rest (u = e = 0), of what was measured.
    """

    neurons: tuple[NeuronTables, ...]
    matrices: dict[int, Array]
    inputs: Array
    supply: float

    def of(self, n: int) -> list[NeuronTables]:
        """Return the tables of n neurons."""
        return list(self.neurons) * n if len(self.neurons) == 1 else list(self.neurons)


def characterise(sizes: Design, chip: Chip, b: Array) -> ChipTables:
    """Return the tables of a chip, from ngspice or from what is kept of it.

    If its devices are alike, one neuron is measured, and mirrors have the gains that they are made for.

    Parameters
    ----------
    sizes : Design
    chip : Chip
        With the corner in which it is.
    b : array, shape (n_latents,)
        The (first) input's drive, model units.
    """
    u, e = stairs_of(sizes)
    corner, alike, size = chip.nonideal.corner, chip.matched, len(sizes.weights)
    signs = (1, -1) if sizes.negative else (1,)
    found = {sign: sizes.entries(sign) for sign in signs}
    every = [entry for sign in signs for entry in found[sign]]
    copies = [(entry.name, entry.cell, (f"{entry.line}_{entry.source}", "")) for entry in every]
    where: dict[str, Any] = {
        "corner": corner.process,
        "celsius": corner.temperature - CELSIUS,
        "supply": SUPPLY * corner.supply,
        "chip": chip,
    }
    measured = staircase.measure(
        sizes.bias,
        sizes.threshold,
        sizes.gate,
        u * sizes.volt,
        e * sizes.unit_e,
        n=1 if alike else size,
        units=sizes.units,
        copies=() if alike else copies,
        **where,
    )
    neurons = in_model_units(sizes, measured)
    rest = float(measured.supply[len(e) // 2, int(np.argmin(np.abs(u)))])
    gains, inputs = np.zeros(size), sizes.inputs(b)
    made = [int(name.rpartition("_")[2]) for name, _, _ in inputs]
    gains[made] = -staircase.input_currents(sizes.bias, inputs, **where) / (b[made] * sizes.unit_e)
    matrices = {sign: np.where(np.sign(sizes.weights) == sign, sizes.gram, 0.0) for sign in signs}
    if alike:
        return ChipTables(neurons, matrices, gains, rest)
    each = iter(_gains(sizes, measured, every))
    for sign in signs:
        of_sign = [next(each) for _ in found[sign]]
        matrices[sign] = sign * matrix(size, found[sign], of_sign)
    return ChipTables(neurons, matrices, gains, rest)


def _gains(sizes: Design, measured: Measured, every: Sequence[Entry]) -> list[float]:
    """Return what each mirror makes of the code that its line was read as, 1/(model unit)^2."""
    u = measured.u / sizes.volt
    out = []
    for entry, copied in zip(every, measured.copies, strict=True):
        code = measured.code[entry.source, measured.lines.index(entry.line)]
        size = np.abs(code) / sizes.unit
        weight = np.where(size > sizes.width, np.exp(-size * sizes.lam), 0.0) * np.gradient(u)
        out.append(abs(fitted(copied, code, weight)) * sizes.unit / sizes.unit_e)
    return out


def in_model_units(sizes: Design, measured: Measured) -> tuple[NeuronTables, ...]:
    """Return what was measured of each neuron as tables."""
    u, e = measured.u / sizes.volt, measured.e / sizes.unit_e
    neurons = []
    for drift, code in zip(measured.drift, measured.code, strict=True):
        line = {name: values / sizes.unit for name, values in zip(measured.lines, code, strict=True)}
        positive = line["ps"] - line.get("nm", 0.0)
        negative = Table(u, line["ns"] - line.get("pm", 0.0)) if "ns" in line else None
        surface = Surface(u, e, drift / sizes.unit_e)
        neurons.append(NeuronTables(Table(u, positive), negative, surface, (1 / sizes.lam, sizes.lam), sizes.width))
    return tuple(neurons)
