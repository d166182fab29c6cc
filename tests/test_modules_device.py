"""Device level in other simulators: parts as primitives, what has no module, and paths in ngspice, VACASK and NumPy."""

import re

import numpy as np
import pytest
from vacask_off import off

from circuitlsc import (
    InputError,
    NetlistError,
    Nonidealities,
    RunPlan,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.circuit.electrical_rules import flatten
from circuitlsc.circuit.modules import ELEMENTS
from circuitlsc.circuit.netlist_values import Scope
from circuitlsc.sampling.export import DIALECTS, exported
from circuitlsc.simulator.modules import PRIMITIVES, Instance, Netlist, for_vacask
from circuitlsc.simulator.ngspice.modules import lines
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.studies.cross_check import cross_check, for_referee, not_in_numpy, run_both

X = np.array([1.0, 0.2, 0.9, -0.1])
RUN = RunPlan(t_stop=60.0, warmup=10.0, chains=2, seed=3)
#: what NumPy has too
STATIC = {
    "ideal parts": {},
    "conductances": {"crossbar": {"g_off": 1e-6, "levels": 16, "programming_error": 0.02}},
    "wires": {"crossbar": {"wire_resistance": 10.0, "driver_resistance": 50.0}},
    "gain": {"op_amp": {"gain": 1e3}},
    "offsets": {
        "comparator": {"threshold_offset": 1e-3, "gate_offset": 2e-3},
        "op_amp": {"offset": 1e-3},
        "multiplier": {"gain_error": 0.02, "offset": 1e-3},
        "prior": {"lam_mismatch": 0.03},
        "integrator": {"capacitance_mismatch": 0.02, "output_resistance": 1e8, "offset_current": 1e-9},
    },
}
#: what it leaves out
POLES = {
    "pole": {"op_amp": {"gain": 1e3, "gbw": 1e8}},
    "thermal noise": {"noise": {"capacitance": 1e-13, "flicker_corner": 1e3, "ac_corner": 1e2, "offset": 1e-4}},
}


def sampler(parts=None, **given):
    model = SparseCodingModel(bars(2), given.pop("prior", SpikeSlab(0.3, 1.4)), 0.5)
    return build_sampler(model, X, level="device", nonideal=Nonidealities(parts or {}, seed=1), **given)


# --- values of parameters ---


def test_parameters_come_to_what_the_instance_says():
    top = Scope({"c_int": "2e-12", "r": 5.0})
    inner = Scope({"c": 1.0, "g": 4.0}, {"c": "{c_int*1.5}"}, top)
    assert inner.number("{c}") == 3e-12
    assert inner.number("{1/g}") == 0.25
    assert inner.number("{-(g+r)*2-1}") == -19.0
    assert Scope({}, {"c": "{c}"}, inner).number("{c}") == 3e-12
    assert inner.number("1e6") == inner.number(1e6) == 1e6


@pytest.mark.parametrize("text", ["{unknown}", "trrandom(2", "{exp(1)}", "PWL(0", "{c**2}"])
def test_what_is_no_arithmetic(text):
    with pytest.raises(NetlistError, match=r"is no (number|parameter)"):
        Scope({"c": 1.0}).number(text)


# --- the netlist ---


@pytest.mark.parametrize("parts", [*STATIC.values(), *POLES.values()], ids=[*STATIC, *POLES])
def test_primitives_are_the_elements_of_ngspice(parts):
    """Names, nodes and kinds; what is not the same are the sources of thresholds and gates, which are modules here."""
    s = sampler(parts, form="residual").closed()
    ours = {e.name: (e.module, e.nodes) for e in s.in_modules.instances if e.module in PRIMITIVES}
    ours |= {e.name: (e.kind, e.nodes) for e in s.in_modules.sources}
    theirs = {e.name: (ELEMENTS[e.kind], e.nodes) for e in flatten(s.circuit) if e.kind != "B"}
    assert {name: what for name, what in ours.items() if name in theirs} == theirs
    others = set(ours) - set(theirs)
    assert all(re.fullmatch(r"e\.xthreshold_\d\.eo", name) for name in others)
    (task, *_), known = s.tasks(RUN), set(s.in_modules.nodes)
    assert {*task.nodes, *task.held} <= known


def test_values_are_those_of_the_cells():
    s = sampler({**STATIC["offsets"], **STATIC["conductances"]}).closed()
    found = {e.name: e.parameters for e in s.in_modules.instances}
    cells = {cell.name: cell for cell in s.graph.cells}
    g = cells["inhibition"].conductances_siemens
    for j, c in np.ndindex(*g.shape):
        assert found[f"r.xinhibition.r{j}_{c}"] == {"r": 1 / g[j, c]}
    for i in range(4):
        assert found[f"c.xneuron_{i}.cint"] == {"c": cells["neuron"].capacitor_factors[i] * s.scaling.c_int}
        assert found[f"xthreshold_{i}"]["vos"] == cells["threshold"].offset[i]
        vos, gain, e_os, prior = (draw[i] for draw in cells["gate"].draws)
        gate, cost = found[f"xgate_{i}_e"], found[f"xgate_{i}_c"]
        assert (gate["vos"], gate["e_os"]) == (vos, e_os)
        assert gate["k"] == gain * s.scaling.drift_current / s.scaling.volt_e
        assert cost["i"] == prior * s.model.prior.lam * s.scaling.drift_current


@pytest.mark.parametrize("dialect", DIALECTS)
def test_names_have_no_dots(dialect):
    files = exported(sampler(POLES["pole"]), RUN, dialect, 5.0)
    text = next(text for name, text in files.items() if name.startswith("sampler"))
    assert "xgradient_0_xamp_a" in text
    assert not re.search(r"[a-z_]\w*\.x[a-z]", re.sub("//.*", "", text))


def test_names_that_differ_in_a_dot_alone_are_refused():
    net = Netlist(
        tuple(Instance(f"r{i}", "resistor", (node, "0"), {"r": 1.0}) for i, node in enumerate(("a.b", "a_b"))), ()
    )
    with pytest.raises(InputError, match=r"^two names of the circuit differ in a dot alone"):
        for_vacask(net)


@pytest.mark.parametrize(
    "name",
    ["integrator.rail", "op_amp.rail", "op_amp.slew_rate", "comparator.delay", "comparator.hysteresis"],
)
def test_tables_and_switches_have_no_module(name):
    value = {"comparator.delay": 1e-8, "comparator.hysteresis": 1e-3, "op_amp.slew_rate": 1e8}.get(name, 1.5)
    part, _, key = name.partition(".")
    said = r"is a table or a switch in ngspice, and no Verilog-A module describes that\. Set it to its ideal value\.$"
    with pytest.raises(InputError, match=rf"^nonideal\.{name} = \S+ \(ideal: .*\) {said}"):
        sampler({part: {key: value}}).closed()


def test_what_has_no_module_of_a_preset_is_said_at_once():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5)
    board = build_sampler(model, X, level="device", nonideal=Nonidealities.preset("discrete-board"))
    with pytest.raises(
        InputError, match=r"op_amp\.slew_rate = .*, nonideal\.\S+ = .* are tables or switches in ngspice"
    ):
        board.closed()


