"""The command line: build, run, compare, calibrate, friction, learn, budget, yield, paper, draw, doctor.

Results go to stdout, progress and notes to stderr. Exit codes: 0 agrees (or done), 1 failed, 2 usage, 3 disagrees,
4 inconclusive.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.errors import CircuitLSCError, InputError, MissingSimulatorError

if TYPE_CHECKING:
    from circuitlsc.config import Config
    from circuitlsc.energy import EnergyReport
    from circuitlsc.nonideal import Nonidealities
    from circuitlsc.sampler import Sampler
    from circuitlsc.samples import Samples

FAILED, USAGE, INTERRUPTED = 1, 2, 130
EXIT_CODES = {"agrees": 0, "disagrees": 3, "inconclusive": 4}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compile a sparse-coding posterior into an analog circuit, run it in ngspice, and compare its samples.",
)
ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Config file; see examples/.")]
OutputFolder = Annotated[Path, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder for the results.")]
TStop = Annotated[
    float | None,
    typer.Option(
        "--t-stop", help="Length per chain, tau; default: the config's, at most 4000 (differences need less)."
    ),
]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"circuitlsc {version('circuitlsc')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@contextmanager
def _one_line_errors(interrupted: str = "interrupted; nothing was written") -> Iterator[None]:
    """Turn every error that has a message for the user into one line and an exit code."""
    try:
        yield
    except (InputError, MissingSimulatorError) as error:
        _fail(error, USAGE)
    except CircuitLSCError as error:
        _fail(error, FAILED)
    except KeyboardInterrupt:
        _fail(interrupted, INTERRUPTED)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename}", FAILED)


def _fail(message: object, code: int) -> None:
    print(f"circuitlsc: error: {' '.join(str(message).split())}", file=sys.stderr)
    raise typer.Exit(code)


@app.command()
def build(
    config: ConfigArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Deck to write; default: stdout.")] = None,
) -> None:
    """Write a stand-alone netlist that plain `ngspice -b` runs; the scaling report goes to stderr."""
    from circuitlsc.config import load_config
    from circuitlsc.output import write_text

    with _one_line_errors():
        loaded = load_config(config)
        sampler = loaded.sampler()
        deck = sampler.deck(t_stop=loaded.run.t_stop, warmup=loaded.run.warmup, seed=loaded.run.seed)
        if output is None:
            sys.stdout.write(deck)
        else:
            if output.is_dir():
                raise InputError(
                    f"-o {output} is a folder. Give the name of a file, for example {output / 'deck.cir'}."
                )
            if not output.absolute().parent.is_dir():
                raise InputError(f"-o {output}: the folder {output.absolute().parent} does not exist. Make it first.")
            write_text(output, deck)
        print(sampler.report(), file=sys.stderr)


@app.command()
def run(
    config: ConfigArgument,
    output: OutputFolder,
) -> None:
    """Run the circuit in ngspice and compare what it samples, or settles on, with software."""
    from circuitlsc import output as out
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.energy import energy_text
    from circuitlsc.outcome import outcome
    from circuitlsc.plotting import save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        loaded = load_config(config)
        find_library()
        sampler = loaded.sampler()
        sampler.tasks(loaded.run)  # refuses a run that is too short before anything is written
        print(sampler.report(), file=sys.stderr)
        _print_rules(sampler)
        keep = output.with_name(output.name + ".failed")
        with out.new_folder(output) as folder:
            deck = sampler.deck(t_stop=loaded.run.t_stop, warmup=loaded.run.warmup, seed=loaded.run.seed)
            out.write_text(folder / out.DECK, deck)
            out.write_text(folder / out.CONFIG, resolved_toml(loaded, sampler))
            with _progress(sampler.tasks(loaded.run)[0].n_steps * loaded.run.chains) as advance:
                samples = sampler.run(loaded.run, timeout=loaded.timeout, progress=advance, keep=keep)
            samples.save(folder / out.SAMPLES)
            result = outcome(sampler, samples, note=_note)
            out.write_json(folder / result.file, result.numbers)
            save_figure(result.draw(), folder / out.FIGURE)
            energy = _energy(sampler, samples)
            if energy is not None:
                out.write_json(folder / out.ENERGY, energy.to_dict())
        print(result.text)
        if energy is not None:
            print("\n" + energy_text(energy))
        raise typer.Exit(EXIT_CODES[result.verdict])


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder that `run` made.")],
    json: Annotated[bool, typer.Option("--json", help="Print the JSON (comparison, map) instead of a table.")] = False,
) -> None:
    """Compare the samples in a folder again, from samples.nc and config.resolved.toml, and print the result."""
    import json as text

    from circuitlsc import output as out
    from circuitlsc.config import load_config
    from circuitlsc.outcome import outcome
    from circuitlsc.samples import Samples

    with _one_line_errors():
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder. Give one that `circuitlsc run` made.")
        samples = Samples.load(folder / out.SAMPLES)
        sampler = load_config(folder / out.CONFIG).sampler()
        samples.check_made_by(sampler)
        result = outcome(sampler, samples, note=_note)
        print(text.dumps(result.numbers, indent=2, allow_nan=False) if json else result.text)
        raise typer.Exit(EXIT_CODES[result.verdict])


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
) -> None:
    """Measure what each imperfection of [nonideal] does to the posterior: alone, and all together, on the same noise."""
    from circuitlsc import output as out
    from circuitlsc.budget import error_budget, parse_sweep
    from circuitlsc.budget_plot import budget_figure, sweep_figure
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.plotting import save_figure
    from circuitlsc.report import budget_report
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        sweeps = [parse_sweep(text) for text in sweep or ()]
        loaded = load_config(config)
        find_library()
        sampler, nonideal, circuit = _device(loaded)
        _print_rules(sampler)
        with out.new_folder(output) as folder:
            out.write_text(folder / out.CONFIG, resolved_toml(loaded, sampler))
            measured = error_budget(
                loaded.model,
                loaded.x,
                nonideal,
                sweeps=sweeps,
                corners=corners,
                **_short_run(loaded, t_stop),
                timeout=loaded.timeout,
                note=_note,
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
) -> None:
    """Run many chips of one design on the same noise, and say how many stay within a tolerance of the ideal circuit."""
    from circuitlsc import chips as lot
    from circuitlsc import output as out
    from circuitlsc.budget_plot import chips_figure
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.plotting import save_figure
    from circuitlsc.report import chips_report
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        loaded = load_config(config)
        find_library()
        sampler, nonideal, circuit = _device(loaded)
        _print_rules(sampler)
        with out.new_folder(output) as folder:
            out.write_text(folder / out.CONFIG, resolved_toml(loaded, sampler))
            measured = lot.chip_yield(
                loaded.model,
                loaded.x,
                nonideal,
                chips=chips,
                tolerance=tolerance,
                **_short_run(loaded, t_stop),
                timeout=loaded.timeout,
                note=_note,
                **circuit,
            )
            out.write_json(folder / out.CHIPS, measured.to_dict())
            save_figure(chips_figure(measured), folder / out.CHIPS_FIGURE)
        print(chips_report(measured))


@app.command()
def calibrate(
    config: ConfigArgument,
    output: OutputFolder,
    inputs: Annotated[int, typer.Option("--inputs", help="How many inputs are drawn from the model.")] = 300,
    draws: Annotated[int, typer.Option("--draws", help="Samples kept of each input.")] = 19,
    spacing: Annotated[float, typer.Option("--spacing", help="Time between kept samples, tau.")] = 5.0,
    warmup: Annotated[float, typer.Option("--warmup", help="Time before the first one, tau.")] = 10.0,
) -> None:
    """Draw codes and inputs from the model, run the circuit on them, and test whether the true codes' ranks are uniform."""
    from dataclasses import replace

    import numpy as np

    from circuitlsc import output as out
    from circuitlsc.calibration import calibration_report
    from circuitlsc.calibration_plot import calibration_figure
    from circuitlsc.circuit_calibration import plan_calibration
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.plotting import save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        loaded = load_config(config)
        find_library()
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
        with out.new_folder(output) as folder:
            with _progress(plan.sampler.tasks(plan.run)[0].n_steps) as advance:
                measured = plan.measure(timeout=loaded.timeout, progress=advance, keep=keep)
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
) -> None:
    """Count effective samples per tau over friction, with momentum and without (a circuit of the same bandwidth)."""
    from circuitlsc import output as out
    from circuitlsc.budget import check_samples_one
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.friction import friction_figure, friction_report, friction_sweep
    from circuitlsc.plotting import save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        loaded = load_config(config)
        find_library()
        check_samples_one("friction", loaded.circuit())
        circuit = {k: v for k, v in loaded.circuit().items() if k not in ("hold", "interpolate", "step")}
        run = _short_run(loaded, t_stop)
        resolved = resolved_toml(loaded, loaded.sampler())
        with out.new_folder(output) as folder:
            measured = friction_sweep(
                loaded.model,
                loaded.x,
                frictions=frictions or None,
                t_stop=run["t_stop"],
                warmup=run["warmup"],
                chains=run["chains"],
                seed=run["seed"],
                timeout=loaded.timeout,
                note=_note,
                **circuit,
            )
            out.write_text(folder / out.CONFIG, resolved)
            out.write_json(folder / out.FRICTION, measured.to_dict())
            save_figure(friction_figure(measured), folder / out.FRICTION_FIGURE)
        print(friction_report(measured))


