r"""Variational sparse coding as a circuit: its cells alone, its law against closed forms, and the whole chain from x.

The law of a latent is a spike and slab, P = exp(-kappa): mean P mu, second moment P (2 b^2 + mu^2); of nonnegative codes, with
h = exp(-mu/b)/2 and mu > 0, P (1 - h), P (mu + b h), P (mu^2 + 2 b^2 - 2 b^2 h).
"""

import itertools
import json

import numpy as np
import pytest
from cell_bench import bench, deck, differences, jacobian
from scipy.stats import norm
from scipy.stats import t as student
from test_deck import plain_ngspice, z_scores

from circuitlsc import (
    Dynamics,
    InputError,
    RunPlan,
    Samples,
    SimulationError,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.circuit.cells import (
    Exponential,
    Integrator,
    LaplaceMap,
    LaplaceProduct,
    Noise,
    Observation,
    Rectifier,
    ShiftedThreshold,
    Softplus,
    Wires,
)
from circuitlsc.circuit.cells.adaptive import corner
from circuitlsc.circuit.cells.variational import (
    DeviceLaplaceProduct,
    DeviceRectifier,
    DeviceShiftedThreshold,
    exponential_table,
    held_table,
    laplace_table,
    rectifier_table,
    softplus_table,
)
from circuitlsc.circuit.variational import variational
from circuitlsc.drawing.crossbar import column_voltages
from circuitlsc.errors import NetlistError
from circuitlsc.model.encoder import Encoder
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.reference.mcse import mean_with_mcse
from circuitlsc.reference.replicates import replicate_runs
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.simulator.engine import run_chains
from circuitlsc.studies.frame import as_sampling
from circuitlsc.validation.same_noise import same_noise

assert plain_ngspice  # a fixture
WIDTH = 0.06
RTOL = 1e-9
SIZE = 3
ERRORS = {
    "comparator": {"threshold_offset": 5e-3},
    "multiplier": {"gain_error": 0.2, "offset": 5e-3},
    "op_amp": {"offset": 4e-3},
}
MU = np.array([0.0, 0.8, -0.5, 1.6, 0.3, 0.05, -1.2, 0.6])
B = np.array([1.0, 0.3, 0.2, 0.15, 0.5, 0.8, 0.1, 0.4])
P = np.array([0.3, 0.9, 0.5, 0.99, 0.1, 0.02, 0.7, 0.3])
K, D = len(MU), 3
MODEL = SparseCodingModel(np.random.default_rng(0).standard_normal((D, K)), SpikeSlab(0.3, 1.0, signed=True), 0.5)
SHORT = RunPlan(t_stop=12_020.0, warmup=20.0, chains=1, seed=4)
KIND = Dynamics(kind="variational")


def constant(mu=MU, b=B, third=None, **threshold):
    """Return an encoder that gives every input the same heads (of a learned threshold: log-odds of P)."""
    third = () if threshold.get("threshold") else (np.log(P / (1 - P)) if third is None else third,)
    bias = np.concatenate([mu, np.log(b), *third])
    return Encoder(weights=(np.zeros((len(bias), D)),), biases=(bias,), **threshold)


def network(sizes, seed=7, **given):
    """Return a random encoder with hidden layers."""
    rng = np.random.default_rng(seed)
    weights = tuple(0.7 * rng.standard_normal((m, n)) / np.sqrt(n) for n, m in itertools.pairwise(sizes))
    return Encoder(weights=weights, biases=tuple(0.3 * rng.standard_normal(len(w)) for w in weights), **given)


def scores(samples, p, mean, second):
    """Return standard errors by which P, mean and second moment are off, and the codes of each two latents correlated."""
    s = samples.s
    pairs = [(i, j) for i in range(s.shape[-1]) for j in range(i)]
    centred = s - mean
    products = np.stack([centred[..., i] * centred[..., j] for i, j in pairs], axis=-1)
    found = np.concatenate([(s != 0) - p, centred, s**2 - second, products], axis=-1)
    value, error = mean_with_mcse(found)
    return value / error


def signed_law(mu, b, p):
    return p, p * mu, p * (2 * b**2 + mu**2)


def limit(scores):
    """Return how large the largest of so many scores may be: Bonferroni at 1 %."""
    return norm.isf(0.005 / len(scores))


def run_of(source="product", encoder=None, run=SHORT, **given):
    return build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=encoder or constant(), source=source, **given).run(
        run
    )


