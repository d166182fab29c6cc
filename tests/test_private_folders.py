"""Folders whose names strangers can know, and the working folder: nothing in them runs, or leads elsewhere."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_cli import circuitlsc, one_line

from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.simulator.engine import run_all_chains
from circuitlsc.simulator.journal import JOURNAL, SAMPLES, Record, belongs_to, checksum, read_journal, row_bytes
from circuitlsc.simulator.store import FILES, LOCK, Store, identity

pytestmark = pytest.mark.ngspice
SAMPLER = build_sampler(SparseCodingModel(bars(1), SpikeSlab(0.5, 0.5), 0.5), [1.0])
TASK = SAMPLER.tasks(RunPlan(t_stop=40.0, chains=1, seed=1))[0]
CONFIG = '[model]\ndictionary = "bars:1"\nsigma = 0.5\n[prior]\nkind = "laplace"\nlam = 1.0\n[run]\nt_stop = 40\nchains = 1\n'


@pytest.fixture
def victim(tmp_path):
    """Return a folder of the user's that nothing may change."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("precious")
    yield folder
    assert {f.name: f.read_text() for f in folder.iterdir()} == dict.fromkeys(FILES, "precious")


def entry(tmp_path):
    """Return the folder in which the chain will be kept, as a stranger would make it."""
    folder = tmp_path / "cache" / TASK.key(identity())
    folder.mkdir(parents=True)
    return folder


def outcome(tmp_path):
    return str(run_all_chains([TASK], store=Store(tmp_path / "cache"))[0])


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_a_chains_folder(name, there, victim, tmp_path):
    (entry(tmp_path) / name).symlink_to(victim / (name if there else "new"))
    assert f"{name}: it is none of the files that a chain leaves there. Remove it" in outcome(tmp_path)


def test_a_pipe_in_a_chains_folder(tmp_path):
    os.mkfifo(entry(tmp_path) / JOURNAL)
    assert "it is none of the files" in outcome(tmp_path)
    assert Store(tmp_path / "cache").steps([TASK]) == 0


def test_a_module_in_a_chains_folder(tmp_path):
    (entry(tmp_path) / "circuitlsc.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    assert "circuitlsc.py: it is none of the files" in outcome(tmp_path)
    assert not (tmp_path / "mark").exists()


def test_a_chains_folder_that_is_a_link(victim, tmp_path):
    folder = entry(tmp_path)
    folder.rmdir()
    folder.symlink_to(victim)
    assert "it is a link, not a folder of ours" in outcome(tmp_path)


def test_a_cache_that_is_a_link(victim, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / ".circuitlsc-cache").symlink_to(victim)
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path), 2)
    assert "it is a link: name the folder itself" in line
    # one that the user names is meant
    mine = tmp_path / "mine"
    (tmp_path / "real").mkdir()
    mine.symlink_to("real")
    assert circuitlsc("run", "config.toml", "-o", "out", "--cache", "mine", cwd=tmp_path).returncode in (0, 4)
    assert len(list((tmp_path / "real").iterdir())) == 1, "a folder that was there gets no .gitignore"


def test_an_interrupted_run_that_is_a_link_or_holds_one(victim, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    part = tmp_path / "out.partial"
    (victim / ".lock").write_text("precious")
    part.symlink_to(victim)
    assert "is none of ours" in one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path), 2)
    (victim / ".lock").unlink()
    part.unlink()
    part.mkdir()
    (part / ".lock").touch()
    (part / "begun.json").write_text("{}")
    (part / "samples.nc").symlink_to(victim / LOCK)
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=tmp_path), 2)
    assert "samples.nc is a link or a pipe, which no run leaves" in line
    (part / "samples.nc").unlink()
    (part / "begun.json").unlink()
    # without begun.json there is nothing to resume: the rest is removed, links as links, if it was ours
    (part / "more").symlink_to(victim)
    (part / ".lock").write_text("precious")
    assert "is none of ours" in one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path), 2)
    assert ((part / ".lock").read_text(), (part / "more").is_symlink()) == ("precious", True)
    (part / ".lock").write_text("")
    assert "is none of ours" in one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path), 2)
    (part / ".lock").write_text("circuitlsc: nobody")
    assert circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path).returncode in (0, 4)


@pytest.mark.parametrize("text", ["pipe", "[" * 100_000, "[]", "\x00"])
def test_settings_of_an_interrupted_run_that_cannot_be_read(text, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    part = tmp_path / "out.partial"
    part.mkdir()
    (part / ".lock").touch()
    if text == "pipe":
        os.mkfifo(part / "begun.json")
    else:
        (part / "begun.json").write_text(text)
    one_line(circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=tmp_path), 2)


