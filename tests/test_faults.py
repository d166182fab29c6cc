"""What goes wrong, caused on purpose: one clear error each, no partial result that passes for a whole one, exit code 1."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from processes import workers_of
from test_cli import circuitlsc, one_line
from test_engine import with_line, workers_by_chain

from circuitlsc import RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.errors import SimulationError
from circuitlsc.sampling.batch import CircuitRun, run_circuits
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.engine import run_all_chains, run_chains
from circuitlsc.simulator.ngspice.diagnosis import diagnose, what_is
from circuitlsc.simulator.store import Store

pytestmark = pytest.mark.ngspice
MODEL = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.0, 0.2, 0.9, -0.1])
CONFIG = """
[model]
dictionary = "bars:2"
seed = 4
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[run]
t_stop = 1500
chains = 8
"""


def chains(n, t_stop=300.0, chunk=500):
    plan = RunPlan(t_stop=t_stop, warmup=10.0, chains=n, seed=5)
    return [replace(task, chunk=chunk) for task in build_sampler(MODEL, X).tasks(plan)]


def signalled(number, chain, found):
    """Send a signal to the worker of a chain as soon as there is one."""
    while chain not in found:
        found.update(workers_by_chain(os.getpid()))
        time.sleep(0.005)
    os.kill(found[chain], number)


def with_signal(number, chain, run):
    """Run while another thread sends the signal."""
    sender = threading.Thread(target=signalled, args=(number, chain, {}), daemon=True)
    sender.start()
    try:
        return run()
    finally:
        sender.join(30)
        assert not sender.is_alive(), "no worker was found"


# --- one of eight ---


@pytest.fixture(scope="module")
def eight():
    return run_chains(chains(8, 1500.0))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (
            signal.SIGSEGV,
            "libngspice crashed (SIGSEGV) before the transient's end. Run the deck in plain ngspice to see where.",
        ),
        (
            signal.SIGKILL,
            "its worker was ended by SIGKILL before the transient's end: by somebody, or by the system for want of memory. "
            "Run it again, with fewer workers if memory is short.",
        ),
    ],
    ids=["segfault", "killed"],
)
@pytest.mark.slow  # test_one_worker_of_eight_crashes_under_the_command_line has one of them
def test_one_worker_of_eight_ends(number, reason, eight, tmp_path):
    """Seven results and one error; and the eighth goes on where it was."""
    tasks, store = chains(8, 1500.0), Store(tmp_path / "kept")
    outcomes = with_signal(number, 3, lambda: run_all_chains(tasks, workers=2, store=store))
    (failed,) = [o for o in outcomes if isinstance(o, SimulationError)]
    assert outcomes.index(failed) == failed.chain == 3
    assert failed.reason == reason
    for got, want in zip(outcomes[:3] + outcomes[4:], eight[:3] + eight[4:], strict=True):
        assert got.u.tobytes() == want.u.tobytes()
    again = run_chains(tasks, store=store)
    assert [r.u.tobytes() for r in again] == [r.u.tobytes() for r in eight]


def test_one_worker_of_eight_crashes_under_the_command_line(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.replace("1500", "500"))
    done = with_signal(
        signal.SIGSEGV, 3, lambda: circuitlsc("run", "config.toml", "-o", "out", "--no-cache", cwd=tmp_path)
    )
    line = one_line(done, 1)
    assert line.startswith("circuitlsc: error: chain 3: libngspice crashed (SIGSEGV) before the transient's end. ")
    assert "The samples of the other 7 chains are in " in line
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    seven = Samples.load(tmp_path / "out.partial" / "samples.completed.nc")
    assert seven.chains == [0, 1, 2, 4, 5, 6, 7]
    done = circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    whole = Samples.load(tmp_path / "out" / "samples.nc")
    assert whole.chains == list(range(8))
    np.testing.assert_array_equal(whole.u[[0, 1, 2, 4, 5, 6, 7]], seven.u)
    assert not (tmp_path / "out" / "samples.completed.nc").exists()


def test_one_circuit_of_a_sweep_fails(tmp_path, monkeypatch):
    """The others run to their end, the message names the one, and a store has the others for the next attempt."""
    samplers = {name: build_sampler(MODEL, X, halvings=k) for k, name in enumerate(("good", "bad", "fine"))}
    plan = RunPlan(t_stop=60.0, warmup=10.0, chains=2, seed=1)
    runs = [CircuitRun(name, sampler, plan) for name, sampler in samplers.items()]
    bad = samplers["bad"]
    object.__setattr__(bad, "library_deck", with_line(bad.tasks(plan)[0], "Bbad 0 u_0 I=1/0").deck)
    store, told = Store(tmp_path / "kept"), []
    with pytest.raises(
        SimulationError, match=r"^chain 0: the circuit 'bad' failed: the transient has no point at step 1"
    ):
        run_circuits(runs, note=told.append, store=store)
    assert sorted(told) == ["fine", "good"]
    good = [task for name in ("good", "fine") for task in samplers[name].tasks(plan)]
    assert store.steps(good) == sum(task.n_steps for task in good)


# --- time, matrices, messages ---


def test_a_worker_that_hangs_is_stopped(tmp_path):
    tasks = chains(2, 3000.0)
    outcomes = with_signal(signal.SIGSTOP, 1, lambda: run_all_chains(tasks, workers=2, timeout=8.0))
    assert not isinstance(outcomes[0], SimulationError)
    assert outcomes[1].reason == "it was stopped after 8 s. Raise the timeout, or shorten t_stop."
    assert workers_of(os.getpid()) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "Vbad1 u_0 0 1\nVbad2 u_0 0 2",
            r" ngspice: the matrix is singular, check v(bad1|bad2)#branch \(the current of vbad\d\); likely a loop of voltage "
            r"sources, or a node that nothing but capacitors or current sources connects\.$",
        ),
        (
            "Bbad 0 u_2 I=exp(v(u_2)*1e4)",
            r" ngspice: the time step became too small at \S+ s, trouble with \S+ \(.*neuron 2\); likely an "
            r"expression there divides by zero, or jumps faster than any step\.$",
        ),
        (
            "Bbad 0 u_0 I=sqrt(1e-5-time)*1e-12",
            r" ngspice: .* too small at 1e-05 s.*; an expression takes sqrt of -\S+\.$",
        ),
    ],
    ids=["singular", "timestep", "sqrt"],
)
def test_ngspice_gives_up(line, said):
    (task,) = chains(1)
    (outcome,) = run_all_chains([with_line(task, line)])
    assert isinstance(outcome, SimulationError)
    assert re.search(said, outcome.reason), outcome.reason
    assert not any(set(kept.strip()) <= {"*"} for kept in outcome.log)


def test_nodes_are_explained():
    assert what_is("u_12") == "u_12 (the state of neuron 12)"
    assert what_is("v.xnoise_0.vn#branch") == "v.xnoise_0.vn#branch (the current of vn in the noise source of neuron 0)"
    assert what_is("mystery") == "mystery"
    assert diagnose("It failed.", ["Note: nothing"]) == "It failed."
    assert diagnose("It failed.", ["Warning: singular matrix:  check nodes r_3 and e_1"]) == (
        "It failed. ngspice: the matrix is singular, check r_3 (the residual of feature 3) and e_1 (the gradient at neuron 1); "
        "likely a loop of voltage sources, or a node that nothing but capacitors or current sources connects."
    )


# --- the disk ---


def limited(size):
    """Let a process write files of so many bytes at most: what a full disk does, without one."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_file_that_cannot_grow(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "circuitlsc", "run", "config.toml", "-o", "out", "--no-cache"]
    done = subprocess.run(
        command, cwd=tmp_path, preexec_fn=limited(200_000), capture_output=True, text=True, check=False
    )
    line = one_line(done, 1)
    assert re.search(
        r"chain \d: \S+ cannot be written to \(File too large\): make room there, or give another place\.", line
    )
    assert not (tmp_path / "out").exists()
    resumed = circuitlsc("run", "config.toml", "-o", "out", "--no-cache", "--resume", cwd=tmp_path)
    assert resumed.returncode in (0, 4), resumed.stderr
    assert "steps were found in" in resumed.stderr


@pytest.mark.slow  # the test above, with a file system
def test_a_full_disk(small_disk):
    (small_disk / "config.toml").write_text(CONFIG)
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", cwd=small_disk), 1)
    assert "cannot be written to (No space left on device): make room there, or give another place." in line
    assert not (small_disk / "out").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    resumed = circuitlsc("run", "config.toml", "-o", "out", "--resume", cwd=small_disk)
    assert resumed.returncode in (0, 4), resumed.stderr
    assert "steps were found in" in resumed.stderr


def test_a_disk_that_is_full_at_the_end(small_disk):
    """There is room for the chains elsewhere, and none for the samples."""
    (small_disk / "config.toml").write_text(CONFIG)
    cache = small_disk.parent / "cache"
    line = one_line(circuitlsc("run", "config.toml", "-o", "out", "--cache", cache, cwd=small_disk), 1)
    assert "No space left on device" in line
    assert not (small_disk / "out").exists()
