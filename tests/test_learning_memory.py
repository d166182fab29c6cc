"""Learning with a memory: states that wait, what is learned at any hold, and what is refused."""

import numpy as np
import pytest
import test_learning_recovery
from learning_rules import Parameters, take_step
from reports import text_of
from scipy.optimize import minimize
from scipy.stats import exponnorm, norm
from test_learning_recovery import LEVEL, worst
from test_learning_run import Broken, assert_same, broken, stopped_after

from circuitlsc import Dynamics, InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.config.learning import load_learn_config
from circuitlsc.learning import FromModel, Learned, Learner, Memory, Rows, Stage, gibbs_em, match_atoms, random_weights
from circuitlsc.learning.kernel import Rates, fill
from circuitlsc.learning.memory import FewVisitsWarning
from circuitlsc.model.features import features_of

MODEL = SparseCodingModel(bars(3), SpikeSlab(0.3, 1.0), 0.3)


def inputs(n, model=MODEL):
    return FromModel(model).batch(0, n, 0)


def learner(X, memory=None, *, seed=0, pi=0.3, sigma=0.3, A0=None, signed=False, batch=20, **given):
    own = {name: given.pop(name) for name in ("learn", "dtype", "records", "memory") if name in given}
    A0 = random_weights(X.shape[1], 6, seed) if A0 is None else A0
    stage = Stage(**{"duration": 8.0, "step": 0.02, "hold": 2.0, "tau_A": 50.0, **given})
    settings = {"A0": A0, "pi": pi, "lam": 1.0, "sigma": sigma, "source": Rows(X), "seed": seed, "signed": signed}
    return Learner(**settings, batch=batch, stages=[stage], memory=memory, **own)


# ---- a table of states is a crossbar of weights


def through_weights(run, features, vectors):
    """Learn as a circuit would, with W alone: u = W phi is read, and its change written by v; return the last A and all u."""
    memory, (stage,) = run.remembered, run.stages
    rng = np.random.Generator(np.random.SFC64([run.seed, 0]))
    rates = Rates(stage.step, 1.0, stage.rate("A"), 0.0, 0.0, 0.0, run.signed, False, True)
    W = features.weights_of(np.random.default_rng([run.seed, 3]).laplace(0.0, 1.0, (len(memory.X), run.A0.shape[1])))
    p = Parameters(run.A0, -np.log(run.pi), 1.0, run.sigma, run.signed)
    noise = np.empty((1, run.batch, run.A0.shape[1]))
    for visit in range(stage.n_inputs):
        rows = memory.visit(visit, run.batch, run.seed)
        for _ in range(stage.hold_steps):
            fill(rng, noise)
            u = (W @ features.phi[:, rows]).T
            p, new = take_step(p, u, memory.X[rows], noise[0], rates)
            W = W + (new - u).T @ vectors[:, rows].T
    return p.A, (W @ features.phi).T


@pytest.mark.filterwarnings("ignore::circuitlsc.learning.memory.FewVisitsWarning")
@pytest.mark.parametrize("kind", ["one-hot", "relu:24"])
@pytest.mark.parametrize("batch", [5])
def test_weights_that_are_written_by_dual_vectors_learn_the_same(kind, batch):
    X = inputs(12)
    run = learner(X, Memory(12, Dynamics(kind="amortised", features=kind)), batch=batch, duration=20.0, dtype="float64")
    made, features = run.run(), features_of(kind, X)
    A, u = through_weights(run, features, features.dual)
    assert np.abs(made.learned.A_final - A).max() < 1e-10
    assert np.abs(made.u - u).max() < 1e-8
    if kind == "relu:24":
        assert np.abs(made.learned.A_final - through_weights(run, features, features.phi)[0]).max() > 1e-3


# ---- visits


def test_every_input_is_visited_as_often_as_the_others_and_none_twice_at_once():
    X = inputs(23)
    in_turn, drawn = (Memory(23).of(Rows(X, shuffle), 5, 1) for shuffle in (False, True))
    for batch in (1, 4, 23):
        cycle = 23 // batch
        for start in (0, 3 * cycle):
            shown = np.array([drawn.visit(start + i, batch, 5) for i in range(cycle)]).ravel()
            assert len(set(shown)) == cycle * batch
        for i in range(30):
            np.testing.assert_array_equal(in_turn.visit(i, batch, 5), (i * batch + np.arange(batch)) % 23)
            np.testing.assert_array_equal(drawn.batch(i, batch, 5), X[drawn.visit(i, batch, 5)])
    orders = {tuple(drawn.visit(cycle, 23, 5)) for cycle in range(5)}
    assert len(orders) == 5
    assert tuple(drawn.visit(0, 23, 6)) not in orders


