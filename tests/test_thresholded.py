"""Thresholded laws: closed forms against quadrature of their densities, draws against closed forms."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from circuitlsc import InputError
from circuitlsc.model.thresholded import ThresholdedGaussian, ThresholdedLaplace

MOST = {ThresholdedLaplace: 50.0, ThresholdedGaussian: 8.0}
PI, LAM = 0.3, 1.4


def slab_density(law):
    """Return the density of a law at s != 0, written down from its noise: nothing of the module's."""
    mu, scale, threshold = (
        (law.mu, law.b, law.kappa) if isinstance(law, ThresholdedLaplace) else (law.mu, law.scale, law.threshold)
    )
    noise = stats.laplace if isinstance(law, ThresholdedLaplace) else stats.norm

    def log_density(s):
        return float(noise.logpdf(threshold + abs(s - mu) / scale) - np.log(scale))

    return log_density, float(mu), float(scale), float(2 * noise.sf(threshold))


def by_quadrature(law):
    """Return P(s != 0), P(s < 0), E s, E s^2, Var s and the divergence from the prior, integrated panel by panel."""
    log_density, mu, scale, on = slab_density(law)
    ends = {mu, 0.0, *(mu + sign * far * scale for sign in (-1, 1) for far in (0.01, 0.1, 1, 4, 12, 45))}
    panels = list(itertools.pairwise(sorted(end for end in ends if end >= 0 or not law.rectified)))

    def integral(f, where=lambda s: True):
        return sum(
            integrate.quad(lambda s: f(s) * np.exp(log_density(s)), *panel, epsabs=1e-14, epsrel=1e-12)[0]
            for panel in panels
            if where(sum(panel))
        )

    active = integral(lambda s: 1.0)
    zero = 1 - active
    if not law.rectified:
        assert active == pytest.approx(on, rel=1e-11)
    mean = integral(lambda s: s)
    rate = np.log(PI * (LAM if law.rectified else LAM / 2))
    kl = integral(lambda s: log_density(s) - rate + LAM * abs(s))
    kl += zero * np.log(zero / (1 - PI)) if zero > 1e-15 else 0.0
    return {
        "p_active": active,
        "p_negative": integral(lambda s: 1.0, where=lambda s: s < 0),
        "mean": mean,
        "second_moment": integral(lambda s: s**2),
        "variance": integral(lambda s: (s - mean) ** 2) + zero * mean**2,
        "kl": kl,
    }


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("family", [ThresholdedLaplace, ThresholdedGaussian])
def test_closed_forms_are_the_quadrature_of_the_density(family, rectified):
    for mu, scale, threshold in [
        (0.7, 0.3, 0.4), (-0.4, 0.3, 1.1), (0.0, 1.3, 0.2), (2.0, 0.05, 2.5), (-2.0, 1.0, 0.01), (0.3, 4.0, 3.0),
        (1e-3, 0.5, 1e-12),
    ]:  # fmt: skip
        law = family(mu, scale, threshold, rectified)
        truth = by_quadrature(law)
        for name, value in truth.items():
            found = law.kl(PI, LAM) if name == "kl" else getattr(law, name)
            assert float(found) == pytest.approx(value, rel=1e-9, abs=1e-12), (name, law)
        # Negative control: another threshold or scale is told apart.
        for other in (
            family(mu, scale, threshold * 1.01 + 1e-4, rectified),
            family(mu, scale * 1.001, threshold, rectified),
        ):
            assert float(other.kl(PI, LAM)) != pytest.approx(truth["kl"], rel=1e-9, abs=1e-12)
            assert float(other.second_moment) != pytest.approx(truth["second_moment"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("family", [ThresholdedLaplace, ThresholdedGaussian])
def test_the_distribution_function_is_the_integral_of_the_density(family, rectified):
    law = family(0.4, 0.3, 0.6, rectified)
    log_density, *_ = slab_density(law)
    low = 0.0 if rectified else -15.0
    for s in (-0.7, -0.1, 0.0, 0.2, 0.4, 0.9):
        below = 0.0 if s < low else sum(
            integrate.quad(lambda t: np.exp(log_density(t)), a, b, epsabs=1e-13)[0]
            for a, b in itertools.pairwise(sorted({low, min(0.4, s), s}))
        )  # fmt: skip
        assert float(law.distribution(s)) == pytest.approx(below + (s >= 0) * float(law.p_zero), abs=1e-9)
    assert float(law.distribution(40.0)) == pytest.approx(1.0, abs=1e-12)
    assert float(law.log_density(0.3)) == pytest.approx(log_density(0.3), abs=1e-12)
    assert float(law.log_density(0.0)) == pytest.approx(np.log(float(law.p_zero)), abs=1e-12)
    below_zero = float(law.log_density(-0.3))
    assert below_zero == -np.inf if rectified else below_zero == pytest.approx(log_density(-0.3), abs=1e-12)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("family", [ThresholdedLaplace, ThresholdedGaussian])
def test_draws_of_the_map_have_the_closed_forms(family, rectified):
    n = 100_000
    mu, scale = np.array([0.7, -0.2, 1.5, 0.0, -0.6]), np.array([0.3, 0.5, 0.1, 1.0, 0.4])
    law = family(mu, scale, np.array([1.2, 0.4, 0.02, 2.5, 0.7]), rectified)
    s = law.draw(n, 1)
    assert s.shape == (n, 5)
    limit = stats.norm.isf(0.01 / 2 / (4 * 5))  # Bonferroni at 1 %

    def largest(law):
        p, q = law.p_active, law.p_negative
        pairs = [(s != 0, p, p * (1 - p)), (s < 0, q, q * (1 - q)), (s, law.mean, law.variance)]
        pairs.append((s**2, law.second_moment, (s**2).var(0)))
        return max(float(np.max(np.abs(f.mean(0) - m) / np.sqrt(np.maximum(v, 1e-12) / n))) for f, m, v in pairs)

    assert largest(law) < limit
    wrong = family(mu, scale * 1.05, law.kappa if family is ThresholdedLaplace else law.threshold, rectified)
    assert largest(wrong) > limit
    # the whole slab, not its moments alone
    k = 0
    on = np.sort(s[s[:, k] != 0, k])
    zero = float(law.p_zero[k])
    below = np.asarray(family(0.7, scale[k], 1.2, rectified).distribution(on)) - zero * (on >= 0)
    assert stats.kstest(below / (1 - zero), "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(s, law.code(np.random.default_rng(1).laplace(0, 1, s.shape)
                                              if family is ThresholdedLaplace
                                              else np.random.default_rng(1).standard_normal(s.shape)))  # fmt: skip


def test_a_threshold_drawn_from_gamma_is_one_of_the_family():
    n, mu, b, alpha, beta = 200_000, 0.7, 0.3, 2.3, 4.0
    law = ThresholdedLaplace.gamma(mu, b, alpha, beta)
    rng = np.random.default_rng(2)
    s = ThresholdedLaplace.fixed(np.full(n, mu), b, rng.gamma(alpha, 1 / beta, n)).code(rng.laplace(0, 1, n))
    assert float(law.p_active) == pytest.approx((1 + 1 / (b * beta)) ** -alpha, rel=1e-14)
    # it is the mean over the threshold's law
    mixed = integrate.quad(lambda lam: stats.gamma.pdf(lam, alpha, scale=1 / beta) * np.exp(-lam / b), 0, np.inf)[0]
    assert float(law.p_active) == pytest.approx(mixed, rel=1e-9)
    limit = stats.norm.isf(0.01 / 2 / 3)
    z = [
        (f.mean() - float(value)) / f.std() * np.sqrt(n)
        for f, value in ((s != 0, law.p_active), (s, law.mean), (s**2, law.second_moment))
    ]
    assert np.max(np.abs(z)) < limit
    # Negative control: the mean threshold, held, makes another law.
    held = ThresholdedLaplace.fixed(mu, b, alpha / beta)
    assert abs((s != 0).mean() - float(held.p_active)) * np.sqrt(n) > 10


def test_the_published_bound_is_above_the_divergence_of_the_law():
    rng = np.random.default_rng(3)
    n = 20_000
    mu, b, lam = rng.normal(size=n), np.exp(rng.normal(size=n)), rng.exponential(size=n)
    law, rectified = (ThresholdedLaplace.fixed(mu, b, lam, rectified=r) for r in (False, True))
    base = law.kl_base(LAM)
    # of the prior, the same threshold in model units: one pi for each law
    kl, kl_rectified = (
        np.array([float(ThresholdedLaplace(m, s, k, r).kl(p * (0.5 if r else 1), LAM))
                  for m, s, k, p in zip(mu[:500], b[:500], law.kappa[:500], np.exp(-LAM * lam[:500]), strict=True)])
        for r in (False, True)
    )  # fmt: skip
    assert (base[:500] - kl).min() > -1e-12
    assert (kl - kl_rectified).min() > -1e-12  # what is rectified has lost a sign
    np.testing.assert_array_equal(base, rectified.kl_base(LAM))
    # it is what quadrature says of two Laplace densities
    for m, b in ((0.7, 0.3), (-1.1, 2.0)):
        one, prior = stats.laplace(m, b), stats.laplace(0, 1 / LAM)

        def integrand(s, one=one, prior=prior):
            return one.pdf(s) * (one.logpdf(s) - prior.logpdf(s))

        panels = itertools.pairwise(sorted((m - 45 * b, m - 4 * b, 0.0, m, m + 4 * b, m + 45 * b)))
        truth = sum(integrate.quad(integrand, *panel, epsabs=1e-13)[0] for panel in panels)
        assert float(ThresholdedLaplace(m, b, 1.0).kl_base(LAM)) == pytest.approx(truth, abs=1e-9)
    # Negative control: another threshold in the prior, and it bounds nothing.
    assert (base - law.kl(1e-3, LAM)).min() < -0.1


def test_slopes_are_finite_differences():
    rng = np.random.default_rng(4)
    mu, rho, kappa = rng.normal(size=30), rng.normal(size=30), rng.exponential(size=30) + 0.05
    point, h = np.stack([mu, rho, kappa]), 1e-5
    for rectified in (False, True):

        def law(p, rectified=rectified):
            return ThresholdedLaplace(p[0], np.exp(p[1]), p[2], rectified)

        slopes = law(point).slopes(PI, LAM)
        base = law(point).kl_base_slopes(LAM)
        for i in range(3):
            up, down = point.copy(), point.copy()
            up[i] += h
            down[i] -= h
            for name, f in (
                ("mean", lambda p: law(p).mean),
                ("variance", lambda p: law(p).variance),
                ("kl", lambda p: law(p).kl(PI, LAM)),
            ):
                np.testing.assert_allclose(
                    getattr(slopes, name)[i], (f(up) - f(down)) / (2 * h), rtol=1e-7, atol=1e-7, err_msg=f"{name} {i}"
                )
            if i < 2:
                numeric = (law(up).kl_base(LAM) - law(down).kl_base(LAM)) / (2 * h)
                np.testing.assert_allclose(base[i], numeric, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("family", [ThresholdedLaplace, ThresholdedGaussian])
def test_extremes_are_finite_and_keep_their_digits(family, rectified):
    grid = np.array(
        list(itertools.product((-1e8, -3.0, 0.0, 1e-9, 3.0, 1e8), (1e-9, 1.0, 1e9), (0.0, 1e-12, 1.0, 50.0)))
    )
    law = family(*grid.T, rectified)
    for name in ("p_active", "p_zero", "p_negative", "mean", "second_moment", "variance", "sd", "mean_size"):
        assert np.isfinite(getattr(law, name)).all(), name
    assert (law.variance >= 0).all()
    np.testing.assert_allclose(law.p_active + law.p_zero, 1.0, rtol=1e-15)
    assert np.isfinite(law.kl(PI, LAM)).all()
    assert (law.kl(PI, LAM) > -1e-9).all()
    assert not np.isnan(law.log_density(grid[:, 0] + 0.1)).any()
    assert not np.isnan(law.distribution(grid[:, 0] + 0.1)).any()
    # a shift of 1e9 scales: E s^2 - (E s)^2 has no digit left of the slab's width
    far = family(1e9, 1.0, 0.0, rectified)
    assert float(far.variance) == pytest.approx(2.0 if family is ThresholdedLaplace else 1.0, rel=1e-12)
    # a threshold that is almost always, or almost never, passed
    rare, sure = family(0.5, 0.3, MOST[family], rectified), family(0.5, 0.3, 1e-12, rectified)
    power = 2.0 if family is ThresholdedLaplace else 1 - 8 * (stats.norm.pdf(8) / stats.norm.sf(8) - 8)
    if not rectified:
        assert float(rare.variance / rare.p_active) == pytest.approx(0.25 + 0.09 * power, rel=1e-9)
        rate = 1.0 if family is ThresholdedLaplace else 2 * stats.norm.pdf(0)
        assert float(sure.p_zero) == pytest.approx(1e-12 * rate, rel=1e-9)


def test_the_slopes_at_extremes_are_finite():
    grid = np.array(
        list(itertools.product((-1e6, -3.0, 0.0, 3.0, 1e6), (1e-6, 1.0, 1e6), (1e-300, 1e-12, 1.0, 50.0, 700.0)))
    )
    for rectified in (False, True):
        assert all(np.isfinite(v).all() for v in ThresholdedLaplace(*grid.T, rectified).slopes(PI, LAM))


def test_a_prior_without_a_spike():
    law = ThresholdedLaplace(np.array([0.4, -1.0]), np.array([0.3, 0.5]), np.zeros(2))
    np.testing.assert_allclose(law.kl(1.0, LAM), law.kl_base(LAM), rtol=1e-12)
    assert (law.slopes(1.0, LAM).kl[2] == 0).all()
    assert ThresholdedLaplace(0.4, 0.3, 0.1).kl(1.0, LAM) == np.inf
    for wrong in (ThresholdedLaplace(0.4, 0.3, 0.1), ThresholdedLaplace(0.4, 0.3, 0.0, True)):
        with pytest.raises(InputError, match="no spike"):
            wrong.slopes(1.0, LAM)
    with pytest.raises(InputError, match="kappa > 0"):
        law.slopes(PI, LAM)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ThresholdedLaplace([0.0, 1.0], [1.0], [0.5]), "shapes differ"),
        (lambda: ThresholdedLaplace([0.0], [0.0], [0.5]), "b has an entry 0, which is out of range"),
        (lambda: ThresholdedLaplace([0.0], [-1.0], [0.5]), "b has an entry -1"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [-1e-9]), "kappa has an entry -1e-09"),
        (lambda: ThresholdedLaplace([np.nan], [1.0], [0.5]), "must be finite"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [np.inf]), "must be finite"),
        (lambda: ThresholdedLaplace(["a"], [1.0], [0.5]), "real numbers are needed"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [0.5], "yes"), "not True or False"),
        (lambda: ThresholdedGaussian([0.0], [0.0], [0.5]), "ThresholdedGaussian: scale"),
        (lambda: ThresholdedGaussian([0.0], [1.0], [-0.5]), "threshold has an entry -0.5"),
        (lambda: ThresholdedLaplace.gamma(0.0, 1.0, 0.0, 1.0), "a shape must be positive"),
        (lambda: ThresholdedLaplace.gamma(0.0, 0.0, 1.0, 1.0), "b has an entry that is not > 0"),
        (lambda: ThresholdedLaplace.fixed(0.0, 0.0, 1.0), "b has an entry that is not > 0"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [0.5]).kl(1.2, 1.0), "P\\(active\\) is in"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [0.5]).kl(0.2, 0.0), "a rate must be positive"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [0.5]).draw(0, 1), "draw: n = 0"),
        (lambda: ThresholdedLaplace([0.0], [1.0], [0.5]).draw(5, -1), "neither"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)
