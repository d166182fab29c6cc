"""Electrical rules: circuits that break one are refused by name, all of ours pass, and so do circuits around ours."""

import re

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit, SubCircuit

from circuitlsc import Gaussian, InputError, Laplace, NetlistError, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.electrical_rules import check_circuit, flatten
from circuitlsc.model.gram import blocks


@pytest.fixture
def circuit():
    """Return a circuit that keeps every rule: a source and a divider."""
    circuit = Circuit("divider")
    circuit.V("in", "a", 0, 1.0)
    circuit.R("top", "a", "b", 1e3)
    circuit.R("bottom", "b", 0, 1e3)
    return circuit


def refused(message):
    return pytest.raises(NetlistError, match=rf"^{re.escape(message)}$")


FLOATS = "has no DC path to ground ({n} such nodes): its voltage is undefined. Connect a resistor to ground."
LOOPS = "the current in it has no bound. Put a resistor in series."


def test_good_circuit_passes(circuit):
    assert [e.name for e in check_circuit(circuit)] == ["vin", "rtop", "rbottom"]


# --- no DC path ---


def test_node_between_capacitors_floats(circuit):
    circuit.C("one", "b", "c", 1e-12)
    circuit.C("two", "c", 0, 1e-12)
    with refused(f"node c {FLOATS.format(n=1)}"):
        check_circuit(circuit)


def test_node_fed_by_currents_alone_floats(circuit):
    circuit.VCCS("one", 0, "c", "b", 0, 1e-3)
    circuit.VCCS("two", 0, "c", "a", 0, 1e-3)
    with refused(f"node c {FLOATS.format(n=1)}"):
        check_circuit(circuit)


def test_controlling_pins_are_no_path(circuit):
    circuit.VCVS("copy", "c", 0, "d", "f", 1.0)
    circuit.R("load", "c", 0, 1e3)
    circuit.VCVS("twin", "g", 0, "d", "f", 1.0)
    circuit.R("other", "g", 0, 1e3)
    with refused(f"node d {FLOATS.format(n=2)}"):
        check_circuit(circuit)


def test_island_with_its_own_resistors_floats(circuit):
    circuit.V("island", "c", "d", 1.0)
    circuit.R("island", "c", "d", 1e3)
    with refused(f"node c {FLOATS.format(n=2)}"):
        check_circuit(circuit)


def test_node_inside_a_subcircuit_floats(circuit):
    cell = SubCircuit("cell", "p")
    cell.C("one", "p", "inner", 1e-12)
    cell.C("two", "inner", 0, 1e-12)
    circuit.subcircuit(cell)
    circuit.X("1", "cell", "b")
    with refused(f"node x1.inner {FLOATS.format(n=1)}"):
        check_circuit(circuit)


def test_semiconductors_conduct(circuit):
    circuit.D("1", "b", "c", model="dio")
    circuit.C("c", "c", 0, 1e-12)
    circuit.M("1", "d", "b", 0, 0, model="nmos")
    circuit.C("d", "d", 0, 1e-12)
    circuit.Q("1", "e", "b", "f", model="npn")
    circuit.C("e", "e", "f", 1e-12)
    check_circuit(circuit)


def test_a_gate_does_not_conduct(circuit):
    circuit.M("1", "b", "g", 0, 0, model="nmos")
    circuit.C("g", "g", 0, 1e-12)
    with refused(f"node g {FLOATS.format(n=1)}"):
        check_circuit(circuit)


# --- loops of voltage sources ---


def test_two_sources_on_one_node(circuit):
    circuit.V("again", "a", 0, 1.0)
    with refused(f"vagain closes a loop of voltage sources between a and 0: {LOOPS}"):
        check_circuit(circuit)


def test_loop_through_controlled_source_and_inductor(circuit):
    circuit.VCVS("e", "c", "a", "b", 0, 2.0)
    circuit.L("l", "c", 0, 1e-6)
    with refused(f"ll closes a loop of voltage sources between c and 0: {LOOPS}"):
        check_circuit(circuit)


def test_shorted_source(circuit):
    circuit.V("short", "b", "b", 1.0)
    with refused(f"vshort closes a loop of voltage sources between b and b: {LOOPS}"):
        check_circuit(circuit)


def test_loop_through_a_behavioural_voltage(circuit):
    circuit.B("copy", "a", 0, voltage_expression="2*V(b)")
    with refused(f"bcopy closes a loop of voltage sources between a and 0: {LOOPS}"):
        check_circuit(circuit)


def test_loop_across_subcircuits(circuit):
    cell = SubCircuit("cell", "p", "q")
    cell.V("1", "p", "q", 1.0)
    circuit.subcircuit(cell)
    circuit.X("1", "cell", "a", "c")
    circuit.X("2", "cell", "c", 0)
    with refused(f"v.x2.v1 closes a loop of voltage sources between c and 0: {LOOPS}"):
        check_circuit(circuit)


