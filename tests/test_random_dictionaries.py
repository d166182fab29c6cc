"""Twenty random dictionaries, narrow and wide, signed and not: the circuit against the exact posterior (slow)."""

import numpy as np
import pytest

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.reference.statistics import floored_mcse, summarize
from circuitlsc.validation.judge import exact_statistics

BIAS = 0.005  # allowed in P(active), and in the mean in units of 1/lam, apart from noise
Z = 4.0


def problem(seed):
    rng = np.random.default_rng([2022, seed])
    n_features, n_latents = (int(v) for v in rng.integers(2, 17, 2))
    sigma = float(rng.uniform(0.1, 0.5))
    A = rng.standard_normal((n_features, n_latents))
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.3, 1.0, signed=bool(seed % 2)), sigma)
    return model, model.draw(rng)[1]


def errors(model, x, *, t_stop, truth=None, seed=1):
    """Return (name, circuit - exact, standard error) of every statistic, and the largest R-hat."""
    sampler = build_sampler(model, x)
    samples = sampler.run(t_stop=t_stop, chains=2, seed=seed, warmup=50.0)
    circuit = summarize(samples.s, model.active(samples.u), model=model, x=x, method="circuit")
    exact = exact_statistics(truth or model, x, seed=seed)
    mcse, mcse_exact = floored_mcse(circuit, exact), floored_mcse(exact, exact)
    rows = []
    for name in ("p_active", "mean"):
        d = getattr(circuit, name) - getattr(exact, name)
        se = np.hypot(mcse[name], mcse_exact[name])
        rows += [(f"{name}[{k}]", d[k], se[k]) for k in range(model.n_latents)]
    return sampler, circuit, rows


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("seed", range(20))
def test_random_dictionary(seed):
    model, x = problem(seed)
    sampler, circuit, rows = errors(model, x, t_stop=3_000.0)
    worst = max(rows, key=lambda row: abs(row[1]) - Z * row[2])
    print(
        f"{seed:2d} {model.n_features:2d} x {model.n_latents:2d} sigma {model.sigma:.3f} step {sampler.plan.step:.5f} "
        f"worst {worst[0]} {worst[1]:+.4f} +- {worst[2]:.4f} ess {circuit.ess_min:.0f} rhat {circuit.rhat_max:.3f} "
        f"largest se {max(row[2] for row in rows):.4f}"
    )
    assert all(abs(d) <= BIAS + Z * se for _, d, se in rows), f"{worst} (R-hat {circuit.rhat_max:.3f})"


@pytest.mark.slow
@pytest.mark.ngspice
def test_a_wrong_slab_is_noticed():
    model, x = problem(4)
    wrong = SparseCodingModel(model.A, SpikeSlab(0.3, 2.0), model.sigma)
    _, _, rows = errors(model, x, t_stop=3_000.0, truth=wrong)
    assert any(abs(d) > BIAS + Z * se for _, d, se in rows)
