"""What a Gram matrix says about a circuit's structure."""

from __future__ import annotations

import networkx as nx
import numpy as np

from circuitlsc.io.arrays import Array


def blocks(gram: Array) -> list[list[int]]:
    """Return the groups of latents that the Gram matrix does not couple: each could be a circuit of its own."""
    coupled = nx.from_numpy_array((np.abs(gram) > 1e-12 * np.abs(gram).max()).astype(int))
    return sorted(sorted(group) for group in nx.connected_components(coupled))
