"""Target: a chain's files (`simulator.journal`): what is read is whole chunks that fit their rows, whatever is there."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from contract import BrokenContractError

from circuitlsc.simulator.journal import JOURNAL, SAMPLES, JournalWriter, Record, checksum, read_journal, row_bytes

WIDTH = 2
SPLIT = b"\n--rows--\n"  # an input is a journal, this, and the samples


def seeds() -> list[bytes]:
    """Return a chain of three chunks, whole and cut."""
    folder = Path("seed")
    folder.mkdir(exist_ok=True)
    with JournalWriter(folder, WIDTH) as journal:
        for k in range(3):
            rows = np.full((2, WIDTH), float(k))
            state: dict[str, Any] = {"u": (0.5, -0.1), "held": (), "feedback": ((1e-3,),)}
            costs: dict[str, Any] = {"points": 2, "rejected": 0, "iterations": 5, "setup": 0.1, "wall": 0.1, "cpu": 0.1}
            marks: dict[str, Any] = {"rss": 1, "ngspice": "39", "done": k == 2, "checksum": checksum(row_bytes(rows))}
            journal.append(rows, Record(steps=2 * k + 2, rows=2 * k + 2, **state, **costs, **marks))
    lines, rows_there = (folder / JOURNAL).read_bytes(), (folder / SAMPLES).read_bytes()
    return [lines + SPLIT + rows_there, lines + SPLIT, lines[:100] + SPLIT + rows_there, SPLIT]


def prepare(folder: Path) -> None:
    """Need nothing."""


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Change one number or word of a record, and give the line the checksum that fits: a forger can."""
    journal, mark, rows = data.partition(SPLIT)
    lines = journal.split(b"\n")
    where = rng.randrange(len(lines))
    text = lines[where].rpartition(b" ")[0]
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record:
        return None
    key = rng.choice(sorted(record))
    values = [None, -1, 0, 1, 2**62, 10**30, 0.5, 1e308, "x", "", [], [1], [["x"]], {}, True, [0.1] * 3]
    if rng.random() < 0.1:
        del record[key]
    else:
        record[key] = rng.choice(values)
    text = json.dumps(record).encode()
    lines[where] = text + b" " + hashlib.blake2b(text, digest_size=16).hexdigest().encode()
    return b"\n".join(lines) + mark + rows


def check(data: bytes, folder: Path) -> None:
    """Read the input as a chain, and go on after what is good."""
    journal, _, rows = data.partition(SPLIT)
    (folder / JOURNAL).write_bytes(journal)
    (folder / SAMPLES).write_bytes(rows)
    records = read_journal(folder, WIDTH)
    before = 0
    for record in records:
        if not before <= record.rows or 8 * WIDTH * record.rows > len(rows) or not isinstance(record.done, bool):
            raise BrokenContractError(f"a record that does not fit its rows: {record}")
        before = record.rows
        np.array([*record.u, *record.held], dtype=float)
    with JournalWriter(folder, WIDTH) as writer:
        if writer.last != (records[-1] if records else None):
            raise BrokenContractError("the writer and the reader disagree about the last good chunk")
    if read_journal(folder, WIDTH) != records:
        raise BrokenContractError("what was good is not good any more")
