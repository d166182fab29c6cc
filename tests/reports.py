"""What every report that a test makes must be: explained, and the same after a file."""

import json

from circuitlsc.io.report import Report
from circuitlsc.reporting.page import load_page
from circuitlsc.reporting.terms import unexplained

PAGE = {"report.json", "report.html"}


def text_of(report):
    """Return a report as text."""
    return checked(report).text()


def checked(report):
    """Return a report whose terms all have a meaning, and which a file keeps."""
    assert unexplained(report) == []
    assert Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report
    return report


def results_in(folder):
    """Return the names of what is in a folder of results but for its page and the figures of that, which are there."""
    page = load_page(folder)
    checked(page.report)
    assert page.report.summary, "what stands beside other runs"
    assert page.series or page.title.startswith("learn")
    names = {path.name for path in folder.iterdir()}
    figures = {picture.file for picture in page.pictures}
    assert names >= PAGE | figures
    assert {name.replace(".svg", ".png") for name in figures} <= names
    return names - PAGE - figures
