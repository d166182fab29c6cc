"""Every kind of figure is drawn, with the panels that belong to it."""

import base64
import io
import re
from itertools import pairwise

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from legible import illegible
from PIL.PngImagePlugin import PngImageFile
from reports import text_of

from circuitlsc import Gaussian, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.reporting.learning_plot import plot_course
from circuitlsc.reporting.plotting import (
    COLORS,
    STYLE,
    described,
    distinct_colors,
    new_figure,
    numbered,
    probable,
    save_figure,
)
from circuitlsc.reporting.report import comparison_report
from circuitlsc.reporting.run_plot import figure, map_figure
from circuitlsc.reporting.study_plot import chips_figure
from circuitlsc.reporting.views import checked, views
from circuitlsc.studies.chip_yield import Chip, ChipReport
from circuitlsc.validation.judge import judge
from circuitlsc.validation.map_result import read_map

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
def test_figure_and_report(model, labels, tmp_path, monkeypatch):
    monkeypatch.setattr("circuitlsc.validation.judge.PATH_STEPS", 1_250)  # what is drawn of the twin
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1])
    samples = sampler.run(t_stop=60.0, chains=2, seed=1)
    judgement = judge(sampler, samples)
    fig = figure(sampler, samples, judgement)
    shown = {ax.get_ylabel().split(" (mean")[0] for ax in fig.axes}
    assert labels <= shown, shown
    assert illegible(figure(sampler, samples, judgement)) == []
    if model.n_latents == 4 and model.prior.sparse:
        save_figure(fig, tmp_path / "a.png")
        # a figure of its own: to lay one out a second time starts from where the first ended
        save_figure(figure(sampler, samples, judgement), tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "u (model units) over time (tau)" in described(fig)
    looked_at(views(sampler, samples, twin=judgement.path.twin), sampler, samples)
    text = text_of(comparison_report(sampler, samples, judgement))
    assert f"verdict        {judgement.comparison.verdict}" in text
    rows = [line for line in text.splitlines() if line[:7].strip().isdecimal()]
    assert len(rows) == model.n_latents if model.n_latents <= 24 else 12 <= len(rows) <= 18


def test_no_two_curves_of_a_panel_have_one_colour():
    """Eight coefficients of a circuit that settles, and more curves than the style has colours."""
    model = SparseCodingModel(np.eye(9), Laplace(1.0), 0.3)
    x = np.array([2.0, -3, 0, 1, 4, -1, 5, 6, 7])
    sampler = build_sampler(model, x, dynamics="gradient")
    samples = sampler.run(t_stop=100.0, chains=1)
    fig = map_figure(sampler, samples, read_map(sampler, samples))
    assert illegible(fig) == []
    ax = fig.axes[0]
    named = {text.get_text(): line.get_color() for text, line in zip(*legend_of(ax), strict=True)}
    assert list(named) == [f"$u_{{{k}}}$" for k in (0, 1, 3, 4, 5, 6, 7, 8)]
    assert len(set(named.values())) == 8
    drawn = [line.get_color() for line in ax.lines if line.get_label().startswith("$")]
    assert drawn == list(named.values())
    with matplotlib.style.context(STYLE, after_reset=True):
        assert tuple("#" + c.lstrip("#") for c in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]) == COLORS
    for n in (1, 8, 9, 40):
        assert len(set(distinct_colors(n))) == n


def legend_of(ax):
    return ax.get_legend().get_texts(), ax.get_legend().get_lines()


