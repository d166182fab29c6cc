"""The systems by the kind of their dynamics."""

from __future__ import annotations

from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.features import Features
from circuitlsc.sampling.dynamics import LCA, SETTLING_CHUNK, TOLERANCE, Gradient, System, Underdamped
from circuitlsc.sampling.encoded import Amortised, Variational

__all__ = ["SETTLING_CHUNK", "SYSTEMS", "TOLERANCE", "System", "system_of"]

#: a new system is its kind in `circuitlsc.model.dynamics.KINDS` and its class here
SYSTEMS: dict[str, type[System]] = {
    "langevin": System,
    "gradient": Gradient,
    "lca": LCA,
    "underdamped": Underdamped,
    "amortised": Amortised,
    "variational": Variational,
}


def system_of(
    dynamics: Dynamics,
    encoder: Encoder | None = None,
    source: str | None = None,
    features: Features | None = None,
) -> System:
    """Return what dynamics are to a circuit; InputError if an encoder or features are missing, or belong to another kind."""
    return SYSTEMS[dynamics.kind](dynamics, encoder, source, features)
