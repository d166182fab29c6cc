"""How every system is wired up: integrators, noise, the likelihood's gradient, and the gate that is the force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.cells import (
    Buffer,
    Cell,
    Crossbar,
    DeviceGate,
    DeviceGradient,
    DeviceInput,
    DeviceIntegrator,
    DeviceResidual,
    DeviceThreshold,
    Feedback,
    Gate,
    Gradient,
    Input,
    Integrator,
    NegatedCode,
    NegatedResidual,
    Noise,
    Residual,
    ResistorCrossbar,
    ThermalNoise,
    Threshold,
)
from circuitlsc.circuit.graph import AnyCell, SignalFlowGraph
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import PriorCells
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import expected_ranges

FORMS = ("gram", "residual")  # build_sampler takes "auto" too
REACH = 4.0  # a prior's tables reach so many times beyond the largest u that is expected


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How a graph is wired up, whatever the system.

    Parameters
    ----------
    form : str
        ``"gram"`` (lateral inhibition by A^T A) or ``"residual"`` (r = A s - x, then A^T r).
    width : float
        Input width w of the comparators, in model units.
    noise : str
        ``"external"``, or ``"trrandom"`` for stand-alone decks (a stream of inputs is then written into the deck).
    start : array, shape (n_latents,), or None
        Initial u; None starts at zero.
    hardware : Hardware or None
        The parts of a device-level circuit; None wires up ideal cells.
    reach : float or None
        Largest abs(u) that the prior's tables cover, in model units; None takes four times what is expected.
    stream : Stream or None
        Inputs that follow each other, rows of shape (n_features,); None has one input for ever.
    step : float
        Step of the noise in tau: how long a change of the input takes in a stand-alone deck.
    loop : str
        ``"closed"``, or ``"broken"``: the gradient reaches the gates through a `Feedback` cell.
    """

    form: str = "gram"
    width: float
    noise: str = "external"
    start: ArrayLike | None = None
    hardware: Hardware | None = None
    reach: float | None = None
    stream: Stream | None = None
    step: float = 0.0
    loop: str = "closed"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"form = {self.form!r} is not one of {', '.join(FORMS)}.")
        if not np.isfinite(self.width) or self.width <= 0:
            raise InputError(f"width = {self.width!r}, but a comparator has a finite width > 0 (model units).")

    def part(self, ideal: Callable[..., AnyCell], device: Callable[..., AnyCell], *args: Any, **given: Any) -> AnyCell:
        """Return a cell of the level that is wanted."""
        return ideal(*args, **given) if self.hardware is None else device(*args, **given, hardware=self.hardware)

    def first(self, n: int) -> Array:
        """Return the initial u, shape (n,)."""
        u = np.zeros(n) if self.start is None else real_array("start", self.start)
        if u.shape != (n,):
            raise InputError(f"start has shape {u.shape}, but the model has n_latents = {n}. Pass shape ({n},).")
        return u

    def rows(self, model: SparseCodingModel, x: ArrayLike) -> Array:
        """Return every input, (n_rows, n_features), or the one, (n_features,)."""
        return model.check_x(x) if self.stream is None else self.stream.rows

    def reaching(self, model: SparseCodingModel, x: ArrayLike) -> float:
        """Return the largest abs(u) that the prior's tables cover, in model units."""
        return self.reach if self.reach is not None else REACH * expected_ranges(model, self.rows(model, x)).u


def neurons(graph: SignalFlowGraph, how: Wiring, n: int, **given: Any) -> Integrator:
    """Add the neurons u."""
    return graph.add(how.part(Integrator, DeviceIntegrator, "neuron", n, start=how.first(n), **given))


def add_noise(
    graph: SignalFlowGraph, state: Integrator, temperature: float, how: Wiring, *, strength: float = 1.0
) -> None:
    """Put a noise cell in series with the integrators' capacitors."""
    given: dict[str, Any] = {"form": how.noise, "strength": strength, "capacitor": state.capacitor}
    if isinstance(state, DeviceIntegrator):
        given["capacitors"] = state.capacitor_factors
    noise = how.part(Noise, ThermalNoise, "noise", state.size, temperature=temperature, **given)
    graph.wire(graph.add(noise), state, "noise")


