"""Cells of transistors in ngspice against their NumPy forms, and the neurons' gains and implied posteriors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PySpice.Spice.Netlist import Circuit
from transistor_models import needs_models

from circuitlsc.circuit.transistor import process
from circuitlsc.circuit.transistor.cells import neuron, signed
from circuitlsc.circuit.transistor.cells.bias import Currents, ideal_bias
from circuitlsc.circuit.transistor.cells.converter import converted, converter
from circuitlsc.circuit.transistor.cells.input import input_current, input_ratio, kind_of
from circuitlsc.circuit.transistor.cells.mirror import copy, mirror
from circuitlsc.circuit.transistor.cells.pair import pair, share
from circuitlsc.circuit.transistor.cells.splitter import FIRST, LINE, LOGARITHM, LONG, split, splitter
from circuitlsc.circuit.transistor.parts import BELOW, Chip, Current, Mos, Part, TransistorCell, Use, subcircuits
from circuitlsc.circuit.transistor.process import include_lines
from circuitlsc.circuit.transistor.staircase import OPTIONS, Measured, measure, on_stairs, put_cell, waveform

pytestmark = needs_models

Array = NDArray[np.float64]
I1, IE, VOLT, OHM, U0, W, G = 10e-9, 2.5e-9, 0.1, 1e7, 1.204, 0.04, 4.0
ROOM = 27.0
CORNERS = [("typical", ROOM), ("ff", 125.0), ("ss", -40.0), ("fs", ROOM), ("sf", ROOM)]
NEURONS = {
    "nonnegative": (neuron.threshold(OHM, negative=True), neuron.gate()),
    "signed": (signed.signed_threshold(OHM, negative=True), signed.signed_gate()),
}
SIDE = np.concatenate([np.arange(0, 0.2, 0.05), [0.4, 0.7], np.arange(1, 1.5, 0.03), [1.7, 2.0, 2.6, 4.0, 6.0, 7.5]])
U = np.concatenate([-SIDE[:0:-1], SIDE])
E = np.array([-10.0, 0.0, 10.0])


BIAS = ideal_bias(Currents(W * I1, 0.08 * IE, U0 * I1, IE))


def altered(cell: TransistorCell, name: str, **sizes: float) -> TransistorCell:
    """Return a cell with one device of other sizes."""
    assert any(part.name == name for part in cell.parts)
    parts = [replace(p, **sizes) if isinstance(p, Mos) and p.name == name else p for p in cell.parts]
    return replace(cell, name=f"{cell.name}_altered", parts=tuple(parts))


def test_unlike_cells_do_not_share_a_definition():
    pins = ("x", "vp", "vn", "pn", "bn", "bp", "vr")
    kinds = [splitter(n, diode=d, unit=u) for n in (4, 8) for d in (LOGARITHM, FIRST, LINE) for u in (None, LONG)]
    both = [Use(f"s{k}", kind, pins) for k, kind in enumerate(kinds)] + [Use("again", splitter(), pins)]
    found = {str(d.name): str(d) for d in subcircuits(TransistorCell("both", "splitters", pins, tuple(both)))}
    bodies = {text.replace(name, "") for name, text in found.items()}
    assert len(found) == len(bodies) == len(kinds) + 1
    other = replace(altered(splitter(), "dn", w=16.0), name="splitter")
    with pytest.raises(ValueError, match=r"^two cells have the name 'splitter', and would share one definition$"):
        subcircuits(TransistorCell("both", "splitters", pins, (*both, Use("other", other, pins))))


# small cells, all on one bench ----------------------------------------------------------------------------------------

CURRENT = np.concatenate([-np.geomspace(0.1, 80, 15)[::-1], [0.0], np.geomspace(0.1, 80, 15)]) * 1e-9
SIZE = np.geomspace(0.2, 80, len(CURRENT)) * 1e-9
TAIL = 10e-9


def bench() -> TransistorCell:
    """Return all small cells; a splitter with a doubled diode is the control."""
    parts: list[Part] = []
    for name, cell in (("s", splitter()), ("w", altered(splitter(), "dn", w=16.0))):
        parts += [
            Use(name, cell, (f"x{name}", f"p{name}", f"n{name}", f"l{name}", "bn", "bp", "vr0")),
            Mos(f"p{name}", "n", f"op{name}", f"p{name}", "vr0", 8, 1),
            Mos(f"n{name}", "n", f"on{name}", f"n{name}", "vr0", 8, 1),
        ]
    parts += [
        Use("pair", pair(), ("oa", "ob", "ps", "ns", "t")),
        Current("t", "t", "vss", TAIL),
        Use("vi", converter(OHM), ("u", "oc")),
        *mirror("p", "line", "line", "line"),
        *neuron.folded("line", "under", 4),
        Use("cp", copy("p", 6), ("line", "ocp")),
        Use("cn", copy("n", 6), ("under", "ocn")),
    ]
    rest = {"ps": 0.0, "ns": 0.0, "pw": 0.0, "nw": 0.0, "ls": 1.35, "lw": 1.35, "t": -0.4, "under": -0.75}
    pins = ("xs", "xw", "u", "line", *OUTPUTS)
    return TransistorCell("bench", "bench: one of each small cell", pins, tuple(parts), rest)


#: pins that are held at a voltage, and read
OUTPUTS = {"ops": 0.0, "ons": 0.0, "opw": 0.0, "onw": 0.0, "oa": 0.5, "ob": 0.5}
OUTPUTS |= dict.fromkeys(("oc", "ocp", "ocn"), 0.4)


def solved(circuit: Circuit, sets: Mapping[str, float], outputs: Iterable[str], stairs: int) -> dict[str, Array]:
    """Return the currents of voltage sources at the end of each stair, ampere, from the circuit into their + pole."""
    lines = [str(circuit), include_lines("typical", ROOM, folder=process.models()), OPTIONS]
    lines += [f".nodeset v({node})={volt!r}" for node, volt in sets.items()]
    lines += [".save " + " ".join(f"i(v{name})" for name in outputs), ".end", ""]
    found = on_stairs("\n".join(lines), stairs, "bench")
    return {name: found[f"v{name}#branch"] for name in outputs}


def supplied(title: str) -> tuple[Circuit, set[str]]:
    """Return a circuit with the supply and the bias block, and the definitions that it has."""
    circuit, known = Circuit(title), set[str]()
    circuit.V("dd", "vdd", 0, 3.3 - BELOW)
    circuit.V("ss", "vss", 0, -BELOW)
    put_cell(circuit, BIAS, "bias", (), Chip(), known)
    return circuit, known


@cache
def on_bench() -> Mapping[str, Array]:
    """Return the current from each output into its cell, ampere."""
    cell = bench()
    circuit, known = supplied("bench")
    put_cell(circuit, cell, "bench", cell.pins, Chip(), known)
    for name in ("xs", "xw"):
        circuit.B(name, 0, name, current_expression=waveform(CURRENT))
    circuit.B("u", "u", 0, voltage_expression=waveform(CURRENT * OHM))
    circuit.B("line", "line", "vss", current_expression=waveform(SIZE))
    for name, volt in OUTPUTS.items():
        circuit.V(name, name, 0, volt)
    sets = dict(BIAS.nodesets("xbias")) | BIAS.rest | dict(cell.nodesets("xbench"))
    sets |= {"xs": 0.4, "xw": 0.4, "line": 1.35}
    return {name: -current for name, current in solved(circuit, sets, OUTPUTS, len(CURRENT)).items()}


def product(found: Mapping[str, Array], which: str) -> Array:
    return found[f"op{which}"] * found[f"on{which}"] / (W * I1) ** 2


def test_splitter_halves_have_a_constant_product() -> None:
    found = on_bench()
    p, n = split(CURRENT, W * I1)
    for half, read in ((p, found["ops"]), (n, found["ons"])):
        larger = half >= W * I1
        np.testing.assert_allclose(read[larger], half[larger], rtol=0.03)
    within = np.abs(CURRENT) < 10e-9  # beyond, the larger half leaves weak inversion: the smaller one is too small
    np.testing.assert_allclose(product(found, "s")[within], 1, atol=0.16)
    np.testing.assert_array_less(0.6, product(found, "s"))
    assert np.all(np.abs(product(found, "w")[within] - 1) > 0.4)  # the doubled diode is seen


def test_pair_shares_out_its_tail() -> None:
    found = on_bench()
    np.testing.assert_allclose(found["oa"] + found["ob"], TAIL, rtol=1e-3)
    np.testing.assert_allclose(found["oa"] / TAIL, share(*split(CURRENT, W * I1)), atol=0.01)


def test_converter_gives_the_current_of_its_resistor() -> None:
    np.testing.assert_allclose(-on_bench()["oc"], converted(CURRENT * OHM, OHM), atol=1.5e-10, rtol=0.012)


def test_copies_of_both_kinds_have_their_units() -> None:
    found = on_bench()
    np.testing.assert_allclose(-found["ocp"], 1.5 * SIZE, rtol=0.005)
    np.testing.assert_allclose(found["ocn"], 1.5 * SIZE, rtol=0.005)
    np.testing.assert_allclose(-found["ocp"] / found["ocn"], 1, atol=0.002)


def test_inputs_of_both_signs_are_made_of_bias_currents() -> None:
    """The ratio of whole numbers is within .1 %, or .005 units of e; what mirrors make of it within 1 %, or .002."""
    circuit, known = supplied("inputs")
    sets, currents = dict(BIAS.nodesets("xbias")) | BIAS.rest, Currents(W * I1, 0.08 * IE, U0 * I1, IE)
    b = np.array([0.02, 0.5, 3.0, 7.77, 30.0])
    b = np.concatenate([b, -b])
    made = []
    for i, value in enumerate(b):
        found = input_ratio(value, currents, IE)
        assert found is not None
        made.append(np.sign(value) * found.value * (currents.lam if value > 0 else currents.u0) / IE)
        cell = input_current(kind_of(value), found)
        put_cell(circuit, cell, f"input_{i}", (f"o{i}",), Chip(), known)
        circuit.V(f"o{i}", f"o{i}", 0, 0.4)
        sets |= dict(cell.nodesets(f"xinput_{i}"))
    np.testing.assert_allclose(made, b, rtol=1e-3, atol=0.005)
    outputs = [f"o{i}" for i in range(len(b))]
    drawn = -np.array(list(solved(circuit, sets, outputs, 1).values()))[:, 0] / IE
    np.testing.assert_allclose(drawn, made, rtol=0.01, atol=0.002)
    assert input_ratio(0.004, currents, IE) is None


# neurons --------------------------------------------------------------------------------------------------------------


@cache
def measured(which: str) -> Measured:
    threshold, gate = NEURONS[which]
    return measure(BIAS, threshold, gate, U * VOLT, E * IE)


def code(found: Measured) -> Array:
    lines = dict(zip(found.lines, found.code[0] / I1, strict=True))
    return lines["ps"] - lines.get("pm", 0.0)


def gains(found: Measured) -> dict[str, Any]:
    """Return the gains of s', g and lam on both sides, and the largest and rms difference of gate and ds/du."""
    u, drift = found.u / VOLT, found.drift[0] / IE
    low, rest, high = (int(np.argmin(np.abs(found.e / IE - e))) for e in E)
    slope, gate = np.gradient(code(found), u), -(drift[high] - drift[low]) / 20
    sides = (u < -2.5, u > 2.5)
    out: dict[str, Any] = {
        name: [float(np.abs(np.mean(value[side]))) for side in sides]
        for name, value in (("s'", slope), ("g", gate), ("lam", drift[rest]))
    }
    out["largest"], out["rms"] = np.max(np.abs(gate - slope)), np.sqrt(np.mean((gate - slope) ** 2))
    return out


