"""A crossbar, coloured by its conductances.

The dictionary as resistors of 16 levels with a programming error of 10 %; those of negative entries are a crossbar of
their own.
"""

import numpy as np

from circuitlsc import Nonidealities, SparseCodingModel, SpikeSlab, build_sampler
from circuitlsc.drawing.crossbar import crossbar_figure

A = np.random.default_rng(0).standard_normal((12, 6)) / np.sqrt(12)
model = SparseCodingModel(A, SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
parts = Nonidealities(crossbar={"levels": 16, "programming_error": 0.1}, seed=1)
sampler = build_sampler(model, model.draw(1)[1], form="residual", level="device", nonideal=parts)
crossbar_figure(sampler).savefig("10_crossbar.png", dpi=90)
