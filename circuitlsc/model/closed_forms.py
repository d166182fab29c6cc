r"""What the tables of cells stand for: the smooth functions themselves, in NumPy, in SPICE, and as Verilog-A modules.

A table is up to 0.05 w off its curve. A circuit of closed forms is what another simulator can run
(`circuitlsc.circuit.modules`); ngspice takes about seven times as long for it as for tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import Array
from circuitlsc.model.cost_priors import Cauchy, SquareRoot
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.lca import lca_model
from circuitlsc.model.piecewise_linear import Table
from circuitlsc.model.prior import Prior
from circuitlsc.model.priors import Gaussian, SlabPrior
from circuitlsc.model.smoothing import HYPERBOLIC, LOGISTIC, Smoothing
from circuitlsc.model.sparse_coding import SparseCodingModel

Function = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Form:
    """A function f of one variable, in model units.

    Attributes
    ----------
    value, slope : callable
        f(u) and f'(u), elementwise.
    spice : callable
        The text of f for the text of u.
    module : str
        The Verilog-A module of a cell with this function (`circuitlsc.veriloga`).
    volts : dict
        Parameters of the module that are given in volts, by name, in model units.
    numbers : dict
        Those that are plain numbers.
    factor : float
        What else the module's output is multiplied by: lam of a cost.
    """

    value: Function
    slope: Function
    spice: Callable[[str], str]
    module: str
    volts: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Curve(Table):
    """A closed form in the place of its table: values at the knots are there for who looks at them, between them it is exact.

    Parameters
    ----------
    knots, values : array
        Of the table.
    form : Form
    """

    form: Form

    def with_slope(self, v: Array) -> tuple[Array, Array]:
        """Return the function and its derivative at v."""
        v = np.asarray(v, dtype=float)
        return np.asarray(self.form.value(v)), np.asarray(self.form.slope(v))

    def slope(self, v: Array) -> Array:
        """Return the derivative at v."""
        return self.with_slope(v)[1]

    def spice_of(self, expression: str, knot_unit: float, value_unit: float) -> str:
        """Return the expression in SI units."""
        u = f"(({expression})/{float(knot_unit)!r})"
        return f"({float(value_unit)!r}*({self.form.spice(u)}))"


class Forms(NamedTuple):
    """The functions of a neuron: its code, its gate and the slope of its cost; None where a cell has no table.

    Of a latent that an encoder drives: the two of its comparators, its scale and its threshold.
    """

    code: Form | None
    gate: Form | None
    cost: Form | None
    scale: Form | None = None
    limit: Form | None = None


class Rounded(NamedTuple):
    """A `Smoothing` at a width: its functions, the slopes of ``sign`` and ``step``, and the texts of all."""

    smoothing: Smoothing
    width: float

    def abs(self, v: Array) -> Array:
        """Return a_w(v)."""
        return self.smoothing.abs(v, self.width)

    def sign(self, v: Array) -> Array:
        """Return a_w'(v)."""
        return self.smoothing.sign(v, self.width)

    def ramp(self, v: Array) -> Array:
        """Return f_w(v)."""
        return self.smoothing.ramp(v, self.width)

    def step(self, v: Array) -> Array:
        """Return f_w'(v)."""
        return self.smoothing.step(v, self.width)

    def bend(self, v: Array) -> Array:
        r"""Return :math:`a_w''(v)`: sech^2(v/w)/w, or 4 w^2/(v^2 + 4 w^2)^1.5."""
        w = self.width
        if self.smoothing == LOGISTIC:
            return np.asarray((1 - np.tanh(v / w) ** 2) / w)
        return np.asarray(4 * w**2 / np.hypot(v, 2 * w) ** 3)

    def rise(self, v: Array) -> Array:
        r"""Return :math:`f_w''(v)`: half the bend of a, as 2 f_w(v) = v + a(v), a of width 2w (logistic) or w (hyperbolic)."""
        a = self._replace(width=2 * self.width) if self.smoothing == LOGISTIC else self
        return a.bend(v) / 2

    def text(self, function: str, v: str) -> str:
        """Return a function (``abs``, ``sign``, ``ramp`` or ``step``) as SPICE writes it."""
        w = repr(float(self.width))
        if self.smoothing == HYPERBOLIC:
            root = f"sqrt({v}*{v}+4*{w}*{w})"
            forms = {"abs": root, "sign": f"{v}/{root}", "ramp": f"0.5*({v}+{root})", "step": f"0.5*(1+{v}/{root})"}
        else:
            forms = {
                "abs": f"abs({v})+{w}*ln(1+exp(-2*abs({v})/{w}))",
                "sign": f"tanh({v}/{w})",
                "ramp": f"0.5*({v}+abs({v}))+{w}*ln(1+exp(-abs({v})/{w}))",
                "step": f"0.5*(1+tanh(0.5*{v}/{w}))",
            }
        return f"({forms[function]})"

    @property
    def numbers(self) -> dict[str, float]:
        """The module parameter that says which pair it is."""
        return {"hyperbolic": float(self.smoothing == HYPERBOLIC)}