def test_what_numpy_leaves_out():
    assert not_in_numpy(sampler(STATIC["offsets"])) == ""
    assert "the capacitors of gradient" in not_in_numpy(sampler(POLES["pole"]))
    assert not_in_numpy(sampler({"op_amp": {"output_resistance": 50.0}})) == "the op-amps' output resistance"


def test_the_deck_of_compiled_cells_has_the_names_that_a_flattened_one_has():
    s = sampler({**POLES["pole"], **STATIC["conductances"]}, form="residual")
    named = {line.split()[0] for line in lines(s.closed().in_modules) if not line.startswith((".", "+"))}
    assert {e.name for e in flatten(s.circuit) if e.kind != "B"} <= named
    assert {"n.xthreshold_0", "e.xthreshold_0.eo", "n.xgate_3_e"} <= named


# --- paths ---


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("form", ["gram", "residual"])
@pytest.mark.parametrize("parts", [*STATIC, *POLES])
def test_paths(parts, form, vacask_here):
    s = for_referee(sampler({**STATIC, **POLES}[parts], form=form))
    found = cross_check(s, *run_both(s, RUN, workers=2))
    assert found.verdict == "agrees", found.report().text()
    ngspice, vacask, between = found.paths
    assert (ngspice.bound is None) == (vacask.bound is None) == (parts in POLES)
    assert bool(found.left_out) == (parts in POLES)
    assert between.rms < 1e-6


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("preset", ["rram", "pcm"])
def test_paths_of_presets(preset, vacask_here):
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.4), 0.5)
    s = for_referee(build_sampler(model, X, level="device", nonideal=Nonidealities.preset(preset)))
    found = cross_check(s, *run_both(s, RUN, workers=2))
    assert found.verdict == "agrees", found.report().text()
    assert found.left_out == ""


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("dynamics", ["underdamped", "lca"])
def test_paths_of_other_dynamics(dynamics, vacask_here):
    s = for_referee(sampler(STATIC["offsets"], dynamics=dynamics))
    run = RunPlan(t_stop=60.0, warmup=0.0, chains=1, seed=0) if s.dynamics.settles else RUN
    found = cross_check(s, *run_both(s, run, workers=2))
    assert found.verdict == "agrees", found.report().text()


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("parts", ["ideal parts", "pole"])
def test_a_resistor_that_is_five_percent_off_is_caught(parts, vacask_here):
    """By NumPy; where that leaves out a pole, by the two simulators."""
    s = for_referee(sampler({**STATIC, **POLES}[parts]))
    found = cross_check(s, *run_both(s, RUN, simulators=(NGSPICE, off("r_xinhibition_r0_5"))))
    assert found.verdict == "disagrees"
    assert found.paths[0].ok
    assert not found.paths[1 if parts == "ideal parts" else 2].ok
