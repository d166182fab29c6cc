r"""What noise of each weight at temperature T/N costs where inputs come in turn: the variance of a state over a visit.

.. math:: \frac{\mathrm{var}\,u(t)}{T/a} = \frac1N + \Big(1 - \frac1N\Big)\,\frac{2y\,e^{-2at}}{1 - e^{-2y}}, \qquad
          y = a\,\mathrm{hold}, \qquad 0 \le t \le \mathrm{hold}

of a mode of rate a whose input is one of N that are held in turn, for orthonormal features and linear forces: exact. While the
input is away its state spreads without a force, and the visit pulls it back: too wide at the start, by about (1 - 1/N) y, too
narrow at the end. The average over a visit is T/a at every hold, so that no average of squares over whole visits sees it.
Not in the paper (Taniguchi et al. 2022 move all weights by all inputs at once).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.io.arrays import Array, check_count, check_number, check_positive


def weight_noise_profile(rate: float, hold: float, n: int, at: ArrayLike = 0.0) -> Array:
    """Return the variance of a mode under weight noise over the right one, at a share of its input's visit.

    Parameters
    ----------
    rate : float
        Of the mode, in 1/tau; > 0. For features that are not orthonormal, times v_n . phi_n: then this is an estimate.
    hold : float
        How long each input is on, in tau; > 0.
    n : int
        Inputs of the set.
    at : array
        Shares of the visit, 0 (its start, where it is worst) to 1.

    Returns
    -------
    array, shape of ``at``
        1 where noise is right; ``weight_noise_profile(rate, hold, n) - 1`` is the excess to warn of.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    for name, value in (("rate", rate), ("hold", hold)):
        check_positive("weight_noise_profile", name, value, "it must be positive")
    check_count("weight_noise_profile: n", n, 1)
    shares = np.asarray(at, dtype=float)
    for value in shares.ravel():
        check_number("weight_noise_profile", "at", value, "it is a share of a visit", high=1.0, above=False)
    y = rate * hold
    return np.asarray(1 / n + (1 - 1 / n) * 2 * y * np.exp(-2 * y * shares) / -np.expm1(-2 * y))
