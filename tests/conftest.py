"""Fixtures shared by all tests: every prior, a model in which no parameter is 1, the bars, and ngspice alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

import circuitlsc
from circuitlsc import (
    Cauchy,
    CustomPrior,
    Gaussian,
    Laplace,
    MissingSimulatorError,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
)
from circuitlsc.model.prior import Prior
from circuitlsc.planning.scaling import Scaling
from circuitlsc.reporting import plotting
from circuitlsc.simulator import verilog_a as program
from circuitlsc.simulator.ngspice.library import find_library, version_apart
from circuitlsc.simulator.ngspice.modules import check_version
from circuitlsc.simulator.verilog_a import check_compiler, find_programs

REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_NGSPICE") == "1"

PRIORS = {
    "spike-slab": SpikeSlab(pi=0.3, lam=1.4),
    "spike-slab-signed": SpikeSlab(pi=0.3, lam=1.4, signed=True),
    "spike-slab-pi-1": SpikeSlab(pi=1.0, lam=1.4),
    "spike-slab-signed-pi-1": SpikeSlab(pi=1.0, lam=1.4, signed=True),
    "laplace": Laplace(lam=1.4),
    "exponential": Laplace(lam=1.4, signed=False),
    "gaussian": Gaussian(sd=0.6),
    "cauchy": Cauchy(lam=1.4, scale=0.6),
    "square-root-nonneg": SquareRoot(lam=1.4, signed=False),
    "custom": CustomPrior(lambda s: 1.4 * np.sqrt(s**2 + 0.09) + 0.3 * s, reach=20.0),
}

LONG = ("tests/test_notebooks.py", "tests/test_verdict_rates.py", "tests/test_user_files.py", "tests/test_untrusted.py")

Solve = Callable[[list[tuple[str, str]]], list[dict[str, NDArray[np.float64]]]]


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a fixture of their module on one worker: such fixtures are simulations, made once.

    Long ones begin first: the last test that runs, runs alone.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
    for item in items:
        fixtures = getattr(item, "_fixtureinfo", None)
        shared = [] if fixtures is None else [d[-1] for d in fixtures.name2fixturedefs.values()]
        if any(d.scope == "module" and d.baseid == item.nodeid.split("::")[0] for d in shared):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests that need libngspice where it is missing; fail them if the environment promised it."""
    if item.get_closest_marker("ngspice"):
        try:
            find_library()
        except MissingSimulatorError as error:
            (pytest.fail if REQUIRED else pytest.skip)(str(error))


@pytest.fixture(scope="session")
def vacask_here() -> None:
    """Skip a test where VACASK and its compiler are missing; fail it if the environment promised them."""
    try:
        find_programs()
    except MissingSimulatorError as error:
        (pytest.fail if os.environ.get("CIRCUITLSC_REQUIRE_VACASK") == "1" else pytest.skip)(str(error))


@pytest.fixture
def without_vacask(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let no VACASK be found, neither in this Python nor on the path."""

    def forget() -> None:
        find_programs.cache_clear()
        program.version.cache_clear()

    monkeypatch.setattr(program, "find_spec", lambda _: None)
    monkeypatch.setattr(program.shutil, "which", lambda _: None)
    forget()
    yield monkeypatch
    forget()


@pytest.fixture(scope="session")
def compiled_cells_here() -> None:
    """Skip a test where ngspice is too old for compiled cells, or nothing compiles them; fail it if a compiler was promised."""
    try:
        check_version(version_apart()[1])
    except MissingSimulatorError as error:
        pytest.skip(str(error))
    try:
        check_compiler()
    except MissingSimulatorError as error:
        (pytest.fail if os.environ.get("CIRCUITLSC_REQUIRE_VACASK") == "1" else pytest.skip)(str(error))


@pytest.fixture(scope="session", autouse=True)
def wide_terminal() -> Iterator[None]:
    """Let no report that is printed be wrapped, here and in processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        yield


@pytest.fixture(scope="session", autouse=True)
def short_paths() -> Iterator[None]:
    """Let verdicts follow the same noise for 500 steps: tests of the path alone, notebooks and processes follow it for long."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("judge", "memory_compare", "stream_compare"):
            patch.setattr(f"circuitlsc.validation.{module}.PATH_STEPS", 500)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 2 MB, if this system lets us make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no rights to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands make their figures, and write empty ones: each kind is rendered by its own test and by a notebook."""
    save, empty = plotting.save_figure, Figure(figsize=(1, 1))
    monkeypatch.setattr(plotting, "save_figure", lambda _, path: save(empty, path))


@pytest.fixture(params=list(PRIORS.values()), ids=list(PRIORS))
def prior(request: pytest.FixtureRequest) -> Prior:
    """Every prior."""
    return request.param


@pytest.fixture(params=["gram", "residual"])
def form(request: pytest.FixtureRequest) -> str:
    """Both circuit forms."""
    return request.param


@pytest.fixture
def model(prior: Prior) -> SparseCodingModel:
    """Return a random 5 x 4 model with each prior; sigma, lam and sd differ from 1 and from each other."""
    return SparseCodingModel(np.random.default_rng(5).standard_normal((5, 4)), prior, sigma=0.7)


@pytest.fixture
def x(model: SparseCodingModel) -> NDArray[np.float64]:
    """Return an observation drawn from ``model``."""
    return model.draw(np.random.default_rng(6))[1]


@pytest.fixture(scope="session")
def bars_model() -> SparseCodingModel:
    """Return the reference problem: 4x4 bars, pi 0.3, lam 1, sigma 0.5."""
    return SparseCodingModel(circuitlsc.bars(4), SpikeSlab(0.3, 1.0), 0.5)


@pytest.fixture(scope="session")
def bars_x(bars_model: SparseCodingModel) -> NDArray[np.float64]:
    """Return two bars and noise."""
    s = np.zeros(8)
    s[[1, 6]] = 1.5, 0.8
    return bars_model.A @ s + 0.5 * np.random.default_rng(2).standard_normal(16)


@pytest.fixture
def odd_scaling() -> Scaling:
    """Return scales in which nothing is a default and nothing is equal, so that none can be left out."""
    return Scaling(volt=0.07, volt_r=0.03, volt_e=0.011, c_int=3e-12, tau=2e-6, r_node=0.5e6)


class Solver:
    """A process with one libngspice session; it starts with the first job, and again after a crash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, jobs: list[tuple[str, str]]) -> list[dict[str, NDArray[np.float64]]]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("ngspice_solve.py"))],
                cwd=self._folder,
                env={**os.environ, "HOME": str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answers = []
        for job in jobs:
            print(json.dumps(job), file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline() or '{"failed": "ngspice crashed"}')
            assert "failed" not in answer, answer["failed"]
            answers.append({name: np.array(values) for name, values in answer.items()})
        return answers

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()


@pytest.fixture(scope="session")
def solve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Solve]:
    """Return a function that runs (deck, analysis) pairs in libngspice, in a process of its own."""
    solver = Solver(tmp_path_factory.mktemp("ngspice"))
    yield solver
    solver.close()
