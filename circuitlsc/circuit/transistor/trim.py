r"""Trim: voltages in series with the gates of a few devices of each neuron, found from what its cells were measured to do.

The tables of a neuron (with its own mirror) imply a law of its code at any drive; that of the cell that it is
made for is known. Trims make the differences between the two small over a range of drives:

.. math:: r_k = P_k(\text{active}) - P^*_k, \qquad \min_v \sum_k r_k^2 + \sum_l \left(\frac{v_l}{v_0}\right)^2

P over the drives holds threshold, prior and gain of e. An input is trimmed on its own, until it is measured to be b.
How the tables change with v is foretold (weak inversion: a current is divided by :math:`e^{v/(n U_T)}`), then measured, and
foretold again from there. Of all that was measured, each neuron without a trim among it, the best is kept: a trim never
makes these differences larger.

=========  ===========================================================================
trim       devices
=========  ===========================================================================
``two``    lam's mirror; both tails of e (one number); the input's last mirror
``full``   lam's mirror; each tail of e; each half of u; the mirrors of u0; the input's last one
=========  ===========================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import least_squares

from circuitlsc.circuit.transistor import implied
from circuitlsc.circuit.transistor.design import Design
from circuitlsc.circuit.transistor.parts import Chip
from circuitlsc.circuit.transistor.tables import ChipTables, NeuronTables, characterise, input_gains
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Surface, Table
from circuitlsc.planning.scaling import BOLTZMANN

#: v/U_T that divides a current by e, roughly, of mirrors and of logarithms of u: what it leaves is trimmed by the next pass
MIRROR, LOGARITHM = 1.85, 1.55
CHARGE = 1.602176634e-19
PASSES = 2
ENOUGH = 1e-3  # root mean square of the differences: a neuron that is so good is left
MOST = 0.1  # volt: what a trim's range is
STEP, MOST_STEPS = 2e-4, 10  # volt, for derivatives; of the search in what is foretold
SMALL = 2.0  # volt: v0, so that 2 mV count as a difference of 0.001
DRIVES = (-0.5, 3.5, 9)  # slabs: from, to, how many
POINTS = 2001


@dataclass(frozen=True, eq=False)
class _Neuron:
    """Which devices of neuron i of a design have trims, and what they should make of its tables."""

    sizes: Design
    i: int
    thermal: float  # U_T, volt

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The devices that share a number, for each number."""
        gate, threshold = f"gate_{self.i}", f"threshold_{self.i}"
        if self.sizes.keys.trim == "two":
            return (f"{gate}.lam",), (f"{gate}.tp", f"{gate}.tn")
        own = ("th1", "th2") if self.sizes.signed else ("th",)
        names = [f"{gate}.{name}" for name in ("lam", "tp", "tn")]
        return tuple((name,) for name in (*names, *(f"{threshold}.{name}" for name in ("a1", "a2", *own))))

    @property
    def names(self) -> list[str]:
        """One device for each number, without where it is."""
        return [paths[0].partition(".")[2] for paths in self.paths]

    @property
    def gain(self) -> float:
        """G_ii."""
        return float(self.sizes.gram[self.i, self.i])

    @cached_property
    def drives(self) -> Array:
        """The least-squares codes at which laws are compared, model units."""
        low, high, count = DRIVES
        return np.linspace(-high if self.sizes.signed else low, high, count) / self.sizes.lam

    @cached_property
    def wanted(self) -> Array:
        lam, u0, signed = self.sizes.lam, self.sizes.u0, self.sizes.signed
        return np.array([implied.exact(x, self.gain, lam=lam, u0=u0, signed=signed).active for x in self.drives])

    def differences(self, neuron: NeuronTables, tables: ChipTables) -> Array:
        """Return r of a neuron's tables."""
        m = float(tables.matrices[1][self.i, self.i])
        at = self.drives * self.gain / m
        width = self.sizes.width
        return np.array([implied.posterior(neuron, x, m, width, points=POINTS).active for x in at]) - self.wanted

    def foretold(self, neuron: NeuronTables, volts: Array) -> NeuronTables:
        """Return the tables that a neuron would have with so many volts more."""
        given = dict(zip(self.names, volts, strict=True))
        slope = {"a1": LOGARITHM, "a2": LOGARITHM}
        k = {name: math.exp(-volt / (self.thermal * slope.get(name, MIRROR))) for name, volt in given.items()}
        u, e, drift = neuron.drift.knots, neuron.drift.others, neuron.drift.values
        u0, centre = self.sizes.u0, neuron.centre
        size, knots = np.abs(u - centre), np.full(len(u), centre)
        for side, scale, threshold in ((1, "a1", "th1"), (-1, "a2", "th2")):
            # a p-channel device: a threshold that is raised makes it carry more
            lift = (1 / k.get(threshold, k.get("th", 1.0)) - 1) * u0 * np.minimum(2 * size / u0, 1)
            knots += np.where(side * (u - centre) > 0, side * (size + lift) / k.get(scale, 1.0), 0.0)
        rest = drift[int(np.argmin(np.abs(e)))]
        tail = np.where(e > 0, k["tp"], k.get("tn", k["tp"]))[:, None]
        values = k["lam"] * rest + tail * (drift - rest)
        return replace(neuron, code=Table(knots, neuron.code.values), drift=Surface(knots, e, values))

    def better(self, tables: ChipTables, was: Array) -> Array:
        """Return volts (n_numbers,), from those with which tables were measured."""
        neuron = tables.of(len(self.sizes.weights))[self.i]

        def off(volts: Array) -> Array:
            return np.append(self.differences(self.foretold(neuron, volts - was), tables), volts / SMALL)

        def slopes(volts: Array) -> Array:
            at = off(volts)
            return np.stack([(off(volts + STEP * one) - at) / STEP for one in np.eye(len(volts))], axis=1)

        return np.asarray(least_squares(off, was, slopes, bounds=(-MOST, MOST), x_scale=1e-3, max_nfev=MOST_STEPS).x)


