"""What a run finds: the exact posterior with learning off, the parameters that made the data, and the bars."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from circuitlsc import Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.learning import FromModel, Learner, Rows, Stage, match_atoms, random_weights
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.statistics import mean_with_mcse, summarize

LEVEL = 1e-4  # chance that a right program fails a test
BIAS = 0.003  # of P(active), from steps of 0.02 sigma^2 (see test_sde)
PRIORS = {
    "nonnegative": SpikeSlab(0.3, 1.0),
    "signed": SpikeSlab(0.3, 1.0, signed=True),
    "laplace": Laplace(1.0),
    "exponential": Laplace(1.0, signed=False),
}


def still(model, x):
    """Run with learning off, 100 copies of one input; return its history after 10 tau."""
    prior = model.prior
    run = Learner(
        A0=model.A,
        pi=getattr(prior, "pi", 1.0),
        lam=prior.lam,
        sigma=model.sigma,
        signed=prior.signed,
        source=Rows(x[None]),
        stages=[Stage(duration=60.0, step=0.005, hold=60.0)],
        seed=1,
        learn=(),
        batch=100,
        records=60,
    ).run()
    return run.history.isel(time=slice(10, None))


def worst(history, model, x):
    """Largest deviation from the exact posterior beyond the step's bias, in standard errors of both sides."""
    s = gibbs(model, x, n_sweeps=8_000, seed=5)
    exact = summarize(s, s != 0, model=model, x=x, method="gibbs")
    size, size_mcse = mean_with_mcse(np.abs(s).mean(-1, keepdims=True))
    pairs = [
        (history["usage"].values, exact.p_active, exact.p_active_mcse, BIAS),
        (history["error"].values[:, None], exact.residual_power / len(x), exact.residual_power_mcse / len(x), 2 * BIAS),
        (history["size"].values[:, None], size, size_mcse, 2 * BIAS),
    ]
    deviations = []
    for values, expected, mcse, bias in pairs:
        mean, own = mean_with_mcse(values[None])
        deviations.append(np.max((np.abs(mean - expected) - bias) / np.maximum(np.hypot(own, mcse), 1e-12)))
    return float(np.max(deviations))


@pytest.mark.parametrize("name", PRIORS)
def test_with_learning_off_it_samples_the_posterior(name):
    model = SparseCodingModel(bars(3), PRIORS[name], 0.5)
    x = model.draw(np.random.default_rng(2))[1]
    bound = float(norm.isf(LEVEL / 8 / 2))
    history = still(model, x)
    assert worst(history, model, x) < bound
    for wrong in (SparseCodingModel(model.A, model.prior, 0.6), SparseCodingModel(0.7 * model.A, model.prior, 0.5)):
        assert worst(history, wrong, x) > bound


def recovered(stage, *, signed=False, n_runs=16, **start):
    """Learn numbers from 4x4 bars (pi 0.3, lam 1, sigma 0.5) in independent runs; return the values found, (n_runs, n)."""
    prior, numbers = SpikeSlab(0.3, 1.0, signed), {"pi": 0.3, "lam": 1.0, "sigma": 0.5}
    model = SparseCodingModel(bars(4), prior, 0.5)
    runs = [
        Learner(
            A0=model.A,
            **{**numbers, **start},
            signed=signed,
            source=model,
            stages=[stage],
            seed=seed,
            learn=tuple(start),
        ).run()
        for seed in range(n_runs)
    ]
    return np.array([[getattr(run.learned, what) for what in start] for run in runs])


def consistent(values, truth, allowance):
    """Whether independent estimates have this mean: Student's t beyond the allowance for bias."""
    se = values.std(ddof=1) / math.sqrt(len(values))
    return abs(values.mean() - truth) < allowance + t.isf(LEVEL / 2, len(values) - 1) * se


@pytest.mark.slow  # all numbers at once, below, are not
@pytest.mark.parametrize("signed", [False, True])
def test_pi_is_found(signed):
    stage = Stage(duration=160.0, step=0.005, hold=40.0, pause=5.0, tau_u0=20.0)
    values = recovered(stage, signed=signed, pi=0.6)[:, 0]
    assert consistent(values, 0.3, 0.01), values
    for wrong in (0.255, 0.345):
        assert not consistent(values, wrong, 0.01), values


