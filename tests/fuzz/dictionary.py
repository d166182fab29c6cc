"""Target: arrays in .npy, .npz and .csv files, checkpoints of learning and learned parameters."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
from contract import holds, put

from circuitlsc.learning.checkpoint import load_checkpoint, save_checkpoint
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.natural import van_hateren
from circuitlsc.model.data import load_array, load_dictionary

MOST = 10_000  # numbers: what is larger is refused, as at 2**27 outside of here
SETTINGS = {"seed": 1}


def seeds() -> list[bytes]:
    """Return files of each kind."""
    A = np.arange(6.0).reshape(3, 2) + 1
    learned = Learned(
        A=A,
        A_final=A,
        pi=0.5,
        lam=1.0,
        sigma=0.5,
        pi_final=0.5,
        lam_final=1.0,
        sigma_final=0.5,
        signed=False,
        meta={"a": 1},
    )
    made = [b"1,2\n3,4\n", b"# s, cost\n-1.5,2e-3\n0,0\n"]
    for array in (A, A.astype("<f4"), A.astype(int), A > 2, A[0], np.array(3.0), np.array(["a", "b"]), A.T.copy().T):
        np.save(buffer := io.BytesIO(), array, allow_pickle=False)
        made.append(buffer.getvalue())
    for save in (np.savez, np.savez_compressed):
        save(buffer := io.BytesIO(), A=A)
        made.append(buffer.getvalue())
    path = Path("seed.npz")
    learned.save(path)
    made.append(path.read_bytes())
    save_checkpoint(path, SETTINGS, {"A": A})
    made.append(path.read_bytes())
    path.unlink()
    return made


def prepare(folder: Path) -> None:
    """Need nothing."""


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Replace a number of a .npy header, wherever one is, by one of another size or kind."""
    for word in (b"(3, 2)", b"'<f8'", b"False", b"(2,)", b"fortran_order"):
        if word in data and rng.random() < 0.5:
            new = rng.choice(
                [
                    b"(3,-2)",
                    b"(9**9)",
                    b"(1000000000000000,)",
                    b"(3, 2, 0)",
                    b"'|O8'",
                    b"'<U9'",
                    b"'<c16'",
                    b"True",
                    b"()",
                    b"[3,2]",
                ]
            )
            return data.replace(word, new.ljust(len(word)) if rng.random() < 0.7 else new, 1)
    return None


def check(data: bytes, folder: Path) -> None:
    """Read the input as each kind of file."""
    kind = "npy" if data.startswith(b"\x93NUMPY") else "npz" if data.startswith(b"PK") else "csv"
    path = put(folder / f"a.{kind}", data)
    holds(lambda: load_array(path, "model.x", most=MOST))
    holds(lambda: load_dictionary(path.name, folder))
    holds(lambda: van_hateren(path))
    if kind == "npz":
        holds(lambda: Learned.load(path))
        holds(lambda: load_checkpoint(path, SETTINGS))
