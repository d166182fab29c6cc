"""Integrate one chain in this process: chunks of a transient, each checked before its samples count."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.stream import grid_rows
from circuitlsc.planning.extrapolation import FIRST
from circuitlsc.simulator.ngspice.callbacks import Callbacks
from circuitlsc.simulator.ngspice.diagnosis import diagnose
from circuitlsc.simulator.ngspice.feedback import FeedbackState
from circuitlsc.simulator.ngspice.library import open_session, session_version
from circuitlsc.simulator.ngspice.modules import load_modules
from circuitlsc.simulator.ngspice.noise import task_paths
from circuitlsc.simulator.simulator import Chunk, Counts, TransientFailed
from circuitlsc.simulator.task import ChainState, ChainTask, first_state, has_settled

STARTED = 1e-2  # how far the first time point, 1e-4 h after the start, may be from it (relative, and in model units)


def integrate(task: ChainTask, counts: Counts, state: ChainState | None = None, beside: bytes = b"") -> Iterator[Chunk]:
    """Yield the chunks of a chain.

    Every chunk restarts the capacitors from the voltages that the last one reached, a broken loop from what it
    extrapolated, and the noise paths from 0; ngspice makes its matrix anew for each. So what follows a state is the same in
    whatever process it is computed.

    Parameters
    ----------
    task : ChainTask
    counts : Counts
        Goes on counting from what it holds.
    state : ChainState or None
        Go on from here instead of from the start.
    beside : bytes
        ``beside_tasks`` of `circuitlsc.sampling.circuit.CompiledCircuit`: where the task's inputs come from if it has no rows
        of them, and the modules of its deck.

    Raises
    ------
    TransientFailed
        If ngspice stopped early, left the grid, or returned a value that is not finite.
    MissingSimulatorError
        If the deck has modules, and ngspice cannot load them, or nothing here compiles them.
    """
    begin = time.perf_counter()
    before = replace(counts)
    h = task.step * task.tau
    needed = json.loads(beside) if beside else {}
    solved_once = needed.get("solved_once")
    given = task.inputs if solved_once or task.rows is not None else ()
    callbacks = Callbacks([*task.devices, *given, *task.feedback], h, task.chunk, task.feedback_nodes)
    session = open_session(callbacks.data_address)
    callbacks.install(session)
    units = np.array(task.units)
    try:
        counts.version = session_version(session)
        fixed = operating_point(session, **solved_once) if solved_once else None
        if "modules" in needed:
            load_modules(session, counts.version, needed["modules"]["files"])
        at_rest = at_operating_point(task.deck)
        if not at_rest:
            session.load_circuit(task.deck)
        counts.setup = before.setup + time.perf_counter() - begin
        state = state or first_state(task)
        paths = task_paths(task, state.steps)
        counts.steps = state.steps
        u, held = np.array(state.u, dtype=float), np.array(state.held, dtype=float)
        feedback = FeedbackState(*(np.array(v) for v in state.feedback)) if task.feedback else None
        while counts.steps < task.n_steps:
            n = min(task.chunk, task.n_steps - counts.steps)
            inputs = None if fixed is None else np.tile(fixed, (n + 1, 1))
            if task.rows is not None:
                inputs = grid_rows(task.rows, task.steps_per_row, counts.steps, n, task.interpolate)
            increments = paths.increments(n)
            if task.written:
                assert inputs is not None
                increments, inputs = through_lines(task, increments, inputs)
            callbacks.load(increments, units, inputs, feedback)
            volts = [*(u * task.volt), *held]
            if at_rest:
                load_with(session, task.deck, dict(zip((*task.nodes, *task.held), volts, strict=True)))
            else:
                for capacitor, value in zip(task.capacitors, volts, strict=True):
                    session.exec_command(f"alter {capacitor} ic = {float(value)!r}")
            # ngspice puts a hidden breakpoint at the first argument; FIRST * h keeps it out of the grid
            session.exec_command(f"tran {FIRST * h!r} {n * h!r} 0 {h!r}" + ("" if at_rest else " uic"))
            piece, held, points = _grid_points(session, task, n, h, u, held)
            if callbacks.unknown_sources:
                raise TransientFailed("an external source of the deck has no path.")
            feedback = callbacks.feedback(n)
            if task.feedback and feedback is None:
                raise TransientFailed(
                    "ngspice did not hand back the gradient at every step, which a broken loop needs."
                )
            counts.points += points
            counts.steps += n
            counts.rejected = before.rejected + callbacks.rejected
            counts.iterations = (counts.iterations if at_rest else before.iterations) + _iterations(session)
            session.exec_command("destroy all")
            if at_rest:
                session.exec_command("remcirc")
            u = piece[-1, : len(u)]  # of neurons that are no states there are none
            settled = has_settled(task, counts.steps, piece)
            carried = tuple(tuple(v.tolist()) for v in feedback or ())
            reached = ChainState(counts.steps, tuple(u.tolist()), tuple(held.tolist()), carried)
            yield Chunk(piece, reached, settled or counts.steps == task.n_steps)
            if settled:
                return
    except TransientFailed as error:
        raise TransientFailed(diagnose(str(error), session.log)) from None
    finally:
        counts.log.extend(session.log)


def at_operating_point(deck: str) -> bool:
    """Return whether a transient starts from the operating point around its states, as all nodes of transistors hold charge.

    A deck says so by a first guess of that point (``.nodeset``). Any other starts from the voltages of its capacitors alone.
    """
    return "\n.nodeset " in deck


def load_with(session: Any, deck: str, volts: Mapping[str, float]) -> None:
    """Load a deck that starts from an operating point with some nodes at given voltages."""
    conditions = "".join(f".ic v({node})={float(value)!r}\n" for node, value in volts.items())
    head, end, tail = deck.rpartition(".end")
    session.load_circuit(head + conditions + end + tail)


def through_lines(task: ChainTask, increments: Array, inputs: Array) -> tuple[Array, Array]:
    """Return each device's increments (n, n_devices), times what the row of each step writes with, and the inputs alone."""
    source, column = np.array(task.written).T
    return increments[:, source] * inputs[1:, column], inputs[:, : len(task.inputs)]


