"""What imperfections do to the law of a variational circuit: closed forms, plain quadrature, and the circuit itself."""

from dataclasses import replace

import numpy as np
import pytest
from reports import text_of
from scipy.linalg import solve_continuous_lyapunov
from scipy.special import expit, ndtr, ndtri
from test_variational_circuit import KIND, MODEL, D, P, constant, network

from circuitlsc import build_sampler
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.nonideal.nonidealities import Nonidealities, as_nonidealities
from circuitlsc.reference.statistics import MARGINALS
from circuitlsc.reporting.study_plot import budget_figure, sweep_figure
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.studies.budget import BudgetEntry, error_budget
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.studies.device_law import UNPREDICTED, Code, _moments, _of_product, _of_table, device_law, predict_law
from circuitlsc.validation.law import law_of_run

X = np.zeros(D)
KAPPA = -np.log(P)
LAPLACE = _of_product(np.zeros(4), np.ones(4), np.ones(2))
GAUSSIAN = _of_table(0.0, 1.0)


def device(source="product", encoder=None, parts=None, seed=2, **given):
    nonideal = as_nonidealities(parts or {}).changed({}, seed=seed)
    about = {"encoder": encoder or constant(), "source": source, "dynamics": KIND}
    return build_sampler(MODEL, X, **about, level="device", nonideal=nonideal, **given)


def code(mu=0.8, b=0.3, up=0.5, down=0.5, width=1e-8, rectified=False):
    return Code(mu, b, up, down, width, rectified)


# --- densities and moments ---


@pytest.mark.parametrize("density", [LAPLACE, GAUSSIAN], ids=["product", "table"])
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("mu", "b", "kappa"), [(0.8, 0.3, 0.5), (-0.4, 0.2, 0.1), (1.6, 0.15, 0.01), (0.02, 0.5, 4.0)])
def test_without_errors_it_is_the_closed_form(density, rectified, mu, b, kappa):
    law = ThresholdedLaplace(mu=np.array(mu), b=np.array(b), kappa=np.array(kappa), rectified=rectified)
    found = _moments(code(mu, b, kappa, kappa, rectified=rectified), *density)
    np.testing.assert_allclose(found, (law.p_active, law.mean, law.variance + law.mean**2), atol=5e-8)


@pytest.mark.parametrize("density", [LAPLACE, GAUSSIAN], ids=["product", "table"])
def test_offsets_of_the_comparators(density):
    """P becomes exp(-kappa) (exp(o+) + exp(o-))/2, and each side keeps its shift; beyond kappa both are on at once."""
    p, mean, _ = _moments(code(up=0.5 - 0.1, down=0.5 + 0.04), *density)
    sides = np.exp(-0.5) * np.exp([0.1, -0.04]) / 2
    assert p == pytest.approx(np.sum(sides), abs=1e-9)
    assert mean == pytest.approx(0.8 * np.sum(sides) + 0.3 * (sides[0] - sides[1]), abs=1e-7)
    p, mean, _ = _moments(code(up=-0.1, down=-0.1, b=0.0), *density)
    assert p == pytest.approx(1.0, abs=1e-9)
    assert mean == pytest.approx(0.8 * (1 + 1 - np.exp(-0.1)), abs=1e-7)


@pytest.mark.parametrize("density", [LAPLACE, GAUSSIAN], ids=["product", "table"])
def test_width(density):
    """A code is read as 0 before its threshold: P does not move, and P mu loses w log 2 to first order."""
    w = 0.01
    p, mean, _ = _moments(code(width=w, b=0.0), *density)
    assert p == pytest.approx(np.exp(-0.5), abs=1e-9)
    v = (np.arange(200_000) + 0.5) / 200_000 * 40 * w
    within = np.sum(np.exp(-v) * expit(v / w)) * (v[1] - v[0]) + np.exp(-40 * w)  # from one side, over its probability
    assert mean == pytest.approx(0.8 * np.exp(-0.5) * within, rel=1e-6)
    assert mean / (0.8 * p) == pytest.approx(1 - w * np.log(2), abs=2 * w**2)


def test_power_and_gains_of_the_product():
    """Noise of power 1 + d is a scale, as equal gains are; unequal ones are a mixture of scales over the angle of (u, u3)."""
    for density in (
        _of_product(np.zeros(4), np.full(4, 1.2), np.ones(2)),
        _of_product(np.zeros(4), np.ones(4), np.full(2, 1.2)),
    ):
        p, _, second = _moments(code(), *density)
        assert p == pytest.approx(np.exp(-0.5 / 1.2), abs=1e-8)
        assert second == pytest.approx(p * (0.8**2 + 2 * (0.3 * 1.2) ** 2), abs=1e-7)
    angle = np.arange(64) * 2 * np.pi / 64
    scale = np.hypot(1.3 * np.cos(angle), 0.8 * np.sin(angle))
    p, _, second = _moments(code(), *_of_product(np.zeros(4), np.ones(4), np.array([1.3, 0.8])))
    assert p == pytest.approx(np.mean(np.exp(-0.5 / scale)), abs=5e-7)
    assert second == pytest.approx(np.mean(np.exp(-0.5 / scale) * (0.8**2 + 2 * (0.3 * scale) ** 2)), abs=1e-6)


