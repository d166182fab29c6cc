"""The page of a results folder: its structure, what it may do, its colours, and what it is made from."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from hostile_page import EVIL, hostile_folder, page, waveforms

from circuitlsc import InputError
from circuitlsc.cli.results import Results
from circuitlsc.config.table import names_files
from circuitlsc.io import output as out
from circuitlsc.io.markup import TEMPLATES
from circuitlsc.io.report import Note, Report
from circuitlsc.reporting.page import load_page, page_html
from circuitlsc.reporting.plotting import new_figure
from circuitlsc.reporting.views import WIDEST, checked

VOID = {"meta", "link", "img", "br", "col", "input"}


class Elements(HTMLParser):
    """Every element with its attributes and its own text, and those that it stands in."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.found.append((tag, dict(attrs), [], tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = len(self.open)
        for tag, _, text, around in reversed(self.found):
            if len(around) == inside - 1 and tag == self.open[-1]:
                text.append(data)
                return

    def all(self, tag, **attributes):
        return [
            (attrs, "".join(text))
            for name, attrs, text, _ in self.found
            if name == tag and all(attrs.get(key) == value for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hostile_folder(tmp_path_factory.mktemp("page") / "out").parent


@pytest.fixture(scope="module")
def html(folder):
    return (folder / out.PAGE).read_text()


@pytest.fixture(scope="module")
def elements(html):
    return Elements(html)


def test_structure(elements, html):
    assert len(html.encode()) < 100_000
    assert elements.all("html")[0][0] == {"lang": "en"}
    ((_, title),) = elements.all("h1")
    assert title == elements.all("title")[0][1] == "run " + EVIL.replace("\n", "\\n")
    ((_, verdict),) = elements.all("p", **{"class": "verdict agrees"})
    assert EVIL in verdict
    assert [text for _, text in elements.all("strong")] == ["agrees"]
    order = [name for name, *_ in elements.found if re.fullmatch(r"h\d", name)]
    assert order[0] == "h1"
    assert set(order[1:]) == {"h2"}
    folded = [text for _, text in elements.all("summary")]
    assert folded == ["What the numbers mean", "Config", "Deck"]
    assert all("open" not in attrs for attrs, _ in elements.all("details"))
    commands = [text.strip() for _, text in elements.all("pre")][:2]
    assert commands == [page().command.strip(), page().again]
    assert ("dd", "7") in [(name, "".join(text)) for name, _, text, _ in elements.found]  # run.seed


def test_tables_are_read_by_row_and_column(elements):
    titles = [(attrs, text) for attrs, text in elements.all("th") if attrs["scope"] == "col"]
    assert len(titles) == 9 + 3
    assert {attrs["scope"] for attrs, _ in elements.all("th")} == {"col", "colgroup", "row"}
    meant = [attrs["title"] for attrs, text in titles if text == "exact"]
    assert len(meant) == 2
    assert meant[0].startswith("What the posterior gives")
    values = [attrs["data-value"] for attrs, _ in elements.all("td") if "data-value" in attrs]
    assert values[:4] == ["0.5", "0.4", "10.0", ""]
    boxes = elements.all("div", **{"class": "scroll"})
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs, _ in boxes)
    assert len(boxes) == len(elements.all("table")) + len(elements.all("img"))


def test_nothing_but_our_style_and_script(elements, html):
    ((policy, _),) = elements.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules.pop("default-src") == "'none'"
    ((_, style),) = elements.all("style")
    scripts = [(attrs, text) for attrs, text in elements.all("script")]
    (code,) = [text for attrs, text in scripts if not attrs]
    for rule, text in (("style-src", style), ("script-src", code)):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    (data,) = [text for attrs, text in scripts if attrs]
    assert json.loads(data) == page().views
    assert html.count("<script") == 2
    for name, attrs, _, _ in elements.found:
        assert not [key for key in attrs if key.startswith("on") or key == "style"], (name, attrs)
        for key in ("src", "href", "srcset", "action"):
            assert attrs.get(key, "data:").startswith("data:"), (name, attrs)
    pictures = [attrs for attrs, _ in elements.all("img")]
    assert [each["alt"] for each in pictures] == ["P over k", "b.svg"]
    assert base64.b64decode(pictures[0]["src"].partition("base64,")[2]).startswith(b"<svg")
    shown = "".join(text for name, _, parts, _ in elements.found if name not in ("script", "style") for text in parts)
    assert shown.count("<script>alert(1)</script>") > 8  # as text
    assert 'x"<b>\\n.txt' in shown
    assert "report.html" in shown


def test_page_is_made_again_from_its_folder(folder, html):
    assert load_page(folder) == page()
    assert page_html(load_page(folder), folder) == html


def wrong(**changes):
    return {**page().views, **changes}


@pytest.mark.parametrize(
    "views",
    [
        wrong(waveforms={**waveforms(), "time": waveforms()["time"][1:]}),
        wrong(waveforms={**waveforms(), "time": waveforms()["time"][::-1]}),
        wrong(waveforms={**waveforms(), "volts": "0.1"}),
        wrong(waveforms={**waveforms(), "volts": 10**400}),
        wrong(waveforms={**waveforms(2001)}),
        wrong(waveforms={**waveforms(), "levels": [float("nan")]}),
        wrong(crossbars=[{**page().views["crossbars"][1], "values": [[1.0]]}]),
        wrong(crossbars=[{**page().views["crossbars"][1], "name": 3}]),
        wrong(crossbars={}),
        wrong(left_out=["x"] * (WIDEST + 1)),
        wrong(left_out=["x" * 201]),
        {"waveforms": waveforms()},
    ],
)
def test_views_of_a_stranger_are_refused(views, tmp_path):
    with pytest.raises((ValueError, TypeError, KeyError)):
        checked(views)
    hostile_folder(tmp_path / "out")
    path = tmp_path / "out" / out.REPORT
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "views": views}))
    with pytest.raises(InputError, match="it is no report of circuitlsc"):
        load_page(tmp_path / "out")


