"""The command line as a user meets it: files, streams, exit codes, one-line errors, and nothing half-written."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from processes import workers_of
from reports import results_in

from circuitlsc.cli.main import app
from circuitlsc.sampling.samples import Samples

pytestmark = pytest.mark.ngspice

CONFIG = """
[model]
dictionary = "bars:2"
x = "{x}"
sigma = 0.7
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[run]
t_stop = {t_stop}
chains = 2
seed = 1
"""
FILES = {"deck.cir", "samples.nc", "comparison.json", "figure.png", "config.resolved.toml"}
KEYS = {
    "latents",
    "support",
    "pathwise",
    "ess_min",
    "max_abs_z",
    "z_limit",
    "verdict",
}


def circuitlsc(*arguments, cwd):
    """Run a command in this process: a new one spends seconds on imports."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app([str(a) for a in arguments], prog_name="circuitlsc")
            code = 0
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def circuitlsc_process(*arguments, cwd, **environment):
    """Run a command as a shell does."""
    return subprocess.run(
        [sys.executable, "-m", "circuitlsc", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(done, code):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("circuitlsc: error: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is long enough to agree within its tolerance."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "x.csv").write_text("0.5,0.2,-0.1,0.4\n")
    (folder / "config.toml").write_text(CONFIG.format(t_stop=2000, x="x.csv") + "tolerance = 0.1\n")
    return folder, circuitlsc_process("run", "config.toml", "-o", "out", cwd=folder)


def test_run_agrees_and_writes_everything(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr + done.stdout
    assert results_in(folder / "out") == FILES
    assert {p.name for p in folder.iterdir()} == {"config.toml", "x.csv", "out", ".circuitlsc-cache"}
    comparison = json.loads((folder / "out" / "comparison.json").read_text())
    assert set(comparison) >= KEYS
    assert comparison["verdict"] == "agrees"
    assert len(comparison["latents"]) == 4
    for latent in comparison["latents"]:
        for name in ("p_active", "mean", "sd"):
            assert {"circuit", "sde", "exact", "mcse", "z"} <= set(latent[name])
            assert all(isinstance(v, float) for v in latent[name].values())
    assert {"tv", "tv_floor"} <= set(comparison["support"])
    assert comparison["pathwise"]["max_abs"] < 1e-2
    assert "verdict        agrees" in done.stdout
    assert re.search(r"([\d,]+) of \1 steps", done.stderr)
    assert "left" not in done.stdout
    resolved = tomllib.loads((folder / "out" / "config.resolved.toml").read_text())
    assert isinstance(resolved["run"]["step"], float)
    assert (resolved["run"]["tolerance"], resolved["run"]["reference_time"]) == (0.1, 60.0)
    assert comparison["tolerance"] == 0.1


def test_samples_are_labelled(finished):
    import hashlib

    folder, _ = finished
    samples = Samples.load(folder / "out" / "samples.nc")
    assert samples.tree["posterior"]["u"].dims == ("chain", "draw", "latent")
    assert samples.tree["posterior"]["s"].dims == ("chain", "draw", "latent")
    assert samples.x.shape == (4,)
    assert {"A", "sigma", "pi", "lam"} <= set(samples.tree["constant_data"].data_vars)
    deck = (folder / "out" / "deck.cir").read_bytes()
    assert samples.attrs["deck_sha256"] == hashlib.sha256(deck).hexdigest()
    for key in ("circuitlsc_version", "ngspice_version", "pyspice_version", "seed", "scaling"):
        assert key in samples.attrs


def assert_same(found, expected):
    """Numbers are the same but for the rounding of sums, whose order in BLAS depends on what else the processors do."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == (pytest.approx(expected, rel=1e-9, abs=1e-12) if isinstance(expected, float) else expected)


def test_compare_repeats_the_comparison(finished):
    folder, _ = finished
    done = circuitlsc("compare", "out", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    before = (folder / "out" / "comparison.json").read_text()
    found, again = json.loads(done.stdout), json.loads(before)
    assert found.pop("pathwise")["rms"] < 1e-5 > again.pop("pathwise")["rms"]  # here over fewer steps
    assert_same(found, again)
    closer = circuitlsc("compare", "out", "--json", "--tolerance", 0.01, cwd=folder)
    found, again = json.loads(closer.stdout), json.loads(before)
    assert closer.returncode == 4
    assert (found["verdict"], found["tolerance"]) == ("inconclusive", 0.01)
    assert found["t_stop_needed"] > 2000
    assert found["latents"][2]["sd"]["circuit"] == again["latents"][2]["sd"]["circuit"]
    assert found["latents"][2]["sd"]["mcse_exact"] < again["latents"][2]["sd"]["mcse_exact"], "drawn for longer"
    assert (folder / "out" / "comparison.json").read_text() == before, "the folder's own result stays"
    one_line(circuitlsc("compare", "out", "--tolerance", 0.005, cwd=folder), 2)


def test_the_resolved_config_gives_the_same_samples(finished):
    folder, _ = finished
    text = (folder / "out" / "config.resolved.toml").read_text().replace("t_stop = 2000.0", "t_stop = 300.0")
    (folder / "short.toml").write_text(text)
    done = circuitlsc("run", "short.toml", "-o", "again", cwd=folder)
    assert done.returncode == 4, done.stderr + done.stdout
    long, short = (Samples.load(folder / name / "samples.nc").u for name in ("out", "again"))
    np.testing.assert_array_equal(short[:, :-1], long[:, : short.shape[1] - 1])
    # a transient's last step ends 4e-15 of its length early (spice.callbacks.SHORT): that far apart, not bit for bit
    np.testing.assert_allclose(short[:, -1], long[:, short.shape[1] - 1], rtol=0, atol=1e-10)
    shutil.rmtree(folder / "again")
    (folder / "short.toml").unlink()


def test_samples_of_a_wrong_circuit_disagree(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "out", tmp_path / "out")
    samples = Samples.load(tmp_path / "out" / "samples.nc")
    samples.tree["posterior"]["u"] *= 1.1
    samples.tree["posterior"]["s"] *= 1.1
    samples.save(tmp_path / "out" / "samples.nc")
    done = circuitlsc("compare", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "verdict        disagrees" in done.stdout


def test_a_short_run_is_inconclusive(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=60, x="draw"))
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert comparison["verdict"] == "inconclusive"
    assert comparison["t_stop_needed"] > 60


def test_build(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=100, x="draw"))
    done = circuitlsc("build", "config.toml", "-o", "deck.cir", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "fastest mode" in done.stderr
    printed = circuitlsc("build", "config.toml", cwd=tmp_path)
    assert printed.stdout == (tmp_path / "deck.cir").read_text()
    assert printed.stdout.startswith("* circuitlsc sampler")


BAD_INPUT = {
    "pi = 0.3": ("pi = 1.3", r"prior.pi = 1.3"),
    "lam = 1.0": ("lam = -1.0", "prior.lam = -1.0"),
    "sigma = 0.7": ("sgima = 0.7", "Did you mean 'sigma'?"),
    "[run]": ("[run]\nstep = 1.0", "run.step = 1.0 tau is too large for the fastest mode"),
    "[prior]": ("[circuit]\nvolt = 40.0\n[prior]", "circuit.volt = 40.0 V per unit"),
    'dictionary = "bars:2"': ('dictionary = "A.npy"', "model.dictionary = "),
    "chains = 2": ("chains = 0", "run.chains = 0"),
    "t_stop = 60": ("t_stop = 20.1", "run.t_stop = 20.1 tau leaves"),
}


# a deck may be as short as one likes: only a run is refused for that
@pytest.mark.parametrize(
    ("command", "line"),
    [(c, line) for c in ("run", "build") for line in BAD_INPUT if (c, line) != ("build", "t_stop = 60")],
)
def test_bad_input(tmp_path, command, line):
    wrong, message = BAD_INPUT[line]
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=60, x="draw").replace(line, wrong))
    done = circuitlsc(command, "config.toml", "-o", "out", cwd=tmp_path)
    assert message in one_line(done, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_an_output_folder_that_exists(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=60, x="draw"))
    (tmp_path / "out").mkdir()
    assert "-o out exists already" in one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path), 2)
    assert not list((tmp_path / "out").iterdir())


def test_missing_library(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=60, x="draw"))
    done = circuitlsc_process(
        "run", "config.toml", "-o", "out", cwd=tmp_path, NGSPICE_LIBRARY_PATH="/nowhere/libngspice.so"
    )
    assert "apt-get install libngspice0" in one_line(done, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]
    sick = circuitlsc_process("doctor", cwd=tmp_path, NGSPICE_LIBRARY_PATH="/nowhere/libngspice.so")
    assert sick.returncode == 1
    assert "missing   libngspice" in sick.stdout


def test_doctor(tmp_path):
    done = circuitlsc_process("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "ok        libngspice" in done.stdout


def test_compare_refuses_what_is_no_run(finished, tmp_path):
    folder, _ = finished
    assert "is not a folder" in one_line(circuitlsc("compare", "nowhere", cwd=tmp_path), 2)
    (tmp_path / "empty").mkdir()
    assert "samples.nc does not exist" in one_line(circuitlsc("compare", "empty", cwd=tmp_path), 2)
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / "samples.nc").write_bytes(b"garbage")
    assert "is not a file of circuitlsc samples" in one_line(circuitlsc("compare", "out", cwd=tmp_path), 2)
    shutil.copy(folder / "out" / "samples.nc", tmp_path / "out" / "samples.nc")
    config = tmp_path / "out" / "config.resolved.toml"
    config.write_text(config.read_text().replace("pi = 0.3", "pi = 0.4"))
    assert "made by another deck" in one_line(circuitlsc("compare", "out", cwd=tmp_path), 2)


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_workers_and_leaves_no_results(tmp_path, kill):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=10_000_000, x="draw"))
    process = subprocess.Popen(
        [sys.executable, "-m", "circuitlsc", "run", "config.toml", "-o", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a test run in the background inherits an ignored SIGINT, and so would everything that it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not workers_of(process.pid):
            assert process.poll() is None
            time.sleep(0.05)
        workers = workers_of(process.pid)
        time.sleep(0.5)
        process.send_signal(kill)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    said = "interrupted; what was done is kept beside out: give the same command with --resume to go on"
    assert f"circuitlsc: error: {said}" in err
    assert "Traceback" not in err
    assert out == ""
    assert {p.name for p in tmp_path.iterdir()} == {"config.toml", "out.partial", ".circuitlsc-cache"}
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
