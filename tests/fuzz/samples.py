"""Target: samples.nc and history.nc. Inputs are our files with bytes changed: HDF5 itself reads them, in this process."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import xarray as xr
from contract import holds, put

from circuitlsc import Samples, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.learning.history import load_history
from circuitlsc.planning.run_plan import RunPlan


def seeds() -> list[bytes]:
    """Return small files of each kind."""
    tree = xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs=_attributes()),
            "/posterior": xr.Dataset(
                {name: (("chain", "draw", "latent"), np.ones((2, 3, 2))) for name in "us"},
                coords={"chain": [0, 1], "draw": np.arange(3), "latent": [0, 1], "time": ("draw", [1.0, 2.0, 3.0])},
            ),
            "/observed_data": xr.Dataset({"x": ("feature", [1.0])}),
            "/constant_data": xr.Dataset(
                {"A": (("feature", "latent"), np.ones((1, 2))), **{n: ((), 0.5) for n in ("sigma", "pi", "lam", "u0")}}
            ),
            "/sample_stats": xr.Dataset({"steps": ("chain", [5, 5])}, coords={"chain": [0, 1]}),
        }
    )
    path = Path("seed.nc")
    tree.to_netcdf(path, engine="h5netcdf")
    made = [path.read_bytes()]
    history = xr.Dataset({name: ("time", [1.0, 2.0]) for name in ("norm", "sigma", "error", "A")})
    history.to_netcdf(path, engine="h5netcdf")
    made.append(path.read_bytes())
    path.unlink()
    return made


def _attributes() -> dict[str, object]:
    model = SparseCodingModel(bars(1), SpikeSlab(0.5, 0.5), 0.5)
    sampler = build_sampler(model, np.ones(1))
    plan = RunPlan(t_stop=30.0)
    return {
        **{"creator": "circuitlsc", "prior": "spike-slab", "signed": 0, "step": sampler.plan.step, "nonideal": "{}"},
        **{
            "engine_deck_sha256": sampler.engine_deck_hash,
            "t_stop": plan.t_stop,
            "warmup": plan.warmup,
            "thin": 3,
            "seed": 1,
        },
    }


def prepare(folder: Path) -> None:
    """Need nothing."""


def mutate(data: bytes, rng: random.Random) -> bytes | None:
    """Change bytes and whole numbers, and keep the signature: without it nothing is read."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        place = rng.randrange(8, max(9, len(changed)))
        if place >= len(changed):
            return None
        kind = rng.random()
        if kind < 0.4:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            changed[place] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        else:
            changed[place : place + 8] = rng.choice([b"\xff" * 8, bytes(8), (2**40).to_bytes(8, "little")])
    return bytes(changed)


def check(data: bytes, folder: Path) -> None:
    """Read the input as samples, and as a history."""
    path = put(folder / "a.nc", data)
    samples = holds(lambda: Samples.load(path))
    if samples is not None:
        holds(lambda: (samples.model(), samples.run_plan(), samples.u, samples.time, samples.x))
    holds(lambda: load_history(path))
