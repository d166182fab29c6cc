"""Rows of x that a variational circuit samples one after the other: judged by their laws, and their bias told."""

import re
from dataclasses import replace

import numpy as np
import pytest
from legible import illegible
from reports import text_of
from scipy.stats import binom, norm

from circuitlsc import InputError, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.outcome import outcome
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.reference.exact import enumerate_supports, log_evidence
from circuitlsc.validation import law_stream, stream_compare
from circuitlsc.validation.judge import judge
from circuitlsc.validation.law import INFINITE, bias_of, law_of_run
from circuitlsc.validation.law_stream import RowLaws, correct_runs, laws_of_rows, row_means, stream_bias
from circuitlsc.validation.stream_compare import compare_stream

K = 3
MODEL = SparseCodingModel(np.random.default_rng(3).standard_normal((4, K)), SpikeSlab(0.3, 1.0, signed=True), 0.7)
N, HOLD = 60, 44.0
ROWS = np.array([MODEL.draw(seed)[1] for seed in range(N)])


def network(b=-0.9, eta=-2.0):
    """A rectifier for each sign of a ridge regression: it gives mu, and the larger it is, the more often a latent is active."""
    ridge = np.linalg.solve(MODEL.gram + np.eye(K), MODEL.A.T / MODEL.variance)
    one, none = np.eye(K), np.zeros((K, K))
    heads = np.block([[one, -one], [none, none], [3 * one, 3 * one]])
    biases = np.concatenate([np.zeros(K), np.full(K, b), np.full(K, eta)])
    return Encoder(weights=(np.concatenate([ridge, -ridge]), heads), biases=(np.zeros(2 * K), biases))


def built(rows=ROWS, encoder=None, **given):
    given = {"hold": HOLD, "dynamics": "variational", "encoder": encoder or network(), **given}
    return build_sampler(MODEL, rows, **given)


@pytest.fixture(scope="module")
def made():
    sampler = built()
    return sampler, sampler.run(warmup=4.0, seed=3)


@pytest.fixture(scope="module")
def judged(made):
    return compare_stream(*made, tolerance=0.15)


@pytest.mark.ngspice
def test_a_right_circuit_agrees(made, judged):
    assert judged.verdict == "agrees", judged.reason
    assert judged.compared_rows == N
    assert judged.draws_per_row == 20
    assert judged.pathwise["rms"] < 1e-5
    law = laws_of_rows(made[0], np.arange(N))
    np.testing.assert_allclose([row.exact for row in judged.p_active], law.p_active.mean(0))
    np.testing.assert_allclose([row.exact for row in judged.mean], law.mean.mean(0))
    by_row = made[1].by_row("s")[0]
    np.testing.assert_allclose([row.circuit for row in judged.mean], by_row.mean((0, 1)), atol=1e-12)
    np.testing.assert_allclose(row_means(made[1])[:, 0], (by_row != 0).mean(1), atol=1e-12)
    independent = np.sqrt((law.p_active * law.p_zero / 20).sum(0)) / N
    np.testing.assert_allclose([row.se for row in judged.p_active], independent, rtol=0.25)


@pytest.mark.ngspice
def test_report_figure_and_file(made, judged, monkeypatch):
    monkeypatch.setattr("circuitlsc.cli.outcome.compare_stream", lambda *_, **__: judged)
    found = outcome(*made, tolerance=0.15)
    assert found.numbers == judged.to_dict()
    assert found.numbers["bias"]["rows"] + found.numbers["bias"]["refused"] == N
    assert set(found.numbers["rows_apart"]) >= {"p_active", "mean", "largest_row", "z"}
    said = text_of(found.report)
    assert "of the encoder's laws, no fault of the circuit, over" in said
    assert "each input     differs from its law" in said
    assert [len(series.values) for series in found.series] == [len(judged.mean)] * 2
    assert len(found.draw().axes) == 4
    assert illegible(found.draw()) == []


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("kappa", "averages over 60 inputs differ from those of their laws"),
        ("b", "inputs"),
        ("shifted", "single inputs differ from their laws by"),
        ("one", "input 17 by itself differs from its law by more"),
    ],
    ids=["kappa", "b", "shifted", "one"],
)
def test_a_wrong_circuit_disagrees(made, judged, wrong, said, monkeypatch):
    """Another encoder; each row's neighbour in its place, which averages do not see; and one row that is another."""
    monkeypatch.setattr("circuitlsc.validation.stream_compare.stream_bias", lambda *_: judged.bias)
    sampler, _ = made
    encoder = {"kappa": network(eta=-2.6), "b": network(b=0.1)}.get(wrong)
    order = np.roll(np.arange(N), 1) if wrong == "shifted" else np.arange(N)
    if wrong == "one":
        order[17] = int(np.abs(ROWS).max(1).argmax())
    other = built(ROWS[order], encoder).run(warmup=4.0, seed=3)
    found = compare_stream(sampler, other, tolerance=0.15)
    assert found.verdict == "disagrees"
    assert said in found.reason
    if wrong == "shifted":
        averages = [row.z for row in (*found.p_active, *found.mean)]
        assert np.abs(averages).max() < found.z_limit, "negative control: averages alone"


