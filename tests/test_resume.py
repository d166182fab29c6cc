"""Runs that end before their time, taken up again: the same bits as if nothing had happened; and one run a folder."""

import json
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_cli import circuitlsc, one_line

from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.journal import JOURNAL, SAMPLES
from circuitlsc.simulator.store import Store

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("unrendered")]
MODEL = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.0, 0.2, 0.9, -0.1])

CONFIG = """
[model]
dictionary = "bars:3"
seed = 4
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[run]
t_stop = {t_stop}
chains = 3
seed = {seed}
"""


# --- chains ---

SYSTEMS = {
    "gram": ({}, {}),
    "residual": ({"form": "residual"}, {}),
    "device": ({"level": "device"}, {}),
    "halvings": ({"halvings": 2}, {}),
    "momentum": ({"dynamics": "underdamped"}, {}),
    "settles": ({"dynamics": "lca"}, {"warmup": 0.0}),
    "stream": ({"hold": 10.0}, {"warmup": 5.0}),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_left_of_a_chain_goes_on_to_the_same_bits(name, tmp_path):
    """Whatever number of chunks is there: simulated by another process, the rest is the same."""
    options, plan = SYSTEMS[name]
    x = np.stack([X, X[::-1], -X]) if name == "stream" else X
    sampler = build_sampler(MODEL, x, **options)
    run = sampler.run_plan(t_stop=None if name == "stream" else 40.0, chains=1, seed=3, **{"warmup": 5.0, **plan})
    (task,) = sampler.tasks(run)
    task = replace(task, chunk=130)
    store = Store(tmp_path / "kept")
    (whole,) = run_chains([task], store=store)
    entry = store.entry(task)
    lines = (entry / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    for chunks in (1, len(lines) // 2, len(lines) - 1):
        (entry / JOURNAL).write_bytes(b"".join(lines[:chunks]) + lines[chunks][:-7])  # the last line is torn
        (again,) = run_chains([task], store=store)
        assert again.u.tobytes() == whole.u.tobytes()
        assert again.observed.tobytes() == whole.observed.tobytes()
        counts = ("steps", "points", "rejected", "iterations")
        assert [getattr(again, c) for c in counts] == [getattr(whole, c) for c in counts]


def test_negative_control_another_state_gives_other_bits(tmp_path):
    """The state in the journal is what the rest depends on: with a neuron moved by 1e-9 units the samples differ."""
    (task,) = build_sampler(MODEL, X).tasks(RunPlan(t_stop=40.0, warmup=5.0, chains=1, seed=3))
    (whole,) = run_chains([task])
    (moved,) = run_chains([replace(task, start=(task.start[0] + 1e-9, *task.start[1:]))])
    assert moved.u.tobytes() != whole.u.tobytes()


@pytest.mark.parametrize("name", [SAMPLES, JOURNAL])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damaged_files_are_noticed_and_repaired(name, damage, tmp_path):
    (task,) = build_sampler(MODEL, X).tasks(RunPlan(t_stop=40.0, warmup=5.0, chains=1, seed=3))
    task, store = replace(task, chunk=100), Store(tmp_path / "kept")
    (result,) = run_chains([task], store=store)
    whole = result.u.tobytes()
    path = store.entry(task) / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 3] ^= 0x10
        kept = {"cut": len(content) // 2, "flip": len(content), "empty": 0}[damage]
        shutil.copy(path, tmp_path / "spoilt")  # a new file: the first result still looks at the old one
        (tmp_path / "spoilt").write_bytes(content[:kept])
        (tmp_path / "spoilt").replace(path)
    (again,) = run_chains([task], store=store)
    assert again.u.tobytes() == whole


# --- the command line ---


def start(folder, *arguments):
    """Start the command as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "circuitlsc", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background inherits an ignored SIGINT, and so would everything that it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def chunks_in(folder):
    """Count the chunks that are on disk."""
    return sum(len(path.read_bytes().splitlines()) for path in Path(folder).glob(f"*/{JOURNAL}"))


def wait_for_chunks(process, folder, n):
    while chunks_in(folder) < n:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The samples of the config at 3,000 tau, simulated in one go."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "config.toml").write_text(CONFIG.format(t_stop=3000, seed=1))
    done = circuitlsc("run", "config.toml", "-o", "out", "--no-cache", cwd=folder)
    assert done.returncode in (0, 4), done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["config.toml", "out"]
    return Samples.load(folder / "out" / "samples.nc")


def resume(folder, whole, *arguments):
    done = circuitlsc("run", "config.toml", "-o", "out", "--resume", *arguments, cwd=folder)
    assert done.returncode in (0, 4), done.stderr
    assert "steps were found in" in done.stderr
    assert Samples.load(folder / "out" / "samples.nc").u.tobytes() == whole.u.tobytes()
    assert not (folder / "out.partial").exists()
    assert not list((folder / "out").glob("*lock*"))


KILLS = {"ctrl-c": signal.SIGINT, "term": signal.SIGTERM, "kill-9": signal.SIGKILL}
CACHES = {"beside": (), "none": ("--no-cache",), "elsewhere": ("--cache", "elsewhere")}
# the hardest way to end, and the cache in another place; all pairs are slow (SIGTERM and Ctrl-C are in test_cli)
PAIRS = [("kill-9", "elsewhere")]


@pytest.mark.parametrize(
    ("kill", "cache"),
    [
        pytest.param(KILLS[k], CACHES[c], id=f"{k}-{c}", marks=() if (k, c) in PAIRS else pytest.mark.slow)
        for k in KILLS
        for c in CACHES
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(kill, cache, uninterrupted, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=3000, seed=1))
    process = start(tmp_path, "run", "config.toml", "-o", "out", *cache)
    kept = {(): ".circuitlsc-cache", ("--no-cache",): "out.partial/chains"}.get(cache, "elsewhere")
    wait_for_chunks(process, tmp_path / kept, 2)
    process.send_signal(kill)
    _, err = process.communicate(timeout=60)
    if kill == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        said = "interrupted; what was done is kept beside out: give the same command with --resume to go on"
        assert err.rstrip().splitlines()[-1] == f"circuitlsc: error: {said}"
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    # without --resume nothing is done, and nothing is lost
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", *cache, cwd=tmp_path), 2)
    assert line == (
        "circuitlsc: error: -o out: an interrupted run left out.partial. "
        "Give another name, add --resume to go on with it, or remove that folder."
    )
    resume(tmp_path, uninterrupted, *cache)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(uninterrupted, tmp_path):
    """kill -9 of the parent, at moments from its first imports to its last file."""
    moments = random.Random(20221101)
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=3000, seed=1))
    begin = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "circuitlsc", "run", "config.toml", "-o", "timed", "--no-cache"],
        cwd=tmp_path,
        check=False,
    )
    length, midway = time.monotonic() - begin, 0
    for _ in range(20):
        process = start(tmp_path, "run", "config.toml", "-o", "out", "--no-cache")
        time.sleep(moments.uniform(0, length))
        process.kill()
        process.communicate()
        midway += chunks_in(tmp_path / "out.partial" / "chains") > 0
        if not (tmp_path / "out").exists():
            done = circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", cwd=tmp_path)
            assert done.returncode in (0, 4), done.stderr
        assert Samples.load(tmp_path / "out" / "samples.nc").u.tobytes() == uninterrupted.u.tobytes()
        shutil.rmtree(tmp_path / "out")
    assert midway >= 3, "hardly any run was killed while it simulated"


def test_a_second_run_into_one_folder_is_refused(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=1_000_000, seed=1))
    first = start(tmp_path, "run", "config.toml", "-o", "out", "--no-cache")
    try:
        wait_for_chunks(first, tmp_path / "out.partial" / "chains", 1)
        for more in ((), ("--resume",)):
            line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--no-cache", *more, cwd=tmp_path), 2)
            assert line == (
                f"circuitlsc: error: -o out: another run is writing it now (process {first.pid} on {platform.node()}). "
                "Give a new name, or wait for its end."
            )
        assert first.poll() is None
        chunks = chunks_in(tmp_path / "out.partial" / "chains")
        wait_for_chunks(first, tmp_path / "out.partial" / "chains", chunks + 1)  # the first one is unharmed
    finally:
        first.kill()
        first.communicate()


def interrupted(folder, **config):
    """Leave a folder as an interrupted run does."""
    (folder / "config.toml").write_text(CONFIG.format(t_stop=1_000_000, seed=1, **config))
    process = start(folder, "run", "config.toml", "-o", "out", "--no-cache")
    wait_for_chunks(process, folder / "out.partial" / "chains", 1)
    process.kill()
    process.communicate()


def test_a_resumed_run_has_to_be_the_same_run(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=1_000_000, seed=2))
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", cwd=tmp_path), 2)
    assert line == (
        "circuitlsc: error: out.partial was begun with another config (seed = 1 there, seed = 2 now), and a resumed run is to "
        "be the same run. Bring back what was changed, or remove that folder."
    )
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=1_000_000, seed=1))
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=tmp_path), 2)
    assert line.startswith("circuitlsc: error: out.partial was begun with another cache (--no-cache there, --cache ")
    line = one_line(circuitlsc("draw", "config.toml", "-o", "out", cwd=tmp_path), 2)
    assert line.startswith("circuitlsc: error: -o out: an interrupted run left out.partial.")
    (tmp_path / "out.partial" / "begun.json").write_text("[")
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", cwd=tmp_path), 2)
    assert "begun.json cannot be read (" in line


@pytest.mark.slow
def test_a_run_that_took_too_long_may_take_longer(tmp_path):
    """As its message says: the timeout is no part of what the samples depend on, and nor is how they are judged."""
    text = CONFIG.format(t_stop=1500, seed=1)
    (tmp_path / "config.toml").write_text(f"{text}timeout = 1e-3\n")
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--no-cache", cwd=tmp_path), 1)
    assert "it was stopped after 0.001 s. Raise the timeout, or shorten t_stop." in line
    (tmp_path / "config.toml").write_text(f"{text}timeout = 600\nreference_time = 5\ntolerance = 0.04\n")
    line = one_line(
        circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", "--tolerance", 0.004, cwd=tmp_path), 2
    )
    assert "--tolerance = 0.004, but comparators and steps alone are allowed a bias of 0.005. Give more" in line
    done = circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", "--tolerance", 0.3, cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    resolved = tomllib.loads((tmp_path / "out" / "config.resolved.toml").read_text())["run"]
    assert (resolved["timeout"], resolved["reference_time"]) == (600, 5)
    assert resolved["tolerance"] == 0.3, "the option counts before the key"
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["tolerance"] == 0.3


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=100, seed=1))
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.tex").write_text("mine")
    for more in ((), ("--resume",)):
        line = one_line(circuitlsc("run", "config.toml", "-o", "out", *more, cwd=tmp_path), 2)
        assert line == (
            "circuitlsc: error: -o out: out.partial exists, and is none of ours. Rename it, or give another name."
        )
    assert (tmp_path / "out.partial" / "thesis.tex").read_text() == "mine"


@pytest.mark.slow
def test_resume_without_anything_to_resume_just_runs(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=100, seed=1))
    assert circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=tmp_path).returncode in (0, 4)
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=tmp_path), 2)
    assert "-o out exists already" in line


def test_the_same_run_into_another_folder_comes_from_the_cache(tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=100, seed=1))
    first = circuitlsc("run", "config.toml", "-o", "a", cwd=tmp_path)
    assert "steps were found" not in first.stderr
    from circuitlsc.simulator import chain

    def refuse(*_):
        raise AssertionError("a worker was started")

    with monkeypatch.context() as patch:
        patch.setattr(chain, "_work", refuse)
        second = circuitlsc("run", "config.toml", "-o", "b", cwd=tmp_path)
    assert "6000 of 6000 steps were found in" in second.stderr
    a, b = (Samples.load(tmp_path / name / "samples.nc") for name in "ab")
    assert a.u.tobytes() == b.u.tobytes()
    third = circuitlsc("run", "config.toml", "-o", "c", "--no-cache", cwd=tmp_path)
    assert "steps were found" not in third.stderr
    assert Samples.load(tmp_path / "c" / "samples.nc").u.tobytes() == a.u.tobytes()
    assert any((tmp_path / ".circuitlsc-cache").iterdir())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--workers", "2", "--scheduler", "tcp://x"),
            "--workers counts processes here, and --scheduler runs elsewhere. ",
        ),
        (("--cache", "x", "--no-cache"), "--cache and --no-cache exclude each other. Give one of them."),
    ],
)
def test_options_that_contradict_each_other(options, line, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=200, seed=1))
    assert line in one_line(circuitlsc("run", "config.toml", "-o", "out", *options, cwd=tmp_path), 2)
