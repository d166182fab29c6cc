"""Power and speed of a device-level circuit, against sums written out by hand."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from reports import text_of

from circuitlsc import (
    Cauchy,
    CustomPrior,
    InputError,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.model.encoder import Encoder
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.studies.energy import EnergyReport, energy_report, power, power_report, probe, software_speed

pytestmark = pytest.mark.ngspice
REPORT = EnergyReport((), 5.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, ())


@pytest.fixture(scope="module")
def run():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    x = model.draw(np.random.default_rng(4))[1]
    parts = Nonidealities(op_amp={"quiescent_current": 1e-4, "gbw": 1e9})
    sampler = build_sampler(model, x, form="residual", level="device", nonideal=parts)
    return sampler, sampler.run(t_stop=300, seed=1)


def test_probe_sees_the_nodes(run):
    sampler, _ = run
    volts = probe(sampler, ("s_0", "ns_0", "r_0", "e_0"), t_stop=50)
    assert len(volts["time"]) == len(volts["s_0"]) == round(40 / sampler.plan.step)
    np.testing.assert_allclose(volts["ns_0"], -volts["s_0"], atol=0.02)
    assert volts["s_0"].std() > 0


def test_power_by_hand(run):
    sampler, samples = run
    report = energy_report(sampler, samples, software=False)
    rows = {r.part: r for r in report.rows}
    assert rows["transimpedance op-amps"].count == rows["inverters"].count == 8  # 4 pixels + 4 latents, twice
    assert rows["inverters"].quiescent == pytest.approx(8e-4)
    assert report.supply == 5.0
    for row in report.rows:
        assert row.watts == pytest.approx(5.0 * (row.quiescent + row.sourced))
    assert report.watts == pytest.approx(sum(r.watts for r in report.rows))
    # the inverters of r and s: their columns, and their own two resistors
    volts = probe(sampler, tuple(f"{q}_{i}" for q in ("ns", "nr") for i in range(4)))
    cells = {c.name: c for c in sampler.graph.cells}
    sourced = 0.0
    for q, name in (("ns", "forward"), ("nr", "backward")):
        load = cells[name].conductances_siemens[:, 1::2].sum(0) + sampler.nonideal.crossbar.g_on
        sourced += sum(load[i] * np.mean(np.abs(volts[f"{q}_{i}"])) for i in range(4))
    assert rows["inverters"].sourced == pytest.approx(sourced / 2, rel=1e-6)
    window = sampler.nonideal.crossbar.g_on - sampler.nonideal.crossbar.g_off
    r_x = sampler.model.A.max() * sampler.scaling.volt_r / sampler.scaling.volt / window
    assert rows["inputs"].sourced == pytest.approx(np.abs(sampler.x).sum() * sampler.scaling.volt_r / r_x / 2)
    noise = rows["noise transconductors"]
    assert noise.quiescent == pytest.approx(4 * 0.2 * sampler.graph.noise.gain)
    assert report.seconds == pytest.approx(2 * 280 * 1e-6)
    assert report.joule_per_sample == pytest.approx(report.watts * report.seconds / report.ess_min)


def test_supply_corner_scales_the_power(run):
    sampler, samples = run
    low = build_sampler(
        sampler.model,
        sampler.x,
        form="residual",
        level="device",
        nonideal=sampler.nonideal.changed({"corner.supply": 0.8}),
    )
    a, b = (energy_report(s, samples, software=False) for s in (sampler, low))
    assert b.watts == pytest.approx(0.8 * a.watts)


@pytest.mark.slow
def test_software_is_timed(run, monkeypatch):
    monkeypatch.setattr("circuitlsc.studies.energy.software_speed", partial(software_speed, seconds=0.02))
    report = energy_report(*run)
    assert [s.ess_per_second > 0 for s in report.software] == [True, True]
    text = text_of(power_report(report))
    assert "energy per effective sample" in text
    assert "numba Gibbs" in text


def test_a_prior_without_conditionals_is_timed_without_gibbs():
    table = CustomPrior(lambda s: np.sqrt(1 + s**2), reach=20.0)
    for prior in (Cauchy(2.0), table):
        sampler = build_sampler(SparseCodingModel(np.eye(2), prior, 1.0), np.ones(2), level="device")
        report = replace(REPORT, software=software_speed(sampler, seconds=0.01))
        assert [s.name for s in report.software] == ["NumPy Euler-Maruyama, 200 chains"]
        assert "Gibbs" not in text_of(power_report(report))


def test_ideal_level_has_no_power(bars_model, bars_x, run):
    with pytest.raises(InputError, match="the power of an ideal circuit has no meaning"):
        energy_report(build_sampler(bars_model, bars_x), run[1])


@pytest.mark.parametrize("source", ["product", "table"])
def test_power_of_a_variational_circuit_by_hand(source):
    """Two latents behind four hidden units: every count, the bias currents, and what flows into a crossbar's columns."""
    rng = np.random.default_rng(3)
    sizes = [(4, 2), (6, 4)]
    weights, biases = ([rng.standard_normal(n) for n in shapes] for shapes in (sizes, [m for m, _ in sizes]))
    encoder = Encoder(weights=tuple(weights), biases=tuple(biases))
    model, x = SparseCodingModel(np.eye(2), SpikeSlab(0.3, 1.0, signed=True), 0.5), np.array([0.4, -0.7])
    given = {"dynamics": "variational", "encoder": encoder, "source": source}
    parts = Nonidealities(op_amp={"quiescent_current": 1e-4})
    sampler = build_sampler(model, x, **given, level="device", nonideal=parts)
    found, watts, dissipated = power(sampler)
    rows = {row.part: row for row in found}
    voltages = {"product": 4, "table": 1}[source]
    counts = {
        "transimpedance op-amps": 10,
        "inverters": 2 + 4,
        "rectifiers": 4,
        "inputs": 10 + 2,
        **({"Laplace multipliers": 4} if source == "product" else {}),
        "multipliers of b and mu": 4,
        "comparators": 4,
        "exponentials": 2,
        "softpluses": 2,
        **({"Laplace maps": 2} if source == "table" else {}),
        "noise transconductors": 2 * voltages,
    }
    assert {name: row.count for name, row in rows.items()} == counts
    assert watts == pytest.approx(sum(row.watts for row in found))
    assert 0 < dissipated < watts
    assert rows["comparators"].quiescent == pytest.approx(4e-4)
    assert rows["noise transconductors"].quiescent == pytest.approx(2 * voltages * sampler.graph.noises[0].gain * 0.2)
    # a rectifier drives its columns of three crossbars, and an inverter; a pair of conductances adds up to its matrix's rows
    z = encoder.weights[0] @ x + encoder.biases[0]
    volts, g_on = np.maximum(z, 0) * sampler.scaling.volt, 1e-5
    plus = sum(
        c.conductances_siemens[:, 0::2].sum(0)
        for c in sampler.graph.cells
        if c.name in ("weights_mu", "weights_rho", "weights_eta")
    )
    assert rows["rectifiers"].sourced == pytest.approx(np.sum(volts * (plus + g_on)) / 2, rel=1e-6)
    mu, rho, eta = np.split(encoder.weights[1] @ np.maximum(z, 0) + encoder.biases[1], 3)
    full = np.exp(rho) * (16 - np.logaddexp(0, -eta)) + np.abs(mu)  # into 1 pF, at 50/tau
    want = np.sum(full) * sampler.scaling.volt * 50 * 1e-12 / 1e-6
    assert rows["multipliers of b and mu"].quiescent == pytest.approx(want, rel=2e-3)
    assert all("an estimate" in rows[n].text for n in ("comparators", "exponentials", "multipliers of b and mu"))
    free = build_sampler(model, x, **given, level="device")
    gain = max(np.max(np.diag(c.noise_gain)) for c in free.graph.cells if hasattr(c, "noise_gain"))
    row = next(row for row in power(free)[0] if row.part == "rectifiers")
    assert row.quiescent == pytest.approx(4 * 50 / 1e-6 * gain * 1e-12 * 0.2)
    with pytest.raises(InputError, match="the power of an ideal circuit has no meaning"):
        power(build_sampler(model, x, **given))


