"""A neuron in transistors.

The code of one neuron of GF180MCU and the gate that its force has, both from slow sweeps in ngspice: the gate is the
slope of the code, which is what makes the force the gradient of an energy (needs the extra `transistor`).
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler

model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
neuron = build_sampler(model, np.array([1.0]), level="transistor").silicon.tables.neurons[0]
u, e, force = neuron.drift.knots, neuron.drift.others, neuron.drift.values

fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
left.plot(u, neuron.code(u))
left.set(xlabel="u (model units)", ylabel="s", xlim=(-4, 4), ylim=(-0.1, 3))
right.plot(u, (force[1] - force[3]) / (e[3] - e[1]), label="gate, from the force")
right.plot(u, np.gradient(neuron.code(u), u), "--", label="ds/du, from the code")
right.set(xlabel="u (model units)", xlim=(-4, 4))
right.legend(frameon=False, loc="lower right")
fig.savefig("17_transistors.png", dpi=100)