def operating_point(session: Any, deck: str, nodes: Sequence[str]) -> Array:
    """Return the voltages of some nodes at a deck's operating point, volt, shape (n_nodes,); the deck is taken off again."""
    session.load_circuit(deck)
    session.exec_command("op")
    name = session.last_plot
    plot = session.plot(None, name) if name.startswith("op") else {}
    values = np.array([plot[node]._data[0] if node in plot else np.nan for node in nodes], dtype=float)
    session.exec_command("destroy all")
    session.exec_command("remcirc")
    if not np.isfinite(values).all():
        lost = nodes[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise TransientFailed(f"ngspice found no operating point of v({lost}), which a constant input fixes.")
    return values


def _grid_points(session: Any, task: ChainTask, n: int, h: float, u: Array, held: Array) -> tuple[Array, Array, int]:
    """Return u and what is observed at t = h, 2h, .. nh, the other capacitors' last voltages, and ngspice's time points.

    Raises TransientFailed if a point is missing or not finite.
    """
    name = session.last_plot
    if not name.startswith("tran"):
        raise TransientFailed("ngspice ran no transient analysis: it did not accept the deck.")
    plot = session.plot(None, name)
    missing = [node for node in ("time", *task.nodes, *task.observed, *task.held) if node not in plot]
    if missing:
        raise TransientFailed(f"ngspice returned no vector {missing[0]!r}.")
    # ngspice says nothing if `alter` finds no such capacitor
    begun, start = task.nodes, u
    if not len(
        u
    ):  # the neurons are no states: look at the capacitors that there are (a pole that starts at 0 may jump)
        begun, start = tuple(node for node, v in zip(task.held, held, strict=True) if v), held[held != 0] / task.volt
    first = np.array([plot[node]._data[0] if len(plot[node]._data) else 0.0 for node in begun]) / task.volt
    if len(plot["time"]._data) and not np.all(np.abs(first - start) <= STARTED * (1 + np.abs(start))):
        raise TransientFailed("the capacitors did not start from the voltages that they were given.")
    grid = np.asarray(plot["time"]._data) / h
    index = np.rint(grid).astype(np.int64)
    on = (np.abs(grid - index) < 1e-5) & (index >= 1)
    # a time point that is taken twice (after a breakpoint) counts once: the last one
    rows = np.full(n + 1, -1, dtype=np.int64)
    rows[index[on & (index <= n)]] = np.flatnonzero(on & (index <= n))
    lost = np.flatnonzero(rows[1:] < 0)
    if len(lost):
        end = grid[-1] if len(grid) else 0.0
        raise TransientFailed(
            f"the transient has no point at step {int(lost[0]) + 1} of {n} (it ended at step {end:.6g}): Newton's iteration "
            "did not converge. Use a smaller step or a larger width."
        )
    shown = (*task.nodes, *task.observed)
    u = np.stack([np.asarray(plot[node]._data)[rows[1:]] for node in shown], axis=1) / task.volt
    bad = np.argwhere(~np.isfinite(u))
    if len(bad):
        raise TransientFailed(f"v({shown[bad[0][1]]}) is not finite at step {bad[0][0] + 1}.")
    held = np.array([plot[node]._data[rows[-1]] for node in task.held], dtype=float)
    lost_held = np.flatnonzero(~np.isfinite(held))
    if len(lost_held):
        raise TransientFailed(f"v({task.held[lost_held[0]]}) is not finite at step {n}.")
    return u, held, len(grid)


def _iterations(session: Any) -> int:
    """Return ngspice's count of Newton iterations since the deck was loaded."""
    match = re.search(r"=\s*(\d+)", session.exec_command("rusage totiter"))
    return int(match.group(1)) if match else 0
