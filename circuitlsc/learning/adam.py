"""Steps along a gradient in units of its own size: Adam (Kingma & Ba 2015)."""

from __future__ import annotations

import numpy as np

from circuitlsc.io.arrays import Array


def adam_step(moments: Array, gradient: Array, rates: Array | float, done: int) -> Array:
    """Return what is to be taken off the parameters, and move the moments on.

    Parameters
    ----------
    moments : array, shape (2, n)
        Running means of the gradient and of its square, 0 at first; changed in place.
    gradient : array, shape (n,)
    rates : array, shape (n,), or float
        About the largest change of a parameter in a step.
    done : int
        Steps, with this one.
    """
    mean, square = moments
    mean += 0.1 * (gradient - mean)
    square += 0.001 * (gradient**2 - square)
    size = np.sqrt(square / (1.0 - 0.999**done)) + 1e-8
    return np.asarray(rates * (mean / (1.0 - 0.9**done)) / size)
