"""What the tasks of any circuit say of its graph: nodes, capacitors and noise sources, and rows that noise is written by."""

from __future__ import annotations

from typing import Any

import numpy as np

from circuitlsc.circuit.cells import WrittenNoise
from circuitlsc.circuit.graph import SignalFlowGraph, Twin
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


def written_rows(graph: SignalFlowGraph, twin: Twin, rows: Array) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """Return rows with columns for what the noise is written by, and which source and column each device's noise has.

    As `simulator.task.ChainTask` has them; ``rows`` are those of a memory's inputs, as they are streamed.
    """
    if not twin.through_lines:
        return rows, ()
    inputs = {cell.name: cell.stream.rows for cell in graph.inputs_from_outside if cell.stream is not None}
    gains, column = np.unique(twin.write_gains(inputs), axis=1, return_inverse=True)
    others = any(not isinstance(noise, WrittenNoise) for noise in graph.noises)
    columns = [rows, gains, np.ones((len(rows), 1 if others else 0))]  # what is in series with no weight is as it is
    written: list[tuple[int, int]] = []
    first, source = rows.shape[1], 0
    for noise in graph.noises:
        if isinstance(noise, WrittenNoise):
            places = zip(noise.write.neurons, column.ravel(), strict=True)
            written += [(source + int(k), first + int(c)) for k, c in places]
        else:
            written += [(source + k, first + gains.shape[1]) for k in range(len(noise.sources))]
        source += len(noise.sources)
    return np.concatenate(columns, axis=1), tuple(written)


def task_fields(graph: SignalFlowGraph, scaling: Scaling) -> dict[str, Any]:
    """Return what the tasks of any circuit say of its nodes, capacitors, noise sources and scales."""
    neurons, held = graph.neurons, graph.held(scaling)
    return {
        "nodes": neurons.nodes,
        "capacitors": tuple(s.capacitor for s in (*neurons.states(scaling), *held)),
        "held": tuple(s.node for s in held),
        "held_start": tuple(s.start for s in held),
        "devices": tuple(device for noise in graph.noises for device in noise.devices()),
        "sources": tuple(source for noise in graph.noises for source in noise.sources),
        "units": tuple(unit for noise in graph.noises for unit in noise.units(scaling)),
        "volt": scaling.volt,
        "tau": scaling.tau,
    }
