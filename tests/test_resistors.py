"""Crossbars of resistors: their wires against an independent solver and ngspice, and what happens to their cells."""

import itertools
import os
import sys
from importlib import import_module
from unittest.mock import MagicMock

import numpy as np
import pytest
from PySpice.Spice.Netlist import Circuit
from scipy import stats

from circuitlsc.circuit.cells import DeviceGradient, DeviceInput, NegatedCode, ResistorCrossbar, Wires
from circuitlsc.circuit.cells.resistors import (
    cell_currents,
    full_scale,
    reduce_crossbar,
    target_conductances,
    terminal_admittance,
)
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.nonideal.nonidealities import Nonidealities
from circuitlsc.planning.scaling import Scaling

REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"
SHAPES = [(1, 1), (1, 4), (4, 1), (3, 2), (5, 8), (16, 16)]
WIRES = [0.1, 7.0, 1000.0]


@pytest.fixture(scope="module")
def badcrossbar():
    """Return the independent solver; it draws with pycairo, which is not needed here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cairo", sys.modules.get("cairo", MagicMock()))
        return import_module("badcrossbar") if REQUIRED else pytest.importorskip("badcrossbar")


@pytest.fixture(params=["default scaling", "odd scaling"])
def scaling(request, odd_scaling):
    """Both sets of scales."""
    return Scaling() if request.param == "default scaling" else odd_scaling


def hardware(scaling=None, seed=0, *, reduced=False, **parts):
    return Hardware(Nonidealities(parts, seed=seed), scaling or Scaling(), reduced)


def crossbar(matrix, *, name="weights", seed=0, scaling=None, corner=None, reduced=False, **part):
    parts = {"crossbar": part} | ({"corner": corner} if corner else {})
    matrix = np.asarray(matrix, dtype=float)
    chip = hardware(scaling, seed, reduced=reduced, **parts)
    return ResistorCrossbar(name, len(matrix), matrix=matrix, hardware=chip)


def conductances(shape, seed=0):
    """Return conductances over three decades, with an open cell where there is room for one."""
    g = 10.0 ** np.random.default_rng(seed).uniform(-6, -3, shape)
    if g.size > 4:
        g[-1, 0] = 0.0
    return g


def close(got, expected, rtol):
    """Compare against the largest entry: small currents are differences of large ones."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.max(np.abs(expected)))


def nodal(g, wire, driver, columns, rows):
    """Return (row currents, cell currents) from the nodal equations, written out branch by branch.

    Nodes: one a crossing on its column, one on its row, and the terminals; where nothing resists, nodes are one.
    """
    n_rows, n_columns = g.shape
    numbers, branches, cells = {}, [], {}

    def number(*key):
        return numbers.setdefault(key, len(numbers))

    def on_column(j, c):
        return number("column", j if wire else 0, c) if wire + driver else number("driver", c)

    def on_row(j, c):
        return number("row", j, c) if wire else number("end", j)

    for j, c in itertools.product(range(n_rows), range(n_columns)):
        cells[j, c] = on_column(j, c), on_row(j, c), g[j, c]
        first, last = j == 0, c == n_columns - 1
        if first and wire + driver:
            branches.append((number("driver", c), on_column(j, c), 1 / (wire + driver)))
        if not first and wire:
            branches.append((on_column(j - 1, c), on_column(j, c), 1 / wire))
        if wire:
            branches.append((on_row(j, c), number("end", j) if last else on_row(j, c + 1), 1 / wire))
    laplacian = np.zeros((len(numbers), len(numbers)))
    for a, b, y in [*branches, *cells.values()]:
        laplacian[[a, b], [a, b]] += y
        laplacian[[a, b], [b, a]] -= y
    known = [number("driver", c) for c in range(n_columns)] + [number("end", j) for j in range(n_rows)]
    free = [k for k in range(len(numbers)) if k not in known]
    v = np.zeros(len(numbers))
    v[known] = [*columns, *rows]
    if free:
        v[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, known)] @ v[known])
    through = np.zeros(g.shape)
    for where, (a, b, y) in cells.items():
        through[where] = y * (v[a] - v[b])
    return -(laplacian @ v)[known[n_columns:]], through


