"""Whether the step of a stream matters, where op-amps of a variational circuit lag: half of it on the same path."""

from dataclasses import replace

import numpy as np
import pytest
from reports import text_of
from test_law_stream import HOLD, MODEL, ROWS, network

from circuitlsc import build_sampler
from circuitlsc.circuit.variational import slowest_op_amp
from circuitlsc.cli.outcome import outcome
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.validation.half_step import _averages, half_step
from circuitlsc.validation.stream_compare import compare_stream

LAGS = {"op_amp": {"gbw": 1e5}}


def built(nonideal=LAGS, rows=10, **given):
    given = {"level": "device", "source": "table", "nonideal": nonideal, "dynamics": "variational", **given}
    return build_sampler(MODEL, ROWS[:rows], hold=HOLD, encoder=network(), **given)


def tried(sampler, **run):
    return half_step(sampler, sampler.run_plan(seed=1, **run), workers=1)


@pytest.mark.ngspice
def test_a_step_that_is_too_long_is_told_and_the_one_that_is_given_does():
    sampler = built()
    assert 0 < slowest_op_amp(sampler.graph, Hardware(sampler.nonideal, sampler.scaling)) * sampler.plan.step < 2
    found = tried(sampler, warmup=4.0)
    assert not found.agrees
    assert max(found.p_active, found.mean) > found.allowed
    assert f"Give run.step = {found.needed:.2g}" in found.told()
    shorter = tried(built(step=found.needed), warmup=4.0)
    assert shorter.agrees
    assert shorter.needed is None
    assert "within the 0.005 that the verdict allows" in shorter.told()
    # in proportion to the step, as the change of the input takes one; and later after it there is less
    assert shorter.mean < 1.5 * found.mean * found.needed / 2.0
    assert tried(sampler, warmup=30.0).mean < found.mean


@pytest.mark.ngspice
def test_the_error_of_a_step_is_what_an_eighth_of_it_changes():
    """Not what half of it changes: of an error in proportion to the step, seven eighths are gone at an eighth."""
    sampler = built()
    found, run = tried(sampler, warmup=4.0), replace(sampler.run_plan(seed=1, warmup=4.0), chains=1)
    thin = sampler.tasks(run)[0].thin
    coarse, fine = (
        _averages(rebuilt(sampler, halvings=k), replace(run, thin=thin * 2**k), found.rows, workers=1) for k in (0, 3)
    )
    mean = np.sqrt((((fine - coarse)[:, 1] / MODEL.prior.slab_scale) ** 2).mean(0)).max()
    assert found.mean == pytest.approx(8 / 7 * mean, rel=0.2)


@pytest.mark.ngspice
def test_fast_op_amps_that_are_not_settled_do_no_harm():
    found = tried(built({"op_amp": {"gbw": 2e6}}), warmup=10.0)
    assert found is not None
    assert found.agrees


def test_where_the_step_cannot_matter_nothing_runs(monkeypatch):
    monkeypatch.setattr("circuitlsc.validation.half_step.run_chains", None)
    lsc = build_sampler(MODEL, ROWS[:3], hold=20.0, level="device", nonideal=LAGS)
    one = build_sampler(
        MODEL, ROWS[0], encoder=network(), dynamics="variational", level="device", nonideal=Nonidealities(LAGS)
    )
    settled = built({"op_amp": {"gbw": 1e9}})
    colour = built({"noise": {"capacitance": 1e-15}})
    for sampler in (lsc, settled, colour, built(None, level="ideal"), built(interpolate="linear")):
        assert tried(sampler) is None
    assert half_step(one, one.run_plan(t_stop=100.0)) is None


@pytest.mark.ngspice
def test_the_verdict_is_left_open():
    sampler = built()
    samples, found = sampler.run(warmup=4.0, seed=1), tried(sampler, warmup=4.0)
    alone = compare_stream(sampler, samples, tolerance=0.3)
    assert alone.half_step is None
    assert alone.verdict == "disagrees", "the heads lag behind the input"
    result = outcome(sampler, samples, tolerance=0.3, half=found)
    assert result.verdict == "inconclusive"
    assert result.numbers["half_step"]["needed"] == pytest.approx(found.needed)
    assert "As the circuit was run: " in result.numbers["reason"]
    assert f"Give run.step = {found.needed:.2g}" in text_of(result.report)
    np.testing.assert_allclose([v.z for v in alone.mean], [row["z"] for row in result.numbers["mean"]])
