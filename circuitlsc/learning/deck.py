"""A circuit that learns as a deck that plain ``ngspice -b`` runs, with seeded noise of its own."""

from __future__ import annotations

from importlib.metadata import version

from circuitlsc.circuit.lowering import lower
from circuitlsc.errors import InputError
from circuitlsc.io.output import GENERATED
from circuitlsc.learning.compiled import LearningCircuit
from circuitlsc.simulator.ngspice.deck import ngspice_seed, options, standalone_deck


def learning_deck(learner: LearningCircuit, n_inputs: int | None = None) -> str:
    """Return the stand-alone deck of a circuit that learns.

    It saves the slow variables (not u: its run keeps every time point), and prints their means over the last quarter.

    Parameters
    ----------
    learner : LearningCircuit
    n_inputs : int or None
        How many inputs it shows; None: all.

    Raises
    ------
    InputError
        If there are not so many.
    """
    stage, s, m = learner.stage, learner.scaling, learner.model
    n = stage.n_inputs if n_inputs is None else n_inputs
    if not 1 <= n <= stage.n_inputs:
        raise InputError(
            f"n_inputs = {n_inputs!r}, but the learner shows {stage.n_inputs} inputs. Give 1 .. {stage.n_inputs}."
        )
    duration = n * stage.hold
    numbers = " ".join(f"{k}={v!r}" for k, v in m.prior.numbers().items())
    slowness = ", ".join(f"{name} {learner.slowness[name]!r}" for name in learner.learn)
    header = [
        f"circuitlsc learner: {m.n_features} x {m.n_latents}, {m.prior.kind} prior, learns {', '.join(learner.learn)}",
        f"{GENERATED} {version('circuitlsc')}; regenerate it instead of editing",
        f"start    x = A s + n, sigma={float(m.sigma)!r}; {m.prior.kind} {numbers} signed={m.prior.signed}",
        f"slowness {slowness}, in units of tau",
        f"units    u, s, a, u0, lam, sigma: {s.volt!r} V; r: {s.volt_r!r} V; e: {s.volt_e!r} V; drift: {s.drift_current!r} A; "
        f"tau: {s.tau!r} s",
        f"cells    comparator width {learner.comparator_width!r} units; step {stage.step!r} tau",
        f"input    {n} rows of {stage.hold!r} tau each",
        f"seed     {ngspice_seed(learner.seed)} (circuitlsc seed {learner.seed})",
    ]
    return standalone_deck(
        lower(learner.standalone_graph(n), s, step=stage.step, title="circuitlsc learner"),
        header=header,
        nodes=learner.slow_nodes,
        measured=learner.slow_nodes,
        option_line=options(learner.tolerance, s.volt, s.drift_current),
        seed=learner.seed,
        step=stage.step * s.tau,
        t_start=0.75 * duration * s.tau,
        t_stop=duration * s.tau,
    )


def learning_report(learner: LearningCircuit) -> str:
    """Return scales, capacitors, and how long the circuit itself would take to learn."""
    stage, s, m = learner.stage, learner.scaling, learner.model
    sizes = {"A": m.A.size, "pi": 1, "lam": 1, "sigma": 1}
    lines = [
        f"learner        {m.n_features} x {m.n_latents}, {learner.level} level, learns {', '.join(learner.learn)}",
        f"scales         u, s and slow variables {s.volt:.4g} V, r {s.volt_r:.4g} V, e {s.volt_e:.4g} V, "
        f"drift {s.drift_current:.4g} A per unit",
        f"width, step    {learner.comparator_width:.4g} units, {stage.step:.4g} tau",
    ]
    for what in learner.learn:
        name, slowness = what if what != "pi" else "u0", learner.slowness[what]
        capacitors = f"{sizes[what]} x {slowness * s.c_int:.3g} F (a neuron has {s.c_int:.3g} F)"
        lines.append(f"tau_{name:<10} {slowness:.6g} tau: {capacitors}")
    shown = f"{stage.n_inputs} inputs of {stage.hold:.6g} tau"
    lines.append(f"time           {shown}: {stage.duration * s.tau:.4g} s of the circuit, {stage.n_steps} steps here")
    return "\n".join(lines)
