"""Where learning starts: random weights, and how many of them."""

from __future__ import annotations

import math

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, check_positive

MOST_LATENTS = 100_000


def random_weights(
    n_features: int, n_latents: int, seed: int, *, signed: bool = False, scale: float | None = None
) -> Array:
    """Return independent random weights, shape (n_features, n_latents), in data units per model unit.

    Parameters
    ----------
    n_features, n_latents : int
        D and K; >= 1.
    seed : int
        Seed >= 0.
    signed : bool
        Normal with standard deviation ``scale``, or (default, for nonnegative codes of inputs such as bars) its absolute value.
    scale : float, optional
        Their size; > 0. By default 0.9/sqrt(n_features), so that atoms start with norms of about 0.9, whatever their
        length (it is 0.3 for images of 3 x 3). Much longer ones need a much smaller step: nonnegative weights are all
        nearly parallel, and the fastest rate is about K D scale^2 / sigma^2.

    Raises
    ------
    InputError
        If a count or the scale is out of range.
    """
    for name, value, least in (("n_features", n_features, 1), ("n_latents", n_latents, 1), ("seed", seed, 0)):
        check_count(f"random_weights: {name}", value, least)
    size = 0.9 / math.sqrt(n_features) if scale is None else scale
    check_positive("random_weights", "scale", size, "weights that are all zero would never learn")
    weights = size * np.random.default_rng([seed, 2]).standard_normal((n_features, n_latents))
    return weights if signed else np.abs(weights)


def overcomplete(n_features: int, factor: float, of: str = "features") -> int:
    """Return K = factor D: the number of latents of an (over)completeness (Fang et al. 2022, section 4.2).

    Parameters
    ----------
    n_features : int
        D.
    factor : float
        Overcompleteness Omega; > 0. Six digits are enough: 0.666667 is 2/3.
    of : str
        What is counted, for messages.

    Raises
    ------
    InputError
        If factor D is no whole number >= 1.

    Notes
    -----
    For bars count from the number of bars instead: an n x n image has D = n^2 pixels, but 2 n bars.
    """
    check_positive("overcomplete", "factor", factor, "a dictionary needs atoms")
    n_latents = factor * n_features
    if n_latents > MOST_LATENTS:
        raise InputError(
            f"overcomplete: {factor!r} x {n_features} {of} is {n_latents:g} latents, and at most {MOST_LATENTS:,} can be "
            "learned. Give a smaller factor."
        )
    whole = max(1, round(n_latents))
    near = f"{whole / n_features:g}"
    if f"{factor:g}" != near:
        raise InputError(
            f"overcomplete: {factor!r} x {n_features} {of} is {n_latents:g} latents, no whole number. "
            f"Give a factor such as {near}."
        )
    return whole
