"""Model + inputs -> signal-flow graph of a circuit that learns: the sampler, with slow variables beside its neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from circuitlsc.cells import Backward, Forward, Gradient, Hebbian, Input, Integrator, Residual, Weights
from circuitlsc.graph import SignalFlowGraph
from circuitlsc.model import SparseCodingModel
from circuitlsc.wiring import Wiring, add_noise, code_of, gate_of


def learner(model: SparseCodingModel, *, tau_A: float, **wiring: Any) -> SignalFlowGraph:
    how, graph, n = Wiring(form="residual", **wiring), SignalFlowGraph(), model.n_latents
    d, k = model.n_features, 1 / model.sigma**2
    state = graph.add(Integrator("neuron", n, start=how.first(n)))
    weights = graph.add(Weights("weight", d * n, start=model.A.ravel(), n_features=d, capacitor=tau_A))
    add_noise(graph, state, 1.0, how)
    cells = model.prior.cells(how.width, how.reaching(model, how.stream.rows[0]))
    code = code_of(graph, state, cells.threshold, None)
    r = graph.add(Residual("residual", d))
    forward = graph.add(Forward("forward", d, n))
    graph.wire(weights, forward, "a")
    graph.wire(code, forward, "s")
    graph.wire(forward, r, "crossbar")
    rows = how.stream.with_rows(-how.stream.rows)
    given = {"stream": rows, "form": "external" if how.noise == "external" else "pwl", "step": how.step}
    graph.wire(graph.add(Input("forward_input", d, value=rows.rows[0], target="r", **given)), r, "input")
    e = graph.add(Gradient("gradient", n))
    backward = graph.add(Backward("backward", n, n, gain=k, rows=d))
    graph.wire(weights, backward, "a")
    graph.wire(r, backward, "r")
    graph.wire(backward, e, "crossbar")
    hebb = graph.add(Hebbian("hebbian", d * n, n, gain=k, rows=d))
    graph.wire(r, hebb, "r")
    graph.wire(code, hebb, "s")
    graph.wire(hebb, weights, "drift")
    graph.wire(gate_of(graph, state, e, cells, how), state, "drift")
    return graph
