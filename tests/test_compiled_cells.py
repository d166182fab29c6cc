"""Cells of compiled Verilog-A in ngspice: the netlist with larger modules, its deck, and what a machine must have."""

import json
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from module_dc import RUN
from typer.testing import CliRunner

from circuitlsc import (
    Cauchy,
    Gaussian,
    InputError,
    Laplace,
    MissingSimulatorError,
    RunPlan,
    SimulationError,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
    veriloga,
)
from circuitlsc.cli.main import app
from circuitlsc.model.smoothing import SMOOTHINGS
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator import verilog_a
from circuitlsc.simulator.fused import fused
from circuitlsc.simulator.modules import CONDUCTANCE, Instance, Netlist
from circuitlsc.simulator.ngspice import modules
from circuitlsc.simulator.ngspice.modules import check_version, families
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.validation.same_noise import path_difference

CODE = np.array([1.0, 0, 0.5, 0])


def sampler_of(prior=None, n=2, **options):
    model = SparseCodingModel(bars(n), prior or SpikeSlab(0.3, 1.0), 0.5)
    return build_sampler(model, bars(n) @ np.resize(CODE, 2 * n), **options)


def dense(n_features, n_latents, form="gram", zeros=0.0, **options):
    rng = np.random.default_rng([n_features, n_latents])
    A = rng.standard_normal((n_features, n_latents))
    A[rng.random(A.shape) < zeros] = 0.0
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    return build_sampler(model, model.draw(rng)[1], form=form, **options)


# --- the same equations ---


def conductances(net):
    """Return the total conductance between every two nodes, of single entries and of columns."""
    total = Counter()
    for each in net.instances:
        if each.module == CONDUCTANCE:
            total[each.nodes] += each.parameters["g"]
        elif each.module == "lsc_column16":
            v, *rows = each.nodes
            assert list(each.parameters) == [f"g{i}" for i in range(16)]
            for i, p in enumerate(rows):
                total[v, p] += each.parameters[f"g{i}"]
    return total


@pytest.mark.parametrize("form", ["gram", "residual"])
@pytest.mark.parametrize(
    ("shape", "zeros"), [((16, 8), 0.0), ((5, 50), 0.0), ((50, 3), 0.0), ((20, 80), 0.4), ((64, 64), 0.0)]
)
def test_columns_are_their_entries(form, shape, zeros):
    net = dense(*shape, form=form, zeros=zeros).closed().in_modules
    made = fused(net)
    assert conductances(made) == conductances(net)
    assert len({each.name for each in made.instances}) == len(made.instances)
    assert made.sources == net.sources
    assert {*made.nodes} == {*net.nodes}
    cut = Counter(each.nodes[0] for each in made.instances if each.module == "lsc_column16")
    assert all(sum(v == node for v, _ in conductances(net)) >= 48 for node in cut)
    if form == "gram":
        assert (sum(cut.values()) > 0) == (shape[1] >= 48)


@pytest.mark.parametrize(
    ("prior", "kind"),
    [
        (SpikeSlab(0.3, 1.0), "nonnegative"),
        (SpikeSlab(0.3, 1.0, signed=True), "signed"),
        (Laplace(1.2, signed=False), "absolute"),
    ],
)
@pytest.mark.parametrize("smoothing", ["logistic", "hyperbolic"])
def test_cells_are_threshold_gate_and_cost(prior, kind, smoothing):
    net = sampler_of(prior, smoothing=smoothing).closed().in_modules
    made = fused(net)
    single = {each.name: each for each in net.instances}
    cells = [each for each in made.instances if each.module == f"lsc_cell_{kind}"]
    assert len(cells) == 4
    for i, cell in enumerate(cells):
        threshold, gate, cost = (single[name] for name in (f"xthreshold_{i}", f"xgate_{i}_e", f"xgate_{i}_c"))
        assert cell.nodes == (f"u_{i}", f"s_{i}", f"e_{i}")
        assert cell.parameters == {**threshold.parameters, **gate.parameters, **cost.parameters}
        assert (
            {"w", "g", "k", "i", "hyperbolic"}
            <= set(cell.parameters)
            <= set(veriloga.modules()[cell.module].parameters)
        )
    assert not [each for each in made.instances if each.module.startswith(("lsc_threshold", "lsc_gate", "lsc_cost"))]


