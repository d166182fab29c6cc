"""Data of what can be looked at interactively on a page: waveforms of the liveliest latents, and crossbars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitlsc.io.arrays import TINY, Array, is_finite

if TYPE_CHECKING:
    from circuitlsc.circuit.cells import Cell
    from circuitlsc.sampling.sampler import Sampler
    from circuitlsc.sampling.samples import Samples

MOST_TRACES, MOST_POINTS = 8, 2_000
WIDEST = 128  # rows and columns of a crossbar that a page holds
MOST_CROSSBARS = 8
_DIGITS = 4
_TEXT = 200  # characters of a name


def views(sampler: Sampler, samples: Samples, *, letter: str = "u", twin: Array | None = None) -> dict[str, Any]:
    """Return what can be looked at of a run.

    Parameters
    ----------
    sampler : Sampler
    samples : Samples
    letter : str
        What is shown: ``"u"``, or ``"s"`` where u is noise.
    twin : array, shape (n_draws, n_latents), or None
        The same of the first chain, by NumPy on the same noise, model units, as far as it is known.
    """
    return {"waveforms": _waveforms(sampler, samples, letter, twin), **_crossbars(sampler)}


def _waveforms(sampler: Sampler, samples: Samples, letter: str, twin: Array | None) -> dict[str, Any]:
    """Return the first draws of the first chain; of a memory, those in the order of time."""
    if samples.remembered:
        time, values = samples.first_visits[0][:MOST_POINTS], samples.first_visits[1][0, :MOST_POINTS]
        letter = "u"
    else:
        stop = min(samples.n_draws, MOST_POINTS)
        time, values = samples.times(0, stop), samples.draws(letter).read(0, stop)[0]
    lively = np.argsort(-values.std(axis=0), kind="stable")[:MOST_TRACES]
    own: Array = np.empty((0, values.shape[1])) if twin is None else twin[: len(values)]
    prior, scaling = samples.model().prior, sampler.scaling
    threshold = prior.threshold if prior.sparse and letter == "u" else 0.0
    levels = [threshold, *([-threshold] if prior.signed else [])] if threshold > 0 else []
    hold = 0.0 if sampler.stream is None else sampler.stream.hold
    return {
        "letter": letter,
        "seconds": scaling.tau,
        "volts": scaling.volts(letter),
        "levels": _rounded(levels),
        "hold": hold,
        "time": _rounded(time, 8),
        "traces": [
            {"name": f"{letter}_{k}", "values": _rounded(values[:, k]), "twin": _rounded(own[:, k])} for k in lively
        ],
    }


def _crossbars(sampler: Sampler) -> dict[str, Any]:
    """Return the conductances of every crossbar that is small enough, and the names of the others with their sizes."""
    from circuitlsc.circuit.cells import Crossbar, ResistorCrossbar  # a page is made again without circuits

    shown: list[dict[str, Any]] = []
    others: list[str] = []
    for cell in sampler.graph.cells:
        if isinstance(cell, Crossbar):
            g, columns = cell.conductances(sampler.scaling), list(sampler.graph.inputs(cell)["v"].nodes)
        elif isinstance(cell, ResistorCrossbar):
            g = cell.conductances_siemens
            columns = [sign + node for node in sampler.graph.inputs(cell)["v"].nodes for sign in "+-"]
        else:
            continue
        if max(g.shape) > WIDEST or len(shown) == MOST_CROSSBARS:
            others.append(f"{cell.name} ({g.shape[0]} x {g.shape[1]})")
            continue
        unit = 10.0 ** (3 * math.floor(math.log10(float(np.abs(g).max()) or 1.0) / 3))
        rows = _fed(sampler, cell)
        shown.append(
            {
                "name": cell.name,
                "rows": rows,
                "columns": columns,
                "siemens": unit,
                "values": [_rounded(row) for row in g / unit],
            }
        )
    return {"crossbars": shown, "left_out": others}


def _fed(sampler: Sampler, cell: Cell) -> list[str]:
    """Return the nodes that the rows of a crossbar lead to."""
    ((target, _),) = sampler.graph.outputs(cell)
    return list(target.nodes)


def _rounded(values: Any, digits: int = _DIGITS) -> list[float]:
    numbers = np.asarray(values, dtype=float)
    return [float(f"{value:.{digits}g}") for value in np.where(np.abs(numbers) < TINY, 0.0, numbers).tolist()]


def checked(data: Any) -> dict[str, Any]:
    """Return data of views that may be a stranger's, of which a page can show everything.

    Raises
    ------
    TypeError, ValueError or KeyError
        If they are not what `views` returns, or are larger.
    """
    if not data:
        return {}
    given = data["waveforms"]
    time = _numbers(given["time"], MOST_POINTS)
    if any(b <= a for a, b in pairwise(time)):
        raise ValueError("times that do not rise")
    waveforms = {
        "letter": _name(given["letter"]),
        **{name: _numbers([given[name]])[0] for name in ("seconds", "volts", "hold")},
        "levels": _numbers(given["levels"]),
        "time": time,
        "traces": [_trace(each, len(time)) for each in _some(given["traces"], MOST_TRACES)],
    }
    return {
        "waveforms": waveforms,
        "crossbars": [_crossbar(each) for each in _some(data["crossbars"], MOST_CROSSBARS)],
        "left_out": [_name(each) for each in _some(data["left_out"])],
    }


def _trace(data: Mapping[str, Any], n: int) -> dict[str, Any]:
    values, twin = _numbers(data["values"], n), _numbers(data["twin"], n)
    if len(values) != n:
        raise ValueError("a trace of another length than its times")
    return {"name": _name(data["name"]), "values": values, "twin": twin}


def _crossbar(data: Mapping[str, Any]) -> dict[str, Any]:
    rows, columns = ([_name(each) for each in _some(data[name])] for name in ("rows", "columns"))
    values = [_numbers(row) for row in _some(data["values"])]
    if not rows or not columns or len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ValueError("a crossbar of another shape than its names")
    unit = _numbers([data["siemens"]])[0]
    return {"name": _name(data["name"]), "rows": rows, "columns": columns, "siemens": unit, "values": values}


def _some(data: Any, most: int = WIDEST) -> list[Any]:
    if not isinstance(data, list) or len(data) > most:
        raise ValueError("no list, or a longer one than there can be")
    return data


def _numbers(data: Any, most: int = WIDEST) -> list[float]:
    numbers = _some(data, most)
    if not all(type(value) in (int, float) and is_finite(value) for value in numbers):
        raise ValueError("something else than finite numbers")
    return [float(value) for value in numbers]


def _name(data: Any) -> str:
    if not isinstance(data, str) or len(data) > _TEXT:
        raise ValueError("no name, or a longer one than there can be")
    return data
