"""The server from which workers are forked: what it loads, how it ends, and what is said when it does."""

import errno
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import called, is_one_of_ours, workers_of

from circuitlsc import RunPlan, SimulationError, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.simulator import server, workers
from circuitlsc.simulator.engine import run_chains

SLOW_TO_LOAD = ("scipy.stats", "matplotlib", "pandas", "xarray", "sklearn", "typer", "arviz", "requests")
pytestmark = pytest.mark.ngspice


@pytest.fixture(scope="module")
def task():
    sampler = build_sampler(SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5), np.full(4, 0.4))
    (task,) = sampler.tasks(RunPlan(t_stop=10.0, warmup=1.0, chains=1, seed=4))
    return task


@pytest.fixture(scope="module")
def expected(task):
    return run_chains([task])[0].u.copy()


def servers():
    return called(server.SERVER, os.getpid())


def until(true, seconds=30.0):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_a_worker_loads():
    code = (
        "import sys\n"
        "import circuitlsc.simulator.server as server\n"
        "server._load()\n"
        "from circuitlsc.simulator.ngspice.library import open_session\n"
        "open_session()\n"
        f"print([name for name in {SLOW_TO_LOAD!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_one_server_for_many_chains(task, expected):
    before = servers()
    assert len(before) == 1
    for _ in range(3):
        np.testing.assert_array_equal(run_chains([task])[0].u, expected)
    assert servers() == before


def test_after_a_server_that_was_ended_another_one_starts(task, expected):
    (old,) = servers()
    os.kill(old, signal.SIGTERM)
    until(lambda: not is_one_of_ours(old))
    np.testing.assert_array_equal(run_chains([task])[0].u, expected)
    assert servers() not in ([], [old])


def test_an_idle_server_ends_by_itself():
    code = "import circuitlsc.simulator.server as s, socket, sys; s.IDLE = 0.2; s.main(int(sys.argv[1]))"
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(theirs.fileno())],
            env=workers.worker_environment(), pass_fds=(theirs.fileno(),), timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0


def test_a_server_that_is_killed_takes_its_chains(task, expected):
    long = build_sampler(SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5), np.full(4, 0.4))
    found = {}

    def kill(_, steps):
        if steps and not found:
            found.update(workers_of(os.getpid()))
            os.kill(servers()[0], signal.SIGKILL)

    with pytest.raises(SimulationError, match=r"^chain 0: its worker was ended by SIGKILL before the transient's end"):
        run_chains(long.tasks(RunPlan(t_stop=1e6, chains=1)), progress=kill)
    assert found
    until(lambda: not any(is_one_of_ours(pid) for pid in found))
    np.testing.assert_array_equal(run_chains([task])[0].u, expected)


def test_another_environment_is_another_server(task, expected, monkeypatch):
    before = servers()
    monkeypatch.setenv("PYTEST_SOMETHING", "else")
    run_chains([task])
    assert servers() == before
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    np.testing.assert_array_equal(run_chains([task])[0].u, expected)
    assert servers() != before


def test_a_server_that_cannot_start_says_why(task, tmp_path, monkeypatch):
    (tmp_path / "numba.py").write_text("raise ImportError('no numba on this machine')")
    monkeypatch.setattr(workers, "worker_environment", lambda: {**os.environ, "PYTHONPATH": str(tmp_path)})
    with pytest.raises(SimulationError, match="the worker ended with code 1") as caught:
        run_chains([task])
    assert any("no numba on this machine" in line for line in caught.value.log)


def test_a_fork_of_this_process_has_its_own(task, expected):
    run_chains([task])

    def child(queue):
        queue.put((run_chains([task])[0].u.copy(), called(server.SERVER, os.getpid())))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    u, theirs = queue.get(timeout=60)
    process.join(60)
    np.testing.assert_array_equal(u, expected)
    assert len(theirs) == 1
    assert theirs != servers()
    np.testing.assert_array_equal(run_chains([task])[0].u, expected)


@pytest.mark.parametrize("method", ["__init__", "start"])
def test_a_system_without_room_for_processes(method, task, monkeypatch):
    def fail(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(workers, "_server", None)
    monkeypatch.setattr(workers._Server, method, fail)
    with pytest.raises(
        SimulationError, match=r"no process could be started for it \(Resource temporarily unavailable\)"
    ):
        run_chains([task])
