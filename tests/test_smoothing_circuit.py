"""Circuits whose comparators are the hyperbolic pair: plan, cells, ngspice against the twin, config, and what refuses it."""

import itertools
import tomllib

import numpy as np
import pytest
import tomli_w

from circuitlsc import InputError, Laplace, SparseCodingModel, SpikeSlab, build_sampler, judge
from circuitlsc.config.comparison import load_comparison_config
from circuitlsc.config.learning import parse_learn_config
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.model.smoothing import HYPERBOLIC, LOGISTIC
from circuitlsc.reference.exact import enumerate_supports
from circuitlsc.reference.statistics import virial
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.judge import _virial
from circuitlsc.validation.same_noise import path_difference

A, X = np.array([[1.0, 0.5], [0.0, 0.8], [0.2, 0.0]]), np.array([0.9, 0.4, 0.1])
CONFIG = {
    "model": {"dictionary": "bars:2", "sigma": 0.5},
    "prior": {"kind": "spike-slab", "pi": 0.3, "lam": 1.0},
    "circuit": {"smoothing": "hyperbolic"},
}


def model_with(prior, sigma=0.6):
    return SparseCodingModel(A, prior, sigma)


# --- plan and cells ---


def test_it_is_planned_half_as_wide():
    """And so the step is half as long, where the gate sets it; a width that is given is compared with that."""
    model = model_with(SpikeSlab(0.3, 1.0), 0.3)
    usual, sampler = build_sampler(model, X), build_sampler(model, X, smoothing="hyperbolic")
    assert usual.plan.smoothing == LOGISTIC
    assert sampler.plan.smoothing == HYPERBOLIC
    assert sampler.plan.width == usual.plan.width / 2
    assert sampler.plan.step == pytest.approx(usual.plan.step / 2, rel=0.02)
    (line,) = (line for line in sampler.plan.explanation if line.startswith("width"))
    assert line.startswith(f"width {sampler.plan.width:.4g} = 0.5 min(0.05 slab")
    assert line.endswith(", hyperbolic")
    given = build_sampler(model, X, smoothing="hyperbolic", width=2.1 * sampler.plan.width)
    assert any(warning.startswith("width = ") for warning in given.plan.warnings)
    assert f"units, {HYPERBOLIC.name}; step" in sampler.deck(t_stop=100.0)
    assert HYPERBOLIC.name not in usual.deck(t_stop=100.0) + usual.report() + repr(usual)


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("dynamics", ["langevin", "amortised"])
@pytest.mark.parametrize("prior", [SpikeSlab(0.3, 1.0), SpikeSlab(0.3, 1.0, signed=True), Laplace(1.0, signed=False)])
def test_drift_of_the_circuit_is_that_of_the_energy(prior, dynamics, level):
    """Within what tables are off, 0.009 of each factor; the logistic pair of the same width is far more."""
    model = model_with(prior)
    given = {} if dynamics == "langevin" else {"dynamics": dynamics, "hold": 5.0}
    x = X if dynamics == "langevin" else np.stack([X, -X])
    sampler = build_sampler(model, x, smoothing="hyperbolic", level=level, width=0.1, **given)
    u = np.random.default_rng(1).uniform(-3, 3, (200, 2))
    gate = next(cell for cell in sampler.graph.cells if cell.name == "gate")
    code = u if gate.comparator is None else prior.cells(0.1, 9.0, HYPERBOLIC).threshold(u)
    drift = gate.evaluate({"u": u, "e": code @ model.gram - model.drive(X)})
    error, other = (
        np.abs(drift + model.energy_grad(u, X, 0.1, smoothing)).max() for smoothing in (HYPERBOLIC, LOGISTIC)
    )
    scale = np.abs(model.energy_grad(u, X)).max()
    assert error < 0.012 * scale
    assert other > 3 * error


def test_the_twin_descends_the_energy_of_its_tables():
    """Around a loop from knot to knot the drift does no work: tables and all it is a gradient."""
    model = model_with(SpikeSlab(0.6, 1.0))
    sampler = build_sampler(model, X, smoothing="hyperbolic")
    cells = model.prior.cells(sampler.plan.width, 9.0, HYPERBOLIC)
    knots = np.unique(np.concatenate([cells.threshold.knots, cells.prior.knots]))
    low, middle, high = (cells.threshold.knots[np.searchsorted(cells.threshold.knots, v)] for v in (-1.0, 0.4, 1.2))
    corners = [(low, low), (high, low), (high, middle), (low, middle), (low, low)]
    work = []
    for a, b in itertools.pairwise(np.array(corners)):
        k = int(np.argmax(np.abs(b - a)))
        ends = np.sort([a[k], b[k]])
        u = knots[(knots >= ends[0]) & (knots <= ends[1])]
        states = np.repeat(a[None], 3 * (len(u) - 1), axis=0)
        states[:, k] = np.stack([u[:-1], (u[:-1] + u[1:]) / 2, u[1:]], axis=1).ravel()
        force = sampler.twin.drift(states)[:, k].reshape(-1, 3)  # a quadratic in each segment: Simpson is exact
        work.append(np.sign(b[k] - a[k]) * np.sum(np.diff(u) * (force @ [1, 4, 1]) / 6))
    assert np.abs(work).min() > 0.1
    assert abs(sum(work)) < 1e-9


