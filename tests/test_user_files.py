"""What a user has, and keeps: files that exist already, disks without locks, and files of another program."""

import errno
import fcntl
import os
import platform
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from test_cli import CONFIG, circuitlsc, one_line

from circuitlsc import InputError, Laplace, SparseCodingModel, bars, build_sampler
from circuitlsc import lock as locks
from circuitlsc.lock import claim
from circuitlsc.output import new_folder
from circuitlsc.samples import Samples

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
def test_samples_on_a_disk_without_locks_are_read(saved, monkeypatch):
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