# --- cells alone ---


def cells_of(scaling):
    hardware = Hardware(Nonidealities(ERRORS, seed=3), scaling)
    shape = {"corner": corner(WIDTH, signed=True)}
    return {
        "rectifier": Rectifier("cell", SIZE, table=rectifier_table()),
        "device rectifier": DeviceRectifier("cell", SIZE, table=rectifier_table(), hardware=hardware),
        "exponential": Exponential("cell", SIZE, table=exponential_table(-3.0, 2.0)),
        "softplus": Softplus("cell", SIZE, table=softplus_table()),
        "map": LaplaceMap("cell", SIZE, table=laplace_table()),
        "product": LaplaceProduct("cell", SIZE),
        "device product": DeviceLaplaceProduct("cell", SIZE, hardware=hardware),
        "threshold": ShiftedThreshold("cell", SIZE, **shape),
        "rectified threshold": ShiftedThreshold("cell", SIZE, rectified=True, **shape),
        "device threshold": DeviceShiftedThreshold("cell", SIZE, hardware=hardware, **shape),
        "rectified device threshold": DeviceShiftedThreshold("cell", SIZE, rectified=True, hardware=hardware, **shape),
    }


NAMES = tuple(cells_of(None))


def points(cell, n, seed=1):
    rng = np.random.default_rng(seed)
    values = {port: rng.uniform(-3, 3, (n, SIZE)) for port in cell.ports}
    values |= {port: np.abs(values[port]) / 3 for port in values if port in ("b", "kappa")}
    if "kappa" in values:  # half of them in the corners
        values["laplace"][::2] = np.sign(values["laplace"][::2]) * values["kappa"][::2] + rng.normal(0, WIDTH, SIZE)
    return values


@pytest.mark.ngspice
@pytest.mark.parametrize("name", NAMES)
def test_a_cell_alone_is_its_numpy_form(name, odd_scaling, solve):
    cell = cells_of(odd_scaling)[name]
    values = points(cell, 4)
    nodes = {port: tuple(f"in_{port}_{i}" for i in range(SIZE)) for port in cell.ports}
    jobs = []
    for k in range(4):
        circuit = bench(cell, scaling=odd_scaling, cell=Wires(nodes, cell.nodes, cell.nodes))
        for port, names in nodes.items():
            for i, node in enumerate(names):
                circuit.V(f"{port}_{i}", node, 0, float(values[port][k, i] * odd_scaling.volt))
        jobs.append((deck(circuit), "op"))
    got = np.array([[answer[node][0] for node in cell.nodes] for answer in solve(jobs)]) / odd_scaling.volt
    expected = cell.evaluate(values)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(got, expected, rtol=RTOL, atol=RTOL)
    if "device" in name:
        ideal = cells_of(odd_scaling)[name.replace("device ", "")].evaluate(values)
        assert np.abs(got - ideal).max() > 1e-2, "negative control: without its errors"


@pytest.mark.parametrize("name", NAMES)
def test_partials_are_the_slopes(name, odd_scaling):
    cell = cells_of(odd_scaling)[name]
    for inputs in ({port: v[k] for port, v in points(cell, 6, seed=2).items()} for k in range(6)):
        for port in cell.ports:
            slopes = jacobian(cell, inputs, port)
            np.testing.assert_allclose(slopes, differences(cell, inputs, port, 1e-7), rtol=1e-6, atol=1e-6)


def test_tables_are_their_functions():
    fixed = constant(threshold="fixed", numbers={"lam": 0.4}).kappa_at
    gamma = constant(threshold="gamma", numbers={"alpha": 1.5, "beta": 2.0}).kappa_at
    u, rho, eta = np.linspace(-5, 5, 999), np.linspace(-3, 2, 999), np.linspace(-11, 11, 999)
    np.testing.assert_allclose(laplace_table()(u), -np.sign(u) * np.log(2 * norm.sf(np.abs(u))), atol=1.3e-3)
    np.testing.assert_allclose(exponential_table(-3.0, 2.0)(rho), np.exp(rho), rtol=5e-4)
    np.testing.assert_allclose(softplus_table()(eta), np.log1p(np.exp(-eta)), atol=5e-4)
    np.testing.assert_allclose(held_table(fixed, -3.0, 2.0)(rho), 0.4 * np.exp(-rho), rtol=5e-4)
    np.testing.assert_allclose(held_table(gamma, -3.0, 2.0)(rho), 1.5 * np.log1p(np.exp(-rho) / 2), rtol=5e-4)
    # far away no threshold is negative and no scale either
    assert softplus_table()(np.array([50.0]))[0] > 0
    assert exponential_table(-3.0, 2.0)(np.array([-50.0]))[0] == np.exp(-3.0)
    assert held_table(fixed, -9.0, 2.0)(np.array([-9.0]))[0] == 16.0


