"""The noise amplifier in transistors: its diffusion, compression and offset, and the transistors against their model."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Circuit
from scipy.linalg import solve_continuous_lyapunov
from transistor_models import needs_models

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.cells.base import Wires
from circuitlsc.circuit.transistor.amplified import AmplifiedNoise, AmplifierModel
from circuitlsc.circuit.transistor.cells import neuron
from circuitlsc.circuit.transistor.cells.amplifier import amplifier
from circuitlsc.circuit.transistor.cells.bias import Currents, ideal_bias
from circuitlsc.circuit.transistor.cells.real_bias import real_bias
from circuitlsc.circuit.transistor.kept import analysed
from circuitlsc.circuit.transistor.noise import (
    CURRENTS,
    TRIMMED,
    MeasuredAmplifier,
    Spectra,
    amplifier_deck,
    measure_amplifier,
    neuron_spectra,
    offset_trim,
    tuned,
)
from circuitlsc.circuit.transistor.parts import BELOW, CHOP_LOST, Chip, chopping, subcircuits
from circuitlsc.circuit.transistor.process import FILES, HARMLESS, models
from circuitlsc.circuit.transistor.transistors import NoiseTransistors
from circuitlsc.errors import InputError
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import BOLTZMANN, Scaling
from circuitlsc.simulator.ngspice.deck_check import check_deck
from circuitlsc.validation.same_noise import path_difference

Array = NDArray[np.float64]
IE, VOLT, TAU = 2.5e-9, 0.1, 1e-3
RATES = (1.0, 3.0, 10.0)  # 1/tau
CORNERS = [("typical", 125.0, 3.3), ("typical", -40.0, 3.3), ("ff", 125.0, 3.6), ("ss", -40.0, 3.0)]
CORNERS += [("ff", -40.0, 3.6), ("ss", 125.0, 3.0)]


@cache
def measured(tau: float = TAU, **where: Any) -> MeasuredAmplifier:
    """Return the amplifier for a time constant, as measured."""
    return measure_amplifier(tuned(IE, tau), **where)


def path(model: AmplifierModel, n: int, step: float, seed: int) -> Array:
    """Return a Brownian voltage on a grid, shape (n + 1,)."""
    rises = np.random.default_rng(seed).standard_normal(n) * model.density * step**0.5
    return np.concatenate([[0.0], np.cumsum(rises)])


def on_grid(deck: str, n: int, step: float) -> Array:
    """Return the current into u at t = 0, h, .. n h."""
    found = analysed(deck, f"tran {step:g} {n * step:.9g} 0 {step:g}")
    assert found["time"][-1] >= n * step * (1 - 1e-9)
    current = np.interp(np.arange(n + 1) * step, found["time"], found["vu#branch"])
    assert np.isfinite(current).all()
    return np.asarray(current)


def pwl(volts: Array, step: float) -> str:
    """Return a source's waveform that joins the values of a grid."""
    return "PWL(" + "\n+ ".join(f"{k * step:.9g} {v:.12g}" for k, v in enumerate(volts)) + ")"


def source(volts: Array, step: float) -> str:
    """Return lines of the noise path in series with C_n, and of a fixed u."""
    return f"Vn plate 0 {pwl(volts, step)}\nVu u 0 0\n.save i(vu)"


# what needs no transistors --------------------------------------------------------------------------------------------

KNOTS = np.linspace(-500e-6, 500e-6, 41)
MODEL = AmplifierModel(
    2.4e6, 0.2e-12, 4.2e5, 1.9e6, 40.0, Table(KNOTS, 250e-9 * np.tanh(0.7e-3 * KNOTS / 250e-9)), 1e-10, 300.15, 0.24
)


