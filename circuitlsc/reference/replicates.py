r"""Replicate runs in software: the ideal Langevin equation of a model, many chains side by side, only sums of blocks kept.

.. math:: u_{k+1} = u_k - h\, \nabla E(u_k) + \sqrt{2 T h}\; \tfrac12 (\xi_k + \xi_{k+1}), \qquad \xi_k \sim \sqrt 3\, U(-1, 1)

Leimkuhler and Matthews 2013, doi:10.1093/amrx/abs010: the noise of two steps is averaged, which makes the stationary law
of a linear mode exact at every h. Uniform noise has the moments that a scheme of weak order needs, and costs a few shifts
(two-point noise is cheaper, but biased where the drift jumps). With momentum a step is

.. math:: v \leftarrow v - \tfrac{h}{m} \nabla E(u), \quad u \leftarrow u + \tfrac h2 v, \quad
          v \leftarrow c\,v + \sqrt{(1 - c^2)\, T/m}\; \xi, \quad u \leftarrow u + \tfrac h2 v, \qquad c = e^{-\gamma h/m}

What they are for: the law of a statistic over *runs like one that was made*, of the same length, starts and dynamics,
modes that such runs miss included (`circuitlsc.validation.null`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.compiled import compiled, side_by_side
from circuitlsc.model.dynamics import LANGEVIN, Dynamics
from circuitlsc.model.prior import Prior
from circuitlsc.model.sparse_coding import SparseCodingModel

Reals = NDArray[np.float32]

LANES = 64  # chains side by side
RATE_STEP = 0.1  # h times the fastest rate; what it does to P(active) is in `Replicates`
BEND = 0.25  # of a cost's curvature counts: that of a narrow valley, which a coarser step crosses all the same
LARGEST_STEP = 0.01  # h in units of the slab's diffusion time
SPACING = 0.1  # between draws, in the same unit
_OCTAVES, _CELLS = 40, 64  # of the table of a smooth cost's force
_FINE = 0.02  # slabs: below, its cells are evenly spaced


class _Law(NamedTuple):
    """What the kernel needs of a model, in single precision."""

    signed: bool
    sparse: bool
    threshold: float
    offset: float  # of the threshold that the dynamics have
    kink: float  # lam of a kinked cost
    stiffness: float  # 1/sd^2 of a quadratic one
    inverse: float  # 1 over the unit of the table
    values: Reals  # the force c'(u) of any other, a row for u > 0 and one for u < 0, against log2(1 + abs(u) inverse)
    slopes: Reals


@dataclass(frozen=True, eq=False)
class Replicates:
    """Sums of replicate runs.

    Attributes
    ----------
    marginals : array, shape (n_runs, n_chains, n_blocks, 4, n_latents)
        Sums over the draws of a block: active, negative, s, s^2 (model units).
    pairs : array, shape (n_runs, n_chains, 2, n_pairs)
        Draws of each half of a chain at which latents i < j are both active, as `numpy.triu_indices` orders them.
    below : array, shape (n_runs, n_chains, 2, n_latents, n_levels)
        Draws of each half of a chain at which s is at most each of the given levels.
    per_block : int
        Draws in a block of one chain.
    length, step : float
        Time of each chain that was measured, and the scheme's step, in tau.

    Notes
    -----
    The kinks of the energy make a bias of order h: with the usual step P(active) is off by 0.001 (4x4 bars), 0.006 (8 x 20,
    signed), 0.015 (one latent whose drift jumps by 17 at its threshold). It does not touch a verdict, whose centre is the
    exact posterior (`circuitlsc.validation.null`).
    """

    marginals: Array
    pairs: Array
    below: Array
    per_block: int
    length: float
    step: float

    @property
    def n_runs(self) -> int:
        """Replicate runs."""
        return len(self.marginals)


def replicate_runs(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    starts: ArrayLike,
    n_runs: int,
    length: float,
    warmup: float = 20.0,
    stream: bool = False,
    dynamics: Dynamics = LANGEVIN,
    seed: int = 0,
    n_blocks: int = 16,
    levels: ArrayLike | None = None,
    rate_step: float = RATE_STEP,
    time_scale: float = 1.0,
    slower: float = 1.0,
    gate_offset: float = 0.0,
    check: Callable[[], None] | None = None,
    threads: int | None = None,
) -> Replicates:
    """Simulate runs of the ideal Langevin equation, and return sums over blocks of their draws.

    Parameters
    ----------
    model : SparseCodingModel
        As the circuit realises it (at T = 1; the temperature is that of ``dynamics``).
    x : array, shape (n_features,), or (n_rows, n_features) with ``stream``
        Observation, in data units.
    starts : array, shape (n_chains, n_latents)
        Where the chains of every run start, in model units.
    n_runs : int
    length, warmup : float
        Time that is measured and that is thrown away before, per chain, in tau.
    stream : bool
        Whether the rows of x follow each other in one run: ``length`` and ``warmup`` are those of each row, and so is a block.
    dynamics : Dynamics
        ``"langevin"``, or ``"underdamped"`` with its mass and friction.
    seed : int
    n_blocks : int
        Blocks into which a chain's draws are summed, even; fewer for few draws. What does not fill them is not simulated.
    levels : array, shape (n_latents, n_levels), optional
        Codes; how often s is at most each of them is counted.
    rate_step : float
        Step times the fastest rate.
    time_scale : float
        Time to diffuse over the slab, in tau (`StepPlan.time_scale`).
    slower : float
        Divides the speed of the dynamics: a correct sampler with a longer tau, to test with.
    gate_offset : float
        Added to the threshold of the dynamics, but not to that at which codes are read: a wrong sampler, to test with.
    check : callable or None
        Called now and then; an error that it raises ends the simulation.
    threads : int or None
        None means one per processor. The numbers do not depend on it.

    Returns
    -------
    Replicates

    Raises
    ------
    InputError
        If the dynamics settle, or the simulation diverges.
    """
    if dynamics.settles:
        raise InputError(f'replicate_runs: kind = "{dynamics.kind}" settles on one code; no law belongs to it.')
    if not dynamics.has_energy:
        raise InputError(f'replicate_runs: kind = "{dynamics.kind}" has no energy that software could follow.')
    starts = np.asarray(starts, dtype=np.float32)
    chains, K = starts.shape
    gram = np.ascontiguousarray(model.gram, dtype=np.float32)
    rows = np.atleast_2d(np.asarray(x, dtype=float))
    drive = np.asarray([model.drive(row) for row in rows], dtype=np.float32)
    step, thin = _step(model, dynamics, rate_step, time_scale)
    draws = max(1, int(length / (thin * step) * (1 + 1e-9)))
    n_blocks = len(rows) if stream else min(n_blocks, max(2, draws // 2 * 2))
    per_block = max(1, draws // (1 if stream else n_blocks))  # rather shorter than the run that is asked for
    h, momentum = step / slower, dynamics.kind == "underdamped"  # slower by a factor: time is counted in longer units
    if momentum:
        assert dynamics.mass is not None
        assert dynamics.friction is not None
        mass, decay = dynamics.mass, math.exp(-dynamics.friction * h / dynamics.mass)
        moves = np.array([h / mass, math.sqrt((1 - decay**2) * dynamics.T / mass), decay, h / 2], dtype=np.float32)
    else:
        moves = np.array([h, math.sqrt(2 * dynamics.T * h) / 2, 0.0, 0.0], dtype=np.float32)
    level = np.zeros((K, 0), np.float32) if levels is None else np.asarray(levels, dtype=np.float32)
    n_pairs = K * (K - 1) // 2 if model.prior.sparse else 0
    groups = -(-n_runs * chains // LANES)
    marginals = np.zeros((groups, n_blocks, 4, K, LANES), np.float32)
    pairs = np.zeros((groups, 2, n_pairs, LANES), np.float32)
    below = np.zeros((groups, 2, K, level.shape[1], LANES), np.float32)
    rest = math.ceil(warmup / step)
    law, counts = kernel_law(model.prior, gate_offset), (*((0, rest) if stream else (rest, 0)), thin, per_block)

    def work(group: int) -> None:
        if check is not None:
            check()
        _run_lanes(
            law, gram, drive, level, starts, group * LANES, moves, momentum, counts,
            (seed * 0x9E3779B97F4A7C15 + (group + 1) * 0xD1B54A32D192ED03) % 2**63,
            marginals[group], pairs[group], below[group],
        )  # fmt: skip

    side_by_side(work, groups, threads)

    def by_run(sums: Reals) -> Array:
        lanes = np.moveaxis(sums, -1, 1).reshape(groups * LANES, *sums.shape[1:-1])
        return lanes[: n_runs * chains].reshape(n_runs, chains, *sums.shape[1:-1]).astype(float)

    found = by_run(marginals)
    if not np.isfinite(found).all():
        raise InputError(
            f"replicate_runs: the simulation diverged at a step of {step:.3g} tau. Lower rate_step = {rate_step!r}."
        )
    return Replicates(
        found,
        by_run(pairs),
        by_run(below),
        per_block,
        per_block * (1 if stream else n_blocks) * thin * step,
        step,
    )


def cost_per_tau(model: SparseCodingModel, dynamics: Dynamics = LANGEVIN, time_scale: float = 1.0) -> float:
    """Return the multiplications that one tau of one chain takes."""
    step, _ = _step(model, dynamics, RATE_STEP, time_scale)
    K = model.n_latents
    return (np.count_nonzero(model.gram) + 12.0 * K) / step


def _step(model: SparseCodingModel, dynamics: Dynamics, rate_step: float, time_scale: float) -> tuple[float, int]:
    """Return the step and how many of them lie between draws."""
    rate = float(np.linalg.eigvalsh(model.gram)[-1]) + model.prior.rate_at(dynamics.T, bend=BEND, diffusion=2.0)
    largest = min(LARGEST_STEP * min(1.0, time_scale), rate_step / rate)
    if dynamics.kind == "underdamped":
        assert dynamics.mass is not None
        largest = min(largest, 2 * rate_step * math.sqrt(dynamics.mass / rate))
    thin = math.ceil(SPACING * min(1.0, time_scale) / largest)
    return SPACING * min(1.0, time_scale) / thin, thin


def kernel_law(prior: Prior, gate_offset: float = 0.0) -> _Law:
    """Return what the kernel needs of a prior."""
    kink = 0.0 if prior.slab is None else 1.0 / prior.slab_scale
    values = slopes = np.zeros((2, 0), np.float32)
    inverse = 1.0
    if not prior.conditionals:
        inverse = 1.0 / (_FINE * prior.slab_scale)
        n = _OCTAVES * _CELLS
        mantissa, octave = np.arange(n + 1) % _CELLS, np.arange(n + 1) // _CELLS
        u = ((1 + mantissa / _CELLS) * 2.0**octave - 1) / inverse
        u[0] = 1e-9 / inverse  # beside a corner at 0, not on it
        force = np.stack([prior.cost_grad(sign * u) for sign in (1.0, -1.0)])
        values, slopes = force[:, :-1].astype(np.float32), np.diff(force, axis=1).astype(np.float32)
    return _Law(
        prior.signed, prior.sparse, prior.threshold, gate_offset, kink, prior.stiffness, inverse, values, slopes
    )


@compiled(reorder=True)
def _seed_lanes(key: int, random: NDArray[np.uint32]) -> None:
    """Seed the generator of every lane by splitmix64."""
    z = np.uint64(key)
    for w in range(len(random)):
        z += np.uint64(0x9E3779B97F4A7C15)
        mixed = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        random[w] = np.uint32((mixed ^ (mixed >> np.uint64(31))) & np.uint64(0xFFFFFFFF)) | np.uint32(1)


@compiled(reorder=True, inline=True)
def _uniform(random: NDArray[np.uint32], y: Reals) -> None:
    """Draw y, uniform with mean 0 and variance 1, by xorshift; one number a lane."""
    signs = random.view(np.int32)
    for w in range(LANES):
        x = random[w]
        x = np.uint32(x ^ (x << np.uint32(13)))  # numba would go on with 64 bits
        x = np.uint32(x ^ (x >> np.uint32(17)))
        random[w] = np.uint32(x ^ (x << np.uint32(5)))
    for w in range(LANES):
        y[w] = np.float32(signs[w]) * np.float32(math.sqrt(3.0) / 2**31)


@compiled(reorder=True, inline=True)
def _codes(law: _Law, u: Reals, s: Reals, on: Reals) -> None:
    """Read codes s and whether each latent is on, (K, LANES), as the dynamics have them."""
    threshold, one, zero = np.float32(law.threshold + law.offset), np.float32(1.0), np.float32(0.0)
    for k in range(len(u)):
        for w in range(LANES):
            a = abs(u[k, w]) - threshold
            o = one if a > zero or not law.sparse else zero
            on[k, w] = o
            t = a * o
            s[k, w] = math.copysign(t, u[k, w]) if law.signed else t


@compiled(reorder=True, inline=True)
def _force(law: _Law, gram: Reals, drive: Reals, k: int, u: Reals, s: Reals, on: Reals, f: Reals, y: Reals) -> None:
    """Put the k-th component of grad E(u) into f, one number a lane; y is room to work in."""
    W = LANES
    kink, stiffness, inverse = np.float32(law.kink), np.float32(law.stiffness), np.float32(law.inverse)
    one, zero = np.float32(1.0), np.float32(0.0)
    last = law.values.shape[1] - 1
    bits = y.view(np.int32)
    for w in range(W):
        f[w] = -drive[k]
    for j in range(len(u)):
        c = gram[k, j]
        if c != zero:
            for w in range(W):
                f[w] += c * s[j, w]
    for w in range(W):
        gate = on[k, w] if law.signed else math.copysign(on[k, w], u[k, w])
        f[w] = f[w] * gate + math.copysign(kink, u[k, w]) + stiffness * u[k, w]
    if last >= 0:
        # the exponent and the first bits of the mantissa of 1 + abs(u)/unit number the cell of the table
        for w in range(W):
            y[w] = one + abs(u[k, w]) * inverse
        for w in range(W):
            cell = min((bits[w] >> 17) - (127 << 6), last)
            part = np.float32(bits[w] & 0x1FFFF) * np.float32(1.0 / (1 << 17))
            side = 0 if u[k, w] >= zero else 1
            f[w] += law.values[side, cell] + part * law.slopes[side, cell]


@compiled(reorder=True)
def _run_lanes(
    law: _Law,
    gram: Reals,
    drive: Reals,
    levels: Reals,
    starts: Reals,
    first: int,
    moves: Reals,
    momentum: bool,
    counts: tuple[int, int, int, int],
    key: int,
    marginals: Reals,
    pairs: Reals,
    below: Reals,
) -> None:
    """Run one group of chains.

    ``first`` is the number of the first of them, the last axis of what is summed; ``counts`` are steps before the first
    block and before each, steps between draws, and draws in a block. The rows of ``drive`` take turns, one a block, or there
    is one.
    """
    W = LANES
    C, K = starts.shape
    n_warmup, rest, thin, per_block = counts
    period = rest + thin * per_block
    n_blocks = len(marginals)
    one, zero = np.float32(1.0), np.float32(0.0)
    u = np.empty((K, W), np.float32)
    v = np.zeros((K, W), np.float32)  # the momentum; without one, the last step's noise
    s, on = np.empty((K, W), np.float32), np.empty((K, W), np.float32)
    f, y = np.empty(W, np.float32), np.empty(W, np.float32)
    random = np.empty(W, np.uint32)
    read = np.float32(law.threshold + law.offset) - np.float32(law.offset)  # where codes are read
    h, amp, decay, half = moves[0], moves[1], moves[2], moves[3]
    _seed_lanes(key, random)
    for k in range(K):
        for w in range(W):
            u[k, w] = starts[(first + w) % C, k]
    for it in range(-1, n_warmup + period * n_blocks):
        _codes(law, u, s, on)
        total = it + 1 - n_warmup
        block = (total - 1) // period if total > 0 else 0  # that ends with or after these steps
        done = total - block * period - rest
        if total > 0 and done > 0 and done % thin == 0:  # a draw: codes are those after the last step
            sums, half_of = marginals[block], 2 * block // n_blocks
            for k in range(K):
                for w in range(W):
                    t = math.copysign(max(abs(u[k, w]) - read, zero), u[k, w] if law.signed else one)
                    sums[0, k, w] += one if t != zero or not law.sparse else zero
                    sums[1, k, w] += one if t < zero else zero
                    sums[2, k, w] += t
                    sums[3, k, w] += t * t
                for q in range(levels.shape[1]):
                    for w in range(W):
                        below[half_of, k, q, w] += one if s[k, w] <= levels[k, q] else zero
            if pairs.shape[1] > 0:
                p = 0
                for i in range(K):
                    for j in range(i + 1, K):
                        for w in range(W):
                            pairs[half_of, p, w] += on[i, w] * on[j, w]
                        p += 1
        row = min(max(total, 0) // period, len(drive) - 1)  # of the step that comes
        for k in range(K):
            _force(law, gram, drive[row], k, u, s, on, f, y)
            _uniform(random, y)
            if momentum:
                for w in range(W):
                    p0 = v[k, w] - h * f[w]
                    p1 = decay * p0 + amp * y[w]
                    v[k, w] = p1
                    f[w] = half * (p0 + p1)
            elif it < 0:  # the first draw of the noise only
                for w in range(W):
                    f[w] = zero
                    v[k, w] = y[w]
            else:
                for w in range(W):
                    f[w] = amp * (v[k, w] + y[w]) - h * f[w]
                    v[k, w] = y[w]
            for w in range(W):
                u[k, w] += f[w]