def test_behavioural_voltage_inside_a_subcircuit_drives_its_node(circuit):
    cell = SubCircuit("cell", "p", "q")
    cell.B("1", "q", 0, voltage_expression="tanh(V(p))")
    circuit.subcircuit(cell)
    circuit.X("1", "cell", "b", "c")
    circuit.C("load", "c", 0, 1e-12)
    check_circuit(circuit)


def test_behavioural_current_drives_none(circuit):
    circuit.B("1", 0, "c", current_expression="V(b)")
    circuit.C("load", "c", 0, 1e-12)
    with refused(f"node c {FLOATS.format(n=1)}"):
        check_circuit(circuit)


# --- dangling nodes, undefined subcircuits ---


def test_dangling_node(circuit):
    circuit.R("end", "b", "nowhere", 1e3)
    with refused("node nowhere dangles: only rend is connected to it. Connect or remove it."):
        check_circuit(circuit)


def test_gnd_is_0_in_any_spelling(circuit):
    circuit.R("x", "a", "gnd", 1e3)
    circuit.R("y", "a", "GND", 1e3)
    assert len(check_circuit(circuit)) == 5


def test_undefined_subcircuit(circuit):
    circuit.X("1", "amplifier", "a", "b")
    with refused("X1 calls the subcircuit 'amplifier', which is not defined in this circuit."):
        check_circuit(circuit)


def test_wrong_number_of_pins(circuit):
    cell = SubCircuit("cell", "p", "q")
    cell.R("1", "p", "q", 1e3)
    circuit.subcircuit(cell)
    circuit.X("1", "cell", "a")
    with refused("X1 has 1 nodes, but the subcircuit 'cell' has 2 pins."):
        check_circuit(circuit)


def test_nested_subcircuits_are_named_as_ngspice_does(circuit):
    inner, outer = SubCircuit("inner", "p"), SubCircuit("outer", "p")
    inner.R("1", "p", "n", 1e3)
    inner.R("2", "n", 0, 1e3)
    outer.subcircuit(inner)
    outer.X("b", "inner", "p")
    circuit.subcircuit(outer)
    circuit.X("a", "outer", "b")
    elements = {e.name: e.nodes for e in flatten(circuit)}
    assert elements["r.xa.xb.r1"] == ("b", "xa.xb.n")
    assert elements["r.xa.xb.r2"] == ("xa.xb.n", "0")


# --- ours ---


def test_every_sampler_passes(model, x, form):
    sampler = build_sampler(model, x, form=form)
    assert len(check_circuit(sampler.circuit)) > 20


def test_checks_see_into_our_cells(model, x):
    """Negative control: without the integrators' leaks, the neurons have no DC path where the prior's cells give none."""
    sampler = build_sampler(model, x)
    (neuron,) = [s for s in sampler.circuit.subcircuits if s.name == "lsc_neuron"]
    next(e for e in neuron.elements if e.name == "Rleak").detach()
    with refused(f"node u_0 {FLOATS.format(n=model.n_latents)}"):
        check_circuit(sampler.circuit)


def user_circuit(sampler, *, closed=True):
    """Put a sampler into a circuit of one's own: a buffer and a low-pass filter on its first neuron."""
    circuit = Circuit("mine")
    circuit.subcircuit(sampler.subcircuit("sampler"))
    pins = [f"out_{i}" for i in range(sampler.model.n_latents)]
    circuit.X("lsc", "sampler", *pins)
    circuit.VCVS("buffer", "copy", 0, "out_0", 0, 10.0)
    circuit.R("f", "copy", "slow", 1e3)
    circuit.C("f", "slow", 0, 5 * sampler.scaling.tau / 1e3)
    if closed:
        for pin in pins[1:]:
            circuit.R(f"probe_{pin}", pin, 0, 1e15)
    return circuit


def test_sampler_inside_a_circuit_of_ones_own_passes(model, x, form):
    elements = check_circuit(user_circuit(build_sampler(model, x, form=form)))
    assert {"ebuffer", "c.xlsc.xneuron_0.cint"} <= {e.name for e in elements}


@pytest.mark.ngspice
def test_sampler_inside_a_circuit_of_ones_own_runs(model, x, form, solve):
    sampler = build_sampler(model, x, form=form)
    h, tau = sampler.plan.step * sampler.scaling.tau, sampler.scaling.tau
    deck = f"{user_circuit(sampler)}.option seed=7\n.end\n"
    (answer,) = solve([(deck, f"tran {h!r} {5 * tau!r} 0 {h!r} uic")])
    assert answer["time"][-1] == pytest.approx(5 * tau)
    u = np.stack([answer[f"out_{i}"] for i in range(model.n_latents)]) / sampler.scaling.volt
    assert np.isfinite(u).all()
    assert (u.std(axis=1) > 0.05).all()
    np.testing.assert_allclose(answer["copy"], 10 * answer["out_0"], rtol=1e-6, atol=1e-9)
    assert 0 < answer["slow"].std() < answer["copy"].std()


