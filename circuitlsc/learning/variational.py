r"""The variational learner: an encoder that says the law of the codes in one pass, and with it A, pi and sigma if wanted.

.. math::
    \mathrm{ELBO}_w = E_q[\log p(x | s)] - w\,\mathrm{KL}(q \,\|\, p), \qquad
    q = \prod_k \mathrm{ThresholdedLaplace}(\mu_k, b_k, \kappa_k), \qquad (\mu, \rho, \eta) = \mathrm{encoder}(x)

Fallah & Rozell 2022. For a linear generator the bound and its gradient have closed forms (``objective = "exact"``, not in the
paper); their estimators from J draws are there beside it. Gradients go back through the layers by hand, and Adam (Kingma &
Ba 2015) takes the steps, with a rate that falls as half a cosine. w grows from 0.02 to 1 over a first share of the steps
(``warmup``). What w does to a gradient needs no code of its own: w ELBO at the noise level sigma sqrt(w) has the data term of
ELBO_w and w times its divergence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import expit

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, check_number
from circuitlsc.io.progress import Progress
from circuitlsc.io.report import Facts, Report
from circuitlsc.io.shown import Shown
from circuitlsc.learning.adam import adam_step
from circuitlsc.learning.checkpoint import Resumable, run_to_end
from circuitlsc.learning.history import Recorder
from circuitlsc.learning.learned import Learned
from circuitlsc.learning.settings import Settings
from circuitlsc.learning.source import Rows, Source, checked_batch, fingerprint
from circuitlsc.model.data import MOST_OF_A_DICTIONARY
from circuitlsc.model.encoder import OBJECTIVES, REDUCES, THRESHOLDS, Encoder, Heads
from circuitlsc.model.network import Network
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.variational import ElboGradients, elbo, elbo_gradients, estimate_gradients, law_of

LEARNABLE = ("A", "pi", "sigma")
_LAST = 0.75  # where the average begins, as a share of the steps
_WARM = 0.02  # the divergence's weight at the first step of a warm-up
_FLOOR = 0.01  # of the falling rate
_CLIP = 50.0  # of a head's gradient, nats per unit of the head
_GAMMA = 3.0  # alpha of a Gamma threshold, if it is chosen
_WEIGHTS, _DRAWS, _ASIDE = 4, 5, 6  # streams of their own, beside those of inputs (1) and of the first dictionary (2)
_MORE = {
    "error": ("(data units)^2", "E |x - A s|^2 / D, mean over the batch of the record"),
    "activity": ("", "P(active), mean over latents and the batch of the record"),
    "size": ("model units", "E |s| of a latent, mean over the batch of the record"),
    "elbo": ("nats", "ELBO of a training input, mean over the batch of the record"),
    "loss": ("nats", "what is minimised, of an input: mean since the last record"),
}
_HELD = {"held_out": ("nats", "ELBO of a held-out input, mean")}


@dataclass(frozen=True, eq=False)
class VariationalRun(Shown):
    """The result of `VariationalLearner.run`.

    Attributes
    ----------
    encoder : Encoder
        As it stood last.
    learned : Learned or None
        The parameters, if A, pi or sigma were learned: averages over the last quarter, and final.
    history : xarray.Dataset
        Against ``time`` (in steps), of the inputs of the record's batch: ``elbo`` in nats per input, ``error``
        (E abs(x - A s)^2 / D), ``activity`` (mean P(active)), ``size`` (mean E abs(s)) and for each latent ``usage``;
        ``loss``, the mean of what is minimised since the last record, ``held_out``, the ELBO of a held-out input, if there
        are some; pi, lam, sigma, u0, ``norm`` and snapshots of ``A``. `save_history` writes it.
    """

    encoder: Encoder
    learned: Learned | None
    history: xr.Dataset

    def _line(self) -> str:
        return f"{self.encoder!r}, ELBO {float(self.history['elbo'][-1]):.4g} nats per input"

    def _shows(self) -> Report:
        said = Report((Facts((("ELBO", f"{float(self.history['elbo'][-1]):.4g} nats per input"),)),))
        shown = self.encoder._shows() + said
        return shown if self.learned is None else shown + self.learned._shows()


@dataclass(frozen=True, eq=False, kw_only=True)
class VariationalLearner(Settings):
    r"""Trains an encoder by the ELBO of thresholded Laplace codes, and the dictionary, prior and noise level with it.

    Parameters
    ----------
    A0 : array, shape (D, K)
        Dictionary that is known, or to start from, in data units per model unit.
    pi, lam, sigma : float
        P(active), 0 < pi < 1, rate of the slab, 1/(model unit), which is held, and noise level, data units; to start from
        if they are learned.
    source : Source, SparseCodingModel or array
        As for `Learner`; the same seed gives the same inputs.
    seed : int
        Of the inputs, the first weights and the draws of an estimator, each a stream of its own; >= 0.
    signed : bool
        Whether codes may be negative; if not, the law is rectified.
    hidden : tuple of int
        Sizes of the hidden layers; () for an encoder without.
    objective : str
        "exact": the ELBO in closed form. "straight-through" or "pathwise": estimated from ``draws`` (Fallah & Rozell 2022).
    reduce : str
        Of an estimator: "average" over the draws, or "max", that of least loss.
    draws : int
        J, of an estimator.
    threshold : str or None
        "learned" (a third head), "fixed" or "gamma", as for `Encoder` (chosen: learned; fixed for an estimator).
    numbers : mapping or None
        ``{"lam": ...}`` of a fixed threshold (chosen: -log(pi)/lam), ``{"alpha": ..., "beta": ...}`` of a Gamma threshold
        (chosen: alpha = 3, the mean as a fixed one has it); model units.
    encoder : Encoder or None
        One to go on from: layers and threshold are then its own.
    learn : tuple of str
        Which of "A", "pi", "sigma" are learned with the encoder; the others are held.
    steps : int
        Steps, a batch each.
    batch : int
        Inputs of a step.
    rate : float or None
        Largest change of a weight in a step (chosen: 0.005, 0.003 if A is learned, 0.001 for an estimator).
    rate_model : float
        Likewise of A, log sigma and logit pi.
    warmup : float or None
        Share of the steps over which the divergence's weight grows to 1 (chosen: 0, or 0.5 if A is learned).
    held_out : int
        Inputs that training never sees, by which it is judged: further ones of the source; of `Rows` a tenth of the rows at
        most; 0 for none.
    records, snapshots : int
        How many records of the history, and copies of A, there are about.

    Raises
    ------
    InputError
        If a value is out of range, an encoder does not fit A0 or the sign of the codes, or an estimator is to learn a
        threshold or pi.

    Notes
    -----
    The bound that is estimated is the published one: its divergence is that of the noise before the threshold, which does not
    see P(active), so that nothing would hold a threshold that is learned, or pi. ``elbo`` of the history is the law's own.
    Weights and A are trained for inputs over the root mean square of the first batch and codes in units of 1/lam, so that
    rates do not depend on units; the encoder that is returned takes inputs as they are. The gradient by a head of one input is
    cut at 50 nats (in units of 1/lam): codes of a Laplace prior have heavy tails.

    Examples
    --------
    >>> model = SparseCodingModel(bars(2), SpikeSlab(pi=0.3, lam=1.0), sigma=0.5)
    >>> given = {"A0": model.A, "pi": 0.3, "lam": 1.0, "sigma": 0.5, "source": model, "seed": 1}
    >>> VariationalLearner(**given, hidden=(8,), steps=50).run().encoder
    Encoder(4-8-12, 4 latents, learned threshold, rectified)
    """

    pi: float
    hidden: tuple[int, ...] = (32,)
    objective: str = "exact"
    reduce: str = "average"
    draws: int = 20
    threshold: str | None = None
    numbers: Mapping[str, float] | None = None
    encoder: Encoder | None = None
    learn: tuple[str, ...] = ()
    steps: int = 4000
    batch: int = 100
    rate: float | None = None
    rate_model: float = 5e-3
    warmup: float | None = None
    held_out: int = 1000

    def __post_init__(self) -> None:
        listed = list(self.learn) if isinstance(self.learn, (tuple, list)) else [None]
        if not all(isinstance(what, str) and what in LEARNABLE for what in listed) or len({*listed}) < len(listed):
            raise InputError(
                f"VariationalLearner: learn = {self.learn!r} cannot be used. Give a tuple of different words out of "
                f"{', '.join(LEARNABLE)}; () for the encoder alone."
            )
        with_A = "A" in listed
        chosen = (3e-3 if with_A else 5e-3) if self.objective == "exact" else 1e-3
        self._keep(learn=tuple(self.learn), rate=chosen if self.rate is None else self.rate)
        self._keep(warmup=(0.5 if with_A else 0.0) if self.warmup is None else self.warmup)
        if self.threshold is None:
            self._keep(threshold="learned" if self.objective == "exact" else "fixed")
        positive = ("pi", "lam", "sigma", "rate", "rate_model")
        self._check(positive=positive, steps=1, batch=1, draws=1, held_out=0)
        if self.pi >= 1:
            raise InputError(
                f"VariationalLearner: pi = {self.pi!r}, but the codes' law has a spike, and so must their prior. "
                "Give 0 < pi < 1."
            )
        why = "it is a share of the steps"
        share = check_number("VariationalLearner", "warmup", self.warmup, why, high=1.0, above=False)
        self._keep(warmup=share)
        for name, words in (("objective", OBJECTIVES), ("reduce", REDUCES), ("threshold", THRESHOLDS)):
            if getattr(self, name) not in words:
                value = getattr(self, name)
                raise InputError(f"VariationalLearner: {name} = {value!r} is unknown. Give one of {', '.join(words)}.")
        SparseCodingModel(
            np.asarray(self.A0), SpikeSlab(self.pi, self.lam, self.signed), self.sigma
        )  # or it says why not
        self._keep_encoder()
        if self.objective != "exact" and (self.threshold == "learned" or "pi" in self.learn):
            what = "a learned threshold" if self.threshold == "learned" else "pi"
            raise InputError(
                f"VariationalLearner: objective = {self.objective!r} cannot learn {what}: the published bound does not see "
                'P(active). Give threshold = "fixed" or "gamma" and hold pi, or objective = "exact".'
            )

    def _keep_encoder(self) -> None:
        """Keep layers and threshold of the first encoder; raise InputError if they do not fit."""
        D, K = np.shape(self.A0)
        if self.encoder is not None:
            if not isinstance(self.encoder, Encoder):
                raise InputError(f"VariationalLearner: encoder = {self.encoder!r} is none. Give an Encoder, or None.")
            self.encoder.check_fits(D, K, signed=self.signed)
            kept = {"hidden": self.encoder.hidden, "threshold": self.encoder.threshold}
            self._keep(**kept, numbers=dict(self.encoder.numbers))
            return
        sizes = self.hidden if isinstance(self.hidden, (tuple, list)) else (self.hidden,)
        hidden = tuple(check_count("VariationalLearner: hidden, a layer's size", size, 1) for size in sizes)
        ends = (D, *hidden, 3 * K)
        if (most := max(a * b for a, b in pairwise(ends))) > MOST_OF_A_DICTIONARY:
            raise InputError(
                f"VariationalLearner: hidden = {self.hidden!r} has a layer of {most:,} weights, and at most "
                f"{MOST_OF_A_DICTIONARY:,} are trained. Give smaller layers."
            )
        chosen: Mapping[str, float] = {}
        if self.threshold != "learned":
            threshold, alpha = -math.log(self.pi) / self.lam, (self.numbers or {}).get("alpha", _GAMMA)
            chosen = {"lam": threshold} if self.threshold == "fixed" else {"alpha": alpha, "beta": alpha / threshold}
        self._keep(hidden=hidden, numbers={**chosen, **(self.numbers or {})})
        first_encoder(self)

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, JSON-ready."""
        layers = () if self.encoder is None else (*self.encoder.weights, *self.encoder.biases)
        kept = {"numbers": dict(self.numbers or {}), "encoder": [fingerprint(layer) for layer in layers]}
        words = {"method": "variational", "hidden": list(self.hidden), "learn": sorted(self.learn)}
        return {**super().settings(), **words, **kept}

    def run(
        self,
        *,
        progress: Progress = None,
        checkpoint: Path | str | None = None,
        every: float = 60.0,
    ) -> VariationalRun:
        """Train; arguments as for `Learner.run`, but ``progress`` and the history's time count steps.

        Raises
        ------
        InputError
            If the checkpoint is of other settings or no checkpoint, or if training diverges.
        KeyboardInterrupt
            At Ctrl-C, after the checkpoint is written.
        """
        settings, run = self.settings(), _Run(self)
        run_to_end(run, settings, checkpoint=checkpoint, every=every, progress=progress, unit="steps", told_every=0.1)
        learned = run.learned(settings) if self.learn else None
        return VariationalRun(run.encoder(meta=settings), learned, run.recorder.dataset(settings, "steps"))


