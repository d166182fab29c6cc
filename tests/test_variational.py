"""The bound of thresholded laws: against quadrature and differences; estimators against what they estimate; evidence."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from circuitlsc import Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.model.encoder import Heads
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import (
    best_law,
    elbo,
    elbo_gradients,
    estimate_gradients,
    kappa_of,
    law_of,
    log_evidence,
    log_joint,
    weigh,
)
from circuitlsc.reference.exact import enumerate_supports
from circuitlsc.reference.exact import log_evidence as exact_evidence

PRIORS = {"signed": SpikeSlab(0.3, 1.4, signed=True), "nonnegative": SpikeSlab(0.3, 1.4)}
BOTH = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def case(prior, n=3, D=5, K=4, seed=0):
    """Return a model, inputs and heads, all of them random."""
    rng = np.random.default_rng(seed)
    model = SparseCodingModel(rng.normal(size=(D, K)), prior, 0.7)
    return model, rng.normal(size=(n, D)), *rng.normal(size=(2, n, K)), rng.normal(size=(n, K))


def limit(n):
    """Return the largest of n standard normal numbers that passes: Bonferroni at 1 %."""
    return stats.norm.isf(0.01 / 2 / n)


def rule(mu, b, kappa, rectified):
    """Return nodes and weights of a thresholded Laplace law: 0, and Gauss-Legendre panels of its slab."""
    t, w = np.polynomial.legendre.leggauss(40)
    ends = sorted({mu, 0.0, *(mu + sign * far * b for sign in (-1, 1) for far in (1, 4, 10, 20, 45))})
    panels = [p for p in itertools.pairwise(ends) if p[0] >= 0 or not rectified]
    s = np.concatenate([lo + (t + 1) / 2 * (hi - lo) for lo, hi in panels])
    mass = np.concatenate([w / 2 * (hi - lo) for lo, hi in panels])
    mass *= np.exp(-kappa - np.abs(s - mu) / b) / (2 * b)
    return np.append(s, 0.0), np.append(mass, 1 - mass.sum())


@BOTH
def test_the_bound_is_the_quadrature_of_its_definition(prior):
    """E log p(x, s) - log q(s) over the law of two latents, with densities that are written down here."""
    model, X, mu, rho, eta = case(prior, K=2)
    kappa, b, signed = kappa_of(eta), np.exp(rho), prior.signed
    for i, found in enumerate(elbo(model, X, mu, rho, kappa)):
        nodes, masses = zip(*(rule(mu[i, k], b[i, k], kappa[i, k], not signed) for k in range(2)), strict=True)
        r = X[i] - np.stack(np.meshgrid(*nodes, indexing="ij"), -1) @ model.A.T
        noise = np.sum(stats.norm.logpdf(r, 0, model.sigma), -1)
        bound = np.sum(noise * np.multiply.outer(*masses))
        for k in range(2):
            slab = np.log(prior.pi * prior.lam / (2 if signed else 1)) - prior.lam * np.abs(nodes[k])
            own = -kappa[i, k] - np.log(2 * b[i, k]) - np.abs(nodes[k] - mu[i, k]) / b[i, k]
            gain = np.append((slab - own)[:-1], np.log((1 - prior.pi) / masses[k][-1]))
            bound += gain @ masses[k]
        assert found == pytest.approx(bound, abs=1e-9)
        # Negative control: half a percent of the noise is seen.
        assert elbo(replace(model, sigma=0.7035), X, mu, rho, kappa)[i] != pytest.approx(bound, abs=1e-4)


@BOTH
def test_the_bound_is_the_mean_over_draws(prior):
    model, X, mu, rho, eta = case(prior, n=1)
    law = law_of(model, mu[0], rho[0], kappa_of(eta[0]))
    s = law.draw(50_000, 1)
    gain = log_joint(model, X[0], s) - law.log_density(s).sum(1)
    bound = elbo(model, X, mu, rho, kappa_of(eta))[0]
    assert abs(gain.mean() - bound) < limit(1) * gain.std() / np.sqrt(len(s))
    assert (gain + law.log_density(s).sum(1) == log_joint(model, X[0], s)).any()


@BOTH
def test_gradients_are_finite_differences(prior):
    model, X, mu, rho, eta = case(prior)
    given = {"mu": mu, "rho": rho, "eta": eta, "A": model.A, "sigma": np.array(0.7), "pi": np.array(0.3)}

    def total(name, index, step):
        v = {key: np.array(value) for key, value in given.items()}
        v[name][index] += step
        moved = SparseCodingModel(v["A"], replace(prior, pi=float(v["pi"])), float(v["sigma"]))
        return elbo(moved, X, v["mu"], v["rho"], kappa_of(v["eta"])).sum()

    found = elbo_gradients(model, X, mu, rho, eta)
    np.testing.assert_allclose(found.value, elbo(model, X, mu, rho, kappa_of(eta)), rtol=1e-14)
    for name, value in given.items():
        numeric = np.empty(value.shape)
        for index in np.ndindex(value.shape):
            h = 1e-4  # Richardson: the differences' error is h^4
            one, two = (total(name, index, k * h) - total(name, index, -k * h) for k in (1, 2))
            numeric[index] = (8 * one - two) / (12 * h)
        np.testing.assert_allclose(getattr(found, name), numeric, rtol=1e-7, atol=1e-7, err_msg=name)
    # Negative control: with the atoms' powers left out, nothing would fit.
    assert np.abs(found.rho - elbo_gradients(replace(model, A=model.A * 1.001), X, mu, rho, eta).rho).max() > 1e-4


@BOTH
def test_a_threshold_that_is_not_learned_moves_with_the_scale(prior):
    model, X, mu, rho, _ = case(prior)
    lam, alpha, beta, h = 0.6, 2.3, 4.0, 1e-5
    held = lambda rho: lam * np.exp(-rho)  # noqa: E731
    drawn = lambda rho: alpha * np.log1p(np.exp(-rho) / beta)  # noqa: E731
    for kappa, slope in ((held, -held(rho)), (drawn, -alpha / (1 + np.exp(rho) * beta))):
        found = elbo_gradients(model, X, mu, rho, kappa=kappa(rho), slope=slope)
        for i, k in np.ndindex(rho.shape):
            up, down = rho.copy(), rho.copy()
            up[i, k] += h
            down[i, k] -= h
            numeric = (elbo(model, X, mu, up, kappa(up)) - elbo(model, X, mu, down, kappa(down)))[i] / (2 * h)
            assert found.rho[i, k] == pytest.approx(numeric, rel=1e-7, abs=1e-7)
        assert np.abs(elbo_gradients(model, X, mu, rho, kappa=kappa(rho)).rho - found.rho).max() > 0.1  # control


def data_term(model, X, mu, rho, kappa, slope):
    """Return the exact gradients in mu, rho and kappa without the divergence's."""
    g = elbo_gradients(model, X, mu, rho, kappa=kappa, slope=slope)
    kl = law_of(model, mu, rho, kappa).slopes(*model.prior.slab).kl
    return g.mu + kl[0], g.rho + kl[1] + slope * kl[2], g.kappa + kl[2]


