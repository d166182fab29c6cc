"""calibrate, friction, paper: what is measured over many inputs or many circuits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from circuitlsc.cli.machine import Cache, Machine, NoCache, Resume, Scheduler, Workers
from circuitlsc.cli.shared import (
    EXIT_CODES,
    Anywhere,
    ConfigArgument,
    OutputFolder,
    TStop,
    app,
    left_behind,
    one_line_errors,
    progress_bar,
    say,
    short_run,
)
from circuitlsc.errors import InputError


@app.command()
def calibrate(
    config: ConfigArgument,
    output: OutputFolder,
    inputs: Annotated[int, typer.Option("--inputs", help="How many inputs are drawn from the model.")] = 300,
    draws: Annotated[int, typer.Option("--draws", help="Samples kept of each input.")] = 19,
    spacing: Annotated[float, typer.Option("--spacing", help="Time between kept samples, tau.")] = 5.0,
    warmup: Annotated[float, typer.Option("--warmup", help="Time before the first one, tau.")] = 10.0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    anywhere: Anywhere = False,
) -> None:
    """Draw codes and inputs from the model, run the circuit on them, and test whether the true codes' ranks are uniform."""
    from dataclasses import replace

    import numpy as np

    from circuitlsc.config.read import load_config, resolved_toml
    from circuitlsc.io import output as out
    from circuitlsc.reporting.calibration_plot import calibration_figure
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.studies.circuit_calibration import plan_calibration
    from circuitlsc.validation.calibration import calibration_report

    machine = Machine(workers, scheduler, resume, cache, no_cache)
    with one_line_errors(lambda: left_behind(output)):
        out.check_free(output)
        machine.check()
        loaded = load_config(config, anywhere=anywhere)
        circuit = {k: v for k, v in loaded.circuit().items() if k not in ("hold", "interpolate")}
        temperature = loaded.dynamics.T
        model = loaded.model if temperature in (0, 1) else loaded.model.tempered(temperature)
        plan = plan_calibration(
            model,
            built=loaded.model,
            inputs=inputs,
            draws=draws,
            spacing=spacing,
            warmup=warmup,
            seed=loaded.run.seed,
            **circuit,
        )
        print(plan.sampler.report(), file=sys.stderr)
        assert plan.sampler.stream is not None
        made = replace(loaded, x=plan.sampler.x, x_source=out.STREAMED, hold=plan.sampler.stream.hold, run=plan.run)
        resolved = resolved_toml(made, plan.sampler)
        keep = output.with_name(output.name + ".failed")
        asked = {"command": "calibrate", "config": resolved, "draws": draws, "spacing": spacing, "warmup": warmup}
        with machine.folder(output, loaded, asked) as (folder, where):
            with progress_bar(plan.sampler.tasks(plan.run)[0].n_steps) as advance:
                measured = plan.measure(progress=advance, keep=keep, **where)
            measured.samples.save(folder / out.SAMPLES)
            out.write_text(folder / out.CONFIG, resolved)
            np.save(folder / out.STREAMED, plan.sampler.x, allow_pickle=False)
            out.write_arrays(folder / out.INPUTS, s_true=measured.s_true, x=measured.sampler.x)
            out.write_json(folder / out.CALIBRATION, measured.result.to_dict())
            save_figure(calibration_figure(measured.result), folder / out.CALIBRATION_FIGURE)
        print(calibration_report(measured.result))
        raise typer.Exit(EXIT_CODES[measured.result.verdict])


@app.command()
def friction(
    config: ConfigArgument,
    output: OutputFolder,
    frictions: Annotated[
        list[float] | None, typer.Option("--friction", help="A friction to try; may be given several times.")
    ] = None,
    t_stop: TStop = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = False,
    cache: Cache = None,
    no_cache: NoCache = False,
    anywhere: Anywhere = False,
) -> None:
    """Count effective samples per tau over friction, with momentum and without (a circuit of the same bandwidth)."""
    from circuitlsc.config.read import load_config, resolved_toml
    from circuitlsc.io import output as out
    from circuitlsc.reporting.friction_plot import friction_figure, friction_report
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.studies.budget import check_samples_one
    from circuitlsc.studies.friction import friction_sweep

    machine = Machine(workers, scheduler, resume, cache, no_cache)
    with one_line_errors(lambda: left_behind(output)):
        out.check_free(output)
        machine.check()
        loaded = load_config(config, anywhere=anywhere)
        check_samples_one("friction", loaded.circuit())
        circuit = {k: v for k, v in loaded.circuit().items() if k not in ("hold", "interpolate", "step")}
        run = short_run(loaded, t_stop)
        resolved = resolved_toml(loaded, loaded.sampler())
        asked = {"command": "friction", "config": resolved, "run": run, "frictions": frictions}
        with machine.folder(output, loaded, asked) as (folder, where):
            measured = friction_sweep(
                loaded.model,
                loaded.x,
                frictions=frictions or None,
                t_stop=run["t_stop"],
                warmup=run["warmup"],
                chains=run["chains"],
                seed=run["seed"],
                note=say,
                **where,
                **circuit,
            )
            out.write_text(folder / out.CONFIG, resolved)
            out.write_json(folder / out.FRICTION, measured.to_dict())
            save_figure(friction_figure(measured), folder / out.FRICTION_FIGURE)
        print(friction_report(measured))


Figure = Annotated[
    str,
    typer.Argument(metavar="FIGURE", help="fig3, fig4a, fig4b, fig5, fig6, fig7, fig8 or fig9 of Fang et al. (2022)."),
]
FigureFolder = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder; default: paper-FIGURE.")
]
FigureSeed = Annotated[int, typer.Option("--seed", help="Of data and noise; the first one of several runs.")]
Software = Annotated[
    bool, typer.Option("--software", help="Leave the circuits of fig4a and fig5 out: seconds, not minutes.")
]


@app.command()
def paper(name: Figure, output: FigureFolder = None, seed: FigureSeed = 0, software: Software = False) -> None:
    """Make a figure of the paper, in a checkout of the sources: what python -m examples.paper does there.

    fig3, fig4a and fig5 are about inference on bars, in software and as circuits. fig4b, fig6 and fig7 (bars) and fig8 and
    fig9 (natural patches) are about learning, in software: minutes, the last two half an hour each.
    """
    from importlib import import_module

    import circuitlsc

    checkout = Path(circuitlsc.__file__).parents[1]
    with one_line_errors():
        if not (checkout / "examples" / "paper" / "__main__.py").is_file():
            raise InputError(
                f"paper: the paper's figures are run from a checkout of the sources, and {checkout} is none. "
                "Go to a checkout, and give: python -m examples.paper FIGURE -o OUT"
            )
    if sys.path[0] != str(checkout):
        sys.path.insert(0, str(checkout))  # before any other package that is called examples
    import_module("examples.paper.command").make_figure(name, output, seed, software)
