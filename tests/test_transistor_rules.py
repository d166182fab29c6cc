"""Design rules of transistors, each kept and each broken; what lag is, against closed forms and every transistor."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transistor_models import needs_models

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.transistor.cells.splitter import splitter
from circuitlsc.circuit.transistor.leakage import off_currents
from circuitlsc.circuit.transistor.parts import TransistorCell, Use
from circuitlsc.nonideal.nonidealities import as_nonidealities
from circuitlsc.studies import lag, transistor_rules
from circuitlsc.studies.design_rules import check_rules
from circuitlsc.studies.lag import Lags, measure_lags, of_lag, windows

pytestmark = needs_models

ONE = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.5)
QUICK = 0.2e-3  # second: twenty times less than the rule's tau


def chip(**given: Any):
    return build_sampler(ONE, np.ones(1), level="transistor", **given)


def by_name(sampler):
    return {rule.name: rule for rule in check_rules(sampler)}


def test_the_design_breaks_no_rule() -> None:
    rules = by_name(chip())
    assert [name for name, rule in rules.items() if not rule.ok] == []
    assert set(rules) == {
        *("leakage at 27 C", "leakage at 125 C", "code line lag", "force lag"),
        *(f"headroom of the {cell}" for cell in ("bias block", "threshold", "gate")),
    }


def test_a_short_tau_breaks_the_rules_of_lag_and_is_told_the_tau_that_does_not() -> None:
    short = {rule.name: rule for rule in transistor_rules.lag(chip(tau=QUICK))}
    assert {name for name, rule in short.items() if not rule.ok} == {"code line lag", "force lag"}
    line = short["code line lag"]
    needed = float(line.text.rpartition("raise tau to ")[2].removesuffix(" s."))
    assert needed == pytest.approx(QUICK * line.value / line.limit, rel=0.05)
    assert next(rule for rule in transistor_rules.lag(chip(tau=1.05 * needed)) if rule.name == "code line lag").ok


@pytest.mark.slow
def test_a_low_supply_breaks_the_rules_of_headroom() -> None:
    sampler = chip(nonideal={"corner": {"supply": 0.75}})
    rules = {rule.name: rule for rule in transistor_rules.headrooms(sampler)}
    assert not rules["headroom of the bias block"].ok
    assert not rules["headroom of the threshold"].ok
    assert "Raise the supply of 2.47 V" in rules["headroom of the threshold"].text


def test_a_small_current_breaks_the_rule_of_leakage() -> None:
    plain = chip()
    sampler = replace(
        plain, nonideal=as_nonidealities({"corner": {"process": "ff"}}), sizes=replace(plain.sizes, width=0.002)
    )
    rules = {rule.name: rule for rule in transistor_rules.leakage(sampler)}
    assert rules["leakage at 27 C"].ok
    assert not rules["leakage at 125 C"].ok
    assert "Raise circuit.width or circuit.volt" in rules["leakage at 125 C"].text


def test_a_device_that_is_off_carries_more_where_it_is_warm_or_wide() -> None:
    def off(units: int = 4, **where: Any) -> float:
        pins = ("x", "vp", "vn", "pn", "bn", "bp", "vss")
        cell = TransistorCell("one", "a splitter", pins, (Use("s", splitter(units), pins),))
        return off_currents(cell, **where)["s"]

    assert off(celsius=125.0) > 10 * off()
    assert off(celsius=125.0, corner="ff") > 2 * off(celsius=125.0)


@pytest.mark.slow
def test_rules_of_the_noise_amplifier() -> None:
    """The poles are in units of 1/tau: it is sigma that makes modes too fast for them."""
    fast = SparseCodingModel(np.ones((1, 1)), SpikeSlab(0.3, 1.0), 0.25)
    given: dict[str, Any] = {"level": "transistor", "transistor": {"noise": "amplifier"}}
    slow, quick = (by_name(build_sampler(model, np.ones(1), **given)) for model in (ONE, fast))
    assert slow["noise bandwidth"].ok
    assert not quick["noise bandwidth"].ok
    assert "Use a larger sigma" in quick["noise bandwidth"].text
    assert slow["noise servo"].ok
    sampler = chip(transistor={"noise": "amplifier"})
    noise = sampler.graph.noise
    plain = replace(
        noise, models=[replace(m, chop=0.0) for m in noise.models]
    )  # without a chopper slow modes lose noise
    graph = SimpleNamespace(noise=plain)
    unchopped = SimpleNamespace(graph=graph, scaling=sampler.scaling, plan=sampler.plan)
    servo = {rule.name: rule for rule in transistor_rules.noise_bandwidth(unchopped)}["noise servo"]
    assert not servo.ok
    assert servo.value == pytest.approx(noise.models[0].low * sampler.scaling.tau * sampler.plan.time_scale, rel=1e-6)


# lag ------------------------------------------------------------------------------------------------------------------


def test_a_logarithm_follows_a_step_as_its_equation_says() -> None:
    """p' = p (p_in - p), against small steps of it, up and down."""
    for start, to in ((0.01, 2.0), (2.0, 0.01)):
        p = start
        for _ in range(20000):
            p += 1e-4 * p * (to - p)
        assert lag._Logarithm(np.array(start)).follow(np.array(to), 2.0) == pytest.approx(p, rel=1e-3)


def test_halves_are_one_current() -> None:
    halves = lag._Halves(np.array([-3.0, 0.0, 2.0]), 0.04)
    np.testing.assert_allclose(halves.value, [-3.0, 0.0, 2.0], atol=1e-6)
    np.testing.assert_allclose(halves.follow(np.array([1.0, 1.0, 1.0]), 1e6), 1.0, atol=1e-6)


def test_lag_is_a_charge_over_a_current() -> None:
    """Q of a line from where it is nearly off is that from where it is on: what makes it a charge."""
    sampler = chip()
    found = measure_lags(sampler)
    u = 1.6
    (late,) = lag.node_lags(sampler.silicon, ONE, sampler.scaling, np.array([u]), 0, ["s_0"])
    assert late * sampler.silicon.read(np.array([u]))[0] == pytest.approx(found.line_charge, rel=0.25)
    assert late < found.line / 5
    assert 0.1e-6 < found.charges.min() < found.charges.max() < 10e-6


def test_cells_without_lag_are_the_tables_and_lag_falls_with_tau() -> None:
    sampler = chip()
    none = Lags(0, 0.0, 0.04, *[1e-15] * 4)
    assert windows(sampler, length=2.0, found=none).max() < 1e-9
    found = measure_lags(sampler)
    apart = [np.median(windows(sampler, tau=tau, length=6.0, found=found)) for tau in (QUICK, 20 * QUICK)]
    assert 0.015 < apart[0] < 0.06  # every transistor: .039 (docs/transistor.md)
    assert apart[1] < apart[0] / 10


@pytest.mark.slow
def test_lag_moves_a_posterior_at_a_short_tau_alone() -> None:
    bars = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=float).T / np.sqrt(2)
    model = SparseCodingModel(bars, SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, np.array([1.0, 1.0, 0.3, 0.3]), level="transistor")
    slow, quick = (of_lag(sampler, tau=tau) for tau in (None, QUICK))
    assert np.all(np.abs(slow.p_active) <= 0.001 + 3 * slow.p_active_se)
    assert quick.p_active[1] > 5 * quick.p_active_se[1]
