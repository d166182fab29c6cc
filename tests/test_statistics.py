"""What `circuitlsc.reference.statistics` measures, against samples whose statistics and standard errors are known."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from circuitlsc import Gaussian, InputError, SparseCodingModel, SpikeSlab
from circuitlsc.reference.statistics import (
    PosteriorStatistics,
    block_sums,
    floored_mcse,
    mean_with_mcse,
    summarize,
    virial,
)
from circuitlsc.sampling.lazy_draws import Draws


def ar1(rng, shape, a):
    """Stationary AR(1) along axis 1, variance 1: the integrated autocorrelation time is (1+a)/(1-a)."""
    z = rng.standard_normal(shape)
    z[:, 1:] *= math.sqrt(1 - a * a)
    return lfilter([1], [1, -a], z, axis=1)


def measure(s, active=None, x=None):
    """Summarize codes under the dictionary I."""
    s = np.asarray(s, dtype=float)
    model = SparseCodingModel(np.eye(s.shape[2]), SpikeSlab(0.3, 1.0), 0.5)
    x = np.zeros(s.shape[2]) if x is None else x
    return summarize(s, s != 0 if active is None else active, model=model, x=x, method="test")


def numbers(st):
    """Every number of a PosteriorStatistics but R-hat, which may be infinite."""
    fields = {k: v for k, v in vars(st).items() if k not in ("support", "rhat_max", "method")}
    arrays = [np.ravel(v) for v in fields.values() if v is not None]
    return np.concatenate([*arrays, list((st.support or {}).values())])


def test_mcse_of_ar1_is_that_of_its_autocorrelation_time():
    a, chains, draws = 0.9, 4, 25_000
    values = ar1(np.random.default_rng(0), (chains, draws, 20), a)
    mean, mcse = mean_with_mcse(values)
    n = chains * draws
    known = math.sqrt((1 + a) / (1 - a) / n)
    assert np.abs(mcse / known - 1).max() < 0.2, mcse / known
    assert abs(mcse.mean() / known - 1) < 0.05, mcse.mean() / known
    z = mean / mcse
    assert np.abs(z).max() < norm.isf(1e-3 / 40), z
    naive = 1 / math.sqrt(n)
    assert mcse.min() > 3 * naive, "the autocorrelation must count"


def test_mcse_of_the_sd_has_the_autocorrelation_of_the_squares():
    # s^2 of an AR(1) decorrelates as a^2: arviz-stats 0.8 would take a, and be 1.4 times too large.
    a, n = 0.9, 4 * 25_000
    st = measure(ar1(np.random.default_rng(1), (4, 25_000, 16), a))
    known = math.sqrt((1 + a**2) / (1 - a**2) / (2 * n))
    assert abs(st.sd_mcse.mean() / known - 1) < 0.08, st.sd_mcse.mean() / known
    assert np.abs((st.sd - 1) / st.sd_mcse).max() < norm.isf(1e-3 / 32)
    known_ess = n * (1 - a) / (1 + a)
    assert 0.8 < st.ess_min / known_ess < 1.1, (st.ess_min, known_ess)
    assert st.rhat_max < 1.01
    assert st.n_draws == n


def test_sd_at_its_extreme_has_the_second_order_error():
    # sd of an indicator at p = 1/2 is at its largest: the first-order error vanishes, sd is low by (p - 1/2)^2.
    rng = np.random.default_rng(2)
    z = [(st.sd[0] - 0.5) / st.sd_mcse[0] for st in (measure(rng.random((4, 100, 1)) < 0.5) for _ in range(100))]
    assert np.abs(z).max() < 6, np.abs(z).max()


def test_indicator_and_pairs_are_those_of_independent_draws():
    rng = np.random.default_rng(3)
    p = np.array([0.3, 0.6, 0.05])
    active = rng.random((4, 20_000, 3)) < p
    st = measure(active * 2.0, active)
    n = 80_000
    np.testing.assert_allclose(st.p_active_mcse, np.sqrt(p * (1 - p) / n), rtol=0.1)
    np.testing.assert_allclose(st.mean_mcse, 2 * np.sqrt(p * (1 - p) / n), rtol=0.1)
    joint = np.outer(p, p)
    np.fill_diagonal(joint, p)
    np.testing.assert_allclose(st.coactive_mcse, np.sqrt(joint * (1 - joint) / n), rtol=0.1)
    assert np.abs((st.coactive - joint) / st.coactive_mcse).max() < norm.isf(1e-3 / 12)
    np.testing.assert_array_equal(st.coactive.diagonal(), st.p_active)


def test_batch_means_agree_with_the_ess_for_many_latents():
    active = ar1(np.random.default_rng(4), (4, 20_000, 20), 0.8) > 0.5
    many = measure(active * 1.0)  # K = 20: batch means
    few = measure(active[..., :8] * 1.0)  # K = 8: ESS
    upper = np.triu_indices(8, 1)
    ratio = many.coactive_mcse[:8, :8][upper] / few.coactive_mcse[upper]
    assert abs(ratio.mean() - 1) < 0.05, ratio  # each is known to 1/sqrt(2 * 128) = 6 %
    assert ratio.std() < 0.15, ratio
    np.testing.assert_array_equal(many.coactive, many.coactive.T)


def test_support_is_a_table_of_bitmasks():
    active = np.array([[[1, 0, 0], [0, 1, 1], [0, 1, 1], [0, 0, 0]]], bool)
    st = measure(active * 1.0, active)
    assert st.support == {0: 0.25, 1: 0.25, 6: 0.5}
    assert measure(np.ones((2, 5, 21))).support is None


def test_residual_power_is_that_of_the_dictionary():
    rng = np.random.default_rng(5)
    A, x = rng.standard_normal((3, 2)), rng.standard_normal(3)
    s = rng.exponential(size=(2, 6_000, 2))
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)
    st = summarize(s, s > 0, model=model, x=x, method="test")
    power = ((s @ A.T - x) ** 2).sum(-1)
    assert st.residual_power == pytest.approx(power.mean(), rel=1e-12)
    assert st.residual_power_mcse == pytest.approx(power.std() / math.sqrt(power.size), rel=0.1)


def test_constant_columns_have_no_nan_and_no_error():
    rng = np.random.default_rng(6)
    s = np.zeros((4, 1000, 4))
    s[..., 1] = 0.1 + 0.2  # always active, at a value whose computed variance is rounding
    s[..., 2] = rng.exponential(size=(4, 1000))
    st = measure(s)
    assert np.isfinite(numbers(st)).all()
    np.testing.assert_array_equal(st.p_active, [0, 1, 1, 0])
    np.testing.assert_array_equal(st.p_active_mcse, 0)
    assert st.mean_mcse[0] == st.mean_mcse[1] == st.sd_mcse[0] == st.sd_mcse[1] == 0
    assert st.mean_mcse[2] > 0
    assert 1000 < st.ess_min < 6000, "constant columns do not count"


def test_a_run_where_nothing_moves_is_one_sample():
    st = measure(np.zeros((4, 1000, 2)))
    assert st.ess_min == 1
    assert st.rhat_max == 1
    assert np.isfinite(numbers(st)).all()


def test_chains_that_stand_still_at_different_values_have_infinite_rhat():
    st = measure(np.repeat([[[1.0]], [[2.0]]], 50, axis=1))
    assert st.rhat_max == math.inf
    assert st.ess_min < 5
    assert np.isfinite(numbers(st)).all()


def test_a_stuck_chain_shows_in_rhat_and_ess():
    s = np.random.default_rng(7).exponential(size=(4, 2000, 2))
    assert measure(s).rhat_max < 1.01
    s[0, :, 1] += 5
    st = measure(s)
    assert st.rhat_max > 1.3
    assert st.ess_min < 20


def test_one_chain_is_compared_with_itself():
    values = ar1(np.random.default_rng(8), (1, 20_000, 2), 0.5)
    st = measure(values)
    assert st.rhat_max < 1.01
    assert 3000 < st.ess_min < 9000
    drifting = values + np.linspace(0, 5, 20_000)[None, :, None]
    assert measure(drifting).rhat_max > 1.5


def test_short_chains_work_from_four_draws_on(caplog):
    rng = np.random.default_rng(9)
    with caplog.at_level(logging.WARNING):
        for chains, draws in ((4, 4), (2, 5), (1, 4), (1, 9)):
            st = measure(rng.exponential(size=(chains, draws, 2)))
            assert np.isfinite(numbers(st)).all()
            assert not math.isnan(st.rhat_max)
        assert measure(rng.exponential(size=(1, 7, 2))).rhat_max == math.inf
    assert not caplog.records, "arviz-stats must not be asked for what it cannot do"
    message = (
        r"^s has 3 samples in each of 4 chains, but a standard error needs at least 4 per chain\. "
        r"Raise t_stop, or lower thin or warmup\.$"
    )
    with pytest.raises(InputError, match=message):
        measure(np.ones((4, 3, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measure(np.full((2, 5, 1), np.nan)), r"^s\[0, 0, 0\] = nan, but every sample must be finite"),
        (lambda: measure(np.ones((2, 5, 1)), np.ones((2, 4, 1), bool)), r"^active has shape \(2, 4, 1\), but s has"),
        (lambda: mean_with_mcse(np.ones(5)), r"^values has shape \(5,\)"),
    ],
)
def test_bad_samples_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_statistics_of_wrong_shape_or_nan_are_refused():
    good = vars(measure(np.random.default_rng(11).exponential(size=(2, 50, 2))))
    with pytest.raises(InputError, match=r"^PosteriorStatistics: mean has shape \(3,\)\. Pass shape \(2,\)\.$"):
        PosteriorStatistics(**{**good, "mean": np.ones(3)})
    with pytest.raises(InputError, match="sd is not finite"):
        PosteriorStatistics(**{**good, "sd": np.array([1.0, np.nan])})


def test_floors_give_a_state_never_visited_an_error():
    rng = np.random.default_rng(12)
    s = np.stack([np.zeros((4, 1000)), rng.exponential(size=(4, 1000))], -1)
    st = measure(s)
    p, m2 = 1e-3, 2.0  # exponential slab of rate 1
    exact = dict(vars(st), p_active=np.array([p, 1.0]), mean=np.array([p, 1.0]), ess_min=math.inf)
    exact["sd"] = np.array([math.sqrt(p * m2 - p * p), 1.0])
    exact["coactive"] = np.array([[p, p], [p, 1.0]])
    exact = PosteriorStatistics(**exact)
    floor = floored_mcse(st, exact)
    n = st.ess_min
    assert floor["p_active"][0] == pytest.approx(math.sqrt(p * (1 - p) / n))
    assert floor["mean"][0] == pytest.approx(exact.sd[0] / math.sqrt(n))
    variance_of_square = p * 24 - (p * m2) ** 2  # E s^4 = 24 p, up to O(p^2)
    assert floor["sd"][0] == pytest.approx(math.sqrt(variance_of_square / n) / (2 * exact.sd[0]), rel=0.01)
    assert floor["coactive"][0, 1] == floor["p_active"][0]
    large = {f"{name}_mcse": np.full(2, 9.0) for name in ("p_active", "mean", "sd")}
    for name, value in floored_mcse(PosteriorStatistics(**{**vars(st), **large}), exact).items():
        assert name == "coactive" or (value == 9).all(), "a floor never lowers an error"
    for name in ("p_active", "mean", "sd"):
        assert floor[name][1] == getattr(st, name + "_mcse")[1], "what was visited keeps its own error"
        assert floored_mcse(exact, exact)[name][0] == 0, "exact numbers have none"


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_virial_of_a_gaussian_posterior(temperature):
    rng = np.random.default_rng(13)
    model = SparseCodingModel(rng.standard_normal((3, 2)), Gaussian(0.7), 0.4)
    x = rng.standard_normal(3)
    precision = model.gram + np.eye(2) / 0.7**2
    mean, root = np.linalg.solve(precision, model.drive(x)), np.linalg.cholesky(np.linalg.inv(precision))
    u = mean + math.sqrt(temperature) * rng.standard_normal((4, 12_000, 2)) @ root.T
    value, mcse = virial(model, u, x, width=0.0, temperature=temperature)
    assert np.abs((value - 1) / mcse).max() < norm.isf(1e-3 / 4), value
    assert mcse.max() < 0.05
    wrong, mcse = virial(model, u, x, width=0.0, temperature=1.5 * temperature)
    assert ((1 - wrong) / mcse).min() > 10, "a wrong temperature must show"


def test_virial_holds_for_the_smoothed_spike_and_slab():
    model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.5), 0.5)
    x, width, rng = np.array([0.8]), 0.05, np.random.default_rng(14)
    grid = np.linspace(-12, 12, 200_001)
    p = np.exp(-model.energy(grid[:, None], x, width))
    u = np.interp(rng.random((4, 50_000, 1)), np.cumsum(p) / p.sum(), grid)
    value, mcse = virial(model, u, x, width=width, temperature=1.0)
    assert abs(value[0] - 1) < norm.isf(1e-3 / 2) * mcse[0], (value, mcse)
    wrong, mcse = virial(model, u, x + 0.5, width=width, temperature=1.0)
    assert abs(wrong[0] - 1) > 8 * mcse[0], "another observation must show"
    with pytest.raises(InputError, match=r"^u has shape \(4, 50000\)"):
        virial(model, u[..., 0], x, width=width, temperature=1.0)


def test_signs_and_distribution_functions_are_measured_and_blocks_summed():
    rng = np.random.default_rng(11)
    s = np.where(rng.random((3, 1003, 2)) < 0.6, rng.normal(0.2, 1.0, (3, 1003, 2)), 0.0)
    levels = np.array([[-0.5, 0.0, 1.0], [-1.0, 0.0, 0.3]])
    model = SparseCodingModel(np.eye(2), SpikeSlab(0.6, 1.0, True), 0.5)
    st = summarize(s, s != 0, model=model, x=np.zeros(2), method="circuit", levels=levels)
    assert st.p_negative == pytest.approx((s < 0).mean((0, 1)))
    np.testing.assert_allclose(st.below, (s[..., None] <= levels).mean((0, 1)), rtol=1e-12)
    for value, mcse in ((st.p_negative, st.p_negative_mcse), (st.below, st.below_mcse)):
        np.testing.assert_allclose(mcse, np.sqrt(value * (1 - value) / 3009), rtol=0.3)  # independent draws
    assert measure(np.abs(s)).p_negative == pytest.approx(0)
    sums, length = block_sums(Draws.of(s), Draws.of(s != 0), 10)
    assert (sums.shape, length) == ((3, 10, 4, 2), 100)
    block = s[1, 3 + 400 : 3 + 500]  # what does not fill the blocks is left out at the beginning
    np.testing.assert_allclose(sums[1, 4], [(block != 0).sum(0), (block < 0).sum(0), block.sum(0), (block**2).sum(0)])
    with pytest.raises(InputError, match=r"^PosteriorStatistics: p_negative has shape \(3,\)\. Pass shape \(2,\)\.$"):
        replace(st, p_negative=np.zeros(3))
