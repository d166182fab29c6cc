"""What parts do wrong, as data: every part and parameter, what is refused, and draws that do not move each other."""

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.nonideal.nonidealities import (
    IDEAL,
    Imperfection,
    Nonidealities,
    ideal_value,
    split_name,
    unit_of,
)
from circuitlsc.nonideal.parameters import PARTS, OpAmpParts
from circuitlsc.nonideal.presets import PRESETS

INF, NAN = math.inf, math.nan

# values that are taken, and values that are refused; NaN, bool, str, list and None are refused everywhere (but see OPTIONAL)
VALUES = {
    "crossbar.g_on": ([1.1e-7, 1.0], [0.0, -1e-5, 1e-7, 1e-9]),
    "crossbar.g_off": ([0.0, 9.9e-6], [-1e-9, 1e-5, 1.0]),
    "crossbar.levels": ([2, 2.0, np.int64(16), 10**6], [1, 0, -2, 2.5]),
    "crossbar.programming_error": ([0.0, 2.0], [-0.1, 2.1]),
    "crossbar.programming_polynomial": (
        [[], [0.1, -0.2, 0.1], (0, 1, 2)],
        [0.1, [0.1], [0.1, 0.2], [0.1, 0.2, 0.3, 0.4]],
    ),
    "integrator.friction_mismatch": ([0.0, 1.0], [-0.1, 1.1]),
    "transconductor.gain_error": ([0.0, 1.0], [-0.1, 1.1]),
    "transconductor.offset": ([0.0, 10.0], [-0.1, 10.1]),
    "crossbar.stuck_on": ([0.0, 1.0], [-0.1, 1.1]),
    "crossbar.stuck_off": ([0.0, 1.0], [-0.1, 1.1]),
    "crossbar.wire_resistance": ([0.0, 1e6], [-1.0]),
    "crossbar.driver_resistance": ([0.0, 1e6], [-1.0]),
    "op_amp.gain": ([1.1, 1e6, INF], [1.0, 0.0, -10.0]),
    "op_amp.gbw": ([1.0, INF], [0.0, -1e6]),
    "op_amp.offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "op_amp.rail": ([1e-3, INF], [0.0, -2.5]),
    "op_amp.slew_rate": ([1.0, INF], [0.0, -1e6]),
    "op_amp.output_resistance": ([0.0, 1e9], [-1.0, 1.1e9]),
    "op_amp.quiescent_current": ([0.0, 100.0], [-1e-3, 101.0]),
    "integrator.output_resistance": ([1.0, INF], [0.0, -1.0]),
    "integrator.offset_current": ([0.0, 1.0], [-1e-12, 1.1]),
    "integrator.rail": ([1e-3, INF], [0.0, -2.5]),
    "integrator.capacitance_mismatch": ([0.0, 1.0], [-0.1, 1.1]),
    "comparator.width": ([1e-6, 1.0], [0.0, -1e-3]),
    "comparator.threshold_offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "comparator.gate_offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "comparator.hysteresis": ([0.0, 10.0], [-1e-3, 10.1]),
    "comparator.delay": ([0.0, 1.0], [-1e-9, 1.1]),
    "comparator.regeneration": ([1e-12, 1e-6], [0.0, -1e-9]),
    "multiplier.gain_error": ([0.0, 1.0], [-0.1, 1.1]),
    "multiplier.offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "plastic.leak_resistance": ([1.0, INF], [0.0, -1.0]),
    "plastic.capacitance_mismatch": ([0.0, 1.0], [-0.1, 1.1]),
    "plastic.gain_error": ([0.0, 1.0], [-0.1, 1.1]),
    "plastic.offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "prior.lam_error": ([-0.95, 0.0, 10.0], [-0.96, 10.1]),
    "prior.lam_mismatch": ([0.0, 1.0], [-0.1, 1.1]),
    "noise.resistance": ([1.0, 1e9], [0.0, -1.0]),
    "noise.capacitance": ([0.0, 1e-9], [-1e-15]),
    "noise.temperature": ([1e-3, 1e4], [0.0, -300.0]),
    "noise.temperature_mismatch": ([0.0, 2.0], [-0.1, 2.1]),
    "noise.offset": ([0.0, 10.0], [-1e-3, 10.1]),
    "noise.flicker_corner": ([0.0, 1e6], [-1.0]),
    "noise.ac_corner": ([0.0, 1e6], [-1.0]),
    "noise.supply_correlation": ([0.0, 0.99], [-0.1, 1.0]),
    "supply.voltage": ([1e-3, 30.0], [0.0, -5.0]),
    "corner.temperature": ([1.0, 400.0], [0.0, -40.0]),
    "mosfet.mismatch": ([0.0, 1.0], [-0.1, 10.1]),
    "corner.supply": ([0.1, 1.1], [0.0, -1.0]),
    "corner.resistance": ([0.1, 1.3], [0.0, -1.0]),
    "corner.capacitance": ([0.1, 1.3], [0.0, -1.0]),
}
OPTIONAL = {  # None is "not given"
    "crossbar.levels",
    "op_amp.quiescent_current",
    "comparator.width",
    "comparator.regeneration",
    "supply.voltage",
}
DESIGN = {
    "crossbar.g_on",
    "crossbar.g_off",
    "op_amp.quiescent_current",
    "comparator.regeneration",
    "noise.resistance",
    "supply.voltage",
}
ALL_ON = {  # each random parameter, without the two that would hide another: stuck cells, and a polynomial
    "crossbar.programming_error": 0.1,
    "op_amp.offset": 1e-3,
    "integrator.offset_current": 1e-9,
    "integrator.capacitance_mismatch": 0.1,
    "comparator.threshold_offset": 2e-3,
    "comparator.gate_offset": 2e-3,
    "multiplier.gain_error": 0.1,
    "multiplier.offset": 1e-3,
    "prior.lam_mismatch": 0.1,
    "noise.temperature_mismatch": 0.1,
    "noise.offset": 1e-6,
}
OTHERS = {  # what moves no draw
    "crossbar.wire_resistance": 3.0,
    "crossbar.driver_resistance": 50.0,
    "op_amp.gain": 1e4,
    "op_amp.gbw": 1e8,
    "op_amp.rail": 2.4,
    "integrator.output_resistance": 1e9,
    "comparator.hysteresis": 1e-3,
    "comparator.delay": 1e-9,
    "prior.lam_error": 0.2,
    "noise.capacitance": 1e-14,
    "noise.ac_corner": 1e3,
}


