"""A variational circuit by its config: from encoder.npz to deck and samples, what is refused in one line, what is kept."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from reports import results_in
from test_cli import circuitlsc, one_line

from circuitlsc import InputError, Learned, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.config.learning import load_learn_config
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.model.encoder import Encoder
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.studies.design_rules import check_rules

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("unrendered")]

CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.5
seed = 3
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[dynamics]
kind = "variational"
[encoder]
file = "encoder.npz"
[run]
t_stop = 200.0
chains = 1
seed = 1
"""
LEARN = """
[model]
dictionary = "bars:2"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[learning]
method = "variational"
inputs = 3
batch = 10
[encoder]
hidden = [5]
held_out = 10
"""


def encoder(D=4, K=4, *, rectified=True, shift=0.0):
    rng = np.random.default_rng(7)
    sizes = [(5, D), (3 * K, 5)]
    weights = tuple(rng.normal(0, 0.4, size) for size in sizes)
    weights[0][0, 0] += shift
    return Encoder(weights=weights, biases=(np.full(5, 0.2), np.full(3 * K, -0.1)), rectified=rectified)


ENCODER = encoder()


def changed(*changes):
    text = CONFIG
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a config and its encoder."""
    (tmp_path / "config.toml").write_text(CONFIG)
    ENCODER.save(tmp_path / "encoder.npz")
    return tmp_path


# --- what it gives ---


def test_run(folder):
    """Samples are those of Python."""
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=folder)
    assert done.returncode in (0, 4), done.stderr
    files = results_in(folder / "out")
    assert files == {"deck.cir", "samples.nc", "comparison.json", "figure.png", "config.resolved.toml"}
    config, samples = load_config(folder / "config.toml"), Samples.load(folder / "out" / "samples.nc")
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    same = build_sampler(model, config.x, dynamics="variational", encoder=Encoder.load(folder / "encoder.npz"))
    assert same.plan.step == 2.0
    np.testing.assert_array_equal(samples.s, same.run(config.run).s)
    assert samples.s.shape == (1, 90, 4)  # from 20 to 200 tau, a step apart
    assert 0 < np.mean(samples.s != 0) < 1
    again = circuitlsc("compare", "out", "--json", cwd=folder)
    assert json.loads(again.stdout) == json.loads((folder / "out" / "comparison.json").read_text())


@pytest.mark.parametrize("source", ["product", "table"])
def test_build_writes_the_deck(source, folder):
    (folder / "config.toml").write_text(changed(("[run]", f'source = "{source}"\n[run]')))
    done = circuitlsc("build", "config.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "* law      s = 0 if |L| <= kappa, else mu + b sign(L) (|L| - kappa)" in done.stdout
    assert f"Laplace draws by {source}" in " ".join(done.stdout.replace("\n* ", " ").split())
    assert ("noise_u2" in done.stderr) == (source == "product")
    config = load_config(folder / "config.toml")
    run = config.run
    assert done.stdout == config.sampler().deck(t_stop=run.t_stop, warmup=run.warmup, seed=run.seed)


def test_what_learn_wrote(tmp_path):
    (tmp_path / "learn.toml").write_text(LEARN)
    assert circuitlsc("learn", "learn.toml", "-o", "out", cwd=tmp_path).returncode == 0
    (tmp_path / "config.toml").write_text(changed(("encoder.npz", "out/encoder.npz")))
    done = circuitlsc("build", "config.toml", "-o", "deck.cir", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "an encoder 4-5-12 gives the law" in (tmp_path / "deck.cir").read_text()


def test_rows_and_form(folder):
    """Rows of x are a stream, as of any sampler; a form means nothing, and none is said to be chosen."""
    rows = changed(("seed = 3", 'x = "draw:5"'), ("t_stop = 200.0", "hold = 20.0"))
    (folder / "rows.toml").write_text(rows + '[circuit]\nform = "auto"\n')
    config = load_config(folder / "rows.toml")
    sampler = config.sampler()
    assert sampler.stream is not None
    assert sampler.form == "gram"
    assert "form" not in " ".join(sampler.plan.explanation)
    langevin = build_sampler(config.model, config.x, hold=20.0, form="auto")
    assert "form" in " ".join(langevin.plan.explanation)


@pytest.mark.parametrize("source", ["", 'source = "table"\n'])
def test_resolved_config_gives_the_same_circuit(source, folder, tmp_path_factory):
    (folder / "config.toml").write_text(changed(("[run]", f"{source}[run]")))
    config = load_config(folder / "config.toml")
    sampler = config.sampler()
    text = resolved_toml(config, sampler)
    said = {"file": str((folder / "encoder.npz").resolve()), "source": "table" if source else "product"}
    assert tomllib.loads(text)["encoder"] == said
    again = tmp_path_factory.mktemp("elsewhere") / "config.resolved.toml"
    again.write_text(text)
    loaded = load_config(again, anywhere=True)
    assert loaded.sampler().tasks(loaded.run) == sampler.tasks(config.run)
    assert resolved_toml(loaded, loaded.sampler()) == text
    with pytest.raises(InputError, match=r"encoder\.file = .* is outside the config's folder"):
        load_config(again)


def test_no_other_kind_has_the_table(folder):
    (folder / "config.toml").write_text(changed(('"variational"\n[encoder]\nfile = "encoder.npz"', '"langevin"')))
    config = load_config(folder / "config.toml")
    assert config.encoder is None
    assert "encoder" not in tomllib.loads(resolved_toml(config, config.sampler()))


def test_the_deck_holds_the_weights(folder):
    """What samples depend on is in the deck of the engine: how an encoder was trained is not."""

    def deck_hash(made):
        made.save(folder / "encoder.npz")
        return load_config(folder / "config.toml").sampler().engine_deck_hash

    first = deck_hash(ENCODER)
    assert deck_hash(replace(ENCODER, meta={"seed": 5})) == first
    assert deck_hash(encoder(shift=1e-9)) != first
    biases = (ENCODER.biases[0], ENCODER.biases[1] + 1e-9)
    assert deck_hash(replace(ENCODER, biases=biases)) != first


def test_resumed_with_another_encoder(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "run", interrupted)
    arguments = ("run", "config.toml", "-o", "out")
    assert circuitlsc(*arguments, cwd=folder).returncode == 130
    same = circuitlsc(*arguments, "--resume", cwd=folder)
    assert same.returncode == 130  # it went on, as far as this one goes
    encoder(shift=0.1).save(folder / "encoder.npz")
    other = circuitlsc(*arguments, "--resume", cwd=folder)
    assert "encoder" in one_line(other, 2)


def test_compare_with_another_encoder(folder):
    config, out = load_config(folder / "config.toml"), folder / "out"
    out.mkdir()
    sampler = config.sampler()
    sampler.run(config.run).save(out / "samples.nc")
    (out / "config.resolved.toml").write_text(resolved_toml(config, sampler))
    encoder(shift=0.1).save(folder / "encoder.npz")
    assert "samples" in one_line(circuitlsc("compare", "out", cwd=folder), 2)


def test_budget(folder):
    """Of a device-level circuit: the ideal one against its law, all others against the ideal one."""
    short = ("t_stop = 200.0", "t_stop = 400.0")
    (folder / "config.toml").write_text(
        changed(short) + '[circuit]\nlevel = "device"\n[nonideal]\nop_amp.offset = 2e-3\ncomparator.delay = 1e-8\n'
    )
    done = circuitlsc("budget", "config.toml", "-o", "budget", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "budget.json" in results_in(folder / "budget")
    ideal, offset, delay, _ = json.loads((folder / "budget" / "budget.json").read_text())
    assert [entry["against"] for entry in (ideal, offset)] == ["law", "ideal"]
    assert offset["predicted"]["mean_se"] == [0.0] * 4
    assert offset["prediction_holds"] is True
    assert delay["d_mean"] == delay["d_p_active"] == 0
    assert "against the closed form of the encoder's law" in done.stdout


def test_rules_at_device_level(folder):
    (folder / "config.toml").write_text(CONFIG + '[circuit]\nlevel = "device"\n')
    sampler = load_config(folder / "config.toml").sampler()
    rules = check_rules(sampler)
    assert rules[0].name == "voltage of u"
    assert all(rule.ok for rule in rules)


# --- what is refused ---


KIND, FILE = 'kind = "variational"', 'file = "encoder.npz"'


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [(FILE, "")],
            'encoder.file is missing, and dynamics.kind = "variational" needs an encoder. Give the encoder.npz',
        ),
        ([(f"[encoder]\n{FILE}", "")], "encoder.file is missing"),
        (
            [(KIND, 'kind = "langevin"')],
            '[encoder] belongs to dynamics.kind = "variational", and kind is "langevin". Set',
        ),
        ([(KIND, 'kind = "lca"')], '[encoder] belongs to dynamics.kind = "variational", and kind is "lca".'),
        ([(FILE, f"{FILE}\nhidden = [3]")], "encoder.hidden = [3], which says how an encoder is trained"),
        (
            [(FILE, f'{FILE}\nsource = "both"')],
            'encoder.source = \'both\' is not known. Give one of "product", "table".',
        ),
        ([(FILE, "file = 3")], "encoder.file = 3 is not a string."),
        ([(FILE, 'file = "none.npz"')], "none.npz does not exist."),
        ([(FILE, 'file = "../encoder.npz"')], "is outside the config's folder"),
        ([(FILE, 'file = "learned.npz"')], "learned.npz is not an encoder"),
        ([(FILE, 'file = "pickled.npz"')], "pickled.npz is not an encoder (it is pickled, and could run code)."),
        ([(FILE, 'file = "x.csv"')], "x.csv is not an encoder"),
        ([(FILE, 'file = "wide.npz"')], "it takes 9 features to 6 latents, but the model has 4 and 4."),
        ([(FILE, 'file = "signed.npz"')], "its codes are signed, but the prior is nonnegative."),
        ([("lam = 1.0", "lam = 1.0\nsigned = true")], "its codes are rectified, but the prior is signed."),
        ([(FILE, 'file = "huge.npz"')], "the encoder reaches inf units for this x"),
        ([(KIND, f"{KIND}\ntemperature = 2.0")], "samples the law that its encoder gives. Remove it."),
        ([(KIND, f"{KIND}\nfriction = 2.0")], 'dynamics.friction = 2.0 belongs to kind = "underdamped"'),
        ([(KIND, f'{KIND}\nthreshold = "hard"')], 'dynamics.threshold = "hard" belongs to kind = "lca"'),
        ([("[run]", '[circuit]\nform = "residual"\n[run]')], "a variational circuit is feed-forward"),
        ([("[run]", '[circuit]\nloop = "broken"\n[run]')], 'circuit.loop = "broken" needs dynamics.kind = "langevin"'),
        ([("[run]", "[circuit]\nwidth = 3.0\n[run]")], "circuit.width = 3.0, but the threshold acts on a Laplace draw"),
        ([("[run]", "[run]\nhold = 5.0")], "run.hold = 5.0, but x is one input."),
        ([("[run]", "[run]\nstep = 0.0")], "run.step = 0.0, but it must be"),
        ([("[run]", "[run]\nweights = 1")], "run.weights = 1"),
        (
            [(f"{KIND}\n[encoder]\n{FILE}\n[run]", 'kind = "langevin"\n[run]\nweights = true')],
            'run.weights = True, but dynamics.kind = "langevin" samples no law that could be weighted.',
        ),
        (
            [("seed = 3", 'x = "draw:5"'), ("t_stop = 200.0", "hold = 20.0\nweights = true")],
            "run.weights = True, but weights are those of the samples of one input.",
        ),
    ],
)
def test_refused_in_one_line(changes, said, folder):
    (folder / "config.toml").write_text(changed(*changes))
    numbers = {name: 0.5 for made in ("", "_final") for name in (f"pi{made}", f"lam{made}", f"sigma{made}")}
    Learned(A=bars(2), A_final=bars(2), **numbers, signed=False).save(folder / "learned.npz")
    np.savez(folder / "pickled.npz", about=np.array([{}], dtype=object))
    np.savetxt(folder / "x.csv", np.ones(4))
    encoder(9, 6).save(folder / "wide.npz")
    encoder(rectified=False).save(folder / "signed.npz")
    biases = (ENCODER.biases[0], np.full(12, 800.0))
    replace(ENCODER, biases=biases).save(folder / "huge.npz")
    before = set(folder.iterdir())
    for command in ("build", "run"):
        done = circuitlsc(command, "config.toml", *(("-o", "out") if command == "run" else ()), cwd=folder)
        assert not done.stdout
        assert said in one_line(done, 2)
    assert set(folder.iterdir()) == before  # refused before anything is written


def test_weights(folder):
    """Weighted samples are in the report and in the file, and what is compared again has them too."""
    (folder / "config.toml").write_text(changed(("t_stop = 200.0", "t_stop = 3000.0\nweights = true")))
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=folder)
    assert done.returncode in (0, 4), done.stderr
    assert "weighted       by p(x, s)/q(s), " in done.stdout
    assert "comparison.json" in results_in(folder / "out")
    found = json.loads((folder / "out" / "comparison.json").read_text())
    weighted = found["weighted"]
    assert weighted["n"] == 1490
    assert weighted["memory"] == 0.0
    assert 0.01 < weighted["ess_share"] < 1
    assert len(weighted["latents"]) == 4
    assert tomllib.loads((folder / "out" / "config.resolved.toml").read_text())["run"]["weights"] is True
    again = circuitlsc("compare", "out", "--json", cwd=folder)
    assert json.loads(again.stdout) == found


def test_rows_are_run_and_judged(folder):
    rows = changed(("seed = 3", 'x = "draw:5"'), ("t_stop = 200.0", "hold = 20.0"))
    (folder / "config.toml").write_text(rows + '[circuit]\nlevel = "device"\n[nonideal.op_amp]\ngbw = 2e5\n')
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=folder)
    assert done.returncode == 4, done.stderr  # a few samples, and op-amps that lag
    found = json.loads((folder / "out" / "comparison.json").read_text())
    assert (found["n_rows"], found["compared_rows"], found["draws_per_row"]) == (5, 5, 5)
    assert "comparison.json" in results_in(folder / "out")
    assert found["bias"]["rows"] + found["bias"]["refused"] == 5
    assert found["half_step"]["rows"] == 5
    assert "of the encoder's laws, no fault of the circuit" in done.stdout
    assert "step           by what half of it changes, its error in the laws of 5 inputs is" in done.stdout
    assert json.loads(circuitlsc("compare", "out", "--json", cwd=folder).stdout) == found


@pytest.mark.parametrize("x", ["seed = 3", 'x = "draw:5"'])
def test_a_prior_without_a_slab_is_refused_before_the_run(x, folder):
    times = () if x == "seed = 3" else (("t_stop = 200.0", "hold = 20.0"),)
    gaussian = ('kind = "spike-slab"\npi = 0.3\nlam = 1.0', 'kind = "gaussian"\nsd = 1.0')
    (folder / "config.toml").write_text(changed(("seed = 3", x), gaussian, *times))
    encoder(rectified=False).save(folder / "encoder.npz")
    before = set(folder.iterdir())
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=folder)
    assert "has no exponential slab" in one_line(done, 2)
    assert set(folder.iterdir()) == before


def test_calibrate(folder):
    done = circuitlsc("calibrate", "config.toml", "-o", "out", "--inputs", "20", "--draws", "9", cwd=folder)
    assert done.returncode == 4, done.stderr
    found = json.loads((folder / "out" / "calibration.json").read_text())
    assert found["verdict"] == "inconclusive"
    assert "calibration.json" in results_in(folder / "out")
    assert set(found["bias"]) == {"reason", "p_value", "statistics"}
    assert "bias           of the law, no fault of the circuit" in done.stdout


def test_anywhere(folder):
    inside = folder / "inside"
    inside.mkdir()
    (inside / "config.toml").write_text(changed((FILE, 'file = "../encoder.npz"')))
    assert circuitlsc("build", "inside/config.toml", cwd=folder).returncode == 2
    assert circuitlsc("build", "inside/config.toml", "--anywhere", cwd=folder).returncode == 0


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("command", ["friction"])
def test_commands_that_it_has_not(command, level, folder):
    (folder / "config.toml").write_text(f'{CONFIG}[circuit]\nlevel = "{level}"\n')
    before = set(folder.iterdir())
    done = circuitlsc(command, "config.toml", "-o", "out", cwd=folder)
    assert 'kind = "variational"' in one_line(done, 2)
    assert set(folder.iterdir()) == before


def test_source_is_no_key_of_learning(tmp_path):
    (tmp_path / "learn.toml").write_text(f'{LEARN}source = "table"\n')
    with pytest.raises(InputError, match=r"encoder\.source = 'table' is not a known key"):
        load_learn_config(tmp_path / "learn.toml", "software")
