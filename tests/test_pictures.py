"""Pictures of crossbars and schematics: the numbers that they show are the sampler's, and no label collides."""

import functools
import importlib
import math
import os
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from picture_checks import collisions, rendered, texts

from circuitlsc import Gaussian, InputError, Laplace, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit.cells import Gate, ResistorCrossbar, ThermalNoise, TransimpedanceSum
from circuitlsc.drawing.crossbar import column_voltages, crossbar_figure, plot_crossbar
from circuitlsc.drawing.schematic import (
    NODES,
    engineering,
    neuron_figure,
    neuron_schematic,
    si_prefix,
    signal_path_figure,
    signal_path_schematic,
)
from circuitlsc.drawing.sheet import CURVE, CURVE_BOX
from circuitlsc.model.cost_priors import Cauchy, SquareRoot
from circuitlsc.model.dynamics import Dynamics
from circuitlsc.model.tabulated_prior import CustomPrior
from circuitlsc.nonideal.nonidealities import Nonidealities

pytestmark = pytest.mark.xdist_group("pictures")  # figures are drawn once in a process
REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"
PRIORS = {
    "spike-slab": SpikeSlab(0.3, 1.4),
    "spike-slab-signed": SpikeSlab(0.3, 1.4, signed=True),
    "laplace": Laplace(1.4),
    "exponential": Laplace(1.4, signed=False),
    "gaussian": Gaussian(0.6),
    "cauchy": Cauchy(1.2, 0.4),
    "cauchy-positive": Cauchy(1.2, 0.4, signed=False),
    "square-root": SquareRoot(1.5),
    "custom": CustomPrior(lambda s: np.log(np.cosh(2 * s)) + 0.3 * s, reach=6.0),
}
CHIP = Nonidealities(
    crossbar={"g_on": 2e-5, "g_off": 3e-7, "programming_error": 0.2, "stuck_on": 0.05, "driver_resistance": 700.0},
    integrator={"output_resistance": 7e9, "offset_current": 4e-12},
    comparator={"hysteresis": 6e-3, "delay": 4e-9},
    noise={"resistance": 3e5, "capacitance": 8e-14, "ac_corner": 1500.0},
    prior={"lam_error": 0.1},
    corner={"resistance": 1.2, "capacitance": 0.9, "temperature": 330.0},
    seed=3,
)


X = np.array([0.9, -0.4, 1.3])


def sampler_of(prior="spike-slab", form="gram", level="device", nonideal=CHIP, A=None, x=X, **keywords):
    A = bars(2)[:3] if A is None else A  # 3 features, 4 latents: rows and columns cannot be confused
    model = SparseCodingModel(A, PRIORS[prior], 0.5)
    return build_sampler(model, x, form=form, level=level, nonideal=nonideal if level == "device" else None, **keywords)


def crossbars(sampler):
    return [cell for cell in sampler.graph.cells if isinstance(cell, ResistorCrossbar)]


def squares(ax):
    return next(c for c in ax.collections if isinstance(c, PolyCollection))


def bar_label(ax):
    return ax.child_axes[0].get_ylabel()


# --- crossbars ---


def test_squares_are_the_conductances_in_microsiemens_row_by_row():
    cell = crossbars(sampler_of(form="residual"))[0]
    ax = plot_crossbar(cell)
    shown = squares(ax).get_array().reshape(3, 8)
    assert np.allclose(shown * 1e-6, cell.conductances_siemens, rtol=1e-12)
    assert len(np.unique(shown)) > 8  # the errors are in it
    assert bar_label(ax) == "conductance (µS)"
    assert squares(ax).norm.vmin == 0
    assert squares(ax).norm.vmax == pytest.approx(shown.max())
    # where each square stands: rows downwards, the two columns of a pair closer than two pairs
    centres = np.array([path.vertices[:4].mean(axis=0) for path in squares(ax).get_paths()]).reshape(3, 8, 2)
    assert np.allclose(centres[:, :, 1], np.arange(3)[:, None])
    assert ax.yaxis_inverted()
    gaps = np.diff(centres[0, :, 0])
    assert gaps[::2].max() < gaps[1::2].min()


