"""What dynamics are to a circuit that an encoder drives: one that gives each latent a law, or one that keeps states.

Neither is in Fang et al. 2022: see `circuitlsc.circuit.variational` and `circuitlsc.circuit.memory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from circuitlsc.circuit.cells import Cell, ShiftedThreshold
from circuitlsc.circuit.graph import SignalFlowGraph
from circuitlsc.circuit.memory import amortised, largest_weight
from circuitlsc.circuit.variational import check_source, split, variational
from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import Features
from circuitlsc.model.smoothing import LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.stream import Stream
from circuitlsc.model.weight_noise import weight_noise_profile
from circuitlsc.planning.plan import (
    Plan,
    encoded_plan,
    encoded_ranges,
)
from circuitlsc.planning.scaling import Ranges
from circuitlsc.planning.stepping import StepPlan
from circuitlsc.sampling.dynamics import System

NOTHING = 1e-12  # units: what a simulator may leave of a rectified code that is 0
LONGEST_HELD = 0.1  # tau: a stand-alone deck's noise is held so long at most where the step may be longer
TOO_WIDE = 0.05  # of the variance of a mode, from where on noise of weights is warned of
POORLY = 0.05  # conditioning of a kernel


class Variational(System):
    """An encoder gives each latent a law, which noise cells sample: no energy, no loop, and no relaxation.

    ``u`` is the noise (and ``u2`` .. ``u4`` of the product form); the Laplace draw (``laplace``) and the threshold
    (``kappa``) are kept beside it, and ``s`` is the circuit's own output where the draw is beyond the threshold.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        encoder: Encoder | None = None,
        source: str | None = None,
        features: Features | None = None,
    ) -> None:
        super().__init__(dynamics, features=features)
        if encoder is None:
            raise InputError(
                'dynamics.kind = "variational" needs an encoder, and none is given. Give encoder=Encoder.load(..).'
            )
        self.encoder, self.source = encoder, check_source("product" if source is None else source)

    def ranges(self, model: SparseCodingModel, x: Array) -> Ranges:
        """Estimate how large the signals become."""
        return encoded_ranges(self.encoder, x)

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
        self.encoder.check_fits(model.n_features, model.n_latents, signed=model.prior.signed)
        return encoded_plan(self.encoder, x, self.dynamics, width=width, step=step)

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up encoder, noise and threshold."""
        return variational(model, x, self.encoder, source=self.source, **wiring)

    def split(self, graph: SignalFlowGraph) -> tuple[SignalFlowGraph | None, SignalFlowGraph]:
        """Return the encoder, and noise and threshold."""
        return split(graph)

    def what(self) -> str:
        """Say what it does."""
        sizes = "-".join(str(n) for n in (self.encoder.n_features, *self.encoder.hidden, len(self.encoder.weights[-1])))
        return f"an encoder {sizes} gives the law that is sampled; Laplace draws by {self.source}"

    def equation(self) -> str:
        """Return the line of a deck's head that says what is sampled."""
        return f"law      s = 0 if |L| <= kappa, else mu + b sign(L) (|L| - kappa); {self.what()}"

    def layout(self, form: str) -> str:
        """Say that nothing feeds back, so that it has no form."""
        return "feed-forward"

    def observed(self, graph: SignalFlowGraph) -> tuple[Cell, ...]:
        """Return the other noise voltages, the Laplace draw, the threshold and the code."""
        return (*graph.integrators[1:], *(c for c in graph.cells if c.letter in ("laplace", "kappa", "s")))

    def code(
        self, model: SparseCodingModel, graph: SignalFlowGraph, values: Mapping[str, Array], width: float
    ) -> Array:
        """Return the circuit's output where abs(L) > kappa, and 0 elsewhere: there it is what leaks through a comparator."""
        threshold = next(cell for cell in graph.cells if isinstance(cell, ShiftedThreshold))
        beyond = threshold.active(values["laplace"], values["kappa"]) & (np.abs(values["s"]) > NOTHING)
        return np.where(beyond, values["s"], 0.0)

    def read(self, model: SparseCodingModel, u: Array, width: float) -> Array:
        """Refuse: noise alone says nothing of a code."""
        raise InputError("the code of a variational circuit is no function of u alone. Read the samples' s.")

    def active(self, model: SparseCodingModel, u: Array, width: float) -> NDArray[np.bool_]:
        """Refuse: noise alone says nothing of a code."""
        raise InputError(
            "which latents are active is no function of u alone in a variational circuit. Use samples.s != 0."
        )

    def held(self, step: float) -> float:
        """Return a time that a noise cell resolves: held for h, noise makes a variance short by h^2/12."""
        return min(step, LONGEST_HELD)


