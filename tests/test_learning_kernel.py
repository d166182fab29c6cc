"""The compiled step against the same step in plain NumPy, and its deviates against the normal law."""

import dataclasses
import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from learning_rules import Parameters, take_step
from scipy.stats import kstest, norm

from circuitlsc.learning import kernel
from circuitlsc.learning.kernel import Rates, fill, workspace

N, D, K = 12, 7, 20
BOUND = float(norm.isf(1e-4 / 20 / 2))  # one chance in 10,000 that right deviates fail any of (at most) 20 numbers


def both(advance, dtype, n_steps, *, signed=False, normalise=False, split=False, start=0.6, **moves):
    """Run the kernel and NumPy with the same deviates, u0 from ``start``; return (workspace, Parameters, u)."""
    rng = np.random.default_rng(3)
    A, x = 0.5 * rng.standard_normal((D, K)), rng.standard_normal((N, D)).astype(dtype)
    u, noise = rng.laplace(size=(N, K)).astype(dtype), rng.standard_normal((n_steps, N, K)).astype(dtype)
    rates = Rates(0.01, 1.3, *(moves.get(name, 0.0) for name in ("A", "u0", "lam", "sigma")), signed, normalise, split)
    w = workspace(u, A, np.array([start, 1.4, 0.7]))
    advance(w, x, noise, rates)
    p, u = Parameters(A, start, 1.4, 0.7, signed), u.astype(float)
    for deviates in noise:
        p, u = take_step(p, u, x.astype(float), deviates.astype(float), rates)
    return w, p, u


def error(w, p, u):
    slow = np.array([p.u0, p.lam, p.sigma])
    return max(np.abs(w.u - u).max(), np.abs(w.A.T - p.A).max(), np.abs(w.slow - slow).max())


MOVES = {"A": 0.01, "u0": 0.002, "lam": 0.001, "sigma": 0.003}