def bench(*cells, scaling, **wires):
    """Return a circuit that holds the given cells and nothing else; ``wires`` by cell name."""
    circuit = Circuit("cells alone")
    defined = set()
    for cell in cells:
        for definition in cell.subcircuits(scaling):
            if definition.name not in defined:
                circuit.subcircuit(definition)
                defined.add(definition.name)
    for cell in cells:
        cell.emit(circuit, wires.get(cell.name, Wires({}, cell.nodes, cell.nodes)), scaling)
    return circuit


def deck(circuit):
    tight = ".options reltol=1e-12 vntol=1e-15 abstol=1e-21"
    return "\n".join([str(circuit), tight, ".end", ""])


def terminal_currents(cell, columns, rows, solve):
    """Return the currents out of a crossbar's rows in ngspice, with voltage sources at every terminal."""
    n = cell.matrix.shape[1]
    plus, minus = tuple(f"s_{i}" for i in range(n)), tuple(f"ns_{i}" for i in range(n))
    outs = tuple(f"a_{j}" for j in range(cell.size))
    scaling = cell.hardware.scaling
    circuit = bench(cell, scaling=scaling, **{cell.name: Wires({"v": plus, "minus": minus}, outs, outs)})
    for i in range(n):
        circuit.V(f"p{i}", plus[i], 0, float(columns[2 * i]))
        circuit.V(f"n{i}", minus[i], 0, float(columns[2 * i + 1]))
    for j in range(cell.size):
        circuit.V(f"m{j}", outs[j], 0, float(rows[j]))
    (answer,) = solve([(deck(circuit), "op")])
    return np.array([answer[f"vm{j}#branch"][0] for j in range(cell.size)])


# --- wires and drivers ---


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("wire", WIRES)
def test_wires_against_an_independent_solver(shape, wire, badcrossbar):
    g = conductances(shape)
    v = np.random.default_rng(1).standard_normal((shape[1], 2))
    with np.errstate(divide="ignore"):
        expected = badcrossbar.compute(v, 1 / g.T, wire).currents
    transfer, _ = reduce_crossbar(g, wire, 0.0)
    close((transfer @ v).T, expected.output, 1e-9)
    device = expected.device.reshape(shape[1], shape[0], 2)
    for k in range(2):
        close(cell_currents(g, wire, 0.0, v[:, k]), device[:, :, k].T, 1e-9)
    if wire == 1000.0:
        assert np.abs(transfer - g).max() > 1e-3 * g.max(), "negative control: these wires cannot be left out"


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
@pytest.mark.parametrize(("wire", "driver"), [(7.0, 0.0), (0.0, 900.0), (7.0, 900.0), (300.0, 40.0), (0.0, 0.0)])
def test_terminals_and_cells_against_nodal_equations(shape, wire, driver):
    """With voltages on the columns and on the rows, so that the admittance counts."""
    rng = np.random.default_rng(2)
    g, columns, rows = conductances(shape), rng.standard_normal(shape[1]), rng.standard_normal(shape[0])
    transfer, admittance = reduce_crossbar(g, wire, driver)
    expected, _ = nodal(g, wire, driver, columns, rows)
    close(transfer @ columns - admittance @ rows, expected, 1e-9)
    expected, cells = nodal(g, wire, driver, columns, np.zeros(shape[0]))
    close(transfer @ columns, expected, 1e-9)
    close(cell_currents(g, wire, driver, columns), cells, 1e-9)


@pytest.mark.parametrize(("wire", "driver"), [(0.0, 0.0), (0.0, 900.0), (7.0, 0.0), (7.0, 900.0)])
def test_reduced_crossbar_is_a_passive_resistor_network(wire, driver):
    """No current flows if all terminals are at one voltage; the admittance is symmetric and positive."""
    g = conductances((5, 8))
    transfer, admittance = reduce_crossbar(g, wire, driver)
    close(transfer.sum(axis=1), admittance.sum(axis=1), 1e-10)
    close(admittance, admittance.T, 1e-10)
    assert np.linalg.eigvalsh(admittance).min() > 0
    assert (transfer >= 0).all()
    # Kirchhoff: what flows through a row's cells flows out of it
    columns = np.linspace(-1, 2, 8)
    close(cell_currents(g, wire, driver, columns).sum(axis=1), transfer @ columns, 1e-10)