def test_the_inputs_are_the_first_rows_or_drawn_once():
    X = inputs(30)
    np.testing.assert_array_equal(learner(X, 25).remembered.X, X[:25])
    drawn = Memory(25).of(FromModel(MODEL), 3, 1)
    np.testing.assert_array_equal(drawn.X, FromModel(MODEL).batch(0, 25, 3))
    assert learner(X).remembered is None


@pytest.mark.filterwarnings("ignore::circuitlsc.learning.memory.FewVisitsWarning")
def test_states_wait_while_others_are_on():
    X = inputs(40)
    run = learner(X, 40, duration=3.0, dtype="float64")  # a visit of 2 tau, and half of one
    rows, more = (run.remembered.visit(i, 20, 0) for i in (0, 1))
    start = np.random.default_rng([0, 3]).laplace(0.0, 1.0, (40, 6))
    first, both = (learner(X, 40, duration=t, dtype="float64").run().u for t in (2.0, 3.0))
    away = np.setdiff1d(np.arange(40), rows)
    np.testing.assert_array_equal(first[away], start[away])
    assert np.all(np.any(first[rows] != start[rows], axis=1))
    np.testing.assert_array_equal(both[rows], first[rows])
    assert np.all(np.any(both[more] != first[more], axis=1))


@pytest.mark.filterwarnings("ignore::circuitlsc.learning.memory.FewVisitsWarning")
@pytest.mark.parametrize("n_pieces", [1, 3, 10])
def test_resumed_is_as_if_never_interrupted(tmp_path, monkeypatch, n_pieces):
    def run(**changes):
        return learner(inputs(50), **{"memory": 50, "records": 7, **changes})

    whole, path = run().run(), tmp_path / "run.npz"
    assert whole.u.shape == (50, 6)
    with monkeypatch.context() as patch:
        stopped_after(patch, n_pieces + 1, broken)
        with pytest.raises(Broken):
            run().run(checkpoint=path, every=0)
    assert_same(run().run(checkpoint=path), whole)
    with np.load(path) as kept:
        arrays = dict(kept)
    assert arrays["u"].shape == (50, 6)
    for other in ({"memory": 49}, {"memory": Memory(50, Dynamics(kind="amortised", features="orthogonal"))}):
        with pytest.raises(InputError, match="was written by a run with memory = "):
            run(**other).run(checkpoint=path)


# ---- what it samples, and what it learns


def sampled(x, memory, step):
    """Run with learning off, a hundred copies of an input."""
    given = {"A0": MODEL.A, "learn": (), "batch": 100, "records": 60}
    run = learner(np.tile(x, (100, 1)), memory, duration=60.0, step=step, hold=60.0, **given).run()
    return run.history.isel(time=slice(10, None))


def test_half_of_the_noise_before_the_force_samples_the_posterior_with_long_steps(monkeypatch):
    """At three times the default step with a memory, 0.08 sigma^2; there Euler-Maruyama's bias is seen."""
    monkeypatch.setattr(test_learning_recovery, "BIAS", 0.0005)
    x = MODEL.draw(np.random.default_rng(2))[1]
    bound = float(norm.isf(LEVEL / 8 / 2))
    assert worst(sampled(x, 100, 0.025), MODEL, x) < bound
    assert worst(sampled(x, None, 0.025), MODEL, x) > bound


def test_expectation_maximisation_finds_the_maximum_of_the_likelihood():
    """One pixel and one latent: x is a normal, or an exponential plus a normal, in closed form."""
    truth = SparseCodingModel(np.array([[1.5]]), SpikeSlab(0.4, 1.0), 0.5)
    X = inputs(300, truth)
    numbers = {"A": 1.5, "pi": 0.4, "lam": 1.0, "sigma": 0.5}
    for learn in (("A",), ("pi", "sigma")):

        def loss(values, learn=learn):
            p = {**numbers, **dict(zip(learn, values, strict=True))}
            on = exponnorm.pdf(X, p["A"] / p["lam"] / p["sigma"], 0, p["sigma"])
            return -np.log((1 - p["pi"]) * norm.pdf(X, 0, p["sigma"]) + p["pi"] * on).sum()

        exact = minimize(loss, [numbers[name] for name in learn], method="Nelder-Mead", options={"xatol": 1e-6}).x
        made = gibbs_em(X, truth, learn=learn, n_sweeps=2000)
        found = [float(np.squeeze(getattr(made, name))) for name in learn]
        np.testing.assert_allclose(found, exact, rtol=0.04)
        assert np.max(np.abs(exact / [numbers[name] for name in learn] - 1)) > 0.03  # the truth is something else


