"""One chain's work as data: a pure function of these numbers, whoever runs it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array

TASK, ROWS = "task.json", "rows.npy"
SCRATCH = "scratch-"  # how a folder begins that a simulator needs while it runs, in the chain's own
SIMULATOR = "simulator"  # beside them: where a worker finds the simulator, a line, then what it wants beside the task


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
        Steps in all, steps whose samples are dropped (of every input), steps per kept sample, steps per transient.
    period : int
        Steps per input; 0 if there is one input for all of them.
    seed, chain : int
    temperature : float
    halvings : int
        How often each step of the noise path is halved by a Brownian bridge: the same path, on a finer grid.
    start : tuple of float
        Initial u, in model units; empty if the neurons are no states (``held`` has all that there are).
    settle : float
        End the run once no node moves by more than this within a chunk, in model units; 0 runs to the end.
    inputs : tuple of str
        External sources that carry the input, as ngspice flattens them.
    rows : array, shape (n_rows, n_inputs), or None
        Their values, in volts or amperes, one row per period.
    interpolate : str
        ``"hold"`` or ``"linear"``: see `circuitlsc.model.stream.grid_rows`.
    feedback, feedback_nodes : tuple of str
        Where the loop is broken (`planning.broken_loop`): its sources as ngspice flattens them, and the nodes they extrapolate.
    feedback_start : tuple of float
        Voltages of those nodes at the start.
    written : tuple of (int, int)
        Of noise through write lines, for each device: its source, and the column of ``rows`` that its increments are
        multiplied by (those after the inputs'), in the row that the step belongs to. Empty if each device has a source.
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
    period: int = 0
    settle: float = 0.0
    inputs: tuple[str, ...] = ()
    rows: Array | None = field(default=None, compare=False)
    interpolate: str = "hold"
    feedback: tuple[str, ...] = ()
    feedback_nodes: tuple[str, ...] = ()
    feedback_start: tuple[float, ...] = ()
    written: tuple[tuple[int, int], ...] = ()

    @property
    def steps_per_row(self) -> int:
        """How many steps each input takes."""
        return self.period or self.n_steps

    @property
    def draws_per_row(self) -> int:
        """How many samples the chain keeps of each input."""
        return (self.steps_per_row - self.n_warmup) // self.thin

    @property
    def n_draws(self) -> int:
        """How many samples the chain keeps."""
        return self.draws_after(self.n_steps)

    def draws_after(self, steps: int) -> int:
        """Return how many samples of the first ``steps`` steps the chain keeps."""
        rows, rest = divmod(steps, self.steps_per_row)
        return rows * self.draws_per_row + max(0, rest - self.n_warmup) // self.thin

    def kept(self, first: int, n: int) -> NDArray[np.bool_]:
        """Return which of the steps first + 1 .. first + n are kept, shape (n,)."""
        index = np.arange(first, first + n) % self.steps_per_row + 1 - self.n_warmup
        return np.asarray((index > 0) & (index % self.thin == 0), dtype=bool)

    def times(self, first: int = 0, stop: int | None = None) -> Array:
        """Return the times of the kept samples, or of some of them, in units of tau."""
        row, within = np.divmod(np.arange(first, self.n_draws if stop is None else stop), self.draws_per_row)
        steps = self.steps_per_row * row + self.n_warmup + self.thin * (1 + within)
        return np.asarray(steps * self.step, dtype=float)

    @property
    def width(self) -> int:
        """How many numbers a sample has: the states, then what is observed."""
        return len(self.nodes) + len(self.observed)

    def key(self, simulator: str) -> str:
        """Return the SHA-256 of all that the samples depend on: this task, and who simulates it."""
        digest = hashlib.sha256(f"{simulator}\n{self._json()}\n".encode())
        if self.rows is not None:
            rows = np.ascontiguousarray(self.rows, dtype="<f8")
            digest.update(f"{rows.shape}\n".encode())
            digest.update(rows.tobytes())
        return digest.hexdigest()

    def _json(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rows"}
        if not self.written:
            del given["written"]  # tasks without it keep their names in the store
        return json.dumps(given)

    def save(self, path: Path) -> None:
        """Write the task as JSON, and its rows beside it."""
        path.write_text(self._json(), encoding="utf-8")
        if self.rows is not None:
            np.save(path.with_name(ROWS), self.rows, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> ChainTask:
        """Read a task."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(map(tuple, value)) if name == "written" else tuple(value)
        rows = path.with_name(ROWS)
        if rows.exists():
            values["rows"] = np.load(rows, allow_pickle=False)
        return cls(**values)


@dataclass(frozen=True)
class ChainState:
    """Where a chain is between two chunks: with its task, all that the rest of it depends on.

    Attributes
    ----------
    steps : int
        Steps done.
    u : tuple of float
        The neurons' states, in model units.
    held : tuple of float
        Voltages of the other capacitors.
    feedback : tuple of tuple of float
        What a broken loop carries on (`simulator.ngspice.feedback.FeedbackState`), volts; empty if the loop is closed.
    """

    steps: int
    u: tuple[float, ...]
    held: tuple[float, ...]
    feedback: tuple[tuple[float, ...], ...] = ()


def first_state(task: ChainTask) -> ChainState:
    """Return where a chain begins; a broken loop as if it had been there for ever."""
    return ChainState(0, task.start, task.held_start, (task.feedback_start,) * 3 if task.feedback else ())


def has_settled(task: ChainTask, steps: int, samples: Array) -> bool:
    """Return whether a chain that settles has: no node moved by more than it says within its last chunk, after the warmup."""
    return (
        task.settle > 0 and steps >= task.n_warmup + task.thin and float(np.max(np.ptp(samples, axis=0))) <= task.settle
    )


def chunk_length(n_states: int) -> int:
    """Return the steps per transient: about a second of work, and a few megabytes of samples at most."""
    return int(min(20_000, max(500, 1_300_000 // n_states**2)))
