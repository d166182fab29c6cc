"""Every system as a graph, a netlist and its NumPy twin: equations, paths, settled codes, stationary laws."""

import numpy as np
import pytest

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Dynamics,
    Gaussian,
    InputError,
    Laplace,
    Nonidealities,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
    read_map,
)
from circuitlsc.circuit.graph import Twin
from circuitlsc.circuit.systems import gradient, lca, lsc, underdamped
from circuitlsc.model.lca import threshold_code
from circuitlsc.reference.map_estimate import hard_objective, lasso_map, objective
from circuitlsc.reference.statistics import floored_mcse, summarize
from circuitlsc.validation.judge import exact_statistics, tolerance_scale
from circuitlsc.validation.same_noise import path_difference

KINDS = ("langevin", "gradient", "lca", "underdamped")
A = np.random.default_rng(5).standard_normal((5, 4))
SIGMA, LAM = 0.7, 1.4


def laplace(signed):
    return SparseCodingModel(A, Laplace(LAM, signed), SIGMA)


@pytest.fixture
def obs():
    return laplace(True).draw(np.random.default_rng(6))[1]


def states(n, scale=1.5, seed=0):
    return scale * np.random.default_rng(seed).standard_normal((200, n))


# --- equations ---


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("hard", [True, False])
def test_lca_is_rozells_equation(form, signed, hard, obs):
    """Du/dt = A^T x - u - (A^T A - I) s, s = threshold(u) at lam sigma^2, where no comparator rounds it."""
    model, theta, width = laplace(signed), LAM * SIGMA**2, 1e-3
    twin = Twin(lca(model, obs, threshold="hard" if hard else "soft", form=form, width=width))
    u = states(4)
    far = (np.abs(np.abs(u) - theta) > 15 * width).all(axis=1)
    u = u[far]
    s = threshold_code(u, theta, signed=signed, hard=hard)
    expected = obs @ A - u - s @ (A.T @ A - np.eye(4))
    np.testing.assert_allclose(twin.drift(u), expected, atol=1e-4)
    wrong = obs @ A - u - s @ (A.T @ A)
    assert np.abs(twin.drift(u) - wrong).max() > 0.1