def refused(message, *args, **keywords):
    """Check that Nonidealities refuses, in one line that matches."""
    with pytest.raises(InputError, match=message) as caught:
        Nonidealities(*args, **keywords)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def given(name, value):
    part, parameter = name.split(".")
    return {part: {parameter: value}}


def same(a, b):
    return a == b if isinstance(a, (tuple, list)) else a == b and type(a) is type(b)


# --- values ---


def test_every_parameter_is_tested_here():
    assert set(VALUES) == {
        f"{key}.{f.name}" for key, cls in PARTS.items() for f in fields(cls) if f.metadata["kind"] == "number"
    }
    assert {n for n in VALUES if ideal_value(n) is None} == OPTIONAL


@pytest.mark.parametrize("name", VALUES)
def test_values_that_are_taken(name):
    for value in VALUES[name][0]:
        chip = Nonidealities(given(name, value))
        got = chip.get(name)
        assert got == (tuple(value) if isinstance(value, (list, tuple)) else value)
        assert type(got) is {"crossbar.levels": int, "crossbar.programming_polynomial": tuple}.get(name, float)
        assert Nonidealities(**given(name, value)) == chip
        assert Nonidealities().changed({name: value}) == chip


@pytest.mark.parametrize(
    ("name", "value"), [pytest.param(name, value, id=f"{name}={value}") for name in VALUES for value in VALUES[name][1]]
)
def test_values_that_are_refused(name, value):
    message = refused(rf"^crossbar\.|^{re.escape(name)} = ", given(name, value))
    assert name in message
    with pytest.raises(InputError, match=re.escape(name)):
        IDEAL.changed({name: value})


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", [NAN, -INF, True, "3", [1.0], {}, 1j, None], ids=str)
def test_what_is_no_number_is_refused(name, value):
    if value is None and name in OPTIONAL:
        assert Nonidealities(given(name, None)) == IDEAL
        return
    refused(rf"^{re.escape(name)} = .* (is not a|must be)", given(name, value))


