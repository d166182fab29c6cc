"""What the paper's figures of learning say, on small problems; the full claims are slow. Seeds are 0, 1, 2 throughout."""

import json
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from legible import illegible

from circuitlsc import InputError, bars
from circuitlsc.learning.stage import Stage
from circuitlsc.reporting.plotting import save_figure
from examples.paper import figure_norms, figure_slope
from examples.paper.figure_bars import (
    Figure4bData,
    OvercompleteData,
    OvercompleteRun,
    figure4b_data,
    figure6_data,
    figure7_data,
)
from examples.paper.figure_norms import Figure8Data, figure8_data
from examples.paper.figure_patches import PatchRun
from examples.paper.figure_runs import Course, Effort, plain, run_all
from examples.paper.figure_slope import Figure9Data, Slope, figure9_data
from examples.paper.figures_patches_plot import figure8, figure9
from examples.paper.figures_plot import figure4b, figure6, figure7
from examples.paper.figures_report import figure6_report, figure7_report, figure8_report, figure9_report
from examples.paper.optimum import bar_optimum
from examples.paper.run import FIGURES, reproduce

BRIEF = Effort(seeds=2, time=0.004, held_out=3, sweeps=10)


def refused(message):
    return pytest.raises(InputError, match=re.escape(message))


def read_back(data):
    """What is written, read again."""
    return type(data).from_dict(json.loads(json.dumps(data.to_dict(), allow_nan=False)))


def pictures(seed=0):
    """Two pictures with a falling spectrum, which can be whitened."""
    rng = np.random.default_rng(seed)
    return [np.cumsum(np.cumsum(rng.standard_normal(shape), 0), 1) for shape in ((64, 80), (64, 64))]


# --- the optimum ---


def test_the_optimum_of_the_true_model_is_the_truth():
    best = bar_optimum(0.3, 1.0, 0.3)
    assert best.pi == pytest.approx(0.3, abs=0.001)
    assert best.norm == pytest.approx(1.0, abs=0.002)
    twice = bar_optimum(0.3, 2.0, 0.15)  # the same in other units
    assert twice.norm == pytest.approx(1.0, abs=0.002)
    assert twice.log_likelihood == pytest.approx(best.log_likelihood + np.log(2), abs=0.001)


def test_the_optimum_of_a_held_pi_and_of_two_copies():
    """Numbers of statistics from elsewhere: a quadrature with other grids."""
    assert bar_optimum(0.3, 1.0, 0.3, pi=0.4).norm == pytest.approx(0.862, abs=0.002)
    assert bar_optimum(0.3, 1.0, 0.3, pi=0.5).norm == pytest.approx(0.751, abs=0.002)
    two = bar_optimum(0.3, 1.0, 0.3, copies=2)
    assert (two.pi, two.norm) == (pytest.approx(0.1625, abs=0.001), pytest.approx(0.922, abs=0.003))
    assert two.log_likelihood > bar_optimum(0.3, 1.0, 0.3, copies=2, pi=0.3).log_likelihood
    assert two.log_likelihood < bar_optimum(0.3, 1.0, 0.3).log_likelihood  # nothing is more likely than the truth
    with refused("bar_optimum: pi_true = 0.3, pi = 1.2"):
        bar_optimum(0.3, 1.0, 0.3, pi=1.2)


# --- Figure 4b ---


@pytest.mark.slow
def test_pi_is_learned_from_every_start():
    data = figure4b_data(Effort(time=0.35), n=3, truths=(0.3,))
    # three runs say little of their scatter: each is within what stale codes (1/hold of pi and more) and 20 batches allow
    assert all(abs(run.learned - 0.3) < 0.04 for run in data.runs), [run.learned for run in data.runs]
    assert all(abs(run.learned - wrong) > 0.04 for run in data.runs for wrong in (0.2, 0.4))
    assert [run.pi[0] for run in data.runs] == [0.05, 0.6, 0.9]
    again = read_back(data)
    assert plain(again) == plain(data)
    assert figure4b(again).axes[0].get_ylabel() == r"learned $\pi$"


# --- Figures 6 and 7 ---


def made_run(data, norms, bar, pi, learned_pi):
    """A run that ended with atoms that are bars, of these norms."""
    norms, bar = np.array(norms, dtype=float), np.array(bar)
    A = bars(data.n)[:, bar] * norms
    course = Course(0, np.array([0.0, 1.0]), np.full(2, learned_pi), np.tile(norms, (2, 1)), A, learned_pi)
    return OvercompleteRun(pi, course, bar, np.ones(len(bar)), np.zeros(0), np.zeros(0), 0.0)


