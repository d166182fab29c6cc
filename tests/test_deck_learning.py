"""Stand-alone decks of circuits that learn: plain ngspice learns from them what their NumPy twin does."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from test_deck import regenerate

from circuitlsc import InputError
from circuitlsc.circuit.graph import Twin
from circuitlsc.model.stream import grid_rows
from circuitlsc.reference.pathwise import trapezoid

#: units: the deck's time points also lie between those of the twin's grid, a difference of order h^2 after a switch
CLOSE = 2e-3


def means(deck, tmp_path):
    """Return what plain ngspice measures of a deck."""
    (tmp_path / "deck.cir").write_text(deck, encoding="ascii")
    done = subprocess.run(["ngspice", "-b", "deck.cir"], cwd=tmp_path, capture_output=True, text=True, check=True)
    return {name: float(value) for name, value in re.findall(r"^mean_(\w+)\s*=\s*(\S+)", done.stdout, re.M)}


def quiet(deck):
    """Return a deck without its noise."""
    out, n = re.subn(r"i_rms=\S+", "i_rms=0", deck)
    assert n == 1
    return out


def twin_means(learner):
    """Return the slow variables of the twin without noise, averaged over the last quarter, shape (n_slow,)."""
    twin, stage = Twin(learner.graph), learner.stage
    inputs = {
        cell.name: grid_rows(cell.stream.rows, stage.hold_steps, 0, stage.n_steps, "hold")
        for cell in learner.graph.inputs_from_outside
    }
    z = twin.full_state(learner.first_u[None])
    none = np.zeros((stage.n_steps, *z.shape))
    path = trapezoid(twin, z, none, stage.step, chunk=stage.n_steps, inputs=inputs, tries=12, simulator=True)
    return path[3 * stage.n_steps // 4 :, 0, learner.model.n_latents :].mean(axis=0)


@pytest.mark.ngspice
@pytest.mark.slow
@pytest.mark.parametrize("name", regenerate.LEARNERS)
def test_a_deck_without_noise_learns_what_its_twin_does(name, tmp_path):
    learner = regenerate.learner(name)
    measured = means(quiet(regenerate.text(name)), tmp_path)
    assert list(measured) == list(learner.slow_nodes)
    units = np.array(list(measured.values())) / learner.scaling.volt
    expected = twin_means(learner)
    np.testing.assert_allclose(units, expected, rtol=0, atol=CLOSE)
    start = Twin(learner.graph).full_state(learner.first_u)[learner.model.n_latents :]
    assert np.abs(expected - start).max() > 10 * CLOSE  # it has learned: a circuit that does not move would not pass
    slower = replace(learner.stage, **{k: 2 * v for k, v in vars(learner.stage).items() if k.startswith("tau_") and v})
    assert np.abs(units - twin_means(replace(learner, stage=slower))).max() > 3 * CLOSE


@pytest.mark.ngspice
def test_a_deck_has_seeded_noise(tmp_path):
    learner = regenerate.learner("bars2x2-learning")
    short = learner.deck(4)
    assert means(short, tmp_path) == means(short, tmp_path)
    other = short.replace(".option seed=1\n", ".option seed=2\n")
    assert other != short
    assert means(other, tmp_path) != means(short, tmp_path) != means(quiet(short), tmp_path)


def test_a_deck_of_some_inputs():
    learner = regenerate.learner("bars2x2-learning")
    lines = learner.deck(4).splitlines()
    assert lines[0] == "* circuitlsc learner: 4 x 4, spike-slab prior, learns A, pi"
    (tran,) = (line for line in lines if line.startswith(".tran"))
    assert float(tran.split()[2]) == pytest.approx(4 * regenerate.HOLD * learner.scaling.tau)
    for n in (0, regenerate.INPUTS + 1):
        with pytest.raises(InputError, match=f"n_inputs = {n}, but the learner shows {regenerate.INPUTS} inputs"):
            learner.deck(n)
