r"""Crossbar of resistors: differential pairs between column drivers and virtual grounds, with everything that ails them.

Column 2i is driven by +v_i and column 2i+1 by -v_i; the row amplifiers invert, so a positive entry sits in the second:

.. math:: I_j = \sum_i G^-_{ji} v_i + G^+_{ji} (-v_i), \qquad
          G^\pm = g_{off} + \frac{g_{on} - g_{off}}{\max|M|} \max(\pm M, 0)

Wires: one segment of resistance from a driver to the first row and from each row to the next; one from each column to
the next along a row, and one from the last column to the virtual ground.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from PySpice.Spice.Netlist import Netlist, SubCircuit
from scipy.sparse.linalg import splu

from circuitlsc.circuit.cells.base import Cell, Wires, number
from circuitlsc.io.arrays import Array
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling

OPEN = 1e-18  # siemens: stands for an open cell at the end of a wire, which must not dangle


@dataclass(frozen=True, eq=False)
class ResistorCrossbar(Cell):
    """A linear map of a voltage vector and its negative to row currents, by pairs of resistors.

    Parameters
    ----------
    matrix : array, shape (size, n_inputs)
        In model units (output units per input unit).
    hardware : Hardware
    """

    matrix: Array
    hardware: Hardware

    ports = ("v", "minus")
    linear = True

    @property
    def unit(self) -> float:
        """Siemens per unit of the matrix, before the corner."""
        part = self.hardware.parts.crossbar
        return (part.g_on - part.g_off) / full_scale(self.matrix)

    @cached_property
    def conductances_siemens(self) -> Array:
        """What the cells became, siemens, shape (size, 2 n_inputs): columns +v_0, -v_0, +v_1, ..."""
        g = target_conductances(self.matrix, self.hardware)
        part, parts = self.hardware.parts.crossbar, self.hardware.parts
        rows, columns = g.shape
        names = [[f"{self.name}_{j}_{c // 2}{'pm'[c % 2]}" for c in range(columns)] for j in range(rows)]
        if part.levels is not None:
            step = (part.g_on - part.g_off) / (part.levels - 1)
            g = part.g_off + np.rint((g - part.g_off) / step) * step
        if part.programming_error > 0:
            g = g * np.array([parts.factors(row, "programming_error", part.programming_error) for row in names])
        if part.programming_polynomial:
            c0, c1, c2 = part.programming_polynomial
            share = g / part.g_on
            sd = np.maximum(c0 + c1 * share + c2 * share**2, 0.0) * part.g_on
            z = np.array([parts.normals(row, "programming_polynomial", 1.0) for row in names])
            g = np.maximum(g + sd * z, 0.0)
        if part.stuck_on > 0 or part.stuck_off > 0:
            # one number a cell: a larger fraction leaves the cells stuck that were, and adds others
            p = np.array([[parts.uniform(name, "stuck") for name in row] for row in names])
            g = np.where(p < part.stuck_on, part.g_on, np.where(p > 1 - part.stuck_off, part.g_off, g))
        return np.asarray(g / parts.corner.resistance)

    @cached_property
    def network(self) -> tuple[Array, Array]:
        """Transfer (size, 2 n_inputs) from column to row currents, and admittance (size, size) seen by the rows; siemens."""
        part, hardware = self.hardware.parts.crossbar, self.hardware
        return reduce_crossbar(
            self.conductances_siemens, hardware.ohm(part.wire_resistance), hardware.ohm(part.driver_resistance)
        )

    @cached_property
    def _effective(self) -> tuple[Array, Array]:
        transfer = -self.network[0] * self.hardware.parts.corner.resistance / self.unit
        return transfer[:, 0::2], transfer[:, 1::2]

    def respond(self, inputs: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Return what the row amplifiers make of v and -v, M v if nothing ails the resistors, and the two matrices."""
        plus, minus = self._effective
        return np.asarray(inputs["v"] @ plus.T + inputs["minus"] @ minus.T), {"v": plus, "minus": minus}

    def conductances(self, scaling: Scaling) -> Array:
        """Return the cells' conductances, siemens, shape (size, 2 n_inputs)."""
        return self.conductances_siemens

    def subcircuits(self, scaling: Scaling) -> tuple[SubCircuit, ...]:
        """Return ``lsc_<name> out_0 .. plus_0 minus_0 plus_1 ..``: resistors, and wires if they resist (or their mesh)."""
        part = self.hardware.parts.crossbar
        rows, columns = self.conductances_siemens.shape
        outs = [f"out_{j}" for j in range(rows)]
        ins = [f"{'plus' if c % 2 == 0 else 'minus'}_{c // 2}" for c in range(columns)]
        text = f"crossbar of resistors: {rows} rows, {columns // 2} differential pairs of columns"
        cell = self.defined(text, *outs, *ins)
        wire, driver = self.hardware.ohm(part.wire_resistance), self.hardware.ohm(part.driver_resistance)
        if wire > 0 and self.hardware.reduced:
            mesh = -terminal_admittance(self.conductances_siemens, wire, driver)
            pins = [*outs, *ins]
            for a, b in zip(*np.triu_indices(len(pins), 1), strict=True):
                if mesh[a, b] > 0:
                    cell.R(f"{a}_{b}", pins[a], pins[b], number(1 / mesh[a, b]))
            return (cell,)
        if wire > 0:
            for c, j in np.ndindex(columns, rows):
                above = ins[c] if j == 0 else f"c{j - 1}_{c}"
                cell.R(f"wc{j}_{c}", above, f"c{j}_{c}", number(wire + (driver if j == 0 else 0.0)))
            for j, c in np.ndindex(rows, columns):
                right = outs[j] if c == columns - 1 else f"r{j}_{c + 1}"
                cell.R(f"wr{j}_{c}", f"r{j}_{c}", right, number(wire))
        elif driver > 0:
            for c in range(columns):
                cell.R(f"d_{c}", ins[c], f"c{c}", number(driver))
        for j, c in np.ndindex(rows, columns):
            g = max(float(self.conductances_siemens[j, c]), OPEN if wire > 0 else 0.0)
            if g > 0:
                line = f"c{j}_{c}" if wire > 0 else f"c{c}" if driver > 0 else ins[c]
                cell.R(f"{j}_{c}", line, f"r{j}_{c}" if wire > 0 else outs[j], number(1 / g))
        return (cell,)

    def emit(self, netlist: Netlist, wires: Wires, scaling: Scaling) -> None:
        """Add the one crossbar."""
        pairs = zip(wires.inputs["v"], wires.inputs["minus"], strict=True)
        netlist.X(self.name, f"lsc_{self.name}", *wires.output, *(node for pair in pairs for node in pair))


