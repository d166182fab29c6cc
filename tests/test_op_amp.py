"""The op-amp alone in ngspice against textbook formulas, and the thermal noise of resistors around and behind it."""

import math

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit

from circuitlsc.circuit.cells import DeviceGradient, NegatedCode, ResistorCrossbar, ThermalNoise, Wires
from circuitlsc.circuit.cells.op_amp import INFINITE_GAIN, op_amp, op_amp_states
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import BOLTZMANN, ROOM, Scaling

ZERO_CELSIUS = 273.15
TIGHT = ".options reltol=1e-9 vntol=1e-12 abstol=1e-18"
LIMITED = [
    {"rail": 1.0},
    {"rail": 1.0, "gbw": 1e7},
    {"rail": 1.0, "gain": 1e4},
    {"rail": 1.0, "gain": 1e4, "gbw": 1e7, "output_resistance": 100.0},
    {"rail": 1.0, "gain": 1e4, "gbw": 1e7, "slew_rate": 2e7},
]


def hardware(scaling=None, corner=None, **part):
    parts = {"op_amp": part} | ({"corner": corner} if corner else {})
    return Hardware(Nonidealities(parts), scaling or Scaling())


def bench(chip):
    """Return a circuit that defines the op-amp."""
    circuit = Circuit("op-amp alone")
    circuit.subcircuit(op_amp(chip))
    return circuit


def open_amplifier(chip, vos=0.0):
    circuit = bench(chip)
    circuit.X("amp", "lsc_op_amp", "a", 0, "y", vos=vos)
    return circuit


def follower(chip, vos=0.0):
    circuit = bench(chip)
    circuit.X("amp", "lsc_op_amp", "a", "y", "y", vos=vos)
    return circuit


def inverter(chip, ratio=1.0, vos=0.0, r_in=10e3):
    """Return an inverting amplifier of gain -ratio; its noise gain is 1 + ratio."""
    circuit = bench(chip)
    circuit.R("in", "a", "x", r_in)
    circuit.R("f", "x", "y", ratio * r_in)
    circuit.X("amp", "lsc_op_amp", 0, "x", "y", vos=vos)
    return circuit


def deck(circuit, *lines):
    return "\n".join([str(circuit), TIGHT, *lines, ".end", ""])


def transfer(circuit, solve, sweep, node="y", source="va a 0 dc 0 ac 1"):
    """Return (frequency, complex voltage) for one volt, or one ampere, of a source."""
    (answer,) = solve([(deck(circuit, source), f"ac {sweep}")])
    return answer["re(frequency)"], answer[f"re({node})"] + 1j * answer[f"im({node})"]


def one_pole(f, gain=math.inf, gbw=math.inf):
    """Return the complex gain A0/(1 + j f/f_p) with f_p = GBW/A0."""
    return 1 / (1 / min(gain, INFINITE_GAIN) + 1j * f / gbw)


def bandwidth(f, response):
    """Return where the magnitude has fallen by sqrt(2) from its first value."""
    level = np.abs(response) / np.abs(response[0])
    k = int(np.argmax(level < math.sqrt(0.5)))
    assert k > 0
    return math.exp(np.interp(-math.sqrt(0.5), -level[k - 1 : k + 1], np.log(f[k - 1 : k + 1])))


def transient(circuit, solve, stop, step, source):
    (answer,) = solve([(deck(circuit, source), f"tran {step!r} {stop!r} 0 {step!r} uic")])
    return answer["time"], answer["y"]


# --- small signals ---


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "part",
    [
        {"gain": 1e3, "gbw": 1e7},
        {"gain": 2e5, "gbw": 3e6},
        {"gbw": 1e7},
        {"gain": 50.0},
        {"gain": 1e3, "gbw": 1e7, "rail": 2.0},
        {"gain": 1e3, "gbw": 1e7, "slew_rate": 1e6},
        {"gain": 1e3, "gbw": 1e7, "slew_rate": 1e6, "rail": 2.0, "offset": 1e-3},
    ],
    ids=str,
)
def test_open_loop(part, solve):
    """A0/(1 + j f/f_p), to 1e-6; slew rate, rails and the offset's sd leave small signals alone."""
    f, v = transfer(open_amplifier(hardware(**part)), solve, "dec 5 0.1 1e9")
    np.testing.assert_allclose(v, one_pole(f, **{k: w for k, w in part.items() if k in ("gain", "gbw")}), rtol=1e-6)
    if "gain" in part:
        assert np.abs(v[0]) == pytest.approx(part["gain"], rel=1e-3)
    if "gbw" in part:
        assert np.abs(v[-1]) * f[-1] == pytest.approx(part["gbw"], rel=1e-3)


