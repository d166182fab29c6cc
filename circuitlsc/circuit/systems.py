"""Model + input -> signal-flow graph: the systems of the paper, about a page each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.cells.adaptive import corner
from circuitlsc.circuit.cells.op_amp import FASTEST
from circuitlsc.circuit.cells.variational import (
    exponential_table,
    fixed_table,
    gamma_table,
    laplace_table,
    rectifier_table,
    softplus_table,
)
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import FORMS as FORMS
from circuitlsc.circuit.wiring import (
    Wiring,
    add_noise,
    code_of,
    force,
    gate_of,
    gram_gradient,
    negated,
    neurons,
    residual_gradient,
    weighted_sum,
)
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.lca import lca_model, lca_threshold
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import PriorCells, rectified_cells
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import expected_ranges


def lsc(model: SparseCodingModel, x: ArrayLike, *, temperature: float = 1.0, **wiring: Any) -> SignalFlowGraph:
    r"""Wire up Langevin sparse coding: overdamped Langevin dynamics of the model's smooth energy.

    .. math:: \tau\,du = -\nabla E_w(u; x)\,dt + \sqrt{2 T \tau}\,dW

    Fang et al. 2022, eqs. (2.29), (3.5). With a spike-and-slab prior it is the paper's L0-LSC.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
        Observation, in data units (the first one of a stream).
    temperature : float
        T in exp(-E/T).
    **wiring
        See `Wiring`.

    Notes
    -----
    The comparators are tables of 17 knots per corner: the code is within 0.05 w of the smooth one, the gate within 0.025,
    and the sign's four knots within 0.23 lam. The drift is the gradient of the tables' own energy at any u.
    """
    how, graph, n = Wiring(**wiring), SignalFlowGraph(), model.n_latents
    state = neurons(graph, how, n)
    add_noise(graph, state, temperature, how)
    graph.wire(force(graph, state, model, x, how), state, "drift")
    return graph


def gradient(model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
    r"""Wire up gradient descent on the energy: DSC's inner loop in continuous time, and the inference of SSC.

    .. math:: \tau\,\dot u = -\nabla E_w(u; x)

    Fang et al. 2022, eqs. (2.13), (2.25) (the sign of the likelihood in (2.14) is reversed in print). Arguments as for
    `lsc`. The circuit has no noise source. Nonnegative codes are the state itself, behind a rectifier: the sampler's
    s = abs(u) would keep a latent at u = 0 once it is there (see `rectified_cells`).
    """
    how, graph, n = Wiring(**wiring), SignalFlowGraph(), model.n_latents
    state = neurons(graph, how, n, noisy=False)
    tables = None
    if not model.prior.signed:
        rows = how.rows(model, x)
        tables = rectified_cells(model.prior, how.width, how.reaching(model, x), expected_ranges(model, rows).e)
    graph.wire(force(graph, state, model, x, how, tables=tables), state, "drift")
    return graph


def underdamped(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    mass: float,
    friction: float,
    temperature: float = 1.0,
    **wiring: Any,
) -> SignalFlowGraph:
    r"""Wire up second-order Langevin dynamics: each neuron gets a momentum, by a second integrator.

    .. math:: \tau\,du = \omega p\,dt, \qquad
              \tau\,dp = -(\omega \nabla E_w + \omega^2\gamma\,p)\,dt + \omega\sqrt{2\gamma T\tau}\,dW, \qquad
              \omega = 1/\sqrt m

    Stationary law exp(-(E + p^2/2)/T): that of u does not depend on m and gamma. The paper asks for it in its discussion.

    Parameters
    ----------
    mass : float
        m, in units of tau.
    friction : float
        gamma, relative to the overdamped circuit's.
    model, x, temperature, **wiring
        As for `lsc`.
    """
    how, graph, n = Wiring(**wiring), SignalFlowGraph(), model.n_latents
    omega = 1 / np.sqrt(mass)
    state = neurons(graph, how, n, noisy=False)
    parts = {"capacitor": float(1 / omega), "conductance": float(omega * friction)}
    momentum = graph.add(how.part(cells.Momentum, cells.DeviceMomentum, "momentum", n, start=np.zeros(n), **parts))
    add_noise(graph, momentum, temperature, how, strength=float(np.sqrt(friction)))
    velocity = how.part(cells.Transconductor, cells.DeviceTransconductor, "velocity", n, gain=float(omega))
    graph.wire(graph.add(velocity, p=momentum), state, "drift")
    graph.wire(force(graph, state, model, x, how, apart=True), momentum, "drift")
    return graph


def lca(model: SparseCodingModel, x: ArrayLike, *, threshold: str = "soft", **wiring: Any) -> SignalFlowGraph:
    r"""Wire up the locally competitive algorithm: leaky integrators that inhibit each other through a threshold.

    .. math:: \tau\,\dot u = A^T x - u - (A^T A - I)\,s, \qquad s = g_\theta(u), \qquad \theta = \lambda\sigma^2

    Rozell et al. (2008); Fang et al. 2022, eqs. (2.22)-(2.24), whose threshold lambda is that of sigma = 1.
    With the soft threshold its fixed point is the L1 minimum, for atoms of any norm; with the hard one a local minimum of
    abs(x - A s)^2 + theta^2 count(s != 0), for atoms of unit norm. The residual form computes A^T (A s - x) with two
    crossbars, and each neuron adds its own u - s: the same equation.

    Parameters
    ----------
    threshold : str
        ``"soft"`` or ``"hard"``.
    model, x, **wiring
        As for `lsc`; the prior gives lam and the sign.
    """
    how, graph, n = Wiring(**wiring), SignalFlowGraph(), model.n_latents
    unit = lca_model(model)
    table = lca_threshold(unit.prior.lam, how.width, signed=unit.prior.signed, hard=threshold == "hard")
    state = neurons(graph, how, n, noisy=False)
    code = code_of(graph, state, table, how.hardware)
    if how.form == "gram":
        inhibition = unit.gram - np.eye(n)
        inhibition[np.abs(inhibition) < 1e-12] = 0.0  # atoms of unit norm have no inhibition of their own
        e = gram_gradient(graph, code, unit, inhibition, x, how)
        leak = PriorCells(None, None, None, 1.0)
    else:
        e = residual_gradient(graph, code, unit, x, how)
        leak = PriorCells(None, None, Table(table.knots, table.knots - table.values))
    graph.wire(gate_of(graph, state, e, leak, how), state, "drift")
    return graph


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
    hysteresis here.
    """
    check_source(source)
    encoder.check_fits(model.n_features, model.n_latents, signed=model.prior.signed)
    how = Wiring(**wiring)
    graph = _feed_forward(model, x, encoder, source, how)
    if how.hardware is None or _slowest_op_amp(graph, how.hardware) * how.step < SETTLES:
        return graph
    settled = how.hardware.parts.changed({"op_amp.gbw": math.inf, "op_amp.slew_rate": math.inf})
    return _feed_forward(model, x, encoder, source, replace(how, hardware=replace(how.hardware, parts=settled)))


def _slowest_op_amp(graph: SignalFlowGraph, hardware: Hardware) -> float:
    """Return the closed-loop rate of the slowest op-amp, in 1/tau; 0 if none has a pole."""
    part, corner_c = hardware.parts.op_amp, hardware.parts.corner.capacitance
    if math.isinf(part.gbw):
        return 0.0 if math.isinf(part.slew_rate) else FASTEST
    gains = [float(np.max(np.diag(c.noise_gain))) for c in graph.cells if isinstance(c, cells.TransimpedanceSum)]
    return 2 * math.pi * part.gbw * hardware.scaling.tau / (corner_c * max(2.0, *gains))


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
        law = fixed_table if encoder.threshold == "fixed" else gamma_table
        table = law(**encoder.numbers, low=low, high=high)
        kappa = graph.add(cells.Softplus("limit", n, table=table), z=heads["rho"])
    draw = _laplace(graph, n, source, how)
    given = {"corner": corner(how.width, signed=True), "rectified": encoder.rectified}
    threshold = how.part(cells.ShiftedThreshold, cells.DeviceShiftedThreshold, "threshold", n, **given)
    graph.add(threshold, laplace=draw, mu=heads["mu"], b=b, kappa=kappa)
    return graph


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