def test_power_and_mean_of_the_table():
    p, *_ = _moments(code(), *_of_table(0.1, 1.3))
    t = -ndtri(np.exp(-0.5) / 2)
    assert p == pytest.approx(ndtr((0.1 - t) / 1.3**0.5) + ndtr((-t - 0.1) / 1.3**0.5), abs=1e-7)


def test_offsets_of_the_multipliers():
    """Given x and x', k x y + k' x' y' is Gaussian: P from a plane of angles and radii around the origin."""
    mean, variance, gain = np.array([0.2, -0.3, 0.15, 0.1]), np.array([1.1, 0.9, 1.2, 1.0]), np.array([1.1, 0.9])
    p, *_ = _moments(code(), *_of_product(mean, variance, gain))
    node, weight = np.polynomial.legendre.leggauss(200)
    r, dr = 4.5 * (node + 1), 4.5 * weight
    angle = np.arange(200) * 2 * np.pi / 200
    x, x2 = r[:, None] * np.cos(angle), r[:, None] * np.sin(angle)
    chance = np.exp(-((x - mean[0]) ** 2) / variance[0] / 2 - (x2 - mean[2]) ** 2 / variance[2] / 2)
    chance *= (r * dr)[:, None] / 200 / np.sqrt(variance[0] * variance[2])
    middle = gain[0] * x * mean[1] + gain[1] * x2 * mean[3]
    sd = np.sqrt(gain[0] ** 2 * x**2 * variance[1] + gain[1] ** 2 * x2**2 * variance[3])
    assert p == pytest.approx(np.sum(chance * (ndtr((middle - 0.5) / sd) + ndtr((-0.5 - middle) / sd))), abs=1e-7)


# --- from the parts ---


def test_ideal_parts_have_the_encoders_law():
    for encoder in (constant(), network((D, 6, 24))):
        for source in ("product", "table"):
            sampler = device(source, encoder)
            found, law = device_law(sampler), law_of_run(sampler)
            np.testing.assert_allclose(found["p_active"], law.p_active, atol=5e-4)  # of the tables of exp and softplus
            np.testing.assert_allclose(found["mean"], law.mean, atol=1e-3)
            np.testing.assert_allclose(found["sd"], np.sqrt(law.variance), atol=1e-3)


@pytest.mark.parametrize(
    ("parts", "power"),
    [
        ({"noise": {"temperature": 330.0}}, 1.1),
        ({"corner": {"temperature": 330.0}}, 1.1),
        ({"corner": {"resistance": 1.2}}, 1.2**2),  # more noise, and a smaller leak
        ({"corner": {"capacitance": 1.2}}, 1 / 1.2),
        ({"integrator": {"output_resistance": 1e7}}, 1 / (1 + 0.1)),
    ],
)
def test_noise_power_from_the_parts(parts, power):
    """All of this is one power: P = exp(-kappa/power), sd of b times it."""
    found = device_law(device(parts=parts))
    np.testing.assert_allclose(found["p_active"], np.exp(-KAPPA / power), rtol=6e-4)  # of the softplus
    table = device_law(device("table", parts=parts))
    np.testing.assert_allclose(table["p_active"], 2 * ndtr(ndtri(P / 2) / np.sqrt(power)), rtol=2e-3)


def test_coloured_noise_is_that_of_its_linear_circuit():
    """Variance of u behind a corner and an AC coupling, from the Lyapunov equation of the three states."""
    parts = {"noise": {"capacitance": 5e-14, "ac_corner": 2e4}}
    b, f = 1e-6 / (1e6 * 5e-14), 2 * np.pi * 2e4 * 1e-6
    # noise n of rate b and power 1 into u, less what a low-pass y of it has
    drift = np.array([[-1.0, 1.0, -1.0], [0.0, -b, 0.0], [0.0, f, -f]])
    white = np.zeros((3, 3))
    white[1, 1] = 2 * b**2
    power = solve_continuous_lyapunov(drift, -white)[0, 0]
    np.testing.assert_allclose(
        device_law(device(parts=parts))["p_active"], np.exp(-KAPPA / power), rtol=6e-4
    )  # of the softplus


def test_what_has_no_formula():
    ideal = device()
    assert predict_law(ideal, ideal) is None
    for name, value in zip(UNPREDICTED, (2.0, 10.0, 2.0, 1e4), strict=True):
        assert predict_law(ideal, rebuilt(ideal, nonideal=Nonidealities().changed({name: value}))) is None


# --- in the circuit ---


