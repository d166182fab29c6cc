"""What Figures 3, 4a and 5 of the paper say, on a small bars problem; the rates of false alarms stand beside the tests."""

import json
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import binom

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.reference.map_estimate import many_lasso
from circuitlsc.reporting.plotting import save_figure
from examples.paper.figures import (
    SMALL,
    SWEPT_PIS,
    ActivityCurve,
    Size,
    bars_inputs,
    coefficients,
    figure3_data,
    figure4a_data,
    figure5_data,
    measured_activity,
    posterior_draws,
    random_dictionary,
)
from examples.paper.plot import COLORS, figure3, figure4a, figure5


def refused(message):
    return pytest.raises(InputError, match=re.escape(message))


def right(codes, **kwargs):
    return coefficients(codes, label="", system="L0-LSC", dictionary="right", **kwargs)


def bars_model(n, lam=1.0):
    return SparseCodingModel(bars(n), SpikeSlab(0.3, lam), 0.5)


@pytest.fixture(scope="module")
def data4a():
    return figure4a_data(SMALL)


@pytest.fixture(scope="module")
def data5():
    return figure5_data(SMALL)


def test_fewer_inputs_are_the_first_of_more():
    few, many = bars_inputs(3, 0.3, 5, seed=1), bars_inputs(3, 0.3, 50, seed=1)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:5])
    S, X = bars_inputs(3, 0.3, 20_000, seed=1)
    assert np.std(X - S @ bars(3).T) == pytest.approx(0.5, rel=0.01)  # 180,000 numbers: 6 standard errors
    assert np.mean(S > 0) == pytest.approx(0.3, abs=0.008)  # 6 standard errors
    assert np.mean(S[S > 0]) == pytest.approx(1.0, abs=0.032)
    assert not np.array_equal(bars_inputs(3, 0.3, 5, seed=2)[0], few[0])


def test_figure_3_shows_bars_and_only_one_sample_has_noise():
    data = figure3_data(8)
    s = np.linalg.lstsq(data.A, data.clean, rcond=None)[0]
    np.testing.assert_allclose(data.A @ s, data.clean, atol=1e-12)
    outside = data.noisy - data.A @ np.linalg.lstsq(data.A, data.noisy, rcond=None)[0]
    assert np.sum(outside**2) / 0.25 == pytest.approx(49, abs=40)  # chi-squared with 64 - 15 degrees: 4 sd
    assert json.loads(json.dumps(data.to_dict(), allow_nan=False))["sigma"] == 0.5
    np.testing.assert_allclose(np.linalg.norm(random_dictionary(64, 16, 0), axis=0), 1)


# --- Figure 4a ---


@pytest.mark.slow
def test_activity_falls_with_lambda(data4a):
    for curve in data4a.swept:
        rise = np.diff(curve.activity)
        # a path of the lasso may take a latent in as lambda rises, but not on average: by no standard error
        assert np.all(rise < curve.se[1:]), (curve.system, curve.pi)
        assert curve.activity[0] > 0.35
        assert curve.activity[-1] < 0.02


@pytest.mark.parametrize("system", ["L1", "LCA hard"])
def test_each_data_set_needs_another_lambda_and_none_is_the_datas(data4a, system):
    """Bounds of 4 standard errors, one-sided: false alarms 3e-5 each; the effects are 6 and more."""
    (dense, se_dense), (sparse, se_sparse) = (data4a.curve(system, pi).crossing() for pi in (0.3, 0.1))
    assert sparse - dense > 4 * np.hypot(se_dense, se_sparse)
    assert dense - 1 > 4 * se_dense


def test_l0_lsc_has_the_sparsity_that_it_is_given(data4a):
    """A point is off by 4.5 standard errors in 4e-5 of all seeds, for six points."""
    assert [c.pi for c in data4a.given] == list(SWEPT_PIS)
    for curve in data4a.given:
        assert abs(curve.activity[0] - curve.pi) < 4.5 * curve.se[0], (curve.pi, curve.activity, curve.se)
        assert curve.se[0] < 0.01


def test_a_lambda_tuned_on_one_data_set_fails_on_the_others(data4a):
    """The negative control of the test above."""
    at = data4a.curve("L1", 0.3).crossing()[0]
    tuned = {c.pi: c for c in data4a.tuned if c.lam[0] == at}
    assert abs(tuned[0.3].activity[0] - 0.3) < 0.02  # the line between two points of the sweep
    for pi in (0.05, 0.1, 0.5):
        assert abs(tuned[pi].activity[0] - pi) > 4 * tuned[pi].se[0]
    same = {c.pi: c for c in data4a.tuned if c.lam[0] == 1}
    assert all(same[pi].activity[0] - pi > 4 * same[pi].se[0] for pi in (0.05, 0.1, 0.2, 0.3))


