r"""What a circuit does with its energy: descend it, sample it (with momentum, or a memory), or sample a law near it at once.

====================  =====================================================================  ==========================
kind                  equation                                                               system of the paper
====================  =====================================================================  ==========================
``"langevin"``        tau du = -grad E dt + sqrt(2 T tau) dW                                 LSC; L0-LSC with a spike
``"gradient"``        tau du = -grad E dt                                                    DSC, the inference of SSC
``"lca"``             tau du/dt = A^T x - u - (A^T A - I) s,  s = threshold(u)               LCA
``"underdamped"``     tau du = v dt,  m tau dv = -(grad E + friction v) dt + sqrt(2 friction T tau) dW   second-order Langevin
``"amortised"``       tau dW = (-grad E(u; x_n) dt + sqrt(2 T tau) dB) v_n^T,  u = W phi_n      none: Taniguchi et al. 2022
``"variational"``     tau du = -u dt + sqrt(2 tau) dW,  s = s(u; mu(x), b(x), kappa(x))              none: Fallah & Rozell 2022
====================  =====================================================================  ==========================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import check_flag, is_number, is_positive
from circuitlsc.io.declared import choice, flag, quantity, word
from circuitlsc.io.shown import Shown

#: the kinds, each with the parameters that no other has; `circuitlsc.sampling.system.SYSTEMS` says what each does
KINDS: dict[str, tuple[str, ...]] = {
    "langevin": (),
    "gradient": (),
    "lca": ("threshold",),
    "underdamped": ("friction", "mass"),
    "amortised": ("features", "noise", "write", "leak", "restricted", "dual_from"),
    "variational": (),
}
NOISES = ("neuron", "weight")
WRITES = ("dual", "same")
DUAL_FROM = ("ideal", "measured")
#: what keys say that are left out, where they belong to the kind
CHOSEN: dict[str, Any] = {
    "features": "one-hot",
    "noise": "neuron",
    "write": "dual",
    "leak": 0.0,
    "restricted": False,
    "dual_from": "ideal",
}
THRESHOLDS = ("soft", "hard")
MAP_KINDS = ("gradient", "lca")


@dataclass(frozen=True, kw_only=True)
class Dynamics(Shown):
    r"""Which system of the paper a circuit is.

    .. math:: m\,\tau\,dv = -(\nabla E + \gamma v)\,dt + \sqrt{2\gamma T\tau}\,dW, \qquad \tau\,du = v\,dt

    is ``"underdamped"``; with m -> 0 and gamma = 1 it is ``"langevin"`` (Fang et al. 2022, eq. 2.29), with T = 0 as well
    ``"gradient"`` (eqs. 2.13, 2.25). ``"lca"`` is Rozell et al. (2008), eqs. (2.22)-(2.24). ``"variational"`` (Fallah &
    Rozell 2022) has no energy of its own: an encoder gives each latent a law, which a noise cell samples. ``"amortised"``
    (Taniguchi et al. 2022) keeps the states of a set of inputs in plastic weights W, which phi_n reads and v_n writes.

    Parameters
    ----------
    kind : str
        ``"langevin"``, ``"gradient"``, ``"lca"``, ``"underdamped"``, ``"amortised"`` or ``"variational"``.
    temperature : float or None
        T in exp(-E/T); None is 1 (0 for the kinds without noise, and 1 for ``"variational"``, which take no other).
    friction : float or None
        gamma of ``"underdamped"``, relative to the friction of the overdamped circuit; None is the square root of the
        slowest rate over the fastest, near the friction that mixes fastest.
    mass : float or None
        m of ``"underdamped"``, in units of tau; None is 1 over the fastest rate of the overdamped circuit, so that no
        signal is faster than there.
    threshold : str
        Of ``"lca"``: ``"soft"`` (L1 cost) or ``"hard"`` (a cost per active latent).
    features : str or None
        Of ``"amortised"``, as all that follow: phi_n, see `circuitlsc.model.features.features_of`; None is ``"one-hot"``.
    noise : str or None
        ``"neuron"`` (or None): of the neurons, through the line that writes; exact at every hold. ``"weight"``: of each weight,
        at temperature T/N; exact as hold goes to 0.
    write : str or None
        ``"dual"`` (or None): v_n = Phi (Phi^T Phi)^-1. ``"same"``: v_n = phi_n, which must be orthonormal.
    leak : float or None
        Of each weight, in 1/tau.
    restricted : bool
        Whether features of rank below N may be used: as hold goes to 0 the posterior is sampled where U is W Phi.
    dual_from : str or None
        Of which features the dual vectors are: ``"ideal"`` (or None), or ``"measured"``, those of the circuit at rest.

    Raises
    ------
    InputError
        If a value is out of range, or belongs to another kind.

    Examples
    --------
    >>> Dynamics(kind="lca").temperature  # it settles
    0.0
    """

    kind: str = choice(
        "langevin", tuple(KINDS), 'the system: "gradient" and "lca" settle on one code, the others sample'
    )
    temperature: float | None = quantity(None, "1", "a number >= 0, T of exp(-E/T) (1, or 0 for what settles)")
    friction: float | None = quantity(None, "1", "a number > 0, the friction of a momentum (chosen)", above=True)
    mass: float | None = quantity(None, "tau", "a number > 0, the mass of a momentum (chosen)", above=True)
    threshold: str = choice("soft", THRESHOLDS, 'the threshold of "lca"')
    features: str | None = word(
        None, '"one-hot", "orthogonal", "relu:64" or a file (N, H), the features of a memory (one-hot)'
    )
    noise: str | None = choice(None, NOISES, "the noise of a memory: of neurons, or of weights (neuron)")
    write: str | None = choice(None, WRITES, "what a memory is written by: dual vectors, or its features (dual)")
    leak: float | None = quantity(None, "1/tau", "a number >= 0, the leak of a memory's weights (0)")
    restricted: bool = flag(False, "fewer features than inputs, with what is sampled then")
    dual_from: str | None = choice(None, DUAL_FROM, "dual vectors of ideal features, or of the circuit's (ideal)")

    def _line(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(
            f"{f.name}={given[f.name]!r}" for f in fields(self) if f.name == "kind" or given[f.name] != f.default
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        for name, value in self.numbers().items():
            yield name, str(value)

    def __post_init__(self) -> None:
        options = {"kind": KINDS, "threshold": THRESHOLDS, "noise": NOISES, "write": WRITES, "dual_from": DUAL_FROM}
        for name, known in options.items():
            if getattr(self, name) not in (*known, *((None,) if name in CHOSEN else ())):
                raise InputError(f"dynamics.{name} = {getattr(self, name)!r} is not one of {', '.join(known)}.")
        for kind, name in [(kind, name) for kind, names in KINDS.items() for name in names]:
            value = getattr(self, name)
            if self.kind != kind and not (value is None or value is False or value == "soft"):
                shown = f'"{value}"' if isinstance(value, str) else repr(value)
                raise InputError(
                    f'dynamics.{name} = {shown} belongs to kind = "{kind}", and kind is "{self.kind}". Remove it.'
                )
            if value is not None and name in ("friction", "mass", "leak"):
                if not (is_positive(value) or (name == "leak" and is_number(value) and value == 0)):
                    least = ">= 0" if name == "leak" else "> 0"
                    raise InputError(f"dynamics.{name} = {value!r}, but it must be a finite number {least}.")
                object.__setattr__(self, name, float(value))
        if self.kind == "amortised":
            for name, chosen in CHOSEN.items():
                if getattr(self, name) is None:
                    object.__setattr__(self, name, chosen)
            check_flag("dynamics.restricted", self.restricted)
            if not isinstance(self.features, str):
                raise InputError(
                    f"dynamics.features = {self.features!r} is no name. Give one, and an array as features= beside it."
                )
        value = float(not self.settles) if self.temperature is None else self.temperature
        if self.settles and not (is_number(value) and value == 0):
            raise InputError(
                f'dynamics.temperature = {value!r}, but kind = "{self.kind}" has no noise; "langevin" has. Remove it, or '
                "give 0."
            )
        if not self.settles and not is_positive(value):
            raise InputError(
                f'dynamics.temperature = {value!r}, but it must be a finite number > 0 (kind = "gradient" is T = 0).'
            )
        if self.kind == "variational" and value != 1:
            raise InputError(
                f'dynamics.temperature = {value!r}, but kind = "variational" samples the law that its encoder gives. Remove it.'
            )
        object.__setattr__(self, "temperature", float(value))

    @property
    def settles(self) -> bool:
        """Whether the circuit settles on one code (a MAP estimate) instead of sampling."""
        return self.kind in MAP_KINDS

    @property
    def has_energy(self) -> bool:
        """Whether the circuit follows the model's energy; a variational one samples the law that its encoder gives."""
        return self.kind != "variational"

    @property
    def remembers(self) -> bool:
        """Whether the circuit keeps the states of a set of inputs in weights."""
        return self.kind == "amortised"

    @property
    def T(self) -> float:
        """The temperature, as a number."""
        assert self.temperature is not None
        return self.temperature

    def numbers(self) -> dict[str, Any]:
        """Return the keys of ``[dynamics]`` that say the same; what is chosen later (friction, mass) is left out if None."""
        out: dict[str, Any] = {"kind": self.kind}
        if not self.settles:
            out["temperature"] = self.T
        return out | {name: value for name in KINDS[self.kind] if (value := getattr(self, name)) is not None}


def as_dynamics(value: Dynamics | str) -> Dynamics:
    """Return dynamics from a kind's name."""
    if isinstance(value, Dynamics):
        return value
    if not isinstance(value, str):
        raise InputError(f"dynamics = {value!r} is neither a Dynamics nor the name of a kind: {', '.join(KINDS)}.")
    return Dynamics(kind=value)


LANGEVIN = Dynamics()
