"""Vector cells, one a file: equation, NumPy form and subcircuit side by side."""

from circuitlsc.cells.base import Cell as Cell
from circuitlsc.cells.base import Wires as Wires
from circuitlsc.cells.crossbar import Crossbar as Crossbar
from circuitlsc.cells.gate import Gate as Gate
from circuitlsc.cells.integrator import Integrator as Integrator
from circuitlsc.cells.node import Gradient as Gradient
from circuitlsc.cells.node import Input as Input
from circuitlsc.cells.node import Residual as Residual
from circuitlsc.cells.noise import Noise as Noise
from circuitlsc.cells.threshold import Threshold as Threshold
