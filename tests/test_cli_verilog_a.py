"""export, cross-check and doctor as a user has them."""

import json

import pytest
from typer.testing import CliRunner

from circuitlsc import Samples, veriloga
from circuitlsc.cli.doctor import examine
from circuitlsc.cli.main import USAGE, app

CONFIG = """
[model]
dictionary = "bars:2"
x = "draw"
sigma = 0.5

[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.4

[circuit]
form = "gram"

[run]
t_stop = 200
warmup = 10
chains = 2
tolerance = 0.5
"""


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def one_line(done):
    assert (done.exit_code, done.stdout) == (USAGE, "")
    (line,) = done.stderr.splitlines()
    return line


def test_export_writes_a_folder(config, tmp_path):
    done = call("export", config, "--dialect", "spectre", "--length", "5", "-o", tmp_path / "deck")
    assert done.exit_code == 0, done.stderr
    names = {path.name for path in (tmp_path / "deck").iterdir()}
    families = {f"lsc_{name}.va" for name in ("integrator", "threshold", "gate", "cost")}
    assert names == {"sampler.scs", "noise.scs", veriloga.FUNCTIONS, *families}
    assert "exists already" in one_line(call("export", config, "-o", tmp_path / "deck"))


def test_export_refuses_in_one_line_and_writes_nothing(config, tmp_path):
    assert "is not one of vacask, spectre" in one_line(call("export", config, "--dialect", "hdl", "-o", tmp_path / "a"))
    config.write_text(config.read_text().replace("[circuit]", '[circuit]\nlevel = "transistor"'))
    assert 'level = "transistor" has cells that no' in one_line(call("export", config, "-o", tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_without_vacask_there_is_no_cross_check(config, tmp_path, without_vacask):
    assert "VACASK is not installed" in one_line(call("cross-check", config, "-o", tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    (found,) = (finding for finding in examine() if finding.what.startswith("VACASK"))
    assert (found.state, "only for circuitlsc cross-check, and for circuit.cells. VACASK is not" in found.advice) == (
        "optional",
        True,
    )


@pytest.mark.slow
@pytest.mark.ngspice
def test_cross_check(config, tmp_path, vacask_here, unrendered):
    done = call("cross-check", config, "-o", tmp_path / "out", "--t-stop", "100")
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "out" / "cross_check.json").read_text())
    assert found["verdict"] == "agrees"
    assert [path["what"] for path in found["paths"]] == ["ngspice and NumPy", "VACASK and NumPy", "ngspice and VACASK"]
    assert all(path["rms"] < 1e-6 for path in found["paths"][:2])
    assert {verdict for _, verdict in found["verdicts"]} == {"agrees"}
    here, there = (Samples.load(tmp_path / "out" / f"samples.{name}.nc") for name in ("ngspice", "vacask"))
    assert here.u.shape == there.u.shape
    assert "VACASK" in there.attrs["ngspice_version"]
    (finding,) = (finding for finding in examine() if finding.what.startswith("VACASK"))
    assert finding.state == "ok"
