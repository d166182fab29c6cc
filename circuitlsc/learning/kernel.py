r"""The compiled step of inference and learning: loops over active latents only, rows and columns shared out to threads.

`circuitlsc.learning.learner` has the equations; this file is about cost. A step is

1. for each row (input): the list of its active latents, r = A s - x from those, and the new u;
2. for each block of columns of A: the sum of r s^T over the rows in which a latent of the block is active;
3. the three numbers u0, lam and sigma.

Every row and every column has one thread, and sums over rows run in the order of the rows: the result does not depend
on the number of threads. Rows are of the dtype of ``u`` (float32 or float64); the slow variables are float64 always, as
a step moves them by less than float32 resolves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import ONE_PARALLEL, compiled

Real = NDArray[np.floating]
U0, LAM, SIGMA = 0, 1, 2  # places in Workspace.slow
STEPS, ERROR, ACTIVE, SIZE = 0, 1, 2, 3  # places in Workspace.sums
_PARALLEL_FROM = 8192  # entries of u from which threads are worth their start (about 10 us a loop)
_BLOCKS = 8  # of columns
prange = range  # numba's in the loops that have threads


class Rates(NamedTuple):
    """What a step is given: h in tau, the temperature, and h/tau_x of each slow variable (0: it is held).

    ``split`` lets half of the noise come before the force, and before the codes are read.
    """

    step: float
    temperature: float
    A: float
    u0: float
    lam: float
    sigma: float
    signed: bool
    normalise: bool
    split: bool = False


class Workspace(NamedTuple):
    """State, sums and buffers of the kernel; n rows, K latents, D features.

    ``u`` (n, K) and ``slow`` (u0, lam, sigma) and ``A`` (K, D), atoms in rows, are the state; ``working`` is A in the
    dtype of u. ``sums`` and ``usage`` (K,) grow with every step until the caller sets them to 0.
    """

    u: Real
    A: Array
    slow: Array
    sums: Array
    usage: Array
    working: Real
    residual: Real  # (n, D)
    value: Real  # (n, K): |u| - u0 with the sign of u, of the active latents, packed to the left
    latent: NDArray[np.int32]  # (n, K): which latents these are
    start: NDArray[np.int32]  # (n, blocks + 1): where the latents of each block of columns begin in a row
    gradient: Real  # (K, D)
    row_sums: Array  # (n, 4): |r|^2, sum of the push on u0, number of active latents, sum of their sizes
    numbers: Real  # (5,): scalars in the dtype of u


def workspace(u: Real, A: Array, slow: Array) -> Workspace:
    """Return a workspace around copies of u (n, K), A (D, K) and slow (3,); the dtype of u is that of the arithmetic."""
    n, K = u.shape
    D, real = len(A), u.dtype
    atoms = np.ascontiguousarray(A.T, dtype=np.float64)
    blocks = max(1, min(_BLOCKS, K // _BLOCKS))
    return Workspace(
        u=np.array(u),
        A=np.array(atoms),
        slow=np.array(slow, dtype=np.float64),
        sums=np.zeros(4),
        usage=np.zeros(K),
        working=atoms.astype(real),
        residual=np.zeros((n, D), real),
        value=np.zeros((n, K), real),
        latent=np.zeros((n, K), np.int32),
        start=np.zeros((n, blocks + 1), np.int32),
        gradient=np.zeros((K, D), real),
        row_sums=np.zeros((n, 4)),
        numbers=np.zeros(5, real),
    )


@compiled()
def fill(rng: np.random.Generator, out: Real) -> None:
    """Fill out (m, n, K) with standard normal deviates: by numba, twice as fast as NumPy's own loop."""
    flat = out.reshape(-1)
    for i in range(len(flat)):
        flat[i] = rng.standard_normal()


def advance(w: Workspace, x: Real, noise: Real, rates: Rates) -> None:
    """Take len(noise) steps in place with the inputs x (n, D); noise (m, n, K) are standard normal deviates."""
    import numba

    if w.u.size >= _PARALLEL_FROM and numba.get_num_threads() > 1:
        with ONE_PARALLEL:
            _advance_parallel(w, x, noise, rates)
    else:
        _advance_serial(w, x, noise, rates)


