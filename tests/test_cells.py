"""Each subcircuit alone in ngspice against its NumPy form, and the properties of the tables behind them."""

import itertools

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit

from circuitlsc import InputError, SparseCodingModel
from circuitlsc.circuit.cells import Crossbar, Gate, Gradient, Input, Integrator, Noise, Residual, Threshold, Wires
from circuitlsc.circuit.cells.base import number
from circuitlsc.circuit.systems import lsc
from circuitlsc.model.piecewise_linear import Table, crowded_knots

WIDTH = 0.06
RTOL = 1e-9


def cell_named(graph, name):
    return next(cell for cell in graph.cells if cell.name == name)


def bench(*cells, scaling, **wires):
    """Return a circuit that holds the given cells and nothing else; ``wires`` by cell name."""
    circuit = Circuit("cells alone")
    for cell in cells:
        for definition in cell.subcircuits(scaling):
            circuit.subcircuit(definition)
    for cell in cells:
        cell.emit(circuit, wires.get(cell.name, Wires({}, cell.nodes, cell.nodes)), scaling)
    return circuit


def deck(circuit, *options):
    # ngspice returns the iterate before the last, so that values are only as right as the tolerance
    tight = ".options reltol=1e-12 vntol=1e-15 abstol=1e-21"
    return "\n".join([str(circuit), tight, *options, ".end", ""])


def tables_of(model, width=WIDTH):
    cells = model.prior.cells(width, reach=30.0)
    return cells.threshold, cells.comparator, cells.prior, cells.stiffness


@pytest.fixture
def sweep(model):
    """Give a DC sweep of u (first, last, step) in model units, far beyond the tables' last knots."""
    reach = model.prior.threshold + 30 * WIDTH + 3
    return -reach, reach, 2 * reach / 1000


# --- alone in ngspice ---


@pytest.mark.ngspice
def test_threshold(model, sweep, odd_scaling, solve):
    table = tables_of(model)[0]
    if table is None:  # the state is the code: there is no cell
        np.testing.assert_allclose(model.prior.latent(np.array([-2.0, 0.01]), WIDTH), [-2.0, 0.01])
        return
    cell = Threshold("threshold", 1, table=table)
    circuit = bench(cell, scaling=odd_scaling, threshold=Wires({"u": ("u_0",)}, cell.nodes, cell.nodes))
    circuit.V("u", "u_0", 0, 0.0)
    start, stop, step = (float(v * odd_scaling.volt) for v in sweep)
    (answer,) = solve([(deck(circuit), f"dc vu {start!r} {stop!r} {step!r}")])
    u = answer["u_0"] / odd_scaling.volt
    assert u.min() < table.knots[0]
    assert u.max() > table.knots[-1]
    expected = cell.evaluate({"u": u[:, None]})[:, 0]
    np.testing.assert_allclose(answer["s_0"] / odd_scaling.volt, expected, rtol=RTOL, atol=RTOL)


@pytest.mark.ngspice
def test_gate(model, sweep, odd_scaling, solve):
    """Both inputs swept: the current that the gate takes out of u, in drift units."""
    _, comparator, prior, stiffness = tables_of(model)
    cell = Gate("gate", 1, comparator=comparator, prior=prior, stiffness=stiffness)
    circuit = bench(cell, scaling=odd_scaling, gate=Wires({"u": ("u_0",), "e": ("e_0",)}, ("u_0",), ("u_0",)))
    circuit.V("u", "u_0", 0, 0.0)
    circuit.V("e", "e_0", 0, 0.0)
    u0, u1, du = (float(v * odd_scaling.volt) for v in sweep)
    e0, e1, de = (float(v * odd_scaling.volt_e) for v in (-30.0, 30.0, 7.5))
    (answer,) = solve([(deck(circuit), f"dc vu {u0!r} {u1!r} {du!r} ve {e0!r} {e1!r} {de!r}")])
    inputs = {"u": answer["u_0"][:, None] / odd_scaling.volt, "e": answer["e_0"][:, None] / odd_scaling.volt_e}
    assert len(np.unique(np.round(inputs["e"], 6))) == 9
    # a source's branch current is what flows into it: the current that arrives at u
    drift = answer["vu#branch"] / odd_scaling.drift_current
    np.testing.assert_allclose(drift, cell.evaluate(inputs)[:, 0], rtol=RTOL, atol=RTOL)


