"""The variational learner: its gradients, that it goes on to the same bits, how near it comes, and what it refuses."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from legible import illegible

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars
from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.learning import FromModel, Rows, VariationalLearner, held_out, load_history, save_history
from circuitlsc.learning import variational as learning
from circuitlsc.learning.source import input_rng
from circuitlsc.model import variational
from circuitlsc.model.encoder import OBJECTIVES, REDUCES, Encoder
from circuitlsc.model.variational import ESTIMATORS, REDUCTIONS, best_law, elbo
from circuitlsc.reference.exact import log_evidence
from circuitlsc.reporting.learning_plot import learning_figure

SIGMA, PI, LAM = 0.5, 0.3, 1.0
BARS = SparseCodingModel(bars(4), SpikeSlab(PI, LAM, signed=True), SIGMA)


def learner(model=BARS, **settings):
    given = {"A0": model.A, "pi": PI, "lam": LAM, "sigma": model.sigma, "source": model, "seed": 3, "held_out": 200}
    return VariationalLearner(**{**given, "signed": model.prior.signed, **settings})


@pytest.fixture(scope="module")
def trained():
    return learner(steps=400, records=20).run()


def gradient_errors(run, x, weight, at=None):
    """Largest error of the gradient against finite differences, over 40 of what is trained, and A, sigma and pi."""
    _, gradient = run._gradient(x, weight)
    rng, worst = np.random.default_rng(0), 0.0
    for k in [*rng.permutation(len(gradient))[:40], -1, -2, -3]:
        kept, f = run.trained[k], []
        for h in (1e-5, -1e-5):
            run.trained[k] = kept + h
            f.append(run._gradient(x, weight if at is None else at)[0])
        run.trained[k] = kept
        worst = max(worst, abs((f[0] - f[1]) / 2e-5 - gradient[k]))
    return worst


@pytest.mark.parametrize("threshold", ["learned", "fixed", "gamma"])
@pytest.mark.parametrize("signed", [True, False])
def test_gradients_are_finite_differences(threshold, signed):
    """Of the loss by every weight and bias, A, log sigma and logit pi, with and without a weight of the divergence."""
    model = SparseCodingModel(bars(4), SpikeSlab(PI, LAM, signed=signed), SIGMA)
    run = learning._Run(learner(model, learn=("A", "pi", "sigma"), threshold=threshold, batch=7, hidden=(5, 4)))
    run.trained += 0.1 * np.random.default_rng(1).normal(size=len(run.trained))  # no head at its start
    x = run._inputs(3)
    for weight in (1.0, 0.3):
        assert gradient_errors(run, x, weight) < 1e-7
    assert gradient_errors(run, x, 1.0, at=0.9) > 1e-3  # the gradient of another loss is caught


@pytest.mark.parametrize("threshold", ["fixed", "gamma"])
@pytest.mark.parametrize("reduce", REDUCES)
def test_estimates_go_back_through_the_layers(threshold, reduce, monkeypatch):
    """The pathwise gradient is that of the loss of the same draws; straight-through has another one, by design."""
    settings = {"learn": ("A", "sigma"), "threshold": threshold, "batch": 7, "hidden": (5, 4), "draws": 3}
    settings |= {"reduce": reduce}
    monkeypatch.setattr(learning, "_CLIP", np.inf)
    runs = [learning._Run(learner(objective=objective, **settings)) for objective in ESTIMATORS]
    for run in runs:
        run.trained += 0.1 * np.random.default_rng(1).normal(size=len(run.trained))
    x = runs[0]._inputs(3)
    for weight in (1.0, 0.3):
        assert gradient_errors(runs[1], x, weight) < 1e-6
        assert gradient_errors(runs[0], x, weight) > 1e-3


def test_draws_depend_on_seed_and_step_alone():
    run, same, other = (learning._Run(learner(**ESTIMATED, seed=seed, batch=5)) for seed in (3, 3, 4))
    x = run._inputs(0)
    loss = run._gradient(x, 1.0)[0]
    other.trained[:] = run.trained
    assert same._gradient(x, 1.0)[0] == loss != other._gradient(x, 1.0)[0]
    same.places[0] = 1
    assert same._gradient(x, 1.0)[0] != loss


def test_words_are_those_of_the_estimators():
    assert OBJECTIVES[0] == "exact"
    assert (OBJECTIVES[1:], REDUCES) == (ESTIMATORS, REDUCTIONS)


def test_an_estimator_lowers_its_loss():
    history = learner(objective="pathwise", steps=150, records=15).run().history
    assert history["loss"].values[-1] < history["loss"].values[0] - 4
    assert history["elbo"].values[-5:].mean() > history["elbo"].values[:2].mean() + 2


def test_the_loss_is_the_weighted_bound():
    """-E log p(x | s) + w KL, of what the bound is at two weights."""
    run = learning._Run(learner(batch=50))
    x = run._inputs(0)
    encoder = run.encoder()
    full = float(np.mean(elbo(BARS, x, *encoder.heads(x))))
    assert run._gradient(x, 1.0)[0] == pytest.approx(-full, rel=1e-12)
    losses = np.array([run._gradient(x, w)[0] for w in (0.02, 0.51, 1.0)])
    assert np.diff(losses, 2) == pytest.approx(0.0, abs=1e-9)  # linear in w
    law = learning.law_of(BARS, *encoder.heads(x))
    assert (losses[2] - losses[0]) / 0.98 == pytest.approx(float(np.mean(law.kl(PI, LAM).sum(1))), rel=1e-9)


def test_the_weight_grows_over_its_share_of_the_steps():
    run = learning._Run(learner(steps=100, warmup=0.5))
    weights = []
    for step in (0, 25, 50, 99):
        run.places[0] = step
        weights.append(run._weight())
    assert weights == pytest.approx([0.02, 0.51, 1.0, 1.0])
    assert (learner().warmup, learner(learn=("A",)).warmup) == (0.0, 0.5)


def same_run(one, other):
    for a, b in zip(
        (*one.encoder.weights, *one.encoder.biases), (*other.encoder.weights, *other.encoder.biases), strict=True
    ):
        assert a.tobytes() == b.tobytes()
    assert one.history.equals(other.history)
    if one.learned is not None:
        for name in ("A", "A_final", "pi", "pi_final", "sigma", "sigma_final"):
            assert (
                np.asarray(getattr(one.learned, name)).tobytes() == np.asarray(getattr(other.learned, name)).tobytes()
            )


ESTIMATED = {"objective": "straight-through", "reduce": "max", "draws": 3, "threshold": "fixed"}


@pytest.mark.parametrize("settings", [{}, {"learn": ("A", "pi", "sigma")}, {**ESTIMATED, "learn": ("A",)}])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, settings):
    """Stopped between two records, before and after the average begins."""
    made = learner(steps=24, records=4, batch=10, **settings)
    whole = made.run()
    path = tmp_path / "checkpoint.npz"
    for stop in (7, 20):

        def interrupt(done, total, stop=stop):
            if done == stop:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(learning, "run_to_end", told_each_step(learning.run_to_end))
            with pytest.raises(KeyboardInterrupt):
                made.run(checkpoint=path, every=0.0, progress=interrupt)
    same_run(made.run(checkpoint=path), whole)
    same_run(made.run(checkpoint=path), whole)  # of a finished run, too
    with pytest.raises(InputError, match=r"was written by a run with rate = 0\.00"):
        learner(steps=24, records=4, batch=10, **settings, rate=0.1).run(checkpoint=path)


def told_each_step(run_to_end):
    return lambda *args, **how: run_to_end(*args, **{**how, "told_every": 0.0})


def test_a_short_training_leaves_the_start_far_behind(trained):
    """Held-out inputs, in nats each; the gap to each input's own optimum is tested below."""
    x = learning.set_aside(learner(steps=400))[1]
    start = float(np.mean(elbo(BARS, x, *learning.first_encoder(learner()).heads(x))))
    reached = float(np.mean(elbo(BARS, x, *trained.encoder.heads(x))))
    assert trained.history["held_out"].values[-1] == pytest.approx(reached, rel=1e-12)  # the encoder takes raw inputs
    assert reached > start + 5
    assert trained.learned is None
    settings = trained.encoder.meta
    assert (settings["method"], settings["objective"], settings["steps"]) == ("variational", "exact", 400)


