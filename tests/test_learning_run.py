"""Runs: interruption and resumption to the last bit, stages, inputs, history; and what is refused, with the whole message."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.learning import FromModel, Learner, Patches, Rows, Stage, load_history, random_weights, save_history
from circuitlsc.learning.learner import Run

STAGES = (
    Stage(duration=30.0, step=0.02, hold=5.0, pause=1.0, tau_A=20.0, tau_u0=100.0, tau_sigma=50.0),
    Stage(duration=41.0, step=0.05, hold=10.0, tau_A=40.0, tau_u0=200.0, tau_sigma=100.0),  # cuts its last input short
)


def learner(**changes):
    model = SparseCodingModel(bars(3), SpikeSlab(0.3, 1.0), 0.5)
    settings = {
        "A0": random_weights(9, 6, 1),
        "pi": 0.4,
        "lam": 1.0,
        "sigma": 0.6,
        "source": model,
        "stages": STAGES,
        "seed": 3,
        "learn": ("A", "pi", "sigma"),
        "batch": 20,
        "records": 37,
        "snapshots": 5,
    }
    return Learner(**{**settings, **changes})


@pytest.fixture(scope="module")
def whole():
    return learner().run()


def assert_same(a, b):
    for name in ("A", "A_final", "pi", "lam", "sigma", "pi_final", "sigma_final", "u0"):
        np.testing.assert_array_equal(getattr(a.learned, name), getattr(b.learned, name))
    np.testing.assert_array_equal(a.u, b.u)
    xr.testing.assert_identical(a.history, b.history)


def stopped_after(monkeypatch, n_pieces, blow):
    """Let the n-th piece of a run be followed by ``blow()``."""
    advance, left = Run.advance, [n_pieces]

    def advance_and_stop(self):
        advance(self)
        left[0] -= 1
        if left[0] == 0:
            blow()

    monkeypatch.setattr(Run, "advance", advance_and_stop)


class Broken(Exception):
    pass


def broken():
    raise Broken


@pytest.mark.parametrize("n_pieces", [1, 2, 9, 25, 45])
def test_resumed_is_as_if_never_interrupted(tmp_path, monkeypatch, whole, n_pieces):
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        stopped_after(patch, n_pieces + 1, broken)  # the piece after the last checkpoint is lost
        with pytest.raises(Broken):
            learner().run(checkpoint=path, every=0)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    assert_same(learner().run(checkpoint=path), whole)
    assert_same(learner().run(checkpoint=path), whole)  # a finished one answers at once


@pytest.mark.parametrize("name", ["generator", "u", "slow", "A", "sum_A", "history_norms"])
def test_everything_in_a_checkpoint_matters(tmp_path, monkeypatch, whole, name):
    """Negative control: with one array off by a little, the comparison fails."""
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        stopped_after(patch, 45, broken)
        with pytest.raises(Broken):
            learner().run(checkpoint=path, every=0)
    with np.load(path) as checkpoint:
        arrays = dict(checkpoint)
    arrays[name] = arrays[name] + np.array(1e-3).astype(arrays[name].dtype) + (name == "generator")
    np.savez(path, **arrays)
    with pytest.raises(AssertionError):
        assert_same(learner().run(checkpoint=path), whole)


def test_ctrl_c_saves_and_ends(tmp_path, monkeypatch, whole):
    path = tmp_path / "run.npz"
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stopped_after(patch, 13, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            learner().run(checkpoint=path, every=1e9)
    assert signal.getsignal(signal.SIGINT) is before
    assert_same(learner().run(checkpoint=path), whole)


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_learning_run import learner
print("ready", flush=True)
learner().run(checkpoint=sys.argv[1], every=0, progress=None)
"""


