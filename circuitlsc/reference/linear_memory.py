r"""A memory's law where forces are linear, without sampling: what it is to sample, and what a stream of inputs samples.

.. math::
    E_n(u) = \tfrac12 u^T L u - b_n^T u, \qquad u_n = W \phi_n, \qquad
    \tau\,dW = (-\nabla E_n(u_n)\,dt + \sqrt{2T\tau}\,dB)\,v_n^T - \kappa_L W\,dt \quad\text{while input n is on}

All inputs at once, written by their features, with noise of each weight, have the law exp(-sum_n E_n/T) of U = (u_1 .. u_N)
if the rank of Phi is N (Taniguchi et al. 2022, Theorem 1). Below that it is the same law under the condition that U is W Phi,
and a leak is a Gaussian prior, (kappa_L/2) tr(U K^+ U^T), K = Phi^T Phi. Of a stream the moments repeat with the cycle of
inputs: each visit maps (w, 1) and its covariance linearly (Van Loan 1978), and the cycle's map has one fixed point. Neurons are
independent in the axes of L.
Neither rank, nor leak, nor the stream are in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array, check_number, check_positive, real_array
from circuitlsc.model.dynamics import NOISES
from circuitlsc.model.features import Features
from circuitlsc.model.sparse_coding import SparseCodingModel

_DONE = 1e-17  # of a cycle's map that is squared: what is left of where it started
_MOST = 60  # squarings


def memory_posterior(
    model: SparseCodingModel, X: ArrayLike, features: Features, *, temperature: float = 1.0, leak: float = 0.0
) -> tuple[Array, Array]:
    r"""Return mean and covariance of the states that a memory of N inputs is to sample, in closed form.

    .. math:: p(U) \propto \exp\Big(-\frac1T \sum_n E_n(u_n) - \frac{\kappa_L}{2T} \mathrm{tr}(U K^+ U^T)\Big), \qquad
              U = W\Phi \text{ for some } W

    Parameters
    ----------
    model : SparseCodingModel
        With a Gaussian prior.
    X : array, shape (N, n_features)
        The inputs, in data units.
    features : Features
    temperature : float
        T; > 0.
    leak : float
        kappa_L of every weight, in 1/tau, with all inputs at once; >= 0. A short hold with noise of weights T/N acts as N
        times its own leak; with noise of neurons, written by dual vectors, it adds (N kappa_L/2) abs(U)^2 instead.

    Returns
    -------
    mean : array, shape (N, K)
        In model units.
    cov : array, shape (N, K, N, K)
        In model units squared.

    Raises
    ------
    InputError
        If X or features do not fit, or a number is out of range.
    ReferenceRefusedError
        If the prior is not Gaussian.
    """
    X = _checked("memory_posterior", model, X, features, temperature, leak)
    L, axes, b = _axes(model, X)
    span = features.span.T @ features.phi  # (r, N): U = Y span, Y (K, r)
    # where U = Y span, tr(U K^+ U^T) is tr(Y Y^T)
    precision = L[:, None, None] * (span @ span.T) + leak * np.eye(len(span))
    inverse = np.linalg.inv(precision)
    mean = np.einsum("rn,krs,sm,mk->nk", span, inverse, span, b)
    each = temperature * np.einsum("rn,krs,sm->knm", span, inverse, span)
    return mean @ axes.T, np.einsum("ik,knm,jk->nimj", axes, each, axes)


@dataclass(frozen=True, eq=False)
class StreamMoments:
    """Moments of each input's state during its own visit.

    Attributes
    ----------
    at : array, shape (P,)
        Shares of the visit.
    mean : array, shape (N, P, K)
        In model units.
    cov : array, shape (N, P, K, K)
        In model units squared.
    """

    at: Array
    mean: Array
    cov: Array


class _Map(NamedTuple):
    """What a span of time makes of (w, 1): its mean by ``P``, its covariance by ``P`` and what is added, ``S``."""

    P: Array
    S: Array

    def then(self, other: _Map) -> _Map:
        """Return this one, and then another."""
        P = other.P @ self.P
        return _Map(P, other.P @ self.S @ other.P.T + other.S)


def stream_moments(
    model: SparseCodingModel,
    X: ArrayLike,
    features: Features,
    hold: float,
    *,
    write: ArrayLike | None = None,
    noise: str = "neuron",
    temperature: float = 1.0,
    leak: float = 0.0,
    at: ArrayLike = (0.0, 0.5, 1.0),
) -> StreamMoments:
    r"""Return the moments of a memory whose inputs come in turn, in cyclic order, when it has forgotten its start: exact.

    Parameters
    ----------
    model, X, features
        As for `memory_posterior`.
    hold : float
        How long each input is on, in tau; > 0.
    write : array, shape (H, N), or None
        V; None is the dual vectors.
    noise : str
        "neuron": of each neuron, through v_n, at temperature T. "weight": of each weight, at all times, at temperature T/N.
    temperature : float
        T; > 0.
    leak : float
        kappa_L of every weight at all times, in 1/tau; >= 0.
    at : array, shape (P,)
        Shares of a visit, 0 to 1, at which moments are wanted.

    Raises
    ------
    InputError
        If an argument does not fit or is out of range, or if nothing holds the states: then they have no law.
    ReferenceRefusedError
        If the prior is not Gaussian.

    Notes
    -----
    Features that no input has are left out: where weights diffuse along them, states do not see it.
    """
    X = _checked("stream_moments", model, X, features, temperature, leak)
    check_positive("stream_moments", "hold", hold, "it must be positive")
    V = features.dual if write is None else real_array("write", write)
    if V.shape != features.phi.shape:
        raise InputError(
            f"stream_moments: write has shape {V.shape}, but features are {features.phi.shape}. Give a vector for each."
        )
    if noise not in NOISES:
        raise InputError(f"stream_moments: noise = {noise!r} is not one of {', '.join(NOISES)}.")
    shares = real_array("at", at)
    if shares.ndim != 1 or not len(shares) or shares.min() < 0 or shares.max() > 1:
        raise InputError(f"stream_moments: at = {at!r} are no shares of a visit. Give numbers from 0 to 1.")
    L, axes, b = _axes(model, X)
    phi, V = features.span.T @ features.phi, features.span.T @ V
    r, N = phi.shape
    mean, var = np.empty((N, len(shares), len(L))), np.empty((N, len(shares), len(L)))
    for k, rate in enumerate(L):

        def visit(n: int, time: float, k: int = k, rate: float = rate) -> _Map:
            drift, spread = np.zeros((r + 1, r + 1)), np.zeros((r + 1, r + 1))
            drift[:r, :r] = -rate * np.outer(V[:, n], phi[:, n]) - leak * np.eye(r)
            drift[:r, r] = b[n, k] * V[:, n]
            each = np.outer(V[:, n], V[:, n]) if noise == "neuron" else np.eye(r) / N
            spread[:r, :r] = 2 * temperature * each
            return _flow(drift, spread, time)

        visits = [visit(n, hold) for n in range(N)]
        cycle = visits[0]
        for other in visits[1:]:
            cycle = cycle.then(other)
        state = _fixed(cycle)
        for n in range(N):
            for p, share in enumerate(shares):
                now = state.then(visit(n, share * hold))
                mean[n, p, k] = phi[:, n] @ now.P[:r, r]
                var[n, p, k] = phi[:, n] @ now.S[:r, :r] @ phi[:, n]
            state = state.then(visits[n])
    return StreamMoments(shares, mean @ axes.T, np.einsum("ik,npk,jk->npij", axes, var, axes))


def linear_virial(model: SparseCodingModel, X: ArrayLike, mean: Array, cov: Array) -> float:
    r"""Return sum_n <u_n . grad E_n>, which is T K rank(Phi) for what a memory without leak is to sample.

    .. math:: \sum_n \langle u_n \cdot \nabla E_n \rangle = \sum_n \mathrm{tr}(L C_n) + m_n^T (L m_n - b_n)

    Weight noise has it at every hold, if averaged over visits: it is blind to what a hold does.

    Parameters
    ----------
    model, X
        As for `memory_posterior`.
    mean : array, shape (N, K)
        m_n, in model units.
    cov : array, shape (N, K, K)
        C_n of each input, in model units squared.
    """
    L = model.gram + model.prior.stiffness * np.eye(model.n_latents)
    return float(np.einsum("ij,nji->", L, cov) + np.sum(mean * (mean @ L - model.drives(X))))


def _checked(
    owner: str, model: SparseCodingModel, X: ArrayLike, features: Features, temperature: float, leak: float
) -> Array:
    """Return X, or raise what the functions above say."""
    if not model.prior.linear:
        raise ReferenceRefusedError(
            f"{owner}: the prior is {model.prior!r}, but forces are linear for Gaussian(sd) alone. Use gibbs, for each input."
        )
    X = model.check_rows(X)
    if len(X) != features.N:
        raise InputError(
            f"{owner}: x has {len(X)} inputs, and features have {features.N}. Give features of these inputs."
        )
    check_positive(owner, "temperature", temperature, "a temperature must be positive")
    check_number(owner, "leak", leak, "it must not be negative", above=False)
    return X


def _axes(model: SparseCodingModel, X: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues of L, (K,), their axes in columns, and drives in these axes, (N, K)."""
    L, axes = np.linalg.eigh(model.gram + model.prior.stiffness * np.eye(model.n_latents))
    return L, axes, model.drives(X) @ axes


def _flow(drift: Array, spread: Array, time: float) -> _Map:
    """Return what dz = drift z dt + spread^(1/2) dB does in a time: Van Loan's exponential of a part, and then squarings."""
    n, halvings = len(drift), max(0, int(np.ceil(np.log2(max(np.abs(drift).sum(1).max() * time, 1.0)))))
    both = np.block([[drift, spread], [np.zeros((n, n)), -drift.T]])
    E = expm(both * (time / 2**halvings))  # of the whole time the lower block would overflow
    found = _Map(E[:n, :n], E[:n, n:] @ E[:n, :n].T)
    for _ in range(halvings):
        found = found.then(found)
    return found


def _fixed(cycle: _Map) -> _Map:
    """Return the map of any start to the mean and covariance that a cycle leaves alone: the cycle, squared until it forgets."""
    r = len(cycle.P) - 1
    for _ in range(_MOST):
        left = float(np.abs(cycle.P[:r, :r]).max())
        if left < _DONE:
            return cycle
        if not left < 1e8:
            break
        cycle = cycle.then(cycle)
    raise InputError(
        "stream_moments: what is written does not hold the states: they drift away, or forget nothing. Give other vectors to "
        "write (the dual ones hold), or a leak."
    )
