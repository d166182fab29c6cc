"""The signal-flow graph and its NumPy twin: the drift is -grad E_w, and graphs that cannot be are refused."""

import re

import numpy as np
import pytest

from circuitlsc import Gaussian, InputError, NetlistError, SparseCodingModel, SpikeSlab
from circuitlsc.circuit.cells import Crossbar, Gradient, Input, Integrator, Noise
from circuitlsc.circuit.graph import SHADOWS, SignalFlowGraph, Twin
from circuitlsc.circuit.systems import lsc

WIDTH = 0.05


def twin_of(model, x, form="gram"):
    return Twin(lsc(model, x, form=form, width=WIDTH))


def states(model, n=200):
    reach = model.prior.threshold + 3
    return np.random.default_rng(11).uniform(-reach, reach, (n, model.n_latents))


def test_drift_is_the_negative_gradient_away_from_the_corners(model, x, form):
    """12 widths off every corner the tables are exact to 1e-5: there the drift is -grad E_w, whatever the cells."""
    u0 = model.prior.threshold
    u = states(model, 4000)
    u = u[np.min(np.abs(u[..., None] - np.array([0.0, u0, -u0])), axis=(1, 2)) > 12 * WIDTH]
    assert len(u) > 50
    expected = -model.energy_grad(u, x, WIDTH)
    # 0.012 w is the largest constant error of a code's table (signed, corners 12 w apart)
    slack = 0.012 * WIDTH * np.abs(model.gram).sum(axis=1).max() + 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(twin_of(model, x, form).drift(u), expected, rtol=0, atol=slack)


def cost_error(prior):
    """What a prior's table may err: much at the corner of abs(u), little for a smooth cost."""
    if not prior.conditionals:
        return 0.0035 * np.abs(prior.cost_grad(np.linspace(-5, 5, 1001))).max()
    return 0.224 * prior.lam


def test_drift_is_the_negative_gradient_within_the_tables_errors(model, x, form):
    """Anywhere: what the three tables may err (see test_cells) times what they are multiplied with."""
    u = states(model)
    gate = np.abs(model.prior.latent_grad(u, WIDTH))
    e = (model.latent(u, WIDTH) @ model.A.T - model.check_x(x)) @ model.A / model.sigma**2
    code_error = 0.0 if model.prior.kind == "gaussian" else 0.05 * WIDTH * np.abs(model.gram).sum(axis=1)
    gate_error, sign_error = (0.0, 0.0) if model.prior.kind == "gaussian" else (0.025, cost_error(model.prior))
    bound = gate_error * (np.abs(e) + code_error) + gate * code_error + sign_error
    error = np.abs(twin_of(model, x, form).drift(u) + model.energy_grad(u, x, WIDTH))
    assert (error <= bound + 1e-9 * np.abs(e)).all()


def test_a_flipped_sign_would_be_seen(model, x):
    """Negative control of the two tests above: the paper's eq. (3.9) as printed (no sign(u), no 1/sigma^2)."""
    u = states(model)
    error = np.abs(twin_of(model, x).drift(u) + model.energy_grad(u, x, WIDTH))
    printed = (model.latent(u) @ model.A.T - model.check_x(x)) @ model.A + model.prior.cost_grad(u)
    assert np.abs(printed - model.energy_grad(u, x, WIDTH)).max() > 10 * error.max()


def test_both_forms_have_the_same_drift(model, x):
    u = states(model)
    gram, residual = (twin_of(model, x, form).drift(u) for form in ("gram", "residual"))
    np.testing.assert_allclose(gram, residual, rtol=1e-12, atol=1e-12 * np.abs(gram).max())


def test_jacobian_is_that_of_the_drift(model, x, form):
    """Central differences are exact within a segment; states whose 1e-6 neighbourhood holds a knot are left out."""
    twin, u, d = twin_of(model, x, form), states(model), 1e-6
    drift, jacobian = twin.linearise(u)
    np.testing.assert_allclose(drift, twin.drift(u), rtol=1e-14)
    cells = model.prior.cells(WIDTH, reach=30.0)
    tables = [t for t in (cells.threshold, cells.comparator, cells.prior) if t is not None]
    knots = np.concatenate([np.zeros(0), *(t.knots for t in tables)])
    near = np.min(np.abs(u[..., None] - knots), axis=(1, 2)) < 10 * d if knots.size else np.zeros(len(u), bool)
    assert near.mean() < 0.1
    numeric = np.stack(
        [(twin.drift(u + step) - twin.drift(u - step)) / (2 * d) for step in d * np.eye(model.n_latents)], axis=-1
    )
    scale = np.abs(jacobian).max()
    np.testing.assert_allclose(jacobian[~near], numeric[~near], rtol=1e-6, atol=1e-8 * scale)


