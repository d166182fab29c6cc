"""The pages of docs/: each has its place on the site, links lead somewhere, and their blocks of code work."""

import ast
import doctest
import importlib
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import circuitlsc
from circuitlsc.cli.main import app
from circuitlsc.config.describe import tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REQUIRED = os.environ.get("CIRCUITLSC_REQUIRE_EXTRAS") == "1"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts)
RUN = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]  # pages whose blocks are run, one after the other
GENERATED = re.compile(r'^    yield "([\w-]+)"', re.MULTILINE)
BLOCK = re.compile(r"^```(python|toml|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def slug(title):
    """Return the anchor of a heading, as GitHub and MyST make it."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(path):
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {slug(title) for title in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)}


def generated():
    """Return the pages that tools/site_pages.py makes."""
    text = (ROOT / "tools" / "site_pages.py").read_text(encoding="utf-8")
    measured = re.findall(r'"(\w+)"', re.search(r"^MEASURED = \((.*)\)$", text, re.MULTILINE)[1])
    return {*GENERATED.findall(text), *measured}


def entries(page):
    """Return the pages that the toctrees of a page list, and what those list."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                found = (page.parent / f"{line}.md").resolve()
                yield found
                if found.is_file() and "generated" not in found.parts:
                    yield from entries(found)


def test_every_page_has_its_place():
    placed = list(entries(DOCS / "index.md"))
    assert len(placed) == len(set(placed)), "a page stands twice in the toctrees of docs/index.md"
    made = {DOCS / "generated" / f"{name}.md" for name in generated()}
    assert {*placed} == {*PAGES} - {DOCS / "index.md"} | made, "every page stands in a toctree of docs/index.md"


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", prose):
            if target.startswith("https://"):
                continue
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if path.parent == DOCS / "generated":
                assert path.stem in generated(), f"{page.name}: {target}"
                continue
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}"


def test_every_public_name_and_key_has_a_place():
    api = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\.\. auto\w+:: (\w+)$", api, re.MULTILINE)) == sorted(circuitlsc.__all__)
    config = (DOCS / "config.md").read_text(encoding="utf-8")
    for table, (_, keys) in tables().items():
        section = re.search(rf"^#+ \[+{re.escape(table)}\]+\n(.*?)(?=^#|\Z)", config, re.MULTILINE | re.DOTALL)[1]
        assert all(f"`{key.name}`" in section for key in keys), table


def test_every_picture_of_the_gallery_is_there():
    scripts = {path.stem for path in (DOCS / "gallery").glob("*.py")}
    assert scripts == {path.stem for path in (DOCS / "gallery").glob("*.png")}
    assert len(scripts) >= 15
    for path in (DOCS / "gallery").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert f'savefig("{path.stem}.png"' in source
        assert len(ast.get_docstring(ast.parse(source)).splitlines()) > 2


