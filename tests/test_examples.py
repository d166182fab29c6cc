"""The examples: every config loads, and the photograph's script makes the files that its config needs."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from circuitlsc.config import load_config

EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIGS = sorted(EXAMPLES.glob("*.toml"))
REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Return a copy of the photograph's config beside the files that its script wrote, and what it printed."""
    for module in ("skimage", "sklearn"):
        (importlib.import_module if REQUIRED else pytest.importorskip)(module)
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(EXAMPLES / "photograph.toml", folder)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "photograph.py", folder / "photograph", "--patches", "4000"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return folder, done.stdout


def test_there_are_examples():
    assert {path.name for path in CONFIGS} >= {"bars4x4.toml", "photograph.toml"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_example_loads(path, request):
    if path.stem == "photograph":
        path = request.getfixturevalue("photograph")[0] / path.name
    config = load_config(path)
    sampler = config.sampler()
    assert not sampler.plan.warnings
    assert sampler.tasks(config.run)


def test_script_of_the_photograph_writes_its_files(photograph):
    folder, _ = photograph
    files = {path.stem: np.load(path) for path in (folder / "photograph").iterdir()}
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
