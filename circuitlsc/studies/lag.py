r"""What the lag of its cells does to the posterior of a circuit in transistors: four delays that are measured, in NumPy.

A current of weak inversion charges the node whose voltage is its logarithm, so that each lags in proportion to 1/I:

.. math:: \dot p = \frac{p}{Q}\,(p_{in} - p)

This holds for the code's line, for both halves of e and of u, and for both output mirrors; s(u) and F are the tables between:

.. math:: u_l \leftarrow u, \quad s_l \leftarrow s(u), \quad e_l \leftarrow G s_l - b, \quad f_l \leftarrow F(u_l, e_l), \quad
          \tau\,du = f_l\,dt + \sqrt{2\tau}\,dW

Each Q is the delay of a small signal at one state (`circuitlsc.circuit.transistor.held`) times the current there. What is
approximate: a Q is one number for all states and latents (those of the largest line); the output mirrors are the halves of F
that leave lam/2 in each at F = 0; and the threshold's gate follows u_l, without the lag of its own two logarithms. Against
every transistor it has the size of the lag at tau = 0.2 ms, and a third of it at 1 ms (docs/transistor-energy.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from circuitlsc.circuit.transistor.design import LEAST_E
from circuitlsc.circuit.transistor.held import node_lags
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.io.arrays import Array
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.paired_difference import PairedDifference, paired_difference

STEP = 0.01  # tau
CHAINS, SPACING, WARMUP = 100, 0.1, 10.0  # tau
LEAST = 1e-6  # of a half, model units: its logarithm is finite
FAR = (1.5, 2.0, 2.5, 3.0, 4.0)  # slabs beyond u0: states with an open gate


@dataclass(frozen=True)
class Lags:
    """Delays of one latent's cells, seconds, all other states being 0; and what Q they are of.

    Attributes
    ----------
    latent : int
        That whose line drives most mirrors.
    line, code : float
        Of the voltage of the code's line behind u, where s = code, about w.
    line_charge, e_charge, output_charge, u_charge : float
        Q, seconds times model units: of the line, of the halves of e, of the output mirrors, of the halves of u.
    """

    latent: int
    line: float
    code: float
    line_charge: float
    e_charge: float
    output_charge: float
    u_charge: float

    @property
    def charges(self) -> Array:
        """All Q, in the order of the signal: u, line, e, output."""
        return np.array([self.u_charge, self.line_charge, self.e_charge, self.output_charge])


def measure_lags(sampler: Sampler) -> Lags:
    """Return the delays of a circuit in transistors, by small-signal analyses of its chip with the states held.

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    chip, sizes, n = sampler.silicon, sampler.silicon.sizes, sampler.model.n_latents
    k = int(np.argmax(np.abs(sizes.weights).sum(axis=0)))

    def behind(u: float, *nodes: str) -> tuple[float, ...]:
        """Return how far nodes are behind u_k."""
        state = np.zeros(n)
        state[k] = u
        return tuple(node_lags(chip, sampler.model, sampler.scaling, state, k, nodes))

    # u = 0: both halves carry w; s = w: the line is slowest where the gate opens; the third state: e is the largest part of F
    halves = behind(0.0, f"p0_{k}", f"n0_{k}")
    (line,) = behind(sizes.crossing, f"s_{k}")
    states = np.zeros((len(FAR) + 1, n))
    states[:-1, k] = np.minimum(sizes.u0 + np.array(FAR) / sizes.lam, 0.95 * sizes.reach_u)
    states[-1, k] = sizes.crossing
    codes = chip.read(states)
    e = gradient(chip, codes[:-1])[:, k]
    best = int(np.argmin(np.abs(e - 2 * sizes.lam)))
    up, size = e[best] < 0, abs(float(e[best]))
    names = [f"s_{k}", *(f"xgate_{k}.{name}" for name in (("en", "ob", "ob") if up else ("ep", "oa", "ya")))]
    of_line, of_e, *of_outputs = behind(float(states[best, k]), *names)
    code = float(codes[-1, k])
    carried = size if up else size + sizes.lam
    charges = (line * code, (of_e - of_line) * size, (float(np.mean(of_outputs)) - of_e) * carried)
    return Lags(k, line, code, *charges, float(np.mean(halves)) * sizes.width)


def gradient(chip: Silicon, codes: Array) -> Array:
    """Return e of codes (..., n_latents) as the chip's mirrors make it."""
    tables = chip.tables
    return np.asarray(codes @ np.sum(list(tables.matrices.values()), axis=0).T - chip.b * tables.inputs)


