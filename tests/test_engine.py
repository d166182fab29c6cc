"""The engine: worker processes, noise paths, chunks; and that whatever goes wrong becomes one clear error."""

import ctypes
import ctypes.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from processes import called, is_one_of_ours, workers_of

from circuitlsc import Gaussian, MissingSimulatorError, RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.errors import SimulationError
from circuitlsc.simulator import chain
from circuitlsc.simulator.engine import ChainsFailed, run_chains
from circuitlsc.simulator.ngspice.library import find_library
from circuitlsc.simulator.ngspice.noise import BrownianPaths
from circuitlsc.simulator.ngspice.transient import _grid_points
from circuitlsc.simulator.server import SERVER
from circuitlsc.simulator.simulator import TransientFailed
from circuitlsc.simulator.store import finished
from circuitlsc.simulator.task import ChainTask, chunk_length

X = np.array([1.0, 0.2, 0.9, -0.1])


def make_sampler(**arguments):
    return build_sampler(SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5), X, **arguments)


def tasks_of(sampler, *, steps=1000, chains=1, seed=3, chunk=20_000):
    """Return tasks that keep every step from the first."""
    run = RunPlan(t_stop=steps * sampler.plan.step, warmup=0.0, chains=chains, seed=seed, thin=1)
    return [replace(task, chunk=chunk) for task in sampler.tasks(run)]


def workers_by_chain(parent):
    """Return the worker processes of a process, by chain."""
    found = {}
    for pid, folder in workers_of(parent).items():
        try:
            found[json.loads((folder / "task.json").read_text())["chain"]] = pid
        except OSError:
            continue  # it has just ended
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Give every test a folder for temporary files of its own, to see what is left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


# --- noise paths (no ngspice) ---


def increments(sources=("a", "b"), n=10, **key):
    return BrownianPaths(sources, **{"seed": 1, "chain": 0, "step": 0.05, **key}).increments(n)


def test_increments_depend_on_seed_chain_and_source_alone():
    first = increments()
    np.testing.assert_array_equal(first, increments())
    np.testing.assert_array_equal(first, increments(("b", "new", "a"))[:, [2, 0]])
    for other in (increments(seed=2), increments(chain=1), increments(("c", "d"))):
        assert not np.isin(first, other).any()


def test_path_does_not_depend_on_the_pieces_in_which_it_is_drawn():
    paths = BrownianPaths(("a", "b"), seed=1, chain=0, step=0.05)
    np.testing.assert_array_equal(np.vstack([paths.increments(n) for n in (1, 4, 5)]), increments())


def test_increments_have_variance_2_t_h_and_no_correlation():
    n, z = 100_000, 4.5
    names = [f"noise_{i}" for i in range(4)]
    dw = increments(names, n, step=0.02, temperature=2.5) / np.sqrt(2 * 2.5 * 0.02)
    assert np.abs(dw.mean(axis=0)).max() < z / np.sqrt(n)
    assert np.abs(dw.var(axis=0) - 1).max() < z * np.sqrt(2 / n)
    other_chain = increments(names, n, step=0.02, temperature=2.5, chain=1)
    correlation = np.corrcoef(np.hstack([dw, other_chain, np.roll(dw[:, :1], 1)]).T)
    assert np.abs(correlation - np.eye(9)).max() < z / np.sqrt(n)
    assert abs(1.05**2 - 1) > z * np.sqrt(2 / n), "negative control: 5 % too much noise would be seen"


def test_task_survives_json(tmp_path):
    (task,) = tasks_of(make_sampler())
    task.save(tmp_path / "task.json")
    assert ChainTask.load(tmp_path / "task.json") == task


@pytest.mark.parametrize("n_states", [1, 8, 64, 256])
def test_chunks_are_a_few_megabytes(n_states):
    assert 500 <= chunk_length(n_states) <= 20_000
    assert chunk_length(n_states) * n_states * 8 < 6e6


# --- paths of the circuit ---


@pytest.fixture(scope="module")
def tight():
    return make_sampler(tolerance=1e-9)


