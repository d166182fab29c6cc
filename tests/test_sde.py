"""The software SDE against exact answers, with its discretisation bias measured and bounded apart from the noise."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from circuitlsc import Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.reference import sde
from circuitlsc.reference.exact import enumerate_supports, gaussian_posterior
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.sde import software_sde
from circuitlsc.reference.statistics import mean_with_mcse, summarize

# One chance in 10,000 that a right simulation fails anywhere in this file, split over (at most) 300 numbers.
BOUND = float(norm.isf(1e-4 / 300 / 2))
BIAS = 0.003  # what the step may cost in P(active), and twice that in a mean or sd
SLAB = SpikeSlab(0.3, 1.0)
SPARSE = [SLAB, SpikeSlab(0.3, 1.0, signed=True), Laplace(1.0), Laplace(1.0, signed=False)]
NAMES = ["spike-slab", "spike-slab-signed", "laplace", "exponential"]


def excess(sampled, exact):
    """Largest deviation beyond the allowance for bias, in standard errors."""
    worst = -math.inf
    for name, allowance in (("p_active", BIAS), ("mean", 2 * BIAS), ("sd", 2 * BIAS)):
        beyond = np.abs(getattr(sampled, name) - getattr(exact, name)) - allowance
        mcse = np.maximum(getattr(sampled, f"{name}_mcse"), 1e-12)
        worst = max(worst, float(np.max(beyond / mcse)))
    return worst


def three_latents(prior, sigma=0.5):
    A = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.2, 0.0, 0.9]])
    return SparseCodingModel(A, prior, sigma), np.array([1.1, 0.4, 0.3])


def euler_maruyama(
    grad, *, n_latents, step, n_steps, n_chains, rng, temperature=1.0, thin=1, warmup_steps=0, start=0.0
):
    """Integrate any gradient by the scheme of `software_sde`."""

    def drift_step(u):
        u -= step * grad(u)

    u = np.full((n_chains, n_latents), start, dtype=float)
    return sde._integrate(drift_step, u, step, temperature, n_steps, thin, warmup_steps, rng)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_linear_mode_has_the_variance_of_the_scheme(temperature):
    """Stationary variance of u' = u - a h u + sqrt(2 T h) xi is T/a / (1 - a h/2), exactly, for each mode."""
    rates, h = np.array([0.5, 2.0, 5.0]), 0.1
    u = euler_maruyama(
        lambda u: u * rates,
        n_latents=3,
        step=h,
        n_steps=4_000,
        n_chains=100,
        rng=np.random.default_rng(1),
        temperature=temperature,
        warmup_steps=200,
    )
    variance, mcse = mean_with_mcse(u**2)
    assert np.max(np.abs(variance - temperature / rates / (1 - rates * h / 2)) / mcse) < BOUND
    # Negative controls: the continuous equation's variance, and another temperature.
    assert np.max(np.abs(variance - temperature / rates) / mcse) > BOUND
    assert np.min(np.abs(variance - 1.1 * temperature / rates / (1 - rates * h / 2)) / mcse) > BOUND


def test_without_temperature_it_descends():
    model, x = three_latents(Gaussian(1.0))
    u = euler_maruyama(
        lambda u: model.energy_grad(u, x),
        n_latents=3,
        step=0.05,
        n_steps=400,
        n_chains=2,
        rng=np.random.default_rng(0),
        temperature=0.0,
        start=[3.0, -2.0, 1.0],
    )
    np.testing.assert_allclose(u[:, -1], [gaussian_posterior(model, x)[0]] * 2, atol=1e-9)


def test_warmup_thin_and_start_choose_among_the_same_steps():
    def run(**options):
        return euler_maruyama(lambda u: u, n_latents=2, step=0.1, n_chains=3, rng=np.random.default_rng(4), **options)

    every = run(n_steps=30)
    np.testing.assert_array_equal(run(n_steps=20, warmup_steps=10), every[:, 10:])
    np.testing.assert_array_equal(run(n_steps=20, warmup_steps=10, thin=4), every[:, 13::4])
    assert run(n_steps=23, thin=4).shape == (3, 5, 2)
    shifted = run(n_steps=30, start=[1.0, -2.0])  # linear: the start decays as (1 - h)^k whatever the noise
    decay = 0.9 ** np.arange(1, 31)[:, None] * [1.0, -2.0]
    np.testing.assert_allclose(shifted - every, np.broadcast_to(decay, every.shape), atol=1e-12)


