r"""Currents, volts and weights of a circuit in transistors: how they follow from the model.

.. math:: I_1 = \frac{10\,\mathrm{nA}}{\ell}, \quad V = \frac{0.1\,\mathrm{V}}{\ell}, \quad I_e = 2.5\,\mathrm{nA}\,\ell,
          \quad C_{int} = \frac{I_e\,\tau}{V}, \quad m_{ij} = \mathrm{round}\frac{G_{ij}}{g}, \quad g = \frac{I_1}{n I_e}

with l the slab's size, and n the units of a line's own mirror; less where u or e would leave weak inversion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.circuit.transistor.cells.bias import Currents, ideal_bias
from circuitlsc.circuit.transistor.cells.input import input_current, input_ratio, kind_of
from circuitlsc.circuit.transistor.cells.neuron import gate, threshold
from circuitlsc.circuit.transistor.cells.real_bias import real_bias
from circuitlsc.circuit.transistor.cells.signed import signed_gate, signed_threshold
from circuitlsc.circuit.transistor.crossbar import Entry, entries
from circuitlsc.circuit.transistor.parts import Placed, TransistorCell
from circuitlsc.circuit.transistor.rounding import Rounding
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.declared import Declared, choice, quantity
from circuitlsc.io.nearest import nearest
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import Ranges

ENGINES, TRIMS, NOISES = ("tables", "full"), ("none", "two", "full"), ("ideal", "amplifier")
UNIT, UNIT_E, VOLT = 10e-9, 2.5e-9, 0.1  # per slab of u, per unit of e, in ampere and volt
LARGEST_U, LARGEST_E = 0.85, 100e-9  # volt, ampere: how far cells are characterised, and hold
LEAST_E = 0.08  # I0 of the splitter of e, over the unit of e
MOST_LATENTS, MOST_UNITS = 8, 256
LINE_UNITS = (4, 8, 16, 32)
ROUNDED, REFUSED = 0.005, 0.01  # P(active): what rounding should, and what it may move it by
SUPPLY = 3.3  # volt
TAU = 4e-3  # second, of a line of 4 units that one mirror of 4 units copies, at I0 = 0.4 nA
FAN, REFERENCE_LEAST = 12, 0.4e-9  # units, ampere
RESOLVED, SLOW = 0.01, 1e-3  # tau at a tau of one millisecond: the step that transistors' Newton iteration follows
WIDTH = 0.04  # of the slab


@dataclass(frozen=True, kw_only=True)
class TransistorKeys(Declared):
    """How a circuit in transistors is simulated and trimmed."""

    engine: str = choice(
        "tables", ENGINES, "its cells are characterised and the netlist is behavioural, or every transistor"
    )
    area: float = quantity(1.0, "1", "a factor on the gate area of every transistor", low=0.1, high=100.0)
    trim: str = choice("none", TRIMS, "of each neuron: none, prior and gain, or besides threshold and both signs")
    noise: str = choice(
        "ideal", NOISES, "a voltage in series with the capacitors, or a resistor's through an amplifier"
    )
    weight_unit: float | None = quantity(
        None, "1/unit^2", "the weight of one unit mirror, for example 0.25", above=True, auto=True
    )


TransistorKeys.key = "transistor"
DEFAULT = TransistorKeys()


@dataclass(frozen=True, eq=False)
class Design:
    """The sizes of a circuit in transistors; ampere and volt per model unit.

    Attributes
    ----------
    keys : TransistorKeys
    unit, unit_e : float
        Ampere per unit of u and s, and of e and drift.
    volt : float
        Volt per unit of u.
    width : float
        w = I0/I1, in model units.
    u0, lam : float
        Of the prior.
    weights : array of int, shape (n_latents, n_latents)
        m_ij, unit mirrors with their sign.
    units : int
        Of a line's own mirror.
    reach_u, reach_e : float
        How far the cells are characterised, in model units.
    signed : bool
        Whether codes may be negative.
    ideally_biased : bool
        Whether bias voltages and currents are ideal, for comparison.
    moved : float
        What rounding the weights moves P(active) by, at the most.
    """

    keys: TransistorKeys
    unit: float
    unit_e: float
    volt: float
    width: float
    u0: float
    lam: float
    weights: NDArray[np.int64]
    units: int
    reach_u: float
    reach_e: float
    signed: bool = False
    ideally_biased: bool = False
    moved: float = 0.0

    @property
    def crossing(self) -> float:
        """The abs(u) where s = w: a(u) = u0, or f(u) = u0 if codes are signed, model units."""
        return self.u0 - self.width**2 / self.u0 if self.signed else math.sqrt(self.u0**2 - 4 * self.width**2)

    @property
    def negative(self) -> bool:
        """Whether an entry of the crossbar is negative."""
        return bool((self.weights < 0).any())

    @cached_property
    def threshold(self) -> TransistorCell:
        """The first half of a neuron."""
        made = (signed_threshold if self.signed else threshold)(self.ohm, self.units, negative=self.negative)
        return made.scaled(self.keys.area)

    @cached_property
    def gate(self) -> TransistorCell:
        """The second half."""
        return (signed_gate() if self.signed else gate()).scaled(self.keys.area)

    @cached_property
    def bias(self) -> TransistorCell:
        """The bias block."""
        made = ideal_bias(self.currents) if self.ideally_biased else real_bias(self.currents)
        return made.scaled(self.keys.area)

    def entries(self, sign: int) -> list[Entry]:
        """Return the mirrors of the crossbar's entries of one sign."""
        return entries(self.weights, sign, signed=self.signed, area=self.keys.area)

    def inputs(self, b: Array) -> list[Placed]:
        """Return the mirrors that make inputs b (n_latents,) of bias currents, into ``e_i``; none of a b that is 0."""
        found: list[Placed] = []
        for i, value in enumerate(b):
            made = input_ratio(float(value), self.currents, self.unit_e)
            if made is not None:
                found.append((f"input_{i}", input_current(kind_of(value), made).scaled(self.keys.area), (f"e_{i}",)))
        return found

    @property
    def ohm(self) -> float:
        """The converters' resistor, ohm."""
        return self.volt / self.unit

    @property
    def said(self) -> str:
        """The unit currents in words."""
        currents = self.currents
        return (
            f"{self.unit:.3g} A per unit of u and s, {self.unit_e:.3g} A per unit of e and drift, {self.volt:.3g} V per "
            f"unit of u, I0 {currents.least:.3g} A (w = {self.width:.3g}), converter {self.ohm:.3g} ohm"
        )

    @property
    def weight_unit(self) -> float:
        """What one unit mirror weighs, g, in 1/(model unit)^2."""
        return self.unit / (self.units * self.unit_e)

    @property
    def gram(self) -> Array:
        """The matrix that the mirrors make, 1/(model unit)^2."""
        return np.asarray(self.weights * self.weight_unit, dtype=float)

    def times(self, tau: float | None, c_int: float | None, rails: float | None) -> tuple[float, float, float]:
        """Return tau (s), c_int (F) and rails (V): what is given, or what follows from it.

        Raises
        ------
        InputError
            If tau and c_int do not belong to each other, or the rails are no supply of the process.
        """
        per_second = self.unit_e / self.volt  # farad
        if tau is None:
            tau = self.slow_tau if c_int is None else c_int / per_second
        wanted = per_second * tau
        if c_int is not None and not math.isclose(c_int, wanted, rel_tol=1e-3):
            raise InputError(
                f"circuit.c_int = {c_int!r} F and tau = {tau!r} s do not belong together: a unit of drift is "
                f"{self.unit_e:.3g} A and one of u {self.volt:.3g} V, so tau asks for {wanted:.4g} F. Leave one of them out."
            )
        if rails is not None and not math.isclose(2 * rails, SUPPLY):
            raise InputError(
                f"circuit.rails = {rails!r} V is a supply of {2 * rails:.3g} V in all, and the transistors are made for "
                f"{SUPPLY:g} V. Leave it out; nonideal.corner.supply is a factor on it."
            )
        return float(tau), float(wanted), SUPPLY / 2

    @property
    def warned(self) -> tuple[str, ...]:
        """What to say of rounding, if it moves the posterior further than it should."""
        if self.moved <= ROUNDED:
            return ()
        return (
            f"rounding the weights to mirrors of {self.weight_unit:.4g} moves P(active) by {self.moved:.2g}, and "
            f"{ROUNDED:g} is aimed at.",
        )

    @property
    def slow_tau(self) -> float:
        r"""The tau beside which the code lines' lag is small, seconds.

        .. math:: \tau = 4\,\mathrm{ms}\;\frac{2n + \sum_j |m_{ji}|}{12}\;\frac{0.4\,\mathrm{nA}}{I_0}\;\mathrm{area}

        A line of n units, with its copy and its fan-out, is a capacitor that the weak current I0 moves where the code is
        small. At this tau paths of transistors and tables on the same noise are apart by 0.004 units (median) after one tau.
        """
        fan = 2 * self.units + int(np.abs(self.weights).sum(axis=0).max())
        return TAU * fan / FAN * REFERENCE_LEAST / (self.width * self.unit) * self.keys.area

    def step(self, tau: float, given: float | None, planned: float) -> float | None:
        r"""Return the step, in tau: that of the plan (None), or a shorter one where the netlist is of transistors.

        .. math:: h \le 0.01\sqrt{1\,\mathrm{ms}/\tau}

        Measured: above it a tenth of ngspice's steps do not converge, because a splitter whose current jumps by many I0 has
        nothing but its own capacitance (larger against C_int where tau is short) to hold Newton's iteration.
        """
        if given is not None or self.keys.engine == "tables":
            return given
        return min(planned, RESOLVED * math.sqrt(SLOW / tau))

    @property
    def currents(self) -> Currents:
        """What the bias block makes."""
        return Currents(self.width * self.unit, LEAST_E * self.unit_e, self.u0 * self.unit, self.lam * self.unit_e)


