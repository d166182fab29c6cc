"""What is of the wrong kind is an error of one line, and what says the same in another kind works."""

import numpy as np
import pytest

from circuitlsc import (
    Cauchy,
    CircuitLearner,
    CustomPrior,
    InputError,
    Laplace,
    Learner,
    Nonidealities,
    RunPlan,
    Samples,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
    Stage,
    build_sampler,
    chip_yield,
    error_budget,
    friction_sweep,
)
from circuitlsc.learning.classic import ClassicLearner
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.validation.calibration import draw_inputs

MODEL = SparseCodingModel(np.array([[0.6, 0.8], [0.8, -0.2]]), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.0, 0.5])
PARTS = {"op_amp": {"offset": 1e-3}}
STAGE = Stage(duration=2.0, step=0.05, hold=2.0, tau_A=50.0)
START = {"A0": MODEL.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": MODEL, "seed": 1}
CLASSIC = {key: START[key] for key in ("A0", "lam", "sigma", "source", "seed")} | {"n_updates": 1, "rate": 0.1}
U = np.zeros(2)


def learner(**changes):
    return Learner(**{**START, "stages": [STAGE], "batch": 2, **changes})


def circuit_learner(**changes):
    return CircuitLearner(**{**START, "stage": STAGE, **changes})


REFUSED = {
    "Nonidealities: 'rram' is not a mapping": lambda: build_sampler(MODEL, X, level="device", nonideal="rram"),
    "Nonidealities: 3 is not a mapping": lambda: error_budget(MODEL, X, 3),
    "nonideal = None, but imperfections": lambda: chip_yield(MODEL, X, None, tolerance=0.1, chips=1),
    "changed: 3 is not a mapping": lambda: Nonidealities(PARTS).changed(3),
    "model is a ndarray. Give": lambda: build_sampler(MODEL.A, X),
    "model is a int. Give": lambda: error_budget(3, X, PARTS),
    "model is a str. Give": lambda: draw_inputs("model", 2, 1),
    "run: the plan is 3, and nothing else": lambda: build_sampler(MODEL, X).run(3),
    "run: the plan is RunPlan(": lambda: build_sampler(MODEL, X).run(RunPlan(30.0), chains=7),
    "u has shape (3,) and dtype float64, but a state has n_latents = 2": lambda: MODEL.energy(np.zeros(3), X),
    "u has shape () and dtype <U1": lambda: MODEL.energy_grad("a", X),
    "width = -1 is no comparator's": lambda: MODEL.energy(U, X, -1),
    "log_density: temperature = 0, but": lambda: MODEL.log_density(U, X, temperature=0),
    "log_density_grad: temperature = 'a' is": lambda: MODEL.log_density_grad(U, X, temperature="a"),
    "SpikeSlab: signed = 'no' is not True": lambda: SpikeSlab(0.3, 1.0, signed="no"),
    "Laplace: signed = 'no' is not True": lambda: Laplace(1.0, signed="no"),
    "Cauchy: signed = 0 is not True": lambda: Cauchy(1.0, signed=0),
    "SquareRoot: signed = None is not True": lambda: SquareRoot(1.0, signed=None),
    "CustomPrior: signed = 'no' is not True": lambda: CustomPrior(np.square, reach=5.0, signed="no"),
    "Learner: signed = 'no' is not True": lambda: learner(signed="no"),
    "Learner: normalise = 1 is not True": lambda: learner(normalise=1),
    "Learner: temperature = 'a' cannot": lambda: learner(temperature="a"),
    "Learner: stages = Stage(": lambda: learner(stages=STAGE),
    "Learner: learn = [['A']] cannot": lambda: learner(learn=[["A"]]),
    "CircuitLearner: signed = 'no' is not True": lambda: circuit_learner(signed="no"),
    "CircuitLearner: stage = [Stage(": lambda: circuit_learner(stage=[STAGE]),
    "CircuitLearner: learn = 'A' cannot": lambda: circuit_learner(learn="A"),
    "CircuitLearner: learn = 3 cannot": lambda: circuit_learner(learn=3),
    "dynamics.kind = [] is not one of": lambda: build_sampler(MODEL, X, dynamics=Dynamics(kind=[])),
    "SpikeSlab: pi = 2.0, but P(active)": lambda: circuit_learner(pi=2.0),
    "SpikeSlab: pi = 'a' is not a number": lambda: circuit_learner(pi="a"),
    "tolerance = 'a', but Newton's": lambda: circuit_learner(tolerance="a"),
    "ClassicLearner: hard = 'no' is not True": lambda: ClassicLearner(**CLASSIC, method="lca", hard="no"),
    "friction_sweep: frictions = 3 is no list": lambda: friction_sweep(MODEL, X, frictions=3, t_stop=30.0),
    "dynamics.friction = 'a', but": lambda: friction_sweep(MODEL, X, frictions=["a"], t_stop=30.0),
    "dynamics.kind = 'x' is not": lambda: friction_sweep(MODEL, X, dynamics="x", t_stop=30.0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_one_line(message):
    with pytest.raises(InputError) as caught:
        REFUSED[message]()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_mapping_is_imperfections():
    parts = Nonidealities(PARTS)
    mapped = build_sampler(MODEL, X, level="device", nonideal=PARTS)
    assert mapped.nonideal == parts
    assert mapped.library_deck == build_sampler(MODEL, X, level="device", nonideal=parts).library_deck
    plastic = {"plastic": {"capacitance_mismatch": 0.1}}
    assert circuit_learner(level="device", nonideal=plastic).nonideal == Nonidealities(plastic)


def test_numpys_numbers_are_numbers(tmp_path):
    half, one = np.float32(0.5), np.int64(1)
    sampler = build_sampler(MODEL, X, step=np.float32(0.03125), tolerance=half / 128, halvings=one)
    same = build_sampler(MODEL, X, step=0.03125, tolerance=0.5 / 128, halvings=1)
    assert sampler.library_deck == same.library_deck
    assert sampler.deck(t_stop=np.int64(30)) == same.deck(t_stop=30)
    stage = Stage(duration=np.float32(2.0), step=np.float32(0.0625), hold=np.int64(2), tau_A=np.float32(50), pause=half)
    numbers = {"pi": half, "lam": one, "sigma": half, "temperature": one, "normalise": np.True_}
    plain = {name: value.item() for name, value in numbers.items()}
    run = learner(stages=[stage], **numbers).run(checkpoint=tmp_path / "c.npz")
    run.learned.save(tmp_path / "a.npz")
    expected = learner(stages=[Stage(duration=2.0, step=0.0625, hold=2, tau_A=50.0, pause=0.5)], **plain)
    assert run.learned.meta == expected.run().learned.meta
    assert circuit_learner(pi=half, lam=one).deck() == circuit_learner(pi=0.5, lam=1).deck()
    ClassicLearner(**{**CLASSIC, "lam": one, "rate": half}, method="dsc").run(checkpoint=tmp_path / "d.npz")


def test_models_are_equal_if_their_numbers_are():
    same = SparseCodingModel(MODEL.A.tolist(), SpikeSlab(np.float32(0.3).item(), 1.0), 0.5)
    assert same != MODEL  # 0.3 in single precision is another number
    again = SparseCodingModel(MODEL.A.copy(), SpikeSlab(0.3, 1), np.float32(0.5))
    assert again == MODEL
    assert hash(again) == hash(MODEL)
    for other in (
        SparseCodingModel(MODEL.A, Laplace(1.0), 0.5),
        SparseCodingModel(MODEL.A[:, ::-1], MODEL.prior, 0.5),
        3,
    ):
        assert other != MODEL


@pytest.mark.ngspice
def test_samples_that_cannot_be_saved_or_read(tmp_path):
    samples = build_sampler(MODEL, X).run(t_stop=25.0, chains=1)
    with pytest.raises(InputError, match=r"none/a\.nc cannot be written: its folder does not exist\. Make it first\.$"):
        samples.save(tmp_path / "none" / "a.nc")
    with pytest.raises(InputError, match=r"^draws: name = 'z' is not one of u, s\.$"):
        samples.draws("z")
    with pytest.raises(InputError, match=r"^waveform: name = 'time' is not one of u, s\.$"):
        samples.waveform(3, "time")
    samples.save(tmp_path / "a.nc")
    assert Samples.load(tmp_path / "a.nc").model() == MODEL