class Amortised(System):
    """Langevin dynamics of a set of inputs whose states are kept in plastic weights while others are on."""

    def __init__(
        self,
        dynamics: Dynamics,
        encoder: Encoder | None = None,
        source: str | None = None,
        features: Features | None = None,
    ) -> None:
        super().__init__(dynamics, encoder, source)
        if features is None:
            raise InputError(
                'dynamics.kind = "amortised" keeps the states of several inputs, and x is one. Give x with rows, and hold.'
            )
        self.features = features
        if features.rank < features.N and not dynamics.restricted:
            raise InputError(
                f"dynamics.features = {dynamics.features!r} has rank {features.rank} for {features.N} inputs: their states "
                'cannot move by themselves. Give features of rank N ("one-hot" always is; others need as many as inputs, or '
                "more, and rows of x that differ), or restricted = true: as hold goes to 0 that samples the posterior under "
                "the condition that U is W Phi."
            )
        if dynamics.noise == "weight" and dynamics.write == "dual" and not features.orthonormal:
            raise InputError(
                'dynamics.noise = "weight" heats the states of an input by |phi_n|^2, and these features are not orthonormal: '
                'dual vectors do not make up for it. Use noise = "neuron", or write = "same" (exact as hold goes to 0), or '
                'features = "one-hot" or "orthogonal".'
            )
        if dynamics.write == "same" and dynamics.noise == "neuron" and not features.orthonormal:
            raise InputError(
                'dynamics.write = "same" writes each input by its features, which are not orthonormal: the states of one input '
                'would move with those of others. Use write = "dual", or features = "one-hot" or "orthogonal".'
            )

    def ranges(self, model: SparseCodingModel, x: Array) -> Ranges:
        """Estimate how large the signals become, weights included."""
        ranges = super().ranges(model, x)
        return replace(ranges, w=largest_weight(self.features, ranges.u))

    def plan(
        self,
        model: SparseCodingModel,
        x: Array,
        width: float | None,
        step: float | None,
        smoothing: Smoothing = LOGISTIC,
    ) -> Plan:
        """Choose or check width and step, as for one input that moves as fast as the one that is written hardest."""
        plan, faster = super().plan(model, x, width, step, smoothing), self._faster
        if step is None and faster > 1 + 1e-9:
            line = f"step {plan.step.step / faster:.4g} tau, as inputs are written by v with v phi up to {faster:.3g}"
            shorter = replace(plan.step, step=plan.step.step / faster, explanation=(*plan.step.explanation, line))
            plan = replace(plan, step=shorter)
        return replace(plan, ranges=self.ranges(model, x), step=replace(plan.step, warnings=self._warned(plan)))

    @property
    def _faster(self) -> float:
        """How many times as fast as a neuron the states of an input move while it is on, at most."""
        v = self.features.phi if self.dynamics.write == "same" else self.features.dual
        return float((v * self.features.phi).sum(0).max())

    def _warned(self, plan: Plan) -> tuple[str, ...]:
        """Return the plan's warnings, and what the features give rise to."""
        warnings, found = plan.step.warnings, self.features
        if (leak := self.dynamics.leak or 0.0) > 0:
            warnings += (
                f"leak = {leak:g} / tau is a Gaussian prior on u as hold goes to 0, of precision N leak = {found.N * leak:g} "
                "with orthonormal or dual vectors: the verdict's reference has none.",
            )
        if found.rank < found.N:
            warnings += (
                f"the features have rank {found.rank} for {found.N} inputs: as hold goes to 0 the posterior is sampled under "
                "the condition that U is W Phi, and at longer holds it is not that either.",
            )
        elif found.conditioning < POORLY:
            warnings += (
                f"the kernel of the features has a smallest eigenvalue of {found.conditioning:.2g} times the largest, below "
                f"{POORLY:g}: dual vectors are large, and so is what parts do wrong. Give more features, or others.",
            )
        return warnings

    def measured_from(self, t_stop: float, warmup: float | None) -> float:
        """Return from when on a stand-alone deck measures means, in tau."""
        return super().measured_from(t_stop, warmup) * (self.features.N if warmup is None else 1)

    def warned_of(self, stream: Stream, plan: StepPlan) -> tuple[str, ...]:
        """Return what noise of weights does at the start of a visit, if that is much."""
        n, rate = self.features.N, plan.fastest_mode
        if self.dynamics.noise != "weight" or n == 1:
            return ()
        excess = float(weight_noise_profile(rate, stream.hold, n)) - 1
        if excess <= TOO_WIDE:
            return ()
        shortest = TOO_WIDE / ((1 - 1 / n) * rate)
        return (
            f"noise of weights makes the variance of the fastest mode (rate {rate:.3g} / tau) {1 + excess:.3g} times what it "
            f"should be at the start of a visit of {stream.hold:g} tau, and too small at its end. Give hold <= {shortest:.2g} "
            f'(within {TOO_WIDE:.0%}), or noise = "neuron", which is exact.',
        )

    def graph(self, model: SparseCodingModel, x: ArrayLike, **wiring: Any) -> SignalFlowGraph:
        """Wire up neurons on a memory."""
        return amortised(model, x, self.features, self.dynamics, **wiring)

    def what(self) -> str:
        """Say what it does, with the features."""
        d, f = self.dynamics, self.features
        written = f"{d.noise} noise, {d.write} write vectors"
        return f"{super().what()} for {f.N} inputs, whose states are in {f.H} weights of each latent; {written}"
