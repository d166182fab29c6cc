"""Vector cells, one a file: equation, NumPy form and subcircuit side by side."""

from circuitlsc.circuit.cells.adaptive import (
    AdaptiveGate,
    AdaptiveThreshold,
    Corner,
    Follower,
    NoiseVoltage,
    Precision,
    RateVoltage,
    SparsityVoltage,
    ThresholdVoltage,
    corner,
)
from circuitlsc.circuit.cells.base import Cell, State, Wires
from circuitlsc.circuit.cells.crossbar import Crossbar
from circuitlsc.circuit.cells.feedback import Feedback, Held
from circuitlsc.circuit.cells.gate import DeviceGate, Gate
from circuitlsc.circuit.cells.integrator import DeviceIntegrator, DeviceMomentum, Integrator, Momentum
from circuitlsc.circuit.cells.memory import (
    DeviceMemory,
    Drive,
    DriveNoise,
    FeatureLines,
    FeatureRectifier,
    Memory,
    Neurons,
    Read,
    ThermalWeightNoise,
    WeightNoise,
    Write,
    WrittenNoise,
)
from circuitlsc.circuit.cells.node import (
    DeviceGradient,
    DeviceInput,
    DeviceResidual,
    Gradient,
    Input,
    Residual,
    TransimpedanceSum,
)
from circuitlsc.circuit.cells.noise import Noise, ThermalNoise
from circuitlsc.circuit.cells.op_amp import Buffer, Inverter, NegatedCode, NegatedResidual
from circuitlsc.circuit.cells.plastic import Backward, DeviceWeights, Forward, Hebbian, Weights
from circuitlsc.circuit.cells.resistors import ResistorCrossbar
from circuitlsc.circuit.cells.rule import NoiseRule, RateRule, SparsityRule, ThresholdRule
from circuitlsc.circuit.cells.threshold import DeviceThreshold, Threshold
from circuitlsc.circuit.cells.transconductor import DeviceTransconductor, Transconductor
from circuitlsc.circuit.cells.variational import (
    DeviceLaplaceProduct,
    DeviceLayer,
    DeviceRectifier,
    DeviceShiftedThreshold,
    Exponential,
    LaplaceMap,
    LaplaceProduct,
    Layer,
    NegatedHidden,
    NegatedObservation,
    Observation,
    Rectifier,
    ShiftedThreshold,
    Softplus,
)