def test_a_sampler_is_rebuilt_with_it():
    sampler = build_sampler(model_with(SpikeSlab(0.3, 1.0)), X, smoothing="hyperbolic")
    assert rebuilt(sampler, halvings=1).plan.smoothing == HYPERBOLIC
    assert rebuilt(sampler).library_deck == sampler.library_deck
    usual = rebuilt(sampler, smoothing="logistic")
    assert usual.plan.width == sampler.plan.width
    assert usual.library_deck != sampler.library_deck


# --- in ngspice ---


@pytest.mark.ngspice
def test_the_circuit_follows_its_twin(tmp_path):
    """K = 2, the same noise: 1e-5 of a unit; force and temperature by its own energy, which its file tells."""
    model = model_with(SpikeSlab(0.3, 1.0))
    sampler = build_sampler(model, X, smoothing="hyperbolic")
    samples = sampler.run(t_stop=100, chains=1, seed=7)
    assert path_difference(sampler, samples, 2000).rms < 1e-5
    wrong = build_sampler(model, X, width=sampler.plan.width, step=sampler.plan.step)
    assert path_difference(wrong, samples, 2000).rms > 1e-3
    how = {"width": sampler.plan.width, "temperature": 1.0}
    right, other = (virial(model, samples.draws("u"), X, smoothing=each, **how)[0] for each in (HYPERBOLIC, LOGISTIC))
    np.testing.assert_array_equal(_virial(sampler, samples)[0], right)
    assert np.abs(right - other).max() > 1e-3
    samples.save(tmp_path / "samples.nc")
    assert Samples.load(tmp_path / "samples.nc").attrs["smoothing"] == "hyperbolic"


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("signed", [False, True])
def test_the_circuit_samples_the_posterior(signed):
    """K = 2: the exact moments, and <u dE_w/du> = T; not those of a prior that is half as wide."""
    model = model_with(SpikeSlab(0.3, 1.0, signed))
    sampler = build_sampler(model, X, smoothing="hyperbolic")
    judged = judge(sampler, sampler.run(t_stop=3000, chains=2, seed=7))
    assert judged.path is not None
    assert judged.path.rms < 1e-5
    wrong = enumerate_supports(SparseCodingModel(A, SpikeSlab(0.3, 2.0, signed), 0.6), X)
    beyond = []
    for what in ("p_active", "mean", "sd"):
        limit = 4 * getattr(judged.circuit, f"{what}_mcse") + 0.005
        assert (np.abs(getattr(judged.circuit, what) - getattr(judged.exact, what)) <= limit).all(), what
        beyond.append(np.max(np.abs(getattr(judged.circuit, what) - getattr(wrong, what)) - limit))
    assert max(beyond) > 0
    assert all(abs(entry.z) < 4 for entry in judged.comparison.virial)


# --- config, and refusals ---


def written(tmp_path, **tables):
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(CONFIG | tables))
    return path


def test_config_and_resolved_config(tmp_path):
    config = load_config(written(tmp_path))
    sampler = config.sampler()
    assert sampler.plan.smoothing == HYPERBOLIC
    text = resolved_toml(config, sampler)
    assert tomllib.loads(text)["circuit"]["smoothing"] == "hyperbolic"
    (tmp_path / "again.toml").write_text(text)
    assert load_config(tmp_path / "again.toml").sampler().library_deck == sampler.library_deck
    plain = load_config(written(tmp_path, circuit={}))
    assert plain.sampler().plan.smoothing == LOGISTIC
    with pytest.raises(InputError, match=r"circuit\.smoothing = 'tanh' is not known\. .*Give .*\"hyperbolic\""):
        load_config(written(tmp_path, circuit={"smoothing": "tanh"}))


def test_of_two_samplers_that_are_compared_it_is_of_the_langevin_one(tmp_path):
    compared = load_comparison_config(written(tmp_path))
    assert compared.langevin["smoothing"] == "hyperbolic"
    assert "smoothing" not in compared.variational
    assert tomllib.loads(compared.resolved("compare"))["circuit"]["smoothing"] == "hyperbolic"


def test_learning_has_the_logistic_pair(tmp_path):
    data = CONFIG | {"learning": {"learn": ["A"]}}
    with pytest.raises(InputError, match=r"circuit\.smoothing = 'hyperbolic' is not a known key"):
        parse_learn_config(data, tmp_path / "learn.toml", "circuit")


@pytest.mark.parametrize("kind", ["gradient", "lca"])
def test_what_settles_has_the_logistic_pair(kind):
    message = rf'^circuit\.smoothing = "hyperbolic", but the cells of dynamics\.kind = "{kind}" are .* Leave it out\.$'
    with pytest.raises(InputError, match=message):
        build_sampler(model_with(Laplace(1.0)), X, dynamics=kind, smoothing="hyperbolic")


def test_hysteresis_has_the_logistic_pair():
    given = {"smoothing": "hyperbolic", "level": "device"}
    model = model_with(SpikeSlab(0.3, 1.0))
    build_sampler(model, X, **given, nonideal={"comparator": {"gate_offset": 1e-3}})
    message = (
        r'^circuit\.smoothing = "hyperbolic", but nonideal\.comparator\.hysteresis = 0\.006: the .* one of them out\.$'
    )
    with pytest.raises(InputError, match=message):
        build_sampler(model, X, **given, nonideal={"comparator": {"hysteresis": 6e-3}})
    with pytest.raises(InputError, match=r"^smoothing = 'soft' is not one of logistic, hyperbolic\.$"):
        build_sampler(model, X, smoothing="soft")
