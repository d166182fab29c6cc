"""Each device-level cell alone in ngspice against its NumPy form, with errors; comparators with hysteresis and delay."""

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.cells import (
    Buffer,
    DeviceGate,
    DeviceInput,
    DeviceIntegrator,
    DeviceThreshold,
    NegatedCode,
    NegatedResidual,
    ResistorCrossbar,
    ThermalNoise,
    Wires,
)
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.errors import NetlistError
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities

WIDTH = 0.06
RTOL = 1e-9
SIZE = 3


def chip(scaling, *, seed=3, **parts):
    return Hardware(Nonidealities(parts, seed=seed), scaling)


def bench(*cells, scaling, **wires):
    """Return a circuit that holds the given cells and nothing else; ``wires`` by cell name."""
    circuit = Circuit("cells alone")
    defined = set()
    for cell in cells:
        for definition in cell.subcircuits(scaling):
            if definition.name not in defined:
                circuit.subcircuit(definition)
                defined.add(definition.name)
    for cell in cells:
        cell.emit(circuit, wires.get(cell.name, Wires({}, cell.nodes, cell.nodes)), scaling)
    return circuit


def deck(circuit, *lines, tight=True):
    options = [".options reltol=1e-12 vntol=1e-15 abstol=1e-21"] if tight else [".options reltol=1e-6 abstol=1e-15"]
    return "\n".join([str(circuit), *options, *lines, ".end", ""])


def sweep_of(source, low, high, points=400):
    return f"dc {source} {float(low)!r} {float(high)!r} {float((high - low) / points)!r}"


def tables_of(model, width=WIDTH):
    cells = model.prior.cells(width, reach=30.0)
    return cells.threshold, cells.comparator, cells.prior, cells.stiffness


def gate_of(model, scaling, size=SIZE, width=WIDTH, **parts):
    _, comparator, prior, stiffness = tables_of(model, width)
    hardware = chip(scaling, **parts)
    return DeviceGate("gate", size, comparator=comparator, prior=prior, stiffness=stiffness, hardware=hardware)


def gate_bench(cell, scaling):
    """Return gates that share their inputs u and e, with an ammeter between each and u."""
    arms = tuple(f"arm_{i}" for i in range(cell.size))
    circuit = bench(cell, scaling=scaling, gate=Wires({"u": arms, "e": ("e_0",) * cell.size}, arms, arms))
    for i, arm in enumerate(arms):
        circuit.V(f"m{i}", arm, "u_0", 0.0)
    return circuit


def drifts(answer, cell, scaling):
    """Return the drift that each gate drives into u, shape (points, size)."""
    return np.stack([answer[f"vm{i}#branch"] for i in range(cell.size)], axis=1) / scaling.drift_current


@pytest.fixture
def reach(model):
    """How far to sweep u, in model units: beyond the tables' last knots."""
    return model.prior.threshold + 30 * WIDTH + 3


# --- static transfer functions ---


@pytest.mark.ngspice
def test_threshold(model, reach, odd_scaling, solve):
    """Each cell's table is moved by an offset of its own."""
    table = tables_of(model)[0]
    if table is None:
        return
    cell = DeviceThreshold(
        "threshold",
        SIZE,
        table=table,
        hardware=chip(odd_scaling, comparator={"threshold_offset": 5e-3, "gate_offset": 1.0}),
    )
    circuit = bench(cell, scaling=odd_scaling, threshold=Wires({"u": ("u_0",) * SIZE}, cell.nodes, cell.nodes))
    circuit.V("u", "u_0", 0, 0.0)
    (answer,) = solve([(deck(circuit), sweep_of("vu", -reach * odd_scaling.volt, reach * odd_scaling.volt))])
    u = np.repeat(answer["u_0"][:, None], SIZE, axis=1) / odd_scaling.volt
    got = np.stack([answer[node] for node in cell.nodes], axis=1) / odd_scaling.volt
    np.testing.assert_allclose(got, cell.evaluate({"u": u}), rtol=RTOL, atol=RTOL)
    shifts = cell.offset / odd_scaling.volt
    assert len(np.unique(shifts)) == SIZE
    np.testing.assert_allclose(got, table(u + shifts), rtol=RTOL, atol=RTOL)
    assert np.abs(got - table(u)).max() > 0.02, "negative control: the offsets matter"


