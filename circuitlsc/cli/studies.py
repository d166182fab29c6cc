"""budget, yield, characterise, calibrate, friction, compare-samplers, paper: many circuits, or many inputs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.runner import Job, command
from circuitlsc.cli.shared import Ended, completed, plain, print_rules, say
from circuitlsc.errors import InputError
from circuitlsc.io import output as out
from circuitlsc.io.progress import progress_lines

if TYPE_CHECKING:
    from circuitlsc.cli.results import Results
    from circuitlsc.config.read import Config

TStop = Annotated[
    float | None,
    typer.Option("--t-stop", help="Length per chain, tau; default: the config's, at most 4000 (40000 if variational)."),
]


@command("budget")
def budget(
    job: Job,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="PART.PARAMETER=START:STOP:N", help="Try N values of one parameter alone."),
    ] = None,
    corners: Annotated[bool, typer.Option("--corners", help="Add temperature, supply, R and C corners.")] = False,
    t_stop: TStop = None,
) -> Ended:
    """Measure what each imperfection of [nonideal] does to the posterior: alone, and all together, on the same noise."""
    from circuitlsc.reporting import series, study_plot
    from circuitlsc.studies import budget as study

    sweeps = [study.parse_sweep(text) for text in sweep or ()]
    with imperfect(job, t_stop, sweeps=sweep, corners=corners) as (results, circuit, how):
        measured = study.error_budget(*circuit, sweeps=sweeps, corners=corners, **how)
        results.write("budget.json", measured.to_list())
        results.draw("budget.png", study_plot.budget_figure(measured), study_plot.BUDGET_CAPTION)
        if (swept := study_plot.sweep_figure(measured)) is not None:
            results.draw("sweep.png", swept, study_plot.SWEEP_CAPTION)
        results.report, results.series = measured.report(), series.of_budget(measured)
    return job.ended(results.report)


@command("yield")
def chip_yield(
    job: Job,
    chips: Annotated[int, typer.Option("--chips", help="How many chips, each with random errors of its own.")] = 20,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Largest error of P(active) and mean/slab.")] = 0.02,
    t_stop: TStop = None,
) -> Ended:
    """Run many chips of one design on the same noise, and say how many stay within a tolerance of the ideal circuit."""
    from circuitlsc.reporting import series, study_plot
    from circuitlsc.studies import chip_yield as study

    with imperfect(job, t_stop, chips=chips, tolerance=tolerance) as (results, circuit, how):
        measured = study.chip_yield(*circuit, chips=chips, tolerance=tolerance, **how)
        results.write("chips.json", measured.to_dict())
        results.draw("chips.png", study_plot.chips_figure(measured), study_plot.CHIPS_CAPTION)
        results.report, results.series = measured.report(), series.of_chips(measured)
    return job.ended(results.report)


@command("characterise", chains=False)
def characterise(
    job: Job,
    process: Annotated[
        str | None,
        typer.Option("--process", metavar="NAME,...", help="Of typical, ff, ss, fs, sf; default: the config's."),
    ] = None,
    temperature: Annotated[
        str | None, typer.Option("--temperature", metavar="K,...", help="Kelvin; default: the config's.")
    ] = None,
    supply: Annotated[
        str | None, typer.Option("--supply", metavar="FACTOR,...", help="Factors on the supply; default: the config's.")
    ] = None,
    chips: Annotated[
        int | None,
        typer.Option("--chips", help="How many chips, with the seeds 0, 1, ..; default: the config's alone."),
    ] = None,
) -> Ended:
    """Measure what a design's cells of transistors do, at corners and on chips: tables, gains, distance from a gradient."""
    import numpy as np

    from circuitlsc.cli.runner import simulator
    from circuitlsc.config.read import resolved_toml
    from circuitlsc.reporting import cells_plot
    from circuitlsc.studies import characterisation as study

    config = job.load()
    circuit = config.circuit()
    if (level := circuit["level"]) != "transistor":
        raise InputError(
            f'circuit.level = "{level}" has no cells of transistors. Set level = "transistor" in [circuit].'
        )
    sampler = config.sampler()
    corners = study.parse_corners(sampler.nonideal, process, temperature, supply, chips)
    with job.results({}, resume=False) as results:
        measured = study.characterisation(sampler, corners, note=say)
        results.simulator = simulator()
        out.write_text(results.folder / out.CONFIG, resolved_toml(config, sampler))
        for chip in measured.chips:
            np.savez(results.folder / f"cells-{chip.name}.npz", **chip.arrays())  # type: ignore[arg-type]
        results.write("cells.json", measured.to_dict())
        results.draw("cells.png", cells_plot.cells_figure(measured), cells_plot.CELLS_CAPTION)
        results.draw("gate-errors.png", cells_plot.errors_figure(measured), cells_plot.ERRORS_CAPTION)
        results.draw("corners.png", cells_plot.corners_figure(measured), cells_plot.CORNERS_CAPTION)
        results.report = measured.report()
    return job.ended(results.report)