def averages(model, x, mu, rho, kappa):
    """Return what the averaged estimators estimate of the data term, lam held, as the design has it in closed form."""
    b, g, a2, s2 = np.exp(rho), np.exp(-kappa), model.powers, model.variance
    e = (x - (g * mu) @ model.A.T) @ model.A / s2
    narrower = -a2 / s2 * g * (2 * b**2 + kappa * b * b)
    exact = g * kappa * mu * e - a2 / (2 * s2) * (4 * g * b**2 + g * kappa * (2 * b**2 + mu**2 - 2 * g * mu**2))
    true_mu = g * e - a2 / s2 * g * (1 - g) * mu
    by_kappa = a2 / s2 * g * b**2
    return {
        "true": (true_mu, exact),
        "straight-through": (e, narrower, by_kappa),
        "pathwise": (true_mu, narrower, by_kappa),
    }


@pytest.mark.parametrize("estimator", ["straight-through", "pathwise"])
def test_averaged_estimators_estimate_their_closed_forms(estimator):
    """100,000 times four draws."""
    model, X, mu, rho, _ = case(PRIORS["signed"], n=1, D=4, K=3)
    rho = rho - 0.5
    kappa, n = 0.6 * np.exp(-rho), 100_000
    many = [np.repeat(v, n, 0) for v in (X, mu, rho, kappa)]
    g = estimate_gradients(model, *many, estimator=estimator, draws=4, rng=1, slope=-many[3])
    base = ThresholdedLaplace(mu, np.exp(rho), kappa).kl_base_slopes(1.4)[:, 0]
    found = g.mu + base[0], g.rho + base[1], g.kappa
    known = averages(model, X[0], mu[0], rho[0], kappa[0])

    def z(truth):
        return np.abs([(f.mean(0) - t) / f.std(0) * np.sqrt(n) for f, t in zip(found, truth, strict=True)])

    assert z(known[estimator]).max() < limit(9)
    exact = data_term(model, X, mu, rho, kappa, -kappa)
    for closed, gradient in zip(known["true"], exact, strict=False):
        np.testing.assert_allclose(closed, gradient[0], rtol=1e-10)
    z_exact = z([v[0] for v in exact])
    assert z_exact[1].max() > 10  # the threshold's crossings are missed
    if estimator == "pathwise":
        assert z_exact[0].max() < limit(3)
        assert z(known["straight-through"])[0].max() > 10  # control: the other one's does not fit
    else:
        assert z_exact[0].max() > 10
    # those of the model have no bias: batches of 500 inputs
    law = ThresholdedLaplace(mu, np.exp(rho), kappa)
    exact = elbo_gradients(model, X, mu, rho, kappa=kappa)
    few = [v[:500] for v in many]
    batches = [estimate_gradients(model, *few, estimator=estimator, draws=4, rng=k) for k in range(100, 140)]
    of_model = np.array([[*b.A.ravel(), b.sigma] for b in batches]) / 500
    off = of_model.mean(0) - [*exact.A.ravel(), exact.sigma]
    assert np.max(np.abs(off) / of_model.std(0, ddof=1) * np.sqrt(40)) < stats.t.isf(0.01 / 2 / 13, 39)
    bound = exact.value[0] + law.kl(*model.prior.slab).sum() - law.kl_base(1.4).sum()
    assert abs(g.value.mean() - bound) < limit(1) * g.value.std() / np.sqrt(n)


