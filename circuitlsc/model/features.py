r"""Features of a set of inputs, and the vectors that write what their states learn into weights.

.. math:: u_n = W \phi_n, \qquad \Phi = (\phi_1 .. \phi_N), \qquad K = \Phi^T\Phi, \qquad V = \Phi K^{-1} = (\Phi\Phi^T)^+ \Phi

A state that is written by v_n and read by phi_n changes no other: Phi^T V = 1. Taniguchi et al. 2022 read and write by phi_n
(sections 3.1, 4.1); the dual vectors are not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array

FEATURES = ("one-hot", "orthogonal", "relu:H")
GIVEN = "given"  # an array that has no name
MOST = 4096  # features of an input
LARGEST = 100_000_000  # numbers in Phi
ORTHONORMAL = 1e-9  # how far Phi^T Phi may be from 1 where inputs are written by their features
RANK = 1e-10  # share of the largest singular value below which a direction is none
DRAWS = 8  # times as many features are drawn: some are 0 for every input
SPREAD = 0.5  # of a rectifier's bias, beside a drive of size 1


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder's last layer is driven by, one column for each input of a set.

    Parameters
    ----------
    phi : array, shape (H, N)
        Phi, in its own unit: a weight is in model units over it.
    weights : array, shape (H, D), or None
        Crossbar in front of rectifiers, phi = max(weights x + bias, 0); None if the features come from outside.
    bias : array, shape (H,), or None

    Raises
    ------
    InputError
        If phi is no matrix of finite numbers.
    """

    phi: Array
    weights: Array | None = None
    bias: Array | None = None

    def __post_init__(self) -> None:
        phi = real_array("features", self.phi)
        if phi.ndim != 2 or 0 in phi.shape or not phi.any():
            raise InputError(
                f"features have shape {phi.shape}, but each input has a column of H numbers, not all 0. Give (H, N)."
            )
        object.__setattr__(self, "phi", phi)

    @property
    def H(self) -> int:
        """Features of an input."""
        return len(self.phi)

    @property
    def N(self) -> int:
        """Inputs of the set."""
        return int(self.phi.shape[1])

    @cached_property
    def _axes(self) -> tuple[Array, Array, Array]:
        """Singular vectors and values of Phi, without those that are none."""
        left, values, right = np.linalg.svd(self.phi, full_matrices=False)
        there = values > RANK * values[0]
        return left[:, there], values[there], right[there]

    @property
    def rank(self) -> int:
        """How many inputs have states of their own."""
        return len(self._axes[1])

    @property
    def kernel(self) -> Array:
        """K = Phi^T Phi, (N, N): how the drift of one input's state moves another's, if written by the features."""
        return np.asarray(self.phi.T @ self.phi)

    @property
    def conditioning(self) -> float:
        """Smallest eigenvalue of the kernel over its largest; 0 if the rank is below N."""
        values = self._axes[1]
        return float((values[-1] / values[0]) ** 2) if self.rank == self.N else 0.0

    @property
    def orthonormal(self) -> bool:
        """Whether Phi^T Phi = 1, so that features are their own dual vectors."""
        return bool(np.abs(self.kernel - np.eye(self.N)).max() < ORTHONORMAL)

    @cached_property
    def dual(self) -> Array:
        """V = (Phi^+)^T, (H, N): Phi^T V is 1, or where the rank is below N the projection onto the states that there are."""
        left, values, right = self._axes
        return np.asarray((left / values) @ right)

    @cached_property
    def dual_matrix(self) -> Array:
        """(Phi Phi^T)^+, (H, H): what turns phi into v, of these inputs and of no others."""
        left, values, _ = self._axes
        return np.asarray((left / values**2) @ left.T)

    @cached_property
    def span(self) -> Array:
        """Orthonormal columns that span the features, (H, rank)."""
        return self._axes[0]

    def weights_of(self, u: Array) -> Array:
        """Return W = U Phi^+ (..., K, H), the smallest weights whose states are nearest to u (..., N, K)."""
        return np.swapaxes(u, -1, -2) @ self.dual.T


def is_kind(text: str) -> bool:
    """Return whether ``features`` names a kind; a file's name does not."""
    return text in FEATURES[:2] or _size(text) is not None


