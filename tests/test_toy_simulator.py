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

RUN, SHORT = RunPlan(t_stop=150.0, warmup=10.0, chains=2, seed=3), RunPlan(t_stop=20.0, warmup=5.0, seed=3)


class NumPy:
    """The twin of a circuit, integrated by the trapezoid."""

    path = "test_toy_simulator:TWIN"
    name = "the twin"
    advice = ""

    def version(self):
        return "twin 1"

    def check(self):
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


TWIN, CRASHES, COLDER = NumPy(), Crashes(), Colder()


@pytest.fixture(autouse=True)
def on_the_workers_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def sampler():
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.5)
    return build_sampler(model, np.array([1.0, 0.2, 0.9, -0.1]), tolerance=1e-9)


def verdict(sampler, samples):
    return judge(sampler, samples, tolerance=0.3).comparison.verdict


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
    assert verdict(sampler, twin) == verdict(sampler, circuit) == "agrees"
    assert verdict(sampler, sampler.run(RUN, simulator=COLDER)) == "disagrees", "negative control"


def test_it_needs_no_ngspice(sampler, monkeypatch, tmp_path):
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "nothing.so"))
    (samples,) = run_circuits([CircuitRun("one", sampler, SHORT)], simulator=TWIN).values()
    assert samples.n_draws > 20
    with pytest.raises(MissingSimulatorError):
        sampler.run(RUN)


def test_its_chains_are_kept_and_taken_up_again(sampler, tmp_path):
    contents, store = TWIN.prepare(sampler), Store(tmp_path / "kept")
    task = replace(sampler.tasks(SHORT)[0], chunk=50)
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


def test_what_workers_cannot_import(sampler, monkeypatch):
    monkeypatch.setattr(NumPy, "path", "nowhere_at_all:TWIN")
    with pytest.raises(SimulationError, match=r"the simulator 'nowhere_at_all:TWIN' cannot be imported"):
        sampler.run(RUN, simulator=TWIN)


def test_a_crash_takes_its_chain_alone(sampler):
    with pytest.raises(SimulationError, match=r"the twin crashed \(SIGABRT\) before the transient's end\.( \(|\n|$)"):
        sampler.run(SHORT, simulator=CRASHES)


def test_ngspice_needs_nothing_but_the_task(sampler):
    assert NGSPICE.prepare(sampler) == b""
    assert identity() == identity(NGSPICE, b"")