def test_of_rectified_codes_pathwise_is_exact_where_no_threshold_is_crossed():
    """In mu, and in rho with kappa held: codes move without a jump. Straight-through is wrong in both."""
    model, X, mu, rho, eta = case(PRIORS["nonnegative"], n=1, D=4, K=3)
    n = 100_000
    many = [np.repeat(v, n, 0) for v in (X, mu, rho, kappa_of(eta))]
    exact = data_term(model, X, mu, rho, kappa_of(eta), 0.0)
    base = ThresholdedLaplace(mu, np.exp(rho), kappa_of(eta)).kl_base_slopes(1.4)[:, 0]

    def z(estimator):
        g = estimate_gradients(model, *many, estimator=estimator, draws=1, rng=2)
        pairs = ((g.mu + base[0], exact[0]), (g.rho + base[1], exact[1]))
        return np.abs([(f.mean(0) - t[0]) / f.std(0) * np.sqrt(n) for f, t in pairs])

    assert z("pathwise").max() < limit(6)
    assert z("straight-through").max(1).min() > limit(6) + 3


def test_averaged_straight_through_never_says_switch_on_and_the_best_of_twenty_does():
    """A needed atom that is rarely active: more scale, and hence more activity, is better.

    The best of J says so while the shift falls short of the data; where it is there already, the best draw fits, pulls at
    nothing, and twenty are not enough.
    """
    model = SparseCodingModel(bars(2), PRIORS["signed"], 0.3)
    x, n = 1.2 * model.A[:, 0], 3000
    rho, kappa = np.full((1, 4), -1.0), np.full((1, 4), 2.0)  # P = .14
    found = {}
    for shift in (0.4, 1.0):
        mu = np.array([[shift, 0.0, 0.0, 0.0]])
        assert data_term(model, x[None], mu, rho, kappa, -kappa)[1][0, 0] > 0.3
        assert averages(model, x, mu[0], rho[0], kappa[0])["straight-through"][1][0] < -0.5
        base = ThresholdedLaplace(mu, np.exp(rho), kappa).kl_base_slopes(1.4)[1, 0, 0]
        many = [np.repeat(v, n, 0) for v in (x[None], mu, rho, kappa)]
        for reduce, draws in (("average", 20), ("max", 1), ("max", 20)):
            g = estimate_gradients(model, *many, reduce=reduce, draws=draws, rng=3, slope=-many[3]).rho[:, 0] + base
            found[shift, reduce, draws] = g.mean() / g.std() * np.sqrt(n)
    for shift in (0.4, 1.0):
        assert found[shift, "average", 20] < -limit(6)
        assert found[shift, "max", 1] < -limit(6)  # nothing to choose from
    assert found[0.4, "max", 20] > limit(6)
    assert found[1.0, "max", 20] < -limit(6)


