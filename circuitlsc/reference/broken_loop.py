r"""The NumPy trapezoid with a broken loop, on the circuit's own noise path; see `circuitlsc.planning.broken_loop`.

.. math:: u_{k+1} = u_k + \tfrac{h}{2}\left[F(u_k, f_k) + F(u_{k+1}, f_{k+1})\right] + \sqrt{2T}\,(W_{k+1} - W_k), \qquad
          f_{k+1} = 2 e_k - e_{k-1} + \tfrac12 (e_k - f_k)

with F the gates' force and e the gradient at the grid points. A chain begins as if its gradient had been constant before;
the restarts of a chunked run leave f as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from circuitlsc.circuit.cells import Feedback
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.io.arrays import Array
from circuitlsc.planning.extrapolation import extrapolate
from circuitlsc.reference.pathwise import between, trapezoid


def broken_trapezoid(
    graph: SignalFlowGraph,
    twin: Twin,
    start: Array,
    increments: Array,
    step: float,
    *,
    chunk: int,
    inputs: Mapping[str, Array] | None = None,
) -> Array:
    """Integrate the twin of a circuit with a broken loop; arguments as for `circuitlsc.reference.pathwise.trapezoid`.

    Raises
    ------
    TrapezoidFailed
        If Newton's iteration finds no solution of a step.
    """
    cell = next(c for c in graph.cells if isinstance(c, Feedback))
    source = graph.inputs(cell)["e"].name
    now = following = older = twin.signals(start, between(inputs, 0, 0.0))[source]

    def with_gradient(k: int, share: float) -> dict[str, Array]:
        return {**(between(inputs, k, share) or {}), cell.name: now + share * (following - now)}

    def extrapolated(k: int, u: Array) -> None:
        nonlocal now, following, older
        e = twin.signals(u, between(inputs, k, 1.0))[source]
        now, following, older = following, extrapolate(e, older, following), e

    return trapezoid(twin, start, increments, step, chunk=chunk, inputs=with_gradient, after=extrapolated)