def test_one_state_and_many_states_agree(model, x, form):
    twin, u = twin_of(model, x, form), states(model, 7)
    drift, jacobian = twin.linearise(u)
    for k in range(7):
        one, slope = twin.linearise(u[k])
        np.testing.assert_allclose(one, drift[k], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(slope, jacobian[k], rtol=1e-13, atol=1e-13)


def test_signals_are_named_after_the_cells(model, x):
    u = states(model, 3)
    signals = twin_of(model, x, "residual").signals(u)
    r = signals["residual"]
    np.testing.assert_allclose(signals["gradient"], r @ model.A / model.sigma**2, rtol=1e-12, atol=1e-12)
    code = signals.get("threshold", u)
    np.testing.assert_allclose(r, code @ model.A.T - x, rtol=1e-12, atol=1e-12)


def test_the_graph_has_about_ten_cells_whatever_the_size():
    small, large = (
        lsc(SparseCodingModel(np.eye(n), SpikeSlab(0.3, 1.0), 0.5), np.zeros(n), form="residual", width=0.05)
        for n in (2, 40)
    )
    assert [c.name for c in small.cells] == [c.name for c in large.cells]
    assert len(small.cells) <= 10


def test_temperature_is_that_of_the_noise_cell():
    graph = lsc(SparseCodingModel(np.eye(2), Gaussian(1.0), 0.5), np.zeros(2), width=0.05, temperature=2.5)
    assert Twin(graph).temperature == 2.5


# --- graphs that cannot be ---


@pytest.fixture
def graph():
    return SignalFlowGraph()


def crossbar(name="weights", target="e"):
    return Crossbar(name, 2, matrix=np.eye(2), source="u", target=target)


def refused(message, error=NetlistError):
    return pytest.raises(error, match=rf"^{re.escape(message)}$")


def test_names_are_unique(graph):
    graph.add(Gradient("sum", 2))
    with refused("two cells are called 'sum'; names must be unique in a graph."):
        graph.add(Gradient("sum", 2))


def test_unknown_port(graph):
    source, target = graph.add(crossbar()), graph.add(Gradient("sum", 2))
    with refused("cell 'sum' has no port 'v'; it has crossbar, input, other."):
        graph.wire(source, target, "v")


def test_port_of_a_cell_without_any(graph):
    source, target = graph.add(crossbar()), graph.add(Noise("noise", 2, temperature=1.0))
    with refused("cell 'noise' has no port 'v'; it has none."):
        graph.wire(source, target, "v")


def test_one_port_takes_one_wire(graph):
    target = graph.add(Gradient("sum", 2))
    graph.wire(graph.add(crossbar("one")), target, "crossbar")
    two = graph.add(crossbar("two"))
    with refused("port 'crossbar' of cell 'sum' is fed by 'one' already; 'two' cannot feed it too."):
        graph.wire(two, target, "crossbar")


def test_two_wires_between_the_same_cells(graph):
    source, target = graph.add(crossbar()), graph.add(Gradient("sum", 2))
    graph.wire(source, target, "crossbar")
    with refused("cell 'weights' feeds cell 'sum' already (port 'crossbar'); put a cell in between."):
        graph.wire(source, target, "input")


def test_wire_to_a_cell_of_another_graph(graph):
    target = graph.add(Gradient("sum", 2))
    with refused("cell 'weights' is not in this graph. Add it first."):
        graph.wire(crossbar(), target, "crossbar")


def test_a_current_flows_into_one_cell(graph):
    source = graph.add(crossbar())
    for name in ("one", "two"):
        graph.wire(source, graph.add(Gradient(name, 2, symbol=f"e{name}")), "crossbar")
    with refused(
        "the currents of cell 'weights' go to 2 cells, but a current flows into one. Put a summing node in between."
    ):
        graph.wires(source)


def test_a_current_flows_somewhere(graph):
    constant = graph.add(Input("bias", 2, value=np.ones(2), target="e"))
    with refused(
        "the currents of cell 'bias' go to 0 cells, but a current flows into one. Put a summing node in between."
    ):
        graph.wires(constant)


def test_vectors_of_states_have_letters(graph):
    with refused("the graph holds no vector of neurons u, but one is needed."):
        _ = graph.neurons
    assert graph.noise is None
    second = graph.add(Integrator("two", 3, start=np.zeros(3), symbol="v"))
    with refused("the graph holds no vector of neurons u, but one is needed."):
        _ = graph.neurons
    first = graph.add(Integrator("one", 2, start=np.zeros(2)))
    assert graph.integrators == (first, second)
    assert (first.nodes, second.nodes) == (("u_0", "u_1"), ("v_0", "v_1", "v_2"))
    assert not set(first.port_nodes("noise")) & set(second.port_nodes("noise"))
    with refused("cells 'one' and 'three' both call their nodes u_0 ..; give one of them another symbol."):
        graph.add(Integrator("three", 2, start=np.zeros(2)))


@pytest.mark.parametrize(
    ("first", "second", "node"), [("", "n", "n_0"), ("n", "", "n_0"), ("v", "n_v", "n_v_0"), ("v", "v", "v_0")]
)
def test_every_node_that_a_cell_names_is_taken(graph, first, second, node):
    graph.add(Integrator("one", 2, start=np.zeros(2), symbol=first))
    with refused(f"cells 'one' and 'two' both call their nodes {node} ..; give one of them another symbol."):
        graph.add(Integrator("two", 3, start=np.zeros(3), symbol=second))
    graph.add(Integrator("three", 3, start=np.zeros(3), symbol="w"))


def test_plates_on_ground_are_no_nodes(graph):
    graph.add(Integrator("one", 2, start=np.zeros(2), noisy=False))
    graph.add(Integrator("two", 2, start=np.zeros(2), symbol="n", noisy=False))


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        *((name, "cannot be used: samples call something else by it") for name in sorted(SHADOWS)),
        ("state_v", "cannot be used: samples call something else by it"),
        ("V", "has upper-case letters"),
        *((name, "is no name in a netlist") for name in ("0", "é", "a b", "v.", "1v")),
    ],
)
def test_symbols_that_are_no_names(graph, symbol, why):
    with pytest.raises(InputError, match=rf"^the symbol.* of cell 'one' .*{why}"):
        graph.add(Integrator("one", 2, start=np.zeros(2), symbol=symbol))


