"""A broken loop: its variance against theory, its path against NumPy, what it refuses, and what it says about itself."""

import numpy as np
import pytest
from scipy import stats

from circuitlsc import Dynamics, Gaussian, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.errors import InputError
from circuitlsc.planning.broken_loop import LARGEST, gaussian_covariance, variance_factor
from circuitlsc.planning.extrapolation import extrapolate
from circuitlsc.reference.exact import gaussian_posterior
from circuitlsc.reference.statistics import mean_with_mcse
from circuitlsc.validation.same_noise import path_difference, same_noise

ALPHA = 1e-4  # false alarms per test, shared by its statistics


def problem(prior, sigma=0.5, n=4):
    model = SparseCodingModel(bars(n), prior, sigma)
    return model, model.draw(np.random.default_rng(1))[1]


def test_variance_factor_of_one_mode():
    """The recursion itself, many chains at once, at two loop rates, and with a rate of the prior's own."""
    rng, chains, n = np.random.default_rng(2), 4000, 600
    y, own = np.array([[0.15], [0.3], [0.3]]), np.array([[0.0], [0.0], [0.1]])
    u, held, older = np.zeros((3, chains)), np.zeros((3, chains)), np.zeros((3, chains))
    for _ in range(n):
        following = extrapolate(u, older, held)
        moved = u * (1 - own / 2) - y / 2 * (held + following) + np.sqrt(2) * rng.standard_normal((3, chains))
        older, held, u = u, following, moved / (1 + own / 2)
    measured = u**2 * (y + own)
    expected = np.array([variance_factor(*pair) for pair in np.hstack([y, own])])
    limit = stats.norm.isf(ALPHA / 2 / 3)
    mcse = measured.std(axis=1) / np.sqrt(chains)
    assert np.all(np.abs(measured.mean(axis=1) - expected) < limit * mcse)
    # control: without the factor, 15 to 30 % are easily told from it at the step's limit
    assert np.all(np.abs(measured.mean(axis=1) - 2 * expected) > limit * mcse)


def test_variance_factor_is_of_second_order_and_knows_when_a_mode_grows():
    errors = np.array([variance_factor(y) - 1 for y in (0.01, 0.02, 0.04)])
    slopes = np.diff(np.log2(errors))
    assert np.all(np.abs(slopes - 2) < 0.2), slopes
    assert variance_factor(LARGEST) == pytest.approx(1.0708, abs=1e-4)
    assert variance_factor(0.0, 0.5) == pytest.approx(1.0)  # Crank and Nicolson's trapezoid has no error
    assert variance_factor(2.0) == np.inf


@pytest.mark.ngspice
@pytest.mark.parametrize("form", ["gram", "residual"])
@pytest.mark.parametrize("prior", [SpikeSlab(0.3, 1.0), Laplace(1.0), Gaussian(0.8)], ids=str)
def test_circuit_follows_numpy(form, prior):
    model, x = problem(prior, n=3)
    sampler = build_sampler(model, x, form=form, loop="broken", tolerance=1e-9)
    samples = sampler.run(t_stop=800 * sampler.plan.step, chains=2, seed=2, warmup=0.0, thin=1)
    assert path_difference(sampler, samples, 800).max_abs <= 1e-5
    # control: the closed loop's path is another
    closed = build_sampler(model, x, form=form, step=sampler.plan.step, width=sampler.plan.width)
    assert path_difference(closed, samples, 800).max_abs > 1e-2


@pytest.mark.ngspice
def test_chunks_do_not_show_and_repeat_bit_by_bit(monkeypatch):
    monkeypatch.setattr("circuitlsc.sampling.circuit.chunk_length", lambda n_states: 2000)
    model, x = problem(Laplace(1.0))
    sampler = build_sampler(model, x, loop="broken", tolerance=1e-9)
    run = {"t_stop": 2100 * sampler.plan.step, "chains": 1, "seed": 3, "warmup": 0.0, "thin": 1}
    samples = sampler.run(**run)
    circuit, twin = same_noise(sampler, samples, 2100)
    assert samples.attrs["chunk"] == 2000
    assert samples.attrs["loop"] == "broken"
    assert np.abs(circuit - twin)[:, 1990:].max() <= 1e-5
    assert np.array_equal(samples.u, sampler.run(**run).u)


