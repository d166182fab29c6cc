"""Chips of one lot.

Twelve chips, each with errors of its own, on the same noise: how far each is from the circuit with ideal parts, and
which pass.
"""

from circuitlsc import Nonidealities, SparseCodingModel, SpikeSlab, bars, chip_yield
from circuitlsc.reporting.study_plot import chips_figure

model = SparseCodingModel(bars(3), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
parts = Nonidealities(crossbar={"programming_error": 0.02}, op_amp={"offset": 1e-4}, seed=1)
lot = chip_yield(model, model.draw(1)[1], parts, chips=12, tolerance=0.05, t_stop=500, seed=1)
chips_figure(lot).savefig("12_yield.png", dpi=90)
