r"""Autoencoders whose codes are sampled: the Langevin autoencoder as published, and what it is compared with.

.. math:: z_n = W \phi(x_n), \qquad
          W \leftarrow W - \eta \sum_{n \in \text{batch}} \nabla_z E(z_n, x_n)\, \phi_n^T + \sqrt{2 T \eta}\; \xi

Taniguchi et al. 2022 (Algorithm 2): T steps of the encoder's last layer W for each batch, with or without the Metropolis rule
of the batch's energy; then a step of the generator and of the features along the mean gradient. Beside it a Gaussian encoder
that is trained by the bound (Kingma & Welling 2014), and Langevin steps of each code from a draw of such an encoder (Hoffman
2017). What differs from the published code: steps of the generator and of encoders by Adam; layers without normalisation, for
which eta is ``step`` over the batch's sum of abs(phi)^2 (the published 1e-4 is a ``step`` of about 0.05).

The published noise belongs to a batch, not to the data: over n inputs, of which a batch has B, codes have the temperature n/B
as steps get short (``temperature = B/n`` makes it 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_count, check_flag, check_number, check_positive, real_array
from circuitlsc.io.progress import Progress, told_whole
from circuitlsc.learning.adam import adam_step
from circuitlsc.model.features import Features
from circuitlsc.model.generator import Energy, Generator
from circuitlsc.model.network import Network, flat

METHODS = ("langevin", "variational", "warm-started")
PUBLISHED_SD = 0.05  # of codes around W phi, where the published bound is taken
_LAST = 0.75  # where the average of the generator begins, as a share of the steps
_FLOOR = 0.01  # of the falling rate
_FIRST, _BATCHES, _NOISE = 8, 9, 10  # streams of random numbers
_ALL = 2_000  # inputs at a time, of a bound


class Step(NamedTuple):
    """A step of W: where it leads, the energy there (None if it was not wanted), and what share of chains took it."""

    W: Array
    energy: Energy | None
    accepted: float


def amortised_step(
    W: Array,
    phi: Array,
    here: Energy,
    eta: float,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    at: Callable[[Array], Energy] | None = None,
) -> Step:
    """Take one Langevin step of the weights that make codes of features.

    Parameters
    ----------
    W : array, shape (..., K, H)
        Codes over features; leading axes are chains.
    phi : array, shape (n, H)
    here : Energy
        At W.
    eta : float
        Step of a weight, in 1/(unit of phi)^2.
    rng : numpy.random.Generator
    temperature : float
        T of exp(-sum_n E_n/T).
    at : callable or None
        Energy and slopes of codes (..., n, K), by which a step is accepted or rejected (Metropolis): then the law is exact at
        every eta. None accepts all.
    """
    drift = eta * np.swapaxes(here.by_z, -1, -2) @ phi
    noise = math.sqrt(2 * temperature * eta) * rng.standard_normal(W.shape)
    new = W - drift + noise
    if at is None:
        return Step(new, None, 1.0)
    there = at(codes(new, phi))
    back = noise - drift - eta * np.swapaxes(there.by_z, -1, -2) @ phi
    gain = (here.value.sum(-1) - there.value.sum(-1)) / temperature
    gain = gain - (np.sum(back**2, (-1, -2)) - np.sum(noise**2, (-1, -2))) / (4 * temperature * eta)
    taken = np.log(rng.random(gain.shape)) < gain
    energy = Energy(
        np.where(taken[..., None], there.value, here.value),
        np.where(taken[..., None, None], there.by_z, here.by_z),
        None,
    )
    return Step(np.where(taken[..., None, None], new, W), energy, float(np.mean(taken)))


def codes(W: Array, phi: Array) -> Array:
    """Return z = W phi of every input, (..., n, K)."""
    return np.asarray(phi @ np.swapaxes(W, -1, -2))


def sample_amortised(
    generator: Generator,
    X: ArrayLike,
    features: Features,
    *,
    eta: float,
    steps: int,
    warmup: int,
    seed: int,
    chains: int = 8,
    thin: int = 1,
    metropolis: bool = True,
) -> tuple[Array, float]:
    """Sample the codes of a set of inputs, all at once, by steps of W (Taniguchi et al. 2022, Algorithm 1).

    Parameters
    ----------
    generator : Generator
    X : array, shape (N, D)
        In data units.
    features : Features
        Of these inputs; of rank below N they sample the posterior under the condition that the codes are W Phi.
    eta : float
        Step of a weight; > 0.
    steps, warmup, thin : int
        Steps that are kept, those before, and how many there are from draw to draw.
    seed, chains : int
    metropolis : bool
        Whether steps are accepted or rejected; if not, the law is off by the order of eta.

    Returns
    -------
    draws : array, shape (chains, steps // thin, N, K)
        In model units.
    accepted : float
        Share of the steps that were taken.

    Raises
    ------
    InputError
        If features are of another number of inputs, a number is out of range, or steps diverge.
    """
    X = real_array("x", X)
    check_positive("sample_amortised", "eta", eta, "a step must be positive")
    counts = (("steps", steps, 1), ("warmup", warmup, 0), ("seed", seed, 0), ("chains", chains, 1), ("thin", thin, 1))
    for name, value, least in counts:
        check_count(f"sample_amortised: {name}", value, least)
    if X.ndim != 2 or len(X) != features.N:
        raise InputError(
            f"sample_amortised: x has shape {X.shape}, and features are of {features.N} inputs. Give a row for each input."
        )
    if thin > steps:
        raise InputError(f"sample_amortised: thin = {thin!r}, but there are {steps} steps. Give thin <= {steps}.")
    rng, K, phi = np.random.default_rng(seed), generator.n_latents, features.phi.T
    tiled = np.tile(X, (chains, 1))

    def at(z: Array) -> Energy:
        value, by_z, _ = generator.energy(z.reshape(-1, K), tiled)
        return Energy(value.reshape(z.shape[:-1]), by_z.reshape(z.shape), None)

    W = features.weights_of(rng.standard_normal((chains, len(X), K)))
    here, accepted = at(codes(W, phi)), 0.0
    draws = np.empty((chains, steps // thin, len(X), K))
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        for t in range(warmup + steps // thin * thin):
            W, energy, taken = amortised_step(W, phi, here, eta, rng, at=at if metropolis else None)
            here = at(codes(W, phi)) if energy is None else energy
            if t >= warmup:
                accepted += taken
                if (t - warmup + 1) % thin == 0:
                    draws[:, (t - warmup) // thin] = codes(W, phi)
    if not np.isfinite(draws).all():
        raise InputError(f"sample_amortised: steps diverge: eta = {eta!r} is too large. Lower it.")
    return draws, accepted / (steps // thin * thin)


@dataclass(frozen=True, eq=False)
class GaussianEncoder:
    """A Gaussian law of the codes of an input: means, and standard deviations that are held, or a network's as well.

    Parameters
    ----------
    network : Network
        From inputs to K means, or to these and K log sd.
    sd : float or None
        Standard deviation of all codes, in model units; None if the network gives it.
    """

    network: Network
    sd: float | None = None

    def heads(self, X: Array) -> tuple[Array, Array]:
        """Return mean and log sd of inputs (n, D), each (n, K)."""
        raw = self.network.values(X)[-1]
        if self.sd is not None:
            return raw, np.full(raw.shape, math.log(self.sd))
        mean, log_sd = np.split(raw, 2, axis=-1)
        return mean, log_sd

    def bound(self, generator: Generator, X: Array, *, seed: int, draws: int = 10) -> Array:
        r"""Return an estimate of the bound on log p(x) of each input from a few draws, (n,), in nats.

        .. math:: E_q[-E(z, x) - \log q(z)]
        """
        rng, parts = np.random.default_rng(seed), []
        for x in np.split(X, range(_ALL, len(X), _ALL)):
            mean, log_sd = self.heads(x)
            constant = np.sum(log_sd, -1) + 0.5 * mean.shape[-1] * math.log(2 * math.pi)
            values = []
            for _ in range(draws):
                noise = rng.standard_normal(mean.shape)
                values.append(0.5 * np.sum(noise**2, -1) - generator.energy(mean + np.exp(log_sd) * noise, x).value)
            parts.append(constant + np.mean(values, 0))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class AutoencoderRun:
    """The result of `AutoencoderLearner.run`.

    Attributes
    ----------
    generator : Generator
        Average of its parameters over the last quarter of the steps.
    encoder : GaussianEncoder
        As it stood last; of a Langevin autoencoder W phi with the standard deviation of the published bound.
    step, energy : array, shape (n_records,)
        Steps, and the mean energy of an input's codes since the last record, in nats.
    accepted : float
        Share of the Langevin steps that were taken (1 without Metropolis).
    """

    generator: Generator
    encoder: GaussianEncoder
    step: Array
    energy: Array
    accepted: float


@dataclass(frozen=True, eq=False, kw_only=True)
class AutoencoderLearner:
    r"""Trains a generator with codes that a Langevin step, a Gaussian encoder, or both of them make.

    Parameters
    ----------
    generator : Generator
        To start from.
    X : array, shape (n, D)
        Inputs, in data units; batches go through them in random order.
    seed : int
        Of first weights, batches and noise.
    method : str
        "langevin": the Langevin autoencoder. "variational": a Gaussian encoder, trained by the bound. "warm-started": that
        encoder's draws are moved by Langevin steps of each code before the generator learns from them.
    hidden : tuple of int
        Sizes of the encoder's rectified layers; of "langevin" the last of them are the features.
    steps, batch : int
        Steps, of a batch each.
    inner : int
        Langevin steps for each batch; the generator learns from the mean over the codes from which they start ("langevin"),
        or from the codes at which they end ("warm-started").
    step : float
        Of the codes, in (model units)^2; of "langevin" eta times the batch's sum of abs(phi)^2: codes of inputs with the same
        features move by ``step`` times their mean slope.
    temperature : float
        T of the noise of "langevin"; 1 as published, batch/n for that of the data.
    metropolis : bool
        Of "langevin": accept or reject its steps by the batch's energy.
    train_features : bool
        Of "langevin": whether layers below W learn.
    rate : float
        Largest change of a parameter of generator or encoder in a step; it falls as half a cosine.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    generator: Generator
    X: ArrayLike
    seed: int
    method: str = "langevin"
    hidden: Sequence[int] = (128,)
    steps: int = 4000
    batch: int = 100
    inner: int = 2
    step: float = 0.05
    temperature: float = 1.0
    metropolis: bool = False
    train_features: bool = True
    rate: float = 1e-3
    records: int = 50
    _X: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        X, owner = real_array("x", self.X), type(self).__name__
        if X.ndim != 2 or 0 in X.shape:
            raise InputError(f"{owner}: x has shape {X.shape}, but inputs are rows. Give (n, D).")
        object.__setattr__(self, "_X", X)
        if self.method not in METHODS:
            raise InputError(f"{owner}: method = {self.method!r} is unknown. Give one of {', '.join(METHODS)}.")
        for name, least in (("seed", 0), ("steps", 1), ("batch", 1), ("inner", 1), ("records", 1)):
            check_count(f"{owner}: {name}", getattr(self, name), least)
        if self.batch > len(X):
            raise InputError(
                f"{owner}: batch = {self.batch}, but x has {len(X)} inputs. Give a batch of at most as many."
            )
        check_number(owner, "rate", self.rate, "it must not be negative", above=False)
        for name in ("step", "temperature"):
            check_positive(owner, name, getattr(self, name), "it must be positive")
        for name in ("metropolis", "train_features"):
            check_flag(f"{owner}: {name}", getattr(self, name))
        sizes = tuple(check_count(f"{owner}: hidden, a layer's size", size, 1) for size in self.hidden)
        if self.method == "langevin" and not sizes:
            raise InputError(f"{owner}: hidden = {self.hidden!r} leaves no features. Give a layer, or more.")
        object.__setattr__(self, "hidden", sizes)

    def run(self, *, progress: Progress = None) -> AutoencoderRun:
        """Train.

        Parameters
        ----------
        progress : bool, callable or None
            As for `Learner.run`; a callable is called now and then with the steps that are done and that there are.

        Raises
        ------
        InputError
            If training diverges.
        """
        rng = np.random.default_rng([self.seed, _FIRST])
        network, K = Network.drawn(self._sizes(), rng), self.generator.n_latents
        coder: _Langevin | _Gaussian
        coder = _Langevin(self, network, K, rng) if self.method == "langevin" else _Gaussian(self, network)
        generator, total = self.generator, 0.0
        trained = np.concatenate([generator.parameters, coder.network.parameters])
        split = len(generator.parameters)
        moments, average, kept = np.zeros((2, len(trained))), np.zeros(split), 0
        records: list[tuple[int, float]] = []
        order, each = np.random.default_rng([self.seed, _BATCHES]), max(1, self.steps // self.records)
        noise = np.random.default_rng([self.seed, _NOISE])
        steps, over = self.steps, np.errstate(over="ignore", invalid="ignore")  # reported below
        with told_whole(progress, "learning", steps, "steps") as tell, over:
            for done, x in enumerate(_batches(self._X, self.batch, self.steps, order), 1):
                energy, by_generator, by_coder = coder.gradients(generator, x, noise)
                falling = 0.5 * (1.0 + math.cos(math.pi * (done - 1) / self.steps)) + _FLOOR
                gradient = np.concatenate([by_generator, by_coder])
                trained = trained - adam_step(moments, gradient, falling * self.rate, done)
                if not (math.isfinite(energy) and np.isfinite(trained).all()):
                    raise InputError(
                        f"AutoencoderLearner: it diverged at step {done}: step = {self.step!r} or rate = {self.rate!r} is too "
                        "large. Lower it."
                    )
                generator = generator.with_parameters(trained[:split])
                coder.network = coder.network.with_parameters(trained[split:])
                total += energy
                if done > _LAST * self.steps:
                    average, kept = average + trained[:split], kept + 1
                if done % each == 0:
                    records.append((done, total / each))
                    total = 0.0
                if tell is not None and (done % each == 0 or done == steps):
                    tell(done, steps)
        step, course = np.array(records).T
        return AutoencoderRun(
            generator.with_parameters(average / kept), coder.encoder(), step, course, coder.accepted / self.steps
        )

    def _sizes(self) -> tuple[int, ...]:
        """Return the sizes of the layers that are trained by their gradient."""
        inner = (self._X.shape[1], *self.hidden)
        return inner if self.method == "langevin" else (*inner, 2 * self.generator.n_latents)


def _batches(X: Array, batch: int, steps: int, rng: np.random.Generator) -> Any:
    """Yield as many batches as steps, out of one random order after another."""
    order, at = rng.permutation(len(X)), 0
    for _ in range(steps):
        if at + batch > len(X):
            order, at = rng.permutation(len(X)), 0
        yield X[order[at : at + batch]]
        at += batch


class _Coder:
    """What has layers that are trained along a gradient."""

    accepted = 0.0  # sum over steps

    def __init__(self, learner: AutoencoderLearner, network: Network) -> None:
        self.learner, self.network = learner, network


class _Langevin(_Coder):
    """Codes W phi, of which W does Langevin steps; the layers below end with a rectifier, too."""

    def __init__(self, learner: AutoencoderLearner, network: Network, K: int, rng: np.random.Generator) -> None:
        super().__init__(learner, network)
        self.W = rng.standard_normal((K, learner.hidden[-1])) / math.sqrt(learner.hidden[-1])

    def gradients(self, generator: Generator, x: Array, rng: np.random.Generator) -> tuple[float, Array, Array]:
        """Do the steps of a batch; return the mean energy, and the mean gradients of generator and features."""
        learner, values = self.learner, self.network.values(x)
        phi = np.maximum(values[-1], 0.0)
        if not phi.any():
            raise InputError("AutoencoderLearner: every feature of a batch is 0: it diverged. Lower step or rate.")
        eta = learner.step / float(np.sum(phi**2))
        options: dict[str, Any] = {"temperature": learner.temperature}
        if learner.metropolis:
            options["at"] = lambda z: generator.energy(z, x)
        energy, by_generator, by_phi = 0.0, np.zeros(len(generator.parameters)), np.zeros_like(phi)
        for _ in range(learner.inner):
            here = generator.energy(codes(self.W, phi), x, trained=True)
            assert here.by_parameters is not None
            energy += float(np.mean(here.value))
            by_generator += here.by_parameters
            by_phi += here.by_z @ self.W
            step = amortised_step(self.W, phi, here, eta, rng, **options)
            self.W = step.W
            self.accepted += step.accepted / learner.inner
        by_layers = np.zeros(len(self.network.parameters))
        if learner.train_features:
            by_layers = flat(*self.network.by_layers(values, by_phi * (phi > 0) / len(x)))
        return energy / learner.inner, by_generator / learner.inner, by_layers / learner.inner

    def encoder(self) -> GaussianEncoder:
        """Return the law whose bound is the published one: W phi, and a standard deviation that is held."""
        weights, biases = [*self.network.weights, self.W], [*self.network.biases, np.zeros(len(self.W))]
        return GaussianEncoder(Network(weights, biases), PUBLISHED_SD)


class _Gaussian(_Coder):
    """Draws of a Gaussian law that an encoder gives, trained by the bound; moved on by Langevin steps if wanted."""

    def gradients(self, generator: Generator, x: Array, rng: np.random.Generator) -> tuple[float, Array, Array]:
        """Return the mean energy of the codes that the generator learns from, and the mean gradients of it and the encoder."""
        learner, values = self.learner, self.network.values(x)
        mean, log_sd = np.split(values[-1], 2, axis=-1)
        noise = rng.standard_normal(mean.shape)
        spread = np.exp(log_sd) * noise
        z = mean + spread
        moved = learner.method == "warm-started"
        here = generator.energy(z, x, trained=not moved)
        raw = np.concatenate([here.by_z, here.by_z * spread - 1.0], axis=-1)  # the entropy's slope in log sd is 1
        by_layers = flat(*self.network.by_layers(values, raw / len(x)))
        if moved:
            size = math.sqrt(2 * learner.step)
            for k in range(learner.inner):
                slope = here.by_z if k == 0 else generator.energy(z, x).by_z
                z = z - learner.step * slope + size * rng.standard_normal(z.shape)
            here = generator.energy(z, x, trained=True)
        assert here.by_parameters is not None
        self.accepted += 1.0
        return float(np.mean(here.value)), here.by_parameters, by_layers

    def encoder(self) -> GaussianEncoder:
        """Return the encoder as it stands."""
        return GaussianEncoder(self.network)