def test_the_fast_drift_is_that_of_the_model(prior):
    model, x = three_latents(prior)
    u = np.random.default_rng(2).laplace(0, 1.5, (50, 3))
    moved = u.copy()
    sde._ideal_drift(model, x, 0.01, 50)(moved)
    np.testing.assert_allclose(moved, u - 0.01 * model.energy_grad(u, x), atol=1e-13)
    assert np.abs(moved - (u - 0.01 * model.energy_grad(u, -x))).max() > 1e-3


def one_latent_bias(sigma, b, step, prior=SLAB, cells=2_500):
    """P(active) of the scheme minus that of the energy, for one latent: the stationary vector of its transition matrix.

    No Monte Carlo: u lives on a grid whose cells end at +-u0, where its density and drift jump.
    """
    g, lam, u0 = 1 / sigma**2, prior.lam, prior.threshold
    reach = u0 + max(0.0, b - lam) / g + 8 * sigma
    width = u0 / round(u0 * cells / (2 * reach))
    edges = width * np.arange(-math.ceil(reach / width), math.ceil(reach / width) + 1)
    u = ((edges[1:] + edges[:-1]) / 2)[:, None]
    model = SparseCodingModel(np.ones((1, 1)), prior, sigma)
    centre = u - step * model.energy_grad(u, [b * sigma**2])
    matrix = np.diff(ndtr((edges - centre) / math.sqrt(2 * step)), axis=1)
    matrix /= matrix.sum(1, keepdims=True)
    n = len(u)
    scheme = np.linalg.solve(np.eye(n) - matrix.T + 1 / n, np.full(n, 1 / n))
    log_density = model.log_density(u, [b * sigma**2])
    exact = np.exp(log_density - log_density.max())
    on = model.active(u)[:, 0]
    return scheme[on].sum() / scheme.sum() - exact[on].sum() / exact.sum()


@pytest.mark.parametrize(("sigma", "b"), [(1.0, 1.664), (0.5, 3.64), (0.2, 9.878)])  # P(active) = 0.5: the worst
@pytest.mark.parametrize("signed", [False, True])
def test_the_automatic_step_biases_p_active_by_less_than_promised(sigma, b, signed):
    prior = SpikeSlab(0.3, 1.0, signed)
    model = SparseCodingModel(np.ones((1, 1)), prior, sigma)
    step = software_sde(model, [b * sigma**2], total_time=10, seed=1, n_chains=1, spacing=1.0)[1]
    assert abs(one_latent_bias(sigma, b, step, prior)) < BIAS
    if sigma == 0.2:  # Negative control: the step of the circuit is no step for Euler-Maruyama
        assert abs(one_latent_bias(sigma, b, 0.05, prior)) > 10 * BIAS


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
def test_software_sde_is_the_enumeration(prior):
    model, x = three_latents(prior)
    u, _ = software_sde(model, x, total_time=4_000, seed=3, warmup=5, spacing=0.25)
    sampled = summarize(model.latent(u), model.active(u), model=model, x=x, method="sde")
    assert excess(sampled, enumerate_supports(model, x)) < BOUND
    for wrong, seen in (
        (SparseCodingModel(model.A, type(prior)(**{**vars(prior), "lam": 1.5}), 0.5), x),
        (SparseCodingModel(model.A, prior, 0.65), x),
        (model, -x),
    ):
        assert excess(sampled, enumerate_supports(wrong, seen)) > BOUND


def test_software_sde_of_bars_is_gibbs():
    """The bars' atoms are dependent, so that there is no enumeration; Gibbs' own error is below 0.0013."""
    model = SparseCodingModel(bars(3), SLAB, 0.4)
    x = model.draw(np.random.default_rng(5))[1]
    u, _ = software_sde(model, x, total_time=4_000, seed=3, warmup=5, spacing=0.25)
    sampled = summarize(model.latent(u), model.active(u), model=model, x=x, method="sde")
    s = gibbs(model, x, n_sweeps=40_000, seed=5)
    assert excess(sampled, summarize(s, s != 0, model=model, x=x, method="gibbs")) < BOUND
    s = gibbs(SparseCodingModel(bars(3), SLAB, 0.5), x, n_sweeps=20_000, seed=5)
    assert excess(sampled, summarize(s, s != 0, model=model, x=x, method="gibbs")) > BOUND