@pytest.fixture(scope="module")
def site():
    """tools/site_pages.py and tools/cell_pictures.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        return importlib.import_module("site_pages"), importlib.import_module("cell_pictures")


def assert_picture_shows(pictures, text):
    """Every pin, part and value of a netlist stands in its picture."""
    pins, parts = pictures.elements(text)
    fig = pictures.cell_figure(text)
    texts = [shown.get_text() for shown in fig.axes[0].texts]
    assert {pictures.formula(pin) for pin in pins} - {*texts} == set()
    for part in parts:
        assert any(re.match(rf"{part.name}\b", shown) for shown in texts), part.name
    assert texts.count("$f_{1}$") == sum(1 for part in parts if "pwl(" in part.value)
    return texts


def test_a_picture_of_a_cell_says_what_its_netlist_says(site):
    pages, pictures = site
    texts = assert_picture_shows(pictures, pages.golden("bars2x2-gram")["lsc_gate"])
    assert r"Bg: $i$ = $f_{1}(V_{u})+V_{e}\,f_{2}(V_{u})$" in texts
    texts = assert_picture_shows(pictures, pages.golden("bars2x2-imperfect")["lsc_op_amp"])
    assert {"52.5 Ω", r"6.61 mS $\cdot$ $(V_{\mathrm{inp}}-V_{\mathrm{inn}})$", r"1.51 MΩ", "1 pF"} <= {*texts}
    other = pages.golden("bars2x2-gram")["lsc_gate"].replace("V(e)*", "V(u)*")
    assert "$e$" not in [shown.get_text() for shown in pictures.cell_figure(other).axes[0].texts]  # it can be missed


def test_tables_of_a_netlist_are_read(site):
    _, pictures = site
    said, (outer, inner) = pictures.tables("2*pwl(pwl(V(u),-1,1,0,0,1,1)-V(k),-1,0,1,3)+pwl(V(u), -1, 1, 0, 0, 1, 1)")
    assert said == "2*f1(f2(V(u))-V(k))+f2(V(u))"
    assert (outer.values.tolist(), inner.knots.tolist()) == ([0, 3], [-1, 0, 1])
    assert pictures.formula("{k*2.5e-06*V(u)/max(V(lam),1000.0)**2}") == (
        r"$k\,2.5\cdot 10^{-6}\,V_{u}/\mathrm{max}(V_{\lambda},\,1000)^2$"
    )


def test_every_cell_has_its_netlist_on_the_site(site):
    """But for those of which others are kinds."""
    pages, _ = site
    found = pages.of_cells()
    kinds = {kind for _, kinds in pages.all_cells() for kind in kinds}
    assert len(kinds) > 60
    assert {*found} <= kinds
    for kind in kinds - {*found}:
        assert len([heir for heir in found if issubclass(heir, kind)]) > 1, kind


@pytest.mark.slow
def test_every_picture_of_a_cell_says_what_its_netlist_says(site):
    pages, pictures = site
    for text, _ in pages.of_cells().values():
        if "crossbar" not in text:  # of which a picture has one row
            assert_picture_shows(pictures, text)


@pytest.mark.parametrize("page", RUN, ids=lambda path: path.stem)
def test_blocks_are_well_formed(page):
    """What the slow test runs: Python that compiles, TOML under the name of its file, commands that exist."""
    commands = {command.name for command in app.registered_commands}
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            compile(text, page.name, "exec")
        elif kind == "toml":
            assert re.match(r"# \w+\.toml\n", text)
            assert {*tomllib.loads(text)} <= {*tables(), "nonideal"}
        else:
            for line in text.splitlines():
                program, *words = line.split()
                assert program == "ngspice" or (program == "circuitlsc" and words[0] in commands), line


def examples():
    """Yield the public names whose docstrings have examples, each with these."""
    names = {"np": np, **{name: getattr(circuitlsc, name) for name in circuitlsc.__all__}}
    for name in circuitlsc.__all__:
        for test in doctest.DocTestFinder(recurse=False).find(names[name], name, globs=dict(names)):
            if test.examples:
                yield name, test


def simulates(test):
    """Whether an example runs a circuit, or learns."""
    return (
        re.search(r"\.run\(|(budget|yield|sweep|circuit)\(", "".join(one.source for one in test.examples)) is not None
    )


def assert_examples_hold(simulated):
    tried = 0
    for name, test in examples():
        if simulates(test) == simulated:
            said = io.StringIO()
            assert doctest.DocTestRunner().run(test, out=said.write).failed == 0, f"{name}:\n{said.getvalue()}"
            tried += 1
    assert tried >= 10


def test_examples_of_docstrings():
    """Those of the public names; these need no simulator."""
    assert_examples_hold(simulated=False)


@pytest.mark.slow
@pytest.mark.ngspice
def test_examples_of_docstrings_that_run():
    assert_examples_hold(simulated=True)


def test_every_example_is_one_that_is_run():
    """None stands where `examples` does not look; public names have one, but for errors and what others return or extend."""
    written = sum(len(re.findall(r">>> ", path.read_text())) for path in Path(circuitlsc.__file__).parent.rglob("*.py"))
    found = dict(examples())
    assert sum(len(test.examples) for test in found.values()) == written
    errors = {name for name in circuitlsc.__all__ if name.endswith("Error")}
    assert {*circuitlsc.__all__} - {*found} - errors == {"Learned", "Prior", "Store", "quantity", "register_prior"}


def environment(tmp_path):
    """Return what programs run in; a user's list of fonts may be of an install that is gone, so they make their own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "MPLCONFIGDIR": str(tmp_path.parent / "fonts")}
    return {**os.environ, **ours}


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("page", RUN, ids=lambda path: path.stem)
def test_blocks_run(page, tmp_path):
    """One after the other, in one folder; a run may be too short for a verdict."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for kind, text in [block for block in blocks if block[0] == "toml"] + [b for b in blocks if b[0] != "toml"]:
        if kind == "toml":
            (tmp_path / text.split()[1]).write_text(text)
            continue
        lines = [["-c", text]] if kind == "python" else [line.split() for line in text.splitlines()]
        for words in lines:
            program = {"circuitlsc": [sys.executable, "-m", "circuitlsc"], "ngspice": ["ngspice"]}.get(words[0])
            command = [sys.executable, *words] if program is None else [*program, *words[1:]]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment(tmp_path))
            assert done.returncode in ((0,) if words[0] != "circuitlsc" else (0, 4)), f"{words}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("path", sorted((DOCS / "gallery").glob("*.py")), ids=lambda path: path.stem)
def test_gallery_is_made_by_its_lines(path, tmp_path):
    from matplotlib.image import imread

    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, env=environment(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    made, kept = imread(tmp_path / f"{path.stem}.png"), imread(path.with_suffix(".png"))
    assert made.shape == kept.shape
    assert abs(made - kept).mean() < 0.05  # marks and lines are where they were, but for another ngspice
    assert made[..., :3].std() > 0.02  # not an empty page


@pytest.mark.slow
def test_site_builds_strictly_and_asks_for_nothing(tmp_path):
    """Without a warning; and no page, style or script loads anything from another host."""
    for needed in ("sphinx", "furo", "myst_parser", "latex2mathml", "schemdraw"):
        (importlib.import_module if REQUIRED else pytest.importorskip)(needed)
    for command in (
        [ROOT / "tools" / "site_pages.py"],
        ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "trees", DOCS, tmp_path / "site"],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment(tmp_path))
        assert done.returncode == 0, done.stderr
    loaded = re.compile(
        r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)\s*=\s*["']?(?:https?:)?//"""
        r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//|\b(?:fetch|import)\(\s*["'](?:https?:)?//"""
    )
    assert loaded.search('<script async src="https://cdn.example/x.js">')  # it can be found
    files = [path for path in (tmp_path / "site").rglob("*") if path.suffix in (".html", ".css", ".js")]
    assert len([path for path in files if path.suffix == ".html"]) > len(PAGES)
    for path in files:
        assert not loaded.search(path.read_text(encoding="utf-8")), path