def test_too_little_noise_is_told_as_that():
    """Averages of the laws themselves, without any noise: no single input is far from its law, and that is what is wrong."""
    sampler, which = built(), np.arange(N)
    run, law = sampler.run_plan(warmup=4.0, seed=1), laws_of_rows(sampler, which)
    laws = RowLaws(law, sampler.tasks(run)[0].draws_per_row, MODEL.prior.slab_scale, True)
    quiet, _ = laws.judged(laws.truth, *correct_runs(sampler, run, law, which))
    verdict, reason = stream_compare._judge_rows(quiet, None, N, 0.15)
    assert verdict == "disagrees"
    assert "nearer to their laws than noise lets correct runs be" in reason


@pytest.mark.ngspice
def test_lines_between_rows_have_no_law():
    sampler = built(ROWS[:3], interpolate="linear")
    found = compare_stream(sampler, sampler.run(warmup=4.0, seed=1))
    assert found.verdict == "inconclusive"
    assert "the input varies" in found.reason
    assert found.pathwise["rms"] < 1e-5


@pytest.mark.parametrize(("step", "source"), [(2.0, "product"), (0.5, "table")])
def test_correct_runs_have_the_memory_of_the_noise(step, source):
    """Their errors are those of one long path of u, cut into rows: here drawn step by step, and with what is dropped."""
    sampler = built(ROWS[:4], hold=4.0, step=step, source=source)
    run = sampler.run_plan(warmup=step, thin=1)
    task, n, law = sampler.tasks(run)[0], 4000, laws_of_rows(sampler, np.arange(4))
    left, rng = (1 - step / 2) / (1 + step / 2), np.random.default_rng(5)
    fields = 4 if source == "product" else 1
    u = [rng.standard_normal((fields, n, K))]
    for _ in range(4 * task.period - 1):
        u.append(left * u[-1] + np.sqrt(1 - left**2) * rng.standard_normal((fields, n, K)))
    noise = law_stream.laplace_of(np.stack(u, axis=1)).reshape(4, task.period, n, K)[:, task.n_warmup :]
    means = []
    for k in range(4):
        s = ThresholdedLaplace(law.mu[k], law.b[k], law.kappa[k]).code(noise[k])
        means.append(np.stack([(s != 0).mean(0), s.mean(0)], axis=1))
    rows, shrink = correct_runs(sampler, run, law, np.arange(4))
    assert shrink == 1
    found = np.mean(list(rows), axis=0)
    ratio = found.var(0) / np.mean(means, axis=0).var(0)
    assert np.abs(np.log(ratio)).max() < norm.isf(0.005 / (2 * K)) * np.sqrt(2 / len(found) + 2 / n) * 1.5, ratio


def test_errors_of_long_rows_are_scaled(monkeypatch):
    sampler = built(ROWS[:5], hold=400.0)
    run, which = sampler.run_plan(warmup=0.0), np.arange(5)
    law = laws_of_rows(sampler, which)
    laws = RowLaws(law, 200, 1.0, True)
    short = laws.measures(*correct_runs(sampler, run, law, which))[0]
    monkeypatch.setattr(law_stream, "MOST_DRAWS", 1000)
    whole = laws.measures(*correct_runs(sampler, run, law, which))[0]
    np.testing.assert_allclose(short[:, : 2 * K].std(0), whole[:, : 2 * K].std(0), rtol=0.25)
    np.testing.assert_allclose(short[:, 2 * K : 4 * K].mean(0), whole[:, 2 * K : 4 * K].mean(0), rtol=0.15)


