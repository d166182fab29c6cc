"""circuitlsc: compile a sparse-coding posterior into an analog circuit whose thermal noise samples it.

Names are imported when they are first used: a worker process then starts in half the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from circuitlsc.errors import CircuitLSCError as CircuitLSCError
    from circuitlsc.errors import InputError as InputError
    from circuitlsc.errors import MissingSimulatorError as MissingSimulatorError
    from circuitlsc.errors import NetlistError as NetlistError
    from circuitlsc.errors import ReferenceRefusedError as ReferenceRefusedError
    from circuitlsc.errors import SimulationError as SimulationError
    from circuitlsc.io.declared import quantity as quantity
    from circuitlsc.learning import CircuitLearner as CircuitLearner
    from circuitlsc.learning import Learned as Learned
    from circuitlsc.learning import Learner as Learner
    from circuitlsc.learning import Stage as Stage
    from circuitlsc.learning import match_atoms as match_atoms
    from circuitlsc.model.cost_priors import Cauchy as Cauchy
    from circuitlsc.model.cost_priors import SquareRoot as SquareRoot
    from circuitlsc.model.data import bars as bars
    from circuitlsc.model.dynamics import Dynamics as Dynamics
    from circuitlsc.model.prior import Prior as Prior
    from circuitlsc.model.prior_io import register_prior as register_prior
    from circuitlsc.model.priors import Gaussian as Gaussian
    from circuitlsc.model.priors import Laplace as Laplace
    from circuitlsc.model.priors import SpikeSlab as SpikeSlab
    from circuitlsc.model.sparse_coding import SparseCodingModel as SparseCodingModel
    from circuitlsc.model.tabulated_prior import CustomPrior as CustomPrior
    from circuitlsc.nonideal.nonidealities import Nonidealities as Nonidealities
    from circuitlsc.planning.run_plan import RunPlan as RunPlan
    from circuitlsc.planning.scaling import Scaling as Scaling
    from circuitlsc.sampling.compile import build_sampler as build_sampler
    from circuitlsc.sampling.sampler import Sampler as Sampler
    from circuitlsc.sampling.samples import Samples as Samples
    from circuitlsc.simulator.store import Store as Store
    from circuitlsc.studies.budget import error_budget as error_budget
    from circuitlsc.studies.chip_yield import chip_yield as chip_yield
    from circuitlsc.studies.circuit_calibration import calibrate_circuit as calibrate_circuit
    from circuitlsc.studies.friction import friction_sweep as friction_sweep
    from circuitlsc.validation.judge import judge as judge
    from circuitlsc.validation.map_result import read_map as read_map

_HOMES = {
    "Prior": "model.prior",
    "quantity": "io.declared",
    "register_prior": "model.prior_io",
    "error_budget": "studies.budget",
    "chip_yield": "studies.chip_yield",
    "Cauchy": "model.cost_priors",
    "SquareRoot": "model.cost_priors",
    "CustomPrior": "model.tabulated_prior",
    "calibrate_circuit": "studies.circuit_calibration",
    "friction_sweep": "studies.friction",
    "CircuitLearner": "learning",
    "Learned": "learning",
    "Learner": "learning",
    "Stage": "learning",
    "match_atoms": "learning",
    "read_map": "validation.map_result",
    "bars": "model.data",
    "Dynamics": "model.dynamics",
    "CircuitLSCError": "errors",
    "InputError": "errors",
    "MissingSimulatorError": "errors",
    "NetlistError": "errors",
    "ReferenceRefusedError": "errors",
    "SimulationError": "errors",
    "SparseCodingModel": "model.sparse_coding",
    "Nonidealities": "nonideal.nonidealities",
    "Gaussian": "model.priors",
    "Laplace": "model.priors",
    "SpikeSlab": "model.priors",
    "RunPlan": "planning.run_plan",
    "Sampler": "sampling.sampler",
    "build_sampler": "sampling.compile",
    "Store": "simulator.store",
    "judge": "validation.judge",
    "Samples": "sampling.samples",
    "Scaling": "planning.scaling",
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
