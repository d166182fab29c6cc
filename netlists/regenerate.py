"""Write the stand-alone decks of this folder again: ``python netlists/regenerate.py``.

A test holds the files to this text, and another runs them in plain ngspice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from circuitlsc import Gaussian, Laplace, Sampler, SparseCodingModel, SpikeSlab, bars, build_sampler

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
}


def sampler(name: str) -> Sampler:
    """Return the sampler of a deck; its input is drawn from the model."""
    side, prior, form = DECKS[name]
    model = SparseCodingModel(bars(side), prior, SIGMA)
    _, x = model.draw(np.random.default_rng(MODEL_SEED))
    return build_sampler(model, x, form=form)


def text(name: str, *, seed: int = 0, t_stop: float = T_STOP) -> str:
    """Return a deck."""
    return sampler(name).deck(t_stop=t_stop, warmup=WARMUP, seed=seed)


if __name__ == "__main__":
    for name in DECKS:
        (FOLDER / f"{name}.cir").write_text(text(name), encoding="ascii")
        print(f"netlists/{name}.cir")