def gaps(encoder, x):
    """How far an encoder is below the best law of each input, in nats: the law that is found is no worse than its own."""
    heads = encoder.heads(x)
    best = [best_law(BARS, row, learning.Heads(*(h[n] for h in heads)), starts=2) for n, row in enumerate(x)]
    return elbo(BARS, x, *(np.array([getattr(law, name) for law in best]) for name in learning.Heads._fields)) - elbo(
        BARS, x, *heads
    )


def test_a_short_training_comes_near_the_best_law_of_each_input(trained):
    """Three quarters of the way, for 12 held-out inputs; none is above its best law."""
    x = learning.set_aside(learner(steps=400))[1][:12]
    gap, start = gaps(trained.encoder, x), gaps(learning.first_encoder(learner()), x)
    assert gap.min() > -1e-6
    assert gap.mean() < start.mean() / 4
    assert start.mean() > 4  # what is not trained is far away


def test_log_p_of_held_out_inputs(monkeypatch):
    """Beside the sum over all supports; a bound is below it, and what it costs is a divergence."""
    model = SparseCodingModel(np.random.default_rng(0).standard_normal((4, 3)), SpikeSlab(PI, LAM), 0.5)
    small = learner(model, steps=60)
    made = small.run()
    found = held_out.held_out_evidence(small, made, inputs=4)
    X = learning.set_aside(small)[1][:4]
    np.testing.assert_allclose(found["log_p_elbo"], elbo(model, X, *made.encoder.heads(X)), rtol=1e-12)
    z = (found["log_p"].values - [log_evidence(model, x) for x in X]) / found["log_p_se"].values
    assert np.abs(z).max() < 3.5  # 4 inputs
    assert (found["log_p"] > found["log_p_elbo"]).all()
    assert ((found["log_p_ess_share"] >= 0.01) & (found["log_p_ess_share"] <= 1)).all()
    assert held_out.held_out_evidence(replace(small, held_out=0), made) is None
    calls = []

    def refuse(*_, **__):
        calls.append(1)
        if len(calls) < 4:  # the first input twice, and the second once: its best law does
            raise ReferenceRefusedError("few")
        return SimpleNamespace(log_p=-3.0, se=0.1, ess_share=0.2)

    monkeypatch.setattr(variational, "log_evidence", refuse)
    few = held_out.held_out_evidence(small, made, inputs=3)
    assert few["log_p"].isnull().values.tolist() == [True, False, False]
    (log_p, said), (gap, _) = held_out.evidence_report(few).rows
    assert (log_p, gap) == ("log p(x)", "KL")
    assert "mean of 2 held-out ones" in said
    assert "1 of 3 held-out inputs refused, less than 1 % of their draws are effective" in said
    none = held_out.evidence_report(few.isel(held_out_input=[0]))
    assert none.rows == (("log p(x)", "1 of 1 held-out inputs refused, less than 1 % of their draws are effective"),)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_amortised_gap(seed):
    """Of the full training, for 300 held-out inputs: at most 0.20 nats beyond the best law of each."""
    full = learner(steps=4000, held_out=300, seed=seed)
    gap = gaps(full.run().encoder, learning.set_aside(full)[1])
    assert gap.mean() < 0.20
    assert gaps(learning.first_encoder(learner()), FromModel(BARS).batch(9999, 10, 3)).mean() > 4


