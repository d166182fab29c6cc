"""Noise paths: Brownian motion on the step grid, one independent stream per (seed, chain, source name)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.simulator.task import ChainTask


def stream(seed: int, chain: int, source: str) -> np.random.Generator:
    """Return the random stream of one source: it depends on nothing else, so adding a neuron leaves it as it was."""
    digest = hashlib.sha256(source.encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, chain, *(int(w) for w in words)])))


class BrownianPaths:
    r"""Successive pieces of :math:`\sqrt{2T}\,W` on the grid t = n h, one column per source.

    Parameters
    ----------
    sources : sequence of str
        Names of the noise sources.
    seed, chain : int
        Together with a source's name they fix its path.
    step : float
        h, in units of tau.
    temperature : float
        T in exp(-E/T).
    halvings : int
        The path is that of step h 2^halvings, each of whose increments is halved so often by a Brownian bridge: what
        runs at different steps then differs by the step alone.
    """

    def __init__(
        self, sources: Sequence[str], *, seed: int, chain: int, step: float, temperature: float = 1.0, halvings: int = 0
    ) -> None:
        suffixes = ["", *(f".bridge_{k}" for k in range(1, halvings + 1))]
        self._streams = [[stream(seed, chain, f"{s}{suffix}") for s in sources] for suffix in suffixes]
        self._size = np.sqrt(2 * temperature * step * 2.0**halvings)
        self._carry = np.empty((0, len(sources)))

    def increments(self, n: int) -> Array:
        """Return the next n increments, shape (n, n_sources), in model units."""
        halvings = len(self._streams) - 1
        coarse = -(-(n - len(self._carry)) // 2**halvings)
        dw = self._draw(self._streams[0], coarse) * self._size
        for k, streams in enumerate(self._streams[1:]):
            # given dw over a step, its first half is dw/2 plus an independent normal of a quarter of dw's variance
            bend = self._draw(streams, len(dw)) * (self._size / 2.0 ** (k / 2) / 2)
            dw = np.stack([dw / 2 + bend, dw / 2 - bend], axis=1).reshape(-1, dw.shape[1])
        dw = np.concatenate([self._carry, dw])
        self._carry = dw[n:]
        return dw[:n]

    @staticmethod
    def _draw(streams: Sequence[np.random.Generator], n: int) -> Array:
        draws = [g.standard_normal(n) for g in streams]
        return np.stack(draws, axis=1) if draws else np.empty((n, 0))


def task_paths(task: ChainTask, steps: int = 0) -> BrownianPaths:
    """Return the noise of a chain after its first steps, whose increments are drawn as a run does, and dropped.

    That costs about 1 % of simulating them.
    """
    same = ("seed", "chain", "step", "temperature", "halvings")
    paths = BrownianPaths(task.sources, **{name: getattr(task, name) for name in same})
    for done in range(0, steps, task.chunk):
        paths.increments(min(task.chunk, steps - done))
    return paths
