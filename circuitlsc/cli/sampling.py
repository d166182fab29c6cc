"""build, export, run, compare, cross-check, draw, check, doctor: a circuit, its samples and pictures, what is installed."""

from __future__ import annotations

import sys
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from circuitlsc.cli.runner import Job, command
from circuitlsc.cli.shared import Anywhere, ConfigArgument, Ended, plain, print_rules, say
from circuitlsc.errors import InputError, SimulationError, printable
from circuitlsc.io import output as out
from circuitlsc.io.progress import Line, progress_lines
from circuitlsc.io.safe_open import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from circuitlsc.config.read import Config
    from circuitlsc.learning.circuit import CircuitLearner
    from circuitlsc.planning.run_plan import RunPlan
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.validation.judge import Expectation

Result = TypeVar("Result")
Tolerance = Annotated[
    float | None,
    typer.Option("--tolerance", help="How close to exact is close, errors included; default: the config's, or 0.02."),
]


@plain("build")
def build(
    config: ConfigArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Deck to write (an earlier one is replaced); default: stdout.")
    ] = None,
    anywhere: Anywhere = False,
) -> None:
    """Write a stand-alone netlist that plain `ngspice -b` runs; the scaling report goes to stderr."""
    from circuitlsc.config.read import load_config

    output = None if output == Path("-") else output
    if output is not None:
        out.DECKS.check(output)  # before there is work that would be lost
    if (made := _learner(config, anywhere)) is not None:
        deck, report = made.deck(), made.report()
    else:
        loaded = load_config(config, anywhere=anywhere)
        sampler, run = loaded.sampler(), loaded.run
        deck, report = sampler.deck(t_stop=run.t_stop, warmup=run.warmup, seed=run.seed), sampler.report()
    if output is None:
        sys.stdout.write(deck)
    else:
        out.DECKS.write(output, deck)
    print(report, file=sys.stderr)


@command("export", chains=False)
def export(
    job: Job,
    dialect: Annotated[str, typer.Option("--dialect", metavar="NAME", help="vacask, spectre or verilog-a.")] = "vacask",
    length: Annotated[
        float,
        typer.Option("--length", metavar="TAU", help="Of the noise that is written, and of the transient, in tau."),
    ] = 100.0,
) -> None:
    """Write the circuit for another simulator: a netlist, the Verilog-A modules of its cells, and a piece of its noise."""
    from circuitlsc.sampling.export import exported

    config = job.load()
    files = exported(config.sampler(), config.run, dialect, length)
    with out.new_folder(job.output) as folder:
        for name, text in files.items():
            out.write_text(folder / name, text)


def _learner(config: Path, anywhere: bool) -> CircuitLearner | None:
    """Return what a config of learning describes as a circuit; None for a config of a sampler."""
    from circuitlsc.config import learning, table

    if "learning" not in table.read_toml(config):
        return None
    return learning.load_learn_config(config, "circuit", anywhere=anywhere).in_circuit()


@command("run")
def run(job: Job, tolerance: Tolerance = None) -> Ended:
    """Run the circuit in ngspice and compare what it samples, or settles on, with software."""
    from circuitlsc.model.variational import slab_of
    from circuitlsc.simulator.ngspice.deck import fingerprint

    config = _with_tolerance(job.load(), tolerance)
    sampler, plan = config.sampler(), config.run
    tasks = sampler.tasks(plan)  # refuses a run that is too short before anything is written
    if not sampler.dynamics.has_energy:
        slab_of(sampler.model)  # and a law that can be compared with no posterior
    with job.folder(config, sampler) as (results, where):
        print(sampler.report(), file=sys.stderr)
        print_rules(sampler)
        deck = sampler.deck(t_stop=plan.t_stop, warmup=plan.warmup, seed=plan.seed)
        out.write_text(results.folder / out.DECK, deck)
        total = sum(task.n_steps for task in tasks)
        if found := where["store"].steps(tasks, sampler.beside_tasks):
            say(f"{found} of {total} steps were found in {where['store'].folder}")
        with progress_lines() as line, beside(partial(_expected, config, sampler, line)) as expected:
            samples = _simulate(sampler, plan, job, progress=True, **where)
            samples.tree.attrs["deck_sha256"] = fingerprint(deck)
            samples.save(results.folder / out.SAMPLES)
            results.simulator = results.simulator.replace("ngspice", f"ngspice {samples.attrs['ngspice_version']}")
            known = expected()
        from circuitlsc.cli.outcome import outcome
        from circuitlsc.reporting.views import views
        from circuitlsc.validation.half_step import half_step

        half = half_step(sampler, plan, note=say, **where)
        result = outcome(sampler, samples, expected=known, half=half, note=say, **_judged(config))
        results.write(result.file, result.numbers)
        results.draw(out.FIGURE, result.draw(), result.caption)
        results.series = result.series
        results.views = views(sampler, samples, letter=result.letter, twin=result.twin)
        report = result.report
        # rows of an energy report know of no momentum, of no settling, and of inputs that come back, but not of those that go
        known_parts = sampler.dynamics.kind in ("langevin", "variational") and sampler.stream is None
        if sampler.level != "ideal" and (known_parts or sampler.dynamics.remembers):
            from circuitlsc.reporting.series import of_energy
            from circuitlsc.studies.energy import energy_report, power_report

            energy = energy_report(sampler, samples, note=say)
            results.write(out.ENERGY, energy.to_dict())
            report += power_report(energy)
            results.series += of_energy(energy)
        results.report = report
    return job.ended(report)


