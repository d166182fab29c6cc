"""Exact references against each other and against brute-force quadrature of the model's own energy."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from circuitlsc import Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.reference.exact import enumerate_supports, gaussian_posterior, single_latent
from circuitlsc.reference.orthant import OrthantMoments, log_slab_mass
from circuitlsc.reference.quadrature import quadrature

SPARSE = [SpikeSlab(0.3, 1.4), SpikeSlab(0.3, 1.4, signed=True), Laplace(1.4), Laplace(1.4, signed=False)]
NAMES = ["spike-slab", "spike-slab-signed", "laplace", "exponential"]
COMPARED = ("p_active", "mean", "sd", "coactive", "residual_power")


def largest_difference(one, other):
    return max(float(np.max(np.abs(np.subtract(getattr(one, name), getattr(other, name))))) for name in COMPARED)


def brute_force(model, x, nodes=80, reach=8.0):
    """Integrate exp(-E(u)) of the model's own energy on a tensor grid of panels that end at every kink.

    It knows nothing of truncated normals: a Gauss-Legendre rule on each side of 0 and +-u0, in every dimension.
    """
    u0 = model.prior.threshold
    corners = sorted({-reach - u0, -u0, 0.0, u0, reach + u0})
    t, w = np.polynomial.legendre.leggauss(nodes)
    u = np.concatenate([lo + (t + 1) / 2 * (hi - lo) for lo, hi in itertools.pairwise(corners)])
    w = np.concatenate([w / 2 * (hi - lo) for lo, hi in itertools.pairwise(corners)])
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[u] * model.n_latents, indexing="ij")], axis=1)
    weight = w
    for _ in range(model.n_latents - 1):
        weight = np.multiply.outer(weight, w)
    log_density = model.log_density(grid, x)
    density = weight.ravel() * np.exp(log_density - log_density.max())
    density /= density.sum()
    s, active = model.latent(grid), model.active(grid).astype(float)
    mean = density @ s
    return {
        "p_active": density @ active,
        "mean": mean,
        "sd": np.sqrt(density @ (s - mean) ** 2),
        "coactive": (active * density[:, None]).T @ active,
        "residual_power": density @ np.sum((s @ model.A.T - x) ** 2, axis=1),
    }


def error_against(truth, exact):
    return max(float(np.max(np.abs(getattr(exact, name) - truth[name]))) for name in COMPARED)


@pytest.fixture
def one_latent(prior):
    return SparseCodingModel(np.array([[0.9], [-0.4], [0.3]]), prior, 0.35)


@pytest.mark.parametrize("x", [[1.0, -0.5, 0.2], [-0.6, 0.4, 0.1], [0.5, -0.2, 0.1]])
def test_one_latent_is_the_quadrature_of_its_energy(one_latent, x):
    x = np.array(x)
    exact = single_latent if one_latent.prior.conditionals else quadrature
    truth = brute_force(one_latent, x, nodes=400)  # a smoothed square root bends within 0.03
    assert error_against(truth, exact(one_latent, x)) < 1e-8
    # Negative control: the observation with its sign flipped is told apart.
    assert error_against(truth, exact(one_latent, -x)) > 1e-3 or one_latent.prior.signed


@pytest.mark.parametrize("drive", [-5e5, -3e3, -40.0, 2.0, 60.0, 4e3])
@pytest.mark.parametrize("signed", [False, True])
def test_one_latent_in_the_far_tails(drive, signed):
    """The tail's mass is 1/(lam - drive) to leading order, where Phi itself is 0 in double precision."""
    model = SparseCodingModel(np.array([[1.0]]), SpikeSlab(0.3, 1.2, signed), 0.1)
    exact = single_latent(model, [drive * 0.1**2])
    log_odds = math.log(0.3 * (0.6 if signed else 1.2) / 0.7)
    mode = max(0.0, (abs(drive) if signed else drive) - 1.2) / 100

    def slab(s):  # relative to the value at the mode
        return math.exp(-50 * (s - mode) ** 2 + (100 * -mode + (abs(drive) if signed else drive) - 1.2) * (s - mode))

    top = -50 * mode**2 + ((abs(drive) if signed else drive) - 1.2) * mode
    width = min(2.0, 60 / max(1.0, 1.2 - drive)) if not signed and drive < 0 else 2.0
    mass = integrate.quad(slab, max(0.0, mode - 2), mode + width, points=[mode], epsrel=1e-11, limit=400)[0]
    if signed:  # the other side's slab adds 1/(lam + abs(drive)) at most
        other = math.exp(log_slab_mass((-abs(drive) - 1.2) / 10)) * math.sqrt(2 * math.pi) / 10
        log_weight = log_odds + np.logaddexp(top + math.log(mass), math.log(other))
    else:
        log_weight = log_odds + top + math.log(mass)
    assert exact.p_active[0] == pytest.approx(1 / (1 + math.exp(-log_weight)), rel=1e-7)
    assert np.isfinite([exact.mean[0], exact.sd[0], exact.residual_power]).all()


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
def test_one_latent_by_enumeration_too(prior):
    model = SparseCodingModel(np.array([[0.9], [-0.4]]), prior, 0.35)
    assert largest_difference(single_latent(model, [0.8, 0.1]), enumerate_supports(model, [0.8, 0.1])) < 1e-12


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
@pytest.mark.parametrize("cosine", [0.0, 0.7, -0.7, 0.97])
def test_two_latents_are_the_quadrature_of_their_energy(prior, cosine):
    A = np.array([[1.0, 1.3 * cosine], [0.0, 1.3 * math.sqrt(1 - cosine**2)], [0.0, 0.0]])
    model = SparseCodingModel(A, prior, 0.4)
    x = np.array([0.9, 0.3, 0.2])
    truth = brute_force(model, x)
    assert error_against(truth, enumerate_supports(model, x)) < 3e-4
    # Negative controls, each of which this tolerance must see.
    louder = SparseCodingModel(A, prior, 0.45)
    flipped = SparseCodingModel(A * [1, -1], prior, 0.4)
    assert error_against(truth, enumerate_supports(louder, x)) > 3e-3
    assert error_against(truth, enumerate_supports(flipped, x)) > 3e-3


