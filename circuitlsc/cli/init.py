"""init: a config of one's own, with every key there is, and a small dictionary or what yours means."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from circuitlsc.cli.shared import completed, plain, say
from circuitlsc.errors import InputError, MissingSimulatorError, SimulationError, printable
from circuitlsc.io import output as out
from circuitlsc.io.nearest import nearest

if TYPE_CHECKING:
    from circuitlsc.config.read import Config
    from circuitlsc.io.report import Report
    from circuitlsc.model.survey import Survey
    from circuitlsc.sampling.sampler import Sampler

EXAMPLES = "examples"  # of the package
#: what options know, for a shell's completion, which is to be quick; the config layer says what they are
SYSTEMS = "langevin underdamped gradient lca variational amortised LSC L0-LSC DSC LCA"
LEVELS = "ideal device transistor"
PRIORS = "spike-slab laplace gaussian cauchy square-root table"
PILOT = 2000  # steps that are timed, at most
FEWEST, WORK = 50, 2e6  # of a large circuit: as many as that many entries of two crossbars are, and no fewer
PATIENCE = 20.0  # s that they may take


def examples() -> dict[str, str]:
    """Return the texts of the examples by their names."""
    from importlib.resources import files  # not for a command line that says its help

    there = files("circuitlsc").joinpath(EXAMPLES).iterdir()
    return {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in sorted(there, key=lambda f: f.name)}


@plain("init")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the files; made if it is missing.", show_default=False)
    ] = Path(),
    system: Annotated[
        str | None,
        typer.Option(
            "--system",
            metavar="KIND",
            help="langevin (default), underdamped, gradient, lca, variational or amortised; or LSC, L0-LSC, DSC, LCA.",
            autocompletion=completed(SYSTEMS.split),
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="ideal|device|transistor",
            help="Ideal elements, parts, or transistors.",
            autocompletion=completed(LEVELS.split),
        ),
    ] = "ideal",
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            metavar="KIND",
            help="spike-slab (default), laplace, gaussian, cauchy, square-root or table.",
            autocompletion=completed(PRIORS.split),
        ),
    ] = None,
    dictionary: Annotated[
        str | None,
        typer.Option(
            "--dictionary", metavar="FILE", help='Yours, (n_features, n_latents), or "bars:4"; it says what it means.'
        ),
    ] = None,
    learn: Annotated[bool, typer.Option("--learn", help="A config of `circuitlsc learn`.")] = False,
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            metavar="NAME",
            help="Copy one that comes along.",
            autocompletion=completed(lambda: [*examples()]),
        ),
    ] = None,
) -> None:
    """Write a config with every key, each explained, and a small dictionary: what `circuitlsc run` runs at once."""
    if example is not None:
        if any((system, prior, dictionary, learn, level != "ideal")):
            raise InputError("--example copies a config as it is. Leave the other options out.")
        _copy_example(folder, example)
        return
    from circuitlsc.config.start import Start
    from circuitlsc.io.atomic import new_files

    start = Start.asked(system, level, prior, dictionary, learn=learn)
    with new_files(folder) as part:
        try:
            found, config = start.write(part, folder)
            if dictionary is not None:
                print(_meaning(found, config).text(shutil.get_terminal_size().columns))
        except InputError as error:  # it names files that are gone in a moment
            raise InputError(str(error).replace(f"{part}/", "")) from None
        names = sorted(
            printable(path.name, None) for path in part.iterdir() if path.is_file() and not path.is_symlink()
        )
    _next(folder, names, start.commands)


def _next(folder: Path, names: list[str], commands: list[tuple[str, str, str]]) -> None:
    """Say what was written, and what to type next."""
    where = printable(str(folder), None)
    print(
        f"{', '.join(names[:-1]) + ' and ' if names[1:] else ''}{names[-1]} {'are' if names[1:] else 'is'} in {where}"
    )
    if not commands:
        return
    print("next:")
    lines = [[command, folder / config, "-o", folder / made] for command, config, made in commands]
    for words in (*lines, ["report", folder / commands[-1][2], "--open"]):
        print("    " + printable(shlex.join(["circuitlsc", *map(str, words)]), None))
    print(f"(the last one opens {out.PAGE} in a browser)")


def _copy_example(folder: Path, name: str) -> None:
    import tomllib
    from itertools import takewhile

    from circuitlsc.io.atomic import new_files

    there = examples()
    if name not in there:
        raise InputError(f"--example {name} is not known.{nearest(name, there)} Give one of {', '.join(there)}.")
    file, text = f"{name}.toml", there[name]
    with new_files(folder) as part:
        (part / file).write_text(text, "utf-8")
    print("\n".join(takewhile(lambda line: line.startswith("#"), text.splitlines())))
    tables = tomllib.loads(text)
    made = any(str(value).endswith(".npy") for value in tables["model"].values())  # by what its first lines say
    _next(folder, [file], [] if made else [("learn" if "learning" in tables else "run", file, name)])


def _meaning(found: Survey, config: Config | None) -> Report:
    """Return what a dictionary of the user's is and, of a config of a sampler, what follows for its circuit and its time."""
    from circuitlsc.io.report import Facts, Report

    rows = [
        *found.facts().rows,
        ("sigma", f"{found.sigma:g}, half of the median norm; set it to the noise level of your x"),
    ]
    if config is not None:
        sampler = config.sampler()
        rows += [("plan" if not n else "", line) for n, line in enumerate(sampler.plan.explanation)]
        rows += [("WARNING", said) for said in sampler.plan.warnings]
        rows.append(("time", _time(config, sampler)))
    return Report((Facts(tuple(rows)),))


def _time(config: Config, sampler: Sampler) -> str:
    """Return how long the run of a config takes here: measured on a few steps of it."""
    from circuitlsc.simulator.executors import processors

    run, step = config.run, sampler.plan.step
    if sampler.dynamics.settles:
        return f"step {step:.3g} tau; a run ends when the state rests, at {run.t_stop:g} tau at the latest"
    steps = round(run.t_stop / step)
    length = f"{run.chains} chains of {run.t_stop:g} tau are {run.chains} x {steps:,} steps"
    D, K = config.model.A.shape
    timed = max(FEWEST, min(PILOT, round(WORK / (K * (D + K)))))
    say(f"{timed} steps, to see how long they take")
    pilot = replace(run, t_stop=min(run.t_stop, timed * step), warmup=0.0, thin=None)
    try:
        stats = sampler.run(pilot, timeout=PATIENCE).stats
    except MissingSimulatorError:
        return f"{length}; how long they take was not measured, as libngspice is missing: circuitlsc doctor"
    except SimulationError:
        least = _duration(steps / timed * PATIENCE)
        return f"{length}: longer than {least} ({timed} had not ended after {PATIENCE:g} s)"
    each = float((stats["wall"] / stats["steps"]).mean())
    rounds = -(-run.chains // min(run.chains, processors()))
    return f"{length}, {1e6 * each:.3g} us each (measured on {timed}): {_duration(steps * each * rounds)} in ngspice"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds > 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.2g} s"
