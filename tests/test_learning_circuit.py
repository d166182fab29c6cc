"""The circuit that learns: against its NumPy twin, interrupted and resumed, and what a run leaves behind."""

import functools

import numpy as np
import pytest

from circuitlsc import InputError, Laplace, SparseCodingModel, SpikeSlab, bars
from circuitlsc.circuit.graph import Twin
from circuitlsc.learning import Stage, random_weights
from circuitlsc.learning import circuit as module
from circuitlsc.learning.checkpoint import save_checkpoint
from circuitlsc.learning.circuit import CircuitLearner, learning_result, parameters
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.source import Rows
from circuitlsc.nonideal.nonidealities import Nonidealities

INPUTS, HOLD, STEP = 12, 1.0, 0.02
PI, LAM, SIGMA = 0.3, 1.3, 0.4
TIMES = {"tau_A": 40.0, "tau_u0": 50.0, "tau_lam": 15.0, "tau_sigma": 70.0}
STAGE = Stage.of_inputs(INPUTS, hold=HOLD, step=STEP, **TIMES)
CHIP = Nonidealities(
    plastic={"gain_error": 0.1, "offset": 3e-3, "leak_resistance": 1e8, "capacitance_mismatch": 0.2},
    comparator={"gate_offset": 2e-3},
    integrator={"output_resistance": 1e8, "capacitance_mismatch": 0.05},
    corner={"resistance": 1.2, "capacitance": 0.9},
    seed=3,
)
# with pi or lam learned, gates are ideal
FEWER = Nonidealities(plastic=CHIP.plastic, integrator=CHIP.integrator, corner=CHIP.corner, seed=3)
FEWEST = Nonidealities(integrator=CHIP.integrator, corner=CHIP.corner, seed=3)  # with A held, too
CASES = {
    "A": {"learn": ("A",)},
    "pi": {"learn": ("pi",)},
    "lam": {"learn": ("lam",)},
    "sigma": {"learn": ("sigma",)},
    "A+pi": {"learn": ("A", "pi")},
    "A+pi+sigma": {"learn": ("A", "pi", "sigma")},
    "lam+sigma": {"learn": ("lam", "sigma")},
    "pi+lam": {"learn": ("pi", "lam")},
    "signed": {"learn": ("A", "pi", "sigma"), "signed": True},
    "laplace": {"learn": ("lam", "sigma"), "signed": True, "pi": 1.0},
    "device": {"learn": ("A",), "level": "device", "nonideal": CHIP},
    "device-all": {"learn": ("A", "pi", "sigma"), "signed": True, "level": "device", "nonideal": FEWER},
    "device-prior": {"learn": ("pi", "lam"), "level": "device", "nonideal": FEWEST},
}
QUANTITIES = {"A": 16, "pi": 1, "lam": 1, "sigma": 1}


def learner(stage=STAGE, **given):
    """Return a learner of 2 x 2 bars, which starts away from the truth.

    Its comparators are wide enough for every implicit step to have one solution: where a step has none, ngspice and the
    twin cut it, each in its own way, and are 1e-3 apart afterwards.
    """
    given = {"pi": PI, "signed": False, "learn": ("A",), "seed": 1} | given
    prior = Laplace(LAM, given["signed"]) if given["pi"] == 1 else SpikeSlab(PI, LAM, given["signed"])
    truth = SparseCodingModel(bars(2), prior, SIGMA)
    A0 = random_weights(4, 4, 1, signed=given["signed"]) if "A" in given["learn"] else truth.A
    given = {"A0": A0, "lam": LAM, "sigma": SIGMA, "source": truth, "tolerance": 1e-9, "width": 0.08} | given
    return CircuitLearner(stage=stage, **given)


@functools.cache
def ran(name):
    """Return a case and its run: one simulation, for every test."""
    made = learner(**CASES[name])
    return made, made.run()


def states_of(run):
    return run.history["z"].values


