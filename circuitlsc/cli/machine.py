"""Where a command's chains run, and where they are kept: the options that all commands with circuits share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.shared import say
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.config.read import Config

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


@dataclass(frozen=True)
class Machine:
    """The options, as they were given."""

    workers: int | None
    scheduler: str | None
    resume: bool
    cache: Path | None
    no_cache: bool

    def check(self) -> None:
        """Raise InputError if the options contradict each other."""
        if self.workers is not None and self.scheduler is not None:
            raise InputError("--workers counts processes here, and --scheduler runs elsewhere. Give one of them.")
        if self.cache is not None and self.no_cache:
            raise InputError("--cache and --no-cache exclude each other. Give one of them.")

    def _store(self, output: Path) -> str:
        """Return the folder where chains are kept; empty for one that ends with the run."""
        if self.no_cache:
            return ""
        given = self.cache or os.environ.get(CACHE_VARIABLE)
        # a link that the user names is meant; one that lies beside the results may be a stranger's
        return str(Path(given).resolve() if given else output.absolute().parent / CACHE)

    @contextmanager
    def folder(
        self, output: Path, config: Config, settings: Mapping[str, Any]
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the folder in which results come into being, and the arguments of what runs chains.

        Parameters
        ----------
        output : pathlib.Path
        config : Config
        settings : mapping
            All that the results depend on beside the arrays of the model, JSON-ready.
        """
        from circuitlsc.io import output as out
        from circuitlsc.simulator.executors import connect
        from circuitlsc.simulator.ngspice.deck import fingerprint
        from circuitlsc.simulator.store import Store, identity
        from circuitlsc.simulator.workers import get_ready

        kept = self._store(output)
        arrays = {"dictionary": config.model.A, "x": config.x}
        begun = {
            **settings,
            "config": _LIMITS.sub("", str(settings["config"])),
            **{name: fingerprint(repr(value.tolist())) for name, value in arrays.items()},
            "simulator": identity(),
            "cache": f"--cache {kept}" if kept else "--no-cache",
        }
        with ExitStack() as stack:
            if self.scheduler is None:
                get_ready()  # what chains' processes need is loaded while the rest is prepared
                executor = None
            else:
                executor = stack.enter_context(connect(self.scheduler))
                if not executor.nthreads():
                    say(f"{self.scheduler} has no workers yet: waiting for the first")
            part = stack.enter_context(out.new_folder(output, settings=begun, resume=self.resume))
            store = Store(Path(kept) if kept else part / out.CHAINS)
            yield part, {"workers": self.workers, "executor": executor, "timeout": config.timeout, "store": store}
            store.prune()
