"""The device-level circuit as a whole: against the ideal circuit, its own twin, and itself cut in other pieces."""

from dataclasses import replace

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit.cells import ThermalNoise
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.ngspice.noise import BrownianPaths
from circuitlsc.validation.same_noise import path_difference

# every static error at once, no two the same
STATIC = {
    "op_amp": {"gain": 1e3, "offset": 2e-3},
    "crossbar": {"levels": 16, "programming_error": 0.05, "stuck_off": 0.02, "driver_resistance": 100.0},
    "multiplier": {"gain_error": 0.02, "offset": 2e-3},
    "comparator": {"gate_offset": 3e-3, "threshold_offset": 4e-3},
    "integrator": {"output_resistance": 1e8, "offset_current": 2e-9, "capacitance_mismatch": 0.02},
    "noise": {"offset": 1e-6, "temperature": 330.0, "temperature_mismatch": 0.1, "supply_correlation": 0.2},
    "prior": {"lam_error": 0.1, "lam_mismatch": 0.05},
    "corner": {"temperature": 350.0, "resistance": 1.2, "capacitance": 0.9, "supply": 0.9},
}
PRIORS = {
    "spike-slab": SpikeSlab(0.3, 1.0),
    "spike-slab-signed": SpikeSlab(0.3, 1.0, signed=True),
    "spike-slab-pi-1": SpikeSlab(1.0, 1.0),
    "laplace": Laplace(1.0),
    "gaussian": Gaussian(0.7),
}


def device(model, x, form="gram", parts=None, **more):
    return build_sampler(model, x, form=form, level="device", nonideal=Nonidealities(parts or {}, seed=3), **more)


@pytest.mark.ngspice
def test_ideal_parts_are_the_ideal_circuit(bars_model, bars_x, form):
    """Ideal parts, white noise, the same paths: rms difference far below 1e-3 units."""
    ideal = build_sampler(bars_model, bars_x, form=form).run(t_stop=200, seed=1)
    real = device(bars_model, bars_x, form).run(t_stop=200, seed=1)
    assert np.sqrt(np.mean((ideal.u - real.u) ** 2)) < 1e-5


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("spike-slab", "gram"),
        ("spike-slab", "residual"),
        ("spike-slab-signed", "residual"),
        ("spike-slab-pi-1", "gram"),
        ("laplace", "residual"),
        ("gaussian", "gram"),
    ],
)
def test_static_errors_are_the_twins(name, form):
    """Netlist and NumPy form agree with every static error on, for every prior and for both forms."""
    # 4 x 3, with entries of both signs
    model = SparseCodingModel(np.random.default_rng(8).standard_normal((4, 3)), PRIORS[name], 0.8)
    x = model.draw(np.random.default_rng(9))[1]
    sampler = device(model, x, form, STATIC)
    samples = sampler.run(t_stop=1 + 600 * sampler.plan.step, warmup=1, chains=2, seed=2, thin=1)
    assert path_difference(sampler, samples, 600).rms < 2e-5
    # and the errors are there: the ideal twin on that noise is somewhere else
    assert path_difference(device(model, x, form), samples, 600).rms > 1e-2


@pytest.mark.ngspice
def test_wires_reduce_exactly(bars_model, bars_x):
    parts = {
        "crossbar": {"wire_resistance": 20.0, "driver_resistance": 50.0, "programming_error": 0.05},
        "op_amp": {"output_resistance": 30.0, "gain": 1e4},
    }
    a, b = (device(bars_model, bars_x, parts=parts, wires=w).run(t_stop=50, seed=1) for w in ("reduced", "segments"))
    assert np.abs(a.u - b.u).max() < 1e-9
    without = device(bars_model, bars_x, parts={"op_amp": parts["op_amp"]}).run(t_stop=50, seed=1)
    assert np.abs(a.u - without.u).max() > 1e-2


@pytest.mark.ngspice
def test_wires_are_the_twins(bars_model, bars_x):
    parts = {"crossbar": {"wire_resistance": 20.0, "driver_resistance": 50.0}, "op_amp": {"offset": 1e-3, "gain": 1e3}}
    sampler = device(bars_model, bars_x, parts=parts)
    assert path_difference(sampler, sampler.run(t_stop=100, seed=2), 1500).rms < 2e-5


@pytest.mark.ngspice
def test_chunks_take_every_capacitor_up_again(bars_model, bars_x):
    """A run in short pieces follows the run in one: poles, noise sources, lags and AC couplings go on."""
    parts = {
        "op_amp": {"gbw": 2e7, "slew_rate": 1e8},
        "noise": {
            "capacitance": 2e-14,
            "flicker_corner": 1e4,
            "ac_corner": 2e3,
            "offset": 1e-4,
            "supply_correlation": 0.3,
        },
        "comparator": {"delay": 2e-8, "hysteresis": 5e-3},
    }
    sampler = device(bars_model, bars_x, parts=parts)
    task = sampler.tasks(RunPlan(t_stop=45, warmup=0, chains=1, seed=4, thin=1))[0]
    whole, cut = (run_chains([replace(task, chunk=chunk)])[0].u for chunk in (900, 450))
    forgetful = replace(task, chunk=450, capacitors=task.capacitors[:8], held=(), held_start=())
    np.testing.assert_allclose(cut[:450], whole[:450], atol=1e-9)
    assert np.abs(cut[451:] - whole[451:]).max() < 0.02
    assert np.abs(run_chains([forgetful])[0].u[451:] - whole[451:]).max() > 0.1


