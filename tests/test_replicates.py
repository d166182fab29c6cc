"""Replicate runs of the compiled SDE: its force, its noise, and its law, against closed forms and exact references."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.reference.replicates import replicate_runs
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.validation.null import Judged

Z = norm.isf(1e-3 / 2 / 400)  # two-sided, about 400 numbers in this file, one false alarm in 1,000 files
STEP_BIAS = 0.004  # of probabilities, means and second moments, with steps of 0.1 of the fastest rate's time

HEAVY = Dynamics(kind="underdamped", mass=0.7, friction=0.9)


def quadratic(K=1):
    """A Gaussian prior: of K = 1 everything is known."""
    return SparseCodingModel(np.ones((1, K)), Gaussian(0.6), 0.8), np.array([0.5])


def last_codes(model, x, starts, **options):
    """Codes after 0.1 tau without noise, and the step: nothing is left to chance."""
    cold = replace(options.pop("dynamics", Dynamics()), temperature=1e-10)
    found = replicate_runs(
        model, x, starts=starts, n_runs=1, length=0.1, warmup=0.0, n_blocks=1, dynamics=cold, rate_step=1e9, **options
    )
    assert found.per_block == 1
    return found.marginals[0, :, 0, 2], found.step


def gradient(energy, u):
    """By central differences."""
    out, eps = np.empty_like(u), 1e-6
    for k in range(u.shape[-1]):
        e = eps * (np.arange(u.shape[-1]) == k)
        out[..., k] = (energy(u + e) - energy(u - e)) / (2 * eps)
    return out


def descend(energy, u, step):
    """Steps of the scheme without noise, for 0.1 tau; the kernel's first one only draws its noise."""
    u = u.copy()
    for _ in range(round(0.1 / step) - 1):
        u -= step * gradient(energy, u)
    return u


def starts_of(model, n=40):
    """Points on all sides of every threshold, some of them far out, and none on a kink."""
    u = np.random.default_rng(3).normal(0.0, 1.5, (n, model.n_latents)) * (
        model.prior.slab_scale + model.prior.threshold
    )
    return u.astype(np.float32).astype(float)


def test_the_force_is_that_of_the_energy(model, x):
    u = starts_of(model)
    found, step = last_codes(model, x, u)
    end = descend(lambda v: model.energy(v, x), u, step)
    scale = np.abs(model.prior.latent(u)).max()
    np.testing.assert_allclose(found, model.prior.latent(end), rtol=0, atol=2e-4 * scale)
    assert np.abs(model.prior.latent(end) - model.prior.latent(u)).max() > 0.05 * scale, "they move"


def test_momentum_moves_by_the_same_force(model, x):
    u = starts_of(model)
    found, h = last_codes(model, x, u, dynamics=HEAVY)
    m, decay, v = HEAVY.mass, math.exp(-HEAVY.friction * h / HEAVY.mass), np.zeros_like(u)
    end = u.copy()
    for _ in range(round(0.1 / h)):
        v -= h / m * gradient(lambda w: model.energy(w, x), end)
        end += h / 2 * v
        v *= decay
        end += h / 2 * v
    scale = np.abs(model.prior.latent(u)).max()
    np.testing.assert_allclose(found, model.prior.latent(end), rtol=0, atol=2e-4 * scale)
    assert np.abs(model.prior.latent(end) - model.prior.latent(u)).max() > 5e-3 * scale, "they move"


def test_a_gate_offset_is_in_the_dynamics_alone_and_slower_is_slower(bars_model, bars_x):
    prior, u, off = bars_model.prior, starts_of(bars_model), 0.13

    def shifted(v):  # a comparator that switches later; the cost has no threshold
        s = np.maximum(np.abs(v) - prior.threshold - off, 0.0)
        return np.sum((s @ bars_model.A.T - bars_x) ** 2, -1) / (2 * bars_model.sigma**2) + prior.lam * np.abs(v).sum(
            -1
        )

    found, step = last_codes(bars_model, bars_x, u, gate_offset=off)
    right = prior.latent(descend(shifted, u, step))
    np.testing.assert_allclose(found, right, atol=1e-4)
    plain = last_codes(bars_model, bars_x, u)[0]
    assert np.abs(plain - right).max() > 0.05

    found, step = last_codes(bars_model, bars_x, u, slower=2.0)
    half = prior.latent(descend(lambda v: bars_model.energy(v, bars_x) / 2, u, step))
    np.testing.assert_allclose(found, half, atol=1e-4)


