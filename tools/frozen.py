"""Hold what a change of structure must leave alone: decks, tasks, and the samples of short runs.

usage: frozen.py             run the circuits here and in a checkout of the frozen commit, and compare bit for bit
       frozen.py --write     write tests/frozen.npz, to which ./test.sh holds this tree (1e-9 units over the first steps)

Every kind of dynamics, level, loop and stream is among the circuits, and what learns. They use public names alone, so that
both trees know them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import circuitlsc
from circuitlsc import (
    Cauchy,
    CircuitLearner,
    Laplace,
    Nonidealities,
    RunPlan,
    SparseCodingModel,
    SpikeSlab,
    SquareRoot,
    Stage,
    bars,
    build_sampler,
)

COMMIT = "c03a7e3bc5fce89bb22d9083210cfcce9dfc8bb8"
ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests" / "frozen.npz"
FIRST = 50  # steps whose samples are stored
STEPS, CHAINS, SEED = 400, 2, 11
NUMBER = re.compile(r"(?<![\w.])[-+]?\d*\.?\d+(?:e[-+]?\d+)?(?![\w.])")
WRONG = Nonidealities(
    crossbar={"levels": 32, "programming_error": 0.05, "wire_resistance": 1.0},
    op_amp={"gain": 1e4, "gbw": 1e9, "offset": 5e-4},
    comparator={"threshold_offset": 1e-3, "gate_offset": 1e-3},
    noise={"temperature_mismatch": 0.02, "offset": 1e-4},
    seed=3,
)
SLAB, SIGNED = SpikeSlab(0.3, 1.0), SpikeSlab(0.3, 1.0, signed=True)
#: prior, inputs, and arguments of build_sampler
CIRCUITS: Mapping[str, tuple[Any, int, Mapping[str, Any]]] = {
    "langevin": (SLAB, 1, {}),
    "langevin residual, signed": (SIGNED, 1, {"form": "residual"}),
    "langevin device": (SLAB, 1, {"level": "device", "nonideal": WRONG, "form": "residual"}),
    "langevin broken": (SLAB, 1, {"loop": "broken"}),
    "langevin broken, signed": (SIGNED, 1, {"loop": "broken", "form": "residual"}),
    "langevin stream": (SLAB, 4, {"hold": 5.0}),
    "langevin stream, lines, device": (SLAB, 4, {"hold": 5.0, "interpolate": "linear", "level": "device"}),
    "langevin cauchy, halved": (Cauchy(1.5), 1, {"halvings": 1}),
    "langevin square root": (SquareRoot(1.5), 1, {}),
    "underdamped": (SLAB, 1, {"dynamics": "underdamped"}),
    "underdamped device": (SLAB, 1, {"dynamics": "underdamped", "level": "device", "nonideal": WRONG}),
    "gradient": (Laplace(1.0), 1, {"dynamics": "gradient"}),
    "gradient device": (Laplace(1.0, signed=False), 1, {"dynamics": "gradient", "level": "device"}),
    "lca": (Laplace(1.0, signed=False), 1, {"dynamics": "lca"}),
    "lca device, stream": (Laplace(1.0), 3, {"dynamics": "lca", "level": "device", "hold": 5.0, "form": "residual"}),
}
#: what is learned, signed codes or not, level
LEARNERS: Mapping[str, tuple[tuple[str, ...], bool, str]] = {
    "learn A, pi": (("A", "pi"), False, "ideal"),
    "learn pi, lam, sigma": (("pi", "lam", "sigma"), True, "ideal"),
    "learn A, device": (("A",), False, "device"),
}
INPUTS, HOLD = 6, 5.0


def sampler(name: str) -> Any:
    """Return a circuit; its inputs are drawn from the model."""
    prior, inputs, arguments = CIRCUITS[name]
    model = SparseCodingModel(bars(2), prior, 0.5)
    rng = np.random.default_rng(5)
    drawn = [model.draw(rng)[1] for _ in range(inputs)]
    return build_sampler(model, drawn[0] if inputs == 1 else np.array(drawn), **arguments)


def learner(name: str) -> Any:
    """Return a circuit that learns."""
    learn, signed, level = LEARNERS[name]
    truth = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=signed), 0.5)
    times = {"A": ("tau_A", 300.0), "pi": ("tau_u0", 400.0), "lam": ("tau_lam", 900.0), "sigma": ("tau_sigma", 500.0)}
    stage = Stage.of_inputs(INPUTS, hold=HOLD, step=0.05, **dict(times[what] for what in learn))
    A0 = 0.8 * truth.A if "A" in learn else truth.A
    numbers = {"pi": 0.4, "lam": 1.0, "sigma": 0.5, "seed": SEED, "signed": signed, "level": level}
    return CircuitLearner(A0=A0, source=truth, stage=stage, learn=learn, **numbers)


def told(value: Any) -> Any:
    """Return a task as JSON has it."""
    if isinstance(value, Mapping):
        return {key: told(v) for key, v in value.items()}
    if isinstance(value, (np.ndarray, list, tuple)):
        return [told(v) for v in value]
    return value


def rounded(text: str) -> str:
    """Return a text with its numbers to nine digits: the last ones are the processor's."""
    return NUMBER.sub(lambda m: f"{float(m.group()):.9g}", text)


