r"""Fast and biased, or slow and exact? L0-LSC and variational circuits of one model, on the same inputs, against time.

L0-LSC samples the posterior, and waits: an input's time counts from its onset, and begins with the code of the one before. A
variational circuit does not wait, and samples another law. Its samples are looked at as they are (``amortised``: the law that
an encoder gives), with weights p(x, s)/q(s) that take the bias back (``weighted``), and as they would be of the best law
of each input (``optimum``), which a circuit without an encoder gets as its inputs. Errors are those of
`circuitlsc.studies.convergence`. Not in the papers (Fang et al. 2022 and Fallah & Rozell 2022 have one sampler each).

Times are in tau: of the neuron for L0-LSC, of the noise cell for variational circuits. The two are separate constants: a noise
cell has no loop to keep stable, and one r times as fast moves the variational curves to the left by r. They are equal here.
The bias of a law is what is left of its error however fast the cell is; L0-LSC's time to fall below it is told, too, and the
r from which a law's samples, or weighted ones, are as accurate at the end of a hold as L0-LSC's at the end of its own.

Errors are those of averages over all that an input's time offers, so that both circuits are read more often than they forget:
L0-LSC five times in a tau, variational circuits every `STEP`. The activity of a latent, and all of the product form, is even in
the noise voltages: it has even Hermite degrees alone, and is correlated by exp(-2 t/tau) at most. Averages over time then know
at least twice as much as samples 2 tau apart, the step that forgets, of which comparisons are made with step = 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from circuitlsc.errors import InputError, ReferenceRefusedError
from circuitlsc.io.arrays import Array, check_count, is_positive
from circuitlsc.io.progress import Progress
from circuitlsc.io.report import Facts, Report, Table
from circuitlsc.io.shown import Shown
from circuitlsc.model.encoder import Encoder, Heads
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.model.thresholded import ThresholdedLaplace
from circuitlsc.model.variational import LEAST_SHARE, best_law, elbo, law_of, log_evidence, log_joint, slab_of
from circuitlsc.planning.run_plan import ALLOWANCE, RunPlan
from circuitlsc.reference.sampled import exact_statistics
from circuitlsc.reference.statistics import PosteriorStatistics
from circuitlsc.sampling.batch import CircuitRun, run_circuits
from circuitlsc.sampling.compile import build_sampler
from circuitlsc.sampling.sampler import Sampler
from circuitlsc.sampling.samples import Samples
from circuitlsc.simulator.task import ChainTask
from circuitlsc.studies.convergence import (
    MOST_SUPPORT_LATENTS,
    SMALLEST,
    Counts,
    Crossing,
    active_shares,
    against_energy,
    bernoulli_divergence,
    crossing,
    interval,
    resampled,
    smoothed,
    speed,
    support_divergence,
    support_shares,
)
from circuitlsc.studies.energy import power
from circuitlsc.validation.calibration import draw_inputs
from circuitlsc.validation.judge import active_draws
from circuitlsc.validation.law import memory, memory_loss, support_probabilities
from circuitlsc.validation.law_stream import MOST_REFUSED
from circuitlsc.validation.run_errors import ALPHA

INPUTS, HOLD, SIGMAS = 100, 2000.0, (0.6, 1.0, 1.6)  # the last over the config's sigma
STEP = 0.25  # of variational circuits, tau: about as often as L0-LSC is read
POINTS = 25  # of a curve
SLOW, FAST = "l0-lsc", ("amortised", "weighted", "optimum")
CIRCUITS = (SLOW, "amortised", "optimum")
EVIDENCE_DRAWS = 20_000  # of an input
POWERED = 3  # inputs whose mean power is taken
SETTLED = 0.2  # of a hold: what is left out when L0-LSC is looked at by itself

Note = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """Whether samples are of what they should be: averages over inputs of P(active) minus its law's, or the posterior's.

    Attributes
    ----------
    of : str
    largest, se : float
        The largest average difference of a latent, and its standard error over inputs.
    max_abs_z, z_limit : float
        Of all latents, with the allowed bias of 0.005 taken off, and what correct circuits stay below with a chance of 99 %.
    scatter : float or None
        Of a variational circuit, mean over inputs and latents of the squared difference over that of independent samples
        (and of the allowed bias): it sees what averages over inputs do not, and is 1 at most.
    follows : bool
        Whether neither says otherwise.
    """

    of: str
    largest: float
    se: float
    max_abs_z: float
    z_limit: float
    scatter: float | None
    follows: bool


@dataclass(frozen=True)
class Course:
    """One sampler's errors against time.

    Attributes
    ----------
    rms, rms_low, rms_high : tuple of float
        Error of P(active) at each time, and the interval that holds 95 % of the bootstrap over inputs.
    kl, kl_low, kl_high : tuple of float
        Plug-in divergence of activity from the posterior's, in nats.
    bias_rms, bias_kl : float or None
        What is left of ``rms`` and ``kl`` of infinitely many samples of the law, in closed form; None if it has no bias.
    law_kl, law_kl_se : float or None
        KL(law || posterior) of codes, in nats, mean over inputs (log p(x) - ELBO), and its standard error over inputs.
    law_kl_refused : int
        Inputs for which log p(x) is refused: they are left out, and as their laws tend to be the far ones, ``law_kl`` is then
        too small. None above 5 % of them, with the reason.
    law_kl_reason : str or None
    ess_share, uneven : float or None, and int
        Of weighted samples of a whole hold: mean effective share, and inputs for which it is below 1 %.
    check : Check
        Of weighted samples whether the weights take the law's bias back.
    watts : float or None
        Of the circuit, with ``watts_reason`` if it is not known.
    step, spacing : float
        Of the circuit, and from one sample that counts to the next, in tau.
    us_per_step : float
        Wall time of ngspice.
    """

    rms: tuple[float, ...]
    rms_low: tuple[float, ...]
    rms_high: tuple[float, ...]
    kl: tuple[float, ...]
    kl_low: tuple[float, ...]
    kl_high: tuple[float, ...]
    bias_rms: float | None
    bias_kl: float | None
    law_kl: float | None
    law_kl_se: float | None
    law_kl_refused: int
    law_kl_reason: str | None
    ess_share: float | None
    uneven: int
    check: Check
    watts: float | None
    watts_reason: str | None
    step: float
    spacing: float
    us_per_step: float


@dataclass(frozen=True)
class NoiseLevel:
    """All samplers at one noise level.

    Attributes
    ----------
    sigma : float
        Data units.
    times : tuple of float
        Since an input's onset, in tau.
    samplers : dict of str to Course
        ``l0-lsc``, ``amortised``, ``weighted``, ``optimum``.
    wins : dict
        For each of the last three and each of ``rms``, ``kl``, their ``.._joule`` and ``.._limit``: from when on L0-LSC is the
        more accurate one (time in tau; energy per input in joule), and is so however fast the noise cell is (in tau).
    speeds : dict of str to Crossing
        For each of the last three the number r of times as fast as L0-LSC's tau its noise cell must be for an rms error at the
        end of the hold as small as L0-LSC's: by `circuitlsc.studies.convergence.speed`, beyond 1 extrapolated.
    reference : str
        How posteriors are known.
    reference_error : float
        The largest standard error of a P(active) of the posterior.
    """

    sigma: float
    times: tuple[float, ...]
    samplers: dict[str, Course]
    wins: dict[str, dict[str, Crossing]]
    speeds: dict[str, Crossing]
    reference: str
    reference_error: float


@dataclass(frozen=True)
class SamplerComparison(Shown):
    """What `compare_samplers` returns, and samplers.json holds.

    Attributes
    ----------
    levels : tuple of NoiseLevel
    inputs, n_latents : int
    hold : float
        How long each input was on, in tau.
    supports : bool
        Whether ``kl`` is that of whole supports; else the sum of each latent's.
    level : str
        ``"ideal"`` or ``"device"``.
    tau : float
        Seconds.
    """

    levels: tuple[NoiseLevel, ...]
    inputs: int
    n_latents: int
    hold: float
    supports: bool
    level: str
    tau: float

    def _line(self) -> str:
        levels = ", ".join(f"{level.sigma:g}" for level in self.levels)
        return (
            f"{self.inputs} inputs of {self.hold:g} tau, {self.n_latents} latents, {self.level} level, sigma {levels}"
        )

    def _shows(self) -> Report:
        columns = {"sigma": ">8.4g", "sampler": "<12", "rms at the end": ">15.4f", "its bias": ">10.4f"}
        each = [(level.sigma, name, course) for level in self.levels for name, course in level.samplers.items()]
        rows = [(sigma, name, course.rms[-1], course.bias_rms) for sigma, name, course in each]
        return Report((Facts((("compared", self._line()),)), Table.of(columns, rows)))

    def to_dict(self) -> dict[str, Any]:
        """Return lists, dicts, strings and finite numbers only."""
        return {**asdict(self), "levels": [asdict(level) for level in self.levels]}


@dataclass(frozen=True, eq=False)
class Bench:
    """What is compared at one noise level, before it runs.

    Attributes
    ----------
    model : SparseCodingModel
    X : array, shape (n_inputs + 1, n_features)
        Inputs; the first is shown and not looked at, so that all others follow one.
    encoder : Encoder
    circuits : dict of str to Sampler
    plans : dict of str to RunPlan
    best : Heads
        The best law of each input, each (n_inputs + 1, K).
    """

    model: SparseCodingModel
    X: Array
    encoder: Encoder
    circuits: dict[str, Sampler]
    plans: dict[str, RunPlan]
    best: Heads


def compare_samplers(
    model: SparseCodingModel,
    encoders: Mapping[float, Encoder],
    *,
    inputs: int = INPUTS,
    hold: float = HOLD,
    seed: int = 0,
    langevin: Mapping[str, Any] | None = None,
    variational: Mapping[str, Any] | None = None,
    note: Note | None = None,
    progress: Progress = None,
    **machine: Any,
) -> SamplerComparison:
    """Run L0-LSC and variational circuits on the same inputs at several noise levels, and compare their errors.

    Inputs of all noise levels have the same codes, and the same noise but for its size.

    Parameters
    ----------
    model : SparseCodingModel
        With a SpikeSlab prior, pi < 1; its sigma is not looked at.
    encoders : mapping of float to Encoder
        For each noise level, data units, the encoder that was trained for it.
    inputs : int
        How many are drawn from the model; at least 2.
    hold : float
        How long each is on, in tau.
    seed : int
        Of inputs, noise and bootstrap.
    langevin, variational : mapping or None
        Further arguments of `build_sampler` for the two kinds of circuits, such as ``level`` and ``nonideal``; the step of
        variational ones is 0.25 tau if it is not given.
    note : callable or None
        Called with a few words before each part.
    progress : bool, callable or None
        As for `circuitlsc.sampling.batch.run_circuits`; chains are numbered as `chains_of` has them.
    **machine
        ``workers``, ``executor``, ``timeout``, ``store`` as for `circuitlsc.simulator.engine.run_all_chains`.

    Raises
    ------
    InputError
        If a number is out of range, the prior has no spike and slab, or a circuit cannot be built.
    """
    say = note or (lambda _: None)
    check_comparison(model, tuple(encoders), inputs, hold)
    say("the best law of each input")
    benches = [
        bench_of(replace(model, sigma=sigma), encoder, inputs, hold, seed, langevin or {}, variational or {})
        for sigma, encoder in encoders.items()
    ]
    return measure(benches, seed=seed, note=note, progress=progress, **machine)


def check_comparison(model: SparseCodingModel, sigmas: Sequence[float], inputs: int, hold: float) -> None:
    """Raise InputError unless this can be compared; what circuits refuse is said when they are built."""
    if slab_of(model).pi == 1:
        raise InputError(
            f"compare-samplers: the prior is {model.prior!r}, but the codes of an encoder have a spike, and so must their "
            "prior. Give SpikeSlab with pi < 1."
        )
    check_count("compare-samplers: inputs", inputs, 2, ", and errors over inputs need several")
    for sigma in sigmas:
        if not is_positive(sigma):
            raise InputError(f"compare-samplers: sigma = {sigma!r} is no noise level. Give numbers > 0, in data units.")
    if not sigmas or len(set(sigmas)) < len(sigmas):
        raise InputError(
            f"compare-samplers: sigma = {list(sigmas)}, but each noise level is compared once. Give different ones."
        )
    if not is_positive(hold) or hold < 8:
        raise InputError(
            f"compare-samplers: hold = {hold!r} tau has fewer than four independent samples of a variational circuit, "
            "which are 2 tau apart. Give at least 8, and 1000 or more to see an exact sampler win."
        )


def inputs_of(model: SparseCodingModel, n: int, seed: int) -> Array:
    """Return n inputs (n, D) in data units: codes and noise depend on the seed alone, the noise's size on sigma."""
    return draw_inputs(model, n, np.random.default_rng([seed, 12]))[1]


