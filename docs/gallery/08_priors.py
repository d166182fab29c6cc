"""Any prior, and the circuit's histogram.

One latent without a likelihood to speak of (sigma = 50): what is sampled is the prior. Grey: its density from the
energy; blue: the circuit.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import Cauchy, CustomPrior, Gaussian, Laplace, SparseCodingModel, build_sampler

own = CustomPrior(lambda s: 4 * (s**2 - 1) ** 2 / (1 + s**2), reach=20.0, name="two wells")
fig, axes = plt.subplots(1, 4, figsize=(9, 2.2), layout="constrained")
for ax, prior in zip(axes, (Gaussian(sd=1.0), Laplace(lam=1.0), Cauchy(lam=2.0), own), strict=True):
    model = SparseCodingModel(np.ones((1, 1)), prior, sigma=50.0)
    samples = build_sampler(model, np.zeros(1)).run(t_stop=4000, chains=2, seed=1)
    u = np.linspace(-5, 5, 1001)
    density = np.exp(-model.energy(u[:, None], np.zeros(1)))
    ax.hist(samples.s.ravel(), bins=80, range=(-5, 5), density=True, color="C0", alpha=0.6)
    ax.plot(u, density / (density.sum() * (u[1] - u[0])), color="0.3", lw=1)
    ax.set(title=getattr(prior, "name", "") or prior.kind, xlabel="s", yticks=[])
fig.savefig("08_priors.png", dpi=100)
