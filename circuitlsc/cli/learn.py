"""learn: a dictionary, a prior and a noise level from data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from circuitlsc.cli.runner import Ended, Job, Resume, command
from circuitlsc.cli.shared import progress_bar, say
from circuitlsc.errors import InputError

if TYPE_CHECKING:
    from circuitlsc.learning.learner import Learner, LearningRun


@command("learn", chains=False)
def learn(
    job: Job,
    where: Annotated[str, typer.Option("--in", metavar="software|circuit", help="What learns.")] = "software",
    resume: Resume = False,
) -> Ended:
    """Learn a dictionary, its sparsity and noise level; an interrupted run goes on with --resume."""
    import warnings

    from circuitlsc.cli.learning_run import learn_report
    from circuitlsc.config.learning import WHERE, load_learn_config
    from circuitlsc.config.table import read_text
    from circuitlsc.io import output as out
    from circuitlsc.learning.circuit import CircuitLearner
    from circuitlsc.learning.history import save_history
    from circuitlsc.learning.large_inputs import LargeInputsWarning
    from circuitlsc.reporting.learning_plot import learning_figure
    from circuitlsc.reporting.plotting import save_figure
    from circuitlsc.simulator.ngspice.library import find_library

    warnings.simplefilter("ignore", LargeInputsWarning)  # a line of the report
    if where not in WHERE:
        raise InputError(f"--in {where!r} is not one of {', '.join(WHERE)}.")
    config = load_learn_config(job.config, where, anywhere=job.anywhere)
    given = read_text(job.config)
    learner: Learner | CircuitLearner
    run: Callable[..., LearningRun]
    if where == "circuit":
        find_library()
        learner = config.in_circuit()
        run = partial(learner.run, timeout=config.timeout, keep=job.failed)
        print(learner.report(), file=sys.stderr)
    else:
        learner = config.software()
        run = learner.run
    total = sum(stage.duration for stage in config.stages)
    # first, so that a second run into it is refused at once
    with out.new_folder(job.output, settings={"command": "learn", **learner.settings()}, resume=True) as folder:
        checkpoint = folder / out.CHECKPOINT
        if checkpoint.exists() and not resume:
            say(f"goes on from the checkpoint that an interrupted run left in {folder.name}; --resume is to say so")
        with progress_bar(round(total), where, "tau") as advance:
            made = run(checkpoint=checkpoint, progress=lambda done, _: advance(0, round(done)))
        out.write_text(folder / out.GIVEN, given)
        if isinstance(learner, CircuitLearner):
            out.write_text(folder / out.DECK, learner.deck())
        made.learned.save(folder / out.LEARNED)
        save_history(made.history, folder / out.HISTORY)
        A = None if config.truth is None else config.truth.A
        figure = learning_figure(made.history, made.learned, config.learn, truth=A, numbers=config.true_numbers())
        save_figure(figure, folder / out.FIGURE)
    return Ended(learn_report(config, made.learned, where))
