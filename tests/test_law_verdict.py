"""The verdict on a variational circuit: by the closed form of its encoder's law, and how far that is from the posterior."""

from dataclasses import replace

import numpy as np
import pytest
from legible import illegible
from reports import text_of

from circuitlsc import InputError, RunPlan, SparseCodingModel, SpikeSlab, bars, build_sampler, judge
from circuitlsc.cli.outcome import outcome
from circuitlsc.model.encoder import Encoder, Heads
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import best_law
from circuitlsc.reference.exact import enumerate_supports
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.law import _seen, bias_of, law_null, law_of_run, law_statistics, weigh_samples

MODEL = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=True), 0.5)
X = np.array([0.9, 0.2, 1.0, -0.1])
RUN = RunPlan(t_stop=4000.0, chains=2, seed=5)


def constant(law, n_features=4):
    """An encoder that says the same of every input: no hidden unit, and biases alone."""
    kappa = np.asarray(law.kappa)
    heads = np.concatenate([law.mu, law.rho, -np.log(np.expm1(kappa))])
    return Encoder(weights=(np.zeros((len(heads), n_features)),), biases=(heads,))


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
    assert "of the encoder's law, no fault of the circuit: KL from the posterior" in text_of(result.report)
    assert result.numbers["bias"] == numbers
    fig = result.draw()
    assert illegible(fig) == []
    axes = fig.axes
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
    with pytest.raises(InputError, match=r"x has 2 rows, each with its own\. Give one row as x\."):
        law_of_run(sampler)


# --- weights ---

BARS = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0, signed=True), 0.5)


def test_rare_states_are_among_the_errors():
    """A latent of mean 12 that is off once in a million draws: its sd, when it happens, is no surprise."""
    rng = np.random.default_rng(3)
    law = ThresholdedLaplace(np.array([12.0, 12.0, 12.0, 1.0]), np.full(4, 0.05), np.array([1e-6, 1e-10, 0.3, 13.0]))
    drawn = _seen(law, of_run=20_000, of_null=1_000_000)
    np.testing.assert_allclose(-np.expm1(-drawn.kappa[0]), 3e-5)
    np.testing.assert_array_equal(drawn.kappa[1:3], law.kappa[1:3])  # never seen; often seen
    np.testing.assert_allclose(drawn.p_active[3], 3e-5)
    off = (drawn.draw(100_000, rng)[:, 0] == 0).sum()
    assert 0 < off < 12
    rare = constant(Heads(np.full(4, 12.0), np.full(4, -3.0), np.full(4, 1e-7)))
    sampler = build_sampler(MODEL, X, dynamics="variational", encoder=rare)
    null = law_null(sampler, RunPlan(t_stop=20_000.0, chains=2, seed=5), law_of_run(sampler))
    assert (null.averages[:, :4] < 1).any(0).all()


@pytest.fixture(scope="module")
def weighable():
    """Return the circuit of a law for an input of 4x4 bars, a run of it, and the posterior."""
    x = BARS.draw(np.random.default_rng(0))[1]
    best = best_law(BARS, x)
    law = best._replace(kappa=best.kappa + 0.3)  # P(active) a quarter too small: a bias that weights must take back
    how = {"dynamics": "variational", "encoder": constant(law, 16), "source": "table"}
    sampler = build_sampler(BARS, x, **how)
    samples = sampler.run(t_stop=8000.0, chains=1, seed=1)
    return sampler, how, samples, exact_statistics(BARS, x, seed=0)


@pytest.mark.ngspice
def test_weighted_samples_are_those_of_the_posterior(weighable):
    sampler, _, samples, posterior = weighable
    found = weigh_samples(sampler, samples, posterior)
    assert (found.n, found.memory) == (3990, 0.0)
    assert found.ess_share > 0.1
    assert found.agrees, found.max_abs_z
    assert found.max_abs_z <= found.z_limit
    assert max(latent["p_active_se"] for latent in found.latents) < 0.02
    # without weights the law's bias is there: the posterior's P(active) is missed by many of these errors
    off = (samples.s != 0).mean((0, 1)) - posterior.p_active
    assert np.abs(off).max() > 5 * np.sqrt(0.25 / found.n)


@pytest.mark.ngspice
def test_weights_of_another_sigma_do_not_agree(weighable):
    sampler, how, samples, posterior = weighable
    wrong = build_sampler(replace(BARS, sigma=0.6), sampler.x, **how)
    assert weigh_samples(wrong, samples, posterior).agrees is False


@pytest.mark.ngspice
def test_weights_are_refused_where_they_say_nothing(weighable):
    sampler, how, samples, posterior = weighable
    far = weigh_samples(build_sampler(replace(BARS, sigma=0.05), sampler.x, **how), samples, posterior)
    assert (far.ess, far.agrees, far.latents) == (None, None, ())
    assert "less than 1 %" in far.reason
    short = sampler.run(t_stop=1000.0, chains=1)
    few = weigh_samples(sampler, short, posterior)
    assert few.reason.startswith("weights of 490 samples cannot tell how bad they are.")
    with pytest.raises(InputError, match=r'an encoder is asked for, but dynamics\.kind = "langevin" has none\.'):
        judge(build_sampler(MODEL, X), samples, weights=True)


@pytest.mark.ngspice
def test_errors_of_weighted_samples_know_of_their_memory(weighable):
    """Of rho = 2/3 their squares are five times those of independent draws, and fall with the number of chains."""
    sampler, how, _, posterior = weighable
    close = build_sampler(BARS, sampler.x, **how, step=0.4)
    samples = close.run(t_stop=1220.0, chains=4, seed=2, thin=1)
    whole = weigh_samples(close, samples, posterior)
    assert whole.memory == pytest.approx(2 / 3)
    assert whole.ess == pytest.approx(whole.ess_share * whole.n)
    kish = weigh_samples(sampler, samples, posterior).ess_share  # of a circuit at 2 tau: without a memory
    assert whole.ess_share == pytest.approx(kish / 5)
    assert whole.max_abs_z < whole.z_limit
    one = Samples(samples.tree.isel(chain=slice(0, 1)))
    single = weigh_samples(close, one, posterior)
    ratio = [a["mean_se"] / b["mean_se"] for a, b in zip(single.latents, whole.latents, strict=True)]
    assert np.median(ratio) == pytest.approx(2.0, rel=0.25)