@pytest.mark.ngspice
def test_crossbar(odd_scaling, solve):
    """Into short circuits: three random input vectors, a matrix with zeros, voltage scales that differ."""
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((3, 5)) * (rng.random((3, 5)) < 0.7)
    cell = Crossbar("forward", 3, matrix=matrix, source="s", target="r")
    inputs, outputs = tuple(f"s_{i}" for i in range(5)), tuple(f"r_{j}" for j in range(3))
    values = rng.standard_normal((3, 5))
    jobs = []
    for s in values:
        circuit = bench(cell, scaling=odd_scaling, forward=Wires({"v": inputs}, outputs, outputs))
        for i in range(5):
            circuit.V(f"s{i}", f"s_{i}", 0, float(s[i] * odd_scaling.volt))
        for j in range(3):
            circuit.V(f"m{j}", f"r_{j}", 0, 0.0)
        jobs.append((deck(circuit), "op"))
    unit = odd_scaling.volt_r / odd_scaling.r_node
    got = [[answer[f"vm{j}#branch"][0] / unit for j in range(3)] for answer in solve(jobs)]
    np.testing.assert_allclose(got, cell.evaluate({"v": values}), rtol=RTOL, atol=RTOL)


@pytest.mark.ngspice
@pytest.mark.parametrize(("node", "quantity"), [(Residual, "r"), (Gradient, "e")])
def test_summing_node_with_crossbar_and_input(node, quantity, odd_scaling, solve):
    rng = np.random.default_rng(2)
    total = node("sum", 3)
    crossbar = Crossbar("weights", 3, matrix=rng.standard_normal((3, 2)), source="s", target=quantity)
    constant = Input("bias", 3, value=rng.standard_normal(3), target=quantity)
    circuit = bench(
        total,
        crossbar,
        constant,
        scaling=odd_scaling,
        weights=Wires({"v": ("s_0", "s_1")}, total.nodes, total.nodes),
        bias=Wires({}, total.nodes, total.nodes),
    )
    s = rng.standard_normal(2)
    for i in range(2):
        circuit.V(f"s{i}", f"s_{i}", 0, float(s[i] * odd_scaling.volt))
    (answer,) = solve([(deck(circuit), "op")])
    got = [answer[name][0] / odd_scaling.volts(quantity) for name in total.nodes]
    terms = {"crossbar": crossbar.evaluate({"v": s}), "input": constant.evaluate({})}
    np.testing.assert_allclose(got, total.evaluate(terms), rtol=RTOL, atol=RTOL)


@pytest.mark.ngspice
def test_integrator(odd_scaling, solve):
    """A constant drift moves u along a straight line, from its start; the leak takes 1e-9 per tau."""
    cell = Integrator("neuron", 2, start=np.array([0.3, -1.1]))
    drift = np.array([-0.7, 2.0])
    circuit = bench(cell, scaling=odd_scaling)
    circuit.parameter("c_int", repr(odd_scaling.c_int))
    for i in range(2):
        circuit.V(f"n{i}", f"n_{i}", 0, 0.0)
        circuit.I(f"d{i}", 0, f"u_{i}", float(drift[i] * odd_scaling.drift_current))
    tau = odd_scaling.tau
    (answer,) = solve([(deck(circuit), f"tran {0.01 * tau!r} {2 * tau!r} 0 {0.01 * tau!r} uic")])
    t = answer["time"] / tau
    assert t[-1] == pytest.approx(2)
    for i in range(2):
        np.testing.assert_allclose(answer[f"u_{i}"] / odd_scaling.volt, cell.start[i] + drift[i] * t, atol=1e-6)


