r"""A loop that is broken for speed: each neuron's gate gets the gradient e as extrapolated from the last time points.

With the loop closed ngspice factors a matrix that is dense in latents or pixels. Broken, the crossbars are still solved at
every time point, but their e reaches the gates one step later, through sources that extrapolate it:

.. math:: f_{k+1} = 2 e_k - e_{k-1} + \tfrac12 (e_k - f_k)

(a line through the last two solved values, and half of what the last extrapolation missed). The trapezoid takes the mean of
f_k and f_{k+1}, so a linear mode of loop rate a obeys, with y = a h and the prior's own rate b implicit as ever,

.. math:: u_{k+1} = u_k - \tfrac{y}{2} (f_k + f_{k+1}) - \tfrac{b h}{2} (u_k + u_{k+1}) + \sqrt{2 T}\,\Delta W

It is explicit, of second order like Adams and Bashforth's: the variance is too large by a factor 1 + O(y^2), 1.07 at the
largest y that is allowed. Making up for all of what was missed would be their method itself (1.06), and never forget an
error; for none of it, 1.10.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.extrapolation import HELD, NEWEST, OLDER

LOOPS = ("closed", "broken")
LARGEST = 0.3  # y of the fastest mode of A^T A / sigma^2, with every gate open


def variance_factor(y: float, own: float = 0.0) -> float:
    """Return a linear mode's stationary variance, relative to T/(a + b).

    Parameters
    ----------
    y : float
        Loop rate times step, a h >= 0.
    own : float
        Rate of the mode outside of the loop times step, b h >= 0 (1/sd^2 of a Gaussian prior).

    Returns
    -------
    float
        inf if the mode grows.
    """
    # state: u_k, e_(k-1)/a = u_(k-1), f_k/a
    held = np.array([NEWEST, OLDER, HELD])
    moves = np.zeros((3, 3))
    moves[0] = -y / 2 * (held + np.array([0.0, 0.0, 1.0]))
    moves[0, 0] += 1 - own / 2
    moves[0] /= 1 + own / 2
    moves[1, 0], moves[2] = 1.0, held
    if np.max(np.abs(np.linalg.eigvals(moves))) >= 1:
        return float("inf")
    noise = np.diag([2 / (1 + own / 2) ** 2, 0.0, 0.0])
    return float((y + own) * solve_discrete_lyapunov(moves, noise)[0, 0])


def gaussian_covariance(model: SparseCodingModel, sd: float, step: float, temperature: float = 1.0) -> Array:
    """Return the covariance of u that a broken loop samples under a Gaussian prior, shape (n_latents, n_latents).

    Exact: every mode has its own `variance_factor`; the mean is that of the posterior.

    Parameters
    ----------
    model : SparseCodingModel
    sd : float
        The prior's standard deviation.
    step : float
        In units of tau.
    temperature : float
    """
    rates, modes = np.linalg.eigh(model.gram)
    own = 1 / sd**2
    factors = [variance_factor(max(0.0, float(rate)) * step, own * step) for rate in rates]
    return np.asarray((modes * (temperature * np.array(factors) / (np.maximum(rates, 0.0) + own))) @ modes.T)


def check_loop(loop: str, level: str, dynamics: Dynamics, rows: int) -> None:
    """Raise InputError unless this loop can be broken; ``rows`` is how many inputs follow each other."""
    if loop not in LOOPS:
        raise InputError(f"circuit.loop = {loop!r} is not one of {', '.join(LOOPS)}.")
    if loop == "closed":
        return
    kind = dynamics.kind
    for met, needed in (
        (level == "ideal", f'circuit.level = "ideal", and it is "{level}": the lag of real parts is in the loop'),
        (
            kind == "langevin",
            f'dynamics.kind = "langevin", and it is "{kind}": its error is known for overdamped noise alone',
        ),
        (rows <= 1, f"one input, and x has {rows} rows: what jumps at the start of each cannot be extrapolated"),
    ):
        if not met:
            raise InputError(f'circuit.loop = "broken" needs {needed}. Use loop = "closed".')


def broken_step(model: SparseCodingModel, step: float, given: bool) -> tuple[float, str]:
    """Return the step of a circuit with a broken loop, in tau, and a line that says why.

    Parameters
    ----------
    model : SparseCodingModel
    step : float
        What the circuit would have with its loop closed, in units of tau.
    given : bool
        Whether the user asked for it.

    Raises
    ------
    InputError
        If a given step is too long.
    """
    rate = model.rate  # no choice of open gates has a faster loop
    longest = LARGEST / rate
    if given and step > longest * (1 + 1e-9):
        raise InputError(
            f'run.step = {step!r} tau is too long for circuit.loop = "broken": its fastest mode, {rate:.4g} / tau, makes a h = '
            f'{rate * step:.3g}, and the limit is {LARGEST:g}. Give step <= {longest:.3g}, or use loop = "closed".'
        )
    shorter = min(step, longest)
    y, own = rate * shorter, shorter * model.prior.curvature
    line = (
        f"loop broken: step {shorter:.4g} tau, a h = {y:.3g} (limit {LARGEST:g}) for its fastest mode, {rate:.4g} / tau; a "
        f"linear mode's variance is too large by at most {variance_factor(y, own) - 1:.2%}"
    )
    return shorter, line
