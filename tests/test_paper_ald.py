"""What the figures after Taniguchi et al. 2022 are made of, on small problems; the full claims are slow."""

import json

import numpy as np
import pytest

from circuitlsc.reporting.plotting import save_figure
from examples.paper.ald_plot import ald_points, lae_batch, lae_digits
from examples.paper.ald_points import FEWER, ald_points_data
from examples.paper.ald_report import ald_points_report, lae_batch_report, lae_digits_report
from examples.paper.figure_runs import Effort
from examples.paper.lae_batch import BATCHES, INPUTS, LEARNED_BATCHES, _temperature, lae_batch_data
from examples.paper.lae_digits import METHODS, lae_digits_data


def written(data, figure, folder):
    """Check that a figure is drawn and its numbers are JSON; return them."""
    save_figure(figure, folder / "figure.png")
    assert (folder / "figure.png").stat().st_size > 20_000
    return json.loads(json.dumps(data.to_dict(), allow_nan=False))


def test_points(tmp_path):
    data = ald_points_data(Effort(seeds=1, time=0.015))
    assert len(written(data, ald_points(data), tmp_path)["ranks"]) == len(FEWER)
    assert [s.rank for s in data.ranks] == [1, 2, 3, 3, 3]
    exact = [s.apart[1] for s in data.ranks]
    assert exact[0] > exact[1] > 0.1
    assert max(exact[2:]) < 1e-9
    for s in data.ranks[:2]:  # few modes, which mix fast
        assert s.z < 5
        assert abs(s.virial[0] - s.rank) < 5 * s.virial[1]
    area = (data.grid[1] - data.grid[0]) ** 2
    np.testing.assert_allclose(data.density.sum((1, 2)) * area, 1, rtol=1e-12)
    edge = np.abs(data.density[:, [0, -1]]).max() / data.density.max()
    assert edge < 1e-4  # so that the quadrature is exact
    assert "128 x 128 x 128" in ald_points_report(data)


def test_batches(tmp_path):
    data = lae_batch_data(Effort(seeds=1, time=0.005))
    made = written(data, lae_batch(data), tmp_path)
    assert [h["batch"] for h in made["hot"]] == list(BATCHES)
    hot, right = (_temperature(8, divided, 0, Effort(time=0.1)) for divided in (False, True))
    assert hot == pytest.approx(INPUTS / 8, rel=0.3)
    assert right == pytest.approx(1, rel=0.3)
    assert len(data.atoms) == 2 * len(LEARNED_BATCHES)
    assert "n/B" in lae_batch_report(data)


def test_digits(tmp_path):
    data = lae_digits_data(Effort(seeds=2, time=0.005, held_out=4, sweeps=4))
    made = written(data, lae_digits(data), tmp_path)
    assert [(run["method"], run["seed"]) for run in made["runs"]] == [(m, k) for k in (0, 1) for m in METHODS]
    assert data.apart("variational") == (0.0, 0.0)
    for run in data.runs:
        assert run.log_p.shape == (4,)
        assert run.pictures.shape[1] == data.pixels == 64
    report = lae_digits_report(data)
    assert all(name in report for name in ("LAE", "VAE", "Hoffman", "order by -log p(x)"))


@pytest.mark.slow
def test_points_in_full():
    data = ald_points_data(Effort(seeds=1), seed=1)
    for s in (data.points, data.network, *data.ranks):
        assert s.z < 4
        assert abs(s.virial[0] - s.rank) < 4 * s.virial[1]
    for s in data.ranks[:2]:
        assert s.apart[0] == pytest.approx(s.apart[1], abs=0.05)


@pytest.mark.slow
def test_batches_in_full():
    data = lae_batch_data(Effort(seeds=2, time=0.5))
    for h in data.hot:
        assert h.published[0] == pytest.approx(INPUTS / h.batch, rel=0.12)
        assert h.divided[0] == pytest.approx(1, abs=0.12)
    small, large = ([a.norm.mean() for a in data.of(batch, divided=False)] for batch in LEARNED_BATCHES)
    assert max(small) < 0.6
    assert max(large) < 0.85


@pytest.mark.slow
def test_bounds_of_digits_are_below_log_p_and_a_narrow_law_costs_most():
    data = lae_digits_data(Effort(seeds=1, time=0.25, held_out=60, sweeps=100))
    gaps = {}
    for run in data.runs:
        gaps[run.method] = run.log_p.mean() - run.bound
        assert gaps[run.method] > -4 * run.log_p.std() / np.sqrt(len(run.log_p))
        assert run.energy[-1] < run.energy[0]
    assert gaps["langevin"] > gaps["variational"] + 5