def test_crossings():
    lam, se = np.array([1.0, 2.0, 4.0]), np.full(3, 0.01)
    curve = ActivityCurve("", "DSC", 0.3, lam, np.array([0.5, 0.4, 0.2]), se)
    at, error = curve.crossing()
    assert at == pytest.approx(np.sqrt(8))
    assert error == pytest.approx(np.sqrt(8) * 0.01 / (0.2 / np.log(2)))
    assert ActivityCurve("", "DSC", 0.3, lam, np.array([0.2, 0.1, 0.0]), se).crossing() is None
    assert ActivityCurve("", "DSC", 0.3, lam, np.array([0.6, 0.5, 0.4]), se).crossing() is None
    assert ActivityCurve("", "DSC", 0.3, lam, np.array([0.6, 0.5, 0.4]), se).to_dict()["crossing"] is None


def test_measured_activity_counts_over_inputs():
    codes = np.zeros((1, 4, 2))
    codes[0, :, 0] = 0.005, 0.02, -0.02, 0.5
    curve = measured_activity(codes, label="", system="DSC", pi=0.3, lam=2.0, zero_below=0.01)
    assert curve.activity == pytest.approx([0.375])
    assert curve.se == pytest.approx([np.std([0, 0.5, 0.5, 0.5], ddof=1) / 2])


# --- Figure 5 ---


def test_only_l0_lsc_with_the_right_dictionary_has_the_priors_coefficients(data5):
    """The right one is rejected at 1 % for 1 % of all seeds; the others have p < 1e-6 by far."""
    assert {(c.system, c.dictionary) for c in data5.series if c.p_value > 0.01} == {("L0-LSC", "right")}
    assert max(c.p_value for c in data5.series if (c.system, c.dictionary) != ("L0-LSC", "right")) < 1e-6
    density = data5.get("L0-LSC", "right").density()
    middle = np.exp(-(density[0][:-1] + density[0][1:]) / 2)
    assert np.all(np.abs(density[1] - middle)[:8] < 4.5 * density[2][:8] + 0.01)  # 0.01: a bin is not its middle


@pytest.mark.parametrize("lam", [0.2, 1.0, 2.2])
def test_no_lambda_gives_map_codes_the_priors_coefficients(lam):
    X = bars_inputs(4, 0.3, 800, seed=0)[1]
    assert right(many_lasso(bars_model(4, lam), X)).p_value < 1e-6


@pytest.mark.slow
def test_pooled_coefficients_keep_the_level_of_the_test():
    """Latents are dependent given x and independent over inputs: 5 % of the tests reject. False alarms: 1e-4."""
    model, repeats = bars_model(3), 200
    p = []
    for repeat in range(repeats):
        X = bars_inputs(3, 0.3, 40, seed=1000 + repeat)[1]
        p.append(right(posterior_draws(model, X, 1, seed=repeat)[:, 0]).p_value)
    low, high = binom.interval(1 - 1e-4, repeats, 0.05)
    assert low <= np.sum(np.array(p) < 0.05) <= high, np.sum(np.array(p) < 0.05)


def test_many_draws_of_few_inputs_do_not():
    """The negative control of the level: draws of one x are no draws from the prior."""
    model = bars_model(3)
    p = []
    for repeat in range(20):
        X = bars_inputs(3, 0.3, 4, seed=1000 + repeat)[1]
        p.append(right(posterior_draws(model, X, 40, seed=repeat).reshape(-1, 6)).p_value)
    assert np.sum(np.array(p) < 0.05) > 10


def test_a_sampler_of_another_posterior_is_rejected():
    X = bars_inputs(4, 0.3, 1000, seed=3)[1]
    for sampler in (bars_model(4, lam=2.0), SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 1.0)):
        assert right(posterior_draws(sampler, X, 1, seed=0)[:, 0]).p_value < 1e-3