@pytest.mark.parametrize(
    "dynamics", [Dynamics(temperature=0.5), replace(HEAVY, temperature=2.0)], ids=["langevin", "heavy"]
)
@pytest.mark.parametrize("slower", [1.0, 2.0])
def test_errors_of_time_averages_are_those_of_a_linear_mode(dynamics, slower):
    """K = 1, Gaussian: law and variance of the average over L of a damped oscillator, or of an OU process, are known."""
    (model, x), L, n = quadratic(), 30.0, 2000
    rate = 1 / 0.8**2 + 1 / 0.6**2
    mean, var = 0.5 / 0.8**2 / rate, dynamics.T / rate
    levels = mean + math.sqrt(var) * np.array([[-1.0, 0.0, 0.7]])
    found = replicate_runs(
        model,
        x,
        starts=np.full((1, 1), mean),
        n_runs=n,
        length=L,
        dynamics=dynamics,
        slower=slower,
        levels=levels,
        seed=5,
    )
    draws = 16 * found.per_block
    average = found.marginals[..., 2, 0].sum((1, 2)) / draws
    # rates: of k = gamma l, or of m l^2 - gamma l + k = 0
    decay = np.roots([1, -rate] if dynamics.kind == "langevin" else [HEAVY.mass, -HEAVY.friction, rate])
    decay = decay.astype(complex) / slower
    weights = np.ones(1) if len(decay) == 1 else np.array([decay[1], -decay[0]]) / (decay[1] - decay[0])
    known = 2 * var * np.sum(weights * (1 / (decay * L) - (1 - np.exp(-decay * L)) / (decay * L) ** 2)).real
    assert average.var(ddof=1) == pytest.approx(known, rel=Z * math.sqrt(2 / n) + 0.02)
    assert abs(average.mean() - mean) < Z * math.sqrt(known / n) + 1e-3
    second = found.marginals[..., 3, 0].sum((1, 2)) / draws
    assert abs(second.mean() - var - mean**2) < Z * second.std() / math.sqrt(n) + STEP_BIAS
    below = found.below[:, 0].sum(1)[:, 0] / draws
    assert (np.abs(below.mean(0) - norm.cdf([-1.0, 0.0, 0.7])) < Z * below.std(0) / math.sqrt(n) + STEP_BIAS).all()


def excess(model, x, exact, dynamics=None, n_runs=512, **options):
    """How far the averages over all runs are from exact, in units of what is allowed: 1 is too far."""
    dynamics, K = dynamics or Dynamics(), model.n_latents
    starts = np.stack([np.zeros(K), np.full(K, model.prior.threshold + 0.5)])
    found = replicate_runs(model, x, starts=starts, n_runs=n_runs, length=60.0, dynamics=dynamics, seed=11, **options)
    judged = Judged.of(model, None)
    n = 2 * 16 * found.per_block
    runs = judged.of_sums(n, found.marginals.sum((1, 2)), found.pairs.sum((1, 2)), found.below.sum((1, 2)))
    values = judged.from_averages(runs.mean(0))
    unit = judged.units(model.prior.slab_scale)
    error = np.hypot(runs.std(0, ddof=1) / math.sqrt(n_runs), 0) / unit + judged.select(exact, "_mcse") / unit
    return float((np.abs(values - judged.select(exact)) / unit / (Z * error + STEP_BIAS)).max())


def test_every_prior_has_its_posterior_at_every_temperature(prior):
    model = SparseCodingModel(np.random.default_rng(5).standard_normal((5, 2)), prior, 0.7)
    x = model.draw(np.random.default_rng(6))[1]
    for dynamics in (Dynamics(), Dynamics(temperature=2.0), replace(HEAVY, temperature=0.5)):
        exact = exact_statistics(model.tempered(dynamics.T), x)
        found = excess(model, x, exact, dynamics)
        assert found < 1, (dynamics, found)


