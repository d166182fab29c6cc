"""build, run, compare, draw, doctor: a circuit, its samples, and its pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.machine import Cache, Machine, NoCache, Resume, Scheduler, Workers
from circuitlsc.cli.shared import (
    EXIT_CODES,
    FAILED,
    Advance,
    Anywhere,
    ConfigArgument,
    OutputFolder,
    Tolerance,
    app,
    beside,
    left_behind,
    one_line_errors,
    print_rules,
    progress_lines,
    say,
)
from circuitlsc.errors import InputError, SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from circuitlsc.cli.outcome import Outcome
    from circuitlsc.config.read import Config
    from circuitlsc.planning.run_plan import RunPlan
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.studies.energy import EnergyReport
    from circuitlsc.validation.judge import Expectation


@app.command()
def build(
    config: ConfigArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Deck to write (an earlier one is replaced); default: stdout."),
    ] = None,
    anywhere: Anywhere = False,
) -> None:
    """Write a stand-alone netlist that plain `ngspice -b` runs; the scaling report goes to stderr."""
    from circuitlsc.config.table import read_toml
    from circuitlsc.io.output import check_deck_file, write_deck

    with one_line_errors():
        output = None if output == Path("-") else output
        if output is not None:
            check_deck_file(output)  # before there is work that would be lost
        deck, report = (_learner_deck if "learning" in read_toml(config) else _sampler_deck)(config, anywhere)
        if output is None:
            sys.stdout.write(deck)
        else:
            write_deck(output, deck)
        print(report, file=sys.stderr)


def _sampler_deck(config: Path, anywhere: bool) -> tuple[str, str]:
    from circuitlsc.config.read import load_config

    loaded = load_config(config, anywhere=anywhere)
    sampler, run = loaded.sampler(), loaded.run
    return sampler.deck(t_stop=run.t_stop, warmup=run.warmup, seed=run.seed), sampler.report()


def _learner_deck(config: Path, anywhere: bool) -> tuple[str, str]:
    from circuitlsc.config.learning import load_learn_config

    learner = load_learn_config(config, "circuit", anywhere=anywhere).in_circuit()
    return learner.deck(), learner.report()


@app.command()
def run(
    config: ConfigArgument,
    output: OutputFolder,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    anywhere: Anywhere = False,
    tolerance: Tolerance = None,
) -> None:
    """Run the circuit in ngspice and compare what it samples, or settles on, with software."""
    from circuitlsc.config.read import load_config, resolved_toml
    from circuitlsc.io import output as out
    from circuitlsc.simulator.ngspice.deck import fingerprint

    machine = Machine(workers, scheduler, resume, cache, no_cache)
    with one_line_errors(lambda: left_behind(output)):
        out.check_free(output)
        machine.check()
        loaded = _with_tolerance(load_config(config, anywhere=anywhere), tolerance)
        sampler = loaded.sampler()
        tasks = sampler.tasks(loaded.run)  # refuses a run that is too short before anything is written
        resolved = resolved_toml(loaded, sampler)
        with machine.folder(output, loaded, {"command": "run", "config": resolved}) as (folder, where):
            print(sampler.report(), file=sys.stderr)
            print_rules(sampler)
            deck = sampler.deck(t_stop=loaded.run.t_stop, warmup=loaded.run.warmup, seed=loaded.run.seed)
            out.write_text(folder / out.DECK, deck)
            out.write_text(folder / out.CONFIG, resolved)
            total = sum(task.n_steps for task in tasks)
            if found := where["store"].steps(tasks):
                say(f"{found} of {total} steps were found in {where['store'].folder}")
            with progress_lines() as line, beside(_beside(loaded, sampler, line)) as expected:
                samples = _simulate(sampler, loaded.run, output, progress=line("ngspice", total, "steps"), **where)
                samples.tree.attrs["deck_sha256"] = fingerprint(deck)
                samples.save(folder / out.SAMPLES)
                known = expected()
            result = _judged(loaded, sampler, samples, known)
            from circuitlsc.reporting.plotting import save_figure

            out.write_json(folder / result.file, result.numbers)
            save_figure(result.draw(), folder / out.FIGURE)
            energy = _energy(sampler, samples)
            if energy is not None:
                out.write_json(folder / out.ENERGY, energy.to_dict())
        print(result.text)
        if energy is not None:
            from circuitlsc.studies.energy import energy_text

            print("\n" + energy_text(energy))
        raise typer.Exit(EXIT_CODES[result.verdict])


def _with_tolerance(config: Config, tolerance: float | None) -> Config:
    """Return the config with the tolerance that an option gives, which counts before the key."""
    from dataclasses import replace

    from circuitlsc.config.read import check_tolerance

    if tolerance is None:
        return config
    return replace(config, tolerance=check_tolerance("--tolerance", tolerance, config.dynamics))


def _beside(
    config: Config, sampler: Sampler, line: Callable[[str, int, str], Advance]
) -> Callable[[Callable[[], None]], Expectation | None]:
    """Return what finds out, beside the transients, what a correct run would give."""

    def work(check: Callable[[], None]) -> Expectation | None:
        # imported here, while the circuits run
        from circuitlsc.cli.outcome import prepare

        advance: list[Advance] = []

        def progress(share: float, left: float) -> None:
            check()
            if share <= 0:
                return
            if not advance:
                advance.append(line("exact posterior", 100, "%"))
            advance[0](0, min(99, round(100 * share)))

        found = prepare(
            sampler,
            config.run,
            tolerance=config.tolerance,
            reference_time=config.reference_time,
            progress=progress,
        )
        if advance:
            advance[0](0, 100)
        return found

    return work


def _judged(config: Config, sampler: Sampler, samples: Samples, expected: Expectation | None) -> Outcome:
    from circuitlsc.cli.outcome import outcome

    return outcome(
        sampler,
        samples,
        expected=expected,
        tolerance=config.tolerance,
        reference_time=config.reference_time,
        note=say,
    )


def _simulate(sampler: Sampler, run: RunPlan, output: Path, **where: Any) -> Samples:
    """Run the chains; if one fails, keep the others' samples where the next attempt finds them."""
    from circuitlsc.io import output as out
    from circuitlsc.simulator.engine import ChainsFailed

    try:
        return sampler.run(run, keep=output.with_name(output.name + ".failed"), **where)
    except ChainsFailed as error:
        if error.completed:
            tasks = sampler.tasks(run)
            path = out.partial_folder(output) / out.COMPLETED
            try:
                sampler.label(run, [tasks[r.chain] for r in error.completed], error.completed).save(path)
                where_they_are = f"are in {path}"
            except (OSError, SimulationError) as another:
                where_they_are = f"could not be saved ({getattr(another, 'strerror', None) or another})"
            error.reason += (
                f" The samples of the other {len(error.completed)} chains {where_they_are}; "
                "the same command with --resume tries the rest again."
            )
        raise


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder that `run` made.")],
    json: Annotated[bool, typer.Option("--json", help="Print the JSON (comparison, map) instead of a table.")] = False,
    tolerance: Tolerance = None,
) -> None:
    """Compare the samples in a folder again, from samples.nc and config.resolved.toml, and print the result."""
    import json as text

    from circuitlsc.config.read import load_config
    from circuitlsc.io import output as out
    from circuitlsc.sampling.samples import Samples

    with one_line_errors():
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder. Give one that `circuitlsc run` made.")
        samples = Samples.load(folder / out.SAMPLES)
        config = _with_tolerance(load_config(folder / out.CONFIG, anywhere=True), tolerance)
        sampler = config.sampler()
        samples.check_made_by(sampler)
        with progress_lines() as line:
            expected = _beside(config, sampler, line)(lambda: None)
        result = _judged(config, sampler, samples, expected)
        print(text.dumps(result.numbers, indent=2, allow_nan=False) if json else result.text)
        raise typer.Exit(EXIT_CODES[result.verdict])


