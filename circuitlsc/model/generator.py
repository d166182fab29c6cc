r"""What makes inputs from codes, as an energy of both: a network with a Gaussian prior, or a dictionary with any.

.. math:: E(z, x) = -\log p(x | z) - \log p(z), \qquad x \approx f(z)

A generator gives the energy of each input, its slope by the codes, and its mean slope by all that is trained, which stands in
one vector. Taniguchi et al. 2022 have the network, and the discretised logistic noise of pixels; the dictionary is that of
Fang et al. 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import expit

from circuitlsc.io.arrays import Array, check_count
from circuitlsc.model.network import Network, flat
from circuitlsc.model.sparse_coding import SparseCodingModel


class Energy(NamedTuple):
    """Energy of each input (n,), its slope by the codes (n, K), and the mean slope by what is trained, if it was wanted."""

    value: Array
    by_z: Array
    by_parameters: Array | None


class Generator(Protocol):
    """What an autoencoder needs of what makes inputs from codes."""

    @property
    def n_latents(self) -> int:
        """K."""
        ...

    @property
    def parameters(self) -> Array:
        """All that is trained, in one vector."""
        ...

    def with_parameters(self, parameters: Array) -> Generator:
        """Return the generator with other ones."""
        ...

    def energy(self, z: Array, x: Array, *, trained: bool = False) -> Energy:
        """Return the energy of codes z (n, K), in model units, and inputs x (n, D), and its slopes."""
        ...


class Noise(Protocol):
    """What lies between an input and what a network makes, of a size e^rho."""

    def energy(self, x: Array, mean: Array, rho: float) -> tuple[Array, Array, Array]:
        """Return -log p(x | mean) of each input, (n,), and its slopes by the mean, (n, D), and by rho, (n,)."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    r"""Gaussian noise of standard deviation e^rho: :math:`|x - m|^2/(2\sigma^2) + (D/2) \log(2\pi\sigma^2)`."""

    def energy(self, x: Array, mean: Array, rho: float) -> tuple[Array, Array, Array]:
        """Return -log p(x | mean) of each input, a density in data units, and its slopes."""
        r, variance = mean - x, math.exp(2 * rho)
        half = np.sum(r**2, -1) / (2 * variance)
        return half + x.shape[-1] * (0.5 * math.log(2 * math.pi) + rho), r / variance, x.shape[-1] - 2 * half


@dataclass(frozen=True)
class DiscretisedLogistic:
    r"""Logistic noise of pixels that have so many levels, from -1 to 1; the lowest and the highest hold the tails.

    .. math:: P(x | m) = g\Big(\frac{x + \delta - m}{s}\Big) - g\Big(\frac{x - \delta - m}{s}\Big), \qquad
              g(c) = 1/(1 + e^{-c}), \quad \delta = 1/(\mathrm{levels} - 1), \quad s = e^\rho

    Kingma et al. 2016, as Taniguchi et al. 2022 have it (for 256 levels).

    Parameters
    ----------
    levels : int
        >= 2.

    Raises
    ------
    InputError
        If it is no whole number >= 2.
    """

    levels: int

    def __post_init__(self) -> None:
        check_count("DiscretisedLogistic: levels", self.levels, 2)

    def energy(self, x: Array, mean: Array, rho: float) -> tuple[Array, Array, Array]:
        """Return -log P(x | mean) of each input, in nats, and its slopes."""
        half, size = 1.0 / (self.levels - 1), math.exp(rho)
        above, below = (x + half - mean) / size, (x - half - mean) / size
        top, bottom = x > 1.0 - half, x < half - 1.0
        inside = ~(top | bottom)
        # g(a) - g(b) = g(a) g(-b) (1 - e^(b - a)); at the ends one factor alone
        value = np.where(top, 0.0, np.logaddexp(0.0, -above)) + np.where(bottom, 0.0, np.logaddexp(0.0, below))
        width = 2 * half / size
        value -= inside * math.log(-math.expm1(-width))
        over, under = np.where(top, 0.0, expit(-above)), np.where(bottom, 0.0, expit(below))
        by_rho = over * above - under * below + inside * (width * math.exp(-width) / -math.expm1(-width))
        return value.sum(-1), (over - under) / size, by_rho.sum(-1)


@dataclass(frozen=True, eq=False)
class NetworkGenerator:
    r"""A network from codes to inputs, with a Gaussian prior: :math:`E = -\log p(x | f(z)) + |z|^2/2 + (K/2) \log 2\pi`.

    Parameters
    ----------
    network : Network
        f; without hidden layers it is linear.
    noise : Noise
    rho : float
        Logarithm of the noise's size, trained with the network.
    """

    network: Network
    noise: Noise
    rho: float = 0.0

    @property
    def n_latents(self) -> int:
        """K."""
        return int(self.network.weights[0].shape[1])

    @property
    def parameters(self) -> Array:
        """Weights, biases and rho."""
        return np.append(self.network.parameters, self.rho)

    def with_parameters(self, parameters: Array) -> NetworkGenerator:
        """Return the generator with other weights, biases and rho."""
        return replace(self, network=self.network.with_parameters(parameters), rho=float(parameters[-1]))

    def energy(self, z: Array, x: Array, *, trained: bool = False) -> Energy:
        """Return E of codes z (n, K) and inputs x (n, D), and its slopes."""
        values = self.network.values(z)
        data, by_mean, by_rho = self.noise.energy(x, values[-1], self.rho)
        value = data + 0.5 * np.sum(z**2, -1) + 0.5 * z.shape[-1] * math.log(2 * math.pi)
        by_parameters = None
        if trained:
            by_parameters = np.append(flat(*self.network.by_layers(values, by_mean)), by_rho.sum()) / len(x)
        return Energy(value, self.network.by_input(values, by_mean) + z, by_parameters)

    def log_likelihood(self, z: Array, x: Array) -> Array:
        """Return log p(x | z) of each input, (n,)."""
        return -self.noise.energy(x, self.network.values(z)[-1], self.rho)[0]


@dataclass(frozen=True, eq=False)
class DictionaryGenerator:
    """The energy of a sparse-coding model in its states u, of which the dictionary is trained.

    Parameters
    ----------
    model : SparseCodingModel
        With any prior. What does not depend on u is left out of the energy.
    """

    model: SparseCodingModel

    @property
    def n_latents(self) -> int:
        """K."""
        return self.model.n_latents

    @property
    def parameters(self) -> Array:
        """The dictionary, row by row."""
        return np.array(self.model.A.ravel())

    def with_parameters(self, parameters: Array) -> DictionaryGenerator:
        """Return the generator with another dictionary."""
        return DictionaryGenerator(replace(self.model, A=parameters.reshape(self.model.A.shape)))

    def energy(self, z: Array, x: Array, *, trained: bool = False) -> Energy:
        """Return E(u; x) of states u (n, K) and inputs x (n, D), and its slopes."""
        model = self.model
        nothing, drives, s = np.zeros(model.n_features), model.drives(x), model.latent(z)
        value = model.energy(z, nothing) - np.sum(s * drives, -1) + np.sum(x**2, -1) / (2 * model.variance)
        by_z = model.energy_grad(z, nothing) - model.prior.latent_grad(z) * drives
        by_A = ((s @ model.A.T - x).T @ s).ravel() / (model.variance * len(x)) if trained else None
        return Energy(value, by_z, by_A)
