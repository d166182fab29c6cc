"""The Verilog-A library: what its texts say, and each module against the NumPy form of its cell, at DC in VACASK."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from module_dc import RUN

from circuitlsc import (
    Cauchy,
    CustomPrior,
    Gaussian,
    InputError,
    Laplace,
    Nonidealities,
    SpikeSlab,
    SquareRoot,
    veriloga,
)
from circuitlsc.circuit import cells
from circuitlsc.circuit.cells import Wires
from circuitlsc.circuit.cells.adaptive import corner
from circuitlsc.circuit.cells.variational import rectifier_table
from circuitlsc.circuit.modules import RULES
from circuitlsc.model.closed_forms import Curve, Forms, Rounded, _lca_code, forms_of_encoder, forms_of_prior
from circuitlsc.model.encoder import Encoder
from circuitlsc.model.lca import threshold_code
from circuitlsc.model.smoothing import SMOOTHINGS
from circuitlsc.nonideal.hardware import Hardware
from circuitlsc.planning.scaling import Scaling
from circuitlsc.simulator.modules import PRIMITIVES, Instance, Netlist
from circuitlsc.simulator.verilog_a import compiled

WIDTH, N = 0.05, 241
FUSED = {"lsc_cell.va", "lsc_column.va"}  # tests/test_compiled_cells.py
SCALING = Scaling(volt=0.07, volt_e=0.03, volt_r=0.05, c_int=2e-12, tau=3e-6, r_node=2e5)
PARTS = {
    "comparator": {"threshold_offset": 4e-3, "gate_offset": 3e-3},
    "multiplier": {"gain_error": 0.1, "offset": 5e-3},
    "prior": {"lam_error": 0.1, "lam_mismatch": 0.1},
    "op_amp": {"offset": 4e-3},
    "plastic": {"gain_error": 0.1, "offset": 4e-3},
}
GAMMA = {"alpha": 1.3, "beta": 2.2}
HARDWARE = Hardware(Nonidealities(PARTS, seed=2), SCALING)
PRIORS = {
    "nonnegative": SpikeSlab(0.3, 1.4),
    "signed": SpikeSlab(0.3, 1.4, signed=True),
    "laplace": Laplace(1.4),
    "exponential": Laplace(1.4, signed=False),
    "gaussian": Gaussian(0.6),
    "cauchy": Cauchy(1.4, 0.6),
    "cauchy-nonnegative": Cauchy(1.4, 0.6, signed=False),
    "square-root": SquareRoot(1.4),
    "square-root-nonnegative": SquareRoot(1.4, signed=False),
}
NEURONS = {
    f"{name}-{smoothing}": (prior, forms_of_prior(prior, Rounded(SMOOTHINGS[smoothing], WIDTH)), SMOOTHINGS[smoothing])
    for (name, prior), smoothing in product(PRIORS.items(), SMOOTHINGS)
}
LCA = {
    f"lca-{'signed' if signed else 'nonnegative'}-{'hard' if hard else 'soft'}": _lca_code(
        0.7, WIDTH, signed=signed, hard=hard
    )
    for signed, hard in product((False, True), (False, True))
}
U = np.concatenate([np.linspace(-6, 6, N - 40), 0.86 + np.linspace(-0.2, 0.2, 20), np.linspace(-0.1, 0.1, 20)])


def curve(form):
    return None if form is None else Curve(U[np.argsort(U)], form.value(np.sort(U)), form)


# --- closed forms ---


@pytest.mark.parametrize("case", NEURONS)
def test_closed_forms_are_those_of_the_prior(case):
    prior, forms, smoothing = NEURONS[case]
    wanted = Forms(*(f(U, WIDTH, smoothing) for f in (prior.latent, prior.latent_grad, prior.cost_grad)))
    for form, values in zip(forms, wanted, strict=True):
        assert form is None or np.array_equal(form.value(U), values)
    if forms.cost is None:
        assert prior.stiffness > 0
    for form in filter(None, forms):
        numeric = (form.value(U + 1e-6) - form.value(U - 1e-6)) / 2e-6
        assert np.abs(form.slope(U) - numeric).max() < 1e-8 * np.abs(numeric).max() + 1e-8
        assert np.abs(as_python(form.spice("u"), U) - form.value(U)).max() < 1e-14 * (1 + np.abs(form.value(U)).max())


@pytest.mark.parametrize("case", LCA)
def test_closed_thresholds_of_lca(case):
    form, signed, hard = LCA[case], "signed" in case, "hard" in case
    assert np.array_equal(form.value(U), threshold_code(U, 0.7, signed=signed, hard=hard, width=WIDTH))
    numeric = (form.value(U + 1e-6) - form.value(U - 1e-6)) / 2e-6
    assert np.abs(form.slope(U) - numeric).max() < 1e-7
    assert np.abs(as_python(form.spice("u"), U) - form.value(U)).max() < 1e-13


def as_python(text, u):
    names = {name: getattr(np, name) for name in ("exp", "sqrt", "tanh")}
    return eval(text, {"u": u, "ln": np.log, "abs": np.abs, "min": np.minimum, "max": np.maximum, **names})


@pytest.mark.parametrize("threshold", ["learned", "gamma", "fixed"])
def test_closed_forms_of_an_encoder(threshold):
    numbers = {"gamma": GAMMA, "fixed": {"lam": 0.4}}.get(threshold, {})
    sizes = 3 if threshold == "learned" else 2
    encoder = Encoder(weights=(np.zeros((sizes, 1)),), biases=(np.zeros(sizes),), threshold=threshold, numbers=numbers)
    forms = forms_of_encoder(encoder, "product", WIDTH)
    wanted = np.log1p(np.exp(-U)) if threshold == "learned" else encoder.kappa_at(U)
    np.testing.assert_allclose(forms.limit.value(U), wanted, rtol=1e-14)
    np.testing.assert_array_equal(forms.scale.value(U), np.exp(U))
    for form in (forms.code, forms.gate, forms.scale, forms.limit):
        numeric = (form.value(U + 1e-6) - form.value(U - 1e-6)) / 2e-6
        assert np.abs(form.slope(U) - numeric).max() < 1e-8 * np.abs(numeric).max() + 1e-8
        assert np.abs(as_python(form.spice("u"), U) - form.value(U)).max() < 1e-13 * (1 + np.abs(form.value(U)).max())
    with pytest.raises(InputError, match=r'^encoder.source = "table" is a table of the normal distribution'):
        forms_of_encoder(encoder, "table", WIDTH)


def test_a_curve_stands_for_its_table():
    c = curve(NEURONS["signed-logistic"][1].code)
    assert np.array_equal(c(U), c.form.value(U))
    assert np.array_equal(c.slope(U), c.form.slope(U))
    assert "pwl" not in c.spice("u", 0.1, 1e-6)


def test_a_tabulated_prior_has_no_closed_form():
    prior = CustomPrior(lambda s: 1.4 * np.sqrt(s**2 + 0.09), reach=20.0)
    with pytest.raises(InputError, match=r'^prior.kind = "table" is tabulated: there is no closed form'):
        forms_of_prior(prior, Rounded(SMOOTHINGS["logistic"], WIDTH))


# --- texts ---


def test_modules_say_what_they_are():
    """Every module has a comment above it that says its equation; every port and parameter is explained in its file."""
    for module in veriloga.modules().values():
        text = veriloga.text(module.file)
        head = text[: text.index(f"module {module.name}(")].rsplit("\n\n", 1)[-1]
        assert head.startswith("// "), module.name
        said = {word for line in text.splitlines() if line.startswith("//") for word in re.findall(r"\w+", line)}
        named = {*module.ports, *module.parameters}
        assert {name for name in named if {name, name.rstrip("0123456789")}.isdisjoint(said)} == set(), module


def test_modules_use_plain_verilog_a():
    for file in (veriloga.FUNCTIONS, *veriloga.FAMILIES):
        text = re.sub(r"//.*", "", veriloga.text(file))
        words = {*re.findall(r"[$`]?\b[a-z_]\w*(?=\s*\()|[$`]\w+", text)}
        known = {"ddt", "abs", "ln", "exp", "sqrt", "tanh", "if", "V", "I", "from", "`include", *veriloga.modules()}
        assert {word for word in words if not word.startswith("lsc_")} <= known, file
        assert file == veriloga.FUNCTIONS or text.count("endmodule") == len(
            [m for m in veriloga.modules().values() if m.file == file]
        )


def test_rules_use_modules_as_they_are():
    """What is written has the ports and parameters of the library, and every module is used by some cell."""
    net = everything()[0]
    known = veriloga.modules()
    for each in net.instances:
        if each.module in PRIMITIVES:
            continue
        module = known[each.module]
        assert len(each.nodes) == len(module.ports)
        assert set(each.parameters) <= set(module.parameters)
        assert {"hyperbolic", "signed_codes"} & set(module.parameters) <= set(each.parameters)
    assert set(net.modules) == {name for name, module in known.items() if module.file not in FUSED}


# --- DC ---


def everything():
    """Return a netlist of every cell at every u, and by case the nodes and the values that they should have (volts)."""
    instances, wanted = list[Instance](), {}
    rng = np.random.default_rng(1)
    e = rng.normal(0, 3, N)
    given = {"u": U, "e": e, **{name: rng.normal(0, 1.5, N) for name in ("u2", "u3", "u4", "laplace", "mu", "kappa")}}
    given |= {
        "z": U / 2,
        "b": np.exp(rng.normal(0, 0.5, N)),
        "d": e[:20],
        "v": U[:12],
        "w": e[: 20 * 12],
        "phi": U[7:19],
    }
    nodes = {name: tuple(f"{name}_{i}" for i in range(len(values))) for name, values in given.items()}
    given["p"], nodes["p"] = given["u"], nodes["u"]

    def add(case, cell, inputs, outputs, unit):
        wires = Wires({port: nodes[port] for port in inputs}, outputs, outputs)
        for each in RULES[type(cell)](cell, wires, SCALING):
            name = each.name if each.module in PRIMITIVES else f"{case}_{each.name}"  # its first letter says what it is
            instances.append(Instance(name, each.module, each.nodes, each.parameters))
        wanted[case] = outputs, cell.respond(given)[0] * unit

    def held(case):
        """Nodes of a voltage."""
        return tuple(f"s_{case}_{i}" for i in range(N))

    def into(case, n=N):
        """Resistors that show a current."""
        outputs = tuple(f"o_{case}_{i}" for i in range(n))
        instances.extend(Instance(f"r_{case}_{i}", "lsc_node", (node,), {"r": 1e6}) for i, node in enumerate(outputs))
        return outputs

    for name, (prior, forms, _) in NEURONS.items():
        case = name.replace("-", "_")
        if forms.code is not None:
            threshold = cells.Threshold("threshold", N, table=curve(forms.code))
            add(f"s_{case}", threshold, ("u",), held(case), SCALING.volt)
            real = cells.DeviceThreshold(f"threshold_{case}", N, table=curve(forms.code), hardware=HARDWARE)
            add(f"sd_{case}", real, ("u",), held(f"d_{case}"), SCALING.volt)
        parts = {
            "comparator": curve(forms.gate),
            "prior": curve(forms.cost),
            "stiffness": prior.stiffness,
            "apart": True,
        }
        add(f"g_{case}", cells.Gate("gate", N, **parts), ("u", "e"), into(f"g_{case}"), SCALING.drift_current * 1e6)
        real = cells.DeviceGate(f"gate_{case}", N, **parts, hardware=HARDWARE)
        add(f"gd_{case}", real, ("u", "e"), into(f"gd_{case}"), SCALING.drift_current * 1e6)
    for name, form in LCA.items():
        case = name.replace("-", "_")
        add(case, cells.Threshold("threshold", N, table=curve(form)), ("u",), held(case), SCALING.volt)
    for case, cell in of_encoder():
        add(case, cell, cell.ports, held(case), SCALING.volt)
    for case, hardware in (("ideal", None), ("device", HARDWARE)):
        sizes = {"rows": 20, "hardware": hardware}
        write = cells.Write(f"write_{case}", 20 * 12, 12, **sizes)
        add(f"w_{case}", write, ("d", "v"), into(f"w_{case}", 20 * 12), write.amperes(SCALING) * 1e6)
        read = cells.Read(f"read_{case}", 20, 12, **sizes)
        add(f"r_{case}", read, ("w", "phi"), into(f"r_{case}", 20), read.amperes(SCALING) * 1e6)
    for name, given_one, ports, value in (
        ("resistor", {"r": 5e5}, ("u", "o"), U * SCALING.volt / 1.5),
        ("vcvs", {"gain": 1.7}, ("o", "0", "u", "z"), 1.7 * U / 2 * SCALING.volt),
        ("vccs", {"gm": 3e-6}, ("o", "0", "u", "z"), -3.0 * U / 2 * SCALING.volt),
        ("vsource", {"dc": 0.3}, ("o", "u"), U * SCALING.volt + 0.3),
        ("isource", {"dc": 2e-7}, ("0", "o"), np.full(N, 0.2)),
        ("capacitor", {"c": 1e-12}, ("u", "z"), None),
    ):
        at = {**nodes, "0": ("0",) * N, **({} if value is None else {"o": into(name)})}
        each = zip(*(at[port] for port in ports), strict=True)
        instances.extend(Instance(f"{name}_{i}", f"lsc_{name}", pins, given_one) for i, pins in enumerate(each))
        if value is not None:
            wanted[name] = at["o"], value
    add("v", cells.Transconductor("velocity", N, gain=1.7), ("p",), into("v"), SCALING.drift_current * 1e6)
    constant = cells.Input("input", N, value=U, target="e")
    add("i", constant, (), into("i"), SCALING.volt_e / SCALING.r_node * 1e6)
    integrator = cells.Integrator("neuron", N, start=np.zeros(N), conductance=0.3)
    instances.extend(RULES[cells.Integrator](integrator, Wires({}, nodes["u"], nodes["u"]), SCALING))
    del given["p"]
    return Netlist(tuple(instances), ()), wanted, {name: v * SCALING.volts(name) for name, v in given.items()}


def of_encoder():
    """Yield the cells of a latent that an encoder drives, by case."""
    encoder = Encoder(weights=(np.zeros((2, 1)),), biases=(np.zeros(2),), threshold="gamma", numbers=GAMMA)
    fixed = replace(encoder, threshold="fixed", numbers={"lam": 0.4})
    forms, table = forms_of_encoder(encoder, "product", WIDTH), rectifier_table()
    both = corner(WIDTH, signed=True)
    both = replace(both, code=curve(forms.code), gate=curve(forms.gate))
    yield "scale", cells.Exponential("scale", N, table=curve(forms.scale))
    yield "gamma", cells.Softplus("limit", N, table=curve(forms.limit))
    yield "fixed", cells.Softplus("limit", N, table=curve(forms_of_encoder(fixed, "product", WIDTH).limit))
    yield "rectifier", cells.Rectifier("hidden", N, table=table)
    yield "rectifier_d", cells.DeviceRectifier("hidden_d", N, table=table, hardware=HARDWARE)
    yield "feature", cells.FeatureRectifier("feature", N, table=table, hardware=HARDWARE)
    yield "product", cells.LaplaceProduct("laplace", N)
    yield "product_d", cells.DeviceLaplaceProduct("laplace_d", N, hardware=HARDWARE)
    for rectified in (False, True):
        end = "_rectified" if rectified else ""
        yield f"shifted{end}", cells.ShiftedThreshold("threshold", N, corner=both, rectified=rectified)
        real = cells.DeviceShiftedThreshold(f"th{end}", N, corner=both, rectified=rectified, hardware=HARDWARE)
        yield f"shifted_d{end}", real


@pytest.fixture(scope="module", params=RUN)
def at_dc(request, tmp_path_factory):
    """Return for each case the voltages at DC, and those wanted."""
    request.getfixturevalue("vacask_here" if request.param == "vacask" else "compiled_cells_here")
    net, wanted, given = everything()
    held = {f"{k}_{i}": v for k, x in given.items() for i, v in enumerate(x.tolist())} | {f"n_{i}": 0 for i in range(N)}
    nodes = [node for outputs, _ in wanted.values() for node in outputs]
    found = RUN[request.param](tmp_path_factory.mktemp("dc"), net, held, nodes)
    return {case: (np.array([found[node] for node in outputs]), values) for case, (outputs, values) in wanted.items()}


@pytest.mark.slow
def test_each_module_is_its_numpy_form(at_dc):
    assert len(at_dc) > 75
    for case, (found, wanted) in at_dc.items():
        full = np.abs(wanted).max()
        assert np.abs(found - wanted).max() < 1e-9 * full, case
    found, wanted = at_dc["g_signed_logistic"]
    pairs = (("product", "product_d"), ("shifted", "shifted_d"), ("w_ideal", "w_device"), ("r_ideal", "r_device"))
    for one, other in pairs:
        assert np.abs(at_dc[one][0] - at_dc[other][0]).max() > 1e-3 * np.abs(at_dc[one][0]).max(), "errors do something"
    for other in ("g_signed_hyperbolic", "gd_signed_logistic"):
        assert np.abs(found - at_dc[other][1]).max() > 1e-3 * np.abs(wanted).max(), (
            "negative control: another pair, offsets"
        )


@pytest.mark.slow
def test_the_compiler_says_what_it_refuses(vacask_here, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = veriloga.text
    monkeypatch.setattr(veriloga, "text", lambda file: text(file).replace("ddt(", "$random("))
    with pytest.raises(InputError, match=r"^openvaf-r does not compile lsc_integrator.va \(exit \d+\): error"):
        compiled(("lsc_integrator.va",))
    assert not [*tmp_path.rglob("*.osdi")]
