"""Noise paths: Brownian motion on the step grid, one independent stream per (seed, chain, source name)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from circuitlsc.arrays import Array


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
    """

    def __init__(self, sources: Sequence[str], *, seed: int, chain: int, step: float, temperature: float = 1.0) -> None:
        self._streams = [stream(seed, chain, name) for name in sources]
        self._size = np.sqrt(2 * temperature * step)

    def increments(self, n: int) -> Array:
        """Return the next n increments, shape (n, n_sources), in model units."""
        return np.asarray(np.stack([g.standard_normal(n) for g in self._streams], axis=1) * self._size)
