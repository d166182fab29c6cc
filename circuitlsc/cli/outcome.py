"""What comes of a run, whatever the circuit does: a verdict, numbers for a file, a table, and a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from circuitlsc.io.output import COMPARISON, MAP
from circuitlsc.planning.run_plan import REFERENCE_TIME, TOLERANCE, RunPlan
from circuitlsc.reporting.memory_plot import memory_figure
from circuitlsc.reporting.report import comparison_report, map_report, memory_report, stream_report
from circuitlsc.reporting.run_plot import figure, map_figure, stream_figure
from circuitlsc.validation.judge import Expectation, expect, judge
from circuitlsc.validation.map_result import read_map
from circuitlsc.validation.memory_compare import compare_memory
from circuitlsc.validation.stream_compare import compare_stream

if TYPE_CHECKING:
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.validation.half_step import HalfStep


@dataclass(frozen=True)
class Outcome:
    """A run, judged.

    Attributes
    ----------
    verdict : str
        ``agrees``, ``disagrees`` or ``inconclusive``.
    file : str
        Name of the JSON file that ``numbers`` belong into.
    numbers : dict
    text : str
        For the terminal.
    draw : callable
        Returns the figure.
    """

    verdict: str
    file: str
    numbers: dict[str, Any]
    text: str
    draw: Callable[[], Figure]


def prepare(sampler: Sampler, run: RunPlan, **how: Any) -> Expectation | None:
    """Return what `expect` finds out before a run has been made; None if its circuit settles or follows a stream."""
    return None if sampler.dynamics.settles or sampler.stream is not None else expect(sampler, run, **how)


def outcome(
    sampler: Sampler,
    samples: Samples,
    *,
    expected: Expectation | None = None,
    tolerance: float | None = None,
    reference_time: float = REFERENCE_TIME,
    weights: bool = False,
    half: HalfStep | None = None,
    note: Callable[[str], None] | None = None,
) -> Outcome:
    """Judge a run by what its circuit does: settle, remember a set of inputs, follow a stream of them, or sample one posterior.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
        What its `run` returned.
    expected : Expectation or None
        What `prepare` returned.
    tolerance : float or None
        How close samples must be; None is 0.02.
    reference_time : float
        Seconds for the reference.
    weights : bool
        As for `circuitlsc.validation.judge.judge`.
    half : HalfStep or None
        What half the step changes, of a stream whose op-amps lag.
    note : callable or None
        Called with a few words before each part.
    """
    if sampler.dynamics.settles:
        made = read_map(sampler, samples, note=note)
        text = map_report(sampler, samples, made)
        return Outcome(made.verdict, MAP, made.to_dict(), text, lambda: map_figure(sampler, samples, made))
    close = tolerance or TOLERANCE
    if sampler.dynamics.remembers:
        kept = compare_memory(sampler, samples, tolerance=close, reference_time=reference_time, note=note)
        text = memory_report(sampler, samples, kept)
        return Outcome(kept.verdict, COMPARISON, kept.to_dict(), text, lambda: memory_figure(sampler, samples, kept))
    if sampler.stream is not None:
        found = compare_stream(sampler, samples, tolerance=close, half=half, note=note)
        text = stream_report(sampler, samples, found)
        return Outcome(found.verdict, COMPARISON, found.to_dict(), text, lambda: stream_figure(sampler, samples, found))
    how: dict[str, Any] = {"reference_time": reference_time, "weights": weights, "note": note}
    judgement = judge(sampler, samples, expected=expected, tolerance=close, **how)
    result, text = judgement.comparison, comparison_report(sampler, samples, judgement)
    return Outcome(result.verdict, COMPARISON, judgement.to_dict(), text, lambda: figure(sampler, samples, judgement))
