"""Comparators of finite gain, and what they do to a posterior.

Left: the code of a state for comparators of three input widths w, in the two forms that stay the gradient of an
energy. Right: how far P(active) of one latent (x = 1, sigma = 0.5) is moved by that alone, by quadrature, without any
circuit.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import SparseCodingModel, SpikeSlab
from circuitlsc.model.smoothing import HYPERBOLIC, LOGISTIC

model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
u, x = np.linspace(-12, 12, 48001), np.array([1.0])


def p_active(width, smoothing):
    """Sum exp(-E) over where the latent is on."""
    weight = np.exp(-model.energy(u[:, None], x, width, smoothing))
    return weight[np.abs(u) > model.prior.threshold].sum() / weight.sum()


fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
widths = np.geomspace(0.005, 0.2, 25)
for smoothing, style in ((LOGISTIC, "-"), (HYPERBOLIC, "--")):
    for n, width in enumerate((0.02, 0.1, 0.3)):
        near = np.abs(u) < 3
        left.plot(
            u[near],
            model.prior.latent(u[near], width, smoothing),
            f"C{n}{style}",
            label=f"{smoothing.name}, w = {width}",
        )
    right.loglog(
        widths,
        [abs(p_active(w, smoothing) - p_active(0, smoothing)) for w in widths],
        f"k{style}",
        label=smoothing.name,
    )
right.axvline(0.05, color="C1", lw=1, label="w of the rule (logistic)")
left.set(xlabel="u", ylabel="s(u)", xlim=(0, 3), ylim=(-0.05, 2))
right.set(xlabel="width w", ylabel="bias of P(active)")
left.legend(fontsize=7)
right.legend(fontsize=8)
fig.savefig("04_width.png", dpi=100)
