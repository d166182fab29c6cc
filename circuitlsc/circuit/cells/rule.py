r"""Rules: the currents into the capacitors of u0, lam, -log(pi) and sigma, each a sum over latents or pixels.

.. math:: \dot u_0 \propto \textstyle\sum_i e_i\,1(s_i > 0), \qquad
          \dot\lambda \propto \textstyle\sum_{i\,\mathrm{active}} (1/\lambda - |s_i|), \qquad
          \dot\sigma \propto |r|^2/D - \sigma^2

Fang et al. 2022, eqs. (3.13), (2.10), (2.9), corrected (docs/learning.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PySpice.Spice.Netlist import SubCircuit

from circuitlsc.circuit.cells.adaptive import LEAST, Corner
from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.io.arrays import Array
from circuitlsc.planning.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Rule(Cell):
    """A current into a slow variable's capacitor: a sum of one term per latent or pixel, and one of its own."""

    linear = True

    def pins(self, wires: Wires) -> tuple[tuple[str, ...], ...]:
        """Return the capacitor's node, and the inputs of each term."""
        return (wires.output, *(wires.inputs[port] for port in self.ports))


@dataclass(frozen=True, eq=False)
class ThresholdRule(Rule):
    r"""The drift of u0: :math:`-\partial E/\partial u_0 = \sum_i e_i\,1(s_i > 0)` (signed: :math:`e_i\,\mathrm{sign}(s_i)`).

    Fang et al. 2022, eq. (3.13), with the 1/sigma^2 that it drops (e has it).

    Parameters
    ----------
    corner : Corner
    """

    corner: Corner

    ports: ClassVar[tuple[str, ...]] = ("u", "e", "u0")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        e, push = inputs["e"], self.corner.values(inputs["u"], inputs["u0"]).push
        partials = {
            "u": (push.u * e)[..., None, :],
            "e": push.value[..., None, :],
            "u0": (push.u0 * e).sum(-1)[..., None, None],
        }
        return (push.value * e).sum(-1, keepdims=True), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out u e u0``."""
        cell = self.defined("threshold rule: current e 1(s > 0) into u0", "out", *self.ports)
        push = self.corner.spice("push", scaling, scaling.drift_current / scaling.volt_e)
        cell.B("r", 0, "out", current_expression=f"V(e)*{push}")
        return (cell,)


class SparsityRule(ThresholdRule):
    r"""The drift of -log(pi) where lam moves too: lam times that of u0."""

    ports = ("u", "e", "u0", "lam")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        lam = inputs["lam"][..., None]
        push, partials = super().respond(inputs)
        return push * inputs["lam"], {**{p: lam * d for p, d in partials.items()}, "lam": push[..., None]}

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out u e u0 lam``."""
        cell = self.defined("sparsity rule: current lam e 1(s > 0) into -log(pi)", "out", *self.ports)
        push = self.corner.spice("push", scaling, scaling.drift_current / scaling.volt_e / scaling.volt)
        cell.B("r", 0, "out", current_expression=f"V(lam)*V(e)*{push}")
        return (cell,)


@dataclass(frozen=True, eq=False)
class RateRule(Rule):
    r"""The drift of lam with pi held: :math:`\sum_{i\,\mathrm{active}} (1/\lambda - |s_i|)`.

    Fang et al. 2022, eq. (2.10) has the gradient at fixed u0; with u0 = -log(pi)/lam following, this is it.

    Parameters
    ----------
    corner : Corner
    """

    corner: Corner

    ports = ("u", "u0", "lam")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        v, lam = self.corner.values(inputs["u"], inputs["u0"]), np.maximum(inputs["lam"], LEAST)
        on, size = v.on, v.size
        partials = {
            "u": (on.u / lam - size.u)[..., None, :],
            "u0": (on.u0 / lam - size.u0).sum(-1)[..., None, None],
            "lam": (-on.value / lam**2).sum(-1)[..., None, None],
        }
        return (on.value / lam - size.value).sum(-1, keepdims=True), partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out u u0 lam``."""
        cell = self.defined("rate rule: current 1(s > 0) (1/lam - abs(s)) into lam", "out", *self.ports)
        on = self.corner.spice("on", scaling, scaling.drift_current * scaling.volt)
        size = self.corner.spice("size", scaling, scaling.drift_current)
        cell.B("r", 0, "out", current_expression=f"{on}/max(V(lam),{number(LEAST * scaling.volt)!r})-{size}")
        return (cell,)


@dataclass(frozen=True, eq=False)
class NoiseRule(Rule):
    r"""The drift of sigma: :math:`|x - A s|^2 / D - \sigma^2`, which is 0 where sigma is right.

    Fang et al. 2022, eq. (2.9), times sigma^3/D: the same resting point without a division.
    """

    n_features: int

    ports = ("r", "sigma")

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return the drift and its derivatives."""
        r, sigma = inputs["r"], inputs["sigma"]
        partials = {"r": (2 * r / self.n_features)[..., None, :], "sigma": -2 * sigma[..., None]}
        return (r**2).sum(-1, keepdims=True) / self.n_features - sigma**2, partials

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out r sigma``: one pixel's share."""
        cell = self.defined("noise rule: current (r^2 - sigma^2)/D into sigma", "out", *self.ports)
        share = scaling.drift_current / self.n_features
        r, sigma = number(share / scaling.volt_r**2), number(share / scaling.volt**2)
        cell.B("r", 0, "out", current_expression=f"{r!r}*V(r)*V(r)-{sigma!r}*V(sigma)*V(sigma)")
        return (cell,)
