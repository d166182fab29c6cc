r"""Two layers of latents in one circuit, both linear and Gaussian, so that the exact posterior is known.

.. math:: x = A u + n, \qquad u = B v + m, \qquad v \sim N(0, S^2), \qquad n \sim N(0, \sigma^2), \quad m \sim N(0, \rho^2)

The system is defined here alone: a kind of dynamics, and a graph of cells that are there already.
"""

import numpy as np
import pytest

from circuitlsc import Dynamics, Gaussian, InputError, RunPlan, Samples, SparseCodingModel, build_sampler
from circuitlsc.circuit.cells import Crossbar, Gate, Gradient, Input, Integrator, Noise
from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import Wiring
from circuitlsc.model.dynamics import KINDS
from circuitlsc.reference.mcse import mean_with_mcse
from circuitlsc.sampling.system import SYSTEMS, System
from circuitlsc.validation.same_noise import same_noise

A = np.array([[1.0, 0.3], [0.2, 0.9], [-0.4, 0.5]])
B = np.array([[0.8, -0.2, 0.5], [0.1, 0.7, -0.6]])
X = np.array([0.9, -0.3, 0.4])
SIGMA, RHO, S = 0.7, 0.8, 1.2
MODEL = SparseCodingModel(A, Gaussian(float(np.sqrt(RHO**2 + S**2))), SIGMA)
RUN = RunPlan(t_stop=1500.0, warmup=20.0, chains=2, seed=5)


class TwoLayers(System):
    """Overdamped Langevin dynamics of the energy of u and v."""

    above = B
    slowness = 2.0  # of v: its capacitor is so much larger
    strength = float(np.sqrt(slowness))  # at the same temperature the noise current's power grows with the capacitor

    def graph(self, model, x, **wiring):
        how, graph, (n, m) = Wiring(**wiring), SignalFlowGraph(), self.above.shape
        T, R, W, slow = self.dynamics.T, 1 / RHO**2, self.above, self.slowness
        u = graph.add(Integrator("neuron", n, start=how.first(n)))
        v = graph.add(Integrator("cause", m, start=np.full(m, 0.5), symbol="v", capacitor=slow))
        graph.wire(graph.add(Noise("noise", n, temperature=T, form=how.noise)), u, "noise")
        louder = {"strength": self.strength, "capacitor": slow}
        graph.wire(graph.add(Noise("noise_v", m, temperature=T, form=how.noise, **louder)), v, "noise")
        layers = {
            "u": (u, Gradient("gradient", n), model.gram, -R * W, R),
            "v": (v, Gradient("gradient_v", m, symbol="ev"), R * W.T @ W, -R * W.T, 1 / S**2),
        }
        for letter, (state, e, own, other, stiffness) in layers.items():
            graph.add(e)
            beside = v if letter == "u" else u
            for port, source, matrix in (("crossbar", state, own), ("other", beside, other)):
                crossbar = Crossbar(f"{port}_{letter}", len(matrix), matrix=matrix, source="u", target="e")
                graph.wire(source, graph.add(crossbar), "v")
                graph.wire(crossbar, e, port)
            gate = graph.add(Gate(f"gate_{letter}", state.size, None, None, stiffness))
            graph.wire(state, gate, "u")
            graph.wire(e, gate, "e")
            graph.wire(gate, state, "drift")
        graph.wire(graph.add(Input("drive", n, value=-model.drive(x), target="e")), layers["u"][1], "input")
        return graph


def exact():
    """Return mean and covariance of (u, v)."""
    R = 1 / RHO**2
    precision = np.block([[MODEL.gram + R * np.eye(2), -R * B], [-R * B.T, R * B.T @ B + np.eye(3) / S**2]])
    covariance = np.linalg.inv(precision)
    return covariance @ np.concatenate([MODEL.drive(X), np.zeros(3)]), covariance


def z_scores(samples):
    """Return how many standard errors mean and second moments of every state are off."""
    mean, covariance = exact()
    z = np.concatenate([samples.states["u"], samples.states["v"]], axis=-1) - mean
    pairs = [(i, j) for i in range(5) for j in range(i, 5)]
    moments = np.stack([z[..., i] * z[..., j] - covariance[i, j] for i, j in pairs], axis=-1)
    found = np.concatenate([z, moments], axis=-1)
    mean, error = mean_with_mcse(found)
    return mean / error


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "two-layers", ())
        patch.setitem(SYSTEMS, "two-layers", TwoLayers)
        sampler = build_sampler(MODEL, X, dynamics=Dynamics(kind="two-layers"), step=0.05)
        yield sampler, sampler.run(RUN)


@pytest.mark.ngspice
def test_it_is_a_netlist_that_keeps_the_electrical_rules(made):
    sampler, _ = made
    nodes = {node for element in check_circuit(sampler.circuit) for node in element.nodes}
    assert {f"u_{i}" for i in range(2)} | {f"v_{i}" for i in range(3)} <= nodes
    assert {f"e_{i}" for i in range(2)} | {f"ev_{i}" for i in range(3)} <= nodes
    # what differs between the layers has a definition for each; what is alike is shared
    defined = {str(definition.name) for definition in sampler.circuit.subcircuits}
    crossbars = {f"lsc_{port}_{letter}" for port in ("crossbar", "other") for letter in "uv"}
    shared = {"lsc_noise", "lsc_node", "lsc_input"}
    assert defined == crossbars | shared | {"lsc_neuron", "lsc_neuron_cause", "lsc_gate", "lsc_gate_gate_v"}
    assert "trrandom" in sampler.deck(t_stop=30.0)


@pytest.mark.ngspice
def test_it_follows_its_twin_on_the_same_noise(made):
    sampler, samples = made
    for name, size in (("u", 2), ("v", 3)):
        circuit, twin = same_noise(sampler, samples, 1000, name=name)
        assert circuit.shape[2] == size
        assert np.abs(circuit - twin).max() < 1e-4
    assert np.abs(circuit[0] - twin[1]).max() > 0.1, "negative control: the other chain's noise"


@pytest.mark.ngspice
def test_its_report_has_both_noises_and_a_vector_it_has_not_is_refused(made):
    sampler, samples = made
    lines = [line for line in sampler.report().splitlines() if line.startswith("noise")]
    (one, two) = (float(line.split()[2]) for line in lines)
    assert [line.split()[1] for line in lines] == ["noise:", "noise_v:"]
    assert two / one == pytest.approx(TwoLayers.strength, rel=1e-3)
    with pytest.raises(InputError, match=r"^same_noise: name = 'w' is not one of u, v\.$"):
        same_noise(sampler, samples, 10, name="w")


@pytest.mark.ngspice
def test_moments_of_both_layers_are_exact(made):
    _, samples = made
    z = z_scores(samples)
    assert np.abs(z).max() < 4.0, z


@pytest.mark.ngspice
def test_negative_control_a_layer_with_the_wrong_noise(made, monkeypatch):
    """A slower layer whose noise current is not stronger is colder: only its own moments can tell."""
    sampler, _ = made
    monkeypatch.setattr(TwoLayers, "strength", 1.0)
    colder = build_sampler(MODEL, X, dynamics=sampler.dynamics, step=0.05)
    assert np.abs(z_scores(colder.run(RUN))).max() > 8.0


@pytest.mark.ngspice
def test_its_samples_survive_a_file(made, tmp_path):
    _, samples = made
    samples.save(tmp_path / "samples.nc")
    again = Samples.load(tmp_path / "samples.nc")
    assert list(again.states) == ["u", "v"]
    np.testing.assert_array_equal(again.states["v"], samples.draws("v").read(0, samples.n_draws))
