"""The circuit in ngspice against the NumPy trapezoid on the same noise, and the Gaussian closed form for any step."""

import numpy as np
import pytest
from scipy import stats

from circuitlsc import Dynamics, Gaussian, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit.graph import Twin
from circuitlsc.circuit.systems import lsc
from circuitlsc.errors import CircuitLSCError
from circuitlsc.reference.exact import gaussian_posterior
from circuitlsc.reference.pathwise import trapezoid
from circuitlsc.reference.statistics import mean_with_mcse, summarize
from circuitlsc.validation.same_noise import path_difference, same_noise

pytestmark = pytest.mark.ngspice
ALPHA = 1e-4  # false alarms per test, shared by its statistics


def problem(prior, sigma=0.5, n=4):
    model = SparseCodingModel(bars(n), prior, sigma)
    return model, model.draw(np.random.default_rng(1))[1]


@pytest.mark.parametrize("form", ["gram", "residual"])
@pytest.mark.parametrize(
    ("tolerance", "t_stop", "rms", "largest"),
    [pytest.param(None, 1000.0, 2e-4, np.inf, marks=pytest.mark.slow), (1e-9, 250.0, 1e-5, 1e-5)],
)
def test_circuit_follows_numpy(form, tolerance, t_stop, rms, largest):
    model, x = problem(SpikeSlab(0.3, 1.0))
    sampler = build_sampler(model, x, form=form, **({} if tolerance is None else {"tolerance": tolerance}))
    samples = sampler.run(t_stop=t_stop, chains=1, seed=1, warmup=0.0, thin=1)
    difference = path_difference(sampler, samples, 20_000)
    assert difference.time == pytest.approx(t_stop)
    assert difference.rms <= rms
    assert difference.max_abs <= largest


@pytest.mark.parametrize(
    "prior",
    [SpikeSlab(0.3, 1.0, signed=True), SpikeSlab(1.0, 2.0), Laplace(1.0), Laplace(2.0, signed=False), Gaussian(0.8)],
    ids=str,
)
def test_every_prior_follows_numpy(prior):
    model, x = problem(prior, sigma=0.4, n=3)
    sampler = build_sampler(model, x, tolerance=1e-9)
    samples = sampler.run(t_stop=2000 * sampler.plan.step, chains=2, seed=2, warmup=0.0, thin=1)
    assert path_difference(sampler, samples, 2000).max_abs <= 1e-5


def test_a_wrong_twin_is_noticed():
    model, x = problem(SpikeSlab(0.3, 1.0))
    sampler = build_sampler(model, x)
    samples = sampler.run(t_stop=100.0, chains=1, seed=1, warmup=0.0)
    wrong = SparseCodingModel(model.A, SpikeSlab(0.3, 1.02), model.sigma)
    other = build_sampler(wrong, x, width=sampler.plan.width, step=sampler.plan.step)
    assert path_difference(other, samples, 2000).rms > 2e-3


def test_chunks_do_not_show(monkeypatch):
    monkeypatch.setattr("circuitlsc.sampling.circuit.chunk_length", lambda n_states: 2000)
    model, x = problem(Laplace(1.0))
    sampler = build_sampler(model, x, tolerance=1e-9)
    samples = sampler.run(t_stop=2500 * sampler.plan.step, chains=1, seed=3, warmup=0.0, thin=1)
    circuit, twin = same_noise(sampler, samples, 2500)
    assert samples.attrs["chunk"] == 2000
    assert np.abs(circuit - twin)[:, 1990:].max() <= 1e-5


def test_trapezoid_has_second_order():
    """On one fine Brownian path the error falls by four when the step is halved (smooth force, additive noise)."""
    model, x = problem(Gaussian(1.0), n=2)
    twin = Twin(lsc(model, x, width=0.05))
    rng, n = np.random.default_rng(4), 2**12
    fine = rng.standard_normal((n, 1, 4)) * np.sqrt(2 * 0.5 / n)
    # a smooth path shows the scheme's order; Brownian motion would show the path's own roughness
    smooth = np.gradient(np.sin(np.linspace(0, 9, n + 1))[:-1, None] * np.ones(4), axis=0)[:, None] + 0 * fine
    ends = []
    for level in (1, 2, 4, 8):
        dw = smooth.reshape(n // (64 * level), 64 * level, 1, 4).sum(1)
        ends.append(trapezoid(twin, np.zeros((1, 4)), dw, 0.5 / len(dw), chunk=10**9)[-1])
    errors = [np.abs(e - ends[0]).max() for e in ends[1:]]
    slopes = np.diff(np.log2(errors))
    assert np.all((slopes > 1.6) & (slopes < 2.5)), (errors, slopes)


@pytest.mark.parametrize("step", [0.02, 0.05, 0.1])
def test_gaussian_covariance_is_exact_for_any_step(step):
    model, x = problem(Gaussian(1.0))
    sampler = build_sampler(model, x, step=step)
    samples = sampler.run(t_stop=2000.0, chains=2, seed=5, thin=max(1, round(0.1 / step)))
    mean, cov = gaussian_posterior(model, x)
    u = samples.u
    i, j = np.triu_indices(model.n_latents)
    centred = u - mean
    measured, mcse = mean_with_mcse(centred[..., i] * centred[..., j])
    first, first_mcse = mean_with_mcse(u)
    z = np.concatenate([(measured - cov[i, j]) / mcse, (first - mean) / first_mcse])
    limit = stats.norm.isf(ALPHA / 2 / len(z))
    assert np.abs(z).max() < limit, np.abs(z).max()
    # control: a covariance 1.5 times as large is not what the circuit has
    assert (np.abs(measured - 1.5 * cov[i, j]) / mcse)[i == j].min() > limit


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature(temperature):
    model, x = problem(Gaussian(1.0), n=2)
    samples = build_sampler(model, x, dynamics=Dynamics(temperature=temperature)).run(t_stop=2000.0, chains=2, seed=6)
    _, cov = gaussian_posterior(model.tempered(temperature), x)
    got = summarize(samples.s, model.active(samples.u), model=model, x=x, method="circuit")
    limit = stats.norm.isf(ALPHA / 2 / model.n_latents)
    assert np.all(np.abs(got.sd - np.sqrt(np.diag(cov))) < limit * got.sd_mcse)
    _, cold = gaussian_posterior(model, x)
    assert np.all(np.abs(got.sd - np.sqrt(np.diag(cold))) > limit * got.sd_mcse)


def test_an_ambiguous_step_is_an_error_not_a_number():
    model, x = problem(SpikeSlab(0.3, 1.0), sigma=0.2)
    twin = Twin(lsc(model, x, width=0.002))
    rng = np.random.default_rng(7)
    with pytest.raises(CircuitLSCError, match="no solution that Newton's iteration finds"):
        trapezoid(twin, np.zeros((4, 8)), rng.standard_normal((4000, 4, 8)) * 0.4, 0.08, chunk=10**9)