@pytest.mark.ngspice
def test_gaussian_covariance_and_residual_are_those_of_the_formula():
    model, x = problem(Gaussian(1.0))
    sampler = build_sampler(model, x, loop="broken")
    assert sampler.plan.step * model.rate == pytest.approx(LARGEST)
    samples = sampler.run(t_stop=6000.0, chains=2, seed=5, thin=3)
    mean, exact = gaussian_posterior(model, x)
    predicted = gaussian_covariance(model, 1.0, sampler.plan.step)
    i, j = np.triu_indices(model.n_latents)
    centred = samples.u - mean
    products = centred[..., i] * centred[..., j]
    power = np.sum((samples.s @ model.A.T - x) ** 2, axis=-1, keepdims=True)

    def expected(covariance):
        r = model.A @ mean - x
        return np.append(covariance[i, j], r @ r + np.trace(model.A @ covariance @ model.A.T))

    measured, mcse = mean_with_mcse(np.concatenate([products, power], axis=-1))
    first, first_mcse = mean_with_mcse(samples.u)
    limit = stats.norm.isf(ALPHA / 2 / (len(measured) + len(first)))
    assert np.abs((measured - expected(predicted)) / mcse).max() < limit
    assert np.abs((first - mean) / first_mcse).max() < limit
    # controls: the posterior's own covariance is not what this circuit samples, and the residual tells too
    uncorrected = np.abs((measured - expected(exact)) / mcse)
    assert uncorrected.max() > limit
    assert uncorrected[-1] > limit


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_covariance_scales_with_temperature(temperature):
    model, _ = problem(Gaussian(1.0), n=2)
    assert np.allclose(
        gaussian_covariance(model, 1.0, 0.02, temperature), temperature * gaussian_covariance(model, 1.0, 0.02)
    )


def test_a_covariance_with_a_tiny_step_is_the_posterior():
    model, x = problem(Gaussian(0.7), n=3)
    assert np.allclose(gaussian_covariance(model, 0.7, 1e-4), gaussian_posterior(model, x)[1], rtol=1e-4)


def test_the_step_is_shortened_and_the_report_says_so():
    model, x = problem(SpikeSlab(0.3, 1.0))
    closed, broken = (build_sampler(model, x, loop=loop) for loop in ("closed", "broken"))
    assert broken.plan.step < closed.plan.step
    assert broken.plan.step * model.rate == pytest.approx(LARGEST)
    assert "variance is too large by at most 7.08%" in broken.report()
    assert "loop broken" not in closed.report()
    # a stand-alone deck has its loop closed: nothing could extrapolate there
    assert "feedback" not in broken.deck(t_stop=100.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loop": "open"}, "'open' is not one of closed, broken"),
        ({"loop": "broken", "level": "device"}, 'needs circuit.level = "ideal"'),
        ({"loop": "broken", "dynamics": "lca"}, 'needs dynamics.kind = "langevin"'),
        ({"loop": "broken", "dynamics": Dynamics(kind="underdamped")}, 'needs dynamics.kind = "langevin"'),
        ({"loop": "broken", "step": 0.05}, "a h = 0.4, and the limit is 0.3. Give step <= 0.0375"),
    ],
)
def test_what_a_broken_loop_refuses(options, words):
    model, x = problem(SpikeSlab(0.3, 1.0))
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        build_sampler(model, x, **options)


def test_a_broken_loop_refuses_several_inputs():
    model, x = problem(SpikeSlab(0.3, 1.0))
    with pytest.raises(InputError, match="needs one input, and x has 2 rows"):
        build_sampler(model, np.stack([x, x]), hold=10.0, loop="broken")