def test_gradient_descends_the_energy(form, obs):
    """Signed codes: the drift is that of the sampler, and minus the energy's gradient by finite differences."""
    model, width = laplace(True), 0.05
    twin = Twin(gradient(model, obs, form=form, width=width))
    u, d = states(4), 1e-6
    far = (np.abs(u) > 8 * width).all(axis=1)
    numeric = np.stack(
        [(model.energy(u + d * e, obs, width) - model.energy(u - d * e, obs, width)) / (2 * d) for e in np.eye(4)],
        axis=-1,
    )
    np.testing.assert_allclose(twin.drift(u)[far], -numeric[far], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(twin.drift(u), Twin(lsc(model, obs, form=form, width=width)).drift(u))


def test_gradient_of_nonnegative_codes_has_a_rectifier(form, obs):
    model, width = laplace(False), 1e-3
    twin = Twin(gradient(model, obs, form=form, width=width))
    u = np.abs(states(4)) + 1e-2
    expected = -((u @ A.T - obs) @ A / SIGMA**2 + LAM)
    np.testing.assert_allclose(twin.drift(u), expected, rtol=1e-9, atol=1e-9)
    below = np.full((1, 4), -2 * width)  # pushed back, whatever the data ask for
    assert (twin.drift(below) > 0).all()


def test_underdamped_is_two_first_order_equations(model, x, form):
    """Du/dt = omega p, dp/dt = omega f - omega^2 gamma p, with f the overdamped drift; noise into p alone."""
    mass, friction = 0.3, 0.6
    omega = mass**-0.5
    twin = Twin(underdamped(model, x, mass=mass, friction=friction, temperature=1.7, form=form, width=0.05))
    over = Twin(lsc(model, x, form=form, width=0.05))
    z = states(8)
    u, p = z[:, :4], z[:, 4:]
    expected = np.concatenate([omega * p, omega * over.drift(u) - omega**2 * friction * p], axis=1)
    np.testing.assert_allclose(twin.drift(z), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(twin.spread(np.eye(4)), np.hstack([np.zeros((4, 4)), omega * friction**0.5 * np.eye(4)]))
    drift, jacobian = twin.linearise(z)
    np.testing.assert_allclose(drift, twin.drift(z))
    d = 1e-7
    numeric = np.stack([(twin.drift(z + d * e) - twin.drift(z - d * e)) / (2 * d) for e in np.eye(8)], axis=-1)
    close = np.abs(numeric - jacobian).max(axis=(1, 2)) < 1e-4 * (1 + np.abs(jacobian).max())
    assert close.mean() > 0.9  # all but the states whose neighbourhood holds a knot


def test_orthonormal_atoms_do_not_inhibit_each_other():
    """A^T A - I = 0: a crossbar without conductances, and each neuron alone."""
    model = SparseCodingModel(np.eye(3), Laplace(0.5), 1.0)
    for level in ("ideal", "device"):
        sampler = build_sampler(model, [2.0, -1.0, 0.1], dynamics="lca", level=level)
        np.testing.assert_allclose(sampler.twin.drift(np.zeros((1, 3)))[0], [2.0, -1.0, 0.1], atol=1e-9)


def test_lca_needs_the_l1_prior(obs):
    with pytest.raises(InputError, match=r'^dynamics\.kind = "lca" has the L1 prior, and this is gaussian\.'):
        build_sampler(SparseCodingModel(A, Gaussian(1.0), SIGMA), obs, dynamics="lca")


# --- netlist against twin ---


@pytest.mark.ngspice
@pytest.mark.parametrize(  # each pair of two, in both forms; the others are slow
    ("kind", "level", "signed"),
    [
        pytest.param(kind, level, signed, marks=() if k % 2 ^ (level == "device") ^ signed else pytest.mark.slow)
        for k, kind in enumerate(KINDS)
        for level in ("ideal", "device")
        for signed in (True, False)
    ],
)
def test_netlist_follows_its_twin(kind, level, signed, form):
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.4, LAM, signed), SIGMA)
    obs = model.draw(np.random.default_rng(6))[1]
    # wide comparators: where a narrow one switches, ngspice takes shorter steps than the twin
    width = 0.03 if kind in ("gradient", "lca") else None
    sampler = build_sampler(model, obs, dynamics=kind, level=level, form=form, width=width, tolerance=1e-7)
    samples = sampler.run(t_stop=60.0, warmup=0.0, chains=1, seed=3, thin=1)
    assert path_difference(sampler, samples, 400).rms < 1e-5
    assert int(samples.stats["rejected"].sum()) == 0


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", KINDS)
def test_imperfect_netlist_follows_its_twin(kind, form):
    """Every static error of the parts is in the twin; leaving one out shows."""
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.4, LAM, signed=True), SIGMA)
    obs = model.draw(np.random.default_rng(6))[1]
    parts = {
        "crossbar": {"programming_error": 0.03},
        "op_amp": {"gain": 1e4, "offset": 1e-3},
        "integrator": {
            "output_resistance": 2e7,
            "offset_current": 3e-9,
            "capacitance_mismatch": 0.05,
            "friction_mismatch": 0.1,
        },
        "comparator": {"threshold_offset": 1e-3, "gate_offset": 1e-3},
        "multiplier": {"gain_error": 0.05, "offset": 1e-3},
        "transconductor": {"gain_error": 0.05, "offset": 1e-3},
        "prior": {"lam_mismatch": 0.05},
        "noise": {"temperature_mismatch": 0.05, "offset": 1e-6},
        "corner": {"resistance": 1.03, "capacitance": 0.97},
    }
    width = 0.03 if kind in ("gradient", "lca") else None
    given = {"dynamics": kind, "level": "device", "form": form, "width": width, "tolerance": 1e-7}
    sampler = build_sampler(model, obs, nonideal=Nonidealities(parts, seed=4), **given)
    samples = sampler.run(t_stop=60.0, warmup=0.0, chains=1, seed=3, thin=1)
    assert path_difference(sampler, samples, 400).rms < 2e-5
    ideal = build_sampler(model, obs, **given)
    first = sampler.twin.drift(sampler.twin.full_state(states(4))) - ideal.twin.drift(ideal.twin.full_state(states(4)))
    assert np.abs(first).max() > 1e-2


