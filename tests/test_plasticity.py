"""Graphs that learn: the twin's drift is the learning rules', what each graph holds, and what is refused."""

import numpy as np
import pytest
from learning_rules import Parameters, drift

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab
from circuitlsc.circuit.cells import Crossbar, Forward, Integrator
from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.graph import Twin
from circuitlsc.circuit.lowering import lower
from circuitlsc.circuit.plasticity import learning_system, starts
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import Scaling

D, K, WIDTH = 4, 3, 0.01
PI, LAM, SIGMA = 0.3, 1.4, 0.7
U0 = -np.log(PI) / LAM
TIMES = {"A": 20.0, "pi": 30.0, "lam": 40.0, "sigma": 50.0}  # each its own; none so slow that the twin leaves it out
LEARN = [("A",), ("pi",), ("lam",), ("sigma",), ("A", "pi"), ("A", "sigma"), ("pi", "sigma"), ("lam", "sigma")]
LEARN += [("A", "pi", "sigma"), ("pi", "lam"), ("pi", "lam", "sigma")]
NAMES = ["+".join(learn) for learn in LEARN]
SCALING = Scaling(volt=0.07, volt_r=0.03, volt_e=0.011, c_int=3e-12, tau=2e-6, r_node=0.5e6)
ERRORS = {"gain_error": 0.1, "offset": 2e-3, "leak_resistance": 1e7, "capacitance_mismatch": 0.2}


def model_of(signed=False, prior=None):
    A = np.random.default_rng(5).normal(0, 1, (D, K))
    return SparseCodingModel(A, prior or SpikeSlab(PI, LAM, signed), SIGMA)


def rows_of(n=3):
    return np.random.default_rng(6).normal(0, 1, (n, D))


def graph_of(learn, signed=False, *, prior=None, plastic=None, times=TIMES):
    """Return a graph; with ``plastic``, of devices whose synapses have these errors."""
    parts = Nonidealities(
        {"plastic": plastic} if plastic and "A" in learn else {}, seed=4
    )  # only weights have synapses
    hardware = None if plastic is None else Hardware(parts, SCALING, True)
    return learning_system(
        model_of(signed, prior),
        slowness={what: times[what] for what in learn},
        width=WIDTH,
        stream=Stream(rows_of(), 5.0, "hold"),
        hardware=hardware,
    )


def places(graph):
    """Return where each quantity is in the twin's state."""
    ends = np.cumsum([cell.size for cell in graph.integrators])
    return {cell.quantity: slice(end - cell.size, end) for cell, end in zip(graph.integrators, ends, strict=True)}


def states(graph, n=20, *, near=False):
    """Return random states; u stays 15 widths off the corners 0 and +-u0, or (near) within some widths of them."""
    rng, at = np.random.default_rng(7), places(graph)
    z = Twin(graph).full_state(np.zeros((n, K)))
    for quantity, spread in (("a", 0.3), ("u0", 0.1), ("lam", 0.1), ("sigma", 0.1), ("logpi", 0.1)):
        if quantity in at:
            z[:, at[quantity]] += rng.uniform(-spread, spread, z[:, at[quantity]].shape)
    u0 = threshold_of(graph, z)[:, None]
    side, on = rng.choice([-1, 1], (n, K)), rng.integers(0, 2, (n, K))
    off = rng.normal(0, 2 * WIDTH, (n, K)) if near else rng.uniform(15 * WIDTH, 0.4, (n, K))
    z[:, at["u"]] = side * (on * u0 + (off if near else np.where(on, 4 * off, off)))
    return z


def threshold_of(graph, z):
    at = places(graph)
    if "u0" in at:
        return z[:, at["u0"]][:, 0]
    lam = z[:, at["lam"]][:, 0] if "lam" in at else np.full(len(z), LAM)
    return (z[:, at["logpi"]][:, 0] if "logpi" in at else -np.log(PI)) / lam


