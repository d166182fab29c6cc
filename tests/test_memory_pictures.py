"""Schematics and power of a memory: the values that they show are the circuit's, and no label collides."""

import numpy as np
import pytest
from picture_checks import collisions, texts

from circuitlsc import Dynamics, InputError, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.cells import Read
from circuitlsc.circuit.memory import lines_at_rest
from circuitlsc.drawing.crossbar import column_voltages
from circuitlsc.drawing.schematic import neuron_figure, signal_path_figure
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.studies.energy import energy_report, power, probe

A = np.random.default_rng(0).standard_normal((6, 3))
A /= np.linalg.norm(A, axis=0)
MODEL = SparseCodingModel(A, SpikeSlab(pi=0.4, lam=1.0, signed=True), 0.5)
X = np.random.default_rng(1).standard_normal((3, 6))
GIVEN = np.random.default_rng(2).standard_normal((3, 5))
CHIP = Nonidealities(
    plastic={"leak_resistance": 2e9, "capacitance_mismatch": 0.01},
    noise={"resistance": 3e5, "capacitance": 8e-14, "ac_corner": 1500.0},
    op_amp={"quiescent_current": 1e-4},
    corner={"resistance": 1.2, "capacitance": 0.9, "temperature": 330.0},
)
CASES = {
    "ideal": ("relu:8", "ideal", "neuron", None),
    "device": ("relu:8", "device", "neuron", CHIP),
    "one-hot": ("one-hot", "ideal", "neuron", None),
    "file": ("f.npy", "device", "neuron", None),
    "weights": ("orthogonal", "device", "weight", CHIP),
    "ideal weights": ("one-hot", "ideal", "weight", None),
}


def memory(name, **changes):
    features, level, noise, nonideal = CASES[name]
    changes["features"] = GIVEN if features == "f.npy" else None
    dynamics = Dynamics(kind="amortised", features=features, noise=noise)
    return build_sampler(MODEL, X, dynamics=dynamics, hold=1.0, level=level, nonideal=nonideal, **changes)


@pytest.mark.slow  # the next one looks at that of ReLU features
@pytest.mark.parametrize("name", CASES)
def test_no_label_collides(name):
    pytest.importorskip("schemdraw")
    sampler = memory(name)
    for figure in (neuron_figure(sampler), signal_path_figure(sampler)):
        assert collisions(figure) == []
    residual = memory(name, form="residual")
    assert collisions(signal_path_figure(residual)) == []


def test_values_are_those_of_the_parts():
    pytest.importorskip("schemdraw")
    sampler = memory("device")
    neuron, path = neuron_figure(sampler), signal_path_figure(sampler)
    assert collisions(neuron) == collisions(path) == []
    said = texts(neuron)
    for value in ("$R_w$", "2.4 GΩ", "900 fF", "$R_n$", "360 kΩ", "330 K", "72 fF", "$d_i$", "$v_h$", r"$\phi_h$"):
        assert value in said, value
    assert "one of $H$ = 8 synapses of neuron $i$" in said
    assert "3 inputs $x(t)$ again and again, each on for 1 µs" in said
    s = sampler.scaling
    siemens = s.c_int * s.volts("w") / s.tau / s.volts("d") / s.volts("v")
    assert f"{siemens * 1e6:.3g} µA/V²" in said
    for value in (r"features crossbar: $W_\phi$", r"dual crossbar: $(\Phi \Phi^\mathsf{T})^+$", "rectifier", "noise"):
        assert value in texts(path), value
    plain = texts(signal_path_figure(memory("one-hot")))
    assert r"$\phi_h(t),\; v_h(t) = \phi_h(t)$" in plain
    assert not any("dual" in text for text in plain)
    with pytest.raises(InputError, match="in its weights"):
        column_voltages(sampler, np.zeros(3))


@pytest.mark.ngspice
def test_power_of_the_multipliers_by_hand():
    sampler = memory("device")
    found = {row.part: row for row in power(sampler)[0]}
    phi, v = lines_at_rest(sampler.graph)
    s, n = sampler.scaling, 3 * 8
    reads, writes = (found[f"{name} multipliers"] for name in ("read", "write"))
    assert (reads.count, writes.count) == (n, n)
    each = sampler.ranges.w * np.abs(phi).max() * s.volt / s.r_node
    assert reads.quiescent == pytest.approx(n * each)
    each = sampler.ranges.e * np.abs(v).max() * s.c_int * s.volts("w") / s.tau
    assert writes.quiescent == pytest.approx(n * each)
    (read,) = (cell for cell in sampler.graph.cells if isinstance(cell, Read))
    inputs = sampler.graph.inputs(read)
    volts = probe(sampler, (*inputs["w"].nodes, *inputs["phi"].nodes))
    currents = [volts[f"w_{k}_{h}"] * volts[inputs["phi"].nodes[h]] for k in range(3) for h in range(8)]
    unit = s.volt / s.r_node / s.volts("w") / s.volt
    assert reads.sourced == pytest.approx(unit * np.abs(currents).mean(1).sum() / 2, rel=1e-6)
    assert found["noise transconductors"].count == 3
    assert found["rectifiers"].count == 8
    # lines are amplified outside of the loop: features and dual vectors, and the gradient within
    assert found["transimpedance op-amps"].count == 8 + 8 + 3
    assert found["inverters"].count == 6 + 8 + 3
    report = energy_report(sampler, sampler.run(RunPlan(t_stop=30.0, warmup=3.0, seed=1), workers=1), software=False)
    assert report.joule_per_sample == pytest.approx(report.watts * 2 * 27e-6 / report.ess_min)