# all numbers at once, below, are of codes without signs
@pytest.mark.parametrize("signed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_lam_is_found(signed):
    stage = Stage(duration=160.0, step=0.02, hold=20.0, pause=5.0, tau_lam=20.0)
    values = recovered(stage, signed=signed, lam=2.0)[:, 0]
    assert consistent(values, 1.0, 0.03), values
    for wrong in (0.85, 1.15):
        assert not consistent(values, wrong, 0.03), values


@pytest.mark.slow  # all numbers at once, below, are not
def test_sigma_is_found():
    stage = Stage(duration=120.0, step=0.01, hold=15.0, pause=5.0, tau_sigma=10.0)
    values = recovered(stage, sigma=0.8)[:, 0]
    assert consistent(values, 0.5, 0.01), values
    for wrong in (0.46, 0.54):
        assert not consistent(values, wrong, 0.01), values


@pytest.mark.slow
def test_all_numbers_are_found_at_once():
    stage = Stage(duration=400.0, step=0.01, hold=40.0, pause=5.0, tau_u0=20.0, tau_lam=40.0, tau_sigma=20.0)
    values = recovered(stage, n_runs=8, pi=0.6, lam=2.0, sigma=0.8)
    for found, truth, allowance in zip(values.T, (0.3, 1.0, 0.5), (0.01, 0.03, 0.01), strict=True):
        assert consistent(found, truth, allowance), values
        assert not consistent(found, 1.3 * truth, allowance), values


def test_a_pause_after_the_switch_removes_the_bias_of_stale_codes():
    """At hold 5, what is learned while s is still that of the last input makes sigma 10 % too large."""
    common = {"duration": 40.0, "step": 0.02, "hold": 5.0, "tau_sigma": 10.0}
    with_pause = recovered(Stage(**common, pause=3.0), n_runs=8, sigma=0.5)[:, 0]
    without = recovered(Stage(**common), n_runs=8, sigma=0.5)[:, 0]
    difference = without - with_pause  # the same inputs
    se = difference.std(ddof=1) / math.sqrt(8)
    assert difference.mean() - t.isf(LEVEL, 7) * se > 0.01, difference


def test_dictionary_of_bars_is_found():
    """4x4 bars from random weights, without normalisation, in a second or two."""
    A = bars(4)
    run = Learner(
        A0=random_weights(16, 8, 0),
        pi=0.3,
        lam=1.0,
        sigma=0.5,
        source=SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5),
        stages=[
            Stage(duration=800.0, step=0.02, hold=10.0, tau_A=50.0),
            Stage(duration=800.0, step=0.01, hold=20.0, pause=5.0, tau_A=200.0),
        ],
        seed=0,
    ).run()
    match = match_atoms(A, run.learned.A)
    assert match.cosine.min() >= 0.98, match
    assert np.all(np.abs(match.norm_ratio - 1) < 0.15), match
    np.testing.assert_array_equal(match.index, match.best_index)
    before = match_atoms(A, run.history["A"].values[0])
    assert before.cosine.max() < 0.9, before


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_8x8_bars_are_found(seed):
    """A minute or two each: every atom, and its norm, which nothing normalises."""
    A = bars(8)
    run = Learner(
        A0=random_weights(64, 16, seed),
        pi=0.3,
        lam=1.0,
        sigma=0.5,
        source=FromModel(SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)),
        stages=[
            Stage(duration=4000.0, step=0.02, hold=10.0, tau_A=100.0),
            Stage(duration=3000.0, step=0.01, hold=50.0, tau_A=300.0),
            Stage(duration=5000.0, step=0.005, hold=50.0, tau_A=2000.0),
        ],
        seed=seed,
    ).run()
    match = match_atoms(A, run.learned.A)
    assert match.cosine.min() >= 0.99, match
    assert np.all(np.abs(match.norm_ratio - 1) <= 0.08), match
