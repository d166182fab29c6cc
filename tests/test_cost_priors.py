"""Priors with a smooth cost: costs and energies, draws, tables, steps, files, refusals, and the circuit that samples them."""

import math
import re

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson
from scipy.stats import kstest
from scipy.stats import t as student_t

from circuitlsc import Cauchy, CustomPrior, InputError, SparseCodingModel, SquareRoot, build_sampler
from circuitlsc.circuit.graph import Twin
from circuitlsc.circuit.systems import lsc
from circuitlsc.planning.scaling import expected_ranges
from circuitlsc.planning.stepping import plan_step
from circuitlsc.reference.pathwise import trapezoid
from circuitlsc.reference.quadrature import quadrature
from circuitlsc.validation.judge import judge


def well(s):
    return (s**2 - 1) ** 2


def tilted(s):
    return 1.4 * np.sqrt(s**2 + 0.09) + 0.3 * s


PRIORS = {
    "cauchy": Cauchy(1.4, 0.6),
    "cauchy-nonneg": Cauchy(1.4, 0.6, signed=False),
    "heavy": Cauchy(0.7, 2.0),
    "square-root": SquareRoot(1.3),
    "square-root-nonneg": SquareRoot(1.3, 0.07, signed=False),
    "well": CustomPrior(well, reach=3.0),
    "well-nonneg": CustomPrior(well, reach=3.0, signed=False),
    "tilted": CustomPrior(tilted, reach=20.0),
}
EPS = 1e-6
WIDTH = 0.05


@pytest.fixture(params=list(PRIORS.values()), ids=list(PRIORS))
def smooth(request):
    return request.param


def codes(prior, reach=8.0, n=4001):
    return np.linspace(-reach if prior.signed else 0.0, reach, n)


def density(prior, s):
    return np.exp(-prior.code_cost(s))


# --- costs ---


def test_costs_are_the_formulas():
    s = np.array([-1.5, 0.0, 0.3, 2.0])
    np.testing.assert_allclose(PRIORS["cauchy"].code_cost(s), 1.4 * np.log(1 + s**2 / 0.36), rtol=1e-14)
    expected = 1.3 * ((s**2 + 0.07**2) ** 0.25 - math.sqrt(0.07))
    np.testing.assert_allclose(SquareRoot(1.3, 0.07).code_cost(s), expected, rtol=1e-13, atol=1e-15)
    assert SquareRoot(1.3).epsilon == pytest.approx(0.05 / 1.3**2)
    assert SquareRoot(1.3).tempered(2.0).epsilon == SquareRoot(1.3).epsilon


@pytest.mark.parametrize("width", [0.0, 0.05, 0.4])
def test_forces_are_gradients(smooth, width):
    """C', c' and the energy's gradient at sigma, lam, T other than 1."""
    s = codes(smooth)[1:]
    numeric = (smooth.code_cost(s + EPS) - smooth.code_cost(s - EPS)) / (2 * EPS)
    np.testing.assert_allclose(smooth.code_cost_grad(s), numeric, rtol=1e-6, atol=1e-6)
    model = SparseCodingModel(np.random.default_rng(1).standard_normal((4, 3)), smooth, 0.7)
    x = np.array([0.4, -0.8, 0.3, 0.1])
    u = np.random.default_rng(2).uniform(-3, 3, (40, 3))
    numeric = np.stack(
        [
            (
                model.log_density(u + d, x, temperature=0.6, width=width)
                - model.log_density(u - d, x, temperature=0.6, width=width)
            )
            / (2 * EPS)
            for d in EPS * np.eye(3)
        ],
        axis=-1,
    )
    exact = model.log_density_grad(u, x, temperature=0.6, width=width)
    np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=2e-6)
    # negative control: another exponent of the same kind
    other = SparseCodingModel(model.A, smooth.tempered(0.9), 0.7)
    assert np.abs(other.log_density_grad(u, x, temperature=0.6, width=width) - numeric).max() > 1e-2


