"""Stages of learning: how long, with what step, how long each input is shown, and the time constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_positive, is_number, plain

TIME_CONSTANTS = {"A": "tau_A", "pi": "tau_u0", "lam": "tau_lam", "sigma": "tau_sigma"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    r"""A part of a run with its own step and time constants; times in units of tau.

    Parameters
    ----------
    duration : float
        How long; a whole number of steps.
    step : float
        Euler-Maruyama step h. Its bias in P(active) is about 0.05 h/sigma^2 for atoms of unit norm: below 0.003 needs
        h <= 0.02 sigma^2 or so. Ten times that is good enough for a first stage, or with a memory, whose steps are others.
    hold : float
        How long an input is shown; a whole number of steps. After a switch s is that of the last input for a few tau,
        which biases every slow variable by about 1/hold: 10 for A and pi, 50 for lam, sigma and exact norms. With a memory
        (`circuitlsc.learning.memory`) there is no such bias.
    tau_A, tau_u0, tau_lam, tau_sigma : float, optional
        Time constants of A, u0 (for "pi"), lam and sigma; each is needed for what is learned.
    pause : float
        Learning stands still for so long after a switch; less than hold. It takes most of that bias away: on 4x4 bars
        sigma, 0.5 in truth, is learned as 0.572 at hold 5 and as 0.511 with a pause of 3, as 0.537 at hold 10 and 0.503
        with a pause of 5, as 0.507 at hold 50. Software can wait; a circuit would need a clock.

    Raises
    ------
    InputError
        If a time is not positive, or is no whole number of steps.

    Examples
    --------
    >>> Stage(duration=2000.0, step=0.05, hold=20.0, tau_A=500.0).duration
    2000.0
    >>> Stage.of_inputs(100, hold=20.0, step=0.05, tau_A=500.0).duration
    2000.0
    """

    duration: float
    step: float
    hold: float
    tau_A: float | None = None
    tau_u0: float | None = None
    tau_lam: float | None = None
    tau_sigma: float | None = None
    pause: float = 0.0

    def __post_init__(self) -> None:
        for name in ("duration", "step", "hold"):
            check_positive("Stage", name, getattr(self, name), "a time must be positive")
        for name in TIME_CONSTANTS.values():
            if getattr(self, name) is not None:
                check_positive("Stage", name, getattr(self, name), "a time constant must be positive")
        if not (is_number(self.pause) and 0 <= self.pause < self.hold):
            raise InputError(
                f"Stage: pause = {self.pause!r}, but nothing is learned unless it is below hold = {self.hold!r}. "
                "Give 0 <= pause < hold."
            )
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))
        for name in ("duration", "hold", "pause"):
            steps = getattr(self, name) / self.step
            if not math.isclose(steps, round(steps), rel_tol=1e-6, abs_tol=1e-9):
                raise InputError(
                    f"Stage: {name} = {getattr(self, name)!r} is {steps:.6g} steps of {self.step!r}, no whole number. "
                    f"Give a multiple of the step, such as {max(1, round(steps)) * self.step:g}."
                )

    @classmethod
    def of_inputs(cls, n_inputs: int, *, hold: float, **settings: Any) -> Stage:
        """Return a stage of so many inputs, each shown for hold."""
        return cls(duration=n_inputs * hold, hold=hold, **settings)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return round(self.duration / self.step)

    @property
    def hold_steps(self) -> int:
        """Steps that an input is shown."""
        return round(self.hold / self.step)

    @property
    def pause_steps(self) -> int:
        """Steps without learning after a switch."""
        return round(self.pause / self.step)

    @property
    def n_inputs(self) -> int:
        """Number of batches of inputs; the last one may be cut short."""
        return -(-self.n_steps // self.hold_steps)

    def rate(self, what: str) -> float:
        """Return h/tau_x of what is learned: "A", "pi", "lam" or "sigma"."""
        name = TIME_CONSTANTS[what]
        tau = getattr(self, name)
        if tau is None:
            raise InputError(
                f'Stage: {name} is not given, but learn has "{what}". Give {name} in tau, or leave "{what}" out of learn.'
            )
        return float(self.step / tau)
