"""What a circuit settled on: its code, how long it took, and how far it is from the minimum that software finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.lca import lca_model
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference import map_estimate as software
from circuitlsc.sampling.lazy_draws import Draws
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.validation.verdict import Outcome, Verdict

TOLERANCE = 1e-3  # of the objective, relative: how far above the minimum a code may be to agree
SETTLED = 0.01  # of the largest coefficient: how close to its last value a code is once it has settled
REST = 0.1  # share of a waveform at whose end the state must be at rest
MARGIN = 0.01  # of the largest coefficient: smaller ones may be zero in one code and not in the other

Times = Callable[[int, int], Array]


@dataclass(frozen=True, eq=False)
class Settled:
    """One input's code.

    Attributes
    ----------
    code : array, shape (n_latents,)
        What the circuit rests on, read from it, in model units.
    objective : float
        Energy of the code, dimensionless: abs(x - A s)^2/(2 sigma^2) + sum C(s).
    reference : MapEstimate
        What software finds.
    local_objective : float
        The minimum that software reaches from the circuit's code; the reference's where there is one minimum only.
    settling_time : float
        In tau, from the start of the input: after it no coefficient is farther than 1 % of the largest from its last value.
    settled : bool
        Whether the state is at rest.
    chain : int
        Of several chains, which start from different states, the one whose code has the lowest objective.
    floor : float
        What no objective is below: n_latents times the least cost of one (a cost of one's own may have any constant).
    """

    code: Array
    objective: float
    reference: software.MapEstimate
    local_objective: float
    settling_time: float
    settled: bool
    chain: int
    floor: float

    @property
    def gap(self) -> float:
        """How far the objective is above the minimum that the circuit is in, relative to what that is above `floor`."""
        return (self.objective - self.local_objective) / max(self.local_objective - self.floor, 1e-12)

    @property
    def same_support(self) -> bool:
        """Whether circuit and reference have the same nonzero coefficients, those near zero left out."""
        least = MARGIN * float(np.max(np.abs(self.reference.code), initial=0.0))
        clear = np.maximum(np.abs(self.code), np.abs(self.reference.code)) > least
        return bool(np.all(((self.code != 0) == (self.reference.code != 0)) | ~clear))

    def to_dict(self) -> dict[str, Any]:
        """Return lists and finite numbers."""
        return {
            "code": self.code.tolist(),
            "objective": self.objective,
            "reference_code": self.reference.code.tolist(),
            "reference_objective": self.reference.objective,
            "relative_gap": self.gap,
            "distance": float(np.max(np.abs(self.code - self.reference.code))),
            "same_support": self.same_support,
            "settling_time": self.settling_time,
            "settled": self.settled,
        }


@dataclass(frozen=True, eq=False)
class MapResult(Verdict):
    """What a circuit settled on, for one input or for each of several.

    It ``agrees`` if every code's objective is within 1e-3 of the minimum; else it is ``inconclusive`` if one of the others
    still moves, and ``disagrees`` if not.

    Attributes
    ----------
    kind : str
        ``"gradient"`` or ``"lca"``.
    cost : str
        What is minimised.
    rows : tuple of Settled
        One per input.
    streamed : bool
        Whether there are several inputs.
    """

    kind: str
    cost: str
    rows: tuple[Settled, ...]
    streamed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return lists, strings and finite numbers; a list for each quantity if there are several inputs."""
        rows = [row.to_dict() for row in self.rows]
        values = {name: [row[name] for row in rows] for name in rows[0]} if self.streamed else rows[0]
        return {
            "kind": self.kind,
            "cost": self.cost,
            "verdict": self.verdict,
            "reason": self.reason,
            "reference": self.rows[0].reference.method,
            **values,
        }


def read_map(sampler: Sampler, samples: Samples, *, note: Callable[[str], None] | None = None) -> MapResult:
    """Read the codes that a circuit settled on, and compare them with software.

    Parameters
    ----------
    sampler : Sampler
        With dynamics that settle.
    samples : Samples
        What its `run` returned.
    note : callable or None
        Called with a few words before each part.

    Raises
    ------
    InputError
        If the circuit is one that samples.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), Laplace(lam=1.0, signed=False), sigma=0.5)
    >>> sampler = build_sampler(model, model.draw(1)[1], dynamics="lca")
    >>> str(read_map(sampler, sampler.run(t_stop=100.0, seed=1)).verdict)
    'agrees'
    """
    if not sampler.dynamics.settles:
        raise InputError(
            f'dynamics.kind = "{sampler.dynamics.kind}" samples and does not settle. Use experiment.judge.'
        )
    say = note or (lambda _: None)
    say("the minimum in software")
    if sampler.stream is None:
        pieces, inputs = [samples.draws("u")], [sampler.x]
    else:
        pieces, inputs = [samples.row_draws(row, "u") for row in range(len(sampler.x))], list(sampler.x)
        if sampler.stream.interpolate == "linear":
            # a code is compared with the input at the end of its piece: the next row, which the last one repeats
            inputs = [*inputs[1:], inputs[-1]]
    ended = samples.stats["steps"] < round(float(samples.attrs["t_stop"]) / sampler.plan.step)
    early = ended & (sampler.stream is None)  # the run ended itself
    rows = []
    for u, x in zip(pieces, inputs, strict=True):
        codes = sampler.read(u.read(u.n_draws - 1, u.n_draws)[:, 0])
        chain = int(np.argmin([objective_of(sampler, code, x) for code in codes]))
        rows.append(_settled(sampler, u, codes[chain], x, samples.times, bool(early[chain]), chain))
    hard = "count of s != 0, times (lam sigma)^2/2"
    cost = hard if _is_hard(sampler) else f"{sampler.model.prior.kind} cost"
    return MapResult(*_judge(rows), sampler.dynamics.kind, cost, tuple(rows), sampler.stream is not None)


def _is_hard(sampler: Sampler) -> bool:
    return sampler.dynamics.kind == "lca" and sampler.dynamics.threshold == "hard"


def objective_of(sampler: Sampler, code: Array, x: Array) -> Array:
    """Return what the circuit minimises, of codes (..., n_latents)."""
    return np.asarray((software.hard_objective if _is_hard(sampler) else software.objective)(sampler.model, code, x))


def _settled(sampler: Sampler, u: Draws, code: Array, x: Array, times: Times, early: bool, chain: int) -> Settled:
    u, n = u.map(lambda v: v[chain : chain + 1]), u.n_draws
    tail = u.part(n - min(n, max(2, round(REST * n))), n)
    ends = np.concatenate([[piece.min((0, 1)), piece.max((0, 1))] for piece in tail.pieces()])
    moved = float(np.ptp(ends, axis=0).max())
    at_rest = early or (n > 1 and moved <= sampler.plan.width)
    near = SETTLED * float(np.max(np.abs(code))) or 3 * sampler.plan.width
    last_away = -1
    for first, stop in u.spans():
        away = np.flatnonzero(np.max(np.abs(sampler.read(u.read(first, stop)[0]) - code), axis=1) > near)
        if len(away):
            last_away = first + int(away[-1])
    since = float(times(last_away + 1, last_away + 2)[0])
    value = float(objective_of(sampler, code, x))
    reference, local = _references(sampler, code, x)
    floor = sampler.model.n_latents * sampler.model.prior.least_cost
    return Settled(code, value, reference, local, since, at_rest, chain, floor)


def _references(sampler: Sampler, code: Array, x: Array) -> tuple[software.MapEstimate, float]:
    """Return software's minimum, and the minimum that software reaches from the code."""
    model = sampler.model
    if _is_hard(sampler):
        return _hard(model, code, x)
    if model.prior.convex:
        reference = software.map_reference(model, x)
        return reference, reference.objective
    near, best = software.descend_from(model, code, x), software.best_minimum(model, x)
    return min(best, near, key=lambda m: m.objective), near.objective


def _hard(model: SparseCodingModel, code: Array, x: Array) -> tuple[software.MapEstimate, float]:
    """Compare with LCA in software: the hard threshold's minima are many, and the start decides which is reached."""
    on = code != 0
    bounds = (-np.inf if model.prior.signed else 0.0, np.inf)
    fit = lsq_linear(model.A[:, on], x, bounds=bounds, method="bvls").x if on.any() else np.zeros(0)
    # every latent of the support is paid for, also where the fit could do without: the data may not tell two of them apart
    own = np.zeros_like(code)
    own[on] = fit
    count = np.count_nonzero(on) - np.count_nonzero(fit)
    unused = 0.5 * count * (lca_model(model).prior.lam / model.sigma) ** 2
    local = float(software.hard_objective(model, own, x)) + unused
    try:
        other = software.many_lca(model, x[None], hard=True)[0]
        how = "LCA with a hard threshold in NumPy, from u = 0"
    except InputError:  # the software creeps along a direction that the data hardly see
        other, how = own, "least squares on the circuit's own support (LCA in NumPy does not come to rest)"
    return software.MapEstimate(other, float(software.hard_objective(model, other, x)), how), local


def _judge(rows: Sequence[Settled]) -> tuple[Outcome, str]:
    n = len(rows)
    worst = max(rows, key=lambda row: row.gap)
    of, above = f" of {n} inputs" if n > 1 else "", f"{worst.gap:.1e} above the minimum"
    moving = sum(not row.settled and row.gap > TOLERANCE for row in rows)  # a low objective needs no rest
    if moving:
        what = f"{moving}{of} had not settled" if n > 1 else "the circuit had not settled"
        length = "run.hold" if n > 1 else "run.t_stop"
        return "inconclusive", f"{what} when time was over (objective {above}). Raise {length}."
    high = sum(row.gap > TOLERANCE for row in rows)
    if high:
        what = f"{high}{of} rest" if n > 1 else "the circuit rests"
        return "disagrees", f"{what} at an objective up to {above} (limit {TOLERANCE:g}, relative)."
    least = f"at most {above}" if worst.gap > 1e-12 else "at the minimum"
    return "agrees", f"the objective is {least} (limit {TOLERANCE:g} above it, relative)."