def force(
    graph: SignalFlowGraph,
    state: Integrator,
    model: SparseCodingModel,
    x: ArrayLike,
    how: Wiring,
    *,
    cells: PriorCells | None = None,
    apart: bool = False,
) -> Gate:
    """Wire up -grad E_w: the code, the likelihood's gradient e, and the gate (``apart`` if it acts on a momentum)."""
    cells = cells or model.prior.cells(how.width, how.reaching(model, x))
    code = code_of(graph, state, cells.threshold, how.hardware)
    if how.form == "gram":
        e = gram_gradient(graph, code, model, model.gram, x, how)
    else:
        e = residual_gradient(graph, code, model, x, how)
    if how.loop == "broken":
        feedback = graph.add(Feedback("feedback", e.size))
        graph.wire(e, feedback, "e")
        e = feedback
    return gate_of(graph, state, e, cells, how, apart=apart)


def gram_gradient(
    graph: SignalFlowGraph, code: Cell, model: SparseCodingModel, matrix: Array, x: ArrayLike, how: Wiring
) -> Cell:
    """Wire up e = G s - b with one crossbar."""
    rows = None if how.stream is None else how.stream.with_rows(-model.drives(how.stream.rows))
    return _weighted_sum(graph, code, "gradient", "inhibition", matrix, -model.drive(x), how, rows)


def residual_gradient(graph: SignalFlowGraph, code: Cell, model: SparseCodingModel, x: ArrayLike, how: Wiring) -> Cell:
    """Wire up r = A s - x and e = A^T r / sigma^2 with two crossbars."""
    rows = None if how.stream is None else how.stream.with_rows(-how.stream.rows)
    A = model.connections
    residual = _weighted_sum(graph, code, "residual", "forward", A, -model.check_x(x), how, rows)
    return _weighted_sum(graph, residual, "gradient", "backward", A.T / model.variance, None, how)


def gate_of(
    graph: SignalFlowGraph, state: Integrator, e: Cell, cells: PriorCells, how: Wiring, *, apart: bool = False
) -> Gate:
    """Add the cell that turns e and u into the force."""
    given = {"comparator": cells.comparator, "prior": cells.prior, "stiffness": cells.stiffness, "apart": apart}
    gate = graph.add(how.part(Gate, DeviceGate, "gate", state.size, **given))
    graph.wire(state, gate, "u")
    graph.wire(e, gate, "e")
    return gate


def code_of(graph: SignalFlowGraph, state: Cell, table: Table | None, hardware: Hardware | None) -> Cell:
    """Wire up the code s(u): a threshold cell; without one the state itself, behind a buffer if it has to drive parts."""
    if table is None and hardware is None:
        return state
    code: Cell
    if table is None:
        assert hardware is not None
        code = Buffer("buffer", state.size, hardware=hardware)
    elif hardware is None:
        code = Threshold("threshold", state.size, table=table)
    else:
        code = DeviceThreshold("threshold", state.size, table=table, hardware=hardware)
    graph.wire(state, graph.add(code), "u")
    return code


def _weighted_sum(
    graph: SignalFlowGraph,
    source: Cell,
    target: str,
    name: str,
    matrix: Array,
    constant: Array | None,
    how: Wiring,
    stream: Stream | None = None,
) -> Cell:
    """Wire up target = matrix @ source + constant (or a stream): a crossbar and an input share the target's nodes."""
    matrix, size, hardware = np.asarray(matrix), len(matrix), how.hardware
    crossbar: Cell
    total: Cell
    bias: Callable[..., Input]
    if hardware is None:
        total = {"gradient": Gradient, "residual": Residual}[target](target, size)
        crossbar = Crossbar(name, size, matrix=matrix, source=source.quantity, target=total.quantity)
        bias = Input
    else:
        crossbar = ResistorCrossbar(name, size, matrix=matrix, hardware=hardware)
        amplifiers = {"gradient": DeviceGradient, "residual": DeviceResidual}[target]
        total = amplifiers(
            target,
            size,
            crossbar=crossbar,
            source=source.quantity,
            has_input=constant is not None,
            hardware=hardware,
        )
        inverters = {"s": NegatedCode, "r": NegatedResidual}[source.quantity]
        minus = graph.add(inverters(f"{name}_inverter", source.size, source=source.quantity, hardware=hardware))
        graph.wire(source, minus, "v")
        bias = partial(DeviceInput, crossbar=crossbar, source=source.quantity)
    graph.add(total)
    graph.wire(source, graph.add(crossbar), "v")
    if hardware is not None:
        graph.wire(minus, crossbar, "minus")
    graph.wire(crossbar, total, "crossbar")
    if constant is not None:
        given: dict[str, Any] = {
            "stream": stream,
            "form": "external" if how.noise == "external" else "pwl",
            "step": how.step,
        }
        value = constant if stream is None else stream.rows[0]
        graph.wire(graph.add(bias(f"{name}_input", size, value=value, target=total.quantity, **given)), total, "input")
    return total
