"""Schematics of a sampler with the values of its parts: one neuron, and the way of a signal around the loop.

They need schemdraw (the extra ``schematic``). Lengths are schemdraw's units: a resistor's body is one long.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from circuitlsc.circuit.cells import DeviceGate, Gate, ThermalNoise
from circuitlsc.drawing.memory import draw_drive_noise, draw_memory_path, draw_synapse
from circuitlsc.drawing.parts import Parts, draw_code, draw_state, draw_terminal, draw_thermal_noise
from circuitlsc.drawing.path import NODES as NODES
from circuitlsc.drawing.path import draw_signal_path
from circuitlsc.drawing.sheet import CURVE_BOX, Point, Sheet, drawn, save
from circuitlsc.drawing.sheet import engineering as engineering
from circuitlsc.drawing.sheet import si_prefix as si_prefix
from circuitlsc.drawing.transistors import draw_transistor_neuron
from circuitlsc.drawing.variational import draw_encoder, draw_latent
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.sampling.sampler import Sampler

RETURN, SECOND = -3.9, -5.9  # of a second row of a neuron: the wire that leads to it, and its rail


def neuron_schematic(sampler: Sampler, path: Path) -> None:
    """Draw one neuron: gate, prior, noise and leak at the integrating capacitor, and the cell that makes its code.

    In transistors: the loop in blocks, with its currents.
    Of a memory: the neuron's drive, and one of its synapses up to the code. Of a variational circuit: the noise cell, the
    Laplace draw and the shifted threshold of one latent.

    Parameters
    ----------
    sampler : Sampler
        Of either level; values that are drawn at random for each neuron are shown as designed.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, or the file cannot be written.
    """
    save("neuron_schematic()", lambda: neuron_figure(sampler), path)


def signal_path_schematic(sampler: Sampler, path: Path) -> None:
    """Draw the loop from a neuron through threshold and crossbars back to its gate; of a variational circuit, from x to s.

    One element of each crossbar stands for all; grey parts stand for those beside it.

    Parameters
    ----------
    sampler : Sampler
        Of either level and form.
    path : pathlib.Path
        A file that ends in .svg or .png.

    Raises
    ------
    InputError
        If schemdraw is not installed, or the file cannot be written.
    """
    save("signal_path_schematic()", lambda: signal_path_figure(sampler), path)


def neuron_figure(sampler: Sampler) -> Figure:
    """Return the figure that `neuron_schematic` saves."""
    if sampler.sizes is not None:
        return drawn("neuron_schematic()", lambda sheet: draw_transistor_neuron(sheet, Parts(sampler)))
    draw = _draw_neuron if sampler.dynamics.has_energy else draw_latent
    return drawn("neuron_schematic()", lambda sheet: draw(sheet, Parts(sampler)))


def signal_path_figure(sampler: Sampler) -> Figure:
    """Return the figure that `signal_path_schematic` saves."""
    if sampler.sizes is not None:
        raise InputError(
            'signal_path_schematic(): a circuit in transistors (level = "transistor") is drawn as one picture, which holds the '
            "loop. Use neuron_schematic()."
        )
    draw: Callable[[Sheet, Parts], object] = draw_signal_path if sampler.dynamics.has_energy else draw_encoder
    if sampler.dynamics.remembers:
        draw = draw_memory_path
    return drawn("signal_path_schematic()", lambda sheet: draw(sheet, Parts(sampler)))


def _draw_neuron(sheet: Sheet, parts: Parts) -> None:
    """Draw one neuron: e_i through the gate, prior, capacitor, noise; the code to the right.

    With a momentum there are two rows: the gate acts on the momentum, whose voltage drives the neuron below.
    """
    out = _draw_force(sheet, parts)
    if parts.dynamics.remembers:
        joined = draw_drive_noise(sheet, parts)
        draw_synapse(sheet, parts, out, _draw_prior(sheet, parts, 6.0 if joined is None else joined + 1.3))
        return
    noise, momentum = parts.find(ThermalNoise), parts.momentum
    # what hangs on the gate's node
    begin = 7.9 if momentum is None else 6.0
    x = begin = begin if noise is None else draw_thermal_noise(sheet, noise.hardware, noise.gain) + 1.3
    x = _draw_prior(sheet, parts, x)
    block = (0.2, -2.2) if noise is None else None
    if momentum is not None:
        sheet.shunt("Resistor", (x, 0), parts.friction(momentum))
        x, label = draw_state(sheet, parts, momentum, (x + 3.9, 0.0))
        end = (x + label, 0.0)
        start = (begin - 0.4, SECOND)
        sheet.line(out, end, (end[0], RETURN), (start[0], RETURN), start, (start[0] + 0.5, SECOND))
        out = sheet.transconductor((start[0] + 0.5, SECOND))
        sheet.text((out[0] - 0.7, SECOND - 0.95), parts.velocity, "center", "top")
        x, block = out[0] + 2.0, block or (7.6, 3.9)
    x, label = draw_state(sheet, parts, parts.state, (x, out[1]))
    start = (x + label, out[1])
    sheet.line(out, start)
    end = draw_code(sheet, parts, start)
    sheet.line(end, (end[0] + 1.0, end[1]))
    draw_terminal(sheet, (end[0] + 1.1, end[1]), parts.code_letter, "left")
    sheet.text(block or (x, -4.6), parts.units("e"), vertical="top")


def _draw_force(sheet: Sheet, parts: Parts) -> Point:
    """Draw the likelihood's force, e_i through multiplier and transconductor; return its output."""
    gate, s = parts.get(Gate), parts.made.scaling
    draw_terminal(sheet, (0, 0), "e_i", "right")
    if gate.comparator is None:
        sheet.line((0.1, 0), (3.4, 0))
    else:
        (w, h), part = CURVE_BOX, parts.made.nonideal.comparator
        errors = (("hysteresis", part.hysteresis, "V"), ("delay", part.delay, "s"))
        extra = [f"{name} {engineering(value, unit)}" for name, value, unit in errors if value > 0]
        sheet.line((0.1, 0), (1.55, 0))
        sheet.multiplier((2, 0))
        sheet.line((2.45, 0), (3.4, 0))
        sheet.curve_box((2, 2.6), gate.comparator, parts.reach)
        sheet.line((2, 2.6 - h / 2), (2, 0.45), arrow="->")
        sheet.text((2, 2.6 + h / 2 + 0.2), "comparator $s'(u_i)$", "center", "bottom")
        sheet.text((2 - w / 2 - 0.25, 2.6 + h / 2), "\n".join([*parts.thresholds, *extra]), "right", "top")
        if gate.apart:
            sheet.line((4.9, 2.6), (2 + w / 2, 2.6), arrow="->")
            draw_terminal(sheet, (5.0, 2.6), "u_i", "left")
        else:
            sheet.line((6.4, 0), (6.4, 2.6), (2 + w / 2, 2.6), arrow="->")
            sheet.dot((6.4, 0))
    out = sheet.transconductor((3.4, 0), "$-$")
    sheet.text((4.0, -0.95), f"$G_e$ = {engineering(s.drift_current / s.volt_e, 'S')}", "center", "top")
    return out


