"""A memory in software: its weights against a loop in NumPy, its noise against closed forms, its law against the posterior."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from circuitlsc import Cauchy, Gaussian, InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.model.features import Features, features_of
from circuitlsc.reference.memory import SoftwareMemory
from circuitlsc.reference.sampled import exact_statistics

Z = norm.isf(1e-3 / 2 / 2000)  # two-sided, at most 2,000 numbers in this file, one false alarm in 1,000 files
STEP_BIAS = 0.004  # of P(active), with steps of 0.02 of the fastest rate's time
ONE = Features(np.ones((1, 4)))  # one state for all inputs: "langevin" on a stream


def problem(side=2, n=4, prior=None):
    model = SparseCodingModel(bars(side), prior or SpikeSlab(0.3, 1.0), 0.5)
    return model, np.stack([model.draw(np.random.default_rng([side, i]))[1] for i in range(n)])


def any_features(n=4, H=6, seed=0):
    """Neither orthonormal nor dual; a write vector has a part along its feature, so that states fall."""
    rng = np.random.default_rng(seed)
    phi, other = rng.standard_normal((2, H, n)) / np.sqrt(H)
    return Features(phi), phi + 0.4 * other


@pytest.mark.parametrize("prior", [SpikeSlab(0.3, 1.0, True), Cauchy(2.0, 0.5)], ids=["slab", "cauchy"])
def test_weights_are_those_of_a_loop(prior):
    """Without noise; features, write vectors and leak as they come."""
    model, x = problem(prior=prior)
    features, V = any_features()
    starts = np.random.default_rng(1).normal(0, 2, (3, 4, model.n_latents))
    memory = SoftwareMemory(
        model,
        x,
        features=features,
        write=V,
        hold=0.4,
        n_runs=3,
        temperature=1e-12,
        leak=0.3,
        starts=starts,
        rate_step=1e9,
    )  # no noise, and no step as small as its kinks would have
    W, phi, h = memory.W, features.phi, memory.step
    np.testing.assert_allclose(W, features.weights_of(starts), atol=1e-6)
    start, found, states = W.copy(), memory.run(2), []
    for _ in range(2):
        for n in range(4):
            for _ in range(round(0.4 / h)):
                W = W - h * (model.energy_grad(W @ phi[:, n], x[n], 0.0)[..., None] * V[:, n] + 0.3 * W)
            states.append(W @ phi[:, n])
    np.testing.assert_allclose(memory.W, W, atol=1e-3)
    assert np.abs(W - start).max() > 0.3, "they move"
    last = found[:, :, :, -1].transpose(2, 1, 0, 3).reshape(8, 3, -1)
    np.testing.assert_allclose(last, states, atol=1e-3)


@pytest.mark.parametrize(("noise", "leak"), [("neuron", 0.0), ("weight", 0.0), ("weight", 0.5)])
def test_noise_of_weights_has_the_covariance_that_it_should(noise, leak):
    """All but without forces W diffuses: by sqrt(2 T / N) each, or along the vectors that are written."""
    model = SparseCodingModel(np.ones((1, 1)), Gaussian(1e4), 1e4)
    features, V = any_features(n=3, H=4)
    memory = SoftwareMemory(
        model, np.zeros((3, 1)), features=features, write=V, hold=0.5, n_runs=4096, noise=noise, temperature=1.7,
        leak=leak, starts=np.zeros((4096, 3, 1)),
    )  # fmt: skip
    memory.run(4)
    if noise == "neuron":
        known = 2 * 1.7 * 0.5 * 4 * V @ V.T
    else:
        t = 4 * 3 * 0.5
        known = 1.7 / 3 * (2 * t if leak == 0 else (1 - np.exp(-2 * leak * t)) / leak) * np.eye(4)
    W = memory.W[:, 0]
    found = W.T @ W / len(W)
    error = np.sqrt((np.outer(np.diag(known), np.diag(known)) + known**2) / len(W))
    assert (np.abs(found - known) < Z * error + 0.01 * np.diag(known).max()).all()


def excess(model, x, exact, time, **options):
    """Largest difference of P(active) of any input and latent from exact, in units of what is allowed: 1 is too far."""
    memory = SoftwareMemory(model, x, seed=5, **options)
    memory.run(round(15 / memory.hold))
    p = model.active(memory.run(round(time / memory.hold))).mean((2, 3))
    error = p.std(0, ddof=1) / np.sqrt(len(p))
    return float((np.abs(p.mean(0) - exact) / (Z * error + STEP_BIAS)).max())


def test_a_memory_has_the_posterior_of_every_input_at_every_hold():
    model, x = problem()
    features = features_of("relu:12", x)
    assert not features.orthonormal
    hot = replace(model, prior=SpikeSlab(0.3, 1.0, True))
    for of, T in ((model, 1.0), (hot, 2.0)):
        exact = np.stack([exact_statistics(of.tempered(T), row).p_active for row in x])
        for hold, order in ((0.5, "random"), (5.0, "cyclic")):
            assert excess(of, x, exact, 30, features=features, hold=hold, order=order, temperature=T) < 1
        wrong = {
            "another temperature": {"features": features, "temperature": 1.5 * T},
            "no dual vectors": {"features": features, "write": features.phi, "temperature": T},
            "one state for all": {"features": ONE, "temperature": T},
            "too few features": {"features": features_of("relu:3", x), "temperature": T},
            "weights' noise, a long hold": {"features": features_of("one-hot", x), "noise": "weight", "temperature": T},
        }
        for what, options in wrong.items():
            assert excess(of, x, exact, 30, hold=5.0, **options) > 1, what


def test_noise_of_weights_is_right_if_inputs_take_short_turns():
    model, x = problem()
    exact = np.stack([exact_statistics(model, row).p_active for row in x])
    one_hot = features_of("one-hot", x)
    assert excess(model, x, exact, 40, features=one_hot, hold=0.02, noise="weight") < 1
    assert excess(model, x, exact, 40, features=one_hot, hold=1.0, noise="weight") > 1


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 64])
def test_no_error_depends_on_the_hold(n):
    """4x4 bars: P(active) of every input at holds .5, 2 and 10, against exact, and against each other."""
    model, x = problem(4, n)
    exact = np.stack([exact_statistics(model, row, seed=i).p_active for i, row in enumerate(x)])
    features, found = features_of(f"relu:{2 * n}", x), {}
    for hold in (0.5, 2.0, 10.0):
        memory = SoftwareMemory(model, x, features=features, hold=hold, order="random", n_runs=256, seed=round(hold))
        memory.run(round(20 / hold))
        p = model.active(memory.run(round(100 / hold))).mean((2, 3))
        found[hold] = p.mean(0), p.std(0, ddof=1) / 16
        assert (np.abs(found[hold][0] - exact) < Z * np.hypot(found[hold][1], 0.003) + STEP_BIAS).all(), hold
    for hold in (2.0, 10.0):
        (p, se), (q, other) = found[0.5], found[hold]
        assert (np.abs(p - q) <= Z * np.hypot(se, other)).all(), hold  # the same step: no bias between them
    assert excess(model, x, exact, 100, features=Features(np.ones((1, n))), hold=10.0) > 10, "without a memory"


def test_orders_visit_every_input_as_often_and_runs_go_on():
    model, x = problem()
    for order in ("cyclic", "random"):
        one = SoftwareMemory(model, x, features=features_of("one-hot", x), hold=1.0, order=order, n_runs=3, seed=2)
        other = SoftwareMemory(model, x, features=features_of("one-hot", x), hold=1.0, order=order, n_runs=3, seed=2)
        whole = one.run(4)
        assert whole.shape == (3, 4, 4, one.draws_per_visit, 4)
        assert np.unique(whole.reshape(-1, 4), axis=0).shape[0] == whole.size // 4, "no draw is another's"
        if order == "cyclic":
            np.testing.assert_array_equal(np.concatenate([other.run(1), other.run(3)], axis=2), whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hold": 0.0}, "hold"),
        ({"noise": "none"}, "noise = 'none' is not one of neuron, weight"),
        ({"order": "once"}, "order = 'once' is not one of cyclic, random"),
        ({"features": Features(np.eye(3))}, r"features have shape \(3, 3\)"),
        ({"write": np.ones((2, 4))}, r"write \(2, 4\)"),
        ({"write": 1e4 * np.eye(4)[::-1], "rate_step": 1e3}, "diverged"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    model, x = problem(prior=Gaussian(1.0))
    with pytest.raises(InputError, match=said):
        SoftwareMemory(model, x, **{"features": features_of("one-hot", x), "hold": 1.0, **changes}).run(300)
