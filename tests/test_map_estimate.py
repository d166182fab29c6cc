"""MAP references: optimality proven by the KKT conditions and by duality gaps, and each method against another."""

import itertools
import re

import numpy as np
import pytest
from scipy.integrate import quad

from circuitlsc import Cauchy, Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.reference import map_estimate
from circuitlsc.reference.map_estimate import (
    best_minimum,
    duality_gap,
    hard_objective,
    lasso_map,
    many_lasso,
    many_lca,
    map_reference,
    objective,
)


def refused(message):
    return pytest.raises(InputError, match=re.escape(message))


def random_model(prior, shape=(6, 9), *, sigma=0.6, norm=None, seed=3):
    A = np.random.default_rng(seed).standard_normal(shape)
    return SparseCodingModel(A if norm is None else norm * A / np.linalg.norm(A, axis=0), prior, sigma)


def observations(model, n, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([model.draw(rng)[1] for _ in range(n)])


L1_PRIORS = [SpikeSlab(0.3, 1.4), SpikeSlab(0.3, 1.4, signed=True), Laplace(0.4), Laplace(4.0, signed=False)]
SHAPES = [(6, 9), (9, 6)]


@pytest.fixture(params=list(itertools.product(L1_PRIORS, SHAPES)), ids=str)
def l1(request):
    prior, shape = request.param
    return random_model(prior, shape)


# --- energies ---


@pytest.mark.parametrize("signed", [False, True])
def test_the_spike_is_left_out(signed):
    model = random_model(SpikeSlab(0.3, 1.4, signed=signed)).without_spike()
    assert model.prior == Laplace(1.4, signed=signed)
    assert random_model(Gaussian(0.5)).without_spike().prior == Gaussian(0.5)


@pytest.mark.parametrize("prior", [Laplace(1.4), Laplace(1.4, signed=False), Gaussian(0.6), Cauchy(1.2, 0.7)], ids=str)
def test_objective_is_the_models_energy_where_the_code_is_the_state(prior):
    model = random_model(prior)
    x = observations(model, 1)[0]
    s = np.abs(np.random.default_rng(1).standard_normal((2, 5, 9)))
    np.testing.assert_allclose(objective(model, s, x), model.energy(s, x), rtol=1e-13)


def test_objective_of_a_thresholded_code_has_the_cost_of_the_slab_alone():
    model = random_model(SpikeSlab(0.3, 1.4))
    x = observations(model, 1)[0]
    s = np.zeros(9)
    s[2] = 0.8
    expected = np.sum((x - 0.8 * model.A[:, 2]) ** 2) / (2 * 0.6**2) + 1.4 * 0.8
    assert objective(model, s, x) == pytest.approx(expected, rel=1e-13)


# --- the lasso ---


def kkt_violation(model, s, x):
    """Return by how much the optimality conditions of the L1 energy fail, in units of lam."""
    pull = model.A.T @ (x - model.A @ s) / model.sigma**2
    lam, off = model.prior.lam, s == 0
    outside = np.abs(pull) - lam if model.prior.signed else pull - lam
    return max(np.max(np.abs(pull - lam * np.sign(s))[~off], initial=0), np.max(outside[off], initial=0)) / lam


def test_lasso_map_is_the_minimum(l1):
    for x in observations(l1, 10):
        found = lasso_map(l1, x)
        assert kkt_violation(l1, found.code, x) < 1e-9
        assert duality_gap(l1, found.code, x) < 1e-8 * found.objective
        assert found.objective == objective(l1, found.code, x)
        assert "duality gap" in found.method


def test_many_lasso_are_the_minima_one_by_one(l1):
    X = observations(l1, 40)
    codes = many_lasso(l1, X)
    assert duality_gap(l1, codes, X).shape == (40,)
    for x, code in zip(X, codes, strict=True):
        assert kkt_violation(l1, code, x) < 1e-9
        assert objective(l1, code, x) == pytest.approx(lasso_map(l1, x).objective, rel=1e-10)


@pytest.mark.parametrize("signed", [False, True])
def test_more_active_latents_than_features(signed):
    """Coordinate descent creeps here: a weak L1 cost chooses among codes that explain the input fully."""
    model = random_model(Laplace(0.01, signed=signed), (6, 40))
    X = observations(model, 40)
    codes = many_lasso(model, X)
    assert max(kkt_violation(model, s, x) for s, x in zip(codes, X, strict=True)) < 1e-4  # lam is 1e-4 of the drive
    assert np.all((codes != 0).sum(1) <= 6)


@pytest.mark.parametrize("n_latents", [12, 16])
@pytest.mark.parametrize("lam", [0.05, 1.0, 20.0])
def test_degenerate_dictionaries(n_latents, lam):
    """Bars (rank 2n - 1), and bars with every atom twice: codes are not unique, the objective is."""
    A = np.hstack([bars(4), bars(4)])[:, :n_latents]
    model = SparseCodingModel(A, SpikeSlab(0.3, lam), 0.5)
    X = observations(model, 20)
    for x, code in zip(X, many_lasso(model, X), strict=True):
        assert objective(model, code, x) == pytest.approx(lasso_map(model, x).objective, rel=1e-8)


def test_one_latent_has_the_soft_threshold_as_its_solution():
    model = SparseCodingModel(np.array([[0.0], [2.0]]), SpikeSlab(0.3, 1.4), 0.5)
    for pull in (-1.0, 0.1, 0.17, 0.18, 3.0):  # the threshold is at lam sigma^2 / 2 = 0.175
        expected = max(2 * pull - 1.4 * 0.25, 0) / 4
        assert lasso_map(model, [0.3, pull]).code == pytest.approx([expected], abs=1e-14)


def test_nothing_to_explain():
    model = random_model(Laplace(1.0))
    assert not lasso_map(model, np.zeros(6)).code.any()
    assert not many_lasso(model, np.zeros((1, 6))).any()
    assert duality_gap(model, np.zeros(9), np.zeros(6)) == 0


def test_the_duality_gap_bounds_any_code(l1):
    x = observations(l1, 1)[0]
    least = lasso_map(l1, x)
    rng = np.random.default_rng(0)
    s = np.abs(least.code + 10.0 ** rng.uniform(-4, 1, (200, 1)) * rng.standard_normal((200, l1.n_latents)))
    if l1.prior.signed:
        s *= rng.choice([-1, 1], s.shape)
    above = objective(l1, s, x) - least.objective
    assert np.all(above > 0)
    assert np.all(duality_gap(l1, s, x) >= above)


# --- the LCA ---


@pytest.mark.parametrize("prior", L1_PRIORS, ids=str)
@pytest.mark.parametrize("norm", [0.8, 1.0, 1.5])
def test_a_soft_lca_comes_to_rest_at_the_lasso(prior, norm):
    model = random_model(prior, (9, 6), norm=norm)
    X = observations(model, 10)
    codes, least = many_lca(model, X, hard=False), many_lasso(model, X)
    for x, code, best in zip(X, codes, least, strict=True):
        assert objective(model, code, x) == pytest.approx(objective(model, best, x), rel=1e-7)


@pytest.mark.parametrize("prior", [SpikeSlab(0.3, 1.4), Laplace(1.4)], ids=str)
@pytest.mark.parametrize("norm", [1.0, 0.8])
def test_a_hard_lca_comes_to_rest_at_a_minimum_of_its_objective(prior, norm):
    model = random_model(prior, (6, 5), norm=norm)
    X = observations(model, 30)
    reached = 0
    for x, code in zip(X, many_lca(model, X, hard=True), strict=True):
        here = hard_objective(model, code, x)
        near = code + 1e-4 * np.random.default_rng(0).standard_normal((50, 5)) * (code != 0)
        assert np.all(hard_objective(model, near, x) >= here)
        supports = [np.array(on) for on in itertools.product([False, True], repeat=5)]
        least = min(hard_objective(model, best_on(model, on, x), x) for on in supports)
        assert here >= least - 1e-9
        reached += here <= least + 1e-9
        if norm == 1:  # then no single latent could do better, wherever it went
            for i, value in itertools.product(range(5), np.linspace(0, 3, 61)):
                moved = code.copy()
                moved[i] = value
                assert hard_objective(model, moved, x) >= here - 1e-9
    assert reached >= 10, reached  # of 30: often the global one


def best_on(model, on, x):
    """Return least squares on a support if its signs are allowed, or nothing."""
    s = np.zeros(model.n_latents)
    if on.any():
        s[on] = np.linalg.lstsq(model.A[:, on], x, rcond=None)[0]
    return s if model.prior.signed or np.all(s >= 0) else np.zeros_like(s)


@pytest.mark.parametrize("theta", [0.3, 1.7])
def test_the_jump_of_a_hard_threshold_costs_half_theta_squared(theta):
    """C(s) = integral of (u - s) ds over a threshold that is steep but smooth."""
    w = 1e-3 * theta

    def gate(u):
        return 0.5 + 0.5 * np.tanh((u - theta) / (2 * w))

    def integrand(u):
        return (u - u * gate(u)) * (gate(u) + u * gate(u) * (1 - gate(u)) / w)

    cost = quad(integrand, 0, theta + 40 * w, points=[theta - 10 * w, theta, theta + 10 * w], limit=200)[0]
    assert cost == pytest.approx(theta**2 / 2, rel=5e-3)
    model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, theta / 0.49), 0.7)
    on, off = hard_objective(model, [[2 * theta], [0.0]], [2 * theta])
    assert on == pytest.approx(theta**2 / 2 / 0.49)
    assert off == pytest.approx((2 * theta) ** 2 / 2 / 0.49)