# --- the graph ---


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize(
    ("threshold", "numbers"), [("learned", {}), ("fixed", {"lam": 0.6}), ("gamma", {"alpha": 1.5, "beta": 2.0})]
)
def test_the_heads_are_the_encoders(level, threshold, numbers):
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=True), 0.5)
    heads = 3 if threshold == "learned" else 2
    encoder = network((4, 6, 5, heads * 4), threshold=threshold, numbers=numbers)
    x = np.array([0.7, -0.4, 1.2, 0.3])
    sampler = build_sampler(model, x, dynamics=KIND, encoder=encoder, level=level)
    found, wanted = sampler.twin.signals(np.zeros(4)), encoder.heads(x)
    np.testing.assert_allclose(found["mu"], wanted.mu, atol=1e-9)
    np.testing.assert_allclose(found["scale"], np.exp(wanted.rho), rtol=5e-4)
    np.testing.assert_allclose(found["limit"], wanted.kappa, atol=5e-4)
    assert np.abs(encoder.heads(-x).kappa - wanted.kappa).max() > 1e-2, "negative control: another input"
    assert [type(cell) for cell in sampler.graph.cells].count(Noise) == 4 * (level == "ideal")


def test_its_integrators_have_a_leak_alone():
    twin = build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=constant()).twin
    z = np.random.default_rng(0).standard_normal((2, 4 * K))
    np.testing.assert_array_equal(twin.drift(z), -z)
    np.testing.assert_array_equal(twin.linearise(z)[1], np.broadcast_to(-np.eye(4 * K), (2, 4 * K, 4 * K)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "dice"}, r"encoder.source = 'dice' is not one of product, table\."),
        (
            {"encoder": None, "source": None},
            r'dynamics.kind = "variational" needs an encoder, and none is given\. .*\.',
        ),
        (
            {"encoder": network((D, 12))},
            r"encoder: it takes 3 features to 4 latents, but the model has 3 and 8\. .*\.",
        ),
        ({"encoder": constant(rectified=True)}, r"encoder: its codes are rectified, but the prior is signed\. .*\."),
        (
            {"dynamics": "langevin"},
            r'an encoder and its source belong to dynamics.kind = "variational", and kind is .*\.',
        ),
        ({"width": 0.5}, r"circuit.width = 0.5, but the threshold acts on a Laplace draw of scale 1: .*\."),
        (
            {"loop": "broken"},
            r'circuit.loop = "broken" needs dynamics.kind = "langevin", and it is "variational": .*\.',
        ),
    ],
)
def test_what_is_refused(given, message):
    arguments = {"dynamics": KIND, "encoder": constant(), "source": "table", **given}
    with pytest.raises(InputError, match=f"^{message}$"):
        build_sampler(MODEL, np.zeros(D), **arguments)


def test_its_law_has_no_temperature_and_its_noise_no_code():
    with pytest.raises(InputError, match=r'^dynamics.temperature = 2.0, but kind = "variational" samples .*\.$'):
        Dynamics(kind="variational", temperature=2.0)
    sampler = build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=constant())
    with pytest.raises(InputError, match=r"^the code of a variational circuit is no function of u alone\. "):
        sampler.read(np.zeros(K))
    with pytest.raises(InputError, match=r"^which latents are active is no function of u alone "):
        sampler.active(np.zeros(K))


@pytest.mark.ngspice
@pytest.mark.parametrize("gbw", [1e8, 1e5])
def test_op_amps_faster_than_the_step_are_settled(gbw):
    """A trapezoid of 2 tau would ring for hundreds of steps behind a fast pole; a slow one is there to be seen."""
    given = {"level": "device", "nonideal": {"op_amp": {"gbw": gbw}}, "source": "table"}
    sampler = build_sampler(CHAIN, ROWS, dynamics=KIND, encoder=network((4, 6, 12)), hold=40.0, **given)
    kappa = sampler.run(seed=1, warmup=2.0).by_row("kappa")[0]
    off = np.abs(kappa[:, 0] - kappa[:, -1]).max()
    assert (off < 1e-9) == (gbw == 1e8)
    assert ("taken as settled" in sampler.report()) == (gbw == 1e8)
    slow = build_sampler(CHAIN, ROWS[0], dynamics=KIND, encoder=network((4, 6, 12)), step=1e-3, **given)
    assert len(slow.graph.held(slow.scaling)) > 0, "a step that resolves the poles has them"


