"""Which system a circuit is: what is taken, what is refused, what is chosen."""

import numpy as np
import pytest

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Dynamics,
    InputError,
    Laplace,
    Nonidealities,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.model.dynamics import as_dynamics
from circuitlsc.model.stream import Stream, grid_rows
from circuitlsc.planning.run_plan import choose_run
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.system import system_of

BARS = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
X = BARS.draw(np.random.default_rng(5))[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kind": "sgld"},
            "dynamics.kind = 'sgld' is not one of langevin, gradient, lca, underdamped, amortised, variational.",
        ),
        ({"threshold": "firm"}, "dynamics.threshold = 'firm' is not one of soft, hard."),
        (
            {"threshold": "hard"},
            'dynamics.threshold = "hard" belongs to kind = "lca", and kind is "langevin". Remove it.',
        ),
        (
            {"friction": 0.1},
            'dynamics.friction = 0.1 belongs to kind = "underdamped", and kind is "langevin". Remove it.',
        ),
        ({"kind": "underdamped", "mass": 0.0}, "dynamics.mass = 0.0, but it must be a finite number > 0."),
        ({"kind": "underdamped", "friction": True}, "dynamics.friction = True, but it must be a finite number > 0."),
        (
            {"temperature": -1.0},
            'dynamics.temperature = -1.0, but it must be a finite number > 0 (kind = "gradient" is T = 0).',
        ),
        (
            {"kind": "lca", "temperature": 1.0},
            'dynamics.temperature = 1.0, but kind = "lca" has no noise; "langevin" has. Remove it, or give 0.',
        ),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InputError) as error:
        Dynamics(**arguments)
    assert str(error.value) == message


def test_what_is_chosen():
    assert Dynamics().T == 1
    assert Dynamics(kind="gradient", temperature=0).T == 0
    assert as_dynamics("lca") == Dynamics(kind="lca")
    chosen = build_sampler(BARS, X, dynamics="underdamped").dynamics
    rates = np.linalg.eigvalsh(BARS.gram)
    assert chosen.mass == pytest.approx(1 / (rates[-1] + 1))
    assert chosen.friction == pytest.approx(np.sqrt((max(rates[0], 0) + 1) / (rates[-1] + 1)))
    given = build_sampler(BARS, X, dynamics=Dynamics(kind="underdamped", mass=0.5, friction=2.0)).dynamics
    assert (given.mass, given.friction) == (0.5, 2.0)


def test_settling_leaves_out_the_spike():
    sampler = build_sampler(BARS, X, dynamics="gradient")
    assert sampler.model.prior == Laplace(1.0, signed=False)
    assert sampler.temperature == 0
    assert sampler.graph.noise is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0.5}, "circuit.width = 0.5, but coefficients are about "),
        ({"step": 10.0}, "run.step = 10.0 tau is too large for the fastest mode, "),
        ({"step": 0.0}, "run.step = 0.0, but time goes forward."),
    ],
)
@pytest.mark.parametrize("kind", ["lca", "gradient"])
def test_width_and_step_that_cannot_be(kind, arguments, message):
    with pytest.raises(InputError) as error:
        build_sampler(BARS, X, dynamics=kind, **arguments)
    assert str(error.value).startswith(message)


def test_a_momentum_has_a_largest_step():
    dynamics = Dynamics(kind="underdamped")
    plan = system_of(dynamics).plan(BARS, X, None, None).step
    with pytest.raises(InputError, match=r"^run\.step = 1\.0 tau is too large for the fastest oscillation"):
        system_of(dynamics).plan(BARS, X, None, 1.0)
    given = system_of(dynamics).plan(BARS, X, None, 2 * plan.step).step
    assert any("the samples may have a bias" in line for line in given.warnings)


def test_held_rows_change_within_one_step():
    rows = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(grid_rows(rows, 4, 0, 12, "hold")[:, 0], [1, *[1] * 4, *[2] * 4, *[3] * 4])
    np.testing.assert_array_equal(grid_rows(rows, 4, 3, 3, "hold")[:, 0], [1, 1, 2, 2])


def test_lines_between_rows_end_on_the_last():
    rows = np.array([[0.0], [4.0], [2.0]])
    np.testing.assert_allclose(grid_rows(rows, 4, 0, 12, "linear")[:, 0], [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 2, 2, 2, 2])


@pytest.mark.parametrize("interpolate", ["hold", "linear"])
def test_corners_of_a_deck_are_the_grid(interpolate):
    """A simulator that joins the corners by lines sees the same input at every grid point."""
    stream = Stream(np.random.default_rng(1).standard_normal((5, 2)), 0.8, interpolate)
    times, values = stream.corners(0.1)
    assert (np.diff(times) > 0).all()
    grid = grid_rows(stream.rows, 8, 0, 40, interpolate)
    for column in range(2):
        np.testing.assert_allclose(
            np.interp(0.1 * np.arange(41), times, values[:, column]), grid[:, column], atol=1e-12
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hold": 0.0}, "run.hold = 0.0, but each input is on for a time. Give a number > 0, in tau."),
        ({"hold": 1.0, "interpolate": "spline"}, "run.interpolate = 'spline' is not one of hold, linear."),
    ],
)
def test_bad_streams(arguments, message):
    with pytest.raises(InputError) as error:
        Stream(np.zeros((2, 2)), **arguments)
    assert str(error.value) == message


