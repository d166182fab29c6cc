"""Cells whose threshold, rate and noise level are voltages: their tables, slopes, and each alone in ngspice."""

import itertools

import numpy as np
import pytest
from cell_bench import bench, deck, differences, jacobian

from circuitlsc import SpikeSlab
from circuitlsc.circuit.cells import (
    AdaptiveGate,
    AdaptiveThreshold,
    Follower,
    NoiseRule,
    Precision,
    RateRule,
    ThresholdRule,
    Wires,
    corner,
)
from circuitlsc.circuit.cells.adaptive import LEAST

WIDTH, LAM, PI = 0.06, 1.4, 0.3
U0 = -np.log(PI) / LAM
RTOL = 1e-9
N = 3  # latents, or pixels


@pytest.fixture(params=[False, True], ids=["nonnegative", "signed"])
def signed(request):
    return request.param


# --- the tables of a corner ---

EXACT = {  # functions of y = v/w, and their second derivatives
    "gate": (lambda y: 1 / (1 + np.exp(-y)), lambda y: np.tanh(y / 2) / np.cosh(y / 2) ** 2 / 4),
    "code": (lambda y: np.logaddexp(0, y), lambda y: 0.25 / np.cosh(y / 2) ** 2),
    "size": (lambda y: np.logaddexp(y, -y), lambda y: 1 / np.cosh(y) ** 2),
}


def bound(name, table, width):
    """Return the most by which a table may differ from its function in each segment, in units of 1 or w.

    A chord is off by h^2/8 max|f''|. A chord's integral is off by half that of (v - a)(b - v)|f''|, at most h^2/8 times how
    much the slope's slope varies; these errors add up from the end where code and size are right. Where functions are cut
    off, they have e^-12 (the size's slope 2 e^-12, at 6 widths) left: times the segments before.
    """
    pieces = np.array([np.linspace(a, b, 200) / width for a, b in itertools.pairwise(table.knots)])
    h = pieces[:, -1] - pieces[:, 0]
    chord = h**2 / 8 * np.abs(EXACT[name][1](pieces)).max(1)
    if name == "gate":
        return chord + np.exp(-12.0)
    bends = EXACT[name][1](pieces)  # the slope's slope
    integral = h**2 / 8 * np.abs(np.diff(bends, axis=1)).sum(1)
    integral = np.cumsum(integral) if name == "code" else np.cumsum(integral[::-1])[::-1]
    return chord + integral + 2 * np.exp(-12.0) * (1 + h[0] + h[1])


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("width", [0.06, 0.002])
def test_tables_follow_their_functions(name, width):
    table, wrong = (getattr(corner(w, signed=False), name) for w in (width, 1.2 * width))
    most, unit = bound(name, table, width), 1.0 if name == "gate" else width
    pieces = [np.linspace(a, b, 50) for a, b in itertools.pairwise(table.knots)]
    errors = [[np.abs(t(v) / unit - EXACT[name][0](v / width)).max() for v in pieces] for t in (table, wrong)]
    assert (errors[0] < most).all()
    assert (errors[1] > most).any(), "negative control: another width would be seen"


def test_sign_is_the_fixed_priors():
    """Max of tanh(y) - y/1.8 is .223; beyond 1.8 widths 1 - tanh is .053."""
    sign, u = corner(WIDTH, signed=True).sign, np.linspace(-1, 1, 4001)
    error = np.abs(sign(u) - np.tanh(u / WIDTH))
    assert error.max() < 0.224
    assert error[np.abs(u) > 1.8 * WIDTH].max() < 0.054


def test_code_is_the_integral_of_the_gate(signed):
    """The mean gate over any segment is the slope of the code there, so that the drift is a gradient."""
    c = corner(WIDTH, signed=signed)
    np.testing.assert_array_equal(c.code.knots, c.gate.knots)
    mean = (c.gate.values[1:] + c.gate.values[:-1]) / 2
    np.testing.assert_allclose(np.diff(c.code.values) / np.diff(c.code.knots), mean, rtol=1e-9, atol=1e-12)


