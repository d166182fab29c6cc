r"""Means of samples with Monte-Carlo standard errors, and R-hat, in memory that does not grow with the run.

Up to `sampling.lazy_draws.MOST_KEPT` draws per chain the errors come from every draw. Of a longer run they come from block
means: with N draws in n blocks of m = 2^k,

.. math:: b_j = \frac1m \sum_{i = jm}^{(j+1)m - 1} v_i, \qquad
          \mathrm{MCSE}^2(\bar v) = \frac{\mathrm{var}(b)}{\mathrm{ESS}(b)}

The mean of the b is that of the v, so that both have the same error: ESS(b) counts what correlation is left between
blocks, however long a block is. It holds if a chain has many blocks (n > 65,536 here) and decorrelates over far fewer.
Means themselves are those of every draw.

R-hat compares the spread between chains with the spread of draws, which block means no longer have (their R-hat of an
offset between chains is larger by the root of what they average out): it is that of every m-th draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.sampling.lazy_draws import Draws

#: Fewest draws per chain that arviz-stats takes (it splits each chain in two).
MIN_DRAWS = 4
#: Block means that are held at a time, over all chains and columns: 16 MB. More columns take more passes.
HELD = 2**21
_INFINITE_RHAT = 1e6


def mean_with_mcse(values: ArrayLike | Draws, name: str = "values") -> tuple[Array, Array]:
    r"""Return the mean over chains and draws, and its Monte-Carlo standard error.

    .. math:: \mathrm{MCSE}^2 = \mathrm{var}(v) / \mathrm{ESS}

    Parameters
    ----------
    values : array or Draws, shape (n_chains, n_draws, ...)
        Any function of the samples.
    name : str
        What an error message calls them.

    Returns
    -------
    mean, mcse : array, shape (...)
        In the units of `values`. A column that never changes has MCSE 0.

    Raises
    ------
    InputError
        If there are fewer than 4 draws per chain, or a value cannot be used.

    Notes
    -----
    The ESS is arviz-stats' (Geyer's initial monotone sequence on split chains), itself known to about 10 % at ESS 1,000. Of
    `Draws` longer than `MOST_KEPT` per chain it is that of block means, as the head of this module says; an array's is
    always that of every draw.
    """
    from arviz_stats.base import array_stats  # half a second of imports, which no circuit has to wait for

    values = Draws.of(values)
    if len(values.shape) < 2:
        raise InputError(f"{name} has shape {values.shape}. Pass shape (n_chains, n_draws, ...).")
    if values.shape[0] < 1 or values.n_draws < MIN_DRAWS:
        raise InputError(
            f"{name} has {values.n_draws} samples in each of {values.shape[0]} chains, but a standard error needs at least "
            f"{MIN_DRAWS} per chain. Raise t_stop, or lower thin or warmup."
        )
    mean, mcse = np.empty(math.prod(values.shape[2:])), np.zeros(math.prod(values.shape[2:]))
    for some, mean[some], blocks, moving in _in_blocks(name, values, lambda block: block.mean(2)):
        for k in np.flatnonzero(moving):
            # one column at a time: the Fourier transforms inside take several times its memory
            mcse[some.start + k] = array_stats.mcse(blocks[k], chain_axis=0, draw_axis=1, method="mean")
    return mean.reshape(values.shape[2:]), mcse.reshape(values.shape[2:])


def largest_rhat(values: Draws) -> float:
    """Return the largest rank-normalised split R-hat over the columns (chain, draw, column), of every m-th draw.

    A single chain's halves are compared (each split again by arviz-stats). 1 if nothing moves; inf if it cannot be
    estimated, and for chains that stand still at different values.
    """
    from arviz_stats.base import array_stats

    if values.n_draws // (2 if values.shape[0] == 1 else 1) < MIN_DRAWS:
        return math.inf
    largest = [1.0]
    for _, _, last, _ in _in_blocks("values", values, lambda block: block[:, :, -1]):
        for column in last:
            if len(column) == 1:
                half = column.shape[1] // 2
                column = np.stack([column[0, :half], column[0, -half:]])
            if column.min() == column.max():
                continue
            # Chains that each stand still, at different values, divide by a zero or by its rounding: R-hat is infinite.
            with np.errstate(divide="ignore", invalid="ignore"):
                rhat = float(array_stats.rhat(column, chain_axis=0, draw_axis=1, method="rank"))
            largest.append(rhat if rhat < _INFINITE_RHAT else math.inf)
    return max(largest)


def _in_blocks(
    name: str, values: Draws, reduce: Callable[[Array], Array]
) -> Iterator[tuple[slice, Array, Array, NDArray[np.bool_]]]:
    """Yield, for as many columns at a time as are held, where they are, their means, blocks, and which change at all.

    ``reduce`` makes (chain, block, column) of blocks of draws (chain, block, draw, column); yielded is (column, chain, block).
    """
    chains, m, columns = values.shape[0], values.block, math.prod(values.shape[2:])
    rest, n_blocks = values.n_draws % m, values.n_draws // m
    held = max(1, HELD // (chains * n_blocks))
    for begin in range(0, columns, held):
        some = slice(begin, min(begin + held, columns))
        width = some.stop - begin
        blocks = np.empty((width, chains, n_blocks))
        total, least, most = np.zeros(width), np.full(width, np.inf), np.full(width, -np.inf)
        for first, stop in values.spans(m):
            piece = np.asarray(values.read(first, stop).reshape(chains, -1, columns)[..., some], dtype=float)
            if not np.isfinite(piece).all():
                raise _not_finite(name, values)
            total += piece.sum((0, 1))
            # A constant column's computed variance is rounding, not 0: recognise it by its values.
            least, most = np.minimum(least, piece.min((0, 1))), np.maximum(most, piece.max((0, 1)))
            if first >= rest:  # what does not fill a block is where a chain is least stationary: at its beginning
                at = slice((first - rest) // m, (stop - rest) // m)
                blocks[:, :, at] = np.moveaxis(reduce(piece.reshape(chains, -1, m, width)), 2, 0)
        yield some, total / (chains * values.n_draws), blocks, least < most


def _not_finite(name: str, values: Draws) -> InputError:
    """Return the error that names the first value that is not finite, and counts them."""
    count, value = 0, math.nan
    where: tuple[int, ...] = (values.shape[0],)  # beyond every place
    for first, stop in values.spans():
        piece = values.read(first, stop)
        bad = np.argwhere(~np.isfinite(piece))
        count += len(bad)
        if len(bad):
            place = (int(bad[0][0]), first + int(bad[0][1]), *(int(k) for k in bad[0][2:]))
            if place < where:
                where, value = place, piece[tuple(bad[0])]
    return InputError(
        f"{name}[{', '.join(map(str, where))}] = {value}, but every sample must be finite ({count} are not). "
        "The run failed: look at its waveform before measuring it."
    )
