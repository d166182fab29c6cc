"""circuitlsc: compile a sparse-coding posterior into an analog circuit whose thermal noise samples it."""

from importlib.metadata import version

from circuitlsc.data import bars as bars
from circuitlsc.errors import CircuitLSCError as CircuitLSCError
from circuitlsc.errors import InputError as InputError
from circuitlsc.errors import MissingSimulatorError as MissingSimulatorError
from circuitlsc.errors import NetlistError as NetlistError
from circuitlsc.errors import ReferenceRefusedError as ReferenceRefusedError
from circuitlsc.errors import SimulationError as SimulationError
from circuitlsc.model import SparseCodingModel as SparseCodingModel
from circuitlsc.priors import Gaussian as Gaussian
from circuitlsc.priors import Laplace as Laplace
from circuitlsc.priors import SpikeSlab as SpikeSlab
from circuitlsc.runplan import RunPlan as RunPlan
from circuitlsc.sampler import Sampler as Sampler
from circuitlsc.sampler import build_sampler as build_sampler
from circuitlsc.samples import Samples as Samples
from circuitlsc.scaling import Scaling as Scaling

__version__ = version("circuitlsc")