def test_what_is_read_as_zero_does_not_bias_the_test():
    """The excess over a threshold has the same exponential; the sizes themselves have not."""
    s = np.random.default_rng(0).exponential(size=(1000, 8))
    s[np.random.default_rng(1).random(s.shape) > 0.3] = 0
    read = right(s, zero_below=0.2)
    assert read.p_value > 0.001  # false alarms: 0.1 %
    assert read.share == pytest.approx(0.3 * np.exp(-0.2), abs=0.02)  # 4 standard errors
    assert right(np.where(s > 0.2, s, 0)).p_value < 1e-6


# --- drawing, saving, refusing ---


def test_figures_are_drawn_with_what_a_circuit_measured(data4a, data5, tmp_path):
    lam = np.array([0.5, 2.0])
    curves = [
        ActivityCurve("DSC circuit", "DSC", 0.3, lam, np.array([0.4, 0.3]), np.array([0.02, 0.02])),
        ActivityCurve("L0-LSC circuit", "L0-LSC", 0.2, np.ones(1), np.array([0.21]), np.array([0.01])),
    ]
    codes = bars_inputs(4, 0.3, 30, seed=9)[0]
    read = [
        coefficients(codes, label=f"{system} circuit", system=system, dictionary=dictionary)
        for system in ("DSC", "LCA", "LCA hard", "L0-LSC")
        for dictionary in ("random", "right")
    ]
    figures = {"3": figure3(figure3_data(4)), "4a": figure4a(data4a, curves), "5": figure5(data5, read)}
    for name, fig in figures.items():
        save_figure(fig, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    shown = {text.get_text() for ax in figures["4a"].axes if ax.get_legend() for text in ax.get_legend().get_texts()}
    assert {"DSC circuit", "L0-LSC circuit"} <= shown
    assert {text.get_text() for text in figures["5"].legends[0].get_texts()} >= {c.label for c in read}
    notes = [ax.texts[0].get_text() for ax in figures["5"].axes]
    assert sum(note.count("circuit") for note in notes) == 8
    for ax, system in zip(figures["5"].axes, ("L1", "LCA hard", "L0-LSC") * 2, strict=True):
        assert {to_hex(line.get_color()).upper() for line in ax.lines[1:]} <= {COLORS[system]}
    assert len(figure4a(data4a).axes) == 2
    assert len(figure5(data5).axes) == 6


def test_numbers_are_saved(data4a, data5):
    for data in (data4a, data5):
        saved = json.loads(json.dumps(data.to_dict(), allow_nan=False))
        assert saved["size"]["n_inputs"] == SMALL.n_inputs
    saved = data4a.to_dict()["swept"][0]
    assert saved["crossing"]["lam"] == data4a.swept[0].crossing()[0]
    assert len(saved["activity"]) == SMALL.n_lambdas
    series = data5.to_dict()["series"][-1]
    assert sum(series["density"]) * 0.25 == pytest.approx(1, abs=0.02)
    assert series["n"] == len(data5.series[-1].values)


def test_refusals(data4a):
    with refused("Size: n = 1. Give an integer >= 2."):
        Size(1, 10, 10, 1)
    with refused("system = 'dsc' is unknown. Give one of L1, DSC, LCA, LCA hard, L0-LSC."):
        ActivityCurve("", "dsc", 0.3, np.ones(1), np.ones(1), np.ones(1))
    with refused("lam, activity, se have shapes (2,), (1,), (1,)"):
        ActivityCurve("", "DSC", 0.3, np.array([1.0, 2.0]), np.ones(1), np.ones(1))
    with refused("does not increase"):
        ActivityCurve("", "DSC", 0.3, np.array([2.0, 1.0]), np.ones(2), np.ones(2))
    with refused("dictionary = 'learned' is unknown. Give one of random, right."):
        coefficients(np.ones((2, 2)), label="", system="DSC", dictionary="learned")
    with refused("codes have shape (3,). Pass one code for each input"):
        right(np.ones(3))
    with refused("codes have shape (2, 2). Pass (n_lambdas, n_inputs, n_latents)"):
        measured_activity(np.ones((2, 2)), label="", system="DSC", pi=0.3, lam=1.0)
    with refused("measured curves have pi = [0.2], software has [0.3, 0.1]"):
        figure4a(data4a, [ActivityCurve("", "DSC", 0.2, np.ones(1), np.ones(1), np.ones(1))])
    with refused("sigma = -1"):
        bars_inputs(3, 0.3, 2, 0, sigma=-1)
    silent = right(np.zeros((3, 4)))
    assert (silent.ks, silent.p_value, silent.share) == (0, 1, 0)
    assert not silent.density()[1].any()