def forms_of(model: SparseCodingModel, dynamics: Dynamics, form: str, width: float, smoothing: Smoothing) -> Forms:
    """Return the functions that the cells of a circuit tabulate.

    Raises
    ------
    InputError
        If there is no closed form of them.
    """
    kind = dynamics.kind
    if kind == "lca":
        if form != "gram":
            raise InputError(
                f'circuit.form = "{form}" of dynamics.kind = "lca" has no closed form: its leak is a table. Use form = "gram".'
            )
        unit = lca_model(model).prior
        return Forms(_lca_code(unit.lam, width, signed=unit.signed, hard=dynamics.threshold == "hard"), None, None)
    if kind not in ("langevin", "underdamped", "gradient", "amortised"):
        raise InputError(
            f'dynamics.kind = "{kind}" has cells without a closed form. Use one of langevin, underdamped, lca.'
        )
    if kind == "gradient" and not model.prior.signed:
        raise InputError(
            'dynamics.kind = "gradient" of nonnegative codes has a rectifier that is a table, and no closed form. Use signed '
            'codes, or dynamics.kind = "lca".'
        )
    return forms_of_prior(model.prior, Rounded(smoothing, width))


def forms_of_encoder(encoder: Encoder, source: str | None, width: float) -> Forms:
    """Return the functions of a latent that an encoder drives; InputError if its draws come from a table."""
    if source == "table":
        raise InputError(
            'encoder.source = "table" is a table of the normal distribution, which has no closed form. Use source = "product".'
        )
    smooth, numbers = Rounded(LOGISTIC, width), encoder.numbers
    shifted = "lsc_shifted_threshold", {"w": width}
    code = Form(smooth.ramp, smooth.step, lambda v: smooth.text("ramp", v), *shifted)
    gate = Form(smooth.step, smooth.rise, lambda v: smooth.text("step", v), *shifted)
    if encoder.threshold == "fixed":
        limit = _exponential(numbers["lam"], -1.0)
    else:
        limit = _softplus(numbers.get("alpha", 1.0), numbers.get("beta", 1.0))
    return Forms(code, gate, None, _exponential(1.0, 1.0), limit)


def _exponential(a: float, k: float) -> Form:
    """Return a exp(k z)."""
    return Form(
        lambda z: a * np.exp(k * z),
        lambda z: a * k * np.exp(k * z),
        lambda z: f"{float(a)!r}*exp({float(k)!r}*{z})",
        "lsc_exponential",
        {},
        {"a": a, "k": k},
    )


def _softplus(alpha: float, beta: float) -> Form:
    """Return alpha ln(1 + exp(-z)/beta)."""
    shift = float(np.log(beta))
    return Form(
        lambda z: alpha * np.logaddexp(0.0, -z - shift),
        lambda z: -alpha / (1 + beta * np.exp(z)),
        lambda z: f"{float(alpha)!r}*(ln(exp(min({z},0))+exp(-max({z},0))/{float(beta)!r})-min({z},0))",
        "lsc_softplus",
        {},
        {"alpha": alpha, "beta": beta},
    )


def forms_of_prior(prior: Prior, smooth: Rounded) -> Forms:
    """Return the functions of a sampler's neuron; InputError for a prior without closed forms."""
    if isinstance(prior, Gaussian):
        return Forms(None, None, None)
    code, gate = _code(prior, smooth)
    if isinstance(prior, SlabPrior):
        lam = prior.lam
        cost = Form(
            lambda u: lam * smooth.sign(u),
            lambda u: lam * smooth.bend(u),
            lambda u: f"{float(lam)!r}*{smooth.text('sign', u)}",
            "lsc_cost_slab",
            {"w": smooth.width},
            smooth.numbers,
            lam,
        )
        return Forms(code, gate, cost)
    if isinstance(prior, Cauchy):
        return Forms(code, gate, _cauchy(prior, smooth))
    if isinstance(prior, SquareRoot):
        return Forms(code, gate, _square_root(prior, smooth))
    raise InputError(
        f'prior.kind = "{prior.kind}" is tabulated: there is no closed form of it that another simulator could run. Use one of '
        "spike-slab, laplace, gaussian, cauchy, square-root."
    )


