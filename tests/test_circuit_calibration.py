"""Simulation-based calibration of the circuit: the right one is uniform, wrong ones are found out."""

import numpy as np
import pytest
from reports import text_of
from test_law_stream import MODEL as LINES
from test_law_stream import network

from circuitlsc import Dynamics, InputError, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.circuit.cells.variational import softplus_table
from circuitlsc.model.variational import law_of
from circuitlsc.reporting.calibration_plot import calibration_figure
from circuitlsc.studies.circuit_calibration import calibrate_circuit, plan_calibration
from circuitlsc.validation.calibration import calibrate, calibrate_law, calibration_report, draw_inputs

BARS = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
pytestmark = pytest.mark.ngspice


@pytest.mark.slow  # test_cli_systems and a notebook calibrate, too
@pytest.mark.parametrize(("form", "seed", "inputs"), [("gram", 11, 300), ("residual", 12, 120)])
def test_the_right_circuit_is_calibrated(form, seed, inputs):
    c = calibrate_circuit(BARS, seed=seed, form=form, inputs=inputs)  # fails with chance 1 %, alpha
    assert c.result.verdict == "agrees", c.result.reason
    assert (c.result.n_inputs, c.result.n_draws) == (inputs, 19)
    assert c.samples.by_row().shape == (1, inputs, 19, 8)
    assert abs(c.result.correlation) < 0.15
    np.testing.assert_allclose(np.diff(c.samples.time[:19]), 5.0)
    assert c.samples.time[0] == pytest.approx(15.0)


# notebook 03 has the fast one
@pytest.mark.parametrize(
    ("built", "dynamics"),
    [
        pytest.param(SparseCodingModel(BARS.A, SpikeSlab(0.3, 2.0), 0.5), Dynamics(), marks=pytest.mark.slow),
        pytest.param(BARS, Dynamics(temperature=2.0), marks=pytest.mark.slow),
        pytest.param(SparseCodingModel(BARS.A, BARS.prior, 0.75), Dynamics(), marks=pytest.mark.slow),
    ],
    ids=["lam x 2", "T = 2", "sigma x 1.5"],
)
def test_a_wrong_circuit_is_found_out(built, dynamics):
    c = calibrate_circuit(BARS, seed=13, built=built, dynamics=dynamics, inputs=150)
    assert c.result.verdict == "disagrees"
    assert c.result.p_value < 1e-4


def test_a_sampler_of_the_prior_is_found_out():
    rng = np.random.default_rng(14)
    s_true, x = draw_inputs(BARS, 300, rng)
    c = calibrate(BARS, s_true, x, BARS.prior.draw((300, 19, 8), rng), rng=rng)
    assert c.verdict == "disagrees"
    assert "log likelihood" in c.reason


@pytest.mark.slow  # test_systems has the law of a circuit with momentum at T = 2
def test_temperature_and_momentum_are_calibrated_too():
    """At T the circuit samples exp(-E/T): the posterior of the tempered model."""
    dynamics = Dynamics(kind="underdamped", temperature=2.0)
    c = calibrate_circuit(BARS.tempered(2.0), built=BARS, dynamics=dynamics, seed=15, inputs=120)
    assert c.result.verdict == "agrees", c.result.reason  # fails with chance 1 %


def variational(encoder, **arguments):
    return calibrate_circuit(LINES, dynamics="variational", encoder=encoder, source="table", inputs=150, **arguments)


def test_a_variational_circuit_is_judged_by_its_law_and_its_bias_is_told():
    c = variational(network(), seed=21)
    assert c.result.verdict == "agrees", c.result.reason  # fails with chance 1 %
    assert len(c.result.bias.statistics) == len(c.result.statistics)
    text = text_of(calibration_report(c.result))
    assert "judged: ranks of draws of the law among the circuit's draws" in text
    assert "not judged: ranks of true codes among the circuit's draws" in text
    assert "bias           of the law, no fault of the circuit: " in text
    assert len(calibration_figure(c.result).axes) == 6
    # of a law that is far from the posterior the circuit is as right, and the bias is seen
    far = variational(network(eta=-4.0), seed=21)
    assert far.result.verdict == "agrees", far.result.reason
    assert far.result.bias.p_value < 1e-6
    assert "ranks too high" in far.result.bias.reason
    assert far.result.to_dict()["bias"]["p_value"] < 1e-6


def test_a_wrong_variational_circuit_is_found_out(monkeypatch):
    table = softplus_table()
    monkeypatch.setattr(
        "circuitlsc.circuit.variational.softplus_table", lambda: type(table)(table.knots, table.values + 0.5)
    )
    c = variational(network(), seed=22)
    assert c.result.verdict == "disagrees"
    assert c.result.p_value < 0.01


def test_a_law_is_told_from_another_one():
    """In software: draws of one law, and one more of it, or of another; false alarms are one in a hundred."""
    s_true, x = draw_inputs(LINES, 200, 31)
    law, other = (law_of(LINES, *network(eta=eta).heads(x)) for eta in (-2.0, -1.2))
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng([32, seed])
        s, one = law.draw(19, rng).transpose(1, 0, 2), law.draw(1, rng)[0]
        wrong += calibrate_law(LINES, s_true, one, x, s, rng=rng).verdict == "disagrees"
        if seed < 5:
            found = calibrate_law(LINES, s_true, other.draw(1, rng)[0], x, s, rng=rng)
            assert found.verdict == "disagrees"
    assert wrong <= 3


def test_a_signed_prior_without_a_spike():
    model = SparseCodingModel(np.random.default_rng(5).standard_normal((5, 3)), Laplace(1.0), 0.7)
    c = calibrate_circuit(model, seed=16, inputs=120)
    assert c.result.verdict == "agrees", c.result.reason  # fails with chance 1 %


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, r"calibrate: inputs = 0 cannot be used\. Give an integer >= 1\."),
        ({"inputs": 1}, r"calibrate: one input has one rank, which says nothing\."),
        ({"draws": 2.5}, r"calibrate: draws = 2\.5 cannot be used\. Give an integer >= 1\."),
        ({"spacing": 0.0}, r"calibrate: spacing = 0\.0 is not a time in units of tau\."),
        ({"warmup": -1.0}, r"calibrate: warmup = -1\.0 is not a time in units of tau\."),
        ({"dynamics": "lca"}, r"dynamics\.kind = \"lca\" settles on one code, and a posterior is calibrated\."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=rf"^{message}"):
        plan_calibration(BARS, **arguments)
