"""Chips of transistors: mismatch by seed, trims, what is kept of a chip, studies of many, and what rounding moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from transistor_models import needs_models

from circuitlsc.circuit.transistor import implied, kept, staircase, tables, trim
from circuitlsc.circuit.transistor.parts import Chip, Mos, within_models
from circuitlsc.circuit.transistor.rounding import Rounding, draws
from circuitlsc.errors import InputError, SimulationError
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.reference.exact import enumerate_supports
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.studies.against_exact import with_gram
from circuitlsc.studies.budget import LAG, ROUNDING, SILICON_CORNERS, WIDTH, error_budget, variants
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.studies.circuit_calibration import calibrate_circuit

pytestmark = needs_models

ONE = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)
TWO = SparseCodingModel(np.array([[1.0, 0.6], [0.0, 0.8]]), SpikeSlab(0.3, 1.0), 0.5)
MISMATCH = {"mosfet": {"mismatch": 1.0}}
SHORT: dict[str, Any] = {"level": "transistor", "t_stop": 100.0, "warmup": 20.0, "chains": 1, "workers": 2}


def test_neurons_of_a_chip_differ_and_a_seed_repeats_them() -> None:
    x = np.array([1.0, 0.5])
    chip = build_sampler(TWO, x, level="transistor", nonideal=Nonidealities(MISMATCH, seed=4)).silicon
    first, second = chip.tables.neurons
    assert np.abs(first.code.values - second.code.values).max() > 0.01
    again = replace(chip, parts=Nonidealities(MISMATCH, seed=4)).tables
    np.testing.assert_array_equal(again.neurons[0].drift.values, first.drift.values)
    matrix = chip.tables.matrices[1]
    assert abs(matrix[0, 1] - matrix[1, 0]) > 1e-3
    np.testing.assert_allclose(matrix, chip.sizes.gram, rtol=0.3)


def test_what_is_known_of_a_chip_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = build_sampler(ONE, np.ones(1), level="transistor").silicon
    known = chip.tables
    kept.analysed.cache_clear()
    monkeypatch.setattr(kept, "analyse", lambda *_, **__: pytest.fail("measured again"))
    again = tables.characterise(chip.sizes, chip.chip, chip.b)
    np.testing.assert_array_equal(again.neurons[0].drift.values, known.neurons[0].drift.values)


def test_a_staircase_that_ends_early_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.array([0.0, 0.9, 1.8])
    monkeypatch.setattr(staircase, "analysed", lambda *_: {"time": times, "u": times})
    assert list(staircase.on_stairs("", 2, "here")["u"]) == [0.9, 1.8]
    with pytest.raises(SimulationError, match="stopped at stair 2 of 3"):
        staircase.on_stairs("", 3, "here")


def test_long_and_wide_devices_are_in_pieces() -> None:
    (whole,) = within_models(Mos("a", "n", "d", "g", "s", 100.0, 50.0))
    assert whole == Mos("a", "n", "d", "g", "s", 100.0, 50.0)
    pieces = list(within_models(Mos("a", "n", "d", "g", "s", 160.0, 120.0)))
    assert [(p.d, p.s) for p in pieces] == [("d", "ay1"), ("ay1", "ay2"), ("ay2", "s")]
    assert all((p.w, p.l, p.m) == (80.0, 40.0, 2) for p in pieces)


def test_draws_for_rounding_are_of_the_posterior() -> None:
    for signed in (False, True):
        model = replace(TWO, prior=SpikeSlab(0.3, 1.0, signed=signed))
        x = np.array([1.0, 0.5])
        found = draws(model, x, np.random.default_rng(0))
        exact = enumerate_supports(model, x)
        np.testing.assert_allclose((found != 0).mean(axis=0), exact.p_active, atol=0.015)
        np.testing.assert_allclose(found.mean(axis=0), exact.mean, atol=0.03)


def test_rounding_moves_what_it_is_said_to() -> None:
    x = np.array([1.0, 0.5])
    changes = [np.array([[0.4, a], [a, -0.2]]) for a in (-0.3, 0.1, 0.6)]
    said = Rounding(TWO, x).moved(changes)
    was = enumerate_supports(TWO, x).p_active
    for change, moved in zip(changes, said, strict=True):
        now = enumerate_supports(*with_gram(TWO, x, TWO.gram + change)).p_active
        assert moved == pytest.approx(np.abs(now - was).max(), rel=0.1)


@pytest.mark.slow
def test_a_coarse_weight_unit_is_warned_of() -> None:
    warned = build_sampler(TWO, np.array([1.0, 0.5]), level="transistor", transistor={"weight_unit": 1.5}).plan.warnings
    assert any("rounding the weights" in line for line in warned)


def test_corners_of_transistors() -> None:
    made = dict(variants(Nonidealities(MISMATCH), [], SILICON_CORNERS))
    assert made["all, corner.process=ff"].corner.process == "ff"
    assert made["mosfet.mismatch"].corner.process == "typical"
    only = Nonidealities({**MISMATCH, "corner": {"process": "ss"}}).only("corner.process")
    assert (only.corner.process, only.mosfet.mismatch) == ("ss", 0.0)


@pytest.mark.slow
def test_budget_has_rows_of_width_rounding_and_lag() -> None:
    budget = error_budget(ONE, np.ones(1), {**MISMATCH, "corner": {"process": "ff"}}, **SHORT)
    names = [entry.name for entry in budget.entries]
    assert names == ["ideal", WIDTH, ROUNDING, LAG, "mosfet.mismatch", "corner.process", "all"]
    assert np.abs(budget[ROUNDING].change.p_active).max() < 1e-6  # G = 4 is whole
    assert np.abs(budget["mosfet.mismatch"].change.mean).max() > 0


@pytest.mark.slow
def test_yield_of_transistors() -> None:
    lot = chip_yield(ONE, np.ones(1), MISMATCH, chips=2, tolerance=0.9, **SHORT)
    assert lot.chip_yield == 1
    assert len({chip.error for chip in lot.chips}) == 2


@pytest.mark.parametrize(("answer", "helps"), [(0.8, True), (-1.0, False)])
def test_a_trim_is_kept_if_it_is_measured_to_be_better(
    answer: float, helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells that answer by less than is foretold, and the wrong way round: there the chip is left as it was."""
    silicon = build_sampler(ONE, np.ones(1), level="transistor").silicon
    plain, start = silicon.tables, Chip(silicon.parts)
    sizes = replace(silicon.sizes, keys=replace(silicon.sizes.keys, trim="full"))
    neuron = trim._Neuron(sizes, 0, 0.0259)
    wrong = np.array([3e-3, 1e-3, -3e-3, 1e-3, -1e-3, -3e-3])  # volt

    def made(_: object, chip: Chip, __: object) -> tables.ChipTables:
        volts = np.array([chip.trims.get(paths[0], 0.0) for paths in neuron.paths])
        return replace(plain, neurons=(neuron.foretold(plain.neurons[0], wrong + answer * volts),))

    monkeypatch.setattr(trim, "characterise", made)
    monkeypatch.setattr(trim, "input_gains", lambda *_: np.ones(1))
    chip, found = trim.trimmed(sizes, start, np.ones(1))
    before, after = (np.abs(neuron.differences(t.neurons[0], t)).max() for t in (made(0, start, 0), found))
    assert before > 0.04
    assert after < before / 4 if helps else (after == before and not chip.trims)