@pytest.mark.parametrize("driver", [0.0, 900.0])
@pytest.mark.parametrize("wire", [0.01, 7.0, 1000.0])
def test_terminal_admittance(wire, driver):
    """A mesh of conductances between the terminals, and the two blocks of `reduce_crossbar` in it."""
    g = conductances((5, 8))
    mesh = terminal_admittance(g, wire, driver)
    assert mesh.shape == (13, 13)
    close(mesh, mesh.T, 1e-15)
    assert np.abs(mesh.sum(axis=1)).max() < 1e-9 * np.abs(mesh).max()
    assert (mesh[~np.eye(13, dtype=bool)] <= 0).all()
    transfer, admittance = reduce_crossbar(g, wire, driver)
    close(-mesh[:5, 5:], transfer, 1e-9)
    close(mesh[:5, :5], admittance, 1e-9)
    columns, rows = np.random.default_rng(2).standard_normal(8), np.random.default_rng(3).standard_normal(5)
    expected, _ = nodal(g, wire, driver, columns, rows)
    close(-(mesh @ [*rows, *columns])[:5], expected, 1e-9)


def test_mesh_has_no_inner_nodes():
    """Only the pins are left; without resistive wires the netlist is the same either way."""
    matrix = np.random.default_rng(3).standard_normal((3, 2))
    (mesh,) = crossbar(matrix, reduced=True, wire_resistance=5.0).subcircuits(Scaling())
    (segments,) = crossbar(matrix, wire_resistance=5.0).subcircuits(Scaling())
    pins = {"out_0", "out_1", "out_2", "plus_0", "minus_0", "plus_1", "minus_1"}
    assert {str(node) for element in mesh.elements for node in element.nodes} == pins
    assert len({str(node) for element in segments.elements for node in element.nodes}) == 7 + 2 * 3 * 4
    ideal = [str(crossbar(matrix, reduced=r, driver_resistance=9.0).subcircuits(Scaling())[0]) for r in (False, True)]
    assert ideal[0] == ideal[1]


def test_ideal_wires_and_drivers_are_the_conductances_themselves():
    g = conductances((3, 4))
    transfer, admittance = reduce_crossbar(g, 0.0, 0.0)
    np.testing.assert_array_equal(transfer, g)
    np.testing.assert_array_equal(admittance, np.diag(g.sum(axis=1)))


@pytest.mark.parametrize(("wire", "driver"), [(0.0, 900.0), (0.0, 0.0)])
def test_wires_of_almost_no_resistance_are_ideal_wires(wire, driver):
    """The two branches of `reduce_crossbar` meet: the error is proportional to the wire's resistance."""
    g = conductances((5, 8))
    ideal = reduce_crossbar(g, wire, driver)
    errors = [np.abs(reduce_crossbar(g, r, driver)[0] - ideal[0]).max() / ideal[0].max() for r in (1e-2, 1e-3)]
    assert errors[0] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(10, rel=1e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 8)], ids=str)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("reduced", [False, True], ids=["segments", "mesh"])
def test_netlist_against_an_independent_solver(size, wire, reduced, badcrossbar, solve):
    """With every segment of wire, and as the mesh that stands for them."""
    matrix = np.random.default_rng(3).standard_normal(size)
    part = {"g_on": 1e-3, "g_off": 1e-6, "programming_error": 0.3, "wire_resistance": wire}
    cell = crossbar(matrix, reduced=reduced, **part)
    v = np.random.default_rng(4).standard_normal(2 * size[1])
    expected = badcrossbar.compute(v[:, None], 1 / cell.conductances_siemens.T, wire).currents.output[0]
    close(terminal_currents(cell, v, np.zeros(size[0]), solve), expected, 1e-6)
    if wire == 1000.0:
        assert np.abs(cell.conductances_siemens @ v - expected).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.ngspice
