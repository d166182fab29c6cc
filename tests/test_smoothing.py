"""The hyperbolic smooth pair: closed forms to the last digits, a gradient, tables that stay one, and the bias that it costs."""

import itertools
import math

import numpy as np
import pytest

from circuitlsc import Cauchy, InputError, Laplace, SparseCodingModel, SpikeSlab, SquareRoot
from circuitlsc.model.smoothing import HYPERBOLIC, LOGISTIC, SMOOTHINGS, smoothing_of

WIDTH = 0.05
PRIORS = {
    "nonnegative": SpikeSlab(0.3, 1.0),
    "signed": SpikeSlab(0.3, 1.0, signed=True),
    "nearly without a spike": SpikeSlab(0.96, 1.0),
    "exponential": Laplace(1.4, signed=False),
    "laplace": Laplace(1.4),
    "cauchy": Cauchy(2.0, signed=False),
    "square root": SquareRoot(1.5, signed=False),
}
EACH = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


# --- closed forms ---


@pytest.mark.parametrize("width", [1e-9, WIDTH, 3.0])
def test_two_halves_of_a_current(width):
    """p = f(v), n = f(-v): p - n = v, p n = w^2, f' = p/(p + n), |v| ~ p + n; no digit is lost at |v| = 1e9 w."""
    v = np.concatenate([[0.0], np.logspace(-9, 9, 37)]) * width
    p, n = HYPERBOLIC.ramp(v, width), HYPERBOLIC.ramp(-v, width)
    np.testing.assert_allclose(p - n, v, rtol=4e-16, atol=4e-16 * width)
    np.testing.assert_allclose(p * n, width**2, rtol=1e-15)
    np.testing.assert_allclose(HYPERBOLIC.abs(v, width), p + n, rtol=1e-15)
    for sign, half in ((1, p), (-1, n)):
        np.testing.assert_allclose(HYPERBOLIC.step(sign * v, width), half / (p + n), rtol=1e-15)
        np.testing.assert_allclose(HYPERBOLIC.sign(sign * v, width), sign * v / (p + n), rtol=1e-15)
    far = v[v > 1e5 * width]
    np.testing.assert_allclose(
        HYPERBOLIC.ramp(-far, width), width**2 / far, rtol=1e-9
    )  # as it fades: no zero, no noise


@pytest.mark.parametrize("smoothing", SMOOTHINGS.values(), ids=SMOOTHINGS)
def test_slopes_are_those_of_the_functions(smoothing):
    v, d = np.linspace(-2, 2, 401), 1e-6
    for function, slope in ((smoothing.abs, smoothing.sign), (smoothing.ramp, smoothing.step)):
        numeric = (function(v + d, WIDTH) - function(v - d, WIDTH)) / (2 * d)
        np.testing.assert_allclose(slope(v, WIDTH), numeric, rtol=1e-6, atol=1e-8)
    steepest = np.abs(np.gradient(smoothing.step(v / 20, WIDTH), v / 20)).max()
    assert steepest == pytest.approx(1 / (4 * WIDTH), rel=1e-3)


@pytest.mark.parametrize("smoothing", SMOOTHINGS.values(), ids=SMOOTHINGS)
def test_width_zero_is_the_ideal_form(smoothing):
    v = np.array([-2.0, 0.0, 0.5])
    for name, expected in {
        "abs": [2.0, 0.0, 0.5],
        "sign": [-1.0, 0.0, 1.0],
        "ramp": [0.0, 0.0, 0.5],
        "step": [0.0, 0.0, 1.0],
    }.items():
        np.testing.assert_array_equal(getattr(smoothing, name)(v, 0.0), expected)


def test_a_name_that_is_none():
    assert smoothing_of("hyperbolic") is HYPERBOLIC
    for name in ("tanh", None, 3, ["logistic"]):
        with pytest.raises(InputError, match=r"^smoothing = .* is not one of logistic, hyperbolic\.$"):
            smoothing_of(name)


# --- the model ---


