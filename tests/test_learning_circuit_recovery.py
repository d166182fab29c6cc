"""The circuit that learns finds what drew its inputs: dictionary, P(active), rate and noise level."""

import functools

import numpy as np
import pytest

from circuitlsc import CircuitLearner, SparseCodingModel, SpikeSlab, Stage, bars, match_atoms
from circuitlsc.learning import random_weights

pytestmark = pytest.mark.ngspice
SEEDS = range(3)


def truth(side, sigma):
    return SparseCodingModel(bars(side), SpikeSlab(0.3, 1.0), sigma)


def learner(side, sigma, seed, inputs, hold, learn, start=None, **taus):
    """Return a circuit that learns from random weights (if it learns A), and from ``start``."""
    model = truth(side, sigma)
    given = {"pi": 0.3, "lam": 1.0, "sigma": sigma} | (start or {})
    A0 = random_weights(*model.A.shape, seed) if "A" in learn else model.A
    stage = Stage.of_inputs(inputs, hold=hold, step=0.05, **taus)
    return CircuitLearner(A0=A0, source=model, seed=seed, learn=learn, stage=stage, **given)


@functools.cache
def learned(*args, **kwargs):
    return learner(*args, **kwargs).run().learned


# --- small ---


def small(seed=1, tau_A=600.0):
    return learned(2, 0.3, seed, 300, 10.0, ("A",), tau_A=tau_A)


def test_two_by_two_bars_from_random_weights():
    """The posterior of a norm after n inputs has a relative sd of 1/sqrt(0.3 n) at least: 0.12 for the last 225 or so."""
    match = match_atoms(bars(2), small().A)
    assert match.cosine.min() > 0.97
    assert np.abs(match.norm_ratio - 1).max() < 4 * 0.12
    start = match_atoms(bars(2), random_weights(4, 4, 1))
    assert start.cosine.min() < 0.9  # where it started would not pass


def test_a_circuit_that_is_too_slow_has_learned_nothing():
    match = match_atoms(bars(2), small(tau_A=1e6).A)
    assert match.cosine.min() < 0.9


# --- as large as ngspice bears ---


@pytest.mark.slow
def test_three_by_three_bars():
    matches = [match_atoms(bars(3), learned(3, 0.3, s, 4000, 10.0, ("A",), tau_A=3000.0).A) for s in range(5)]
    found = [m.cosine.min() >= 0.98 and m.norm_ratio.min() >= 0.85 and m.norm_ratio.max() <= 1.15 for m in matches]
    assert sum(found) >= 4, matches


@pytest.mark.slow
def test_four_by_four_bars():
    matches = [match_atoms(bars(4), learned(4, 0.3, s, 4000, 20.0, ("A",), tau_A=6000.0).A) for s in SEEDS]
    assert sum(m.cosine.min() >= 0.97 for m in matches) >= 2, matches


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_pi_with_the_dictionary_known(seed):
    assert abs(learned(3, 0.5, seed, 4000, 10.0, ("pi",), start=Start(pi=0.6), tau_u0=4000.0).pi - 0.3) <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_pi_with_the_dictionary_learned(seed):
    made = learned(3, 0.3, seed, 3000, 20.0, ("A", "pi"), start=Start(pi=0.6), tau_A=5000.0, tau_u0=6000.0)
    assert abs(made.pi - 0.3) <= 0.05
    assert match_atoms(bars(3), made.A).cosine.min() >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_lam_with_pi_held(seed):
    made = learned(3, 0.5, seed, 1000, 50.0, ("lam",), start=Start(lam=2.0), tau_lam=10_000.0)
    assert abs(made.lam - 1) <= 0.1
    assert made.pi == 0.3


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.5, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_sigma(seed, sigma):
    made = learned(3, sigma, seed, 1000, 50.0, ("sigma",), start=Start(sigma=2 * sigma), tau_sigma=5000.0)
    assert abs(made.sigma / sigma - 1) <= 0.1


@pytest.mark.slow
def test_weights_follow_those_of_software_on_the_same_inputs_and_noise():
    made = learner(3, 0.3, 0, 500, 10.0, ("A",), tau_A=3000.0)
    circuit, software = made.states(500), made.twin_states(500)
    weights = slice(made.model.n_latents, None)
    assert np.sqrt(np.mean((circuit - software)[:, weights] ** 2, axis=1)).max() <= 0.02
    other = learner(3, 0.3, 1, 500, 10.0, ("A",), tau_A=3000.0)
    assert np.sqrt(np.mean((circuit - other.states(500))[:, weights] ** 2)) > 0.1  # other inputs, noise and start


class Start(dict):
    """A dict that can be an argument of a cached function."""

    def __hash__(self):
        return hash(tuple(sorted(self.items())))