def rules(graph, z, x, signed):
    """Return the drift of z by the learning rules, each over its time constant."""
    at, out = places(graph), np.zeros_like(z)
    for k, (row, u0) in enumerate(zip(z, threshold_of(graph, z), strict=True)):
        one = {q: row[place] for q, place in at.items()}
        A = one["a"].reshape(D, K) if "a" in one else model_of().A
        lam, sigma = (float(one[q][0]) if q in one else held for q, held in (("lam", LAM), ("sigma", SIGMA)))
        d = drift(Parameters(A, float(u0), lam, sigma, signed), one["u"][None], x[None])
        found = {"u": d.u[0], "a": d.A.ravel() / TIMES["A"], "u0": d.u0 / TIMES["pi"]}
        found["logpi"] = lam * d.u0 / TIMES["pi"]  # of -log(pi) = lam u0, at the speed at which the rules move u0
        found |= {"lam": d.lam / TIMES["lam"], "sigma": d.sigma / TIMES["sigma"]}
        for q, place in at.items():
            out[k, place] = found[q]
    return out


@pytest.fixture(params=[False, True], ids=["nonnegative", "signed"])
def signed(request):
    return request.param


@pytest.fixture(params=LEARN, ids=NAMES)
def learn(request):
    return request.param


# --- drift ---


def test_drift_is_that_of_the_rules_away_from_the_corners(learn, signed):
    """To rounding where the threshold moves: its tables end at 0 and 1. Those of a fixed prior end e^-12 off, of e."""
    graph = graph_of(learn, signed)
    z, x, twin = states(graph), rows_of()[1], Twin(graph)
    values, moved = twin.signals(z, {"forward_input": -x}), twin.drift(z, {"forward_input": -x})
    expected, other = rules(graph, z, x, signed), rules(graph, z, 1.5 * x, signed)
    atol = 1e-10 if {"pi", "lam"} & set(learn) else np.exp(-12.0) * np.abs(values["gradient"]).max()
    np.testing.assert_allclose(moved, expected, rtol=1e-10, atol=atol)
    for quantity, place in places(graph).items():
        if quantity != "lam":  # its rule does not see the input
            assert np.abs(moved[:, place] - other[:, place]).max() > 1e-3, "negative control: another input"


def test_drift_near_the_corners_is_that_of_the_circuits_own_code(learn, signed):
    """There s is rounded; residual, gradient and the rules of A and sigma are what they are for that s."""
    graph = graph_of(learn, signed)
    z, x, at = states(graph, near=True), rows_of()[2], places(graph)
    twin = Twin(graph)
    values, moved = twin.signals(z, {"forward_input": -x}), twin.drift(z, {"forward_input": -x})
    A = z[:, at["a"]].reshape(-1, D, K) if "a" in at else np.broadcast_to(model_of().A, (len(z), D, K))
    sigma = z[:, at["sigma"]] if "sigma" in at else np.full((len(z), 1), SIGMA)
    s = values["threshold"]
    sharp = np.maximum(np.abs(z[:, :K]) - threshold_of(graph, z)[:, None], 0) * (np.sign(z[:, :K]) if signed else 1)
    assert 1e-4 < np.abs(s - sharp).max() < WIDTH, "the corners are rounded, by less than a width"
    r = np.einsum("njk,nk->nj", A, s) - x
    np.testing.assert_allclose(values["residual"], r, atol=1e-12)
    np.testing.assert_allclose(values["gradient"], np.einsum("njk,nj->nk", A, r) / sigma**2, atol=1e-11)
    if "a" in at:
        hebb = -np.einsum("nj,nk->njk", r, s) / sigma[..., None] ** 2 / TIMES["A"]
        np.testing.assert_allclose(moved[:, at["a"]], hebb.reshape(len(z), -1), atol=1e-12)
    if "sigma" in at:
        spread = ((r**2).mean(1, keepdims=True) - sigma**2) / TIMES["sigma"]
        np.testing.assert_allclose(moved[:, at["sigma"]], spread, atol=1e-12)


