"""What a verdict rests on.

The same circuit at four lengths. Dots: circuit minus exact of all P(active); bars: twice the standard error of
correct runs of that length. A run agrees when all of it is within the tolerance, and says which length would do if it
cannot tell.
"""

import matplotlib.pyplot as plt
import numpy as np

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler, judge

model = SparseCodingModel(bars(3), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
sampler = build_sampler(model, model.draw(1)[1])
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.axhspan(-0.02, 0.02, color="0.9", label="tolerance")
for n, t_stop in enumerate((300, 1000, 4000, 16_000)):
    found = judge(sampler, sampler.run(t_stop=t_stop, chains=2, seed=1)).comparison
    rows = [latent.p_active for latent in found.latents]
    off, error = [r.circuit - r.exact for r in rows], [2 * r.mcse for r in rows]
    ax.errorbar(n + np.linspace(-0.2, 0.2, len(rows)), off, error, fmt="oC0", ms=4)
    ax.text(n, 0.13, found.verdict, ha="center")
ax.set(
    xticks=range(4),
    xticklabels=["2 x 300 tau", "2 x 1000", "2 x 4000", "2 x 16000"],
    ylim=(-0.15, 0.15),
    ylabel="P(active): circuit - exact",
)
fig.savefig("06_verdict.png", dpi=100)