# --- circuit against software ---


@pytest.mark.ngspice
@pytest.mark.parametrize(  # of the rules alone, "A" stands for all; each is there together with others
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("pi", "lam", "sigma", "A+pi") else ()) for n in CASES]
)
def test_circuit_learns_what_its_twin_learns(name):
    """On the same inputs and noise, u and every slow variable, to Newton's tolerance over 600 steps."""
    made, run = ran(name)
    z, twin = states_of(run), made.twin_states(INPUTS)
    assert z.shape == twin.shape == (INPUTS, 4 + sum(QUANTITIES[what] for what in made.learn))
    np.testing.assert_allclose(z, twin, rtol=0, atol=1e-6)
    slow = z[:, 4:]
    start = np.concatenate([cell.start for cell in made.graph.integrators[1:]])
    moved = np.abs(slow - start)
    assert moved[-1].max() > 1e-2, "it learns"
    assert len({node for node in made.library_deck.split() if node.startswith("a_")}) == (
        16 if "A" in made.learn else 0
    )


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("A", {"stage": Stage.of_inputs(INPUTS, hold=HOLD, step=STEP, tau_A=41.0)}),
        ("A+pi+sigma", {"sigma": SIGMA * 1.01}),
        ("device", {"nonideal": CHIP.changed({"plastic.leak_resistance": 2e8})}),
        ("device", {"nonideal": CHIP.changed({"plastic.gain_error": 0.0})}),
    ],
    ids=["tau", "sigma", "leak", "gain"],
)
def test_twin_of_another_circuit_learns_something_else(name, other):
    """Negative control of the test above: what differs by a percent, or in one imperfection, is seen."""
    _, run = ran(name)
    twin = learner(**CASES[name] | other).twin_states(INPUTS)
    assert np.abs(states_of(run) - twin)[:, 4:].max() > 1e-4


@pytest.mark.ngspice
def test_states_of_the_first_inputs_are_those_of_the_whole_run():
    made, run = ran("device")
    np.testing.assert_allclose(made.states(3), states_of(run)[:3], rtol=0, atol=1e-6)


# --- interruption ---

NOISY = FEWER.changed({"noise.capacitance": 8e-14, "noise.ac_corner": 2e4})  # states that are no slow variables


def short(**given):
    stage = Stage.of_inputs(6, hold=HOLD, step=STEP, **TIMES)
    return learner(stage, **{"level": "device", "nonideal": NOISY, "learn": ("A", "pi")} | given)


class InterruptedRunError(Exception):
    """What a callback raises."""


class Interrupt:
    """Interrupts a run after so many tau, and remembers what it was told."""

    def __init__(self, after):
        self.after, self.told = after, []

    def __call__(self, done, total):
        self.told.append((done, total))
        if done > self.after:
            raise InterruptedRunError


@pytest.mark.ngspice
def test_interrupted_run_goes_on_to_the_same_result(tmp_path, monkeypatch):
    """In pieces of three inputs; interrupted in the second, and taken up after the first."""
    monkeypatch.setattr(module, "PIECE", 20 * 150)
    whole = short().run()
    path = tmp_path / "checkpoint.npz"
    stop = Interrupt(4.0)
    with pytest.raises(InterruptedRunError):
        short().run(checkpoint=path, progress=stop)
    np.testing.assert_allclose(stop.told, [(3, 6), (6, 6)])
    with np.load(path) as file:
        np.testing.assert_array_equal(file["z"], states_of(whole)[:3])
        assert file["others"].size > 0
    go_on = Interrupt(np.inf)
    again = short().run(checkpoint=path, progress=go_on)
    np.testing.assert_allclose(go_on.told, [(6, 6)])
    np.testing.assert_array_equal(states_of(again), states_of(whole))
    np.testing.assert_array_equal(again.learned.A, whole.learned.A)
    assert again.learned.pi == whole.learned.pi
    never = Interrupt(0.0)
    done = short().run(checkpoint=path, progress=never)  # nothing is left to do
    np.testing.assert_array_equal(states_of(done), states_of(whole))
    assert never.told == []