def slow_circuit(model: SparseCodingModel, X: Array, hold: float, options: Mapping[str, Any]) -> Sampler:
    """Return L0-LSC with inputs (n, D) that follow each other."""
    return build_sampler(model, X, hold=hold, **{"dynamics": "langevin", **options})


def fast_circuit(
    model: SparseCodingModel, X: Array, hold: float, encoder: Encoder, options: Mapping[str, Any]
) -> Sampler:
    """Return a variational circuit with inputs (n, D) that follow each other."""
    return build_sampler(model, X, hold=hold, dynamics="variational", encoder=encoder, **{"step": STEP, **options})


def laws_circuit(model: SparseCodingModel, heads: Heads, hold: float, options: Mapping[str, Any]) -> Sampler:
    """Return a variational circuit whose inputs are laws, each number (n, K): its encoder is one unit for each of them."""
    K = model.n_latents
    eta = -np.log(np.expm1(np.clip(heads.kappa, 1e-12, 600.0)))  # kappa = log(1 + exp(-eta))
    rows = np.concatenate([heads.mu, heads.rho, eta], axis=1)
    through = Encoder(weights=(np.eye(3 * K),), biases=(np.zeros(3 * K),), rectified=not model.prior.signed)
    # of a model a variational circuit knows sizes and sign alone
    carrier = SparseCodingModel(np.tile(np.eye(K), (3, 1)), model.prior, model.sigma)
    return fast_circuit(carrier, rows, hold, through, options)


