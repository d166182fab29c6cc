"""One neuron from parts.

The schematic that `circuitlsc draw` makes, with the values of this circuit's parts (needs the extra `schematic`).
"""

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.drawing.schematic import neuron_figure

model = SparseCodingModel(bars(4), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
sampler = build_sampler(model, model.draw(1)[1], level="device")
neuron_figure(sampler).savefig("09_schematic.png", dpi=80)