@pytest.mark.parametrize(
    ("prior", "options"),
    [
        (Cauchy(1.0, 0.5), {}),
        (Gaussian(1.0), {}),
        (SpikeSlab(0.3, 1.0), {"dynamics": "lca"}),
        (None, {"dynamics": "underdamped"}),
    ],
)
def test_what_is_no_cell_stays_as_it_is(prior, options):
    net = sampler_of(prior, **options).closed().in_modules
    made = fused(net)
    assert not [each for each in made.instances if each.module.startswith("lsc_cell")]
    kept = ("lsc_threshold", "lsc_gate", "lsc_cost", "lsc_integrator")
    assert [e for e in made.instances if e.module.startswith(kept)] == [
        e for e in net.instances if e.module.startswith(kept)
    ]


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("xthreshold_1", {"w": 0.009}),
        ("xgate_1_e", {"u0": 0.5}),
        ("xgate_1_e", {"e_os": 1e-3}),
        ("xgate_1_c", {"w": 0.009}),
        ("xgate_1_e", "u_2"),
        ("xgate_1_c", "u_2"),
    ],
)
def test_cells_that_differ_stay_apart(which, change):
    """One with another width, threshold or offset than the others of its neuron, or whose force acts elsewhere."""

    def odd(each):
        if each.name != which:
            return each
        if isinstance(change, str):
            return replace(each, nodes=(*each.nodes[:-1], change))
        return replace(each, parameters={**each.parameters, **change})

    net = sampler_of().closed().in_modules
    made = fused(Netlist(tuple(map(odd, net.instances)), net.sources))
    assert Counter(each.module for each in made.instances)["lsc_cell_nonnegative"] == 3
    assert {"xthreshold_1", "xgate_1_e", "xgate_1_c"} <= {each.name for each in made.instances}


# --- what a task says ---


def test_the_deck_has_the_names_that_a_flattened_one_has():
    """So a task says the same of nodes, capacitors and sources, and is noise for noise the one of tables."""
    run = RunPlan(t_stop=50.0, chains=1, seed=3)
    compiled, tables = sampler_of(cells="verilog-a"), sampler_of()
    (task,), (other,) = compiled.tasks(run), tables.tasks(run)
    assert replace(task, deck=other.deck) == other
    names = [line.split()[0] for line in task.deck.splitlines()]
    assert {*task.capacitors, *task.devices} <= set(names)
    assert len(set(names[1:]) - {"+", ".model"}) == len([name for name in names[1:] if name not in ("+", ".model")])
    assert compiled.cells == "verilog-a"
    assert compiled.deck(t_stop=100.0) == tables.closed().deck(t_stop=100.0), "a stand-alone deck runs anywhere"


def test_what_is_compiled_is_a_part_of_the_key(monkeypatch):
    needed = json.loads(NGSPICE.prepare(sampler_of(cells="verilog-a")))
    assert needed["modules"]["files"] == ["lsc_cell.va"]
    assert families(fused(sampler_of(Gaussian(1.0)).closed().in_modules)) == ()
    assert families(fused(dense(64, 64).closed().in_modules)) == ("lsc_cell.va", "lsc_column.va")
    assert NGSPICE.prepare(sampler_of()) == b""
    text = veriloga.text
    monkeypatch.setattr(veriloga, "text", lambda file: text(file) + ("// more\n" if file == "lsc_cell.va" else ""))
    assert json.loads(NGSPICE.prepare(sampler_of(cells="verilog-a"))) != needed


