"""learn: a dictionary, a prior and a noise level from data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from circuitlsc.cli.shared import Anywhere, ConfigArgument, OutputFolder, app, one_line_errors, progress_bar
from circuitlsc.errors import InputError


@app.command()
def learn(
    config: ConfigArgument,
    output: OutputFolder,
    where: Annotated[str, typer.Option("--in", metavar="software|circuit", help="What learns.")] = "software",
    anywhere: Anywhere = False,
) -> None:
    """Learn a dictionary, its sparsity and noise level; an interrupted run goes on when the command is given again."""
    from circuitlsc.cli.learning_run import learn as run_learner
    from circuitlsc.cli.learning_run import learn_report
    from circuitlsc.config.learning import WHERE, load_learn_config
    from circuitlsc.config.table import read_text
    from circuitlsc.io import output as out
    from circuitlsc.learning.history import save_history
    from circuitlsc.reporting.learning_plot import learning_figure
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.simulator.ngspice.library import find_library

    checkpoint = output.absolute().with_name(f"{output.name}.checkpoint.npz")

    def interrupted() -> str:
        again = "give the same command again to go on" if checkpoint.exists() else "nothing was written"
        return f"interrupted; {again}"

    with one_line_errors(interrupted=interrupted):
        out.check_free(output)
        if where not in WHERE:
            raise InputError(f"--in {where!r} is not one of {', '.join(WHERE)}.")
        loaded = load_learn_config(config, where, anywhere=anywhere)
        given = read_text(config)
        deck = None
        if where == "circuit":
            find_library()
            learner = loaded.in_circuit()
            deck = learner.deck()
            print(learner.report(), file=sys.stderr)
        keep = output.with_name(output.name + ".failed")
        total = sum(stage.duration for stage in loaded.stages)
        truth = loaded.truth
        numbers = None if truth is None else {**truth.prior.numbers(), "sigma": truth.sigma}
        with out.new_folder(output) as folder:  # first, so that a second run into it is refused at once
            with progress_bar(round(total), where, "tau") as advance:
                made = run_learner(
                    loaded, where, checkpoint=checkpoint, progress=lambda done, _: advance(0, round(done)), keep=keep
                )
            out.write_text(folder / out.GIVEN, given)
            if deck is not None:
                out.write_text(folder / out.DECK, deck)
            made.learned.save(folder / out.LEARNED)
            save_history(made.history, folder / out.HISTORY)
            A = None if truth is None else truth.A
            save_figure(
                learning_figure(made.history, made.learned, loaded.learn, truth=A, numbers=numbers),
                folder / out.FIGURE,
            )
        checkpoint.unlink(missing_ok=True)
        print(learn_report(loaded, made.learned, where))