@pytest.mark.ngspice
def test_pieces_are_one_run_for_the_twin_too(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 20 * 100)
    stage = Stage.of_inputs(3, hold=HOLD, step=STEP, **TIMES)
    made = learner(stage, learn=("A", "sigma"))
    assert [(p.start, p.stop) for p in made.pieces] == [(0, 2), (2, 3)]
    np.testing.assert_allclose(states_of(made.run()), made.twin_states(3), rtol=0, atol=1e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"lam": 1.31}, "lam"),
        ({"learn": ("A",)}, "learn"),
        ({"seed": 2}, "seed"),
        ({"nonideal": NOISY.changed({"plastic.offset": 4e-3})}, "nonideal"),
        ({"source": Rows(np.ones((2, 4)))}, "source"),
    ],
)
def test_checkpoint_of_other_settings_is_refused(other, key, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 20 * 150)
    path = tmp_path / "checkpoint.npz"
    made = short()
    save_checkpoint(path, made.settings(), {"z": np.zeros((3, 21)), "others": np.zeros(0), "spent": np.zeros(2)})
    message = (
        rf"^checkpoint = '.*' was written by a run with {key} = .*, but this one has .*\. Run with its settings, .*$"
    )
    with pytest.raises(InputError, match=message) as caught:
        short(**other).run(checkpoint=path)
    assert "\n" not in str(caught.value)


def test_checkpoints_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no checkpoint")
    with pytest.raises(
        InputError, match=r"^checkpoint = '.*text.npz' is not a checkpoint \(.*\)\. Give another path, .*$"
    ):
        short().run(checkpoint=tmp_path / "text.npz")
    with pytest.raises(InputError, match=r"^checkpoint = '.*': its folder does not exist\. Make it first\.$"):
        short().run(checkpoint=tmp_path / "no" / "c.npz")


