"""Encoder + input -> signal-flow graph: variational sparse coding, the system that follows no energy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.cells.adaptive import corner
from circuitlsc.circuit.cells.op_amp import FASTEST
from circuitlsc.circuit.cells.variational import (
    exponential_table,
    held_table,
    laplace_table,
    rectifier_table,
    softplus_table,
)
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import Wiring, add_noise, negated, weighted_sum
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.hardware import Hardware

SOURCES = ("product", "table")
SYMBOLS = ("u", "u2", "u3", "u4")
SETTLES = 2.0  # times a step: the rate of an op-amp that settles within half of it
MARGIN = 1.0  # how far the exponential's table goes beyond the scales rho that an encoder gives


def variational(
    model: SparseCodingModel, x: ArrayLike, encoder: Encoder, *, source: str = "product", **wiring: Any
) -> SignalFlowGraph:
    r"""Wire up variational sparse coding: an encoder, Laplace noise, and a shifted threshold; nothing feeds back.

    .. math:: \tau\,du = -u\,dt + \sqrt{2\tau}\,dW, \quad L = u u_2 + u_3 u_4, \qquad
              s = \begin{cases} 0 & |L| \le \kappa(x) \\ \mu(x) + b(x)\,\mathrm{sign}(L)\,(|L| - \kappa(x)) \end{cases}

    Fallah & Rozell 2022; the circuit is not in the paper. Each u is N(0, 1), and a step of 2 tau forgets it: the
    trapezoid multiplies it by (1 - h/2)/(1 + h/2). The law of s is a spike and slab: see `circuitlsc.model.encoder`.

    Parameters
    ----------
    model : SparseCodingModel
        Gives D, K and whether codes have a sign; the encoder has learned the rest.
    x : array, shape (n_features,)
        Observation, in data units (the first one of a stream).
    encoder : Encoder
    source : str
        ``"product"``: L from four noise voltages and two multipliers for each latent, exactly Laplace; ``"table"``: L from
        one, -sign(u) log 2Q(abs(u)).
    **wiring
        See `Wiring`; the width is that of the threshold's comparators, in units of L.

    Raises
    ------
    InputError
        If the encoder does not fit the model, or the source is unknown.

    Notes
    -----
    At device level, op-amps that settle within half a step are wired up as settled, without pole and slew rate: a
    trapezoid that does not resolve a pole rings, the longer the faster the pole is. Comparators have neither delay nor
    hysteresis here. Where one input is run, its encoder is solved once (`split`), and no pole is seen.
    """
    check_source(source)
    encoder.check_fits(model.n_features, model.n_latents, signed=model.prior.signed)
    how = Wiring(**wiring)
    graph = _feed_forward(model, x, encoder, source, how)
    if how.hardware is None or slowest_op_amp(graph, how.hardware) * how.step < SETTLES:
        return graph
    settled = how.hardware.parts.changed({"op_amp.gbw": math.inf, "op_amp.slew_rate": math.inf})
    return _feed_forward(model, x, encoder, source, replace(how, hardware=replace(how.hardware, parts=settled)))


def slowest_op_amp(graph: SignalFlowGraph, hardware: Hardware) -> float:
    """Return the closed-loop rate of the slowest op-amp, in 1/tau; 0 if none has a pole."""
    part, corner_c = hardware.parts.op_amp, hardware.parts.corner.capacitance
    if math.isinf(part.gbw):
        return 0.0 if math.isinf(part.slew_rate) else FASTEST
    return 2 * math.pi * part.gbw * hardware.scaling.tau / (corner_c * largest_noise_gain(graph))


def largest_noise_gain(graph: SignalFlowGraph) -> float:
    """Return the largest noise gain of any op-amp of an encoder: that of an inverter, or of a row of a crossbar."""
    gains = [float(np.max(np.diag(c.noise_gain))) for c in graph.cells if isinstance(c, cells.TransimpedanceSum)]
    return max([2.0, *gains])


def _feed_forward(
    model: SparseCodingModel, x: ArrayLike, encoder: Encoder, source: str, how: Wiring
) -> SignalFlowGraph:
    """Wire up `variational` with the parts that are given."""
    graph, n = SignalFlowGraph(), model.n_latents
    rows = how.rows(model, x)
    heads = _encode(graph, encoder, model.check_x(x), how)
    reach = encoder.heads(rows).rho
    low, high = float(reach.min()) - MARGIN, float(reach.max()) + MARGIN
    b = graph.add(cells.Exponential("scale", n, table=exponential_table(low, high)), z=heads["rho"])
    if encoder.threshold == "learned":
        kappa = graph.add(cells.Softplus("limit", n, table=softplus_table()), z=heads["eta"])
    else:
        table = held_table(encoder.kappa_at, low, high)
        kappa = graph.add(cells.Softplus("limit", n, table=table), z=heads["rho"])
    draw = _laplace(graph, n, source, how)
    given = {"corner": corner(how.width, signed=True), "rectified": encoder.rectified}
    threshold = how.part(cells.ShiftedThreshold, cells.DeviceShiftedThreshold, "threshold", n, **given)
    graph.add(threshold, laplace=draw, mu=heads["mu"], b=b, kappa=kappa)
    return graph


def split(graph: SignalFlowGraph) -> tuple[SignalFlowGraph, SignalFlowGraph]:
    """Return the encoder of a circuit, and all the rest with the encoder's heads held: what one input needs solved once.

    The cut is at mu, b and kappa: the threshold's cells sense these voltages, and draw no current from their nodes.
    """
    (threshold,) = (cell for cell in graph.cells if isinstance(cell, cells.ShiftedThreshold))
    heads = [graph.inputs(threshold)[port] for port in ("mu", "b", "kappa")]
    before = {head.name for head in heads}.union(*(nx.ancestors(graph.graph, head.name) for head in heads))
    encoder, rest = SignalFlowGraph(), SignalFlowGraph()
    held = {head.name: rest.add(cells.Held(head.name, head.size, symbol=head.letter)) for head in heads}
    for cell in graph.cells:
        (encoder if cell.name in before else rest).add(cell)
    for cell in graph.cells:
        for port, source in graph.inputs(cell).items():
            if cell.name in before:
                encoder.wire(source, cell, port)
            else:
                rest.wire(held.get(source.name, source), cell, port)
    return encoder, rest


def check_source(source: str) -> str:
    """Return where Laplace draws come from; InputError if it is unknown."""
    if source not in SOURCES:
        raise InputError(f"encoder.source = {source!r} is not one of {', '.join(SOURCES)}.")
    return source


def _encode(graph: SignalFlowGraph, encoder: Encoder, x: Array, how: Wiring) -> dict[str, Cell]:
    """Wire up an encoder's layers, and return its heads by name."""
    source: Cell = graph.add(
        cells.Observation("observation", len(x), value=x, target="x", stream=how.stream, **how.streaming)
    )
    hidden = list(zip(encoder.weights[:-1], encoder.biases[:-1], strict=True))
    for k, (weights, bias) in enumerate(hidden, 1):
        minus = _negative(graph, source, k, how)
        layer = weighted_sum(graph, source, minus, f"layer_{k}", f"weights_{k}", weights, bias, how, symbol=f"z{k}")
        given = {"table": rectifier_table(), "symbol": f"h{k}"}
        part = how.part(cells.Rectifier, cells.DeviceRectifier, f"hidden_{k}", len(weights), **given)
        source = graph.add(part, z=layer)
    minus = _negative(graph, source, len(hidden) + 1, how)
    names = ("mu", "rho", "eta")[: len(encoder.weights[-1]) // encoder.n_latents]
    last = (np.split(values[-1], len(names)) for values in (encoder.weights, encoder.biases))
    return {
        name: weighted_sum(graph, source, minus, name, f"weights_{name}", weights, bias, how, symbol=name)
        for name, weights, bias in zip(names, *last, strict=True)
    }


def _negative(graph: SignalFlowGraph, source: Cell, k: int, how: Wiring) -> Cell | None:
    """Add the inverters that all crossbars behind a layer share; none at the ideal level."""
    if how.hardware is None:
        return None
    return negated(graph, source, f"inverter_{k}", how.hardware, symbol=f"n{source.letter}")


def _laplace(graph: SignalFlowGraph, n: int, source: str, how: Wiring) -> Cell:
    """Wire up the noise voltages, and the Laplace draws that they make."""
    states = {}
    for symbol in SYMBOLS if source == "product" else SYMBOLS[:1]:
        end = symbol.removeprefix("u") and f"_{symbol}"
        given = {"start": how.first(n) if not end else np.zeros(n), "conductance": 1.0, "symbol": symbol if end else ""}
        state = graph.add(how.part(cells.Integrator, cells.DeviceIntegrator, f"neuron{end}", n, **given))
        add_noise(graph, state, 1.0, how, name=f"noise{end}")
        states[symbol] = state
    if source == "table":
        return graph.add(cells.LaplaceMap("laplace", n, table=laplace_table()), **states)
    return graph.add(how.part(cells.LaplaceProduct, cells.DeviceLaplaceProduct, "laplace", n), **states)