def test_thresholds_of_each_draw():
    """One for each draw gives the same estimate as one for all, if they are equal; and a threshold from Gamma does not."""
    model, X, mu, rho, _ = case(PRIORS["signed"])
    kappa = 0.6 * np.exp(-rho)
    one = estimate_gradients(model, X, mu, rho, kappa, draws=5, rng=4, slope=-kappa)
    each = np.repeat(kappa[None], 5, 0)
    same = estimate_gradients(model, X, mu, rho, each, draws=5, rng=4, slope=-each)
    np.testing.assert_array_equal(one.rho, same.rho)
    np.testing.assert_array_equal(one.eta, same.eta)
    np.testing.assert_allclose(one.eta, one.kappa * np.expm1(-kappa), rtol=1e-12)
    other = np.random.default_rng(5).gamma(2.0, 0.3, each.shape)
    assert not np.allclose(one.rho, estimate_gradients(model, X, mu, rho, other, draws=5, rng=4, slope=-other).rho)
    with pytest.raises(InputError, match="there are 4 draws"):
        estimate_gradients(model, X, mu, rho, each, draws=4, rng=4)


def bars_case(prior, seed):
    """Return a model of bars that is enumerated fast, an input, and its best law."""
    model = SparseCodingModel(bars(3)[:, : 3 if prior.signed else 5], prior, 0.5)
    x = model.draw(seed)[1]
    return model, x, best(model, tuple(x))


@cache
def best(model, x):
    return best_law(model, x)


@cache
def truth(model, x):
    """Return log p(x), and the posterior's statistics by name."""
    exact = enumerate_supports(model, x)
    second = exact.mean**2 + exact.sd**2
    return exact_evidence(model, x), dict(p_active=exact.p_active, mean=exact.mean, sd=exact.sd, second_moment=second)


def heads_bound(model, x, heads):
    return float(elbo(model, x[None], *(v[None] for v in heads))[0])


@BOTH
def test_the_best_law_is_an_optimum_below_the_evidence(prior):
    model, x, best = bars_case(prior, 1)
    bound, log_p = heads_bound(model, x, best), truth(model, tuple(x))[0]
    assert log_p - 0.3 < bound < log_p
    g = elbo_gradients(model, x[None], best.mu[None], best.rho[None], kappa=best.kappa[None])
    assert max(np.abs(v).max() for v in (g.mu, g.rho, g.eta)) < 1e-3
    rng, K = np.random.default_rng(2), model.n_latents
    for _ in range(20):  # nothing around it is better
        near = Heads(
            *(v + 0.1 * rng.standard_normal(K) for v in best[:2]), best.kappa * np.exp(0.1 * rng.standard_normal(K))
        )
        assert heads_bound(model, x, near) < bound + 1e-6
    assert heads_bound(model, x, best_law(model, x, best, starts=1)) >= bound - 1e-9
    # in another unit of the codes it is the same law
    tenth = SparseCodingModel(model.A / 10, replace(prior, lam=prior.lam / 10), 0.5)
    assert heads_bound(tenth, x, best_law(tenth, x)) == pytest.approx(bound, abs=1e-4)


def z_of(evidence, model, x):
    log_p, exact = truth(model, tuple(x))
    found = [[(evidence.log_p - log_p) / evidence.se]]
    found += [(getattr(evidence, name) - value) / getattr(evidence, f"{name}_se") for name, value in exact.items()]
    return np.abs(np.concatenate(found))


@BOTH
def test_weighted_draws_are_the_exact_posterior(prior):
    for seed in (1, 2):
        model, x, best = bars_case(prior, seed)
        found = log_evidence(model, x, best, n=30_000, rng=seed)
        z = z_of(found, model, x)
        assert z.max() < limit(2 * len(z))
        assert found.se < 0.01
        assert 0.3 < found.ess_share < 1
        # Negative control: they are not the posterior of another prior, nor is the law itself this one's.
        assert z_of(found, replace(model, prior=replace(prior, pi=0.35)), x).max() > 5
        assert heads_bound(model, x, best) < found.log_p - 5 * found.se