@pytest.mark.parametrize("level", ["ideal", "device"])
def test_jacobian_of_the_loop_is_the_slope_of_its_drift(learn, signed, level):
    graph = graph_of(learn, signed, plastic=ERRORS if level == "device" else None)
    twin, x = Twin(graph), {"forward_input": -rows_of()[0]}
    for z in (states(graph, 3), states(graph, 3, near=True)):
        drifts, found = twin.linearise(z, x)
        np.testing.assert_allclose(drifts, twin.drift(z, x), rtol=1e-12, atol=1e-12)
        d = 1e-7
        expected = [(twin.drift(z + d * e, x) - twin.drift(z - d * e, x)) / (2 * d) for e in np.eye(twin.size)]
        # differences lose 16 - 7 digits of a force of some 1e2
        np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), rtol=1e-6, atol=1e-5)


def test_jacobian_leaves_out_what_very_slow_variables_do():
    slow = graph_of(("A", "pi"), times={"A": 3000.0, "pi": 4000.0})
    quick = graph_of(("A", "pi"))
    z, at = states(slow, 3), places(slow)
    found, whole = Twin(slow).linearise(z)[1], Twin(quick).linearise(z)[1]
    u, others = at["u"], slice(K, None)
    np.testing.assert_array_equal(found[:, u, others], 0.0)
    np.testing.assert_array_equal(found[:, u, u], whole[:, u, u])
    np.testing.assert_allclose(found[:, at["a"], u] * 3000.0, whole[:, at["a"], u] * TIMES["A"], rtol=1e-12)
    assert np.abs(whole[:, u, others]).max() > 0.1, "negative control"


def test_imperfections_of_synapses_change_what_they_should():
    """Signals and speed by each error alone: gains and offsets move both loops, capacitors and leaks the weights alone."""
    ideal, x = graph_of(("A",)), {"forward_input": -rows_of()[1]}
    z, at = states(ideal), places(ideal)
    u, a = at["u"], at["a"]
    expected = Twin(ideal).drift(z, x)
    np.testing.assert_allclose(Twin(graph_of(("A",), plastic={})).drift(z, x), expected, rtol=1e-12, atol=1e-12)
    found = {name: Twin(graph_of(("A",), plastic={name: v})).drift(z, x) for name, v in ERRORS.items()}
    kappa = SCALING.tau / (ERRORS["leak_resistance"] * SCALING.c_int)
    np.testing.assert_allclose(
        found["leak_resistance"][:, a], expected[:, a] - kappa * z[:, a] / TIMES["A"], atol=1e-12
    )
    nodes = next(cell for cell in ideal.cells if cell.name == "weight").nodes
    factors = Nonidealities(seed=4).factors(nodes, "capacitance", 0.2)
    np.testing.assert_allclose(found["capacitance_mismatch"][:, a], expected[:, a] / factors, atol=1e-12)
    for name in ("leak_resistance", "capacitance_mismatch"):
        np.testing.assert_allclose(found[name][:, u], expected[:, u], rtol=1e-12, atol=1e-12)
        assert np.abs(found[name][:, a] - expected[:, a]).max() > 1e-3
    for name in ("gain_error", "offset"):
        assert np.abs(found[name][:, u] - expected[:, u]).max() > 0.01
        assert np.abs(found[name][:, a] - expected[:, a]).max() > 1e-3


# --- structure ---

BASE = {"neuron", "noise", "threshold", "residual", "forward", "forward_input", "gradient", "backward", "gate"}
MORE = {
    "A": {"weight", "hebbian"},
    "pi": {"u0", "threshold_rule"},
    "lam": {"lam", "u0", "rate_rule"},
    "sigma": {"sigma", "precision", "noise_rule"},
}


def test_graph_holds_what_is_learned_and_no_more(learn, signed):
    graph = graph_of(learn, signed)
    cells = {cell.name: cell for cell in graph.cells}
    both = {"pi", "lam"} <= set(learn)  # then -log(pi) is the state, and u0 follows from it and lam
    more = {**MORE, "pi": {"u0", "sparsity", "sparsity_rule"}} if both else MORE
    assert set(cells) == BASE.union(*(more[what] for what in learn))
    slow = {"A": "weight", "pi": "sparsity" if both else "u0", "lam": "lam", "sigma": "sigma"}
    states = {cell.name for cell in cells.values() if isinstance(cell, Integrator)}
    assert states == {"neuron"} | {slow[what] for what in learn}
    for what in learn:
        assert cells[slow[what]].capacitor == TIMES[what]
    assert isinstance(cells["forward"], Forward if "A" in learn else Crossbar)
    model = model_of(signed)
    start = {"A": model.A.ravel(), "pi": -np.log(PI) / (1 if both else LAM), "lam": LAM, "sigma": SIGMA}
    for what in learn:
        np.testing.assert_allclose(cells[slow[what]].start, start[what])


