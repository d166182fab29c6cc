"""How long a run is, how it starts, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_count, is_finite, is_number, plain
from circuitlsc.model.stream import Stream

MAP_T_STOP = 20_000.0  # tau: a circuit that settles is given up after so long
WARMUP = 20.0  # tau
MOST_CHAINS = 10_000
LONGEST = 1e12  # tau: years of computing
TOLERANCE = 0.02  # how close to the exact posterior is close, errors included
ALLOWANCE = 0.005  # bias that comparators of finite gain and steps of finite length may have
REFERENCE_TIME = 60.0  # s: how long a reference is drawn at most


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

    Examples
    --------
    >>> RunPlan(t_stop=2000.0, chains=4).chains
    4
    """

    t_stop: float
    warmup: float = WARMUP
    chains: int = 2
    seed: int = 0
    thin: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("chains", 1), ("seed", 0), ("thin", 1)):
            if name != "thin" or self.thin is not None:
                whole = check_count(f"run.{name}", getattr(self, name), low, ", but it counts something")
                object.__setattr__(self, name, whole)
        if self.chains > MOST_CHAINS:
            raise InputError(
                f"run.chains = {self.chains:,}, but each is a process that starts and warms up. Give at most "
                f"{MOST_CHAINS:,}, and a longer t_stop."
            )
        for name in ("t_stop", "warmup"):
            value = getattr(self, name)
            if not is_number(value) or not is_finite(value) or value < 0:
                raise InputError(
                    f"run.{name} = {value!r}, but it is a time in units of tau. Give a finite number >= 0."
                )
            object.__setattr__(self, name, plain(value))
        if self.t_stop > LONGEST:
            raise InputError(f"run.t_stop = {self.t_stop!r} tau would never end. Give at most {LONGEST:g}.")
        if self.t_stop <= self.warmup:
            raise InputError(
                f"run.t_stop = {self.t_stop!r} tau is not beyond run.warmup = {self.warmup!r} tau: no sample would be left. "
                "Give t_stop > warmup."
            )


def choose_run(
    *,
    settles: bool,
    stream: Stream | None,
    t_stop: float | None = None,
    warmup: float | None = None,
    chains: int | None = None,
    seed: int = 0,
    thin: int | None = None,
) -> RunPlan:
    """Return the plan of a run, with what is left out chosen for the system; times in units of tau.

    Parameters
    ----------
    settles : bool
        Whether the circuit settles on a code instead of sampling.
    stream : Stream or None
        Inputs that follow each other.
    t_stop : float or None
        A stream of inputs fixes it, unless a memory visits them again and again; a circuit that settles ends when it has, or
        here (20,000 tau).
    warmup : float or None
        Dropped at the start, or at the start of each input: 20, or half of each input if that is less; a circuit that
        settles drops nothing; of a memory 20 for each of its inputs.
    chains : int or None
        2; 1 for a stream and for a circuit that settles.
    seed, thin
        As for `RunPlan`.

    Raises
    ------
    InputError
        If t_stop is missing or does not fit the stream, or a number is out of range.
    """
    if stream is not None and stream.order != "once":
        if t_stop is None:
            raise InputError(
                "run() needs t_stop, the length of each chain in units of tau: that of all inputs together."
            )
        warmup = WARMUP * len(stream.rows) if warmup is None else warmup
        return RunPlan(t_stop=t_stop, warmup=warmup, chains=2 if chains is None else chains, seed=seed, thin=thin)
    if stream is not None:
        whole = stream.t_stop
        if t_stop is not None and abs(t_stop - whole) > 1e-6 * whole:
            raise InputError(
                f"run.t_stop = {t_stop!r}, but {len(stream.rows)} inputs of {stream.hold:g} tau take {whole:g}. "
                "Leave t_stop out, or change run.hold."
            )
        t_stop = whole
        if warmup is None:
            warmup = 0.0 if settles else min(WARMUP, stream.hold / 2)
        elif warmup >= stream.hold:
            raise InputError(
                f"run.warmup = {warmup!r} tau is dropped of every input, and each is on for {stream.hold:g} tau: no sample "
                "would be left. Give warmup < hold."
            )
    elif t_stop is None:
        if not settles:
            raise InputError("run() needs t_stop, the length of each chain in units of tau.")
        t_stop = MAP_T_STOP
    if warmup is None:
        warmup = 0.0 if settles else WARMUP
    if chains is None:
        chains = 1 if settles or stream is not None else 2
    return RunPlan(t_stop=t_stop, warmup=warmup, chains=chains, seed=seed, thin=thin)