@pytest.mark.ngspice
def test_a_noise_corner_leaves_a_difference_of_its_inverse_root():
    """RMS(device - ideal) ~ b^(-1/2): a linear circuit, so that no mode is left behind."""
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.7)
    x = model.draw(np.random.default_rng(3))[1]
    ideal = device(model, x).run(t_stop=500, chains=1, seed=1).u
    rms = []
    corners = np.array([30.0, 100.0, 300.0, 1000.0])
    for b in corners:  # tau / (R C) with R = 1 Mohm, tau = 1 us
        sampler = device(model, x, parts={"noise": {"capacitance": 1e-12 / b}})
        noise = sampler.graph.noise
        assert isinstance(noise, ThermalNoise)
        assert noise.corner_rate == pytest.approx(b)
        rms.append(np.sqrt(np.mean((sampler.run(t_stop=500, chains=1, seed=1).u - ideal) ** 2)))
    slope = np.polyfit(np.log(corners), np.log(rms), 1)[0]
    assert -0.6 < slope < -0.4, (rms, slope)
    assert 0.05 < rms[1] < 0.2  # about 0.1 at b = 100


def test_half_the_step_follows_the_same_path():
    coarse = BrownianPaths(["a", "b"], seed=1, chain=0, step=0.1).increments(1000)
    fine = BrownianPaths(["a", "b"], seed=1, chain=0, step=0.025, halvings=2)
    pieces = np.concatenate([fine.increments(n) for n in (7, 1001, 2992)])
    np.testing.assert_allclose(pieces.reshape(1000, 4, 2).sum(1), coarse, atol=1e-12)
    # independent increments of variance 2 h
    n = len(pieces)
    assert np.abs(pieces.var(0) / 0.05 - 1).max() < 5 * np.sqrt(2 / n)
    corr = np.mean(pieces[1:] * pieces[:-1], axis=0) / 0.05
    assert np.abs(corr).max() < 5 / np.sqrt(n)


@pytest.mark.ngspice
def test_temperature_of_a_linear_circuit():
    """Every way to heat the noise gives the variance that it should: T_K/300, R, 1/C, and their mismatch in the mean."""
    model = SparseCodingModel(np.eye(2), Gaussian(1.0), 1.0)
    variance = 0.5
    for parts, heat in (
        ({"noise": {"temperature": 450.0}}, 1.5),
        ({"corner": {"temperature": 240.0}}, 0.8),
        ({"corner": {"resistance": 1.2}}, 1.2),
        ({"corner": {"capacitance": 0.8}}, 1.25),
        ({"noise": {"supply_correlation": 0.4}}, 1.0),
    ):
        samples = device(model, np.zeros(2), parts=parts).run(t_stop=1500, chains=2, seed=5)
        u = samples.u.reshape(-1, 2)
        error = np.sqrt(2 / 1500) * 1.5  # two modes of correlation time 0.5 tau, over 3,000 tau
        assert np.abs(u.var(0) / (variance * heat) - 1).max() < 4 * error, parts
        rho = np.corrcoef(u.T)[0, 1]
        assert abs(rho - parts.get("noise", {}).get("supply_correlation", 0.0)) < 4 * error, parts


@pytest.mark.ngspice
def test_samples_know_the_size_of_their_noise(bars_model, bars_x):
    """A hotter circuit loads the same deck (the noise is played into it): its samples are another circuit's all the same."""
    warm, cold = (device(bars_model, bars_x, parts={"noise": {"temperature": t}}) for t in (310.0, 300.0))
    samples = warm.run(t_stop=30, seed=1)
    samples.check_made_by(warm)
    with pytest.raises(InputError, match="were made by another deck"):
        samples.check_made_by(cold)


@pytest.mark.ngspice
def test_the_whole_sampler_in_a_circuit_of_ones_own(solve):
    """`subcircuit()` at device level: one subcircuit with pins u, that runs inside another circuit."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    parts = {
        "noise": {"supply_correlation": 0.2},
        "op_amp": {"offset": 1e-3, "gbw": 1e9},
        "crossbar": {"wire_resistance": 1.0},
    }
    sampler = device(model, np.ones(4), "residual", parts)
    circuit = Circuit("a circuit of one's own")
    circuit.subcircuit(sampler.subcircuit("my_sampler"))
    circuit.X("s", "my_sampler", *(f"u_{i}" for i in range(4)))
    deck = "\n".join([str(circuit), sampler.options, ".option seed=3", ".end", ""])
    h = sampler.plan.step * 1e-6
    (answer,) = solve([(deck, f"tran {h!r} {200 * h!r} 0 {h!r} uic")])
    assert answer["time"][-1] == pytest.approx(200 * h)
    u = np.stack([answer[f"u_{i}"] for i in range(4)])
    assert np.isfinite(u).all()
    assert (u.std(axis=1) > 0.01).all()
