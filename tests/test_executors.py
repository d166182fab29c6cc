"""One list of tasks on every executor: the same samples to the last bit, and what happens if an executor loses some."""

import contextlib
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import workers_of

from circuitlsc import InputError, RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.errors import SimulationError
from circuitlsc.io.lock import lock
from circuitlsc.simulator import chain as chain_module
from circuitlsc.simulator.chain import Job, simulate, take
from circuitlsc.simulator.engine import ChainsFailed, run_all_chains, run_chains
from circuitlsc.simulator.executors import connect
from circuitlsc.simulator.journal import read_steps
from circuitlsc.simulator.store import Store, identity

pytestmark = pytest.mark.ngspice
MODEL = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.0, 0.2, 0.9, -0.1])


def some_tasks():
    """Chains of different circuits, one of them with a finer step, in chunks that do not divide their lengths."""
    plan = RunPlan(t_stop=60.0, warmup=10.0, chains=2, seed=5, thin=3)
    tasks = []
    for options in ({}, {"form": "residual"}, {"level": "device"}, {"halvings": 1}):
        tasks += [replace(t, chunk=350) for t in build_sampler(MODEL, X, **options).tasks(plan)]
    return tasks


@pytest.fixture(scope="module")
def tasks():
    return some_tasks()


@pytest.fixture(scope="module")
def serial(tasks):
    return run_chains(tasks, workers=1)


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as made,
        connect(made.scheduler_address) as client,
    ):
        yield made, client


def same(a, b):
    return all(
        x.u.tobytes() == y.u.tobytes() and x.observed.tobytes() == y.observed.tobytes()
        for x, y in zip(a, b, strict=True)
    )


def test_a_pool_gives_the_same_bits(tasks, serial):
    assert same(run_chains(tasks, workers=2), serial)
    assert not same(run_chains([replace(t, seed=6) for t in tasks[:2]]), serial[:2]), "negative control"


def test_the_order_of_the_tasks_does_not_matter(tasks, serial):
    assert same(run_chains(tasks[::-1], workers=2), serial[::-1])


@pytest.mark.parametrize("make", [ThreadPoolExecutor, ProcessPoolExecutor], ids=["threads", "processes"])
def test_any_executor_gives_the_same_bits(tasks, serial, make):
    with make(2) as executor:
        assert same(run_chains(tasks, executor=executor), serial)


def test_dask_gives_the_same_bits(tasks, serial, cluster, tmp_path):
    _, client = cluster
    seen = []
    store = Store(tmp_path / "kept")
    found = run_chains(tasks, executor=client, store=store, progress=lambda number, steps: seen.append(number))
    assert same(found, serial)
    assert same(run_chains(tasks, executor=client.get_executor()), serial)


def test_chains_come_back_from_a_machine_that_does_not_see_the_store(tasks, serial, tmp_path):
    task, key = tasks[0], tasks[0].key(identity())
    done = simulate(Job(task, key, str(tmp_path / "elsewhere"), "token-that-is-not-there"))
    assert done.files is not None
    result = take(tmp_path / key, task, done.files)
    assert same([result], serial[:1])
    spoilt = {name: data[:-1] for name, data in done.files.items()}
    failed = take(tmp_path / "other", task, spoilt)
    assert isinstance(failed, SimulationError)
    assert failed.reason == "its files do not fit their checksums: the disk or the network failed."


