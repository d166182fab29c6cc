"""Schematics of circuits that learn: the numbers that they show are the netlist's, and no label collides."""

import functools
import importlib
import os
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from picture_checks import collisions, texts
from test_cli import circuitlsc, one_line

from circuitlsc import InputError, Laplace, SparseCodingModel, SpikeSlab
from circuitlsc.circuit.lowering import lower
from circuitlsc.drawing.learning import (
    learning_path_figure,
    learning_path_schematic,
    synapse_figure,
    synapse_schematic,
)
from circuitlsc.drawing.schematic import engineering
from circuitlsc.learning import Stage
from circuitlsc.learning.circuit import CircuitLearner
from circuitlsc.nonideal.nonidealities import Nonidealities

REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"
D, K, HOLD = 3, 5, 2.0
PI, LAM, SIGMA = 0.3, 1.3, 0.4
STAGE = Stage.of_inputs(12, hold=HOLD, step=0.02, tau_A=3000.0, tau_u0=4000.0, tau_lam=6000.0, tau_sigma=5000.0)
CHIP = Nonidealities(
    plastic={"gain_error": 0.05, "offset": 3e-3, "leak_resistance": 1e12, "capacitance_mismatch": 0.1},
    corner={"resistance": 1.2, "capacitance": 0.9},
    seed=3,
)
LEARN = ("A", "pi", "lam", "sigma", "A pi", "A sigma", "pi sigma", "lam sigma", "A pi sigma", "pi lam")


@pytest.fixture(autouse=True)
def _schemdraw_extra():
    """Skip where the extra is missing; fail if the environment promised it."""
    (importlib.import_module if REQUIRED else pytest.importorskip)("schemdraw")


def learner(learn="A", level="ideal", *, signed=False, pi=PI, **given):
    A = np.random.default_rng(2).uniform(0.1, 1, (D, K))
    prior = SpikeSlab(pi, LAM, signed) if pi < 1 else Laplace(LAM, signed)
    chip = (
        CHIP if "A" in learn.split() else Nonidealities(corner=CHIP.corner, seed=3)
    )  # without A there are no synapses
    given = {"nonideal": chip if level == "device" else None, "seed": 1, "stage": STAGE} | given
    source = SparseCodingModel(A, prior, SIGMA)
    names = tuple(learn.split())
    return CircuitLearner(
        A0=A, pi=pi, lam=LAM, sigma=SIGMA, source=source, learn=names, signed=signed, level=level, **given
    )


@functools.cache
def drawn(figure, *case, **more):
    """Return a figure, drawn once."""
    return figure(learner(*case, **more))


@pytest.mark.parametrize(
    ("learn", "level"),
    [
        *(
            pytest.param(
                learn, "ideal", marks=() if learn in ("A", "pi", "lam sigma", "A pi sigma") else pytest.mark.slow
            )
            for learn in LEARN
        ),
        *((learn, "device") for learn in ("A", "A pi", "lam sigma", "A pi sigma")),
    ],
)
def test_no_label_collides_in_a_signal_path(learn, level):
    """Of signed codes at device level: their rules are longer."""
    assert collisions(drawn(learning_path_figure, learn, level, signed=level == "device")) == []


@pytest.mark.parametrize("learn", ["A", "lam sigma"])
def test_no_label_collides_without_a_spike(learn):
    """A Laplace prior, whose code is the state as long as its rate is held."""
    fig = drawn(learning_path_figure, learn, signed=True, pi=1.0)
    assert collisions(fig) == []
    assert ("$s_i = u_i$" in texts(fig)) == (learn == "A")
    assert ("threshold" in texts(fig)) == (learn != "A")


@pytest.mark.parametrize("level", ["ideal", "device"])
@pytest.mark.parametrize("learn", ["A", "A sigma"])
def test_no_label_collides_in_a_synapse(learn, level):
    assert collisions(drawn(synapse_figure, learn, level)) == []