def test_squares_are_the_currents_of_the_given_voltages():
    cell = crossbars(sampler_of())[0]
    volts = np.array([0.1, -0.1, 0.02, -0.02, -0.3, 0.3, 0.0, 0.0])
    ax = plot_crossbar(cell, voltages=volts)
    g = cell.conductances_siemens
    load = 1 + 700.0 * 1.2 * g.sum(axis=0)  # the drivers' resistance, at the corner
    expected = g * volts / load
    assert 1e-6 < np.abs(expected).max() < 1e-3
    assert bar_label(ax) == "current (µA)"
    assert np.allclose(squares(ax).get_array().reshape(g.shape) * 1e-6, expected, rtol=1e-9)
    low, high = squares(ax).norm.vmin, squares(ax).norm.vmax
    assert -low == high == pytest.approx(np.abs(expected).max() * 1e6)
    small = plot_crossbar(cell, voltages=volts * 1e-3)
    assert bar_label(small) == "current (nA)"
    assert np.allclose(squares(small).get_array() * 1e-9, expected.ravel() * 1e-3, rtol=1e-9)


def test_no_current_is_drawn_in_the_middle_of_the_scale():
    ax = plot_crossbar(crossbars(sampler_of())[0], voltages=np.zeros(8))
    norm = squares(ax).norm
    assert norm(0.0) == 0.5
    assert bar_label(ax) == "current (A)"


def test_voltages_of_another_shape_are_refused():
    cell = crossbars(sampler_of())[0]
    for wrong in (np.zeros(4), np.zeros((8, 1))):
        with pytest.raises(InputError, match=r"inhibition has 8 columns.*Pass shape \(8,\)"):
            plot_crossbar(cell, voltages=wrong)
    with pytest.raises(InputError, match="finite"):
        plot_crossbar(cell, voltages=np.full(8, np.nan))


@pytest.mark.parametrize("form", ["gram", "residual"])
def test_rows_and_columns_are_called_as_in_the_graph(form):
    sampler = sampler_of(form=form)
    for cell in crossbars(sampler):
        wires = sampler.graph.wires(cell)
        assert wires.inputs["v"][0] == f"{NODES[cell.name][0]}_0"
        assert wires.target[0] == f"{NODES[cell.name][1]}_0"
        shown = [text.get_text() for text in plot_crossbar(cell).texts]
        nodes = [*wires.target, *wires.inputs["v"]]
        assert shown == ["${}_{{{}}}$".format(*node.split("_")) for node in nodes]


def test_of_a_crowd_only_some_nodes_are_named():
    A = np.random.default_rng(0).standard_normal((30, 30))
    model = SparseCodingModel(A / np.linalg.norm(A, axis=0), SpikeSlab(0.1, 1.0), 0.5)
    cell = crossbars(build_sampler(model, np.zeros(30), level="device"))[0]
    shown = {text.get_text() for text in plot_crossbar(cell).texts}
    assert shown == {f"${letter}_{{{k}}}$" for letter in "es" for k in range(0, 30, 2)}


def test_figure_shows_every_crossbar_at_one_pitch():
    sampler = sampler_of(form="residual")
    fig = crossbar_figure(sampler)
    cells = crossbars(sampler)
    assert [c.name for c in cells] == ["forward", "backward"]
    assert [ax.get_title(loc="left").split(":")[0] for ax in fig.axes] == ["forward", "backward"]
    rendered(fig)
    pitches = []
    for ax, cell in zip(fig.axes, cells, strict=True):
        assert np.allclose(squares(ax).get_array() * 1e-6, cell.conductances_siemens.ravel())
        ax.apply_aspect()
        pitches.append(float(np.diff(ax.transData.transform([(0, 0), (1, 0)])[:, 0])[0]))
    assert pitches[0] == pytest.approx(pitches[1])
    boxes = [ax.get_tightbbox(rendered(fig)) for ax in fig.axes]
    assert boxes[0].x1 < boxes[1].x0
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= fig.bbox.x1
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.y1 for box in boxes) <= fig.bbox.y1


