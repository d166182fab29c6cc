"""How long a step may be.

One latent, exact by quadrature: P(active) of a long run at six steps. Up to the step of the rule there is nothing to
see; beyond it the trapezoid may have more than one solution, and P(active) drifts.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import SparseCodingModel, SpikeSlab, build_sampler

model = SparseCodingModel(np.ones((1, 1)), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
x, u = np.array([1.5]), np.linspace(-12, 12, 48001)
rule = build_sampler(model, x).plan
weight = np.exp(-model.energy(u[:, None], x, rule.width))
exact = weight[np.abs(u) > model.prior.threshold].sum() / weight.sum()

fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
steps = rule.step * np.array([0.25, 0.5, 1, 2, 4, 8])
for step in steps:
    sampler = build_sampler(model, x, step=step)
    on = sampler.active(sampler.run(t_stop=8000, chains=2, seed=1).u).reshape(-1)
    error = on[: len(on) // 40 * 40].reshape(40, -1).mean(1).std() / np.sqrt(40)
    ax.errorbar(step, on.mean() - exact, 2 * error, fmt="oC0")
ax.axhline(0, color="0.6", lw=1)
ax.axvline(rule.step, color="C1", lw=1, label=f"step of the rule, {rule.step:.3g} tau")
ax.set(
    xscale="log",
    xticks=steps,
    xticklabels=[f"{step:.3g}" for step in steps],
    xlabel="step (tau)",
    ylabel="P(active): circuit - exact",
)
ax.minorticks_off()
ax.legend(fontsize=8)
fig.savefig("05_step.png", dpi=100)