def full_scale(matrix: Array) -> float:
    """Return the entry that g_on stands for: the largest, or 1 if all are 0."""
    return float(np.max(np.abs(matrix))) or 1.0


def target_conductances(matrix: Array, hardware: Hardware) -> Array:
    """Return the conductances that one would program, siemens, shape (rows, 2 n_inputs)."""
    part = hardware.parts.crossbar
    unit = (part.g_on - part.g_off) / full_scale(matrix)
    g = np.empty((matrix.shape[0], 2 * matrix.shape[1]))
    g[:, 0::2] = part.g_off + unit * np.maximum(-matrix, 0.0)
    g[:, 1::2] = part.g_off + unit * np.maximum(matrix, 0.0)
    return g


def _ladder(g: Array, wire: float, driver: float) -> tuple[sp.csc_matrix, Array, float, float]:
    """Return the nodal matrix of a crossbar's wires, and the conductances of its end segments (drivers, rows)."""
    rows, columns = g.shape
    n = rows * columns
    index = np.arange(n).reshape(rows, columns)
    a, b, value = [index.ravel()], [n + index.ravel()], [g.ravel()]
    a += [index[:-1].ravel(), n + index[:, :-1].ravel()]
    b += [index[1:].ravel(), n + index[:, 1:].ravel()]
    value += [np.full((rows - 1) * columns, 1 / wire), np.full(rows * (columns - 1), 1 / wire)]
    i, j, y = np.concatenate(a), np.concatenate(b), np.concatenate(value)
    head, tail = 1 / (wire + driver), 1 / wire
    diagonal = np.bincount(i, y, 2 * n) + np.bincount(j, y, 2 * n)
    diagonal[index[0]] += head
    diagonal[n + index[:, -1]] += tail
    matrix = sp.coo_matrix((-y, (i, j)), shape=(2 * n, 2 * n))
    return sp.csc_matrix(matrix + matrix.T + sp.diags(diagonal)), index, head, tail


