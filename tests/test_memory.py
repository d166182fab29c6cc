"""Amortised Langevin dynamics: features, visits, the circuit of a memory against its twin, and samples by row."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from circuitlsc import Dynamics, SparseCodingModel, SpikeSlab, build_sampler, judge
from circuitlsc.circuit.cells import WrittenNoise
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.errors import InputError
from circuitlsc.model.features import Features, features_of
from circuitlsc.model.stream import Stream
from circuitlsc.sampling import compile as compiling
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.ngspice.transient import through_lines
from circuitlsc.validation.same_noise import path_difference, same_noise

A = np.random.default_rng(0).standard_normal((6, 3))
A /= np.linalg.norm(A, axis=0)
MODEL = SparseCodingModel(A, SpikeSlab(pi=0.4, lam=1.0, signed=True), 0.5)
X = np.random.default_rng(1).standard_normal((3, 6))
GIVEN = np.random.default_rng(2).standard_normal((3, 5))  # a file's features, (N, H)


def memory(features="one-hot", *, hold=1.0, order="cyclic", given=None, model=MODEL, x=X, **changes):
    dynamics = Dynamics(kind="amortised", features=features, **changes.pop("dynamics", {}))
    return build_sampler(model, x, dynamics=dynamics, hold=hold, order=order, features=given, **changes)


def ran(sampler, **run):
    return sampler.run(**{"t_stop": 30.0, "warmup": 4.0, "seed": 3, "workers": 2, **run})


# --- features ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one-hot", "orthogonal", "relu:8", "given"])
def test_dual_vectors_write_one_state_and_no_other(kind):
    found = features_of(kind, X, GIVEN if kind == "given" else None)
    eye = np.eye(3)
    assert found.rank == found.N == 3
    assert found.phi.T @ found.dual == pytest.approx(eye, abs=1e-12)
    assert found.dual_matrix @ found.phi == pytest.approx(found.dual, abs=1e-12)
    u = np.random.default_rng(3).standard_normal((2, 3, 4))
    assert np.swapaxes(found.weights_of(u) @ found.phi, -1, -2) == pytest.approx(u, abs=1e-12)
    assert found.orthonormal == (kind in ("one-hot", "orthogonal"))
    values = np.linalg.eigvalsh(found.kernel)
    assert found.conditioning == pytest.approx(values[0] / values[-1], rel=1e-9)
    if found.weights is not None:
        assert np.maximum(found.weights @ X.T + found.bias[:, None], 0) == pytest.approx(found.phi, abs=1e-15)
        assert found.phi.any(axis=1).all()
        assert (found.phi**2).sum(0).mean() == pytest.approx(1)


def test_fewer_features_than_inputs_write_a_projection():
    found = Features(GIVEN.T[:2])
    projection = found.phi.T @ found.dual
    assert (found.rank, found.conditioning) == (2, 0.0)
    assert projection @ projection == pytest.approx(projection, abs=1e-12)
    assert np.trace(projection) == pytest.approx(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given": GIVEN[:2], "features": "f.npy"}, "array of shape (2, 5), and x has 3 inputs"),
        ({"features": "relu:0"}, "has 0 features"),
        ({"features": "fourier"}, "is none of"),
        ({"given": np.eye(3)[:, [0, 1, 1]], "features": "f.npy"}, "has rank 2 for 3 inputs"),
        ({"given": np.pad(GIVEN, ((0, 0), (0, 1))), "features": "f.npy"}, "feature 5 is 0 for every input"),
        ({"given": 1e3 * GIVEN, "features": "f.npy"}, "the features reach"),
        ({"features": "relu:8", "dynamics": {"write": "same"}}, "not orthonormal"),
        ({"features": "relu:8", "dynamics": {"noise": "weight"}}, "dual vectors do not make up for it"),
        ({"order": "sorted"}, "run.order = 'sorted' is not one of"),
        ({"interpolate": "linear"}, "inputs that stand still"),
        ({"loop": "broken"}, "broken"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(InputError) as error:
        memory(**change)
    assert message in str(error.value)


def test_a_memory_needs_rows_and_others_have_no_features():
    with pytest.raises(InputError, match="x is one"):
        build_sampler(MODEL, X[0], dynamics="amortised")
    with pytest.raises(InputError, match="features belong to"):
        build_sampler(MODEL, X, hold=1.0, features=GIVEN)
    with pytest.raises(InputError, match="no sample would be left"):
        memory().run(t_stop=6.0, warmup=6.0)


# --- visits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["cyclic", "random"])
def test_places_of_draws(order):
    visits = Stream(np.zeros((4, 1)), 2.0, order=order).visits(t_stop=41.0, warmup=9.0, seed=1)
    assert visits.order.shape == (6, 4)  # whole cycles
    assert visits.dropped == 2
    assert (np.sort(visits.order, axis=1) == np.arange(4)).all()
    assert (order == "cyclic") == (visits.order == np.arange(4)).all()
    row = np.repeat(visits.sequence, 3)  # three draws of each visit
    for first, stop in ((0, 12), (5, 9)):
        places = visits.places(first, stop, 3)
        for n in range(4):
            assert places[n].tolist() == (np.flatnonzero(row[24:] == n)[first:stop] + 24).tolist()


# --- the circuit ------------------------------------------------------------------------------------------------------


def test_drift_is_the_gradient_through_the_write_line():
    """The twin's drift at random weights against finite differences of the model's own smooth energy."""
    sampler = memory("relu:8", dynamics={"leak": 0.3})
    f, width = sampler.features, sampler.plan.width
    inputs = {c.name: c.stream.rows[1] for c in sampler.graph.inputs_from_outside}
    W = np.random.default_rng(4).standard_normal((3, f.H))
    u = W @ f.phi[:, 1]

    def energy(u):
        return float(MODEL.energy(u, X[1], width=width))

    force = -approx_fprime(u, energy, 1e-7)
    expected = np.outer(force, f.dual[:, 1]) - 0.3 * W
    assert sampler.twin.drift(W.ravel(), inputs).reshape(W.shape) == pytest.approx(expected, rel=0.02, abs=0.02)


CASES = [
    ("one-hot", {"hold": 1.0}),
    ("one-hot", {"hold": 5.0, "order": "random"}),
    ("given", {"hold": 1.0, "order": "random"}),
    ("relu:8", {"hold": 5.0}),
    ("relu:8", {"hold": 0.5, "dynamics": {"leak": 0.02}, "form": "residual"}),
    ("orthogonal", {"hold": 0.5, "dynamics": {"noise": "weight", "temperature": 2.0}}),
]


@pytest.mark.parametrize(("features", "how"), CASES)
def test_circuit_and_twin_on_the_same_noise(features, how):
    sampler = memory(features, given=GIVEN if features == "given" else None, tolerance=1e-9, **how)
    difference = path_difference(sampler, ran(sampler), 10**6)
    assert difference.rms <= 1e-6
    assert difference.time == pytest.approx(30.0, abs=0.1)


def test_noise_of_another_row_is_another_path():
    """A control: with the write line one step late, the twin and the circuit part."""
    sampler = memory("relu:8", hold=0.5, tolerance=1e-9)
    samples = ran(sampler)
    twin, noise = sampler.twin, next(c for c in sampler.graph.cells if isinstance(c, WrittenNoise))
    whole = twin.spread
    twin.spread = lambda increments, x: whole(increments, {k: np.roll(v, 1, axis=0) for k, v in x.items()})
    circuit, late = same_noise(sampler, samples, 10**6)
    assert np.sqrt(np.mean((circuit - late) ** 2)) > 1e-3
    assert noise.size == 3


def test_dual_features_are_the_same_sampler():
    """Whatever the features are, states move as if each input had its own."""
    one, other = (ran(memory(features, tolerance=1e-9)) for features in ("one-hot", "relu:8"))
    assert one.u == pytest.approx(other.u, abs=1e-5)


def test_increments_are_multiplied_by_the_row_that_owns_the_step():
    task = memory("relu:8").tasks(memory("relu:8").run_plan(t_stop=9.0, warmup=0.0))[0]
    inputs, increments = task.rows[[0, 0, 1]], np.arange(6.0).reshape(2, 3)
    through, alone = through_lines(task, increments, inputs)
    dual = memory("relu:8").features.dual
    assert through.reshape(2, 3, -1) == pytest.approx(increments[..., None] * dual.T[[0, 1], None], rel=1e-12)
    assert alone.shape == (3, len(task.inputs))


def test_samples_by_row(tmp_path):
    sampler = memory(order="random", hold=1.0)
    samples = ran(sampler)
    s = samples.tree["posterior"]["s"]
    assert s.dims == ("row", "chain", "draw", "latent")
    visits = sampler.visits(samples.run_plan())
    assert s.shape == (3, 2, visits.kept * samples.draws_per_visit, 3)
    assert samples.by_row("u").shape == (2, 3, *s.shape[2:])
    assert samples.row_draws(1, "u").read(0, 5) == pytest.approx(samples.u[1][:, :5])
    assert (np.diff(samples.time) > 0).all()
    on = np.floor(samples.time[:, :: samples.draws_per_visit] - 1e-9).astype(int)
    assert (visits.sequence[on] == np.arange(3)[:, None]).all()
    samples.save(tmp_path / "samples.nc")
    again = Samples.load(tmp_path / "samples.nc")
    assert np.array_equal(again.u, samples.u)
    again.check_made_by(sampler)
    with pytest.raises(InputError, match="another order"):
        again.check_made_by(memory(order="cyclic", hold=1.0))
    with pytest.raises(InputError, match="another dynamics"):
        again.check_made_by(memory("orthogonal", order="random", hold=1.0))
    with pytest.raises(InputError, match="row_draws"):
        samples.draws("u")


def test_noise_of_weights_is_warned_of_where_visits_are_long():
    def warned(hold):
        return memory(dynamics={"noise": "weight"}, hold=hold).plan.warnings

    assert "times what it should be at the start of a visit of 1 tau" in warned(1.0)[-1]
    assert warned(0.005) == memory(hold=1.0).plan.warnings == ()


def test_where_the_inputs_start():
    sampler = memory("relu:8")
    W, U = sampler.starts(4, 0).reshape(4, 3, -1), sampler.row_starts(4, 0)
    assert np.swapaxes(W @ sampler.features.phi, -1, -2) == pytest.approx(U, abs=1e-12)
    assert not U[0].any()
    assert U[1].all()
    same = rebuilt(sampler, tolerance=1e-8)
    assert np.array_equal(same.features.phi, sampler.features.phi)
    assert same.stream.order == "cyclic"


def test_an_array_of_features_stays_in_what_is_rebuilt():
    """Its name is that of a kind, or its own: either way it is the same circuit."""
    for features in ("one-hot", "f.npy"):
        sampler = memory(features, given=GIVEN)
        assert np.array_equal(rebuilt(sampler, halvings=1).features.phi, GIVEN.T)
        assert sampler.dynamics.features == ("given" if features == "one-hot" else "f.npy")
    with pytest.raises(InputError, match="an array of features is given too"):
        memory("relu:8", given=GIVEN)


def test_inputs_that_are_written_harder_take_shorter_steps():
    rows = 3 * np.linalg.qr(GIVEN.T)[0].T
    fast = memory("f.npy", given=rows, dynamics={"write": "same", "noise": "weight"}, hold=0.2)
    assert fast.plan.step == pytest.approx(memory(hold=0.2).plan.step / 9, rel=0.1)
    difference = path_difference(fast, ran(fast, t_stop=6.0, warmup=0.0), 10**6)
    assert difference.rms < 1e-4


def test_lines_that_meet_the_rails_are_refused_as_the_circuit_has_them(monkeypatch):
    """Measured dual vectors of parts with errors may be much larger than ideal ones."""
    monkeypatch.setattr(compiling, "lines_at_rest", lambda graph: (np.eye(3), 138 * np.eye(3)))
    with pytest.raises(InputError, match="the vectors that write reach 138"):
        memory("relu:4", dynamics={"dual_from": "measured"}, level="device")


def test_a_memory_that_is_no_run_of_one_input():
    sampler = memory()
    samples = ran(sampler)
    with pytest.raises(InputError, match="compare_memory"):
        judge(sampler, samples)
    with pytest.raises(InputError, match="row = 3, but x has rows"):
        samples.row_draws(3)
    with pytest.raises(InputError, match="'w' is not one of u"):
        same_noise(sampler, samples, 10, "w")


def test_what_is_asked_for_and_is_no_posterior_is_said():
    warned = memory(dynamics={"leak": 0.3}).plan.warnings[-1]
    assert "of precision N leak = 0.9" in warned
    few = memory("f.npy", given=GIVEN[:, :2], dynamics={"restricted": True}).plan.warnings[-1]
    assert "at longer holds it is not that either" in few


def test_the_step_is_that_of_the_strongest_input():
    """A memory comes back to it; a stream of rows takes a typical one's."""
    x = np.stack([X[0], 20 * X[1], X[2]])
    alone = min(build_sampler(MODEL, row).plan.step for row in x)
    assert memory(x=x, hold=1.0).plan.step <= alone
    assert memory(x=x, hold=1.0).plan.step < build_sampler(MODEL, x, hold=1.0).plan.step


