"""The form that is expected to run faster."""

import numpy as np
import pytest

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.planning.choose_form import choose_form, iteration_time


def dense(n_features, n_latents):
    A = np.random.default_rng([n_features, n_latents]).standard_normal((n_features, n_latents))
    return SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.3, 1.0, signed=True), 0.5)


@pytest.mark.parametrize(
    ("shape", "loop", "form"),
    [
        ((64, 64), "closed", "gram"),
        ((64, 256), "closed", "residual"),
        ((64, 64), "broken", "gram"),
        ((64, 256), "broken", "residual"),
        ((256, 64), "closed", "gram"),
    ],
)
def test_the_form_that_was_measured_to_be_faster(shape, loop, form):
    chosen, line = choose_form(dense(*shape), loop)
    assert chosen == form
    assert line.startswith(f"form {form}: ")


def test_blocks_count_apart():
    one = dense(32, 64)
    two = SparseCodingModel(np.kron(np.eye(2), one.A), one.prior, one.sigma)
    assert iteration_time(two, "gram") == pytest.approx(2 * iteration_time(one, "gram"))


def test_auto_is_written_out():
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, model.draw(np.random.default_rng(1))[1], form="auto")
    assert sampler.form == "gram"
    assert "form gram: estimated" in sampler.report()
    assert sampler.library_deck == build_sampler(model, sampler.x).library_deck
