"""The verdict on a memory: right ones, wrong ones, what is said beside it, and circuits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from legible import illegible
from reports import text_of
from scipy.stats import binom

from circuitlsc import InputError, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.outcome import outcome
from circuitlsc.model import features as features_module
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.features import Features, features_of
from circuitlsc.reference.memory import SoftwareMemory
from circuitlsc.reporting.plotting import save_figure
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.validation.memory_compare import (
    Remembered,
    compare_memory,
    expect_memory,
    judge_memory,
    widening,
)

N, VISITS, DROPPED, HOLD = 3, 250, 20, 1.0


@pytest.fixture(scope="module")
def problem():
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
    return model, np.stack([model.draw(np.random.default_rng([2, i]))[1] for i in range(N)])


def starts(model):
    return np.stack([np.zeros((N, model.n_latents)), np.full((N, model.n_latents), 1.5)])


def remembered(problem, *, seed=0, runs=1, visits=VISITS, **options):
    """Memories in software, two chains each, as what a verdict is on."""
    model, x = problem
    first = starts(model)
    how = {"features": features_of("relu:8", x), "hold": HOLD, "seed": seed, **options}
    memory = SoftwareMemory(model, x, n_runs=2 * runs, starts=np.tile(first, (runs, 1, 1)), **how)
    memory.run(DROPPED)
    u = memory.run(visits).astype(float).reshape(runs, 2, N, -1, model.n_latents)
    rank = how["features"].rank
    return [
        Remembered(model, x, [Draws.of(part[:, n]) for n in range(N)], first, rank, HOLD, visits, DROPPED) for part in u
    ]


@pytest.fixture(scope="module")
def known(problem):
    return expect_memory(remembered(problem)[0])


@pytest.mark.slow
def test_right_memories_seldom_disagree(problem, known):
    found = [judge_memory(of, known) for of in remembered(problem, runs=4, seed=3)]
    assert sum(c.verdict == "disagrees" for c in found) <= binom.isf(1e-4, len(found), 0.02)
    assert 1.0 <= found[0].widened < 2.0
    z = np.array([c.virial.z for c in found])
    assert np.abs(z).max() < 4.5, z
    assert all(w.largest < 1.2 * c.within_limit for c in found for w in c.within_visit)
    assert [w.place for w in found[0].within_visit] == ["start", "middle", "end"]
    assert [w.time for w in found[0].within_visit] == pytest.approx([0.2, 0.6, 1.0])
    assert "input " in found[0].reason
    assert found[0].t_stop == N * (VISITS + DROPPED) * HOLD
    assert found[0].t_stop_needed > found[0].t_stop
    assert f"About t_stop = {found[0].t_stop_needed:g}" in found[0].reason  # of all inputs together


def test_wrong_memories_disagree_with_what_gives_them_away(problem, known):
    _, x = problem
    relu, one_hot = features_of("relu:8", x), features_of("one-hot", x)
    wrong = {
        "weights' noise that is not T/N": {"features": one_hot, "noise": "weight", "temperature": float(N)},
        "weights' noise, a long hold": {"features": one_hot, "noise": "weight"},
        "no dual vectors": {"write": relu.phi},
        "too few features": {"features": features_of("relu:2", x)},
        "one state for all inputs": {"features": Features(np.ones((1, N)))},
    }
    found = {what: judge_memory(remembered(problem, seed=4, **how)[0], known) for what, how in wrong.items()}
    assert {c.verdict for c in found.values()} == {"disagrees"}, {what: c.verdict for what, c in found.items()}
    hot = found["weights' noise that is not T/N"].virial
    assert hot.value > hot.exact + 4 * hot.se
    few = found["too few features"].virial  # of rank 2: right about that, and no word about the posterior
    assert few.exact == 2
    assert abs(few.z) < 4.5
    start, _, end = found["weights' noise, a long hold"].within_visit
    assert abs(start.mean - end.mean) > 6 * np.hypot(start.mean_se, end.mean_se), "diffusion while it was away"


def test_one_wrong_input_is_enough_and_is_named(problem, known):
    (of,) = remembered(problem, seed=5)
    other = of.u[1].map(lambda u: u + 0.5)
    c = judge_memory(replace(of, u=[of.u[0], other, of.u[2]]), known)
    assert c.verdict == "disagrees"
    assert c.reason.startswith("input 1: ")
    assert [each.verdict for each in c.inputs].count("disagrees") == 1


def test_all_inputs_agree_where_the_tolerance_is_wide(problem, known):
    (of,) = remembered(problem, seed=6)
    c = judge_memory(of, known, tolerance=0.6)
    assert c.verdict == "agrees"
    assert c.reason.startswith("all statistics of all 3 inputs are within 0.6 of exact")
    data = json.loads(json.dumps(c.to_dict(), allow_nan=False))
    assert len(data["inputs"]) == N
    entry = data["inputs"][2]["latents"][1]["p_active"]
    assert entry["circuit"] == pytest.approx(float(of.active(2).mean()[1]))
    assert entry["exact"] == pytest.approx(known[2].exact.p_active[1])
    draws = of.u[0].read(0, of.u[0].n_draws).reshape(2, VISITS, 5, -1)
    first = of.model.active(draws[:, :, 0]).mean((0, 1)) - known[0].exact.p_active
    np.testing.assert_allclose(data["within_visit"][0]["difference"][0], first)
    apart = [sum(each.circuit for each in one.virial) / of.model.n_latents for one in c.inputs]
    assert data["virial"]["value"] == pytest.approx(sum(apart), rel=1e-9)
    assert data["virial"]["exact"] == N


def test_limits_are_widened_to_what_a_share_of_correct_memories_exceed(known):
    """By replicates that are put together at random: as many as alpha says have an input beyond its limit."""
    ratios = []
    for each in known:
        null, unit = each.null, each.null.judged.units(each.scale)
        d = null.deviations(null.judged.select(each.exact)) / unit
        up, down = (np.sqrt(2 * np.mean(np.maximum(s * d, 0) ** 2, 0)) for s in (1, -1))
        rms = np.sqrt(np.mean(d**2, 0))
        z = np.maximum(d / np.maximum(up, rms / 2), -d / np.maximum(down, rms / 2)).max(1)
        ratios.append(z / np.quantile(z, 0.99, method="higher"))
    rng = np.random.default_rng(0)
    together = np.max([rng.choice(ratio, 100_000) for ratio in ratios], axis=0)
    assert np.mean(together > widening(known)) <= 0.0115
    assert np.mean(together > 1) > 0.02, "without it there are too many"
    assert widening(known[:1]) == 1.0


def test_what_does_not_fit_is_refused(problem):
    (of,) = remembered(problem)
    with pytest.raises(InputError, match="as many in each visit"):
        replace(of, visits=VISITS + 1)
    model, x = problem
    with pytest.raises(InputError, match="has no memory"):
        compare_memory(build_sampler(model, x[0]), None)


@pytest.mark.ngspice
def test_a_circuit_with_a_memory_is_judged_and_drawn(problem, tmp_path):
    model, x = problem
    sampler = build_sampler(model, x, dynamics=Dynamics(kind="amortised", features="relu:8"), hold=1.0)
    samples = sampler.run(t_stop=90.0, warmup=30.0, chains=2, seed=1)
    of = Remembered.of(sampler, samples)
    assert (of.visits, of.dropped, of.rank, of.t_stop) == (20, 10, 3, 90.0)
    np.testing.assert_allclose(of.starts, sampler.row_starts(2, 1), atol=1e-9)
    np.testing.assert_allclose(
        samples.time[0, : of.draws_per_visit] - 30.0, of.spacing * np.arange(1, 1 + of.draws_per_visit)
    )
    made = outcome(sampler, samples, tolerance=0.05, reference_time=1.0)
    assert made.verdict == "inconclusive"
    assert made.numbers["pathwise"]["rms"] < 1e-6
    assert len(made.numbers["inputs"]) == 3
    text = text_of(made.report)
    for said in ("sum over inputs of <u dE/du>", "within visits", "20 of each of 3 inputs in each of 2 chains"):
        assert said in text
    first = made.series[0]
    latents = [[entry["latents"][k]["p_active"] for entry in made.numbers["inputs"]] for k in range(model.n_latents)]
    assert first.values == pytest.approx([np.mean([row["circuit"] for row in rows]) for rows in latents])
    assert first.errors == pytest.approx([np.sqrt(np.sum([row["mcse"] ** 2 for row in rows])) / 3 for rows in latents])
    save_figure(made.draw(), tmp_path / "memory.png")
    assert illegible(made.draw()) == []
    assert (tmp_path / "memory.png").stat().st_size > 30_000


@pytest.mark.slow
@pytest.mark.ngspice
def test_circuits_of_bars_have_their_posteriors_and_wrong_ones_disagree(monkeypatch):
    """4x4 bars, four inputs, hold 1: 8,000 tau for P(active), 2,000 for what is wrong."""
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    x = np.stack([model.draw(np.random.default_rng(i))[1] for i in range(4)])

    def run(t_stop, **dynamics):
        sampler = build_sampler(model, x, dynamics=Dynamics(kind="amortised", **dynamics), hold=1.0)
        return Remembered.of(sampler, sampler.run(t_stop=t_stop, chains=2, seed=1))

    right = run(8000.0, features="relu:8")
    c = judge_memory(right, expect_memory(right, reference_time=20.0))
    assert c.verdict != "disagrees", c.reason
    entries = [latent.p_active for each in c.inputs for latent in each.latents]
    assert all(abs(e.circuit - e.exact) <= 0.015 + 4 * e.mcse for e in entries)
    first = [u.part(0, 480 * right.draws_per_visit) for u in right.u]  # what is expected of 2,000 tau
    short = replace(right, visits=480, u=first)
    known = expect_memory(short, reference_time=20.0)
    wrong = {
        "not tempered": run(2000.0, noise="weight", temperature=4.0),
        "H < N": run(2000.0, features="relu:3", restricted=True),
    }
    monkeypatch.setattr(features_module, "ORTHONORMAL", np.inf)  # refused otherwise
    wrong["no dual"] = run(2000.0, features="relu:8", write="same")
    plain = build_sampler(model, np.tile(x, (500, 1)), hold=1.0)
    u = plain.run(warmup=0.0, chains=2, seed=1).by_row("u")
    u = u.reshape(2, 500, 4, -1, 8)[:, 20:].transpose(2, 0, 1, 3, 4).reshape(4, 2, -1, 8)
    wrong["no memory"] = replace(short, u=[Draws.of(each) for each in u])
    for what, of in wrong.items():
        assert judge_memory(replace(of, temperature=1.0), known).verdict == "disagrees", what
