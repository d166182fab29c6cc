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

Of a memory, whose N inputs are on for one N-th of the time each, with drives that reach the weights through write lines v:

=============================================  ==========================================================
``plastic.leak_resistance``                    N kappa/2 sum_k u_k^2 of each input, as hold goes to 0
``plastic.offset``                             -sum_k b_k u_k, b_k = sum_h phi_h o_kh sum_m v_hm, o at the write multipliers' d
``plastic.*``, ``noise.temperature_mismatch``  a temperature of each latent: its response to its own input, times its power
=============================================  ==========================================================

A lag theta of the loop (op-amps: the sum of noise gain/(2 pi GBW)) and a noise corner b have a formula for linear modes,
hence for a Gaussian prior: the variance 1/a of a mode of rate a = a_l + 1/sd^2, of which a_l goes through the amplifiers,
becomes (1 + a_l theta)/a, and b/(a (a + b)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.circuit.cells import (
    DeviceGate,
    DeviceIntegrator,
    DeviceMemory,
    ThermalNoise,
    ThermalWeightNoise,
    TransimpedanceSum,
    Write,
)
from circuitlsc.circuit.cells.op_amp import Buffer
from circuitlsc.circuit.graph import Twin
from circuitlsc.circuit.memory import independent, lines_at_rest, responses
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import ideal_value
from circuitlsc.planning.scaling import ROOM
from circuitlsc.reference.statistics import mean_with_mcse
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.validation.paired_difference import Change

LINES = ("features_sum", "dual")  # sums of a memory's lines, which are in no loop
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
#: those of a memory's own parts
OF_MEMORY = (
    "plastic.leak_resistance",
    "plastic.offset",
    "plastic.gain_error",
    "plastic.capacitance_mismatch",
    "noise.temperature_mismatch",
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
        return None  # the formulas are those of the overdamped circuit, and of a memory's rows
    names = [i.name for i in device.nonideal.imperfections()]
    linear = ideal.model.prior.linear
    if not names or not all(n in PREDICTED or (linear and n in LAGS) for n in names):
        return None
    if any(n in LAGS for n in names):
        return _linear_modes(ideal, device) if len(names) == 1 else None
    return _from_energy(ideal, added_energy(device), Draws.of(u))


def predict_rows(ideal: Sampler, device: Sampler, rows: Sequence[Draws]) -> Prediction | None:
    """Predict as `predict` does what a memory does with each of its inputs, one after the other: (n_rows * n_latents,).

    The states of one input do not move those of another to first order, whatever the crosstalk is
    (`circuitlsc.circuit.memory.responses`). What a latent's response to its own input is too large by heats that latent: the
    formula takes all others to be as hot as it is, which is exact where atoms do not overlap, and an approximation where
    they do.

    Parameters
    ----------
    rows : sequence of Draws, each (n_chains, n_draws, n_latents)
        Samples u of the ideal circuit, by row.
    """
    names = [i.name for i in device.nonideal.imperfections()]
    features = ideal.features
    if features is None or not independent(features, ideal.dynamics) or not names:
        return None
    weights = ideal.dynamics.noise == "weight"
    if weights and "noise.temperature_mismatch" in names:
        return None  # each weight has a temperature
    if not all(n in OF_MEMORY or (n in PREDICTED and not n.startswith("integrator.")) for n in names):
        return None
    if features.weights is not None and "op_amp.offset" in names:
        return None  # the lines move, too
    parts = device.nonideal
    hot = parts.factors(
        [f"noise_{k}" for k in range(ideal.model.n_latents)], "temperature", parts.noise.temperature_mismatch
    )
    # what all capacitors are is a temperature by itself
    own = hot[:, None] * responses(device.graph).diagonal(0, 1, 2) * parts.corner.capacitance
    found = [_from_energy(ideal, added_energy(device, n), u, (own[:, n] - 1, ideal.x[n])) for n, u in enumerate(rows)]
    return Prediction(**{f.name: np.concatenate([getattr(p, f.name) for p in found]) for f in fields(Prediction)})


def added_energy(device: Sampler, row: int = 0) -> Callable[[Array], Array]:
    """Return delta E of the imperfections, dimensionless, as a function of states (..., n_latents): shape (...).

    What does not depend on the states is calculated once. ``row`` is an input's, of a memory.
    """
    model, scaling, parts = device.model, device.scaling, device.nonideal
    cells, x = device.graph.cells, np.atleast_2d(device.x)[row]
    corner = (device.plan.width, device.plan.smoothing)
    offset = gradient_offset(device) if parts.op_amp.offset > 0 else None
    heated = any(parts.get(name) != ideal_value(name) for name in HEAT)
    heat = Hardware(parts, scaling).noise_kelvin / ROOM * parts.corner.resistance / parts.corner.capacitance
    shares = None if device.features is None else lines_at_rest(device.graph)
    inputs = 1 if device.features is None else device.features.N

    def delta(u: Array) -> Array:
        s = model.latent(u, *corner)
        total = np.zeros(u.shape[:-1]) if offset is None else s @ offset
        for cell in cells:
            if isinstance(cell, DeviceGate):
                _, _, shift, prior = cell.draws
                total += s @ (shift / scaling.volt_e) + model.prior.cost(u, *corner) @ (prior - 1)
            elif isinstance(cell, DeviceIntegrator):
                total += cell.leak_rate / 2 * np.sum(u**2, axis=-1) - u @ cell.offset
            elif isinstance(cell, DeviceMemory):
                total += inputs * cell.leak_rate / 2 * np.sum(u**2, axis=-1)
            elif isinstance(cell, ThermalWeightNoise) and shares is not None:
                total -= inputs * u @ (cell.drift_offset.reshape(model.n_latents, -1) @ shares[0][:, row])
            elif isinstance(cell, ThermalNoise):
                total -= u @ cell.drift_offset
            elif isinstance(cell, Write) and shares is not None:
                phi, v = shares
                total -= u @ (cell.errors[1] @ (phi[:, row] * v.sum(axis=1)))
        if heated:
            total = total - (heat - 1) * model.energy(u, x, *corner)
        return np.asarray(total)

    return delta


def gradient_offset(device: Sampler) -> Array:
    """Return what the op-amps' offsets add to the gradient e, in its units, shape (n_latents,)."""
    zero = np.zeros(device.twin.size)
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
        if isinstance(cell, TransimpedanceSum) and cell.name not in LINES:
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


def _from_energy(
    ideal: Sampler, added: Callable[[Array], Array], u: Draws, heat: tuple[Array, Array] | None = None
) -> Prediction:
    """Return what an added energy moves; ``heat`` is that of each latent, relative, and the input."""
    model, t, corner = ideal.model, ideal.temperature, (ideal.plan.width, ideal.plan.smoothing)

    def each(states: Array) -> Array:
        """Return the energy that acts on each latent's statistics, (..., n_latents or 1)."""
        delta = added(states)[..., None]
        return delta if heat is None else delta - model.energy(states, heat[1], *corner)[..., None] * heat[0]

    delta = u.map(each)
    centre = delta.mean()

    def moved(statistic: Draws) -> tuple[Array, Array]:
        """Return -Cov(statistic, delta)/T and its standard error."""
        middle = statistic.mean()
        return mean_with_mcse(statistic.map(lambda v, d: -(v - middle) * (d - centre) / t, delta))

    s = u.map(model.latent)
    average = s.mean()
    squares = s.map(lambda v: (v - average) ** 2)
    p, p_se = moved(u.map(lambda v: model.active(v).astype(float)))
    mean, mean_se = moved(s)
    var, var_se = moved(squares)
    scale = 1 / np.maximum(2 * np.sqrt(squares.mean()), 1e-12)
    return Prediction(p, p_se, mean, mean_se, var * scale, var_se * scale)