#: each with a closed form, or a quadrature
PARTS = {
    "comparator.width": 2e-3,
    "comparator.threshold_offset": 2e-3,
    "multiplier.gain_error": 0.06,
    "noise.temperature": 318.0,
    "op_amp.offset": 1e-3,
}
MORE = {
    "multiplier.offset": 2e-2,
    "noise.temperature_mismatch": 0.1,
    "noise.offset": 2e-5,
    "noise.capacitance": 5e-14,
    "noise.ac_corner": 1e4,
    "integrator.output_resistance": 2e7,
    "integrator.offset_current": 1e-8,
    "integrator.capacitance_mismatch": 0.1,
    "integrator.friction_mismatch": 0.1,
    "op_amp.gain": 300.0,
    "crossbar.programming_error": 0.05,
    "crossbar.driver_resistance": 300.0,
    "corner.resistance": 1.05,
    "corner.capacitance": 0.94,
}
NOTHING = {"comparator.delay": 1e-7, "prior.lam_error": 0.1, "op_amp.gbw": 1e8}
ABOUT = {"dynamics": KIND, "encoder": network((D, 4, 24))}


def measured(parts, t_stop=6_000.0, **given):
    nonideal = Nonidealities(seed=3).changed(parts)
    return error_budget(MODEL, X, nonideal, **ABOUT, chains=1, t_stop=t_stop, seed=4, **given)


@pytest.fixture(scope="module")
def budget():
    return measured({**PARTS, "comparator.delay": 1e-7}, sweeps=["op_amp.offset=0:1e-3:2"])


@pytest.mark.ngspice
def test_predictions_hold(budget):
    for name in (*PARTS, "all"):
        entry = budget[name]
        assert entry.prediction_holds is True, name
        moved = [np.abs(getattr(entry.prediction, s) / getattr(entry.change, f"{s}_se")).max() for s in MARGINALS]
        assert max(moved) > 8, "there is something to predict"


@pytest.mark.ngspice
@pytest.mark.parametrize("name", PARTS)
def test_a_wrong_prediction_is_noticed(budget, name):
    """Of the wrong sign, twice as large, or none at all."""
    entry = budget[name]
    for factor in (-1.0, 2.0, 0.0):
        wrong = replace(entry.prediction, **{s: factor * getattr(entry.prediction, s) for s in MARGINALS})
        assert replace(entry, prediction=wrong).prediction_holds is False


@pytest.mark.ngspice
def test_what_does_nothing_is_said_to_do_nothing(budget):
    entry = budget["comparator.delay"]
    assert not any(getattr(entry.change, name).any() for name in MARGINALS)
    assert entry.half_step is None
    lines = [line for line in text_of(budget.report()).splitlines() if line.startswith("comparator.delay")]
    assert "no effect at all: the circuit does not depend on it" in lines[0]


@pytest.mark.ngspice
def test_the_ideal_circuit_is_compared_with_the_law(budget):
    entry = budget["ideal"]
    assert entry.to_dict()["against"] == "law"
    assert budget["all"].to_dict()["against"] == "ideal"
    for name in MARGINALS:
        change, se = (getattr(entry.change, f"{name}{end}") for end in ("", "_se"))
        assert np.all(np.abs(change) < 4 * se + 1e-3)
    text = text_of(budget.report())
    assert "ideal: against the closed form of the encoder's law, unpaired" in text
    assert "the law: " in text
    assert len(budget_figure(budget).axes) == 4
    assert len(sweep_figure(budget).axes) == 2


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("source", ["product", "table"])
def test_all_predictions_hold(source):
    """The whole list, half a minute each; what a source has no part for does nothing."""
    budget = measured({**PARTS, **MORE, **NOTHING}, t_stop=40_000.0, source=source)
    for name in (*PARTS, *MORE, "all"):
        assert budget[name].prediction_holds is True, name
    nothing = [*NOTHING, *(["multiplier.offset"] if source == "table" else [])]
    still = [e.name for e in budget.entries if not any(getattr(e.change, name).any() for name in MARGINALS)]
    assert sorted(still) == sorted(nothing)


@pytest.mark.ngspice
def test_slow_op_amps_do_nothing_to_one_input():
    """The encoder of one input is solved once: nothing lags, and no step matters."""
    budget = measured({"op_amp.gbw": 2e5}, t_stop=400.0)
    slow = budget["op_amp.gbw"]
    assert slow.half_step is None
    assert not slow.change.p_active.any()
    assert slow.prediction_holds is True


@pytest.mark.ngspice
def test_yield():
    how = {**ABOUT, "chips": 2, "t_stop": 2000.0, "chains": 1, "seed": 1}
    nonideal = Nonidealities(op_amp={"offset": 1e-3}, seed=10)
    report = chip_yield(MODEL, X, nonideal, tolerance=0.02, **how)
    assert len({chip.error for chip in report.chips}) == 2
    for chip in report.chips:  # each is the law of its own errors
        predicted = predict_law(report.ideal, rebuilt(report.ideal, nonideal=nonideal.changed({}, seed=chip.seed)))
        entry = BudgetEntry("chip", {}, chip.change, predicted)
        assert entry.prediction_holds is True