def _with_tolerance(config: Config, tolerance: float | None) -> Config:
    """Return the config with the tolerance that an option gives, which counts before the key."""
    from dataclasses import replace

    from circuitlsc.config.read import check_tolerance

    if tolerance is None:
        return config
    checked = check_tolerance("--tolerance", tolerance, config.dynamics)
    return replace(config, timing=replace(config.timing, tolerance=checked))


@contextmanager
def beside(work: Callable[[Event], Result]) -> Iterator[Callable[[], Result]]:
    """Do some work in a thread; yield a function that waits for its result.

    The event that ``work`` gets is set when its result is no longer wanted: if the block is left by an error.
    """
    ended = Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, ended)
        try:
            yield future.result
        finally:
            ended.set()


def _expected(config: Config, sampler: Sampler, line: Line, ended: Event) -> Expectation | None:
    """Find out, beside the transients, what a correct run would give, unless the event ends it."""
    from circuitlsc.cli.outcome import prepare  # here, while the circuits run

    advance: list[Any] = []  # that of a line, once there is a share to show

    def progress(share: float, left: float) -> None:
        if ended.is_set():
            raise CancelledError
        if share > 0 and not advance:
            advance.append(line("exact posterior", 100, "%"))
        if advance:
            advance[0](0, min(99, round(100 * share)))

    found = prepare(sampler, config.run, progress=progress, **_limits(config))
    if advance:
        advance[0](0, 100)
    return found


def _limits(config: Config) -> dict[str, Any]:
    return {"tolerance": config.timing.tolerance, "reference_time": config.timing.reference_time}


def _judged(config: Config) -> dict[str, Any]:
    return {"weights": config.timing.weights, **_limits(config)}


def _simulate(sampler: Sampler, plan: RunPlan, job: Job, **where: Any) -> Samples:
    """Run the chains; if one fails, keep the others' samples where the next attempt finds them."""
    from circuitlsc.simulator.engine import ChainsFailed

    try:
        return sampler.run(plan, keep=job.failed, **where)
    except ChainsFailed as error:
        if error.completed:
            tasks = sampler.tasks(plan)
            path = out.partial_folder(job.output) / out.COMPLETED
            try:
                sampler.label(plan, [tasks[r.chain] for r in error.completed], error.completed).save(path)
                where_they_are = f"are in {path}"
            except (OSError, SimulationError) as another:
                where_they_are = f"could not be saved ({reason(another)})"
            error.reason += (
                f" The samples of the other {len(error.completed)} chains {where_they_are}; "
                "the same command with --resume tries the rest again."
            )
        raise


