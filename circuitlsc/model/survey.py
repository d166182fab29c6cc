"""What a dictionary is, before there is a circuit: sizes, norms, which atoms are alike, and what looks like a slip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Facts

SAME = 1 - 1e-9  # abs(cos) from which two atoms are one
ALIKE = 0.9  # abs(cos) from which they take turns for long
UNEQUAL = 10.0  # longest over shortest norm
SIZES = (0.01, 100.0)  # norms that a prior of scale 1 goes with
UNIT = 1e-3  # a norm this close to 1 is meant to be 1
STEPS_OF_GREY = 255.0


@dataclass(frozen=True)
class Survey:
    """What there is to say of a dictionary.

    Attributes
    ----------
    shape : tuple of int
        (D, K): features and latents.
    norms : array, shape (K,)
    low, high : float
        The smallest and the largest entry.
    coherence : float
        The largest abs(cos) of two atoms; 0 of one alone.
    pair : tuple of int
        Which two.
    alike : int
        Pairs that are the same atom, up to a factor.
    rank : int
    condition : float
        Largest over smallest eigenvalue of A^T A that is not 0.
    notes : tuple of str
        What looks like a slip, or costs time.
    """

    shape: tuple[int, int]
    norms: Array
    low: float
    high: float
    coherence: float
    pair: tuple[int, int]
    alike: int
    rank: int
    condition: float
    notes: tuple[str, ...]

    @property
    def sigma(self) -> float:
        """A noise level to start from: half of the median norm, to two digits."""
        return float(f"{0.5 * float(np.median(self.norms)):.2g}")

    def facts(self) -> Facts:
        """Return it as lines of a report."""
        D, K = self.shape
        times = "complete" if K == D else f"overcomplete, {K / D:.3g} times" if K > D else "fewer latents than features"
        rows = [
            ("dictionary", f"{D} x {K}: x has {D} features, the circuit {K} neuron{'s' * (K > 1)} ({times})"),
            ("norms", f"{self.norms.min():.4g} .. {self.norms.max():.4g}, median {np.median(self.norms):.4g}"),
            ("entries", f"{self.low:.4g} .. {self.high:.4g}{' (nonnegative)' if self.low >= 0 else ''}"),
        ]
        if K > 1:
            which = f"{self.coherence:.4g}, the largest |cos| of two atoms: latents {{}} and {{}}".format(*self.pair)
            rows.append(("coherence", which if self.coherence > 0 else "0: all atoms are orthogonal"))
        of = " (without the zeros)" if self.rank < K else ""
        rows.append(("rank", f"{self.rank} of {K}; condition number of A^T A: {self.condition:.3g}{of}"))
        return Facts((*rows, *(("note", note) for note in self.notes)))


def survey(A: Array) -> Survey:
    """Return what a dictionary (D, K) without zero columns is."""
    D, K = A.shape
    norms = np.linalg.norm(A, axis=0)
    cosines = np.abs((A / norms).T @ (A / norms))
    upper = np.triu(cosines, 1)
    i, j = (int(n) for n in np.unravel_index(int(upper.argmax()), upper.shape))
    values = np.linalg.svd(A, compute_uv=False)
    kept = values[values > values[0] * max(D, K) * np.finfo(float).eps]
    alike = int((upper > SAME).sum())
    made = {
        "shape": (D, K),
        "norms": norms,
        "low": float(A.min()),
        "high": float(A.max()),
        "coherence": min(1.0, float(upper[i, j])),
        "pair": (i, j),
        "alike": alike,
        "rank": len(kept),
        "condition": float((values[0] / kept[-1]) ** 2),
    }
    return Survey(**made, notes=tuple(_notes(A, norms, float(upper[i, j]), (i, j), alike)))


def _notes(A: Array, norms: Array, coherence: float, pair: tuple[int, int], alike: int) -> list[str]:
    notes = []
    rows = np.linalg.norm(A, axis=1)
    if np.ptp(rows) < UNIT < np.ptp(norms) and abs(rows[0] - 1) < UNIT:
        notes.append(
            f"every row has norm 1, and no column need have: if there are {len(rows)} atoms of {len(norms)} features, the file "
            "is transposed. Columns are atoms"
        )
    if A.min() >= 0 and 16 < A.max() <= STEPS_OF_GREY and bool((np.round(A) == A).all()):
        notes.append("whole numbers up to 255 look like pixels of an image: divide A (and x) by 255, or by the norms")
    elif norms.max() < SIZES[0] or norms.min() > SIZES[1]:
        notes.append(
            f"norms of {np.median(norms):.3g}: a code of size 1, as a prior with lam = 1 has, makes an x of that size. Scale A "
            "and x together, or choose lam for codes of another size"
        )
    if norms.max() > UNEQUAL * norms.min():
        short, long = int(norms.argmin()), int(norms.argmax())
        notes.append(
            f"latent {long} is {norms.max() / norms.min():.3g} times as long as latent {short}: the longest atom sets width "
            "and step of all, and the shortest mixes slowest. Norms near each other make runs shorter"
        )
    if alike:
        more = f" ({alike} such pairs)" if alike > 1 else ""
        notes.append(
            f"latents {pair[0]} and {pair[1]} are one atom, up to a factor{more}: data cannot tell them apart, and they "
            "explain an input in turns. Remove one of them, unless that is meant"
        )
    elif coherence > ALIKE:
        notes.append(
            f"latents {pair[0]} and {pair[1]} are nearly one atom: they explain an input in turns, and the circuit needs long "
            "runs to see both turns often"
        )
    return notes