def test_solvers():
    assert " klu\n" not in sampler_of(cells="verilog-a").library_deck
    assert " klu\n" in dense(32, 32, cells="verilog-a").library_deck
    assert " klu\n" in dense(32, 32, cells="verilog-a", level="device").library_deck
    assert " klu\n" not in dense(16, 16, cells="verilog-a").library_deck


# --- what there must be ---


@pytest.mark.parametrize("version", ["39", "43.1", "unknown"])
def test_an_old_ngspice_is_one_clear_line(version):
    with pytest.raises(
        MissingSimulatorError, match=rf'^cells = "verilog-a" needs libngspice 44 or later, and this is {version}. Use'
    ):
        check_version(version)


def test_new_ones_are_fine():
    for version in ("44", "44.2", "45.1"):
        check_version(version)


@pytest.fixture
def with_all(monkeypatch):
    """Let this machine have ngspice 44 and a compiler."""
    monkeypatch.setattr(modules, "version_apart", lambda: ("libngspice.so.0", "44.2"))
    monkeypatch.setattr(modules, "check_compiler", lambda: None)


def test_auto_takes_what_pays_and_is_there(with_all, monkeypatch):
    said = "cells of compiled Verilog-A: 64 latents"
    large = dense(64, 64, cells="auto")
    assert large.cells == "verilog-a"
    assert any(line.startswith(said) for line in large.plan.explanation)
    small = dense(8, 8, cells="auto")
    assert (small.cells, small.plan.explanation[-1]) == (
        "table",
        "cells are tables: with 8 latents, below 64, compiled ones are no faster",
    )
    device = dense(64, 64, cells="auto", level="device")
    assert device.plan.explanation[-1] == "cells are tables: at device level compiled ones are no faster"
    none = dense(64, 64, cells="auto", loop="broken")
    assert none.cells == "table"
    assert none.plan.explanation[-1].startswith("cells are tables: cell 'feedback' (Feedback) has no Verilog-A module")
    monkeypatch.setattr(modules, "version_apart", lambda: ("libngspice.so.0", "39"))
    old = dense(64, 64, cells="auto")
    assert old.cells == "table"
    assert "and this is 39" in old.plan.explanation[-1]
    assert replace(old, plan=dense(64, 64).plan).library_deck == dense(64, 64).library_deck


def test_auto_says_what_is_missing(with_all, monkeypatch):
    def none():
        raise MissingSimulatorError("no compiler")

    monkeypatch.setattr(modules, "check_compiler", none)
    assert dense(64, 64, cells="auto").plan.explanation[-1] == "cells are tables: no compiler"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cells": "fast"}, r"^circuit.cells = 'fast' is not one of table, verilog-a, auto.$"),
        ({"cells": "verilog-a", "loop": "broken"}, r"^cell 'feedback' \(Feedback\) has no Verilog-A module"),
    ],
)
def test_what_cannot_be_compiled(options, match):
    with pytest.raises(InputError, match=match):
        sampler_of(**options)


def test_a_missing_linker(monkeypatch):
    monkeypatch.setattr(verilog_a.shutil, "which", lambda name: None)
    monkeypatch.setattr(verilog_a, "find_spec", lambda name: None)
    with pytest.raises(
        MissingSimulatorError, match=r"no ld on the PATH. Install one with: apt-get install binutils .* ziglang$"
    ):
        verilog_a._linker()
    monkeypatch.setattr(verilog_a, "find_spec", lambda name: "ziglang")
    assert verilog_a._linker().endswith('-m ziglang ld.lld "$@"\n')
    monkeypatch.setattr(verilog_a.shutil, "which", lambda name: "/usr/bin/ld")
    assert verilog_a._linker() is None


CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.5
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[circuit]
cells = "verilog-a"
[run]
t_stop = 200
"""


@pytest.mark.ngspice
def test_the_command_line_says_it_in_one_line(tmp_path, old_ngspice):
    (tmp_path / "c.toml").write_text(CONFIG)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "c.toml"), "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    said = done.stderr.splitlines()[-1]
    assert said.startswith('circuitlsc: error: cells = "verilog-a" needs libngspice 44 or later')
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"], "nothing is left of it"


@pytest.fixture
def old_ngspice():
    if int(modules.version_apart()[1].partition(".")[0]) >= 44:
        pytest.skip("this ngspice loads compiled cells")


# --- at DC ---

WIDTH, N, R = 0.05, 201, 1e4
U = np.concatenate([np.linspace(-6, 6, N - 80), 1.2 + np.linspace(-0.3, 0.3, 40), np.linspace(-0.2, 0.2, 40)])


def cells_at_dc():
    """Return cells whose states are fed by a current each, the currents, and each cell's prior and smoothing.

    A state's node has a resistor R, so that its voltage says what the cell drives into it: V(u)/R less the current.
    """
    scaling, instances, cases = Scaling(volt=0.07, volt_e=0.03, volt_r=0.05, c_int=2e-12, tau=3e-6, r_node=2e5), [], {}
    priors = {
        "nonnegative": SpikeSlab(0.3, 1.4),
        "signed": SpikeSlab(0.3, 1.4, signed=True),
        "absolute": Laplace(1.4, signed=False),
    }
    for (kind, prior), (name, smoothing) in product(priors.items(), SMOOTHINGS.items()):
        given = {"w": WIDTH * scaling.volt, "g": 1 / scaling.r_node, "k": scaling.drift_current / scaling.volt_e}
        given |= {"i": 1.4 * scaling.drift_current, "hyperbolic": float(name == "hyperbolic")}
        given |= {} if kind == "absolute" else {"u0": prior.threshold * scaling.volt}
        for i, u in enumerate(U):
            at = f"{kind}_{name}_{i}"
            instances += [
                Instance(f"c_{at}", f"lsc_cell_{kind}", (f"u_{at}", f"s_{at}", f"e_{i}"), given),
                Instance(f"r_{at}", "lsc_node", (f"u_{at}",), {"r": R}),
                Instance(f"i_{at}", "lsc_input", (f"u_{at}",), {"i_in": float(u * scaling.volt / R)}),
            ]
        cases[f"{kind}_{name}"] = prior, smoothing
    return scaling, instances, cases


@pytest.mark.slow
@pytest.mark.parametrize("simulator", RUN)
def test_each_larger_module_is_its_numpy_form(simulator, request, tmp_path):
    request.getfixturevalue("vacask_here" if simulator == "vacask" else "compiled_cells_here")
    scaling, instances, cases = cells_at_dc()
    rng = np.random.default_rng(1)
    e, g = rng.normal(0, 3, N), rng.normal(0, 1e-6, 16)
    rows = [f"p_{i}" for i in range(16)]
    instances.append(Instance("column", "lsc_column16", ("e_0", *rows), {f"g{i}": float(v) for i, v in enumerate(g)}))
    instances += [Instance(f"r_{row}", "lsc_node", (row,), {"r": 1e5}) for row in rows]
    held = {f"e_{i}": float(v * scaling.volt_e) for i, v in enumerate(e)}
    nodes = [f"{letter}_{case}_{i}" for case, letter, i in product(cases, "us", range(N))] + rows
    found = RUN[simulator](tmp_path, Netlist(tuple(instances), ()), held, nodes)
    forces = {}
    for case, (prior, smoothing) in cases.items():
        volts = {letter: np.array([found[f"{letter}_{case}_{i}"] for i in range(N)]) for letter in "us"}
        u = volts["u"] / scaling.volt
        s = prior.latent(u, WIDTH, smoothing) * scaling.volt
        force = (
            -(prior.latent_grad(u, WIDTH, smoothing) * e + prior.cost_grad(u, WIDTH, smoothing)) * scaling.drift_current
        )
        forces[case] = volts["u"] / R - U * scaling.volt / R, force
        assert np.abs(volts["s"] - s).max() < 1e-9 * np.abs(s).max(), case
        assert np.abs(forces[case][0] - force).max() < 1e-9 * np.abs(force).max(), case
    found_force, wanted = forces["signed_logistic"]
    assert np.abs(found_force - forces["signed_hyperbolic"][1]).max() > 1e-3 * np.abs(wanted).max(), "negative control"
    wanted_p = 1e5 * scaling.volt_e * g * e[0]
    assert np.abs(np.array([found[row] for row in rows]) - wanted_p).max() < 1e-9 * np.abs(wanted_p).max()


# --- in ngspice 44 ---


CASES = {
    "nonnegative": {},
    "signed": {"prior": SpikeSlab(0.3, 1.0, signed=True)},
    "laplace": {"prior": Laplace(1.0)},
    "exponential": {"prior": Laplace(1.0, signed=False)},
    "cauchy": {"prior": Cauchy(1.0, 0.5)},
    "cauchy-nonnegative": {"prior": Cauchy(1.0, 0.5, signed=False)},
    "gaussian": {"prior": Gaussian(1.0)},
    "hyperbolic": {"smoothing": "hyperbolic"},
    "hyperbolic-signed": {"prior": SpikeSlab(0.3, 1.0, signed=True), "smoothing": "hyperbolic"},
    "residual": {"form": "residual"},
    "underdamped": {"dynamics": "underdamped"},
}


def path_of(sampler, steps):
    samples = sampler.run(t_stop=max(steps * sampler.plan.step, 5.0), warmup=0.0, chains=1, seed=3)
    return path_difference(sampler, samples, steps)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_compiled_circuit_follows_numpy(case, compiled_cells_here):
    """Modules in a transient, against the trapezoid of their NumPy forms on the same noise."""
    assert path_of(sampler_of(**CASES[case], cells="verilog-a", tolerance=1e-9), 2000).rms < 5e-9
    # at the usual tolerance a charge is that of the last but one of Newton's iterates: up to 1e-5 off in single steps
    assert path_of(sampler_of(**CASES[case], cells="verilog-a"), 2000).rms < 4e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "form", "steps"), [((16, 8), "gram", 2000), ((64, 64), "gram", 600), ((64, 256), "residual", 100)]
)
def test_large_compiled_circuits_follow_numpy(shape, form, steps, compiled_cells_here):
    sampler = dense(*shape, form=form, cells="verilog-a", tolerance=1e-9)
    assert path_of(sampler, steps).rms < 5e-9
    wrong = replace(sampler.model, A=sampler.model.A * np.where(np.arange(shape[1]) == 0, 1.05, 1.0))
    samples = sampler.run(t_stop=max(steps * sampler.plan.step, 5.0), warmup=0.0, chains=1, seed=3)
    assert path_difference(replace(sampler, model=wrong), samples, steps).rms > 1e-5, "negative control"


@pytest.mark.slow
def test_a_compiled_run_is_taken_up_again(compiled_cells_here, tmp_path):
    """An interrupted run goes on where it stopped, and gives the samples of one that was not."""
    from circuitlsc import Store

    sampler, run = sampler_of(cells="verilog-a"), RunPlan(t_stop=900.0, chains=2, seed=4)
    whole = sampler.run(run)
    stop = 0

    def interrupt(chain, steps):
        nonlocal stop
        stop = max(stop, steps)
        if steps >= 4000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler.run(run, store=Store(tmp_path), progress=interrupt)
    assert stop > 0
    again = sampler.run(run, store=Store(tmp_path))
    np.testing.assert_array_equal(again.u, whole.u)
    assert whole.attrs["cells"] == "verilog-a"


@pytest.mark.slow
def test_a_text_that_does_not_compile_is_one_error(compiled_cells_here, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    if verilog_a.find_spec("ziglang") is None:
        with pytest.raises(SimulationError, match="no ld on the PATH"):
            sampler_of(cells="verilog-a").run(t_stop=50.0, chains=1)
    else:
        sampler_of(cells="verilog-a").run(t_stop=50.0, chains=1)
        assert len([*tmp_path.rglob("*.osdi")]) == 1
