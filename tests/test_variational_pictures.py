"""Schematics of a variational circuit: the numbers that they show are the netlist's, and no label collides."""

import functools
import importlib
import os
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from picture_checks import collisions, texts
from test_cli import circuitlsc
from test_cli_variational import CONFIG
from test_cli_variational import encoder as positive
from test_variational_circuit import CHAIN, KIND, ROWS, network

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.circuit.cells import ResistorCrossbar, TransimpedanceSum
from circuitlsc.drawing.schematic import (
    engineering,
    neuron_figure,
    neuron_schematic,
    signal_path_figure,
)
from circuitlsc.nonideal.nonidealities import Nonidealities

REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"
CHIP = Nonidealities(
    crossbar={"g_on": 2e-5, "programming_error": 0.2, "driver_resistance": 700.0, "wire_resistance": 2.0},
    integrator={"output_resistance": 7e9, "offset_current": 4e-12},
    comparator={"threshold_offset": 3e-3},
    multiplier={"offset": 2e-3, "gain_error": 0.02},
    noise={"resistance": 3e5, "capacitance": 8e-14, "ac_corner": 1500.0},
    corner={"resistance": 1.2, "capacitance": 0.9, "temperature": 330.0},
    seed=3,
)
POSITIVE = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.5)
ENCODERS = {
    "learned": (CHAIN, network((4, 6, 12))),
    "none hidden": (CHAIN, network((4, 12))),
    "two hidden": (CHAIN, network((4, 6, 5, 12))),
    "held": (CHAIN, network((4, 6, 8), threshold="fixed", numbers={"lam": 0.7})),
    "rectified": (POSITIVE, positive()),
}


@pytest.fixture(autouse=True)
def _schemdraw_extra():
    """Skip where the extra is missing; fail if the environment promised it."""
    (importlib.import_module if REQUIRED else pytest.importorskip)("schemdraw")


@functools.cache
def sampler_of(which="learned", level="device", source="product", *, rows=False):
    model, encoder = ENCODERS[which]
    given = {"hold": 40.0} if rows else {}
    parts = CHIP if level == "device" else None
    x = ROWS if rows else ROWS[0]
    return build_sampler(model, x, dynamics=KIND, encoder=encoder, source=source, level=level, nonideal=parts, **given)


@functools.cache
def shown(figure, *case, **more):
    """Return a figure, drawn once."""
    return figure(sampler_of(*case, **more))


@pytest.mark.parametrize(
    "case",
    [
        ("learned", "device", "product"),
        ("two hidden", "ideal", "table"),
        *(
            pytest.param((which, level, source), marks=pytest.mark.slow)
            for which in ENCODERS
            for level in ("ideal", "device")
            for source in ("product", "table")
        ),
    ],
)
def test_no_label_collides(case):
    assert collisions(shown(signal_path_figure, *case)) == []
    assert collisions(shown(neuron_figure, *case)) == []


@pytest.mark.slow
def test_no_label_collides_in_a_stream():
    fig = shown(signal_path_figure, "rectified", "device", "product", rows=True)
    assert collisions(fig) == []
    assert {"$x_j(t)$", "3 inputs $x(t)$, each on for 40 µs", "positive part"} <= set(texts(fig))


def test_crossbars_and_their_amplifiers_are_the_netlists():
    sampler = sampler_of()
    labels = texts(shown(signal_path_figure))
    cells = {cell.name: cell for cell in sampler.graph.cells if isinstance(cell, ResistorCrossbar)}
    for name in ("weights_1", "weights_mu"):
        amplifier = next(
            c for c in sampler.graph.cells if isinstance(c, TransimpedanceSum) and c.crossbar is cells[name]
        )
        assert f"$R_f$ = {engineering(amplifier.feedback, 'Ω')}" in labels
    sizes = ["$D$ = 4 pairs of columns", "6 rows", "6 pairs of columns", "$K$ = 4 rows"]
    assert [size for size in sizes if size not in labels] == []
    assert labels.count("inverter") == 2
    assert {"wires 2.4 Ω per cell", "drivers 840 Ω", "weights: $W_1$", "$-c_{1,m}$", r"$-c_{\mu,i}$"} <= set(labels)


def test_ideal_conductances_are_the_weights():
    labels = texts(shown(signal_path_figure, "learned", "ideal"))
    encoder, r = ENCODERS["learned"][1], sampler_of("learned", "ideal").scaling.r_node
    for matrix in (encoder.weights[0], encoder.weights[1][:4]):
        low, high = (engineering(v / r, "S") for v in (np.abs(matrix).min(), np.abs(matrix).max()))
        assert f"{low} to {high}" in labels


@pytest.mark.parametrize("level", ["ideal", "device"])
def test_a_latent_has_the_values_of_its_parts(level):
    labels = texts(shown(neuron_figure, "learned", level))
    sampler = sampler_of("learned", level)
    s, device = sampler.scaling, level == "device"
    expected = [
        engineering(1e6 * (1.2 if device else 1.0), "Ω"),  # tau/C_int of the noise cell, at the corner
        engineering(1e-12 * (0.9 if device else 1.0), "F"),
        f"one unit of all: {engineering(s.volt, 'V')}",
        f"$w$ = {engineering(sampler.plan.width * s.volt, 'V')}",
        engineering(1 / (s.volt * s.r_node), "A/V²"),
        "noise cell: 4 for each latent, alike",
    ]
    assert [label for label in expected if label not in labels] == []
    errors = ["comparators: offset ±3 mV", "multipliers: offset ±2 mV", "multipliers: gain ±2 %"]
    assert all((label in labels) == device for label in errors)
    noise = sampler.graph.noises[0]
    assert (f"$g_m$ = {engineering(noise.gain, 'S')}" in labels) if device else ("$V_1$ = 100 mV" in labels)


def test_it_shows_what_it_has_and_no_more():
    product, table = (texts(shown(neuron_figure, "two hidden", "ideal", source)) for source in ("product", "table"))
    assert {"$u_{2,i}$", "$u_{3,i}$", "$u_{4,i}$"} <= set(product)
    assert not {"$u_{2,i}$", "$u_{3,i}$", "$u_{4,i}$"} & set(table)
    assert "noise cell" in table
    assert r"$\log(1 + e^{-\eta})$" in product
    held = texts(shown(neuron_figure, "held", "ideal"))
    assert r"$-\log P(\rho)$" in held
    assert not any(r"\eta" in label for label in held + texts(shown(signal_path_figure, "held", "ideal")))
    assert "positive part" in texts(shown(neuron_figure, "rectified", "ideal"))
    assert "positive part" not in product
    two = texts(shown(signal_path_figure, "two hidden", "ideal", "table"))
    assert {"$h^1_m$", "$h^2_n$", "weights: $W_2$"} <= set(two)
    none = texts(shown(signal_path_figure, "none hidden", "ideal"))
    assert "rectifier" not in none


def test_saved_the_same_every_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        neuron_schematic(sampler_of("learned", "ideal"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("level", "files"),
    [
        pytest.param("ideal", {"neuron.svg", "signal_path.svg"}, marks=pytest.mark.slow),
        ("device", {"neuron.svg", "signal_path.svg", "crossbars.png"}),
    ],
)
def test_command(level, files, tmp_path):
    positive().save(tmp_path / "encoder.npz")
    (tmp_path / "config.toml").write_text(f'{CONFIG}[circuit]\nlevel = "{level}"\n')
    done = circuitlsc("draw", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == files
