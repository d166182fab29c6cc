"""Momentum mixes faster where directions are slow.

Six nearly parallel atoms and a Gaussian prior: effective samples per tau of the slowest statistic over the friction
of a second integrator; the overdamped circuit beside it.
"""

import numpy as np

from circuitlsc import Gaussian, SparseCodingModel, friction_sweep
from circuitlsc.reporting.study_plot import friction_figure

rng = np.random.default_rng(0)
A = rng.standard_normal((8, 1)) + 0.4 * rng.standard_normal((8, 6))
model = SparseCodingModel(A / np.linalg.norm(A, axis=0), Gaussian(sd=3.0), sigma=0.3)
sweep = friction_sweep(model, model.draw(rng)[1], frictions=[0.006, 0.025, 0.1, 0.4], t_stop=600, chains=1, seed=1)
friction_figure(sweep).savefig("14_momentum.png", dpi=90)
