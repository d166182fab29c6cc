"""Pages of strangers' results show everything as text; several runs stand side by side; a page replaces nothing but a page."""

import json
import re
import shutil
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from legible import illegible
from reports import results_in
from test_cli import circuitlsc, one_line

from circuitlsc.config import registry
from circuitlsc.io.report import Facts, Note, Report, Table
from circuitlsc.reporting import pages, pages_plot
from circuitlsc.reporting.page import Page, Picture, Series, load_page, page_html
from circuitlsc.reporting.pages import runs_html, runs_report
from circuitlsc.reporting.runs import differing, load_runs
from circuitlsc.reporting.terms import unexplained

EVIL = "</script></pre></style>'\"><script>alert(1)</script><img src=x onerror=alert(1)><!-- {{7*7}} $x^2$ & \x1b[31m\n\ud800"
WORD = "plain words, as many as those " * 5  # as long as those, which a table wraps
A = "a run whose name is as long as the first one"
NAMES = ("evil <script>alert(1)<!-- '\"\n%41# $x$ &amp;", "javascript:alert(1)", "_under", "\udcff ä")


class Skeleton(HTMLParser):
    """Start tags of a page with the names of their attributes, the text between them, and what is linked."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.said, self.links, self.values = [], "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.said += data


def results(folder, word, *, config, verdict="agrees", z=1.0):
    """Write a folder of results in which every text is a word of a stranger."""
    folder.mkdir()
    table = Table.grouped(word, [0, word], {word: ({word: ">8.4f", f"{word}2": ""}, [[1, word], [None, 2.0]])}, word)
    report = Report((table, Note(word), Facts(((word, word),))), verdict, word, {"largest |z|": z, word: word})
    series = (Series("P(active)", word, [0.1, 0.2], [0.01] * 2, [0.1, 0.2]), Series(word, word, [1.0], names=[word]))
    traces = [{"name": word, "values": [0.0, 1.0], "twin": []}]
    waveforms = {
        "letter": word,
        "seconds": 1.0,
        "volts": 1.0,
        "hold": 0.0,
        "levels": [],
        "time": [0.0, 1.0],
        "traces": traces,
    }
    (folder / "figure.svg").write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>{len(word)}</script></svg>"
    )
    (folder / "config.resolved.toml").write_text(config)
    (folder / "deck.cir").write_text(word, errors="ignore")
    (folder / word.replace("/", "").replace("\ud800", "")).touch()
    pictures = (Picture("figure.svg", word, panels=word),)
    views = {"waveforms": waveforms, "crossbars": [], "left_out": [word]}
    page = Page(word, word, report, pictures, {word: word}, series, views, word)
    (folder / "report.json").write_text(json.dumps({"format": 1, **page.__dict__, **plain(page)}, default=vars))
    return folder


def plain(page):
    return {"report": page.report.to_dict(), "pictures": [vars(each) for each in page.pictures]}


def config(word, value):
    return f"[run]\nt_stop = {value}\n# {word.encode('ascii', 'ignore').decode()!r}\nname = {json.dumps(ascii(word))}\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return harmless folders, and hostile ones of the same shape."""
    top = tmp_path_factory.mktemp("results")
    made = []
    for word, names in ((WORD, (A, *"bcd")), (EVIL, NAMES)):
        cases = zip(names, (100, 200, 300, 400), ("agrees", "disagrees", "", word), strict=True)
        made.append([results(top / n, word, config=config(word, t), verdict=v, z=1000.0 / t) for n, t, v in cases])
    return made


def test_a_page_of_a_stranger_is_text(folders):
    harmless, hostile = (Skeleton(page_html(load_page(f[1]), f[1])) for f in folders)
    assert hostile.tags == harmless.tags
    assert harmless.said.count(WORD) > 15
    assert hostile.said.count("<img src=x onerror=alert(1)>") > 15
    assert not any(value.startswith("javascript") for value in hostile.values)