@app.command()
def learn(
    config: ConfigArgument,
    output: OutputFolder,
    where: Annotated[str, typer.Option("--in", metavar="software|circuit", help="What learns.")] = "software",
) -> None:
    """Learn a dictionary, its sparsity and noise level; an interrupted run goes on when the command is given again."""
    from circuitlsc import output as out
    from circuitlsc.learning.command import learn as run_learner
    from circuitlsc.learning.command import learn_report
    from circuitlsc.learning.config import WHERE, load_learn_config
    from circuitlsc.learning.history import save_history
    from circuitlsc.learning.plot import learning_figure
    from circuitlsc.plotting import save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors(interrupted="interrupted; give the same command again to go on"):
        out.check_free(output)
        if where not in WHERE:
            raise InputError(f"--in {where!r} is not one of {', '.join(WHERE)}.")
        loaded = load_learn_config(config, where)
        if where == "circuit":
            find_library()
        checkpoint = output.absolute().with_name(f"{output.name}.checkpoint.npz")
        keep = output.with_name(output.name + ".failed")
        total = sum(stage.duration for stage in loaded.stages)
        with _progress(round(total), where, "tau") as advance:
            made = run_learner(
                loaded, where, checkpoint=checkpoint, progress=lambda done, _: advance(0, round(done)), keep=keep
            )
        truth = loaded.truth
        numbers = None if truth is None else {**truth.prior.numbers(), "sigma": truth.sigma}
        with out.new_folder(output) as folder:
            made.learned.save(folder / out.LEARNED)
            save_history(made.history, folder / out.HISTORY)
            A = None if truth is None else truth.A
            save_figure(
                learning_figure(made.history, made.learned, loaded.learn, truth=A, numbers=numbers),
                folder / out.FIGURE,
            )
        checkpoint.unlink(missing_ok=True)
        print(learn_report(loaded, made.learned, where))


