"""explain: declarations and docs, found by a word or by a message, in a checkout and in a wheel."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from circuitlsc import errors
from circuitlsc.cli.explain import _exactly, words
from circuitlsc.cli.main import app
from circuitlsc.config.describe import tables
from circuitlsc.io import docs
from circuitlsc.model.prior_io import PRIORS
from circuitlsc.nonideal.presets import PRESETS
from circuitlsc.reporting.terms import TERMS

ROOT = Path(__file__).parents[1]
REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"


def said(*asked, width=80):
    done = CliRunner().invoke(app, ["explain", *asked], env={"COLUMNS": str(width)})
    assert done.exit_code == 0, done.output
    return done.stdout


def flat(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def shown():
    """What there is about every word."""
    return {word: "\n\n".join(_exactly(word, 80)) for word in words()}


def test_every_word_is_explained(shown):
    assert all(shown.values()), [word for word, text in shown.items() if not text]
    assert said("run.t_stop").strip() == shown["run.t_stop"]


def test_keys_of_one_name_are_all_shown(shown):
    for _, keys in tables().values():
        for key in keys:
            assert key.path in shown[key.name]
            assert flat(key.meta["text"].replace("`", "")) in flat(shown[key.name])
            assert key.path in shown[key.path]


@pytest.mark.parametrize("asked", ["run", "[run]", "nonideal.op_amp", "op_amp"])
def test_a_table_has_a_line_for_each_key(asked):
    table = asked.strip("[]") if asked.strip("[]") in tables() else f"nonideal.{asked}"
    shown = said(asked)
    assert f"[{table}]" in shown
    assert all(re.search(rf"^{key.name}  ", shown, re.MULTILINE) for key in tables()[table][1])


def test_priors_presets_verdicts_terms_and_errors(shown):
    assert all(f'[prior] kind = "{kind}"' in shown[kind] for kind in PRIORS.keys() & shown.keys())
    assert all(f"{name} (presets.md)" in shown[name] for name in PRESETS)
    assert all(flat(meaning) in flat(shown[term]) for term, meaning in TERMS.items())
    assert all("Exit code" in shown[verdict] for verdict in ("agrees", "disagrees", "inconclusive"))
    assert "libngspice cannot be found or loaded." in flat(shown["MissingSimulatorError"])
    assert {name for name in vars(errors) if name.endswith("Error")} <= shown.keys()
    assert "a word, a config or a file that cannot be" in flat(said("2"))


def test_words_of_keys_systems_and_commands(shown):
    assert '"residual" is a word of circuit.form' in shown["residual"]
    assert "result: samples of exp(-E/T)" in flat(shown["underdamped"])
    assert 'kind = "gradient" in [dynamics], with kind = "laplace" in [prior]' in flat(shown["DSC"])
    assert "circuitlsc draw (a command" in shown["draw"]
    assert "start.md: inconclusive" in said("R-hat")


@pytest.mark.parametrize(
    ("message", "key", "place"),
    [
        ("circuitlsc: error: c.toml: run.t_stop = -1, but it must be > 0. Give a time.", "run.t_stop", ""),
        ("op_amp.offset = -1, but it must be >= 0 and <= 10.", "nonideal.op_amp.offset", ""),
        ("c.toml: [nonideal] needs a device", "[nonideal]", ""),
        ("chain 0: the transient stopped: timestep too small", "timestep too small", "running.md: Interrupted runs"),
        ("libngspice crashed in chain 3", "libngspice crashes", "running.md: Interrupted runs"),
        ("the run is too short: R-hat is 1.2, its chains have not mixed", "t_stop", "start.md: inconclusive"),
    ],
)
def test_a_message_leads_to_its_key_and_its_page(message, key, place):
    shown = said(*message.split())
    assert key in shown
    assert place in shown
    assert shown == said(message)


@pytest.mark.parametrize(("word", "near"), [("tstop", " Did you mean 't_stop'?"), ("xyzzy\x1b[31m", "")])
def test_what_is_not_known_is_said(word, near):
    done = CliRunner().invoke(app, ["explain", word])
    assert done.exit_code == 2
    assert f"is no key, verdict, error or term.{near} Give one" in done.stderr
    assert "\x1b" not in done.stderr


def test_lines_find_room():
    for section in docs.sections():
        for line in section.as_text(72).splitlines():
            code = line.startswith("    ") and line.strip() in section.text
            assert len(line) <= 72 or code or " " not in line.strip(), (section.place, line)


def test_marks_of_markdown_are_left_out():
    paragraphs = "See **[method](method.md#a)** and `x`:\n\n- one\n  goes on\n- two\n\n    code **as** it is\n\n"
    text = paragraphs + "| a | b | c |\n|---|---|---|\n| 1 | \\|z\\| | 3 |\n"
    assert docs.as_text(text, 80).splitlines() == [
        "See method and x:",
        "",
        "- one goes on",
        "- two",
        "",
        "    code **as** it is",
        "",
        "1",
        "    b: |z|",
        "    c: 3",
    ]


def test_a_wheel_has_the_pages_and_the_examples(tmp_path):
    """As declared; what is built from it is looked at in the nightly run."""
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    there = {f"docs/{path.name}": f"circuitlsc/docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    del there["docs/index.md"]  # the site's
    assert built["force-include"] == there


@pytest.mark.slow
def test_a_wheel_without_a_checkout_explains(tmp_path):
    (importlib.import_module if REQUIRED else pytest.importorskip)("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for words_asked in (["explain", "agrees"], ["init", "mine", "--example", "device4x4"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "circuitlsc", *words_asked],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "device4x4.toml").is_file()