def test_runs_of_a_stream():
    stream = Stream(np.zeros((10, 2)), 30.0)
    run = choose_run(settles=False, stream=stream)
    assert (run.t_stop, run.warmup, run.chains) == (300.0, 15.0, 1)
    run = choose_run(settles=True, stream=stream)
    assert (run.t_stop, run.warmup, run.chains) == (300.0, 0.0, 1)
    with pytest.raises(InputError, match=r"^run\.t_stop = 100\.0, but 10 inputs of 30 tau take 300\."):
        choose_run(settles=False, stream=stream, t_stop=100.0)
    with pytest.raises(InputError, match=r"^run\.warmup = 30\.0 tau is dropped of every input"):
        choose_run(settles=False, stream=stream, warmup=30.0)


@pytest.mark.parametrize(
    ("x", "hold", "message"),
    [
        (np.zeros((2, 16)), None, r"^x has 2 rows, and nothing says how long each is on\."),
        (np.zeros((2, 15)), 5.0, r"^x has shape \(2, 15\), but many observations are rows of n_features = 16 values\."),
        (np.zeros((0, 16)), 5.0, r"^x has shape \(0, 16\), but many observations"),
        (np.zeros(16), 5.0, r"^hold = 5\.0 belongs to several observations"),
    ],
)
def test_inputs_that_do_not_fit(x, hold, message):
    with pytest.raises(InputError, match=message):
        build_sampler(BARS, x, hold=hold)


def test_what_is_no_dynamics():
    with pytest.raises(InputError, match=r"^dynamics = None is neither a Dynamics nor the name of a kind: langevin,"):
        build_sampler(BARS, X, dynamics=None)


def test_numpy_numbers_are_numbers():
    assert Dynamics(kind="underdamped", friction=np.float32(0.5)).friction == 0.5
    assert build_sampler(BARS, np.stack([X, X]), hold=np.int64(20)).stream.hold == 20.0


@pytest.mark.parametrize("kind", ["langevin", "gradient", "lca"])
def test_a_comparators_width_is_in_volts(kind):
    """Also where the rails set the scale, which is not the same for every system."""
    parts = Nonidealities({"comparator": {"width": 2e-4}})
    sampler = build_sampler(BARS, X, dynamics=kind, level="device", nonideal=parts, rails=0.3)
    assert sampler.plan.width * sampler.scaling.volt == pytest.approx(2e-4)
    again = rebuilt(sampler)
    assert again.plan.width == sampler.plan.width
    assert again.scaling == sampler.scaling


def test_a_memory_longer_than_a_run_is_said():
    for wild in ({"mass": 1e12}, {"friction": 1e9}, {"friction": 1e-9}):
        plan = build_sampler(BARS, X, dynamics=Dynamics(kind="underdamped", **wild)).plan
        assert any("forgets its start within about" in line for line in plan.warnings), wild
    assert not build_sampler(BARS, X, dynamics="underdamped").plan.warnings


def test_a_tail_that_no_rails_hold():
    model = SparseCodingModel(bars(2), Cauchy(0.6), 0.5)  # of rank 3: the data leave a direction to the prior
    with pytest.raises(
        InputError, match=r"^the prior Cauchy\(lam=0\.6.* lets u reach .* units, where the data do not hold"
    ):
        build_sampler(model, np.zeros(4))
    build_sampler(SparseCodingModel(bars(2), Cauchy(1.0), 0.5), np.zeros(4))


def test_a_table_that_a_temperature_flattens():
    prior = CustomPrior(lambda s: s**2 / 4, reach=4.0)  # rises by 4
    prior.tempered(1.9)
    with pytest.raises(
        InputError, match=r"^CustomPrior .* at temperature 3\.0: its cost rises by 4 .* <= 2, or a table"
    ):
        prior.tempered(3.0)


def test_the_step_divides_hold():
    sampler = build_sampler(BARS, np.stack([X, 2 * X, -X]), hold=7.77)
    assert f"step {sampler.plan.step:.4g} tau, so that" in sampler.plan.explanation[-1]
    steps = 7.77 / sampler.plan.step
    assert steps == pytest.approx(round(steps), abs=1e-9)
    task = sampler.tasks(sampler.run_plan(warmup=2.0))[0]
    assert task.n_steps == 3 * round(steps)
    assert task.kept(0, task.n_steps).sum() == task.n_draws == len(task.times())
    assert ((task.times() - 1e-6) % 7.77 > 2.0 - 1e-3).all()