def dictionaries(X, seed, *, memory, hold, total, reference, **given):
    """Learn A; return the smallest cosine with the reference (expectation maximisation), and the mean ratio of norms."""
    given = {"step": hold / np.ceil(hold / 0.0072), "tau_A": 300.0, "A0": random_weights(9, 6, seed), **given}
    found = learner(X, memory, seed=seed, hold=hold, duration=total, **given).run().learned.A
    match = match_atoms(reference.A, found)
    return float(match.cosine.min()), float(match.norm_ratio.mean())


def test_learning_with_a_memory_finds_the_likelihoods_maximum_at_a_short_hold():
    X = inputs(200)
    reference = gibbs_em(X, MODEL, n_sweeps=2000)
    given = {"hold": 2.0, "reference": reference, "A0": reference.A, "total": 500.0, "step": 0.0125, "tau_A": 200.0}
    cosine, ratio = dictionaries(X, 0, memory=200, batch=50, **given)
    assert cosine > 0.999
    assert ratio == pytest.approx(1.0, abs=0.02)
    cosine, ratio = dictionaries(X, 0, memory=None, batch=50, **given)  # without one: what the hold does
    assert cosine < 0.99
    assert ratio < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learning_with_a_memory_of_400_inputs(seed):
    X = inputs(400)
    reference = gibbs_em(X, MODEL, n_sweeps=20_000)
    cosine, ratio = dictionaries(X, seed, memory=400, hold=2.0, total=12_000.0, reference=reference)
    assert cosine > 0.999
    assert ratio == pytest.approx(1.0, abs=0.02)
    for hold in (2.0, 10.0):
        cosine, ratio = dictionaries(X, seed, memory=None, hold=hold, total=6000.0, reference=reference)
        assert cosine < 0.999
        assert ratio < 0.98


def sparsities(pi, memory, *, total, seed=0, n=400):
    """Learn pi of 4x4 bars from a start elsewhere; return it, and that of expectation maximisation on the same inputs."""
    model = SparseCodingModel(bars(4), SpikeSlab(pi, 1.0), 0.5)
    X = inputs(n, model)
    given = {"A0": model.A, "sigma": 0.5, "pi": 0.2, "learn": ("pi",), "tau_u0": 50.0, "tau_A": None, "seed": seed}
    run = learner(X, memory, batch=n // 4, hold=2.0, step=0.02, duration=total, **given).run()
    return run.learned.pi, gibbs_em(X, model, learn=("pi",), n_sweeps=10 * n // 2).pi


def test_the_sparsity_that_is_learned_with_a_memory():
    found, expected = sparsities(0.1, 100, total=400.0, n=100)
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("pi", [0.1, 0.3])
def test_the_sparsity_of_400_inputs(pi, seed):
    found, expected = sparsities(pi, 400, total=2000.0, seed=seed)
    assert found == pytest.approx(expected, abs=0.01)
    assert sparsities(pi, None, total=2000.0, seed=seed)[0] < expected - 0.03


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_sparsity_rate_and_noise_level_of_400_inputs(seed):
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    X, learn = inputs(400, model), ("pi", "lam", "sigma")
    expected = gibbs_em(X, model, learn=learn)
    stage = Stage(duration=3000.0, step=0.02, hold=2.0, tau_u0=50.0, tau_lam=100.0, tau_sigma=50.0)
    given = {"A0": model.A, "pi": 0.5, "lam": 1.5, "sigma": 0.7, "source": Rows(X), "learn": learn, "seed": seed}
    for memory, right in ((400, True), (None, False)):
        found = Learner(**given, stages=[stage], memory=memory).run().learned
        error = [abs(getattr(found, name) - getattr(expected, name)) for name in learn]
        assert np.all(np.array(error) < (0.01, 0.03, 0.005)) == right


# ---- configs, and what is refused

HEAD = '[model]\ndictionary = "bars:2"\nsigma = 0.5\n[prior]\nkind = "spike-slab"\npi = 0.3\nlam = 1.0\n'
DATA = '[model]\nsigma = 0.5\n[data]\nsource = "X.npy"\n[prior]\nkind = "spike-slab"\npi = 0.3\nlam = 1.0\n'


@pytest.fixture
def load(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(30, 4)))
    np.save(tmp_path / "phi.npy", rng.normal(size=(12, 40)))
    np.save(tmp_path / "few.npy", rng.normal(size=(12, 7)))

    def read(more, where="software", head=HEAD, learn='["A"]'):
        (tmp_path / "config.toml").write_text(f"{head}[learning]\nlearn = {learn}\n{more}\n")
        return load_learn_config(tmp_path / "config.toml", where)

    return read


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("learn", ['["A"]', '["pi"]'])
def test_with_a_memory_no_hold_is_too_short_and_steps_need_not_be(load, learn, signed):
    head = HEAD + f"signed = {str(signed).lower()}\n"
    config = load("memory = true", head=head, learn=learn)
    assert (config.memory.size, config.batch) == (400, 100)
    assert (config.stages[0].hold, config.stages[0].step) == (2.0, pytest.approx(0.02))
    assert config.software().remembered.features.H == 400
    config = load("memory = true", "circuit", head=head, learn=learn)
    assert (config.memory.size, config.stages[0].hold, config.stages[0].step) == (16, 10.0, 0.05)
    assert load("", head=head, learn=learn).memory is None


def test_the_set_of_a_file_is_its_first_rows(load, tmp_path):
    X = np.load(tmp_path / "X.npy")
    config = load("memory = true", head=DATA)
    assert (config.memory.size, config.batch) == (30, 30)
    np.testing.assert_array_equal(config.software().remembered.X, X)
    config = load("memory = true\nset = 12", head=DATA)
    np.testing.assert_array_equal(config.software().remembered.X, X[:12])
    config = load('memory = true\nset = 12\n[dynamics]\nfeatures = "phi.npy"', "circuit", head=DATA)
    np.testing.assert_array_equal(config.in_circuit().remembered.features.phi, np.load(tmp_path / "phi.npy").T)


DYNAMICS = "memory = true\nset = 12\n[dynamics]\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("set = 12", "learning.set = 12, but only a memory has a set of inputs. Add memory = true"),
        (
            '[dynamics]\nkind = "amortised"',
            "[dynamics] says how a memory works, and learning has one with memory = true",
        ),
        (DYNAMICS + 'kind = "langevin"', 'dynamics.kind = "langevin" remembers no inputs. Give "amortised"'),
        (DYNAMICS + 'noise = "weight"', 'dynamics.noise = "weight" is exact for holds near 0 alone'),
        (DYNAMICS + 'features = "relu:10"', "rank 10, but 12 inputs are remembered"),
        (DYNAMICS + 'features = "few.npy"', "rank 7, but 12 inputs are remembered"),
        (DYNAMICS + 'features = "relu:30"\nwrite = "same"', "which are not orthonormal"),
        (DYNAMICS + "leak = 0.1", "dynamics.leak = 0.1 is not a known key"),
        ("memory = true\nset = 31", "size = 31, but the source has 30 rows. Give at most as many"),
        ("memory = true\nbatch = 40", "batch = 40, but a memory of 30 inputs shows no more at a time"),
        ("memory = 3", "learning.memory = 3 is not true or false"),
        ('memory = true\nmethod = "variational"', 'but method = "variational" remembers no codes'),
    ],
)
def test_what_cannot_be_is_refused(load, more, message):
    with pytest.raises(InputError) as refused:
        load(more, head=DATA)
    text = str(refused.value)
    assert message in text
    assert "config.toml: " in text
    assert "\n" not in text