# --- blocks ---


def test_blocks_of_a_block_diagonal_gram():
    rng = np.random.default_rng(0)
    groups = [[0, 3, 4], [1], [2, 5]]
    gram = np.zeros((6, 6))
    for group in groups:
        part = rng.standard_normal((len(group) + 1, len(group)))
        gram[np.ix_(group, group)] = part.T @ part
    assert blocks(gram) == groups


def test_rounding_errors_couple_nothing():
    assert blocks(np.array([[1.0, 1e-17], [1e-17, 1.0]])) == [[0], [1]]
    assert blocks(np.array([[1.0, 1e-6], [1e-6, 1.0]])) == [[0, 1]]


def test_latents_coupled_through_others_are_one_block(bars_model):
    assert blocks(bars_model.gram) == [list(range(8))]


def test_orthogonal_dictionary_falls_apart():
    sampler = build_sampler(SparseCodingModel(np.eye(3), SpikeSlab(0.3, 1.0), 0.5), np.ones(3))
    assert blocks(sampler.model.gram) == [[0], [1], [2]]
    assert blocks(SparseCodingModel(np.ones((1, 3)), Gaussian(1.0), 0.5).gram) == [[0, 1, 2]]


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("dynamics", ["langevin", "lca"])
def test_rounding_noise_is_no_conductance(form, level, dynamics):
    """Atoms that are orthogonal up to rounding, one of them with an entry that is noise of a 0, have no couplings."""
    A = np.diag([2.0, 0, 0, 0, 0, 0])
    A[1:, 1:] = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
    A[3, 0], A[0, 2] = 6e-17, -2e-16
    exact = SparseCodingModel(np.where(np.abs(A) < 1e-15, 0.0, A), Laplace(1.0), 0.5)
    model = SparseCodingModel(A, Laplace(1.0), 0.5)
    assert np.count_nonzero(A.T @ A) > 20
    np.testing.assert_array_equal(model.connections, exact.A)
    np.testing.assert_allclose(model.gram, np.diag([16.0, 4, 4, 4, 4, 4]), rtol=1e-12, atol=0)
    graphs = [build_sampler(m, np.ones(6), form=form, level=level, dynamics=dynamics).graph for m in (model, exact)]
    pairs = [(a.matrix, b.matrix) for a, b in zip(*(g.cells for g in graphs), strict=True) if hasattr(a, "matrix")]
    assert len(pairs) == (1 if form == "gram" else 2)
    for given, wanted in pairs:
        np.testing.assert_allclose(given, wanted, rtol=1e-12, atol=0)


def test_small_couplings_that_are_no_rounding_noise_stay():
    A = np.eye(3)
    A[0, 1], A[1, 2] = 1e-14, -3e-15
    model = SparseCodingModel(A, Laplace(1.0), 0.5)
    np.testing.assert_array_equal(model.connections, A)
    np.testing.assert_allclose(model.gram, A.T @ A / 0.25, rtol=1e-15)
    assert model.gram[0, 1] == pytest.approx(4e-14)


# --- names, which ngspice folds to lower case ---


def cell_between(name, node="p"):
    cell = SubCircuit(name, node)
    cell.R("1", node, 0, 1.0)
    return cell


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("subcircuits Cell and cell", lambda c: [c.subcircuit(cell_between(name)) for name in ("Cell", "cell")]),
        ("elements RLoad and Rload", lambda c: [c.R(name, "b", 0, 1.0) for name in ("Load", "load")]),
        ("nodes b and B", lambda c: [c.R(name, "B", 0, 1.0) for name in ("x", "y")]),
        ("nodes P and p", lambda c: c.subcircuit(cell_between("cell", "P")) or cell_with_load(c)),
    ],
)
def test_names_that_differ_in_case_alone_are_refused(circuit, what, change):
    change(circuit)
    with refused(f"the {what} differ in case alone, and ngspice takes them for one. Rename one of them."):
        check_circuit(circuit)


def cell_with_load(circuit):
    """Add a load inside the one subcircuit of a circuit, to a pin that it spells in another way."""
    (cell,) = circuit.subcircuits
    cell.R("2", "p", 0, 1.0)


def test_the_name_of_a_samplers_subcircuit_is_no_other_circuits(model, x):
    sampler = build_sampler(model, x)
    with pytest.raises(InputError, match=r"^name = 'Sampler' has upper-case letters, .* Give 'sampler'\.$"):
        sampler.subcircuit("Sampler")
    with pytest.raises(
        InputError, match=r"^name = 'lsc_gate' is that of a cell inside it\. Give a name other than lsc_"
    ):
        sampler.subcircuit("lsc_gate")
