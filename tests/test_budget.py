"""The error budget and the lot of chips: what they hold, what they refuse, and that pairing pays."""

import json

import numpy as np
import pytest
from legible import illegible
from reports import text_of

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.circuit import lowering
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.reporting.study_plot import budget_figure, chips_figure, sweep_figure
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.studies.budget import CORNERS, BudgetEntry, error_budget, parse_sweep, variants
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.validation.paired_difference import paired_difference

FIELDS = {"name", "parameters", "d_p_active", "d_p_active_se", "d_mean", "d_mean_se", "d_tv", "d_tv_se"}


@pytest.mark.ngspice
def test_a_row_compiles_one_circuit(bars_model, bars_x, monkeypatch):
    """Predictions, the common step and what names a chain need no sampler and no netlist of their own."""
    made = {"samplers": 0, "netlists": 0}

    def counted(what, function):
        def call(*arguments, **options):
            made[what] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(Sampler, "__init__", counted("samplers", Sampler.__init__))
    monkeypatch.setattr(lowering, "fill", counted("netlists", lowering.fill))
    nonideal = Nonidealities(
        op_amp={"gain": 1e4, "offset": 3e-4},
        crossbar={"programming_error": 0.01, "levels": 64},
        comparator={"gate_offset": 2e-3},
        prior={"lam_error": 0.02},
        noise={"temperature_mismatch": 0.02},
    )
    entries = error_budget(bars_model, bars_x, nonideal, t_stop=30, seed=1).entries
    assert len(entries) == 9
    assert made == {"samplers": 9, "netlists": 9}


@pytest.fixture(scope="module")
def budget(bars_model, bars_x):
    nonideal = Nonidealities(
        op_amp={"gbw": 3e8, "offset": 3e-4},
        crossbar={"programming_error": 0.01},
        comparator={"hysteresis": 5e-3, "gate_offset": 2e-3},
        prior={"lam_error": 0.02},
        seed=1,
    )
    return error_budget(bars_model, bars_x, nonideal, t_stop=150, seed=1, sweeps=["comparator.delay=0:2e-8:2"])


@pytest.mark.ngspice
def test_entries(budget):
    names = [e.name for e in budget.entries]
    assert names[:8] == [
        "ideal",
        "crossbar.programming_error",
        "op_amp.gbw",
        "op_amp.offset",
        "comparator.gate_offset",
        "comparator.hysteresis",
        "prior.lam_error",
        "all",
    ]
    assert names[8:10] == ["comparator.delay=0", "comparator.delay=2e-08"]
    for item in json.loads(json.dumps(budget.to_list(), allow_nan=False)):
        assert set(item) >= FIELDS
    assert budget["op_amp.offset"].parameters == {"op_amp.offset": 3e-4}
    assert len(budget["all"].parameters) == 6


@pytest.mark.ngspice
def test_pairing_pays(budget):
    """For effects up to 0.01 the paired error is at least five times smaller than the unpaired one."""
    seen = 0
    for item in budget.to_list()[1:8]:
        for what in ("p_active", "mean"):
            if 0 < abs(item[f"d_{what}"]) <= 0.01:
                assert item[f"d_{what}_unpaired_se"] > 5 * item[f"d_{what}_se"], item
                seen += 1
    assert seen >= 6


@pytest.mark.ngspice
def test_half_the_step_is_tried_where_it_matters(budget):
    tried = {e.name for e in budget.entries if e.half_step is not None}
    assert {"comparator.hysteresis", "all", "comparator.delay=2e-08"} <= tried
    assert not {"op_amp.gbw", "op_amp.offset", "prior.lam_error", "comparator.delay=0"} & tried
    assert budget["comparator.hysteresis"].step_agrees is True


@pytest.mark.ngspice
def test_a_result_that_depends_on_the_step_is_called_so(budget):
    entry = budget["comparator.hysteresis"]
    d = entry.half_step
    moved = type(d)(**{**d.__dict__, "mean": d.mean + 0.05})
    shaken = BudgetEntry(entry.name, entry.parameters, entry.change, None, moved)
    assert shaken.step_agrees is False
    assert shaken.to_dict()["step_agrees"] is False


@pytest.mark.ngspice
def test_report_and_figures(budget):
    text = text_of(budget.report())
    for entry in budget.entries:
        assert entry.name in text
    assert "same at half the step" in text
    figure = budget_figure(budget)
    assert len(figure.axes) == 4
    assert len(figure.axes[0].patches) == len(budget.entries) - 1 - 2  # no bar for ideal and for the sweep
    assert len(sweep_figure(budget).axes) == 2
    assert illegible(figure) == []
    assert illegible(sweep_figure(budget)) == []


def test_corners():
    nonideal = Nonidealities(op_amp={"offset": 1e-3}, corner={"supply": 0.95})
    corners = [(n, p) for n, p in variants(nonideal, [], CORNERS) if n.startswith("all, corner.")]
    assert [n for n, _ in corners] == [
        *("all, corner.temperature=233.15", "all, corner.temperature=358.15", "all, corner.supply=0.9"),
        *("all, corner.supply=1.1", "all, corner.resistance=0.8", "all, corner.resistance=1.2"),
        *("all, corner.capacitance=0.8", "all, corner.capacitance=1.2"),
    ]
    for name, parts in corners:
        assert parts.op_amp.offset == 1e-3  # the whole chip, at that corner
        key, _, value = name.removeprefix("all, ").partition("=")
        assert parts.get(key) == float(value)