def test_energy_of_a_variational_run(monkeypatch):
    """An independent sample each 2 tau, of the law and not of the posterior; NumPy's draws of it are timed beside."""
    monkeypatch.setattr("circuitlsc.studies.energy.software_speed", partial(software_speed, seconds=0.02))
    encoder = Encoder(weights=(np.zeros((6, 2)),), biases=(np.array([0.5, -0.4, 0.0, -0.3, 0.2, 0.4]),))
    model = SparseCodingModel(np.eye(2), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    sampler = build_sampler(model, np.ones(2), dynamics="variational", encoder=encoder, level="device")
    report = energy_report(sampler, sampler.run(t_stop=4020.0, warmup=20.0, chains=1, seed=2))
    assert report.watts == pytest.approx(power(sampler)[1])
    assert report.joule_per_draw == pytest.approx(report.watts * 2e-6)
    assert report.seconds == pytest.approx(4000e-6)
    # 2000 independent samples: of the statistic that seems to mix worst
    assert report.joule_per_sample == pytest.approx(report.joule_per_draw, rel=0.3)
    assert report.ess_per_second == pytest.approx(5e5, rel=0.3)
    assert [s.name for s in report.software] == ["NumPy draws of the encoder's law"]
    text = text_of(power_report(report))
    assert "samples of the encoder's law, not of the posterior: an independent one in a step of 2 tau" in text
    assert json.loads(json.dumps(report.to_dict()))["joule_per_draw"] == report.joule_per_draw
    assert replace(REPORT).joule_per_draw is None
    assert "law" not in text_of(power_report(REPORT))
