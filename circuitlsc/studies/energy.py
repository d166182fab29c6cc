r"""Power, energy per effective sample and speed of a device-level circuit, beside the software samplers of this machine.

.. math:: P = V_{DD} \sum_{parts} \left( I_q + \overline{\max(I, 0)} \right)

Currents come from simulated node voltages: what each op-amp and driver sources into its crossbar columns, feedback and
inverter resistors (half of the mean of abs(I): the supply is symmetric, and what it sinks comes from the other rail).
A memory's multipliers are biased, as gates are, at the largest current that they must deliver; its capacitors take nothing
but what the write multipliers give them, and what holds a line beside a crossbar's driver is not counted.
A variational circuit's samples are those of its encoder's law, not of the posterior; one of them is independent of the last
after a step of 2 tau, in which the trapezoid forgets.
Quiescent currents are given (``op_amp.quiescent_current``) or estimated, as the text of each row says: an op-amp needs
:math:`I_q = 2\pi\,\mathrm{GBW}\,C_L\,V_{ov}`, a transconductor :math:`I_q = g_m V_{ov}`.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from circuitlsc.circuit.cells import (
    Buffer,
    Cell,
    DeviceInput,
    DeviceRectifier,
    Exponential,
    Inverter,
    LaplaceMap,
    LaplaceProduct,
    Observation,
    ResistorCrossbar,
    ShiftedThreshold,
    Softplus,
    ThermalNoise,
    TransimpedanceSum,
    WrittenNoise,
)
from circuitlsc.circuit.cells.node import feedback_resistor
from circuitlsc.circuit.cells.plastic import Multipliers
from circuitlsc.circuit.memory import lines_at_rest
from circuitlsc.circuit.variational import largest_noise_gain
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Note, Report, Table
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.plan import FORGETFUL, LARGEST_DRAW
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.planning.scaling import Scaling
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.sde import software_sde
from circuitlsc.reference.statistics import summarize
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.engine import run_chains
from circuitlsc.studies.frame import read_rows
from circuitlsc.studies.small_signal import loop_lag
from circuitlsc.studies.transistor_power import STATES, chip_powers
from circuitlsc.validation.judge import circuit_statistics, target_of
from circuitlsc.validation.law import law_of_run

OVERDRIVE = 0.2  # volt: of the transistors in an estimated quiescent current
LOAD = 1e-12  # farad: what an op-amp is supposed to drive
PROBE_TIME = 200.0  # tau
SPARE = 50.0  # closed-loop bandwidth over fastest mode, for op-amps of no stated bandwidth


@dataclass(frozen=True)
class PowerRow:
    """One kind of part: how many, quiescent and mean sourced current of all of them, and their power."""

    part: str
    count: int
    quiescent: float
    sourced: float
    watts: float
    text: str


@dataclass(frozen=True)
class Software:
    """A software sampler on this machine: effective samples (of the slowest statistic) per second of wall time."""

    name: str
    ess_per_second: float


@dataclass(frozen=True)
class EnergyReport:
    """Power and speed.

    Attributes
    ----------
    rows : tuple of PowerRow
    supply : float
        V_DD, volt.
    watts : float
    dissipated : float
        Heat in the crossbars' cells, watt (a part of ``watts``).
    ess_min : float
        Smallest effective sample size of the run.
    seconds : float
        Physical time that the samples took, all chains.
    ess_per_second, joule_per_sample : float
    software : tuple of Software
    joule_per_draw : float or None
        Of a variational circuit: of 2 tau, a step after which a sample is independent of the last one.
    """

    rows: tuple[PowerRow, ...]
    supply: float
    watts: float
    dissipated: float
    ess_min: float
    seconds: float
    ess_per_second: float
    joule_per_sample: float
    software: tuple[Software, ...]
    joule_per_draw: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def probe(sampler: Sampler, nodes: tuple[str, ...], *, t_stop: float = PROBE_TIME, seed: int = 0) -> dict[str, Array]:
    """Run one short chain and return node voltages by name, volt, shape (n_draws,); time in ``"time"``, in tau.

    Parameters
    ----------
    sampler : Sampler
    nodes : tuple of str
        Top-level nodes: ``u_0``, ``s_0``, ``r_0``, ``e_0``, ``ns_0``, ...
    t_stop : float
        In units of tau; the first fifth is dropped.
    seed : int
    """
    task = sampler.tasks(RunPlan(t_stop=t_stop, warmup=t_stop / 5, chains=1, seed=seed, thin=1))[0]
    extra = tuple(n for n in dict.fromkeys(nodes) if n not in task.nodes)
    (result,) = run_chains([sampler.observing(task, extra)], workers=1)
    volts = np.concatenate([result.u, result.observed], axis=1) * task.volt
    out = dict(zip((*task.nodes, *extra), volts.T, strict=True))
    out["time"] = (task.n_warmup + 1 + np.arange(len(volts))) * task.step
    return out


def power(sampler: Sampler, *, seed: int = 0) -> tuple[list[PowerRow], float, float]:
    """Return what each kind of part draws from the supply, the power of all, and the heat in the crossbars, both in watts.

    Parameters
    ----------
    sampler : Sampler
        A device-level circuit of one input, a memory, or a circuit in transistors; no run of it is needed.
    seed : int
        Of a short run's noise.

    Raises
    ------
    InputError
        At the ideal level, whose parts draw no current.
    """
    if sampler.level == "transistor":
        supply = _supply(sampler)
        given = probe(sampler, (), seed=seed)
        draws = np.stack([given[node] for node in sampler.graph.neurons.nodes], axis=-1) / sampler.scaling.volt
        states = draws[:: max(1, len(draws) // STATES)][:STATES]
        parts = [PowerRow(name, n, w / supply, 0.0, w, text) for name, n, w, text in chip_powers(sampler, states)]
        return parts, sum(r.watts for r in parts), 0.0
    if sampler.level != "device":
        raise InputError('the power of an ideal circuit has no meaning. Build it with level = "device".')
    rows, dissipated = _rows(sampler, _voltages(sampler, seed))
    return rows, sum(r.watts for r in rows), dissipated


def _voltages(sampler: Sampler, seed: int) -> dict[str, Array]:
    """Return the voltages of every node in a short run, by name, each (n_draws,)."""
    graph, scaling = sampler.graph, sampler.scaling
    cells = [c for c in graph.cells if c.quantity]
    if sampler.dynamics.has_energy:
        return probe(sampler, tuple(n for c in cells for n in c.nodes), seed=seed)
    # nothing feeds back: all else follows from the noise, and its steps are longer
    length = PROBE_TIME * max(1.0, sampler.plan.step)
    run = sampler.run(RunPlan(t_stop=length, warmup=length / 5, chains=1, seed=seed, thin=1), workers=1)
    states = run.states
    signals = sampler.twin.signals(np.concatenate([states[c.letter][0] for c in graph.integrators], axis=-1))
    draws = run.n_draws
    found = ((c.nodes, np.broadcast_to(signals[c.name] * scaling.volts(c.quantity), (draws, c.size))) for c in cells)
    return {node: values[:, i] for nodes, values in found for i, node in enumerate(nodes)}


def energy_report(
    sampler: Sampler, samples: Samples, *, software: bool = True, note: Callable[[str], None] | None = None
) -> EnergyReport:
    """Measure a device-level circuit's power and speed.

    Parameters
    ----------
    sampler, samples : Sampler, Samples
        A device-level circuit and a run of it.
    software : bool
        Whether to time software samplers on the same posterior (numba's Gibbs sampler knows not every prior).
    note : callable or None
        Called with a few words before each part.

    Raises
    ------
    InputError
        At the ideal level, whose parts draw no current.
    """
    say = note or (lambda _: None)
    say("currents")
    rows, watts, dissipated = power(sampler)
    ess = _independent(sampler, samples)
    run = samples.run_plan()
    time = run.t_stop - run.warmup
    if samples.remembered and sampler.stream is not None:
        time = sampler.visits(run).kept * sampler.stream.t_stop  # whole cycles
    seconds = time * len(samples.chains) * sampler.scaling.tau
    others: tuple[Software, ...] = ()
    if software:
        say("software samplers")
        others = software_speed(sampler)
    both = (ess / seconds, watts * seconds / ess)
    draw = None if sampler.dynamics.has_energy else watts * FORGETFUL * sampler.scaling.tau
    return EnergyReport(tuple(rows), _supply(sampler), watts, dissipated, ess, seconds, *both, others, draw)


def _independent(sampler: Sampler, samples: Samples) -> float:
    """Return the effective sample size of the slowest statistic; of a memory the sum over its inputs."""
    if not samples.remembered:
        return circuit_statistics(sampler, samples).ess_min
    model, total = sampler.model, 0.0
    for u, x in zip(read_rows(sampler, samples), sampler.x, strict=True):
        s, active = u.map(model.latent), u.map(model.active)
        total += summarize(s, active, model=target_of(sampler), x=x, method="circuit").ess_min
    return total


def _supply(sampler: Sampler) -> float:
    parts = sampler.nonideal
    return float((parts.supply.voltage or 2 * sampler.scaling.rails) * parts.corner.supply)


def _op_amp_current(sampler: Sampler) -> tuple[float, str]:
    """Return one op-amp's quiescent current, ampere, and where it comes from."""
    part = sampler.nonideal.op_amp
    if part.quiescent_current is not None:
        return part.quiescent_current, "as given"
    gbw, text = part.gbw, "2 pi GBW x 1 pF x 0.2 V"
    if math.isinf(gbw) and sampler.dynamics.has_energy:
        ideal_lag = loop_lag(rebuilt(sampler, nonideal=sampler.nonideal.changed({"op_amp.gbw": 1.0})))  # s for 1 Hz
        gbw = ideal_lag * SPARE * sampler.plan.fastest_mode / sampler.scaling.tau
        text += f", for the {gbw:.3g} Hz that keep the lag below 2 %"
    elif math.isinf(gbw):
        gbw = largest_noise_gain(sampler.graph) * SPARE / (2 * math.pi * sampler.scaling.tau)
        text += f", for the {gbw:.3g} Hz that settle {SPARE:g} times as fast as the noise"
    return 2 * math.pi * gbw * LOAD * OVERDRIVE, text


def _rows(sampler: Sampler, volts: dict[str, Array]) -> tuple[list[PowerRow], float]:
    supply, scaling, graph = _supply(sampler), sampler.scaling, sampler.graph
    size = {node: float(np.abs(v).mean()) for node, v in volts.items()}
    amps: defaultdict[str, float] = defaultdict(float)  # mean size of the sourced current by node
    dissipated, corner = 0.0, sampler.nonideal.corner.resistance
    r_inverter = 1 / sampler.nonideal.crossbar.g_on * corner
    for cell in graph.cells:
        if isinstance(cell, ResistorCrossbar):
            inputs = graph.inputs(cell)
            columns = [n for pair in zip(inputs["v"].nodes, inputs["minus"].nodes, strict=True) for n in pair]
            transfer = cell.network[0].sum(axis=0)  # siemens from each column into all virtual grounds
            for node, g in zip(columns, transfer, strict=True):
                amps[node] += g * size[node]
                dissipated += float(np.mean(g * volts[node] ** 2))
        elif isinstance(cell, TransimpedanceSum):
            for node in cell.nodes:
                amps[node] += size[node] / cell.feedback
        elif isinstance(cell, Inverter):
            for node in (*graph.inputs(cell)["v"].nodes, *cell.nodes):
                amps[node] += size[node] / r_inverter
    each, text = _op_amp_current(sampler)
    kinds: dict[str, type[Cell]] = {
        "transimpedance op-amps": TransimpedanceSum,
        "inverters": Inverter,
        "buffers": Buffer,
        "rectifiers": DeviceRectifier,
    }
    groups = {name: [n for c in graph.cells if isinstance(c, kind) for n in c.nodes] for name, kind in kinds.items()}
    code = (c.nodes for c in graph.cells if c.quantity == "s" and not isinstance(c, (Buffer, ShiftedThreshold)))
    groups["threshold drivers"] = [node for nodes in code for node in nodes]
    rows = [
        _row(name, len(nodes), len(nodes) * each, sum(amps[n] for n in nodes), supply, f"quiescent: {text}")
        for name, nodes in groups.items()
        if nodes
    ]
    entering = [(c.size, _through_resistor(c, scaling, corner)) for c in graph.cells if isinstance(c, DeviceInput)]
    entering += [(c.size, sum(amps[n] for n in c.nodes)) for c in graph.cells if isinstance(c, Observation)]
    if entering:
        what = "voltage sources: their converters are not counted"
        rows.append(_row("inputs", sum(n for n, _ in entering), 0.0, sum(a for _, a in entering), supply, what))
    if sampler.dynamics.has_energy:
        # the gate's current is the drift; a class-A multiplier is biased at what it can deliver
        n = sampler.model.n_latents
        full = sampler.ranges.e * scaling.drift_current
        sourced = sum(size[f"e_{i}"] for i in range(n)) / scaling.volt_e * scaling.drift_current
        rows.append(_row("gates", n, n * full, sourced, supply, "quiescent: the largest current they must deliver"))
    else:
        rows += _law_rows(sampler, volts, each)
    if sampler.features is not None:
        rows += _memory_rows(sampler, volts)
    if found := _transconductors(sampler):
        count, gain = sum(n for n, _ in found), found[0][1]
        biased = sum(n * g for n, g in found) * OVERDRIVE
        # what a noise cell's resistor takes; a neuron without one takes nothing, a weight's leak is the write multiplier's
        leaking = sum(c.conductance * size[n] for c in graph.integrators if c.letter != "w" for n in c.nodes)
        sourced = leaking * scaling.drift_current / scaling.volt
        text = f"quiescent: g_m {gain:.3g} S x 0.2 V"
        rows.append(_row("noise transconductors", count, biased, sourced, supply, text))
    return rows, dissipated


def _transconductors(sampler: Sampler) -> list[tuple[int, float]]:
    """Return how many amplifiers of thermal noise there are, and their gain, siemens; by noise cell."""
    white = [noise for noise in sampler.graph.noises if isinstance(noise, WrittenNoise)]
    if white:  # what a memory's drives would need; a cell beside it holds what is not white of the same sources
        return [(white[0].size, Hardware(sampler.nonideal, sampler.scaling).noise_gain(sampler.temperature))]
    return [(noise.size, noise.gain) for noise in sampler.graph.noises if isinstance(noise, ThermalNoise)]


def _memory_rows(sampler: Sampler, volts: dict[str, Array]) -> list[PowerRow]:
    """Return the rows of a memory's multipliers; what flows is taken from the voltages at their inputs."""
    graph, scaling, supply, rows = sampler.graph, sampler.scaling, _supply(sampler), []
    phi, v = lines_at_rest(graph)
    largest = {
        "read": sampler.ranges.w * float(np.abs(phi).max()),
        "write": sampler.ranges.e * float(np.abs(v).max()),
    }
    for cell in (c for c in graph.cells if isinstance(c, Multipliers)):
        inputs = graph.inputs(cell)
        p, q = (
            np.stack([volts[inputs[port].nodes[i]] for i in cell.places[port]]) / scaling.volts(quantity)
            for port, quantity in zip(cell.ports, cell.quantities, strict=True)
        )
        unit, count = abs(cell.amperes(scaling)), len(p)
        flowing = unit * float(np.abs(p * q).mean(axis=1).sum())
        text = "quiescent: the largest current each must deliver"
        rows.append(_row(f"{cell.name} multipliers", count, count * unit * largest[cell.name], flowing, supply, text))
    return rows


def _through_resistor(cell: DeviceInput, scaling: Scaling, corner: float) -> float:
    """Return the size of the current that a constant input drives through its resistors, ampere."""
    ohm = feedback_resistor(cell.crossbar, cell.source, cell.target) * corner
    return float(np.abs(cell.value).sum() * scaling.volts(cell.target) / ohm)


def _law_rows(sampler: Sampler, volts: dict[str, Array], each: float) -> list[PowerRow]:
    """Return the rows of a variational circuit behind its heads; none of these parts has a bias current of its own.

    A multiplier is biased at the largest current that it must deliver into a load of 1 pF which settles 50 times as fast as
    the noise; what makes an exponential, a softplus or a Laplace map, and a comparator, is taken to be one op-amp each.
    """
    supply, graph = _supply(sampler), sampler.graph
    per_volt = SPARE * LOAD / sampler.scaling.tau
    (threshold,) = (c for c in graph.cells if isinstance(c, ShiftedThreshold))
    inputs, n = graph.inputs(threshold), threshold.size
    draw = inputs["laplace"]
    b, mu, kappa = (
        np.array([np.abs(volts[node]).mean() for node in inputs[port].nodes]) for port in ("b", "mu", "kappa")
    )
    beyond = np.maximum(LARGEST_DRAW - kappa / sampler.scaling.volt, 0.0)
    as_bias = f"quiescent: an estimate, the largest current into 1 pF that settles {SPARE:g} times as fast as the noise"
    as_op_amp = "quiescent: an estimate, that of one op-amp each"

    def flowing(nodes: tuple[str, ...]) -> float:
        return per_volt * sum(float(np.abs(volts[node]).mean()) for node in nodes)

    rows = []
    if isinstance(draw, LaplaceProduct):
        full = 2 * n * LARGEST_DRAW * sampler.scaling.volt * per_volt
        rows.append(_row("Laplace multipliers", 2 * n, full, flowing(draw.nodes), supply, as_bias))
    full = float(np.sum(b * beyond + mu)) * per_volt
    rows.append(_row("multipliers of b and mu", 2 * n, full, flowing(threshold.nodes), supply, as_bias))
    counts = {"comparators": 2 * n}
    for name, kind in {"exponentials": Exponential, "softpluses": Softplus, "Laplace maps": LaplaceMap}.items():
        counts[name] = sum(c.size for c in graph.cells if isinstance(c, kind))
    rows += [_row(name, many, many * each, 0.0, supply, as_op_amp) for name, many in counts.items() if many]
    return rows


def _row(part: str, count: int, quiescent: float, flowing: float, supply: float, text: str) -> PowerRow:
    """Return a row; ``flowing`` is the mean of the currents' sizes, half of which comes from each rail."""
    sourced = float(flowing) / 2
    return PowerRow(part, count, quiescent, sourced, supply * (quiescent + sourced), text)


def software_speed(sampler: Sampler, *, seconds: float = 1.0) -> tuple[Software, ...]:
    """Time the NumPy SDE, and numba's Gibbs sampler if the prior has one, for about ``seconds`` each, one core.

    Of a memory: on the first of its inputs. Of a variational circuit: NumPy's draws of its encoder's law.
    """
    model, x = sampler.model, sampler.x if sampler.features is None else sampler.x[0]
    out = []

    def measure(name: str, run: Callable[[int], Array], size: int, *, independent: bool = False) -> None:
        run(size)  # compiles, and fills caches
        for _ in range(2):  # a short run says how long one of the time that is given would be
            start = time.perf_counter()
            s = run(size)
            spent = max(time.perf_counter() - start, 1e-4)
            size = max(size, int(size * seconds / spent))
        ess = len(s[0]) if independent else summarize(s, s != 0, model=model, x=x, method=name).ess_min
        out.append(Software(name, ess / spent))

    unit = min(1.0, sampler.plan.time_scale)

    def euler(total: int) -> Array:
        times = {"total_time": total * unit, "spacing": 0.2 * unit, "warmup": 10 * unit}
        u, _ = software_sde(model, x, seed=1, n_chains=200, max_steps=10**9, **times)
        return np.where(model.active(u), model.latent(u), 0.0)

    if not sampler.dynamics.has_energy:
        law, rng = law_of_run(sampler), np.random.default_rng(1)
        measure("NumPy draws of the encoder's law", lambda n: law.draw(n, rng)[None], 4000, independent=True)
        return tuple(out)
    measure("NumPy Euler-Maruyama, 200 chains", euler, 400)
    if model.prior.conditionals:
        measure("numba Gibbs", lambda n: gibbs(model, x, n_sweeps=n, n_chains=1, seed=1), 4000)
    return tuple(out)


def power_report(report: EnergyReport) -> Report:
    """Return power and speed as a table and a few lines."""
    columns = {"part": "<24", "number": ">6", "quiescent A": ">12.3g", "sourced A": ">11.3g", "W": ">10.3g", "": ""}
    rows = map(attrgetter("part", "count", "quiescent", "sourced", "watts", "text"), report.rows)
    total = f"of it {report.dissipated:.3g} W heat in the crossbars" if report.dissipated else ""
    all_parts = (f"all, at {report.supply:g} V", "", "", "", report.watts, total)
    speed = f"effective samples per second of physical time {report.ess_per_second:.3g}"
    lines = [f"{speed}, energy per effective sample {report.joule_per_sample:.3g} J"]
    if report.joule_per_draw is not None:
        lines.append(
            f"samples of the encoder's law, not of the posterior: an independent one in a step of 2 tau, "
            f"{report.joule_per_draw:.3g} J"
        )
    lines += [f"{s.name} on this machine: {s.ess_per_second:.3g} effective samples per second" for s in report.software]
    summary = {"W": report.watts, "J per effective sample": report.joule_per_sample}
    return Report((Table.of(columns, [*rows, all_parts]), Note("\n".join(lines))), summary=summary)
