"""Samples as ArviZ takes them: its statistics are ours, and inputs are a dimension."""

import os

import numpy as np
import pytest
import xarray as xr

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.reference.mcse import mean_with_mcse
from circuitlsc.sampling.samples import Samples

pytestmark = pytest.mark.ngspice
if os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") != "1":
    pytest.importorskip("arviz_base", reason="the arviz extra is not installed")
MODEL = SparseCodingModel(np.eye(2), SpikeSlab(pi=0.3, lam=1.0), 0.5)
X = MODEL.draw(1, 3)[1]


def test_statistics_of_arviz_are_ours(tmp_path):
    import arviz_stats

    samples = build_sampler(MODEL, X[0], step=0.05).run(t_stop=60.0, warmup=10.0, chains=2, seed=7)
    tree = samples.to_arviz()
    mean, mcse = mean_with_mcse(samples.draws("s"))
    np.testing.assert_allclose(arviz_stats.mcse(tree, method="mean")["s"].values, mcse)
    summary = arviz_stats.summary(tree, var_names=["s"], round_to=8)
    np.testing.assert_allclose(summary["mean"].astype(float), mean, atol=1e-8)
    np.testing.assert_array_equal(tree["posterior"]["u"].values, samples.u)
    lp = MODEL.log_density(samples.u, X[0])
    np.testing.assert_array_equal(tree["sample_stats"]["lp"].values, lp)
    assert tree.attrs["circuitlsc_version"] == tree.attrs["inference_library_version"]
    few = samples.to_arviz(every=7)["posterior"]
    np.testing.assert_array_equal(few["time"].values, samples.time[::7])
    np.testing.assert_array_equal(few["s"].values, samples.s[:, ::7])
    samples.save(tmp_path / "samples.nc")
    xr.testing.assert_identical(Samples.load(tmp_path / "samples.nc").to_arviz(), tree)
    with pytest.raises(InputError, match=r"to_arviz: every = 0, but it counts draws\. Give an integer >= 1\.$"):
        samples.to_arviz(every=0)


@pytest.mark.parametrize(
    "kind",
    [
        {"hold": 5.0, "step": 0.05},
        pytest.param({"dynamics": "amortised", "hold": 1.0, "step": 0.05}, marks=pytest.mark.slow),
    ],
    ids=["stream", "memory"],
)
def test_inputs_are_a_dimension(kind):
    samples = build_sampler(MODEL, X, **kind).run(warmup=3.0, t_stop=None if "dynamics" not in kind else 30.0)
    posterior = samples.to_arviz(every=2)["posterior"]
    assert posterior["s"].dims == ("chain", "draw", "row", "latent")
    np.testing.assert_array_equal(posterior["s"].values, samples.by_row("s").transpose(0, 2, 1, 3)[:, ::2])
    times = samples.time.reshape(3, -1).T
    np.testing.assert_array_equal(posterior["time"].transpose("draw", "row").values, times[::2])
    import arviz_stats

    assert arviz_stats.ess(samples.to_arviz())["s"].dims == ("row", "latent")


def test_what_settles_has_no_samples():
    settled = build_sampler(MODEL, X[0], dynamics="gradient").run(chains=1)
    with pytest.raises(
        InputError, match=r'^to_arviz: dynamics\.kind = "gradient" settles on one code, .* Use u, s and t'
    ):
        settled.to_arviz()
