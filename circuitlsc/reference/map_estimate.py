r"""MAP estimates in software: the minimum of the energy in s, which DSC and LCA circuits descend to.

.. math:: \hat s = \arg\min_s \frac{|x - A s|^2}{2\sigma^2} + \sum_i c(s_i)

Fang et al. 2022, doi:10.1162/neco_a_01505, eq. (2.5) and section 2.2. Both circuits have the L1 cost: they reach the
same minimum and differ in how they move. The lasso's accuracy is proven by its duality gap; for a cost that is not
convex there is no such proof, and the method's name says so.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, real_array
from circuitlsc.model.lca import threshold_code
from circuitlsc.model.sparse_coding import SparseCodingModel

GAP = 1e-8  # largest duality gap of a lasso that is returned, relative to its objective
_UNIT = 1e-9  # a norm this close to 1 is 1
_SWEEPS = 2_000  # of coordinate descent at most: an active-set search finishes
_STEP = 0.05  # of the LCA's Euler integration, in tau over the fastest rate
_REST = 1e-7  # an LCA is at rest when no du/dt exceeds this fraction of its largest input
_MAX_TIME = 20_000.0  # in tau


@dataclass(frozen=True, eq=False)
class MapEstimate:
    """A minimum of the energy.

    Attributes
    ----------
    code : array, shape (n_latents,)
        s, in model units.
    objective : float
        The energy there, dimensionless.
    method : str
        How it was found, and what that proves.
    """

    code: Array
    objective: float
    method: str


def objective(model: SparseCodingModel, s: ArrayLike, x: ArrayLike) -> Array:
    r"""Return the energy of codes, with the cost in s itself.

    .. math:: F(s) = \frac{|x - A s|^2}{2\sigma^2} + \sum_i c(s_i)

    Parameters
    ----------
    model : SparseCodingModel
        Its `without_spike` is used, with the ideal cost.
    s : array, shape (..., n_latents)
        Codes (not u), in model units.
    x : array, shape (n_features,)
        Observation, in data units.

    Returns
    -------
    array, shape (...)
        Dimensionless. Fang et al. 2022, eq. (2.5).

    Raises
    ------
    InputError
        If shapes do not fit, a code of a nonnegative prior is negative, or the prior has a threshold in s(u).
    """
    model = _smooth_model(model)
    return model.energy(_codes(model, s), x)


def hard_objective(model: SparseCodingModel, s: ArrayLike, x: ArrayLike) -> Array:
    r"""Return the energy that an LCA with a hard threshold descends, dimensionless; shape (...).

    .. math:: F_0(s) = \frac{|x - A s|^2}{2\sigma^2} + \frac{\theta^2}{2\sigma^2}\, \#\{i : s_i \neq 0\},
              \qquad \theta = \lambda\sigma^2

    Parameters
    ----------
    model : SparseCodingModel
        With an L1 or a spike-and-slab prior, and no atom longer than 1.
    s : array, shape (..., n_latents)
        Codes, in model units. Read small values as zero first: a code of 1e-9 counts as active.
    x : array, shape (n_features,)
        Observation, in data units.

    Raises
    ------
    InputError
        If an atom is longer than 1, the prior is another, or shapes do not fit.

    Notes
    -----
    The LCA du/dt = A^T x - u - (A^T A - I) s is -grad_s V in s with V = |x - A s|^2/2 + sum C(s_i) and C'(s) = u - s
    (Rozell et al. 2008, doi:10.1162/neco.2008.03-07-486). A hard threshold has C' = 0 beyond theta; on its jump u stays
    at theta while s goes from 0 to theta, so C' = theta - s there, and C(theta) = theta^2/2. Between 0 and theta
    C is not that constant. V cannot have a minimum there if abs(a_i) <= 1, for along s_i its curvature is
    abs(a_i)^2 - 1: then F_0 has the minima of V/sigma^2. A longer atom can rest on the jump, where F_0 is wrong.
    """
    mu, model = _l1(model, "hard_objective")
    norms = np.linalg.norm(model.A, axis=0)
    if norms.max() > 1 + _UNIT:
        raise InputError(
            f"hard_objective: the norm of A[:, {norms.argmax()}] is {norms.max():.4g}, but above 1 a latent can rest "
            "on the jump of the threshold, where this energy does not hold. Normalise the atoms."
        )
    s, x = _codes(model, s), model.check_x(x)
    return np.asarray(_misfit(model, s, x) + 0.5 * (mu * model.sigma) ** 2 * np.count_nonzero(s, -1))


def duality_gap(model: SparseCodingModel, s: ArrayLike, x: ArrayLike) -> Array:
    r"""Return an upper bound on how far codes are above the minimum of the L1 energy, dimensionless; shape (...).

    .. math:: F(s) - \frac{|x|^2 - |x - \nu|^2}{2\sigma^2}, \quad \nu = c\,(x - A s), \quad
              |A^T \nu|_\infty \le \lambda\sigma^2

    with the best c; for nonnegative codes :math:`A^T\nu \le \lambda\sigma^2` suffices. Any s has a bound, a circuit's
    too. x may be one observation, or one for each code, shape (..., n_features).
    """
    lam, model = _l1(model, "duality_gap")
    s, x = _codes(model, s), real_array("x", x)
    if x.shape not in ((model.n_features,), (*s.shape[:-1], model.n_features)):
        raise InputError(
            f"duality_gap: x has shape {x.shape}, s {s.shape}. Pass x ({model.n_features},), or one x for each code."
        )
    r = x - s @ model.A.T
    slope = r @ model.A / model.variance
    steepest = np.max(np.abs(slope) if model.prior.signed else np.maximum(slope, 0.0), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.clip(np.sum(x * r, -1) / np.sum(r**2, -1), 0.0, lam / steepest)
    nu = np.where(np.isfinite(c), c, 0.0)[..., None] * r
    dual = (np.sum(x**2, -1) - np.sum((x - nu) ** 2, -1)) / (2 * model.variance)
    return np.asarray(_misfit(model, s, x) + lam * np.sum(np.abs(s), -1) - dual)


def lasso_map(model: SparseCodingModel, x: ArrayLike) -> MapEstimate:
    """Return the minimum of the L1 energy, by scikit-learn's lasso.

    The objective is within `GAP` of the minimum, proven by the duality gap. The code itself need not be unique: for
    bars it is not when every bar of one orientation is active.

    Raises
    ------
    InputError
        If the prior has no L1 cost, x does not fit, or the gap stays above `GAP`.
    """
    _l1(model, "lasso_map")
    code = many_lasso(model, model.check_x(x)[None])[0]
    return MapEstimate(code, float(objective(model, code, x)), "lasso by coordinate descent, duality gap < 1e-8")


def many_lasso(model: SparseCodingModel, X: ArrayLike) -> Array:
    """Return the minima of the L1 energy for many observations, by scikit-learn's lasso.

    Its objective is divided by D and not by sigma^2, hence alpha = lam sigma^2 / D. An active-set
    search then takes the last digits.

    Parameters
    ----------
    model : SparseCodingModel
        With an L1 or a spike-and-slab prior; see `without_spike`.
    X : array, shape (n, n_features)
        Observations, in data units.

    Returns
    -------
    array, shape (n, n_latents)
        Codes, in model units; inactive ones are exactly 0. Every objective is within `GAP`, by its duality gap.

    Raises
    ------
    InputError
        As for `lasso_map`.
    """
    from sklearn.exceptions import ConvergenceWarning  # these imports take a second
    from sklearn.linear_model import Lasso

    lam, model = _l1(model, "many_lasso")
    X = model.check_rows(X)
    solver = Lasso(
        alpha=lam * model.variance / model.n_features,
        fit_intercept=False,
        positive=not model.prior.signed,
        tol=1e-13,
        max_iter=_SWEEPS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what the codes are worth is measured below
        found = np.reshape(solver.fit(model.A, X.T).coef_, (len(X), model.n_latents))
    codes = np.array([_finish(model, lam, code, x) for code, x in zip(found, X, strict=True)])
    # rounding of |x|^2 is allowed for
    allowed = GAP * (_misfit(model, codes, X) + lam * np.sum(np.abs(codes), -1)) + 1e-13 * np.sum(X**2, -1) / (
        2 * model.variance
    )
    loose = np.count_nonzero(duality_gap(model, codes, X) > allowed)
    if loose:
        raise InputError(
            f"The lasso did not converge for {loose} of {len(X)} inputs: their duality gaps stay above {GAP:g} of the "
            "objective, as the atoms are nearly parallel. Raise lam or sigma, or merge such atoms."
        )
    return codes


def many_lca(model: SparseCodingModel, X: ArrayLike, *, hard: bool) -> Array:
    r"""Return where LCAs come to rest that start from u = 0, for many observations.

    .. math:: \tau\dot u = A^T x - u - (A^T A - I)\,s, \qquad s_i = T(u_i), \quad \theta = \lambda\sigma^2

    Fang et al. 2022, eqs. (2.22)-(2.24), with the threshold lam sigma^2 that (2.24) has for sigma = 1.

    Parameters
    ----------
    model : SparseCodingModel
        With an L1 or a spike-and-slab prior; pi plays no part.
    X : array, shape (n, n_features)
        Observations, in data units.
    hard : bool
        T(u) = u beyond theta (a local minimum of `hard_objective`, which one depends on the start), or u - theta (the
        minimum of `objective`).

    Returns
    -------
    array, shape (n, n_latents)
        Codes, in model units; inactive ones are exactly 0.

    Raises
    ------
    InputError
        If X does not fit, the prior is another, or an LCA does not come to rest (a hard one with long atoms).

    Notes
    -----
    Euler steps of 0.05 tau over the fastest rate; the resting points do not depend on the step, but which of several
    a hard threshold falls to can. At rest means abs(du/dt) < 1e-7 of the largest input.
    """
    theta = _l1(model, "many_lca")[0] * model.variance
    X = model.check_rows(X)
    drive, G = X @ model.A, model.A.T @ model.A
    lateral = G - np.eye(len(G))
    h = _STEP / max(1.0, float(np.linalg.eigvalsh(G)[-1]))
    rest = _REST * max(float(np.abs(drive).max(initial=0.0)), theta)
    codes, moving = np.zeros(drive.shape), np.arange(len(X))
    u = np.zeros_like(drive)
    for step in range(int(_MAX_TIME / h)):
        s = threshold_code(u, theta, signed=model.prior.signed, hard=hard)
        du = drive[moving] - u - s @ lateral
        if step % 50 == 0:
            codes[moving] = s
            going = np.abs(du).max(-1) > rest
            moving, u, du = moving[going], u[going], du[going]
            if not len(moving):
                return codes
        u = u + h * du
    raise InputError(
        f"many_lca: {len(moving)} of {len(X)} LCAs still move after {_MAX_TIME:g} tau. "
        + ("Use the soft threshold." if hard else "Raise lam, or use many_lasso.")
    )


def best_minimum(model: SparseCodingModel, x: ArrayLike, *, n_starts: int = 20, seed: int = 0) -> MapEstimate:
    """Return the lowest of many local minima of the energy, by L-BFGS-B; the minimum itself for a Gaussian prior.

    Parameters
    ----------
    model : SparseCodingModel
        Its `without_spike` is used.
    x : array, shape (n_features,)
        Observation, in data units.
    n_starts : int
        Local minimisations; >= 1.
    seed : int
        Of the random starts; >= 0.

    Raises
    ------
    InputError
        If the cost has a kink at zero (signed L1: use `lasso_map`), x does not fit, or a count is out of range.

    Notes
    -----
    Starts: zero, the ridge code with every latent, then in turn the ridge code of a random half of the latents and a
    draw from the prior. A lower minimum than the best may exist.
    """
    for name, count, least in (("n_starts", n_starts, 1), ("seed", seed, 0)):
        check_count(f"best_minimum: {name}", count, least, "")
    model = _smooth_model(model)
    prior, G, b = model.prior, model.gram, model.drive(x)
    K = model.n_latents
    ridge = np.asarray(np.linalg.solve(G + np.eye(K) / prior.slab_scale**2, b), dtype=float)
    if prior.linear:  # slab_scale is its sd
        return MapEstimate(ridge, float(objective(model, ridge, x)), "closed form: one linear system")
    if prior.slab is not None and prior.signed:
        raise InputError(f"best_minimum: the cost of {prior!r} has a kink at zero. Use lasso_map.")
    reach = max(10 * prior.slab_scale, 3 * float(np.abs(ridge).max()))  # of starts: a heavy tail has no bound

    def start(k: int) -> Array:
        if k < 2:
            return np.asarray(k * ridge)
        if k % 2:
            return np.asarray(np.clip(prior.draw((K,), rng), -reach, reach))
        on, s = rng.random(K) < 0.5, np.zeros(K)
        s[on] = np.linalg.solve(G[np.ix_(on, on)] + np.eye(on.sum()) / prior.slab_scale**2, b[on])
        return np.asarray(s, dtype=float)

    rng = np.random.default_rng(seed)
    starts = (start(k) if prior.signed else np.maximum(start(k), 0.0) for k in range(n_starts))
    best = min((descend_from(model, s, x) for s in starts), key=lambda found: found.objective)
    return replace(best, method=f"best of {n_starts} local minimisations")


def descend_from(model: SparseCodingModel, s: ArrayLike, x: ArrayLike) -> MapEstimate:
    """Return the local minimum of a smooth cost that L-BFGS reaches from the code s, (n_latents,)."""
    model = _smooth_model(model)
    prior, G, b = model.prior, model.gram, model.drive(x)

    def energy(code: Array) -> tuple[float, Array]:
        slope = G @ code - b
        cost_grad = prior.cost_grad(code if prior.signed else np.maximum(code, 1e-200))  # one-sided at zero
        return float(0.5 * code @ (slope - b) + np.sum(prior.cost(code))), slope + cost_grad

    found = minimize(
        energy,
        np.asarray(s, dtype=float),
        jac=True,
        method="L-BFGS-B",
        bounds=None if prior.signed else [(0.0, None)] * model.n_latents,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 100_000},
    )
    return MapEstimate(found.x, float(objective(model, found.x, x)), "local minimisation")


def map_reference(model: SparseCodingModel, x: ArrayLike) -> MapEstimate:
    """Return the MAP estimate by the method that proves most: lasso, closed form, or the best of local minima."""
    return lasso_map(model, x) if model.prior.slab is not None else best_minimum(model, x)


def _l1(model: SparseCodingModel, caller: str) -> tuple[float, SparseCodingModel]:
    """Return lam of a prior with an L1 cost, and the model without its spike."""
    if model.prior.slab is None:
        raise InputError(f"{caller}: {model.prior!r} has no L1 cost. Use SpikeSlab or Laplace, or call map_reference.")
    return model.prior.slab.lam, model.without_spike()


def _smooth_model(model: SparseCodingModel) -> SparseCodingModel:
    """Return `without_spike`, or raise if its cost is still one of u and not of s."""
    model = model.without_spike()
    if model.prior.sparse:
        raise InputError(
            f"prior = {model.prior!r}: its code is thresholded, so that the cost in s is not known. "
            "Use SpikeSlab, Laplace, or a prior with s = u."
        )
    return model


def _codes(model: SparseCodingModel, s: ArrayLike) -> Array:
    s = real_array("s", s)
    if s.ndim == 0 or s.shape[-1] != model.n_latents:
        raise InputError(f"s has shape {s.shape}, but the model has {model.n_latents} latents. Pass (..., n_latents).")
    if not model.prior.signed and s.size and s.min() < 0:
        raise InputError(f"s has a value of {s.min():.4g}, but the prior {model.prior!r} has s >= 0. Pass s, not u.")
    return s


def _misfit(model: SparseCodingModel, s: Array, x: Array) -> Array:
    return np.asarray(np.sum((s @ model.A.T - x) ** 2, -1) / (2 * model.variance))


def _finish(model: SparseCodingModel, lam: float, start: Array, x: Array) -> Array:
    """Take a code to the minimum of the L1 energy by an active-set search (Lee et al. 2007, feature-sign search).

    Each step lowers the energy: to the minimum for the signs at hand, or along a direction that the data do not see,
    until a coefficient is zero. Then the latent that pulls most joins. Coordinate descent creeps along such directions.
    """
    A = model.A / model.sigma
    s, sign = start.copy(), np.sign(start)
    fine = 1e-10 * lam + 1e-14 * float(np.abs(model.drive(x)).max())
    for _ in range(50 * len(s)):
        on = np.flatnonzero(sign)
        force = A[:, on].T @ (x / model.sigma - A @ s) - lam * sign[on]
        free = True  # no coefficient is in the way
        if len(on) and np.abs(force).max() > fine:
            _, stretch, axes = np.linalg.svd(A[:, on])
            seen = axes[: np.count_nonzero(stretch > 1e-9 * stretch[0])]
            along = seen @ force
            left = force - seen.T @ along
            unseen = np.abs(left).max() > fine
            d = left if unseen else seen.T @ (along / stretch[: len(seen)] ** 2)
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = np.where(d * sign[on] < 0, -s[on] / d, np.inf)
            first = int(np.argmin(reach))
            free = not unseen and reach[first] > 1
            s[on] += d if free else reach[first] * d
            if not free:
                s[on[first]] = sign[on[first]] = 0.0
        if free:
            slope = A.T @ (x / model.sigma - A @ s)
            excess = np.where(sign == 0, (np.abs(slope) if model.prior.signed else slope) - lam, -np.inf)
            i = int(np.argmax(excess))
            if excess[i] <= fine:
                break
            sign[i] = np.sign(slope[i])
    return s if duality_gap(model, s, x) < duality_gap(model, start, x) else start
