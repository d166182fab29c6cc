"""The fuzz targets' contract on a few hundred inputs: whatever comes in loads, or is refused in one line.

`tests/fuzz/run.py` goes on where this stops, guided by coverage; docs/security.md says how far it went.
"""

import importlib.util
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).parent / "fuzz"
TARGETS = ("config", "dictionary", "samples", "deck", "names", "journal")


@pytest.fixture(scope="module", params=TARGETS)
def target(request, tmp_path_factory):
    """Return a target, its seeds and a folder for its inputs."""
    sys.path.insert(0, str(FUZZ))
    try:
        spec = importlib.util.spec_from_file_location(f"fuzz_{request.param}", FUZZ / f"{request.param}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FUZZ))
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        seeds = module.seeds()
        scratch = folder / "scratch"
        scratch.mkdir()
        module.prepare(scratch)
        yield module, seeds, scratch


def test_seeds_hold(target):
    module, seeds, scratch = target
    for seed in seeds:
        module.check(seed, scratch)


@settings(max_examples=80, derandomize=True, database=None, deadline=None)
@given(number=st.integers(0, 10**9))
def test_mutated_seeds_hold(target, number):
    module, seeds, scratch = target
    rng = random.Random(number)
    data = rng.choice(seeds)
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.3:  # bytes, too: an eighth of them lost, or one changed
            cut = rng.randrange(len(data) + 1)
            data = (
                data[:cut] + data[cut + len(data) // 8 + 1 :]
                if rng.random() < 0.5
                else data[:cut] + b"\xff" + data[cut + 1 :]
            )
        data = module.mutate(data, rng) or data
    module.check(data, scratch)


@settings(max_examples=80, derandomize=True, database=None, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_hold(target, data):
    module, _, scratch = target
    module.check(data, scratch)