def test_what_asks_for_an_energy_refuses_it():
    sampler = build_sampler(CHAIN, ROWS[0], dynamics=KIND, encoder=network((4, 6, 12)), level="device")
    for refused in (
        lambda: replicate_runs(CHAIN, ROWS[0], dynamics=KIND, starts=np.zeros((1, 4)), n_runs=1, length=1.0),
        lambda: as_sampling(KIND, "a budget compares samples"),
    ):
        with pytest.raises(InputError, match='kind = "variational"'):
            refused()
    volts = column_voltages(sampler, np.zeros(4))
    np.testing.assert_allclose(volts["weights_1"][::2], ROWS[0] * sampler.scaling.volt)
    assert set(volts) == {"weights_1", "weights_mu", "weights_rho", "weights_eta"}


def test_the_product_cannot_share_a_supply():
    parts = {"noise": {"supply_correlation": 0.3}}
    with pytest.raises(NetlistError, match=r"noise\.supply_correlation must be 0 here"):
        build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=constant(), level="device", nonideal=parts)


# --- its law ---


@pytest.fixture(scope="module")
def short_runs():
    return {source: run_of(source) for source in ("product", "table")}


@pytest.mark.ngspice
@pytest.mark.parametrize("source", ["product", "table"])
def test_the_law_is_the_closed_form(source, short_runs):
    z = scores(short_runs[source], *signed_law(MU, B, P))
    assert np.abs(z).max() < limit(z), z


@pytest.mark.ngspice
def test_negative_control_a_wrong_kappa(monkeypatch):
    table = softplus_table()
    monkeypatch.setattr(
        "circuitlsc.circuit.variational.softplus_table", lambda: type(table)(table.knots, table.values + 0.15)
    )
    z = scores(run_of("table"), *signed_law(MU, B, P))
    assert np.abs(z[:K]).max() > 1.5 * limit(z)


@pytest.mark.ngspice
def test_negative_control_a_wrong_b(monkeypatch):
    def larger(low, high):
        table = exponential_table(low, high)
        return type(table)(table.knots, 1.3 * table.values)

    monkeypatch.setattr("circuitlsc.circuit.variational.exponential_table", larger)
    z = scores(run_of("table"), *signed_law(MU, B, P))
    assert np.abs(z[2 * K : 3 * K]).max() > 1.5 * limit(z)
    assert np.abs(z[:K]).max() < limit(z), "and P does not depend on b"


@pytest.mark.ngspice
def test_negative_control_correlated_noise():
    """What latents share through the supply leaves each one's law as it is, but not their independence."""
    z = scores(run_of("table", level="device", nonideal={"noise": {"supply_correlation": 0.4}}), *signed_law(MU, B, P))
    assert np.abs(z[: 3 * K]).max() < limit(z)
    assert np.abs(z[3 * K :]).max() > 1.5 * limit(z)


@pytest.mark.ngspice
@pytest.mark.parametrize("source", ["product", "table"])
def test_samples_two_tau_apart_are_independent(source, short_runs):
    """The first autocorrelation of the active indicator; half a tau apart it is far from 0 (negative control)."""

    def first(samples):
        on = (samples.s[0] != 0) - P
        return (on[1:] * on[:-1]).mean(0) / (P * (1 - P)) * np.sqrt(len(on))

    bound = norm.isf(0.005 / K)
    assert np.abs(first(short_runs[source])).max() < bound
    short = RunPlan(t_stop=2020.0, warmup=20.0, chains=1, seed=4)
    assert np.abs(first(run_of(source, run=short, step=0.5))).max() > 2 * bound


