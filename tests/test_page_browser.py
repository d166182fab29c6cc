"""The page of a results folder as a browser shows it: network, console, keyboard, sizes, colours, paper."""

import base64
import json
import re
import shutil
from itertools import pairwise

import pytest
from hostile_page import EVIL, NAMES, hostile_folder
from selenium import webdriver
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

from circuitlsc import SparseCodingModel, SpikeSlab, bars, build_sampler
from circuitlsc.cli.outcome import outcome
from circuitlsc.cli.results import Results
from circuitlsc.io import output as out
from circuitlsc.reporting.pages import runs_html
from circuitlsc.reporting.runs import load_runs
from circuitlsc.reporting.views import views

pytestmark = [pytest.mark.slow, pytest.mark.ngspice]

# colours of every element that has text of its own, with those of what it stands on
COLOURS = """
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return getComputedStyle(document.documentElement).backgroundColor;
};
for (const each of document.querySelectorAll("details")) each.open = true;
return [...document.querySelectorAll("body *")]
  .filter((each) => !["SCRIPT", "NOSCRIPT"].includes(each.tagName) && each.getClientRects().length)
  .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
  .map((each) => {
    const style = getComputedStyle(each);
    return [each.tagName, each instanceof SVGElement ? style.fill : style.color, ground(each)];
  });
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the pages of a folder of hostile texts, of a run, and of both."""
    folder = tmp_path_factory.mktemp("pages")
    model = SparseCodingModel(bars(2), SpikeSlab(0.3, 1.0), 0.7)
    sampler = build_sampler(model, [1.0, 0.0, 1.0, 0.5])
    samples = sampler.run(t_stop=100.0, chains=2, seed=1)
    made = outcome(sampler, samples)
    (folder / "run").mkdir()
    results = Results(folder / "run", "run bars", "circuitlsc run bars.toml -o run", "", report=made.report)
    results.views = views(sampler, samples, letter=made.letter, twin=made.twin)
    results.draw(out.FIGURE, made.draw(), made.caption)
    results.series = made.series
    results.close()
    made = {
        "hostile": hostile_folder(folder / "hostile"),
        "run": folder / "run" / out.PAGE,
        "several": folder / "s.html",
    }
    runs = load_runs([made["hostile"].parent, made["run"].parent], made["several"])
    made["several"].write_text(runs_html(runs, f"circuitlsc report {EVIL}"))
    return made


@pytest.fixture
def show(browser, pages):
    """Return what shows a page of some width, in the light or in the dark."""

    def shown(name="hostile", width=1000, scheme="light"):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(pages[name].as_uri())
        return browser

    return shown


def find(browser, selector):
    return browser.find_elements("css selector", selector)


@pytest.mark.parametrize("name", ["hostile", "run", "several"])
def test_no_request_and_no_complaint(browser, show, pages, name):
    browser.get_log("performance")
    browser.get_log("browser")
    show(name)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert browser.get_log("browser") == []
    assert pages[name].stat().st_size < 1_000_000


def test_hostile_texts_are_texts(show):
    browser = show()
    assert browser.execute_script("return document.scripts.length") == 2
    assert len(find(browser, "img")) == 2
    assert find(browser, "h1")[0].text == "run " + EVIL.replace("\n", "\\n")
    config = browser.execute_script(
        "return document.querySelector('details.printed pre[aria-label=Config]').textContent"
    )
    assert EVIL in config
    labels = browser.execute_script("return [...document.querySelectorAll('.views label')].map((l) => l.textContent)")
    assert [label for label in labels if label.startswith("u_")] == [name for _, name in NAMES]


@pytest.mark.parametrize("width", [360, 700, 1000])
@pytest.mark.parametrize("name", ["hostile", "run", "several"])
def test_page_itself_never_scrolls_sideways(show, name, width):
    browser = show(name, width)
    for each in find(browser, "details"):
        browser.execute_script("arguments[0].open = true", each)
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= width == seen
    scrolled = browser.execute_script(
        "return [...document.querySelectorAll('.scroll, pre')].filter((e) => e.scrollWidth > e.clientWidth)"
        ".map((e) => [e.tabIndex, e.getAttribute('aria-label')])"
    )
    assert scrolled or width == 1000
    assert all(index == 0 and label for index, label in scrolled)


