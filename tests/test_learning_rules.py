"""The learning rules are gradients of the exact log likelihood, at sigma and lam other than 1; wrong rules are not."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from learning_rules import Parameters, drift

from circuitlsc import Laplace, SparseCodingModel, SpikeSlab
from circuitlsc.reference.exact import log_evidence

STEP = 1e-4  # of the finite differences: their error is of order 1e-7
TIGHT = {"rtol": 2e-5, "atol": 2e-6}
PI, LAM, SIGMA = 0.3, 1.4, 0.7
D = 3
CASES = list(itertools.product([1, 2], [False, True], [PI, 1.0]))
NAMES = [f"K{K}-{'signed' if signed else 'nonnegative'}-pi{pi:g}" for K, signed, pi in CASES]


def grid(u0, K):
    """Nodes u (n, K) and weights (n,) of Gauss and Legendre, on panels that end at the corners 0 and +-u0."""
    edges = np.concatenate(
        [np.linspace(0, u0, 4 if u0 else 1), u0 + np.array([0.4, 0.8, 1.2, 1.7, 2.4, 3.5, 6.0, 12.0])]
    )
    nodes, weights = np.polynomial.legendre.leggauss(12)
    low, high = edges[:-1, None], edges[1:, None]
    points = ((high - low) / 2 * nodes + (high + low) / 2).ravel()
    weights = ((high - low) / 2 * weights).ravel()
    points, weights = np.concatenate([-points[::-1], points]), np.concatenate([weights[::-1], weights])
    u = np.stack([m.ravel() for m in np.meshgrid(*[points] * K, indexing="ij")], 1)
    return u, np.prod([m.ravel() for m in np.meshgrid(*[weights] * K, indexing="ij")], 0)


def log_joint(p, u, x):
    """Return log p(x, u), shape (n,): the density of eq. (3.5), with the normalisation of both factors."""
    r = p.code(u) @ p.A.T - x
    likelihood = -np.sum(r**2, 1) / (2 * p.sigma**2) - 0.5 * len(x) * math.log(2 * math.pi * p.sigma**2)
    return likelihood + np.sum(math.log(p.lam / 2) - p.lam * np.abs(u), 1)


def log_p(p, x):
    u, w = grid(p.u0, p.A.shape[1])
    return float(np.log(np.sum(w * np.exp(log_joint(p, u, x)))))


def posterior(p, x):
    """Return nodes u and their posterior weights, with sum 1."""
    u, w = grid(p.u0, p.A.shape[1])
    mass = w * np.exp(log_joint(p, u, x))
    return u, mass / mass.sum()


def slope(p, x, change):
    """Return the derivative of log p(x) along ``change(p, h)`` by central differences."""
    return (log_p(change(p, STEP), x) - log_p(change(p, -STEP), x)) / (2 * STEP)


def problem(K, signed, pi):
    A = np.array([[0.9, -0.3], [0.4, 0.8], [-0.2, 0.5]])[:, :K]
    return Parameters(A, -math.log(pi) / LAM, LAM, SIGMA, signed), np.array([1.1, 0.9, 0.2])


def mean_drift(p, x):
    u, w = posterior(p, x)
    return drift(p, u, np.tile(x, (len(u), 1)), w)


def along(name):
    return lambda p, h: dataclasses.replace(p, **{name: getattr(p, name) + h})


def lam_at_held_pi(p, h):
    return dataclasses.replace(p, lam=p.lam + h, u0=p.u0 * p.lam / (p.lam + h))


@pytest.mark.parametrize(("K", "signed", "pi"), CASES, ids=NAMES)
def test_the_quadrature_is_the_sum_over_supports(K, signed, pi):
    p, x = problem(K, signed, pi)
    prior = SpikeSlab(pi, LAM, signed) if pi < 1 else Laplace(LAM, signed)
    # one latent has a closed form; the orthants of two are integrals good to 1e-4
    assert log_p(p, x) == pytest.approx(
        log_evidence(SparseCodingModel(p.A, prior, SIGMA), x), abs=1e-9 if K == 1 else 2e-4
    )


@pytest.mark.parametrize(("K", "signed", "pi"), CASES, ids=NAMES)
def test_the_rule_of_the_dictionary_is_the_gradient(K, signed, pi):
    p, x = problem(K, signed, pi)
    exact = np.empty_like(p.A)
    for place in np.ndindex(*p.A.shape):

        def change(p, h, place=place):
            A = p.A.copy()
            A[place] += h
            return dataclasses.replace(p, A=A)

        exact[place] = slope(p, x, change)
    rule = mean_drift(p, x).A
    np.testing.assert_allclose(rule, exact, **TIGHT)
    for wrong in (rule * SIGMA**2, -rule):  # (3.11) as printed, and the sign reversed
        assert np.abs(wrong - exact).max() > 0.05


@pytest.mark.parametrize(("K", "signed"), [(1, False), (1, True), (2, False), (2, True)])
def test_the_rule_of_the_threshold_is_the_gradient(K, signed):
    p, x = problem(K, signed, PI)
    exact, rule = slope(p, x, along("u0")), mean_drift(p, x).u0
    assert rule == pytest.approx(exact, rel=2e-5, abs=2e-6)
    for wrong in (rule * SIGMA**2, -rule):  # (3.13) as printed, and the sign reversed
        assert abs(wrong - exact) > 0.02
    if signed:  # Negative control: 1(s > 0) in place of sign(s), at an input whose code is negative
        u, w = posterior(p, -x)
        s = p.code(u)
        e = (s @ p.A.T + x) @ p.A / SIGMA**2
        exact = slope(p, -x, along("u0"))
        assert mean_drift(p, -x).u0 == pytest.approx(exact, rel=2e-5, abs=2e-6)
        assert abs(w @ np.sum(e * (s != 0), 1) - exact) > 0.02


@pytest.mark.parametrize(("K", "signed", "pi"), CASES, ids=NAMES)
def test_the_rule_of_the_rate_is_the_gradient_at_held_pi(K, signed, pi):
    p, x = problem(K, signed, pi)
    exact, rule = slope(p, x, lam_at_held_pi), mean_drift(p, x).lam
    assert rule == pytest.approx(exact, rel=2e-5, abs=2e-6)
    assert abs(-rule - exact) > 0.02
    u, w = posterior(p, x)
    at_held_u0 = w @ np.sum(1 / LAM - np.abs(u), 1)  # (2.10): another direction, along which pi changes
    assert at_held_u0 == pytest.approx(slope(p, x, along("lam")), rel=2e-5, abs=2e-6)
    if pi < 1:
        assert abs(at_held_u0 - exact) > 0.02


@pytest.mark.parametrize(("K", "signed", "pi"), CASES, ids=NAMES)
def test_the_rule_of_the_noise_level_is_sigma3_over_D_times_the_gradient(K, signed, pi):
    p, x = problem(K, signed, pi)
    exact, rule = slope(p, x, along("sigma")), mean_drift(p, x).sigma
    assert rule == pytest.approx(SIGMA**3 / D * exact, rel=2e-5, abs=2e-6)
    assert abs(rule - exact) > 0.02
    assert abs(-rule - SIGMA**3 / D * exact) > 0.02


@pytest.mark.parametrize("signed", [False, True])
def test_the_force_on_u_is_minus_the_gradient_of_the_energy(signed):
    p, x = problem(2, signed, PI)
    model = SparseCodingModel(p.A, SpikeSlab(PI, LAM, signed), SIGMA)
    u = np.random.default_rng(0).laplace(0, 1.5, (40, 2))
    force = drift(p, u, np.tile(x, (40, 1))).u
    np.testing.assert_allclose(force, -model.energy_grad(u, x), atol=1e-12)
    energies = [model.energy(u + h * np.eye(2)[:, None], x) for h in (-1e-6, 1e-6)]
    np.testing.assert_allclose(force, -((energies[1] - energies[0]) / 2e-6).T, atol=1e-7)


def test_dictionary_and_rate_have_one_scale_between_them():
    """Why "A" with "lam" is refused: the likelihood does not change from (A, lam) to (c A, c lam)."""
    p, x = problem(2, False, PI)
    scaled = dataclasses.replace(p, A=1.7 * p.A, lam=1.7 * p.lam, u0=p.u0 / 1.7)
    assert log_p(scaled, x) == pytest.approx(log_p(p, x), abs=1e-6)
    assert abs(log_p(dataclasses.replace(p, A=1.7 * p.A), x) - log_p(p, x)) > 0.05
