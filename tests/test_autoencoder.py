"""Generators, the steps of the Langevin autoencoder and what it is compared with: gradients, exact laws, bounds."""

import numpy as np
import pytest
from scipy.stats import norm

from circuitlsc import Gaussian, InputError, SparseCodingModel, SpikeSlab
from circuitlsc.learning.ais import generator_log_likelihood
from circuitlsc.learning.autoencoder import (
    METHODS,
    AutoencoderLearner,
    GaussianEncoder,
    _Gaussian,
    _Langevin,
    amortised_step,
    sample_amortised,
)
from circuitlsc.model.features import Features
from circuitlsc.model.generator import DictionaryGenerator, DiscretisedLogistic, Energy, GaussianNoise, NetworkGenerator
from circuitlsc.model.network import Network
from circuitlsc.reference.linear_memory import memory_posterior
from circuitlsc.reference.mcse import mean_with_mcse

RNG = np.random.default_rng(0)
MODEL = SparseCodingModel(RNG.standard_normal((3, 2)), Gaussian(1.0), 0.8)
X = RNG.standard_normal((3, 3))
# one chance in 10,000 that a right sampler fails in this file, over 100 moments
BOUND = float(norm.isf(1e-4 / 100 / 2))


def linear(model=MODEL):
    """The model as a generator without hidden layers."""
    return NetworkGenerator(Network([model.A], [np.zeros(model.n_features)]), GaussianNoise(), np.log(model.sigma))


def pixels(levels=5):
    net = Network.drawn((2, 4, 3), np.random.default_rng(1))
    return NetworkGenerator(Network([2 * w for w in net.weights], net.biases), DiscretisedLogistic(levels), -0.7)


GENERATORS = {
    "linear": (linear(), X),
    "network": (NetworkGenerator(Network.drawn((2, 5, 4, 3), np.random.default_rng(2)), GaussianNoise(), -0.3), X),
    "pixels": (pixels(), RNG.integers(0, 5, (6, 3)) / 2 - 1.0),
    "dictionary": (DictionaryGenerator(SparseCodingModel(MODEL.A, SpikeSlab(0.3, 1.0, signed=True), 0.8)), X),
}


def slope(function, at, along, h=1e-5):
    return (function(at + h * along) - function(at - h * along)) / (2 * h)


# --- generators ---


@pytest.mark.parametrize("name", GENERATORS)
def test_gradients_are_differences(name):
    generator, x = GENERATORS[name]
    rng = np.random.default_rng(3)
    z, dz = rng.standard_normal((2, len(x), 2)) * 2
    found = generator.energy(z, x, trained=True)
    by_z = slope(lambda z: generator.energy(z, x).value, z, dz)
    np.testing.assert_allclose(np.sum(found.by_z * dz, -1), by_z, rtol=1e-6, atol=1e-8)
    theta = generator.parameters
    direction = rng.standard_normal(theta.shape)
    difference = slope(lambda t: generator.with_parameters(t).energy(z, x).value.mean(), theta, direction)
    assert found.by_parameters @ direction == pytest.approx(difference, rel=1e-6)
    assert generator.energy(z, x).by_parameters is None


def test_a_generator_without_layers_is_the_linear_model():
    z = np.random.default_rng(4).standard_normal((3, 2))
    wanted = [float(MODEL.energy(code, x)) for code, x in zip(z, X, strict=True)]
    constant = 1.5 * np.log(2 * np.pi * 0.64) + np.log(2 * np.pi)
    np.testing.assert_allclose(linear().energy(z, X).value, np.array(wanted) + constant, rtol=1e-12)


@pytest.mark.parametrize("levels", [2, 5, 17])
@pytest.mark.parametrize("rho", [-3.0, 0.5])
def test_levels_of_a_pixel_have_probabilities(levels, rho):
    x = np.linspace(-1, 1, levels)[:, None]
    for mean in (-1.4, 0.13, 3.0):
        total = np.exp(-DiscretisedLogistic(levels).energy(x, np.full_like(x, mean), rho)[0]).sum()
        assert total == pytest.approx(1, rel=1e-12)
    value, by_mean, _ = DiscretisedLogistic(levels).energy(np.array([[1.0]]), np.array([[-500.0]]), rho)
    assert np.isfinite([value[0], by_mean[0, 0]]).all()  # far off, where probabilities are no doubles


# --- steps of W ---


