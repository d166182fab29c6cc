"""The frame of every command that writes a folder: what is checked before, where chains run and are kept, how it ends."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.results import Results
from circuitlsc.cli.shared import (
    INTERRUPTED,
    Anywhere,
    Body,
    ConfigArgument,
    Ended,
    fail,
    options_of,
    plain,
    said_by,
    say,
)
from circuitlsc.errors import InputError
from circuitlsc.io import output as out

if TYPE_CHECKING:
    from circuitlsc.config.read import Config
    from circuitlsc.io.report import Report
    from circuitlsc.sampling.sampler import Sampler

_LIMITS = re.compile(
    r"^(#|(timeout|tolerance|reference_time|weights) = ).*\n?", re.MULTILINE
)  # samples do not depend on them
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}$")
CACHE = ".circuitlsc-cache"  # beside the results
CACHE_VARIABLE = "CIRCUITLSC_CACHE"

Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run into OUTDIR stopped.")]
#: arguments of commands that run chains
CHAINS = ("workers", "scheduler", "resume", "cache", "no_cache")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of a command: its name, and the arguments that commands share, as they were given."""

    command: str
    line: str  # that repeats it
    again: str  # that repeats it in the folder of its results
    config: ConfigArgument
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUTDIR", help="New folder for the results.")]
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Worker processes at a time; default: one per processor."),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, as tcp://host:8786."
        ),
    ] = None
    resume: Resume = False
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help=f"Where chains are kept and found again; default: ${CACHE_VARIABLE}, or {CACHE} beside OUTDIR.",
        ),
    ] = None
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Simulate everything anew; chains are kept until the run has ended.")
    ] = False
    anywhere: Anywhere = False

    def check(self) -> None:
        """Raise InputError if the output folder is there, or options contradict each other."""
        out.check_free(self.output)
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

    def ended(self, report: Report) -> Ended:
        """Return what the command says at its end."""
        return Ended(report, page=self.output / out.PAGE)

    def interrupted(self) -> str:
        """Say what an interrupted command leaves."""
        if not out.partial_folder(self.output).exists():
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
    def folder(
        self, config: Config, sampler: Sampler, *, resolved: str = "", **settings: Any
    ) -> Iterator[tuple[Results, dict[str, Any]]]:
        """Yield the folder in which results come into being, with its config, and the arguments of what runs chains.

        Parameters
        ----------
        config : Config
        sampler : Sampler
            What it describes.
        resolved : str
            What config.resolved.toml holds, if that is not the config of the sampler.
        settings
            All else that the results depend on, JSON-ready: a resumed run has the same.
        """
        from circuitlsc.config.read import resolved_toml
        from circuitlsc.simulator import executors, store, workers
        from circuitlsc.simulator.ngspice.deck import fingerprint
        from circuitlsc.simulator.ngspice.simulator import NGSPICE

        resolved, kept = resolved or resolved_toml(config, sampler), self._store()
        begun = {
            "command": self.command,
            "config": _LIMITS.sub("", resolved),
            **settings,
            "dictionary": fingerprint(repr(config.model.A.tolist())),
            "x": fingerprint(repr(config.x.tolist())),
            **({"encoder": sampler.engine_deck_hash} if config.encoder else {}),
            "simulator": store.identity(),
            "cache": f"--cache {kept}" if kept else "--no-cache",
        }
        with ExitStack() as stack:
            executor = stack.enter_context(executors.connect(self.scheduler)) if self.scheduler else None
            if executor is None:
                NGSPICE.check(NGSPICE.prepare(sampler))
                workers.get_ready()  # what chains' processes need is loaded while the rest is prepared
            elif not executor.nthreads():
                say(f"{self.scheduler} has no workers yet: waiting for the first")
            results = stack.enter_context(self.results(begun, resume=self.resume))
            results.simulator = simulator()
            chains = store.Store(Path(kept) if kept else results.folder / out.CHAINS)
            out.write_text(results.folder / out.CONFIG, resolved)
            machine = {"workers": self.workers, "executor": executor, "store": chains}
            yield results, {**machine, "timeout": config.timing.timeout}
            chains.prune()

    @contextmanager
    def results(self, settings: Mapping[str, Any], *, resume: bool) -> Iterator[Results]:
        """Yield the folder in which results come into being; it is there in full, with its page, or not at all."""
        with out.new_folder(self.output, settings=settings, resume=resume) as part:
            results = Results(part, f"{self.command} {self.config.name}", self.line, self.again)
            yield results
            results.close()


def simulator() -> str:
    """Return what simulates, with the beginning of its library's hash."""
    from circuitlsc.simulator.ngspice.simulator import NGSPICE

    return _HASH.sub(r"(library \1)", NGSPICE.version())


def command(name: str, *, chains: bool = True, kept: str = out.CONFIG) -> Callable[[Body], Body]:
    """Register a command that writes a folder: a function of a job, and of the options that it alone has.

    The command has the shared arguments, too; those of what runs chains if it does. Its text is printed when the folder is
    there in full. ``kept`` is the config in the folder, from which it can be repeated there.
    """
    _, _, _, config, output, *options = options_of(Job)
    options = [option for option in options if chains or option.name not in CHAINS]
    in_folder = {"config": Path(kept), "output": Path("again"), "anywhere": True}

    def register(body: Body) -> Body:
        def call(**given: Any) -> Ended | None:
            said = [config, output, *(o for o in (*own, *options) if o.name not in CHAINS)]
            line, again = (said_by(name, said, given | there) for there in ({}, in_folder))
            shared = {option.name: given.pop(option.name) for option in (config, output, *options)}
            job = Job(command=name, line=line, again=again, **shared)
            job.check()
            try:
                return body(job, **given)
            except KeyboardInterrupt:
                fail(job.interrupted(), INTERRUPTED)

        _, *own = options_of(body)
        call.__doc__ = body.__doc__
        plain(name, [config, output, *own, *options])(call)
        return body

    return register
