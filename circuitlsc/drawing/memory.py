"""A memory as schematics show it: a neuron with one of its synapses, the loop, and the lines that read and write.

Lengths are schemdraw's units: a resistor's body is one long. What belongs together but would cross the page is joined by
name, at open terminals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from circuitlsc.circuit.cells import (
    Crossbar,
    DeviceMemory,
    Memory,
    Read,
    ResistorCrossbar,
    Write,
)
from circuitlsc.drawing.parts import (
    GATE,
    Parts,
    draw_code,
    draw_gate,
    draw_multiplier,
    draw_noisy_capacitor,
    draw_terminal,
    draw_thermal_noise,
)
from circuitlsc.drawing.path import CODE, GHOST_ROW, Named, Stage, draw_likelihood, draw_rectifier
from circuitlsc.drawing.sheet import Point, Sheet, engineering
from circuitlsc.nonideal.hardware import Hardware

BELOW = 11.2, 6.4  # from a drive's rail down to its synapse's, with the source of its noise between them and without
TURN = 8.6, 5.6  # from the lines that read down to those that write, device and ideal
OF_NEURONS, OF_WEIGHTS = r"$\sqrt{2 T}\,\int v_h\,dB_i$", r"$\sqrt{2 T / N}\; B_{ih}$"
LED = 2.8  # from what hangs on a drive to its write multiplier, in a signal path


def draw_synapse(sheet: Sheet, parts: Parts, force: Point, x: float) -> None:
    """Draw what follows a neuron's force: the drive with the noise, and below it one synapse up to the code.

    Parameters
    ----------
    force : tuple of float
        Where the gate's current comes out.
    x : float
        Where the drive's resistor hangs.
    """
    s, made = parts.made.scaling, parts.made
    sheet.shunt("Resistor", (x, 0), f"$R_d$\n{engineering(s.volts('d') / s.drift_current, 'Ω')}")
    end = x + 3.2
    sheet.line(force, (end, 0))
    draw_terminal(sheet, (end + 0.1, 0), "d_i", "left")
    sheet.text((end + 2.2, 1.6), _block(parts), vertical="top")
    noisy = parts.device and parts.dynamics.noise == "neuron"
    row = sheet.placed((0.0, -BELOW[0 if noisy else 1]))
    row.text((0, 2.2), f"one of $H$ = {parts.n_features} synapses of neuron $i$", vertical="bottom")
    draw_terminal(row, (0, 0), "d_i", "right")
    node = _draw_weight(row, parts, 0.1, 1.9)
    row.line((node, 0), (node + 2.6, 0))
    out = draw_code(row, parts, (node + 2.6, 0))
    row.line(out, (out[0] + 1.0, 0))
    draw_terminal(row, (out[0] + 1.1, 0), parts.code_letter, "left")
    if made.dynamics.noise == "neuron" and not parts.device:
        law = (
            r"noise through the write line: $W_i$ of one neuron,"
            + "\n"
            + r"in all of its synapses, times the $v_h$ that is on"
        )
        row.text((7.2, -4.2), law, vertical="top")


def draw_drive_noise(sheet: Sheet, parts: Parts) -> float | None:
    """Draw the source of a neuron's noise at device level; return where it joins the drive's rail, None if it is elsewhere."""
    if not parts.device or parts.dynamics.noise == "weight":
        return None
    hardware = Hardware(parts.made.nonideal, parts.made.scaling)
    return draw_thermal_noise(sheet, hardware, hardware.noise_gain(parts.dynamics.T))


def draw_memory_path(sheet: Sheet, parts: Parts) -> Point:
    """Draw the loop from a neuron through its memory, threshold and crossbars, and below it the lines that read and write.

    Return the lower left corner of what was drawn.
    """
    hung = 1.0 + (2.7 if parts.device and parts.dynamics.noise == "neuron" else 0.0)
    at = CODE - 3.8 - (GATE[0] / 2 + hung + LED + 2.5 + 1.4 + _room(parts) + 1.0 + 2.5 + 2.0)
    node = _draw_neuron(sheet, parts, at)
    sheet.line((node, 0), (CODE, 0))
    back = node + 1.9
    sheet.dot((back, 0))
    sheet.line((back, 0), (back, 3.4), (at, 3.4), (at, GATE[1] / 2), arrow="->")
    left, low = draw_likelihood(sheet, parts, at, _block(parts))
    crossbars = {c.name: c for c in parts.made.graph.cells if isinstance(c, (Crossbar, ResistorCrossbar))}
    if "dual_weights" in crossbars:
        lines = sheet.placed((at + 1.5, low - 2.4 - 1.6 * parts.device))
        return left, lines.on_page((0.0, _draw_lines(sheet, lines, parts, crossbars)))[1]
    lines = sheet.placed((at + 15.0, -5.6))
    lines.text((0, 0), "lines that come with each input,\nwhich read and write:", vertical="top")
    lines.waveform((0.0, -2.2), "hold")
    lines.dot((1.8, -1.95), terminal=True)
    lines.text((2.1, -1.95), r"$\phi_h(t),\; v_h(t) = \phi_h(t)$")
    return left, low


def _block(parts: Parts) -> str:
    """Return the lines on sizes, inputs and units."""
    made, s = parts.made, parts.made.scaling
    lines = [
        f"$K$ = {made.model.n_latents} latents, $D$ = {made.model.n_features} features of $x$, $H$ = {parts.n_features}"
    ]
    if (stream := parts.stream) is not None:
        lines.append(
            f"{len(stream.rows)} inputs $x(t)$ again and again, each on for {engineering(stream.hold * s.tau, 's')}"
        )
    lines += [parts.unit(r"\phi, v".replace(r"\phi", "u, s, \\phi")), parts.unit("w"), parts.unit("e, d")]
    lines.append(f"one unit of drift: {engineering(s.drift_current, 'A')}")
    lines.append(f"$\\tau$ = {engineering(s.tau, 's')}, $T$ = {parts.dynamics.T:g}")
    return "\n".join(lines)


def _draw_weight(sheet: Sheet, parts: Parts, x: float, led: float) -> float:
    """Draw a synapse from d to the node of u: write multiplier, capacitor, read multiplier; return where that node is."""
    memory, s = parts.get(Memory), parts.made.scaling
    out = draw_multiplier(sheet, (x, 0), (x + led, 0), "v_h", "write\n" + parts.transfer(parts.get(Write)))
    x = out[0] + 1.4
    sheet.text((x, 0.3), "$w_{ih}$", "center", "bottom")
    _draw_capacitor(sheet, parts, memory, x)
    label = "read\n" + parts.transfer(parts.get(Read))
    end = draw_multiplier(sheet, out, (x + _room(parts) + 1.0, 0), r"\phi_h", label)
    x = end[0] + 2.0
    sheet.line(end, (x, 0))
    sheet.dot((x - 1.0, 0))
    sheet.line((x - 1.0, 1.5), (x - 1.0, 0), arrow="->")
    sheet.text((x - 1.0, 1.7), "other synapses", "center", "bottom")
    sheet.shunt("Resistor", (x, 0), f"$R$\n{engineering(s.r_node, 'Ω')}")
    sheet.text((x + 0.9, 0.3), "$u_i$", "center", "bottom")
    return x


def _loads(parts: Parts) -> list[tuple[str, str]]:
    """Return what hangs on a weight beside its capacitor, at device level: part and label."""
    memory, found = parts.get(Memory), []
    if parts.device and parts.dynamics.noise == "weight":
        found.append(("SourceI", "noise"))
    if isinstance(memory, DeviceMemory) and math.isfinite(ohm := memory.hardware.parts.plastic.leak_resistance):
        found.append(("Resistor", f"$R_w$\n{engineering(memory.hardware.ohm(ohm), 'Ω')}"))
    return found


def _room(parts: Parts) -> float:
    """Return how much room a weight's capacitor needs, with what hangs beside it."""
    return 2.4 + 2.9 * len(_loads(parts)) if parts.device else 3.9