def z_of(draws, mean, cov):
    """Largest deviation of means and second moments from the exact ones, in standard errors."""
    moments = draws.reshape(*draws.shape[:2], -1)
    d = moments - mean.ravel()
    products = d[..., :, None] * d[..., None, :]
    worst = []
    for values, wanted in ((d, 0.0), (products, cov.reshape(mean.size, mean.size))):
        found, mcse = mean_with_mcse(values)
        worst.append(float(np.max(np.abs(found - wanted) / mcse)))
    return max(worst)


@pytest.mark.parametrize("features", [Features(RNG.standard_normal((5, 3))), Features(RNG.standard_normal((2, 3)))])
def test_amortised_steps_sample_the_posterior_or_its_restriction(features):
    law = memory_posterior(MODEL, X, features)
    options = {"steps": 1500, "warmup": 200, "chains": 8, "thin": 5, "seed": 1}
    eta = 0.35 / np.linalg.norm(features.kernel, 2) / np.linalg.norm(MODEL.gram + np.eye(2), 2)
    draws, accepted = sample_amortised(linear(), X, features, eta=eta, **options)
    assert 0.5 < accepted < 0.999
    assert z_of(draws, *law) < BOUND
    other = (
        memory_posterior(MODEL, X, Features(np.eye(3)))
        if features.rank < 3
        else memory_posterior(MODEL, X, features, temperature=1.2)
    )
    assert z_of(draws, *other) > BOUND
    unadjusted, all_taken = sample_amortised(linear(), X, features, eta=3 * eta, metropolis=False, **options)
    assert all_taken == 1
    assert z_of(unadjusted, *law) > BOUND  # too long a step, without Metropolis


def test_half_the_noise_is_half_the_temperature():
    rng, features = np.random.default_rng(5), Features(np.eye(3))
    W, phi, out = np.zeros((100, 2, 3)), np.eye(3), []
    tiled = np.tile(X, (100, 1))

    def at(z):
        value, by_z, _ = linear().energy(z.reshape(-1, 2), tiled)
        return Energy(value.reshape(100, 3), by_z.reshape(z.shape), None)

    here = at(np.swapaxes(W, 1, 2))
    for t in range(400):
        step = amortised_step(W, phi, here, 0.04, rng, temperature=0.5, at=at)
        W, here = step.W, step.energy
        if t >= 100 and t % 10 == 0:
            out.append(np.swapaxes(W, 1, 2))
    assert z_of(np.stack(out, 1), *memory_posterior(MODEL, X, features, temperature=0.5)) < BOUND


# --- learning ---


def test_gradients_of_encoders_are_differences():
    """Of the mean energy by layers under fixed W; of minus the bound, with the noise held, by a Gaussian encoder's layers."""
    generator, x = GENERATORS["network"]
    rng = np.random.default_rng(6)
    given = {"generator": generator, "X": x, "seed": 0, "batch": 3, "inner": 1, "step": 1e-3}
    network = Network.drawn((3, 6, 5), rng)
    coder = _Langevin(AutoencoderLearner(**given, hidden=(6, 5)), network, 2, rng)
    W = coder.W
    found = coder.gradients(generator, x, np.random.default_rng(0))[2]
    direction = rng.standard_normal(found.shape)

    def energy(parameters):
        phi = np.maximum(network.with_parameters(parameters).values(x)[-1], 0)
        return generator.energy(phi @ W.T, x).value.mean()

    assert found @ direction == pytest.approx(slope(energy, network.parameters, direction), rel=1e-6)
    gaussian = Network.drawn((3, 6, 4), rng)
    coder = _Gaussian(AutoencoderLearner(**given, method="variational", hidden=(6,)), gaussian)
    found = coder.gradients(generator, x, np.random.default_rng(0))[2]
    direction = rng.standard_normal(found.shape)

    def loss(parameters):
        encoder = GaussianEncoder(gaussian.with_parameters(parameters))
        return -encoder.bound(generator, x, seed=0, draws=1).mean()  # the same draws

    assert found @ direction == pytest.approx(slope(loss, gaussian.parameters, direction), rel=1e-5)


def log_p(model, x):
    C = model.A @ model.A.T + model.variance * np.eye(model.n_features)
    return -0.5 * (np.sum(x * np.linalg.solve(C, x.T).T, -1) + np.linalg.slogdet(2 * np.pi * C)[1])