def assert_gains(found: Measured, bound: float, largest: float, rms: float) -> None:
    values = gains(found)
    for name in ("s'", "g", "lam"):
        assert np.all(np.abs(np.array(values[name]) - 1) <= bound), (name, values)
    assert values["largest"] <= largest
    assert values["rms"] <= rms, values


def form(which: str, u: Array) -> tuple[Array, Array, Array]:
    """Return s, ds/du and a' of the NumPy form."""
    p, n = split(u, W)
    sign = share(p, n) - share(n, p)
    if which == "signed":
        plus, minus, slope = signed.signed_code(u, U0, W)
        return plus - minus, slope, sign
    s, c = split(p + n - U0, W)
    return s, share(s, c) * sign, sign


@pytest.mark.parametrize("which", NEURONS)
def test_gains_of_a_neuron(which: str) -> None:
    assert_gains(measured(which), 0.03, 0.08, 0.03)


@pytest.mark.parametrize("which", NEURONS)
def test_threshold_and_gate_are_their_numpy_forms(which: str) -> None:
    found = measured(which)
    u, drift = found.u / VOLT, found.drift[0] / IE
    s, slope, sign = form(which, u)
    np.testing.assert_allclose(code(found), s, atol=0.04, rtol=0.015)
    away = np.abs(np.abs(u) - U0) > 0.25
    for e, row in zip(E, drift, strict=True):
        error = row + slope * e + sign
        assert np.max(np.abs(error[away])) < 0.15, (e, error)


