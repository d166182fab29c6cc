r"""Comparator width and time step: how they follow from the model, and when a given one is refused.

The slab's size at temperature T, :math:`\ell = T/\lambda`, is the unit of length, and :math:`\ell^2/T` (in tau), the time to
diffuse over it, the unit of time; at lam = T = 1 both are 1.

Width.  A comparator of input width w rounds the corners of the energy. It stays out of the posterior's way if w is small
against the slab and against the likelihood's own width: :math:`w = \min(0.05\,\ell,\; 0.1\,\sigma\sqrt{T}/|a|_{max})`,
and half as wide with the hyperbolic pair, whose bias is then that of the logistic one (docs/method.md has both).

Step.  The trapezoid keeps linear covariances exact at every step, but a comparator with gradient e at its gate makes the
implicit step ambiguous once :math:`h |e| g'_{max} / 2 > 1`, where the gate's steepest slope is 1/(4w) at a threshold:
:math:`h = \min(0.05\,\ell^2/T,\; 1.5 / (g'_{max} e_{max}),\; 2.5/a)` with
:math:`e_{max} = \max(\max_i |A^T x|_i/\sigma^2,\; 3 |a| \sqrt{T}/\sigma)` and a the fastest mode.

A smooth cost C has for :math:`\ell` the distance over which C/T rises by 1, and bends by itself: its largest |c''|, rounded
corner at 0 included, is added to :math:`g'_{max} e_{max}`, and its curvature away from that corner to the fastest mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_positive
from circuitlsc.io.shown import Shown, counted
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel

LARGEST_STEP = 0.05  # in units of the slab's diffusion time
RESOLVED = 1e-14  # of threshold and slab: a narrower comparator is lost in double precision
LARGEST_WIDTH = 0.05  # in units of the slab
NARROWEST = 0.1  # sigma/|a| down to which random dictionaries were compared with the exact posterior
UNIQUE = 1.5  # h x gradient x steepest slope of the gate; above 2 an implicit step can have several solutions
RINGING = 4.0  # a h beyond which the fastest mode changes sign from step to step for longer than it lives


@dataclass(frozen=True)
class StepPlan(Shown):
    """Width and step of a run, and how they came about.

    Attributes
    ----------
    width : float
        Comparator width, in model units.
    step : float
        Noise and time step, in units of tau.
    fastest_mode : float
        Largest rate of the dynamics, in 1/tau.
    time_scale : float
        Time to diffuse over the slab, in tau: how often samples are worth keeping.
    explanation, warnings : tuple of str
        Lines for the report.
    smoothing : Smoothing
        What comparators of that width make of a corner.
    """

    width: float
    step: float
    fastest_mode: float
    time_scale: float
    explanation: tuple[str, ...]
    warnings: tuple[str, ...]
    smoothing: Smoothing = LOGISTIC

    def _line(self) -> str:
        numbers = {
            "width": self.width,
            "step": self.step,
            "fastest_mode": self.fastest_mode,
            "time_scale": self.time_scale,
        }
        said = ", ".join(f"{name}={value:.6g}" for name, value in numbers.items())
        return said + (f", {counted(len(self.warnings), 'warning')}" if self.warnings else "")

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "width", f"{self.width:.6g} model units{self.smoothing.said}"
        yield "step", f"{self.step:.6g} tau"
        yield "fastest mode", f"{self.fastest_mode:.6g} / tau"
        yield "time scale", f"{self.time_scale:.6g} tau"
        yield "why", "\n".join(self.explanation)
        for warning in self.warnings:
            yield "WARNING", warning


def fastest_mode(model: SparseCodingModel, temperature: float = 1.0) -> float:
    """Return the largest rate: that of A^T A / sigma^2 plus the prior's, lam^2/T, 1/sd^2 or max abs(C''), in 1/tau."""
    return model.rate + model.prior.rate_at(temperature)


