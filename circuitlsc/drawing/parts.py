"""The parts of a circuit as schematics show them: its cells, the labels of their values, and what both circuits have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from circuitlsc.circuit.cells import (
    AdaptiveGate,
    AdaptiveThreshold,
    Buffer,
    Cell,
    DeviceIntegrator,
    DeviceMemory,
    DeviceWeights,
    Gate,
    Integrator,
    Precision,
    Threshold,
    Transconductor,
)
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.drawing.sheet import AMP, CURVE, CURVE_BOX, Point, Sheet, engineering
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.lca import lca_model
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.stream import Stream
from circuitlsc.nonideal.hardware import Hardware

Found = TypeVar("Found", bound=Cell)

GATE = (4.9, 2.0)  # width and height of the gate's box
STEM = 2.1  # length of a wire from a terminal up to what it controls
SYMBOLS = {"a": "a_{ji}", "u0": "u_0", "logpi": r"\log\pi^{-1}", "lam": r"\lambda", "sigma": r"\sigma"}


@dataclass(frozen=True)
class Parts:
    """The cells of a circuit, a Sampler or a CircuitLearner, and the labels of their values."""

    made: Any

    def find(self, kind: type[Found], name: str | None = None) -> Found | None:
        """Return the first cell of a kind (with this name), if there is one."""
        cells = (cell for cell in self.made.graph.cells if isinstance(cell, kind))
        return next((cell for cell in cells if name in (None, cell.name)), None)

    def get(self, kind: type[Found]) -> Found:
        """Return the first cell of a kind, which there is."""
        found = self.find(kind)
        assert found is not None
        return found

    @property
    def dynamics(self) -> Any:
        """What the neurons do; those of a circuit that learns sample, or are read from its memory."""
        remembered = getattr(self.made, "remembered", None)
        return remembered.dynamics if remembered is not None else getattr(self.made, "dynamics", Dynamics())

    @property
    def n_features(self) -> int:
        """H, of a memory."""
        remembered = getattr(self.made, "remembered", None)
        return int((self.made if remembered is None else remembered).features.H)

    @property
    def lca(self) -> bool:
        """Whether the circuit is an LCA."""
        return bool(self.dynamics.kind == "lca")

    @property
    def device(self) -> bool:
        """Whether there are devices."""
        return bool(self.made.level == "device")

    @property
    def state(self) -> Integrator:
        """The neurons."""
        neurons: Integrator = self.made.graph.neurons
        return neurons

    @property
    def moves(self) -> dict[str, Integrator]:
        """Integrators beside the neurons, by their letter: momenta, or slow variables."""
        return {cell.quantity: cell for cell in self.made.graph.integrators if cell is not self.state}

    @property
    def momentum(self) -> Integrator | None:
        """The second integrators of underdamped dynamics."""
        return self.moves.get("p")

    @property
    def stream(self) -> Stream | None:
        """The inputs that follow each other, if there are several."""
        return next((cell.stream for cell in self.made.graph.inputs_from_outside if cell.stream is not None), None)

    @property
    def residual(self) -> str:
        """What goes back: r, or q where it comes over a sigma^2 that moves."""
        return "q" if self.find(Precision) is not None else "r"

    def capacitor(self, cell: Integrator, name: str = r"C_\mathrm{int}") -> str:
        """Return the label of an integrator's capacitor, nominal but for the chip's corner."""
        farad = self.made.scaling.c_int * cell.capacitor
        if isinstance(cell, (DeviceIntegrator, DeviceMemory, DeviceWeights)):
            farad = cell.hardware.farad(farad)
        name += r" \sqrt{m}" if cell is self.momentum else ""
        return f"${name}$\n{engineering(farad, 'F')}"

    @property
    def theta(self) -> float:
        """Where the code's thresholds are, in model units; 0 if it has none."""
        model = self.made.model
        return float(lca_model(model).prior.lam if self.lca else model.prior.threshold)

    @property
    def width(self) -> float:
        """The comparators' width, in model units."""
        made = self.made
        return float(made.plan.width if hasattr(made, "plan") else made.comparator_width)

    @property
    def thresholds(self) -> list[str]:
        """The labels of the threshold, where it is fixed, and of the comparators' width."""
        shown = {"w": self.width}
        if self.theta > 0 and self.find(AdaptiveThreshold) is None:
            shown = {r"\theta" if self.lca else "u_0": self.theta, **shown}
        return [f"${name}$ = {engineering(u * self.made.scaling.volt, 'V')}" for name, u in shown.items()]

    @property
    def reach(self) -> float:
        """How far transfer curves are drawn, in model units."""
        return 2.2 * self.theta or 12 * self.width

    def code(self) -> Table | None:
        """Return s(u), with the threshold where it starts; None if there is no threshold."""
        fixed, moving = self.find(Threshold), self.find(AdaptiveThreshold)
        if moving is None:
            return None if fixed is None else fixed.table
        u = np.linspace(-1, 1, 481) * self.reach
        return Table(u, moving.evaluate({"u": u[:, None], "u0": np.full(1, self.theta)})[:, 0])

    @property
    def code_name(self) -> str:
        """What the cell is called that makes the code."""
        if self.lca:
            return f"{self.dynamics.threshold} threshold"
        return "threshold" if self.made.model.prior.sparse or self.find(AdaptiveThreshold) else "rectifier"

    @property
    def code_letter(self) -> str:
        """The code, and what it is where a wire makes it."""
        return "s_i = u_i" if self.code() is None and self.find(Buffer) is None else "s_i"

    @property
    def force(self) -> str:
        """The gate's current, in mathematics."""
        gate, adaptive = self.find(Gate), self.find(AdaptiveGate)
        linear = gate is not None and gate.comparator is None
        moving = adaptive is not None and adaptive.lam is None
        prior = r"\lambda\,\mathrm{sgn}\,u_i" if moving else "c'(u_i)"
        if self.lca:
            prior = "u_i" if gate is None or gate.prior is None else "u_i - s_i"
        force = "e_i" if linear else r"s'(u_i)\,e_i"
        return rf"$-[\,{force} + {prior}\,]$"

    @property
    def velocity(self) -> str:
        """The label of the transconductor from momentum to neuron."""
        s = self.made.scaling
        return f"$G_\\omega$ = {engineering(self.get(Transconductor).gain * s.drift_current / s.volt, 'S')}"

    def friction(self, momentum: Integrator) -> str:
        """Return the label of a momentum's friction."""
        s = self.made.scaling
        ohm = s.tau / (momentum.conductance * s.c_int)
        if isinstance(momentum, DeviceIntegrator):
            ohm = momentum.hardware.ohm(ohm)
        return f"friction\n$R_\\gamma$ = {engineering(ohm, 'Ω')}"

    def unit(self, letters: str) -> str:
        """Return the line that says what a unit of some quantities is."""
        return f"one unit of ${letters}$: {engineering(self.made.scaling.volts(letters[0]), 'V')}"

    def units(self, *letters: str) -> str:
        """Return the block of text that says what a unit of each quantity is, and tau, T, mass and friction."""
        s, dynamics = self.made.scaling, self.dynamics
        like_u = ", ".join(
            ["u", *("p" if self.momentum else ""), "s", *(SYMBOLS[q] for q in self.moves if q in SYMBOLS)]
        )
        lines = [self.unit(found) for found in (like_u.replace("_{ji}", ""), *letters)]
        lines.append(f"one unit of drift: {engineering(s.drift_current, 'A')}")
        noisy = "" if not self.made.graph.noises else f", $T$ = {dynamics.T:g}"
        lines.append(f"$\\tau$ = {engineering(s.tau, 's')}" + noisy)
        if self.momentum is not None:
            lines.append(f"$m$ = {dynamics.mass:.3g}, $\\gamma$ = {dynamics.friction:.3g}")
            lines.append(f"$\\omega = 1/\\sqrt{{m}}$ = {dynamics.mass**-0.5:.3g}")
        return "\n".join(lines)

    def transfer(self, cell: Multipliers) -> str:
        """Return how many amperes a multiplier gives for a volt at each input."""
        s = self.made.scaling
        p, q = (s.volts(quantity) for quantity in cell.quantities)
        return engineering(abs(cell.gain * cell.amperes(s)) / p / q, "A/V²")

    @property
    def leak(self) -> tuple[float, float] | None:
        """What discharges a weight, ohm, and how long that takes, seconds; None if it does not leak."""
        weights = self.find(DeviceWeights)
        if weights is None or not math.isfinite(weights.hardware.parts.plastic.leak_resistance):
            return None
        ohm = weights.hardware.ohm(weights.hardware.parts.plastic.leak_resistance)
        return ohm, ohm * weights.hardware.farad(self.made.scaling.c_int * weights.capacitor)


