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

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.memory import remember
from circuitlsc.circuit.wiring import Wiring, add_noise, code_of, gate_of, neurons
from circuitlsc.errors import InputError
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.features import Features
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities

LEARNABLE = ("A", "pi", "lam", "sigma")


def learning_system(
    model: SparseCodingModel,
    *,
    slowness: Mapping[str, float],
    temperature: float = 1.0,
    memory: tuple[Features, Dynamics] | None = None,
    **wiring: Any,
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
    memory : tuple of Features and Dynamics, or None
        Those of the stream's rows, if each is remembered: then ``start`` is W, row by row (`circuitlsc.circuit.memory`).
    **wiring
        See `circuitlsc.circuit.wiring.Wiring`; a stream of inputs is needed.

    Raises
    ------
    InputError
        If A and lam are both to be learned, the prior is another, or there is no stream.
    """
    check_learnable(model, slowness)
    if (hardware := wiring.get("hardware")) is not None:
        check_parts(hardware.parts, slowness, remembers=memory is not None)
        # a corner's capacitors are all of one process
        grown = hardware.parts.corner.capacitance
        slowness = {name: tau * (grown if name != "A" else 1.0) for name, tau in slowness.items()}
    how, graph, n = Wiring(form="residual", **wiring), SignalFlowGraph(), model.n_latents
    if how.stream is None:
        raise InputError("a circuit learns from a stream of inputs. Give x with several rows.")
    d, learned = model.n_features, "A" in slowness
    state: cells.Cell
    moved: cells.Cell
    if memory is None:
        state = moved = integrators = neurons(graph, how, n)
        add_noise(graph, integrators, temperature, how)
    else:
        remembered = remember(graph, how, n, *memory)
        state, moved = remembered.neurons, remembered.drive
    prior = _Prior(graph, model, slowness, how, apart=memory is not None)
    code = prior.code(state)
    r = graph.add(cells.Residual("residual", d))
    back: cells.Cell = r
    forward: cells.Cell
    backward: cells.Cell
    if learned:
        given: dict[str, Any] = {"start": model.A.ravel(), "n_features": d, "capacitor": slowness["A"]}
        weights = graph.add(how.part(cells.Weights, cells.DeviceWeights, "weight", d * n, **given))
        forward = graph.add(cells.Forward("forward", d, n, hardware=how.hardware), a=weights, s=code)
    else:
        A = model.connections
        forward = graph.add(cells.Crossbar("forward", d, matrix=A, source=code.quantity, target="r"), v=code)
    graph.wire(forward, r, "crossbar")
    rows = how.stream.with_rows(-how.stream.rows)
    x = cells.Input("forward_input", d, value=rows.rows[0], target="r", stream=rows, **how.streaming)
    graph.wire(graph.add(x), r, "input")
    gain = 1 / model.variance
    if "sigma" in slowness:
        sigma = graph.add(cells.NoiseVoltage("sigma", 1, start=np.array([model.sigma]), capacitor=slowness["sigma"]))
        back, gain = graph.add(cells.Precision("precision", d), r=r, sigma=sigma), 1.0
        graph.wire(graph.add(cells.NoiseRule("noise_rule", 1, d), r=r, sigma=sigma), sigma, "drift")
    e = graph.add(cells.Gradient("gradient", n))
    if learned:
        given = {"gain": gain, "rows": d, "source": back.quantity, "hardware": how.hardware}
        backward = graph.add(cells.Backward("backward", n, n, **given), a=weights, r=back)
        hebbian = graph.add(cells.Hebbian("hebbian", weights.size, n, **given), r=back, s=code)
        graph.wire(hebbian, weights, "drift")
    else:
        matrix = model.connections.T * gain
        backward = graph.add(cells.Crossbar("backward", n, matrix=matrix, source=back.quantity, target="e"), v=back)
    graph.wire(backward, e, "crossbar")
    graph.wire(prior.gate(state, e), moved, "drift" if memory is None else "crossbar")
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


def check_parts(parts: Nonidealities, slowness: Mapping[str, float], *, remembers: bool = False) -> None:
    """Raise InputError if a circuit that learns, or ``remembers``, has no part that could have an imperfection."""
    fixed = {"comparator", "multiplier", "prior"} if not {"pi", "lam"} & set(slowness) else set()
    for imperfection in parts.imperfections():
        part = imperfection.name.split(".")[0]
        plastic = part == "plastic" and ("A" in slowness or remembers)
        known = part == "corner" or part in fixed or plastic or (part in ("integrator", "noise") and not remembers)
        if known and imperfection.name != "comparator.threshold_offset":
            continue
        why = "its synapses are multipliers, those of [nonideal.plastic]"
        if part == "plastic":
            why = "A is held: its synapses are ideal conductances"
        if part in ("integrator", "noise"):
            why = "with a memory capacitors are those of [nonideal.plastic], and what drives their noise is ideal"
        if part in ("comparator", "multiplier", "prior"):
            why = "its threshold cells are ideal" if known else "with pi or lam learned, thresholds and gates are ideal"
        raise InputError(
            f"nonideal.{imperfection.name} = {imperfection.value!r}: a circuit that learns has no such part ({why}). Remove it."
        )


class _Prior:
    """Threshold, gate and rules: with the tables of a sampler, or with voltages if u0 or lam moves."""

    def __init__(
        self,
        graph: SignalFlowGraph,
        model: SparseCodingModel,
        slowness: Mapping[str, float],
        how: Wiring,
        *,
        apart: bool,
    ) -> None:
        self.graph, self.slowness, self.how, self.apart = graph, slowness, how, apart
        #: u0 and lam, those that are voltages, by the port that they feed
        self.moving: dict[str, cells.Cell] = {}
        if not {"pi", "lam"} & set(slowness):
            self.tables = model.prior.cells(how.width, how.reaching(model, model.A @ np.zeros(model.n_latents)))
            return
        threshold, slab = model.prior.threshold, model.prior.slab
        assert slab is not None
        self.slab, self.corner = slab, cells.corner(how.width, signed=model.prior.signed)
        #: the capacitor that the rule of pi drives: u0 itself, or -log(pi)
        self.learned: cells.Integrator
        if "lam" not in slowness:
            self.learned = self._voltage(cells.ThresholdVoltage, "u0", threshold, "pi")
            self.moving["u0"] = self.learned
            return
        lam = self._voltage(cells.RateVoltage, "lam", slab.lam, "lam")
        if "pi" in slowness:
            self.learned = self._voltage(cells.SparsityVoltage, "sparsity", threshold * slab.lam, "pi")
            self.moving["u0"] = graph.add(cells.Follower("u0", 1, None), lam=lam, logpi=self.learned)
        else:
            self.moving["u0"] = graph.add(cells.Follower("u0", 1, slab.pi), lam=lam)
        self.moving["lam"] = lam

    def _voltage(self, kind: Callable[..., cells.Integrator], name: str, start: float, what: str) -> cells.Integrator:
        return self.graph.add(kind(name, 1, start=np.array([start]), capacitor=self.slowness[what]))

    def code(self, state: cells.Cell) -> cells.Cell:
        """Wire up the code."""
        if not self.moving:
            return code_of(self.graph, state, self.tables.threshold, None)
        threshold = cells.AdaptiveThreshold("threshold", state.size, self.corner)
        return self.graph.add(threshold, u=state, u0=self.moving["u0"])

    def gate(self, state: cells.Cell, e: cells.Cell) -> cells.Cell:
        """Wire up the force on the neurons."""
        if not self.moving:
            return gate_of(self.graph, state, e, self.tables, self.how, apart=self.apart)
        lam = None if "lam" in self.moving else float(self.slab.lam)
        gate = cells.AdaptiveGate("gate", state.size, self.corner, lam, apart=self.apart)
        return self.graph.add(gate, u=state, e=e, **self.moving)

    def close(self, state: cells.Cell, e: cells.Cell) -> None:
        """Wire up the rules."""
        if "pi" in self.slowness:
            kind, name = cells.ThresholdRule, "threshold_rule"
            if "lam" in self.moving:
                kind, name = cells.SparsityRule, "sparsity_rule"
            rule = self.graph.add(kind(name, 1, self.corner), u=state, e=e, **self.moving)
            self.graph.wire(rule, self.learned, "drift")
        if "lam" in self.moving:
            rate = self.graph.add(cells.RateRule("rate_rule", 1, self.corner), u=state, **self.moving)
            self.graph.wire(rate, self.moving["lam"], "drift")


def starts(model: SparseCodingModel, rng: np.random.Generator) -> ArrayLike:
    """Return a u to start from, (n_latents,): a draw from the prior."""
    code = model.prior.draw((model.n_latents,), rng)
    return np.asarray(code + np.where(code != 0, model.prior.threshold * np.sign(code), 0.0))
