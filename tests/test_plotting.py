"""Every kind of figure is drawn, with the panels that belong to it."""

import numpy as np
import pytest

from circuitlsc import Gaussian, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.experiment import judge
from circuitlsc.plotting import figure, save_figure
from circuitlsc.report import comparison_report

pytestmark = pytest.mark.ngspice


def crowd():
    A = np.random.default_rng(0).standard_normal((25, 26))
    return SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.3, 1.0, signed=True), 1.0)


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (
            SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5),
            {"P(active)", "mean of s", "active latents", "circuit - exact"},
        ),
        (SparseCodingModel(bars(2), Gaussian(1.0), 0.5), {"mean of s", "sd of s", "data units"}),
        (crowd(), {"P(active), circuit", "mean of s, circuit", "z = (circuit - exact) / SE"}),
    ],
    ids=["spike-slab", "gaussian", "crowd"],
)
def test_figure_and_report(model, labels, tmp_path):
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1])
    samples = sampler.run(t_stop=60.0, chains=2, seed=1)
    judgement = judge(sampler, samples)
    fig = figure(sampler, samples, judgement)
    shown = {ax.get_ylabel().split(" (mean")[0] for ax in fig.axes}
    assert labels <= shown, shown
    save_figure(fig, tmp_path / "a.png")
    # a figure of its own: to lay one out a second time starts from where the first ended
    save_figure(figure(sampler, samples, judgement), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    text = comparison_report(sampler, samples, judgement)
    assert f"verdict        {judgement.comparison.verdict}" in text
    rows = [line for line in text.splitlines() if line[:7].strip().isdecimal()]
    assert len(rows) == model.n_latents if model.n_latents <= 24 else 12 <= len(rows) <= 18