def texts() -> dict[str, str]:
    """Return what the circuits are, as text: stand-alone decks (of seeds beyond a C int, too), and the tasks of chains."""
    found = {}
    for name in CIRCUITS:
        circuit = sampler(name)
        run = RunPlan(t_stop=30.0, warmup=1.0, chains=3, seed=2**33 + 1)
        plan = circuit.run_plan(seed=2) if circuit.stream is not None else run
        found[f"{name}: tasks"] = "\n".join(
            json.dumps(told(asdict(task)), sort_keys=True) for task in circuit.tasks(plan)
        )
        for seed in (0, 7, 2**31 - 1, 2**33 + 1):
            found[f"{name}: deck of seed {seed}"] = circuit.deck(t_stop=30.0, warmup=1.0, seed=seed)
    for name in LEARNERS:
        found[f"{name}: deck"] = learner(name).deck()
        found[f"{name}: tasks"] = json.dumps(
            told(asdict(learner(name).task(0, learner(name).first_u, {}))), sort_keys=True
        )
    return found


def samples(name: str, *, steps: int = STEPS, chains: int = CHAINS, **changes: Any) -> Any:
    """Return u of every step, or what a learner's states are after each input: shape (chain, step, state)."""
    if name in LEARNERS:
        return learner(name).states(INPUTS)[None]
    circuit = sampler(name)
    if circuit.stream is not None:
        plan = circuit.run_plan(chains=chains, seed=SEED, warmup=0.0, thin=1)
    else:
        plan = RunPlan(t_stop=steps * circuit.plan.step, warmup=0.0, chains=chains, seed=SEED, thin=1)
    return np.asarray(circuit.run(plan).u)


def make(path: Path) -> None:
    """Write everything that there is to compare."""
    assert Path(circuitlsc.__file__).is_relative_to(os.environ["PYTHONPATH"]), circuitlsc.__file__
    arrays = {f"samples of {name}": samples(name) for name in (*CIRCUITS, *LEARNERS)}
    np.savez(path, **arrays, **{name: np.array(text) for name, text in texts().items()})


def stored() -> dict[str, Any]:
    """Return what `--write` writes: hashes of rounded texts, and the first samples."""
    arrays = {f"samples of {name}": samples(name)[:, :FIRST] for name in (*CIRCUITS, *LEARNERS)}
    return arrays | {name: np.array(digest(text)) for name, text in texts().items()}


def digest(text: str) -> str:
    """Return the SHA-256 of a text whose numbers are rounded."""
    return hashlib.sha256(rounded(text).encode()).hexdigest()


def in_tree(tree: Path, path: Path) -> Any:
    """Return what a tree makes: this file's circuits with the package of another checkout."""
    env = {**os.environ, "PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, "-P", __file__, "--make", str(path)], env=env, check=True)
    with np.load(path) as made:
        return dict(made)


def compare() -> int:
    """Compare with the frozen commit; return how many things differ."""
    different = 0
    with tempfile.TemporaryDirectory() as root:
        frozen = Path(root) / "frozen"
        subprocess.run(["git", "worktree", "add", "--detach", "-f", str(frozen), COMMIT], cwd=ROOT, check=True)
        try:
            then, now = in_tree(frozen, Path(root) / "then.npz"), in_tree(ROOT, Path(root) / "now.npz")
        finally:
            subprocess.run(["git", "worktree", "remove", "-f", str(frozen)], cwd=ROOT, check=True)
    names: Callable[[Mapping[str, Any]], list[str]] = sorted
    for name in names({**then, **now}):
        same = name in then and name in now and np.array_equal(then[name], now[name])
        different += not same
        if not same:
            print(f"differs from {COMMIT[:10]}: {name}")
    print(f"{len(now)} decks, tasks and runs, {different} differ from {COMMIT[:10]}")
    return different


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make)
    elif options.write:
        np.savez_compressed(STORED, **stored())
    else:
        return int(compare() > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
