r"""The encoder: a network that gives each latent the shift, scale and threshold of a thresholded law, in one pass.

.. math:: h_0 = x, \qquad h_l = \max(W_l h_{l-1} + c_l, 0), \qquad (\mu, \rho, \eta) = W_L h_{L-1} + c_L, \qquad
          b = e^\rho, \quad \kappa = \log(1 + e^{-\eta}), \quad P = e^{-\kappa}

Fallah & Rozell 2022. mu is the shift and b the scale in model units; kappa is the threshold of a Laplace draw of scale 1, so
that a latent is active with probability P whatever mu and b are. A threshold that is held, lam in model units, is
kappa = lam/b; one that is drawn from Gamma(alpha, beta) for every sample has P = (1 + 1/(b beta))^-alpha.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.npy import read_archive
from circuitlsc.io.reading import reading
from circuitlsc.io.shown import Shown
from circuitlsc.model.data import MOST_NUMBERS
from circuitlsc.model.network import Network

THRESHOLDS = ("learned", "fixed", "gamma")
OBJECTIVES = ("exact", "straight-through", "pathwise")
REDUCES = ("average", "max")
KIND = "circuitlsc encoder"


class Heads(NamedTuple):
    """What an encoder says of an input, each of shape (..., K).

    ``mu`` in model units, ``rho`` = log b, ``kappa`` = -log P(active).
    """

    mu: Array
    rho: Array
    kappa: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoder(Shown):
    """A network with rectified hidden layers, and what its outputs stand for.

    Parameters
    ----------
    weights : sequence of arrays, shape (n_out, n_in)
        One for each layer; the last has 3 K rows, those of mu, then rho, then eta, or 2 K if the threshold is not learned.
    biases : sequence of arrays, shape (n_out,)
    threshold : str
        ``"learned"`` (the third head), ``"fixed"`` (``lam``) or ``"gamma"`` (``alpha``, ``beta``).
    numbers : mapping
        ``{"lam": ...}``, or ``{"alpha": ..., "beta": ...}``, in model units; empty if the threshold is learned.
    rectified : bool
        Whether codes are the positive part of the law.
    meta : mapping
        How it was trained, JSON-ready.

    Raises
    ------
    InputError
        If shapes do not fit, or a number is not finite.

    Examples
    --------
    >>> layers = [np.ones((3, 2)), np.zeros((6, 3))]  # x of length 2, three hidden units, K = 2
    >>> Encoder(weights=layers, biases=[np.zeros(3), np.zeros(6)])
    Encoder(2-3-6, 2 latents, learned threshold)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    threshold: str = "learned"
    numbers: Mapping[str, float] = field(default_factory=dict)
    rectified: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)

    def _line(self) -> str:
        signs = ", rectified" if self.rectified else ""
        return f"{self._sizes()}, {self.n_latents} latents, {self.threshold} threshold{signs}"

    def _sizes(self) -> str:
        """Return the sizes of inputs and layers, as "16-32-24"."""
        return "-".join(map(str, (self.n_features, *self.hidden, len(self.biases[-1]))))

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "layers", self._sizes()
        yield "latents", str(self.n_latents)
        yield "threshold", ", ".join([self.threshold, *(f"{name} {value:g}" for name, value in self.numbers.items())])
        yield "codes", "nonnegative" if self.rectified else "signed"

    def __post_init__(self) -> None:
        weights = tuple(real_array(f"encoder: weights[{k}]", w) for k, w in enumerate(self.weights))
        biases = tuple(real_array(f"encoder: biases[{k}]", c) for k, c in enumerate(self.biases))
        if self.threshold not in THRESHOLDS:
            raise InputError(f"encoder: threshold = {self.threshold!r} is not one of {', '.join(THRESHOLDS)}.")
        if not weights or len(weights) != len(biases):
            raise InputError(
                f"encoder: {len(weights)} matrices of weights and {len(biases)} vectors of biases. Give one each a layer."
            )
        before = weights[0].shape[-1]
        for k, (w, c) in enumerate(zip(weights, biases, strict=True)):
            if w.ndim != 2 or 0 in w.shape or w.shape[1] != before or c.shape != w.shape[:1]:
                raise InputError(
                    f"encoder: layer {k} has weights of shape {w.shape} and biases of shape {c.shape} behind {before} values. "
                    "Give (n_out, n_in) and (n_out,)."
                )
            before = len(w)
        heads = 3 if self.threshold == "learned" else 2
        if before % heads:
            raise InputError(f"encoder: its {before} outputs are not {heads} for each latent.")
        wanted = {"learned": (), "fixed": ("lam",), "gamma": ("alpha", "beta")}[self.threshold]
        numbers = {name: float(value) for name, value in self.numbers.items()}
        if tuple(sorted(numbers)) != wanted or not all(np.isfinite(v) and v > 0 for v in numbers.values()):
            raise InputError(
                f'encoder: numbers = {numbers}, but threshold = "{self.threshold}" has {", ".join(wanted) or "none"}, > 0.'
            )
        for name, value in (("weights", weights), ("biases", biases), ("numbers", numbers)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "rectified", bool(self.rectified))

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.weights[0].shape[1])

    @property
    def n_latents(self) -> int:
        """K."""
        return len(self.weights[-1]) // (3 if self.threshold == "learned" else 2)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Sizes of the hidden layers."""
        return tuple(len(w) for w in self.weights[:-1])

    def check_fits(self, n_features: int, n_latents: int, *, signed: bool) -> None:
        """Raise InputError unless it is for inputs (D,) and codes (K,) of a model, of the model's sign."""
        if (self.n_features, self.n_latents) != (n_features, n_latents):
            raise InputError(
                f"encoder: it takes {self.n_features} features to {self.n_latents} latents, but the model has {n_features} "
                f"and {n_latents}. Give one that was trained for this model."
            )
        if self.rectified == signed:
            its, wanted = ("rectified", "signed") if signed else ("signed", "nonnegative")
            raise InputError(f"encoder: its codes are {its}, but the prior is {wanted}. Give one of the prior's sign.")

    @property
    def network(self) -> Network:
        """Its layers."""
        return Network(self.weights, self.biases)

    def layers(self, X: ArrayLike) -> list[Array]:
        """Return the values of every layer, the input first and the raw heads last, each (..., n)."""
        return self.network.values(X)

    def heads(self, X: ArrayLike) -> Heads:
        """Return mu, rho and kappa of inputs X (..., D)."""
        return self.read(self.layers(X)[-1])

    def read(self, raw: Array) -> Heads:
        """Return mu, rho and kappa from the last layer's outputs (..., n)."""
        mu, rho, *eta = np.split(raw, 3 if self.threshold == "learned" else 2, axis=-1)
        if self.threshold == "learned":
            return Heads(mu, rho, np.logaddexp(0.0, -eta[0]))
        return Heads(mu, rho, self.kappa_at(rho))

    def kappa_at(self, rho: Array) -> Array:
        """Return kappa of a threshold that is no head: lam exp(-rho), or alpha log(1 + exp(-rho)/beta); shape as rho."""
        if self.threshold == "fixed":
            return np.asarray(self.numbers["lam"] * np.exp(-rho))
        return np.asarray(self.numbers["alpha"] * np.log1p(np.exp(-rho) / self.numbers["beta"]))

    def save(self, path: Path | str) -> None:
        """Write an .npz file without pickles, in full or not at all."""
        arrays: dict[str, Any] = {f"W{k}": w for k, w in enumerate(self.weights)}
        arrays |= {f"c{k}": c for k, c in enumerate(self.biases)}
        about = {"kind": KIND, "threshold": self.threshold, "numbers": dict(self.numbers), "rectified": self.rectified}
        arrays["about"] = json.dumps({**about, "meta": dict(self.meta)}, sort_keys=True)
        with whole_file(Path(path)) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path | str) -> Encoder:
        """Read a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing or is not such a file.
        """
        with reading(str(path), "an encoder", " Give one that circuitlsc learn wrote as encoder.npz."):
            arrays = read_archive(Path(path), MOST_NUMBERS)
            about = json.loads(str(arrays["about"]))
            if not isinstance(about, dict) or about.get("kind") != KIND:
                raise InputError("it says of itself that it is something else")
            n = sum(name.startswith("W") for name in arrays)
            layers: dict[str, Any] = {
                name: tuple(real_array(f"{letter}{k}", arrays[f"{letter}{k}"]) for k in range(n))
                for name, letter in (("weights", "W"), ("biases", "c"))
            }
            return cls(**layers, **{name: about[name] for name in ("threshold", "numbers", "rectified", "meta")})
