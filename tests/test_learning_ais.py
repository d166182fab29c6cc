"""Annealed importance sampling against exact log likelihoods."""

import re

import numpy as np
import pytest
from scipy.stats import norm

from circuitlsc import Gaussian, InputError, Laplace, ReferenceRefusedError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.learning import ais_log_likelihood
from circuitlsc.reference.exact import log_evidence

PRIORS = {
    "spike-slab": SpikeSlab(0.3, 1.4),
    "spike-slab-signed": SpikeSlab(0.3, 1.4, signed=True),
    "laplace": Laplace(1.4),
    "exponential": Laplace(1.4, signed=False),
}
A = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 0.3], [0.2, 0.0, 0.9], [0.4, 0.1, 0.1]])
N = 6


def problem(prior, n_latents):
    model = SparseCodingModel(A[:, :n_latents], prior, 0.4)
    rng = np.random.default_rng(1)
    return model, np.array([model.draw(rng)[1] for _ in range(N)])


@pytest.mark.parametrize("n_latents", [1, 2, 3])
@pytest.mark.parametrize("name", PRIORS)
def test_it_is_the_exact_log_likelihood(name, n_latents):
    model, X = problem(PRIORS[name], n_latents)
    found = ais_log_likelihood(model, X, seed=1, n_sweeps=200, n_particles=400)
    bound = float(norm.isf(1e-4 / N / 2))

    def deviation(model):
        exact = np.array([log_evidence(model, x) for x in X])
        return float(np.max(np.abs(found.log_p - exact) / np.hypot(found.se, 3e-4)))

    assert np.all(found.se < 0.03)
    assert found.unreliable == 0
    assert deviation(model) < bound
    slack = type(model.prior)(**{**vars(model.prior), "lam": 1.7})
    for wrong in (SparseCodingModel(model.A, slack, 0.4), SparseCodingModel(model.A, model.prior, 0.45)):
        assert deviation(wrong) > bound


def test_the_standard_error_is_that_of_other_seeds():
    model, X = problem(PRIORS["spike-slab"], 3)
    runs = [ais_log_likelihood(model, X[:3], seed=seed, n_sweeps=50, n_particles=60) for seed in range(200)]
    scatter = np.std([run.log_p for run in runs], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([run.se**2 for run in runs], axis=0))
    np.testing.assert_allclose(claimed, scatter, rtol=0.3)  # a standard deviation of 200 is good to 5 %


def test_a_row_depends_on_seed_and_place_alone():
    model, X = problem(PRIORS["spike-slab"], 3)
    all_rows = ais_log_likelihood(model, X, seed=3, n_sweeps=20)
    np.testing.assert_array_equal(ais_log_likelihood(model, X[:2], seed=3, n_sweeps=20).log_p, all_rows.log_p[:2])
    assert np.all(ais_log_likelihood(model, X, seed=4, n_sweeps=20).log_p != all_rows.log_p)


def test_the_right_dictionary_is_the_likelier():
    """4x4 bars: against a random dictionary, and against the right one with norms half as long."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    rng = np.random.default_rng(0)
    X = np.array([model.draw(rng)[1] for _ in range(100)])
    random = rng.standard_normal(model.A.shape)
    right, *others = (
        ais_log_likelihood(SparseCodingModel(atoms, model.prior, 0.5), X, seed=0, n_sweeps=50)
        for atoms in (model.A, 0.5 * model.A, random / np.linalg.norm(random, axis=0))
    )
    for other in others:
        gain = right.log_p - other.log_p
        assert gain.mean() > 4 * gain.std(ddof=1) / 10


def test_what_is_refused():
    model, X = problem(PRIORS["spike-slab"], 3)
    message = "ais_log_likelihood: n_particles = 1 cannot be used. Give an integer >= 2."
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        ais_log_likelihood(model, X, seed=0, n_particles=1)
    with pytest.raises(InputError, match=r"^x has shape \(4,\), but many observations are rows of n_features = 4 "):
        ais_log_likelihood(model, X[0], seed=0)
    gaussian = SparseCodingModel(A, Gaussian(1.0), 0.4)
    with pytest.raises(ReferenceRefusedError, match=r"^ais_log_likelihood: the prior .* Use SpikeSlab or Laplace\.$"):
        ais_log_likelihood(gaussian, X, seed=0)
    with pytest.raises(ReferenceRefusedError, match=r"^log_evidence: a Gaussian prior has no supports"):
        log_evidence(gaussian, X[0])