@pytest.mark.ngspice
def test_held_noise(odd_scaling, solve):
    """The current of `trrandom`: held for a step, of the right size and mean, independent between neurons."""
    step, temperature, n = 0.04, 2.5, 4000
    cell = Noise("noise", 2, temperature=temperature, form="trrandom")
    circuit = bench(cell, scaling=odd_scaling, noise=Wires({}, ("n_0", "n_1"), ("u_0", "u_1")))
    circuit.parameter("t_hold", repr(step * odd_scaling.tau))
    circuit.parameter("i_rms", repr(odd_scaling.noise_amperes(step, temperature)))
    for i in range(2):
        circuit.V(f"m{i}", f"u_{i}", 0, 0.0)
        circuit.R(f"n{i}", f"n_{i}", 0, 1.0)  # the source holds the capacitor's lower plate at 0
    h = step * odd_scaling.tau
    (answer,) = solve([(deck(circuit, ".option seed=3"), f"tran {h!r} {n * h!r} 0 {h!r} uic")])
    # the middle of each hold
    middle = np.searchsorted(answer["time"], (np.arange(n) + 0.5) * h)
    drift = np.stack([answer[f"vm{i}#branch"][middle] for i in range(2)]) / odd_scaling.drift_current
    expected = 2 * temperature / step
    z = 4.5  # five tests below; P(false alarm) of all < 5e-5
    assert np.abs(drift.mean(axis=1)).max() < z * np.sqrt(expected / n)
    assert np.abs(drift.var(axis=1) / expected - 1).max() < z * np.sqrt(2 / n)
    assert abs(np.corrcoef(drift)[0, 1]) < z / np.sqrt(n)
    assert abs(1.1**2 - 1) > z * np.sqrt(2 / n), "negative control: a size wrong by 10 % would be seen"
    np.testing.assert_array_equal(answer["n_0"], 0.0)


# --- tables ---


def test_comparator_and_code_are_a_consistent_pair(model):
    """The mean gate over any segment is the slope of s there, so that the drift is a gradient."""
    threshold, comparator, _, _ = tables_of(model)
    if threshold is None:
        assert comparator is None
        return
    np.testing.assert_array_equal(threshold.knots, comparator.knots)
    for a, b in itertools.pairwise(threshold.knots):
        inside = np.linspace(a, b, 12)[1:-1]
        mean = np.mean(comparator(0.5 * (inside[1:] + inside[:-1])))
        np.testing.assert_allclose(threshold.slope(inside), mean, rtol=1e-9, atol=1e-12)


def test_tables_follow_the_smooth_prior(model):
    """Errors of the tables: 0.025 of the gate, 0.05 of a width of the code, and what the sign's four knots give."""
    threshold, comparator, sign, stiffness = tables_of(model)
    prior, u = model.prior, np.linspace(-5, 5, 4001)
    if sign is None:
        np.testing.assert_allclose(stiffness * u, prior.cost_grad(u))
        return
    if threshold is not None:
        np.testing.assert_allclose(threshold(u), prior.latent(u, WIDTH), rtol=0, atol=0.05 * WIDTH)
        np.testing.assert_allclose(comparator(u), prior.latent_grad(u, WIDTH), rtol=0, atol=0.025)
    if not prior.conditionals:  # the smooth ones have a bound of their own, and more in test_cost_priors
        force = prior.cost_grad(u, WIDTH)
        np.testing.assert_allclose(sign(u), force, rtol=0, atol=0.0035 * np.abs(force).max())
        return
    # max of tanh(y) - y/1.8 is .223; beyond 1.8 widths 1 - tanh is .053
    error = np.abs(sign(u) - prior.cost_grad(u, WIDTH)) / prior.lam
    assert error.max() < 0.224
    assert error[np.abs(u) > 1.8 * WIDTH].max() < 0.054
    np.testing.assert_allclose(sign(u), -sign(-u), atol=1e-12)


@pytest.mark.parametrize("width", [0.05, 0.001])
def test_comparators_stay_saturated_however_large_the_state(model, width):
    """A slope left over from the last knots would grow with u/w: 5 % too much gate at u = 6, w = 0.01."""
    threshold, comparator, _, _ = tables_of(model, width)
    if threshold is None:
        return
    u = np.array([-1000.0, -6.0, 6.0, 1000.0])
    np.testing.assert_allclose(comparator(u), model.prior.latent_grad(u), rtol=1e-12)
    np.testing.assert_allclose(threshold(u), model.prior.latent(u), atol=0.02 * width)


def test_tables_are_symmetric_where_the_prior_is(model):
    threshold, comparator, _, _ = tables_of(model)
    if threshold is None:
        return
    parity = -1 if model.prior.signed else 1
    u = np.linspace(0, 6, 601)
    np.testing.assert_allclose(threshold(-u), parity * threshold(u), atol=1e-9)
    np.testing.assert_allclose(comparator(-u), -parity * comparator(u), atol=1e-9)