def _check_kind(text: str) -> None:
    if not is_kind(text):
        raise InputError(
            f'dynamics.features = "{text}" is none of "one-hot", "orthogonal", "relu:64" (with any number of features), and no '
            "array of features is given with it. Give one of them."
        )


def _size(text: str) -> int | None:
    """Return H of "relu:H"; None if it is something else."""
    name, _, count = text.partition(":")
    if name != "relu" or not (count.isascii() and count.isdecimal()):
        return None
    if not 1 <= int(count) <= MOST:
        raise InputError(f'dynamics.features = "{text}" has {count} features. Give 1 to {MOST:,}.')
    return int(count)


def named_features(kind: str, given: ArrayLike | None) -> str:
    """Return what features are called: their kind, or "given" if there is an array and no other name of it.

    Raises
    ------
    InputError
        If there are an array and a kind that is another.
    """
    if given is None or not is_kind(kind):
        return kind
    if kind != FEATURES[0]:  # what is there if nothing is said
        raise InputError(f'dynamics.features = "{kind}", and an array of features is given too. Leave one of them out.')
    return GIVEN


def features_of(kind: str, x: Array, given: ArrayLike | None = None) -> Features:
    """Return the features of inputs x (N, D).

    Parameters
    ----------
    kind : str
        ``"one-hot"``: Phi = 1, H = N. ``"orthogonal"``: a random orthogonal matrix, H = N. ``"relu:H"``: max(R x + c, 0) with
        normal R and c, of features that some input drives, scaled to a mean square norm of 1. Anything else names what
        ``given`` holds.
    x : array, shape (N, D)
        In data units.
    given : array, shape (N, H), or None
        Features from a file, a row for each input.

    Raises
    ------
    InputError
        If the kind is unknown, or ``given`` does not have a row for each input, or has a feature that is 0 for all of them.
    """
    if given is not None:
        rows = real_array("features", given)
        if rows.ndim != 2 or len(rows) != len(x):
            raise InputError(
                f"dynamics.features = {kind!r} holds an array of shape {rows.shape}, and x has {len(x)} inputs. Give (N, H), "
                f"N = {len(x)}: a row of features for each input."
            )
        if len(dead := np.flatnonzero(~rows.any(axis=0))):
            raise InputError(f"feature {dead[0]} is 0 for every input: nothing is read or written by it. Leave it out.")
        return Features(rows.T)
    if len(x) * max(len(x), _size(kind) or 0) > LARGEST:
        raise InputError(
            f'dynamics.features = "{kind}" of {len(x):,} inputs is more than {LARGEST:,} numbers. Give fewer inputs.'
        )
    kinds: dict[str, Callable[[], Features]] = {
        "one-hot": lambda: Features(np.eye(len(x))),
        "orthogonal": lambda: _orthogonal(len(x)),
    }
    _check_kind(kind)
    return kinds[kind]() if kind in kinds else _rectified(x, _size(kind) or 0)


def _orthogonal(n: int) -> Features:
    q, r = np.linalg.qr(np.random.default_rng([0, n]).standard_normal((n, n)))
    return Features(q * np.sign(np.diag(r)))


def _rectified(x: Array, h: int) -> Features:
    rng, size = np.random.default_rng([0, h]), float(np.linalg.norm(x, axis=1).mean()) or 1.0
    drawn = rng.standard_normal((DRAWS * h, x.shape[1] + 1)) * [*np.full(x.shape[1], 1 / size), SPREAD]
    weights, bias = drawn[:, :-1], drawn[:, -1]
    driven = np.flatnonzero((weights @ x.T + bias[:, None] > 0).any(axis=1))[:h]
    weights, bias = weights[driven], bias[driven]
    if len(driven) < h:
        raise InputError(f'dynamics.features = "relu:{h}": these inputs drive {len(driven)} only. Give another kind.')
    scale = 1 / np.sqrt((np.maximum(weights @ x.T + bias[:, None], 0.0) ** 2).sum(0).mean())
    weights, bias = scale * weights, scale * bias
    return Features(np.maximum(weights @ x.T + bias[:, None], 0.0), weights, bias)
