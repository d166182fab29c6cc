"""The plastic crossbar: weights, multipliers, and what each of their imperfections changes, in NumPy and in ngspice."""

import numpy as np
import pytest
from cell_bench import bench, deck, differences, jacobian

from circuitlsc.circuit.cells import (
    Backward,
    DeviceWeights,
    Forward,
    Hebbian,
    NoiseVoltage,
    RateVoltage,
    ThresholdVoltage,
    Weights,
    Wires,
)
from circuitlsc.circuit.cells.plastic import VERY_SLOW
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities

D, K, GAIN = 3, 2, 1.7
RTOL = 1e-9
ERRORS = {"gain_error": 0.2, "offset": 5e-3}


def chip(scaling, *, seed=3, corner=None, **plastic):
    return Hardware(Nonidealities({"plastic": plastic, "corner": corner or {}}, seed=seed), scaling)


MULTIPLIERS = {
    "forward": lambda hardware: Forward("forward", D, K, hardware=hardware),
    "backward": lambda hardware: Backward("backward", K, K, gain=GAIN, rows=D, hardware=hardware),
    "backward-q": lambda hardware: Backward("backward", K, K, gain=GAIN, rows=D, source="q", hardware=hardware),
    "hebbian": lambda hardware: Hebbian("hebbian", D * K, K, gain=GAIN, rows=D, hardware=hardware),
    "hebbian-q": lambda hardware: Hebbian("hebbian", D * K, K, gain=GAIN, rows=D, source="q", hardware=hardware),
}
INPUTS = {  # the letters of the nodes that are multiplied
    "forward": "as",
    "backward": "ar",
    "backward-q": "aq",
    "hebbian": "rs",
    "hebbian-q": "qs",
}
SIZES = {"a": D * K, "s": K, "r": D}


@pytest.fixture(params=MULTIPLIERS)
def kind(request):
    return request.param


def volts_of(scaling, kind):
    """Return the volts per unit of what is multiplied."""
    scale = {"a": scaling.volt, "s": scaling.volt, "r": scaling.volt_r, "q": scaling.volt_e}
    return tuple(scale[letter] for letter in INPUTS[kind])


def inputs_of(cell, seed=1, n=()):
    rng = np.random.default_rng(seed)
    return {port: rng.uniform(-2, 2, (*n, SIZES[port])) for port in cell.ports}


def exact(cell, inputs, gain, first, second):
    """Return what a multiplier cell adds up, written out entry by entry, from gains and offsets (D, K)."""
    out = np.zeros(cell.size)
    for j in range(D):
        for i in range(K):
            values = {"a": inputs.get("a", np.zeros(D * K))[j * K + i]}
            values |= {port: inputs[port][at] for port, at in (("s", i), ("r", j)) if port in inputs}
            p, q = (values[port] for port in cell.ports)
            to = {"forward": j, "backward": i, "hebbian": j * K + i}[cell.name]
            sign = -1 if cell.name == "hebbian" else 1
            out[to] += sign * gain[j, i] * (p + first[j, i]) * (q + second[j, i])
    return out


def drawn(kind, cell, hardware, scaling):
    """Return gains and offsets of the synapses from their names alone: gains with k, offsets in units of the inputs."""
    parts, part = hardware.parts, hardware.parts.plastic
    places = [(j, i) for j in range(D) for i in range(K)]
    p, q = volts_of(scaling, kind)
    k = 1.0 if cell.name == "forward" else GAIN
    gain = [k * parts.factor(f"{cell.name}_{j}_{i}", "gain", part.gain_error) for j, i in places]
    first = [parts.normal(f"{cell.name}_{j}_{i}", "first_offset", part.offset) / p for j, i in places]
    second = [parts.normal(f"{cell.name}_{j}_{i}", "second_offset", part.offset) / q for j, i in places]
    return tuple(np.reshape(v, (D, K)) for v in (gain, first, second))


# --- multipliers ---