@pytest.mark.parametrize(
    ("advance", "dtype"),
    [
        pytest.param(kernel._advance_serial, "float32", id="float32-serial"),
        pytest.param(kernel._advance_parallel, "float32", id="float32-parallel"),
        pytest.param(kernel._advance_serial, "float64", id="float64-serial"),
        pytest.param(kernel._advance_parallel, "float64", id="float64-parallel", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        MOVES,
        {},
        {"A": 0.01},
        {"A": 0.01, "normalise": True},
        {**MOVES, "u0": 0.0},
        {**MOVES, "u0": 10.0},
        {**MOVES, "split": True},
    ],
    ids=["all", "none", "A", "A-normalised", "no-pi", "pi-to-1", "split"],
)
def test_the_kernel_is_the_plain_step(advance, dtype, signed, settings):
    tolerance = 1e-10 if dtype == "float64" else 2e-5
    assert error(*both(advance, dtype, 10, signed=signed, **settings)) < tolerance


def test_another_step_is_noticed():
    """Negative controls of the comparison: a rate, a sign, the order of the deviates."""
    w, p, u = both(kernel._advance_serial, "float64", 3, **MOVES)
    for other in (
        {**MOVES, "A": 0.0101},
        {**MOVES, "u0": 0.00201},
        {**MOVES, "lam": 0.0},
        {**MOVES, "sigma": 0.00301},
        {**MOVES, "signed": True},
        {**MOVES, "split": True},
    ):
        assert error(w, *both(kernel._advance_serial, "float64", 3, **other)[1:]) > 1e-7
    assert error(w, dataclasses.replace(p, u0=p.u0 + 1e-9), u) > 1e-10


@pytest.mark.parametrize("signed", [False, True])
def test_without_a_spike_every_latent_is_active(signed):
    w, p, u = both(kernel._advance_serial, "float64", 10, signed=signed, start=0.0, A=0.01, lam=0.001, sigma=0.003)
    assert error(w, p, u) < 1e-10
    np.testing.assert_array_equal(w.usage, 10 * N)
    assert w.slow[0] == 0


def test_the_rate_moves_alone_and_pi_stays():
    w, _, _ = both(kernel._advance_serial, "float64", 50, lam=0.01)
    assert abs(w.slow[1] - 1.4) > 0.01
    assert w.slow[0] * w.slow[1] == pytest.approx(0.6 * 1.4, rel=1e-12)


def test_sums_are_means_of_what_was_before_each_step():
    rng = np.random.default_rng(1)
    A, u, x = rng.standard_normal((D, K)), rng.laplace(size=(N, K)), rng.standard_normal((N, D))
    w = workspace(u, A, np.array([0.6, 1.4, 0.7]))
    kernel.advance(w, x, np.zeros((1, N, K)), Rates(0.01, 1.0, 0.0, 0.0, 0.0, 0.0, False, False))
    s = np.maximum(np.abs(u) - 0.6, 0)
    expected = 1, np.mean((s @ A.T - x) ** 2), np.mean(s > 0), np.mean(s)
    np.testing.assert_allclose(w.sums, expected, rtol=1e-12)
    np.testing.assert_array_equal(w.usage, np.sum(s > 0, 0))


HASH = """
import hashlib, numpy as np
from circuitlsc.learning import Learner, Stage, random_weights
run = Learner(A0=random_weights(16, 100, 0), pi=0.2, lam=1.0, sigma=0.5, learn=("A", "pi", "sigma"), seed=1,
    source=np.random.default_rng(0).standard_normal((50, 16)),
    stages=[Stage(duration=1.0, step=0.01, hold=0.2, tau_A=50.0, tau_u0=50.0, tau_sigma=50.0)]).run()
print(hashlib.sha256(run.learned.A.tobytes() + run.u.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit():
    """100 inputs x 100 latents: enough for the kernel with threads."""
    assert kernel._PARALLEL_FROM <= 100 * 100
    hashes = [
        subprocess.run(
            [sys.executable, "-c", HASH], env={**os.environ, "NUMBA_NUM_THREADS": n}, capture_output=True, text=True
        )
        for n in ("1", "3")
    ]
    assert hashes[0].returncode == 0, hashes[0].stderr
    assert len(hashes[0].stdout.strip()) == hashlib.sha256().digest_size * 2
    assert hashes[0].stdout == hashes[1].stdout


def test_deviates_are_normal():
    rng, out = np.random.Generator(np.random.SFC64(0)), np.empty((200, 50, 200))
    fill(rng, out)
    z = out.ravel()
    n = z.size
    assert abs(z.mean()) * math.sqrt(n) < BOUND
    assert abs(np.mean(z**2) - 1) * math.sqrt(n / 2) < BOUND
    assert abs(np.mean(z**3)) * math.sqrt(n / 15) < BOUND
    assert abs(np.mean(z**4) - 3) * math.sqrt(n / 96) < BOUND
    for edge in (1.0, 3.0, 3.6541528853610088, 4.2):  # body, the last layers, and the tail that is drawn apart
        expected = 2 * n * norm.sf(edge)
        assert abs(np.sum(np.abs(z) > edge) - expected) / math.sqrt(expected) < BOUND
    assert kstest(z[::20], "norm").pvalue > 1e-5
    # Negative controls: a variance 1 % off, and no tail
    assert abs(np.mean((1.005 * z) ** 2) - 1) * math.sqrt(n / 2) > BOUND
    assert n * 2 * norm.sf(3.6541528853610088) / math.sqrt(n * 2 * norm.sf(3.6541528853610088)) > BOUND


def test_deviates_are_independent():
    rng, out = np.random.Generator(np.random.SFC64(0)), np.empty((50, 40, 500))
    fill(rng, out)
    rows = out.transpose(1, 0, 2).reshape(40, -1)
    n = rows.shape[1]
    for product in (rows[:, 1:] * rows[:, :-1], rows[1:] * rows[:-1], rows[1:, 1:] * rows[:-1, :-1]):
        assert abs(product.mean()) * math.sqrt(product.size) < BOUND
        squares = (product**2 - 1).mean()  # E z^4 = 3, so that the variance of z1^2 z2^2 is 8
        assert abs(squares) * math.sqrt(product.size / 8) < BOUND
    correlations = np.corrcoef(rows)[np.triu_indices(40, 1)] * math.sqrt(n)
    assert np.abs(correlations).max() < norm.isf(1e-4 / len(correlations) / 2)


def test_deviates_do_not_depend_on_how_many_are_drawn_at_once():
    whole, parts = np.empty((6, 3, 5), np.float32), np.empty((6, 3, 5), np.float32)
    fill(np.random.Generator(np.random.SFC64(4)), whole)
    rng = np.random.Generator(np.random.SFC64(4))
    for part in (parts[:1], parts[1:4], parts[4:]):
        fill(rng, part)
    np.testing.assert_array_equal(whole, parts)
    other = np.empty_like(whole)
    fill(np.random.Generator(np.random.SFC64(5)), other)
    assert not np.any(other == whole)


def test_two_threads_learn_at_once_in_the_simplest_threading_layer():
    """Numba's workqueue aborts a process whose threads enter parallel loops at the same time."""
    code = """
import sys, threading, numpy as np, numba
from circuitlsc.learning import Learner, Stage
def learn(seed):
    start = np.abs(np.random.default_rng(0).standard_normal((16, 64))) / 10
    stage = Stage(duration=2.0, step=0.02, hold=1.0, tau_A=100.0)
    source = np.random.default_rng(1).standard_normal((50, 16))
    run = Learner(A0=start, pi=0.3, lam=1.0, sigma=0.5, source=source, batch=200, stages=[stage], seed=seed).run()
    done[seed] = run.learned.A.sum()
done = {}
threads = [threading.Thread(target=learn, args=(seed,)) for seed in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
at_once, done = done, {}
[learn(seed) for seed in range(3)]
assert numba.threading_layer() == "workqueue"
assert at_once == done and len(set(done.values())) == 3
"""
    env = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-500:]