def test_far_from_the_corners_the_code_is_sharp(signed):
    """However large the state: soft threshold, unit force, and the size that the rule of lam takes."""
    c = corner(WIDTH, signed=signed)
    u = np.array([-1000.0, -3.0, -0.02 if signed else 0.0, U0 + 13 * WIDTH, 3.0, 1000.0])
    v, size = c.values(u, np.full(1, U0)), np.maximum(np.abs(u) - U0, 0.0)
    on = (np.abs(u) > U0).astype(float)
    outward = np.sign(u)
    np.testing.assert_allclose(v.s.value, size * outward if signed else size, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(v.size.value, size, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(v.on.value, on, atol=1e-12)
    np.testing.assert_allclose(v.force.value, on if signed else on * outward, atol=1e-12)
    np.testing.assert_allclose(v.push.value, on * outward if signed else on, atol=1e-12)


def test_threshold_and_gate_are_the_fixed_priors_at_its_threshold(signed):
    """What moves is where the fixed prior's cells stand still: the same code and force, to the error of both tables."""
    prior, c, u = SpikeSlab(PI, LAM, signed), corner(WIDTH, signed=signed), np.linspace(-4, 4, 8001)[:, None]
    u0 = np.full(1, U0)
    s = AdaptiveThreshold("threshold", 1, c).evaluate({"u": u, "u0": u0})
    most = WIDTH * (bound("code", c.code, WIDTH).max() + bound("size", c.size, WIDTH).max())
    assert np.abs(s - prior.latent(u, WIDTH)).max() < most
    assert np.abs(s - SpikeSlab(PI * 1.1, LAM, signed).latent(u, WIDTH)).max() > most, "negative control"
    force = {e: -AdaptiveGate("gate", 1, c, LAM).evaluate({"u": u, "e": np.full(1, e), "u0": u0}) for e in (0.0, 1.0)}
    assert np.abs(force[0.0] - LAM * np.tanh(u / WIDTH)).max() < 0.224 * LAM
    # the gate's own table, where a_w - u0 is the nonnegative prior's argument: its error moves g by a quarter of it
    gate = bound("gate", c.gate, WIDTH).max() + 0.25 * bound("size", c.size, WIDTH).max()
    far = np.abs(u) > 3 * WIDTH  # nearer, the sign's four knots are the error; there the gate is shut
    assert np.abs(force[1.0] - force[0.0] - prior.latent_grad(u, WIDTH))[far].max() < gate
    assert np.abs(force[1.0] - force[0.0])[~far].max() < 1e-4


# --- slopes ---


def cells_of(signed):
    c = corner(WIDTH, signed=signed)
    return {
        "threshold": AdaptiveThreshold("threshold", N, c),
        "gate": AdaptiveGate("gate", N, c, LAM),
        "gate-lam": AdaptiveGate("gate", N, c, None),
        "threshold-rule": ThresholdRule("threshold_rule", 1, c),
        "rate-rule": RateRule("rate_rule", 1, c),
        "noise-rule": NoiseRule("noise_rule", 1, N),
        "precision": Precision("precision", N),
        "follower": Follower("u0", 1, PI),
    }


CELLS = list(cells_of(False))
RANGES = {
    "u": (-2.0, 2.0),
    "e": (-9.0, 9.0),
    "r": (-2.0, 2.0),
    "u0": (0.4, 1.2),
    "lam": (0.6, 2.0),
    "sigma": (0.3, 0.9),
}


def inputs_of(cell, rng, n=()):
    shared = {"u0", "lam", "sigma"}
    return {p: rng.uniform(*RANGES[p], (*n, 1 if p in shared else N)) for p in cell.ports}


@pytest.mark.parametrize("name", CELLS)
def test_partials_are_the_slopes(name, signed):
    """Also close to the corners, where the tables bend."""
    cell, rng = cells_of(signed)[name], np.random.default_rng(3)
    for _ in range(30):
        inputs = inputs_of(cell, rng)
        if "u" in inputs:
            near = rng.choice([-1, 1], N) * inputs.get("u0", 0.0) * rng.integers(0, 2, N)
            inputs["u"] = near + rng.normal(0, 2 * WIDTH, N)
        assert set(cell.partials(inputs)) == set(cell.ports)
        for port in cell.ports:
            slopes = differences(cell, inputs, port, 1e-7)
            np.testing.assert_allclose(jacobian(cell, inputs, port), slopes, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("name", CELLS)
def test_cells_take_many_states_at_once(name, signed):
    cell = cells_of(signed)[name]
    many = inputs_of(cell, np.random.default_rng(4), (5,))
    values, partials = cell.respond(many)
    for k in range(5):
        one = {port: value[k] for port, value in many.items()}
        np.testing.assert_array_equal(values[k], cell.evaluate(one))
        for port, partial in cell.partials(one).items():
            np.testing.assert_array_equal(partials[port][k], partial)


# --- what the rules are ---


def test_rules_are_their_equations_away_from_the_corners(signed):
    rng, cells = np.random.default_rng(5), cells_of(signed)
    u = np.array([1.9, -2.1, 0.1])  # on, on, off: by 13 widths or more
    e, r, u0, lam, sigma = rng.normal(0, 3, N), rng.normal(0, 1, N), np.array([0.9]), np.array([1.3]), np.array([0.5])
    on, size = np.abs(u) > u0, np.maximum(np.abs(u) - u0, 0)
    push = (e * on * (np.sign(u) if signed else 1)).sum()
    np.testing.assert_allclose(cells["threshold-rule"].evaluate({"u": u, "e": e, "u0": u0}), [push], rtol=1e-12)
    pull = (on * (1 / lam - size)).sum()
    np.testing.assert_allclose(cells["rate-rule"].evaluate({"u": u, "u0": u0, "lam": lam}), [pull], rtol=1e-12)
    spread = np.mean(r**2) - sigma**2
    np.testing.assert_allclose(cells["noise-rule"].evaluate({"r": r, "sigma": sigma}), spread, rtol=1e-12)
    np.testing.assert_allclose(cells["precision"].evaluate({"r": r, "sigma": sigma}), r / 0.25, rtol=1e-12)
    np.testing.assert_allclose(cells["follower"].evaluate({"lam": lam}), [-np.log(PI) / 1.3], rtol=1e-12)


# --- alone in ngspice ---


def volts_of(scaling, port):
    return scaling.volts(port) if port in ("r", "e") else scaling.volt


def answers(cell, scaling, solve, many, out=None):
    """Return the cell's outputs in volts, or the currents into ``out``, at each of many inputs, shape (n, outputs)."""
    jobs, n = [], len(next(iter(many.values())))
    for k in range(n):
        nodes = {p: tuple(f"{p}_{i}" for i in range(v.shape[1])) for p, v in many.items()}
        driven = out or cell.nodes
        circuit = bench(cell, scaling=scaling, **{cell.name: Wires(nodes, driven, driven)})
        for port, names in nodes.items():
            for i, name in enumerate(names):
                if name not in driven:
                    circuit.V(name, name, 0, float(many[port][k, i] * volts_of(scaling, port)))
        for i, name in enumerate(out or ()):  # a source's current is what flows into it
            at = float(many["u"][k, i] * scaling.volt) if name.startswith("u_") else 0.0
            circuit.V(f"m{i}", name, 0, at)
        jobs.append((deck(circuit), "op"))
    names = [f"vm{i}#branch" for i in range(len(out))] if out else cell.nodes
    return np.array([[answer[name][0] for name in names] for answer in solve(jobs)])


OUTPUT = {"gate": N, "gate-lam": N, "threshold-rule": 1, "rate-rule": 1, "noise-rule": 1}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CELLS)
def test_cells_in_ngspice(name, signed, odd_scaling, solve):
    """At inputs drawn across the tables, and below what divisors are kept above."""
    cell, rng = cells_of(signed)[name], np.random.default_rng(6)
    many = inputs_of(cell, rng, (12,))
    for port in {"lam", "sigma"} & set(many):
        many[port][-2:, 0] = LEAST / 2, -0.1
    out = None
    if name in OUTPUT:
        out = tuple(f"u_{i}" for i in range(N)) if name.startswith("gate") else ("out_0",)
    got = answers(cell, odd_scaling, solve, many, out)
    unit = odd_scaling.drift_current if out else odd_scaling.volts(cell.quantity)
    np.testing.assert_allclose(got / unit, cell.evaluate(many), rtol=1e-8, atol=RTOL)
    if "lam" in many and name != "gate-lam":
        held = {**many, "lam": np.full((12, 1), LEAST)}
        np.testing.assert_allclose(got[-2:] / unit, cell.evaluate(held)[-2:], rtol=1e-8, atol=RTOL)


@pytest.mark.ngspice
def test_threshold_swept_through_its_corners(signed, odd_scaling, solve):
    """Far beyond the tables' last knots, at five thresholds, one of them below 0."""
    cell = AdaptiveThreshold("threshold", 1, corner(WIDTH, signed=signed))
    wires = Wires({"u": ("u_0",), "u0": ("u0_0",)}, cell.nodes, cell.nodes)
    circuit = bench(cell, scaling=odd_scaling, threshold=wires)
    circuit.V("u", "u_0", 0, 0.0)
    circuit.V("t", "u0_0", 0, 0.0)
    v = odd_scaling.volt
    sweep = f"dc vu {-5 * v!r} {5 * v!r} {0.02 * v!r} vt {-0.2 * v!r} {1.4 * v!r} {0.4 * v!r}"
    (answer,) = solve([(deck(circuit), sweep)])
    inputs = {"u": answer["u_0"][:, None] / v, "u0": answer["u0_0"][:, None] / v}
    assert len(np.unique(np.round(inputs["u0"], 6))) == 5
    np.testing.assert_allclose(answer["s_0"] / v, cell.evaluate(inputs)[:, 0], rtol=RTOL, atol=RTOL)
