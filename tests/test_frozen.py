"""What a change of structure must leave alone (`tools/frozen.py`): decks, tasks and seeds, noise, and samples."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from circuitlsc.simulator.ngspice.noise import BrownianPaths

spec = importlib.util.spec_from_file_location("frozen", Path(__file__).parents[1] / "tools" / "frozen.py")
frozen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(frozen)


PATHS = "549d2788a3592f8f7cc32dfb64aea13a136dc68cbee4e0f92a791e763416bf5a"


@pytest.fixture(scope="module")
def stored():
    with np.load(frozen.STORED) as found:
        return dict(found)


def test_decks_tasks_and_seeds(stored):
    found = {name: frozen.digest(text) for name, text in frozen.texts().items()}
    held = {name: str(value) for name, value in stored.items() if not name.startswith("samples of ")}
    assert found == held, "if that was meant: python tools/frozen.py --write"


def test_noise_paths():
    """Their bits are NumPy's: a path is a function of seed, chain and source alone, on every machine."""
    paths = BrownianPaths(["xneuron_0.noise", "b"], seed=2**40, chain=3, step=0.05, temperature=1.3, halvings=2)
    dw = np.concatenate([paths.increments(n) for n in (5, 64, 31)])
    rounded = np.round(dw, 12) + 0.0
    assert hashlib.sha256(rounded.tobytes()).hexdigest() == PATHS


@pytest.mark.ngspice
@pytest.mark.parametrize("name", [*frozen.CIRCUITS, *frozen.LEARNERS])
def test_samples(name, stored):
    held = stored[f"samples of {name}"]
    found = frozen.samples(name, steps=frozen.FIRST)[:, : frozen.FIRST]
    assert found.shape == held.shape
    np.testing.assert_allclose(found, held, rtol=0, atol=1e-9)


@pytest.mark.ngspice
def test_another_seed_is_seen(stored, monkeypatch):
    monkeypatch.setattr(frozen, "SEED", frozen.SEED + 1)
    found = frozen.samples("langevin", steps=frozen.FIRST)
    assert np.abs(found - stored["samples of langevin"]).max() > 0.1