def of_lag(
    sampler: Sampler, *, tau: float | None = None, length: float = 100.0, seed: int = 0, found: Lags | None = None
) -> PairedDifference:
    """Return what lag changes: states of lagging cells and of the tables alone, on the same noise, in NumPy.

    Parameters
    ----------
    sampler : Sampler
        At transistor level, of one input.
    tau : float or None
        Seconds; None is the circuit's own.
    length : float
        Of each of 100 chains, tau, beyond a warmup of 10.
    seed : int
    found : Lags or None
        None measures them.
    """
    read = sampler.silicon.read
    kept = [(read(u), read(v)) for u, v in _paths(sampler, _rates(sampler, tau, found), length, seed)]
    lagging, plain = (Draws.of(np.stack(s, axis=1)).map(sampler.silicon.sparse) for s in zip(*kept, strict=True))
    return paired_difference(sampler.model, plain, lagging, of="s")


def windows(
    sampler: Sampler, *, tau: float | None = None, length: float = 40.0, seed: int = 0, found: Lags | None = None
) -> Array:
    """Return how far apart both are at the ends of windows of one tau, at the start of which they are alike, model units."""
    kept = [np.abs(u - v).ravel() for u, v in _paths(sampler, _rates(sampler, tau, found), length, seed, window=1.0)]
    return np.concatenate(kept)


def _rates(sampler: Sampler, tau: float | None, found: Lags | None) -> Array:
    """Return 1/Q, per tau and model unit."""
    found = measure_lags(sampler) if found is None else found
    return (sampler.scaling.tau if tau is None else tau) / found.charges


def _paths(
    sampler: Sampler, rates: Array, length: float, seed: int, window: float | None = None
) -> Iterator[tuple[Array, Array]]:
    """Yield states u of lagging cells and of tables alone, (chains, n_latents) each, or those at the ends of windows.

    Euler-Maruyama in u; within a step each lag is solved exactly for what it follows.
    """
    chip, sizes = sampler.silicon, sampler.silicon.sizes
    gate = next(cell for cell in sampler.graph.cells if cell.name == "gate")

    def force(u: Array, e: Array) -> Array:
        return gate.respond({"u": u, "e": e})[0]

    rng = np.random.default_rng([seed, 2])
    u = sampler.starts(CHAINS, seed)
    v = u.copy()
    code, e = chip.read(u), gradient(chip, chip.read(u))
    halves = _Halves(u, sizes.width)
    line = _Halves(code, sizes.width**2 / sizes.u0) if sizes.signed else _Logarithm(code)
    parts, outputs = _Halves(e, LEAST_E), _Halves(force(u, e), sizes.lam / 2)
    every = round((SPACING if window is None else window) / STEP)
    of_u, of_line, of_e, of_output = STEP * rates
    for step in range(1, round((WARMUP + length) / STEP) + 1):
        noise = np.sqrt(2 * STEP) * rng.standard_normal(u.shape)
        v = v + STEP * force(v, gradient(chip, chip.read(v))) + noise
        u = u + STEP * outputs.value + noise
        late = halves.follow(u, of_u)
        e = parts.follow(gradient(chip, line.follow(chip.read(u), of_line)), of_e)
        outputs.follow(force(late, e), of_output)
        if step % every == 0:
            if step * STEP > WARMUP:
                yield u, v
            if window is not None:
                v = u.copy()


class _Logarithm:
    """A current > 0 that a node holds the logarithm of."""

    def __init__(self, start: Array) -> None:
        self.value = np.maximum(start, LEAST)

    def follow(self, to: Array, time: float) -> Array:
        """Go on behind a current for a time (over Q): the exact solution of p' = p (p_in - p); return where it is."""
        to = np.maximum(to, LEAST)
        self.value = to / (1 + (to / self.value - 1) * np.exp(-to * time))
        return self.value


class _Halves:
    """A current of either sign as the difference of two halves, whose product is that of ``floor`` with itself."""

    def __init__(self, start: Array, floor: float) -> None:
        self._floor = floor
        self._parts = [_Logarithm(half) for half in self._split(start)]

    def _split(self, value: Array) -> tuple[Array, Array]:
        size = np.hypot(value, 2 * self._floor)
        return (size + value) / 2, (size - value) / 2

    @property
    def value(self) -> Array:
        """The difference."""
        return self._parts[0].value - self._parts[1].value

    def follow(self, to: Array, time: float) -> Array:
        """Go on behind a current for a time (over Q), each half by itself; return where the difference is."""
        for part, half in zip(self._parts, self._split(to), strict=True):
            part.follow(half, time)
        return self.value
