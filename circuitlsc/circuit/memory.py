"""Features of a set of inputs -> signal-flow graph: neurons that are read from a memory crossbar, and written back into it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.cells.noise import noise_power
from circuitlsc.circuit.cells.variational import rectifier_table
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.variational import SETTLES, slowest_op_amp
from circuitlsc.circuit.wiring import Wiring, force, negated, weighted_sum
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.features import RANK, Features
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities, ideal_value
from circuitlsc.planning.scaling import HEADROOM

RINGS = 20.0  # times a step: a rate whose lag does nothing to a loop, and which the trapezoid does not resolve
CROSSTALK = 0.02  # of an input's own response, in the states of another


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

    Notes
    -----
    At device level, op-amps of the lines that settle within half a step are wired up as settled, without pole and slew rate,
    as those of an encoder are (`circuitlsc.circuit.variational.variational`); those of the loop if they settle within a
    twentieth of one: a trapezoid that does not resolve a pole rings, and a drive that rings is written into other inputs.
    """
    how = Wiring(**wiring)
    graph = _amortised(model, x, features, dynamics, how)
    if (hardware := how.hardware) is None or math.isfinite(hardware.parts.op_amp.slew_rate):
        return graph
    if slowest_op_amp(graph, hardware) * how.step < RINGS:
        return graph
    settled = replace(hardware, parts=hardware.parts.changed({"op_amp.gbw": math.inf}))
    return _amortised(model, x, features, dynamics, replace(how, hardware=settled))


def _amortised(
    model: SparseCodingModel, x: ArrayLike, features: Features, dynamics: Dynamics, how: Wiring
) -> SignalFlowGraph:
    """Wire up `amortised` with the parts that are given."""
    graph = SignalFlowGraph()
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
    if how.hardware is not None:
        how = _resolved(how, how.hardware, dynamics)
    if how.hardware is not None:
        check_parts(how.hardware.parts, dynamics)
    h = features.H
    phi, v = _lines(graph, how, features, dynamics)
    per_neuron = dynamics.noise == "neuron"
    given: dict[str, Any] = {"start": how.first(n * h), "n_features": h, "conductance": dynamics.leak}
    given["noisy"] = not per_neuron or _in_series(how)
    weights = graph.add(how.part(cells.Memory, cells.DeviceMemory, "memory", n * h, **given))
    sizes: dict[str, Any] = {"rows": n, "hardware": how.hardware}
    read = graph.add(cells.Read("read", n, h, **sizes), w=weights, phi=phi)
    neurons = graph.add(cells.Neurons("neuron", n), crossbar=read)
    drive = graph.add(cells.Drive("drive", n))
    write = graph.add(cells.Write("write", n * h, h, **sizes), d=drive, v=v)
    graph.wire(write, weights, "drift")
    if per_neuron:
        _neuron_noise(graph, how, dynamics.T, write, weights, drive, v)
    else:
        _weight_noise(graph, how, dynamics.T, weights, features.N)
    return Memory(neurons, drive)


def _weight_noise(graph: SignalFlowGraph, how: Wiring, temperature: float, weights: cells.Memory, n: int) -> None:
    """Add noise of each weight; each of n inputs is on for one n-th of the time, weight noise always."""
    given: dict[str, Any] = {"temperature": temperature, "form": how.noise, "capacitors": weights.capacitor_factors}
    strength = float(np.sqrt(1 / n))
    noise: cells.Noise
    if (hardware := how.hardware) is None:
        noise = cells.WeightNoise("noise", weights.size, strength=strength, **given)
    else:
        unit = hardware.scaling.volts("w") / hardware.scaling.volt
        given |= {"strength": strength * unit, "unit": unit, "hardware": hardware}
        noise = cells.ThermalWeightNoise("noise", weights.size, **given)
    graph.wire(graph.add(noise), weights, "noise")


def _resolved(how: Wiring, hardware: Hardware, dynamics: Dynamics) -> Wiring:
    """Take noise of neurons for white if it forgets within half a step: a drive that rings is written into other inputs."""
    part = hardware.parts.noise
    if dynamics.noise == "weight" or part.capacitance == 0:
        return how
    rate = hardware.scaling.tau / (hardware.ohm(part.resistance) * hardware.farad(part.capacitance))
    if rate * how.step < SETTLES:
        return how
    return replace(how, hardware=replace(hardware, parts=hardware.parts.changed({"noise.capacitance": 0.0})))