@pytest.mark.slow
def test_a_dask_worker_that_disappears(cluster, tmp_path, monkeypatch):
    """Its chain is taken up on another worker from its last chunk."""
    monkeypatch.setattr("circuitlsc.simulator.engine._LOOK", 0.05)
    _, client = cluster
    (task,) = build_sampler(MODEL, X).tasks(RunPlan(t_stop=20_000.0, chains=1, seed=2))
    task = replace(task, chunk=2000)
    store = Store(tmp_path / "kept")
    (whole,) = run_chains([task])
    killed = []

    def kill(_, steps):
        if steps < task.n_steps and not killed:
            pids = [
                pid for pid, busy in client.run(lambda: (os.getpid(), bool(workers_of(os.getpid())))).values() if busy
            ]
            killed.extend(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    (result,) = run_chains([task], executor=client, store=store, progress=kill)
    assert killed, "the run ended before a worker could be killed"
    assert same([result], [whole])


def test_an_executor_that_loses_a_task(tasks):
    class Broken(ThreadPoolExecutor):
        def submit(self, function, job, *_):
            if job.task.chain == 1:
                return super().submit(lambda: 1 / 0)
            return super().submit(function, job)

    with Broken(2) as executor, pytest.raises(ChainsFailed) as caught:
        run_chains(tasks[:2], executor=executor)
    assert caught.value.reason.startswith(
        "the executor lost it (division by zero): its workers or its scheduler ended. Run it again"
    )
    assert [r.chain for r in caught.value.completed] == [0]


def test_what_is_no_executor(tasks):
    with pytest.raises(InputError, match=r"^executor = 3 cannot run tasks\. Give a concurrent\.futures\.Executor"):
        run_chains(tasks[:1], executor=3)


def test_a_scheduler_that_does_not_answer(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("circuitlsc.simulator.executors.CONNECT", 0.5)
    with pytest.raises(
        InputError, match=r"^--scheduler 'tcp://127\.0\.0\.1:9' does not answer \(.*\)\. Start one with"
    ):
        connect("tcp://127.0.0.1:9")


@pytest.mark.parametrize(
    "address",
    ["nonsense", "", "tcp://", "http://127.0.0.1:8786", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "inproc://x"],
)
def test_an_address_that_is_none(address):
    pytest.importorskip("distributed")
    with pytest.raises(
        InputError, match=r"^--scheduler '.*' is no address\. Give one such as tcp://127\.0\.0\.1:8786\.$"
    ):
        connect(address)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4])
def test_what_answers_and_is_no_scheduler(answer, monkeypatch):
    """A web server takes the client's greeting for a request; the client takes its answer for exabytes, or waits for ever."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("circuitlsc.simulator.executors.CONNECT", 1)
    monkeypatch.setattr("circuitlsc.simulator.executors.LONGEST", 5)

    class Answer(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):  # the client has gone already
                self.request.sendall(answer)
                while self.request.recv(4096):
                    pass

    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(
                InputError, match=r"^--scheduler 'tcp://127\.0\.0\.1:\d+' does not answer \([^\n]+\)\. Start one"
            ):
                connect(f"tcp://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()


def test_a_run_that_ended_ends_its_chains_wherever_they_are(tasks, tmp_path):
    """An executor elsewhere is not told of an interrupt: that the run's mark is gone tells the chain."""
    store = Store(tmp_path / "kept")
    store.make()
    long = replace(tasks[0], n_steps=10**9)
    with store.token() as token, ThreadPoolExecutor(1) as threads:
        future = threads.submit(simulate, Job(long, long.key("x"), str(store.folder), token))
        while not read_steps(store.folder / long.key("x")):
            assert not future.done()
            time.sleep(0.05)
        (store.folder / token).unlink()
        ended = future.result(timeout=60)
    assert str(ended).startswith("chain 0: its run was stopped, or ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, r"^workers = 0 cannot be used\. Give a whole number >= 1"),
        ({"workers": 1.5}, r"^workers = 1\.5 cannot be used"),
        ({"workers": "2"}, r"^workers = '2' cannot be used"),
        ({"workers": True}, r"^workers = True cannot be used"),
        ({"timeout": -1}, r"^run: timeout = -1, but a chain needs some time"),
        ({"timeout": float("nan")}, r"^run: timeout = nan, but"),
        ({"store": Path("kept")}, r"^store = .*Path\('kept'\) is none\. Give circuitlsc\.simulator\.store\.Store"),
    ],
)
def test_arguments_that_cannot_be_used(tasks, arguments, message):
    with pytest.raises(InputError, match=message):
        run_chains(tasks[:1], **arguments)


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path):
    """It has the descriptor, as a child that was forked by somebody else's code would."""
    with lock(tmp_path / "lock") as held:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,))
        with pytest.raises(BlockingIOError), lock(tmp_path / "lock"):
            pass
    try:
        with lock(tmp_path / "lock"):
            assert child.poll() is None
    finally:
        child.communicate(b"\n")


