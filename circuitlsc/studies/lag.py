r"""What the lag of its cells does to the posterior of a circuit in transistors: three delays that are measured, in NumPy.

Currents of weak inversion charge the nodes whose voltages are their logarithms, so that each lags in proportion to 1/I:

.. math:: \dot s_l = \frac{s_l}{Q_s}\,(s(u) - s_l), \quad
          \dot e_l = \frac{\sqrt{e_l^2 + 4 w_e^2}}{Q_e}\,(G s_l - b - e_l), \quad
          \dot u_l = \frac{\sqrt{u^2 + 4 w^2}}{Q_u}\,(u - u_l), \quad
          \tau\,du = F(u_l, e_l)\,dt + \sqrt{2\tau}\,dW

with s(u) and F the tables: the code line; the splitter of e with the output mirrors behind it; and the splitter of abs(u), whose
sign the force takes. Each Q is a delay of a small signal at one state (`circuitlsc.circuit.transistor.held`) times the current
there. What is approximate: a Q is one number for all states and latents (the largest line's), the threshold's gate follows u_l,
and the output mirrors are taken to follow e. Ends of windows of one tau differ from the tables about as much as those of every
transistor do, down to 1 ms; at 0.2 ms by a fifth to two thirds more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.circuit.transistor.design import LEAST_E
from circuitlsc.circuit.transistor.held import lags, line_lag
from circuitlsc.circuit.transistor.silicon import Silicon
from circuitlsc.io.arrays import Array
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.paired_difference import PairedDifference, paired_difference

STEP = 0.005  # tau
CHAINS, SPACING, WARMUP = 400, 0.1, 10.0  # tau
LEAST = 1e-6  # of a code, model units: its logarithm is finite
FAR = (1.5, 2.0, 2.5, 3.0, 4.0)  # slabs beyond u0: states with an open gate


@dataclass(frozen=True)
class Lags:
    """Delays of small signals at three states of one latent, those of all others being 0.

    Attributes
    ----------
    latent : int
        That whose line drives most mirrors.
    line, code : float
        Seconds behind u of the voltage of the code's line where s = code, about w.
    drift : dict of (float, float)
        Of the drift: what it changes by with u, in 1/tau, and how far behind u, in seconds; at ``"u = 0"``, at
        ``"the threshold"`` and at ``"an open gate"``.
    e, far : float
        e and s at the open gate, model units.
    width, width_e : float
        I0 of both kinds of splitters, model units.
    """

    latent: int
    line: float
    code: float
    drift: dict[str, tuple[float, float]]
    e: float
    far: float
    width: float
    width_e: float = LEAST_E

    @property
    def charges(self) -> tuple[float, float, float]:
        """Q of the line, of e and of u, seconds times model units."""
        q = self.line * self.code
        delay = self.drift["an open gate"][1] - q / self.far
        return q, delay * float(np.hypot(self.e, 2 * self.width_e)), self.drift["u = 0"][1] * 2 * self.width


def measure_lags(sampler: Sampler) -> Lags:
    """Return the delays of a circuit in transistors, by small-signal analyses of its chip with the states held.

    Raises
    ------
    SimulationError
        If ngspice found no operating point.
    """
    chip, sizes, n = sampler.silicon, sampler.sizes, sampler.model.n_latents
    assert sizes is not None
    k = int(np.argmax(np.abs(sizes.weights).sum(axis=0)))
    slab = sampler.model.prior.slab_scale
    states = np.zeros((len(FAR), n))
    states[:, k] = np.minimum(sizes.u0 + np.array(FAR) * slab, 0.95 * sizes.reach_u)
    codes = chip.read(states)
    gradients = gradient(chip, codes)[:, k]
    best = int(np.argmin(np.abs(np.abs(gradients) - 2 / slab)))
    held = {"u = 0": np.zeros(n), "the threshold": np.zeros(n), "an open gate": states[best]}
    held["the threshold"][k] = sizes.crossing
    drift = {}
    for name, u in held.items():
        gain, delay = lags(chip, sampler.model, sampler.scaling, u, k)
        drift[name] = float(gain[k]), float(delay[k])
    line = line_lag(chip, sampler.model, sampler.scaling, held["the threshold"], k)
    code = float(chip.read(held["the threshold"])[k])
    return Lags(k, line, code, drift, float(gradients[best]), float(codes[best, k]), sizes.width)


def gradient(chip: Silicon, codes: Array) -> Array:
    """Return e of codes (..., n_latents) as the chip's mirrors make it."""
    tables = chip.tables
    return np.asarray(codes @ sum(tables.matrices.values()).T - chip.b * tables.inputs)


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
        Of each of 400 chains, tau, beyond a warmup of 10.
    seed : int
    found : Lags or None
        None measures them.
    """
    found = measure_lags(sampler) if found is None else found
    q = np.array(found.charges) / (sampler.scaling.tau if tau is None else tau)
    both = [np.stack(list(kept), axis=1) for kept in zip(*_paths(sampler, q, length, seed), strict=True)]
    lagging, plain = (Draws.of(s).map(sampler.silicon.sparse) for s in both)
    return paired_difference(sampler.model, plain, lagging, of="s")


def windows(sampler: Sampler, *, tau: float | None = None, length: float = 40.0, found: Lags | None = None) -> Array:
    """Return how far apart both are at the ends of windows of one tau, at the start of which they are alike."""
    found = measure_lags(sampler) if found is None else found
    q = np.array(found.charges) / (sampler.scaling.tau if tau is None else tau)
    kept = [np.abs(a - b) for a, b in _paths(sampler, q, length, 0, window=1.0)]
    return np.concatenate([each.ravel() for each in kept])


def _paths(
    sampler: Sampler, q: Array, length: float, seed: int, window: float | None = None
) -> Iterator[tuple[Array, Array]]:
    """Yield what lagging cells and tables alone are at, (chains, n_latents): codes, or u at the ends of windows.

    Euler-Maruyama in u; within a step each lag is solved exactly for what it follows.
    """
    chip, sizes, h = sampler.silicon, sampler.sizes, STEP
    assert sizes is not None
    graph = replace(sampler, sizes=replace(sizes, keys=replace(sizes.keys, engine="tables"))).graph
    gate = next(cell for cell in graph.cells if cell.name == "gate")

    def force(u: Array, e: Array) -> Array:
        return gate.respond({"u": u, "e": e})[0]

    rng = np.random.default_rng([seed, 2])
    u = sampler.starts(CHAINS, seed)
    v, ul = u.copy(), u.copy()
    line = _Line(chip.read(u), sizes.width**2 / sizes.u0, sizes.signed)
    el = gradient(chip, line.code)
    every = round((SPACING if window is None else window) / h)
    for step in range(1, round((WARMUP + length) / h) + 1):
        noise = np.sqrt(2 * h) * rng.standard_normal(u.shape)
        s = chip.read(v)
        v = v + h * force(v, gradient(chip, s)) + noise
        u = u + h * force(ul, el) + noise
        ul = u + (ul - u) * np.exp(-h * np.hypot(u, 2 * sizes.width) / q[2])
        line.follow(chip.read(u), h / q[0])
        e = gradient(chip, line.code)
        el = e + (el - e) * np.exp(-h * np.hypot(el, 2 * LEAST_E) / q[1])
        if step % every == 0:
            if step * h > WARMUP:
                yield (u, v) if window is not None else (chip.read(u), chip.read(v))
            if window is not None:
                v = u.copy()


class _Line:
    """The currents of a code's lines, s = s+ - s-, each a logarithm's lag behind what it follows."""

    def __init__(self, code: Array, floor: float, signed: bool) -> None:
        self._floor, self._signed = floor, signed
        self._parts = self._halves(code)

    def _halves(self, code: Array) -> list[Array]:
        if not self._signed:
            return [np.maximum(code, LEAST)]
        size = np.hypot(code, 2 * self._floor)
        return [np.maximum((size + code) / 2, LEAST), np.maximum((size - code) / 2, LEAST)]

    @property
    def code(self) -> Array:
        return self._parts[0] - self._parts[1] if self._signed else self._parts[0]

    def follow(self, code: Array, time: float) -> None:
        """Go on for a time (over Q) behind a code: the exact solution of s' = s (s_in - s)."""
        self._parts = [
            to / (1 + (to / now - 1) * np.exp(-to * time))
            for to, now in zip(self._halves(code), self._parts, strict=True)
        ]