@contextmanager
def imperfect(
    job: Job, t_stop: float | None, **asked: Any
) -> Iterator[tuple[Results, tuple[Any, ...], dict[str, Any]]]:
    """Yield the results of a study of imperfections, its model, input and parts, and the arguments of run and circuit."""
    from circuitlsc.nonideal.nonidealities import IDEAL
    from circuitlsc.studies.frame import check_samples_one

    config = job.load()
    circuit = config.circuit()
    check_samples_one(f"the {job.command}", circuit, remembered=True)
    if (level := circuit["level"]) == "ideal":
        raise InputError(
            f'circuit.level = "{level}" has no parts that could be imperfect. '
            'Set level = "device" or "transistor" in [circuit], and give the imperfections in [nonideal].'
        )
    parts, length, sampler = circuit.pop("nonideal") or IDEAL, short_run(config, t_stop), config.sampler()
    with job.folder(config, sampler, run=length, **asked) as (results, where):
        print_rules(sampler)
        yield results, (config.model, config.x, parts), {"note": say, "progress": True, **length, **where, **circuit}


def short_run(config: Config, t_stop: float | None) -> dict[str, Any]:
    """Return the run of a budget: the config's, but no longer than paired differences need."""
    from circuitlsc.studies.frame import length

    each = len(config.x) if config.dynamics.remembers else 1
    run, most = asdict(config.run), max(each * length(config.dynamics), 2 * config.run.warmup)
    return {**run, "t_stop": min(run["t_stop"], most) if t_stop is None else t_stop}


@command("calibrate")
def calibrate(
    job: Job,
    inputs: Annotated[int, typer.Option("--inputs", help="How many inputs are drawn from the model.")] = 300,
    draws: Annotated[int, typer.Option("--draws", help="Samples kept of each input.")] = 19,
    spacing: Annotated[float, typer.Option("--spacing", help="Time between kept samples, tau.")] = 5.0,
    warmup: Annotated[float, typer.Option("--warmup", help="Time before the first one, tau.")] = 10.0,
) -> Ended:
    """Draw codes and inputs from the model, run the circuit on them, and test whether the true codes' ranks are uniform."""
    import numpy as np

    from circuitlsc.reporting import calibration_plot, series
    from circuitlsc.studies import circuit_calibration as study
    from circuitlsc.validation.calibration import calibration_report

    config = job.load()
    left_out = ("interpolate",) if config.dynamics.remembers else ("hold", "interpolate")
    circuit = {k: v for k, v in config.circuit().items() if k not in left_out}
    temperature = config.dynamics.T
    model = config.model if temperature in (0, 1) else config.model.tempered(temperature)
    asked: dict[str, Any] = {"draws": draws, "spacing": spacing, "warmup": warmup}
    plan = study.plan_calibration(model, built=config.model, inputs=inputs, **asked, seed=config.run.seed, **circuit)
    sampler = plan.sampler
    print(sampler.report(), file=sys.stderr)
    assert sampler.stream is not None
    made = replace(
        config,
        x=plan.x,
        run=plan.run,
        source=replace(config.source, x=out.STREAMED),
        timing=replace(config.timing, hold=sampler.stream.hold),
    )
    with job.folder(made, sampler, **asked) as (results, where):
        folder = results.folder
        measured = plan.measure(progress=True, keep=job.failed, **where)
        codes = {} if measured.samples is not None else {"s": measured.codes}  # of many circuits
        if measured.samples is not None:
            measured.samples.save(folder / out.SAMPLES)
        np.save(folder / out.STREAMED, plan.x, allow_pickle=False)
        out.write_arrays(folder / out.INPUTS, s_true=measured.s_true, x=plan.x, **codes)
        result = measured.result
        results.write("calibration.json", result.to_dict())
        results.draw("calibration.png", calibration_plot.calibration_figure(result), calibration_plot.CAPTION)
        results.report, results.series = calibration_report(result), series.of_calibration(result)
    return job.ended(results.report)


