"""learn: a dictionary, a prior and a noise level from data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuitlsc.cli.runner import Job, Resume, command, simulator
from circuitlsc.cli.shared import Ended, completed, say
from circuitlsc.errors import InputError
from circuitlsc.io import output as out

if TYPE_CHECKING:
    import xarray as xr

    from circuitlsc.config.learning import LearnConfig
    from circuitlsc.io.report import Report, Value
    from circuitlsc.learning.circuit import CircuitLearner
    from circuitlsc.learning.learned import Learned
    from circuitlsc.learning.learner import Learner
    from circuitlsc.learning.variational import VariationalLearner, VariationalRun

WHERE = "software circuit"
DEAD = 0.1  # of the longest atom's norm


@command("learn", chains=False, kept=out.GIVEN)
def learn(
    job: Job,
    where: Annotated[
        str,
        typer.Option("--in", metavar="software|circuit", help="What learns.", autocompletion=completed(WHERE.split)),
    ] = "software",
    resume: Resume = False,
) -> Ended:
    """Learn a dictionary, its sparsity and noise level, or an encoder; an interrupted run goes on with --resume."""
    import warnings

    from circuitlsc.config import learning, table
    from circuitlsc.learning import circuit, held_out, history, large_inputs, memory, variational
    from circuitlsc.reporting import learning_plot
    from circuitlsc.simulator.ngspice.library import find_library

    warnings.simplefilter("ignore", large_inputs.LargeInputsWarning)  # a line of the report
    warnings.simplefilter("ignore", memory.FewVisitsWarning)  # so is this
    if where not in learning.WHERE:
        raise InputError(f"--in {where!r} is not one of {', '.join(learning.WHERE)}.")
    config = learning.load_learn_config(job.config, where, anywhere=job.anywhere)
    given = table.read_text(job.config)
    if where == "circuit":
        find_library()
    learner: CircuitLearner | Learner | VariationalLearner
    if config.training is not None:
        learner = config.variational()
    else:
        learner = config.in_circuit() if where == "circuit" else config.software()
    how: dict[str, Any] = {}
    if isinstance(learner, circuit.CircuitLearner):
        how = {"timeout": config.timeout, "keep": job.failed}
        print(learner.report(), file=sys.stderr)
    # first, so that a second run into it is refused at once
    with job.results({"command": "learn", **learner.settings()}, resume=True) as results:
        folder = results.folder
        checkpoint = folder / out.CHECKPOINT
        if checkpoint.exists() and not resume:
            say(f"goes on from the checkpoint that an interrupted run left in {folder.name}; --resume is to say so")
        made = learner.run(checkpoint=checkpoint, progress=True, **how)
        course, evidence = made.history, None
        if isinstance(learner, variational.VariationalLearner):
            assert isinstance(made, variational.VariationalRun)
            say("log p(x) of held-out inputs")
            if (evidence := held_out.held_out_evidence(learner, made)) is not None:
                course = course.assign(evidence.data_vars)
        out.write_text(folder / out.GIVEN, given)
        if table.names_files(job.config):
            results.again = ""  # the config in the folder is as it was given, and names none of another folder
        if isinstance(learner, circuit.CircuitLearner):
            results.simulator = simulator()
            out.write_text(folder / out.DECK, learner.deck())
        if isinstance(made, variational.VariationalRun):
            made.encoder.save(folder / out.ENCODER)
        if made.learned is not None:
            made.learned.save(folder / out.LEARNED)
        history.save_history(course, folder / out.HISTORY)
        truth, numbers = None if config.truth is None else config.truth.A, config.true_numbers()
        figure = learning_plot.learning_figure(made.history, made.learned, config.learn, truth=truth, numbers=numbers)
        results.draw(out.FIGURE, figure, learning_plot.CAPTION)
        results.report = (
            encoder_report(config, made, evidence)
            if isinstance(made, variational.VariationalRun)
            else learn_report(config, made.learned, where)
        )
    return job.ended(results.report)


def encoder_report(config: LearnConfig, made: VariationalRun, evidence: xr.Dataset | None) -> Report:
    """Return how an encoder was trained, and how good it is."""
    from circuitlsc.io.report import Facts, Report
    from circuitlsc.learning.held_out import evidence_report

    encoder, history = made.encoder, made.history
    sizes = [encoder.n_features, *encoder.hidden, len(encoder.biases[-1])]
    steps = int(history["time"].values[-1])
    last = history.isel(time=slice(-max(1, history.sizes["time"] // 10), None))
    bound, activity = float(last["elbo"].mean()), float(last["activity"].mean())
    facts = [
        ("encoder", f"{'-'.join(map(str, sizes))}, {steps} steps of {config.batch} inputs"),
        ("ELBO", f"{bound:.3f} nats per input (last tenth of the records)"),
        ("P(active)", f"{activity:.4f}, mean over latents and inputs"),
    ]
    if "held_out" in history:
        facts.append(("held out", f"{float(history['held_out'].values[-1]):.3f} nats per input"))
    if "A" in config.learn:
        norms = history["norm"].values[-1]
        dead = (norms < DEAD * norms.max()).sum()
        facts.append(("dead atoms", f"{dead} of {len(norms)} (norm below a tenth of the longest)"))
    if evidence is not None:
        facts += evidence_report(evidence).rows
    parameters, summary = _parameters(config, made.learned)
    found = f"ELBO {bound:.3f} nats per input after {steps} steps"
    summary = {"ELBO": bound, "P(active)": activity, **summary}
    return Report((Facts((*facts, *parameters)),), reason=found, summary=summary)


def learn_report(config: LearnConfig, learned: Learned, where: str) -> Report:
    """Return what was learned: against the truth, if the data have one."""
    from circuitlsc.io.report import Facts, Report
    from circuitlsc.learning.source import Rows

    stages = config.stages
    n = sum(stage.n_inputs for stage in stages) * (config.batch if where == "software" else 1)
    shown = f"{n} inputs"
    if (memory := config.memory) is not None:
        shown = f"{memory.size} inputs remembered, each on {n / memory.size:.4g} times"
    facts = [("learned", f"{', '.join(config.learn)} in {where}, {shown}, {len(stages)} stage(s)")]
    parameters, summary = _parameters(config, learned)
    notes: list[str] = []
    if memory is not None and isinstance(config.source, Rows) and (rows := len(config.source.X)) > memory.size:
        notes.append(
            f"the first {memory.size} of {rows} rows are remembered, and no others shown. [learning] set says how many"
        )
    if where == "software":
        learner = config.software()
        notes += [said for said in (learner.concern, learner.few_visits) if said]
    elif said := config.in_circuit().few_visits:
        notes.append(said)
    if where == "circuit" and "sigma" in config.learn and learned.sigma < config.sigma / 2:
        notes.append(
            f"widths and voltages are those of the sigma it started from, {config.sigma:.4g}; start again from "
            f"start = {{ sigma = {learned.sigma:.3g} }}"
        )
    facts += parameters
    found = "; ".join(said for label, said in facts if label in ("learned", "against truth"))
    facts += [("note", said) for said in notes]
    return Report((Facts(tuple(facts)),), reason=f"learned {found}", summary=summary)


def _parameters(config: LearnConfig, learned: Learned | None) -> tuple[list[tuple[str, str]], dict[str, Value]]:
    """Return the parameters that were learned as a few lines, and as numbers: against the truth, if the data have one."""
    import numpy as np

    from circuitlsc.learning.match import match_atoms

    if learned is None:
        return [], {}
    facts, truth = [], config.truth
    summary: dict[str, Value] = {}
    if "A" in config.learn:
        norms, size = np.linalg.norm(learned.A, axis=0), learned.A.shape
        facts.append(("dictionary", f"{size[0]} x {size[1]}, norms {norms.min():.3f} .. {norms.max():.3f}"))
        summary = {"smallest norm": float(norms.min()), "largest norm": float(norms.max())}
        if truth is not None and truth.n_latents <= learned.A.shape[1]:
            match = match_atoms(truth.A, learned.A, signed=learned.signed)
            cosines = f"cosines {match.cosine.min():.4f} .. {match.cosine.max():.4f}"
            ratios = f"norms over the true ones {match.norm_ratio.min():.3f} .. {match.norm_ratio.max():.3f}"
            facts.append(("against truth", f"{cosines}, {ratios}"))
            summary["smallest cosine"] = float(match.cosine.min())
    true = config.true_numbers() or {}
    for name in ("pi", "lam", "sigma"):
        if name in config.learn:
            of = f" (truth {true[name]:.4g})" if name in true else ""
            facts.append((name, f"{getattr(learned, name):.4f}{of}"))
            summary[name] = float(getattr(learned, name))
    return [*facts, ("", "(averages over the last quarter)")], summary
