r"""A memory: a set of inputs, each with a state of its own that waits while the others are shown.

.. math:: \tau\,dW = (-\nabla E(u_n; x_n)\,dt + \sqrt{2T\tau}\,dB)\,v_n^T, \qquad u_n = W\phi_n, \qquad \Phi^T V = 1

While x_n is shown u_n moves as without a memory, and no other state moves: U = W Phi is a table with a row for each input, the
same one for all features, and what is learned from the codes is the same, too. Software keeps U, a circuit W. The memory is
that of Taniguchi et al. 2022 (section 3.1); dual vectors, streams of single inputs and this use of them are not in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count
from circuitlsc.learning.source import Rows, Source, checked_batch, fingerprint
from circuitlsc.model.dynamics import Dynamics, as_dynamics
from circuitlsc.model.features import Features, features_of, named_features
from circuitlsc.sampling.system import system_of

FEW, SHORT = 10, 50.0  # visits of an input, and the time that it is on, in tau: codes have not converged with fewer
AMORTISED = Dynamics(kind="amortised")


class FewVisitsWarning(UserWarning):
    """The inputs of a memory are visited so rarely that their codes, or what is learned from them, have not converged."""


@dataclass(frozen=True, eq=False)
class Memory:
    """How many inputs a learner remembers, and by which features.

    Parameters
    ----------
    size : int
        N, the number of inputs: the first N rows of an array, or N that are drawn once.
    dynamics : Dynamics or str
        ``"amortised"``, with neuron noise, dual vectors or orthonormal features, and T = 1.
    features : array, shape (N, H), or None
        If ``dynamics.features`` names a file: a row for each input.

    Raises
    ------
    InputError
        If the number is none, or the dynamics are no such memory.
    """

    size: int
    dynamics: Dynamics | str = AMORTISED
    features: ArrayLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_count("memory: size", self.size, 1))
        dynamics = as_dynamics(self.dynamics)
        if dynamics.remembers:
            dynamics = replace(dynamics, features=named_features(str(dynamics.features), self.features))
        object.__setattr__(self, "dynamics", dynamics)
        if not dynamics.remembers:
            raise InputError(f'memory: dynamics.kind = "{dynamics.kind}" remembers no inputs. Give "amortised".')
        if dynamics.noise != "neuron":
            raise InputError(
                'memory: dynamics.noise = "weight" is exact for holds near 0 alone, and biases what is learned. Give "neuron".'
            )
        for name, only in (("leak", 0.0), ("restricted", False), ("temperature", 1.0)):
            if (value := getattr(dynamics, name)) != only:
                raise InputError(
                    f"memory: dynamics.{name} = {value!r} samples another law than the posterior, which teaches nothing. "
                    f"Give {only!r}, or leave it out."
                )

    def of(self, source: Source, seed: int, shown: int) -> Remembered:
        """Return the inputs that are remembered of a source, ``shown`` of them at a time.

        Raises
        ------
        InputError
            If there are fewer of them, or more are shown at a time, or the features do not tell them apart.
        """
        if shown > self.size:
            raise InputError(
                f"batch = {shown!r}, but a memory of {self.size} inputs shows no more at a time. Give batch <= {self.size}."
            )
        in_turn = False
        if isinstance(source, Rows):
            if len(source.X) < self.size:
                raise InputError(
                    f"memory: size = {self.size!r}, but the source has {len(source.X)} rows. Give at most as many."
                )
            X, in_turn = source.X[: self.size], not source.shuffle
        else:
            X = checked_batch(source, 0, self.size, seed)
        assert isinstance(self.dynamics, Dynamics)
        assert self.dynamics.features is not None
        return Remembered(X, features_of(self.dynamics.features, X, self.features), self.dynamics, in_turn)

    def settings(self) -> dict[str, Any]:
        """Return what makes two memories the same, JSON-ready, but for the inputs."""
        assert isinstance(self.dynamics, Dynamics)
        return {"size": self.size, **self.dynamics.numbers()}


def as_memory(value: Memory | int) -> Memory:
    """Return a memory from its number of inputs."""
    return value if isinstance(value, Memory) else Memory(value)


@dataclass(frozen=True, eq=False)
class Remembered:
    """The inputs of a memory, a source of its own: each is shown as often as the others.

    Parameters
    ----------
    X : array, shape (N, D)
        In data units.
    features : Features
    dynamics : Dynamics
    in_turn : bool
        Whether rows are shown in turn; else in an order that is drawn anew for each cycle through them. A cycle has as many
        whole batches as there are; those that are left over are others in each cycle.

    Raises
    ------
    InputError
        If the states of two inputs are not apart: the rank is below N, or what writes one changes another.
    """

    X: Array
    features: Features
    dynamics: Dynamics = field(default=AMORTISED)
    in_turn: bool = False

    def __post_init__(self) -> None:
        kind, features = self.dynamics.features, self.features
        if features.rank < features.N:
            raise InputError(
                f'dynamics.features = "{kind}" have rank {features.rank}, but {features.N} inputs are remembered, each with a '
                f'state of its own. Give at least {2 * features.N} features, "one-hot" ones, or a smaller set.'
            )
        system_of(self.dynamics, features=features)  # refuses what writes one state and changes another

    @property
    def n_features(self) -> int:
        """D, the length of an input."""
        return int(self.X.shape[1])

    def visit(self, index: int, n: int, seed: int) -> NDArray[np.int64]:
        """Return which n inputs the index-th batch shows, no input twice."""
        size = len(self.X)
        if self.in_turn:
            return (index * n + np.arange(n)) % size
        cycle, place = divmod(index, size // n)
        return np.random.default_rng([seed, 5, cycle]).permutation(size)[place * n : (place + 1) * n]

    def few(self, visits: float, hold: float) -> str | None:
        """Return what is wrong with so many visits in all, hold tau each, in one line; None if nothing is."""
        each = visits / len(self.X)
        if each >= FEW and each * hold >= SHORT:
            return None
        return (
            f"each of the {len(self.X)} inputs remembered is on {each:.3g} times, {each * hold:.3g} tau in all ({FEW} and "
            f"{SHORT:g} are good), too few for its codes. Show more inputs, or remember fewer."
        )

    def batch(self, index: int, n: int, seed: int) -> Array:
        """Return the index-th batch of n inputs."""
        return np.asarray(self.X[self.visit(index, n, seed)])

    def settings(self) -> Mapping[str, Any]:
        """Return what makes two sets the same."""
        phi = fingerprint(self.features.phi)
        return {"kind": "remembered", "X": fingerprint(self.X), "phi": phi, "in_turn": self.in_turn}