@pytest.mark.parametrize("level", ["ideal", "device"])
def test_circuit_of_every_graph_is_sound(learn, signed, level):
    """No node floats; every state is a capacitor at a node of its own, and there is a Hebbian multiplier per weight."""
    graph = graph_of(learn, signed, plastic=ERRORS if level == "device" else None)
    circuit = lower(graph, SCALING, step=0.02)
    check_circuit(circuit)
    text = str(circuit).lower()
    held = [state for cell in graph.integrators for state in cell.states(SCALING)]
    assert len({s.node for s in held}) == len({s.capacitor for s in held}) == Twin(graph).size
    for state in held:
        _, instance, element = state.capacitor.split(".")
        assert element == "cint"
        (line,) = (line for line in text.splitlines() if line.startswith(f"{instance} "))
        assert line.split()[1] == state.node
    weights = [line for line in text.splitlines() if line.startswith("xhebbian_")]
    assert len(weights) == (D * K if "A" in learn else 0)


@pytest.mark.parametrize(
    ("prior", "learn", "threshold"),
    [
        (Laplace(LAM), ("A",), False),  # the code is the state
        (Laplace(LAM), ("lam",), True),
        (Laplace(LAM, signed=False), ("A", "sigma"), True),
    ],
)
def test_laplace_priors_have_a_threshold_where_they_need_one(prior, learn, threshold):
    graph = graph_of(learn, prior=prior)
    assert ("threshold" in {cell.name for cell in graph.cells}) == threshold
    check_circuit(lower(graph, SCALING, step=0.02))
    if "lam" in learn:  # pi = 1: the threshold stays at 0, wherever lam goes
        z = Twin(graph).full_state(np.zeros((2, K)))
        z[:, -1] = 0.5, 3.0
        np.testing.assert_array_equal(Twin(graph).signals(z)["u0"], 0.0)


def test_first_state_is_a_draw_from_the_prior(signed):
    model = SparseCodingModel(np.ones((1, 4000)), SpikeSlab(PI, LAM, signed), 1.0)
    u = np.asarray(starts(model, np.random.default_rng(1)))
    active = np.abs(u) > U0
    assert abs(active.mean() - PI) < 4.5 * np.sqrt(PI * (1 - PI) / 4000)
    assert np.abs(u[active]).mean() - U0 == pytest.approx(1 / LAM, rel=4.5 / np.sqrt(PI * 4000))
    assert (u[active] < 0).any() == signed


# --- refusals ---


@pytest.mark.parametrize(
    ("learn", "prior", "message"),
    [
        (("A", "lam"), None, r"^A and lam cannot be learned together: \(c A, c lam\) is as likely as .*, or hold A\.$"),
        (("pi",), Laplace(LAM), r"^prior = Laplace.* has no pi to learn\. Use SpikeSlab, or hold pi\.$"),
        (
            ("A",),
            Gaussian(0.6),
            r"^prior = Gaussian.*: a circuit learns with a spike-and-slab or a Laplace prior\. .*\.$",
        ),
        (("A", "u0"), None, r"^'u0' is not learned by a circuit\. Give some of A, pi, lam, sigma\.$"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(learn, prior, message):
    with pytest.raises(InputError, match=message) as caught:
        graph_of(learn, prior=prior, times={**TIMES, "u0": 10.0})
    assert "\n" not in str(caught.value)


def test_one_input_is_not_enough():
    with pytest.raises(InputError, match=r"^a circuit learns from a stream of inputs\. Give x with several rows\.$"):
        learning_system(model_of(), slowness={"A": 10.0}, width=WIDTH)