def _code(prior: Prior, smooth: Rounded) -> tuple[Form, Form] | tuple[None, None]:
    """Return s(u) and ds/du; None if the code is u itself."""
    u0, w, numbers = prior.threshold, {"w": smooth.width}, smooth.numbers
    at = f"-{float(u0)!r}"
    if prior.signed and not prior.sparse:
        return None, None
    if not prior.sparse:
        code = Form(smooth.abs, smooth.sign, lambda u: smooth.text("abs", u), "lsc_threshold_absolute", w, numbers)
        gate = Form(smooth.sign, smooth.bend, lambda u: smooth.text("sign", u), "lsc_gate_absolute", w, numbers)
        return code, gate
    volts = {**w, "u0": u0}
    if prior.signed:

        def both(function: str, between: str) -> Callable[[str], str]:
            return lambda u: smooth.text(function, f"({u}{at})") + between + smooth.text(function, f"(-{u}{at})")

        code = Form(
            lambda u: smooth.ramp(u - u0) - smooth.ramp(-u - u0),
            lambda u: smooth.step(u - u0) + smooth.step(-u - u0),
            both("ramp", "-"),
            "lsc_threshold_signed",
            volts,
            numbers,
        )
        gate = Form(
            code.slope,
            lambda u: smooth.rise(u - u0) - smooth.rise(-u - u0),
            both("step", "+"),
            "lsc_gate_signed",
            volts,
            numbers,
        )
        return code, gate

    def beyond(u: Array) -> Array:
        return smooth.abs(u) - u0

    code = Form(
        lambda u: smooth.ramp(beyond(u)),
        lambda u: smooth.sign(u) * smooth.step(beyond(u)),
        lambda u: smooth.text("ramp", f"({smooth.text('abs', u)}{at})"),
        "lsc_threshold_nonnegative",
        volts,
        numbers,
    )
    gate = Form(
        code.slope,
        lambda u: smooth.bend(u) * smooth.step(beyond(u)) + smooth.sign(u) ** 2 * smooth.rise(beyond(u)),
        lambda u: smooth.text("sign", u) + "*" + smooth.text("step", f"({smooth.text('abs', u)}{at})"),
        "lsc_gate_nonnegative",
        volts,
        numbers,
    )
    return code, gate


def _cost(
    prior: Prior, smooth: Rounded, bend: Function, text: Callable[[str], str], module: str, scale: float, factor: float
) -> Form:
    """Return c'(u) = C'(s(u)) s'(u) of a prior without a spike, from C'' and the text of C'."""
    if prior.signed:
        return Form(prior.code_cost_grad, bend, text, module, {"a": scale}, {}, factor)

    def value(u: Array) -> Array:
        return prior.code_cost_grad(smooth.abs(u)) * smooth.sign(u)

    def slope(u: Array) -> Array:
        s = smooth.abs(u)
        return bend(s) * smooth.sign(u) ** 2 + prior.code_cost_grad(s) * smooth.bend(u)

    def spice(u: str) -> str:
        return f"({text(smooth.text('abs', u))})*{smooth.text('sign', u)}"

    volts = {"a": scale, "w": smooth.width}
    return Form(value, slope, spice, f"{module}_nonnegative", volts, smooth.numbers, factor)


def _cauchy(prior: Cauchy, smooth: Rounded) -> Form:
    a, lam = prior.scale, prior.lam
    return _cost(
        prior,
        smooth,
        lambda s: 2 * lam * (a**2 - s**2) / (a**2 + s**2) ** 2,
        lambda s: f"{2.0 * lam!r}*{s}/({float(a * a)!r}+{s}*{s})",
        "lsc_cost_cauchy",
        a,
        lam / a,
    )


def _square_root(prior: SquareRoot, smooth: Rounded) -> Form:
    eps, lam = prior.epsilon, prior.lam

    def bend(s: Array) -> Array:
        q = np.hypot(s, eps)
        return np.asarray(0.5 * lam * (q**-1.5 - 1.5 * s**2 * q**-3.5))

    return _cost(
        prior,
        smooth,
        bend,
        lambda s: f"{0.5 * lam!r}*{s}/sqrt(({s}*{s}+{float(eps * eps)!r})*sqrt({s}*{s}+{float(eps * eps)!r}))",
        "lsc_cost_square_root",
        eps,
        0.5 * lam / float(np.sqrt(eps)),
    )


def _lca_code(theta: float, width: float, *, signed: bool, hard: bool) -> Form:
    """Return the threshold of LCA, as `circuitlsc.model.lca.threshold_code` has it."""
    smooth, volts, at = Rounded(LOGISTIC, width), {"w": width, "u0": theta}, f"-{float(theta)!r}"
    if signed and not hard:
        return Form(
            lambda u: smooth.ramp(u - theta) - smooth.ramp(-u - theta),
            lambda u: smooth.step(u - theta) + smooth.step(-u - theta),
            lambda u: f"{smooth.text('ramp', f'({u}{at})')}-{smooth.text('ramp', f'(-{u}{at})')}",
            "lsc_threshold_signed",
            volts,
            smooth.numbers,
        )
    if not hard:
        return Form(
            lambda u: smooth.ramp(u - theta),
            lambda u: smooth.step(u - theta),
            lambda u: smooth.text("ramp", f"({u}{at})"),
            "lsc_threshold_soft",
            volts,
            smooth.numbers,
        )

    def size(u: Array) -> Array:
        return np.abs(u) if signed else u

    return Form(
        lambda u: u * smooth.step(size(u) - theta),
        lambda u: smooth.step(size(u) - theta) + size(u) * smooth.rise(size(u) - theta),
        lambda u: f"{u}*{smooth.text('step', f'(abs({u}){at})' if signed else f'({u}{at})')}",
        "lsc_threshold_hard",
        volts,
        {"signed_codes": float(signed)},
    )
