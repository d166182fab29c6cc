"""init: what it writes is what the reader takes, says every key, and touches nothing that is there."""

import os
import re
import shlex
import tomllib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from circuitlsc.cli import init, learn, studies
from circuitlsc.cli.init import examples
from circuitlsc.cli.main import app
from circuitlsc.config.describe import tables
from circuitlsc.config.learning import WHERE, load_learn_config
from circuitlsc.config.read import load_config, resolved_toml
from circuitlsc.config.registry import LEARNING, SAMPLER
from circuitlsc.config.start import SMALL, Start
from circuitlsc.config.template import SYSTEMS
from circuitlsc.errors import InputError
from circuitlsc.io.atomic import new_files
from circuitlsc.learning.variational import first_encoder
from circuitlsc.model.dynamics import KINDS
from circuitlsc.model.prior_io import PRIORS
from circuitlsc.model.survey import survey
from circuitlsc.sampling.compile import LEVELS
from examples.paper.run import FIGURES

START = (Path(__file__).parents[1] / "docs" / "start.md").read_text()
DEFAULT = re.compile(r"^# (?=\w+ = )", re.MULTILINE)  # before a key


def call(*words):
    return CliRunner().invoke(app, ["init", *map(str, words)])


def error(*words):
    done = call(*words)
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    return done.stderr


def untrained(folder):
    """Put an encoder where `circuitlsc learn` would put a trained one."""
    learner = load_learn_config(folder / "learn.toml", "software").variational()
    (folder / "encoder").mkdir()
    first_encoder(learner).save(folder / "encoder" / "encoder.npz")


def written(folder, system=None, level="ideal", prior=None, dictionary=None, *, learn=False):
    """Write what init writes."""
    start = Start.asked(system, level, prior, dictionary, learn=learn)
    with new_files(folder) as part:
        start.write(part, folder)
    if start.kind == "variational":
        untrained(folder)
    return start


def meant(path):
    """Return all that a config says, as text."""
    if path.name == "learn.toml":
        config = load_learn_config(path, "software")
        return repr((config.variational() if config.training is not None else config.software()).settings())
    config = load_config(path)
    return resolved_toml(config, config.sampler())


COMBINED = [
    *product(init.SYSTEMS.split(), ["ideal"], [None]),
    *product(["langevin", "underdamped", "lca", "amortised", "variational"], ["device"], [None]),
    *product(["langevin"], ["ideal"], init.PRIORS.split()),
]


@pytest.mark.parametrize(("system", "level", "prior"), COMBINED)
def test_every_config_is_read_compiled_and_the_same_without_its_marks(tmp_path, system, level, prior):
    start = written(tmp_path, system, level, prior)
    files = {"config.toml"} | ({"learn.toml"} if start.kind == "variational" else set())
    assert {path.name for path in tmp_path.glob("*.toml")} == files
    for path in map(tmp_path.joinpath, files):
        said, text = meant(path), path.read_text()
        assert all(len(line) <= 120 for line in text.splitlines())
        path.write_text(DEFAULT.sub("", text))
        assert len(tomllib.loads(path.read_text())["run" if path.name == "config.toml" else "learning"]) > 2
        assert meant(path) == said
    config = load_config(tmp_path / "config.toml")
    assert (config.dynamics.kind, config.built.level, config.model.prior.kind) == (start.kind, level, start.prior)
    assert np.array_equal(config.model.A, SMALL)


@pytest.mark.parametrize("system", ["langevin", "amortised", "variational"])
def test_a_config_of_learning_is_read_and_the_same_without_its_marks(tmp_path, system):
    written(tmp_path, system, learn=True)
    path = tmp_path / "learn.toml"
    said = meant(path)
    if system != "variational":
        assert load_learn_config(path, "circuit").in_circuit().level == "ideal"
        assert "other kinds: laplace (lam, signed)\n" in path.read_text()
    path.write_text(DEFAULT.sub("", path.read_text()))
    assert meant(path) == said


def test_each_default_can_be_taken_alone(tmp_path):
    written(tmp_path)
    path = tmp_path / "config.toml"
    said, text = meant(path), path.read_text()
    found = [match.start() for match in DEFAULT.finditer(text)]
    assert len(found) > 15
    for start in found:
        path.write_text(text[:start] + text[start + 2 :])
        assert meant(path) == said


