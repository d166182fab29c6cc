"""The model: every force is the gradient of its energy, and bad numbers are refused in full sentences."""

import re

import numpy as np
import pytest

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab

EPS = 1e-6
WIDTHS = [0.0, 0.05, 0.4]  # ideal, usual, so wide that both corners overlap


def states(model, *, clear_of_kinks, n=40):
    """Draw states over all branches of the prior; the ideal energy has kinks at 0 and +-u0, so keep off them."""
    u0 = model.prior.threshold
    u = np.random.default_rng(7).uniform(-3 - u0, 3 + u0, (n, model.n_latents))
    if clear_of_kinks:
        distance = np.min(np.abs(u[..., None] - np.array([0.0, u0, -u0])), axis=-1)
        u = u[(distance > 10 * EPS).all(axis=1)]
        assert len(u) > n // 2
    return u


def central_differences(f, u):
    steps = EPS * np.eye(u.shape[-1])
    return np.stack([(f(u + d) - f(u - d)) / (2 * EPS) for d in steps], axis=-1)


@pytest.mark.parametrize("width", WIDTHS)
def test_gradient_is_that_of_the_energy(model, x, width):
    u = states(model, clear_of_kinks=width == 0)
    expected = central_differences(lambda v: model.energy(v, x, width), u)
    np.testing.assert_allclose(model.energy_grad(u, x, width), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
@pytest.mark.parametrize("width", WIDTHS)
def test_gradient_of_the_log_density_has_the_temperature(model, x, width, temperature):
    u = states(model, clear_of_kinks=width == 0)

    def f(v):
        return model.log_density(v, x, temperature=temperature, width=width)

    gradient = model.log_density_grad(u, x, temperature=temperature, width=width)
    np.testing.assert_allclose(gradient, central_differences(f, u), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(f(u), -model.energy(u, x, width) / temperature)


@pytest.mark.parametrize("width", WIDTHS)
def test_elementwise_derivatives_of_the_prior(prior, width):
    u = np.linspace(-4, 4, 997)
    if width == 0:
        u = u[np.min(np.abs(u[:, None] - np.array([0, prior.threshold, -prior.threshold])), axis=1) > 10 * EPS]
    for f, slope in ((prior.latent, prior.latent_grad), (prior.cost, prior.cost_grad)):
        numeric = (f(u + EPS, width) - f(u - EPS, width)) / (2 * EPS)
        np.testing.assert_allclose(slope(u, width), numeric, rtol=1e-6, atol=1e-6)


def test_a_narrow_comparator_is_the_ideal_one(model, x):
    """The smooth energy differs from the ideal one by O(w) everywhere, its gradient only within 40 w of a kink."""
    u = states(model, clear_of_kinks=True)
    width = EPS / 10
    np.testing.assert_allclose(model.energy(u, x, width), model.energy(u, x), rtol=0, atol=1e3 * width)
    np.testing.assert_allclose(model.energy_grad(u, x, width), model.energy_grad(u, x), rtol=1e-5, atol=1e-5)


def test_smooth_code_is_above_the_ideal_one_by_less_than_two_widths(prior):
    u, width = np.linspace(-5, 5, 2001), 0.05
    excess = np.abs(prior.latent(u, width)) - np.abs(prior.latent(u))
    assert excess.max() <= 2 * width * np.log(2)
    assert excess.min() >= -2 * width * np.log(2)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_tempered_model_is_the_energy_over_the_temperature(model, x, temperature):
    """exp(-E/T) is the posterior with lam/T, pi**(1/T), sigma sqrt(T): equal up to a constant, here exactly."""
    u = states(model, clear_of_kinks=False)
    np.testing.assert_allclose(model.tempered(temperature).energy(u, x), model.energy(u, x) / temperature)
    np.testing.assert_allclose(model.tempered(temperature).latent(u), model.latent(u))


def test_tempering_keeps_the_threshold_and_moves_pi():
    hot = SpikeSlab(0.3, 1.4).tempered(2.5)
    assert hot.threshold == pytest.approx(SpikeSlab(0.3, 1.4).threshold)
    assert hot.pi == pytest.approx(0.3**0.4)


@pytest.mark.parametrize("signed", [False, True])
def test_spike_and_slab_code_and_activity(signed):
    prior = SpikeSlab(np.exp(-1.4), 0.7, signed)  # u0 = 2
    model = SparseCodingModel(np.eye(5), prior, 0.5)
    u = np.array([-3.0, -1.9, 0.0, 1.9, 3.0])
    assert prior.threshold == pytest.approx(2.0)
    np.testing.assert_allclose(model.latent(u), [-1.0 if signed else 1.0, 0, 0, 0, 1.0])
    np.testing.assert_array_equal(model.active(u), [True, False, False, False, True])


@pytest.mark.parametrize("prior", [Laplace(1.4), Laplace(1.4, signed=False), Gaussian(0.6), SpikeSlab(1.0, 1.4)])
def test_without_a_spike_every_latent_is_active(prior):
    assert SparseCodingModel(np.eye(3), prior, 0.5).active(np.array([-1.0, 0.0, 2.0])).all()


def test_many_draws_are_rows_of_one_model():
    model = SparseCodingModel(np.arange(1.0, 7).reshape(3, 2), SpikeSlab(pi=0.3, lam=1.0), 0.5)
    (s, x), (one, seen) = model.draw(4, 50), model.draw(4)
    assert (s.shape, x.shape, one.shape, seen.shape) == ((50, 2), (50, 3), (2,), (3,))
    assert np.abs((x - s @ model.A.T) / 0.5).std() < 1.5
    np.testing.assert_array_equal(x, model.draw(np.random.default_rng(4), 50)[1])
    for n in (0, 1.5, True):
        with pytest.raises(InputError, match=rf"^draw: n = {n} is not a number of inputs\. Give an integer >= 1\.$"):
            model.draw(4, n)


def test_draws_follow_the_prior(prior):
    """P(active), and mean and variance of the size, each within 5 standard errors."""
    if not prior.conditionals:  # against their density, in test_cost_priors
        return
    n = 100_000
    s = prior.draw((n,), np.random.default_rng(8))
    pi = getattr(prior, "pi", 1.0)
    size = np.abs(s[s != 0]) if pi < 1 else np.abs(s)
    mean, sd = (0.6 * np.sqrt(2 / np.pi), 0.6 * np.sqrt(1 - 2 / np.pi)) if prior.kind == "gaussian" else (1 / 1.4,) * 2
    assert abs(np.mean(s != 0) - pi) <= 5 * np.sqrt(pi * (1 - pi) / n)
    assert abs(size.mean() - mean) < 5 * sd / np.sqrt(size.size)
    assert abs(np.sign(s).sum()) < 5 * np.sqrt(n) if prior.signed else (s >= 0).all()


def test_shapes_broadcast_over_leading_axes(model, x):
    u = np.random.default_rng(9).standard_normal((3, 2, model.n_latents))
    assert model.energy(u, x).shape == (3, 2)
    assert model.energy_grad(u, x).shape == u.shape
    np.testing.assert_allclose(model.energy(u, x)[1, 1], model.energy(u[1, 1], x))


def test_the_model_owns_its_dictionary():
    A = np.eye(2)
    model = SparseCodingModel(A, Gaussian(1.0), 0.5)
    A[0, 0] = 9
    assert model.A[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        model.A[0, 0] = 9


def refused(message):
    """Match the whole message, literally."""
    return pytest.raises(InputError, match=rf"^{re.escape(message)}$")


NUMBER = "Give a finite number > 0."
SHARE = "Give a finite number > 0 and <= 1."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeSlab(1.5, 1), f"SpikeSlab: pi = 1.5, but P(active) must be in (0, 1]. {SHARE}"),
        (lambda: SpikeSlab(0.0, 1), f"SpikeSlab: pi = 0.0, but P(active) must be in (0, 1]. {SHARE}"),
        (lambda: SpikeSlab(-0.1, 1), f"SpikeSlab: pi = -0.1, but P(active) must be in (0, 1]. {SHARE}"),
        (lambda: SpikeSlab(np.nan, 1), f"SpikeSlab: pi = nan, but P(active) must be in (0, 1]. {SHARE}"),
        (lambda: SpikeSlab(True, 1), f"SpikeSlab: pi = True is not a number. {SHARE}"),
        (lambda: SpikeSlab("0.3", 1), f"SpikeSlab: pi = '0.3' is not a number. {SHARE}"),
        (lambda: SpikeSlab(0.3, 0.0), f"SpikeSlab: lam = 0.0, but the slab's rate must be > 0. {NUMBER}"),
        (lambda: SpikeSlab(0.3, np.inf), f"SpikeSlab: lam = inf, but the slab's rate must be > 0. {NUMBER}"),
        (lambda: Laplace(-1.0), f"Laplace: lam = -1.0, but the rate must be > 0. {NUMBER}"),
        (lambda: Laplace(None), f"Laplace: lam = None is not a number. {NUMBER}"),
        (lambda: Gaussian(0), f"Gaussian: sd = 0, but a standard deviation must be > 0. {NUMBER}"),
    ],
)
def test_bad_prior_is_refused(make, message):
    with refused(message):
        make()