@pytest.mark.parametrize("which", NEURONS)
def test_negative_copies_are_positive_ones(which: str) -> None:
    found = measured(which)
    lines = dict(zip(found.lines, found.code[0] / I1, strict=True))
    for below, above in (("ns", "ps"), ("nm", "pm")):
        if below in lines:
            np.testing.assert_allclose(lines[below], lines[above], rtol=0.003, atol=1e-4)


def test_a_device_of_twice_the_width_is_seen() -> None:
    """Control of the gains' bounds."""
    threshold, gate = NEURONS["nonnegative"]
    far = np.array([-7.5, -4.0, 4.0, 7.5])
    wrong = altered(altered(gate, "tp", w=8.0), "lam", w=2.0)
    values = gains(measure(BIAS, threshold, wrong, far * VOLT, E * IE))
    assert min(values["g"]) > 1.3
    assert min(values["lam"]) > 1.5


def test_entries_of_both_signs_meet_in_a_node() -> None:
    """Two signed neurons, a matrix with a negative entry, and inputs of both signs: e = G s - b by Kirchhoff's law."""
    units, b = np.array([[4, -2], [-3, 5]]), np.array([3.0, -2.0])
    states = np.array([(p, q) for p in (-3.0, 0.4, 2.0) for q in (-2.5, 0.6, 4.0)])
    threshold, gate = NEURONS["signed"]
    circuit, known = supplied("two neurons")
    sets = dict(BIAS.nodesets("xbias")) | BIAS.rest
    for i in range(2):
        for half, cell in (("threshold", threshold), ("gate", gate)):
            put_cell(circuit, cell, f"{half}_{i}", [f"{pin}_{i}" for pin in cell.pins], Chip(), known)
            sets |= dict(cell.nodesets(f"x{half}_{i}")) | {f"{pin}_{i}": v for pin, v in signed.REST.items()}
        circuit.B(f"u_{i}", f"given_{i}", 0, voltage_expression=waveform(states[:, i] * VOLT))
        circuit.V(f"u_{i}", f"u_{i}", f"given_{i}", 0)
        made = input_ratio(b[i], Currents(W * I1, 0.08 * IE, U0 * I1, IE), IE)
        assert made is not None
        put_cell(circuit, input_current(kind_of(b[i]), made), f"input_{i}", (f"e_{i}",), Chip(), known)
        for j in range(2):
            for line, kind in (("ps", "p"), ("nm", "n")) if units[i, j] > 0 else (("ns", "n"), ("pm", "p")):
                entry = copy(kind, abs(int(units[i, j])))
                put_cell(circuit, entry, f"w_{i}_{j}_{line}", (f"{line}_{j}", f"e_{i}"), Chip(), known)
    drift = np.stack(list(solved(circuit, sets, ("u_0", "u_1"), len(states)).values()), axis=1) / IE
    s, slope, sign = form("signed", states)
    np.testing.assert_allclose(drift, -(slope * (s @ units.T - b) + sign), rtol=0.03, atol=0.06)


