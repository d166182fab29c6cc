"""Design rules against formulas written out here, and the loop gain against its closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_variational_circuit import CHAIN, KIND, ROWS, network

from circuitlsc import Dynamics, Gaussian, SimulationError, SparseCodingModel, bars, build_sampler
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.sampling.sampler import BEYOND
from circuitlsc.studies.design_rules import check_rules, loop_gain
from circuitlsc.studies.device_law import device_law


def device(model, x, form="gram", **parts):
    return build_sampler(model, x, form=form, level="device", nonideal=Nonidealities(parts))


def rule(rules, name):
    return next(r for r in rules if r.name == name)


def test_ideal_parts_break_no_rule(bars_model, bars_x, form):
    assert all(r.ok for r in check_rules(device(bars_model, bars_x, form), ac=False))
    assert check_rules(build_sampler(bars_model, bars_x)) == []


@pytest.mark.parametrize(
    ("parts", "name", "said"),
    [
        ({"op_amp": {"gbw": 1e7}}, "op-amp lag", "Raise op_amp.gbw"),
        ({"noise": {"capacitance": 1e-13}}, "noise bandwidth", "noise's correlation time"),
        ({"comparator": {"delay": 1e-7}}, "comparator delay", "Raise tau"),
        ({"op_amp": {"slew_rate": 1e5}}, "slew rate", "1e+05 V/s"),
        ({"op_amp": {"rail": 0.5}}, "voltage of e", "the rail is 0.5 V"),
        ({"integrator": {"rail": 0.2}}, "voltage of u", "the rail is 0.2 V"),
        ({"integrator": {"offset_current": 5e-8}}, "offset", "the prior's current is 1e-07 A"),
        ({"op_amp": {"offset": 20e-3}}, "offset", "the op-amps' offsets at e"),
        ({"noise": {"offset": 1e-3}}, "offset", "AC-couple"),
        ({"multiplier": {"offset": 50e-3}}, "offset", "the multipliers' offsets at e"),
        ({"noise": {"flicker_corner": 1e5}}, "1/f noise", "1e+05 Hz"),
        ({"noise": {"ac_corner": 1e5}}, "AC coupling", "1e+05 Hz"),
        ({"comparator": {"gate_offset": 20e-3}}, "comparator", "no gradient"),
        ({"comparator": {"hysteresis": 50e-3}}, "comparator", "hysteresis is 0.05 V"),
    ],
)
def test_broken_rules_say_both_numbers(bars_model, bars_x, parts, name, said):
    rules = check_rules(device(bars_model, bars_x, **parts), ac=False)
    broken = [r for r in rules if not r.ok]
    assert [r.name for r in broken] == [name]
    assert said in str(broken[0])
    assert f"{broken[0].value:.3g}" in str(broken[0])


def test_lag_by_hand(bars_model, bars_x):
    """A tenth of the bandwidth, ten times the lag; at the advised tau the rule holds."""
    slow, fast = (
        rule(check_rules(device(bars_model, bars_x, op_amp={"gbw": f}), ac=False), "op-amp lag") for f in (1e8, 1e9)
    )
    assert slow.value == pytest.approx(10 * fast.value)
    assert not slow.ok
    assert fast.ok
    tau = float(str(slow).split("tau to ")[1].split(" s")[0])
    longer = build_sampler(
        bars_model, bars_x, level="device", tau=1.05 * tau, nonideal=Nonidealities(op_amp={"gbw": 1e8})
    )
    assert rule(check_rules(longer, ac=False), "op-amp lag").ok


@pytest.mark.ngspice
@pytest.mark.parametrize("prior", ["spike-slab", "gaussian"])
def test_loop_gain_of_ideal_parts(bars_model, bars_x, form, prior):
    """L = a/(j omega tau): the crossover at a/(2 pi tau), and 90 degrees."""
    model = bars_model if prior == "spike-slab" else SparseCodingModel(bars(4), Gaussian(1.0), 0.5)
    sampler = device(model, bars_x, form)
    loop = loop_gain(sampler)
    a = np.linalg.eigvalsh(model.gram)[-1]
    np.testing.assert_allclose(loop.gain, a / (2j * np.pi * loop.frequency * 1e-6), rtol=1e-6)
    assert loop.crossover == pytest.approx(a / (2 * np.pi * 1e-6), rel=1e-3)
    assert loop.phase_margin == pytest.approx(90, abs=0.01)


@pytest.mark.ngspice
def test_loop_gain_with_lags():
    """One latent, gram form: an inverter of bandwidth GBW/2 and an amplifier of GBW/N in series, and a delay."""
    model = SparseCodingModel(np.array([[2.0]]), Gaussian(1.0), 0.5)
    parts = {"op_amp": {"gbw": 3e7}}
    sampler = device(model, np.ones(1), **parts)
    loop = loop_gain(sampler)
    gain = float(next(c.noise_gain[0, 0] for c in sampler.graph.cells if c.name == "gradient"))
    f = loop.frequency
    pole = [1 + 1j * f / 3e7, 1 + 2j * f / 3e7, 1 + gain * 1j * f / 3e7]  # follower, inverter, amplifier
    # 16 goes through the inverter; g_off, a hundredth of g_on, through both halves of the pair
    small = 16 * 1e-7 / (1e-5 - 1e-7)
    e = ((16 + small) / pole[1] - small) / pole[2]
    np.testing.assert_allclose(loop.gain, e / pole[0] / (2j * np.pi * f * 1e-6), rtol=2e-3)
    late = loop_gain(device(model, np.ones(1), op_amp={"gbw": 3e6}))
    assert late.phase_margin < loop.phase_margin < 85
    (margin,) = [r for r in check_rules(device(model, np.ones(1), op_amp={"gbw": 3e6})) if r.name == "phase margin"]
    assert not margin.ok


@pytest.mark.ngspice
def test_rails_do_not_hide_the_loop(bars_model, bars_x):
    """The operating point of the .ac run is in the middle of the rails, whatever x is."""
    free, clamped = (loop_gain(device(bars_model, 20 * bars_x, "residual", op_amp=p)) for p in ({}, {"rail": 0.5}))
    assert clamped.crossover == pytest.approx(free.crossover, rel=1e-3)


@pytest.mark.ngspice
def test_a_loop_without_gain_is_no_traceback(bars_model, bars_x):
    rules = check_rules(device(bars_model, bars_x, crossbar={"stuck_off": 1.0}))
    assert rule(rules, "phase margin").ok
    assert loop_gain(device(bars_model, bars_x, crossbar={"stuck_off": 1.0})).crossover == 0


@pytest.mark.parametrize(("which", "said"), [("u", "a neuron"), ("observed", "a state of p")])
def test_every_state_is_held_against_the_supply(bars_model, bars_x, which, said):
    dynamics = Dynamics(kind="underdamped", friction=1.0)
    sampler = build_sampler(bars_model, bars_x, level="device", dynamics=dynamics)
    limit = BEYOND * sampler.scaling.rails / sampler.scaling.volt
    result = SimpleNamespace(u=np.zeros((9, 8)), observed=np.zeros((9, 8)), chain=3)
    getattr(result, which)[4, 5] = -0.99 * limit
    sampler._check_supply([result])
    getattr(result, which)[4, 5] = -1.01 * limit
    with pytest.raises(SimulationError, match=rf"^chain 3: {said} reached .* V on a supply of"):
        sampler._check_supply([result])


@pytest.mark.ngspice
def test_an_unstable_chip_is_refused():
    """Stuck cells can make a mode grow: the rules say so, and a run does not pass for a measurement."""
    model = SparseCodingModel(bars(2), Gaussian(1.0), 0.5)
    sampler = device(model, np.ones(4), crossbar={"stuck_on": 0.2})
    value = rule(check_rules(sampler), "stability")
    jacobian = sampler.twin.linearise(np.zeros((1, 4)))[1][0]
    assert value.value == pytest.approx(-np.max(np.linalg.eigvals(jacobian).real), rel=1e-6)
    assert not value.ok
    with pytest.raises(SimulationError, match="a neuron reached"):
        sampler.run(t_stop=200, seed=1)


# --- of a variational circuit, which has no loop ---


def variational(parts=None, x=ROWS[0], **given):
    encoder = network((4, 6, 12))
    return build_sampler(CHAIN, x, dynamics=KIND, encoder=encoder, level="device", nonideal=parts or {}, **given)


def test_ideal_parts_break_no_rule_of_the_law():
    rules = check_rules(variational())
    assert [r.name for r in rules] == [f"voltage of {what}" for what in ("u", "the encoder", "a draw", "the code")]
    assert all(r.ok for r in rules)
    assert check_rules(build_sampler(CHAIN, ROWS[0], dynamics=KIND, encoder=network((4, 6, 12)))) == []


@pytest.mark.parametrize(
    ("kept", "broken", "name", "said"),
    [
        ({"comparator": {"delay": 9e-9}}, {"comparator": {"delay": 2e-8}}, "comparator delay", "Raise tau to 2e-06 s"),
        ({"op_amp": {"gbw": 1e8}}, {"op_amp": {"gbw": 1e5}}, "op-amp settling", "keeps its pole. Raise op_amp.gbw to"),
        ({"op_amp": {"rail": 1.0}}, {"op_amp": {"rail": 0.05}}, "voltage of the encoder", "the rail is 0.05 V"),
        (
            {"integrator": {"rail": 0.7}},
            {"integrator": {"rail": 0.5}},
            "voltage of u",
            "u reaches 0.6 V, the rail is 0.5",
        ),
        ({"noise": {"flicker_corner": 1e2}}, {"noise": {"flicker_corner": 1e4}}, "1/f noise", "Lower noise.flicker"),
        ({"noise": {"temperature": 303.0}}, {"noise": {"temperature": 350.0}}, "noise.temperature", "alone moves P"),
        ({"op_amp": {"offset": 1e-4}}, {"op_amp": {"offset": 4e-3}}, "op_amp.offset", "alone moves P(active) by"),
        ({"comparator": {"width": 5e-4}}, {"comparator": {"width": 1e-2}}, "comparator.width", "alone moves P(active)"),
        (
            {"multiplier": {"gain_error": 5e-3}},
            {"multiplier": {"gain_error": 0.2}},
            "multiplier.gain_error",
            "limit 0.02",
        ),
    ],
)
def test_each_rule_of_the_law(kept, broken, name, said):
    assert rule(check_rules(variational(kept)), name).ok
    worse = rule(check_rules(variational(broken)), name)
    assert not worse.ok
    assert said.lower() in str(worse).lower()
    assert f"{worse.value:.3g}" in str(worse)


def test_how_often_the_rails_are_met():
    """P(|L| > l) = exp(-l), l the rails in units of u; the code's is that of its encoder's law."""
    full, low = variational(volt=0.1), variational({"corner": {"supply": 0.35}}, volt=0.1)
    found, worse = (rule(check_rules(sampler), "voltage of a draw") for sampler in (full, low))
    assert found.value == pytest.approx(np.exp(-25.0))
    assert worse.value == pytest.approx(np.exp(-8.75))
    assert (found.ok, worse.ok) == (True, False)
    mu, rho, kappa = network((4, 6, 12)).heads(ROWS[0])
    beyond = [np.exp(-kappa - (8.75 - side * mu) * np.exp(-rho)) / 2 for side in (1, -1)]
    assert rule(check_rules(low), "voltage of the code").value == pytest.approx(np.max(sum(beyond)), abs=1e-12)


def test_rules_of_rows():
    """A row that differs must be followed by the op-amps within half a step; of one input nothing moves."""
    slow = {"op_amp": {"slew_rate": 1e4, "gbw": 1e8}}
    sampler = variational(slow, ROWS, hold=40.0)
    rows = rule(check_rules(sampler), "slew rate")
    moved = max(np.abs(np.diff(values, axis=0)).max() for values in network((4, 6, 12)).layers(ROWS))
    assert rows.value == pytest.approx(moved * sampler.scaling.volt / 1e-6)  # half of 2 tau
    assert not rows.ok
    assert rule(check_rules(variational({"op_amp": {"slew_rate": 1e6, "gbw": 1e8}}, ROWS, hold=40.0)), "slew rate").ok
    assert "slew rate" not in [r.name for r in check_rules(variational(slow))]


def test_flicker_by_its_sections():
    """A section of drift D and rate w adds D^2/(1 + w) to the variance of u, which has rate 1."""
    sampler = variational({"noise": {"flicker_corner": 1e4}})
    noise, scaling = sampler.graph.noises[0], sampler.scaling
    thermal = np.log(10) * 4 * 1.380649e-23 * 300 * 1e6 * 1e4  # V^2 in each decade
    drift = noise.gain**2 * thermal / scaling.drift_current**2
    want = sum(drift / (1 + 10.0**k) for k in (1, 0, -1, -2, -3, -4))
    assert rule(check_rules(sampler), "1/f noise").value == pytest.approx(want)
    coupled = variational({"noise": {"flicker_corner": 1e4, "ac_corner": 1e4}})
    f = 2 * np.pi * 1e4 * 1e-6
    want = sum(drift * w / ((1 + f) * (1 + w) * (f + w)) for w in 10.0 ** np.arange(-4.0, 2.0))
    assert rule(check_rules(coupled), "1/f noise").value == pytest.approx(want)


def test_the_law_of_an_imperfection_is_against_ideal_parts():
    """Whatever else is wrong: each rule is of its own imperfection alone."""
    alone, both = ({"noise": {"temperature": 330.0}}, {"noise": {"temperature": 330.0}, "comparator": {"width": 5e-3}})
    one, two = (rule(check_rules(variational(parts)), "noise.temperature") for parts in (alone, both))
    assert one.value == pytest.approx(two.value, rel=1e-6)
    moved = device_law(variational(alone))["p_active"] - device_law(variational())["p_active"]
    assert f"P(active) by {np.abs(moved).max():.3g}" in str(one)