@pytest.mark.parametrize("name", VALUES)
def test_infinity_is_an_ideal_value_or_refused(name):
    value = [INF, 0.0, 0.0] if name.endswith("polynomial") else INF
    if ideal_value(name) == INF:
        assert Nonidealities(given(name, value)) == IDEAL
    else:
        refused(r"^crossbar: .*finite|^" + re.escape(name), given(name, value))


@pytest.mark.parametrize("bad", [NAN, True, "a"])
def test_bad_coefficients_are_refused(bad):
    refused(r"^crossbar\.programming_polynomial = ", crossbar={"programming_polynomial": [0.1, bad, 0.1]})


def test_messages_say_what_is_wrong_and_in_which_unit():
    for message, name, value in [
        (
            "crossbar.g_off = 2e-05 S is not below crossbar.g_on = 1e-05 S: the window is empty. ",
            "crossbar.g_off",
            2e-5,
        ),
        (
            "crossbar.levels = 1 is not a whole number >= 2. Give the number of conductance levels, 2 or more (1).",
            "crossbar.levels",
            1,
        ),
        ("op_amp.gbw = -1.0, but it must be > 0. Give the gain-bandwidth product (Hz).", "op_amp.gbw", -1.0),
        ("crossbar.stuck_on = 1.5, but it must be >= 0 and <= 1. Give the fraction", "crossbar.stuck_on", 1.5),
        (
            "op_amp.offset = '5 mV' is not a number. Give the sd of the input offset voltage (V).",
            "op_amp.offset",
            "5 mV",
        ),
    ]:
        assert message in refused(name.split(".")[1], given(name, value))


def test_stuck_fractions_that_exceed_all_cells():
    refused(r"^crossbar\.stuck_on \+ crossbar\.stuck_off = 1\.2, but", crossbar={"stuck_on": 0.7, "stuck_off": 0.5})
    Nonidealities(crossbar={"stuck_on": 0.5, "stuck_off": 0.5})


# --- names ---


def test_unknown_names_are_refused_with_the_nearest():
    refused(r"^'op_am' is not a known part\. Did you mean 'op_amp'\? The parts are crossbar, op_amp, ", {"op_am": {}})
    refused(r"^'zzz' is not a known part\. The parts are crossbar, ", zzz={})
    refused(
        r"^op_amp\.ofset is not a known parameter\. Did you mean 'offset'\? op_amp has gain, gbw, offset, ",
        op_amp={"ofset": 1e-3},
    )
    for use in (IDEAL.get, IDEAL.changed, ideal_value, unit_of, split_name):
        for name, nearest in [("op_amp.gwb", "gbw"), ("op_amb.gbw", "op_amp"), ("gbw", None), ("op_amp", None)]:
            with pytest.raises(InputError, match=f"^'{name}': .* is not a") as caught:
                use({name: 1.0} if use == IDEAL.changed else name)
            assert (f"Did you mean '{nearest}'?" in str(caught.value)) == (nearest is not None)
            assert "\n" not in str(caught.value)


def test_only_refuses_unknown_names():
    """A typing error would else switch off the imperfection that was meant."""
    chip = Nonidealities(op_amp={"offset": 1e-3})
    with pytest.raises(InputError, match="Did you mean 'offset'"):
        chip.only("op_amp.ofset")


def test_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"^preset 'rrram' is not known\. Did you mean 'rram'\? The presets are ideal, .*\.$"
    ):
        Nonidealities.preset("rrram")
    with pytest.raises(InputError, match=r"^preset 3 is not known\."):
        Nonidealities.preset(3)


