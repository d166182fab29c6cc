"""A simulator of one's own: the NumPy twin runs a circuit's chains in worker processes, as ngspice does."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuitlsc import (
    Gaussian,
    InputError,
    MissingSimulatorError,
    RunPlan,
    SimulationError,
    SparseCodingModel,
    bars,
    build_sampler,
)
from circuitlsc.circuit.graph import Twin
from circuitlsc.reference.pathwise import TrapezoidFailed, trapezoid
from circuitlsc.sampling.batch import CircuitRun, run_circuits
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.journal import JOURNAL
from circuitlsc.simulator.ngspice.noise import task_paths
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Chunk, TransientFailed
from circuitlsc.simulator.store import Store, identity
from circuitlsc.simulator.task import ChainState, first_state
from circuitlsc.validation.judge import judge

RUN, SHORT = RunPlan(t_stop=100.0, warmup=10.0, chains=2, seed=3), RunPlan(t_stop=10.0, warmup=5.0, seed=3)
ONE = replace(SHORT, chains=1)


class NumPy:
    """The twin of a circuit, integrated by the trapezoid."""

    path = "test_toy_simulator:TWIN"
    name = "the twin"
    advice = ""

    def version(self):
        return "twin 1"

    def check(self, contents=b""):
        pass

    def prepare(self, circuit):
        return pickle.dumps(circuit.graph)

    def advance(self, task, contents, counts, state):
        twin, state = Twin(pickle.loads(contents)), state or first_state(task)
        paths, counts.steps, counts.version = task_paths(task, state.steps), state.steps, self.version()
        z = np.array([state.u])
        while counts.steps < task.n_steps:
            n = min(task.chunk, task.n_steps - counts.steps)
            noise = twin.spread(paths.increments(n))[:, None]
            try:
                path = trapezoid(twin, z, noise, task.step, chunk=task.chunk)
            except TrapezoidFailed as error:
                raise TransientFailed(str(error)) from None
            counts.steps, z = counts.steps + n, path[-1]
            state = ChainState(counts.steps, tuple(z[0].tolist()), ())
            yield Chunk(path[:, 0], state, counts.steps == task.n_steps)


class Crashes(NumPy):
    """The same, but it goes down with its process."""

    path = "test_toy_simulator:CRASHES"

    def advance(self, *_):
        os.abort()


class Colder(NumPy):
    """The same, but with half of the noise's power."""

    path = "test_toy_simulator:COLDER"

    def advance(self, task, *rest):
        return super().advance(replace(task, temperature=0.5 * task.temperature), *rest)


class Elsewhere(NumPy):
    """Another one, that forgot to say where it is."""


def _at(value, step, column=0):
    def change(chunk):
        samples = np.array(chunk.samples)
        samples[step, column] = value
        return replace(chunk, samples=samples)

    return change


def _state(**changes):
    return lambda chunk: replace(chunk, state=replace(chunk.state, **changes))


def _rows(take):
    return lambda chunk: replace(chunk, samples=take(chunk.samples))


#: what a faulty simulator makes of each chunk (None: it yields none), and what is said of it
FAULTS = {
    "NAN": (_at(np.nan, 6), r"the twin returned a v\(u_0\) that is not finite at step 7\."),
    "INF": (_at(-np.inf, 0, 1), r"the twin returned a v\(u_1\) that is not finite at step 1\."),
    "STATE": (_state(u=(0.0, np.nan, 0.0, 0.0)), r"the twin returned a state that is not finite at step \d+\."),
    "FEW": (
        _rows(lambda s: s[:-1]),
        r"samples of shape \(\d+, \d\) from step 0 to step \d+, but \(\d+, \d\) is wanted",
    ),
    "MANY": (_rows(lambda s: np.concatenate([s, s[:1]])), r"samples of shape \(\d+, \d\) from step 0 to step \d+, but"),
    "NARROW": (_rows(lambda s: s[:, 1:]), r"samples of shape \(\d+, 3\) from step 0 to step \d+, but \(\d+, 4\) is"),
    "WIDE": (
        _rows(lambda s: np.c_[s, s]),
        r"samples of shape \(\d+, 8\) from step 0 to step \d+, but \(\d+, 4\) is wanted",
    ),
    "NOTHING": (None, r"the twin ended after 0 of \d+ steps, not done"),
    "NEVER": (lambda chunk: replace(chunk, done=False), r"the twin ended after (\d+) of \1 steps, not done"),
    "EARLY": (
        lambda chunk: Chunk(chunk.samples[:9], replace(chunk.state, steps=9), True),
        r"the twin ended after 9 of \d+ steps, done",
    ),
    "SHORT": (_state(u=(0.0,)), r"with states as long as the first\."),
}


