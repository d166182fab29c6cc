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


@dataclass(frozen=True, eq=False)
class Errors:
    """All judged statistics of a run in units of 1 or `scale`: differences, and errors upwards and downwards, each (n_judged,).

    Attributes
    ----------
    d, z : array
        Circuit minus exact, and its z.
    own : array
        The errors of correct runs, the larger of both sides; ``reference`` those of the reference, ``wide`` both.
    c : float
        What the largest abs(z) of a share alpha of the replicates exceeds.
    largest : array, shape (n,)
        The largest abs(z) of each replicate.
    """

    null: Null
    scale: float
    slowdown: float
    alpha: float
    unit: Array
    circuit: Array
    exact: Array
    d: Array
    z: Array
    own: Array
    reference: Array
    wide: Array
    side: Array
    c: float
    largest: Array
    place: dict[str, int]

    @classmethod
    def of(
        cls,
        circuit: Array,
        exact: Array,
        reference: Array,
        null: Null,
        *,
        scale: float,
        slowdown: float = 1.0,
        alpha: float = ALPHA,
    ) -> Errors:
        """Compare judged statistics, as `Judged.select` orders them, with the exact ones and these ones' errors."""
        unit = null.judged.units(scale)
        reference, d, deviations = reference / unit, (circuit - exact) / unit, null.deviations(exact) / unit
        up, down = sides(deviations)
        off = reference * np.random.default_rng(1).standard_normal(deviations.shape)  # as far as the reference may be
        largest = largest_z(deviations + off, np.hypot(up, reference), np.hypot(down, reference))
        c = float(np.quantile(largest, 1 - alpha, method="higher"))
        up, down = (math.sqrt(slowdown) * side for side in (up, down))
        own, side = np.maximum(up, down), np.where(d > 0, np.hypot(up, reference), np.hypot(down, reference))
        return cls(
            null, scale, slowdown, alpha, unit, circuit, exact, d, d / side, own, reference, np.hypot(own, reference), side, c,
            largest, {name: i for i, name in enumerate(null.judged.names)},
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """What messages call the statistics."""
        return list(self.place)

    def excess(self, allowance: float = ALLOWANCE) -> Array:
        """Return how far each statistic is beyond the allowance, in errors: a correct run's largest is seldom above c."""
        return (np.abs(self.d) - allowance) / self.side

    def p_value(self, allowance: float) -> float:
        """Return the share of correct runs whose largest abs(z) is as large as that beyond the allowance."""
        found = float(self.excess(allowance).max())
        return float((1 + np.sum(self.largest >= found)) / (1 + len(self.largest)))

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
        return (
            f"{self.names[i]} is {self.circuit[i]:.4g}, exact {self.exact[i]:.4g}, with a standard error of {error:.2g}"
        )

    def notes(self, exact: PosteriorStatistics, allowance: float) -> tuple[str, ...]:
        """Say which modes correct runs of this length hardly visit."""
        notes = []
        means = [self.place.get(f"mean of latent {k}") for k in range(exact.n_latents)]
        visits = [
            math.inf if i is None else (sd / (self.own[i] * self.scale)) ** 2
            for i, sd in zip(means, exact.sd, strict=True)
        ]
        worst = int(np.argmin(visits))
        if visits[worst] < FEW_VISITS and self.own[self.place[f"sd of latent {worst}"]] > allowance:
            notes.append(
                f"a far mode is hardly visited: latent {worst} has about {max(visits[worst], 1):.0f} independent samples in a "
                f"correct run of this length, whose sd of s is off by {self.own[self.place[f'sd of latent {worst}']]:.2g}"
            )
        states = [("active", exact.p_active, self.null.never[0])]
        if exact.p_negative is not None:
            states.append(("negative", exact.p_negative, self.null.never[1]))
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
        if not self.null.scaled and self.null.length < WHOLE * self.null.target:
            notes.append(
                f"correct runs were replicated over {self.null.length:.4g} of {self.null.target:.4g} tau only, in which they "
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
        c = float(np.quantile(largest_z(d, up, down), 1 - self.alpha, method="higher"))
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