@pytest.mark.ngspice
@pytest.mark.parametrize(  # each pair of two words, in both forms; the others are slow
    ("kind", "level", "interpolate"),
    [
        pytest.param(
            kind,
            level,
            way,
            marks=() if (kind == "lca") ^ (level == "device") ^ (way == "linear") else pytest.mark.slow,
        )
        for kind in ("langevin", "lca")
        for level in ("ideal", "device")
        for way in ("hold", "linear")
    ],
)
def test_streams_follow_their_twin(kind, level, interpolate, form):
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.4, LAM, signed=True), SIGMA)
    rng = np.random.default_rng(8)
    rows = np.stack([model.draw(rng)[1] for _ in range(6)])
    given = {"hold": 5.0, "interpolate": interpolate, "level": level, "form": form, "dynamics": kind}
    width = 0.03 if kind == "lca" else None
    sampler = build_sampler(model, rows, width=width, tolerance=1e-7, **given)
    samples = sampler.run(warmup=1.0, seed=2)
    assert samples.by_row().shape[:2] == (1, 6)
    with pytest.raises(InputError, match=r"^by_row: name = 'w' is not one of u, s"):
        samples.by_row("w")
    assert samples.x.shape == (6, 5)
    assert path_difference(sampler, samples, 10**6).rms < 1e-5


# --- settled codes ---


def problems():
    """Return 20 random problems: sizes up to 64 x 64, nonnegative and signed, norms equal and not."""
    out = []
    for trial in range(20):
        rng = np.random.default_rng([9, trial])
        n, k = [(8, 8), (16, 8), (8, 16), (32, 32), (64, 64), (32, 64)][trial % 6]
        atoms = rng.standard_normal((n, k)) / np.sqrt(n)
        if trial % 3 == 0:
            atoms *= rng.uniform(0.5, 2.0, k)
        prior = Laplace([1.0, 3.0, 0.5][trial % 3], signed=trial % 2 == 0)
        model = SparseCodingModel(atoms, prior, [0.1, 0.3, 0.5, 1.0][trial % 4])
        out.append((model, model.draw(rng)[1]))
    return out


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["gradient", "lca"])
@pytest.mark.parametrize("trial", [*range(4), *(pytest.param(t, marks=pytest.mark.slow) for t in range(4, 20))])
def test_settled_code_is_the_lasso(kind, trial):
    model, obs = problems()[trial]
    sampler = build_sampler(model, obs, dynamics=kind)
    samples = sampler.run()
    code, reference = samples.s[0, -1], lasso_map(model, obs)
    assert objective(model, code, obs) <= reference.objective * (1 + 1e-3)
    settled = read_map(sampler, samples)
    assert settled.rows[0].objective == pytest.approx(float(objective(model, code, obs)))
    assert settled.verdict == "agrees", settled.reason
    assert 0 < settled.rows[0].settling_time <= samples.time[-1] * (1 + 1e-9)
    if settled.rows[0].settled:
        assert settled.rows[0].same_support


@pytest.mark.slow
@pytest.mark.ngspice
def test_a_wrong_lam_does_not_settle_on_the_lasso():
    """The negative control of the test above."""
    model, obs = problems()[4]
    wrong = SparseCodingModel(model.A, Laplace(1.2 * model.prior.lam, model.prior.signed), model.sigma)
    code = build_sampler(wrong, obs, dynamics="lca").run().s[0, -1]
    assert objective(model, code, obs) > lasso_map(model, obs).objective * (1 + 1e-3)


