"""What comes of a run, whatever the circuit does: a verdict, numbers for a file, a table, and a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from circuitlsc.io.output import COMPARISON, MAP
from circuitlsc.io.report import Report
from circuitlsc.planning.run_plan import REFERENCE_TIME, TOLERANCE, RunPlan
from circuitlsc.reporting.memory_plot import memory_figure
from circuitlsc.reporting.report import comparison_report, map_report, memory_report, simulated, stream_report
from circuitlsc.reporting.run_plot import figure, map_figure, stream_figure
from circuitlsc.reporting.series import of_map, of_memory, of_run, of_stream
from circuitlsc.validation.judge import Expectation, expect, judge
from circuitlsc.validation.map_result import MapResult, read_map
from circuitlsc.validation.memory_compare import MemoryComparison, compare_memory
from circuitlsc.validation.stream_compare import StreamComparison, compare_stream

if TYPE_CHECKING:
    from circuitlsc.io.arrays import Array
    from circuitlsc.reporting.page import Series
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples
    from circuitlsc.validation.half_step import HalfStep

CAPTION = (
    "Above: voltages of the two liveliest neurons, circuit over NumPy on the same noise, and circuit minus exact of each "
    "statistic with error bars. Below: what the circuit's samples give, beside exact (grey)."
)
MAP_CAPTION = (
    "Left: neurons as they settle. Middle: objective above software's minimum. Right: the code, beside software's."
)
STREAM_CAPTION = "Left: codes of the first inputs. Right: circuit minus exact of each latent, averaged over inputs."
MEMORY_CAPTION = (
    "Above: neurons over visits of several inputs. Below: every input beside its posterior, differences within a visit, and "
    "the largest |z| of each input."
)


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
    report : Report
    draw : callable
        Returns the figure.
    caption : str
        What it shows.
    series : tuple of Series
        Numbers that stand beside those of other runs.
    letter : str
        What waveforms are of, u or s.
    twin : array, shape (n_draws, n_latents), or None
        The same of the first chain, by NumPy on the same noise.
    """

    verdict: str
    file: str
    numbers: dict[str, Any]
    report: Report
    draw: Callable[[], Figure]
    caption: str
    series: tuple[Series, ...] = ()
    letter: str = "u"
    twin: Array | None = None


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
    made: MapResult | MemoryComparison | StreamComparison
    if sampler.dynamics.settles:
        made = read_map(sampler, samples, note=note)
        report, drawn = map_report(sampler, samples, made), partial(map_figure, sampler, samples, made)
        return Outcome(made.verdict, MAP, made.to_dict(), report, drawn, MAP_CAPTION, of_map(made))
    close = tolerance or TOLERANCE
    if sampler.dynamics.remembers:
        made = compare_memory(sampler, samples, tolerance=close, reference_time=reference_time, note=note)
        report, drawn = memory_report(sampler, samples, made), partial(memory_figure, sampler, samples, made)
        return Outcome(made.verdict, COMPARISON, made.to_dict(), report, drawn, MEMORY_CAPTION, of_memory(made))
    if sampler.stream is not None:
        made = compare_stream(sampler, samples, tolerance=close, half=half, note=note)
        report, drawn = stream_report(sampler, samples, made), partial(stream_figure, sampler, samples, made)
        letter = "u" if sampler.dynamics.has_energy else "s"
        shown = (f"{STREAM_CAPTION}{simulated(sampler)}", of_stream(made))
        return Outcome(made.verdict, COMPARISON, made.to_dict(), report, drawn, *shown, letter=letter)
    how: dict[str, Any] = {"reference_time": reference_time, "weights": weights, "note": note}
    judgement = judge(sampler, samples, expected=expected, tolerance=close, **how)
    found, report = judgement.comparison, comparison_report(sampler, samples, judgement)
    drawn = partial(figure, sampler, samples, judgement)
    seen: dict[str, Any] = {"twin": None if judgement.path is None else judgement.path.twin}
    seen |= {"series": of_run(found), "letter": "s" if judgement.bias else "u"}
    return Outcome(
        found.verdict, COMPARISON, judgement.to_dict(), report, drawn, f"{CAPTION}{simulated(sampler)}", **seen
    )
