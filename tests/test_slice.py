"""Slice sampling and quadrature against each other, closed forms and Gibbs; every comparison has one that must fail."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Gaussian,
    InputError,
    Laplace,
    ReferenceRefusedError,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
)
from circuitlsc.reference.exact import enumerate_supports, gaussian_statistics, single_latent
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.reference.slice import _cost, _tabulate, slice_sampling
from circuitlsc.reference.statistics import summarize
from circuitlsc.validation.judge import exact_statistics

# One chance in 10,000 that a right sampler fails anywhere in this file, split over (at most) 500 numbers.
BOUND = float(norm.isf(1e-4 / 500 / 2))
COMPARED = ("mean", "sd", "residual_power")
PRIORS = {
    "laplace": Laplace(1.3),
    "exponential": Laplace(1.3, signed=False),
    "gaussian": Gaussian(0.7),
    "cauchy": Cauchy(1.3, 0.5),
    "cauchy-nonneg": Cauchy(0.8, 0.5, signed=False),
    "square-root": SquareRoot(1.3),
    "square-root-nonneg": SquareRoot(1.3, signed=False),
    "well": CustomPrior(lambda s: 2 * (s**2 - 1) ** 2, reach=3.0),
    "well-nonneg": CustomPrior(lambda s: 2 * (s**2 - 1) ** 2, reach=3.0, signed=False),
    "tilted": CustomPrior(lambda s: 2 * np.sqrt(1 + s**2) + s, reach=20.0),
}
ONE = (np.array([[0.9], [-0.4]]), np.array([0.9, -0.3]), 0.35)
CORRELATED = (np.array([[1.0, 0.9], [0.0, 0.5]]), np.array([1.0, 0.3]), 0.3)
NEGATIVE = (np.array([[1.0, -0.6], [0.0, 0.8]]), np.array([-0.5, -0.1]), 0.15)
PARALLEL = (np.array([[1.0, 1.0], [0.5, 0.5]]), np.array([1.0, 0.5]), 0.2)
PROBLEMS = {"one": ONE, "correlated": CORRELATED, "negative": NEGATIVE, "parallel": PARALLEL}


@pytest.fixture(params=list(PRIORS.values()), ids=list(PRIORS))
def dense(request):
    """Give every kind of prior without a spike."""
    return request.param


def problem(prior, name):
    A, x, sigma = PROBLEMS[name]
    return SparseCodingModel(A, prior, sigma), x


def measured(model, x, s):
    return summarize(s, np.ones(s.shape, bool), model=model, x=x, method="slice")


def largest_z(sampled, other):
    """Largest deviation in standard errors (of both, if both are sampled)."""
    worst = 0.0
    for name in COMPARED:
        error = np.hypot(getattr(sampled, f"{name}_mcse"), getattr(other, f"{name}_mcse"))
        worst = max(worst, float(np.max(np.abs(getattr(sampled, name) - getattr(other, name)) / error)))
    return worst


# --- slice sampling ---


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_slice_sampling_is_the_quadrature(dense, name):
    model, x = problem(dense, name)
    sampled = measured(model, x, slice_sampling(model, x, n_sweeps=4_000, seed=1))
    assert largest_z(sampled, quadrature(model, x)) < BOUND
    assert sampled.rhat_max < 1.01
    assert sampled.ess_min > 2_000
    # negative controls: another noise, another strength of the prior
    assert largest_z(sampled, quadrature(SparseCodingModel(model.A, dense, 1.3 * model.sigma), x)) > BOUND
    if name != "negative":  # where the data decide everything
        assert largest_z(sampled, quadrature(SparseCodingModel(model.A, dense.tempered(0.4), model.sigma), x)) > BOUND


def four_latents(prior):
    rng = np.random.default_rng(11)
    A = rng.standard_normal((6, 4)) / math.sqrt(6) + 0.2  # all atoms overlap
    model = SparseCodingModel(A, prior, 0.3)
    return model, A @ np.array([1.1, 0.0, 0.6, 0.05]) + 0.3 * rng.standard_normal(6)


@pytest.mark.parametrize("signed", [True, False])
def test_under_a_laplace_prior_it_is_gibbs_sampling(signed):
    model, x = four_latents(Laplace(1.3, signed))
    sampled = measured(model, x, slice_sampling(model, x, n_sweeps=10_000, seed=2))
    other = measured(model, x, gibbs(model, x, n_sweeps=10_000, seed=2))
    assert largest_z(sampled, other) < 4
    assert largest_z(sampled, enumerate_supports(model, x)) < BOUND
    steeper, _ = four_latents(Laplace(1.6, signed))
    assert largest_z(sampled, measured(model, x, gibbs(steeper, x, n_sweeps=10_000, seed=2))) > BOUND


def test_under_a_gaussian_prior_it_is_the_closed_form():
    model, x = four_latents(Gaussian(0.8))
    sampled = measured(model, x, slice_sampling(model, x, n_sweeps=6_000, seed=3))
    assert largest_z(sampled, gaussian_statistics(model, x)) < BOUND
    assert largest_z(sampled, gaussian_statistics(four_latents(Gaussian(0.9))[0], x)) > BOUND


@pytest.mark.parametrize("temperature", [0.5, 1.4])
def test_the_tempered_model_is_exp_of_minus_energy_over_t(dense, temperature):
    """Quadrature of exp(-E(u)/T), E the model's own energy."""
    model, x = SparseCodingModel(np.array([[1.0]]), dense, 0.5), [0.8]

    def density(u):
        return math.exp(-float(model.energy([u], x)) / temperature)

    mass = integrate.quad(density, -25, 25, points=[0.0], limit=400)[0]
    first = integrate.quad(lambda u: float(model.latent([u])[0]) * density(u), -25, 25, points=[0.0], limit=400)[0]
    tempered = model.tempered(temperature)
    sampled = measured(model, x, slice_sampling(tempered, x, n_sweeps=5_000, seed=4))
    assert abs(sampled.mean[0] - first / mass) < BOUND * sampled.mean_mcse[0]
    assert quadrature(tempered, x).mean[0] == pytest.approx(first / mass, abs=1e-7)


