"""A memory at device level: noise of its parts through the write line, crosstalk, and what imperfections do to each input."""

from dataclasses import replace

import numpy as np
import pytest
from reports import text_of
from scipy.linalg import solve_continuous_lyapunov

from circuitlsc import Dynamics, Gaussian, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.circuit.cells import DriveNoise, Read, Write, WrittenNoise
from circuitlsc.circuit.electrical_rules import flatten
from circuitlsc.circuit.memory import crosstalk, lines_at_rest, responses
from circuitlsc.errors import InputError
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.reporting.study_plot import budget_figure
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.simulator.engine import run_chains
from circuitlsc.studies.budget import error_budget, variants
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.studies.circuit_calibration import calibrate_circuit, plan_calibration
from circuitlsc.studies.design_rules import check_rules
from circuitlsc.studies.frame import check_samples_one
from circuitlsc.studies.small_signal import Prediction, predict_rows
from circuitlsc.validation.same_noise import path_difference

A = np.random.default_rng(0).standard_normal((6, 3))
A /= np.linalg.norm(A, axis=0)
MODEL = SparseCodingModel(A, SpikeSlab(pi=0.4, lam=1.0, signed=True), 0.5)
LINEAR = SparseCodingModel(A, Gaussian(sd=1.0), 0.5)
X = np.random.default_rng(1).standard_normal((3, 6))
PLASTIC = {"gain_error": 0.02, "offset": 1e-3, "leak_resistance": 1e8, "capacitance_mismatch": 0.02}
WRONG = {"plastic": PLASTIC, "op_amp": {"offset": 1e-4, "gain": 1e5}, "crossbar": {"programming_error": 0.002}}


def memory(nonideal=None, features="one-hot", *, model=MODEL, hold=1.0, **changes):
    dynamics = Dynamics(kind="amortised", features=features, **changes.pop("dynamics", {}))
    return build_sampler(model, X, dynamics=dynamics, hold=hold, level="device", nonideal=nonideal or {}, **changes)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("nonideal", "features", "noise"),
    [
        (WRONG, "relu:8", "neuron"),
        ({"noise": {"temperature": 360.0, "temperature_mismatch": 0.2, "offset": 1e-6}}, "one-hot", "neuron"),
        ({"noise": {"temperature_mismatch": 0.2, "offset": 1e-6, "supply_correlation": 0.3}}, "one-hot", "weight"),
        ({"op_amp": {"gbw": 2e10, "offset": 1e-3}}, "relu:8", "neuron"),  # which settle: no step sees their poles
    ],
)
def test_circuit_follows_its_twin_on_the_same_noise(nonideal, features, noise):
    sampler = memory(nonideal, features, dynamics={"noise": noise}, tolerance=1e-9)
    samples = sampler.run(t_stop=12.0, warmup=3.0, chains=1, seed=3, workers=1)
    assert path_difference(sampler, samples, 10_000).rms < 1e-6
    # these parts are seen: ideal ones go elsewhere on the same noise
    ideal = rebuilt(sampler, nonideal=sampler.nonideal.only()).run(t_stop=12.0, warmup=3.0, chains=1, seed=3, workers=1)
    assert np.abs(ideal.by_row("u") - samples.by_row("u")).max() > 1e-2


@pytest.mark.ngspice
def test_write_vectors_are_those_that_the_circuit_has():
    """The lines of `lines_at_rest`, from which noise is written, are ngspice's own at the end of each visit."""
    sampler = memory(WRONG, "relu:8", hold=0.5)
    task = sampler.tasks(RunPlan(t_stop=1.5, warmup=0.0, chains=1, thin=1))[0]
    (read,), (write,) = ([c for c in sampler.graph.cells if isinstance(c, kind)] for kind in (Read, Write))
    phi, v = sampler.graph.inputs(read)["phi"], sampler.graph.inputs(write)["v"]
    (result,) = run_chains([sampler.observing(task, (*phi.nodes, *v.nodes))], workers=1)
    seen = result.observed[task.steps_per_row - 1 :: task.steps_per_row]
    expected = np.concatenate([found.T for found in lines_at_rest(sampler.graph)], axis=1)
    assert seen == pytest.approx(expected, abs=1e-5)
    ideal = np.concatenate([sampler.features.phi.T, sampler.features.dual.T], axis=1)
    assert np.abs(seen - ideal).max() > 1e-3


