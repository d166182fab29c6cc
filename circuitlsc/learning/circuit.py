r"""The circuit that learns: one transient in which inputs stream by, neurons sample, and slow capacitors move.

The transient is run in pieces of some thousand inputs' worth of steps at most; each starts from the voltages that the last
one reached, with noise of its own. A run that was interrupted goes on after its last whole piece, to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.circuit.graph import Twin
from circuitlsc.io.arrays import Array
from circuitlsc.learning.checkpoint import fitting, resume, save_checkpoint
from circuitlsc.learning.circuit_result import learning_result
from circuitlsc.learning.compiled import LearningCircuit
from circuitlsc.learning.learner import LearningRun
from circuitlsc.model.stream import grid_rows
from circuitlsc.reference.pathwise import trapezoid
from circuitlsc.simulator.engine import run_chains
from circuitlsc.simulator.ngspice.noise import BrownianPaths
from circuitlsc.simulator.task import chunk_length

CUTS = 12  # how often the twin may cut a step after a switch of the input, where the gradient at the gates is large


@dataclass(frozen=True, eq=False, kw_only=True)
class CircuitLearner(LearningCircuit):
    """A circuit that learns a dictionary, and the parameters of prior and noise; arguments as for `Learner` where they agree.

    Parameters
    ----------
    A0 : array, shape (D, K)
        Dictionary to start from, in data units per model unit.
    pi, lam, sigma : float
        P(active), rate of the slab and noise level to start from.
    source : Source, SparseCodingModel or array
        Where inputs come from; one is shown at a time.
    stage : Stage
        How long, with what step, and the time constants; its ``pause`` must be 0: a circuit has no clock.
    seed : int
        Of inputs, noise and the start of u.
    learn : tuple of str
        Which of "A", "pi", "lam", "sigma" move.
    signed : bool
        Whether codes may be negative.
    level : str
        ``"ideal"``, or ``"device"``: neurons, capacitors and multipliers with the errors of ``nonideal``.
    nonideal : Nonidealities or None
        A mapping will do: ``{"op_amp": {"offset": 1e-3}}``.
    width : float or None
        Comparator width in model units; None follows from lam and sigma, for atoms of unit norm.
    volt, c_int, tau, rails : float
        Volts per model unit (None: 0.1 V, or less if the rails ask for it), farad, seconds, volts.
    tolerance : float
        Of Newton's iteration.
    records, snapshots : int
        How many records of the history, and copies of A, there are at most.

    Raises
    ------
    InputError
        If a value is out of range, or cannot be learned by a circuit.
    """

    def run(
        self,
        *,
        progress: Callable[[float, float], None] | None = None,
        checkpoint: Path | str | None = None,
        timeout: float | None = None,
        keep: Path | None = None,
    ) -> LearningRun:
        """Learn; ``progress`` and ``checkpoint`` as for `Learner.run`, ``timeout`` and ``keep`` as for `Sampler.run`.

        Raises
        ------
        InputError
            If the checkpoint is of other settings, or no checkpoint.
        SimulationError
            If ngspice failed.
        """
        settings, kept = self.settings(), self._begin

        def restore(arrays: Mapping[str, Any]) -> None:
            nonlocal kept
            kept = fitting(arrays, kept, grow=("z", "others"))
            expected = len(self._state_names()) - len(self.slow_nodes)
            if len(kept["z"]) not in {piece.stop for piece in self.pieces} or len(kept["others"]) != expected:
                raise ValueError("z")

        path = resume(checkpoint, settings, restore)
        shown = self._show(kept["z"], kept["others"], progress=progress, timeout=timeout, keep=keep)
        for z, others, cost in shown:
            kept = {"z": z, "others": others, "spent": kept["spent"] + cost}
            if path is not None:
                save_checkpoint(path, settings, kept)
        return learning_result(self, kept["z"], settings, kept["spent"])

    @property
    def _begin(self) -> dict[str, Array]:
        """States at the end of no input, the voltages of other capacitors, and the seconds and steps that they took."""
        width = self.model.n_latents + len(self.slow_nodes)
        return {"z": np.empty((0, width)), "others": np.empty(0), "spent": np.zeros(2)}

    def _show(
        self,
        z: Array,
        others: Array,
        n_inputs: int | None = None,
        *,
        progress: Callable[[float, float], None] | None = None,
        **run: Any,
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Go on from the last of states z, up to n_inputs inputs.

        Yield after each piece all states, the voltages of other capacitors, and the seconds and steps that it took.
        """
        stage, (k, width) = self.stage, (self.model.n_latents, z.shape[1])
        for number, piece in enumerate(self.pieces):
            stop = min(piece.stop, n_inputs or piece.stop)
            if stop <= max(len(z), piece.start):
                continue

            def tell(_: int, steps: int, before: int = piece.start) -> None:
                if progress is not None:
                    progress(before * stage.hold + steps * stage.step, stage.n_inputs * stage.hold)

            u = z[-1, :k] if len(z) else self.first_u
            held = dict(zip(self._state_names(), [*z[-1, k:], *others], strict=True)) if len(z) else {}
            task = self.task(number, u, {node: v * self.scaling.volt for node, v in held.items()}, stop=stop)
            (result,) = run_chains([task], workers=1, progress=tell, **run)
            ends = np.concatenate([result.u, result.observed], axis=1)
            z, others = np.concatenate([z, ends[:, :width]]), ends[-1, width:]
            yield z, others, np.array([result.wall, result.steps])

    def twin_states(self, n_inputs: int) -> Array:
        """Return what the NumPy twin learns on the same inputs and noise, at the end of each input, as `states` does.

        Shape (n_inputs, K + number of slow variables), in model units.
        """
        twin, stage, noise = Twin(self.graph), self.stage, self.graph.noise
        assert noise is not None
        z, kept = twin.full_state(self.first_u[None]), []
        for number, piece in enumerate(self.pieces):
            if piece.start >= n_inputs:
                break
            steps = (min(piece.stop, n_inputs) - piece.start) * stage.hold_steps
            paths = BrownianPaths(noise.sources, seed=int(self.seed), chain=number, step=stage.step)
            inputs = {
                cell.name: grid_rows(cell.stream.rows[piece], stage.hold_steps, 0, steps, "hold")
                for cell in self.graph.inputs_from_outside
                if cell.stream is not None
            }
            noisy = twin.spread(paths.increments(steps))[:, None]
            chunk = chunk_length(self.model.n_latents)
            path = trapezoid(twin, z, noisy, stage.step, chunk=chunk, inputs=inputs, tries=CUTS, simulator=True)
            kept.append(path[stage.hold_steps - 1 :: stage.hold_steps, 0])
            z = path[-1]
        return np.concatenate(kept)

    def states(self, n_inputs: int, **run: Any) -> Array:
        """Return the circuit's states at the end of each of the first inputs, shape (n_inputs, K + slow variables)."""
        begin = self._begin
        *_, (z, _, _) = self._show(begin["z"], begin["others"], n_inputs, **run)
        return z
