"""Target: the check of foreign decks. It must end, and must find a hostile line that is put into any deck."""

from __future__ import annotations

import random
from pathlib import Path

from contract import BrokenContractError, holds, put

from circuitlsc.simulator.ngspice.deck_check import check_deck
from circuitlsc.simulator.ngspice.deck_lines import check_lines

ROOT = Path(__file__).parents[2]
WORDS = (
    *(
        b".control",
        b"*#",
        b"*ng_script",
        b".include part.inc",
        b".lib part.inc tt",
        b".include ../x",
        b".model m nmos",
        b"\r",
        b"\0",
    ),
    *(
        b"\n+",
        b"\n",
        b".title *",
        b'"',
        b"`",
        b"file=",
        b".option ",
        b".if",
        b"\xa0",
        b"\xef\xbb\xbf",
        b".incx",
        b"R1 1 0 1k\n",
    ),
)


def seeds() -> list[bytes]:
    """Return small decks."""
    ours = (ROOT / "netlists" / "bars4x4-gradient.cir").read_bytes()[:1000]
    return [
        ours,
        b"* t\nV1 1 0 1\nR1 1 0 1k\n.op\n.end\n",
        b"* t\n.include part.inc\n.control\n.endc\n",
        b".title x\n.lib part.inc\n",
    ]


def prepare(folder: Path) -> None:
    """Put the file that decks include into the folder."""
    (folder / "part.inc").write_text("R2 1 0 1k\n.model m nmos level=1\n")


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Put a word of the language somewhere."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(WORDS) + data[place:]


def check(data: bytes, folder: Path) -> None:
    """Check the input as a deck, and with a hostile line after it."""
    path = put(folder / "deck.cir", data)
    findings = holds(lambda: check_deck(path))
    if findings is None or not all(str(finding).isprintable() for finding in findings):
        raise BrokenContractError("a deck was not judged, or a finding cannot be printed")
    for line in (b"*#quit", b".control", b" .CONTROL"):
        complaints, _ = check_lines(data + b"\n" + line, titled=True)
        if data.count(b"\n") + 2 not in {c.number for c in complaints} and len(complaints) < 1000:
            raise BrokenContractError(f"{line!r} was not found")
