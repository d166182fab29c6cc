"""Stand-alone decks: deterministic text, numbers that read back, golden files, and plain ngspice that runs them."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from circuitlsc import InputError, build_sampler
from circuitlsc.circuit.cells import Crossbar
from circuitlsc.reference.gibbs import gibbs
from circuitlsc.simulator.ngspice.deck import comment, fingerprint, wrap
from circuitlsc.studies.energy import probe

NETLISTS = Path(__file__).resolve().parents[1] / "netlists"


def load_regenerate():
    spec = importlib.util.spec_from_file_location("regenerate", NETLISTS / "regenerate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


regenerate = load_regenerate()
OTHERS = [*regenerate.DYNAMICS, *regenerate.STREAMED, "bars4x4-cauchy"]  # their own test is test_deck_systems.py
NAMES = [name for name in regenerate.DECKS if name not in OTHERS]
NUMBER = re.compile(r"(?<![\w.^])[-+]?\d[\w.]*(?:(?<=[eE])[-+]\d+)?")
PLAIN = re.compile(r"(?<![\w.^])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
FLOAT = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")


def unwrapped(text):
    return text.replace("\n+ ", " ")


def elements(text):
    """Return the lines of a deck that are not comments."""
    return [line for line in unwrapped(text).splitlines() if not line.startswith("*")]


# the noise sources of imperfect parts take four times the steps
QUICK = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "bars2x2-imperfect" else ()) for n in NAMES]
)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


# --- golden files ---


def assert_same_deck(text, golden):
    """Equal text; where the last bits of a sum depend on the processor, numbers equal to 1e-9."""
    if golden == text:
        return
    a, b = unwrapped(golden), unwrapped(text)
    assert PLAIN.split(a) == PLAIN.split(b), "run: python netlists/regenerate.py"
    old, new = (np.array([float(v) for v in PLAIN.findall(t)]) for t in (a, b))
    np.testing.assert_allclose(new, old, rtol=1e-9, atol=1e-20, err_msg="run: python netlists/regenerate.py")


@pytest.mark.parametrize("name", [*regenerate.DECKS, *regenerate.LEARNERS])
def test_golden_file(name):
    assert_same_deck(regenerate.text(name), (NETLISTS / f"{name}.cir").read_text())


@pytest.mark.parametrize("name", [*regenerate.DECKS, *regenerate.LEARNERS])
def test_noise_comes_from_current_sources_alone(name):
    """Of a voltage and a current source with trrandom in one deck, ngspice 44 lets the current source stand still."""
    noisy = [line for line in elements(regenerate.text(name)) if "trrandom" in line]
    assert all(line.startswith("I") for line in noisy), noisy
    assert bool(noisy) == (name in regenerate.LEARNERS or regenerate.sampler(name).temperature > 0)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (" 4e-06\n", " 4.0000000000000004e-06\n", True),  # one more digit wraps lines elsewhere
        (" 4e-06\n", " 4.0001e-06\n", False),
        (" 4e-06\n", " 4e-06 m=2\n", False),
        ("seed=1\n", "seed=2\n", False),
        ("u_0 n_0 lsc_neuron", "u_0 n_1 lsc_neuron", False),
    ],
)
def test_golden_comparison_sees_what_matters(old, new, same):
    golden = regenerate.text("bars4x4-gram")
    changed = golden.replace(old, new, 1)
    assert changed != golden
    if same:
        assert_same_deck(changed, golden)
        return
    with pytest.raises(AssertionError):
        assert_same_deck(changed, golden)


def test_every_golden_file_is_in_the_table():
    assert sorted(p.stem for p in NETLISTS.glob("*.cir")) == sorted([*regenerate.DECKS, *regenerate.LEARNERS])


# --- the text ---


def test_same_text_for_any_hash_seed():
    code = "import sys; sys.path.insert(0, 'netlists'); import regenerate; print(regenerate.text('bars4x4-residual'))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=NETLISTS.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {regenerate.text("bars4x4-residual") + "\n"}


def test_title_comes_first_and_end_last(name):
    lines = regenerate.text(name).splitlines()
    assert lines[0].startswith("* circuitlsc sampler: ")
    assert lines[-1] == ".end"
    assert lines[-2].startswith(".tran ")
    assert "" not in lines


def test_header_names_model_units_and_seed(name):
    text, sampler = regenerate.text(name, seed=7), regenerate.sampler(name)
    header = " ".join(line.removeprefix("*").strip() for line in text.splitlines()[:12] if line.startswith("*"))
    prior, scaling = sampler.model.prior, sampler.scaling
    for piece in (
        f"{prior.kind} prior, {sampler.form} form",
        "sigma=0.5",
        *(f"{k}={v!r}" for k, v in prior.numbers().items()),
        f"u, s: {scaling.volt!r} V",
        f"tau: {scaling.tau!r} s",
        "seed 8 (circuitlsc seed 7)",
    ):
        assert piece in re.sub(r"\s+", " ", header)
    assert ".option seed=8\n" in text


def test_no_date_no_path_no_numpy(name):
    text = regenerate.text(name)
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d|(?<![\d.])20[2-9]\d(?!\d)", text)
    assert not re.search(r"(^|[\s=])[~/]\w*/", text)
    assert str(Path.home()) not in text
    assert "np." not in text
    assert text.isascii()


def test_numbers_have_no_suffix_letters(name):
    """`10M` is ten milli to ngspice: every number is what repr(float) writes."""
    found = [n for line in elements(regenerate.text(name)) for n in NUMBER.findall(line)]
    assert len(found) > 100
    assert [n for n in found if not FLOAT.fullmatch(n)] == []


@pytest.mark.parametrize("arguments", [{}, {"volt": 1 / 30, "tau": 1 / 3e5, "c_int": 1 / 7e11, "width": 1 / 23}])
def test_lines_are_at_most_100_characters(name, arguments):
    golden = regenerate.sampler(name)
    sampler = build_sampler(golden.model, golden.x, form=golden.form, **arguments)
    for line in sampler.deck(t_stop=200 / 3, seed=123456789).splitlines():
        assert len(line) <= 100, line


def test_wrapping_breaks_at_blanks_and_commas_only():
    line = "Bx 0 s i=pwl(V(u)," + ",".join(f"{v!r}" for v in np.linspace(-1, 1, 30).tolist()) + ")"
    pieces = wrap(line)
    assert all(len(p) <= 100 for p in pieces)
    assert all(p.startswith("+ ") for p in pieces[1:])
    assert "".join(p.removeprefix("+ ") for p in pieces).replace(" ", "") == line.replace(" ", "")
    assert wrap("R1 a 0 1.0") == ["R1 a 0 1.0"]
    assert wrap("x" * 150) == ["x" * 150]  # nowhere to break
    assert all(p.startswith("* ") and len(p) <= 100 for p in comment("word " * 60))


def test_saves_only_what_is_read(name):
    text, sampler = unwrapped(regenerate.text(name)), regenerate.sampler(name)
    (saved,) = re.findall(r"^\.save (.*)$", text, re.M)
    states = sampler.graph.integrator.nodes
    code = [n.replace("u", "s") for n in states] if "s_0" in text else []
    assert saved.split() == [f"v({n})" for n in (*states, *code)]
    assert re.findall(r"^\.meas tran mean_(\w+) avg", text, re.M) == (code or list(states))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t_stop": 5.0}, "run.t_stop = 5.0 tau is not beyond run.warmup = 20.0 tau: no sample would be left. "),
        ({"t_stop": np.inf}, "run.t_stop = inf, but it is a time in units of tau. "),
        ({"t_stop": 50.0, "seed": -1}, "run.seed = -1, but it counts something. "),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=rf"^{re.escape(message)}Give .*$"):
        regenerate.sampler("bars2x2-gram").deck(**arguments)


# --- parse back ---


def conductances(text, crossbar):
    """Return the matrix of a crossbar as it stands in a deck, siemens."""
    (block,) = re.findall(rf"^\.subckt lsc_{crossbar} (.*?)^\.ends", unwrapped(text), re.M | re.S)
    pins = block.splitlines()[0].split()
    shape = [sum(p.startswith(kind) for p in pins) for kind in ("out_", "in_")]
    matrix = np.zeros(shape)
    for j, i, value in re.findall(r"^G\S+ 0 out_(\d+) in_(\d+) 0 (\S+)$", block, re.M):
        matrix[int(j), int(i)] = float(value)
    return matrix


def parameter(text, instance, name):
    return np.array([float(v) for v in re.findall(rf"^X{instance}_\d+ .* {name}=(\S+)$", text, re.M)])


def resistances(text, crossbar, shape):
    """Return the cells of a crossbar of resistors as they stand in a deck, ohm; wires have names of their own."""
    (block,) = re.findall(rf"^\.subckt lsc_{crossbar} (.*?)^\.ends", unwrapped(text), re.M | re.S)
    matrix = np.full(shape, np.inf)
    for j, c, value in re.findall(r"^R(\d+)_(\d+) \S+ \S+ (\S+)$", block, re.M):
        matrix[int(j), int(c)] = float(value)
    return matrix


@pytest.mark.parametrize("name", [n for n in regenerate.PARTS if n in NAMES])
def test_resistors_and_inputs_read_back(name):
    text, sampler = regenerate.text(name), regenerate.sampler(name)
    model, part = sampler.model, sampler.nonideal.crossbar
    for crossbar, matrix in (("forward", model.A), ("backward", model.A.T / 0.25)):
        g = 1 / resistances(text, crossbar, (4, 8))
        (cell,) = [c for c in sampler.graph.cells if c.name == crossbar]
        np.testing.assert_allclose(g, cell.conductances_siemens, rtol=1e-12)
        difference = (g[:, 1::2] - g[:, 0::2]) / (part.g_on - part.g_off) * matrix.max()
        close = np.allclose(difference, matrix, rtol=1e-9, atol=1e-12)
        assert close == (name == "bars2x2-device")  # the other one's are programmed with errors
    np.testing.assert_allclose(parameter(text, "forward_input", "v_in") / sampler.scaling.volt_r, sampler.x)
    assert len(parameter(text, "gradient", "vos")) == 4


@pytest.mark.parametrize("name", [n for n in NAMES if n not in regenerate.PARTS])
def test_conductances_and_inputs_read_back_as_the_model(name):
    text, sampler = regenerate.text(name), regenerate.sampler(name)
    model, scaling, x = sampler.model, sampler.scaling, sampler.x
    to_r, to_e = (v / scaling.volt / scaling.r_node for v in (scaling.volt_r, scaling.volt_e))
    if sampler.form == "gram":
        np.testing.assert_allclose(conductances(text, "inhibition") / to_e, model.A.T @ model.A / 0.25, atol=1e-14)
        unit = scaling.volt_e / scaling.r_node
        np.testing.assert_allclose(parameter(text, "inhibition_input", "i_in") / unit, -model.A.T @ x / 0.25)
        return
    np.testing.assert_allclose(conductances(text, "forward") / to_r, model.A, atol=1e-14)
    backward = conductances(text, "backward") * scaling.volt_r * scaling.r_node / scaling.volt_e
    np.testing.assert_allclose(backward, model.A.T / 0.25, atol=1e-14)
    np.testing.assert_allclose(parameter(text, "forward_input", "i_in") * scaling.r_node / scaling.volt_r, -x)


def test_crossbars_with_odd_scales_read_back(odd_scaling):
    matrix = np.random.default_rng(0).standard_normal((3, 4))
    cell = Crossbar("any", 3, matrix=matrix, source="r", target="e")
    (definition,) = cell.subcircuits(odd_scaling)
    unit = odd_scaling.volt_e / odd_scaling.volt_r / odd_scaling.r_node
    np.testing.assert_allclose(conductances(str(definition), "any") / unit, matrix)


def test_noise_and_capacitor_read_back(name):
    text, sampler = regenerate.text(name), regenerate.sampler(name)
    values = {k: float(v) for k, v in re.findall(r"^\.param (\w+)=(\S+)$", text, re.M)}
    assert set(values) == {"c_int", "i_rms", "t_hold"}
    step = values["t_hold"] / sampler.scaling.tau
    assert step == pytest.approx(sampler.plan.step)
    kick = values["i_rms"] * values["t_hold"] / values["c_int"] / sampler.scaling.volt
    assert kick**2 == pytest.approx(2 * step)  # 2 T h
    (tran,) = re.findall(r"^\.tran (\S+) (\S+) 0 (\S+) uic$", text, re.M)
    np.testing.assert_allclose([float(v) for v in tran], [values["t_hold"], 200e-6, values["t_hold"]])


def test_fingerprint_is_sha256():
    assert fingerprint("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- plain ngspice ---

SEEDS = range(12)


@pytest.fixture(scope="module")
def plain_ngspice(tmp_path_factory):
    """Return a function that runs a deck in the ngspice program and returns its measurements, in model units."""
    program = shutil.which("ngspice")
    if program is None:
        (pytest.fail if os.environ.get("CIRCUITLSC_REQUIRE_NGSPICE") == "1" else pytest.skip)(
            "the ngspice program is not installed (apt-get install ngspice)"
        )
    folder = tmp_path_factory.mktemp("plain")

    def run(text):
        (folder / f"{fingerprint(text)}.cir").write_text(text)
        done = subprocess.run(
            [program, "-b", f"{fingerprint(text)}.cir"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {n: float(v) for n, v in re.findall(r"^mean_(\w+)\s*=\s*(\S+)", done.stdout, re.M)}

    return run


@QUICK
@pytest.mark.ngspice
def test_deck_runs_and_its_seed_decides(name, plain_ngspice):
    sampler = regenerate.sampler(name)
    first, again, other = (plain_ngspice(regenerate.text(name, seed=seed)) for seed in (0, 0, 1))
    assert len(first) == sampler.model.n_latents
    assert np.isfinite(list(first.values())).all()
    assert first == again
    assert all(first[k] != other[k] for k in first)


@pytest.mark.ngspice
def test_both_forms_are_one_circuit(plain_ngspice):
    """The same noise in the Gram and in the residual form gives the same means, to Newton's tolerance."""
    gram, residual = (plain_ngspice(regenerate.text(f"bars4x4-{form}")) for form in ("gram", "residual"))
    np.testing.assert_allclose(list(gram.values()), list(residual.values()), rtol=0, atol=1e-5)