@pytest.mark.ngspice
def test_a_hard_threshold_settles_on_a_least_squares_fit():
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 2.0), 0.5)
    for seed in range(3):
        obs = model.draw(np.random.default_rng(seed))[1]
        sampler = build_sampler(model, obs, dynamics=Dynamics(kind="lca", threshold="hard"))
        settled = read_map(sampler, sampler.run())
        assert settled.verdict == "agrees", settled.reason
        code = settled.rows[0].code
        on = code != 0
        np.testing.assert_allclose(code[on], np.linalg.lstsq(model.A[:, on], obs)[0], atol=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("prior", [Cauchy(2.0), Cauchy(2.0, signed=False), Gaussian(0.8)], ids=repr)
def test_gradient_settles_on_a_minimum_of_other_costs(prior):
    model = SparseCodingModel(A, prior, SIGMA)
    obs = model.draw(np.random.default_rng(3))[1]
    sampler = build_sampler(model, obs, dynamics="gradient")
    settled = read_map(sampler, sampler.run())
    assert settled.verdict == "agrees", settled.reason
    assert settled.rows[0].gap < 1e-4


@pytest.mark.ngspice
def test_a_run_that_is_too_short_has_not_settled():
    model, obs = problems()[4]
    sampler = build_sampler(model, obs, dynamics="lca")
    settled = read_map(sampler, sampler.run(t_stop=0.5))
    assert settled.verdict == "inconclusive"
    assert "had not settled" in settled.reason


@pytest.mark.ngspice
def test_sparse_records_do_not_make_a_short_run_settled():
    """7 does not divide the number of steps: the last record is before the end, and the run did not end itself."""
    model, obs = problems()[4]
    sampler = build_sampler(model, obs, dynamics="lca")
    settled = read_map(sampler, sampler.run(t_stop=0.5, thin=round(0.3 / sampler.plan.step)))
    assert settled.verdict == "inconclusive"
    assert not settled.rows[0].settled


@pytest.mark.ngspice
def test_a_constant_in_the_cost_does_not_matter():
    obs = SparseCodingModel(A, Laplace(1.4), SIGMA).draw(np.random.default_rng(3))[1]
    gaps = []
    for constant in (0.0, 100.0):
        prior = CustomPrior(lambda s, c=constant: np.sqrt(s**2 + 0.01) + c, reach=8.0)
        sampler = build_sampler(SparseCodingModel(A, prior, SIGMA), obs, dynamics="gradient")
        gaps.append(read_map(sampler, sampler.run(t_stop=2.0)).rows[0].gap)
    assert gaps[0] == pytest.approx(gaps[1], rel=0.05, abs=1e-9)


@pytest.mark.ngspice
def test_of_several_starts_the_lowest_minimum_is_read():
    rng = np.random.default_rng(8)
    atoms = rng.standard_normal((6, 8))
    model = SparseCodingModel(atoms / np.linalg.norm(atoms, axis=0), Laplace(1.0), 0.5)
    spread = []
    for _ in range(5):
        sampler = build_sampler(model, model.draw(rng)[1], dynamics=Dynamics(kind="lca", threshold="hard"))
        samples = sampler.run(chains=3, seed=1)
        values = [float(hard_objective(model, code, sampler.x)) for code in samples.s[:, -1]]
        row = read_map(sampler, samples).rows[0]
        assert row.objective == min(values) == values[row.chain]
        spread.append(np.ptp(values))
    assert max(spread) > 0.01  # there are several minima


@pytest.mark.ngspice
def test_atoms_that_depend_on_each_other_behind_a_hard_threshold():
    """Bars: the rows' sum is the columns'. A least-squares fit on such a support is not unique, nor nonnegative."""
    model = SparseCodingModel(bars(2), Laplace(0.2, signed=False), 0.7)
    rng = np.random.default_rng(0)
    rows = (rng.exponential(1.0, (60, 4)) * (rng.random((60, 4)) < 0.7)) @ model.A.T
    sampler = build_sampler(model, rows, hold=25.0, dynamics=Dynamics(kind="lca", threshold="hard"))
    settled = read_map(sampler, sampler.run())
    assert settled.verdict == "agrees", settled.reason


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["gradient", "lca"])
def test_codes_of_a_stream_are_those_of_each_input(kind):
    model = SparseCodingModel(bars(4), Laplace(1.0, signed=False), 0.5)
    rng = np.random.default_rng(4)
    rows = np.stack([model.draw(rng)[1] for _ in range(30)])
    sampler = build_sampler(model, rows, dynamics=kind, hold=40.0)
    settled = read_map(sampler, sampler.run())
    assert settled.verdict == "agrees", settled.reason
    for row, obs in zip(settled.rows, rows, strict=True):
        # all rows are as bright as all columns: the code may differ along that direction, the objective not
        assert row.objective == pytest.approx(lasso_map(model, obs).objective, rel=1e-4)
    assert len(settled.to_dict()["objective"]) == 30


# --- stationary laws ---


