"""Runs of any length: draws that are read in pieces give the numbers of whole arrays, in memory that does not grow."""

import gc
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr
from long_run import made_up_run
from scipy.signal import lfilter
from scipy.stats import chi2

from circuitlsc import (
    InputError,
    Nonidealities,
    Samples,
    SparseCodingModel,
    SpikeSlab,
    build_sampler,
)
from circuitlsc.reference.mcse import largest_rhat, mean_with_mcse
from circuitlsc.reference.statistics import block_sums, summarize, virial
from circuitlsc.sampling import samples_check, samples_file
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.lazy_draws import MOST_KEPT, Draws, stacked
from circuitlsc.sampling.samples import collect
from circuitlsc.simulator.chain import ChainResult
from circuitlsc.studies.small_signal import predict
from circuitlsc.validation.map_result import read_map
from circuitlsc.validation.paired_difference import paired_difference

MB = 1e6


def ar1(rng, shape, a):
    """Stationary AR(1) along axis 1, variance 1."""
    z = rng.standard_normal(shape)
    z[:, 1:] *= math.sqrt(1 - a * a)
    return lfilter([1], [1, -a], z, axis=1)


def read_in_pieces(values, most=MOST_KEPT):
    """Return an array as draws that do not know that they are in memory."""
    return Draws(values.shape, lambda first, stop: values[:, first:stop], most)


# --- draws ---


def test_pieces_cover_the_draws_once_and_blocks_are_whole(monkeypatch):
    monkeypatch.setattr("circuitlsc.sampling.lazy_draws.PIECE", 60)
    values = np.random.default_rng(0).standard_normal((2, 1003, 3))
    draws = read_in_pieces(values, most=200)
    assert draws.block == 8  # 1003 / 4 is more than 200
    assert draws.block * 200 >= 1003 > draws.block * 200 / 2
    spans = list(draws.spans(draws.block))
    assert spans[0] == (0, 1003 % 8)
    assert all((stop - first) % 8 == 0 for first, stop in spans[1:])
    np.testing.assert_array_equal(np.concatenate([draws.read(*span) for span in spans], axis=1), values)
    np.testing.assert_array_equal(np.concatenate(list(draws.pieces()), axis=1), values)
    np.testing.assert_array_equal(draws.part(100, 1001).read(5, 2000), values[:, 105:1001])
    np.testing.assert_allclose(draws.map(np.square).mean(), (values**2).mean((0, 1)), rtol=1e-12)


def test_what_a_function_returns_counts_for_the_size_of_a_piece():
    wide = read_in_pieces(np.zeros((2, 100_000, 3))).map(lambda u: np.zeros((*u.shape[:2], 3000)))
    first, stop = next(wide.spans())
    assert (stop - first) * 2 * 3000 <= 2**18


def test_stacked_chains_stay_where_they_ended():
    long, short = np.arange(10.0).reshape(5, 2), np.array([[7.0, 8.0], [1.0, 2.0]])
    both = stacked([long, short])
    np.testing.assert_array_equal(both.read(0, 5)[1], [[7, 8], [1, 2], [1, 2], [1, 2], [1, 2]])
    np.testing.assert_array_equal(both.read(3, 5), [long[3:], [[1, 2], [1, 2]]])


# --- statistics ---