@compiled(reorder=True)
def _row(w: Workspace, x: Real, noise: Real, n: int, signed: bool) -> None:
    """Step 1 for row n: active latents, residual, new u."""
    u, value, latent, r = w.u[n], w.value[n], w.latent[n], w.residual[n]
    x_n, xi = x[n], noise[n]
    K, D = len(u), len(r)
    u0, pull, amplitude, rate, before = w.numbers[0], w.numbers[1], w.numbers[2], w.numbers[3], w.numbers[4]
    zero = u0 - u0
    blocks = w.start.shape[1] - 1
    count = 0
    if before != zero:
        for k in range(K):
            u[k] += before * xi[k]
    for b in range(blocks):
        w.start[n, b] = count
        for k in range(b * K // blocks, (b + 1) * K // blocks):
            size = abs(u[k]) - u0
            latent[count] = k  # overwritten by the next latent if this one is off
            value[count] = size if u[k] > zero else -size
            count += 1 if size > zero else 0
    w.start[n, blocks] = count
    for d in range(D):
        r[d] = -x_n[d]
    for j in range(count):
        s = value[j] if signed else abs(value[j])
        atom = w.working[latent[j]]
        for d in range(D):
            r[d] += s * atom[d]
    for k in range(K):  # the prior's pull and the bath
        u[k] += amplitude * xi[k] - (pull if u[k] > zero else -pull)
    power, push, total = zero, zero, zero
    for d in range(D):
        power += r[d] * r[d]
    for j in range(count):  # the likelihood's force
        atom = w.working[latent[j]]
        e = zero
        for d in range(D):
            e += atom[d] * r[d]
        up = value[j] > zero
        towards = e if up else -e
        u[latent[j]] -= rate * (e if signed or up else -e)
        push += towards if signed else e
        total += abs(value[j])
    w.row_sums[n, 0], w.row_sums[n, 1], w.row_sums[n, 2], w.row_sums[n, 3] = power, push, count, total


@compiled(reorder=True)
def _columns(w: Workspace, b: int, rate: float, signed: bool, normalise: bool) -> None:
    """Step 2 for block b of the latents: gradient and new atoms; rate is h/(tau_A n sigma^2), 0 to hold A."""
    n_rows, K = w.u.shape
    D = w.A.shape[1]
    blocks = w.start.shape[1] - 1
    first, last = b * K // blocks, (b + 1) * K // blocks
    if rate != 0.0:
        for k in range(first, last):
            for d in range(D):
                w.gradient[k, d] = 0.0
    for n in range(n_rows):
        r = w.residual[n]
        for j in range(w.start[n, b], w.start[n, b + 1]):
            k = w.latent[n, j]
            w.usage[k] += 1.0
            if rate != 0.0:
                s = w.value[n, j] if signed else abs(w.value[n, j])
                g = w.gradient[k]
                for d in range(D):
                    g[d] += s * r[d]
    if rate != 0.0:
        for k in range(first, last):
            A, g, working = w.A[k], w.gradient[k], w.working[k]
            for d in range(D):
                A[d] -= rate * g[d]
            if normalise:
                square = 0.0
                for d in range(D):
                    square += A[d] * A[d]
                scale = 1.0 / math.sqrt(square)
                for d in range(D):
                    A[d] *= scale
            for d in range(D):
                working[d] = A[d]


@compiled()
def _set_numbers(w: Workspace, rates: Rates) -> None:
    u0, lam, sigma = w.slow
    w.numbers[0] = u0
    w.numbers[1] = rates.step * lam
    w.numbers[2] = math.sqrt(2.0 * rates.temperature * rates.step)
    w.numbers[3] = rates.step / sigma**2
    w.numbers[4] = 0.0
    if rates.split:
        w.numbers[4] = 0.5 * w.numbers[2]
        w.numbers[2] -= w.numbers[4]


@compiled()
def _slow(w: Workspace, rates: Rates) -> None:
    """Step 3, and the sums of what is recorded; all from the state before the step."""
    n, K = w.u.shape
    D = w.A.shape[1]
    power = push = count = size = 0.0
    for i in range(n):
        power += w.row_sums[i, 0]
        push += w.row_sums[i, 1]
        count += w.row_sums[i, 2]
        size += w.row_sums[i, 3]
    u0, lam, sigma = w.slow
    new_lam = lam + rates.lam * (count / lam - size) / n
    w.slow[0] = max(0.0, u0 + rates.u0 * push / (n * sigma**2)) * (lam / new_lam)  # lam alone leaves pi as it is
    w.slow[1] = new_lam
    w.slow[2] = sigma + rates.sigma * (power / (n * D) - sigma**2)
    w.sums[0] += 1.0
    w.sums[1] += power / (n * D)
    w.sums[2] += count / (n * K)
    w.sums[3] += size / (n * K)


def _steps(w: Workspace, x: Real, noise: Real, rates: Rates) -> None:
    blocks = w.start.shape[1] - 1
    for t in range(len(noise)):
        _set_numbers(w, rates)
        xi = noise[t]
        for n in prange(len(w.u)):
            _row(w, x, xi, n, rates.signed)
        rate = rates.A / (len(w.u) * w.slow[2] ** 2)
        for b in prange(blocks):
            _columns(w, b, rate, rates.signed, rates.normalise)
        _slow(w, rates)


_advance_serial = compiled()(_steps)
_advance_parallel = compiled(parallel=True)(_steps)
