r"""Model + inputs -> signal-flow graph of a circuit that learns: a sampler in its residual form, with slow variables beside it.

.. math::
    \tau_A\,\dot A &= -r\,s^T/\sigma^2, \qquad r = A s - x \\
    \tau_{u_0}\,\dot u_0 &= \textstyle\sum_i e_i\,1(s_i > 0), \qquad e = A^T r/\sigma^2 \\
    \tau_\lambda\,\dot\lambda &= \textstyle\sum_{i\,\mathrm{active}} (1/\lambda - |s_i|), \qquad u_0 = -\log(\pi)/\lambda \\
    \tau_\sigma\,\dot\sigma &= |r|^2/D - \sigma^2

Each is a capacitor, as many times slower as its capacitor is larger. What is not learned is what it is in a sampler: fixed
conductances, and tables. Fang et al. 2022, sections 2.4 and 3; what their print lacks is in `circuitlsc.learning.learner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.cells import (
    AdaptiveGate,
    AdaptiveThreshold,
    Backward,
    Cell,
    Corner,
    Crossbar,
    DeviceWeights,
    Follower,
    Forward,
    Gradient,
    Hebbian,
    Input,
    Integrator,
    NoiseRule,
    NoiseVoltage,
    Precision,
    RateRule,
    RateVoltage,
    Residual,
    SparsityRule,
    SparsityVoltage,
    ThresholdRule,
    ThresholdVoltage,
    Weights,
    corner,
)
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import Wiring, add_noise, code_of, gate_of, neurons
from circuitlsc.errors import InputError
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities

LEARNABLE = ("A", "pi", "lam", "sigma")


def learning_system(
    model: SparseCodingModel, *, slowness: Mapping[str, float], temperature: float = 1.0, **wiring: Any
) -> SignalFlowGraph:
    """Wire up a circuit that learns what ``slowness`` names, from the model's values on.

    Parameters
    ----------
    model : SparseCodingModel
        What the circuit starts from; with a spike-and-slab or a Laplace prior.
    slowness : mapping
        Time constants of "A", "pi" (of u0), "lam" and "sigma", in units of tau; what it does not name is held.
    temperature : float
        T of the samples that it learns from.
    **wiring
        See `circuitlsc.circuit.wiring.Wiring`; a stream of inputs is needed.

    Raises
    ------
    InputError
        If A and lam are both to be learned, the prior is another, or there is no stream.
    """
    check_learnable(model, slowness)
    if (hardware := wiring.get("hardware")) is not None:
        check_parts(hardware.parts, slowness)
        # a corner's capacitors are all of one process
        grown = hardware.parts.corner.capacitance
        slowness = {name: tau * (grown if name != "A" else 1.0) for name, tau in slowness.items()}
    how, graph, n = Wiring(form="residual", **wiring), SignalFlowGraph(), model.n_latents
    if how.stream is None:
        raise InputError("a circuit learns from a stream of inputs. Give x with several rows.")
    state = neurons(graph, how, n)
    add_noise(graph, state, temperature, how)
    prior = _Prior(graph, model, slowness, how)
    code = prior.code(state)
    r = graph.add(Residual("residual", model.n_features))
    weights = _forward(graph, model, slowness, how, code, r)
    rows = how.stream.with_rows(-how.stream.rows)
    form = "external" if how.noise == "external" else "pwl"
    x = Input("forward_input", r.size, value=rows.rows[0], target="r", stream=rows, form=form, step=how.step)
    graph.wire(graph.add(x), r, "input")
    back: Cell = r
    gain = 1 / model.variance
    if "sigma" in slowness:
        sigma = graph.add(NoiseVoltage("sigma", 1, start=np.array([model.sigma]), capacitor=slowness["sigma"]))
        back, gain = graph.add(Precision("precision", r.size)), 1.0
        _wire(graph, back, r=r, sigma=sigma)
        _wire(graph, sigma, drift=_wire(graph, graph.add(NoiseRule("noise_rule", 1, r.size)), r=r, sigma=sigma))
    e = graph.add(Gradient("gradient", n))
    _wire(graph, e, crossbar=_backward(graph, model, how, weights, back, gain))
    if weights is not None:
        given: dict[str, Any] = {"gain": gain, "rows": r.size, "source": back.quantity, "hardware": how.hardware}
        hebbian = graph.add(Hebbian("hebbian", weights.size, n, **given))
        _wire(graph, weights, drift=_wire(graph, hebbian, r=back, s=code))
    graph.wire(prior.gate(state, e), state, "drift")
    prior.close(state, e)
    return graph


def check_learnable(model: SparseCodingModel, slowness: Mapping[str, float]) -> None:
    """Raise InputError if a circuit cannot learn what is named."""
    if unknown := [name for name in slowness if name not in LEARNABLE]:
        raise InputError(f"{unknown[0]!r} is not learned by a circuit. Give some of {', '.join(LEARNABLE)}.")
    if {"A", "lam"} <= set(slowness):
        raise InputError(
            "A and lam cannot be learned together: (c A, c lam) is as likely as (A, lam) for every c > 0. Hold lam (it sets "
            "the unit of s), or hold A."
        )
    if model.prior.slab is None:
        raise InputError(
            f"prior = {model.prior!r}: a circuit learns with a spike-and-slab or a Laplace prior. Use one of them."
        )
    if "pi" in slowness and "pi" not in model.prior.parameters():
        raise InputError(f"prior = {model.prior!r} has no pi to learn. Use SpikeSlab, or hold pi.")


def check_parts(parts: Nonidealities, slowness: Mapping[str, float]) -> None:
    """Raise InputError if a circuit that learns has no part that could have an imperfection."""
    fixed = {"comparator", "multiplier", "prior"} if not {"pi", "lam"} & set(slowness) else set()
    for imperfection in parts.imperfections():
        part = imperfection.name.split(".")[0]
        known = part in ("integrator", "noise", "corner") or part in fixed or (part == "plastic" and "A" in slowness)
        if known and imperfection.name != "comparator.threshold_offset":
            continue
        why = "its synapses are multipliers, those of [nonideal.plastic]"
        if part == "plastic":
            why = "A is held: its synapses are ideal conductances"
        if part in ("comparator", "multiplier", "prior"):
            why = "its threshold cells are ideal" if known else "with pi or lam learned, thresholds and gates are ideal"
        raise InputError(
            f"nonideal.{imperfection.name} = {imperfection.value!r}: a circuit that learns has no such part ({why}). Remove it."
        )


def _wire(graph: SignalFlowGraph, target: Cell, **sources: Cell) -> Cell:
    for port, source in sources.items():
        graph.wire(source, target, port)
    return target


def _forward(
    graph: SignalFlowGraph,
    model: SparseCodingModel,
    slowness: Mapping[str, float],
    how: Wiring,
    code: Cell,
    r: Cell,
) -> Weights | None:
    """Wire up A s, with multipliers or with conductances; return the weights if there are any."""
    d, n = model.A.shape
    if "A" not in slowness:
        fixed = graph.add(Crossbar("forward", d, matrix=model.connections, source=code.quantity, target="r"))
        graph.wire(code, fixed, "v")
        graph.wire(fixed, r, "crossbar")
        return None
    given: dict[str, Any] = {"start": model.A.ravel(), "n_features": d, "capacitor": slowness["A"]}
    weights = graph.add(how.part(Weights, DeviceWeights, "weight", d * n, **given))
    forward = graph.add(Forward("forward", d, n, hardware=how.hardware))
    _wire(graph, r, crossbar=_wire(graph, forward, a=weights, s=code))
    return weights


def _backward(
    graph: SignalFlowGraph,
    model: SparseCodingModel,
    how: Wiring,
    weights: Weights | None,
    back: Cell,
    gain: float,
) -> Cell:
    """Wire up A^T r (or q), with multipliers or with conductances."""
    d, n = model.A.shape
    if weights is None:
        fixed = Crossbar("backward", n, matrix=model.connections.T * gain, source=back.quantity, target="e")
        return _wire(graph, graph.add(fixed), v=back)
    multipliers = Backward("backward", n, n, gain=gain, rows=d, source=back.quantity, hardware=how.hardware)
    return _wire(graph, graph.add(multipliers), a=weights, r=back)


class _Prior:
    """Threshold, gate and rules: with the tables of a sampler, or with voltages if u0 or lam moves."""

    def __init__(
        self, graph: SignalFlowGraph, model: SparseCodingModel, slowness: Mapping[str, float], how: Wiring
    ) -> None:
        self.graph, self.model, self.slowness, self.how = graph, model, slowness, how
        self.moves = bool({"pi", "lam"} & set(slowness))
        self.lam: Cell | None = None
        if not self.moves:
            self.cells = model.prior.cells(how.width, how.reaching(model, model.A @ np.zeros(model.n_latents)))
            return
        prior, slab = model.prior, model.prior.slab
        assert slab is not None
        self.corner: Corner = corner(how.width, signed=prior.signed)
        if "lam" in slowness:
            self.lam = graph.add(RateVoltage("lam", 1, start=np.array([slab.lam]), capacitor=slowness["lam"]))
        if "pi" in slowness and self.lam is not None:
            start = np.array([prior.threshold * slab.lam])
            self.logpi = graph.add(SparsityVoltage("sparsity", 1, start=start, capacitor=slowness["pi"]))
            self.u0 = _wire(graph, graph.add(Follower("u0", 1, None)), lam=self.lam, logpi=self.logpi)
        elif "pi" in slowness:
            start = np.array([prior.threshold])
            self.u0 = graph.add(ThresholdVoltage("u0", 1, start=start, capacitor=slowness["pi"]))
        else:
            assert self.lam is not None
            self.u0 = _wire(graph, graph.add(Follower("u0", 1, slab.pi)), lam=self.lam)

    def code(self, state: Cell) -> Cell:
        """Wire up the code."""
        if not self.moves:
            return code_of(self.graph, state, self.cells.threshold, None)
        threshold = self.graph.add(AdaptiveThreshold("threshold", state.size, self.corner))
        return _wire(self.graph, threshold, u=state, u0=self.u0)

    def gate(self, state: Integrator, e: Cell) -> Cell:
        """Wire up the force on the neurons."""
        if not self.moves:
            return gate_of(self.graph, state, e, self.cells, self.how)
        lam = None if self.lam is not None else float(self.model.prior.numbers()["lam"])
        gate = self.graph.add(AdaptiveGate("gate", state.size, self.corner, lam))
        _wire(self.graph, gate, u=state, e=e, u0=self.u0)
        return gate if self.lam is None else _wire(self.graph, gate, lam=self.lam)

    def close(self, state: Cell, e: Cell) -> None:
        """Wire up the rules."""
        if "pi" in self.slowness and self.lam is not None:
            rule = self.graph.add(SparsityRule("sparsity_rule", 1, self.corner))
            _wire(self.graph, self.logpi, drift=_wire(self.graph, rule, u=state, e=e, u0=self.u0, lam=self.lam))
        elif "pi" in self.slowness:
            threshold_rule = self.graph.add(ThresholdRule("threshold_rule", 1, self.corner))
            _wire(self.graph, self.u0, drift=_wire(self.graph, threshold_rule, u=state, e=e, u0=self.u0))
        if self.lam is not None:
            rate_rule = self.graph.add(RateRule("rate_rule", 1, self.corner))
            _wire(self.graph, self.lam, drift=_wire(self.graph, rate_rule, u=state, u0=self.u0, lam=self.lam))


def starts(model: SparseCodingModel, rng: np.random.Generator) -> ArrayLike:
    """Return a u to start from, (n_latents,): a draw from the prior."""
    code = model.prior.draw((model.n_latents,), rng)
    return np.asarray(code + np.where(code != 0, model.prior.threshold * np.sign(code), 0.0))