def as_keys(given: TransistorKeys | Mapping[str, Any] | None) -> TransistorKeys:
    """Return keys from a mapping, or the defaults."""
    if given is None:
        return DEFAULT
    if isinstance(given, TransistorKeys):
        return given
    if not isinstance(given, Mapping):
        raise InputError(f"transistor = {given!r} is not a mapping. Give for example {{'engine': 'tables'}}.")
    known = [f.name for f in fields(TransistorKeys)]
    for name in given:
        if name not in known:
            raise InputError(f"transistor.{name} is not known.{nearest(name, known)} It has {', '.join(known)}.")
    return TransistorKeys(**given)


#: parts of `circuitlsc.nonideal` that a circuit in transistors has, and what of its corner
OWN_PARTS, NOT_OF_CORNER = ("corner", "mosfet"), ("corner.resistance", "corner.capacitance")


def check_silicon(model: SparseCodingModel, dynamics: Dynamics, form: str, loop: str, parts: Nonidealities) -> None:
    """Raise InputError if there are no transistors for a model, its dynamics, a form, a loop or an imperfection."""
    prior = model.prior
    for imperfection in parts.imperfections():
        if imperfection.name.partition(".")[0] not in OWN_PARTS or imperfection.name in NOT_OF_CORNER:
            raise InputError(
                f"nonideal.{imperfection.name} = {imperfection.value!r} is of parts that a circuit in transistors has not: it "
                'has nonideal.corner (process, temperature, supply) and nonideal.mosfet. Remove it, or use level = "device".'
            )
    if loop != "closed":
        raise InputError(f'level = "transistor" has loop = "closed" alone, and loop is "{loop}". Leave it out.')
    if dynamics.kind != "langevin":
        raise InputError(
            f'level = "transistor" has dynamics.kind = "langevin" alone, and kind is "{dynamics.kind}". Use level = "device".'
        )
    if form != "gram":
        raise InputError(f'level = "transistor" has form = "gram" alone, and form is "{form}". Set form = "gram".')
    if not isinstance(prior, SpikeSlab) or not prior.sparse:
        raise InputError(
            f'level = "transistor" has cells of a spike-and-slab prior with pi < 1 alone, and the prior is {prior!r}. '
            'Give kind = "spike-slab", or use level = "device".'
        )
    if model.n_latents > MOST_LATENTS:
        raise InputError(
            f'level = "transistor" holds up to {MOST_LATENTS} latents, and the model has {model.n_latents}: a code line would '
            'lag behind its mirrors. Use level = "device", or a smaller dictionary.'
        )
    if dynamics.T != 1:
        raise InputError(f'level = "transistor" samples at temperature 1, and it is {dynamics.T!r}. Leave it out.')