def bench_of(
    model: SparseCodingModel,
    encoder: Encoder,
    inputs: int,
    hold: float,
    seed: int,
    langevin: Mapping[str, Any],
    variational: Mapping[str, Any],
) -> Bench:
    """Build the circuits of one noise level."""
    X = inputs_of(model, inputs + 1, seed)
    heads = encoder.heads(X)
    laws = [best_law(model, x, Heads(*(head[n] for head in heads))) for n, x in enumerate(X)]
    best = Heads(*(np.stack(values) for values in zip(*laws, strict=True)))
    circuits = {
        SLOW: slow_circuit(model, X, hold, langevin),
        "amortised": fast_circuit(model, X, hold, encoder, variational),
        "optimum": laws_circuit(model, best, hold, variational),
    }
    plans = {name: sampler.run_plan(warmup=0.0, seed=seed) for name, sampler in circuits.items()}
    return Bench(model, X, encoder, circuits, plans, best)


def chains_of(benches: Sequence[Bench]) -> list[ChainTask]:
    """Return the chains of all circuits, in the order in which they are numbered."""
    return [task for b in benches for name in CIRCUITS for task in b.circuits[name].tasks(b.plans[name])]


def measure(
    benches: Sequence[Bench],
    *,
    seed: int = 0,
    note: Note | None = None,
    progress: Progress = None,
    **machine: Any,
) -> SamplerComparison:
    """Run all circuits, and compare their errors; arguments as for `compare_samplers`."""
    say = note or (lambda _: None)
    runs = [
        CircuitRun(f"{name}, sigma {b.model.sigma:g}", b.circuits[name], b.plans[name])
        for b in benches
        for name in CIRCUITS
    ]
    done = run_circuits(runs, progress=progress, **machine)
    levels = []
    for b in benches:
        say(f"posteriors and errors at sigma {b.model.sigma:g}")
        samples = {name: done[f"{name}, sigma {b.model.sigma:g}"] for name in CIRCUITS}
        levels.append(_level(b, samples, seed))
    first = benches[0].circuits[SLOW]
    assert first.stream is not None
    return SamplerComparison(
        levels=tuple(levels),
        inputs=len(benches[0].X) - 1,
        n_latents=first.model.n_latents,
        hold=first.stream.hold,
        supports=first.model.n_latents <= MOST_SUPPORT_LATENTS,
        level=first.level,
        tau=first.scaling.tau,
    )