def test_figure_of_a_state_shows_the_currents_that_the_rows_collect():
    sampler = sampler_of(form="residual", nonideal=Nonidealities())
    u = np.array([0.5, -2.0, 1.7, 0.1])
    voltages = column_voltages(sampler, u)
    s = sampler.model.latent(u, sampler.plan.width)
    assert np.allclose(voltages["forward"][0::2], s * sampler.scaling.volt, atol=2e-3 * sampler.scaling.volt)
    assert np.allclose(voltages["forward"][1::2], -voltages["forward"][0::2])
    fig = crossbar_figure(sampler, voltages)
    signals = sampler.twin.signals(u)
    for ax, cell, output in zip(fig.axes, crossbars(sampler), ["residual", "gradient"], strict=True):
        factor = {"µA": 1e-6, "nA": 1e-9}[bar_label(ax).removeprefix("current (").removesuffix(")")]
        rows = squares(ax).get_array().reshape(cell.size, -1).sum(axis=1) * factor
        amplifier = next(c for c in sampler.graph.cells if c.name == output)
        unit = sampler.scaling.volts(amplifier.quantity)
        constant = -sampler.x if output == "residual" else 0.0
        assert np.allclose(-rows * amplifier.feedback / unit, signals[output] - constant, rtol=1e-6, atol=1e-9)


def test_figure_refuses_what_has_no_resistors_and_wrong_names():
    with pytest.raises(InputError, match='level = "device"'):
        crossbar_figure(sampler_of(level="ideal"))
    with pytest.raises(InputError, match="the crossbars are inhibition"):
        crossbar_figure(sampler_of(), {"forward": np.zeros(8)})
    with pytest.raises(InputError, match=r"u has shape \(3,\)"):
        column_voltages(sampler_of(), np.zeros(3))


def test_crossbar_is_drawn_into_given_axes():
    ax = Figure().add_subplot()
    assert plot_crossbar(crossbars(sampler_of())[0], ax=ax) is ax


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-12, "1 pF"),
        (1.5532e-3, "1.55 mF"),
        (999.6, "1 kF"),
        (999.4, "999 F"),
        (0.0, "0 F"),
        (-4.7e-8, "-47 nF"),
        (1e5, "100 kF"),
        (2.2e-11, "22 pF"),
        (1e-3, "1 mF"),
        (1e-6, "1 µF"),
        (5e15, "5000 TF"),
    ],
)
def test_engineering_notation(value, text):
    assert engineering(value, "F") == text


def test_prefix_leaves_numbers_from_1_to_1000():
    for value in np.geomspace(1e-17, 1e14, 200):
        factor, _ = si_prefix(value)
        assert 0.999 <= value / factor < 1000
    assert si_prefix(math.inf) == (1.0, "")


# --- schematics ---


@pytest.fixture(autouse=True)
def _schemdraw_extra(request):
    """Skip what needs the extra where it is missing; fail if the environment promised it."""
    if "schematic" in request.node.name:
        (importlib.import_module if REQUIRED else pytest.importorskip)("schemdraw")


@functools.cache
def drawn(figure, prior="spike-slab", form="gram", level="device", dynamics="langevin"):
    """Return a figure of the chip, drawn once."""
    return figure(sampler_of(prior, form, level, dynamics=dynamics))


@pytest.mark.parametrize(
    ("level", "prior"),
    [*(("device", prior) for prior in PRIORS), *(("ideal", prior) for prior in ("spike-slab", "gaussian", "cauchy"))],
)
def test_no_label_collides_in_a_neuron_schematic(prior, level):
    assert collisions(drawn(neuron_figure, prior, level=level)) == []


@pytest.mark.parametrize(  # each pair of two; the others are slow
    ("form", "level", "prior"),
    [
        pytest.param(form, level, prior, marks=() if longest ^ (prior == "gaussian") else pytest.mark.slow)
        for form in ("gram", "residual")
        for level in ("ideal", "device")
        for longest in [(form == "residual") == (level == "device")]
        for prior in ("spike-slab", "gaussian")
    ],
)
def test_no_label_collides_in_a_signal_path_schematic(prior, level, form):
    assert collisions(drawn(signal_path_figure, prior, form, level)) == []