@EACH
@pytest.mark.parametrize("width", [WIDTH, 0.4])
def test_force_is_the_gradient_of_the_energy(prior, width):
    model = SparseCodingModel(np.random.default_rng(5).standard_normal((5, 4)), prior, sigma=0.7)
    x = model.draw(6)[1]
    u, d = np.random.default_rng(7).uniform(-4, 4, (40, 4)), 1e-6
    expected = np.stack(
        [
            (model.energy(u + e, x, width, HYPERBOLIC) - model.energy(u - e, x, width, HYPERBOLIC)) / (2 * d)
            for e in d * np.eye(4)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(model.energy_grad(u, x, width, HYPERBOLIC), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        model.log_density_grad(u, x, temperature=2.0, width=width, smoothing=HYPERBOLIC),
        -expected / 2,
        rtol=1e-6,
        atol=1e-6,
    )
    assert np.abs(model.energy_grad(u, x, width) - expected).max() > 1e-3  # the logistic pair's is another


def test_the_formulas_of_spike_and_slab():
    """s = f(a(u) - u0), gate f'(a(u) - u0) a'(u), cost lam a(u); signed: f(u - u0) - f(-u - u0), and the sum of gates."""
    u, w = np.linspace(-4, 4, 801), WIDTH
    h = HYPERBOLIC
    plain, signed = PRIORS["nonnegative"], PRIORS["signed"]
    u0, lam = plain.threshold, plain.lam
    a, da = np.sqrt(u**2 + 4 * w**2), u / np.sqrt(u**2 + 4 * w**2)
    np.testing.assert_allclose(plain.latent(u, w, h), (a - u0 + np.sqrt((a - u0) ** 2 + 4 * w**2)) / 2, atol=1e-12)
    np.testing.assert_allclose(plain.latent_grad(u, w, h), h.step(a - u0, w) * da)
    np.testing.assert_allclose(signed.latent(u, w, h), h.ramp(u - u0, w) - h.ramp(-u - u0, w))
    np.testing.assert_allclose(signed.latent_grad(u, w, h), h.step(u - u0, w) + h.step(-u - u0, w))
    for prior in (plain, signed):
        np.testing.assert_allclose(prior.cost(u, w, h), lam * a)
        np.testing.assert_allclose(prior.cost_grad(u, w, h), lam * da)
    # of an inactive latent: about w^2/(u0 - a), as large as .0019 at u = 0
    assert plain.latent(np.zeros(1), w, h)[0] == pytest.approx(w**2 / (u0 - 2 * w), rel=0.01)


# --- tables ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ratio", [0.2, 1.4, 5.5, 24, 300])
def test_tables_of_code_and_gate(ratio, signed):
    """Within 0.025 w of the code and 0.009 of the gate; the code's slope is the mean gate over each segment."""
    prior = SpikeSlab(math.exp(-ratio * WIDTH), 1.0, signed)
    code, gate = prior.code_tables(WIDTH, HYPERBOLIC)
    assert (np.diff(code.knots) > 0).all()
    mean = (gate.values[1:] + gate.values[:-1]) / 2
    np.testing.assert_allclose(np.diff(code.values) / np.diff(code.knots), mean, atol=1e-9)
    near = np.linspace(-(ratio + 20) * WIDTH, (ratio + 20) * WIDTH, 8001)
    u = np.concatenate([near, np.linspace(-600, 600, 4001) * WIDTH])
    assert np.abs(code(u) - prior.latent(u, WIDTH, HYPERBOLIC)).max() < 0.025 * WIDTH
    assert np.abs(gate(u) - prior.latent_grad(u, WIDTH, HYPERBOLIC)).max() < 0.009
    far = np.array([-1e4, 1e4])
    np.testing.assert_array_equal(gate(far), prior.latent_grad(far))


@EACH
def test_table_of_the_prior(prior):
    """Its integral is the cost, tails included: within 0.021 lam w, of a smooth cost 0.03 w of its largest slope."""
    table = prior.cells(WIDTH, 20.0, HYPERBOLIC).prior
    u = np.sort(np.concatenate([np.linspace(-20, 20, 4001), table.knots]))
    u = u[np.abs(u) <= 20]
    force = prior.cost_grad(u, WIDTH, HYPERBOLIC)
    cost = np.concatenate([[0.0], np.cumsum(np.diff(u) * (table(u)[1:] + table(u)[:-1]) / 2)])
    expected = prior.cost(u, WIDTH, HYPERBOLIC)
    error = cost - cost[len(u) // 2] - expected + expected[len(u) // 2]
    assert np.abs(error).max() < (0.021 if prior.slab else 0.03) * np.abs(force).max() * WIDTH
    np.testing.assert_allclose(table(u), force, rtol=0, atol=0.009 * np.abs(force).max())
    np.testing.assert_allclose(table(-u), -table(u), rtol=0, atol=1e-12)


# --- what it does to the posterior ---


def implied(prior, sigma, x, width, smoothing, tables=False):
    """Return P(active), mean and sd of the ideal code under exp(-E_w), K = 1, for many x: shape (3, len(x))."""
    u0, scale = prior.threshold, max(width, 1e-3) / 10
    t = scale * np.sinh(np.linspace(0, np.arcsinh(16 / scale), 1200))
    u = np.unique(np.concatenate([t, -t, t + u0, u0 - t, -t - u0, t - u0]))
    s, cost = prior.latent(u, width, smoothing), prior.cost(u, width, smoothing)
    if tables:
        cells = prior.cells(width, 20.0, smoothing)
        fine = np.unique(np.concatenate([u, cells.prior.knots]))
        force = cells.prior(fine)
        total = np.concatenate([[0.0], np.cumsum(np.diff(fine) * (force[1:] + force[:-1]) / 2)])
        s, cost = u if cells.threshold is None else cells.threshold(u), total[np.searchsorted(fine, u)]
    energy = (s - x[:, None]) ** 2 / (2 * sigma**2) + cost
    weight = np.exp(energy.min(1, keepdims=True) - energy)
    weight[:, 1:-1] *= (u[2:] - u[:-2]) / 2
    weight /= weight.sum(1, keepdims=True)
    ideal = prior.latent(u)
    on_the_edge = np.isclose(np.abs(u), u0, rtol=0, atol=1e-12) if prior.sparse else False
    active = np.where(on_the_edge, 0.5, np.abs(u) > u0) if prior.sparse else np.ones(len(u))
    mean = weight @ ideal
    return np.array([weight @ active, mean, np.sqrt(weight @ ideal**2 - mean**2)])


def bias(prior, sigma, width, smoothing, *, tables=False):
    """Return the largest bias of P(active), mean and sd over 2 to 98 % of the inputs that a model draws."""
    rng = np.random.default_rng(0)
    x = prior.draw((2000,), rng) + sigma * rng.standard_normal(2000)
    x = np.quantile(x, np.linspace(0.02, 0.98, 13))
    exact = implied(prior, sigma, x, 0.0, smoothing)
    return np.abs(implied(prior, sigma, x, width, smoothing, tables) - exact).max(1)


@pytest.mark.parametrize("signed", [False, True])
def test_bias_of_a_circuit_whose_width_is_a_current(signed):
    """lam = 1, u0 = 1.2, sigma = .5, w = .04: P within .004, mean within .005; ten times less than that is not true."""
    prior = SpikeSlab(math.exp(-1.2), 1.0, signed)
    p, mean, sd = bias(prior, 0.5, 0.04, HYPERBOLIC)
    assert 0.002 < p < 0.004
    assert 0.0015 < mean < 0.005
    assert sd < 0.0015
    assert (bias(prior, 0.5, 0.04, LOGISTIC) < [0.0015, 0.001, 0.0005]).all()


BIASES = {
    "spike": ([SpikeSlab(math.exp(-u0), 1.0) for u0 in (0.1, 0.7, 1.2, 3.0)], (0.0065, 0.005, 0.002)),
    "signed": ([SpikeSlab(math.exp(-u0), 1.0, signed=True) for u0 in (0.1, 0.7, 1.2, 3.0)], (0.0032, 0.0026, 0.0018)),
    "exponential": ([Laplace(1.0, signed=False)], (1e-9, 0.0055, 0.002)),
    "laplace": ([Laplace(1.0)], (1e-9, 0.0027, 0.0018)),
}


@pytest.mark.parametrize(("priors", "most"), BIASES.values(), ids=BIASES)
def test_half_the_width_has_the_bias_that_is_written(priors, most):
    """w = min(.05/lam, .1 sigma)/2, by the tables of the circuit; at the logistic pair's width it would be beyond these."""
    found = {share: np.zeros(3) for share in (HYPERBOLIC.share, 1.0)}
    for prior, sigma in itertools.product(priors, (0.1, 0.25, 0.5, 1.0)):
        for share, worst in found.items():
            width = share * min(0.05, 0.1 * sigma)
            np.maximum(worst, bias(prior, sigma, width, HYPERBOLIC, tables=True), out=worst)
    assert (found[0.5] < most).all()
    assert (found[1.0] > most)[1:].all()