def test_what_is_no_mapping_is_refused():
    refused(r"^Nonidealities: 'rram' is not a mapping", "rram")
    refused(r"^op_amp = 0\.1 is not a table of parameters\. Give for example \{gain = \.\.\.\}", op_amp=0.1)
    refused(r"^Nonidealities: op_amp is given twice\.$", {"op_amp": {}}, op_amp={})


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None], ids=str)
def test_seed_that_is_no_seed_is_refused(seed):
    refused(r"^nonideal\.seed = .* is not a whole number\. Give an integer >= 0\.$", seed=seed)


def test_names_units_and_ideal_values():
    assert split_name("op_amp.gbw") == ("op_amp", "gbw")
    assert unit_of("op_amp.gbw") == "Hz"
    assert ideal_value("op_amp.gbw") == INF
    assert all(unit_of(name) for name in VALUES)


# --- what is imperfect ---


@pytest.mark.parametrize("name", VALUES)
def test_each_parameter_is_listed_alone(name):
    value = next(v for v in VALUES[name][0] if same(v, ideal_value(name)) is False and v != [])
    chip = Nonidealities(given(name, value))
    found = chip.imperfections()
    if name in DESIGN:
        assert found == ()
        assert chip.only() == chip
    else:
        assert found == (Imperfection(name, chip.get(name)),)
        assert chip.only() == IDEAL
        assert chip.only(name) == chip
    assert chip != IDEAL
    assert Nonidealities(json.loads(json.dumps(chip.attributes()))) == chip


def test_only_keeps_the_design_and_the_seed():
    chip = Nonidealities(
        crossbar={"g_on": 2e-5, "levels": 8}, op_amp={"gain": 1e3, "offset": 1e-3}, supply={"voltage": 3.0}, seed=4
    )
    assert [i.name for i in chip.imperfections()] == ["crossbar.levels", "op_amp.gain", "op_amp.offset"]
    alone = chip.only("op_amp.offset", "crossbar.levels")
    assert [i.name for i in alone.imperfections()] == ["crossbar.levels", "op_amp.offset"]
    assert (alone.get("crossbar.g_on"), alone.get("supply.voltage"), alone.seed) == (2e-5, 3.0, 4)
    assert chip.only().imperfections() == ()
    assert chip.only().crossbar.g_on == 2e-5
    assert chip.op_amp.gain == 1e3, "the original is as it was"


def test_changed():
    chip = Nonidealities(op_amp={"gain": 1e3}, seed=4)
    other = chip.changed({"op_amp.offset": 1e-3, "crossbar.levels": 4})
    assert other == Nonidealities(op_amp={"gain": 1e3, "offset": 1e-3}, crossbar={"levels": 4}, seed=4)
    assert chip.changed({}, seed=5) == Nonidealities(op_amp={"gain": 1e3}, seed=5)
    assert chip.changed({}) == chip
    assert chip.changed({"op_amp.gain": INF}) == Nonidealities(seed=4) != chip


@pytest.mark.parametrize("name", PRESETS)
def test_attributes_round_trip(name):
    chip = Nonidealities.preset(name, seed=3)
    plain = json.loads(json.dumps(chip.attributes()))
    assert Nonidealities(plain, seed=3) == chip
    assert Nonidealities(plain, seed=4) != chip
    assert set(plain) <= set(PARTS)
    assert (plain == {}) == (name == "ideal") == (chip.imperfections() == ())


def test_a_part_may_be_given_as_an_object():
    assert Nonidealities(op_amp=OpAmpParts(offset=1e-3)) == Nonidealities({"op_amp": {"offset": 1e-3}})
    with pytest.raises(InputError, match=r"^op_amp = CrossbarParts.* is not a table of parameters\."):
        Nonidealities(op_amp=IDEAL.crossbar)


# --- draws ---