@pytest.mark.parametrize("signed", [False, True])
def test_three_latents_are_the_quadrature_of_their_energy(signed):
    A = np.random.default_rng(3).standard_normal((5, 3)) / 2
    model = SparseCodingModel(A, SpikeSlab(0.35, 1.1, signed), 0.5)
    x = A @ [1.2, 0.0, -0.4 if signed else 0.6]
    assert error_against(brute_force(model, x, nodes=26, reach=6.0), enumerate_supports(model, x)) < 3e-4


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
def test_orthogonal_atoms_are_independent(prior):
    rng = np.random.default_rng(8)
    A = np.linalg.qr(rng.standard_normal((6, 4)))[0] * [1.0, 0.5, 2.0, 1.5]
    model = SparseCodingModel(A, prior, 0.4)
    x = model.draw(rng)[1]
    whole = enumerate_supports(model, x)
    singles = [single_latent(SparseCodingModel(A[:, [i]], prior, 0.4), x) for i in range(4)]
    for name in ("p_active", "mean", "sd"):
        np.testing.assert_allclose(getattr(whole, name), [getattr(s, name)[0] for s in singles], atol=2e-4)
    p = whole.p_active
    np.testing.assert_allclose(whole.coactive, np.outer(p, p) + np.diag(p - p**2), atol=1e-4)


def test_supports_add_up():
    model = SparseCodingModel(np.random.default_rng(3).standard_normal((5, 3)), SpikeSlab(0.35, 1.1), 0.5)
    exact = enumerate_supports(model, [1.0, 0.2, 0.0, -0.3, 0.5])
    assert sorted(exact.support) == list(range(8))
    assert sum(exact.support.values()) == pytest.approx(1)
    for i in range(3):
        assert sum(p for key, p in exact.support.items() if key >> i & 1) == pytest.approx(exact.p_active[i])
    assert (exact.ess_min, exact.rhat_max, exact.n_draws, exact.method) == (math.inf, 1.0, 0, "enumeration")
    assert not exact.p_active_mcse.any()
    assert not exact.coactive_mcse.any()


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_orthant_of_equally_correlated_normals(n):
    """Correlation 1/2: the orthant's probability is 1/(n+1), the chance that one of n+1 draws is the smallest."""
    cov = (np.eye(n) + 1) / 2
    moments = OrthantMoments(n).moments(np.linalg.inv(cov), np.zeros(n))
    truth = n / 2 * math.log(2 * math.pi) + np.linalg.slogdet(cov)[1] / 2 - math.log(n + 1)
    assert moments.log_z == pytest.approx(truth, abs=3e-4)
    assert moments.errors[0] < 1e-3