def test_the_models_rms_and_strength_are_those_of_its_currents_and_of_its_own_linear_equations() -> None:
    linear = replace(MODEL, table=Table(KNOTS, 0.7e-3 * KNOTS), offset=0.0)
    a, b = linear._linear
    p = solve_continuous_lyapunov(a, -np.outer(b, b) * linear.density**2)
    out = np.zeros(len(b))
    out[-2:] = 1, -1
    assert linear.rms == pytest.approx(0.7e-3 * np.sqrt(out @ p @ out), rel=1e-3)
    n, step = 40000, 4e-7
    current = linear.currents(path(linear, n, step, 3), step)[100:]
    correlated = 2 / linear.pole / step  # points
    assert current.std() / linear.rms == pytest.approx(1, abs=4 * np.sqrt(correlated / n / 2))
    # the whole gain at low frequency, from a closed form
    through = 0.7e-3 * np.sqrt(2 * BOLTZMANN * 300.15 * 1.24 * 2.4e6)
    assert linear.strength(IE, TAU) == pytest.approx(through**2 / (2 * IE**2 * TAU), rel=1e-12)


def test_the_models_currents_are_those_of_its_netlist_which_a_wrong_pole_is_not() -> None:
    n, step = 300, 2e-7
    volts = path(MODEL, n, step, 1)
    circuit = Circuit("model")
    circuit.subcircuit(MODEL.subcircuit("lsc_noise", "external"))
    circuit.X("amplifier", "lsc_noise", "plate", "u")
    assert str(circuit).count(" external") == 1
    text = str(circuit).replace("external", pwl(volts, step))
    deck = f"{text}\nVu u 0 0\n.options reltol=1e-7 abstol=1e-16 vntol=1e-10 trtol=1000\n.end\n"
    current = on_grid(deck, n, step)
    assert np.std(current - MODEL.currents(volts, step)) < 0.01 * current.std()
    assert np.std(current - replace(MODEL, pole=1.1 * MODEL.pole).currents(volts, step)) > 0.02 * current.std()


def test_a_chopped_model_changes_its_sign_and_starts_again() -> None:
    n, step = 400, 2e-6
    model = replace(MODEL, chop=5 / TAU, low=1e-3)
    volts = path(model, n, step, 2)
    sign = chopping(model.chop, np.arange(n + 1) * step)
    assert set(np.unique(np.sign(sign))) == {-1.0, 1.0}
    plain = replace(model, chop=0.0)
    expected = model.offset + sign * (plain.currents(volts, step) - model.offset)
    np.testing.assert_allclose(model.currents(volts, step), expected, rtol=1e-12)
    again = model.currents(volts, step, restart=150)
    np.testing.assert_allclose(
        again[151:301], model.currents(volts[150:] - volts[150], step)[1:151], rtol=1e-9, atol=1e-20
    )


def test_a_cell_of_amplifiers_has_a_source_a_definition_and_states_for_each_neuron() -> None:
    scaling = Scaling(volt=VOLT, c_int=IE * TAU / VOLT, tau=TAU)
    cell = AmplifiedNoise("noise", 2, 1.0, models=(MODEL, MODEL))
    assert [str(d.name) for d in cell.subcircuits(scaling)] == ["lsc_noise"]
    # a path sqrt(2T) W in model time has the density of the Brownian voltage in seconds
    assert cell.units(scaling) == pytest.approx([MODEL.density * (TAU / 2) ** 0.5] * 2)
    states = cell.states(scaling)
    assert len(states) == 12
    assert states[0].capacitor == "c.xnoise_0.cv"
    assert states[-1].node == "xnoise_1.z"
    circuit = Circuit("two")
    cell.emit(circuit, Wires({}, ("n_0", "n_1"), ("u_0", "u_1")), scaling)
    assert "Xnoise_1 n_1 u_1 lsc_noise" in str(circuit)
    other = AmplifiedNoise("noise", 2, 1.0, models=(MODEL, replace(MODEL, offset=0.0)))
    assert [str(d.name) for d in other.subcircuits(scaling)] == ["lsc_noise_0", "lsc_noise_1"]
    with pytest.raises(InputError, match="1 models of amplifiers for 2 neurons"):
        AmplifiedNoise("noise", 2, 1.0, models=(MODEL,))


