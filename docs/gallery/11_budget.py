"""Which imperfection hurts first.

The circuit with ideal parts, with each imperfection alone, and with all, on the same noise: bars are changes of
P(active) with two standard errors of paired differences.
"""

from circuitlsc import Nonidealities, SparseCodingModel, SpikeSlab, bars, error_budget
from circuitlsc.reporting.study_plot import budget_figure

model = SparseCodingModel(bars(4), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
parts = Nonidealities(
    crossbar={"programming_error": 0.03},
    op_amp={"offset": 5e-4},
    comparator={"gate_offset": 3e-3},
    noise={"temperature": 315.0},
    seed=1,
)
budget = error_budget(model, model.draw(1)[1], parts, t_stop=600, seed=1)
budget_figure(budget).savefig("11_budget.png", dpi=90)