def _level(b: Bench, samples: Mapping[str, Samples], seed: int) -> NoiseLevel:
    """Return the errors of all samplers at one noise level."""
    model, rows = b.model, range(1, len(b.X))
    exact = [exact_statistics(model, b.X[n], seed=n) for n in rows]
    p = np.stack([found.p_active for found in exact])
    spacings = {name: _spacing(b.circuits[name], samples[name]) for name in CIRCUITS}
    times = _times(b.circuits["amortised"], spacings)
    counts = {name: np.maximum((times / spacing + 1e-9).astype(int), 1) for name, spacing in spacings.items()}
    laws = {"amortised": b.encoder.heads(b.X), "optimum": b.best}
    active = {name: law_of(model, *heads).p_active[1:] for name, heads in laws.items()}
    measured = {name: _errors(_active(b.circuits[name], samples[name]), None, counts[name], exact) for name in CIRCUITS}
    weights, shares = _weights(model, b, laws["amortised"], samples["amortised"])
    on = _active(b.circuits["amortised"], samples["amortised"])
    measured["weighted"] = _errors(on, weights, counts["amortised"], exact)
    kls = {name: _law_kl(model, b, heads, seed) for name, heads in laws.items()}
    checks = {
        SLOW: _check("the posterior", _late(b.circuits[SLOW], samples[SLOW]), p),
        "weighted": _check("the posterior", measured["weighted"][2][:, -1], p),
        **{
            name: _check(
                "its law",
                measured[name][2][:, -1],
                active[name],
                _independent(b.circuits[name], samples[name]),
            )
            for name in laws
        },
    }
    biases = {name: _bias(law_of(model, *heads), exact) for name, heads in laws.items()}
    watts = _watts(b, seed)
    picked = resampled(len(p), seed)
    curves, samplers, speeds = {}, {}, {}
    for name in (SLOW, *FAST):
        square, kl, _ = measured[name]
        boot = np.sqrt(square[picked].mean(1)), kl[picked].mean(1)
        curves[name] = {"rms": (np.sqrt(square.mean(0)), boot[0]), "kl": (kl.mean(0), boot[1])}
        circuit = "amortised" if name == "weighted" else name
        ends: dict[str, Any] = {
            f"{what}_{end}": tuple(values.tolist())
            for what, (_, many) in curves[name].items()
            for end, values in zip(("low", "high"), interval(many), strict=True)
        }
        spent = samples[circuit].stats
        floor = biases.get(name)
        if name != SLOW:
            noise = np.mean((measured[name][2][:, -1] - active.get(name, p)) ** 2, axis=1)
            left, end = (
                np.zeros(len(p)) if floor is None else floor["rms"],
                f"L0-LSC's error at the end ({times[-1]:g} tau)",
            )
            speeds[name] = speed(measured[SLOW][0][:, -1], noise, left, picked, end)
        samplers[name] = Course(
            rms=tuple(curves[name]["rms"][0].tolist()),
            kl=tuple(curves[name]["kl"][0].tolist()),
            **ends,
            bias_rms=None if floor is None else math.sqrt(floor["rms"].mean()),
            bias_kl=None if floor is None else float(floor["kl"].mean()),
            **kls.get(name, dict.fromkeys(("law_kl", "law_kl_se", "law_kl_reason"), None) | {"law_kl_refused": 0}),
            ess_share=float(shares.mean()) if name == "weighted" else None,
            uneven=int((shares < LEAST_SHARE).sum()) if name == "weighted" else 0,
            check=checks[name],
            watts=watts[name][0],
            watts_reason=watts[name][1],
            step=b.circuits[circuit].plan.step,
            spacing=spacings[circuit],
            us_per_step=1e6 * float(spent["wall"].sum() / spent["steps"].sum()),
        )
    return NoiseLevel(
        sigma=model.sigma,
        times=tuple(times.tolist()),
        samplers=samplers,
        wins={
            name: {
                **_wins(times, b, curves[SLOW], curves[name], (watts[SLOW][0], watts[name][0])),
                **_limits(times, curves[SLOW], biases.get(name), picked),
            }
            for name in FAST
        },
        speeds=speeds,
        reference=", ".join(sorted({found.method for found in exact})),
        reference_error=float(max(found.p_active_mcse.max() for found in exact)),
    )


