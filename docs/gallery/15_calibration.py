"""Right on average over inputs, without a reference.

Codes and inputs are drawn from the model, the circuit gets all inputs one after the other, and each true code is
ranked among the circuit's draws: ranks of a right sampler are uniform.
"""

from circuitlsc import SparseCodingModel, SpikeSlab, bars, calibrate_circuit
from circuitlsc.reporting.calibration_plot import calibration_figure

model = SparseCodingModel(bars(4), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
calibration = calibrate_circuit(model, inputs=100, draws=9, seed=0)
calibration_figure(calibration.result).savefig("15_calibration.png", dpi=80)
