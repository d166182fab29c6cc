"""Features of a set of inputs -> signal-flow graph: neurons that are read from a memory crossbar, and written back into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.cells.variational import rectifier_table
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import Wiring, force, negated, weighted_sum
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.features import Features
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.scaling import HEADROOM


@dataclass(frozen=True, eq=False)
class Memory:
    """Neurons on a memory: what a system's cells read, and where its force goes.

    Attributes
    ----------
    neurons : Cell
        The states u, read from the weights.
    drive : Cell
        What is written, d: the gate's currents enter at its port ``"crossbar"``.
    """

    neurons: Cell
    drive: Cell


def amortised(
    model: SparseCodingModel, x: ArrayLike, features: Features, dynamics: Dynamics, **wiring: Any
) -> SignalFlowGraph:
    r"""Wire up amortised Langevin dynamics: the states of a set of inputs in plastic weights.

    .. math:: \tau\,dW = (-\nabla E_w(u; x_n)\,dt + \sqrt{2 T \tau}\,dB)\,v_n^T - \kappa_L W\,dt, \qquad u = W \phi_n

    Taniguchi et al. 2022, section 3.1, for inputs that follow each other; noise through the write line and dual write vectors
    are not in the paper. With them u_n is Langevin dynamics of input n that stands still while others are on.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
        The first observation, in data units.
    features : Features
        Of the stream's rows, in their order.
    dynamics : Dynamics
        Of kind ``"amortised"``.
    **wiring
        See `circuitlsc.circuit.wiring.Wiring`, with a stream; ``start`` is W, row by row, (K * H,).

    Raises
    ------
    InputError
        If the memory cannot be built.
    """
    how, graph = Wiring(**wiring), SignalFlowGraph()
    memory = remember(graph, how, model.n_latents, features, dynamics)
    graph.wire(force(graph, memory.neurons, model, x, how, apart=True), memory.drive, "crossbar")
    return graph


def remember(graph: SignalFlowGraph, how: Wiring, n: int, features: Features, dynamics: Dynamics) -> Memory:
    """Add n neurons on a memory, its lines and its noise; ``how.start`` is W, row by row."""
    if how.stream is None:
        raise InputError(
            "a memory holds the states of several inputs that follow each other. Give x with rows, and hold."
        )
    if len(how.stream.rows) != features.N:
        raise InputError(
            f"the features are of {features.N} inputs, and x has {len(how.stream.rows)}. Give a column for each input."
        )
    h = features.H
    phi, v = _lines(graph, how, features, dynamics)
    per_neuron = dynamics.noise == "neuron"
    given: dict[str, Any] = {"start": how.first(n * h), "n_features": h, "conductance": dynamics.leak}
    given["noisy"] = not (per_neuron and how.noise == "trrandom")
    weights = graph.add(how.part(cells.Memory, cells.DeviceMemory, "memory", n * h, **given))
    sizes: dict[str, Any] = {"rows": n, "hardware": how.hardware}
    read = graph.add(cells.Read("read", n, h, **sizes), w=weights, phi=phi)
    neurons = graph.add(cells.Neurons("neuron", n), crossbar=read)
    drive = graph.add(cells.Drive("drive", n))
    write = graph.add(cells.Write("write", n * h, h, **sizes), d=drive, v=v)
    graph.wire(write, weights, "drift")
    common: dict[str, Any] = {"temperature": dynamics.T, "form": how.noise}
    if not per_neuron:
        strength = float(np.sqrt(1 / features.N))  # each input is on for one N-th of the time, weight noise always
        noise = cells.WeightNoise("noise", n * h, capacitors=weights.capacitor_factors, strength=strength, **common)
        graph.wire(graph.add(noise), weights, "noise")
        return Memory(neurons, drive)
    written = cells.WrittenNoise("noise", n, write=write, capacitors=weights.capacitor_factors, **common)
    graph.add(written, v=v)
    # in a deck of its own the noise is a current that is written with the gate's
    graph.wire(written, *((weights, "noise") if how.noise == "external" else (drive, "other")))
    return Memory(neurons, drive)


def _lines(graph: SignalFlowGraph, how: Wiring, features: Features, dynamics: Dynamics) -> tuple[Cell, Cell]:
    """Add the lines phi that read, and the lines v that write."""
    assert how.stream is not None
    rows = features.phi.T
    phi: Cell
    if features.weights is None:
        stream = how.stream.with_rows(rows)
        phi = graph.add(
            cells.FeatureLines("features", features.H, value=rows[0], target="phi", stream=stream, **how.streaming)
        )
    else:
        assert features.bias is not None
        x, d = how.stream.rows, how.stream.rows.shape[1]
        seen = graph.add(
            cells.Observation("observation", d, value=x[0], target="x", stream=how.stream, **how.streaming)
        )
        minus = _negative(graph, seen, how)
        given = (features.weights, features.bias, how)
        layer = weighted_sum(graph, seen, minus, "features_sum", "features_weights", *given, symbol="z")
        part = how.part(
            cells.Rectifier, cells.DeviceRectifier, "features", features.H, table=rectifier_table(), symbol="phi"
        )
        phi = graph.add(part, z=layer)
    if dynamics.write == "same" or features.orthonormal:
        return phi, phi
    v = weighted_sum(
        graph, phi, _negative(graph, phi, how), "dual", "dual_weights", features.dual_matrix, None, how, symbol="v"
    )
    return phi, v


def _negative(graph: SignalFlowGraph, source: Cell, how: Wiring) -> Cell | None:
    """Add the inverters of a crossbar's source; none at the ideal level."""
    if how.hardware is None:
        return None
    return negated(graph, source, f"{source.name}_inverter", how.hardware, symbol=f"n{source.letter}")


def largest_weight(features: Features, u: float) -> float:
    """Return how large a weight becomes if no state is above u, model units over the features'."""
    return float(u * np.abs(features.dual).sum(1).max())


def check_lines(features: Features, volt: float, rails: float) -> None:
    """Raise InputError if the lines phi and v do not fit between the rails, at volts per unit."""
    for name, values in (("features", features.phi), ("dual vectors", features.dual)):
        largest, room = float(np.abs(values).max()), HEADROOM * rails
        if largest * volt > room:
            raise InputError(
                f"the {name} reach {largest:.3g}, {largest * volt:.3g} V, and {HEADROOM:.0%} of rails of +-{rails:g} V can be "
                "used. Give features of another size, or better conditioned ones (more of them)."
            )


def crosstalk(phi: Array, v: Array) -> float:
    """Return max abs(Phi^T V - 1): how much the states of other inputs change while one is on, relative to its own."""
    return float(np.abs(phi.T @ v - np.eye(phi.shape[1])).max())
