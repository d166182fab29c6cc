"""The bias block of transistors: ratios, currents, headroom, start, errors of its devices, the implied posterior."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from transistor_models import needs_models

from circuitlsc.circuit.transistor.cells import neuron
from circuitlsc.circuit.transistor.cells.bias import COPY, SINK, Currents
from circuitlsc.circuit.transistor.cells.converter import POLY, tracking
from circuitlsc.circuit.transistor.cells.real_bias import ABOUT, EXACT, REFERENCE, ratio, real_bias
from circuitlsc.circuit.transistor.headroom import headroom
from circuitlsc.circuit.transistor.implied import INPUTS, errors, exact, posterior, rescaled
from circuitlsc.circuit.transistor.parts import Chip, Current, TransistorCell
from circuitlsc.circuit.transistor.staircase import measure, operating_points, pins_of, placed
from circuitlsc.circuit.transistor.startup import at_rest, held_bias, start
from circuitlsc.circuit.transistor.tables import NeuronTables
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.piecewise_linear import Surface, Table
from circuitlsc.nonideal.nonidealities import Nonidealities

I1, IE, VOLT, OHM, W, U0, G = 10e-9, 2.5e-9, 0.1, 1e7, 0.04, 1.204, 4.0
CURRENTS = Currents(W * I1, 0.08 * IE, U0 * I1, IE)
GATE = neuron.gate()
CORNERS = [
    *(("typical", t, 3.3) for t in (27.0, -40.0, 85.0, 125.0)),
    *((c, 27.0, 3.3) for c in ("ff", "ss", "fs", "sf")),
    *(("ff", 125.0, 3.3), ("ss", -40.0, 3.3), ("ff", -40.0, 3.3), ("ss", 125.0, 3.3)),
    *((c, 27.0, s) for c in ("typical", "ss", "ff") for s in (3.0, 3.6)),
]
EXTREMES = [(c, t, s) for c in ("typical", "ff", "ss", "fs", "sf") for t in (-40.0, 27.0, 125.0) for s in (3.0, 3.6)]
WORST = [EXTREMES[k] for k in (2, 12, 19, 16, 28, 11)]


def block(celsius: float = 27.0) -> TransistorCell:
    """Return the bias block with a reference that tracks the converters' resistors."""
    return real_bias(CURRENTS, reference=REFERENCE * tracking(celsius))


# ratios ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.004, 0.025, 0.1204, 0.3177, 1.73])
def test_any_current_is_a_ratio_of_units(wanted: float) -> None:
    for tolerance in (EXACT, ABOUT):
        made = ratio(wanted, tolerance)
        n1, n2, n3 = made.copies
        assert made.value == pytest.approx(n1 * n2 * n3 / (10 * made.lines[0] * made.lines[1]))
        assert made.value == pytest.approx(wanted, rel=tolerance)
    assert ratio(wanted, ABOUT).units <= ratio(wanted, EXACT).units


def test_a_current_out_of_reach_is_refused() -> None:
    with pytest.raises(InputError, match=r"1e-12 A is asked for.*24 units"):
        ratio(1e-5, EXACT)


# the operating point --------------------------------------------------------------------------------------------------


def through(found: dict[str, Array], name: str) -> float:
    return float(found[f"id m.xbias.m{name}"][0])


@needs_models
def test_currents_follow_the_reference() -> None:
    found = at_rest(block())
    made = {"dpis": COPY + SINK, "dpic": COPY, "dnib": SINK, "dpth": CURRENTS.u0, "dnlam": CURRENTS.lam}
    for name, wanted in made.items():
        assert through(found, name) == pytest.approx(wanted, rel=0.003), name
    for name, wanted in (("dbn", CURRENTS.least), ("dbp", CURRENTS.least), ("dbne", 0.2e-9), ("dbpe", 0.2e-9)):
        assert through(found, name) == pytest.approx(wanted, rel=0.02), name
    assert float(found["id vdd"][0]) < 1e-6
    assert 4500 < block().gate_area < 5600


@needs_models
@pytest.mark.parametrize(("corner", "celsius"), [("fs", -40.0), ("ff", 125.0)])
def test_headroom_of_the_block(corner: str, celsius: float) -> None:
    found = at_rest(block(celsius), corner=corner, celsius=celsius, supply=3.0)
    margins = headroom(block(celsius), "xbias", (), found, celsius, least=1e-10)
    assert len(margins) > 60
    assert min(margins.values()) > 0, sorted(margins.items(), key=lambda m: m[1])[:3]