def first_encoder(learner: VariationalLearner, unit: float = 1.0) -> Encoder:
    """Return the encoder that training starts from: small heads around P = pi and b = 1/(2 lam), or the one that is given.

    ``unit`` is the size of inputs, in data units: their root mean square.
    With a threshold that is held b starts at 1/lam, where P is pi for a fixed one.
    """
    if learner.encoder is not None:
        return learner.encoder
    (D, K), learned = np.shape(learner.A0), learner.threshold == "learned"
    sizes = (D, *learner.hidden, (3 if learned else 2) * K)
    rng = np.random.default_rng([learner.seed, _WEIGHTS])
    drawn = Network.drawn(sizes, rng)
    weights, biases = list(drawn.weights), list(drawn.biases)
    weights[-1] *= 0.1
    weights[0] /= unit
    weights[-1][:K] /= learner.lam
    if not learner.signed:
        biases[-1][:K] = 0.5 / learner.lam  # else half of the rectified slab would be lost
    biases[-1][K : 2 * K] = -math.log(learner.lam * (2 if learned else 1))
    biases[-1][2 * K :] = math.log(learner.pi / (1 - learner.pi))
    return Encoder(
        weights=tuple(weights),
        biases=tuple(biases),
        threshold=learner.threshold or "learned",
        numbers=learner.numbers or {},
        rectified=not learner.signed,
    )