def draw_neuron(sheet: Sheet, parts: Parts, centre: Point) -> float:
    """Draw the gate, its rail with noise and capacitor, and the state's way back; return where the capacitor is."""
    sheet = sheet.placed(centre)
    end, height = draw_gate(sheet, parts, (0, 0)), GATE[1]
    x = end + 0.6
    sheet.line((x, 0), (x, 2.0), (0, 2.0), (0, height / 2), arrow="->")
    sheet.dot((x, 0))
    sheet.line((end, 0), (x + 3.2, 0))
    draw_node(sheet, parts, parts.state, (x + 3.2, 0))
    return centre[0] + x + 3.2


def draw_gate(sheet: Sheet, parts: Parts, centre: Point) -> float:
    """Draw the gate's box, with terminals of parameters that move; return where its output is."""
    sheet.box(centre, *GATE, "gate\n" + parts.force)
    if (gate := parts.find(AdaptiveGate)) is not None:
        for dx, name in ((-1.2, "u_0"), *(((1.2, r"\lambda"),) if gate.lam is None else ())):
            draw_control(sheet, (centre[0] + dx, centre[1]), GATE[1] / 2, name)
    return centre[0] + GATE[0] / 2


def draw_node(sheet: Sheet, parts: Parts, state: Integrator, at: Point, noise: float | None = None) -> None:
    """Draw an integrator's capacitor, with its noise if it has any: in series, or as a current at ``noise``."""
    x, y = at
    sheet.text((x, y + 0.3), f"${state.quantity}_i$", "center", "bottom")
    capacitor = parts.capacitor(state)
    if state.noisy and not parts.device:
        draw_noisy_capacitor(sheet, at, capacitor, "noise")
        return
    if state.noisy:
        sheet.shunt("SourceI", (x - 2.4 if noise is None else noise, y), "noise")
    sheet.shunt("Capacitor", at, capacitor)


