"""Each imperfection alone moves the posterior as its small-signal formula says, and a wrong formula is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from circuitlsc import Gaussian, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.studies.budget import error_budget
from circuitlsc.studies.small_signal import PREDICTED, added_energy, gradient_offset, loop_lag

T_STOP = 400
# alone, each moves a mean or P(active) by 8 standard errors or so over 2 x 400 tau
SMALL = {
    "op_amp.offset": 1e-3,
    "multiplier.offset": 5e-3,
    "integrator.output_resistance": 3e7,
    "prior.lam_error": 0.05,
    "noise.temperature": 318.0,
    "corner.resistance": 1.06,
    "corner.capacitance": 0.94,
}
# ... and what shares its formula with one of these
ALIKE = {"prior.lam_mismatch": 0.08, "corner.temperature": 282.0}


# a drift offset: nothing to first order where s depends on abs(u), so it is looked at with signed codes
SIGNED = {"integrator.offset_current": 8e-9, "noise.offset": 5e-6}


@pytest.fixture(scope="module")
def signed():
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    x = model.draw(np.random.default_rng(7))[1]
    nonideal = Nonidealities(seed=3).changed(SIGNED)
    return error_budget(model, x, nonideal, t_stop=700, seed=2, step_check=False)


@pytest.fixture(scope="module")
def alone(bars_model, bars_x):
    """Return every imperfection that has a formula, alone, and one swept until its formula fails."""
    nonideal = Nonidealities(seed=3).changed(SMALL)
    return error_budget(
        bars_model, bars_x, nonideal, t_stop=T_STOP, seed=2, step_check=False, sweeps=["op_amp.offset=0:20e-3:3"]
    )


@pytest.fixture(scope="module")
def alike(bars_model, bars_x):
    nonideal = Nonidealities(seed=3).changed(ALIKE)
    return error_budget(bars_model, bars_x, nonideal, t_stop=T_STOP, seed=2, step_check=False)


def test_the_table_is_complete():
    assert {*SMALL, *ALIKE, *SIGNED} == set(PREDICTED)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", [*SMALL, *SIGNED])
def test_prediction(alone, signed, name):
    holds((alone if name in SMALL else signed)[name], name)


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("name", ALIKE)
def test_prediction_of_what_is_alike(alike, name):
    holds(alike[name], name)


def holds(entry, name):
    """Within 20 % + 3 standard errors, of an effect that is well above its error."""
    assert entry.prediction_holds, (name, entry.to_dict())
    d = entry.change
    size = np.concatenate([np.abs(d.p_active) / (d.p_active_se + 1e-4), np.abs(d.mean) / (d.mean_se + 1e-4)])
    assert size.max() > 6, name
    # the negative control: the opposite sign, and twice the size
    for factor in (-1.0, 2.0):
        wrong = {n: factor * getattr(entry.prediction, n) for n in ("p_active", "mean", "sd")}
        assert not replace(entry, prediction=replace(entry.prediction, **wrong)).prediction_holds, (name, factor)


@pytest.mark.ngspice
def test_large_signals_are_beyond_the_prediction(alone):
    zero, middle, large = alone.sweeps()["op_amp.offset"]
    assert np.all(zero.change.mean == 0)
    assert large.prediction_holds is False
    assert np.abs(large.change.mean).max() > np.abs(middle.change.mean).max() > 0.1


@pytest.mark.slow
@pytest.mark.ngspice
def test_lag_and_corner_of_a_linear_circuit():
    """A mode's variance is (1 + a_l lag)/a behind op-amps, and b/(a (a + b)) behind a noise source of corner b."""
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.5)
    x = model.draw(np.random.default_rng(3))[1]
    nonideal = Nonidealities(op_amp={"gbw": 1e8}, noise={"capacitance": 1e-14})
    for form in ("gram", "residual"):
        budget = error_budget(model, x, nonideal, form=form, t_stop=1000, seed=2)
        for name, sign in (("op_amp.gbw", 1), ("noise.capacitance", -1)):
            entry = budget[name]
            assert entry.prediction is not None
            assert entry.prediction_holds, (form, name, entry.to_dict())
            assert np.all(sign * entry.change.sd > 6 * entry.change.sd_se), (form, name)
        assert budget["all"].prediction is None


def test_gradient_offset_by_hand(bars_model, bars_x):
    """Gram form: e0 of latent i is the amplifier's noise gain times its offset, plus the inverters' twice theirs."""
    parts = Nonidealities(op_amp={"offset": 2e-3}, seed=5)
    sampler = build_sampler(bars_model, bars_x, level="device", nonideal=parts)
    draws = [parts.normal(f"gradient_{i}", "offset", 2e-3) for i in range(8)]
    inverters = np.array([parts.normal(f"inhibition_inverter_{i}", "offset", 2e-3) for i in range(8)])
    crossbar = next(c for c in sampler.graph.cells if c.name == "inhibition")
    g = crossbar.conductances_siemens
    part, scaling = parts.crossbar, sampler.scaling
    feedback = bars_model.gram.max() * scaling.volt_e / scaling.volt / (part.g_on - part.g_off)
    noise_gain = 1 + feedback * g.sum(1) + 1  # feedback, cells, input resistor
    through = feedback * g[:, 1::2] @ (2 * inverters)
    expected = (noise_gain * draws - through) / scaling.volt_e
    np.testing.assert_allclose(gradient_offset(sampler), expected, rtol=1e-9)


def test_perturbation_by_hand(bars_model, bars_x):
    u = np.random.default_rng(1).normal(size=(5, 8))
    leak = build_sampler(
        bars_model, bars_x, level="device", nonideal=Nonidealities(integrator={"output_resistance": 1e8})
    )
    np.testing.assert_allclose(added_energy(leak)(u), 0.01 / 2 * np.sum(u**2, 1), rtol=1e-9)  # tau/(R C) = 0.01
    lam = build_sampler(bars_model, bars_x, level="device", nonideal=Nonidealities(prior={"lam_error": 0.1}))
    cost = bars_model.prior.cost(u, lam.plan.width).sum(1)
    np.testing.assert_allclose(added_energy(lam)(u), 0.1 * cost, rtol=1e-9)


def test_loop_lag_by_hand(bars_model, bars_x):
    """All entries of the Gram matrix are positive: every signal passes an inverter (noise gain 2) and an amplifier."""
    sampler = build_sampler(bars_model, bars_x, level="device", nonideal=Nonidealities(op_amp={"gbw": 1e8}))
    gains = next(np.diag(c.noise_gain) for c in sampler.graph.cells if c.name == "gradient")
    assert loop_lag(sampler) == pytest.approx((2 + gains.mean()) / (2 * np.pi * 1e8))