ERRORS = {
    "none": {},
    "offset": {"comparator": {"gate_offset": 5e-3}},
    "multiplier gain": {"multiplier": {"gain_error": 0.2}},
    "multiplier offset": {"multiplier": {"offset": 5e-3}},
    "prior": {"prior": {"lam_error": -0.3, "lam_mismatch": 0.2}},
    "all": {
        "comparator": {"gate_offset": 5e-3, "threshold_offset": 1.0},
        "multiplier": {"gain_error": 0.2, "offset": 5e-3},
        "prior": {"lam_error": -0.3, "lam_mismatch": 0.2},
    },
}


@pytest.mark.ngspice
@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("errors", ERRORS.values(), ids=list(ERRORS))
def test_gate(model, errors, delayed, reach, odd_scaling, solve):
    """Both inputs swept; a delay changes nothing at rest."""
    ideal = gate_of(model, odd_scaling)
    if delayed:
        errors = {**errors, "comparator": {**errors.get("comparator", {}), "delay": 1e-8}}
    cell = gate_of(model, odd_scaling, **errors)
    circuit = gate_bench(cell, odd_scaling)
    circuit.V("u", "u_0", 0, 0.0)
    circuit.V("e", "e_0", 0, 0.0)
    e = 20.0 * odd_scaling.volt_e
    sweeps = sweep_of("vu", -reach * odd_scaling.volt, reach * odd_scaling.volt, 150), sweep_of("ve", -e, e, 4)
    (answer,) = solve([(deck(circuit), " ".join([sweeps[0], sweeps[1].removeprefix("dc ")]))])
    u = np.repeat(answer["u_0"][:, None], SIZE, axis=1) / odd_scaling.volt
    e = np.repeat(answer["e_0"][:, None], SIZE, axis=1) / odd_scaling.volt_e
    assert len(np.unique(np.round(e, 6))) == 5
    got = drifts(answer, cell, odd_scaling)
    np.testing.assert_allclose(got, cell.evaluate({"u": u, "e": e}), rtol=RTOL, atol=RTOL)
    matters = bool(set(errors) - ({"comparator"} if model.prior.signed and not model.prior.sparse else set()))
    difference = np.abs(got - ideal.evaluate({"u": u, "e": e}))
    if "multiplier" in errors or "prior" in errors:
        assert matters
        assert difference.max() > 0.01
        assert np.abs(np.diff(got, axis=1)).max() > 0.01, "each gate has errors of its own"


def test_gate_is_its_equation(model, odd_scaling):
    """-[gain g(u + o) (e + delta) + prior c'(u)], with what `draws` returns in volts and factors."""
    _, comparator, prior, stiffness = tables_of(model)
    cell = gate_of(model, odd_scaling, **ERRORS["all"])
    offset, gain, shift, factor = cell.draws
    u, e = np.random.default_rng(1).uniform(-2, 2, (2, 40, SIZE))
    gate = 1.0 if comparator is None else comparator(u + offset / odd_scaling.volt)
    pull = prior(u) if prior is not None else stiffness * u
    expected = -(gain * gate * (e + shift / odd_scaling.volt_e) + factor * pull)
    np.testing.assert_allclose(cell.evaluate({"u": u, "e": e}), expected, rtol=1e-12)
    common = gate_of(model, odd_scaling, prior={"lam_error": -0.3})
    assert common.draws[3] == pytest.approx(0.7)