def design(
    model: SparseCodingModel, x: Array, ranges: Ranges, keys: TransistorKeys, *, width: float | None, volt: float | None
) -> Design:
    """Return the sizes for a model and its inputs.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
    ranges : Ranges
        How large u and e become.
    keys : TransistorKeys
    width, volt : float or None
        Model units; volt per unit. None chooses.

    Raises
    ------
    InputError
        If u, e or the weights need more than the cells have, with both numbers.
    """
    slab = model.prior.slab_scale
    room = LARGEST_U / ranges.u
    if volt is not None and volt > room:
        raise InputError(
            f"circuit.volt = {volt!r} V per unit puts u (up to {ranges.u:.3g} units) at {volt * ranges.u:.3g} V, and the "
            f"transistors hold it within {LARGEST_U:g} V. Give volt <= {room:.3g}."
        )
    volt = min(VOLT / slab, room) if volt is None else volt
    unit = UNIT * volt / VOLT  # the resistor is 10 megohm
    largest = min(UNIT_E * slab, LARGEST_E / ranges.e)
    units, scale, weights, moved = choose_weights(model, x, unit, largest, keys.weight_unit)
    return Design(
        keys=keys,
        unit=unit,
        unit_e=unit / (units * scale),
        volt=volt,
        width=WIDTH * slab if width is None else width,
        u0=model.prior.threshold,
        lam=1 / slab,
        weights=weights,
        units=units,
        moved=moved,
        signed=model.prior.signed,
        reach_u=LARGEST_U / volt,
        reach_e=max(1.6 * ranges.e, 16 / slab),
    )


