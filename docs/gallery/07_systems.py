"""One word makes another system.

The same model and input in five circuits: two settle on a code (DSC, LCA), LSC and L0-LSC sample, with momentum too.
The largest and the smallest true code of 4 x 4 bars.
"""

import matplotlib.pyplot as plt

from circuitlsc import Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler

spike, smooth = SpikeSlab(pi=0.3, lam=1.0), Laplace(lam=1.0, signed=False)
systems = {
    "DSC": ("gradient", smooth),
    "LCA": ("lca", smooth),
    "LSC": ("langevin", smooth),
    "L0-LSC": ("langevin", spike),
    "momentum": ("underdamped", spike),
}
s, x = SparseCodingModel(bars(4), spike, sigma=0.5).draw(5)
fig, axes = plt.subplots(1, 5, figsize=(10, 2.4), layout="constrained", sharey=True)
for ax, (name, (kind, prior)) in zip(axes, systems.items(), strict=True):
    sampler = build_sampler(SparseCodingModel(bars(4), prior, sigma=0.5), x, dynamics=kind)
    samples = sampler.run(t_stop=60, warmup=0, chains=1, seed=1)
    for latent, colour in ((s.argmax(), "C0"), (s.argmin(), "C1")):
        code = sampler.read(samples.u)[0, :, latent]
        ax.plot(samples.time, code, colour, lw=0.9, label=f"latent {latent}, truth {s[latent]:.1f}")
    ax.set(title=name, xlabel="time (tau)", xlim=(0, 60))
axes[0].set(ylabel="s")
axes[-1].legend(fontsize=7)
fig.savefig("07_systems.png", dpi=100)