# --- what a run leaves behind ---


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["A+pi+sigma", "lam+sigma", "signed"])
def test_learned_is_the_average_over_the_last_quarter(name):
    made, run = ran(name)
    learned, z = run.learned, states_of(run)
    A, u0, lam, sigma = parameters(made, z)
    assert isinstance(learned, Learned)
    last = slice(INPUTS - INPUTS // 4, None)
    np.testing.assert_allclose(learned.A, A[last].mean(0), rtol=1e-14)
    np.testing.assert_array_equal(learned.A_final, A[-1])
    pi = np.exp(-lam * u0)
    if "pi" in made.learn:
        assert learned.pi == pytest.approx(pi[last].mean(), rel=1e-14)
        assert learned.pi != pytest.approx(pi.mean(), rel=1e-4), "negative control: the average over all"
    else:
        assert (learned.pi, learned.pi_final) == (PI, PI)
        np.testing.assert_allclose(pi, PI, rtol=1e-13)
    assert (learned.lam, learned.sigma) == pytest.approx((lam[last].mean(), sigma[last].mean()), rel=1e-14)
    assert (learned.lam_final, learned.sigma_final) == (lam[-1], sigma[-1])
    assert learned.signed == made.signed
    assert learned.meta == made.settings()
    np.testing.assert_array_equal(run.u[0], z[-1, :4])
    # where each is in the state: after u, in the order of the graph's integrators
    at = 4
    for cell, value in zip(made.graph.integrators[1:], _in_order(made, A, u0, lam, sigma), strict=True):
        np.testing.assert_array_equal(z[:, at : at + cell.size], value)
        at += cell.size


def _in_order(made, A, u0, lam, sigma):
    values = {"a": A.reshape(len(A), -1), "u0": u0[:, None], "lam": lam[:, None], "sigma": sigma[:, None]}
    return [values[cell.quantity] for cell in made.graph.integrators[1:]]


@pytest.mark.ngspice
def test_history_is_that_of_the_states():
    made, run = ran("A+pi+sigma")
    history, z = run.history, states_of(run)
    A, u0, lam, sigma = parameters(made, z)
    assert dict(history.sizes) == {"time": 12, "latent": 4, "snapshot": 9, "feature": 4, "input": 12, "state": 22}
    np.testing.assert_allclose(history.time, HOLD * np.arange(1, INPUTS + 1))
    np.testing.assert_allclose(history.norm, np.linalg.norm(A, axis=1), rtol=1e-14)
    np.testing.assert_allclose(history.u0, u0, rtol=1e-14)
    np.testing.assert_allclose(history.sigma, sigma, rtol=1e-14)
    np.testing.assert_allclose(history.pi, np.exp(-lam * u0), rtol=1e-14)
    shown = [1, 3, 4, 6, 7, 9, 10, 12]  # after so many inputs, and before the first
    np.testing.assert_array_equal(history.A, [made.model.A, *(A[n - 1] for n in shown)])
    np.testing.assert_allclose(history.snapshot_time, HOLD * np.array([0, *shown]))
    s = np.maximum(np.abs(z[:, :4]) - u0[:, None], 0)
    np.testing.assert_allclose(history["size"], s.mean(1), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(history.activity, (s > 0).mean(1))
    np.testing.assert_array_equal(history.usage, s > 0)
    error = np.mean((made.rows - np.einsum("njk,nk->nj", A, s)) ** 2, axis=1)
    np.testing.assert_allclose(history.error, error, rtol=1e-12)
    units = {name: history[name].attrs["units"] for name in ("time", "sigma", "u0", "lam", "z")}
    assert units == {
        "time": "tau",
        "sigma": "data units",
        "u0": "model units",
        "lam": "1/(model unit)",
        "z": "model units",
    }
    assert history.attrs["creator"] == "circuitlsc"
    assert history.attrs["us_per_step"] > 0
    assert {"circuitlsc_version", "settings"} <= set(history.attrs)


@pytest.mark.ngspice
def test_records_are_means_over_inputs():
    made, run = ran("A")
    few = learner(**CASES["A"], records=4)
    history = learning_result(few, states_of(run), few.settings(), np.ones(2)).history
    np.testing.assert_allclose(history.time, [3, 6, 9, 12])
    np.testing.assert_allclose(history.error, run.history.error.values.reshape(4, 3).mean(1), rtol=1e-12)
    np.testing.assert_allclose(history.usage, run.history.usage.values.reshape(4, 3, 4).mean(1), rtol=1e-12)
    np.testing.assert_array_equal(history.norm, run.history.norm[2::3])
    assert made.records == 400


# --- what it is made of ---


def test_inputs_follow_each_other_in_the_order_of_the_source():
    X = np.arange(12.0).reshape(3, 4)
    made = learner(Stage.of_inputs(5, hold=HOLD, step=STEP, **TIMES), source=Rows(X, shuffle=False))
    np.testing.assert_array_equal(made.rows, X[[0, 1, 2, 0, 1]])
    task = made.task(0, made.first_u, {})
    assert (task.n_steps, task.period, task.thin) == (250, 50, 50)
    np.testing.assert_allclose(task.rows, -made.rows * made.scaling.volt_r / made.scaling.r_node)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"A0": np.ones(4)}, r"^A0 has shape \(4,\), but a dictionary is \(n_features, n_latents\), both >= 1\.$"),
        ({"level": "board"}, r"^level = 'board' is not one of ideal, device\.$"),
        ({"nonideal": FEWER}, r'^nonideal parts need level = "device": .*\.$'),
        (
            {"stage": Stage(duration=10.5, hold=1.0, step=0.02, tau_A=9.0)},
            r"^stage\.duration = 10\.5 is no whole number .*$",
        ),
        (
            {"stage": Stage.of_inputs(5, hold=1.0, step=0.02)},
            r'^Stage: tau_A is not given, but learn has "A"\. Give .*\.$',
        ),
        ({"learn": ("A", "lam")}, r"^A and lam cannot be learned together: .*, or hold A\.$"),
        ({"learn": ("A", "gamma")}, r"^CircuitLearner: learn = \('A', 'gamma'\) cannot be used\. Give a tuple"),
        ({"learn": ("pi",), "pi": 1.0}, r"^prior = .* has no pi to learn\. Use SpikeSlab, or hold pi\.$"),
        ({"source": np.ones((3, 5))}, r"^source has inputs of 5 features, but A0 has 4 rows\. .*$"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, message):
    with pytest.raises(InputError, match=message) as caught:
        learner(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "learn", "why"),
    [
        ("crossbar.programming_error", 0.05, ("A",), "its synapses are multipliers"),
        ("op_amp.offset", 1e-3, ("sigma",), "its synapses are multipliers"),
        ("plastic.offset", 1e-3, ("sigma",), "A is held: its synapses are ideal conductances"),
        ("comparator.threshold_offset", 1e-3, ("A",), "its threshold cells are ideal"),
        ("comparator.gate_offset", 1e-3, ("pi",), "with pi or lam learned, thresholds and gates are ideal"),
        ("prior.lam_error", 0.1, ("lam",), "with pi or lam learned"),
    ],
)
def test_an_imperfection_without_a_part_is_refused(name, value, learn, why):
    part, key = name.split(".")
    with pytest.raises(InputError, match=f"nonideal.{name} = {value!r}: .*{why}.*Remove it"):
        learner(learn=learn, level="device", nonideal=Nonidealities({part: {key: value}}))