def test_kill_9_loses_nothing_that_matters(tmp_path, whole):
    path = tmp_path / "run.npz"
    here = os.path.dirname(__file__)  # noqa: PTH120
    for _ in range(2):  # killed at whatever point it is; then again, on its way from there
        seen = path.stat().st_mtime_ns if path.exists() else None
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), here], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns != seen):
            time.sleep(0.002)
        process.kill()
        process.wait()
        process.stdout.close()
        with np.load(path) as checkpoint:
            assert "generator" in checkpoint.files
    assert_same(learner().run(checkpoint=path), whole)


def test_a_checkpoint_has_no_pickles_and_its_interval_changes_nothing(tmp_path, whole):
    path = tmp_path / "run.npz"
    assert_same(learner().run(checkpoint=path, every=0), whole)
    with np.load(path, allow_pickle=False) as checkpoint:
        assert all(checkpoint[name].dtype != object for name in checkpoint.files)
        assert json.loads(str(checkpoint["settings"]))["seed"] == 3


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 4}, "seed"),
        ({"A0": random_weights(9, 6, 2)}, "A0"),
        ({"learn": ("A", "pi")}, "learn"),
        ({"batch": 21}, "batch"),
        ({"dtype": "float64"}, "dtype"),
        ({"stages": STAGES[:1]}, "stages"),
        ({"source": SparseCodingModel(bars(3), SpikeSlab(0.3, 1.0), 0.4)}, "source"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes, key):
    path = tmp_path / "run.npz"
    learner().run(checkpoint=path)
    message = (
        rf"^checkpoint = '.*run\.npz' was written by a run with {key} = .*, but this one has .*\. "
        r"Run with its settings, give another path, or remove it\.$"
    )
    with pytest.raises(InputError, match=message):
        learner(**changes).run(checkpoint=path)


def test_a_checkpoint_needs_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"^checkpoint = '.*run\.npz': its folder does not exist\. Make it first\.$"):
        learner().run(checkpoint=tmp_path / "none" / "run.npz")


def test_another_file_is_no_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    for content in (b"", b"PK\x03\x04 not really", b"text"):
        path.write_bytes(content)
        with pytest.raises(
            InputError, match=r"^checkpoint = .* is not a checkpoint \(.*\)\. Give another path, or remove it\.$"
        ):
            learner().run(checkpoint=path)
    np.savez(path, A=np.eye(2))
    with pytest.raises(InputError, match=r"is not a checkpoint"):
        learner().run(checkpoint=path)


