r"""Figures 3, 4a and 5 of Fang et al. 2022, doi:10.1162/neco_a_01505: the software side, as numbers.

All use the bars problem of section 4.1, x = A s + n with lam = 1 and sigma = 0.5. Each ``figureN_data`` returns a
dataclass whose ``to_dict`` is what to save; `examples.paper.plot` draws it, with what a circuit measured beside it.
`bars_inputs` gives a circuit the very inputs that software had.

DSC and LCA have one L1 energy: in software they are one curve, "L1", solved to its minimum. An LCA with a hard
threshold has another energy, and is the system "LCA hard".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstest

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array, check_positive, real_array
from circuitlsc.model.data import bars
from circuitlsc.model.priors import SpikeSlab
from circuitlsc.model.sparse_coding import SparseCodingModel
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.reference.map_estimate import many_lasso, many_lca

LAM, SIGMA = 1.0, 0.5
SYSTEMS = ("L1", "DSC", "LCA", "LCA hard", "L0-LSC")  # DSC and LCA name circuits; software has "L1" for both
DICTIONARIES = ("random", "right")
SWEPT_PIS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_LAMBDAS = (0.1, 20.0)  # from nearly no penalty to nearly no activity
_WARMUP, _THIN = 300, 5  # Gibbs sweeps; after 100 no change is measurable at sigma = 0.5
_SHOWN = 6.0  # where the histograms of Figure 5 end, in model units
_BINS = 24


@dataclass(frozen=True)
class Size:
    """How large a reproduction is.

    Attributes
    ----------
    n : int
        Side of the image in pixels: 2 n bars.
    n_inputs : int
        Inputs of each data set.
    n_lambdas : int
        Points of the sweep of Figure 4a.
    n_draws : int
        Posterior draws of each input in Figure 4a (Figure 5 has one).
    """

    n: int
    n_inputs: int
    n_lambdas: int
    n_draws: int

    def __post_init__(self) -> None:
        for name, least in (("n", 2), ("n_inputs", 2), ("n_lambdas", 2), ("n_draws", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"Size: {name} = {value!r}. Give an integer >= {least}.")


FULL = Size(n=8, n_inputs=1000, n_lambdas=25, n_draws=20)
SMALL = Size(n=4, n_inputs=200, n_lambdas=10, n_draws=10)


def bars_inputs(n: int, pi: float, n_inputs: int, seed: int, *, sigma: float = SIGMA) -> tuple[Array, Array]:
    """Return the codes and inputs of a bars data set; fewer inputs are the first of more.

    Returns
    -------
    S : array, shape (n_inputs, 2 * n)
        In model units.
    X : array, shape (n_inputs, n * n)
        In data units. sigma may be 0: the model's own draw may not.
    """
    if sigma < 0:
        raise InputError(f"bars_inputs: sigma = {sigma!r}, but a noise level is >= 0. Give 0 for data without noise.")
    A, prior = bars(n), SpikeSlab(pi, LAM)
    rng = np.random.default_rng([seed, n, round(1e6 * pi)])
    rows = [(prior.draw((2 * n,), rng), rng.standard_normal(n * n)) for _ in range(n_inputs)]
    S = np.array([s for s, _ in rows])
    return S, S @ A.T + sigma * np.array([noise for _, noise in rows])


def random_dictionary(n_features: int, n_latents: int, seed: int) -> Array:
    """Return Gaussian columns of unit norm, shape (n_features, n_latents): a dictionary that knows nothing."""
    A = np.random.default_rng([seed, n_features, n_latents]).standard_normal((n_features, n_latents))
    return np.asarray(A / np.linalg.norm(A, axis=0))


def posterior_draws(model: SparseCodingModel, X: Array, n_draws: int, seed: int) -> Array:
    """Draw from the exact posterior of each input, by one Gibbs chain each; shape (n_inputs, n_draws, n_latents)."""
    seeds = np.random.SeedSequence(seed).generate_state(len(X), np.uint64)
    settings: dict[str, Any] = {"n_sweeps": n_draws * _THIN, "thin": _THIN, "warmup": _WARMUP, "n_chains": 1}
    return np.array([gibbs(model, x, seed=int(s), **settings)[0] for x, s in zip(X, seeds, strict=True)])


# --- Figure 3 ---


@dataclass(frozen=True, eq=False)
class Figure3Data:
    """The bars: dictionary and two samples.

    Attributes
    ----------
    pi, lam, sigma : float
        Of the prior, and of the second sample's noise.
    A : array, shape (n*n, 2*n)
        The dictionary, atoms of unit norm.
    clean, noisy : array, shape (n*n,)
        A sample without noise, and another one with; data units.
    """

    pi: float
    lam: float
    sigma: float
    A: Array
    clean: Array
    noisy: Array

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}


def figure3_data(n: int = 8, *, seed: int = 0) -> Figure3Data:
    """Return the bars dictionary and a sample without and with noise (Figure 3: lam 1, pi 0.3, sigma 0 and 0.5)."""
    clean = bars_inputs(n, 0.3, 1, seed, sigma=0.0)[1][0]
    noisy = bars_inputs(n, 0.3, 2, seed)[1][1]
    return Figure3Data(0.3, LAM, SIGMA, bars(n), clean, noisy)


# --- Figure 4a ---


@dataclass(frozen=True, eq=False)
class ActivityCurve:
    """Share of active coefficients of one system on one data set, as lambda is varied.

    Attributes
    ----------
    label : str
        For the legend.
    system : str
        One of `SYSTEMS`; it chooses the colour and the mark.
    pi : float
        P(active) of the data (and of an L0-LSC's prior).
    lam : array, shape (n,)
        lambda of the system, in 1/(model unit).
    activity, se : array, shape (n,)
        Mean over inputs and latents, and its standard error over inputs.
    """

    label: str
    system: str
    pi: float
    lam: Array
    activity: Array
    se: Array

    def __post_init__(self) -> None:
        _check_system(self.system)
        for name in ("lam", "activity", "se"):
            object.__setattr__(self, name, np.atleast_1d(real_array(name, getattr(self, name))))
        if not self.lam.shape == self.activity.shape == self.se.shape:
            raise InputError(
                f"ActivityCurve: lam, activity, se have shapes {self.lam.shape}, {self.activity.shape}, "
                f"{self.se.shape}. Give one of each for each point."
            )
        if np.any(np.diff(self.lam) <= 0):
            raise InputError(f"ActivityCurve: lam = {self.lam.tolist()} does not increase. Sort the points by lambda.")

    def crossing(self) -> tuple[float, float] | None:
        """Return the largest lambda at which the activity falls to pi and its standard error, or None if it never does.

        Linear in log(lambda) between points; the error is the activity's over the slope.
        """
        above = self.activity >= self.pi
        places = np.flatnonzero(above[:-1] & ~above[1:])
        if not len(places):
            return None
        k = places[-1]
        span, fall = np.log(self.lam[k + 1] / self.lam[k]), self.activity[k] - self.activity[k + 1]
        share = (self.activity[k] - self.pi) / fall
        at = float(self.lam[k] * np.exp(span * share))
        se = float((1 - share) * self.se[k] + share * self.se[k + 1])  # both points have the same inputs
        return at, at * se * float(span) / float(fall)

    def to_dict(self) -> dict[str, Any]:
        """Return the curve, JSON-ready, with its crossing."""
        crossing = self.crossing()
        return {
            **{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()},
            "crossing": None if crossing is None else {"lam": crossing[0], "se": crossing[1]},
        }


@dataclass(frozen=True, eq=False)
class Figure4aData:
    """Sparsity of MAP codes against lambda, and of posterior samples of a model that is given pi.

    Attributes
    ----------
    size : Size
    lam, sigma : float
        Of the data.
    zero_below : float
        MAP codes up to this are read as zero, in model units.
    swept : tuple of ActivityCurve
        L1 and LCA hard against lambda, one curve for each data set.
    given : tuple of ActivityCurve
        L0-LSC, one point for each pi: told pi and the data's lambda, nothing searched.
    tuned : tuple of ActivityCurve
        L1 over the same data sets, at the data's lambda, and at the lambda that is right for pi = 0.3 (if there is one).
    """

    size: Size
    lam: float
    sigma: float
    zero_below: float
    swept: tuple[ActivityCurve, ...]
    given: tuple[ActivityCurve, ...]
    tuned: tuple[ActivityCurve, ...]

    def curve(self, system: str, pi: float) -> ActivityCurve:
        """Return a swept curve."""
        return next(c for c in self.swept if (c.system, c.pi) == (system, pi))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        curves = {k: [c.to_dict() for c in getattr(self, k)] for k in ("swept", "given", "tuned")}
        numbers = {k: getattr(self, k) for k in ("lam", "sigma", "zero_below")}
        return {"size": asdict(self.size), **numbers, **curves}


def measured_activity(
    codes: ArrayLike, *, label: str, system: str, pi: float, lam: ArrayLike, zero_below: float = 0.0
) -> ActivityCurve:
    """Return the activity of codes, shape (n_lambdas, n_inputs, n_latents), with standard errors over inputs.

    Several draws of an input belong into its latents' axis: (n_lambdas, n_inputs, n_draws * n_latents). Codes up to
    zero_below in size count as zero.
    """
    codes = real_array("codes", codes)
    if codes.ndim != 3 or codes.shape[1] < 2:
        raise InputError(f"codes have shape {codes.shape}. Pass (n_lambdas, n_inputs, n_latents) with >= 2 inputs.")
    share = np.mean(np.abs(codes) > zero_below, -1)
    se = share.std(1, ddof=1) / np.sqrt(share.shape[1])
    return ActivityCurve(label, system, pi, np.atleast_1d(np.asarray(lam, dtype=float)), share.mean(1), se)


def figure4a_data(
    size: Size = FULL, *, pis: tuple[float, ...] = (0.3, 0.1), seed: int = 0, zero_below: float = 1e-9
) -> Figure4aData:
    """Return the data of Figure 4a: the dictionary is the data's own (the paper trains it first).

    Parameters
    ----------
    size : Size
        `FULL` (8x8 bars, 1,000 inputs) or `SMALL`.
    pis : tuple of float
        P(active) of the data sets for the sweep of lambda.
    seed : int
        Of the data (see `bars_inputs`) and of the draws.
    zero_below : float
        MAP codes up to this are read as zero, in model units. A circuit needs about three comparator widths.

    Notes
    -----
    Standard errors are over inputs. A point of a curve has the inputs of its neighbours: they move together.
    """
    lambdas = np.geomspace(*_LAMBDAS, size.n_lambdas)
    A = bars(size.n)

    def l1(pi: float, lams: Array, label: str) -> ActivityCurve:
        X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
        codes = [many_lasso(_model(A, pi, lam), X) for lam in lams]
        return measured_activity(codes, label=label, system="L1", pi=pi, lam=lams, zero_below=zero_below)

    swept = [l1(pi, lambdas, "DSC and LCA (L1 minimum)") for pi in pis]
    for pi in pis:
        X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
        hard = [many_lca(_model(A, pi, lam), X, hard=True) for lam in lambdas]
        name = "LCA, hard threshold"
        swept.append(measured_activity(hard, label=name, system="LCA hard", pi=pi, lam=lambdas, zero_below=zero_below))
    given = []
    for pi in SWEPT_PIS:
        X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
        codes = posterior_draws(_model(A, pi, LAM), X, size.n_draws, seed).reshape(1, len(X), -1)
        given.append(measured_activity(codes, label="L0-LSC, given pi", system="L0-LSC", pi=pi, lam=LAM))
    chosen = [LAM]
    at = next((c.crossing() for c in swept if (c.system, c.pi) == ("L1", 0.3)), None)
    chosen += [] if at is None else [at[0]]
    names = (r"L1, data's $\lambda$ = {:.3g}", r"L1, $\lambda$ = {:.3g} (fits $\pi$ = 0.3)")
    labels = [name.format(lam) for name, lam in zip(names, chosen, strict=False)]
    tuned = [l1(pi, np.array([lam]), name) for lam, name in zip(chosen, labels, strict=True) for pi in SWEPT_PIS]
    return Figure4aData(size, LAM, SIGMA, zero_below, tuple(swept), tuple(given), tuple(tuned))


# --- Figure 5 ---


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Nonzero coefficients of one system with one dictionary, and whether they come from the prior's slab.

    Attributes
    ----------
    label : str
        For the legend.
    system, dictionary : str
        One of `SYSTEMS`, and one of `DICTIONARIES`: which panel they belong to.
    values : array, shape (n,)
        Sizes of the active coefficients, above zero_below, in model units.
    share : float
        n over the number of all coefficients.
    ks, p_value : float
        Distance of Kolmogorov and Smirnov from Exp(lam), and its p-value (1 if n = 0).
    """

    label: str
    system: str
    dictionary: str
    values: Array
    share: float
    ks: float
    p_value: float

    def __post_init__(self) -> None:
        _check_system(self.system)
        if self.dictionary not in DICTIONARIES:
            raise InputError(f"dictionary = {self.dictionary!r} is unknown. Give one of {', '.join(DICTIONARIES)}.")

    def density(self) -> tuple[Array, Array, Array]:
        """Return bin edges (m + 1,), density (m,) and its standard error, of all values, those beyond the end too."""
        edges = np.linspace(0.0, _SHOWN, _BINS + 1)
        counts = np.histogram(self.values, edges)[0]
        scale = max(1, len(self.values)) * np.diff(edges)
        return edges, counts / scale, np.sqrt(counts) / scale

    def to_dict(self) -> dict[str, Any]:
        """Return the test and the histogram, JSON-ready."""
        edges, density, se = self.density()
        numbers = {k: v for k, v in vars(self).items() if k != "values"}
        arrays = {"edges": edges, "density": density, "density_se": se}
        return {**numbers, "n": len(self.values), **{k: v.tolist() for k, v in arrays.items()}}


def coefficients(
    codes: ArrayLike, *, label: str, system: str, dictionary: str, lam: float = LAM, zero_below: float = 0.0
) -> Coefficients:
    r"""Test the nonzero coefficients of codes against the prior's slab Exp(lam).

    Parameters
    ----------
    codes : array, shape (n_inputs, n_latents)
        One code for each input, in model units.
    label, system, dictionary : str
        See `Coefficients`.
    lam : float
        Rate of the slab that made the data, in 1/(model unit).
    zero_below : float
        Codes up to this are read as zero. The excess is tested: for an exponential it has the same distribution.

    Notes
    -----
    The p-value is valid. Over inputs from the model, one exact draw s for each x has the distribution of the prior,

    .. math:: \int p(s \mid x)\, p(x)\, dx = p(s),

    in which latents are independent (given x they are not): the pooled coefficients are independent draws of Exp(lam).
    Several draws of one x would not be. Measured on 8x8 bars with 100 inputs: of 1,000 such tests
    49 reject at 5 %, and 9 at 1 %.
    """
    check_positive("coefficients", "lam", lam, "the slab's rate must be positive")
    codes = real_array("codes", codes)
    if codes.ndim != 2 or not codes.size:
        raise InputError(f"codes have shape {codes.shape}. Pass one code for each input, shape (n_inputs, n_latents).")
    size = np.abs(codes)
    values = np.sort(size[size > zero_below] - zero_below)
    test = kstest(values, "expon", args=(0, 1 / lam)) if len(values) else None
    ks, p = (0.0, 1.0) if test is None else (float(test.statistic), float(test.pvalue))
    return Coefficients(label, system, dictionary, values, len(values) / codes.size, ks, p)


@dataclass(frozen=True, eq=False)
class Figure5Data:
    """Distribution of nonzero coefficients, for a random and for the right dictionary.

    Attributes
    ----------
    size : Size
    pi, lam, sigma : float
        Of the data, and of every system.
    series : tuple of Coefficients
        L1, LCA hard and L0-LSC, each with both dictionaries.
    """

    size: Size
    pi: float
    lam: float
    sigma: float
    series: tuple[Coefficients, ...]

    def get(self, system: str, dictionary: str) -> Coefficients:
        """Return the software's coefficients of one panel."""
        return next(c for c in self.series if (c.system, c.dictionary) == (system, dictionary))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers behind the figure, JSON-ready."""
        numbers = {k: getattr(self, k) for k in ("pi", "lam", "sigma")}
        return {"size": asdict(self.size), **numbers, "series": [c.to_dict() for c in self.series]}


def figure5_data(size: Size = FULL, *, pi: float = 0.3, seed: int = 0) -> Figure5Data:
    """Return the data of Figure 5: MAP codes at the data's lambda, and one posterior draw for each input.

    Parameters
    ----------
    size : Size
        `FULL` (8x8 bars, 1,000 inputs) or `SMALL`.
    pi : float
        P(active) of the data, which the L0-LSC is given.
    seed : int
        Of the data (see `bars_inputs`), of the random dictionary and of the draws.
    """
    X = bars_inputs(size.n, pi, size.n_inputs, seed)[1]
    series = []
    for dictionary, A in zip(DICTIONARIES, (random_dictionary(size.n**2, 2 * size.n, seed), bars(size.n)), strict=True):
        model = _model(A, pi, LAM)
        codes = {
            "L1": ("DSC and LCA (L1 minimum)", many_lasso(model, X)),
            "LCA hard": ("LCA, hard threshold", many_lca(model, X, hard=True)),
            "L0-LSC": ("L0-LSC", posterior_draws(model, X, 1, seed)[:, 0]),
        }
        for system, (label, code) in codes.items():
            series.append(coefficients(code, label=label, system=system, dictionary=dictionary))
    return Figure5Data(size, pi, LAM, SIGMA, tuple(series))


def _model(A: Array, pi: float, lam: float) -> SparseCodingModel:
    return SparseCodingModel(A, SpikeSlab(pi, float(lam)), SIGMA)


def _check_system(system: str) -> None:
    if system not in SYSTEMS:
        raise InputError(f"system = {system!r} is unknown. Give one of {', '.join(SYSTEMS)}.")