# --- the store as a cache ---


@pytest.fixture
def started(monkeypatch):
    """Count the worker processes that are started."""
    calls = []
    work = chain_module._work
    monkeypatch.setattr(chain_module, "_work", lambda *a: (calls.append(a[0].name), work(*a))[1])
    return calls


def test_equal_tasks_run_once(tasks, serial, started):
    results = run_all_chains([tasks[0], tasks[1], tasks[0]])
    assert same(results, [serial[0], serial[1], serial[0]])
    assert len(started) == 2


def test_what_is_kept_is_not_simulated_again(tasks, serial, started, tmp_path):
    store = Store(tmp_path / "kept")
    first = run_chains(tasks[:2], store=store)
    again = run_chains(tasks[:3], store=store)
    assert len(started) == len(set(started)) == 3
    assert same(first, serial[:2])
    assert same(again, serial[:3])
    assert again[0].wall == first[0].wall, "what it cost is what it did cost"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"chain": 7},
        {"temperature": 1.1},
        {"n_steps": 1001},
        {"thin": 4},
        {"chunk": 351},
        {"start": (0.0, 0.0, 0.0, 0.1)},
        {"rows": np.ones((1, 4))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_key_holds_all_that_the_samples_depend_on(tasks, change):
    assert replace(tasks[0], **change).key("x") != tasks[0].key("x")
    if "rows" in change:
        assert replace(tasks[0], rows=2 * change["rows"]).key("x") != replace(tasks[0], **change).key("x")
    assert tasks[0].key("ngspice 39") != tasks[0].key("ngspice 44")
    assert re.fullmatch(r"[0-9a-f]{64}", tasks[0].key(identity()))


def test_spoilt_results_are_simulated_again_from_the_last_good_chunk(tasks, serial, started, tmp_path):
    store = Store(tmp_path / "kept")
    run_chains(tasks[:1], store=store)
    path = store.entry(tasks[0]) / "samples.f64"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert store.steps(tasks[:1]) > 0
    assert same(run_chains(tasks[:1], store=store), serial[:1])
    assert len(started) == 2


def test_old_chains_make_room(tasks, tmp_path):
    store = Store(tmp_path / "kept")
    run_chains(tasks[:3], store=store)
    entries = [store.entry(t) for t in tasks[:3]]
    for age, entry in zip((30, 20, 10), entries, strict=True):
        then = time.time() - age
        os.utime(entry / "journal.jsonl", (then, then))
    size = sum((entries[2] / name).stat().st_size for name in ("samples.f64", "journal.jsonl"))
    assert store.prune(limit=1e9, young=0) == 0
    assert store.prune(limit=0) == 0, "all were used in the last hour"
    assert store.prune(limit=1.5 * size, young=0) == 2
    assert [e.exists() for e in entries] == [False, False, True]
    assert Store(tmp_path / "nothing").prune() == 0


def test_two_runs_of_one_chain_at_a_time_simulate_it_once(tasks, serial, started, tmp_path):
    store = Store(tmp_path / "kept")
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(run_chains, tasks[:1], store=store) for _ in range(2)]
        assert all(same(f.result(), serial[:1]) for f in futures)
    assert len(started) == 1


def test_a_store_that_cannot_be_made(tasks, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^chains cannot be kept in .*file/kept \(Not a directory\)\. Give another"):
        run_chains(tasks[:1], store=Store(tmp_path / "file" / "kept"))
