"""Circuits with an encoder or a memory in other simulators: what is lowered, what is refused, and paths against NumPy."""

import json
import subprocess

import numpy as np
import pytest
from test_memory import memory
from test_variational_circuit import KIND, MODEL, D, K, constant, network
from vacask_off import off

from circuitlsc import InputError, Nonidealities, RunPlan, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.sampling.export import exported
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Counts, TransientFailed
from circuitlsc.simulator.vacask import simulator, transient
from circuitlsc.simulator.vacask.simulator import VACASK
from circuitlsc.simulator.vacask.transient import Transient, read_raw
from circuitlsc.simulator.verilog_a import find_programs, with_linker
from circuitlsc.studies.cross_check import cross_check, for_referee, run_both

X = np.array([0.3, -0.2, 0.5])
RUN = RunPlan(t_stop=2000.0, warmup=20.0, chains=2, seed=4)
VISITS = RunPlan(t_stop=30.0, warmup=4.0, chains=2, seed=3)
ERRORS = {
    "comparator": {"threshold_offset": 1e-3},
    "multiplier": {"gain_error": 0.02, "offset": 1e-3},
    "op_amp": {"offset": 1e-3, "gain": 1e4},
}
WORN = {
    "plastic": {"gain_error": 0.02, "offset": 1e-3, "capacitance_mismatch": 0.02, "leak_resistance": 1e10},
    "op_amp": {"offset": 1e-3},
}


def device(parts):
    return {"level": "device", "nonideal": Nonidealities(parts, seed=1)}


ENCODERS = {
    "learned": (network((D, 5, 3 * K)), {}),
    "fixed": (constant(threshold="fixed", numbers={"lam": 0.3}), {}),
    "gamma": (network((D, 5, 2 * K), threshold="gamma", numbers={"alpha": 1.2, "beta": 2.0}), {}),
    "rectified": (network((D, 5, 3 * K), rectified=True), {}),
    "device": (network((D, 5, 3 * K)), device(ERRORS)),
    "stream": (network((D, 5, 3 * K)), {"x": np.stack([X, -X, 2 * X]), "hold": 60.0}),
}
MEMORIES = {
    "one-hot": ("one-hot", {}),
    "dual": ("relu:8", {"dynamics": {"leak": 0.3}}),
    "noise of weights": ("orthogonal", {"dynamics": {"noise": "weight"}}),
    "random order": ("one-hot", {"order": "random", "hold": 0.5}),
    "device": ("relu:8", device(WORN)),
}


def encoded(case):
    encoder, given = ENCODERS[case]
    model = SparseCodingModel(MODEL.A, SpikeSlab(0.3, 1.0, signed=not encoder.rectified), 0.5)
    return build_sampler(
        model, given.get("x", X), dynamics=KIND, encoder=encoder, **{k: v for k, v in given.items() if k != "x"}
    )


def remembered(case):
    features, given = MEMORIES[case]
    return memory(features, **given)


# --- what is lowered ---


@pytest.mark.parametrize("case", ENCODERS)
def test_what_is_solved_once_is_a_netlist_of_its_own(case):
    closed = encoded(case).closed()
    solved, net = closed.solved_in_modules, closed.in_modules
    if case == "stream":
        assert solved is None
        return
    constant_net, nodes = solved
    assert set(nodes) <= set(constant_net.nodes)
    assert set(nodes) <= set(net.nodes)
    assert not any(each.name.startswith("xscale") for each in net.instances)
    assert {s.device for s in net.sources} == {*closed.tasks(RUN)[0].devices, *closed.tasks(RUN)[0].inputs}
    assert "solved" in json.loads(VACASK.prepare(closed))


@pytest.mark.parametrize("case", MEMORIES)
def test_a_memory_in_modules(case):
    closed = remembered(case).closed()
    task, net = closed.tasks(VISITS)[0], closed.in_modules
    assert {s.device for s in net.sources} == {*task.devices, *task.inputs}
    assert {*task.nodes, *task.held} <= set(net.nodes)
    H = closed.features.H
    multipliers = [each for each in net.instances if each.module == "lsc_multiplier"]
    assert len(multipliers) == 2 * 3 * H  # one reads, one writes each weight
    write = next(each for each in multipliers if each.name == "xwrite_1_0")
    assert write.nodes[::2] == ("d_1", "w_1_0")


def test_what_has_no_modules():
    with pytest.raises(InputError, match=r'^encoder.source = "table" is a table of the normal distribution'):
        build_sampler(MODEL, X, dynamics=KIND, encoder=constant(), source="table").closed()
    with pytest.raises(InputError, match=r"^nonideal.integrator.rail = 1.5 \(ideal: inf\) is a table or a switch"):
        memory(**device({"integrator": {"rail": 1.5}})).closed()


def test_a_memory_starts_from_its_weights_alone():
    task = remembered("one-hot").tasks(VISITS)[1]
    state = simulator.first_state(task)
    assert state.u == ()
    assert simulator.starting(task, state) == dict(zip(task.held, task.held_start, strict=True))


