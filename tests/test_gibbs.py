"""Gibbs sampling against closed forms, enumeration and quadrature; every comparison has one that must fail."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

import circuitlsc.reference.gibbs as gibbs_module
from circuitlsc import Cauchy, Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.reference.exact import enumerate_supports, gaussian_posterior, gaussian_statistics, single_latent
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.statistics import summarize

# One chance in 10,000 that a right sampler fails anywhere in this file, split over (at most) 2,000 numbers.
BOUND = float(norm.isf(1e-4 / 2_000 / 2))
COMPARED = ("p_active", "mean", "sd", "coactive", "residual_power")
SLAB = SpikeSlab(0.3, 1.3)
SIGNED = SpikeSlab(0.3, 1.3, signed=True)
SPARSE = [SLAB, SIGNED, SpikeSlab(1.0, 1.3), Laplace(1.3), Laplace(1.3, signed=False)]
NAMES = ["spike-slab", "spike-slab-signed", "spike-slab-pi-1", "laplace", "exponential"]


def statistics(model, x, s):
    active = s != 0 if model.prior.sparse else np.ones(s.shape, bool)
    return summarize(s, active, model=model, x=x, method="gibbs")


def largest_z(sampled, exact):
    """Largest deviation in standard errors; an indicator's is at least what its exact probability implies."""
    worst = 0.0
    for name in COMPARED:
        value, truth = np.atleast_1d(getattr(sampled, name)), np.atleast_1d(getattr(exact, name))
        mcse = np.atleast_1d(getattr(sampled, f"{name}_mcse"))
        if name in ("p_active", "coactive"):
            mcse = np.maximum(mcse, np.sqrt(np.maximum(truth * (1 - truth), 0) / sampled.ess_min))
        difference = np.abs(value - truth)
        worst = max(worst, float(np.max(np.divide(difference, mcse, out=1e12 * difference, where=mcse > 0))))
    return worst


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
@pytest.mark.parametrize("x", [[0.9, -0.3], [-0.8, 0.2], [0.4, 0.1]])
def test_one_latent_is_the_closed_form(prior, x):
    A = np.array([[0.9], [-0.4]])
    model = SparseCodingModel(A, prior, 0.35)
    sampled = statistics(model, x, gibbs(model, x, n_sweeps=5_000, seed=1, warmup=10))
    assert largest_z(sampled, single_latent(model, x)) < BOUND
    # Negative controls: another rate, another noise, the other sign.
    steeper = type(prior)(**{**vars(prior), "lam": 1.5 * prior.lam})
    assert largest_z(sampled, single_latent(SparseCodingModel(A, steeper, 0.35), x)) > BOUND
    assert largest_z(sampled, single_latent(SparseCodingModel(A, prior, 0.5), x)) > BOUND
    assert largest_z(sampled, single_latent(SparseCodingModel(-A, prior, 0.35), x)) > BOUND


@pytest.mark.parametrize("drive", [-1e7, -3e3, 4e3, 1e7])
@pytest.mark.parametrize("signed", [False, True])
def test_far_tails_neither_overflow_nor_underflow(drive, signed):
    model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.2, signed), 0.1)
    x = [drive * 0.1**2]
    s = gibbs(model, x, n_sweeps=20_000, seed=2, warmup=10, n_rungs=1)
    exact = single_latent(model, x)
    assert s.max() < 1.1 * abs(drive) / 100 + 1
    assert (s >= 0).all() or signed
    assert np.mean(s != 0) == pytest.approx(exact.p_active[0], abs=BOUND * math.sqrt(exact.p_active[0] / 8e4) + 1e-12)
    if drive < 0 and not signed:  # what is on is exponential, of mean 1 / (lam - drive)
        on = s[s > 0]
        assert on.size == 0 or on.mean() * (1.2 - drive) == pytest.approx(1, abs=BOUND / math.sqrt(on.size) + 1e-2)


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
@pytest.mark.parametrize("n_rungs", [1, 4])
def test_four_latents_are_the_enumeration(prior, n_rungs):
    rng = np.random.default_rng(11)
    A = rng.standard_normal((6, 4)) / math.sqrt(6) + 0.2  # all atoms overlap
    model = SparseCodingModel(A, prior, 0.3)
    x = model.draw(rng)[1]
    sampled = statistics(model, x, gibbs(model, x, n_sweeps=8_000, seed=3, n_rungs=n_rungs))
    assert largest_z(sampled, enumerate_supports(model, x)) < BOUND
    assert sampled.rhat_max < 1.01
    steeper = type(prior)(**{**vars(prior), "lam": 1.3 * prior.lam})
    assert largest_z(sampled, enumerate_supports(SparseCodingModel(A, steeper, 0.3), x)) > BOUND
    assert largest_z(sampled, enumerate_supports(SparseCodingModel(A, prior, 0.33), x)) > BOUND
    assert largest_z(sampled, enumerate_supports(SparseCodingModel(A, prior, 0.3), -x)) > BOUND


