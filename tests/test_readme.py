"""The blocks of README, docs/start.md and docs/running.md, parsed out of them and used."""

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from circuitlsc.cli.main import EXIT_CODES, FAILED, USAGE, app
from circuitlsc.config.read import load_config
from circuitlsc.config.registry import LEARNING, SAMPLER
from circuitlsc.sampling.samples import Samples

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
RUNNING = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ONE_TEST = re.findall(r"^    \./test\.sh ((?:tests/|-k |--slow ).*?)  ", CONTRIBUTING, re.MULTILINE)


def block(kind, page=README):
    return re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1]


def test_the_readme_is_a_screen_and_a_bit():
    assert len(README.encode()) <= 8 * 1024


@pytest.mark.ngspice
def test_python_example_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-"], input=block("python"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] in EXIT_CODES


def test_config_example_is_valid(tmp_path):
    (tmp_path / "config.toml").write_text(block("toml", START))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "A.npy", rng.standard_normal((5, 3)))
    np.save(tmp_path / "x.npy", rng.standard_normal(5))
    config = load_config(tmp_path / "config.toml")
    assert config.run.t_stop == 20000


def test_keys_of_learning_are_those_of_a_sampler():
    """Of a table that both have, only [encoder] has keys of learning alone."""
    for table in LEARNING.keys() & SAMPLER.keys() - {"encoder"}:
        assert set(LEARNING[table]) <= set(SAMPLER[table])


def test_page_of_the_keys_is_what_is_declared():
    spec = importlib.util.spec_from_file_location("config_page", ROOT / "tools" / "config_page.py")
    config_page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config_page)
    page = config_page.page()
    assert config_page.PAGE.read_text(encoding="utf-8") == page, "run: python tools/config_page.py"
    for table in LEARNING.keys() | SAMPLER.keys():
        keys = {*LEARNING.get(table, ()), *SAMPLER.get(table, ())}
        text = page.partition(f"\n## [{table}]\n")[2].partition("\n## ")[0]
        assert set(keys) <= {*re.findall(r"`(\w+)`", text), *re.findall(r"\[nonideal\.(\w+)\]", text), "kind"}


def test_commands_and_exit_codes():
    names = {c.name or c.callback.__name__ for c in app.registered_commands}
    assert names == {
        *(
            "init",
            "run",
            "explain",
            "build",
            "export",
            "cross-check",
            "report",
            "compare",
            "compare-samplers",
            "learn",
            "calibrate",
            "friction",
            "paper",
            "budget",
            "yield",
            "characterise",
            "draw",
            "check",
            "doctor",
        )
    }
    assert {*re.findall(r"^    circuitlsc ([\w-]+) ", START, re.MULTILINE)} == names
    said = re.search(r"Exit codes: (.*?) \(it says", README, re.DOTALL)[1]
    assert " ".join(said.split()) == "0 agrees, 1 failed, 2 usage, 3 disagrees, 4 inconclusive"
    assert (FAILED, USAGE, EXIT_CODES) == (1, 2, {"agrees": 0, "disagrees": 3, "inconclusive": 4})


def test_links_and_files_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target.partition("#")[0]).exists(), target
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:circuitlsc|examples|notebooks|netlists|benchmarks)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.slow
@pytest.mark.ngspice
def test_dask_cluster_of_the_page(tmp_path):
    """Its three commands, on a free port, with a shorter run: the samples are those of a run without a cluster."""
    pytest.importorskip("distributed")
    commands = re.search(r"```sh\n(dask scheduler.*?)```", RUNNING, re.DOTALL)[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    example = tmp_path / "circuitlsc" / "examples" / "bars4x4.toml"
    example.parent.mkdir(parents=True)
    config = (ROOT / "circuitlsc" / "examples" / "bars4x4.toml").read_text()
    example.write_text(re.sub(r"t_stop = \S+", "t_stop = 200", config))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = subprocess.Popen(
        ["bash", "-c", commands.replace("8786", str(port)) + "\necho exit $?\nkill %1 %2\nwait"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = shell.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert re.search(r"^exit [04]$", out, re.MULTILINE), err
    here = load_config(example)
    samples = here.sampler().run(here.run)
    assert Samples.load(tmp_path / "out-dask" / "samples.nc").u.tobytes() == samples.u.tobytes()


def test_scripts_are_executable():
    for name in ("demo.sh", "docs.sh", "test.sh", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name


@pytest.mark.parametrize("arguments", ONE_TEST)
def test_one_test_is_one_test(arguments, tmp_path):
    """What CONTRIBUTING.md says runs what it names, and nothing besides: with programs that only note what they are told."""
    assert len(ONE_TEST) == 3
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "setup.sh").write_text("setup() { :; }\n")
    (tmp_path / "test.sh").write_text((ROOT / "test.sh").read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "ruff", "lint-imports", "mypy"):
        program = tmp_path / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> told\n')
        program.chmod(0o755)
    subprocess.run(["bash", "test.sh", *arguments.split()], cwd=tmp_path, check=True)
    (told,) = (line.split() for line in (tmp_path / "told").read_text().splitlines() if "-m pytest" in line)
    asked = arguments.removeprefix("--slow ").split()
    assert told[-len(asked) :] == asked
    assert [word for word in told if word.startswith("tests")] == [word for word in asked if word.startswith("tests")]