def test_a_hard_lca_with_long_atoms_has_no_such_objective(monkeypatch):
    monkeypatch.setattr(map_estimate, "_MAX_TIME", 1000.0)
    model = SparseCodingModel(np.array([[1.5]]), SpikeSlab(0.3, 1.0), 1.0)
    with refused("the norm of A[:, 0] is 1.5"):
        hard_objective(model, [1.0], [1.0])
    with refused("1 of 1 LCAs still move"):  # turned on at u > 1, it falls to 1.2 / 2.25 * 1.5 = 0.8, and turns off
        many_lca(model, [[1.2]], hard=True)


# --- other costs ---


def test_gaussian_in_closed_form():
    model = random_model(Gaussian(0.6))
    x = observations(model, 1)[0]
    found = map_reference(model, x)
    assert found.method.startswith("closed form")
    np.testing.assert_allclose(model.energy_grad(found.code, x), 0, atol=1e-12)


def test_local_minimisation_finds_the_lasso_where_the_cost_is_convex():
    model = random_model(Laplace(1.4, signed=False))
    for x in observations(model, 3):
        assert best_minimum(model, x, n_starts=4).objective == pytest.approx(lasso_map(model, x).objective, rel=1e-9)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("x", [1.2, 1.7, 3.0])
def test_best_minimum_of_two(x, signed):
    """One latent with a heavy tail has a minimum near zero and one near x; either may be the lower."""
    model = SparseCodingModel(np.ones((1, 1)), Cauchy(1.5, 0.1, signed=signed), 0.5)
    grid = np.linspace(0, 4, 400_001)
    energy = objective(model, grid[:, None], [x])
    found = map_reference(model, [x])
    assert found.method == "best of 20 local minimisations"
    assert found.objective == pytest.approx(energy.min(), rel=1e-8)
    assert found.code == pytest.approx([grid[energy.argmin()]], abs=2e-5)