@pytest.mark.parametrize("pushed", [-2.0, -40.0, -3e3])
@pytest.mark.parametrize("n", [2, 4, 6])
def test_moments_satisfy_tallis_in_the_far_tails(n, pushed):
    """H E t = c + r and H E t t^T = I + c E t^T + B hold exactly, r and B being integrals over the faces."""
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n + 3, n)) / math.sqrt(n)
    H = A.T @ A / 0.09
    c = rng.standard_normal(n) * 8 + np.where(np.arange(n) % 2, pushed, 4.0)
    orthant = OrthantMoments(n)
    whole = orthant.moments(H, c)
    r, B = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        face = orthant.moments(np.delete(np.delete(H, i, 0), i, 1), np.delete(c, i))
        r[i] = math.exp(face.log_z - whole.log_z)
        B[i, np.arange(n) != i] = r[i] * face.first
    scale = np.abs(H) @ whole.first + np.abs(c) + r
    np.testing.assert_array_less(np.abs(H @ whole.first - c - r) / scale, 3e-4)
    residual = H @ whole.second - np.eye(n) - np.outer(c, whole.first) - B
    scale = np.abs(H) @ whole.second + np.eye(n) + np.outer(np.abs(c), whole.first) + B
    np.testing.assert_array_less(np.abs(residual) / scale, 1e-3)


def test_gaussian_posterior_is_the_stationary_point_and_the_curvature():
    rng = np.random.default_rng(4)
    model = SparseCodingModel(rng.standard_normal((5, 3)), Gaussian(0.6), 0.7)
    x = rng.standard_normal(5)
    mean, cov = gaussian_posterior(model, x)
    np.testing.assert_allclose(model.energy_grad(mean, x), 0, atol=1e-12)
    hessian = [model.energy_grad(mean + e, x) - model.energy_grad(mean, x) for e in np.eye(3)]
    np.testing.assert_allclose(hessian @ cov, np.eye(3), atol=1e-12)
    # Negative control: another sigma has another stationary point.
    other = SparseCodingModel(model.A, Gaussian(0.6), 0.8)
    assert np.abs(other.energy_grad(mean, x)).max() > 0.1


def test_prior_is_what_an_infinite_noise_leaves(prior):
    if not prior.conditionals:  # no closed form: refused, see test_slice
        return
    model = SparseCodingModel(np.eye(3), prior, 300.0)
    if prior.linear:
        mean, cov = gaussian_posterior(model, np.zeros(3))
        np.testing.assert_allclose([mean, np.sqrt(np.diag(cov))], [np.zeros(3), np.full(3, 0.6)], atol=1e-5)
        return
    pi, lam = prior.slab
    mean = 0.0 if prior.signed else pi / lam
    posterior = enumerate_supports(model, np.zeros(3))
    np.testing.assert_allclose(posterior.p_active, pi, atol=1e-3)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-3)
    np.testing.assert_allclose(posterior.sd, math.sqrt(2 * pi / lam**2 - mean**2), atol=1e-3)
    np.testing.assert_allclose(posterior.coactive, np.where(np.eye(3) == 1, pi, pi**2), atol=1e-3)
    np.testing.assert_allclose(posterior.p_negative, pi / 2 if prior.signed else 0.0, atol=1e-3)
    for key, probability in posterior.support.items():
        n = key.bit_count()
        assert probability == pytest.approx(pi**n * (1 - pi) ** (3 - n), abs=1e-4)