def _spacing(sampler: Sampler, samples: Samples) -> float:
    """Return the time from one sample to the next, in tau."""
    return sampler.plan.step * int(samples.attrs["thin"])


def _times(fast: Sampler, spacings: Mapping[str, float]) -> Array:
    """Return about `POINTS` times (T,) in tau at which a variational circuit has a sample, even in their logarithm."""
    assert fast.stream is not None
    spacing = spacings["amortised"]
    first = math.ceil(max(spacings.values()) / spacing - 1e-9)
    last = int(fast.stream.hold / spacing + 1e-9)
    return np.asarray(spacing * np.unique(np.round(np.geomspace(first, last, POINTS)).astype(int)))


def _active(sampler: Sampler, samples: Samples) -> Callable[[int], NDArray[np.bool_]]:
    """Return what gives which latents are active in each sample of an input, (n, K)."""
    draws, each = active_draws(sampler, samples), samples.draws_per_row
    return lambda row: draws.part(row * each, (row + 1) * each).read(0, each)[0].astype(bool)


def _errors(
    on: Callable[[int], NDArray[np.bool_]], weights: Array | None, counts: Counts, exact: Sequence[PosteriorStatistics]
) -> tuple[Array, Array, Array]:
    """Return mean square errors and divergences of each input, each (n_inputs, T), and P(active) (n_inputs, T, K)."""
    square, kl, shares = [], [], []
    for n, truth in enumerate(exact):
        active, w = on(n + 1), None if weights is None else weights[n]
        share = active_shares(active, w, counts)
        shares.append(share)
        square.append(np.mean((share - truth.p_active) ** 2, axis=1))
        supports = support_shares(active, w, counts) if truth.n_latents <= MOST_SUPPORT_LATENTS else None
        kl.append(_divergence(share, supports, truth))
    return np.stack(square), np.stack(kl), np.stack(shares)


