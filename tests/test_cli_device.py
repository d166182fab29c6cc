"""The command line at device level: run, budget, yield and draw, their files, streams and refusals."""

import json
import tomllib
from functools import partial

import numpy as np
import pytest
from reports import results_in
from test_cli import FILES, circuitlsc, one_line

from circuitlsc.sampling.samples import Samples
from circuitlsc.studies import energy as study

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("unrendered")]

CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.7
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[circuit]
level = "device"
{circuit}
[nonideal]
seed = 2
{nonideal}
[run]
t_stop = 300
chains = 2
seed = 1
"""
PARTS = "op_amp.offset = 1e-3\ncrossbar.programming_error = 0.05"
FIELDS = {"name", "parameters", "d_p_active", "d_p_active_se", "d_mean", "d_mean_se", "d_tv", "d_tv_se"}


def config(folder, nonideal=PARTS, circuit=""):
    (folder / "config.toml").write_text(CONFIG.format(nonideal=nonideal, circuit=circuit))


def test_run(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "software_speed", partial(study.software_speed, seconds=0.1))
    config(tmp_path, 'preset = "rram"\nop_amp.gbw = 1e7', 'form = "residual"')
    done = circuitlsc("run", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode in (3, 4), done.stderr
    assert results_in(tmp_path / "out") == FILES | {"energy.json"}
    assert "WARNING        op-amp lag" in done.stderr
    assert "energy per effective sample" in done.stdout
    energy = json.loads((tmp_path / "out" / "energy.json").read_text())
    assert energy["watts"] > 0
    assert [s["name"] for s in energy["software"]] == ["NumPy Euler-Maruyama, 200 chains", "numba Gibbs"]
    attrs = Samples.load(tmp_path / "out" / "samples.nc").attrs
    assert attrs["level"] == "device"
    assert json.loads(attrs["nonideal"])["op_amp"] == {"gbw": 1e7}
    resolved = tomllib.loads((tmp_path / "out" / "config.resolved.toml").read_text())
    assert resolved["nonideal"]["crossbar"]["g_on"] == 40e-6
    assert "preset" not in resolved["nonideal"]
    again = circuitlsc("compare", "out", cwd=tmp_path)
    assert again.returncode == done.returncode, again.stderr
    # samples of another chip are not this config's
    text = (tmp_path / "out" / "config.resolved.toml").read_text()
    (tmp_path / "out" / "config.resolved.toml").write_text(text.replace("seed = 2", "seed = 3"))
    assert "were made by another deck" in one_line(circuitlsc("compare", "out", cwd=tmp_path), 2)


def test_budget(tmp_path):
    config(tmp_path)
    done = circuitlsc("budget", "config.toml", "-o", "out", "--sweep", "op_amp.offset=0:2e-3:2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = {"budget.json", "budget.png", "sweep.png", "config.resolved.toml"}
    assert results_in(tmp_path / "out") == files
    entries = json.loads((tmp_path / "out" / "budget.json").read_text())
    names = ["ideal", "crossbar.programming_error", "op_amp.offset", "all", "op_amp.offset=0", "op_amp.offset=0.002"]
    assert [e["name"] for e in entries] == names
    for entry in entries:
        assert set(entry) >= FIELDS
        assert entry["name"] in done.stdout
    assert entries[4]["d_mean"] == 0
    assert np.abs(entries[2]["d_mean"]) > 0


def test_yield(tmp_path):
    config(tmp_path)
    done = circuitlsc("yield", "config.toml", "-o", "out", "--chips", "3", "--t-stop", "200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert results_in(tmp_path / "out") == {"chips.json", "chips.png", "config.resolved.toml"}
    report = json.loads((tmp_path / "out" / "chips.json").read_text())
    assert [c["seed"] for c in report["chips"]] == [2, 3, 4]
    assert f"yield {report['passed']} of 3" in done.stdout


def test_draw(tmp_path):
    pytest.importorskip("schemdraw")
    config(tmp_path)
    done = circuitlsc("draw", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"neuron.svg", "signal_path.svg", "crossbars.png"}


@pytest.mark.parametrize(
    ("command", "options", "changes", "message"),
    [
        ("budget", [], {"nonideal": ""}, "the budget is empty"),
        ("budget", ["--sweep", "op_amp.offset"], {}, "is not a sweep"),
        ("budget", ["--sweep", "op_amp.gbw=-1:1:2"], {}, "op_amp.gbw = -1.0, but it must be > 0"),
        ("budget", ["--t-stop", "5"], {}, "run.t_stop = 5.0 tau is not beyond run.warmup"),
        ("budget", [], {"nonideal": "crossbar.levels = 1"}, "crossbar.levels = 1 is not a whole number >= 2"),
        ("yield", ["--chips", "0"], {}, "chips = 0 is not a whole number. Give an integer >= 1."),
        ("yield", ["--tolerance", "-1"], {}, "tolerance = -1.0 is not a number > 0"),
        ("yield", ["--tolerance", "nan"], {}, "--tolerance nan is no finite number within 1e-100 .. 1e100. Give one."),
        ("yield", ["--t-stop", "inf"], {}, "--t-stop inf is no finite number"),
        ("budget", ["--t-stop", "nan"], {}, "--t-stop nan is no finite number"),
        ("budget", ["--t-stop", "1e-300"], {}, "--t-stop 1e-300 is no finite number"),
        ("friction", ["--friction", "1.0", "--friction", "nan"], {}, "--friction nan is no finite number"),
        ("friction", ["--friction=-1"], {}, "-1"),
        ("friction", ["--t-stop", "nan"], {}, "--t-stop nan is no finite number"),
        ("calibrate", ["--spacing", "nan"], {}, "--spacing nan is no finite number"),
        ("calibrate", ["--warmup=-inf"], {}, "--warmup -inf is no finite number"),
        ("run", ["--tolerance", "nan"], {}, "--tolerance nan is no finite number"),
        ("run", ["-o", "/proc/x"], {}, "Give another place."),
        ("draw", ["-o", "/proc/x"], {}, "Give another place."),
        ("yield", [], {"nonideal": ""}, "every chip would be the same"),
    ],
)
def test_refusals(tmp_path, command, options, changes, message):
    config(tmp_path, **changes)
    done = circuitlsc(command, "config.toml", "-o", "out", *options, cwd=tmp_path)
    assert message in one_line(done, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["config.toml"]


def test_budget_of_an_ideal_circuit(tmp_path):
    text = CONFIG.format(nonideal="", circuit="").replace('level = "device"', "").replace("[nonideal]\nseed = 2\n", "")
    (tmp_path / "config.toml").write_text(text)
    done = circuitlsc("budget", "config.toml", "-o", "out", cwd=tmp_path)
    assert 'Set level = "device" or "transistor" in [circuit]' in one_line(done, 2)