@pytest.fixture(scope="module")
def two_chains(tight):
    """Two chains of 1,000 steps in one chunk."""
    return run_chains(tasks_of(tight, chains=2))


@pytest.mark.ngspice
def test_same_seed_same_samples_bitwise(tight, two_chains, scratch):
    done = []
    again = run_chains(tasks_of(tight, chains=2), progress=lambda chain, steps: done.append((chain, steps)))
    for a, b in zip(two_chains, again, strict=True):
        assert a.u.tobytes() == b.u.tobytes()
    assert sorted(done) == [(0, 1000), (1, 1000)]
    assert list(scratch.iterdir()) == []


@pytest.mark.ngspice
def test_chains_are_independent(two_chains):
    """Increments of two chains are uncorrelated: the drift is common, the noise is not."""
    a, b = (np.diff(r.u, axis=0) for r in two_chains)
    assert [r.chain for r in two_chains] == [0, 1]
    assert np.abs(two_chains[0].u - two_chains[1].u)[-500:].max() > 0.5
    correlation = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(a))


@pytest.mark.ngspice
def test_one_time_point_per_step(two_chains):
    for r in two_chains:
        assert r.steps == 1000
        assert 1.00 <= r.points / r.steps <= 1.02
        assert r.rejected == 0
        assert 1 < r.iterations / r.steps < 8
        assert re.fullmatch(r"[\d.]+", r.ngspice)
        assert 0 < r.rss < 400e6


@pytest.mark.ngspice
def test_first_steps_are_those_of_the_trapezoid(tight, two_chains):
    """The circuit against NumPy's trapezoid on the same noise, for a tenth of a unit of time from the start."""
    (task, _) = tasks_of(tight, chains=2)
    dw = BrownianPaths(task.sources, seed=task.seed, chain=0, step=task.step).increments(3)
    u = np.array(task.start)
    for k in range(3):
        new = u + dw[k]
        for _ in range(50):
            drift, jacobian = tight.twin.linearise(new)
            residual = new - u - dw[k] - task.step / 2 * (drift + tight.twin.drift(u))
            new = new - np.linalg.solve(np.eye(4) - task.step / 2 * jacobian, residual)
        # the circuit's first two points, 1e-4 h each, are backward Euler
        np.testing.assert_allclose(two_chains[0].u[k], new, atol=1e-4)
        u = new


@pytest.mark.ngspice
def test_chunks_make_one_continuous_path(tight, two_chains):
    """Every chunk restarts the capacitors where the last one ended; each start costs about 2e-5 units."""
    (pieces,) = run_chains(tasks_of(tight, chunk=97))
    np.testing.assert_allclose(pieces.u, two_chains[0].u, rtol=0, atol=2e-4)
    assert pieces.points <= 1000 + 3 * 11


@pytest.mark.ngspice
def test_warmup_and_thinning_keep_the_right_steps(tight, two_chains):
    (task,) = tasks_of(tight)
    (kept,) = run_chains([replace(task, n_warmup=100, thin=7)])
    assert len(kept.u) == task.n_steps // 7 - 100 // 7 == 128
    np.testing.assert_array_equal(kept.u, two_chains[0].u[106::7])


@pytest.mark.ngspice
def test_adding_neurons_leaves_the_others_paths_as_they_were():
    """A second block that shares no pixel with the first: the first one's neurons move as before."""
    one = np.array([[1.0, 0.6], [0.0, 0.8]])
    two = np.zeros((3, 4))
    two[:2, :2], two[2, 2:] = one, (1.0, 0.7)
    paths = []
    for A, x in ((one, [1.2, 0.4]), (two, [1.2, 0.4, -0.8])):
        model = SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)
        sampler = build_sampler(model, np.array(x), volt=0.1, width=0.05, step=0.05, tolerance=1e-9)
        (result,) = run_chains(tasks_of(sampler))
        paths.append(result.u)
    assert np.abs(paths[0]).max() > 1
    np.testing.assert_allclose(paths[1][:, :2], paths[0], rtol=0, atol=1e-6)