def test_normal_and_factor_have_their_distributions():
    chip, n = Nonidealities(seed=1), 20_000
    names = [f"cell_{i}" for i in range(n)]
    z = chip.normals(names, "offset", 3e-3) / 3e-3
    assert stats.kstest(z, "norm").pvalue > 1e-4
    assert abs(z.mean()) < 4.5 / np.sqrt(n)
    assert stats.kstest(1.1 * z, "norm").pvalue < 1e-4, "negative control: an sd wrong by 10 % would be seen"
    for sd in (0.01, 0.9):
        f = chip.factors(names, "gain", sd)
        assert (f > 0).all()
        assert f.mean() == pytest.approx(1, abs=4.5 * sd / np.sqrt(n))
        spread = np.sqrt(np.log1p(sd**2))
        assert stats.kstest((np.log(f) + spread**2 / 2) / spread, "norm").pvalue > 1e-4
    u = np.array([chip.uniform(name, "x") for name in names])
    assert stats.kstest(u, "uniform").pvalue > 1e-4


def test_draws_without_spread_are_exact():
    assert IDEAL.normal("a", "b", 0.0) == 0.0
    assert IDEAL.factor("a", "b", 0.0) == 1.0
    np.testing.assert_array_equal(IDEAL.normals(["a", "c"], "b", 0.0), 0.0)


def test_draws_scale_with_their_sd():
    assert IDEAL.normal("a", "b", 2e-3) == pytest.approx(2 * IDEAL.normal("a", "b", 1e-3), rel=1e-12)
    small, large = IDEAL.factor("a", "b", 1e-6), IDEAL.factor("a", "b", 2e-6)
    assert large - 1 == pytest.approx(2 * (small - 1), rel=1e-4)


def test_draws_differ_by_seed_element_and_parameter():
    names = [f"cell_{i}" for i in range(3000)]
    base = Nonidealities(seed=1).normals(names, "offset", 1.0)
    np.testing.assert_array_equal(base, Nonidealities(seed=1).normals(names, "offset", 1.0))
    others = [
        Nonidealities(seed=2).normals(names, "offset", 1.0),
        Nonidealities(seed=1).normals([f"c{n}" for n in names], "offset", 1.0),
        Nonidealities(seed=1).normals(names, "gain", 1.0),
        np.roll(base, 1),
    ]
    for other in others:
        assert abs(np.corrcoef(base, other)[0, 1]) < 4.5 / np.sqrt(len(names))


# --- circuits ---


def sampler_with(nonideal, form="gram", **keywords):
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    return build_sampler(model, [1.0, 0.2, -0.3, 0.8], form=form, level="device", nonideal=nonideal, **keywords)


def values_in(sampler):
    """Return the numbers of a deck by instance and parameter, and its crossbars' resistors."""
    values, inside = {}, ""
    for line in sampler.deck(t_stop=30.0).replace("\n+", "").splitlines():
        words = line.split()
        if line.startswith(".subckt"):
            inside = words[1]
        elif line.startswith(".ends"):
            inside = ""
        elif line.startswith("X") and not inside:
            values |= {(words[0], k): float(v) for k, v in (w.split("=") for w in words if "=" in w)}
        elif re.match(r"R\d+_\d+ ", line):
            values[inside, words[0]] = float(words[3])
    return values


def footprint(nonideal, base, form):
    """Return the numbers that differ from those of ``base``."""
    before, after = values_in(sampler_with(base, form)), values_in(sampler_with(nonideal, form))
    return {key: v for key, v in after.items() if key in before and v != before[key]}