def threshold_slope(encoder: Encoder, rho: Array, kappa: Array) -> Array | float:
    """Return d kappa/d rho: 0 for a head of its own, else that of kappa = lam/b, or alpha log(1 + 1/(b beta))."""
    if encoder.threshold == "learned":
        return 0.0
    if encoder.threshold == "fixed":
        return -kappa
    return np.asarray(-encoder.numbers["alpha"] / (1.0 + encoder.numbers["beta"] * np.exp(rho)))


def set_aside(learner: VariationalLearner) -> tuple[Source, Array]:
    """Return the source of training, and held-out inputs (n, D): rows that are set aside, or further ones of the source."""
    source, wanted = learner._source, learner.held_out
    if isinstance(source, Rows):
        order = np.random.default_rng([learner.seed, _ASIDE]).permutation(len(source.X))
        aside = min(wanted, len(order) // 10)
        return Rows(source.X[np.sort(order[aside:])], source.shuffle), source.X[order[:aside]]
    if not wanted:
        return source, np.empty((0, source.n_features))
    return source, checked_batch(source, learner.steps, wanted, learner.seed)


class _Run(Resumable):
    """A run of as many pieces of work as steps, and all that a checkpoint keeps of it.

    All that is trained stands in one vector, over its natural size: weights, biases, A, log sigma and logit pi. Sizes are
    those of inputs of root mean square 1, and of codes in units of the slab, 1/lam.
    """

    def __init__(self, learner: VariationalLearner) -> None:
        self._learner, self.total = learner, learner.steps
        self._source, self._aside = set_aside(learner)
        first = self._inputs(0)
        unit = math.sqrt(float(np.mean(first**2))) or 1.0
        self._first = encoder = first_encoder(learner, unit)
        A0, K = np.asarray(learner.A0, dtype=float), np.shape(learner.A0)[1]
        numbers = [np.array(math.log(learner.sigma)), np.array(math.log(learner.pi / (1 - learner.pi)))]
        pieces = [*encoder.weights, *encoder.biases, A0, *numbers]
        sizes = [np.ones_like(piece) for piece in pieces]
        n = len(encoder.weights)
        self._head_sizes = np.where(np.arange(len(encoder.biases[-1])) < K, 1.0 / learner.lam, 1.0)
        sizes[0] /= unit
        sizes[n - 1] *= self._head_sizes[:, None]
        sizes[2 * n - 1] *= self._head_sizes
        if "A" in learner.learn:  # one that is held is A0 to the last bit
            sizes[2 * n] *= unit * learner.lam
        self._sizes = np.concatenate([size.ravel() for size in sizes])
        self.trained = np.concatenate([piece.ravel() for piece in pieces]) / self._sizes
        self.moments = np.zeros((2, len(self.trained)))
        self._shapes = [piece.shape for piece in pieces]
        self._ends = np.cumsum([0, *(piece.size for piece in pieces)])
        moving = [learner.rate_model * (what in learner.learn) for what in ("A", "sigma", "pi")]
        self._rates = np.repeat(np.array([learner.rate] * (2 * n) + moving, dtype=float), np.diff(self._ends))
        more = {**_MORE, **(_HELD if len(self._aside) else {})}
        self.recorder = Recorder(A0, np.linspace(0, learner.steps, learner.snapshots), more)
        self._each = max(1, learner.steps // learner.records)
        self.places = np.zeros(3, int)  # steps, those since the last record, those in the average
        self.loss, self.sum_A, self.sums = np.zeros(()), np.zeros_like(A0), np.zeros(3)

    @property
    def time(self) -> int:
        """Steps that are done."""
        return int(self.places[0])

    def _inputs(self, index: int) -> Array:
        return checked_batch(self._source, index, self._learner.batch, self._learner.seed)

    def _piece(self, k: int) -> Array:
        """Return weights, biases, A, log sigma or logit pi as they stand."""
        part = slice(self._ends[k], self._ends[k + 1])
        return np.reshape(self.trained[part] * self._sizes[part], self._shapes[k])

    def encoder(self, meta: Mapping[str, Any] | None = None) -> Encoder:
        """Return the encoder as it stands, for inputs as they are."""
        n = len(self._first.weights)
        layers = [self._piece(k) for k in range(2 * n)]
        return replace(self._first, weights=tuple(layers[:n]), biases=tuple(layers[n:]), meta=meta or {})

    @property
    def _A(self) -> Array:
        """The dictionary as it stands."""
        return self._piece(len(self._shapes) - 3)

    def _numbers(self) -> Array:
        """Return pi, lam and sigma."""
        log_sigma, logit_pi = self.trained[-2:]
        return np.array([expit(logit_pi), self._learner.lam, np.exp(log_sigma)])

    def _model(self, weight: float = 1.0) -> SparseCodingModel:
        """Return the model as it stands, its noise level times the root of the divergence's weight."""
        pi, lam, sigma = map(float, self._numbers())
        return SparseCodingModel(self._A, SpikeSlab(pi, lam, self._learner.signed), sigma * math.sqrt(weight))

    def _weight(self) -> float:
        """Return the weight of the divergence in the next step."""
        warm = float(self._learner.warmup or 0.0) * self.total
        return 1.0 if self.time >= warm else _WARM + (1.0 - _WARM) * self.time / warm

    def advance(self) -> None:
        """Take one step, by the next batch."""
        learner, x, step = self._learner, self._inputs(self.time), self.time + 1
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                loss, gradient = self._gradient(x, self._weight())
                self._step(gradient)
                if not (math.isfinite(loss) and np.isfinite(self.trained).all()):
                    raise InputError("weights are not finite.")
                self._count(x, loss)
        except InputError as error:  # of numbers that are no model, encoder or law
            raise InputError(
                f"VariationalLearner: it diverged at step {step} ({str(error).rstrip('.')}): "
                f"rate = {learner.rate!r} or rate_model = {learner.rate_model!r} is too large, or inputs are. Lower it."
            ) from None

    def _count(self, x: Array, loss: float) -> None:
        """Note a step that was taken."""
        self.places[:2] += 1
        self.loss += loss
        if self.time > _LAST * self.total:
            self.sum_A += self._A
            self.sums += self._numbers()
            self.places[2] += 1
        if self.time % self._each == 0 or self.time == self.total:
            self._record(x)

    def _gradient(self, x: Array, weight: float) -> tuple[float, Array]:
        """Return the loss of an input of a batch, and its gradient by all that is trained."""
        encoder, model = self.encoder(), self._model(weight)
        (n, D), (pi, _, sigma) = x.shape, self._numbers()
        values = encoder.layers(x)
        heads = encoder.read(values[-1])
        found = self._by_heads(encoder, model, x, heads)
        raw = np.concatenate([found.mu, found.rho, *([found.eta] if encoder.threshold == "learned" else [])], axis=-1)
        # w ELBO at sigma sqrt(w) has w times the constant that belongs to the data term
        constant = -0.5 * (1.0 - weight) * D * math.log(2 * math.pi * sigma**2)
        value = weight * (float(np.mean(found.value)) + 0.5 * D * math.log(weight)) + constant
        most = _CLIP / self._head_sizes
        by_weights, by_biases = encoder.network.by_layers(values, np.clip(weight * raw, -most, most))
        by_log_sigma = weight**1.5 * sigma * found.sigma - (1.0 - weight) * n * D
        by_logit_pi = weight * pi * (1.0 - pi) * found.pi
        pieces = [*by_weights, *by_biases, weight * found.A, np.array(by_log_sigma), np.array(by_logit_pi)]
        return -value, -np.concatenate([piece.ravel() for piece in pieces]) * self._sizes / n

    def _by_heads(self, encoder: Encoder, model: SparseCodingModel, x: Array, heads: Heads) -> ElboGradients:
        """Return the bound and its gradient, in closed form or from draws: those of a step depend on its number alone."""
        learner, (mu, rho, kappa) = self._learner, heads
        if learner.objective == "exact":
            return elbo_gradients(model, x, mu, rho, kappa=kappa, slope=threshold_slope(encoder, rho, kappa))
        rng = np.random.default_rng([learner.seed, _DRAWS, self.time])
        if encoder.threshold == "gamma":
            shape, rate = encoder.numbers["alpha"], encoder.numbers["beta"]
            kappa = rng.gamma(shape, 1.0 / rate, (learner.draws, *mu.shape)) / np.exp(rho)
        how: dict[str, Any] = {"estimator": learner.objective, "reduce": learner.reduce, "draws": learner.draws}
        return estimate_gradients(model, x, mu, rho, kappa, **how, rng=rng, slope=-kappa)  # lam is held

    def _step(self, gradient: Array) -> None:
        """Take a step of Adam."""
        falling = 0.5 * (1.0 + math.cos(math.pi * self.time / self.total)) + _FLOOR
        self.trained -= adam_step(self.moments, gradient, falling * self._rates, self.time + 1)

    def _record(self, x: Array) -> None:
        encoder, model = self.encoder(), self._model()
        mu, rho, kappa = encoder.heads(x)
        law = law_of(model, mu, rho, kappa)
        error = np.mean((x - law.mean @ model.A.T) ** 2) + np.mean(law.variance @ model.powers) / x.shape[1]
        means = np.array([error, np.mean(law.p_active), np.mean(law.mean_size)])
        more = [float(np.mean(elbo(model, x, mu, rho, kappa))), float(self.loss / self.places[1])]
        if len(self._aside):
            more.append(float(np.mean(elbo(model, self._aside, *encoder.heads(self._aside)))))
        pi, lam, sigma = map(float, self._numbers())
        slow = (-math.log(pi) / lam, lam, sigma)
        self.recorder.add(float(self.time), model.A, slow, means, law.p_active.mean(0), tuple(more))
        self.loss[...], self.places[1] = 0.0, 0

    def learned(self, meta: Mapping[str, Any]) -> Learned:
        """Return what a finished run has learned beside the encoder."""
        A = self.sum_A / self.places[2] if "A" in self._learner.learn else self._A
        average = A, self.sums / self.places[2]
        return Learned.of(self._learner, average, (self._A, self._numbers()), meta)

    def state(self) -> dict[str, Any]:
        """Return the arrays that hold the state."""
        return {name: getattr(self, name) for name in ("trained", "moments", "places", "loss", "sum_A", "sums")}

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `arrays` returned; raise ValueError or KeyError if it is something else."""
        super().restore(arrays)
        if not 0 <= self.time <= self.total:
            raise ValueError("places")