def test_white_noise_of_the_right_density_moves_a_state_of_any_rate_rightly_and_a_pole_takes_its_share() -> None:
    f = np.geomspace(1e-3, 1e9, 600)
    white = np.full(len(f), 4 * IE**2 * TAU)
    none = np.zeros(len(f))
    for rate in (0.3, 3.0, 50.0):
        assert Spectra(f, white, none, none).diffusion(rate, IE, TAU) == pytest.approx(1, rel=2e-3)
    b = 100.0
    filtered = white / (1 + (2 * np.pi * f * TAU / b) ** 2)
    assert Spectra(f, filtered, none, none).diffusion(50.0, IE, TAU) == pytest.approx(b / (b + 50), rel=2e-3)


def test_a_chopper_leaves_white_noise_and_takes_away_what_is_slow() -> None:
    f = np.geomspace(1e-3, 1e9, 600)
    white, none, chop = np.full(len(f), 4 * IE**2 * TAU), np.zeros(len(f)), 5 / TAU
    for rate in (0.3, 3.0, 50.0):
        assert Spectra(f, white, none, none, chop).diffusion(rate, IE, TAU) == pytest.approx(1 - CHOP_LOST, rel=0.01)
    slow = white / (1 + (2 * np.pi * f * TAU) ** 2)  # a random telegraph's, of the white noise's power at f = 0
    for rate in (0.3, 3.0):
        assert Spectra(f, slow, none, none).diffusion(rate, IE, TAU) > 0.2
        # a path of such noise, chopped, moved through the state exactly
        found = Spectra(f, slow, none, none, chop).diffusion(rate, IE, TAU)
        assert found == pytest.approx(chopped_variance(rate, chop) * (1 - CHOP_LOST), rel=0.03)
    assert Spectra(f, none, slow, none, chop, Spectra(f, none, slow, none)).diffusion(0.3, IE, TAU) > 0.5


def chopped_variance(rate: float, chop: float) -> float:
    """Return rate times the variance of a state under chopped noise of rate 1/tau and power 2, mean over a cycle."""
    h, cycles = 1e-4, int(12 / min(rate, 1.0) * chop * TAU)
    n = round(1 / (chop * TAU) / h)
    sign = np.where((np.arange(n) + 0.5) < n / 2, 1.0, -1.0)
    var, cross, mean = 0.0, 0.0, 0.0
    for _ in range(cycles):
        mean = 0.0
        for m in sign:
            before = cross
            cross += h * (-(rate + 1.0) * cross + m)
            var += h * (-2 * rate * var + m * (before + cross))
            mean += var / n
    return rate * mean


# transistors ----------------------------------------------------------------------------------------------------------


@needs_models
def test_the_amplifier_moves_u_rightly_is_linear_at_4_sigma_and_its_offset_does_not_depend_on_u() -> None:
    found = measured()
    for rate in RATES:
        assert found.spectra.diffusion(rate, IE, TAU) == pytest.approx(1, abs=0.06)
    assert found.distortion(4.0) < 0.05
    assert found.distortion(8.0) > 0.1  # beyond, the tail's current ends
    assert np.ptp(found.offsets) < 0.1 * IE
    assert abs(found.offsets[1]) < 0.1 * IE
    gain, low, first, stages = found.fitted
    assert gain == pytest.approx(0.724e-3, rel=0.03)
    assert low * TAU < 0.1  # the chopper makes it harmless
    assert 300 < first * TAU < 600
    assert stages > 3 * first
    assert found.white_share() == pytest.approx(0.24, abs=0.03)
    assert found.spectra.diffusion(1.0, IE, TAU, "flicker") < 0.005
    assert found.power < 8e-6
    assert found.gate_area == pytest.approx(amplifier(found.design).gate_area)


@needs_models
def test_the_transistors_follow_their_model_on_the_same_noise() -> None:
    found = measured()
    model, n, step = found.model, 600, 1e-7
    volts = path(model, n, step, 1)
    deck = amplifier_deck(found.design, f"Cn v plate {model.c_n!r}\n{source(volts, step)}", still="")
    current, expected = on_grid(deck, n, step), model.currents(volts, step)
    assert np.std(current - expected) < 0.05 * current.std()
    assert np.std(current - replace(model, pole=1.3 * model.pole).currents(volts, step)) > 0.08 * current.std()