@pytest.mark.parametrize("name", ALL_ON)
def test_one_imperfection_does_not_move_anothers_draws(name, form):
    """Alone, among all others, and at twice its size: the same elements, the same draws."""
    chip = IDEAL.changed(ALL_ON, seed=11)
    alone = footprint(chip.only(name), IDEAL, form)
    n = 4
    assert len(alone) >= n
    for kind in {key[1] for key in alone}:  # each element has a draw of its own
        drawn = [v for key, v in alone.items() if key[1] == kind]
        assert len(set(drawn)) == len(drawn)
    everything = values_in(sampler_with(chip, form))
    assert {k: everything[k] for k in alone} == pytest.approx(alone, rel=1e-12)
    with_others = values_in(sampler_with(chip.changed(OTHERS), form))
    assert {k: with_others[k] for k in alone} == (
        pytest.approx(alone, rel=1e-12)
        if name != "prior.lam_mismatch"
        else pytest.approx({k: 1.2 * v for k, v in alone.items()}, rel=1e-12)  # lam_error multiplies it
    )
    # switched off, it takes nothing else with it
    without = values_in(sampler_with(chip.changed({name: 0.0}), form))
    assert {k: v for k, v in everything.items() if k not in alone} == {
        k: v for k, v in without.items() if k not in alone
    }


@pytest.mark.parametrize("name", ALL_ON)
def test_another_seed_is_another_chip(name):
    one, other = (values_in(sampler_with(IDEAL.changed({name: ALL_ON[name]}, seed=seed))) for seed in (1, 2))
    ideal = values_in(sampler_with(IDEAL))
    moved = [key for key in one if one[key] != ideal[key]]
    assert len(moved) >= 4
    assert all(one[key] != other[key] for key in moved)


def test_both_circuits_of_a_sampler_have_the_same_chip():
    """The deck that the engine runs and the one that stands alone."""
    sampler = sampler_with(IDEAL.changed(ALL_ON, seed=11))
    lines = {w[0]: w for w in (line.split() for line in str(sampler.circuit).splitlines()) if w and w[0] == "Xgate_0"}
    standalone = values_in(sampler)
    found = dict(w.split("=") for w in lines["Xgate_0"] if "=" in w)
    assert set(found) == {"vos", "gain", "e_os", "prior"}
    assert all(float(v) == standalone["Xgate_0", k] for k, v in found.items())


@pytest.mark.ngspice
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("wires", ["reduced", "segments"])
def test_presets_make_circuits_that_ngspice_takes(preset, wires, form, solve):
    sampler = sampler_with(Nonidealities.preset(preset, seed=1), form, wires=wires)
    step = sampler.plan.step * sampler.scaling.tau
    (answer,) = solve([(sampler.deck(t_stop=30.0), f"tran {step!r} {20 * step!r} 0 {step!r} uic")])
    assert answer["time"][-1] == pytest.approx(20 * step)
    u = np.stack([answer[f"u_{i}"] for i in range(4)]) / sampler.scaling.volt
    assert np.isfinite(u).all()
    assert (np.abs(u[:, -1]) > 0).all()
    assert np.abs(u).max() < 10


def test_presets_are_refused_with_ideal_cells():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    with pytest.raises(InputError, match=r'^nonideal parts need level = "device": .*\.$'):
        build_sampler(model, np.ones(4), nonideal=Nonidealities.preset("rram"))
    with pytest.raises(InputError, match=r"^level = 'devise' is not one of ideal, device, transistor\.$"):
        build_sampler(model, np.ones(4), level="devise")


@pytest.mark.parametrize("wires", ["reduced", "segments"])
def test_cells_that_do_not_conduct_may_stand_at_the_ends_of_wires(wires, form):
    sampler = sampler_with(Nonidealities(crossbar={"g_off": 0.0, "wire_resistance": 0.5}), form, wires=wires)
    assert sampler.wires == wires


def test_unknown_wires_are_refused():
    with pytest.raises(InputError, match=r"^wires = 'thick' is not one of reduced, segments\.$"):
        sampler_with(IDEAL, wires="thick")


def test_the_comparators_width_is_volts_and_given_once():
    sampler = sampler_with(Nonidealities(comparator={"width": 3e-3}))
    assert sampler.plan.width * sampler.scaling.volt == pytest.approx(3e-3)
    with pytest.raises(InputError, match=r"^circuit\.width and nonideal\.comparator\.width are both given\. .*\.$"):
        sampler_with(Nonidealities(comparator={"width": 3e-3}), width=0.05)