def test_dual_of_the_measured_features_has_less_crosstalk():
    parts = {"op_amp": {"offset": 5e-4}, "crossbar": {"programming_error": 0.01}}
    found = {d: crosstalk(*lines_at_rest(memory(parts, "relu:8", dynamics={"dual_from": d}).graph)) for d in DUALS}
    assert found["measured"] < 0.6 * found["ideal"]
    assert "dual_from" in memory(parts, "relu:8").report()  # above the limit: a warning says what could be done
    # with ideal dual crossbars nothing is left: the features' errors are what is taken off
    ideal = memory({}, "relu:8", dynamics={"dual_from": "measured"})
    assert crosstalk(*lines_at_rest(ideal.graph)) < 1e-6
    assert "warning        crosstalk" not in ideal.report()


DUALS = ("ideal", "measured")


@pytest.mark.parametrize("features", ["one-hot", "relu:8"])
def test_responses_are_derivatives_of_the_twin(features):
    """What a drive writes while an input is on, read by each other: the product of the twin's own derivatives."""
    sampler = memory(WRONG, features)
    twin, size = sampler.twin, sampler.twin.size
    rows = {c.name: c.stream.rows for c in sampler.graph.inputs_from_outside}
    (read,), (write,) = ([c for c in sampler.graph.cells if isinstance(c, kind)] for kind in (Read, Write))
    signals = twin.signals(np.zeros((3, size)), rows)
    phi, v = (signals[sampler.graph.inputs(c)[port].name] for c, port in ((read, "phi"), (write, "v")))
    reads = read.partials({"w": np.zeros((3, size)), "phi": phi})["w"]
    writes = write.partials({"d": np.zeros((3, 3)), "v": v})["d"]
    capacitors = sampler.graph.integrators[0].capacitor_factors
    both = np.einsum("mkw,nwl->klmn", reads, writes / capacitors[:, None])
    # noise reaches each weight as the drive of its own neuron does
    own = writes[:, np.arange(size), np.arange(size) // sampler.features.H] / capacitors
    assert twin.write_gains(rows) == pytest.approx(own, rel=1e-12)
    assert responses(sampler.graph) == pytest.approx(np.stack([both[k, k] for k in range(3)]), rel=1e-9)
    assert np.abs(responses(memory({}, features).graph) - np.eye(3)).max() < 1e-9


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"integrator": {"output_resistance": 1e9}}, r"ideal: inf.*\[nonideal.plastic\]\. Set it to its"),
        ({"transconductor": {"offset": 1e-3}}, "no momentum"),
        ({"noise": {"ac_corner": 1e3}}, "noise.capacitance > 0"),
        ({"noise": {"supply_correlation": 0.1}}, "noise.capacitance > 0"),
    ],
)
def test_parts_that_a_memory_does_not_have_are_refused(part, why):
    with pytest.raises(InputError, match=why):
        memory(part)
    if "noise" in part:  # noise that a step resolves is a voltage, from which these can be taken
        (noise,) = memory({"noise": {**part["noise"], "capacitance": 1e-13}}).graph.noises
        assert isinstance(noise, DriveNoise)


def test_what_nothing_holds_is_said_with_numbers():
    """Weight noise of more features than inputs: K (H - N) modes diffuse until a leak holds them."""
    given = {"noise": "weight", "write": "same"}
    report = memory({}, "relu:8", dynamics=given).report()
    assert "15 modes that no input reads diffuse: after" in report
    assert "6.44e-05 V rms" in report  # sqrt(kT/C) of 1 pF
    sampler = memory({}, "relu:8", dynamics={**given, "leak": 0.05})
    (line,) = (text for text in sampler.report().splitlines() if text.startswith("free modes"))
    span = sampler.features.span
    rms = np.sqrt(np.max(1 - np.sum(span**2, axis=1)) / 3 / 0.05) * sampler.scaling.volts("w")  # T/(N kappa)
    assert f"the leak holds them at {rms:.3g} V rms" in line
    assert "crosstalk" not in report  # inputs are meant to move each other