@BOTH
def test_a_law_that_misses_the_posterior_is_defended_by_the_prior(prior):
    """Much too narrow, almost never active, and of the wrong sign: the proposal is wider, and still has no bias."""
    model, x, best = bars_case(prior, 1)
    for wrong in (Heads(best.mu, best.rho - 8, best.kappa), Heads(-np.abs(best.mu) * 0.2, best.rho, best.kappa + 9)):
        z = z_of(log_evidence(model, x, wrong, n=30_000, rng=3), model, x)
        assert z.max() < limit(2 * len(z))
    # of a law that is never active, the prior's draws alone would give half as many effective ones
    never = log_evidence(model, x, Heads(best.mu, best.rho, best.kappa + 12), n=30_000, rng=1)
    assert never.ess_share > (0.23 if prior.signed else 0.15)


def test_errors_of_weighted_draws_are_as_large_as_they_say():
    """Over 200 sets of draws: neither too small nor too large."""
    model = bars_case(PRIORS["signed"], 1)[0]
    x = 1.4 * model.A[:, 0]  # a latent that is active more often than not
    log_p, exact = truth(model, tuple(x))
    assert exact["p_active"][0] > 0.6
    sets = [log_evidence(model, x, best(model, tuple(x)), n=2000, rng=seed) for seed in range(200)]
    z = [np.array([(e.log_p - log_p) / e.se for e in sets])]
    for name, value in exact.items():
        z += list(np.array([(getattr(e, name) - value) / getattr(e, f"{name}_se") for e in sets]).T)
    spread = np.std(z, axis=1)
    low, high = np.sqrt(stats.chi2.ppf([0.005 / len(z), 1 - 0.005 / len(z)], 199) / 199)
    # draws of these sizes are not quite normal: 5 % more either way
    assert low * 0.95 < spread.min()
    assert spread.max() < high * 1.05


def test_a_rectified_law_whose_shift_is_below_zero_is_one_that_begins_there():
    """s > 0 has the density of an exponential in both; their draws and weights are the same."""
    model, x, _ = bars_case(PRIORS["nonnegative"], 1)
    rho, kappa = np.full(5, -0.5), np.full(5, 0.7)
    below = log_evidence(model, x, Heads(-9 * np.exp(rho), rho, kappa), n=2000, rng=1)
    at = log_evidence(model, x, Heads(np.zeros(5), rho, kappa + 9), n=2000, rng=1)
    assert below.log_p == pytest.approx(at.log_p, abs=1e-12)
    np.testing.assert_allclose(below.mean, at.mean, rtol=1e-12)
    s = np.array([0.0, 0.2, 1.0])
    one, other = (ThresholdedLaplace(m, 0.5, k, True) for m, k in ((-0.2, 0.7), (0.0, 1.1)))
    np.testing.assert_allclose(one.log_density(s), other.log_density(s), rtol=1e-14)


def test_without_a_spike():
    model = SparseCodingModel(bars(2)[:, :3], Laplace(1.4), 0.5)
    x = model.draw(0)[1]
    best = best_law(model, x)
    assert (best.kappa == 0).all()
    found = log_evidence(model, x, best, n=30_000, rng=1)
    log_p, exact = truth(model, tuple(x))
    assert abs(found.log_p - log_p) < limit(7) * found.se
    for name in ("mean", "sd"):
        assert (np.abs(getattr(found, name) - exact[name]) < limit(7) * getattr(found, name + "_se")).all()
    assert heads_bound(model, x, best) < found.log_p
    np.testing.assert_allclose(found.p_active, 1.0, rtol=1e-12)
    law = [v[None] for v in best]
    assert np.abs(elbo_gradients(model, x[None], *law[:2], kappa=law[2]).mu).max() < 1e-3
    assert elbo(model, x[None], *law[:2], law[2] + 0.1)[0] == -np.inf