@pytest.mark.ngspice
def test_nonnegative_codes_with_a_threshold_from_a_gamma_law():
    mu, b = np.array([0.4, 0.1, 1.0, 0.7]), np.array([0.5, 0.8, 0.3, 0.2])
    g = (1 + 1 / (2.0 * b)) ** -1.5
    encoder = constant(mu, b, threshold="gamma", numbers={"alpha": 1.5, "beta": 2.0}, rectified=True)
    model = SparseCodingModel(np.ones((D, 4)), SpikeSlab(0.3, 1.0), 0.5)
    samples = build_sampler(model, np.zeros(D), dynamics=KIND, encoder=encoder, source="table").run(SHORT)
    h = np.exp(-mu / b) / 2
    law = (g * (1 - h), g * (mu + b * h), g * (mu**2 + 2 * b**2 * (1 - h)))
    z = scores(samples, *law)
    assert samples.s.min() == 0.0
    assert np.abs(z).max() < limit(z), z
    other = scores(samples, *signed_law(mu, b, g))
    assert np.abs(other).max() > 2 * limit(other), "negative control: the signed law"


@pytest.mark.ngspice
def test_offsets_and_gains_do_what_their_closed_forms_say():
    """P becomes exp(-kappa) (exp(o_+) + exp(o_-))/2; gains act on b and mu."""
    parts = {"comparator": {"threshold_offset": 20e-3}, "multiplier": {"gain_error": 0.15}}
    sampler = build_sampler(
        MODEL, np.zeros(D), dynamics=KIND, encoder=constant(), source="table", level="device", nonideal=parts
    )
    cell = next(cell for cell in sampler.graph.cells if isinstance(cell, ShiftedThreshold))
    up, down, scale, shift = cell.errors
    which = np.maximum(up, down) < -np.log(P)  # a comparator that is on without a draw has another law
    (p_up, p_down), b, mu = (P * np.exp(o) / 2 for o in (up, down)), scale * B, shift * MU
    p = p_up + p_down
    law = (p, b * (p_up - p_down) + mu * p, p * (2 * b**2 + mu**2) + 2 * mu * b * (p_up - p_down))
    samples = sampler.run(SHORT)
    z, ideal = (scores(samples, *given)[: 3 * K].reshape(3, K)[:, which] for given in (law, signed_law(MU, B, P)))
    assert which.sum() >= 5
    assert np.abs(z).max() < limit(z.ravel()), z
    assert np.abs(ideal).max() > 2 * limit(z.ravel()), "negative control: without the errors"


@pytest.mark.ngspice
def test_louder_noise_has_a_closed_form():
    """Noise of power 1 + d (product form) makes L larger by 1 + d: kappa acts as kappa/(1 + d), b as b (1 + d)."""
    d = 0.3
    parts = {"noise": {"temperature": 300.0 * (1 + d)}}
    z = scores(run_of("product", level="device", nonideal=parts), *signed_law(MU, B * (1 + d), P ** (1 / (1 + d))))
    assert np.abs(z).max() < limit(z), z


@pytest.mark.ngspice
def test_a_wide_comparator_has_a_closed_form():
    """Read beyond the threshold alone, a comparator of width w has (to its second order) P mu (1 - w log 2) for P mu."""
    w = 0.05
    samples = run_of("table", constant(mu=np.full(K, 1.0), b=np.full(K, 0.05)), width=w)
    which = -np.log(P) > 6 * w  # the two comparators overlap in none
    assert which.sum() >= 4
    p, mean = P[which], (P * (1 - w * np.log(2) + (np.pi * w) ** 2 / 12))[which]
    s = samples.s[..., which]
    value, error = mean_with_mcse(np.concatenate([(s != 0) - p, s - mean], axis=-1))
    z = value / error
    assert np.abs(z).max() < limit(z), z
    sharp, error = mean_with_mcse((s - p).sum(-1, keepdims=True))
    assert np.abs(sharp / error) > 3, "negative control: a sharp one"


def test_its_tables_reach_what_the_law_needs():
    sampler = build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=constant())
    assert sampler.plan.step == 2.0
    assert sampler.ranges.u == pytest.approx(16.0, rel=0.1)
    assert "independent" in sampler.report()
    assert rebuilt(sampler).library_deck == sampler.library_deck


# --- the whole chain from x ---

