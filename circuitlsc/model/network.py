r"""A network of rectified layers: its values, and gradients back through them by hand.

.. math:: h_0 = x, \qquad h_l = \max(W_l h_{l-1} + c_l, 0), \qquad y = W_L h_{L-1} + c_L
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.io.arrays import Array


@dataclass(frozen=True, eq=False)
class Network:
    """Layers of a network; the last one has no rectifier.

    Parameters
    ----------
    weights : sequence of arrays, shape (n_out, n_in)
    biases : sequence of arrays, shape (n_out,)
    """

    weights: Sequence[Array]
    biases: Sequence[Array]

    @classmethod
    def drawn(cls, sizes: Sequence[int], rng: np.random.Generator) -> Network:
        """Return layers of these sizes, the input's first: weights uniform within 1/sqrt(n_in), no biases."""
        weights = [rng.uniform(-1.0, 1.0, (n, m)) / math.sqrt(m) for m, n in pairwise(sizes)]
        return cls(weights, [np.zeros(n) for n in sizes[1:]])

    @property
    def parameters(self) -> Array:
        """All weights, and then all biases, in one vector."""
        return flat(self.weights, self.biases)

    def with_parameters(self, parameters: Array) -> Network:
        """Return layers of the same sizes with other weights and biases; a vector that is longer has more behind them."""
        pieces = [*self.weights, *self.biases]
        ends, n = np.cumsum([0, *(piece.size for piece in pieces)]), len(self.weights)
        parts = [parameters[a:b].reshape(p.shape) for (a, b), p in zip(pairwise(ends), pieces, strict=True)]
        return Network(parts[:n], parts[n:])

    def values(self, X: ArrayLike) -> list[Array]:
        """Return the values of every layer, the input first and y last, each (..., n)."""
        values = [np.asarray(X, dtype=float)]
        for k, (w, c) in enumerate(zip(self.weights, self.biases, strict=True)):
            raw = values[-1] @ w.T + c
            values.append(raw if k == len(self.weights) - 1 else np.maximum(raw, 0.0))
        return values

    def by_layers(self, values: list[Array], raw: Array) -> tuple[list[Array], list[Array]]:
        """Return the gradients of weights (n_out, n_in) and of biases (n_out,), summed over inputs, layer by layer.

        Parameters
        ----------
        values : list of arrays, shape (n, n_layer)
            What `values` returned.
        raw : array, shape (n, n_out)
            Gradient of each input's loss by y.
        """
        weights, biases, back = [], [], raw
        for k in reversed(range(len(self.weights))):
            weights.append(back.T @ values[k])
            biases.append(back.sum(0))
            if k:
                back = (back @ self.weights[k]) * (values[k] > 0)
        return weights[::-1], biases[::-1]

    def by_input(self, values: list[Array], raw: Array) -> Array:
        """Return the gradient of each input's loss by the input, (n, n_in); arguments as for `by_layers`."""
        back = raw
        for k in reversed(range(len(self.weights))):
            back = back @ self.weights[k]
            if k:
                back = back * (values[k] > 0)
        return back


def flat(weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """Return weights and biases, or their gradients, in one vector."""
    return np.concatenate([piece.ravel() for piece in (*weights, *biases)])
