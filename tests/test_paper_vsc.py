"""What the figures in kind after Fallah & Rozell 2022 are made of, on small problems; the full claims are slow."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from sklearn.metrics import mutual_info_score

from circuitlsc import SparseCodingModel, SpikeSlab
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import best_law, elbo, kappa_of
from circuitlsc.reporting.plotting import save_figure
from examples.paper import vsc_laws
from examples.paper.figure_runs import Effort
from examples.paper.run import FIGURES
from examples.paper.vsc_gradients import data_term, repeated, vsc_gradients_data
from examples.paper.vsc_laws import FAMILIES, Concretes, Gaussians, Laplaces, ThresholdedLaplaces, bound, vsc_laws_data
from examples.paper.vsc_max import WAYS, vsc_max_data
from examples.paper.vsc_measures import collapsed, jaccard, pairwise_information
from examples.paper.vsc_patches import vsc_patches_data
from examples.paper.vsc_plot import vsc_gradients, vsc_patches
from examples.paper.vsc_plot import vsc_laws as draw_laws
from examples.paper.vsc_plot import vsc_max as draw_max
from examples.paper.vsc_report import vsc_gradients_report, vsc_laws_report, vsc_max_report, vsc_patches_report


def written(data, figure, folder):
    """Check that a figure is drawn and its numbers are JSON; return them."""
    save_figure(figure, folder / "figure.png")
    assert (folder / "figure.png").stat().st_size > 20_000
    return json.loads(json.dumps(data.to_dict(), allow_nan=False))


def pictures():
    """Two pictures with a falling spectrum, which can be whitened."""
    rng = np.random.default_rng(0)
    return [np.cumsum(np.cumsum(rng.standard_normal(shape), 0), 1) for shape in ((64, 80), (64, 64))]


def random_case(seed=0, D=4, K=3):
    rng = np.random.default_rng(seed)
    return SparseCodingModel(rng.normal(size=(D, K)), SpikeSlab(0.3, 1.4, signed=True), 0.6), rng.normal(size=D)


# --- measures ---


def test_jaccard_index():
    one = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.05, 0.0]])
    other = np.array([[-3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.05]])
    np.testing.assert_allclose(jaccard(one, other), [1 / 3, 2 / 4])  # an empty pair says nothing
    np.testing.assert_allclose(jaccard(one, other, cut=0.1), [1 / 3, 1.0])


def test_collapse_is_a_law_that_is_the_prior_for_nearly_all_inputs():
    kl = np.full((200, 3), 1e-4)
    kl[:2, 1] = 1.0  # 1 % of inputs
    kl[:3, 2] = 1.0
    assert collapsed(kl).tolist() == [True, True, False]
    law = ThresholdedLaplace(np.zeros((1, 2)), np.full((1, 2), 1 / 1.4), np.array([[-np.log(0.3), 0.1]]))
    assert collapsed(law.kl(0.3, 1.4)).tolist() == [True, False]


def test_pairwise_information_is_that_of_classes_and_the_shuffle_is_its_bias():
    rng = np.random.default_rng(0)
    n = 3000
    codes = rng.laplace(size=(n, 4)) * (rng.random((n, 4)) < 0.3)
    codes[:, 1] = np.where(codes[:, 0] != 0, np.abs(codes[:, 1]) + 1, codes[:, 1])  # knows whether the first is active
    found, shuffled = pairwise_information(codes, seed=1)

    def classes(s):
        large = np.abs(s) > np.median(np.abs(s[s != 0]))
        return np.where(s == 0, 0, np.sign(s) * (1 + large)).astype(int)

    pairs = [mutual_info_score(classes(codes[:, j]), classes(codes[:, k])) for j in range(4) for k in range(j)]
    assert found == pytest.approx(np.mean(pairs), rel=1e-9)
    assert shuffled == pytest.approx(16 / (2 * n), rel=0.5)  # (5 - 1)^2 degrees of freedom over 2 n
    assert found > 5 * shuffled
    independent, again = pairwise_information(rng.permuted(codes, axis=0), seed=2)
    assert independent == pytest.approx(again, rel=0.5)


# --- gradients ---


def test_the_data_terms_gradient_and_what_the_average_of_straight_through_says():
    """Both in closed form, with lam held (`docs/variational.md`); 40,000 draws, Bonferroni at 1 %."""
    model, x = random_case()
    rng = np.random.default_rng(1)
    mu, rho = rng.normal(size=(1, 3)), np.full((1, 3), -0.7)
    lam = 0.6
    b = np.exp(rho)
    kappa, s2, a2 = lam / b, model.variance, model.powers
    g = np.exp(-kappa)
    e = -((x - (g * mu) @ model.A.T) @ model.A) / s2
    true_mu = g * e + a2 / s2 * g * (1 - g) * mu
    true_rho = g * kappa * mu * e + a2 / (2 * s2) * (4 * g * b**2 + g * kappa * (2 * b**2 + mu**2 - 2 * g * mu**2))
    for found, wanted in zip(data_term(model, x[None], mu, rho, kappa), (true_mu, true_rho), strict=True):
        np.testing.assert_allclose(found, -wanted, rtol=1e-9)
    means = {"straight-through": e, "pathwise": true_mu}
    limit = stats.norm.isf(0.01 / 2 / 12)
    for estimator, by_mu in means.items():
        n = 4000
        found = repeated(model, x[None], (mu, rho, kappa), n, [2], estimator=estimator, reduce="average", draws=10)
        for name, wanted in (("mu", by_mu), ("rho", a2 / s2 * g * (2 * b**2 + lam * b))):
            z = (found[name].mean(0) + wanted) / (found[name].std(0, ddof=1) / np.sqrt(n))
            assert np.abs(z).max() < limit, (estimator, name)


def test_gradients(tmp_path):
    data = vsc_gradients_data(Effort(seeds=1, time=0.2), draws=(1, 20), shifts=(0.0, 0.4, 1.0))
    assert written(data, vsc_gradients(data), tmp_path)["draws"] == [1, 20]
    assert data.slope[1] > 0.3
    for reduce, sign in (("average", -1), ("max 20", 1)):
        assert sign * data.told[reduce][1] > 3 * data.told_se[reduce][1]
    one, twenty = data.curve("pathwise", "average", "mu").snr
    assert twenty / one == pytest.approx(np.sqrt(20), rel=0.3)
    assert data.curve("straight-through", "average", "mu").bias.min() > 1
    assert data.curve("pathwise", "average", "mu").bias[1] < 0.2
    assert "it cannot tell a latent to switch on" in vsc_gradients_report(data)


# --- training ---


def test_ways_of_training(tmp_path):
    data = vsc_max_data(Effort(seeds=1, time=0.01, held_out=20, sweeps=20), draws=3)
    assert len(written(data, draw_max(data), tmp_path)["runs"]) == len(WAYS) == 6
    assert all(run.step[-1] == 20 for run in data.runs)
    report = vsc_max_report(data)
    assert all(str(way) in report for way in WAYS)


@pytest.mark.slow
def test_average_against_max_in_full():
    data = vsc_max_data(Effort(seeds=2, time=0.5, held_out=500, sweeps=50))
    final = {way: np.mean([run.final for run in data.of(way)]) for way in WAYS}
    best, held, st_max, st_average, *_ = WAYS
    assert final[best] > final[held] > final[st_max] > final[st_average] + 10
    active = {way: np.mean([run.active for run in data.of(way)]) for way in WAYS}
    assert active[st_max] > 1.3 * active[st_average]


# --- patches ---


def test_patches(tmp_path):
    effort = Effort(seeds=2, time=0.002, held_out=3, sweeps=10)
    data = vsc_patches_data(effort, pictures=pictures(), side=3)
    made = written(data, vsc_patches(data), tmp_path)
    assert [(run["method"], run["seed"]) for run in made["runs"]] == [
        ("variational", 0),
        ("sampling", 0),
        ("variational", 1),
        ("sampling", 1),
    ]
    for run in data.runs:
        assert run.n_used + int(vsc_patches_report(data).split(f"{run.method}, seed {run.seed}: ")[1].split()[0]) == 9
        assert [codes.coder for codes in run.codes] == ["encoder", "exact", "lasso"]
        lasso = run.codes[2]
        assert lasso.jaccard[0] == 1.0
        assert all(lasso.energy[0] < codes.energy[0] for codes in run.codes[:2])
    (seed, gain, _), _ = data.gain()
    assert seed == 0
    assert gain == pytest.approx(np.mean(data.runs[1].log_p - data.runs[0].log_p))


@pytest.mark.slow
def test_the_variational_dictionary_has_dead_atoms_and_the_sampling_one_has_none():
    data = vsc_patches_data(Effort(seeds=1, time=0.3, held_out=10, sweeps=50))
    one, other = data.runs
    assert one.n_used < 48
    assert one.collapsed > 16
    assert other.n_used == 64
    assert other.collapsed == 0
    assert other.refused > one.refused


# --- laws ---


@pytest.mark.parametrize("kind", FAMILIES, ids=[kind.name for kind in FAMILIES])
def test_the_gradient_of_a_bound_is_its_difference(kind):
    model, x = random_case()
    family, rng = kind(0.3, 1.4), np.random.default_rng(3)
    theta = 0.7 * rng.normal(size=(kind.n_numbers, 3))
    direction = rng.normal(size=theta.shape)
    up, down = (bound(model, x, family, theta + sign * 1e-4 * direction)[0] for sign in (1, -1))
    assert np.sum(bound(model, x, family, theta)[1] * direction) == pytest.approx((up - down) / 2e-4, rel=1e-5)


def test_the_thresholded_bound_is_the_packages_own():
    model, x = random_case()
    theta = np.random.default_rng(4).normal(size=(3, 3))
    value = bound(model, x, ThresholdedLaplaces(0.3, 1.4), theta)[0]
    assert value == pytest.approx(elbo(model, x[None], theta[:1], theta[1:2], kappa_of(theta[2:]))[0], rel=1e-12)
    found = vsc_laws.best(model, x, ThresholdedLaplaces(0.3, 1.4))[0]
    best = best_law(model, x, starts=3)
    assert found == pytest.approx(elbo(model, x[None], *(np.asarray(v)[None] for v in best))[0], abs=0.01)


def test_bounds_of_one_latent_are_below_log_p_and_the_gaussian_one_is_log_p():
    A, x = np.array([[1.2], [-0.4]]), np.array([0.9, 0.3])
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.4, signed=True), 0.6)
    gaussian = stats.multivariate_normal(np.zeros(2), 0.36 * np.eye(2) + 2 * 0.3 / 1.4**2 * A @ A.T).logpdf(x)
    assert vsc_laws.best(model, x, Gaussians(0.3, 1.4))[0] == pytest.approx(gaussian, abs=1e-6)
    rate = 1.4 / np.sqrt(0.3)  # of the Laplace prior with the same variance

    def joint(s):
        return np.exp(-np.sum((x - A[:, 0] * s) ** 2) / 0.72 - rate * abs(s)) / (2 * np.pi * 0.36) * rate / 2

    log_p = np.log(sum(quad(joint, *ends)[0] for ends in ((-9, 0), (0, 9))))
    found = vsc_laws.best(model, x, Laplaces(0.3, 1.4))[0]
    assert log_p - 0.2 < found < log_p


def test_the_concrete_law_by_draws_and_by_quadrature():
    family, theta = Concretes(0.3, 1.4), np.array([[0.8], [-0.5], [1.1]])
    mean, variance, kl = family.moments(theta)[:, 0]
    draws = family.draw(theta, 200_000, np.random.default_rng(5))[:, 0]
    assert mean == pytest.approx(draws.mean(), abs=4 * draws.std() / np.sqrt(len(draws)))
    assert variance == pytest.approx(draws.var(), rel=0.03)
    assert (draws != 0).all()
    eta0 = np.log(0.3 / 0.7)
    logistic = quad(
        lambda y: stats.logistic.pdf(y, 1.1) * (stats.logistic.logpdf(y, 1.1) - stats.logistic.logpdf(y, eta0)), -40, 40
    )[0]
    slab = ThresholdedLaplace(np.array([0.8]), np.exp([-0.5]), np.zeros(1)).kl(1.0, 1.4)[0]
    assert kl == pytest.approx(logistic + slab, rel=1e-7)


def test_laws(tmp_path):
    effort = Effort(time=0.002, held_out=2, sweeps=20)
    data = vsc_laws_data(effort, pictures=pictures(), side=3)
    assert len(written(data, draw_laws(data), tmp_path)["laws"]) == 12
    for name in data.log_p:
        *families, posterior = data.of(name)
        assert [law.family for law in families] == [kind.name for kind in FAMILIES]
        assert posterior.family == "posterior"
        assert (data.log_p_gaussian[name] >= families[3].bound).all()
        assert [law.zero[0] > 0 for law in families] == [True, True, False, False, False]
    assert "favours thresholded laws" in vsc_laws_report(data)


def test_the_figures_are_known_by_name():
    assert {"vsc-gradients", "vsc-max", "vsc-patches", "vsc-laws"} <= set(FIGURES)