CHAIN = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=True), 0.5)
ROWS = np.array([[0.7, -0.4, 1.2, 0.3], [-1.0, 0.2, 0.5, 0.9], [0.1, 1.4, -0.6, -0.2]])


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("source", "level", "streamed"),
    [("product", "ideal", True), ("table", "ideal", False), ("product", "device", True), ("table", "device", True)],
)
def test_the_whole_chain_follows_its_twin(source, level, streamed):
    """From x to s on the same noise, with parts that are not right at device level."""
    given = {"level": level, "nonideal": ERRORS if level == "device" else None, "source": source, "tolerance": 1e-8}
    x, times = (ROWS, {"hold": 100.0}) if streamed else (ROWS[0], {})
    sampler = build_sampler(CHAIN, x, dynamics=KIND, encoder=network((4, 6, 12)), **given, **times)
    samples = sampler.run(chains=2, seed=3, warmup=4.0, t_stop=None if streamed else 200.0)
    for name in ("u", "laplace", "kappa", "s"):
        circuit, twin = same_noise(sampler, samples, 10_000, name=name)
        assert circuit.shape == (2, 144 if streamed else 98, 4)
        assert np.sqrt(np.mean((circuit - twin) ** 2)) < 1e-5, name
    assert np.abs(circuit[0] - twin[1]).max() > 0.1, "negative control: the other chain's noise"
    if streamed:
        kappa = samples.by_row("kappa")
        assert np.ptp(kappa, axis=2).max() < 1e-6, "one threshold for all draws of a row"
        assert np.ptp(kappa, axis=1).max() > 1e-2
        if level == "ideal":
            np.testing.assert_allclose(kappa[0, :, 0], network((4, 6, 12)).heads(ROWS).kappa, atol=5e-4)


WRONG = {
    **ERRORS,
    "crossbar": {"levels": 64, "programming_error": 0.02, "wire_resistance": 1.0},
    "op_amp": {"gain": 1e4, "offset": 4e-3, "gbw": 1e8, "slew_rate": 1e7},
}


@pytest.mark.ngspice
@pytest.mark.parametrize(("source", "level"), [("product", "ideal"), ("table", "device")])
def test_the_encoder_of_one_input_is_solved_once(source, level):
    """A stream of that one row has the whole circuit in its transient, and the same samples on the same noise."""
    given = {"dynamics": KIND, "encoder": network((4, 6, 12)), "source": source, "level": level}
    given |= {"nonideal": WRONG} if level == "device" else {}
    run = RunPlan(t_stop=800.0, warmup=4.0, chains=1, seed=3)
    once, whole = build_sampler(CHAIN, ROWS[0], **given), build_sampler(CHAIN, ROWS[:1], hold=800.0, **given)
    one, other = once.run(run), whole.run(run)
    assert one.s.std() > 0.1
    np.testing.assert_allclose(one.s, other.s, atol=1e-9)
    np.testing.assert_allclose(one.states["kappa"], other.states["kappa"], atol=1e-9)
    elsewhere = build_sampler(CHAIN, ROWS[1], **given).run(run)
    assert np.abs(elsewhere.s - one.s).max() > 0.1, "negative control: another input's heads"
    for sampler, there in ((once, False), (whole, True)):
        assert ("xweights_mu" in sampler.library_deck.lower()) == there
        assert (sampler.beside_tasks == b"") == there
        assert ("solved once" in sampler.report()) == (not there)
    assert "weights_mu" in once.deck(t_stop=100.0), "a stand-alone deck has the encoder"
    np.testing.assert_allclose(once.twin.signals(np.zeros(4))["limit"], one.states["kappa"][0, 0], atol=1e-8)


@pytest.mark.ngspice
def test_slow_op_amps_of_one_input_have_settled():
    """Behind a pole of 0.3 tau or so the whole circuit comes to where one input is from its start on."""
    given = {"dynamics": KIND, "encoder": network((4, 6, 12)), "source": "table", "level": "device"}
    given["nonideal"] = {"op_amp": {"gbw": 1e5}}
    run = RunPlan(t_stop=200.0, warmup=0.0, chains=1, seed=3)
    once, whole = build_sampler(CHAIN, ROWS[0], **given), build_sampler(CHAIN, ROWS[:1], hold=200.0, **given)
    one, other = (sampler.run(run).states["kappa"][0] for sampler in (once, whole))
    assert np.ptp(one, axis=0).max() < 1e-9
    assert np.abs(other[0] - one[0]).max() > 1e-2, "negative control: it begins elsewhere"
    np.testing.assert_allclose(other[-1], one[-1], atol=1e-9)