def _draw_capacitor(sheet: Sheet, parts: Parts, memory: Memory, x: float) -> None:
    """Draw a weight's capacitor with its noise, and what discharges it."""
    label = parts.capacitor(memory, "C_w")
    if not parts.device:
        weights = parts.dynamics.noise == "weight"
        draw_noisy_capacitor(sheet, (x, 0), label, OF_WEIGHTS if weights else OF_NEURONS)
        return
    sheet.shunt("Capacitor", (x, 0), label)
    for k, (part, said) in enumerate(_loads(parts), 1):
        sheet.shunt(part, (x + 2.9 * k, 0), said)


def _draw_neuron(sheet: Sheet, parts: Parts, at: float) -> float:
    """Draw gate, drive and one synapse of a loop, the gate's centre at ``at``; return where the neuron's node is."""
    s = parts.made.scaling
    x = draw_gate(sheet, parts, (at, 0)) + 1.0
    sheet.shunt("Resistor", (x, 0), f"$R_d$\n{engineering(s.volts('d') / s.drift_current, 'Ω')}")
    sheet.text((x, 0.3), "$d_i$", "center", "bottom")
    sheet.line((at + GATE[0] / 2, 0), (x, 0))
    if parts.device and parts.dynamics.noise == "neuron":
        sheet.line((x, 0), (x + 2.7, 0))
        sheet.shunt("SourceI", (x + 2.7, 0), "noise")
        x += 2.7
    return _draw_weight(sheet, parts, x, LED)


def _draw_lines(page: Sheet, sheet: Sheet, parts: Parts, crossbars: Mapping[str, Crossbar | ResistorCrossbar]) -> float:
    """Draw what makes phi and v of an input; return how far down that reaches."""
    read, write = crossbars.get("features_weights"), crossbars["dual_weights"]
    count, lift = f"$H$ = {parts.n_features}", 2.2 + 2.4 * (parts.device and read is not None)
    if read is None:
        sheet.text((0, lift), "lines: features that come with the input that is on", vertical="bottom")
        sheet.waveform((-1.7, 0.7), "hold")
        draw_terminal(sheet, (0, 0), r"\phi_l(t)", "right")
        start = (6.0, 0.0)
        sheet.line((0.1, 0), start)
    else:
        sheet.text((0, lift), "lines: features of the input that is on", vertical="bottom")
        draw_terminal(sheet, (0, 0), "x_j(t)", "right")
        sheet.waveform((-1.7, 0.7), "hold")
        columns, title = f"$D$ = {parts.made.model.n_features}", r"features crossbar: $W_\phi$"
        end = Stage(sheet, parts, read, Named("x_j", "z_l", columns, count, title, "c_l", "-c_l", False)).draw()
        start = draw_rectifier(page, sheet, parts, end, r"\phi_l")
    sheet.dot(start)
    sheet.line(start, (start[0] + 1.0, start[1]))
    draw_terminal(sheet, (start[0] + 1.1, start[1]), r"\phi_h \quad (h = l)", "left")
    title = r"dual crossbar: $(\Phi \Phi^\mathsf{T})^+$"
    named = Named(r"\phi_l", "v_h", count, count, title, "", "", False)
    drop = start[1] - TURN[0 if parts.device else 1]
    sheet.line(start, (start[0], drop))
    row = sheet.placed((start[0], drop), 1 if read is None else -1)
    end = Stage(row, parts, write, named).draw()
    row.dot((end[0] + 0.1, end[1]), terminal=True)
    return drop + GHOST_ROW - 2.5
