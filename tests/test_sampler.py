"""Building a sampler and planning its run: what is refused, and where chains start."""

import re

import numpy as np
import pytest

from circuitlsc import Dynamics, InputError, RunPlan, SparseCodingModel, SpikeSlab, build_sampler


def refused(message):
    return pytest.raises(InputError, match=rf"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "devices"}, "level = 'devices' is not one of ideal, device, transistor."),
        ({"halvings": -1}, "halvings = -1 is not a whole number from 0 to 10."),
        ({"wires": "mesh"}, "wires = 'mesh' is not one of reduced, segments."),
        ({"form": "lca"}, "form = 'lca' is not one of gram, residual."),
        ({"tolerance": 0.0}, "tolerance = 0.0, but Newton's iteration needs one in (0, 0.01]."),
        ({"tolerance": 0.1}, "tolerance = 0.1, but Newton's iteration needs one in (0, 0.01]."),
        ({"tolerance": np.nan}, "tolerance = nan, but Newton's iteration needs one in (0, 0.01]."),
        (
            {"dynamics": "sgd"},
            "dynamics.kind = 'sgd' is not one of langevin, gradient, lca, underdamped, amortised, variational.",
        ),
        ({"hold": 5.0}, "hold = 5.0 belongs to several observations, and x is one. Leave it out."),
        ({"tau": 0.0}, "tau = 0.0, but a scale must be a finite number > 0 (SI units)."),
        ({"c_int": -1e-12}, "c_int = -1e-12, but a scale must be a finite number > 0 (SI units)."),
        ({"volt": np.inf}, "volt = inf, but a scale must be a finite number > 0 (SI units)."),
        (
            {"x": np.ones(15)},
            "x has shape (15,), but the dictionary A has n_features = 16. Pass x with shape (16,).",
        ),
    ],
)
def test_bad_arguments(bars_model, bars_x, arguments, message):
    with refused(message):
        build_sampler(**{"model": bars_model, "x": bars_x, **arguments})


COUNTS = "but it counts something. Give an integer >="
TIMES = "but it is a time in units of tau. Give a finite number >= 0."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chains": 0}, f"run.chains = 0, {COUNTS} 1."),
        ({"chains": 2.0}, f"run.chains = 2.0, {COUNTS} 1."),
        ({"chains": True}, f"run.chains = True, {COUNTS} 1."),
        ({"seed": -1}, f"run.seed = -1, {COUNTS} 0."),
        ({"thin": 0}, f"run.thin = 0, {COUNTS} 1."),
        ({"t_stop": np.nan}, f"run.t_stop = nan, {TIMES}"),
        ({"warmup": -1.0}, f"run.warmup = -1.0, {TIMES}"),
        ({"t_stop": "100"}, f"run.t_stop = '100', {TIMES}"),
        (
            {"t_stop": 10, "warmup": 10},
            "run.t_stop = 10 tau is not beyond run.warmup = 10 tau: no sample would be left. Give t_stop > warmup.",
        ),
    ],
)
def test_bad_run_plans(arguments, message):
    with refused(message):
        RunPlan(**{"t_stop": 100.0, **arguments})


def test_run_without_a_length(bars_model, bars_x):
    with refused("run() needs t_stop, the length of each chain in units of tau."):
        build_sampler(bars_model, bars_x).run()


@pytest.mark.parametrize("step", [None, 0.05, 0.01])
def test_suggested_t_stop_works_where_a_shorter_one_is_refused(bars_model, bars_x, step):
    sampler = build_sampler(bars_model, bars_x, step=step)
    message = (
        r"run\.t_stop = 20\.5 tau leaves 2 samples per chain \(step \S+, warmup 20, thin \d+\), but 4 is the least\. "
        r"Give run\.t_stop >= (\S+)\."
    )
    with pytest.raises(InputError, match=rf"^{message}$") as refusal:
        sampler.tasks(RunPlan(t_stop=20.5))
    t_stop = float(re.search(message, str(refusal.value))[1])
    assert sampler.tasks(RunPlan(t_stop=t_stop))[0].n_draws == 4


def test_chains_start_from_opposite_modes(model, x):
    """All off, all on, then draws from the prior: the same for a seed, inside the rails."""
    sampler = build_sampler(model, x)
    starts = sampler.starts(5, 0)
    np.testing.assert_array_equal(starts[0], 0.0)
    assert model.active(starts[1]).all()
    ridge = np.linalg.solve(model.A.T @ model.A + model.sigma**2 * np.eye(4), model.A.T @ x)
    np.testing.assert_allclose(model.latent(starts[1]), ridge if model.prior.signed else np.abs(ridge))
    np.testing.assert_array_equal(sampler.starts(5, 0), starts)
    np.testing.assert_array_equal(sampler.starts(3, 0), starts[:3])
    assert (sampler.starts(5, 1)[2:] != starts[2:]).any()
    assert np.abs(starts).max() * sampler.scaling.volt < sampler.scaling.rails


def test_starts_are_kept_off_the_rails():
    model = SparseCodingModel(np.eye(2), SpikeSlab(0.3, 1.0), 0.5)
    sampler = build_sampler(model, np.zeros(2), volt=0.1, rails=1.0)
    starts = sampler.starts(1000, 0)
    assert np.abs(starts).max() * 0.1 <= 0.9


def test_tasks_of_a_run(bars_model, bars_x):
    sampler = build_sampler(bars_model, bars_x, dynamics=Dynamics(temperature=2.5), step=0.05)
    tasks = sampler.tasks(RunPlan(t_stop=100.0, chains=3, seed=5))
    assert [t.chain for t in tasks] == [0, 1, 2]
    for task in tasks:
        assert (task.n_steps, task.n_warmup, task.thin) == (2000, 400, 4)  # five draws a tau
        assert (task.seed, task.temperature, task.step) == (5, 2.5, 0.05)
        assert len(task.nodes) == len(task.capacitors) == len(task.devices) == len(task.sources) == 8
        assert ".tran" not in task.deck


@pytest.mark.parametrize("t_stop", [100.0, 123.4, 150.0, 150.017])
def test_a_circuit_at_half_the_step_keeps_the_same_times(bars_model, bars_x, t_stop):
    """Those of every second step, and no sample more or less, wherever t_stop and warmup lie between steps."""
    step = 0.0371
    times = [
        build_sampler(bars_model, bars_x, step=step, halvings=k)
        .tasks(RunPlan(t_stop=t_stop, warmup=10.013, thin=3 * 2**k))[0]
        .times()
        for k in (0, 1, 2)
    ]
    for finer in times[1:]:
        np.testing.assert_allclose(finer, times[0], rtol=1e-12)


def test_large_circuits_ask_for_klu():
    """ngspice 39 ignores the option; decks for plain ngspice do without it."""
    rng = np.random.default_rng(5)
    for n, asked in ((16, False), (32, True)):
        model = SparseCodingModel(rng.standard_normal((8, n)) / 3, SpikeSlab(0.3, 1.0), 0.5)
        sampler = build_sampler(model, rng.standard_normal(8), form="residual")
        assert (" klu\n" in sampler.library_deck) == asked
        assert "klu" not in sampler.deck(t_stop=100.0)
        broken = build_sampler(model, rng.standard_normal(8), form="residual", loop="broken")
        assert "klu" not in broken.library_deck