def _in_series(how: Wiring) -> bool:
    """Return whether noise of neurons is in series with the weights: white, and from outside."""
    return how.noise == "external" and (how.hardware is None or how.hardware.parts.noise.capacitance == 0)


def _neuron_noise(
    graph: SignalFlowGraph,
    how: Wiring,
    temperature: float,
    write: cells.Write,
    weights: cells.Memory,
    drive: cells.Drive,
    v: Cell,
) -> None:
    """Add noise of each neuron: white, in series with what it is written into; all else, and of decks, as currents into d."""
    given: dict[str, Any] = {"temperature": temperature, "form": how.noise}
    n, hardware = drive.size, how.hardware
    part = None if hardware is None else hardware.parts.noise
    series = _in_series(how)
    if series or hardware is None:
        power = np.ones(n) if hardware is None else noise_power(hardware, tuple(f"noise_{k}" for k in range(n)))
        places: dict[str, Any] = {"write": write, "capacitors": weights.capacitor_factors, "power": power}
        written = graph.add(cells.WrittenNoise("noise", n, **given, **places), v=v)
        graph.wire(written, *((weights, "noise") if series else (drive, "other")))
    if hardware is not None and part is not None and not (series and part.offset == part.flicker_corner == 0):
        places = {"write": write, "weights": weights.capacitor_factors, "capacitors": np.ones(n), "hardware": hardware}
        driven = cells.DriveNoise("noise_drive" if series else "noise", n, **given, **places)
        graph.wire(graph.add(driven, v=v), drive, "other")


def check_parts(parts: Nonidealities, dynamics: Dynamics) -> None:
    """Raise InputError if a circuit with a memory has no part that could have an imperfection, or cannot show it."""
    white, refused = dynamics.noise == "neuron" and parts.noise.capacitance == 0, dict[str, list[str]]()
    for imperfection in parts.imperfections():
        name = imperfection.name
        if name.startswith("integrator.") and name != "integrator.rail":
            why = "neurons of a memory are nodes where currents add; its capacitors are those of [nonideal.plastic]"
        elif name.startswith("transconductor."):
            why = "there is no momentum"
        elif white and name in ("noise.ac_corner", "noise.supply_correlation"):
            why = "white noise reaches each weight by itself; give noise.capacitance > 0, or leave it out"
        else:
            continue
        refused.setdefault(why, []).append(f"nonideal.{name} = {imperfection.value!r} (ideal: {ideal_value(name)!r})")
    if refused:
        said = "; ".join(f"{', '.join(names)} has no place in a memory: {why}" for why, names in refused.items())
        raise InputError(f"{said}. Set {'it' if sum(map(len, refused.values())) == 1 else 'each'} to its ideal value.")


def _lines(graph: SignalFlowGraph, how: Wiring, features: Features, dynamics: Dynamics) -> tuple[Cell, Cell]:
    """Add the lines phi that read, and the lines v that write.

    At device level, op-amps that settle within half a step are wired up as settled, as those of an encoder are
    (`circuitlsc.circuit.variational.variational`).
    """
    if (hardware := how.hardware) is not None:
        alone = SignalFlowGraph()
        _wired_lines(alone, how, features, dynamics)
        if slowest_op_amp(alone, hardware) * how.step >= SETTLES:
            settled = hardware.parts.changed({"op_amp.gbw": math.inf, "op_amp.slew_rate": math.inf})
            how = replace(how, hardware=replace(hardware, parts=settled))
    return _wired_lines(graph, how, features, dynamics)


def _wired_lines(graph: SignalFlowGraph, how: Wiring, features: Features, dynamics: Dynamics) -> tuple[Cell, Cell]:
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
        given: dict[str, Any] = {
            "stream": how.stream,
            "symbol": "seen",
            **how.streaming,
        }  # the gradient's inputs are x in decks
        seen = graph.add(cells.Observation("observation", d, value=x[0], target="x", **given))
        minus = _negative(graph, seen, how)
        drawn = (features.weights, features.bias, how)
        layer = weighted_sum(graph, seen, minus, "features_sum", "features_weights", *drawn, symbol="z")
        device = cells.FeatureRectifier if dynamics.write == "same" else cells.DeviceRectifier
        part = how.part(cells.Rectifier, device, "features", features.H, table=rectifier_table(), symbol="phi")
        phi = graph.add(part, z=layer)
    if dynamics.write == "same" or features.orthonormal:
        return phi, phi
    matrix = features.dual_matrix
    if dynamics.dual_from == "measured":
        inverse = np.linalg.pinv(_at_rest(graph, phi)[phi.name].T, rcond=RANK)
        matrix = inverse.T @ inverse
    v = weighted_sum(graph, phi, _negative(graph, phi, how), "dual", "dual_weights", matrix, None, how, symbol="v")
    return phi, v


