"""What studies of several circuits share: how they are asked for, one step for all, and one run on the same noise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.model.dynamics import LANGEVIN, Dynamics, as_dynamics
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.run_plan import WARMUP, RunPlan
from circuitlsc.sampling.batch import CircuitRun, Note, run_circuits
from circuitlsc.sampling.compile import build_sampler, rebuilt
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples

T_STOP = 4000.0  # tau per chain: paired differences need less than a comparison with the exact posterior
LAW_T_STOP = 40_000.0  # tau, of the noise cell, whose steps are 2: of a variational circuit
_RUN = ("t_stop", "warmup", "chains", "seed", "thin")
_MACHINE = ("workers", "executor", "timeout", "store", "note", "progress")


def split_options(options: Mapping[str, Any], inputs: int = 1) -> tuple[RunPlan, dict[str, Any], dict[str, Any]]:
    """Return what a study was given: its run, where it runs (for `run_all`), and the rest, for `build_sampler`.

    ``inputs`` is how many a memory has.
    """
    circuit = dict(options)
    run, machine = ({name: circuit.pop(name) for name in names if name in circuit} for names in (_RUN, _MACHINE))
    dynamics = as_dynamics(circuit.get("dynamics", LANGEVIN))
    given = {"t_stop": length(dynamics), **({"warmup": WARMUP * inputs} if dynamics.remembers else {}), **run}
    return RunPlan(**given), machine, circuit


def length(dynamics: Dynamics) -> float:
    """Return how long a chain of a study is where nothing else is asked for, in tau; of a memory, over all inputs."""
    return T_STOP if dynamics.has_energy else LAW_T_STOP


def as_sampling(dynamics: Dynamics | str, why: str) -> Dynamics:
    """Return dynamics that sample, or raise InputError: others have no draws that could be looked at."""
    known = as_dynamics(dynamics)
    if not known.has_energy:
        raise InputError(
            f'dynamics.kind = "{known.kind}" samples the law of an encoder, and {why}. Give "langevin" or "underdamped".'
        )
    if known.settles:
        raise InputError(
            f'dynamics.kind = "{known.kind}" settles on one code, and {why}. Give "langevin" or "underdamped".'
        )
    return known


def check_samples_one(what: str, circuit: Mapping[str, Any], *, remembered: bool = False) -> None:
    """Raise InputError unless the circuit samples the posterior of one input (or of a memory's), or an encoder's law."""
    dynamics = as_dynamics(circuit.get("dynamics", LANGEVIN))
    code = " (for one code, run the circuit with and without the imperfection)" if dynamics.settles else ""
    if dynamics.has_energy:
        as_sampling(dynamics, f"{what} compares samples of a posterior{code}")
    if dynamics.remembers and not remembered:
        raise InputError(f'{what} compares samples of one input, and dynamics.kind = "amortised" has several.')
    if circuit.get("hold") is not None and not dynamics.remembers:
        raise InputError(f"{what} compares samples of one input, and x has several. Give one of them.")


def read(sampler: Sampler) -> str:
    """Return which samples a study reads: the states u, or, where these are noise alone or a chip has lines, the codes s."""
    return "u" if sampler.dynamics.has_energy and sampler.sizes is None else "s"


def read_rows(sampler: Sampler, samples: Samples) -> list[Draws]:
    """Return what a study reads of each input, (n_chains, n_draws, n_latents): one, or those of a memory.

    Of transistors it is what the chip's lines carry, 0 where that is no more than w.
    """
    of = read(sampler)
    if sampler.sizes is not None:
        return [samples.draws(of).map(sampler.silicon.sparse)]
    return [samples.row_draws(n, of) for n in range(len(sampler.x))] if samples.remembered else [samples.draws(of)]


def common_step(
    model: SparseCodingModel,
    x: ArrayLike,
    ideal: Nonidealities,
    variants: Sequence[Nonidealities],
    circuit: dict[str, Any],
    workers: int | None = None,
) -> Sampler:
    """Return the ideal circuit at the smallest step that any variant asks for: all share one noise path.

    It has parts that can be imperfect: of transistors those of all variants are characterised, by so many processes.
    """
    level = "transistor" if circuit.get("level") == "transistor" else "device"
    base = build_sampler(model, x, **{**circuit, "level": level, "nonideal": ideal})
    if base.sizes is not None:
        characterise(base, variants, workers)
    if circuit.get("step") is not None:
        return base
    widths = [v.comparator.width / base.scaling.volt for v in variants if v.comparator.width is not None]
    x = base.x if base.dynamics.remembers else base.first_x
    step = min([base.plan.step, *(base.system.plan(model, x, w, None).step.step for w in widths)])
    return base if step == base.plan.step else rebuilt(base, step=step)


def characterise(sampler: Sampler, variants: Sequence[Nonidealities], workers: int | None) -> None:
    """Have the cells of several chips of a design measured side by side: what is known of a chip is kept.

    A thread each, which waits for an ngspice of its own.
    """
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for _ in pool.map(lambda parts: replace(sampler.silicon, parts=parts).tables, variants):
            pass


def run_all(
    samplers: Mapping[str, Sampler], run: RunPlan, note: Note | None = None, **machine: Any
) -> dict[str, Samples]:
    """Run every circuit on the same noise; all keep the same times, those at half the step every other sample."""
    thin = run.thin or next(iter(samplers.values())).tasks(run)[0].thin
    runs = [CircuitRun(name, s, replace(run, thin=thin * 2**s.halvings)) for name, s in samplers.items()]
    return run_circuits(runs, note=note, **machine)
