"""Exact samplers that are drawn until they are known well enough: when they stop, what they count, what they know."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from circuitlsc import Cauchy, Gaussian, Laplace, SparseCodingModel, SpikeSlab, SquareRoot
from circuitlsc.reference import sampled
from circuitlsc.reference.exact import enumerate_supports, gaussian_statistics, single_latent
from circuitlsc.reference.gibbs import GibbsChains, gibbs
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.reference.sampled import BATCH, CHAINS, MOST_BLOCKS, RunningStatistics, exact_statistics
from circuitlsc.reference.slice import SliceChains, slice_sampling
from circuitlsc.reference.statistics import summarize

A6 = np.random.default_rng(4).standard_normal((5, 6)) / 2
SIX = SparseCodingModel(A6, SpikeSlab(0.3, 1.0, True), 0.6)
X6 = SIX.draw(np.random.default_rng(1))[1]
TWO = SparseCodingModel(np.array([[1.0, 0.6], [0.0, 0.8]]), SpikeSlab(0.3, 1.2, True), 0.5)
X2 = np.array([0.9, -0.3])


class Clock:
    """Time that goes on by so much whenever someone looks."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def monotonic(self):
        self.now += self.tick
        return self.now


def test_draws_until_the_errors_are_as_asked(monkeypatch):
    monkeypatch.setattr(sampled, "time", Clock(1.0))
    found, shares = {}, []
    for error in (0.008, 0.004):

        def enough(statistics, error=error):
            return float(statistics.p_active_mcse.max()) / error

        found[error] = exact_statistics(
            SIX, X6, enough=enough, seconds=1e9, progress=lambda share, left: shares.append((share, left))
        )
        assert found[error].method == "Gibbs sampling"
        assert found[error].p_active_mcse.max() <= error
        assert found[error].n_draws % (CHAINS * BATCH) == 0
    # no more than needed: errors fall with the root, and it looks again after half as many draws at the latest
    assert found[0.004].p_active_mcse.max() > 0.002
    assert 1.5 < found[0.004].n_draws / found[0.008].n_draws < 14
    assert shares
    assert all(0 < share <= 1 and left >= 0 for share, left in shares)
    usual = exact_statistics(SIX, X6, seconds=1e9)
    assert (
        max(usual.p_active_mcse.max(), usual.coactive_mcse.max(), usual.mean_mcse.max(), usual.sd_mcse.max()) <= 0.002
    )


def test_ends_when_the_time_is_over(monkeypatch):
    monkeypatch.setattr(sampled, "time", Clock(1.0))  # a second for each look
    calls, lefts = [], []
    found = exact_statistics(
        SIX,
        X6,
        enough=lambda f: calls.append(f.n_draws) or 1e3,
        seconds=5.0,
        progress=lambda share, left: lefts.append(left),
    )
    assert calls == [CHAINS * BATCH * k for k in (1, 2, 3, 5)]
    assert found.n_draws == calls[-1]
    assert lefts == [4, 3, 2], "never more than the time allows"
    at_once = exact_statistics(SIX, X6, enough=lambda _: 1e3, seconds=0.0)
    assert at_once.n_draws == CHAINS * BATCH


def test_the_best_method_that_holds_and_levels_are_always_sampled():
    one = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)
    assert exact_statistics(one, [0.6]).method == "closed form"
    assert exact_statistics(replace(SIX, prior=Gaussian(0.7)), X6).method == "closed form (Gaussian prior)"
    assert exact_statistics(TWO, X2).method == "enumeration"
    twins = replace(TWO, A=TWO.A[:, [0, 0]])
    assert exact_statistics(twins, X2, seconds=0).method == "Gibbs sampling", (
        "a singular dictionary cannot be enumerated"
    )
    levels = np.array([[-0.5, 0.0, 0.5], [-0.2, 0.1, 1.0]])
    for prior, method in (
        (TWO.prior, "Gibbs sampling"), (Gaussian(0.7), "Gibbs sampling"), (Cauchy(1.0, 0.5), "slice sampling")
    ):  # fmt: skip
        model = replace(TWO, prior=prior)
        found = exact_statistics(model, X2, levels=levels, seconds=0)
        assert found.method == method
        assert found.below.shape == found.below_mcse.shape == (2, 3)
        assert (np.diff(found.below) > 0).all()
        exact = exact_statistics(model, X2)
        zero = 1 - exact.p_active[0] if prior is TWO.prior else 0.0
        assert abs(found.below[0, 1] - exact.p_negative[0] - zero) < 5 * found.below_mcse[0, 1]


@pytest.mark.parametrize("batches", [1, 7, 2 * MOST_BLOCKS + 3])
def test_blocks_merge_to_the_statistics_of_all_draws(batches):
    rng = np.random.default_rng(batches)
    s = np.where(rng.random((2, batches * BATCH, 2)) < 0.4, rng.normal(0.3, 1.0, (2, batches * BATCH, 2)), 0.0)
    levels = np.array([[-0.5, 0.0], [0.2, 1.0]])
    running = RunningStatistics(TWO, X2, "test", levels)
    cuts = sorted({0, batches, *rng.integers(0, batches, 3)})
    for first, last in itertools.pairwise(cuts):
        running.add(s[:, first * BATCH : last * BATCH])
    found, whole = running.result(), summarize(s, s != 0, model=TWO, x=X2, method="test", levels=levels)
    names = ["p_active", "mean", "sd", "coactive", "residual_power", "p_negative", "below"]
    for name in names:
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-9, err_msg=name)
    assert found.support == pytest.approx(whole.support)
    assert (found.n_draws, found.method) == (2 * batches * BATCH, "test")
    assert len(running._blocks) < MOST_BLOCKS, "memory does not grow"
    if batches > 7:  # independent draws, in a hundred blocks
        for name in names:
            mcse, known = getattr(found, f"{name}_mcse"), getattr(whole, f"{name}_mcse")
            np.testing.assert_allclose(mcse, known, rtol=0.45, err_msg=name)


