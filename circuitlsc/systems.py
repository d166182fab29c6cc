"""Model + input -> signal-flow graph: the systems of the paper, about a page each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.arrays import Array, real_array
from circuitlsc.cells import (
    Buffer,
    Cell,
    Crossbar,
    DeviceGate,
    DeviceGradient,
    DeviceInput,
    DeviceIntegrator,
    DeviceResidual,
    DeviceThreshold,
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
from circuitlsc.errors import InputError
from circuitlsc.graph import SignalFlowGraph
from circuitlsc.hardware import Hardware
from circuitlsc.model import SparseCodingModel
from circuitlsc.scaling import expected_ranges
from circuitlsc.tables import Table

FORMS = ("gram", "residual")
REACH = 4.0  # a prior's tables reach so many times beyond the largest u that is expected


def lsc(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    form: str = "gram",
    width: float,
    temperature: float = 1.0,
    noise: str = "external",
    start: ArrayLike | None = None,
    hardware: Hardware | None = None,
    reach: float | None = None,
) -> SignalFlowGraph:
    r"""Wire up Langevin sparse coding: overdamped Langevin dynamics of the model's smooth energy.

    .. math:: \tau\,du = -\nabla E_w(u; x)\,dt + \sqrt{2 T \tau}\,dW

    Fang et al. 2022, eqs. (2.29), (3.5). With a spike-and-slab prior it is the paper's L0-LSC.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
        Observation, in data units.
    form : str
        ``"gram"`` (lateral inhibition A^T A / sigma^2) or ``"residual"`` (r = A s - x, then A^T r / sigma^2).
    width : float
        Input width w of the comparators, in model units.
    temperature : float
        T in exp(-E/T).
    noise : str
        ``"external"`` or ``"trrandom"``.
    start : array, shape (n_latents,), or None
        Initial u; None starts at zero.
    hardware : Hardware or None
        The parts of a device-level circuit; None wires up ideal cells.
    reach : float or None
        Largest abs(u) that the prior's tables cover, in model units; None takes four times what is expected.

    Notes
    -----
    The comparators are tables of 17 knots per corner: the code is within 0.05 w of the smooth one, the gate within 0.025,
    and the sign's four knots within 0.23 lam. The drift is the gradient of the tables' own energy at any u.
    """
    if form not in FORMS:
        raise InputError(f"form = {form!r} is not one of {', '.join(FORMS)}.")
    if not np.isfinite(width) or width <= 0:
        raise InputError(f"width = {width!r}, but a comparator has a finite width > 0 (model units).")
    x = model.check_x(x)
    n = model.n_latents
    u0 = np.zeros(n) if start is None else real_array("start", start)
    if u0.shape != (n,):
        raise InputError(f"start has shape {u0.shape}, but the model has n_latents = {n}. Pass shape ({n},).")

    graph = SignalFlowGraph()
    state: Integrator
    noise_cell: Noise
    if hardware is None:
        state = Integrator("neuron", n, start=u0)
        noise_cell = Noise("noise", n, temperature=temperature, form=noise)
    else:
        state = DeviceIntegrator("neuron", n, start=u0, hardware=hardware)
        sizes = state.capacitor_factors
        noise_cell = ThermalNoise("noise", n, temperature, noise, hardware=hardware, capacitors=sizes)
    graph.add(state)
    graph.wire(graph.add(noise_cell), state, "noise")

    cells = model.prior.cells(width, reach if reach is not None else REACH * expected_ranges(model, x).u)
    code = _code(graph, state, cells.threshold, hardware)

    if form == "gram":
        gradient = _weighted_sum(graph, code, "gradient", "inhibition", model.gram, -model.drive(x), hardware)
    else:
        residual = _weighted_sum(graph, code, "residual", "forward", model.A, -x, hardware)
        gradient = _weighted_sum(graph, residual, "gradient", "backward", model.A.T / model.sigma**2, None, hardware)

    gate: Gate = (
        Gate("gate", n, comparator=cells.comparator, prior=cells.prior, stiffness=cells.stiffness)
        if hardware is None
        else DeviceGate(
            "gate",
            n,
            comparator=cells.comparator,
            prior=cells.prior,
            stiffness=cells.stiffness,
            hardware=hardware,
        )
    )
    graph.add(gate)
    graph.wire(state, gate, "u")
    graph.wire(gradient, gate, "e")
    graph.wire(gate, state, "drift")
    return graph


def _code(graph: SignalFlowGraph, state: Cell, table: Table | None, hardware: Hardware | None) -> Cell:
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
    hardware: Hardware | None,
) -> Cell:
    """Wire up target = matrix @ source + constant: a crossbar and an input that share the target's nodes."""
    matrix, size = np.asarray(matrix), len(matrix)
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
        graph.wire(graph.add(bias(f"{name}_input", size, value=constant, target=total.quantity)), total, "input")
    return total
