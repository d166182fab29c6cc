"""The parts of a circuit that learns as schematics show them: its cells, and the labels of their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from circuitlsc.circuit.cells import (
    AdaptiveGate,
    AdaptiveThreshold,
    Cell,
    DeviceIntegrator,
    DeviceWeights,
    Gate,
    Integrator,
    Precision,
    Threshold,
)
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.drawing.sheet import Point, Sheet, engineering
from circuitlsc.model.piecewise_linear import Table

if TYPE_CHECKING:
    from circuitlsc.learning.circuit import CircuitLearner

Found = TypeVar("Found", bound=Cell)

SYMBOLS = {"a": "a_{ji}", "u0": "u_0", "lam": r"\lambda", "sigma": r"\sigma"}


@dataclass(frozen=True)
class LearnerParts:
    """The cells of a circuit that learns, and the labels of their values."""

    learner: CircuitLearner

    def find(self, kind: type[Found], name: str | None = None) -> Found | None:
        """Return the first cell of a kind (with this name), if there is one."""
        cells = (cell for cell in self.learner.graph.cells if isinstance(cell, kind))
        return next((cell for cell in cells if name in (None, cell.name)), None)

    @property
    def moves(self) -> dict[str, Integrator]:
        """The slow variables by their letter."""
        state = self.learner.graph.integrator
        return {cell.quantity: cell for cell in self.learner.graph.integrators if cell is not state}

    @property
    def device(self) -> bool:
        """Whether there are devices."""
        return self.learner.level == "device"

    @property
    def residual(self) -> str:
        """What goes back: r, or q where it comes over a sigma^2 that moves."""
        return "q" if self.find(Precision) is not None else "r"

    def capacitor(self, cell: Integrator, name: str) -> str:
        """Return the label of a capacitor, nominal but for the chip's corner."""
        farad = self.learner.scaling.c_int * cell.capacitor
        if isinstance(cell, (DeviceIntegrator, DeviceWeights)):
            farad = cell.hardware.farad(farad)
        return f"$C_{{{name}}}$\n{engineering(farad, 'F')}"

    def transfer(self, cell: Multipliers) -> str:
        """Return how many amperes a multiplier gives for a volt at each input."""
        s = self.learner.scaling
        p, q = (s.volts(quantity) for quantity in cell.quantities)
        return engineering(abs(cell.gain * cell.amperes(s)) / p / q, "A/V²")

    @property
    def thresholds(self) -> list[str]:
        """The labels of threshold, where it is fixed, and width."""
        volt, u0 = self.learner.scaling.volt, self.learner.model.prior.threshold
        fixed = u0 > 0 and self.find(AdaptiveThreshold) is None
        level = [f"$u_0$ = {engineering(u0 * volt, 'V')}"] if fixed else []
        return [*level, f"$w$ = {engineering(self.learner.comparator_width * volt, 'V')}"]

    def code(self) -> Table | None:
        """Return s(u), with the threshold where it starts; None if the code is the state."""
        fixed, moving = self.find(Threshold), self.find(AdaptiveThreshold)
        if moving is None:
            return None if fixed is None else fixed.table
        u = np.linspace(-1, 1, 481) * self.reach
        u0 = np.full(1, self.learner.model.prior.threshold)
        return Table(u, moving.evaluate({"u": u[:, None], "u0": u0})[:, 0])

    @property
    def reach(self) -> float:
        """How far transfer curves are drawn, in model units."""
        return 2.2 * self.learner.model.prior.threshold or 12 * self.learner.comparator_width

    @property
    def force(self) -> str:
        """The gate's current, in mathematics."""
        gate, adaptive = self.find(Gate), self.find(AdaptiveGate)
        linear = gate is not None and gate.comparator is None
        moving = adaptive is not None and adaptive.lam is None
        prior = r"\lambda\,\mathrm{sgn}\,u_i" if moving else "c'(u_i)"
        force = "e_i" if linear else r"s'(u_i)\,e_i"
        return rf"$-[\,{force} + {prior}\,]$"

    @property
    def units(self) -> str:
        """The block of text that says how large everything is."""
        made, s = self.learner, self.learner.scaling
        like_u = ", ".join(["u", "s", *(SYMBOLS[q].replace("_{ji}", "") for q in self.moves)])
        back = "e, q" if self.residual == "q" else "e"
        lines = [f"$K$ = {made.model.n_latents} latents, $D$ = {made.model.n_features} features"]
        lines += [f"one unit of ${q}$: {engineering(s.volts(q[0]), 'V')}" for q in (like_u, "r", back)]
        lines.append(f"one unit of drift: {engineering(s.drift_current, 'A')}, $\\tau$ = {engineering(s.tau, 's')}")
        held = engineering(made.stage.hold * s.tau, "s")
        lines.append(f"{made.stage.n_inputs} inputs $x(t)$, each on for {held}")
        return "\n".join(lines)

    @property
    def errors(self) -> str:
        """What is wrong with a multiplier, as one line; nothing at the ideal level."""
        if not self.device or self.learner.nonideal is None:
            return ""
        part = self.learner.nonideal.plastic
        said = [f"gain ±{100 * part.gain_error:.3g} %"] if part.gain_error > 0 else []
        said += [f"offsets ±{engineering(part.offset, 'V')}"] if part.offset > 0 else []
        return ", ".join(said)

    @property
    def leak(self) -> str:
        """The label of what discharges a weight; nothing if it does not leak."""
        weights = self.find(DeviceWeights)
        if weights is None or not math.isfinite(weights.hardware.parts.plastic.leak_resistance):
            return ""
        return f"$R_A$\n{engineering(weights.hardware.ohm(weights.hardware.parts.plastic.leak_resistance), 'Ω')}"

    @property
    def leak_time(self) -> float:
        """How long a leaking weight lasts, seconds."""
        weights = self.find(DeviceWeights)
        assert weights is not None
        hardware, farad = weights.hardware, self.learner.scaling.c_int * weights.capacitor
        return hardware.ohm(hardware.parts.plastic.leak_resistance) * hardware.farad(farad)


def draw_terminal(sheet: Sheet, at: Point, name: str, align: str) -> None:
    """Draw an open terminal with its name beyond it."""
    sheet.dot(at, terminal=True)
    sheet.text((at[0] + (0.3 if align == "left" else -0.3), at[1]), f"${name}$", align)
