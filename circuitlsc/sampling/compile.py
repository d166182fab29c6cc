"""Compile a model and an input into a circuit: arguments are checked, then width, plan, graph and netlist decided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.lowering import many_objects
from circuitlsc.circuit.memory import check_lines, lines_at_rest
from circuitlsc.circuit.systems import FORMS
from circuitlsc.circuit.transistor.design import TransistorKeys, as_keys, check_silicon, design
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import LANGEVIN, Dynamics, as_dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import features_of, is_kind, named_features
from circuitlsc.model.smoothing import HYPERBOLIC, LOGISTIC, smoothing_of
from circuitlsc.model.sparse_coding import SparseCodingModel, check_model
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.nonidealities import IDEAL, Nonidealities, as_nonidealities
from circuitlsc.planning.broken_loop import broken_step, check_loop
from circuitlsc.planning.choose_form import choose_form
from circuitlsc.planning.scaling import scale_for
from circuitlsc.planning.stepping import StepPlan
from circuitlsc.sampling.kinds_of_cells import check_cells, with_cells
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.system import system_of
from circuitlsc.simulator.ngspice.deck import check_tolerance

LEVELS = ("ideal", "device", "transistor")
WIRES = ("reduced", "segments")


def build_sampler(
    model: SparseCodingModel,
    x: ArrayLike,
    *,
    dynamics: Dynamics | str = LANGEVIN,
    hold: float | None = None,
    interpolate: str = "hold",
    form: str = "gram",
    level: str = "ideal",
    nonideal: Nonidealities | Mapping[str, Any] | None = None,
    width: float | None = None,
    smoothing: str = "logistic",
    step: float | None = None,
    volt: float | None = None,
    c_int: float | None = None,
    tau: float | None = None,
    rails: float | None = None,
    tolerance: float | None = None,
    halvings: int = 0,
    wires: str = "reduced",
    loop: str = "closed",
    encoder: Encoder | None = None,
    source: str | None = None,
    order: str | None = None,
    features: ArrayLike | None = None,
    transistor: TransistorKeys | Mapping[str, Any] | None = None,
    cells: str = "table",
) -> Sampler:
    r"""Compile a model and an input into a circuit whose noise samples the posterior.

    .. math:: C\,\dot V_i = -I_{drift}\,\partial_i E_w(u; x) + \sqrt{2 T}\,\text{noise}

    Fang et al. 2022, eqs. (2.29), (3.5), (3.9) corrected.

    Parameters
    ----------
    model : SparseCodingModel
    x : array, shape (n_features,) or (n_rows, n_features)
        Observation, in data units; several follow each other in one transient.
    dynamics : Dynamics or str
        What the circuit does with its energy, or the name of a kind: ``"langevin"``, ``"gradient"``, ``"lca"``,
        ``"underdamped"``, ``"amortised"``, ``"variational"``.
    hold : float or None
        How long each of several observations is on, in units of tau; the step divides it.
    interpolate : str
        ``"hold"``: one after the other. ``"linear"``: lines between them, for what varies smoothly.
    form : str
        ``"gram"``: one K x K crossbar. ``"residual"``: two D x K crossbars, the form that learns. ``"auto"``: the one that
        is expected to run faster (`circuitlsc.planning.choose_form`).
    level : str
        ``"ideal"``: controlled sources, tables, conductances. ``"device"``: resistor crossbars, op-amps, comparators and
        noise sources, with the imperfections of ``nonideal``. ``"transistor"``: transistors of an open process
        (`circuitlsc.circuit.transistor`), at the corner and with the mismatch of ``nonideal``.
    nonideal : Nonidealities, mapping or None
        At device level: what the parts do wrong; None is ideal parts.
    width : float or None
        Comparator width in model units; None follows from the model (`circuitlsc.planning.stepping`).
    smoothing : str
        What comparators make of a corner: ``"logistic"``, or ``"hyperbolic"``, as a translinear circuit has it, whose tails
        fade as w^2/abs(v) (`circuitlsc.model.smoothing`).
    step : float or None
        Step in units of tau; None follows from the model.
    volt, c_int, tau, rails : float or None
        Volts per model unit (None: 0.1 V, or less if the rails ask for it), farad (1e-12), seconds (1e-6), volts (2.5). In
        transistors they follow from each other: c_int from tau, and tau from how long the cells lag.
    tolerance : float or None
        Of Newton's iteration, relative and in model units; None is 1e-5, or a thousandth of a narrow comparator's width.
    halvings : int
        Halve the step so often, on the same noise path (a Brownian bridge fills it in).
    wires : str
        How the engine simulates resistive wires: ``"reduced"`` to the mesh that a crossbar's terminals see (exact), or
        ``"segments"``, one resistor each. Stand-alone decks always have every segment.
    loop : str
        ``"closed"``, or ``"broken"`` for speed at the price of a known error: the gradient reaches the gates as extrapolated
        from the last steps (`planning.broken_loop`), which large circuits gain by. Stand-alone decks always have it closed.
    encoder : Encoder or None
        What gives each latent its law: ``"variational"`` needs one, and has neither form nor loop.
    source : str or None
        Of its Laplace draws: ``"product"`` (as None is; four noise voltages for each, exact) or ``"table"`` (one).
    order : str or None
        Of the inputs that ``"amortised"`` remembers: ``"cyclic"`` (or None), or ``"random"``, another order in each cycle.
    features : array, shape (n_rows, n), or None
        Theirs, where ``dynamics.features`` is left out, or the name of these.
    transistor : TransistorKeys, mapping or None
        At transistor level: engine, area, trim, noise and weight_unit (`circuitlsc.circuit.transistor.design`).
    cells : str
        ``"table"``: piecewise linear comparators, in every ngspice. ``"verilog-a"``: the smooth curves themselves, as compiled
        modules, faster in large circuits; ngspice 44 and a compiler are needed. ``"auto"``: these where they pay and this
        machine has both, or else tables.

    Returns
    -------
    Sampler

    Raises
    ------
    InputError
        If an argument cannot be used; the message says what can.
    NetlistError
        If the circuit breaks an electrical rule.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> s, x = model.draw(1)
    >>> build_sampler(model, x)
    Sampler(langevin, 4 features, 4 latents, ideal level, gram form, step 0.05 tau, tau 1e-06 s)
    >>> build_sampler(model, x, level="device", nonideal={"op_amp": {"offset": 5e-3}}).form
    'gram'
    """
    if level not in LEVELS:
        raise InputError(f"level = {level!r} is not one of {', '.join(LEVELS)}.")
    check_model(model)
    if tolerance is not None:
        tolerance = check_tolerance(tolerance)
    dynamics = as_dynamics(dynamics)
    check_loop(loop, level, dynamics, np.shape(x)[0] if np.ndim(x) == 2 else 1)
    x, stream = _observations(model, x, hold, interpolate, (order or "cyclic") if dynamics.remembers else "once")
    if order is not None and not dynamics.remembers:
        raise InputError(
            f'order = {order!r} belongs to dynamics.kind = "amortised"; others are shown each row once. Leave it out.'
        )
    if dynamics.remembers:
        dynamics = replace(dynamics, features=named_features(str(dynamics.features), features))
    made = features_of(str(dynamics.features), x, features) if dynamics.remembers and stream is not None else None
    if features is not None and made is None:
        raise InputError('features belong to dynamics.kind = "amortised", with x of several rows. Leave them out.')
    system = system_of(dynamics, encoder, source, made)
    model = system.model(model)
    if nonideal is not None and level == "ideal":
        raise InputError('nonideal parts need level = "device": the ideal level has no parts that could be imperfect.')
    if transistor is not None and level != "transistor":
        raise InputError(f'transistor belongs to level = "transistor", and level is "{level}". Leave it out.')
    if isinstance(halvings, bool) or not isinstance(halvings, (int, np.integer)) or not 0 <= halvings <= 10:
        raise InputError(f"halvings = {halvings!r} is not a whole number from 0 to 10.")
    check_cells(cells)
    if wires not in WIRES:
        raise InputError(f"wires = {wires!r} is not one of {', '.join(WIRES)}.")
    parts = IDEAL if nonideal is None else as_nonidealities(nonideal)
    smooth = smoothing_of(smoothing)
    if smooth != LOGISTIC and parts.comparator.hysteresis > 0:
        raise InputError(
            f'circuit.smoothing = "{smoothing}", but nonideal.comparator.hysteresis = {parts.comparator.hysteresis!r}: the '
            "feedback that sets its two thresholds is that of a logistic comparator. Leave one of them out."
        )
    if level == "transistor":
        smooth = HYPERBOLIC
        check_silicon(model, dynamics, form, loop, parts)
        sizes = design(model, x, system.ranges(model, x), as_keys(transistor), width=width, volt=volt)
        width, volt = sizes.width, sizes.volt
        tau, c_int, rails = sizes.times(tau, c_int, rails)
        step = sizes.step(tau, step, system.plan(model, x, width, None, smooth).step.step)
    else:
        sizes = None
    scales = partial(
        scale_for,
        model,
        x,
        volt=volt,
        c_int=1e-12 if c_int is None else c_int,
        tau=1e-6 if tau is None else tau,
        rails=2.5 if rails is None else rails,
    )
    if (volts := parts.comparator.width) is not None:
        if width is not None:
            raise InputError("circuit.width and nonideal.comparator.width are both given. Give one of them.")
        width = volts / scales(ranges=system.ranges(model, x)).volt
    whole = system.plan(model, x, width, step, smooth)
    plan = whole.step
    if form == "auto" and not dynamics.has_energy:
        form = FORMS[0]  # as good as any: nothing feeds back
    elif form == "auto":
        form, line = choose_form(model, loop)
        plan = replace(plan, explanation=(*plan.explanation, line))
    if loop == "broken":
        shorter, line = broken_step(model, plan.step, step is not None)
        plan = replace(plan, step=shorter, explanation=(*plan.explanation, line))
    if stream is not None:
        plan = _dividing(plan, stream.hold)
        plan = replace(plan, warnings=(*plan.warnings, *system.warned_of(stream, plan)))
    if sizes is not None:
        plan = replace(plan, warnings=(*plan.warnings, *sizes.warned))
    sampler = Sampler(
        model=model,
        x=x,
        form=form,
        dynamics=whole.dynamics,
        scaling=scales(ranges=whole.ranges),
        plan=replace(plan, step=plan.step / 2 ** int(halvings)),
        ranges=whole.ranges,
        tolerance=tolerance or system.tolerance(plan.width),
        level=level,
        nonideal=parts,
        halvings=int(halvings),
        wires=wires,
        stream=stream,
        loop=loop,
        encoder=encoder,
        source=source,
        features=made,
        sizes=sizes,
    )
    if made is not None:
        check_lines(*lines_at_rest(sampler.graph), sampler.scaling.volt, sampler.scaling.rails)
    with many_objects():
        check_circuit(sampler.circuit)
    return with_cells(sampler, cells)


def _dividing(plan: StepPlan, hold: float) -> StepPlan:
    """Return the plan with the longest step, not above its own, that divides ``hold``."""
    count = max(1, math.ceil(hold / plan.step - 1e-9))
    if abs(count * plan.step - hold) < 1e-9 * hold:
        return plan
    line = f"step {hold / count:.4g} tau, so that {count} steps are an input's {hold:g} tau"
    return replace(plan, step=hold / count, explanation=(*plan.explanation, line))


def _observations(
    model: SparseCodingModel, x: ArrayLike, hold: float | None, interpolate: str, order: str
) -> tuple[Array, Stream | None]:
    """Return one observation (n_features,), or several (n_rows, n_features) with the stream that they make."""
    if np.ndim(x) != 2:
        if hold is not None:
            raise InputError(f"hold = {hold!r} belongs to several observations, and x is one. Leave it out.")
        return model.check_x(x), None
    rows = model.check_rows(x)
    if hold is None:
        raise InputError(
            f"x has {len(rows)} rows, and nothing says how long each is on. Give hold, in units of tau (for example 20)."
        )
    if order != "once" and interpolate != "hold":
        raise InputError(
            f'interpolate = {interpolate!r}, but a memory keeps the states of inputs that stand still. Use "hold".'
        )
    return rows, Stream(rows, hold, interpolate, order)


def rebuilt(sampler: Sampler, **changes: Any) -> Sampler:
    """Compile a sampler again with some arguments of `build_sampler` changed, at the same step, width, smoothing and scales."""
    nonideal, stream = changes.get("nonideal") or sampler.nonideal, sampler.stream
    alike = ("form", "level", "dynamics", "tolerance", "halvings", "wires", "loop", "encoder", "source")
    arguments: dict[str, Any] = {
        **{name: getattr(sampler, name) for name in alike},
        **{name: getattr(sampler.scaling, name) for name in ("volt", "c_int", "tau", "rails")},
        "nonideal": None if sampler.level == "ideal" else nonideal,
        "transistor": None if sampler.sizes is None else sampler.sizes.keys,
        "width": None if nonideal.comparator.width is not None else sampler.plan.width,
        "smoothing": sampler.plan.smoothing.name,
        "step": sampler.plan.step * 2**sampler.halvings,
    }
    if stream is not None:
        arguments |= {"hold": stream.hold, "interpolate": stream.interpolate}
        if sampler.features is not None:
            named = is_kind(str(sampler.dynamics.features))
            arguments |= {"order": stream.order, "features": None if named else sampler.features.phi.T}
    made = build_sampler(sampler.model, sampler.x, **{**arguments, **changes})
    return made if "cells" in changes or made.cells == sampler.cells else made.of_cells(sampler.cells)
