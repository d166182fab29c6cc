"""The errors of a run beside those that correct runs of the same kind make: differences, limits, and what a longer run has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.planning.run_plan import ALLOWANCE
from circuitlsc.reference.statistics import PosteriorStatistics
from circuitlsc.validation.null import WHOLE, Null

ALPHA = 0.01  # of correct runs that have a larger abs(z) than c
#: Independent samples of a latent, in correct runs, below which a mode of it counts as hardly visited.
FEW_VISITS = 50.0
#: From here on a run is said to mix more slowly than its replicates.
SLOW = 1.5
# A standard error below this (times the unit) counts as this: z stays finite where both errors are 0, and next to 0
# for numbers that differ by the rounding of an exact calculation.
RESOLUTION = 1e-6
_SURE = 0.99  # share of correct runs of the length that would do that agree
REFERENCE_SHARE = 0.25  # error of the reference over that of the run,
FINEST = 0.05  # or over the tolerance: no better than that, however long the run


@dataclass(frozen=True)
class Entry:
    """One statistic: circuit, software SDE (the replicates) and exact value, with z = (circuit - exact) / error.

    ``mcse`` is the standard error of correct runs like this one, ``z`` takes the error upwards or downwards.
    """

    circuit: float
    sde: float | None
    exact: float
    mcse: float
    mcse_sde: float | None
    mcse_exact: float
    z: float
    z_sde: float | None


class Excess:
    """Differences beside the errors that correct runs make, upwards and downwards, all in one unit; each (n_judged,).

    Attributes
    ----------
    d, z : array
        Circuit minus exact, and its z.
    side : array
        Its error on the side where it is, that of the reference included.
    own : array
        The errors of correct runs, the larger of both sides; ``reference`` those of the reference, ``wide`` both.
    c : float
        What the largest abs(z) of a share alpha of the replicates exceeds, times ``widened``: for one of several inputs.
    largest : array, shape (n,)
        The largest abs(z) of each replicate.
    """

    def __init__(
        self,
        d: Array,
        deviations: Array,
        reference: Array,
        *,
        slowdown: float = 1.0,
        alpha: float = ALPHA,
        widened: float = 1.0,
    ) -> None:
        self.d, self.reference, self.alpha, self.widened = d, reference, alpha, widened
        up, down = sides(deviations)
        off = reference * np.random.default_rng(1).standard_normal(deviations.shape)  # as far as the reference may be
        self.largest = largest_z(deviations + off, np.hypot(up, reference), np.hypot(down, reference))
        self.c = self._limit(self.largest)
        up, down = (math.sqrt(slowdown) * side for side in (up, down))
        self.own, self.side = np.maximum(up, down), np.hypot(np.where(d > 0, up, down), reference)
        self.wide, self.z = np.hypot(self.own, reference), d / self.side

    def _limit(self, largest: Array) -> float:
        """Return the limit on abs(z) that replicates with these largest ones set."""
        return self.widened * float(np.quantile(largest, 1 - self.alpha, method="higher"))

    def excess(self, allowance: float = ALLOWANCE) -> Array:
        """Return how far each statistic is beyond the allowance, in errors: a correct run's largest is seldom above c."""
        return (np.abs(self.d) - allowance) / self.side

    def p_value(self, allowance: float = ALLOWANCE) -> float:
        """Return the share of correct runs whose largest abs(z) is as large as that beyond the allowance."""
        found = float(self.excess(allowance).max())
        return float((1 + np.sum(self.largest >= found)) / (1 + len(self.largest)))