@pytest.mark.parametrize("name", ["", "a b", "x.y", "é", "1"])
def test_cells_have_names_that_can_stand_in_a_deck(graph, name):
    with pytest.raises(InputError, match=r"^the name of a cell = .* is no name in a netlist"):
        graph.add(Gradient(name, 2))


def test_noise_cells_have_one_temperature(graph):
    for name, temperature in (("one", 1.0), ("two", 1.0), ("three", 2.0)):
        graph.add(Noise(name, 2, temperature=temperature))
        if name == "two":
            assert len(graph.noises) == 2
            with refused("the graph holds 2 noise cells, and one is asked for. Use noises."):
                _ = graph.noise
    with pytest.raises(NetlistError, match=r"^the noise cells have several temperatures"):
        _ = graph.noises


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "lca"}, "form = 'lca' is not one of gram, residual."),
        ({"width": 0.0}, "width = 0.0, but a comparator has a finite width > 0 (model units)."),
        ({"width": np.nan}, "width = nan, but a comparator has a finite width > 0 (model units)."),
        ({"temperature": 0.0}, "temperature = 0.0, but it must be a finite number > 0."),
        ({"temperature": np.inf}, "temperature = inf, but it must be a finite number > 0."),
        ({"start": [1.0]}, "start has shape (1,), but the model has n_latents = 2. Pass shape (2,)."),
        (
            {"start": [1.0, np.nan]},
            "start[1] = nan, but every entry must be finite (1 are not). Remove NaN and inf first.",
        ),
        ({"noise": "pink"}, "noise = 'pink' is not one of external, trrandom."),
    ],
)
def test_bad_arguments_of_a_system(arguments, message):
    model = SparseCodingModel(np.eye(2), Gaussian(1.0), 0.5)
    with refused(message, InputError):
        lsc(model, np.zeros(2), **{"width": 0.05, **arguments})
