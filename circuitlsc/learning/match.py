"""Comparison of a learned dictionary with the true one: which atom is which, how parallel, and how long."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array


@dataclass(frozen=True, eq=False)
class Match:
    """Which learned atom stands for which true one; all arrays have one entry for each true atom.

    Attributes
    ----------
    index : array of int, shape (K,)
        Learned atom of each true one, no learned atom twice, with the largest sum of cosines.
    cosine : array, shape (K,)
        Cosine of these pairs (of absolute value if signed).
    norm_ratio : array, shape (K,)
        Norm of the learned atom over that of the true one.
    best_index, best_cosine : array, shape (K,)
        The most parallel learned atom, whether or not it stands for another true one too.
    """

    index: NDArray[np.int64]
    cosine: Array
    norm_ratio: Array
    best_index: NDArray[np.int64]
    best_cosine: Array


def match_atoms(A_true: ArrayLike, A_learned: ArrayLike, *, signed: bool = False) -> Match:
    """Match the columns of a learned dictionary to those of the true one: the assignment with the largest sum of cosines.

    Parameters
    ----------
    A_true : array, shape (D, K)
    A_learned : array, shape (D, L)
        With L >= K.
    signed : bool
        Count an atom and its negative as the same: signed codes cannot tell them apart.

    Returns
    -------
    Match
        Dimensionless; a zero column of A_learned has the cosine 0 with every atom.

    Raises
    ------
    InputError
        If the shapes do not fit, or a column of A_true is zero.

    Examples
    --------
    >>> A = bars(3)
    >>> match_atoms(A, 1.1 * A[:, ::-1]).norm_ratio.round(2).tolist()
    [1.1, 1.1, 1.1, 1.1, 1.1, 1.1]
    """
    true, learned = real_array("A_true", A_true), real_array("A_learned", A_learned)
    if true.ndim != 2 or learned.ndim != 2 or len(true) != len(learned) or learned.shape[1] < true.shape[1]:
        raise InputError(
            f"match_atoms: A_true has shape {true.shape}, A_learned {learned.shape}. "
            "Pass (D, K) and (D, L) with L >= K."
        )
    norms = np.linalg.norm(true, axis=0), np.linalg.norm(learned, axis=0)
    if np.any(norms[0] == 0):
        raise InputError("match_atoms: A_true has a zero column, which is parallel to nothing. Remove it.")
    cosine = (true / norms[0]).T @ (learned / np.maximum(norms[1], 1e-300))
    cosine = np.abs(cosine) if signed else cosine
    rows, index = linear_sum_assignment(-cosine)
    return Match(
        index=index.astype(np.int64),
        cosine=cosine[rows, index],
        norm_ratio=norms[1][index] / norms[0],
        best_index=np.argmax(cosine, 1).astype(np.int64),
        best_cosine=np.max(cosine, 1),
    )