@pytest.mark.parametrize(("wire", "driver"), [(0.0, 0.0), (0.0, 300.0), (20.0, 0.0), (20.0, 300.0)])
@pytest.mark.parametrize("reduced", [False, True], ids=["segments", "mesh"])
def test_netlist_against_the_reduced_network(wire, driver, reduced, solve):
    """Every corner case of the netlist, rows off ground, and a corner at which every resistor is larger."""
    rng = np.random.default_rng(5)
    matrix = rng.standard_normal((4, 3))
    part = {"g_on": 1e-3, "g_off": 0.0, "programming_error": 0.3, "wire_resistance": wire, "driver_resistance": driver}
    cell = crossbar(matrix, corner={"resistance": 1.3}, reduced=reduced, **part)
    columns, rows = rng.standard_normal(6), rng.standard_normal(4)
    nominal = crossbar(matrix, **part)
    transfer, admittance = (y / 1.3 for y in reduce_crossbar(nominal.conductances_siemens, wire, driver))
    got = terminal_currents(cell, columns, rows, solve)
    close(got, transfer @ columns - admittance @ rows, 1e-9)
    close(cell.network[0], transfer, 1e-12)
    close(cell.network[1], admittance, 1e-12)


# --- the product ---


def products(matrix, constant, scaling, seed, *, reduced=False, **parts):
    """Return crossbar, inverters, amplifiers and input of ``e = matrix @ s + constant``, and how they are wired."""
    chip = hardware(scaling, seed, reduced=reduced, **parts)
    rows, columns = np.shape(matrix)
    cell = ResistorCrossbar("weights", rows, matrix=np.asarray(matrix), hardware=chip)
    minus = NegatedCode("weights_inverter", columns, source="s", hardware=chip)
    total = DeviceGradient("gradient", rows, crossbar=cell, source="s", has_input=constant is not None, hardware=chip)
    codes, grounds = tuple(f"s_{i}" for i in range(columns)), total.port_nodes("crossbar")
    wires = {
        "weights": Wires({"v": codes, "minus": minus.nodes}, grounds, total.nodes),
        "weights_inverter": Wires({"v": codes}, minus.nodes, minus.nodes),
        "gradient": Wires({}, total.nodes, total.nodes),
    }
    cells = [cell, minus, total]
    if constant is not None:
        cells.append(DeviceInput("bias", rows, value=constant, target="e", crossbar=cell, source="s"))
        wires["bias"] = Wires({}, grounds, total.nodes)
    return cells, wires


def product_in_ngspice(matrix, s, constant, scaling, solve, *, seed=0, **parts):
    cells, wires = products(matrix, constant, scaling, seed, **parts)
    circuit = bench(*cells, scaling=scaling, **wires)
    for i, value in enumerate(s):
        circuit.V(f"s{i}", f"s_{i}", 0, float(value * scaling.volt))
    (answer,) = solve([(deck(circuit), "op")])
    return np.array([answer[node][0] for node in cells[2].nodes]) / scaling.volt_e


def product_in_numpy(matrix, s, constant, scaling, *, seed=0, **parts):
    cells, _ = products(matrix, constant, scaling, seed, **parts)
    terms = {"crossbar": cells[0].evaluate({"v": s, "minus": cells[1].evaluate({"v": s})})}
    if constant is not None:
        terms["input"] = cells[3].evaluate({})
    return cells[2].evaluate(terms)