def test_bias_is_what_it_says():
    """Beside exact enumeration, over all rows and over some of them."""
    sampler, which = built(), np.arange(8)
    law = laws_of_rows(sampler, which)
    part = build_sampler(MODEL, ROWS[:8], hold=HOLD, dynamics="variational", encoder=network())
    found = stream_bias(part, law, which, seed=1)
    exact = [enumerate_supports(MODEL, x) for x in ROWS[:8]]
    bounds = law_stream.elbo(MODEL, ROWS[:8], law.mu, np.log(law.b), law.kappa)
    divergence = np.array([log_evidence(MODEL, x) for x in ROWS[:8]]) - bounds
    assert found.rows + found.refused == 8
    assert found.refused == 0
    z = [(found.kl - divergence.mean()) / found.kl_se]
    for name in ("p_active", "mean", "sd"):
        d = getattr(law, name) - np.array([getattr(e, name) for e in exact])
        rms = np.sqrt((d**2).mean(0))
        for k, latent in enumerate(found.latents):
            z.append((latent[name] - d[:, k].mean()) / latent[f"{name}_se"])
            z.append((latent[f"{name}_rms"] - rms[k]) / latent[f"{name}_rms_se"])
    assert np.abs(z).max() < norm.isf(0.005 / len(z)), z
    some = stream_bias(sampler, law, which, seed=1)  # 8 of 60: their mean is not that of all
    assert some.kl == found.kl
    assert some.kl_se > 3 * found.kl_se


def test_a_prior_without_a_spike():
    """Of such a prior no P(active) is judged; laws with a spike are infinitely far from its posteriors, and have a bias."""
    model = SparseCodingModel(MODEL.A, Laplace(1.0), 0.7)
    sampler = build_sampler(model, ROWS[:6], hold=HOLD, dynamics="variational", encoder=network())
    law, which = laws_of_rows(sampler, np.arange(6)), np.arange(6)
    assert RowLaws(law, 10, 1.0, False).truth.shape == (6, 1, K)
    found = stream_bias(sampler, law, which, seed=1)
    assert found.kl is None
    assert found.kl_reason == INFINITE
    assert all(np.isfinite(list(latent.values())).all() for latent in found.latents)
    assert len(found.latents) == K
    one = build_sampler(model, ROWS[0], dynamics="variational", encoder=network())
    stated = enumerate_supports(MODEL, ROWS[0])
    of_one = bias_of(one, law_of_run(one), stated, stated, seed=1)
    assert (of_one.kl, of_one.kl_reason) == (None, INFINITE)


def test_a_posterior_that_is_refused_is_said(monkeypatch):
    refuse = iter([True] * 2)

    def evidence(model, x, heads, **how):
        if next(refuse, False):
            raise law_stream.ReferenceRefusedError("nothing is known")
        return known(model, x, heads, **how)

    known = law_stream.sure_evidence
    monkeypatch.setattr(law_stream, "sure_evidence", evidence)
    sampler = built()
    law = laws_of_rows(sampler, np.arange(40))
    found = stream_bias(sampler, law, np.arange(40), seed=1)
    assert (found.rows, found.refused) == (38, 2)
    assert found.kl is not None
    refuse = iter([True] * 3)
    none = stream_bias(sampler, law, np.arange(40), seed=1)
    assert none.kl is None
    assert none.latents == ()
    assert none.kl_reason == "log p(x) is refused for 3 of 40 rows of x, first for row 0: nothing is known"


@pytest.mark.slow
def test_few_correct_streams_are_called_wrong(monkeypatch):
    """200 streams of 40 rows; alpha is .01."""
    sampler, which = built(ROWS[:40]), np.arange(40)
    law = laws_of_rows(sampler, which)
    laws, wrong = RowLaws(law, 20, 1.0, True), 0
    for seed in range(200):
        null = correct_runs(sampler, sampler.run_plan(warmup=4.0, seed=seed), law, which)
        with monkeypatch.context() as few:
            few.setattr(law_stream, "FEWEST", 1)
            few.setattr(law_stream, "MOST", 1)
            own, _ = correct_runs(sampler, sampler.run_plan(warmup=4.0, seed=10_000 + seed), law, which)
            means = np.concatenate(list(own))
        found, _ = laws.judged(means, *null)
        wrong += found.excess().max() > found.c
    assert wrong <= binom.isf(0.01, 200, 0.015), wrong


def test_only_a_stream_has_rows():
    with pytest.raises(InputError, match="the sampler has one input"):
        compare_stream(replace(built(), stream=None, x=ROWS[0]), None)


@pytest.mark.parametrize(
    ("how", "instead"),
    [({"dynamics": "gradient"}, "circuitlsc.read_map"), ({"hold": 20}, "stream_compare.compare_stream")],
)
def test_judge_names_who_judges_other_runs(how, instead):
    model = SparseCodingModel(bars(2), Laplace(lam=1.0), sigma=0.5)
    x = np.ones((3, 4)) if "hold" in how else np.ones(4)
    with pytest.raises(InputError, match=re.escape(instead)):
        judge(build_sampler(model, x, **how), None)
