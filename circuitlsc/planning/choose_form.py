r"""Which form of a circuit runs faster: an estimate of what ngspice spends on it, from counts and two measured times.

A Newton iteration loads every conductance and factors the matrix. Elimination from the neurons leaves a dense core: the
latents of a block in the Gram form; in the residual form the pixels, into which every latent i adds the outer product of
its n_i pixels,

.. math:: t_{gram} = t_l\,|G|_0 + t_m \sum_{blocks} \tfrac13 k^3, \qquad
          t_{residual} = 2\, t_l\,|A|_0 + t_m \Big( \sum_i n_i^2 + \tfrac13 D^3 \Big)

With a broken loop (`planning.broken_loop`) there is no core, and the loads are all. What both forms have alike, the neurons and
their tables, is left out. Fitted to dense ideal circuits up to 64 x 256 in ngspice 39; nothing but the choice depends on it.
"""

from __future__ import annotations

import numpy as np

from circuitlsc.model.gram import blocks
from circuitlsc.model.sparse_coding import SparseCodingModel

LOAD = 25e-9  # s per conductance
MULTIPLY = 3e-9  # s per multiplication and addition of the factorisation


def iteration_time(model: SparseCodingModel, form: str, loop: str = "closed") -> float:
    """Return the estimated seconds of a Newton iteration, without what does not depend on the form."""
    if form == "gram":
        loads = np.count_nonzero(model.gram)
        core = sum(len(block) ** 3 for block in blocks(model.gram)) / 3
    else:
        used = np.count_nonzero(model.connections, axis=0).astype(float)
        loads = 2 * np.count_nonzero(model.connections)
        core = float(np.sum(used**2)) + model.n_features**3 / 3
    return LOAD * loads + (MULTIPLY * core if loop == "closed" else 0.0)


def choose_form(model: SparseCodingModel, loop: str = "closed") -> tuple[str, str]:
    """Return the faster form, and a line that says why."""
    times = {form: iteration_time(model, form, loop) for form in ("gram", "residual")}
    form = min(times, key=lambda name: times[name])
    estimates = ", ".join(f"{name} {1e6 * seconds:.3g} us" for name, seconds in times.items())
    return form, f"form {form}: estimated time per Newton iteration, neurons apart: {estimates}"
