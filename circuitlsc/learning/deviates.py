r"""Standard normal deviates for the kernel: one stream a row, so that threads can share the rows out.

The generator of a row is xoshiro256++ (Blackman and Vigna 2021, doi:10.1145/3460772), seeded by NumPy's SeedSequence; its
numbers become normal by the ziggurat with 256 layers (Marsaglia and Tsang 2000, doi:10.18637/jss.v005.i08), with 52 bits
of mantissa, its layer and its sign from bits of their own. The state is an array of integers: a checkpoint keeps it.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import ONE_PARALLEL, compiled

States = NDArray[np.uint64]
_LAYERS = 256
_EDGE = 3.6541528853610088  # where the tail begins, of 256 layers
_AREA = 0.00492867323399  # of each layer, under exp(-z^2/2)
_MANTISSA = 2.0**-52


def _tables() -> tuple[Array, Array]:
    """Return the layers' widths z (257,), decreasing to 0, and the heights exp(-z^2/2)."""
    z = np.zeros(_LAYERS + 1)
    z[0] = _AREA * math.exp(0.5 * _EDGE**2)  # of the layer with the tail, as if it were a rectangle
    z[1] = _EDGE
    for i in range(2, _LAYERS):
        z[i] = math.sqrt(-2.0 * math.log(_AREA / z[i - 1] + math.exp(-0.5 * z[i - 1] ** 2)))
    return z, np.exp(-0.5 * z**2)


_WIDTH, _HEIGHT = _tables()


def streams(seed: int, n: int) -> States:
    """Return the states of n independent streams, shape (n, 4)."""
    words = np.random.SeedSequence([seed, 0]).generate_state(4 * n, np.uint64)
    return np.ascontiguousarray(words.reshape(n, 4))


@compiled()
def _bits(state: States) -> Any:
    """Return the next 64 random bits of xoshiro256++."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    shifted = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


@compiled()
def _uniform(state: States) -> float:
    """Return a number in (0, 1)."""
    return (float(_bits(state) >> np.uint64(12)) + 0.5) * _MANTISSA


@compiled()
def _finish(state: States, layer: int, z: float) -> float:
    """Return |z| of a draw that fell outside the inner rectangle of its layer, or -1 to draw again."""
    if layer == 0:  # the tail beyond the edge
        while True:
            excess = -math.log(_uniform(state)) / _EDGE
            if -2.0 * math.log(_uniform(state)) > excess * excess:
                return _EDGE + excess
    height = _HEIGHT[layer] + _uniform(state) * (_HEIGHT[layer + 1] - _HEIGHT[layer])
    return z if height < math.exp(-0.5 * z * z) else -1.0


@compiled()
def _fill_row(state: States, out: NDArray[np.floating]) -> None:
    """Fill out with standard normal deviates."""
    for k in range(len(out)):
        while True:
            bits = _bits(state)
            layer: Any = np.int64(bits & np.uint64(255))
            z = float(bits >> np.uint64(12)) * _MANTISSA * _WIDTH[layer]
            if z >= _WIDTH[layer + 1]:
                z = _finish(state, layer, z)
            if z >= 0.0:
                break
        out[k] = -z if bits & np.uint64(256) else z


@compiled()
def _fill_stream(states: States, out: NDArray[np.floating], n: int) -> None:
    own = states[n].copy()  # neighbours in one cache line would slow each other down
    for t in range(len(out)):
        _fill_row(own, out[t, n])
    states[n] = own


@compiled(parallel=True)
def _fill_parallel(states: States, out: NDArray[np.floating]) -> None:
    for n in prange(out.shape[1]):
        _fill_stream(states, out, n)


@compiled()
def _fill_serial(states: States, out: NDArray[np.floating]) -> None:
    for n in range(out.shape[1]):
        _fill_stream(states, out, n)


def fill(states: States, out: NDArray[np.floating]) -> None:
    """Fill out (m, n, K) with standard normal deviates, row n from stream n; the streams move on."""
    if numba.get_num_threads() > 1:
        with ONE_PARALLEL:
            _fill_parallel(states, out)
    else:
        _fill_serial(states, out)