@pytest.mark.parametrize("learn", ["A", "sigma"])
def test_an_imperfection_that_is_taken_changes_the_drift(learn):
    """What is not refused does something: each, alone, to the drift of some state."""
    ideal = learner(learn=(learn,), level="device")
    z = Twin(ideal.graph).full_state(np.linspace(-0.5, 2.5, 4))
    reference = Twin(ideal.graph).drift(z)
    for parts in (
        {"comparator": {"gate_offset": 2e-3}},
        {"prior": {"lam_error": 0.1}},
        {"multiplier": {"gain_error": 0.1}},
        {"integrator": {"output_resistance": 1e8}},
        {"corner": {"capacitance": 0.9}},
    ):
        made = learner(learn=(learn,), level="device", nonideal=Nonidealities(parts))
        assert np.abs(Twin(made.graph).drift(z) - reference).max() > 1e-4, parts


def test_capacitors_of_one_corner_change_together():
    made = learner(learn=("pi", "sigma"), level="device", nonideal=Nonidealities(corner={"capacitance": 0.9}))
    ideal = learner(learn=("pi", "sigma"))
    for mine, its in zip(made.graph.integrators[1:], ideal.graph.integrators[1:], strict=True):
        assert mine.capacitor == pytest.approx(0.9 * its.capacitor)


def test_the_first_inputs_are_those_of_the_whole_run():
    """A large later input sets the scales of the whole run, hence what an offset is in units."""
    rows = np.vstack([np.full((3, 4), 0.3), np.full((1, 4), 6.0)])
    source = Rows(rows, shuffle=False)
    chip = Nonidealities(plastic={"offset": 3e-3}, seed=3)
    made = learner(Stage.of_inputs(4, hold=HOLD, step=STEP, **TIMES), source=source, level="device", nonideal=chip)
    np.testing.assert_allclose(made.states(3), np.asarray(made.run().history["z"])[:3], rtol=0, atol=1e-10)


def test_a_pause_needs_a_clock():
    with pytest.raises(InputError, match=r"pause = 0\.5, but a circuit that learns has no clock"):
        learner(Stage.of_inputs(INPUTS, hold=HOLD, step=STEP, pause=0.5, **TIMES))
