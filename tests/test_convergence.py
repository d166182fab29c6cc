"""Errors of averages against time: closed forms of independent draws, and where two curves cross."""

import math

import numpy as np
import pytest
from scipy.special import rel_entr

from circuitlsc.studies import convergence as study

P = np.array([0.1, 0.45, 0.9, 0.3])
Q = np.array([0.15, 0.52, 0.9, 0.2])  # of a biased law


def draws(q, n, inputs, seed):
    return np.random.default_rng(seed).random((inputs, n, len(q))) < q


def test_shares_are_those_of_the_first_samples():
    on = draws(Q, 40, 1, 0)[0]
    w = np.random.default_rng(1).exponential(size=40)
    counts = np.array([1, 7, 40])
    keys = on @ (1 << np.arange(4))
    for weights in (None, w):
        given = np.ones(40) if weights is None else weights
        active, supports = (f(on, weights, counts) for f in (study.active_shares, study.support_shares))
        for row, count in enumerate(counts):
            first = given[:count] / given[:count].sum()
            np.testing.assert_allclose(active[row], first @ on[:count], atol=1e-14)
            for key in range(16):
                assert supports[row, key] == pytest.approx(first[keys[:count] == key].sum(), abs=1e-14)


def test_mean_square_error_is_bias_squared_and_noise():
    """Of independent draws (q - p)^2 + q (1 - q)/n, and not without the bias."""
    counts = np.array([1, 10, 100])
    square = np.array([(study.active_shares(on, None, counts) - P) ** 2 for on in draws(Q, 100, 3000, 2)])
    expected = (Q - P) ** 2 + Q * (1 - Q) / counts[:, None]
    z = (square.mean(0) - expected) / (square.std(0) / math.sqrt(3000))
    assert np.abs(z).max() < 3.5  # 12 of them
    unbiased = (square.mean(0) - Q * (1 - Q) / counts[:, None]) / (square.std(0) / math.sqrt(3000))
    assert np.abs(unbiased[-1]).max() > 10


def test_plug_in_divergence_is_that_of_the_law_and_of_the_noise():
    """Of supports KL(q || p) + 15/(2 n), of latents each half a nat over n: once all supports were seen many times."""
    exact, law = (
        np.array([np.prod(np.where([k >> i & 1 for i in range(4)], r, 1 - r)) for k in range(16)]) for r in (P, Q)
    )
    counts = np.array([3000])
    found, each = [], []
    for on in draws(Q, 3000, 300, 3):
        found.append(study.support_divergence(study.support_shares(on, None, counts), exact)[0])
        each.append(study.bernoulli_divergence(study.active_shares(on, None, counts), P)[0])
    bias = rel_entr(law, exact).sum()
    assert bias == pytest.approx((rel_entr(Q, P) + rel_entr(1 - Q, 1 - P)).sum())  # independent latents
    assert np.mean(found) - bias == pytest.approx(15 / 6000, abs=4 * np.std(found) / math.sqrt(300))
    assert np.mean(each) - bias == pytest.approx(4 / 6000, abs=4 * np.std(each) / math.sqrt(300))
    assert 4 * np.std(found) / math.sqrt(300) < 15 / 6000  # the noise would be missed


def test_exact_probabilities_that_were_sampled_are_never_zero():
    p = study.smoothed({0: 0.75, 3: 0.25}, 2, 100)
    np.testing.assert_allclose(p, np.array([75.5, 0.5, 0.5, 25.5]) / 102)
    exact = study.smoothed({0: 0.75, 3: 0.25}, 2, 0)
    np.testing.assert_array_equal(exact, [0.75, study.SMALLEST, study.SMALLEST, 0.25])


T = np.geomspace(2.0, 2000.0, 25)


def test_where_two_errors_cross():
    slow, fast = 3.0 / np.sqrt(T), np.full(25, 0.1)  # at (3/0.1)^2
    assert study.crossing_of(T, slow, fast) == pytest.approx(900.0, rel=1e-12)
    assert study.crossing_of(T, slow, fast / 10) == np.inf
    assert study.crossing_of(T, slow / 100, fast) == T[0]
    assert study.crossing_of(T, slow, 2 * slow) == T[0]
    wiggly = slow.copy()
    wiggly[3] = 1e-3  # better once, by chance: it counts from when on it stays so
    assert study.crossing_of(T, wiggly, fast) == pytest.approx(900.0, rel=1e-12)
    both = study.crossing_of(T, np.stack([slow, 2 * slow]), np.stack([fast, fast]))
    np.testing.assert_allclose(both, [900.0, np.inf], rtol=1e-12)


def test_the_interval_of_a_crossing():
    """Amplitudes with 5 % noise: the crossing, their square, has 10 %; what never crosses is an end without a number."""
    amplitudes = 3.0 * np.exp(0.05 * np.random.default_rng(4).standard_normal(2000))
    many = amplitudes[:, None] / np.sqrt(T)
    fast = np.full(25, 0.1), np.full((2000, 25), 0.1)
    found = study.crossing(T, (3.0 / np.sqrt(T), many), fast, "2000 tau")
    assert found.value == pytest.approx(900.0)
    assert math.log(found.high / found.low) == pytest.approx(2 * 1.96 * 0.1, rel=0.1)
    assert (found.share, found.reason) == (1.0, None)
    open_end = study.crossing(T, (3.0 / np.sqrt(T), 1.5 * many), fast, "2000 tau")
    assert open_end.high is None
    assert open_end.low > 1500
    assert 0.4 < open_end.share < 0.6
    never = study.crossing(T, (30.0 / np.sqrt(T), 10 * many), fast, "2000 tau")
    assert (never.value, never.low, never.high, never.share) == (None, None, None, 0.0)
    assert never.reason == "it is not more accurate at the end (2000 tau)"
    always = study.crossing(T, (0.01 / np.sqrt(T), 0.003 * many), fast, "2000 tau")
    assert (always.value, always.reason) == (T[0], "it is more accurate from the first point on")


def test_curves_against_energy():
    """Errors that cross at a time cross at that time's energy if one of them does not fall; the other's power matters not."""
    slow, fast = (3.0 / np.sqrt(T), np.ones((5, 1)) * 3.0 / np.sqrt(T)), (np.full(25, 0.1), np.full((5, 25), 0.1))
    joule, (one, other) = study.against_energy(1e-6 * T, (2e-3, 5e-4), (slow, fast))
    assert joule[0] == pytest.approx(1e-6 * 2.0 * 2e-3)
    assert joule[-1] == pytest.approx(1e-6 * 2000.0 * 5e-4)
    np.testing.assert_allclose(one[0], 3.0 / np.sqrt(joule / 2e-9), rtol=1e-12)
    far = study.crossing(joule, one, other, "the end")
    assert far.value is None  # 1.8 uJ are beyond the other's last energy, 1 uJ
    joule, (one, other) = study.against_energy(1e-6 * T, (5e-4, 2e-3), (slow, fast))
    found = study.crossing(joule, one, other, "the end")
    assert found.value == pytest.approx(900e-6 * 5e-4)
    assert found.low == pytest.approx(found.value)
    assert study.against_energy(1e-6 * T, (1.0, 1e-4), (slow, fast)) is None


def test_the_bootstrap_is_that_of_a_mean():
    values = np.random.default_rng(5).standard_normal((400, 1))
    picked = study.resampled(400, 7)
    np.testing.assert_array_equal(picked, study.resampled(400, 7))
    low, high = study.interval(values[picked].mean(1))
    assert (high - low)[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