def test_nonnegative_codes_are_the_smooth_absolute_value():
    prior, u = PRIORS["cauchy-nonneg"], np.linspace(-3, 3, 601)
    np.testing.assert_allclose(prior.latent(u), np.abs(u))
    size = WIDTH * np.logaddexp(u / WIDTH, -u / WIDTH)
    np.testing.assert_allclose(prior.latent(u, WIDTH), size)
    np.testing.assert_allclose(prior.cost_grad(u, WIDTH), prior.code_cost_grad(size) * np.tanh(u / WIDTH))


def test_slab_scale_is_where_the_cost_has_risen_by_one(smooth):
    s = codes(smooth, n=400_001)
    cost = smooth.code_cost(s)
    least = int(np.argmin(cost))
    risen = s[cost > cost[least] + 1]
    assert np.abs(risen - s[least]).min() == pytest.approx(smooth.slab_scale, abs=2e-3)


def test_curvature_is_the_largest_second_derivative(smooth):
    s = codes(smooth, reach=smooth.extent or 3.0, n=600_001)
    second = np.abs(np.gradient(smooth.code_cost_grad(s), s))
    assert second.max() == pytest.approx(smooth.curvature, rel=1e-3)


def test_tempering_divides_the_cost(smooth):
    s = codes(smooth)
    np.testing.assert_allclose(smooth.tempered(1.2).code_cost(s), smooth.code_cost(s) / 1.2, rtol=1e-12, atol=1e-12)
    assert smooth.tempered(1.0).slab_scale == pytest.approx(smooth.slab_scale)
    assert smooth.tempered(1.2).signed is smooth.signed


# --- draws ---


def distribution(prior):
    """Return the prior's distribution function by Simpson's rule on a grid of its own."""
    t = np.linspace(-1 if prior.signed else 0, 1, 100_001) * math.asinh(1e9)
    s = 1e-3 * np.sinh(t)
    below = cumulative_simpson(density(prior, s) * np.cosh(t), x=t, initial=0)
    return lambda v: np.interp(v, s, below / below[-1])


def test_draws_have_the_density(smooth):
    draws = smooth.draw((200_000,), np.random.default_rng(3))
    assert kstest(draws, distribution(smooth)).pvalue > 1e-3
    # negative control
    assert kstest(draws, distribution(smooth.tempered(1.3))).pvalue < 1e-6
    assert smooth.signed or (draws >= 0).all()
    assert smooth.draw((3, 2), np.random.default_rng(3)).shape == (3, 2)


def test_a_cauchy_prior_is_a_student_t():
    prior, nu = Cauchy(1.4, 0.6), 1.8
    s = np.linspace(-5, 5, 101)
    log_density = student_t.logpdf(s * math.sqrt(nu) / 0.6, nu)
    np.testing.assert_allclose(-prior.code_cost(s) - log_density, np.full(101, -log_density[50]), atol=1e-12)


def test_exceeded_is_the_tail(smooth):
    draws = np.abs(smooth.draw((400_000,), np.random.default_rng(4)))
    share = np.mean(draws > smooth.exceeded(0.02))
    # of an asymmetric prior it is the longer tail's: half of the probability at least, none too many
    assert 0.01 - 5e-4 < share < 0.02 + 1.2e-3
    if smooth.kind != "table":
        assert share > 0.02 - 1.2e-3


# --- tables of the circuit ---


@pytest.mark.parametrize("width", [0.05, 0.005])
@pytest.mark.parametrize("reach", [30.0, 100.0])
def test_tables_follow_the_cost(smooth, width, reach):
    """Measured: 0.2 to 3.8e-3 of the largest slope that matters, and at most 0.008 in the cost where that is below 5."""
    table = smooth.cells(width, reach).prior
    assert len(table.knots) <= 60
    u = np.linspace(-reach, reach, 400_001)
    force, cost = smooth.cost_grad(u, width), smooth.cost(u, width)
    above = cost - cost.min()
    inside = above < 10
    assert np.abs(table(u) - force)[inside].max() < 0.0039 * np.abs(force[inside]).max()
    error = np.cumsum(table(u) - force) * (u[1] - u[0])
    assert np.ptp(error[above < 5]) < 0.01
    far = np.array([-1e6, -10 * reach, 10 * reach, 1e6])
    np.testing.assert_allclose(table(far), np.sign(far) * np.abs(table(np.sign(far) * 2 * reach)), rtol=1e-9)
    assert (table(far) * far > 0).all(), "the ends must pull back"
    if smooth.symmetric or not smooth.signed:
        np.testing.assert_array_equal(table.knots, -table.knots[::-1])
        np.testing.assert_array_equal(table.values, -table.values[::-1])


