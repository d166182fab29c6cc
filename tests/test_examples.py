"""The examples: every config loads, those of learning learn, and the photograph's script makes its config's files."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuitlsc.config.learning import load_learn_config
from circuitlsc.config.read import load_config
from circuitlsc.config.table import read_toml
from circuitlsc.learning import Learner, NaturalPatches, match_atoms

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "circuitlsc" / "examples"
LEARNING = sorted(path for path in EXAMPLES.glob("*.toml") if "learning" in read_toml(path))
CONFIGS = sorted(set(EXAMPLES.glob("*.toml")) - set(LEARNING))
REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Return the folder that the photograph's script wrote, and what it printed."""
    for module in ("skimage", "sklearn"):
        (importlib.import_module if REQUIRED else pytest.importorskip)(module)
    folder = tmp_path_factory.mktemp("examples")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "photograph.py", "--patches", "4000"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return folder / "photograph", done.stdout


def test_there_are_examples():
    assert {path.name for path in CONFIGS} >= {"bars4x4.toml", "photograph.toml"}
    assert {path.name for path in LEARNING} == {"learn3x3.toml", "learn_natural.toml"}


def test_examples_name_nothing_that_a_wheel_lacks():
    for path in [*CONFIGS, *LEARNING]:  # "pip install --no-deps" of models that are on the registry
        named = re.findall(r".*(?:docs/|pip install \"|pip install -e|examples/).*", path.read_text())
        assert all("in a checkout of the sources" in line for line in named), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_example_loads(path, request):
    if path.stem == "photograph":
        path = request.getfixturevalue("photograph")[0] / path.name
    config = load_config(path)
    sampler = config.sampler()
    assert not sampler.plan.warnings
    assert sampler.tasks(config.run)


def cut(learner, n_inputs):
    """Return the same learner with so many inputs in each of its stages."""
    stages = [replace(stage, duration=n_inputs * stage.hold) for stage in learner.stages]
    return replace(learner, stages=stages)


def test_example_of_learning_learns():
    """A quarter of it, in software: every atom is recognised."""
    config = load_learn_config(EXAMPLES / "learn3x3.toml", "software")
    run = cut(config.software(), 1000).run()
    match = match_atoms(config.truth.A, run.learned.A)
    before = match_atoms(config.truth.A, config.A0)
    assert match.cosine.min() > 0.9 > before.cosine.max(), match


@pytest.mark.ngspice
def test_example_of_learning_learns_in_the_circuit():
    """Of its 4,000 inputs the first 20, with the capacitors that its comment names."""
    learner = load_learn_config(EXAMPLES / "learn3x3.toml", "circuit").in_circuit()
    assert "54 x 3e-09 F (a neuron has 1e-12 F)" in learner.report()
    z = learner.states(20)
    weights = z[:, 6:]
    assert z.shape == (20, 6 + 54)
    assert np.isfinite(z).all()
    assert np.abs(weights[-1] - learner.A0.ravel()).max() > 0.01


def test_example_of_natural_patches_learns():
    (importlib.import_module if REQUIRED else pytest.importorskip)("skimage")
    learner = load_learn_config(EXAMPLES / "learn_natural.toml", "software").software()
    assert isinstance(learner, Learner)
    assert isinstance(learner.source, NaturalPatches)
    run = cut(learner, 2).run()
    assert run.learned.A.shape == (64, 64)
    assert 0 < run.learned.pi < learner.pi


def test_script_of_the_photograph_writes_its_files(photograph):
    folder, _ = photograph
    files = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    assert {name: array.shape for name, array in files.items()} == {"dictionary": (64, 64), "x": (64,), "clean": (64,)}
    np.testing.assert_allclose(np.linalg.norm(files["dictionary"], axis=0), 1)
    assert np.std(files["x"] - files["clean"]) == pytest.approx(0.9, rel=0.3)


def test_config_has_the_numbers_that_the_script_prints(photograph):
    """Roughly: from a tenth of the patches the dictionary is a worse one."""
    folder, printed = photograph
    model = load_config(folder / "photograph.toml").model
    numbers = {key: float(value) for key, value in re.findall(r"^(\w+) = (\S+)", printed, re.MULTILINE)}
    assert numbers.keys() == {"sigma", "pi", "lam"}
    assert model.sigma == pytest.approx(numbers["sigma"], rel=0.05)
    assert model.prior.numbers()["pi"] == pytest.approx(numbers["pi"], rel=0.2)
    assert model.prior.numbers()["lam"] == pytest.approx(numbers["lam"], rel=0.2)
    assert model.prior.signed


@pytest.mark.ngspice
def test_photograph_runs(photograph):
    """A few hundred steps of the 64 x 64 circuit."""
    folder, _ = photograph
    sampler = load_config(folder / "photograph.toml").sampler()
    samples = sampler.run(t_stop=300 * sampler.plan.step, warmup=5, thin=5, chains=1, seed=3)
    assert samples.s.shape[2] == 64
    assert np.isfinite(samples.u).all()
    assert float(samples.stats["steps"][0]) == 300
    assert float(samples.stats["points"][0]) < 1.1 * 300
