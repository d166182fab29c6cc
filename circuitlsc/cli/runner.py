"""The frame of every command that writes a folder: what is checked before, where chains run and are kept, how it ends."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from circuitlsc.cli.shared import Anywhere, ConfigArgument, OutputFolder, app, one_line_errors, say
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from circuitlsc.config.read import Config
    from circuitlsc.sampling.sampler import Sampler

_LIMITS = re.compile(r"^(timeout|tolerance|reference_time) = .*\n?", re.MULTILINE)  # samples do not depend on them
CACHE = ".circuitlsc-cache"  # beside the results
CACHE_VARIABLE = "CIRCUITLSC_CACHE"

Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Worker processes at a time; default: one per processor."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, as tcp://host:8786."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run into OUTDIR stopped.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help=f"Where chains are kept and found again; default: ${CACHE_VARIABLE}, or {CACHE} beside OUTDIR.",
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Simulate everything anew; chains are kept until the run has ended.")
]
#: arguments of commands that run chains
CHAINS = ("workers", "scheduler", "resume", "cache", "no_cache")


class Ended(NamedTuple):
    """What a command says when its folder is there, and its exit code."""

    text: str
    code: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of a command: its name, and the arguments that commands share, as they were given."""

    command: str
    config: ConfigArgument
    output: OutputFolder
    workers: Workers = None
    scheduler: Scheduler = None
    resume: Resume = False
    cache: Cache = None
    no_cache: NoCache = False
    anywhere: Anywhere = False

    def check(self) -> None:
        """Raise InputError if the output folder is there, or options contradict each other."""
        from circuitlsc.io.output import check_free

        check_free(self.output)
        if self.workers is not None and self.scheduler is not None:
            raise InputError("--workers counts processes here, and --scheduler runs elsewhere. Give one of them.")
        if self.cache is not None and self.no_cache:
            raise InputError("--cache and --no-cache exclude each other. Give one of them.")

    def load(self) -> Config:
        """Read the config of a sampler."""
        from circuitlsc.config.read import load_config

        return load_config(self.config, anywhere=self.anywhere)

    @property
    def failed(self) -> Path:
        """Where the decks of chains that failed are kept."""
        return self.output.with_name(self.output.name + ".failed")

    def interrupted(self) -> str:
        """Say what an interrupted command leaves."""
        from circuitlsc.io.output import partial_folder

        if not partial_folder(self.output).exists():
            return "interrupted; nothing was written"
        return f"interrupted; what was done is kept beside {self.output}: give the same command with --resume to go on"

    def _store(self) -> str:
        """Return the folder where chains are kept; empty for one that ends with the run."""
        if self.no_cache:
            return ""
        given = self.cache or os.environ.get(CACHE_VARIABLE)
        # a link that the user names is meant; one that lies beside the results may be a stranger's
        return str(Path(given).resolve() if given else self.output.absolute().parent / CACHE)

    @contextmanager
    def folder(self, config: Config, sampler: Sampler, **settings: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the folder in which results come into being, with its config, and the arguments of what runs chains.

        Parameters
        ----------
        config : Config
        sampler : Sampler
            What it describes.
        settings
            All else that the results depend on, JSON-ready: a resumed run has the same.
        """
        from circuitlsc.config.read import resolved_toml
        from circuitlsc.io import output as out
        from circuitlsc.simulator.executors import connect
        from circuitlsc.simulator.ngspice.deck import fingerprint
        from circuitlsc.simulator.store import Store, identity
        from circuitlsc.simulator.workers import get_ready

        resolved, kept = resolved_toml(config, sampler), self._store()
        arrays = {"dictionary": config.model.A, "x": config.x}
        begun = {
            "command": self.command,
            "config": _LIMITS.sub("", resolved),
            **settings,
            **{name: fingerprint(repr(value.tolist())) for name, value in arrays.items()},
            "simulator": identity(),
            "cache": f"--cache {kept}" if kept else "--no-cache",
        }
        with ExitStack() as stack:
            executor = stack.enter_context(connect(self.scheduler)) if self.scheduler else None
            if executor is None:
                get_ready()  # what chains' processes need is loaded while the rest is prepared
            elif not executor.nthreads():
                say(f"{self.scheduler} has no workers yet: waiting for the first")
            part = stack.enter_context(out.new_folder(self.output, settings=begun, resume=self.resume))
            store = Store(Path(kept) if kept else part / out.CHAINS)
            out.write_text(part / out.CONFIG, resolved)
            timeout = config.timing.timeout
            yield part, {"workers": self.workers, "executor": executor, "timeout": timeout, "store": store}
            store.prune()


def write_result(folder: Path, name: str, numbers: Any, figure: Figure) -> None:
    """Write what a study found: its numbers as name.json, its figure as name.png."""
    from circuitlsc.io.output import write_json
    from circuitlsc.reporting.plotting import save_figure

    write_json(folder / f"{name}.json", numbers)
    save_figure(figure, folder / f"{name}.png")


def _check_numbers(options: list[inspect.Parameter], given: dict[str, Any]) -> None:
    """Raise InputError if an option's number is not finite, or has no room for its square."""
    from circuitlsc.io.arrays import is_finite

    for option in options:
        value = given[option.name]
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not is_finite(number):
                name = option.annotation.__metadata__[0].default  # to typer, the first name
                raise InputError(f"{name} {number:g} is no finite number within 1e-100 .. 1e100. Give one.")


Body = Callable[..., Ended | None]


def command(name: str, *, chains: bool = True) -> Callable[[Body], Body]:
    """Register a command that writes a folder: a function of a job, and of the options that it alone has.

    The command has the shared arguments, too; those of what runs chains if it does. Its text is printed when the folder is
    there in full; every error with a message is one line and an exit code.
    """
    _, config, output, *options = inspect.signature(Job, eval_str=True).parameters.values()
    options = [option for option in options if chains or option.name not in CHAINS]

    def register(body: Body) -> Body:
        def call(**given: Any) -> None:
            job = Job(command=name, **{option.name: given.pop(option.name) for option in (config, output, *options)})
            with one_line_errors(job.interrupted):
                job.check()
                _check_numbers(own, given)
                if (ended := body(job, **given)) is not None:
                    print(ended.text)
                    raise typer.Exit(ended.code)

        _, *own = inspect.signature(body, eval_str=True).parameters.values()
        own = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in own]
        call.__signature__ = inspect.Signature([config, output, *own, *options])  # type: ignore[attr-defined]
        call.__doc__ = body.__doc__
        app.command(name)(call)
        return body

    return register