def test_a_tabulated_prior_covers_its_wells_however_short_the_reach():
    """Beyond a short table a slope that still falls would go on falling."""
    prior = CustomPrior(lambda s: 0.05 * (s**2 - 16) ** 2 / 16, reach=8.0)
    table = prior.cells(WIDTH, 1.0).prior
    np.testing.assert_allclose(
        table(np.array([3.0, 4.0, 7.0])), prior.code_cost_grad(np.array([3.0, 4.0, 7.0])), atol=0.02
    )


# --- width and step ---


def one_latent(prior, sigma=0.5, x=0.8):
    return SparseCodingModel(np.array([[1.0]]), prior, sigma), np.array([x])


@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_step_resolves_the_costs_own_bend(smooth, sigma):
    model, x = one_latent(smooth, sigma)
    plan = plan_step(model, x)
    assert plan.fastest_mode == pytest.approx(1 / sigma**2 + smooth.curvature)
    assert plan.step <= 1.5 / smooth.curvature
    assert plan.step <= 0.05 * smooth.slab_scale**2 * (1 + 1e-12)
    if not smooth.signed:  # the gate at 0 has slope 1/w
        assert plan.step <= 1.5 / (3 / sigma / plan.width)
    assert plan.width == pytest.approx(min(0.05 * smooth.slab_scale, 0.1 * sigma))
    assert any("max |C''|" in line for line in plan.explanation)
    given = plan_step(model, x, step=plan.step, width=plan.width)
    assert (given.step, given.width, given.warnings) == (plan.step, plan.width, plan.warnings)


def test_a_falling_slope_at_the_corner_of_abs_u_shortens_the_step():
    """A nonnegative cost that falls from 0: the comparator makes it a top of curvature C'(0)/w."""
    steep = CustomPrior(lambda s: (s - 3) ** 2 * 2, reach=8.0, signed=False)
    model, x = one_latent(steep, sigma=2.0)
    plan = plan_step(model, x)
    assert plan.step < 1.5 / (12 / plan.width) * 1.05


@pytest.mark.parametrize("c", [0.1, 7.0])
@pytest.mark.parametrize(
    ("prior", "scaled"),
    [
        (Cauchy(1.4, 0.6), lambda c: Cauchy(1.4, 0.6 * c)),
        (SquareRoot(1.3, signed=False), lambda c: SquareRoot(1.3 / math.sqrt(c), signed=False)),
        (PRIORS["well"], lambda c: CustomPrior(lambda s: well(s / c), reach=3.0 * c)),
    ],
    ids=["cauchy", "square-root-nonneg", "well"],
)
def test_rules_do_not_depend_on_the_unit_of_the_code(prior, scaled, c):
    A, x = np.random.default_rng(1).standard_normal((3, 2)), np.array([0.4, -0.3, 0.8])
    one = plan_step(SparseCodingModel(A, prior, 0.5), x)
    other = plan_step(SparseCodingModel(A / c, scaled(c), 0.5), x)
    assert other.width == pytest.approx(c * one.width, rel=1e-3)
    assert other.step == pytest.approx(c**2 * one.step, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.3, 1.3])
def test_temperature_is_that_of_the_tempered_model(smooth, temperature):
    model, x = one_latent(smooth)
    hot, tempered = plan_step(model, x, temperature=temperature), plan_step(model.tempered(temperature), x)
    assert hot.width == pytest.approx(tempered.width)
    assert hot.step * temperature == pytest.approx(tempered.step)
    assert hot.fastest_mode == pytest.approx(tempered.fastest_mode * temperature)