def assert_law(sampler, target, samples):
    """Assert P(active), mean and sd within 4 MCSE + 0.005 of the exact posterior of ``target``."""
    measured = summarize(samples.s, sampler.active(samples.u), model=target, x=sampler.x, method="circuit")
    exact = exact_statistics(target, sampler.x, seed=1)
    mcse, scale = floored_mcse(measured, exact), tolerance_scale(target, exact)
    assert measured.ess_min > 200
    for name in ("p_active", "mean", "sd"):
        unit = 1.0 if name == "p_active" else scale
        se = np.hypot(mcse[name], getattr(exact, f"{name}_mcse"))
        d = np.abs(getattr(measured, name) - getattr(exact, name))
        assert (d < 4 * se + 0.005 * unit).all(), (name, d, se)


LAWS = {
    "L1, two-sided": Laplace(1.4),
    "L1, one-sided": Laplace(1.4, signed=False),
    "spike-slab": SpikeSlab(0.3, 1.4),
    "spike-slab, signed": SpikeSlab(0.3, 1.4, signed=True),
}
#: every prior, temperature and kind; all of them together are slow
SOME = [
    ("langevin", 2.0, "spike-slab, signed"),
    ("langevin", 0.5, "L1, two-sided"),
    ("underdamped", 1.0, "spike-slab, signed"),
    ("underdamped", 2.0, "L1, two-sided"),
]


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("kind", "temperature", "prior"),
    [
        pytest.param(
            kind,
            temperature,
            prior,
            id=f"{kind}-{temperature}-{name}",
            marks=() if (kind, temperature, name) in SOME else pytest.mark.slow,
        )
        for kind in ("langevin", "underdamped")
        for temperature in (0.5, 1.0, 2.0)
        for name, prior in LAWS.items()
    ],
)
def test_samples_are_those_of_the_tempered_posterior(kind, temperature, prior):
    """Exp(-E/T): pi^(1/T), lam/T, sigma sqrt(T); 4 standard errors of about 12 statistics fail with chance 1e-3."""
    model = SparseCodingModel(A, prior, SIGMA)
    obs = model.draw(np.random.default_rng(6))[1]
    sampler = build_sampler(model, obs, dynamics=Dynamics(kind=kind, temperature=temperature))
    target = model.tempered(temperature)
    assert target.sigma == pytest.approx(SIGMA * temperature**0.5)
    assert_law(sampler, target, sampler.run(t_stop=1500.0, seed=7))


@pytest.mark.ngspice
@pytest.mark.parametrize("kind", ["langevin", pytest.param("underdamped", marks=pytest.mark.slow)])
def test_another_temperature_is_noticed(kind):
    """The negative control: T = 2 is not the posterior, nor is the one that keeps pi."""
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.4), SIGMA)
    obs = model.draw(np.random.default_rng(6))[1]
    sampler = build_sampler(model, obs, dynamics=Dynamics(kind=kind, temperature=2.0))
    samples = sampler.run(t_stop=1500.0, seed=7)
    with pytest.raises(AssertionError):
        assert_law(sampler, model, samples)
    keeps_pi = SparseCodingModel(A, SpikeSlab(0.3, 0.7), SIGMA * 2**0.5)
    with pytest.raises(AssertionError):
        assert_law(sampler, keeps_pi, samples)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("mass", "friction"), [*(pytest.param(None, f, marks=pytest.mark.slow) for f in (0.1, 3.0)), (1.0, 0.5)]
)
def test_mass_and_friction_do_not_change_the_law(mass, friction):
    model = SparseCodingModel(bars(4), SpikeSlab(0.3, 1.0), 0.5)
    obs = model.draw(np.random.default_rng(5))[1]
    dynamics = Dynamics(kind="underdamped", mass=mass, friction=friction)
    sampler = build_sampler(model, obs, dynamics=dynamics)
    samples = sampler.run(t_stop=4000.0, seed=8)
    assert_law(sampler, model, samples)
    p = samples.tree["posterior"]["p"].values
    assert p.var() == pytest.approx(1.0, abs=0.05)  # T, whatever the mass


@pytest.mark.ngspice
@pytest.mark.parametrize("step", [0.02, 0.05])
def test_linear_underdamped_circuits_are_exact_at_every_step(step):
    model = SparseCodingModel(A, Gaussian(0.8), SIGMA)
    obs = model.draw(np.random.default_rng(6))[1]
    sampler = build_sampler(model, obs, dynamics=Dynamics(kind="underdamped", friction=0.5), step=step)
    assert_law(sampler, model, sampler.run(t_stop=1500.0, seed=9))