def test_paired_difference_by_hand():
    """Two states, two latents, a shift of one of them: every number follows."""
    model = SparseCodingModel(np.eye(2), SpikeSlab(0.5, 1.0), 1.0)
    u0 = model.prior.threshold
    rng = np.random.default_rng(0)
    before = np.abs(rng.normal(size=(2, 4000, 2))) * 2
    after = before.copy()
    after[..., 0] += 0.1
    d = paired_difference(model, before, after)
    crossed = (before[..., 0] <= u0) & (after[..., 0] > u0)
    assert d.p_active[0] == pytest.approx(crossed.mean())
    assert d.p_active[1] == d.mean[1] == 0
    assert 0 < d.p_active_se[1] < 1e-3  # no event, but there could have been one
    assert d.mean[0] == pytest.approx((np.maximum(after - u0, 0) - np.maximum(before - u0, 0))[..., 0].mean())
    assert d.p_active_se[0] == pytest.approx(np.sqrt(crossed.var() / crossed.size), rel=0.15)
    assert d.p_active_se[0] < d.p_active_unpaired_se[0] / 3
    # supports move by exactly those that cross
    assert d.tv == pytest.approx(crossed.mean())
    assert d.tv_se == pytest.approx(d.p_active_se[0], rel=0.4)
    both = crossed & (before[..., 1] > u0)
    assert d.coactive == pytest.approx(both.mean())


def test_no_change_is_exactly_nothing(bars_model):
    u = np.random.default_rng(0).normal(size=(2, 500, 8))
    d = paired_difference(bars_model, u, u)
    assert d.tv == d.tv_se == d.tv_floor == d.coactive == 0
    assert not d.mean.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op_amp.offset", "is not a sweep"),
        ("op_amp.offset=1:2", "is not a sweep"),
        ("op_amp.offset=a:b:3", "is not start:stop:n"),
        ("op_amp.offset=0:1:0", "needs finite ends and 1 to 1000 values"),
        ("op_amp.offset=0:inf:3", "needs finite ends"),
        ("opamp.offset=0:1:3", "'opamp' is not a known part. Did you mean 'op_amp'?"),
        ("op_amp.ofset=0:1:3", "'ofset' is not a parameter of op_amp. Did you mean 'offset'?"),
    ],
)
def test_bad_sweeps(text, message):
    with pytest.raises(InputError) as caught:
        parse_sweep(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sweep_values():
    sweep = parse_sweep("op_amp.offset=0:20e-3:5")
    assert sweep.name == "op_amp.offset"
    np.testing.assert_allclose(sweep.values, [0, 5e-3, 10e-3, 15e-3, 20e-3])


def test_nothing_to_measure(bars_model, bars_x):
    with pytest.raises(InputError, match="the budget is empty"):
        error_budget(bars_model, bars_x, Nonidealities())
    with pytest.raises(InputError, match="every chip would be the same"):
        chip_yield(bars_model, bars_x, Nonidealities())
    nonideal = Nonidealities(op_amp={"offset": 1e-3})
    with pytest.raises(InputError, match="stands twice"):
        error_budget(bars_model, bars_x, nonideal, sweeps=["op_amp.gain=10:10:2"])
    with pytest.raises(InputError, match=r"crossbar\.levels = 1 is not a whole number >= 2"):
        error_budget(bars_model, bars_x, Nonidealities(), sweeps=["crossbar.levels=1:3:3"])


@pytest.mark.ngspice
def test_chips():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    x = model.draw(np.random.default_rng(4))[1]
    nonideal = Nonidealities(op_amp={"offset": 2e-3}, crossbar={"programming_error": 0.05}, seed=10)
    report = chip_yield(model, x, nonideal, chips=4, tolerance=0.05, t_stop=200, seed=1)
    errors = [c.error for c in report.chips]
    assert [c.seed for c in report.chips] == list(range(10, 14))
    assert len(set(errors)) == 4
    assert report.passed == sum(e <= 0.05 for e in errors)
    low, high = report.interval
    assert 0 <= low <= report.chip_yield <= high <= 1
    # the same chips, measured again, are the same; a wider tolerance passes them all, a narrower none
    assert [c.error for c in chip_yield(model, x, nonideal, chips=2, t_stop=200, seed=1).chips] == errors[:2]
    assert chip_yield(model, x, nonideal, chips=2, t_stop=200, seed=1, tolerance=10.0).chip_yield == 1
    assert chip_yield(model, x, nonideal, chips=2, t_stop=200, seed=1, tolerance=1e-6).chip_yield == 0
    assert json.loads(json.dumps(report.to_dict()))["n_chips"] == 4
    assert "yield" in text_of(report.report())
    assert "yield" in chips_figure(report).axes[0].get_title(loc="left")
