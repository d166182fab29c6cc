"""Objects say what they are in a line, and show their numbers as tables in a notebook, with every text escaped."""

import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Encoder,
    Gaussian,
    Laplace,
    Nonidealities,
    SparseCodingModel,
    SpikeSlab,
    build_sampler,
)
from circuitlsc.io.shown import LINE
from circuitlsc.learning.learned import Learned
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.planning.scaling import Scaling
from circuitlsc.studies.chip_yield import chip_yield
from circuitlsc.studies.friction import FrictionRow, FrictionSweep
from circuitlsc.validation.judge import judge
from circuitlsc.validation.verdict import Verdict

MODEL = SparseCodingModel(np.eye(2), SpikeSlab(pi=0.3, lam=1.0), 0.5)
X = MODEL.draw(1)[1]
PRESET = Nonidealities.preset("rram")
ENCODER = Encoder(weights=(np.ones((4, 2)), np.ones((6, 4))), biases=(np.ones(4), np.ones(6)))
LEARNED = Learned(
    A=np.eye(2),
    pi=0.3,
    lam=1.0,
    sigma=0.5,
    A_final=np.eye(2),
    pi_final=0.4,
    lam_final=1.0,
    sigma_final=0.5,
    signed=True,
)
ROW = FrictionRow(0.5, 2.0, 1.5, 0.01, 20.0, 1.0, 0.01, 0.0)


class Tags(HTMLParser):
    """Which elements a text has."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.said = [], ""
        self.feed(text)

    def handle_starttag(self, tag, _):
        self.tags.append(tag)

    def handle_data(self, data):
        self.said += data


def check(shown, *words):
    """It says words in a line of at most 120 characters, and shows a table or labelled lines."""
    line, html = repr(shown), Tags(shown._repr_html_())
    assert line.startswith(type(shown).__name__ + "(")
    assert line.endswith(")")
    assert len(line) <= LINE
    assert "\n" not in line
    assert all(word in line for word in words), line
    assert {"table", "dl"} & set(html.tags)
    assert type(shown).__name__ in html.said


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (MODEL, ("2 features, 2 latents, SpikeSlab(pi=0.3, lam=1.0, signed=False), sigma=0.5",)),
        (build_sampler(MODEL, X), ("langevin", "2 latents", "ideal level", "step 0.")),
        (build_sampler(MODEL, X).graph, ("7 cells", "2 u")),
        (build_sampler(MODEL, X).plan, ("width=", "step=")),
        (PRESET, ("4 imperfections", "crossbar.stuck_on")),
        (Scaling(), ("volt=0.1", "tau=1e-06")),
        (ENCODER, ("2-4-6, 2 latents",)),
        (LEARNED, ("pi=0.3", "signed")),
        (FrictionSweep((ROW, ROW), 0.1, 60.0, "enumeration"), ("1 friction", "best 0.5")),
        (CustomPrior(lambda s: s**2, reach=4.0, name="<b>"), ("knots",)),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_an_object_is_a_line_and_a_table(shown, words):
    check(shown, *words)


@pytest.mark.parametrize(
    "value",
    [
        SpikeSlab(pi=0.3, lam=1.0),
        Laplace(lam=2.0),
        Gaussian(sd=1.0),
        Cauchy(lam=2.0),
        Dynamics(kind="underdamped"),
        Nonidealities(op_amp={"offset": 1e-3}, seed=3),
        Scaling(tau=1e-3),
    ],
    ids=repr,
)
def test_short_ones_can_be_evaluated(value):
    assert eval(repr(value)) == value
    assert hash(pickle.loads(pickle.dumps(value))) == hash(value)
    check(value)


def test_texts_are_shown_as_text():
    prior = CustomPrior(lambda s: s**2, reach=4.0, name="<script>alert(1)</script>")
    html = Tags(SparseCodingModel(np.eye(2), prior, 0.5)._repr_html_())
    assert "script" not in html.tags
    assert "<script>" in html.said


@pytest.mark.ngspice
def test_samples_and_chips():
    sampler = build_sampler(MODEL, X, step=0.05)
    samples = sampler.run(t_stop=60.0, warmup=10.0, chains=2, seed=7)
    check(samples, "2 chains", "2 latents", "60 tau each", "seed 7")
    assert "table" in Tags(samples._repr_html_()).tags
    how = {"t_stop": 40.0, "warmup": 10.0, "chains": 1, "step": 0.05}
    lot = chip_yield(MODEL, X, {"integrator": {"capacitance_mismatch": 0.01}}, chips=1, **how)
    check(lot, "1 chip")
    assert repr(lot.chips[0]).startswith("Chip(0: ")


def test_a_verdict_says_why():
    verdict = Verdict("inconclusive", "The <run> is too short, " + "and longer ones are needed, " * 9)
    line, html = repr(verdict), Tags(verdict._repr_html_())
    assert line.startswith("Verdict(inconclusive: The <run> is too short,")
    assert line.endswith(" ...)")
    assert len(line) <= LINE
    assert verdict.reason in html.said


@pytest.mark.slow  # correct runs like it are simulated
@pytest.mark.ngspice
def test_a_comparison_shows_its_latents():
    sampler = build_sampler(MODEL, X, step=0.05)
    judgement = judge(sampler, sampler.run(t_stop=60.0, warmup=10.0, chains=2, seed=7), tolerance=0.9)
    check(judgement, judgement.comparison.verdict)
    check(judgement.comparison, judgement.comparison.verdict)
    html = Tags(judgement.comparison._repr_html_())
    assert "table" in html.tags
    assert f"{judgement.comparison.latents[1].mean.exact:.4f}" in html.said
