"""What was learned: the parameters, averaged over the end of a run and as they stood last, in one .npz file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, real_array
from circuitlsc.io.atomic import whole_file
from circuitlsc.io.npy import read_archive
from circuitlsc.io.reading import reading
from circuitlsc.io.shown import Shown
from circuitlsc.model.data import MOST_NUMBERS
from circuitlsc.model.priors import Laplace, SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel

_NUMBERS = ("pi", "lam", "sigma", "pi_final", "lam_final", "sigma_final")


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned(Shown):
    """The parameters that a run has learned.

    Attributes
    ----------
    A : array, shape (D, K)
        Dictionary, the average over the last quarter of the run (and no further back than its last stage).
    pi, lam, sigma : float
        P(active), rate of the slab and noise level, averaged likewise. pi = 1 stands for the prior without a spike.
    A_final, pi_final, lam_final, sigma_final : array and float
        The same at the end of the run: noisier by the fluctuations of learning.
    signed : bool
        Whether codes may be negative.
    meta : mapping
        How it was learned: settings, JSON-ready.
    """

    A: Array
    pi: float
    lam: float
    sigma: float
    A_final: Array
    pi_final: float
    lam_final: float
    sigma_final: float
    signed: bool
    meta: Mapping[str, Any] = field(default_factory=dict)

    def _line(self) -> str:
        D, K = self.A.shape
        numbers = f"pi={self.pi:.4g}, lam={self.lam:.4g}, sigma={self.sigma:.4g}"
        return f"{D} features, {K} latents, {numbers}{', signed' if self.signed else ''}"

    def _facts(self) -> Iterator[tuple[str, str]]:
        norms = np.linalg.norm(self.A, axis=0)
        yield (
            "dictionary",
            f"{self.A.shape[0]} features, {self.A.shape[1]} latents, norms {norms.min():.4g} .. {norms.max():.4g}",
        )
        for name in ("pi", "lam", "sigma"):
            yield name, f"{getattr(self, name):.4g} ({getattr(self, name + '_final'):.4g} at the end)"
        yield "codes", "signed" if self.signed else "nonnegative"

    @classmethod
    def of(
        cls, start: Any, average: tuple[Array, Array], final: tuple[Array, Array], meta: Mapping[str, Any]
    ) -> Learned:
        """Return what a run has learned: A (D, K) and the three numbers (pi, lam, sigma), averaged and last.

        A number that ``start`` (a learner) holds is what was given, without the rounding of an average.
        """
        numbers = {}
        for when, (_, found) in (("", average), ("_final", final)):
            for name, value in zip(("pi", "lam", "sigma"), found, strict=True):
                numbers[name + when] = float(value if name in start.learn else getattr(start, name))
        numbers["pi"] = min(numbers["pi"], 1.0)
        return cls(A=average[0], A_final=final[0], **numbers, signed=start.signed, meta=dict(meta))

    @property
    def u0(self) -> float:
        """Threshold -log(pi)/lam of the averages, in model units."""
        return -math.log(self.pi) / self.lam

    @property
    def u0_final(self) -> float:
        """Threshold at the end, in model units."""
        return -math.log(self.pi_final) / self.lam_final

    def model(self, *, final: bool = False) -> SparseCodingModel:
        """Return the learned model: of the averages, or (``final``) as it stood last; without a spike if pi is 1."""
        pi, lam = (self.pi_final, self.lam_final) if final else (self.pi, self.lam)
        prior = SpikeSlab(pi, lam, self.signed) if pi < 1 else Laplace(lam, self.signed)
        return SparseCodingModel(self.A_final if final else self.A, prior, self.sigma_final if final else self.sigma)

    def save(self, path: Path | str) -> None:
        """Write an .npz file, in full or not at all: A, A_final, the numbers, u0, u0_final, signed, and meta as JSON text.

        ``[model] dictionary`` of a config takes the file as it is: it reads A.
        """
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("A", "A_final", *_NUMBERS, "u0", "u0_final")}
        arrays |= {"signed": self.signed, "meta": json.dumps(dict(self.meta), sort_keys=True)}
        with whole_file(Path(path)) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path | str) -> Learned:
        """Read a file written by `save`.

        Raises
        ------
        InputError
            If the file is missing or is not such a file.
        """
        with reading(str(path), "a file of learned parameters", " Give one that Learned.save wrote."):
            arrays = read_archive(Path(path), MOST_NUMBERS)
            values: dict[str, Any] = {name: float(real_array(name, arrays[name])) for name in _NUMBERS}
            values |= {name: real_array(name, arrays[name]) for name in ("A", "A_final")}
            meta = json.loads(str(arrays["meta"]))
            if values["A"].ndim != 2 or values["A"].shape != values["A_final"].shape or not isinstance(meta, dict):
                raise InputError("A and A_final are no dictionaries of one shape, or meta is no table")
            learned = cls(**values, signed=bool(arrays["signed"]), meta=meta)
            for final in (False, True):
                learned.model(final=final)
        return learned
