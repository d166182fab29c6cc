"""Samples: labels, what is recorded with them, and files that are complete or not there."""

import json
import os
import re
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Gaussian,
    InputError,
    Laplace,
    RunPlan,
    Samples,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
    bars,
    build_sampler,
)
from circuitlsc.sampling import samples_file
from circuitlsc.sampling.samples import collect
from circuitlsc.simulator.chain import ChainResult

DRAWS = 6


def made_up(sampler, *, chains=2, seed=9):
    """Label made-up results of a run: no simulator is needed to test the reader."""
    run = RunPlan(t_stop=20.0 + DRAWS * sampler.plan.step * 3, warmup=20.0, chains=chains, seed=seed, thin=3)
    tasks = sampler.tasks(run)
    rng = np.random.default_rng(0)
    results = [
        ChainResult(
            chain=task.chain,
            u=rng.standard_normal((task.n_draws, sampler.model.n_latents)) * 2,
            observed=np.empty((task.n_draws, 0)),
            steps=task.n_steps,
            points=task.n_steps + 2,
            rejected=0,
            iterations=3 * task.n_steps,
            setup=0.5,
            wall=1.5,
            cpu=1.0,
            rss=200_000_000,
            ngspice="39",
        )
        for task in tasks
    ]
    return collect(sampler, run, tasks, results), run, tasks, results


@pytest.fixture
def sampler(model, x):
    return build_sampler(model, x)


@pytest.fixture
def bars_samples(bars_model, bars_x):
    return made_up(build_sampler(bars_model, bars_x))[0]


def test_labels(sampler):
    samples, _, tasks, results = made_up(sampler)
    posterior = samples.tree["posterior"].to_dataset()
    assert posterior["u"].dims == posterior["s"].dims == ("chain", "draw", "latent")
    assert posterior["u"].shape == (2, DRAWS, 4)
    assert samples.chains == [0, 1]
    step = sampler.plan.step
    np.testing.assert_allclose(samples.time, (tasks[0].n_warmup + 3 * np.arange(1, DRAWS + 1)) * step)
    assert samples.time[-1] == pytest.approx(tasks[0].n_steps * step)
    np.testing.assert_array_equal(samples.u[1], results[1].u)


def test_code_is_read_with_the_ideal_threshold(sampler):
    samples = made_up(sampler)[0]
    prior, u, s = sampler.model.prior, samples.u, samples.s
    if not prior.sparse:
        np.testing.assert_array_equal(s, u if prior.signed else np.abs(u))
        return
    sign = np.sign(u) if prior.signed else 1.0
    np.testing.assert_allclose(s, sign * np.maximum(np.abs(u) - prior.threshold, 0), atol=1e-12)
    assert ((s != 0) == sampler.model.active(u)).all()


def test_round_trip_keeps_everything(sampler, tmp_path):
    samples = made_up(sampler)[0]
    samples.save(tmp_path / "samples.nc")
    loaded = Samples.load(tmp_path / "samples.nc")
    assert samples.tree.identical(loaded.tree)
    assert loaded.attrs == samples.attrs
    model = loaded.model()
    assert model.prior == sampler.model.prior
    assert model.sigma == sampler.model.sigma
    np.testing.assert_array_equal(model.A, sampler.model.A)
    np.testing.assert_array_equal(loaded.x, sampler.x)


@pytest.mark.parametrize(
    "prior",
    [
        SpikeSlab(0.123456789, 1 / 3, signed=True),
        Laplace(1 / 7, signed=False),
        Gaussian(1 / 3),
        Cauchy(4 / 3, 1 / 3, signed=False),
        SquareRoot(4 / 3),
        SquareRoot(4 / 3, 1 / 7, signed=False),
        CustomPrior(lambda s: (s**2 - 1 / 3) ** 2, reach=4.0, name="two wells"),
        CustomPrior.from_table([0.0, 0.1, 0.5, 2.0, 3.0], [0.0, 0.1, 0.7, 2.0, 4.0], signed=False),
    ],
    ids=str,
)
def test_model_comes_back_to_the_last_bit(prior, tmp_path):
    model = SparseCodingModel(np.random.default_rng(1).standard_normal((3, 2)), prior, 1 / 3)
    made_up(build_sampler(model, np.ones(3)))[0].save(tmp_path / "samples.nc")
    loaded = Samples.load(tmp_path / "samples.nc").model()
    assert loaded.prior == prior
    assert loaded.sigma == 1 / 3
    assert loaded.A.tobytes() == model.A.tobytes()