REFUSALS = [
    (
        lambda: enumerate_supports(SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5), np.zeros(16)),
        r"^enumerate_supports: A has rank 7 for 8 latents, so A_S\^T A_S is singular for the support of all of them and "
        r"no normal density has it as its precision \(the posterior is proper all the same: the prior bounds it\)\. "
        r"Use gibbs\.$",
    ),
    (
        lambda: enumerate_supports(SparseCodingModel(np.eye(2, 3) + 0.1, Laplace(1.0), 0.5), np.zeros(2)),
        r"^enumerate_supports: A has rank 2 for 3 latents",
    ),
    (
        lambda: enumerate_supports(SparseCodingModel(np.eye(12), SpikeSlab(0.3, 1.0), 0.5), np.zeros(12)),
        r"^enumerate_supports: 12 latents make 4096 patterns to sum over, and more than 2200 would take too long\. "
        r"Use gibbs\.$",
    ),
    (
        lambda: enumerate_supports(SparseCodingModel(np.eye(8), SpikeSlab(0.3, 1.0, True), 0.5), np.zeros(8)),
        r"^enumerate_supports: 8 latents make 6561 patterns",
    ),
    (
        lambda: enumerate_supports(
            SparseCodingModel(np.array([[1, 1, 0.3], [0, 1e-5, 0.2], [0, 0, 1]]), SpikeSlab(0.3, 1.0), 0.5), np.ones(3)
        ),
        r"^enumerate_supports: the weight of a support is known to a factor of 2 only, not to 1\.01: .* Use gibbs\.$",
    ),
    (
        lambda: enumerate_supports(
            SparseCodingModel(np.array([[1, 1, 0.3], [0, 3e-4, 0.2], [0, 0, 1]]), SpikeSlab(0.3, 1.0), 0.5), np.ones(3)
        ),
        r"^enumerate_supports: the moments are known to .* of the slab's scale only, not to 0\.003: .* Use gibbs\.$",
    ),
    (
        lambda: enumerate_supports(SparseCodingModel(np.eye(2), Gaussian(1.0), 0.5), np.zeros(2)),
        r"^enumerate_supports: a Gaussian prior has no supports to sum over\. Use gaussian_posterior\.$",
    ),
    (
        lambda: gaussian_posterior(SparseCodingModel(np.eye(2), Laplace(1.0), 0.5), np.zeros(2)),
        r"^gaussian_posterior: the prior is Laplace\(lam=1\.0, signed=True\), but this closed form holds for "
        r"Gaussian\(sd\) alone\. Use gibbs, or enumerate_supports for a few latents\.$",
    ),
    (
        lambda: single_latent(SparseCodingModel(np.eye(2), Laplace(1.0), 0.5), np.zeros(2)),
        r"^single_latent: the model has 2 latents, but this closed form holds for one\. "
        r"Use enumerate_supports or gibbs\.$",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_refusals_say_why_and_what_instead(call, message):
    with pytest.raises(ReferenceRefusedError, match=message):
        call()


@pytest.mark.parametrize("sigma", [0.2, 0.5])
@pytest.mark.parametrize("apart", 10.0 ** -np.arange(1.0, 6.1, 0.5))
def test_nearly_dependent_atoms_are_right_or_refused(sigma, apart):
    """The weight of a support whose integral failed is not small because it looks so: against a grid of one variable."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        a, d = rng.normal(size=(2, 3))
        a /= np.linalg.norm(a)
        model = SparseCodingModel(np.stack([a, a + apart * d], axis=1), SpikeSlab(pi=0.3, lam=1.0), sigma)
        x = model.A @ np.array([1.0, 0.5])
        try:
            p = enumerate_supports(model, x).p_active
        except ReferenceRefusedError:
            assert apart < 0.01
            continue
        G, c = model.gram, model.drive(x) - 1.0
        t = np.linspace(0.0, 40.0, 400_001)
        inner = [log_slab_mass(v) for v in (c[1] - G[0, 1] * t[::100]) / math.sqrt(G[1, 1])]
        exponent = -0.5 * G[0, 0] * t**2 + c[0] * t
        exponent += np.interp(t, t[::100], inner)
        both = 0.5 * math.log(2 * math.pi / G[1, 1]) + exponent.max()
        both += math.log(np.trapezoid(np.exp(exponent - exponent.max()), t))
        one = 0.5 * np.log(2 * math.pi / np.diag(G)) + [log_slab_mass(v) for v in c / np.sqrt(np.diag(G))]
        logs = np.array([0.0, *(one + math.log(0.3 / 0.7)), both + 2 * math.log(0.3 / 0.7)])
        weights = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
        np.testing.assert_allclose(p, weights[1:3] + weights[3], atol=3e-5)


def test_x_must_fit():
    with pytest.raises(InputError, match=r"^x has shape \(3,\)"):
        enumerate_supports(SparseCodingModel(np.eye(2), Laplace(1.0), 0.5), np.zeros(3))