@pytest.mark.parametrize(("learn", "mine"), [(False, SAMPLER), (True, LEARNING)])
def test_every_declared_key_is_there_with_what_it_is(tmp_path, learn, mine):
    written(tmp_path, level="device", learn=learn)
    text = (tmp_path / ("learn.toml" if learn else "config.toml")).read_text()
    plain = " ".join(text.replace("#", " ").split())
    for table, (_, keys) in tables().items():
        top, _, part = table.partition(".")
        if top not in mine:
            continue
        here = re.split(rf"\n(?:# )?\[+{re.escape(table)}\]", text, maxsplit=1)[1].partition("\n\n")[0]
        for key in keys:
            if part or key.name in mine[top]:
                assert re.search(rf"\b{key.name}\b", here), key.path
                if not key.prior and f"\n[{table}]" in text:
                    assert " ".join(key.meta["text"].split()) in plain, key.path


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "A.csv").write_text("mine")
    (tmp_path / "other").write_text("mine")
    said = error(tmp_path)
    assert said.startswith(f"circuitlsc: error: A.csv exists in {tmp_path} already, and nothing is overwritten.")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"A.csv": "mine", "other": "mine"}
    (tmp_path / "config.toml").symlink_to("nowhere")
    assert "A.csv, config.toml exist in" in error(tmp_path)


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path, monkeypatch, links):
    def link(path, target):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", link)

    def give(folder, *names):
        with new_files(folder) as part:
            for name in names:
                (part / name).write_text("ours")

    give(tmp_path / "a", "first")
    assert (tmp_path / "a" / "first").read_text() == "ours"
    monkeypatch.setattr(os.path, "lexists", lambda path: False)  # it appears after that look
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(InputError if links else FileExistsError):
        give(tmp_path, "a_file", "b")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert (tmp_path / "b").read_text() == "theirs"


def test_what_cannot_be_leaves_nothing(tmp_path):
    new = tmp_path / "a" / "b"
    assert "--system lcb is not known. Did you mean 'lca'?" in error(new, "--system", "lcb")
    assert "--prior spike is not known." in error(new, "--prior", "spike")
    assert "--level devise is not known." in error(new, "--level", "devise")
    assert 'dynamics.kind = "lca" has the L1 prior' in error(new, "--system", "lca", "--prior", "gaussian")
    assert "--dictionary = 'A.npy' is not a file that exists" in error(new, "--dictionary", "A.npy")
    np.savetxt(tmp_path / "cost.csv", np.eye(2), delimiter=",")
    assert "Rename it." in error(new, "--dictionary", tmp_path / "cost.csv", "--prior", "table")
    assert "Leave the other options out" in error(new, "--example", "bars4x4", "--learn")
    (tmp_path / "file").write_text("")
    assert "cannot be made, or written to" in error(tmp_path / "file" / "b")
    np.savetxt(tmp_path / "zero.csv", [[1.0, 0.0], [0.5, 0.0]], delimiter=",")
    assert "A[:, 1] is a zero column" in error(new, "--dictionary", tmp_path / "zero.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "zero.csv", "cost.csv"}


def test_names_of_folders_are_text(tmp_path):
    folder = tmp_path / 'it\'s "<script>"\nmine'
    done = call(folder)
    assert done.exit_code == 0, done.output
    assert load_config(folder / "config.toml").sampler()
    command = done.stdout.split("next:\n    ")[1].splitlines()[0]
    assert "\\n" in command
    assert "<script>" in command
    np.save(tmp_path / "A\n\x1b[31m.npy", np.eye(2))
    done = call(tmp_path / "named", "--dictionary", tmp_path / "A\n\x1b[31m.npy")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout
    assert "A\\n\\x1b[31m.npy and config.toml are in" in done.stdout


@pytest.mark.ngspice
def test_a_dictionary_of_ones_own(tmp_path):
    """It is copied if it lies elsewhere, and named if it lies there; what it is and how long it takes is said."""
    A = np.random.default_rng(0).standard_normal((3, 4))
    A[:, 3] = -2 * A[:, 0]
    np.save(tmp_path / "mine's.npy", A)
    folder = tmp_path / "new"
    done = call(folder, "--dictionary", tmp_path / "mine's.npy")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    norms = np.linalg.norm(A, axis=0)
    assert "dictionary 3 x 4: x has 3 features, the circuit 4 neurons (overcomplete, 1.33 times)" in said
    assert f"norms {norms.min():.4g} .. {norms.max():.4g}" in said
    assert "coherence 1, the largest |cos| of two atoms: latents 0 and 3" in said
    assert "rank 3 of 4" in said
    assert "latents 0 and 3 are one atom, up to a factor" in said
    assert re.search(r"time 2 chains of 20000 tau are 2 x [\d,]+ steps, \S+ us each \(measured on 2000\): ", said)
    config = load_config(folder / "config.toml")
    assert np.array_equal(config.model.A, A)
    assert f"width {config.sampler().plan.width:.4g} = min(" in said
    command = done.stdout.split("next:\n    ")[1].splitlines()[0]
    assert shlex.split(command) == ["circuitlsc", "run", f"{folder}/config.toml", "-o", f"{folder}/out"]
    inside = tmp_path / "sub"
    inside.mkdir()
    (tmp_path / "mine's.npy").rename(inside / "mine.npy")
    written(tmp_path, "lca", dictionary=str(inside / "mine.npy"))
    assert load_config(tmp_path / "config.toml").source.dictionary == str(inside / "mine.npy")
    assert not (tmp_path / "mine.npy").exists()


@pytest.mark.parametrize(
    ("A", "note"),
    [
        (np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]), "the file is transposed"),
        (np.array([[255, 0], [17, 30], [0, 128.0]]), "look like pixels"),
        (1e-3 * np.eye(3), "norms of 0.001"),
        (np.diag([1.0, 0.01]), "latent 0 is 100 times as long as latent 1"),
        (np.array([[1, 1], [0, 0.1]]), "nearly one atom"),
        (np.array([[1, 1, 2], [1, 1, 2.0]]), "one atom, up to a factor (3 such pairs)"),
    ],
)
def test_what_looks_like_a_slip_is_said(A, note):
    assert note in "; ".join(survey(A).notes)