def test_groups_and_attributes_as_promised(bars_model, bars_x, tmp_path):
    sampler = build_sampler(bars_model, bars_x)
    samples, run, tasks, _ = made_up(sampler)
    samples.save(tmp_path / "samples.nc")
    with h5netcdf.File(tmp_path / "samples.nc") as file:
        assert set(file.groups) == {"posterior", "observed_data", "constant_data", "sample_stats"}
        assert {"u", "s"} <= set(file["posterior"].variables)
        assert "x" in file["observed_data"].variables
        assert {"A", "sigma", "pi", "lam", "u0"} <= set(file["constant_data"].variables)
        attrs = dict(file.attrs)
    assert {k for k in attrs if k.endswith("_version")} == {
        f"{name}_version" for name in ("circuitlsc", "pyspice", "numpy", "python", "ngspice")
    }
    expected = {
        "prior": "spike-slab",
        "signed": 0,
        "form": "gram",
        "level": "ideal",
        "temperature": 1.0,
        "width": sampler.plan.width,
        "step": sampler.plan.step,
        "t_stop": run.t_stop,
        "warmup": 20.0,
        "thin": 3,
        "chunk": tasks[0].chunk,
        "seed": 9,
        "engine_deck_sha256": sampler.engine_deck_hash,
    }
    assert {k: attrs[k] for k in expected} == expected
    assert json.loads(attrs["scaling"]) == sampler.scaling.attributes()


def test_statistics_of_the_run_are_per_chain(bars_samples):
    stats = bars_samples.stats
    assert {"steps", "points", "rejected", "iterations", "wall", "cpu", "rss"} <= set(stats)
    assert all(stats[name].dims == ("chain",) for name in stats)
    assert (stats["iterations"] == 3 * stats["steps"]).all()


def test_samples_know_their_sampler(bars_model, bars_x, bars_samples):
    bars_samples.check_made_by(build_sampler(bars_model, bars_x))
    for other in (
        build_sampler(bars_model, bars_x + 0.1),
        build_sampler(bars_model, bars_x, form="residual"),
        build_sampler(bars_model, bars_x, width=0.04),
    ):
        with pytest.raises(InputError, match=r"^the samples were made by another deck .* Run circuitlsc run again\.$"):
            bars_samples.check_made_by(other)


# --- files ---


def test_saving_replaces_and_leaves_nothing_beside(bars_samples, tmp_path):
    path = tmp_path / "samples.nc"
    path.write_text("old")
    bars_samples.save(path)
    assert Samples.load(path).u.shape == bars_samples.u.shape
    assert [p.name for p in tmp_path.iterdir()] == ["samples.nc"]


def test_interrupted_saving_keeps_the_old_file(bars_samples, tmp_path, monkeypatch):
    path = tmp_path / "samples.nc"
    path.write_text("old")

    def half(beside, _):
        Path(beside).write_bytes(b"\x89HDF half")
        raise KeyboardInterrupt

    monkeypatch.setattr(samples_file, "save_groups", half)
    with pytest.raises(KeyboardInterrupt):
        bars_samples.save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["samples.nc"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(bars_samples, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        bars_samples.save(tmp_path / "samples.nc")
    assert list(tmp_path.iterdir()) == []


def test_missing_file(tmp_path):
    path = tmp_path / "none.nc"
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} does not exist\. Run circuitlsc run first\.$"):
        Samples.load(path)


@pytest.mark.parametrize("content", [b"", b"not a file of samples", b"\x89HDF\r\n\x1a\n half", b"CDF\x01" + bytes(40)])
def test_garbage(content, tmp_path):
    (path := tmp_path / "bad.nc").write_bytes(content)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} is not a file of circuitlsc samples \([^\n]+\)\.$"):
        Samples.load(path)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_truncated_file(bars_samples, tmp_path, cut):
    bars_samples.save(path := tmp_path / "bad.nc")
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(InputError, match="is not a file of circuitlsc samples"):
        Samples.load(path)


def test_other_netcdf(tmp_path):
    xr.Dataset({"temperature": ("day", np.ones(3))}).to_netcdf(path := tmp_path / "weather.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"is not a file of circuitlsc samples \([^\n]+\)\.$"):
        Samples.load(path)


@pytest.mark.parametrize("lost", ["u", "s"])
def test_file_without_samples(bars_samples, tmp_path, lost):
    tree = bars_samples.tree.copy()
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars(lost))
    tree.to_netcdf(path := tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"is not a file of circuitlsc samples \([^\n]+\)\.$"):
        Samples.load(path)


def test_file_without_attributes(bars_samples, tmp_path):
    tree = bars_samples.tree.copy()
    tree.attrs = {}
    tree.to_netcdf(path := tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=r"is not a file of circuitlsc samples \([^\n]+\)\.$"):
        Samples.load(path)


def test_prior_of_a_later_version(bars_samples):
    bars_samples.tree.attrs["prior"] = "horseshoe"
    with pytest.raises(
        InputError,
        match=r"^the samples' prior 'horseshoe' is not known\. Import the module that registers it \(register_prior\)",
    ):
        bars_samples.model()


@pytest.mark.ngspice
def test_samples_of_a_run_come_back(tmp_path):
    """The whole way once: run, save, load, and the model that made them."""
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    samples = build_sampler(model, np.ones(4)).run(t_stop=30, chains=2, seed=1)
    samples.save(tmp_path / "samples.nc")
    loaded = Samples.load(tmp_path / "samples.nc")
    assert samples.tree.identical(loaded.tree)
    assert loaded.u.shape[:2] == (2, len(loaded.time))
    assert loaded.time[0] > 20
    assert loaded.time[-1] == pytest.approx(30, abs=0.2)