@needs_models
def test_headroom_sees_a_stack_that_is_too_low() -> None:
    found = dict(at_rest(block()))
    found["pth"] = found["xbias.kthc2"] + 0.05
    low = headroom(block(), "xbias", (), found, 27.0, least=1e-10)
    assert [name for name, margin in low.items() if margin < 0] == ["m.xbias.mthc2c"]


@needs_models
def test_errors_of_devices_go_through_the_block() -> None:
    chips = [Chip(Nonidealities(mosfet={"mismatch": 1.0}, seed=seed)) for seed in (1, 2)]
    plain, first, second = at_rest(block()), *(at_rest(block(), chip=chip) for chip in chips)
    for name in ("dpis", "dnlam", "dbn"):
        values = {through(found, name) for found in (plain, first, second)}
        assert len(values) == 3
        assert max(values) < 1.4 * min(values)


# start ----------------------------------------------------------------------------------------------------------------


@needs_models
def test_a_supply_ramp_starts_it() -> None:
    begun = start(real_bias(CURRENTS, reference=None), (), rise=1e-6, reference=REFERENCE)
    assert begun.time[0] < 1e-7
    assert abs(begun.volts["bn"][0] - begun.rest["bn"]) > 0.5
    assert begun.off < 1e-6
    assert begun.settled() < 2e-3


@needs_models
@pytest.mark.slow
def test_a_block_that_does_not_start_is_seen() -> None:
    bias = real_bias(CURRENTS, reference=None)
    whole = start(bias, (), rise=1e-6, reference=REFERENCE)
    cut = replace(
        bias, parts=tuple(part for part in bias.parts if part.name != "pb")
    )  # no current for the cascodes' gates
    begun = start(cut, (), rise=1e-6, reference=REFERENCE)
    assert replace(begun, rest=whole.rest).settled() == np.inf


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize(("corner", "celsius", "supply"), EXTREMES)
def test_starts_at_every_corner(corner: str, celsius: float, supply: float) -> None:
    for rise in (1e-3, 1e-6):
        setting = {"rise": rise, "reference": REFERENCE, "corner": corner, "celsius": celsius, "supply": supply}
        begun = start(real_bias(CURRENTS, reference=None), [neuron.threshold(OHM), GATE], **setting)
        assert begun.off < 1e-5
        assert begun.settled() < rise + 2e-3


# headroom of a neuron on it -------------------------------------------------------------------------------------------


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize(("corner", "celsius", "supply"), WORST)
def test_headroom_of_a_neuron(corner: str, celsius: float, supply: float) -> None:
    u, e = (
        np.array([-8.0, -4.0, -2.0, -1.2, -0.5, 0.0, 0.5, 1.2, 2.0, 4.0, 8.0]),
        np.array([-40.0, -10.0, 0.0, 10.0, 40.0]),
    )
    bias, threshold, now = block(celsius), neuron.threshold(OHM, drift=POLY), tracking(celsius)
    setting = {"corner": corner, "celsius": celsius, "supply": supply}
    found = operating_points(bias, threshold, GATE, u * VOLT, e * IE * now, **setting)
    for cell, path in placed(bias, threshold, GATE):
        least = 1e-10 if cell is bias else 1e-9
        margins = headroom(cell, path, pins_of(cell), found, celsius, least)
        margins.pop("m.xthreshold_0.xvi.mcc", None)  # where x0 is high, the device above it has the voltage
        assert min(margins.values()) > 0, sorted(margins.items(), key=lambda m: m[1])[:3]


# posteriors -----------------------------------------------------------------------------------------------------------

FINE = np.unique(
    np.round(np.concatenate([np.arange(0, 0.3, 0.03), np.arange(0.8, 1.6, 0.03), np.arange(0.3, 8.6, 0.4)]), 6)
)
U, E = np.concatenate([-FINE[:0:-1], FINE]), np.array([-40.0, -10.0, 0.0, 10.0, 40.0])


