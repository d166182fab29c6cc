"""Write the stand-alone decks of this folder again: ``python netlists/regenerate.py``.

A test holds the files to this text, and another runs them in plain ngspice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from circuitlsc import (
    Cauchy,
    Dynamics,
    Gaussian,
    Laplace,
    Nonidealities,
    Sampler,
    SparseCodingModel,
    SpikeSlab,
    bars,
    build_sampler,
)
from circuitlsc.io import output
from circuitlsc.learning import CircuitLearner, Stage
from circuitlsc.learning.stage import TIME_CONSTANTS
from circuitlsc.model.encoder import Encoder

FOLDER = Path(__file__).resolve().parent
SIGMA, MODEL_SEED = 0.5, 5  # two bars of both images are on
T_STOP, WARMUP = 200.0, 20.0  # tau

#: file name: (side of the image, prior, form)
DECKS = {
    "bars2x2-gram": (2, SpikeSlab(0.3, 1.0), "gram"),
    "bars4x4-gram": (4, SpikeSlab(0.3, 1.0), "gram"),
    "bars4x4-residual": (4, SpikeSlab(0.3, 1.0), "residual"),
    "bars4x4-signed": (4, SpikeSlab(0.3, 1.0, signed=True), "gram"),
    "bars4x4-laplace": (4, Laplace(1.0), "gram"),
    "bars4x4-gaussian": (4, Gaussian(1.0), "gram"),
    "bars4x4-cauchy": (4, Cauchy(1.0), "gram"),
    "bars4x4-gradient": (4, Laplace(1.0, signed=False), "gram"),
    "bars4x4-lca": (4, Laplace(1.0, signed=False), "gram"),
    "bars4x4-lca-residual": (4, Laplace(1.0), "residual"),
    "bars4x4-underdamped": (4, SpikeSlab(0.3, 1.0), "gram"),
    "bars4x4-stream": (4, SpikeSlab(0.3, 1.0), "residual"),
    "bars2x2-gradient-device": (2, Laplace(1.0), "gram"),
    "bars2x2-lca-device": (2, Laplace(1.0, signed=False), "gram"),
    "bars2x2-underdamped-device": (2, SpikeSlab(0.3, 1.0), "gram"),
    "bars2x2-device": (2, SpikeSlab(0.3, 1.0), "residual"),
    "bars2x2-imperfect": (2, SpikeSlab(0.3, 1.0), "residual"),
    "bars2x2-memory": (2, SpikeSlab(0.3, 1.0), "gram"),
    "bars2x2-memory-device": (2, SpikeSlab(0.3, 1.0), "gram"),
    "bars2x2-variational": (2, SpikeSlab(0.3, 1.0, signed=True), "gram"),
    "bars2x2-variational-device": (2, SpikeSlab(0.3, 1.0), "gram"),
}
#: what those that are no Langevin samplers do
DYNAMICS = {
    "bars4x4-gradient": Dynamics(kind="gradient"),
    "bars4x4-lca": Dynamics(kind="lca"),
    "bars4x4-lca-residual": Dynamics(kind="lca", threshold="hard"),
    "bars4x4-underdamped": Dynamics(kind="underdamped"),
    "bars2x2-gradient-device": Dynamics(kind="gradient"),
    "bars2x2-lca-device": Dynamics(kind="lca"),
    "bars2x2-underdamped-device": Dynamics(kind="underdamped"),
    "bars2x2-memory": Dynamics(kind="amortised"),
    "bars2x2-memory-device": Dynamics(kind="amortised", features="relu:6", dual_from="measured"),
    "bars2x2-variational": Dynamics(kind="variational"),
    "bars2x2-variational-device": Dynamics(kind="variational"),
}
#: where the Laplace draws of those that have an encoder come from
SOURCES = {"bars2x2-variational": "product", "bars2x2-variational-device": "table"}
#: tau that each input is on, and how many there are
STREAMED = {"bars4x4-stream": (50.0, 4), "bars2x2-memory": (2.0, 3), "bars2x2-memory-device": (2.0, 3)}
#: the device-level ones: ideal parts, and one of everything that can be wrong
PARTS = {
    "bars2x2-gradient-device": Nonidealities(),
    "bars2x2-lca-device": Nonidealities(),
    "bars2x2-underdamped-device": Nonidealities(),
    "bars2x2-variational-device": Nonidealities(),
    "bars2x2-memory-device": Nonidealities(
        op_amp={"offset": 2e-4},
        plastic={"leak_resistance": 1e11, "capacitance_mismatch": 0.01, "gain_error": 0.01, "offset": 5e-4},
        noise={"capacitance": 4e-14, "temperature_mismatch": 0.02},
        seed=1,
    ),
    "bars2x2-device": Nonidealities(),
    "bars2x2-imperfect": Nonidealities(
        crossbar={"levels": 32, "programming_error": 0.05, "wire_resistance": 1.0, "driver_resistance": 50.0},
        op_amp={"gain": 1e4, "gbw": 1e9, "offset": 5e-4, "rail": 2.4, "slew_rate": 1e9, "output_resistance": 50.0},
        integrator={"output_resistance": 1e9, "offset_current": 1e-10, "rail": 2.4, "capacitance_mismatch": 0.01},
        comparator={"threshold_offset": 1e-3, "gate_offset": 1e-3, "hysteresis": 2e-3, "delay": 1e-9},
        multiplier={"gain_error": 0.01, "offset": 1e-3},
        prior={"lam_error": 0.01, "lam_mismatch": 0.01},
        noise={
            "capacitance": 1e-15,
            "temperature_mismatch": 0.02,
            "offset": 1e-4,
            "flicker_corner": 1e3,
            "ac_corner": 1e3,
            "supply_correlation": 0.05,
        },
        corner={"temperature": 310.0, "resistance": 1.05, "capacitance": 0.95, "supply": 0.95},
        seed=1,
    ),
}
#: circuits that learn: what, signed codes or not, parts (None: ideal level)
LEARNERS = {
    "bars2x2-learning": (("A", "pi"), False, None),
    "bars2x2-learning-prior": (("pi", "lam", "sigma"), True, None),
    "bars2x2-learning-device": (
        ("A",),
        False,
        Nonidealities(
            plastic={"leak_resistance": 1e12, "capacitance_mismatch": 0.05, "gain_error": 0.02, "offset": 5e-4}, seed=1
        ),
    ),
}
#: circuits in transistors, which need the models of the process: dictionary and engine
TRANSISTORS = {
    "neuron-transistors": (np.array([[1.0], [0.5]]), "full"),
    "bars2x2-transistors": (bars(2), "tables"),
}
TRANSISTORS_STOP = 30.0  # tau: every step of transistors takes milliseconds
INPUTS, HOLD = 20, 10.0
TIMES = {"A": 300.0, "pi": 400.0, "lam": 1000.0, "sigma": 500.0}  # tau


def learner(name: str, *, seed: int = 0) -> CircuitLearner:
    """Return the circuit of a deck that learns, from the truth with atoms 0.8 long, on inputs drawn from it."""
    learn, signed, parts = LEARNERS[name]
    truth = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0, signed=signed), SIGMA)
    times = {TIME_CONSTANTS[what]: TIMES[what] for what in learn}
    return CircuitLearner(
        A0=0.8 * truth.A if "A" in learn else truth.A,
        pi=0.4,
        lam=1.0,
        sigma=SIGMA,
        source=truth,
        stage=Stage.of_inputs(INPUTS, hold=HOLD, step=0.05, **times),
        seed=seed,
        learn=learn,
        signed=signed,
        level="ideal" if parts is None else "device",
        nonideal=parts,
    )


def encoder(model: SparseCodingModel) -> Encoder:
    """Return an encoder with one hidden layer, drawn at random: the decks hold a circuit, and no training."""
    rng, sizes = np.random.default_rng(MODEL_SEED), (model.n_features, 6, 3 * model.n_latents)
    weights = tuple(0.5 * rng.standard_normal(shape) for shape in ((sizes[1], sizes[0]), (sizes[2], sizes[1])))
    biases = tuple(0.2 * rng.standard_normal(len(w)) for w in weights)
    return Encoder(weights=weights, biases=biases, rectified=not model.prior.signed)


def sampler(name: str) -> Sampler:
    """Return the circuit of a deck; its input is drawn from the model."""
    side, prior, form = DECKS[name]
    model = SparseCodingModel(bars(side), prior, SIGMA)
    rng = np.random.default_rng(MODEL_SEED)
    hold, inputs = STREAMED.get(name, (None, 1))
    rows = np.stack([model.draw(rng)[1] for _ in range(inputs)])
    x = rows[0] if hold is None else rows
    parts = PARTS.get(name)
    level = "ideal" if parts is None else "device"
    dynamics = DYNAMICS.get(name, Dynamics())
    given = {"encoder": encoder(model), "source": SOURCES[name]} if name in SOURCES else {}
    return build_sampler(model, x, dynamics=dynamics, hold=hold, form=form, level=level, nonideal=parts, **given)


def transistors(name: str) -> Sampler:
    """Return the circuit of a deck in transistors."""
    A, engine = TRANSISTORS[name]
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.0), SIGMA)
    x = model.draw(np.random.default_rng(MODEL_SEED))[1]
    return build_sampler(model, x, level="transistor", transistor={"engine": engine})


def text(name: str, *, seed: int = 0, t_stop: float = T_STOP) -> str:
    """Return a deck."""
    if name in LEARNERS:
        return learner(name, seed=seed).deck()
    if name in TRANSISTORS:
        return transistors(name).deck(t_stop=min(t_stop, TRANSISTORS_STOP), warmup=WARMUP, seed=seed)
    return sampler(name).deck(t_stop=t_stop, warmup=WARMUP, seed=seed)


if __name__ == "__main__":
    for name in (*DECKS, *LEARNERS, *TRANSISTORS):
        output.DECKS.write(FOLDER / f"{name}.cir", text(name))
        print(f"netlists/{name}.cir")
