"""Every seed that is accepted is a seed of its own, wherever it goes; every other one is an error of one line."""

from dataclasses import replace

import numpy as np
import pytest
from test_deck_learning import means

from circuitlsc import (
    CircuitLearner,
    InputError,
    Learner,
    Nonidealities,
    RunPlan,
    Samples,
    SparseCodingModel,
    SpikeSlab,
    Stage,
    build_sampler,
)
from circuitlsc.config.read import parse_config
from circuitlsc.learning import random_weights
from circuitlsc.model.images import draw_patches
from circuitlsc.simulator.ngspice.deck import ngspice_seed
from circuitlsc.validation.calibration import calibrate, draw_inputs, rank_values
from examples.photograph import patch_dictionary

MODEL = SparseCodingModel(np.array([[0.6, 0.8], [0.8, -0.6]]), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.0, 0.5])
LARGEST = 2**63 - 1
STAGE = Stage(duration=2.0, step=0.05, hold=2.0, tau_A=50.0)
START = {"A0": MODEL.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": MODEL}
CIRCUIT_LEARNER = CircuitLearner(**START, stage=STAGE, seed=0)


def learner(seed, **settings):
    return Learner(**START, stages=[STAGE], seed=seed, batch=2, **settings)


def test_ngspice_gets_a_c_int_of_every_seed():
    assert [ngspice_seed(seed) for seed in (0, 1, 6, 7, 2**31 - 2)] == [1, 2, 7, 8, 2**31 - 1]
    large = [2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**33, 2**62, LARGEST]
    got = [ngspice_seed(seed) for seed in large]
    assert all(10 < seed <= 2**31 - 1 for seed in got)  # cut off, some of them would be 0, 1 or 2
    assert len(set(got)) == len(large)


@pytest.mark.ngspice
@pytest.mark.parametrize("what", ["sampler", "device", "learner"])
def test_a_deck_repeats_its_noise_and_no_other_seeds(what, tmp_path):
    def deck(seed):
        if what == "learner":
            return replace(CIRCUIT_LEARNER, seed=seed).deck()
        return build_sampler(MODEL, X, level="device" if what == "device" else "ideal").deck(
            t_stop=2.0, warmup=0.5, seed=seed
        )

    seeds = (0, np.int32(2**31 - 2), 2**31 - 1, 2**32, LARGEST)
    runs = [means(deck(seed), tmp_path) for seed in seeds]
    again = means(deck(LARGEST), tmp_path)
    assert len(again) == (4 if what == "learner" else 2)
    assert again == runs[-1]
    assert len({tuple(run.values()) for run in runs}) == len(seeds)
    assert f"(circuitlsc seed {LARGEST})" in deck(LARGEST)


@pytest.mark.ngspice
def test_the_largest_seed_goes_through_a_file(tmp_path):
    parts = Nonidealities(op_amp={"offset": 1e-3}, seed=LARGEST)
    samples = build_sampler(MODEL, X, level="device", nonideal=parts).run(
        t_stop=np.float32(3.0), warmup=np.int64(1), chains=1, seed=np.uint64(LARGEST)
    )
    samples.save(tmp_path / "a.nc")
    loaded = Samples.load(tmp_path / "a.nc")
    assert loaded.run_plan().seed == loaded.attrs["nonideal_seed"] == LARGEST


def test_numpys_whole_numbers_are_whole_numbers(tmp_path):
    run = learner(np.int64(3), records=np.int32(2)).run(checkpoint=tmp_path / "c.npz")
    np.testing.assert_array_equal(run.learned.A, learner(3, records=2).run(checkpoint=tmp_path / "c.npz").learned.A)
    run.learned.save(tmp_path / "a.npz")
    patches = np.random.default_rng(0).standard_normal((20, 4))
    atoms = patch_dictionary(patches, 3, LARGEST)
    np.testing.assert_array_equal(atoms, patch_dictionary(patches, 3, np.int64(LARGEST)))
    assert np.abs(atoms - patch_dictionary(patches, 3, LARGEST - 1)).max() > 1e-3


TAKES_A_SEED = {
    "RunPlan": lambda seed: RunPlan(100.0, seed=seed),
    "Nonidealities": lambda seed: Nonidealities(seed=seed),
    "preset": lambda seed: Nonidealities.preset("rram", seed=seed),
    "Learner": learner,
    "CircuitLearner": lambda seed: replace(CIRCUIT_LEARNER, seed=seed),
    "random_weights": lambda seed: random_weights(2, 2, seed),
    "patch_dictionary": lambda seed: patch_dictionary(np.eye(3), 2, seed),
    "starts": lambda seed: build_sampler(MODEL, X).starts(3, seed),
    "deck": lambda seed: build_sampler(MODEL, X).deck(t_stop=30.0, seed=seed),
    "model.draw": MODEL.draw,
    "prior.draw": lambda seed: MODEL.prior.draw((2,), seed),
    "draw_inputs": lambda seed: draw_inputs(MODEL, 2, seed),
    "draw_patches": lambda seed: draw_patches(np.eye(9), 2, 3, seed),
    "rank_values": lambda seed: rank_values(np.zeros(2), np.zeros((2, 3)), seed),
}


@pytest.mark.parametrize("make", TAKES_A_SEED.values(), ids=TAKES_A_SEED)
def test_what_is_no_seed(make):
    for seed in (-1, 1.5, True, None, "1", np.int64(-1), 2**63, 10**5000):
        with pytest.raises(InputError, match=r"(seed|rng) (= .* Give an integer >= 0|has no room in 64 bits\..*)\.$"):
            make(seed)
    make(np.uint64(LARGEST))


def test_a_seed_in_a_config(tmp_path):
    data = {"model": {"dictionary": "bars:2", "sigma": 0.5}, "prior": {"kind": "laplace", "lam": 1.0}}
    parse_config({**data, "run": {"t_stop": 50, "seed": LARGEST}}, tmp_path / "c.toml")
    with pytest.raises(
        InputError, match=r"run\.seed = 9223372036854775808 is not a whole number from 0 to 2\*\*63 - 1\."
    ):
        parse_config({**data, "run": {"t_stop": 50, "seed": 2**63}}, tmp_path / "c.toml")


def test_a_seed_is_the_generator_that_it_starts():
    def pairs(make):
        return zip(*(np.atleast_1d(*make(rng)) for rng in (7, np.random.default_rng(7))), strict=True)

    truth, draws = np.zeros(4), np.random.default_rng(0).standard_normal((4, 3))
    for make in (MODEL.draw, lambda rng: draw_inputs(MODEL, 3, rng), lambda rng: [rank_values(truth, draws, rng)] * 2):
        for seeded, drawn in pairs(make):
            np.testing.assert_array_equal(seeded, drawn)
    s, x = draw_inputs(MODEL, 20, 1)
    codes = np.stack([draw_inputs(MODEL, 20, seed)[0] for seed in range(2, 9)], axis=1)
    assert calibrate(MODEL, s, x, codes, rng=3) == calibrate(MODEL, s, x, codes, rng=np.random.default_rng(3))
