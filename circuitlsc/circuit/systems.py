"""Model + input -> signal-flow graph: the systems of the paper, about a page each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit import cells
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.wiring import FORMS as FORMS
from circuitlsc.circuit.wiring import (
    Wiring,
    add_noise,
    code_of,
    force,
    gate_of,
    gram_gradient,
    neurons,
    residual_gradient,
)
from circuitlsc.model.lca import lca_model, lca_threshold
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import PriorCells, rectified_cells
from circuitlsc.model.sparse_coding import SparseCodingModel
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