def _at_rest(graph: SignalFlowGraph, *wanted: Cell) -> dict[str, Array]:
    """Return what cells put out that states do not reach, once all has settled, by name: a row for each streamed input."""
    names = {cell.name for cell in wanted}.union(*(nx.ancestors(graph.graph, cell.name) for cell in wanted))
    values: dict[str, Array] = {}
    for name in nx.topological_sort(graph.graph.subgraph(names)):
        cell = graph.graph.nodes[name]["cell"]
        if isinstance(cell, cells.Input) and cell.stream is not None:
            values[name] = cell.stream.rows
        else:
            values[name] = cell.evaluate({port: values[source.name] for port, source in graph.inputs(cell).items()})
    return values


def lines_at_rest(graph: SignalFlowGraph) -> tuple[Array, Array]:
    """Return the lines phi and v of each input once they have settled, as the circuit has them, each (H, N)."""
    (read,), (write,) = ([c for c in graph.cells if isinstance(c, kind)] for kind in (cells.Read, cells.Write))
    phi, v = graph.inputs(read)["phi"], graph.inputs(write)["v"]
    values = _at_rest(graph, phi, v)
    return values[phi.name].T, values[v.name].T


def _negative(graph: SignalFlowGraph, source: Cell, how: Wiring) -> Cell | None:
    """Add the inverters of a crossbar's source; none at the ideal level."""
    if how.hardware is None:
        return None
    return negated(graph, source, f"{source.name}_inverter", how.hardware, symbol=f"n{source.letter}")


def largest_weight(features: Features, u: float) -> float:
    """Return how large a weight becomes if no state is above u, model units over the features'."""
    return float(u * np.abs(features.dual).sum(1).max())


def check_lines(phi: Array, v: Array, volt: float, rails: float) -> None:
    """Raise InputError if the lines phi and v (H, N) do not fit between the rails, at volts per unit."""
    for name, values in (("features", phi), ("vectors that write", v)):
        largest, room = float(np.abs(values).max()), HEADROOM * rails
        if largest * volt > room:
            raise InputError(
                f"the {name} reach {largest:.3g}, {largest * volt:.3g} V, and {HEADROOM:.0%} of rails of +-{rails:g} V can be "
                "used. Give features of another size, or better conditioned ones (more of them)."
            )


def crosstalk(phi: Array, v: Array) -> float:
    """Return max abs(Phi^T V - 1): how much the states of other inputs change while one is on, relative to its own."""
    return float(np.abs(phi.T @ v - np.eye(phi.shape[1])).max())


def independent(features: Features, dynamics: Dynamics) -> bool:
    """Return whether an input that is on is meant to move its own states alone."""
    return features.rank == features.N and (dynamics.write == "dual" or features.orthonormal)


def responses(graph: SignalFlowGraph) -> Array:
    r"""Return how fast each neuron's state of an input moves while an input is on, (K, N, N); 1 if all parts are ideal.

    .. math:: M^k_{mn} = \sum_h \frac{g_{kh}\,(\phi_{hm} + o_{kh})\;g'_{kh}\,(v_{hn} + o'_{kh})}{C_{kh}}

    with the gains and offsets of the read and write multipliers, capacitors relative to C_int, and the lines that the
    circuit has: m is read, n is on.

    *What it does to the posterior.* Drift and noise of an input go through the same line: it moves M_nn times as far, at
    M_nn times the temperature, of which all statistics are functions of the first order. What it does to others,
    m != n, is of the second order: noise of another input that has no mean, M_mn^2 of its power (not in the paper).
    """
    (read,), (write,) = ([c for c in graph.cells if isinstance(c, kind)] for kind in (cells.Read, cells.Write))
    (memory,) = (cell for cell in graph.cells if isinstance(cell, cells.Memory))
    phi, v = lines_at_rest(graph)
    (gain, _, reads), (written, _, writes) = read.errors, write.errors
    both = gain * written / memory.capacitor_factors.reshape(gain.shape)
    return np.asarray(np.einsum("khm,khn->kmn", both[..., None] * (phi + reads[..., None]), v + writes[..., None]))
