"""Draws that are read piece by piece, so that what is measured on them needs no more memory for a longer run."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.io.arrays import Array

Values = NDArray[Any]  # floats, or whether a latent is active

#: Draws per chain up to which a statistic's error comes from every draw; beyond, from at most so many block means.
MOST_KEPT = 2**17
#: Numbers in a piece: 2 MB.
PIECE = 2**18


@dataclass(frozen=True, eq=False)
class Draws:
    """Numbers of shape (chain, draw, ...) that are made when they are read: from a file, an array, or other draws.

    Parameters
    ----------
    shape : tuple of int
        Chains, draws, and what a draw has.
    read : callable
        ``read(first, stop)`` returns draws first .. stop - 1 of every chain.
    most : int or None
        How many draws (or means of blocks of them) per chain a standard error is calculated from; None is all.
    width : int
        Numbers that are read for one draw of all chains; None is those that a draw has.
    """

    shape: tuple[int, ...]
    read: Callable[[int, int], Values]
    most: int | None = MOST_KEPT
    width: int | None = None

    @classmethod
    def of(cls, values: ArrayLike | Draws) -> Draws:
        """Return draws as they are, and an array (chain, draw, ...) as draws that are all kept."""
        if isinstance(values, Draws):
            return values
        array = np.asarray(values)
        return cls(array.shape, lambda first, stop: array[:, first:stop], most=None)

    @property
    def n_draws(self) -> int:
        """Draws per chain."""
        return self.shape[1]

    @property
    def block(self) -> int:
        """Draws in a block whose mean stands for them: the least power of two that leaves no more than ``most`` of them."""
        if self.most is None or self.n_draws <= self.most:
            return 1
        return int(2 ** math.ceil(math.log2(self.n_draws / self.most)))

    def map(self, function: Callable[..., Values], *others: Draws) -> Draws:
        """Return a function of draws, applied to each piece as it is read (with those of ``others``, of as many draws)."""

        def read(first: int, stop: int) -> Values:
            return function(*(draws.read(first, stop) for draws in (self, *others)))

        one = read(0, 1)
        width = max(one.size, sum(draws._numbers for draws in (self, *others)))
        return Draws((one.shape[0], self.n_draws, *one.shape[2:]), read, self.most, width)

    def part(self, first: int, stop: int) -> Draws:
        """Return draws first .. stop - 1 alone."""
        shape = (self.shape[0], stop - first, *self.shape[2:])
        return Draws(shape, lambda a, b: self.read(first + a, min(first + b, stop)), self.most, self.width)

    def spans(self, multiple: int = 1) -> Iterator[tuple[int, int]]:
        """Yield (first, stop) of successive pieces, whole multiples long; what does not fill one comes first, alone."""
        rest = self.n_draws % multiple
        if rest:
            yield 0, rest
        length = max(1, PIECE // (max(1, self._numbers) * multiple)) * multiple
        for first in range(rest, self.n_draws, length):
            yield first, min(first + length, self.n_draws)

    def pieces(self) -> Iterator[Values]:
        """Yield the draws, a piece at a time, each (chain, n, ...)."""
        return (self.read(first, stop) for first, stop in self.spans())

    def mean(self) -> Array:
        """Return the mean over chains and draws."""
        sums = (np.sum(piece, axis=(0, 1), dtype=float) for piece in self.pieces())
        return np.asarray(sum(sums, start=np.zeros(self.shape[2:])) / (self.shape[0] * self.n_draws))

    @property
    def _numbers(self) -> int:
        return math.prod(self.shape[2:], start=self.shape[0]) if self.width is None else self.width


def stacked(chains: Sequence[Array]) -> Draws:
    """Return chains, each (draw, n), side by side as draws (chain, draw, n); one that ended early stays where it is."""
    longest, width = max(len(values) for values in chains), chains[0].shape[1]

    def read(first: int, stop: int) -> Array:
        stop = min(stop, longest)
        out = np.empty((len(chains), stop - first, width))
        for row, values in zip(out, chains, strict=True):
            own = values[first:stop]
            row[: len(own)] = own
            if len(own) < len(row):
                row[len(own) :] = values[-1]
            _give_back(values)
        return out

    return Draws((len(chains), longest, width), read)


def _give_back(values: Array) -> None:
    """Unmap the pages of a file that were read: they would count as this process's memory until something needs it."""
    if isinstance(values, np.memmap) and values.mode == "r":
        pages = getattr(values, "_mmap", None)
        if pages is not None:
            pages.madvise(mmap.MADV_DONTNEED)