TWO_SIDED = SpikeSlab(0.3, 1.0, True)
CASES = {
    "K = 1": (np.ones((1, 1)), SpikeSlab(0.3, 1.0), [0.6]),
    "K = 1, signed": (np.ones((1, 1)), TWO_SIDED, [0.6]),
    "duplicated atom": (np.array([[1.0, 0.2, 1.0], [0.0, 1.0, 0.0]]), SpikeSlab(0.3, 1.0), [1.1, -0.2]),
    "duplicated atom, signed": (np.array([[1.0, 0.2, 1.0], [0.0, 1.0, 0.0]]), TWO_SIDED, [1.1, -0.2]),
    "more latents than features": (np.array([[1.0, 0.6, -0.5, 0.1], [0.0, 0.8, 0.5, 0.9]]), Laplace(1.0), [0.7, -0.4]),
}


@pytest.mark.parametrize("case", CASES)
def test_awkward_dictionaries(case):
    A, prior, x = CASES[case]
    model, x = SparseCodingModel(A, prior, 0.6), np.array(x)
    for dynamics in (Dynamics(), HEAVY):
        assert excess(model, x, exact_statistics(model, x, seconds=2), dynamics) < 1


def test_a_wrong_law_is_noticed():
    A, prior, x = CASES["more latents than features"][0], SpikeSlab(0.3, 1.0), np.array([0.7, -0.4])
    model = SparseCodingModel(A, prior, 0.6)
    exact = exact_statistics(model, x)
    assert excess(model, x, exact) < 1
    assert excess(replace(model, sigma=0.7), x, exact) > 1
    assert excess(replace(model, prior=replace(prior, lam=1.25)), x, exact) > 1
    assert excess(replace(model, prior=replace(prior, pi=0.36)), x, exact) > 1
    for kind in (Dynamics(temperature=1.15), replace(HEAVY, temperature=1.15)):
        assert excess(model, x, exact, kind) > 1
    assert excess(model, x, exact, gate_offset=0.1) > 1
    assert excess(model, x, exact, slower=1.5) < 1, "slower, but right"


def test_numbers_depend_on_the_seed_only(bars_model, bars_x):
    def found(n_runs=50, seed=4, **options):
        starts = np.stack([np.zeros(8), np.ones(8), -np.ones(8)])
        r = replicate_runs(
            bars_model, bars_x, starts=starts, n_runs=n_runs, length=5.0, warmup=1.0, seed=seed, n_blocks=4, **options
        )
        assert r.marginals.shape == (n_runs, 3, 4, 4, 8)
        assert r.pairs.shape == (n_runs, 3, 2, 28)
        assert (r.n_runs, r.length) == (n_runs, pytest.approx(5.0, rel=0.1))
        return r

    one = found(threads=1)
    for other in (found(threads=2), found(threads=5), found(n_runs=70)):
        np.testing.assert_array_equal(other.marginals[:50], one.marginals)
        np.testing.assert_array_equal(other.pairs[:50], one.pairs)
    assert (found(seed=5).marginals != one.marginals).any((2, 3, 4)).all(), "no chain has another's noise"
    flat = one.marginals.reshape(150, -1)
    assert len(np.unique(flat, axis=0)) == 150
    active = one.marginals[..., 0, :].reshape(50, 3, 2, 2, 8).sum(3)  # of each half
    i, j = np.triu_indices(8, 1)
    assert (one.pairs <= np.minimum(active[..., i], active[..., j])).all()
    assert active.max() <= 2 * one.per_block


def test_what_cannot_be_simulated_is_refused():
    model, x = quadratic()
    with pytest.raises(
        InputError, match=r'^replicate_runs: kind = "gradient" settles on one code; no law belongs to it\.$'
    ):
        replicate_runs(model, x, starts=np.zeros((1, 1)), n_runs=1, length=1.0, dynamics=Dynamics(kind="gradient"))
    stiff = replace(model, sigma=0.01)
    with pytest.raises(
        InputError, match=r"^replicate_runs: the simulation diverged at a step of 0\.01 tau\. Lower rate_step"
    ):
        replicate_runs(stiff, x, starts=np.ones((1, 1)), n_runs=1, length=50.0, rate_step=1e3)