@command("friction")
def friction(
    job: Job,
    frictions: Annotated[
        list[float] | None, typer.Option("--friction", help="A friction to try; may be given several times.")
    ] = None,
    t_stop: TStop = None,
) -> Ended:
    """Count effective samples per tau over friction, with momentum and without (a circuit of the same bandwidth)."""
    from circuitlsc.reporting import series, study_plot
    from circuitlsc.studies import frame, friction

    config = job.load()
    frame.check_samples_one("friction", config.circuit())
    if config.circuit()["level"] == "transistor":
        raise InputError('friction: level = "transistor" has no momentum. Set level = "device" in [circuit].')
    frame.as_sampling(config.dynamics, "friction compares samples of a posterior")
    circuit = {k: v for k, v in config.circuit().items() if k not in ("hold", "interpolate", "step")}
    run = short_run(config, t_stop)
    del run["thin"]  # the sweep keeps what each of its circuits needs
    with job.folder(config, config.sampler(), run=run, frictions=frictions) as (results, where):
        how = {**run, **where, **circuit}
        given: dict[str, Any] = {"frictions": frictions or None, "note": say, "progress": True}
        measured = friction.friction_sweep(config.model, config.x, **given, **how)
        results.write("friction.json", measured.to_dict())
        results.draw("friction.png", study_plot.friction_figure(measured), study_plot.FRICTION_CAPTION)
        results.report, results.series = measured.report(), series.of_friction(measured)
    return job.ended(results.report)


@command("compare-samplers")
def compare_samplers(
    job: Job,
    inputs: Annotated[int, typer.Option("--inputs", help="How many inputs are drawn from the model.")] = 100,
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            "--sigma", help="A noise level; may be given several times; default: 0.6, 1 and 1.6 of the config's."
        ),
    ] = None,
    hold: Annotated[float, typer.Option("--hold", help="How long each input is on, tau.")] = 2000.0,
    steps: Annotated[int, typer.Option("--steps", help="Steps of an encoder's training.")] = 4000,
) -> Ended:
    """Run L0-LSC and variational circuits on the same inputs, and say from when on the slow exact one is more accurate."""
    from circuitlsc.cli.encoders import learner_of, trained
    from circuitlsc.config.comparison import load_comparison_config
    from circuitlsc.learning.source import fingerprint
    from circuitlsc.learning.variational import first_encoder
    from circuitlsc.reporting import samplers as reporting
    from circuitlsc.reporting import series
    from circuitlsc.studies import sampler_comparison as study

    asked = load_comparison_config(job.config, anywhere=job.anywhere)
    config, own = asked.config, asked.config.model.sigma
    # short names for the others; the config's own is left as it is, digit for digit
    sigmas = tuple(sigma or (own if factor == 1 else float(f"{factor * own:.12g}") for factor in study.SIGMAS))
    study.check_comparison(config.model, sigmas, inputs, hold)
    asked.check_levels(sigmas)
    seed = config.run.seed
    learners = {level: learner_of(asked, level, steps) for level in sigmas}
    models = {level: replace(config.model, sigma=level) for level in sigmas}
    for level, model in models.items():  # whatever cannot be built is refused before there is work
        X = study.inputs_of(model, 2, seed)
        slow = study.slow_circuit(model, X, hold, asked.langevin)
        fast = study.fast_circuit(model, X, hold, first_encoder(learners[level]), asked.variational)
        for circuit in (slow, fast):
            circuit.tasks(circuit.run_plan(warmup=0.0, seed=seed))
    options = {"inputs": inputs, "hold": hold, "steps": steps}
    settings = {**options, "sigmas": sigmas, "training": [learner.settings() for learner in learners.values()]}
    if (given := asked.encoder) is not None:
        settings["file"] = [fingerprint(layer) for layer in (*given.weights, *given.biases)]
    words = [f"--{name} {value}" for name, value in options.items()] + [f"--sigma {level!r}" for level in sigmas]
    resolved = asked.resolved(f"circuitlsc compare-samplers {out.CONFIG} {' '.join(words)}")
    with job.folder(config, config.sampler(), resolved=resolved, **settings) as (results, where):
        with progress_lines() as line:
            encoders = {
                level: asked.encoder
                if asked.encoder is not None and level == own
                else trained(learner, level, results.folder, where["store"], line)
                for level, learner in learners.items()
            }
            say("the best law of each input")
            circuits = (inputs, hold, seed, asked.langevin, asked.variational)
            benches = [study.bench_of(models[level], encoder, *circuits) for level, encoder in encoders.items()]
            chains = study.chains_of(benches)
            total = sum(chain.n_steps for chain in chains)
            if there := where["store"].steps(chains):
                say(f"{there} of {total} steps were found in {where['store'].folder}")
            measured = study.measure(benches, seed=seed, note=say, progress=True, **where)
        results.write("samplers.json", measured.to_dict())
        results.draw("samplers.png", reporting.samplers_figure(measured), reporting.CAPTION)
        results.report, results.series = reporting.samplers_report(measured), series.of_samplers(measured)
    return job.ended(results.report)