@pytest.mark.parametrize("name", ["cauchy", "square-root", "well"])
def test_the_automatic_step_has_no_bias(name):
    """The circuit's trapezoid in NumPy, 2,000 chains: measured below 1e-3 of the slab for these and the others."""
    prior = PRIORS[name]
    model, x = one_latent(prior)
    plan = plan_step(model, x)
    exact = quadrature(model, x)
    rng = np.random.default_rng(5)
    start = exact.mean + exact.sd * rng.standard_normal((2000, 1))
    noise = math.sqrt(2 * plan.step) * rng.standard_normal((round(15 / plan.step), 2000, 1))
    s = trapezoid(Twin(lsc(model, x, width=plan.width)), start, noise, plan.step, chunk=10**9)[len(noise) // 3 :, :, 0]
    mean, square = s.mean(axis=0), ((s - exact.mean) ** 2).mean(axis=0)
    scale = min(prior.slab_scale, 2 * exact.sd[0])
    assert abs(mean.mean() - exact.mean[0]) < 4 * mean.std() / math.sqrt(2000) + 0.002 * scale
    variance_error = abs(square.mean() - exact.sd[0] ** 2)
    assert variance_error < 4 * square.std() / math.sqrt(2000) + 2 * exact.sd[0] * 0.002 * scale


# --- how large u becomes ---


def test_expected_range_of_a_heavy_tail_is_what_the_data_allow():
    A = np.eye(2)
    strong = expected_ranges(SparseCodingModel(A, Cauchy(1.0), 0.1), np.array([2.0, 0.1]))
    assert strong.u < 7  # the data, and no tail of 95 scales
    weak = expected_ranges(SparseCodingModel(A, Cauchy(1.0), 1e3), np.array([2.0, 0.1]))
    assert weak.u > 90
    parallel = expected_ranges(SparseCodingModel(np.array([[1.0, 1.0], [0.5, 0.5]]), Cauchy(1.0), 0.1), np.ones(2))
    assert 20 < parallel.u < 100  # the difference of the two is bound by the prior alone
    barely_proper = expected_ranges(SparseCodingModel(A, Cauchy(0.501), 0.5), np.array([2.0, 0.1]))
    assert barely_proper.u < 7


@pytest.mark.parametrize("name", ["cauchy", "square-root", "tilted", "well-nonneg"])
def test_expected_range_holds_the_codes_of_the_prior(name):
    rng, A = np.random.default_rng(6), np.random.default_rng(7).standard_normal((5, 3))
    model = SparseCodingModel(A, PRIORS[name], 0.4)
    for _ in range(100):
        s, x = model.draw(rng)
        assert np.abs(s).max() <= expected_ranges(model, x).u


# --- priors of a function, and of a table ---


def test_a_custom_prior_is_the_function():
    prior, s = PRIORS["tilted"], np.random.default_rng(1).uniform(-20, 20, 10_000)
    np.testing.assert_allclose(prior.code_cost(s), tilted(s), rtol=1e-7)
    np.testing.assert_allclose(prior.code_cost_grad(s), 1.4 * s / np.sqrt(s**2 + 0.09) + 0.3, atol=2e-5)
    beyond = prior.code_cost(np.array([20.0, 21.0, 30.0]))
    np.testing.assert_allclose(np.diff(beyond), np.array([1, 9]) * prior.slopes[-1])
    assert not prior.symmetric
    assert PRIORS["well"].symmetric


def test_a_given_gradient_is_used():
    given = CustomPrior(well, lambda s: 4 * s * (s**2 - 1), reach=3.0)
    np.testing.assert_array_equal(given.slopes, 4 * given.knots * (given.knots**2 - 1))
    np.testing.assert_allclose(given.slopes, PRIORS["well"].slopes, atol=1e-7)


def test_functions_of_one_number_will_do():
    def cost(s):
        return 2 * math.log(math.cosh(s))

    scalar, array = CustomPrior(cost, reach=6.0), CustomPrior(lambda s: 2 * np.log(np.cosh(s)), reach=6.0)
    np.testing.assert_allclose(scalar.costs, array.costs, atol=1e-12)
    np.testing.assert_allclose(scalar.slopes, array.slopes, atol=1e-9)


def test_a_nonnegative_prior_is_evaluated_at_nonnegative_codes_only():
    prior = CustomPrior(lambda s: s**1.5 + 0.1 * np.sqrt(s + 0.1), reach=5.0, signed=False)
    assert prior.knots[0] == 0
    assert np.isfinite(prior.slopes).all()


def test_a_coarse_table_is_its_cubic_spline():
    s = np.linspace(-4, 4, 81)
    prior = CustomPrior.from_table(s, tilted(s), name="coarse")
    fine = np.linspace(-4, 4, 1001)
    np.testing.assert_allclose(prior.code_cost(fine), tilted(fine), atol=3e-3)
    assert CustomPrior.from_table(np.sort(s), tilted(s), name="coarse") == prior
    assert repr(prior) == "CustomPrior('coarse', 81 knots from -4 to 4, signed=True)"


def test_priors_are_equal_if_their_tables_are():
    again = CustomPrior(well, reach=3.0)
    assert again == PRIORS["well"]
    assert hash(again) == hash(PRIORS["well"])
    assert again != PRIORS["well-nonneg"]
    assert again != CustomPrior(lambda s: well(s) * 1.001, reach=3.0)
    assert again != Cauchy(1.0)
    with pytest.raises(ValueError, match="read-only"):
        again.costs[0] = 1.0


def cosh_from(knot):
    return lambda s: np.where(np.asarray(s) > knot, np.nan, np.cosh(s))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Cauchy(0.5),
            r"Cauchy: lam = 0\.5, but .* a finite integral must be > 0\.5\. Give a finite number > 0\.5\.$",
        ),
        (lambda: Cauchy(-1.0), r"Cauchy: lam = -1\.0, but the exponent of .* must be > 0\.5"),
        (lambda: Cauchy(1.0, 0.0), r"Cauchy: scale = 0\.0, but a scale must be > 0"),
        (
            lambda: Cauchy(1.0).tempered(2.5),
            r"Cauchy: lam = 1\.0 at temperature 2\.5 is lam/T = 0\.4, .* temperature < 2\.",
        ),
        (lambda: SquareRoot(0), r"SquareRoot: lam = 0, but a rate must be > 0"),
        (
            lambda: SquareRoot(1.0, 0.0),
            r"SquareRoot: epsilon = 0\.0, but the smoothing of a slope that is infinite at 0 must be > 0",
        ),
        (lambda: CustomPrior(well, reach=-1.0), r"CustomPrior: reach = -1\.0, but the cost is tabulated up to it"),
        (
            lambda: CustomPrior(cosh_from(2.0), reach=4.0),
            r"CustomPrior: cost\(2\.001\) = nan, but it must be finite for every s of the table, -4 to 4 \(2000 of 8001",
        ),
        (
            lambda: CustomPrior(lambda s: 1 / s, reach=4.0, signed=False),
            r"CustomPrior: cost\(0\) = inf, but it must be finite",
        ),
        (
            lambda: CustomPrior(lambda s: 0.01 * s**2, reach=2.0),
            r"CustomPrior: the cost at s = -?2 is 0\.04 above its least value, .* rise by 2 .* proper\. Give reach >= 16\.$",
        ),
        (
            lambda: CustomPrior(np.zeros_like, reach=2.0),
            r".* is 0 above its least value, .* Give a larger reach, or a cost that",
        ),
        (
            lambda: CustomPrior(lambda s: 8 * s**2 / (1 + s**4 / 80), reach=4.0),
            r"CustomPrior: the cost does not rise any more at s = -?4 \(outward slope -[0-9.]+\), .* improper\. Give a reach",
        ),
        (
            lambda: CustomPrior(abs, reach=8.0),
            r"CustomPrior: the slope of the cost jumps from .* at s = .*, within one cell of the table \(0\.002\)\. Smooth",
        ),
        (
            lambda: CustomPrior(well, lambda s: 4 * s * s, reach=3.0),
            r"CustomPrior: grad\(-3\) = 36, but differences of the cost give -96\. Correct it, or leave it out\.",
        ),
        (
            lambda: CustomPrior(lambda s: np.ones((2, 2)), reach=3.0),
            r"CustomPrior: cost\(s\) returns shape \(2, 2\) for one",
        ),
        (
            lambda: CustomPrior(lambda s: 1j * np.cosh(s), reach=3.0),
            r"CustomPrior: cost\(s\) returns complex128, but real",
        ),
        (
            lambda: CustomPrior(lambda s: s["a"], reach=3.0),
            r"CustomPrior: cost\(-3\) fails with IndexError: .*\. Give a function",
        ),
        (
            lambda: CustomPrior.from_table([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
            r"CustomPrior: the table covers s = 0 to 4, but signed codes lie on both sides of 0\. .* set signed = False\.",
        ),
        (
            lambda: CustomPrior.from_table([1, 2, 3, 4, 5], [0, 1, 2, 3, 4], signed=False),
            r"CustomPrior: the table covers s = 1 to 5, but codes >= 0 start at 0\. Let the table start at s = 0",
        ),
        (
            lambda: CustomPrior.from_table([-2, 0, 0, 1, 2], [4, 0, 0, 1, 4]),
            r"CustomPrior: s\[2\] = 0 is not above s\[1\] = 0\. Sort the knots, and give each once\.",
        ),
        (
            lambda: CustomPrior.from_table([-2, 0, 1, 2], [4, 0, 1, 4]),
            r"CustomPrior: s has shape \(4,\), but a table has the same number of knots, 5 or more",
        ),
        (
            lambda: CustomPrior.from_table([-2, -1, 0, 1, 2], [4, 0, 1]),
            r"CustomPrior: cost has shape \(3,\), but a table has .* \(s has \(5,\)\)",
        ),
        (
            lambda: CustomPrior.from_table([-2, -1, 0, 1, 2], [4, 1, 0, np.nan, 4]),
            r"CustomPrior: cost\[3\] = nan, but every",
        ),
    ],
)
def test_refusals_are_one_line_that_helps(make, message):
    with pytest.raises(InputError, match=rf"^{message}") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_suggested_reach_works():
    with pytest.raises(InputError) as refusal:
        CustomPrior(lambda s: 0.01 * s**2, reach=2.0)
    reach = float(re.search(r"reach >= (\S+)\.$", str(refusal.value))[1])
    assert CustomPrior(lambda s: 0.01 * s**2, reach=reach).slab_scale == pytest.approx(10.0, rel=1e-2)


