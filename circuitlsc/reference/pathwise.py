r"""The NumPy trapezoid on the circuit's own noise path: circuit against software, point by point.

.. math:: u_{k+1} = u_k + \tfrac{h}{2}\left[f(u_k) + f(u_{k+1})\right] + \sqrt{2T}\,(W_{k+1} - W_k)

It is what ngspice integrates: Brownian voltage in series with the capacitor, implicit trapezoid, and at the start of
each chunk two backward-Euler steps of 1e-4 h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from circuitlsc.circuit.cells import Feedback
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.errors import CircuitLSCError
from circuitlsc.io.arrays import Array
from circuitlsc.planning.extrapolation import FIRST, extrapolate

Inputs = Callable[[int, float], Mapping[str, Array] | None]
#: shares of a chunk's first step at which there are points, its length in steps, and how many of them by backward Euler
Opening = tuple[tuple[float, ...], float, int]

NEWTON_STEPS = 60
FULL_STEPS = 12  # of them without a line search
HALVINGS = 20
ITERATIONS = 100  # of a circuit simulator's Newton iteration: itl4 of our decks
SETTLED = 1e-7  # model units: where they have found their solution
CONVERGED = 1e-11
CUT = 8  # into how many pieces ngspice cuts a step without a solution


class TrapezoidFailed(CircuitLSCError):
    """Newton's iteration found no solution of an implicit step."""


def implicit_step(
    twin: Twin, base: Array, weight: float, guess: Array, x: Mapping[str, Array] | None = None
) -> tuple[Array, Array]:
    r"""Solve :math:`v = base + weight\, f(v)` by Newton's iteration.

    Parameters
    ----------
    twin : Twin
    base, guess : array, shape (n, twin.size)
        n independent systems.
    weight : float
        h/2 for the trapezoid, h for backward Euler.
    x : mapping or None
        The input at the end of the step, if it is streamed (see `Twin`).

    Returns
    -------
    v, f(v) : arrays, shape (n, twin.size)

    Raises
    ------
    TrapezoidFailed
        If it does not converge.
    """
    v, eye = guess, np.eye(twin.size)
    f, jacobian = twin.linearise(v, x)
    error = base + weight * f - v
    for attempt in range(NEWTON_STEPS):
        if np.max(np.abs(error)) < CONVERGED:
            return v, f
        move = np.linalg.solve(eye - weight * jacobian, error[..., None])[..., 0]
        size, share = np.linalg.norm(error, axis=-1), np.ones(len(v))
        for _ in range(1 if attempt < FULL_STEPS else HALVINGS):
            trial = v + share[:, None] * move
            f, jacobian = twin.linearise(trial, x)
            error = base + weight * f - trial
            # tables have corners, where full steps can cycle: shorten those that lead away
            worse = np.linalg.norm(error, axis=-1) > (1 - 1e-4 * share) * size
            if not worse.any():
                break
            share = np.where(worse, share / 2, share)
        v = trial
    raise TrapezoidFailed(
        "the implicit step has no solution that Newton's iteration finds. Use a smaller step or a larger width."
    )


def simulator_step(
    twin: Twin, base: Array, weight: float, nodes: Mapping[str, Array], x: Mapping[str, Array] | None = None
) -> tuple[Array, Array]:
    r"""Solve :math:`v = base + weight\, f(v)` as a circuit simulator does: it finds the same one of several solutions.

    Where the gradient at a gate is large, a step of h has two solutions or three. Newton's iteration of a simulator starts
    from the last time point's node voltages, and linearises every part at its own nodes, which agree only at the end.

    Parameters
    ----------
    twin, base, weight, x
        As for `implicit_step`.
    nodes : mapping
        Outputs of every cell at the last time point.

    Returns
    -------
    v, f(v) : arrays, shape (n, twin.size)

    Raises
    ------
    TrapezoidFailed
        If it does not converge: a simulator cuts the step.
    """
    fast = twin.fast
    eye, v = np.eye(len(fast)), np.full_like(base, np.inf)
    for _ in range(ITERATIONS):
        c, M = twin.affine(nodes, x)
        known, last = base + weight * c[""], v
        moved = np.linalg.solve(eye - weight * M[""][..., fast, :], known[..., fast, None])
        v = known + weight * (M[""] @ moved)[..., 0]
        v[..., fast] = moved[..., 0]
        nodes = {
            name: v[..., place] if place is not None else c[name] + (M[name] @ moved)[..., 0] if name in M else c[name]
            for name, place in twin.places.items()
        }
        if np.max(np.abs(v - last)) < SETTLED:
            return implicit_step(twin, base, weight, v, x)
    raise TrapezoidFailed("a simulator's Newton iteration does not converge within a step. Use a smaller step.")


