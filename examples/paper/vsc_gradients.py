r"""Gradients of thresholded codes from J draws, in kind after Fallah & Rozell 2022: their noise, and their bias.

.. math:: \mathrm{SNR} = |E \hat g| / \mathrm{sd}(\hat g), \qquad \mathrm{bias} = |E \hat g - g| / \mathrm{rms}(g)

of each latent's shift mu and log-scale rho, the data term alone: :math:`g = \partial E_q[\log p(x | s)]` is known in closed
form for a linear generator, which is not in the paper (it has no bias to show). lam is held, as published. What differs from
the paper: 4x4 bars with a known dictionary, and laws half-way to the codes that made the inputs in place of a network's
course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.model.data import bars
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import ESTIMATORS, REDUCTIONS, elbo_gradients, estimate_gradients, law_of, slab_of
from circuitlsc.validation.calibration import draw_inputs
from examples.paper.figure_runs import Effort, Note, Progress, plain, run_all
from examples.paper.vsc_measures import mean_se

PI, LAM, SIGMA, SIDE = 0.3, 1.0, 0.5, 4
DRAWS = (1, 2, 5, 10, 20, 50, 100)
HALF_WAY = 0.5  # shifts, as a share of the codes that made the inputs; scales, of the slab's
_MOST, _TOTAL, _LEAST = 2000, 20_000, 200  # repeats of an estimate: so many, so many draws in all, and so many at least
# one atom that is needed and rarely on: P = .14, x = 1.2 of it, sigma .3
SWITCH_SIGMA, SWITCH_LAM, SWITCH_CODE, SWITCH_RHO, SWITCH_KAPPA = 0.3, 1.4, 1.2, -1.0, 2.0
SWITCH_DRAWS = (5, 20, 100)
SHIFTS = tuple(np.linspace(0.0, 1.4, 15).round(2).tolist())


@dataclass(frozen=True, eq=False)
class EstimatorCurve:
    """One estimator against J; arrays have an entry for each J.

    Attributes
    ----------
    estimator, reduce : str
        As for `estimate_gradients`.
    parameter : str
        "mu" or "rho".
    snr, snr_se, bias, bias_se : array, shape (n,)
        Mean over latents of all inputs, and its standard error. The variance of the estimate of a bias is taken off its square;
        what is left where there is none (pathwise in mu) is about a third of that noise.
    needed, needed_se : array, shape (n,)
        Mean of the estimate over latents that should switch on, in nats: those that made their input, and whose exact slope in
        rho is above 0.
    """

    estimator: str
    reduce: str
    parameter: str
    snr: Array
    snr_se: Array
    bias: Array
    bias_se: Array
    needed: Array
    needed_se: Array


@dataclass(frozen=True, eq=False)
class GradientsData:
    """Estimators against J, and what they say of an atom that should switch on.

    Attributes
    ----------
    pi, lam, sigma, n_inputs
        Of the bars.
    draws : tuple of int
        J.
    curves : tuple of EstimatorCurve
    exact : tuple
        Exact slope in rho of latents that should switch on, mean and standard error over them, in nats.
    shifts : tuple of float
        Shift of one needed atom that is rarely on, in model units.
    slope : array, shape (n_shifts,)
        Exact slope of its data term in rho, in nats.
    told, told_se : dict of arrays, shape (n_shifts,)
        What straight-through says: "average", and "max 5" and so on.
    """

    pi: float
    lam: float
    sigma: float
    n_inputs: int
    draws: tuple[int, ...]
    curves: tuple[EstimatorCurve, ...]
    exact: tuple[float, float]
    shifts: tuple[float, ...]
    slope: Array
    told: dict[str, Array]
    told_se: dict[str, Array]

    def curve(self, estimator: str, reduce: str, parameter: str) -> EstimatorCurve:
        """Return one of the curves."""
        wanted = (estimator, reduce, parameter)
        return next(c for c in self.curves if (c.estimator, c.reduce, c.parameter) == wanted)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        return dict(plain(self))


def vsc_gradients_data(
    effort: Effort | None = None,
    *,
    seed: int = 0,
    draws: Sequence[int] = DRAWS,
    shifts: Sequence[float] = SHIFTS,
    workers: int = 1,
    note: Note | None = None,
) -> GradientsData:
    """Estimate gradients again and again; ``effort`` scales the number of repeats (``time``) and of inputs (``seeds``)."""
    effort, draws = effort or Effort(), tuple(draws)
    model = SparseCodingModel(bars(SIDE), SpikeSlab(PI, LAM, signed=True), SIGMA)
    n = 10 * effort.seeds
    S, X = draw_inputs(model, n, np.random.default_rng([seed, 0]))
    rho = np.full_like(S, np.log(HALF_WAY / LAM))
    heads = HALF_WAY * S, rho, -np.log(PI) / LAM * np.exp(-rho)
    exact = dict(zip(("mu", "rho"), data_term(model, X, *heads), strict=True))
    need = (S != 0) & (exact["rho"] > 0)

    def one(job: tuple[str, str], progress: Progress) -> list[EstimatorCurve]:
        found: dict[str, list[tuple[float, ...]]] = {"mu": [], "rho": []}
        for k, J in enumerate(draws):
            progress(k, len(draws))
            repeats = max(2, round(effort.time * min(_MOST, max(_LEAST, _TOTAL // J))))
            g = repeated(model, X, heads, repeats, [seed, 1, k], estimator=job[0], reduce=job[1], draws=J)
            for name, each in g.items():
                found[name].append(_judged(each, exact[name], need))
        return [EstimatorCurve(*job, name, *np.array(rows).T) for name, rows in found.items()]

    jobs = [(estimator, reduce) for estimator in ESTIMATORS for reduce in REDUCTIONS]
    curves = [curve for made in run_all(one, jobs, ", ".join, workers=workers, note=note) for curve in made]
    slope, told, told_se = _switch(shifts, max(2, round(2000 * effort.time)), seed)
    return GradientsData(
        PI, LAM, SIGMA, n, draws, tuple(curves), mean_se(exact["rho"][need]), tuple(shifts), slope, told, told_se
    )


def data_term(model: SparseCodingModel, X: Array, mu: Array, rho: Array, kappa: Array) -> tuple[Array, Array]:
    """Return the exact derivatives of E_q[log p(x | s)] in mu and rho, each (n, K), with lam = kappa b held."""
    slab = slab_of(model)
    g = elbo_gradients(model, X, mu, rho, kappa=kappa, slope=-kappa)
    kl_mu, kl_rho, kl_kappa = law_of(model, mu, rho, kappa).slopes(slab.pi, slab.lam).kl
    return g.mu + kl_mu, g.rho + kl_rho - kappa * kl_kappa


def repeated(
    model: SparseCodingModel,
    X: Array,
    heads: tuple[Array, Array, Array],
    repeats: int,
    seed: Sequence[int],
    **how: Any,
) -> dict[str, Array]:
    """Return estimates of the same derivatives, (repeats, n, K) each, independent of each other."""
    mu, rho, kappa = heads
    many = [np.tile(v, (repeats, 1)) for v in (X, mu, rho, kappa)]
    g = estimate_gradients(model, *many, slope=-many[3], rng=np.random.default_rng(seed), **how)
    base = law_of(model, mu, rho, kappa).kl_base_slopes(slab_of(model).lam)
    shape = (repeats, *mu.shape)
    return {"mu": g.mu.reshape(shape) + base[0], "rho": g.rho.reshape(shape) + base[1]}


def _judged(g: Array, exact: Array, need: Array) -> tuple[float, ...]:
    """Return SNR, bias and the mean over needed latents, each with its standard error."""
    mean, sd = g.mean(0), g.std(0, ddof=1)
    noise = sd**2 / len(g)
    signal, bias = (np.sqrt(np.maximum(v**2 - noise, 0.0)) for v in (mean, mean - exact))
    bias /= np.sqrt(np.mean(exact**2))
    return *mean_se((signal / sd).ravel()), *mean_se(bias.ravel()), *mean_se(mean[need])


def _switch(shifts: Sequence[float], repeats: int, seed: int) -> tuple[Array, dict[str, Array], dict[str, Array]]:
    """Return the exact slope in rho of an atom that should switch on, and what straight-through says, by its shift."""
    model = SparseCodingModel(bars(2), SpikeSlab(PI, SWITCH_LAM, signed=True), SWITCH_SIGMA)
    mu = np.zeros((len(shifts), model.n_latents))
    mu[:, 0] = shifts
    X = np.tile(SWITCH_CODE * model.A[:, 0], (len(shifts), 1))
    heads = mu, np.full_like(mu, SWITCH_RHO), np.full_like(mu, SWITCH_KAPPA)
    told, told_se = {}, {}
    for k, (reduce, J) in enumerate([("average", 20), *(("max", J) for J in SWITCH_DRAWS)]):
        g = repeated(model, X, heads, repeats, [seed, 2, k], reduce=reduce, draws=J)["rho"][..., 0]
        name = reduce if reduce == "average" else f"max {J}"
        told[name], told_se[name] = g.mean(0), g.std(0, ddof=1) / np.sqrt(repeats)
    return data_term(model, X, *heads)[1][:, 0], told, told_se
