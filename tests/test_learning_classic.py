"""DSC, LCA and SSC: their codes are MAP estimates, they learn the bars, and what normalisation is for."""

import json

import numpy as np
import pytest

from circuitlsc import InputError, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.learning import ClassicLearner, FromModel, Stage, match_atoms, random_weights, ssc_learner
from circuitlsc.reference.map_estimate import many_lasso

A = bars(4)
MODEL = SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)


def learner(method, **changes):
    settings = {"A0": random_weights(16, 8, 0), "lam": 1.0, "sigma": 0.5, "source": MODEL, "seed": 0, "n_updates": 400}
    return ClassicLearner(method=method, **{**settings, "rate": 0.1, **changes})


@pytest.mark.parametrize("method", ["dsc", "lca"])
@pytest.mark.parametrize("signed", [False, True])
def test_codes_are_map_estimates(method, signed):
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((16, 8)) / 3
    X = FromModel(SparseCodingModel(atoms, SpikeSlab(0.3, 1.0, signed), 0.5)).batch(0, 30, 0)
    codes = learner(method, A0=atoms, n_settle=4000, signed=signed).codes(atoms, X)
    exact = many_lasso(SparseCodingModel(atoms, Laplace(1.0, signed), 0.5), X)
    np.testing.assert_allclose(codes, exact, atol=1e-6)
    assert np.abs(codes - many_lasso(SparseCodingModel(atoms, Laplace(1.1, signed), 0.5), X)).max() > 1e-3


@pytest.mark.parametrize("method", ["dsc", "lca"])
def test_bars_are_learned(method):
    run = learner(method).run()
    match = match_atoms(A, run.learned.A)
    assert match.cosine.min() > 0.98, match
    np.testing.assert_allclose(match.norm_ratio, 1, atol=0.02)
    np.testing.assert_allclose(run.history["norm"], 1, rtol=1e-12)
    assert run.history["time"].attrs["units"] == "updates"
    assert len(run.history["time"]) == 400
    assert run.history["error"][-1] < run.history["error"][0]
    assert run.learned.pi == 1


def test_one_update_is_the_gradient():
    run = learner("dsc", A0=A, n_updates=1, normalise=False)
    X = FromModel(MODEL).batch(0, 100, 0)
    s = run.codes(A, X)

    def energy(atoms):  # the misfit of (2.17), a mean over the batch as in (2.11)
        return np.sum((X - s @ atoms.T) ** 2) / (2 * 0.5**2) / len(X)

    change, step = run.run().learned.A_final - A, 1e-5
    for place in [(0, 0), (5, 3), (15, 7)]:
        probe = np.zeros_like(A)
        probe[place] = step
        slope = (energy(A + probe) - energy(A - probe)) / (2 * step)
        assert change[place] == pytest.approx(-0.1 * slope, rel=1e-6, abs=1e-9)


def test_without_normalisation_atoms_grow_on_and_on():
    norms = learner("dsc", A0=A, normalise=False).run().history["norm"].mean("latent").values
    assert norms[-1] > 1.3 * norms[0]
    assert np.all(np.diff(norms[::50]) > 0)
    assert norms[-1] - norms[-100] > 0.01


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ssc_moves_both_at_once(temperature):
    stages = [Stage(duration=600.0, step=0.02, hold=10.0, tau_A=30.0)]
    run = ssc_learner(
        A0=random_weights(16, 8, 0), lam=1.0, sigma=0.5, source=MODEL, stages=stages, seed=0, temperature=temperature
    ).run()
    np.testing.assert_allclose(run.history["norm"], 1, rtol=1e-12)
    match = match_atoms(A, run.learned.A)
    if temperature == 0:  # sampling with the wrong prior and fixed norms is not promised to find the atoms
        assert match.cosine.min() > 0.95, match


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "map"}, r"ClassicLearner: method = 'map' is unknown\. Give one of dsc, lca\."),
        ({"hard": True}, r'ClassicLearner: hard = True, but only an LCA has a threshold\. Give method = "lca"\.'),
        ({"rate": 0.0}, r"ClassicLearner: rate = 0\.0, but it must be positive\. Give .*"),
        ({"n_settle": 0}, r"ClassicLearner: n_settle = 0 cannot be used\. Give an integer >= 1\."),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InputError, match=rf"^{message}$"):
        learner(**{"method": "dsc", **changes})


def test_divergence_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr("circuitlsc.io.arrays.HUGE", np.inf)  # such a rate would be refused
    message = r"^ClassicLearner: it diverged at update 1: rate = 1e\+308 is too large, .* Lower the rate\.$"
    with np.errstate(all="ignore"), pytest.raises(InputError, match=message):
        learner("dsc", normalise=False, rate=1e308).run()


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path):
    made = learner("dsc", n_updates=40, batch=20)
    whole, path = made.run(), tmp_path / "checkpoint.npz"

    class Stopped(Exception):
        pass

    def stop(at):
        def progress(done, total):
            assert total == 40
            if done == at:
                raise Stopped

        return progress

    for at in (7, 35):  # before and within the average
        with pytest.raises(Stopped):
            made.run(checkpoint=path, every=0, progress=stop(at))
    resumed = made.run(checkpoint=path, every=0)
    np.testing.assert_array_equal(resumed.learned.A, whole.learned.A)
    np.testing.assert_array_equal(resumed.u, whole.u)
    assert resumed.history.identical(whole.history)
    assert json.loads(whole.history.attrs["settings"]) == made.settings()
    with pytest.raises(InputError, match=r"with rate = 0\.1, but this one has 0\.2\."):
        learner("dsc", n_updates=40, batch=20, rate=0.2).run(checkpoint=path)