def z_scores(results, exact):
    """Return (mean over seeds - exact) / standard error; the seeds are independent runs."""
    error = np.std(results, axis=0, ddof=1) / np.sqrt(len(results))
    return (np.mean(results, axis=0) - exact) / error


def with_sum(means):
    """Return means (..., n) with their sum as one more."""
    return np.concatenate([means, means.sum(axis=-1, keepdims=True)], axis=-1)


@QUICK
@pytest.mark.ngspice
def test_means_are_those_of_the_exact_posterior(name, plain_ngspice):
    """Twelve seeds (or six) of 200 tau each, and a run's own spread as the standard error; then a wrong input must fail."""
    sampler = regenerate.sampler(name)
    model, x = sampler.model, sampler.x
    imperfect = bool(sampler.nonideal.imperfections())
    seeds = SEEDS[:6] if imperfect else SEEDS  # its noise sources take four times the steps
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(plain_ngspice, [regenerate.text(name, seed=seed) for seed in seeds]))
    means = np.array([list(run.values()) for run in runs]) / sampler.scaling.volt
    if imperfect:  # another posterior: that which the engine samples from the same parts
        nodes = tuple(f"s_{i}" for i in range(model.n_latents))
        volts = probe(sampler, nodes, t_stop=2000, seed=1)
        exact = np.array([volts[n].mean() for n in nodes]) / sampler.scaling.volt
    else:
        exact = gibbs(model, x, n_sweeps=20_000, n_chains=2, seed=1).mean(axis=(0, 1))
    # atoms take turns to explain x: the sum of s varies far less from run to run than each of its terms
    means, exact = with_sum(means), with_sum(exact)
    # family-wise 1e-3 over all decks' latents (52) and sums (8), two-sided; Gibbs' 40,000 sweeps add little
    limit = student.ppf(1 - 1e-3 / 60 / 2, df=len(seeds) - 1)
    # half a width of rounding, and trrandom's (a h)^2/12, are a bias apart from noise
    bias = 0.01
    error = np.std(means, axis=0, ddof=1) / np.sqrt(len(seeds))
    assert (np.abs(means.mean(axis=0) - exact) <= limit * error + bias).all(), z_scores(means, exact)
    wrong = with_sum(gibbs(model, -x, n_sweeps=20_000, n_chains=2, seed=1).mean(axis=(0, 1)))
    assert (np.abs(means.mean(axis=0) - wrong) > limit * error + bias).any(), "negative control"