def plan_step(
    model: SparseCodingModel,
    x: Array,
    *,
    width: float | None = None,
    step: float | None = None,
    temperature: float = 1.0,
    smoothing: Smoothing = LOGISTIC,
) -> StepPlan:
    """Choose or check the comparator width and the step.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,)
    width : float or None
        Comparator width in model units; None chooses it.
    step : float or None
        Step in units of tau; None chooses it.
    temperature : float
        T in exp(-E/T).
    smoothing : Smoothing
        What comparators make of a corner.

    Raises
    ------
    InputError
        If a given width or step cannot be used.
    """
    linear = model.prior.linear
    rate = fastest_mode(model, temperature)
    slab = model.prior.slab_at(temperature)
    time_scale = slab**2 / temperature
    ratio = model.sigma * math.sqrt(temperature / model.powers.max())
    lines = [f"fastest mode: {rate:.4g} / tau, from A^T A / sigma^2 and the prior ({model.prior.rate_formula})"]
    warnings = []

    best_width = smoothing.share * min(LARGEST_WIDTH * slab, 0.1 * ratio)
    if width is not None:
        check_given("circuit.width", width, "a comparator has a finite width, in model units")
    if not linear and (best_width if width is None else width) < RESOLVED * (model.prior.threshold + slab):
        given = f"sigma/|a| = {ratio:.3g}" if width is None else f"circuit.width = {width!r}"
        raise InputError(
            f"{given} is lost beside the threshold and the slab ({model.prior.threshold + slab:.3g} units) in doubles. "
            "Give a larger one, or a prior of the size that x has."
        )
    if width is None:
        width = best_width
        lines.append(
            f"width {width:.4g} = {'' if smoothing.share == 1 else f'{smoothing.share:g} '}min({LARGEST_WIDTH:g} slab = "
            f"{LARGEST_WIDTH * slab:.4g}, 0.1 sigma/|a|_max = {0.1 * ratio:.4g}){smoothing.said}"
        )
    else:
        if not linear and width > ratio:
            raise InputError(
                f"circuit.width = {width!r}, but the likelihood is only sigma/|a| = {ratio:.3g} wide: a comparator that "
                f"coarse samples another posterior. Give width <= {best_width:.3g}, or leave it out."
            )
        lines.append(f"width {width:.4g} as given (the rule would give {best_width:.4g}){smoothing.said}")
        if not linear and width > 2 * best_width:
            warnings.append(f"width = {width:.3g} is above {2 * best_width:.3g}: expect a bias from rounded corners.")

    # the gradient at the gate: before a fit it is the drive, at a fit it is noise of size |a|/sigma
    drive = max(float(np.max(np.abs(model.drive(x)))), 3 * temperature / ratio)
    slope = _steepest_gate(model, width, smoothing)
    bend = 0.0 if linear else model.prior.steepest(width, smoothing)
    steepest = slope * drive + bend
    unique = UNIQUE / steepest if steepest > 0 else math.inf
    named, value = ("steepest force", steepest) if bend > 0 else ("steepest gate x e_max", drive)
    # a linear circuit is exact at every step; all that is asked is that its ringing, of length rate h^2/4, dies within
    # 4 tau (1 tau if the step is ours to choose)
    largest = LARGEST_STEP if linear else LARGEST_STEP * time_scale
    limit = min(0.5, 4 / math.sqrt(rate)) if linear else min(10 * largest, RINGING / rate)
    best_step = min(largest, 1.9 / math.sqrt(rate) if linear else min(unique, 2.5 / rate))
    rules = (
        f"1.9/sqrt(fastest mode) = {1.9 / math.sqrt(rate):.4g}"
        if linear
        else f"{UNIQUE:g}/({named} = {value:.4g}) = {unique:.4g}, 2.5/fastest mode = {2.5 / rate:.4g}"
    )
    step, line = choose_step(step, best_step, limit, f"mode, {rate:.4g}", f"min({largest:.4g}, {rules})")
    lines.append(line)
    if step > 2 / UNIQUE * unique:
        warnings.append(
            f"step = {step:.3g} tau is above 2/({named}) = {2 / UNIQUE * unique:.3g}: "
            "the implicit step may have several solutions, and the samples a bias."
        )
    if not linear and ratio < NARROWEST:
        warnings.append(
            f"sigma/|a|_max = {ratio:.3g} is below {NARROWEST:g}, the narrowest likelihood that was checked: the step is "
            "short, modes are far apart, and the chains may not mix in the time given. Look at R-hat and ess_min."
        )
    return StepPlan(float(width), float(step), rate, time_scale, tuple(lines), tuple(warnings), smoothing)


def _steepest_gate(model: SparseCodingModel, width: float, smoothing: Smoothing) -> float:
    """Return the largest slope of the comparator's gate: 1/(4w) at a threshold, up to 1/w at u = 0; 0 if linear."""
    u = np.linspace(-4, 4, 801) * width
    grids = (u, u + model.prior.threshold)
    return max(float(np.max(np.abs(np.gradient(model.prior.latent_grad(v, width, smoothing), v)))) for v in grids)


def choose_step(given: float | None, best: float, limit: float, fastest: str, rule: str) -> tuple[float, str]:
    """Return the step, in tau, and a line that says why: what a rule finds best, or what is given up to a limit.

    Raises
    ------
    InputError
        If a given step is no time, or too long for what is fastest (1/tau).
    """
    if given is None:
        return best, f"step {best:.4g} tau = {rule}"
    check_given("run.step", given, "time goes forward")
    if given > limit:
        raise InputError(
            f"run.step = {given!r} tau is too large for the fastest {fastest} / tau: the limit is {limit:.3g} tau. "
            f'Give step <= {best:.3g}, or step = "auto".'
        )
    return float(given), f"step {given:.4g} tau as given (the rule would give {best:.4g})"


def check_given(name: str, value: float, why: str) -> None:
    """Raise InputError unless a width or a step that is given is a finite number > 0."""
    if not is_positive(value):
        raise InputError(f"{name} = {value!r}, but {why}. Give a finite number > 0.")