def test_op_amps_of_lines_that_settle_have_definitions_of_their_own():
    """Those of the loop keep their poles: every capacitor that a run is taken up from is in the circuit."""
    sampler = memory({"op_amp": {"gbw": 5e8}}, "relu:8")
    poles = {s.capacitor for s in sampler.graph.held(sampler.scaling) if s.capacitor.endswith("cpole")}
    assert len(poles) == 2 * 3  # inverters and amplifiers of the gradient
    assert poles <= {name.lower() for name in (e.name for e in flatten(sampler.circuit))}


def test_noise_that_no_step_resolves_is_white():
    kinds = {c: type(memory({"noise": {"capacitance": c}}).graph.noises[0]) for c in (1e-16, 1e-13)}
    assert kinds == {1e-16: WrittenNoise, 1e-13: DriveNoise}


# --- what imperfections do: a linear model, in closed form ------------------------------------------------------------


ORTHOGONAL = SparseCodingModel(np.eye(6)[:, :3], Gaussian(sd=1.0), 0.5)  # each latent may have a temperature of its own


def stationary(sampler):
    """Return mean (n, k) and covariance of each input's states of a linear memory, as hold goes to 0: a Lyapunov equation."""
    twin, size = sampler.twin, sampler.twin.size
    rows = {c.name: c.stream.rows for c in sampler.graph.inputs_from_outside}
    n = len(X)
    drift, jacobian = twin.linearise(np.zeros((n, size)), rows)
    gains, neurons = twin.write_gains(rows), np.arange(size) // sampler.features.H
    noise = [2 * np.outer(g, g) * (neurons[:, None] == neurons) for g in gains]
    a, q = jacobian.mean(0), np.mean(noise, axis=0)
    cov, mean = solve_continuous_lyapunov(a, -q), -np.linalg.solve(a, drift.mean(0))
    (read,) = (c for c in sampler.graph.cells if isinstance(c, Read))
    lines = {"w": np.tile(mean, (n, 1)), "phi": lines_at_rest(sampler.graph)[0].T}
    slopes = read.partials(lines)["w"]
    return read.evaluate(lines), np.einsum("nkw,wv,nlv->nkl", slopes, cov, slopes)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (LINEAR, {"plastic": {"leak_resistance": 3e9}}),
        (ORTHOGONAL, {"plastic": {"offset": 2e-5}}),
        (ORTHOGONAL, {"plastic": {"gain_error": 1e-3}}),
        (ORTHOGONAL, {"plastic": {"capacitance_mismatch": 1e-3}}),
        (LINEAR, {"noise": {"temperature": 301.0}}),
        (ORTHOGONAL, {"noise": {"temperature_mismatch": 1e-3}}),
        (LINEAR, {"noise": {"offset": 1e-7}}),
        (LINEAR, {"op_amp": {"offset": 1e-5}}),
        (LINEAR, {"corner": {"capacitance": 1.003}}),
    ],
)
def test_first_order_of_a_linear_memory(model, part):
    """Mean and sd of every latent of every input move as predicted; with the sign turned they do not."""
    features = "orthogonal" if "plastic" in part else "one-hot"
    ideal, device = memory({}, features, model=model), memory(part, features, model=model)
    (before, cov), (after, moved) = stationary(ideal), stationary(device)
    assert cov == pytest.approx(np.tile(np.linalg.inv(model.gram + np.eye(3)), (3, 1, 1)), abs=1e-8)
    z = np.random.default_rng(0).standard_normal((2, 10_000, 3))
    z = (z - z.mean((0, 1))) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.reshape(-1, 3).T))).T  # of covariance 1
    rows = [Draws.of(mean + z @ np.linalg.cholesky(c).T) for mean, c in zip(before, cov, strict=True)]
    predicted = predict_rows(ideal, device, rows)
    sd0, sd1 = (np.sqrt(np.diagonal(c, 0, 1, 2)).ravel() for c in (cov, moved))
    seen = 0
    for what, exact in (("mean", (after - before).ravel()), ("sd", sd1 - sd0)):
        found, error = getattr(predicted, what), getattr(predicted, f"{what}_se")
        size = np.abs(exact).max()
        assert np.abs(found - exact).max() < 0.02 * size + 4 * error.max() + 1e-9
        seen += size > 20 * error.max() and np.abs(-found - exact).max() > size
    assert seen


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_coloured_noise_of_a_drive(rho):
    """Noise of a capacitance, with what sources share, has the covariance of a linear system that it drives (5 %)."""
    part = {"capacitance": 1e-13, "supply_correlation": rho}
    sampler = memory({"noise": part}, model=LINEAR, hold=4.0)
    u = sampler.run(t_stop=6000.0, warmup=60.0, chains=2, seed=2, workers=2).by_row("u")
    b, rate = 10.0, LINEAR.gram + np.eye(3)
    shared = (1 - rho) * np.eye(3) + rho
    drift = np.block([[-rate, np.eye(3)], [np.zeros((3, 3)), -b * np.eye(3)]])
    noise = np.zeros((6, 6))
    noise[3:, 3:] = 2 * b**2 * shared
    cov = solve_continuous_lyapunov(drift, -noise)[:3, :3]
    for row in range(3):
        assert np.cov(u[:, row].reshape(-1, 3).T) == pytest.approx(cov, abs=0.05 * np.abs(cov).max())
    white = solve_continuous_lyapunov(-rate, -2 * shared)
    assert np.abs(white - cov).max() > 0.1 * np.abs(cov).max()


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_budget_and_yield_of_a_memory():
    parts = Nonidealities(plastic={"offset": 1e-3, "leak_resistance": 1e8})
    given = {
        "dynamics": Dynamics(kind="amortised"),
        "hold": 0.5,
        "t_stop": 60.0,
        "warmup": 6.0,
        "seed": 1,
        "workers": 1,
    }
    budget = error_budget(MODEL, X, parts, **given)
    offset, n = budget["plastic.offset"], len(X) * MODEL.n_latents
    assert offset.change.p_active.shape == offset.prediction.p_active.shape == (n,)
    assert budget["ideal"].change.mean.shape == (n,)
    others, own = offset.crosstalk
    assert 0.005 < own < 0.1
    assert 0.01 < others < 0.1
    assert budget["plastic.leak_resistance"].crosstalk == (0.0, 0.0)
    entry = offset.to_dict()
    assert (entry["crosstalk"], entry["own_response"]) == (others, own)
    assert len(entry["latents"]["p_active"]) == n
    at = entry["worst_input"]["mean"] * MODEL.n_latents + entry["worst_latent"]["mean"]
    assert entry["d_mean"] == offset.change.mean[at] == offset.largest("mean")[0]
    text = text_of(budget.report())
    assert "of each of 3 inputs" in text
    assert f"crosstalk {others:.2g}, own {own:.2g}" in text
    assert len(budget_figure(budget).axes) == 4
    lot = chip_yield(MODEL, X, parts, chips=2, **given)
    assert lot.chips[0].change.mean == pytest.approx(budget["all"].change.mean)
    with pytest.raises(InputError, match="has several"):
        check_samples_one("friction", {"dynamics": "amortised", "hold": 1.0})


