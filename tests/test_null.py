"""The law of a run's errors: replicates as long as the run, long runs put together from them, and what they depend on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, kstest

from circuitlsc import Cauchy, CustomPrior, Gaussian, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.reference.replicates import replicate_runs
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.validation import null
from circuitlsc.validation.null import Judged, Null, null_for, quantile_levels

WIDE = np.array([[1.0, 0.6, -0.5], [0.0, 0.8, 0.5]])  # three atoms of two features
BARS = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.7)
BARS_X = np.array([1.4, 0.2, 1.1, -0.3])
STARTS = np.stack([np.zeros(4), BARS.prior.threshold + np.full(4, 0.7)])


def of_runs(found, judged):
    """The judged statistics of replicate runs."""
    n = found.marginals.shape[1] * found.marginals.shape[2] * found.per_block
    sums = found.marginals.sum((1, 2)), found.pairs.sum((1, 2)), found.below.sum((1, 2))
    return judged.from_averages(judged.of_sums(n, *sums))


@pytest.fixture
def small(monkeypatch):
    """Little work, so that long runs are put together; and nothing from other tests."""
    monkeypatch.setattr(null, "_nulls", type(null._nulls)())
    monkeypatch.setattr(null, "WORK", 4e8)
    monkeypatch.setattr(null, "MOST_WORK", 4e9)


def test_long_runs_are_put_together_from_replicates(small):
    length, warmup = 4000.0, 5.0
    made = null_for(BARS, BARS_X, starts=STARTS, length=length, warmup=warmup)
    assert made.scaled
    assert made.length < length / 4
    judged, exact = made.judged, made.judged.select(exact_statistics(BARS, BARS_X))
    long = replicate_runs(
        BARS, BARS_X, starts=STARTS, n_runs=200, length=length, warmup=warmup, seed=8, time_scale=0.999
    )
    true = of_runs(long, judged) - exact
    put = made.deviations(exact)
    assert put.shape == (null.DRAWN, len(exact))
    ratio = put.std(0) / true.std(0)
    # both know their errors to 5 % each; the growth is a bound that leaves room upwards
    assert (ratio > 0.8).all(), ratio
    assert (ratio < 1.25).all(), ratio
    assert np.median(ratio) == pytest.approx(math.sqrt(made.growth), abs=0.1)
    # the largest of all, which is what is judged
    scale = put.std(0)
    assert kstest((np.abs(true) / scale).max(1), (np.abs(put) / scale).max(1)).pvalue > 1e-4
    np.testing.assert_allclose(made.errors(), put.std(0), rtol=0.05)
    # another length scales by the root, by counts of replicates as by sums of so many that they are normal
    assert length / made.length < null.NORMAL < 1e4 * length / made.length
    for longer in (4, 1e4):
        other = made.deviations(exact, longer * length)
        np.testing.assert_allclose(other.std(0), put.std(0) / math.sqrt(longer), rtol=0.15)


def test_the_error_of_the_starts_is_made_once():
    """Replicates that all begin in one place are off on average by what they remember: of a longer run, that is a share."""
    judged = Judged(1, False, False, False)
    rng, mean, var = np.random.default_rng(0), 1.0, 0.25
    averages = np.stack([mean + 0.2 + 0.1 * rng.standard_normal(500), np.full(500, var + mean**2)], axis=1)
    averages[:, 1] = averages[:, 0] ** 2 + var  # sd as it should be
    blocks = np.ones((2, 2, 1))
    late = np.array([mean, var + mean**2])
    one = Null(judged, averages, late, 100.0, 1600.0, 1.0, True, blocks, 6.0, 1.0, np.zeros((2, 1)))
    d = one.deviations(np.array([mean, math.sqrt(var)]))
    assert d[:, 0].mean() == pytest.approx(0.2 / 16, abs=4 * 0.1 / 4 / math.sqrt(null.DRAWN))
    assert d[:, 0].std() == pytest.approx(0.1 / 4, rel=0.12)
    grown = replace(one, growth=1.44).deviations(np.array([mean, math.sqrt(var)]))
    assert grown[:, 0].std() == pytest.approx(1.2 * d[:, 0].std(), rel=1e-6)
    assert grown[:, 0].mean() == pytest.approx(d[:, 0].mean(), abs=4e-3)
    whole = replace(one, scaled=False)
    np.testing.assert_allclose(whole.deviations(np.array([mean, math.sqrt(var)]))[:, 0], averages[:, 0] - mean)
    assert whole.mean_se[0] == pytest.approx(0.1 / math.sqrt(500), rel=0.1)
    np.testing.assert_allclose(judged.averages(judged.from_averages(averages)), averages)


def test_growth_is_what_a_replicate_leaves_out(small, monkeypatch):
    """One linear mode of known rate: replicates of some relaxation times only, and the errors of long runs all the same."""
    model, x, rate = SparseCodingModel(np.eye(1) * 0.02, Gaussian(4.0), 1.0), np.zeros(1), 0.02**2 + 1 / 16
    monkeypatch.setattr(null, "WORK", 2e8)
    monkeypatch.setattr(null, "MOST_WORK", 4e8)
    made = null_for(model, x, starts=np.zeros((2, 1)), length=20_000.0, warmup=40.0)
    n = made.length * rate  # relaxation times in a replicate
    assert 2 < n < 60
    assert made.scaled
    assert made.growth == pytest.approx(1 / (1 - (1 - math.exp(-n)) / n), rel=0.12)
    known = math.sqrt(2 / rate / rate / 20_000 / 2)  # of two chains
    assert made.judged.names[1] == "mean of latent 0"
    assert made.errors()[1] == pytest.approx(known, rel=0.15)


def test_a_null_that_is_too_dear_is_conservative(small, monkeypatch):
    slow, x = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0, True), 0.12), np.array([0.9])
    monkeypatch.setattr(null, "WORK", 3e6)
    monkeypatch.setattr(null, "MOST_WORK", 6e6)
    starts = np.array([[0.0], [2.0]])
    made = null_for(slow, x, starts=starts, length=3000.0, warmup=5.0)
    assert not made.scaled
    assert made.length < 300
    exact = made.judged.select(exact_statistics(slow, x))
    long = replicate_runs(slow, x, starts=starts, n_runs=100, length=3000.0, warmup=5.0, seed=8)
    true = of_runs(long, made.judged) - exact
    put = made.deviations(exact)
    assert len(put) == made.n_runs
    assert (np.sqrt((put**2).mean(0)) > np.sqrt((true**2).mean(0))).all(), "errors of shorter runs are larger"
    assert (made.errors() > 0).all()


def test_short_runs_are_replicated_as_they_are(small):
    made = null_for(BARS, BARS_X, starts=STARTS, length=16.0, warmup=5.0)  # ten draws in each of 16 blocks
    assert not made.scaled
    assert made.length == pytest.approx(16, rel=0.001)
    assert null.FEWEST <= made.n_runs <= null.MOST
    exact = made.judged.select(exact_statistics(BARS, BARS_X))
    fresh = of_runs(
        replicate_runs(BARS, BARS_X, starts=STARTS, n_runs=400, length=16.0, warmup=5.0, seed=3), made.judged
    )
    for j in range(len(exact)):
        assert kstest(made.deviations(exact)[:, j], fresh[:, j] - exact[j]).pvalue > 1e-5, made.judged.names[j]
    np.testing.assert_allclose(made.never[0], 0, atol=0.05)
    np.testing.assert_array_equal(made.never[1], 1)  # no code is ever negative


def test_what_is_never_seen_is_counted(small):
    model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.02, 1.0, True), 0.5)
    starts = np.zeros((2, 1))
    made = null_for(model, np.array([0.9]), starts=starts, length=10.0, warmup=1.0)
    fresh = replicate_runs(model, [0.9], starts=starts, n_runs=1000, length=10.0, warmup=1.0, seed=9)
    never = (fresh.marginals[..., :2, 0].sum((1, 2)) == 0).mean(0)
    assert 0.05 < never[0] < never[1] < 1
    error = np.sqrt(never * (1 - never) * (1 / 1000 + 1 / made.n_runs))
    assert (np.abs(made.never[:, 0] - never) < 4.5 * error).all()


def test_nulls_are_kept_by_all_that_they_depend_on(small, monkeypatch):
    monkeypatch.setattr(null, "WORK", 1e7)
    base = {"starts": STARTS, "length": 10.0, "warmup": 2.0}
    first = null_for(BARS, BARS_X, **base)
    assert null_for(BARS, list(BARS_X), **base) is first
    others = [
        null_for(BARS, BARS_X + 0.1, **base),
        null_for(replace(BARS, sigma=0.71), BARS_X, **base),
        null_for(replace(BARS, A=0.9 * BARS.A), BARS_X, **base),
        null_for(replace(BARS, prior=SpikeSlab(0.31, 1.0)), BARS_X, **base),
        null_for(replace(BARS, prior=SpikeSlab(0.3, 1.0, True)), BARS_X, **base),
    ]
    changes = [
        {"starts": STARTS + 0.01}, {"starts": np.vstack([STARTS, STARTS])}, {"length": 11.0}, {"warmup": 3.0}, {"seed": 1},
        {"dynamics": Dynamics(temperature=1.1)}, {"dynamics": Dynamics(kind="underdamped", mass=1.0, friction=1.0)},
        {"dynamics": Dynamics(kind="underdamped", mass=1.0, friction=1.5)}, {"time_scale": 0.5},
        {"levels": np.array([[0.0, 0.1]] * 4)}, {"seconds": 100.0},
    ]  # fmt: skip
    others += [null_for(BARS, BARS_X, **{**base, **change}) for change in changes]
    assert len({id(made) for made in [first, *others]}) == 17
    assert len(null._nulls) == null._KEPT, "no more are kept"
    again = null_for(BARS, BARS_X, **base)
    assert again is not first, "the oldest went"
    np.testing.assert_array_equal(again.averages, first.averages)
    assert null_for(BARS, BARS_X, **{**base, **changes[-1]}) is others[-1]
    for i, made in enumerate(others[:-1]):  # what it may cost beyond needs not change it
        same = made.averages.shape == first.averages.shape and (made.averages == first.averages).all()
        assert not same or made.target != first.target, i


def test_priors_that_differ_in_their_costs_alone_have_nulls_of_their_own(small, monkeypatch):
    monkeypatch.setattr(null, "WORK", 1e7)
    base = {"starts": np.zeros((1, 2)), "length": 5.0, "warmup": 1.0}
    made = []
    for tilt in (0.3, 0.0):
        prior = CustomPrior(lambda s, tilt=tilt: np.sqrt(s**2 + 0.09) + tilt * s, reach=20.0)
        made.append(null_for(SparseCodingModel(np.eye(2), prior, 0.7), np.zeros(2), **base))
    assert (made[0].averages != made[1].averages).any()


def test_more_chains_than_distinct_starts(small):
    """Further chains start at draws from the prior: they are drawn among the replicates of such ones."""
    rng = np.random.default_rng(2)
    starts = np.vstack([STARTS, rng.exponential(1.0, (6, 4))])
    made = null_for(BARS, BARS_X, starts=starts, length=10.0, warmup=1.0)
    exact = made.judged.select(exact_statistics(BARS, BARS_X))
    fresh = of_runs(
        replicate_runs(BARS, BARS_X, starts=starts, n_runs=500, length=10.0, warmup=1.0, seed=4), made.judged
    )
    put, true = made.deviations(exact), fresh - exact
    ratio = np.sqrt((put**2).mean(0) / (true**2).mean(0))
    assert (ratio > 0.8).all(), ratio
    assert (ratio < 1.25).all(), ratio
    four = null_for(BARS, BARS_X, starts=starts[:4], length=10.0, warmup=1.0)
    assert (four.errors() > 1.15 * made.errors()).all(), "eight chains know more than four"
    one = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)  # without pairs
    assert null_for(one, [0.6], starts=np.ones((6, 1)), length=10.0, warmup=1.0).averages.shape[1] == 3


def test_tails_decide_what_is_judged():
    x = np.array([0.8, -0.4])
    heavy = SparseCodingModel(WIDE, Cauchy(0.7, 0.5), 0.4)
    levels = quantile_levels(heavy, x)
    assert levels.shape == (3, 5)
    assert (np.diff(levels) > 0).all()
    exact = exact_statistics(heavy, x, levels=levels, seconds=3)
    np.testing.assert_allclose(exact.below, [[0.1, 0.25, 0.5, 0.75, 0.9]] * 3, atol=0.06)
    judged = Judged.of(heavy, levels)
    assert judged.quantiles
    assert judged.names[:3] == ["P(s < 0) of latent 0", "P(s < 0) of latent 1", "P(s < 0) of latent 2"]
    assert judged.names[3] == "P(s <= its 10 % quantile) of latent 0"
    assert len(judged.names) == len(judged.units(3.0)) == len(judged.select(exact)) == 3 + 15
    assert (judged.units(3.0) == 1).all()
    # mean and sd have errors where the prior's tail is light enough, or the data bound every direction
    for model in (
        replace(heavy, prior=Cauchy(2.0, 0.5)),
        replace(heavy, A=WIDE[:, :2]),
        replace(heavy, prior=Laplace(1.0)),
        replace(heavy, prior=SpikeSlab(0.3, 1.0)),
    ):
        assert quantile_levels(model, x) is None
    judged = Judged.of(replace(heavy, prior=SpikeSlab(0.3, 1.0)), None)
    assert not judged.quantiles
    assert len(judged.names) == len(judged.units(3.0)) == 3 + 6 + 3
    np.testing.assert_array_equal(judged.units(3.0), [1] * 3 + [3] * 6 + [1] * 3)


@pytest.mark.parametrize("kind", ["langevin", "underdamped"])
def test_slowdown_is_that_of_the_run(small, kind):
    dynamics = Dynamics() if kind == "langevin" else Dynamics(kind=kind, mass=0.5, friction=1.0)
    made = null_for(BARS, BARS_X, starts=STARTS, length=400.0, warmup=5.0, dynamics=dynamics)
    found = {}
    for slower in (1.0, 2.0, 4.0):
        runs = replicate_runs(
            BARS, BARS_X, starts=STARTS, n_runs=60, length=400.0, warmup=5.0, dynamics=dynamics, slower=slower, seed=3,
            n_blocks=round(made.target / made.block),
        )  # fmt: skip
        found[slower] = np.array([made.slowdown(sums, runs.per_block) for sums in runs.marginals])
    assert (found[1.0] >= 1).all()
    assert np.median(found[1.0]) < 1.1
    assert (found[1.0] > 1.5).sum() <= binom.isf(1e-4, 60, 0.03), "seldom said to be slow"
    if kind == "langevin":
        assert np.median(found[2.0]) == pytest.approx(2, rel=0.2)
    # of less than all of it, as blocks of the null's length come to be shorter than what such runs remember
    assert np.median(found[4.0]) > np.median(found[2.0]) > np.median(found[1.0])