@pytest.fixture(scope="module")
def shell():
    """Settings of Figure 6 on 2x2 bars, without runs."""
    optima = (bar_optimum(0.3, 1.0, 0.3, pi=0.5),)
    stages = (Stage(duration=10.0, step=0.01, hold=10.0, tau_A=100.0),)
    return OvercompleteData(2, 0.3, 1.0, 0.3, ("A",), 100, stages, (), optima)


def test_what_counts_as_one_of_each(shell):
    each, others = [0, 1, 2, 3], [0, 0, 2, 3]

    def verdict(norms, bar):
        return shell.one_of_each(made_run(shell, norms, bar, 0.5, 0.5))

    right = [0.75, 0.74, 0.72, 0.70]
    assert verdict([*right, 0.1, 0.1, 0.1, 0.1], each + others)
    assert not verdict([*right, 0.16, 0.1, 0.1, 0.1], each + others)  # a surplus atom is too long
    assert not verdict([*right, 0.5, 0.1, 0.1, 0.1], each + others)  # and is used
    assert not verdict([0.75, 0.74, 0.72, 0.66, 0.1, 0.1, 0.1, 0.1], each + others)  # 12 % below the optimum
    assert not verdict([*right, 0.1, 0.1, 0.1, 0.1], [0, 1, 2, 2, *others])  # bar 3 has none
    assert not verdict(right, each)  # nothing was there to vanish


