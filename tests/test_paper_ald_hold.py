"""What a memory is worth: effective samples with and without one, on a small set; the estimate by hand."""

import json

import numpy as np
import pytest

from circuitlsc.reporting.plotting import save_figure
from examples.paper import ald_hold as study
from examples.paper.ald_hold import _checkpoints, _course, ald_hold_data, ald_hold_report
from examples.paper.ald_hold_plot import ald_hold
from examples.paper.figure_runs import Effort


def test_checkpoints():
    assert _checkpoints(1) == [1]
    assert _checkpoints(20) == [1, 2, 3, 4, 6, 8, 12, 16, 20]


def test_the_warmup_of_the_least_error_is_found_and_bias_counts():
    """Two runs, one input and latent of P .5, four draws in a visit, 100 visits; the first two draws are stale."""
    exact = np.array([[0.5]])
    each = np.array([[100.0, 100.0, 52.0, 51.0], [100.0, 100.0, 48.0, 49.0]])[:, None, :, None]
    c = _course("langevin", 2.0, [100], [each], exact)
    assert c.warmup[-1] == 1.5  # the last draw alone is nearest in both
    assert c.mse[-1] == pytest.approx(0.01**2)
    assert c.bias[-1] == 0
    each[:, :, 3] = [[[70.0]], [[70.0]]]
    c = _course("langevin", 2.0, [100], [each], exact)
    assert c.warmup[-1] == 1.0
    assert c.mse[-1] == pytest.approx((0.11**2 + 0.09**2) / 2)
    assert c.bias[-1] == pytest.approx(np.sqrt(0.1**2 - 0.0002 / 2))
    assert c.ess_per_tau == pytest.approx(0.25 / 0.0101 / 200)
    assert c.believed == pytest.approx(0.25 / 0.0002 / 200)


def test_a_memory_drops_its_first_visits_once():
    exact = np.array([[0.5]])
    sums = [
        np.full((2, 1, 1, 1), n) for n in (1.0, 2.0, 3.0)
    ]  # active at the first three visits, then every other time
    sums.append(3.0 + np.array([51.0, 49.0])[:, None, None, None])
    c = _course("memory", 2.0, [1, 2, 3, 103], sums, exact)
    assert c.warmup[-1] == 3 * 2.0
    assert c.mse[-1] == pytest.approx(0.01**2)


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "RUNS", 32)
        return ald_hold_data(Effort(seeds=1, time=0.15, held_out=4), holds=(1.0, 10.0))


def test_a_memory_is_ahead_where_inputs_are_held_shortly(small, tmp_path):
    memory, other = small.of("memory"), small.of("langevin")
    assert memory[0].ess_per_tau > 2 * other[0].ess_per_tau
    assert memory[1].ess_per_tau == pytest.approx(memory[0].ess_per_tau, rel=0.5)  # whatever the hold is
    assert other[0].bias[-1] > 3 * memory[0].bias[-1]
    assert other[0].warmup[-1] > 0
    assert 1 < small.pays_from(1.0) <= 30
    data = json.loads(json.dumps(small.to_dict(), allow_nan=False))
    assert data["pays_from"]["1"] == small.pays_from(1.0)
    assert "30 tau of each of 4 inputs" in ald_hold_report(small)
    save_figure(ald_hold(small), tmp_path / "hold.png")
    assert (tmp_path / "hold.png").stat().st_size > 20_000
