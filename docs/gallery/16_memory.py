"""A sampler that remembers.

Three inputs take turns, each on for 1 tau: the state of each is kept in a plastic crossbar, and goes on where it was
when its input comes back.
"""

from circuitlsc import Dynamics, SparseCodingModel, SpikeSlab, bars, build_sampler, compare_memory
from circuitlsc.reporting.memory_plot import memory_figure

model = SparseCodingModel(bars(3), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
X = model.draw(1, 3)[1]
sampler = build_sampler(model, X, dynamics=Dynamics(kind="amortised", features="relu:6"), hold=1.0)
samples = sampler.run(t_stop=900, warmup=60, chains=2, seed=1)
memory_figure(sampler, samples, compare_memory(sampler, samples, tolerance=0.2)).savefig("16_memory.png", dpi=90)