def _moved(**given: Any) -> float:
    """Return the largest dP(active) at six inputs of a chip of one neuron."""
    chip = build_sampler(ONE, np.ones(1), level="transistor", **given).silicon
    m, gain = chip.tables.matrices[1][0, 0], chip.tables.inputs[0]
    there = [implied.posterior(chip.tables.neurons[0], x * 4 * gain / m, m, chip.sizes.width) for x in implied.INPUTS]
    exact = [implied.exact(x, 4, u0=ONE.prior.threshold) for x in implied.INPUTS]
    return max(abs(a.active - b.active) for a, b in zip(there, exact, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 8])
def test_trims_mend_chips(seed: int) -> None:
    parts = Nonidealities(MISMATCH, seed=seed)
    none, two, full = (_moved(nonideal=parts, transistor={"trim": name}) for name in ("none", "two", "full"))
    assert none > 0.01
    assert max(two, full) < 0.006


@pytest.mark.slow
@pytest.mark.parametrize("process", ["typical", "ff", "ss", "fs", "sf"])
def test_trims_of_equal_devices_do_no_harm(process: str) -> None:
    corner = {"corner": {"process": process}}
    none, two, full = (_moved(nonideal=corner, transistor={"trim": name}) for name in ("none", "two", "full"))
    assert none < 0.03
    assert max(two, full) < min(none, 0.005)


@pytest.mark.slow
def test_tables_of_a_chip_stand_about_where_its_sign_flips() -> None:
    """A shift of u by a tenth of a unit moves no posterior: half did by .018 where corners stood between stairs."""
    chip = build_sampler(ONE, np.ones(1), level="transistor", nonideal=Nonidealities(MISMATCH, seed=8)).silicon
    neuron, width = chip.tables.neurons[0], chip.sizes.width
    assert abs(neuron.centre) > 0.5
    shifted = tables.characterise(chip.sizes, replace(chip.chip, trims={"threshold_0.vi.1r": 0.01}), chip.b).neurons[0]
    for x in (0.5, 1.0, 1.5):
        was, now = (implied.posterior(t, x, 4.0, width).active for t in (neuron, shifted))
        assert was == pytest.approx(now, abs=0.003)


def test_weights_that_cannot_be_rounded_are_refused() -> None:
    unequal = SparseCodingModel(np.array([[2.0, 0.9], [0.0, 0.3]]), SpikeSlab(0.3, 1.0), 0.5)
    with pytest.raises(InputError, match="not positive semidefinite"):
        build_sampler(unequal, np.array([1.0, 0.5]), level="transistor", transistor={"weight_unit": 11.0})


@pytest.mark.slow
@pytest.mark.parametrize(("mismatch", "agrees"), [(0.0, True), (4.0, False)])
def test_calibration_of_a_chip(mismatch: float, agrees: bool) -> None:
    parts = {"mosfet": {"mismatch": mismatch}}
    asked: dict[str, Any] = {"inputs": 300, "draws": 19, "spacing": 5.0, "warmup": 10.0, "seed": 3}
    measured = calibrate_circuit(ONE, **asked, level="transistor", nonideal=parts)
    assert repr(measured).startswith(f"CircuitCalibration({'agrees' if agrees else 'disagrees'}")
