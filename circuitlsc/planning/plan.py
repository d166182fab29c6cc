r"""Width, step, mass and scales of each system: what follows from the model, and from what the circuit does with it.

A sampler's come from `planning.stepping`. Momentum lets a circuit of the same bandwidth, m = 1/a with a the fastest rate,
go through slow modes faster; its trapezoid has one solution while :math:`h^2 e g'_{max} / (4 m) < 1`. A circuit that settles
has no noise that could resolve its comparators: they may be narrow, and a thousandth of the code's size is its error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.lca import lca_model
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.planning.scaling import Ranges, expected_ranges
from circuitlsc.planning.stepping import StepPlan, check_given, choose_step, plan_step

MAP_WIDTH = 1e-3  # of a typical coefficient
THRESHOLD_WIDTH = 0.02  # of LCA's threshold
MAP_STEP = 1.0  # over the fastest rate
LARGEST_MAP_STEP = 0.1  # tau
COARSE = 0.1  # of a typical coefficient: a circuit with wider comparators does not find its code
OSCILLATION = 1.5  # h times the fastest angular frequency of a momentum
UNIT = 1e-9  # a norm this close to 1 is 1
SLOW = 1000.0  # tau: a relaxation that long needs a word of warning
FORGETFUL = 2.0  # tau: a step after which the trapezoid has forgotten a noise cell's voltage
LAPLACE_WIDTH = 5e-4  # of the unit of a Laplace draw: a code that is read beyond the threshold loses w log 2 of P mu
SOFT = 0.02  # of that unit: from here on that is percents
COARSEST = 0.2  # of that unit
LARGEST_ENCODED = 1e4  # units: on rails of 2.5 V, one is then 0.2 mV
LARGEST_DRAW = 16.0  # of a Laplace draw: one in nine million is larger
SMOOTH = 0.6  # of the step that has one solution: with little friction nothing damps the error of a corner (measured)


@dataclass(frozen=True)
class Plan:
    """A step plan, the dynamics with nothing left to choose, and how large the signals become.

    Attributes
    ----------
    step : StepPlan
    dynamics : Dynamics
    ranges : Ranges
    """

    step: StepPlan
    dynamics: Dynamics
    ranges: Ranges


def sampling_plan(
    model: SparseCodingModel,
    x: Array,
    dynamics: Dynamics,
    *,
    width: float | None,
    step: float | None,
    smoothing: Smoothing = LOGISTIC,
) -> Plan:
    """Choose or check width and step of an overdamped sampler: those of a typical row, or, of a memory, of the strongest.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
    dynamics : Dynamics
    width, step : float or None
        In model units and tau; None chooses.
    smoothing : Smoothing
        What comparators make of a corner.

    Raises
    ------
    InputError
        If a given width or step cannot be used.
    """
    ranges = expected_ranges(model, x)
    # the rows of a stream pass by once; a memory comes back to each of them
    row, given = _typical(model, x, 1.0 if dynamics.remembers else 0.5), {"width": width, "step": step}
    plan = plan_step(model, row, **given, temperature=dynamics.T, smoothing=smoothing)
    return Plan(plan, dynamics, ranges)


def momentum_plan(
    model: SparseCodingModel,
    x: Array,
    dynamics: Dynamics,
    *,
    width: float | None,
    step: float | None,
    smoothing: Smoothing = LOGISTIC,
) -> Plan:
    """Choose or check width, step, mass and friction of a sampler with momentum; as for `sampling_plan`."""
    overdamped = sampling_plan(model, x, dynamics, width=width, step=None, smoothing=smoothing)
    fastest = overdamped.step.fastest_mode
    if dynamics.mass is None:
        dynamics = replace(dynamics, mass=1 / fastest)
    if dynamics.friction is None:
        rates = np.linalg.eigvalsh(model.gram)
        slowest = fastest - float(rates[-1]) + max(0.0, float(rates[0]))
        dynamics = replace(dynamics, friction=float(np.sqrt(slowest / fastest)))
    return Plan(_with_momentum(overdamped.step, dynamics, step), dynamics, overdamped.ranges)


def check_atoms(model: SparseCodingModel) -> None:
    """Raise InputError if an atom is longer than 1: a latent could rest on the jump of a hard threshold, on no minimum."""
    norms = np.linalg.norm(model.A, axis=0)
    if norms.max() > 1 + UNIT:
        raise InputError(
            f'dynamics.threshold = "hard" needs atoms no longer than 1, and that of latent {norms.argmax()} has norm '
            f"{norms.max():.4g}: a longer one can rest on the threshold's jump, which is no minimum of any cost. Normalise the "
            'dictionary, or use threshold = "soft".'
        )


def _typical(model: SparseCodingModel, x: Array, share: float) -> Array:
    """Return x, or of many the one whose drive is larger than that of a share of them.

    The step follows from the gradient at the gates. Once a latent explains a strong input it is far from its gate, and
    what is left is noise: the strongest input of a thousand would shorten every step for the few that follow its start.
    """
    if x.ndim == 1:
        return x
    drives = np.abs(x @ model.A).max(axis=1)
    return np.asarray(x[np.argsort(drives)[min(int(share * len(x)), len(x) - 1)]])


def _with_momentum(plan: StepPlan, dynamics: Dynamics, step: float | None) -> StepPlan:
    """Return the plan of underdamped dynamics from that of the overdamped circuit."""
    mass, friction = dynamics.mass, dynamics.friction
    assert mass is not None
    assert friction is not None
    frequency = (plan.fastest_mode / mass) ** 0.5
    # h^2/(4 m) takes the place of h/2 in the implicit step
    unique, ringing = SMOOTH * (2 * mass * plan.step) ** 0.5, OSCILLATION / frequency
    best = min(unique, ringing)
    lines = (
        *(line for line in plan.explanation if not line.startswith("step ")),
        f"mass {mass:.4g} tau (1/fastest mode = {1 / plan.fastest_mode:.4g}), friction {friction:.4g}: "
        f"fastest angular frequency {frequency:.4g} / tau",
    )
    warnings = plan.warnings
    relaxation = max(2 * mass / friction, friction * plan.time_scale)
    if relaxation > SLOW:
        warnings += (
            f"mass = {mass:.3g} tau with friction = {friction:.3g} forgets its start within about {relaxation:.3g} tau: "
            "samples that are farther apart than the run is long say nothing. Leave both out, and they are chosen.",
        )
    rule = (
        f"min({SMOOTH:g} sqrt(2 m h) = {unique:.4g} with the overdamped circuit's h = {plan.step:.4g}, "
        f"{OSCILLATION:g}/frequency = {ringing:.4g})"
    )
    step, line = choose_step(step, best, 4 * best, f"oscillation, {frequency:.4g}", rule)
    if step > 1.4 * best:
        warnings += (f"step = {step:.3g} tau is above {best:.3g} by much: the samples may have a bias.",)
    return replace(plan, step=float(step), explanation=(*lines, line), warnings=warnings)


def settling_plan(
    model: SparseCodingModel,
    x: Array,
    *,
    width: float | None,
    step: float | None,
    rate: float,
    theta: float = np.inf,
) -> StepPlan:
    """Choose or check width and step of a circuit without noise; as for `sampling_plan`.

    Parameters
    ----------
    rate : float
        Of its fastest mode, in 1/tau.
    theta : float
        Threshold between codes that are zero and others, if that may be what its comparators must resolve.
    """
    x = _typical(model, x, 0.5)
    size = float(np.max(np.abs(model.A.T @ x) / model.powers))  # of the code that explains x with one latent
    typical = min(model.prior.slab_scale, size) if size > 0 else model.prior.slab_scale
    best_width, best_step = MAP_WIDTH * typical, min(LARGEST_MAP_STEP, MAP_STEP / rate)
    why = f"{MAP_WIDTH:g} of a typical coefficient, {typical:.4g}"
    if theta * THRESHOLD_WIDTH < best_width:
        best_width, why = THRESHOLD_WIDTH * theta, f"{THRESHOLD_WIDTH:g} of the threshold lam sigma^2 = {theta:.4g}"
    lines = [f"fastest mode: {rate:.4g} / tau"]
    warnings = []
    if width is None:
        width = best_width
        lines.append(f"width {width:.4g} = {why}: nothing shakes it")
    else:
        check_given("circuit.width", width, "a comparator has a finite width, in model units")
        if width > COARSE * typical:
            raise InputError(
                f"circuit.width = {width!r}, but coefficients are about {typical:.3g} in size: a comparator that coarse finds "
                f"another code. Give width <= {best_width:.3g}, or leave it out."
            )
        lines.append(f"width {width:.4g} as given (the rule would give {best_width:.4g})")
        if width > 10 * best_width:
            warnings.append(
                f"width = {width:.3g} is above {10 * best_width:.3g}: expect percents of error in the code."
            )
    rule = f"min({LARGEST_MAP_STEP:g}, {MAP_STEP:g}/fastest mode = {MAP_STEP / rate:.4g})"
    step, line = choose_step(step, best_step, max(0.5, 20 * best_step), f"mode, {rate:.4g}", rule)
    return StepPlan(float(width), float(step), rate, 1.0, (*lines, line), tuple(warnings))


def lca_ranges(model: SparseCodingModel, x: Array) -> Ranges:
    """Estimate the largest u, r and e of LCA: the drive A^T x is what u tends to while nothing else is active."""
    theta = lca_model(model).prior.lam
    powers = model.powers
    drive = np.abs(x @ model.A)
    largest = float(np.max(drive))
    u = max(largest, float(np.max(drive / powers))) + theta
    return Ranges(u=1.5 * u, r=1.5 * float(np.max(np.abs(x))) + 1e-3, e=2 * u)


def encoded_ranges(encoder: Encoder, x: Array) -> Ranges:
    """Estimate the largest voltages of an encoder, its noise and its code, as a range of u; there is no r and no e.

    Raises
    ------
    InputError
        If they are so large that no rails hold them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        layers, heads = encoder.layers(x), encoder.heads(x)
        largest = max(float(np.max(np.abs(values))) for values in layers)
        code = float(np.max(np.abs(heads.mu) + np.exp(heads.rho) * np.maximum(LARGEST_DRAW - heads.kappa, 0.0)))
    reach = np.max([LARGEST_DRAW, largest, code])  # nan if one is
    if not reach <= LARGEST_ENCODED:
        raise InputError(
            f"the encoder reaches {reach:.3g} units for this x, and a Laplace draw's scale is 1: no rails hold one and leave "
            f"the other above what a comparator tells apart (at most {LARGEST_ENCODED:g}). Give an encoder that was trained "
            "on inputs like x."
        )
    return Ranges(u=float(reach), r=1.0, e=1.0)