# --- configs ----------------------------------------------------------------------------------------------------------

CONFIG = """
[model]
dictionary = "bars:3"
x = "draw:3"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[dynamics]
kind = "amortised"
features = "f.npy"
[run]
hold = 2.0
order = "random"
t_stop = 60.0
warmup = 6.0
"""


def test_a_config_and_its_features(tmp_path):
    np.save(tmp_path / "f.npy", GIVEN)
    (tmp_path / "c.toml").write_text(CONFIG)
    config = load_config(tmp_path / "c.toml")
    sampler = config.sampler()
    assert np.array_equal(sampler.features.phi, GIVEN.T)
    assert (sampler.stream.order, config.run.t_stop, config.run.chains) == ("random", 60.0, 2)
    (tmp_path / "r.toml").write_text(resolved_toml(config, sampler))
    again = load_config(tmp_path / "r.toml", anywhere=True)
    assert again.sampler().engine_deck_hash == sampler.engine_deck_hash
    assert [task.key("") for task in again.sampler().tasks(again.run)] == [t.key("") for t in sampler.tasks(config.run)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"f.npy"', '"f.txt"'), 'but "one-hot", "orthogonal", "relu:H" or a .npy'),
        (('"f.npy"', '"none.npy"'), "none.npy"),
        (('"f.npy"', '"../f.npy"'), "outside the config's folder"),
        (('"draw:3"', '"draw"'), "model.x is one"),
        (('"draw:3"', '"draw:4"'), "x has 4 inputs"),
        (("hold = 2.0\n", ""), "run.hold is missing"),
        (('order = "random"', 'order = "sorted"'), "run.order"),
        (('order = "random"', 'interpolate = "linear"'), "stand still"),
        (('kind = "amortised"\nfeatures = "f.npy"', 'kind = "langevin"'), "run.order"),
        (('kind = "amortised"', 'kind = "langevin"'), "dynamics.features"),
        (("t_stop = 60.0", "t_stop = 3.0"), "t_stop > warmup"),
    ],
)
def test_configs_that_are_refused(tmp_path, change, message):
    np.save(tmp_path / "f.npy", GIVEN)
    (tmp_path / "c.toml").write_text(CONFIG.replace(*change))
    with pytest.raises(InputError) as error:
        load_config(tmp_path / "c.toml").sampler()
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value) or "x has 4" in message
    assert json.dumps(str(error.value))  # one line
    assert "\n" not in str(error.value)


def test_keys_of_the_store_do_not_depend_on_what_is_not_there():
    task = build_sampler(MODEL, X[0]).tasks(build_sampler(MODEL, X[0]).run_plan(t_stop=30.0))[0]
    assert "written" not in task._json()
    assert replace(task, written=((0, 0),)).key("") != task.key("")