def _draw_prior(sheet: Sheet, parts: Parts, x: float) -> float:
    """Draw the prior's current (of LCA: the leak's) out of the gate's node; return where the next part hangs."""
    gate, s = parts.get(Gate), parts.made.scaling
    factor = 1.0 + gate.hardware.parts.prior.lam_error if isinstance(gate, DeviceGate) else 1.0
    amperes = s.drift_current * factor
    if gate.prior is None:
        siemens = amperes / s.volt * gate.stiffness
        if gate.apart:  # from another node than its own voltage
            sheet.shunt("SourceControlledI", (x, 0), f"$G_p\\, u_i$\n$G_p$ = {engineering(siemens, 'S')}")
            return x + 3.9
        ohm = engineering(1 / siemens, "Ω")
        sheet.shunt("Resistor", (x, 0), f"leak\n$R_u$ = {ohm}" if parts.lca else f"$R_p$\n{ohm}")
        return x + (3.9 if parts.lca else 2.9)
    table = gate.prior
    rectified = parts.dynamics.kind == "gradient" and not parts.made.model.prior.signed
    cost = parts.made.model.prior.slab is None
    if not (rectified or cost or parts.lca):
        current = engineering(float(table.values.max()) * amperes, "A")
        sheet.shunt("SourceControlledI", (x, 0), f"$I_\\lambda\\,\\mathrm{{sgn}}\\,u_i$\n{current}")
        return x + 3.7
    name, reach = "$c'(u_i)$", 3 * parts.made.model.prior.slab_scale if cost else parts.reach
    if parts.lca:
        name = "leak $u_i - s_i$"
    elif rectified:
        name = "rectifier $c'(u_i)$"
    one_sided = rectified or (parts.lca and not parts.made.model.prior.signed)
    size = table.values if one_sided else np.abs(table.values)
    shown = table(np.linspace(0.0 if one_sided else -reach, reach, 241))
    (w, h), y = CURVE_BOX, -1.2
    sheet.shunt("SourceControlledI", (x, 0), "")
    sheet.curve_box((x + 1.2 + w / 2, y), table, reach, float(np.abs(shown).max()))
    sheet.line((x + 1.2, y), (x + 0.55, y), arrow="->")
    bound = "$I \\leq$ " if one_sided else "$|I| \\leq$ "
    label = f"{name}\n{bound}{engineering(float(size.max()) * amperes, 'A')}"
    sheet.text((x + 1.2 + w / 2, y - h / 2 - 0.2), label, "center", "top")
    return x + w + 2.5