@app.command()
def paper(
    name: Annotated[str, typer.Argument(metavar="FIGURE", help="fig3, fig4a or fig5 of Fang et al. (2022).")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder; default: paper-FIGURE.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of data and noise.")] = 0,
    software: Annotated[bool, typer.Option("--software", help="Leave the circuits out: seconds, not minutes.")] = False,
) -> None:
    """Make a figure of the paper on the Bars data, in software and as circuits, with the numbers behind it."""
    from circuitlsc import output as out
    from circuitlsc.paper_run import FIGURES, reproduce
    from circuitlsc.plotting import save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        if name not in FIGURES:
            raise InputError(f"paper: {name!r} is not a figure that can be made. Give one of {', '.join(FIGURES)}.")
        if seed < 0:
            raise InputError(f"paper: --seed {seed} is not a whole number >= 0.")
        target = output or Path(f"paper-{name}")
        out.check_free(target)
        if not software:
            find_library()
        with out.new_folder(target) as folder:
            made = reproduce(name, seed=seed, circuits=not software, note=_note)
            out.write_json(folder / f"{name}.json", made.numbers)
            save_figure(made.figure, folder / f"{name}.png")
        print(made.text)


@app.command()
def draw(config: ConfigArgument, output: OutputFolder) -> None:
    """Draw one neuron, the whole signal path and, at device level, the crossbars of a config's circuit."""
    from circuitlsc import output as out
    from circuitlsc.config import load_config
    from circuitlsc.crossbar_plot import crossbar_figure
    from circuitlsc.plotting import save_figure
    from circuitlsc.schematic import neuron_schematic, signal_path_schematic

    with _one_line_errors():
        out.check_free(output)
        sampler = load_config(config).sampler()
        with out.new_folder(output) as folder:
            neuron_schematic(sampler, folder / "neuron.svg")
            signal_path_schematic(sampler, folder / "signal_path.svg")
            if sampler.level == "device":
                save_figure(crossbar_figure(sampler), folder / "crossbars.png")


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what to do about it."""
    from circuitlsc.doctor import examine

    with _one_line_errors():
        findings = examine()
        for finding in findings:
            print(finding)
        if any(finding.wrong for finding in findings):
            raise typer.Exit(FAILED)


def _device(config: Config) -> tuple[Sampler, Nonidealities, dict[str, Any]]:
    """Return a config's device-level sampler, its imperfections, and the other arguments of its circuit."""
    from circuitlsc.nonideal import IDEAL

    if config.level != "device":
        raise InputError(
            f'circuit.level = "{config.level}" has no parts that could be imperfect. '
            'Set level = "device" in [circuit], and give the imperfections in [nonideal].'
        )
    circuit = config.circuit()
    return config.sampler(), circuit.pop("nonideal") or IDEAL, circuit


def _short_run(config: Config, t_stop: float | None) -> dict[str, Any]:
    """Return the run of a budget: the config's, but no longer than paired differences need."""
    from circuitlsc.budget import T_STOP

    run = config.run
    length = t_stop if t_stop is not None else min(run.t_stop, max(T_STOP, 2 * run.warmup))
    return {"t_stop": length, "warmup": run.warmup, "chains": run.chains, "seed": run.seed, "thin": run.thin}


def _print_rules(sampler: Sampler) -> None:
    """Check the design rules; those that are broken go to stderr as warnings."""
    from circuitlsc.rules import check_rules

    for rule in check_rules(sampler):
        print(f"{'rule' if rule.ok else 'WARNING':<14} {rule}", file=sys.stderr)


def _energy(sampler: Sampler, samples: Samples) -> EnergyReport | None:
    """Return the power and speed of a device-level sampler (its rows know of no momentum, and of no settling)."""
    from circuitlsc.energy import energy_report

    fits = sampler.level == "device" and sampler.dynamics.kind == "langevin" and sampler.stream is None
    return energy_report(sampler, samples, note=_note) if fits else None


def _note(text: str) -> None:
    print(f"  {text} ...", file=sys.stderr)


@contextmanager
def _progress(total: int, name: str = "ngspice", unit: str = "steps") -> Iterator[Callable[[int, int], None]]:
    """Show steps done and time left on stderr (only the end of it if stderr is no terminal)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    done: dict[int, int] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total)

        def advance(chain: int, steps: int) -> None:
            done[chain] = steps
            bar.update(task, completed=sum(done.values()))

        yield advance


def main() -> None:
    """Entry point of the ``circuitlsc`` command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    app(prog_name="circuitlsc")


if __name__ == "__main__":
    main()
