"""A dictionary learned while the circuit samples.

3 x 3 bars from random weights, in software: the start, what was learned from 7,000 images, and the norms of the atoms
on the way.
"""

import matplotlib.pyplot as plt

from circuitlsc import Learner, SparseCodingModel, SpikeSlab, Stage, bars
from circuitlsc.learning import random_weights
from circuitlsc.reporting.learning_plot import plot_dictionary, plot_norms

truth = SparseCodingModel(bars(3), SpikeSlab(pi=0.3, lam=1.0), sigma=0.3)
A0 = random_weights(9, 6, seed=0)
stages = [
    Stage.of_inputs(40, hold=10.0, step=0.01, tau_A=30.0),
    Stage.of_inputs(30, hold=20.0, step=0.005, pause=5.0, tau_A=150.0),
]
run = Learner(A0=A0, pi=0.3, lam=1.0, sigma=0.3, source=truth, stages=stages, batch=100, seed=0).run()

fig, axes = plt.subplots(1, 3, figsize=(8, 2.3), layout="constrained", width_ratios=[1, 1, 2])
plot_dictionary(A0, axes[0]).set_title("start")
plot_dictionary(run.learned.A, axes[1]).set_title("learned")
plot_norms(run.history, axes[2])
fig.savefig("13_learning.png", dpi=100)