def test_neuron_schematic_carries_the_values_of_the_sampler():
    sampler = sampler_of(c_int=2e-12)
    noise = next(c for c in sampler.graph.cells if isinstance(c, ThermalNoise))
    volt = sampler.scaling.volt
    expected = [
        "1.8 pF",  # 2 pF at the corner
        "8.4 GΩ",  # 7 GOhm at the corner
        "360 kΩ",  # R_n at the corner
        "72 fF",
        "330 K",
        "±4 pA",
        "hysteresis 6 mV",
        "delay 4 ns",
        f"$g_m$ = {engineering(noise.gain, 'S')}",
        f"$u_0$ = {engineering(-math.log(0.3) / 1.4 * volt, 'V')}",
        f"$w$ = {engineering(sampler.plan.width * volt, 'V')}",
        engineering(1.4 * 1.1 * 2e-12 * volt / 1e-6, "A"),  # the prior's current, with its error
        engineering(1500.0 / (1.2 * 0.9), "Hz"),
        f"$G_e$ = {engineering(sampler.scaling.drift_current / sampler.scaling.volt_e, 'S')}",
        "threshold",
    ]
    shown = texts(neuron_figure(sampler))
    assert [label for label in expected if label not in shown] == []


def test_what_is_ideal_or_absent_is_not_in_a_neuron_schematic():
    shown = "\n".join(texts(neuron_figure(sampler_of(nonideal=Nonidealities()))))
    for absent in ("leak", "C_n", "os}", "high-pass", "hysteresis", "delay"):
        assert absent not in shown
    assert "R_n" in shown
    ideal = "\n".join(texts(drawn(neuron_figure, level="ideal")))
    assert "R_n" not in ideal
    assert "W(t" in ideal  # the Brownian voltage
    # every wire ends somewhere: the noise source has its resistor, and its capacitor if it has one
    with_c = neuron_figure(sampler_of(nonideal=Nonidealities(noise={"capacitance": 1e-13})))
    assert "100 fF" in texts(with_c)


@pytest.mark.parametrize("prior", ["laplace", "gaussian"])
def test_schematics_of_linear_codes_have_a_buffer_and_no_comparator(prior):
    shown = texts(drawn(neuron_figure, prior))
    for labels in (shown, texts(drawn(signal_path_figure, "gaussian"))):
        assert "buffer" in labels
        assert not any("threshold" in text or "comparator" in text or "s'" in text for text in labels)
    assert "$s_i = u_i$" in texts(drawn(neuron_figure, prior, level="ideal"))
    assert ("$R_p$" in shown) == (prior == "gaussian")
    if prior == "gaussian":  # c'(u) = u/sd^2 is a resistor: tau/C_int sd^2 / (1 + lam_error)
        assert engineering(1e6 * 0.6**2 / 1.1, "Ω") in shown


@pytest.mark.parametrize("form", ["gram", "residual"])
def test_signal_path_schematic_carries_the_values_of_the_sampler(form):
    sampler, fig = sampler_of(form=form), drawn(signal_path_figure, form=form)
    shown = texts(fig)
    amplifiers = [c for c in sampler.graph.cells if isinstance(c, TransimpedanceSum)]
    assert len(amplifiers) == (1 if form == "gram" else 2)
    for amplifier in amplifiers:
        rf = engineering(amplifier.feedback, "Ω")
        assert f"$R_f$ = {rf}" in shown
        assert (f"$R_x$ = {rf}" in shown) == amplifier.has_input
    inverters = len(amplifiers)
    assert shown.count("inverter") == inverters
    assert shown.count(engineering(1.2 / 2e-5, "Ω")) == 2 * inverters
    assert shown.count("250 nS to 16.7 µS") == inverters  # the window at the corner
    assert shown.count("drivers 840 Ω") == inverters
    pairs = ["$K$ = 4 pairs of columns"] if form == "gram" else ["$D$ = 3 pairs of columns", "$K$ = 4 pairs of columns"]
    rows = ["$K$ = 4 rows"] if form == "gram" else ["$D$ = 3 rows", "$K$ = 4 rows"]
    assert sorted(t for t in shown if "pairs of" in t) == pairs
    assert sorted(t for t in shown if t.endswith("rows")) == rows
    # a negative entry sits in the column of +v
    at = {text.get_text(): text.get_position() for text in fig.axes[0].texts}
    assert at["$G^-_{ji}$"][0] < at["$G^+_{ji}$"][0]
    assert at["$+s_i$"][0] < at["$-s_i$"][0]


