"""Vector cells, one a file: equation, NumPy form and subcircuit side by side."""

from circuitlsc.cells.base import Cell as Cell
from circuitlsc.cells.base import State as State
from circuitlsc.cells.base import Wires as Wires
from circuitlsc.cells.crossbar import Crossbar as Crossbar
from circuitlsc.cells.gate import DeviceGate as DeviceGate
from circuitlsc.cells.gate import Gate as Gate
from circuitlsc.cells.integrator import DeviceIntegrator as DeviceIntegrator
from circuitlsc.cells.integrator import Integrator as Integrator
from circuitlsc.cells.node import DeviceGradient as DeviceGradient
from circuitlsc.cells.node import DeviceInput as DeviceInput
from circuitlsc.cells.node import DeviceResidual as DeviceResidual
from circuitlsc.cells.node import Gradient as Gradient
from circuitlsc.cells.node import Input as Input
from circuitlsc.cells.node import Residual as Residual
from circuitlsc.cells.node import TransimpedanceSum as TransimpedanceSum
from circuitlsc.cells.noise import Noise as Noise
from circuitlsc.cells.noise import ThermalNoise as ThermalNoise
from circuitlsc.cells.op_amp import Buffer as Buffer
from circuitlsc.cells.op_amp import Inverter as Inverter
from circuitlsc.cells.op_amp import NegatedCode as NegatedCode
from circuitlsc.cells.op_amp import NegatedResidual as NegatedResidual
from circuitlsc.cells.resistors import ResistorCrossbar as ResistorCrossbar
from circuitlsc.cells.threshold import DeviceThreshold as DeviceThreshold
from circuitlsc.cells.threshold import Threshold as Threshold