def encoded_plan(encoder: Encoder, x: Array, dynamics: Dynamics, *, width: float | None, step: float | None) -> Plan:
    """Choose or check width and step of a variational sampler, which has no loop that would limit them.

    Parameters
    ----------
    encoder : Encoder
    x : array, shape (n_features,) or (n_rows, n_features)
    dynamics : Dynamics
    width : float or None
        Of the threshold's comparators, in units of a Laplace draw.
    step : float or None
        In tau; None is 2, after which samples are independent.

    Raises
    ------
    InputError
        If a given width or step cannot be used.
    """
    lines, warnings = ["fastest mode: 1 / tau, the noise cell's"], []
    if width is None:
        width = LAPLACE_WIDTH
        lines.append(f"width {width:g} of the unit of a Laplace draw: no loop asks for a wider one")
    else:
        check_given("circuit.width", width, "a comparator has a finite width, in units of a Laplace draw")
        if width > COARSEST:
            raise InputError(
                f"circuit.width = {width!r}, but the threshold acts on a Laplace draw of scale 1: what is coarser than "
                f"{COARSEST:g} of it finds no threshold. Give width <= {COARSEST:g}, or leave it out ({LAPLACE_WIDTH:g})."
            )
        lines.append(f"width {width:.4g} as given (the rule would give {LAPLACE_WIDTH:g})")
        if width > SOFT:
            warnings.append(f"width = {width:.3g} is above {SOFT:g}: expect percents of error in the code.")
    if step is None:
        step = FORGETFUL
        lines.append("step 2 tau: the trapezoid forgets the noise cell's voltage, and samples are independent")
    else:
        check_given("circuit.step", step, "a step is a time, in tau")
        memory = (1 - step / 2) / (1 + step / 2)
        lines.append(f"step {step:.4g} tau as given: {memory:.3g} of a noise voltage is left after it")
    plan = StepPlan(float(width), float(step), 1.0, 1.0, tuple(lines), tuple(warnings))
    return Plan(plan, dynamics, encoded_ranges(encoder, x))
