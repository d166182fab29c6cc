"""The verdict on a run's errors, its reason, and what would do: a longer run, a looser tolerance, a longer reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from circuitlsc.reference.statistics import PosteriorStatistics
from circuitlsc.validation.run_errors import Errors
from circuitlsc.validation.verdict import Outcome

#: Fewer effective samples, or a larger rank R-hat, never agree.
MIN_ESS, MAX_RHAT = 100.0, 1.05
DAY = 86_400.0  # s


@dataclass(frozen=True)
class Times:
    """A run's warm-up and end in tau, what a tau takes in s (0: unknown), how long the reference was drawn and may be."""

    warmup: float
    t_stop: float
    tau: float
    drawn: float
    may: float

    def longer(self, seconds: float) -> str:
        """Say how long the reference would have to be drawn."""
        return (
            f"About reference_time = {_round_up(seconds):g} ([run]) would do." if self.drawn else "Draw more from it."
        )


@dataclass(frozen=True)
class Advice:
    """What would do: a longer run; or, if that is far away, a looser tolerance and a run that reaches it (tau)."""

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
) -> tuple[Outcome, str, Advice]:
    """Return the verdict, a sentence or two, and what would do."""
    if exact.rhat_max > MAX_RHAT or exact.ess_min < MIN_ESS:
        return (
            "inconclusive",
            f"The reference is too short: {_quality(exact)}. {times.longer(2 * judged.reference_time(times.drawn, tolerance))}",
            Advice(),
        )
    excess = judged.excess(allowance)
    worst = int(excess.argmax())
    if excess[worst] > judged.c:
        return "disagrees", f"{judged.told(worst)}: more than noise and the allowed bias explain.", Advice()
    reach = np.abs(judged.d) + judged.c * judged.wide
    worst, unseen = int(reach.argmax()), _unseen(circuit, exact, tolerance)
    # where correct runs hardly ever move, one that never does is none the worse
    still = circuit.ess_min <= 1 and float(judged.own.max()) <= allowance
    poor = gates and ((circuit.ess_min < MIN_ESS and not still) or circuit.rhat_max > MAX_RHAT)
    if reach[worst] <= tolerance and not poor and not unseen:
        return "agrees", f"All {len(reach)} statistics are within {tolerance:g} of exact, errors included.", Advice()
    if reach[worst] > tolerance and judged.reference[worst] > judged.own[worst]:  # a longer run would not help
        known, there = (error[worst] * judged.unit[worst] for error in (judged.own, judged.reference))
        return (
            "inconclusive",
            f"The reference is too short: {judged.names[worst]} is known to {there:.2g} there, and to {known:.2g} in the run. "
            f"{times.longer(judged.reference_time(times.drawn, tolerance))}",
            Advice(),
        )
    if reach[worst] > tolerance:
        reason = f"The run is too short: {judged.told(worst)}."
    elif unseen:
        reason = f"The run is too short: it never visited the state in which {unseen}."
    else:
        reason = f"The run is too short: {_quality(circuit)}."
    advice, text = _advise(judged, times, allowance, tolerance)
    return "inconclusive", reason + text, advice


def _quality(of: PosteriorStatistics) -> str:
    return (
        f"{of.method} has {of.ess_min:.3g} effective samples (at least {MIN_ESS:g} are needed) and rank R-hat "
        f"{of.rhat_max:.3g} (at most {MAX_RHAT:g})"
    )


def _unseen(circuit: PosteriorStatistics, exact: PosteriorStatistics, tolerance: float) -> str:
    """Say which state of more mass than the tolerance the run never visited; nothing if it visited all."""
    states = [
        (f"latent {k} is {'active' if on else 'inactive'}", p if on else 1 - p, q if on else 1 - q)
        for k, (p, q) in enumerate(zip(exact.p_active, circuit.p_active, strict=True))
        for on in (True, False)
    ]
    if exact.p_negative is not None and circuit.p_negative is not None:
        for k, (p, q) in enumerate(zip(exact.p_negative, circuit.p_negative, strict=True)):
            states.append((f"latent {k} is negative", p, q))
            states.append((f"latent {k} is positive", exact.p_active[k] - p, circuit.p_active[k] - q))
    if exact.support is not None and circuit.support is not None:
        for key, p in exact.support.items():
            active = [str(k) for k in range(exact.n_latents) if key >> k & 1]
            which = (
                f"latents {', '.join(active)} alone are" if len(active) > 1 else f"latent {''.join(active)} alone is"
            )
            name = f"{which} active" if active else "no latent is active"
            states.append((name, p, circuit.support.get(key, 0.0)))
    missed = [(p, name) for name, p, q in states if p > tolerance and q <= 1e-12]
    return f"{max(missed)[1]}, with probability {max(missed)[0]:.3g}" if missed else ""


def _advise(judged: Errors, times: Times, allowance: float, tolerance: float) -> tuple[Advice, str]:
    """Return what would do, and how to say it."""

    def drawn(t_stop: float, within: float) -> str:
        known = judged.reference_time(times.drawn, within, t_stop - times.warmup)
        return f" and reference_time = {_round_up(known):g} ([run])" if known > times.may else ""

    length = judged.needed(allowance, tolerance)
    longer = None if length is None else _round_up(times.warmup + length)
    affordable = 10 * times.t_stop if times.tau == 0 else max(10 * times.t_stop, 600 / times.tau)
    if longer is not None and longer <= affordable:
        return Advice(longer), f" About t_stop = {longer:g} tau per chain{drawn(longer, tolerance)} would do."
    near = _round_up(min(affordable, longer or math.inf))
    looser = _round_up(judged.reach(near - times.warmup, allowance))
    alternative = f"with --tolerance {looser:g} t_stop = {near:g}{drawn(near, looser)} would do"
    if longer is None:
        return Advice(None, looser, near), f" No length reaches {tolerance:g}; {alternative}."
    text = f" About t_stop = {longer:g} tau per chain{drawn(longer, tolerance)} would do"
    days = longer * times.tau / DAY
    if days > 1:
        text += (
            f", {days:.2g} days on this machine: more chains on several machines (--scheduler) share them, and "
            '[dynamics] kind = "underdamped" mixes faster'
        )
    return Advice(longer, looser, near), f"{text}; {alternative}."


def _round_up(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)  # two significant digits
    return float(math.ceil(value / unit) * unit)