def choose_weights(
    model: SparseCodingModel, x: Array, unit: float, largest_e: float, given: float | None
) -> tuple[int, float, NDArray[np.int64], float]:
    """Return the units of a line, the weight of one unit, the weights in units, and what rounding moves P(active) by.

    The unit current of e may be ``largest_e`` or up to half as much: of all weights of a unit that this allows the one is
    taken that rounding moves P(active) least by, at the fewest units at which that is below `ROUNDED`.

    Raises
    ------
    InputError
        If a row needs more mirrors than a node takes, or no weight of a unit leaves the posterior where it is.
    """
    gram, rounding = model.gram, Rounding(model, x)
    if given is not None:
        weights = _weights(gram, given)
        _check(gram, weights, given)
        error = float(rounding.moved([weights * given - gram])[0])
        return _units_for(unit, largest_e, given), given, weights, error
    best: tuple[float, int, float] = (math.inf, 0, 0.0)
    for units in LINE_UNITS:
        coarse = unit / (units * largest_e)
        every = np.unique(np.concatenate([coarse * np.geomspace(1, 2, 200), _exact(gram, coarse)]))
        candidates = [g for g in every if _lowest(gram, _weights(gram, g), g) >= 0]
        if candidates:
            moved = rounding.moved([_weights(gram, g) * g - gram for g in candidates])
            error, scale = min(zip(moved.tolist(), map(float, candidates), strict=True))
            if error < best[0]:
                best = (error, units, scale)
        if best[0] <= ROUNDED:
            break
    error, units, scale = best
    if error > REFUSED:
        raise InputError(
            f"rounding the weights to mirrors of a line of at most {LINE_UNITS[-1]} moves P(active) by {error:.2g} at the "
            f"least, and {REFUSED:g} is allowed. Give a transistor.weight_unit, or a model with less overlap or a larger sigma."
        )
    weights = _weights(gram, scale)
    _check(gram, weights, scale)
    return units, scale, weights, error


def _exact(gram: Array, coarse: float) -> Array:
    """Return weights of a unit of which the smallest entry is a whole number of units, within 1 .. 2 times the coarsest."""
    least = float(np.min(np.abs(gram[np.abs(gram) > 1e-9 * np.abs(gram).max()])))
    found = least / np.arange(1, 65)
    return np.asarray(found[(found >= coarse * (1 - 1e-12)) & (found <= 2 * coarse)])


def _units_for(unit: float, largest_e: float, scale: float) -> int:
    return next((n for n in LINE_UNITS if unit / (n * scale) <= largest_e * (1 + 1e-12)), LINE_UNITS[-1])


def _weights(gram: Array, scale: float) -> NDArray[np.int64]:
    return np.asarray(np.rint(gram / scale).astype(np.int64))


def _lowest(gram: Array, weights: NDArray[np.int64], scale: float) -> float:
    """Return the least eigenvalue of rounded weights; 0 if it is that but for rounding of numbers."""
    lowest = float(np.linalg.eigvalsh(weights.astype(float))[0]) * scale
    return 0.0 if abs(lowest) <= 1e-9 * float(np.abs(gram).max()) else lowest


def _check(gram: Array, weights: NDArray[np.int64], scale: float) -> None:
    fan = int(np.abs(weights).sum(axis=1).max())
    if fan > MOST_UNITS:
        raise InputError(
            f"a row of the weights has {fan} unit mirrors of {scale:.3g} each, and a node takes {MOST_UNITS}. Give a larger "
            "transistor.weight_unit, or a model with a larger sigma."
        )
    if (lowest := _lowest(gram, weights, scale)) < 0:
        raise InputError(
            f"the weights in units of {scale:.3g} are not positive semidefinite (least eigenvalue {lowest:.3g}): "
            f"the energy would have no bound. Give a transistor.weight_unit below {scale:.3g}."
        )


def unrounded(sizes: Design, gram: Array) -> Array:
    """Return what rounding leaves out of a matrix."""
    return np.asarray(sizes.gram - gram)


def with_engine(sizes: Design, engine: str) -> Design:
    """Return the same sizes for another engine."""
    return replace(sizes, keys=replace(sizes.keys, engine=engine))
