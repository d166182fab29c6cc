"""How long a run is, and how it starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from circuitlsc.errors import InputError


@dataclass(frozen=True)
class RunPlan:
    """How long a run is, and how it starts.

    Attributes
    ----------
    t_stop, warmup : float
        End of each chain's transient, and the time whose samples are dropped, in units of tau.
    chains, seed : int
    thin : int or None
        Steps per kept sample; None keeps about five per tau (more if the slab is shorter than 1).
    """

    t_stop: float
    warmup: float = 20.0
    chains: int = 2
    seed: int = 0
    thin: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("chains", 1), ("seed", 0), ("thin", 1)):
            value = getattr(self, name)
            if value is None and name == "thin":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise InputError(f"run.{name} = {value!r}, but it counts something. Give an integer >= {low}.")
        for name in ("t_stop", "warmup"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or value < 0:
                raise InputError(
                    f"run.{name} = {value!r}, but it is a time in units of tau. Give a finite number >= 0."
                )
        if self.t_stop <= self.warmup:
            raise InputError(
                f"run.t_stop = {self.t_stop!r} tau is not beyond run.warmup = {self.warmup!r} tau: no sample would be left. "
                "Give t_stop > warmup."
            )
