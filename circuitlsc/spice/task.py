"""One chain's work as data: a pure function of these numbers, whoever runs it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ChainTask:
    """Everything that a worker needs to run one chain.

    Attributes
    ----------
    deck : str
        Netlist with options and ``.save``, without an analysis.
    nodes : tuple of str
        The neurons' nodes, whose voltages are the samples.
    observed : tuple of str
        Nodes whose voltages are kept beside the samples, in units of ``volt`` too.
    capacitors : tuple of str
        All capacitors as ngspice flattens them, the neurons' first.
    held : tuple of str
        The nodes from which the other capacitors (poles of op-amps and noise sources) are taken up again.
    held_start : tuple of float
        Their first voltages.
    devices, sources : tuple of str
        The external sources as ngspice flattens them, and their random streams.
    units : tuple of float
        Volts of each source per model unit of its path.
    volt, tau : float
        Volts per model unit; seconds.
    step : float
        In units of tau.
    n_steps, n_warmup, thin, chunk : int
        Steps in all, steps whose samples are dropped, steps per kept sample, steps per transient.
    seed, chain : int
    temperature : float
    halvings : int
        How often each step of the noise path is halved by a Brownian bridge: the same path, on a finer grid.
    start : tuple of float
        Initial u, in model units.
    """

    deck: str
    nodes: tuple[str, ...]
    observed: tuple[str, ...]
    capacitors: tuple[str, ...]
    held: tuple[str, ...]
    held_start: tuple[float, ...]
    devices: tuple[str, ...]
    sources: tuple[str, ...]
    units: tuple[float, ...]
    volt: float
    tau: float
    step: float
    n_steps: int
    n_warmup: int
    thin: int
    chunk: int
    seed: int
    chain: int
    temperature: float
    halvings: int
    start: tuple[float, ...]

    @property
    def n_draws(self) -> int:
        """How many samples the chain keeps."""
        return (self.n_steps - self.n_warmup) // self.thin

    def save(self, path: Path) -> None:
        """Write the task as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ChainTask:
        """Read a task."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)

    def with_chain(self, chain: int, start: tuple[float, ...]) -> ChainTask:
        """Return the same task for another chain."""
        return replace(self, chain=chain, start=start)


def chunk_length(n_states: int) -> int:
    """Return the steps per transient: about a second of work, and a few megabytes of samples at most."""
    return int(min(20_000, max(500, 1_300_000 // n_states**2)))