def test_config_that_names_files_beside_it(tmp_path):
    config = tmp_path / "c.toml"
    (tmp_path / "X.npy").touch()
    for text, names in (
        ('[data]\nsource = "X.npy"', True),
        ('[data]\nimages = ["X.npy"]', True),
        (f'[data]\nsource = "{tmp_path}/X.npy"', False),  # found from anywhere
        ('[model]\ndictionary = "bars:4"\nx = "\\u0000"', False),
    ):
        config.write_text(text)
        assert names_files(config) is names


REPEATED = {
    "run": ("""
[model]
dictionary = "mine.csv"
x = "draw"
sigma = 0.7
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[run]
t_stop = 200
seed = 1
""", "--tolerance 0.1"),
    "learn": ("""
[model]
dictionary = "bars:2"
sigma = 0.3
[prior]
kind = "spike-slab"
pi = 0.3
lam = 1.0
[learning]
learn = ["A"]
inputs = 20
""", ""),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("command", REPEATED)
def test_what_a_page_says_repeats_it(command, tmp_path):
    config, options = REPEATED[command]
    (tmp_path / "c.toml").write_text(config)
    (tmp_path / "mine.csv").write_text("1,0\n0,1\n1,1\n")

    def run(line, folder):
        done = subprocess.run(
            [sys.executable, "-m", *line.split()], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 3, 4), done.stderr

    run(f"circuitlsc {command} c.toml -o out {options}", tmp_path)
    made = load_page(tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").rename(tmp_path / "elsewhere" / "out")
    run(made.again, tmp_path / "elsewhere" / "out")
    again = load_page(tmp_path / "elsewhere" / "out" / "again")
    assert again.report.verdict == made.report.verdict
    assert again.report.summary == made.report.summary
    assert again.views == made.views
    run(made.command.replace("-o out", "-o once-more"), tmp_path)
    assert load_page(tmp_path / "once-more").report.summary == made.report.summary


def luminance(color):
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast():
    """Text 4.5:1 on the page and on bands, borders of controls and curves 3:1, in both themes."""
    style = (files("circuitlsc") / TEMPLATES / "page.css").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    )
    assert light.keys() == dark.keys()
    for theme in (light, dark):
        for ground in (theme["page"], theme["band"]):
            for name in ("text", "quiet", "focus", "good", "bad", "open"):
                assert contrast(theme[name], ground) >= 4.5, (name, theme)
            for name in ("control", *(f"c{k}" for k in range(8))):
                assert contrast(theme[name], ground) >= 3, (name, theme)
    used = set(re.findall(r"(?<!-)(?:color|background|fill|stroke): (#\w+|[a-z]+)", style))
    assert used <= {"#ffffff", "inherit", "none", "currentcolor", "var"}, used


def test_grey_pictures_are_marked(tmp_path):
    results = Results(tmp_path, "run", "circuitlsc run", "", report=Report((Note("n"),)))
    for name, draw in (
        ("greys.png", lambda ax: ax.imshow([[0, 1]], cmap="gray")),
        ("lines.png", lambda ax: ax.plot([1])),
    ):
        with new_figure(1, 1) as fig:
            draw(fig.subplots())
        results.draw(name, fig, "caption")
    results.close()
    assert [picture.greys for picture in load_page(tmp_path).pictures] == [True, False]
    classes = [attrs.get("class") for attrs, _ in Elements((tmp_path / out.PAGE).read_text()).all("figure")]
    assert classes == ["greys", None]