def hyperbolic(gain: float = 1.0, lam: float = 1.0) -> NeuronTables:
    """Return the tables of a neuron of ideal cells."""
    u = np.linspace(-8.5, 8.5, 1701)
    a = np.hypot(u, 2 * W)
    s = ((a - U0) + np.hypot(a - U0, 2 * W)) / 2
    slope = s / np.hypot(a - U0, 2 * W)
    drift = -(gain * slope * E[:, None] + lam) * u / a
    return NeuronTables(Table(u, s), None, Surface(u, E, drift), (1.0, 1.0), W)


def test_ideal_tables_imply_the_exact_posterior() -> None:
    off = errors(hyperbolic(), G, W)
    assert off.shape == (len(INPUTS), 3)
    assert np.abs(off).max() < 0.008
    assert exact(0.0, G).active == pytest.approx(posterior(hyperbolic(), 0.0, G, W).active, abs=0.008)
    assert np.abs(errors(hyperbolic(1.15, 1.2), G, W)).max() > 0.02


def test_two_numbers_cure_gain_and_prior() -> None:
    cured = rescaled(hyperbolic(1.15, 1.2))
    assert np.abs(errors(cured, G, W) - errors(hyperbolic(), G, W)).max() < 0.003


@cache
def tables(corner: str, celsius: float, supply: float) -> NeuronTables:
    """Return a neuron's tables, all currents in proportion to 1/R."""
    now = tracking(celsius)
    setting = {"corner": corner, "celsius": celsius, "supply": supply}
    bias = held_bias(at_rest(block(celsius), **setting))
    found = measure(bias, neuron.threshold(OHM, drift=POLY), GATE, U * VOLT, E * IE * now, **setting)
    code, drift = found.code[0, 0] / (I1 * now), found.drift[0] / (IE * now)
    return NeuronTables(Table(U, code), None, Surface(U, E, drift), (1.0, 1.0), W)


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize(("corner", "celsius", "supply"), CORNERS)
def test_implied_posterior_with_the_block(corner: str, celsius: float, supply: float) -> None:
    nominal = (corner, celsius, supply) == ("typical", 27.0, 3.3)
    found = tables(corner, celsius, supply)
    assert np.abs(errors(found, G, W)).max() < (0.03 if nominal else 0.04)
    assert np.abs(errors(rescaled(found), G, W)).max() < (0.015 if nominal else 0.02)


@needs_models
@pytest.mark.slow
def test_a_constant_reference_misses_the_threshold() -> None:
    bias = held_bias(at_rest(real_bias(CURRENTS), celsius=125.0))
    found = measure(bias, neuron.threshold(OHM, drift=POLY), GATE, U * VOLT, E * IE, celsius=125.0)
    constant = NeuronTables(Table(U, found.code[0, 0] / I1), None, Surface(U, E, found.drift[0] / IE), (1.0, 1.0), W)
    assert np.abs(errors(rescaled(constant), G, W)).max() > 0.025
    assert np.abs(errors(rescaled(tables("typical", 125.0, 3.3)), G, W)).max() < 0.015


@needs_models
@pytest.mark.slow
def test_neurons_hardly_move_the_lines() -> None:
    """Seven more neurons at u = 8 units drive 1.1 uA into vr0 and 0.6 uA into vr1."""
    u, e = np.array([-8.0, -3.0, -1.3, -1.2, -1.1, 0.0, 1.1, 1.2, 1.3, 3.0, 8.0]) * VOLT, E * IE
    threshold, bias = neuron.threshold(OHM), block()

    def drift(cell: TransistorCell) -> Array:
        return measure(cell, threshold, GATE, u, e).drift[0] / IE

    def loaded(cell: TransistorCell) -> TransistorCell:
        return replace(
            cell, parts=(*cell.parts, Current("m0", "vdd", "vr0", 1.12e-6), Current("m1", "vdd", "vr1", 0.56e-6))
        )

    alone = drift(bias)
    assert np.abs(drift(loaded(bias)) - alone).max() < 0.011
    assert np.abs(drift(held_bias(at_rest(bias))) - alone).max() < 0.003
    # without the wide devices that take them the lines would rise
    parts = tuple(replace(p, m=1, w=0.3, l=8.0) if p.name in ("sr0", "sr1") else p for p in bias.parts)
    assert np.abs(drift(loaded(replace(bias, parts=parts))) - alone).max() > 0.02
