"""Stand-alone decks: text that plain ``ngspice -b deck.cir`` runs, without Python."""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Sequence
from functools import partial

import numpy as np
from PySpice.Spice.Netlist import Circuit

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import is_number

LINE = 100
_wrap = partial(textwrap.wrap, break_long_words=False, break_on_hyphens=False)
MOST_SEED = 2**31 - 1  # ngspice reads a C int, and takes the process id instead of one that does not fit


def options(tolerance: float, volt: float, current: float) -> str:
    """Return the ``.options`` line: Newton's tolerances in model units, no truncation-error control.

    Parameters
    ----------
    tolerance : float
        Relative, and absolute in model units.
    volt, current : float
        Volts per model unit, amperes per unit of drift.
    """
    numbers = {"reltol": tolerance, "vntol": tolerance * volt, "abstol": tolerance * current, "trtol": 1e9}
    return ".options " + " ".join(f"{name}={float(value)!r}" for name, value in numbers.items()) + " itl4=100"


def ngspice_seed(seed: int) -> int:
    """Return what ``.option seed`` gets, 1 .. 2^31 - 1: seed + 1 (0 is "none" to ngspice), or a hash where that is no C int."""
    if seed < MOST_SEED:
        return seed + 1
    (word,) = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return 1 + int(word) % MOST_SEED


def check_tolerance(tolerance: float) -> float:
    """Return a tolerance of Newton's iteration, or raise InputError."""
    if not is_number(tolerance) or not 0 < tolerance <= 1e-2:
        raise InputError(f"tolerance = {tolerance!r}, but Newton's iteration needs one in (0, 0.01].")
    return float(tolerance)


def check_name(what: str, name: str) -> str:
    """Return a name that is going to stand in a deck, or raise InputError if it could be more than one name there."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise InputError(
            f"{what} = {str(name)[:100]!r} is no name in a netlist. Give up to 64 letters, digits or _, no digit first."
        )
    if name != name.lower():
        raise InputError(
            f"{what} = {name!r} has upper-case letters, which ngspice folds: of two names that differ in case alone it "
            f"drops one. Give {name.lower()!r}."
        )
    return name


def body(circuit: Circuit) -> list[str]:
    """Return a circuit's lines, without PySpice's title and blank lines."""
    return [line for line in str(circuit).splitlines() if line.strip() and not line.startswith(".title")]


def wrap(line: str) -> list[str]:
    """Break a long line at blanks or commas into ``+`` continuation lines."""
    if len(line) <= LINE:
        return [line]
    pieces = _wrap(line.replace(",", ", "), LINE - 2)
    return [pieces[0], *(f"+ {piece}" for piece in pieces[1:])]


def comment(line: str) -> list[str]:
    """Return a line as comment lines; what does not fit goes on below, indented, and what cannot be printed is a ?."""
    plain = "".join(c if c.isprintable() else " " if c in "\t\n\r" else "?" for c in line)
    return _wrap(plain, LINE, initial_indent="* ", subsequent_indent="*          ")


def library_deck(
    lines: Sequence[str], nodes: Sequence[str], option_line: str, title: str = "circuitlsc sampler"
) -> str:
    """Return the deck that the engine loads from a circuit's lines: no analysis, because each chunk gives its own."""
    saved = " ".join(f"v({n})" for n in nodes)
    return "\n".join([f"* {title}", *lines, option_line, f".save {saved}", ".end", ""])


def standalone_deck(
    circuit: Circuit,
    *,
    header: Sequence[str],
    nodes: Sequence[str],
    measured: Sequence[str],
    option_line: str,
    seed: int,
    step: float,
    t_start: float,
    t_stop: float,
    at_rest: bool = False,
) -> str:
    """Return a deck with its own seeded noise, analysis and measurements.

    Parameters
    ----------
    circuit : PySpice Circuit
        Lowered with ``trrandom`` noise.
    header : sequence of str
        Comment lines; the first is the title.
    nodes, measured : sequence of str
        Nodes to save; nodes whose time average is printed.
    option_line : str
    seed : int
        Of ``trrandom``, >= 0; the same deck gives the same samples. ngspice gets `ngspice_seed` of it.
    step, t_start, t_stop : float
        Seconds: sample interval of the noise, end of warm-up, end.
    at_rest : bool
        Whether the transient starts from the operating point around nodes at 0 V, or else from the capacitors alone.
    """
    saved = list(dict.fromkeys([*nodes, *measured]))
    means = [f".meas tran mean_{node} avg v({node}) from={float(t_start)!r} to={float(t_stop)!r}" for node in measured]
    begin = [f".ic v({node})=0" for node in nodes] if at_rest else []
    lines = [
        *(piece for line in header for piece in comment(line)),
        *(piece for line in body(circuit) for piece in wrap(line)),
        *(piece for line in option_line.splitlines() for piece in wrap(line)),
        *begin,
        f".option seed={ngspice_seed(seed)}",
        *wrap(".save " + " ".join(f"v({n})" for n in saved)),
        *means,
        f".tran {float(step)!r} {float(t_stop)!r} 0 {float(step)!r}{'' if at_rest else ' uic'}",
        ".end",
    ]
    return "\n".join(lines) + "\n"


def fingerprint(deck: str) -> str:
    """Return the SHA-256 of a deck."""
    return hashlib.sha256(deck.encode()).hexdigest()
