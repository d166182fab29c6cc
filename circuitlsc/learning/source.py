"""Where inputs come from: anything that returns rows, the same ones for the same seed and number of the input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.model.images import draw_patches
from circuitlsc.model.sparse_coding import SparseCodingModel


class Source(Protocol):
    """What a learner needs of its data."""

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        ...

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n inputs, shape (n, D), in data units; it depends on nothing else."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """Return what makes two sources the same, JSON-ready: a checkpoint is refused if it differs."""
        ...


def input_rng(seed: int, index: int) -> np.random.Generator:
    """Return the generator of the index-th batch of inputs (>= 0), apart from those of the noise and of other batches."""
    return np.random.default_rng([seed, 1, index])


def fingerprint(array: Array) -> str:
    """Return a hash of an array's shape and numbers."""
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Rows:
    """A fixed array of inputs.

    Parameters
    ----------
    X : array, shape (n_rows, n_features)
        In data units.
    shuffle : bool
        Draw rows at random, with replacement (default), or show them in turn.

    Raises
    ------
    InputError
        If X is no array of finite numbers with rows.
    """

    X: Array
    shuffle: bool = True

    def __post_init__(self) -> None:
        X = real_array("X", self.X)
        if X.ndim != 2 or 0 in X.shape:
            raise InputError(f"Rows: X has shape {X.shape}, but inputs are rows. Pass shape (n_rows, n_features).")
        object.__setattr__(self, "X", X)

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        return int(self.X.shape[1])

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n inputs."""
        rows = len(self.X)
        picked = input_rng(seed, index).integers(rows, size=n) if self.shuffle else (index * n + np.arange(n)) % rows
        return np.asarray(self.X[picked])

    def settings(self) -> dict[str, Any]:
        """Return what makes two sources the same."""
        return {"kind": "rows", "X": fingerprint(self.X), "shuffle": self.shuffle}


@dataclass(frozen=True, eq=False)
class FromModel:
    """Inputs drawn from a sparse-coding model: x = A s + n, in data units (Fang et al. 2022).

    Parameters
    ----------
    model : SparseCodingModel
    """

    model: SparseCodingModel

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        return self.model.n_features

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n inputs."""
        return self.model.draw(input_rng(seed, index), n)[1]

    def settings(self) -> dict[str, Any]:
        """Return what makes two sources the same."""
        prior = self.model.prior
        numbers = {k: fingerprint(np.asarray(v[1], dtype=float)) for k, v in prior.variables().items()}
        words = {"kind": "model", "prior": prior.kind, "signed": prior.signed, "sigma": self.model.sigma}
        return {**words, "A": fingerprint(self.model.A), **numbers}


@dataclass(frozen=True, eq=False)
class Patches:
    """Square patches of a whitened image (`circuitlsc.model.images.whiten`), at places drawn uniformly.

    Parameters
    ----------
    image : array, shape (height, width)
        In units of its standard deviation.
    size : int
        Side of a patch, in pixels: D = size^2.

    Raises
    ------
    InputError
        If the image is no picture, or smaller than a patch.
    """

    image: Array
    size: int

    def __post_init__(self) -> None:
        image = real_array("image", self.image)
        if image.ndim != 2:
            raise InputError(f"Patches: image has shape {image.shape}. Pass a whitened picture (height, width).")
        object.__setattr__(self, "image", image)
        self.batch(0, 1, 0)  # refuses a size that does not fit

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        return self.size**2

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n patches."""
        return draw_patches(self.image, n, self.size, input_rng(seed, index))

    def settings(self) -> dict[str, Any]:
        """Return what makes two sources the same."""
        return {"kind": "patches", "image": fingerprint(self.image), "size": self.size}


def checked_batch(source: Source, index: int, n: int, seed: int, dtype: DTypeLike = float) -> NDArray[Any]:
    """Return a source's index-th batch of n inputs, or raise InputError unless it is a finite array (n, n_features)."""
    x: NDArray[Any] = np.ascontiguousarray(source.batch(index, n, seed), dtype)
    if x.shape != (n, source.n_features) or not np.isfinite(x).all():
        raise InputError(
            f"source: batch {index} is no finite array of shape {(n, source.n_features)} (shape {x.shape}). "
            "Repair the source."
        )
    return x


def as_source(data: Source | SparseCodingModel | ArrayLike) -> Source:
    """Return a source: itself, inputs drawn from a model, or the rows of an array."""
    if isinstance(data, SparseCodingModel):
        return FromModel(data)
    if not hasattr(data, "batch"):
        return Rows(np.asarray(data))
    for name in ("n_features", "settings"):
        if not hasattr(data, name):
            raise InputError(
                f"source = {data!r} is no source of inputs: it has no {name}. Give Rows(X), FromModel(model) or "
                "Patches(image, size)."
            )
    return data  # type: ignore[return-value]