REAL = "Pass an array of real numbers."
SHAPE = "but a dictionary is (n_features, n_latents) with both >= 1. Pass one column per latent."


@pytest.mark.parametrize(
    ("A", "message"),
    [
        ([[1, np.nan], [0, 1]], "A[0, 1] = nan, but every entry must be finite (1 are not). Remove NaN and inf first."),
        (
            [[1, 0], [np.inf, -np.inf]],
            "A[1, 0] = inf, but every entry must be finite (2 are not). Remove NaN and inf first.",
        ),
        (
            [[1, 0], [1, 0]],
            "A[:, 1] is a zero column (1 in all): its latent would see no data and divide by zero. Remove the column.",
        ),
        ([1.0, 2.0], f"A has shape (2,), {SHAPE}"),
        (np.zeros((0, 3)), f"A has shape (0, 3), {SHAPE}"),
        (np.eye(2) * 1j, f"A is complex, but the model is real. {REAL}"),
        (
            np.array([[1, None]], dtype=object),
            "A has dtype object, but real numbers are needed. Pass an array of floats.",
        ),
        ([["a", "b"]], "A has dtype <U1, but real numbers are needed. Pass an array of floats."),
        ([[1.0, 2.0], [3.0]], "A is ragged: its rows differ in length. Pass a rectangular array."),
    ],
    ids=["nan", "inf", "zero-column", "vector", "empty", "complex", "object", "text", "ragged"],
)
def test_bad_dictionary_is_refused(A, message):
    with refused(message):
        SparseCodingModel(A, Gaussian(1.0), 0.5)