def test_history_tells_the_course_and_survives_a_file(tmp_path, whole):
    history = whole.history
    time = history["time"].values
    assert np.all(np.diff(time) > 0)
    assert time[-1] == pytest.approx(71.0)
    assert len(time) in range(37, 41)
    np.testing.assert_allclose(history["pi"], np.exp(-history["lam"] * history["u0"]), rtol=1e-12)
    np.testing.assert_allclose(history["activity"], history["usage"].mean("latent"), rtol=1e-12)
    np.testing.assert_allclose(history["snapshot_time"], np.linspace(0, 71, 5), atol=3.0)
    np.testing.assert_array_equal(history["A"][0], random_weights(9, 6, 1))
    np.testing.assert_array_equal(history["A"][-1], whole.learned.A_final)
    np.testing.assert_allclose(history["norm"][-1], np.linalg.norm(whole.learned.A_final, axis=0), rtol=1e-12)
    assert json.loads(history.attrs["settings"])["seed"] == 3
    save_history(history, tmp_path / "h.nc")
    xr.testing.assert_identical(load_history(tmp_path / "h.nc"), history)
    with pytest.raises(InputError, match=r"^.*none\.nc does not exist\. Learn first, or give another path\.$"):
        load_history(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(InputError, match=r"^.*text\.nc is not a history of learning \(.*\)\.$"):
        load_history(tmp_path / "text.nc")


def test_averages_are_over_the_last_quarter_and_not_beyond_the_last_stage():
    """A quarter of 71 tau is 17.75 tau: records every 0.1 tau give the mean to their own coarseness."""
    fine = learner(records=710).run()
    time = fine.history["time"].values
    for name, tolerance in (("pi", 3e-4), ("sigma", 3e-4)):
        values = fine.history[name].values
        assert getattr(fine.learned, name) == pytest.approx(values[time > 53.25].mean(), abs=tolerance)
        assert abs(getattr(fine.learned, name) - values[time > 30].mean()) > tolerance
    short = learner(records=710, stages=(STAGES[1], STAGES[0])).run()  # 30 of 71 tau: more than a quarter
    time, sigma = short.history["time"].values, short.history["sigma"].values
    assert short.learned.sigma == pytest.approx(sigma[time > 53.25].mean(), abs=3e-4)
    brief = Stage(duration=5.0, step=0.02, hold=5.0, tau_A=20.0, tau_u0=100.0, tau_sigma=50.0)
    last = learner(records=760, stages=(*STAGES, brief)).run()
    time, sigma = last.history["time"].values, last.history["sigma"].values
    assert last.learned.sigma == pytest.approx(sigma[time > 71].mean(), abs=3e-4)


def test_what_is_not_learned_is_held_to_the_last_bit():
    run = learner(learn=("sigma",)).run()
    np.testing.assert_array_equal(run.learned.A_final, random_weights(9, 6, 1))
    np.testing.assert_allclose(run.learned.A, random_weights(9, 6, 1), rtol=1e-12)
    assert (run.learned.pi, run.learned.pi_final, run.learned.lam, run.learned.lam_final) == (0.4, 0.4, 1.0, 1.0)
    assert run.learned.sigma_final != 0.6


def test_progress_ends_at_the_end():
    seen = []
    learner().run(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (71.0, 71.0)


def test_precision_changes_the_rounding_only():
    """One step of learning cannot tell; over 3 tau the noise of both is the same, rounded."""
    stage = (Stage(duration=3.0, step=0.02, hold=1.0, tau_A=20.0, tau_u0=100.0, tau_sigma=50.0),)
    runs = [learner(stages=stage, dtype=dtype).run() for dtype in ("float32", "float64")]
    np.testing.assert_allclose(runs[0].learned.A_final, runs[1].learned.A_final, atol=1e-4)
    assert np.any(runs[0].learned.A_final != runs[1].learned.A_final)


# --- inputs ---


def sources():
    image = np.random.default_rng(0).standard_normal((20, 30))
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    rows = np.arange(40.0).reshape(10, 4)
    return {
        "rows": Rows(rows),
        "in turn": Rows(rows, shuffle=False),
        "model": FromModel(model),
        "patches": Patches(image, 2),
    }


@pytest.mark.parametrize("name", sources())
def test_inputs_depend_on_seed_and_number_alone(name):
    source, again = sources()[name], sources()[name]
    assert source.n_features == 4
    later = source.batch(5, 7, 1)
    assert later.shape == (7, 4)
    np.testing.assert_array_equal(again.batch(5, 7, 1), later)
    assert np.any(source.batch(6, 7, 1) != later)
    if name != "in turn":
        assert np.any(source.batch(5, 7, 2) != later)
    assert json.dumps(source.settings()) == json.dumps(again.settings())


def test_rows_in_turn_come_round():
    rows = sources()["in turn"]
    np.testing.assert_array_equal(np.concatenate([rows.batch(k, 4, 0) for k in range(5)]), np.tile(rows.X, (2, 1)))


def test_inputs_of_a_model_have_its_moments():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5)
    x = FromModel(model).batch(0, 40_000, 0)
    covariance = model.A @ model.A.T * (2 * 0.3 - 0.3**2) / 1.4**2 + 0.25 * np.eye(4)
    error = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) * 3 / len(x))
    assert np.max(np.abs(np.cov(x.T) - covariance) / error) < 5
    assert np.max(np.abs(np.cov(x.T) - covariance - 0.05 * np.eye(4)) / error) > 5


