"""Target: the reader of config files, of a circuit and of learning. Inputs are TOML, mutated as text and as tables."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from contract import holds, put

from circuitlsc.config.learning import LearnConfig, load_learn_config
from circuitlsc.config.read import load_config

ROOT = Path(__file__).parents[2]
VALUES = (
    *(0, 1, -1, 2, 2**63, 2**200, 1e308, 1e-308, 5e-324, 0.5, float("nan"), float("inf"), True, False, "", "auto"),
    *(
        "draw",
        "draw:2",
        "draw:0",
        "bars:1",
        "bars:2",
        "bars:2:01",
        "bars:64:01",
        "A.npy",
        "x.csv",
        "cost.csv",
        "..",
        "a\0b",
    ),
    *(
        "../x.csv",
        "/etc/passwd",
        "random",
        "true",
        "spike-slab",
        "laplace",
        "gaussian",
        "table",
        "langevin",
        "lca",
        "device",
        "variational",
        "gamma",
        "encoder.npz",
    ),
    *([], [[]], [1, "A"], {}, {"offset": 1e-3}, ["A"], ["pi", "sigma"], [{"inputs": 2}], "\x1b[31m", "é", "x" * 300),
)


def seeds() -> list[bytes]:
    """Return configs that load, and files of each kind that they name."""
    whole = (ROOT / "docs" / "start.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    small = '[model]\ndictionary = "bars:1"\nsigma = 0.5\n[prior]\nkind = "laplace"\nlam = 1.0\n'
    device = (
        small + '[circuit]\nlevel = "device"\n[nonideal]\npreset = "rram"\nop_amp.gain = 1e3\n[run]\nt_stop = 100\n'
    )
    learn = small + '[learning]\nlearn = ["A"]\ninputs = 10\n'
    table = (
        small.replace('kind = "laplace"\nlam = 1.0', 'kind = "table"\nfile = "cost.csv"')
        + '[dynamics]\nkind = "gradient"\n'
    )
    train = small.replace('kind = "laplace"', 'kind = "spike-slab"\npi = 0.5') + (
        '[learning]\nmethod = "variational"\nlearn = ["A"]\ninputs = 10\n'
        '[encoder]\nhidden = [3]\nobjective = "exact"\nthreshold = "fixed"\nlam = 1.0\nrate = 0.01\nheld_out = 10\n'
    )
    return [text.encode() for text in (whole, small, device, learn, table, train)]


def prepare(folder: Path) -> None:
    """Put the files that the seeds name into the folder."""
    np.save(folder / "A.npy", np.ones((2, 2)) + np.eye(2))
    np.savetxt(folder / "x.csv", [1.0, 2.0], delimiter=",")
    s = np.linspace(-3, 3, 9)
    np.savetxt(folder / "cost.csv", np.column_stack([s, s**2]), delimiter=",")


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Change a value, or a key, of a valid file; None if it is none."""
    try:
        tables: dict[str, Any] = tomllib.loads(data.decode())
        name = rng.choice(list(tables))
        table = tables[name]
        if isinstance(table, dict) and table:
            key = rng.choice(list(table))
            value = rng.choice(VALUES)
            if rng.random() < 0.2:
                tables[rng.choice(["model", "prior", "run", "data", "learning", "encoder", "circuit", "dynamics"])][
                    key
                ] = value
            elif rng.random() < 0.1:
                del table[key]
            else:
                table[key] = value
        else:
            tables[name] = rng.choice(VALUES)
        return tomli_w.dumps(tables).encode()
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError):
        return None


def check(data: bytes, folder: Path) -> None:
    """Read the input as a config of a circuit, and of learning."""
    if any(word in data for word in (b"bars:6", b"bars:5", b"draw:", b"natural:")) and b"000" in data:
        return  # honest requests for a lot of work
    path = put(folder / "config.toml", data)
    holds(lambda: load_config(path))
    holds(lambda: trained(load_learn_config(path, "software")))


def trained(config: LearnConfig) -> object:
    """Return what trains an encoder, or the config."""
    return config if config.training is None else config.variational()