def reduce_crossbar(g: Array, wire: float, driver: float) -> tuple[Array, Array]:
    r"""Return a crossbar's terminal behaviour, exactly: :math:`I = T v_{columns} - Y v_{rows}`, currents out of the rows.

    Parameters
    ----------
    g : array, shape (rows, columns)
        Conductances, siemens.
    wire, driver : float
        Resistance of a wire segment and of a driver, ohm.

    Returns
    -------
    transfer : array, shape (rows, columns)
    admittance : array, shape (rows, rows)
        Both siemens; with ideal wires and drivers they are g and the diagonal of its row sums.
    """
    rows, columns = g.shape
    if wire == 0:
        loaded = 1 / (1 + driver * g.sum(axis=0))
        return g * loaded, np.diag(g.sum(axis=1)) - driver * (g * loaded) @ g.T
    matrix, index, head, tail = _ladder(g, wire, driver)
    n = rows * columns
    drive = np.zeros((2 * n, rows))
    drive[n + index[:, -1], np.arange(rows)] = tail
    answer = splu(matrix).solve(drive)  # symmetric: the response at the columns' heads to each row's terminal
    transfer = (answer[index[0]] * head).T
    admittance = tail * (np.eye(rows) - answer[n + index[:, -1]])
    return np.asarray(transfer), np.asarray(admittance)


def terminal_admittance(g: Array, wire: float, driver: float) -> Array:
    r"""Return the admittance matrix of a crossbar with resistive wires as its terminals see it: rows, then columns.

    .. math:: Y = Y_{tt} - Y_{ti} Y_{ii}^{-1} Y_{it}

    (Kron reduction; t terminals, i inner nodes.) Off-diagonal entries are minus the conductances of the equivalent mesh.

    Parameters
    ----------
    g : array, shape (rows, columns)
        Siemens.
    wire, driver : float
        Ohm; wire > 0.

    Returns
    -------
    array, shape (rows + columns, rows + columns)
        Siemens.
    """
    rows, columns = g.shape
    matrix, index, head, tail = _ladder(g, wire, driver)
    drive = np.zeros((2 * g.size, rows + columns))
    drive[g.size + index[:, -1], np.arange(rows)] = tail
    drive[index[0], rows + np.arange(columns)] = head
    own = np.concatenate([np.full(rows, tail), np.full(columns, head)])
    reduced = np.diag(own) - drive.T @ splu(matrix).solve(drive)
    return np.asarray((reduced + reduced.T) / 2)


def cell_currents(g: Array, wire: float, driver: float, columns: Array) -> Array:
    """Return the current through each cell, ampere, shape (rows, columns), with the rows at ground.

    Parameters
    ----------
    g : array, shape (rows, columns)
        Siemens.
    wire, driver : float
        Ohm.
    columns : array, shape (columns,)
        Driver voltages.
    """
    if wire == 0:
        return np.asarray(g * (columns / (1 + driver * g.sum(axis=0))))
    matrix, index, head, _ = _ladder(g, wire, driver)
    drive = np.zeros(2 * g.size)
    drive[index[0]] = head * columns
    v = splu(matrix).solve(drive)
    return np.asarray(g * (v[: g.size] - v[g.size :]).reshape(g.shape))
