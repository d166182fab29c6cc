"""A results folder without a run, whose every text would do harm if it were not shown as text."""

from __future__ import annotations

from pathlib import Path

from circuitlsc.io import output as out
from circuitlsc.io.report import Facts, Note, Report, Table
from circuitlsc.reporting.page import Page, Picture

EVIL = "</script><script>alert(1)</script>\"'><img src=http://127.0.0.1/x onerror=alert(1)>\n&amp;"
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="600pt" height="200pt" viewBox="0 0 600 200">
<script>alert(1)</script><path d="M0 0L600 200" stroke="black"/></svg>"""


def waveforms(n: int = 400) -> dict[str, object]:
    """Return waveforms of three latents with plain shapes."""
    traces = [{"name": name, "values": [(k * each) % 7 - 3.0 for k in range(n)], "twin": []} for each, name in NAMES]
    traces[0]["twin"] = traces[0]["values"][:100]
    time = [0.5 * k + 20 for k in range(n)]
    scales = {"letter": "u", "seconds": 1e-6, "volts": 0.1, "levels": [1.2, -1.2], "hold": 20.0}
    return {**scales, "time": time, "traces": traces}


NAMES = ((1, "u_0"), (3, "u_1" + EVIL), (5, "u_2"))


def page() -> Page:
    """Return what the page shows."""
    crossbar = {"name": "inhibition" + EVIL, "rows": ["e_0", "e_1"], "columns": ["s_0", "s_1", "s_2"], "siemens": 1e-6}
    second = {"name": "forward", "rows": ["r_0"], "columns": ["+s_0", "-s_0"], "siemens": 1e-9, "values": [[1.0, 20.0]]}
    columns = {"circuit": ">8.4f", "exact": ">8.4f", "z": ">+6.2f", "far": ">6.2f"}
    rows = [[0.5, 0.4, 10.0, None], [0.25, 0.3, -9.0, 2.0], [0.75, 0.7, 2.0, 1.0], [0.6, 0.6, None, None]]
    table = Table.grouped("latent", list(range(4)), {"P(active)": (columns, rows), "mean of s": (columns, rows)})
    texts = Table.of({"part" + EVIL: "<12", "W": ">8.2e", "notes": ""}, [["b" + EVIL, 1.0, "c"], ["a", 2.0, EVIL]])
    return Page(
        title="run " + EVIL,
        command="circuitlsc run " + EVIL,
        report=Report((table, texts, Facts((("chains", "2\n3"), (EVIL, EVIL))), Note(EVIL)), "agrees", "all " + EVIL),
        pictures=(Picture("a.svg", EVIL, panels="P over k"), Picture("b.svg", "greys", greys=True)),
        versions={"circuitlsc": "0", EVIL: EVIL},
        views={
            "waveforms": waveforms(),
            "crossbars": [{**crossbar, "values": [[1.0, 0.0, -2.0], [0.5, 4.0, 0.0]]}, second],
            "left_out": ["wide (300 x 300)"],
        },
        again="circuitlsc run config.resolved.toml -o again",
    )


def hostile_folder(folder: Path) -> Path:
    """Return the page of a folder that is made for it."""
    folder.mkdir()
    (folder / out.CONFIG).write_text(
        f"[run]\nseed = 7\ntext = '''{EVIL}'''\n# {'long ' * 200}\n[x]\nseed = 0x{'f' * 5000}\n"
    )
    (folder / out.DECK).write_text(f"* {EVIL}\nr1 a 0 1\n")
    (folder / 'x"<b>\n.txt').touch()
    for name in ("a.svg", "b.svg"):
        (folder / name).write_text(SVG)
    page().save(folder)
    return folder / out.PAGE
