"""A comparison of samplers, as a figure and as tables: errors against time per input, and from when on the exact one wins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuitlsc.io.report import Facts, Note, Report, Table
from circuitlsc.reporting.plotting import COLORS, decades, new_figure
from circuitlsc.studies.convergence import Crossing
from circuitlsc.studies.sampler_comparison import FAST, SLOW, NoiseLevel, SamplerComparison

CAPTION = (
    "Errors against time per input, with bands that hold 95 % of a bootstrap over inputs; dotted: the bias of a law, which "
    "is left of infinitely many samples."
)
NAMES = {
    SLOW: "L0-LSC",
    "amortised": "variational, amortised",
    "weighted": "variational, weighted",
    "optimum": "variational, best law",
}
STYLES = {
    SLOW: (COLORS[0], "-"),
    "amortised": (COLORS[1], "-"),
    "weighted": (COLORS[2], "-"),
    "optimum": (COLORS[1], "--"),
}
BIAS = {"-": ":", "--": (0, (1, 4))}  # dots for the bias of what has a line, or dashes
SHOWN = (10.0, 100.0, 1000.0)  # tau, and the hold
FORGETS = 2.0  # tau: samples of a variational circuit that are so far apart are independent


def plot_errors(level: NoiseLevel, what: str, ax: Axes, tau_watts: float | None = None) -> None:
    """Draw ``"rms"`` or ``"kl"`` of each sampler against time per input, with the band that 95 % of a bootstrap stay in.

    Dotted lines are the biases of laws: what is left of infinitely many samples.

    Parameters
    ----------
    level : NoiseLevel
    what : str
    ax : Axes
    tau_watts : float or None
        Seconds of a tau: errors are drawn against energy per input, of those samplers whose power is known.
    """
    for name, course in level.samplers.items():
        color, dash = STYLES[name]
        if tau_watts is not None and course.watts is None:
            continue
        if (bias := getattr(course, f"bias_{what}")) is not None:
            ax.axhline(bias, color=color, ls=BIAS[dash], lw=0.8)
        x = np.array(level.times) * (1.0 if tau_watts is None else tau_watts * (course.watts or 0.0))
        ax.fill_between(
            x, getattr(course, f"{what}_low"), getattr(course, f"{what}_high"), color=color, alpha=0.15, lw=0
        )
        ax.plot(x, getattr(course, what), color=color, ls=dash, lw=1.4, label=NAMES[name])
    ax.set(xscale="log", yscale="log")
    decades(ax)


def samplers_figure(found: SamplerComparison) -> Figure:
    """Return errors of P(active), and divergences, against time per input: a column for each noise level.

    At device level errors against energy per input are a third row.
    """
    powered = any(c.watts is not None for level in found.levels for c in level.samplers.values())
    rows = ["rms", "kl", *(["rms"] if powered else [])]
    with new_figure(2.9 * len(found.levels) + 0.5, 2.3 * len(rows) + 0.5) as fig:
        axes = fig.subplots(len(rows), len(found.levels), sharey="row", squeeze=False)
        for level, column in zip(found.levels, axes.T, strict=True):
            for n, (what, ax) in enumerate(zip(rows, column, strict=True)):
                by_energy = n == 2
                plot_errors(level, what, ax, found.tau if by_energy else None)
                ax.set_xlabel("energy per input (J)" if by_energy else r"time per input ($\tau$)")
            column[0].set_title(rf"$\sigma$ = {level.sigma:g}")
        of = "supports" if found.supports else "each latent's activity"
        for ax, text in zip(
            axes[:, 0], ("rms error of P(active)", f"KL of {of} (nats)", "rms error of P(active)"), strict=False
        ):
            ax.set_ylabel(text)
        axes[0, 0].plot([], [], color="0.4", ls=":", lw=0.8, label="bias of a law")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 2 * len(found.levels)))
    return fig


def samplers_report(found: SamplerComparison) -> Report:
    """Return the comparison: tables for each noise level, and what they mean."""
    of = "supports" if found.supports else "each latent's activity, summed"
    said = (
        f"{found.inputs} inputs, {found.hold:g} tau each, K = {found.n_latents}. Time is in tau of the neuron (L0-LSC) and of "
        "the noise cell, equal here: a noise cell r times as fast makes its errors r times as early. rms: error of P(active); "
        f"KL: plug-in, of {of}; both of all samples since an input's onset, their noise included, and as their bias what is "
        "left of infinitely many (r = inf). Law's KL: of the codes' law from the posterior, log p(x) - ELBO, in nats; it is "
        "too small where inputs are left out because their log p(x) is refused. Last column: the r from which the rms error "
        "at the end of the hold is as small as L0-LSC's; beyond 1 it is extrapolated, the noise of r times as many samples "
        "being 1/r. Brackets hold 95 % of a bootstrap over inputs; none: not within the hold, or at no r; <=: from the first "
        "point on."
    )
    tables = [block for level in found.levels for block in _level(level, found)]
    ends = {
        f"{NAMES[name]}, sigma {level.sigma:g}": course.rms[-1]
        for level in found.levels
        for name, course in level.samplers.items()
    }
    summary = {f"rms at the end, {name}": value for name, value in ends.items()}
    blocks = (*tables, Note(f"{said}\n{_read(found)}"), Facts(tuple(_circuits(found))))
    return Report(blocks, reason="; ".join(map(_best, found.levels)), summary=summary)


def _best(level: NoiseLevel) -> str:
    """Say which sampler is the most accurate at the end of the hold."""
    name, course = min(level.samplers.items(), key=lambda item: item[1].rms[-1])
    ends = f"{level.times[-1]:.4g} tau the most accurate is {NAMES[name]}, with an rms error of P(active) of"
    return f"sigma {level.sigma:g}: after {ends} {course.rms[-1]:.3f}"


def _read(found: SamplerComparison) -> str:
    """Say how often circuits are read, and what averages know less for it."""
    fast, slow = (found.levels[0].samplers[name].spacing for name in ("amortised", SLOW))
    known = f"Variational circuits are read every {fast:g} tau, L0-LSC every {slow:.2g}."
    if fast < FORGETS:
        return known
    return (
        f"{known} Averages over all of the time know at least twice as much as samples of a variational circuit "
        f"{fast:g} tau apart: times at r = 1 favour L0-LSC."
    )


def _level(level: NoiseLevel, found: SamplerComparison) -> Iterator[Table | Note]:
    shown = _nearest(level.times, (*SHOWN, found.hold))
    columns = {f"sigma {level.sigma:g}": "<24"}
    for what in ("rms", "KL"):
        columns |= {f"{what} at {level.times[k]:.4g}": f">{len(what) + 9}.3f" for k in shown}
    columns |= {"rms, bias": ">9.3f", "KL, bias": ">8.3f", "law's KL": ">15", "": ""}
    rows = []
    for name, course in level.samplers.items():
        numbers = [getattr(course, what)[k] for what in ("rms", "kl") for k in shown]
        law = None if course.law_kl is None else f"{course.law_kl:.3f} +- {course.law_kl_se:.3f}"
        rows.append([NAMES[name], *numbers, course.bias_rms, course.bias_kl, law, _remark(name, level)])
    yield Table.of(columns, rows)
    yield _wins(level)
    known = f", P(active) known to {level.reference_error:.1g}" if level.reference_error else ""
    yield Note(f"posteriors by {level.reference}{known}")


def _remark(name: str, level: NoiseLevel) -> str:
    course = level.samplers[name]
    words = []
    if course.law_kl_refused:
        words.append(f"log p(x) of {course.law_kl_refused} inputs refused")
    if course.ess_share is not None:
        words.append(f"{100 * course.ess_share:.3g} % effective")
    if course.uneven:
        words.append(f"of {course.uneven} inputs less than 1 %")
    if course.watts is not None:
        words.append(f"{course.watts:.3g} W")
    return ", ".join(words)


def _wins(level: NoiseLevel) -> Table:
    """Return from when on L0-LSC is better, and from which speed on it is not at the end, a row for each of the others."""
    units = {"rms": "tau", "rms_limit": "tau, r = inf", "rms_joule": "J"}
    units |= {what.replace("rms", "kl"): unit for what, unit in units.items()}
    there = [what for what in units if any(what in level.wins[name] for name in FAST)]
    columns = {"L0-LSC is better than": "<24"}
    columns |= {
        f"{'rms' if what.startswith('rms') else 'KL'} from ({units[what]})": f">{34 if units[what] == 'J' else 24}"
        for what in there
    }
    columns["as accurate with r"] = ">24"
    rows = [
        [NAMES[name], *(_when(level.wins[name].get(what)) for what in there), _when(level.speeds[name])]
        for name in FAST
    ]
    return Table.of(columns, rows)


def _when(found: Crossing | None) -> str | None:
    """Return a crossing with its interval, in words."""
    if found is None:
        return None
    low, high = ("none" if end is None else f"{end:.3g}" for end in (found.low, found.high))
    value = "none" if found.value is None else f"{found.value:.3g}"
    return f"{'<= ' if found.value and found.reason else ''}{value} ({low} .. {high})"


def _circuits(found: SamplerComparison) -> list[tuple[str, str]]:
    """Say whether each circuit sampled what it should, and why there is no energy."""
    said = ["P(active) averaged over inputs, off from what it should be by"]
    for level in found.levels:
        words = []
        for name, course in level.samplers.items():
            check = course.check
            odd = "" if check.follows else f" (IT DID NOT FOLLOW {check.of.upper()})"
            scatter = "" if check.scatter is None else f", scatter {check.scatter:.2f} of 1"
            words.append(f"{NAMES[name]} {check.largest:.2g} +- {check.se:.1g}{scatter}{odd}")
        said.append(f"sigma {level.sigma:g}: {'; '.join(words)}")
    first = found.levels[0].samplers
    facts = [("circuits", "\n".join(said))]
    facts += [
        ("law's KL", f"none of {NAMES[name]}, sigma {level.sigma:g}: {course.law_kl_reason}")
        for level in found.levels
        for name, course in level.samplers.items()
        if course.law_kl_reason
    ]
    unknown = {NAMES[name]: course.watts_reason for name, course in first.items() if course.watts_reason}
    for reason in dict.fromkeys(unknown.values()):
        whose = [name for name, why in unknown.items() if why == reason]
        of = "" if len(whose) == len(first) else f" of {', '.join(whose)}"
        facts.append(("energy", f"not known{of}: {reason}"))
    return facts


def _nearest(times: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """Return the places of the times nearest to those that are wanted and reached, each once."""
    return sorted({int(np.argmin(np.abs(np.log(np.array(times) / t)))) for t in wanted if t <= times[-1] * 1.001})
