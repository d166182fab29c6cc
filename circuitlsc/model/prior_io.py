"""Priors by their kind: the registry that configs and files of samples ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from circuitlsc.errors import InputError
from circuitlsc.model.cost_priors import Cauchy, SquareRoot
from circuitlsc.model.prior import Prior
from circuitlsc.model.priors import Gaussian, Laplace, SpikeSlab
from circuitlsc.model.tabulated_prior import CustomPrior

P = TypeVar("P", bound=Prior)
TAKEN = ("A", "sigma", "feature", "latent", "kind", "file", "signed")  # by a file's other variables, dimensions or keys
#: classes of priors by their kinds: `register_prior` adds to it
PRIORS: dict[str, type[Prior]] = {}


def register_prior(cls: type[P]) -> type[P]:
    """Make a class of priors known by its ``kind``, to configs and to files of samples; a decorator of the class.

    Parameters
    ----------
    cls : type
        A frozen dataclass that extends `circuitlsc.model.prior.Prior`, its numbers declared by
        `circuitlsc.io.declared.quantity`.

    Returns
    -------
    type
        The class.

    Raises
    ------
    InputError
        If it is none, leaves something out, or another class has its kind.
    """
    made: Any = vars(cls).get("__dataclass_params__") if isinstance(cls, type) and issubclass(cls, Prior) else None
    if made is None or not made.frozen:  # a subclass without a decorator of its own has none of its fields
        raise InputError(
            f"register_prior: {cls!r} is not a frozen dataclass that extends Prior. Decorate it with @dataclass(frozen=True)."
        )
    own = {f.name: f.metadata for f in fields(cls)}
    missing = sorted(cls.__abstractmethods__) or [n for n in ("kind", "signed") if n not in own and not hasattr(cls, n)]
    if missing:
        raise InputError(f"register_prior: {cls.__name__} has no {', '.join(missing)}. Write what is missing.")
    if not isinstance(cls.kind, str):
        raise InputError(f"register_prior: {cls.__name__}.kind = {cls.kind!r} is not a string. Give a word.")
    held = PRIORS.get(cls.kind, cls)
    if (held.__module__, held.__qualname__) != (cls.__module__, cls.__qualname__):  # a notebook's cell is run again
        raise InputError(f"register_prior: the kind {cls.kind!r} is that of {held.__name__}. Give another kind.")
    if taken := [name for name in cls.parameters() if name in TAKEN or hasattr(Prior, name)]:
        raise InputError(f"register_prior: {cls.__name__}.{taken[0]} has the name of something else. Rename it.")
    for name, meta in own.items():
        real = meta.get("kind") == "number" and not (meta["whole"] or meta["three"] or meta["auto"])
        if not real and name != "signed" and "from_variables" not in vars(cls):
            raise InputError(
                f"register_prior: {cls.__name__}.{name} is not declared as a real number, and no file would keep it. Declare "
                "it by quantity(...), without whole, three and auto."
            )
    PRIORS[cls.kind] = cls
    return cls


for _prior in (SpikeSlab, Laplace, Gaussian, Cauchy, SquareRoot, CustomPrior):
    register_prior(_prior)


def prior_keys() -> tuple[str, ...]:
    """Return the keys that ``[prior]`` of a config may have."""
    own = dict.fromkeys(key for cls in PRIORS.values() for key in cls.config_keys() if key != "signed")
    return ("kind", *own, "signed")


def prior_from(kind: str, signed: bool, variables: Mapping[Any, Any]) -> Prior:
    """Return the prior that `Prior.variables` has written, equal to the last bit.

    Raises
    ------
    InputError
        If the kind is not known.
    """
    if kind not in PRIORS:
        raise InputError(
            f"the samples' prior {kind!r} is not known. Import the module that registers it (register_prior)."
        )
    return PRIORS[kind].from_variables(variables, signed)
