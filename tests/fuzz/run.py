"""Run a fuzz target: ``python tests/fuzz/run.py config --seconds 600``. Coverage guides it; what breaks the contract stops it.

The input that broke it is kept as ``crash-...`` in the folder of the run. Give it again with ``--input FILE``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

TARGETS = ("config", "dictionary", "samples", "deck", "names", "journal")


def main() -> None:
    """Fuzz one target for so many seconds, or give it one input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="give the target this file, once")
    given = parser.parse_args()
    single = None if given.input is None else given.input.read_bytes()
    with atheris.instrument_imports(include=["circuitlsc", "tomllib", "zipfile"]):
        target = importlib.import_module(given.target)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{given.target}-"))
    os.chdir(folder)  # what a target should not write would be found here
    print(f"inputs that break the contract go to {folder}", flush=True)
    scratch, corpus = folder / "scratch", folder / "corpus"
    scratch.mkdir()
    corpus.mkdir()
    target.prepare(scratch)
    if single is not None:
        target.check(single, scratch)
        return
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = target.mutate(data, rng) if rng.random() < 0.5 else None
        return (changed if changed is not None else atheris.Mutate(data, most))[:most]

    options = [f"-max_total_time={given.seconds}", f"-seed={given.seed}", "-timeout=60", "-rss_limit_mb=3000"]
    options += ["-max_len=20000", "-print_final_stats=1", f"-artifact_prefix={folder}/"]
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)], lambda data: target.check(data, scratch), custom_mutator=mutated
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
