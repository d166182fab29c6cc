"""Stand-alone decks of the systems that are no Langevin samplers: text, and plain ngspice against software."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_deck import FLOAT, NUMBER, elements, plain_ngspice, regenerate, unwrapped, z_scores

from circuitlsc.reference.map_estimate import lasso_map, objective
from circuitlsc.validation.judge import exact_statistics

assert plain_ngspice  # a fixture
SETTLING = ["bars4x4-gradient", "bars4x4-lca", "bars2x2-gradient-device", "bars2x2-lca-device"]
OTHERS = [*regenerate.DYNAMICS, *regenerate.STREAMED, "bars4x4-cauchy"]


@pytest.mark.parametrize("name", OTHERS)
def test_text(name):
    text = regenerate.text(name)
    sampler = regenerate.sampler(name)
    settles = sampler.dynamics.settles
    lines = text.splitlines()
    assert lines[0].startswith("* circuitlsc solver: " if settles else "* circuitlsc sampler: ")
    assert lines[-1] == ".end"
    assert text.isascii()
    assert max(len(line) for line in lines) <= 100
    assert [n for line in elements(text) for n in NUMBER.findall(line) if not FLOAT.fullmatch(n)] == []
    assert ("trrandom" in text) != settles
    assert ("* seed" in text) != settles
    assert ("lsc_momentum" in text) == (sampler.dynamics.kind == "underdamped")
    assert ("PWL(" in text) == (sampler.stream is not None)
    assert "external" not in text


def test_waveforms_of_a_stream_are_its_rows():
    """A change takes one step; between changes the source stands still."""
    sampler = regenerate.sampler("bars4x4-stream")
    waves = re.findall(r"^I\S+ 0 r_(\d+) PWL\((.*)\)$", unwrapped(regenerate.text("bars4x4-stream")), re.M)
    assert [int(j) for j, _ in waves] == list(range(16))
    s = sampler.scaling
    for j, numbers in waves:
        t, v = np.array(numbers.split(), dtype=float).reshape(-1, 2).T
        at = np.array([10.0, 60.0, 110.0, 199.0]) * s.tau
        rows = -np.interp(at, t, v) * s.r_node / s.volt_r
        np.testing.assert_allclose(rows, sampler.x[:, int(j)], rtol=1e-9)
        assert np.diff(t).min() == pytest.approx(sampler.plan.step * s.tau)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", SETTLING)
def test_plain_ngspice_settles_on_the_lasso(name, plain_ngspice):
    sampler = regenerate.sampler(name)
    means = np.array(list(plain_ngspice(regenerate.text(name)).values())) / sampler.scaling.volt
    code = np.where(np.abs(means) < 3 * sampler.plan.width, 0.0, means)
    code = code if sampler.model.prior.signed else np.maximum(code, 0.0)
    reference = lasso_map(sampler.model, sampler.x)
    assert objective(sampler.model, code, sampler.x) <= reference.objective * (1 + 1e-3)
    other = lasso_map(sampler.model, -sampler.x)
    assert objective(sampler.model, other.code, sampler.x) > reference.objective * (1 + 1e-3), "negative control"


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "name",
    ["bars4x4-underdamped", "bars2x2-underdamped-device", pytest.param("bars4x4-cauchy", marks=pytest.mark.slow)],
)
def test_plain_ngspice_samples_the_posterior(name, plain_ngspice):
    """Twelve seeds of 200 tau each; 12 seeds give t quantiles, family-wise 1e-3 over the 20 latents."""
    sampler = regenerate.sampler(name)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(plain_ngspice, [regenerate.text(name, seed=seed) for seed in range(12)]))
    assert runs[0] != runs[1]
    means = np.array([list(run.values()) for run in runs]) / sampler.scaling.volt
    exact = exact_statistics(sampler.model, sampler.x, seed=1)
    # half a width of rounding, and the held noise's variance, are a bias apart from noise
    error = np.std(means, axis=0, ddof=1) / np.sqrt(12)
    assert (np.abs(means.mean(axis=0) - exact.mean) <= 6.0 * error + 0.015).all(), z_scores(means, exact.mean)
    wrong = exact_statistics(sampler.model, -sampler.x, seed=1)
    assert (np.abs(means.mean(axis=0) - wrong.mean) > 6.0 * error + 0.015).any(), "negative control"


@pytest.mark.ngspice
def test_plain_ngspice_runs_a_stream(plain_ngspice):
    first, again = (plain_ngspice(regenerate.text("bars4x4-stream", seed=3)) for _ in range(2))
    assert first == again
    assert np.isfinite(list(first.values())).all()


@pytest.mark.slow
@pytest.mark.ngspice
def test_plain_ngspice_samples_the_inputs_of_a_memory(plain_ngspice):
    """Means over whole cycles of three inputs, of twelve seeds."""
    sampler = regenerate.sampler("bars2x2-memory")
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(plain_ngspice, [regenerate.text("bars2x2-memory", seed=seed) for seed in range(12)]))
    means = np.array([list(run.values()) for run in runs]) / sampler.scaling.volt
    error = np.std(means, axis=0, ddof=1) / np.sqrt(12)
    exact, wrong = (
        np.mean([exact_statistics(sampler.model, x).mean for x in rows], axis=0) for rows in (sampler.x, -sampler.x)
    )
    assert (np.abs(means.mean(axis=0) - exact) <= 6.0 * error + 0.015).all(), z_scores(means, exact)
    assert (np.abs(means.mean(axis=0) - wrong) > 6.0 * error + 0.015).any(), "negative control"
