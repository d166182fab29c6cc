"""What learners are given: the fields that they share, their checks, and what a result depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_count, check_flag, check_positive, plain, real_array
from circuitlsc.learning.memory import Memory, Remembered, as_memory
from circuitlsc.learning.source import Source, as_source, fingerprint
from circuitlsc.learning.stage import TIME_CONSTANTS, Stage
from circuitlsc.model.sparse_coding import SparseCodingModel


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """What every learner is given; the learners say what each field is."""

    A0: ArrayLike
    lam: float
    sigma: float
    source: Source | SparseCodingModel | ArrayLike
    seed: int
    signed: bool = False
    records: int = 400
    snapshots: int = 9
    _source: Source = field(init=False, repr=False)

    def _keep(self, **values: Any) -> None:
        """Replace fields by what was made of them."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _check(self, *, positive: tuple[str, ...] = (), flags: tuple[str, ...] = (), **least: int) -> None:
        """Keep fields as arrays and Python's own numbers, or raise InputError; ``least`` is that of each whole number."""
        A0, source = real_array("A0", self.A0), as_source(self.source)
        if A0.ndim != 2 or 0 in A0.shape:
            raise InputError(f"A0 has shape {A0.shape}, but a dictionary is (n_features, n_latents), both >= 1.")
        if source.n_features != len(A0):
            raise InputError(
                f"source has inputs of {source.n_features} features, but A0 has {len(A0)} rows. "
                "Start from a dictionary of the inputs' length."
            )
        self._keep(A0=A0, _source=source)
        owner = type(self).__name__
        for name in positive:
            check_positive(owner, name, getattr(self, name), "it must be positive")
            self._keep(**{name: plain(getattr(self, name))})
        for name in ("signed", *flags):
            self._keep(**{name: check_flag(f"{owner}: {name}", getattr(self, name))})
        for name, bound in {"seed": 0, "records": 1, "snapshots": 2, **least}.items():
            self._keep(**{name: check_count(f"{owner}: {name}", getattr(self, name), bound)})

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        simple = {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str))}
        return {**simple, "A0": fingerprint(np.asarray(self.A0)), "source": dict(self._source.settings())}


@dataclass(frozen=True, eq=False, kw_only=True)
class SlowSettings(Settings):
    """What a learner is given whose slow variables move by themselves."""

    pi: float
    learn: tuple[str, ...] = ("A",)
    memory: Memory | int | None = None

    def _remember(self, shown: int) -> None:
        """Keep the memory and, as the source, its inputs, ``shown`` of which are shown at a time; nothing without a memory."""
        if self.memory is not None:
            memory = as_memory(self.memory)
            self._keep(memory=memory, _source=memory.of(self._source, self.seed, shown))

    @property
    def remembered(self) -> Remembered | None:
        """The inputs whose states are remembered, if there is a memory."""
        return self._source if isinstance(self._source, Remembered) else None

    def _few(self, stages: Sequence[Stage], shown: int) -> str | None:
        """Return what is wrong with the number of visits of each input, ``shown`` at a time; None without a memory."""
        visits, time = (shown * sum(values) for values in ([s.n_inputs for s in stages], [s.duration for s in stages]))
        return None if self.remembered is None else self.remembered.few(visits, time / visits)

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        memory = {"memory": self.memory.settings()} if isinstance(self.memory, Memory) else {}
        return {**super().settings(), **memory}

    def _check_learn(self, stages: Sequence[Stage]) -> None:
        """Keep ``learn`` as a tuple of different words that can be learned, each with its time constant in every stage."""
        learn = self.learn
        words = list(learn) if isinstance(learn, (tuple, list)) else [None]
        if not all(isinstance(word, str) and word in TIME_CONSTANTS for word in words) or len(set(words)) < len(words):
            raise InputError(
                f"{type(self).__name__}: learn = {learn!r} cannot be used. "
                f"Give a tuple of different words out of {', '.join(TIME_CONSTANTS)}."
            )
        self._keep(learn=tuple(learn))
        for stage in stages:
            for what in learn:
                stage.rate(what)