def test_the_history_is_written_and_read(trained, tmp_path):
    save_history(trained.history, tmp_path / "history.nc")
    history = load_history(tmp_path / "history.nc")
    assert history.equals(trained.history)
    assert history["time"].attrs["units"] == "steps"
    assert history["time"].values.tolist() == list(range(20, 401, 20))
    assert {"elbo", "loss", "held_out", "activity", "usage", "error", "pi"} <= set(history)
    assert np.all(history["pi"] == pytest.approx(PI))
    assert history["activity"].attrs["long_name"] == "P(active), mean over latents and the batch of the record"
    np.testing.assert_allclose(history["usage"].mean("latent"), history["activity"])
    # the mean over 20 steps, and one batch: of 100 inputs each, whose bounds differ by about 4 nats
    late = history.isel(time=slice(10, None))
    assert float(np.abs(late["elbo"] + late["loss"]).max()) < 4 * 4 / 10 * np.sqrt(1 + 1 / 20)


def test_the_figure_shows_both_bounds(trained):
    """Against steps: of training and held out, as the history has them; of an encoder alone no dictionary."""
    fig = learning_figure(trained.history, None, ())
    assert illegible(fig) == []
    error, bound = fig.axes
    assert (error.get_xlabel(), bound.get_xlabel(), bound.get_ylabel()) == ("steps", "steps", "ELBO (nats per input)")
    for line, name in zip(bound.lines, ("elbo", "held_out"), strict=True):
        np.testing.assert_array_equal(line.get_xydata().T, [trained.history["time"], trained.history[name]])
    assert [text.get_text() for text in bound.get_legend().get_texts()] == ["training", "held out"]