@needs_models
def test_the_other_transistors_of_a_neuron_add_little_to_its_noise() -> None:
    bias = ideal_bias(Currents(0.04 * 10e-9, 0.08 * IE, 1.204 * 10e-9, IE))
    for u, e in ((1.2, -4.0), (2.2, 0.0)):
        found = neuron_spectra(bias, neuron.threshold(1e7), neuron.gate(), u * VOLT, e * IE)
        assert 1e-8 < found.diffusion(1.0, IE, TAU) < 0.01


@needs_models
def test_amplifiers_of_a_full_netlist_are_the_deck_that_was_measured() -> None:
    found = measured()
    model, n, step = found.model, 300, 2e-7
    volts = path(model, n, step, 1)
    cell = NoiseTransistors("noise", 1, 1.0, models=(model,), design=found.design, chip=Chip())
    scaling = Scaling(volt=VOLT, c_int=IE * TAU / VOLT, tau=TAU)
    circuit = Circuit("full")
    block = real_bias(CURRENTS)
    for definition in (*cell.subcircuits(scaling), *subcircuits(block, "bias")):
        circuit.subcircuit(definition)
    circuit.X("bias", "lsc_bias", *block.lines)
    cell.emit(circuit, Wires({}, ("n_0",), ("u",)), scaling)
    for name, volt in (("vdd", 3.3 - BELOW), ("vss", -BELOW)):
        circuit.V(name, name, 0, volt)
    (device,) = cell.devices()
    assert f"\n{device} noise_0_b 0 external" in str(circuit).lower()
    beside = amplifier_deck(found.design, f"Cn v plate {model.c_n!r}\n{source(volts, step)}", still="")
    tail = beside[beside.index(".include") :].replace("(v)=", "(noise_0_v)=")
    text = str(circuit).replace("external", pwl(volts, step))
    current = on_grid(f"{text}\nVu u 0 0\n.save i(vu)\n{tail}", n, step)
    expected = on_grid(beside, n, step)
    assert np.std(current - expected) < 1e-3 * expected.std()


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize("where", CORNERS, ids=str)
def test_diffusion_and_distortion_hold_at_corners(where: tuple[str, float, float]) -> None:
    corner, celsius, supply = where
    found = measured(corner=corner, celsius=celsius, supply=supply)
    for rate in RATES:
        assert found.spectra.diffusion(rate, IE, TAU) == pytest.approx(
            1, abs=0.4
        )  # 1.37 at ff -40 C 3.6 V, .78 at ss 125 C 3.0 V
    assert found.distortion(4.0) < 0.05
    assert abs(found.offsets[1]) < 0.3 * IE
    assert np.ptp(found.offsets) < 0.1 * IE


@needs_models
@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.2e-3, 4e-3])
def test_one_cell_serves_other_time_constants_by_its_bias_and_resistors(tau: float) -> None:
    found = measured(tau)
    for rate in RATES:
        assert found.spectra.diffusion(rate, IE, tau) == pytest.approx(1, abs=0.08)
    assert found.distortion(4.0) < 0.05


@needs_models
@pytest.mark.slow
def test_offsets_of_a_chip_are_errors_of_drift_that_have_to_be_trimmed() -> None:
    chips = [Chip(Nonidealities(mosfet={"mismatch": 1}, seed=seed)) for seed in range(8)]  # type: ignore[arg-type]
    found = [measure_amplifier(tuned(IE, TAU), chip=chip) for chip in chips]
    offsets = np.array([m.offsets for m in found]) / IE
    assert np.mean(np.abs([m.ahead for m in found])) > 0.1 * IE  # what the chopper takes off
    assert 0.2 < np.sqrt(np.mean(offsets[:, 1] ** 2)) < 3
    assert np.max(np.ptp(offsets, axis=1)) < 0.1  # and constant
    diffusions = [m.spectra.diffusion(3.0, IE, TAU) for m in found]
    assert 0.01 < np.std(diffusions) < 0.2