def coefficient(netlist, name):
    """Return the number in the expression of a multiplier's current, A/V^2."""
    (text,) = re.findall(rf"\.subckt {name} .*?\nbm .*?i=(.*?)\n", netlist, flags=re.DOTALL | re.IGNORECASE)
    (value,) = re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", text.replace("V(p)", "").replace("V(q)", ""))
    return float(value)


@pytest.mark.parametrize("learn", ["A", "A sigma"])
def test_multipliers_carry_the_currents_of_the_netlist(learn):
    made = learner(learn)
    assert made.scaling.volt_e != made.scaling.volt_r, "no scale can be left out"
    netlist = str(lower(made.graph, made.scaling, step=0.02))
    shown = {
        name: engineering(abs(coefficient(netlist, f"lsc_{name}")), "A/V²")
        for name in ("forward", "backward", "hebbian")
    }
    assert len(set(shown.values())) == 3 or learn == "A sigma"
    path, synapse = texts(learning_path_figure(made)), texts(synapse_figure(made))
    for value in shown.values():
        assert value in path
        assert value in synapse
    assert coefficient(netlist, "lsc_hebbian") < 0 < coefficient(netlist, "lsc_forward")
    assert "$-$" in synapse


@pytest.mark.parametrize(("learn", "name"), [("A", "A"), ("pi", "u_0"), ("lam", r"\lambda"), ("sigma", r"\sigma")])
def test_path_shows_what_is_learned_and_no_more(learn, name):
    shown = texts(drawn(learning_path_figure, learn))
    found = {label for label in shown if label.startswith("$C_")}
    assert found == {r"$C_\mathrm{int}$", f"$C_{{{name}}}$"}
    tau = {"A": 3000, "pi": 4000, "lam": 6000, "sigma": 5000}[learn]
    assert engineering(tau * 1e-12, "F") in shown
    rules = {
        "pi": (r"$e_i\,\mathbf{1}(s_i > 0)$", "threshold: $K$ = 5 rules, one capacitor"),
        "lam": (r"$\mathbf{1}(s_i > 0)\,[1/\lambda - s_i]$", "rate: $K$ = 5 rules, one capacitor"),
        "sigma": (r"$(r_j^2 - \sigma^2) / D$", "noise level: $D$ = 3 rules, one capacitor"),
        "A": ("forward multipliers: $A$", "dictionary: $D\\,K$ = 15 capacitors"),
    }
    for what, labels in rules.items():
        assert all((label in shown) == (what == learn) for label in labels)
    assert ("forward crossbar: $A$" in shown) == (learn != "A")
    assert ("dividers" in shown) == (learn == "sigma")
    assert ("$q_j$" in shown) == (learn == "sigma")
    gate = r"\lambda\,\mathrm{sgn}\,u_i" if learn == "lam" else "c'(u_i)"
    assert rf"$-[\,s'(u_i)\,e_i + {gate}\,]$" in shown
    # the terminals: where a voltage is made, and where it is used
    times = {"A": ("$a_{ji}$", 3), "pi": ("$u_0$", 3), "lam": (r"$\lambda$", 2), "sigma": (r"$\sigma$", 2)}
    for what, (label, n) in times.items():
        if what == "pi" and learn == "lam":
            n = 4  # the divider makes it; gate, threshold and rule have it
        expected = n if what == learn or (what, learn) == ("pi", "lam") else 0
        assert shown.count(label) == expected


def test_rules_of_signed_codes_are_signed():
    shown = texts(drawn(learning_path_figure, "lam", signed=True))
    assert r"$\mathbf{1}(s_i \neq 0)\,[1/\lambda - |s_i|]$" in shown
    assert r"$e_i\,\mathrm{sgn}(s_i)$" in texts(drawn(learning_path_figure, "pi", signed=True))


def test_conductances_of_a_held_dictionary_are_the_netlists():
    made = learner("pi")
    g = made.model.A * made.scaling.volt_r / made.scaling.volt / made.scaling.r_node
    shown = texts(learning_path_figure(made))
    assert f"{engineering(g.min(), 'S')} to {engineering(g.max(), 'S')}" in shown
    assert {"$D$ = 3 rows", "$K$ = 5 columns"} <= set(shown)