@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
@pytest.mark.parametrize("cosine", [0.98, -0.98])
@pytest.mark.parametrize("norm_ratio", [1.0, 2.0])
def test_overlapping_atoms_mix_and_are_the_enumeration(prior, cosine, norm_ratio, monkeypatch):
    """Two nearly parallel (or opposite) atoms: only the two-latent moves cross between them quickly."""
    A = np.array([[1.0, norm_ratio * cosine, 0.3], [0.0, norm_ratio * math.sqrt(1 - cosine**2), 0.5], [0, 0, 0.8]])
    model = SparseCodingModel(A, prior, 0.1)
    x = A @ [1.0, 0.1, 0.4] + [0.05, -0.03, 0.02]
    sampled = statistics(model, x, gibbs(model, x, n_sweeps=5_000, seed=4, n_rungs=1))
    exact = enumerate_supports(model, x)
    assert largest_z(sampled, exact) < BOUND
    # Negative control: the same model with the overlap's sign flipped.
    assert largest_z(sampled, enumerate_supports(SparseCodingModel(A * [1, -1, 1], prior, 0.1), x)) > BOUND
    monkeypatch.setattr(gibbs_module, "_COUPLED", 2.0)  # no pair overlaps that much: one latent at a time
    alone = statistics(model, x, gibbs(model, x, n_sweeps=5_000, seed=4, n_rungs=1))
    assert sampled.ess_min > 2 * alone.ess_min


def test_copies_of_an_atom_share_alike():
    """A_S^T A_S is singular, enumeration refuses; by symmetry both copies are active equally often."""
    model = SparseCodingModel(np.array([[1.0, 1.0], [0.5, 0.5]]), SLAB, 0.05)
    sampled = statistics(model, [1.0, 0.5], gibbs(model, [1.0, 0.5], n_sweeps=10_000, seed=5, n_rungs=1))
    se = math.hypot(*sampled.p_active_mcse)
    assert abs(sampled.p_active[0] - sampled.p_active[1]) < BOUND * se
    assert sampled.ess_min > 4_000


