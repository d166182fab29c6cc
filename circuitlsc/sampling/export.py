"""A circuit for other simulators: its netlist, the modules that it has instances of, and a piece of its noise."""

from __future__ import annotations

import numpy as np

from circuitlsc import veriloga
from circuitlsc.circuit.modules import in_modules
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, is_positive
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.simulator.modules import Netlist, for_vacask, for_verilog_a, plain_name, spectre_lines, verilog_a_lines
from circuitlsc.simulator.ngspice.noise import task_paths
from circuitlsc.simulator.task import ChainTask, first_state
from circuitlsc.simulator.vacask.deck import options, waves
from circuitlsc.simulator.vacask.simulator import chunk_deck, columns, starting
from circuitlsc.simulator.verilog_a import PACKAGE, VERSION

#: the dialects, each with what its first lines say of who has read such a text
DIALECTS = {
    "vacask": f"run: texts of this kind run in VACASK ({PACKAGE} {VERSION}), in the tests of circuitlsc and as its referee",
    "spectre": "not run: Spectre was not at hand. Instances are written as in the text for VACASK, which runs",
    "verilog-a": "not run: admsXml 2.3.7 parsed a text of this kind; openvaf-r compiles the modules, but no instances of them",
}
MODULES = "the modules run in VACASK, where each is its NumPy form to 1e-9 of full scale; admsXml 2.3.7 parses them"


def exported(sampler: Sampler, run: RunPlan, dialect: str, length: float = 100.0) -> dict[str, str]:
    """Return the files that describe a circuit to another simulator, by name.

    Parameters
    ----------
    sampler : Sampler
        Of ideal cells; its tables are written as what they are tables of.
    run : RunPlan
        Its seed is that of the noise.
    dialect : str
        ``"vacask"``, ``"spectre"`` or ``"verilog-a"`` (a module whose ports are the noise sources' nodes, without noise).
    length : float
        Of the noise of the first chain that is written, and of the transient, in units of tau.

    Raises
    ------
    InputError
        If there is no such dialect, or a cell has no module.
    """
    if dialect not in DIALECTS:
        raise InputError(f"--dialect {dialect} is not one of {', '.join(DIALECTS)}.")
    made = sampler.closed()
    task = made.tasks(run)[0]
    in_words_of = {"vacask": for_vacask, "spectre": Netlist.undotted, "verilog-a": for_verilog_a}
    net = in_words_of[dialect](in_modules(made.graph, made.scaling))
    if not is_positive(length) or not 1 <= (n := round(length / task.step)) <= task.n_steps:
        raise InputError(
            f"--length {length:g} tau of noise are to be written, but the run has from {task.step:g} (a step) to "
            f"{task.n_steps * task.step:g}. Give another length, or t_stop."
        )
    title, about, *rest = made.head(task.step)
    head = (title, about, DIALECTS[dialect], MODULES, *rest)
    files = {file: veriloga.text(file) for file in (veriloga.FUNCTIONS, *net.families)}
    line = options(made.tolerance, made.scaling.volt, made.scaling.drift_current, made.scaling.c_int)
    if dialect == "verilog-a":
        return files | {"sampler.va": _verilog_a(net, head)}
    paths, state = task_paths(task), first_state(task)
    if dialect == "spectre":
        values = columns(net, task, state, paths, n)
        return files | {
            "noise.scs": _spectre_noise(net, task, values),
            "sampler.scs": _spectre(net, task, head, line, n),
        }
    noise = waves(net.sources, task.step * task.tau, columns(net, task, state, paths, n))
    deck = chunk_deck(net, task, state, ['include "noise.sim"'], n, option_line=line, title=head, suffix=".va")
    return files | {"noise.sim": "\n".join([*noise, ""]), "sampler.sim": deck}


def _verilog_a(net: Netlist, head: tuple[str, ...]) -> str:
    """Return a module of the circuit, with the files that it needs."""
    include = [f'`include "{file}"' for file in ("disciplines.vams", *net.families)]
    ports = "ports: where its noise and inputs come in, then every other node"
    return "\n".join([*(f"// {line}" for line in (*head, ports)), *include, *verilog_a_lines(net, "lsc_sampler"), ""])


def _spectre_noise(net: Netlist, task: ChainTask, values: Array) -> str:
    """Return the sources with their values at the steps."""
    times = (np.arange(len(values)) * (task.step * task.tau)).tolist()
    lines = ["// the circuit's noise and inputs", "simulator lang=spectre"]
    for source, column in zip(net.sources, values.T.tolist(), strict=True):
        wave = " ".join(f"{t!r} {v!r}" for t, v in zip(times, column, strict=True))
        lines.append(f"{source.name} ({' '.join(source.nodes)}) {source.kind} type=pwl wave=[{wave}]")
    return "\n".join([*lines, ""])


def _spectre(net: Netlist, task: ChainTask, head: tuple[str, ...], option_line: str, n: int) -> str:
    """Return the circuit with a transient whose steps are those of its noise."""
    step = task.step * task.tau
    start = starting(task, first_state(task))
    return "\n".join(
        [
            *(f"// {line}" for line in head),
            "simulator lang=spectre",
            *(f'ahdl_include "{file}"' for file in net.families),
            'include "noise.scs"',
            *spectre_lines(net),
            "ic " + " ".join(f"{node}={float(volts)!r}" for node, volts in start.items()),
            f"numbers options {option_line.rpartition(' chgtol')[0].replace('abstol', 'iabstol').replace('vntol', 'vabstol')}",
            f"path tran stop={n * step!r} step={step!r} maxstep={step!r} method=traponly ic=node skipdc=yes",
            "save " + " ".join(map(plain_name, (*task.nodes, *task.observed))),
            "",
        ]
    )
