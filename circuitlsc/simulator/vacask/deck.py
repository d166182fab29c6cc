"""What VACASK reads: a circuit, its sources on a grid of steps, and a transient that takes one point a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from circuitlsc.io.arrays import Array
from circuitlsc.simulator.modules import Netlist, Source, vacask_lines

HALVINGS = 13  # the first step is h/2^13; steps double until they are h
FIRST_STEPS = 3  # of the shortest length, by backward Euler
BEYOND = 0.6  # steps by which the transient's end lies beyond the last grid point, so that this is no breakpoint
ANALYSIS, POINT = "tran1", "op1"
#: the trapezoid at given steps: no truncation-error control, no predictor's step, no step taken back
TRANSIENT = (
    'tran_method="trap" tran_redofactor=0 tran_lteratio=1e12 tran_minpts=0 tran_fs=1.0 tran_ffmax=0 tran_itl=100 '
    "tran_trapltefilter=0"
)


def time_points(step: float, n: int) -> tuple[Array, int]:
    """Return the time points of a transient of n steps, and which of them is the first of the grid.

    Three of d = h/2^13, then steps that double until they are h: the first grid point is at h + d, and the others follow it.
    The last point, beyond the grid, is where the transient ends.

    Parameters
    ----------
    step : float
        h, seconds.
    n : int
    """
    d = step / 2**HALVINGS
    times = [0.0]
    for _ in range(FIRST_STEPS):
        times.append(times[-1] + d)
    grown = d
    for _ in range(HALVINGS - 1):
        grown *= 2
        times.append(times[-1] + grown)
    first = len(times) - 1
    for _ in range(n - 1):
        times.append(times[-1] + step)  # added up one by one, as the simulator does
    times.append(times[-1] + BEYOND * step)
    return np.array(times), first


def opening() -> tuple[tuple[float, ...], float, int]:
    """Return how the first step of a chunk is cut: shares of it, its length in steps, how many points by backward Euler."""
    times, first = time_points(1.0, 1)
    end = float(times[first])
    return tuple(float(t) / end for t in times[1 : first + 1]), end, FIRST_STEPS


def options(tolerance: float, volt: float, current: float, farad: float) -> str:
    """Return Newton's tolerances: relative, and in volt, ampere and coulomb of a model unit."""
    given = {
        "reltol": tolerance,
        "vntol": tolerance * volt,
        "abstol": tolerance * current,
        "chgtol": tolerance * farad * volt,
    }
    return " ".join(f"{name}={float(value)!r}" for name, value in given.items())


def waves(sources: Sequence[Source], step: float, values: Array) -> list[str]:
    """Return the sources with their values at the grid points 0 .. n, (n + 1, n_sources), volts or amperes."""
    times, first = time_points(step, len(values) - 1)
    knots = [0.0, *times[first:-1].tolist()]
    lines = []
    for source, column in zip(sources, values.T.tolist(), strict=True):
        wave = ", ".join(f"{t!r}, {v!r}" for t, v in zip(knots, column, strict=True))
        lines.append(f'{source.name} ({" ".join(source.nodes)}) {source.kind} type="pwl" break="none" wave=[{wave}]')
    return lines


def point_deck(net: Netlist, load: Sequence[str], option_line: str, saved: Sequence[str]) -> str:
    """Return a netlist whose operating point is asked for; arguments as for `deck`."""
    lines = [
        "circuitlsc",
        *(f'load "{file}"' for file in load),
        *vacask_lines(net),
        "control",
        "  abort always",
        f"  options {option_line}",
        "  save " + " ".join(f"v({node})" for node in saved),
        f"  analysis {POINT} op",
        "endc",
        "",
    ]
    return "\n".join(lines)


def deck(
    net: Netlist,
    *,
    title: Sequence[str],
    load: Sequence[str],
    sources: Sequence[str],
    option_line: str,
    saved: Sequence[str],
    start: Mapping[str, float],
    step: float,
    n: int,
) -> str:
    """Return a netlist with its analysis.

    Parameters
    ----------
    net : Netlist
    title : sequence of str
        Comment lines.
    load : sequence of str
        Files of the modules.
    sources : sequence of str
        Their lines, of `waves` or an ``include``.
    option_line : str
        Of `options`.
    saved : sequence of str
        Nodes whose voltages are kept.
    start : mapping
        Voltages of the capacitors by node.
    step : float
        Seconds.
    n : int
        Steps.
    """
    times, _ = time_points(step, n)
    first_volts = ", ".join(f'"{node}", {float(volts)!r}' for node, volts in start.items())
    lines = [
        title[0],
        *(f"// {line}" for line in title[1:]),
        *(f'load "{file}"' for file in load),
        *vacask_lines(net),
        *sources,
        "control",
        "  abort always",
        f"  options {option_line}",
        f"  options {TRANSIENT}",
        "  save " + " ".join(f"v({node})" for node in saved),
        f"  analysis {ANALYSIS} tran stop={float(times[-1])!r} step={step / 2**HALVINGS!r} maxstep={step!r} "
        f'icmode="uic" ic={{{first_volts}}}',
        "  print stats",
        "endc",
        "",
    ]
    return "\n".join(lines)