def draw_noisy_capacitor(sheet: Sheet, top: Point, label: str, noise: str) -> None:
    """Draw an integrating capacitor with a Brownian voltage in series, down to ground."""
    x, y = top
    sheet.dot(top)
    sheet.part("Capacitor", top, (x, y - 1.4))
    sheet.text((x + 0.75, y - 0.75), label)
    sheet.part("Source", (x, y - 1.4), (x, y - 2.8))
    path = np.array([0.0, 0.5, -0.1, 0.45, 0.9, 0.2, 0.5, -0.35, -0.9, -0.3, -0.65, 0.1, 0.0])
    places = np.linspace(-0.36, 0.36, len(path))
    sheet.line(*((x + float(a), y - 2.1 + 0.28 * float(b)) for a, b in zip(places, path, strict=True)), width=0.7)
    sheet.ground((x, y - 2.8))
    sheet.text((x + 0.75, y - 2.15), noise)


def draw_state(sheet: Sheet, parts: Parts, state: Integrator, top: Point) -> tuple[float, float]:
    """Draw an integrator's capacitor with its noise and what loads it; return where the last part is, and its width."""
    (x, y), s = top, parts.made.scaling
    sheet.text((x, y + 0.3), f"${state.quantity}_i$", "center", "bottom")
    noise = parts.made.graph.noises[0] if state.noisy else None
    if noise is not None and not parts.device:
        unit = noise.units(s)[0]
        label = r"$V_1 \sqrt{2 T}\; W(t / \tau)$" + f"\n$V_1$ = {engineering(unit, 'V')}"
        draw_noisy_capacitor(sheet, (x, y), parts.capacitor(state), label)
        return x, 5.0
    sheet.shunt("Capacitor", (x, y), parts.capacitor(state))
    if isinstance(state, DeviceIntegrator):
        part = state.hardware.parts.integrator
        if math.isfinite(part.output_resistance):
            x += 2.9
            ohm = engineering(state.hardware.ohm(part.output_resistance), "Ω")
            sheet.shunt("Resistor", (x, y), "$R_\\mathrm{leak}$\n" + ohm)
        if part.offset_current > 0:
            x += 2.9
            sheet.shunt("SourceI", (x, y), "$I_\\mathrm{os}$\n" + f"±{engineering(part.offset_current, 'A')}")
    return x, 3.2