def test_it_crosses_between_modes_of_a_conditional():
    """Two wells that the data hardly tell apart, with a barrier of 12 between them."""
    prior = CustomPrior(lambda s: 12 * (s**2 - 1) ** 2, reach=2.0)
    model = SparseCodingModel(np.array([[0.1]]), prior, 0.3)
    sampled = measured(model, [0.02], slice_sampling(model, [0.02], n_sweeps=10_000, seed=5))
    assert sampled.rhat_max < 1.01
    assert largest_z(sampled, quadrature(model, [0.02])) < BOUND


def test_the_table_of_a_cost_is_right_between_its_knots(dense):
    costs = _tabulate(dense)
    rng = np.random.default_rng(6)
    s = dense.slab_scale * 10 ** rng.uniform(-6, 5.9, 20_000)
    s = s * rng.choice([-1.0, 1.0], s.shape) if dense.signed else s
    exact = dense.cost(s)
    assert (np.abs([_cost(costs, v) for v in s] - exact) <= 1.5e-5 * (1 + np.abs(exact))).all()


def test_the_stream_is_fixed_by_the_seed_and_the_chain():
    model, x = four_latents(PRIORS["cauchy"])
    four = slice_sampling(model, x, n_sweeps=50, seed=1, warmup=7)
    assert four.shape == (4, 50, 4)
    np.testing.assert_array_equal(four[:2], slice_sampling(model, x, n_sweeps=50, n_chains=2, seed=1, warmup=7))
    np.testing.assert_array_equal(four[:, 2::3], slice_sampling(model, x, n_sweeps=50, seed=1, warmup=7, thin=3))
    assert (four != slice_sampling(model, x, n_sweeps=50, seed=2, warmup=7)).any()
    nonneg, x = four_latents(PRIORS["cauchy-nonneg"])
    assert (slice_sampling(nonneg, x, n_sweeps=500, seed=1) >= 0).all()


@pytest.mark.parametrize(
    "bad", [{"n_sweeps": 0}, {"n_chains": 0}, {"seed": -1}, {"seed": 1.5}, {"warmup": -1}, {"thin": 0}, {"thin": True}]
)
def test_counts_are_checked(bad):
    model, x = problem(PRIORS["cauchy"], "one")
    (name, value), *_ = bad.items()
    with pytest.raises(
        InputError, match=rf"^slice_sampling: {name} = {value} cannot be used\. Give an integer >= [01]\.$"
    ):
        slice_sampling(model, x, **{"n_sweeps": 10, "seed": 1, **bad})


# --- quadrature ---