@pytest.mark.parametrize("sigma", [0, -0.5, np.nan, np.inf])
def test_bad_sigma_is_refused(sigma):
    with refused(f"SparseCodingModel: sigma = {sigma!r}, but a noise level must be positive. {NUMBER}"):
        SparseCodingModel(np.eye(2), Gaussian(1.0), sigma)


@pytest.mark.parametrize("sigma", [True, "0.5", None, [0.5]])
def test_sigma_that_is_no_number_is_refused(sigma):
    with refused(f"SparseCodingModel: sigma = {sigma!r} is not a number. {NUMBER}"):
        SparseCodingModel(np.eye(2), Gaussian(1.0), sigma)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 2.0, 3.0], "x has shape (3,), but the dictionary A has n_features = 2. Pass x with shape (2,)."),
        ([[1.0, 2.0]], "x has shape (1, 2), but the dictionary A has n_features = 2. Pass x with shape (2,)."),
        (1.0, "x has shape (), but the dictionary A has n_features = 2. Pass x with shape (2,)."),
        ([1.0, np.inf], "x[1] = inf, but every entry must be finite (1 are not). Remove NaN and inf first."),
        ([1j, 0], f"x is complex, but the model is real. {REAL}"),
    ],
)
def test_bad_x_is_refused(x, message):
    model = SparseCodingModel(np.eye(2), Gaussian(1.0), 0.5)
    with refused(message):
        model.check_x(x)


def test_booleans_count_as_zeros_and_ones():
    model = SparseCodingModel(np.eye(2, dtype=bool), Gaussian(1.0), 0.5)
    assert model.A.dtype == float
    np.testing.assert_array_equal(model.check_x([True, False]), [1.0, 0.0])


def test_something_else_than_a_prior_is_refused():
    with pytest.raises(InputError, match=r"^prior = 'laplace' is not a prior\. Pass SpikeSlab\(pi, lam\), Laplace"):
        SparseCodingModel(np.eye(2), "laplace", 0.5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_bad_temperature_is_refused(temperature):
    with refused(f"tempered: temperature = {temperature!r}, but a temperature must be positive. {NUMBER}"):
        SparseCodingModel(np.eye(2), Gaussian(1.0), 0.5).tempered(temperature)


def test_numpy_scalars_become_floats():
    model = SparseCodingModel(np.eye(2), SpikeSlab(np.float32(0.25), np.int64(1), signed=False), np.float32(0.5))
    assert repr(model.sigma) == "0.5"
    assert repr(model.prior) == "SpikeSlab(pi=0.25, lam=1.0, signed=False)"
    assert repr(Laplace(np.float64(2.0))) == "Laplace(lam=2.0, signed=True)"
    assert repr(Gaussian(np.float32(0.5))) == "Gaussian(sd=0.5)"
