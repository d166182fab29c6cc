"""Momentum mixes faster than diffusion where the dictionary is poorly conditioned, and samples the same law."""

import numpy as np
import pytest
from legible import illegible
from reports import text_of

from circuitlsc import Dynamics, Gaussian, InputError, Laplace, SparseCodingModel, friction_sweep
from circuitlsc.reporting.study_plot import friction_figure
from circuitlsc.studies.friction import FrictionRow, FrictionSweep

pytestmark = pytest.mark.ngspice


def nearly_parallel(prior):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 1)) + 0.15 * rng.standard_normal((8, 6))
    return SparseCodingModel(A / np.linalg.norm(A, axis=0), prior, 0.2)


@pytest.mark.parametrize("prior", [Gaussian(1.0), Laplace(0.7)], ids=repr)
@pytest.mark.slow
def test_the_best_friction_is_faster_than_diffusion(prior):
    model = nearly_parallel(prior)
    assert np.linalg.cond(model.gram + np.eye(6) / prior.slab_scale**2) > 100
    x = model.draw(np.random.default_rng(1))[1]
    sweep = friction_sweep(model, x, frictions=[0.05, 1.0], t_stop=1000.0, seed=2)
    assert sweep.best.relative > 3
    assert sweep.best.friction < 1
    assert sweep.rows[0].friction is None
    assert sweep.rows[-1].relative < sweep.best.relative
    for row in sweep.rows:
        assert row.bound <= 0.005, row
    numbers = sweep.to_dict()
    assert numbers["best_friction"] == sweep.best.friction
    assert numbers["speed_up"] == sweep.best.relative
    assert "overdamped" in text_of(sweep.report())
    assert len(friction_figure(sweep).axes) == 2


def test_the_figure_of_a_sweep_holds_its_words_and_points():
    rows = [FrictionRow(gamma, 2.0, 0.7, 0.01, 20.0, 4.6, 0.01, 0.0) for gamma in (None, 0.04, 0.1, 0.5, 3.0)]
    fig = friction_figure(FrictionSweep(tuple(rows), 0.1, 60.0, "enumeration"))
    assert illegible(fig) == []
    assert fig.axes[1].get_ylim()[1] > 4.6 * 1.05, "no point touches the edge"


@pytest.mark.slow
def test_momentum_has_no_advantage_where_there_is_one_rate_only():
    """As many samples per tau are kept of all: with fewer the overdamped circuit's own would be the limit."""
    model = SparseCodingModel(np.eye(3), Gaussian(1.0), 0.1)
    sweep = friction_sweep(model, np.zeros(3), frictions=[1.0, 2.0], t_stop=400.0, seed=1)
    assert sweep.best.relative < 1.2


def test_what_a_sweep_refuses():
    model = nearly_parallel(Gaussian(1.0))
    with pytest.raises(InputError, match=r'^dynamics\.kind = "lca" settles on one code'):
        friction_sweep(model, np.zeros(8), dynamics=Dynamics(kind="lca"))
    with pytest.raises(InputError, match=r"^friction_sweep counts the samples of one input"):
        friction_sweep(model, np.zeros((2, 8)))
    with pytest.raises(InputError, match=r"^run\.t_stop = nan"):
        friction_sweep(model, np.zeros(8), t_stop=np.nan)


def test_an_empty_sweep_and_one_that_repeats_itself():
    model = nearly_parallel(Gaussian(1.0))
    with pytest.raises(
        InputError, match=r"^friction_sweep: frictions = \[\] is no list of numbers > 0\. Give at least one\.$"
    ):
        friction_sweep(model, np.zeros(8), frictions=[])
    with pytest.raises(InputError, match=r"^friction_sweep: frictions = \[1, 1\.0\] has one twice\."):
        friction_sweep(model, np.zeros(8), frictions=[1, 1.0])