def test_temperature_is_the_tempered_model():
    model, x = three_latents(SLAB)
    u, _ = software_sde(model, x, total_time=4_000, seed=6, warmup=5, spacing=0.25, temperature=2.0)
    sampled = summarize(model.latent(u), model.active(u), model=model, x=x, method="sde")
    assert excess(sampled, enumerate_supports(model.tempered(2.0), x)) < BOUND
    assert excess(sampled, enumerate_supports(model.tempered(1.7), x)) > BOUND
    # The common slip: lam and sigma tempered, pi kept.
    kept = SparseCodingModel(model.A, SpikeSlab(0.3, 0.5), 0.5 * math.sqrt(2))
    assert excess(sampled, enumerate_supports(kept, x)) > BOUND


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
def test_the_virial_is_the_temperature(prior):
    """<u_i dE/du_i> = T for every i, whatever the posterior: E is continuous, so its kinks add nothing."""
    model, x = three_latents(prior)
    u, _ = software_sde(model, x, total_time=4_000, seed=7, warmup=5, spacing=0.25, temperature=1.5)
    virial, mcse = mean_with_mcse(u * model.energy_grad(u, x))
    assert np.max((np.abs(virial - 1.5) - 5 * BIAS) / mcse) < BOUND
    assert np.max((np.abs(virial - 1.0) - 5 * BIAS) / mcse) > BOUND


def test_the_gaussian_posterior_to_order_h():
    model, x = three_latents(Gaussian(1.0))
    u, step = software_sde(model, x, total_time=4_000, seed=8, warmup=5, spacing=0.25)
    mean, cov = gaussian_posterior(model, x)
    sampled, mcse = mean_with_mcse(u)
    assert np.max(np.abs(sampled - mean) / mcse) < BOUND
    rates, modes = np.linalg.eigh(np.linalg.inv(cov))
    variance, mcse = mean_with_mcse(((u - mean) @ modes) ** 2)
    assert np.max(np.abs(variance - 1 / rates / (1 - rates * step / 2)) / mcse) < BOUND
    assert np.max(np.abs(variance - 1.3 / rates) / mcse) > BOUND


def test_the_time_that_was_simulated_can_be_read_off():
    model, x = three_latents(SLAB)
    u, step = software_sde(model, x, total_time=100, seed=1, n_chains=10, spacing=0.5, warmup=1)
    assert u.shape == (10, 20, 3)
    assert 0.5 / step == pytest.approx(round(0.5 / step))
    assert step <= 0.01
    stiff, _ = three_latents(SLAB, sigma=0.02)
    u, step = software_sde(stiff, x, total_time=1e6, seed=1, n_chains=10, max_steps=20_000, spacing=0.01)
    assert 4 <= u.shape[1] <= 20_000 * step / 0.01  # less than asked, never more than max_steps
    again, _ = software_sde(stiff, x, total_time=1e6, seed=1, n_chains=10, max_steps=20_000, spacing=0.01)
    np.testing.assert_array_equal(u, again)


def test_a_model_too_stiff_is_refused():
    model, x = three_latents(SLAB, sigma=1e-3)
    message = (
        r"^software_sde: 0 draws per chain, fewer than 4: a draw takes \d+ steps of .* tau, as the fastest rate is "
        r".*/tau, and max_steps = 500000\. Raise total_time or max_steps, lower n_chains, or use gibbs, which has no step\.$"
    )
    with pytest.raises(ReferenceRefusedError, match=message):
        software_sde(model, x, total_time=1e4, seed=1)


def test_divergence_is_an_error_with_a_remedy():
    message = r"^The simulation diverged before step \d+: step = 0\.5 is too large .* Lower the step to 0\.02 of"
    with pytest.raises(InputError, match=message):
        euler_maruyama(lambda u: 10 * u, n_latents=2, step=0.5, n_steps=2_000, n_chains=3, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "bad",
    [
        {"total_time": 0.0},
        {"temperature": math.inf},
        {"spacing": -0.1},
        {"warmup": -1.0},
        {"n_chains": 0},
        {"seed": -1},
        {"max_steps": 0},
    ],
)
def test_numbers_of_software_sde_are_checked(bad):
    model, x = three_latents(SLAB)
    with pytest.raises(InputError, match=rf"^software_sde: {next(iter(bad))} = .*\. Give .*\.$"):
        software_sde(model, x, **{"total_time": 10.0, "seed": 1, **bad})
