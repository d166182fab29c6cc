"""VACASK as a simulator: a process for each chunk of a chain, with the chunk's noise in its deck."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.stream import grid_rows
from circuitlsc.simulator.modules import Instance, Netlist, Source, for_vacask, plain_name
from circuitlsc.simulator.ngspice.noise import BrownianPaths, task_paths
from circuitlsc.simulator.simulator import Chunk, Counts, TransientFailed
from circuitlsc.simulator.task import SCRATCH, ChainState, ChainTask, first_state, has_settled
from circuitlsc.simulator.vacask.deck import deck, options, point_deck, waves
from circuitlsc.simulator.vacask.transient import Rejected, Transient, operating_point, run
from circuitlsc.simulator.verilog_a import compiled, find_programs, version

DAMPED = "nr_damping=0.7"  # three times as many iterations


class Vacask:
    """VACASK, one process a chunk; see `circuitlsc.simulator.simulator.Simulator`.

    It runs circuits of closed forms (``replace(sampler, cells="closed")``).
    """

    path = "circuitlsc.simulator.vacask.simulator:VACASK"
    name = "VACASK"
    advice = " `circuitlsc export --dialect vacask` writes a deck to look at."

    def version(self) -> str:
        """Return its version, with the hashes of simulator and compiler."""
        return version()

    def check(self, contents: bytes = b"") -> None:
        """Raise MissingSimulatorError if simulator or compiler are not here, or are not those that were tested."""
        find_programs()

    def prepare(self, circuit: Any) -> bytes:
        """Return the circuit in modules, and Newton's tolerances.

        Raises
        ------
        InputError
            If it has no modules.
        """
        scaling = circuit.scaling
        line = options(circuit.tolerance, scaling.volt, scaling.drift_current, scaling.c_int)
        given = {"netlist": asdict(for_vacask(circuit.in_modules)), "options": line}
        if (solved := circuit.solved_in_modules) is not None:
            net, nodes = solved
            given["solved"] = {"netlist": asdict(for_vacask(net)), "nodes": tuple(map(plain_name, nodes))}
        return json.dumps(given).encode()

    def advance(self, task: ChainTask, contents: bytes, counts: Counts, state: ChainState | None) -> Iterator[Chunk]:
        """Yield the chunks of a chain; each starts the capacitors from the voltages that the last one reached."""
        begin = time.perf_counter()
        given = json.loads(contents)
        net, solved = read_netlist(given["netlist"]), given.get("solved")
        constant = None if solved is None else read_netlist(solved["netlist"])
        check_fits(net, task, solved=constant is not None)
        state = state or first_state(task)
        before, paths = replace(counts), task_paths(task, state.steps)
        objects = compiled(tuple(dict.fromkeys((*net.families, *(constant.families if constant else ())))))
        counts.version, counts.steps = version(), state.steps
        counts.setup = before.setup + time.perf_counter() - begin
        saved = tuple(map(plain_name, (*task.nodes, *task.observed, *task.held)))

        def transient(option_line: str, values: Array, state: ChainState) -> Transient:
            text = chunk_deck(net, task, state, waves(net.sources, h, values), len(values) - 1, option_line=option_line)
            return run(folder, text, saved, h, len(values) - 1, counts.log)

        h = task.step * task.tau
        with TemporaryDirectory(prefix=SCRATCH) as name:
            folder = Path(name)
            for file, path in objects.items():
                (folder / Path(file).with_suffix(".osdi")).symlink_to(path)
            fixed = None
            if constant is not None:
                text = point_deck(constant, _objects(constant), given["options"], solved["nodes"])
                fixed = operating_point(folder, text, solved["nodes"], counts.log)
            while counts.steps < task.n_steps:
                n = min(task.chunk, task.n_steps - counts.steps)
                values = columns(net, task, state, paths, n, fixed)
                try:
                    result = transient(given["options"], values, state)
                except Rejected:  # full steps of the iteration went in a circle
                    result = transient(f"{given['options']} {DAMPED}", values, state)
                _check_start(result.start, task, state)
                counts.points += result.points
                counts.iterations += result.iterations
                counts.steps += n
                width = task.width
                samples = result.values[:, :width] / task.volt
                u = samples[-1, : len(state.u)]  # of neurons that are no states there are none
                held = tuple(map(float, result.values[-1, width:]))
                state = ChainState(counts.steps, tuple(map(float, u)), held)
                settled = has_settled(task, counts.steps, samples)
                yield Chunk(samples, state, settled or counts.steps == task.n_steps)
                if settled:
                    return


def chunk_deck(
    net: Netlist,
    task: ChainTask,
    state: ChainState,
    sources: list[str],
    n: int,
    *,
    option_line: str,
    title: tuple[str, ...] = ("circuitlsc",),
    suffix: str = ".osdi",
) -> str:
    """Return the deck of the next n steps of a chain, with the lines of its sources (or one that includes them)."""
    return deck(
        net,
        title=title,
        load=_objects(net, suffix),
        sources=sources,
        option_line=option_line,
        saved=tuple(map(plain_name, (*task.nodes, *task.observed, *task.held))),
        start=starting(task, state),
        step=task.step * task.tau,
        n=n,
    )


def _objects(net: Netlist, suffix: str = ".osdi") -> list[str]:
    """Return the files of a netlist's modules, in the folder of the deck."""
    return [str(Path(file).with_suffix(suffix)) for file in net.families]


