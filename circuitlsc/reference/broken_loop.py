r"""The NumPy trapezoid with a broken loop, on the circuit's own noise path; see `circuitlsc.planning.broken_loop`.

.. math:: u_{k+1} = u_k + \tfrac{h}{2}\left[F(u_k, f_k) + F(u_{k+1}, f_{k+1})\right] + \sqrt{2T}\,(W_{k+1} - W_k), \qquad
          f_{k+1} = 2 e_k - e_{k-1} + \tfrac12 (e_k - f_k)

with F the gates' force and e the gradient at the grid points. A chain begins as if its gradient had been constant before;
the restarts of a chunked run leave f as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from circuitlsc.circuit.cells import Feedback
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.io.arrays import Array
from circuitlsc.planning.extrapolation import extrapolate
from circuitlsc.reference.pathwise import between, implicit_step
from circuitlsc.simulator.ngspice.callbacks import FIRST


def broken_trapezoid(
    graph: SignalFlowGraph,
    twin: Twin,
    start: Array,
    increments: Array,
    step: float,
    *,
    chunk: int,
    inputs: Mapping[str, Array] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Array:
    """Integrate the twin of a circuit with a broken loop; arguments as for `circuitlsc.reference.pathwise.trapezoid`.

    Raises
    ------
    TrapezoidFailed
        If Newton's iteration finds no solution of a step.
    """
    cell = next(c for c in graph.cells if isinstance(c, Feedback))
    source = graph.inputs(cell)["e"].name

    def gradient(u: Array, x: Mapping[str, Array] | None) -> Array:
        return twin.signals(u, x)[source]

    out = np.empty_like(increments)
    u = np.array(start, dtype=float)
    now = following = older = gradient(u, between(inputs, 0, 0.0))
    F = twin.drift(u, {cell.name: now})
    for k, dw in enumerate(increments):
        begin = 0.0
        if k % chunk == 0:
            for part in (FIRST, 2 * FIRST):
                x = between(inputs, k, part) or {}
                f = now + part * (following - now)
                u, F = implicit_step(twin, u + FIRST * dw, FIRST * step, u, {**x, cell.name: f})
            begin = 2 * FIRST
        x, weight = between(inputs, k, 1.0) or {}, 0.5 * (1 - begin) * step
        base = u + weight * F + (1 - begin) * dw
        u, F = implicit_step(twin, base, weight, base + weight * F, {**x, cell.name: following})
        e = gradient(u, x)
        now, following, older = following, extrapolate(e, older, following), e
        out[k] = u
        if progress is not None and k % 500 == 0:
            progress(k)
    return out
