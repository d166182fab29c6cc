"""`circuitlsc learn`: what it writes, what it refuses, and that an interrupted run goes on to the same result."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from reports import results_in
from test_cli import circuitlsc, one_line

from circuitlsc import Learned, bars, match_atoms
from circuitlsc.learning import checkpoint, load_history
from circuitlsc.learning import circuit as learning_circuit
from circuitlsc.learning.checkpoint import save_checkpoint
from circuitlsc.learning.learner import Learner
from circuitlsc.reporting.page import load_page

pytestmark = pytest.mark.ngspice

CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.3
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[learning]
learn = ["A", "pi"]
inputs = {inputs}
hold = {hold}
{more}
"""
SOFTWARE = CONFIG.format(inputs=100, hold=10, more="batch = 40\ntau_u0 = 150\nstart = { pi = 0.5 }\nseed = 1")
CIRCUIT = CONFIG.format(inputs=30, hold=5, more="tau_A = 150\ntau_u0 = 300\nstart = { pi = 0.5 }\nseed = 1")
# pieces of a few inputs, and a checkpoint after each, so that a run can be stopped between two
SHORT = (
    "import circuitlsc.learning.circuit as c, circuitlsc.learning.learner as l; c.PIECE = 20_000; "
    "l.Learner.run.__kwdefaults__['every'] = 0.0; "
    "from circuitlsc.cli.main import main; main()"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learn")
    (folder / "software.toml").write_text(SOFTWARE)
    (folder / "circuit.toml").write_text(CIRCUIT)
    return folder


@pytest.fixture(scope="module")
def software(folder):
    done = circuitlsc("learn", "software.toml", "-o", "soft", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "soft", done


@pytest.fixture(scope="module")
def circuit(folder):
    done = subprocess.run(
        [sys.executable, "-c", SHORT, "learn", "circuit.toml", "-o", "circuit", "--in", "circuit"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "circuit", done


def test_software_writes_what_it_has_learned(software):
    out, done = software
    assert results_in(out) == {"config.toml", "learned.npz", "history.nc", "figure.png"}
    assert not (out.parent / "soft.partial").exists()
    learned, history = Learned.load(out / "learned.npz"), load_history(out / "history.nc")
    assert learned.A.shape == (4, 4)
    assert match_atoms(bars(2), learned.A).cosine.min() > 0.99  # 100 batches of 100 inputs
    assert abs(learned.pi - 0.3) < 0.05  # a quarter of the way from its start
    assert (learned.lam, learned.sigma) == (1.0, 0.3)
    assert {"pi", "norm", "usage", "A"} <= set(history)
    assert f"pi             {learned.pi:.4f} (truth 0.3)" in done.stdout
    assert "(averages over the last quarter)" in done.stdout


def test_a_learned_dictionary_is_a_model(software):
    out, _ = software
    (out.parent / "sample.toml").write_text(
        '[model]\ndictionary = "soft/learned.npz"\nx = "draw"\nsigma = 0.3\n'
        '[prior]\nkind = "spike-slab"\npi = 0.3\nlam = 1.0\n[run]\nt_stop = 200.0\nchains = 1\n'
    )
    done = circuitlsc("build", "sample.toml", cwd=out.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("* circuitlsc sampler: 4 x 4, spike-slab prior")


def test_a_circuit_writes_its_deck_too(circuit):
    out, done = circuit
    assert results_in(out) == {"config.toml", "deck.cir", "learned.npz", "history.nc", "figure.png"}
    assert load_page(out).versions["simulator"].startswith("ngspice")
    built = circuitlsc("build", "circuit.toml", cwd=out.parent)
    assert built.returncode == 0, built.stderr
    assert built.stdout == (out / "deck.cir").read_text()
    for text in (built.stderr, done.stderr):
        assert "tau_A          150 tau: 16 x 1.5e-10 F (a neuron has 1e-12 F)" in text
    assert json.loads(load_history(out / "history.nc").attrs["settings"])["where"] == "circuit"


def refuse_what_differs(arguments, folder, checkpoint, text):
    """A run with other settings does not go on, nor one whose checkpoint is damaged; what is there stays."""
    kept = checkpoint.read_bytes()
    for config, content, says in (
        (text.replace("pi = 0.5", "pi = 0.4"), kept, "was begun with another pi (0.5 there, 0.4 now)"),
        (text, b"garbage", "is not a checkpoint"),
    ):
        (folder / "config.toml").write_text(config)
        checkpoint.write_bytes(content)
        done = circuitlsc(*arguments, "--resume", cwd=folder)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr.splitlines()[-1]
        assert checkpoint.read_bytes() == content
    (folder / "config.toml").write_text(text)
    checkpoint.write_bytes(kept)


def go_on(done, asked, folder, whole):
    """A run came to the end of one that nothing interrupted, and said that it had a beginning if nobody asked for that."""
    assert done.returncode == 0, done.stderr
    line = "goes on from the checkpoint that an interrupted run left in out.partial; --resume is to say so"
    assert (line in done.stderr) != asked
    assert sorted(p.name for p in folder.iterdir()) == ["config.toml", "out"]
    assert "checkpoint.npz" not in results_in(folder / "out")
    mine, its = (Learned.load(p / "learned.npz") for p in (folder / "out", whole))
    for name in ("A", "A_final", "pi", "pi_final"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))


@pytest.mark.parametrize(
    ("where", "kill", "asked"),
    [
        pytest.param("software", signal.SIGINT, True, marks=pytest.mark.slow),  # test_learning_run has a shorter one
        pytest.param("circuit", signal.SIGKILL, True, marks=pytest.mark.slow),
        pytest.param("circuit", signal.SIGKILL, False, marks=pytest.mark.slow),
        pytest.param("software", signal.SIGKILL, False, marks=pytest.mark.slow),
        pytest.param("circuit", signal.SIGINT, True, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_result(folder, software, circuit, tmp_path, where, kill, asked):
    """With --resume, and without, where a line says so."""
    (whole, _), text = (circuit, CIRCUIT) if where == "circuit" else (software, SOFTWARE)
    (tmp_path / "config.toml").write_text(text)
    arguments = [sys.executable, "-c", SHORT, "learn", "config.toml", "-o", "out", "--in", where]
    checkpoint = tmp_path / "out.partial" / "checkpoint.npz"
    process = subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it was interrupted"
        process.send_signal(kill)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (130 if kill == signal.SIGINT else -signal.SIGKILL)
    assert out == ""
    if kill == signal.SIGINT:
        said = "circuitlsc: error: interrupted; what was done is kept beside out: give the same command with --resume to go on"
        assert err.strip().splitlines()[-1] == said
    assert not (tmp_path / "out").exists()
    again = [*arguments, "--resume"] if asked else arguments
    go_on(subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False), asked, tmp_path, whole)


@pytest.mark.parametrize(("where", "asked"), [("software", False), ("circuit", True)])
def test_what_an_interrupt_leaves_is_gone_on_with(software, circuit, tmp_path, monkeypatch, where, asked):
    """In this process, at the first checkpoint."""

    def save_and_be_interrupted(*arguments):
        save_checkpoint(*arguments)
        raise KeyboardInterrupt

    (whole, _), text = (circuit, CIRCUIT) if where == "circuit" else (software, SOFTWARE)
    monkeypatch.setattr(learning_circuit, "PIECE", 20_000)
    arguments = ("learn", "config.toml", "-o", "out", "--in", where)
    (tmp_path / "config.toml").write_text(text)
    with monkeypatch.context() as patch:
        for module in (checkpoint, learning_circuit):
            patch.setattr(module, "save_checkpoint", save_and_be_interrupted)
        patch.setitem(Learner.run.__kwdefaults__, "every", 0.0)
        assert circuitlsc(*arguments, cwd=tmp_path).returncode == 130
    assert not (tmp_path / "out").exists()
    refuse_what_differs(arguments, tmp_path, tmp_path / "out.partial" / "checkpoint.npz", text)
    go_on(circuitlsc(*arguments, *["--resume"] * asked, cwd=tmp_path), asked, tmp_path, whole)
    assert load_page(tmp_path / "out").command == f"circuitlsc learn config.toml -o out{f' --in {where}' * asked}"


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ('learn = ["A", "pi"]', 'learn = ["A", "lam"]', "software", "A and lam have no value of their own together"),
        (
            'learn = ["A", "pi"]',
            'learn = ["A", "phi"]',
            "software",
            'is not a list of some of "A", "pi", "lam", "sigma"',
        ),
        ("tau_A = 150", "tau_lam = 150", "circuit", '"lam" is not in learning.learn'),
        ("tau_A = 150", "tau_A = -1", "circuit", "tau_A"),
        ("hold = 5", "holt = 5", "circuit", "holt"),
        ("hold = 5", "hold = 5\npause = 1", "circuit", "no clock"),
        ("hold = 5", "hold = 5\nbatch = 10", "circuit", "one input at a time"),
        ('"bars:2"', '"none.npy"', "software", "none.npy"),
        ('kind = "spike-slab"', 'kind = "cauchy"', "software", "cauchy"),
    ],
)
def test_wrong_configs_in_one_line(tmp_path, old, new, where, says):
    assert old in CIRCUIT
    (tmp_path / "config.toml").write_text(CIRCUIT.replace(old, new))
    done = circuitlsc("learn", "config.toml", "-o", "out", "--in", where, cwd=tmp_path)
    assert says in one_line(done, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_where_is_software_or_circuit(folder):
    done = circuitlsc("learn", "software.toml", "-o", "out", "--in", "hardware", cwd=folder)
    assert "'hardware' is not one of software, circuit" in one_line(done, 2)


def test_results_are_never_overwritten(software):
    out, _ = software
    done = circuitlsc("learn", "software.toml", "-o", "soft", cwd=out.parent)
    assert "exists already" in one_line(done, 2)


MEMORY = CONFIG.format(inputs=60, hold=2, more="memory = true\nset = 6\ntau_A = 150\nseed = 1").replace(
    "[learning]", '[dynamics]\nfeatures = "relu:20"\n[learning]'
)


@pytest.mark.slow
def test_learning_with_a_memory_from_a_config(tmp_path):
    (tmp_path / "memory.toml").write_text(MEMORY.replace('"A", "pi"', '"A"'))
    for where in ("software", "circuit"):
        done = circuitlsc("learn", "memory.toml", "--in", where, "-o", where, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        times = 60 if where == "software" else 10  # the six together, or one at a time
        assert f"learned        A in {where}, 6 inputs remembered, each on {times} times" in done.stdout
        meta = Learned.load(tmp_path / where / "learned.npz").meta
        assert (meta["memory"]["size"], meta["memory"]["features"]) == (6, "relu:20")
    assert "note           each of the 6 inputs remembered is on 10 times, 20 tau in all" in done.stdout
    assert "memory         6 inputs by 20 features (relu:20), conditioning" in done.stderr
    done = circuitlsc("draw", "memory.toml", "-o", "drawn", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "drawn").iterdir()} >= {"signal_path.svg", "synapse.svg"}