class Faulty(NumPy):
    """The same, but its chunks are changed."""

    def __init__(self, name, change):
        self.path, self.change = f"test_toy_simulator:{name}", change

    def advance(self, *given):
        counts = given[2]
        counts.points, counts.setup = np.int64(5), np.float32(0.5)
        for chunk in super().advance(*given) if self.change else ():
            yield self.change(chunk)


def _of_numpy(chunk):
    state = ChainState(np.int64(chunk.state.steps), np.array(chunk.state.u, dtype=object), ())
    return Chunk(chunk.samples, state, np.bool_(chunk.done))


TWIN, CRASHES, COLDER = NumPy(), Crashes(), Colder()
NUMPY_NUMBERS = Faulty("NUMPY_NUMBERS", _of_numpy)
globals().update({f"FAULTY_{name}": Faulty(f"FAULTY_{name}", change) for name, (change, _) in FAULTS.items()})


@pytest.fixture(autouse=True)
def on_the_workers_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def sampler():
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.5)
    return build_sampler(model, np.array([1.0, 0.2, 0.9, -0.1]), tolerance=1e-9)


def verdict(sampler, samples):
    return judge(sampler, samples, tolerance=0.3).comparison.verdict


@pytest.mark.slow  # test_engine has ngspice's workers, and the tests below another simulator's
@pytest.mark.ngspice
def test_the_twin_runs_chains_in_worker_processes(sampler):
    steps = []
    twin = sampler.run(RUN, simulator=TWIN, progress=lambda chain, n: steps.append((chain, n)))
    circuit = sampler.run(RUN)
    n_steps = sampler.tasks(RUN)[0].n_steps
    assert {(0, n_steps), (1, n_steps)} <= set(steps)
    assert twin.u.shape == circuit.u.shape
    assert np.abs(twin.u - circuit.u).max() < 1e-6
    assert np.abs(twin.u[0] - circuit.u[1]).max() > 0.1, "negative control: another chain has other noise"
    assert twin.attrs["ngspice_version"] == "twin 1"
    assert verdict(sampler, twin) == "agrees"
    assert verdict(sampler, sampler.run(RUN, simulator=COLDER)) == "disagrees", "negative control"


def test_it_needs_no_ngspice(sampler, monkeypatch, tmp_path):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "nothing.so"))
    (samples,) = run_circuits([CircuitRun("one", sampler, SHORT)], simulator=TWIN).values()
    assert samples.n_draws > 20
    with pytest.raises(MissingSimulatorError):
        sampler.run(RUN)


def test_its_chains_are_kept_and_taken_up_again(sampler, tmp_path):
    contents, store = TWIN.prepare(sampler), Store(tmp_path / "kept")
    task = replace(sampler.tasks(SHORT)[0], chunk=25)
    key = task.key(identity(TWIN, contents))
    assert key not in {task.key(identity()), task.key(identity(TWIN)), task.key(identity(COLDER, contents + b"x"))}
    given = {"simulator": TWIN, "contents": [contents], "store": store}
    (whole,) = run_chains([task], **given)
    journal = store.folder / key / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 4
    journal.write_bytes(b"".join(lines[:2]))
    (again,) = run_chains([task], **given)
    assert again.u.tobytes() == whole.u.tobytes()
    assert journal.read_bytes().splitlines(keepends=True)[:2] == lines[:2]
    written = journal.read_bytes()
    (found,) = run_chains([task], **given)
    assert found.u.tobytes() == whole.u.tobytes()
    assert journal.read_bytes() == written


def test_what_is_no_simulator(sampler):
    with pytest.raises(InputError, match=r"^simulator = 'twin' is none\. Give one with what"):
        sampler.run(RUN, simulator="twin")