def test_the_doctor_runs_nothing_of_the_working_folder(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / ".spiceinit").write_text(f"shell touch {mark}\n")
    (tmp_path / "circuitlsc.py").write_text(f"open({str(mark)!r}, 'w')\n")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    root = Path(__file__).parents[1]
    start = f"import sys; sys.path.insert(0, {str(root)!r}); from circuitlsc.cli.main import main; main()"
    run = [sys.executable, "-P", "-c", start, "doctor"]
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "libngspice" in done.stdout, done.stderr
    assert not mark.exists()


def test_figures_follow_no_style_of_the_working_folder(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\n")
    done = circuitlsc("run", "config.toml", "-o", "a", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    (tmp_path / "matplotlibrc").unlink()
    assert circuitlsc("run", "config.toml", "-o", "b", cwd=tmp_path).returncode in (0, 4)
    assert (tmp_path / "a" / "figure.png").read_bytes() == (tmp_path / "b" / "figure.png").read_bytes()


# --- journals that fit their checksums, and no task ---


def record(**changed):
    rows = np.zeros((TASK.draws_after(TASK.n_steps), TASK.width))
    values = {
        "steps": TASK.n_steps,
        "rows": len(rows),
        "u": (0.0,) * len(TASK.nodes),
        "held": (),
        "feedback": (),
        "done": True,
        "checksum": checksum(row_bytes(rows)),
        **dict.fromkeys(("points", "rejected", "iterations", "rss"), 1),
        **dict.fromkeys(("setup", "wall", "cpu"), 1.0),
        "ngspice": "39",
    }
    return Record(**{**values, **changed}), rows


FORGED = {
    "for ever": {"steps": 2**62, "done": False},
    "too far": {"steps": TASK.n_steps + 1},
    "nothing done": {"steps": 0},
    "another grid": {"steps": 7, "done": False},
    "ends early": {"steps": TASK.chunk, "done": True},
    "never ends": {"done": False},
    "a state too many": {"u": (0.0,) * (len(TASK.nodes) + 1)},
    "a capacitor too many": {"held": (0.0,)},
    "a loop that is closed": {"feedback": ((0.0,),) * 3},
}


@pytest.mark.parametrize("name", [*FORGED, "none"])
def test_a_forged_journal(name, tmp_path):
    forged, rows = record(**FORGED.get(name, {}))
    (tmp_path / SAMPLES).write_bytes(row_bytes(rows))
    text = json.dumps(forged.__dict__).encode()
    (tmp_path / JOURNAL).write_bytes(text + b" " + checksum(text).encode() + b"\n")
    assert len(read_journal(tmp_path, TASK.width)) == 1, "its checksums are right"
    assert len(read_journal(tmp_path, TASK.width, belongs_to(TASK))) == (name == "none")


@pytest.mark.parametrize(
    "line", [b'{"steps": ' + b"[" * 100_000, b'{"steps": "x"} zz', b'{"steps": [1]} zz', b"\xff" * 9]
)
def test_steps_of_a_damaged_journal(line, tmp_path):
    store = Store(tmp_path / "cache")
    (entry(tmp_path) / JOURNAL).write_bytes(line + b"\n")
    assert store.steps([TASK]) == 0


# --- what is pruned ---


def test_pruning_touches_nothing_else(tmp_path):
    store = Store(tmp_path)
    for name in ("data", "a" * 64, "b" * 64):
        (tmp_path / name).mkdir()
        (tmp_path / name / LOCK).touch()
        (tmp_path / name / "notes.txt").write_text("precious")
    (tmp_path / ("b" * 64) / "notes.txt").unlink()
    (tmp_path / ("c" * 64)).symlink_to("data")
    for name in ("token-github", "token-" + "d" * 32):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / ("b" * 64), (0, 0))
    assert store.prune(limit=-1, young=0) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["data", "a" * 64, "c" * 64, "token-github"])


def test_pruning_leaves_what_may_be_resumed(tmp_path):
    store = Store(tmp_path)
    folders = {}
    for name, done in (("a", True), ("b", False)):
        folders[name] = tmp_path / (name * 64)
        folders[name].mkdir()
        (folders[name] / LOCK).touch()
        (folders[name] / JOURNAL).write_bytes(json.dumps({"steps": 1, "done": done}).encode() + b" checksum\n")
        os.utime(folders[name] / JOURNAL, (time.time() - 2 * 86_400,) * 2)
    assert store.prune(limit=0) == 1
    assert [folders[name].exists() for name in "ab"] == [False, True]
    os.utime(folders["b"] / JOURNAL, (time.time() - 8 * 86_400,) * 2)
    assert store.prune(limit=0) == 1