@pytest.mark.ngspice
def test_what_was_not_solved_is_an_error():
    sampler = build_sampler(CHAIN, ROWS[0], dynamics=KIND, encoder=network((4, 6, 12)))
    tasks = sampler.tasks(RunPlan(t_stop=60.0, chains=1))
    with pytest.raises(SimulationError, match=r"an external source of the deck has no path"):
        run_chains(tasks)
    needed = json.loads(sampler.beside_tasks)
    lost = json.dumps({"solved_once": {**needed["solved_once"], "nodes": ["mu_0", "nowhere"]}}).encode()
    with pytest.raises(SimulationError, match=r"no operating point of v\(nowhere\), which a constant input fixes"):
        run_chains(tasks, contents=[lost])


@pytest.mark.ngspice
def test_its_samples_survive_a_file(tmp_path):
    samples = run_of("product", run=RunPlan(t_stop=60.0, warmup=20.0, chains=1, seed=1))
    assert set(samples.states) == {"u", "u2", "u3", "u4", "laplace", "kappa"}
    samples.save(tmp_path / "samples.nc")
    again = Samples.load(tmp_path / "samples.nc")
    np.testing.assert_array_equal(again.s, samples.s)
    np.testing.assert_array_equal(again.states["laplace"], samples.states["laplace"])
    on = np.abs(samples.states["laplace"]) > samples.states["kappa"]
    np.testing.assert_array_equal(samples.s != 0, on)


def test_its_stand_alone_deck_holds_noise_for_a_tenth_of_a_tau():
    """Held for 2 tau it would make a variance of (1 - e^-2)^2/(1 - e^-4) = 0.76."""
    sampler = build_sampler(CHAIN, ROWS, dynamics=KIND, encoder=network((4, 6, 12)), hold=100.0)
    text = sampler.deck(t_stop=300.0)
    assert f"t_hold={0.1 * sampler.scaling.tau!r}" in text
    assert "PWL(" in text
    assert "external" not in text
    assert text.startswith("* circuitlsc sampler: 4 x 4, spike-slab prior, feed-forward\n")
    assert "* law      s = 0 if |L| <= kappa, else" in text
    cells = {type(cell) for cell in sampler.graph.cells}
    assert {Observation, Integrator, LaplaceProduct, ShiftedThreshold} <= cells


# --- the same at length ---


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("source", ["product", "table"])
def test_forty_thousand_points(source, level):
    samples = run_of(source, run=RunPlan(t_stop=80_020.0, warmup=20.0, chains=1, seed=8), level=level)
    p, mean, second = signed_law(MU, B, P)
    s = samples.s[0]
    z = scores(samples, p, mean, second)
    assert len(s) == 40_000
    assert np.abs(z).max() < limit(z), z
    assert np.abs((s != 0).mean(0) - p).max() <= 0.01
    assert np.abs(s.mean(0) - mean).max() <= 0.015
    assert np.abs(s.std(0) - np.sqrt(second - mean**2)).max() <= 0.03
    # integrated autocorrelation time of the active indicator: what is left of it after two steps is less still
    on = (s != 0) - p
    rho = [(on[k:] * on[:-k]).mean(0) / (p * (1 - p)) for k in (1, 2)]
    np.testing.assert_allclose(1 + 2 * np.sum(rho, axis=0), 1.0, atol=0.06)


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize(("source", "level"), [("table", "ideal"), ("product", "device")])
def test_means_in_plain_ngspice(source, level, plain_ngspice):
    sampler = build_sampler(MODEL, np.zeros(D), dynamics=KIND, encoder=constant(), source=source, level=level)
    texts = [sampler.deck(t_stop=400.0, seed=seed) for seed in range(8)]
    runs = np.array([list(plain_ngspice(text).values()) for text in texts]) / sampler.scaling.volt
    bound = student.isf(0.005 / K, len(texts) - 1)
    assert np.abs(z_scores(runs, P * MU)).max() < bound
    assert np.abs(z_scores(runs, 1.1 * P * MU)).max() > bound, "negative control: other means"


@pytest.mark.slow
@pytest.mark.ngspice
def test_any_other_step_has_the_same_law():
    for step in (0.2, 5.0):
        samples = run_of("product", run=RunPlan(t_stop=20_000.0, warmup=20.0, chains=1, seed=8), step=step)
        z = scores(samples, *signed_law(MU, B, P))
        assert np.abs(z).max() < limit(z), (step, z)


def test_one_graph_is_built_from_python():
    graph = variational(MODEL, np.zeros(D), constant(), source="table", width=0.01)
    assert [cell.letter for cell in graph.integrators] == ["u"]
    assert {"laplace", "kappa", "b", "mu", "rho", "eta", "s", "x"} <= {cell.letter for cell in graph.cells}