def test_table_goes_on_along_its_last_segments():
    table = Table(np.array([-1.0, 0.0, 2.0]), np.array([0.0, 3.0, 2.0]))
    np.testing.assert_allclose(table(np.array([-3.0, -1.0, 0.0, 1.0, 2.0, 4.0])), [-6.0, 0.0, 3.0, 2.5, 2.0, 1.0])
    np.testing.assert_allclose(table.slope(np.array([-3.0, -0.5, 0.0, 4.0])), [3.0, 3.0, -0.5, -0.5])


def test_table_in_spice_has_plain_numbers():
    table = Table(np.array([-1.0, 2.0]), np.array([0.0, 3.0]))
    assert table.spice("u", 0.1, 1e-7) == f"pwl(V(u),-0.1,0.0,0.2,{3e-7!r})"


@pytest.mark.parametrize("centres", [[0.0], [-1.2, 1.2], [-0.01, 0.01], [-0.3, 0.3]])
def test_knots_increase_crowd_and_do_not_repeat(centres):
    knots = crowded_knots(np.array(centres), 0.05, per_side=8)
    gaps = np.diff(knots)
    assert (gaps > 0).all()
    assert gaps.min() > 0.05 * 0.1
    for centre in centres:
        assert np.abs(knots - centre).min() < 0.05 / 3
    assert knots[0] == pytest.approx(min(centres) - 0.6)
    assert knots[-1] == pytest.approx(max(centres) + 0.6)


# --- partial derivatives, and refusals ---


def test_partials_are_the_slopes(model, x):
    graph = lsc(model, x, form="residual", width=WIDTH)
    rng = np.random.default_rng(3)
    for cell in graph.cells:
        inputs = {p: rng.uniform(-2, 2, c.size) for p, c in graph.inputs(cell).items()}
        if isinstance(cell, Integrator):
            continue
        partials = cell.partials(inputs)
        assert set(partials) == set(inputs)
        for port, partial in partials.items():
            jacobian = np.diag(partial) if partial.ndim == 1 else partial
            for k in range(inputs[port].size):
                d = 1e-7 * np.eye(inputs[port].size)[k]
                up, down = (cell.evaluate({**inputs, port: inputs[port] + sign * d}) for sign in (1, -1))
                np.testing.assert_allclose(jacobian[:, k], (up - down) / 2e-7, rtol=1e-6, atol=1e-6)


def test_noise_of_unknown_kind_is_refused():
    with pytest.raises(InputError, match=r"^noise = 'pink' is not one of external, trrandom\.$"):
        Noise("noise", 2, temperature=1.0, form="pink")


def test_trnoise_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"^noise = 'trnoise' is refused: ngspice seeds it from the process id, .*\.$"):
        Noise("noise", 2, temperature=1.0, form="trnoise")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_no_deck_can_hold(value):
    with pytest.raises(ValueError, match=r"^(nan|inf) cannot be written into a netlist$"):
        number(value)
    assert repr(number(np.float64(0.1))) == "0.1"


def test_streams_and_devices_are_named_after_the_neuron_alone():
    small, large = (Noise("noise", n, temperature=1.0) for n in (2, 5))
    assert large.sources[:2] == small.sources
    assert large.devices()[:2] == small.devices() == ("v.xnoise_0.vn", "v.xnoise_1.vn")


def test_crossbar_leaves_out_zeros(odd_scaling):
    cell = Crossbar("c", 2, matrix=np.array([[1.0, 0.0], [0.0, -2.0]]), source="s", target="e")
    (definition,) = cell.subcircuits(odd_scaling)
    assert [e.name for e in definition.elements] == ["G0_0", "G1_1"]
    unit = odd_scaling.volt_e / odd_scaling.volt / odd_scaling.r_node
    np.testing.assert_allclose(np.diag(cell.conductances(odd_scaling)), [unit, -2 * unit])


def test_without_noise_cell_parameters_there_is_nothing_left_to_chance(bars_model, bars_x):
    """Two graphs of one model give the same subcircuits, character for character."""
    texts = []
    for _ in range(2):
        graph = lsc(SparseCodingModel(bars_model.A, bars_model.prior, 0.5), bars_x, width=0.05)
        texts.append(str(cell_named(graph, "gate").comparator.spice("u", 0.1, 1.0)))
    assert texts[0] == texts[1]
