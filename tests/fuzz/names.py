"""Target: names and numbers that a user gives, on their way into a deck: one line stays one line, and the deck passes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from contract import BrokenContractError, holds

from circuitlsc import CustomPrior, SparseCodingModel, build_sampler
from circuitlsc.simulator.ngspice.deck import comment
from circuitlsc.simulator.ngspice.deck_lines import check_lines

S = np.linspace(-3, 3, 9)
SAMPLER = build_sampler(SparseCodingModel(np.eye(2), CustomPrior.from_table(S, S**2), 0.5), np.ones(2))


def seeds() -> list[bytes]:
    """Return names, good and bad."""
    return [
        b"lsc_sampler",
        b"a\n.control\nshell id\n.endc",
        b"two words",
        b"x\r*#quit",
        "µ".encode(),
        b"{x}",
        b"1e400",
        b"a;b",
    ]


def prepare(folder: Path) -> None:
    """Need nothing."""


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Put a character that ends a line, or means something to ngspice, somewhere."""
    place = rng.randrange(len(data) + 1)
    return (
        data[:place]
        + rng.choice([b"\n", b"\r", b"\0", b"\x0b", b" ", b"*#", b".control", b"$", b"\xe2\x80\xa8"])
        + data[place:]
    )


def check(data: bytes, folder: Path) -> None:
    """Use the input as each name, and as a header line."""
    name = data.decode("utf-8", "surrogateescape")
    part = holds(lambda: SAMPLER.subcircuit(name=name))
    if part is not None:
        _passes(f"title\n{part}")
    prior = holds(lambda: CustomPrior.from_table(S, S**2, name=name))
    if prior is not None and not repr(prior).isprintable():
        raise BrokenContractError("a prior's name breaks its line")
    lines = holds(lambda: comment(name))
    if lines is not None:
        _passes("\n".join(["title", *lines]))


def _passes(deck: str) -> None:
    complaints, includes = check_lines(deck.encode("utf-8", "surrogateescape"), titled=True)
    if complaints or includes:
        raise BrokenContractError(f"got into a deck: {complaints[:3]} {includes[:3]}")