def tab_to(browser, what):
    """Press Tab until an element that a condition is true of has the focus; return it."""
    browser.execute_script("document.activeElement.blur()")
    for _ in range(200):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.execute_script(f"return ((e) => {what})(document.activeElement)"):
            return browser.switch_to.active_element
    raise AssertionError(f"no element has the focus of which is true: {what}")


FOCUS = "a[href], button, input, select, summary, [tabindex='0']"


@pytest.mark.parametrize("name", ["hostile", "run"])
def test_everything_is_reached_in_order_and_seen(show, name):
    browser = show(name)
    every = browser.execute_script(f"window.every = [...document.querySelectorAll(`{FOCUS}`)]; return every.length")
    reached = []
    for _ in range(every):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        at, outline = browser.execute_script(
            "const e = document.activeElement; return [every.indexOf(e), getComputedStyle(e).outlineStyle]"
        )
        if at < 0:
            break
        assert outline != "none", browser.execute_script("return document.activeElement.outerHTML.slice(0, 100)")
        reached.append(at)
    folded = browser.execute_script(
        "return every.filter((e) => e.tagName !== 'SUMMARY' && e.closest('details')).map((e) => every.indexOf(e))"
    )
    assert reached == sorted({*range(every)} - {*folded})
    assert len(reached) > 20


def test_headings_are_in_order(show):
    levels = show().execute_script("return [...document.querySelectorAll('h1, h2, h3, h4')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(b - a for a, b in pairwise(levels)) == 1


def test_tables_sort_by_keyboard(show):
    browser = show()

    def column(k, table=0):
        rows = "[...document.querySelectorAll('main table')[arguments[0]].tBodies[0].rows]"
        return browser.execute_script(f"return {rows}.map((r) => r.cells[arguments[1]].textContent)", table, k)

    def order(k):
        return browser.execute_script("return document.querySelectorAll('.titles > th')[arguments[0]].ariaSort", k)

    first = column(3)
    assert first == ["+10.00", "-9.00", "+2.00", "-"]
    button = tab_to(browser, "e.closest('.titles') && e.textContent === 'z'")
    assert button.get_attribute("title").startswith("Circuit minus exact")
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for key, wanted, said in (
        (Keys.ENTER, ["-9.00", "+2.00", "+10.00", "-"], "ascending"),
        (Keys.SPACE, ["+10.00", "+2.00", "-9.00", "-"], "descending"),
        (Keys.ENTER, first, None),
    ):
        button.send_keys(key)
        assert column(3) == wanted
        assert order(3) == said
    find(browser, ".titles button")[4].click()
    assert [order(3), order(4)] == [None, "ascending"]
    assert column(4) == ["1.00", "2.00", "-", "-"]
    next(button for button in find(browser, ".titles button") if button.text == "W").click()
    assert [text.strip()[0] for text in column(0, 1)] == ["b", "a"]


def test_waveforms_by_keyboard(show):
    browser = show()

    def ticks():
        found = browser.execute_script("return [...document.querySelectorAll('.plot text')].map((t) => t.textContent)")
        return [float(text) for text in found if re.fullmatch(r"[\d.]+", text)]

    plot = tab_to(browser, "e.classList.contains('plot')")
    start = ticks()
    for key, check in (
        (Keys.ARROW_RIGHT, lambda before, now: max(now) > max(before)),
        (Keys.ARROW_LEFT, lambda before, now: max(now) < max(before)),
        ("+", lambda before, now: max(now) < max(before)),
        ("-", lambda before, now: max(now) > max(before)),
        ("0", lambda before, now: max(now) == 200),
    ):
        before = ticks()
        plot.send_keys(key)
        assert check(before, ticks()), (key, before, ticks())
    assert ticks() != start
    curves = len(find(browser, ".plot g path[class^=c]"))
    box = tab_to(browser, "e.type === 'checkbox'")
    box.send_keys(Keys.SPACE)
    assert len(find(browser, ".plot g path[class^=c]")) == curves - 1
    assert len(find(browser, ".plot .level")) == 2
    boxes = find(browser, ".views input")
    boxes[-1].click()  # the twin; the first of its traces is off
    assert len(find(browser, ".plot .twin")) == curves - 1
    units = find(browser, ".views select")[0]
    units.send_keys("v")
    shown = browser.execute_script("return [...document.querySelectorAll('.plot text')].map((t) => t.textContent)")
    assert "200 mV" in shown
    assert "100 µs" in shown


def test_mouse_moves_and_zooms(show):
    browser = show()
    plot = find(browser, ".plot")[0]
    browser.execute_script("arguments[0].scrollIntoView()", plot)

    def path():
        return find(browser, ".plot g path[class^=c]")[0].get_attribute("d")

    before = path()
    webdriver.ActionChains(browser).click_and_hold(plot).move_by_offset(-200, 0).release().perform()
    moved = path()
    assert moved != before
    at = browser.execute_script("return scrollY")
    plot.click()  # gives it the focus
    webdriver.ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(plot), 0, -200).perform()
    assert path() != moved
    assert browser.execute_script("return scrollY") == at


