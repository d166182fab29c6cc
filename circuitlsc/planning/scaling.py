r"""Model units <-> volts, amperes, seconds: the one object through which every number of a deck passes.

A unit of u and s is ``volt`` volts; a unit of drift is the current that moves u by one unit in one tau,

.. math:: I_{drift} = C_{int} \, volt / \tau

The residual r and the gradient e have voltage scales of their own, so that neither meets the rails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_positive
from circuitlsc.io.shown import Shown
from circuitlsc.model.sparse_coding import SparseCodingModel

BOLTZMANN = 1.380649e-23
ROOM = 300.0  # kelvin: a resistor's own noise is quoted at it, and noise amplifiers are designed for it
LEAST_SLAB = 1e-4  # volts: a prior whose scale is smaller would drown in offsets
FLATTEST = 1e-12  # times the largest rate: a posterior that is flatter in some direction is not resolved by doubles
LONGEST_TAU = 1e6  # seconds: beyond, ngspice rejects steps that are exact, more of them the longer they are
LEAST_VOLT = 1e-15  # volts per unit: below, ngspice's tables underflow, and it crashes
HEADROOM = 0.8  # share of the rails that the expected extremes may use


@dataclass(frozen=True, kw_only=True)
class Scaling(Shown):
    """The scale of every quantity in the circuit; all SI.

    Parameters
    ----------
    volt : float
        Volts per model unit of u and s.
    volt_r, volt_e : float
        Volts per unit of the residual r = A s - x and of the gradient e = A^T r / sigma^2.
    c_int : float
        Integrating capacitor, farad.
    tau : float
        Time constant of the dynamics, seconds.
    r_node : float
        Resistor from each summing node to ground, ohm; a crossbar's conductances are multiples of 1/r_node.
    rails : float
        The supply is -rails .. +rails volts.
    volt_w : float or None
        Volts per unit of a memory's weights W; None is ``volt``.

    Examples
    --------
    >>> Scaling(volt=0.1, volt_r=0.1, volt_e=0.1, c_int=1e-12, tau=1e-6)
    Scaling(volt=0.1, volt_r=0.1, volt_e=0.1, c_int=1e-12, tau=1e-06, r_node=1e+06, rails=2.5)
    """

    volt: float = 0.1
    volt_r: float = 0.1
    volt_e: float = 0.1
    c_int: float = 1e-12
    tau: float = 1e-6
    r_node: float = 1e6
    rails: float = 2.5
    volt_w: float | None = None

    def _line(self) -> str:
        return ", ".join(f"{name}={value:.6g}" for name, value in self.attributes().items())

    def _facts(self) -> Iterator[tuple[str, str]]:
        units = {
            "volt": "V per unit of u and s",
            "volt_r": "V per unit of r",
            "volt_e": "V per unit of e",
            "c_int": "F",
        }
        units |= {"tau": "s", "r_node": "ohm", "rails": "V", "volt_w": "V per unit of W"}
        for name, value in self.attributes().items():
            yield name, f"{value:.6g} {units[name]}"

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "volt_w" and value is None:
                continue
            if not is_positive(value):
                raise InputError(f"{name} = {value!r}, but a scale must be a finite number > 0 (SI units).")
            if name == "tau" and value > LONGEST_TAU:
                raise InputError(
                    f"tau = {value!r} s is longer than ngspice's transients hold their step ({LONGEST_TAU:g} s). Give "
                    "a smaller tau: every time is in units of it."
                )
            if name == "volt" and value < LEAST_VOLT:
                raise InputError(
                    f"volt = {value!r} V per unit is below what ngspice holds, {LEAST_VOLT:g} V. Give a larger one."
                )
            object.__setattr__(self, name, float(value))  # NumPy's would be written into decks as np.float64(...)

    @property
    def drift_current(self) -> float:
        """Amperes per unit of drift."""
        return self.c_int * self.volt / self.tau

    def volts(self, quantity: str) -> float:
        """Return volts per unit of a cell's quantity, ``"u"``, ``"s"``, ``"r"``, ``"e"``, or the negative of one, ``"ns"``.

        Further vectors of states are of quantity ``"u"``, whatever their letter.
        """
        own = {**dict.fromkeys(("e", "f", "q", "d"), self.volt_e), "r": self.volt_r, "w": self.volt_w or self.volt}
        return own.get(quantity.removeprefix("n"), self.volt)

    @property
    def leak(self) -> float:
        """Resistor that gives each integrator its DC path to ground, ohm: a leak of 1e-9 per tau."""
        return 1e9 * self.tau / self.c_int

    def noise_amperes(self, step: float, temperature: float = 1.0) -> float:
        """Return the rms of held white noise with sample interval ``step`` (in tau): sqrt(2T/step) drift units."""
        return math.sqrt(2 * temperature / step) * self.drift_current

    @property
    def noise_lift(self) -> float:
        """Power gain from the thermal noise of the resistor tau/c_int at 300 K to the model's noise at T = 1."""
        return self.c_int * self.volt**2 / (BOLTZMANN * ROOM)

    def attributes(self) -> dict[str, float]:
        """Return the scales by name, for a file's attributes; that of a memory where there is one."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Ranges:
    """How large each quantity may become, in model units (an estimate from above, not a bound); w of a memory, or 0."""

    u: float
    r: float
    e: float
    w: float = 0.0


def expected_ranges(model: SparseCodingModel, x: Array) -> Ranges:
    """Estimate the largest u, r and e that a run meets, from the data and from the prior's tail (1 in 2e4).

    ``x`` may be one observation (n_features,) or many (n_rows, n_features): then the largest of any.
    """
    if x.ndim == 2:
        rows = x[sorted({int(np.argmax(np.abs(x @ model.A).max(axis=1))), int(np.argmax(np.abs(x).max(axis=1)))})]
        found = [expected_ranges(model, row) for row in rows]
        return Ranges(u=max(f.u for f in found), r=max(f.r for f in found), e=max(f.e for f in found))
    powers, prior = model.powers, model.prior
    if prior.linear:
        precision = model.gram + np.eye(model.n_latents) * prior.stiffness
        rates = np.linalg.eigvalsh(precision)
        if not rates[0] > FLATTEST * rates[-1]:
            raise InputError(
                "the posterior is more than a million times wider in one direction than in another: where A says nothing there "
                f"is only the prior, and sd = {prior.slab_scale:g} is too wide beside sigma = {model.sigma:g}. Give a smaller "
                "sd."
            )
        cov = np.linalg.inv(precision)
        mean = cov @ model.drive(x)
        u = float(np.max(np.abs(mean) + 6 * np.sqrt(np.diag(cov))))
    else:
        # a coefficient is what the data ask for where they say something, and else what the prior's tail allows
        fitted = float(np.max(np.abs(model.A.T @ x) / powers + 5 * model.sigma / np.sqrt(powers)))
        u = prior.threshold + max(fitted, prior.largest(lambda tail: _allowed(model, tail, x)))
    r = float(np.max(np.abs(x))) + 6 * model.sigma
    # at a fit r is noise of size sigma; before it, r = -x
    e = float(np.max(np.abs(model.A.T @ x)) + 6 * model.sigma * np.sqrt(powers.max())) / model.variance
    return Ranges(u=u, r=r, e=e)


def _allowed(model: SparseCodingModel, tail: float, x: Array) -> float:
    """Return what the data allow: five standard deviations of the posterior under a Gaussian prior as wide as a tail."""
    rates, axes = np.linalg.eigh(model.gram)  # not its inverse: where the data say nothing only 1/tail^2 is left
    cov = (axes / (np.maximum(rates, 0.0) + 1 / tail**2)) @ axes.T
    return float(np.max(np.abs(cov @ model.drive(x)) + 5 * np.sqrt(np.diag(cov))))


def scale_for(
    model: SparseCodingModel,
    x: Array,
    *,
    volt: float | None = None,
    c_int: float = 1e-12,
    tau: float = 1e-6,
    rails: float = 2.5,
    ranges: Ranges | None = None,
) -> Scaling:
    """Choose the voltage scales of a model so that no signal meets the rails.

    Parameters
    ----------
    volt : float or None
        Volts per model unit; None takes 0.1 V, or less if the rails ask for it.
    c_int, tau, rails : float
        Farad, seconds, volts.
    ranges : Ranges or None
        How large u, r and e become; None estimates it for a sampler.

    Raises
    ------
    InputError
        If ``volt`` is given and u would need more than the rails, or the prior's tail is so heavy that nothing fits.
    """
    base = Scaling(c_int=c_int, tau=tau, rails=rails, volt=0.1 if volt is None else volt)
    ranges = ranges or expected_ranges(model, x)
    room = HEADROOM * rails
    fits = room / ranges.u
    if fits * model.prior.slab_scale < LEAST_SLAB:
        raise InputError(
            f"the prior {model.prior!r} lets u reach {ranges.u:.3g} units, where the data do not hold it: on rails "
            f"of +-{rails:g} V its scale, {model.prior.slab_scale:.3g} units, would be "
            f"{fits * model.prior.slab_scale:.2g} V, below what a comparator tells apart ({LEAST_SLAB:g} V). Give a prior "
            "with a lighter tail (a larger lam), or higher rails."
        )
    if not (is_positive(fits) and is_positive(room / ranges.e) and fits >= LEAST_VOLT):
        raise InputError(
            f"u would reach {ranges.u:.3g} units and e {ranges.e:.3g}, which no voltages on rails of +-{rails:g} V hold "
            f"(sigma = {model.sigma:g}, {model.prior!r}). Measure x, A and sigma in another unit, or give a prior of x's size."
        )
    if volt is None:
        volt = min(0.1, fits)
    elif volt > fits:
        raise InputError(
            f"circuit.volt = {volt!r} V per unit puts u (up to {ranges.u:.3g} units) at {volt * ranges.u:.3g} V, but the "
            f"rails are +-{rails:g} V and {HEADROOM:.0%} of them can be used. "
            f"Give volt <= {_round(fits, math.floor):g}, or rails >= {_round(volt * ranges.u / HEADROOM, math.ceil):g}."
        )
    volt_w = min(volt, room / ranges.w) if ranges.w > 0 else None
    return replace(base, volt=volt, volt_r=min(0.1, room / ranges.r), volt_e=min(0.1, room / ranges.e), volt_w=volt_w)


def _round(value: float, direction: Callable[[float], int]) -> float:
    """Return three digits, rounded to the side on which the advice still holds."""
    digits = 2 - math.floor(math.log10(value))
    return float(direction(value * 10.0**digits) / 10.0**digits)