@pytest.mark.parametrize("n", [1, 3, 12, 13, 72, 1000])
def test_latents_have_whole_numbers_apart_from_each_other(n):
    with new_figure(3.0, 2.0) as fig:
        ax = fig.subplots()
        numbered(ax, n)
    fig.draw_without_rendering()
    low, high = ax.get_xlim()
    shown = [tick.label1 for tick in ax.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert all(float(label.get_text()).is_integer() for label in shown)
    assert len(shown) == n if n <= 12 else 4 <= len(shown) <= 12
    boxes = [label.get_window_extent() for label in shown]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert high - low >= 4, "a single bar is no wall"


def test_error_bars_of_probabilities_end_at_0_and_1():
    below, above = probable(np.array([0.01, 0.5, 0.99]), np.array([0.1, 0.1, 0.1]))
    np.testing.assert_allclose(below, [0.01, 0.1, 0.1])
    np.testing.assert_allclose(above, [0.1, 0.1, 0.01])


def test_a_lot_of_chips_is_told_apart():
    """Every verdict that is there has a name beside its colour, and no chip lies between two numbers."""
    for errors in ([0.001], [0.001, 0.02, 0.5], np.linspace(0, 0.1, 200)):
        verdicts = ["pass" if e < 0.01 else "undecided" if e < 0.03 else "fail" for e in errors]
        chips = tuple(Chip(k, None, float(e), 0.004, v) for k, (e, v) in enumerate(zip(errors, verdicts, strict=True)))
        fig = chips_figure(ChipReport(chips, 0.02, None, None))
        ax = fig.axes[0]
        assert {text.get_text() for text in ax.get_legend().get_texts()} == {"tolerance", *verdicts}
        assert all(float(x).is_integer() for x in ax.get_xticks())
        assert ax.get_ylim()[0] == 0
        assert illegible(fig) == []


def test_a_long_record_has_a_running_mean():
    rng = np.random.default_rng(0)
    with new_figure(3.0, 2.0) as fig:
        short, long = fig.subplots(1, 2)
        plot_course(np.arange(80), rng.random(80), short, "C0", "error")
        plot_course(np.arange(1000), rng.random(1000), long, "C0", "error")
    assert len(short.lines) == 1
    raw, mean = (line.get_ydata() for line in long.lines)
    assert np.std(mean) < 0.4 * np.std(raw)
    assert np.mean(mean) == pytest.approx(np.mean(raw), abs=0.02)


def looked_at(seen, sampler, samples):
    """Waveforms are the first chain's, liveliest first, and crossbars the circuit's, as far as a page can hold them."""
    assert checked(seen) == seen
    first, *others = seen["waveforms"]["traces"]
    assert len(others) == min(8, sampler.model.n_latents) - 1
    u, k = samples.u[0], int(first["name"].removeprefix("u_"))
    assert k == np.argmax(u[:2000].std(axis=0))
    np.testing.assert_allclose(first["values"], u[:2000, k], rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(first["twin"], first["values"][: len(first["twin"])], rtol=1e-3, atol=1e-3)
    assert len(first["twin"]) > 80
    prior = sampler.model.prior
    levels = {1: prior.threshold, -1: -prior.threshold} if prior.sparse else {}
    wanted = [level for sign, level in levels.items() if sign > 0 or prior.signed]
    assert seen["waveforms"]["levels"] == pytest.approx(wanted, rel=1e-3)
    (crossbar,) = seen["crossbars"]
    cell = next(cell for cell in sampler.graph.cells if cell.name == crossbar["name"])
    g = np.array(crossbar["values"]) * crossbar["siemens"]
    np.testing.assert_allclose(g, cell.conductances(sampler.scaling), rtol=1e-3, atol=1e-15)
    assert (crossbar["rows"][1], crossbar["columns"][2]) == ("e_1", "s_2" if prior.sparse else "u_2")


def test_views_of_parts_and_of_what_is_too_large():
    model = SparseCodingModel(np.eye(130, 2), Gaussian(1.0), 0.5)
    sampler = build_sampler(model, np.zeros(130), level="device", form="gram")
    samples = sampler.run(t_stop=30.0, chains=1)
    (crossbar,) = views(sampler, samples)["crossbars"]
    assert crossbar["columns"] == ["+s_0", "-s_0", "+s_1", "-s_1"]
    cell = next(cell for cell in sampler.graph.cells if cell.name == crossbar["name"])
    g = np.array(crossbar["values"]) * crossbar["siemens"]
    np.testing.assert_allclose(g, cell.conductances_siemens, rtol=1e-3)
    wide = build_sampler(model, np.zeros(130), form="residual")
    seen = views(wide, samples)
    assert seen["crossbars"] == []
    assert seen["left_out"] == ["forward (130 x 2)", "backward (2 x 130)"]


DRAWN = {
    "a long line": (lambda ax, y: ax.plot(y), True),
    "lines": (lambda ax, y: [ax.plot(part) for part in y.reshape(6, -1)], True),
    "markers": (lambda ax, y: ax.plot(y, "."), True),
    "bars": (lambda ax, y: ax.bar(np.arange(1100), y[:1100]), True),
    "collection": (lambda ax, y: ax.fill_between(np.arange(len(y)), y), True),
    "scatter": (lambda ax, y: ax.scatter(y, y), True),
    "mesh": (lambda ax, y: ax.pcolormesh(y.reshape(60, -1)), True),
    "few": (lambda ax, y: ax.plot(y[:4000]), False),
}


@pytest.mark.parametrize("what", DRAWN)
def test_many_points_are_pixels(what, tmp_path):
    draw, pixels = DRAWN[what]
    with new_figure(2, 2) as fig:
        draw(fig.subplots(), np.random.default_rng(0).random(6000))
    save_figure(fig, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    paths = re.findall(r' d="([^"]*)"', re.sub(r"<defs>.*?</defs>", "", text, flags=re.DOTALL))
    vectors = sum(len(re.findall("[ML]", path)) for path in paths) + text.count("<use")
    assert vectors < 6000
    images = re.findall(
        r'<image href="data:image/png;base64,\s*([^"]*)"[^>]* width="([^"]*)"', text.replace("xlink:", "")
    )
    assert bool(images) == pixels
    for data, points in images:
        width = PngImageFile(io.BytesIO(base64.b64decode(data))).width
        assert width == pytest.approx(float(points) / 72 * 200, abs=1.5)
