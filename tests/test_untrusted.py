"""What comes from strangers runs nothing, and reads and writes nowhere else: .spiceinit, pickles, names, paths, HDF5."""

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from circuitlsc import CustomPrior, InputError, Samples, SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.main import app
from circuitlsc.config.learning import load_learn_config
from circuitlsc.config.read import load_config
from circuitlsc.errors import CircuitLSCError
from circuitlsc.learning.history import load_history
from circuitlsc.learning.learned import Learned
from circuitlsc.model.data import MOST_OF_A_DICTIONARY, load_array, load_dictionary
from circuitlsc.simulator.ngspice.deck import comment
from circuitlsc.simulator.ngspice.deck_lines import check_lines

ROOT = Path(__file__).parents[1]
FIXED = settings(max_examples=150, derandomize=True, database=None, deadline=None)
SMALL = SparseCodingModel(bars(1), SpikeSlab(0.5, 0.5), 0.5)
CONFIG = '[model]\ndictionary = "A.npy"\nx = "x.npy"\nsigma = 0.5\n[prior]\nkind = "laplace"\nlam = 1.0\n[run]\nt_stop = 40\n'


@pytest.fixture
def theirs(tmp_path):
    """Return a folder with a config, and files outside it that nobody should see."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for place in (folder, tmp_path):
        np.save(place / "A.npy", np.eye(2))
        np.save(place / "x.npy", np.ones(2))
    (folder / "config.toml").write_text(CONFIG)
    (tmp_path / "secret.csv").write_text("password,hunter2\n")
    return folder


def refusal(make):
    """Return what a call complains of, or nothing."""
    try:
        make()
    except CircuitLSCError as error:
        return str(error)
    return ""


# --- ngspice's init files ---


@pytest.mark.ngspice
@pytest.mark.parametrize("name", [".spiceinit", pytest.param("spice.rc", marks=pytest.mark.slow)])
def test_init_files_are_not_executed(name, theirs, tmp_path):
    """In the working folder, in the home folder, and in the folders that ngspice's variables name."""
    mark = tmp_path / "executed"
    home = tmp_path / "home"
    home.mkdir()
    for folder in (theirs, home):
        (folder / name).write_text(f"shell touch {mark}\n")
    (home / "spinit").write_text(f"shell touch {mark}\n")
    variables = ("HOME", "SPICE_SCRIPTS", "SPICE_LIB_DIR", "SPICE_USERINIT_DIR", "USERPROFILE")
    env = {**os.environ, **dict.fromkeys(variables, str(home))}
    env["PYTHONPATH"] = str(ROOT)

    run = [sys.executable, "-m", "circuitlsc", "run", "config.toml", "-o", "out"]
    done = subprocess.run(run, cwd=theirs, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr
    assert not mark.exists()

    # the negative control: plain ngspice does execute them
    (theirs / "deck.cir").write_text("* t\nR1 1 0 1k\nV1 1 0 1\n.op\n.end\n")
    subprocess.run(["ngspice", "-b", "deck.cir"], cwd=theirs, env=env, capture_output=True, check=False)
    assert mark.exists()


# --- nothing that runs code ---

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def code_runners(source):
    """Return what in Python source could run code out of data: (line, what)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [(node.lineno, name) for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in FORBIDDEN_CALLS or (
            called.endswith((".loads", ".load")) and called.split(".")[0] in FORBIDDEN_MODULES
        ):
            found.append((node.lineno, called))
        if called == "os.system" or any(k.arg == "shell" for k in node.keywords):
            found.append((node.lineno, called))
        pickles = [k for k in node.keywords if k.arg == "allow_pickle"]
        if any(ast.unparse(k.value) != "False" for k in pickles):
            found.append((node.lineno, called))
    return found


SOURCES = sorted([*(ROOT / "circuitlsc").rglob("*.py"), *(ROOT / "examples" / "paper").rglob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_package_runs_no_data(path):
    assert code_runners(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "np.load(x, allow_pickle=True)",
        "os.system(x)",
        "run(x, shell=True)",
    ],
)
def test_and_the_search_finds_what_would(line):
    assert len(code_runners(f"y = 1\n{line}\n")) == 1


# --- arrays ---


def claims(path, shape, descr="<f8"):
    """Write a .npy file whose header claims a shape, with 16 bytes of numbers."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16))
    return path


@pytest.mark.parametrize(
    ("shape", "descr", "why"),
    [
        ((10**15,), "<f8", r"it has 1,000,000,000,000,000 numbers, and at most 16,777,216 are read"),
        ((4097, 4096), "<f8", r"it has 16,781,312 numbers, and at most"),
        ((1000,), "<f8", r"it has 1,000 numbers by its header, and only \d+ bytes"),
        ((1,), "<U1000000000", r"it has 1 numbers, and at most|its header is damaged"),
        ((-1, 2), "<f8", r"its header is damaged"),
        ((2, 2**63), "<f8", r"it has .* numbers, and at most"),
    ],
)
def test_a_header_that_claims_too_much(tmp_path, shape, descr, why):
    path = claims(tmp_path / "A.npy", shape, descr)
    with pytest.raises(InputError, match=rf"cannot be read: ({why})"):
        load_dictionary("A.npy", tmp_path)
    with zipfile.ZipFile(tmp_path / "A.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "A.npy")
    with pytest.raises(InputError, match=rf"cannot be read: ({why})"):
        load_dictionary("A.npz", tmp_path)


def test_an_archive_that_inflates(tmp_path):
    """Its 400 MB take 400 kB: the header of the array in it is judged, and nothing more is unpacked."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (5 * 10**7, 1)}
    with (
        zipfile.ZipFile(tmp_path / "A.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("A.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(400):
            member.write(bytes(10**6))
    assert (tmp_path / "A.npz").stat().st_size < 10**6
    with pytest.raises(InputError, match=r"it has 50,000,000 numbers, and at most 16,777,216 are read"):
        load_dictionary("A.npz", tmp_path)


def test_a_csv_without_end(tmp_path):
    with (tmp_path / "A.csv").open("wb") as file:
        file.truncate(2 * MOST_OF_A_DICTIONARY + 1)
    with pytest.raises(InputError, match=r"cannot be read: it has more than 33,554,432 bytes, the most that is read\."):
        load_dictionary("A.csv", tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1,2\n3,hunter2\n", "line 2, column 2 is not a number"),
        ("1,2\n\n3\n", "line 3 has 1 numbers, and those before it have 2"),
        ("root:x:0:0\n", "line 1, column 1 is not a number"),
        ("1,1_0\n", "line 1, column 2 is not a number"),
        ("\ufeff1,2\nx,2\n", "line 2, column 1 is not a number"),
    ],
)
def test_messages_repeat_nothing_of_a_file(tmp_path, text, why):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"cannot be read: {re.escape(why)}\. Save it again"):
        load_array(tmp_path / "a.csv", "model.x")


# --- special files ---


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "missing"])
@pytest.mark.parametrize(
    ("ending", "read"),
    [
        (".toml", load_config),
        (".toml", lambda path: load_learn_config(path, "software")),
        (".npy", lambda path: load_array(path, "model.x")),
        (".npz", lambda path: load_array(path, "model.x")),
        (".csv", lambda path: load_array(path, "model.x")),
        (".nc", Samples.load),
        (".nc", load_history),
        (".npz", Learned.load),
    ],
)
def test_special_files_are_one_line_and_do_not_hang(tmp_path, kind, ending, read):
    path = tmp_path / f"a{ending}"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path.name),
        "missing": lambda: None,
    }[kind]()
    with pytest.raises(InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


# --- paths in a config ---

OUTSIDE = ["../secret.csv", "../A.npy", "sub/../../A.npy", "link.npy", "{absolute}"]


def learn_config(key, value):
    keys = {"dictionary": '[model]\nsigma = 0.5\ndictionary = "bars:1"', "other": "[model]\nsigma = 0.5"}
    prior = '[prior]\nkind = "laplace"\nlam = 1.0'
    tables = {
        "dictionary": f"[model]\nsigma = 0.5\ndictionary = {value}\n{prior}\n[learning]\nlearn = ['A']",
        "source": f"{keys['other']}\n{prior}\n[data]\nsource = {value}\n[learning]\nlearn = ['A']",
        "images": f"{keys['other']}\n{prior}\n[data]\nsource = 'natural:2'\nimages = [{value}]\n[learning]\nlearn = ['A']",
        "start": f"{keys['dictionary']}\n{prior}\n[learning]\nlearn = ['A']\nstart = {value}",
    }
    return tables[key]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("key", ["dictionary", "x", "file"])
def test_a_config_reads_only_its_own_folder(theirs, tmp_path, key, name):
    (theirs / "link.npy").symlink_to("../A.npy")
    value = json.dumps(name.format(absolute=tmp_path / "A.npy"))
    old = {"dictionary": 'dictionary = "A.npy"', "x": 'x = "x.npy"', "file": 'kind = "laplace"\nlam = 1.0'}[key]
    new = f'kind = "table"\nfile = {value}' if key == "file" else f"{key} = {value}"
    path = theirs / "config.toml"
    path.write_text(CONFIG.replace(old, new))
    with pytest.raises(InputError, match=r"is outside the config's folder, .* or add --anywhere\.$") as caught:
        load_config(path)
    assert "hunter2" not in str(caught.value)
    said = refusal(lambda: load_config(path, anywhere=True))  # no dictionary, no table: but it was read
    assert "outside" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize("key", ["dictionary", "source", "images", "start"])
def test_a_config_of_learning_too(theirs, key):
    path = theirs / "learn.toml"
    path.write_text(learn_config(key, '"../A.npy"'))
    with pytest.raises(InputError, match=r"is outside the config's folder"):
        load_learn_config(path, "software")
    path.write_text(learn_config(key, '"A.npy"'))
    assert "outside" not in refusal(lambda: load_learn_config(path, "software"))


def test_the_option_of_the_command_line(theirs, tmp_path):
    path = theirs / "config.toml"
    path.write_text(CONFIG.replace('"A.npy"', '"../A.npy"'))
    refused = CliRunner().invoke(app, ["build", str(path), "-o", str(tmp_path / "deck.cir")])
    assert refused.exit_code == 2
    assert "outside the config's folder" in refused.stderr
    assert not (tmp_path / "deck.cir").exists()
    done = CliRunner().invoke(app, ["build", str(path), "-o", str(tmp_path / "deck.cir"), "--anywhere"])
    assert done.exit_code == 0, done.stderr


def test_messages_do_not_steer_the_terminal(tmp_path):
    (tmp_path / "config.toml").write_text('["\\u001b[31m"]\n')
    done = CliRunner().invoke(app, ["build", str(tmp_path / "config.toml")])
    assert done.exit_code == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31m" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'9' * 5000}",
        f"[model]\nsigma = 0x{'f' * 6000}",
        f"[model]\nsigma = {2**63}",
        f"a = {'[' * 5000}",
        "a = 1\r",
    ],
    ids=["digits", "hexadecimal", "65 bits", "nested", "a carriage return"],
)
def test_numbers_and_nesting_that_python_does_not_bear(tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InputError, match=r"config\.toml is not valid TOML: .{3,300}\.$"):
        load_config(tmp_path / "config.toml")


# --- names and numbers on their way into a deck ---

NAMES = st.text(max_size=40) | st.sampled_from(
    ["a\n.control", "a\r*#quit", "a b", "a;b", "é", "1a", "", "{a}", "a" * 65, "a\0"]
)


@pytest.fixture(scope="session")
def small():
    return build_sampler(SMALL, np.ones(1))


@FIXED
@given(name=NAMES)
def test_the_name_of_a_subcircuit_is_one_name(small, name):
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,63}", name):
        assert check_lines(f"t\n{small.subcircuit(name=name)}".encode(), titled=True) == ([], [])
    else:
        with pytest.raises(InputError, match=r"^name = .* (is no name in a netlist|has upper-case letters, .*)\."):
            small.subcircuit(name=name)


@FIXED
@given(text=st.text(max_size=300))
def test_a_comment_stays_a_comment(text):
    lines = comment(text)
    assert all(line.startswith("* ") and line.isprintable() for line in lines)
    assert check_lines("\n".join(["t", *lines]).encode(), titled=True) == ([], [])


@FIXED
@given(name=NAMES)
def test_the_name_of_a_prior_is_one_line(name):
    s = np.linspace(-3, 3, 9)
    if name.isprintable():
        prior = CustomPrior.from_table(s, s**2, name=name)
        deck = build_sampler(SparseCodingModel(bars(1), prior, 0.5), np.ones(1)).deck(t_stop=30)
        assert check_lines(deck.encode(), titled=True) == ([], [])
    else:
        with pytest.raises(InputError, match=r"^CustomPrior: name = "):
            CustomPrior.from_table(s, s**2, name=name)


HOSTILE_NUMBERS = st.sampled_from(
    [
        "1\n.control",
        "1k",
        "",
        float("nan"),
        float("inf"),
        -1.0,
        0,
        True,
        10**400,
        np.float64(0.01),
        np.int64(1),
        b"1",
        [1],
        1e308,
        5e-324,
    ]
)
ARGUMENTS = (
    "width",
    "step",
    "volt",
    "c_int",
    "tau",
    "rails",
    "tolerance",
    "form",
    "level",
    "dynamics",
    "hold",
    "interpolate",
)


@FIXED
@given(argument=st.sampled_from(ARGUMENTS), value=HOSTILE_NUMBERS)
def test_arguments_are_numbers_before_they_are_in_a_deck(argument, value):
    try:
        deck = build_sampler(SMALL, np.ones(1), **{argument: value}).deck(t_stop=40)
    except CircuitLSCError:
        return
    assert check_lines(deck.encode(), titled=True) == ([], [])
    assert "np." not in deck


@FIXED
@given(argument=st.sampled_from(["t_stop", "warmup", "seed"]), value=HOSTILE_NUMBERS)
def test_arguments_of_a_deck_too(argument, value):
    sampler = build_sampler(SMALL, np.ones(1))
    try:
        deck = sampler.deck(**{"t_stop": 40.0, argument: value})
    except CircuitLSCError:
        return
    assert check_lines(deck.encode(), titled=True) == ([], [])
    assert "np." not in deck