def test_cells_say_what_they_are_made_of() -> None:
    """A line that no entry asks for costs nothing."""
    plain, negative = neuron.threshold(OHM), neuron.threshold(OHM, negative=True)
    assert set(negative.pins) - set(plain.pins) == {"ns"}
    assert negative.transistors - plain.transistors == 2 * (4 + 1)
    assert len({neuron.threshold(OHM, units, negative=n).name for units in (4, 8) for n in (False, True)}) == 4


# corners and posteriors -----------------------------------------------------------------------------------------------

FINE = np.unique(
    np.round(np.concatenate([np.arange(0, 0.3, 0.03), np.arange(0.8, 1.6, 0.03), np.arange(0.3, 8.3, 0.4)]), 6)
)
LEVELS = np.array([-40.0, -10.0, -1.0, 0.0, 1.0, 10.0, 40.0])


def statistics(force: Array, u: Array, s: Array, *active: NDArray[np.bool_]) -> Array:
    log = np.concatenate([[0.0], np.cumsum((force[1:] + force[:-1]) / 2 * np.diff(u))])
    p = np.exp(log - log.max())
    p /= np.trapezoid(p, u)
    return np.array([np.trapezoid(value * p, u) for value in (*active, s)])


def implied(found: Measured, x: float) -> Array:
    """Return P(s > w), P(s < -w) and the mean of s that the measured tables imply at K = 1."""
    knots, levels, drift = found.u / VOLT, found.e / IE, found.drift[0] / IE
    u = np.linspace(knots[0], knots[-1], 8001)
    s = np.interp(u, knots, code(found))
    rows = np.array([np.interp(u, knots, row) for row in drift])
    e = G * (s - x)
    at = np.clip(np.searchsorted(levels, e) - 1, 0, len(levels) - 2)
    part, i = (e - levels[at]) / np.diff(levels)[at], np.arange(len(u))
    return statistics((1 - part) * rows[at, i] + part * rows[at + 1, i], u, s, s > W, s < -W)


def exact(which: str, x: float) -> Array:
    u = np.linspace(-14, 14, 56001)
    size = np.maximum(np.abs(u) - U0, 0)
    s, slope = (size * np.sign(u), size > 0) if which == "signed" else (size, np.sign(u) * (size > 0))
    return statistics(-G * (s - x) * slope - np.sign(u), u, s, s > 0, s < 0)


@pytest.mark.slow
@pytest.mark.parametrize(("corner", "celsius"), CORNERS)
@pytest.mark.parametrize("which", NEURONS)
def test_implied_posterior_at_corners(which: str, corner: str, celsius: float) -> None:
    threshold, gate = NEURONS[which]
    u = np.concatenate([-FINE[:0:-1], FINE])
    found = measure(BIAS, threshold, gate, u * VOLT, LEVELS * IE, corner=corner, celsius=celsius)
    assert_gains(found, 0.06, 0.08, 0.03)
    inputs = (0.0, 0.5, -1.0, 1.5, -2.0, 3.0) if which == "signed" else (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    errors = np.array([implied(found, x) - exact(which, x) for x in inputs])
    assert np.max(np.abs(errors[:, :2])) <= 0.015, errors
    assert np.max(np.abs(errors[:, 2])) <= 0.03, errors
