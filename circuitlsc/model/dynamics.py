r"""What a circuit does with its energy: descend it, sample it, sample it with momentum, or sample a law near it at once.

====================  =====================================================================  ==========================
kind                  equation                                                               system of the paper
====================  =====================================================================  ==========================
``"langevin"``        tau du = -grad E dt + sqrt(2 T tau) dW                                 LSC; L0-LSC with a spike
``"gradient"``        tau du = -grad E dt                                                    DSC, the inference of SSC
``"lca"``             tau du/dt = A^T x - u - (A^T A - I) s,  s = threshold(u)               LCA
``"underdamped"``     tau du = v dt,  m tau dv = -(grad E + friction v) dt + sqrt(2 friction T tau) dW   second-order Langevin
``"variational"``     tau du = -u dt + sqrt(2 tau) dW,  s = s(u; mu(x), b(x), kappa(x))              none: Fallah & Rozell 2022
====================  =====================================================================  ==========================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from circuitlsc.errors import InputError
from circuitlsc.io.arrays import is_number, is_positive
from circuitlsc.io.declared import choice, quantity

#: the kinds, each with the parameters that no other has; `circuitlsc.sampling.system.SYSTEMS` says what each does
KINDS: dict[str, tuple[str, ...]] = {
    "langevin": (),
    "gradient": (),
    "lca": ("threshold",),
    "underdamped": ("friction", "mass"),
    "variational": (),
}
THRESHOLDS = ("soft", "hard")
MAP_KINDS = ("gradient", "lca")


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    r"""Which system of the paper a circuit is.

    .. math:: m\,\tau\,dv = -(\nabla E + \gamma v)\,dt + \sqrt{2\gamma T\tau}\,dW, \qquad \tau\,du = v\,dt

    is ``"underdamped"``; with m -> 0 and gamma = 1 it is ``"langevin"`` (Fang et al. 2022, eq. 2.29), with T = 0 as well
    ``"gradient"`` (eqs. 2.13, 2.25). ``"lca"`` is Rozell et al. (2008), eqs. (2.22)-(2.24). ``"variational"`` (Fallah &
    Rozell 2022) has no energy of its own: an encoder gives each latent a law, which a noise cell samples.

    Parameters
    ----------
    kind : str
        ``"langevin"``, ``"gradient"``, ``"lca"``, ``"underdamped"`` or ``"variational"``.
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

    Raises
    ------
    InputError
        If a value is out of range, or belongs to another kind.
    """

    kind: str = choice("langevin", tuple(KINDS), "the system: two sample, and two settle on one code")
    temperature: float | None = quantity(None, "1", "a number >= 0, T of exp(-E/T) (1, or 0 for what settles)")
    friction: float | None = quantity(None, "1", "a number > 0, the friction of a momentum (chosen)", above=True)
    mass: float | None = quantity(None, "tau", "a number > 0, the mass of a momentum (chosen)", above=True)
    threshold: str = choice("soft", THRESHOLDS, 'the threshold of "lca"')

    def __post_init__(self) -> None:
        for name, options in (("kind", tuple(KINDS)), ("threshold", THRESHOLDS)):
            if getattr(self, name) not in options:
                raise InputError(f"dynamics.{name} = {getattr(self, name)!r} is not one of {', '.join(options)}.")
        for kind, name in [(kind, name) for kind, names in KINDS.items() for name in names]:
            value = getattr(self, name)
            if self.kind != kind and value not in (None, "soft"):
                shown = f'"{value}"' if isinstance(value, str) else repr(value)
                raise InputError(
                    f'dynamics.{name} = {shown} belongs to kind = "{kind}", and kind is "{self.kind}". Remove it.'
                )
            if value is not None and name != "threshold":
                if not is_positive(value):
                    raise InputError(f"dynamics.{name} = {value!r}, but it must be a finite number > 0.")
                object.__setattr__(self, name, float(value))
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
