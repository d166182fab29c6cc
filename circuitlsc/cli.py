"""The command line: build, run, compare, doctor.

Results go to stdout, progress and notes to stderr. Exit codes: 0 agrees (or done), 1 failed, 2 usage, 3 disagrees,
4 inconclusive.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from circuitlsc.errors import CircuitLSCError, InputError, MissingSimulatorError

if TYPE_CHECKING:
    from circuitlsc.experiment import Judgement
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
def _one_line_errors() -> Iterator[None]:
    """Turn every error that has a message for the user into one line and an exit code."""
    try:
        yield
    except (InputError, MissingSimulatorError) as error:
        _fail(error, USAGE)
    except CircuitLSCError as error:
        _fail(error, FAILED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", INTERRUPTED)
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
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder for the results.")],
) -> None:
    """Run the circuit in ngspice and compare its samples with the software SDE and the exact posterior."""
    from circuitlsc import output as out
    from circuitlsc.config import load_config, resolved_toml
    from circuitlsc.experiment import judge
    from circuitlsc.plotting import figure, save_figure
    from circuitlsc.spice.library import find_library

    with _one_line_errors():
        out.check_free(output)
        loaded = load_config(config)
        find_library()
        sampler = loaded.sampler()
        sampler.tasks(loaded.run)  # refuses a run that is too short before anything is written
        print(sampler.report(), file=sys.stderr)
        keep = output.with_name(output.name + ".failed")
        with out.new_folder(output) as folder:
            deck = sampler.deck(t_stop=loaded.run.t_stop, warmup=loaded.run.warmup, seed=loaded.run.seed)
            out.write_text(folder / out.DECK, deck)
            out.write_text(folder / out.CONFIG, resolved_toml(loaded, sampler))
            with _progress(sampler.tasks(loaded.run)[0].n_steps * loaded.run.chains) as advance:
                samples = sampler.run(loaded.run, timeout=loaded.timeout, progress=advance, keep=keep)
            samples.save(folder / out.SAMPLES)
            judgement = judge(sampler, samples, note=_note)
            out.write_json(folder / out.COMPARISON, judgement.comparison.to_dict())
            save_figure(figure(sampler, samples, judgement), folder / out.FIGURE)
        _print_result(sampler, samples, judgement)
        raise typer.Exit(EXIT_CODES[judgement.comparison.verdict])


@app.command()
def compare(
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder that `run` made.")],
    json: Annotated[bool, typer.Option("--json", help="Print comparison.json instead of a table.")] = False,
) -> None:
    """Compare the samples in a folder again, from samples.nc and config.resolved.toml, and print the result."""
    import json as text

    from circuitlsc import output as out
    from circuitlsc.config import load_config
    from circuitlsc.experiment import judge
    from circuitlsc.samples import Samples

    with _one_line_errors():
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder. Give one that `circuitlsc run` made.")
        samples = Samples.load(folder / out.SAMPLES)
        sampler = load_config(folder / out.CONFIG).sampler()
        samples.check_made_by(sampler)
        judgement = judge(sampler, samples, note=_note)
        if json:
            print(text.dumps(judgement.comparison.to_dict(), indent=2, allow_nan=False))
        else:
            _print_result(sampler, samples, judgement)
        raise typer.Exit(EXIT_CODES[judgement.comparison.verdict])


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


def _note(text: str) -> None:
    print(f"  {text} ...", file=sys.stderr)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], None]]:
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
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("ngspice", total=total)

        def advance(chain: int, steps: int) -> None:
            done[chain] = steps
            bar.update(task, completed=sum(done.values()))

        yield advance


def _print_result(sampler: Sampler, samples: Samples, judgement: Judgement) -> None:
    from circuitlsc.report import comparison_report

    print(comparison_report(sampler, samples, judgement))


def main() -> None:
    """Entry point of the ``circuitlsc`` command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill cleans up like Ctrl-C
    app(prog_name="circuitlsc")


if __name__ == "__main__":
    main()