def test_text_says_how_large_everything_is():
    made = learner("A sigma")
    shown, s = texts(learning_path_figure(made)), made.scaling
    expected = [
        "$K$ = 5 latents, $D$ = 3 features",
        f"one unit of $r$: {engineering(s.volt_r, 'V')}",
        f"one unit of $e, q$: {engineering(s.volt_e, 'V')}",
        f"one unit of drift: {engineering(s.drift_current, 'A')}",
        "$\\tau$ = 1 µs, $T$ = 1",
        "12 inputs $x(t)$, each on for 2 µs",
        f"$u_0$ = {engineering(-np.log(PI) / LAM * s.volt, 'V')}",
        f"$w$ = {engineering(made.comparator_width * s.volt, 'V')}",
    ]
    assert [label for label in expected if label not in shown] == []
    moving = texts(drawn(learning_path_figure, "pi"))
    assert not any(label.startswith("$u_0$ =") for label in moving), "a threshold that moves has no value"


def test_synapse_carries_the_values_of_its_chip():
    shown = texts(drawn(synapse_figure, "A", "device"))
    expected = [
        "2.7 nF",  # 3000 times 1 pF, at the corner
        "1.2 TΩ",  # 1 TOhm at the corner
        "$R_A C_A$ = 3240 s",
        "multipliers: gain ±5 %, offsets ±3 mV",
        "capacitors: ±10 %",
        r"$\tau_A$ = 3000 $\tau$ = 3 ms",
    ]
    assert [label for label in expected if label not in shown] == []
    assert "1.2 TΩ" in texts(drawn(learning_path_figure, "A", "device"))
    plain = "\n".join(texts(drawn(synapse_figure, "A")) + texts(synapse_figure(learner("A", "device", nonideal=None))))
    for absent in ("R_A", "gain", "capacitors", "offsets"):
        assert absent not in plain


def test_saved_the_same_every_time_and_refused_where_it_cannot_be(tmp_path):
    made = learner("A pi")
    for draw in (learning_path_schematic, synapse_schematic):
        for name in ("a.svg", "b.svg"):
            draw(made, tmp_path / name)
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
        with pytest.raises(InputError, match=r"ends in '\.jpg', which cannot be drawn\. Give \.svg or \.png\.$"):
            draw(made, tmp_path / "a.jpg")
        with pytest.raises(InputError, match=r"the folder .*no does not exist\. Make it first\.$"):
            draw(made, tmp_path / "no" / "a.svg")


def test_synapse_of_a_held_dictionary_is_refused():
    with pytest.raises(InputError, match=r"^synapse_schematic\(\): the circuit does not learn A, .*\.$"):
        synapse_figure(learner("pi"))


@pytest.mark.parametrize("draw", [learning_path_schematic, synapse_schematic])
def test_missing_schemdraw_is_said_in_one_line(draw, tmp_path, monkeypatch):
    made = learner("A")
    monkeypatch.setitem(sys.modules, "schemdraw", None)
    with pytest.raises(InputError, match=r"-m pip install 'schemdraw>=") as caught:
        draw(made, tmp_path / "a.svg")
    assert "\n" not in str(caught.value)


CONFIG = """
[model]
dictionary = "bars:2"
sigma = 0.4
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[learning]
learn = [{learn}]
inputs = 20
hold = 2.0
"""


@pytest.mark.parametrize(
    ("learn", "files"), [('"A", "pi"', {"signal_path.svg", "synapse.svg"}), ('"sigma"', {"signal_path.svg"})]
)
def test_command_draws_what_learns(learn, files, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(learn=learn))
    done = circuitlsc("draw", "config.toml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == files


def test_command_refuses_what_a_circuit_does_not_learn_in_one_line(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(learn='"A", "lam"'))
    done = circuitlsc("draw", "config.toml", "-o", "out", cwd=tmp_path)
    assert "learning.learn" in one_line(done, 2)
    assert not (tmp_path / "out").exists()