def test_a_source_of_ones_own():
    class Constant:
        n_features = 9

        def batch(self, index, n, seed):
            return np.full((n, 9), 0.1 * index)

        def settings(self):
            return {"kind": "constant"}

    assert np.isfinite(learner(source=Constant()).run().learned.A).all()

    class Wrong(Constant):
        def batch(self, index, n, seed):
            return np.full((n, 8), np.nan)

    message = r"^source: batch 0 is no finite array of shape \(20, 9\) \(shape \(20, 8\)\)\. Repair the source\.$"
    with pytest.raises(InputError, match=message):
        learner(source=Wrong()).run()


# --- what is refused ---


def test_dictionary_with_rate_is_refused():
    message = (
        "Learner: learn = ('A', 'lam') has no answer: (c A, c lam) is as likely as (A, lam) for every c > 0. "
        "Hold lam (it sets the unit of s), or hold A, or give normalise = True."
    )
    stages = [Stage(duration=1, step=0.1, hold=1, tau_A=10, tau_lam=10)]
    with pytest.raises(InputError, match=rf"^{re.escape(message)}$"):
        learner(learn=("A", "lam"), stages=stages)
    learner(learn=("A", "lam"), stages=stages, normalise=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learn": ("B",)}, r"Learner: learn = \('B',\) .*A, pi, lam, sigma\."),
        ({"learn": "pi"}, r"Learner: learn = 'pi' cannot be used\. .*"),
        ({"learn": ("A", "A")}, r"Learner: learn = .* different words out of .*"),
        ({"learn": ("lam",)}, r'Stage: tau_lam is not given, but learn has "lam"\. Give tau_lam in tau, or leave .*\.'),
        ({"pi": 1.2}, r"Learner: pi = 1\.2, but P\(active\) must lie in \(0, 1\]\. Give .*"),
        ({"sigma": 0.0}, r"Learner: sigma = 0\.0, but it must be positive\. Give .*"),
        ({"batch": 0}, r"Learner: batch = 0 cannot be used\. Give an integer >= 1\."),
        ({"temperature": -1.0}, r"Learner: temperature = -1\.0 cannot be used\. Give a number >= 0\."),
        ({"dtype": "half"}, r'Learner: dtype = \'half\' is unknown\. Give "float32" or "float64"\.'),
        ({"stages": ()}, r"Learner: stages = \(\)\. Give a sequence of at least one Stage\."),
        ({"A0": np.ones(3)}, r"A0 has shape \(3,\), but a dictionary is .*"),
        ({"source": np.ones((5, 4))}, r"source has inputs of 4 features, but A0 has 9 rows\. Start from .*"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InputError, match=rf"^{message}$"):
        learner(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 0.0}, r"Stage: step = 0\.0, but a time must be positive\. Give .*"),
        ({"hold": 0.25}, r"Stage: hold = 0\.25 is 2\.5 steps of 0\.1, no whole number\. Give a multiple .* as 0\.2\."),
        ({"pause": 1.0}, r"Stage: pause = 1\.0, but nothing is learned unless it is below hold = 1\.0\. Give .*"),
        ({"tau_A": -1.0}, r"Stage: tau_A = -1\.0, but a time constant must be positive\. Give .*"),
    ],
)
def test_stages_are_checked(changes, message):
    with pytest.raises(InputError, match=rf"^{message}$"):
        Stage(**{"duration": 10.0, "step": 0.1, "hold": 1.0, **changes})


def test_a_stage_of_inputs():
    assert Stage.of_inputs(40, hold=5.0, step=0.1).n_inputs == 40
    assert STAGES[1].n_inputs == 5


@pytest.mark.filterwarnings("ignore::circuitlsc.learning.large_inputs.LargeInputsWarning")
def test_divergence_is_an_error_with_a_remedy():
    stage = Stage(duration=50.0, step=1.0, hold=10.0, tau_A=1.0)
    message = (
        r"^Learner: it diverged at .* tau \(u0, lam, sigma = .*\): step = 1\.0 is too large .* Halve the step, .*\.$"
    )
    with pytest.raises(InputError, match=message):
        learner(learn=("A",), stages=[stage], A0=10 * random_weights(9, 6, 1)).run()