def draw_thermal_noise(sheet: Sheet, hardware: Hardware, gain: float) -> float:
    """Draw the thermal-noise source under the gate, lifted by ``gain`` siemens; return where its current joins the rail."""
    y = -4.6
    part = hardware.parts.noise
    sheet.text((0, y + 0.45), "thermal-noise source", vertical="bottom")
    label = f"$R_n$\n{engineering(hardware.ohm(part.resistance), 'Ω')}\n{hardware.noise_kelvin:.4g} K"
    sheet.shunt("Resistor", (0.3, y), label)
    if part.capacitance > 0:
        sheet.shunt("Capacitor", (2.8, y), f"$C_n$\n{engineering(hardware.farad(part.capacitance), 'F')}")
    x = 5.7
    sheet.line((0.3, y), (x, y))
    if part.ac_corner > 0:
        sheet.box((x + 0.6, y), 1.2, 1.0)
        edge = ((0.2, -0.25), (0.45, -0.25), (0.75, 0.25), (1.0, 0.25))
        sheet.line(*((x + dx, y + dy) for dx, dy in edge), color=CURVE, width=1.2)
        corner = part.ac_corner / (hardware.parts.corner.resistance * hardware.parts.corner.capacitance)
        sheet.text((x + 0.6, y - 0.7), f"high-pass\n{engineering(corner, 'Hz')}", "center", "top")
        sheet.line((x + 1.2, y), (x + 2.4, y))
        x += 2.4
    out = sheet.transconductor((x, y))
    sheet.text((x + 0.8, y - 0.85), f"$g_m$ = {engineering(gain, 'S')}", "center", "top")
    sheet.line(out, (x + 2.0, y), (x + 2.0, 0))
    sheet.dot((x + 2.0, 0))
    return x + 2.0


def draw_code(sheet: Sheet, parts: Parts, start: Point) -> Point:
    """Draw the cell that makes the code of the state: threshold, buffer or a wire; return its output."""
    (x, y), (w, h), table = start, CURVE_BOX, parts.code()
    if table is not None:
        centre = (x + w / 2, y)
        sheet.curve_box(centre, table, parts.reach)
        sheet.text((x + w / 2, y + h / 2 + 0.2), parts.code_name, "center", "bottom")
        if parts.find(AdaptiveThreshold) is None:
            sheet.text((x + w / 2, y - h / 2 - 0.2), "\n".join(parts.thresholds), "center", "top")
        else:
            draw_control(sheet, centre, h / 2, "u_0")
            sheet.text((x + w / 2, y - h / 2 - STEM - 0.75), parts.thresholds[-1], "center", "top")
        return x + w, y
    if parts.find(Buffer) is None:
        return start
    out = sheet.follower(start)
    sheet.text((x + 1.6, y + AMP + 0.4), "buffer", "center", "bottom")
    return out


def draw_control(sheet: Sheet, at: Point, edge: float, name: str, side: int = -1) -> None:
    """Draw a terminal below a part, or above it (side = 1), and the arrow to its edge."""
    x, y = at
    end = y + side * (edge + STEM)
    sheet.dot((x, end), terminal=True)
    sheet.line((x, end - side * 0.1), (x, y + side * edge), arrow="->")
    sheet.text((x, end + side * 0.25), f"${name}$", "center", "top" if side < 0 else "bottom")


def draw_multiplier(
    sheet: Sheet, start: Point, centre: Point, other: str, label: str, sign: str = "", side: int = -1
) -> Point:
    """Draw a multiplier with a current output, whose second input comes from a terminal; return its output."""
    x, y = centre
    sheet.line(start, (x - 0.45, y))
    sheet.multiplier(centre)
    draw_control(sheet, centre, 0.45, other, side)
    sheet.line((x + 0.45, y), (x + 1.0, y))
    sheet.text((x + 1.8, y - 0.95), label, "center", "top")
    return sheet.transconductor((x + 1.0, y), sign)


def draw_leaky(sheet: Sheet, parts: Parts, cell: Integrator, at: Point) -> float:
    """Draw the capacitor of a weight, and what discharges it; return where the last part is."""
    sheet.shunt("Capacitor", at, parts.capacitor(cell, "C_{A}"))
    if parts.leak is None:
        return at[0]
    sheet.shunt("Resistor", (at[0] + 3.2, at[1]), f"$R_A$\n{engineering(parts.leak[0], 'Ω')}")
    return at[0] + 3.2


def draw_terminal(sheet: Sheet, at: Point, name: str, align: str) -> None:
    """Draw an open terminal with its name beyond it."""
    sheet.dot(at, terminal=True)
    sheet.text((at[0] + (0.3 if align == "left" else -0.3), at[1]), f"${name}$", align)