def test_signal_path_schematic_of_ideal_cells_has_transconductors():
    shown = texts(drawn(signal_path_figure, form="residual", level="ideal"))
    assert "$g_{ji}$" in shown
    assert "$g_{ij}$" in shown
    assert shown.count("1 MΩ") == 2  # the summing nodes
    assert "inverter" not in shown
    assert not any("R_f" in text for text in shown)
    assert "$K$ = 4 columns" in shown


def unspaced(fig):
    return "\n".join(texts(fig)).replace(" ", "")


def curves(fig):
    """Return the transfer curves of a figure, shape (n, 2) each, in the order in which they were drawn."""
    found = [np.column_stack(line.get_data()) for line in fig.axes[0].lines if line.get_color() == CURVE]
    return [curve for curve in found if len(curve) > 50]  # and no symbol


NOISE = {"ideal": "W(t", "device": "thermal-noise source"}


# each kind that follows an energy, at both levels and in both forms; the other pairs of level and form are slow
PAIRS = ("ideal gram", "device residual"), ("ideal residual", "device gram")
QUICK = {"langevin": PAIRS[1], "gradient": PAIRS[0], "lca": PAIRS[1], "underdamped": PAIRS[0]}


@pytest.mark.parametrize(
    ("kind", "level", "form"),
    [
        pytest.param(kind, *pair.split(), marks=() if pair in QUICK[kind] else pytest.mark.slow)
        for kind in QUICK
        for pair in sum(PAIRS, ())
    ],
)
def test_schematic_of_every_kind_shows_what_is_in_its_circuit(kind, level, form):
    sampler = sampler_of(form=form, level=level, dynamics=kind)
    one, loop = (drawn(figure, form=form, level=level, dynamics=kind) for figure in (neuron_figure, signal_path_figure))
    assert collisions(one) == []
    assert collisions(loop) == []
    noisy = sampler.graph.noise is not None
    assert noisy == (kind in ("langevin", "underdamped"))
    assert (NOISE[level] in "\n".join(texts(one))) == noisy
    assert ("noise" in texts(loop)) == noisy
    for fig in (one, loop):
        shown = "\n".join(texts(fig))
        assert ("$T$" in shown) == noisy
        assert ("friction" in shown) == (kind == "underdamped")
        assert ("$p_i$" in shown) == (kind == "underdamped")
        assert ("$C_\\mathrm{int} \\sqrt{m}$" in shown) == (kind == "underdamped")
        assert ("u_0" in shown) == (kind in ("langevin", "underdamped"))  # what settles has no spike
        assert (r"\theta" in shown) == ("soft threshold" in shown) == (kind == "lca")
    assert any("comparator" in text for text in texts(one)) == noisy
    assert any("s'(u_i)" in text for text in texts(loop)) == noisy
    assert (r"\sigma" in unspaced(loop)) == (kind != "lca")
    assert "(t)" not in unspaced(loop)  # its input is constant


@pytest.mark.parametrize("level", ["ideal", "device"])
def test_schematic_of_a_momentum_carries_its_values(level):
    sampler = sampler_of(level=level, dynamics=Dynamics(kind="underdamped", mass=0.25, friction=0.5))
    corner_r, corner_c = (1.2, 0.9) if level == "device" else (1.0, 1.0)
    volt = sampler.scaling.volt
    friction = f"$R_\\gamma$ = {engineering(corner_r * 1e6 / (2 * 0.5), 'Ω')}"  # tau/C_int over omega gamma
    both = [friction, engineering(0.5e-12 * corner_c, "F"), engineering(1e-12 * corner_c, "F"), "$G_\\omega$ = 2 µS"]
    for figure in (neuron_figure, signal_path_figure):
        shown = texts(figure(sampler))
        assert [label for label in both if label not in shown] == []
        assert "$m$ = 0.25, $\\gamma$ = 0.5" in shown
    shown = texts(neuron_figure(sampler))
    source = f"$V_1$ = {engineering(volt * 2 * math.sqrt(0.5), 'V')}"
    gain = next((f"$g_m$ = {engineering(c.gain, 'S')}" for c in sampler.graph.cells if isinstance(c, ThermalNoise)), "")
    assert (source if level == "ideal" else gain) in shown
    assert shown.count("8.4 GΩ") == shown.count("±4 pA") == (2 if level == "device" else 0)  # both integrators leak


