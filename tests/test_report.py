"""Reports as data: text of any width, and files that are what was written, or are refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitlsc.errors import InputError
from circuitlsc.io.report import Column, Facts, Note, Report, Table, p_text
from circuitlsc.reporting.page import Page, Picture, Series, load_page, page_html
from circuitlsc.reporting.terms import TERMS, meanings, term, unexplained

NUMBERS = {"circuit": ">8.4f", "exact": ">8.4f", "error": ">7.4f", "z": ">+6.2f"}
ROWS = [[0.4515, 0.4474, 0.0034, 1.16], [0.136, 0.1374, None, -1.06]]
GROUPS = {"P(active)": (NUMBERS, ROWS), "mean of s": (NUMBERS, ROWS), "sd of s": (NUMBERS, ROWS)}
TABLE = Table.grouped("latent", [0, 1], GROUPS)
FACTS = Facts((("reference", "Gibbs sampling; " + "z against it, " * 9 + "p = 1"), ("two", "first\nsecond")))
REPORT = Report(
    (TABLE, Note("(2 of 9 latents)"), FACTS), "agrees", "All is right.", {"largest |z|": 1.16, "chips": None}
)


def test_a_table_stands_in_one_where_there_is_room():
    lines = TABLE.text()
    assert lines[0].split() == ["P(active)", "|", "mean", "of", "s", "|", "sd", "of", "s"]
    assert lines[2].startswith("     0   0.4515   0.4474  0.0034  +1.16 |   0.4515")
    assert lines[3].split()[:5] == ["1", "0.1360", "0.1374", "-", "-1.06"]
    assert TABLE.text(max(map(len, lines))) == lines
    assert len(TABLE.text(max(map(len, lines)) - 1)) > len(lines)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_groups_that_find_no_room_stand_below(width):
    lines, key = TABLE.text(width), 6
    one = key + len("  circuit    exact   error      z")
    assert all(len(line) <= max(width, one) for line in lines)
    assert lines.count("") == (1 if width >= 80 else 2)  # between parts
    assert [line.split()[0] for line in lines if line[:key].strip().isdecimal()] == ["0", "1"] * (lines.count("") + 1)
    words = " ".join(lines).split()
    assert [words.count(word) for word in ("circuit", "0.4515", "-1.06")] == [3, 3, 3]


@pytest.mark.parametrize("width", [10, 24])
def test_a_group_that_is_too_wide_goes_on_below(width):
    lines = TABLE.text(width)
    assert max(map(len, lines)) <= max(width, 6 + 1 + len("mean of s"))
    assert lines.count("") == (12 if width == 10 else 6) - 1
    words = " ".join(lines).split()
    assert [words.count(word) for word in ("circuit", "0.4515", "-1.06")] == [3, 3, 3]
    assert words.count("P(active)") == (4 if width == 10 else 2)


def test_columns_without_groups_stand_below_one_by_one():
    table = Table.of({"what": "<24", "a": ">10.3g", "b": ">10.3g", "": ""}, [["it", 1e-5, "text", "and more"]], "Title")
    assert table.text() == [
        "Title",
        f"{'what':<24}          a          b",
        f"{'it':<24}      1e-05       text   and more",
    ]
    assert table.text(40) == [
        "Title",
        f"{'what':<24}          a",
        f"{'it':<24}      1e-05",
        "",
        f"{'what':<24}          b",
        f"{'it':<24}       text",
        "",
        "what",
        f"{'it':<24}   and more",
    ]


def test_cells_that_are_longer_than_their_column_move_no_other():
    table = Table.of({"what": "<8", "n": ">6.2f"}, [["a long name of it", 1.0], ["it", 1e9], ["it", None]])
    assert [line.rstrip() for line in table.text()] == [
        "what                          n",
        "a long name of it          1.00",
        "it                1000000000.00",
        "it                            -",
    ]


def test_values_are_pythons():
    assert Report.from_dict(json.loads(json.dumps(REPORT.to_dict()))) == REPORT
    made = Table.of({"a": ">6", "b": ">6.2f", "c": "<6"}, [[np.int64(3), np.float64(0.5), np.str_("x")]])
    assert [type(value) for value in made.rows[0]] == [int, float, str]
    assert Report((made,)).text().splitlines()[-1].split() == ["3", "0.50", "x"]
    column = Column("", ">+9.3f")
    assert [column.cell(value) for value in (1.5, None, "one")] == ["   +1.500", "        -", "      one"]
    assert (column.cell(None, padded=False), Column("", "").cell("x", padded=False)) == ("-", "x")
    assert [p_text(p) for p in (0.0, 1e-301, 0.02)] == ["< 1e-300", "< 1e-300", "= 0.02"]


@pytest.mark.parametrize("width", [30, 50, 80])
def test_facts_go_on_below_themselves(width):
    lines = FACTS.text(width)
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("reference      Gibbs")
    assert lines[-2:] == ["two            first", "               second"]
    assert {line[:15].strip() for line in lines} == {"reference", "two", ""}
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(FACTS.text()).split())


def test_a_report_ends_with_its_verdict():
    lines = REPORT.text(80).splitlines()
    assert lines[-1] == "verdict        agrees: All is right."
    assert str(REPORT) == REPORT.text()
    assert "verdict" not in Report((TABLE, FACTS), "", "Something was found.").text()
    assert Report((), "agrees", "so").text() == "verdict        agrees: so"
    both = REPORT + Report((Note("more"),), summary={"W": 1.0})
    assert (both.verdict, both.summary, both.blocks[-1]) == ("agrees", {**REPORT.summary, "W": 1.0}, Note("more"))


values = st.none() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(max_size=8)
texts = st.text(max_size=8)
columns = st.builds(Column, texts, st.sampled_from(["", "<8", ">6", ">+9.3f", ">12.1e", ">10.4g"]), texts)
tables = st.lists(columns, min_size=1, max_size=4).flatmap(
    lambda made: st.builds(
        Table, st.just(tuple(made)), st.lists(st.tuples(*[values] * len(made)), max_size=3).map(tuple), texts
    )
)
facts = st.builds(Facts, st.lists(st.tuples(texts, texts), max_size=3).map(tuple))
blocks = st.lists(tables | facts | st.builds(Note, texts), max_size=4).map(tuple)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.builds(Report, blocks, texts, texts, st.dictionaries(texts, values, max_size=3)), st.integers(1, 200))
def test_a_file_keeps_a_report(report, width):
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report
    assert again.text(width) == report.text(width)
    assert report._repr_html_() == again._repr_html_()


# --- files of strangers ---


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "figure.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    series = (Series("P(active)", "latent", [0.1, 0.2], [0.01, 0.01], [0.1, 0.2]),)
    Page("run a.toml", "circuitlsc run", REPORT, (Picture("figure.svg", "It."),), {"numpy": "2"}, series).save(tmp_path)
    return tmp_path


def changed(*path, to):
    def change(folder):
        file = folder / "report.json"
        data = json.loads(file.read_text())
        inner = data
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = to
        file.write_text(json.dumps(data))

    return change


def text(said):
    return lambda folder: (folder / "report.json").write_bytes(said)


def linked(folder):
    (folder / "report.json").rename(folder / "elsewhere")
    (folder / "report.json").symlink_to("elsewhere")


TABLE_AT = ("report", "blocks", 0)


@pytest.mark.parametrize(
    "change",
    [
        *map(text, (b"", b"{", b"[]", b"\xff\xfe{", b"[" * 100_000, b'{"a":' * 100_000, b" " * (2**24 + 1))),
        lambda folder: (folder / "report.json").unlink(),
        linked,
        changed("format", to=2),
        changed("report", to=[]),
        changed("report", "blocks", to=None),
        changed("report", "summary", to=["largest |z|"]),
        changed("report", "summary", "largest |z|", to=float("nan")),
        changed("report", "summary", "largest |z|", to=[1]),
        changed("report", "summary", "largest |z|", to=10**400),
        changed(*TABLE_AT, "kind", to="picture"),
        changed(*TABLE_AT, "columns", to=[]),
        changed(*TABLE_AT, "columns", 0, to={"title": "a"}),
        *(
            changed(*TABLE_AT, "columns", 0, "form", to=form)
            for form in (">", "{0}", ">9999999999", ">9.3f ", 7, ">9c")
        ),
        changed(*TABLE_AT, "rows", 0, to=[1]),
        changed(*TABLE_AT, "rows", 0, 1, to={"a": 1}),
        changed(*TABLE_AT, "rows", 0, 1, to=float("inf")),
        changed("report", "blocks", 2, "rows", 0, to="ab c"),
        changed("pictures", to=3),
        *(changed("pictures", 0, "file", to=name) for name in ("../a.svg", "/etc/passwd", "samples.nc", 3, None)),
        changed("pictures", 0, to={"file": "figure.svg"}),
        changed("pictures", to=[{"file": "figure.svg", "caption": ""}] * 2),
        changed("series", 0, "errors", to=[-1.0, 1.0]),
        *(changed("series", 0, name, to=5) for name in ("title", "x", "values", "errors")),
        *(changed("series", 0, "values", to=v) for v in (["a", "b"], [1.0], [[1.0], [2.0]], [1e999, 1], [True, False])),
        changed("versions", to=["numpy"]),
        changed("views", to=4),
    ],
)
def test_a_file_that_is_none(folder, change):
    change(folder)
    with pytest.raises(InputError) as caught:
        load_page(folder)
    said = str(caught.value)
    assert "report.json" in said
    assert said.count("\n") == 0
    assert len(said) < 400


def test_a_figure_that_is_a_link_gets_onto_no_page(folder):
    page = load_page(folder)
    (folder / "figure.svg").unlink()
    (folder / "figure.svg").symlink_to(Path(__file__))
    with pytest.raises(InputError, match=r"figure.svg cannot be read \(it is a link"):
        page_html(page, folder)


# --- what they mean ---


def test_a_title_with_a_number_has_the_meaning_of_its_words():
    assert [
        term(title) for title in ("rms at 10", "rms from (tau, r = inf)", "sigma 0.5", "KL, bias", "dP(active) of all")
    ] == [
        "rms at",
        "rms from",
        "sigma",
        "KL, bias",
        "dP(active)",
    ]
    assert [term(title) for title in ("zeal", "", "at 10 rms")] == [None] * 3
    shown = Report((Table.of({"rms at 10": ">9", "rms at 20": ">9", "zeal": ">9", "": ""}, []), Facts((("", "x"),))))
    assert [name for name, _ in meanings(shown)] == ["rms at"]
    assert unexplained(shown) == ["zeal"]


def test_meanings_are_sentences():
    assert all(text.endswith(".") and len(text) < 400 and text.isascii() for text in TERMS.values())


def test_a_table_upright_has_a_column_for_each_row():
    table = Table(
        (Column("run", "<8"), Column("z", ">8.3f", "numbers"), Column("said", "")),
        (("a", 1.0, "yes"), ("b", None, "no"), ("c", 0.5, None)),
    )
    first, second = table.upright(2)
    assert [column.title for column in first.columns] == ["run", "a", "b"]
    assert first.rows == (("z", "1.000", "-"), ("said", "yes", "no"))
    assert [column.title for column in second.columns] == ["run", "c"]
    assert second.rows == (
        (
            "z",
            "0.500",
        ),
        ("said", "-"),
    )
