"""A chip whose states are held: what each part takes from the supply, and how the drift lags behind a state."""

import numpy as np
import pytest
from transistor_models import needs_models

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.transistor import held
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.parts import BELOW
from circuitlsc.studies.energy import power

pytestmark = needs_models


@pytest.fixture(scope="module")
def sampler():
    model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)
    return build_sampler(model, np.array([1.0]), level="transistor")


def test_parts_take_what_the_supply_gives(sampler):
    chip, u = sampler.silicon, np.array([1.5])
    parts = held.powers(chip, sampler.model, sampler.scaling, u)
    circuit, cards = held._held(chip, sampler.model, sampler.scaling, u)
    found = analysed(held._deck(circuit, cards, ["vdd", "vss"]), "op")
    given = -(chip.supply - BELOW) * found["vdd#branch"][0] + BELOW * found["vss#branch"][0]
    assert sum(parts.values()) == pytest.approx(given, rel=1e-3)
    assert min(parts.values()) > 0
    assert set(parts) == {"threshold_0", "gate_0", "bias", "input_0", "w_0_0_ps"}


def test_the_drift_at_rest_is_that_of_the_tables_and_lags_most_where_the_code_is_small(sampler):
    found = {}
    for u in (sampler.sizes.crossing, 2.5):
        at = np.array([u])
        gain, delay = held.lags(sampler.silicon, sampler.model, sampler.scaling, at, 0)
        near = sampler.twin.drift(np.array([[u - 0.05], [u + 0.05]]))[:, 0]
        found[u] = gain[0], (near[1] - near[0]) / 0.1, delay[0] * abs(gain[0])
    (steep, _, edge), (gain, slope, inside) = found.values()
    assert gain == pytest.approx(slope, abs=0.1)  # -G: the gate is open
    assert steep > 0  # e < 0 opens the gate further
    assert edge > 2 * inside > 0
    assert edge / sampler.scaling.tau < 0.1  # what the rule for tau is for


def test_tables_of_a_chip_are_what_its_transistors_do():
    """With mirrors, inputs and neurons of its own: a factor of 1.05 on an entry is 0.2 units of drift here."""
    model = SparseCodingModel(np.array([[1.0, -0.4], [0.0, 0.9]]), SpikeSlab(0.3, 1.0), 0.5)
    x = np.array([1.0, 0.5])
    chip = build_sampler(model, x, level="transistor", nonideal={"mosfet": {"mismatch": 1.0}})
    assert chip.sizes.negative
    for u in ((-2.0, 3.0), (0.5, 1.8), (2.5, -1.6)):
        at = np.array(u)
        circuit, cards = held._held(chip.silicon, model, chip.scaling, at)
        found = analysed(held._deck(circuit, cards, ["vheld_0", "vheld_1"]), "op")
        current = np.array([found[f"vheld_{i}#branch"][0] for i in range(2)])
        np.testing.assert_allclose(current / chip.scaling.drift_current, chip.twin.drift(at), atol=0.06)


@pytest.mark.slow
def test_power_is_of_all_parts_with_the_noise_amplifier(sampler):
    rows, watts, _ = power(sampler)
    by_part = {row.part: row.watts for row in rows}
    assert watts == pytest.approx(sum(by_part.values()))
    assert set(by_part) == {"thresholds", "gates", "crossbar", "inputs", "bias block", "noise amplifiers"}
    assert 2e-6 < by_part["noise amplifiers"] < 8e-6
    assert 2e-6 < watts < 2e-5
