"""A second simulator as referee: one circuit on the same noise in ngspice and in VACASK, by path and by statistic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from circuitlsc.circuit.cells import Integrator
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.io.report import Facts, Report, Table
from circuitlsc.io.shown import Shown
from circuitlsc.planning.run_plan import RunPlan
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.ngspice.simulator import NGSPICE
from circuitlsc.simulator.simulator import Simulator
from circuitlsc.simulator.vacask.deck import opening
from circuitlsc.simulator.vacask.simulator import VACASK
from circuitlsc.validation.same_noise import path_difference

NEWTON = 1e-7  # of Newton's iteration: with the usual 1e-5 single steps are off by 5e-4
BOUNDS = {1e-9: 5e-9, NEWTON: 1e-6}  # model units, rms from NumPy's path: by the largest tolerance that it is asked of
#: rms and median of two simulators: chunks open in different ways, which is an error of a step until it is forgotten, and near
#: u = 0, where a state goes to either side, two right paths part for a moment; what is wrong with either, NumPy tells
APART = 0.05, 1e-3
KINDS = {"closed": "expressions", "verilog-a": "compiled Verilog-A"}
TWIN_STEPS = 3000  # that NumPy follows; fewer for large models
DRAWS = 50_000  # samples of a chain that are compared at a time


@dataclass(frozen=True, kw_only=True)
class Path:
    """Two paths on the same noise.

    Attributes
    ----------
    what : str
        Which two.
    rms, median, max_abs : float
        Of their absolute difference over chains, latents and samples, in model units.
    time : float
        Length compared, tau per chain.
    bound, usual : float or None
        Of the rms, and of the median; None of paths that are not judged.
    """

    what: str
    rms: float
    median: float
    max_abs: float
    time: float
    bound: float | None
    usual: float | None

    @property
    def ok(self) -> bool:
        """Whether rms and median are within their bounds; not a number is not."""
        if self.bound is None or self.usual is None:
            return True
        return bool(self.rms <= self.bound and self.median <= self.usual)


@dataclass(frozen=True, kw_only=True)
class LatentRow:
    """A latent in both simulators.

    Attributes
    ----------
    mean, mean_there : float
        Of the code that is read, in ngspice and in VACASK.
    active, active_there : float
        Share of samples in which it is active.
    """

    latent: int
    mean: float
    mean_there: float
    active: float
    active_there: float


@dataclass(frozen=True, kw_only=True)
class CrossCheck(Shown):
    """What two simulators made of one circuit.

    Attributes
    ----------
    paths : tuple of Path
        ngspice and VACASK against NumPy at their own time points, and against each other.
    latents : tuple of LatentRow
    verdicts : tuple of (str, str)
        What was said of each run against the exact result, by simulator; empty if nothing was asked.
    tolerance : float
        Of Newton's iteration.
    versions : tuple of str
    cells : str
        ngspice's: ``"closed"``, or ``"verilog-a"``.
    rejected : int
        Points that ngspice took back: it then goes on with shorter steps, which are not NumPy's.
    left_out : str
        What NumPy's form leaves out of the circuit, if it leaves anything out: it is then no judge of paths.
    """

    paths: tuple[Path, ...]
    latents: tuple[LatentRow, ...]
    verdicts: tuple[tuple[str, str], ...]
    tolerance: float
    versions: tuple[str, ...]
    cells: str = "closed"
    rejected: int = 0
    left_out: str = ""

    @property
    def verdict(self) -> str:
        """``agrees`` if all paths do and every run agrees with the exact result; ``disagrees`` if one does not.

        ``inconclusive`` if one run is, if ngspice took points back, or if no path could be judged.
        """
        said = {verdict for _, verdict in self.verdicts}
        if not all(path.ok for path in self.paths) or "disagrees" in said:
            return "disagrees"
        judged = any(path.bound is not None for path in self.paths)
        return "agrees" if said <= {"agrees"} and not self.rejected and judged else "inconclusive"

    @property
    def reason(self) -> str:
        """Why."""
        off = [
            f"{p.what} differ by {p.rms:.2g} rms (median {p.median:.2g}), more than {p.bound:g} (median {p.usual:g})"
            for p in self.paths
            if not p.ok
        ]
        against = [
            f"{name} against the exact result: {verdict}" for name, verdict in self.verdicts if verdict != "agrees"
        ]
        if self.rejected:
            back = f"ngspice took {self.rejected} points back, and its path is then not that of the steps"
            against.insert(0, f"{back}. Use a shorter step")
        judged = [path for path in self.paths if path.bound is not None]
        if not judged:
            against.insert(0, f"NumPy's form leaves out {self.left_out}, and no path could be judged")
        followed = max((path.rms for path in judged[:2]), default=0.0)
        what = f"each other (NumPy's form leaves out {self.left_out})" if self.left_out else "NumPy"
        fine = f"both simulators follow {what} on the same noise, to {followed:.2g} rms"
        exact = ", and each agrees with the exact result" if self.verdicts else ""
        return "; ".join([*off, *against]) or f"{fine}{exact}"

    def _line(self) -> str:
        return f"{self.verdict}: {self.reason}"

    def _shows(self) -> Report:
        return self.report()

    def report(self) -> Report:
        """Return paths, statistics and the verdict."""
        numbers = {
            "rms": ">9.2e",
            "bound": ">9.2e",
            "median": ">9.2e",
            "its bound": ">10.2e",
            "largest difference": ">18.2e",
        }
        paths = Table.of(
            {"paths": "<20", **numbers, "length": ">8.6g"},
            [(p.what, p.rms, p.bound, p.median, p.usual, p.max_abs, p.time) for p in self.paths],
        )
        columns = {"in ngspice": ">10.6f", "in VACASK": ">10.6f"}
        groups = {
            "mean of s": (columns, [(r.mean, r.mean_there) for r in self.latents]),
            "P(active)": (columns, [(r.active, r.active_there) for r in self.latents]),
        }
        latents = Table.grouped("latent", [r.latent for r in self.latents], groups)
        facts = [("exact", "; ".join(f"{name} {verdict}" for name, verdict in self.verdicts))] if self.verdicts else []
        facts.append(("cells", f"closed forms, in ngspice {KINDS[self.cells]}; Newton's tolerance {self.tolerance:g}"))
        if self.left_out:
            facts.append(("not judged", f"paths against NumPy's, which leaves out {self.left_out}"))
        facts.append(("simulators", ", ".join(self.versions)))
        summary = {f"rms of {path.what}": path.rms for path in self.paths}
        return Report((paths, latents, Facts(tuple(facts))), self.verdict, self.reason, summary)

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        return {**asdict(self), "verdict": self.verdict, "reason": self.reason}


def for_referee(sampler: Sampler) -> Sampler:
    """Return a circuit as both simulators run it: of closed forms, with a tight iteration.

    Raises
    ------
    InputError
        If its cells have no closed form.
    """
    return replace(sampler, tolerance=min(NEWTON, sampler.tolerance)).closed()


def run_both(
    sampler: Sampler, run: RunPlan, *, simulators: tuple[Simulator, Simulator] = (NGSPICE, VACASK), **where: Any
) -> tuple[Samples, Samples]:
    """Run a circuit of `for_referee` in both simulators, on the same noise; keywords as for `Sampler.run`."""
    here, there = (sampler.run(run, simulator=simulator, **where) for simulator in simulators)
    return here, there


def cross_check(
    sampler: Sampler,
    here: Samples,
    there: Samples,
    *,
    judged: Callable[[Sampler, Samples], str] | None = None,
    twin_steps: int = TWIN_STEPS,
) -> CrossCheck:
    """Compare two runs of a circuit on the same noise, and each of them with NumPy at its own time points.

    Parameters
    ----------
    sampler : Sampler
        Of `for_referee`.
    here, there : Samples
        Of `run_both`: in ngspice and in VACASK.
    judged : callable or None
        Returns the verdict on a run against the exact result.
    twin_steps : int
        Steps that NumPy follows; of more than 16 latents fewer.

    Raises
    ------
    InputError
        If the circuit is none of `for_referee`.
    """
    bound = next((bound for tolerance, bound in BOUNDS.items() if sampler.tolerance <= tolerance), None)
    if bound is None or sampler.cells not in KINDS:
        raise InputError(
            f"cross_check: the circuit's cells are {sampler.cells!r}, its tolerance is {sampler.tolerance:g}, and nothing "
            "is known of how far apart two simulators may then be. Give what for_referee returns, and run_both's runs of it."
        )
    steps = int(twin_steps * min(1.0, 16 / sampler.model.n_latents))
    found, left_out = [], not_in_numpy(sampler)
    letter = "u" if sampler.dynamics.has_energy else "s"  # where nothing feeds back u is noise alone
    rejected = int(here.stats["rejected"].sum())
    for what, samples, cut in (("ngspice and NumPy", here, None), ("VACASK and NumPy", there, opening())):
        path = path_difference(sampler, samples, steps, letter, opening=cut)
        numbers = {"rms": path.rms, "median": path.median, "max_abs": path.max_abs, "time": path.time}
        limit = None if left_out or (samples is here and rejected) else bound
        found.append(Path(what=what, bound=limit, usual=limit, **numbers))
    # with momentum paths part for good where they open in different ways: only each with NumPy says something
    alike = sampler.dynamics.kind != "underdamped" and not rejected
    apart = (APART[0], bound if left_out else APART[1])  # where NumPy is no judge, they are each other's
    found.append(_between(here, there, letter, apart if alike else (None, None)))
    verdicts = () if judged is None else (("ngspice", judged(sampler, here)), ("VACASK", judged(sampler, there)))
    versions = tuple(str(samples.attrs["ngspice_version"]) for samples in (here, there))
    return CrossCheck(
        paths=tuple(found),
        latents=_latents(sampler, here, there),
        verdicts=verdicts,
        tolerance=sampler.tolerance,
        versions=(f"ngspice {versions[0]}", versions[1]),
        cells=sampler.cells,
        rejected=rejected,
        left_out=left_out,
    )


def not_in_numpy(sampler: Sampler) -> str:
    """Return what a circuit has that its NumPy twin leaves out: capacitors beside those of states, output resistances."""
    poles = [cell for cell in sampler.graph.cells if not isinstance(cell, Integrator) and cell.states(sampler.scaling)]
    found = [f"the capacitors of {cell.name}" for cell in poles]
    if sampler.nonideal.op_amp.output_resistance > 0:
        found.append("the op-amps' output resistance")
    return ", ".join(found)


def _pieces(here: Samples, there: Samples, name: str) -> Any:
    """Yield the samples of both runs piece by piece; one that settled earlier ends the comparison."""
    if here.remembered:
        rows = range(len(here.time))
        pairs = [(here.row_draws(row, name), there.row_draws(row, name)) for row in rows]
    else:
        pairs = [(here.draws(name), there.draws(name))]
    for a, b in pairs:
        n = min(a.n_draws, b.n_draws)
        for first in range(0, n, DRAWS):
            stop = min(n, first + DRAWS)
            yield a.read(first, stop), b.read(first, stop)


def _between(here: Samples, there: Samples, letter: str, bounds: tuple[float | None, float | None]) -> Path:
    """Return how far the two simulators are from each other over the whole run."""
    sizes = [np.abs(a - b) for a, b in _pieces(here, there, letter)]
    largest, squares = max(float(size.max()) for size in sizes), sum(float(np.sum(size**2)) for size in sizes)
    count = sum(size.size for size in sizes)
    kept = sum(size.shape[1] for size in sizes)
    return Path(
        what="ngspice and VACASK",
        rms=float(np.sqrt(squares / count)),
        median=float(np.median(np.concatenate([size.ravel() for size in sizes]))),
        max_abs=largest,
        time=float(here.time.max() if here.remembered else here.times(kept - 1, kept)[0]),
        bound=bounds[0],
        usual=bounds[1],
    )


def _latents(sampler: Sampler, here: Samples, there: Samples) -> tuple[LatentRow, ...]:
    """Return means and P(active) of every latent in both."""
    means, active, n = np.zeros((2, sampler.model.n_latents)), np.zeros((2, sampler.model.n_latents)), 0
    energy = sampler.dynamics.has_energy
    for pair in _pieces(here, there, "u" if energy else "s"):
        n += pair[0].shape[0] * pair[0].shape[1]
        for k, values in enumerate(pair):
            means[k] += _total(sampler.read(values) if energy else values)
            active[k] += _total(sampler.active(values) if energy else values != 0)
    return tuple(
        LatentRow(
            latent=i,
            mean=float(means[0, i] / n),
            mean_there=float(means[1, i] / n),
            active=float(active[0, i] / n),
            active_there=float(active[1, i] / n),
        )
        for i in range(sampler.model.n_latents)
    )


def _total(values: Any) -> Array:
    return np.asarray(np.sum(values, axis=(0, 1), dtype=float))