@pytest.mark.slow
def test_errors_are_those_of_repetitions():
    """Of correlated draws, of which the blocks know nothing."""
    found = [exact_statistics(SIX, X6, seed=100 + r, enough=lambda f: float(f.n_draws < 32_000) * 2) for r in range(80)]
    ratios = []
    for name in ("p_active", "mean", "sd", "p_negative", "coactive"):
        values = np.array([getattr(f, name) for f in found])
        mcse = np.array([getattr(f, f"{name}_mcse") for f in found])
        spread, told = values.std(0, ddof=1), np.sqrt((mcse**2).mean(0))
        moving = spread > 1e-4
        ratios.append(told[moving] / spread[moving])
        assert (np.abs(ratios[-1] - 1) < 0.45).all(), (name, ratios[-1])  # a spread of 80 is known to 8 %
        assert np.abs(np.median(ratios[-1]) - 1) < 0.2, (name, ratios[-1])
    assert np.abs(np.mean(np.concatenate(ratios)) - 1) < 0.15


@pytest.mark.parametrize(
    ("draw", "chains", "prior"),
    [
        (gibbs, GibbsChains, SpikeSlab(0.3, 1.0, True)),
        (gibbs, GibbsChains, Gaussian(0.7)),
        (gibbs, GibbsChains, Laplace(1.0)),
        (slice_sampling, SliceChains, Cauchy(1.0, 0.5)),
    ],
)
def test_chains_go_on_where_they_stopped(draw, chains, prior):
    model = replace(SIX, prior=prior)
    whole = draw(model, X6, n_sweeps=60, n_chains=3, seed=5, warmup=20, thin=2)
    parts = chains(model, X6, n_chains=3, seed=5)
    found = np.concatenate([parts.draw(11, thin=2, warmup=20), parts.draw(19, thin=2)], axis=1)
    # all but the last digits, as A^T (x - A s) is summed anew at the beginning of each part
    np.testing.assert_allclose(found, whole, rtol=1e-10, atol=1e-11)
    np.testing.assert_array_equal(found == 0, whole == 0)


SIGNED = {
    "one latent": (SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0, True), 0.5), [0.6], single_latent),
    "one latent, Laplace": (SparseCodingModel(np.ones((1, 1)), Laplace(1.0), 0.5), [0.6], single_latent),
    "one latent, one sign": (SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5), [0.6], single_latent),
    "enumeration": (TWO, X2, enumerate_supports),
    "Gaussian": (replace(TWO, prior=Gaussian(0.7)), X2, gaussian_statistics),
    "quadrature, one latent": (SparseCodingModel(np.ones((1, 1)), Cauchy(1.0, 0.5), 0.5), [0.4], quadrature),
    "quadrature": (replace(TWO, prior=Cauchy(1.0, 0.5)), X2, quadrature),
    "quadrature, one sign": (replace(TWO, prior=SquareRoot(1.4, signed=False)), X2, quadrature),
}


@pytest.mark.parametrize("case", SIGNED)
def test_probabilities_of_negative_codes(case):
    model, x, method = SIGNED[case]
    exact = method(model, np.array(x))
    draws = (slice_sampling if method is quadrature else gibbs)(
        model, x, n_sweeps=40_000, n_chains=2, seed=3, warmup=100
    )
    found = summarize(draws, draws != 0, model=model, x=x, method="sampled")
    assert (np.abs(exact.p_negative - found.p_negative) <= 5 * found.p_negative_mcse).all(), (
        exact.p_negative,
        found.p_negative,
    )
    assert (exact.p_negative_mcse == 0).all()
    assert (exact.p_negative > 0.01).all() == model.prior.signed
    assert (exact.p_negative < exact.p_active).all()


def test_chains_in_different_modes_are_seen_and_count_as_an_error():
    rng = np.random.default_rng(0)
    s = rng.normal(0.0, 0.1, (8, 40 * BATCH, 2))
    mixed = RunningStatistics(replace(TWO, prior=Laplace(1.0)), X2, "test")
    mixed.add(s)
    assert mixed.result().rhat_max < 1.01
    s[:4, :, 0] += 2.0
    apart = RunningStatistics(replace(TWO, prior=Laplace(1.0)), X2, "test")
    apart.add(s)
    found = apart.result()
    assert found.rhat_max > 5
    assert found.ess_min < 1000, "of 640,000 draws"
    still = RunningStatistics(TWO, X2, "test")
    still.add(np.zeros((8, 2 * BATCH, 2)))
    draws = 8 * 2 * BATCH
    assert (still.result().ess_min, still.result().rhat_max) == (draws, 1.0)
    np.testing.assert_allclose(still.result().p_active_mcse, 1 / draws)  # of what was never seen
    assert math.isfinite(still.result().sd_mcse.max())


def test_how_fast_draws_come_does_not_matter(monkeypatch):
    """A verdict is repeated on a machine with other things to do: the clock alone may run differently."""

    def drawn(seconds):
        clock = itertools.count(0.0, seconds)
        monkeypatch.setattr(sampled.time, "monotonic", lambda: next(clock))
        return exact_statistics(SIX, X6, enough=lambda found: float(found.mean_mcse.max()) / 0.001, seconds=1e9)

    fast, slow = drawn(1e-4), drawn(5.0)
    assert fast.n_draws == slow.n_draws > 3 * sampled.BATCH
    np.testing.assert_array_equal(fast.mean, slow.mean)
    np.testing.assert_array_equal(fast.coactive_mcse, slow.coactive_mcse)
