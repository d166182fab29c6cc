"""budget and yield: what imperfect parts do to the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.machine import Cache, Machine, NoCache, Resume, Scheduler, Workers
from circuitlsc.cli.shared import (
    Anywhere,
    ConfigArgument,
    OutputFolder,
    TStop,
    app,
    left_behind,
    one_line_errors,
    print_rules,
    say,
    short_run,
)
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.config.read import Config
    from circuitlsc.nonideal.nonidealities import Nonidealities
    from circuitlsc.sampling.sampler import Sampler


@app.command()
def budget(
    config: ConfigArgument,
    output: OutputFolder,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="PART.PARAMETER=START:STOP:N", help="Try N values of one parameter alone."),
    ] = None,
    corners: Annotated[bool, typer.Option("--corners", help="Add temperature, supply, R and C corners.")] = False,
    t_stop: TStop = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    anywhere: Anywhere = False,
) -> None:
    """Measure what each imperfection of [nonideal] does to the posterior: alone, and all together, on the same noise."""
    from circuitlsc.config.read import load_config, resolved_toml
    from circuitlsc.io import output as out
    from circuitlsc.reporting.budget_plot import budget_figure, sweep_figure
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.reporting.report import budget_report
    from circuitlsc.studies.budget import error_budget, parse_sweep

    machine = Machine(workers, scheduler, resume, cache, no_cache)
    with one_line_errors(lambda: left_behind(output)):
        out.check_free(output)
        machine.check()
        sweeps = [parse_sweep(text) for text in sweep or ()]
        loaded = load_config(config, anywhere=anywhere)
        sampler, nonideal, circuit = imperfect(loaded)
        resolved, length = resolved_toml(loaded, sampler), short_run(loaded, t_stop)
        asked = {"command": "budget", "config": resolved, "run": length, "sweeps": sweep, "corners": corners}
        with machine.folder(output, loaded, asked) as (folder, where):
            print_rules(sampler)
            out.write_text(folder / out.CONFIG, resolved)
            measured = error_budget(
                loaded.model,
                loaded.x,
                nonideal,
                sweeps=sweeps,
                corners=corners,
                **length,
                note=say,
                **where,
                **circuit,
            )
            out.write_json(folder / out.BUDGET, measured.to_list())
            save_figure(budget_figure(measured), folder / out.BUDGET_FIGURE)
            if (swept := sweep_figure(measured)) is not None:
                save_figure(swept, folder / out.SWEEP_FIGURE)
        print(budget_report(measured))


@app.command(name="yield")
def chip_yield(
    config: ConfigArgument,
    output: OutputFolder,
    chips: Annotated[int, typer.Option("--chips", help="How many chips, each with random errors of its own.")] = 20,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Largest error of P(active) and mean/slab.")] = 0.02,
    t_stop: TStop = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    anywhere: Anywhere = False,
) -> None:
    """Run many chips of one design on the same noise, and say how many stay within a tolerance of the ideal circuit."""
    from circuitlsc.config.read import load_config, resolved_toml
    from circuitlsc.io import output as out
    from circuitlsc.reporting.budget_plot import chips_figure
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.reporting.report import chips_report
    from circuitlsc.studies import chip_yield as lot

    machine = Machine(workers, scheduler, resume, cache, no_cache)
    with one_line_errors(lambda: left_behind(output)):
        out.check_free(output)
        machine.check()
        loaded = load_config(config, anywhere=anywhere)
        sampler, nonideal, circuit = imperfect(loaded)
        resolved, length = resolved_toml(loaded, sampler), short_run(loaded, t_stop)
        asked = {"command": "yield", "config": resolved, "run": length, "chips": chips, "tolerance": tolerance}
        with machine.folder(output, loaded, asked) as (folder, where):
            print_rules(sampler)
            out.write_text(folder / out.CONFIG, resolved)
            measured = lot.chip_yield(
                loaded.model,
                loaded.x,
                nonideal,
                chips=chips,
                tolerance=tolerance,
                **length,
                note=say,
                **where,
                **circuit,
            )
            out.write_json(folder / out.CHIPS, measured.to_dict())
            save_figure(chips_figure(measured), folder / out.CHIPS_FIGURE)
        print(chips_report(measured))


def imperfect(config: Config) -> tuple[Sampler, Nonidealities, dict[str, Any]]:
    """Return a config's device-level sampler, its imperfections, and the other arguments of its circuit."""
    from circuitlsc.nonideal.nonidealities import IDEAL

    if config.level != "device":
        raise InputError(
            f'circuit.level = "{config.level}" has no parts that could be imperfect. '
            'Set level = "device" in [circuit], and give the imperfections in [nonideal].'
        )
    circuit = config.circuit()
    return config.sampler(), circuit.pop("nonideal") or IDEAL, circuit