class Errors(Excess):
    """All judged statistics of a run, in units of 1 or `scale`.

    Parameters
    ----------
    circuit, exact, reference : array, shape (n_judged,)
        The run's, the exact ones, and the errors of these, in their own units, as `Judged.select` orders them.
    null : Null
        Replicates of runs like this one.
    scale : float
        Unit of mean and sd, in model units.
    slowdown : float
        How many times more slowly the run mixes than its replicates.
    alpha, widened : float
        As for `Excess`.
    """

    def __init__(
        self,
        circuit: Array,
        exact: Array,
        reference: Array,
        null: Null,
        *,
        scale: float,
        slowdown: float = 1.0,
        alpha: float = ALPHA,
        widened: float = 1.0,
    ) -> None:
        self.circuit, self.exact, self.null, self.scale, self.slowdown = circuit, exact, null, scale, slowdown
        self.unit, self.names = null.judged.units(scale), null.judged.names  # what messages call the statistics
        d, deviations, reference = (v / self.unit for v in (circuit - exact, null.deviations(exact), reference))
        super().__init__(d, deviations, reference, slowdown=slowdown, alpha=alpha, widened=widened)

    def entry(self, i: int) -> Entry:
        """Return a statistic with its errors, in its own unit."""
        unit, null = float(self.unit[i]), self.null
        mean, se = float(null.mean[i]), float(null.mean_se[i])
        error = math.hypot(se, float(self.reference[i]) * unit)
        return Entry(
            float(self.circuit[i]), mean, float(self.exact[i]), float(self.own[i]) * unit, se,
            float(self.reference[i]) * unit, float(self.z[i]),
            (mean - float(self.exact[i])) / max(error, RESOLUTION * unit),
        )  # fmt: skip

    def told(self, i: int) -> str:
        """Say what a statistic is, and what it should be."""
        error = float(self.side[i] * self.unit[i])
        value = f"{self.circuit[i]:.4g}, exact {self.exact[i]:.4g}"
        return f"{self.names[i]} is {value}, with a standard error of {error:.2g}"

    def notes(self, exact: PosteriorStatistics, allowance: float) -> tuple[str, ...]:
        """Say which modes correct runs of this length hardly visit."""
        notes, null = [], self.null
        if not null.judged.quantiles:
            mean, sd = (self.own[place] for place in null.judged.moments)
            visits = (exact.sd / (mean * self.scale)) ** 2
            worst = int(np.argmin(visits))
            if visits[worst] < FEW_VISITS and sd[worst] > allowance:
                notes.append(
                    f"a far mode is hardly visited: latent {worst} has about {max(visits[worst], 1):.0f} independent samples "
                    f"in a correct run of this length, whose sd of s is off by {sd[worst]:.2g}"
                )
        states = [("active", exact.p_active, null.never[0])]
        if exact.p_negative is not None:
            states.append(("negative", exact.p_negative, null.never[1]))
        for state, mass, never in states:
            for k in np.flatnonzero((mass > allowance) & (never > 0.05)):
                notes.append(
                    f"latent {k} is {state} with probability {mass[k]:.2g}, and {never[k]:.0%} of correct runs of this length "
                    "never see it so"
                )
        if self.slowdown > SLOW:
            notes.append(
                f"the run mixes {self.slowdown:.2g} times more slowly than the ideal SDE; its errors are so much larger"
            )
        if not null.scaled and null.length < WHOLE * null.target:
            notes.append(
                f"correct runs were replicated over {null.length:.4g} of {null.target:.4g} tau only, in which they "
                "do not forget their starts: the errors are larger than those of the run"
            )
        return tuple(notes)

    def reference_time(self, seconds: float, tolerance: float, target: float | None = None) -> float:
        """Return how long a reference drawn for so many seconds must be drawn for a run of ``target`` tau (None: this one)."""
        own = self.own if target is None else np.maximum(*sides(self._deviations(target)))
        asked = np.maximum(REFERENCE_SHARE * own, FINEST * tolerance)
        return seconds * max(1.0, float(np.max(self.reference / asked))) ** 2

    def _deviations(self, target: float) -> Array:
        """Return the errors of correct runs of ``target`` tau, in units."""
        return self.null.deviations(self.exact, target) / self.unit * math.sqrt(self.slowdown)

    def reach(self, target: float, allowance: float, tolerance: float = 0.0) -> float:
        """Return the tolerance within which a share 0.99 of correct runs of ``target`` tau are, errors included.

        The circuit's own bias is taken for what its difference exceeds two errors by, at least half the allowance; the
        reference's errors are those that it is drawn to, if it has any.
        """
        d = self._deviations(target)
        up, down = sides(d)
        asked = np.maximum(REFERENCE_SHARE * np.sqrt((up**2 + down**2) / 2), FINEST * tolerance)
        reference = np.where(self.reference > 0, asked, 0.0)
        d = d + reference * np.random.default_rng(2).standard_normal(d.shape)
        up, down = np.hypot(up, reference), np.hypot(down, reference)
        c = self._limit(largest_z(d, up, down))
        bias = np.clip(np.abs(self.d) - 2 * self.side, allowance / 2, allowance)
        within = (np.abs(d) + bias + c * np.maximum(up, down)).max(1)
        return float(np.quantile(within, _SURE, method="higher"))

    def needed(self, allowance: float, tolerance: float) -> float | None:
        """Return the measured time per chain that would do for a tolerance, in tau; None if none below 1e9 times would."""
        low, high = 1.2 * self.null.target, 1e9 * self.null.target
        if self.reach(high, allowance, tolerance) > tolerance:
            return None
        while high > 1.02 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self.reach(middle, allowance, tolerance) <= tolerance else (middle, high)
        return high


def sides(deviations: Array) -> tuple[Array, Array]:
    """Return the errors upwards and downwards of replicates (n_runs, n_judged), each at least half of the rms."""
    rms = np.sqrt(np.mean(deviations**2, axis=0))
    sides = (np.sqrt(2 * np.mean(np.maximum(sign * deviations, 0.0) ** 2, axis=0)) for sign in (1, -1))
    up, down = (np.maximum(np.maximum(side, rms / 2), RESOLUTION) for side in sides)
    return up, down


def largest_z(deviations: Array, up: Array, down: Array) -> Array:
    """Return the largest abs(z) of each replicate."""
    return np.asarray(np.maximum(deviations / up, -deviations / down).max(1))
