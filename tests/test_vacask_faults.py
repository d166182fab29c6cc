"""VACASK in workers that are killed, and on disks that are full: one clear error each, and nothing left behind."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from test_faults import with_signal
from test_private_folders import SAMPLER

from circuitlsc import RunPlan, SimulationError, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.simulator.engine import run_all_chains, run_chains
from circuitlsc.simulator.simulator import TransientFailed
from circuitlsc.simulator.store import Store, identity
from circuitlsc.simulator.task import SCRATCH
from circuitlsc.simulator.vacask import transient
from circuitlsc.simulator.vacask.simulator import VACASK
from circuitlsc.simulator.verilog_a import Programs
from circuitlsc.studies.cross_check import for_referee


class Waits:
    """A simulator that makes a folder of its own, and waits in it."""

    path, name, advice = "test_vacask_faults:WAITS", "what waits", ""

    def version(self):
        return "waits 1"

    def check(self, contents=b""):
        pass

    def prepare(self, circuit):
        return b""

    def advance(self, task, contents, counts, state):
        with TemporaryDirectory(prefix=SCRATCH) as folder:
            (Path(folder) / "deck").write_text("a deck")
            if task.seed == 0:
                raise TransientFailed(folder)
            time.sleep(60)
            yield


WAITS = Waits()


@pytest.fixture(autouse=True)
def on_the_workers_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


def left_behind(folder):
    return sorted(path.name for path in folder.rglob(f"{SCRATCH}*"))


def chain(seed):
    return SAMPLER.tasks(RunPlan(t_stop=40.0, chains=1, seed=seed))[0]


def outcome(seed, store, timeout=1.0):
    return run_all_chains([chain(seed)], simulator=WAITS, contents=[b""], store=store, timeout=timeout)[0].reason


def test_a_simulators_folder_is_in_the_chains_own(tmp_path):
    store = Store(tmp_path / "kept")
    where = Path(outcome(0, store, 60.0))
    assert where.parent == store.folder / chain(0).key(identity(WAITS))
    assert left_behind(store.folder) == []


def test_a_worker_that_is_killed_leaves_no_folder(tmp_path):
    """Nor does one that was killed with whoever started it, once the chain is taken up again; a link is no such folder."""
    store, stopped = Store(tmp_path / "kept"), "it was stopped after 1 s"
    assert outcome(1, store).startswith(stopped)
    assert left_behind(store.folder) == []
    left = store.folder / chain(1).key(identity(WAITS)) / f"{SCRATCH}left"
    left.mkdir()
    (left / "deck").write_text("a deck")
    assert outcome(1, store).startswith(stopped)
    assert left_behind(store.folder) == []
    left.symlink_to(tmp_path)
    assert "it is none of the files that a chain leaves there" in outcome(1, store)


@pytest.fixture
def in_its_place(tmp_path, monkeypatch):
    """Return a function that puts a shell script in VACASK's place."""

    def put(script):
        program = tmp_path / "vacask"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(transient, "find_programs", lambda: Programs(program, program))

    return put


def test_results_that_find_no_room(small_disk, in_its_place):
    """What a simulator does not say itself: its file is cut, and it ends with code 0."""
    in_its_place(
        "echo 'Rejected timepoints: 0'; echo 'NR solver iterations: 1'\ncat /dev/zero > tran1.raw 2>/dev/null\nexit 0"
    )
    with pytest.raises(OSError, match="No space left on device"):
        transient.run(small_disk, "a deck\n", ("u_0",), 1e-8, 5, [])
    (small_disk / "tran1.raw").unlink()
    in_its_place("exit 3")
    with pytest.raises(TransientFailed, match="exit code 3"):
        transient.run(small_disk, "a deck\n", ("u_0",), 1e-8, 5, [])


def test_results_that_are_too_large(tmp_path, in_its_place):
    in_its_place("kill -s XFSZ $$")
    with pytest.raises(OSError, match="File too large"):
        transient.run(tmp_path, "a deck\n", ("u_0",), 1e-8, 5, [])


# --- in VACASK ---


@pytest.mark.slow
def test_a_worker_of_vacask_that_is_killed(vacask_here, tmp_path):
    """The chain goes on where it was, to the same bits."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5)
    s = for_referee(build_sampler(model, np.array([1.0, 0.2, 0.9, -0.1])))
    task = replace(s.tasks(RunPlan(t_stop=300.0, warmup=10.0, chains=1, seed=3))[0], chunk=500)
    given = {"simulator": VACASK, "contents": [VACASK.prepare(s)]}
    (whole,) = run_chains([task], **given)
    store = Store(tmp_path / "kept")
    (outcome,) = with_signal(signal.SIGKILL, 0, lambda: run_all_chains([task], **given, store=store))
    assert isinstance(outcome, SimulationError)
    assert outcome.reason.startswith("its worker was ended by SIGKILL before the transient's end")
    assert left_behind(store.folder) == []
    (again,) = run_chains([task], **given, store=store)
    assert again.u.tobytes() == whole.u.tobytes()
    assert left_behind(store.folder) == []


@pytest.mark.slow
def test_a_full_disk(vacask_here, small_disk):
    """The noise of a chunk does not fit, or a chunk's results do not."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5)
    s = for_referee(build_sampler(model, np.array([1.0, 0.2, 0.9, -0.1])))
    (task,), store = s.tasks(RunPlan(t_stop=3000.0, warmup=10.0, chains=1, seed=3)), Store(small_disk / "kept")
    for chunk in (20_000, 7_000):
        given = {"simulator": VACASK, "contents": [VACASK.prepare(s)], "store": store}
        (outcome,) = run_all_chains([replace(task, chunk=chunk)], **given)
        assert (
            "cannot be written to (No space left on device): make room there, or give another place." in outcome.reason
        )
        assert left_behind(small_disk) == []
