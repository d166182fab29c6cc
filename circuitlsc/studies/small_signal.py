r"""Small-signal predictions: what an imperfection does to the posterior, to first order, from samples of the ideal circuit.

An imperfection that adds delta E to the energy moves the average of any statistic phi by

.. math:: \delta\langle\phi\rangle = -\mathrm{Cov}(\phi, \delta E)/T

and one that multiplies the temperature by 1 + eps by eps Cov(phi, E)/T. Which energy belongs to which imperfection stands in
the docstrings of the cells; here is the list:

==========================================  ==========================================================
``op_amp.offset``                           sum_i e0_i s_i, with e0 the gradient's offset (noise gains included)
``multiplier.offset``                       sum_i delta_i s_i
``integrator.output_resistance``            kappa/2 sum_i u_i^2, kappa = tau/(R C)
``integrator.offset_current``               -sum_i o_i u_i; ``noise.offset``: the same, if DC-coupled
``prior.lam_error``, ``prior.lam_mismatch``  sum_i lam_i c(u_i)
``noise.temperature``, ``corner.*``         a temperature: T_K/300; R (noise of a larger resistor); 1/C
==========================================  ==========================================================

A lag theta of the loop (op-amps: the sum of noise gain/(2 pi GBW)) and a noise corner b have a formula for linear modes,
hence for a Gaussian prior: the variance 1/a of a mode of rate a = a_l + 1/sd^2, of which a_l goes through the amplifiers,
becomes (1 + a_l theta)/a, and b/(a (a + b)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.cells import DeviceGate, DeviceIntegrator, ThermalNoise, TransimpedanceSum
from circuitlsc.circuit.cells.op_amp import Buffer
from circuitlsc.circuit.graph import Twin
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.nonidealities import ideal_value
from circuitlsc.reference.statistics import mean_with_mcse
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.paired_difference import Change

HEAT = ("noise.temperature", "corner.temperature", "corner.resistance", "corner.capacitance")
LAGS = ("op_amp.gbw", "noise.capacitance")
#: imperfections that add an energy, or change the temperature
PREDICTED = (
    "op_amp.offset",
    "multiplier.offset",
    "integrator.output_resistance",
    "integrator.offset_current",
    "noise.offset",
    "prior.lam_error",
    "prior.lam_mismatch",
    *HEAT,
)


@dataclass(frozen=True, eq=False)
class Prediction(Change):
    """First-order change of each latent's statistics, and its standard error from the ideal circuit's samples."""

    method: ClassVar[str] = "small signals"


def predict(ideal: Sampler, device: Sampler, u: ArrayLike | Draws) -> Prediction | None:
    """Predict what ``device`` does differently from ``ideal``, or None if an imperfection has no formula.

    Parameters
    ----------
    ideal, device : Sampler
        The same circuit with ideal parts, and with imperfections.
    u : array or Draws, shape (n_chains, n_draws, n_latents)
        Samples of the ideal circuit.
    """
    if ideal.dynamics.kind != "langevin":
        return None  # the formulas are those of the overdamped circuit
    names = [i.name for i in device.nonideal.imperfections()]
    linear = ideal.model.prior.linear
    if not names or not all(n in PREDICTED or (linear and n in LAGS) for n in names):
        return None
    if any(n in LAGS for n in names):
        return _linear_modes(ideal, device) if len(names) == 1 else None
    return _from_energy(ideal, added_energy(device), Draws.of(u))


def added_energy(device: Sampler) -> Callable[[Array], Array]:
    """Return delta E of the imperfections, dimensionless, as a function of states (..., n_latents): shape (...).

    What does not depend on the states is calculated once.
    """
    model, scaling, parts = device.model, device.scaling, device.nonideal
    cells, noise, width = device.graph.cells, device.graph.noise, device.plan.width
    offset = gradient_offset(device) if parts.op_amp.offset > 0 else None
    assert noise is not None
    heated = any(parts.get(name) != ideal_value(name) for name in HEAT)
    heat = float(noise.mix[0, 0] ** 2 * parts.corner.capacitance) if heated else 1.0

    def delta(u: Array) -> Array:
        s = model.latent(u, width)
        total = np.zeros(u.shape[:-1]) if offset is None else s @ offset
        for cell in cells:
            if isinstance(cell, DeviceGate):
                _, _, shift, prior = cell.draws
                total += s @ (shift / scaling.volt_e) + model.prior.cost(u, width) @ (prior - 1)
            elif isinstance(cell, DeviceIntegrator):
                total += cell.leak_rate / 2 * np.sum(u**2, axis=-1) - u @ cell.offset
            elif isinstance(cell, ThermalNoise):
                total -= u @ cell.drift_offset
        if heat != 1:
            total = total - (heat - 1) * model.energy(u, device.x, width)
        return np.asarray(total)

    return delta


def gradient_offset(device: Sampler) -> Array:
    """Return what the op-amps' offsets add to the gradient e, in its units, shape (n_latents,)."""
    zero = np.zeros(device.model.n_latents)
    # every stage before the gate is linear in its input: offsets are what is left if each is made to vanish
    with_offsets = device.twin.signals(zero)["gradient"]
    without = Twin(device.graph_with(nonideal=device.nonideal.changed({"op_amp.offset": 0.0})))
    return np.asarray(with_offsets - without.signals(zero)["gradient"])


