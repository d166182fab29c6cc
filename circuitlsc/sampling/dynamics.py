"""What dynamics are to a circuit: its plan, its graph, how long it runs and how its states are read; those of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.circuit.cells import Cell
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.systems import gradient, lca, lsc, underdamped
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import Features
from circuitlsc.model.lca import lca_model, threshold_code
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.planning.plan import (
    Plan,
    check_atoms,
    lca_ranges,
    momentum_plan,
    sampling_plan,
    settling_plan,
)
from circuitlsc.planning.run_plan import WARMUP
from circuitlsc.planning.scaling import Ranges, expected_ranges
from circuitlsc.planning.stepping import StepPlan

TOLERANCE = 1e-5  # of Newton's iteration, relative and in model units; "tight" work asks for 1e-9
SETTLED = 1e-2  # of a width: how far the state still moves within SETTLING_CHUNK steps once it has settled
SETTLED_BY = 0.9  # of a stand-alone deck's length
SETTLING_CHUNK = 500  # steps
LONGEST_WAVEFORM = 100_000  # samples kept of a circuit that settles, unless they would be farther apart than
FINEST_WAVEFORM = 0.05  # tau
ZERO = 3.0  # widths below which a settled code is read as zero


class System:
    r"""Overdamped Langevin dynamics, and what others change of it; one class for each kind in `SYSTEMS`.

    .. math:: \tau\,du = -\nabla E\,dt + \sqrt{2 T \tau}\,dW

    Parameters
    ----------
    dynamics : Dynamics
        Of this kind.
    encoder : Encoder or None
        What gives each latent its law, of ``"variational"``, which needs one.
    source : str or None
        Where its Laplace draws come from: see `circuitlsc.circuit.variational.variational`.
    features : Features or None
        Of the inputs that an ``"amortised"`` circuit remembers.

    Raises
    ------
    InputError
        If an encoder is missing, or is given to another kind.
    """

    word = "sampler"
    least = 4  # samples that a chain must keep
    draws = 5  # kept per tau, or per diffusion time of the slab if that is shorter
    # tau after which a twin starts again from the circuit's state, where two paths on the same noise part as exp(t)
    restart: float | None = None

    def __init__(
        self,
        dynamics: Dynamics,
        encoder: Encoder | None = None,
        source: str | None = None,
        features: Features | None = None,
    ) -> None:
        self.dynamics = dynamics
        if encoder is not None or source is not None:
            raise InputError(
                f'an encoder and its source belong to dynamics.kind = "variational", and kind is "{dynamics.kind}". '
                "Leave them out."
            )
        if features is not None:
            raise InputError(
                f'features belong to dynamics.kind = "amortised", and kind is "{dynamics.kind}". Leave them out.'
            )

    def model(self, model: SparseCodingModel) -> SparseCodingModel:
        """Return the model that the circuit realises."""
        return model

    def ranges(self, model: SparseCodingModel, x: Array) -> Ranges:
        """Estimate how large the signals become."""
        return expected_ranges(model, x)

    def plan(
        self,
        model: SparseCodingModel,
        x: Array,
        width: float | None,
        step: float | None,
        smoothing: Smoothing = LOGISTIC,
    ) -> Plan:
        """Choose or check width and step, and what the dynamics leave open; raise InputError if they cannot be used."""
        return sampling_plan(model, x, self.dynamics, width=width, step=step, smoothing=smoothing)

    def check_logistic(self, smoothing: Smoothing) -> None:
        """Raise InputError if a smoothing is not the logistic pair."""
        if smoothing != LOGISTIC:
            raise InputError(
                f'circuit.smoothing = "{smoothing.name}", but the cells of dynamics.kind = "{self.dynamics.kind}" are straight '
                "a dozen widths off a corner, as the logistic pair is, and its tails are not. Leave it out."
            )

    def warned_of(self, stream: Stream, plan: StepPlan) -> tuple[str, ...]:
        """Return what to warn of in how inputs follow each other."""
        return ()

    def tolerance(self, width: float) -> float:
        """Return the tolerance of Newton's iteration."""
        return TOLERANCE

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up the circuit; keywords as for `circuitlsc.circuit.wiring.Wiring`."""
        return lsc(model, x, temperature=self.dynamics.T, **wiring)

    def split(self, graph: SignalFlowGraph) -> tuple[SignalFlowGraph | None, SignalFlowGraph]:
        """Return what a constant input fixes, to be solved once, and the rest, where it is held; None if there is none."""
        return None, graph

    def what(self) -> str:
        """Say in a few words what the circuit does with its energy."""
        return f"sampled at temperature {self.dynamics.T!r}"

    def equation(self) -> str:
        """Return the line of a deck's head that says what is sampled, or minimised."""
        return f"energy   |x - A s|^2/(2 sigma^2) + sum c(u); {self.what()}"

    def layout(self, form: str) -> str:
        """Say how it is wired up."""
        return f"{form} form"

    def read(self, model: SparseCodingModel, u: Array, width: float) -> Array:
        """Return the code that is read from states u (..., n_latents), in model units."""
        return model.latent(u)

    def active(self, model: SparseCodingModel, u: Array, width: float) -> NDArray[np.bool_]:
        """Return which latents are active at states u (..., n_latents)."""
        return model.active(u)

    def thin(self, plan: StepPlan, n_steps: int, n_warmup: int, *, streamed: bool) -> int:
        """Return how many steps apart samples are kept."""
        thin = max(1, round(min(1.0, plan.time_scale) / (self.draws * plan.step)))
        return max(1, min(thin, n_steps - n_warmup)) if streamed else thin

    def observed(self, graph: SignalFlowGraph) -> tuple[Cell, ...]:
        """Return the cells whose voltages are kept beside u: further vectors of states, and what the code is read from."""
        return graph.integrators[1:]

    def code(
        self, model: SparseCodingModel, graph: SignalFlowGraph, values: Mapping[str, Array], width: float
    ) -> Array:
        """Return the code that is read from u and what is observed, each (..., n), by letter."""
        return self.read(model, values["u"], width)

    def held(self, step: float) -> float:
        """Return how long a stand-alone deck holds its noise, in tau."""
        return step

    def settled(self, width: float) -> float:
        """Return how far the state still moves within `SETTLING_CHUNK` steps at the end; 0 if that is no end."""
        return 0.0

    def measured_from(self, t_stop: float, warmup: float | None) -> float:
        """Return from when on a stand-alone deck measures means, in tau."""
        return WARMUP if warmup is None else warmup