def test_prior_of_a_momentum_is_a_controlled_source_in_a_schematic():
    shown = texts(drawn(neuron_figure, "gaussian", dynamics="underdamped"))
    assert r"$G_p\, u_i$" in shown  # V(u) makes a current into p: no resistor
    assert f"$G_p$ = {engineering(1.1e-6 / 0.6**2, 'S')}" in shown
    assert not any("R_p" in text for text in shown)


@pytest.mark.parametrize("threshold", ["soft", "hard"])
@pytest.mark.parametrize("prior", ["laplace", "exponential"])
def test_schematic_of_lca_shows_its_threshold_and_leak(prior, threshold):
    dynamics = Dynamics(kind="lca", threshold=threshold)
    theta = 1.4 * 0.25  # lam sigma^2
    for form in ("gram", "residual"):
        sampler = sampler_of(prior, form, "ideal", dynamics=dynamics)
        fig = neuron_figure(sampler)
        shown = texts(fig)
        assert collisions(fig) == []
        assert f"{threshold} threshold" in shown
        assert f"$\\theta$ = {engineering(theta * sampler.scaling.volt, 'V')}" in shown
        assert ("$R_u$ = 1 MΩ" in shown) == (form == "gram")  # tau/C_int
        assert ("leak $u_i - s_i$" in shown) == (form == "residual")
        # the code's curve is its table, from -2.2 theta to 2.2 theta
        s = curves(fig)[-1][:, 1]
        u = np.linspace(-2.2, 2.2, 241) * theta
        table = next(cell.table for cell in sampler.graph.cells if cell.quantity == "s")
        assert np.allclose((s - s[120]) / (s.max() - s[120]), table(u) / table(u).max(), atol=1e-9)
        assert len(curves(fig)) == (1 if form == "gram" else 2)
    equations = [
        unspaced(signal_path_figure(sampler_of(prior, form, "ideal", dynamics=dynamics)))
        for form in ("gram", "residual")
    ]
    assert r"$-[\,e_i+u_i\,]$" in equations[0]
    assert r"$A^\mathsf{T}A-I$" in equations[0]
    assert r"(A^\mathsf{T}x)_j$" in equations[0]
    assert r"$-[\,e_i+u_i-s_i\,]$" in equations[1]
    assert r"backwardcrossbar:$A^\mathsf{T}$" in equations[1]


def test_schematic_of_lca_shows_no_entry_that_is_not_there():
    unit = bars(2)[:3] / np.linalg.norm(bars(2)[:3], axis=0)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]  # its products are 1 to rounding
    for A, entries, diagonal in ((bars(2)[:3], True, True), (unit, True, False), (rotation, False, False)):
        fig = signal_path_figure(sampler_of("laplace", level="ideal", A=A, dynamics="lca"))
        shown = texts(fig)
        assert collisions(fig) == []
        assert ("$g_{ji}$" in shown) == entries
        assert ("no entries" in shown) == (not entries)
        assert ("$g_{ii}$ = 0" in shown) == (entries and not diagonal)
    rows = signal_path_figure(sampler_of("laplace", A=np.eye(3), dynamics="lca"))
    assert "$G^-_{ji}$" in texts(rows)  # a pair of resistors is there for an entry of 0 too


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("prior", ["cauchy", "cauchy-positive", "square-root", "custom"])
def test_schematic_of_a_cost_shows_the_curve_of_its_table(prior, level):
    sampler, fig = sampler_of(prior, level=level), drawn(neuron_figure, prior, level=level)
    gate = next(cell for cell in sampler.graph.cells if isinstance(cell, Gate))
    shown = "\n".join(texts(fig))
    assert "$c'(u_i)$" in shown
    assert "mathrm{sgn}" not in shown
    assert ("comparator" in shown) == ("rectifier" in shown) == (prior == "cauchy-positive")
    amperes = np.abs(gate.prior.values).max() * sampler.scaling.drift_current * (1.1 if level == "device" else 1.0)
    assert f"$|I| \\leq$ {engineering(amperes, 'A')}" in texts(fig)
    curve = curves(fig)[1 if prior == "cauchy-positive" else 0]
    middle, size = (curve[0] + curve[-1]) / 2, curve[-1] - curve[0]
    u = (curve[:, 0] - middle[0]) / size[0] * 6 * sampler.model.prior.slab_scale
    force = gate.prior(u)
    slope = np.polyfit(force, curve[:, 1], 1)
    assert np.allclose(np.polyval(slope, force), curve[:, 1], atol=1e-9)
    assert np.ptp(curve[:, 1]) < CURVE_BOX[1]