def trapezoid(
    twin: Twin,
    start: Array,
    increments: Array,
    step: float,
    *,
    chunk: int,
    inputs: Mapping[str, Array] | Inputs | None = None,
    restarts: Mapping[int, Array] | None = None,
    tries: int = 1,
    simulator: bool = False,
    after: Callable[[int, Array], None] | None = None,
    opening: Opening | None = None,
) -> Array:
    """Integrate the twin on given noise increments.

    Parameters
    ----------
    twin : Twin
    start : array, shape (n_chains, twin.size)
        Initial state, in model units.
    increments : array, shape (n_steps, n_chains, twin.size)
        What the noise adds to the state in each step, in model units.
    step : float
        h, in units of tau.
    chunk : int
        Steps between restarts of the integration.
    inputs : mapping, callable or None
        By cell, the streamed input at the grid points 0 .. n_steps, shape (n_steps + 1, n_inputs); or ``inputs(k, share)``,
        which returns the inputs by cell a share of the step after the grid point k.
    restarts : mapping or None
        States (n_chains, twin.size) to go on from after so many steps.
    tries : int
        How often a step without a solution is cut, as ngspice does: an eighth of it first, by backward Euler.
    simulator : bool
        Whether to search a step's solution as ngspice does (`simulator_step`), which matters where it has several.
    after : callable or None
        Called with k and the state after each step.
    opening : Opening or None
        How a chunk's first step is cut; None as ngspice does it.

    Returns
    -------
    array, shape (n_steps, n_chains, twin.size)
        State at t = h, 2h, ...
    """
    at = inputs if callable(inputs) else partial(between, inputs)

    def rest_of_step(k: int, u: Array, f: Array, begin: float, tries: int) -> tuple[Array, Array]:
        """Go from a share ``begin`` of a step to its end; return the state and its drift."""
        share, dw = 1.0 - begin, increments[k]
        base, weight = u + 0.5 * share * step * f + share * dw, 0.5 * share * step
        try:
            if simulator:
                return simulator_step(twin, base, weight, twin.signals(u, at(k, begin)), at(k, 1.0))
            return implicit_step(twin, base, weight, base + weight * f, at(k, 1.0))
        except TrapezoidFailed:
            if tries <= 1:
                raise
        part = share / CUT
        try:
            u, f = implicit_step(twin, u + part * dw, part * step, u, at(k, begin + part))
        except TrapezoidFailed:
            # a corner of a table right at the solution: a smaller piece of it
            part /= CUT
            u, f = implicit_step(twin, u + part * dw, part * step, u, at(k, begin + part))
        return rest_of_step(k, u, f, begin + part, tries - 1)

    out = np.empty_like(increments)
    u = np.array(start, dtype=float)
    for k, dw in enumerate(increments):
        begin = 0.0
        if restarts is not None and k in restarts:
            u = restarts[k]
            f = twin.drift(u, at(k, 0.0))
        if k % chunk == 0 and opening is not None:
            u, f = _opened(twin, u, dw, step, partial(at, k), opening)
        else:
            if k % chunk == 0:
                for part in (FIRST, 2 * FIRST):
                    u, f = implicit_step(twin, u + FIRST * dw, FIRST * step, u, at(k, part))
                begin = 2 * FIRST
            u, f = rest_of_step(k, u, f, begin, tries)
        out[k] = u
        if after is not None:
            after(k, u)
    return out


def _opened(
    twin: Twin, u: Array, dw: Array, step: float, at: Callable[[float], Mapping[str, Array] | None], opening: Opening
) -> tuple[Array, Array]:
    """Go through a chunk's first step point by point; return the state at its end and its drift."""
    shares, length, euler = opening
    begin, f = 0.0, np.zeros_like(u)
    for i, share in enumerate(shares):
        part, x = share - begin, at(share)
        h, base = part * length * step, u + part * dw
        if i < euler:
            u, f = implicit_step(twin, base, h, u, x)
        else:
            u, f = implicit_step(twin, base + 0.5 * h * f, 0.5 * h, base + h * f, x)
        begin = share
    return u, f


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
    r"""Integrate the twin of a circuit with a broken loop (`circuitlsc.planning.broken_loop`); arguments as for `trapezoid`.

    .. math:: u_{k+1} = u_k + \tfrac{h}{2}\left[F(u_k, f_k) + F(u_{k+1}, f_{k+1})\right] + \sqrt{2T}\,(W_{k+1} - W_k), \qquad
              f_{k+1} = 2 e_k - e_{k-1} + \tfrac12 (e_k - f_k)

    with F the gates' force and e the gradient at the grid points. A chain begins as if its gradient had been constant
    before; the restarts of a chunked run leave f as it is.

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


def between(inputs: Mapping[str, Array] | None, k: int, share: float) -> dict[str, Array] | None:
    """Return the streamed input a share of the step after the grid point k."""
    if inputs is None:
        return None
    return {name: path[k] + share * (path[k + 1] - path[k]) for name, path in inputs.items()}