def test_evidence_is_refused_where_the_weights_say_nothing():
    rng = np.random.default_rng(0)
    model = SparseCodingModel(rng.normal(size=(12, 8)), PRIORS["signed"], 0.01)
    x = model.A @ np.array([1.0, -1.5, 2.0, 0.0, 0.7, 0.0, -0.6, 0.0])
    far = Heads(np.full(8, -3.0), np.full(8, -1.0), np.full(8, 0.2))
    with pytest.raises(ReferenceRefusedError, match="are effective, less than 1 %") as caught:
        log_evidence(model, x, far, n=5000, rng=1)
    assert "\n" not in str(caught.value)
    assert log_evidence(model, x, best_law(model, x), n=5000, rng=1).ess_share > 0.01
    # the stated share is the limit: 1/n of a weight that is alone, 12 of 1000 that are equal
    s = np.zeros((1000, 2))
    with pytest.raises(ReferenceRefusedError):
        weigh(np.where(np.arange(1000) < 9, 0.0, -np.inf), s)
    assert weigh(np.where(np.arange(1000) < 12, 0.0, -np.inf), s).ess_share == pytest.approx(0.012)
    with pytest.raises(ReferenceRefusedError):
        weigh(np.full(1000, -np.inf), s)


MODEL, ROWS, MU, RHO, ETA = case(PRIORS["signed"])
HEADS = Heads(MU[0], RHO[0], kappa_of(ETA[0]))
NORMAL = SparseCodingModel(MODEL.A, Gaussian(0.6), 0.7)
EXPONENTIAL = SparseCodingModel(MODEL.A, Laplace(1.4, signed=False), 0.7)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: elbo(NORMAL, ROWS, MU, RHO, ETA**2), "has no exponential slab"),
        (lambda: best_law(NORMAL, ROWS[0]), "has no exponential slab"),
        (lambda: log_evidence(NORMAL, ROWS[0], HEADS, rng=1), "has no exponential slab"),
        (lambda: estimate_gradients(NORMAL, ROWS, MU, RHO, ETA**2, rng=1), "has no exponential slab"),
        (lambda: elbo(MODEL.A, ROWS, MU, RHO, ETA**2), "model is a ndarray"),
        (lambda: elbo(MODEL, ROWS[:, :2], MU, RHO, ETA**2), "n_features = 5"),
        (lambda: elbo(MODEL, ROWS, MU[:2], RHO[:2], ETA[:2] ** 2), "need \\(3, 4\\)"),
        (lambda: elbo(MODEL, ROWS, MU, RHO + 300, ETA**2), "within \\+-200"),
        (lambda: elbo(MODEL, ROWS, MU, RHO, -(ETA**2)), "kappa has an entry"),
        (lambda: elbo(MODEL, ROWS, MU * np.nan, RHO, ETA**2), "must be finite"),
        (lambda: elbo_gradients(MODEL, ROWS, MU, RHO), "one of them"),
        (lambda: elbo_gradients(MODEL, ROWS, MU, RHO, ETA, kappa=ETA**2), "one of them"),
        (lambda: elbo_gradients(EXPONENTIAL, ROWS, MU, RHO, ETA), "no spike"),
        (lambda: best_law(EXPONENTIAL, ROWS[0]), "no spike"),
        (lambda: best_law(MODEL, ROWS[0], starts=0), "starts = 0"),
        (lambda: best_law(MODEL, ROWS[0], Heads(MU[0, :2], RHO[0, :2], ETA[0, :2] ** 2)), "need \\(1, 4\\)"),
        (lambda: estimate_gradients(MODEL, ROWS, MU, RHO, ETA**2, draws=0, rng=1), "draws = 0"),
        (
            lambda: estimate_gradients(MODEL, ROWS, MU, RHO, ETA**2, estimator="ste", rng=1),
            '"straight-through", "pathwise"',
        ),
        (lambda: estimate_gradients(MODEL, ROWS, MU, RHO, ETA**2, reduce="min", rng=1), '"average", "max"'),
        (lambda: estimate_gradients(MODEL, ROWS, MU, RHO, ETA**2, rng=-1), "neither"),
        (lambda: log_evidence(MODEL, ROWS[0], HEADS, n=10, rng=1), "n = 10"),
        (lambda: weigh(np.zeros(5), np.zeros((5, 2))), "n >= 1000"),
        (lambda: weigh(np.full(1000, np.nan), np.zeros((1000, 2))), "without NaN"),
    ],
)
def test_refusals(ask, said):
    with pytest.raises(InputError, match=said) as caught:
        ask()
    assert "\n" not in str(caught.value)
