"""Model units and SI units: the scales, the rails, and that nothing in model units depends on them."""

import re

import numpy as np
import pytest

from circuitlsc import Gaussian, InputError, Laplace, Scaling, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit.cells import Crossbar
from circuitlsc.planning.scaling import expected_ranges, scale_for

MODEL = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
SPARSER = SparseCodingModel(bars(4), SpikeSlab(0.3, 0.05), 0.5)  # coefficients of about 20 units
PAPER_SIZE = {"c_int": 2e-12, "tau": 5e-6, "volt": 0.04}


def test_units_of_the_drift_and_of_the_noise():
    s = Scaling(volt=0.05, c_int=2e-12, tau=4e-6)
    assert s.drift_current == pytest.approx(2e-12 * 0.05 / 4e-6)
    assert s.leak * s.c_int == pytest.approx(1e9 * s.tau)
    # held noise moves u by sqrt(2 T h) units a step: i h tau / (c volt)
    for step, temperature in ((0.05, 1.0), (0.02, 2.5)):
        kick = s.noise_amperes(step, temperature) * step * s.tau / (s.c_int * s.volt)
        assert kick == pytest.approx(np.sqrt(2 * temperature * step))


def test_noise_lift_is_the_model_energy_over_kt():
    """C volt^2 / kT: 2.4e6 at 1 pF and 0.1 V (DESIGN section 7)."""
    assert Scaling().noise_lift == pytest.approx(2.41e6, rel=2e-3)
    assert Scaling(volt=0.2).noise_lift == pytest.approx(4 * Scaling().noise_lift)


@pytest.mark.parametrize("name", ["volt", "volt_r", "volt_e", "c_int", "tau", "r_node", "rails"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, "1", True, None])
def test_what_is_no_scale_is_refused(name, value):
    message = f"{name} = {value!r}, but a scale must be a finite number > 0 (SI units)."
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        Scaling(**{name: value})


def test_all_scales_are_among_the_attributes(odd_scaling):
    assert Scaling(**odd_scaling.attributes()) == odd_scaling


# --- rails ---


def too_much_voltage(**arguments):
    message = (
        r"circuit\.volt = (\S+) V per unit puts u \(up to (\S+) units\) at (\S+) V, but the rails are \+-(\S+) V and 80% of "
        r"them can be used\. Give volt <= (\S+), or rails >= (\S+)\."
    )
    with pytest.raises(InputError, match=rf"^{message}$") as refusal:
        build_sampler(**arguments)
    return [float(v) for v in re.search(message, str(refusal.value)).groups()]


@pytest.mark.parametrize("volt", [0.5, 1.0, 3.0, 17.0])
@pytest.mark.parametrize("model", [MODEL, SPARSER], ids=["usual", "large-codes"])
def test_suggested_volt_and_rails_both_work(model, volt, bars_x):
    given, units, needed, rails, new_volt, new_rails = too_much_voltage(model=model, x=bars_x, volt=volt)
    assert (given, rails) == (volt, 2.5)
    assert needed == pytest.approx(units * volt, rel=0.01)
    assert build_sampler(model, bars_x, volt=new_volt).scaling.volt == new_volt
    assert build_sampler(model, bars_x, volt=volt, rails=new_rails).scaling.rails == new_rails
    assert too_much_voltage(model=model, x=bars_x, volt=new_volt * 1.02)


def test_volt_is_reduced_where_codes_are_large(bars_x):
    usual, reduced = (build_sampler(m, bars_x).scaling for m in (MODEL, SPARSER))
    assert usual.volt == 0.1
    assert reduced.volt == pytest.approx(0.8 * 2.5 / expected_ranges(SPARSER, bars_x).u)
    assert reduced.volt < 0.05


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5, 2.0])
@pytest.mark.parametrize(
    "prior", [SpikeSlab(0.3, 1.0), SpikeSlab(0.01, 0.05, signed=True), Laplace(0.2), Gaussian(30.0)], ids=str
)
def test_every_expected_extreme_stays_within_the_rails(prior, sigma, bars_x):
    model = SparseCodingModel(bars(4), prior, sigma)
    scaling, ranges = scale_for(model, bars_x), expected_ranges(model, bars_x)
    for volts in (ranges.u * scaling.volt, ranges.r * scaling.volt_r, ranges.e * scaling.volt_e):
        assert volts <= 0.8 * scaling.rails * (1 + 1e-12)
    assert max(scaling.volt, scaling.volt_r, scaling.volt_e) <= 0.1


def test_ranges_hold_codes_of_the_prior(bars_x):
    """Draws from the model stay inside the expected ranges."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        s, x = SPARSER.draw(rng)
        ranges = expected_ranges(SPARSER, x)
        u = s + np.where(s > 0, SPARSER.prior.threshold, 0)
        r = SPARSER.A @ s - x
        assert np.abs(u).max() <= ranges.u
        assert np.abs(r).max() <= ranges.r
        assert np.abs(SPARSER.A.T @ r).max() / SPARSER.sigma**2 <= ranges.e


# --- scale invariance ---


def test_drift_and_step_do_not_depend_on_the_scales(bars_model, bars_x):
    plain, scaled = build_sampler(bars_model, bars_x), build_sampler(bars_model, bars_x, **PAPER_SIZE)
    u = np.random.default_rng(0).uniform(-3, 3, (20, 8))
    np.testing.assert_array_equal(plain.twin.drift(u), scaled.twin.drift(u))
    assert plain.plan == scaled.plan


@pytest.mark.ngspice
def test_path_does_not_depend_on_the_scales(bars_model, bars_x):
    """Same seed, other volts, farads and seconds: the same path in model units, within Newton's tolerance."""
    paths = [
        build_sampler(bars_model, bars_x, form="residual", tolerance=1e-9, **given).run(
            t_stop=30, warmup=0.0, chains=1, seed=5, thin=1
        )
        for given in ({}, PAPER_SIZE)
    ]
    assert np.abs(paths[0].u).max() > 1
    np.testing.assert_allclose(paths[0].u, paths[1].u, rtol=0, atol=1e-6)


# --- the report ---


def test_report_contains_the_numbers(bars_model, bars_x, form):
    sampler = build_sampler(bars_model, bars_x, form=form, **PAPER_SIZE)
    report, s = sampler.report(), sampler.scaling
    ranges = expected_ranges(bars_model, bars_x)
    g = np.concatenate([c.conductances(s).ravel() for c in sampler.graph.cells if isinstance(c, Crossbar)])
    g = np.abs(g[g != 0])
    for piece in (
        f"{form} form, 16 x 8, {len(g)} conductances",
        f"u, s {s.volt:.4g} V; r {s.volt_r:.4g} V; e {s.volt_e:.4g} V; drift {s.drift_current:.4g} A; tau 5e-06 s; "
        "c_int 2e-12 F",
        f"|u| up to {ranges.u:.3g} units = {ranges.u * s.volt:.3g} V",
        "rails +-2.5 V",
        f"{g.min():.3g} .. {g.max():.3g} S",
        f"{s.noise_amperes(sampler.plan.step):.4g} A rms held for {sampler.plan.step:.4g} tau",
        "1 (every latent is coupled to every other, directly or not)",
    ):
        assert piece in report


def test_report_names_separate_blocks():
    A = np.zeros((4, 4))
    A[:2, [0, 2]] = [[1, 0.5], [0, 1]]
    A[2:, [1, 3]] = [[1, 0.5], [0, 1]]
    sampler = build_sampler(SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5), np.ones(4))
    assert "2: [[0, 2], [1, 3]]; each could be a circuit of its own" in sampler.report()