@pytest.mark.parametrize("most", [5, 6])
def test_runs_of_strangers_are_text_and_their_links_lead_to_them(most, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_COLUMNS", most)  # on paper the table of six stands upright, or not
    made = []
    for each in folders:
        runs = load_runs(each, tmp_path / "page.html")
        made.append(Skeleton(runs_html(runs, "circuitlsc report")))
    harmless, hostile = made
    assert {"on-screen", "on-paper"} & set(hostile.values) == ({"on-screen", "on-paper"} if most == 5 else set())
    assert hostile.tags == harmless.tags
    links = [link for link in hostile.links if not link.startswith("data:")]
    assert len(links) == len(NAMES)
    for link, folder in zip(links, folders[1], strict=True):
        assert re.fullmatch(r"[\w./%~-]+", link)
        assert (tmp_path / unquote(link, errors="surrogateescape")).resolve() == (folder / "report.html").resolve()
    policy = next(value for value in hostile.values if value.startswith("default-src"))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_runs_side_by_side(folders, tmp_path):
    runs = load_runs(folders[0], tmp_path / "page.html")
    report = runs_report(runs)
    assert differing(runs) == ["run.t_stop"]
    (table,) = report.blocks
    cut = WORD[:57] + "..."
    assert [column.title for column in table.columns] == [
        "run",
        "command",
        "verdict",
        "run.t_stop",
        "largest |z|",
        cut,
    ]
    assert [row[:5] for row in table.rows[:2]] == [
        (A, cut, "agrees", 100, 10.0),
        ("b", cut, "disagrees", 200, 5.0),
    ]
    assert unexplained(report) == ["run.t_stop", cut]
    assert report.verdict == "disagrees"
    assert report.reason == f"1 of 3 agree; disagrees: b; {cut}: d; of 1 nothing is judged."
    images = pages_plot.pictures(runs, differing(runs))
    assert [picture.file for picture, _ in images] == ["beside.svg", "sweep.svg"]
    beside = pages_plot.beside_figure(runs)
    assert [ax.get_title("left") for ax in beside.axes] == ["P(active)", WORD[:27] + "..."]
    assert [text.get_text() for text in beside.legends[0].get_texts()] == [A[:27] + "...", "b", "c", "d"]
    sweep = pages_plot.sweep_figure(runs, "run.t_stop")
    assert [illegible(fig) for fig in (beside, sweep)] == [[], []]
    (ax,) = sweep.axes  # of all that has numbers
    assert ax.get_title("left") == "largest |z|"
    assert ax.lines[0].get_xydata().tolist() == [[100, 10], [200, 5], [300, pytest.approx(10 / 3)], [400, 2.5]]


def test_differences_of_configs():
    class Of:
        def __init__(self, command, **config):
            self.command, self.config = command, {key.replace("_", ".", 1): value for key, value in config.items()}

    one, two, other = Of("run", a=1, b=2), Of("run", a=1, c=3), Of("learn", a=2, d=4)
    assert differing([one, two]) == ["b", "c"]
    assert differing([one, other]) == ["a"]
    assert differing([one, one]) == []
    some = [Of("run", model_sigma=0.4 + n, run_step=0.01 + n, circuit_level=f"{n}") for n in range(3)]
    assert pages_plot.swept(some, differing(some)) == "model.sigma"
    assert pages_plot.swept(some, ["run.step", "circuit.level"]) == "run.step"
    assert pages_plot.swept(some, ["circuit.level"]) is None
    assert pages_plot.swept([one, other, some[0]], ["a"]) is None


def test_keys_that_follow_are_those_that_may_be_auto():
    tables = {"circuit": registry.CircuitKeys, "run": registry.RunKeys}
    auto = [f"{t}.{key.name}" for t, keys in tables.items() for key in fields(keys) if key.metadata.get("auto")]
    assert sorted(auto) == list(pages_plot.FOLLOW)


def test_names_in_figures_are_no_mathematics():
    assert pages_plot._name(r"_a $x_2$ \alpha") == r" _a \$x_2\$ \alpha"
    assert pages_plot._name("a\nb") == r"a\nb"


# --- the command ---


def test_a_page_replaces_nothing_but_a_page(folders, tmp_path):
    some = [str(folder) for folder in folders[0][:2]]
    assert "have no page in common" in one_line(circuitlsc("report", *some, cwd=tmp_path), 2)
    assert "standard output" in one_line(circuitlsc("report", *some, "-o", "-", cwd=tmp_path), 2)
    assert "is given twice" in one_line(circuitlsc("report", some[0], *some, "-o", "page.html", cwd=tmp_path), 2)
    (tmp_path / "mine.html").write_text("<!doctype html><title>mine</title>")
    assert "is no page that circuitlsc generated" in one_line(
        circuitlsc("report", *some, "-o", "mine.html", cwd=tmp_path), 2
    )
    (tmp_path / "link.html").symlink_to("mine.html")
    assert "is a link" in one_line(circuitlsc("report", *some, "-o", "link.html", cwd=tmp_path), 2)
    assert "is a folder" in one_line(circuitlsc("report", *some, "-o", ".", cwd=tmp_path), 2)
    assert (tmp_path / "mine.html").read_text() == "<!doctype html><title>mine</title>"
    for n in (1, 2):
        done = circuitlsc("report", *some[:n], "-o", "page.html", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "disagrees" in done.stdout
    assert done.stderr == "open page.html\n"
    assert "2 runs side by side" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("there", [True, False])
def test_a_page_is_opened_in_a_browser(folders, tmp_path, monkeypatch, there):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or there)
    done = circuitlsc("report", folders[0][0], "-o", "a page.html", "--open", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert opened == [(tmp_path / "a page.html").as_uri()]
    assert ("no browser was found" in done.stderr) is not there


def test_where_a_page_is_is_text(folders, tmp_path):
    done = circuitlsc("report", folders[1][0], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "results are in " in done.stderr
    assert done.stderr.count("\n") == 1, "the folder's name has a newline"


def test_folders_that_are_none(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("nowhere", "empty", "file"):
        said = one_line(circuitlsc("report", folders[0][0], name, "-o", "page.html", cwd=tmp_path), 2)
        assert f"{name} is no folder of results" in said
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file"}


@pytest.mark.slow
@pytest.mark.ngspice
def test_real_files_of_such_names(tmp_path):
    """Config, dictionary and folder whose names hold what HTML, a shell and an address would obey."""
    name = "<script>alert(1)<!-- '\"\n%41#"
    np.savetxt(tmp_path / f"A{name}.csv", np.eye(2), delimiter=",")
    model = f"[model]\ndictionary = {json.dumps(f'A{name}.csv')}\nsigma = 0.7\n"
    prior = '[prior]\nkind = "spike-slab"\npi = 0.3\nlam = 1.0\n'
    (tmp_path / f"c{name}.toml").write_text(f"{model}{prior}[run]\nt_stop = 40\nchains = 1\n")
    outs = [f"{n}{name}" for n in "ab"]
    done = circuitlsc("run", f"c{name}.toml", "-o", outs[0], cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert results_in(tmp_path / outs[0]) > {"deck.cir", "samples.nc"}
    shutil.copytree(tmp_path / outs[0], tmp_path / outs[1])
    shown = Skeleton((tmp_path / outs[0] / "report.html").read_text())
    assert sum(tag == "script" for tag, _ in shown.tags) == 2  # ours, and its data
    assert shown.said.count("<script>alert(1)<!--") >= 3
    done = circuitlsc("report", *outs, "-o", f"{name}.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = Skeleton((tmp_path / f"{name}.html").read_text())
    assert [tag for tag, _ in made.tags].count("script") == 1
    links = [link for link in made.links if not link.startswith("data:")]
    assert [Path(tmp_path / unquote(link)).is_file() for link in links] == [True, True]