def trimmed(sizes: Design, chip: Chip, b: Array) -> tuple[Chip, ChipTables]:
    """Return a chip with its trims, as ``sizes.keys.trim`` says, and its tables."""
    tables = characterise(sizes, chip, b)
    if sizes.keys.trim == "none":
        return chip, tables
    thermal = BOLTZMANN * chip.nonideal.corner.temperature / CHARGE
    neurons = [_Neuron(sizes, i, thermal) for i in range(len(sizes.weights))]
    measured = [_measured(neuron, chip, tables) for neuron in neurons]
    best = list(measured)
    for _ in range(PASSES):
        if max(off for off, _, _ in best) < ENOUGH:
            break
        wanted = [
            volts if off < ENOUGH else neuron.better(found, volts)
            for neuron, (off, volts, found) in zip(neurons, best, strict=True)
        ]
        other = _with(chip, neurons, wanted)
        tables = characterise(sizes, other, b)
        measured = [_measured(neuron, other, tables) for neuron in neurons]
        best = [min(pair, key=lambda one: one[0]) for pair in zip(best, measured, strict=True)]
    chip = _with(chip, neurons, [volts for _, volts, _ in best])
    chip = _with_inputs(chip, sizes, b, thermal)
    return chip, characterise(sizes, chip, b)


def _measured(neuron: _Neuron, chip: Chip, tables: ChipTables) -> tuple[float, Array, ChipTables]:
    """Return how far a neuron's law is off (root mean square), its volts, and the tables."""
    own = tables.of(len(neuron.sizes.weights))[neuron.i]
    off = float(np.sqrt(np.mean(neuron.differences(own, tables) ** 2)))
    return off, np.array([chip.trims.get(paths[0], 0.0) for paths in neuron.paths]), tables


def _with(chip: Chip, neurons: list[_Neuron], volts: list[Array]) -> Chip:
    """Return a chip with these trims; one of zero is none."""
    trims = {
        path: float(volt)
        for neuron, own in zip(neurons, volts, strict=True)
        for paths, volt in zip(neuron.paths, own, strict=True)
        for path in paths
        if volt != 0
    }
    return replace(chip, trims=trims)


def _with_inputs(chip: Chip, sizes: Design, b: Array, thermal: float) -> Chip:
    """Return a chip whose inputs are trimmed, too: the last mirror of each."""
    for _ in range(PASSES):
        gains = input_gains(sizes, chip, b)
        volts = MIRROR * thermal * np.log(np.where(gains > 0, gains, 1.0))
        paths = [f"input_{i}.o" for i in range(len(b))]
        more = {path: chip.trims.get(path, 0.0) + float(volt) for path, volt in zip(paths, volts, strict=True) if volt}
        chip = replace(chip, trims={**chip.trims, **more})
    return chip