def _divergence(active: Array, supports: Array | None, truth: PosteriorStatistics) -> Array:
    """Return KL(probabilities || posterior) of supports (.., 2^K), or, if there are none, of each latent's activity (.., K)."""
    if supports is not None and truth.support is not None:
        return support_divergence(supports, smoothed(truth.support, truth.n_latents, truth.n_draws))
    least = 0.5 / truth.n_draws if truth.n_draws else SMALLEST
    return bernoulli_divergence(np.clip(active, 0, 1), np.clip(truth.p_active, least, 1 - least))


def _bias(law: ThresholdedLaplace, exact: Sequence[PosteriorStatistics]) -> dict[str, Array]:
    """Return the mean square error and the divergence of each input that infinitely many samples of its law have."""
    p, K = np.stack([truth.p_active for truth in exact]), law.shape[-1]
    supports: list[Array] | list[None] = [None] * len(exact)
    if K <= MOST_SUPPORT_LATENTS:
        supports = list(support_probabilities(law)[1:])
    kl = [_divergence(*each) for each in zip(law.p_active[1:], supports, exact, strict=True)]
    return {"rms": np.mean((law.p_active[1:] - p) ** 2, axis=1), "kl": np.array(kl)}


def _limits(
    times: Array, slow: Mapping[str, tuple[Array, Array]], bias: Mapping[str, Array] | None, picked: NDArray[np.int64]
) -> dict[str, Crossing]:
    """Return from when on L0-LSC is below a law's bias; nothing if it has none."""
    out = {}
    for what, values in (bias or {}).items():
        root = np.sqrt if what == "rms" else np.asarray
        level, many = root(values.mean()), root(values[picked].mean(1))
        flat = np.full(len(times), level), np.repeat(many[:, None], len(times), axis=1)
        out[f"{what}_limit"] = crossing(times, slow[what], flat, f"{times[-1]:g} tau")
    return out


def _weights(model: SparseCodingModel, b: Bench, heads: Heads, samples: Samples) -> tuple[Array, Array]:
    """Return the importance weights of each input's samples, (n_inputs, n), and their effective shares (n_inputs,)."""
    each, logs = samples.draws_per_row, []
    for n in range(1, len(b.X)):
        s = samples.row_draws(n, "s").read(0, each)[0]
        law = law_of(model, *(head[n] for head in heads))
        logs.append(log_joint(model, b.X[n], s) - law.log_density(s).sum(1))
    log_w = np.stack(logs)
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    return w, np.asarray(w.sum(1) ** 2 / np.sum(w**2, 1) / each)


