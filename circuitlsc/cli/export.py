"""export, cross-check: the circuit for other simulators, and what a second one makes of it."""

from __future__ import annotations

from typing import Annotated

import typer

from circuitlsc.cli.runner import Job, command
from circuitlsc.io import output as out

Dialect = Annotated[str, typer.Option("--dialect", metavar="NAME", help="vacask, spectre or verilog-a.")]
Length = Annotated[
    float, typer.Option("--length", metavar="TAU", help="Of the noise that is written, and of the transient, in tau.")
]


@command("export", chains=False)
def export(job: Job, dialect: Dialect = "vacask", length: Length = 100.0) -> None:
    """Write the circuit for another simulator: a netlist, the Verilog-A modules of its cells, and a piece of its noise."""
    from circuitlsc.sampling.export import exported

    config = job.load()
    files = exported(config.sampler(), config.run, dialect, length)
    with out.new_folder(job.output) as folder:
        for name, text in files.items():
            out.write_text(folder / name, text)
