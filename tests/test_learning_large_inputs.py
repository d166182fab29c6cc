"""Inputs that are large beside slab and noise: a step and a pause that they ask for, or a warning with the numbers."""

import warnings

import numpy as np
import pytest
from reports import text_of

from circuitlsc.cli.learn import learn_report
from circuitlsc.config.learning import parse_learn_config
from circuitlsc.learning import Learner, Stage
from circuitlsc.learning.large_inputs import LargeInputsWarning, drag, longest_step

A = np.random.default_rng(0).standard_normal((4, 3)) * 0.3
X = np.random.default_rng(5).standard_normal((10, 4))


def learner(scale, **stage):
    stage = Stage(**{"duration": 200.0, "step": 0.02, "hold": 50.0, "tau_u0": 100.0, **stage})
    return Learner(A0=A, pi=0.3, lam=1.0, sigma=0.5, source=scale * X, stages=[stage], seed=1, learn=("pi",), batch=10)


def test_rules():
    assert longest_step(np.eye(2), np.array([[4.0, 1.0]]), lam=2.0, sigma=0.5) == 0.5 * 0.25 / (2 * 4)
    assert drag(2 * np.eye(2), np.array([[4.0, 1.0]]), lam=2.0, tau=8.0) == 0.5  # u goes to 8/4, in units of 1/2
    assert longest_step(np.eye(2), np.zeros((3, 2)), 1.0, 0.5) == np.inf


def test_a_warning_names_both_numbers_and_what_to_do():
    message = (
        r"^Learner: inputs are large beside sigma and the slab: a step of 0\.02 tau moves u by [\d.]+ slabs at a gate "
        r"\(0\.5 is good\), and a switch moves what is learned by [\d.]+ slabs \(0\.5 is good\)\. Give step <= [\d.]+, "
        r"pause = 25, or another unit of x and A\.$"
    )
    with pytest.warns(LargeInputsWarning, match=message):
        lost = learner(255).run().learned.pi
    assert lost < 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner(1).run()
        found = learner(255, step=0.001, pause=25.0).run().learned.pi
    assert 0.4 < found < 0.8  # 0.48 by Gibbs EM; 0.0001 was learned


def test_a_config_chooses_them(tmp_path):
    np.save(tmp_path / "A.npy", A)

    def config(scale, **given):
        np.save(tmp_path / "X.npy", scale * X)
        learning = {"learn": ["pi"], "inputs": 80, "hold": 20, "tau_u0": 100, "start": {"A": "A.npy"}, **given}
        data = {"model": {"sigma": 0.5}, "prior": {"kind": "spike-slab", "pi": 0.3, "lam": 1.0}}
        return parse_learn_config(
            {**data, "data": {"source": "X.npy"}, "learning": learning}, tmp_path / "c.toml", "software"
        )

    (small,), (large,) = config(1).stages, config(255).stages
    assert (small.step, small.pause) == (0.005, 0.0)
    assert large.step < 0.002
    assert large.pause == pytest.approx(10.0, abs=large.step)
    assert config(255).software().concern is None
    given = config(255, step=0.02, pause=0)
    text = text_of(learn_report(given, learner(1).run().learned, "software"))
    assert text.splitlines()[-1].startswith(
        "note           inputs are large beside sigma and the slab: a step of 0.02 tau moves u by"
    )