def test_more_starts_never_do_worse_and_the_seed_repeats():
    model = random_model(Cauchy(1.5, 0.1))
    x = observations(model, 1)[0]
    one, many = (best_minimum(model, x, n_starts=n) for n in (1, 8))
    assert many.objective <= one.objective
    assert many.objective < objective(model, np.zeros(9), x)
    np.testing.assert_array_equal(many.code, best_minimum(model, x, n_starts=8).code)


@pytest.mark.parametrize("prior", [SpikeSlab(0.3, 1.0), Laplace(1.0)], ids=str)
def test_map_reference_prefers_the_lasso(prior):
    assert map_reference(random_model(prior), np.ones(6)).method.startswith("lasso")


# --- refusals ---


def test_refusals():
    gaussian, slab = random_model(Gaussian(1.0)), random_model(SpikeSlab(0.3, 1.0))
    for call in (lasso_map, many_lasso):
        with refused(f"{call.__name__}: Gaussian(sd=1.0) has no L1 cost. Use SpikeSlab or Laplace"):
            call(gaussian, np.ones(6))
    with refused("many_lca: Gaussian(sd=1.0) has no L1 cost"):
        many_lca(gaussian, np.ones((1, 6)), hard=True)
    with refused("s has shape (8,), but the model has 9 latents"):
        objective(slab, np.ones(8), np.ones(6))
    with refused("s has a value of -1, but the prior Laplace(lam=1.0, signed=False) has s >= 0"):
        objective(slab, -np.ones(9), np.ones(6))
    with refused("x has shape (6,)"):
        many_lasso(slab, np.ones(6))
    with refused("duality_gap: x has shape (3, 6), s (2, 9)"):
        duality_gap(slab, np.ones((2, 9)), np.ones((3, 6)))
    with refused("best_minimum: n_starts = 0. Give an integer >= 1."):
        best_minimum(gaussian, np.ones(6), n_starts=0)
    with refused("has a kink at zero. Use lasso_map."):
        best_minimum(random_model(Laplace(1.0)), np.ones(6))