@pytest.mark.ngspice
def test_memory_does_not_grow_with_the_length_of_a_run():
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.5)
    short, long = tasks_of(build_sampler(model, X), steps=100_000, chains=2)
    results = run_chains([replace(short, thin=100), replace(long, n_steps=300_000, thin=300)])
    assert [r.steps for r in results] == [100_000, 300_000]
    # ngspice would need 8 bytes x 5 vectors x 200,000 points = 8 MB at least, if it kept what it had saved
    assert results[1].rss - results[0].rss < 4e6


# --- what goes wrong ---

BAD_DECKS = {
    "syntax": ("Rbad u_0 0 one kiloohm", r"ngspice ran no transient analysis: it did not accept the deck\."),
    "subcircuit": ("Xbad u_0 nothing", r"ngspice ran no transient analysis: it did not accept the deck\."),
    "division": (
        "Bbad 0 u_0 I=1/0",
        r"the transient has no point at step 1 of 1000 \(it ended at step 0\): Newton's iteration did not converge\. "
        r"Use a smaller step or a larger width\. ngspice: the time step became too small at .*\.",
    ),
    "late": (
        "Bbad 0 u_0 I=sqrt(1e-5-time)*1e-12",
        r"the transient has no point at step 2\d\d of 1000 \(it ended at step .*\): Newton's iteration did not converge\. "
        r"Use a smaller step or a larger width\. ngspice: the time step became too small at .* takes sqrt of .*\.",
    ),
    "source": ("Vbad a 0 external\nRbad a 0 1k", r"an external source of the deck has no path\."),
}


def with_line(task, line):
    return replace(task, deck=task.deck.replace("\n.end\n", f"\n{line}\n.end\n"))


@pytest.mark.ngspice
@pytest.mark.parametrize("name", BAD_DECKS)
def test_bad_deck_becomes_one_error(name, tmp_path):
    line, reason = BAD_DECKS[name]
    (task,) = tasks_of(make_sampler())
    with pytest.raises(ChainsFailed) as caught:
        run_chains([with_line(task, line)], keep=tmp_path / "kept")
    error = caught.value
    assert isinstance(error, SimulationError)
    assert re.fullmatch(reason, error.reason), error.reason
    assert (error.chain, error.completed) == (0, ())
    assert error.deck == tmp_path / "kept" / "failed-chain0.cir"
    assert line in error.deck.read_text()
    said = " | ".join(error.log)
    assert said
    assert str(error) == f"chain 0: {error.reason} The deck is kept in {error.deck}. The last lines of its log: {said}"
    if name == "syntax":
        assert line.lower() in said  # ngspice says what it disliked


@pytest.mark.ngspice
def test_crashed_worker_leaves_the_other_chains_unharmed(tight, two_chains, scratch):
    good, bad = tasks_of(tight, chains=2)

    def crash(chain, _):
        victim = workers_by_chain(os.getpid()).get(1)
        if chain == 1 and victim is not None:
            os.kill(victim, signal.SIGSEGV)

    with pytest.raises(ChainsFailed) as caught:
        run_chains([good, replace(bad, n_steps=1_000_000, chunk=500)], progress=crash)
    error = caught.value
    assert error.chain == 1
    assert error.reason == (
        "libngspice crashed (SIGSEGV) before the transient's end. Run the deck in plain ngspice to see where."
    )
    assert error.deck.read_text() == bad.deck
    assert error.log
    (completed,) = error.completed
    assert completed.chain == 0
    assert completed.u.tobytes() == two_chains[0].u.tobytes()
    assert [p.name.rpartition("-")[0] for p in scratch.iterdir()] == ["circuitlsc-failed"]


@pytest.mark.ngspice
def test_crash_of_the_library_itself(tight, two_chains):
    """ngspice 39 segfaults on `dc 0 external`; a version that does not must refuse or run, and never hang."""
    (task,) = tasks_of(tight)
    bad = with_line(task, "Vbad a 0 dc 0 external\nRbad a 0 1k")
    with pytest.raises(ChainsFailed) as caught:
        run_chains([bad])
    crashed = caught.value.reason.startswith("libngspice crashed (SIG")
    assert crashed or two_chains[0].ngspice != "39", caught.value.reason