# --- what is solved once, with another program in VACASK's place ---


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        (["mu_0"], [[0.1]], r"^VACASK returned no vector 'b_0' of what is solved once"),
        (["mu_0", "b_0"], [[0.1, 0.2], [0.1, 0.2]], r"^VACASK returned no operating point of what is solved once"),
        (["mu_0", "b_0"], [[0.1, np.nan]], r"^v\(b_0\) is not finite at the operating point"),
    ],
)
def test_an_operating_point_that_does_not_count(names, rows, said, tmp_path, monkeypatch):
    monkeypatch.setattr(transient, "_called", lambda *_: ("", names, np.array(rows)))
    with pytest.raises(TransientFailed, match=said):
        transient.operating_point(tmp_path, "", ("mu_0", "b_0"), [])


def test_what_was_solved_once_is_held(monkeypatch):
    """The first chunk's sources of the heads have the voltages of the operating point, at every step."""
    closed, decks = for_referee(encoded("learned")), []
    monkeypatch.setattr(simulator, "compiled", lambda families: {})
    heads = np.linspace(0.1, 0.4, 3 * K)
    monkeypatch.setattr(simulator, "operating_point", lambda folder, text, nodes, log: heads)

    def run(folder, text, saved, h, n, log):
        decks.append(text)
        return Transient(np.zeros(len(saved)), np.zeros((n, len(saved))), n + 16, 4)

    monkeypatch.setattr(simulator, "run", run)
    task = closed.tasks(RUN)[0]
    next(VACASK.advance(task, VACASK.prepare(closed), Counts(), None))
    for device, value in zip(task.inputs, heads.tolist(), strict=True):
        (line,) = (line for line in decks[0].splitlines() if line.startswith(device.replace(".", "_") + " "))
        found = [float(v) for v in line.partition("wave=[")[2].rstrip("]").split(", ")[1::2]]
        assert set(found) == {value}


# --- paths ---


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("case", ENCODERS)
def test_paths_of_a_circuit_that_an_encoder_drives(case, vacask_here):
    s = for_referee(encoded(case))
    run = RunPlan(t_stop=60.0, warmup=20.0, chains=2, seed=4) if case == "stream" else RUN
    found = cross_check(s, *run_both(s, run, workers=2))
    assert found.verdict == "agrees", found.report().text()
    assert max(path.rms for path in found.paths) < 1e-9
    assert all(row.active == pytest.approx(row.active_there, abs=1e-3) for row in found.latents)
    assert max(row.active for row in found.latents) > 0.1


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("case", MEMORIES)
def test_paths_of_a_memory(case, vacask_here):
    s = for_referee(remembered(case))
    found = cross_check(s, *run_both(s, VISITS, workers=2))
    assert found.verdict == "agrees", found.report().text()
    assert max(path.rms for path in found.paths[:2]) < 1e-7
    assert len(found.latents) == 3


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("made", "run", "name"), [(encoded, RUN, "xweights_mu_1_0"), (remembered, VISITS, "xinhibition_0_1")]
)
def test_a_conductance_that_is_five_percent_off_is_caught(made, run, name, vacask_here):
    s = for_referee(made("learned" if made is encoded else "one-hot"))
    where = "solved" if made is encoded else "netlist"
    found = cross_check(s, *run_both(s, run, simulators=(NGSPICE, off(name, where)), workers=2))
    assert found.paths[0].ok
    assert not found.paths[1].ok
    assert found.verdict == "disagrees"


@pytest.mark.slow
@pytest.mark.parametrize("case", ["one-hot", "device"])
def test_an_exported_memory_runs_as_the_referee_does(case, vacask_here, tmp_path):
    s = remembered(case)
    for name, text in exported(s, VISITS, "vacask", 20.0).items():
        (tmp_path / name).write_text(text)
    volts = ran(tmp_path, s, round(20.0 / s.plan.step), [f"u_{i}" for i in range(3)])
    closed = s.closed()
    task = closed.tasks(VISITS)[0]
    (chunk, *_) = VACASK.advance(task, VACASK.prepare(closed), Counts(), None)
    assert np.array_equal(chunk.samples[: len(volts), :3], volts / s.scaling.volt)


@pytest.mark.slow
def test_an_exported_encoder_is_the_whole_circuit(vacask_here, tmp_path):
    """It is not solved beforehand: the same to what Newton's iteration leaves."""
    s = encoded("learned")
    for name, text in exported(s, RUN, "vacask", 60.0).items():
        (tmp_path / name).write_text(text)
    volts = ran(tmp_path, s, round(60.0 / s.plan.step), [f"s_{i}" for i in range(K)])
    closed = s.closed()
    task = closed.tasks(RUN)[0]
    (chunk, *_) = VACASK.advance(task, VACASK.prepare(closed), Counts(), None)
    where = [task.observed.index(f"s_{i}") + len(task.nodes) for i in range(K)]
    np.testing.assert_allclose(volts / s.scaling.volt, chunk.samples[: len(volts), where], atol=1e-6)
    assert np.abs(volts).max() > 0.5 * s.scaling.volt


def ran(folder, sampler, n, nodes):
    """Run an exported deck, and return the voltages of nodes at the grid points."""
    command = [find_programs().vacask, "-qp", "-se", "-sp", "sampler.sim"]
    run = subprocess.run(command, cwd=folder, env=with_linker(folder), capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    names, rows = read_raw(folder / "tran1.raw")
    return rows[-1 - n : -1, [names.index(node) for node in nodes]]