def test_what_workers_cannot_import(sampler, monkeypatch, tmp_path):
    for path, why in {
        "nowhere_at_all:TWIN": "No module named",
        "__main__:TWIN": "a worker's __main__ is another one",
        "raises_at_import:TWIN": "not today",
    }.items():
        monkeypatch.setattr(NumPy, "path", path)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('not today')\n")
        with pytest.raises(InputError, match=rf"^the simulator '{path}' cannot be imported \({why}.*PYTHONPATH\)\.$"):
            sampler.run(RUN, simulator=TWIN)


def test_what_is_on_our_path_alone(sampler, monkeypatch, tmp_path):
    """The parent can import it, a worker cannot: its worker says so itself."""
    (tmp_path / "here_alone.py").write_text("from test_toy_simulator import NumPy\nTWIN = NumPy()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(NumPy, "path", "here_alone:TWIN")
    with pytest.raises(SimulationError, match=r"the simulator 'here_alone:TWIN' cannot be imported \(No module named"):
        sampler.run(SHORT, simulator=TWIN)


def test_what_is_not_at_its_path(sampler, monkeypatch):
    with pytest.raises(
        InputError, match=r"is not what is at its path 'test_toy_simulator:TWIN'.*Give it the path of its own"
    ):
        sampler.run(SHORT, simulator=Elsewhere())
    other = NumPy()
    other.version = lambda: "twin 2"
    with pytest.raises(InputError, match=r"is not what is at its path"):
        sampler.run(SHORT, simulator=other)


@pytest.mark.parametrize("named", [{"path": 3}, {"name": None}, {"advice": b""}])
def test_words_that_are_none(sampler, named):
    other = NumPy()
    vars(other).update(named)
    for wrong in (other, NumPy):
        with pytest.raises(InputError, match=r"^simulator = .* is none\. Give one with what"):
            sampler.run(SHORT, simulator=wrong)


@pytest.mark.parametrize("prepared", [None, "a text"])
def test_what_is_prepared_is_bytes(sampler, monkeypatch, prepared):
    monkeypatch.setattr(NumPy, "prepare", lambda *_: prepared)
    with pytest.raises(
        InputError, match=rf"^the twin prepared {prepared!r} for a circuit\. Let its prepare return bytes\.$"
    ):
        sampler.run(SHORT, simulator=TWIN)


def test_circuits_of_one_name_and_no_simulator(sampler):
    one = CircuitRun("one", sampler, SHORT)
    with pytest.raises(InputError, match=r"^several runs are called 'one'"):
        run_circuits([one, one], simulator=TWIN)
    with pytest.raises(InputError, match=r"^simulator = 'twin' is none\."):
        run_circuits([one], simulator="twin")


@pytest.mark.parametrize("fault", FAULTS)
def test_chunks_that_cannot_be(sampler, fault, tmp_path):
    """A chunk is checked before it counts: nothing of it is kept, and the next run begins where the good ones end."""
    store, simulator = Store(tmp_path / "kept"), globals()[f"FAULTY_{fault}"]
    with pytest.raises(SimulationError, match=FAULTS[fault][1]) as caught:
        sampler.run(ONE, simulator=simulator, store=store)
    assert "gone or damaged" not in str(caught.value)
    (folder,) = (entry for entry in store.folder.iterdir() if entry.is_dir())
    assert not (folder / JOURNAL).exists() or not (folder / JOURNAL).read_bytes()


def test_numbers_of_numpy_are_numbers(sampler):
    numpy = sampler.run(ONE, simulator=NUMPY_NUMBERS)
    assert (numpy.stats["points"].item(), numpy.stats["setup"].item()) == (5, 0.5)
    assert numpy.u.tobytes() == sampler.run(ONE, simulator=TWIN).u.tobytes()


def test_the_store_knows_whose_chains_it_has():
    assert identity(TWIN) != identity(CRASHES)
    assert identity(NGSPICE) == identity()
    assert NGSPICE.path not in identity()


def test_a_crash_takes_its_chain_alone(sampler):
    with pytest.raises(SimulationError, match=r"the twin crashed \(SIGABRT\) before the transient's end\.( \(|\n|$)"):
        sampler.run(SHORT, simulator=CRASHES)


def test_ngspice_needs_nothing_but_the_task(sampler):
    assert NGSPICE.prepare(sampler) == b""
    assert identity() == identity(NGSPICE, b"")