@pytest.mark.parametrize("learn", [(), ("A", "pi", "sigma")])
def test_units_do_not_matter(learn):
    """Inputs and sigma 1000 times as large, codes 8 times as small: the same law in other units, and what is learned."""
    prior = SpikeSlab(PI, 8 * LAM, signed=True)
    larger = SparseCodingModel(8000 * BARS.A, prior, 1000 * BARS.sigma)
    how = {"steps": 30, "records": 1, "learn": learn}
    one, other = learner(**how).run(), learner(larger, lam=8 * LAM, **how).run()
    x = FromModel(BARS).batch(500, 20, 0)
    mu, rho, kappa = other.encoder.heads(1000 * x)
    for a, b in zip(one.encoder.heads(x), (8 * mu, rho + np.log(8), kappa), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    assert np.abs(8 * other.encoder.heads(x).mu - one.encoder.heads(x).mu).max() > 0.1
    shift = float(one.history["held_out"].values[-1] - other.history["held_out"].values[-1])
    assert shift == pytest.approx(16 * np.log(1000), rel=1e-9)
    if learn:
        np.testing.assert_allclose(8000 * one.learned.A, other.learned.A, rtol=1e-6, atol=1e-3)
        assert np.abs(one.learned.A - BARS.A).max() > 0.01
        assert (other.learned.pi, other.learned.sigma) == pytest.approx((one.learned.pi, 1000 * one.learned.sigma))


@pytest.mark.parametrize("threshold", ["learned", "fixed", "gamma"])
def test_heads_start_at_the_prior(threshold):
    for signed in (True, False):
        model = SparseCodingModel(bars(4), SpikeSlab(PI, LAM, signed=signed), SIGMA)
        first = learning.first_encoder(learner(model, threshold=threshold))
        assert first.rectified is not signed
        mu, rho, kappa = first.heads(np.zeros((1, 16)))
        np.testing.assert_allclose(np.exp(rho), 0.5 if threshold == "learned" else 1.0)
        assert np.all(mu == (0.0 if signed else 0.5))
        # a drawn threshold of the same mean lets more through: exp is convex
        assert np.exp(-kappa) == pytest.approx({"gamma": (1 - np.log(PI) / 3) ** -3}.get(threshold, PI))


def test_streams_are_apart():
    """First weights depend on the seed alone; inputs are those of every learner with this seed."""
    one = learning.first_encoder(learner())
    same, other = (
        learning.first_encoder(learner(batch=7, learn=("A",), steps=9)),
        learning.first_encoder(learner(seed=4)),
    )
    assert one.weights[0].tobytes() == same.weights[0].tobytes() != other.weights[0].tobytes()
    run = learning._Run(learner())
    assert run._inputs(5).tobytes() == FromModel(BARS).batch(5, 100, 3).tobytes()
    drawn = input_rng(3, 0).uniform(-1.0, 1.0, one.weights[0].shape) / 4
    assert not np.isin(one.weights[0], drawn).any()


def test_an_encoder_is_gone_on_from(trained):
    """Its first loss is what the encoder had, and its layers and threshold are taken."""
    made = learner(encoder=trained.encoder, hidden=(5,), steps=3, records=3)
    assert (made.hidden, made.threshold) == ((32,), "learned")
    run = made.run()
    fresh = learner(steps=3, records=3).run()
    held = trained.history["held_out"].values[-1]
    assert abs(run.history["held_out"].values[0] - held) < 1.0 < held - fresh.history["held_out"].values[0]
    other = learner(encoder=learning.first_encoder(learner()), steps=3, records=3)
    assert made.settings()["encoder"] != other.settings()["encoder"] != learner().settings()["encoder"]


def test_rows_are_set_aside():
    """A tenth at most, none of which training sees; of fewer than ten rows none."""
    X = FromModel(BARS).batch(0, 95, 0)
    source, aside = learning.set_aside(learner(source=Rows(X, shuffle=False), held_out=1000))
    assert (len(source.X), len(aside)) == (86, 9)
    assert {row.tobytes() for row in aside} | {row.tobytes() for row in source.X} == {row.tobytes() for row in X}
    few = learner(source=X[:9], steps=2, records=2).run()
    assert "held_out" not in few.history
    assert "held_out" not in learner(steps=2, held_out=0).run().history


def test_pi_and_sigma_are_learned_with_a_known_dictionary():
    """Both come two thirds of the way from a start that is far off; what is held stays as it was given."""
    start = learner(pi=0.6, sigma=0.8, learn=("pi", "sigma"), steps=500, rate_model=0.02, records=10)
    run = start.run()
    assert abs(run.learned.sigma - SIGMA) < (0.8 - SIGMA) / 3  # the law's own bias included
    assert abs(run.learned.pi - PI) < (0.6 - PI) / 3
    assert (run.learned.A == BARS.A).all()
    assert run.learned.lam == LAM
    held = learner(pi=0.6, sigma=0.8, learn=("pi",), steps=4, records=2).run().learned
    assert (held.sigma, held.sigma_final) == (0.8, 0.8)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"pi": 1.0}, "Give 0 < pi < 1"),
        ({"pi": 0.0}, "pi = 0.0"),
        ({"learn": ("lam",)}, "learn = ('lam',) cannot be used"),
        ({"learn": ("A", "A")}, "different words"),
        ({"learn": 3}, "learn = 3"),
        ({"draws": 0}, "draws = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"hidden": (0,)}, "a layer's size = 0"),
        ({"hidden": (2**40,)}, "are trained"),
        ({"objective": "iwae"}, "objective = 'iwae' is unknown"),
        ({"reduce": "min"}, "reduce = 'min' is unknown"),
        ({"threshold": "none"}, "threshold = 'none' is unknown"),
        ({"numbers": {"lam": 1.0}}, "has none"),
        ({"threshold": "fixed", "numbers": {"lam": -1.0}}, "numbers = {'lam': -1.0}"),
        ({"objective": "pathwise", "threshold": "learned"}, "cannot learn a learned threshold"),
        ({"objective": "pathwise", "learn": ("pi",)}, "cannot learn pi: the published bound does not see P(active)"),
        ({"warmup": 2.0}, "warmup = 2.0"),
        ({"rate": np.nan}, "rate = nan"),
        ({"encoder": "encoder.npz"}, "Give an Encoder"),
        ({"encoder": Encoder(weights=(np.ones((6, 4)),), biases=(np.ones(6),))}, "4 features to 2 latents"),
        (
            {"encoder": Encoder(weights=(np.ones((24, 16)),), biases=(np.ones(24),), rectified=True)},
            "its codes are rectified, but the prior is signed",
        ),
        ({"A0": np.zeros((16, 8))}, "zero column"),
        ({"source": np.ones((3, 4))}, "inputs of 4 features"),
    ],
)
def test_what_cannot_be_trained_is_named(settings, says):
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        learner(**settings)
    assert "\n" not in str(caught.value)


def test_training_that_diverges_says_so():
    with pytest.raises(InputError, match=r"it diverged at step \d+ .*Lower it\.$") as caught:
        learner(rate=1e5, steps=50).run()
    assert "\n" not in str(caught.value)
