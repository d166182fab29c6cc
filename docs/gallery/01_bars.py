"""A run beside the exact posterior.

Eight neurons explain a 4 x 4 image of bars. Top: two voltages, and NumPy on the same noise. Then P(active) and mean
of every latent, circuit minus exact with two standard errors, and the most probable sets of active latents.
"""

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler, judge
from circuitlsc.reporting.run_plot import figure

model = SparseCodingModel(bars(4), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
s, x = model.draw(1)
sampler = build_sampler(model, x)
samples = sampler.run(t_stop=4000, chains=2, seed=1)
figure(sampler, samples, judge(sampler, samples)).savefig("01_bars.png", dpi=100)
