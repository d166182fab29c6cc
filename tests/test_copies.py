"""What a user pickles, copies or hands to a worker process comes out as it went in."""

import copy
import gc
import pickle

import numpy as np
import pytest
from xarray.backends.file_manager import FILE_CACHE

from circuitlsc import (
    CircuitLearner,
    CustomPrior,
    Dynamics,
    InputError,
    Learner,
    Nonidealities,
    RunPlan,
    SimulationError,
    SparseCodingModel,
    SpikeSlab,
    Stage,
    build_sampler,
)
from circuitlsc.sampling import samples_file

MODEL = SparseCodingModel(np.array([[0.6, 0.8], [0.8, -0.2]]), SpikeSlab(0.3, 1.0), 0.5)
CUSTOM = SparseCodingModel(MODEL.A, CustomPrior(lambda s: 1.4 * np.sqrt(s**2 + 0.09), reach=20.0), 0.5)
X = np.array([1.0, 0.5])
STAGE = Stage(duration=2.0, step=0.05, hold=2.0, tau_A=50.0)
START = {"A0": MODEL.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": MODEL, "seed": 1}

SAMPLERS = {
    "ideal": (MODEL, X, {}),
    "custom": (CUSTOM, X, {"form": "residual"}),
    "device": (MODEL, X, {"level": "device", "nonideal": Nonidealities.preset("rram", seed=3)}),
    "stream": (MODEL, np.stack([X, -X]), {"hold": 20.0}),
    "broken": (MODEL, X, {"loop": "broken"}),
    "lca": (MODEL, X, {"dynamics": "lca"}),
}
COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_sampler(copied):
    for model, x, arguments in SAMPLERS.values():
        sampler = build_sampler(model, x, **arguments)
        again = copied(sampler)
        assert again.library_deck == sampler.library_deck
        assert again.deck(t_stop=30.0, seed=5) == sampler.deck(t_stop=30.0, seed=5)
        u = np.array([0.7, -0.3])
        np.testing.assert_array_equal(again.twin.full_state(u), sampler.twin.full_state(u))
        assert again.nonideal == sampler.nonideal
        assert pickle.dumps(again.graph)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_models_plans_and_learners(copied):
    for value in (MODEL.prior, CUSTOM.prior, RunPlan(50.0), Dynamics(kind="underdamped"), STAGE):
        assert copied(value) == value
    np.testing.assert_array_equal(copied(CUSTOM).A, CUSTOM.A)
    for error in (InputError("why"), SimulationError("why", 3)):
        assert (type(copied(error)), str(copied(error))) == (type(error), str(error))
    learner, circuit = Learner(**START, stages=[STAGE], batch=2), CircuitLearner(**START, stage=STAGE)
    assert copied(circuit).deck() == circuit.deck()
    run = copied(learner).run()
    np.testing.assert_array_equal(copied(run).learned.A, learner.run().learned.A)


@pytest.mark.ngspice
def test_samples_leave_the_process_with_the_draws_of_their_file(monkeypatch):
    """The file of a long run is removed with the samples that it was made for."""
    monkeypatch.setattr(samples_file, "IN_MEMORY", 10)
    samples = build_sampler(MODEL, X).run(t_stop=30.0, chains=1)
    u, draws = samples.u, samples.draws()
    text = pickle.dumps((samples, draws))
    del samples, draws
    gc.collect()
    FILE_CACHE.clear()  # another process has nothing open
    again, _ = pickle.loads(text)
    np.testing.assert_array_equal(again.u, u)
    np.testing.assert_array_equal(again.draws().read(0, 5), u[:, :5])