@pytest.mark.parametrize("prior", ["exponential", "cauchy-positive"])
@pytest.mark.parametrize("level", ["ideal", "device"])
def test_schematic_of_nonnegative_gradient_descent_has_a_rectifier(prior, level):
    fig = drawn(neuron_figure, prior, level=level, dynamics="gradient")
    shown = texts(fig)
    assert collisions(fig) == []
    assert "rectifier $c'(u_i)$" in shown
    assert ("$s_i = u_i$" in shown) == (level == "ideal")
    assert ("buffer" in shown) == (level == "device")
    (curve,) = curves(fig)
    assert np.ptp(curve[:, 1]) < CURVE_BOX[1]  # cut where it leaves its box
    assert np.ptp(curve[:, 0]) < 0.6 * CURVE_BOX[0]
    if prior == "exponential":
        assert f"$I \\leq$ {engineering(1.4 * (1.1 if level == 'device' else 1.0) * 1e-7, 'A')}" in shown


@pytest.mark.parametrize(
    ("kind", "form", "level"),
    [
        ("lca", "gram", "ideal"),
        ("langevin", "gram", "device"),
        ("underdamped", "gram", "device"),
        ("gradient", "residual", "device"),
        ("underdamped", "residual", "ideal"),
    ],
)
def test_schematic_of_a_stream_has_a_waveform_at_its_input(kind, form, level):
    interpolate = "hold" if level == "ideal" else "linear"
    sampler = sampler_of("laplace", form, level, x=np.stack([X, -X]), hold=20.0, interpolate=interpolate, dynamics=kind)
    fig = signal_path_figure(sampler)
    shown = texts(fig)
    assert collisions(fig) == []
    letter = "b" if form == "gram" else "x"
    assert (f"$-{letter}_j(t)$" if level == "ideal" else f"${letter}_j(t)$") in shown
    assert (
        "2 inputs $x(t)$, " + {"hold": "each on for 20 µs", "linear": "joined by lines of 20 µs"}[interpolate] in shown
    )
    drive = r"A^\mathsf{T} x(t)" + ("" if kind == "lca" else r" / \sigma^2")
    assert (f"$b(t) = {drive}$" in shown) == (form == "gram")


@pytest.mark.parametrize("kind", QUICK)
def test_crossbars_of_every_kind_are_drawn(kind):
    sampler = sampler_of("laplace", A=np.eye(3), x=np.stack([X, -X]), hold=20.0, dynamics=kind)
    fig = crossbar_figure(sampler, column_voltages(sampler, np.array([0.5, -2.0, 1.7])))
    assert rendered(fig) is not None
    assert len(fig.axes) == 1


def test_schematic_is_saved_by_suffix_and_the_same_every_time(tmp_path):
    sampler = sampler_of("gaussian", level="ideal")
    for name in ("a.svg", "b.SVG", "a.png"):
        neuron_schematic(sampler, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.SVG").read_bytes()
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    signal_path_schematic(sampler, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").stat().st_size > (tmp_path / "a.svg").stat().st_size


def test_schematic_refuses_other_files_and_missing_folders(tmp_path):
    with pytest.raises(InputError, match=r"'\.jpg', which cannot be drawn\. Give \.svg or \.png"):
        neuron_schematic(sampler_of(), tmp_path / "a.jpg")
    with pytest.raises(InputError, match="does not exist"):
        signal_path_schematic(sampler_of(), tmp_path / "no" / "a.svg")


@pytest.mark.parametrize("draw", [neuron_schematic, signal_path_schematic])
def test_missing_schemdraw_is_said_in_one_line(draw, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "schemdraw"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "schemdraw", None)  # as if it were not there
    with pytest.raises(InputError, match=r"-m pip install 'schemdraw>=") as caught:
        draw(sampler_of(), tmp_path / "a.svg")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.svg").exists()
