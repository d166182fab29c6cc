"""`circuitlsc learn` with `method = "variational"`: what it writes, that it goes on, and what it refuses in one line."""

import numpy as np
import pytest
from reports import results_in
from test_cli import circuitlsc, one_line

from circuitlsc import Learned, bars
from circuitlsc.config.learning import load_learn_config
from circuitlsc.learning import VariationalLearner, checkpoint, load_history
from circuitlsc.learning.checkpoint import save_checkpoint
from circuitlsc.model.encoder import Encoder

CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
signed = true
[learning]
method = "variational"
inputs = 40
batch = 20
{learning}
[encoder]
held_out = 50
{encoder}
"""


def write(folder, learning="learn = []", encoder=""):
    (folder / "config.toml").write_text(CONFIG.format(learning=learning, encoder=encoder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learn")
    write(folder, encoder="hidden = [8, 6]")
    done = circuitlsc("learn", "config.toml", "-o", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out", done


def test_an_encoder_alone(trained):
    out, done = trained
    assert results_in(out) == {"config.toml", "encoder.npz", "history.nc", "figure.png"}
    encoder, history = Encoder.load(out / "encoder.npz"), load_history(out / "history.nc")
    assert (encoder.n_features, encoder.hidden, encoder.n_latents, encoder.rectified) == (4, (8, 6), 4, False)
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["encoder"] == "4-8-6-12, 40 steps of 20 inputs"
    last = history.isel(time=slice(-4, None))
    assert lines["ELBO"].startswith(f"{float(last['elbo'].mean()):.3f} nats per input")
    assert lines["P(active)"].startswith(f"{float(last['activity'].mean()):.4f},")
    assert f"held out       {float(history['held_out'].values[-1]):.3f} nats per input" in done.stdout
    assert "40 of 40 steps" in done.stderr
    assert lines["log"].startswith(f"p(x)       {float(history['log_p'].mean()):.3f} +- ")
    known = int(np.isfinite(history["log_p"]).sum())
    assert 20 < known <= 30
    assert f"nats per input, mean of {known} held-out ones (by weighted draws, " in lines["log"]
    assert lines["KL"].startswith(f"{float((history['log_p'] - history['log_p_elbo']).mean()):.3f} +- ")
    assert (out / "config.toml").read_text() == (out.parent / "config.toml").read_text()


def test_a_dictionary_with_its_encoder(trained, tmp_path):
    """Begun from an encoder that was trained before; learned.npz is a dictionary as any learner writes it."""
    (tmp_path / "old.npz").write_bytes((trained[0] / "encoder.npz").read_bytes())
    write(tmp_path, 'learn = ["A", "sigma"]', 'file = "old.npz"\nrate = 0.001')
    done = circuitlsc("learn", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = results_in(tmp_path / "out")
    assert names == {"config.toml", "encoder.npz", "learned.npz", "history.nc", "figure.png"}
    learned = Learned.load(tmp_path / "out" / "learned.npz")
    assert learned.A.shape == (4, 4)
    assert (learned.pi, learned.lam) == (0.3, 1.0)
    assert f"sigma          {learned.sigma:.4f} (truth 0.5)" in done.stdout
    assert "(averages over the last quarter)" in done.stdout
    norms = np.linalg.norm(learned.A_final, axis=0)
    assert f"dead atoms     {(norms < norms.max() / 10).sum()} of 4" in done.stdout
    assert Encoder.load(tmp_path / "out" / "encoder.npz").hidden == (8, 6)


def test_an_interrupted_training_goes_on(trained, tmp_path, monkeypatch):
    """At its first checkpoint; with another setting it does not."""

    def save_and_be_interrupted(*arguments):
        save_checkpoint(*arguments)
        raise KeyboardInterrupt

    write(tmp_path, encoder="hidden = [8, 6]")
    arguments = ("learn", "config.toml", "-o", "out")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", save_and_be_interrupted)
        patch.setitem(VariationalLearner.run.__kwdefaults__, "every", 0.0)
        assert circuitlsc(*arguments, cwd=tmp_path).returncode == 130
    assert not (tmp_path / "out").exists()
    write(tmp_path, encoder="hidden = [8, 7]")
    assert "was begun with another hidden" in one_line(circuitlsc(*arguments, "--resume", cwd=tmp_path), 2)
    write(tmp_path, encoder="hidden = [8, 6]")
    assert circuitlsc(*arguments, "--resume", cwd=tmp_path).returncode == 0
    mine, whole = (Encoder.load(p / "encoder.npz") for p in (tmp_path / "out", trained[0]))
    for a, b in zip(mine.weights, whole.weights, strict=True):
        assert a.tobytes() == b.tobytes()


def test_what_is_left_out_is_chosen(tmp_path):
    write(tmp_path, learning="")
    made = load_learn_config(tmp_path / "config.toml", "software").variational()
    assert (made.learn, made.hidden, made.steps, made.batch, made.rate, made.warmup) == ((), (32,), 40, 20, 0.005, 0.0)
    write(tmp_path, 'learn = ["A"]\novercomplete = 2', 'threshold = "gamma"\nalpha = 2.0\nhidden = []')
    made = load_learn_config(tmp_path / "config.toml", "software").variational()
    assert (made.hidden, made.rate, made.warmup, made.A0.shape) == ((), 0.003, 0.5, (4, 8))
    assert made.numbers == pytest.approx({"alpha": 2.0, "beta": -2.0 / np.log(0.3)})


def test_an_estimator_has_its_own_defaults(tmp_path):
    """Its words reach the learner: a fixed threshold, a lower rate, and draws."""
    write(tmp_path, encoder='objective = "straight-through"\nreduce = "max"\ndraws = 5')
    made = load_learn_config(tmp_path / "config.toml", "software").variational()
    assert (made.objective, made.reduce, made.draws, made.threshold, made.rate) == (
        *("straight-through", "max", 5, "fixed"),
        0.001,
    )
    assert made.numbers == pytest.approx({"lam": -np.log(0.3)})
    write(tmp_path, encoder='objective = "pathwise"\nlam = 0.7')
    assert load_learn_config(tmp_path / "config.toml", "software").variational().numbers == {"lam": 0.7}


def refused(folder, says, *more):
    there = {p.name for p in folder.iterdir()}
    line = one_line(circuitlsc("learn", "config.toml", "-o", "out", *more, cwd=folder), 2)
    assert "config.toml: " in line
    assert says in line
    assert {p.name for p in folder.iterdir()} == there


@pytest.mark.parametrize(
    ("learning", "encoder", "says"),
    [
        *(
            (f"{key} = 10", "", f"learning.{key} = 10, but method")
            for key in ("hold", "step", "pause", "tau_A", "tau_u0")
        ),
        ("[[learning.stages]]\ninputs = 3", "", "takes steps, one for each batch"),
        ('learn = ["lam"]', "", 'is not a list of some of "A", "pi", "sigma"'),
        ('learn = ["A", "A"]', "", "names something twice"),
        ('learn = ["A"]\nstart = { lam = 2.0 }', "", "lam is not learned"),
        ('method = "variation"', "", "learning.method = 'variation' is not known"),
        ("", "draws = 0", "encoder.draws = 0"),
        ("", "draws = 3", 'objective = "exact" draws nothing'),
        ("", 'objective = "exakt"', "encoder.objective = 'exakt' is not known"),
        ("", 'objective = "pathwise"\nthreshold = "learned"', "cannot learn a learned threshold"),
        ('learn = ["pi"]', 'objective = "straight-through"', "cannot learn pi"),
        ("", "hidden = [8, 0]", "encoder.hidden = [8, 0]: a layer's size = 0"),
        ("", "hidden = [true]", "encoder.hidden = [True]: a layer's size = True"),
        ("", "hidden = 8", "encoder.hidden = 8 is not a list"),
        ("", "hidden = [100000000]", "are trained"),
        ("", "lam = 1.0", 'encoder.lam = 1.0, but threshold = "learned" has none'),
        ("", 'threshold = "fixed"\nbeta = 1.0', 'encoder.beta = 1.0, but threshold = "fixed" has lam'),
        ("", "warmup = 1.5", "encoder.warmup = 1.5"),
        ("", "rate = 0", "encoder.rate = 0"),
        ("", "widths = [3]", "encoder.widths = [3] is not a known key"),
        ("", 'file = "none.npz"', "none.npz does not exist"),
        ("", 'file = "../none.npz"', "is outside the config's folder"),
        ("", 'file = "none.npz"\nhidden = [3]', "and encoder.file has its own"),
    ],
)
def test_wrong_configs_in_one_line(tmp_path, learning, encoder, says):
    write(tmp_path, learning, encoder)
    text = (tmp_path / "config.toml").read_text()
    if learning.startswith("method"):
        (tmp_path / "config.toml").write_text(text.replace('method = "variational"\n', ""))
    refused(tmp_path, says)


def test_what_belongs_to_another_method_is_refused(tmp_path):
    write(tmp_path)
    text = (tmp_path / "config.toml").read_text()
    said = "trained in software alone, by circuitlsc learn without --in circuit. The circuit that uses it is that of"
    refused(tmp_path, said, "--in", "circuit")
    for old, new, says in (
        ('method = "variational"', "", '[encoder] says how an encoder is trained, and [learning] method = "langevin"'),
        ('kind = "spike-slab"\npi = 0.3', 'kind = "laplace"', "prior.kind = 'laplace' has none"),
        ("pi = 0.3", "pi = 1.0", "pi < 1"),
    ):
        (tmp_path / "config.toml").write_text(text.replace(old, new))
        refused(tmp_path, says)
    head, _, _ = text.partition("[encoder]")
    (tmp_path / "config.toml").write_text(head.replace('method = "variational"', ""))
    refused(tmp_path, 'learning.learn = [] is empty, which method = "variational" alone can have')


def test_files_that_are_no_encoder_for_this_model(trained, tmp_path):
    encoder = Encoder.load(trained[0] / "encoder.npz")
    arrays = dict(np.load(trained[0] / "encoder.npz"))
    of_another = Encoder(weights=(np.ones((6, 9)),), biases=(np.ones(6),))
    rectified = Encoder(weights=encoder.weights, biases=encoder.biases, rectified=True)
    for made, name in ((of_another, "of_another.npz"), (rectified, "rectified.npz")):
        made.save(tmp_path / name)
    bare = {"A": bars(2), "A_final": bars(2), "pi": 0.3, "lam": 1.0, "sigma": 0.5}
    finals = {"pi_final": 0.3, "lam_final": 1.0, "sigma_final": 0.5}
    Learned(**bare, **finals, signed=True).save(tmp_path / "learned.npz")
    np.savez(tmp_path / "nan.npz", **{**arrays, "W0": np.full_like(arrays["W0"], np.nan)})
    np.savez(tmp_path / "torn.npz", **{**arrays, "W1": arrays["W1"][:, 1:]})
    np.save(tmp_path / "rows.npy", bars(2))
    for name, says in (
        ("of_another.npz", "it takes 9 features to 2 latents, but the model has 4 and 4"),
        ("rectified.npz", "its codes are rectified, but the prior is signed"),
        ("learned.npz", "learned.npz is not an encoder ('about' is missing)"),
        ("nan.npz", "nan.npz is not an encoder (W0[0, 0] = nan"),
        ("torn.npz", "torn.npz is not an encoder (encoder: layer 1 has weights of shape (6, 7)"),
        ("rows.npy", "rows.npy is not an encoder (it is no zip archive"),
    ):
        write(tmp_path, encoder=f'file = "{name}"')
        refused(tmp_path, says)
