"""The verdict on a variational circuit: by the closed form of its encoder's law, and how far that is from the posterior."""

from dataclasses import replace

import numpy as np
import pytest

from circuitlsc import InputError, RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler, judge
from circuitlsc.cli.outcome import outcome
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.variational import best_law
from circuitlsc.reference.exact import enumerate_supports
from circuitlsc.validation.law import bias_of, law_null, law_of_run, law_statistics

MODEL = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=True), 0.5)
X = np.array([0.9, 0.2, 1.0, -0.1])
RUN = RunPlan(t_stop=4000.0, chains=2, seed=5)


def constant(law):
    """An encoder that says the same of every input: no hidden unit, and biases alone."""
    kappa = np.asarray(law.kappa)
    heads = np.concatenate([law.mu, law.rho, -np.log(np.expm1(kappa))])
    return Encoder(weights=(np.zeros((len(heads), 4)),), biases=(heads,))


@pytest.fixture(scope="module")
def best():
    return constant(best_law(MODEL, X))


def built(encoder, **given):
    return build_sampler(MODEL, X, dynamics="variational", encoder=encoder, **given)


@pytest.fixture(scope="module")
def made(best):
    sampler = built(best)
    return sampler, sampler.run(RUN)


@pytest.mark.ngspice
def test_a_right_circuit_agrees_and_its_bias_is_told(made):
    sampler, samples = made
    found = judge(sampler, samples, tolerance=0.1)
    assert found.comparison.verdict == "agrees", found.comparison.reason
    assert found.path.rms < 1e-5
    assert found.exact.method == "closed form of the encoder's law"
    numbers = found.to_dict()["bias"]
    assert 0 < numbers["kl"] < 2
    assert numbers["kl_reason"] is None
    result = outcome(sampler, samples, tolerance=0.1)
    assert "of the encoder's law, no fault of the circuit: KL from the posterior" in result.text
    assert result.numbers["bias"] == numbers
    axes = result.draw().axes
    assert len(axes) == 5
    legends = [text.get_text() for ax in axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert {"law", "draws of the law"} <= set(legends)
    assert not [said for said in (*legends, *(ax.get_ylabel() for ax in axes)) if "SDE" in said or "exact" in said]


@pytest.mark.ngspice
@pytest.mark.parametrize("head", ["b", "kappa"])
def test_a_wrong_circuit_disagrees(best, made, head):
    """Its scale, or its threshold, is that of another encoder."""
    sampler, _ = made
    (bias,) = best.biases
    wrong = bias.copy()
    wrong[slice(4, 8) if head == "b" else slice(8, 12)] += 0.35 if head == "b" else 0.6
    samples = built(replace(best, biases=(wrong,))).run(RUN)
    assert judge(sampler, samples, tolerance=0.1).comparison.verdict == "disagrees"


def test_statistics_of_the_law_are_those_of_its_draws(made):
    sampler, _ = made
    law = law_of_run(sampler)
    stated = law_statistics(law, MODEL, X)
    s = law.draw(200_000, 1)
    on = s != 0
    keys, counts = np.unique(on @ (1 << np.arange(4)), return_counts=True)
    assert sum(stated.support.values()) == pytest.approx(1, abs=1e-12)
    for key, count in zip(keys, counts, strict=True):
        p = stated.support[int(key)]
        assert abs(count / len(s) - p) < 5 * np.sqrt(p / len(s))
    np.testing.assert_allclose(stated.coactive, (on.T.astype(float) @ on) / len(s), atol=5 * 0.5 / np.sqrt(len(s)))
    power = np.sum((X - s @ MODEL.A.T) ** 2, 1)
    assert abs(power.mean() - stated.residual_power) < 5 * power.std() / np.sqrt(len(s))


@pytest.mark.parametrize(("step", "source"), [(2.0, "product"), (0.5, "table"), (0.5, "product")])
def test_errors_of_correct_runs_are_those_of_their_memory(best, step, source):
    """Draws of N(0, 1) voltages h apart: P(active) has the variance of so many independent draws as its memory leaves."""
    sampler = built(best, step=step, source=source)
    run = replace(RUN, thin=1)
    law = law_of_run(sampler)
    null = law_null(sampler, run, law)
    stated = null.judged.select(law_statistics(law, MODEL, X))
    z = (null.mean - stated) / null.mean_se
    assert np.abs(z).max() < 4.5  # 18 statistics
    n = 2 * (RUN.t_stop - RUN.warmup) / step
    independent = np.sqrt(law.p_active * law.p_zero / n)
    ratio = null.errors()[:4] / independent
    if step == 2.0:
        np.testing.assert_allclose(ratio, 1.0, atol=0.15)
    else:
        # a product forgets faster than its factors: their square is what it remembers
        assert ratio.mean() > (1.07 if source == "product" else 1.2), ratio


def test_bias_is_what_it_says():
    """Of the best law: the differences from exact enumeration, and a divergence that is not negative within its error."""
    model = SparseCodingModel(np.random.default_rng(3).standard_normal((4, 3)), MODEL.prior, 0.7)

    def built(law):
        return build_sampler(model, X, dynamics="variational", encoder=constant(law))

    best = best_law(model, X)
    sampler = built(best)
    law = law_of_run(sampler)
    stated, posterior = law_statistics(law, model, X), enumerate_supports(model, X)
    bias = bias_of(sampler, law, stated, posterior, seed=1)
    np.testing.assert_allclose([k["p_active"] for k in bias.latents], law.p_active - posterior.p_active)
    np.testing.assert_allclose([k["sd"] for k in bias.latents], law.sd - posterior.sd)
    assert bias.kl > -4 * bias.kl_se
    worse = built(best._replace(mu=np.zeros(3)))
    far = bias_of(worse, law_of_run(worse), stated, posterior, seed=1)
    assert far.kl > bias.kl + 4 * np.hypot(far.kl_se, bias.kl_se)


def test_rows_are_not_judged_together(best):
    sampler = build_sampler(MODEL, np.stack([X, -X]), hold=20.0, dynamics="variational", encoder=best)
    with pytest.raises(InputError, match=r"rows of x are not judged together\. Give one row as x\."):
        law_of_run(sampler)