def test_what_counts_as_two_of_each(shell):
    free = replace(shell, learn=("A", "pi"))

    def verdict(pi, bar=(0, 0, 1, 1, 2, 2, 3, 3)):
        return free.two_of_each(made_run(free, np.ones(8), bar, 0.3, pi))

    assert verdict(0.163)
    assert verdict(0.145)
    assert not verdict(0.135)  # 17 % below
    assert not verdict(0.3)
    assert not verdict(0.163, (0, 0, 0, 1, 2, 2, 3, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("pi", "vanishes"), [(0.5, True), (0.15, False)])
def test_surplus_atoms_vanish_if_pi_is_above_the_truth_and_not_below(pi, vanishes):
    stages = (Stage(duration=2400.0, step=0.02, hold=20.0, tau_A=60.0),)
    data = figure6_data(Effort(seeds=1, held_out=30, sweeps=100), n=3, pis=(pi,), stages=stages)
    (run,) = data.runs
    assert (int(run.course.used.sum()) == 6) is vanishes, run.summary()
    assert (set(run.copies) == {1}) is vanishes, run.copies
    assert run.cosine[run.course.used].min() > 0.9 or not vanishes
    mean, se = run.gain()
    assert mean < 4.5 * se  # no model is more likely than the true one
    again = read_back(data)
    assert again.to_dict()["runs"] == data.to_dict()["runs"]
    assert len(figure6(again).axes) == 2
    assert "pi held at" in figure6_report(again)


def test_with_pi_free_its_copies_share_the_activity():
    """pi leaves 0.3 for what two copies need, within what a tenth of the full run allows."""
    data = figure7_data(Effort(seeds=1, time=0.1, held_out=0), n=3)
    (run,) = data.runs
    assert run.course.learned_pi == pytest.approx(1 - np.sqrt(0.7), rel=0.25)
    assert abs(run.course.learned_pi / 0.3 - 1) > 0.25  # that of the data is noticed
    assert run.course.used.all()
    assert run.gain() is None
    again = read_back(data)
    assert len(figure7(again).axes) == 3
    assert "copies of each bar" in figure7_report(again)


# --- Figures 8 and 9 ---


def patch_run(omega, seed, pi, norm_change=0.001):
    """A run of patches that ended with this pi; the mean norm still moves by so much."""
    K = round(4 * omega)
    window = np.arange(1.0, 12.0) * 500
    course = Course(seed, window, np.full(11, pi), np.ones((11, 1)), np.ones((4, K)), pi)
    norm = np.cumprod(np.full(11, 1 + norm_change))
    none = np.zeros(0)
    return PatchRun(omega, course, np.full(5, pi), window, np.full(11, pi), norm, np.zeros(11), none, none, None)


def figure9_of(power, norm_change=0.001, seeds=3):
    stages = tuple(Stage(duration=d, step=1.0, hold=10.0, tau_A=20.0) for d in (2500.0, 3000.0))
    rng = np.random.default_rng(0)
    runs = tuple(
        patch_run(omega, seed, 0.1 * omega**power * np.exp(0.02 * rng.standard_normal()), norm_change)
        for omega in (1.0, 2.0, 4.0)
        for seed in range(seeds)
    )
    return Figure9Data(2, 1.0, 0.5, 100, "", stages, runs)


def test_a_slope_of_minus_1_is_told_from_others():
    """Scatter of 2 % in each pi; the interval misses a true -1 for 5 % of the seeds of such tests."""
    right, wrong = figure9_of(-1.0).slope(), figure9_of(-0.5).slope()
    assert right.agrees()
    assert not wrong.agrees()
    assert wrong.mean == pytest.approx(-0.5, abs=0.06)
    assert "agrees with the paper's -1" in figure9_report(figure9_of(-1.0))
    assert "disagrees with the paper's -1" in figure9_report(figure9_of(-0.5))
    one = figure9_of(-1.0, seeds=1)
    assert one.slope().agrees() is None
    assert "one seed has no error" in figure9_report(one)


def jobs_of(monkeypatch, module, compute):
    asked = []
    monkeypatch.setattr(module, "patch_runs", lambda jobs, *_, **__: asked.extend(jobs) or tuple(jobs))
    compute(Effort(seeds=2), side=2, pictures=[])
    return asked


def test_a_dictionary_remembers_as_many_inputs_at_every_omega(monkeypatch):
    for job in jobs_of(monkeypatch, figure_slope, figure9_data):
        first, *later = job.stages
        assert job.A0.shape == (4, 4 * job.omega)
        assert first == figure_slope.STAGES[0]
        assert [s.tau_A * job.omega for s in later] == [s.tau_A for s in figure_slope.STAGES[1:]]
        assert [s.tau_u0 for s in later] == [s.tau_u0 for s in figure_slope.STAGES[1:]]


def test_every_other_atom_of_the_split_start_is_short(monkeypatch):
    first, second, split = jobs_of(monkeypatch, figure_norms, figure8_data)
    assert (first.seed, second.seed, split.seed) == (0, 1, 0)
    assert first.A0.min() < 0 < first.A0.max()
    np.testing.assert_array_equal(split.A0[:, ::2], first.A0[:, ::2])
    np.testing.assert_allclose(split.A0[:, 1::2], 0.1 * first.A0[:, 1::2])


def test_what_the_pause_changes_is_told():
    data = figure9_of(-1.0)
    assert "without the pause" not in figure9_report(data)
    paused = replace(data, stages=(data.stages[0], replace(data.stages[1], pause=5.0)))
    first = paused.runs[0]
    assert f"({first.course.learned_pi:.4f} without the pause)" in figure9_report(paused)


def test_intervals_cover_the_truth():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        inside += bool(Slope.of(-1 + 0.1 * rng.standard_normal(3)).agrees())
    assert 380 - 4 * 4.4 < inside < 380 + 4 * 4.4  # 95 % of 400


def test_convergence_is_told():
    assert figure9_of(-1.0).converged() is True
    assert figure9_of(-1.0, norm_change=0.02).converged() is False
    assert "is not at rest everywhere" in figure9_report(figure9_of(-1.0, norm_change=0.02))
    data = figure9_of(-1.0)
    assert data.convergence(data.runs[0])[-1]["mean_norm"] == pytest.approx(0.002)
    growing = [replace(r, window_pi=r.course.learned_pi * np.exp(0.1 * r.window / 1000)) for r in data.runs]
    last = replace(data, runs=tuple(growing)).convergence(growing[0])[-1]
    assert (last["pi"], last["pi_se"]) == (pytest.approx(0.1), pytest.approx(0, abs=1e-9))
    assert last["pi_mean"] == pytest.approx(growing[0].window_pi[6:].mean())  # without the stage's first window
    brief = replace(data, runs=tuple(replace(r, window=r.window[:1], window_norm=r.window_norm[:1]) for r in data.runs))
    assert brief.converged() is None


@pytest.mark.parametrize("compute", [figure8_data, pytest.param(figure9_data, marks=pytest.mark.slow)])
def test_patches_are_written_and_drawn(compute, tmp_path):
    data = compute(BRIEF, pictures=pictures(), side=3)
    again = read_back(data)
    assert plain(again) == plain(data)
    kind = {figure8_data: Figure8Data, figure9_data: Figure9Data}[compute]
    assert isinstance(again, kind)
    draw, report = (figure8, figure8_report) if kind is Figure8Data else (figure9, figure9_report)
    save_figure(draw(again), tmp_path / "figure.png")
    assert illegible(draw(again)) == []
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    assert "held-out log p(x)" in report(again)
    summary = again.to_dict()["summaries"][0]
    assert summary["n_latents"] == 36
    assert summary["log_likelihood"]["n"] == 3


def test_held_out_patches_are_no_training_patches():
    """The right quarter of each picture: training does not see what is drawn there."""
    first = pictures()
    other = [picture.copy() for picture in first]
    data = figure8_data(BRIEF, pictures=first, side=3)
    assert len(data.runs[0].log_p) == 3
    np.testing.assert_array_equal(data.runs[0].course.A.shape, data.split.course.A.shape)
    same = figure8_data(BRIEF, pictures=other, side=3, workers=2)
    assert plain(same) == plain(data)  # nor does the number of workers matter


def figure8_of(norms, change=0.001):
    """Three runs that ended with these norms, and one from a split start with every other one of them a tenth."""
    window = np.arange(1.0, 9.0) * 500
    none = np.zeros(0)

    def run(seed, norms):
        mean = np.cumprod(np.full(8, 1 + change))
        course = Course(seed, window, np.full(8, 0.5), np.tile(norms, (8, 1)), np.eye(len(norms)) * norms, 0.5)
        return PatchRun(1.0, course, np.full(5, 0.5), window, np.full(8, 0.5), mean, np.zeros(8), none, none, None)

    short = np.where(np.arange(len(norms)) % 2, 0.1, 1.0) * norms
    stage = Stage(duration=4000.0, step=1.0, hold=10.0, tau_A=20.0)
    return Figure8Data(2, 0.5, 1.0, 0.5, 100, "", (stage,), tuple(run(k, norms) for k in range(3)), run(0, short))


def test_a_split_of_norms_is_told():
    data = figure8_of(np.array([1.0, 0.9, 1.1, 0.1]))
    assert data.converged() is True
    report = figure8_report(data)
    assert "3 of 4 atoms used (75%), norms 0.900 to 1.100, the others 0.100 to 0.100" in report
    assert "from a start with every other atom a tenth as long: 2 of 4 atoms used" in report
    assert "norms are at rest" in report
    moving = figure8_of(np.ones(4), change=0.02)
    assert moving.converged() is False
    assert "norms are not at rest" in figure8_report(moving)
    brief = replace(data, split=replace(data.split, window_norm=np.ones(1)))
    assert brief.converged() is None


# --- running, asking ---


def test_results_are_in_the_order_of_the_jobs():
    def work(job, progress):
        progress(0.0, 1.0)
        time.sleep(0.02 * (3 - job))
        return job**2

    said = []
    for workers in (1, 3):
        assert run_all(work, [0, 1, 2], str, workers=workers, note=said.append) == [0, 1, 4]
    assert said[:3] == [f"run {k} of 3: {k - 1}" for k in (1, 2, 3)]
    assert sorted(said[3:]) == [f"{k} of 3 runs are done: {3 - k}" for k in (1, 2, 3)]


def test_one_that_fails_stops_the_others():
    begun, ended = threading.Event(), threading.Event()

    def work(job, progress):
        if job == 0:
            begun.wait()
            raise InputError("this one cannot be")
        begun.set()
        try:
            for k in range(3000):
                progress(k, 3000)
                time.sleep(0.01)
        finally:
            ended.set()

    with refused("this one cannot be"):
        run_all(work, [0, 1], str, workers=2)
    assert ended.is_set()


def test_a_figure_is_asked_for_by_its_name():
    assert {"fig4b", "fig6", "fig7", "fig8", "fig9"} <= set(FIGURES)
    said = []
    made = reproduce("fig4b", effort=Effort(time=0.001), workers=2, note=said.append)
    assert len(said) == 9
    assert made.numbers["batch"] == 100
    assert len(Figure4bData.from_dict(made.numbers).runs) == 9
    assert made.text.startswith("pi of the data 0.1: learned")
    with refused("Effort: seeds = 0 cannot be used. Give an integer >= 1."):
        Effort(seeds=0)
    with refused("Effort: time = 0"):
        Effort(time=0.0)


# --- the full claims ---


@pytest.mark.slow
def test_figure_6_in_full():
    data = figure6_data(Effort(held_out=0), pis=(0.4, 0.5))
    assert all(data.one_of_each(run) for run in data.runs), [run.summary() for run in data.runs]


@pytest.mark.slow
def test_figure_7_in_full():
    data = figure7_data(Effort(held_out=0))
    assert all(data.two_of_each(run) for run in data.runs), [run.summary() for run in data.runs]