# --- the circuit ---


CIRCUITS = {
    "cauchy": (Cauchy(1.4, 0.5), "gram"),
    "cauchy-nonneg": (Cauchy(1.4, 0.5, signed=False), "residual"),
    "square-root": (SquareRoot(1.2), "residual"),
    "square-root-nonneg": (SquareRoot(1.2, signed=False), "gram"),
    "custom": (CustomPrior(tilted, reach=20.0), "gram"),
    "custom-nonneg": (CustomPrior(lambda s: 0.5 * well(s), reach=3.0, signed=False), "gram"),
}


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "custom" else pytest.mark.slow) for n in CIRCUITS],
)
def test_the_circuit_samples_the_posterior(name):
    """Two correlated latents, sigma other than 1: same noise as NumPy to 1e-5, and moments of the quadrature."""
    prior, form = CIRCUITS[name]
    model = SparseCodingModel(np.array([[1.0, 0.5], [0.0, 0.8], [0.2, 0.0]]), prior, 0.6)
    sampler = build_sampler(model, np.array([0.9, 0.4, 0.1]), form=form)
    judged = judge(sampler, sampler.run(t_stop=1000, chains=2, seed=7))
    assert judged.exact.method == "quadrature"
    assert judged.path is not None
    assert judged.path.rms < 1e-5
    scale = judged.comparison.scale
    for what in ("p_active", "mean", "sd"):
        error = np.abs(getattr(judged.circuit, what) - getattr(judged.exact, what))
        assert (error <= 4 * getattr(judged.circuit, f"{what}_mcse") + 0.005 * scale).all(), what
    # negative control: the same prior at another strength
    wrong = quadrature(SparseCodingModel(model.A, prior.tempered(0.5), 0.6), sampler.x)
    errors = [
        np.abs(getattr(judged.circuit, w) - getattr(wrong, w)) - 4 * getattr(judged.circuit, f"{w}_mcse")
        for w in ("mean", "sd")
    ]
    assert np.max(errors) > 0.005 * scale
