"""Configs of learning: what they mean, what follows if a key is left out, and what is refused, in one line."""

import numpy as np
import pytest

from circuitlsc import InputError, Learned, bars
from circuitlsc.config.learning import load_learn_config

MODEL = '[model]\ndictionary = "bars:2"\nsigma = 0.5\n'
DATA = '[model]\nsigma = 0.5\n[data]\nsource = "X.npy"\n'
PRIOR = '[prior]\nkind = "spike-slab"\npi = 0.3\nlam = 1.0\n'


@pytest.fixture
def load(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "X.npy", rng.normal(size=(30, 4)))
    np.save(tmp_path / "A.npy", rng.normal(size=(4, 3)))

    def read(learning, head=MODEL, prior=PRIOR, where="software"):
        (tmp_path / "config.toml").write_text(f"{head}{prior}[learning]\n{learning}\n")
        return load_learn_config(tmp_path / "config.toml", where)

    read.folder = tmp_path
    return read


def refused(load, message, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        load(*args, **kwargs).software()
    text = str(caught.value)
    assert "config.toml: " in text
    assert "\n" not in text
    assert message in text, text


@pytest.mark.parametrize(
    ("learn", "signed", "hold", "step"),
    [
        ('["A"]', False, 10, 0.02),
        ('["A"]', True, 50, 0.005),
        ('["pi"]', False, 50, 0.005),
        ('["A", "pi"]', False, 50, 0.005),
        ('["lam"]', False, 50, 0.02),
        ('["sigma"]', False, 50, 0.02),
    ],
)
def test_what_stale_samples_and_long_steps_bias_most_has_long_holds_and_short_steps(load, learn, signed, hold, step):
    prior = PRIOR + f"signed = {str(signed).lower()}\n"
    (stage,) = load(f"learn = {learn}", prior=prior).stages
    assert (stage.hold, stage.step) == (hold, pytest.approx(step))
    (stage,) = load(f"learn = {learn}", prior=prior, where="circuit").stages
    assert (stage.hold, stage.step) == (hold, 0.05)


def test_a_held_dictionary_for_data_of_ones_own(load):
    config = load('learn = ["pi", "lam"]\nstart = { A = "A.npy", lam = 2.0 }', head=DATA)
    np.testing.assert_array_equal(config.A0, np.load(load.folder / "A.npy"))
    assert (config.lam, config.pi, config.truth) == (2.0, 0.3, None)
    one = Learned(
        **{"A": bars(2), "pi": 0.2, "lam": 1.0, "sigma": 0.5, "A_final": bars(2), "pi_final": 0.2, "lam_final": 1.0},
        sigma_final=0.5,
        signed=False,
        meta={},
    )
    one.save(load.folder / "learned.npz")
    config = load('learn = ["sigma"]\nstart = { A = "learned.npz" }', head=DATA)
    np.testing.assert_array_equal(config.A0, bars(2))
    refused(load, 'give one: start = { A = "learned.npz" }', 'learn = ["sigma"]', head=DATA)


def test_pauses_are_whole_steps_and_never_none(load):
    (stage,) = load('learn = ["A"]\nstep = 0.02\npause = 0.005').stages
    assert stage.pause == pytest.approx(0.02)
    (stage,) = load('learn = ["A"]\nstep = 0.02\nhold = 1.0\npause = 0.999').stages
    assert stage.pause == pytest.approx(0.98)
    refused(
        load,
        "learning.pause = 2.0, but nothing is learned unless it is below hold",
        'learn = ["A"]\nhold = 1.0\npause = 2.0',
    )


@pytest.mark.parametrize(
    ("learning", "head", "prior", "message"),
    [
        ('learn = ["A"]\nstep = 1e-310', MODEL, PRIOR, "learning.step"),
        ('learn = ["A"]\nhold = 1e99', MODEL, PRIOR, "learning.step"),
        ('learn = ["pi"]', MODEL, '[prior]\nkind = "laplace"\nlam = 1.0\n', "Give start = { pi = 0.5 }"),
        ('learn = ["pi"]\nstart = { pi = 1.0 }', MODEL, PRIOR, "Give start = { pi = 0.5 }"),
        ('learn = ["A"]\n[data]\nimages = ["a.iml"]', MODEL, PRIOR, "data.images"),
        ('learn = ["A"]\n[data]\nshuffle = true', MODEL, PRIOR, "inputs are drawn from model.dictionary"),
        (
            'learn = ["A"]\n[data]\nsource = "natural:8"\nshuffle = true',
            "[model]\nsigma = 0.5\n",
            PRIOR,
            "always drawn at random",
        ),
        ('learn = ["pi"]\nstart = { pi = 2.0 }', MODEL, PRIOR, "learning.start.pi = 2.0, but it must be > 0 and <= 1"),
        ('learn = ["A"]\nstart = ""', MODEL, PRIOR, "has no ending that says what it is"),
        ('learn = ["A"]\nstart = { A = "" }', MODEL, PRIOR, "has no ending that says what it is"),
        ('learn = ["A"]\nstart = { lam = 2.0 }', MODEL, PRIOR, "lam is not learned"),
    ],
)
def test_what_cannot_be_is_refused_by_name(load, learning, head, prior, message):
    refused(load, message, learning, head, prior)


def test_rows_that_are_not_finite_are_refused(load):
    X = np.ones((5, 4))
    X[3, 1] = np.nan
    np.save(load.folder / "X.npy", X)
    refused(load, f"data.source = '{load.folder / 'X.npy'}': the array[3, 1] = nan", 'learn = ["A"]', head=DATA)


def test_a_start_that_does_not_fit_is_named(load):
    start = 'learn = ["A"]\nstart = "A0.npy"'
    np.save(load.folder / "A0.npy", np.ones((3, 2)))
    refused(
        load,
        "learning.start = 'A0.npy': 'A0.npy' has shape (3, 2), and inputs have 4 features",
        start,
        head=DATA,
    )
    np.save(load.folder / "A0.npy", np.full((4, 2), np.inf))
    refused(load, "A0.npy': the array[0, 0] = inf", start, head=DATA)


def test_inputs_of_one_feature_come_from_a_csv(load):
    X = np.linspace(-1.0, 1.0, 7)[:, None]
    np.savetxt(load.folder / "X.csv", X, delimiter=",")
    config = load('learn = ["A"]', head=DATA.replace("X.npy", "X.csv"))
    assert config.source.n_features == 1
    np.testing.assert_array_equal(config.source.X, X)


def test_learning_is_not_judged_by_a_tolerance(load):
    for key in ("tolerance = 0.05", "reference_time = 10.0"):
        run = f"[run]\n{key}\n"
        refused(load, f"run.{key.split()[0]} = {key.split()[2]} is not a known key.", 'learn = ["A"]', head=run + MODEL)
