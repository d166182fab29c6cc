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
from circuitlsc.cells.tables import Table, crowded_knots, tabulate
from circuitlsc.errors import InputError
from circuitlsc.graph import SignalFlowGraph
from circuitlsc.hardware import Hardware
from circuitlsc.model import SparseCodingModel
from circuitlsc.priors import Gaussian, Prior

FORMS = ("gram", "residual")


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

    threshold, comparator, prior, stiffness = comparator_tables(model, width)
    code = _code(graph, state, threshold, hardware)

    if form == "gram":
        gradient = _weighted_sum(graph, code, "gradient", "inhibition", model.gram, -model.drive(x), hardware)
    else:
        residual = _weighted_sum(graph, code, "residual", "forward", model.A, -x, hardware)
        gradient = _weighted_sum(graph, residual, "gradient", "backward", model.A.T / model.sigma**2, None, hardware)

    gate: Gate = (
        Gate("gate", n, comparator=comparator, prior=prior, stiffness=stiffness)
        if hardware is None
        else DeviceGate("gate", n, comparator=comparator, prior=prior, stiffness=stiffness, hardware=hardware)
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


def comparator_tables(
    model: SparseCodingModel, width: float, *, per_side: int = 8
) -> tuple[Table | None, Table | None, Table | None, float]:
    """Tabulate a prior's cells: (threshold, comparator, prior, stiffness); None where a cell is linear.

    The code's table is the exact integral of the comparator's between any two knots, so that the pair stays a
    gradient: the mean gate over a segment is the slope of s there.
    """
    prior = model.prior
    if isinstance(prior, Gaussian):
        return None, None, None, 1.0 / prior.sd**2
    # two knots a side suffice for the sign's corner at 0: its table is odd, and noise crosses it fast
    sign = Table(
        np.array([-3.0, -1.8, 1.8, 3.0]) * width,
        prior.cost_grad(np.array([-40.0, -40.0, 40.0, 40.0]) * width, width),
    )
    if prior.signed and not prior.sparse:
        return None, None, sign, 0.0
    u0 = prior.threshold
    knots = crowded_knots(np.array([-u0, u0]), width, per_side=per_side)
    gate = _saturated(tabulate(lambda u: prior.latent_grad(u, width), knots), prior, width)
    return _integral(gate, prior, width), gate, sign, 0.0


def _saturated(gate: Table, prior: Prior, width: float) -> Table:
    """Return a comparator's table that ends in flat segments, and so stays flat however large u becomes."""
    knots = np.concatenate([[gate.knots[0] - width], gate.knots, [gate.knots[-1] + width]])
    low, high = prior.latent_grad(np.array([knots[0], knots[-1]]) + np.array([-40.0, 40.0]) * width, width)
    return Table(knots, np.concatenate([[low, low], gate.values[1:-1], [high, high]]))


def _integral(gate: Table, prior: Prior, width: float) -> Table:
    """Return the code's table as the integral of the comparator's, so that the pair stays a gradient."""
    rise = np.diff(gate.knots) * (gate.values[1:] + gate.values[:-1]) / 2
    s = np.concatenate([[0.0], np.cumsum(rise)])
    if prior.signed:
        s -= (s[0] + s[-1]) / 2  # odd
    else:
        s += prior.latent(gate.knots[:1], width)  # exact far from the corners; 1e-3 w at most inside
    return Table(gate.knots, s)