def test_replica_exchange_finds_the_other_explanation():
    """All rows and all columns of the bars make the same image; one latent at a time cannot leave either."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.07)
    x = model.A[:, :4].sum(1)
    on = (gibbs(model, x, n_sweeps=20_000, seed=6) != 0).mean(1)
    rows, columns = on[:, :4].mean(1), on[:, 4:].mean(1)
    assert np.abs(rows - columns).max() < 0.25
    # Negative control: without it every chain stays with the explanation it met first.
    on = (gibbs(model, x, n_sweeps=20_000, seed=6, n_rungs=1) != 0).mean(1)
    assert np.abs(on[:, :4].mean(1) - on[:, 4:].mean(1)).min() > 0.5


def test_gaussian_prior_is_the_closed_form():
    rng = np.random.default_rng(7)
    model = SparseCodingModel(rng.standard_normal((5, 3)), Gaussian(0.8), 0.6)
    x = model.draw(rng)[1]
    s = gibbs(model, x, n_sweeps=10_000, seed=7)
    mean, cov = gaussian_posterior(model, x)
    whitened = np.linalg.solve(np.linalg.cholesky(cov), (s - mean).reshape(-1, 3).T).T.reshape(s.shape)
    unit = statistics(SparseCodingModel(np.eye(3), Gaussian(1.0), 1.0), np.zeros(3), whitened)
    half = SparseCodingModel(math.sqrt(0.5) * np.eye(3), Gaussian(math.sqrt(2)), 1.0)  # its posterior is N(0, I), too
    exact = replace(gaussian_statistics(half, np.zeros(3)), residual_power=3.0)
    assert largest_z(unit, exact) < BOUND
    products = whitened[..., [0, 0, 1]] * whitened[..., [1, 2, 2]]
    alike = statistics(SparseCodingModel(np.eye(3), Gaussian(1.0), 1.0), np.zeros(3), products)
    assert (np.abs(alike.mean) < BOUND * alike.mean_mcse).all()
    wrong = np.linalg.solve(np.linalg.cholesky(1.2 * cov), (s - mean).reshape(-1, 3).T).T.reshape(s.shape)
    unit = statistics(SparseCodingModel(np.eye(3), Gaussian(1.0), 1.0), np.zeros(3), wrong)
    assert largest_z(unit, exact) > BOUND


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("prior", SPARSE, ids=NAMES)
def test_the_tempered_model_is_exp_of_minus_energy_over_t(prior, temperature):
    """Quadrature of exp(-E(u)/T), E the model's own energy; pi changes to pi^(1/T), which is easily forgotten."""
    model = SparseCodingModel(np.array([[1.0]]), prior, 0.5)
    x = [0.8]

    def density(u):
        return math.exp(-float(model.energy([u], x)) / temperature)

    kinks = sorted({-prior.threshold, 0.0, prior.threshold})
    mass = integrate.quad(density, -25, 25, points=kinks, limit=400)[0]
    first = integrate.quad(lambda u: float(model.latent([u])[0]) * density(u), -25, 25, points=kinks, limit=400)[0]
    sampled = statistics(model, x, gibbs(model.tempered(temperature), x, n_sweeps=5_000, seed=8, warmup=10))
    assert abs(sampled.mean[0] - first / mass) < BOUND * sampled.mean_mcse[0]
    if prior.sparse:
        off = integrate.quad(density, -prior.threshold, prior.threshold, points=[0.0])[0] / mass
        assert abs(sampled.p_active[0] - 1 + off) < BOUND * sampled.p_active_mcse[0]
        # Negative control: pi kept as it is.
        kept = SpikeSlab(prior.pi, prior.lam / temperature, prior.signed)
        wrong = SparseCodingModel(model.A, kept, 0.5 * math.sqrt(temperature))
        assert abs(single_latent(wrong, x).p_active[0] - 1 + off) > BOUND * sampled.p_active_mcse[0]


def test_the_stream_is_fixed_by_the_seed_and_the_chain():
    model = SparseCodingModel(bars(3), SLAB, 0.4)
    x = model.draw(np.random.default_rng(9))[1]
    four = gibbs(model, x, n_sweeps=50, seed=1, warmup=7)
    assert four.shape == (4, 50, 6)
    np.testing.assert_array_equal(four[:2], gibbs(model, x, n_sweeps=50, n_chains=2, seed=1, warmup=7))
    np.testing.assert_array_equal(four[:, 2::3], gibbs(model, x, n_sweeps=50, seed=1, warmup=7, thin=3))
    np.testing.assert_array_equal(four[:, 5:], gibbs(model, x, n_sweeps=45, seed=1, warmup=12))
    assert (four != gibbs(model, x, n_sweeps=50, seed=2, warmup=7)).any()
    assert (four >= 0).all()
    assert (four == 0).any()


def test_chains_start_apart():
    model = SparseCodingModel(bars(3), SLAB, 0.4)
    starts = [
        gibbs_module._start(model, model.gram, model.drive(np.zeros(9)), chain, np.random.default_rng(chain))
        for chain in range(4)
    ]
    assert not starts[0].any()
    assert (starts[1] > 0).all()
    assert len({tuple(s) for s in starts}) == 4


@pytest.mark.parametrize(
    "bad",
    [{"n_sweeps": 0}, {"n_chains": 0}, {"seed": -1}, {"seed": 1.5}, {"warmup": -1}, {"thin": 0}, {"n_rungs": 0}],
)
def test_counts_are_checked(bad):
    model = SparseCodingModel(np.eye(2), SLAB, 0.4)
    (name, value), *_ = bad.items()
    message = rf"^gibbs: {name} = {value} cannot be used\. Give an integer >= [01]\.$"
    with pytest.raises(InputError, match=message):
        gibbs(model, [0, 0], **{"n_sweeps": 10, "seed": 1, **bad})


def test_a_prior_without_known_conditionals_is_refused():
    model = SparseCodingModel(np.eye(2), Cauchy(1.0), 0.4)
    message = r"^gibbs: the prior .* has no known conditional draw\. Use SpikeSlab, Laplace or Gaussian\.$"
    with pytest.raises(ReferenceRefusedError, match=message):
        gibbs(model, [0, 0], n_sweeps=10, seed=1)