@pytest.mark.ngspice
def test_gain_bandwidth_product_at_the_corner(solve):
    """A larger capacitor makes every op-amp slower."""
    chip = hardware(gain=1e3, gbw=1e7, corner={"capacitance": 1.25, "resistance": 0.7})
    f, v = transfer(open_amplifier(chip), solve, "dec 5 1 1e9")
    np.testing.assert_allclose(v, one_pole(f, 1e3, 8e6), rtol=1e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize("ratio", [0.5, 1.0, 10.0])
def test_bandwidth_of_an_inverting_amplifier(ratio, solve):
    gain, gbw = 1e6, 1e7
    f, v = transfer(inverter(hardware(gain=gain, gbw=gbw), ratio), solve, "dec 50 1e4 1e9")
    np.testing.assert_allclose(v, -ratio / (1 + (1 + ratio) / one_pole(f, gain, gbw)), rtol=1e-6)
    assert bandwidth(f, v) == pytest.approx(gbw / (1 + ratio), rel=1e-3)


@pytest.mark.ngspice
def test_bandwidth_of_the_inverter_cell(solve):
    chip = hardware(gain=1e6, gbw=1e7)
    cell = NegatedCode("minus", 1, source="s", hardware=chip)
    circuit = Circuit("inverter")
    for definition in cell.subcircuits(chip.scaling):
        circuit.subcircuit(definition)
    cell.emit(circuit, Wires({"v": ("a",)}, cell.nodes, cell.nodes), chip.scaling)
    f, v = transfer(circuit, solve, "dec 50 1e4 1e9", node="ns_0")
    np.testing.assert_allclose(v, -1 / (1 + 2 / one_pole(f, 1e6, 1e7)), rtol=1e-6)
    assert bandwidth(f, v) == pytest.approx(5e6, rel=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("biased", [False, True])
def test_bandwidth_of_the_transimpedance_amplifier(biased, odd_scaling, solve):
    """GBW/N, with N = 1 + R_f/R for every resistor at the virtual ground, whether it is driven or not."""
    gain, gbw, g_on, g_off = 1e6, 1e7, 1e-5, 1e-7
    parts = Nonidealities(op_amp={"gain": gain, "gbw": gbw}, crossbar={"g_on": g_on, "g_off": g_off})
    chip = Hardware(parts, odd_scaling)
    matrix = np.array([[2.0, -1.0, 0.5]])
    crossbar = ResistorCrossbar("weights", 1, matrix=matrix, hardware=chip)
    cell = DeviceGradient("gradient", 1, crossbar=crossbar, source="s", has_input=biased, hardware=chip)
    circuit = Circuit("transimpedance amplifier")
    for definition in (*cell.subcircuits(odd_scaling), *crossbar.subcircuits(odd_scaling)):
        circuit.subcircuit(definition)
    cell.emit(circuit, Wires({}, cell.nodes, cell.nodes), odd_scaling)
    grounds = cell.port_nodes("crossbar")
    wires = Wires({"v": ("0", "a", "0"), "minus": ("0", "b", "0")}, grounds, cell.nodes)
    crossbar.emit(circuit, wires, odd_scaling)
    circuit.VCVS("b", "b", 0, "a", 0, -1.0)
    volts = odd_scaling.volt_e / odd_scaling.volt
    r_f = 2.0 * volts / (g_on - g_off)
    if biased:
        circuit.R("x", grounds[0], 0, r_f)
    noise_gain = 1 + r_f * (6 * g_off + (g_on - g_off) * 3.5 / 2.0) + biased
    f, v = transfer(circuit, solve, "dec 50 1e4 1e9", node="e_0")
    np.testing.assert_allclose(v, -1.0 * volts / (1 + noise_gain / one_pole(f, gain, gbw)), rtol=1e-6)
    assert bandwidth(f, v) == pytest.approx(gbw / noise_gain, rel=1e-3)
    np.testing.assert_allclose(cell.noise_gain, [[noise_gain]], rtol=1e-9)


@pytest.mark.ngspice
def test_output_resistance(solve):
    """Open loop it divides with the load; closed loop it is divided by the loop gain."""
    gain, gbw, r_o = 1e3, 1e7, 200.0
    circuit = open_amplifier(hardware(gain=gain, gbw=gbw, output_resistance=r_o, corner={"resistance": 1.5}))
    circuit.R("load", "y", 0, 500.0)
    f, v = transfer(circuit, solve, "dec 5 1 1e9")
    np.testing.assert_allclose(v, one_pole(f, gain, gbw) * 500 / 800, rtol=1e-6)
    circuit = follower(hardware(gain=gain, gbw=gbw, output_resistance=r_o))
    circuit.V("a", "a", 0, 0.0)
    f, z = transfer(circuit, solve, "dec 5 1 1e9", source="iy 0 y dc 0 ac 1")
    np.testing.assert_allclose(z, r_o / (1 + one_pole(f, gain, gbw)), rtol=1e-6)
    assert np.abs(z[0]) == pytest.approx(r_o / 1001, rel=1e-3)
    assert np.abs(z[-1]) == pytest.approx(r_o, rel=1e-3)


# --- steps, offsets, limits ---


@pytest.mark.ngspice
@pytest.mark.parametrize("ratio", [1.0, 4.0])
@pytest.mark.parametrize("gain", [math.inf, 200.0])
def test_step_response(ratio, gain, solve):
    """1 - exp(-t/tau_cl) with tau_cl = N/(2 pi GBW), a little faster and short of the whole if the gain is finite."""
    gbw, height = 1e7, 0.02
    noise_gain = 1 + ratio
    tau = noise_gain / (2 * math.pi * gbw) / (1 + noise_gain / gain)
    t, v = transient(inverter(hardware(gain=gain, gbw=gbw), ratio), solve, 6 * tau, 0.01 * tau, f"va a 0 {height!r}")
    final = -ratio * height / (1 + noise_gain / gain)
    assert t[-1] == pytest.approx(6 * tau)
    np.testing.assert_allclose(v / final, 1 - np.exp(-t / tau), rtol=0, atol=1e-3)
    assert np.abs(v / final - 1 + np.exp(-t / (1.02 * tau))).max() > 3e-3, "negative control: 2 % of a time constant"


@pytest.mark.ngspice
@pytest.mark.parametrize("limits", [{}, {"gbw": 1e7}, {"gbw": 1e7, "slew_rate": 1e6}, {"rail": 1.0}], ids=str)
def test_offset_is_multiplied_by_the_noise_gain(limits, solve):
    vos = 3e-3
    chip = hardware(offset=1e-3, gain=1e6, **limits)  # the sd only says that there are offsets at all
    circuits = {1.0: follower(chip, vos), 2.0: inverter(chip, 1.0, vos), 11.0: inverter(chip, 10.0, vos)}
    answers = solve([(deck(circuit, "va a 0 0"), "op") for circuit in circuits.values()])
    for noise_gain, answer in zip(circuits, answers, strict=True):
        assert answer["y"][0] == pytest.approx(noise_gain * vos, rel=1e-4)


@pytest.mark.ngspice
@pytest.mark.parametrize("limits", [{"gbw": 1e7}, {"gbw": 1e7, "gain": 1e5}, {"rail": 5.0, "gbw": 3e7}, {}], ids=str)
@pytest.mark.parametrize("height", [1.0, -1.0])
def test_slew_rate(limits, height, solve):
    """A large step is a ramp, within 1 %, until the error is small; a small step is none."""
    slew = 1e6
    stop = 1.5 / slew
    t, v = transient(follower(hardware(slew_rate=slew, **limits)), solve, stop, stop / 3000, f"va a 0 {height!r}")
    v = v * np.sign(height)
    ramp = (v > 0.05) & (v < 0.8)
    assert ramp.sum() > 1000
    np.testing.assert_allclose(np.gradient(v, t)[ramp], slew, rtol=0.01)
    assert v[-1] == pytest.approx(1.0, rel=1e-3)
    assert v.max() < 1.0 + 1e-3, "no overshoot"
    if "gbw" in limits:
        small = 0.1 * slew / (2 * math.pi * limits["gbw"])
        tau = 1 / (2 * math.pi * limits["gbw"])
        t, v = transient(follower(hardware(slew_rate=slew, **limits)), solve, 5 * tau, tau / 100, f"va a 0 {small!r}")
        np.testing.assert_allclose(v / small, 1 - np.exp(-t / tau), rtol=0, atol=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("part", LIMITED, ids=str)
@pytest.mark.parametrize("supply", [1.0, 0.8])
def test_output_saturates_at_the_rails(part, supply, solve):
    """Not more than 3 % beyond them, even if driven three times as far; below 97 % of them nothing changes."""
    (answer,) = solve(
        [
            (
                deck(inverter(hardware(corner={"supply": supply}, **part)), "va a 0 0"),
                f"dc va {-3 * supply} {3 * supply} 0.01",
            )
        ]
    )
    a, y = answer["v-sweep"] / supply, answer["y"] / supply
    below = np.abs(a) < 0.96
    np.testing.assert_allclose(y[below], -a[below], rtol=0, atol=3e-4)
    beyond = np.abs(a) > 1.1
    assert np.abs(y).max() <= 1.03
    assert np.abs(y[beyond]).min() >= 0.97
    assert (np.sign(y[beyond]) == -np.sign(a[beyond])).all()
    np.testing.assert_allclose(y, -y[::-1], atol=1e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize("part", LIMITED, ids=str)
def test_output_recovers_from_the_rails(part, solve):
    """As fast as from any other value: nothing winds up while the output is clamped."""
    tau = 1 / (2 * math.pi * part.get("gbw", 1e9))
    slew = part.get("slew_rate", math.inf)
    edge = 100 * tau
    source = f"va a 0 pwl(0 1.9 {edge!r} 1.9 {edge + 1e-3 * tau!r} 0.2)"
    t, v = transient(follower(hardware(**part)), solve, 2 * edge, tau / 20, source)
    assert np.abs(v).max() < 1.03
    held = (t > edge / 2) & (t < edge)
    assert v[held].min() > 0.97
    late = t > edge + 9 * tau + 0.83 / slew
    np.testing.assert_allclose(v[late], 0.2, atol=1e-3)


@pytest.mark.ngspice
def test_without_rails_and_slew_rate_nothing_is_limited(solve):
    """Negative control of the tests above."""
    (answer,) = solve([(deck(inverter(hardware(gain=1e6, gbw=1e7)), "va a 0 0"), "dc va -30 30 1")])
    np.testing.assert_allclose(answer["y"], -answer["v-sweep"], rtol=1e-5)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "part", [{}, {"gain": 10.0}, {"gbw": 1e7}, {"slew_rate": 1e6}, {"rail": 1.0}, {"offset": 1e-3}], ids=str
)
def test_states_are_the_capacitors_that_are_there(part, solve):
    """The engine sets them at the start of each piece of a run, by these names."""
    chip = hardware(**part)
    states = op_amp_states(chip, "xamp")
    assert [e.name for e in op_amp(chip).elements if e.name.startswith("C")] == ["Cpole"] * len(states)
    circuit = open_amplifier(chip)
    circuit.V("a", "a", 0, 1e-9)
    for state in states:
        (answer,) = solve([(deck(circuit, f".save all @{state.capacitor}[capacitance]"), "op")])
        assert answer[f"@{state.capacitor}[capacitance]"][0] == pytest.approx(1e-12)
        assert state.node in answer


# --- noise ---


def spectrum(circuit, solve, output, *lines, source="va", sweep="dec 10 1 1e9"):
    """Return frequency, noise density (V^2/Hz) and the total (V^2) at an output."""
    (answer,) = solve([(deck(circuit, *lines), f"noise {output} {source} {sweep}")])
    return answer["frequency"], answer["onoise_spectrum"] ** 2, float(answer["onoise_total"][0]) ** 2


@pytest.mark.ngspice
@pytest.mark.parametrize("celsius", [None, 127.0])
def test_noise_of_an_inverting_amplifier(celsius, solve):
    """4kT (R_f + R_in (R_f/R_in)^2), through the pole of the closed loop."""
    gbw, r_in, ratio = 1e7, 10e3, 5.0
    kelvin = (27.0 if celsius is None else celsius) + ZERO_CELSIUS
    lines = ["va a 0 dc 0 ac 1", *([f".options temp={celsius}"] if celsius else [])]
    f, density, _ = spectrum(inverter(hardware(gbw=gbw), ratio, r_in=r_in), solve, "v(y)", *lines)
    white = 4 * BOLTZMANN * kelvin * (ratio * r_in + r_in * ratio**2)
    np.testing.assert_allclose(density, white / (1 + (f * (1 + ratio) / gbw) ** 2), rtol=1e-4)
    assert density[0] == pytest.approx(white, rel=1e-4)
    assert 4 * BOLTZMANN * kelvin * ratio * r_in < 0.2 * white, "negative control: R_in's part is the larger one"


def noise_bench(chip, size, *, temperature=1.0, shorted=False):
    """Return a thermal-noise cell, its current into each neuron's node turned into a voltage at ``y_i``."""
    cell = ThermalNoise("noise", size, temperature, "trrandom", hardware=chip, capacitors=np.ones(size))
    circuit = Circuit("noise source")
    circuit.parameter("t_hold", "1e-8")
    circuit.parameter("i_rms", "0")
    for definition in cell.subcircuits(chip.scaling):
        circuit.subcircuit(definition)
    n, u = tuple(f"n_{i}" for i in range(size)), tuple(f"u_{i}" for i in range(size))
    cell.emit(circuit, Wires({}, n, u), chip.scaling)
    for i in range(size):
        circuit.R(f"n{i}", n[i], 0, 1.0)
        circuit.V(f"m{i}", u[i], 0, 0.0)
        circuit.CCVS(f"y{i}", f"y_{i}", 0, f"Vm{i}", 1.0)
    return cell, circuit


@pytest.mark.ngspice
@pytest.mark.parametrize("celsius", [27.0, ROOM - ZERO_CELSIUS])
@pytest.mark.parametrize("corner", [None, {"resistance": 1.3, "capacitance": 0.7}])
def test_noise_of_the_source(celsius, corner, solve):
    """R_n and C_n: 4kTR/(1 + (2 pi f R C)^2), whose integral is kT/C whatever R is."""
    r, c, kelvin = 2e5, 3e-13, celsius + ZERO_CELSIUS
    parts = {"noise": {"resistance": r, "capacitance": c}} | ({"corner": corner} if corner else {})
    cell, circuit = noise_bench(Hardware(Nonidealities(parts), Scaling()), 1)
    lines = ["va a 0 dc 0 ac 1", "ra a 0 1", f".options temp={celsius!r}"]
    f, density, total = spectrum(circuit, solve, "v(xnoise_0.v)", *lines, sweep="dec 20 1 1e10")
    if corner:
        r, c = 1.3 * r, 0.7 * c
    pole = 1 / (2 * math.pi * r * c)
    np.testing.assert_allclose(density, 4 * BOLTZMANN * kelvin * r / (1 + (f / pole) ** 2), rtol=1e-4)
    assert total == pytest.approx(BOLTZMANN * kelvin / c, rel=0.01)
    assert cell.corner_rate == pytest.approx(2 * math.pi * pole * Scaling().tau)


@pytest.mark.ngspice
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_noise_that_reaches_the_neuron_is_the_models(temperature, odd_scaling, solve):
    """At 300 K, far below the corner: a current of the density 4 T tau, in squared drift units, on each neuron."""
    parts = Nonidealities(noise={"resistance": 2e5, "capacitance": 1e-14})
    _, circuit = noise_bench(Hardware(parts, odd_scaling), 2, temperature=temperature)
    lines = ["va a 0 dc 0 ac 1", "ra a 0 1", f".options temp={ROOM - ZERO_CELSIUS!r}"]
    for i in range(2):
        _, density, _ = spectrum(circuit, solve, f"v(y_{i})", *lines, sweep="dec 10 1 1e5")
        drift = density / odd_scaling.drift_current**2
        np.testing.assert_allclose(drift, 4 * temperature * odd_scaling.tau, rtol=1e-4)