@pytest.mark.ngspice
def test_timeout(scratch):
    (task,) = tasks_of(make_sampler(), steps=10_000_000)
    begin = time.monotonic()
    with pytest.raises(ChainsFailed) as caught:
        run_chains([replace(task, thin=1000)], timeout=1.5)
    assert time.monotonic() - begin < 30
    assert caught.value.reason == "it was stopped after 1.5 s. Raise the timeout, or shorten t_stop."
    assert workers_of(os.getpid()) == {}


@pytest.mark.ngspice
def test_failing_progress_callback_stops_the_run_and_is_raised(scratch):
    (task,) = tasks_of(make_sampler(), steps=10_000_000, chunk=500)

    def broken(chain, steps):
        raise ZeroDivisionError(f"chain {chain} after {steps}")

    with pytest.raises(ZeroDivisionError, match=r"^chain 0 after [1-9]\d*00$"):
        run_chains([replace(task, thin=1000)], progress=broken)
    assert workers_of(os.getpid()) == {}
    assert list(scratch.iterdir()) == []


# --- the library ---


def refused(message):
    return pytest.raises(MissingSimulatorError, match=rf"^{re.escape(message)}$")


INSTALL = (
    "but the circuit runs in it. Install it with: apt-get install libngspice0 (Debian, Ubuntu), "
    "or set NGSPICE_LIBRARY_PATH to the file."
)


def test_wrong_library_path(monkeypatch, scratch):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent")
    with refused(
        "NGSPICE_LIBRARY_PATH = '/nonexistent' cannot be loaded, "
        + INSTALL.replace("Install", "Correct or unset that variable. Install")
    ):
        run_chains(tasks_of(make_sampler()))
    assert list(scratch.iterdir()) == []


def test_library_that_is_not_installed(monkeypatch):
    def cannot(name):
        raise OSError(name)

    monkeypatch.delenv("NGSPICE_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", cannot)
    with refused(f"libngspice is not installed, {INSTALL}"):
        find_library()


@pytest.mark.ngspice
def test_library_without_the_development_package(monkeypatch):
    """Debian's libngspice0 has libngspice.so.0 only, and a machine without a compiler has no find_library."""
    monkeypatch.delenv("NGSPICE_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    assert find_library() in ("libngspice.so.0", "libngspice.so")


@pytest.mark.ngspice
def test_relative_library_path_means_the_users_folder(monkeypatch, tmp_path):
    """The workers run in folders of their own."""
    name = find_library()
    ctypes.CDLL(name)
    maps = Path("/proc/self/maps").read_text().splitlines()
    real = next(line.split()[-1] for line in maps if "libngspice" in line)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.so").symlink_to(real)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "lib/mine.so")
    assert find_library() == str(tmp_path / "lib" / "mine.so")


# --- nothing else runs, nothing is left ---


@pytest.mark.ngspice
def test_spiceinit_is_not_executed(tmp_path, monkeypatch, scratch):
    here = tmp_path / "here"
    here.mkdir()
    (here / ".spiceinit").write_text(f"shell touch {tmp_path}/executed\n")
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.chdir(here)
    guards = []

    def look(folder, task):
        guards.extend(p.read_text() for p in scratch.glob("circuitlsc-*/*/.spiceinit"))
        return finished(folder, task)

    monkeypatch.setattr(chain, "finished", look)
    run_chains(tasks_of(make_sampler(), steps=10))
    assert not (tmp_path / "executed").exists()
    # ngspice 39 takes the home folder from /etc/passwd: a file of ours in the working folder comes before it
    assert guards == ["* no commands\n"]
    # negative control: a session opened right here does execute it
    code = "from circuitlsc.simulator.ngspice.library import open_session; open_session()"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "executed").exists()


