"""Two neurons that explain the same thing.

Two atoms with a cosine of 0.9: what one explains the other one leaves. Dots are the circuit's samples of u, lines the
energy that they descend (every 2 units); where abs(u) is below u0 = 1.2 a latent is off, and of either sign of u the
code is the same.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler

A = np.array([[1.0, 0.9], [0.0, np.sqrt(1 - 0.9**2)]])
model = SparseCodingModel(A, SpikeSlab(pi=0.3, lam=1.0), sigma=0.4)
x = A @ [1.0, 1.0]
samples = build_sampler(model, x).run(t_stop=1000, chains=2, seed=1)

axis = np.linspace(-5, 5, 201)
u = np.stack(np.meshgrid(axis, axis), axis=-1)
fig, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.plot(*samples.u.reshape(-1, 2).T, ".", ms=1, alpha=0.3)
ax.contour(axis, axis, model.energy(u, x), levels=np.arange(0, 20, 2), colors="0.4", linewidths=0.7)
ax.set(xlabel="$u_0$", ylabel="$u_1$", aspect="equal")
fig.savefig("02_modes.png", dpi=100)