@pytest.mark.parametrize("errors", [None, ERRORS], ids=["ideal", "device"])
def test_multipliers_are_their_equation(kind, errors, odd_scaling):
    hardware = None if errors is None else chip(odd_scaling, **errors)
    cell = MULTIPLIERS[kind](hardware)
    if hardware is None:
        gain, first, second = np.full((D, K), cell.gain), np.zeros((D, K)), np.zeros((D, K))
    else:
        gain, first, second = drawn(kind, cell, hardware, odd_scaling)
        assert min(np.abs(np.diff(v.ravel())).min() for v in (gain, first, second)) > 0, "each synapse has its own"
    inputs = inputs_of(cell)
    expected = exact(cell, inputs, gain, first, second)
    np.testing.assert_allclose(cell.evaluate(inputs), expected, rtol=1e-12)
    ideal = MULTIPLIERS[kind](None).evaluate(inputs)
    assert (np.abs(expected - ideal).max() > 0.02) == (errors is not None), "negative control"


@pytest.mark.parametrize("errors", [None, ERRORS], ids=["ideal", "device"])
def test_partials_of_multipliers_are_the_slopes(kind, errors, odd_scaling):
    """Products are bilinear: central differences are exact, however long."""
    cell = MULTIPLIERS[kind](None if errors is None else chip(odd_scaling, **errors))
    inputs = inputs_of(cell)
    assert set(cell.partials(inputs)) == set(cell.ports)
    for port in cell.ports:
        np.testing.assert_allclose(jacobian(cell, inputs, port), differences(cell, inputs, port, 0.5), atol=1e-12)


def test_multipliers_take_many_states_at_once(kind, odd_scaling):
    cell = MULTIPLIERS[kind](chip(odd_scaling, **ERRORS))
    many = inputs_of(cell, n=(4,))
    for k in range(4):
        one = {port: value[k] for port, value in many.items()}
        np.testing.assert_array_equal(cell.evaluate(many)[k], cell.evaluate(one))
        for port, partial in cell.partials(many).items():
            np.testing.assert_array_equal(partial[k], cell.partials(one)[port])


@pytest.mark.ngspice
@pytest.mark.parametrize("errors", [None, ERRORS], ids=["ideal", "device"])
def test_multipliers_in_ngspice(kind, errors, odd_scaling, solve):
    """Into short circuits: three random inputs; each node at the voltage scale of its letter."""
    cell = MULTIPLIERS[kind](None if errors is None else chip(odd_scaling, **errors))
    outputs = tuple(f"out_{i}" for i in range(cell.size))
    volts = dict(zip(cell.ports, volts_of(odd_scaling, kind), strict=True))
    nodes = {port: tuple(f"{port}{i}" for i in range(SIZES[port])) for port in cell.ports}
    jobs, expected = [], []
    for seed in range(3):
        inputs = inputs_of(cell, seed)
        circuit = bench(cell, scaling=odd_scaling, **{cell.name: Wires(nodes, outputs, outputs)})
        for port, names in nodes.items():
            for name, value in zip(names, inputs[port], strict=True):
                circuit.V(name, name, 0, float(value * volts[port]))
        for i, name in enumerate(outputs):
            circuit.V(f"m{i}", name, 0, 0.0)
        jobs.append((deck(circuit), "op"))
        expected.append(cell.evaluate(inputs))
    unit = {
        "forward": odd_scaling.volt_r / odd_scaling.r_node,
        "backward": odd_scaling.volt_e / odd_scaling.r_node,
        "hebbian": odd_scaling.drift_current,
    }[cell.name]
    got = [[answer[f"vm{i}#branch"][0] / unit for i in range(cell.size)] for answer in solve(jobs)]
    np.testing.assert_allclose(got, expected, rtol=RTOL, atol=RTOL)


def test_gain_error_is_a_factor_of_each_synapse(odd_scaling):
    """One synapse at a time: the drift of its weight over the ideal one, and no drift where there is no signal."""
    hardware = chip(odd_scaling, gain_error=0.2)
    cell, ideal = MULTIPLIERS["hebbian"](hardware), MULTIPLIERS["hebbian"](None)
    for j in range(D):
        for i in range(K):
            inputs = {"r": 1.3 * np.eye(D)[j], "s": -0.7 * np.eye(K)[i]}
            factor = hardware.parts.factor(f"hebbian_{j}_{i}", "gain", 0.2)
            np.testing.assert_allclose(cell.evaluate(inputs), factor * ideal.evaluate(inputs), rtol=1e-13)
            assert abs(factor - 1) > 1e-3, "negative control: the ideal factor would not do"
    nothing = {"r": np.zeros(D), "s": np.zeros(K)}
    assert not np.any(cell.evaluate(nothing))