def test_the_bound_is_log_p_for_the_posterior_itself():
    """A linear encoder can be the posterior of a linear model; any other one is below."""
    model = SparseCodingModel(np.linalg.qr(MODEL.A)[0], Gaussian(1.0), 0.8)  # a posterior without correlations
    P = np.linalg.inv(model.gram + np.eye(2))
    weights = np.vstack([P @ model.A.T / model.variance, np.zeros((2, 3))])
    biases = np.concatenate([np.zeros(2), 0.5 * np.log(np.diag(P))])
    best = GaussianEncoder(Network([weights], [biases]))
    np.testing.assert_allclose(best.bound(linear(model), X, seed=0), log_p(model, X), rtol=1e-10)
    wider = GaussianEncoder(Network([weights], [biases + 0.3]))
    assert np.all(wider.bound(linear(model), X, seed=0, draws=2000) < log_p(model, X))


def test_log_p_of_a_generator_by_annealing():
    found = generator_log_likelihood(linear(), X, seed=1, n_levels=60, n_particles=200)
    z = (found.log_p - log_p(MODEL, X)) / found.se
    assert np.abs(z).max() < BOUND
    assert found.se.max() < 0.1
    other = SparseCodingModel(1.3 * MODEL.A, Gaussian(1.0), 0.8)
    assert np.abs((found.log_p - log_p(other, X)) / found.se).max() > BOUND


def test_log_p_of_pixels_is_that_of_quadrature():
    generator, x = GENERATORS["pixels"]
    grid = np.linspace(-6, 6, 201)
    z = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    p = [np.exp(-generator.energy(z, np.broadcast_to(point, (len(z), 3))).value).sum() for point in x]
    exact = np.log(np.array(p) * (grid[1] - grid[0]) ** 2)
    found = generator_log_likelihood(generator, x, seed=2, n_levels=60, n_particles=200)
    assert np.abs((found.log_p - exact) / found.se).max() < BOUND
    assert np.abs((found.log_p - exact - 0.5) / found.se).max() > BOUND
    assert found.se.max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_a_linear_model(method):
    """Inputs along one direction: its share of the variance is what is learned."""
    rng = np.random.default_rng(7)
    a = np.array([2.0, 1.0, -1.0])
    x = rng.standard_normal((400, 1)) * a + 0.3 * rng.standard_normal((400, 3))
    start = NetworkGenerator(Network.drawn((1, 3), rng), GaussianNoise(), 0.0)
    given = {"steps": 500, "batch": 50, "rate": 0.01, "step": 0.01, "hidden": (16,)}
    run = AutoencoderLearner(generator=start, X=x, seed=1, method=method, **given).run()
    found = run.generator.network.weights[0][:, 0]
    assert abs(found @ a) / np.linalg.norm(found) / np.linalg.norm(a) > 0.99
    assert run.energy[-1] < run.energy[0]
    assert np.exp(run.generator.rho) == pytest.approx(0.3, rel=0.35)
    again = AutoencoderLearner(generator=start, X=x, seed=1, method=method, **given).run()
    np.testing.assert_array_equal(again.generator.parameters, run.generator.parameters)


def test_features_that_are_fixed_stay():
    given = {"generator": linear(), "X": X, "seed": 3, "batch": 3, "steps": 20, "hidden": (8,), "step": 1e-3}
    fixed = AutoencoderLearner(**given, train_features=False).run().encoder.network
    moved = AutoencoderLearner(**given).run().encoder.network
    first = Network.drawn((3, 8), np.random.default_rng([3, 8]))
    np.testing.assert_array_equal(fixed.weights[0], first.weights[0])
    assert np.abs(moved.weights[0] - first.weights[0]).max() > 1e-3


def test_what_cannot_be():
    given = {"generator": linear(), "X": X, "seed": 0}
    for wrong, words in (
        ({"method": "gibbs"}, "method = 'gibbs' is unknown"),
        ({"batch": 4}, "batch = 4, but x has 3 inputs"),
        ({"batch": 2, "hidden": ()}, "leaves no features"),
        ({"batch": 2, "step": 0.0}, "step = 0.0"),
        ({"batch": 2, "metropolis": 1}, "metropolis = 1 is not True or False"),
    ):
        with pytest.raises(InputError, match=words):
            AutoencoderLearner(**{**given, **wrong})
    with pytest.raises(InputError, match="diverge"):
        AutoencoderLearner(**given, batch=3, step=1e3, steps=200).run()
    with pytest.raises(InputError, match="features are of 2 inputs"):
        sample_amortised(linear(), X, Features(np.eye(2)), eta=0.1, steps=10, warmup=0, seed=0)
    with pytest.raises(InputError, match="steps diverge"):
        sample_amortised(linear(), X, Features(np.eye(3)), eta=10.0, steps=900, warmup=0, seed=0, metropolis=False)
    with pytest.raises(InputError, match="levels"):
        DiscretisedLogistic(1)