def _law_kl(model: SparseCodingModel, b: Bench, heads: Heads, seed: int) -> dict[str, Any]:
    """Return the mean KL(law || posterior) over inputs, its standard error, how many are refused, and why there is none."""
    bounds, found, reasons = elbo(model, b.X, *heads), [], []
    for n in range(1, len(b.X)):
        try:
            proposal, rng = Heads(*(head[n] for head in b.best)), np.random.default_rng([seed, 13, n])
            found.append(log_evidence(model, b.X[n], proposal, n=EVIDENCE_DRAWS, rng=rng).log_p - bounds[n])
        except ReferenceRefusedError as error:
            reasons.append(str(error))
    kl = se = why = None
    if len(reasons) > MOST_REFUSED * (len(b.X) - 1):
        why = f"log p(x) is refused for {len(reasons)} of {len(b.X) - 1} inputs, first: {reasons[0]}"
    else:
        kl, se = float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(len(found)))
    return {"law_kl": kl, "law_kl_se": se, "law_kl_refused": len(reasons), "law_kl_reason": why}


def _late(sampler: Sampler, samples: Samples) -> Array:
    """Return P(active) of each input (n_inputs, K) without the first part of its time."""
    on = _active(sampler, samples)
    skipped = int(SETTLED * samples.draws_per_row)
    return np.stack([on(n)[skipped:].mean(0) for n in range(1, len(sampler.x))])


def _independent(sampler: Sampler, samples: Samples) -> float:
    """Return how many independent samples of an input's activity a variational circuit's are worth, at least."""
    return samples.draws_per_row / memory_loss(memory(sampler.plan.step, int(samples.attrs["thin"])), even=True)


def _check(of: str, found: Array, expected: Array, independent: float | None = None) -> Check:
    """Compare P(active) (n_inputs, K) with what a correct circuit has, from so many independent samples if that is known."""
    d = found - expected
    off, se = d.mean(0), np.maximum(d.std(0, ddof=1) / math.sqrt(len(d)), SMALLEST)
    worst = int(np.argmax(np.abs(off)))
    z = float(np.max(np.maximum(np.abs(off) - ALLOWANCE, 0.0) / se))
    limit = float(stats.t.isf(ALPHA / (2 * len(off)), len(d) - 1))
    scatter, follows = None, z <= limit
    if independent is not None:
        each = (d**2 / (expected * (1 - expected) / independent + ALLOWANCE**2)).mean(1)
        scatter = float(each.mean())
        follows &= scatter - 1 <= limit * float(each.std(ddof=1)) / math.sqrt(len(d))
    return Check(of, float(abs(off[worst])), float(se[worst]), z, limit, scatter, bool(follows))


def _watts(b: Bench, seed: int) -> dict[str, tuple[float | None, str | None]]:
    """Return the power of each sampler's circuit, the mean of a few inputs, or why it is not known."""
    if b.circuits[SLOW].level != "device":
        why = 'ideal parts draw no current that means anything: give level = "device"'
        return dict.fromkeys((SLOW, *FAST), (None, why))
    known: dict[str, tuple[float | None, str | None]] = {}
    for name in (SLOW, "amortised"):
        circuit = b.circuits[name]
        ones = [_one(circuit, x) for x in b.X[1 : 1 + POWERED]]
        known[name] = float(np.mean([power(one, seed=seed)[1] for one in ones])), None
    return {**known, "weighted": known["amortised"], "optimum": (None, "no circuit finds the best law")}


def _one(circuit: Sampler, x: Array) -> Sampler:
    """Return a circuit with one input in place of many."""
    return replace(circuit, x=x, stream=None)


def _wins(
    times: Array,
    b: Bench,
    slow: Mapping[str, tuple[Array, Array]],
    fast: Mapping[str, tuple[Array, Array]],
    watts: tuple[float | None, float | None],
) -> dict[str, Crossing]:
    """Return from when on L0-LSC is more accurate, by time and by energy."""
    out = {}
    for what in ("rms", "kl"):
        out[what] = crossing(times, slow[what], fast[what], f"{times[-1]:g} tau")
        first, second = watts
        if first is None or second is None:
            continue
        both = against_energy(times * b.circuits[SLOW].scaling.tau, (first, second), (slow[what], fast[what]))
        if both is not None:
            energies, (one, other) = both
            out[f"{what}_joule"] = crossing(energies, one, other, f"{energies[-1]:.3g} J")
        else:
            out[f"{what}_joule"] = Crossing(None, None, None, 0.0, "the two have no energy per input in common")
    return out