@pytest.mark.parametrize("kind", ["hebbian", "hebbian-q"])
def test_offsets_move_weights_where_there_is_no_signal(kind, odd_scaling):
    """At r = s = 0 a weight drifts by -k o o'; with a signal at one input alone, by the other's offset times it."""
    hardware = chip(odd_scaling, offset=5e-3)
    cell, parts = MULTIPLIERS[kind](hardware), hardware.parts
    volts, _ = volts_of(odd_scaling, kind)
    names = [f"hebbian_{j}_{i}" for j in range(D) for i in range(K)]
    first = parts.normals(names, "first_offset", 5e-3) / volts
    second = parts.normals(names, "second_offset", 5e-3) / odd_scaling.volt
    nothing = {"r": np.zeros(D), "s": np.zeros(K)}
    np.testing.assert_allclose(cell.evaluate(nothing), -GAIN * first * second, rtol=1e-12)
    by_r = cell.evaluate(nothing | {"r": np.ones(D)}) - cell.evaluate(nothing)
    np.testing.assert_allclose(by_r, -GAIN * second, rtol=1e-12)
    assert not np.any(MULTIPLIERS[kind](None).evaluate(nothing)), "negative control: an ideal one has no drift"


@pytest.mark.parametrize(("name", "value"), [("gain_error", 0.02), ("offset", 0.02)])
def test_errors_of_synapses_have_the_given_size(name, value, odd_scaling):
    n = 1000
    cell = Forward("forward", n, 2, hardware=chip(odd_scaling, **{name: value}))
    gain, first, second = cell.errors
    moved = [gain - 1] if name == "gain_error" else [first * odd_scaling.volt, second * odd_scaling.volt]
    still = [first, second] if name == "gain_error" else [gain - 1]
    for v in moved:
        assert abs(v.mean()) < 4.5 * value / np.sqrt(2 * n)
        assert v.std() == pytest.approx(value, rel=4.5 / np.sqrt(2 * 2 * n))
    assert all(np.all(v == 0) for v in still)
    if name == "offset":
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4.5 / np.sqrt(2 * n)


# --- capacitors ---


def transient(cell, scaling, solve, drift, time, points=100):
    """Drive constant currents, in units of drift, into a cell's capacitors; return t in tau and the states."""
    circuit = bench(cell, scaling=scaling, **{cell.name: Wires({}, cell.nodes, cell.nodes)})
    for i, node in enumerate(cell.nodes):
        circuit.I(f"d{i}", 0, node, float(drift[i] * scaling.drift_current))
    end, step = time * scaling.tau, time * scaling.tau / points
    (answer,) = solve([(deck(circuit), f"tran {step!r} {end!r} 0 {step!r} uic")])
    return answer["time"] / scaling.tau, np.stack([answer[node] for node in cell.nodes], axis=1) / scaling.volt


SLOW = {"u0": ThresholdVoltage, "lam": RateVoltage, "sigma": NoiseVoltage}


@pytest.mark.ngspice
@pytest.mark.parametrize("quantity", ["a", *SLOW])
def test_slow_variable_moves_by_its_drift_over_its_capacitor(quantity, odd_scaling, solve):
    slowness = 7.0
    if quantity == "a":
        start = np.linspace(-1, 1, D * K)
        cell = Weights("weight", D * K, start, D, capacitor=slowness)
        assert cell.nodes == ("a_0_0", "a_0_1", "a_1_0", "a_1_1", "a_2_0", "a_2_1")
    else:
        start = np.array([0.9])
        cell = SLOW[quantity](quantity, 1, start, capacitor=slowness)
        assert cell.nodes == (f"{quantity}_0",)
    drift = np.linspace(2.0, -1.0, cell.size)
    t, state = transient(cell, odd_scaling, solve, drift, 5.0)
    assert t[-1] == pytest.approx(5.0)
    np.testing.assert_allclose(state, start + drift / slowness * t[:, None], atol=1e-6)
    np.testing.assert_allclose(cell.velocity(start, drift), drift / slowness)
    np.testing.assert_allclose([s.start for s in cell.states(odd_scaling)], start * odd_scaling.volt)
    assert [s.node for s in cell.states(odd_scaling)] == list(cell.nodes)


def test_slow_is_what_is_much_slower_than_a_neuron():
    slow = [RateVoltage("lam", 1, np.ones(1), capacitor=c).slow for c in (0.99 * VERY_SLOW, VERY_SLOW)]
    assert slow == [False, True]