LONG_RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.task import ChainTask
task = ChainTask.load(Path("task.json"))
run_chains([task, replace(task, chain=1)], progress=lambda chain, steps: print(chain, flush=True))
"""


@pytest.mark.ngspice
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "parent-killed"])
def test_no_worker_survives(number, tmp_path, scratch):
    (task,) = tasks_of(make_sampler(), steps=100_000_000, chunk=500)
    replace(task, thin=100_000).save(tmp_path / "task.json")
    parent = subprocess.Popen(
        [sys.executable, "-c", LONG_RUN],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background inherits an ignored SIGINT, and so would everything that it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    started = set()
    while started != {"0", "1"}:
        started.add(parent.stdout.readline().strip())
    pids = workers_by_chain(parent.pid)
    assert sorted(pids) == [0, 1]
    (server,) = called(SERVER, parent.pid)
    parent.send_signal(number)
    try:
        _, stderr = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert parent.returncode != 0
    for _ in range(1000):  # a worker whose parent was killed ends after its chunk
        alive = [pid for pid in (server, *pids.values()) if is_one_of_ours(pid)]
        if not alive:
            break
        time.sleep(0.02)
    assert not alive
    if number == signal.SIGINT:
        assert stderr.rstrip().endswith("KeyboardInterrupt")
        assert list(scratch.iterdir()) == []


@pytest.mark.ngspice
def test_a_capacitor_that_is_not_there_is_noticed(bars_model, bars_x):
    (task,) = build_sampler(bars_model, bars_x).tasks(RunPlan(t_stop=30.0, chains=1))
    task = replace(task, start=(1.0,) * 8)
    run_chains([task])
    wrong = replace(task, capacitors=("c.xneuron_0.cnone", *task.capacitors[1:]))
    with pytest.raises(SimulationError, match="the capacitors did not start from the voltages"):
        run_chains([wrong])


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "step", [0.03750137628115046, 0.016404981328635715, 0.0333, *(0.01 + 0.04 * k / 97 for k in range(1, 9))]
)
def test_every_step_reaches_the_end(step):
    """N h is rounded: a last step that ends one unit in the last place too late kept ngspice 44 going for ever."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, np.full(4, 0.4), step=step)
    samples = sampler.run(t_stop=500 * step, warmup=0.0, chains=1, seed=1, thin=1, timeout=300.0)
    assert int(samples.stats["steps"][0]) == samples.u.shape[1] == 500


class Plotted:
    """A session whose transient returned these values at every grid point, V."""

    last_plot = "tran1"

    def __init__(self, task, values, held):
        n = len(values)
        vectors = {"time": np.arange(n + 1) * task.step * task.tau, task.held[0]: np.append(0.0, held)}
        for k, node in enumerate(task.nodes):
            vectors[node] = np.append(task.start[k] * task.volt, values)
        self.vectors = {name: SimpleNamespace(_data=v) for name, v in vectors.items()}

    def plot(self, simulation, name):
        return self.vectors


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (None, None),
        ("values", r"^v\(u_0\) is not finite at step 3\.$"),
        ("held", r"^v\(inside\) is not finite at step 5\.$"),
        ("time", r"^the transient has no point at step 5 of 5 \(it ended at step 4\): "),
    ],
)
def test_values_are_looked_at_before_they_count(where, message):
    (task,) = tasks_of(make_sampler(), steps=5)
    task, values, held = replace(task, held=("inside",)), np.full(5, 0.1), np.full(5, 0.2)
    if where == "values":
        values[2] = np.nan
    if where == "held":
        held[-1] = np.inf
    session = Plotted(task, values, held)
    if where == "time":
        for vector in session.vectors.values():
            vector._data = vector._data[:-1]
    h, start = task.step * task.tau, np.array(task.start)
    if message is None:
        u, inside, points = _grid_points(session, task, 5, h, start, np.zeros(1))
        np.testing.assert_allclose(u, 0.1 / task.volt)
        assert (inside, points) == (0.2, 6)
        return
    with pytest.raises(TransientFailed, match=message):
        _grid_points(session, task, 5, h, start, np.zeros(1))
