"""What a simulator is: it advances a chain by chunks. Journal, store, workers, progress and timeouts are the same for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.simulator.task import ChainState, ChainTask


class TransientFailed(RuntimeError):
    """The transient did not reach its end with finite values on the grid."""


@dataclass
class Counts:
    """What a chain has cost: steps, accepted and rejected time points, Newton iterations, seconds to get ready.

    And the simulator's version, and the lines of its log, which are kept if the chain fails.
    """

    steps: int = 0
    points: int = 0
    rejected: int = 0
    iterations: int = 0
    setup: float = 0.0
    version: str = ""
    log: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A piece of a chain, which the worker checks before it counts: it ends at a multiple of the task's chunk, or at its end.

    Attributes
    ----------
    samples : array, shape (n_steps, n_nodes + n_observed)
        u and the observed voltages on the step grid, in model units, finite: one row for each step since the last state.
    state : ChainState
        At its end.
    done : bool
        Whether it is the last one.
    """

    samples: Array
    state: ChainState
    done: bool


@runtime_checkable
class Simulator(Protocol):
    """What runs the task of a chain, in a worker process.

    Attributes
    ----------
    path : str
        Where a worker finds it, ``module:attribute``; the module is on its path. A part of the store's key.
    name : str
        What messages call it.
    advice : str
        What a message says to whoever wants to see where it crashed; may be empty.
    """

    path: str
    name: str
    advice: str

    def version(self) -> str:
        """Return name and version: all that a sample's last bit may depend on, a part of the store's key."""

    def check(self, contents: bytes = b"") -> None:
        """Raise MissingSimulatorError if it cannot run on this machine, or not what `prepare` returned."""

    def prepare(self, circuit: Any) -> bytes:
        """Return what it needs of a compiled circuit beside its tasks (a part of the key); empty if these are all."""

    def advance(self, task: ChainTask, contents: bytes, counts: Counts, state: ChainState | None) -> Iterator[Chunk]:
        """Yield the chunks of a chain, from its start or from a state; what follows a state depends on nothing else.

        Parameters
        ----------
        task : ChainTask
        contents : bytes
            What `prepare` returned.
        counts : Counts
            Goes on counting from what it holds.
        state : ChainState or None

        Raises
        ------
        TransientFailed
            If the chain cannot go on.
        """


def load(path: str) -> Simulator:
    """Return the simulator at ``module:attribute``.

    Raises
    ------
    InputError
        If there is none.
    """
    module, _, attribute = path.partition(":")
    try:
        if module == "__main__":
            raise ImportError("a worker's __main__ is another one")
        return check_simulator(getattr(import_module(module), attribute))
    except Exception as error:  # whatever its module raises
        raise InputError(
            f"the simulator {path!r} cannot be imported ({error}). Put its module on the workers' path (PYTHONPATH)."
        ) from None


def check_simulator(simulator: Any) -> Simulator:
    """Return a simulator, or raise InputError if it is none."""
    words = [getattr(simulator, name, None) for name in ("path", "name", "advice")]
    if isinstance(simulator, Simulator) and not isinstance(simulator, type) and all(isinstance(w, str) for w in words):
        return simulator
    raise InputError(
        f"simulator = {simulator!r} is none. Give one with what circuitlsc.simulator.simulator.Simulator asks for."
    )


def check_found(simulator: Simulator) -> None:
    """Raise InputError unless what a worker finds at a simulator's path is the simulator."""
    found = load(simulator.path)
    if found is not simulator and _who(found) != _who(simulator):
        raise InputError(
            f"simulator = {simulator!r} is not what is at its path {simulator.path!r}, which is {found!r}, and workers run "
            "what is there. Give it the path of its own."
        )


def _who(simulator: Simulator) -> tuple[str, str]:
    return type(simulator).__qualname__, simulator.version()
