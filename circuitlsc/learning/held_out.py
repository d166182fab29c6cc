r"""What a trained encoder is worth on inputs that it has not seen: log p(x), the bound, and what lies between them.

.. math:: \log p(x) - \mathrm{ELBO}(x) = \mathrm{KL}(q(s|x)\,\|\,p(s|x)) \ge 0

log p(x) is that of weighted draws (`circuitlsc.model.variational.sure_evidence`), the bound is closed form. The difference is
what the encoder's law costs, by its family and because one network gives all of them. Not in the paper.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from circuitlsc.errors import ReferenceRefusedError
from circuitlsc.io.report import Facts
from circuitlsc.learning.variational import VariationalLearner, VariationalRun, set_aside
from circuitlsc.model.encoder import Heads
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import elbo, sure_evidence

INPUTS = 30
DRAWS = 20_000  # of each: about 40 ms for 8 latents
_STREAM = 7  # of the draws, beside those of `circuitlsc.learning.variational`


def held_out_evidence(learner: VariationalLearner, made: VariationalRun, *, inputs: int = INPUTS) -> xr.Dataset | None:
    """Estimate log p(x) of the first held-out inputs, for the model and the encoder as they stood last.

    Where fewer than 1 % of the draws of the encoder's law are effective, those of the best law of that input are tried.

    Parameters
    ----------
    learner : VariationalLearner
    made : VariationalRun
        What its `run` returned.
    inputs : int
        How many at most.

    Returns
    -------
    xarray.Dataset or None
        ``log_p``, its standard error ``log_p_se``, ``log_p_ess_share`` and ``log_p_elbo`` (the bound of the same inputs) along
        ``held_out_input``, in nats of a density in data units; NaN, but for the bound, where log p(x) is refused. None if there
        are no held-out inputs.
    """
    X = set_aside(learner)[1][:inputs]
    if not len(X):
        return None
    A, pi, sigma = np.asarray(learner.A0, dtype=float), learner.pi, learner.sigma
    if (learned := made.learned) is not None:
        A, pi, sigma = learned.A_final, learned.pi_final, learned.sigma_final
    model = SparseCodingModel(A, SpikeSlab(pi, learner.lam, learner.signed), sigma)
    heads = made.encoder.heads(X)
    rows = np.full((3, len(X)), math.nan)
    for n, x in enumerate(X):
        try:
            rng = np.random.default_rng([learner.seed, _STREAM, n])
            found = sure_evidence(model, x, Heads(*(head[n] for head in heads)), n=DRAWS, rng=rng)
        except ReferenceRefusedError:
            continue
        rows[:, n] = found.log_p, found.se, found.ess_share
    about = {
        "log_p": ("nats", "log p(x) of a held-out input, by weighted draws"),
        "log_p_se": ("nats", "standard error of log_p"),
        "log_p_ess_share": ("", "share of the weighted draws that are effective"),
        "log_p_elbo": ("nats", "ELBO of the same input"),
    }
    values = dict(zip(about, (*rows, elbo(model, X, *heads)), strict=True))
    return xr.Dataset(
        {name: ("held_out_input", values[name], {"units": u, "long_name": text}) for name, (u, text) in about.items()}
    )


def evidence_report(found: xr.Dataset) -> Facts:
    """Return log p(x), the bound and their difference as a few lines; how many inputs were refused is said."""
    known = found.where(np.isfinite(found["log_p"]), drop=True)
    n, used = found.sizes["held_out_input"], known.sizes["held_out_input"]
    refused = f"{n - used} of {n} held-out inputs refused, less than 1 % of their draws are effective"
    if not used:
        return Facts((("log p(x)", refused),))
    log_p, gap = known["log_p"].values, (known["log_p"] - known["log_p_elbo"]).values
    se = float(np.sqrt(np.sum(known["log_p_se"].values ** 2))) / used
    spread = f" +- {float(np.std(gap, ddof=1)) / math.sqrt(used):.3f} over inputs" if used > 1 else ""
    share = known["log_p_ess_share"].values
    by = f"{100 * share.min():.1f} to {100 * share.max():.1f} % effective{f'; {refused}' if used < n else ''}"
    bound = f"log p(x) - ELBO of these ({log_p.mean() - gap.mean():.3f}), what the encoder's law costs"
    return Facts(
        (
            (
                "log p(x)",
                f"{log_p.mean():.3f} +- {se:.3f} nats per input, mean of {used} held-out ones (by weighted draws, {by})",
            ),
            ("KL", f"{gap.mean():.3f}{spread}: {bound}"),
        )
    )