def test_fingers_move_zoom_and_choose(show):
    browser = show(width=400)
    plot, said = find(browser, ".plot")[0], find(browser, "output")[0]

    def touch(kind, *points):
        at = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})

    def box(element):
        browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
        return browser.execute_script("return Object.values(arguments[0].getBoundingClientRect().toJSON())", element)[
            :4
        ]

    def points():
        return find(browser, ".plot g path[class^=c]")[0].get_attribute("d")

    x, y, width, height = box(plot)
    middle = y + height / 2
    before = points()
    touch("Start", (x + 300, middle))
    touch("Move", (x + 200, middle))
    touch("End")
    moved = points()
    assert moved != before
    assert len(moved) == pytest.approx(len(before), rel=0.1)  # as many points
    touch("Start", (x + 150, middle), (x + 250, middle))
    touch("Move", (x + 50, middle), (x + 350, middle))
    touch("End")
    assert len(points()) < 0.7 * len(moved)
    x, y, width, height = box(find(browser, ".map canvas")[0])
    touch("Start", (x + 0.9 * width, y + 0.2 * height))
    touch("End")
    assert said.text == "row e_0, column s_2: -2 µS"


def test_crossbar_by_keyboard_and_mouse(show):
    browser = show()
    map_ = tab_to(browser, "e.classList.contains('map')")
    said = find(browser, "output")[0]
    assert said.text == "row e_0, column s_0: 1 µS"
    map_.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)  # the edge holds
    assert said.text == "row e_0, column s_2: -2 µS"
    map_.send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert said.text == "row e_1, column s_1: 4 µS"
    webdriver.ActionChains(browser).move_to_element_with_offset(map_, -25, -10).perform()
    assert said.text == "row e_0, column s_0: 1 µS"
    assert find(browser, ".scale")[0].text.split("\n") == ["-4 µS", "4 µS"]
    find(browser, ".views select")[1].send_keys("f")
    assert said.text == "row r_0, column +s_0: 1 nS"
    assert find(browser, ".scale")[0].text.split("\n") == ["0 S", "20 nS"]


def luminance(colour):
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["hostile", "run"])
def test_contrast_of_every_text(show, name, scheme):
    found = show(name, 1000, scheme).execute_script(COLOURS)
    assert len(found) > 60
    assert {"text", "TD", "TH", "DD", "PRE", "BUTTON", "SUMMARY", "STRONG", "H1"} <= {tag for tag, *_ in found}
    for tag, colour, ground in found:
        low, high = sorted((luminance(colour), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (tag, colour, ground)
    assert (luminance(found[0][2]) < 0.05) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper(show, scheme):
    browser = show("run", 1000, scheme)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert luminance(ground) == pytest.approx(1.0)
    assert not any(each.is_displayed() for each in find(browser, ".tools, .plot, .map, noscript"))
    assert browser.execute_script("return getComputedStyle(document.querySelector('img')).filter") == "none"
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 687, "height": 971, "deviceScaleFactor": 1, "mobile": False}
    )  # A4 within its margins
    cut = browser.execute_script(
        "return [...document.querySelectorAll('table, img')].filter((e) => e.offsetWidth > innerWidth)"
    )
    assert cut == []
    browser.execute_script(
        "addEventListener('beforeprint', () => (window.opened = document.querySelectorAll('[open]').length))"
    )
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 4
    assert browser.execute_script("return [window.opened, document.querySelectorAll('[open]').length]") == [2, 0]


def test_without_javascript(browser, show):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show()
        assert len(find(browser, "noscript p")) == 1  # with JavaScript, what is in it is one text
        assert find(browser, ".titles button") == []
        assert len(find(browser, "table")) == 2
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