ONE = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)
FULL = {"engine": "full", "noise": "amplifier"}


@needs_models
@pytest.mark.slow
def test_every_transistor_follows_the_model_in_a_closed_loop_on_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured over 10 tau: median .009, rms .015; over 6 tau with a gain that is 10 % wrong rms .060."""
    sampler = build_sampler(ONE, np.ones(1), level="transistor", transistor=FULL, tau=4e-3)
    samples = sampler.run(t_stop=6, chains=1, seed=2, warmup=0.0)
    steps = int(6 / sampler.plan.step)
    found = path_difference(sampler, samples, steps)
    assert found.median < 0.02
    assert found.rms < 0.035
    right = AmplifiedNoise.shaped
    monkeypatch.setattr(AmplifiedNoise, "shaped", lambda *given: 1.1 * right(*given))
    assert path_difference(sampler, samples, steps).rms > 0.045


@needs_models
@pytest.mark.slow
def test_a_stand_alone_deck_with_amplifiers_runs_in_plain_ngspice_and_is_accepted(tmp_path: Path) -> None:
    sampler = build_sampler(ONE, np.ones(1), level="transistor", transistor=FULL, tau=1e-3)
    deck = tmp_path / "deck.cir"
    deck.write_text(sampler.deck(t_stop=0.1, warmup=0.01).replace("\n.end", "\n.print tran v(u_0)\n.end"))
    for name in FILES:
        shutil.copy(models() / name, tmp_path / name)
    assert not check_deck(deck, HARMLESS)
    done = subprocess.run(["ngspice", "-b", deck.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d+\t", line)]
    t, u = np.array(rows, dtype=float)[:, 1:3].T
    assert t[-1] == pytest.approx(0.1e-3, rel=1e-3)
    assert np.isfinite(u).all()
    assert 1e-3 < np.std(u) < 0.2  # volt


@needs_models
@pytest.mark.slow
def test_a_trim_takes_a_chips_offset_off() -> None:
    chip = Chip(Nonidealities(mosfet={"mismatch": 1}, seed=2))  # type: ignore[arg-type]
    design, where = tuned(IE, TAU), {"corner": "typical", "celsius": 27.0, "supply": 3.3}
    volt = offset_trim(design, chip, "amplifier_0", **where)
    found = [
        measure_amplifier(design, chip=Chip(chip.nonideal, {f"amplifier_0.{TRIMMED}": v} if v else {})).offsets[1] / IE
        for v in (0.0, volt, 2 * volt)
    ]
    assert abs(found[0]) > 0.2  # else this tests nothing
    assert abs(found[1]) < 0.05
    assert found[2] == pytest.approx(-found[0], abs=0.2)


@needs_models
@pytest.mark.slow
def test_windows_of_u_have_the_variance_of_the_diffusion_that_is_wanted() -> None:
    found = measured()
    model, n, step, window = found.model, 5000, 2e-7, 100
    pieces = []
    for seed in range(4):
        volts = path(model, n, step, 10 + seed)
        deck = amplifier_deck(found.design, f"Cn v plate {model.c_n!r}\n{source(volts, step)}", still="")
        current, expected = on_grid(deck, n, step), model.currents(volts, step)
        assert np.std(current - expected) < 0.07 * current.std()  # .060 with the chopper
        pieces.append(np.stack([current[1:], expected[1:]]).reshape(2, -1, window).sum(axis=2) * step / (IE * TAU))
    moved, model_moved = np.concatenate(pieces, axis=1)
    assert np.std(moved - model_moved) < 0.03 * moved.std()  # .026 with the chopper
    # in a window of L the integral of a current of correlation time c has 2T (L - c), and the white part alone is there
    late = 1 / model.pole + 4 / model.stages
    wanted = 2 * model.strength(IE, TAU) * (window * step - late) / TAU
    mcse = wanted * np.sqrt(2 / len(moved))
    assert abs(np.mean(moved**2) - wanted) < 4 * mcse
    assert model.strength(IE, TAU) == pytest.approx(1, abs=0.06)
