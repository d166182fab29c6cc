r"""The law of a variational circuit as its parts make it, by quadrature, and what imperfections do to it: no small signals.

.. math:: s(L) = b\,[f(v_+) - f(v_-)] + \mu\,[g(v_+) + g(v_-)], \qquad v_\pm = \pm L - \kappa + o_\pm

where v_+ or v_- is above 0, and else 0, with f and g as in `circuitlsc.circuit.cells.variational`. Shift, scale and threshold
of each latent are what the NumPy twin of the encoder gives with the errors of its op-amps and crossbars, o_+- and the gains
of b and mu are those of the cell, and the noise voltages are Gaussian, u ~ N(m, v):

.. math:: v = \frac{\text{power}}{C^2}\,\frac{1}{a}\,\frac{a}{a + f}\,\frac{b}{a + b}\,\frac{b}{f + b}, \qquad a = g/C

with the noise cell's conductance g and capacitor C relative to the design's, an AC coupling of corner f and noise of corner b.
The draw L of the table is a function of one u. That of the product, :math:`k x y + k' x' y'` with the multipliers' offsets in
the means of x and y, has the characteristic function (Gaussian integrals)

.. math:: \varphi(t) = \prod \frac{1}{\sqrt{1 + \alpha^2 t^2}}
          \exp\frac{i t\,k\,m_x m_y - t^2 k^2 (m_x^2 v_y + m_y^2 v_x)/2}{1 + \alpha^2 t^2}, \qquad \alpha^2 = k^2 v_x v_y

The law is that of Fallah & Rozell 2022; none of this is in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtri_exp

from circuitlsc.circuit.cells import LaplaceProduct, Noise, ShiftedThreshold, ThermalNoise
from circuitlsc.io.arrays import Array
from circuitlsc.reference.statistics import MARGINALS
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.studies.small_signal import Prediction

#: what the twin leaves out, and noise that is not stationary within a run
UNPREDICTED = (
    "op_amp.rail",
    "op_amp.output_resistance",
    "integrator.rail",
    "noise.flicker_corner",
)
REACH = 25.0  # scales of a draw: one in 7e10 is larger
NODES = 24  # of Gauss and Legendre, in each piece between two corners of s(L)
FREQUENCIES, HIGHEST = 400, 30.0  # of the characteristic function beyond Laplace's, in 1/scale
ROUNDING = 1e-14  # of a characteristic function
Density = Callable[[Array], Array]


class LawPrediction(Prediction):
    """Change of each latent's statistics by the law of the device's parts; its errors are 0."""

    method = "the law"


def predict_law(ideal: Sampler, device: Sampler) -> LawPrediction | None:
    """Predict what ``device`` does differently from ``ideal``, both variational; None if an imperfection has no formula."""
    names = [i.name for i in device.nonideal.imperfections()]
    if not names or any(name in UNPREDICTED for name in names):
        return None
    before, after = device_law(ideal), device_law(device)
    zero = np.zeros(ideal.model.n_latents)
    changes: dict[str, Any] = {name: after[name] - before[name] for name in MARGINALS}
    return LawPrediction(**changes, **{f"{name}_se": zero for name in MARGINALS})


def device_law(sampler: Sampler) -> dict[str, Array]:
    """Return P(active), mean and sd of each latent of a variational circuit of one input, by name, each (n_latents,)."""
    graph, n = sampler.graph, sampler.model.n_latents
    (threshold,) = (cell for cell in graph.cells if isinstance(cell, ShiftedThreshold))
    signals, inputs = sampler.twin.signals(np.zeros(n)), graph.inputs(threshold)
    above, below, scale, shift = threshold.errors
    mu, b, kappa = (signals[inputs[port].name] for port in ("mu", "b", "kappa"))
    numbers = np.stack(np.broadcast_arrays(shift * mu, scale * b, kappa - above, kappa - below), axis=-1)
    width, rectified = sampler.plan.width, threshold.rectified
    found = [
        _moments(Code(shifted, scaled, up, down, width, rectified), *density)
        for (shifted, scaled, up, down), density in zip(numbers.tolist(), _densities(sampler), strict=True)
    ]
    p, mean, second = np.transpose(found)
    return {"p_active": p, "mean": mean, "sd": np.sqrt(np.maximum(second - mean**2, 0.0))}


@dataclass(frozen=True)
class Code:
    """The code of one latent as a function of its draw: shift, scale, thresholds of either sign, width."""

    mu: float
    b: float
    up: float
    down: float
    width: float
    rectified: bool

    def at(self, draw: Array) -> Array:
        """Return s(L), before what is beyond neither threshold is read as 0."""
        up, down = (draw - self.up) / self.width, (-draw - self.down) / self.width
        ramp = self.width * (np.logaddexp(0, up) - np.logaddexp(0, down))
        return np.asarray(self.b * ramp + self.mu * (expit(up) + expit(down)))

    def read(self, draw: Array) -> Array:
        """Return the code as it is read."""
        s = np.where((draw > self.up) | (draw < -self.down), self.at(draw), 0.0)
        return np.maximum(s, 0.0) if self.rectified else s

    def corners(self, reach: float) -> Array:
        """Return where s(L) has corners and steps, and ends of what is as narrow as a comparator, within +-reach."""
        steps = np.array([self.up, -self.down])
        near = np.concatenate([steps + k * self.width for k in (-50, -10, -2, 0, 2, 10, 50)])
        found = np.clip(np.concatenate([near, [0.0, -reach, reach]]), -reach, reach)
        sides = ((self.up, reach), (-reach, -self.down))
        ends = [np.clip(side, -reach, reach) + 1e-12 * np.array([1.0, -1.0]) for side in sides]
        crossed = [e for e in ends if self.rectified and e[0] < e[1] and np.prod(np.sign(self.at(e))) < 0]
        zeros = [brentq(lambda draw: float(self.at(np.asarray(draw))), *e) for e in crossed]
        return np.unique(np.concatenate([found, zeros]))


def _moments(code: Code, density: Density, scale: float) -> tuple[float, float, float]:
    """Return P(s != 0), E s and E s^2 of one latent."""
    draw, weight = _nodes(code.corners(REACH * scale))
    chance, s = weight * density(draw), code.read(draw)
    return float(chance @ (s != 0)), float(chance @ s), float(chance @ s**2)


def _nodes(corners: Array) -> tuple[Array, Array]:
    """Return nodes and weights of a quadrature, piece by piece."""
    x, w = _gauss(NODES)
    middle, half = (corners[1:] + corners[:-1]) / 2, (corners[1:] - corners[:-1]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


@lru_cache
def _gauss(n: int) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Legendre on -1 .. 1."""
    return np.polynomial.legendre.leggauss(n)