def test_an_ordinary_dictionary_has_no_notes():
    found = survey(np.array(SMALL))
    assert found.notes == ()
    assert (found.rank, found.sigma) == (4, 0.5)
    assert found.coherence == pytest.approx(0.48)
    assert found.condition == pytest.approx(np.linalg.cond(np.array(SMALL)) ** 2)
    assert survey(np.eye(2)).facts().rows[3] == ("coherence", "0: all atoms are orthogonal")


@pytest.mark.parametrize("name", sorted(examples()))
def test_examples_are_copied(tmp_path, name):
    done = call(tmp_path, "--example", name)
    assert done.exit_code == 0, done.output
    assert (tmp_path / f"{name}.toml").read_text() == examples()[name]
    command = f"circuitlsc {'learn' if 'learn' in name else 'run'} {tmp_path}"
    assert (command in done.stdout) == (name != "photograph")
    assert ("made by examples/photograph.py in a checkout" in done.stdout) == (name == "photograph")


def test_completion_knows_what_there_is():
    """Shells ask for values; a command line that answers them loads no NumPy, so the words stand there once more."""
    assert init.SYSTEMS.split() == [*sorted(KINDS, key=init.SYSTEMS.split().index), *SYSTEMS]
    assert init.LEVELS.split() == [*LEVELS]
    assert init.PRIORS.split() == [kind for kind, cls in PRIORS.items() if cls.__module__.startswith("circuitlsc.")]
    assert learn.WHERE.split() == [*WHERE]
    assert {*studies.FIGURES.split()} == {*FIGURES}
    assert all(
        f"`{name}`" in START or f" {name}" in START
        for name in {*KINDS, *SYSTEMS, *init.PRIORS.split()} - {"langevin", "spike-slab"}
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("init --system l", ["langevin", "lca"]),
        ("init --example b", ["bars4x4"]),
        ("learn x --in c", ["circuit"]),
        ("paper lae", ["lae-batch", "lae-digits"]),
        ("explain run.t_", ["run.t_stop"]),
    ],
)
def test_values_are_completed(typed, offered):
    env = {"_CIRCUITLSC_COMPLETE": "complete_bash", "COMP_WORDS": f"circuitlsc {typed}"}
    done = CliRunner().invoke(app, [], prog_name="circuitlsc", env={**env, "COMP_CWORD": str(len(typed.split()))})
    assert done.stdout.split() == offered


def test_an_example_that_is_not_there():
    assert "--example bars is not known. Did you mean 'bars4x4'? Give one of bars4x4, " in error("--example", "bars")


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_written_runs_and_agrees(tmp_path, level):
    call(tmp_path, "--level", level)
    done = CliRunner().invoke(app, ["run", str(tmp_path / "config.toml"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").is_file()