def test_what_white_noise_cannot_have_is_tried_with_its_capacitance():
    parts = Nonidealities(noise={"capacitance": 1e-13, "ac_corner": 1e3})
    tried = dict(variants(parts, [], {}, ("noise.ac_corner",)))
    assert list(tried) == ["noise.capacitance", "noise.ac_corner, noise.capacitance", "all"]
    assert tried["noise.ac_corner, noise.capacitance"].noise == parts.noise
    memory(tried["noise.ac_corner, noise.capacitance"])


@pytest.mark.slow
@pytest.mark.ngspice
def test_effects_on_a_sparse_posterior_are_as_predicted():
    """P(active), mean and sd of the worst latent of all inputs within 20 % and three errors, and not with the sign turned."""
    parts = Nonidealities(
        plastic={"leak_resistance": 2e7, "offset": 4e-3, "gain_error": 0.03, "capacitance_mismatch": 0.03},
        noise={"temperature": 345.0, "offset": 2e-6, "temperature_mismatch": 0.1},
    )
    given = {"dynamics": Dynamics(kind="amortised"), "hold": 0.5, "t_stop": 3000.0, "chains": 2, "workers": 2}
    budget = error_budget(MODEL, X, parts, seed=1, **given)
    entries = [e for e in budget.entries if e.name not in ("ideal", "all")]
    assert len(entries) == 7
    for entry in entries:
        assert entry.prediction_holds, entry.name
        turned = Prediction(**{k: v if k.endswith("_se") else -v for k, v in vars(entry.prediction).items()})
        assert not replace(entry, prediction=turned).prediction_holds, entry.name