def _densities(sampler: Sampler) -> list[tuple[Density, float]]:
    """Return the density of each latent's draw, and its scale."""
    graph, n = sampler.graph, sampler.model.n_latents
    noises = {cell.letter: _noise(sampler, cell.letter) for cell in graph.integrators}
    product = next((cell for cell in graph.cells if isinstance(cell, LaplaceProduct)), None)
    if product is None:
        return [_of_table(*(float(v[k]) for v in noises["u"])) for k in range(n)]
    offsets, gains = product.errors
    means = np.stack([np.broadcast_to(noises[port][0] + offsets[port], n) for port in product.ports])
    variances = np.stack([noises[port][1] for port in product.ports])
    k = np.stack([np.broadcast_to(gain, n) for gain in gains])
    return [_of_product(means[:, i], variances[:, i], k[:, i]) for i in range(n)]


def _noise(sampler: Sampler, letter: str) -> tuple[Array, Array]:
    """Return mean and variance of the noise voltages of one vector, model units, each (n_latents,)."""
    state = next(cell for cell in sampler.graph.integrators if cell.letter == letter)
    noise = sampler.graph.inputs(state)["noise"]
    assert isinstance(noise, Noise)
    rate = state.conductances / state.capacitor_factors
    variance = np.sum(noise.mix**2, axis=0) / rate
    if isinstance(noise, ThermalNoise):
        coupling = noise.coupling_rate * sampler.scaling.tau
        share = 1 / (1 + rate / noise.corner_rate) / (1 + coupling / noise.corner_rate)
        variance = variance * rate / (rate + coupling) * share
    return (noise.evaluate({}) + state.offset) / state.conductances, variance


def _of_table(mean: float, variance: float) -> tuple[Density, float]:
    """Return the density of L = -sign(u) log 2Q(abs(u)) for u ~ N(mean, variance), and its scale."""

    def density(draw: Array) -> Array:
        u = -ndtri_exp(-np.abs(draw) - np.log(2.0))  # of the same tail
        both = (np.where(draw < 0, -u, u) - mean) ** 2 / variance
        return np.asarray(np.exp((u**2 - both) / 2 - np.abs(draw)) / (2 * np.sqrt(variance)))

    return density, max(1.0, variance) + abs(mean)


def _of_product(mean: Array, variance: Array, gain: Array) -> tuple[Density, float]:
    """Return the density of k x y + k' x' y', four means and variances and two gains, and its scale.

    What the characteristic function has beyond that of a Laplace law with the same corner at 0 is integrated numerically.
    """
    m_x, m_y, v_x, v_y = mean[0::2], mean[1::2], variance[0::2], variance[1::2]
    alpha = gain * np.sqrt(v_x * v_y)
    scale, weight = float(np.sqrt(np.prod(alpha))), float(np.exp(-np.sum(mean**2 / variance) / 2))
    node, step = _gauss(FREQUENCIES)
    t, dt = HIGHEST / scale * (node + 1) / 2, HIGHEST / scale * step / 2
    flat = 1 + np.outer(t**2, alpha**2)
    power = 1j * np.outer(t, gain * m_x * m_y) - np.outer(t**2, gain**2 * (m_x**2 * v_y + m_y**2 * v_x)) / 2
    rest = np.prod(np.exp(power / flat) / np.sqrt(flat), axis=1) - weight / (1 + (scale * t) ** 2)

    def density(draw: Array) -> Array:
        laplace = weight * np.exp(-np.abs(draw) / scale) / (2 * scale)
        if np.max(np.abs(rest)) < ROUNDING:
            return np.asarray(laplace)
        return np.asarray(laplace + (np.exp(-1j * np.outer(draw, t)) @ (rest * dt)).real / np.pi)

    return density, scale
