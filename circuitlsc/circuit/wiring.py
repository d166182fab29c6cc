"""How every system is wired up: integrators, noise, the likelihood's gradient, and the gate that is the force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell, Gate, Integrator
from circuitlsc.circuit.graph import AnyCell, SignalFlowGraph
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import PriorCells
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
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
    smoothing : Smoothing
        What comparators of that width make of a corner.
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
    silicon : Silicon or None
        The chip of a circuit in transistors, whose cells take the place of those above.
    """

    form: str = "gram"
    width: float
    smoothing: Smoothing = LOGISTIC
    noise: str = "external"
    start: ArrayLike | None = None
    hardware: Hardware | None = None
    reach: float | None = None
    stream: Stream | None = None
    step: float = 0.0
    loop: str = "closed"
    silicon: Silicon | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"form = {self.form!r} is not one of {', '.join(FORMS)}.")
        if not np.isfinite(self.width) or self.width <= 0:
            raise InputError(f"width = {self.width!r}, but a comparator has a finite width > 0 (model units).")

    @property
    def streaming(self) -> dict[str, Any]:
        """How a stream enters (see `Input`)."""
        return {"form": "external" if self.noise == "external" else "pwl", "step": self.step}

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
    return graph.add(how.part(cells.Integrator, cells.DeviceIntegrator, "neuron", n, start=how.first(n), **given))


def add_noise(
    graph: SignalFlowGraph,
    state: Integrator,
    temperature: float,
    how: Wiring,
    *,
    strength: float = 1.0,
    name: str = "noise",
) -> None:
    """Put a noise cell in series with the integrators' capacitors."""
    if how.silicon is not None:
        made = how.silicon.noise(name, state.size, temperature, how.noise)
        graph.wire(graph.add(made), state, "noise")
        return
    given: dict[str, Any] = {"form": how.noise, "strength": strength, "capacitor": state.capacitor}
    if how.hardware is not None:
        given["capacitors"] = state.capacitor_factors
    noise = how.part(cells.Noise, cells.ThermalNoise, name, state.size, temperature=temperature, **given)
    graph.wire(graph.add(noise), state, "noise")


def force(
    graph: SignalFlowGraph,
    state: Cell,
    model: SparseCodingModel,
    x: ArrayLike,
    how: Wiring,
    *,
    tables: PriorCells | None = None,
    apart: bool = False,
) -> Cell:
    """Wire up -grad E_w: the code, the likelihood's gradient e, and the gate (``apart`` if it acts on a momentum)."""
    if how.silicon is not None:
        return how.silicon.force(graph, state, model, how.stream, **how.streaming)
    tables = tables or model.prior.cells(how.width, how.reaching(model, x), how.smoothing)
    code = code_of(graph, state, tables.threshold, how.hardware)
    if how.form == "gram":
        e = gram_gradient(graph, code, model, model.gram, x, how)
    else:
        e = residual_gradient(graph, code, model, x, how)
    if how.loop == "broken":
        e = graph.add(cells.Feedback("feedback", e.size), e=e)
    return gate_of(graph, state, e, tables, how, apart=apart)


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
    graph: SignalFlowGraph, state: Cell, e: Cell, tables: PriorCells, how: Wiring, *, apart: bool = False
) -> Gate:
    """Add the cell that turns e and u into the force."""
    given = {"comparator": tables.comparator, "prior": tables.prior, "stiffness": tables.stiffness, "apart": apart}
    return graph.add(how.part(cells.Gate, cells.DeviceGate, "gate", state.size, **given), u=state, e=e)


def code_of(graph: SignalFlowGraph, state: Cell, table: Table | None, hardware: Hardware | None) -> Cell:
    """Wire up the code s(u): a threshold cell; without one the state itself, behind a buffer if it has to drive parts."""
    if hardware is None:
        return state if table is None else graph.add(cells.Threshold("threshold", state.size, table=table), u=state)
    if table is None:
        return graph.add(cells.Buffer("buffer", state.size, hardware=hardware), u=state)
    return graph.add(cells.DeviceThreshold("threshold", state.size, table=table, hardware=hardware), u=state)


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
    minus = None if how.hardware is None else negated(graph, source, f"{name}_inverter", how.hardware)
    return weighted_sum(graph, source, minus, target, name, matrix, constant, how, stream=stream)


def negated(graph: SignalFlowGraph, source: Cell, name: str, hardware: Hardware, **given: Any) -> Cell:
    """Add the inverters that a crossbar of resistors needs beside its source."""
    inverter = {
        "s": cells.NegatedCode,
        "r": cells.NegatedResidual,
        "x": cells.NegatedObservation,
        "h": cells.NegatedHidden,
        "phi": cells.NegatedHidden,
    }[source.quantity]
    return graph.add(inverter(name, source.size, source=source.quantity, hardware=hardware, **given), v=source)


#: vectors of nodes where currents add, by the name of their cell, ideal and device
SUMS: dict[str, tuple[Callable[..., Cell], Callable[..., Cell]]] = {
    "gradient": (cells.Gradient, cells.DeviceGradient),
    "residual": (cells.Residual, cells.DeviceResidual),
}


def weighted_sum(
    graph: SignalFlowGraph,
    source: Cell,
    minus: Cell | None,
    target: str,
    name: str,
    matrix: Array,
    constant: Array | None,
    how: Wiring,
    *,
    stream: Stream | None = None,
    symbol: str = "",
) -> Cell:
    """Wire up target = matrix @ source + constant (or a stream), as `_weighted_sum`.

    Parameters
    ----------
    minus : Cell or None
        The source's negative, at device level.
    target, name : str
        Names of the sum (one of `SUMS`, or else a layer of an encoder) and of the crossbar.
    symbol : str
        What the sum's nodes are called, if not by its quantity.
    """
    matrix, size, hardware, quantity = np.asarray(matrix), len(matrix), how.hardware, source.quantity
    ideal, device = SUMS.get(target, (cells.Layer, cells.DeviceLayer))
    crossbar: Cell
    total: Cell
    bias: Callable[..., cells.Input] = cells.Input
    if hardware is None:
        total = graph.add(ideal(target, size, symbol=symbol))
        crossbar = cells.Crossbar(name, size, matrix=matrix, source=quantity, target=total.quantity)
        graph.add(crossbar, v=source)
    else:
        assert minus is not None
        crossbar = cells.ResistorCrossbar(name, size, matrix=matrix, hardware=hardware)
        given: dict[str, Any] = {"crossbar": crossbar, "source": quantity}
        has_input = constant is not None
        total = graph.add(device(target, size, **given, has_input=has_input, hardware=hardware, symbol=symbol))
        graph.add(crossbar, v=source, minus=minus)
        bias = partial(cells.DeviceInput, **given)
    graph.wire(crossbar, total, "crossbar")
    if constant is not None:
        value = constant if stream is None else stream.rows[0]
        entering = bias(f"{name}_input", size, value=value, target=total.quantity, stream=stream, **how.streaming)
        graph.wire(graph.add(entering), total, "input")
    return total