@pytest.mark.parametrize("name", ["one", "correlated", "negative"])
@pytest.mark.parametrize("kind", ["laplace", "exponential", "gaussian"])
def test_quadrature_is_the_closed_form(kind, name):
    model, x = problem(PRIORS[kind], name)
    exact = {"one": single_latent}.get(name, gaussian_statistics if kind == "gaussian" else enumerate_supports)(
        model, x
    )
    tolerance = 2e-4 if exact.method == "enumeration" else 1e-9  # the enumeration's own
    found = quadrature(model, x)
    for what in COMPARED:
        np.testing.assert_allclose(getattr(found, what), getattr(exact, what), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found.coactive, np.ones((model.n_latents, model.n_latents)))
    assert found.support == {2**model.n_latents - 1: 1.0}
    assert not found.sampled


def test_quadrature_is_that_of_the_energy():
    model, x = problem(PRIORS["cauchy"], "correlated")

    def moment(i, j):
        return integrate.dblquad(
            lambda b, a: a**i * b**j * math.exp(-float(model.energy([a, b], x))), -4, 5, -4, 5, epsabs=1e-7, epsrel=1e-7
        )[0]

    found = quadrature(model, x)
    np.testing.assert_allclose(found.mean, np.array([moment(1, 0), moment(0, 1)]) / moment(0, 0), atol=1e-6)


def test_quadrature_where_the_data_are_far_away_or_say_nothing():
    far = SparseCodingModel(np.array([[1.0]]), PRIORS["exponential"], 0.1)
    assert quadrature(far, [-50.0]).mean[0] == pytest.approx(single_latent(far, [-50.0]).mean[0], rel=1e-9)
    prior = SquareRoot(1.3)
    nothing = SparseCodingModel(np.array([[1e-6]]), prior, 1.0)
    s = 1e-4 * np.sinh(np.linspace(-22, 22, 400_001))
    p = np.exp(-prior.code_cost(s)) * np.sqrt(1e-8 + s**2)
    assert quadrature(nothing, [0.0]).sd[0] == pytest.approx(math.sqrt((p @ s**2) / p.sum()), rel=1e-5)


# --- refusals, and which reference is used ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: slice_sampling(SparseCodingModel(np.eye(2), SpikeSlab(0.3, 1.0), 0.5), [0, 0], n_sweeps=9, seed=1),
            r"^slice_sampling: under the prior SpikeSlab\(.*\) codes can be exactly zero, .* Use gibbs\.$",
        ),
        (
            lambda: quadrature(SparseCodingModel(np.eye(2), SpikeSlab(0.3, 1.0), 0.5), [0, 0]),
            r"^quadrature: under the prior SpikeSlab\(.*\) codes can be exactly zero\. Use single_latent or enumerate_",
        ),
        (
            lambda: quadrature(SparseCodingModel(np.eye(3), Cauchy(1.0), 0.5), [0, 0, 0]),
            r"^quadrature: the model has 3 latents, but the integrals are done for one or two\. Use slice_sampling\.$",
        ),
        (
            lambda: single_latent(SparseCodingModel(np.eye(1), Cauchy(1.0), 0.5), [0]),
            r"^The prior Cauchy\(.*\) has no closed form: .*\. Use quadrature \(one or two latents\) or slice_sampling\.$",
        ),
        (
            lambda: enumerate_supports(SparseCodingModel(np.eye(2), PRIORS["well"], 0.5), [0, 0]),
            r"^The prior CustomPrior\('custom', 8001 knots from -3 to 3, signed=True\) has no closed form: ",
        ),
    ],
)
def test_refusals_say_what_to_use(call, message):
    with pytest.raises(ReferenceRefusedError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["cauchy", "square-root-nonneg", "tilted"])
def test_the_exact_statistics_are_those_of_the_method_that_holds(kind):
    model, x = problem(PRIORS[kind], "correlated")
    assert exact_statistics(model, x).method == "quadrature"
    more = replace(model, A=np.column_stack([model.A, [0.3, 0.9]]))
    sampled = exact_statistics(more, x, seed=3, seconds=0)
    assert sampled.method == "slice sampling"
    assert sampled.rhat_max < 1.05
    assert exact_statistics(replace(model, prior=Laplace(1.0)), x).method == "enumeration"
    assert exact_statistics(replace(model, prior=Gaussian(1.0)), x).method.startswith("closed form")