@pytest.mark.ngspice
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("biased", [False, True])
def test_static_product(seed, biased, scaling, solve):
    """Resistors, inverters and amplifiers multiply: M s + c, to nine digits."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 9, 2)
    matrix = rng.standard_normal((rows, columns)) * 10.0 ** rng.uniform(-2, 2)
    matrix[rng.random(matrix.shape) < 0.2] = 0.0
    s = rng.standard_normal(columns)
    constant = full_scale(matrix) * rng.standard_normal(rows) if biased else None
    expected = matrix @ s + (0 if constant is None else constant)
    close(product_in_ngspice(matrix, s, constant, scaling, solve), expected, 1e-9)
    np.testing.assert_allclose(product_in_numpy(matrix, s, constant, scaling), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.ngspice
def test_static_product_of_zero(solve):
    """A matrix of zeros has a full scale of 1, and its pairs cancel."""
    got = product_in_ngspice(np.zeros((2, 3)), np.ones(3), None, Scaling(), solve)
    np.testing.assert_allclose(got, 0.0, atol=1e-9)


IMPERFECT = {
    "cells": {"crossbar": {"levels": 16, "programming_error": 0.1, "stuck_on": 0.1, "stuck_off": 0.1}},
    "wires": {"crossbar": {"wire_resistance": 400.0}},
    "drivers": {"crossbar": {"driver_resistance": 4000.0}},
    "wires and drivers": {"crossbar": {"wire_resistance": 400.0, "driver_resistance": 4000.0}},
    "gain": {"op_amp": {"gain": 300.0}},
    "offset": {"op_amp": {"offset": 3e-3}},
    "corner": {"corner": {"resistance": 1.4, "capacitance": 0.8}},
    "all": {
        "crossbar": {"programming_error": 0.1, "wire_resistance": 400.0, "driver_resistance": 4000.0},
        "op_amp": {"gain": 300.0, "offset": 3e-3},
        "corner": {"resistance": 1.4},
    },
}


@pytest.mark.ngspice
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("parts", IMPERFECT.values(), ids=list(IMPERFECT))
def test_product_with_imperfect_parts(parts, biased, odd_scaling, solve):
    """What each part does wrong is the same in ngspice and in NumPy."""
    rng = np.random.default_rng(7)
    matrix, s = rng.standard_normal((4, 3)), rng.standard_normal(3)
    constant = rng.standard_normal(4) if biased else None
    if "wire_resistance" in parts.get("crossbar", {}):
        mesh = product_in_ngspice(matrix, s, constant, odd_scaling, solve, seed=3, reduced=True, **parts)
        close(mesh, product_in_numpy(matrix, s, constant, odd_scaling, seed=3, **parts), 1e-8)
    got = product_in_ngspice(matrix, s, constant, odd_scaling, solve, seed=3, **parts)
    close(got, product_in_numpy(matrix, s, constant, odd_scaling, seed=3, **parts), 1e-8)
    expected = matrix @ s + (0 if constant is None else constant)
    if set(parts) == {"corner"}:  # the resistors' ratio is what counts
        close(got, expected, 1e-9)
    else:
        assert np.abs(got - expected).max() > 1e-3 * np.abs(expected).max(), "negative control: it does matter"


def test_partials_of_the_product_are_its_slopes(odd_scaling):
    """Of `ResistorCrossbar`, `Inverter` and `TransimpedanceSum`, with everything imperfect."""
    cells, _ = products(
        np.random.default_rng(8).standard_normal((4, 3)), np.ones(4), odd_scaling, 3, **IMPERFECT["all"]
    )
    inputs = [
        {"v": np.ones(3), "minus": np.zeros(3)},
        {"v": np.ones(3)},
        {"crossbar": np.ones(4), "input": np.zeros(4)},
    ]
    for cell, given in zip(cells, inputs, strict=False):
        partials = cell.partials(given)
        assert set(partials) == set(given)
        for port, partial in partials.items():
            jacobian = partial if partial.ndim == 2 else np.diag(partial)
            steps = np.eye(given[port].size)
            slopes = [cell.evaluate({**given, port: given[port] + d}) - cell.evaluate(given) for d in steps]
            np.testing.assert_allclose(jacobian, np.transpose(slopes), rtol=1e-9, atol=1e-12)


# --- the cells ---


def many(n=100):
    """Return a matrix of entries from -1 to 1; its cells are 2 n^2."""
    return np.linspace(-1, 1, n * n).reshape(n, n)


def test_targets_are_a_differential_pair():
    """The negative half first (it is driven by +v, and the amplifier inverts), g_off for nothing, g_on for the largest."""
    g = target_conductances(np.array([[2.0, -1.0], [0.0, -4.0]]), hardware(crossbar={"g_on": 9e-6, "g_off": 1e-6}))
    np.testing.assert_allclose(g, np.array([[1, 5, 3, 1], [1, 1, 9, 1]]) * 1e-6, rtol=1e-12)


@pytest.mark.parametrize("levels", [2, 3, 16, 1000])
def test_levels(levels):
    cell, exact = crossbar(many(), levels=levels), crossbar(many())
    part = cell.hardware.parts.crossbar
    step = (part.g_on - part.g_off) / (levels - 1)
    rank = (cell.conductances_siemens - part.g_off) / step
    np.testing.assert_allclose(rank, np.rint(rank), atol=1e-9)
    assert len(np.unique(np.rint(rank))) == levels
    error = np.abs(cell.conductances_siemens - exact.conductances_siemens)
    assert error.max() <= step / 2 * (1 + 1e-9)
    assert error.max() > 0.4 * step
    assert cell.conductances_siemens.min() == pytest.approx(part.g_off)
    assert cell.conductances_siemens.max() == pytest.approx(part.g_on)


@pytest.mark.parametrize("sd", [0.05, 0.8])
def test_programming_error_is_a_lognormal_factor(sd):
    cell, exact = crossbar(many(), programming_error=sd, seed=5), crossbar(many())
    factor = (cell.conductances_siemens / exact.conductances_siemens).ravel()
    spread = np.sqrt(np.log1p(sd**2))
    z = 4.5 / np.sqrt(factor.size)
    assert abs(factor.mean() - 1) < z * sd
    assert abs(np.log(factor).std() - spread) < z * spread / np.sqrt(2)
    assert stats.kstest((np.log(factor) + spread**2 / 2) / spread, "norm").pvalue > 1e-5
    # negative control: a spread wrong by a tenth would be seen
    assert 0.1 * spread > z * spread / np.sqrt(2)
    assert stats.kstest((np.log(factor) + spread**2 / 2) / (1.1 * spread), "norm").pvalue < 1e-5


def test_programming_polynomial_is_additive_and_depends_on_the_conductance():
    c0, c1, c2 = 0.02, 0.1, -0.09
    cell, exact = crossbar(many(), programming_polynomial=[c0, c1, c2], seed=5), crossbar(many())
    g_on = exact.hardware.parts.crossbar.g_on
    share = exact.conductances_siemens / g_on
    sd = c0 + c1 * share + c2 * share**2
    z = (cell.conductances_siemens / g_on - share) / sd
    inside = share > 4 * sd  # where the cut at zero conductance does not matter
    assert inside.sum() > 5000
    assert stats.kstest(z[inside], "norm").pvalue > 1e-5
    for low, high in itertools.pairwise([0.3, 0.5, 0.7, 1.0]):
        here = z[(share > low) & (share <= high)]
        assert abs(here.std() - 1) < 4.5 / np.sqrt(2 * here.size)
        assert abs(here.mean()) < 4.5 / np.sqrt(here.size)
    assert stats.kstest((z * sd / np.mean(sd))[inside], "norm").pvalue < 1e-5, "negative control: one sd for all"
    assert (cell.conductances_siemens >= 0).all()
    assert (cell.conductances_siemens == 0).any()


def test_programming_polynomial_that_falls_below_zero_is_no_error():
    cell, exact = crossbar(many(10), programming_polynomial=[-0.1, 0.0, 0.0]), crossbar(many(10))
    np.testing.assert_array_equal(cell.conductances_siemens, exact.conductances_siemens)


@pytest.mark.parametrize(("on", "off"), [(0.02, 0.0), (0.0, 0.02), (0.3, 0.2), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_stuck_fractions(on, off):
    matrix = 0.4 * many() + 0.5
    matrix[0, 0] = 1.0
    cell = crossbar(matrix, stuck_on=on, stuck_off=off, g_off=1e-8, seed=2)
    g, part = cell.conductances_siemens, cell.hardware.parts.crossbar
    inner = crossbar(matrix, g_off=1e-8).conductances_siemens
    for fraction, value in ((on, part.g_on), (off, part.g_off)):
        free = inner != value  # cells that would not be there anyway
        hits = int((g[free] == value).sum())
        low, high = (
            stats.binom.interval(1 - 1e-6, free.sum(), fraction) if 0 < fraction < 1 else (free.sum() * fraction,) * 2
        )
        assert low <= hits <= high
    untouched = (g != part.g_on) & (g != part.g_off)
    np.testing.assert_array_equal(g[untouched], inner[untouched])
    assert untouched.any() == (on + off < 1)


def test_a_larger_stuck_fraction_keeps_the_cells_stuck_that_were():
    matrix = 0.4 * many(40) + 0.5
    free = crossbar(matrix).conductances_siemens
    on, off = {}, {}
    for fraction in (0.01, 0.05, 0.3):
        g_on = crossbar(matrix, stuck_on=fraction, stuck_off=0.1).conductances_siemens
        g_off = crossbar(matrix, stuck_on=0.1, stuck_off=fraction).conductances_siemens
        on[fraction] = (g_on == 1e-5) & (free != 1e-5)
        off[fraction] = (g_off == 1e-7) & (free != 1e-7)
    for stuck in (on, off):
        assert (stuck[0.01] <= stuck[0.05]).all()
        assert (stuck[0.05] <= stuck[0.3]).all()
        assert 0 < stuck[0.01].sum() < stuck[0.05].sum() < stuck[0.3].sum()
    assert not (on[0.3] & off[0.3]).any()


def test_stuck_cells_have_no_programming_error_and_stand_at_the_corner():
    cell = crossbar(many(10), stuck_on=1.0, programming_error=0.5, corner={"resistance": 1.25})
    np.testing.assert_allclose(cell.conductances_siemens, 1e-5 / 1.25, rtol=1e-12)


# --- what the draws depend on ---

ERRORS = {
    "programming_error": {"programming_error": 0.3},
    "programming_polynomial": {"programming_polynomial": [0.1, 0.0, 0.0]},
    "stuck": {"stuck_on": 0.3, "stuck_off": 0.3},
}


@pytest.mark.parametrize("part", ERRORS.values(), ids=list(ERRORS))
def test_draws_depend_on_the_cell_and_the_seed_alone(part):
    """A smaller crossbar's errors are the top-left corner of a larger one's."""
    large = np.random.default_rng(9).uniform(-0.9, 0.9, (5, 4))
    large[0, 0] = 1.0
    small = large[:3, :2]
    got = crossbar(small, **part).conductances_siemens
    np.testing.assert_array_equal(got, crossbar(large, **part).conductances_siemens[:3, :4])
    np.testing.assert_array_equal(got, crossbar(small, **part).conductances_siemens)
    assert (got != crossbar(small, seed=1, **part).conductances_siemens).any()
    assert (got != crossbar(small, name="others", **part).conductances_siemens).any()
    assert (got != crossbar(small).conductances_siemens).any()


def test_every_cell_has_a_draw_of_its_own():
    """No two cells share one, not even the two of a pair: uncorrelated along rows, columns and pairs."""
    g = crossbar(np.zeros((60, 30)), programming_error=0.3).conductances_siemens
    assert len(np.unique(g)) == g.size
    z = np.log(g) - np.log(g).mean()
    for a, b in ((z[:, 0::2], z[:, 1::2]), (z[1:], z[:-1]), (z[:, 2:], z[:, :-2])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / np.sqrt(a.size)


def test_one_imperfection_does_not_move_another():
    """Relative programming errors are the same with and without wires, stuck cells and levels."""
    matrix = 0.5 * many(10) + 0.2
    matrix[0, 0] = 1.0
    alone = crossbar(matrix, programming_error=0.3).conductances_siemens / crossbar(matrix).conductances_siemens
    others = {"levels": 8, "stuck_on": 0.2, "wire_resistance": 5.0}
    both = crossbar(matrix, programming_error=0.3, **others).conductances_siemens
    clean = crossbar(matrix, **others).conductances_siemens
    free = both != 1e-5  # not stuck
    assert 0 < free.sum() < free.size
    np.testing.assert_allclose((both / clean)[free], alone[free], rtol=1e-12)