@pytest.mark.parametrize("K", [5, 18])  # pairs by ESS, and by batch means
def test_pieces_give_the_numbers_of_whole_arrays(K, monkeypatch):
    rng = np.random.default_rng(1)
    model = SparseCodingModel(rng.standard_normal((4, K)), SpikeSlab(0.3, 1.0), 0.5)
    u, x = ar1(rng, (2, 1501, K), 0.8) + np.linspace(0, 1, K), rng.standard_normal(4)
    levels = np.array([[0.0, 0.2]] * K)
    whole = summarize(model.latent(u), model.active(u), model=model, x=x, method="test", levels=levels)
    value, mcse = virial(model, u, x, width=0.02, temperature=1.0)
    other = u + 0.1 * rng.standard_normal(u.shape)
    change = paired_difference(model, u, other)
    monkeypatch.setattr("circuitlsc.sampling.lazy_draws.PIECE", 1000)
    monkeypatch.setattr("circuitlsc.reference.mcse.HELD", 7000)
    draws = read_in_pieces(u)
    s, active = draws.map(model.latent), draws.map(model.active)
    pieces = summarize(s, active, model=model, x=x, method="test", levels=levels)
    sums = block_sums(Draws.of(model.latent(u)), Draws.of(model.active(u)), 7)
    np.testing.assert_allclose(block_sums(s, active, 7)[0], sums[0], rtol=1e-10)
    for name, known in vars(whole).items():
        if name == "support":
            assert pieces.support == known
        elif name != "method" and known is not None:
            np.testing.assert_allclose(getattr(pieces, name), known, rtol=1e-10, atol=1e-15, err_msg=name)
    for got, known in zip(virial(model, draws, x, width=0.02, temperature=1.0), (value, mcse), strict=True):
        np.testing.assert_allclose(got, known, rtol=1e-10)
    for name, known in vars(paired_difference(model, draws, read_in_pieces(other))).items():
        if known is not None:
            np.testing.assert_allclose(known, getattr(change, name), rtol=1e-9, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("a", [0.0, 0.9, 0.99])
def test_block_means_have_the_error_of_the_draws(a):
    """Blocks shorter than the correlation time, and longer: both keep the standard error of the mean."""
    values = ar1(np.random.default_rng(2), (2, 200_000, 8), a)
    mean, mcse = mean_with_mcse(values)
    for most in (2**15, 2**13):
        streamed, own = mean_with_mcse(read_in_pieces(values, most))
        np.testing.assert_allclose(streamed, mean, rtol=1e-9, atol=1e-13)
        # an estimate from n blocks scatters by 1/sqrt(2 n), and by more as Geyer's rule ends the sum elsewhere
        assert np.abs(own / mcse - 1).max() < 0.08, own / mcse
        assert abs(own.mean() / mcse.mean() - 1) < 0.03, own / mcse


def test_block_means_cover_the_truth_and_naive_errors_do_not():
    a, repeats, draws = 0.9, 200, 16_384
    values = ar1(np.random.default_rng(3), (2 * repeats, draws, 1), a).reshape(repeats, 2, draws)
    columns = np.moveaxis(values, 0, 2)
    mean, mcse = mean_with_mcse(read_in_pieces(columns, most=1024))
    square = np.sum((mean / mcse) ** 2)
    # the errors are known to 1/sqrt(2 * 2048): a little is added to chi-square's own limits
    low, high = chi2.ppf([5e-4, 1 - 5e-4], repeats) * [0.95, 1.05]
    assert low < square < high, square / repeats
    naive = np.sum((mean / (columns.std((0, 1)) / math.sqrt(2 * draws))) ** 2)
    assert naive > 5 * high, "an error that knows of no correlation must fail"


def test_statistics_of_a_long_run_are_those_of_its_draws():
    rng = np.random.default_rng(4)
    model = SparseCodingModel(np.eye(3), SpikeSlab(0.3, 1.0), 0.5)
    u, x = ar1(rng, (2, 60_000, 3), 0.9) + 0.5, np.zeros(3)
    whole = summarize(model.latent(u), model.active(u), model=model, x=x, method="test")
    draws = read_in_pieces(u, most=2**13)
    blocks = summarize(draws.map(model.latent), draws.map(model.active), model=model, x=x, method="test")
    assert blocks.support == whole.support
    for name in ("p_active", "mean", "sd", "coactive", "residual_power"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=1e-10, err_msg=name)
        ratio = np.array(getattr(blocks, f"{name}_mcse")) / getattr(whole, f"{name}_mcse")
        assert np.abs(ratio - 1).max() < 0.1, (name, ratio)
    assert abs(blocks.ess_min / whole.ess_min - 1) < 0.2
    assert blocks.n_draws == whole.n_draws


def test_rhat_of_a_long_run_is_that_of_its_draws():
    """Every m-th draw keeps R-hat of an offset between chains; block means (the control) do not."""
    values = ar1(np.random.default_rng(5), (2, 100_000, 1), 0.9)
    values[0] += 0.5
    whole = largest_rhat(Draws.of(values))
    thinned = largest_rhat(read_in_pieces(values, most=2**13))
    means = largest_rhat(Draws.of(values.reshape(2, -1, 16, 1).mean(2)))
    assert whole > 1.03
    assert abs(thinned - whole) < 0.1 * (whole - 1), (whole, thinned)
    assert means - whole > 0.3 * (whole - 1), (whole, means)


def test_a_constant_column_has_no_error_however_long_the_run():
    values = np.full((2, 1000, 2), 0.1 + 0.2)
    values[..., 1] = np.random.default_rng(6).standard_normal((2, 1000))
    _, mcse = mean_with_mcse(read_in_pieces(values, most=100))
    assert mcse[0] == 0
    assert mcse[1] > 0
    assert largest_rhat(read_in_pieces(values[..., :1], most=100)) == 1


def test_a_value_that_is_not_finite_is_named(monkeypatch):
    monkeypatch.setattr("circuitlsc.sampling.lazy_draws.PIECE", 100)
    values = np.zeros((2, 500, 1))
    values[1, 20], values[0, 300] = np.inf, np.nan
    with pytest.raises(InputError, match=r"^values\[0, 300, 0\] = nan, but every sample must be finite \(2 are not\)"):
        mean_with_mcse(read_in_pieces(values))


def test_predictions_in_pieces_are_those_of_arrays(bars_model, bars_x, monkeypatch):
    parts = Nonidealities(op_amp={"offset": 1e-3}, multiplier={"offset": 1e-3})
    ideal = build_sampler(bars_model, bars_x, level="device")
    device = rebuilt(ideal, nonideal=parts)
    u = ar1(np.random.default_rng(7), (2, 700, 8), 0.5)
    whole = predict(ideal, device, u)
    monkeypatch.setattr("circuitlsc.sampling.lazy_draws.PIECE", 1000)
    for name, known in vars(predict(ideal, device, read_in_pieces(u))).items():
        np.testing.assert_allclose(known, getattr(whole, name), rtol=1e-8, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("streamed", [False, True])
def test_settling_in_pieces_is_that_of_arrays(bars_model, bars_x, streamed, monkeypatch):
    """Made-up waveforms that decay: the time at which they come to rest does not depend on the size of a piece."""
    x = np.stack([bars_x, 0.5 * bars_x]) if streamed else bars_x
    sampler = build_sampler(bars_model, x, dynamics="gradient", **({"hold": 20.0} if streamed else {}))
    run = sampler.run_plan(t_stop=None if streamed else 20.0)
    (task,) = sampler.tasks(run)
    decay = np.exp(-np.arange(task.draws_per_row) * task.thin * task.step / 2)
    u = np.tile(1.0 + decay[:, None] * np.arange(8), (len(x) if streamed else 1, 1))
    spent = dict.fromkeys(("points", "rejected", "iterations", "rss"), 1) | dict.fromkeys(("setup", "wall", "cpu"), 1.0)
    result = ChainResult(chain=0, u=u, observed=u[:, :0], steps=task.n_steps, ngspice="39", **spent)
    samples = collect(sampler, run, [task], [result])
    whole = read_map(sampler, samples).to_dict()
    times = np.ravel(whole["settling_time"])
    # the largest of 1 + 7 exp(-t/2) is within 1 % of its last value after 2 log(7/0.01) = 13.1 tau
    np.testing.assert_allclose(times[:1], 2 * math.log(7 / 0.01), atol=0.3)
    monkeypatch.setattr("circuitlsc.sampling.lazy_draws.PIECE", 64)
    assert read_map(sampler, samples).to_dict() == whole


# --- files ---


@pytest.fixture
def in_files(monkeypatch, tmp_path):
    """Keep even small samples in files, of the length of a few draws at a time, in a folder of this test's."""
    monkeypatch.setattr(samples_file, "IN_MEMORY", 10)
    monkeypatch.setattr(samples_check, "_PIECE", 160)
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_file_is_laid_out_as_xarray_would(tmp_path):
    """The same variables, types, attributes and fill values, and the same tree when it is read."""
    samples = made_up_run(50, tmp_path)[1]
    samples.save(tmp_path / "pieces.nc")
    samples.tree.to_netcdf(tmp_path / "xarray.nc", engine="h5netcdf")
    with h5netcdf.File(tmp_path / "pieces.nc") as ours, h5netcdf.File(tmp_path / "xarray.nc") as theirs:
        assert set(ours["posterior"].variables) == set(theirs["posterior"].variables)
        for name, known in theirs["posterior"].variables.items():
            own = ours["posterior"][name]
            assert (own.dimensions, own.shape, own.dtype) == (known.dimensions, known.shape, known.dtype)
            assert set(own.attrs) == set(known.attrs), name
            np.testing.assert_array_equal(own[...], known[...])
    with xr.open_datatree(tmp_path / "pieces.nc", engine="h5netcdf") as tree:
        assert tree.load().identical(samples.tree)


def test_samples_in_a_file_are_those_in_memory(tmp_path, in_files, monkeypatch):
    samples = made_up_run(203, tmp_path)[1]
    assert len(list(in_files.iterdir())) == 1
    samples.save(tmp_path / "samples.nc")
    from_file = Samples.load(tmp_path / "samples.nc")
    monkeypatch.undo()
    small = made_up_run(203, tmp_path)[1]
    for other in (samples, from_file):
        assert other.tree.identical(small.tree)
        np.testing.assert_array_equal(other.draws("s").read(100, 203), small.s[:, 100:203])
        np.testing.assert_array_equal(other.time, small.time)
        assert other.until(small.time[70]) == 71
        time, u = other.waveform(120)
        np.testing.assert_array_equal(time, small.time[:120])
        np.testing.assert_array_equal(u, small.u[:, :120])
        with monkeypatch.context() as patch:
            patch.setattr("circuitlsc.sampling.samples.MOST_SHOWN", 50)
            time, s = other.waveform(120, "s")
        np.testing.assert_array_equal(time, small.time[:120:3])
        np.testing.assert_array_equal(s, small.s[:, :120:3])


def test_the_temporary_file_goes_with_its_samples(tmp_path, in_files):
    samples = made_up_run(50, tmp_path)[1]
    assert len(list(in_files.iterdir())) == 1
    del samples
    gc.collect()
    assert list(in_files.iterdir()) == []


def test_saving_onto_the_file_that_is_open(tmp_path, in_files):
    made_up_run(50, tmp_path)[1].save(tmp_path / "samples.nc")
    samples = Samples.load(tmp_path / "samples.nc")
    u = samples.u
    samples.save(tmp_path / "samples.nc")
    np.testing.assert_array_equal(Samples.load(tmp_path / "samples.nc").u, u)


# --- memory ---


def peak(draws, way, folder):
    """Return peak memory, bytes, of a process that collects, saves, loads and measures so many draws per chain."""
    script = Path(__file__).with_name("long_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(draws), way, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ess"] > 0.05 * draws
    return result["peak"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_run(tmp_path):
    short, long = (peak(draws, "pieces", tmp_path) for draws in (130_000, 400_000))
    assert long - short < 20 * MB, (short, long)


@pytest.mark.slow
def test_memory_of_what_holds_whole_arrays_does(tmp_path):
    """The negative control of the test above."""
    assert peak(400_000, "arrays", tmp_path) - peak(130_000, "pieces", tmp_path) > 60 * MB


@pytest.mark.slow
@pytest.mark.parametrize("way", ["pieces", "outcome"])
def test_memory_over_five_million_steps(way, tmp_path):
    short, long = (peak(draws, way, tmp_path) for draws in (100_000, 1_250_000))
    assert long - short < 20 * MB, (short, long)