@pytest.mark.parametrize("changed", [{"leak": 0.1}, {"restricted": True}, {"temperature": 2.0}])
def test_dynamics_that_sample_another_law_are_refused(changed):
    with pytest.raises(InputError, match="samples another law than the posterior, which teaches nothing"):
        Memory(4, Dynamics(kind="amortised", **changed))


def test_a_memory_of_few_visits_is_told():
    X = inputs(40)
    assert learner(X, 40, duration=200.0).few_visits is None
    assert learner(X, duration=2.0).few_visits is None
    said = learner(X, 40, duration=8.0).few_visits
    assert said.startswith("each of the 40 inputs remembered is on 2 times, 4 tau in all (10 and 50 are good)")
    with pytest.warns(FewVisitsWarning, match="is on 2 times"):
        learner(X, 40, duration=8.0).run()
    assert "20 times, 10 tau" in learner(X, 40, duration=20.0, hold=0.5).few_visits


def test_the_report_says_what_was_remembered(load):
    from circuitlsc.cli.learn import learn_report

    config = load("memory = true\nset = 12\ninputs = 20", head=DATA)
    learned = Learned(
        A=bars(2),
        pi=0.3,
        lam=1.0,
        sigma=0.5,
        A_final=bars(2),
        pi_final=0.3,
        lam_final=1.0,
        sigma_final=0.5,
        signed=False,
    )
    said = text_of(learn_report(config, learned, "software"))
    assert "learned        A in software, 12 inputs remembered, each on 20 times, 1 stage(s)" in said
    assert "note           the first 12 of 30 rows are remembered, and no others shown" in said
    assert "is on 20 times, 40 tau in all (10 and 50 are good)" in said
    circuit = load("memory = true\nset = 12\ninputs = 24", "circuit", head=DATA)
    said = text_of(learn_report(circuit, learned, "circuit"))
    assert "12 inputs remembered, each on 2 times" in said
    assert "is on 2 times, 20 tau in all" in said