#: figures of papers, as `examples.paper.run` makes them
FIGURES = (
    "fig3 fig4a fig4b fig5 fig6 fig7 fig8 fig9 vsc-gradients vsc-max vsc-patches vsc-laws "
    "ald-points ald-hold lae-batch lae-digits"
)
Figure = Annotated[
    str,
    typer.Argument(
        metavar="FIGURE",
        autocompletion=completed(FIGURES.split),
        help="fig3, fig4a, fig4b, fig5, fig6, fig7, fig8 or fig9 of Fang et al. (2022); vsc-gradients, vsc-max, "
        "vsc-patches or vsc-laws, in kind after Fallah & Rozell (2022); or ald-points, ald-hold, lae-batch or lae-digits, "
        "after Taniguchi et al. (2022).",
    ),
]
FigureFolder = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder; default: paper-FIGURE.")
]
FigureSeed = Annotated[int, typer.Option("--seed", help="Of data and noise; the first one of several runs.")]
Software = Annotated[
    bool, typer.Option("--software", help="Leave the circuits of fig4a and fig5 out: seconds, not minutes.")
]


@plain("paper")
def paper(name: Figure, output: FigureFolder = None, seed: FigureSeed = 0, software: Software = False) -> None:
    """Make a figure of a paper, in a checkout of the sources: what python -m examples.paper does there.

    fig3, fig4a and fig5 are about inference on bars, in software and as circuits. fig4b, fig6 and fig7 (bars) and fig8 and
    fig9 (natural patches) are about learning, in software: minutes, the last two half an hour each.

    In kind after Fallah & Rozell (2022), in software, minutes each: vsc-gradients (noise and bias of gradients from J draws),
    vsc-max (their average against the best of them), vsc-patches (dictionaries of patches by the variational and by the
    sampling learner) and vsc-laws (thresholded laws beside others).

    After Taniguchi et al. (2022), in software, minutes each: ald-points (codes of a few points by steps of weights, against
    exact laws), ald-hold (a sampler with a memory beside one without, over how long inputs are held), lae-batch (what
    batches do to a Langevin autoencoder) and lae-digits (it, a variational autoencoder and warm-started Langevin steps, on
    digits).
    """
    from importlib import import_module

    import circuitlsc

    checkout = Path(circuitlsc.__file__).parents[1]
    if not (checkout / "examples" / "paper" / "__main__.py").is_file():
        raise InputError(
            f"paper: the paper's figures are run from a checkout of the sources, and {checkout} is none. "
            "Go to a checkout, and give: python -m examples.paper FIGURE -o OUT"
        )
    if sys.path[0] != str(checkout):
        sys.path.insert(0, str(checkout))  # before any other package that is called examples
    import_module("examples.paper.command").make_figure(name, output, seed, software)
