"""Thermal noise is exact at every step.

With a Gaussian prior the circuit is linear, and its covariance is known: (A^T A/sigma^2 + 1)^-1. The noise voltage in
series with each capacitor is a Brownian path, which the trapezoid integrates exactly: the 36 covariances are right at
steps that differ by a factor of eight.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import Gaussian, SparseCodingModel, bars, build_sampler

A = bars(4)
model = SparseCodingModel(A, Gaussian(sd=1.0), sigma=0.5)
exact = np.linalg.inv(A.T @ A / 0.5**2 + np.eye(8))[np.triu_indices(8)]

fig, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
ax.axline((0, 0), slope=1, color="0.7", lw=1)
for step, mark in ((0.0125, "o"), (0.05, "s"), (0.1, "^")):
    samples = build_sampler(model, np.zeros(16), step=step).run(t_stop=2000, chains=2, seed=1)
    found = np.cov(samples.u.reshape(-1, 8).T)[np.triu_indices(8)]
    ax.plot(
        exact,
        found,
        mark,
        ms=5,
        mfc="none",
        label=f"step {step} tau, rms error {np.sqrt(np.mean((found - exact) ** 2)):.4f}",
    )
ax.set(xlabel="covariance of u, exact", ylabel="circuit, 2 x 2000 tau")
ax.legend(loc="upper left", fontsize=8)
fig.savefig("03_noise.png", dpi=100)