DRAWN = {  # what a parameter of this sd makes of 2000 elements: values of that sd in SI units, or factors around 1
    "comparator.threshold_offset": lambda h, n: DeviceThreshold("t", n, table=None, hardware=h).offset,
    "comparator.gate_offset": lambda h, n: DeviceGate("g", n, None, None, hardware=h).draws[0],
    "multiplier.gain_error": lambda h, n: DeviceGate("g", n, None, None, hardware=h).draws[1] - 1,
    "multiplier.offset": lambda h, n: DeviceGate("g", n, None, None, hardware=h).draws[2],
    "prior.lam_mismatch": lambda h, n: DeviceGate("g", n, None, None, hardware=h).draws[3] - 1,
    "integrator.offset_current": lambda h, n: (
        DeviceIntegrator("i", n, start=np.zeros(n), hardware=h).offset * h.scaling.drift_current
    ),
    "integrator.capacitance_mismatch": lambda h, n: (
        DeviceIntegrator("i", n, start=np.zeros(n), hardware=h).capacitor_factors - 1
    ),
    "noise.temperature_mismatch": lambda h, n: (
        ThermalNoise("n", n, 1.0, "external", hardware=h, capacitors=np.ones(n)).power - 1
    ),
    "noise.offset": lambda h, n: ThermalNoise("n", n, 1.0, "external", hardware=h, capacitors=np.ones(n)).offsets,
    "op_amp.offset": lambda h, n: Buffer("b", n, hardware=h).evaluate({"u": np.zeros(n)}) * h.scaling.volt,
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_have_the_given_size(name, odd_scaling):
    part, parameter = name.split(".")
    sd, n = 0.02, 2000
    drawn = DRAWN[name](chip(odd_scaling, **{part: {parameter: sd}}), n)
    assert drawn.shape == (n,)
    assert abs(drawn.mean()) < 4.5 * sd / np.sqrt(n)
    assert drawn.std() == pytest.approx(sd, rel=4.5 / np.sqrt(2 * n))
    assert np.all(DRAWN[name](chip(odd_scaling), n) == 0)


@pytest.mark.parametrize("name", ["threshold", "gate"])
def test_partials_are_the_slopes(model, name, odd_scaling):
    rng = np.random.default_rng(3)
    if name == "gate":
        cell, ports = gate_of(model, odd_scaling, **ERRORS["all"]), ("u", "e")
    elif (table := tables_of(model)[0]) is not None:
        hardware = chip(odd_scaling, comparator={"threshold_offset": 5e-3})
        cell, ports = DeviceThreshold("threshold", SIZE, table=table, hardware=hardware), ("u",)
    else:
        return
    for _ in range(20):
        inputs = {port: rng.uniform(-2, 2, SIZE) for port in ports}
        for port, partial in cell.partials(inputs).items():
            up, down = (cell.evaluate({**inputs, port: inputs[port] + d}) for d in (1e-8, -1e-8))
            np.testing.assert_allclose(partial, (up - down) / 2e-8, rtol=1e-5, atol=1e-5)


AMPLIFIERS = {
    "ideal": {},
    "gain": {"gain": 40.0},
    "offset": {"offset": 5e-3},
    "both": {"gain": 40.0, "offset": 5e-3},
    "both, and a pole, and rails": {"gain": 40.0, "offset": 5e-3, "gbw": 1e7, "rail": 100.0, "slew_rate": 1e9},
    "loaded": {"gain": 40.0, "output_resistance": 2e3},
}


@pytest.mark.ngspice
@pytest.mark.parametrize("part", AMPLIFIERS.values(), ids=list(AMPLIFIERS))
@pytest.mark.parametrize(("kind", "source"), [(NegatedCode, "s"), (NegatedResidual, "r"), (Buffer, "u")])
def test_inverters_and_buffer(kind, source, part, odd_scaling, solve):
    hardware = chip(odd_scaling, op_amp=part)
    cell = (
        kind("amp", SIZE, hardware=hardware) if kind is Buffer else kind("amp", SIZE, source=source, hardware=hardware)
    )
    (port,) = cell.ports
    circuit = bench(cell, scaling=odd_scaling, amp=Wires({port: ("a",) * SIZE}, cell.nodes, cell.nodes))
    circuit.V("a", "a", 0, 0.0)
    unit = odd_scaling.volts(source)
    (answer,) = solve([(deck(circuit), sweep_of("va", -5 * unit, 5 * unit, 40))])
    v = np.repeat(answer["a"][:, None], SIZE, axis=1) / unit
    got = np.stack([answer[node] for node in cell.nodes], axis=1) / odd_scaling.volts(cell.quantity)
    if "output_resistance" in part and kind is not Buffer:  # the feedback resistor loads the output
        loaded = 1 / (1 + 2e3 * hardware.parts.crossbar.g_on / 2)
        assert np.abs(got + v / (1 + 2 / (40.0 * loaded))).max() < 0.1 * np.abs(got + v).max()
        np.testing.assert_allclose(got, cell.evaluate({port: v}), rtol=2e-3, atol=RTOL)
        return
    # limits come with a table for the input stage, whose slope is right to six digits
    rtol = 1e-8 if "rail" not in part else 1e-6
    np.testing.assert_allclose(got, cell.evaluate({port: v}), rtol=rtol, atol=rtol)
    sign = 1 if kind is Buffer else -1
    assert (np.abs(got - sign * v).max() > 0.02) == bool(part), "negative control"
    np.testing.assert_allclose(cell.partials({port: v[0]})[port], (got[-1] - got[0]) / (v[-1] - v[0]), rtol=1e-6)
    assert (len(np.unique(got[0])) == SIZE) == ("offset" in part), "each has an offset of its own"


@pytest.mark.ngspice
@pytest.mark.parametrize("quantity", ["e", "r"])
def test_input(quantity, odd_scaling, solve):
    """A voltage behind a resistor: what it drives into a virtual ground, and what that sees."""
    hardware = chip(odd_scaling, crossbar={"g_on": 3e-5, "g_off": 1e-6}, corner={"resistance": 1.3})
    crossbar = ResistorCrossbar("weights", SIZE, matrix=2.5 * np.eye(SIZE), hardware=hardware)
    value = np.array([0.7, -1.1, 2.0])
    cell = DeviceInput("bias", SIZE, value=value, target=quantity, crossbar=crossbar, source="s")
    grounds = tuple(f"v_{i}" for i in range(SIZE))
    circuit = bench(cell, scaling=odd_scaling, bias=Wires({}, grounds, grounds))
    held = np.array([0.0, 0.01, -0.02])
    for i in range(SIZE):
        circuit.V(f"m{i}", grounds[i], 0, float(held[i]))
    (answer,) = solve([(deck(circuit), "op")])
    got = np.array([answer[f"vm{i}#branch"][0] for i in range(SIZE)])
    volts = odd_scaling.volts(quantity)
    r_x = 1.3 * 2.5 * volts / odd_scaling.volt / (3e-5 - 1e-6)
    np.testing.assert_allclose(got, (-cell.evaluate({}) * volts - held) / r_x, rtol=RTOL)
    np.testing.assert_allclose(cell.evaluate({}), value)


# --- the integrator ---

INTEGRATORS = {
    "leak": {"output_resistance": 2e7},
    "offset": {"offset_current": 1e-7},
    "rail": {"rail": 0.2},
    "all": {"output_resistance": 2e7, "offset_current": 1e-7, "rail": 0.2, "capacitance_mismatch": 0.2},
}


def clamp(u, rail, scaling):
    """Return the drift that rails take from a state u (model units): 0 up to 97 % of them, then ever steeper."""
    v = np.abs(u) * scaling.volt / rail
    knots, slopes = [0.97, 1.0, 1.03], [100.0, 1000.0, 1000.0]
    taken = sum(s * np.clip(v - a, 0, b - a) for a, b, s in zip(knots, [*knots[1:], np.inf], slopes, strict=True))
    return np.sign(u) * taken * rail / scaling.volt


@pytest.mark.ngspice
@pytest.mark.parametrize("part", INTEGRATORS.values(), ids=list(INTEGRATORS))
@pytest.mark.parametrize("corner", [{}, {"resistance": 1.3, "capacitance": 0.8, "supply": 0.9}], ids=str)
def test_integrator_loads(part, corner, odd_scaling, solve):
    """The currents that a neuron at a fixed voltage takes: leak, offset and clamp."""
    hardware = chip(odd_scaling, integrator=part, corner=corner)
    cell = DeviceIntegrator("neuron", SIZE, start=np.zeros(SIZE), hardware=hardware)
    circuit = bench(cell, scaling=odd_scaling)
    circuit.V("u", "u", 0, 0.0)
    for i in range(SIZE):
        circuit.V(f"m{i}", f"u_{i}", "u", 0.0)
        circuit.V(f"n{i}", f"n_{i}", 0, 0.0)
    (answer,) = solve([(deck(circuit), sweep_of("vu", -0.25, 0.25, 500))])
    u = np.repeat(answer["u"][:, None], SIZE, axis=1) / odd_scaling.volt
    drift = drifts(answer, cell, odd_scaling)
    rail = part.get("rail", np.inf) * corner.get("supply", 1.0)
    expected = cell.velocity(u, np.zeros_like(u)) * cell.capacitor_factors
    if np.isfinite(rail):
        assert (np.abs(u * odd_scaling.volt) > 1.05 * rail).any()
        expected = expected - clamp(u, rail, odd_scaling)
    np.testing.assert_allclose(drift, expected, rtol=1e-8, atol=1e-7)
    kappa = odd_scaling.tau / (2e7 * corner.get("resistance", 1.0) * odd_scaling.c_int)
    at = np.abs(u[:, 0]) < 0.5
    slope = np.polyfit(u[at, 0], drift[at, 0], 1)
    assert slope[0] == pytest.approx(-kappa if "output_resistance" in part else 0.0, abs=1e-6)
    assert (abs(slope[1]) > 1e-2) == ("offset_current" in part)
    assert (len(np.unique(np.round(drift[250], 9))) == SIZE) == ("offset_current" in part)


@pytest.mark.ngspice
def test_integrator_moves_at_its_velocity(odd_scaling, solve):
    """Each capacitor its own: from their starts along exponentials to where drift, leak and offset cancel."""
    part = {"output_resistance": 2e6, "offset_current": 3e-8, "capacitance_mismatch": 0.3}
    hardware = chip(odd_scaling, integrator=part, corner={"capacitance": 1.2})
    start, drift = np.array([0.3, -1.1, 0.0]), np.array([-0.7, 2.0, 0.4])
    cell = DeviceIntegrator("neuron", SIZE, start=start, hardware=hardware)
    circuit = bench(cell, scaling=odd_scaling)
    for i in range(SIZE):
        circuit.V(f"n{i}", f"n_{i}", 0, 0.0)
        circuit.I(f"d{i}", 0, f"u_{i}", float(drift[i] * odd_scaling.drift_current))
    tau = odd_scaling.tau
    (answer,) = solve([(deck(circuit), f"tran {0.002 * tau!r} {tau!r} 0 {0.002 * tau!r} uic")])
    t = answer["time"] / tau
    assert t[-1] == pytest.approx(1)
    rate = cell.leak_rate / cell.capacitor_factors
    assert rate.min() > 0.1
    assert np.ptp(cell.capacitor_factors) > 0.1
    final = start + cell.velocity(start, drift) / rate
    for i in range(SIZE):
        expected = final[i] + (start[i] - final[i]) * np.exp(-rate[i] * t)
        np.testing.assert_allclose(answer[f"u_{i}"] / odd_scaling.volt, expected, atol=2e-5)
        assert cell.states(odd_scaling)[i].capacitor == f"c.xneuron_{i}.cint"
    jacobian = cell.velocity_jacobian(np.zeros((SIZE, SIZE)), np.eye(SIZE))
    np.testing.assert_allclose(jacobian, -np.diag(rate), rtol=1e-12)


# --- noise that all neurons share, and two noise cells ---


@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_one_noise_cell_alone_has_the_supply(odd_scaling, correlation):
    hardware, graph = chip(odd_scaling, noise={"supply_correlation": correlation}), SignalFlowGraph()
    one, two = (
        ThermalNoise(name, SIZE, 1.7, "external", hardware=hardware, capacitors=np.ones(SIZE))
        for name in ("one", "two")
    )
    graph.add(one)
    if not correlation:
        graph.add(two)
        return
    with pytest.raises(
        NetlistError,
        match=r"^cells 'one' and 'two' both call their nodes noise_supply \.\.; noise\.supply_correlation must be 0 here\.$",
    ):
        graph.add(two)


# --- the noise amplifier's offset ---


@pytest.mark.ngspice
@pytest.mark.parametrize("capacitance", [0.0, 1e-14])
@pytest.mark.parametrize("flicker", [0.0, 1e4])
@pytest.mark.parametrize("coupled", ["DC", "AC"])
def test_offset_of_the_noise_amplifier(capacitance, flicker, coupled, odd_scaling, solve):
    """It is a drift, unless a capacitor is in its way."""
    noise = {"offset": 1e-5, "capacitance": capacitance, "flicker_corner": flicker}
    hardware = chip(odd_scaling, noise={**noise, "ac_corner": 1e3 * (coupled == "AC")})
    cell = ThermalNoise("noise", SIZE, 1.7, "trrandom", hardware=hardware, capacitors=np.ones(SIZE))
    lower, upper = tuple(f"n_{i}" for i in range(SIZE)), tuple(f"u_{i}" for i in range(SIZE))
    circuit = bench(cell, scaling=odd_scaling, noise=Wires({}, lower, upper))
    circuit.parameter("t_hold", repr(0.01 * odd_scaling.tau))
    circuit.parameter("i_rms", "0")
    for i in range(SIZE):
        circuit.R(f"n{i}", lower[i], 0, 1.0)
        circuit.V(f"m{i}", upper[i], 0, 0.0)
    (answer,) = solve([(deck(circuit), "op")])
    got = drifts(answer, cell, odd_scaling)[0]
    np.testing.assert_allclose(got, cell.evaluate({}), rtol=1e-8, atol=1e-9)
    drift = hardware.noise_gain(1.7) * cell.offsets / odd_scaling.drift_current
    assert np.abs(drift).min() > 1e-3
    np.testing.assert_allclose(got, drift if coupled == "DC" else 0.0, rtol=1e-8, atol=1e-9)


# --- comparators with hysteresis and delay ---


def triangle(cell, scaling, solve, low, high, ramp):
    """Sweep u up and down once, each in ``ramp`` seconds; return u and the gate's signal, rising and falling."""
    circuit = gate_bench(cell, scaling)
    circuit.V("e", "e_0", 0, 0.0)
    a, b = float(low * scaling.volt), float(high * scaling.volt)
    source = f"vu u_0 0 pwl(0 {a!r} {ramp!r} {b!r} {2 * ramp!r} {a!r})"
    job = (deck(circuit, source, tight=False), f"tran {ramp / 4000!r} {2 * ramp!r} 0 {ramp / 4000!r}")
    (answer,) = solve([job])
    u, g = answer["u_0"] / scaling.volt, answer["xgate_0.g"]
    top = int(np.argmax(u))
    return (u[: top + 1], g[: top + 1]), (u[top:], g[top:])


def switching(u, g, single):
    """Return where the gate's signal passes half its way: abs(g) = 1/2, or 0 for a gate from -1 to 1."""
    signal = g if single else np.abs(g) - 0.5
    k = np.flatnonzero(signal[1:] * signal[:-1] < 0)
    return u[k] - signal[k] * (u[k + 1] - u[k]) / (signal[k + 1] - signal[k])


HYSTERESIS = [
    (5e-4, 0.4, 0.0),
    (1e-3, 0.4, 0.1),
    (0.01, 0.4, 0.1),
    (0.03, 0.2, 0.0),
    (0.06, 0.06, 0.0),
]  # width, hysteresis, offset's sd


@pytest.mark.ngspice
@pytest.mark.parametrize(("width", "hysteresis", "offset"), HYSTERESIS)
def test_hysteresis(model, width, hysteresis, offset, odd_scaling, solve):
    """Up and down slowly: the gate switches ``hysteresis`` apart, around u0 and -u0, or around 0 if it has one threshold."""
    volt, tau = odd_scaling.volt, odd_scaling.tau
    part = {"hysteresis": hysteresis * volt, "gate_offset": offset * volt, "regeneration": 1e-3 * tau}
    cell = gate_of(model, odd_scaling, size=1, width=width, comparator=part)
    if cell.comparator is None:
        assert cell.lag == 0
        return
    single, u0 = not model.prior.sparse, model.prior.threshold
    shift = -chip(odd_scaling, comparator=part).parts.normal("gate_0", "offset", offset)
    assert (shift != 0) == (offset > 0)
    rising, falling = triangle(cell, odd_scaling, solve, -u0 - 0.7, u0 + 0.7, 100 * tau)
    up, down = switching(*rising, single), switching(*falling, single)
    centres = np.array([0.0] if single else [-u0, u0])
    np.testing.assert_allclose(up - down[::-1], hysteresis, rtol=0.05)
    np.testing.assert_allclose(up, centres + hysteresis / 2 + shift, atol=0.025 * hysteresis)
    np.testing.assert_allclose(down[::-1], centres - hysteresis / 2 + shift, atol=0.025 * hysteresis)


@pytest.mark.ngspice
def test_without_hysteresis_both_ways_are_one(model, odd_scaling, solve):
    """Negative control: a delayed gate, swept as slowly."""
    tau = odd_scaling.tau
    cell = gate_of(model, odd_scaling, size=1, width=1e-3, comparator={"delay": 1e-3 * tau})
    if cell.comparator is None:
        return
    single, u0 = not model.prior.sparse, model.prior.threshold
    ways = triangle(cell, odd_scaling, solve, -u0 - 0.7, u0 + 0.7, 100 * tau)
    up, down = (switching(*way, single) for way in ways)
    np.testing.assert_allclose(up, [0.0] if single else [-u0, u0], atol=2e-3)
    np.testing.assert_allclose(down[::-1], up, atol=2e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("size", [0.5, 1.0])
def test_delay_is_a_first_order_lag(model, size, odd_scaling, solve):
    """The gate opens along 1 - exp(-t/delay) after u has jumped; the prior's current jumps with u."""
    delay, e = 3e-8, 4.0
    part = {"delay": delay, "hysteresis": 0.0, "gate_offset": 2e-3}
    cell = gate_of(model, odd_scaling, size=1, comparator=part, multiplier={"gain_error": 0.2, "offset": 1e-3})
    circuit = gate_bench(cell, odd_scaling)
    circuit.V("e", "e_0", 0, e * odd_scaling.volt_e)
    low, high = -0.3, model.prior.threshold + size
    before, jump = 0.5 * delay, 1e-3 * delay
    a, b = low * odd_scaling.volt, high * odd_scaling.volt
    source = f"vu u_0 0 pwl(0 {a!r} {before!r} {a!r} {before + jump!r} {b!r})"
    (answer,) = solve([(deck(circuit, source, tight=False), f"tran {delay / 200!r} {6 * delay!r} 0 {delay / 200!r}")])
    t = answer["time"] - before - jump / 2
    first, last = (cell.evaluate({"u": np.array([u]), "e": np.array([e])})[0] for u in (low, high))
    pull = [
        cell.evaluate({"u": np.array([u]), "e": np.array([-cell.draws[2][0] / odd_scaling.volt_e])})[0]
        for u in (low, high)
    ]
    got = drifts(answer, cell, odd_scaling)[:, 0]
    rest = t < -jump
    np.testing.assert_allclose(got[rest], first, rtol=1e-5, atol=1e-6)
    after = t > jump
    if cell.comparator is None:
        np.testing.assert_allclose(got[after], last, rtol=1e-5)
        return
    force = (first - pull[0]) + ((last - pull[1]) - (first - pull[0])) * (1 - np.exp(-t[after] / delay))
    assert abs((last - pull[1]) - (first - pull[0])) > 1
    np.testing.assert_allclose(got[after], pull[1] + force, atol=3e-3 * abs(last - first))
    slower = (first - pull[0]) + ((last - pull[1]) - (first - pull[0])) * (1 - np.exp(-t[after] / (1.05 * delay)))
    assert np.abs(got[after] - pull[1] - slower).max() > 1e-2, "negative control: a delay wrong by 5 % would be seen"


def test_lag_and_memory(odd_scaling, model):
    """A delay puts a capacitor at the gate, a hysteresis one at its memory; without either there is none."""
    linear = tables_of(model)[1] is None
    for part, lag, memory in [
        ({}, 0.0, 0.0),
        ({"delay": 3e-8}, 3e-8, 0.0),
        ({"delay": 3e-8, "hysteresis": 1e-3}, 3e-8, 0.05 * odd_scaling.tau),
        ({"hysteresis": 1e-3}, 0.0, 0.05 * odd_scaling.tau),
        ({"hysteresis": 1e-3, "regeneration": 7e-9}, 0.0, 7e-9),
    ]:
        cell = gate_of(model, odd_scaling, comparator=part)
        assert (cell.lag, cell.memory) == ((0.0, 0.0) if linear else pytest.approx((lag, memory)))
        nodes = [] if linear else [n for n, seconds in (("g", lag), ("m", memory)) if seconds]
        states = cell.states(odd_scaling)
        assert [(s.capacitor, s.node) for s in states] == [
            (f"c.xgate_{i}.c{n}", f"xgate_{i}.{n}") for i in range(SIZE) for n in nodes
        ]
        (definition,) = cell.subcircuits(odd_scaling)
        assert [e.name for e in definition.elements if e.name[0] == "C"] == [f"C{n}" for n in nodes]
