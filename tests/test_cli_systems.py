"""The command line of every system: one word switches, files, exit codes, one-line errors."""

import inspect
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from reports import results_in
from test_cli import circuitlsc, circuitlsc_process, one_line

import circuitlsc as package
from circuitlsc.cli import studies
from circuitlsc.config.read import load_config
from circuitlsc.sampling.samples import Samples
from examples.paper import __main__ as paper

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("unrendered")]

CONFIG = """
[model]
dictionary = "bars:2"
x = "{x}"
sigma = 0.7
seed = 3
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[dynamics]
{dynamics}
[run]
seed = 1
{run}
"""


def write(folder, dynamics, run="", x="draw", name="config.toml"):
    (folder / name).write_text(CONFIG.format(dynamics=dynamics, run=run, x=x))
    return name


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("gradient", "device"),
        ("lca", "ideal"),
        pytest.param("gradient", "ideal", marks=pytest.mark.slow),
        pytest.param("lca", "device", marks=pytest.mark.slow),
    ],
)
def test_a_circuit_that_settles(kind, level, tmp_path):
    name = write(tmp_path, f'kind = "{kind}"\n[circuit]\nlevel = "{level}"')
    done = circuitlsc("run", name, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "verdict        agrees: the objective is at" in done.stdout
    files = results_in(tmp_path / "out")
    assert files == {"deck.cir", "samples.nc", "map.json", "figure.png", "config.resolved.toml"}
    result = json.loads((tmp_path / "out" / "map.json").read_text())
    assert {"code", "objective", "reference_objective", "settling_time", "settled", "verdict"} <= set(result)
    assert len(result["code"]) == 4
    assert result["objective"] <= result["reference_objective"] * (1 + 1e-3)
    assert result["settling_time"] > 0
    again = circuitlsc("compare", "out", "--json", cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads(again.stdout) == result
    resolved = tomllib.loads((tmp_path / "out" / "config.resolved.toml").read_text())
    assert resolved["dynamics"]["kind"] == kind


@pytest.mark.parametrize(
    ("kinds", "warmup"),
    [
        (("underdamped", "lca"), "warmup = 20.0"),
        pytest.param(("langevin", "underdamped", "gradient", "lca"), "", marks=pytest.mark.slow),
        pytest.param(("gradient", "lca"), "warmup = 20.0", marks=pytest.mark.slow),
    ],
)
def test_one_word_switches_the_system(kinds, warmup, tmp_path):
    """The same config for all four kinds, as a user would edit it; a warmup means nothing to those that settle."""
    for kind in kinds:
        name = write(tmp_path, f'kind = "{kind}"', f"t_stop = 300.0\nchains = 2\n{warmup}", name=f"{kind}.toml")
        done = circuitlsc("run", name, "-o", kind, cwd=tmp_path)
        assert done.returncode in (0, 4), done.stderr
        assert "verdict" in done.stdout
        assert "samples.nc" in results_in(tmp_path / kind)
        samples = Samples.load(tmp_path / kind / "samples.nc")
        assert ("p" in samples.tree["posterior"]) == (kind == "underdamped")
        sampler = load_config(tmp_path / kind / "config.resolved.toml").sampler()
        samples.check_made_by(sampler)
    folders = [path.name for path in tmp_path.iterdir() if path.is_dir() and not path.name.startswith(".")]
    done = circuitlsc("report", *folders, "-o", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert [page.count(f'<a href="{name}/report.html">') for name in folders] == [1] * len(folders)
    assert page.count("<figure") >= 1


def test_a_stream_of_inputs(tmp_path):
    name = write(tmp_path, 'kind = "langevin"', "hold = 20.0\nwarmup = 8.0", x="draw:20")
    done = circuitlsc("run", name, "-o", "out", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["n_rows"] == result["compared_rows"] == 20
    assert "comparison.json" in results_in(tmp_path / "out")
    assert result["verdict"] in ("agrees", "inconclusive")
    assert result["pathwise"]["rms"] < 1e-5
    samples = Samples.load(tmp_path / "out" / "samples.nc")
    assert samples.by_row().shape[:2] == (1, 20)
    assert samples.x.shape == (20, 4)
    again = circuitlsc("compare", "out", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == result


@pytest.mark.parametrize("kind", ["langevin", "lca"])
def test_rows_of_a_file(kind, tmp_path):
    rows = np.random.default_rng(1).standard_normal((6, 4))
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",")
    run = 'hold = 15.0\ninterpolate = "linear"' if kind == "langevin" else "hold = 40.0"
    name = write(tmp_path, f'kind = "{kind}"', run, x="x.csv")
    done = circuitlsc("run", name, "-o", "out", cwd=tmp_path)
    assert done.returncode == (4 if kind == "langevin" else 0), done.stderr
    np.testing.assert_allclose(Samples.load(tmp_path / "out" / "samples.nc").x, rows)
    if kind == "lca":
        result = json.loads((tmp_path / "out" / "map.json").read_text())
        assert np.shape(result["code"]) == (6, 4)
        assert len(result["settling_time"]) == 6
        assert "map.json" in results_in(tmp_path / "out")


def test_calibrate(tmp_path):
    name = write(tmp_path, 'kind = "langevin"', "t_stop = 1000.0")
    done = circuitlsc("calibrate", name, "-o", "out", "--inputs", "120", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr  # fails with chance 1 %
    files = results_in(tmp_path / "out")
    assert files == {"calibration.json", "calibration.png", "inputs.npz", "x.npy", "samples.nc", "config.resolved.toml"}
    result = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert result["verdict"] == "agrees"
    with np.load(tmp_path / "out" / "inputs.npz") as inputs:
        assert inputs["s_true"].shape == (120, 4)
    ran = load_config(tmp_path / "out" / "config.resolved.toml").sampler()
    Samples.load(tmp_path / "out" / "samples.nc").check_made_by(ran)
    lca = write(tmp_path, 'kind = "lca"', name="lca.toml")
    error = one_line(circuitlsc("calibrate", lca, "-o", "out2", cwd=tmp_path), 2)
    assert 'dynamics.kind = "lca" settles on one code' in error
    assert not (tmp_path / "out2").exists()


def test_friction(tmp_path):
    name = write(tmp_path, 'kind = "underdamped"', "t_stop = 400.0")
    arguments = ("--friction", "0.2", "--friction", "1.0")
    done = circuitlsc("friction", name, "-o", "out", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best friction" in done.stdout
    result = json.loads((tmp_path / "out" / "friction.json").read_text())
    assert [row["friction"] for row in result["rows"]] == [None, 0.2, 1.0]
    assert results_in(tmp_path / "out") == {"friction.json", "friction.png", "config.resolved.toml"}
    error = one_line(circuitlsc("friction", name, "-o", "bad", "--friction", "-1", cwd=tmp_path), 2)
    assert "dynamics.friction = -1.0, but it must be a finite number > 0." in error


def test_a_sweep_of_friction_needs_samples_of_one_input(tmp_path):
    name = write(tmp_path, 'kind = "lca"')
    error = one_line(circuitlsc("friction", name, "-o", "out", cwd=tmp_path), 2)
    assert 'dynamics.kind = "lca" settles on one code' in error
    name = write(tmp_path, 'kind = "langevin"', "hold = 20.0", x="draw:5")
    error = one_line(circuitlsc("friction", name, "-o", "out", cwd=tmp_path), 2)
    assert "friction compares samples of one input, and x has several." in error


def test_a_hard_threshold_needs_short_atoms(tmp_path):
    np.save(tmp_path / "A.npy", 1.5 * np.eye(4))
    name = write(tmp_path, 'kind = "lca"\nthreshold = "hard"')
    config = tmp_path / name
    config.write_text(config.read_text().replace("bars:2", "A.npy"))
    error = one_line(circuitlsc("run", name, "-o", "out", cwd=tmp_path), 2)
    assert 'dynamics.threshold = "hard" needs atoms no longer than 1, and that of latent 0 has norm 1.5' in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_rows_of_one_pixel(suffix, tmp_path):
    np.save(tmp_path / "A.npy", np.ones((1, 2)))
    rows = np.array([[0.3], [1.2], [-0.4]])
    if suffix == "npy":
        np.save(tmp_path / "x.npy", rows)
    else:
        np.savetxt(tmp_path / "x.csv", rows, delimiter=",")
    name = write(tmp_path, 'kind = "langevin"', "hold = 20.0", x=f"x.{suffix}")
    config = tmp_path / name
    config.write_text(config.read_text().replace("bars:2", "A.npy"))
    assert np.array_equal(load_config(config).x, rows)


def test_samples_belong_to_their_inputs_and_temperature(tmp_path):
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((5, 4))
    np.save(tmp_path / "x.npy", rows)
    name = write(tmp_path, 'kind = "langevin"', "hold = 20.0", x="x.npy")
    assert circuitlsc("run", name, "-o", "out", cwd=tmp_path).returncode in (0, 4)
    assert circuitlsc("compare", "out", cwd=tmp_path).returncode in (0, 4)
    np.save(tmp_path / "x.npy", np.concatenate([rows[:1], rows[:0:-1]]))  # the same deck, the same first input
    assert "the samples were made with another x" in one_line(circuitlsc("compare", "out", cwd=tmp_path), 2)
    np.save(tmp_path / "x.npy", rows)
    config = tmp_path / "out" / "config.resolved.toml"
    config.write_text(config.read_text().replace("temperature = 1.0", "temperature = 2.0"))
    assert "the samples were made with another dynamics" in one_line(circuitlsc("compare", "out", cwd=tmp_path), 2)


def test_paper(tmp_path):
    done = circuitlsc("paper", "fig3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "paper-fig3").iterdir()} == {"fig3.json", "fig3.png"}
    error = one_line(circuitlsc("paper", "fig2", cwd=tmp_path), 2)
    assert (
        "'fig2' is not a figure that can be made. Give one of fig3, fig4a, fig4b, fig5, fig6, fig7, fig8, fig9, "
        "vsc-gradients, vsc-max, vsc-patches, vsc-laws, ald-hold, ald-points, lae-batch, lae-digits." in error
    )
    one_line(circuitlsc("paper", "fig3", cwd=tmp_path), 2)  # the folder is there already


def test_paper_elsewhere(tmp_path, monkeypatch):
    """A package that lies in no checkout has no figures, and says where they are."""
    monkeypatch.setattr(package, "__file__", str(tmp_path / "circuitlsc" / "__init__.py"))
    error = one_line(circuitlsc("paper", "fig3", cwd=tmp_path), 2)
    assert "the paper's figures are run from a checkout of the sources" in error
    assert error.endswith("python -m examples.paper FIGURE -o OUT")
    assert not list(tmp_path.iterdir())


def test_paper_finds_its_own_examples(tmp_path):
    """Another package of that name, in the folder of the user, is left alone."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "__init__.py").write_text("raise SystemExit(7)\n")
    path = str(Path(package.__file__).parents[1])
    done = circuitlsc_process("paper", "fig2", cwd=tmp_path, PYTHONPATH=path)
    assert "'fig2' is not a figure" in one_line(done, 2)


@pytest.mark.slow  # test_paper above runs the same figure
def test_paper_in_a_checkout(tmp_path):
    """The way without the command: as a process, and with the same options."""

    def run(*arguments):
        command = [sys.executable, "-m", "examples.paper", *arguments]
        root = Path(__file__).parents[1]
        return subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)

    assert "'fig2' is not a figure that can be made. Give one of fig3," in one_line(
        run("fig2", "-o", tmp_path / "out"), 2
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    error = one_line(run("fig3", "-o", tmp_path / "full"), 2)
    assert "exists already, and results are never overwritten" in error
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    assert inspect.signature(paper.paper) == inspect.signature(studies.paper)


@pytest.mark.parametrize("command", ["budget", "yield"])
def test_a_budget_needs_samples(command, tmp_path):
    text = 'kind = "lca"\n[circuit]\nlevel = "device"\n[nonideal]\nop_amp = { offset = 1e-3 }'
    name = write(tmp_path, text)
    error = one_line(circuitlsc(command, name, "-o", "out", cwd=tmp_path), 2)
    assert 'dynamics.kind = "lca" settles on one code' in error


@pytest.mark.parametrize(
    ("dynamics", "run", "x", "message"),
    [
        ('kind = "langevine"', "", "draw", "dynamics.kind = 'langevine' is not known. Did you mean 'langevin'?"),
        ('kind = "lca"\nfriction = 1.0', "", "draw", 'dynamics.friction = 1.0 belongs to kind = "underdamped"'),
        ("temperature = -1", "", "draw", "dynamics.temperature = -1, but it must be finite and >= 0."),
        ('kind = "underdamped"\nfriction = 0', "", "draw", "dynamics.friction = 0, but it must be finite and > 0."),
        ("temperature = 0", "", "draw", "dynamics.temperature = 0.0, but it must be a finite number > 0"),
        ('kind = "gradient"\ntemperature = 1', "", "draw", 'but kind = "gradient" has no noise'),
        ('kind = "underdamped"\nmass = "big"', "", "draw", "dynamics.mass = 'big' is not a number."),
        ('mode = "fast"', "", "draw", "dynamics.mode = 'fast' is not a known key."),
        ('kind = "langevin"', "", "draw:10", "run.hold is missing: x has 10 rows."),
        ('kind = "langevin"', "hold = 5.0", "draw", "run.hold = 5.0, but x is one input."),
        ('kind = "langevin"', "hold = 0.0", "draw:10", "run.hold = 0.0, but it must be finite and > 0."),
        ('kind = "langevin"', "hold = 5.0", "draw:1", "model.x = 'draw:1', but after draw: comes a number of inputs"),
        ('kind = "langevin"', "hold = 5.0", "draw:-3", "model.x = 'draw:-3', but after draw: comes"),
        (
            'kind = "langevin"',
            "hold = 5.0\nt_stop = 7.0",
            "draw:10",
            "run.t_stop = 7.0, but 10 inputs of 5 tau take 50.",
        ),
        ('kind = "langevin"', "hold = 5.0\nwarmup = 5.0", "draw:10", "run.warmup = 5.0 tau is dropped of every input"),
        (
            'kind = "langevin"',
            'hold = 5.0\ninterpolate = "cubic"',
            "draw:10",
            "run.interpolate = 'cubic' is not known.",
        ),
    ],
)
def test_bad_configs_are_one_line(dynamics, run, x, message, tmp_path):
    name = write(tmp_path, dynamics, run, x)
    error = one_line(circuitlsc("run", name, "-o", "out", cwd=tmp_path), 2)
    assert "config.toml" in error
    assert message in error, error
    assert not (tmp_path / "out").exists()