@plain("compare")
def compare(
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder that `run` made.")],
    json: Annotated[bool, typer.Option("--json", help="Print the JSON (comparison, map) instead of a table.")] = False,
    tolerance: Tolerance = None,
) -> Ended:
    """Compare the samples in a folder again, from samples.nc and config.resolved.toml, and print the result."""
    import json as text

    from circuitlsc.cli.outcome import outcome
    from circuitlsc.config.read import load_config
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.validation.half_step import half_step

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give one that `circuitlsc run` made.")
    samples = Samples.load(folder / out.SAMPLES)
    config = _with_tolerance(load_config(folder / out.CONFIG, anywhere=True), tolerance)
    sampler = config.sampler()
    samples.check_made_by(sampler)
    with progress_lines() as line:
        expected = _expected(config, sampler, line, Event())
    half = half_step(sampler, config.run, note=say)
    result = outcome(sampler, samples, expected=expected, half=half, note=say, **_judged(config))
    return Ended(text.dumps(result.numbers, indent=2, allow_nan=False) if json else result.report, result.verdict)


@command("cross-check")
def cross_check(
    job: Job,
    t_stop: Annotated[
        float | None, typer.Option("--t-stop", help="Length per chain, tau; default: the config's.")
    ] = None,
) -> Ended:
    """Run the circuit in ngspice and in VACASK on the same noise, and compare path, statistics and verdicts."""
    from dataclasses import replace

    from circuitlsc.cli.outcome import outcome, prepare
    from circuitlsc.simulator.vacask.simulator import VACASK
    from circuitlsc.studies import cross_check as study

    config = job.load()
    sampler, plan = study.for_referee(config.sampler()), config.run
    plan = plan if t_stop is None else replace(plan, t_stop=t_stop)
    sampler.tasks(plan)  # refuses a run that is too short before anything is written
    VACASK.check()
    with job.folder(config, sampler, t_stop=plan.t_stop, vacask=VACASK.version()) as (results, where):
        with progress_lines():
            here, there = study.run_both(sampler, plan, keep=job.failed, progress=True, **where)
        for samples, name in ((here, "ngspice"), (there, "vacask")):
            samples.save(results.folder / f"samples.{name}.nc")
        # what parts do wrong moves the posterior: then the simulators are compared with each other and with NumPy alone
        imperfect = bool(sampler.nonideal.imperfections())
        known = None if imperfect else prepare(sampler, plan, **_limits(config))

        def judged(circuit: Sampler, samples: Samples) -> str:
            return outcome(circuit, samples, expected=known, note=say, **_judged(config)).verdict

        found = study.cross_check(sampler, here, there, judged=None if imperfect else judged)
        results.write("cross_check.json", found.to_dict())
        results.report = found.report()
        results.simulator += f" and {VACASK.version()}"
    return job.ended(results.report)


@command("draw", chains=False)
def draw(job: Job) -> None:
    """Draw one neuron, the whole signal path and, at device level, the crossbars; of what learns, its path and a synapse."""
    from circuitlsc.drawing import crossbar, learning, schematic
    from circuitlsc.reporting.plotting import save_figure

    if (learner := _learner(job.config, job.anywhere)) is not None:
        with out.new_folder(job.output) as folder:
            learning.learning_path_schematic(learner, folder / "signal_path.svg")
            if "A" in learner.learn:
                learning.synapse_schematic(learner, folder / "synapse.svg")
        return
    sampler = job.load().sampler()
    with out.new_folder(job.output) as folder:
        schematic.neuron_schematic(sampler, folder / "neuron.svg")
        if sampler.sizes is None:  # in transistors the neuron's picture is the whole loop
            schematic.signal_path_schematic(sampler, folder / "signal_path.svg")
        if sampler.level == "device":
            save_figure(crossbar.crossbar_figure(sampler), folder / "crossbars.png")


@plain("check")
def check(deck: Annotated[Path, typer.Argument(metavar="DECK.cir", help="Netlist from a stranger.")]) -> Ended:
    """Say which lines of a netlist could run commands, or read or write outside its folder; the netlist is not run."""
    from circuitlsc.circuit.transistor.process import HARMLESS
    from circuitlsc.simulator.ngspice.deck_check import check_deck

    if findings := check_deck(deck, HARMLESS):
        return Ended("\n".join(map(str, findings)), "failed")
    name = printable(str(deck), None)
    folder = printable(str(deck.absolute().parent), None)
    return Ended(f"{name}: nothing found that runs commands, or reads or writes outside {folder} (run it there)")


@plain("doctor")
def doctor() -> Ended:
    """Say what is installed, what is missing, and what to do about it."""
    from circuitlsc.cli.doctor import examine

    findings = examine()
    missing = any(finding.state == "missing" for finding in findings)
    return Ended("\n".join(map(str, findings)), "failed" if missing else "agrees")