@app.command()
def draw(config: ConfigArgument, output: OutputFolder, anywhere: Anywhere = False) -> None:
    """Draw one neuron, the whole signal path and, at device level, the crossbars; of what learns, its path and a synapse."""
    from circuitlsc.config.read import load_config
    from circuitlsc.config.table import read_toml
    from circuitlsc.drawing.crossbar import crossbar_figure
    from circuitlsc.drawing.schematic import neuron_schematic, signal_path_schematic
    from circuitlsc.io import output as out
    from circuitlsc.reporting.plotting import save_figure

    with one_line_errors():
        out.check_free(output)
        if "learning" in read_toml(config):
            _draw_learner(config, output, anywhere)
            return
        sampler = load_config(config, anywhere=anywhere).sampler()
        with out.new_folder(output) as folder:
            neuron_schematic(sampler, folder / "neuron.svg")
            signal_path_schematic(sampler, folder / "signal_path.svg")
            if sampler.level == "device":
                save_figure(crossbar_figure(sampler), folder / "crossbars.png")


def _draw_learner(config: Path, output: Path, anywhere: bool) -> None:
    """Draw the circuit of a config of learning."""
    from circuitlsc.config.learning import load_learn_config
    from circuitlsc.drawing.learning import learning_path_schematic
    from circuitlsc.drawing.synapse import synapse_schematic
    from circuitlsc.io import output as out

    learner = load_learn_config(config, "circuit", anywhere=anywhere).in_circuit()
    with out.new_folder(output) as folder:
        learning_path_schematic(learner, folder / "signal_path.svg")
        if "A" in learner.learn:
            synapse_schematic(learner, folder / "synapse.svg")


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what to do about it."""
    from circuitlsc.cli.doctor import examine

    with one_line_errors():
        findings = examine()
        for finding in findings:
            print(finding)
        if any(finding.wrong for finding in findings):
            raise typer.Exit(FAILED)


def _energy(sampler: Sampler, samples: Samples) -> EnergyReport | None:
    """Return the power and speed of a device-level sampler (its rows know of no momentum, and of no settling)."""
    from circuitlsc.studies.energy import energy_report

    fits = sampler.level == "device" and sampler.dynamics.kind == "langevin" and sampler.stream is None
    return energy_report(sampler, samples, note=say) if fits else None
