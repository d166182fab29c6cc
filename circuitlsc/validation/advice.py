"""The verdict on a run's errors, its reason, and what would do: a longer run, a looser tolerance, a longer reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.planning.run_plan import REFERENCE_TIME
from circuitlsc.reference.statistics import PosteriorStatistics
from circuitlsc.validation.run_errors import Errors
from circuitlsc.validation.verdict import Verdict

#: Fewer effective samples, or a larger rank R-hat, never agree.
MIN_ESS, MAX_RHAT = 100.0, 1.05
DAY = 86_400.0  # s


@dataclass(frozen=True)
class Times:
    """How long a run was, and its reference is.

    Attributes
    ----------
    t_stop, warmup : float
        Simulated time per chain and how much of it was thrown away, in tau.
    seconds : float
        What a tau of all chains takes on this machine; 0 if it is not known.
    drawn, may : float
        How long the reference was drawn (0 if it is not known), and may be drawn, in s.
    inputs : int
        How many inputs share this time: t_stop and warmup are those of all together.
    """

    t_stop: float
    warmup: float = 0.0
    seconds: float = 0.0
    drawn: float = 0.0
    may: float = REFERENCE_TIME
    inputs: int = 1

    def own(self, t_stop: float) -> float:
        """Return the measured time of one input in a run so long."""
        return (t_stop - self.warmup) / self.inputs

    def longer(self, seconds: float) -> str:
        """Say how long the reference would have to be drawn."""
        return (
            f"About reference_time = {_round_up(seconds):g} ([run]) would do." if self.drawn else "Draw more from it."
        )


@dataclass(frozen=True)
class Decision(Verdict):
    """A verdict, and what would do: a longer run; or a looser tolerance and a run that reaches it (in tau)."""

    t_stop_needed: float | None = None
    needed_tolerance: float | None = None
    needed_t_stop: float | None = None


def decide(
    judged: Errors,
    circuit: PosteriorStatistics,
    exact: PosteriorStatistics,
    times: Times,
    gates: bool,
    allowance: float,
    tolerance: float,
) -> Decision:
    """Return the verdict, a sentence or two, and what would do."""
    if exact.rhat_max > MAX_RHAT or exact.ess_min < MIN_ESS:
        seconds = 2 * judged.reference_time(times.drawn, tolerance)
        return Decision("inconclusive", f"The reference is too short: {_quality(exact)}. {times.longer(seconds)}")
    excess = judged.excess(allowance)
    worst = int(excess.argmax())
    if excess[worst] > judged.c:
        return Decision("disagrees", f"{judged.told(worst)}: more than noise and the allowed bias explain.")
    reach = np.abs(judged.d) + judged.c * judged.wide
    worst, unseen = int(reach.argmax()), _unseen(circuit, exact, tolerance)
    # where correct runs hardly ever move, one that never does is none the worse
    still = circuit.ess_min <= 1 and float(judged.own.max()) <= allowance
    poor = gates and ((circuit.ess_min < MIN_ESS and not still) or circuit.rhat_max > MAX_RHAT)
    if reach[worst] <= tolerance and not poor and not unseen:
        return Decision("agrees", f"All {len(reach)} statistics are within {tolerance:g} of exact, errors included.")
    if reach[worst] > tolerance and judged.reference[worst] > judged.own[worst]:  # a longer run would not help
        known, there = (error[worst] * judged.unit[worst] for error in (judged.own, judged.reference))
        reason = f"{judged.names[worst]} is known to {there:.2g} there, and to {known:.2g} in the run"
        seconds = judged.reference_time(times.drawn, tolerance)
        return Decision("inconclusive", f"The reference is too short: {reason}. {times.longer(seconds)}")
    if reach[worst] > tolerance:
        reason = judged.told(worst)
    elif unseen:
        reason = f"it never visited the state in which {unseen}"
    else:
        reason = _quality(circuit)
    return _advise(f"The run is too short: {reason}.", judged, times, allowance, tolerance)


def _quality(of: PosteriorStatistics) -> str:
    return (
        f"{of.method} has {of.ess_min:.3g} effective samples (at least {MIN_ESS:g} are needed) and rank R-hat "
        f"{of.rhat_max:.3g} (at most {MAX_RHAT:g})"
    )


def _unseen(circuit: PosteriorStatistics, exact: PosteriorStatistics, tolerance: float) -> str:
    """Say which state of more mass than the tolerance the run never visited; nothing if it visited all."""
    states: list[tuple[str, float, float]] = []

    def each(what: str, mass: Callable[[Any], Array]) -> None:
        both = zip(mass(exact), mass(circuit), strict=True)
        states.extend((f"latent {k} is {what}", p, q) for k, (p, q) in enumerate(both))

    each("active", lambda m: m.p_active)
    each("inactive", lambda m: 1 - m.p_active)
    if exact.p_negative is not None and circuit.p_negative is not None:
        each("negative", lambda m: m.p_negative)
        each("positive", lambda m: m.p_active - m.p_negative)
    if exact.support is not None and circuit.support is not None:
        for key, p in exact.support.items():
            active = [str(k) for k in range(exact.n_latents) if key >> k & 1]
            which = "no latent is" if not active else f"latent {active[0]} alone is"
            if len(active) > 1:
                which = f"latents {', '.join(active)} alone are"
            states.append((f"{which} active", p, circuit.support.get(key, 0.0)))
    missed = [(p, name) for name, p, q in states if p > tolerance and q <= 1e-12]
    return f"{max(missed)[1]}, with probability {max(missed)[0]:.3g}" if missed else ""


def _advise(reason: str, judged: Errors, times: Times, allowance: float, tolerance: float) -> Decision:
    """Return what would do, said behind the reason."""

    def drawn(t_stop: float, within: float) -> str:
        known = judged.reference_time(times.drawn, within, times.own(t_stop))
        return f" and reference_time = {_round_up(known):g} ([run])" if known > times.may else ""

    length = judged.needed(allowance, tolerance)
    longer = None if length is None else _round_up(times.warmup + times.inputs * length)
    affordable = 10 * times.t_stop if times.seconds == 0 else max(10 * times.t_stop, 600 / times.seconds)
    if longer is None:
        text = f"{reason} No length reaches {tolerance:g}"
    else:
        text = f"{reason} About t_stop = {longer:g} tau per chain{drawn(longer, tolerance)} would do"
        if longer <= affordable:
            return Decision("inconclusive", f"{text}.", longer)
        if (days := longer * times.seconds / DAY) > 1:
            text += f", {days:.2g} days on this machine: more chains on several machines (--scheduler) share them"
            if times.inputs == 1:
                text += ', and [dynamics] kind = "underdamped" mixes faster'
    near = _round_up(min(affordable, longer or math.inf))
    looser = _round_up(judged.reach(times.own(near), allowance))
    text += f"; with --tolerance {looser:g} t_stop = {near:g}{drawn(near, looser)} would do."
    return Decision("inconclusive", text, longer, looser, near)


def _round_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)  # two significant digits
    return float(math.ceil(value / unit) * unit)