@pytest.mark.slow
@pytest.mark.ngspice
def test_memories_are_calibrated_and_a_hotter_one_is_found_out():
    """Memories of at most 8 inputs each; fails with chance 1 %."""
    given = {"seed": 11, "inputs": 104, "hold": 2.0, "workers": 2}
    right = calibrate_circuit(MODEL, dynamics=Dynamics(kind="amortised"), **given)
    assert right.result.verdict == "agrees", right.result.reason
    assert right.codes.shape == (104, 19, 3)
    assert right.samples is None
    hot = calibrate_circuit(MODEL, dynamics=Dynamics(kind="amortised", temperature=2.0), **given)
    assert hot.result.verdict == "disagrees"


def test_a_calibration_of_memories_keeps_what_was_asked_for():
    given = {"dynamics": Dynamics(kind="amortised"), "inputs": 18, "draws": 6, "spacing": 2.5, "warmup": 4.0}
    for hold, every in ((1.0, 3), (6.0, 1)):
        plan = plan_calibration(MODEL, seed=1, hold=hold, **given)
        assert [len(run.sampler.x) for run in plan.memories] == [6, 6, 6]
        assert np.array_equal(plan.x, np.concatenate([run.sampler.x for run in plan.memories]))
        assert len({run.plan.seed for run in plan.memories}) == 3
        task, visits = plan.memories[0].sampler.tasks(plan.run)[0], plan.memories[0].sampler.visits(plan.run)
        own = visits.kept * task.draws_per_row
        assert plan.every == every
        assert own >= every * 6
        assert task.thin * task.step * every >= min(2.5, hold) - 1e-9
        assert visits.dropped * hold >= 4.0
    with pytest.raises(InputError, match="features of other inputs"):
        plan_calibration(
            MODEL, features=np.eye(3), **given | {"dynamics": Dynamics(kind="amortised", features="f.npy")}
        )


@pytest.mark.ngspice
def test_design_rules_of_a_memory():
    parts = {"plastic": {"offset": 1e-3, "leak_resistance": 1e8}, "op_amp": {"gbw": 3e7}}
    rules = {rule.name: rule for rule in check_rules(memory(parts, "relu:8"))}
    assert {name for name, rule in rules.items() if not rule.ok} == {
        "op-amp lag",
        "crosstalk",
        "retention",
        "lines settling",
    }
    assert {"stability", "phase margin", "write offset", "voltage of w", "voltage of phi", "voltage of v"} <= set(rules)
    assert rules["retention"].value == pytest.approx(3 * 0.01)  # N kappa slab^2
    assert "lines slew rate" in {
        r.name for r in check_rules(memory({"op_amp": {"slew_rate": 1e4}}, "relu:8")) if not r.ok
    }
    good = check_rules(memory({"op_amp": {"gbw": 3e9, "slew_rate": 1e9}}, "relu:8"), ac=False)
    assert all(rule.ok for rule in good)