def starting(task: ChainTask, state: ChainState) -> dict[str, float]:
    """Return the voltages of the capacitors by node, as other simulators call it; neurons of a memory have none."""
    nodes = (*task.nodes[: len(state.u)], *task.held)
    return dict(zip(map(plain_name, nodes), [*(np.array(state.u) * task.volt).tolist(), *state.held], strict=True))


def columns(
    net: Netlist, task: ChainTask, state: ChainState, paths: BrownianPaths, n: int, fixed: Array | None = None
) -> Array:
    """Return the values of a netlist's sources at the grid points of the next n steps, (n + 1, n_sources).

    ``fixed`` are those of inputs that are solved once.
    """
    increments, rows = paths.increments(n), None if fixed is None else np.tile(fixed, (n + 1, 1))
    if task.rows is not None:
        rows = grid_rows(task.rows, task.steps_per_row, state.steps, n, task.interpolate)
    if task.written:
        from circuitlsc.simulator.ngspice.transient import through_lines  # numba: workers alone need it

        assert rows is not None
        increments, rows = through_lines(task, increments, rows)
    noise = np.vstack([np.zeros(len(task.devices)), np.cumsum(increments, axis=0) * np.array(task.units)])
    values = dict(zip(task.devices, noise.T, strict=True))
    if rows is not None:
        values |= zip(task.inputs, rows.T, strict=True)
    return np.stack([values[source.device] for source in net.sources], axis=1) if net.sources else np.empty((n + 1, 0))


def read_netlist(given: Any) -> Netlist:
    """Return the netlist that `Vacask.prepare` wrote."""
    instances = (Instance(**{**each, "nodes": tuple(each["nodes"])}) for each in given["instances"])
    sources = (Source(**{**each, "nodes": tuple(each["nodes"])}) for each in given["sources"])
    return Netlist(tuple(instances), tuple(sources))


def check_fits(net: Netlist, task: ChainTask, *, solved: bool = False) -> None:
    """Raise InputError unless a task's nodes and sources are those of a netlist: VACASK ignores nodes that it does not know."""
    if task.feedback:
        raise InputError('VACASK runs closed loops. Use loop = "closed".')
    known = set(net.nodes)
    unknown = [node for node in (*task.nodes, *task.observed, *task.held) if plain_name(node) not in known]
    inputs = task.inputs if solved or task.rows is not None else ()
    if unknown or {*task.devices, *inputs} != {source.device for source in net.sources}:
        what = f"node {unknown[0]!r} is not in it" if unknown else "its sources are others"
        raise InputError(f"the netlist is not that of the chain: {what}. Prepare both from one circuit.")


def _check_start(found: Array, task: ChainTask, state: ChainState) -> None:
    """Raise TransientFailed unless the capacitors started from the voltages that they were given."""
    wanted = np.array(list(starting(task, state).values()))
    begun = np.array([*found[: len(state.u)], *found[task.width :]])
    if not np.allclose(begun, wanted, rtol=1e-9, atol=1e-12):
        raise TransientFailed("the capacitors did not start from the voltages that they were given.")


VACASK = Vacask()