def loop_lag(device: Sampler) -> float:
    r"""Return the loop's lag from the op-amps, seconds: the sum of noise gain/(2 pi GBW) over the stages in series.

    The rows' mean noise gain stands for a crossbar's; an inverter counts for the share of the positive entries, whose
    signal goes through it.
    """
    gbw = device.nonideal.op_amp.gbw / device.nonideal.corner.capacitance
    total = 0.0
    for cell in device.graph.cells:
        if isinstance(cell, TransimpedanceSum):
            total += float(np.mean(np.diag(cell.noise_gain)))
            m = cell.crossbar.matrix
            total += 2.0 * float(np.maximum(m, 0).sum() / np.abs(m).sum())
        elif isinstance(cell, Buffer):  # an inverter is counted with its crossbar
            total += 1.0
    return total / (2 * np.pi * gbw)


def _linear_modes(ideal: Sampler, device: Sampler) -> Prediction:
    """Return the change of a Gaussian posterior's sd by a lag or a noise corner; its mean does not move."""
    model, zero = ideal.model, np.zeros(ideal.model.n_latents)
    looped, modes = np.linalg.eigh(model.gram)
    rates = looped + model.prior.stiffness
    noise = device.graph.noise
    b = noise.corner_rate if isinstance(noise, ThermalNoise) else np.inf
    variance = (1 + looped * loop_lag(device) / device.scaling.tau) / (rates * (1 + rates / b))
    before, after = (np.sqrt(ideal.temperature * modes**2 @ v) for v in (1 / rates, variance))
    return Prediction(zero, zero, zero, zero, after - before, zero)


def _from_energy(ideal: Sampler, added: Callable[[Array], Array], u: Draws) -> Prediction:
    model, t, delta = ideal.model, ideal.temperature, u.map(added)
    centre = delta.mean()

    def moved(statistic: Draws) -> tuple[Array, Array]:
        """Return -Cov(statistic, delta)/T and its standard error."""
        middle = statistic.mean()
        return mean_with_mcse(statistic.map(lambda v, d: -(v - middle) * (d - centre)[..., None] / t, delta))

    s = u.map(model.latent)
    average = s.mean()
    squares = s.map(lambda v: (v - average) ** 2)
    p, p_se = moved(u.map(lambda v: model.active(v).astype(float)))
    mean, mean_se = moved(s)
    var, var_se = moved(squares)
    scale = 1 / np.maximum(2 * np.sqrt(squares.mean()), 1e-12)
    return Prediction(p, p_se, mean, mean_se, var * scale, var_se * scale)