def device_weights(scaling, slowness=5.0, corner=None, **plastic):
    start = np.linspace(-1, 2, D * K)
    return DeviceWeights(
        "weight", D * K, start, D, capacitor=slowness, hardware=chip(scaling, corner=corner, **plastic)
    )


@pytest.mark.ngspice
@pytest.mark.parametrize("corner", [None, {"resistance": 1.3, "capacitance": 0.8}], ids=["typical", "corner"])
def test_leaking_weights_decay_with_their_resistance_times_their_capacitance(corner, odd_scaling, solve):
    ohm, slowness = 4e5, 5.0
    cell = device_weights(odd_scaling, slowness, corner, leak_resistance=ohm)
    seconds = ohm * slowness * odd_scaling.c_int * (1.0 if corner is None else 1.3 * 0.8)
    t, state = transient(cell, odd_scaling, solve, np.zeros(D * K), 5.0, points=2000)
    expected = cell.start * np.exp(-t[:, None] * odd_scaling.tau / seconds)
    # the trapezoid's own error, (h/RC)^2/12 of t/RC, and the leak of 1e-9 per tau that every capacitor has
    h = 5.0 * odd_scaling.tau / 2000 / seconds
    np.testing.assert_allclose(state, expected, atol=1.5 * h**2 / 12 * 5.0 * odd_scaling.tau / seconds + 1e-7)
    assert np.abs(state[-1] / cell.start - 1).min() > 0.3
    np.testing.assert_allclose(
        cell.velocity(cell.start, np.zeros(D * K)), -cell.start * odd_scaling.tau / seconds, rtol=1e-12
    )
    kept = transient(device_weights(odd_scaling, slowness), odd_scaling, solve, np.zeros(D * K), 5.0)[1]
    np.testing.assert_allclose(
        kept[-1], cell.start, atol=1e-6, err_msg="negative control: an ideal one keeps its charge"
    )


@pytest.mark.ngspice
def test_mismatched_capacitors_learn_at_their_own_speed(odd_scaling, solve):
    """The rate of each weight over its ideal rate is C/C_ji, of mean 1 and the given spread; nothing else changes."""
    cell, ideal = device_weights(odd_scaling, capacitance_mismatch=0.2), device_weights(odd_scaling)
    drift = np.linspace(-2, -1, D * K)
    factors = cell.hardware.parts.factors(cell.nodes, "capacitance", 0.2)
    t, state = transient(cell, odd_scaling, solve, drift, 5.0)
    np.testing.assert_allclose(state, cell.start + drift / (5.0 * factors) * t[:, None], atol=1e-6)
    t, same = transient(ideal, odd_scaling, solve, drift, 5.0)
    np.testing.assert_allclose(same, cell.start + drift / 5.0 * t[:, None], atol=1e-6)
    rate = cell.velocity(cell.start, drift) / ideal.velocity(cell.start, drift)
    np.testing.assert_allclose(rate, 1 / factors, rtol=1e-12)
    assert np.abs(rate - 1).max() > 0.1, "negative control"
    np.testing.assert_array_equal(cell.velocity(cell.start, np.zeros(D * K)), 0.0)  # what is at rest stays there
    n = 2000
    many = DeviceWeights("weight", n, np.zeros(n), n, hardware=chip(odd_scaling, capacitance_mismatch=0.02))
    assert many.capacitor_factors.std() == pytest.approx(0.02, rel=4.5 / np.sqrt(2 * n))
    assert abs(many.capacitor_factors.mean() - 1) < 4.5 * 0.02 / np.sqrt(n)


def test_jacobian_of_leaking_weights_is_the_slope_of_their_velocity(odd_scaling):
    cell = device_weights(odd_scaling, leak_resistance=4e5, capacitance_mismatch=0.2)
    n = D * K
    d_drift, rng = np.random.default_rng(2).standard_normal((n, n)), np.random.default_rng(3)
    a, drift = rng.standard_normal((2, n))
    moved = [
        (cell.velocity(a + e, drift + d_drift @ e) - cell.velocity(a - e, drift - d_drift @ e)) / 2 for e in np.eye(n)
    ]
    np.testing.assert_allclose(cell.velocity_jacobian(d_drift, np.eye(n)), np.transpose(moved), atol=1e-12)