class Underdamped(System):
    """Second-order Langevin dynamics: what mixes faster is worth keeping more often."""

    draws = 2 * System.draws
    restart = 2.0

    def plan(
        self,
        model: SparseCodingModel,
        x: Array,
        width: float | None,
        step: float | None,
        smoothing: Smoothing = LOGISTIC,
    ) -> Plan:
        """Choose or check width, step, mass and friction."""
        return momentum_plan(model, x, self.dynamics, width=width, step=step, smoothing=smoothing)

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up neurons and momenta."""
        d = self.dynamics
        assert d.mass is not None
        assert d.friction is not None
        return underdamped(model, x, mass=d.mass, friction=d.friction, temperature=d.T, **wiring)

    def what(self) -> str:
        """Say what it does, with mass and friction."""
        d = self.dynamics
        return f"{super().what()} with momentum: mass {d.mass:.6g} tau, friction {d.friction:.6g}"


class Gradient(System):
    """Descent on the energy, which settles on a code: what rests a few widths beside zero is read as zero."""

    word = "solver"
    least = 1

    def model(self, model: SparseCodingModel) -> SparseCodingModel:
        """Return the model without its spike."""
        return model.without_spike()

    def plan(
        self,
        model: SparseCodingModel,
        x: Array,
        width: float | None,
        step: float | None,
        smoothing: Smoothing = LOGISTIC,
    ) -> Plan:
        """Choose or check width and step."""
        self.check_logistic(smoothing)
        ranges = self.ranges(model, x)
        rate = model.rate + 1 / model.prior.slab_scale**2
        return Plan(settling_plan(model, x, width=width, step=step, rate=rate), self.dynamics, ranges)

    def tolerance(self, width: float) -> float:
        """Return a tolerance that a narrow comparator needs."""
        return min(TOLERANCE, 1e-3 * width)

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up the circuit without noise."""
        return gradient(model, x, **wiring)

    def what(self) -> str:
        """Say what it does."""
        return "descended, without noise"

    def read(self, model: SparseCodingModel, u: Array, width: float) -> Array:
        """Return the code: the state, with what is below 3 w read as zero (any below zero if codes are nonnegative)."""
        s = np.asarray(u, dtype=float) if model.prior.signed else np.maximum(u, 0.0)
        return np.where(np.abs(s) < ZERO * width, 0.0, s) if model.prior.slab is not None else s

    def active(self, model: SparseCodingModel, u: Array, width: float) -> NDArray[np.bool_]:
        """Return which latents have a code that is not read as zero."""
        return np.asarray(self.read(model, u, width) != 0)

    def thin(self, plan: StepPlan, n_steps: int, n_warmup: int, *, streamed: bool) -> int:
        """Return how many steps apart samples are kept: the waveform is wanted."""
        return max(1, min(n_steps // LONGEST_WAVEFORM, round(FINEST_WAVEFORM / plan.step)))

    def settled(self, width: float) -> float:
        """Return a hundredth of a width."""
        return SETTLED * width

    def measured_from(self, t_stop: float, warmup: float | None) -> float:
        """Return when nine tenths have gone by."""
        return max(warmup or 0.0, SETTLED_BY * t_stop)


class LCA(Gradient):
    """The locally competitive algorithm, with a soft or a hard threshold."""

    def ranges(self, model: SparseCodingModel, x: Array) -> Ranges:
        """Estimate how large the signals become."""
        return lca_ranges(model, x)

    def plan(
        self,
        model: SparseCodingModel,
        x: Array,
        width: float | None,
        step: float | None,
        smoothing: Smoothing = LOGISTIC,
    ) -> Plan:
        """Choose or check width and step."""
        self.check_logistic(smoothing)
        ranges = self.ranges(model, x)
        if self.dynamics.threshold == "hard":
            check_atoms(model)
        rate, theta = max(1.0, float(np.linalg.norm(model.A, 2)) ** 2), lca_model(model).prior.lam
        plan = settling_plan(model, x, width=width, step=step, rate=rate, theta=theta)
        return Plan(plan, self.dynamics, ranges)

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up leaky integrators that inhibit each other."""
        return lca(model, x, threshold=self.dynamics.threshold, **wiring)

    def what(self) -> str:
        """Say what it does."""
        return f"minimised by LCA, {self.dynamics.threshold} threshold lam sigma^2"

    def read(self, model: SparseCodingModel, u: Array, width: float) -> Array:
        """Return the code behind the threshold."""
        prior, hard = lca_model(model).prior, self.dynamics.threshold == "hard"
        s = threshold_code(u, prior.lam, signed=prior.signed, hard=hard, width=width)
        # of a hard threshold there is only the foot of the comparator's step between 0 and theta
        return np.where(np.abs(s) < (prior.lam / 2 if hard else ZERO * width), 0.0, s)
