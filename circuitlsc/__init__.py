"""circuitlsc: compile a sparse-coding posterior into an analog circuit whose thermal noise samples it.

Names are imported when they are first used: a worker process then starts in half the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from circuitlsc.budget import error_budget as error_budget
    from circuitlsc.build import build_sampler as build_sampler
    from circuitlsc.chips import chip_yield as chip_yield
    from circuitlsc.circuit_calibration import calibrate_circuit as calibrate_circuit
    from circuitlsc.cost_priors import Cauchy as Cauchy
    from circuitlsc.cost_priors import SquareRoot as SquareRoot
    from circuitlsc.custom_prior import CustomPrior as CustomPrior
    from circuitlsc.data import bars as bars
    from circuitlsc.dynamics import Dynamics as Dynamics
    from circuitlsc.errors import CircuitLSCError as CircuitLSCError
    from circuitlsc.errors import InputError as InputError
    from circuitlsc.errors import MissingSimulatorError as MissingSimulatorError
    from circuitlsc.errors import NetlistError as NetlistError
    from circuitlsc.errors import ReferenceRefusedError as ReferenceRefusedError
    from circuitlsc.errors import SimulationError as SimulationError
    from circuitlsc.friction import friction_sweep as friction_sweep
    from circuitlsc.learning import CircuitLearner as CircuitLearner
    from circuitlsc.learning import Learned as Learned
    from circuitlsc.learning import Learner as Learner
    from circuitlsc.learning import Stage as Stage
    from circuitlsc.learning import match_atoms as match_atoms
    from circuitlsc.map_result import read_map as read_map
    from circuitlsc.model import SparseCodingModel as SparseCodingModel
    from circuitlsc.nonideal import Nonidealities as Nonidealities
    from circuitlsc.priors import Gaussian as Gaussian
    from circuitlsc.priors import Laplace as Laplace
    from circuitlsc.priors import SpikeSlab as SpikeSlab
    from circuitlsc.runplan import RunPlan as RunPlan
    from circuitlsc.sampler import Sampler as Sampler
    from circuitlsc.samples import Samples as Samples
    from circuitlsc.scaling import Scaling as Scaling

_HOMES = {
    "error_budget": "budget",
    "chip_yield": "chips",
    "Cauchy": "cost_priors",
    "SquareRoot": "cost_priors",
    "CustomPrior": "custom_prior",
    "calibrate_circuit": "circuit_calibration",
    "friction_sweep": "friction",
    "CircuitLearner": "learning",
    "Learned": "learning",
    "Learner": "learning",
    "Stage": "learning",
    "match_atoms": "learning",
    "read_map": "map_result",
    "bars": "data",
    "Dynamics": "dynamics",
    "CircuitLSCError": "errors",
    "InputError": "errors",
    "MissingSimulatorError": "errors",
    "NetlistError": "errors",
    "ReferenceRefusedError": "errors",
    "SimulationError": "errors",
    "SparseCodingModel": "model",
    "Nonidealities": "nonideal",
    "Gaussian": "priors",
    "Laplace": "priors",
    "SpikeSlab": "priors",
    "RunPlan": "runplan",
    "Sampler": "sampler",
    "build_sampler": "build",
    "Samples": "samples",
    "Scaling": "scaling",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("circuitlsc")
    if name not in _HOMES:
        raise AttributeError(f"module 'circuitlsc' has no attribute {name!r}")
    value = getattr(import_module(f"circuitlsc.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
